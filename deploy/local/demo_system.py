# SPDX-License-Identifier: Apache-2.0
"""What the demos of systems share: how they start, wait, compare and end."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
from psycopg import conninfo

from demo_common import (LOGS, PROGRAMS, REPOSITORY, DemoError, Programs, bring_up, coloured,
                         heading, main, make, run, table)

INGEST = "event-ingest"
INTERRUPTED = ("what it started has ended, the cluster may be up: deploy/local/cluster down stops "
               "it and removes its data")
STAND_IN = REPOSITORY / "tests/lib/supabase.sql"
START_SECONDS = 120  # until all programs are ready
WAIT_SECONDS = 120   # until what was told is in the tables, by default
LETTERS_SQL = "SELECT count(*) FROM projectionist.dead_letters WHERE status = 'open'"


def admin_of(environment):
    """The parameters of a connection that may take the roles of users and services, as the API of
    a Supabase does."""
    of = conninfo.conninfo_to_dict(environment["PROJECTIONIST_POSTGRES_DSN"])
    return {**conninfo.conninfo_to_dict(environment["PROJECTIONIST_CLUSTER_ADMIN_DSN"]),
            "dbname": of["dbname"]}


class Story:
    """A system's programs, and what is told to them: a demo's class adds `system`, `consumers`,
    `done` (a sentence), `look` (what to look at, in SQL), and play() or its parts."""

    width = 66           # of a step's text
    wait_seconds = WAIT_SECONDS
    row_factory = staticmethod(psycopg.rows.dict_row)
    verify_options = ()

    def __init__(self, environment, folder, stack):
        self.environment = environment
        self.programs = Programs(environment, folder)
        self.stack = stack
        stack.callback(self.programs.stop)
        self.database = self.connect()

    # --- the database ---

    def connect(self):
        connection = psycopg.connect(**admin_of(self.environment), autocommit=True,
                                     row_factory=self.row_factory)
        self.stack.callback(connection.close)
        return connection

    def rows(self, sql, *parameters):
        return self.database.execute(sql, parameters).fetchall()

    def value(self, sql, *parameters):
        cursor = self.database.cursor(row_factory=psycopg.rows.scalar_row)
        return cursor.execute(sql, parameters).fetchone()

    def count_as(self, role, who, sql, *parameters):
        """A number, as a role (and a user) gets it, or that they may not ask."""
        try:
            with self.database.transaction():
                self.database.execute("SELECT set_config('request.jwt.claims', %s, true)",
                                      [json.dumps({"sub": who}) if who else ""])
                self.database.execute(f"SET LOCAL ROLE {role}")
                return self.value(sql, *parameters)
        except psycopg.errors.InsufficientPrivilege:
            return "refused"

    def wait(self, condition, what, seconds=None):
        """Until condition() is true, while all that was started runs."""
        return self.programs.wait(condition, what, seconds or self.wait_seconds)

    # --- the programs ---

    def start_ingest(self, topics, tokens, **more):
        """tokens: (name, token, what else the file says of it)."""
        path = LOGS / f"{self.system}-tokens.json"
        path.write_text(json.dumps({"tokens": [
            {"name": name, "sha256": hashlib.sha256(token.encode()).hexdigest(),
             "topics": [f"{self.system}.*"], **of} for name, token, of in tokens]}),
            encoding="utf-8")
        self.programs.start(INGEST, PROJECTIONIST_INGEST_LISTEN="127.0.0.1:0",
                            PROJECTIONIST_INGEST_SYSTEM=self.system,
                            PROJECTIONIST_INGEST_TOPICS=topics,
                            PROJECTIONIST_INGEST_TOKENS_FILE=str(path), **more)

    def start_consumers(self):
        for name in self.consumers:
            self.programs.start(name)

    def ingest_url(self):
        """Waits until it says where it listens."""
        def found():
            for line in (LOGS / f"{INGEST}.log").read_text(errors="replace").splitlines():
                words = dict(word.partition("=")[::2] for word in line.split())
                if "listening" in line and "port" in words:
                    return f"http://127.0.0.1:{words['port']}"
            return None

        return self.wait(found, f"{INGEST} does not say where it listens", START_SECONDS)

    # --- what a person sees ---

    def play(self):
        self.start()
        self.tell_all()
        self.report()
        self.check()
        self.verify()

    def step(self, text, act):
        started = time.monotonic()
        print(f"  {text:<{self.width}}", end="", flush=True)
        act()
        print(f"{time.monotonic() - started:5.1f} s", flush=True)

    def show(self, title, sql, *parameters):
        rows = self.rows(sql, *parameters)
        heading(title)
        table([tuple(row.values()) for row in rows], tuple(rows[0]) if rows else ("no rows",))

    def compare(self, found):
        """found: (what, as expected, as it is)."""
        heading("Counts")
        table([(what, shown(expected), shown(have)) for what, expected, have in found],
              ("WHAT", "EXPECTED", "FOUND"))
        wrong = [what.strip() for what, expected, have in found if expected != have]
        if wrong:
            raise DemoError(f"the tables are not what was told: {'; '.join(wrong)}")

    def verify(self):
        heading("Verify")
        answer = subprocess.run(
            [self.programs.folder / "projectionist", "verify", self.system, "--samples", "3",
             *self.verify_options],
            check=False, env=self.environment, text=True, capture_output=True)
        print("".join(f"  {line}\n" for line in answer.stdout.splitlines()
                      if not line.startswith("projectionist.state_")), end="")
        if answer.returncode != 0:
            raise DemoError(f"projectionist verify {self.system} ended with {answer.returncode}: "
                            f"{answer.stderr.strip() or 'rows differ from what the topics say'}")


def shown(value):
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:,}" if type(value) is int else str(value)


# --- from start to end -----------------------------------------------------------------------

def deploy(system, environment, folder):
    """Tables, roles, topics and schemas."""
    environment["PROJECTIONIST_SYSTEMS"] = system
    admin = admin_of(environment)
    creator = conninfo.conninfo_to_dict(environment["PROJECTIONIST_POSTGRES_DSN"])["user"]
    # Not on the command line, where all may read the password.
    login = {"PGHOST": admin["host"], "PGPORT": str(admin["port"]), "PGUSER": admin["user"],
             "PGPASSWORD": admin.get("password", ""), "PGDATABASE": admin["dbname"]}
    run("a stand-in for Supabase", ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v",
                                    f"creator={creator}", "-f", STAND_IN],
        {**environment, **login})
    make(system, environment, folder)
    run("projectionist roles", [folder / "projectionist", "roles"],
        {**environment, "PROJECTIONIST_POSTGRES_DSN": conninfo.make_conninfo(**admin)})


def tell_and_show(story, environment, folder, stack):
    """On servers that are ready."""
    LOGS.mkdir(parents=True, exist_ok=True)
    deploy(story.system, environment, folder)
    one = story(environment, folder, stack)
    one.play()
    for name, status in one.programs.stop().items():
        # What is not ours ends by the signal.
        if status != 0 and (folder / name).exists():
            one.programs.failed(name, status)


def demo_of(story):
    """What `deploy/local/demo NAME` runs."""
    def demo(stack):
        started = time.monotonic()
        tell_and_show(story, bring_up(), PROGRAMS, stack)
        print("\n" + coloured("1;32", story.done)
              + f" This took {time.monotonic() - started:.0f} s.")
        heading("Look around")
        print(f"""\
  eval "$(deploy/local/cluster env)"
  psql "$PROJECTIONIST_POSTGRES_DSN" {story.look}
  build/release/bin/projectionist status
  deploy/local/cluster down     # stops the cluster and removes its data""")

    return demo


def command_line(story, usage):
    """The story alone, on the servers that PROJECTIONIST_… names."""
    if len(sys.argv) > 1:
        print(usage, end="")
        sys.exit(0 if sys.argv[1] in ("-h", "--help", "help") else 2)
    folder = Path(os.environ.get("PROJECTIONIST_BIN") or PROGRAMS).resolve()
    sys.exit(main(lambda stack: tell_and_show(story, dict(os.environ), folder, stack),
                  INTERRUPTED))

# SPDX-License-Identifier: Apache-2.0
"""\
usage: deploy/local/demo_drama.py

The part of `deploy/local/demo drama` that comes when all is installed, built and up: with the
servers that PROJECTIONIST_… names and the programs in PROJECTIONIST_BIN, by default
build/release/bin.
"""

import asyncio
import hashlib
import json
import os
import random
import secrets
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psycopg
from psycopg import conninfo

from demo_common import (LOGS, PROGRAMS, REPOSITORY, DemoError, Programs, bring_up, coloured,
                         heading, main, make, run, table)

for folder in ("tests", "examples/drama"):
    sys.path.append(str(REPOSITORY / folder))

import dal  # noqa: E402
from lib import drama_events  # noqa: E402
from lib.drama_stream import shape  # noqa: E402
from lib.old_dramas import old_file  # noqa: E402

SYSTEM, INGEST = "drama", "event-ingest"
CONSUMERS = ("drama-catalog", "drama-jobs", "drama-users")
INTERRUPTED = ("what it started has ended, the cluster may be up: deploy/local/cluster down stops "
               "it and removes its data")
STAND_IN = REPOSITORY / "tests/lib/supabase.sql"
INGEST_TOPICS = "drama.dramas=drama_id drama.jobs=drama_id drama.users=user_id"
INGEST_TABLES = ("drama.dramas=dramas,key=id:drama_id,owner=user_id,revision=revision,life=life "
                 "drama.jobs=dramas,key=id:drama_id,owner=user_id")
START_SECONDS = 120  # until all programs are ready
WAIT_SECONDS = 120   # until what was told is in the tables
POLL_SECONDS = 0.1
AT_ONCE = 8          # jobs that end at the same time
FAILED = 5           # jobs whose first attempt fails
PRICE = 2            # tokens for a video
LETTERS_SQL = "SELECT count(*) FROM projectionist.dead_letters WHERE status = 'open'"
JOBS_SQL = """
    SELECT job_id, status, attempts, total_jobs, completed_jobs AS done, failed_jobs AS failed,
           running_jobs AS running, pending_jobs AS pending
    FROM drama.jobs WHERE drama_id = %s AND job_id = %s
"""
TYPES_SQL = """
    SELECT node_type, job_type, status, count(*) AS jobs, max(attempts) AS attempts
    FROM drama.jobs WHERE drama_id = %s AND parent_job_id IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1
"""
RANKS_SQL = """
    SELECT rank, kind, count(*) AS parts FROM drama.drama_graph WHERE drama_id = %s
    GROUP BY 1, 2 ORDER BY 1, 2
"""
SEEN = ("dramas", "characters", "episodes", "scenes", "assets", "jobs", "users", "token_ledger")


def node_of(kind, name, path):
    """What a job makes, and where its url belongs: the level, None for an episode."""
    is_video = name.endswith("-vid")
    return {"node_type": kind, "id": name, "path": path,
            "level": None if kind == "episode" else kind,
            "slot": "image_url" if kind == "scene" else "url",
            "job_type": "generate_drama" if kind == "episode"
            else "generate_video" if is_video else "generate_image"}


class Drama:
    """The programs, and what is told to them."""

    def __init__(self, environment, folder, stack):
        self.environment = environment
        self.programs = Programs(environment, folder)
        stack.callback(self.programs.stop)
        name = conninfo.conninfo_to_dict(environment["PROJECTIONIST_POSTGRES_DSN"])["dbname"]
        # Takes the roles of users and services, as the API of a Supabase does.
        self.database = psycopg.connect(
            conninfo.make_conninfo(environment["PROJECTIONIST_CLUSTER_ADMIN_DSN"], dbname=name),
            autocommit=True, row_factory=psycopg.rows.dict_row)
        stack.callback(self.database.close)
        self.chance = random.Random(57)
        # Another drama and other people in each run: it adds to what is there.
        self.owner, self.stranger = str(uuid.uuid4()), str(uuid.uuid4())
        self.drama = json.loads(old_file(f"drama_{uuid.uuid4().hex[:12]}", "beta"))
        self.id = self.drama["id"]
        self.nodes = [node_of(*node) for node in drama_events.graph(*shape("beta"))]
        self.top = f"job_drama_{self.id[:20]}"
        self.token = secrets.token_hex(32)
        self.order = []  # in which the jobs ended

    # --- the database ---

    def rows(self, sql, *parameters):
        return self.database.execute(sql, parameters).fetchall()

    def value(self, sql, *parameters):
        return next(iter(self.database.execute(sql, parameters).fetchone().values()))

    def seen_by(self, role, who, table_name):
        """How many of this run's rows they see, or that they may not ask."""
        column = {"users": "id", "token_ledger": "user_id", "dramas": "id"}.get(table_name,
                                                                                "drama_id")
        of = [self.owner] if table_name in ("users", "token_ledger") else [self.id]
        try:
            with self.database.transaction():
                self.database.execute("SELECT set_config('request.jwt.claims', %s, true)",
                                      [json.dumps({"sub": who}) if who else ""])
                self.database.execute(f"SET LOCAL ROLE {role}")
                return self.value(f"SELECT count(*) FROM drama.{table_name} WHERE {column} = "
                                  "ANY (%s)", of)
        except psycopg.errors.InsufficientPrivilege:
            return "refused"

    def wait(self, condition, what, seconds=WAIT_SECONDS):
        """Until condition() is true, while all that was started runs."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            self.programs.check(self.programs.running)
            if time.monotonic() > deadline:
                raise DemoError(f"{what} after {seconds} s; see the logs in .local/demo")
            time.sleep(POLL_SECONDS)
        return found

    def job(self):
        """The parent's row."""
        found = self.rows(JOBS_SQL, self.id, self.top)
        return found[0] if found else {"status": None, "done": 0}

    # --- starting ---

    def start(self):
        heading("Starting")
        tokens = LOGS / "drama-tokens.json"
        tokens.write_text(json.dumps({"tokens": [
            {"name": "backend", "sha256": hashlib.sha256(self.token.encode()).hexdigest(),
             "topics": ["drama.*"]},
            {"name": "stranger", "sha256": hashlib.sha256(self.stranger.encode()).hexdigest(),
             "topics": ["drama.*"], "user": self.stranger}]}), encoding="utf-8")
        self.programs.start(INGEST, PROJECTIONIST_INGEST_LISTEN="127.0.0.1:0",
                            PROJECTIONIST_INGEST_SYSTEM=SYSTEM,
                            PROJECTIONIST_INGEST_TOPICS=INGEST_TOPICS,
                            PROJECTIONIST_INGEST_TABLES=INGEST_TABLES,
                            PROJECTIONIST_TABLE_TIMEOUT="30s",
                            PROJECTIONIST_INGEST_TOKENS_FILE=str(tokens))
        for name in CONSUMERS:
            self.programs.start(name)
        url = self.wait(self._listening, f"{INGEST} does not say where it listens", START_SECONDS)
        dsn = self.environment["PROJECTIONIST_POSTGRES_DSN"]
        self.client = dal.Client(url, self.token, dsn)
        self.strange = dal.Client(url, self.stranger, dsn)
        print(f"  {INGEST:<14} {url}, which asks the table dramas whose each is")
        print(f"  {'consumers':<14} {', '.join(CONSUMERS)}")
        print(f"  {'a backend':<14} examples/drama/dal.py")

    def _listening(self):
        for line in (LOGS / f"{INGEST}.log").read_text(errors="replace").splitlines():
            words = dict(word.partition("=")[::2] for word in line.split())
            if "listening" in line and "port" in words:
                return f"http://127.0.0.1:{words['port']}"
        return None

    # --- the story ---

    def step(self, text, act):
        started = time.monotonic()
        print(f"  {text:<66}", end="", flush=True)
        act()
        print(f"{time.monotonic() - started:5.1f} s", flush=True)

    def tell_all(self):
        heading("A backend at work")
        for text, act in (
                ("a user with 30 tokens; an AI has written a drama, which is saved", self.write),
                (f"{len(self.nodes)} jobs and their parent; each of them ends, in any order, "
                 f"{FAILED} fail", lambda: asyncio.run(self.generate())),
                (f"the {FAILED} are tried again, and the parent is completed",
                 lambda: asyncio.run(self.retry())),
                ("an edit on what another one has changed since is refused", self.conflict),
                ("somebody else's token may not delete it", self.steal)):
            self.step(text, act)

    def write(self):
        users = dal.UserRepository(self.client)
        asyncio.run(users.create_user(self.owner, "owner@example.org"))
        asyncio.run(dal.DramaRepository(self.client).save_drama_complete(
            self.drama, user_id=self.owner, wait=WAIT_SECONDS))

    async def generate(self):
        jobs = dal.JobRepository(self.client)
        await jobs.create_job(self.id, self.top, "generate_drama", user_id=self.owner,
                              total_jobs=len(self.nodes))
        order = list(self.nodes)
        self.chance.shuffle(order)
        self.order = order
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(number, node):
            async with gate:
                await self.make_one(node, fails=number < FAILED)

        await asyncio.gather(*(one(number, node) for number, node in enumerate(order)))
        self.wait(lambda: self.job()["status"] == "failed", "the parent has not failed")

    async def make_one(self, node, fails=False, attempt=1):
        jobs, dramas = dal.JobRepository(self.client), dal.DramaRepository(self.client)
        job_id = f"job_{node['id']}"
        is_video = node["job_type"] == "generate_video"
        await jobs.create_job(self.id, job_id, node["job_type"], user_id=self.owner,
                              attempt=attempt, parent_job_id=self.top, asset_id=node["id"],
                              node_type=node["node_type"])
        if is_video:
            await dal.UserRepository(self.client).charge(self.owner, PRICE, self.id, job_id)
        await jobs.update_job_status(self.id, job_id, "running", attempt=attempt)
        if fails:
            await jobs.update_job_status(self.id, job_id, "failed", attempt=attempt,
                                         error="out of memory")
            return
        url = f"https://r2.example/{self.id}/{node['id']}"
        if node["level"]:
            await dramas.set_media(self.id, node["level"], node["path"], url, job_id=job_id,
                                   slot=node["slot"])
        await jobs.update_job_status(self.id, job_id, "completed", attempt=attempt, r2_url=url)

    async def retry(self):
        for node in self.order[:FAILED]:
            await self.make_one(node, attempt=2)
        self.wait(lambda: self.job()["status"] == "completed", "the parent is not completed")

    def conflict(self):
        dramas = dal.DramaRepository(self.client)
        read = asyncio.run(dramas.get_drama_complete(self.id))
        asyncio.run(dramas.save_drama_complete({**read, "title": "The first edit"},
                                               user_id=self.owner, wait=WAIT_SECONDS))
        try:
            asyncio.run(dramas.save_drama_complete({**read, "title": "The second edit"},
                                                   user_id=self.owner))
        except dal.Conflict:
            return
        raise DemoError("an edit on an older revision was not refused")

    def steal(self):
        try:
            asyncio.run(dal.DramaRepository(self.strange).delete_drama(self.id))
        except dal.NotPublished as failure:
            if failure.status == 403:
                return
        raise DemoError("somebody else's drama could be deleted")

    def delete_and_make_again(self):
        dramas, jobs = dal.DramaRepository(self.client), dal.JobRepository(self.client)
        read = asyncio.run(dramas.get_drama_complete(self.id))
        asyncio.run(dramas.delete_drama(self.id, wait=WAIT_SECONDS))
        # A job that was under way ends now, and saves what it had read.
        late = dal.event("DramaSaved", {**dal.saved_body(read), "base_revision": read["revision"]},
                         seen=read["revision"], drama_id=self.id, user_id=self.owner,
                         life=read["life"])
        self.client.post("drama.dramas", [late])
        self.wait(lambda: self.value("SELECT count(*) FROM drama.jobs WHERE drama_id = %s",
                                     self.id) == 0, "its jobs are still there")
        self.wait(lambda: self.value("SELECT count(*) FROM drama.drama_saves WHERE event_id = %s",
                                     late["event_id"]) == 1, "the late save was not read")
        gone = self.value("SELECT count(*) FROM drama.dramas WHERE id = %s", self.id)
        asyncio.run(dramas.save_drama_complete(self.drama, user_id=self.owner, wait=WAIT_SECONDS))
        asyncio.run(jobs.create_job(self.id, self.top, "generate_drama", user_id=self.owner))
        self.wait(lambda: self.job()["status"] == "pending", "its job made again is not there")
        return gone

    # --- what a person sees ---

    def report(self):
        for title, sql, parameters in (
                ("The parent of the jobs", JOBS_SQL, [self.id, self.top]),
                ("Its children", TYPES_SQL, [self.id]),
                ("What is made before what, from the view drama_graph", RANKS_SQL, [self.id])):
            rows = self.rows(sql, *parameters)
            heading(title)
            table([tuple(row.values()) for row in rows], tuple(rows[0]) if rows else ("no rows",))

    def who_sees_what(self):
        rows = [(what, *(self.seen_by(role, who, name) for name in SEEN)) for what, role, who in (
            ("nobody (anon)", "anon", None), ("its owner", "authenticated", self.owner),
            ("another user", "authenticated", self.stranger),
            ("a service", "service_role", None))]
        heading("Who sees what of it")
        table([tuple(map(str, row)) for row in rows], ("WHO", *SEEN))
        return {row[0]: row[1:] for row in rows}

    def check(self):
        """Compares the tables with what was told."""
        drama = asyncio.run(dal.DramaRepository(self.client).get_drama_complete(self.id))
        images = self.value("SELECT count(*) FROM drama.assets WHERE drama_id = %s AND url IS NOT "
                            "NULL", self.id)
        videos = sum(node["job_type"] == "generate_video" for node in self.nodes)
        parent, seen = self.job(), self.who_sees_what()
        everything = (1, 5, 3, 16, 32, 57, 1, 1 + videos)
        entries = self.value("SELECT count(*) FROM drama.token_ledger WHERE user_id = %s",
                             self.owner)
        balance = self.value("SELECT tokens FROM drama.users WHERE id = %s", self.owner)
        conflicts = self.value("SELECT count(*) FROM drama.drama_save_conflicts WHERE drama_id = %s",
                               self.id)
        gone = self.delete_and_make_again()
        again = asyncio.run(dal.DramaRepository(self.client).get_drama_complete(self.id))
        left = self.value("SELECT count(*) FROM drama.jobs WHERE drama_id = %s", self.id)
        heading("Counts")
        found = [
            ("jobs that ended, in any order", f"{len(self.nodes)} of {len(self.nodes)}, completed",
             f"{parent['done']} of {parent['total_jobs']}, {parent['status']}"),
            ("assets with a url, of as many jobs at once", 32, images),
            ("title after two edits on one revision", "The first edit", drama["title"]),
            ("conflicts that slipped through", 0, conflicts),
            (f"tokens: 30, less {PRICE} for each of {videos} videos, tried again or not",
             30 - PRICE * videos, balance),
            ("entries of the ledger", 1 + videos, entries),
            ("seen by nobody", ("refused",) * len(SEEN), seen["nobody (anon)"]),
            ("seen by its owner", everything, seen["its owner"]),
            ("seen by another user", (0,) * len(SEEN), seen["another user"]),
            ("seen by a service", everything, seen["a service"]),
            ("dramas after the deletion, and a save that came late", 0, gone),
            ("made again: its characters, its jobs", "5, 1", f"{len(again['characters'])}, {left}"),
            ("made again: another life, no urls of the former", True,
             again["life"] != drama["life"] and not any(
                 asset["url"] for episode in again["episodes"] for scene in episode["scenes"]
                 for asset in scene["assets"])),
            ("dead letters", 0, self.value(LETTERS_SQL)),
        ]
        table([(what, plain(expected), plain(have)) for what, expected, have in found],
              ("WHAT", "EXPECTED", "FOUND"))
        wrong = [what for what, expected, have in found if expected != have]
        if wrong:
            raise DemoError(f"the tables are not what was told: {'; '.join(wrong)}")

    def verify(self):
        heading("Verify")
        answer = subprocess.run(
            [self.programs.folder / "projectionist", "verify", SYSTEM, "--samples", "3"],
            check=False, env=self.environment, text=True, capture_output=True)
        print("".join(f"  {line}\n" for line in answer.stdout.splitlines()
                      if not line.startswith("projectionist.state_")), end="")
        if answer.returncode != 0:
            raise DemoError(f"projectionist verify {SYSTEM} ended with {answer.returncode}: "
                            f"{answer.stderr.strip() or 'rows differ from what the topics say'}")


def plain(value):
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


# --- from start to end -----------------------------------------------------------------------

def deploy(environment, folder):
    """Tables, roles, topics and schemas."""
    environment["PROJECTIONIST_SYSTEMS"] = SYSTEM
    dsn = conninfo.conninfo_to_dict(environment["PROJECTIONIST_POSTGRES_DSN"])
    admin = conninfo.make_conninfo(environment["PROJECTIONIST_CLUSTER_ADMIN_DSN"],
                                   dbname=dsn["dbname"])
    run("a stand-in for Supabase", ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v",
                                    f"creator={dsn['user']}", "-f", STAND_IN, admin], environment)
    make(SYSTEM, environment, folder)
    run("projectionist roles", [folder / "projectionist", "roles"],
        {**environment, "PROJECTIONIST_POSTGRES_DSN": admin})


def tell_and_show(environment, folder, stack):
    """On servers that are ready."""
    one = Drama(environment, folder, stack)
    one.start()
    one.tell_all()
    one.report()
    one.check()
    one.verify()
    for name, status in one.programs.stop().items():
        if status != 0:
            one.programs.failed(name, status)


def demo(stack):
    started = time.monotonic()
    environment = bring_up()
    deploy(environment, PROGRAMS)
    tell_and_show(environment, PROGRAMS, stack)
    print("\n" + coloured("1;32", "The tables are what was told, and each sees their own.")
          + f" This took {time.monotonic() - started:.0f} s.")
    heading("Look around")
    print("""\
  eval "$(deploy/local/cluster env)"
  psql "$PROJECTIONIST_POSTGRES_DSN" -c "SET search_path = drama" -c "TABLE users"
  build/release/bin/projectionist status
  deploy/local/cluster down     # stops the cluster and removes its data""")


def on_servers(stack):
    programs = Path(os.environ.get("PROJECTIONIST_BIN") or PROGRAMS).resolve()
    environment = dict(os.environ)
    LOGS.mkdir(parents=True, exist_ok=True)
    deploy(environment, programs)
    tell_and_show(environment, programs, stack)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(__doc__, end="")
        sys.exit(0 if sys.argv[1] in ("-h", "--help", "help") else 2)
    sys.exit(main(on_servers, INTERRUPTED))

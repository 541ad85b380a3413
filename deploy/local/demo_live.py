# SPDX-License-Identifier: Apache-2.0
"""\
usage: deploy/local/demo_live.py

The part of `deploy/local/demo --live` that comes when all is installed, built and up: with the
servers that PROJECTIONIST_… names (migrated, with topics and schemas) and the programs in
PROJECTIONIST_BIN, by default build/release/bin.
"""

import collections
import contextlib
import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path

import psycopg
from websockets.sync.client import connect

from demo_common import (CONSUMERS, LOGS, PROGRAMS, DemoError, Programs, coloured, free_port,
                         heading, is_terminal, main, prepare, table)

SERVICE, GATEWAY, BRIDGE = "automation-service", "control-gateway", "telemetry-bridge"
INTERRUPTED = ("what it started has ended, the cluster may be up: deploy/local/cluster down stops "
               "it and removes its data")

KEY_PREFIX = "live-demo-"  # of idempotency keys: by them the other demo knows these commands
SPEED = 8  # times faster than in life: a video takes 9 s
WORKERS = 3  # videos at the same time; with the first three, all others wait in the queue
START_SECONDS = 60  # until all programs are ready
RUN_SECONDS = 180  # until all commands have ended and are in the tables
ANSWER_SECONDS = 15
LIFE = ("QUEUED", "RUNNING", "SUCCEEDED")
COLOURS = {"QUEUED": "2", "RUNNING": "33", "SUCCEEDED": "32", "FAILED": "31", "CANCELLED": "35"}

ROWS_SQL = """
    SELECT command_id::text AS id, type, status, payload, idempotency_key, target,
           extract(epoch FROM completed_at - created_at)::float8 AS seconds,
           (SELECT count(*) FROM safari_events e WHERE e.command_id = c.command_id) AS frames,
           (SELECT string_agg(v.status, ' ' ORDER BY v.status) FROM safari_videos v
            WHERE v.command_id = c.command_id) AS videos
    FROM safari_commands c WHERE command_id = ANY (%s::uuid[])
"""
EVENTS_SQL = """
    SELECT count(*) FROM safari_events
    WHERE event_id = ANY (%s::uuid[]) OR command_id = ANY (%s::uuid[])
"""
STORED_SQL = "SELECT event_id::text FROM safari_events WHERE event_id = ANY (%s::uuid[])"
LETTERS_SQL = "SELECT count(*) FROM projectionist.dead_letters WHERE status = 'open'"
SESSION_SQL = "SELECT status FROM safari_sessions WHERE session_id = %s"
# Taking a partition raises its epoch.
EPOCHS_SQL = """
    SELECT consumer_group AS name, sum(epoch)::bigint AS epochs
    FROM projectionist.consumer_offsets WHERE consumer_group = ANY (%s) GROUP BY 1
"""


@dataclass
class Command:
    """A command that the demo submits."""

    type: str
    payload: dict
    note: str = ""
    expected: str = "SUCCEEDED"
    cancelled: bool = False
    id: str = ""
    key: str = ""
    answer: dict | None = None


def commands_of_the_demo():
    return [
        Command("sora.generate.clean", {"prompt": "A lighthouse in a storm", "duration": "10s"}),
        Command("sora.generate", {"prompt": "Two badgers drink coffee", "aspect_ratio": "9:16"}),
        Command("sora.batch.clean", {"prompts": ["Dawn over a harbour", "Rain on a tin roof"]}),
        Command("sora.clean", {"input_path": "/videos/raw/harbour.mp4"}),
        Command("sora.generate.clean", {"prompt": "富士山の夜明け"}, cancelled=True,
                note="cancelled while queued, and executed all the same"),
        Command("sora.clean", {"input_path": "/videos/raw/missing.mp4"}, expected="FAILED",
                note="there is no such file"),
        Command("sora.usage", {}),
        Command("sora.download", {"url": "https://videos.example/7"}),
        Command("flow.run", {"flow": "publish"}, note="at its end when it is answered"),
        Command("sora.generate.clean", {"prompt": "A fox in the snow", "character": "isaiah"}),
    ]


# --- what a person sees ----------------------------------------------------------------------

class Board:
    """The commands' rows: a table that is drawn again on a terminal, and elsewhere a line for each
    change of a row."""

    def __init__(self, commands):
        self.commands = commands
        self.started = time.monotonic()
        self.seen = collections.defaultdict(list)  # by id: the states, in order
        self.drawn = []

    def show(self, rows):
        seconds = time.monotonic() - self.started
        for command in self.commands:
            row = rows.get(command.id)
            if row is None or self.seen[command.id][-1:] == [row["status"]]:
                continue
            self.seen[command.id].append(row["status"])
            if not is_terminal():
                print(f"  {seconds:5.1f} s  {command.id[:8]}  {command.type:<20}"
                      f"{' → '.join(self.seen[command.id])}", flush=True)
        if is_terminal():
            self._draw(seconds, rows)

    def _draw(self, seconds, rows):
        size = shutil.get_terminal_size()
        lines = [f"  {'COMMAND':<10}{'TYPE':<21}{'STATUS':<12}{'FRAMES':>6}  VIDEOS"]
        for command in self.commands:
            row = rows.get(command.id)
            if row is None:
                lines.append(f"  {command.id[:8] or '-':<10}{command.type:<21}-")
                continue
            status = coloured(COLOURS.get(row["status"], "0"), f"{row['status']:<12}")
            videos = (row["videos"] or "")[:max(size.columns - 52, 0)]
            lines.append(f"  {command.id[:8]:<10}{row['type']:<21}{status}{row['frames']:>6}  "
                         f"{videos}")
        lines.append(f"  {seconds:.0f} s")
        lines = lines[:max(size.lines - 2, 3)]
        if lines == self.drawn:
            return
        up = f"\033[{len(self.drawn)}A" if self.drawn else ""
        print(up + "".join(f"\r{line}\033[K\n" for line in lines) + "\033[J", end="", flush=True)
        self.drawn = lines


# --- the service, through the gateway and beside it ------------------------------------------

def ask(url, method="GET", body=None, seconds=ANSWER_SECONDS):
    """(status, answer) of an HTTP request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"},
                                     method=method)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        content = error.read()
        with contextlib.suppress(ValueError):
            return error.code, json.loads(content)
        return error.code, content.decode(errors="replace")


def expect(wanted, url, method, body=None):
    status, answer = ask(url, method, body)
    if status != wanted:
        raise DemoError(f"{method} {url} was answered with {status}, not {wanted}: {answer}")
    return answer


def frames_of(stream_url):
    """All that the service has sent: it replays its whole buffer for a cursor that it does not
    know."""
    with connect(stream_url, max_size=None, open_timeout=ANSWER_SECONDS) as client:
        client.send(json.dumps({"type": "subscribe", "cursor": "0-0"}))
        found = []
        while (frame := json.loads(client.recv(timeout=ANSWER_SECONDS)))["type"] != "subscribed":
            found.append(frame)
    return [frame for frame in found if "event_id" in frame]


# --- the demo --------------------------------------------------------------------------------

class Live:
    """The programs, and what is asked of them."""

    def __init__(self, environment, folder, stack):
        self.programs = Programs(environment, folder)
        stack.callback(self.programs.stop)
        self.database = psycopg.connect(environment["PROJECTIONIST_POSTGRES_DSN"], autocommit=True,
                                        row_factory=psycopg.rows.dict_row)
        stack.callback(self.database.close)
        self.commands = commands_of_the_demo()
        self.session = None

    def value(self, sql, *parameters):
        return next(iter(self.database.execute(sql, parameters).fetchone().values()))

    def epochs(self):
        rows = self.database.execute(EPOCHS_SQL, [list(CONSUMERS)])
        return {row["name"]: row["epochs"] for row in rows}

    def _have_partitions(self, before):
        now = self.epochs()
        return all(now.get(name, 0) > before.get(name, 0) for name in CONSUMERS)

    def rows(self):
        ids = [command.id for command in self.commands if command.id]
        return {row["id"]: row for row in self.database.execute(ROWS_SQL, [ids])}

    def wait(self, seconds, condition, what):
        return self.programs.wait(condition, what, seconds)

    def start(self):
        """Starts all of it, and waits until it is ready."""
        heading("Starting")
        self.letters = self.value(LETTERS_SQL)
        before = self.epochs()
        log = LOGS / f"{SERVICE}.log"
        self.programs.start(SERVICE, "--http-port=0", "--stream-port=0", f"--speed={SPEED}",
                            f"--workers={WORKERS}",
                            command=[sys.executable, "-m", "tests.lib.automation_service"])
        line = self.wait(START_SECONDS, lambda: log.read_text().endswith("\n") and log.read_text(),
                         "the stand-in for the service has not started")
        _, self.service_url, _, self.stream_url = line.replace(",", "").split()
        print(f"  {SERVICE:<20} {self.service_url}, {self.stream_url} "
              f"(a stand-in, {SPEED} times as fast)")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.programs.start(GATEWAY, PROJECTIONIST_GATEWAY_LISTEN=f"127.0.0.1:{port}",
                            PROJECTIONIST_GATEWAY_UPSTREAM=self.service_url)
        self.programs.start(BRIDGE, PROJECTIONIST_TELEMETRY_URL=self.stream_url,
                            PROJECTIONIST_BRIDGE_ID="demo")
        for name in CONSUMERS:
            self.programs.start(name)
        self.wait(START_SECONDS, self._gateway_answers, f"{GATEWAY} does not answer")
        print(f"  {GATEWAY:<20} {self.url}, in front of it")
        self.wait(START_SECONDS, lambda: ask(f"{self.service_url}/v1/telemetry/stats")[1][
            "subscribers"] > 0, f"{BRIDGE} has not subscribed")
        print(f"  {BRIDGE:<20} subscribed to its frames")
        self.wait(START_SECONDS, lambda: self._have_partitions(before),
                  "the consumers have no partitions")
        print(f"  {'consumers':<20} {', '.join(CONSUMERS)}")

    def _gateway_answers(self):
        try:
            return ask(f"{self.url}/health")[0] == 200
        except OSError:
            return False

    def submit(self, board):
        """Sends the commands, each request twice: as a client does that got no answer in time."""
        self.session = expect(201, f"{self.url}/v1/sessions", "POST", {"platform": "sora"})["id"]
        for command in self.commands:
            command.key = f"{KEY_PREFIX}{uuid.uuid4()}"
            body = {"type": command.type, "payload": command.payload,
                    "idempotency_key": command.key,
                    "target": {"session_id": self.session, "platform": "sora"}}
            for _ in range(2):
                answer = expect(202, f"{self.url}/v1/commands", "POST", body)
                if command.id and answer["command_id"] != command.id:
                    raise DemoError(f"the repeated request for {command.id} was answered with "
                                    f"another command, {answer['command_id']}")
                command.id = answer["command_id"]
            if command.cancelled:
                self._wait_for_row(command, board)
                expect(200, f"{self.url}/v1/commands/{command.id}/cancel", "POST")
            board.show(self.rows())

    def _wait_for_row(self, command, board):
        def is_there():
            rows = self.rows()
            board.show(rows)
            return command.id in rows

        self.wait(RUN_SECONDS, is_there, "a command has no row")

    def follow(self, board):
        """Shows the rows until all of them have ended, as the commands have."""
        def ended():
            rows = self.rows()
            board.show(rows)
            return all(rows.get(command.id, {}).get("status") == command.expected
                       and rows[command.id]["type"] == command.type for command in self.commands)

        self.wait(RUN_SECONDS, ended, "not all commands have ended in safari_commands")
        expect(200, f"{self.url}/v1/sessions/{self.session}", "DELETE")
        self.wait(START_SECONDS, lambda: self.value(
            "SELECT count(*) FROM safari_sessions WHERE session_id = %s AND status = 'closed'",
            self.session) == 1, "the session is not closed in safari_sessions")
        ids = [command.id for command in self.commands]
        sent = [frame["event_id"] for frame in frames_of(self.stream_url)]
        with contextlib.suppress(DemoError):  # what is missing then, the check says
            self.wait(ANSWER_SECONDS, lambda: self.value(EVENTS_SQL, sent, ids) >= len(sent),
                      "frames are missing")

    def check(self, board):
        """Compares the tables with what was sent; the rows of the last table."""
        frames = frames_of(self.stream_url)
        sent = [frame["event_id"] for frame in frames]
        ids = [command.id for command in self.commands]
        rows = self.rows()
        starts = collections.Counter(frame["command_id"] for frame in frames
                                     if frame["payload"].get("status") == "QUEUED")
        stored = [command for command in self.commands if self._is_stored(command, rows)]
        known = {row["event_id"] for row in self.database.execute(STORED_SQL, [sent])}
        extra = self.value(EVENTS_SQL, sent, ids) - len(known)
        lived = [command for command in self.commands
                 if [state for state in board.seen[command.id] if state in LIFE] == list(LIFE)]
        letters = self.value(LETTERS_SQL) - self.letters
        heading("Counts")
        found = [
            ("commands submitted, each twice; executed", len(ids), sum(starts.values())),
            ("  stored, with type, payload, key and target", len(ids), len(stored)),
            ("frames sent by the service; in safari_events", len(set(sent)), len(known)),
            ("  of these commands, but sent by nobody", 0, extra),
            ("sessions opened and closed; closed in safari_sessions", 1, int(
                self.value(SESSION_SQL, self.session) == "closed")),
            ("dead letters", 0, letters),
        ]
        table(found, ("WHAT", "EXPECTED", "FOUND"))
        print(f"\n  {len(lived)} rows were seen to be {', then '.join(LIFE)}; a quick command may "
              "pass\n  through two states between two looks at the table.")
        if set(starts) != set(ids) or any(count != 1 for count in starts.values()):
            raise DemoError("not every command was executed once")
        wrong = [what.strip() for what, expected, count in found if expected != count]
        if wrong:
            raise DemoError(f"the tables are not what was sent: {'; '.join(wrong)}")
        if not lived:
            raise DemoError("no row was seen to go from QUEUED to RUNNING to SUCCEEDED")

    def _is_stored(self, command, rows):
        row = rows.get(command.id)
        return row is not None and (
            row["type"], row["payload"], row["idempotency_key"], row["target"]["session_id"],
            row["status"]) == (
                command.type, command.payload, command.key, self.session,
                expect(200, f"{self.url}/v1/commands/{command.id}", "GET")["status"])


def live(environment, folder, stack):
    """Runs it on servers that are ready."""
    LOGS.mkdir(parents=True, exist_ok=True)
    one = Live(environment, folder, stack)
    one.start()
    heading("Rows of safari_commands")
    board = Board(one.commands)
    one.submit(board)
    one.follow(board)
    for command in one.commands:
        if command.note:
            print(f"  {command.id[:8]}: {command.note}")
    one.check(board)
    for name, status in one.programs.stop().items():
        if status != 0:
            one.programs.failed(name, status)


def demo(stack):
    started = time.monotonic()
    environment = prepare()
    live(environment, PROGRAMS, stack)
    print("\n" + coloured("1;32", "Each command was executed once and is stored once, and each "
                          "frame is stored once.")
          + f" This took {time.monotonic() - started:.0f} s.")
    heading("Look around")
    print("""\
  eval "$(deploy/local/cluster env)"
  psql "$PROJECTIONIST_POSTGRES_DSN"
  less .local/demo/telemetry-bridge.log
  deploy/local/cluster down     # stops the cluster and removes its data""")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(__doc__, end="")
        sys.exit(0 if sys.argv[1] in ("-h", "--help", "help") else 2)
    programs = Path(os.environ.get("PROJECTIONIST_BIN") or PROGRAMS).resolve()
    sys.exit(main(lambda stack: live(dict(os.environ), programs, stack), INTERRUPTED))

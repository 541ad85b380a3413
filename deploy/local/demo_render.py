# SPDX-License-Identifier: Apache-2.0
"""\
usage: deploy/local/demo_render.py

The part of `deploy/local/demo render` that comes when all is installed, built and up: with the
servers that PROJECTIONIST_… names and the programs in PROJECTIONIST_BIN, by default
build/release/bin.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from demo_common import (LOGS, PROGRAMS, DemoError, Programs, bring_up, coloured, heading,
                         is_terminal, main, run, table)
from demo_live import free_port

CONSUMERS = ("render-jobs", "render-storage", "render-access", "render-metrics")
RELAY, INGEST = "outbox-relay", "event-ingest"
TOKEN = "demo"
KEYS = ("render.jobs=job_id render.elements=job_id render.timeline=job_id "
        "render.storage=job_id|bucket/key render.access=job_id|event_id render.metrics=event_id")
CLIENT, PROXY = "203.0.113.7", "127.0.0.1"  # a documentation's address; whom we believe
LIMIT = 6  # requests an hour, of those that are sent
REQUESTS = 8
START_SECONDS = 60
RUN_SECONDS = 120
RETRY_SECONDS = 2
BAR_CELLS = 24
COLOURS = {"processing": "33", "completed": "32", "failed": "31", "timeout": "35"}
STEPS = ("download", "composition", "encoding", "upload")
INTERRUPTED = ("what it started has ended, the cluster may be up: deploy/local/cluster down stops it "
               "and removes its data")

CREATE_SQL = "SELECT create_job_with_elements('mp4', 1920, 1080, %s, %s)"


@dataclass
class Job:
    """A video that the demo orders, and what becomes of it."""

    title: str
    seconds: int
    ends: str = "completed"  # of its only attempt, or of the second
    fails_first: bool = False
    elements: int = 2
    id: str = ""
    attempt: int = 1
    seen: list = field(default_factory=list)  # of the notifications: (status, percent)

    @property
    def states(self):
        """One after the other."""
        found = []
        for status, _ in self.seen:
            if found[-1:] != [status]:
                found.append(status)
        return found

    @property
    def wanted(self):
        """Its status and retry_count in the end."""
        return self.ends, int(self.fails_first)


def jobs_of_the_demo():
    return [Job("A lighthouse in a storm", 20), Job("Two badgers drink coffee", 25, elements=4),
            Job("富士山の夜明け", 90, fails_first=True), Job("Rain on a tin roof", 8),
            Job("An opera in one act", 600, ends="timeout"), Job("A fox in the snow", 40, elements=3)]


class Bars:
    """A line for each job: drawn again on a terminal, and elsewhere a line for each state."""

    def __init__(self, jobs):
        self.jobs = {job.id: job for job in jobs}
        self.drawn = 0
        self.started = time.monotonic()

    def hear(self, payload):
        job = self.jobs.get(payload["job_id"])
        if job is None:
            return
        status, percent = payload["new_status"], payload["progress_percentage"]
        changed = not job.seen or job.seen[-1][0] != status
        job.seen.append((status, percent))
        if is_terminal():
            self.draw()
        elif changed:
            print(f"  {time.monotonic() - self.started:5.1f} s  {job.id[:8]}  {self.bar(percent)} "
                  f"{percent:>3} %  {' → '.join(job.states)}", flush=True)

    @staticmethod
    def bar(percent):
        done = round(BAR_CELLS * percent / 100)
        return "█" * done + "░" * (BAR_CELLS - done)

    def draw(self):
        up = f"\033[{self.drawn}A" if self.drawn else ""
        lines = []
        for job in self.jobs.values():
            status, percent = job.seen[-1] if job.seen else ("ordered", 0)
            again = f"  (attempt {job.attempt})" if job.attempt > 1 else ""
            lines.append(f"  {job.id[:8]}  {self.bar(percent)} {percent:>3} %  "
                         + coloured(COLOURS.get(status, "2"), f"{status:<10}") + again)
        print(up + "".join(f"\r{line}\033[K\n" for line in lines), end="", flush=True)
        self.drawn = len(lines)


class Render:
    """The programs, and what is asked of them."""

    def __init__(self, environment, folder, stack):
        self.environment = {**environment, "PROJECTIONIST_SYSTEMS": "render"}
        self.folder = folder
        self.programs = Programs(self.environment, folder)
        stack.callback(self.programs.stop)
        self.admin = self.connect(stack, "PROJECTIONIST_CLUSTER_ADMIN_DSN")
        self.schema = self.admin.execute(
            "SELECT tables_schema FROM projectionist.migrations WHERE system = 'render' LIMIT 1"
        ).fetchone()[0]
        self.admin.execute(f"SET search_path = {self.schema}, public")
        self.public = self.connect(stack, "PROJECTIONIST_CLUSTER_ADMIN_DSN")  # as anon, below
        self.jobs = jobs_of_the_demo()
        self.refused = 0
        self.letters = self.value("SELECT count(*) FROM projectionist.dead_letters WHERE status = 'open'")

    def connect(self, stack, name):
        parts = psycopg.conninfo.conninfo_to_dict(self.environment["PROJECTIONIST_POSTGRES_DSN"])
        connection = psycopg.connect(self.environment[name], dbname=parts["dbname"], autocommit=True)
        stack.callback(connection.close)
        return connection

    def value(self, sql, parameters=None):
        return self.admin.execute(sql, parameters).fetchone()[0]

    def command(self, *arguments):
        """The status and the output of projectionist."""
        done = subprocess.run([self.folder / "projectionist", *arguments], env=self.environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def wait(self, seconds, condition, what):
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            self.programs.check(self.programs.running)
            if time.monotonic() > deadline:
                raise DemoError(f"{what} after {seconds} s; see the logs in .local/demo")
            time.sleep(0.05)
        return found

    # --- starting ---

    def start(self):
        heading("Starting")
        tokens = LOGS / "tokens.json"
        tokens.write_text(json.dumps({"tokens": [{
            "name": "worker", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest(),
            "topics": ["render.*"]}]}), encoding="utf-8")
        self.admin.execute("INSERT INTO render_private.trusted_proxies VALUES (%s) ON CONFLICT DO NOTHING",
                           [PROXY])
        self.programs.start(RELAY, PROJECTIONIST_OUTBOX="render_private", PROJECTIONIST_RELAY_ID="demo")
        self.port = free_port()
        self.programs.start(INGEST, PROJECTIONIST_INGEST_LISTEN=f"127.0.0.1:{self.port}",
                            PROJECTIONIST_INGEST_ID="demo", PROJECTIONIST_INGEST_SYSTEM="render",
                            PROJECTIONIST_INGEST_TOPICS=KEYS,
                            PROJECTIONIST_INGEST_TOKENS_FILE=str(tokens))
        for name in CONSUMERS:
            self.programs.start(name)
        self.wait(START_SECONDS, self._listens, f"{INGEST} does not listen")
        print(f"  {RELAY:<14} from render_private.outbox to Kafka")
        print(f"  {INGEST:<14} http://127.0.0.1:{self.port}, for the workers")
        print(f"  {'consumers':<14} {', '.join(CONSUMERS)}")

    def _listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 5).close()
            return True
        except OSError:
            return False

    # --- ordering, by SQL, as anybody ---

    @contextlib.contextmanager
    def as_anon(self):
        """A transaction as PostgREST begins it for a request without a token."""
        with self.public.transaction():
            self.public.execute(
                "SET LOCAL ROLE anon; SELECT set_config('search_path', '%s', true), "
                "set_config('request.jwt.claims', '{\"role\": \"anon\"}', true), "
                "set_config('request.headers', '{\"x-forwarded-for\": \"%s, %s\"}', true)"
                % (self.schema, CLIENT, PROXY))
            yield self.public

    def order(self):
        """The gate lets six of eight requests through; each of these orders a video."""
        heading("Ordered by SQL, as an anonymous user")
        waiting = iter(self.jobs)
        identifier = f"demo {uuid.uuid4()}"
        for number in range(1, REQUESTS + 1):
            if not self.value("SELECT check_rate_limit(%s, %s, '1 hour')", [identifier, LIMIT]):
                self.refused += 1
                print(f"  request {number}  refused by check_rate_limit: {LIMIT} an hour")
                continue
            job = next(waiting)
            elements = [{"type": kind, "source_url": f"https://example.org/{place}"}
                        for place, kind in enumerate(("video", "audio", "image", "text")[:job.elements])]
            with self.as_anon() as connection:
                made = connection.execute(CREATE_SQL, [json.dumps(elements), job.seconds]).fetchone()[0]
            job.id = made["job_id"]
            print(f"  request {number}  {job.id[:8]}  {job.title}, {job.seconds} s of work expected")

    # --- the workers, over HTTP ---

    def post(self, topic, *events):
        now = int(time.time() * 1_000_000)
        body = [{"event_id": str(uuid.uuid4()), "emitted_at": now + number, **event}
                for number, event in enumerate(events)]
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/events/render.{topic}", json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            raise DemoError(f"{INGEST} answered {error.code}: "
                            f"{error.read().decode(errors='replace')}") from error

    def tell(self, job, kind, **body):
        self.post("jobs", {"job_id": job.id, "attempt": job.attempt, "body": {"type": kind, **body}})

    def work(self, job):
        """One worker: takes the job, reports, and ends it."""
        self.tell(job, "JobStatusChanged", status="processing")
        for place, step in enumerate(STEPS):
            event = {"job_id": job.id, "attempt": job.attempt, "step": step, "step_order": place}
            self.post("timeline", {**event, "body": {"type": "StepStarted"}})
            for percent in range(25 * place + 2, 25 * place + 25, 3):
                self.tell(job, "JobProgressed", progress=percent, step=step)
                if job.fails_first and job.attempt == 1 and percent > 60:
                    self.tell(job, "JobStatusChanged", status="failed", error_code="ENCODER",
                              error_message="the encoder ended with 1")
                    time.sleep(RETRY_SECONDS)  # else one commit has both, and failed is never seen
                    job.attempt = 2
                    return self.work(job)
                if job.ends == "timeout" and percent > 40:
                    self.tell(job, "JobStatusChanged", status="timeout", error_code="TIMEOUT")
                    return None
                time.sleep(0.04)
            self.post("timeline", {**event, "body": {"type": "StepCompleted", "success": True,
                                                     "cpu_usage": 87.5, "memory_usage": 512_000_000}})
        self.post("storage", {"job_id": job.id, "operation": "upload", "bucket": "videos",
                              "key": f"{job.id}.mp4", "success": True, "file_size": 1_000_000 + job.seconds})
        self.tell(job, "JobStatusChanged", status="completed", processing_ms=1000 * job.seconds)
        self.post("access", {"job_id": job.id, "url": f"https://cdn.example/{job.id}.mp4",
                             "access_type": "download", "client_ip": CLIENT, "response_code": 200})
        return None

    def follow(self):
        """Draws the notifications that a listener gets, until every job has ended."""
        heading("Progress, by the notifications of job_status_change")
        bars = Bars(self.jobs)
        listener = psycopg.connect(self.admin.info.dsn, password=self.admin.info.password, autocommit=True)
        with contextlib.closing(listener), concurrent.futures.ThreadPoolExecutor(3) as pool:
            listener.execute("LISTEN job_status_change")
            # The rows must be seen first, or there is nothing to report on.
            working = []
            deadline = time.monotonic() + RUN_SECONDS
            for job in self.jobs:
                working.append(pool.submit(self.work, job))
            while not all(job.seen and job.seen[-1][0] == job.ends for job in self.jobs):
                for one in listener.notifies(timeout=0.5, stop_after=1):
                    bars.hear(json.loads(one.payload))
                self.programs.check(self.programs.running)
                for one in working:
                    if one.done():
                        one.result()
                if time.monotonic() > deadline:
                    raise DemoError(f"not all jobs have ended after {RUN_SECONDS} s")

    # --- looking ---

    def settle(self):
        rows = "SELECT count(*) FROM {} WHERE job_id = ANY (%s)"
        ids = [[job.id for job in self.jobs]]
        done = [job for job in self.jobs if job.ends == "completed"]
        self.wait(RUN_SECONDS, lambda: self.value(rows.format("url_access_logs"), ids) == len(done)
                  and self.value(rows.format("storage_operations"), ids) == len(done)
                  and self.value("SELECT count(*) FROM render_private.outbox") == 0,
                  "what was logged is not in the tables")
        self.wait(RUN_SECONDS, lambda: self.value(
            "SELECT count(*) FROM system_metrics WHERE labels ->> 'event_type' = 'rate_limit_exceeded'")
            >= self.refused, "what was refused is not in the metrics")

    def report(self):
        ids = [job.id for job in self.jobs]
        heading("Jobs, from the view job_summary")
        rows = self.admin.execute(
            "SELECT left(id::text, 8), status::text, retry_count, progress_percentage, element_count, "
            "completed_processing_steps, actual_duration, file_size, coalesce(error_code, '') FROM job_summary "
            "WHERE id = ANY (%s) ORDER BY created_at", [ids]).fetchall()
        table(rows, ("JOB", "STATUS", "RETRIES", "PERCENT", "ELEMENTS", "STEPS", "SECONDS", "BYTES", "ERROR"))
        with self.as_anon() as connection:
            mine = connection.execute("SELECT count(*) FROM job_summary WHERE id = ANY (%s)", [ids]).fetchone()[0]
        heading("Statistics, from get_job_statistics, and health_check")
        found = self.admin.execute("SELECT total_jobs, completed_jobs, failed_jobs, "
                                   "date_trunc('milliseconds', avg_processing_time)::text, immediate_response_jobs, "
                                   "async_response_jobs FROM get_job_statistics()").fetchall()
        table(found, ("TOTAL", "COMPLETED", "FAILED", "AVERAGE", "IMMEDIATE", "ASYNC"))
        print(f"  {json.dumps(self.value('SELECT health_check()'))}")
        return mine

    def prove(self, mine):
        """Verify, a rebuild while somebody listens, and the counts."""
        with contextlib.closing(psycopg.connect(
                self.admin.info.dsn, password=self.admin.info.password, autocommit=True)) as listener:
            verified, said = self.command("verify", "render")
            self.admin.execute("UPDATE jobs SET progress_percentage = 1 WHERE id = ANY (%s)",
                               [[job.id for job in self.jobs]])
            listener.execute("LISTEN job_status_change; LISTEN processing_timeline_update")
            rebuilt, why = self.command("rebuild", "--yes", "render-jobs")
            heard = len(list(listener.notifies(timeout=1)))
        again, more = self.command("verify", "render")
        rows = {str(job): (status, retries) for job, status, retries in self.admin.execute(
            "SELECT id, status::text, retry_count FROM jobs WHERE id = ANY (%s)", [[job.id for job in self.jobs]])}
        letters = self.value("SELECT count(*) FROM projectionist.dead_letters WHERE status = 'open'") - self.letters
        heading("Counts")
        found = [
            ("jobs ordered; as they must have ended", len(self.jobs),
             sum(rows.get(job.id) == job.wanted for job in self.jobs)),
            ("  that who ordered them sees", len(self.jobs), mine),
            ("requests beyond the limit; refused", REQUESTS - LIMIT, self.refused),
            ("projectionist verify render: exit status", 0, verified),
            ("rows made wrong, then rebuild: exit status", 0, rebuilt),
            ("  notifications that it sent", 0, heard),
            ("  verify after it: exit status", 0, again),
            ("dead letters", 0, letters),
        ]
        table(found, ("WHAT", "EXPECTED", "FOUND"))
        wrong = [what.strip() for what, expected, count in found if expected != count]
        if wrong:
            print(said + why + more, file=sys.stderr)
            raise DemoError(f"it is not as it must be: {'; '.join(wrong)}")


def render(environment, folder, stack):
    """Runs it on servers that are ready."""
    LOGS.mkdir(parents=True, exist_ok=True)
    one = Render(environment, folder, stack)
    one.start()
    one.order()
    one.follow()
    one.settle()
    one.prove(one.report())
    for name, status in one.programs.stop().items():
        if status != 0:
            one.programs.failed(name, status)


def stand_in(environment, folder):
    """Tables, topics and schemas; the roles of a Supabase, which only a demonstration makes."""
    admin = environment["PROJECTIONIST_CLUSTER_ADMIN_DSN"]
    parts = psycopg.conninfo.conninfo_to_dict(environment["PROJECTIONIST_POSTGRES_DSN"])
    owner = psycopg.conninfo.make_conninfo(admin, dbname=parts["dbname"])
    run("stand-in for Supabase", ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", f"creator={parts['user']}",
                                  "-f", "tests/lib/supabase.sql", owner], environment)
    for step in ("migrate render", "topics create render", "schemas register render"):
        run(f"projectionist {step}", [folder / "projectionist", *step.split()], environment)
    run("projectionist roles", [folder / "projectionist", "roles", "--systems", "render"],
        {**environment, "PROJECTIONIST_POSTGRES_DSN": owner})


def demo(stack):
    started = time.monotonic()
    environment = bring_up()
    stand_in(environment, PROGRAMS)
    render(environment, PROGRAMS, stack)
    print("\n" + coloured("1;32", "Each order became a video's row, once, and each report counts.")
          + f" This took {time.monotonic() - started:.0f} s.")
    heading("Look around")
    print("""\
  eval "$(deploy/local/cluster env)"
  psql "$PROJECTIONIST_POSTGRES_DSN" -c 'SELECT * FROM render.job_summary'
  deploy/local/cluster down     # stops the cluster and removes its data""")


def given(stack):
    environment = dict(os.environ)
    programs = Path(os.environ.get("PROJECTIONIST_BIN") or PROGRAMS).resolve()
    LOGS.mkdir(parents=True, exist_ok=True)
    stand_in(environment, programs)
    render(environment, programs, stack)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(__doc__, end="")
        sys.exit(0 if sys.argv[1] in ("-h", "--help", "help") else 2)
    sys.exit(main(given, INTERRUPTED))

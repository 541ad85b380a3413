# SPDX-License-Identifier: Apache-2.0
"""\
usage: deploy/local/demo_render.py

The part of `deploy/local/demo render` that comes when all is installed, built and up: with the
servers that PROJECTIONIST_… names and the programs in PROJECTIONIST_BIN, by default
build/release/bin.
"""

import concurrent.futures
import contextlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field

import psycopg

from demo_common import DemoError, coloured, heading, is_terminal, table
from demo_system import INGEST, LETTERS_SQL, WAIT_SECONDS, Story, command_line

CONSUMERS = ("render-jobs", "render-storage", "render-access", "render-metrics")
RELAY = "outbox-relay"
TOKEN = "demo"
KEYS = ("render.jobs=job_id render.elements=job_id render.timeline=job_id "
        "render.storage=job_id|bucket/key render.access=job_id|event_id render.metrics=event_id")
CLIENT, PROXY = "203.0.113.7", "127.0.0.1"  # a documentation's address; whom we believe
LIMIT = 6  # requests an hour, of those that are sent
REQUESTS = 8
RETRY_SECONDS = 2
BAR_CELLS = 24
COLOURS = {"processing": "33", "completed": "32", "failed": "31", "timeout": "35"}
STEPS = ("download", "composition", "encoding", "upload")
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


class Render(Story):
    """Who orders videos, the workers, and a listener."""

    system = "render"
    consumers = CONSUMERS
    done = "Each order became a video's row, once, and each report counts."
    look = "-c 'SELECT * FROM render.job_summary'"
    row_factory = staticmethod(psycopg.rows.tuple_row)

    def __init__(self, environment, folder, stack):
        super().__init__(environment, folder, stack)
        self.schema = self.value(
            "SELECT tables_schema FROM projectionist.migrations WHERE system = 'render' LIMIT 1")
        self.database.execute(f"SET search_path = {self.schema}, public")
        self.public = self.connect()  # as anon, below
        self.jobs = jobs_of_the_demo()
        self.refused = 0
        self.letters = self.value(LETTERS_SQL)

    def command(self, *arguments):
        """The status and the output of projectionist."""
        done = subprocess.run([self.programs.folder / "projectionist", *arguments], env=self.environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    # --- starting ---

    def start(self):
        heading("Starting")
        self.database.execute("INSERT INTO render_private.trusted_proxies VALUES (%s) ON CONFLICT DO NOTHING",
                              [PROXY])
        self.programs.start(RELAY, PROJECTIONIST_OUTBOX="render_private", PROJECTIONIST_RELAY_ID="demo")
        self.start_ingest(KEYS, [("worker", TOKEN, {})], PROJECTIONIST_INGEST_ID="demo")
        self.start_consumers()
        self.ingest = self.ingest_url()
        print(f"  {RELAY:<14} from render_private.outbox to Kafka")
        print(f"  {INGEST:<14} {self.ingest}, for the workers")
        print(f"  {'consumers':<14} {', '.join(CONSUMERS)}")

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
            if not self.value("SELECT check_rate_limit(%s, %s, '1 hour')", identifier, LIMIT):
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
            f"{self.ingest}/v1/events/render.{topic}", json.dumps(body).encode(),
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
        listener = psycopg.connect(self.database.info.dsn, password=self.database.info.password, autocommit=True)
        with contextlib.closing(listener), concurrent.futures.ThreadPoolExecutor(3) as pool:
            listener.execute("LISTEN job_status_change")
            # The rows must be seen first, or there is nothing to report on.
            working = []
            deadline = time.monotonic() + WAIT_SECONDS
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
                    raise DemoError(f"not all jobs have ended after {WAIT_SECONDS} s")

    # --- looking ---

    def settle(self):
        rows = "SELECT count(*) FROM {} WHERE job_id = ANY (%s)"
        ids = [job.id for job in self.jobs]
        done = [job for job in self.jobs if job.ends == "completed"]
        self.wait(lambda: self.value(rows.format("url_access_logs"), ids) == len(done)
                  and self.value(rows.format("storage_operations"), ids) == len(done)
                  and self.value("SELECT count(*) FROM render_private.outbox") == 0,
                  "what was logged is not in the tables")
        self.wait(lambda: self.value(
            "SELECT count(*) FROM system_metrics WHERE labels ->> 'event_type' = 'rate_limit_exceeded'")
            >= self.refused, "what was refused is not in the metrics")

    def report(self):
        ids = [job.id for job in self.jobs]
        heading("Jobs, from the view job_summary")
        rows = self.database.execute(
            "SELECT left(id::text, 8), status::text, retry_count, progress_percentage, element_count, "
            "completed_processing_steps, actual_duration, file_size, coalesce(error_code, '') FROM job_summary "
            "WHERE id = ANY (%s) ORDER BY created_at", [ids]).fetchall()
        table(rows, ("JOB", "STATUS", "RETRIES", "PERCENT", "ELEMENTS", "STEPS", "SECONDS", "BYTES", "ERROR"))
        with self.as_anon() as connection:
            mine = connection.execute("SELECT count(*) FROM job_summary WHERE id = ANY (%s)", [ids]).fetchone()[0]
        heading("Statistics, from get_job_statistics, and health_check")
        found = self.database.execute("SELECT total_jobs, completed_jobs, failed_jobs, "
                                   "date_trunc('milliseconds', avg_processing_time)::text, immediate_response_jobs, "
                                   "async_response_jobs FROM get_job_statistics()").fetchall()
        table(found, ("TOTAL", "COMPLETED", "FAILED", "AVERAGE", "IMMEDIATE", "ASYNC"))
        print(f"  {json.dumps(self.value('SELECT health_check()'))}")
        return mine

    def prove(self, mine):
        """Verify, a rebuild while somebody listens, and the counts."""
        with contextlib.closing(psycopg.connect(
                self.database.info.dsn, password=self.database.info.password, autocommit=True)) as listener:
            verified, said = self.command("verify", "render")
            self.database.execute("UPDATE jobs SET progress_percentage = 1 WHERE id = ANY (%s)",
                               [[job.id for job in self.jobs]])
            listener.execute("LISTEN job_status_change; LISTEN processing_timeline_update")
            rebuilt, why = self.command("rebuild", "--yes", "render-jobs")
            heard = len(list(listener.notifies(timeout=1)))
        again, more = self.command("verify", "render")
        rows = {str(job): (status, retries) for job, status, retries in self.database.execute(
            "SELECT id, status::text, retry_count FROM jobs WHERE id = ANY (%s)", [[job.id for job in self.jobs]])}
        letters = self.value(LETTERS_SQL) - self.letters
        if verified or rebuilt or again:
            print(said + why + more, file=sys.stderr)
        self.compare([
            ("jobs ordered; as they must have ended", len(self.jobs),
             sum(rows.get(job.id) == job.wanted for job in self.jobs)),
            ("  that who ordered them sees", len(self.jobs), mine),
            ("requests beyond the limit; refused", REQUESTS - LIMIT, self.refused),
            ("projectionist verify render: exit status", 0, verified),
            ("rows made wrong, then rebuild: exit status", 0, rebuilt),
            ("  notifications that it sent", 0, heard),
            ("  verify after it: exit status", 0, again),
            ("dead letters", 0, letters),
        ])

    def play(self):
        self.start()
        self.order()
        self.follow()
        self.settle()
        self.prove(self.report())


if __name__ == "__main__":
    command_line(Render, __doc__)

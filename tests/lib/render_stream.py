# SPDX-License-Identifier: Apache-2.0
"""Makes up what may happen to jobs that render videos, with everything that goes wrong there, as the
events of the render topics: the same seed gives the same events, and lib.render_oracle says what the
tables must hold of them.

    stream = Stream(seed=7, jobs=20)
    stream.events                each event once, roughly in the order in which it happened
    stream.deliveries(seed=1)    the same set as producers may deliver it: repeated, late, early
"""

import random

from lib import render_events as events
from lib.events import SECOND, START, id_of
from lib.render_events import STEPS
from lib.scenario import Scenario

SKEW = 2 * SECOND  # of clocks, between the API and the workers


class Stream:
    """See the module."""

    deliveries = Scenario.deliveries

    def __init__(self, seed, jobs=20):
        self.seed = seed
        self.events = []
        self.random = random.Random(f"render {seed}")
        self.shared = [id_of("render", seed, "element", number) for number in range(4)]
        for number in range(jobs):
            _Job(self, number)
        self._logs(jobs)
        self._poison()
        once = {(events.topic_of(event), event["event_id"]): event for event in self.events}
        self.events = sorted(once.values(), key=lambda event: event["emitted_at"])

    # --- for the jobs ---

    def add(self, *made):
        self.events += made

    def chance(self, rate):
        return self.random.random() < rate

    def choose(self, *options):
        return self.random.choice(options)

    def between(self, low, high):
        return self.random.randint(low, high)

    def maybe(self, value, rate=0.5):
        return value if self.chance(rate) else None

    # --- what is logged ---

    def _logs(self, jobs):
        at = START
        for number in range(jobs * 2):
            at += self.between(0, 3) * SECOND
            job = self.maybe(id_of("render", self.seed, "job", self.between(0, jobs + 3)), 0.8)
            self.add(events.accessed(
                at, job_id=job, url=f"https://cdn.example.org/{number}",
                access_type=self.choose("download", "stream", "preview", "gaze"),
                client_ip=self.choose(None, "", "10.0.0.1", "10.0.0.0/24", "2001:db8::1"),
                user_agent=self.maybe("agent ü"), referer=self.maybe("https://example.org"),
                response_code=self.choose(None, 200, 206, 404), bytes_served=self.maybe(2**40),
                response_time_ms=self.maybe(12), country=self.maybe("ch"), region=self.maybe("ZH"),
                city=self.maybe("Zürich")))
            self.add(events.metric(
                self.choose("api_request", "security_event", "queue"), self.choose(
                    "0", "-1.5", "999999999.999999", "0.000001"), at, unit=self.maybe("ms"),
                metric_type=self.choose("gauge", "histogram", "timer"),
                labels=self.maybe({"number": number, "nested": [1.5, None]})))

    # --- what is refused ---

    def _poison(self):
        job, at, long = id_of("render", self.seed, "bad"), START, "x" * 1025
        made = [events.created(job, at, **wrong) for wrong in (
            {"width": 0}, {"height": 4321}, {"output_format": "gif"}, {"response_type": "soon"},
            {"client_ip": "1.2.3.4, 5.6.7.8"}, {"request_metadata": "{"}, {"user_agent": "\0"},
            {"attempt": 0})]
        made += [events.status(job, "failed", at, **wrong) for wrong in (
            {"error_code": long}, {"processing_ms": -1}, {"processing_ms": 2147483647500},
            {"attempt": 1001})]
        made += [events.status(job, "paused", at), events.progressed(job, 101, at),
                 events.progressed(job, 1, at, step="rest")]
        made += [events.added(job, job, 0, at, **wrong) for wrong in (
            {"type": "gif"}, {"fit_mode": "tight"}, {"x_position": "1"}, {"width": "1.%"},
            {"height": "-1%"}, {"source_size": -1}, {"start_time": "-1"}, {"end_time": "0"},
            {"source_filename": long}, {"metadata": '"\\u0000"'})]
        made += [events.added(job, job, -1, at), events.updated(job, job, at, source_size=-1),
                 events.started(job, "rest", 0, at), events.ended(job, "upload", -1, at),
                 events.ended(job, "upload", 0, at, progress=101)]
        made += [events.stored("upload", "k", at, job_id=job, **wrong) for wrong in (
            {"bucket": "No"}, {"bucket": "a-"}, {"file_size": 0}, {"file_size": None},
            {"duration_ms": -1}, {"region": long}, {"metadata": "nope"})]
        made += [events.stored("upload", key, at, job_id=job) for key in ("", long, "ü" * 513)]
        made += [events.stored("rename", "k", at, job_id=job)]
        made += [events.accessed(at, job_id=job, **wrong) for wrong in (
            {"country": "CHE"}, {"country": "1a"}, {"client_ip": "here"}, {"city": long},
            {"bytes_served": -1}, {"access_type": long})]
        made += [events.metric("", "1", at), events.metric("n", "-1", at, metric_type="counter"),
                 events.metric("n", "1", at, metric_type="size"),
                 events.metric("n", "1", at, unit=long)]
        for number, event in enumerate(made):
            self.add({**event, "event_id": id_of("render", self.seed, "poison", number)})


class _Job:
    """A job that is created, composed, worked on, cancelled, tried again, deleted."""

    def __init__(self, stream, number):
        self.s = s = stream
        self.id = id_of("render", s.seed, "job", number)
        self.at = START + s.between(0, 40) * SECOND
        if s.chance(0.93):
            self.create()
        for order in range(s.between(1, 12)):
            self.compose(order)
        attempts = 1 + s.chance(0.25) + s.chance(0.1)
        for attempt in range(1, attempts + 1):
            self.work(attempt, attempt == attempts)
        if s.chance(0.15):
            s.add(events.status(self.id, "cancelled", self.then(), error_message=s.maybe("enough"),
                                attempt=s.between(1, 3)))
        if s.chance(0.1):
            s.add(events.status(self.id, s.choose("pending", "processing", "timeout"), self.then(),
                                attempt=s.between(1, 4)))
        if s.chance(0.1):
            s.add(events.deleted(self.id, self.then()))

    def then(self):
        """A moment later, by a clock that may be wrong; sometimes the same."""
        if self.s.chance(0.9):
            self.at += self.s.between(1, 9) * SECOND // 4
        return self.at + (self.s.between(-4, 4) * SKEW // 4 if self.s.chance(0.3) else 0)

    def create(self):
        s = self.s
        for again in range(1 + s.chance(0.1)):
            at = self.then()
            s.add(events.created(
                self.id, at, output_format=s.choose("mp4", "mov", "avi", "webm"),
                width=s.choose(1, 1920, 7680), height=s.choose(1, 1080, 4320),
                estimated_duration=s.choose(None, 0, 30, 31), user_agent=s.maybe("agent"),
                response_type=s.choose(None, None, "immediate", "async"),
                client_ip=s.choose(None, "", "10.0.0.1", "10.1.0.0/16", "::1"),
                request_metadata=s.maybe({"again": again, "n": 1e3}),
                owner_id=s.maybe(id_of("render", "user", s.between(0, 3))),
                requested_at=s.maybe(at - SECOND, 0.3)))

    def compose(self, order):
        s = self.s
        element = s.choose(*s.shared) if s.chance(0.08) else id_of(self.id, order)
        at = self.then() if s.chance(0.9) else self.then() + 60 * SECOND
        for _ in range(1 + s.chance(0.05)):
            s.add(events.added(
                self.id, element, order if s.chance(0.85) else s.between(0, 3), at,
                type=s.choose("video", "image", "audio", "text", "overlay"),
                source_url=f"https://example.org/{order}", source_filename=s.maybe("ü.mp4"),
                source_size=s.maybe(5), source_duration=s.maybe("12.5"), track=s.between(-1, 3),
                x_position=s.choose("0%", "12.25%"), fit_mode=s.choose("auto", "cover"),
                start_time="0.25", end_time=s.maybe("9999999.999"), metadata=s.maybe([order])))
            at -= SECOND
        for _ in range(s.between(0, 3)):
            s.add(events.updated(
                self.id, element, self.then(), downloaded=s.choose(None, True, False),
                processed=s.choose(None, True), local_path=s.maybe(f"/tmp/{s.between(0, 2)}"),
                processed_path=s.maybe("/tmp/p"), error_message=s.maybe("e", 0.2),
                source_size=s.maybe(s.between(0, 2**40), 0.3), source_duration=s.maybe("0.001", 0.3)))

    def work(self, attempt, last):
        s = self.s
        told = attempt if s.chance(0.95) else 1  # by an old worker
        if s.chance(0.93):
            s.add(events.status(self.id, "processing", self.then(), attempt=told))
        for order, step in enumerate(STEPS[:-1] if s.chance(0.9) else STEPS[:3]):
            self.step(step, order, attempt)
        for percent in sorted(s.between(0, 100) for _ in range(s.between(1, s.choose(3, 50)))):
            s.add(events.progressed(self.id, percent, self.then(), attempt=told,
                                    step=s.maybe(s.choose(*STEPS), 0.2)))
        if s.chance(0.6):
            s.add(events.progressed(self.id, 100, self.then(), attempt=told))
        key = f"{self.id}/{s.choose('out', 'out', 'a b+ü')}.mp4"
        self.upload(key)
        word = s.choose("completed", "completed", "failed") if last else s.choose("failed", "timeout")
        if s.chance(0.9):
            for _ in range(1 + s.chance(0.1)):
                s.add(events.status(
                    self.id, word, self.then(), attempt=told, error_message=s.maybe("broken", 0.7),
                    error_code=s.maybe("E1"), processing_ms=s.maybe(s.between(0, 99_999), 0.3),
                    result_url=s.maybe("https://cdn.example.org/v", 0.3)))
        if s.chance(0.6):
            self.step("cleanup", 6, attempt)
        if s.chance(0.15):
            s.add(events.stored("delete", key, self.then(), job_id=s.maybe(self.id),
                                success=s.chance(0.8)))

    def step(self, step, order, attempt):
        s = self.s
        begun, ended = self.then(), self.then()
        for _ in range(1 + s.chance(0.05)):
            if s.chance(0.95):
                s.add(events.started(self.id, step, order, begun, attempt=attempt,
                                     details=s.maybe({"begun": order})))
            begun = self.then()
        if s.chance(0.9):
            s.add(events.ended(self.id, step, order, ended + s.choose(0, 1, 499, 500, 501),
                               attempt=attempt, success=s.chance(0.9),
                               progress=s.maybe(s.between(0, 100)), details=s.maybe([1], 0.3),
                               error_message=s.maybe("e", 0.1), cpu_usage=s.maybe("99.5"),
                               memory_usage=s.maybe(2**33)))

    def upload(self, key):
        s = self.s
        for _ in range(s.between(0, 2)):
            s.add(events.stored(
                "upload", key, self.then(), job_id=self.id, success=s.chance(0.9),
                file_size=s.between(1, 2**40), region=s.choose("us-east-1", "eu-central-2"),
                duration_ms=s.maybe(7), metadata=s.choose(None, None, {"role": "result"}, [])))
        if s.chance(0.3):  # as the bucket tells it
            s.add(events.stored("upload", key, self.then(), file_size=77))
        if s.chance(0.3):
            s.add(events.stored("upload", f"{self.id}/small.jpg", self.then(), job_id=self.id,
                                metadata={"role": "thumbnail"}))
        if s.chance(0.2):
            s.add(events.stored(s.choose("download", "access"), key, self.then(),
                                job_id=s.maybe(self.id), metadata=s.maybe(
                                    {"role": s.choose("result", "preview", 7)})))

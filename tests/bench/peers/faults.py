# SPDX-License-Identifier: Apache-2.0
"""What becomes of a stream of telemetry where something breaks half way: kill -9, a record that is none,
Postgres away, a topic made anew. A program that ends is started again after a second, as a supervisor
would, but not for ever."""

import contextlib
import dataclasses
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg

import stream
from lib import events, kafka
from servers import BenchError, cluster
from works import produce

RATE = 5000          # a second
AWAY_SECONDS = 10
RESTARTS = 3
STUCK_SECONDS = 90   # without a row: a group waits 45 s for a member that was killed, a JVM starts
PROBE_SECONDS = 30
PARTITIONS = 12
PROBE = "peers.probe"


def paced(records):
    began = time.monotonic()
    for number, record in enumerate(records):
        if number % 50 == 0 and (early := began + number / RATE - time.monotonic()) > 0:
            time.sleep(early)
        yield record


class Watched:
    """A subject under a supervisor, and how its rows grow."""

    def __init__(self, bench, subject):
        self.bench = bench
        self.subject = subject
        self.restarts = 0
        self.stuck = None

    def rows(self):
        """Of how many events; None: Postgres cannot be asked."""
        what = "DISTINCT event_id" if self.subject.keyless else "*"
        with contextlib.suppress(psycopg.Error):
            with psycopg.connect(self.bench.dsn, connect_timeout=2) as db:
                return db.execute(f"SELECT count({what}) FROM safari_events").fetchone()[0]
        return None

    def start(self):
        self.subject.start("telemetry", self.bench.dsn)

    def goes_on(self):
        """False: it needs a person, and `stuck` says why."""
        why = self.subject.failed()
        if why is None:
            return True
        if self.subject.process.poll() is None or self.restarts == RESTARTS:
            self.stuck = why
            return False
        self.restarts += 1
        time.sleep(1)
        self.start()
        return True

    def until(self, least, seconds=STUCK_SECONDS):
        """When there were so many rows; None: for so many seconds there was not one more."""
        moved_at, last = time.monotonic(), -1
        while True:
            number = self.rows()
            now = time.monotonic()
            if number is not None and number >= least:
                return now
            if number is not None and number > last:
                last, moved_at = number, now
            # What of it still goes on (another task) may have rows to come.
            patience = seconds if self.goes_on() else 15
            if now - moved_at > patience:
                return None
            time.sleep(0.05)

    def answers(self):
        """In how many partitions a new record becomes a row, which is asked where rows are missing."""
        schema_ids = events.register_schemas()
        before, number = self.rows(), 0
        probe = {**next(stream.telemetry(stream.PER_COMMAND)), "type": PROBE}
        produce([dataclasses.replace(
            stream.record({**probe, "event_id": str(uuid.uuid4())}, schema_ids), partition=partition)
            for partition in range(PARTITIONS)])
        deadline = time.monotonic() + PROBE_SECONDS
        while number < PARTITIONS and time.monotonic() < deadline:
            time.sleep(0.2)
            number = (self.rows() or before) - before
        return number


# --- what breaks: each gives when it was whole again -----------------------------------------

def kill(watch):
    watch.subject.kill()
    at = time.monotonic()
    time.sleep(1)
    watch.start()
    return at


def poison(_):
    place = (0).to_bytes(1, "big") + events.register_schemas()[events.TELEMETRY].to_bytes(4, "big")
    produce([kafka.Record(events.TELEMETRY, b"poison", place)])
    return time.monotonic()


def postgres(_):
    cluster("kill", "postgres")
    time.sleep(AWAY_SECONDS)
    cluster("start", "postgres")
    return time.monotonic()


def anew(_):
    kafka.new_topics(events.TELEMETRY, partitions=PARTITIONS)
    return time.monotonic()


def anew_stopped(watch):
    watch.subject.stop()
    return anew(watch)


# Of these, what is published before must have been read.
ANEW = {"anew": anew, "anew_stopped": anew_stopped}
FAULTS = {"kill": kill, "poison": poison, "postgres": postgres, **ANEW}


# --- one case --------------------------------------------------------------------------------

def case(fault, bench, subject, records):
    kafka.new_topics(events.TELEMETRY, partitions=PARTITIONS)
    bench.reconnect()
    bench.truncate(known_commands=True)
    bench.set_key(not subject.keyless)
    subject.fresh()
    watch = Watched(bench, subject)
    head, half = len(records) // 10, len(records) // 2
    produce(records[:head])
    watch.start()
    try:
        if watch.until(head) is None:
            raise BenchError(f"{subject.name} did not begin: {watch.stuck or 'no rows'}; its log is "
                             f"{subject.log}")
        with ThreadPoolExecutor(1) as pool:
            if fault in ANEW:
                produce(paced(records[head:half]))
                if watch.until(half) is None:
                    raise BenchError(f"{subject.name} did not read the first topic; its log is "
                                     f"{subject.log}")
                before, since = half, ANEW[fault](watch)
                sent = pool.submit(produce, paced(records[half:]))
                if fault == "anew_stopped":
                    sent.result()
                    since = time.monotonic()
                    watch.start()
            else:
                sent = pool.submit(produce, paced(records[head:]))
                time.sleep((half - head) / RATE)
                since = FAULTS[fault](watch)
                before = watch.rows()
            first = watch.until(before + 1)
            sent.result()
        return outcome(watch, since, first, watch.until(len(records)), len(records))
    finally:
        subject.kill()


def outcome(watch, since, first, whole, wanted):
    bench, subject = watch.bench, watch.subject
    answering = PARTITIONS if whole else watch.answers()
    result = {"restarts": watch.restarts, "stuck": watch.stuck, "answering": answering,
              "first": first and first - since, "whole": whole and whole - since, **content(bench, wanted)}
    if not whole and subject.remedy(bench.dsn):
        watch.restarts = watch.stuck = 0
        since = time.monotonic()
        watch.start()
        whole = watch.until(wanted)
        result["remedy"] = {"whole": whole and whole - since, **content(bench, wanted)}
    return result


def content(bench, wanted):
    with psycopg.connect(bench.dsn) as db:
        db.execute("DELETE FROM safari_events WHERE type = %s", [PROBE])
        rows, distinct = db.execute(
            "SELECT count(*), count(DISTINCT event_id) FROM safari_events").fetchone()
        return {"missing": wanted - distinct, "twice": rows - distinct,
                "same": bench.same(db) if rows == wanted else None}


def measure(bench, subjects, records, note):
    """note(fault, subject, what became of it or a BenchError) after each case."""
    for fault in FAULTS:
        for subject in subjects:
            if subject.keyless and fault != "kill":
                continue
            try:
                note(fault, subject, case(fault, bench, subject, records))
            except BenchError as error:
                note(fault, subject, error)
    bench.truncate(known_commands=False)
    bench.set_key(True)


def records_of(count):
    schema_ids = events.register_schemas()
    return [stream.record(event, schema_ids) for event in stream.telemetry(count)]

# SPDX-License-Identifier: Apache-2.0
"""What is measured: each method of Bench is one run and gives its figures as a dict."""

import bisect
import contextlib
import itertools
import json
import shutil
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg

import servers
import stream
from lib import database, events, kafka
from servers import BenchError, Clock, Program

STALL_SECONDS = 120
PIECE_ROWS = 5000  # the recorder's default batch
LARGE_PIECE_ROWS = 20000
LATENCY_RATES = (500, 5000, 20_000)  # a second
LATENCY_SECONDS = 10
EVENT_COLUMNS = ("event_id, command_id, correlation_id, type, severity, payload, cursor, "
                 "emitted_at, version, target")
PARENT_COLUMNS = "command_id, type, status, created_at, placeholder"
PARENTS_SQL = """
    SELECT command_id, 'unknown', 'QUEUED', min(emitted_at), true
    FROM safari_events WHERE command_id IS NOT NULL GROUP BY command_id
"""
# Without what a table had before.
OF_THE_STREAM = "emitted_at >= '2025-01-01'"
# From the start of the first transaction that wrote rows to the last commit. stored_at is the time
# at which the transaction of a row began.
WINDOW_SQL = f"""
    SELECT extract(epoch FROM min(began))::float8, extract(epoch FROM min(committed))::float8,
        extract(epoch FROM max(committed))::float8
    FROM (SELECT min(stored_at) AS began, pg_xact_commit_timestamp(xmin) AS committed
          FROM safari_events WHERE {OF_THE_STREAM} GROUP BY xmin) AS t
"""
CONTENT_SQL = f"""
    SELECT count(*), sum(hashtextextended(t::text, 0)::numeric)
    FROM (SELECT {EVENT_COLUMNS} FROM safari_events WHERE {OF_THE_STREAM}) AS t
"""
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"


class Bench:
    def __init__(self, dsn, count, flags, folder):
        self.dsn = dsn
        self.count = count
        self.commands = count // stream.PER_COMMAND
        self.flags = flags
        self.folder = folder
        self.db = psycopg.connect(dsn, autocommit=True)
        self.admin = servers.admin()  # a checkpoint is for superusers
        self.numbers = itertools.count(1)
        self.known_commands = None  # the rows that the projector makes, in COPY's binary format
        self.rows = None            # those of safari_events
        self.placeholders = None    # {command_id: row}
        self.last_group = None      # of the consumer that ran last
        self.content = None         # of safari_events, as every run must leave it

    # --- before and after a run ---

    def truncate(self, known_commands):
        """The same tables before every run: empty, but for the commands where they are known."""
        self.db.execute("TRUNCATE safari_commands, projectionist.state_command_projector_command, "
                        "projectionist.state_command_projector_idempotency_key CASCADE")
        if known_commands:
            self.load("COPY safari_commands FROM STDIN (FORMAT binary)", self.known_commands)
        self.db.execute("VACUUM (FREEZE, ANALYZE) safari_commands")
        self.admin.execute("CHECKPOINT")

    def load(self, sql, rows):
        with self.db.cursor().copy(sql) as copy:
            copy.write(HEADER + b"".join(rows) + TRAILER)

    def unload(self, query):
        """The rows of a query in COPY's binary format: the server sends a row at a time."""
        with self.db.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT binary)") as copy:
            rows = [bytes(block) for block in copy]
        rows[0] = rows[0].removeprefix(HEADER)
        return [row for row in rows if row not in (b"", TRAILER)]

    def check(self):
        """Faster and wrong would be worth nothing."""
        content = self.db.execute(CONTENT_SQL).fetchone()
        if content[0] != self.count or content != (self.content or content):
            raise BenchError(f"safari_events should hold {self.count:,} rows, each as in the first "
                             f"run; it holds {content[0]:,}, the sums are {content[1]} and "
                             f"{self.content}")
        self.content = content

    # --- a raw COPY ---

    def pieces(self, size, placeholders=False):
        """[(rows of new placeholders, rows of events)], one pair a transaction."""
        seen = set()
        result = []
        for at in range(0, len(self.rows), size):
            rows = self.rows[at:at + size]
            # Two bytes count the columns; event_id and command_id are four of length and sixteen.
            parents = dict.fromkeys(row[26:42] for row in rows) if placeholders else {}
            new = [self.placeholders[key] for key in parents if key not in seen]
            seen.update(parents)
            result.append([HEADER + b"".join(part) + TRAILER for part in (new, rows)])
        return result

    def copy(self, size=PIECE_ROWS, placeholders=False):
        self.truncate(known_commands=not placeholders)
        return self.copied(size, placeholders)

    def copied(self, size=PIECE_ROWS, placeholders=False):
        """Into the tables as they are."""
        pieces = self.pieces(size, placeholders)
        clock = Clock()
        with psycopg.connect(self.dsn) as connection:
            cursor = connection.cursor()
            for parents, rows in pieces:
                if placeholders:
                    with cursor.copy(f"COPY safari_commands ({PARENT_COLUMNS}) FROM STDIN "
                                     "(FORMAT binary)") as copy:
                        copy.write(parents)
                with cursor.copy(f"COPY safari_events ({EVENT_COLUMNS}) FROM STDIN "
                                 "(FORMAT binary)") as copy:
                    copy.write(rows)
                connection.commit()
            cpu = clock.read()
        self.check()
        return self.figures(cpu)

    def copy_parallel(self, size=PIECE_ROWS, connections=2):
        """Several connections at once, each with every so many a piece."""
        pieces = self.pieces(size)
        self.truncate(known_commands=True)
        clock = Clock()

        def write(mine):
            with psycopg.connect(self.dsn) as connection:
                for _, rows in mine:
                    with connection.cursor().copy(f"COPY safari_events ({EVENT_COLUMNS}) FROM STDIN "
                                                  "(FORMAT binary)") as copy:
                        copy.write(rows)
                    connection.commit()

        with ThreadPoolExecutor(connections) as pool:
            list(pool.map(write, [pieces[i::connections] for i in range(connections)]))
        cpu = clock.read()
        self.check()
        return self.figures(cpu)

    def figures(self, cpu, started_at=None):
        began, first, last = self.db.execute(WINDOW_SQL).fetchone()
        figures = {"rate": self.count / (last - began), "seconds": last - began, "cpu": cpu}
        if started_at is not None:
            figures["to_first_commit"] = first - started_at
            figures["rate_with_start"] = self.count / (last - started_at)
        return figures

    # --- the consumers ---

    def new_group(self, name):
        return f"bench-{next(self.numbers):02}-{name}-{uuid.uuid4().hex[:8]}"

    @contextlib.contextmanager
    def program(self, name, *flags, group=None):
        program = Program(name, group or self.new_group(name), self.dsn, [*self.flags, *flags],
                          self.folder)
        try:
            yield program
        except BaseException:
            program.process.kill()
            program.process.wait()
            raise
        program.stop()

    def committed(self, program):
        return self.db.execute("SELECT coalesce(sum(next_offset), 0) FROM projectionist."
                               "consumer_offsets WHERE consumer_group = %s",
                               [program.group]).fetchone()[0]

    def wait_until_committed(self, program, count, note=lambda done: None):
        """note(how many are committed) at each look."""
        before, moved_at = 0, time.monotonic()
        while before < count:
            time.sleep(0.05)
            program.check()
            done = self.committed(program)
            note(done)
            if done != before:
                before, moved_at = done, time.monotonic()
            elif time.monotonic() - moved_at > STALL_SECONDS:
                raise BenchError(f"{program.name} has not moved for {STALL_SECONDS} s; its log is "
                                 f"{program.log_path}")

    def consume(self, name, *flags, records=None):
        """Runs a consumer over the whole stream; (program, processor time, peak)."""
        clock = Clock()
        with self.program(name, *flags) as program:
            self.wait_until_committed(program, records or self.count)
            cpu = clock.read(program.seconds())
            peak = program.peak()
        self.last_group = program.group
        return program, cpu, peak

    def recorder(self, known_commands=True, flags=(), records=None):
        self.truncate(known_commands)
        return self.recorded(flags, records)

    def recorded(self, flags=(), records=None):
        """Into the tables as they are."""
        program, cpu, peak = self.consume("event-recorder", *flags, records=records)
        self.check()
        made = database.count(self.db, "safari_commands")
        if made != self.commands:
            raise BenchError(f"safari_commands should hold {self.commands:,} rows, not {made:,}")
        return {**self.figures(cpu, program.started_at), "peak": peak,
                "batches": len(program.batches())}

    def projector(self, flags=()):
        self.truncate(known_commands=False)
        program, cpu, peak = self.consume("command-projector", *flags)
        done = self.db.execute("SELECT count(*) FROM safari_commands WHERE status = 'SUCCEEDED' "
                               "AND type = 'sora.generate'").fetchone()[0]
        if done != self.commands:
            raise BenchError(f"{self.commands:,} commands should have succeeded, not {done:,}")
        # Its rows change with every batch, so they do not tell when it began.
        began, first, last = program.window()
        return {"rate": self.count / (last - began), "seconds": last - began, "cpu": cpu, "peak": peak,
                "to_first_commit": first - program.started_at, "batches": len(program.batches()),
                "rate_with_start": self.count / (last - program.started_at)}

    # --- a rebuild ---

    def quiesce(self):
        """As before a live run: no autovacuum and no checkpoint of what was written before."""
        self.db.execute("VACUUM (ANALYZE) safari_commands, safari_events, "
                        "projectionist.state_command_projector_command, "
                        "projectionist.state_command_projector_idempotency_key")
        self.admin.execute("CHECKPOINT")

    def rebuilt(self, name, run):
        """A live run over the whole stream, then a rebuild of what it made, which must find it
        right; rates are of the whole: from the start of the process on."""
        live = run()
        self.quiesce()
        seconds, peak, report = servers.rebuild(name, self.last_group, self.dsn, self.folder)
        if report["differing_rows"] != 0:
            raise BenchError(f"the rebuild of {name} found {report['differing_rows']:,} rows that "
                             "differ")
        return {"rate": self.count / seconds, "seconds": seconds, "peak": peak, "cpu": live["cpu"],
                "live_rate": live["rate_with_start"]}

    # --- the first round: what the others compare with ---

    def keep_rows(self):
        """Those that the recorder has made, for COPY."""
        self.rows = self.unload(f"SELECT {EVENT_COLUMNS} FROM safari_events ORDER BY ctid")

    def warm_up(self):
        self.projector()
        self.known_commands = self.unload("SELECT * FROM safari_commands")
        self.recorder()
        self.keep_rows()
        self.placeholders = {row[6:22]: row for row in self.unload(PARENTS_SQL)}
        self.copy()

    # --- memory ---

    def memory(self, count):
        """Resident memory, in MiB, in each tenth of a long stream: the most that was seen."""
        stream.prolong(count)
        count = sum(kafka.end_offsets(events.TELEMETRY).values())
        self.truncate(known_commands=True)
        tenths = [0.0] * 10
        clock = Clock()
        with self.program("event-recorder") as program:

            def note(done):
                tenth = min(9, int(10 * done // count))
                tenths[tenth] = max(tenths[tenth], program.resident())

            self.wait_until_committed(program, count, note)
            cpu = clock.read(program.seconds())
            peak = program.peak()
        rows = database.count(self.db, "safari_events")
        if rows != count:
            raise BenchError(f"safari_events should hold {count:,} rows, not {rows:,}")
        return {"events": count, "tenths": tenths, "peak": peak, "cpu": cpu}

    # --- latency ---

    def record(self):
        """The telemetry that is published, as files for stream-replay."""
        self.recording = self.folder / "telemetry"
        shutil.rmtree(self.recording, ignore_errors=True)
        servers.run("stream-record", "--output", self.recording, events.TELEMETRY)

    def latency(self, rate):
        """Milliseconds from when an event was due at the producer to when a query sees its row: the
        offsets that are asked for become visible in the same commit."""
        self.truncate(known_commands=True)
        kafka.delete_topics(events.TELEMETRY)
        kafka.create_topics(events.TELEMETRY)
        count = min(rate * LATENCY_SECONDS, self.count)
        with self.program("event-recorder") as program:

            def replay(count):
                return json.loads(servers.run(
                    "stream-replay", "--json", "--rate", rate, "--limit", count, "--expect",
                    program.group, self.recording, dsn=self.dsn))

            program.wait_until_assigned()
            replay(min(rate, count))  # the first second of a consumer is no measure
            self.db.execute("TRUNCATE safari_events")
            clock = Clock()
            consumed = program.seconds()
            waited = replay(count)["visible_ms"]
            cpu = clock.read(program.seconds() - consumed)
        rows = database.count(self.db, "safari_events")
        if rows != count:
            raise BenchError(f"safari_events should hold {count:,} rows, not {rows:,}")
        return {"p50": waited["p50"], "p99": waited["p99"], "most": waited["max"], "cpu": cpu}


def quantile(ordered, share):
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Watch:
    """Asks for a group's offsets all the time, from a thread of its own."""

    def __init__(self, dsn, group):
        self.dsn = dsn
        self.group = group
        self.seen = {}  # {partition: ([next_offset], [time at which it was seen])}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            while not self.over.wait(0.001):
                rows = connection.execute(
                    "SELECT partition, next_offset FROM projectionist.consumer_offsets WHERE "
                    "consumer_group = %s", [self.group], prepare=True).fetchall()
                now = time.time()
                for partition, offset in rows:
                    offsets, times = self.seen.setdefault(partition, ([], []))
                    if not offsets or offsets[-1] < offset:
                        offsets.append(offset)
                        times.append(now)

    def end(self):
        time.sleep(0.1)  # one more look
        self.over.set()
        self.thread.join()
        return self.seen


def first_seen(seen, partition, offset):
    offsets, times = seen[partition]
    return times[bisect.bisect_right(offsets, offset)]

# SPDX-License-Identifier: Apache-2.0
"""The two works, each measured with one subject at a time: from an empty table to the last row."""

import io
import time

import fastavro
import psycopg

import servers
from lib import avro, events, kafka
from runs import CONTENT_SQL, WINDOW_SQL, Bench
from servers import BenchError, Clock, say

STALL_SECONDS = 240  # a JVM takes its time to start on a busy machine
SETTLED_SECONDS = 5
COMMAND_COLUMNS = ("command_id, type, status, payload, result, target, error_message, "
                   "idempotency_key, created_at, started_at, completed_at, correlation_id, "
                   "requester_service, requester_instance")
COMMANDS_CONTENT_SQL = f"""
    SELECT count(*), sum(hashtextextended(t::text, 0)::numeric)
    FROM (SELECT {COMMAND_COLUMNS} FROM safari_commands) AS t
"""
COMPLETED_SQL = "SELECT count(*) FROM safari_commands WHERE completed_at IS NOT NULL"
FOREIGN_KEY = "safari_events_command_id_fkey"
REPEAT_EVERY = 100  # one of so many events that a command runs is told again, last of all


def rates(figures, count, counted, seconds):
    """With what a row cost of `count`, and the rate of those `counted` in so many seconds."""
    cpu, before = figures["cpu"]["consumer"], figures["cpu_before"]
    return {**figures, "rate": counted / seconds, "seconds": seconds, "cpu_a_row": 1e6 * cpu / count,
            "cpu_a_row_going": 1e6 * (cpu - before) / count}


class PeersBench(Bench):
    """COPY and our own warm-up are those of tests/bench/run; the rest is the same for all."""

    def __init__(self, dsn, count, folder):
        super().__init__(dsn, count, [], folder)
        with servers.admin() as admin, psycopg.connect(
                psycopg.conninfo.make_conninfo(admin.info.dsn, password=admin.info.password,
                                               dbname=self.db.info.dbname), autocommit=True) as owner:
            # Debezium's UNNEST takes arrays of text for these columns: a cast that an assignment
            # may use is what its users write.
            for kind in ("uuid", "jsonb", "timestamptz"):
                for text in ("text", "varchar"):
                    owner.execute(f"CREATE CAST ({text} AS {kind}) WITH INOUT AS ASSIGNMENT")

    def reconnect(self):
        """After Postgres was away."""
        self.db.close()
        self.admin.close()
        self.db = psycopg.connect(self.dsn, autocommit=True)
        self.admin = servers.admin()

    def set_foreign_key(self, there):
        self.db.execute(f"ALTER TABLE safari_events DROP CONSTRAINT IF EXISTS {FOREIGN_KEY}")
        if there:
            self.db.execute("TRUNCATE safari_events")
            self.db.execute(f"ALTER TABLE safari_events ADD CONSTRAINT {FOREIGN_KEY} FOREIGN KEY "
                            "(command_id) REFERENCES safari_commands (command_id) "
                            "ON DELETE CASCADE")

    def set_key(self, there):
        """Of safari_events."""
        self.db.execute("ALTER TABLE safari_events DROP CONSTRAINT IF EXISTS safari_events_pkey")
        if there:
            self.db.execute("ALTER TABLE safari_events ADD CONSTRAINT safari_events_pkey PRIMARY KEY "
                            "(event_id)")

    def same(self, db):
        """Whether safari_events is as the warm-up left it."""
        return db.execute(CONTENT_SQL).fetchone() == self.content

    def truncate(self, known_commands):
        self.db.execute("TRUNCATE safari_events")  # which safari_commands takes along only by the key
        self.db.execute("DROP TABLE IF EXISTS script_offsets")
        super().truncate(known_commands)

    # --- waiting ---

    def size(self, table):
        return self.db.execute("SELECT pg_relation_size(%s::regclass)", [table]).fetchone()[0]

    def first_write(self, subject, table):
        """(time, processor seconds) at which the table began to grow, which shows before the
        commit."""
        deadline = time.monotonic() + STALL_SECONDS
        while self.size(table) == 0:
            self.look_after(subject)
            if time.monotonic() > deadline:
                raise BenchError(f"{subject.name} has written nothing for {STALL_SECONDS} s; its log "
                                 f"is {subject.log}")
            time.sleep(0.02)
        return time.time(), subject.seconds()

    def look_after(self, subject):
        if why := subject.failed():
            raise BenchError(f"{subject.name}: {why}; its log is {subject.log}:\n"
                             f"{subject.last_words()}")

    def wait_for(self, subject, query, wanted, table):
        """Until the query counts so many. Counting costs Postgres time, so while the table grows it
        is not asked."""
        size, moved_at, counted = -1, time.monotonic(), -1
        while True:
            time.sleep(0.2)
            self.look_after(subject)
            now = self.size(table)
            if now != size:
                size, moved_at = now, time.monotonic()
                continue
            number = self.db.execute(query).fetchone()[0]
            if number == wanted:
                return
            if number != counted:
                counted, moved_at = number, time.monotonic()
            elif time.monotonic() - moved_at > STALL_SECONDS:
                raise BenchError(f"{subject.name} stands at {number:,} of {wanted:,} rows; its log is "
                                 f"{subject.log}")

    # --- a run ---

    def run(self, subject, work, table, query, wanted, started=lambda: None):
        """(figures, what started() gave) of a run until the query counts `wanted`; started is called
        when the table has its first block."""
        clock = Clock()
        subject.fresh()
        subject.start(work, self.dsn)
        try:
            began, cpu_before = self.first_write(subject, table)
            noted = started()
            self.wait_for(subject, query, wanted, table)
            cpu, peak = subject.seconds(), subject.peak()
            spent = clock.read(cpu)
        finally:
            subject.stop()
        return {"cpu": spent, "peak": peak, "cpu_before": cpu_before,
                "to_first_write": began - subject.started_at}, noted

    def telemetry(self, subject):
        self.truncate(known_commands=True)
        figures, _ = self.run(subject, "telemetry", "safari_events",
                              "SELECT count(*) FROM safari_events", self.count)
        self.check()
        began, _, last = self.db.execute(WINDOW_SQL).fetchone()
        return rates(figures, self.count, self.count, last - began)

    def lifecycles(self, subject, commands, count):
        """Rows that differ from those of the first run are part of the figures, not an error."""
        def first_commit():
            while (done := self.db.execute(COMPLETED_SQL).fetchone()[0]) == 0:
                self.look_after(subject)
                time.sleep(0.02)
            return time.time(), done

        self.truncate(known_commands=False)
        figures, (began, done) = self.run(subject, "lifecycles", "safari_commands", COMPLETED_SQL,
                                          commands, first_commit)
        if done == commands:
            raise BenchError(f"{subject.name} had all {commands:,} rows in its first commit: give "
                             "--jobs more")
        last = self.db.execute("SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin)))::float8 "
                               "FROM safari_commands").fetchone()[0]
        share = (commands - done) / commands
        return {**rates(figures, count, count * share, last - began), **self.compare()}

    def repeated(self, subject, commands):
        """The same topic with some events told again at its end: only what the rows are."""
        self.truncate(known_commands=False)
        subject.fresh()
        subject.start("lifecycles", self.dsn)
        try:
            self.first_write(subject, "safari_commands")
            self.wait_for(subject, COMPLETED_SQL, commands, "safari_commands")
            last, since = None, time.monotonic()
            while time.monotonic() - since < SETTLED_SECONDS:
                time.sleep(0.5)
                self.look_after(subject)
                now = self.db.execute(COMMANDS_CONTENT_SQL).fetchone()
                if now != last:
                    last, since = now, time.monotonic()
        finally:
            subject.stop()
        return self.compare()

    def compare(self):
        """How many rows are not those of the first run that was compared, and in which columns."""
        content = self.db.execute(COMMANDS_CONTENT_SQL).fetchone()
        if self.db.execute("SELECT to_regclass('expected_commands')").fetchone()[0] is None:
            self.db.execute(f"CREATE TABLE expected_commands AS SELECT {COMMAND_COLUMNS} "
                            "FROM safari_commands")
            self.commands_content = content
        if content == self.commands_content:
            return {"hash": str(content[1]), "wrong": 0, "columns": {}}
        columns = COMMAND_COLUMNS.split(", ")[1:]
        wrong, *each = self.db.execute(
            "SELECT count(*) FILTER (WHERE e.command_id IS NULL OR c.command_id IS NULL OR "
            + " OR ".join(f"c.{name} IS DISTINCT FROM e.{name}" for name in columns) + "), "
            + ", ".join(f"count(*) FILTER (WHERE c.{name} IS DISTINCT FROM e.{name})"
                        for name in columns)
            + " FROM expected_commands AS e FULL JOIN safari_commands AS c USING (command_id)"
        ).fetchone()
        return {"hash": str(content[1]), "wrong": wrong,
                "columns": {name: number for name, number in zip(columns, each) if number}}


# --- the lifecycles of the Gaia log ----------------------------------------------------------

def publish_lifecycles(folder):
    """Into the topic made anew; (how many commands, how many events, some that say that a command
    runs, to be told again)."""
    kafka.new_topics(*events.TOPICS, partitions=12)
    head = b"\0" + events.register_schemas()[events.COMMANDS].to_bytes(4, "big")
    schema = avro.parsed(avro.schema_text(events.COMMANDS))
    commands, count, running, repeated = set(), 0, 0, []

    def records():
        nonlocal count, running
        with open(folder / "safari.commands.avro", "rb") as file:
            for item in fastavro.reader(file):
                if "key" not in item:
                    continue
                body = item["value"][5:]
                record = kafka.Record(events.COMMANDS, item["key"], head + body)
                count += 1
                commands.add(item["key"])
                event = fastavro.schemaless_reader(io.BytesIO(body), schema)
                if event["body"].get("status") == "RUNNING":
                    running += 1
                    if running % REPEAT_EVERY == 0:
                        repeated.append(record)
                yield record

    produce(records())
    say(f"{count:,} events of {len(commands):,} commands")
    return len(commands), count, repeated


def produce(records):
    kafka.produce(records, deadline=120, compression_type="lz4", linger_ms=20,
                  queue_buffering_max_messages=200_000)

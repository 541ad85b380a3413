# SPDX-License-Identifier: Apache-2.0
"""What one test works with: its databases, its topics, its processes, and the comparison."""

import uuid

import psycopg
import processes
import stream as streams
from psycopg import conninfo, sql

from lib import consumers, database, events, kafka

PROGRAMS = ("command-projector", "event-recorder")
TOPICS = (events.COMMANDS, events.TELEMETRY)
TABLES = ("safari_commands", "safari_events", "projectionist.idempotency_conflicts",
          "projectionist.state_command_projector_command",
          "projectionist.state_command_projector_idempotency_key")
KEPT_LOG_LINES = 25


class NewDatabase:
    """A database that is dropped at the end; its name."""

    def __init__(self, template=None):
        self._template = template
        self.name = f"faults_{uuid.uuid4().hex[:12]}"

    def __enter__(self):
        parts = sql.SQL(" TEMPLATE {}").format(sql.Identifier(self._template or "template1"))
        with database.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name))
                               + parts)
        return self.name

    def __exit__(self, *_):
        with database.connect() as connection:
            database.drop(connection, self.name)


def dsn(name):
    return conninfo.make_conninfo(database.dsn(), dbname=name)


class World:
    """What one test works with."""

    def __init__(self, name, reference, schema_ids, folder):
        self.id = name
        self.dsn = dsn(name)
        self.schema_ids = schema_ids
        self.processes = []
        self._reference = dsn(reference)
        self._folder = folder
        self._feeds = []

    # Records

    def records(self, stream):
        return [events.record(event, self.schema_ids) for event in stream]

    def produce(self, stream):
        kafka.produce(self.records(stream))

    def feed(self, stream, rate):
        """Produces in the background."""
        feed = streams.Feed(self.records(stream), rate)
        self._feeds.append(feed)
        return feed

    # Processes

    def group(self, program):
        return f"{program}-{self.id}"

    def start(self, program, *arguments, variables=None, group=None):
        """Starts a consumer with quick time-outs."""
        process = processes.Process(
            program, self._folder / f"{len(self.processes):03}-{program}.log",
            ["--group", group or self.group(program), "--metrics-address", "127.0.0.1:0",
             *arguments],
            {**processes.QUICK, "PROJECTIONIST_POSTGRES_DSN": self.dsn, **(variables or {})})
        self.processes.append(process)
        return process

    def start_all(self, replicas, *arguments, **options):
        """Some replicas of each consumer."""
        return [self.start(program, *arguments, **options)
                for program in PROGRAMS for _ in range(replicas)]

    def until(self, condition, deadline=30, what="it did not come true"):
        return processes.until(condition, deadline, what,
                               [process for process in self.processes if not process.frozen])

    def until_logged(self, process, *words, count=1, deadline=30):
        """Waits for lines of a log that hold the words; the lines."""
        def found():
            lines = process.logged(*words)
            return lines if len(lines) >= count else None
        return self.until(found, deadline, f"{process.log.name} does not say {words}")

    def until_working(self, *consumers, deadline=30):
        """Waits until each has partitions."""
        for consumer in consumers:
            self.until_logged(consumer, "partitions assigned", deadline=deadline)

    # Tables

    def connect(self):
        return database.connect(self.dsn)

    def behind(self):
        """{(topic, partition): (has, wanted)} of what is not in the tables yet."""
        behind = {}
        with self.connect() as connection:
            for program, topic in zip(PROGRAMS, TOPICS):
                have = database.next_offsets(connection, self.group(program))
                for place, end in kafka.end_offsets(topic).items():
                    if have.get(place, 0) != end:
                        behind[place] = (have.get(place, 0), end)
        return behind

    def until_caught_up(self, deadline=60):
        ends = {program: {place: end for place, end in kafka.end_offsets(topic).items() if end}
                for program, topic in zip(PROGRAMS, TOPICS)}
        last = {}

        def caught_up():
            try:
                with self.connect() as connection:
                    for program in PROGRAMS:
                        have = database.next_offsets(connection, self.group(program))
                        last.update({place: (have.get(place, 0), end)
                                     for place, end in ends[program].items()})
                        if have != ends[program]:
                            return False
            except psycopg.OperationalError:
                return False  # Postgres is coming back
            return True
        self.until(caught_up, deadline, lambda: "the ends were not reached (has, wanted): " + str(
            {place: pair for place, pair in last.items() if pair[0] != pair[1]}))

    def assert_as_if_undisturbed(self, stream):
        """Row for row what two consumers make of the same topics in peace; no dead letters."""
        for number, program in enumerate(PROGRAMS):
            process = self.start(program, "--until-caught-up",
                                 group=f"{program}-{self.id}-{number}",
                                 variables={"PROJECTIONIST_POSTGRES_DSN": self._reference})
            process.wait(120)
        with self.connect() as ours, database.connect(self._reference) as reference:
            assert not self.behind()
            for table in TABLES:
                have = [str(row) for row in database.table(ours, table)]
                want = [str(row) for row in database.table(reference, table)]
                missing, extra = set(want) - set(have), set(have) - set(want)
                assert have == want, (
                    f"{table} has {len(have)} rows, {len(want)} in peace; {len(missing)} are not "
                    f"there, such as {sorted(missing)[:1]}, and {len(extra)} are there instead, "
                    f"such as {sorted(extra)[:1]}")
            assert database.count(ours, "projectionist.dead_letters") == 0
            assert database.count(ours, "projectionist.gaps") == 0
            for table, rows in streams.expected(stream).items():
                assert database.count(ours, table) == rows

    def verify(self):
        """What a person would ask after such a thing, private state included."""
        with self.connect() as connection:
            groups = {row["consumer_group"] for row in connection.execute(
                "SELECT DISTINCT consumer_group FROM projectionist.consumer_offsets")}
        for program in (program for program in PROGRAMS if self.group(program) in groups):
            result = consumers.run("projectionist", "verify", program, "--group",
                                   self.group(program), variables={"POSTGRES_DSN": self.dsn})
            assert result.returncode == 0, result.stdout + result.stderr

    # The end

    def close(self, failed):
        for feed in self._feeds:
            feed.abandon()
        running = [process for process in self.processes if process.running()]
        for process in running:
            if process.frozen:
                process.thaw()
            if failed:
                process.kill()
            else:
                process.ask_to_stop()
        if failed:
            for process in self.processes[-8:]:
                print(f"--- {process.log.name}\n{process.tail(KEPT_LOG_LINES)}")
            return
        try:
            for process in running:
                process.wait()
            for process in self.processes:
                process.check()
        finally:
            for process in self.processes:
                if process.running():
                    process.kill()

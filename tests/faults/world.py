# SPDX-License-Identifier: Apache-2.0
"""What one test works with: a world of quick consumers, servers that go away, and the comparison."""

import contextlib
import subprocess

import psycopg
import stream as streams
from confluent_kafka import KafkaException

from lib import database, kafka, rebuilding
from lib.consumers import QUICK, REPOSITORY
from lib.feed import Feed
from lib.scenario_run import TOPICS_OF
from lib.world import PROJECTOR, RECORDER, World

PROGRAMS = (PROJECTOR, RECORDER)
PARTITIONS = 12
STOP_DEADLINE = 20  # seconds from SIGTERM to the end of the process
AWAY = 120  # seconds that Kafka may be away in the middle of a feed
TABLES = ("safari_commands", "safari_events", "projectionist.idempotency_conflicts",
          "projectionist.state_command_projector_command",
          "projectionist.state_command_projector_idempotency_key")


class FaultWorld(World):
    """A world to be disturbed. `until`, and what uses it, fails at once if a consumer has ended by
    itself. The connection `database` is lost with Postgres; `connect` opens another."""

    def __init__(self, dsn, connection, folder):
        super().__init__(dsn, connection, folder)
        self.id = connection.info.dbname
        self.template = None  # a migrated database, for the comparison
        self.consumers.stop_deadline = STOP_DEADLINE
        self._feeds = []

    def feed(self, stream, rate):
        """Produces events in the background."""
        return self.feed_of([self.record(event) for event in stream], rate)

    def feed_of(self, records, rate):
        feed = Feed(records, rate, AWAY, message_timeout_ms=AWAY * 1000)
        self._feeds.append(feed)
        return feed

    # Consumers

    def start(self, name, *arguments, **variables):
        """Starts a consumer with short timeouts."""
        return super().start(name, *arguments, **{**QUICK, **variables})

    def start_all(self, replicas, *arguments):
        """Some replicas of each consumer."""
        return [self.start(program, *arguments)
                for program in PROGRAMS for _ in range(replicas)]

    def until(self, condition, deadline=30, what="it did not come true", not_yet=()):
        """Calls condition until it returns something true, and returns that. Fails at once if a
        consumer has ended by itself or the condition raises anything but not_yet."""
        def met():
            self.consumers.check()
            return condition()
        return database.wait_until(met, deadline, what, not_yet)

    def until_logged(self, consumer, *words, count=1, deadline=30):
        """Waits for lines of a log with these words; the lines."""
        def found():
            lines = consumer.logged(*words)
            return lines if len(lines) >= count else None
        return self.until(found, deadline, f"{consumer.log_path.name} does not say {words}")

    def until_working(self, *consumers, deadline=30):
        """Waits until each has partitions."""
        for consumer in consumers:
            self.until_logged(consumer, "partitions assigned", deadline=deadline)

    # Tables

    def connect(self):
        return database.connect(self.dsn)

    def behind(self, ends=None):
        """{(topic, partition): (has, wanted)} of what is not in the tables yet, up to the ends of
        each consumer, by default those of now."""
        behind = {}
        with self.connect() as connection:
            for program, wanted in (ends or self.ends()).items():
                behind.update(database.distances(connection, self.group(program), wanted))
        return behind

    def ends(self):
        return {program: kafka.end_offsets(*TOPICS_OF[program]) for program in PROGRAMS}

    def until_caught_up(self, deadline=60):
        # A broker that has just come back may not lead its partitions yet.
        ends, behind = self.until(self.ends, deadline, not_yet=KafkaException), {}

        def caught_up():
            behind.clear()
            behind.update(self.behind(ends))
            return not behind
        self.until(caught_up, deadline, lambda: "the ends were not reached (has, wanted): "
                   f"{behind}", not_yet=psycopg.OperationalError)  # Postgres is coming back

    def assert_as_if_undisturbed(self, stream):
        """Row for row what two undisturbed consumers make of the same topics; no dead letters."""
        with (self.undisturbed(PROGRAMS, self.template, deadline=120, **QUICK) as reference,
              self.connect() as ours):
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
        """What an operator would check afterwards, private state included."""
        with self.connect() as connection:
            groups = {row["consumer_group"] for row in connection.execute(
                "SELECT DISTINCT consumer_group FROM projectionist.consumer_offsets")}
        for program in PROGRAMS:
            if self.group(program) in groups:
                rebuilding.verify(self, program)

    # The end

    def abandon(self):
        """After a failure: processes need not end well."""
        self.consumers.kill()

    def close(self):
        for feed in self._feeds:
            feed.abandon()
        super().close()


def cluster(*arguments):
    """deploy/local/cluster, which kills and starts the servers."""
    done = subprocess.run([REPOSITORY / "deploy/local/cluster", *arguments], text=True,
                          capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, f"cluster {' '.join(arguments)}: {done.stderr}"
    return done.stdout


@contextlib.contextmanager
def away(part):
    """Kills a server, and starts it again at the end."""
    cluster("kill", part)
    try:
        yield
    finally:
        cluster("start", part)

# SPDX-License-Identifier: Apache-2.0
"""--commit async: Postgres crashes and takes commits back that it had answered."""

import contextlib
import os
import signal
import threading
import time

import psycopg
import stream as streams
from confluent_kafka import Consumer, TopicPartition
from lib import consumers, database, kafka
from lib.scenario_run import TOPICS_OF
from lib.world import PROJECTOR, RECORDER
from world import PROGRAMS, away, cluster

ASYNC = ("--commit", "async", "--batch-records", "100")
CRASHES = 3


@contextlib.contextmanager
def frozen_log_writer():
    """What is committed without waiting stays in Postgres' memory: a crash takes it back."""
    with psycopg.connect(consumers.address("CLUSTER_ADMIN_DSN")) as server:
        pid = database.value(server, "SELECT pid FROM pg_stat_activity "
                             "WHERE backend_type = 'walwriter'")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def offsets(world, program):
    """Of the group, as Postgres has them."""
    with world.connect() as connection:
        return database.next_offsets(connection, world.group(program))


def group_offsets(world, program):
    """As the Kafka group has them, for tools that show lag."""
    reader = Consumer({"bootstrap.servers": kafka.bootstrap_servers(),
                       "group.id": world.group(program)})
    try:
        places = [TopicPartition(*place) for place in kafka.end_offsets(*TOPICS_OF[program])]
        return {(place.topic, place.partition): place.offset
                for place in reader.committed(places, timeout=30) if place.offset >= 0}
    finally:
        reader.close()


class Reader(threading.Thread):
    """Looks at the offsets until Postgres is killed: what a reader had seen by then."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.seen = {}
        self._connection = world.connect()
        self._groups = {program: world.group(program) for program in PROGRAMS}
        self._look()
        self.start()

    def _look(self):
        for program, group in self._groups.items():
            self.seen[program] = database.next_offsets(self._connection, group)

    def run(self):
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                self._look()


def test_commits_that_a_crash_takes_back_are_made_again(world):
    stream = streams.of_commands(1500, seed=61)
    fleet = world.start_all(2, *ASYNC)
    world.until_working(*fleet)
    feed = world.feed(stream, 500)
    lost = told = 0
    for crash in range(CRASHES):
        sent = len(stream) * crash // (CRASHES + 1)
        world.until(lambda: feed.sent > sent and group_offsets(world, RECORDER), 60)
        before = offsets(world, RECORDER)
        with frozen_log_writer():
            world.until(lambda: offsets(world, RECORDER) != before)
            reader = Reader(world)
            cluster("kill", "postgres")
        # Nobody commits any more, so what is there afterwards is what the crash left.
        for consumer in fleet:
            consumer.kill()
        cluster("start", "postgres")
        reader.join()
        for program in PROGRAMS:
            left = offsets(world, program)
            lost += sum(reader.seen[program].values()) - sum(left.values())
            for place, offset in group_offsets(world, program).items():
                assert offset <= left.get(place, 0), (
                    f"the group of {program} is at {offset} of {place}, Postgres at {left}")
                told += offset
        fleet = world.start_all(2, *ASYNC)
    print(f"a reader had seen {lost} offsets that {CRASHES} crashes took back")
    assert lost > 0 and told > 0
    feed.finish()
    world.until_caught_up()
    world.assert_as_if_undisturbed(stream)


def test_consumers_that_live_through_a_crash_read_again(world):
    """The last records of a stream are lost with nothing behind them that would show it."""
    stream = streams.of_commands(300, seed=62)
    fleet = world.start_all(1, *ASYNC)
    world.until_working(*fleet)
    world.publish(stream[:100])
    world.until_caught_up()
    with frozen_log_writer():
        world.publish(stream[100:])
        world.until_caught_up()
        seen = {program: offsets(world, program) for program in PROGRAMS}
        cluster("kill", "postgres")
    cluster("start", "postgres")
    for consumer in fleet:
        world.until_logged(consumer, "fenced", "has lost commits", deadline=60)
    world.until_caught_up()
    assert {program: offsets(world, program) for program in PROGRAMS} == seen
    world.assert_as_if_undisturbed(stream)


def test_a_run_until_caught_up_ends_when_nothing_can_be_lost(world):
    stream = streams.of_commands(100, seed=63)
    world.publish(stream)
    world.catch_up(PROJECTOR)  # what it waits for would bring the other's to the disk, too
    with frozen_log_writer():
        run = world.start(RECORDER, *ASYNC, "--until-caught-up")
        world.until_caught_up()
        time.sleep(2)
        run.check()  # it runs on
    assert run.wait_for_end(60) == 0
    seen = {program: offsets(world, program) for program in PROGRAMS}
    assert {program: group_offsets(world, program) for program in PROGRAMS} == seen
    with away("postgres"):
        pass
    assert {program: offsets(world, program) for program in PROGRAMS} == seen
    world.assert_as_if_undisturbed(stream)

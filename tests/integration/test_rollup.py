# SPDX-License-Identifier: Apache-2.0
"""watermark_metrics is what a query over watermark_removals gives, at every commit: while replicas
that meet in a few buckets are killed, while the tables are rebuilt, while dead letters are
replayed."""

import random
import threading

import pytest

from lib import consumers, database, events, oracle, oracle_metrics, rebuilding, scenario_run
from lib.events import HOUR, SECOND
from lib.feed import Feed
from test_cli_dead_letters import LateSchemas

CONSUMER = "watermark-metrics"
T = events.START // HOUR * HOUR - 48 * HOUR
HOURS = 3
REPLICAS = 3
REMOVALS = 200
PAUSE = 0.02  # seconds between two looks
REMOVAL, METRICS = "watermark_removals", "watermark_metrics"
TERMINAL = ("SUCCEEDED", "FAILED", "CANCELLED")


def history(seed, number):
    """The events of one removal, which takes back what it counted for, moves from bucket to bucket
    and between methods as they come in any order. Some buckets are those of two removals only, so
    that they are emptied and filled again."""
    chance = random.Random(f"rollup {seed} {number}")
    command = events.id_of("rollup", seed, number)
    raw = f"/raw/{seed}/{number // 5}"
    lonely = [f"alone-{number // 2}"] if number % 3 == 0 else []

    def at():
        return T + chance.randrange(HOURS) * HOUR + chance.randrange(60 * SECOND)

    def method():
        return {"method": chance.choice(["a", "b", *lonely * 4])} if chance.random() < 0.8 else {}

    said = [events.command_submitted(command, at(), type=chance.choice(
        ("sora.clean", "sora.clean", "sora.generate.clean")), payload={
            "input_path": raw, "prompt": "p", **method()}) for _ in range(chance.choice((1, 1, 2)))]
    for counter in range(chance.choice((1, 2, 2))):
        said.append(events.telemetry("action.attempted", at(), command_id=command, counter=counter,
                                     payload={"action": "WATERMARK_REMOVAL",
                                              "input_path": raw}))
    for counter in range(chance.choice((0, 1, 2))):
        said.append(events.telemetry(
            "sora.video.cleaned", at(), command_id=command, counter=counter, payload={
                "input_path": raw, "output_path": "/clean",
                "file_size": chance.randrange(10**9)}))
    for counter in range(chance.choice((0, 1, 3))):
        said.append(events.status_changed(
            command, chance.choice(("RUNNING", *TERMINAL)), at(), counter=counter, error="e",
            result={"output_path": "/clean", "file_size": chance.randrange(10**9)}))
    return said


def histories(seed, count=REMOVALS):
    """Events of that many removals in any order, some of them twice."""
    said = [event for number in range(count) for event in history(seed, number)]
    chance = random.Random(seed)
    said += chance.sample(said, len(said) // 5)
    chance.shuffle(said)
    return said


class Reader(threading.Thread):
    """Compares the two tables in one snapshot after the other."""

    def __init__(self, dsn):
        super().__init__(daemon=True)
        self.dsn = dsn
        self.snapshots, self.different, self.problem = 0, 0, None
        self._last = None
        self._over = threading.Event()
        self.start()

    def run(self):
        try:
            with database.connect(self.dsn) as connection:
                while self.problem is None and not self._over.wait(PAUSE):
                    self._look(connection)
        except BaseException as failure:  # pylint: disable=broad-except
            self.problem = repr(failure)

    def _look(self, connection):
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            removals = database.table(connection, REMOVAL)
            have = database.table(connection, METRICS)
        want = oracle_metrics.metrics(removals)
        self.problem = oracle.differences(have, want, oracle.KEYS[METRICS]) or None
        self.snapshots += 1
        self.different += have != self._last
        self._last = have

    def check(self):
        assert self.problem is None, f"after {self.snapshots} snapshots: {self.problem}"

    def end(self):
        self._over.set()
        self.join()
        self.check()


def check(world, happened):
    want = oracle.expected(happened)
    for table in (REMOVAL, METRICS):
        problems = scenario_run.report(table, oracle.in_order(world.rows(table)), want[table],
                                       happened)
        assert not problems, problems


def start(world):
    return world.start(CONSUMER, "--batch-records", "20", **consumers.QUICK)


@pytest.mark.partitions(6)
def test_it_equals_the_query_at_every_commit(world):
    first, second, third = histories(1), histories(2), histories(3, REMOVALS // 3)
    reader = Reader(world.dsn)
    chance = random.Random(1)

    # Replicas are killed.
    fleet = [start(world) for _ in range(REPLICAS)]
    for replica in fleet:
        replica.wait_until_ready()
    feed = Feed(list(map(world.record, first)), 250)
    kills = 0
    while not feed.done_within(chance.uniform(0.3, 1)):
        victim = chance.randrange(REPLICAS)
        fleet[victim].kill()
        fleet[victim] = start(world)
        kills += 1
    feed.finish()
    scenario_run.wait_for_ends(world, (CONSUMER,))
    reader.check()
    assert kills > 3 and reader.different > 20, (kills, reader.different)
    check(world, first)

    # Tables are rebuilt while more comes.
    feed = Feed(list(map(world.record, second)), 250)
    while feed.is_alive():
        rebuilding.rebuild(world, CONSUMER)
    feed.finish()
    scenario_run.wait_for_ends(world, (CONSUMER,))
    check(world, first + second)

    # Letters are replayed while the replicas are given the same once more.
    schemas = LateSchemas()
    world.publish([schemas.late(world.record(event)) for event in third])
    scenario_run.wait_for_ends(world, (CONSUMER,))
    assert len(world.letters()) == len(third)
    schemas.register()
    feed = Feed(list(map(world.record, third)), 250)
    replayed = consumers.run("projectionist", "dead-letters", "replay", "--all", "--yes",
                             variables={"POSTGRES_DSN": world.dsn})
    assert replayed.returncode == 0, replayed.stderr
    feed.finish()
    scenario_run.wait_for_ends(world, (CONSUMER,))
    reader.end()
    check(world, first + second + third)
    print(f"{reader.snapshots} snapshots, {reader.different} different, {kills} kills")

# SPDX-License-Identifier: Apache-2.0
"""One of three replicas is killed: for how long its partitions stand still.

tests/faults/takeover kills often and measures (long_takeover.py). Here is one kill, on a machine that
does much else: whether the replica that is back waits for its own session to end.
"""

import itertools

from lib import events
from lib.events import TELEMETRY
from lib.stalls import Watch
from world import PARTITIONS, RECORDER

SESSION = 30            # seconds
RATE = 20 * PARTITIONS  # events a second


class Replicas:
    """Three of event-recorder, each with a static id. session: seconds"""

    def __init__(self, world, session):
        self.world = world
        self.settings = {"KAFKA_SESSION_TIMEOUT_MS": str(session * 1000),
                         "KAFKA_HEARTBEAT_INTERVAL_MS": None,
                         "IDLE_IN_TRANSACTION_TIMEOUT": None, "LOCK_TIMEOUT": None}
        self.running = {number: self.start(number) for number in range(3)}
        world.until_working(*self.running.values())

    def start(self, number):
        return self.world.start(RECORDER, KAFKA_GROUP_INSTANCE_ID=f"event-recorder-{number}",
                                **self.settings)

    def kill(self, number):
        self.running.pop(number).kill()

    def restart(self, number):
        self.running[number] = self.start(number)


def feed(world):
    """Events for every partition in turn, for as long as the test runs."""
    def records():
        for number in itertools.count():
            event = events.telemetry("action.attempted", events.START + number, counter=number,
                                     payload={})
            yield world.record(event, number % PARTITIONS)
    return world.feed_of(records(), RATE)


def test_a_replica_that_restarts_goes_on_at_once(world):
    replicas = Replicas(world, SESSION)
    feeding = feed(world)
    with Watch(world.dsn, {world.group(RECORDER): [TELEMETRY]}) as watch:
        replicas.kill(1)
        replicas.restart(1)
        watch.until_settled(SESSION + 30)
        longest, _ = watch.longest
    feeding.abandon()
    world.until_caught_up()
    assert longest < SESSION / 2, f"{longest:.1f} s: as if it waited for its own session"

# SPDX-License-Identifier: Apache-2.0
"""Replicas that start and stop orderly while a stream is read."""

import random
import threading

import pytest
import stream as streams
from world import PROGRAMS, STOP_DEADLINE

SECONDS = 7
STRATEGIES = ("cooperative-sticky", "range")
ASSIGNED = 'rebalances_total{kind="assign"}'
NUMBERS = (ASSIGNED, "dropped_records_total", "fenced_total", "retries_total")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_replicas_come_and_go(world, strategy):
    chance = random.Random(6)
    stream = streams.of_commands(SECONDS * 120, seed=61)
    pause = threading.Event()
    totals = dict.fromkeys(NUMBERS, 0)

    def start(program):
        return world.start(program, "--batch-records", "100",
                           KAFKA_PARTITION_ASSIGNMENT_STRATEGY=strategy)

    def retire(consumer):
        for name in NUMBERS:
            totals[name] += consumer.metric(f"projectionist_{name}")
        consumer.terminate()
        leaving.append(consumer)

    leaving = []
    fleet = {(program, replica): start(program) for program in PROGRAMS for replica in range(3)}
    world.until_working(*fleet.values())
    feed = world.feed(stream, len(stream) / SECONDS)
    while feed.is_alive():
        pause.wait(chance.uniform(0.6, 1.2))
        place = chance.choice(sorted(fleet))
        retire(fleet[place])
        fleet[place] = start(place[0])
        started = fleet[place]
        started.wait_until(lambda: started.metric(f"projectionist_{ASSIGNED}") >= 0)
    feed.finish()
    for consumer in leaving:
        consumer.wait(deadline=STOP_DEADLINE)
    world.until_caught_up()
    for consumer in fleet.values():
        retire(consumer)
    for consumer in leaving:
        consumer.wait(deadline=STOP_DEADLINE)
    print(strategy, f"{len(leaving)} stops", totals)
    assert totals[ASSIGNED] > len(leaving) / 2
    world.assert_as_if_undisturbed(stream)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_stopped_while_joining(world, strategy):
    """Before the group has answered, where librdkafka before 2.3 may abort."""
    chance = random.Random(7)
    pause = threading.Event()
    for _ in range(4):
        joining = [world.start("event-recorder", KAFKA_PARTITION_ASSIGNMENT_STRATEGY=strategy)
                   for _ in range(6)]
        for consumer in joining:
            world.until_logged(consumer, "msg=started")
            pause.wait(chance.uniform(0, 0.06))
            consumer.terminate()
        for consumer in joining:
            consumer.wait(deadline=STOP_DEADLINE)

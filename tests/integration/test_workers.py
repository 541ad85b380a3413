# SPDX-License-Identifier: Apache-2.0
"""Several workers in one consumer: members of the group that share metrics, probes and the end."""

import pytest

from lib.database import wait_until
from lib.events import START, TELEMETRY, id_of, telemetry
from lib.world import RECORDER

WORKERS = ("--workers", "2")
pytestmark = pytest.mark.partitions(6)


def publish(world, first, count):
    world.publish([telemetry("action.attempted", START, counter=number,
                             command_id=id_of("worker", number), payload={})
                   for number in range(first, first + count)])


def owners(world):
    """{owner: how many partitions of the recorder it has}"""
    rows = world.database.execute(
        "SELECT owner, count(*) AS partitions FROM projectionist.consumer_offsets "
        "WHERE consumer_group = %s GROUP BY owner", [world.group(RECORDER)]).fetchall()
    return {row["owner"]: row["partitions"] for row in rows}


def until_shared(world, consumer):
    """The owners, once each worker has half of the partitions and the process is ready."""
    wait_until(lambda: sorted(owners(world).values()) == [3, 3])
    consumer.wait_until_ready()
    return owners(world)


@pytest.mark.parametrize("static", [False, True])
def test_workers_share_the_partitions(world, static):
    instance = {"KAFKA_GROUP_INSTANCE_ID": "static"} if static else {}
    consumer = world.start(RECORDER, *WORKERS, **instance)
    first, second = sorted(until_shared(world, consumer))
    assert second == f"{first}/2"
    publish(world, 0, 300)
    world.wait_for_ends(world.group(RECORDER), TELEMETRY)
    assert world.count("safari_events") == 300
    assert len(consumer.logged("partitions assigned")) >= 2
    wait_until(lambda: consumer.metric("projectionist_records_total") == 300)
    assert consumer.metric("projectionist_assigned_partitions") == 6
    # Each partition is shown by whoever has it.
    wait_until(lambda: sum(name.startswith("projectionist_lag_records{")
                           for name in consumer.metrics()) == 6)
    consumer.stop()


def test_one_that_waits_makes_the_process_unready(world):
    consumer = world.start(RECORDER, *WORKERS, "--stall-timeout", "1s")
    _, second = sorted(until_shared(world, consumer))
    with world.database.transaction():
        # What the second one has; so it waits for the lock and then for the next try.
        world.database.execute("SELECT FROM projectionist.consumer_offsets WHERE owner = %s "
                               "FOR UPDATE", [second])
        publish(world, 0, 300)
        wait_until(lambda: consumer.get("/readyz")[0] == 503, 60)
        # The first goes on meanwhile.
        wait_until(lambda: world.count("safari_events") > 0)
        assert consumer.alive()
    consumer.wait_until_ready()
    world.wait_for_ends(world.group(RECORDER), TELEMETRY)
    assert world.count("safari_events") == 300


def test_a_run_until_caught_up_ends_with_all_of_them(world):
    publish(world, 0, 300)
    world.consumers.catch_up(RECORDER, *WORKERS, group=world.group(RECORDER))
    assert world.count("safari_events") == 300


def test_one_that_fails_ends_the_process(world):
    consumer = world.start(RECORDER, *WORKERS)
    until_shared(world, consumer)
    world.database.execute("DROP TABLE safari_events CASCADE")
    publish(world, 0, 1)
    assert consumer.wait_for_end() == 6

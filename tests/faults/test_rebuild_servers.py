# SPDX-License-Identifier: Apache-2.0
"""Servers that go away during a rebuild. Postgres empties unlogged tables when it recovers from a
crash: then a rebuild must read everything again."""

import pytest
import stream as streams
from lib import database, rebuilding
from lib.world import PROJECTOR
from world import away

COMMANDS = 300


@pytest.fixture
def broken(world):
    """Rows of a stream, of which some are wrong; the stream."""
    stream = streams.of_commands(COMMANDS, seed=61)
    world.publish(stream)
    filling = world.start_all(1)
    world.until_caught_up()
    for consumer in filling:
        consumer.stop()
    with world.connect() as connection:
        connection.execute("UPDATE safari_commands SET type = 'wrong' "
                           "WHERE placeholder IS NULL AND command_id::text < '4'")
        connection.execute("DELETE FROM projectionist.state_command_projector_command "
                           "WHERE key::text > 'c'")
    return stream


def start(world):
    return rebuilding.start(world, "rebuild", PROJECTOR, "--yes", "--batch-records", "5")


def read_so_far(world):
    with world.connect() as connection:
        return sum(database.next_offsets(connection, f"{world.group(PROJECTOR)}/rebuild").values())


def assert_rebuilt(world, stream):
    world.assert_as_if_undisturbed(stream)
    rebuilding.verify(world, PROJECTOR)


def until_half_way(world, process):
    world.until(lambda: read_so_far(world) > 100, what="it reads nothing")
    process.freeze()
    assert read_so_far(world) < 2 * COMMANDS, "it is nearly done already"
    # Its commits do not wait for the disk; this one does, and flushes them: the offsets survive a
    # crash.
    with world.connect() as connection:
        connection.execute("CREATE TABLE written_to_the_disk ()")


def test_postgres_crashes_under_a_rebuild(world, broken):
    """It notices that what it had read is gone, before it writes that to the live tables."""
    with world.connect() as connection:
        before = database.table(connection, "safari_commands")
    process = start(world)
    until_half_way(world, process)
    with away("postgres"):
        process.thaw()
        world.until_logged(process, "Postgres")
    # It may notice first that its last commits were lost, as if another process were at work.
    assert process.wait_for_end(60) in (5, 7), process.tail
    assert process.logged("recovered from a crash", "run the same command again"), process.tail
    with world.connect() as connection:
        assert database.table(connection, "safari_commands") == before
    process = start(world)
    process.wait(deadline=60)
    assert not process.logged("continuing an attempt")
    assert_rebuilt(world, broken)


def test_postgres_crashes_between_two_attempts(world, broken):
    process = start(world)
    until_half_way(world, process)
    process.kill()
    with away("postgres"):
        pass
    world.until(lambda: read_so_far(world) > 0)
    process = start(world)
    process.wait(deadline=60)
    assert not process.logged("continuing an attempt")
    assert_rebuilt(world, broken)


@pytest.mark.slow
def test_kafka_goes_away_under_a_rebuild(world, broken):
    process = start(world)
    until_half_way(world, process)
    with away("kafka"):
        process.thaw()
        world.until_logged(process, "Kafka")
    process.wait(deadline=90)
    assert_rebuilt(world, broken)

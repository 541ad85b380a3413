# SPDX-License-Identifier: Apache-2.0
"""Topics that were deleted and recreated, and are as long again: only their ids tell.

librdkafka tells ids from 2.3 on. Where the system's is older, the programs run with the one that
the Python package confluent-kafka brings along."""


import confluent_kafka
import psycopg
import pytest

from lib import consumers, events, kafka, librdkafka
from lib.database import wait_until
from lib.events import COMMANDS, SECOND, START
from lib.rebuilding import RECREATED, UNKNOWN, rebuild, start, traces, verify
from lib.world import PROJECTOR, new_topics

pytestmark = pytest.mark.partitions(2)


@pytest.fixture(autouse=True)
def telling_library(tmp_path_factory, monkeypatch):
    """All programs of the test run with a librdkafka that can tell ids."""
    if not librdkafka.can_tell_topic_ids():
        librdkafka.use_newer(tmp_path_factory.mktemp("library"), monkeypatch)


def publish(world, numbers):
    """Half of them into each partition."""
    world.publish([world.record(events.command_submitted(events.id_of("command", number),
                                                         START + number * SECOND), number % 2)
                   for number in numbers])


def recreate(world, numbers):
    """The topics, with these records; the id that safari.commands has then."""
    new_topics(2)
    publish(world, numbers)
    return kafka_id()


def kafka_id():
    """As Kafka's tools write it."""
    client = kafka.admin()
    topics = confluent_kafka.TopicCollection([COMMANDS])
    description = client.describe_topics(topics)[COMMANDS].result(30)
    return str(description.topic_id).replace("+", "-").replace("/", "_")


def ids(world, partition=None):
    """Of the topic whose offsets the projector has."""
    return {row["topic_id"] for row in world.database.execute(
        "SELECT topic_id FROM projectionist.consumer_offsets WHERE consumer_group = %s "
        "AND partition = coalesce(%s, partition)", [world.group(PROJECTOR), partition])}


def stopped(world, *arguments):
    """The last line of the log of a consumer that finds another topic."""
    consumer = world.start(PROJECTOR, "--until-caught-up", *arguments)
    consumer.wait(RECREATED)
    return consumer.log.strip().splitlines()[-1]


def set_offsets(world, to, *arguments):
    result = consumers.run("projectionist", "offsets", "set", PROJECTOR, "--group",
                           world.group(PROJECTOR), "--to", to, "--yes", *arguments,
                           variables=world.consumers.variables)
    assert result.returncode == 0, result.stderr
    return result.stdout


def problems(world):
    return [place["problem"] for place in world.status()[world.group(PROJECTOR)]["partitions"]]


def test_the_id_is_kept_beside_the_offsets(world):
    publish(world, range(4))
    world.catch_up(PROJECTOR)
    assert ids(world) == {kafka_id()}
    assert "topic ids are not known" not in world.consumers.all[-1].log
    # As a program left it that could not tell.
    world.database.execute("UPDATE projectionist.consumer_offsets SET topic_id = NULL")
    world.catch_up(PROJECTOR)
    assert ids(world) == {kafka_id()}
    assert problems(world) == [None, None]


def test_a_topic_that_is_as_long_again(world):
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    old = kafka_id()
    new = recreate(world, range(10, 30))
    assert old != new

    line = stopped(world)
    assert f"{COMMANDS} [0] has the id {new}, and the offset 5 of " in line
    assert f"the id {old}" in line and "recreated" in line and "offsets set" in line
    assert "another" not in stopped(world, "--accept-gap")
    assert world.count("safari_commands") == 10 and ids(world) == {old}
    assert problems(world) == ["another-id", "another-id"]

    assert set_offsets(world, "earliest").count("the topic is new") == 2
    assert problems(world) == [None, None] and ids(world) == {new}
    world.catch_up(PROJECTOR)
    assert world.count("safari_commands") == 30 and ids(world) == {new}


def test_the_same_offset_in_the_new_topic(world):
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    old = kafka_id()
    new = recreate(world, range(10, 30))
    assert "moved 1 partition" in set_offsets(world, "5", "--partition", "0")
    assert ids(world, 0) == {new} and ids(world, 1) == {old}
    assert f"{COMMANDS} [1] has the id {new}" in stopped(world)
    assert "moved 1 partition" in set_offsets(world, "5")
    world.catch_up(PROJECTOR)
    assert world.count("safari_commands") == 10 + 10
    assert "nothing to do" in set_offsets(world, "latest")


def test_what_was_not_read_is_missed_by_nobody(world):
    world.catch_up(PROJECTOR)
    assert ids(world) == {kafka_id()} and world.offsets(world.group(PROJECTOR)) == {}
    new = recreate(world, range(10))
    assert problems(world) == [None, None]
    world.catch_up(PROJECTOR)
    assert world.count("safari_commands") == 10 and ids(world) == {new}


def test_recreated_between_two_fetches(world):
    publish(world, range(10))
    consumer = world.start(PROJECTOR)
    world.wait_for_ends(world.group(PROJECTOR), COMMANDS)
    consumer.freeze()
    new = recreate(world, range(10, 30))
    consumer.thaw()
    consumer.wait(RECREATED)
    assert f"has the id {new}" in consumer.log and "recreated" in consumer.log
    set_offsets(world, "earliest")
    world.catch_up(PROJECTOR)
    assert world.count("safari_commands") == 30


@pytest.mark.skipif(librdkafka.can_tell_topic_ids(), reason="the system's librdkafka can tell ids")
def test_who_cannot_tell_leaves_the_id_alone(world, monkeypatch):
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    old = kafka_id()
    with monkeypatch.context() as context:
        context.delenv("LD_LIBRARY_PATH")
        publish(world, range(10, 14))
        world.catch_up(PROJECTOR)
        log = world.consumers.all[-1].log
        assert log.count("topic ids are not known") == 1
        assert problems(world) == [None, None] and ids(world) == {old}
        # An offset that is set is one of whatever topic is there now.
        new = recreate(world, range(20, 40))
        set_offsets(world, "7")
        assert ids(world) == {None}
    world.catch_up(PROJECTOR)
    assert ids(world) == {new}


# --- rebuilding ------------------------------------------------------------------------------

def test_a_rebuild_of_what_another_topic_said(world):
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    old = kafka_id()
    new = recreate(world, range(10, 30))
    for arguments in ((), ("--keep-retained",)):
        error = rebuild(world, PROJECTOR, *arguments, code=RECREATED)
        assert f"{COMMANDS} [0] has the id {new}" in error and f"the id {old}" in error
        assert "offsets set" in error
    assert "recreated" in verify(world, PROJECTOR, code=UNKNOWN)
    assert world.count("safari_commands") == 10 and traces(world) == []

    set_offsets(world, "earliest")
    # Of a program that could not tell: the swap says it.
    world.database.execute("UPDATE projectionist.consumer_offsets SET topic_id = NULL")
    rebuild(world, PROJECTOR)
    assert ids(world) == {new} and world.count("safari_commands") == 20
    world.catch_up(PROJECTOR)
    verify(world, PROJECTOR)
    assert world.count("safari_commands") == 20 and problems(world) == [None, None]


def test_an_interrupted_rebuild_of_another_topic(world):
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    with psycopg.connect(world.dsn) as writer:
        writer.execute("LOCK TABLE safari_commands IN ROW EXCLUSIVE MODE")
        attempt = start(world, "rebuild", PROJECTOR, "--yes")  # reads all, and cannot swap
        wait_until(lambda: world.value("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0)
        attempt.kill()
    wait_until(lambda: world.value("SELECT count(*) FROM pg_stat_activity WHERE datname = "
                                   "current_database() AND application_name LIKE '%rebuild'") == 0)
    assert traces(world) != []
    new = recreate(world, range(10, 30))
    set_offsets(world, "earliest")

    error = rebuild(world, PROJECTOR, code=RECREATED)
    assert f"has the id {new}" in error and "run the same command again" in error
    assert world.count("safari_commands") == 10 and traces(world) == []
    rebuild(world, PROJECTOR)
    assert ids(world) == {new} and world.count("safari_commands") == 20
    world.catch_up(PROJECTOR)
    verify(world, PROJECTOR)

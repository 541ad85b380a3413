# SPDX-License-Identifier: Apache-2.0
"""A stop that needs a person stays until one acts, whatever comes meanwhile and whoever starts."""

import confluent_kafka
import pytest

from lib import consumers, events, kafka
from lib.events import COMMANDS, SECOND, START
from lib.librdkafka import can_tell_topic_ids
from lib.rebuilding import RECREATED, rebuild, verify
from lib.world import PROJECTOR, RECORDER, new_topics

GAP, UNKNOWN = 3, 2

pytestmark = pytest.mark.partitions(2)
without_topic_ids = pytest.mark.skipif(
    can_tell_topic_ids(), reason="this librdkafka tells the ids of topics: see test_topic_ids.py")


def submitted(number):
    return events.command_submitted(events.id_of("stop", number), START + number * SECOND)


def publish(world, numbers, partition=0):
    world.publish([submitted(number) for number in numbers], partition)


def stopped(world, code, *arguments):
    """The last line of the log of a consumer that ends with the code."""
    consumer = world.start(PROJECTOR, *arguments)
    consumer.wait(code)
    return consumer.log.strip().splitlines()[-1]


def offsets_set(world, *arguments):
    result = consumers.run("projectionist", "offsets", "set", PROJECTOR, "--group",
                           world.group(PROJECTOR), *arguments, "--yes",
                           variables=world.consumers.variables)
    assert result.returncode == 0, result.stderr


def remove_up_to(offset):
    admin = kafka.admin()  # must live until it has its answer
    place = confluent_kafka.TopicPartition(COMMANDS, 0, offset)
    admin.delete_records([place])[place].result(30)


def problems(world):
    return {partition["partition"]: partition
            for partition in world.status()[world.group(PROJECTOR)]["partitions"]
            if partition["problem"]}


@without_topic_ids
def test_a_recreated_topic_is_remembered_when_it_has_grown_past_our_offset(world):
    publish(world, range(20))
    publish(world, range(100, 103), partition=1)
    world.catch_up(PROJECTOR)
    new_topics(2)
    publish(world, range(200, 205))
    line = stopped(world, RECREATED, "--until-caught-up")
    assert f"{COMMANDS} [0] ends at 5, before the offset 20" in line, line
    assert "was recreated, or the brokers have lost the end of its log" in line
    assert f"offsets set {PROJECTOR} --group {world.group(PROJECTOR)} --to earliest" in line

    publish(world, range(205, 240))
    publish(world, range(300, 310), partition=1)
    assert f"{COMMANDS} [0] ends at 5" in stopped(world, RECREATED)  # as it was seen then
    assert f"{COMMANDS} [0] ends at 5" in stopped(world, RECREATED, "--accept-gap")
    assert world.count("safari_commands") == 23
    told = problems(world)
    assert told[0]["problem"] == "stopped" and "ends at 5" in told[0]["stop"]
    assert told[0]["lag"] is None, "how far it is behind means nothing"
    assert world.value("SELECT count(*) FROM projectionist.stops") == 2
    assert "ends at 5" in verify(world, PROJECTOR, code=UNKNOWN)
    assert "ends at 5" in rebuild(world, PROJECTOR, code=RECREATED)

    offsets_set(world, "--to", "earliest")
    world.catch_up(PROJECTOR)
    assert world.count("safari_commands") == 23 + 40 + 10
    assert problems(world) == {}


@without_topic_ids
def test_a_recreated_topic_that_nobody_saw_while_it_was_short(world):
    """Only the record that was read last tells: another one is in its place."""
    publish(world, range(20))
    publish(world, range(100, 105), partition=1)
    world.catch_up(PROJECTOR)
    new_topics(2)
    publish(world, range(200, 230))
    publish(world, range(300, 310), partition=1)
    for _ in range(2):
        line = stopped(world, RECREATED, "--until-caught-up")
        assert "has another record at the offset" in line, line
    assert world.count("safari_commands") == 25
    assert "another record" in verify(world, PROJECTOR, code=UNKNOWN)
    offsets_set(world, "--to", "earliest")
    world.catch_up(PROJECTOR)
    assert world.count("safari_commands") == 25 + 40
    world.catch_up(PROJECTOR)


@without_topic_ids
def test_a_rebuild_does_not_take_another_topic_for_the_one_that_was_read(world):
    """No consumer was started since, so no stop is written."""
    publish(world, range(20))
    world.catch_up(PROJECTOR)
    new_topics(2)
    publish(world, range(200, 230))
    assert "another record" in verify(world, PROJECTOR, code=UNKNOWN)
    rebuild(world, PROJECTOR, code=RECREATED)
    assert world.count("safari_commands") == 20


@without_topic_ids
def test_a_topic_that_is_published_again_as_it_was_goes_on(world):
    records = [world.record(submitted(number), 0) for number in range(20)]
    kafka.produce(records)
    world.catch_up(PROJECTOR)
    new_topics(2)
    kafka.produce(records)
    publish(world, range(20, 30))
    world.catch_up(PROJECTOR)
    assert world.count("safari_commands") == 30


def test_a_gap_is_remembered_until_it_is_accepted(world):
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    publish(world, range(10, 30))
    remove_up_to(17)
    stopped(world, GAP, "--until-caught-up")
    publish(world, range(30, 35))
    assert "lacks the offsets 10 to 16" in stopped(world, GAP)
    assert "lacks the offsets 10 to 16" in problems(world)[0]["stop"]
    world.start(PROJECTOR, "--until-caught-up", "--accept-gap").wait()
    assert world.count("safari_commands") == 10 + 18
    assert problems(world) == {}
    world.catch_up(PROJECTOR)


def test_a_stop_ends_only_those_that_have_the_partition(world):
    """Whoever is given the partition ends with the same sentence; other groups read on."""
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    publish(world, range(10, 20))
    remove_up_to(15)
    for owner in ("a", "b"):
        line = stopped(world, GAP, "--instance", owner)
        assert "lacks the offsets 10 to 14" in line
    world.catch_up(RECORDER)
    world.catch_up(PROJECTOR, group="another")

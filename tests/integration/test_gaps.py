# SPDX-License-Identifier: Apache-2.0
"""Topics that lost records or were recreated: a named stop each, and the remedy that it names."""

import confluent_kafka
import pytest

from lib import consumers, events, kafka
from lib.events import COMMANDS, SECOND, START
from lib.world import PROJECTOR, new_topics

pytestmark = pytest.mark.partitions(1)


def submitted(number):
    return events.command_submitted(events.id_of("gap", number), START + number * SECOND)


def remove_up_to(offset):
    """What retention does."""
    admin = kafka.admin()
    partition = confluent_kafka.TopicPartition(COMMANDS, 0, offset)
    for future in admin.delete_records([partition]).values():
        future.result(30)


def publish(world, numbers):
    world.publish([submitted(number) for number in numbers])


def stopped(world, code, *arguments):
    """The last line of the log of a consumer that ends with the code."""
    consumer = world.start(PROJECTOR, *arguments)
    consumer.wait(code)
    return consumer.log.strip().splitlines()[-1]


def test_records_that_were_removed_before_they_were_read(world):
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    publish(world, range(10, 30))
    remove_up_to(17)
    line = stopped(world, 3, "--until-caught-up")
    assert f"{COMMANDS} [0] lacks the offsets 10 to 16" in line and "--accept-gap" in line
    assert world.count("safari_commands") == 10
    assert world.value("SELECT count(*) FROM projectionist.gaps") == 0

    world.start(PROJECTOR, "--until-caught-up", "--accept-gap").wait()
    assert world.value("SELECT concat_ws(' ', consumer_group, topic, partition, from_offset, "
                       "to_offset) FROM projectionist.gaps"
                       ) == f"{world.group(PROJECTOR)} {COMMANDS} 0 10 17"
    assert world.count("safari_commands") == 10 + 13
    world.catch_up(PROJECTOR)  # without the flag again: what was accepted once stays accepted


def test_gaps_of_very_many_partitions(world):
    """All are accepted at once, however many statements that takes."""
    count = 260  # more than one pipeline takes
    kafka.new_topics(COMMANDS, partitions=count)
    everywhere = [world.record(submitted(number), number) for number in range(count)]
    kafka.produce(everywhere)
    world.catch_up(PROJECTOR)
    kafka.produce(everywhere * 2)
    admin = kafka.admin()
    places = [confluent_kafka.TopicPartition(COMMANDS, number, 2) for number in range(count)]
    for future in admin.delete_records(places).values():
        future.result(30)
    assert stopped(world, 3, "--until-caught-up")
    world.start(PROJECTOR, "--until-caught-up", "--accept-gap").wait()
    assert world.value("SELECT count(*) FROM projectionist.gaps") == count
    assert world.count("safari_commands") == count


def test_records_removed_before_a_group_began_are_no_gap(world):
    publish(world, range(10))
    remove_up_to(4)
    world.catch_up(PROJECTOR)
    assert world.count("safari_commands") == 6


def test_a_topic_that_was_recreated(world):
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    new_topics(1)
    publish(world, range(10, 13))
    line = stopped(world, 4, "--until-caught-up")
    assert f"{COMMANDS} [0] ends at 3, before the offset 10" in line and "offsets set" in line
    assert world.count("safari_commands") == 10

    result = consumers.run("projectionist", "offsets", "set", PROJECTOR, "--group",
                           world.group(PROJECTOR), "--to", "earliest", "--yes",
                           variables=world.consumers.variables)
    assert result.returncode == 0, result.stderr
    world.catch_up(PROJECTOR)
    assert world.count("safari_commands") == 13

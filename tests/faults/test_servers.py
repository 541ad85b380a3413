# SPDX-License-Identifier: Apache-2.0
"""Servers that go away in the middle of a stream, or are unavailable when a consumer starts."""

import json
import os
from pathlib import Path

import pytest
import stream as streams
from lib import avro, database, events, kafka, registry
from lib.world import new_topics
from world import PARTITIONS, away

STOP_SECONDS = 5  # from SIGTERM to the end while a server is unavailable


def pids(consumers):
    return [(consumer.pid, consumer.running) for consumer in consumers]


def until_ready(world, *consumers):
    world.until(lambda: all(consumer.ready() for consumer in consumers), 60,
                "they did not become ready")


@pytest.mark.usefixtures("library")
def test_postgres_goes_away(world):
    # What a long pause, an end of a partition and a rebalance in the middle of it make of the place
    # to read on from is not the same in all versions of librdkafka.
    stream = streams.of_commands(1000, seed=51)
    consumers = world.start_all(1, "--batch-records", "100")
    doomed = world.start_all(1, "--batch-records", "100")
    until_ready(world, *consumers, *doomed)
    before = pids(consumers)
    feed = world.feed(stream, 1000)
    world.until(lambda: feed.sent > 2000)
    with away("postgres"):
        world.until(lambda: not any(consumer.ready() for consumer in consumers + doomed),
                    what="they still say that they are ready")
        late = world.start_all(1)
        for consumer in (*consumers, *doomed, *late):
            world.until_logged(consumer, "Postgres")
        for consumer in doomed:
            consumer.stop(STOP_SECONDS)
        assert all(consumer.alive() for consumer in consumers + late)
    feed.finish()
    world.until_caught_up()
    until_ready(world, *consumers, *late)
    assert pids(consumers) == before
    world.assert_as_if_undisturbed(stream)


def test_an_idle_consumer_is_ready_again(world):
    """It notices that Postgres is back even without records to commit."""
    world.publish(streams.of_commands(5, seed=50))
    consumers = world.start_all(1)
    world.until_caught_up()
    until_ready(world, *consumers)
    for consumer in consumers:
        with world.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                               "WHERE application_name LIKE %s", [f"%:{consumer.pid}"])
        world.until_logged(consumer, "waiting for a server")
    until_ready(world, *consumers)


@pytest.mark.changes_tables
def test_a_record_that_kafka_has_damaged_is_not_passed_over(world):
    """librdkafka continues after what it cannot read."""
    stream = streams.of_commands(5, seed=49)
    world.publish(stream)
    mark = b"a word that is in one record only"
    place = 3
    kafka.produce([kafka.Record(events.COMMANDS, mark, mark, None, place)])
    end = kafka.end_offsets(events.COMMANDS)[events.COMMANDS, place]
    kafka.produce([kafka.Record(events.COMMANDS, b"the next", b"garbage", None, place)])
    folder = Path(os.environ["PROJECTIONIST_CLUSTER_DIR"])
    segment, = (file for file in folder.rglob(f"{events.COMMANDS}-{place}/*.log")
                if mark in file.read_bytes())
    with open(segment, "r+b") as file:
        file.seek(segment.read_bytes().index(mark))
        file.write(b"A")
    consumer = world.start("command-projector", "--kafka.check.crcs=true")
    assert consumer.wait_for_end() == 1
    assert consumer.logged(f"{events.COMMANDS} [{place}] cannot be read at the offset {end - 1}")
    with world.connect() as connection:
        assert database.value(connection, "SELECT max(next_offset) FROM "
                              "projectionist.consumer_offsets WHERE partition = %s",
                              [place]) in (None, *range(end))


def test_kafka_goes_away(world):
    # A restarted Kafka must not give new topics the settings of the old ones.
    for topic in events.TOPICS:
        kafka.set_topic(topic, message_timestamp_before_max_ms="3600000")
    new_topics(PARTITIONS)
    stream = streams.of_commands(1000, seed=52)
    consumers = world.start_all(1, "--batch-records", "100")
    until_ready(world, *consumers)
    before = pids(consumers)
    feed = world.feed(stream, 1000)
    world.until(lambda: feed.sent > 2000)
    with away("kafka"):
        late = world.start_all(1)
        doomed = world.start_all(1, "--shutdown-timeout", "2s")
        for consumer in (*consumers, *late, *doomed):
            world.until_logged(consumer, "level=warn")
        for consumer in doomed:
            consumer.stop(STOP_SECONDS + 5)
        assert all(consumer.alive() for consumer in consumers + late)
        assert not any(consumer.ready() for consumer in late)
    feed.finish()
    world.until_caught_up()
    until_ready(world, *consumers, *late)
    assert pids(consumers) == before
    world.assert_as_if_undisturbed(stream)


def evolved(topic, number):
    """The topic's schema with one more field, so with a new id."""
    schema = json.loads(avro.schema_text(topic))
    schema["fields"].append({"name": f"added_{number}", "type": ["null", "string"],
                             "default": None})
    return json.dumps(schema)


def with_schema(event, ids):
    topic = events.topic_of(event)
    schema_id, schema = ids[topic]
    return kafka.Record(topic, events.key_of(event).encode(),
                        avro.encode(event, schema_id, schema), event["emitted_at"] // 1000)


def test_the_registry_goes_away_and_a_new_schema_comes(world):
    stream = streams.of_commands(200, seed=53)
    consumers = world.start_all(1)
    until_ready(world, *consumers)
    before = pids(consumers)
    world.publish(stream)
    world.until_caught_up()
    ids = {}
    for topic in (events.COMMANDS, events.TELEMETRY):
        # A new one each time, in a subject of its own.
        schema = evolved(topic, world.id)
        ids[topic] = (registry.register(f"faults-{world.id}-{topic}", schema), schema)
    more = streams.of_commands(200, seed=54)
    with away("registry"):
        # Records of known schemas are read; those of new ones wait, and are not dead-lettered.
        known = streams.of_commands(50, seed=55)
        world.publish(known)
        world.until_caught_up()
        kafka.produce([with_schema(event, ids) for event in more])
        world.until(lambda: not any(consumer.ready() for consumer in consumers),
                    what="they still say that they are ready")
        for consumer in consumers:
            world.until_logged(consumer, "waiting for a server", "registry")
            assert consumer.metric("projectionist_dead_letters_total") == 0
    world.until_caught_up()
    until_ready(world, *consumers)
    assert pids(consumers) == before
    world.assert_as_if_undisturbed(stream + known + more)


@pytest.mark.slow
def test_all_go_away_one_after_the_other(world):
    """The same processes survive all of it."""
    stream = streams.of_commands(1500, seed=56)
    consumers = world.start_all(2, "--batch-records", "100")
    until_ready(world, *consumers)
    before = pids(consumers)
    feed = world.feed(stream, 600)
    for number, part in enumerate(("postgres", "registry", "kafka"), start=1):
        world.until(lambda: feed.sent > 1500 * number)
        with away(part):
            world.until(lambda: feed.sent > 1500 * number + 1000 or not feed.is_alive())
    feed.finish()
    world.until_caught_up()
    until_ready(world, *consumers)
    assert pids(consumers) == before
    world.assert_as_if_undisturbed(stream)

# SPDX-License-Identifier: Apache-2.0
"""outbox-relay against real servers: rows that fit nothing, topics that are missing, two relays,
heartbeats, and how soon a row is in Kafka. tests/faults/test_outbox_relay.py kills it."""

import json
import os
import threading
import time
import uuid

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AclOperation, ResourceType

from lib import consumers, database, kafka, registry
from lib.outbox import AVRO, SCHEMA, decoded, new_outbox

NEWER = json.loads(AVRO)
NEWER["fields"].append({"name": "more", "type": ["null", "string"], "default": None})


@pytest.fixture(scope="module")
def outbox(template):
    with new_outbox(template) as outbox:
        yield outbox


@pytest.fixture
def relays(tmp_path):
    relays = consumers.Consumers(tmp_path)
    try:
        yield relays
        relays.end()
    finally:
        relays.kill()


@pytest.fixture
def relay(outbox, relays):
    relay = outbox.relay(relays)
    relay.wait_until_ready()
    return relay


def told(number=1, **more):
    return {"emitted_at": 1, "number": number, **more}


def test_what_can_never_be_published_is_set_apart(outbox, relay):
    """And blocks nobody: neither those before it nor those behind it, not of its own key either."""
    with outbox.connect() as connection:
        good = [outbox.insert(connection, outbox.topic, "k", told(1))]
        other = str(uuid.uuid4())
        bad = {
            outbox.insert(connection, outbox.topic, "k", {"emitted_at": 1}): "number is missing",
            outbox.insert(connection, outbox.topic, "k", told(strange=1)): "strange is unknown",
            outbox.insert(connection, outbox.topic, "k", told("x")): "number is not an integer",
            outbox.insert(connection, outbox.topic, "k", told(2**70)): "cannot be read",
            outbox.insert(connection, outbox.topic, "k", told(event_id=other)): "another event_id",
            outbox.insert(connection, "no topic", "k", told()): "cannot be the name of a topic",
            outbox.insert(connection, "x" * 250, "k", told()): "cannot be the name of a topic",
            outbox.insert(connection, outbox.topic, "k", told(note=os.urandom(1_500_000).hex())):
                "MSG_SIZE_TOO_LARGE",
            outbox.insert(connection, outbox.topic, "k", told(note="x" * (17 << 20))):
                "its body takes 17 MiB",
        }
        good += [outbox.insert(connection, outbox.topic, "k", told(n)) for n in range(2, 40)]
    outbox.wait_until_empty()
    failed = outbox.failed()
    assert failed.keys() == bad.keys()
    for event_id, reason in bad.items():
        assert reason in failed[event_id], failed[event_id]
    published = [event["event_id"] for _, event in outbox.published()]
    assert list(dict.fromkeys(published)) == good, "each of the others, in order"
    relay.wait_until(lambda: relay.metric("projectionist_outbox_failed_rows") == len(bad))
    assert relay.metric('projectionist_outbox_failed_total{reason="schema"}') == len(bad) - 1
    assert relay.metric('projectionist_outbox_failed_total{reason="kafka"}') == 1
    assert len(relay.logged("outbox_failed")) == len(bad)
    assert relay.ready()

    # What has been mended goes back, behind what is there.
    mended = next(event_id for event_id, reason in bad.items() if reason == "number is missing")
    with outbox.connect() as connection:
        connection.execute(f"UPDATE {SCHEMA}.outbox_failed SET body = body || '{{\"number\": 7}}' "
                           "WHERE event_id = %s", [mended])
        assert connection.execute(
            f"SELECT projectionist.retry_outbox('{SCHEMA}', ARRAY[(SELECT id FROM "
            f"{SCHEMA}.outbox_failed WHERE event_id = %s)])", [mended]).fetchone() == (1,)
    outbox.wait_until_empty()
    assert outbox.published()[-1][1]["event_id"] == mended
    assert outbox.failed().keys() == bad.keys() - {mended}


def test_what_was_committed_and_not_deleted_is_published_again_with_its_id(outbox, relays):
    """A lock that lets rows be read and none be deleted holds the relay there, where it is killed."""
    with outbox.connect() as connection:
        ids = [outbox.insert(connection, outbox.topic, "twice", told(n)) for n in range(5)]

    def published():
        return [event["event_id"] for key, event in outbox.published() if key == "twice"]

    with outbox.connect() as connection:
        connection.execute(f"LOCK TABLE {SCHEMA}.outbox IN SHARE MODE")
        first = outbox.relay(relays)
        first.wait_until(lambda: published() == ids)
        first.kill()
        # Postgres would not notice before it has deleted them.
        connection.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE "
                           "application_name = 'outbox-relay' AND datname = current_database()")
    outbox.relay(relays)
    outbox.wait_until_empty()
    assert published() == ids * 2


def test_a_topic_that_is_missing_keeps_its_own_rows_alone(outbox, relay):
    """Until it is there, and the registry has its schema."""
    late = f"{outbox.topic}-late"
    with outbox.connect() as connection:
        first = outbox.insert(connection, late, "k", told(1))
        outbox.insert(connection, outbox.topic, "k", told(100))
        second = outbox.insert(connection, late, "k", told(2))
    database.wait_until(lambda: outbox.count() == 2)
    relay.wait_until(lambda: not relay.ready())
    assert f"Kafka has no topic {late}" in relay.get("/readyz")[1]
    assert relay.metric("projectionist_outbox_waiting_topics") == 1
    try:
        kafka.create_topics(late, partitions=1)
        relay.wait_until(lambda: f"no subject {late}-value" in relay.get("/readyz")[1])
        registry.register(f"{late}-value", AVRO)
        outbox.wait_until_empty()
        relay.wait_until_ready()
        assert [event["event_id"] for _, event in outbox.published(late)] == [first, second]
    finally:
        kafka.delete_topics(late)


def test_a_topic_that_is_not_to_be_written_keeps_its_own_rows_alone(outbox, relays):
    """Which only shows when a record is sent, for it may be seen. Rows and heartbeats of other
    topics go on meanwhile; its own go on when there is a right again."""
    shut, beaten = f"{outbox.topic}-shut", f"{outbox.topic}-beaten"
    registry.register(f"{shut}-value", AVRO)
    kafka.create_topics(shut, beaten, partitions=1)

    def numbers(topic, key):
        return [event["number"] for name, event in outbox.published(topic) if name == key]

    try:
        with kafka.without_right(ResourceType.TOPIC, shut, AclOperation.WRITE):
            relay = outbox.relay(relays, HEARTBEAT_INTERVAL="200ms",
                                 HEARTBEAT_TOPICS=f"{shut},{beaten}")
            with outbox.connect() as connection:
                for number in range(10):
                    outbox.insert(connection, shut, "k", told(number))
                    outbox.insert(connection, outbox.topic, "others", told(number))
            database.wait_until(lambda: outbox.count() == 10, 30, "rows of others wait")
            relay.wait_until(lambda: "TOPIC_AUTHORIZATION_FAILED" in relay.get("/readyz")[1])
            assert relay.get("/readyz")[0] == 503
            assert relay.metric("projectionist_outbox_waiting_topics") >= 1
            for number in range(10, 40):  # for as long as it takes to try the other again
                with outbox.connect() as connection:
                    outbox.insert(connection, outbox.topic, "others", told(number))
                database.wait_until(lambda: outbox.count() == 10, 20, "rows of others wait")
                time.sleep(0.3)
            assert numbers(outbox.topic, "others") == list(range(40))
            assert len(relay.logged("records of a topic wait", "Topic authorization failed")) <= 4
            beats = relay.metric("projectionist_outbox_heartbeats_total")
            assert outbox.count() == 10
        outbox.wait_until_empty()
        relay.wait_until_ready()
        assert numbers(shut, "k") == list(range(10))
        relay.wait_until(lambda: relay.metric("projectionist_outbox_heartbeats_total") > beats)
    finally:
        kafka.delete_topics(shut, beaten)


def test_a_newer_schema_is_found_when_a_row_needs_it(outbox, relay):
    with outbox.connect() as connection:
        outbox.insert(connection, outbox.topic, "k", told(1))
    outbox.wait_until_empty()
    registry.register(f"{outbox.topic}-value", json.dumps(NEWER))
    time_asked = time.monotonic()
    with outbox.connect() as connection:  # a schema is asked for again after 5 s, not for each row
        database.wait_until(lambda: time.monotonic() - time_asked > 5.2)
        event_id = outbox.insert(connection, outbox.topic, "newer", told(2, more="x"))
    outbox.wait_until_empty()
    assert event_id not in outbox.failed()
    assert [event["more"] for key, event in outbox.published() if key == "newer"] == ["x"]


def test_a_second_relay_stands_by(outbox, relays, relay):
    second = outbox.relay(relays)
    second.wait_for_log("standing by")
    second.wait_until_ready()
    assert second.metric("projectionist_outbox_active") == 0
    with outbox.connect() as connection:
        outbox.insert(connection, outbox.topic, "two", told(1))
    outbox.wait_until_empty()
    assert second.metric("projectionist_outbox_published_total") == 0
    relay.stop()
    second.wait_until(lambda: second.metric("projectionist_outbox_active") == 1)
    with outbox.connect() as connection:
        outbox.insert(connection, outbox.topic, "two", told(2))
    outbox.wait_until_empty()
    assert [event["number"] for key, event in outbox.published() if key == "two"] == [1, 2]


def test_relays_of_two_outboxes_must_not_share_an_id(outbox, template, relays):
    with new_outbox(template) as other:
        first = outbox.relay(relays)
        first.wait_until_ready()
        second = other.relay(relays, RELAY_ID=outbox.topic)
        second.wait_until_ready()
        with outbox.connect() as connection:
            event_id = outbox.insert(connection, outbox.topic, "mine", told(1))
        assert first.wait_for_end() == 5
        assert "give each outbox in this Kafka a --relay-id of its own" in first.log
        second.stop()
    third = outbox.relay(relays)
    outbox.wait_until_empty()
    assert event_id in {event["event_id"] for _, event in outbox.published()}
    third.stop()


def test_heartbeats_while_the_outbox_is_empty(outbox, relays):
    topic = f"{outbox.topic}-beats"
    kafka.create_topics(topic, partitions=3)
    try:
        relay = outbox.relay(relays, HEARTBEAT_TOPICS=topic, HEARTBEAT_INTERVAL="200ms")
        relay.wait_until(lambda: relay.metric("projectionist_outbox_heartbeats_total") >= 6)
        relay.stop()
        records = kafka.read(topic)
        assert {record.partition for record in records} == {0, 1, 2}
        schema = json.loads(registry.schema(int.from_bytes(records[0].value[1:5], "big")))
        assert f'{schema["namespace"]}.{schema["name"]}' == "projectionist.Heartbeat"
        times = [decoded(record.value)["emitted_at"] / 1e6 for record in records]
        assert all(abs(at - time.time()) < 60 for at in times)
    finally:
        kafka.delete_topics(topic)


def test_a_row_is_in_kafka_within_a_second(outbox, relay):
    """99 in 100 of them, from the commit on, at 100 a second."""
    count, committed, seen = 500, {}, {}
    reader = Consumer({"bootstrap.servers": kafka.bootstrap_servers(), "group.id": uuid.uuid4().hex,
                       "auto.offset.reset": "latest", "enable.auto.commit": False})
    reader.assign(_ends(outbox.topic))
    written = threading.Event()

    def read():
        while not written.is_set() or len(seen) < count:
            message = reader.poll(0.2)
            if message is not None and message.error() is None and message.key() == b"fast":
                seen.setdefault(decoded(message.value())["event_id"], time.monotonic())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    with outbox.connect() as connection:
        begun = time.monotonic()
        for number in range(count):
            event_id = outbox.insert(connection, outbox.topic, "fast", told(number))
            connection.commit()
            committed[event_id] = time.monotonic()
            time.sleep(max(0, begun + (number + 1) / 100 - time.monotonic()))
    written.set()
    thread.join(30)
    reader.close()
    late = sorted(seen[event_id] - committed[event_id] for event_id in committed)
    p50, p99 = late[count // 2], late[count * 99 // 100]
    print(f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, most {late[-1] * 1000:.0f} ms")
    assert p99 < 1


def _ends(topic):
    return [TopicPartition(name, partition, offset)
            for (name, partition), offset in kafka.end_offsets(topic).items()]


@pytest.mark.parametrize("variables, code, sentence", [
    ({"OUTBOX": None}, 2, "no outbox is named"),
    ({"OUTBOX": "nowhere"}, 6, "the schema nowhere has no tables outbox and outbox_failed"),
    ({"SCHEMA_REGISTRY_URL": None}, 2, "--schema-registry-url"),
    ({"POSTGRES_DSN": None}, 2, "no database is named"),
    ({"TOPIC_PREFIX": "a b"}, 2, "has a character that Kafka does not allow"),
])
def test_it_says_what_is_wrong(outbox, variables, code, sentence):
    result = consumers.run("outbox-relay", variables={"POSTGRES_DSN": outbox.dsn, "OUTBOX": SCHEMA,
                                                      **variables})
    assert result.returncode == code, result.stderr
    assert sentence in result.stderr


def test_an_outbox_refuses_what_is_no_event(outbox):
    with outbox.connect(autocommit=True) as connection:
        for topic, body in (("", {}), (outbox.topic, [])):
            with pytest.raises(Exception, match="check constraint"):
                outbox.insert(connection, topic, "k", body)
        event_id = outbox.insert(connection, outbox.topic, "k", told(1))
        with pytest.raises(Exception, match="duplicate key"):
            outbox.insert(connection, outbox.topic, "k", told(1), event_id)
        connection.execute(f"DELETE FROM {SCHEMA}.outbox WHERE event_id = %s", [event_id])

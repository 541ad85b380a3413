# SPDX-License-Identifier: Apache-2.0
"""What Kafka refuses, for good or for a while, by topics whose settings make it do so: what is
refused for good stops nobody and is seen, its neighbours land, and what is refused for a while is
told by its name and goes on."""

import concurrent.futures
import contextlib
import json
import random
import time
import uuid
from datetime import datetime, timedelta, timezone

import fastavro
import pytest
import recorder
from confluent_kafka.admin import AclOperation, ResourceType

from lib import bridge, consumers, events
from lib import gateway as gateway_lib
from lib import kafka
from lib.automation_service import AutomationService
from lib.bridge import ScriptedService, frame
from lib.database import wait_until
from lib.gateway import Gateways, command, post

NOW = 1_795_237_594_968


@pytest.fixture
def service():
    with AutomationService(speed=1000) as started:
        yield started


@pytest.fixture
def gateways(tmp_path, service):
    gateway_lib.new_topics()
    started = Gateways(tmp_path, service)
    yield started
    started.end()


@pytest.fixture
def scripted():
    with ScriptedService() as started:
        yield started


def text_of(**ago):
    moment = datetime.now(timezone.utc) - timedelta(**ago)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@pytest.mark.usefixtures("library")
def test_frames_whose_time_is_far_from_now(world, scripted):
    """Neither stops the bridge, nor is it a dead letter: the event has its time, the record has one
    that Kafka takes."""
    bridge.new_topics()
    for topic in (events.TELEMETRY, events.COMMANDS):
        kafka.set_topic(topic, message_timestamp_before_max_ms="3600000")
    running = bridge.subscribe(bridge.start(world.consumers, scripted.url))
    near = text_of()
    times = [near, text_of(hours=-2), near, text_of(days=-4000), text_of(hours=2), near,
             "1969-12-31T23:59:59.500Z", text_of(hours=3), "0001-01-01T00:00:00.000Z",
             "9999-12-31T23:59:59.999Z", text_of(minutes=5)]
    command_id = str(uuid.uuid4())  # one for all, so that Kafka gets them in one batch
    frames = [frame(NOW, number, "status.changed", emitted_at=at, command_id=command_id,
                    payload={"status": "RUNNING"}) for number, at in enumerate(times, start=1)]
    began = time.time() * 1000
    scripted.send(*frames)
    found = bridge.wait_for_events(len(frames))
    assert [event["event_id"] for event in found] == [one["event_id"] for one in frames]
    assert len(bridge.decoded(events.COMMANDS)) == len(frames)
    for record, event in bridge.decoded(events.TELEMETRY) + bridge.decoded(events.COMMANDS):
        sent = next(one for one in frames if one["event_id"] == event["event_id"])
        at = datetime.fromisoformat(sent["emitted_at"].replace("Z", "+00:00"))
        micros = (at - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)
        assert event["emitted_at"] == micros
        if sent["emitted_at"] in (near, times[-1]):
            assert record.timestamp == micros // 1000
        else:
            assert abs(record.timestamp - began) < 60_000, sent["emitted_at"]
    assert bridge.letters() == []
    assert running.get("/readyz")[0] == 200


# --- for good ---------------------------------------------------------------------------------

def noise(size):
    """A text that does not compress."""
    return "".join(random.Random(size).choices("0123456789abcdef", k=size))


def test_letters_that_are_too_large_too(world, scripted):
    """A frame that neither topic takes: its letter has what the topic takes of it, at last its
    headers alone, and the size. Nothing of it stops the bridge, nor its neighbours."""
    bridge.new_topics()
    kafka.set_topic(events.TELEMETRY, max_message_bytes="20000")
    kafka.set_topic(bridge.LETTERS, max_message_bytes="40000")
    running = bridge.subscribe(bridge.start(world.consumers, scripted.url))
    large = {number: frame(NOW, number, payload={"text": noise(size)})
             for number, size in ((20, 30_000), (40, 400_000), (60, 25_000))}
    frames = [large.get(number) or frame(NOW, number) for number in range(1, 100)]
    scripted.send(*frames)
    letters = {headers["cursor"]: (value, headers) for value, headers in bridge.wait_for_letters(3)}
    found = bridge.wait_for_events(96)
    assert len(found) == 96
    for number in (20, 60):
        value, headers = letters[f"{NOW}-{number}"]
        assert json.loads(value) == large[number] and "MSG_SIZE_TOO_LARGE" in headers["reason"]
        assert "max.message.bytes of the topic" in headers["reason"]
    value, headers = letters[f"{NOW}-40"]
    assert not value and headers["cut"] == "true"
    assert int(headers["size"]) == len(json.dumps(large[40]))
    assert running.metric("projectionist_bridge_dead_letters_total") == 3
    assert running.metric('projectionist_kafka_refusals_total{error="MSG_SIZE_TOO_LARGE"}') >= 3


def test_commands_that_are_too_large_for_kafka(gateways, service):
    """Their neighbours share transactions with them, and are published and executed all the same."""
    gateway = gateways(PUBLISH_TIMEOUT="120s")
    kafka.set_topic(events.COMMANDS, max_message_bytes="20000")
    bodies = [command(str(number), payload={"text": noise(30_000) if number % 10 == 5 else "x"})
              for number in range(40)]
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda body: post(gateway, body), bodies))
    for number, answer in enumerate(answers):
        if number % 10 == 5:
            assert answer.status == 413 and "neither published nor executed" in answer.json["error"]
            assert "MSG_SIZE_TOO_LARGE" in answer.json["error"]
        else:
            assert answer.status == 202, answer.json
    assert len(service.executions) == 36 == len(gateway_lib.published())
    assert gateway.get("/readyz")[0] == 200
    assert post(gateway, command("5")).status == 202  # its key is free


def recording_of(path, topic, messages):
    """A recording of (key, value, milliseconds) in one partition."""
    schema = json.loads(recorder.RECORDING_SCHEMA.read_text(encoding="utf-8"))
    with open(path, "wb") as file:
        fastavro.writer(file, schema, [
            ("projectionist.RecordedMessage",
             {"topic": topic, "partition": 0, "key": key, "timestamp": at,
              "headers": [{"name": "h", "value": b"1"}], "value": value})
            for key, value, at in messages])
    return path


@pytest.mark.usefixtures("library")
def test_messages_of_a_recording_that_kafka_refuses(tmp_path):
    """Those around them are published once, as they were recorded; the exit status and the log say
    which are not."""
    topic = "recorded.compacted"
    kafka.new_topics(topic, partitions=1, config={"cleanup.policy": "compact",
                                                  "max.message.bytes": "20000"})
    now = int(time.time() * 1000)
    bad = {7: (b"late", b"v", now + 7_200_000), 8: (None, b"no key", now),
           400: (b"large", noise(30_000).encode(), now)}
    messages = [bad.get(number) or (b"%d" % number, noise(200).encode() + b"%d" % number, now)
                for number in range(1000)]
    path = recording_of(tmp_path / "recording.avro", topic, messages)
    result = consumers.run("stream-replay", path, "--json")
    assert result.returncode == 1, result.stderr
    assert json.loads(result.stdout)["records"] == 997, result.stderr
    found = kafka.read(topic)
    assert sorted((record.key, record.value, record.timestamp) for record in found) == sorted(
        message for number, message in enumerate(messages) if number not in bad)
    assert all(record.headers == [("h", b"1")] for record in found)
    for name in ("key=late", "INVALID_TIMESTAMP", "INVALID_RECORD", "key=large",
                 "MSG_SIZE_TOO_LARGE", "refuses 3 of the messages"):
        assert name in result.stderr, result.stderr
    # Where it is not the messages, it ends soon.
    many = recording_of(tmp_path / "many.avro", topic,
                        [(b"%d" % number, b"v", now + 7_200_000) for number in range(3000)])
    result = consumers.run("stream-replay", many)
    assert result.returncode == 1 and "refuses 100 messages" in result.stderr, result.stderr
    kafka.delete_topics(topic)


# --- for a while ------------------------------------------------------------------------------

@contextlib.contextmanager
def without_topic(topic):
    kafka.delete_topics(topic)
    yield
    kafka.create_topics(topic, partitions=3)


REASONS = {
    "TOPIC_AUTHORIZATION_FAILED":
        lambda id: kafka.without_right(ResourceType.TOPIC, events.COMMANDS, AclOperation.WRITE),
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED":
        lambda id: kafka.without_right(ResourceType.TRANSACTIONAL_ID, id, AclOperation.WRITE),
    "topics create": lambda id: without_topic(events.COMMANDS),
}


@pytest.mark.parametrize("name", REASONS)
def test_the_bridge_tells_what_kafka_refuses_for_a_while(world, scripted, name):
    bridge.new_topics()
    running = bridge.subscribe(bridge.start(world.consumers, scripted.url))
    scripted.send(frame(NOW, 1))
    bridge.wait_for_events(1)
    with REASONS[name]("telemetry-bridge-telemetry-bridge"):
        scripted.send(*[frame(NOW, number, "status.changed", command_id=str(uuid.uuid4()),
                              payload={"status": "RUNNING"}) for number in range(2, 12)])
        wait_until(lambda: name in running.get("/readyz")[1], 60,
                   f"readiness does not tell {name}")
        assert running.get("/readyz")[0] == 503 and running.get("/livez")[0] == 200
        assert name in running.log
    assert len(bridge.wait_for_events(11, 60)) == 11
    assert len(bridge.decoded(events.COMMANDS)) == 10
    assert bridge.letters() == []
    wait_until(lambda: running.get("/readyz")[0] == 200, message="it is not ready again")


def test_the_gateway_tells_what_kafka_refuses_for_a_while(gateways, service):
    gateway = gateways(PUBLISH_TIMEOUT="1s")
    assert post(gateway, command("a")).status == 202
    for name, take in (
            ("TOPIC_AUTHORIZATION_FAILED", kafka.without_right(
                ResourceType.TOPIC, events.COMMANDS, AclOperation.WRITE)),
            ("TRANSACTIONAL_ID_AUTHORIZATION_FAILED", kafka.without_right(
                ResourceType.TRANSACTIONAL_ID, "projectionist-control-gateway-default",
                AclOperation.WRITE))):
        with take:
            wait_until(lambda: name in (post(gateway, command(name)).json.get("error") or ""), 30,
                       f"no answer tells {name}")
            answer = post(gateway, command(name))
            assert answer.status == 503 and name in answer.json["error"], answer.json
            assert "does not answer" not in answer.json["error"]
            assert name in gateway.get("/readyz")[1] and name in gateway.log
        wait_until(lambda: post(gateway, command(name)).status == 202, 60, "it does not recover")
        wait_until(lambda: gateway.get("/readyz")[0] == 200, message="it is not ready again")
    assert set(service.executions.values()) == {1} and len(service.executions) == 3
    assert len(gateway_lib.published()) == 3

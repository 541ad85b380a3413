# SPDX-License-Identifier: Apache-2.0
"""job-bridge while it is killed and its servers go away: what it has read and published counts once,
and what nobody heard is a gap that it tells."""

import json

import pytest

from lib import consumers
from lib.database import wait_until
from lib.job_bridge import Bridges, body
from lib.kafka_proxy import FENCED, KafkaProxy
from lib.redis import Redis
from world import away


@pytest.fixture
def redis(tmp_path):
    with Redis(tmp_path) as server:
        yield server


@pytest.fixture
def bridges(tmp_path):
    running = consumers.Consumers(tmp_path)
    try:
        yield Bridges(running)
        running.end()
    finally:
        running.kill()


def told(number):
    return json.dumps({"type": "status", "status": str(number)})


def statuses(bridges):
    return [body(event)[1]["status"] for _, event in bridges.events()]


@pytest.mark.parametrize("part", ["kafka", "registry"])
def test_what_was_read_waits_while_a_server_is_away(redis, bridges, part):
    bridge = bridges.ready(redis)
    with away(part):
        for number in range(300):
            assert redis.publish("j", told(number)) == 1
        bridge.wait_until(lambda: bridge.metric("projectionist_bridge_messages_received_total")
                          == 300)
    bridges.wait_for(300)
    assert statuses(bridges) == [str(number) for number in range(300)]
    assert bridge.metric("projectionist_bridge_gaps_total") == 0
    bridge.wait_until_ready()


def test_a_late_end_of_a_transaction_meets_no_later_one(redis, bridges):
    """The coordinator's connection is cut at EndTxn, which arrives when the next transaction is open."""
    with KafkaProxy() as proxy:
        bridge = bridges.ready(redis, KAFKA_BOOTSTRAP_SERVERS=proxy.address)
        for number in range(4):
            if number == 1:
                proxy.delay_commit()
            redis.publish("j", told(number))
            bridges.wait_for(number + 1)
        assert proxy.arrived.wait(30)
        assert proxy.late_error in FENCED
        bridge.wait_until_ready()
        bridge.stop()
    assert statuses(bridges) == [str(number) for number in range(4)]


def test_a_full_buffer_is_a_gap_and_not_a_silence(redis, bridges):
    """Redis drops who does not read; how many messages that were is known to nobody."""
    with redis.client() as client:
        client.config_set("client-output-buffer-limit", "pubsub 1mb 512kb 1")
    bridge = bridges.ready(redis, BUFFER_BYTES="64KiB")
    text = "x" * 10_000
    heard = []
    with away("kafka"):
        for number in range(2000):
            heard.append(redis.publish("j", json.dumps(
                {"type": "status", "status": str(number), "message": text})))
            if not heard[-1]:
                break
        assert not heard[-1], "Redis would drop it"
    bridge.wait_until(lambda: bridge.metric("projectionist_bridge_gaps_total") >= 1, 120)
    bridge.wait_until_ready()
    redis.publish("j", told("last"))
    wait_until(lambda: "last" in statuses(bridges), 60)
    found = statuses(bridges)[:-1]
    assert found == [str(number) for number in range(len(found))], "the beginning, whole"
    assert 0 < len(found) < len(heard)


def test_killed_again_and_again(redis, bridges):
    """Whatever was committed is there once, and revisions only rise."""
    number = 0
    for _ in range(5):
        bridge = bridges.ready(redis, HEARTBEAT="200ms")
        for _ in range(100):
            redis.publish("j", told(number))
            number += 1
        bridge.wait_until(lambda: bridge.metric("projectionist_bridge_events_published_total") > 0)
        bridge.kill()
    last = bridges.ready(redis)
    assert last.metric("projectionist_bridge_gaps_total") == 1
    redis.publish("j", told(number))
    wait_until(lambda: str(number) in statuses(bridges))
    found = [int(status) for status in statuses(bridges)]
    assert found == sorted(set(found)), "in order, each once"
    assert len({event["event_id"] for _, event in bridges.events()}) == len(found)

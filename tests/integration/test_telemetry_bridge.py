# SPDX-License-Identifier: Apache-2.0
"""The telemetry bridge: what the service sends is in Kafka once, whole, and as the contract says.

What comes out is read by confluent-kafka and decoded by fastavro; the services are the stand-in and
one whose every frame and cursor the test writes itself, both by the package websockets."""

import json
import random
import re
import ssl
import subprocess
import time
import uuid
from datetime import datetime, timezone
from pathlib import Path

import pytest
from confluent_kafka import Producer

from lib import bridge, consumers, database, events, kafka
from lib.automation_service import AutomationService
from lib.bridge import ScriptedService, frame
from lib import kafka_proxy
from lib.kafka_proxy import KafkaProxy

COMMAND = "11111111-2222-4333-8444-555555555555"
SESSION = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
NOW = 1_795_237_594_968
FENCED = 5


@pytest.fixture(autouse=True)
def topics(world):
    bridge.new_topics()


@pytest.fixture
def service():
    with AutomationService() as started:
        yield started


@pytest.fixture
def scripted():
    with ScriptedService() as started:
        yield started


def start(world, service, *arguments, **variables):
    url = service if isinstance(service, str) else getattr(service, "stream_url", None) or \
        service.url
    return bridge.start(world.consumers, url, *arguments, **variables)


def started(world, service, *arguments, **variables):
    return bridge.subscribe(start(world, service, *arguments, **variables))


def micros(text):
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return round(moment.timestamp() * 1000) * 1000


def cursors(found):
    return [event["cursor"] for event in found]


# --- frames -------------------------------------------------------------------------------------

def test_every_frame_once_and_whole(world, service):
    running = started(world, service)
    service.emit("rate.limited", {"wait": 1.10, "text": "é \"}"}, severity="warn",
                 command_id=COMMAND)
    service.emit("human.required", {}, target={"session_id": SESSION, "account_id": None,
                                               "platform": "sora"})
    service.emit("a.new.type", {"deep": [{"er": None}]})
    service.inject(1500, rate=3000).wait()
    found = bridge.wait_for_events(1503)
    frames = service.frames()
    assert len(found) == len(frames) == 1503
    for event, sent in zip(found, frames):
        assert event["event_id"] == sent["event_id"]
        assert event["emitted_at"] == micros(sent["emitted_at"])
        assert json.loads(event["payload"]) == sent["payload"]
        for name in ("version", "type", "severity", "cursor"):
            assert event[name] == sent[name]
        for name in ("command_id", "correlation_id", "target"):
            assert event[name] == sent.get(name)
    assert b'1.1' in next(record.value for record, event in bridge.decoded(events.TELEMETRY)
                          if event["type"] == "rate.limited")
    assert running.metric("projectionist_bridge_events_published_total") == 1503


def test_keys_times_and_status_changes(world, service):
    started(world, service)
    service.emit("x", {}, command_id=COMMAND, target={"session_id": SESSION})
    service.emit("y", {}, target={"session_id": SESSION})
    service.emit("z", {})
    service.emit("status.changed", {"command_id": COMMAND, "status": "FAILED",
                                    "result": {"total": 2}, "error": "no"}, command_id=COMMAND)
    bridge.wait_for_events(4)
    records = {event["type"]: (record, event) for record, event in
               bridge.decoded(events.TELEMETRY)}
    assert records["x"][0].key == COMMAND.encode()
    assert records["y"][0].key == SESSION.encode()
    assert records["z"][0].key == records["z"][1]["event_id"].encode()
    for record, event in records.values():
        assert record.timestamp == event["emitted_at"] // 1000
    (record, event), = bridge.decoded(events.COMMANDS)
    frame_event = records["status.changed"][1]
    assert record.key == COMMAND.encode() and record.timestamp == event["emitted_at"] // 1000
    assert event == {"event_id": frame_event["event_id"], "command_id": COMMAND,
                     "cursor": frame_event["cursor"], "emitted_at": frame_event["emitted_at"],
                     "body": ("CommandStatusChanged", {"status": "FAILED",
                                                       "result": '{"total":2}', "error": "no"})}
    # As Java's clients choose the partition, and so all of a command is in one place.
    assert {record.partition for record in kafka.read(events.TELEMETRY, events.COMMANDS)
            if record.key == COMMAND.encode()} == {records["x"][0].partition}


def test_wire_v2(world):
    with AutomationService(wire=2) as service:
        started(world, service)
        service.inject(160, rate=1000).wait()
        found = bridge.wait_for_events(160)
    sent = service.frames()
    assert len(found) == 160 == len({event["event_id"] for event in found})
    assert all(uuid.UUID(event["event_id"]).version == 5 for event in found)
    assert all(event["cursor"] is None and event["version"] == "2.0" for event in found)
    assert sorted((event["type"], event["command_id"], json.dumps(json.loads(event["payload"])))
                  for event in found) == sorted(
        (one["type"], one.get("commandId"), json.dumps(one["data"])) for one in sent)
    statuses = [event for _, event in bridge.decoded(events.COMMANDS)]
    assert {event["body"][1]["status"] for event in statuses} == {"PENDING", "RUNNING", "SUCCEEDED"}
    done = [event for event in statuses if event["body"][1]["status"] == "SUCCEEDED"]
    assert done and all(json.loads(event["body"][1]["result"])["videoPath"] for event in done)


def test_the_same_frame_of_wire_v2_is_the_same_event(world, scripted):
    started(world, scripted)
    again = '{"type":"progress","timestamp":"2026-11-21T05:06:34.968Z","data":{"percent":5}}'
    scripted.send(again, again, '{"type":"end","timestamp":1795237594968,"data":{}}', keep=False)
    assert [event["type"] for event in sorted(bridge.wait_for_events(2),
                                              key=lambda one: one["type"])] == ["end", "progress"]


# --- once, whatever happens ---------------------------------------------------------------------

def test_cut_connections_lose_and_repeat_nothing(world, service):
    running = started(world, service)
    flow = service.inject(4000, rate=2000)
    for number in range(1, 6):
        running.wait_until(lambda: flow.sent > 600 * number and service.subscribers() == 1)
        assert service.cut(mid_frame=number % 2 == 0) == 1
    flow.wait()
    found = bridge.wait_for_events(4000)
    assert cursors(found) == cursors(service.frames())
    assert running.metric("projectionist_bridge_frames_known_total") >= 5
    assert running.metric("projectionist_bridge_gaps_total") == 0
    assert running.metric("projectionist_bridge_service_restarts_total") == 0
    assert running.metric("projectionist_bridge_dead_letters_total") == 0


def test_a_killed_bridge_goes_on_where_it_was(world, service):
    flow = None
    for number in range(1, 5):
        running = started(world, service)
        flow = flow or service.inject(4000, rate=800)
        running.wait_until(lambda: flow.sent > 700 * number)
        running.kill()
    started(world, service)
    flow.wait()
    found = bridge.wait_for_events(4000)
    assert cursors(found) == cursors(service.frames())
    # The same, read record by record: nothing is there twice.
    assert len({event["event_id"] for event in found}) == 4000
    wanted = [one["event_id"] for one in service.frames() if one["type"] == "status.changed"]
    assert sorted(event["event_id"] for _, event in bridge.decoded(events.COMMANDS)) == \
        sorted(wanted)


def test_what_came_before_the_first_start(world, service):
    for number in range(30):
        service.emit("x", {"number": number})
    started(world, service)
    assert len(bridge.wait_for_events(30)) == 30


def test_many_frames_in_one_millisecond(world, scripted):
    scripted.buffer = [frame(NOW, counter) for counter in range(1, 88)]
    first = started(world, scripted)
    bridge.wait_for_events(87)
    first.kill()
    scripted.buffer += [frame(NOW, counter) for counter in range(88, 140)]
    second = started(world, scripted)
    scripted.send(*[frame(NOW, counter) for counter in range(140, 201)])
    found = bridge.wait_for_events(200)
    assert cursors(found) == [f"{NOW}-{counter}" for counter in range(1, 201)]
    assert second.metric("projectionist_bridge_gaps_total") == 0


def test_the_cursor_follows_what_was_published(world, scripted):
    """Only the frame of the cursor itself comes again, for every place in the stream."""
    running = None
    for counter in range(1, 6):
        scripted.buffer.append(frame(NOW + counter, counter))
        if running:
            running.kill()
        running = started(world, scripted)
        assert len(bridge.wait_for_events(counter)) == counter
    assert [asked["cursor"] for asked in scripted.subscriptions] == [
        "0-0", "0-0", f"{NOW + 1}-1", f"{NOW + 2}-2", f"{NOW + 3}-3"]


def test_a_bookmark_after_an_open_transaction_is_waited_for(world, service):
    """Readers of what is committed do not get past another bridge's transaction that hangs, and
    there is our own bookmark, after it."""
    running = started(world, service)
    service.emit("x", {})
    bridge.wait_for_events(1)
    other = Producer({"bootstrap.servers": kafka.bootstrap_servers(),
                      "transactional.id": "telemetry-bridge-other"})
    other.init_transactions(30)
    other.begin_transaction()
    other.produce(bridge.CURSORS, key="other", value="{}")
    other.flush(30)
    service.inject(500, rate=2000).wait()
    bridge.wait_for_events(501)
    running.kill()
    running = start(world, service)
    running.wait_for_log("Kafka does not show all committed records of topic safari.bridge-cursors")
    assert running.get("/readyz")[0] == 503 and running.get("/livez")[0] == 200
    other.abort_transaction(30)
    bridge.subscribe(running)
    service.emit("y", {})
    assert cursors(bridge.wait_for_events(502)) == cursors(service.frames())


# --- restarts of the service --------------------------------------------------------------------

def test_only_a_commit_that_takes_seconds_is_worth_a_warning(world, scripted):
    with KafkaProxy() as proxy:
        running = started(world, scripted, KAFKA_BOOTSTRAP_SERVERS=proxy.address)
        for number, seconds in ((1, 1.5), (2, 6)):
            proxy.lose_commits()
            scripted.send(frame(NOW, number))
            assert proxy.lost.wait(30)
            began = time.monotonic()
            database.wait_until(lambda: time.monotonic() - began > seconds)
            proxy.resume()
            bridge.wait_for_events(number)
            assert ("waiting for a server" in running.log) == (seconds > 5)
    assert cursors(bridge.wait_for_events(2)) == [f"{NOW}-1", f"{NOW}-2"]


def test_a_late_end_of_a_transaction_meets_no_later_one(world, scripted):
    """The coordinator's connection is cut at EndTxn, which arrives when the next transaction is open."""
    with KafkaProxy() as proxy:
        running = started(world, scripted, KAFKA_BOOTSTRAP_SERVERS=proxy.address)
        scripted.send(frame(NOW, 1))
        bridge.wait_for_events(1)
        proxy.delay_commit()
        scripted.send(frame(NOW, 2))
        bridge.wait_for_events(2)
        scripted.send(frame(NOW, 3))
        assert proxy.arrived.wait(30)
        assert proxy.late_error in kafka_proxy.FENCED
        found = bridge.wait_for_events(3)
        running.check()
    assert cursors(found) == [f"{NOW}-1", f"{NOW}-2", f"{NOW}-3"]


def test_a_commit_whose_answer_is_lost_is_looked_up(world, scripted):
    """The transaction is committed, its answer does not come, and before it can be asked for again
    another bridge has taken the id, and gone: only the cursor's topic says what happened."""
    with KafkaProxy() as proxy:
        running = started(world, scripted, "--bridge-id", "mine", "--transaction-timeout", "3s",
                          "--heartbeat", "1h", KAFKA_BOOTSTRAP_SERVERS=proxy.address)
        scripted.send(frame(NOW, 1))
        bridge.wait_for_events(1)
        proxy.lose_commits()
        scripted.send(frame(NOW, 2))
        assert proxy.lost.wait(30)
        began = time.monotonic()
        bridge.wait_for_events(2)
        Producer({"bootstrap.servers": kafka.bootstrap_servers(),
                  "transactional.id": "telemetry-bridge-mine"}).init_transactions(30)
        database.wait_until(lambda: time.monotonic() - began > 4)
        proxy.resume()
        running.wait_for_log("opening a new producer")
        scripted.send(frame(NOW, 3))
        found = bridge.wait_for_events(3)
    assert cursors(found) == [f"{NOW}-1", f"{NOW}-2", f"{NOW}-3"]


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("after", [0, 3, 40])
def test_a_restart_is_seen(world, service, after, killed):
    """Its new life has nothing yet, less than we know, or more."""
    running = started(world, service)
    for number in range(10):
        service.emit("before", {"number": number})
    bridge.wait_for_events(10)
    if killed:
        running.kill()
    service.stop()
    service.start()
    for number in range(after):
        service.emit("after", {"number": number})
    if killed:
        running = start(world, service)
    running.wait_until(
        lambda: running.metric("projectionist_bridge_service_restarts_total") == 1)
    bridge.subscribe(running)
    for number in range(after, 50):
        service.emit("after", {"number": number})
    found = bridge.wait_for_events(60)
    assert cursors(found) == cursors(service.frames())
    assert running.metric("projectionist_bridge_gaps_total") == 0
    running.wait_for_log("the service has restarted")


def test_a_restart_whose_clock_was_set_back(world, scripted):
    scripted.buffer = [frame(NOW + number, number) for number in range(1, 11)]
    running = started(world, scripted)
    bridge.wait_for_events(10)
    # Two that are below our counter, and one that is past it without being ours.
    for life, length in enumerate((4, 8, 30), start=1):
        scripted.start_over([frame(NOW - life * 10_000 + number, number)
                             for number in range(1, length + 1)])
        running.wait_until(
            lambda: running.metric("projectionist_bridge_service_restarts_total") >= life)
        bridge.subscribe(running)
    assert len(bridge.wait_for_events(52)) == 52
    assert bridge.gaps() == []


def test_a_clock_that_was_set_back(world, scripted):
    scripted.buffer = [frame(NOW + number, number) for number in range(1, 11)]
    running = started(world, scripted)
    scripted.send(*[frame(NOW - 5000 + number, number) for number in range(11, 21)])
    bridge.wait_for_events(20)
    running.kill()
    scripted.buffer += [frame(NOW - 9000 + number, number) for number in range(21, 31)]
    second = started(world, scripted)
    found = bridge.wait_for_events(30)
    assert sorted(bridge.place(event["cursor"])[1] for event in found) == list(range(1, 31))
    assert second.metric("projectionist_bridge_service_restarts_total") == 0


def test_an_id_that_comes_again_after_a_restart(world, scripted):
    old = frame(NOW, 1)
    scripted.buffer = [old]
    running = started(world, scripted)
    bridge.wait_for_events(1)
    scripted.start_over([{**old, "cursor": f"{NOW + 100}-1"}, frame(NOW + 101, 2)])
    assert cursors(bridge.wait_for_events(2)) == [f"{NOW}-1", f"{NOW + 101}-2"]
    assert running.metric("projectionist_bridge_service_restarts_total") == 1


# --- gaps ---------------------------------------------------------------------------------------

def test_a_gap_is_recorded_once_with_its_range(world):
    with AutomationService(capacity=100) as service:
        running = started(world, service)
        service.inject(150, rate=3000).wait()
        bridge.wait_for_events(150)
        running.kill()
        service.inject(400, rate=3000).wait()
        frames = service.frames()
        running = started(world, service)
        bridge.wait_for_events(251)
        running.wait_for_log("frames are lost")
        assert running.metric("projectionist_bridge_gaps_total") == 1
        # The next bridge does not report it again.
        running.kill()
        running = started(world, service)
        service.emit("last", {})
        found = bridge.wait_for_events(252)
    lost, kept = frames[150:450], frames[:150] + frames[450:]
    gap, = [event for event in found if event["type"] == "telemetry.gap"]
    assert json.loads(gap["payload"]) == {
        "bridge": "telemetry-bridge", "after": frames[149]["cursor"],
        "before": frames[450]["cursor"], "lost_at_most": len(lost)}
    assert gap["severity"] == "warn" and gap["cursor"] is None
    assert uuid.UUID(gap["event_id"]).version == 5
    assert cursors(found)[:-2] == cursors(kept)


def test_a_gap_after_a_restart_that_forgot_its_beginning(world):
    with AutomationService(capacity=50) as service:
        running = started(world, service, "--service-buffer", "50")
        service.inject(20, rate=1000).wait()
        bridge.wait_for_events(20)
        running.kill()
        service.restart()
        service.inject(70, rate=1000).wait()
        frames = service.frames()
        started(world, service, "--service-buffer", "50")
        bridge.wait_for_events(71)
    gap, = bridge.gaps()
    assert (gap["after"], gap["before"]) == (frames[19]["cursor"], frames[40]["cursor"])


def test_a_gap_before_a_cursor_that_is_no_time(world, scripted):
    """Its number is beyond what microseconds hold."""
    scripted.buffer = [frame(NOW, number) for number in range(1, 4)]
    running = started(world, scripted)
    bridge.wait_for_events(3)
    running.kill()
    far = {**frame(NOW, 9), "cursor": f"{2 ** 63 - 1}-9"}
    scripted.buffer = [far]
    started(world, scripted)
    found = bridge.wait_for_events(5)
    gap, = [event for event in found if event["type"] == "telemetry.gap"]
    assert json.loads(gap["payload"])["before"] == far["cursor"]
    assert abs(gap["emitted_at"] - time.time() * 1e6) < 300e6


# --- frames that fit neither wire ---------------------------------------------------------------

def test_dead_letters_are_whole_and_once(world, scripted):
    good = [frame(NOW, counter) for counter in (1, 2, 3, 5)]
    wrong = [b"not json", b"\xff\xfe{}", b'{"type":"x"}', b"[1,2]",
             json.dumps(frame(NOW, 4, payload="text")).encode(),
             json.dumps({**frame(NOW, 9), "cursor": "x"}).encode(),
             (b'{"a":' * 10_000) + b"1" + b"}" * 10_000]
    scripted.buffer = [good[0], *wrong[:3], good[1], *wrong[3:4], good[2]]
    running = started(world, scripted)
    bridge.wait_for_letters(4)
    # What has no cursor is known again all the same, also to another process.
    running.kill()
    running = started(world, scripted)
    scripted.start_over(scripted.buffer)
    bridge.subscribe(running)
    scripted.send(*wrong[4:], good[3], keep=False)
    found = bridge.wait_for_letters(7)
    assert [value for value, _ in found] == wrong
    reasons = [headers["reason"] for _, headers in found]
    assert [re.search(word, reason) is not None for word, reason in zip(
        ("not JSON", "not JSON", "neither wire", "not an object", "payload is not an object",
         "cursor is not", "not JSON"), reasons)] == [True] * 7, reasons
    assert all(headers["bridge"] == "telemetry-bridge" for _, headers in found)
    assert [headers["size"] for _, headers in found] == [str(len(value)) for value in wrong]
    assert len(bridge.wait_for_events(4)) == 4
    assert running.metric("projectionist_bridge_dead_letters_total") == 3


def test_a_frame_that_is_too_large(world, scripted):
    running = started(world, scripted)
    status = Path(f"/proc/{running.pid}/status")
    before = int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])
    huge = json.dumps(frame(NOW, 1, payload={"text": "x" * 10_000_000}))
    for _ in range(5):
        scripted.send(huge, keep=False)
    scripted.send(frame(NOW, 2, payload={"text": "y" * 900_000}))
    found = bridge.wait_for_letters(5)
    assert {headers["reason"] for _, headers in found} == {
        f"it has {len(huge)} bytes, more than the 1048576 of --frame-size-limit: this is its "
        "beginning"}
    assert all(huge.encode().startswith(value) and len(value) == 65536 for value, _ in found)
    event, = bridge.wait_for_events(1)
    assert len(event["payload"]) > 900_000
    after = int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])
    assert after - before < 60_000, f"{before} KiB before, {after} KiB at most"


def test_a_frame_that_kafka_refuses(world, scripted):
    """Of a topic that takes less than a frame may have: a dead letter, and its neighbours land."""
    kafka.delete_topics(events.TELEMETRY, bridge.LETTERS)
    kafka.create_topics(events.TELEMETRY, partitions=3, config={"max.message.bytes": "50000"})
    kafka.create_topics(bridge.LETTERS, partitions=1)
    started(world, scripted)
    text = "".join(random.Random(1).choices("0123456789abcdef", k=300_000))  # does not compress
    large = frame(NOW, 2, payload={"text": text})
    scripted.send(frame(NOW, 1), large, frame(NOW, 3))
    (value, headers), = bridge.wait_for_letters(1)
    assert json.loads(value) == large and "too large" in headers["reason"].lower()
    assert cursors(bridge.wait_for_events(2)) == [f"{NOW}-1", f"{NOW}-3"]


def test_its_neighbours_are_not_published_one_by_one(world, scripted):
    kafka.delete_topics(events.TELEMETRY, bridge.LETTERS)
    kafka.create_topics(events.TELEMETRY, partitions=3, config={"max.message.bytes": "50000"})
    kafka.create_topics(bridge.LETTERS, partitions=1)
    running = started(world, scripted)
    text = "".join(random.Random(1).choices("0123456789abcdef", k=300_000))  # does not compress
    frames = [frame(NOW, number) for number in range(1, 401)]
    frames[200] = frame(NOW, 201, payload={"text": text})
    scripted.send(*frames)
    bridge.wait_for_letters(1)
    assert cursors(bridge.wait_for_events(399)) == [
        f"{NOW}-{number}" for number in range(1, 401) if number != 201]
    assert running.metric("projectionist_bridge_transactions_total") < 100


# --- one bridge of each name --------------------------------------------------------------------

def test_a_second_bridge_fences_the_first(world, service):
    first = started(world, service, "--heartbeat", "200ms")
    service.inject(100, rate=1000).wait()
    other = started(world, service, BRIDGE_ID="another")
    second = started(world, service)
    first.wait(FENCED)
    assert "another telemetry-bridge has taken over 'telemetry-bridge'" in first.log
    assert f"exit_code={FENCED}" in first.log
    service.inject(100, rate=1000).wait()
    found = bridge.wait_for_events(400)  # of each id
    assert len(found) == 400 and len({event["event_id"] for event in found}) == 200
    assert second.running and other.running


def test_the_fenced_one_publishes_nothing_more(world, service):
    flow = service.inject(3000, rate=1000)
    running = started(world, service)
    for _ in range(4):
        following = started(world, service)
        running.wait(FENCED)
        running = following
    flow.wait()
    assert cursors(bridge.wait_for_events(3000)) == cursors(service.frames())


# --- the connection -----------------------------------------------------------------------------

def test_a_service_that_says_nothing_is_asked_and_left(world):
    with ScriptedService(answers_pings=False) as silent:
        running = started(world, silent, "--ping-interval", "1s")
        running.wait_for_log("did not answer a ping")
        running.wait_until(lambda: silent.connections >= 2)
        assert silent.pings >= 1
        silent.answers_pings = True
        connections = silent.connections
        running.wait_until(lambda: silent.pings >= 4)
        silent.send(frame(NOW, 1))
        bridge.wait_for_events(1)
        assert silent.connections <= connections + 1


def test_it_waits_for_the_service(world, service):
    running = started(world, service)
    service.emit("x", {})
    bridge.wait_for_events(1)
    service.stop()
    running.wait_until(lambda: "not connected to the service: " in running.get("/readyz")[1])
    running.wait_for_log(f'"not connected to the service" url={service.stream_url} ')
    assert running.get("/livez")[0] == 200
    tries = running.metric("projectionist_bridge_connects_total")
    running.wait_until(lambda: running.metric("projectionist_bridge_connects_total") > tries + 3)
    service.start()
    bridge.subscribe(running)
    service.emit("y", {})
    bridge.wait_for_events(2)


def test_a_host_without_an_address_is_reported(world):
    """The log names the URL, without a query: that may be a secret."""
    running = bridge.start(world, "ws://no.such.host.invalid:7071/v1/stream?token=hunter2")
    running.wait_for_log('msg="not connected to the service" '
                         "url=ws://no.such.host.invalid:7071/v1/stream reason=\"its host name")
    assert "hunter2" not in running.log


def test_the_token(world, tmp_path):
    file = tmp_path / "token"
    file.write_text("a-secret\n")
    with AutomationService(token="a-secret") as service:
        refused = start(world, service)
        refused.wait_for_log("it refuses our token")
        running = started(world, service, TELEMETRY_TOKEN_FILE=file)
        service.emit("x", {})
        bridge.wait_for_events(1)
    assert "a-secret" not in running.log + refused.log


def test_tls(world, tmp_path):
    def certificate(name):
        done = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
             "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout",
             tmp_path / f"{name}.key", "-out", tmp_path / f"{name}.pem"],
            capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return tmp_path / f"{name}.pem", tmp_path / f"{name}.key"

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trusted, key = certificate("trusted")
    stranger, _ = certificate("stranger")
    context.load_cert_chain(trusted, key)
    with AutomationService(tls=context) as service:
        url = service.stream_url.replace("127.0.0.1", "localhost")
        for name, file in (("a", None), ("b", stranger)):
            refused = start(world, url, BRIDGE_ID=name, **({"TELEMETRY_CA_FILE": file}
                                                           if file else {}))
            refused.wait_for_log("not connected to the service")
            assert refused.get("/readyz")[0] == 503
        started(world, url, TELEMETRY_CA_FILE=trusted)
        service.emit("x", {})
        bridge.wait_for_events(1)
        refused.wait_for_log("reason=")


# --- a stop, and what a person sees -------------------------------------------------------------

def test_a_stop_publishes_what_was_read(world, service):
    running = started(world, service, "--linger", "200ms", "--batch-frames", "50")
    service.inject(1500, rate=5000).wait()
    running.wait_until(lambda: running.metric(
        'projectionist_bridge_frames_received_total{wire="v1"}') == 1500)
    running.stop()
    assert len(bridge.telemetry()) == 1500


def test_metrics_and_probes(world, service):
    running = started(world, service)
    service.emit("x", {})
    service.emit("status.changed", {"command_id": COMMAND, "status": "RUNNING"},
                 command_id=COMMAND)
    bridge.wait_for_events(2)
    running.wait_until(
        lambda: running.metric("projectionist_bridge_frame_seconds_count") == 2)
    metrics = running.metrics()
    assert metrics["projectionist_bridge_events_published_total"] == 2
    assert metrics["projectionist_bridge_statuses_published_total"] == 1
    assert metrics["projectionist_bridge_connected"] == 1
    assert running.get("/livez")[0] == 200 and running.get("/readyz")[0] == 200


@pytest.mark.parametrize("arguments, variables, words", [
    (["--telemetry-url", "http://127.0.0.1:1/"], {}, "is not a WebSocket URL"),
    (["--telemetry-url", "ws://name:word@127.0.0.1:1/"], {}, "must not contain a user name or password"),
    (["--bridge-id", ""], {}, "--bridge-id"),
    (["--telemetry-token", "hunter2"], {}, "command line"),
    (["--what"], {}, "--what"),
    (["operand"], {}, "takes no arguments"),
    ([], {"SCHEMA_REGISTRY_URL": ""}, "no schema registry is configured"),
    (["--kafka.transactional.id=x"], {}, "kafka.transactional.id"),
])
def test_a_wrong_setting(arguments, variables, words):
    done = consumers.run(bridge.PROGRAM, *arguments, variables=variables)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "hunter2" not in done.stderr


def test_a_topic_is_missing(world, service):
    kafka.delete_topics(bridge.CURSORS)
    done = consumers.run(bridge.PROGRAM, variables={"TELEMETRY_URL": service.stream_url})
    assert done.returncode == 1
    assert "Kafka has no topic safari.bridge-cursors; 'projectionist topics create' creates it" in \
        done.stderr


def test_help_and_version():
    done = consumers.run(bridge.PROGRAM, "--help")
    assert done.returncode == 0
    for word in ("PROJECTIONIST_TELEMETRY_URL", "PROJECTIONIST_BRIDGE_ID", "EXIT STATUS",
                 "PROJECTIONIST_TELEMETRY_TOKEN", "frame-size-limit"):
        assert word in done.stdout
    assert re.match(r"telemetry-bridge \d+\.\d+\.\d+\n$",
                    consumers.run(bridge.PROGRAM, "--version").stdout)

# SPDX-License-Identifier: Apache-2.0
"""job-bridge against a real Redis and a real Kafka: what each message becomes, what is lost while
nobody listens, and what is not, whatever is killed."""

import json
import os
import re
import socketserver
import subprocess
import threading
import time

import pytest

from lib import consumers, kafka
from lib.database import wait_until
from lib.job_bridge import Bridges, body
from lib.redis import Redis


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


def test_what_each_message_becomes(redis, bridges):
    bridge = bridges.ready(redis)
    sent = [
        ({"type": "progress", "progress": 41.5, "message": "Rendering é"},
         ("JobProgressed", {"progress": 42, "message": "Rendering é"})),
        ({"type": "progress", "progress": 7},
         ("JobProgressed", {"progress": 7, "message": None})),
        ({"type": "status", "status": "running", "message": None, "more": [1]},
         ("JobStatusChanged", {"status": "running", "message": None, "progress": None,
                               "result": None})),
        ({"type": "error", "message": "no"},
         ("JobStatusChanged", {"status": "error", "message": "no", "progress": None,
                               "result": None})),
        ({"type": "complete", "status": "success", "progress": 100, "result": {"url": "x"}},
         ("JobStatusChanged", {"status": "success", "message": None, "progress": 100,
                               "result": '{"url": "x"}'})),
        ({"type": "progress", "progress": 100},
         ("JobProgressed", {"progress": 100, "message": None})),
    ]
    before = time.time_ns() // 1000
    for message, _ in sent:
        assert redis.publish("job-7", json.dumps(message)) == 1
    bridges.wait_for(len(sent))
    after = time.time_ns() // 1000
    found = bridges.events()
    assert [body(event) for _, event in found] == [wanted for _, wanted in sent]
    assert {key for key, _ in found} == {b"job-7"}
    assert {event["job_id"] for _, event in found} == {"job-7"}
    assert len({event["event_id"] for _, event in found}) == len(found)
    revisions = [event["revision"] for _, event in found]
    assert revisions == sorted(set(revisions)) and before <= revisions[0] <= revisions[-1] <= after
    assert all(before <= event["emitted_at"] <= after for _, event in found)
    assert bridge.metric("projectionist_bridge_messages_received_total") == len(sent)
    bridge.wait_until(lambda: bridge.metric("projectionist_bridge_events_published_total")
                      == len(sent))


def test_a_result_is_as_it_was_written(redis, bridges):
    bridges.ready(redis)
    text = '{"n": 1.10, "big": 123456789012345678901234567890, "t": "\\u00e9"}'
    redis.publish("j", '{"type": "complete", "result": ' + text + "}")
    bridges.wait_for(1)
    assert body(bridges.events()[0][1])[1]["result"] == text


def test_what_is_no_message_is_a_dead_letter_and_blocks_nobody(redis, bridges):
    bridge = bridges.ready(redis, MESSAGE_SIZE_LIMIT="100KiB")
    bad = [
        ("j", b"not json", "not JSON"), ("j", b"", "not JSON"), ("j", b"\xff\xfe", "not JSON"),
        ("j", b"[1]", "not a JSON object"), ("j", b"null", "not a JSON object"),
        ("j", b"{}", "no type"), ("j", b'{"type": 1}', "no type"),
        ("j", b'{"type": "cooking"}', "'cooking'"),
        ("j", b'{"type": "progress"}', "no progress"),
        ("j", b'{"type": "progress", "progress": "5"}', "progress"),
        ("j", b'{"type": "progress", "progress": true}', "progress"),
        ("j", b'{"type": "progress", "progress": 1e300}', "progress"),
        ("j", b'{"type": "progress", "progress": 3000000000}', "progress"),
        ("j", b'{"type": "progress", "progress": NaN}', "not JSON"),
        ("j", b'{"type": "status"}', "no status"),
        ("j", b'{"type": "status", "status": 1}', "status"),
        ("j", b'{"type": "progress", "progress": 1, "message": {}}', "message"),
        ("j", b'{"type": "status", "status": "a\\u0000b"}', "not JSON"),
        ("j", b'{"type": "status", "status": "\\ud800"}', "not JSON"),
        ("j", b'{"type": "progress", "progress": 1, "progress": 2}', "not JSON"),
        ("j", b"[" * 50_000, "not JSON"),
        ("", b'{"type": "progress", "progress": 1}', "names no job"),
        (b"\xff", b'{"type": "progress", "progress": 1}', "not UTF-8"),
        ("j" * 201, b'{"type": "progress", "progress": 1}', "longer than 200"),
    ]
    for channel, message, _ in bad:
        assert redis.publish(channel, message) == 1
        assert redis.publish("good", b'{"type": "progress", "progress": 1}') == 1
    bridges.wait_for(len(bad), len(bad))
    for letter, (channel, message, reason) in zip(bridges.letters(), bad):
        headers = dict(letter.headers)
        assert letter.value == message
        assert reason in headers["reason"].decode(), headers
        assert headers["channel"].startswith(b"OMEGAFRAME_JOB_") and b"traceparent" in dict(
            (name.encode(), value) for name, value in letter.headers)
    wait_until(lambda: bridge.metric('projectionist_bridge_dead_letters_total{reason="message"}')
               == len(bad))


def test_a_message_that_is_too_long(redis, bridges):
    """Its beginning is kept, the connection is made anew, and others come after it."""
    bridge = bridges.ready(redis, MESSAGE_SIZE_LIMIT="100KiB")
    redis.publish("j", b'{"type": "status", "status": "' + b"x" * 10_000_000 + b'"}')
    bridge.wait_until(lambda: bridge.metric("projectionist_bridge_gaps_total") == 1)
    bridge.wait_until_ready()
    redis.publish("j", b'{"type": "progress", "progress": 1}')
    bridges.wait_for(1, 1)
    letter, = bridges.letters()
    assert b"OMEGAFRAME_JOB_j" in letter.value and len(letter.value) <= 65536
    assert b"longer than 102400 bytes" in dict(letter.headers)["reason"]


def test_what_kafka_refuses_becomes_a_dead_letter(redis, bridges):
    bridge = bridges.ready(redis)
    kafka.set_topic(bridges.jobs, max_message_bytes="5000")
    noise = os.urandom(20_000).hex()
    for number in range(20):
        message = noise if number == 7 else "x"
        redis.publish("j", json.dumps({"type": "progress", "progress": number,
                                       "message": message}))
    bridges.wait_for(19, 1)
    assert [body(event)[1]["progress"] for _, event in bridges.events()] == [
        number for number in range(20) if number != 7]
    assert noise.encode() in bridges.letters()[0].value
    assert b"MSG_SIZE_TOO_LARGE" in dict(bridges.letters()[0].headers)["reason"]
    wait_until(lambda: bridge.metric('projectionist_bridge_dead_letters_total{reason="kafka"}') == 1)


def test_a_gap_is_counted_and_logged(redis, bridges):
    bridge = bridges.ready(redis)
    assert bridge.metric("projectionist_bridge_gaps_total") == 0
    redis.drop_subscribers()
    bridge.wait_until(lambda: bridge.metric("projectionist_bridge_gaps_total") == 1)
    bridge.wait_until_ready()
    redis.kill()
    bridge.wait_until(lambda: not bridge.ready())
    assert "not subscribed to Redis" in bridge.get("/readyz")[1] and bridge.alive()
    redis.start()
    bridge.wait_until_ready()
    bridge.wait_until(lambda: bridge.metric("projectionist_bridge_gaps_total") == 2)
    assert redis.publish("j", b'{"type": "progress", "progress": 1}') == 1
    bridges.wait_for(1)
    # Between two bridges of one name, too.
    bridge.stop()
    assert redis.publish("j", b'{"type": "progress", "progress": 2}') == 0
    time.sleep(0.05)
    second = bridges.ready(redis)
    second.wait_until(lambda: second.metric("projectionist_bridge_gaps_total") == 1)
    assert second.logged("nobody listened", "no bridge ran")


def test_a_redis_that_freezes_is_noticed(redis, bridges):
    bridge = bridges.ready(redis, PING_INTERVAL="300ms")
    redis.freeze()
    bridge.wait_until(lambda: not bridge.ready())
    redis.thaw()
    bridge.wait_until_ready()
    assert bridge.metric("projectionist_bridge_gaps_total") == 1
    assert bridge.logged("Redis does not answer")


def test_revisions_go_on_where_a_former_bridge_was(redis, bridges):
    """Whatever the clock says, a job's later event has the greater revision."""
    bridge = bridges.ready(redis)
    redis.publish("j", b'{"type": "progress", "progress": 1}')
    bridges.wait_for(1)
    bridge.stop()
    ahead = bridges.events()[0][1]["revision"] + 3_600_000_000
    kafka.produce([kafka.Record(bridges.prefix + "studio.bridge-cursors", b"job-bridge", json.dumps(
        {"instance": "x", "revision": ahead, "listened_until": 0}).encode())])
    bridges.ready(redis)
    redis.publish("j", b'{"type": "progress", "progress": 2}')
    bridges.wait_for(2)
    assert bridges.events()[1][1]["revision"] == ahead + 1


def test_a_second_bridge_takes_over_and_misses_nothing(redis, bridges):
    first = bridges.ready(redis)
    numbers = []

    def until(condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            numbers.append(len(numbers))
            redis.publish("j", json.dumps({"type": "status", "status": str(numbers[-1])}))
            time.sleep(0.002)

    until(lambda: len(numbers) > 100)
    second = bridges.start(redis, HEARTBEAT="200ms")
    until(second.ready)
    until(lambda: not first.running)
    first.wait(5)
    assert "another job-bridge has taken over" in first.log
    count = len(numbers)
    until(lambda: len(numbers) > count + 100)
    wait_until(lambda: {body(event)[1]["status"] for _, event in bridges.events()} ==
               {str(number) for number in numbers})
    assert second.ready()


def test_a_bridge_that_thaws_publishes_nothing(redis, bridges):
    first = bridges.ready(redis)
    first.freeze()
    second = bridges.ready(redis)
    redis.publish("j", b'{"type": "progress", "progress": 1}')
    bridges.wait_for(1)
    first.thaw()
    first.wait(5)
    assert len(bridges.events()) == 1 and second.ready()


@pytest.mark.parametrize("wrong, words", [
    ({"REDIS_URL": "http://127.0.0.1:1"}, "neither redis:// nor rediss://"),
    ({"REDIS_URL": "redis://"}, "has no host"),
    ({"REDIS_URL": "redis://127.0.0.1:0"}, "an invalid host or port"),
    ({"REDIS_URL": "redis://127.0.0.1:99999"}, "an invalid host or port"),
    ({"REDIS_URL": "redis://user:pass-word@127.0.0.1:1"}, "PROJECTIONIST_REDIS_PASSWORD_FILE"),
    ({"REDIS_URL": "redis://127.0.0.1:1/x"}, "a database's number"),
    ({"REDIS_USERNAME": "me"}, "no password"),
    ({"BRIDGE_ID": "x" * 201}, "200"),
])
def test_settings_that_cannot_be(redis, wrong, words):
    done = consumers.run("job-bridge", variables={"REDIS_URL": redis.url, **wrong})
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
    assert "pass-word" not in done.stderr


def test_passwords(tmp_path, bridges):
    """One that is wrong at the start ends it; one that is changed later is read again."""
    secret = tmp_path / "password"
    secret.write_text("right-one\n")
    with Redis(tmp_path, requirepass="right-one") as server:
        refused = bridges.start(server)
        refused.wait(1)
        assert "NOAUTH" in refused.log and "PROJECTIONIST_REDIS_PASSWORD_FILE" in refused.log
        wrong = bridges.start(server, REDIS_PASSWORD="wrong-one")
        wrong.wait(1)
        assert "WRONGPASS" in wrong.log and "wrong-one" not in wrong.log
        bridge = bridges.ready(server, REDIS_PASSWORD_FILE=str(secret))
        with server.client() as client:
            client.config_set("requirepass", "other-one")
        server.settings["requirepass"] = "other-one"
        server.drop_subscribers()
        bridge.wait_until(lambda: not bridge.ready())
        secret.write_text("other-one\n")
        bridge.wait_until_ready()
        server.publish("j", b'{"type": "progress", "progress": 1}')
        bridges.wait_for(1)
        # A user of its own, by a file as well.
        (tmp_path / "user").write_text("default")
        named = bridges.ready(server, REDIS_USERNAME_FILE=str(tmp_path / "user"),
                              REDIS_PASSWORD_FILE=str(secret), BRIDGE_ID="named")
        with server.client() as client:
            client.acl_setuser("another", enabled=True, passwords=["+third-one"], channels=["*"],
                               commands=["+psubscribe", "+ping"])
            client.config_set("requirepass", "fourth-one")
        server.settings["requirepass"] = "fourth-one"
        server.drop_subscribers()
        named.wait_until(lambda: not named.ready())
        secret.write_text("third-one\n")
        (tmp_path / "user").write_text("another\n")
        named.wait_until_ready()
        assert not re.search("(right|other|third|fourth)-one", bridge.log + named.log)


def make_certificates(folder, host):
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-subj", "/CN=ca", "-days", "2", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr",
            "-subj", "/CN=server")
    (folder / "names").write_text(f"subjectAltName={host}\nsubjectKeyIdentifier=hash\n"
                                  "authorityKeyIdentifier=keyid\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-out", "server.pem", "-days", "2", "-extfile", "names")


@pytest.mark.parametrize("host, is_right", [("IP:127.0.0.1", True), ("DNS:elsewhere", False)])
def test_tls(tmp_path, bridges, host, is_right):
    make_certificates(tmp_path, host)
    with Redis(tmp_path, tls=tmp_path) as server:
        bridge = bridges.start(server, REDIS_CA_FILE=str(tmp_path / "ca.pem"))
        if is_right:
            bridge.wait_until_ready()
            server.publish("j", b'{"type": "progress", "progress": 1}')
            bridges.wait_for(1)
        else:
            bridge.wait_until(lambda: bridge.logged("not connected to Redis"))
            assert not bridge.ready() and not bridge.logged("subscribed")
        plain = bridges.start(server, REDIS_URL=server.url.replace("rediss", "redis"),
                              BRIDGE_ID="plain", PING_INTERVAL="300ms")
        plain.wait_until(lambda: plain.logged("not connected to Redis"))
        untrusting = bridges.start(server, BRIDGE_ID="untrusting")
        untrusting.wait_until(lambda: untrusting.logged("not connected to Redis", "certificate"))


def test_it_is_not_a_redis(tmp_path, bridges, redis):
    """What answers otherwise is a reason to wait, not to believe."""
    class Talker(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(100)
            self.request.sendall(self.server.answer)
            self.request.recv(100)

    for answer in (b"HTTP/1.1 200 OK\r\n\r\n", b"*3\r\n$8\r\nmessage0\r\n", b":1\r\n", b"*-1\r\n",
                   b"$-1\r\n", b"*1000000000\r\n", b"$900000000000\r\n", b"*1\r\n*1\r\n*1\r\n:1\r\n",
                   b"*3\r\n:1\r\n:2\r\n:3\r\n"):
        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talker) as server:
            server.daemon_threads = True
            server.answer = answer
            threading.Thread(target=server.serve_forever, daemon=True).start()
            bridge = bridges.start(redis, REDIS_URL=f"redis://127.0.0.1:{server.server_address[1]}",
                                   PING_INTERVAL="200ms")
            bridge.wait_until(lambda: bridge.logged("not connected to Redis"))
            assert not bridge.logged("subscribed")
            bridge.stop()
            server.shutdown()

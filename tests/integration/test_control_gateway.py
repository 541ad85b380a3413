# SPDX-License-Identifier: Apache-2.0
"""control-gateway between clients that know nothing of it, the stand-in of the automation service,
and Kafka, read by confluent-kafka and fastavro."""

import concurrent.futures
import http.client
import json
import socket
import threading
import time
import uuid

import pytest
from confluent_kafka import Producer
from lib import gateway as gateway_lib
from lib import bridge, consumers, kafka
from lib.automation_service import AutomationService
from lib.database import wait_until
from lib.kafka_proxy import FENCED, KafkaProxy
from lib.gateway import KEYS, Gateways, command, new_id, post, published, read_answer, request

@pytest.fixture
def service():
    with AutomationService(speed=1000) as service:
        yield service


@pytest.fixture
def topics():
    gateway_lib.new_topics()


@pytest.fixture
def gateways(tmp_path, service, topics):
    """Starts gateways: gateways() gives one that is ready. At the end each must have ended well."""
    gateways = Gateways(tmp_path, service)
    yield gateways
    gateways.end()


@pytest.fixture
def gateway(gateways):
    return gateways()


# --- answers and events ----------------------------------------------------------------------


def masked(answer):
    """An answer without what differs from one request to the next."""
    def mask(value, name=""):
        if isinstance(value, dict):
            return {key: mask(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [mask(item) for item in value]
        if name in ("id", "command_id") or name.endswith("_at"):
            return name if value is not None else None
        return value
    return answer.status, answer.headers.get("Content-Type"), mask(answer.json)


def test_every_answer_is_the_services_own(gateway, service):
    known = new_id()
    session = {"platform": "tiktok", "metadata": {"a": [1, 2]}}
    requests = [
        ("POST", "/v1/commands", command()),
        ("POST", "/v1/commands", {"type": "sora.usage"}),
        ("POST", "/v1/commands", {"type": "what.ever", "payload": None, "unknown": [1]}),
        ("POST", "/v1/commands", {"type": "sora.clean", "payload": {}}),
        ("POST", "/v1/commands", {"payload": {}}),
        ("POST", "/v1/commands", {"type": ""}),
        ("POST", "/v1/commands", {"type": "sora.generate", "payload": {"prompt": "x"}}),
        ("POST", f"/v1/commands/{known}/cancel", None),
        ("GET", f"/v1/commands/{known}", None),
        ("GET", "/v1/commands?status=NONE&since=2026", None),
        ("POST", "/v1/sessions", session),
        ("POST", "/v1/sessions", None),
        ("GET", f"/v1/sessions/{known}", None),
        ("DELETE", f"/v1/sessions/{known}", None),
        ("DELETE", "/v1/sessions/none", None),
        ("GET", "/health", None),
        ("GET", "/ready", None),
        ("GET", "/v1/sora/usage", None),
        ("GET", "/nowhere", None),
        ("PUT", "/v1/commands", {"a": 1}),
    ]
    for method, path, body in requests:
        direct = request(service.http_port, method, path, body)
        if path == "/v1/commands":
            service.restart()
        passed = request(gateway.api, method, path, body)
        assert masked(passed) == masked(direct), (method, path, body)
    service.speed = 0.01
    for port in (service.http_port, gateway.api):
        waiting = post(gateway, {"type": "sora.generate", "payload": {"prompt": "x"}})
        answer = request(port, "POST", f"/v1/commands/{waiting.json['command_id']}/cancel")
        assert answer.status == 200 and answer.json == {"cancelled": True}


def test_a_command_is_published_whole(gateway, service):
    command_id, session, account, correlation = new_id(), new_id(), new_id(), new_id()
    body = (f'{{"type":"sora.generate", "payload": {{"prompt":"ein Türmchen", "n": 1.10,'
            f' "big": 123456789012345678901234567890}} , "idempotency_key":"k \\"1\\"",'
            f'"command_id":"{command_id.upper()}","correlation_id":"{correlation}",'
            f'"requested_at":"2026-11-21T06:06:34.968+01:00",'
            f'"requester":{{"service":"planner","instance_id":"p-2"}},"extra":[1.10],'
            f'"target":{{"session_id":"{session}","account_id":"{account}","platform":"sora"}}}}')
    before = time.time_ns() // 1000
    answer = post(gateway, body.encode())
    assert answer.status == 202 and answer.json["command_id"] == command_id
    assert answer.headers["Projectionist-Command-Id"] == command_id
    event, = published()
    assert before <= event.pop("emitted_at") <= time.time_ns() // 1000
    uuid.UUID(event.pop("event_id"))
    assert event == {
        "command_id": command_id, "record_key": command_id, "cursor": None,
        "body": ("CommandSubmitted", {
            "type": "sora.generate",
            "payload": '{"prompt":"ein Türmchen", "n": 1.10,'
                       ' "big": 123456789012345678901234567890}',
            "idempotency_key": 'k "1"', "correlation_id": correlation,
            "requested_at": 1795237594968000, "requester_service": "planner",
            "requester_instance": "p-2",
            "target": {"session_id": session, "account_id": account, "platform": "sora"}})}
    # And the service got what was sent, with the id in the form that all use.
    _, _, _, forwarded = next(one for one in service.requests if one[0] == "POST")
    assert forwarded.decode() == body.replace(command_id.upper(), command_id)


def test_an_id_is_given_where_there_is_none(gateway, service):
    answer = post(gateway, b' {"type":"flow.run","command_id":null}')
    event, = published()
    assert answer.status == 202
    assert event["command_id"] == answer.json["command_id"] == str(uuid.UUID(event["command_id"]))
    assert event["body"][1]["payload"] == "{}" and event["body"][1]["idempotency_key"] is None
    assert service.executions == {event["command_id"]: 1}


def test_published_before_it_is_forwarded(gateway, service):
    service.hold_answers(before=True)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(post, gateway, command())
        wait_until(lambda: service.held == 1, message="nothing was forwarded")
        assert len(published()) == 1 and not service.executions
        service.release_answers()
        assert waiting.result().status == 202


# --- once ------------------------------------------------------------------------------------


def test_keys_outlive_restarts_of_both(gateways, service):
    gateway = gateways()
    first = post(gateway, command("a"))
    own = command(command_id=new_id())  # without a key: the id is the identity
    second = post(gateway, own)
    for restart in ("none", "service", "gateway", "both"):
        if restart in ("service", "both"):
            service.restart()
        if restart in ("gateway", "both"):
            gateway.stop()
            gateway = gateways()
        for body, before in ((command("a"), first), (own, second)):
            again = post(gateway, body)
            assert again.status == 202, again.json
            assert again.json["command_id"] == before.json["command_id"]
            assert again.json["accepted_at"] == before.json["accepted_at"]
            assert again.headers["Projectionist-Repeated"] == "same"
    assert set(service.executions.values()) == {1} and len(service.executions) == 2
    assert len(published()) == 2
    assert gateway.metric("projectionist_gateway_known_commands") == 2


def kept():
    """What the topic of the keys holds, as its last record has it."""
    found = {record.key.decode(): record.value for record in kafka.read(KEYS)}
    return {key: json.loads(value) for key, value in found.items() if value}


def test_keys_expire(gateways, service):
    gateway = gateways(KEY_RETENTION="3s")
    own = command(command_id=new_id())
    first = post(gateway, command("a"))
    post(gateway, own)
    assert post(gateway, command("a")).headers["Projectionist-Repeated"] == "same"
    wait_until(lambda: len(kept()) == 2, message="they are not kept")
    wait_until(lambda: not kept(), message="they do not expire")
    assert gateway.metric("projectionist_gateway_known_commands") == 0
    assert gateway.metric("projectionist_gateway_expired_commands_total") == 2
    # Now the service's memory decides, and what it says is passed on.
    late = post(gateway, command("a"))
    assert late.status == 202 and late.json["command_id"] == first.json["command_id"]
    gateway.wait_for_log("the service takes a command for an earlier one")
    wait_until(lambda: len(kept()) == 1, message="it is not kept")
    wait_until(lambda: not kept(), message="it does not expire")
    service.restart()
    second = post(gateway, command("a"))
    assert "Projectionist-Repeated" not in second.headers
    assert second.json["command_id"] != first.json["command_id"]
    wait_until(all_kept, message="it is not kept")
    # What has expired is not read back; what has not is, and expires by its own age.
    gateway.kill()
    gateway = gateways(KEY_RETENTION="1h")
    assert gateway.metric("projectionist_gateway_known_commands") == 1
    again = post(gateway, command("a"))
    assert again.headers["Projectionist-Repeated"] == "same"
    assert again.json["command_id"] == second.json["command_id"]
    gateway.stop()
    gateway = gateways(KEY_RETENTION="1s")
    wait_until(lambda: not kept(), message="what was read does not expire")
    assert len(service.executions) == 3 and len(published()) == 4


def test_a_repetition_tells_the_state_by_now(gateway, service):
    body = {"type": "sora.generate", "payload": {"prompt": "x"}, "idempotency_key": "k"}
    assert post(gateway, body).json["status"] == "QUEUED"
    wait_until(lambda: post(gateway, body).json["status"] == "SUCCEEDED",
               message="it does not succeed")
    assert set(service.executions.values()) == {1} and len(published()) == 1


def test_another_content_under_a_known_key(gateway, service):
    first = post(gateway, command("k"))
    other = post(gateway, {**command("k"), "payload": {"b": 2}, "command_id": new_id()})
    assert other.status == 202 and other.json["command_id"] == first.json["command_id"]
    assert other.headers["Projectionist-Repeated"] == "different-content"
    same = post(gateway, {"payload": {"a": 1.1}, "idempotency_key": "k", "type": "flow.run"})
    assert same.headers["Projectionist-Repeated"] == "same"  # however it is written
    assert len(service.executions) == 1 and len(published()) == 1
    assert gateway.metric("projectionist_gateway_key_conflicts_total") == 1


def test_service_away(gateways, service):
    gateway = gateways()
    service.stop()
    first = post(gateway, command("k"))
    assert first.status == 503 and "published" in first.json["error"], first.json
    assert first.headers["Retry-After"] == "1"
    assert f"service at {service.url} cannot be reached" in first.json["error"]
    without_key = post(gateway, command())
    assert len(published()) == 2
    other = post(gateway, {**command("k"), "payload": {}})
    assert other.status == 409 and other.json["command_id"] == first.json["command_id"]
    service.start()
    gateway.kill()  # whatever it remembers
    gateway = gateways()
    again = post(gateway, command("k"))
    assert again.status == 202 and again.json["command_id"] == first.json["command_id"]
    by_id = post(gateway, command(command_id=without_key.json["command_id"]))
    assert by_id.status == 202
    assert len(published()) == 2
    assert service.executions == {again.json["command_id"]: 1, by_id.json["command_id"]: 1}


def test_a_service_that_is_away_is_logged_once(gateways, service):
    gateway = gateways()
    assert request(gateway.api, "GET", "/v1/sora/usage").status == 200
    service.stop()
    assert [post(gateway, command()).status for _ in range(2)] == [503, 503]
    answer = request(gateway.api, "GET", "/v1/sora/usage")
    assert answer.status == 503 and service.url in answer.json["error"]
    service.start()
    assert request(gateway.api, "GET", "/v1/sora/usage").status == 200
    assert post(gateway, command()).status == 202
    assert gateway.log.count("the automation service is away") == 1
    assert gateway.log.count("the automation service is back") == 1
    assert f"service at {service.url} cannot be reached" in gateway.log


@pytest.mark.parametrize("before", [True, False])
def test_answer_is_lost(gateway, service, before):
    # The first is sent on the connection on which the caller was checked; the second on one of its own.
    service.drop_answers(2 if before else 1, before=before)
    first = post(gateway, command("k"))
    # Where the service has taken it, it says so when it is asked at once; and may forget it then.
    assert first.status == (503 if before else 202) and first.json["command_id"]
    service.restart()
    again = post(gateway, command("k"))
    assert again.status == 202 and again.json["command_id"] == first.json["command_id"]
    assert service.executions == {again.json["command_id"]: 1} and len(published()) == 1


@pytest.mark.parametrize("before", [True, False])
def test_an_answer_is_lost_on_a_connection_that_was_kept(gateway, service, before):
    """It is sent again, but on a new connection, and not before the service has been asked."""
    assert post(gateway, command("a")).status == 202
    connections = service.http_connections
    assert post(gateway, command("b")).status == 202
    assert service.http_connections == connections
    service.drop_answers(1, before=before)
    answer = post(gateway, command("c"))
    assert answer.status == 202, answer.json
    assert service.executions[answer.json["command_id"]] == 1
    methods = [method for method, *_ in service.requests]
    assert methods[-3:] == (["POST", "GET", "POST"] if before else ["POST", "POST", "GET"])
    assert set(service.executions.values()) == {1} and len(service.executions) == 3
    assert len(published()) == 3


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("key", ["k", None])
def test_killed_while_the_service_answers(gateways, service, before, key):
    gateway = gateways()
    body = command(key, command_id=new_id())
    service.hold_answers(before=before)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(post, gateway, body)
        wait_until(lambda: service.held == 1, message="nothing was forwarded")
        gateway.kill()
        assert isinstance(waiting.exception(), (OSError, http.client.HTTPException))
    gateway = gateways()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        again = pool.submit(post, gateway, body)
        if before:  # the service knows nothing of it, and is asked a second time
            wait_until(lambda: service.held == 2, message="it was not forwarded again")
            service.release_answers()
        assert again.result().status == 202
    service.release_answers()
    assert service.executions == {body["command_id"]: 1} and len(published()) == 1


def test_killed_after_the_service_executed_it_and_forgot(gateways, service):
    """The end is learnt at the start, before the service forgets it."""
    gateway = gateways()
    body = command("k", command_id=new_id())
    service.hold_answers()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(post, gateway, body)
        wait_until(lambda: service.executions, message="nothing was forwarded")
        gateway.kill()
        assert waiting.exception() is not None
    service.release_answers()
    gateway = gateways()
    service.restart()
    assert post(gateway, body).status == 202
    assert service.executions == {body["command_id"]: 1} and len(published()) == 1


@pytest.mark.parametrize("gateway_killed", [True, False])
def test_the_telemetry_knows_what_the_service_has_forgotten(gateways, service, gateway_killed):
    """It took the command, nobody heard of that, and it restarts before it is asked: but the bridge
    has published its status."""
    bridge.new_topics()
    gateway = gateways()
    bridge.subscribe(bridge.start(gateways.programs, service.stream_url))
    body = command("k", command_id=new_id())
    service.routes[("GET", f"/v1/commands/{body['command_id']}")] = (500, {}, [b"{}"])
    service.drop_answers(1)
    assert post(gateway, body).status == 503
    wait_until(lambda: statuses(body["command_id"]) == ["QUEUED", "RUNNING", "SUCCEEDED"],
               message="its statuses are not published")
    service.stop()
    service.routes.clear()
    if gateway_killed:
        gateway.kill()
        gateway = gateways()
    service.start()
    again = post(gateway, body)
    assert again.status == 202, again.json
    assert again.json == {"command_id": body["command_id"], "status": "SUCCEEDED"}
    assert service.executions == {body["command_id"]: 1}
    # And one of which there is nothing to be found is executed.
    service.stop()
    assert post(gateway, command("other")).status == 503
    service.start()
    assert post(gateway, command("other")).status == 202
    assert len(service.executions) == 2


def statuses(command_id):
    """The statuses of a command that are published."""
    return [event["body"][1]["status"] for event in published()
            if event["command_id"] == command_id and event["body"][0] == "CommandStatusChanged"]


def test_the_same_key_at_the_same_time(gateway, service):
    service.hold_answers()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(post, gateway, command("k")) for _ in range(20)]
        wait_until(lambda: gateway.metric("projectionist_gateway_connections") >= 20,
                   message="not all of them are here")
        service.release_answers()
        answers = [one.result() for one in waiting]
    assert {(one.status, one.content) for one in answers} == {(202, answers[0].content)}
    assert service.executions == {answers[0].json["command_id"]: 1} and len(published()) == 1
    assert sum(service.posts.values()) == 1  # and asked for once


def test_fifty_clients_while_the_gateway_is_killed(gateways, service):
    """Each command is repeated with its key until it is accepted, and once more."""
    clients, each = 50, 8
    current = [gateways()]
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{reserved.getsockname()[1]}"
    current[0].stop()
    current[0] = gateways(GATEWAY_LISTEN=listen)
    deadline = time.monotonic() + 150
    accepted, failures, done = {}, [], threading.Event()
    tries = [0]

    def until_accepted(body):
        while time.monotonic() < deadline:
            tries[0] += 1
            try:
                answer = post(current[0], body, timeout=20)
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
                continue
            if answer.status == 202:
                return answer.json["command_id"]
            if answer.status != 503:
                failures.append((answer.status, answer.json))
                return None
        failures.append("too late")
        return None

    def client(number):
        for step in range(each):
            body = command(f"{number}-{step}", payload={"number": number, "step": step})
            ids = {until_accepted(body) for _ in range(2)}
            if len(ids) != 1:
                failures.append(f"{number}-{step}: {ids}")
            accepted[f"{number}-{step}"] = ids.pop()

    kills = 0
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client, number) for number in range(clients)]
        while not all(one.done() for one in running):
            seen = len(accepted)
            wait_until(lambda: len(accepted) > seen + 20 or all(one.done() for one in running),
                       deadline=120, message="nothing goes on")
            if kills < 8 and not all(one.done() for one in running):
                current[0].kill()
                kills += 1
                current[0] = gateways(GATEWAY_LISTEN=listen)
        for one in running:
            one.result()
    done.set()
    assert not failures, failures[:5]
    assert kills >= 5
    assert len(accepted) == clients * each == len(set(accepted.values()))
    # Executed once, stored once, and the same ones.
    assert set(service.executions.values()) == {1}
    assert set(service.executions) == set(accepted.values())
    stored = {event["body"][1]["idempotency_key"]: event["command_id"] for event in published()}
    assert len(published()) == clients * each and stored == accepted
    print(f"{clients * each} commands, {tries[0]} requests, {kills} kills")


def test_the_newest_gateway_of_an_id_works(gateways, service):
    first = gateways()
    assert post(first, command("a")).status == 202
    second = gateways()
    assert post(second, command("b")).status == 202
    late = post(first, command("c"))
    assert late.status == 503, late.json
    first.wait(5)
    first.wait_for_log("another control-gateway with the id 'default' has taken over")
    assert post(second, command("a")).status == 202
    assert len(service.executions) == 2 and len(published()) == 2


def test_a_late_end_of_a_transaction_meets_no_later_one(gateways, service):
    """The coordinator's connection is cut at EndTxn, which arrives when the next transaction is open."""
    with KafkaProxy() as proxy:
        gateway = gateways(KAFKA_BOOTSTRAP_SERVERS=proxy.address)
        assert post(gateway, command("a")).status == 202
        wait_until(all_kept, message="something is under way")
        proxy.delay_commit()
        for key in ("b", "c"):
            assert post(gateway, command(key)).status == 202
        wait_until(all_kept, message="something is under way")
        assert post(gateway, command("d")).status == 202
        assert proxy.arrived.wait(30)
        assert proxy.late_error in FENCED
        wait_until(all_kept, message="something is under way")
    assert len(published()) == 4 == len({event["event_id"] for event in published()})
    assert set(service.executions.values()) == {1}


def test_a_commit_whose_answer_is_lost_is_looked_up(gateways, service):
    """The transaction is committed, its answer does not come, and before it can be asked for again
    another gateway has come, and gone: then only the topic of the keys tells what happened."""
    with KafkaProxy() as proxy, concurrent.futures.ThreadPoolExecutor() as pool:
        gateway = gateways(KAFKA_BOOTSTRAP_SERVERS=proxy.address, TRANSACTION_TIMEOUT="5s",
                           PUBLISH_TIMEOUT="60s")
        assert post(gateway, command("a")).status == 202
        wait_until(all_kept, message="something is under way")
        proxy.lose_commits()
        waiting = pool.submit(post, gateway, command("b"))
        assert proxy.lost.wait(30)
        began = time.monotonic()
        wait_until(lambda: len(published()) == 2, message="it was not committed")
        Producer({"bootstrap.servers": kafka.bootstrap_servers(),
                  "transactional.id": "projectionist-control-gateway-default"}
                 ).init_transactions(30)
        # Younger, it would take that for a gateway that is still there.
        wait_until(lambda: time.monotonic() - began > 6)
        assert not waiting.done() and gateway.running
        proxy.resume()
        answer = waiting.result()
        gateway.wait_for_log("the outcome of a transaction is unknown")
        assert answer.status == 202, answer.json
        assert post(gateway, command("b")).json["command_id"] == answer.json["command_id"]
    assert len(published()) == 2 == len({event["event_id"] for event in published()})
    assert set(service.executions.values()) == {1}


def all_kept():
    """Whether the ends of all commands are kept."""
    return all(value["state"] == "accepted" for value in kept().values())


# --- sessions --------------------------------------------------------------------------------


def test_sessions_are_published(gateway, service):
    account = new_id()
    opened = request(gateway.api, "POST", "/v1/sessions",
                     {"platform": "tiktok", "account_id": account, "browser_pid": 4711,
                      "metadata": {"n": 1.10}})
    assert opened.status == 201
    session = opened.json["id"]
    closed = request(gateway.api, "DELETE", f"/v1/sessions/{session}")
    assert closed.status == 200 and closed.json["status"] == "closed"
    first, second = published("safari.sessions")
    assert first["session_id"] == second["session_id"] == first["record_key"] == session
    assert first["body"] == ("SessionOpened", {
        "platform": "tiktok", "account_id": account, "browser_pid": 4711,
        "metadata": '{"n": 1.1}'})  # as the service wrote it
    assert second["body"] == ("SessionClosed", {"reason": None})
    assert first["emitted_at"] <= second["emitted_at"] and first["event_id"] != second["event_id"]
    # Closed again, it is the same event again.
    assert request(gateway.api, "DELETE", f"/v1/sessions/{session}").status == 200
    assert len({event["event_id"] for event in published("safari.sessions")}) == 2
    assert not intents()


def intents():
    """What is kept of openings and closings."""
    return [key for key in kept() if key.startswith(("opening:", "closing:"))]


def test_a_session_that_is_not_opened(gateway, service):
    service.routes[("POST", "/v1/sessions")] = (500, {}, [b'{"error":"no browser"}'])
    answer = request(gateway.api, "POST", "/v1/sessions", {"platform": "x"})
    assert answer.status == 500 and answer.json == {"error": "no browser"}
    service.stop()
    assert request(gateway.api, "POST", "/v1/sessions", {"platform": "x"}).status == 503
    wait_until(lambda: not intents(), message="an intent is left")
    assert not published("safari.sessions")
    assert gateway.metric("projectionist_gateway_unknown_sessions_total") == 0


def test_an_opening_whose_answer_is_lost_is_reported(gateways, service):
    """Of such a session nobody learns the id: neither the client, nor by asking the service."""
    gateway = gateways()
    go_on = threading.Event()

    def hold():
        service.sessions["of nobody"] = {}
        go_on.wait(30)
        raise ConnectionError
        yield  # pylint: disable=unreachable

    service.routes[("POST", "/v1/sessions")] = (201, {}, hold)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(request, gateway.api, "POST", "/v1/sessions", {"platform": "x"})
        wait_until(lambda: service.sessions, message="it was not opened")
        assert len(intents()) == 1  # before the service hears of it
        gateway.kill()
        assert waiting.exception() is not None
        gateway = gateways()
        gateway.wait_for_log("a session may be open that no record names.*the previous gateway")
        assert gateway.metric("projectionist_gateway_unknown_sessions_total") == 1
        again = pool.submit(request, gateway.api, "POST", "/v1/sessions", {"platform": "x"})
        wait_until(lambda: len(intents()) == 1, message="it was not asked for")
        go_on.set()
        assert again.result().status == 503
    assert gateway.metric("projectionist_gateway_unknown_sessions_total") == 2
    service.routes.clear()
    assert request(gateway.api, "POST", "/v1/sessions", {"platform": "x"}).status == 201
    wait_until(lambda: not intents(), message="an intent is left")
    gateway.stop()
    assert gateways().metric("projectionist_gateway_unknown_sessions_total") == 0
    assert len(published("safari.sessions")) == 1


def test_a_closing_that_was_cut_off_is_published(gateways, service):
    gateway = gateways()
    session = request(gateway.api, "POST", "/v1/sessions", {"platform": "x"}).json["id"]
    delay = threading.Event()

    def hold():
        service.sessions.pop(session)
        delay.wait(30)
        yield b"{}"

    service.routes[("DELETE", f"/v1/sessions/{session}")] = (200, {}, hold)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(request, gateway.api, "DELETE", f"/v1/sessions/{session}")
        wait_until(lambda: session not in service.sessions, message="it was not closed")
        gateway.kill()
        delay.set()
        assert waiting.exception() is not None
    service.routes.clear()
    assert [event["body"][0] for event in published("safari.sessions")] == ["SessionOpened"]
    gateway = gateways()
    kinds = [event["body"][0] for event in published("safari.sessions")]
    assert kinds == ["SessionOpened", "SessionClosed"]
    assert request(gateway.api, "DELETE", f"/v1/sessions/{session}").status == 404
    assert len(published("safari.sessions")) == 2 and not intents()


# --- malformed -------------------------------------------------------------------------------


@pytest.mark.parametrize("body, field", [
    (b"", "body"),
    (b"{", "body"),
    (b"[]", "body"),
    (b'"x"', "body"),
    (b'{"type":"x"} {', "body"),
    (b'{"type":"\xff\xfe"}', "UTF-8"),
    (b'{"type":"a\\u0000b"}', "u0000"),
    (b'{"type":"x","payload":{"n":1e999}}', "number"),
    (b'{"type":"x","payload":{"n":1.5e-99999999999999999999}}', "number"),
    (b'{"type":"x","payload":{"n":[900\0,1]}}', "NUL"),
    (b'{"type":"x","payload":{"n":true\0}}', "NUL"),
    (b'\0{"type":"x"}', "NUL"),
    (b'{"type":"x"}\0', "NUL"),
    (b'{"type":"x","type":"y"}', "twice"),
    (b'{"type":7}', "type"),
    (b'{"type":"%s"}' % (b"x" * 101), "type"),
    (b'{"type":"x","payload":[]}', "payload"),
    (b'{"type":"x","payload":"{}"}', "payload"),
    (b'{"type":"x","command_id":"x"}', "command_id"),
    (b'{"type":"x","command_id":7}', "command_id"),
    (b'{"type":"x","idempotency_key":7}', "idempotency_key"),
    (b'{"type":"x","idempotency_key":""}', "idempotency_key"),
    (b'{"type":"x","idempotency_key":"%s"}' % ("ü".encode() * 256), "idempotency_key"),
    (b'{"type":"x","correlation_id":"x"}', "correlation_id"),
    (b'{"type":"x","requested_at":"yesterday"}', "requested_at"),
    (b'{"type":"x","requester":"x"}', "requester"),
    (b'{"type":"x","requester":{"service":1}}', "requester.service"),
    (b'{"type":"x","target":[]}', "target"),
    (b'{"type":"x","target":{"session_id":"x"}}', "target.session_id"),
    (b'{"type":"x","target":{"platform":"%s"}}' % (b"x" * 51), "target.platform"),
    (b'{"type":"x","payload":' + b'{"a":' * 10000 + b"1" + b"}" * 10001, "deep"),
    (b"[" * 10000, "deep"),
])
def test_malformed_commands(gateway, service, body, field):
    answer = post(gateway, body)
    assert answer.status == 400 and field in answer.json["error"], answer.content
    assert not service.requests and not published()
    assert post(gateway, command()).status == 202


def test_malformed_sessions(gateway, service):
    for body, field in (({"platform": 7}, "platform"), ({"account_id": "x"}, "account_id"),
                        ({"browser_pid": 1.5}, "browser_pid"), ({"browser_pid": -1}, "browser_pid"),
                        ({"browser_pid": 2 ** 31}, "browser_pid"),
                        ({"browser_pid": 2 ** 80}, "browser_pid"), ([], "body")):
        answer = request(gateway.api, "POST", "/v1/sessions", body)
        assert answer.status == 400 and field in answer.json["error"]
    assert not service.requests


def resident(program):
    """Bytes of memory of a process."""
    with open(f"/proc/{program.pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def test_large_bodies(gateway, service):
    before = resident(gateway)
    large = b'{"type":"x","payload":{"a":"' + b"x" * (10 << 20) + b'"}}'
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(gateway, large), range(24)))
    assert {answer.status for answer in answers} == {413}
    assert "1048576 bytes" in answers[0].json["error"]

    def chunks():
        for _ in range(160):
            yield b"x" * 65536

    for path in ("/v1/commands", "/v1/sora/usage"):
        connection = http.client.HTTPConnection("127.0.0.1", gateway.api, timeout=60)
        connection.request("POST", path, chunks(), encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})
        assert read_answer(connection.getresponse()).status == 413
        # The connection is good for another request.
        connection.request("POST", "/v1/commands", json.dumps(command()))
        assert read_answer(connection.getresponse()).status == 202
        connection.close()
    # Small bytes that are large when parsed.
    dense = b'{"type":"x","payload":{"a":[' + b"[]," * 340000 + b"1]}}"
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: post(gateway, dense).status, range(24)))
    assert set(answers) <= {202, 413}
    grown = resident(gateway) - before
    print(f"resident memory grew by {grown / 2**20:.0f} MiB to {resident(gateway) / 2**20:.0f}")
    with open(consumers.program(gateway_lib.PROGRAM), "rb") as file:  # of /proc/PID only root may read it
        sanitized = b"__asan_init" in file.read()  # it keeps what was freed, and adds to each
    assert grown < (700 if sanitized else 200) << 20


def raw(gateway, *parts, timeout=30):
    """Sends bytes as they are; what comes back until the end."""
    with socket.create_connection(("127.0.0.1", gateway.api), timeout=timeout) as connection:
        for part in parts:
            connection.sendall(part)
        received = b""
        while data := connection.recv(65536):
            received += data
        return received


def test_slow_clients_disturb_nobody(gateways, service):
    gateway = gateways(REQUEST_TIMEOUT="2s")
    before = resident(gateway)
    slow = []
    beginnings = (b"", b"POST /v1/com", b"POST /v1/commands HTTP/1.1\r\nHost: x\r\nX: ",
                  b"POST /v1/commands HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
                  b"PUT /v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\na")
    for number in range(150):
        connection = socket.create_connection(("127.0.0.1", gateway.api), timeout=30)
        connection.sendall(beginnings[number % len(beginnings)])
        slow.append(connection)
    stopping = threading.Event()

    def drip():
        while not stopping.wait(0.2):
            for connection in slow:
                try:
                    connection.send(b"a")
                except OSError:
                    pass

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        started = time.monotonic()
        for _ in range(20):
            assert post(gateway, command()).status == 202
        disturbed = time.monotonic() - started
        answers = []
        for connection in slow:
            received = b""
            try:
                while data := connection.recv(4096):
                    received += data
            except ConnectionResetError:
                pass
            answers.append(received)
        assert time.monotonic() - started < 15
    finally:
        stopping.set()
        dripping.join()
        for connection in slow:
            connection.close()
    told = sum(answer.startswith(b"HTTP/1.1 408") for answer in answers)
    print(f"{told} of 150 were told 408; 20 commands took {disturbed:.2f} s meanwhile, "
          f"resident memory grew by {(resident(gateway) - before) / 2**20:.0f} MiB")
    assert told >= 140 and all(not answer or b"408" in answer for answer in answers)
    assert gateway.metric("projectionist_gateway_timeouts_total") >= 150
    assert resident(gateway) - before < 100 << 20
    wait_until(lambda: gateway.metric("projectionist_gateway_connections") == 0,
               message="connections are left")


def test_limits_have_clear_answers(gateways, service):
    gateway = gateways(MAX_HEADER="4KiB", MAX_CONNECTIONS="5")
    head = b"GET /v1/sora/usage HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    assert b" 200 " in raw(gateway, head + b"\r\n").split(b"\r\n")[0]
    long_header = raw(gateway, head + b"X: " + b"x" * 20000 + b"\r\n\r\n")
    assert long_header.split(b"\r\n")[0].endswith(b"431 Request Header Fields Too Large")
    assert raw(gateway, head.replace(b"/sora", b"\x00") + b"\r\n").startswith(b"HTTP/1.1 4")
    assert raw(gateway, b"rubbish\r\n\r\n").startswith((b"HTTP/1.1 4", b""))
    both = head.replace(b"GET", b"POST") + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"
    assert b" 400 " in raw(gateway, both + b"\r\n2\r\n{}\r\n0\r\n\r\n").split(b"\r\n")[0]
    assert request(gateway.api, "BREW", "/v1/sora/usage").status == 405
    idle = [socket.create_connection(("127.0.0.1", gateway.api)) for _ in range(5)]
    wait_until(lambda: gateway.metric("projectionist_gateway_connections") == 5,
               message="not all connections are there")
    answer = post(gateway, command())
    assert answer.status == 503 and "connections" in answer.json["error"]
    for connection in idle:
        connection.close()
    wait_until(lambda: post(gateway, command()).status == 202, message="it does not recover")


@pytest.mark.parametrize("path", ["/v1/commands/", "//v1//commands", "/V1/Commands",
                                  "/v1/%63ommands", "/v1/commands?x=1"])
def test_no_way_around_the_topic(gateway, service, path):
    assert request(gateway.api, "POST", path, command()).status == 202
    assert len(published()) == 1 == len(service.executions)


@pytest.mark.parametrize("path", ["/v1/./commands", "/x/../v1/commands", "/v1%2fcommands",
                                  "/v1\\commands", "/v1/%2e%2e/v1/commands", "/v1/%zz"])
def test_paths_of_two_meanings_are_refused(gateway, service, path):
    assert request(gateway.api, "POST", path, command()).status == 400
    assert not service.requests


# --- passing through -------------------------------------------------------------------------


def test_bodies_stream_both_ways(gateway, service):
    go_on, told = threading.Event(), []

    def parts():
        yield b"first"
        told.append(go_on.wait(10))
        for _ in range(200):
            yield b"x" * 65536

    service.routes[("GET", "/v1/artifacts/1")] = (
        200, {"Content-Type": "video/mp4", "X-Own": "a"}, parts)
    connection = http.client.HTTPConnection("127.0.0.1", gateway.api, timeout=30)
    connection.request("GET", "/v1/artifacts/1?a=%20b", headers={"X-Asked": "b"})
    response = connection.getresponse()
    assert (response.status, response.headers["Content-Type"], response.headers["X-Own"]) == (
        200, "video/mp4", "a")
    assert response.read(5) == b"first"  # while the service has not sent the rest
    go_on.set()
    assert len(response.read()) == 200 * 65536
    connection.close()
    method, path, headers, _ = service.requests[-1]
    assert (method, path, headers["X-Asked"]) == ("GET", "/v1/artifacts/1?a=%20b", "b")
    body = bytes(range(256)) * 2048
    connection = http.client.HTTPConnection("127.0.0.1", gateway.api, timeout=30)
    connection.request("PUT", "/v1/artifacts/2", iter([body[:7], body[7:100000], body[100000:]]),
                       encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    assert read_answer(connection.getresponse()).status == 404
    connection.close()
    assert service.requests[-1][3] == body
    assert told == [True]  # to go on, by who had read the first


def test_headers_of_both_sides_pass(gateway, service, monkeypatch):
    """Those of the message do, on every way; those of a connection, and what Connection names, do
    not."""
    monkeypatch.setattr(http.client, "_MAXHEADERS", 1000)
    sent = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "tracestate": "a=1", "baggage": "user=2", "User-Agent": "planner/2",
            "Accept": "application/json;q=0.9", "X-Request-Id": "r-1", "X-Of-This-Hop": "1",
            "Connection": "close, X-Of-This-Hop", "Accept-Encoding": "gzip", "TE": "trailers",
            "Keep-Alive": "timeout=5", "Proxy-Authorization": "x"}
    got = {"Retry-After": "30", "Location": "/v1/commands/1", "traceresponse": "00-1",
           "X-Request-Id": "r-1", "Cache-Control": "no-store", "Content-Type": "application/x+json",
           "WWW-Authenticate": 'Bearer realm="a"', "X-Hop": "1", "Connection": "X-Hop",
           "Keep-Alive": "timeout=5", "Content-Language": "de",
           **{f"X-{number}": str(number) for number in range(150)}}
    kept = {name: value for name, value in got.items()
            if name not in ("X-Hop", "Connection", "Keep-Alive")}
    for method, path, body in (("POST", "/v1/commands", command()), ("GET", "/v1/x", None),
                               ("POST", "/v1/sessions", {"platform": "x"}),
                               ("DELETE", f"/v1/sessions/{new_id()}", None)):
        service.routes[(method, path)] = (401, got, [b"{}"])
        answer = request(gateway.api, method, path, body, headers=sent)
        assert answer.status == 401 and answer.content == b"{}"
        assert {name: answer.headers.get(name) for name in kept} == kept, path
        assert not {"X-Hop", "Keep-Alive"} & set(answer.headers), path
        _, _, seen, _ = next(one for one in reversed(service.requests)
                             if one[:2] == (method, path))
        passed = ("tracestate", "baggage", "User-Agent", "Accept", "X-Request-Id")
        assert {name: seen.get(name) for name in passed} == {name: sent[name] for name in passed}
        # The trace of the client, and a span of the gateway's own.
        ours, theirs = seen["traceparent"].split("-"), sent["traceparent"].split("-")
        assert ours[:2] == theirs[:2] and ours[2] != theirs[2] and ours[3] == theirs[3], path
        assert not {"X-Of-This-Hop", "TE", "Keep-Alive", "Proxy-Authorization"} & set(seen), path


def test_head_and_a_service_that_breaks_off(gateway, service):
    assert request(gateway.api, "HEAD", "/health").content == b""

    go_on = threading.Event()

    def broken():
        yield b"x" * 100
        go_on.wait(30)
        raise ConnectionError

    service.routes[("GET", "/v1/broken")] = (200, {}, broken)
    connection = http.client.HTTPConnection("127.0.0.1", gateway.api, timeout=30)
    connection.request("GET", "/v1/broken")
    response = connection.getresponse()
    assert response.read(100) == b"x" * 100
    go_on.set()
    with pytest.raises(http.client.IncompleteRead):  # not as if that were all
        response.read()
    connection.close()
    service.stop()
    answer = request(gateway.api, "GET", "/v1/commands")
    assert answer.status == 503 and "cannot be reached" in answer.json["error"]


def test_tokens(gateways, tmp_path, topics):
    (tmp_path / "ours").write_text("gate-way\n")
    (tmp_path / "theirs").write_text("up-stream\n")
    with AutomationService(speed=1000, token="up-stream") as service:
        gateway = gateways(GATEWAY_UPSTREAM=service.url, GATEWAY_TOKEN_FILE=tmp_path / "ours",
                           GATEWAY_UPSTREAM_TOKEN_FILE=tmp_path / "theirs")
        for wrong in ({}, {"Authorization": "Bearer up-stream"},
                      {"Authorization": "Bearer gate-wa"}, {"Authorization": "Bearer gate-way1"},
                      {"Authorization": "Bearer "}, {"Authorization": "Basic gate-way"}):
            answer = post(gateway, command(), headers=wrong)
            assert answer.status == 401 and answer.json == {"error": "Unauthorized"}, wrong
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert not published() and not service.requests
        right = {"Authorization": "Bearer gate-way"}
        assert post(gateway, command(), headers=right).status == 202
        assert request(gateway.api, "GET", "/v1/sora/usage", headers=right).status == 200
        assert request(gateway.api, "GET", "/health").status == 200
        (tmp_path / "ours").write_text("new-gate-way\n")  # both are read again
        service.token = "new-up-stream"
        assert post(gateway, command(), headers=right).status == 401
        right = {"Authorization": "Bearer new-gate-way"}
        assert post(gateway, command(), headers=right).status == 401
        (tmp_path / "theirs").write_text("no token at all\n")
        assert request(gateway.api, "GET", "/v1/sora/usage", headers=right).status == 401
        (tmp_path / "theirs").write_text("new-up-stream\n")
        assert post(gateway, command(), headers=right).status == 202
        assert request(gateway.api, "GET", "/v1/sora/usage", headers=right).status == 200
        gateway.stop()
        gateway = gateways(GATEWAY_UPSTREAM=service.url)  # the client's token is passed on
        assert post(gateway, command(), headers=right).status == 401
        right = {"Authorization": "Bearer new-up-stream"}
        assert post(gateway, command(), headers=right).status == 202
        assert request(gateway.api, "GET", "/v1/commands", headers=right).status == 200


# --- the process -----------------------------------------------------------------------------


def test_a_stop_finishes_what_it_began(gateways, service):
    gateway = gateways()
    service.hold_answers()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(post, gateway, command("k"))
        wait_until(lambda: service.held == 1, message="nothing was forwarded")
        gateway.terminate()
        wait_until(lambda: gateway.get("/readyz")[0] == 503, message="it is still ready")
        with pytest.raises(OSError):
            post(gateway, command(), timeout=2)
        service.release_answers()
        assert waiting.result().status == 202
    gateway.wait(0)
    gateway = gateways()
    assert post(gateway, command("k")).headers["Projectionist-Repeated"] == "same"
    assert len(service.executions) == 1 == len(published())


def test_many_at_once_share_transactions(gateway, service):
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        started = time.monotonic()
        answers = list(pool.map(lambda _: post(gateway, command()).status, range(500)))
        seconds = time.monotonic() - started
    assert set(answers) == {202}
    metrics = gateway.metrics()
    transactions = metrics["projectionist_gateway_transactions_total"]
    print(f"500 commands in {seconds:.1f} s, {transactions:.0f} transactions")
    assert transactions < 500  # of 1,000 publications
    assert metrics['projectionist_gateway_requests_total{route="command",code="202"}'] == 500
    assert len(published()) == 500


def test_missing_topic_is_named(gateways, service):
    kafka.delete_topics(KEYS)
    program = gateways.start()
    program.wait(1)
    program.wait_for_log(f"no topic {KEYS}; 'projectionist topics create'")


def test_an_empty_id_is_refused():
    refused = consumers.run(gateway_lib.PROGRAM, "--gateway-id", "")
    assert refused.returncode == 2
    assert "--gateway-id: must not be empty" in refused.stderr


@pytest.mark.parametrize("variables, reason", [
    ({"GATEWAY_UPSTREAM": "ftp://x"}, "--gateway-upstream"),
    ({"GATEWAY_UPSTREAM": "http://a:b@x"}, "--gateway-upstream"),
    ({"GATEWAY_LISTEN": "nowhere"}, "gateway address"),
    ({"KAFKA_TRANSACTIONAL_ID": "x"}, "transactional.id"),
])
def test_wrong_settings_are_named(gateways, variables, reason):
    program = gateways.start(**variables)
    program.wait(2)
    program.wait_for_log(reason)

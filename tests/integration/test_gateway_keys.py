# SPDX-License-Identifier: Apache-2.0
"""Whose a key is, what counts as the same content, and what becomes of commands that the service
refuses: control-gateway between its clients, the stand-in of the service, and Kafka."""

import concurrent.futures
import threading

import pytest

from lib import automation_http, gateway as gateway_lib, kafka
from lib.automation_service import AutomationService
from lib.database import wait_until
from lib.world import PROJECTOR
from lib.gateway import KEYS, Gateways, command, new_id, post, published, request


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
def gateway(gateways):
    return gateways()


def bodies(command_id=None):
    """What is published: ("CommandSubmitted", …) and ("CommandStatusChanged", status, error)."""
    return [(event["body"][0], event["body"][1].get("status"), event["body"][1].get("error"))
            for event in sorted(published(), key=lambda event: event["emitted_at"])
            if command_id in (None, event["command_id"])]


# --- the same content -------------------------------------------------------------------------


@pytest.mark.parametrize("first, second, same", [
    ('{"n":9007199254740993}', '{"n":9007199254740992}', False),
    ('{"n":0.1}', '{"n":0.1000000000000000055}', False),
    ('{"n":123456789012345678901234567890}', '{"n":123456789012345678901234567891}', False),
    ('{"n":1e-320}', '{"n":1.1e-320}', False),
    ('{"n":1}', '{"n":"1"}', False),
    ('{"n":"n1e0"}', '{"n":1}', False),
    ('{"n":[1,23]}', '{"n":[12,3]}', False),
    ('{"a":1}', '{"A":1}', False),
    ('{"n":null}', '{}', False),
    ('{"n":-1}', '{"n":1}', False),
    ('{"n":1}', '{"n":1.0}', True),
    ('{"n":120}', '{"n":1.2E+2}', True),
    ('{"n":0}', '{"n":-0.00e7}', True),
    ('{"a":{"b":1,"c":[true]},"t":"\\u00fc\\"\\\\"}', '{"t":"ü\\"\\\\", "a":{"c":[true],"b":1}}',
     True),
])
def test_content_is_compared_exactly(gateway, first, second, same):
    def body(payload):
        return f'{{"type":"flow.run","payload":{payload},"idempotency_key":"k"}}'.encode()

    assert post(gateway, body(first)).status == 202
    again = post(gateway, body(second))
    assert again.headers["Projectionist-Repeated"] == ("same" if same else "different-content")


def test_all_that_is_asked_for_is_content(gateway):
    """But not who asks, when, and on behalf of what."""
    post(gateway, command("k", priority=1, target={"platform": "x"}))
    for more, same in (({"requested_at": "2026-11-21T05:06:34.968Z", "correlation_id": new_id(),
                         "requester": {"service": "x"}, "command_id": new_id()}, True),
                       ({"priority": 2}, False), ({"target": {"platform": "y"}}, False),
                       ({"priority": None}, False)):
        again = post(gateway, command("k", **{"priority": 1, "target": {"platform": "x"}, **more}))
        assert again.headers["Projectionist-Repeated"] == ("same" if same
                                                           else "different-content"), more
    for body in (b'{"type":"x","payload":{"a":1,"\\u0061":2}}',
                 b'{"type":"x","payload":{"n":1e10000000000000000005}}'):
        assert post(gateway, body).status == 400, body


def test_another_content_under_the_same_key_at_the_same_time(gateway, service):
    service.hold_answers()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        first = pool.submit(post, gateway, command("k"))
        wait_until(lambda: service.held == 1, message="nothing was forwarded")
        same = pool.submit(post, gateway, command("k"))
        other = post(gateway, command("k", payload={"a": 2}))  # is not kept waiting
        assert other.status == 409 and other.headers["Projectionist-Repeated"] == "different-content"
        service.release_answers()
        assert first.result().content == same.result().content
    assert other.json["command_id"] == first.result().json["command_id"]
    assert set(service.executions.values()) == {1} and len(published()) == 1


# --- whose a key is ---------------------------------------------------------------------------


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def guarded(service, monkeypatch):
    """The service lets in who shows one of these tokens."""
    tokens = {"anna", "ben"}
    decide = automation_http._Handler._decide

    def checked(handler, service, url, body):
        if handler.headers.get("Authorization") not in [f"Bearer {token}" for token in tokens]:
            return 401, {"error": "Unauthorized"}
        return decide(handler, service, url, body)

    monkeypatch.setattr(automation_http._Handler, "_decide", checked)
    return tokens


def test_keys_belong_to_who_the_service_lets_in(gateways, service, guarded):
    gateway = gateways()
    for headers in ({}, bearer("carl"), {"Authorization": "Basic anna"}):
        answer = post(gateway, command("k", payload={"of": "nobody"}), headers=headers)
        assert answer.status == 401 and answer.json == {"error": "Unauthorized"}
    assert not published() and not kafka.read(KEYS) and not service.executions
    anna = post(gateway, command("k", payload={"of": "anna"}), headers=bearer("anna"))
    ben = post(gateway, command("k", payload={"of": "ben"}), headers=bearer("ben"))
    assert anna.status == ben.status == 202
    assert len(service.executions) == 2 == len(set(service.executions) | {
        anna.json["command_id"], ben.json["command_id"]})
    for restart in (False, True):
        if restart:
            gateway.kill()
            gateway = gateways()
        for name, first in (("anna", anna), ("ben", ben)):
            again = post(gateway, command("k", payload={"of": name}),
                         headers=bearer(name))
            assert again.status == 202 and again.headers["Projectionist-Repeated"] == "same"
            assert again.json["command_id"] == first.json["command_id"]
            by_id = post(gateway, command(payload={"of": name},
                                          command_id=first.json["command_id"]),
                         headers=bearer("ben" if name == "anna" else "anna"))
            assert by_id.status == 409 and "another caller" in by_id.json["error"]
        for headers in ({}, bearer("carl")):
            assert post(gateway, command("k", payload={"of": "anna"}),
                        headers=headers).status == 401
    text = b"".join(record.key + (record.value or b"") for record in kafka.read(KEYS))
    assert b"anna" not in text and b"ben" not in text and len(service.executions) == 2
    # A revoked token learns nothing more than what the service answers.
    guarded.remove("anna")
    assert post(gateway, command("k", payload={"of": "anna"}),
                headers=bearer("anna")).status == 401
    assert post(gateway, command("new"), headers=bearer("anna")).status == 401
    # While the service is away, a token that it has not let in lately publishes nothing.
    count = len(published())
    service.stop()
    assert post(gateway, command("n"), headers=bearer("carl")).status == 503
    assert len(published()) == count
    answer = post(gateway, command("n"), headers=bearer("ben"))
    assert answer.status == 503 and "published" in answer.json["error"]
    assert len(published()) == count + 1
    service.start()


# --- refused commands -------------------------------------------------------------------------


def refuse(service, status, headers=None, body=b'{"error":"not so"}'):
    service.routes[("POST", "/v1/commands")] = (status, headers or {}, [body])


def test_refused_commands_are_failed_and_their_keys_free(gateways, service):
    gateway = gateways()
    for status in (303, 400, 401, 403, 404, 409, 413, 422, 429):
        refuse(service, status, {"Retry-After": "30", "Location": "/x"})
        answer = post(gateway, command(str(status)))
        assert answer.status == status and answer.json == {"error": "not so"}
        assert answer.headers["Retry-After"] == "30" and answer.headers["Location"] == "/x"
        command_id = answer.headers["Projectionist-Command-Id"]
        assert bodies(command_id) == [
            ("CommandSubmitted", None, None),
            ("CommandStatusChanged", "FAILED",
             f"the service refuses the command (HTTP {status}): not so")]
        service.routes.clear()
        fixed = post(gateway, command(str(status), payload={"fixed": True}))
        assert fixed.status == 202 and fixed.json["command_id"] != command_id
        assert post(gateway, command(str(status), payload={"fixed": True})
                    ).headers["Projectionist-Repeated"] == "same"
    refuse(service, 503, {"Retry-After": "7"}, b"<html>")
    answer = post(gateway, command("503"))
    assert answer.status == 503 and answer.headers["Retry-After"] == "7"
    assert [status for _, status, _ in bodies(answer.headers["Projectionist-Command-Id"])] == [
        None, "FAILED"]
    assert gateway.metric("projectionist_gateway_refused_commands_total") == 10
    assert set(service.executions.values()) == {1} and len(service.executions) == 9


def test_refused_commands_in_the_table(world, gateways, service):
    gateway = gateways()
    refuse(service, 400, body=b'{"message":"no such type"}')
    refused = post(gateway, command("a")).headers["Projectionist-Command-Id"]
    refuse(service, 429)
    again = post(gateway, command("b")).headers["Projectionist-Command-Id"]
    service.routes.clear()
    assert post(gateway, command("b")).status == 202
    world.start(PROJECTOR, "--until-caught-up").wait(0)
    with world.database.cursor() as cursor:
        cursor.execute("SELECT command_id::text, type, status, idempotency_key, error_message "
                       "FROM safari_commands ORDER BY idempotency_key")
        assert [tuple(row.values()) for row in cursor] == [
            (refused, "flow.run", "FAILED", "a",
             "the service refuses the command (HTTP 400): no such type"),
            (again, "flow.run", "QUEUED", "b", None)]


@pytest.mark.parametrize("killed", [False, True])
def test_a_refused_command_that_comes_again_is_executed_once(gateways, service, killed):
    gateway = gateways()
    refuse(service, 429, {"Retry-After": "1"})
    first = post(gateway, command("k"))
    second = post(gateway, command("k"))
    assert first.status == second.status == 429
    command_id = first.headers["Projectionist-Command-Id"]
    if killed:
        gateway.kill()
        gateway = gateways()
    service.routes.clear()
    answers = [post(gateway, command("k")) for _ in range(2)]
    assert [answer.status for answer in answers] == [202, 202]
    assert {answer.json["command_id"] for answer in answers} == {command_id}
    assert service.executions == {command_id: 1}
    assert [status for _, status, _ in bodies(command_id)] == [
        None, "FAILED", "QUEUED", "FAILED", "QUEUED"]
    # Its id may not mean something else.
    refuse(service, 400)
    own = new_id()
    assert post(gateway, command(command_id=own)).status == 400
    other = post(gateway, command(command_id=own, payload={"b": 1}))
    assert other.status == 409 and "refused" in other.json["error"]


@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_what_is_not_known_to_be_refused_is_asked_for(gateways, service, status, executed):
    """It is no refusal, and not FAILED; whether it ran is asked, and it runs once in either case."""
    gateway = gateways()
    command_id = new_id()
    body = command("k", command_id=command_id)

    def answer():
        if executed:
            service.submit(dict(body))
        yield b'{"error":"broken"}'

    service.routes[("POST", "/v1/commands")] = (status, {}, answer)
    first = post(gateway, body)
    assert first.status == (202 if executed else status)
    assert [status for _, status, _ in bodies(command_id)] == [None]
    service.routes.clear()
    assert post(gateway, body).status == 202
    assert service.executions == {command_id: 1} and len(published()) == 1


def test_a_crash_between_refusal_and_its_record(gateways, service):
    gateway = gateways()
    body = command("k", command_id=new_id())
    go_on = threading.Event()

    def hold():
        go_on.wait(30)
        yield b'{"error":"no"}'

    service.routes[("POST", "/v1/commands")] = (400, {}, hold)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(post, gateway, body)
        wait_until(lambda: any(one[0] == "POST" for one in service.requests),
                   message="it was not forwarded")
        gateway.kill()
        go_on.set()
        assert waiting.exception() is not None
    gateway = gateways()
    assert post(gateway, body).status == 400
    assert [status for _, status, _ in bodies()] == [None, "FAILED"]
    service.routes.clear()
    assert post(gateway, body).status == 202 and service.executions == {body["command_id"]: 1}

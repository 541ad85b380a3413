# SPDX-License-Identifier: Apache-2.0
"""control-gateway while Kafka or the registry is unavailable: each command is published and
executed once, and every answer is true. The service is the stand-in."""

import concurrent.futures
import http.client
import json
import threading
import time

import pytest
from lib import gateway as gateway_lib
from lib.automation_service import AutomationService
from lib.database import wait_until
from lib.gateway import Gateways, command, listening, post, published, request
from world import away


@pytest.fixture
def service(servers):
    with AutomationService(speed=1000) as service:
        yield service


@pytest.fixture
def gateways(tmp_path, service):
    gateway_lib.new_topics()
    gateways = Gateways(tmp_path, service)
    yield gateways
    gateways.end()


def test_kafka_is_away(gateways, service):
    gateway = gateways(PUBLISH_TIMEOUT="2s")
    with away("kafka"):
        first = post(gateway, command("k"))
        assert first.status == 503 and "Kafka" in first.json["error"], first.json
        wait_until(lambda: gateway.get("/readyz")[0] == 503, message="it says that it is ready")
        assert gateway.get("/livez")[0] == 200
        opened = request(gateway.api, "POST", "/v1/sessions", {"platform": "x"})
        assert opened.status == 503 and "nothing was done" in opened.json["error"]
        assert request(gateway.api, "GET", "/v1/commands").status == 200
        assert not service.executions and not service.sessions
    wait_until(lambda: post(gateway, command("k")).status == 202, 60, "it does not recover")
    wait_until(lambda: gateway.get("/readyz")[0] == 200, message="it is not ready")
    assert len(published()) == 1 and set(service.executions.values()) == {1}
    assert list(service.executions) == [published()[0]["command_id"]]


def test_kafka_goes_away_while_a_session_is_opened(gateways, service):
    """The client gets no id that may never be published; nor is the session left open."""
    gateway = gateways(PUBLISH_TIMEOUT="2s")
    go_on = threading.Event()
    kept = {"id": gateway_lib.new_id(), "created_at": "2026-11-21T05:06:34.968Z",
            "status": "active", "platform": "x"}

    def hold():
        service.sessions[kept["id"]] = kept
        go_on.wait(60)
        yield json.dumps(kept).encode()

    service.routes[("POST", "/v1/sessions")] = (201, {}, hold)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(request, gateway.api, "POST", "/v1/sessions", {"platform": "x"})
        wait_until(lambda: service.sessions, message="it was not opened")
        with away("kafka"):
            go_on.set()
            answer = waiting.result()
            assert answer.status == 503 and "closed again" in answer.json["error"], answer.json
            assert kept["id"] not in str(answer.json) and kept["status"] == "closed"
    wait_until(lambda: [event["body"][0] for event in published("safari.sessions")]
               == ["SessionOpened", "SessionClosed"], 60, "its events are not published")


def test_kafka_restarts_in_mid_traffic(gateways, service):
    """Even for longer than the transaction timeout, so that their outcome is unknown."""
    gateway = gateways(PUBLISH_TIMEOUT="3s", TRANSACTION_TIMEOUT="5s")
    accepted, failures, stopping = {}, [], threading.Event()

    def client(number):
        step = 0
        while not stopping.is_set() or step == 0:
            key = f"{number}-{step}"
            while key not in accepted:
                try:
                    answer = post(gateway, command(key), timeout=30)
                except (OSError, http.client.HTTPException) as failure:
                    failures.append(repr(failure))
                    return
                if answer.status == 202:
                    accepted[key] = answer.json["command_id"]
                elif answer.status != 503:
                    failures.append((answer.status, answer.json))
                    return
            step += 1

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        running = [pool.submit(client, number) for number in range(20)]
        try:
            for seconds in (0, 7, 7, 7):
                seen = len(accepted)
                wait_until(lambda: len(accepted) > seen + 50, 90, "nothing goes on")
                with away("kafka"):
                    began = time.monotonic()
                    wait_until(lambda: time.monotonic() - began >= seconds)
            seen = len(accepted)
            wait_until(lambda: len(accepted) > seen + 50, 90, "nothing goes on")
        finally:
            stopping.set()
        for one in running:
            one.result()
    assert not failures, failures[:5]
    assert set(service.executions.values()) == {1}
    assert set(service.executions) == set(accepted.values())
    events = published()
    stored = {event["body"][1]["idempotency_key"]: event["command_id"] for event in events}
    assert len(events) == len(accepted) and stored == accepted
    print(f"{len(accepted)} commands")


def test_waits_for_the_registry_at_the_start(gateways, service):
    with away("registry"):
        program = gateways.start()
        program.wait_for_log("waiting for a server.*schema registry")
        assert program.get("/readyz")[0] == 503
    assert post(listening(program), command()).status == 202

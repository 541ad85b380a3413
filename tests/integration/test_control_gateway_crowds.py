# SPDX-License-Identifier: Apache-2.0
"""control-gateway with more clients, requests or open commands than it has room for: who is served
stays served, newcomers are told so, and nobody is starved by somebody else."""

import concurrent.futures
import http.client
import json
import re
import resource
import socket
import threading
import time

import pytest
from lib import gateway as gateway_lib
from lib.automation_service import AutomationService
from lib.database import wait_until
from lib.gateway import Gateways, command, post, read_answer, request


@pytest.fixture
def service():
    with AutomationService(speed=1000) as service:
        yield service


@pytest.fixture
def gateways(tmp_path, service):
    gateway_lib.new_topics()
    gateways = Gateways(tmp_path, service)
    yield gateways
    gateways.end()


class Slow:
    """A path of the service that answers on demand."""

    def __init__(self, service, path="/v1/slow"):
        self.path, self.go_on, self.held = path, threading.Event(), 0
        service.routes[("GET", path)] = (200, {}, self._answer)

    def _answer(self):
        self.held += 1
        self.go_on.wait(60)
        yield b"done"


def get(connection, path="/v1/sora/usage"):
    connection.request("GET", path)
    return read_answer(connection.getresponse()).status


def test_a_newcomer_too_many_disturbs_nobody(gateways, service):
    gateway = gateways(MAX_CONNECTIONS="10")
    clients = [http.client.HTTPConnection("127.0.0.1", gateway.api, timeout=30) for _ in range(10)]
    assert [get(client) for client in clients] == [200] * 10
    for _ in range(3):
        newcomers = [socket.create_connection(("127.0.0.1", gateway.api), timeout=30)
                     for _ in range(20)]
        for newcomer in newcomers:  # told at once, without having asked anything
            told = newcomer.recv(4096)
            assert told.startswith(b"HTTP/1.1 503 ") and b"\r\nRetry-After: 1\r\n" in told
            assert b"\r\nConnection: close\r\n" in told and b"too many connections" in told
        assert [get(client) for client in clients] == [200] * 10
        for newcomer in newcomers:
            newcomer.close()
    assert gateway.metric("projectionist_gateway_refused_connections_total") == 60
    assert gateway.log.count("new connections are refused") == 1
    clients.pop().close()
    wait_until(lambda: post(gateway, command()).status == 202, message="there is no room")
    # Who has nothing under way for a while makes room, and not who has.
    slow = Slow(service)
    clients[0].request("GET", slow.path)
    kept = [socket.create_connection(("127.0.0.1", gateway.api), timeout=30) for _ in range(8)]
    wait_until(lambda: post(gateway, command()).status == 202, message="nobody makes room")
    slow.go_on.set()
    assert clients[0].getresponse().read() == b"done"
    for connection in kept + clients:
        connection.close()


def used_cpu(program):
    """Seconds."""
    with open(f"/proc/{program.pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_without_descriptors_nothing_spins_and_who_is_served_is_served(gateways, service):
    gateway = gateways()
    before = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)
    first = http.client.HTTPConnection("127.0.0.1", gateway.api, timeout=30)
    assert get(first) == 200
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (80, before[1]))
    crowd = [socket.create_connection(("127.0.0.1", gateway.api), timeout=30) for _ in range(200)]
    gateway.wait_for_log("few descriptors are left|no descriptor is left")
    began, used = time.monotonic(), used_cpu(gateway)
    for _ in range(20):
        assert get(first) == 200  # for which it needs connections to the service
        first.request("POST", "/v1/commands", b'{"type":"flow.run"}')
        assert read_answer(first.getresponse()).status == 202
        assert gateway.get("/livez")[0] == 200
        wait_until(lambda: time.monotonic() - began >= 2)
    used = used_cpu(gateway) - used
    print(f"{used:.2f} s of CPU in {time.monotonic() - began:.1f} s")
    assert used < 0.5 * (time.monotonic() - began)
    assert "service is away" not in gateway.log
    assert len(re.findall("descriptor[s]? (are|is) left", gateway.log)) <= 2
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, before)
    wait_until(lambda: post(gateway, command()).status == 202, message="it does not recover")
    for connection in crowd:
        connection.close()


def test_the_service_is_shared_fairly_and_its_queue_is_bounded(gateways, service):
    gateway = gateways(MAX_CONCURRENT="4", MAX_CONNECTIONS="500")
    slow = Slow(service)
    with concurrent.futures.ThreadPoolExecutor(120) as pool:
        greedy = [pool.submit(request, gateway.api, "GET", slow.path) for _ in range(120)]
        # Two in work, the others are kept for other clients and what is not passed through; and half
        # of 128 may wait.
        wait_until(lambda: slow.held == 2, message="not two are in work")
        wait_until(lambda: sum(one.done() for one in greedy) == 54, message="not 54 are refused")
        refused = [one.result() for one in greedy if one.done()]
        assert {answer.status for answer in refused} == {503}
        assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
        assert "too many requests" in refused[0].json["error"]
        assert post(gateway, command()).status == 202
        assert request(gateway.api, "GET", "/health").status == 200
        # Another client does not queue after all of those.
        modest = http.client.HTTPConnection("127.0.0.1", gateway.api, timeout=30,
                                            source_address=("127.0.0.2", 0))
        assert get(modest) == 200 and slow.held == 2
        # Nor after those of a third, where all places are taken.
        held = http.client.HTTPConnection("127.0.0.1", gateway.api, timeout=30,
                                          source_address=("127.0.0.3", 0))
        held.request("GET", slow.path)
        wait_until(lambda: slow.held == 3, message="not three are in work")
        order = []
        waiting = pool.submit(get, modest)
        waiting.add_done_callback(lambda _: order.append(slow.held))
        wait_until(lambda: gateway.metric("projectionist_gateway_connections") == 68,
                   message="it does not wait")
        slow.go_on.set()
        assert waiting.result() == 200
        assert order[0] < 40, "it waited for those of the other client"
        assert held.getresponse().read() == b"done"
        held.close()
        assert [one.result().status for one in greedy].count(200) == 66
        modest.close()


def test_of_many_who_ask_again_at_once_none_is_starved(gateways, service):
    """More than may wait, and each asks again as soon as it is answered; who is refused does so after
    the second that it is told."""
    gateway = gateways(MAX_CONCURRENT="4")
    service.delay_answers(0.05)
    clients, within = 130, 60  # of one address 96 may wait, 72 of them just served
    served, refused = [0] * clients, [0] * clients
    until = time.monotonic() + within

    def ask(number):
        """Until each has been served."""
        connection = http.client.HTTPConnection("127.0.0.1", gateway.api, timeout=60)
        while min(served) == 0 and time.monotonic() < until:
            connection.request("POST", "/v1/commands", json.dumps(command()))
            answer = read_answer(connection.getresponse())
            assert answer.status in (202, 503), answer.json
            served[number] += answer.status == 202
            if answer.status == 503:
                refused[number] += 1
                time.sleep(int(answer.headers["Retry-After"]))
        connection.close()

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        list(pool.map(ask, range(clients)))
    service.delay_answers(0)
    print(f"served {min(served)} to {max(served)} times, refused {sum(refused)} times")
    assert sum(refused) > 0
    assert min(served) > 0


def test_a_request_that_waits_too_long_gets_503(gateways, service):
    gateway = gateways(MAX_CONCURRENT="4", UPSTREAM_TIMEOUT="2s")
    service.delay_answers(3)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: request(gateway.api, "GET", "/v1/x"), range(20)))
    service.delay_answers(0)
    assert {answer.status for answer in answers} == {503}
    assert {answer.headers["Retry-After"] for answer in answers} == {"1"}
    assert any("too many requests" in answer.json["error"] for answer in answers)
    wait_until(lambda: request(gateway.api, "GET", "/v1/sora/usage").status == 200)


def test_open_commands_do_not_hold_up_a_restart(gateways, service):
    gateway = gateways(UPSTREAM_TIMEOUT="1s")
    service.drop_answers(10**6, before=True)
    bodies = [command(f"open-{number}") for number in range(60)]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert {answer.status for answer in pool.map(lambda body: post(gateway, body), bodies)} \
            == {503}
    gateway.kill()
    service.drop_answers(0, before=True)
    service.delay_answers(0.5)
    began = time.monotonic()
    gateway = gateways()
    took = time.monotonic() - began
    print(f"listens after {took:.1f} s")
    assert took < 12  # of 30 s that the service takes for one after the other
    # They are in hand meanwhile: who repeats one waits for that, and it is executed once.
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert {answer.status for answer in pool.map(lambda body: post(gateway, body), bodies)} \
            == {202}
    assert len(service.executions) == 60 and set(service.executions.values()) == {1}

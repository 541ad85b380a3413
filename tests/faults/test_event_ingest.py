# SPDX-License-Identifier: Apache-2.0
"""event-ingest that is killed, and whose Kafka restarts, while clients post and repeat what was not
answered: each request is published once, and every answer is true."""

import concurrent.futures
import http.client
import threading
import time
import uuid
from collections import Counter

import pytest
from lib import ingest as lib
from lib.database import wait_until
from lib.ingest import Ingests, note, post, published, taken
from lib.kafka_proxy import FENCED, KafkaProxy
from world import away

CLIENTS = 12


@pytest.fixture
def ingests(tmp_path, servers):
    lib.new_topics()
    ingests = Ingests(tmp_path)
    yield ingests
    ingests.end()


class Clients:
    """They post one request after the other, each until it is answered with 202, to the ingest that
    is there. Half of them name their events, the others have Idempotency-Keys."""

    def __init__(self, ingest):
        self.ingest = ingest
        self.answered = {}  # by the texts of a request: its ids
        self.failures = []
        self._stopping = threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(CLIENTS)
        self._running = [self._pool.submit(self._run, number) for number in range(CLIENTS)]

    def _run(self, number):
        step = 0
        while not self._stopping.is_set():
            text = f"{number}-{step}"
            sent = [note(text, note_id=str(number)), note(text, note_id=str(number))]
            if number % 2:
                for event in sent:
                    event.update(event_id=str(uuid.uuid4()), emitted_at=int(time.time() * 1e6))
            self._post(text, sent, None if number % 2 else text)
            step += 1

    def _post(self, text, sent, key):
        while not (self._stopping.is_set() and self.failures):
            try:
                answer = post(self.ingest, sent, key=key, timeout=30)
            except (OSError, http.client.HTTPException):  # it was killed: whoever is there now
                time.sleep(0.05)
                continue
            if answer.status == 202:
                self.answered[text] = answer.json["event_ids"]
                return
            if answer.status != 503:
                self.failures.append((answer.status, answer.json))
                return

    def go_on(self, requests=40):
        seen = len(self.answered)
        wait_until(lambda: len(self.answered) > seen + requests or self.failures, 120,
                   "nothing goes on")

    def stop(self):
        self._stopping.set()
        for one in self._running:
            one.result()
        self._pool.shutdown()

    def check(self):
        """Of a named event there may be two records, which are the same event."""
        assert not self.failures, self.failures[:5]
        wait_until(lambda: {event.text for event in published()} >= self.answered.keys(), 60,
                   lambda: "what was answered is not there: "
                           f"{sorted(self.answered.keys() - {event.text for event in published()})}")
        ids = {}
        for event in published():
            ids.setdefault(event.text, Counter())[event.event_id] += 1
        assert {text: set(found) for text, found in ids.items()} == {
            text: set(answered) for text, answered in self.answered.items()}
        for text, found in ids.items():
            if int(text.split("-")[0]) % 2 == 0:
                assert set(found.values()) == {1} and len(found) == 2, (text, found)
        print(f"{len(self.answered)} requests")


def test_it_is_killed_in_mid_traffic(ingests):
    clients = Clients(ingests())
    try:
        for _ in range(3):
            clients.go_on()
            clients.ingest.kill()
            clients.ingest = ingests()
        clients.go_on()
    finally:
        clients.stop()
    clients.check()


def test_kafka_restarts_in_mid_traffic(ingests):
    """Once for longer than the transaction's time-out, so that its outcome is unknown."""
    clients = Clients(ingests(PUBLISH_TIMEOUT="3s", TRANSACTION_TIMEOUT="5s"))
    try:
        for seconds in (0, 7):
            clients.go_on()
            with away("kafka"):
                began = time.monotonic()
                wait_until(lambda: time.monotonic() - began >= seconds)
        clients.go_on()
    finally:
        clients.stop()
    clients.check()


def test_a_late_end_of_a_transaction_meets_no_later_one(ingests):
    """The coordinator's connection is cut at EndTxn, which arrives when the next transaction is open."""
    with KafkaProxy() as proxy:
        ingest = ingests(KAFKA_BOOTSTRAP_SERVERS=proxy.address)
        assert taken(ingest, note("a")).status == 202
        proxy.delay_commit()
        for text in ("b", "c"):
            assert taken(ingest, note(text)).status == 202
        assert proxy.arrived.wait(30)
        assert proxy.late_error in FENCED
        assert taken(ingest, note("d")).status == 202
    wait_until(lambda: len(published()) >= 4)
    assert [event.text for event in published()] == ["a", "b", "c", "d"]


def test_kafka_is_away(ingests):
    ingest = ingests(PUBLISH_TIMEOUT="2s")
    with away("kafka"):
        answer = post(ingest, note("x"), key="k")
        assert answer.status == 503 and int(answer.headers["Retry-After"]) >= 1, answer.json
        wait_until(lambda: ingest.get("/readyz")[0] == 503, message="it says that it is ready")
        assert ingest.get("/livez")[0] == 200
    wait_until(lambda: post(ingest, note("x"), key="k").status == 202, 60, "it does not recover")
    wait_until(lambda: ingest.get("/readyz")[0] == 200, message="it is not ready")
    wait_until(published, message="it is not published")
    assert [event.text for event in published()] == ["x"]


def test_waits_for_the_registry_at_the_start(ingests):
    with away("registry"):
        program = ingests.start()
        program.wait_for_log("waiting for a server.*schema registry")
        assert program.get("/readyz")[0] == 503
    program.api = int(program.wait_for_log(r"msg=listening port=(\d+)")[1])
    assert post(program, note()).status == 202

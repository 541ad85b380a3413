# SPDX-License-Identifier: Apache-2.0
"""How many commands a second clients get through control-gateway, and how long each waits, beside what
the stand-in for the automation service takes from them directly."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from lib import gateway, kafka
from runs import quantile
from servers import REPOSITORY, BenchError, Clock, own_seconds

CLIENTS, MANY = 200, 2000
SECONDS, WARM_UP = 30, 3
DIRECT_SECONDS = 15
ANSWER_SECONDS = 60


class Client:
    """Posts commands one after the other on one connection; a refusal is tried again when its
    Retry-After says."""

    def __init__(self, port):
        self.port = port
        self.reader = self.writer = None
        self.taken = []  # (end, seconds since it was first sent, command_id)
        self.refused = 0
        self.unclear = []  # refusals without a Retry-After, and other answers

    async def connect(self):
        while True:
            try:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
                return
            except OSError:
                await asyncio.sleep(0.2)

    async def ask(self, body):
        """(status, headers, body); None where the connection ended without an answer."""
        if self.writer is None:
            await self.connect()
        try:
            self.writer.write(b"POST /v1/commands HTTP/1.1\r\nHost: localhost\r\n"
                              b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                              % (len(body), body))
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            content = await self.reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return None
        if b"connection: close" in head:
            self.close()
        return int(head.split(b" ", 2)[1]), head, content

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.writer = None

    async def run(self, until):
        while (began := time.monotonic()) < until:
            body = json.dumps({"type": "flow.run", "payload": {"flow": "warm", "steps": 3},
                               "idempotency_key": str(uuid.uuid4())}).encode()
            while True:
                answer = await self.ask(body)
                now = time.monotonic()
                if answer is None:
                    await asyncio.sleep(0.2)
                elif answer[0] == 202:
                    self.taken.append((now, now - began, json.loads(answer[2])["command_id"]))
                    break
                elif answer[0] == 503 and b"retry-after: " in answer[1]:
                    self.refused += 1
                    await asyncio.sleep(int(answer[1].split(b"retry-after: ")[1]
                                            .split(b"\r\n")[0]))
                else:
                    self.unclear.append(answer[0])
                    break
                if now > until + ANSWER_SECONDS:
                    return
        self.close()


async def post(port, count, seconds):
    clients = [Client(port) for _ in range(count)]
    for client in clients:
        await client.connect()
    begin = time.monotonic() + WARM_UP
    await asyncio.gather(*(client.run(begin + seconds) for client in clients))
    return clients, begin


def load(port, count, seconds):
    clock = Clock()
    clients, begin = asyncio.run(post(port, count, seconds))
    cpu = clock.read()
    unclear = [status for client in clients for status in client.unclear]
    if unclear:
        raise BenchError(f"{len(unclear)} answers are none that a client can go by, such as "
                         f"{unclear[0]}")
    counted = [one for client in clients for one in client.taken
               if begin <= one[0] < begin + seconds]
    waits = sorted(1000 * waited for _, waited, _ in counted)
    each = [len(client.taken) for client in clients]
    return {"rate": len(counted) / seconds, "p50": quantile(waits, 0.5),
            "p99": quantile(waits, 0.99), "most": waits[-1], "least_of_a_client": min(each),
            "most_of_a_client": max(each), "refused": sum(client.refused for client in clients),
            "ids": [one[2] for client in clients for one in client.taken], "cpu": cpu}


class Service:
    """The stand-in, in a process of its own, where nobody is subscribed."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.lib.automation_service", "--http-port", "0",
             "--stream-port", "0", "--speed", "1000", "--workers", "8"],
            cwd="/", env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.url = self.process.stdout.readline().split()[1].rstrip(",")
        self.port = int(self.url.rpartition(":")[2])
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def direct():
    """What the stand-in alone takes from them."""
    with Service() as service:
        figures = load(service.port, CLIENTS, DIRECT_SECONDS)
    del figures["ids"]
    return figures


def through(count, seconds=SECONDS):
    """The same through the gateway; each command must be published once."""
    gateway.new_topics(partitions=12)
    with Service() as service:
        gateways = gateway.Gateways(Path(tempfile.mkdtemp(prefix="bench-gateway-")), service)
        try:
            running = gateways()
            used, of_service = own_seconds(running.pid), own_seconds(service.process.pid)
            figures = load(running.api, count, seconds)
            figures["gateway"] = own_seconds(running.pid) - used
            figures["service"] = own_seconds(service.process.pid) - of_service
            transactions = running.metric("projectionist_gateway_transactions_total")
        finally:
            gateways.end()
    figures["a_transaction"] = len(figures["ids"]) / transactions
    keys = [record.key.decode() for record in kafka.read("safari.commands")]
    if sorted(keys) != sorted(figures.pop("ids")):
        raise BenchError(f"{len(keys):,} commands are in Kafka, which is not each that was accepted, "
                         "once")
    return figures

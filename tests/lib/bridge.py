# SPDX-License-Identifier: Apache-2.0
"""What tests of the telemetry bridge share: its topics, its process, what came out of it, and a
service whose frames the test writes itself."""

import asyncio
import json
import threading
import uuid

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from lib import avro, database, events, kafka

LETTERS = "safari.telemetry.dead-letters"
CURSORS = "safari.bridge-cursors"
PROGRAM = "telemetry-bridge"
QUICK = {"RECONNECT_MAX": "300ms"}


def new_topics():
    """The bridge's own topics, empty."""
    kafka.new_topics(LETTERS, partitions=1)
    kafka.new_topics(CURSORS, partitions=1, config={"cleanup.policy": "compact"})


def start(consumers, url, *arguments, **variables):
    """Starts a bridge at a service; lib.consumers.Consumers keeps it."""
    return consumers.start(PROGRAM, *arguments, TELEMETRY_URL=url, **{**QUICK, **variables})


def subscribe(bridge):
    """Waits until it is subscribed, and gives it back."""
    bridge.wait_until_ready()
    return bridge


def place(cursor):
    ms, counter = cursor.split("-")
    return int(ms), int(counter)


def decoded(topic):
    """[(record, event)] of what is committed in a topic."""
    schema = avro.schema_text(topic)
    return [(record, avro.decode(record.value, schema)[1]) for record in kafka.read(topic)]


def telemetry():
    """The committed telemetry events in the order of the stream; those without a cursor last."""
    found = [event for _, event in decoded(events.TELEMETRY)]
    return sorted(found, key=lambda event: place(event["cursor"]) if event["cursor"] else (2**63, 0))


def gaps():
    """The payloads of telemetry.gap."""
    return [json.loads(event["payload"]) for event in telemetry()
            if event["type"] == "telemetry.gap"]


def letters():
    """[(value, headers)] of the dead letters, in order."""
    return [(record.value, {name: value.decode() for name, value in record.headers})
            for record in kafka.read(LETTERS)]


def wait_for_events(count, deadline=30):
    """Waits until so many telemetry events are committed, and gives the first read of them."""
    return _wait_for(count, telemetry, "events", deadline)


def wait_for_letters(count, deadline=30):
    return _wait_for(count, letters, "dead letters", deadline)


def _wait_for(count, read, what, deadline):
    def there():
        found = read()
        assert len(found) >= count, f"{len(found)} of {count} {what} are there"
        return found
    return database.wait_until(there, deadline)


def frame(ms, counter, type="action.attempted", **more):
    """A frame of wire v1 at that place."""
    made = {"version": "1.0", "event_id": str(uuid.uuid4()), "cursor": f"{ms}-{counter}",
            "emitted_at": "2026-11-21T05:06:34.968Z", "severity": "info", "type": type,
            "payload": {"number": counter}}
    made.update(more)
    return made


class ScriptedService:
    """A WebSocket server whose buffer, greeting and frames are the test's to write: `buffer` is the
    list of frames (dicts, or text and bytes as they are) that it replays from, as the service does.

        with ScriptedService() as service:
            service.send(frame(...))      to who is subscribed, and into the buffer
            service.start_over([...])     cuts, and has that buffer
    """

    def __init__(self, answers_pings=True):
        self.buffer = []
        self.burned = (1, 0)  # the greeting of an empty buffer: (ms, counter)
        self.subscriptions = []
        self.connections = 0
        self.pings = 0
        self.answers_pings = answers_pings
        self._subscribed = set()
        self._lock = threading.RLock()

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}/v1/stream"

    def _run(self, ready):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen(ready))

    async def _listen(self, ready):
        self._stopping = asyncio.Event()
        async with serve(self._handle, "127.0.0.1", 0, compression=None,
                         ping_interval=None) as server:
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            await self._stopping.wait()

    def _greeting(self):
        if not self.buffer:
            ms, counter = self.burned
            self.burned = (ms, counter + 1)
            return f"{ms}-{counter + 1}"
        return next(item["cursor"] for item in reversed(self.buffer) if isinstance(item, dict))

    async def _handle(self, connection):
        self.connections += 1
        try:
            await connection.send(json.dumps({"type": "connected", "message": "hello",
                                              "cursor": self._greeting()}))
            async for text in connection:
                asked = json.loads(text)
                if asked["type"] == "ping":
                    self.pings += 1
                    if self.answers_pings:
                        await connection.send(json.dumps({"type": "pong", "timestamp": "now"}))
                    continue
                self.subscriptions.append(asked)
                for item in self._after(asked.get("cursor")):
                    await self._send(connection, item)
                await connection.send(json.dumps({"type": "subscribed",
                                                  "cursor": self._greeting()}))
                self._subscribed.add(connection)
        except ConnectionClosed:
            pass
        finally:
            self._subscribed.discard(connection)

    def _after(self, cursor):
        for place_of, item in enumerate(self.buffer):
            if isinstance(item, dict) and item.get("cursor") == cursor:
                return self.buffer[place_of + 1:]
        return list(self.buffer)

    @staticmethod
    async def _send(connection, item):
        if isinstance(item, bytes):  # as text, whatever it holds
            await connection.send(item, text=True)
        else:
            await connection.send(item if isinstance(item, str) else json.dumps(item))

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def send(self, *items, keep=True):
        """To all that are subscribed, when somebody is; keep: into the buffer, too."""
        database.wait_until(lambda: self._subscribed, message="nobody is subscribed")
        async def send_all():
            for item in items:
                if keep:
                    self.buffer.append(item)
                for connection in list(self._subscribed):
                    await self._send(connection, item)
        self._call(send_all())

    def start_over(self, buffer=(), burned=(1, 0)):
        """As after a restart with that buffer: connections are cut."""
        async def cut():
            self.buffer = list(buffer)
            self.burned = burned
            for connection in list(self._subscribed):
                connection.transport.abort()
            self._subscribed.clear()
        self._call(cut())

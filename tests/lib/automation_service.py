# SPDX-License-Identifier: Apache-2.0
"""Stands in for the automation service, which drives a browser on a Mac: the control API over HTTP
and the telemetry over a WebSocket, with every way of the real one to surprise its clients.

    with AutomationService(speed=1000) as service:
        service.url, service.stream_url       http://127.0.0.1:…, ws://127.0.0.1:…/v1/stream
        service.emit("rate.limited", {})      one frame
        flow = service.inject(100_000, rate=5000); flow.wait(60)
        service.cut(mid_frame=True)           every WebSocket ends in the middle of a frame
        service.restart()                     same ports, and it remembers nothing
        service.hold_answers(); …; service.release_answers()
        service.executions, service.posts     by command id: how often it ran, was posted
        service.frames()                      all it has ever sent, restarts included

As a program, for people and for deploy/local/demo --live: see `python -m
tests.lib.automation_service --help`.

What it does as the real one was seen to do:

- the buffer is the last 10,000 events; a cursor that is not in it replays all of it, and nothing
  says so; `<ms>-<counter>` is not zero-padded, many events share a millisecond, and whoever
  connects (or asks for the cursor) while the buffer is empty burns a value of the counter;
- a restart empties buffer, history, sessions and idempotency keys; the counter starts at 1;
- a command that is cancelled is executed all the same: QUEUED, CANCELLED, RUNNING, SUCCEEDED;
- the answer to a new command is 202, with QUEUED, RUNNING, SUCCEEDED or FAILED in it;
- a repeated idempotency key gives the first command's id and state; a command_id that is repeated
  without one runs again;
- a session has an id of the service, also where the body of the request has one, which the answer
  repeats in its place; one that was closed stays there, and can be closed again;
- it never waits for a slow reader of its frames.

What nobody has told us is ours: an unknown id is answered 404 (400 for a cancel), wire v2 has its results' members beside `status` in `data`, a `timestamp` in
RFC 3339, and the same greetings as v1 without cursors.
"""

import argparse
import asyncio
import collections
import contextlib
import json
import logging
import signal
import ssl
import sys
import threading
import time
import urllib.parse
import uuid
from datetime import datetime, timezone
from pathlib import Path

from websockets.asyncio import server as websocket_server
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from . import automation_http
from .automation_commands import RATES_HELP, USAGE, End, Rates, is_queued, lifecycle

CAPACITY = 10_000
HTTP_PORT, STREAM_PORT = 7070, 7071
STREAM_PATH = "/v1/stream"
QUEUED_SECONDS = 3.0  # at least, at speed 1
DEADLINE = 120  # seconds; a busy machine replays a hundred thousand frames to each that subscribes
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "projectionist/tests/automation-service")
ENDED = ("SUCCEEDED", "FAILED")

V2_STATUSES = {"QUEUED": "PENDING"}
V2_NAMES = {"video_path": "videoPath", "file_path": "videoPath", "file_size": "fileSize",
            "cleaned_path": "cleanedPath", "cleaned_size": "cleanedSize",
            "output_path": "cleanedPath", "input_path": "inputPath", "video_url": "videoUrl",
            "duration_ms": "durationMs", "will_clean": "willClean",
            "batch_index": "batchIndex", "batch_total": "batchTotal",
            "clean_error": "cleanError", "session_id": "sessionId"}


def rfc3339(ms):
    """A time in ms since 1970 as the service writes it."""
    text = datetime.fromtimestamp(ms // 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{ms % 1000:03}Z"


def now_ms():
    return time.time_ns() // 1_000_000


def compact(content):
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def put(connection, texts):
    """Sends frames, in one write: newer versions of asyncio add up at each what waits already."""
    if texts and connection.state is State.OPEN:
        for text in texts:
            connection.protocol.send_text(text.encode())
        connection.transport.write(b"".join(connection.protocol.data_to_send()))


class Subscriber:
    """A WebSocket: what it asked for, and from which event on it gets them live."""

    def __init__(self, connection):
        self.connection = connection
        self.filters = {}
        self.live_from = None  # number of the first event; None: not subscribed

    def wants(self, number, frame):
        if self.live_from is None or number < self.live_from:
            return False
        return not self.filters or passes(frame, self.filters)


def passes(frame, filters):
    """Whether a frame is one of those that were asked for."""
    for name, key in (("severity", "severity"), ("event_types", "type")):
        if filters.get(name) and frame.get(key) not in filters[name]:
            return False
    target = frame.get("target") or {}
    return all(target.get(name) == filters[name]
               for name in ("session_id", "account_id", "platform") if filters.get(name))


class Flow:
    """Frames that are sent at a rate, in a thread."""

    def __init__(self, service, count, rate, make):
        self.sent = 0
        self._service, self._count, self._rate, self._make = service, count, rate, make
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def wait(self, seconds=DEADLINE):
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"{self.sent} of {self._count} frames were sent"

    @property
    def done(self):
        return not self._thread.is_alive()

    def stop(self):
        self._stopping.set()
        self._thread.join(DEADLINE)

    def _send(self):
        started = time.monotonic()
        while self.sent < self._count and not self._stopping.is_set():
            if not self._service.running.wait(0.05):  # it starts again: nothing happens meanwhile
                started = time.monotonic() - self.sent / self._rate
                continue
            due = min(int((time.monotonic() - started) * self._rate) + 1, self._count)
            if due > self.sent:
                events = [self._make(number) for number in range(self.sent, due)]
                if self._service.emit_all(events):
                    self.sent = due
            self._stopping.wait(0.004)


def usual_event(number):
    """The event of that number in a stream of whole sora.generate.clean runs, 16 at a time."""
    round_number, place = divmod(number, 128)
    step, lane = divmod(place, 16)
    command = str(uuid.uuid5(NAMESPACE, f"flow {round_number * 16 + lane}"))
    steps = [("status.changed", {"command_id": command, "status": "QUEUED"}),
             ("status.changed", {"command_id": command, "status": "RUNNING"})]
    for made in lifecycle(command, "sora.generate.clean", {"prompt": "a lighthouse"}):
        steps.append(status_frame(command, made) if isinstance(made, End)
                     else (made.type, made.payload))
    kind, payload = steps[step]
    return {"type": kind, "payload": payload, "command_id": command}


def status_frame(command_id, end):
    payload = {"command_id": command_id, "status": end.status}
    if end.result is not None:
        payload["result"] = end.result
    if end.error is not None:
        payload["error"] = end.error
    return "status.changed", payload


class AutomationService:
    """See the module. Listens on 127.0.0.1 only.

    http_port, stream_port: 0 is any that is free, kept over a restart
    wire: 1, or 2 for the later build, which has no cursors and replays nothing
    speed: how many times faster than in life commands run; math.inf is at once
    workers: how many queued commands run at the same time
    token: the Bearer token that all but /health and /ready needs
    tls: an ssl.SSLContext, for https and wss
    """

    def __init__(self, *, http_port=0, stream_port=0, wire=1, speed=1000.0, workers=8, token=None,
                 rates=Rates(), capacity=CAPACITY, tls=None):
        self.http_port, self.stream_port = http_port, stream_port
        self.wire, self.speed, self.workers, self.token = wire, speed, workers, token
        self.rates, self.capacity, self.tls = rates, capacity, tls
        self.running = threading.Event()
        # For the test, whatever restarts: what really happened.
        self.executions = collections.Counter()
        self.posts = collections.Counter()
        self.requests = []  # (method, path, headers, body)
        self.connections = 0  # WebSockets there have been
        self.http_connections = 0  # likewise
        self.subscriptions = []  # what was asked for: the messages
        self.routes = {}  # {(method, path): (status, headers, parts of the body)} for a test
        self.held = 0  # answers that wait now
        self._lock = threading.RLock()
        self._texts = []  # of all frames ever
        self._last_ms = 0
        self._hold = {"before": threading.Event(), "after": threading.Event()}
        self.release_answers()
        self._delay = 0.0
        self._drops = {"before": 0, "after": 0}
        self._forget()

    # --- start and stop ----------------------------------------------------------------------

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    @property
    def url(self):
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.http_port}"

    @property
    def stream_url(self):
        return f"ws{'s' if self.tls else ''}://127.0.0.1:{self.stream_port}{STREAM_PATH}"

    def start(self):
        assert not self.running.is_set(), "it runs already"
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        failed = []
        self._thread = threading.Thread(target=self._serve, args=(ready, failed), daemon=True)
        self._thread.start()
        ready.wait()
        if failed:
            self._thread.join()
            raise failed[0]
        try:
            self._http = automation_http.Server(self, self.http_port)
        except OSError:
            self._end_loop()
            raise
        self.http_port = self._http.port
        self.running.set()
        return self

    def stop(self):
        """As if it were killed: connections are cut, and what it knew is gone."""
        with self._lock:
            if not self.running.is_set():
                return
            self.running.clear()
        self.release_answers()
        self._http.close()
        self._end_loop()
        self._forget()

    def restart(self):
        self.stop()
        self.start()

    def _end_loop(self):
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the stand-in's loop does not end"

    def _forget(self):
        with self._lock:
            self._buffer = collections.deque(maxlen=self.capacity)  # (number, cursor, frame, text)
            self._counter = 0
            # Where its clock stands still, the order of events would be that of the counter alone.
            self._last_ms += 1
            self._commands = {}  # by command_id
            self._keys = {}  # idempotency key: command_id
            self.sessions = {}

    def _serve(self, ready, failed):
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._listen(ready))
        except OSError as error:
            failed.append(error)
            ready.set()
        finally:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _listen(self, ready):
        self._stopping = asyncio.Event()
        self._subscribers = set()
        self._free = asyncio.Semaphore(self.workers)
        self._tasks = set()
        listening = await websocket_server.serve(
            self._handle, "127.0.0.1", self.stream_port, ssl=self.tls, compression=None,
            process_request=self._check_upgrade, ping_interval=20, ping_timeout=20,
            logger=_quiet_logger())
        self.stream_port = listening.sockets[0].getsockname()[1]
        ready.set()
        await self._stopping.wait()
        for task in list(self._tasks):
            task.cancel()
        self._cut_now(False)
        listening.close(close_connections=False)
        await listening.wait_closed()

    # --- frames ------------------------------------------------------------------------------

    def emit(self, type, payload=None, *, command_id=None, severity="info", **more):
        """Sends a frame. more: other top-level members, such as target."""
        self.emit_all([{"type": type, "payload": payload, "command_id": command_id,
                        "severity": severity, **more}])

    def emit_all(self, events):
        """Sends frames, as many as possible in one millisecond; false where it does not run."""
        with self._lock:
            if not self.running.is_set():
                return False
            made = [self._make(event) for event in events]
            self._loop.call_soon_threadsafe(self._deliver, made)
            return True

    def send_raw(self, message):
        """Sends text (or bytes: a binary frame) as it is to who is subscribed; it is in no
        buffer."""
        def send():
            websocket_server.broadcast(
                [one.connection for one in self._subscribers if one.live_from is not None],
                message)
        self._loop.call_soon_threadsafe(send)

    def frames(self):
        """All frames ever sent, in order, parsed."""
        return [json.loads(text) for text in self.frame_texts()]

    def frame_texts(self):
        with self._lock:
            return list(self._texts)

    @property
    def frame_count(self):
        return len(self._texts)

    def inject(self, count, rate, make=usual_event):
        """Sends make(0), make(1), … (arguments of emit as dicts) at so many a second."""
        return Flow(self, count, rate, make)

    def cut(self, mid_frame=True):
        """Cuts every WebSocket, in the middle of a frame or not; how many there were."""
        return self._in_loop(lambda: self._cut_now(mid_frame))

    def subscribers(self):
        """How many get frames live."""
        return self._in_loop(lambda: sum(one.live_from is not None
                                         for one in self._subscribers))

    def _in_loop(self, function):
        async def call():
            return function()
        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(DEADLINE)

    def _clock(self):
        self._last_ms = max(self._last_ms, now_ms())
        return self._last_ms

    def _next_cursor(self):
        self._counter += 1
        return f"{self._clock()}-{self._counter}"

    def current_cursor(self):
        """The last event's; on an empty buffer a new one, which no event will ever have."""
        with self._lock:
            return self._buffer[-1][1] if self._buffer else self._next_cursor()

    def events_stored(self):
        return len(self._buffer)

    def _make(self, event):
        cursor = self._next_cursor()
        frame = {"version": "1.0", "event_id": str(uuid.uuid4()), "cursor": cursor,
                 "emitted_at": rfc3339(self._last_ms), "severity": event.get("severity", "info"),
                 "type": event["type"]}
        if event.get("command_id") is not None:
            frame["command_id"] = event["command_id"]
        frame["payload"] = event.get("payload") or {}
        frame.update((name, value) for name, value in event.items()
                     if name not in ("type", "payload", "command_id", "severity"))
        if self.wire == 2:
            frame = as_wire_v2(frame)
        text = compact(frame)
        self._texts.append(text)
        made = (len(self._texts), cursor, frame, text)
        if self.wire == 1:
            self._buffer.append(made)
        return made

    def _deliver(self, made):
        for one in list(self._subscribers):
            put(one.connection, [text for number, _, frame, text in made
                                 if one.wants(number, frame)])

    def _cut_now(self, mid_frame):
        cut = 0
        for one in list(self._subscribers):
            transport = one.connection.transport
            if mid_frame and one.connection.state is State.OPEN:  # and not of a bridge that was killed
                text = (self._texts[-1] if self._texts else '{"type":"nothing"}').encode()
                # A text frame that says how long it is, and half of it; then the end.
                head = (bytes([0x81, len(text)]) if len(text) < 126 else
                        bytes([0x81, 126]) + len(text).to_bytes(2, "big"))
                transport.write(head + text[:len(text) // 2])
                transport.close()
            else:
                transport.abort()
            one.live_from = None
            self._subscribers.discard(one)
            cut += 1
        return cut

    # --- the WebSocket -----------------------------------------------------------------------

    def _check_upgrade(self, connection, request):
        if self.token is not None and request.headers.get("Authorization") != \
                f"Bearer {self.token}":
            return connection.respond(401, "unauthorized\n")
        if urllib.parse.urlsplit(request.path).path != STREAM_PATH:
            return connection.respond(404, "not found\n")
        return None

    async def _handle(self, connection):
        one = Subscriber(connection)
        self._subscribers.add(one)
        self.connections += 1
        try:
            await connection.send(compact(self._greeting("connected",
                                                         message="automation telemetry")))
            async for message in connection:
                # Whoever was killed meanwhile gets no replay, which would keep others waiting.
                for _ in range(3):
                    await asyncio.sleep(0)
                if connection.state is not State.OPEN:
                    break
                self._answer(one, message)
        except ConnectionClosed:
            pass
        finally:
            self._subscribers.discard(one)

    def _greeting(self, type, **more):
        greeting = {"type": type, **more}
        if self.wire == 1:
            greeting["cursor"] = self.current_cursor()
        return greeting

    def _answer(self, one, message):
        def send(content):
            websocket_server.broadcast([one.connection], compact(content))

        try:
            asked = json.loads(message)
            kind = asked["type"]
        except (ValueError, KeyError, TypeError, RecursionError):
            send({"type": "error", "message": "Invalid message format"})
            return
        if kind == "ping":
            send({"type": "pong", "timestamp": rfc3339(now_ms())})
        elif kind == "subscribe":
            self._subscribe(one, asked)
        else:
            send({"type": "error", "message": f"Unknown message type: {kind}"})

    def _subscribe(self, one, asked):
        with self._lock:
            self.subscriptions.append(asked)
            one.filters = asked.get("filters") or {}
            replayed = self._after(asked.get("cursor")) if asked.get("cursor") else []
            subscribed = self._greeting("subscribed")
            # What is in the loop's queue now was in the buffer already.
            one.live_from = len(self._texts) + 1
        put(one.connection, [text for _, _, frame, text in replayed
                             if not one.filters or passes(frame, one.filters)])
        websocket_server.broadcast([one.connection], compact(subscribed))

    def _after(self, cursor):
        """What is in the buffer after that cursor: all of it where the cursor is not in it."""
        buffer = list(self._buffer)
        for place in range(len(buffer) - 1, -1, -1):
            if buffer[place][1] == cursor:
                return buffer[place + 1:]
        return buffer

    # --- commands ----------------------------------------------------------------------------

    def submit(self, asked):
        """POST /v1/commands: (status, answer)."""
        if not isinstance(asked, dict) or not isinstance(asked.get("type"), str) \
                or not asked["type"]:
            return 400, {"error": "type is required"}
        with self._lock:
            key = asked.get("idempotency_key")
            if key is not None and key in self._keys:
                known = self._commands[self._keys[key]]
                self.posts[known["command_id"]] += 1
                return 202, accepted(known)
            command_id = asked.get("command_id") or str(uuid.uuid4())
            self.posts[command_id] += 1
            self.executions[command_id] += 1
            command = {"command_id": command_id, "status": "QUEUED",
                       "accepted_at": rfc3339(now_ms()), "started_at": None, "completed_at": None,
                       "result": None, "error": None}
            self._commands[command_id] = command
            if key is not None:
                self._keys[key] = command_id
            self._change(command, "QUEUED")
            payload = asked.get("payload") if isinstance(asked.get("payload"), dict) else {}
            steps = lifecycle(command_id, asked["type"], payload, asked.get("target"), self.rates)
            queued = is_queued(asked["type"], payload)
            waiting = None if queued else self._run_at_once(command, steps)
            answer = accepted(command)
            if queued or waiting is not None:
                asyncio.run_coroutine_threadsafe(
                    self._run(command, steps, waiting), self._loop)
        return 202, answer

    def cancel(self, command_id):
        """POST /v1/commands/:id/cancel. It says so, and goes on executing."""
        with self._lock:
            command = self._commands.get(command_id)
            if command is None:
                return 400, {"error": f"Command not found: {command_id}"}
            if command["status"] not in ("QUEUED", "RUNNING"):
                return 400, {"error": f"Cannot cancel a command that is {command['status']}"}
            self._change(command, "CANCELLED")
            return 200, {"cancelled": True}

    def command(self, command_id):
        with self._lock:
            command = self._commands.get(command_id)
            return None if command is None else dict(command)

    def commands(self, status=None, since=None):
        with self._lock:
            return [dict(command) for command in self._commands.values()
                    if (status is None or command["status"] == status)
                    and (since is None or command["accepted_at"] >= since)]

    def usage(self):
        return dict(USAGE)

    def _run_at_once(self, command, steps):
        """Runs what takes no time; gives the first step that does, or None at the end."""
        self._change(command, "RUNNING")
        for step in steps:
            if step.after > 0:
                return step
            self._step(command, step)
        return None

    async def _run(self, command, steps, waiting):
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            if waiting is not None:
                await self._pass(waiting.after)
                self._step(command, waiting)
                await self._run_steps(command, steps)
                return
            await self._pass(QUEUED_SECONDS)
            async with self._free:
                self._change(command, "RUNNING")
                await self._run_steps(command, steps)
        finally:
            self._tasks.discard(task)

    async def _run_steps(self, command, steps):
        for step in steps:
            await self._pass(step.after)
            self._step(command, step)

    async def _pass(self, seconds):
        await asyncio.sleep(seconds / self.speed)

    def _step(self, command, step):
        if isinstance(step, End):
            self._change(command, step.status, step)
        else:
            self.emit(step.type, step.payload, command_id=command["command_id"],
                      severity=step.severity)

    def _change(self, command, status, end=None):
        with self._lock:
            command["status"] = status
            if status == "RUNNING":
                command["started_at"] = rfc3339(now_ms())
            if end is not None:
                command.update(completed_at=rfc3339(now_ms()), result=end.result, error=end.error)
            kind, payload = status_frame(command["command_id"], end or End(0, status))
            self.emit(kind, payload, command_id=command["command_id"],
                      severity="error" if status == "FAILED" else "info")

    # --- what a test does to answers ---------------------------------------------------------

    def hold_answers(self, before=False):
        """Keeps the answers to POST /v1/commands (before: what is asked is not done until then)."""
        self._hold["before" if before else "after"].clear()

    def release_answers(self):
        for gate in self._hold.values():
            gate.set()

    def delay_answers(self, seconds):
        """Every answer comes so much later; 0 ends that."""
        self._delay = seconds

    def drop_answers(self, count, before=False):
        """Closes the connection instead of the next answers to POST /v1/commands, when the command
        runs (before: and it does not)."""
        with self._lock:
            self._drops["before" if before else "after"] = count

    def wait_to_answer(self, when, is_command):
        """For automation_http: waits; false where the connection is to be closed instead."""
        if when == "before" and self._delay:
            time.sleep(self._delay)
        if not is_command:
            return True
        gate = self._hold[when]
        if not gate.is_set():
            with self._lock:
                self.held += 1
            gate.wait()
            with self._lock:
                self.held -= 1
        with self._lock:
            dropped = self._drops[when] > 0
            self._drops[when] -= dropped
        return not dropped


def accepted(command):
    return {name: command[name] for name in ("command_id", "status", "accepted_at")}


def camel(content):
    return {V2_NAMES.get(name, name): value for name, value in content.items()}


def as_wire_v2(frame):
    """A frame as the later build sends it."""
    data = dict(frame["payload"])
    if frame["type"] == "status.changed":
        data.pop("command_id", None)
        result = data.pop("result", None) or {}
        data["status"] = V2_STATUSES.get(data["status"], data["status"])
        data = {**data, **result}
    made = {"type": frame["type"]}
    if "command_id" in frame:
        made["commandId"] = frame["command_id"]
    return {**made, "timestamp": frame["emitted_at"], "data": camel(data)}


def _quiet_logger():
    logger = logging.getLogger("automation-service")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


# --- as a program ----------------------------------------------------------------------------

HELP = """\
Stands in for the automation service, on 127.0.0.1: the control API over HTTP and the telemetry over
a WebSocket at /v1/stream. Nothing is generated: commands run through their states and frames.

It remembers all in memory, and ends with SIGTERM or Ctrl-C. SIGUSR1: it forgets all, as a restart
does. SIGUSR2: it cuts every WebSocket in the middle of a frame.
"""


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="automation_service", description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--http-port", type=int, default=HTTP_PORT, help="default 7070; 0: any")
    parser.add_argument("--stream-port", type=int, default=STREAM_PORT, help="default 7071; 0: any")
    parser.add_argument("--wire", type=int, choices=(1, 2), default=1,
                        help="2: the later build, without ids, cursors and replay")
    parser.add_argument("--speed", type=float, default=1.0, metavar="FACTOR",
                        help="how many times faster than in life commands run; default 1, where a "
                             "video takes a minute")
    parser.add_argument("--workers", type=int, default=4, metavar="N",
                        help="how many videos are made at the same time; default 4")
    parser.add_argument("--capacity", type=int, default=CAPACITY, metavar="N",
                        help="how many events are kept for a replay; default 10000")
    parser.add_argument("--token-file", type=Path, metavar="FILE",
                        help="holds the Bearer token that clients must show")
    parser.add_argument("--certificate", type=Path, metavar="FILE",
                        help="PEM of certificate and key: https and wss")
    parser.add_argument("--noise", type=float, default=0.0, metavar="RATE",
                        help="frames a second of no command that runs here; default 0")
    for name in Rates.__dataclass_fields__:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=0.0, metavar="RATE",
                            help=f"{RATES_HELP}; default 0")
    options = parser.parse_args(arguments)
    if options.speed <= 0 or options.workers < 1 or options.capacity < 1:
        parser.error("--speed, --workers and --capacity must be more than 0")
    return options


def main(arguments=None):
    options = parse(arguments)
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # in the threads that start now, too
    tls = None
    try:
        token = options.token_file.read_text().strip() if options.token_file else None
        if options.certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(options.certificate)
        service = AutomationService(
            http_port=options.http_port, stream_port=options.stream_port, wire=options.wire,
            speed=options.speed, workers=options.workers, capacity=options.capacity, token=token,
            tls=tls, rates=Rates(**{name: getattr(options, name)
                                    for name in Rates.__dataclass_fields__})).start()
    except OSError as error:
        print(f"automation_service: {error}", file=sys.stderr)
        return 1
    print(f"control {service.url}, telemetry {service.stream_url}", flush=True)
    noise = service.inject(10**12, options.noise) if options.noise > 0 else None
    while (number := signal.sigwait(signals)) in (signal.SIGUSR1, signal.SIGUSR2):
        if number == signal.SIGUSR1:
            service.restart()
        else:
            service.cut()
    if noise:
        noise.stop()
    with contextlib.suppress(OSError):
        service.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""The events that are measured: what the automation service and the gateway send for commands that
run side by side. The same call gives the same events."""

import collections
import functools
import io
import itertools
import json
import random
import re
import uuid

import fastavro

from lib import avro, events, kafka

PER_COMMAND = 4
OPEN = 200  # commands that run at the same time
SEED = 7


def _steps():
    """(command's number, command_id, step, at): each command has its steps in order, and they lie
    among those of the others."""
    choice = random.Random(SEED)
    numbers = itertools.count()
    running = []
    for tick in itertools.count():
        while len(running) < OPEN:
            number = next(numbers)
            running.append([number, _uuid(choice), 0])
        place = choice.randrange(OPEN)
        number, command_id, step = running[place]
        yield number, command_id, step, events.START + tick * events.MILLISECOND
        running[place][2] += 1
        if running[place][2] == PER_COMMAND:
            running.pop(place)


def _whole_commands(count):
    """Steps such that `count` are given and no command is cut off."""
    commands = count // PER_COMMAND
    return itertools.islice((step for step in _steps() if step[0] < commands), count)


def _uuid(choice):
    return str(uuid.UUID(int=choice.getrandbits(128), version=4))


def _prompt(number):
    return f"A lighthouse in storm number {number}, seen from a boat"


def telemetry(count):
    """TelemetryEvents, four a command."""
    choice = random.Random(SEED + 1)
    for number, command_id, step, at in _whole_commands(count):
        status = ("QUEUED", "RUNNING", None, "SUCCEEDED")[step]
        kind = "status.changed" if status else "sora.prompt.submitted"
        payload = {"command_id": command_id, "status": status} if status else {
            "prompt": _prompt(number), "character": "default"}
        yield {
            "event_id": _uuid(choice), "version": "1.0", "type": kind, "severity": "info",
            "command_id": command_id, "correlation_id": None, "target": None,
            "payload": json.dumps(payload, separators=(",", ":")),
            "cursor": events.cursor_of(at, number % 90 + 1), "emitted_at": at,
        }


def commands(count):
    """CommandEvents of the same commands: the submission and three changes of status."""
    choice = random.Random(SEED + 2)
    for number, command_id, step, at in _whole_commands(count):
        event = {"event_id": _uuid(choice), "command_id": command_id, "emitted_at": at}
        if step == 0:
            event["cursor"] = None
            event["body"] = ("safari.CommandSubmitted", {
                "type": "sora.generate", "requested_at": at, "requester_service": "bench",
                "idempotency_key": f"bench-{number}",
                "payload": json.dumps({"prompt": _prompt(number), "duration": "10s"}),
                "target": {"session_id": None, "account_id": None, "platform": "sora"},
            })
        else:
            status = ("QUEUED", "RUNNING", "SUCCEEDED")[step - 1]
            result = {"video_path": f"/videos/raw/{number}.mp4", "file_size": 4_000_000 + number}
            event["cursor"] = events.cursor_of(at, number % 90 + 1)
            event["body"] = ("safari.CommandStatusChanged", {
                "status": status, "error": None,
                "result": json.dumps(result) if step == 3 else None,
            })
        yield event


@functools.cache
def _encoder(topic, schema_id):
    schema = avro.parsed(avro.schema_text(topic))
    head = b"\0" + schema_id.to_bytes(4, "big")

    def encode(event):
        out = io.BytesIO()
        out.write(head)
        fastavro.schemaless_writer(out, schema, event)
        return out.getvalue()
    return encode


def record(event, schema_ids):
    """The kafka.Record of an event; quicker than lib.events.record, which tests use."""
    topic = events.topic_of(event)
    return kafka.Record(topic, event["command_id"], _encoder(topic, schema_ids[topic])(event))


def publish(count):
    """Publishes both streams, each of `count` events; the mean bytes of a telemetry value."""
    schema_ids = events.register_schemas()
    produce(record(event, schema_ids) for event in commands(count))
    return publish_telemetry(count)


def publish_telemetry(count, version=4):
    """The same; `version` is that of the event ids: 4, or 7, which rise with time."""
    schema_ids = events.register_schemas()
    size = 0

    def measured():
        nonlocal size
        for event in telemetry(count):
            if version == 7:
                event["event_id"] = _rising(event)
            item = record(event, schema_ids)
            size += len(item.value)
            yield item
    produce(measured())
    return size / count


def _rising(event):
    bits = uuid.UUID(event["event_id"]).int
    milliseconds = event["emitted_at"] // events.MILLISECOND
    return str(uuid.UUID(int=(milliseconds << 80) | (7 << 76) | (bits & ((1 << 76) - 1))))


def produce(records):
    kafka.produce(records, compression_type="lz4", linger_ms=20, queue_buffering_max_messages=200_000)


def publish_with_duplicates(count):
    """Publishes telemetry anew: every hundredth event comes again, a thousand events later. How many
    records that are."""
    schema_ids = events.register_schemas()
    kafka.delete_topics(events.TELEMETRY)
    kafka.create_topics(events.TELEMETRY)
    total = 0

    def records():
        nonlocal total
        again = collections.deque()
        for number, event in enumerate(telemetry(count)):
            item = record(event, schema_ids)
            if number % 100 == 0:
                again.append((number + 1000, item))
            total += 1
            yield item
            if again and again[0][0] <= number:
                total += 1
                yield again.popleft()[1]
    produce(records())
    return total


def prolong(count):
    """Publishes telemetry until its topic has as many records: those that are there, again and again
    under other event ids."""
    there = kafka.read(events.TELEMETRY)
    first = re.compile(rb"[0-9a-f]{8}(?=-[0-9a-f]{4}-4)")  # of an id, the first of which is the event's

    def more():
        for number in range(len(there), count):
            again, place = divmod(number, len(there))
            record = there[place]

            def other(match, again=again):
                return b"%08x" % (int(match[0], 16) ^ again)
            yield kafka.Record(record.topic, record.key, first.sub(other, record.value, count=1))
    produce(more())

# SPDX-License-Identifier: Apache-2.0
"""Records that can never be applied: each is set aside whole and alone, and its neighbours land."""

import json
import time
from dataclasses import dataclass, replace

import pytest

from lib import avro, events, kafka, registry
from lib.events import COMMANDS, SECOND, START, TELEMETRY
from lib.world import PROJECTOR, RECORDER

pytestmark = pytest.mark.partitions(1)  # so that neighbours are in one batch

CONSUMER = {COMMANDS: PROJECTOR, TELEMETRY: RECORDER}
HEADERS = [("trace", b"\x00\xff"), ("trace", b"again"), ("nothing", None),
           ("empty", b"")]
HUGE = 1 << 62  # a length or a count that no record has


@dataclass
class Bad:
    """A record that must become a dead letter, and what that must say."""

    record: kafka.Record
    reason: str
    sqlstate: str | None = None


def long_of(number):
    """A number as Avro writes it."""
    raw = (number << 1) ^ (number >> 63)
    raw &= (1 << 64) - 1
    out = bytearray()
    while raw > 127:
        out.append(raw & 127 | 128)
        raw >>= 7
    return bytes(out) + bytes([raw])


def good(topic, number, payload=None):
    """An event of a command that is well."""
    command = events.id_of(topic, "good", number)
    payload = payload or {"number": number}
    if topic == COMMANDS:
        return events.command_submitted(command, START + number * SECOND, payload=payload)
    return events.telemetry("selector.missing", START + number * SECOND, command_id=command,
                            payload=payload)


def with_body(event, **changes):
    """The event with fields of its body changed, or of itself where it has none."""
    if "body" not in event:
        return {**event, **changes}
    name, body = event["body"]
    return {**event, "body": (name, {**body, **changes})}


class Writer:
    """Makes the bad records of a topic, each for a command of its own."""

    def __init__(self, world, topic):
        self.world = world
        self.topic = topic
        self.schema = json.loads(avro.schema_text(topic))
        self.count = 0

    def event(self, **changes):
        self.count += 1
        command = events.id_of(self.topic, "bad", self.count)
        if self.topic == COMMANDS:
            return with_body(events.command_submitted(command), **changes)
        return with_body(events.telemetry("rate.limited", command_id=command, payload={}),
                         **changes)

    def encoded(self, event):
        return self.world.record(event, 0)

    def bad(self, reason, sqlstate=None, **changes):
        """A record that encodes well, with a text that cannot be kept."""
        return Bad(self.encoded(self.event(**changes)), reason, sqlstate)

    def raw(self, reason, value):
        """A value of these bytes; a function makes them from the bytes of a good one."""
        record = self.encoded(self.event())
        if callable(value):
            value = value(record.value)
        return Bad(replace(record, value=value), reason)

    def by_another_schema(self, reason, change, tail=b"", **values):
        """A record of a writer whose schema is changed."""
        schema = json.loads(avro.schema_text(self.topic))
        change(schema)
        text = json.dumps(schema)
        schema_id = registry.register(f"{self.topic}-hostile-value", text)
        event = {**self.event(), **values}
        record = kafka.Record(self.topic, event["command_id"].encode(),
                              avro.encode(event, schema_id, text) + tail, partition=0)
        return Bad(record, reason)

    def broken_text(self):
        record = self.encoded(self.event(type="@@@@"))
        value = record.value.replace(b"@@@@", b"\xff\xfe\xc0@")
        return Bad(replace(record, value=value), "invalid byte sequence", "22021")


def nullable(name):
    def change(schema):
        field = next(field for field in schema["fields"] if field["name"] == name)
        field["type"] = ["null", field["type"]]
    return change


def with_nothings(schema):
    """A last field that is an array of items of no length: its count costs no bytes."""
    schema["fields"].append({"name": "nothings", "default": [],
                             "type": {"type": "array", "items": "null"}})


def bad_records(world, topic):
    writer = Writer(world, topic)
    deep = "[" * 100_000 + "]" * 100_000
    records = {
        "garbage": writer.raw("not in the wire format", b"\x07garbage"),
        "a text": writer.raw("not in the wire format", b'{"type": "sora.generate"}'),
        "half a header": writer.raw("not in the wire format", b"\0\0\0"),
        "nothing but a header": writer.raw("ends too early", lambda value: value[:5]),
        "empty": writer.raw("empty", b""),
        "tombstone": writer.raw("empty", None),
        "unknown schema": writer.raw(
            "2000000000", lambda value: b"\0" + (2_000_000_000).to_bytes(4, "big") + value[5:]),
        "truncated": writer.raw("ends too early", lambda value: value[:-3]),
        "left-over bytes": writer.raw("3 bytes are left over", lambda value: value + b"abc"),
        "hostile length": writer.raw("ends too early", lambda value: value[:5] + long_of(HUGE)),
        "negative length": writer.raw("negative", lambda value: value[:5] + long_of(-2)),
        "endless number": writer.raw("64 bits", lambda value: value[:5] + b"\xff" * 12),
        "hostile count": writer.by_another_schema(
            "more items than its size can hold",
            lambda schema: with_nothings(schema), nothings=[]),
        "null where one is needed": writer.by_another_schema(
            "event_id is null", nullable("event_id"), event_id=None),
        "no UUID": Bad(writer.encoded({**writer.event(), "event_id": "not-a-uuid"}),
                       "event_id is not a UUID"),
        "impossible time": Bad(
            writer.encoded({**writer.event(), "emitted_at": -(1 << 63)}), "emitted_at"),
        "JSON with a NUL": writer.bad("\\u0000", "22P05", payload='{"prompt": "a\\u0000b"}'),
        "broken JSON": writer.bad("json", "22P02", payload='{"prompt": '),
        "empty JSON": writer.bad("json", "22P02", payload=""),
        "a number beyond all numbers": writer.bad("overflow", "22003", payload="1e400000"),
        "deep JSON": writer.bad("depth", "54001", payload=deep),
        "NUL in a text": writer.bad("0x00", "22021", type="a\0b"),
        "broken UTF-8": writer.broken_text(),
        "a text too long": writer.bad("60000 characters, at most 100", type="x" * 60_000),
    }
    # The array's end marker becomes a block of 2^62 items, of which there are no bytes.
    counted = records["hostile count"].record
    records["hostile count"].record = replace(
        counted, value=counted.value[:-1] + long_of(HUGE) + b"\0")
    if topic == COMMANDS:
        command = events.id_of(topic, "bad", "dance")
        records["unknown status"] = Bad(
            writer.encoded(events.status_changed(command, "DANCING")), '"DANCING"')
    else:
        records["no such command_id"] = writer.bad("command_id is not a UUID", command_id="nobody")
    for number, bad in enumerate(records.values()):
        headers = HEADERS if number % 2 else []
        bad.record = replace(bad.record, partition=0, headers=headers,
                             timestamp=START // 1000 + number)
    return records


def headers_of(record):
    return [{"name": name, "hex": value.hex() if value is not None else None}
            for name, value in record.headers] or None


def schema_id_of(value):
    """The id that the value begins with, where it begins with one."""
    return int.from_bytes(value[1:5], "big") if value and value[:1] == b"\0" and len(value) > 4 else None


def check_letter(letter, bad, offset, group):
    record = bad.record
    assert bad.reason.lower() in letter["message"].lower()
    assert letter["sqlstate"] == bad.sqlstate
    assert letter["error_class"] == "poison"
    assert (letter["topic"], letter["partition"], letter["record_offset"]) == (
        record.topic, 0, offset)
    assert letter["key"] == record.key
    assert letter["value"] == record.value
    assert letter["headers"] == headers_of(record)
    assert letter["schema_id"] == schema_id_of(record.value)
    assert letter["record_timestamp"].timestamp() * 1000 == record.timestamp
    assert (letter["consumer_group"], letter["status"]) == (group, "open")


def table_of(topic):
    return "safari_commands" if topic == COMMANDS else "safari_events"


@pytest.mark.parametrize("topic", [COMMANDS, TELEMETRY])
def test_bad_records_are_set_aside_and_their_neighbours_land(world, topic):
    bad = bad_records(world, topic)
    megabyte = good(topic, 1000, {"text": "€" * 330_000})
    landing = [good(topic, number) for number in range(len(bad))] + [megabyte]
    records = []
    for number, item in enumerate(bad.values()):
        records += [world.record(landing[number], 0), item.record]
    records.append(world.record(megabyte, 0))
    world.publish(records)

    consumer = world.start(CONSUMER[topic])
    group = world.group(CONSUMER[topic])
    consumer.wait_until(lambda: world.offsets(group) == {(topic, 0): len(records)})

    letters = world.letters(group)
    assert [letter["record_offset"] for letter in letters] == [2 * n + 1 for n in range(len(bad))]
    for number, (name, item) in enumerate(bad.items()):
        try:
            check_letter(letters[number], item, 2 * number + 1, group)
        except AssertionError as failure:
            raise AssertionError(f"{name}: {failure}\n{letters[number]['message']}") from failure
    rows = world.rows(table_of(topic))
    assert {str(row["command_id"]) for row in rows} == {e["command_id"] for e in landing}
    assert len(rows) == len(landing)
    payloads = {str(row["command_id"]): row["payload"] for row in rows}
    assert payloads[megabyte["command_id"]] == {"text": "€" * 330_000}

    assert consumer.running
    assert consumer.get("/livez")[0] == 200
    consumer.wait_until(lambda: consumer.metric("projectionist_records_total") == len(records))
    assert consumer.metric("projectionist_dead_letters_total") == len(bad)
    consumer.stop()


def test_a_bad_record_is_a_dead_letter_once(world):
    """A second group has letters of its own; the first group's are not written again."""
    writer = Writer(world, COMMANDS)
    world.publish([good(COMMANDS, 1), writer.bad("", payload="{").record, good(COMMANDS, 2)])
    world.catch_up(PROJECTOR)
    world.catch_up(PROJECTOR)
    assert len(world.letters()) == 1
    other = world.consumers.new_group()
    world.catch_up(PROJECTOR, group=other)
    assert len(world.letters()) == 2
    assert len(world.letters(other)) == 1
    assert world.status()[other]["open_dead_letters"] == 1


def test_a_timestamp_of_no_time(world):
    """Such as nanoseconds where milliseconds belong: the letter is written without it."""
    kafka.new_topics(COMMANDS, partitions=1,
                     config={"message.timestamp.after.max.ms": str(2**63 - 1)})
    kafka.produce([kafka.Record(COMMANDS, b"key", b"garbage", timestamp, 0)
                   for timestamp in (9_300_000_000_000_000, 2**63 - 1, START // 1000)])
    world.publish([good(COMMANDS, 1)])
    world.catch_up(PROJECTOR)
    assert [letter["record_timestamp"] is None for letter in world.letters()] == [
        True, True, False]
    assert world.count("safari_commands") == 1


def test_two_bad_events_of_one_command_leave_its_good_ones(world):
    """The bad ones are told from the good ones even where all of them make one row."""
    command = events.id_of("one command")
    world.publish([
        events.command_submitted(command, START),
        events.status_changed(command, "RUNNING", START + 1 * SECOND, counter=1),
        events.status_changed(command, "FAILED", START + 2 * SECOND, counter=2, result="{"),
        events.status_changed(command, "SUCCEEDED", START + 3 * SECOND, counter=3,
                              result='{"a": "\\u0000"}'),
    ])
    world.catch_up(PROJECTOR)
    assert [(letter["record_offset"], letter["sqlstate"]) for letter in world.letters()] == [
        (2, "22P02"), (3, "22P05")]
    row, = world.rows("safari_commands")
    assert (row["status"], row["result"], row["completed_at"]) == ("RUNNING", None, None)


@pytest.mark.parametrize("size", ["1", "100"])
def test_what_is_bad_is_so_in_a_batch_of_any_size(world, size):
    """Also where a better fact hides it: it never reaches Postgres, which would have refused it."""
    command = events.id_of("one command")
    world.publish([
        events.status_changed(command, "FAILED", START, counter=1, result="{"),
        events.status_changed(command, "FAILED", START + SECOND, counter=2, error="a\0b"),
        events.status_changed(command, "FAILED", START + 2 * SECOND, counter=3,
                              result='{"a": 1e-20000}'),
        events.status_changed(command, "SUCCEEDED", START + 3 * SECOND, counter=4, result="{}"),
    ])
    world.catch_up(PROJECTOR, BATCH_RECORDS=size)
    assert [(letter["record_offset"], letter["sqlstate"]) for letter in world.letters()] == [
        (0, "22P02"), (1, "22021"), (2, "22003")]
    row, = world.rows("safari_commands")
    assert (row["status"], row["created_at"]) == ("SUCCEEDED", row["completed_at"])


FLOOD = 3000
FLOOD_SECONDS = 120  # some ten times what it takes


@pytest.mark.parametrize("kind", ["refused by Postgres", "not decoded"])
def test_a_flood_of_bad_records_ends(world, kind, record_property):
    writer = Writer(world, TELEMETRY)
    if kind == "refused by Postgres":
        bad = [writer.bad("", payload='"\\u0000"').record for _ in range(FLOOD)]
    else:
        bad = [kafka.Record(TELEMETRY, b"key", b"garbage", partition=0) for _ in range(FLOOD)]
    landing = [good(TELEMETRY, number) for number in range(20)]
    world.publish([*landing[:10], *bad, *landing[10:]], partition=0)
    began = time.monotonic()
    world.catch_up(RECORDER, deadline=FLOOD_SECONDS)
    record_property("seconds", round(time.monotonic() - began, 1))
    assert [letter["record_offset"] for letter in world.letters()] == list(range(10, FLOOD + 10))
    assert world.count("safari_events") == len(landing)


def test_floods_of_both_kinds_mixed(world):
    """Many letters in one transaction, and transactions of many sizes on one connection."""
    garbage = kafka.Record(TELEMETRY, b"key", b"garbage", partition=0)
    consumer = world.start(RECORDER)
    group = world.group(RECORDER)
    published = 0
    for refused in (0, 1, 2, 5):
        writer = Writer(world, TELEMETRY)
        records = []
        for number in range(refused):
            records += [garbage] * 99 + [writer.bad("", payload='"\\u0000"').record]
        records += [garbage] * 99 + [world.record(good(TELEMETRY, refused), 0)]
        world.publish(records)
        published += len(records)
        consumer.wait_until(lambda: world.offsets(group) == {(TELEMETRY, 0): published})
    assert len(world.letters()) == published - 4
    assert world.count("safari_events") == 4


def test_a_flood_does_not_hold_up_a_stop(world):
    """SIGTERM amid a large batch that is divided: what is committed stays, the rest is for the next
    one."""
    writer = Writer(world, TELEMETRY)
    world.publish([good(TELEMETRY, 0)], partition=0)
    world.publish([writer.bad("", payload='"\\u0000"').record for _ in range(FLOOD // 5)],
                  partition=0)
    consumer = world.start(RECORDER)
    consumer.wait_until(lambda: world.letters())
    consumer.stop()
    assert len(world.letters()) < FLOOD // 5, "it was not amid the flood any more"
    world.catch_up(RECORDER)
    assert [letter["record_offset"] for letter in world.letters()] == list(
        range(1, FLOOD // 5 + 1))


# Refuses rows of one type as if the server had no connection left, while a row says so.
BUSY = """
CREATE TABLE busy (busy boolean);
INSERT INTO busy VALUES (true);
CREATE FUNCTION refuse_while_busy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.type = 'busy' AND (SELECT busy FROM busy) THEN
        RAISE EXCEPTION 'busy' USING ERRCODE = '53300';
    END IF;
    IF NEW.type = 'refused' THEN
        RAISE EXCEPTION 'refused' USING ERRCODE = '22023';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER busy BEFORE INSERT ON safari_commands
    FOR EACH ROW EXECUTE FUNCTION refuse_while_busy();
"""


def test_a_stop_amid_a_divided_batch_loses_nothing(world):
    """The first half waits for the server when the stop comes: the second must not pass it."""
    world.database.execute(BUSY)
    waiting = events.command_submitted(events.id_of("waiting"), type="busy")
    refused = events.command_submitted(events.id_of("refused"), type="refused")
    world.publish([world.record(waiting, 0), world.record(refused, 0)])
    consumer = world.start(PROJECTOR)
    consumer.wait_for_log("waiting for a server")
    consumer.stop()
    assert world.offsets(world.group(PROJECTOR)) == {}
    assert world.letters() == []

    world.database.execute("UPDATE busy SET busy = false")
    world.catch_up(PROJECTOR)
    assert [str(row["command_id"]) for row in world.rows("safari_commands")] == [
        waiting["command_id"]]
    assert [letter["record_offset"] for letter in world.letters()] == [1]

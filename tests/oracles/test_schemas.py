# SPDX-License-Identifier: Apache-2.0
"""The schemas of schemas/ keep the contract, and every older version of it stays readable.

contract/<Record>.avsc is version 1 as it was published; a later version that was published is kept
beside it as contract/<Record>.v2.avsc and so on. None of these files ever changes.
"""

import copy
import io
import json
from pathlib import Path

import fastavro
import pytest
from fastavro.read import SchemaResolutionError
from lib import avro, events

CONTRACT = Path(__file__).parent / "contract"
RECORD = {"safari.commands": "CommandEvent", "safari.telemetry": "TelemetryEvent",
          "safari.sessions": "SessionEvent"}

UUID = {"type": "string", "logicalType": "uuid"}
TIME = {"type": "long", "logicalType": "timestamp-micros"}
NOTHING = object()  # no default: the field is required


def optional(kind):
    return ["null", kind]


# Of each record: field, type, default, in this order. A record in a type is named.
FIELDS = {
    "safari.CommandEvent": [
        ("event_id", UUID, NOTHING),
        ("command_id", UUID, NOTHING),
        ("cursor", optional("string"), None),
        ("emitted_at", TIME, NOTHING),
        ("body", ["safari.CommandSubmitted", "safari.CommandStatusChanged"], NOTHING)],
    "safari.CommandSubmitted": [
        ("type", "string", NOTHING),
        ("payload", "string", NOTHING),
        ("idempotency_key", optional("string"), None),
        ("correlation_id", optional(UUID), None),
        ("requested_at", optional(TIME), None),
        ("requester_service", optional("string"), None),
        ("requester_instance", optional("string"), None),
        ("target", optional("safari.Target"), None)],
    "safari.CommandStatusChanged": [
        ("status", "string", NOTHING),
        ("result", optional("string"), None),
        ("error", optional("string"), None)],
    "safari.Target": [
        ("session_id", optional(UUID), None),
        ("account_id", optional(UUID), None),
        ("platform", optional("string"), None)],
    "safari.TelemetryEvent": [
        ("event_id", UUID, NOTHING),
        ("version", "string", "1.0"),
        ("type", "string", NOTHING),
        ("severity", "string", "info"),
        ("command_id", optional(UUID), None),
        ("correlation_id", optional(UUID), None),
        ("target", optional("safari.Target"), None),
        ("payload", optional("string"), None),
        ("cursor", optional("string"), None),
        ("emitted_at", TIME, NOTHING)],
    "safari.SessionEvent": [
        ("event_id", UUID, NOTHING),
        ("session_id", UUID, NOTHING),
        ("emitted_at", TIME, NOTHING),
        ("body", ["safari.SessionOpened", "safari.SessionClosed"], NOTHING)],
    "safari.SessionOpened": [
        ("platform", "string", NOTHING),
        ("account_id", optional(UUID), None),
        ("browser_pid", optional("int"), None),
        ("metadata", optional("string"), None)],
    "safari.SessionClosed": [("reason", optional("string"), None)],
}
RECORDS_OF = {
    "safari.commands": {"safari.CommandEvent", "safari.CommandSubmitted",
                        "safari.CommandStatusChanged", "safari.Target"},
    "safari.telemetry": {"safari.TelemetryEvent", "safari.Target"},
    "safari.sessions": {"safari.SessionEvent", "safari.SessionOpened", "safari.SessionClosed"},
}


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def current(topic):
    return json.loads(avro.schema_text(topic))


def shape(schema):
    """{record's full name: [(field, type, default)]}; fields of record type name the record."""
    found = {}

    def type_of(node, namespace):
        if isinstance(node, list):
            return [type_of(branch, namespace) for branch in node]
        if not isinstance(node, dict):
            return f"{namespace}.{node}" if node[:1].isupper() and "." not in node else node
        if node["type"] != "record":
            return {key: value for key, value in node.items() if key != "doc"}
        space = node.get("namespace", namespace)
        name = f"{space}.{node['name']}"
        found[name] = [(field["name"], type_of(field["type"], space),
                        field.get("default", NOTHING)) for field in node["fields"]]
        return name

    type_of(schema, "")
    return found


def undocumented(node, place=""):
    if isinstance(node, list):
        return [lack for branch in node for lack in undocumented(branch, place)]
    if not isinstance(node, dict):
        return []
    lacks = []
    if node.get("type") == "record":
        place = node["name"]
        lacks = [] if node.get("doc") else [place]
        for field in node["fields"]:
            if not field.get("doc"):
                lacks.append(f"{place}.{field['name']}")
            lacks += undocumented(field["type"], place)
    elif isinstance(node.get("items"), (dict, list)):
        lacks = undocumented(node["items"], place)
    return lacks


def test_the_topics_of_the_contract_are_there():
    assert {path.name for path in avro.SCHEMAS.iterdir() if path.is_dir()} >= set(RECORD)


@pytest.mark.parametrize("topic", RECORD)
def test_version_1_is_the_contract(topic):
    frozen = shape(load(CONTRACT / f"{RECORD[topic]}.avsc"))
    assert set(frozen) == RECORDS_OF[topic]
    for name, fields in frozen.items():
        assert fields == FIELDS[name], name


@pytest.mark.parametrize("topic", RECORD)
def test_the_newest_version_keeps_the_order_of_the_contract(topic):
    """What was added came after; what was there has its type, its default and its place."""
    newest = shape(current(topic))
    for name in RECORDS_OF[topic]:
        kept = [field for field in newest[name]
                if field[0] in {known for known, _, _ in FIELDS[name]}]
        assert newest[name][:len(kept)] == kept == FIELDS[name], name
        assert all(default is not NOTHING for _, _, default in newest[name][len(kept):]), (
            f"what is added to {name} needs a default")


@pytest.mark.parametrize("topic", RECORD)
def test_every_record_and_field_has_a_doc(topic):
    assert undocumented(current(topic)) == []


def test_the_recording_has_a_doc_everywhere():
    assert undocumented(load(avro.SCHEMAS / "recording.avsc")) == []


# --- events ----------------------------------------------------------------------------------

COMMAND = events.id_of("command")
SESSION = events.id_of("session")
EXAMPLES = [
    events.command_submitted(COMMAND),
    events.command_submitted(
        COMMAND, type="flow.run", payload={"text": "é€𝄞"}, idempotency_key="once",
        correlation_id=events.id_of("correlation"), requested_at=-1, requester_service="gaia",
        requester_instance="1", target=events.target(SESSION, events.id_of("account"), "x"),
        cursor="1-1"),
    events.command_submitted(COMMAND, target=events.target(None, None, None)),
    events.status_changed(COMMAND, "QUEUED", counter=1),
    events.status_changed(COMMAND, "SUCCEEDED", result={"file_size": 1}),
    events.status_changed(COMMAND, "A_NEWER_WORD", error="why"),
    events.frame_of(events.status_changed(COMMAND, "FAILED", counter=100, error="why")),
    events.telemetry("rate.limited", target=events.target(SESSION)),
    events.session_opened(SESSION, browser_pid=2**31 - 1, metadata={"window": 1}),
    events.session_closed(SESSION, reason="done"),
]


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: events.topic_of(event))
def test_round_trip(event):
    schema = avro.schema_text(events.topic_of(event))
    assert avro.decode(avro.encode(event, 0x01020304, schema), schema) == (0x01020304, event)


# --- compatibility ---------------------------------------------------------------------------

def read_as(event, writer, reader):
    """The event, written with one schema and read with the other."""
    writer = fastavro.parse_schema(copy.deepcopy(writer))
    reader = fastavro.parse_schema(copy.deepcopy(reader))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, writer, avro.with_full_names(event, "safari"))
    out.seek(0)
    return fastavro.schemaless_reader(out, writer, reader, return_record_name=True)


def published(topic):
    return sorted(CONTRACT.glob(f"{RECORD[topic]}*.avsc"))


OLDER = [(topic, path) for topic in RECORD for path in published(topic)]


@pytest.mark.parametrize("topic, older", OLDER, ids=lambda value: getattr(value, "name", value))
def test_the_newest_version_reads_each_older_one(topic, older):
    old, new = load(older), current(topic)
    for event in EXAMPLES:
        if events.topic_of(event) != topic:
            continue
        got = read_as(event, old, new)
        for name, value in read_as(event, old, old).items():
            assert got[name] == value, name


def with_change(topic, change):
    schema = current(topic)
    change(schema["fields"])
    return schema


def replace_cursor(fields):
    """What was optional becomes required, and another type."""
    place = [field["name"] for field in fields].index("cursor")
    fields[place] = {"name": "cursor", "type": "long"}


BREAKS = {
    "a field without a default is added":
        lambda fields: fields.append({"name": "added", "type": "string"}),
    "the type of a field is changed": lambda fields: fields[0].update(type="int"),
    "an optional field becomes required": replace_cursor,
}


@pytest.mark.parametrize("change", BREAKS.values(), ids=BREAKS.keys())
def test_a_break_would_be_seen(change):
    event = events.telemetry("any", counter=1)
    with pytest.raises(SchemaResolutionError):
        read_as(event, load(CONTRACT / "TelemetryEvent.avsc"),
                with_change("safari.telemetry", change))


def test_a_field_with_a_default_may_be_added():
    event = events.telemetry("any", counter=1)
    new = with_change("safari.telemetry", lambda fields: fields.append(
        {"name": "added", "type": ["null", "string"], "default": None}))
    assert read_as(event, load(CONTRACT / "TelemetryEvent.avsc"), new)["added"] is None

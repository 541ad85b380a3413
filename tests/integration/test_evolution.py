# SPDX-License-Identifier: Apache-2.0
"""Records of other writers: schemas that grew, shrank or were turned around, by two clients that
share no code with ours. Whatever the writer's schema, the rows are those of our own.

Each variant is a change to the schema and the same change to the events. Both clients publish the
same events, each under ids of its own.
"""

import hashlib
import io
import json
import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import fastavro
import pytest

from lib import avro, consumers, events, kafka, registry
from lib.events import COMMANDS, MILLISECOND, SECOND, START, TELEMETRY
from lib.world import PROJECTOR, RECORDER

CLIENTS = ("fastavro", "avro-c")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DAY = 24 * events.HOUR
PAYLOAD = {"prompt": "Ein Leuchtturm im Stürm €", "tags": ["a", {"b": None}], "n": 1.5}
RESULT = {"video_path": "/videos/ü.mp4", "file_size": 12345678901}
SESSION, ACCOUNT, CORRELATION = (events.id_of("evolution", word) for word in "sac")


# --- the events and their rows ------------------------------------------------------------------


def command_events(client, name):
    """A command of the variant, in full: submitted, then SUCCEEDED."""
    command = events.id_of(client, name)
    return [
        events.command_submitted(
            command, START, type="sora.generate", payload=PAYLOAD,
            idempotency_key=f"{client} {name}", correlation_id=CORRELATION,
            requested_at=START - SECOND, requester_service="tests", requester_instance="one",
            target=events.target(SESSION, ACCOUNT), cursor=events.cursor_of(START, 1)),
        events.status_changed(command, "SUCCEEDED", START + SECOND, counter=2, result=RESULT)]


def command_row(happened):
    submitted, changed = happened
    body = submitted["body"][1]
    return {
        "command_id": submitted["command_id"], "type": body["type"], "status": "SUCCEEDED",
        "payload": PAYLOAD, "result": RESULT, "target": body["target"], "error_message": None,
        "idempotency_key": body["idempotency_key"], "created_at": time_of(START - SECOND),
        "started_at": None, "completed_at": time_of(changed["emitted_at"]),
        "correlation_id": CORRELATION, "requester_service": "tests", "requester_instance": "one",
        "placeholder": None}


def telemetry_events(client, name):
    return [events.telemetry(
        "sora.video.ready", START, command_id=events.id_of(client, name), payload=PAYLOAD,
        counter=7, severity="warn", version="1.1", correlation_id=CORRELATION,
        target=events.target(SESSION, None, "tiktok"))]


def telemetry_row(happened):
    event, = happened
    return {**event, "payload": PAYLOAD, "emitted_at": time_of(START)}


def time_of(microseconds):
    return EPOCH + timedelta(microseconds=microseconds)


# --- what writers do to a schema ----------------------------------------------------------------


def record_of(schema, name):
    """The definition of a record in a schema."""
    def found(node):
        if isinstance(node, dict):
            if node.get("type") == "record" and node["name"] == name:
                return node
            node = list(node.values())
        if isinstance(node, list):
            return next((match for match in map(found, node) if match), None)
        return None

    return found(schema)


def field_of(schema, record, name):
    return next(field for field in record_of(schema, record)["fields"] if field["name"] == name)


def in_body(change):
    """A change of events that concerns their bodies: change(branch, body) gives both anew."""
    return lambda event: {**event, "body": change(*event["body"])}


def unchanged(what):
    return what


@dataclass
class Variant:
    """What a writer did: to its schema, to its events, and what is other in the row for it."""

    name: str
    change: callable
    event: callable = unchanged
    row: callable = unchanged
    clients: tuple = CLIENTS


def added(*records):
    """Fields of all kinds before, between and after ours, of which we know nothing."""
    news = [
        {"name": "new_map", "type": {"type": "map", "values": {"type": "array", "items": "long"}}},
        {"name": "new_enum", "type": {"type": "enum", "name": "Mood", "symbols": ["GOOD", "BAD"]}},
        {"name": "new_fixed", "type": {"type": "fixed", "name": "Four", "size": 4}},
        {"name": "new_real", "type": ["null", "double", "string"]},
        {"name": "new_flag", "type": "boolean"},
        {"name": "new_tree", "type": {"type": "record", "name": "Tree", "fields": [
            {"name": "size", "type": "float"},
            {"name": "leaves", "type": {"type": "array", "items": "bytes"}}]}},
    ]
    values = {"new_map": {"ä": [1, -2, 1 << 40], "": []}, "new_enum": "BAD",
              "new_fixed": b"\0\xff\x80a", "new_real": 2.5, "new_flag": True,
              "new_tree": {"size": 1.0, "leaves": [b"\x7f\x80", b""]}}

    def change(schema):
        for number, record in enumerate(records):
            fields = record_of(schema, record)["fields"]
            # A type is defined once in a schema.
            for field in news if number == 0 else [news[0], news[4]]:
                fields.insert(len(fields) if field["name"] == "new_tree" else 2,
                              json.loads(json.dumps(field)))
            fields.insert(0, {"name": "new_text", "type": "string"})

    def event(happened):
        changed = {**happened, **values, "new_text": "first"}
        if "body" in happened:
            branch, body = happened["body"]
            changed["body"] = (branch, {**body, **values, "new_text": "first"})
        return changed

    return change, event


def dropped(*names):
    """The schema without fields; they are (record, field)."""
    def change(schema):
        for record, name in names:
            fields = record_of(schema, record)["fields"]
            fields.remove(field_of(schema, record, name))
    return change


def reordered(schema):
    """Every record's fields and every union's branches backwards. What is named later than it is
    used must be named where it comes first; nothing of ours is."""
    def turn(node):
        if isinstance(node, dict):
            for value in node.values():
                turn(value)
            if node.get("type") == "record":
                node["fields"].reverse()
            node.pop("default", None)  # it would have to fit the first branch
        elif isinstance(node, list):
            for value in node:
                turn(value)
            if not any(isinstance(item, dict) and "name" in item and "type" in item
                       and item["type"] not in ("record", "enum") for item in node):
                node.reverse()
    turn(schema)


def typed(record, field, kind):
    """A field of another type."""
    def change(schema):
        field_of(schema, record, field)["type"] = kind
        field_of(schema, record, field).pop("default", None)
    return change


def renamed(record, field, name):
    """A field that the writer calls otherwise, and says so."""
    def change(schema):
        found = field_of(schema, record, field)
        found["name"], found["aliases"] = name, [field]
    return change


def renaming(event, field, name):
    return {name if key == field else key: value for key, value in event.items()}


def both(*changes):
    def change(schema):
        for one in changes:
            one(schema)
    return change


def of(unit):
    return {"type": "long", "logicalType": f"timestamp-{unit}"}


def records_renamed(schema):
    record_of(schema, "CommandSubmitted").update(name="Submission", aliases=["CommandSubmitted"])
    record_of(schema, "CommandStatusChanged").update(
        name="Change", aliases=["safari.CommandStatusChanged"])
    schema["namespace"] = "com.example.events"


def with_notes(schema):
    """A third kind of command event, between the two that we know."""
    body = field_of(schema, "CommandEvent", "body")["type"]
    body.insert(1, {"type": "record", "name": "CommandNoted",
                    "fields": [{"name": "note", "type": "string"}]})


def uuid_bytes(text):
    return bytes.fromhex(text.replace("-", ""))


STATUS = {"type": "enum", "name": "Status", "symbols": ["RUNNING", "SUCCEEDED", "FAILED"]}
KIND = {"type": "enum", "name": "Kind", "symbols": ["other", "generate"]}
FIXED_UUID = {"type": "fixed", "name": "Uuid", "size": 16, "logicalType": "uuid"}
PAYLOAD_RECORD = {"type": "record", "name": "Payload", "fields": [
    {"name": "prompt", "type": "string"},
    {"name": "tags", "type": {"type": "array", "items": ["string", {
        "type": "record", "name": "Tag", "fields": [{"name": "b", "type": ["null", "string"]}]}]}},
    {"name": "n", "type": "double"}]}

RECURSIVE = {"name": "tree", "type": {"type": "record", "name": "Endless", "fields": [
    {"name": "below", "type": {"type": "array", "items": "Endless"}}]}}

ADDED_COMMANDS = added("CommandEvent", "CommandSubmitted", "CommandStatusChanged")
ADDED_TELEMETRY = added("TelemetryEvent")

COMMAND_VARIANTS = [
    Variant("as ours", lambda schema: None),
    Variant("fields added", *ADDED_COMMANDS),
    Variant("fields dropped", dropped(
                ("CommandEvent", "cursor"), ("CommandSubmitted", "idempotency_key"),
                ("CommandSubmitted", "correlation_id"), ("CommandSubmitted", "requested_at"),
                ("CommandSubmitted", "requester_service"),
                ("CommandSubmitted", "requester_instance"), ("CommandSubmitted", "target"),
                ("CommandStatusChanged", "error")),
            row=lambda row: {**row, "idempotency_key": None, "correlation_id": None,
                             "requester_service": None, "requester_instance": None,
                             "target": None, "created_at": time_of(START)}),
    Variant("reordered", reordered),
    Variant("milliseconds", both(
                typed("CommandEvent", "emitted_at", of("millis")),
                typed("CommandSubmitted", "requested_at", ["null", of("millis")])),
            lambda event: in_milliseconds(event, MILLISECOND)),
    Variant("times without a unit are ours", both(
                typed("CommandEvent", "emitted_at", "long"),
                typed("CommandSubmitted", "requested_at", ["null", "long"]))),
    Variant("days for a time", typed("CommandEvent", "emitted_at",
                                     {"type": "int", "logicalType": "date"}),
            lambda event: {**event, "emitted_at": event["emitted_at"] // DAY + 1},
            lambda row: {**row, "completed_at": time_of((START // DAY + 1) * DAY)}),
    Variant("fields renamed", both(
                renamed("CommandEvent", "command_id", "id_of_command"),
                renamed("CommandSubmitted", "payload", "arguments"),
                renamed("CommandStatusChanged", "status", "state")),
            lambda event: in_body(lambda branch, body: (branch, renaming(
                renaming(body, "payload", "arguments"), "status", "state")))(
                    renaming(event, "command_id", "id_of_command"))),
    Variant("records renamed", records_renamed,
            in_body(lambda branch, body: (
                {"CommandSubmitted": "com.example.events.Submission",
                 "CommandStatusChanged": "com.example.events.Change"}[branch], body))),
    Variant("enums for texts", both(
                typed("CommandStatusChanged", "status", STATUS),
                typed("CommandSubmitted", "type", KIND)),
            in_body(lambda branch, body: (branch, {**body, "type": "generate"})),
            lambda row: {**row, "type": "generate"}),
    Variant("more branches", both(
                with_notes,
                typed("CommandEvent", "cursor", ["null", "long", "string"]),
                typed("CommandStatusChanged", "result", ["null", "int", "string"]))),
    Variant("no null where we allow one", both(
                typed("CommandEvent", "cursor", "string"),
                typed("CommandSubmitted", "idempotency_key", "string"))),
    Variant("null where we allow none", both(
                typed("CommandEvent", "event_id", ["null", "string"]),
                typed("CommandSubmitted", "type", ["string", "null"]))),
    Variant("UUIDs in 16 bytes", typed("CommandEvent", "command_id", FIXED_UUID),
            lambda event: {**event, "command_id": uuid_bytes(event["command_id"])}),
    Variant("bytes for texts", typed("CommandStatusChanged", "result", ["null", "bytes"]),
            in_body(lambda branch, body: (branch, {
                **body, "result": body["result"].encode() if body.get("result") else None}))),
    Variant("a nested record for JSON", typed("CommandSubmitted", "payload", PAYLOAD_RECORD),
            in_body(lambda branch, body: (branch, {**body, "payload": PAYLOAD}))),
]

TELEMETRY_VARIANTS = [
    Variant("as ours", lambda schema: None),
    Variant("fields added", *ADDED_TELEMETRY),
    Variant("a recursive field",
            lambda schema: record_of(schema, "TelemetryEvent")["fields"].insert(1, RECURSIVE),
            lambda event: {**event, "tree": {"below": [{"below": []}, {"below": [{"below": []}]}]}},
            clients=("fastavro",)),  # whose JSON encoder does not know recursion
    Variant("fields dropped, which have defaults", dropped(
                *(("TelemetryEvent", name) for name in (
                    "version", "severity", "command_id", "correlation_id", "target", "payload",
                    "cursor"))),
            row=lambda row: {**row, "version": "1.0", "severity": "info", "command_id": None,
                             "correlation_id": None, "target": None, "payload": None,
                             "cursor": None}),
    Variant("reordered", reordered),
    Variant("milliseconds", typed("TelemetryEvent", "emitted_at", of("millis")),
            lambda event: in_milliseconds(event, MILLISECOND)),
    Variant("nanoseconds", typed("TelemetryEvent", "emitted_at", of("nanos")),
            lambda event: {**event, "emitted_at": event["emitted_at"] * 1000 + 999}),
    Variant("before 1970, in milliseconds", typed("TelemetryEvent", "emitted_at", of("millis")),
            lambda event: {**event, "emitted_at": -1},
            lambda row: {**row, "emitted_at": time_of(-MILLISECOND)}),
    Variant("int for long", typed("TelemetryEvent", "emitted_at", "int"),
            lambda event: {**event, "emitted_at": -7},
            lambda row: {**row, "emitted_at": time_of(-7)}),
    Variant("fields renamed", both(
                renamed("TelemetryEvent", "type", "kind"),
                renamed("TelemetryEvent", "payload", "content")),
            lambda event: renaming(renaming(event, "type", "kind"), "payload", "content")),
    Variant("enums for texts", typed("TelemetryEvent", "severity", {
        "type": "enum", "name": "Severity", "symbols": ["info", "warn"]})),
    Variant("more branches", both(
        typed("TelemetryEvent", "payload", ["int", "null", "string"]),
        typed("TelemetryEvent", "correlation_id", ["null", "boolean", "string"]))),
    Variant("UUIDs in 16 bytes", typed("TelemetryEvent", "event_id", FIXED_UUID),
            lambda event: {**event, "event_id": uuid_bytes(event["event_id"])}),
    Variant("a nested record for JSON", typed("TelemetryEvent", "payload", PAYLOAD_RECORD),
            lambda event: {**event, "payload": PAYLOAD}),
    Variant("a map for JSON", typed("TelemetryEvent", "payload", {
                "type": "map", "values": ["null", "string", "long"]}),
            lambda event: {**event, "payload": {"a": "ü\"", "b": None, "c": -5}},
            lambda row: {**row, "payload": {"a": "ü\"", "b": None, "c": -5}}),
]


def in_milliseconds(event, unit):
    changed = {**event, "emitted_at": event["emitted_at"] // unit}
    if "body" in event and event["body"][0] == "CommandSubmitted":
        branch, body = event["body"]
        changed["body"] = (branch, {**body, "requested_at": body["requested_at"] // unit})
    return changed


# --- the two clients ----------------------------------------------------------------------------


def publish_by_fastavro(topic, schema_id, schema, keyed):
    kafka.produce([kafka.Record(topic, key.encode(), avro.encode(event, schema_id, schema))
                   for key, event in keyed])


def publish_by_avro_c(topic, schema_id, schema, keyed, folder):
    """fastavro only writes the events as JSON here; the bytes are avro-c's."""
    path = folder / f"{schema_id}.avsc"
    path.write_text(schema)
    namespace = json.loads(schema).get("namespace")
    lines = []
    for key, event in keyed:
        out = io.StringIO()
        fastavro.json_writer(out, avro.parsed(schema), [avro.with_full_names(event, namespace)])
        lines.append(json.dumps({"key": key, "event": json.loads(out.getvalue())}))
    result = subprocess.run(
        [consumers.program("avroc-producer"), topic, "-1", str(schema_id), str(path)],
        input="\n".join(lines) + "\n", env=consumers.environment(), text=True,
        capture_output=True, timeout=consumers.DEADLINE, check=False)
    assert result.returncode == 0, result.stderr


def subject_of(topic, text):
    """Not the topic's own: what is registered here must not bind other tests, nor one variant the
    next. A consumer asks by id, whatever the subject."""
    return f"{topic}-evolution-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def publish(client, topic, variant, happened, folder):
    schema = json.loads(avro.schema_text(topic))
    variant.change(schema)
    text = json.dumps(schema)
    schema_id = registry.register(subject_of(topic, text), text)
    keyed = [(event["command_id"], variant.event(event)) for event in happened]
    if client == "avro-c":
        publish_by_avro_c(topic, schema_id, text, keyed, folder)
    else:
        publish_by_fastavro(topic, schema_id, text, keyed)


def differences(rows, expected):
    """{key: {column: (is, should be)}}; a row that is not there is None."""
    wrong = {}
    for key, row in expected.items():
        have = rows.get(key)
        if have is None:
            wrong[key] = None
            continue
        columns = {name: (have[name], value) for name, value in row.items() if have[name] != value}
        if columns:
            wrong[key] = columns
    return wrong


def plain(row):
    """The row with ids as text."""
    return {name: str(value) if name.endswith("_id") and value else value
            for name, value in row.items()}


@pytest.mark.parametrize("client", CLIENTS)
def test_commands_of_other_writers(world, client, tmp_path):
    expected = {}
    for variant in COMMAND_VARIANTS:
        if client not in variant.clients:
            continue
        happened = command_events(client, variant.name)
        publish(client, COMMANDS, variant, happened, tmp_path)
        expected[variant.name] = variant.row(command_row(happened))
    world.catch_up(PROJECTOR)
    names = {row["command_id"]: name for name, row in expected.items()}
    rows = {names[str(row["command_id"])]: plain(row) for row in world.rows("safari_commands")}
    letters = [letter["message"] for letter in world.letters()]
    assert (differences(rows, expected), letters) == ({}, [])
    assert rows.keys() == expected.keys()


@pytest.mark.parametrize("client", CLIENTS)
def test_frames_of_other_writers(world, client, tmp_path):
    expected = {}
    for variant in TELEMETRY_VARIANTS:
        if client not in variant.clients:
            continue
        happened = telemetry_events(client, variant.name)
        publish(client, TELEMETRY, variant, happened, tmp_path)
        expected[variant.name] = variant.row(telemetry_row(happened))
    world.catch_up(RECORDER)
    names = {row["event_id"]: name for name, row in expected.items()}
    rows = {names[str(row["event_id"])]: plain(row) for row in world.rows("safari_events")}
    letters = [letter["message"] for letter in world.letters()]
    assert (differences(rows, expected), letters) == ({}, [])
    assert rows.keys() == expected.keys()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.partitions(1)
def test_what_we_cannot_read_is_set_aside(world, client, tmp_path):
    """A branch that we do not know, a field that we need and the writer lacks, a type that does
    not convert: dead letters, and the writer's other records land."""
    def noted(event):
        if event["body"][0] == "CommandSubmitted":
            return event
        return {**event, "body": ("CommandNoted", {"note": "A third kind"})}

    variants = [
        Variant("a new branch", with_notes, noted),
        Variant("a needed field", dropped(("CommandStatusChanged", "status"))),
        Variant("another type", typed("CommandStatusChanged", "status", "long"),
                in_body(lambda branch, body: (branch, {**body, "status": 5}))),
    ]
    for variant in variants:
        publish(client, COMMANDS, variant, command_events(client, variant.name), tmp_path)
    world.catch_up(PROJECTOR)
    letters = world.letters()
    assert [letter["record_offset"] for letter in letters] == [1, 3, 5]
    for letter, says in zip(letters, ["body is neither", "status is missing", "type long"]):
        assert says in letter["message"]
    assert [row["status"] for row in world.rows("safari_commands")] == ["QUEUED"] * 3


def test_schemas_are_kept(world):
    """What the registry gave is in Postgres: without the registry it is still known."""
    world.publish(command_events("kept", "first"))
    world.catch_up(PROJECTOR)
    kept, = world.database.execute("SELECT * FROM projectionist.schemas").fetchall()
    assert kept["schema_id"] == world.schema_ids[COMMANDS]
    assert kept["registry"] == registry.url()
    assert json.loads(kept["schema"])["name"] == "CommandEvent"
    world.catch_up(PROJECTOR, group=world.consumers.new_group(), SCHEMA_REGISTRY_URL=None)
    assert world.letters() == []


def test_without_a_registry_nothing_is_set_aside(world):
    """Of a schema that is not kept nobody can say that its records are bad: the consumer ends, and
    has passed over nothing."""
    world.publish(command_events("kept", "first"))
    consumer = world.start(PROJECTOR, SCHEMA_REGISTRY_URL=None)
    consumer.wait(2)
    assert "PROJECTIONIST_SCHEMA_REGISTRY_URL" in consumer.log
    assert world.letters() == [] and world.offsets(world.group(PROJECTOR)) == {}
    world.catch_up(PROJECTOR)
    assert world.count("safari_commands") == 1

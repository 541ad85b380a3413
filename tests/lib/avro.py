# SPDX-License-Identifier: Apache-2.0
"""Events to and from the Confluent wire format: byte 0, the schema's id, the Avro body.

An event is a dict as its schema in schemas/ says. Of a union of records (the body of a CommandEvent
or a SessionEvent) the branch is named: ("CommandSubmitted", {...}). Times are integers, in
microseconds since 1970; UUIDs are text.
"""

import copy
import functools
import io
import json
from pathlib import Path

import fastavro

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"


@functools.cache
def schema_text(topic):
    """The schema of a topic as it is in schemas/<topic>/, JSON text."""
    files = list((SCHEMAS / topic).glob("*.avsc"))
    assert len(files) == 1, f"{SCHEMAS / topic} should hold one .avsc"
    return files[0].read_text(encoding="utf-8")


@functools.cache
def parsed(text):
    """fastavro's form of a schema's text."""
    return fastavro.parse_schema(json.loads(text))


@functools.cache
def _namespace(text):
    return json.loads(text).get("namespace")


@functools.cache
def _plain(text):
    """The schema without logical types, so that decoding gives integers and text."""
    def strip(node):
        if isinstance(node, dict):
            node.pop("logicalType", None)
            for value in node.values():
                strip(value)
        elif isinstance(node, list):
            for value in node:
                strip(value)
        return node
    return fastavro.parse_schema(strip(copy.deepcopy(json.loads(text))))


def with_full_names(value, namespace):
    """The event with the full names of union branches, which fastavro wants."""
    if isinstance(value, tuple):
        name, content = value
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        return full, with_full_names(content, namespace)
    if isinstance(value, dict):
        return {key: with_full_names(item, namespace) for key, item in value.items()}
    return value


def encode(event, schema_id, schema):
    """The wire format of an event. schema: JSON text, such as schema_text("safari.commands")."""
    out = io.BytesIO()
    out.write(b"\0" + schema_id.to_bytes(4, "big"))
    fastavro.schemaless_writer(out, parsed(schema), with_full_names(event, _namespace(schema)),
                               strict=False)
    return out.getvalue()


def decode(value, schema):
    """(schema_id, event) of a wire-format value that was written with that schema (JSON text).

    The body comes as ("CommandSubmitted", {...}), as encode takes it; so encode and decode are
    each other's inverse.
    """
    assert value[:1] == b"\0" and len(value) >= 5, "not the Confluent wire format"
    body = io.BytesIO(value[5:])
    event = fastavro.schemaless_reader(body, _plain(schema), None, return_record_name=True,
                                       return_record_name_override=True)
    assert not body.read(1), "bytes are left over after the Avro body"
    if isinstance(event.get("body"), tuple):
        name, content = event["body"]
        event["body"] = (name.rpartition(".")[2], content)
    return int.from_bytes(value[1:5], "big"), event

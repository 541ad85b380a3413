# SPDX-License-Identifier: Apache-2.0
"""The contracts of captions, drama and studio: every version that was published stays readable by the
newest (BACKWARD_TRANSITIVE). contract/<topic>.avsc is version 1, contract/<topic>.v2.avsc and so on what came
after it; none of these files ever changes. test_schemas.py does the same for safari."""

import copy
import io
import json
from pathlib import Path

import fastavro
import pytest
from fastavro.read import SchemaResolutionError
from lib import (avro, captions_events, captions_stream, drama_events, drama_stream, studio_events,
                 studio_stream)

CONTRACT = Path(__file__).parent / "contract"
SYSTEMS = {"captions": (captions_events, captions_stream), "drama": (drama_events, drama_stream),
           "studio": (studio_events, studio_stream)}
TOPICS = [topic for events, _ in SYSTEMS.values() for topic in events.TOPICS]
NOTHING = object()  # no default


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def current(topic):
    return json.loads(avro.schema_text(topic))


def records(node, found=None):
    """{record's name: its fields} of a schema, those in unions, arrays and maps, too."""
    found = {} if found is None else found
    if isinstance(node, list):
        for branch in node:
            records(branch, found)
    elif isinstance(node, dict):
        if node.get("type") == "record":
            found[node["name"]] = node["fields"]
            for field in node["fields"]:
                records(field["type"], found)
        else:
            for part in ("type", "items", "values"):
                records(node.get(part), found)
    return found


def shape(node):
    """A type without docs; a record is its name."""
    if isinstance(node, list):
        return [shape(branch) for branch in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") == "record":
        return node["name"]
    return {key: shape(value) for key, value in node.items() if key != "doc"}


def breaks(old, new):
    """What of an older version the newest does not keep, as sentences."""
    wrong, newest = [], records(new)
    for name, fields in records(old).items():
        kept = newest.get(name, [])
        for place, field in enumerate(fields):
            have = kept[place] if place < len(kept) else {"name": None, "type": None}
            was, is_now = shape(field["type"]), shape(have["type"])
            # A union may get branches, behind those that it has.
            same = is_now == was or (isinstance(was, list) and isinstance(is_now, list)
                                     and is_now[:len(was)] == was)
            if have["name"] != field["name"] or not same or (
                    have.get("default", NOTHING) != field.get("default", NOTHING)):
                wrong.append(f"{name}.{field['name']} is {have}")
        wrong += [f"{name}.{field['name']} has no default" for field in kept[len(fields):]
                  if "default" not in field]
    return wrong


def published(topic):
    return sorted(CONTRACT.glob(f"{topic}.avsc")) + sorted(CONTRACT.glob(f"{topic}.v*.avsc"))


OLDER = [(topic, path) for topic in TOPICS for path in published(topic)]


@pytest.fixture(scope="module")
def happened():
    """{topic: events of all kinds}"""
    found = {topic: [] for topic in TOPICS}
    for events, stream in SYSTEMS.values():
        for event in stream.Stream(1).events:
            found[events.topic_of(event)].append(event)
    return found


def read_as(event, writer, reader, topic):
    out = io.BytesIO()
    written = fastavro.parse_schema(copy.deepcopy(writer))
    fastavro.schemaless_writer(out, written, avro.with_full_names(event, topic.partition(".")[0]))
    out.seek(0)
    return fastavro.schemaless_reader(out, written, fastavro.parse_schema(copy.deepcopy(reader)),
                                      return_record_name=True)


def test_every_topic_has_its_first_version():
    ours = {path.name for path in avro.SCHEMAS.iterdir() if path.is_dir()
            and path.name.partition(".")[0] in SYSTEMS}
    assert ours == set(TOPICS) == {topic for topic, _ in OLDER}


@pytest.mark.parametrize("topic, older", OLDER, ids=lambda value: getattr(value, "name", value))
def test_the_newest_version_keeps_each_older_one(topic, older):
    assert breaks(load(older), current(topic)) == []


@pytest.mark.parametrize("topic, older", OLDER, ids=lambda value: getattr(value, "name", value))
def test_the_newest_version_reads_each_older_one(topic, older, happened):
    old, new = load(older), current(topic)
    assert happened[topic]
    for event in happened[topic]:
        got = read_as(event, old, new, topic)
        for name, value in read_as(event, old, old, topic).items():
            assert got[name] == value, name


@pytest.mark.parametrize("kind, members", captions_events.BODIES.items())
def test_version_1_of_captions_is_what_the_contract_says(kind, members):
    fields, = [found[kind] for topic in captions_events.TOPICS
               for found in [records(load(CONTRACT / f"{topic}.avsc"))] if kind in found]
    said = {field["name"]: field.get("default", captions_events.NEEDED) for field in fields}
    assert said == members


def change(act):
    schema = copy.deepcopy(load(CONTRACT / "captions.videos.avsc"))
    act(schema["fields"])
    return schema


@pytest.mark.parametrize("act", [
    lambda fields: fields.append({"name": "added", "type": "string"}),
    lambda fields: fields.insert(0, {"name": "added", "type": ["null", "int"], "default": None}),
    lambda fields: fields[0].update(type="int"),
    lambda fields: fields.pop(4),
    lambda fields: fields[-1]["type"].pop(0),
    lambda fields: fields[-1]["type"][0]["fields"][0].update(default="x"),
    lambda fields: fields[-1]["type"][0]["fields"].append({"name": "added", "type": "int"}),
], ids=["no default", "not last", "another type", "field gone", "branch gone", "another default",
        "no default, nested"])
def test_a_break_would_be_seen(act):
    assert breaks(load(CONTRACT / "captions.videos.avsc"), change(act)) != []


def test_what_breaks_cannot_be_read(happened):
    event = happened["captions.videos"][0]
    with pytest.raises(SchemaResolutionError):
        read_as(event, load(CONTRACT / "captions.videos.avsc"), change(
            lambda fields: fields.append({"name": "added", "type": "string"})), "captions.videos")


def test_fields_and_kinds_of_events_may_be_added():
    def act(fields):
        fields.append({"name": "added", "type": ["null", "string"], "default": None})
        fields[-2]["type"].append({"type": "record", "name": "VideoBlessed", "fields": []})
    assert breaks(load(CONTRACT / "captions.videos.avsc"), change(act)) == []

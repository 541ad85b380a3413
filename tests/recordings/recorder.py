# SPDX-License-Identifier: Apache-2.0
"""What all recordings have in common: a file per topic as schemas/recording.avsc says, in a folder
whose manifest says what it was made from, so that it is made once."""

import hashlib
import io
import json
import shutil
import tempfile
from pathlib import Path

import fastavro

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDINGS = REPOSITORY / ".local" / "recordings"
COMMANDS_TOPIC = "safari.commands"
TELEMETRY_TOPIC = "safari.telemetry"
SESSIONS_TOPIC = "safari.sessions"
SCHEMA_FILES = {
    COMMANDS_TOPIC: REPOSITORY / "schemas/safari.commands/CommandEvent.avsc",
    TELEMETRY_TOPIC: REPOSITORY / "schemas/safari.telemetry/TelemetryEvent.avsc",
    SESSIONS_TOPIC: REPOSITORY / "schemas/safari.sessions/SessionEvent.avsc",
}
SCHEMA_IDS = {COMMANDS_TOPIC: 1, TELEMETRY_TOPIC: 2, SESSIONS_TOPIC: 3}
RECORDING_SCHEMA = REPOSITORY / "schemas/recording.avsc"
MANIFEST = "recording.json"
BLOCK_BYTES = 128 * 1024


class RecordingError(Exception):
    """The recording cannot be made there; the text says why and what to do."""


def _items(topic, messages):
    """The items of a topic's recording: its schema, then its messages."""
    schema_text = SCHEMA_FILES[topic].read_text(encoding="utf-8")
    schema = fastavro.parse_schema(json.loads(schema_text))
    schema_id = SCHEMA_IDS[topic]
    yield "projectionist.RecordedSchema", {
        "id": schema_id, "subject": f"{topic}-value",
        "schema": json.dumps(json.loads(schema_text), ensure_ascii=False, separators=(",", ":"))}
    prefix = b"\0" + schema_id.to_bytes(4, "big")
    for key, milliseconds, event in messages:
        value = io.BytesIO()
        value.write(prefix)
        fastavro.schemaless_writer(value, schema, event)
        yield "projectionist.RecordedMessage", {
            "topic": topic, "partition": None, "key": key.encode(), "timestamp": milliseconds,
            "headers": [], "value": value.getvalue()}


def write(folder, topics, origin):
    """Writes a file per topic; the same messages always give the same bytes. topics: {topic:
    (key, timestamp in milliseconds, event) of each message}, with the full names of what is in a
    union."""
    # Not parsed before: fastavro would write the parsed form, in an order that varies.
    schema = json.loads(RECORDING_SCHEMA.read_text(encoding="utf-8"))
    for topic, messages in topics.items():
        with open(folder / f"{topic}.avro", "wb") as file:
            fastavro.writer(file, schema, _items(topic, messages), codec="deflate",
                            sync_interval=BLOCK_BYTES,
                            sync_marker=hashlib.md5(topic.encode()).digest(),
                            metadata={"projectionist.origin": origin})


def manifest(name, sources, **settings):
    """What a finished recording was made from. sources: the files of code that make it."""
    digest = hashlib.sha256()
    for path in [*sources, __file__, RECORDING_SCHEMA, *SCHEMA_FILES.values()]:
        digest.update(Path(path).read_bytes())
    return {"recording": name, **settings, "made_from": digest.hexdigest()}


def read_manifest(folder):
    """The manifest of a folder; None where there is none."""
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _put_in_place(made, output):
    """Puts the finished folder where it belongs, in place of an older recording."""
    made.chmod(0o755)
    if output.exists():
        old = made.with_name(made.name + ".old")
        output.rename(old)
        made.rename(output)
        shutil.rmtree(old)
    else:
        made.rename(output)


def make(output, wanted, fill):
    """Makes the recording in `output`, whose manifest is to be `wanted`: fill(folder) writes its
    files. What that returns; None where the recording is there already."""
    found = read_manifest(output)
    if found == wanted:
        return None
    if output.exists() and (found or {}).get("recording") != wanted["recording"] and (
            not output.is_dir() or any(output.iterdir())):
        raise RecordingError(f"{output} holds something else; delete it or choose another --output")
    output.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        result = fill(made)
        (made / MANIFEST).write_text(json.dumps(wanted) + "\n", encoding="utf-8")
        _put_in_place(made, output)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return result

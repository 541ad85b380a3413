# SPDX-License-Identifier: Apache-2.0
"""Recordings, as stream-record would write them."""

import json

import fastavro

from . import avro
from .consumers import REPOSITORY
from .events import TOPICS

OTHER_IDS = 7000  # ids in the recording are of another registry


def record_to(path, records, schema_ids):
    """Writes records as stream-record would, with ids of its own; returns how many."""
    schema = fastavro.parse_schema(json.loads(
        (REPOSITORY / "schemas/recording.avsc").read_text(encoding="utf-8")))
    ids = {schema_ids[topic]: OTHER_IDS + number for number, topic in enumerate(TOPICS)}

    def items():
        for topic in TOPICS:
            yield "projectionist.RecordedSchema", {
                "id": ids[schema_ids[topic]], "subject": f"{topic}-value",
                "schema": avro.schema_text(topic)}
        for record in records:
            written = int.from_bytes(record.value[1:5], "big")
            yield "projectionist.RecordedMessage", {
                "topic": record.topic, "partition": None, "key": record.key, "headers": [],
                "timestamp": record.timestamp or 0,
                "value": b"\0" + ids[written].to_bytes(4, "big") + record.value[5:]}

    with open(path, "wb") as file:
        fastavro.writer(file, schema, items())

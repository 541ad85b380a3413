# SPDX-License-Identifier: Apache-2.0
"""The schemas of the render topics are the contract, whose version 1 is frozen in contract/<topic>.avsc,
and whatever is added to them stays readable."""

import copy
import io
import json
import re

import fastavro
import pytest
from lib import avro, render_events
from lib.events import id_of
from test_schemas import CONTRACT, NOTHING, load, shape, undocumented

# Of each record: its fields with type and default, in this order.
FIELDS = """
JobEvent: event_id uuid, job_id uuid, emitted_at time, attempt int = 1, body union(JobCreated, JobStatusChanged, JobProgressed, JobDeleted)
JobCreated: output_format string = "mp4", width int, height int, estimated_duration int?, response_type string?, client_ip string?, user_agent string?, request_metadata json?, owner_id uuid?, requested_at time?
JobStatusChanged: status string, error_message string?, error_code string?, processing_ms long?, result_url string?
JobProgressed: progress int, step string?
JobDeleted: reason string, requested_by string?
ElementEvent: event_id uuid, job_id uuid, element_id uuid, emitted_at time, body union(ElementAdded, ElementUpdated)
ElementAdded: element_order int, type string, source_url string, source_filename string?, source_size long?, source_duration dec(10,3)?, track int = 0, x_position string = "0%", y_position string = "0%", width string = "100%", height string = "100%", fit_mode string = "auto", start_time dec(10,3) = "\\u0000", end_time dec(10,3)?, metadata json?
ElementUpdated: downloaded boolean?, processed boolean?, local_path string?, processed_path string?, error_message string?, source_size long?, source_duration dec(10,3)?
StepEvent: event_id uuid, job_id uuid, emitted_at time, attempt int = 1, step string, step_order int, body union(StepStarted, StepCompleted)
StepStarted: details json?
StepCompleted: success boolean, progress int?, details json?, error_message string?, cpu_usage dec(5,2)?, memory_usage long?
StorageEvent: event_id uuid, job_id uuid?, emitted_at time, operation string, bucket string, key string, region string = "us-east-1", success boolean, file_size long?, duration_ms int?, error_message string?, metadata json?
AccessEvent: event_id uuid, job_id uuid?, emitted_at time, url string, access_type string, client_ip string?, user_agent string?, referer string?, response_code int?, bytes_served long?, response_time_ms int?, country string?, region string?, city string?
MetricEvent: event_id uuid, emitted_at time, metric_name string, metric_type string, value dec(15,6), unit string?, labels json?
"""
PLAIN = {"uuid": {"type": "string", "logicalType": "uuid"}, "json": "string",
         "time": {"type": "long", "logicalType": "timestamp-micros"}}


def field_of(text):
    name, kind, default = re.fullmatch(r"(\w+) ([^=]+?)(?: = (.*))?", text).groups()
    nullable, kind = kind.endswith("?"), kind.rstrip("?")
    if kind.startswith("union("):
        of = [f"render.{record}" for record in kind[6:-1].split(", ")]
    elif kind.startswith("dec("):
        precision, scale = map(int, kind[4:-1].split(","))
        of = {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
    else:
        of = PLAIN.get(kind, kind)
    if nullable:
        return name, ["null", of], None
    return name, of, NOTHING if default is None else json.loads(default)


def contract():
    lines = [line.split(": ", 1) for line in FIELDS.strip().splitlines()]
    return {f"render.{name}": [field_of(text) for text in re.split(r", (?=\w+ )", fields)]
            for name, fields in lines}


def record_of(topic):
    schema = json.loads(avro.schema_text(topic))
    return schema["name"], schema


@pytest.mark.parametrize("topic", render_events.TOPICS)
def test_the_schemas_are_the_contract(topic):
    _, schema = record_of(topic)
    frozen = shape(load(CONTRACT / f"{topic}.avsc"))
    for record, fields in frozen.items():
        assert fields == contract()[record], record
    for record, fields in shape(schema).items():
        known = contract().get(record, [])
        assert fields[:len(known)] == known, record
        assert all(default is not NOTHING for _, _, default in fields[len(known):]), record
    assert undocumented(schema) == []


def test_no_record_is_missing():
    assert set(contract()) == {record for topic in render_events.TOPICS
                               for record in shape(record_of(topic)[1])}


JOB = id_of("job")
EXAMPLES = [
    render_events.created(JOB, 1), render_events.status(JOB, "a newer word", 1),
    render_events.progressed(JOB, 3, 1), render_events.deleted(JOB, 1),
    render_events.added(JOB, JOB, 0, 1, source_duration="1.5", end_time="2"),
    render_events.updated(JOB, JOB, 1, downloaded=True), render_events.started(JOB, "upload", 0, 1),
    render_events.ended(JOB, "upload", 0, 1, cpu_usage="99.99"),
    render_events.stored("upload", "k", 1), render_events.accessed(1), render_events.metric("m", "1.5", 1),
]


@pytest.mark.parametrize("event", EXAMPLES, ids=render_events.topic_of)
def test_the_newest_version_reads_the_first(event):
    topic = render_events.topic_of(event)
    old, new = load(CONTRACT / f"{topic}.avsc"), record_of(topic)[1]
    out = io.BytesIO()
    full = avro.with_full_names(render_events.with_numbers(event), "render")
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(old)), full)
    got = []
    for reader in (old, new):
        out.seek(0)
        got.append(fastavro.schemaless_reader(out, fastavro.parse_schema(copy.deepcopy(old)),
                                              fastavro.parse_schema(copy.deepcopy(reader))))
    assert got[0].items() <= got[1].items() if "body" not in got[0] else got[0] == got[1]

# SPDX-License-Identifier: Apache-2.0
"""Builds the events of the render topics, as dicts in the form that lib.avro encodes; but decimals are
texts ("12.5"), which record() turns into numbers.

Ids of jobs and elements are text; what is not named has the contract's default.
"""

from decimal import Decimal

from lib import avro, kafka, registry
from lib.events import MILLISECOND, id_of, json_text

JOBS = "render.jobs"
ELEMENTS = "render.elements"
TIMELINE = "render.timeline"
STORAGE = "render.storage"
ACCESS = "render.access"
METRICS = "render.metrics"
TOPICS = (JOBS, ELEMENTS, TIMELINE, STORAGE, ACCESS, METRICS)
JSON = ("request_metadata", "metadata", "details", "labels")
DECIMALS = ("source_duration", "start_time", "end_time", "cpu_usage", "value")
STEPS = ("validation", "download", "processing", "composition", "encoding", "upload", "cleanup")

BODIES = {
    "JobCreated": {"output_format": "mp4", "width": 1920, "height": 1080,
                   "estimated_duration": None, "response_type": None, "client_ip": None,
                   "user_agent": None, "request_metadata": None, "owner_id": None,
                   "requested_at": None},
    "JobStatusChanged": {"status": ..., "error_message": None, "error_code": None,
                         "processing_ms": None, "result_url": None},
    "JobProgressed": {"progress": ..., "step": None},
    "JobDeleted": {"reason": "cleanup", "requested_by": None},
    "ElementAdded": {"element_order": ..., "type": "video", "source_url": "https://example.org/a",
                     "source_filename": None, "source_size": None, "source_duration": None,
                     "track": 0, "x_position": "0%", "y_position": "0%", "width": "100%",
                     "height": "100%", "fit_mode": "auto", "start_time": "0", "end_time": None,
                     "metadata": None},
    "ElementUpdated": {"downloaded": None, "processed": None, "local_path": None,
                       "processed_path": None, "error_message": None, "source_size": None,
                       "source_duration": None},
    "StepStarted": {"details": None},
    "StepCompleted": {"success": True, "progress": None, "details": None, "error_message": None,
                      "cpu_usage": None, "memory_usage": None},
}


def _filled(members, given):
    assert given.keys() <= members.keys(), f"there is no {given.keys() - members.keys()}"
    filled = {**members, **given}
    assert ... not in filled.values(), f"something is missing: {filled}"
    return {name: json_text(value) if name in JSON else value for name, value in filled.items()}


def _event(event_id, members, kind=None, body=None):
    event = {**members, **({"body": (kind, _filled(BODIES[kind], body))} if kind else {})}
    return {"event_id": event_id or id_of(event), **event}


def job(kind, job_id, at, *, attempt=1, event_id=None, **body):
    """A JobEvent."""
    return _event(event_id, {"job_id": job_id, "emitted_at": at, "attempt": attempt}, kind, body)


def created(job_id, at, **given):
    return job("JobCreated", job_id, at, **given)


def status(job_id, word, at, **given):
    return job("JobStatusChanged", job_id, at, status=word, **given)


def progressed(job_id, progress, at, **given):
    return job("JobProgressed", job_id, at, progress=progress, **given)


def deleted(job_id, at, **given):
    return job("JobDeleted", job_id, at, **given)


def added(job_id, element_id, order, at, *, event_id=None, **body):
    """An ElementEvent; so is updated."""
    return _event(event_id, {"job_id": job_id, "element_id": element_id, "emitted_at": at},
                  "ElementAdded", {"element_order": order, **body})


def updated(job_id, element_id, at, *, event_id=None, **body):
    return _event(event_id, {"job_id": job_id, "element_id": element_id, "emitted_at": at},
                  "ElementUpdated", body)


def _step(kind, job_id, step, order, at, attempt, event_id, body):
    return _event(event_id, {"job_id": job_id, "emitted_at": at, "attempt": attempt, "step": step,
                             "step_order": order}, kind, body)


def started(job_id, step, order, at, *, attempt=1, event_id=None, **body):
    """A StepEvent; so is ended."""
    return _step("StepStarted", job_id, step, order, at, attempt, event_id, body)


def ended(job_id, step, order, at, *, attempt=1, event_id=None, **body):
    return _step("StepCompleted", job_id, step, order, at, attempt, event_id, body)


def stored(operation, key, at, *, job_id=None, event_id=None, **given):
    """A StorageEvent; an upload has a size."""
    size = 1000 if operation == "upload" and given.get("success", True) else None
    return _event(event_id, _filled(
        {"job_id": job_id, "emitted_at": at, "operation": operation, "bucket": "videos", "key": key,
         "region": "us-east-1", "success": True, "file_size": size, "duration_ms": None,
         "error_message": None, "metadata": None}, given))


def accessed(at, *, job_id=None, event_id=None, **given):
    """An AccessEvent."""
    return _event(event_id, _filled(
        {"job_id": job_id, "emitted_at": at, "url": "https://example.org/v.mp4",
         "access_type": "download", "client_ip": None, "user_agent": None, "referer": None,
         "response_code": None, "bytes_served": None, "response_time_ms": None, "country": None,
         "region": None, "city": None}, given))


def metric(name, value, at, *, event_id=None, **given):
    """A MetricEvent."""
    return _event(event_id, _filled(
        {"emitted_at": at, "metric_name": name, "metric_type": "gauge", "value": value, "unit": None,
         "labels": None}, given))


def topic_of(event):
    for member, topic in (("metric_name", METRICS), ("access_type", ACCESS), ("bucket", STORAGE),
                          ("step_order", TIMELINE), ("element_id", ELEMENTS)):
        if member in event:
            return topic
    return JOBS


def key_of(event):
    """The Kafka key."""
    if event.get("job_id") is not None:
        return event["job_id"]
    return f"{event['bucket']}/{event['key']}" if "bucket" in event else event["event_id"]


def with_numbers(value):
    """The event with its decimals as numbers."""
    if isinstance(value, tuple):
        return value[0], with_numbers(value[1])
    if isinstance(value, dict):
        return {name: Decimal(item) if name in DECIMALS and item is not None else with_numbers(item)
                for name, item in value.items()}
    return value


def record(event, schema_ids, *, partition=None):
    """The kafka.Record of an event. schema_ids: {topic: id}."""
    topic = topic_of(event)
    return kafka.Record(topic, key_of(event).encode(),
                        avro.encode(with_numbers(event), schema_ids[topic], avro.schema_text(topic)),
                        event["emitted_at"] // MILLISECOND, partition)


def register_schemas():
    """Registers the schemas of the topics; {topic: schema id}."""
    return {topic: registry.register(f"{topic}-value", avro.schema_text(topic))
            for topic in TOPICS}

# SPDX-License-Identifier: Apache-2.0
"""Builds the events of the studio topics, as dicts in the form that lib.avro encodes.

What is not named has the contract's default. Seconds (durations, trims) are decimals of six places.
"""

from decimal import Decimal

from lib import avro, kafka, registry
from lib.events import MILLISECOND, id_of, json_text

PROJECTS = "studio.projects"
CLIPS = "studio.clips"
MEDIA = "studio.media"
VOICES = "studio.voices"
JOBS = "studio.jobs"
OBJECTS = "studio.objects"
TOPICS = (PROJECTS, CLIPS, MEDIA, VOICES, JOBS, OBJECTS)
JSON = ("seo_chapters", "metadata", "result")

BODIES = {
    PROJECTS: {
        "ProjectSaved": {"fields": None, "base_revision": None, "title": None, "description": None,
                         "script": None, "seo_title": None, "seo_description": None,
                         "seo_tags": None, "seo_hashtags": None, "seo_chapters": None,
                         "scenes": None, "created_at": None},
        "ProjectStatusChanged": {"status": ...},
        "ProjectThumbnailSet": {"thumbnail_url": None},
        "ProjectDeleted": {"reason": None}},
    CLIPS: {
        "ClipSaved": {"clip_id": ..., "scene_id": None, "provider": None, "status": "draft",
                      "file_url": None, "thumbnail_url": None, "duration": None, "prompt": None,
                      "created_at": None},
        "ClipTrimmed": {"clip_id": ..., "start_trim": None, "end_trim": None},
        "ClipsReordered": {"clip_ids": ...},
        "ClipDeleted": {"clip_id": ...}},
    MEDIA: {
        "ExportSaved": {"export_id": ..., "file_url": "f", "thumbnail_url": None,
                        "resolution": None, "duration": None, "created_at": None},
        "ExportDeleted": {"export_id": ...},
        "AudioFileSaved": {"audio_id": ..., "kind": "audio", "file_url": "f", "filename": None,
                           "duration": None, "metadata": None, "created_at": None},
        "AudioFileDeleted": {"audio_id": ...}},
    VOICES: {
        "VoiceSaved": {"voice_name": None, "metadata": None, "created_at": None},
        "VoiceDeleted": {"reason": None}},
    JOBS: {
        "JobRegistered": {"type": "clip", "message": None},
        "JobProgressed": {"progress": ..., "message": None},
        "JobStatusChanged": {"status": ..., "message": None, "progress": None, "result": None}},
    OBJECTS: {
        "ObjectStored": {"size_bytes": None, "content_type": None, "etag": None,
                         "public_url": None},
        "ObjectDeleted": {"reason": None}},
}
SECONDS = ("duration", "start_trim", "end_trim")


def scene(scene_id, **given):
    """A SceneItem."""
    return _filled({"scene_id": ..., "number": None, "title": None, "description": None,
                    "prompt": None, "created_at": None}, {"scene_id": scene_id, **given})


def _filled(members, given):
    assert given.keys() <= members.keys(), f"there is no {given.keys() - members.keys()}"
    filled = {**members, **given}
    assert ... not in filled.values(), f"something is missing: {filled}"
    return {name: _value(name, value) for name, value in filled.items()}


def _value(name, value):
    if name in SECONDS and value is not None:
        return Decimal(str(value)).quantize(Decimal("0.000001"))
    return json_text(value) if name in JSON else value


def _event(topic, event_id, at, members, kind, given):
    event = {**members, "emitted_at": members["revision"] if at is None else at,
             "body": (kind, _filled(BODIES[topic][kind], given))}
    return {"event_id": event_id or id_of(topic, str(event)), **event}


def project(kind, project_id, revision, /, *, user_id=None, at=None, event_id=None, **body):
    """A ProjectEvent; emitted at its revision, where no time is given."""
    return _event(PROJECTS, event_id, at, {"project_id": project_id, "revision": revision,
                                           "user_id": user_id}, kind, body)


def clip(kind, project_id, revision, /, *, at=None, event_id=None, **body):
    """A ClipEvent."""
    return _event(CLIPS, event_id, at, {"project_id": project_id, "revision": revision}, kind, body)


def media(kind, project_id, revision, /, *, at=None, event_id=None, **body):
    """A MediaEvent."""
    return _event(MEDIA, event_id, at, {"project_id": project_id, "revision": revision}, kind, body)


def voice(kind, voice_id, revision, /, *, user_id=None, provider="eleven", at=None, event_id=None,
          **body):
    """A VoiceEvent."""
    return _event(VOICES, event_id, at, {"user_id": user_id, "provider": provider,
                                         "voice_id": voice_id, "revision": revision}, kind, body)


def job(kind, job_id, revision, /, *, project_id=None, at=None, event_id=None, **body):
    """A JobEvent."""
    return _event(JOBS, event_id, at, {"job_id": job_id, "project_id": project_id,
                                       "revision": revision}, kind, body)


def stored(kind, bucket, object_key, revision, /, *, at=None, event_id=None, **body):
    """An ObjectEvent."""
    return _event(OBJECTS, event_id, at, {"bucket": bucket, "object_key": object_key,
                                          "revision": revision}, kind, body)


def topic_of(event):
    return next(topic for topic, kinds in BODIES.items() if event["body"][0] in kinds)


def key_of(event):
    """The Kafka key."""
    topic = topic_of(event)
    if topic == VOICES:
        return "/".join((event["user_id"] or "-", event["provider"], event["voice_id"]))
    if topic == OBJECTS:
        return "/".join((event["bucket"], event["object_key"]))
    return event["job_id" if topic == JOBS else "project_id"]


def record(event, schema_ids, *, partition=None):
    """The kafka.Record of an event. schema_ids: {topic: id}."""
    topic = topic_of(event)
    return kafka.Record(topic, key_of(event).encode(),
                        avro.encode(event, schema_ids[topic], avro.schema_text(topic)),
                        event["emitted_at"] // MILLISECOND, partition)


def register_schemas():
    """Registers the schemas of the topics; {topic: schema id}."""
    return {topic: registry.register(f"{topic}-value", avro.schema_text(topic))
            for topic in TOPICS}

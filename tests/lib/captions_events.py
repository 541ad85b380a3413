# SPDX-License-Identifier: Apache-2.0
"""Builds the events of the captions topics, as dicts in the form that lib.avro encodes.

Times (`at`) are microseconds since 1970, ids are text. Where no event_id is given it follows from the
event's content, as in lib.events. What a record's body does not name has the contract's default; a
member that it does not have is refused here.
"""

from lib import avro, kafka, registry
from lib.events import MILLISECOND, id_of, json_text

TENANTS = "captions.tenants"
USERS = "captions.users"
VIDEOS = "captions.videos"
FLOWS = "captions.flows"
OBJECTS = "captions.objects"
SEARCH = "captions.search"
CROPS = "captions.crops"
LOCKS = "captions.locks"
TOPICS = (TENANTS, USERS, VIDEOS, FLOWS, OBJECTS, SEARCH, CROPS, LOCKS)

BUCKET = "caption-acc-prod"
NEEDED = object()
REASON = {"reason": None}
BODIES = {
    "TenantCreated": {"name": NEEDED, "slug": NEEDED, "storage_quota_gb": 100},
    "TenantChanged": {"name": None, "slug": None, "storage_quota_gb": None},
    "TenantRemoved": REASON,
    "UserRegistered": {"tenant_id": None, "full_name": None, "avatar_url": None, "role": "user"},
    "UserProfileChanged": {"full_name": None, "avatar_url": None},
    "UserAssigned": {"tenant_id": NEEDED, "role": "user", "assigned_by": None},
    "UserRemoved": REASON,
    "VideoRegistered": {"filename": NEEDED, "storage_key": NEEDED, "size_bytes": None,
                        "duration_seconds": None, "annotations_db_key": None,
                        "uploaded_at": None},
    "ProcessingStarted": {"flow_run_id": NEEDED, "run_count": 1},
    "ProcessingFinished": {"flow_run_id": NEEDED, "run_count": 1, "outcome": NEEDED,
                           "frame_count": None, "ocr_box_count": None, "indexed_frames": None,
                           "failed_batches": 0, "duration_seconds": None, "error": None},
    "LayoutApproved": {"layout_db_key": None, "layout_db_hash": None, "crop_bounds": None},
    "VideoArchived": REASON,
    "VideoRestored": REASON,
    "VideoSoftDeleted": REASON,
    "VideoPurged": REASON,
    "FrameTextIndexed": {"index_run": NEEDED, "run_started_at": NEEDED, "ocr_text": None},
    "FrameCaptioned": {"caption_text": None},
    "CropStarted": {"version": NEEDED, "storage_prefix": NEEDED, "layout_db_storage_key": None,
                    "layout_db_hash": None, "crop_bounds": None, "frame_rate": 10.0,
                    "created_by_user_id": None, "flow_run_id": None},
    "CropEncoded": {"chunk_count": NEEDED, "total_frames": NEEDED, "total_size_bytes": NEEDED},
    "CropActivated": {},
    "CropFailed": {"error": None},
    "LockAcquired": {"expires_at": NEEDED},
    "LockRenewed": {"expires_at": NEEDED},
    "LockReleased": REASON,
}


def _body(kind, given):
    members = BODIES[kind]
    assert given.keys() <= members.keys(), f"{kind} has no {given.keys() - members.keys()}"
    body = {**members, **given}
    assert NEEDED not in body.values(), f"{kind} needs {body}"
    if "crop_bounds" in body:
        body["crop_bounds"] = json_text(body["crop_bounds"])
    return kind, body


def _with_id(event_id, event):
    return {"event_id": event_id or id_of(event), **event}


def tenant(kind, tenant_id, at, *, event_id=None, **body):
    return _with_id(event_id, {"tenant_id": tenant_id, "emitted_at": at, "body": _body(kind, body)})


def user(kind, user_id, at, *, event_id=None, **body):
    return _with_id(event_id, {"user_id": user_id, "emitted_at": at, "body": _body(kind, body)})


def video(kind, tenant_id, video_id, at, *, actor=None, event_id=None, **body):
    """A VideoEvent. A VideoRegistered has a name and a key of its own where none is given."""
    if kind == "VideoRegistered":
        body = {"filename": "clip.mp4", "storage_key": f"{tenant_id}/{video_id}/video.mp4", **body}
    return _with_id(event_id, {"tenant_id": tenant_id, "video_id": video_id, "emitted_at": at,
                               "actor_user_id": actor, "body": _body(kind, body)})


def flow(flow_run_id, state_type, at, *, tenant_id=None, video_id=None, flow_name=None,
         run_name=None, state_name=None, run_count=0, message=None, tags=None, event_id=None):
    return _with_id(event_id, {
        "flow_run_id": flow_run_id, "emitted_at": at, "tenant_id": tenant_id,
        "video_id": video_id, "flow_name": flow_name, "run_name": run_name,
        "state_type": state_type, "state_name": state_name, "run_count": run_count,
        "message": message, "tags": json_text(tags)})


def object_event(operation, key, at, *, tenant_id=None, video_id=None, bucket=BUCKET,
                 size_bytes=None, etag=None, version_id=None, sequencer=None, event_id=None):
    """An ObjectEvent: "stored" or "removed"."""
    return _with_id(event_id, {
        "tenant_id": tenant_id, "video_id": video_id, "emitted_at": at, "bucket": bucket,
        "key": key, "operation": operation, "size_bytes": size_bytes, "etag": etag,
        "version_id": version_id, "sequencer": sequencer})


def file_event(operation, tenant_id, video_id, name, at, **more):
    """An ObjectEvent of a file in the folder of a video."""
    return object_event(operation, f"{tenant_id}/{video_id}/{name}", at, tenant_id=tenant_id,
                        video_id=video_id, **more)


def frame(kind, tenant_id, video_id, frame_index, at, *, event_id=None, **body):
    """A FrameEvent."""
    return _with_id(event_id, {"tenant_id": tenant_id, "video_id": video_id,
                               "frame_index": frame_index, "emitted_at": at,
                               "body": _body(kind, body)})


def crop(kind, tenant_id, video_id, version_id, at, *, event_id=None, **body):
    """A CropEvent. A CropStarted has a prefix of its own where none is given."""
    if kind == "CropStarted":
        prefix = f"{tenant_id}/{video_id}/cropped_frames_v{body['version']}"
        body = {"storage_prefix": prefix, **body}
    return _with_id(event_id, {"tenant_id": tenant_id, "video_id": video_id,
                               "version_id": version_id, "emitted_at": at,
                               "body": _body(kind, body)})


def lock(kind, tenant_id, video_id, lock_id, user_id, acquired_at, at, *, event_id=None, **body):
    """A LockEvent."""
    return _with_id(event_id, {"tenant_id": tenant_id, "video_id": video_id, "lock_id": lock_id,
                               "user_id": user_id, "acquired_at": acquired_at, "emitted_at": at,
                               "body": _body(kind, body)})


def topic_of(event):
    """The topic that an event belongs to, by the members that only its record has."""
    for member, topic in (("bucket", OBJECTS), ("state_type", FLOWS), ("frame_index", SEARCH),
                          ("version_id", CROPS), ("lock_id", LOCKS), ("video_id", VIDEOS),
                          ("user_id", USERS)):
        if member in event:
            return topic
    return TENANTS


def key_of(event):
    """The Kafka key."""
    topic = topic_of(event)
    if topic == OBJECTS:
        return event["video_id"] or f"{event['bucket']}/{event['key']}"
    return event[{TENANTS: "tenant_id", USERS: "user_id", FLOWS: "flow_run_id"}.get(
        topic, "video_id")]


def record(event, schema_ids, *, partition=None, timestamp=None):
    """The kafka.Record of an event. schema_ids: {topic: id}; timestamp: milliseconds, by default
    those of emitted_at."""
    topic = topic_of(event)
    return kafka.Record(topic, key_of(event).encode(),
                        avro.encode(event, schema_ids[topic], avro.schema_text(topic)),
                        event["emitted_at"] // MILLISECOND if timestamp is None else timestamp,
                        partition)


def register_schemas():
    """Registers the schemas of the topics; {topic: schema id}."""
    return {topic: registry.register(f"{topic}-value", avro.schema_text(topic))
            for topic in TOPICS}

# SPDX-License-Identifier: Apache-2.0
"""Builds the events of the drama topics, as dicts in the form that lib.avro encodes, and says what a
drama's graph of jobs is.

Ids of dramas, jobs and users are texts. What is not named has the contract's default.
"""

from lib import avro, kafka, registry
from lib.events import MILLISECOND, id_of, json_text

DRAMAS = "drama.dramas"
JOBS = "drama.jobs"
USERS = "drama.users"
TOPICS = (DRAMAS, JOBS, USERS)
JSON = ("metadata", "extra", "result")


def _filled(members, given):
    assert given.keys() <= members.keys(), f"there is no {given.keys() - members.keys()}"
    filled = {**members, **given}
    assert ... not in filled.values(), f"something is missing: {filled}"
    return {name: json_text(value) if name in JSON else value for name, value in filled.items()}


def asset(id, kind="image", **given):
    return _filled({"id": ..., "kind": ..., "depends_on": [], "prompt": None, "duration": None,
                    "url": None, "metadata": None, "extra": None}, {"id": id, "kind": kind, **given})


def character(id, **given):
    return _filled({"id": ..., "name": None, "description": None, "gender": None,
                    "voice_description": None, "main": False, "url": None, "premise_url": None,
                    "assets": [], "metadata": None, "extra": None}, {"id": id, **given})


def scene(id, **given):
    return _filled({"id": ..., "description": None, "image_url": None, "video_url": None,
                    "assets": [], "metadata": None, "extra": None}, {"id": id, **given})


def episode(id, **given):
    return _filled({"id": ..., "title": None, "description": None, "premise": None, "url": None,
                    "scenes": [], "assets": [], "metadata": None, "extra": None},
                   {"id": id, **given})


BODIES = {
    "DramaSaved": {"base_revision": None, "source": "api", "title": None, "description": None,
                   "premise": None, "url": None, "metadata": None, "characters": None,
                   "episodes": None, "assets": None, "created_at": None, "content_hash": None},
    "DramaStatusChanged": {"status": ..., "error": None},
    "MediaSet": {"level": ..., "path": ..., "slot": "url", "value": None, "job_id": None},
    "DramaDeleted": {"reason": None},
    "JobCreated": {"job_type": "generate_image", "parent_job_id": None, "asset_id": None,
                   "node_type": None, "prompt": None, "depends_on": None, "total_jobs": None,
                   "title": None, "project_name": None, "metadata": None},
    "JobStatusChanged": {"status": ..., "error": None, "r2_url": None, "r2_key": None,
                         "result": None},
    "UserRegistered": {"email": None, "display_name": None, "tokens": 30,
                       "subscription_tier": "free"},
    "UserChanged": {"fields": ..., "email": None, "display_name": None, "subscription_tier": None},
    "TokensChanged": {"delta": ..., "reason": "charge", "entry_id": None, "drama_id": None,
                      "job_id": None},
    "UserDeleted": {"reason": None},
}


def _event(event_id, at, members, kind, given):
    event = {**members, "emitted_at": members["revision"] if at is None else at,
             "body": (kind, _filled(BODIES[kind], given))}
    return {"event_id": event_id or id_of(event), **event}


def drama(kind, drama_id, life, revision, *, user_id=None, at=None, event_id=None, **body):
    """A DramaEvent; emitted at its revision, where no time is given."""
    return _event(event_id, at, {"drama_id": drama_id, "life": life, "revision": revision,
                                 "user_id": user_id}, kind, body)


def job(kind, drama_id, job_id, revision, *, attempt=1, user_id=None, at=None, event_id=None,
        **body):
    """A JobEvent."""
    return _event(event_id, at, {"drama_id": drama_id, "job_id": job_id, "user_id": user_id,
                                 "attempt": attempt, "revision": revision}, kind, body)


def user(kind, user_id, revision, *, at=None, event_id=None, **body):
    """A UserEvent."""
    return _event(event_id, at, {"user_id": user_id, "revision": revision}, kind, body)


def graph(characters, episodes):
    """[(node type, id, path)] of what is to be made of a drama."""
    nodes = [("character", one["id"], [one["id"]]) for one in characters]
    nodes += [("character_asset", made["id"], [one["id"], made["id"]])
              for one in characters for made in one["assets"]]
    for one in episodes:
        nodes.append(("episode", one["id"], [one["id"]]))
        for part in one["scenes"]:
            nodes.append(("scene", part["id"], [one["id"], part["id"]]))
            nodes += [("scene_asset", made["id"], [one["id"], part["id"], made["id"]])
                      for made in part["assets"]]
    return nodes


def topic_of(event):
    return JOBS if "job_id" in event else DRAMAS if "drama_id" in event else USERS


def key_of(event):
    """The Kafka key."""
    return event["user_id" if topic_of(event) == USERS else "drama_id"]


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

# SPDX-License-Identifier: Apache-2.0
"""Builds the events of the three topics, as dicts in the form that lib.avro encodes.

Times (`at`) are microseconds since 1970. Ids are text; id_of("command", 1) is always the same one.
Where no event_id is given it follows from the event's content, so the same call gives the same
event, and a changed argument another one.
"""

import json
import uuid

from lib import avro, kafka, registry

COMMANDS = "safari.commands"
TELEMETRY = "safari.telemetry"
SESSIONS = "safari.sessions"
TOPICS = (COMMANDS, TELEMETRY, SESSIONS)

MILLISECOND = 1_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
START = 1_795_237_594_968_000  # 2026-11-21T05:06:34.968Z: a time to count from

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "projectionist/tests")


def id_of(*parts):
    """A UUID that follows from its parts, such as id_of(seed, "command", 7)."""
    return str(uuid.uuid5(NAMESPACE, json.dumps(parts)))


def cursor_of(at, counter):
    """The service's cursor of a time: `<epoch ms>-<counter>`, not zero-padded."""
    return f"{at // MILLISECOND}-{counter}"


def json_text(content):
    """A JSON text; text and None stay what they are, so that broken JSON can be sent too."""
    if content is None or isinstance(content, str):
        return content
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def target(session_id=None, account_id=None, platform="sora"):
    """Where a command acts."""
    return {"session_id": session_id, "account_id": account_id, "platform": platform}


def _with_id(event_id, event):
    return {"event_id": event_id or id_of(event), **event}


def command_submitted(command_id, at=START, *, type="sora.generate", payload=None,
                      idempotency_key=None, correlation_id=None, requested_at=None,
                      requester_service="tests", requester_instance=None, target=None,
                      cursor=None, event_id=None):
    """A CommandEvent: the command was sent. payload: dict or JSON text."""
    if payload is None:
        payload = {"prompt": "A lighthouse in a storm"}
    return _with_id(event_id, {
        "command_id": command_id,
        "cursor": cursor,
        "emitted_at": at,
        "body": ("CommandSubmitted", {
            "type": type,
            "payload": json_text(payload),
            "idempotency_key": idempotency_key,
            "correlation_id": correlation_id,
            "requested_at": requested_at,
            "requester_service": requester_service,
            "requester_instance": requester_instance,
            "target": target,
        }),
    })


def status_changed(command_id, status, at=START, *, counter=None, cursor=None, result=None,
                   error=None, event_id=None):
    """A CommandEvent: the status changed. counter: that of a cursor made from `at`; without it and
    without a cursor the event has none, as on wire v2. result: dict or JSON text."""
    if cursor is None and counter is not None:
        cursor = cursor_of(at, counter)
    return _with_id(event_id, {
        "command_id": command_id,
        "cursor": cursor,
        "emitted_at": at,
        "body": ("CommandStatusChanged",
                 {"status": status, "result": json_text(result), "error": error}),
    })


def telemetry(type, at=START, *, command_id=None, payload=None, counter=None, cursor=None,
              severity="info", version="1.0", correlation_id=None, target=None, event_id=None):
    """A TelemetryEvent: one frame. payload: dict or JSON text."""
    if cursor is None and counter is not None:
        cursor = cursor_of(at, counter)
    return _with_id(event_id, {
        "version": version,
        "type": type,
        "severity": severity,
        "command_id": command_id,
        "correlation_id": correlation_id,
        "target": target,
        "payload": json_text(payload),
        "cursor": cursor,
        "emitted_at": at,
    })


def frame_of(event):
    """The TelemetryEvent in which a status_changed event came: same id, cursor and time."""
    name, body = event["body"]
    assert name == "CommandStatusChanged", f"a {name} comes in no frame"
    payload = {"command_id": event["command_id"], "status": body["status"]}
    if body["result"] is not None:
        payload["result"] = json.loads(body["result"])
    if body["error"] is not None:
        payload["error"] = body["error"]
    failed = body["status"] in ("FAILED", "VERIFICATION_FAILED")
    return telemetry("status.changed", event["emitted_at"], command_id=event["command_id"],
                     payload=payload, cursor=event["cursor"],
                     severity="error" if failed else "info", event_id=event["event_id"])


def session_opened(session_id, at=START, *, platform="sora", account_id=None, browser_pid=None,
                   metadata=None, event_id=None):
    """A SessionEvent: opened. metadata: dict or JSON text."""
    return _with_id(event_id, {
        "session_id": session_id,
        "emitted_at": at,
        "body": ("SessionOpened", {"platform": platform, "account_id": account_id,
                                   "browser_pid": browser_pid, "metadata": json_text(metadata)}),
    })


def session_closed(session_id, at=START, *, reason=None, event_id=None):
    """A SessionEvent: closed."""
    return _with_id(event_id, {
        "session_id": session_id,
        "emitted_at": at,
        "body": ("SessionClosed", {"reason": reason}),
    })


def topic_of(event):
    """The topic that an event belongs to."""
    if "session_id" in event:
        return SESSIONS
    return COMMANDS if "body" in event else TELEMETRY


def key_of(event):
    """The Kafka key: the command_id where there is one, else the session_id, else the event_id."""
    return event.get("command_id") or event.get("session_id") or event["event_id"]


def record(event, schema_ids, *, topic=None, partition=None):
    """The kafka.Record of an event. schema_ids: {topic: id}, as register_schemas gives them;
    topic: another topic with the same schema."""
    contract = topic_of(event)
    return kafka.Record(topic or contract, key_of(event).encode(),
                        avro.encode(event, schema_ids[contract], avro.schema_text(contract)),
                        event["emitted_at"] // MILLISECOND, partition)


def register_schemas():
    """Registers the schemas of the three topics; {topic: schema id}."""
    return {topic: registry.register(f"{topic}-value", avro.schema_text(topic))
            for topic in TOPICS}

# SPDX-License-Identifier: Apache-2.0
"""The rows that the tables must hold, from the set of events alone.

Independent of the programs that it judges: it reads the whole set at once and knows nothing of
folds, batches or offsets. Rows are dicts as lib.database.table gives them: UUIDs, aware datetimes
and parsed JSON, without the volatile columns, in the same order.

expected(events) takes the event dicts of lib.events, in any order and any number of times.
"""

import json
import re
import uuid
from datetime import datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
WORDS = {"QUEUED": "QUEUED", "PENDING": "QUEUED", "RUNNING": "RUNNING", "POLLING": "RUNNING",
         "SUCCEEDED": "SUCCEEDED", "FAILED": "FAILED", "VERIFICATION_FAILED": "FAILED",
         "CANCELLED": "CANCELLED"}
RANKS = {"QUEUED": 0, "RUNNING": 1}  # all others: 2
CURSOR = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)
HOW_FAR_BACK = 10  # rows that a difference shows


def expected(events):
    """{table: rows} of safari_commands, safari_events and projectionist.idempotency_conflicts,
    with both consumers done. Events with an unknown status word are dead letters of the command
    projector and count for nothing there."""
    commands, frames = _by_topic(events)
    rows = {key: _command_row(key, said) for key, said in _alive(commands).items()}
    conflicts = _settle_idempotency_keys(rows)
    for key, seen in _earliest_frames(frames).items():
        rows.setdefault(key, _placeholder_row(key, seen))
    return {
        "safari_commands": in_order(rows.values()),
        "safari_events": in_order(_event_row(frame) for frame in frames),
        "projectionist.idempotency_conflicts": in_order(conflicts),
    }


def dead_letters(events):
    """The event_ids of the CommandEvents that the command projector cannot apply, sorted, each
    once; the table of dead letters has a row for each time that one was delivered."""
    commands, _ = _by_topic(events)
    return sorted(event["event_id"] for event in commands if not _applies(event))


def in_order(rows):
    """Rows as lib.database.table sorts them."""
    return sorted(rows, key=lambda row: [str(row[column]) for column in row])


def differences(have, want, key):
    """What differs between two lists of rows, as text for an assertion; "" where nothing does."""
    left = {row[key]: row for row in have}
    right = {row[key]: row for row in want}
    lines = []
    for one in sorted(left.keys() | right.keys(), key=str):
        a, b = left.get(one), right.get(one)
        if a is None or b is None:
            lines.append(f"{one}: {'missing' if a is None else 'should not be there'}")
        elif a != b:
            columns = [f"{name} is {a.get(name)!r}, should be {b.get(name)!r}"
                       for name in b.keys() | a.keys() if a.get(name) != b.get(name)]
            lines.append(f"{one}: {'; '.join(sorted(columns))}")
    rest = len(lines) - HOW_FAR_BACK
    return "\n".join(lines[:HOW_FAR_BACK] + ([f"and {rest} more"] if rest > 0 else []))


# --- events ----------------------------------------------------------------------------------

def time_of(microseconds):
    """A column's value for a time."""
    return None if microseconds is None else EPOCH + timedelta(microseconds=microseconds)


def _uuid(text):
    return None if text is None else uuid.UUID(text)


def _json(text):
    return None if text is None else json.loads(text)


def _by_topic(events):
    """(CommandEvents, TelemetryEvents), each event_id once."""
    commands, frames = {}, {}
    for event in events:
        if "session_id" in event:
            continue
        chosen = commands if "body" in event else frames
        chosen.setdefault(event["event_id"], event)
    return list(commands.values()), list(frames.values())


def _applies(event):
    name, body = event["body"]
    return name == "CommandSubmitted" or body["status"] in WORDS


def _alive(commands):
    """{command_id: its events that can be applied}"""
    found = {}
    for event in commands:
        if _applies(event):
            found.setdefault(_uuid(event["command_id"]), []).append(event)
    return found


def lifecycle_order(event):
    """What sorts the lifecycle events of a command; the greatest is its status."""
    at = event["emitted_at"]
    rank = RANKS.get(WORDS[event["body"][1]["status"]], 2)
    cursor = CURSOR.fullmatch(event["cursor"] or "")
    ms, counter = (int(cursor[1]), int(cursor[2])) if cursor else (at // 1000, -1)
    return ms, counter, at, rank, event["event_id"]


# --- safari_commands -------------------------------------------------------------------------

def _command_row(key, said):
    submissions = [event for event in said if event["body"][0] == "CommandSubmitted"]
    lifecycle = [event for event in said if event["body"][0] == "CommandStatusChanged"]
    row = _placeholder_row(key, min((event["emitted_at"] for event in said)))
    row["placeholder"] = None
    if submissions:
        event = min(submissions, key=lambda event: (event["emitted_at"], event["event_id"]))
        body = event["body"][1]
        requested = body["requested_at"]
        row.update(type=body["type"], payload=_json(body["payload"]), target=body["target"],
                   idempotency_key=body["idempotency_key"],
                   created_at=time_of(event["emitted_at"] if requested is None else requested),
                   correlation_id=_uuid(body["correlation_id"]),
                   requester_service=body["requester_service"],
                   requester_instance=body["requester_instance"])
    if lifecycle:
        last = max(lifecycle, key=lifecycle_order)
        body = last["body"][1]
        row["status"] = WORDS[body["status"]]
        if row["status"] not in RANKS:
            row.update(completed_at=time_of(last["emitted_at"]), result=_json(body["result"]),
                       error_message=body["error"])
        row["started_at"] = min((time_of(event["emitted_at"]) for event in lifecycle
                                 if WORDS[event["body"][1]["status"]] == "RUNNING"), default=None)
    return row


def _placeholder_row(key, seen):
    """A command of which nothing is known but that it was named at the time `seen`."""
    return {"command_id": key, "type": "unknown", "status": "QUEUED", "payload": None,
            "result": None, "target": None, "error_message": None, "idempotency_key": None,
            "created_at": time_of(seen), "started_at": None, "completed_at": None,
            "correlation_id": None, "requester_service": None, "requester_instance": None,
            "placeholder": True}


def _settle_idempotency_keys(rows):
    """Takes a key from all who claim it but the oldest; the rows of the side table."""
    claims = {}
    for row in rows.values():
        if row["idempotency_key"] is not None:
            claims.setdefault(row["idempotency_key"], []).append(row)
    conflicts = []
    for key, claimants in claims.items():
        keeper, *others = sorted(claimants, key=lambda row: (row["created_at"], row["command_id"]))
        for row in others:
            row["idempotency_key"] = None
            conflicts.append({"idempotency_key": key, "command_id": row["command_id"],
                              "kept_by": keeper["command_id"]})
    return conflicts


# --- safari_events ---------------------------------------------------------------------------

def _earliest_frames(frames):
    """{command_id: when telemetry first named it}"""
    seen = {}
    for frame in frames:
        if frame["command_id"] is not None:
            key = _uuid(frame["command_id"])
            seen[key] = min(seen.get(key, frame["emitted_at"]), frame["emitted_at"])
    return seen


def _event_row(frame):
    return {"event_id": _uuid(frame["event_id"]), "command_id": _uuid(frame["command_id"]),
            "correlation_id": _uuid(frame["correlation_id"]), "type": frame["type"],
            "severity": frame["severity"], "payload": _json(frame["payload"]),
            "cursor": frame["cursor"], "emitted_at": time_of(frame["emitted_at"]),
            "version": frame["version"], "target": frame["target"]}

# SPDX-License-Identifier: Apache-2.0
"""The rows that the tables must hold, from the set of events alone.

Independent of the programs that it judges: it reads the whole set at once and knows nothing of
folds, batches or offsets. Rows are dicts as lib.database.table gives them: UUIDs, aware datetimes
and parsed JSON, without the volatile columns, in the same order.

expected(events) takes the event dicts of lib.events, in any order and any number of times.
"""

from lib import events as contract
from lib import oracle_metrics, oracle_sessions, oracle_videos
from lib.oracle_facts import (CATALOG, CONSUMERS, PROJECTOR, RANKS, RECORDER, WORDS,
                              can_apply, is_command, is_frame, json_of, known_commands, moment,
                              order, reason_in, status_in, submission_in, time_of, uuid_of)

KEYS = {  # of each table, whose rows a difference names by it
    "safari_commands": ("command_id",),
    "safari_events": ("event_id",),
    "projectionist.idempotency_conflicts": ("idempotency_key", "command_id"),
    "safari_videos": ("video_id",),
    "watermark_removals": ("removal_id",),
    "watermark_metrics": ("bucket_start", "method"),
    "watermark_metrics_times": ("removal_id",),
    "safari_sessions": ("session_id",),
}
HOW_FAR_BACK = 10  # rows that a difference shows


def expected(events, timestamps=None):
    """{table: rows} of the tables in KEYS, with all five consumers done. What a consumer cannot
    apply counts for nothing there. timestamps: {(topic, event_id): ms} of the records whose
    timestamp is not their emitted_at."""
    events = list(_once(events))
    commands = _by_command(event for event in events if can_apply(PROJECTOR, event))
    frames = [event for event in events if is_frame(event) and can_apply(RECORDER, event)]
    rows = {key: _command_row(key, said) for key, said in commands.items()}
    conflicts = _assign_idempotency_keys(rows)
    for key, seen in _earliest_frames(frames).items():
        rows.setdefault(key, _placeholder_row(key, seen))
    known = known_commands(events, CATALOG)  # those that the aggregator of removals knows too
    removals = oracle_videos.removals(known)
    tables = {
        "safari_commands": rows.values(),
        "safari_events": map(_event_row, frames),
        "projectionist.idempotency_conflicts": conflicts,
        "safari_videos": oracle_videos.videos(known),
        "watermark_removals": removals,
        "watermark_metrics": oracle_metrics.metrics(removals),
        "watermark_metrics_times": oracle_metrics.times(removals),
        "safari_sessions": oracle_sessions.sessions(
            events, lambda event: _timestamp(event, timestamps or {})),
    }
    return {table: in_order(rows) for table, rows in tables.items()}


def dead_letters(events):
    """{consumer: the (topic, event_id) of what it cannot apply}; the table of dead letters has a
    row for each time that one was delivered."""
    return {consumer: {(contract.topic_of(event), event["event_id"]) for event in events
                       if not can_apply(consumer, event)}
            for consumer in CONSUMERS}


def in_order(rows):
    """Rows as lib.database.table sorts them, whatever the order of their columns."""
    return sorted(rows, key=lambda row: [str(row[column]) for column in row])


def differences(have, want, key):
    """What differs between two lists of rows, as text for an assertion; "" where nothing does.
    key: the name of the column that names a row, or several."""
    lines = [f"{_named(one)}: {_difference(a, b)}" for one, a, b in different(have, want, key)]
    rest = len(lines) - HOW_FAR_BACK
    return "\n".join(lines[:HOW_FAR_BACK] + ([f"and {rest} more"] if rest > 0 else []))


def different(have, want, key):
    """[(key, row or None, row or None)] of the rows that differ between two lists."""
    columns = (key,) if isinstance(key, str) else key
    left, right = ({tuple(row[column] for column in columns): row for row in rows}
                   for rows in (have, want))
    keys = sorted(left.keys() | right.keys(), key=str)
    return [(one, left.get(one), right.get(one)) for one in keys
            if left.get(one) != right.get(one)]


def _named(key):
    return ", ".join(map(str, key))


def _difference(have, want):
    if have is None or want is None:
        return "missing" if have is None else "should not be there"
    return "; ".join(f"{name} is {have.get(name)!r}, should be {want.get(name)!r}"
                     for name in sorted(have.keys() | want.keys())
                     if have.get(name) != want.get(name))


# --- events ----------------------------------------------------------------------------------

def _once(events):
    """Each event of a topic once."""
    return {(contract.topic_of(event), event["event_id"]): event for event in events}.values()


def _by_command(events):
    """{command_id: its CommandEvents}"""
    found = {}
    for event in filter(is_command, events):
        found.setdefault(uuid_of(event["command_id"]), []).append(event)
    return found


def _timestamp(event, timestamps):
    at = timestamps.get((contract.topic_of(event), event["event_id"]))
    return event["emitted_at"] // contract.MILLISECOND if at is None else at


# --- safari_commands -------------------------------------------------------------------------

def _command_row(key, said):
    submissions = [event for event in said if submission_in(event)]
    lifecycle = [event for event in said if status_in(event)]
    row = _placeholder_row(key, min((event["emitted_at"] for event in said)))
    row["placeholder"] = None
    if submissions:
        event = min(submissions, key=moment)
        body = submission_in(event)
        requested = body["requested_at"]
        row.update(type=body["type"], payload=json_of(body["payload"]), target=body["target"],
                   idempotency_key=body["idempotency_key"] or None,
                   created_at=time_of(event["emitted_at"] if requested is None else requested),
                   correlation_id=uuid_of(body["correlation_id"]),
                   requester_service=body["requester_service"],
                   requester_instance=body["requester_instance"])
    if lifecycle:
        last = max(lifecycle, key=order)
        body = status_in(last)
        row["status"] = WORDS[body["status"]]
        if row["status"] not in RANKS:
            row.update(completed_at=time_of(last["emitted_at"]), result=json_of(body["result"]),
                       error_message=reason_in(body))
        row["started_at"] = min((time_of(event["emitted_at"]) for event in lifecycle
                                 if WORDS[status_in(event)["status"]] == "RUNNING"), default=None)
    return row


def _placeholder_row(key, seen):
    """A command of which nothing is known but that it was named at the time `seen`."""
    return {"command_id": key, "type": "unknown", "status": "QUEUED", "payload": None,
            "result": None, "target": None, "error_message": None, "idempotency_key": None,
            "created_at": time_of(seen), "started_at": None, "completed_at": None,
            "correlation_id": None, "requester_service": None, "requester_instance": None,
            "placeholder": True}


def _assign_idempotency_keys(rows):
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
            key = uuid_of(frame["command_id"])
            seen[key] = min(seen.get(key, frame["emitted_at"]), frame["emitted_at"])
    return seen


def _event_row(frame):
    return {"event_id": uuid_of(frame["event_id"]), "command_id": uuid_of(frame["command_id"]),
            "correlation_id": uuid_of(frame["correlation_id"]), "type": frame["type"],
            "severity": frame["severity"], "payload": json_of(frame["payload"]),
            "cursor": frame["cursor"], "emitted_at": time_of(frame["emitted_at"]),
            "version": frame["version"], "target": frame["target"]}

# SPDX-License-Identifier: Apache-2.0
"""The rows of safari_sessions that lib.oracle expects."""

from lib.events import HOUR, MILLISECOND, MINUTE
from lib.oracle_facts import (TRACKER, can_apply, first, is_frame, is_session, json_of,
                              known_commands, member, moment, status_in, submission_in, text_in,
                              time_of, uuid_in, uuid_of)

TIMEOUT = 30 * MINUTE
AHEAD = 24 * HOUR  # of its record: a clock that is not to be believed


def sessions(events, timestamps):
    """The rows. timestamps: function of an event that gives its record's, in milliseconds."""
    events = [event for event in events if can_apply(TRACKER, event)]
    now = max((event["emitted_at"] for event in events
               if event["emitted_at"] - timestamps(event) * MILLISECOND <= AHEAD), default=None)
    return [_row(key, told, now) for key, told in _tell(events).items()]


class _Session:
    """What is told of one session."""

    def __init__(self):
        self.opened = []    # events
        self.created = []   # commands that created it
        self.closed = []    # times
        self.activity = []  # times
        self.named = []     # (event, target): submissions and frames with that target


def _tell(events):
    """{session_id: _Session}"""
    told = {}

    def session(key):
        return told.setdefault(key, _Session())

    for event in events:
        if is_session(event):
            one = session(uuid_of(event["session_id"]))
            if event["body"][0] == "SessionOpened":
                one.opened.append(event)
                one.activity.append(event["emitted_at"])
            else:
                one.closed.append(event["emitted_at"])
            continue
        body = event if is_frame(event) else submission_in(event)
        target = body["target"] if body else None
        if target and target["session_id"]:
            one = session(uuid_of(target["session_id"]))
            one.activity.append(event["emitted_at"])
            one.named.append((event, target))
    _tell_lifecycles(events, session)
    _tell_commands(events, session)
    return told


def _tell_lifecycles(events, session):
    """Every lifecycle event of a command is activity of each session that it was ever sent to."""
    sent_to = {}
    for event in events:
        body = submission_in(event)
        if body and body["target"] and body["target"]["session_id"]:
            sent_to.setdefault(event["command_id"], set()).add(body["target"]["session_id"])
    for event in events:
        if status_in(event):
            for key in sent_to.get(event["command_id"], ()):
                session(uuid_of(key)).activity.append(event["emitted_at"])


def _tell_commands(events, session):
    """The commands that opened and closed sessions."""
    for command in known_commands(events, TRACKER).values():
        if command.status != "SUCCEEDED":
            continue
        if command.type == "session.create":
            key = uuid_in(member(command.result, "session_id"))
            if key is not None:
                session(key).created.append(command)
                session(key).activity.append(command.ended_at)
        elif command.type == "session.close":
            key = first(uuid_of(command.target.get("session_id")),
                        uuid_in(member(command.payload, "session_id")))
            if key is not None:
                session(key).closed.append(command.ended_at)


def _row(key, told, now):
    opening = min(told.opened, key=moment, default=None)
    creator = min(told.created, key=lambda command: (command.ended_at, command.id), default=None)
    if opening:
        body = opening["body"][1]
        opened, platform, account = (opening["emitted_at"], text_in(body, "platform"),
                                     uuid_of(body["account_id"]))
    elif creator:
        opened = creator.ended_at
        platform = first(text_in(creator.payload, "platform"),
                         text_in(creator.target, "platform"))
        account = first(uuid_in(member(creator.payload, "account_id")),
                        uuid_of(creator.target.get("account_id")))
    else:
        opened = platform = account = None
    named = min(((moment(event), target["platform"]) for event, target in told.named
                 if target["platform"]), default=(None, None))
    last = max(told.activity, default=None)
    closed = min(told.closed, default=None)
    started = first(opened, min(told.activity, default=None), closed)
    status, ended = "active", None
    if closed is not None:
        status, ended = "closed", closed
    elif now is not None and last + TIMEOUT < now:
        status, ended = "expired", last + TIMEOUT
    return {
        "session_id": key, "platform": first(platform, named[1], "unknown"),
        "account_id": account, "status": status,
        "browser_pid": opening["body"][1]["browser_pid"] if opening else None,
        "started_at": time_of(started), "ended_at": time_of(ended),
        "metadata": json_of(opening["body"][1]["metadata"]) if opening else None,
        "created_at": time_of(started), "last_activity_at": time_of(last),
    }

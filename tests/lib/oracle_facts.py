# SPDX-License-Identifier: Apache-2.0
"""What is known of each command, from the set of events: what lib.oracle and its parts share.

A consumer knows only of the events that it can apply; the others are its dead letters.
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
GREATEST_BATCH_INDEX = 9999
GREATEST_SIZE = 2**48

PROMPT = "sora.prompt.submitted"
READY = "sora.video.ready"
DOWNLOADED = "sora.video.downloaded"
CLEANED = "sora.video.cleaned"
ATTEMPTED = "action.attempted"
NEEDED = {PROMPT, READY, DOWNLOADED, CLEANED, ATTEMPTED}  # of whose frames the payload counts

BATCHES = {"sora.batch", "sora.batch.clean"}

PROJECTOR = "command-projector"
RECORDER = "event-recorder"
CATALOG = "video-catalog"
METRICS = "watermark-metrics"
TRACKER = "session-tracker"
CONSUMERS = (PROJECTOR, RECORDER, CATALOG, METRICS, TRACKER)
READERS = {  # of the topics, by (is_session, is_frame) of their events
    (False, False): {PROJECTOR, CATALOG, METRICS, TRACKER},
    (False, True): {RECORDER, CATALOG, METRICS, TRACKER},
    (True, False): {TRACKER},
}


# --- values ----------------------------------------------------------------------------------

def time_of(microseconds):
    """A column's value for a time."""
    return None if microseconds is None else EPOCH + timedelta(microseconds=microseconds)


def uuid_of(text):
    return None if text is None else uuid.UUID(text)


def uuid_in(value):
    """A UUID where a member of some JSON is one, else None."""
    try:
        return uuid.UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def json_of(text):
    return None if text is None else json.loads(text)


def is_json(text):
    """Whether a column of type jsonb takes it."""
    def refuse(word):
        raise ValueError(word)

    try:
        value = json.loads(text, parse_constant=refuse)
        return "\\u0000" not in text or not _has_nul(value)
    except ValueError:
        return False


def is_object(text):
    return is_json(text) and isinstance(json.loads(text), dict)


def _has_nul(value):
    if isinstance(value, dict):
        return any(map(_has_nul, value.keys())) or any(map(_has_nul, value.values()))
    if isinstance(value, list):
        return any(map(_has_nul, value))
    return isinstance(value, str) and "\0" in value


def text_in(content, name):
    """A member that is a string; what is missing, something else or an empty one is None."""
    value = member(content, name)
    return value if isinstance(value, str) and value else None


def size_in(content, name):
    """A member that is a whole number, not negative, and a size that a file may have."""
    value = whole(member(content, name))
    return value if value is not None and 0 <= value <= GREATEST_SIZE else None


def whole(value):
    """JSON knows one kind of number, so 9.0 is 9; None where it is no whole number."""
    if type(value) is float and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    return value if type(value) is int else None


def member(content, name):
    """A member; the names of wire v2 are in camel case."""
    if name in content:
        return content[name]
    first_word, *words = name.split("_")
    return content.get(first_word + "".join(word.capitalize() for word in words))


def first(*values):
    """The first that is not None."""
    return next((value for value in values if value is not None), None)


# --- events ----------------------------------------------------------------------------------

def is_session(event):
    return "session_id" in event


def is_command(event):
    return "body" in event and "session_id" not in event


def is_frame(event):
    return "body" not in event


def submission_in(event):
    """The body of a CommandSubmitted, else None."""
    if is_command(event) and event["body"][0] == "CommandSubmitted":
        return event["body"][1]
    return None


def status_in(event):
    """The body of a CommandStatusChanged, else None."""
    if is_command(event) and event["body"][0] == "CommandStatusChanged":
        return event["body"][1]
    return None


def reason_in(status):
    """The error of the body of a CommandStatusChanged."""
    if status["error"] is None and status["status"] == "VERIFICATION_FAILED":
        return status["status"]
    return status["error"]


def moment(event):
    """What sorts events of one kind; ids only decide between equal times."""
    return event["emitted_at"], event["event_id"]


def order(event):
    """What sorts the lifecycle events of a command, and its frames."""
    at = event["emitted_at"]
    status = status_in(event)
    rank = 0 if status is None else RANKS.get(WORDS[status["status"]], 2)
    cursor = CURSOR.fullmatch(event["cursor"] or "")
    ms, counter = (int(cursor[1]), int(cursor[2])) if cursor else (at // 1000, -1)
    return ms, counter, at, rank, event["event_id"]


def can_apply(consumer, event):
    """Whether the event is none of the consumer's dead letters; a topic that it does not read has
    none of them. What jsonb cannot hold is one everywhere."""
    if consumer not in READERS[is_session(event), is_frame(event)]:
        return True
    if not all(is_json(text) for text in _json_texts(event) if text is not None):
        return False
    if is_frame(event):
        return consumer not in (CATALOG, METRICS) or _is_good_fact(event)
    submitted, status = submission_in(event), status_in(event)
    if submitted:
        return consumer not in (CATALOG, METRICS) or not _has_too_many_prompts(submitted)
    return not status or status["status"] in WORDS


def _json_texts(event):
    content = event if is_frame(event) else event["body"][1]
    return [content.get(name) for name in ("payload", "result", "metadata")]


def _has_too_many_prompts(submitted):
    prompts = _content(submitted["payload"]).get("prompts")
    return (submitted["type"] in BATCHES and isinstance(prompts, list)
            and len(prompts) > GREATEST_BATCH_INDEX + 1)


def _is_good_fact(frame):
    if frame["type"] not in NEEDED or frame["payload"] is None:
        return True
    content = _content(frame["payload"])
    if frame["type"] not in (PROMPT, CLEANED) or not is_numbered(content):
        return True
    index = whole(member(content, "batch_index"))
    return index is not None and 0 <= index <= GREATEST_BATCH_INDEX


def is_numbered(content):
    """Whether the payload of a frame says which video of a batch it is about."""
    return member(content, "batch_index") is not None


# --- what is known of a command ----------------------------------------------------------------

class Command:
    """One command, by what has been said of it (events that can be applied).

    Of the submission: type (None without one), payload, target. Of the winning status: winner (the
    event) and status; where that is terminal: ended_at, result and error. Of telemetry: prompts and
    cleaned by index, ready, downloaded and attempted, each as the event and its payload.
    """

    def __init__(self, key, said):
        self.id = uuid.UUID(key)
        submissions = [event for event in said if submission_in(event)]
        lifecycle = [event for event in said if status_in(event)]
        self._frames = [event for event in said if is_frame(event)]
        self._read_submission(submissions)
        self._read_lifecycle(lifecycle)
        self._read_frames()
        if not submissions:
            self.created_at = min(event["emitted_at"] for event in lifecycle or self._frames)

    def _read_submission(self, submissions):
        self.type, self.payload, self.target = None, {}, {}
        if submissions:
            event = min(submissions, key=moment)
            body = submission_in(event)
            self.type = body["type"]
            self.payload = _content(body["payload"])
            self.target = body["target"] or {}
            self.created_at = first(body["requested_at"], event["emitted_at"])

    def _read_lifecycle(self, lifecycle):
        self.winner = max(lifecycle, key=order, default=None)
        self.status, self.ended_at, self.result, self.error = None, None, {}, None
        if self.winner:
            body = status_in(self.winner)
            self.status = WORDS[body["status"]]
            if self.status not in RANKS:
                self.ended_at = self.winner["emitted_at"]
                self.result = _content(body["result"])
                self.error = reason_in(body) or None

    def _read_frames(self):
        self.prompts, self.cleaned = {}, {}
        self.ready = self.downloaded = self.attempted = None
        needed = [(frame, _content(frame["payload"])) for frame in self._frames
                  if frame["type"] in NEEDED]
        for frame, content in sorted(needed, key=lambda one: (_says(*one), order(one[0]))):
            index = whole(member(content, "batch_index"))
            match frame["type"]:
                case "sora.prompt.submitted":
                    self.prompts[index] = frame, content
                case "sora.video.ready":
                    self.ready = frame, content
                case "sora.video.downloaded":
                    self.downloaded = frame, content
                case "sora.video.cleaned":
                    self.cleaned[index] = frame, content
                case "action.attempted":
                    if content.get("action") == "WATERMARK_REMOVAL":
                        self.attempted = self.attempted or (frame, content)
        self.is_batch = self.type in BATCHES or self.type is None and (
            self.results is not None or any(index is not None
                                            for index in [*self.prompts, *self.cleaned]))
        for of_index in (self.prompts, self.cleaned):
            unnumbered = of_index.pop(None, None)
            if unnumbered and not self._has_several():
                of_index.setdefault(0, unnumbered)

    def _has_several(self):
        """Whether it makes several videos, of which a frame without an index says nothing."""
        prompts = self.payload.get("prompts")
        numbered = [index for index in [*self.prompts, *self.cleaned] if index is not None]
        return self.is_batch and max(
            len(prompts) if isinstance(prompts, list) else 0, len(self.results or []),
            *(index + 1 for index in numbered), 0) > 1

    @property
    def has_ended(self):
        return self.ended_at is not None

    @property
    def results(self):
        """Of a batch: what its result says of each prompt; None where it says nothing."""
        found = self.result.get("results")
        return found if isinstance(found, list) else None

    def result_of(self, index):
        """What the result of a batch says of one prompt."""
        results = self.results or []
        found = results[index] if index < len(results) else {}
        return found if isinstance(found, dict) else {}

    def cleaned_fact(self, index):
        """The payload of the video.cleaned of an index; empty without one."""
        return self.cleaned[index][1] if index in self.cleaned else {}

    def attempted_path(self):
        """The input_path of the attempted removal."""
        return text_in(self.attempted[1], "input_path") if self.attempted else None


def _says(frame, content):
    """Whether the frame says what its type is for: a later one that does not takes nothing back."""
    match frame["type"]:
        case "sora.prompt.submitted":
            return text_in(content, "character") is not None
        case "sora.video.ready":
            return text_in(content, "video_url") is not None
        case "sora.video.downloaded":
            return first(text_in(content, "file_path"), text_in(content, "video_path")) is not None
        case "sora.video.cleaned":
            return first(text_in(content, "output_path"),
                         text_in(content, "cleaned_path")) is not None
        case _:
            return True


def _content(text):
    """The members of some JSON; nothing where it is none or is no object (which is then of a kind
    that does not count)."""
    if text is None or not is_object(text):
        return {}
    return json.loads(text)


def known_commands(events, consumer):
    """{id: Command} of each command of which the consumer has an event that it can apply. What
    frames say of commands is nothing to the session tracker."""
    said = {}
    for event in events:
        known = is_command(event) or is_frame(event) and consumer != TRACKER
        if known and event["command_id"] and can_apply(consumer, event):
            said.setdefault(event["command_id"], []).append(event)
    return {one.id: one for one in (Command(key, events) for key, events in said.items())}

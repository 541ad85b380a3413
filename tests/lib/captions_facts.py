# SPDX-License-Identifier: Apache-2.0
"""What lib.captions_oracle and its parts share: which events are refused, whose a video is, how
things are ordered, and what the rules say of runs, crops, locks and time.

Written from the rules of the system alone; it knows nothing of the programs that it judges.
"""

import re
import struct
from collections import defaultdict

from lib import captions_events as contract
from lib.captions_events import (CROPS, FLOWS, LOCKS, OBJECTS, SEARCH, TENANTS, USERS, VIDEOS,
                                 topic_of)
from lib.events import HOUR, MILLISECOND, MINUTE
from lib.oracle_facts import is_json, uuid_of

READS = {  # the topics of each consumer
    "captions-tenants": (TENANTS,),
    "captions-users": (USERS,),
    "captions-catalog": (VIDEOS, FLOWS, OBJECTS, LOCKS, CROPS),
    "search-index": (SEARCH, VIDEOS),
    "crop-versions": (CROPS, VIDEOS, FLOWS),
    "flow-runs": (FLOWS, VIDEOS, CROPS),
    "object-catalog": (OBJECTS, VIDEOS),
}
ROLES = {"user", "admin", "annotator"}
OUTCOMES = {"succeeded", "failed", "cancelled"}
OPERATIONS = {"stored", "removed"}
NOT_NEGATIVE = ("size_bytes", "storage_quota_gb", "run_count", "frame_count", "ocr_box_count",
                "indexed_frames", "failed_batches", "chunk_count", "total_frames",
                "total_size_bytes", "frame_index")
OWN_KEYS = ("storage_key", "storage_prefix", "layout_db_key", "layout_db_storage_key")
LONGEST_TEXT = 100_000  # bytes
LONGEST_KEY = 1_024  # bytes
GREATEST_REAL = 3.4028234663852886e38
SEQUENCER = re.compile("0*[0-9a-fA-F]{0,32}")
LONGEST_LOCK = 15 * MINUTE
NIL = "00000000-0000-0000-0000-000000000000"
RANKS = {"SCHEDULED": 0, "PENDING": 0, "COMPLETED": 2, "FAILED": 2, "CRASHED": 2, "CANCELLED": 2}
BROKEN = {"FAILED": "failed", "CRASHED": "failed", "CANCELLED": "cancelled"}
UNTOLD_END = 10 * MINUTE  # from COMPLETED on, until a run without an end counts as failed
AHEAD = 24 * HOUR  # of its record: a clock that is not to be believed
UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
FOLDER = re.compile(f"({UUID})/({UUID})/(.+)", re.DOTALL)


# --- values ----------------------------------------------------------------------------------

def real(number):
    """A number as a column of type real keeps it."""
    return None if number is None else struct.unpack("f", struct.pack("f", number))[0]


def moment(event):
    """What sorts events of one kind; ids only decide between equal times."""
    return event["emitted_at"], uuid_of(event["event_id"])


def kind_of(event):
    return event["body"][0] if "body" in event else None


def body_of(event):
    return event["body"][1]


def latest_told(events, member):
    """The member of the latest event that tells one, else None."""
    told = [event for event in events if body_of(event).get(member) is not None]
    return body_of(max(told, key=moment))[member] if told else None


# --- what is refused -------------------------------------------------------------------------

def refused(event):
    """Whether it is a dead letter of everybody who reads its topic; it decides nothing then."""
    content = {**event, **(body_of(event) if "body" in event else {})}
    texts = [value for value in content.values() if isinstance(value, str)]
    return any((
        any("\0" in text for text in texts),
        any(content.get(name) == NIL for name in ("tenant_id", "video_id")),
        any(not is_json(content[name]) for name in ("crop_bounds", "tags")
            if content.get(name) is not None),
        any(content[name] < 0 for name in NOT_NEGATIVE if content.get(name) is not None),
        content.get("version", 1) < 1,
        any(_is_elsewhere(content[name], event) for name in OWN_KEYS
            if content.get(name) is not None),
        any(len((content.get(name) or "").encode()) > LONGEST_TEXT
            for name in ("ocr_text", "caption_text")),
        len((content.get("key") or "").encode()) > LONGEST_KEY,
        "/" in content.get("bucket", ""),
        not SEQUENCER.fullmatch(content.get("sequencer") or ""),
        any(not abs(content[name]) <= GREATEST_REAL for name in ("duration_seconds", "frame_rate")
            if content.get(name) is not None),
        content.get("role", "user") not in ROLES,
        content.get("outcome", "failed") not in OUTCOMES,
        content.get("operation", "stored") not in OPERATIONS,
        "expires_at" in content and not (
            event["acquired_at"] < content["expires_at"]
            and content["expires_at"] - event["emitted_at"] <= LONGEST_LOCK),
    ))


def _is_elsewhere(key, event):
    segments = key.split("/")
    return (segments[:2] != [event["tenant_id"].lower(), event["video_id"].lower()]
            or any(segment in ("", ".", "..") for segment in segments))


def dead_letters(events):
    """{consumer: the (topic, event_id) of what it refuses}"""
    bad = {(topic_of(event), event["event_id"]) for event in events if refused(event)}
    return {consumer: {name for name in bad if name[0] in topics}
            for consumer, topics in READS.items()}


# --- all that is known -----------------------------------------------------------------------

class Known:
    """The events that count, each once. timestamps: {(topic, event_id): ms} of records whose
    timestamp is not their emitted_at."""

    def __init__(self, events, timestamps=None):
        once = {(topic_of(event), event["event_id"]): event for event in events}
        self.all = [event for event in once.values() if not refused(event)]
        self.by_topic = defaultdict(list)
        for event in self.all:
            self.by_topic[topic_of(event)].append(event)
        registered = defaultdict(list)
        for event in self.by_topic[VIDEOS]:
            if kind_of(event) == "VideoRegistered":
                registered[uuid_of(event["video_id"])].append(event)
        self.registrations = {key: min(found, key=moment) for key, found in registered.items()}
        self.owners = {key: uuid_of(event["tenant_id"])
                       for key, event in self.registrations.items()}
        self.foreign = [event for event in self.all if self.is_foreign(event)
                        and topic_of(event) != SEARCH]
        self._own = defaultdict(lambda: defaultdict(list))
        for topic in (VIDEOS, OBJECTS, SEARCH, CROPS, LOCKS):
            for event in self.by_topic[topic]:
                tenant, video = claim(event)
                if video in self.owners and self.owners[video] == tenant:
                    self._own[topic][video].append(event)
        self.states = self._prefect_states()
        self.now = max((event["emitted_at"] for topic in READS["captions-catalog"]
                        for event in self.by_topic[topic]
                        if event["emitted_at"] - MILLISECOND * (timestamps or {}).get(
                            (topic, event["event_id"]), event["emitted_at"] // MILLISECOND)
                        <= AHEAD), default=0)

    def is_foreign(self, event):
        """Whether it names a tenant that is not the video's: it changes nothing."""
        tenant, video = claim(event)
        return tenant is not None and video in self.owners and self.owners[video] != tenant

    def own(self, topic, video):
        """Of the owner of a registered video."""
        return self._own[topic][video]

    def purges(self, video):
        return [event for event in self.own(VIDEOS, video) if kind_of(event) == "VideoPurged"]

    def is_shown(self, video):
        """Whether what belongs to the video may be in the tables."""
        return video in self.owners and not self.purges(video)

    def own_flows(self):
        """{flow_run_id: its FlowEvents}, without those that name another's video"""
        runs = defaultdict(list)
        for event in self.by_topic[FLOWS]:
            if not self.is_foreign(event):
                runs[uuid_of(event["flow_run_id"])].append(event)
        return runs

    def _prefect_states(self):
        return {run: max(events, key=flow_order) for run, events in self.own_flows().items()}


def claim(event):
    """(tenant, video) that the event says it is about; an object's key says it as well."""
    if topic_of(event) == OBJECTS and event["video_id"] is None:
        folder = FOLDER.fullmatch(event["key"])
        return (uuid_of(folder[1]), uuid_of(folder[2])) if folder else (None, None)
    return uuid_of(event.get("tenant_id")), uuid_of(event.get("video_id"))


def flow_order(event):
    return (event["run_count"], RANKS.get(event["state_type"], 1), *moment(event))


def object_order(event):
    sequencer = event["sequencer"]
    return (sequencer is not None, int(sequencer or "0", 16), *moment(event))


# --- runs ------------------------------------------------------------------------------------

class Run:
    """A processing run of a video. state: started, succeeded, failed or cancelled."""

    def __init__(self, flow_run_id, events, known):
        self.id = flow_run_id
        self.first = min(map(moment, events))
        top = max(body_of(event)["run_count"] for event in events)
        ends = [event for event in events if kind_of(event) == "ProcessingFinished"
                and body_of(event)["run_count"] == top]
        self.end = body_of(max(ends, key=moment)) if ends else {}
        self.state = self.end.get("outcome", "started")
        self.failure = self.end.get("error")
        self.duration = latest_told([event for event in events
                                     if kind_of(event) == "ProcessingFinished"],
                                    "duration_seconds")
        told = known.states.get(flow_run_id)
        if not ends and told and told["run_count"] >= top:
            self.state = self._by_prefect(told, known.now)
            self.failure = told["message"]
        if self.state in ("failed", "cancelled"):
            self.failure = self.failure or self.state
        else:
            self.failure = None

    @staticmethod
    def _by_prefect(told, now):
        if told["state_type"] == "COMPLETED":
            return "failed" if told["emitted_at"] + UNTOLD_END < now else "started"
        return BROKEN.get(told["state_type"], "started")


def runs_of(video, known):
    """Those of a video, the latest first."""
    told = defaultdict(list)
    for event in known.own(VIDEOS, video):
        if kind_of(event) in ("ProcessingStarted", "ProcessingFinished"):
            told[uuid_of(body_of(event)["flow_run_id"])].append(event)
    runs = [Run(key, events, known) for key, events in told.items()]
    return sorted(runs, key=lambda run: run.first, reverse=True)

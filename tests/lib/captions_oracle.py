# SPDX-License-Identifier: Apache-2.0
"""The rows that the tables of captions must hold, from the set of events alone.

Independent of the programs that it judges: it reads the whole set at once and knows nothing of
folds, batches or offsets. expected(events) takes the event dicts of lib.captions_events, in any order
and any number of times.
"""

import re
import uuid
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal

from lib.captions_events import CROPS, LOCKS, OBJECTS, SEARCH, TENANTS, USERS, VIDEOS, topic_of
from lib.captions_facts import (BROKEN, FOLDER, Known, body_of, claim, flow_order, kind_of,
                                latest_told, moment, object_order, real, runs_of)
from lib.oracle_facts import json_of, time_of, uuid_of

KEYS = {  # of each table
    "tenants": ("id",),
    "user_profiles": ("id",),
    "videos": ("id",),
    "tenant_conflicts": ("event_id",),
    "video_search_index": ("video_id", "frame_index"),
    "cropped_frames_versions": ("id",),
    "crop_version_conflicts": ("version_id",),
    "flow_runs": ("flow_run_id",),
    "video_objects": ("object_id",),
}
NOT_FACTS = {  # columns that do not follow from the events
    "video_search_index": ("id", "search_vector", "updated_at"),
}
NAMES = uuid.uuid5(uuid.NAMESPACE_DNS, "projectionist")
VIDEO_FILE = re.compile(r"video\.mp4|[^/]+\.(mp4|mov|webm|mkv|avi)")
CHUNK = re.compile(r"cropped_frames(_v\d+/modulo_\d+)?/chunk_\d{4}\.webm")
ID_AT_END = re.compile(r"-([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\Z")
DATABASES = {"video.db", "fullOCR.db", "layout.db", "captions.db"}


def expected(events, timestamps=None):
    """{table: rows} of the tables in KEYS, with all seven consumers done."""
    known = Known(events, timestamps)
    crops = {video: Crops(video, known) for video in known.owners if known.is_shown(video)}
    profiles = list(_profiles(known))
    versions = [row for one in crops.values() for row in one.rows()]
    tables = {
        "user_profiles": profiles,
        "videos": [_video(video, known, crops.get(video)) for video in known.owners],
        "tenant_conflicts": map(_conflict, known.foreign),
        "video_search_index": _search(known),
        "cropped_frames_versions": versions,
        "crop_version_conflicts": [row for one in crops.values() for row in one.conflicts()],
        "flow_runs": _flow_runs(known),
        "video_objects": _objects(known),
    }
    tables = {table: list(rows) for table, rows in tables.items()}
    tables["tenants"] = _tenants(known, tenants_of(tables))
    return {table: _in_order(table, rows) for table, rows in tables.items()}


def views(tables):
    """{view: rows} of what is derived from the tables, with all seven consumers done."""
    stored = defaultdict(int)
    for row in tables["video_objects"]:
        stored[row["tenant_id"]] += row["size_bytes"] or 0
    approved = {row["id"]: row["layout_db_hash"] for row in tables["videos"]
                if not row["placeholder"] and row["layout_db_hash"] is not None}
    found = {"tenant_storage": [], "crops_outdated": []}
    for row in tables["tenants"]:
        quota = row["storage_quota_gb"] * 10**9
        if not row["placeholder"]:
            found["tenant_storage"].append({
                "tenant_id": row["id"], "name": row["name"], "used_bytes": stored[row["id"]],
                "quota_bytes": quota, "share": (Decimal(stored[row["id"]]) / quota).quantize(
                    Decimal("0.0001"), ROUND_HALF_UP) if quota else None})
    for row in tables["cropped_frames_versions"]:
        wanted = approved.get(row["video_id"])
        if row["status"] == "active" and wanted not in (None, row["layout_db_hash"]):
            found["crops_outdated"].append({
                "video_id": row["video_id"], "version_id": row["id"], "version": row["version"],
                "layout_db_hash": row["layout_db_hash"], "approved_hash": wanted})
    return {"tenant_storage": sorted(found["tenant_storage"], key=lambda row: row["tenant_id"]),
            "crops_outdated": sorted(found["crops_outdated"], key=lambda row: row["version_id"])}


def tenants_of(tables):
    """The tenants that rows refer to by a foreign key."""
    return {row["tenant_id"] for table in ("user_profiles", "videos", "cropped_frames_versions")
            for row in tables[table]} - {None}


def comparable(table, rows, referred=None):
    """Rows of a database as expected gives them: `real` as it is kept, and without what does not
    follow from the events. A placeholder has no time of its own; and one of a tenant that nobody
    refers to any more may stay."""
    found = []
    for row in rows:
        row = {name: real(value) if isinstance(value, float) else value
               for name, value in row.items() if name not in NOT_FACTS.get(table, ())}
        if "placeholder" in row:
            row["placeholder"] = bool(row["placeholder"])
        if table == "tenants" and row["placeholder"]:
            row["created_at"] = None
            if referred is not None and row["id"] not in referred:
                continue
        found.append(row)
    return _in_order(table, found)


def _in_order(table, rows):
    return sorted(rows, key=lambda row: [str(row[column]) for column in KEYS[table]])


def _of_each(events, member):
    """{id: events} by a member that is a UUID"""
    found = defaultdict(list)
    for event in events:
        found[uuid_of(event[member])].append(event)
    return found


def _of_kind(events, *kinds):
    return [event for event in events if kind_of(event) in kinds]


# --- tenants, user_profiles ------------------------------------------------------------------

def _tenants(known, referred):
    rows = {}
    for key, events in _of_each(known.by_topic[TENANTS], "tenant_id").items():
        made = _of_kind(events, "TenantCreated")
        if not made or _of_kind(events, "TenantRemoved"):
            continue
        first, changes = min(made, key=moment), _of_kind(events, "TenantChanged")
        row = {"id": key, "created_at": time_of(first["emitted_at"]), "placeholder": False}
        for member in ("name", "slug", "storage_quota_gb"):
            changed = latest_told(changes, member)
            row[member] = body_of(first)[member] if changed is None else changed
        rows[key] = row
    wanted, taken = {row["slug"] for row in rows.values()}, set()
    for row in sorted(rows.values(), key=lambda row: (row["created_at"], row["id"])):
        ends_in = ID_AT_END.search(row["slug"])
        if row["slug"] in taken or ends_in and uuid.UUID(ends_in[1]) != row["id"]:
            shorter = f"{row['slug']}-{str(row['id'])[:8]}"
            row["slug"] = f"{row['slug']}-{row['id']}" if shorter in wanted | taken else shorter
        taken.add(row["slug"])
    for key in referred - rows.keys():
        rows[key] = {"id": key, "name": "unknown", "slug": f"unknown-{key}", "created_at": None,
                     "storage_quota_gb": 100, "placeholder": True}
    return rows.values()


def _profiles(known):
    for key, events in _of_each(known.by_topic[USERS], "user_id").items():
        registered = _of_kind(events, "UserRegistered")
        if not registered or _of_kind(events, "UserRemoved"):
            continue
        first = min(registered, key=moment)
        assigned = max(_of_kind(events, "UserAssigned"), key=moment, default=first)
        named = _of_kind(events, "UserRegistered", "UserProfileChanged")
        yield {"id": key, "tenant_id": uuid_of(body_of(assigned)["tenant_id"]),
               "full_name": latest_told(named, "full_name"),
               "avatar_url": latest_told(named, "avatar_url"),
               "role": body_of(assigned)["role"], "created_at": time_of(first["emitted_at"])}


# --- videos ----------------------------------------------------------------------------------

def _video(key, known, crops):
    first = known.registrations[key]
    body, events = body_of(first), known.own(VIDEOS, key)
    runs = runs_of(key, known)
    latest = runs[0] if runs else None
    end = latest.end if latest else {}
    purge = min(known.purges(key), key=moment, default=None)
    deletion = _last_of(events, "VideoSoftDeleted")
    approval = max(_of_kind(events, "LayoutApproved"), key=moment, default=None)
    stored = [event for event in known.own(OBJECTS, key) if event["operation"] == "stored"]
    source = max((event for event in stored if event["key"] == body["storage_key"]),
                 key=object_order, default=None)
    captions = [event for event in stored if _file_of(event) == "captions.db"]
    duration = next((run.duration for run in runs if run.duration is not None),
                    body["duration_seconds"])
    locked_by, locked_at = _lock(key, known)
    if purge:
        status = "purged"
    elif deletion:
        status = "soft_deleted"
    elif _last_of(events, "VideoArchived"):
        status = "archived"
    else:
        status = _processing_status(runs, source)
    ended = purge or deletion
    row = {
        "id": key, "tenant_id": known.owners[key], "filename": body["filename"],
        "storage_key": body["storage_key"],
        "size_bytes": source["size_bytes"] if source else body["size_bytes"], "status": status,
        "duration_seconds": real(duration),
        "annotations_db_key": (max(captions, key=object_order)["key"] if captions
                               else body["annotations_db_key"]),
        "locked_by_user_id": locked_by, "locked_at": locked_at,
        "uploaded_by_user_id": uuid_of(first["actor_user_id"]),
        "uploaded_at": time_of(first["emitted_at"] if body["uploaded_at"] is None
                               else body["uploaded_at"]),
        "prefect_flow_run_id": latest.id if latest else None,
        "deleted_at": time_of(ended["emitted_at"]) if ended else None,
        "current_cropped_frames_version": crops.active_version if crops else None,
        "layout_approved_at": time_of(approval["emitted_at"]) if approval else None,
        "layout_approved_by": uuid_of(approval["actor_user_id"]) if approval else None,
        "layout_db_hash": body_of(approval)["layout_db_hash"] if approval else None,
        "failure": latest.failure if latest else None,
        "frame_count": end.get("frame_count"), "indexed_frames": end.get("indexed_frames"),
        "failed_batches": end.get("failed_batches"),
        "purged_at": time_of(purge["emitted_at"]) if purge else None, "placeholder": False,
    }
    if purge:
        row["filename"] = "(purged)"
        row.update(dict.fromkeys((
            "size_bytes", "duration_seconds", "uploaded_by_user_id", "locked_by_user_id",
            "locked_at", "annotations_db_key", "layout_approved_at", "layout_approved_by",
            "layout_db_hash", "failure")))
    return row


def _last_of(events, kind):
    """The event of that kind which no VideoRestored has ended, else None."""
    last = max(_of_kind(events, kind, "VideoRestored"), key=moment, default=None)
    return last if last and kind_of(last) == kind else None


def _processing_status(runs, source):
    if not runs:
        return "processing" if source else "uploading"
    if runs[0].state == "started":
        return "processing"
    return "active" if any(run.state == "succeeded" for run in runs) else "failed"


def _lock(video, known):
    """(who, since when)"""
    locks = _of_each(known.own(LOCKS, video), "lock_id")
    if not locks:
        return None, None
    events = max(locks.values(), key=lambda events: (events[0]["acquired_at"],
                                                     uuid_of(events[0]["lock_id"])))
    ends = [body_of(event)["expires_at"] for event in events if "expires_at" in body_of(event)]
    if _of_kind(events, "LockReleased") or max(ends) < known.now:
        return None, None
    return uuid_of(events[0]["user_id"]), time_of(events[0]["acquired_at"])


def _conflict(event):
    tenant, video = claim(event)
    return {"event_id": uuid_of(event["event_id"]), "video_id": video,
            "claimed_tenant_id": tenant, "topic": topic_of(event),
            "emitted_at": time_of(event["emitted_at"])}


# --- video_search_index ----------------------------------------------------------------------

def _search(known):
    for video, tenant in known.owners.items():
        if not known.is_shown(video):
            continue
        frames = defaultdict(list)
        for event in known.own(SEARCH, video):
            frames[event["frame_index"]].append(event)
        for index, events in frames.items():
            read = max(_of_kind(events, "FrameTextIndexed"), default=None, key=lambda event: (
                body_of(event)["run_started_at"], uuid_of(body_of(event)["index_run"]),
                moment(event)))
            captioned = max(_of_kind(events, "FrameCaptioned"), key=moment, default=None)
            row = {"video_id": video, "tenant_id": tenant, "frame_index": index,
                   "ocr_text": body_of(read)["ocr_text"] if read else None,
                   "caption_text": body_of(captioned)["caption_text"] if captioned else None}
            if row["ocr_text"] is not None or row["caption_text"] is not None:
                yield row


# --- cropped_frames_versions -----------------------------------------------------------------

class Crops:
    """The versions of a video's cropped frames."""

    def __init__(self, video, known):
        self.video, self.tenant, self._known = video, known.owners[video], known
        self._events = _of_each(known.own(CROPS, video), "version_id")
        starts = {key: min(found, key=moment) for key, events in self._events.items()
                  if (found := _of_kind(events, "CropStarted"))}
        self._starts, self._kept = {}, {}  # by version_id; {number: version_id}
        self._lost = {}
        for key, start in sorted(starts.items(), key=lambda item: moment(item[1])):
            number = body_of(start)["version"]
            if self._kept.setdefault(number, key) == key:
                self._starts[key] = start
            else:
                self._lost[key] = start
        self._activations = sorted(
            (event["emitted_at"], body_of(start)["version"], uuid_of(event["event_id"]), key)
            for key, start in self._starts.items()
            for event in _of_kind(self._events[key], "CropActivated"))
        standing = [entry for entry in self._activations if not self._has_failed(entry[-1])]
        self._active = standing[-1][-1] if standing else None
        self.active_version = (body_of(self._starts[self._active])["version"] if standing
                               else None)

    def _has_failed(self, key):
        return bool(_of_kind(self._events[key], "CropFailed"))

    def _activations_of(self, key):
        return [entry for entry in self._activations if entry[-1] == key]

    def _status(self, key):
        if self._has_failed(key):
            return "failed"
        if key == self._active:
            return "active"
        if self._activations_of(key):
            return "archived"
        told = self._known.states.get(uuid_of(body_of(self._starts[key])["flow_run_id"]))
        return "failed" if told and told["state_type"] in BROKEN else "processing"

    def rows(self):
        for key, start in self._starts.items():
            body = body_of(start)
            encoded = max(_of_kind(self._events[key], "CropEncoded"), key=moment, default=None)
            counts = body_of(encoded) if encoded else {}
            status, own = self._status(key), self._activations_of(key)
            after = [entry for entry in self._activations if own and entry > own[-1]]
            yield {
                "id": key, "video_id": self.video, "tenant_id": self.tenant,
                "version": body["version"], "storage_prefix": body["storage_prefix"],
                "layout_db_storage_key": body["layout_db_storage_key"],
                "layout_db_hash": body["layout_db_hash"],
                "crop_bounds": json_of(body["crop_bounds"]),
                "frame_rate": real(body["frame_rate"]),
                "chunk_count": counts.get("chunk_count"),
                "total_frames": counts.get("total_frames"),
                "total_size_bytes": counts.get("total_size_bytes"), "status": status,
                "created_at": time_of(start["emitted_at"]),
                "created_by_user_id": uuid_of(body["created_by_user_id"]),
                "activated_at": time_of(own[0][0]) if own else None,
                "archived_at": time_of(after[0][0]) if status == "archived" else None,
                "prefect_flow_run_id": uuid_of(body["flow_run_id"]),
            }

    def conflicts(self):
        for key, start in self._lost.items():
            version = body_of(start)["version"]
            yield {"version_id": key, "video_id": self.video, "version": version,
                   "kept_by": self._kept[version], "emitted_at": time_of(start["emitted_at"])}


# --- flow_runs, video_objects ----------------------------------------------------------------

def _flow_runs(known):
    named = {}
    for event in known.all:
        if kind_of(event) in ("ProcessingStarted", "CropStarted") and not known.is_foreign(event):
            run = uuid_of(body_of(event)["flow_run_id"])
            named[run] = min(named.get(run, event), event, key=moment)
    for run, events in known.own_flows().items():
        last = max(events, key=flow_order)
        told = max((event for event in events if event["video_id"]), key=flow_order,
                   default=named.get(run, {}))
        yield {
            "flow_run_id": run, "tenant_id": uuid_of(told.get("tenant_id")),
            "video_id": uuid_of(told.get("video_id")), "flow_name": last["flow_name"],
            "run_name": last["run_name"], "state_type": last["state_type"],
            "state_name": last["state_name"], "run_count": last["run_count"],
            "message": last["message"], "tags": json_of(last["tags"]),
            "first_seen_at": time_of(min(event["emitted_at"] for event in events)),
            "last_changed_at": time_of(last["emitted_at"]),
        }


def _file_of(event):
    """The object's name in the folder of its video, "" outside of one."""
    folder = FOLDER.fullmatch(event["key"])
    return folder[3] if folder else ""


def _kind(name):
    if name in DATABASES:
        return name
    if CHUNK.fullmatch(name):
        return "chunk"
    return "video" if VIDEO_FILE.fullmatch(name) else "other"


def _objects(known):
    objects = defaultdict(list)
    for event in known.by_topic[OBJECTS]:
        tenant, video = claim(event)
        if video not in known.owners or known.owners[video] == tenant and known.is_shown(video):
            objects[event["bucket"], event["key"]].append(event)
    for (bucket, key), events in objects.items():
        last = max(events, key=object_order)
        stored = max((event for event in events if event["operation"] == "stored"),
                     key=object_order, default=None)
        removed = last["operation"] == "removed"
        folder = FOLDER.fullmatch(key)
        yield {
            "object_id": uuid.uuid5(NAMES, f"{bucket}/{key}"),
            "tenant_id": uuid_of(folder[1]) if folder else None,
            "video_id": uuid_of(folder[2]) if folder else None, "bucket": bucket, "key": key,
            "kind": _kind(_file_of(last)), "size_bytes": None if removed else last["size_bytes"],
            "etag": stored["etag"] if stored else None,
            "stored_at": time_of(stored["emitted_at"]) if stored else None,
            "removed_at": time_of(last["emitted_at"]) if removed else None,
        }

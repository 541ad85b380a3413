# SPDX-License-Identifier: Apache-2.0
"""The edge cases of captions, each with what must come of it, written by hand.

    cases = all_cases("forwards")
    case.events      in the order of their delivery
    case.rows        {table: what its rows must have}, of the tables that the case speaks of
    case.refused     the events that are dead letters
    case.wrong(tables)   how {table: rows} differ from that, "" where they do not

The name in all_cases goes into every id, so that several can share a stream. All that happens lies in
the hour before NOW, which must be the stream time at the end: `clock` gives an event that says so.
"""

import uuid

from lib import captions_events as events
from lib.captions_events import file_event, flow, object_event
from lib.events import HOUR, MINUTE, SECOND, START, id_of
from lib.oracle_facts import time_of

NOW = START - HOUR  # Kafka takes no records of the future
T = NOW - HOUR
ALWAYS = ("tenant_conflicts", "crop_version_conflicts")  # told of where there are none, too
CASES = []


def all_cases(name):
    """The cases in order, with ids of their own."""
    return [Case(name, number, function) for number, function in CASES]


def clock(name):
    """An event about nobody, at NOW."""
    return flow(id_of(name, "clock"), "RUNNING", NOW)


class Case:
    """One of them. t and v are the ids of its tenant and its video; others have names."""

    def __init__(self, name, number, function):
        self.name, self.number = name, number
        self.events, self.refused, self.rows = [], [], {table: [] for table in ALWAYS}
        self._ids = set()
        self.t, self.v = self.id("tenant"), self.id("video")
        function(self)

    def __repr__(self):
        return f"case {self.number}"

    def id(self, *name):
        made = id_of("case", self.name, self.number, *name)
        self._ids.add(uuid.UUID(made))
        return made

    # --- what happens ---

    def happens(self, *made):
        self.events += made

    def refuses(self, event):
        self.events.append(event)
        self.refused.append(event)

    def video(self, kind, at=T, video=None, tenant=None, **more):
        return events.video(kind, tenant or self.t, video or self.v, at, **more)

    def registered(self, **more):
        return self.video("VideoRegistered", **more)

    def started(self, run, at, **more):
        return self.video("ProcessingStarted", at, flow_run_id=self.id(run), **more)

    def finished(self, run, outcome, at, **more):
        return self.video("ProcessingFinished", at, flow_run_id=self.id(run), outcome=outcome,
                          **more)

    def prefect(self, run, state, at, **more):
        return flow(self.id(run), state, at, **more)

    def indexed(self, index, run, text, at=T, began=T):
        return events.frame("FrameTextIndexed", self.t, self.v, index, at,
                            index_run=self.id(run), run_started_at=began, ocr_text=text)

    def captioned(self, index, text, at=T):
        return events.frame("FrameCaptioned", self.t, self.v, index, at, caption_text=text)

    def crop(self, kind, which, at, **more):
        return events.crop(kind, self.t, self.v, self.id(which), at, **more)

    def lock(self, kind, lock, acquired_at, at, **more):
        return events.lock(kind, self.t, self.v, self.id(lock), self.id("user of", lock),
                           acquired_at, at, **more)

    def file(self, operation, name, at=T, video=None, **more):
        return file_event(operation, self.t, video or self.v, name, at, **more)

    def tenant(self, kind, at=T, tenant=None, **body):
        return events.tenant(kind, tenant or self.t, at, **body)

    # --- what comes of it ---

    def row(self, table, **columns):
        """A row of the table, which has no others of this case; ids are text here."""
        self.rows.setdefault(table, []).append(columns)

    def no_row(self, *tables):
        for table in tables:
            self.rows.setdefault(table, [])

    def conflict(self, event, tenant):
        self.row("tenant_conflicts", event_id=event["event_id"], video_id=self.v,
                 claimed_tenant_id=tenant, topic=events.topic_of(event),
                 emitted_at=time_of(event["emitted_at"]))

    def wrong(self, tables):
        return "\n".join(filter(None, (
            self._wrong(table, [row for row in tables[table] if self._ids & set(row.values())])
            for table in self.rows)))

    def _wrong(self, table, have):
        left, lines = list(have), []
        for want in self.rows[table]:
            found = [row for row in left if all(_is(row[name], value)
                                                for name, value in want.items())]
            if found:
                left.remove(found[0])
            else:
                lines.append(f"  missing {want}")
        lines += [f"  too much {row}" for row in left]
        return "\n".join([f"case {self.number} ({self.name}): {table}", *lines]) if lines else ""


def _is(have, want):
    return str(have) == want if isinstance(have, uuid.UUID) else have == want


def case(number):
    def add(function):
        CASES.append((number, function))
        return function
    return add


# --- videos ----------------------------------------------------------------------------------

@case(1)
def _finished_before_registered(c):
    unknown = c.id("never registered")
    c.happens(c.finished("run", "succeeded", T + MINUTE), c.registered(),
              c.finished("other", "succeeded", T, video=unknown))
    c.row("videos", id=c.v, status="active", prefect_flow_run_id=c.id("run"))


@case(2)
def _registered_by_two(c):
    other = c.id("other tenant")
    late = c.registered(at=T + 1, tenant=other, filename="stolen.mp4")
    c.happens(c.registered(filename="mine.mp4"), late)
    c.row("videos", id=c.v, tenant_id=c.t, filename="mine.mp4", status="uploading",
          storage_key=f"{c.t}/{c.v}/video.mp4")
    c.conflict(late, other)


@case(3)
def _deleted_by_another(c):
    other = c.id("other tenant")
    foreign = c.video("VideoSoftDeleted", T + HOUR - 1, tenant=other)
    c.happens(c.registered(), foreign)
    c.row("videos", id=c.v, tenant_id=c.t, status="uploading", deleted_at=None)
    c.conflict(foreign, other)


@case(4)
def _key_of_another_video(c):
    c.refuses(c.registered(storage_key=f"{c.t}/{c.id('another')}/video.mp4"))
    c.no_row("videos", "tenants")


@case(5)
def _failed_then_succeeded(c):
    c.happens(c.registered(), c.started("B", T + 2 * MINUTE),
              c.finished("B", "succeeded", T + 3 * MINUTE, frame_count=91),
              c.started("A", T), c.finished("A", "failed", T + MINUTE, error="boom"))
    c.row("videos", id=c.v, status="active", prefect_flow_run_id=c.id("B"), failure=None,
          frame_count=91, failed_batches=0)


@case(6)
def _succeeded_then_failed(c):
    c.happens(c.registered(), c.started("A", T), c.finished("A", "succeeded", T + MINUTE),
              c.started("B", T + 2 * MINUTE),
              c.finished("B", "failed", T + 3 * MINUTE, error="boom", failed_batches=2))
    c.row("videos", id=c.v, status="active", prefect_flow_run_id=c.id("B"), failure="boom",
          failed_batches=2)


@case(7)
def _started_again(c):
    c.happens(c.registered(), c.started("run", T, run_count=2),
              c.finished("run", "failed", T + MINUTE, run_count=1, error="boom"))
    c.row("videos", id=c.v, status="processing", failure=None, failed_batches=None)


@case(8)
def _crashed(c):
    c.happens(c.registered(), c.started("run", T),
              c.prefect("run", "CRASHED", T + MINUTE, run_count=1, message="out of memory"))
    c.row("videos", id=c.v, status="failed", failure="out of memory", frame_count=None)
    c.row("flow_runs", flow_run_id=c.id("run"), tenant_id=c.t, video_id=c.v,
          state_type="CRASHED", run_count=1)


@case(9)
def _completed_without_an_end(c):
    late, never, soon = c.v, c.id("never"), c.id("soon")
    for video, run, at in ((late, "late", T), (never, "never", T), (soon, "soon", NOW - MINUTE)):
        c.happens(c.registered(video=video), c.started(run + " run", at, video=video),
                  c.prefect(run + " run", "COMPLETED", at, run_count=1))
    c.happens(c.finished("late run", "succeeded", T + 5 * MINUTE))
    c.row("videos", id=late, status="active", failure=None)
    c.row("videos", id=never, status="failed", failure="failed")
    c.row("videos", id=soon, status="processing", failure=None)


def ends_after_all(case_of_9):
    """What comes later than the rest of case 9, and the status of the video then."""
    video = case_of_9.id("never")
    return case_of_9.finished("never run", "succeeded", NOW, video=video), video, "active"


@case(10)
def _cancelled(c):
    c.happens(c.registered(), c.started("run", T), c.finished("run", "cancelled", T + MINUTE))
    c.row("videos", id=c.v, status="failed", failure="cancelled")


@case(11)
def _the_deletion_comes_last(c):
    c.happens(c.registered(), c.video("VideoRestored", T + 2), c.video("VideoSoftDeleted", T + 1))
    c.row("videos", id=c.v, status="uploading", deleted_at=None)


@case(12)
def _a_restore_ends_both(c):
    deleted = c.id("deleted again")
    c.happens(c.registered(), c.finished("run", "succeeded", T), c.video("VideoArchived", T + 1),
              c.video("VideoSoftDeleted", T + 2), c.video("VideoRestored", T + 3),
              c.registered(video=deleted), c.video("VideoArchived", T + 1, video=deleted),
              c.video("VideoRestored", T + 2, video=deleted),
              c.video("VideoSoftDeleted", T + 3, video=deleted))
    c.row("videos", id=c.v, status="active", deleted_at=None)
    c.row("videos", id=deleted, status="soft_deleted", deleted_at=time_of(T + 3))


@case(13)
def _purged(c):
    c.happens(c.video("VideoPurged", T + MINUTE),
              c.registered(actor=c.id("somebody"), size_bytes=7, duration_seconds=1.5,
                           annotations_db_key=f"{c.t}/{c.v}/captions.db"),
              c.indexed(0, "run", "a secret", T + 2 * MINUTE), c.captioned(1, "another"),
              c.file("stored", "video.mp4", T, size_bytes=9),
              c.crop("CropStarted", "crop", T, version=1), c.crop("CropActivated", "crop", T + 1),
              c.video("LayoutApproved", T, layout_db_hash="h", actor=c.id("somebody")),
              c.lock("LockAcquired", "lock", NOW - MINUTE, NOW - MINUTE, expires_at=NOW + MINUTE),
              c.video("VideoRestored", T + 3 * MINUTE))
    c.row("videos", id=c.v, status="purged", filename="(purged)", size_bytes=None,
          duration_seconds=None, uploaded_by_user_id=None, annotations_db_key=None,
          layout_approved_at=None, layout_approved_by=None, layout_db_hash=None,
          locked_by_user_id=None, locked_at=None, current_cropped_frames_version=None,
          deleted_at=time_of(T + MINUTE), purged_at=time_of(T + MINUTE))
    c.no_row("video_search_index", "video_objects", "cropped_frames_versions")


# --- text ------------------------------------------------------------------------------------

@case(14)
def _an_older_run_arrives_late(c):
    c.happens(c.registered(), c.indexed(0, "run 2", "new", T + MINUTE, T + MINUTE),
              c.indexed(0, "run 1", "old", T + 2 * MINUTE, T))
    c.row("video_search_index", video_id=c.v, frame_index=0, ocr_text="new", tenant_id=c.t)


@case(15)
def _nothing_found_any_more(c):
    c.happens(c.registered())
    for index in (0, 1):
        c.happens(c.indexed(index, "run 1", "old"), c.indexed(index, "run 2", None, T + 1, T + 1))
    c.happens(c.captioned(1, "by hand"))
    c.row("video_search_index", video_id=c.v, frame_index=1, ocr_text=None,
          caption_text="by hand")


@case(16)
def _only_a_caption(c):
    c.happens(c.registered(), c.captioned(3, "by hand"))
    c.row("video_search_index", video_id=c.v, frame_index=3, ocr_text=None,
          caption_text="by hand")


@case(17)
def _a_word_without_an_end(c):
    c.happens(c.registered(), c.indexed(0, "run", "x" * 2500))
    c.row("video_search_index", video_id=c.v, frame_index=0, ocr_text="x" * 2500)


@case(18)
def _a_nul_byte(c):
    c.happens(c.registered(), c.indexed(1, "run", "fine"))
    c.refuses(c.indexed(0, "run", "not\0fine"))
    c.row("video_search_index", video_id=c.v, frame_index=1, ocr_text="fine")


# --- crops -----------------------------------------------------------------------------------

@case(19)
def _an_older_version_activated_later(c):
    c.happens(c.registered(), c.crop("CropStarted", "two", T, version=2),
              c.crop("CropStarted", "three", T + 1, version=3),
              c.crop("CropActivated", "three", T + MINUTE),
              c.crop("CropActivated", "two", T + 2 * MINUTE))
    c.row("cropped_frames_versions", id=c.id("two"), version=2, status="active",
          activated_at=time_of(T + 2 * MINUTE), archived_at=None, frame_rate=10)
    c.row("cropped_frames_versions", id=c.id("three"), version=3, status="archived",
          activated_at=time_of(T + MINUTE), archived_at=time_of(T + 2 * MINUTE))
    c.row("videos", id=c.v, current_cropped_frames_version=2)


@case(20)
def _activated_before_it_began(c):
    c.happens(c.registered(), c.crop("CropActivated", "crop", T + 1),
              c.crop("CropActivated", "unknown", T + 2), c.crop("CropStarted", "crop", T, version=1))
    c.row("cropped_frames_versions", id=c.id("crop"), status="active", archived_at=None)
    c.row("videos", id=c.v, current_cropped_frames_version=1)


@case(21)
def _two_of_one_number(c):
    c.happens(c.registered(), c.crop("CropStarted", "late", T + 1, version=4),
              c.crop("CropStarted", "early", T, version=4),
              c.crop("CropActivated", "late", T + MINUTE))
    c.row("cropped_frames_versions", id=c.id("early"), version=4, status="processing")
    c.row("crop_version_conflicts", version_id=c.id("late"), video_id=c.v, version=4,
          kept_by=c.id("early"), emitted_at=time_of(T + 1))
    c.row("videos", id=c.v, current_cropped_frames_version=None)


@case(22)
def _failed_after_it_was_active(c):
    c.happens(c.registered(), c.crop("CropStarted", "one", T, version=1),
              c.crop("CropActivated", "one", T + 1), c.crop("CropStarted", "two", T + 2, version=2),
              c.crop("CropActivated", "two", T + 3), c.crop("CropFailed", "two", T + 4))
    c.row("cropped_frames_versions", id=c.id("one"), status="active", archived_at=None)
    c.row("cropped_frames_versions", id=c.id("two"), status="failed")
    c.row("videos", id=c.v, current_cropped_frames_version=1)


# --- locks -----------------------------------------------------------------------------------

@case(23)
def _a_late_release(c):
    late = NOW - 5 * MINUTE
    c.happens(c.registered(), c.lock("LockAcquired", "A", T, T, expires_at=T + 15 * MINUTE),
              c.lock("LockAcquired", "B", late, late, expires_at=NOW + 5 * MINUTE),
              c.lock("LockReleased", "A", T, NOW - MINUTE))
    c.row("videos", id=c.v, locked_by_user_id=c.id("user of", "B"), locked_at=time_of(late))


@case(24)
def _a_lock_without_an_end(c):
    c.happens(c.registered(), c.lock("LockAcquired", "A", T, T, expires_at=T + 15 * MINUTE))
    c.row("videos", id=c.v, locked_by_user_id=None, locked_at=None)


@case(25)
def _renewals_out_of_order(c):
    began = NOW - 20 * MINUTE
    c.happens(c.registered(),
              c.lock("LockAcquired", "A", began, began, expires_at=NOW - 10 * MINUTE),
              c.lock("LockRenewed", "A", began, NOW - 5 * MINUTE, expires_at=NOW + 9 * MINUTE),
              c.lock("LockRenewed", "A", began, NOW - 2 * MINUTE, expires_at=NOW - MINUTE))
    c.row("videos", id=c.v, locked_by_user_id=c.id("user of", "A"), locked_at=time_of(began))


# --- objects ---------------------------------------------------------------------------------

@case(26)
def _sequencers_are_numbers(c):
    c.happens(c.file("removed", "video.db", T, sequencer="A"),
              c.file("stored", "video.db", T + MINUTE, sequencer="9", size_bytes=5, etag="e"),
              c.file("removed", "fullOCR.db", T + MINUTE, sequencer="A"),
              c.file("stored", "fullOCR.db", T, sequencer="0055AED6DCD90281E5", size_bytes=6))
    c.row("video_objects", key=f"{c.t}/{c.v}/video.db", kind="video.db", size_bytes=None,
          etag="e", stored_at=time_of(T + MINUTE), removed_at=time_of(T))
    c.row("video_objects", key=f"{c.t}/{c.v}/fullOCR.db", kind="fullOCR.db", size_bytes=6,
          stored_at=time_of(T), removed_at=None)


@case(27)
def _of_an_unknown_video(c):
    c.happens(c.file("stored", "layout.db", T, size_bytes=8),
              object_event("stored", f"backups/{c.v}", T, size_bytes=9))
    c.row("video_objects", tenant_id=c.t, video_id=c.v, kind="layout.db", size_bytes=8)
    c.no_row("videos", "tenants")


@case(28)
def _two_forms_of_chunks(c):
    names = ("cropped_frames/chunk_0000.webm", "cropped_frames_v2/modulo_32/chunk_0000.webm")
    c.happens(c.registered(), *(c.file("stored", name, T, size_bytes=1) for name in names))
    for name in names:
        c.row("video_objects", key=f"{c.t}/{c.v}/{name}", kind="chunk", video_id=c.v)


# --- tenants and users -----------------------------------------------------------------------

@case(29)
def _an_unknown_tenant(c):
    known, video = c.id("known later"), c.id("video of it")
    c.happens(c.registered(), c.registered(tenant=known, video=video),
              c.tenant("TenantCreated", T + 1, known, name="Known", slug=f"known-{c.name}"))
    c.row("tenants", id=c.t, name="unknown", slug=f"unknown-{c.t}", placeholder=True)
    c.row("tenants", id=known, name="Known", slug=f"known-{c.name}", placeholder=False,
          created_at=time_of(T + 1), storage_quota_gb=100)


@case(30)
def _two_of_one_slug(c):
    slug = f"acme-{c.name}"
    first, second = c.id("first"), c.id("second")
    c.happens(c.tenant("TenantCreated", T + 1, second, name="Second", slug=slug),
              c.tenant("TenantCreated", T, first, name="First", slug=slug))
    c.row("tenants", id=first, slug=slug)
    c.row("tenants", id=second, slug=f"{slug}-{second[:8]}")


@case(31)
def _removed_users_stay_removed(c):
    there, gone = c.id("there"), c.id("gone")
    for one in (there, gone):
        c.happens(events.user("UserRegistered", one, T, full_name="Ada", tenant_id=c.t))
    c.happens(events.user("UserRemoved", gone, T + 1),
              events.user("UserProfileChanged", gone, T + 2, full_name="Grace"),
              events.user("UserProfileChanged", there, T + 2 * SECOND, full_name="Grace"),
              events.user("UserAssigned", there, T + 3, tenant_id=c.t, role="admin"))
    c.row("user_profiles", id=there, tenant_id=c.t, full_name="Grace", role="admin",
          created_at=time_of(T))

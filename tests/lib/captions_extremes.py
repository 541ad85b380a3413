# SPDX-License-Identifier: Apache-2.0
"""Sequences of captions' events at the edges of time, length and number, of strangers, and of equal times.
lib.captions_oracle says what must come of them, whatever their order."""

import random

from lib import captions_events as events
from lib.captions_cases import NOW, clock
from lib.events import HOUR, MINUTE, id_of

S = NOW - HOUR
SEQUENCES = []


def sequence(function):
    SEQUENCES.append(function)
    return function


def T(c, n=0):
    return id_of("extremes", c, "tenant", n)


def V(c, n=0):
    return id_of("extremes", c, "video", n)


def U(c, n=0):
    return id_of("extremes", c, "user", n)


def R(c, n=0):
    return id_of("extremes", c, "run", n)


@sequence
def registration_at_the_edge_of_time(c):
    """Around 1970."""
    yield events.video("VideoRegistered", T(c), V(c), -1)
    yield events.video("VideoRegistered", T(c, 1), V(c), 0)
    yield events.video("VideoSoftDeleted", T(c), V(c), -2)
    yield events.video("VideoRestored", T(c), V(c), -3)


@sequence
def same_time_two_tenants(c):
    for n in range(4):
        yield events.video("VideoRegistered", T(c, n), V(c), S, filename=f"f{n}")
    for n in range(4):
        yield events.video("VideoArchived", T(c, n), V(c), S + n)


@sequence
def run_ends_twice(c):
    yield events.video("VideoRegistered", T(c), V(c), S)
    yield events.video(
        "ProcessingFinished", T(c), V(c), S + 5, flow_run_id=R(c), outcome="succeeded", frame_count=3
    )
    yield events.video(
        "ProcessingFinished", T(c), V(c), S + 5, flow_run_id=R(c), outcome="failed", error=""
    )
    yield events.video("ProcessingStarted", T(c), V(c), S + 5, flow_run_id=R(c), run_count=2147483647)
    yield events.flow(R(c), "CANCELLED", S + 1, run_count=2147483647)


@sequence
def one_run_of_two_videos(c):
    for n in range(2):
        yield events.video("VideoRegistered", T(c, n), V(c, n), S + n)
        yield events.video("ProcessingStarted", T(c, n), V(c, n), S + 10 + n, flow_run_id=R(c))
    yield events.flow(R(c), "CRASHED", S + 20, tenant_id=T(c, 1), video_id=V(c, 0), run_count=1)


@sequence
def flow_tags_lie(c):
    yield events.video("VideoRegistered", T(c), V(c), S)
    yield events.flow(
        R(c), "FAILED", S + 3, tenant_id=T(c, 5), video_id=V(c), run_count=9, message="x" * 10000
    )
    yield events.video("ProcessingStarted", T(c), V(c), S + 2, flow_run_id=R(c), run_count=1)


@sequence
def completed_long_ago(c):
    yield events.video("VideoRegistered", T(c), V(c), S)
    yield events.video("ProcessingStarted", T(c), V(c), S + 1, flow_run_id=R(c))
    yield events.flow(R(c), "COMPLETED", S + 2, run_count=1, tenant_id=T(c), video_id=V(c))
    yield events.flow(
        R(c),
        "COMPLETED",
        S + 2,
        run_count=1,
        state_name="Cached(type=COMPLETED)",
        tenant_id=T(c),
        video_id=V(c),
    )


@sequence
def paused_after_completed(c):
    yield events.video("VideoRegistered", T(c), V(c), S)
    yield events.video("ProcessingFinished", T(c), V(c), S + 1, flow_run_id=R(c), outcome="cancelled")
    for n, st in enumerate(("SCHEDULED", "completed", "", "CANCELLING", "CRASHED")):
        yield events.flow(R(c), st, S + n, run_count=n % 2, tenant_id=T(c), video_id=V(c))


@sequence
def texts_of_extreme_length(c):
    yield events.video("VideoRegistered", T(c), V(c), S)
    for i, t in enumerate(
        [
            "a" * 100_000,
            "é" * 50_000,
            "a" * 100_001,
            "é" * 50_001,
            "人" * 33_333,
            "",
            " ",
            "\n" * 99_999,
            "w " * 50_000,
            "\u202e\ufffe\U0010ffff",
            "x" * 2046,
            "x" * 2047,
            "x" * 2048,
            "'\\:*&|!()",
        ]
    ):
        yield events.frame(
            "FrameTextIndexed", T(c), V(c), i, S + i, index_run=R(c), run_started_at=S, ocr_text=t
        )
    yield events.frame(
        "FrameTextIndexed", T(c), V(c), 2147483647, S, index_run=R(c), run_started_at=S, ocr_text="last"
    )
    yield events.frame("FrameCaptioned", T(c), V(c), 2147483647, S, caption_text="")
    yield events.frame("FrameCaptioned", T(c), V(c), 5, S, caption_text=None)


@sequence
def runs_that_began_at_once(c):
    yield events.video("VideoRegistered", T(c), V(c), S)
    for n in range(5):
        yield events.frame(
            "FrameTextIndexed",
            T(c),
            V(c),
            0,
            S + 9 - n,
            index_run=R(c, n),
            run_started_at=S,
            ocr_text=f"t{n}",
        )
    for n in range(3):
        yield events.frame(
            "FrameTextIndexed",
            T(c),
            V(c),
            1,
            S + n,
            index_run=R(c),
            run_started_at=S,
            ocr_text=f"same run {n}",
        )
    for n in range(3):
        yield events.frame(
            "FrameTextIndexed",
            T(c, 1),
            V(c),
            0,
            S + n,
            index_run=R(c, 9),
            run_started_at=S + HOUR,
            ocr_text=f"foreign {n}",
        )


@sequence
def numbers_at_their_ends(c):
    yield events.video("VideoRegistered", T(c), V(c), S, size_bytes=2**63 - 1, duration_seconds=3.4e38)
    yield events.video("VideoRegistered", T(c), V(c, 1), S, size_bytes=0, duration_seconds=-0.0)
    yield events.video("VideoRegistered", T(c), V(c, 2), S, duration_seconds=3.5e38)
    yield events.video("VideoRegistered", T(c), V(c, 3), S, duration_seconds=1e-45)
    yield events.video(
        "VideoRegistered",
        T(c),
        V(c, 4),
        S,
        duration_seconds=59.94,
        filename="",
        storage_key=f"{T(c)}/{V(c,4)}",
    )
    yield events.video(
        "ProcessingFinished",
        T(c),
        V(c),
        S + 1,
        flow_run_id=R(c),
        outcome="succeeded",
        frame_count=2**31 - 1,
        ocr_box_count=2**63 - 1,
        failed_batches=2**31 - 1,
        duration_seconds=float("inf"),
    )
    yield events.file_event("stored", T(c), V(c), "video.mp4", S, size_bytes=2**63 - 1, sequencer="f" * 32)
    yield events.file_event(
        "stored", T(c), V(c), "video.mp4", S + 1, size_bytes=1, sequencer="0" * 40 + "1"
    )
    yield events.file_event("removed", T(c), V(c), "video.mp4", S + 9, sequencer="f" * 33)
    yield events.file_event("stored", T(c), V(c, 1), "video.mp4", S, size_bytes=5, sequencer="")
    yield events.file_event("stored", T(c), V(c, 1), "video.mp4", S - 1, size_bytes=6, sequencer="0")


@sequence
def objects_of_all_kinds(c):
    yield events.video("VideoRegistered", T(c), V(c), S)
    t, v = T(c), V(c)
    for i, k in enumerate(
        [
            f"{t}/{v}/",
            f"{t}/{v}",
            f"{t}//{v}/video.mp4",
            f"/{t}/{v}/video.mp4",
            f"{t}/{v}/a/../video.mp4",
            f"{t.upper()}/{v}/video.mp4",
            f"{t}/{v}/VIDEO.MP4",
            f"{t}/{v}/x.MOV",
            f"{t}/{v}/.mp4",
            f"{t}/{v}/mp4",
            f"{t}/{v}/video.mp4/",
            f"{t}/{v}/cropped_frames/chunk_00000.webm",
            f"{t}/{v}/cropped_frames/chunk_000.webm",
            f"{t}/{v}/cropped_frames_v0/modulo_3/chunk_0000.webm",
            f"{t}/{v}/cropped_frames_v2/modulo_64/chunk_0000.webm",
            f"{t}/{v}/cropped_frames_v2/chunk_0000.webm",
            f"{t}/{v}/cropped_frames_v-1/chunk_0000.webm",
            f"{t}/{v}/captions.db",
            f"{t}/{v}/sub/captions.db",
            f"{t}/{v}/Captions.db",
            f"{t}/{v}/video.db",
            "",
            "x" * 1024,
            "x" * 1025,
            "é" * 512,
            f"{t}/{v}/ü film.webm",
            f"{t}/{v}/chunk_0000.webm",
        ]
    ):
        yield events.object_event("stored", k, S + i, size_bytes=i)
        yield events.object_event(
            "stored", k, S + i + 1, size_bytes=i, tenant_id=t, video_id=v, bucket="other"
        )
    yield events.object_event("stored", "k", S, bucket="")
    yield events.object_event("stored", "k", S, bucket="a/b")
    yield events.object_event("stored", f"{t}/{v}/layout.db", S, tenant_id=T(c, 1), video_id=v)
    yield events.object_event("stored", f"{t}/{v}/layout.db", S + 5, video_id=v)
    yield events.object_event("stored", f"{T(c,2)}/{v}/fullOCR.db", S + 5, size_bytes=3)
    yield events.object_event("copied", f"{t}/{v}/fullOCR.db", S + 5)


@sequence
def purge_before_all(c):
    yield events.video("VideoPurged", T(c), V(c), S - 9, reason="gdpr")
    yield events.video("VideoPurged", T(c), V(c), S + 9)
    yield events.video("VideoRegistered", T(c), V(c), S, actor=U(c), size_bytes=7)
    yield events.video(
        "LayoutApproved",
        T(c),
        V(c),
        S + 1,
        layout_db_hash="h",
        crop_bounds={"a": [1, {"b": None}]},
        actor=U(c),
    )
    yield events.frame("FrameCaptioned", T(c), V(c), 0, S + 100, caption_text="secret")
    yield events.crop("CropStarted", T(c), V(c), id_of(c, "cv"), S + 3, version=1)
    yield events.crop("CropActivated", T(c), V(c), id_of(c, "cv"), S + 4)
    yield events.file_event("stored", T(c), V(c), "captions.db", S + 5, size_bytes=1)
    yield events.lock(
        "LockAcquired", T(c), V(c), id_of(c, "lock"), U(c), S + 6, S + 6, expires_at=S + 6 + MINUTE
    )
    yield events.video("VideoPurged", T(c, 1), V(c, 1), S)
    yield events.video("VideoRegistered", T(c), V(c, 1), S)


@sequence
def locks_at_their_edges(c):
    yield events.video("VideoRegistered", T(c), V(c), S)
    a = NOW - 5 * MINUTE
    for n, (acq, at, exp) in enumerate(
        [
            (a, a, a + 15 * MINUTE),
            (a, a, a + 15 * MINUTE + 1),
            (a, a, a),
            (a, a, a - 1),
            (a + 15 * MINUTE, a, a + 15 * MINUTE + 5),
            (NOW + HOUR, NOW, NOW + HOUR + 5),
            (a, a, NOW + 10),
        ]
    ):
        yield events.video("VideoRegistered", T(c), V(c, n + 1), S)
        yield events.lock(
            "LockAcquired", T(c), V(c, n + 1), id_of(c, "lock", n), U(c), acq, at, expires_at=exp
        )
    for n in range(3):
        yield events.lock(
            "LockAcquired", T(c), V(c), id_of(c, "same", n), U(c, n), a, a, expires_at=a + 14 * MINUTE
        )
    yield events.lock("LockReleased", T(c), V(c), id_of(c, "same", 0), U(c), a, a + 1)
    yield events.lock(
        "LockRenewed", T(c, 1), V(c), id_of(c, "same", 9), U(c), a + 9, a + 9, expires_at=a + 10 * MINUTE
    )
    yield events.lock("LockReleased", T(c), V(c, 8), id_of(c, "only released"), U(c), a, a)


@sequence
def crops_that_share(c):
    yield events.video("VideoRegistered", T(c), V(c), S)
    ids = [id_of(c, "v", n) for n in range(5)]
    for n, (ver, at) in enumerate([(1, S), (1, S), (2**31 - 1, S + 1), (2, S + 2), (0, S)]):
        yield events.crop(
            "CropStarted",
            T(c),
            V(c),
            ids[n],
            at,
            version=ver,
            frame_rate=float("nan") if n == 3 else 0.0,
            flow_run_id=R(c, n),
        )
        yield events.crop("CropActivated", T(c), V(c), ids[n], S + 10)
    yield events.crop("CropStarted", T(c), V(c), ids[0], S - 5, version=7)
    yield events.crop("CropFailed", T(c), V(c), ids[2], S - 100)
    yield events.crop(
        "CropEncoded",
        T(c),
        V(c),
        ids[0],
        S + 4,
        chunk_count=0,
        total_frames=2**31 - 1,
        total_size_bytes=2**63 - 1,
    )
    yield events.crop(
        "CropEncoded", T(c), V(c), ids[0], S + 5, chunk_count=-1, total_frames=0, total_size_bytes=0
    )
    yield events.flow(R(c, 0), "CRASHED", S + 2, run_count=1, tenant_id=T(c), video_id=V(c))
    yield events.crop("CropStarted", T(c, 1), V(c), id_of(c, "foreign"), S - 50, version=1)
    yield events.crop(
        "CropStarted", T(c), V(c), id_of(c, "outside"), S, version=9, storage_prefix=f"{T(c,1)}/{V(c)}/x"
    )
    yield events.crop("CropStarted", T(c), V(c, 1), ids[0], S - 7, version=3)


@sequence
def tenants_and_slugs(c):
    slug = "s" + id_of(c)[:8]
    for n in range(4):
        yield events.tenant("TenantCreated", T(c, n), S + n // 2, name="N" if n else "", slug=slug)
    yield events.tenant("TenantRemoved", T(c, 0), S - 1)
    yield events.tenant("TenantChanged", T(c, 1), S + 50, slug=f"{slug}-{T(c,2)[:8]}")
    yield events.tenant("TenantCreated", T(c, 4), S, name="x", slug="", storage_quota_gb=2**31 - 1)
    yield events.tenant(
        "TenantCreated", T(c, 5), S, name="x", slug=f"unknown-{T(c,6)}", storage_quota_gb=-1
    )
    yield events.tenant("TenantChanged", T(c, 1), S + 51, storage_quota_gb=0)
    yield events.video("VideoRegistered", T(c, 6), V(c, 6), S)
    yield events.tenant("TenantCreated", T(c, 7), S, name="y", slug=f"unknown-{T(c,6)}")
    yield events.video("VideoRegistered", T(c, 0), V(c, 7), S)


@sequence
def users_who_come_and_go(c):
    yield events.user("UserRegistered", U(c), S, tenant_id=T(c), role="owner")
    yield events.user("UserAssigned", U(c), S - 5, tenant_id=T(c, 1), role="admin")
    yield events.user("UserRegistered", U(c), S + 1, full_name="")
    yield events.user("UserRegistered", U(c), S, full_name=None, tenant_id=T(c, 2))
    yield events.user(
        "UserProfileChanged", U(c), S + 3, full_name="z" * 100_000, avatar_url="javascript:alert(1)"
    )
    yield events.user("UserAssigned", U(c, 1), S, tenant_id=T(c))
    yield events.user("UserRemoved", U(c, 2), S - 99)
    yield events.user("UserRegistered", U(c, 2), S)
    yield events.user("UserAssigned", U(c, 2), S + 9, tenant_id=T(c))
    yield events.user("UserRegistered", U(c, 3), S, tenant_id="00000000-0000-0000-0000-000000000000")
    yield events.user("UserRegistered", "00000000-0000-0000-0000-000000000000", S, tenant_id=T(c))


@sequence
def times_far_away(c):
    far = 253402300799_999999
    yield events.video("VideoRegistered", T(c), V(c), S)
    yield events.video("VideoArchived", T(c), V(c), far)
    yield events.video("VideoRegistered", T(c), V(c, 1), far, uploaded_at=-62135596800_000000)
    yield events.video("VideoRegistered", T(c), V(c, 2), S, uploaded_at=far)


def told(way):
    """All of them, "forwards", "backwards" or "doubled" and mixed."""
    found = []
    for function in SEQUENCES:
        made = list(function(f"{function.__name__} {way}"))
        if way == "backwards":
            made.reverse()
        if way == "doubled":
            made = random.Random(function.__name__).sample(made * 2, 2 * len(made))
        found += made
    return found


def all_told():
    """The clock last; and {(topic, event_id): ms} of the records whose timestamps are not those of their
    events, which no record may have, or which would move stream time."""
    found = [event for way in ("forwards", "backwards", "doubled") for event in told(way)]
    stamps = {
        (events.topic_of(event), event["event_id"]): NOW // 1000
        for event in found
        if not 0 <= event["emitted_at"] <= NOW + HOUR
    }
    return [*found, clock("extremes")], stamps

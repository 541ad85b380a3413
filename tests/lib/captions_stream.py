# SPDX-License-Identifier: Apache-2.0
"""Makes up what may happen in a captioning service: tenants, users and videos with everything that
goes wrong, as the events of the captions topics. As lib.scenario for Safari: the same seed gives the
same events, and lib.captions_oracle says what the tables must hold of them.

    stream = Stream(seed=7, videos=20)
    stream.events                each event once, roughly in the order in which it happened
    stream.timestamps            of the records of those whose clock is wrong
    stream.deliveries(seed=1)    the same set as producers may deliver it: repeated, late, early
"""

import random

from lib import captions_events as events
from lib.captions_cases import NOW
from lib.events import HOUR, MILLISECOND, MINUTE, SECOND, id_of
from lib.scenario import Scenario

SPAN = 2 * HOUR
START = NOW - SPAN
TENANTS = 4
WORDS = "dignity droit 人権 สิทธิ 🎈 Würde liberté free equal born".split()
FILES = ("video.mp4", "holiday.mov", "clip.mp4.part", "video.db", "fullOCR.db", "layout.db",
         "captions.db", "state.db", "notes/clip.mp4", "cropped_frames/chunk_0000.webm",
         "cropped_frames/chunk_0000.webm.tmp", "cropped_frames_v2/modulo_16/chunk_0031.webm",
         "cropped_frames_v2/chunk_0001.webm")
NIL = "00000000-0000-0000-0000-000000000000"
STATES = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING", "DREAMING")
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Stream:
    """See the module."""

    deliveries = Scenario.deliveries

    def __init__(self, seed, videos=16):
        self.seed = seed
        self.timestamps = {}  # {(topic, event_id): ms} where it is not that of emitted_at
        self.events = []
        self._random = random.Random(f"captions {seed}")
        self._tenants = [self.id("tenant", number) for number in range(TENANTS)]
        self._users = [self.id("user", number) for number in range(2 * TENANTS)]
        for number, tenant in enumerate(self._tenants):
            self._tenant(number, tenant)
        for number, user in enumerate(self._users):
            self._user(number, user)
        for number in range(videos):
            _Video(self, number)
        for number in range(videos // 4):
            self._elsewhere(number)
        self._poison()
        self.add(events.flow(self.id("clock"), "RUNNING", NOW))
        self.events.sort(key=lambda event: event["emitted_at"])

    # --- for the videos ---

    def id(self, *name):
        return id_of("captions", self.seed, *name)

    def add(self, *made):
        self.events += made

    def chance(self, rate):
        return self._random.random() < rate

    def choose(self, options):
        return options[int(self._random.random() * len(options))]

    def between(self, low, high):
        return low + int(self._random.random() * (high - low + 1))

    def time(self, low=START, high=NOW - 1):
        """Mostly a whole ten seconds, so that ids must decide between equal times."""
        at = self.between(low, max(low, high))
        return max(low, at - at % (10 * SECOND)) if self.chance(0.7) else at

    def maybe(self, value, rate=0.7):
        return value if self.chance(rate) else None

    def tenant(self):
        return self.choose(self._tenants)

    def user(self):
        return self.maybe(self.choose(self._users), 0.8)

    def text(self):
        words = [self.choose(WORDS) for _ in range(self.between(1, 6))]
        return self.choose((" ", "\n", "")).join(words)

    # --- what is of no video ---

    def _tenant(self, number, tenant):
        slugs = [f"acme-{self.seed}", f"studio-{self.seed}-{number}"]
        at = self.time()
        if self.chance(0.85):
            for again in range(1 + self.chance(0.2)):
                self.add(events.tenant("TenantCreated", tenant, at + again * MINUTE,
                                       name=f"Tenant {number}.{again}", slug=self.choose(slugs),
                                       storage_quota_gb=self.between(0, 200)))
            for _ in range(self.between(0, 3)):
                self.add(events.tenant("TenantChanged", tenant, self.time(),
                                       name=self.maybe(f"Renamed {number} {self.text()}", 0.5),
                                       slug=self.maybe(self.choose(slugs), 0.5),
                                       storage_quota_gb=self.maybe(self.between(1, 500), 0.4)))
            if self.chance(0.2):
                self.add(events.tenant("TenantRemoved", tenant, self.time()))

    def _user(self, number, user):
        at = self.time()
        for again in range(1 + self.chance(0.2)):
            self.add(events.user("UserRegistered", user, at + again * MINUTE,
                                 tenant_id=self.maybe(self.tenant()),
                                 full_name=self.maybe(f"User {number}.{again}"),
                                 avatar_url=self.maybe("https://faces.example/1", 0.3)))
        for _ in range(self.between(0, 2)):
            self.add(events.user("UserProfileChanged", user, self.time(),
                                 full_name=self.maybe(self.text()),
                                 avatar_url=self.maybe("https://faces.example/2", 0.3)),
                     events.user("UserAssigned", user, self.time(), tenant_id=self.tenant(),
                                 role=self.choose(("user", "admin", "annotator")),
                                 assigned_by=self.user()))
        if self.chance(0.15):
            self.add(events.user("UserRemoved", user, self.time()))

    def _elsewhere(self, number):
        """Objects outside of all folders, runs without a video, and clocks that are wrong."""
        key = self.choose((f"backups/{number}.tar", f"{self.tenant()}/readme.txt", f"{number}",
                           f"{self.tenant().upper()}/{self.tenant()}/video.mp4"))
        self.add(events.object_event("stored", key, self.time(), size_bytes=number),
                 events.flow(self.id("lone run", number), self.choose(STATES + ENDS), self.time()))
        ahead = NOW + self.between(1, 3) * HOUR
        far = events.flow(self.id("fast clock", number), "RUNNING", ahead)
        self.timestamps[events.FLOWS, far["event_id"]] = (ahead - 25 * HOUR) // MILLISECOND
        self.add(far)

    def _poison(self):
        """Copies of events that are all right, each with something that is refused."""
        for event in self._random.sample(self.events, len(self.events) // 25):
            broken = self._broken({**event, "body": event["body"]} if "body" in event
                                  else dict(event))
            self.add({**broken, "event_id": self.id("poison", event["event_id"])})

    def _broken(self, event):
        kind, body = event.get("body", (None, {}))
        nil = [{name: NIL} for name in ("tenant_id", "video_id") if event.get(name)]
        ways = {
            None: nil + ([{"operation": "touched"}, {"size_bytes": -1}] if "bucket" in event
                         else [{"tags": "{not json"}, {"run_count": -1}]),
            "VideoRegistered": nil + [{"storage_key": f"{event.get('tenant_id')}/{NIL}/video.mp4"},
                                      {"storage_key": body.get("storage_key", "") + "/../x"},
                                      {"size_bytes": -1}],
            "ProcessingFinished": nil + [{"outcome": "perfect"}, {"failed_batches": -1}],
            "LayoutApproved": [{"crop_bounds": "[1,"}, {"layout_db_key": "layout.db"}],
            "FrameTextIndexed": nil + [{"frame_index": -1}, {"ocr_text": "nul \0"}],
            "FrameCaptioned": [{"frame_index": -7}, {"caption_text": "人" * 33_334}],
            "CropStarted": nil + [{"version": 0}, {"storage_prefix": "elsewhere"}],
            "CropEncoded": [{"chunk_count": -1}, {"total_size_bytes": -1}],
            "LockAcquired": nil + [{"expires_at": event.get("acquired_at")},
                                   {"expires_at": event["emitted_at"] + 15 * MINUTE + 1}],
            "TenantCreated": nil + [{"storage_quota_gb": -1}, {"name": "nul \0"}],
            "UserAssigned": [{"role": "owner"}, {"tenant_id": NIL}],
        }
        for name, value in self.choose(ways.get(kind) or nil or [{"user_id": None}]).items():
            if name in body:
                event["body"] = kind, {**body, name: value}
            elif name == "user_id":  # a UserEvent without another fault to have
                event["body"] = "UserRegistered", {"tenant_id": NIL, "full_name": None,
                                                   "avatar_url": None, "role": "user"}
            else:
                event[name] = value
        return event


class _Video:
    """What happens to one video. Of each kind of event some name another tenant."""

    def __init__(self, stream, number):
        self.stream, self.number = stream, number
        self.id = stream.id("video", number)
        self.tenant = stream.tenant()
        self.begins = stream.time(START, START + HOUR)
        self.is_registered = stream.chance(0.93)
        self._runs = 0
        if self.is_registered:
            self._registered()
        self._files()
        for _ in range(stream.choose((0, 1, 1, 2, 3))):
            self._processed()
        for _ in range(stream.choose((0, 1, 2))):
            self._indexed()
        self._crops()
        self._locks()
        self._managed()

    def _tenant(self):
        """Hardly ever another than the video's, and never where nobody knows whose it is."""
        if self.is_registered and self.stream.chance(0.04):
            return self.stream.tenant()
        return self.tenant

    def _add(self, kind, at, **more):
        self.stream.add(events.video(kind, self._tenant(), self.id, at, **more))

    def _later(self):
        return self.stream.time(self.begins)

    def _registered(self):
        one = self.stream
        name = one.choose(("video.mp4", "video.mp4", "holiday.mov"))
        for again in range(1 + one.chance(0.15)):
            key = f"{self.tenant}/{self.id}/{name}"
            one.add(events.video(
                "VideoRegistered", self.tenant, self.id, self.begins + again * SECOND,
                actor=one.user(), filename=f"{name} {again}", storage_key=key,
                size_bytes=one.maybe(one.between(0, 2**40)),
                duration_seconds=one.maybe(59.94),
                annotations_db_key=one.maybe(f"{self.tenant}/{self.id}/captions.db", 0.2),
                uploaded_at=one.maybe(self.begins - MINUTE, 0.3)))
        if one.chance(0.15):  # mostly too late
            other = one.tenant()
            one.add(events.video(
                "VideoRegistered", other, self.id, self.begins + one.choose((-1, 1, 1)) * MINUTE,
                filename="of another", storage_key=f"{other}/{self.id}/video.mp4"))

    def _files(self):
        one = self.stream
        for name in sorted({one.choose(FILES) for _ in range(one.between(0, 5))}):
            tenant, numbered = self._tenant(), one.chance(0.6)
            sequence = one.between(1, 200)
            for _ in range(one.between(1, 4)):
                removed = one.chance(0.3) and name not in ("video.mp4", "captions.db")
                sequence += one.between(1, 40)
                digits = f"{sequence:x}" if one.chance(0.5) else f"{sequence:024X}"
                one.add(events.file_event(
                    "removed" if removed else "stored", tenant, self.id, name, self._later(),
                    size_bytes=None if removed else one.between(0, 2**34),
                    etag=None if removed else one.maybe(f"{sequence:032x}-3"),
                    sequencer=digits if numbered or one.chance(0.1) else None))
        if one.chance(0.3):  # as a notification tells it, whose key alone says what it is
            one.add(events.object_event("stored", f"{self.tenant}/{self.id}/layout.db",
                                        self._later(), size_bytes=one.between(0, 2**20)))

    # --- runs ---

    def _flow(self, name, attempts, at):
        """The run of a flow as Prefect tells it; how it ended."""
        one, run = self.stream, one_id(self, name)
        tagged = one.chance(0.6)
        state = None
        for attempt in range(1, attempts + 1):
            for state in [one.choose(STATES) for _ in range(one.between(0, 2))] + [
                    one.choose(ENDS) if one.chance(0.8) else "RUNNING"]:
                tenant = self._tenant() if tagged else None
                at += one.between(0, 2 * MINUTE)
                one.add(events.flow(
                    run, state, at, tenant_id=tenant, video_id=self.id if tagged else None,
                    flow_name=name.rpartition(" ")[0], run_name="crimson-fox", run_count=attempt,
                    state_name=one.choose((state.capitalize(), "Late", "Retrying", None)),
                    message=one.maybe(f"{state} for a reason", 0.4),
                    tags=[f"video:{self.id}"] if tagged else None))
        return run

    def _processed(self):
        one = self.stream
        self._runs += 1
        attempts = one.choose((1, 1, 2, 3))
        at = self._later()
        run = self._flow(f"upload-and-process-video {self._runs}", attempts, at) \
            if one.chance(0.7) else one_id(self, f"run {self._runs}")
        for attempt in range(1, attempts + 1):
            at += one.between(0, 3 * MINUTE)
            if one.chance(0.9):
                self._add("ProcessingStarted", at, flow_run_id=run, run_count=attempt)
            at += one.between(0, 3 * MINUTE)
            # What succeeded is not tried again.
            outcome = one.choose(("succeeded", "failed", "cancelled") if attempt == attempts
                                 else ("failed",))
            if one.chance(0.6):
                self._add("ProcessingFinished", at, flow_run_id=run, run_count=attempt,
                          outcome=outcome, frame_count=one.maybe(one.between(0, 90)),
                          ocr_box_count=one.maybe(2**33), indexed_frames=one.maybe(12),
                          failed_batches=one.between(0, 2), duration_seconds=one.maybe(12.3, 0.4),
                          error=one.maybe("the file is missing") if outcome == "failed" else None)

    def _indexed(self):
        one = self.stream
        began, run = self._later(), one_id(self, f"index {one.between(0, 10**9)}")
        for index in range(one.between(1, 6)):
            if one.chance(0.85):  # else its batch failed
                one.add(events.frame(
                    "FrameTextIndexed", self._tenant(), self.id, index, one.time(began),
                    index_run=run, run_started_at=began, ocr_text=one.maybe(one.text(), 0.8)))
            if one.chance(0.3):
                one.add(events.frame("FrameCaptioned", self._tenant(), self.id, index,
                                     self._later(), caption_text=one.maybe(one.text())))

    # --- crops, locks ---

    def _crops(self):
        one = self.stream
        for number in range(one.between(0, 4)):
            version_id, at = one_id(self, f"crop {number}"), self._later()
            run = one_id(self, f"crop run {number}")
            if one.chance(0.5):
                run = self._flow(f"crop-video-frames {number}", 1, at)
            tenant = self._tenant()
            prefix = f"{tenant}/{self.id}/cropped_frames_v{number}"

            def add(kind, at, **more):
                one.add(events.crop(kind, tenant, self.id, version_id, at, **more))

            if one.chance(0.9):
                for again in range(1 + one.chance(0.1)):
                    add("CropStarted", at + again, storage_prefix=prefix,
                        version=one.choose((number + 1, number + 1, max(number, 1))),
                        layout_db_hash=one.maybe(one.choose(("h1", "h2"))),
                        crop_bounds=one.maybe({"top": 1.5, "lines": [1, 2]}),
                        frame_rate=one.choose((10.0, 9.7)), created_by_user_id=one.user(),
                        flow_run_id=one.maybe(run, 0.9))
            if one.chance(0.6):
                add("CropEncoded", at + MINUTE, chunk_count=3, total_frames=90,
                    total_size_bytes=one.between(0, 2**33))
            for _ in range(one.choose((0, 0, 1, 1, 2))):
                add("CropActivated", one.time(at))
            if one.chance(0.15):
                add("CropFailed", one.time(at), error="no frames")

    def _locks(self):
        one = self.stream
        for number in range(one.between(0, 3)):
            lock, user = one_id(self, f"lock {number}"), one.choose(one._users)
            began = one.choose((self._later(), one.time(NOW - 10 * MINUTE)))
            tenant, at = self._tenant(), began
            if one.chance(0.9):
                one.add(events.lock("LockAcquired", tenant, self.id, lock, user, began, at,
                                    expires_at=at + one.between(1, 15) * MINUTE))
            for _ in range(one.between(0, 2)):
                at += one.between(1, 5) * MINUTE
                if at < NOW:
                    one.add(events.lock("LockRenewed", tenant, self.id, lock, user, began, at,
                                        expires_at=at + one.between(1, 15) * MINUTE))
            if one.chance(0.4) and at < NOW:
                one.add(events.lock("LockReleased", tenant, self.id, lock, user, began, at))

    # --- what people do ---

    def _managed(self):
        one = self.stream
        for _ in range(one.between(0, 2)):
            self._add("LayoutApproved", self._later(), actor=one.user(),
                      layout_db_hash=one.choose(("h1", "h2", None)),
                      crop_bounds=one.maybe([0, 1, 2, 3]))
        for kind, rate in (("VideoArchived", 0.08), ("VideoSoftDeleted", 0.1),
                           ("VideoRestored", 0.15)):
            for _ in range(2):
                if one.chance(rate):
                    self._add(kind, self._later(), actor=one.user())
        if self.is_registered and one.chance(0.1):
            for _ in range(1 + one.chance(0.3)):
                self._add("VideoPurged", self._later(), reason="asked to")


def one_id(video, name):
    return video.stream.id("video", video.number, name)

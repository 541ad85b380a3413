# SPDX-License-Identifier: Apache-2.0
"""Makes up what may happen to projects and all that belongs to them, with everything that goes wrong
there, as the events of the studio topics: the same seed gives the same events, and
lib.studio_oracle says what the tables must hold of them.

    stream = Stream(seed=7, projects=10)
    stream.events                each event once, roughly in the order in which it happened
    stream.deliveries(seed=1)    the same set as producers may deliver it: repeated, late, early
"""

import random

from lib import studio_events as events
from lib.events import MINUTE, SECOND, START, id_of
from lib.scenario import Scenario
from lib.studio_oracle import v5

WORDS = "dignity droit 人権 สิทธิ 🎬 Würde liberté free equal born a,b \"c\" {d} \\e".split()
TEXTS = ("title", "description", "script", "seo_title", "seo_description", "seo_tags",
         "seo_hashtags", "seo_chapters")
BUCKETS = ("clips", "audio", "exports", "thumbnails")


class Stream:
    """See the module."""

    deliveries = Scenario.deliveries

    def __init__(self, seed, projects=10):
        self.seed = seed
        self.events = []
        self._random = random.Random(f"studio {seed}")
        self._clock = START
        self.users = [id_of("studio", seed, "user", number) for number in range(3)]
        # Ids that several projects use, and some that only it has.
        self.shared = [id_of("studio", seed, "shared", number) for number in range(4)]
        for number in range(projects):
            _Project(self, number)
        self._voices()
        self._poison()
        once = {event["event_id"]: event for event in self.events}
        self.events = sorted(once.values(), key=lambda event: event["emitted_at"])

    # --- for the projects ---

    def add(self, *made):
        self.events += made

    def chance(self, rate):
        return self._random.random() < rate

    def choose(self, options):
        return options[int(self._random.random() * len(options))]

    def between(self, low, high):
        return low + int(self._random.random() * (high - low + 1))

    def some(self, items):
        return self._random.sample(items, self.between(0, len(items)))

    def maybe(self, value, rate=0.7):
        return value if self.chance(rate) else None

    def text(self, most=6):
        return self.choose((" ", "\n", "")).join(
            self.choose(WORDS) for _ in range(self.between(1, most)))

    def now(self, least=0):
        """A revision: later than `least`, but for ties that only ids decide."""
        if self.chance(0.8):
            self._clock += self.between(1, 20) * SECOND
        return max(self._clock, least)

    # --- what belongs to no project ---

    def _voices(self):
        for _ in range(20):
            self.add(events.voice(self.choose(("VoiceSaved", "VoiceSaved", "VoiceDeleted")),
                                  self.choose(("v", "w", "a/b")), self.now(),
                                  user_id=self.choose((None, *self.users[:2])),
                                  provider=self.choose(("eleven", "pika"))))
        for _ in range(12):
            self.add(events.voice("VoiceSaved", self.choose(("v", "w")), self.now(),
                                  voice_name=self.maybe(self.text()),
                                  metadata=self.maybe({"pitch": 1.5, "by": self.text()}),
                                  created_at=self.maybe(self._clock - MINUTE)))

    def _poison(self):
        at = self.now()
        bad = id_of("studio", self.seed, "bad")
        for number, event in enumerate((
                events.project("ProjectSaved", bad, at, title="\0"),
                events.project("ProjectSaved", bad, at, fields=["\0"]),
                events.project("ProjectSaved", bad, at, seo_chapters="{"),
                events.project("ProjectSaved", bad, at, seo_chapters="\"\\u0000\"", fields=[]),
                events.project("ProjectSaved", bad, at, seo_tags=["good", "\0"]),
                events.project("ProjectSaved", bad, at, scenes=[events.scene("a", prompt="\0")]),
                events.project("ProjectStatusChanged", bad, at, status="\0"),
                events.clip("ClipSaved", bad, at, clip_id=bad, duration=-1),
                events.clip("ClipSaved", bad, at, clip_id=bad, scene_id="\0"),
                events.clip("ClipTrimmed", bad, at, clip_id=bad, start_trim="-0.000001"),
                events.clip("ClipTrimmed", bad, at, clip_id=bad, end_trim=-1),
                events.clip("ClipTrimmed", bad, at, clip_id=bad, start_trim=2, end_trim=2),
                events.clip("ClipTrimmed", bad, at, clip_id=bad, start_trim=10, end_trim=9),
                events.media("ExportSaved", bad, at, export_id=bad, duration=-1),
                events.media("AudioFileSaved", bad, at, audio_id=bad, metadata="nope"),
                events.voice("VoiceSaved", "bad", at, metadata="[1,]"),
                events.voice("VoiceSaved", "\0", at),
                events.job("JobStatusChanged", "bad", at, status="cooking"),
                events.job("JobStatusChanged", "bad", at, status="done", progress=101),
                events.job("JobStatusChanged", "bad", at, status="done", result="{"),
                events.job("JobProgressed", "bad", at, progress=-1, project_id=bad),
                events.stored("ObjectStored", "clips", "\0", at))):
            self.add({**event, "event_id": id_of("studio", self.seed, "poison", number)})


class _Project:
    """A project that is written, saved while somebody types, generated, cut, rendered, deleted."""

    def __init__(self, stream, number):
        self.s = stream
        self.id = id_of("studio", stream.seed, "project", number)
        self.user = stream.maybe(stream.choose(stream.users), 0.6)
        self.clips = [id_of(self.id, "clip", place) for place in range(stream.between(0, 5))]
        self.clips += stream.some(stream.shared)
        self.media = [id_of(self.id, "medium"), *stream.some(stream.shared)[:2]]
        self.jobs = [f"job-{number}", id_of(self.id, "job").upper(), "shared",
                     id_of(stream.seed, "job")]
        self.base = None
        saved = stream.chance(0.9)
        steps = [self.clip, self.clip, self.cut, self.render, self.work, self.store, self.mark]
        for _ in range(stream.between(6, 14)):
            if saved and stream.chance(0.5):
                self.save()
            else:
                stream.choose(steps)()
        if stream.chance(0.25):
            self.project("ProjectDeleted", stream.now())
            self.save()
            self.clip()
            self.work()

    def project(self, kind, revision, **body):
        self.s.add(events.project(kind, self.id, revision, user_id=self.s.maybe(self.user),
                                  at=self.s.maybe(revision - MINUTE, 0.1), **body))

    def scene_ids(self):
        own = v5("studio/scene", self.id, "scene-1")
        return [self.s.choose(("", "scene-1", "scene-1", "scene-2", "2", str(own), str(own).upper(),
                               str(v5("studio/scene", self.id, own, 2)), *self.s.shared))
                for _ in range(self.s.between(0, 5))]

    def save(self):
        s = self.s
        texts = {"title": s.text(), "description": s.text(), "script": s.text(60),
                 "seo_title": s.text(), "seo_description": s.text(),
                 "seo_tags": [s.text() for _ in range(s.between(0, 3))],
                 "seo_hashtags": s.choose(([], [""], ["a,b", "#c"])),
                 "seo_chapters": [{"at": 1.5, "title": s.text()}]}
        scenes = [events.scene(name, number=s.maybe(s.between(1, 9), 0.3), title=s.maybe(s.text()),
                               prompt=s.maybe(s.text()), created_at=s.maybe(START, 0.1))
                  for name in self.scene_ids()]
        for _ in range(1 + s.chance(0.2)):  # two tabs at once, on one base
            revision = s.now(0 if self.base is None else self.base + 1)
            self.project("ProjectSaved", revision, base_revision=s.maybe(self.base),
                         fields=s.maybe([*s.some(TEXTS), *s.some(["shoe_size"])], 0.4),
                         scenes=s.maybe(scenes, 0.6), created_at=s.maybe(revision - MINUTE, 0.3),
                         **{name: s.maybe(value) for name, value in texts.items()})
        self.base = revision

    def clip(self):
        s = self.s
        if not self.clips:
            return
        one = s.choose(self.clips)
        if s.chance(0.1):
            s.add(events.clip("ClipDeleted", self.id, s.now(), clip_id=one))
        else:
            s.add(events.clip(
                "ClipSaved", self.id, s.now(), clip_id=one, provider=s.choose(("pika", "runway")),
                scene_id=s.maybe(s.choose((*self.scene_ids(), "scene-1", ""))),
                status=s.choose(("draft", "processing", "completed", "error", "timeout", "done")),
                file_url=s.maybe(self.url("clips", one)), thumbnail_url=s.maybe(s.text()),
                duration=s.maybe(s.between(0, 9_999_999) / 10**6), prompt=s.maybe(s.text()),
                created_at=s.maybe(START, 0.2)))

    def cut(self):
        s = self.s
        if self.clips and s.chance(0.5):
            start = s.maybe(s.between(0, 3_000_000) / 10**6)
            s.add(events.clip("ClipTrimmed", self.id, s.now(), clip_id=s.choose(self.clips),
                              start_trim=start, end_trim=s.maybe(4.25)))
        else:
            order = s.some([*self.clips, id_of("nobody's")])
            s.add(events.clip("ClipsReordered", self.id, s.now(),
                              clip_ids=order + s.some(order)))

    def render(self):
        s = self.s
        one = s.choose(self.media)
        kind = s.choose(("ExportSaved", "AudioFileSaved", "ExportSaved", "AudioFileSaved",
                         "ExportDeleted", "AudioFileDeleted"))
        given = {"export_id" if "Export" in kind else "audio_id": one}
        if "Saved" in kind:
            given.update(file_url=self.url("exports", one), created_at=s.maybe(START, 0.2),
                         duration=s.maybe(s.between(0, 99_000_000) / 10**6))
        if kind == "AudioFileSaved":
            given.update(kind=s.choose(("audio", "narration")), filename=s.maybe(s.text()),
                         metadata=s.maybe({"bpm": 90.5}))
        s.add(events.media(kind, self.id, s.now(), **given))

    def work(self):
        """A job, whose messages may be lost, or come after its end."""
        s = self.s
        job = s.choose(self.jobs)
        project = self.id if s.chance(0.8) else None
        if s.chance(0.6):
            s.add(events.job("JobRegistered", job, s.now(), project_id=project,
                             type=s.choose(("clip", "export")), message=s.maybe(s.text())))
        for percent in s.some(range(0, 101, 10))[:4]:
            s.add(events.job("JobProgressed", job, s.now(), project_id=s.maybe(project, 0.3),
                             progress=percent, message=s.maybe(s.text())))
            if s.chance(0.2):
                s.add(events.job("JobStatusChanged", job, s.now(), message=s.maybe(s.text()),
                                 status=s.choose(("pending", "queued", "processing", "running")),
                                 progress=s.maybe(5)))
        if s.chance(0.7):
            s.add(events.job("JobStatusChanged", job, s.now(), result=s.maybe({"url": s.text()}),
                             status=s.choose(("done", "success", "succeeded", "failed", "timeout"))))
            if s.chance(0.5):
                s.add(events.job("JobProgressed", job, s.now(), progress=100))

    def url(self, bucket, name):
        return f"https://x.example/storage/v1/object/public/{bucket}/projects/{self.id}/{name}"

    def store(self):
        s = self.s
        key = f"projects/{s.choose((self.id, self.id.upper(), 'proj-1'))}" + \
            s.choose(("", "/clips/a.mp4", "/clips/ü 1.mp4"))
        for _ in range(s.between(1, 3)):
            kind = s.choose(("ObjectStored", "ObjectStored", "ObjectDeleted"))
            s.add(events.stored(kind, s.choose(BUCKETS), key, s.now(), **(
                {"size_bytes": s.maybe(s.between(0, 2**40)), "etag": s.maybe(s.text()),
                 "content_type": s.maybe("video/mp4"), "public_url": s.maybe(s.text())}
                if kind == "ObjectStored" else {"reason": s.maybe(s.text())})))

    def mark(self):
        s = self.s
        if s.chance(0.6):
            self.project("ProjectStatusChanged", s.now(),
                         status=s.choose(("generating", "rendering", "completed", "error")))
        else:
            self.project("ProjectThumbnailSet", s.now(),
                         thumbnail_url=s.maybe(self.url("thumbnails", "thumbnail.png"), 0.8))

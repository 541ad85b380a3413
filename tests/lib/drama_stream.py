# SPDX-License-Identifier: Apache-2.0
"""Makes up what may happen to dramas, their jobs and the users who pay for them, with everything
that goes wrong there, as the events of the drama topics: the same seed gives the same events, and
lib.drama_oracle says what the tables must hold of them.

    stream = Stream(seed=7, dramas=10)
    stream.events                each event once, roughly in the order in which it happened
    stream.deliveries(seed=1)    the same set as producers may deliver it: repeated, late, early
"""

import random

from lib import drama_events as events
from lib.events import MINUTE, SECOND, START, id_of
from lib.scenario import Scenario

SCENES = {"alpha": (4, 5, 3), "beta": (4, 7, 5)}  # of each episode; each scene has two assets
GRAPHS = {"alpha": 44, "beta": 56}
WORDS = "dignity droit 人権 สิทธิ 🎬 Würde liberté free equal born".split()


def shape(name, url=lambda *path: None):
    """(characters, episodes) as large as two stored dramas; all ids of alpha are in beta, too."""
    characters = [events.character(f"char-{number}", name=f"C{number}", main=number < 2,
                                   url=url("character", number)) for number in range(5)]
    episodes = []
    for number, count in enumerate(SCENES[name], 1):
        scenes = []
        for place in range(1, count + 1):
            scene = f"ep{number}-sc{place}"
            scenes.append(events.scene(scene, description=f"Scene {place}", assets=[
                events.asset(f"{scene}-img", "image", depends_on=[f"char-{place % 5}"],
                             prompt="p" * 40),
                events.asset(f"{scene}-vid", "video", depends_on=[f"{scene}-img"], duration=15)]))
        episodes.append(events.episode(f"ep{number}", title=f"Episode {number}", scenes=scenes))
    return characters, episodes


class Stream:
    """See the module."""

    deliveries = Scenario.deliveries

    def __init__(self, seed, dramas=10, users=6):
        self.seed = seed
        self.events = []
        self._random = random.Random(f"drama {seed}")
        self._clock = START
        self._users = [id_of("drama", seed, "user", number) for number in range(users - 1)]
        self._users.append("10000")
        for user in self._users:
            self._account(user)
        for number in range(dramas):
            _Drama(self, number)
        self._poison()
        once = {event["event_id"]: event for event in self.events}
        self.events = sorted(once.values(), key=lambda event: event["emitted_at"])

    # --- for the dramas ---

    def add(self, *made):
        self.events += made

    def chance(self, rate):
        return self._random.random() < rate

    def choose(self, options):
        return options[int(self._random.random() * len(options))]

    def between(self, low, high):
        return low + int(self._random.random() * (high - low + 1))

    def shuffled(self, items):
        return self._random.sample(items, len(items))

    def maybe(self, value, rate=0.7):
        return value if self.chance(rate) else None

    def user(self):
        return self.maybe(self.choose(self._users), 0.8)

    def text(self):
        return self.choose((" ", "\n", "")).join(
            self.choose(WORDS) for _ in range(self.between(1, 6)))

    def now(self, least=0):
        """A revision: later than `least`, but for ties that only ids decide."""
        if self.chance(0.8):
            self._clock += self.between(1, 20) * SECOND
        return max(self._clock, least)

    # --- users ---

    def _account(self, user):
        at = self.now()
        if self.chance(0.9):
            for again in range(1 + self.chance(0.2)):
                self.add(events.user("UserRegistered", user, at + again * MINUTE,
                                     email=self.maybe(f"{user[:8]}@example.org"),
                                     display_name=self.maybe(self.text()),
                                     tokens=self.choose((30, 30, 50))))
        for _ in range(self.between(0, 3)):
            names = ("email", "display_name", "subscription_tier", "shoe_size")
            self.add(events.user("UserChanged", user, self.now(), fields=list(
                self._random.sample(names, self.between(0, 3))), email=self.maybe("new@example.org"),
                display_name=self.maybe(self.text()),
                subscription_tier=self.maybe(self.choose(("free", "pro")))))
        for _ in range(self.between(0, 5)):
            entry = self.choose((None, id_of("entry", self.seed, self.between(0, 4))))
            self.add(events.user("TokensChanged", user, self.now(), delta=self.between(-40, 40),
                                 reason=self.choose(("grant", "correction")), entry_id=entry))
        if self.chance(0.1):
            self.add(events.user("UserDeleted", user, self.now()))

    def charge(self, user, drama, job, attempt, cost):
        if user is not None:
            entry = id_of("charge", self.seed, drama, job, attempt)
            for _ in range(1 + self.chance(0.3)):  # tried again: an event of its own, one entry
                self.add(events.user("TokensChanged", user, self.now(), delta=-cost,
                                     entry_id=entry, drama_id=drama, job_id=job,
                                     event_id=id_of(entry, len(self.events))))

    # --- what is refused ---

    def _poison(self):
        at = self.now()
        long = "x" * 201
        for number, event in enumerate((
                events.drama("DramaSaved", long, at, at),
                events.drama("DramaSaved", "", at, at),
                events.drama("DramaSaved", "bad", at, at, metadata="{"),
                events.drama("DramaSaved", "bad", at, at, title="\0"),
                events.drama("DramaSaved", "bad", at, at, characters=[
                    events.character("c", assets=[events.asset("a", extra="\"\\u0000\"")])]),
                events.drama("DramaSaved", "bad", at, at, episodes=[
                    events.episode("e", scenes=[events.scene(long)])]),
                events.drama("DramaStatusChanged", "bad", at, at, status="queued"),
                events.drama("MediaSet", "bad", at, at, level="prop", path=[]),
                events.drama("MediaSet", "bad", at, at, level="scene", path=["e"],
                             slot="image_url"),
                events.drama("MediaSet", "bad", at, at, level="scene", path=["e", "s"]),
                events.job("JobStatusChanged", "bad", "j", at, status="queued"),
                events.job("JobCreated", "bad", "j", at, parent_job_id=""),
                events.job("JobCreated", "bad", "j", at, asset_id=long),
                events.job("JobStatusChanged", "bad", "j", at, status="failed", result="nope"),
                events.user("UserRegistered", "bad", at, email=long),
                events.user("TokensChanged", "bad", at, delta=1, job_id=""))):
            self.add({**event, "event_id": id_of("drama", self.seed, "poison", number)})


class _Drama:
    """A drama that is written, changed, generated, deleted and made again."""

    def __init__(self, stream, number):
        self.s = stream
        self.id = stream.choose((f"drama_{stream.seed}_{number}", f"a/b:{number} 🎬 {stream.seed}",
                                 f"corgi_musk_v{number}_{stream.seed}"))
        self.name = stream.choose(("alpha", "alpha", "beta", None))
        self.user = stream.user()
        self.life = 0 if stream.chance(0.2) else stream.now()
        if stream.chance(0.6):
            self.write()
        if stream.chance(0.95):
            self.save(self.life or stream.now(), source="import" if self.life == 0 else "api")
        for _ in range(stream.between(0, 2)):
            self.change()
        if stream.chance(0.7):
            self.generate()
        if stream.chance(0.4):
            self.delete()
        if stream.chance(0.3):
            self.odd_jobs()

    def drama(self, kind, revision, **body):
        self.s.add(events.drama(kind, self.id, self.life, revision,
                                user_id=self.s.maybe(self.user), **body))

    def job(self, kind, job, revision, attempt=1, **body):
        self.s.add(events.job(kind, self.id, job, revision, attempt=attempt,
                              user_id=self.s.maybe(self.user, 0.5), **body))

    def parts(self):
        if self.name:
            return shape(self.name, lambda *path: self.s.maybe("https://r2.example/" + "/".join(
                map(str, path)), 0.3))
        s = self.s
        ids = lambda: s.choose(("", "a", "a", "b", "c", "a#2", "#2"))  # noqa: E731
        assets = lambda: [events.asset(  # noqa: E731
            ids(), s.choose(("image", "video")), url=s.maybe(s.text(), 0.4),
            depends_on=[ids()], duration=s.maybe(15)) for _ in range(s.between(0, 2))]
        return ([events.character(ids(), name=s.maybe(s.text()), url=s.maybe(s.text(), 0.3),
                                  premise_url=s.maybe(s.text(), 0.3), assets=assets(),
                                  extra=s.maybe({"old": s.text()}, 0.3))
                 for _ in range(s.between(0, 4))],
                [events.episode(ids(), title=s.maybe(s.text()), assets=assets(), scenes=[
                    events.scene(ids(), image_url=s.maybe(s.text(), 0.3), assets=assets())
                    for _ in range(s.between(0, 3))]) for _ in range(s.between(0, 3))])

    def save(self, revision, **more):
        characters, episodes = self.parts()
        s = self.s
        body = {"title": s.maybe(s.text()), "premise": s.maybe(s.text()), "url": s.maybe(s.text()),
                "metadata": s.maybe({"model": s.text(), "n": 1.5}),
                "characters": s.maybe(characters, 0.85), "episodes": s.maybe(episodes, 0.85),
                "assets": s.maybe([events.asset("poster")], 0.3),
                "created_at": s.maybe(revision - MINUTE, 0.2), **more}
        self.drama("DramaSaved", revision, **body)

    def change(self):
        base = self.s.now()
        for _ in range(1 + self.s.chance(0.2)):  # two at once, on one base
            self.save(self.s.now(base), base_revision=base)
        for level, path, slot in (
                ("character", ["char-1"], "url"), ("character", ["char-1"], "premise_url"),
                ("scene", ["ep1", "ep1-sc1"], "image_url"), ("drama", [], "cover_url"),
                ("episode_asset", ["a", "a#2"], "url"), ("scene", ["a", "a"], "video_url")):
            if self.s.chance(0.3):
                self.drama("MediaSet", self.s.now(), level=level, path=path, slot=slot,
                           value=self.s.maybe(self.s.text(), 0.8))
        if self.s.chance(0.4):
            self.drama("DramaStatusChanged", self.s.now(), error=self.s.maybe("oh"),
                       status=self.s.choose(("pending", "running", "completed", "failed")))

    def write(self):
        """The job that makes the drama, which is there before it."""
        job = f"job_{self.s.seed}_write"
        self.job("JobCreated", job, self.s.now(), job_type="generate_drama",
                 prompt=self.s.text(), metadata={"model": "m"})
        self.job("JobStatusChanged", job, self.s.now(), status="running")
        self.job("JobStatusChanged", job, self.s.now(),
                 status=self.s.choose(("completed", "failed")), error=self.s.maybe("oh", 0.3))

    def generate(self):
        """The graph: one parent, and a job for each node, which end in any order."""
        s = self.s
        parent = f"job_drama_{self.id[:20]}"
        nodes = events.graph(*(shape(self.name) if self.name else self.parts()))
        self.job("JobCreated", parent, s.now(), job_type="generate_drama", node_type="drama",
                 total_jobs=s.choose((len(nodes), len(nodes), len(nodes) + 2, None, 1)))
        for node, name, _ in nodes:
            self.job("JobCreated", f"job_{name or node}", s.now(), parent_job_id=parent,
                     asset_id=name, node_type=node, depends_on=s.maybe(["job_char-1"], 0.2))
        whole = s.chance(0.6)  # else some never end
        for node, name, path in s.shuffled(nodes):
            job = f"job_{name or node}"
            if not whole and s.chance(0.2):
                continue
            if s.chance(0.8):
                self.job("JobStatusChanged", job, s.now(), status=s.choose(("running", "processing")))
            failed = s.chance(0.1)
            if failed:
                self.job("JobStatusChanged", job, s.now(), status="failed", error=s.text())
            if failed and s.chance(0.7):  # once more
                self.job("JobCreated", job, s.now(), attempt=2, parent_job_id=parent,
                         asset_id=name, node_type=node)
                self.job("JobStatusChanged", job, s.now(), attempt=2, status="running")
            if not failed or s.chance(0.7):
                self.job("JobStatusChanged", job, s.now(), attempt=2 if failed else 1,
                         status="completed", r2_url=f"https://r2.example/{name}",
                         r2_key=f"dramas/{self.id}/{name}", result={"path": path})
            s.charge(self.user, self.id, job, 1, s.between(1, 3))
            slot = "image_url" if node == "scene" else "url"
            if node != "episode" and s.chance(0.9):
                self.drama("MediaSet", s.now(), level=node, path=path, slot=slot, job_id=job,
                           value=f"https://r2.example/{self.id}/{name}")

    def delete(self):
        """And a job that ends too late, and perhaps a drama of that name again."""
        s = self.s
        self.drama("DramaDeleted", s.now())
        if s.chance(0.3):
            self.save(s.now())
        self.job("JobStatusChanged", f"job_{self.s.seed}_write", s.now(), status="completed")
        if s.chance(0.6):
            ended, self.life = self.life, s.now(1 + self.life)
            self.save(self.life)
            self.job("JobCreated", "job_ep1", s.now())
            if s.chance(0.3):  # the old one is deleted once more
                s.add(events.drama("DramaDeleted", self.id, ended, s.now()))
            if s.chance(0.7):
                self.generate()

    def odd_jobs(self):
        """Trees, rings, parents that nobody knows, children that move."""
        s = self.s
        names = [f"odd_{number}" for number in range(12)]
        for name in names * 2:
            if s.chance(0.7):
                self.job("JobCreated", name, s.now(), attempt=s.between(1, 2), job_type="odd",
                         total_jobs=s.maybe(s.between(0, 3), 0.2),
                         parent_job_id=s.maybe(s.choose(names), 0.8))
            if s.chance(0.7):
                self.job("JobStatusChanged", name, s.now(), attempt=s.between(1, 2),
                         status=s.choose(("pending", "running", "completed", "completed", "failed")),
                         error=s.maybe("oh"))

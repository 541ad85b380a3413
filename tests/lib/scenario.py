# SPDX-License-Identifier: Apache-2.0
"""Makes up what an automation service may do: lifecycles of every type of command, with the races
and failures that really happen, as the events of the three topics.

    scenario = Scenario(seed=7, commands=500)
    scenario.events              each event once, in the order in which it happened
    scenario.timestamps          of the records of those whose clock is wrong
    scenario.deliveries(seed=1)  the same set as producers may deliver it: repeated, late, early
    scenario.records(ids)        the deliveries as lib.kafka records

    for block in blocks(seed=7, count=1_000_000): ...  a long stream, scenario by scenario

The same seed gives the same events; deliveries of one scenario with different seeds must give the
same tables, which lib.oracle computes from scenario.events.
"""

import itertools
import random
from dataclasses import dataclass, field, replace

from lib import events
from lib.events import HOUR, MILLISECOND, MINUTE
from lib.scenario_commands import Command


@dataclass(frozen=True)
class Rates:
    """How often each of these happens, from 0 (never) to 1 (always)."""

    fails: float = 0.12  # anywhere on the way
    cancelled: float = 0.05  # while queued, and obeyed
    cancel_race: float = 0.05  # cancelled while queued, and executed all the same
    cancel_late: float = 0.03  # cancelled while running, and ended all the same
    clean_error: float = 0.15  # of generate.clean: only the removal fails
    missing_file: float = 0.10  # of sora.clean
    prompt_fails: float = 0.15  # of each prompt of a batch
    batch_breaks: float = 0.10  # of batches: FAILED half-way, with partial results
    same_key: float = 0.05  # an idempotency key that another command has
    same_path: float = 0.03  # a raw path that another video has
    never_submitted: float = 0.06  # nobody published the submission
    submitted_late: float = 0.05  # by a gateway whose clock is late
    submitted_twice: float = 0.06  # with different content
    never_ended: float = 0.06  # still running at the end
    only_frames: float = 0.03  # no record in safari.commands at all
    lost: float = 0.02  # of each status and each frame: it never came
    mostly_lost: float = 0.10  # of commands: most of their frames never came
    said_again: float = 0.03  # of each frame: another one says something else
    bare_result: float = 0.08  # a result without what the frames have said
    odd_member: float = 0.02  # of each payload and result: a member of a wrong type
    odd_cursor: float = 0.01  # a cursor in another form
    wire_v2: float = 0.12  # no cursor, other words, other names
    clock_ahead: float = 0.015  # minutes or a day
    new_word: float = 0.01  # a status that nobody knows yet: a dead letter
    bad_json: float = 0.002  # of each payload, result and metadata: mostly a dead letter
    no_object: float = 0.005  # of each result: JSON all the same
    partial_results: float = 0.10  # of each prompt of a batch: told while it runs
    bad_index: float = 0.01  # of each batch_index: a dead letter
    no_index: float = 0.05  # of each batch_index: not there
    own_target: float = 0.05  # a frame that has a target and a correlation id of its own
    no_command: float = 0.05  # a frame about no command, for each command


PLATFORMS = ("sora", "instagram", "tiktok", "threads", "x")
COMMANDS_A_SESSION = 20
SPAN = 4 * HOUR
START = events.START - SPAN - 2 * HOUR  # Kafka takes no records of the future
BLOCK = 4000  # commands of a long stream that are made up at once
KEPT = 500  # of what commands may name again, in a long stream


@dataclass(frozen=True)
class Session:
    """A session, and from when to when it is mostly used."""

    id: str
    account: str
    platform: str
    opens: int
    closes: int


@dataclass
class Pool:
    """What later commands may name again."""

    keys: list = field(default_factory=list)  # idempotency keys
    raw_paths: list = field(default_factory=list)
    sessions: list = field(default_factory=list)
    counter: int = 0  # of the cursor
    numbers: itertools.count = field(default_factory=itertools.count)

    def forget(self):
        for kept in (self.keys, self.raw_paths, self.sessions):
            del kept[:-KEPT]


class Scenario:
    """See the module. start: microseconds since 1970; span: over which commands are sent; pool: of
    the scenario before it in a long stream."""

    def __init__(self, seed, commands=200, rates=Rates(), start=START, span=SPAN, pool=None):
        self.seed = seed
        self.rates = rates
        self.timestamps = {}  # {(topic, event_id): ms} where it is not that of emitted_at
        self._random = random.Random(f"scenario {seed} {start}")
        self._steps = []  # (time, number, function of the cursor's counter that gives events)
        self._pool = pool or Pool()
        self._end = start + span
        self.new_session(start, self.new_number())
        for _ in range(max(3, commands // COMMANDS_A_SESSION)):
            self._add_session(start + self._random.randrange(span))
        for _ in range(commands):
            at = start + self._random.randrange(span // MILLISECOND) * MILLISECOND
            Command(self, self.new_number(), at).play()
            if self.chance(rates.no_command):
                self._add_frame_without_command(self.new_number(), at)
        self.events = self._in_order()
        del self._steps

    def deliveries(self, seed=0, repeated=0.1, moved=0.1, how_far=200):
        """The events as a list in another order: some come twice, some too late or too early."""
        chance = random.Random(f"deliveries {self.seed} {seed}")
        placed = []
        for place, event in enumerate(self.events):
            away = chance.uniform(-how_far, how_far) if chance.random() < moved else 0
            placed.append((place + away, event))
            while chance.random() < repeated:
                placed.append((place + chance.uniform(0, how_far), event))
        placed.sort(key=lambda item: item[0])
        return [event for _, event in placed]

    def records(self, schema_ids, seed=0, topics=None, **options):
        """The deliveries as lib.kafka records. topics: {topic of the contract: topic to use}."""
        return [self.record(event, schema_ids, topics)
                for event in self.deliveries(seed, **options)]

    def record(self, event, schema_ids, topics=None):
        """The lib.kafka record of an event."""
        topic = events.topic_of(event)
        made = events.record(event, schema_ids, topic=(topics or {}).get(topic))
        timestamp = self.timestamps.get((topic, event["event_id"]))
        return made if timestamp is None else replace(made, timestamp=timestamp)

    # --- for the commands --------------------------------------------------------------------

    def chance(self, rate):
        return self._random.random() < rate

    def choose(self, options, weights=None):
        return (self._random.choices(options, weights)[0] if weights
                else options[int(self._random.random() * len(options))])

    def between(self, low, high):
        return low + int(self._random.random() * (high - low + 1))

    def new_number(self):
        return next(self._pool.numbers)

    def happens(self, at, make, ahead=0):
        """At that time make(counter) gives the events; the counter is for their cursor. ahead: by
        how much the clock is that says when they were emitted."""
        def with_timestamps(counter):
            made = make(counter)
            for event in made:
                self.timestamps[events.topic_of(event), event["event_id"]] = at // MILLISECOND
            return made

        self._steps.append((at, len(self._steps), with_timestamps if ahead else make))

    def choose_idempotency_key(self, number):
        """None for half of all; sometimes one that another command has."""
        if self.chance(0.5):
            return None
        if self._pool.keys and self.chance(self.rates.same_key):
            return self.choose(self._pool.keys)
        self._pool.keys.append(f"key-{self.seed}-{number}")
        return self._pool.keys[-1]

    def new_raw_path(self, name):
        if self._pool.raw_paths and self.chance(self.rates.same_path):
            return self.choose(self._pool.raw_paths)
        self._pool.raw_paths.append(f"/videos/{self.seed}/raw/{name}.mp4")
        return self._pool.raw_paths[-1]

    def choose_input_path(self, number):
        """Of a sora.clean: mostly that of a video in the catalogue, often one of the last."""
        paths = self._pool.raw_paths
        if paths and self.chance(0.8):
            return self.choose(paths[-5:] if self.chance(0.6) else paths)
        return f"/videos/{self.seed}/elsewhere/{number}.mp4"

    def choose_session(self, at):
        """Mostly one that is used at that time."""
        for _ in range(6):
            session = self.choose(self._pool.sessions)
            if session.opens <= at <= session.closes or self.chance(0.02):
                break
        return session

    def choose_target(self, at):
        if self.chance(0.2):
            return None
        session = self.choose_session(at)
        platform = session.platform if self.chance(0.9) else self.choose((None, *PLATFORMS))
        return events.target(session.id if self.chance(0.8) else None,
                             session.account if self.chance(0.8) else None, platform)

    def new_session(self, at, *name):
        """A session that is used for a while from then on."""
        closes = self.between(at, max(at, self._end))
        self._pool.sessions.append(Session(
            events.id_of(self.seed, "session", *name), events.id_of(self.seed, "account", *name),
            self.choose(PLATFORMS), at, closes))
        return self._pool.sessions[-1]

    def session_opens(self, session, at, number):
        opened = events.session_opened(
            session.id, at, platform=session.platform,
            account_id=session.account if self.chance(0.8) else None,
            browser_pid=self.between(300, 99999) if self.chance(0.8) else None,
            metadata=("nothing" if self.chance(self.rates.bad_json) else {"number": number})
            if self.chance(0.8) else None)
        self.happens(at, lambda counter: [opened])

    def session_closes(self, session, at):
        closed = events.session_closed(session.id, at, reason=self.choose((None, "done")))
        self.happens(at, lambda counter: [closed])

    # --- what belongs to no command ----------------------------------------------------------

    def _add_session(self, at):
        number = self.new_number()
        if self.chance(0.05):  # a session of which nothing is known but its end
            session = events.id_of(self.seed, "session", number)
            closed = events.session_closed(session, at)
            self.happens(at, lambda counter: [closed])
            return
        session = self.new_session(at, number)
        if self.chance(0.8):  # the others are known by their activity only
            self.session_opens(session, at, number)
            if self.chance(0.1):
                self.session_opens(session, at + self.between(-MINUTE, MINUTE), number)
        if self.chance(0.3):
            self.session_closes(session, session.closes)
            if self.chance(0.2):
                self.session_closes(session, session.closes + self.between(-MINUTE, MINUTE))

    def _add_frame_without_command(self, number, at):
        kind = self.choose(("rate.limited", "human.required", "artifact.captured", "brand.new"))
        target = self.choose_target(at)
        self.happens(at, lambda counter: [events.telemetry(
            kind, at, counter=counter, severity="warn", payload={"number": number},
            target=target)])

    def _in_order(self):
        found = []
        for _, _, make in sorted(self._steps, key=lambda step: step[:2]):
            self._pool.counter += self.choose((1, 1, 1, 2))  # a gap in the counter is no loss
            if self.chance(0.002):  # the service starts again, or has been running for ages
                self._pool.counter = self.choose((1, 95, 995, 10**9, 10**17))
            found += make(self._pool.counter)
        return found


def blocks(seed, count, rates=Rates(), size=BLOCK):
    """Scenarios of `size` commands each that have `count` events together, one after the other in
    time. Commands of each may name what those of the ones before have made. Only one of them is in
    memory at a time."""
    pool = Pool()
    left = count
    start = START - count // (5 * size) * SPAN
    while left > 0:
        block = Scenario(seed, min(size, left // 8 + 10), rates, start, pool=pool)
        del block.events[left:]
        left -= len(block.events)
        start += SPAN
        pool.forget()
        yield block

# SPDX-License-Identifier: Apache-2.0
"""Makes up what an automation service may do: lifecycles of every type of command, with the races
and failures that really happen, as the events of the three topics.

    scenario = Scenario(seed=7, commands=500)
    scenario.events              each event once, in the order in which it happened
    scenario.deliveries(seed=1)  the same set as producers may deliver it: repeated, late, early

The same seed gives the same events; deliveries of one scenario with different seeds must give the
same tables, which lib.oracle computes from scenario.events.
"""

import random
from dataclasses import dataclass

from lib import events
from lib.events import HOUR, MILLISECOND, SECOND


@dataclass(frozen=True)
class Rates:
    """How often each of these happens, from 0 (never) to 1 (always)."""

    fails: float = 0.08
    cancelled: float = 0.05  # while queued, and obeyed
    cancel_race: float = 0.05  # cancelled while queued, and executed all the same
    cancel_late: float = 0.03  # cancelled while running, and ended all the same
    clean_error: float = 0.15  # of generate.clean: only the removal fails
    prompt_fails: float = 0.15  # of each prompt of a batch
    batch_breaks: float = 0.10  # of batches: FAILED half-way, with partial results
    same_key: float = 0.05  # an idempotency key that another command has
    never_submitted: float = 0.04  # nobody published the submission
    submitted_twice: float = 0.04  # with different content
    never_ended: float = 0.04  # still running at the end
    only_frames: float = 0.02  # no record in safari.commands at all
    wire_v2: float = 0.10  # no cursor, other words
    new_word: float = 0.01  # a status that nobody knows yet: a dead letter
    own_target: float = 0.03  # a frame that has a target and a correlation id of its own
    no_command: float = 0.05  # a frame about no command, for each command


TYPES = {  # and how common they are
    "sora.generate": 20, "sora.generate.clean": 25, "sora.batch": 6, "sora.batch.clean": 8,
    "sora.clean": 12, "sora.download": 4, "sora.poll": 4, "sora.usage": 5, "flow.run": 4,
    "action.run": 4, "selector.sweep": 3, "session.create": 5, "session.close": 4,
    "upload.tiktok": 1,
}
PLATFORMS = ("sora", "instagram", "tiktok", "threads", "x")
SUBJECTS = ("a lighthouse in a storm", "zwei Dachse beim Kaffee", "富士山の夜明け",
            "a robot that says \"no\" \\ twice", "🎈 over the sea")
V2_WORDS = {"QUEUED": "PENDING", "RUNNING": "POLLING"}


class Scenario:
    """See the module. start: microseconds since 1970; span: over which commands are sent."""

    def __init__(self, seed, commands=200, rates=Rates(), start=events.START, span=4 * HOUR):
        self.seed = seed
        self.rates = rates
        self._random = random.Random(f"scenario {seed}")
        self._steps = []  # (time, number, function of the cursor's counter that gives events)
        self._keys = []  # idempotency keys that are in use
        self._raw_paths = []  # of videos that a sora.clean may name
        self._sessions = []
        for number in range(max(1, commands // 20)):
            self._add_session(number, start + self._random.randrange(span), span)
        for number in range(commands):
            at = start + self._random.randrange(span // MILLISECOND) * MILLISECOND
            _Command(self, number, at).play()
            if self.chance(rates.no_command):
                self._add_frame_without_command(number, at)
        self.events = self._in_order()

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
        return [events.record(event, schema_ids,
                              topic=(topics or {}).get(events.topic_of(event)))
                for event in self.deliveries(seed, **options)]

    # --- for the commands --------------------------------------------------------------------

    def chance(self, rate):
        return self._random.random() < rate

    def choose(self, options):
        return self._random.choice(options)

    def between(self, low, high):
        return self._random.randint(low, high)

    def choose_type(self):
        return self._random.choices(list(TYPES), list(TYPES.values()))[0]

    def happens(self, at, make):
        """At that time make(counter) gives the events; the counter is for their cursor."""
        self._steps.append((at, len(self._steps), make))

    def choose_idempotency_key(self, number):
        """None for half of all; sometimes one that another command has."""
        if self.chance(0.5):
            return None
        if self._keys and self.chance(self.rates.same_key):
            return self.choose(self._keys)
        self._keys.append(f"key-{self.seed}-{number}")
        return self._keys[-1]

    def new_raw_path(self, path):
        self._raw_paths.append(path)
        return path

    def choose_input_path(self, number):
        """Of a sora.clean: mostly that of a video in the catalogue."""
        if self._raw_paths and self.chance(0.7):
            return self.choose(self._raw_paths)
        return f"/videos/elsewhere/{number}.mp4"

    def choose_target(self):
        if self.chance(0.2):
            return None
        session, account, platform = self.choose(self._sessions)
        return events.target(session if self.chance(0.8) else None,
                             account if self.chance(0.8) else None, platform)

    def _in_order(self):
        found = []
        counter = 0
        for _, _, make in sorted(self._steps, key=lambda step: step[:2]):
            counter += self.choose((1, 1, 1, 2))  # a gap in the counter is no loss
            found += make(counter)
        return found

    # --- what belongs to no command ----------------------------------------------------------

    def _add_session(self, number, at, span):
        session = events.id_of(self.seed, "session", number)
        account = events.id_of(self.seed, "account", number)
        platform = self.choose(PLATFORMS)
        self._sessions.append((session, account, platform))
        if self.chance(0.9):  # the others are known by their activity only
            opened = events.session_opened(
                session, at, platform=platform, account_id=account if self.chance(0.8) else None,
                browser_pid=self.between(300, 99999), metadata={"number": number})
            self.happens(at, lambda counter: [opened])
        if self.chance(0.5):
            later = at + self.between(0, span)
            closed = events.session_closed(session, later, reason=self.choose((None, "done")))
            self.happens(later, lambda counter: [closed])

    def _add_frame_without_command(self, number, at):
        kind = self.choose(("rate.limited", "human.required", "artifact.captured", "brand.new"))
        target = self.choose_target()
        self.happens(at, lambda counter: [events.telemetry(
            kind, at, counter=counter, severity="warn", payload={"number": number},
            target=target)])


class _Command:
    """One command, from its submission to its end."""

    def __init__(self, scenario, number, at):
        self.scenario = scenario
        self.rates = scenario.rates
        self.number = number
        self.at = at  # the time, which goes on as the command plays
        self.id = events.id_of(scenario.seed, "command", number)
        self.type = scenario.choose_type()
        self.target = scenario.choose_target()
        self.v2 = scenario.chance(self.rates.wire_v2)
        self.published = not scenario.chance(self.rates.only_frames)
        self.payload = {}

    def play(self):
        scenario = self.scenario
        acts = {"sora.generate": self._generate, "sora.generate.clean": self._generate,
                "sora.batch": self._batch, "sora.batch.clean": self._batch,
                "sora.clean": self._clean, "sora.usage": self._usage,
                "sora.poll": self._poll, "session.create": self._create_session,
                "session.close": self._close_session}
        act = acts.get(self.type, self._act)
        steps = act()  # a generator: the first thing it gives is after the payload is known
        next(steps)
        self._submit()
        self._status("QUEUED")
        if scenario.chance(self.rates.cancelled):
            self._pass(0, 2000)
            self._status("CANCELLED")
            return
        if scenario.chance(self.rates.cancel_race):
            self._pass(0, 50)
            self._status("CANCELLED")
        self._pass(0, 3)
        self._status("RUNNING")
        if scenario.chance(self.rates.new_word):
            self._status("DREAMING")
        if scenario.chance(self.rates.never_ended):
            return
        if scenario.chance(self.rates.fails):
            self._pass(0, 60_000)
            self._status("FAILED", error=scenario.choose(("no such element", "timed out")))
            return
        outcome = list(steps)[-1]
        if scenario.chance(self.rates.cancel_late):
            self._status("CANCELLED")
            self._pass(0, 1000)
        self._pass(0, 5)
        self._status(**outcome)

    # --- the types: each gives once when its payload is known, and at last how it ends --------

    def _generate(self):
        choose, clean = self.scenario.choose, self.type == "sora.generate.clean"
        self.payload = {"prompt": f"{choose(SUBJECTS)}, {self.number}"}
        for name, options in (("character", ("isaiah", None)),
                              ("duration", ("5s", "10s", "15s", "20s", None)),
                              ("aspect_ratio", ("16:9", "9:16", "1:1", None))):
            value = choose(options)
            if value is not None:
                self.payload[name] = value
        path = self.scenario.new_raw_path(f"/videos/raw/{self.number}.mp4")
        yield
        size = self.scenario.between(1, 2**33)
        character = self.payload.get("character", "default")
        prompt = {"prompt": self.payload["prompt"], "character": character}
        if clean:
            prompt["will_clean"] = True
        self._frame("sora.prompt.submitted", prompt)
        self._frame("sora.polling.started", {})
        self._pass(1000, 300_000)
        if not clean:
            self._frame("sora.video.ready", {"video_url": f"https://videos.example/{self.number}"})
        self._frame("sora.video.downloaded", {"file_path": path, "file_size": size})
        result = {"video_path": path, "file_size": size,
                  "duration_ms": self.scenario.between(1000, 300_000)}
        if clean:
            result.update(self._remove_watermark(path, size))
        yield {"status": "SUCCEEDED", "result": result}

    def _remove_watermark(self, path, size):
        self._frame("action.attempted", {"action": "WATERMARK_REMOVAL", "input_path": path})
        self._pass(100, 20_000)
        if self.scenario.chance(self.rates.clean_error):
            return {"clean_error": "the model is not there"}
        cleaned = path.replace("/raw/", "/cleaned/")
        self._frame("sora.video.cleaned",
                    {"input_path": path, "output_path": cleaned, "file_size": size // 2})
        return {"cleaned_path": cleaned, "cleaned_size": size // 2}

    def _batch(self):
        clean = self.type == "sora.batch.clean"
        prompts = [f"{self.scenario.choose(SUBJECTS)} seen from very far away, take {i}"
                   for i in range(self.scenario.between(1, 5))]
        self.payload = {"prompts": prompts}
        if self.scenario.chance(0.5):
            self.payload["character"] = "isaiah"
        yield
        breaks = (self.scenario.between(0, len(prompts) - 1)
                  if self.scenario.chance(self.rates.batch_breaks) else None)
        results = []
        for index, prompt in enumerate(prompts):
            if index == breaks:
                break
            self._frame("sora.prompt.submitted", {
                "prompt": prompt, "character": self.payload.get("character", "default"),
                "will_clean": clean, "batch_index": index, "batch_total": len(prompts)})
            self._frame("sora.polling.started", {})
            self._pass(1000, 60_000)
            results.append({"prompt": prompt[:50], **self._one_of_batch(index, clean)})
        successful = sum(one["success"] for one in results)
        result = {"total": len(prompts), "successful": successful,
                  "failed": len(prompts) - successful, "results": results}
        if breaks is None:
            yield {"status": "SUCCEEDED", "result": result}
        else:
            yield {"status": "FAILED", "result": result, "error": "the browser has gone"}

    def _one_of_batch(self, index, clean):
        path = f"/videos/raw/{self.number}-{index}.mp4"
        if self.scenario.chance(self.rates.prompt_fails):
            return {"success": False, "error": "the prompt was refused"}
        self.scenario.new_raw_path(path)
        if not clean:
            return {"success": True, "path": path}
        if self.scenario.chance(self.rates.clean_error):
            return {"success": True, "path": path, "error": "the model is not there"}
        cleaned = path.replace("/raw/", "/cleaned/")
        self._frame("sora.video.cleaned",
                    {"input_path": path, "output_path": cleaned, "batch_index": index})
        return {"success": True, "path": path, "cleaned_path": cleaned}

    def _clean(self):
        path = self.scenario.choose_input_path(self.number)
        if not self.scenario.chance(0.05):
            self.payload["input_path"] = path
        if self.scenario.chance(0.3):
            self.payload["method"] = "ai_inpainting"
        yield
        if "input_path" not in self.payload:
            yield {"status": "FAILED", "error": "input_path is missing"}
            return
        if self.scenario.chance(0.1):
            yield {"status": "FAILED", "error": f"there is no {path}"}
            return
        size = self.scenario.between(1, 2**33)
        output = f"/videos/cleaned/by-{self.number}.mp4"
        self._frame("action.attempted", {"action": "WATERMARK_REMOVAL", "input_path": path})
        self._pass(100, 20_000)
        self._frame("sora.video.cleaned",
                    {"input_path": path, "output_path": output, "file_size": size})
        yield {"status": "SUCCEEDED",
               "result": {"input_path": path, "output_path": output, "file_size": size}}

    def _usage(self):
        yield
        left = self.scenario.between(0, 30)
        figures = {"video_gens_left": left, "free_count": left, "paid_count": 0,
                   "next_available_date": None}
        self._frame("sora.usage.checked", figures)
        yield {"status": "SUCCEEDED", "result": figures}

    def _poll(self):
        yield
        self._frame("sora.polling.started", {})
        yield {"status": "SUCCEEDED", "result": {}}

    def _create_session(self):
        session = events.id_of(self.scenario.seed, "session of command", self.number)
        self.target = events.target(platform=self.scenario.choose(PLATFORMS))
        yield
        yield {"status": "SUCCEEDED", "result": {"session_id": session}}

    def _close_session(self):
        if self.target is not None and self.target["session_id"] and self.scenario.chance(0.5):
            self.payload["session_id"] = self.target["session_id"]
            self.target = None
        yield
        yield {"status": "SUCCEEDED", "result": {}}

    def _act(self):
        self.payload = {"name": f"{self.type}-{self.number}"}
        yield
        self._frame("action.attempted", {"action": self.scenario.choose(("DOWNLOAD", "CLICK"))})
        if self.scenario.chance(0.2):
            self._frame("selector.missing", {"selector": "#go"}, severity="warn")
        self._frame("action.verified", {"action": "CLICK"}, severity="debug")
        yield {"status": "SUCCEEDED", "result": {}}

    # --- what is sent ------------------------------------------------------------------------

    def _pass(self, least, most):
        """Time goes by, in milliseconds; often none at all, so that events share one."""
        self.at += self.scenario.between(least, most) * MILLISECOND

    def _submit(self):
        scenario = self.scenario
        if not self.published or scenario.chance(self.rates.never_submitted):
            return
        at = self.at + scenario.between(0, 999)  # our own clock has microseconds
        event = events.command_submitted(
            self.id, at, type=self.type, payload=self.payload,
            idempotency_key=scenario.choose_idempotency_key(self.number),
            correlation_id=(events.id_of(scenario.seed, "correlation", self.number // 3)
                            if scenario.chance(0.5) else None),
            requested_at=at - scenario.between(0, 3 * SECOND) if scenario.chance(0.5) else None,
            requester_service=scenario.choose((None, "scheduler", "studio")),
            requester_instance=scenario.choose((None, "a", "b")), target=self.target)
        scenario.happens(self.at, lambda counter: [event])
        if scenario.chance(self.rates.submitted_twice):
            later = at + scenario.choose((0, 1, 5 * SECOND))
            again = events.command_submitted(
                self.id, later, type=self.type, payload={**self.payload, "again": True},
                requester_service="retry", target=self.target)
            scenario.happens(later, lambda counter: [again])

    def _status(self, status, result=None, error=None):
        """A lifecycle event, and the frame that it came in."""
        at, v2, published = self.at, self.v2, self.published
        if v2:
            status = V2_WORDS.get(status, status)
            if status == "FAILED" and self.scenario.chance(0.5):
                status = "VERIFICATION_FAILED"

        def make(counter):
            event = events.status_changed(self.id, status, at, counter=None if v2 else counter,
                                          result=result, error=error)
            return [event, events.frame_of(event)] if published else [events.frame_of(event)]

        self.scenario.happens(at, make)

    def _frame(self, kind, payload, severity="info"):
        """Any other frame."""
        self._pass(0, 2)
        at, v2 = self.at, self.v2
        own = self.scenario.chance(self.rates.own_target)
        target = self.target if own else None
        correlation = events.id_of("frame's own", self.number) if own else None
        self.scenario.happens(at, lambda counter: [events.telemetry(
            kind, at, command_id=self.id, payload=payload, severity=severity,
            counter=None if v2 else counter, version="2.0" if v2 else "1.0", target=target,
            correlation_id=correlation)])

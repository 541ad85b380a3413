# SPDX-License-Identifier: Apache-2.0
"""What one command of a lib.scenario does, from its submission to its end."""

import random

from lib import events
from lib.events import HOUR, MILLISECOND, MINUTE, SECOND

TYPES = {  # and how common they are
    "sora.generate": 18, "sora.generate.clean": 26, "sora.batch": 6, "sora.batch.clean": 10,
    "sora.clean": 14, "sora.download": 4, "sora.poll": 3, "sora.usage": 3, "flow.run": 3,
    "action.run": 3, "selector.sweep": 2, "session.create": 5, "session.close": 5,
    "upload.tiktok": 1, "sora.remix": 1,
}
SUBJECTS = ("a lighthouse in a storm", "zwei Dachse beim Kaffee", "富士山の夜明け",
            "a robot that says \"no\" \\ twice", "🎈 over the sea")
V2_NAMES = {"video_path": "videoPath", "file_path": "videoPath", "file_size": "fileSize",
            "cleaned_path": "cleanedPath", "cleaned_size": "cleanedSize",
            "output_path": "cleanedPath", "input_path": "inputPath", "video_url": "videoUrl",
            "duration_ms": "durationMs", "batch_index": "batchIndex", "clean_error": "cleanError",
            "session_id": "sessionId", "account_id": "accountId"}
V2_NAMES_SENT = {**V2_NAMES, "aspect_ratio": "aspectRatio", "output_path": "outputPath"}
CLOCKS_AHEAD = (MINUTE, 10 * MINUTE, 25 * HOUR, 30 * HOUR)
ODD_CURSORS = ("", "7", "1795237594968", "1795237594968-", "-5", "1795237594968-5-1",
               "1234567890123456789-1", "1795237594968-1234567890123456789", "+1795237594968-5",
               "1795237594968-0x5", " 1795237594968-5", "latest")
ODD_VALUES = (7, 0, -1, 1.5, True, None, [], {}, "", "odd")
NEVER_ODD = {"batch_index", "command_id", "status"}
NO_OBJECTS = ("[1]", "7", '"done"', "null", "[]")
ODD_JSON = ('{"prompt":', *NO_OBJECTS, "nothing", '{"prompt":"\\u0000"}', "{'a': 1}",
            '{"\\u0000":1}', '{"a":[{"b":"\\u0000"}]}', '{"a":NaN}')
GOOD_JSON = ('{"prompt":"\\\\u0000 is no NUL"}', '{"prompt":"\\ud83c\\udf88","a":[[{}]]}')
NUL_RESULTS = ('{"error":"\\u0000"}', '[["\\u0000"]]')
ODD_INDICES = (-1, 10000, 1.5, "1", [0], True, None)


class _Stopped(Exception):
    """The command comes to no good end."""


class Command:
    """One command, to be played once."""

    def __init__(self, scenario, number, at):
        self.scenario = scenario
        self.rates = rates = scenario.rates
        self.number = number
        self.at = at  # the time, which goes on as the command plays
        self.id = events.id_of(scenario.seed, "command", number)
        self.type = scenario.choose(list(TYPES), list(TYPES.values()))
        self.target = scenario.choose_target(at)
        self.v2 = scenario.chance(rates.wire_v2)
        self.camel_case = self.v2 and scenario.chance(0.7)
        # Its own dice: what they say takes nothing from the scenario's, whose seeds are chosen.
        self.dice = random.Random(f"command {scenario.seed} {number}")
        self.v2_words = {"QUEUED": "PENDING", "RUNNING": self.dice.choice(("POLLING", "RUNNING"))}
        self.frames_lost = rates.lost if not scenario.chance(rates.mostly_lost) else 0.6
        self.published = not scenario.chance(rates.only_frames)
        self.ahead = scenario.choose(CLOCKS_AHEAD) if scenario.chance(rates.clock_ahead) else 0
        self.fails = scenario.chance(rates.fails)
        self.never_ends = scenario.chance(rates.never_ended)
        self.steps_left = scenario.between(0, 4) if self.fails or self.never_ends else None
        self.payload = {}

    def play(self):
        scenario = self.scenario
        acts = {"sora.generate": self._generate, "sora.generate.clean": self._generate,
                "sora.batch": self._batch, "sora.batch.clean": self._batch,
                "sora.clean": self._clean, "sora.usage": self._usage,
                "sora.poll": self._poll, "sora.download": self._download,
                "session.create": self._create_session, "session.close": self._close_session}
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
        if self.v2 and self.dice.random() < 0.5:
            self._progress()
        if scenario.chance(self.rates.new_word):
            self._status("DREAMING")
        try:
            self._step()
            outcome = list(steps)[-1]
        except _Stopped:
            if self.never_ends:
                return
            self._pass(0, 60_000)
            outcome = {"status": "FAILED",
                       "error": scenario.choose(("no such element", "timed out", None))}
        if scenario.chance(self.rates.cancel_late):
            self._status("CANCELLED")
            self._pass(0, 1000)
        self._pass(0, 5)
        self._status(**outcome)

    def _step(self):
        """A moment at which the command may fail, or never be heard of again."""
        if self.steps_left is not None:
            if self.steps_left == 0:
                raise _Stopped
            self.steps_left -= 1

    # --- the types: each gives once when its payload is known, and at last how it ends --------

    def _generate(self):
        choose, clean = self.scenario.choose, self.type == "sora.generate.clean"
        self.payload = {"prompt": f"{choose(SUBJECTS)}, {self.number}"}
        for name, options in (("character", ("isaiah", None)),
                              ("duration", ("5s", "10s", "15s", "20s", None)),
                              ("aspect_ratio", ("16:9", "9:16", "1:1", None)),
                              ("method", (None, None, None, "ai_inpainting"))):
            value = choose(options)
            if value is not None:
                self.payload[name] = value
        path = self.scenario.new_raw_path(self.number)
        yield
        size = self._size()
        character = self.payload.get("character", "default")
        prompt = {"prompt": self.payload["prompt"], "character": character}
        if clean:
            prompt["will_clean"] = True
        self._frame("sora.prompt.submitted", prompt)
        self._step()
        self._frame("sora.polling.started", {})
        self._pass(1000, 300_000)
        if not clean:
            self._frame("sora.video.ready", {"video_url": f"https://videos.example/{self.number}"})
        self._frame("sora.video.downloaded", {"file_path": path, "file_size": size})
        self._step()
        result = {"video_path": path, "file_size": size,
                  "duration_ms": self.scenario.between(1000, 300_000)}
        if clean:
            result.update(self._remove_watermark(path, size))
        if self.scenario.chance(self.rates.bare_result):
            result = {"duration_ms": result["duration_ms"]}
        yield {"status": "SUCCEEDED", "result": result}

    def _remove_watermark(self, path, size):
        self._attempt(path)
        self._step()
        if self.scenario.chance(self.rates.clean_error):
            return {"clean_error": "the model is not there"}
        cleaned = path.replace("/raw/", "/cleaned/")
        self._frame("sora.video.cleaned",
                    {"input_path": path, "output_path": cleaned, "file_size": size // 2})
        self._step()
        return {"cleaned_path": cleaned, "cleaned_size": size // 2}

    def _attempt(self, path):
        """A removal is attempted; it takes milliseconds, or ages by a clock that is set."""
        attempt = {"action": "WATERMARK_REMOVAL"}
        if self.dice.random() < 0.9:
            attempt["input_path"] = path
        self._frame("action.attempted", attempt)
        longest = self.scenario.choose((0, 10, 20_000, 20_000, 20_000))
        self._pass(0, longest)
        if self.scenario.chance(0.005):
            self.ahead += self.scenario.between(2**31 - 1000, 2**31 + 1000) * MILLISECOND

    def _batch(self):
        clean = self.type == "sora.batch.clean"
        prompts = [f"{self.scenario.choose(SUBJECTS)} seen from very far away, take {i}"
                   for i in range(self.scenario.between(1, 5))]
        self.payload = {"prompts": prompts}
        if self.scenario.chance(0.5):
            self.payload["character"] = "isaiah"
        if self.scenario.chance(0.2):
            self.payload["duration"] = "10s"
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
            self._step()
            results.append(self._odd({"prompt": prompt[:50], **self._one_of_batch(index, clean)}))
            if self.scenario.chance(self.rates.odd_member):
                results[-1] = self.scenario.choose(ODD_VALUES)
            if self.scenario.chance(self.rates.partial_results):
                self._status("RUNNING", {"results": list(results)})
        successful = sum(isinstance(one, dict) and bool(one.get("success")) for one in results)
        result = {"total": len(prompts), "successful": successful,
                  "failed": len(prompts) - successful, "results": results}
        if self.scenario.chance(self.rates.bare_result):
            del result["results"]
        if breaks is None:
            yield {"status": "SUCCEEDED", "result": result}
        else:
            yield {"status": "FAILED", "result": result, "error": "the browser has gone"}

    def _one_of_batch(self, index, clean):
        if self.scenario.chance(self.rates.prompt_fails):
            return {"success": False, "error": "the prompt was refused"}
        path = self.scenario.new_raw_path(f"{self.number}-{index}")
        if not clean:
            return {"success": True, "path": path}
        if self.scenario.chance(self.rates.clean_error):
            return {"success": True, "path": path, "error": "the model is not there"}
        cleaned = path.replace("/raw/", "/cleaned/")
        self._frame("sora.video.cleaned",
                    {"input_path": path, "output_path": cleaned, "batch_index": index})
        return {"success": True, "path": path, "cleaned_path": cleaned}

    def _clean(self):
        chance = self.scenario.chance
        path = self.scenario.choose_input_path(self.number)
        output = f"/videos/{self.scenario.seed}/cleaned/by-{self.number}.mp4"
        if not chance(0.05):
            self.payload["input_path"] = path
        if chance(0.3):
            self.payload["output_path"] = output
        if chance(0.3):
            self.payload["method"] = "ai_inpainting"
        yield
        if "input_path" not in self.payload and chance(0.7):
            yield {"status": "FAILED", "error": "input_path is missing"}
            return
        if chance(self.rates.missing_file):
            yield {"status": "FAILED", "error": f"there is no {path}"}
            return
        size = self._size()
        self._attempt(path)
        self._step()
        self._frame("sora.video.cleaned",
                    {"input_path": path, "output_path": output, "file_size": size})
        self._step()
        result = {"input_path": path, "output_path": output, "file_size": size}
        while result and chance(self.rates.bare_result * 2):
            del result[self.scenario.choose(list(result))]
        yield {"status": "SUCCEEDED", "result": result}

    def _download(self):
        path = self.scenario.new_raw_path(f"{self.number}-again")
        yield
        size = self._size()
        self._frame("sora.video.downloaded", {"file_path": path, "file_size": size})
        result = {"video_path": path, "file_size": size}
        if self.scenario.chance(0.3):
            result["input_path"] = path
        yield {"status": "SUCCEEDED", "result": result}

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
        scenario = self.scenario
        session = (scenario.choose_session(self.at) if scenario.chance(0.15)  # another's
                   else scenario.new_session(self.at, "of command", self.number))
        self.target = scenario.choose((None, events.target(platform=session.platform),
                                       events.target(account_id=session.account, platform=None)))
        for name, value in (("platform", scenario.choose((session.platform, "web"))),
                            ("account_id", scenario.choose((session.account, self.id)))):
            if scenario.chance(0.4):
                self.payload[name] = value
        yield
        self._step()
        self._pass(0, 2000)
        if scenario.chance(0.2):  # the gateway was asked for one as well
            scenario.session_opens(session, self.at + scenario.between(-SECOND, SECOND),
                                   self.number)
        yield {"status": "SUCCEEDED", "result": {"session_id": session.id}}

    def _close_session(self):
        if self.target is not None and self.target["session_id"] and self.scenario.chance(0.5):
            self.payload["session_id"] = self.target["session_id"]
            if self.scenario.chance(0.7):
                self.target = self.scenario.choose((None, events.target()))
            elif self.scenario.chance(0.3):
                self.payload["session_id"] = self.scenario.choose_session(self.at).id
        yield
        self._step()
        yield {"status": "SUCCEEDED", "result": {}}

    def _act(self):
        self.payload = {"name": f"{self.type}-{self.number}"}
        yield
        self._frame("action.attempted", {"action": self.scenario.choose(
            ("DOWNLOAD", "CLICK", "PROMPT_SUBMIT"))})
        if self.scenario.chance(0.2):
            self._frame("selector.missing", {"selector": "#go"}, severity="warn")
        self._step()
        self._frame("action.verified", {"action": "CLICK"}, severity="debug")
        found = [{"selector": "#go", "success": self.dice.random() < 0.5}]
        yield {"status": "SUCCEEDED",
               "result": {"results": found} if self.dice.random() < 0.5 else {}}

    # --- what is sent ------------------------------------------------------------------------

    def _pass(self, least, most):
        """Time goes by, in milliseconds; often none at all, so that events share one."""
        self.at += self.scenario.between(least, most) * MILLISECOND

    def _size(self):
        return self.scenario.between(1, 2**33)

    def _odd(self, content):
        """The content, sometimes with a member of a wrong type."""
        members = content.keys() - NEVER_ODD if self.scenario.chance(self.rates.odd_member) else ()
        if not members:
            return content
        return {**content, self.scenario.choose(sorted(members)): self.scenario.choose(ODD_VALUES)}

    def _wired(self, content):
        """Some JSON as the service's version names its members."""
        return _renamed(content, V2_NAMES) if self.camel_case else content

    def _submit(self):
        scenario, rates = self.scenario, self.rates
        if not self.published or scenario.chance(rates.never_submitted):
            return
        at = self.at + scenario.between(0, 999)  # our own clock has microseconds
        if scenario.chance(rates.submitted_late):
            at += scenario.between(0, 2 * MINUTE)
        payload = self._odd(self.payload)
        if self.camel_case and self.dice.random() < 0.5:
            payload = _renamed(payload, V2_NAMES_SENT)
        if self.type in ("sora.batch", "sora.batch.clean") and self.dice.random() < 0.2:
            payload = {**payload, "method": "ai_inpainting"}
        if scenario.chance(rates.bad_json * 2):
            payload = scenario.choose(ODD_JSON + GOOD_JSON)
        event = events.command_submitted(
            self.id, at, type=self.type, payload=payload,
            idempotency_key=(scenario.choose_idempotency_key(self.number)
                             or (None if self.dice.random() < 0.9 else "")),
            correlation_id=(events.id_of(scenario.seed, "correlation", self.number // 3)
                            if scenario.chance(0.5) else None),
            requested_at=at - scenario.between(0, 3 * SECOND) if scenario.chance(0.5) else None,
            requester_service=scenario.choose((None, "scheduler", "studio")),
            requester_instance=scenario.choose((None, "a", "b")), target=self.target)
        scenario.happens(at, lambda counter: [event])
        if scenario.chance(rates.submitted_twice):
            self._submit_again(at)

    def _submit_again(self, at):
        """With different content, and a clock that may be late."""
        scenario = self.scenario
        payload = {**self.payload, "again": True}
        for name in self.payload:
            if isinstance(payload[name], str) and scenario.chance(0.5):
                payload[name] += "!"
            elif isinstance(payload[name], list) and scenario.chance(0.5):
                payload[name] = payload[name] + ["one more"]
        other = scenario.choose((self.type, self.type, "sora.generate.clean", "sora.clean"))
        later = at + scenario.choose((0, 1, 5 * SECOND, -SECOND))
        again = events.command_submitted(
            self.id, later, type=other, payload=payload, requester_service="retry",
            target=scenario.choose((self.target, scenario.choose_target(later))))
        scenario.happens(later, lambda counter: [again])

    def _status(self, status, result=None, error=None):
        """A lifecycle event, and the frame that it came in."""
        scenario, v2, published = self.scenario, self.v2, self.published
        if scenario.chance(self.rates.lost):
            return
        at = self.at + self.ahead
        if v2:
            status = self.v2_words.get(status, status)
            if status == "FAILED" and scenario.chance(0.5):
                status = "VERIFICATION_FAILED"
                error = error if self.dice.random() < 0.7 else None
        result = None if result is None else self._wired(self._odd(result))
        if scenario.chance(self.rates.no_object):
            result = scenario.choose(NO_OBJECTS)
        if scenario.chance(self.rates.bad_json):
            result = scenario.choose(NUL_RESULTS)
        cursor = self._odd_cursor()

        def make(counter):
            event = events.status_changed(self.id, status, at, counter=None if v2 else counter,
                                          cursor=cursor, result=result, error=error)
            return [event, events.frame_of(event)] if published else [events.frame_of(event)]

        scenario.happens(self.at, make, self.ahead)

    def _frame(self, kind, payload, severity="info"):
        """Any other frame."""
        scenario, rates, v2 = self.scenario, self.rates, self.v2
        self._pass(0, 2)
        if scenario.chance(self.frames_lost):
            return
        own = scenario.chance(rates.own_target)
        target = self.target if own else None
        correlation = events.id_of("frame's own", self.number) if own else None
        content = self._wired(self._odd(payload))
        if "batch_index" in payload and scenario.chance(rates.bad_index):
            content["batch_index"] = scenario.choose(ODD_INDICES)
        elif "batch_index" in payload and self.dice.random() < rates.no_index:
            content = {name: value for name, value in content.items()
                       if name not in ("batch_index", "batchIndex")}
        if kind.startswith("sora.video") and scenario.chance(rates.bad_json):
            content = scenario.choose(ODD_JSON)
        cursor = self._odd_cursor()
        at = self.at + self.ahead
        scenario.happens(self.at, lambda counter: [events.telemetry(
            kind, at, command_id=self.id, payload=content, severity=severity, cursor=cursor,
            counter=None if v2 else counter, version="2.0" if v2 else "1.0", target=target,
            correlation_id=correlation)], self.ahead)
        if scenario.chance(rates.said_again):
            self._frame(kind, self._otherwise(payload), severity)

    def _progress(self):
        """What wire v2 has more."""
        at = self.at + self.ahead
        self.scenario.happens(self.at, lambda counter: [events.telemetry(
            "progress", at, command_id=self.id, payload={"message": "on its way"},
            version="2.0")], self.ahead)

    def _odd_cursor(self):
        if not self.v2 and self.scenario.chance(self.rates.odd_cursor):
            return self.scenario.choose(ODD_CURSORS)
        return None

    def _otherwise(self, payload):
        """What another frame may say of the same."""
        changed = dict(payload)
        for name in ("character", "video_url", "output_path", "input_path", "file_path"):
            if isinstance(changed.get(name), str) and self.scenario.chance(0.5):
                changed[name] += "?"
        if "file_size" in changed and self.scenario.chance(0.7):
            changed["file_size"] += 1
        return changed


def _renamed(content, names):
    """Some JSON with other names of its members."""
    if isinstance(content, dict):
        return {names.get(name, name): _renamed(value, names) for name, value in content.items()}
    return [_renamed(one, names) for one in content] if isinstance(content, list) else content

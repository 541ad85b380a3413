# SPDX-License-Identifier: Apache-2.0
"""What the stand-in for the automation service does with a command between RUNNING and its end:
the frames in their order, the times between them, and how it ends. See automation_service.py."""

import random
import uuid
from dataclasses import dataclass

RATES_HELP = "from 0 (never) to 1 (always)"


@dataclass(frozen=True)
class Rates:
    """How often each of these happens. What happens to a command follows from its id and type."""

    fails: float = 0.0  # anywhere on the way
    clean_error: float = 0.0  # of generate.clean: only the removal fails, and it SUCCEEDED
    prompt_fails: float = 0.0  # of each prompt of a batch, which is SUCCEEDED all the same
    batch_breaks: float = 0.0  # of batches: FAILED half-way, with the partial results


@dataclass(frozen=True)
class Frame:
    """A frame of the command, so many seconds (at speed 1) after what was before it."""

    after: float
    type: str
    payload: dict
    severity: str = "info"


@dataclass(frozen=True)
class End:
    """How the command ends."""

    after: float
    status: str
    result: dict | None = None
    error: str | None = None


USAGE = {"video_gens_left": 27, "free_count": 27, "paid_count": 0, "next_available_date": None}
QUEUED_TYPES = ("sora.generate", "sora.generate.clean", "sora.batch", "sora.batch.clean",
                "sora.clean", "sora.download", "sora.poll")  # one browser: these wait their turn


class _Failed(Exception):
    """The command ends FAILED here."""


def is_queued(type, payload):
    """Whether it waits for a worker. What is not is RUNNING, or at its end, when it is accepted."""
    return type in QUEUED_TYPES and (type != "sora.clean" or "input_path" in payload)


def lifecycle(command_id, type, payload, target=None, rates=Rates()):
    """Gives the Frames of a command that is RUNNING, and at last its End."""
    chance = random.Random(f"{command_id} {type}")
    payload = payload if isinstance(payload, dict) else {}
    acts = {"sora.generate": _generate, "sora.generate.clean": _generate, "sora.batch": _batch,
            "sora.batch.clean": _batch, "sora.clean": _clean, "sora.usage": _usage,
            "sora.poll": _poll, "sora.download": _download, "session.create": _create_session,
            "session.close": _close_session}
    act = acts.get(type)
    if act is None and type.startswith("upload."):
        act = _upload
    if act is None:  # flow.run, action.run, selector.sweep, and what it has never heard of
        yield End(0, "SUCCEEDED", {})
        return
    fails_after = chance.randrange(5) if chance.random() < rates.fails else None
    for number, step in enumerate(act(command_id, type, payload, target or {}, rates, chance)):
        if number == fails_after:
            yield End(5, "FAILED", None, "the page has no element '#submit'")
            return
        yield step


def _path(command_id, index=None):
    name = command_id if index is None else f"{command_id}-{index}"
    return f"/videos/raw/{name}.mp4"


def _cleaned(path):
    return (path.replace("/raw/", "/cleaned/") if "/raw/" in path
            else path.removesuffix(".mp4") + "-cleaned.mp4")


def _generate(command_id, type, payload, target, rates, chance):
    clean = type == "sora.generate.clean"
    path = _path(command_id)
    size = chance.randrange(2_000_000, 30_000_000)
    submitted = {"prompt": payload.get("prompt", ""),
                 "character": payload.get("character", "default")}
    if clean:
        submitted["will_clean"] = True
    yield Frame(2, "sora.prompt.submitted", submitted)
    yield Frame(0, "sora.polling.started", {})
    if not clean:
        yield Frame(50, "sora.video.ready", {"video_url": f"https://videos.example/{command_id}"})
    yield Frame(4 if not clean else 54, "sora.video.downloaded",
                {"file_path": path, "file_size": size})
    result = {"video_path": path, "file_size": size, "duration_ms": 56_000}
    if clean:
        yield Frame(0, "action.attempted", {"action": "WATERMARK_REMOVAL", "input_path": path})
        if chance.random() < rates.clean_error:
            result["clean_error"] = "the model lama is not there"
        else:
            cleaned = {"input_path": path, "output_path": _cleaned(path), "file_size": size // 2}
            yield Frame(12, "sora.video.cleaned", cleaned)
            result.update(cleaned_path=cleaned["output_path"], cleaned_size=size // 2)
    yield End(0, "SUCCEEDED", result)


def _batch(command_id, type, payload, target, rates, chance):
    """No video.downloaded, no action.attempted, and video.cleaned without file_size."""
    clean = type == "sora.batch.clean"
    prompts = payload.get("prompts")
    prompts = [str(prompt) for prompt in prompts] if isinstance(prompts, list) else []
    breaks = (chance.randrange(len(prompts))
              if prompts and chance.random() < rates.batch_breaks else None)
    results = []
    for index, prompt in enumerate(prompts):
        if index == breaks:
            break
        yield Frame(2, "sora.prompt.submitted", {
            "prompt": prompt, "character": payload.get("character", "default"),
            "will_clean": clean, "batch_index": index, "batch_total": len(prompts)})
        yield Frame(0, "sora.polling.started", {})
        result = {"prompt": prompt[:50]}
        results.append(result)
        if chance.random() < rates.prompt_fails:
            result.update(success=False, error="the prompt was refused")
            continue
        path = _path(command_id, index)
        result.update(success=True, path=path)
        if clean and chance.random() < rates.clean_error:
            result["error"] = "the model lama is not there"
        elif clean:
            result["cleaned_path"] = _cleaned(path)
            yield Frame(40, "sora.video.cleaned", {
                "input_path": path, "output_path": result["cleaned_path"], "batch_index": index})
    successful = sum(result["success"] for result in results)
    summary = {"total": len(prompts), "successful": successful,
               "failed": len(results) - successful, "results": results}
    if breaks is None:
        yield End(1, "SUCCEEDED", summary)
    else:
        yield End(1, "FAILED", summary, "the browser has gone")


def _clean(command_id, type, payload, target, rates, chance):
    """A file is there unless 'missing' is in its path."""
    path = payload.get("input_path")
    if not isinstance(path, str):
        yield End(0, "FAILED", None, "input_path is missing")
        return
    if "missing" in path:
        yield End(0, "FAILED", None, f"there is no file {path}")
        return
    size = chance.randrange(1_000_000, 20_000_000)
    result = {"input_path": path, "output_path": payload.get("output_path") or _cleaned(path),
              "file_size": size}
    yield Frame(0, "action.attempted", {"action": "WATERMARK_REMOVAL", "input_path": path})
    yield Frame(12, "sora.video.cleaned", result)
    yield End(0, "SUCCEEDED", result)


def _download(command_id, type, payload, target, rates, chance):
    path, size = _path(command_id), chance.randrange(2_000_000, 30_000_000)
    yield Frame(0, "action.attempted", {"action": "DOWNLOAD"})
    yield Frame(4, "sora.video.downloaded", {"file_path": path, "file_size": size})
    yield End(0, "SUCCEEDED", {"video_path": path, "file_size": size})


def _usage(command_id, type, payload, target, rates, chance):
    yield Frame(3, "sora.usage.checked", dict(USAGE))
    yield End(0, "SUCCEEDED", dict(USAGE))


def _poll(command_id, type, payload, target, rates, chance):
    yield Frame(0, "sora.polling.started", {})
    yield End(10, "SUCCEEDED", {})


def _create_session(command_id, type, payload, target, rates, chance):
    yield End(3, "SUCCEEDED", {"session_id": str(uuid.UUID(int=chance.getrandbits(128)))})


def _close_session(command_id, type, payload, target, rates, chance):
    yield End(1, "SUCCEEDED", {"session_id": target.get("session_id")
                               or payload.get("session_id")})


def _upload(command_id, type, payload, target, rates, chance):
    """Only the later build has these."""
    yield Frame(5, "progress", {"message": "uploading"})
    yield End(20, "SUCCEEDED", {"message": "uploaded"})

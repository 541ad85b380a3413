# SPDX-License-Identifier: Apache-2.0
"""The rows of safari_videos and watermark_removals that lib.oracle expects."""

import uuid

from lib.oracle_facts import first, is_numbered, member, order, size_in, text_in, time_of, whole

ONE_VIDEO = ("sora.generate", "sora.generate.clean")
BATCH = ("sora.batch", "sora.batch.clean")
GREATEST_INTEGER = 2**31 - 1


# --- safari_videos ---------------------------------------------------------------------------

def videos(commands):
    """The rows of {id: Command}."""
    cleans = _cleans_by_path(commands)
    return [_video_row(command, index, batch, cleans)
            for command in commands.values()
            for indices, batch in [items(command)]
            for index in indices]


def items(command):
    """(the indices of its videos, whether they are those of a batch)"""
    if command.type in ONE_VIDEO:
        return [0], False
    results = command.results
    if command.type in BATCH:
        prompts = command.payload.get("prompts")
        listed = max(len(prompts) if isinstance(prompts, list) else 0, len(results or []))
        return sorted({*range(listed), *command.prompts, *command.cleaned}), True
    if command.type is not None:
        return [], False
    found = set(command.prompts)
    if command.downloaded or command.ready:
        found.add(0)
    found.update(index for index, (_, content) in command.cleaned.items()
                 if is_numbered(content))
    found.update(index for index in range(len(results or []))
                 if _is_video(command.result_of(index)))
    if text_in(command.result, "video_path") is not None and text_in(
            command.result, "input_path") is None:
        found.add(0)
    return sorted(found), command.is_batch


def _is_video(result):
    """Whether one of the results of a command that may be any is a video's."""
    return any(text_in(result, name) is not None for name in ("prompt", "path", "cleaned_path"))


def video_id(command, index):
    return uuid.uuid5(command.id, str(index))


def raw_path(command, index, batch):
    """Where the video is, with its watermark."""
    said = None
    if not batch:
        downloaded = command.downloaded[1] if command.downloaded else {}
        said = first(text_in(downloaded, "file_path"), text_in(downloaded, "video_path"),
                     text_in(command.result, "video_path"))
    return first(said, text_in(command.result_of(index), "path"),
                 text_in(command.cleaned_fact(index), "input_path"))


def raw_size(command, batch):
    if batch:
        return None
    downloaded = command.downloaded[1] if command.downloaded else {}
    return first(size_in(downloaded, "file_size"), size_in(command.result, "file_size"))


def output_in(content):
    """What a removal wrote, by its frame or its result; wire v2 calls it cleanedPath."""
    return first(text_in(content, "output_path"), text_in(content, "cleaned_path"))


def output_size_in(content):
    return first(size_in(content, "file_size"), size_in(content, "cleaned_size"))


def clean_input(command):
    """The input_path of a sora.clean."""
    return first(text_in(command.payload, "input_path"), text_in(command.result, "input_path"),
                 command.attempted_path(), text_in(command.cleaned_fact(0), "input_path"))


def _cleans_by_path(commands):
    """{raw path: (path, size) that the last of its successful sora.clean commands made of it}"""
    done = [command for command in commands.values()
            if command.type == "sora.clean" and command.status == "SUCCEEDED"]
    found = {}
    for command in sorted(done, key=lambda command: order(command.winner)):
        output, size = _removal_output(command, 0)
        if output is not None:
            found[clean_input(command)] = output, size
    found.pop(None, None)
    return found


def _cleaned(command, index, batch, raw, cleans):
    """(path, size) without the watermark"""
    if raw in cleans:
        return cleans[raw]
    fact = command.cleaned_fact(index)
    size = None if batch else size_in(command.result, "cleaned_size")
    path = output_in(fact)
    if path is not None:
        return path, first(output_size_in(fact), size)
    path = None if batch else text_in(command.result, "cleaned_path")
    if path is not None:
        return path, size
    return text_in(command.result_of(index), "cleaned_path"), None


def _video_row(command, index, batch, cleans):
    payload = command.payload
    raw = raw_path(command, index, batch)
    cleaned, cleaned_size = _cleaned(command, index, batch, raw, cleans)
    prompts = payload.get("prompts") if batch else [payload.get("prompt")]
    prompt = prompts[index] if isinstance(prompts, list) and index < len(prompts) else None
    asked = command.prompts[index][1] if index in command.prompts else {}
    return {
        "video_id": video_id(command, index), "command_id": command.id,
        "prompt": prompt if isinstance(prompt, str) else None,
        "character": first(text_in(payload, "character"), text_in(asked, "character")),
        "duration": text_in(payload, "duration"),
        "aspect_ratio": text_in(payload, "aspect_ratio"),
        "raw_path": raw, "raw_size_bytes": raw_size(command, batch),
        "cleaned_path": cleaned, "cleaned_size_bytes": cleaned_size, "thumbnail_path": None,
        "status": _video_status(command, index, batch, raw, cleaned), "sora_draft_id": None,
        "metadata": _metadata(command, index, batch, raw), "created_at": time_of(command.created_at),
        "placeholder": None,  # as a row is only until its video is known
    }


def _video_status(command, index, batch, raw, cleaned):
    if cleaned is not None:
        return "CLEANED"
    if raw is not None:
        removing = command.attempted and not batch and not command.has_ended
        return "CLEANING" if removing else "DOWNLOADED"
    return "FAILED" if command.has_ended else "GENERATING"


def _metadata(command, index, batch, raw):
    result = command.result
    error = None if batch and raw is not None else command.error
    found = {"error": first(text_in(command.result_of(index), "error"), error)}
    if batch:
        found["batch_index"] = index
    else:
        ready = command.ready[1] if command.ready else {}
        duration = member(result, "duration_ms")
        number = duration if type(duration) is float else None
        found |= {"clean_error": text_in(result, "clean_error"),
                  "duration_ms": first(whole(duration), number),
                  "video_url": text_in(ready, "video_url")}
    return {name: value for name, value in found.items() if value is not None} or None


# --- watermark_removals ----------------------------------------------------------------------

def removals(commands):
    """The rows of {id: Command}."""
    catalog = _videos_by_path(commands)
    found = [_removal_row(command, index, catalog)
             for command in commands.values() for index in _removed_indices(command)]
    return [row for row in found if row["input_path"] is not None]


def _removed_indices(command):
    match command.type:
        case "sora.clean":
            return [0]
        case "sora.generate.clean":
            told = (command.attempted or 0 in command.cleaned
                    or text_in(command.result, "cleaned_path") is not None
                    or text_in(command.result, "clean_error") is not None)
            return [0] if told else []
        case "sora.batch.clean":
            return [index for index in items(command)[0] if _is_removed_in_batch(command, index)]
        case None:
            return sorted({*_told_without_submission(command), *command.cleaned})
        case _:
            return []


def _told_without_submission(command):
    """The indices of which the result tells what it only does of a removal; and an attempt's."""
    if items(command)[1]:
        return [index for index in range(len(command.results or []))
                if _unknown_output(command, index)[0] is not None]
    told = (command.attempted or _unknown_output(command, 0)[0] is not None
            or text_in(command.result, "clean_error") is not None)
    return [0] if told else []


def _is_removed_in_batch(command, index):
    one = command.result_of(index)
    return (index in command.cleaned or text_in(one, "cleaned_path") is not None
            or text_in(one, "path") is not None and text_in(one, "error") is not None)


def _removal_input(command, index, batch):
    cleaned = text_in(command.cleaned_fact(index), "input_path")
    match command.type:
        case "sora.clean":
            return clean_input(command)
        case "sora.generate.clean":
            return first(command.attempted_path(), cleaned, raw_path(command, 0, False))
        case "sora.batch.clean":
            return first(cleaned, text_in(command.result_of(index), "path"))
        case _:
            single = index == 0 and not batch
            return first(command.attempted_path() if single else None, cleaned,
                         text_in(command.result, "input_path") if single else None,
                         raw_path(command, index, batch))


def _removal_output(command, index):
    """(path, size)"""
    cleaned = command.cleaned_fact(index)
    path = size = None
    match command.type:
        case "sora.generate.clean":
            path = text_in(command.result, "cleaned_path")
            size = size_in(command.result, "cleaned_size")
        case "sora.batch.clean":
            path = text_in(command.result_of(index), "cleaned_path")
        case "sora.clean" if command.status == "SUCCEEDED":
            path = first(output_in(command.result), text_in(command.payload, "output_path"))
            size = output_size_in(command.result)
        case None:
            path, size = _unknown_output(command, index)
    path = first(output_in(cleaned), path)
    return (None, None) if path is None else (path, first(output_size_in(cleaned), size))


def _unknown_output(command, index):
    """(path, size) by the result of a command that may be any of the three."""
    if items(command)[1]:
        return text_in(command.result_of(index), "cleaned_path"), None
    if text_in(command.result, "cleaned_path") is not None or command.status != "SUCCEEDED":
        return text_in(command.result, "cleaned_path"), size_in(command.result, "cleaned_size")
    return text_in(command.result, "output_path"), size_in(command.result, "file_size")


def _removal_error(command, index):
    own = None
    if command.type == "sora.generate.clean" or command.type is None and not items(command)[1]:
        own = text_in(command.result, "clean_error")
    elif command.type in ("sora.batch.clean", None):
        own = text_in(command.result_of(index), "error")
    return first(own, command.error)


def _videos_by_path(commands):
    """{raw path: (video_id, raw size) of the oldest video there}"""
    found = {}
    for command in commands.values():
        indices, batch = items(command)
        for index in indices:
            path = raw_path(command, index, batch)
            age = command.created_at, video_id(command, index)
            if path is not None and (path not in found or age < found[path][0]):
                found[path] = age, raw_size(command, batch)
    return {path: (age[1], size) for path, (age, size) in found.items()}


def _removal_row(command, index, catalog):
    indices, batch = items(command)
    path = _removal_input(command, index, batch)
    if command.type == "sora.clean" or index not in indices:
        video, size = catalog.get(path, (None, None))
    else:
        video, size = video_id(command, index), raw_size(command, batch)
    output, output_size = _removal_output(command, index)
    in_batch = batch or command.type == "sora.batch.clean"
    attempted = command.attempted if index == 0 and not in_batch else None
    cleaned = command.cleaned.get(index)
    told = attempted or cleaned
    created = told[0]["emitted_at"] if told else command.created_at
    error = _removal_error(command, index)
    completed = None
    if output is not None and cleaned:
        completed = cleaned[0]["emitted_at"]
    elif output is not None or command.status != "SUCCEEDED" or error is not None:
        completed = command.ended_at
    processing = (completed - created) // 1000 if attempted and completed is not None else None
    if processing is not None and not -GREATEST_INTEGER - 1 <= processing <= GREATEST_INTEGER:
        processing = None
    failed = output is None and completed is not None
    return {
        "removal_id": uuid.uuid5(command.id, f"removal/{index}"), "video_id": video,
        "command_id": command.id, "input_path": path, "output_path": output,
        "input_size_bytes": size, "output_size_bytes": output_size,
        "method": first(text_in(command.payload, "method"), "lama"),
        "processing_time_ms": processing, "success": output is not None,
        "error_message": error if failed else None,
        "created_at": time_of(created), "completed_at": time_of(completed),
    }

# SPDX-License-Identifier: Apache-2.0
"""The rows that the tables of studio must hold, from the set of events alone.

Independent of the programs that it judges: it reads the whole set at once and knows nothing of
folds, batches or offsets. expected(events) takes the event dicts of lib.studio_events, in any order
and any number of times.
"""

import uuid
from collections import Counter, defaultdict

from lib.oracle import in_order
from lib.oracle_facts import first, is_json, json_of, time_of, uuid_of
from lib.studio_events import CLIPS, JOBS, JSON, MEDIA, OBJECTS, PROJECTS, VOICES, topic_of

KEYS = {  # of each table
    "projects": ("id",),
    "scenes": ("project_id", "id"),
    "clips": ("project_id", "id"),
    "exports": ("project_id", "id"),
    "audio_files": ("project_id", "id"),
    "project_saves": ("event_id",),
    "projectionist.studio_waiting": ("project_id", "kind", "id"),
    "voices": ("id",),
    "generation_jobs": ("id",),
    "studio_objects": ("id",),
}
READS = {  # the topics of each consumer
    "studio-catalog": (PROJECTS, CLIPS, MEDIA),
    "studio-voices": (VOICES,),
    "studio-jobs": (JOBS, PROJECTS),
    "studio-objects": (OBJECTS,),
}
NAMES = uuid.uuid5(uuid.NAMESPACE_DNS, "projectionist")
TEXTS = ("title", "description", "script", "seo_title", "seo_description", "seo_tags",
         "seo_hashtags", "seo_chapters")
OF_CLIPS = {"completed": "done", "error": "failed", "timeout": "failed"}
OF_JOBS = {"pending": "queued", "queued": "queued", "processing": "running", "running": "running",
           "completed": "success", "succeeded": "success", "done": "success", "success": "success",
           "failed": "error", "timeout": "error", "error": "error"}
RANKS = {"queued": 0, "running": 1, "success": 2, "error": 2}


def expected(events):
    """{table: rows} of the tables in KEYS, with all four consumers done."""
    told = {(topic_of(event), event["event_id"]): event for event in events if not refused(event)}
    of_projects, of_jobs, of_voices, of_objects = (defaultdict(list) for _ in range(4))
    deletions = defaultdict(list)
    for (topic, _), event in told.items():
        if topic in (PROJECTS, CLIPS, MEDIA):
            of_projects[uuid_of(event["project_id"])].append(event)
            deletions[uuid_of(event["project_id"])] += of_kind([event], "ProjectDeleted")
        elif topic == JOBS:
            of_jobs[job_row_id(event["job_id"])].append(event)
        elif topic == VOICES:
            of_voices[v5("studio/voice", event["user_id"] or "", event["provider"],
                         event["voice_id"])].append(event)
        else:
            of_objects[v5("studio/object", event["bucket"], event["object_key"])].append(event)
    tables = {table: [] for table in KEYS}
    for project, said in of_projects.items():
        _fill_project(project, sorted(said, key=moment), tables)
    for row_id, said in of_jobs.items():
        tables["generation_jobs"].append(_job(row_id, sorted(said, key=moment), deletions))
    for row_id, said in of_voices.items():
        tables["voices"] += _voice(row_id, sorted(said, key=moment))
    for row_id, said in of_objects.items():
        tables["studio_objects"] += _object(row_id, sorted(said, key=moment))
    return {table: in_order(rows) for table, rows in tables.items()}


def v5(*parts):
    """The UUID of a name of several parts."""
    return uuid.uuid5(NAMES, "".join(f"{len(part.encode())}:{part}," for part in map(str, parts)))


def moment(event):
    """What sorts events: the latest is the greatest."""
    return event["revision"], uuid_of(event["event_id"]).bytes


def of_kind(events, *kinds):
    return [event for event in events if event["body"][0] in kinds]


def body_of(event):
    return event["body"][1]


def as_uuid(text):
    """Of 36 characters with its four dashes, in either case; else None."""
    parts = text.split("-")
    if [len(part) for part in parts] != [8, 4, 4, 4, 12] or \
            any(digit not in "0123456789abcdefABCDEF" for part in parts for digit in part):
        return None
    return uuid.UUID(text)


# --- what is refused -------------------------------------------------------------------------

def refused(event):
    """Whether it is a dead letter of everybody who reads its topic; it says nothing then."""
    body = body_of(event)
    if any("\0" in text for text in _texts(event)):
        return True
    if any(body.get(name) is not None and not is_json(body[name]) for name in JSON):
        return True
    if any(body.get(name) is not None and body[name] < 0
           for name in ("duration", "start_trim", "end_trim")):
        return True
    if body.get("start_trim") is not None and body["end_trim"] is not None and \
            not body["start_trim"] < body["end_trim"]:
        return True
    if body.get("progress") is not None and not 0 <= body["progress"] <= 100:
        return True
    return event["body"][0] == "JobStatusChanged" and body["status"] not in OF_JOBS


def _texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


# --- projects --------------------------------------------------------------------------------

def scene_row_id(project, text):
    return as_uuid(text) or v5("studio/scene", project, text)


def scene_row_ids(project, scene_ids):
    """The ids of the rows of one set, in its order."""
    wanted = [scene_row_id(project, text or str(place))
              for place, text in enumerate(scene_ids, 1)]
    literal = [as_uuid(text) is not None for text in scene_ids]
    owners = {}
    for place, row_id in enumerate(wanted):
        owner = owners.setdefault(row_id, place)
        if literal[place] and not literal[owner]:
            owners[row_id] = place
    numbers = Counter()
    found = []
    for place, row_id in enumerate(wanted):
        own = row_id
        while own in owners and owners[own] != place:
            numbers[row_id] += 1
            own = v5("studio/scene", project, row_id, numbers[row_id] + 1)
        found.append(own)
    return found


def _fill_project(project, said, tables):
    """said: in order."""
    saves = of_kind(said, "ProjectSaved")
    tables["project_saves"] += [_save_row(project, event) for event in saves]
    if of_kind(said, "ProjectDeleted"):
        return
    media = [(table, kind, name, _lasting(said, saved, gone, name))
             for table, kind, name, saved, gone in (
                 ("clips", "clip", "clip_id", "ClipSaved", "ClipDeleted"),
                 ("exports", "export", "export_id", "ExportSaved", "ExportDeleted"),
                 ("audio_files", "audio_file", "audio_id", "AudioFileSaved", "AudioFileDeleted"))]
    if not saves:
        tables["projectionist.studio_waiting"] += [
            {"project_id": project, "kind": kind, "id": one,
             "since": time_of(events[0]["emitted_at"])}
            for _, kind, _, found in media for one, events in found.items()]
        return
    row = _project(project, said, saves)
    scenes = _scenes(project, saves, row["created_at"])
    tables["projects"].append(row)
    tables["scenes"] += scenes
    tables["clips"] += _clips(project, said, media[0][3], {scene["id"] for scene in scenes})
    for table, _, _, found in media[1:]:
        tables[table] += [_medium(project, one, events) for one, events in found.items()]


def _lasting(said, saved, gone, name):
    """{id: its saves} of what is not deleted."""
    found = defaultdict(list)
    deleted = {uuid_of(body_of(event)[name]) for event in of_kind(said, gone)}
    for event in of_kind(said, saved):
        one = uuid_of(body_of(event)[name])
        if one not in deleted:
            found[one].append(event)
    return found


def _created(event):
    return time_of(first(body_of(event)["created_at"], event["emitted_at"]))


def _project(project, said, saves):
    of_it = [event for event in said if topic_of(event) == PROJECTS]
    texts = dict.fromkeys(TEXTS)
    for event in saves:
        fields = body_of(event)["fields"]
        texts.update({name: body_of(event)[name] for name in TEXTS
                      if fields is None or name in fields})
    owners = [event["user_id"] for event in of_it if event["user_id"] is not None]
    statuses = of_kind(said, "ProjectStatusChanged")
    thumbnails = of_kind(said, "ProjectThumbnailSet")
    return {
        "id": project, "user_id": uuid_of(first(*owners)), **texts,
        "seo_chapters": json_of(texts["seo_chapters"]),
        "status": body_of(statuses[-1])["status"] if statuses else "draft",
        "thumbnail_url": body_of(thumbnails[-1])["thumbnail_url"] if thumbnails else None,
        "created_at": _created(saves[0]), "revision": of_it[-1]["revision"],
        "saved_at": time_of(saves[-1]["emitted_at"])}


def _save_row(project, event):
    body = body_of(event)
    says_script = body["fields"] is None or "script" in body["fields"]
    return {
        "event_id": uuid_of(event["event_id"]), "project_id": project,
        "revision": event["revision"], "base_revision": body["base_revision"],
        "emitted_at": time_of(event["emitted_at"]), "user_id": uuid_of(event["user_id"]),
        "fields": body["fields"],
        "script_chars": len(body["script"] or "") if says_script else None,
        "scene_count": None if body["scenes"] is None else len(body["scenes"])}


def _scenes(project, saves, created_at):
    sets = [body_of(event)["scenes"] for event in saves if body_of(event)["scenes"] is not None]
    items = sets[-1] if sets else []
    ids = scene_row_ids(project, [item["scene_id"] for item in items])
    return [{"id": row_id, "project_id": project, "number": first(item["number"], place),
             "title": item["title"], "description": item["description"], "prompt": item["prompt"],
             "created_at": first(time_of(item["created_at"]), created_at), "position": place,
             "client_id": item["scene_id"]}
            for place, (row_id, item) in enumerate(zip(ids, items), 1)]


def _clips(project, said, found, scenes):
    revision = max((event["revision"] for event in said if topic_of(event) == CLIPS), default=None)
    trims = {uuid_of(body_of(event)["clip_id"]): body_of(event)
             for event in of_kind(said, "ClipTrimmed")}
    orders = of_kind(said, "ClipsReordered")
    wanted = [uuid_of(one) for one in body_of(orders[-1])["clip_ids"]] if orders else []
    wanted += sorted(found, key=lambda one: moment(found[one][0]))
    order = list(dict.fromkeys(one for one in wanted if one in found))
    for one, events in found.items():
        body = body_of(events[-1])
        scene = None if body["scene_id"] is None else scene_row_id(project, body["scene_id"])
        trim = trims.get(one, {"start_trim": None, "end_trim": None})
        yield {"id": one, "project_id": project, "scene_id": scene if scene in scenes else None,
               **{name: body[name] for name in ("provider", "file_url", "thumbnail_url",
                                                "duration", "prompt")},
               "status": OF_CLIPS.get(body["status"], body["status"]),
               "order_index": order.index(one), "created_at": _created(events[0]),
               "start_trim": trim["start_trim"], "end_trim": trim["end_trim"],
               "revision": revision}


def _medium(project, one, events):
    body = {name: value for name, value in body_of(events[-1]).items()
            if name not in ("export_id", "audio_id")}
    if "metadata" in body:
        body["metadata"] = json_of(body["metadata"])
    return {"id": one, "project_id": project, **body, "created_at": _created(events[0]),
            "revision": events[-1]["revision"]}


# --- voices and objects ----------------------------------------------------------------------

def _voice(row_id, said):
    last = said[-1]
    if last["body"][0] == "VoiceSaved":
        yield {"id": row_id, "user_id": uuid_of(last["user_id"]), "provider": last["provider"],
               "voice_name": body_of(last)["voice_name"], "voice_id": last["voice_id"],
               "metadata": json_of(body_of(last)["metadata"]),
               "created_at": _created(of_kind(said, "VoiceSaved")[0]),
               "revision": last["revision"]}


def _object(row_id, said):
    last = said[-1]
    if last["body"][0] == "ObjectStored":
        folder, _, rest = last["object_key"].partition("/")
        project, slash, _ = rest.partition("/")
        yield {"id": row_id, "bucket": last["bucket"], "object_key": last["object_key"],
               "project_id": as_uuid(project) if folder == "projects" and slash else None,
               **body_of(last), "revision": last["revision"],
               "stored_at": time_of(last["emitted_at"])}


# --- jobs ------------------------------------------------------------------------------------

def job_row_id(job_id):
    return as_uuid(job_id) or v5("studio/job", job_id)


def _status_of(event):
    return "queued" if event["body"][0] == "JobRegistered" else OF_JOBS[body_of(event)["status"]]


def _job(row_id, said, deletions):
    """said: in order."""
    registered = of_kind(said, "JobRegistered")
    progressed = of_kind(said, "JobProgressed")
    outcomes = sorted(of_kind(said, "JobRegistered", "JobStatusChanged"),
                      key=lambda event: (event["revision"], RANKS[_status_of(event)], moment(event)))
    winner = outcomes[-1] if outcomes else None
    status = _status_of(winner) if winner else "running"
    if status == "queued" and any(event["revision"] >= winner["revision"] for event in progressed):
        status = "running"
    percents = [body_of(event)["progress"] for event in said
                if body_of(event).get("progress") is not None]
    messages = [body_of(event)["message"] for event in said if body_of(event)["message"] is not None]
    began = [event for event in said if event["body"][0] == "JobProgressed" or
             (event["body"][0] == "JobStatusChanged" and _status_of(event) == "running")]
    projects = [uuid_of(event["project_id"]) for event in said if event["project_id"] is not None]
    gone = sorted(deletions[projects[0]], key=moment) if projects else []
    ended = status in ("success", "error")
    own = as_uuid(said[0]["job_id"])
    return {
        "id": row_id, "job_id": said[0]["job_id"] if own is None else str(own),
        "project_id": first(*projects),
        "type": body_of(registered[0])["type"] if registered else "unknown", "status": status,
        "progress": 100 if status == "success" else percents[-1] if percents else 0,
        "message": messages[-1] if messages else None,
        "created_at": time_of((registered or said)[0]["emitted_at"]),
        "result": json_of(body_of(winner).get("result")) if ended else None,
        "started_at": time_of(began[0]["emitted_at"]) if began else None,
        "completed_at": time_of(winner["emitted_at"]) if ended else None,
        "project_deleted_at": time_of(gone[0]["emitted_at"]) if gone else None,
        "revision": said[-1]["revision"]}

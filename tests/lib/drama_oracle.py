# SPDX-License-Identifier: Apache-2.0
"""The rows that the tables of drama must hold, from the set of events alone.

Independent of the programs that it judges: it reads the whole set at once and knows nothing of
folds, batches or offsets. expected(events) takes the event dicts of lib.drama_events, in any order
and any number of times.
"""

import uuid
from collections import defaultdict

from lib.drama_events import DRAMAS, JOBS, USERS, topic_of
from lib.oracle import in_order
from lib.oracle_facts import first, is_json, json_of, time_of, uuid_of

KEYS = {  # of each table
    "dramas": ("id",),
    "characters": ("drama_id", "id"),
    "episodes": ("drama_id", "id"),
    "scenes": ("drama_id", "episode_id", "id"),
    "assets": ("asset_key",),
    "drama_saves": ("event_id",),
    "jobs": ("drama_id", "job_id"),
    "users": ("id",),
    "token_ledger": ("entry_id",),
}
READS = {  # the topics of each consumer
    "drama-catalog": (DRAMAS,),
    "drama-jobs": (JOBS, DRAMAS),
    "drama-users": (USERS,),
}
NAMES = uuid.uuid5(uuid.NAMESPACE_DNS, "projectionist")
WORDS = {"pending": "pending", "processing": "processing", "running": "processing",
         "completed": "completed", "failed": "failed"}
RANKS = {"pending": 0, "processing": 1, "completed": 2, "failed": 2}
ENDED = ("completed", "failed")
SLOTS = {  # of each level, and how many ids lead to it
    "drama": (0, ("url", "cover_url")),
    "character": (1, ("url", "premise_url")),
    "episode": (1, ("url",)),
    "scene": (2, ("image_url", "video_url")),
    "drama_asset": (1, ("url",)),
    "character_asset": (2, ("url",)),
    "episode_asset": (2, ("url",)),
    "scene_asset": (3, ("url",)),
}


def expected(events):
    """{table: rows} of the tables in KEYS, with all three consumers done."""
    told = {(topic_of(event), event["event_id"]): event for event in events if not refused(event)}
    of_dramas, of_jobs, of_users = defaultdict(list), defaultdict(list), defaultdict(list)
    for event in told.values():
        if topic_of(event) == USERS:
            of_users[event["user_id"]].append(event)
        else:
            of_jobs[event["drama_id"]].append(event)
            if topic_of(event) == DRAMAS:
                of_dramas[event["drama_id"]].append(event)
    tables = {table: [] for table in KEYS}
    for drama_id, said in of_dramas.items():
        tables["drama_saves"] += map(_save_row, of_kind(said, "DramaSaved"))
        if Drama(drama_id, said).exists:
            Drama(drama_id, said).fill(tables)
    for drama_id, said in of_jobs.items():
        tables["jobs"] += Jobs(drama_id, said).rows()
    ledger = _ledger(told.values())
    tables["token_ledger"] = [entry for entry, _ in ledger.values()]
    tables["users"] = [row for user_id, said in of_users.items()
                       for row in _users(user_id, said, tables["token_ledger"])]
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


# --- what is refused -------------------------------------------------------------------------

def refused(event):
    """Whether it is a dead letter of everybody who reads its topic; it says nothing then."""
    kind, body = event["body"]
    top = {name: value for name, value in event.items() if name != "body"}
    named = [top.get("drama_id"), top.get("job_id"), top.get("user_id")]
    named += [body.get(name) for name in ("drama_id", "job_id", "parent_job_id")]
    short = [body.get("asset_id"), body.get("email")]
    return any((
        any(text is not None and not 1 <= len(text) <= 200 for text in named),
        any(text is not None and len(text) > 200 for text in short),
        any("\0" in text for text in _texts((top, body))),
        any(not is_json(text) for text in _jsons(body)),
        any(len(text) > 200 for text in _ids_below(body)),
        "status" in body and body["status"] not in WORDS,
        kind == "MediaSet" and not _is_place(body),
    ))


def _texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _things(body):
    """Whatever is listed in a save, of any level."""
    waiting = [item for name in ("characters", "episodes", "assets") for item in body.get(name) or ()]
    while waiting:
        thing = waiting.pop()
        yield thing
        waiting += thing.get("scenes") or []
        waiting += thing.get("assets") or []


def _jsons(body):
    for thing in (body, *_things(body)):
        for name in ("metadata", "extra", "result"):
            if thing.get(name) is not None:
                yield thing[name]


def _ids_below(body):
    for thing in _things(body):
        yield thing["id"]
        yield thing.get("kind", "")
    yield from body.get("path") or ()


def _is_place(body):
    steps, slots = SLOTS.get(body["level"], (-1, ()))
    return len(body["path"]) == steps and body["slot"] in slots


# --- dramas ----------------------------------------------------------------------------------

def named(items):
    """[(id, item)] of siblings, with an id of its own each."""
    written = [item["id"] or f"#{place}" for place, item in enumerate(items, 1)]
    taken = []
    for name in written:
        own, number = name, 1
        while own in taken or (own in written and own != name):
            number += 1
            own = f"{name}#{number}"
        taken.append(own)
    return list(zip(taken, items))


class Drama:
    """What is known of one drama in its current life."""

    def __init__(self, drama_id, said):
        self.id = drama_id
        lives = {event["life"] for event in of_kind(said, "DramaSaved")}
        ended = {event["life"] for event in of_kind(said, "DramaDeleted")}
        self.life = max(lives, default=None)
        self.exists = bool(lives) and not any(life >= self.life for life in ended)
        self._said = sorted((event for event in said if event["life"] == self.life), key=moment)
        self._saves = of_kind(self._said, "DramaSaved")

    def fill(self, tables):
        last, begun = self._saves[-1], self._saves[0]
        status = ([body_of(event) for event in of_kind(self._said, "DramaStatusChanged")]
                  or [{"status": "completed", "error": None}])[-1]
        slots = self._slots()
        self._created = time_of(first(body_of(begun)["created_at"], begun["emitted_at"]))
        self._owner = first(*(event["user_id"] for event in self._said))
        episodes = self._set("episodes")
        url = slots.get(("drama", (), "url"))
        tables["dramas"].append({
            "id": self.id, "user_id": self._owner,
            **{name: body_of(last)[name] for name in ("title", "description", "premise")},
            "status": WORDS[status["status"]], "url": url,
            "cover_url": first(slots.get(("drama", (), "cover_url")), url),
            "episode_count": len(episodes), "metadata": json_of(body_of(last)["metadata"]),
            "created_at": self._created, "life": self.life,
            "revision": self._said[-1]["revision"], "saved_at": time_of(last["emitted_at"]),
            "source": body_of(last)["source"],
            "error": status["error"] if status["status"] == "failed" else None})
        for place, (own, item) in enumerate(named(self._set("characters")), 1):
            tables["characters"].append({
                "drama_id": self.id, "id": own, **self._common(item),
                **{name: item[name] for name in ("name", "description", "gender",
                                                 "voice_description")},
                "is_main": item["main"], "position": place,
                **{slot: slots.get(("character", (own,), slot)) for slot in ("url", "premise_url")}})
            tables["assets"] += self._assets(slots, "character", (own,), item["assets"])
        for place, (own, item) in enumerate(named(episodes), 1):
            tables["episodes"].append({
                "drama_id": self.id, "id": own, **self._common(item),
                **{name: item[name] for name in ("title", "description", "premise")},
                "url": slots.get(("episode", (own,), "url")), "sequence_number": place})
            tables["assets"] += self._assets(slots, "episode", (own,), item["assets"])
            for number, (inner, part) in enumerate(named(item["scenes"]), 1):
                path = (own, inner)
                tables["scenes"].append({
                    "drama_id": self.id, "episode_id": own, "id": inner, **self._common(part),
                    "description": part["description"], "sequence_number": number,
                    **{slot: slots.get(("scene", path, slot))
                       for slot in ("image_url", "video_url")}})
                tables["assets"] += self._assets(slots, "scene", path, part["assets"])
        tables["assets"] += self._assets(slots, "drama", (), self._set("assets"))

    def _set(self, name):
        """The latest array that was said."""
        return ([body_of(event)[name] for event in self._saves
                 if body_of(event)[name] is not None] or [[]])[-1]

    def _common(self, item):
        return {"user_id": self._owner, "metadata": json_of(item["metadata"]),
                "created_at": self._created, "extra": json_of(item["extra"])}

    def _assets(self, slots, owner, path, items):
        for place, (own, item) in enumerate(named(items), 1):
            row = self._common(item)
            del row["user_id"]
            yield {**row, "asset_key": v5("drama/asset", self.id, owner, *(*path, "", "")[:2], own),
                   "drama_id": self.id, "owner": owner,
                   "character_id": path[0] if owner == "character" else None,
                   "episode_id": path[0] if owner in ("episode", "scene") else None,
                   "scene_id": path[1] if owner == "scene" else None, "id": own,
                   **{name: item[name] for name in ("kind", "depends_on", "prompt", "duration")},
                   "url": slots.get((f"{owner}_asset", (*path, own), "url")), "position": place}

    def _slots(self):
        """{(level, path, slot): the latest value that an event of the life gave}"""
        slots = {}
        for event in self._said:  # the latest comes last
            kind, body = event["body"]
            if kind == "MediaSet":
                slots[body["level"], tuple(body["path"]), body["slot"]] = body["value"]
            elif kind == "DramaSaved":
                slots.update({place: value for place, value in _saved_slots(body)
                              if value is not None})
        return slots


def _saved_slots(body):
    def of_assets(owner, path, items):
        for own, item in named(items):
            yield (f"{owner}_asset", (*path, own), "url"), item["url"]

    yield ("drama", (), "url"), body["url"]
    yield from of_assets("drama", (), body["assets"] or [])
    for own, item in named(body["characters"] or []):
        for slot in ("url", "premise_url"):
            yield ("character", (own,), slot), item[slot]
        yield from of_assets("character", (own,), item["assets"])
    for own, item in named(body["episodes"] or []):
        yield ("episode", (own,), "url"), item["url"]
        yield from of_assets("episode", (own,), item["assets"])
        for inner, part in named(item["scenes"]):
            for slot in ("image_url", "video_url"):
                yield ("scene", (own, inner), slot), part[slot]
            yield from of_assets("scene", (own, inner), part["assets"])


def _save_row(event):
    body = body_of(event)
    arrays = [body[name] for name in ("characters", "episodes", "assets")]
    scenes = [part for item in body["episodes"] or () for part in item["scenes"]]
    owners = [*(body["characters"] or ()), *(body["episodes"] or ()), *scenes]
    return {
        "event_id": uuid_of(event["event_id"]), "emitted_at": time_of(event["emitted_at"]),
        **{name: event[name] for name in ("drama_id", "life", "revision", "user_id")},
        **{name: body[name] for name in ("base_revision", "source", "content_hash")},
        "characters": None if body["characters"] is None else len(body["characters"]),
        "episodes": None if body["episodes"] is None else len(body["episodes"]),
        "scenes": None if body["episodes"] is None else len(scenes),
        "assets": None if arrays == [None] * 3 else
        sum(len(item["assets"]) for item in owners) + len(body["assets"] or ())}


# --- jobs ------------------------------------------------------------------------------------

class Jobs:
    """The jobs of one drama."""

    def __init__(self, drama_id, said):
        self.drama_id = drama_id
        before = _forgotten_before([event for event in said if topic_of(event) == DRAMAS])
        self._said = defaultdict(list)
        for event in said:
            if topic_of(event) == JOBS and event["revision"] >= before:
                self._said[event["job_id"]].append(event)
        self._creations = {job: sorted(of_kind(events, "JobCreated"), key=moment)
                           for job, events in self._said.items()
                           if of_kind(events, "JobCreated")}
        self._parents = {}
        for job, creations in self._creations.items():
            parent = body_of(creations[-1])["parent_job_id"]
            self._parents[job] = None if parent == job else parent
        self._children = defaultdict(list)
        for job, parent in self._parents.items():
            if parent is not None and not self._on_a_ring(job):
                self._children[parent].append(job)
        self._settled = {}

    def rows(self):
        named_as_parents = {parent for parent in self._parents.values() if parent is not None}
        for job in self._creations.keys() | named_as_parents:
            yield self._row(job)

    def _on_a_ring(self, job):
        seen, at = set(), self._parents.get(job)
        while at is not None and at != job and at not in seen:
            seen.add(at)
            at = self._parents.get(at)
        return at == job

    def _own(self, job):
        """(word, the event that says so or None, the events of the attempt)"""
        said = self._said[job] if job in self._said else []
        attempt = max((event["attempt"] for event in said), default=None)
        said = [event for event in said if event["attempt"] == attempt]
        if not said:
            return "pending", None, said
        last = max(said, key=lambda event: (event["revision"], RANKS[_word(event)], moment(event)))
        return _word(last), last, said

    def _settle(self, top):
        """Depth first, without recursion: {status, started, ended} of a job, the latter two as
        (order, time)."""
        way = [top]
        while way:
            job = way[-1]
            children = self._children.get(job, [])
            open_ones = [child for child in children if child not in self._settled]
            if open_ones:
                way += open_ones
                continue
            self._settled[job] = self._settle_one(job, children)
            way.pop()
        return self._settled[top]

    def _settle_one(self, job, children):
        word, last, said = self._own(job)
        known = [self._settled[child] for child in children]
        started = [(moment(event), event["emitted_at"]) for event in said
                   if _word(event) == "processing"]
        started += [child["started"] for child in known if child["started"] is not None]
        ended = None if last is None else (moment(last), last["emitted_at"])
        status = word
        if known and word != "failed":
            words = [child["status"] for child in known]
            total = max(self._announced(job) or 0, len(words))
            if sum(one in ENDED for one in words) == total:
                status = "failed" if "failed" in words else "completed"
                ended = max(child["ended"] for child in known)
            else:
                status = "pending" if set(words) == {"pending"} else "processing"
        return {"status": status, "started": min(started, default=None),
                "ended": ended if status in ENDED else None}

    def _announced(self, job):
        return body_of(self._creations[job][-1])["total_jobs"] if job in self._creations else None

    def _row(self, job):
        settled = self._settle(job)
        word, last, _ = self._own(job)
        creations = self._creations.get(job, [])
        facts = body_of(creations[-1]) if creations else dict.fromkeys(
            ("asset_id", "node_type", "prompt", "depends_on", "title", "project_name", "metadata",
             "total_jobs"))
        children = self._children.get(job, [])
        words = [self._settle(child)["status"] for child in children]
        counts = {name: words.count(name) for name in ("completed", "failed", "processing")}
        total = (max(facts["total_jobs"] or 0, len(words)) if words
                 else first(facts["total_jobs"], 1))
        # On the way of a child that is on a ring no child counts, yet who is named is there.
        firsts = creations[:1] or [self._creations[child][0] for child in children]
        said = sorted(self._said.get(job, []), key=moment)
        users = [event["user_id"] for event in (*creations[-1:], *said)
                 if event["user_id"] is not None]
        outcome = body_of(last) if last is not None and last["body"][0] == "JobStatusChanged" else {}
        return {
            "drama_id": self.drama_id, "job_id": job, "id": v5("drama/job", self.drama_id, job),
            "user_id": first(*users), "job_type": facts.get("job_type", "unknown"),
            "status": settled["status"], "own_status": word,
            **{name: facts[name] for name in ("asset_id", "node_type", "prompt", "depends_on",
                                              "title", "project_name")},
            "metadata": json_of(facts["metadata"]), "parent_job_id": self._parents.get(job),
            "total_jobs": total, "completed_jobs": counts["completed"],
            "failed_jobs": counts["failed"], "running_jobs": counts["processing"],
            "pending_jobs": total - sum(counts.values()) if words else 0,
            "error": outcome.get("error") if word == "failed" else None,
            "r2_url": outcome.get("r2_url"), "r2_key": outcome.get("r2_key"),
            "result": json_of(outcome.get("result")),
            "attempts": None if last is None else last["attempt"],
            "created_at": time_of(min(firsts, key=moment)["emitted_at"]),
            "started_at": None if settled["started"] is None else time_of(settled["started"][1]),
            "completed_at": None if settled["ended"] is None else time_of(settled["ended"][1]),
            "revision": said[-1]["revision"] if said else None}


def _word(event):
    kind, body = event["body"]
    return "pending" if kind == "JobCreated" else WORDS[body["status"]]


def _forgotten_before(said):
    """The revision of the last deletion that counts for jobs."""
    lives = {event["life"] for event in of_kind(said, "DramaSaved")}
    return max((event["revision"] for event in of_kind(said, "DramaDeleted")
                if not any(event["life"] < life <= event["revision"] for life in lives)),
               default=float("-inf"))


# --- users -----------------------------------------------------------------------------------

def _ledger(events):
    """{entry_id: (row, the event)}, of each id the earliest."""
    found = {}
    for event in sorted(events, key=moment, reverse=True):
        kind, body = event["body"]
        if kind == "UserRegistered":
            entry, delta, reason = v5("drama/initial", event["user_id"]), body["tokens"], "initial"
        elif kind == "TokensChanged":
            entry, delta = uuid_of(first(body["entry_id"], event["event_id"])), body["delta"]
            reason = body["reason"]
        else:
            continue
        found[entry] = {
            "entry_id": entry, "user_id": event["user_id"], "delta": delta, "reason": reason,
            "drama_id": body.get("drama_id"), "job_id": body.get("job_id"),
            "emitted_at": time_of(event["emitted_at"]), "event_id": uuid_of(event["event_id"])}, event
    return found


def _users(user_id, said, ledger):
    registered = sorted(of_kind(said, "UserRegistered"), key=moment)
    if not registered or of_kind(said, "UserDeleted"):
        return
    profile = dict(body_of(registered[0]))
    for event in sorted(of_kind(said, "UserChanged"), key=moment):
        for name in ("email", "display_name", "subscription_tier"):
            if name in body_of(event)["fields"]:
                profile[name] = body_of(event)[name]
    deltas = [row["delta"] for row in ledger if row["user_id"] == user_id]
    yield {"id": user_id, "email": profile["email"], "display_name": profile["display_name"],
           "tokens": sum(deltas), "subscription_tier": first(profile["subscription_tier"], "free"),
           "created_at": time_of(registered[0]["emitted_at"]), "entries": len(deltas),
           "revision": max(event["revision"]
                           for event in of_kind(said, "UserRegistered", "UserChanged"))}

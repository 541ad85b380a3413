# SPDX-License-Identifier: Apache-2.0
"""What the tables of the yard must be after a set of events. It is written from what a yard is, and
knows nothing of facts, offsets, batches or Projectionist."""

import re
import uuid


def refused(event):
    return len(event["job"]) > 40 or event["minutes"] < 0


def tables(events):
    """{table: its rows, sorted} of events in any order, each any number of times."""
    last = {}
    for event in events:
        before = last.get(event["job"])
        if not refused(event) and (before is None or _order(event) > _order(before)):
            last[event["job"]] = event
    there = {name: event for name, event in last.items() if not event["withdrawn"]}
    return {"jobs": sorted(_jobs(there), key=str), "crew": sorted(_crew(there), key=str)}


def _order(event):
    return event["at"], uuid.UUID(event["event_id"]).bytes


def _crew(jobs):
    """Whoever listed somebody last has them."""
    found = {}
    for event in sorted(jobs.values(), key=_order):
        for place, member in enumerate(event["crew"]):
            found[member["person"]] = {"person": member["person"], "job": event["job"],
                                       "place": place, "role": member["role"]}
    return found.values()


def _jobs(jobs):
    parts = {}
    for name, event in jobs.items():
        parts.setdefault(event["parent"], []).append(name)

    def above(name):
        """The jobs that it is part of, the next first; None where they have no end."""
        way = []
        while (name := jobs[name]["parent"]) is not None:
            if name not in jobs or name in way:
                return None
            way.append(name)
        return way

    def on_a_ring(name):
        seen, at = set(), jobs[name]["parent"]
        while at in jobs and at not in seen and at != name:
            seen.add(at)
            at = jobs[at]["parent"]
        return at == name

    def with_parts(name):
        return [name] + [found for part in parts.get(name, ()) for found in with_parts(part)]

    for name, event in jobs.items():
        way = above(name)
        row = {column: event[column]
               for column in ("job", "parent", "title", "state", "skills", "minutes")}
        row["root"] = None if way is None else (way or [name])[-1]
        row["depth"] = None if way is None else len(way)
        row["minutes_left"] = row["jobs_open"] = None
        if not on_a_ring(name):
            left = [jobs[part]["minutes"] for part in with_parts(name)
                    if jobs[part]["state"] != "done"]
            row["minutes_left"], row["jobs_open"] = sum(left), len(left)
        row["search"] = sorted(set(re.findall(r"\w+", f"{name} {event['title']}")))
        yield row

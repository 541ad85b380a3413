# SPDX-License-Identifier: Apache-2.0
"""What happens in a shipyard, the same for the same seed, and how it is delivered: by any partition,
late, early and twice."""

import random
import uuid
from pathlib import Path

from lib import avro, kafka, registry

TOPIC = "yard.jobs"
SCHEMA = (Path(__file__).parent / "schemas/yard.jobs/Job.avsc").read_text(encoding="utf-8")
START = 1_760_000_000_000_000
SECOND = 1_000_000
TREE = 30  # jobs that may be parts of each other; less than the depth that the yard follows
TITLES = "caulk plane tar paint rivet weld hoist sand".split()
THINGS = "hull deck keel mast rudder anchor".split()
SKILLS = ["carpenter", "diver", "welder", "brass, gilt", 'so-called "rigger"', "tar\\pitch"]
ROLES = (None, "foreman", "hand")


def happened(count, seed):
    """`count` events, in the order in which they happened."""
    chance = random.Random(seed)
    trees, people = 2 + count // 300, 20 + count // 50
    at = START
    for _ in range(count):
        at += SECOND if chance.random() < 0.8 else 0  # else the ids decide what was last
        tree, place = chance.randrange(trees), chance.randrange(TREE)
        event = {
            "event_id": str(uuid.UUID(int=chance.getrandbits(128))), "at": at,
            "job": name(tree, place), "parent": _parent(chance, tree, place),
            "title": f"{chance.choice(TITLES)} the {chance.choice(THINGS)}",
            "state": chance.choice(("planned", "begun", "done")),
            "skills": chance.sample(SKILLS, chance.randrange(4)),
            "minutes": chance.randrange(500),
            "crew": [{"person": f"person {number}", "role": chance.choice(ROLES)}
                     for number in chance.sample(range(people), chance.choice((0, 0, 1, 3, 6)))],
            "withdrawn": chance.random() < 0.06,
        }
        if chance.random() < 0.01:  # what the yard refuses
            event.update(chance.choice(({"job": "x" * 41}, {"minutes": -1})))
        yield event


def name(tree, place):
    return f"ship {tree}, {place}"


def _parent(chance, tree, place):
    """Mostly one of the four before it; now and then any of its tree, so that there are rings."""
    if chance.random() < 0.03:
        return name(tree, chance.randrange(TREE))
    if place > 0:
        return name(tree, chance.randrange(max(0, place - 4), place))
    return None


def records(events, partitions, seed):
    """kafka.Records in the order of their delivery."""
    chance = random.Random(seed)
    schema_id = registry.register(f"{TOPIC}-value", SCHEMA)
    delivered = []
    for number, event in enumerate(events):
        value = avro.encode(event, schema_id, SCHEMA)
        for _ in range(2 if chance.random() < 0.1 else 1):
            when = number + chance.randrange(300 if chance.random() < 0.1 else 10)
            delivered.append((when, len(delivered), kafka.Record(
                TOPIC, event["job"], value, partition=chance.randrange(partitions))))
    return [record for _, _, record in sorted(delivered, key=lambda entry: entry[:2])]

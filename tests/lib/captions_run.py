# SPDX-License-Identifier: Apache-2.0
"""Runs streams of captions through its seven consumers, and compares what is in the tables then with
what lib.captions_oracle expects. The world is one of lib.world.open_world(…, kind=World)."""

import contextlib
import random
from collections import Counter

from lib import captions_events, captions_facts, captions_oracle, database, kafka, oracle, world
from lib.captions_events import topic_of

CONSUMERS = tuple(captions_facts.READS)
SCHEMA = "captions"
VIEWS = {"tenant_storage": "tenant_id", "crops_outdated": "version_id"}  # and their keys
SHOWN = 3  # rows that differ, of each table
GARBAGE = (b"", b"garbage", b"\0\x7f\xff\xff\xff of an unknown schema")


class World(world.World):
    """A world of captions."""

    contract = captions_events
    reads = captions_facts.READS
    variables = {"SYSTEMS": SCHEMA}

    def tables(self):
        """{table: rows} as captions_oracle.expected has them."""
        have = {table: self.rows(f"{SCHEMA}.{table}", ()) for table in captions_oracle.KEYS}
        referred = captions_oracle.tenants_of(have)
        return {table: captions_oracle.comparable(table, rows, referred)
                for table, rows in have.items()}

    def views(self):
        """{view: rows} as captions_oracle.views has them."""
        return {view: self.database.execute(f"SELECT * FROM {SCHEMA}.{view} ORDER BY {key}").fetchall()
                for view, key in VIEWS.items()}

    def settled(self, want, seconds=20):
        """The tables, as soon as they are those wanted: time goes on after the last record."""
        with contextlib.suppress(AssertionError):
            database.wait_until(lambda: self.tables() == want, seconds)
        return self.tables()


class Mixed:
    """Deliveries of some streams, mixed, as records; and what must come of them. more: lists of
    events that are delivered as they are."""

    def __init__(self, streams, schema_ids, seed=0, more=()):
        chance = random.Random(f"mixed {seed}")
        self.timestamps = {key: ms for one in streams for key, ms in one.timestamps.items()}
        self.records, self.events = [], []
        self._names, self._delivered = {}, Counter()
        queues = [iter(one.deliveries(seed)) for one in streams] + [iter(one) for one in more]
        while queues:
            queue = chance.choice(queues)
            event = next(queue, None)
            if event is None:
                queues.remove(queue)
                continue
            self.events.append(event)
            name = topic_of(event), event["event_id"]
            self._add(captions_events.record(event, schema_ids,
                                             timestamp=self.timestamps.get(name)), name)
        for topic in captions_events.TOPICS:
            for number, value in enumerate(GARBAGE):
                self._add(kafka.Record(topic, b"key %d" % number, value), (topic, value))
        self.records += chance.sample(self.records, len(self.records) // 50)
        self._delivered = Counter(self._names[record.topic, record.value]
                                  for record in self.records)

    def _add(self, record, name):
        self._names[record.topic, record.value] = name
        self.records.append(record)

    def expected(self):
        return captions_oracle.expected(self.events, self.timestamps)

    def wrong_letters(self, in_world, consumer):
        """Where the dead letters are not those that they must be: {name: (is, should be)}"""
        bad = captions_facts.dead_letters(self.events)[consumer]
        topics = captions_facts.READS[consumer]
        want = {name: count for name, count in self._delivered.items()
                if name in bad or isinstance(name[1], bytes) and name[0] in topics}
        have = Counter(self._names.get((row["topic"], bytes(row["value"] or b"")), row["message"])
                       for row in in_world.letters(in_world.group(consumer)))
        said = {(topic_of(event), event["event_id"]): event for event in self.events}
        return {name: (have.get(name, 0), want.get(name, 0), said.get(name))
                for name in have.keys() | want.keys() if have.get(name, 0) != want.get(name, 0)}


def report(table, have, want, happened):
    """What differs between the rows of a table, with the events about it."""
    found = oracle.different(have, want, captions_oracle.KEYS[table])
    lines = [f"{table}: {len(found)} of {len(want)} rows differ"] if found else []
    for key, is_there, should_be in found[:SHOWN]:
        lines += [f"--- {', '.join(map(str, key))}", f"is:        {is_there}",
                  f"should be: {should_be}"]
        if is_there and should_be:
            lines += [f"  {name}: {is_there.get(name)!r}, should be {should_be.get(name)!r}"
                      for name in sorted(is_there.keys() | should_be.keys())
                      if is_there.get(name) != should_be.get(name)]
        lines += [f"  {event}" for event in _about(is_there or should_be, happened)]
    return "\n".join(lines)


def _about(row, happened):
    names = {str(row[name]) for name in ("id", "video_id", "flow_run_id", "event_id", "key")
             if row.get(name)}
    once = {event["event_id"]: event for event in happened}.values()
    return sorted((event for event in once if any(name in str(event) for name in names)),
                  key=lambda event: event["emitted_at"])[:40]

# SPDX-License-Identifier: Apache-2.0
"""Runs scenarios through the consumers, in peace or while replicas are killed, and compares what is
in the tables then with what lib.oracle expects."""

import random
from collections import Counter

from lib import database, events, kafka, oracle
from lib.consumers import QUICK
from lib.events import COMMANDS, SESSIONS, TELEMETRY
from lib.feed import Feed

TOPICS_OF = {
    "command-projector": (COMMANDS,),
    "event-recorder": (TELEMETRY,),
    "video-catalog": (COMMANDS, TELEMETRY),
    "watermark-metrics": (COMMANDS, TELEMETRY),
    "session-tracker": (COMMANDS, TELEMETRY, SESSIONS),
}
GARBAGE = (b"", b"garbage", b"\0\0\0", b"\0\x7f\xff\xff\xff of an unknown schema")
SHOWN = 3  # rows that differ, of each table
# What it counts must be what a query finds.
METRICS_QUERY = """
    SELECT date_trunc('hour', created_at, 'UTC') AS bucket_start, method,
        count(*)::bigint AS attempts,
        count(*) FILTER (WHERE success)::bigint AS succeeded,
        count(*) FILTER (WHERE completed_at IS NOT NULL AND NOT success)::bigint AS failed,
        coalesce(sum(input_size_bytes), 0)::bigint AS input_bytes,
        coalesce(sum(output_size_bytes), 0)::bigint AS output_bytes,
        coalesce(sum(processing_time_ms), 0)::bigint AS processing_ms_sum,
        min(processing_time_ms)::bigint AS processing_ms_min,
        max(processing_time_ms)::bigint AS processing_ms_max
    FROM watermark_removals GROUP BY 1, 2"""


class Stream:
    """Deliveries of some scenarios, mixed, as records; and what must come of them.

    garbage: whether there are records that are no events at all."""

    def __init__(self, scenarios, schema_ids, seed=0, garbage=True):
        chance = random.Random(f"stream {seed}")
        self.events = [event for one in scenarios for event in one.events]
        self.timestamps = {key: ms for one in scenarios for key, ms in one.timestamps.items()}
        self.records, self._names = [], {}
        self._delivered = Counter()
        queues = [(one, iter(one.deliveries(seed))) for one in scenarios]
        while queues:
            place = chance.randrange(len(queues))
            one, queue = queues[place]
            event = next(queue, None)
            if event is None:
                del queues[place]
                continue
            record = one.record(event, schema_ids)
            self._add(record, (events.topic_of(event), event["event_id"]))
        if garbage:
            for number, topic in enumerate(events.TOPICS * len(GARBAGE)):
                value = GARBAGE[number // len(events.TOPICS)]
                self._add(kafka.Record(topic, b"key %d" % number, value), (topic, value))

    def _add(self, record, name):
        self._names[record.topic, record.value] = name
        self._delivered[name] += 1
        self.records.append(record)

    def dead_letters(self, consumer):
        """{(topic, event_id or the bytes of garbage): how often it must be a dead letter}"""
        bad = oracle.dead_letters(self.events)[consumer]
        return {name: count for name, count in self._delivered.items()
                if name in bad or isinstance(name[1], bytes) and name[0] in TOPICS_OF[consumer]}

    def refused(self, records):
        """How many letters become of deliveries of events, whatever they are read by."""
        bad = oracle.dead_letters(self.events)
        names = [self._names[record.topic, record.value] for record in records]
        return sum(name in bad[consumer] for name in names for consumer in TOPICS_OF)

    def letters_of(self, world, consumer):
        """The same, of the table."""
        return Counter(self._names.get((row["topic"], bytes(row["value"] or b"")), row["message"])
                       for row in world.letters(world.group(consumer)))

    def expected(self):
        return oracle.expected(self.events, self.timestamps)


# --- to run it -------------------------------------------------------------------------------

def run_in_peace(world, records, consumers=tuple(TOPICS_OF), at_once=True):
    """Publishes all, and runs each consumer until it has caught up: at once, or one by one."""
    world.publish(records)
    started = []
    for name in consumers:
        started.append(world.start(name, "--until-caught-up"))
        if not at_once:
            started[-1].wait(0, 180)
    for consumer in started:
        consumer.wait(0, 180)


def run_with_kills(world, records, seed, replicas=3, rate=2500, between=(0.3, 1.2),
                   deadline=180, consumers=tuple(TOPICS_OF)):
    """Publishes `rate` records a second while replicas are killed and replaced, with seconds
    `between` two kills; how many were. All have caught up then, and still run."""
    chance = random.Random(f"kills {seed}")
    fleet = {(name, number): world.start(name, "--batch-records", "300", **QUICK)
             for name in consumers for number in range(replicas)}
    for consumer in fleet.values():
        consumer.wait_until_ready()
    feed = Feed(records, rate)
    kills = 0
    while not feed.done_within(chance.uniform(*between)):
        victim = chance.choice(sorted(fleet))
        fleet[victim].kill()
        fleet[victim] = world.start(victim[0], "--batch-records", "300", **QUICK)
        kills += 1
    feed.finish()
    wait_for_ends(world, consumers, deadline)
    return kills


def wait_for_ends(world, consumers=tuple(TOPICS_OF), deadline=180):
    for name in consumers:
        database.wait_for_offsets(world.database, world.group(name),
                                  kafka.end_offsets(*world.reads[name]), deadline)


def tables_of(world):
    """{table: rows} of all that the consumers write, as oracle.expected has them."""
    return {table: oracle.in_order(world.rows(table)) for table in oracle.KEYS}


def metrics_by_query(world):
    """The rows of watermark_metrics as watermark_removals has them, without histograms."""
    with world.database.cursor() as cursor:
        return oracle.in_order(cursor.execute(METRICS_QUERY).fetchall())


# --- to compare ------------------------------------------------------------------------------

def report(table, have, want, happened):
    """What differs between the rows of a table, with the events that the rows are about."""
    found = oracle.different(have, want, oracle.KEYS[table])
    lines = [f"{table}: {len(found)} of {len(want)} rows differ"] if found else []
    for key, is_there, should_be in found[:SHOWN]:
        lines += [f"--- {', '.join(map(str, key))}", f"is:        {is_there}",
                  f"should be: {should_be}"]
        if is_there and should_be:
            lines += [f"  {name}: {is_there.get(name)!r}, should be {should_be.get(name)!r}"
                      for name in sorted(is_there.keys() | should_be.keys())
                      if is_there.get(name) != should_be.get(name)]
        lines += [f"  {event}" for event in events_about(is_there or should_be, happened)]
    return "\n".join(lines)


def events_about(row, happened):
    """The events of the row's command; of the other commands that name its paths or its session."""
    names = {str(row[name]) for name in ("command_id", "session_id", "raw_path", "input_path",
                                         "idempotency_key") if row.get(name)}
    return sorted((event for event in happened if any(name in str(event) for name in names)),
                  key=lambda event: (event.get("command_id") or "", event["emitted_at"]))[:60]

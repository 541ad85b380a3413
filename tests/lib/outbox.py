# SPDX-License-Identifier: Apache-2.0
"""An outbox with a topic of its own, sessions that write into it, and what became of their events.

A key's events are numbered 1, 2, 3 … in its guard, whose row the writer locks until its commit: what
is committed has no gaps, and what is rolled back leaves none."""

import contextlib
import functools
import json
import random
import threading
import time
import uuid

import psycopg

from lib import avro, database, kafka, registry
from lib.world import new_database

PROGRAM = "outbox-relay"
SCHEMA = "toy_private"
PARTITIONS = 6
AVRO = json.dumps({"type": "record", "name": "Told", "namespace": "toy", "fields": [
    {"name": "event_id", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "emitted_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "number", "type": "long"},
    {"name": "note", "type": ["null", "string"], "default": None}]})

TABLES = f"""
CREATE SCHEMA {SCHEMA};
SELECT projectionist.create_outbox('{SCHEMA}');
CREATE TABLE {SCHEMA}.guards (key TEXT PRIMARY KEY, number BIGINT NOT NULL DEFAULT 0);
CREATE FUNCTION {SCHEMA}.tell(p_topic TEXT, p_key TEXT, p_count INTEGER) RETURNS SETOF UUID
LANGUAGE plpgsql AS $$
DECLARE
    v_number BIGINT;
BEGIN
    INSERT INTO {SCHEMA}.guards AS g VALUES (p_key, p_count)
    ON CONFLICT (key) DO UPDATE SET number = g.number + p_count RETURNING number INTO v_number;
    RETURN QUERY SELECT {SCHEMA}.emit(p_topic, p_key, jsonb_build_object('number', n))
        FROM generate_series(v_number - p_count + 1, v_number) AS n ORDER BY n;
END;
$$;
"""


_schema = functools.cache(registry.schema)


def decoded(value):
    """The event, by the schema that it was written by."""
    return avro.decode(value, _schema(int.from_bytes(value[1:5], "big")))[1]


class Outbox:
    """dsn, and its topic. `committed` holds the ids of what was, `undone` of what was rolled back."""

    def __init__(self, dsn, topic):
        self.dsn, self.topic = dsn, topic
        self.committed, self.undone = set(), set()

    def connect(self, **options):
        return psycopg.connect(self.dsn, **options)

    def relay(self, consumers, *arguments, **variables):
        return consumers.start(PROGRAM, *arguments,
                               **{"OUTBOX": SCHEMA, "RELAY_ID": self.topic,
                                  "POSTGRES_DSN": self.dsn, **variables})

    def tell(self, connection, key, count=1):
        return {str(row[0]) for row in connection.execute(
            f"SELECT {SCHEMA}.tell(%s, %s, %s)", [self.topic, key, count])}

    def insert(self, connection, topic, key, body, event_id=None):
        """A row as it is; its event_id."""
        event_id = event_id or str(uuid.uuid4())
        connection.execute(f"INSERT INTO {SCHEMA}.outbox (event_id, topic, key, body) "
                           "VALUES (%s, %s, %s, %s)", [event_id, topic, key, json.dumps(body)])
        return event_id

    def count(self, table="outbox"):
        with self.connect() as connection:
            return connection.execute(f"SELECT count(*) FROM {SCHEMA}.{table}").fetchone()[0]

    def failed(self):
        """{event_id: reason}"""
        with self.connect() as connection:
            return dict(connection.execute(
                f"SELECT event_id::text, reason FROM {SCHEMA}.outbox_failed").fetchall())

    def wait_until_empty(self, deadline=60):
        database.wait_until(lambda: self.count() == 0, deadline,
                            lambda: f"{self.count()} rows are still in the outbox",
                            not_yet=(AssertionError, psycopg.OperationalError))

    def published(self, topic=None):
        """[(key, event)] of what is committed in a topic, in the order of each partition, but for
        heartbeats, which have no key."""
        return [(record.key.decode(), decoded(record.value))
                for record in kafka.read(topic or self.topic) if record.key is not None]

    def check(self):
        """All that was committed is there, with its id and in the order of its key; nothing of what
        was rolled back is. How many records came twice."""
        numbers, seen = {}, set()
        records = self.published()
        for key, event in records:
            assert event["event_id"] not in self.undone, f"{event} was rolled back"
            if event["event_id"] in seen:
                continue
            seen.add(event["event_id"])
            numbers.setdefault(key, []).append(event["number"])
        missing = self.committed - seen
        assert not missing, f"{len(missing)} of {len(self.committed)} are not there: {missing}"[:500]
        with self.connect() as connection:
            guards = dict(connection.execute(f"SELECT key, number FROM {SCHEMA}.guards").fetchall())
        for key, found in numbers.items():
            assert found == list(range(1, guards[key] + 1)), f"the order of {key} is {found}"[:500]
        assert numbers.keys() == guards.keys()
        return len(records) - len(seen)


@contextlib.contextmanager
def new_outbox(template):
    topic = f"toy.told-{uuid.uuid4().hex[:12]}"
    with new_database(template=template) as dsn:
        with psycopg.connect(dsn) as connection:
            connection.execute(TABLES)
        registry.register(f"{topic}-value", AVRO)
        kafka.create_topics(topic, partitions=PARTITIONS,
                            config={"max.message.bytes": "1000000"})
        try:
            yield Outbox(dsn, topic)
        finally:
            kafka.delete_topics(topic)


class Writers:
    """Sessions that write until so many rows are committed, in transactions of one to thirty rows
    of one to three keys, of which one in five is rolled back, by itself or by its end. One in forty
    stays open for a second or two while the others go on, with ids that are long behind then."""

    def __init__(self, outbox, rows, sessions, seed, pause=0.0):
        self.outbox, self.left, self.pause = outbox, rows, pause
        self._lock = threading.Lock()
        self._failures = []
        self._threads = [threading.Thread(target=self._run, args=(number, seed), daemon=True)
                         for number in range(sessions)]
        for thread in self._threads:
            thread.start()

    @property
    def working(self):
        return any(thread.is_alive() for thread in self._threads)

    def join(self):
        for thread in self._threads:
            thread.join()
        assert not self._failures, self._failures

    def _run(self, number, seed):
        try:
            self._write(number, random.Random(f"{seed} {number}"))
        except Exception as error:  # raised by join
            self._failures.append(error)

    def _write(self, number, chance):
        with self.outbox.connect() as connection:
            while self.left > 0:
                is_long = chance.random() < 1 / 40
                keys = ([f"own-{number}"] if is_long else
                        sorted(f"key-{n}" for n in chance.sample(range(50), chance.randint(1, 3))))
                ids = set()
                for key in keys:
                    ids |= self.outbox.tell(connection, key, chance.randint(1, 10))
                if is_long:
                    time.sleep(chance.uniform(1, 2))
                if chance.random() < 0.2:
                    connection.rollback()
                    with self._lock:
                        self.outbox.undone |= ids
                    continue
                connection.commit()
                with self._lock:
                    self.outbox.committed |= ids
                    self.left -= len(ids)
                time.sleep(self.pause)

# SPDX-License-Identifier: Apache-2.0
"""A good script of one's own, as tests/bench/peers compares with it: confluent-kafka, fastavro, and
psycopg's COPY into a temporary table, from which rows go where they belong; the offsets are in the same
transaction. usage: script.py telemetry|lifecycles TOPIC"""

import io
import json
import os
import sys
import urllib.request
from datetime import datetime, timedelta, timezone

import fastavro
import psycopg
from confluent_kafka import Consumer, TopicPartition

BATCH = 20_000
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
TERMINAL = ("SUCCEEDED", "FAILED", "CANCELLED", "VERIFIED", "VERIFICATION_FAILED")


def time_of(microseconds):
    return None if microseconds is None else EPOCH + timedelta(microseconds=microseconds)


class Telemetry:
    """A row an event."""

    table = "safari_events"
    columns = ("event_id", "command_id", "correlation_id", "type", "severity", "payload", "cursor",
               "emitted_at", "version", "target")
    conflict = "DO NOTHING"

    @staticmethod
    def rows(events):
        for e in events:
            target = e["target"]
            yield (e["event_id"], e["command_id"], e["correlation_id"], e["type"], e["severity"],
                   e["payload"], e["cursor"], time_of(e["emitted_at"]), e["version"],
                   None if target is None else json.dumps(target))


class Lifecycles:
    """A row a command; as in most scripts, what comes last is what is so."""

    table = "safari_commands"
    columns = ("command_id", "type", "status", "payload", "result", "target", "error_message",
               "idempotency_key", "created_at", "started_at", "completed_at", "correlation_id",
               "requester_service", "requester_instance")
    conflict = "(command_id) DO UPDATE SET type = CASE WHEN excluded.type = 'unknown' THEN c.type " \
               "ELSE excluded.type END, status = CASE WHEN excluded.status = 'QUEUED' THEN c.status " \
               "ELSE excluded.status END, " + ", ".join(
                   f"{name} = coalesce(excluded.{name}, c.{name})" for name in columns[3:])

    @staticmethod
    def rows(events):
        rows = {}
        for e in events:
            at = time_of(e["emitted_at"])
            row = rows.setdefault(e["command_id"], {"command_id": e["command_id"]})
            body = e["body"]
            if "type" in body:
                target = body["target"]
                row |= {"type": body["type"], "payload": body["payload"],
                        "target": None if target is None else json.dumps(target),
                        "idempotency_key": body["idempotency_key"],
                        "correlation_id": body["correlation_id"],
                        "requester_service": body["requester_service"],
                        "requester_instance": body["requester_instance"],
                        "created_at": time_of(body["requested_at"]) or at}
            else:
                row["status"] = body["status"]
                if body["status"] == "RUNNING":
                    row.setdefault("started_at", at)
                elif body["status"] in TERMINAL:
                    row |= {"completed_at": at, "result": body["result"],
                            "error_message": body["error"]}
        for row in rows.values():
            row.setdefault("type", "unknown")
            row.setdefault("status", "QUEUED")
            yield tuple(row.get(name) for name in Lifecycles.columns)


class Schemas:
    """Of writers, by the ids that are in the records."""

    def __init__(self, registry):
        self.registry = registry
        self.known = {}

    def decode(self, value):
        if len(value) < 5 or value[0] != 0:
            raise ValueError("a record is not in the registry's format")
        number = int.from_bytes(value[1:5], "big")
        if number not in self.known:
            with urllib.request.urlopen(f"{self.registry}/schemas/ids/{number}") as answer:
                schema = json.loads(json.load(answer)["schema"])
            self.known[number] = fastavro.parse_schema(plain(schema))
        return fastavro.schemaless_reader(io.BytesIO(value[5:]), self.known[number])


def plain(schema):
    """Without logical types: UUIDs that stay texts and times that stay numbers are quicker."""
    if isinstance(schema, dict):
        return {name: plain(value) for name, value in schema.items() if name != "logicalType"}
    return [plain(item) for item in schema] if isinstance(schema, list) else schema


def main():
    work = {"telemetry": Telemetry, "lifecycles": Lifecycles}[sys.argv[1]]
    topic = sys.argv[2]
    schemas = Schemas(os.environ["PROJECTIONIST_SCHEMA_REGISTRY_URL"])
    db = psycopg.connect(os.environ["PROJECTIONIST_POSTGRES_DSN"])
    cursor = db.cursor()
    names = ", ".join(work.columns)
    cursor.execute("CREATE TABLE IF NOT EXISTS script_offsets (topic text, part int, next_offset bigint, "
                   "PRIMARY KEY (topic, part))")
    cursor.execute(f"CREATE TEMP TABLE stage (LIKE {work.table}) ON COMMIT DELETE ROWS")
    stored = dict(cursor.execute("SELECT part, next_offset FROM script_offsets WHERE topic = %s",
                                 [topic]).fetchall())
    db.commit()
    consumer = Consumer({"bootstrap.servers": os.environ["PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS"],
                         "group.id": "script", "enable.auto.commit": False,
                         "queued.min.messages": 200_000, "auto.offset.reset": "earliest"})
    partitions = consumer.list_topics(topic, 10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, part, stored.get(part, 0)) for part in partitions])
    while True:
        messages = [m for m in consumer.consume(BATCH, 0.5) if m.error() is None]
        if not messages:
            continue
        after = {m.partition(): m.offset() + 1 for m in messages}
        events = [schemas.decode(m.value()) for m in messages]
        with cursor.copy(f"COPY stage ({names}) FROM STDIN") as copy:
            for row in work.rows(events):
                copy.write_row(row)
        cursor.execute(f"INSERT INTO {work.table} AS c ({names}) SELECT {names} FROM stage "
                       f"ON CONFLICT {work.conflict}")
        cursor.executemany("INSERT INTO script_offsets VALUES (%s, %s, %s) ON CONFLICT (topic, part) "
                           "DO UPDATE SET next_offset = excluded.next_offset",
                           [(topic, part, offset) for part, offset in after.items()])
        db.commit()


if __name__ == "__main__":
    main()

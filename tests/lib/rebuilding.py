# SPDX-License-Identifier: Apache-2.0
"""projectionist rebuild and verify in a world: to run them, to break tables behind the consumers'
backs, and to tell what tables hold."""

import contextlib
import json
import uuid

from lib import avro, consumers, database, kafka, scenario, scenario_run
from lib.events import TELEMETRY
from lib.world import open_copy, open_world

EQUAL, DIFFERENT, UNKNOWN = 0, 1, 2  # verify's exit codes
FAILED, USAGE, GAP, RECREATED, FENCED = 1, 2, 3, 4, 5
INTERRUPTED = 130
# For each table: its consumer, its key, a column, and another value for it.
TABLES = {
    "safari_commands": ("command-projector", ("command_id",), "target", """'{"wrong": 1}'"""),
    "projectionist.idempotency_conflicts": ("command-projector", ("idempotency_key", "command_id"),
                                            "kept_by", "gen_random_uuid()"),
    "safari_events": ("event-recorder", ("event_id",), "emitted_at", "emitted_at - interval '1 us'"),
    "safari_videos": ("video-catalog", ("video_id",), "prompt", "'a \"wrong\" prompt'"),
    "watermark_removals": ("watermark-metrics", ("removal_id",), "input_size_bytes", "-7"),
    "watermark_metrics": ("watermark-metrics", ("bucket_start", "method"), "attempts",
                          "attempts + 1"),
    "safari_sessions": ("session-tracker", ("session_id",), "status", "'asleep'"),
}
# Of the same rows whoever derives them when: not when that was, nor what it was read by.
WHEN = (*database.VOLATILE, "due_at", "derived_at")
BOOKS = ("consumer_offsets", "offset_changes", "dead_letters", "rebuilds", "schemas", "migrations",
         "other_sources", "schema_readers", "forgotten_schemas", "accepted_topics", "rules")


def verify(world, consumer, *arguments, code=EQUAL, **variables):
    """What it says as JSON, or where it could not tell, on stderr."""
    result = run(world, "verify", consumer, "--json", *arguments, code=code, **variables)
    return json.loads(result.stdout) if code != UNKNOWN else result.stderr


def rebuild(world, consumer, *arguments, code=0, **variables):
    """What it says as JSON, or where it failed, on stderr. It is not asked, unless for a dry run."""
    sure = () if {"--dry-run", "-n"} & set(arguments) else ("--yes",)
    result = run(world, "rebuild", consumer, "--json", *sure, *arguments, code=code, **variables)
    return json.loads(result.stdout) if code == 0 else result.stderr


def differing_rows(world, names, deadline=consumers.DEADLINE):
    """{consumer: how many rows verify says are wrong}, in their groups of this world."""
    found = {}
    for name in names:
        result = consumers.run("projectionist", "verify", *named(world, name), "--json",
                               variables=world.consumers.variables, deadline=deadline)
        assert result.returncode in (EQUAL, DIFFERENT), result.stderr
        found[name] = json.loads(result.stdout)["differing_rows"]
    return found


def run(world, command, consumer, *arguments, code=0, **variables):
    result = consumers.run("projectionist", command, *named(world, consumer), *arguments,
                           variables={**world.consumers.variables, **variables})
    assert result.returncode == code, result.stdout + result.stderr
    return result


def start(world, command, consumer, *arguments, **variables):
    """In the background; its log has both its outputs."""
    return world.consumers.start("projectionist", command, *named(world, consumer), *arguments,
                                 **variables)


def named(world, consumer):
    return (consumer,) if consumer == "all" else (consumer, "--group", world.group(consumer))


@contextlib.contextmanager
def open_filled(folder, template, seed, commands=120, partitions=2):
    """A world whose tables are full of a scenario with everything in it, dead letters and
    placeholders included; `right` is what they hold. Nobody is connected to its database."""
    with open_world(folder, partitions, template) as world:
        world.use_default_groups()
        stream = scenario_run.Stream([scenario.Scenario(seed=seed, commands=commands)],
                                     world.schema_ids, seed=seed)
        scenario_run.run_in_peace(world, stream.records)
        world.right = tables(world)
        placeholders = world.value("SELECT count(*) FROM safari_commands WHERE placeholder")
        assert placeholders > 0 and world.count("projectionist.idempotency_conflicts") > 2, (
            f"the scenario of seed {seed} has not everything in it")
        world.database.close()
        yield world


@contextlib.contextmanager
def open_broken(filled, folder):
    """A copy of such a world, to be broken."""
    with open_copy(filled, folder) as copy:
        copy.right = filled.right
        yield copy


def assert_right(world):
    """All tables are what they were before anybody broke them, and nothing is left behind."""
    assert differing(tables(world), world.right) == []
    assert traces(world) == []


# --- what there is ---------------------------------------------------------------------------

def tables(world, *, with_books=False, without=WHEN):
    """{table: rows} of all there is; the books (offsets, letters, audits) only where asked for. A
    state from which all was taken back is none: the order of the events decides whether there is
    one, and a rebuild makes none."""
    names = [row["name"] for row in world.database.execute(
        "SELECT CASE WHEN schemaname = 'public' THEN '' ELSE schemaname || '.' END || tablename "
        "AS name FROM pg_tables WHERE schemaname IN ('public', 'projectionist') "
        "AND (%s OR tablename <> ALL (%s)) ORDER BY 1", [with_books, list(BOOKS)])]
    return {name: [row for row in world.rows(name, without) if row.get("facts") != b"\x01\x00"]
            for name in names}


def differing(have, want):
    """The names of the tables that are not the same."""
    return [name for name in want if have[name] != want[name]]


def traces(world):
    """What an attempt leaves behind: schemas and groups."""
    return [row["name"] for row in world.database.execute(
        "SELECT nspname AS name FROM pg_namespace WHERE nspname LIKE 'projectionist\\_%' "
        "UNION SELECT consumer_group FROM projectionist.consumer_offsets "
        "WHERE consumer_group ~ '/(verify|rebuild)$' ORDER BY 1")]


def offsets(world, consumer):
    return world.offsets(world.group(consumer))


def frames_that_came_once():
    """The records of safari.telemetry whose events came only once, by event id."""
    records = {}
    for record in kafka.read(TELEMETRY):
        if record.value and record.value[:1] == b"\0" and len(record.value) > 40:
            _, event = avro.decode(record.value, avro.schema_text(TELEMETRY))
            records.setdefault(event["event_id"], []).append(record)
    return {event: found[0] for event, found in records.items() if len(found) == 1}


def add_letter(world, consumer, record, status="open"):
    """A dead letter of a record, which could be applied now; its id."""
    return world.value(
        "INSERT INTO projectionist.dead_letters (cluster_id, consumer_group, projection, topic, "
        "partition, record_offset, key, value, error_class, message, status, resolved_at) "
        "SELECT cluster_id, consumer_group, %s, topic, partition, %s, %s, %s, 'data', "
        "'refused then', %s, CASE WHEN %s <> 'open' THEN now() END "
        "FROM projectionist.consumer_offsets "
        "WHERE consumer_group = %s AND topic = %s AND partition = %s RETURNING id",
        [consumer, record.offset, record.key, record.value, status, status, world.group(consumer),
         record.topic, record.partition])


# --- to break it -----------------------------------------------------------------------------

class Damage:
    """One row of a table is changed, one is taken away and one is added. Which, and what a
    comparison says of them, is in changed, missing and extra: (key, is, should be)."""

    def __init__(self, world, table):
        self.consumer, self._keys, self.column, wrong = TABLES[table]
        self._world, self._table = world, table
        condition = self._own()
        first, second = self._rows(f"{condition} ORDER BY {', '.join(self._keys)} LIMIT 2")
        self._execute(f"UPDATE {table} SET {self.column} = {wrong} WHERE {self._match(first)}")
        now, = self._rows(self._match(first))
        assert now[self.column] != first[self.column]
        self.changed = (self._key(first), {self.column: now[self.column]},
                        {self.column: first[self.column]})
        self._execute(f"DELETE FROM {table} WHERE {self._match(second)}")
        self.missing = (self._key(second), None, second)
        extra = {**first, **self._new_key()}
        for unique in ("idempotency_key", "placeholder"):
            if unique in extra and unique not in self._keys:
                extra[unique] = None
        self._world.database.execute(
            f"INSERT INTO {table} SELECT * FROM jsonb_populate_record(NULL::{table}, %s)",
            [json.dumps(extra)])
        extra, = self._rows(self._match(extra))
        self.extra = (self._key(extra), extra, None)

    def _own(self):
        """Not of placeholders: they are not the consumer's."""
        return {
            "safari_commands": "placeholder IS NULL",
            "safari_videos": "placeholder IS NULL AND prompt IS NOT NULL",
        }.get(self._table, "true")

    def _new_key(self):
        name = self._keys[0]
        return {name: "2001-02-03T04:00:00+00:00" if name == "bucket_start" else
                "another" if name == "idempotency_key" else str(uuid.uuid4())}

    def _rows(self, condition):
        return [row["row"] for row in self._execute(
            f"SELECT to_jsonb(t) AS row FROM {self._table} AS t WHERE {condition}")]

    def _match(self, row):
        return " AND ".join(f"{name} = '{row[name]}'" for name in self._keys)

    def _key(self, row):
        return {name: row[name] for name in self._keys}

    def _execute(self, query):
        return self._world.database.execute(query)

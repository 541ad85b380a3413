# SPDX-License-Identifier: Apache-2.0
"""A world for one test: a database of its own, topics made anew, and the consumers that work there.

The names of the topics are fixed, so there is one world at a time.
"""

import contextlib
import json
import uuid
from pathlib import Path

import psycopg
from psycopg import conninfo, sql

from lib import consumers, database, events, kafka, scenario_run

PROJECTOR = "command-projector"
RECORDER = "event-recorder"


@contextlib.contextmanager
def new_database(migrated=True, template=None, variables=None):
    """A database that lives as long as the with; its DSN. A migrated one may be the template of
    others, which costs less than to migrate them. variables: for another system than Safari."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    dsn = conninfo.make_conninfo(database.dsn(), dbname=name)
    with psycopg.connect(database.dsn(), autocommit=True) as server:
        original = conninfo.conninfo_to_dict(template)["dbname"] if template else "template1"
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(original)))
    try:
        if migrated and not template:
            result = consumers.run("projectionist", "migrate", variables={"POSTGRES_DSN": dsn,
                                                                        **(variables or {})})
            assert result.returncode == 0, result.stderr
        yield dsn
    finally:
        with psycopg.connect(database.dsn(), autocommit=True) as server:
            database.drop(server, name)


def new_topics(partitions, contract=events):
    """Our topics, made anew."""
    kafka.new_topics(*contract.TOPICS, partitions=partitions)


class World:
    """dsn, database (a connection to it), consumers, and schema_ids by topic. Of another system than
    Safari: with the module of its events as contract, its consumers' topics as reads, and variables
    that name it to all programs."""

    contract = events
    reads = scenario_run.TOPICS_OF
    variables = {}

    def __init__(self, dsn, connection, folder, original=None):
        self.dsn = dsn
        self.database = connection
        self.consumers = consumers.Consumers(Path(folder), {"POSTGRES_DSN": dsn, **self.variables})
        self.schema_ids = original.schema_ids if original else self.contract.register_schemas()
        self._groups = dict(original._groups) if original else {}

    def group(self, name):
        """The group of this world's command-projector or event-recorder."""
        return self._groups.setdefault(name, consumers.Consumers.new_group(name))

    def use_default_groups(self):
        """Its consumers are in the groups that they have by themselves, as `all` expects."""
        self._groups = {name: name for name in self.reads}

    def record(self, event, partition=None):
        return self.contract.record(event, self.schema_ids, partition=partition)

    def publish(self, happened, partition=None):
        """Publishes events (or ready kafka.Records) in order."""
        kafka.produce([item if isinstance(item, kafka.Record) else self.record(item, partition)
                       for item in happened])

    def start(self, name, *arguments, **variables):
        """Starts a consumer in its group of this world; group=… names another."""
        variables.setdefault("group", self.group(name))
        return self.consumers.start(name, *arguments, **variables)

    def catch_up(self, *names, **variables):
        """Runs consumers, one after the other, until they have caught up; both where none is
        named."""
        for name in names or (PROJECTOR, RECORDER):
            variables_of = {"group": self.group(name), **variables}
            self.consumers.catch_up(name, **variables_of)

    def rows(self, table, without=database.VOLATILE):
        return database.table(self.database, table, without)

    def count(self, table):
        return database.count(self.database, table)

    def value(self, query, parameters=None):
        return database.value(self.database, query, parameters)

    def letters(self, group=None):
        """The dead letters, in order of their records."""
        with self.database.cursor() as cursor:
            return cursor.execute(
                "SELECT * FROM projectionist.dead_letters WHERE consumer_group = "
                "coalesce(%s, consumer_group) ORDER BY topic, partition, record_offset",
                [group]).fetchall()

    def offsets(self, group):
        """{(topic, partition): next_offset}, as the database has them."""
        return database.next_offsets(self.database, group)

    def assert_caught_up(self, group, topic):
        """Every partition's offset is its end."""
        assert not database.distances(self.database, group, kafka.end_offsets(topic))

    def wait_for_ends(self, group, topic, deadline=consumers.DEADLINE):
        database.wait_for_offsets(self.database, group, kafka.end_offsets(topic), deadline)

    def status(self):
        """What `projectionist status --json` says: {group: consumer}."""
        result = consumers.run("projectionist", "status", "--json",
                               variables=self.consumers.variables)
        assert result.returncode == 0, result.stderr
        answer = json.loads(result.stdout)
        assert answer["kafka_error"] is None, answer
        return {consumer["group"]: consumer for consumer in answer["consumers"]}

    @contextlib.contextmanager
    def undisturbed(self, names, template, **variables):
        """A connection to a database that lives as long as the with, in which consumers have read
        the same topics in peace."""
        with new_database(template=template) as dsn:
            for name in names:
                self.consumers.catch_up(name, group=consumers.Consumers.new_group(name),
                                        POSTGRES_DSN=dsn, **variables)
            with database.connect(dsn) as connection:
                yield connection

    def close(self):
        try:
            self.consumers.end()
        finally:
            self.database.close()


@contextlib.contextmanager
def open_copy(world, folder):
    """A world with a copy of that one's database, on its topics and in its groups. Nobody may be
    connected to that database."""
    with new_database(template=world.dsn) as dsn:
        copy = World(dsn, database.connect(dsn), folder, world)
        try:
            yield copy
        finally:
            copy.close()


@contextlib.contextmanager
def open_world(folder, partitions=3, template=None, kind=World):
    """A world that lives as long as the with. At its end its consumers must have ended well."""
    with new_database(template=template) as dsn:
        new_topics(partitions, kind.contract)
        world = kind(dsn, database.connect(dsn), folder)
        try:
            yield world
        finally:
            world.close()

# SPDX-License-Identifier: Apache-2.0
"""Environments that share one Kafka by their --topic-prefix, with a database and a schema of tables
each: none sees what the other has. And the names that commands take."""

import json
import uuid

import psycopg
import pytest

from lib import consumers, events, kafka
from lib.recorded import record_to
from lib.world import new_database

PROJECTOR = "command-projector"
SCHEMAS = ("media", "other")
CAPTIONS = ("captions-tenants", "captions-users", "captions-catalog", "search-index",
            "crop-versions", "flow-runs", "object-catalog")
CAPTIONS_TOPICS = tuple(f"captions.{name}" for name in (
    "tenants", "users", "videos", "flows", "objects", "search", "crops", "locks"))


class Environment:
    def __init__(self, dsn, schema):
        self.dsn = dsn
        self.schema = schema
        self.prefix = f"test-{uuid.uuid4().hex[:8]}."
        self.variables = {"POSTGRES_DSN": dsn, "TOPIC_PREFIX": self.prefix, "TABLES_SCHEMA": schema}
        for command in (("migrate", "safari"), ("topics", "create", "safari", "--partitions=2"),
                        ("schemas", "register", "safari")):
            self.run(*command)
        del self.variables["TABLES_SCHEMA"]  # migrate has recorded it

    def run(self, *arguments):
        result = consumers.run("projectionist", *arguments, variables=self.variables)
        assert result.returncode == 0, result
        return result.stdout

    def publish(self, schema_ids, *names):
        commands = [events.id_of("environments", name) for name in names]
        kafka.produce([events.record(events.command_submitted(command), schema_ids,
                                     topic=self.prefix + events.COMMANDS) for command in commands])
        return set(commands)

    def consume(self):
        self.run("consume", PROJECTOR, "--until-caught-up")

    def execute(self, query):
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            return connection.execute(query)

    def commands(self):
        with psycopg.connect(self.dsn) as connection:
            return {str(command) for command, in connection.execute(
                f"SELECT command_id FROM {self.schema}.safari_commands")}

    def end(self):
        kafka.delete_topics(*(self.prefix + name for name in (
            *events.TOPICS, "safari.bridge-cursors", "safari.idempotency-keys",
            "safari.telemetry.dead-letters")))


@pytest.fixture
def environments():
    with new_database(migrated=False) as first, new_database(migrated=False) as second:
        made = [Environment(dsn, schema) for dsn, schema in zip((first, second), SCHEMAS)]
        yield made
        for environment in made:
            environment.end()


def test_two_prefixes_in_one_kafka(environments):
    schema_ids = events.register_schemas()
    told = [environment.publish(schema_ids, *names)
            for environment, names in zip(environments, (("a", "b"), ("b", "c", "d")))]
    for environment, commands in zip(environments, told):
        environment.consume()
        assert environment.commands() == commands
        with psycopg.connect(environment.dsn) as connection:
            assert set(connection.execute("SELECT consumer_group, topic FROM "
                                          "projectionist.consumer_offsets")) == {
                (environment.prefix + PROJECTOR, environment.prefix + events.COMMANDS)}
        environment.run("verify", PROJECTOR)
        status = json.loads(environment.run("status", PROJECTOR, "--json"))
        assert [(consumer["group"], consumer["system"], consumer["lag"])
                for consumer in status["consumers"]] == [
            (environment.prefix + PROJECTOR, "safari", 0)]
    first = environments[0]
    with psycopg.connect(first.dsn, autocommit=True) as connection:
        connection.execute("UPDATE media.safari_commands SET type = 'wrong'")
    rebuilt = json.loads(first.run("rebuild", PROJECTOR, "--yes", "--json"))
    assert (rebuilt["system"], rebuilt["differing_rows"]) == ("safari", 2)
    first.run("verify", PROJECTOR)
    assert [environment.commands() for environment in environments] == told


def test_recordings_under_a_prefix(environments, tmp_path):
    """They are published, and tables rebuilt from them, under the prefix of the environment."""
    schema_ids = events.register_schemas()
    commands = [events.id_of("environments", name) for name in "efg"]
    path = tmp_path / "recording.avro"
    record_to(path, [events.record(events.command_submitted(command), schema_ids)
                     for command in commands], schema_ids)
    published, rebuilt = environments
    result = consumers.run("stream-replay", path, variables=published.variables)
    assert result.returncode == 0, result
    assert sum(kafka.end_offsets(published.prefix + events.COMMANDS).values()) == len(commands)
    published.consume()
    assert published.commands() == set(commands)
    report = json.loads(rebuilt.run("rebuild", PROJECTOR, "--from", path, "--yes", "--json"))
    assert report["outcome"] == "rebuilt" and report["differing_rows"] >= len(commands)
    assert rebuilt.commands() == set(commands)


def test_dead_letters_under_a_prefix(environments):
    environment = environments[0]
    environment.execute("ALTER TABLE media.safari_commands ADD CONSTRAINT none "
                        "CHECK (type <> 'sora.generate')")
    told = environment.publish(events.register_schemas(), "h")
    environment.consume()
    listed = json.loads(environment.run("dead-letters", "list", "--json"))["letters"]
    assert [(letter["system"], letter["projection"], letter["group"], letter["topic"])
            for letter in listed] == [("safari", PROJECTOR, environment.prefix + PROJECTOR,
                                       environment.prefix + events.COMMANDS)]
    environment.execute("ALTER TABLE media.safari_commands DROP CONSTRAINT none")
    replayed = json.loads(environment.run("dead-letters", "replay", "--all", "--yes", "--json"))
    assert replayed["replayed"] == [listed[0]["id"]] and replayed["refused"] == []
    assert environment.commands() == told
    environment.run("verify", PROJECTOR)


@pytest.mark.parametrize("program", ["control-gateway", "telemetry-bridge"])
def test_the_connectors_have_the_prefix_too(program):
    result = consumers.run(program, variables={
        "TOPIC_PREFIX": "nowhere.", "GATEWAY_LISTEN": "127.0.0.1:0"})
    assert result.returncode == 1, result
    assert "Kafka has no topic nowhere.safari." in result.stderr


@pytest.mark.parametrize("program", [
    (PROJECTOR,), ("projectionist", "status"), ("control-gateway",), ("event-ingest",),
    ("telemetry-bridge",),
    ("outbox-relay", "--outbox", "x")])
def test_a_prefix_that_kafka_does_not_take(program):
    result = consumers.run(*program, variables={"TOPIC_PREFIX": "a/b"})
    assert result.returncode == 2, result
    assert "--topic-prefix: 'a/b'" in result.stderr


@pytest.mark.parametrize("arguments, sentence", [
    (("verify", "nothing"), "this program has no system or projection 'nothing'; give safari, "),
    (("rebuild", "video-catalog", "nothing", "--yes"), "no system or projection 'nothing'"),
    (("status", "nothing"), "no system or projection 'nothing'"),
    (("schemas", "register", "nothing"), "no system or projection 'nothing'"),
    (("migrate", "nothing"), "there is no system 'nothing'; there are: engine, safari"),
    (("status", "--systems", "safari,nothing"), "--systems: there is no system 'nothing'; there are safari"),
    (("verify", "safari", "--group", "g"), "--group goes with one PROJECTION"),
    (("consume", "nothing"), "no consumer 'nothing'; there are command-projector, event-recorder"),
    (("consume",), "usage: projectionist consume NAME"),
])
def test_names_that_nobody_has_are_refused(arguments, sentence):
    result = consumers.run("projectionist", *arguments)
    assert result.returncode == 2, result
    assert sentence in result.stderr


@pytest.mark.parametrize("name", ["command-projector", "event-recorder", "video-catalog",
                                  "watermark-metrics", "session-tracker", *CAPTIONS, "drama-catalog",
                                  "drama-jobs", "drama-users", "studio-catalog", "studio-jobs",
                                  "studio-objects", "studio-voices", "render-jobs", "render-storage",
                                  "render-access", "render-metrics"])
def test_a_link_is_the_consumer_of_its_name(name):
    assert consumers.run("projectionist", "consume", name, "--help").stdout == \
        consumers.run(name, "--help").stdout
    assert f"  {name} " in consumers.run("projectionist", "consume", "--help").stdout
    version = consumers.run(name, "--version").stdout
    library = consumers.run("projectionist", "--version").stdout.strip()
    assert version == f"{name} {library.split()[1]} ({library})\n"


def test_a_system_that_the_database_was_never_migrated_for(tmp_path):
    """It is left out where nobody names it, and an error where somebody does."""
    def run(program, *arguments, **variables):
        return consumers.run(program, *arguments,
                             variables={"POSTGRES_DSN": dsn, "SYSTEMS": None, **variables})

    with new_database() as dsn:
        kafka.new_topics(*events.TOPICS, *CAPTIONS_TOPICS, partitions=1)
        status = run("projectionist", "status", "--json")
        assert status.returncode == 0, status
        assert {consumer["system"] for consumer in json.loads(status.stdout)["consumers"]} == {"safari"}
        assert sorted(status.stderr.splitlines()) == [
            f"{system}: not deployed here: projectionist migrate {system}"
            for system in ("captions", "drama", "render", "studio")]
        rebuilt = run("projectionist", "rebuild", "all", "--dry-run")
        assert rebuilt.returncode == 0 and "captions: not deployed here" in rebuilt.stderr, rebuilt
        for arguments, variables in ((("status", "captions"), {}), (("verify", "captions-tenants"), {}),
                                     (("status",), {"SYSTEMS": "safari,captions"})):
            result = run("projectionist", *arguments, **variables)
            assert result.returncode == (2 if "verify" in arguments else 6), result
            assert "captions is not deployed in this database; 'projectionist migrate captions' " \
                "creates its tables" in result.stderr
        consumer = run("captions-tenants", "--until-caught-up", METRICS_ADDRESS="127.0.0.1:0")
        assert consumer.returncode == 6, consumer
        assert "the system captions was never migrated in this database; run `projectionist " \
            "migrate captions`" in consumer.stderr
        names = run("projectionist", "roles", "--to-file", tmp_path / "roles.sql")
        assert names.returncode == 0 and "captions_tenants" in (tmp_path / "roles.sql").read_text()
        migrated = run("projectionist", "migrate", "captions")
        assert migrated.returncode == 0, migrated
        for name in CAPTIONS:
            consumer = run(name, "--until-caught-up", METRICS_ADDRESS="127.0.0.1:0")
            assert consumer.returncode == 0, consumer
        assert sorted(run("projectionist", "status").stderr.splitlines()) == [
            f"{system}: not deployed here: projectionist migrate {system}"
            for system in ("drama", "render", "studio")]
        verified = run("projectionist", "verify", "captions")
        assert verified.returncode == 0, verified
    kafka.delete_topics(*CAPTIONS_TOPICS)

# SPDX-License-Identifier: Apache-2.0
"""A consumer whose author made a mistake ends with one sentence that says so, in a release build:
before anything is read where the declaration tells it, and with nothing written where only its code
does. tests/wrong/main.c has the mistakes, and what each must say."""

import json
import os
import subprocess
from pathlib import Path

import fastavro
import pytest

from lib import consumers, database, kafka, registry
from lib.world import new_database

DECLARATION, DATABASE = 8, 6
TOPIC = "wrong.things"
FOLDER = Path(os.environ.get("PROJECTIONIST_RELEASE_BIN")
              or consumers.REPOSITORY / "build/release/bin")
PROGRAM = FOLDER / "wrong-consumer"
SCHEMA = {"type": "record", "name": "Thing", "fields": [
    {"name": "id", "type": "string"}, {"name": "name", "type": "string"},
    {"name": "count", "type": "long"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}
ID = "0f0e0d0c-0b0a-4009-8807-060504030201"
TABLES = """
    SET search_path = public;
    CREATE TABLE things (id uuid PRIMARY KEY, name text, count int NOT NULL DEFAULT 7, place text,
                         at timestamptz);
    CREATE TABLE things_daily (day timestamptz PRIMARY KEY, things bigint NOT NULL,
                               sizes bigint[] NOT NULL);
    CREATE TABLE notes (id uuid PRIMARY KEY, note text, count int, price numeric);
    CREATE TABLE projectionist.state_wrong_consumer_thing (key uuid PRIMARY KEY,
                                                           facts bytea NOT NULL);
    CREATE TABLE projectionist.state_wrong_consumer_place (key uuid PRIMARY KEY,
                                                           facts bytea NOT NULL);
"""
PUBLIC = ("things", "things_daily", "notes")


def mistakes(when):
    listed = subprocess.run([PROGRAM, "--list"], capture_output=True, text=True, check=True).stdout
    rows = [line.split("\t") for line in listed.splitlines()]
    return [(name, says) for kind, name, says in rows if kind == when]


def encode(count):
    import io
    out = io.BytesIO()
    fastavro.schemaless_writer(out, SCHEMA, {"id": ID, "name": "a thing", "count": count, "at": 1})
    return out.getvalue()


def thing(schema_id, count=1):
    return kafka.Record(topic=TOPIC, key=ID.encode(), partition=0,
                        value=b"\0" + schema_id.to_bytes(4, "big") + encode(count))


@pytest.fixture(scope="module")
def database_of_things(template):
    """A database with the tables, and one record in the topic that no PJ_INT can count."""
    kafka.new_topics(TOPIC, partitions=1)
    schema_id = registry.register(f"{TOPIC}-value", json.dumps(SCHEMA))
    kafka.produce([thing(schema_id, 3_000_000_000)])
    with new_database(template=template) as dsn, database.connect(dsn) as connection:
        connection.execute(TABLES)
        yield dsn, connection


def start(mistake, dsn, folder, number):
    """The consumer with the mistake; it writes to a file, so that many can run at once."""
    log = open(folder / f"{number}.log", "w+", encoding="utf-8")
    return log, subprocess.Popen(
        [PROGRAM, mistake, "--until-caught-up", "--group", f"{folder.name}-{number}",
         "--log-level", "warn"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        env=consumers.environment({"POSTGRES_DSN": dsn}))


def ends(started):
    log, process = started
    code = process.wait(consumers.DEADLINE)
    log.seek(0)
    with log:
        return code, log.read()


def test_there_are_forty_of_them():
    assert len(mistakes("start")) + len(mistakes("run")) >= 40


def test_mistakes_that_the_declaration_tells():
    """Without any server: nothing is asked before."""
    wrong = []
    bare = {name: value for name, value in os.environ.items()
            if not name.startswith(("PROJECTIONIST_", "PG"))}
    for mistake, says in mistakes("start"):
        result = subprocess.run([PROGRAM, mistake], capture_output=True, text=True, env=bare,
                                check=False, timeout=consumers.DEADLINE)
        one_line = result.stderr.count("\n") == 1
        if result.returncode != DECLARATION or says not in result.stderr or not one_line:
            wrong.append((mistake, result.returncode, result.stderr))
    assert not wrong


def test_mistakes_that_only_the_code_makes(database_of_things, tmp_path):
    dsn, connection = database_of_things
    cases = mistakes("run")
    started = [start(mistake, dsn, tmp_path, number)
               for number, (mistake, _) in enumerate(cases)]
    results = [ends(each) for each in started]
    wrong = [(mistake, code, log) for (mistake, says), (code, log) in zip(cases, results)
             if code != DECLARATION or says not in log.replace('\\"', '"')
             or "the code of wrong-consumer is wrong" not in log and "but was given" not in log]
    assert not wrong
    assert [database.count(connection, table) for table in PUBLIC] == [0, 0, 0]
    assert database.count(connection, "projectionist.dead_letters") == 0


def test_records_that_nothing_can_hold(database_of_things, tmp_path):
    """They are dead letters that name the value and the place: it is no mistake of the code."""
    dsn, connection = database_of_things
    for number, (mistake, says) in enumerate(mistakes("letter")):
        code, log = ends(start(mistake, dsn, tmp_path, number))
        assert code == 0, log
        letters = connection.execute("SELECT message FROM projectionist.dead_letters").fetchall()
        assert len(letters) == 1 and says in letters[0]["message"], (mistake, letters, log)
        connection.execute("DELETE FROM projectionist.dead_letters")
        assert [database.count(connection, table) for table in PUBLIC] == [0, 0, 0]


@pytest.mark.parametrize("change,says", [
    ("DROP TABLE notes", "the table notes is not as wrong-consumer needs it"),
    ("ALTER TABLE notes ALTER count TYPE bigint", "its column count is bigint"),
    ("ALTER TABLE notes DROP CONSTRAINT notes_pkey", "its key is declared as (id)"),
    ("ALTER TABLE notes ADD more text NOT NULL", "its column more is NOT NULL without a default"),
    ("DROP TABLE projectionist.state_wrong_consumer_place", "state_wrong_consumer_place"),
    ("ALTER TABLE things ALTER place SET NOT NULL",
     'run ALTER TABLE "things" ALTER COLUMN "place" DROP NOT NULL'),
    ("ALTER TABLE notes DROP note, ADD note text GENERATED ALWAYS AS ('a') STORED",
     "its column note is GENERATED ALWAYS"),
    ("ALTER TABLE notes DROP price, ADD price real", "its column price is real"),
    ("ALTER TABLE notes ALTER note TYPE char(9)", "its column note is character"),
    ("ALTER TABLE things ALTER at TYPE date", "its column at is date"),
])
def test_tables_that_are_not_as_declared(template, tmp_path, change, says):
    kafka.new_topics(TOPIC, partitions=1)
    with new_database(template=template) as dsn:
        with database.connect(dsn) as connection:
            connection.execute(TABLES)
            connection.execute(change)
        code, log = ends(start("none", dsn, tmp_path, 0))
        assert code == DATABASE and says in log.replace('\\"', '"'), log


@pytest.mark.parametrize("change", ["", """
    DROP TABLE things;
    CREATE TABLE things (id uuid PRIMARY KEY, name text, count int NOT NULL DEFAULT 7, place text,
                         at timestamptz) PARTITION BY HASH (id);
    CREATE TABLE things_0 PARTITION OF things FOR VALUES WITH (MODULUS 1, REMAINDER 0)"""],
    ids=["plain", "partitioned"])
def test_a_column_with_a_default_that_is_left_null(template, tmp_path, change):
    """No row that is written gets the default: the table and the code differ, not the records."""
    kafka.new_topics(TOPIC, partitions=1)
    schema_id = registry.register(f"{TOPIC}-value", json.dumps(SCHEMA))
    kafka.produce([thing(schema_id)] * 3)
    with new_database(template=template) as dsn, database.connect(dsn) as connection:
        connection.execute(TABLES + change)
        code, log = ends(start("column with a default left null", dsn, tmp_path, 0))
        assert code == DATABASE, log
        assert 'ALTER TABLE "things" ALTER COLUMN "count" DROP NOT NULL' in log.replace('\\"', '"')
        assert [database.count(connection, table) for table in PUBLIC] == [0, 0, 0]
        assert database.count(connection, "projectionist.dead_letters") == 0
        connection.execute("ALTER TABLE things ALTER count DROP NOT NULL")
        code, log = ends(start("column with a default left null", dsn, tmp_path, 0))
        assert code == 0 and database.count(connection, "things") == 1, log


@pytest.mark.parametrize("narrow,says,wide", [
    ("ALTER TABLE notes ALTER price TYPE numeric(9, 2)",
     "the column price of notes holds 2 digits after the point, and the value has 3",
     "ALTER TABLE notes ALTER price TYPE numeric(9, 3)"),
    ("CREATE DOMAIN whole AS numeric(9); ALTER TABLE notes ALTER price TYPE whole",
     "the column price of notes holds 0 digits after the point, and the value has 3",
     "ALTER TABLE notes ALTER price TYPE numeric"),
    ("ALTER TABLE things ALTER at TYPE timestamptz(2)",
     "the column at of things holds 2 digits of a second, and the value has 3",
     "ALTER TABLE things ALTER at TYPE timestamptz(3)"),
    ("ALTER TABLE notes ALTER note TYPE varchar(7)",
     "the column note of notes holds 7 characters, and the value has 8",
     "ALTER TABLE notes ALTER note TYPE varchar(8)"),
])
def test_values_of_which_a_column_would_keep_less(template, tmp_path, narrow, says, wide):
    """They are dead letters while it does, and whole in the tables when it does not."""
    kafka.new_topics(TOPIC, partitions=1)
    schema_id = registry.register(f"{TOPIC}-value", json.dumps(SCHEMA))
    kafka.produce([thing(schema_id)])
    with new_database(template=template) as dsn, database.connect(dsn) as connection:
        connection.execute(TABLES)
        connection.execute(narrow)
        code, log = ends(start("text that ends in blanks", dsn, tmp_path, 0))
        letters = connection.execute("SELECT message FROM projectionist.dead_letters").fetchall()
        assert code == 0 and len(letters) == 1 and says in letters[0]["message"], (letters, log)
        assert [database.count(connection, table) for table in PUBLIC] == [0, 0, 0]
        connection.execute(wide)
        code, log = ends(start("text that ends in blanks", dsn, tmp_path, 1))
        assert code == 0, log
        row = connection.execute("SELECT note || '|' AS note, price::text, "
                                 "(extract(epoch FROM at) * 1000000)::bigint AS at "
                                 "FROM notes JOIN things USING (id)").fetchone()
        assert row["note"] == "a thing |" and row["at"] == 1000, row
        assert row["price"].startswith("12.345"), row

# SPDX-License-Identifier: Apache-2.0
"""What a server, a database, a role or a DSN sets for its sessions changes nothing of what ours
write, or is refused with a sentence."""

import psycopg
import pytest
from psycopg import conninfo, sql

from cli_support import cli
from lib import consumers, database, events
from lib.consumers import address
from lib.events import SECOND, START
from lib.world import PROJECTOR, RECORDER

DATABASE = 6  # PJ_EXIT_DATABASE
ODD = {
    "standard_conforming_strings": "off", "extra_float_digits": "-15", "array_nulls": "off",
    "transform_null_equals": "on", "bytea_output": "escape", "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard", "TimeZone": "Asia/Kathmandu", "client_encoding": "LATIN1",
    "default_transaction_isolation": "serializable", "row_security": "off",
    "statement_timeout": "500ms", "lock_timeout": "500ms", "idle_session_timeout": "500ms",
    "idle_in_transaction_session_timeout": "500ms", "xmloption": "document",
    "quote_all_identifiers": "on", "synchronous_commit": "off",
    "default_transaction_deferrable": "on",
}


def own_database(world):
    return sql.Identifier(conninfo.conninfo_to_dict(world.dsn)["dbname"])


def as_admin(world, statement, *values):
    """In the world's database."""
    dsn = conninfo.make_conninfo(address("CLUSTER_ADMIN_DSN"),
                                 dbname=conninfo.conninfo_to_dict(world.dsn)["dbname"])
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.SQL(statement).format(*values))


def scenario():
    """Texts, numbers and times that the settings would change."""
    happened = []
    for number in range(6):
        command = events.id_of("settings", number)
        payload = {"prompt": "zwei \\ 'Dachse' €", "x": 0.1 + number, "null": None}
        happened += [
            events.command_submitted(command, START + number, payload=payload,
                                     type="sora.generate.clean"),
            events.status_changed(command, "FAILED", START + SECOND + number, counter=1,
                                  error="\\x41 'quoted' \\ null NULL €"),
            events.telemetry("rate.limited", START + number, command_id=command, payload=payload),
        ]
    return happened


def everything(dsn):
    with database.connect(dsn) as connection:
        return {table: [str(row) for row in database.table(connection, table)] for table in (
            "safari_commands", "safari_events", "safari_videos", "watermark_metrics",
            "projectionist.state_command_projector_command")}


ALL = (PROJECTOR, RECORDER, "video-catalog", "watermark-metrics")


def read_all(world, **variables):
    for name in ALL:
        world.catch_up(name, **variables)
    for name in ALL:
        result = cli("verify", name, "--group", world.group(name),
                     dsn=variables.get("POSTGRES_DSN") or world.dsn)
        assert result.returncode == 0, (name, result.stdout + result.stderr)


@pytest.mark.parametrize("where", ["database", "dsn"])
def test_what_is_set_for_all_changes_no_row(world, template, where):
    world.publish(scenario())
    dsn = world.dsn
    if where == "database":
        for name, value in ODD.items():
            as_admin(world, "ALTER DATABASE {} SET {} = {}", own_database(world),
                     sql.Identifier(name), sql.Literal(value))
    else:
        dsn = conninfo.make_conninfo(dsn, options=" ".join(
            f"-c {name}={value}".replace(", ", ",\\ ") for name, value in ODD.items()))
    read_all(world, POSTGRES_DSN=dsn)
    as_admin(world, "ALTER DATABASE {} RESET ALL", own_database(world))
    assert world.value("SELECT min(error_message) FROM safari_commands") == (
        "\\x41 'quoted' \\ null NULL €")
    with world.undisturbed(ALL, template) as reference:
        assert everything(world.dsn) == everything(conninfo.make_conninfo(
            world.dsn, dbname=reference.info.dbname))


def test_without_triggers_and_foreign_keys_nothing_is_written(world):
    """Only a superuser may set that, and only one may set it back."""
    world.publish(scenario())
    as_admin(world, "ALTER DATABASE {} SET session_replication_role = 'replica'",
             own_database(world))
    consumer = world.start(PROJECTOR, "--until-caught-up")
    consumer.wait(DATABASE)
    assert consumer.logged("session_replication_role is replica", "RESET"), consumer.tail
    assert cli("status", dsn=world.dsn).returncode == DATABASE


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_text_is_refused(encoding):
    name = f"test_{encoding.lower()}"
    own = sql.Identifier(name)
    dsn = conninfo.make_conninfo(database.dsn(), dbname=name)
    with psycopg.connect(database.dsn(), autocommit=True) as server:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(own))
        server.execute(sql.SQL("CREATE DATABASE {} ENCODING {} LOCALE 'C' TEMPLATE template0")
                       .format(own, sql.Literal(encoding)))
        try:
            result = cli("migrate", dsn=dsn)
            assert result.returncode == DATABASE, result
            assert encoding in result.stderr and "ENCODING 'UTF8'" in result.stderr
            result = consumers.run(PROJECTOR, "--until-caught-up",
                                   variables={"POSTGRES_DSN": dsn})
            assert result.returncode == DATABASE, result
            assert encoding in result.stderr
        finally:
            database.drop(server, name)


def test_a_table_of_the_same_name_elsewhere_in_the_search_path_is_not_touched(world):
    world.publish(scenario())
    world.database.execute("CREATE SCHEMA other; "
                           "CREATE TABLE other.safari_commands (LIKE safari_commands "
                           "INCLUDING ALL)")
    as_admin(world, "ALTER DATABASE {} SET search_path = other, public", own_database(world))
    world.catch_up(PROJECTOR)
    assert world.value("SELECT count(*) FROM other.safari_commands") == 0
    assert world.value("SELECT count(*) FROM public.safari_commands") > 0


def test_a_table_that_is_not_in_the_schema_of_the_tables_is_refused(world):
    """Also where the search_path finds it elsewhere: that is another environment's."""
    world.publish(scenario())
    world.database.execute("CREATE SCHEMA other")
    consumer = world.start(PROJECTOR, "--until-caught-up", "--tables-schema", "other")
    consumer.wait(DATABASE)
    assert consumer.logged("safari_commands", "is in the schema public, not in other"), consumer.tail
    assert world.count("safari_commands") == 0


def test_a_partitioned_table_is_one_like_any_other(world):
    """Also where a partition has a trigger of its own that holds rows back."""
    world.database.execute("""
        DROP VIEW safari_events_enriched;
        ALTER TABLE safari_events RENAME TO old_events;
        CREATE TABLE public.safari_events (LIKE old_events INCLUDING DEFAULTS, PRIMARY KEY (event_id),
            FOREIGN KEY (command_id) REFERENCES safari_commands ON DELETE SET NULL)
            PARTITION BY HASH (event_id);
        CREATE TABLE public.events_0 PARTITION OF safari_events FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE public.events_1 PARTITION OF safari_events FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        """)
    frames = [events.telemetry("rate.limited", START + number, payload={"n": number})
              for number in range(300)]
    world.publish(frames[:20])
    world.catch_up(PROJECTOR, RECORDER)
    world.publish(frames + frames[:3], partition=0)
    world.catch_up(RECORDER)
    assert world.count("safari_events") == 300
    group = ("--group", world.group(RECORDER))
    assert cli("verify", RECORDER, *group, dsn=world.dsn).returncode == 0
    world.database.execute("DELETE FROM safari_events WHERE (payload->>'n')::int < 10")
    assert cli("rebuild", RECORDER, "--yes", *group, dsn=world.dsn).returncode == 0
    assert world.count("safari_events") == 300
    world.database.execute("""
        CREATE FUNCTION hold_back() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER holds BEFORE INSERT ON events_1 FOR EACH ROW
            EXECUTE FUNCTION hold_back()""")
    world.publish([events.telemetry("rate.limited", START - number, payload={"n": number})
                   for number in range(1, 30)])
    consumer = world.start(RECORDER, "--until-caught-up")
    consumer.wait(DATABASE)
    assert consumer.logged("public.safari_events", "of an INSERT", "(holds)"), consumer.tail


def test_parents_in_partitioned_tables_have_their_placeholders(world):
    """The videos that removals refer to, and the commands that frames do."""
    world.database.execute("""
        DROP VIEW safari_events_enriched, safari_command_performance, watermark_free_videos CASCADE;
        DO $$
        DECLARE
            parent TEXT[];
            reference RECORD;
            again TEXT[] := '{}';
            statement TEXT;
        BEGIN
            FOREACH parent SLICE 1 IN ARRAY ARRAY[['safari_commands', 'command_id'],
                                                  ['safari_videos', 'video_id']] LOOP
                FOR reference IN SELECT conrelid::regclass AS child, conname AS name,
                        pg_get_constraintdef(oid) AS text FROM pg_constraint
                        WHERE contype = 'f' AND confrelid = parent[1]::regclass LOOP
                    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', reference.child,
                                   reference.name);
                    IF reference.child <> 'safari_videos'::regclass OR parent[1] = 'safari_videos' THEN
                        again := again || format('ALTER TABLE %s ADD %s', reference.child,
                                                 reference.text);
                    END IF;
                END LOOP;
                EXECUTE format('ALTER TABLE %1$I RENAME TO old_%1$s; CREATE TABLE public.%1$I (LIKE '
                    'old_%1$s INCLUDING DEFAULTS, PRIMARY KEY (%2$s)) PARTITION BY HASH (%2$s); '
                    'CREATE TABLE public.%1$s_0 PARTITION OF %1$I FOR VALUES WITH (MODULUS 1, '
                    'REMAINDER 0)', parent[1], parent[2]);
            END LOOP;
            FOREACH statement IN ARRAY again LOOP
                EXECUTE statement;
            END LOOP;
        END $$""")
    command = events.id_of("partitioned", 1)
    world.publish([
        events.command_submitted(command, type="sora.generate.clean"),
        events.telemetry("action.attempted", START + SECOND, command_id=command, counter=1,
                         payload={"action": "WATERMARK_REMOVAL", "input_path": "/raw/1"}),
        events.status_changed(command, "SUCCEEDED", START + 2 * SECOND, counter=2,
                              result={"video_path": "/raw/1", "cleaned_path": "/clean/1"})])
    world.use_default_groups()
    for name, table in ((RECORDER, "safari_events"), ("watermark-metrics", "watermark_removals"),
                        ("video-catalog", "safari_videos"), (PROJECTOR, "safari_commands")):
        world.catch_up(name)
        assert world.count(table) == 1, name
    assert world.value("SELECT count(*) FROM safari_videos WHERE placeholder") == 0
    assert world.letters() == []
    for name in (RECORDER, "watermark-metrics", "video-catalog", PROJECTOR):
        verified = cli("verify", name, dsn=world.dsn)
        assert verified.returncode == 0, verified

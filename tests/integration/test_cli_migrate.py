# SPDX-License-Identifier: Apache-2.0
"""projectionist migrate, and what its files make, against a real Postgres."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql

from cli_support import ADMIN_WAIT, cli, finish, start
from lib.consumers import REPOSITORY, address
from lib.database import wait_until
from lib.world import new_database

USAGE, DATABASE = 2, 6
SQL = REPOSITORY / "deploy/sql"
FILES = [f"{system}/{path.name}" for system in ("engine", "safari")
         for path in sorted((SQL / system).glob("[0-9]*.sql"))]
ENGINE_FILES = [name for name in FILES if name.startswith("engine/")]
NEWEST = [ENGINE_FILES[-1], FILES[-1]]
SEED = (Path(__file__).parent / "test_cli_seed.sql").read_text()
LOCK = 8102082571640042606


@pytest.fixture
def database():
    with new_database(migrated=False) as dsn:
        yield dsn


@pytest.fixture
def folder(tmp_path):
    """A copy of deploy/sql that may be changed."""
    return shutil.copytree(SQL, tmp_path / "sql")


def rows(dsn, query, *parameters):
    with psycopg.connect(dsn) as connection:
        return connection.execute(query, parameters).fetchall()


def execute(dsn, script):
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(script)


def applied(dsn):
    return [name for (name,) in
            rows(dsn, "SELECT system || '/' || name FROM projectionist.migrations "
                      "ORDER BY system, number")]


# --- what the seed's tables are -----------------------------------------------------------------

DESCRIPTIONS = {
    "columns": """
        SELECT table_name, ordinal_position, column_name, data_type, character_maximum_length,
            is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'public'""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid)
        FROM pg_trigger WHERE NOT tgisinternal""",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'",
    "comments": """
        SELECT c.relname, d.description FROM pg_description AS d JOIN pg_class AS c ON
        c.oid = d.objoid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass
        WHERE c.relnamespace = 'public'::regnamespace""",
}

ADDED_COLUMNS = {("safari_commands", "correlation_id"), ("safari_commands", "requester_service"),
                 ("safari_commands", "requester_instance"), ("safari_commands", "placeholder"),
                 ("safari_events", "version"), ("safari_events", "target"),
                 ("safari_videos", "placeholder"), ("safari_sessions", "last_activity_at")}
# What is new altogether.
ADDED = re.compile(r"^(safari_events_enriched|watermark_metrics.*)$")


def describe(dsn):
    return {what: set(rows(dsn, query)) for what, query in DESCRIPTIONS.items()}


def without_additions(description):
    """Also checks that an addition is nullable, has no default and comes after the seed's."""
    added = [row for row in description["columns"] if (row[0], row[2]) in ADDED_COLUMNS]
    assert len(added) == len(ADDED_COLUMNS)
    assert all(row[5] == "YES" and row[6] is None for row in added)
    return {what: {row for row in found if not ADDED.match(row[0]) and row not in added}
            for what, found in description.items()}


def test_a_fresh_database_gets_exactly_the_seeds_tables(database):
    with new_database(migrated=False) as seeded:
        execute(seeded, SEED)
        expected = describe(seeded)
    assert len(expected["indexes"]) == 22 and len(expected["comments"]) == 5
    result = cli("migrate", dsn=database)
    assert result.returncode == 0, result
    found = without_additions(describe(database))
    for what in DESCRIPTIONS:
        assert found[what] == expected[what], what


def test_a_database_with_the_seeds_tables_keeps_them_and_their_rows(database):
    execute(database, SEED)
    expected = describe(database)
    execute(database, """
        INSERT INTO safari_commands (command_id, type, payload, idempotency_key) VALUES
            ('11111111-1111-1111-1111-111111111111', 'sora.generate', '{"prompt": "a"}', 'k');
        INSERT INTO safari_videos (command_id, prompt)
            SELECT command_id, 'a' FROM safari_commands;
        INSERT INTO watermark_removals (video_id, command_id, input_path)
            SELECT video_id, command_id, '/a' FROM safari_videos;
        INSERT INTO safari_events (command_id, type, cursor, emitted_at)
            SELECT command_id, 'x', '1-1', now() FROM safari_commands;
        INSERT INTO safari_sessions (platform) VALUES ('sora');""")
    tables = ("safari_commands", "safari_videos", "watermark_removals", "safari_events",
              "safari_sessions")
    before = {table: rows(database, f"SELECT to_jsonb(t) FROM {table} AS t") for table in tables}
    result = cli("migrate", dsn=database)
    assert result.returncode == 0, result
    found = without_additions(describe(database))
    for what in DESCRIPTIONS:
        assert found[what] == expected[what], what
    for table in tables:
        (after,), = rows(database, f"SELECT to_jsonb(t) FROM {table} AS t")
        (old,), = before[table]
        assert {key: value for key, value in after.items() if key in old} == old
        assert all(value is None for key, value in after.items() if key not in old)


def test_a_database_with_a_function_and_an_extension_of_its_own_keeps_them(database):
    """As on Supabase, where the extension is elsewhere and other tables use the function."""
    execute(database, """
        CREATE SCHEMA extensions;
        CREATE EXTENSION "uuid-ossp" SCHEMA extensions;
        CREATE FUNCTION update_updated_at_column() RETURNS TRIGGER LANGUAGE plpgsql AS
            $$BEGIN NEW.updated_at = '2001-01-01'; RETURN NEW; END$$;""")
    dsn = conninfo.make_conninfo(database, options="-c search_path=public,extensions")
    result = cli("migrate", dsn=dsn)
    assert result.returncode == 0, result
    assert rows(dsn, """
        INSERT INTO safari_sessions (platform) VALUES ('sora') RETURNING status""") == [("active",)]
    assert rows(dsn, """
        UPDATE safari_sessions SET platform = 'x' RETURNING updated_at::date::text""") == [
            ("2001-01-01",)]


@pytest.mark.parametrize("order", [["all"], ["render", "safari"], ["safari", "render"]], ids=" ".join)
def test_systems_share_an_extension_whichever_of_them_made_it(database, order):
    for system in order:
        result = cli("migrate", *([] if system == "all" else [system]), dsn=database,
                     without=["SYSTEMS"])
        assert result.returncode == 0, result
    assert len(rows(database, "INSERT INTO safari_sessions (platform) VALUES ('sora') "
                              "RETURNING session_id")) == 1


def test_the_tables_are_never_made_in_our_own_schema(database):
    """Which comes first in the search_path of a role of that name, and goes first when it goes."""
    assert cli("migrate", "--postgres.options=-csearch_path=projectionist,public",
               dsn=database).returncode == 0
    assert rows(database, """
        SELECT DISTINCT schemaname FROM pg_tables
        WHERE tablename ~ '^(safari|watermark_removals)'""") == [("public",)]


def test_the_tables_are_made_in_the_systems_schema_whatever_the_search_path_says(database):
    execute(database, "CREATE SCHEMA media")
    assert cli("migrate", "--postgres.options=-csearch_path=media,public",
               dsn=database).returncode == 0
    assert rows(database, """
        SELECT DISTINCT schemaname FROM pg_tables
        WHERE tablename ~ '^(safari|watermark_removals)'""") == [("public",)]


def test_what_a_person_would_query_has_a_comment(database):
    assert cli("migrate", dsn=database).returncode == 0
    assert rows(database, """
        SELECT relname FROM pg_class WHERE relnamespace = 'projectionist'::regnamespace
            AND relkind IN ('r', 'v') AND obj_description(oid, 'pg_class') IS NULL
        UNION ALL
        SELECT proname FROM pg_proc WHERE pronamespace = 'projectionist'::regnamespace
            AND obj_description(oid, 'pg_proc') IS NULL""") == []


def tables_of(dsn, schema):
    return {name for (name,) in rows(
        dsn, "SELECT tablename FROM pg_tables WHERE schemaname = %s", schema)}


SAFARI_TABLES = {"safari_commands", "safari_videos", "watermark_removals", "safari_events",
                 "safari_sessions", "watermark_metrics", "watermark_metrics_times"}


def test_the_tables_are_made_in_the_schema_that_is_named(database):
    """Which is created where it is not there; what is already in another one does not matter."""
    execute(database, "CREATE TABLE safari_videos (id INTEGER)")
    for _ in range(2):
        result = cli("migrate", "--tables-schema", "Media, Poster", dsn=database)
        assert result.returncode == 0, result
    assert tables_of(database, "Media, Poster") == SAFARI_TABLES
    assert tables_of(database, "public") == {"safari_videos"}
    result = cli("migrate", "--tables-schema=other", dsn=database)
    assert result.returncode == DATABASE, result
    assert "of safari are in the schema Media, Poster of this database" in result.stderr
    assert result.stderr.count("\n") == 1
    # It need not be said again.
    again = cli("migrate", dsn=database)
    assert again.returncode == 0 and again.stdout.startswith("nothing to do"), again
    assert tables_of(database, "public") == {"safari_videos"} and tables_of(database, "other") == set()


def test_the_engines_schema_is_not_for_tables(database):
    result = cli("migrate", "--tables-schema", "projectionist", dsn=database)
    assert result.returncode == USAGE
    assert "the engine's own schema" in result.stderr and result.stderr.count("\n") == 1
    assert rows(database, "SELECT FROM pg_namespace WHERE nspname = 'projectionist'") == []


@pytest.mark.parametrize("existing, sentence", [
    ("CREATE TABLE safari_videos (id BIGINT, title TEXT)",
     "public.safari_videos (it has no column video_id)"),
    ("CREATE TABLE safari_commands (command_id TEXT)",
     "public.safari_commands (its column command_id is text instead of uuid)"),
    ("CREATE TABLE safari_sessions (session_id UUID, platform VARCHAR(20))",
     "public.safari_sessions (its column platform is character varying(20) instead of "
     "character varying(50))"),
    ("CREATE VIEW safari_events AS SELECT 1", "public.safari_events (it is not a table)"),
    # Of a later file.
    ("CREATE TABLE watermark_metrics (at TIMESTAMPTZ)",
     "public.watermark_metrics (it has no column bucket_start)"),
    # A column that a later file would add.
    (SEED + "ALTER TABLE safari_events ADD COLUMN target TEXT",
     "public.safari_events (its column target is text instead of jsonb)"),
])
def test_a_table_of_the_same_name_with_other_columns_is_refused(database, existing, sentence):
    execute(database, existing)
    before = describe(database)
    first = FILES[len(ENGINE_FILES)]
    for option, words in (("--dry-run", "would not be applied"), ("--json", "was not applied")):
        result = cli("migrate", option, dsn=database)
        assert result.returncode == DATABASE, result
        assert f"{first} {words}" in result.stderr
        assert sentence in result.stderr and "--tables-schema" in result.stderr
        assert result.stderr.count("\n") == 1 and result.stdout == ""
        assert describe(database) == before
        if option == "--dry-run":
            assert rows(database, "SELECT FROM pg_namespace WHERE nspname = 'projectionist'") == []
    assert applied(database) == ENGINE_FILES
    # As it says.
    assert cli("migrate", "--tables-schema", "safari", dsn=database).returncode == 0
    assert tables_of(database, "safari") == SAFARI_TABLES


def test_columns_of_its_own_do_not_make_a_table_another_one(database):
    execute(database, SEED)
    execute(database, "ALTER TABLE safari_videos ADD COLUMN notes TEXT; "
                      "ALTER TABLE safari_events ADD COLUMN target JSONB")
    result = cli("migrate", dsn=database)
    assert result.returncode == 0, result


# --- applying -----------------------------------------------------------------------------------


def test_every_file_is_applied_once(database):
    first = cli("migrate", dsn=database)
    assert first.returncode == 0, first
    lines = first.stdout.splitlines()
    assert [re.fullmatch(r"applied (\S+) \(\d+ ms\)", line)[1] for line in lines[:-1]] == FILES
    assert lines[-1] == f"the database is at {', '.join(NEWEST)}"
    before = rows(database, "SELECT * FROM projectionist.migrations ORDER BY system, number")
    assert [(system, number, name) for system, number, name, *_ in before] == [
        (system, int(name[:4]), name) for system, name in (path.split("/") for path in FILES)]
    second = cli("migrate", dsn=database)
    assert second.returncode == 0, second
    assert second.stdout == f"nothing to do: the database is at {', '.join(NEWEST)}\n"
    assert rows(database, "SELECT * FROM projectionist.migrations "
                          "ORDER BY system, number") == before


def test_json(database):
    first = json.loads(cli("migrate", "--json", dsn=database).stdout)
    assert first == {"dry_run": False, "applied": FILES, "already_applied": 0, "newest": NEWEST}
    second = json.loads(cli("migrate", "--json", dsn=database).stdout)
    assert second == {"dry_run": False, "applied": [], "already_applied": len(FILES),
                      "newest": NEWEST}


def test_a_dry_run_changes_nothing(database):
    result = cli("migrate", "--dry-run", dsn=database)
    assert result.returncode == 0, result
    assert [line for line in result.stdout.splitlines() if line.startswith("would")] == [
        f"would apply {name}" for name in FILES]
    assert rows(database, "SELECT nspname FROM pg_namespace WHERE nspname = 'projectionist'") == []
    assert rows(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert json.loads(cli("migrate", "-n", "--json", dsn=database).stdout)["pending"] == FILES


def test_several_at_once_apply_every_file_once(database):
    processes = [start("migrate", "--json", dsn=database) for _ in range(4)]
    results = [finish(process) for process in processes]
    assert [result.returncode for result in results] == [0] * 4, results
    done = [name for result in results for name in json.loads(result.stdout)["applied"]]
    assert sorted(done) == FILES
    assert applied(database) == FILES


def test_the_second_waits_for_the_first_and_finds_nothing_to_do(database):
    assert cli("migrate", dsn=database).returncode == 0
    # As if the first were in the middle of the last file: not committed, its lock held.
    with psycopg.connect(database) as first:
        execute(database, "DELETE FROM projectionist.migrations "
                          f"WHERE system || '/' || name = '{FILES[-1]}'")
        first.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        system, name = FILES[-1].split("/")
        first.execute("INSERT INTO projectionist.migrations (system, number, name, checksum) "
                      "VALUES (%s, %s, %s, 'x')", (system, int(name[:4]), name))
        second = start("migrate", "--json", dsn=database)
        wait_until(lambda: rows(database, """
            SELECT FROM pg_locks JOIN pg_database AS d ON d.oid = database
            WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"""),
            message="the second does not wait")
        assert second.poll() is None
        first.commit()
        result = finish(second)
    assert result.returncode == 0, result
    assert json.loads(result.stdout)["applied"] == []


def test_a_changed_file_is_an_error_that_names_it(database, folder):
    assert cli("migrate", "--directory", folder, dsn=database).returncode == 0
    with (folder / FILES[1]).open("a") as file:
        file.write("-- changed\n")
    (folder / "safari/9000_later.sql").write_text("CREATE TABLE later ();\n")
    result = cli("migrate", "--directory", folder, dsn=database)
    assert result.returncode == DATABASE
    assert f"{FILES[1]} has changed since it was applied" in result.stderr
    assert result.stdout == "" and result.stderr.count("\n") == 1
    assert rows(database, "SELECT to_regclass('later')") == [(None,)]


def test_the_built_in_files_are_those_of_the_folder(database, folder):
    assert cli("migrate", dsn=database).returncode == 0
    result = cli("migrate", "--directory", folder, dsn=database)
    assert result.stdout == f"nothing to do: the database is at {', '.join(NEWEST)}\n", result


def test_only_the_systems_named_are_applied_after_the_engine(database, folder):
    result = cli("migrate", "engine", dsn=database)
    assert result.returncode == 0, result
    assert applied(database) == ENGINE_FILES and tables_of(database, "public") == set()
    (folder / "other").mkdir()
    (folder / "other/0001_other.sql").write_text("CREATE TABLE other ();\n")
    result = cli("migrate", "other", "--directory", folder, "--json", dsn=database)
    assert json.loads(result.stdout) == {
        "dry_run": False, "applied": ["other/0001_other.sql"],
        "already_applied": len(ENGINE_FILES), "newest": [NEWEST[0], "other/0001_other.sql"]}
    assert tables_of(database, "public") == {"other"}
    # A system that this program does not know is that of another one.
    result = cli("migrate", "safari", dsn=database)
    assert result.returncode == 0, result
    assert sorted(applied(database)) == sorted([*FILES, "other/0001_other.sql"])


def test_an_unknown_system_is_exit_code_2(database):
    result = cli("migrate", "safari", "sofari", dsn=database)
    assert result.returncode == USAGE
    assert "there is no system 'sofari'; there are: engine, safari" in result.stderr
    assert rows(database, "SELECT FROM pg_namespace WHERE nspname = 'projectionist'") == []


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)])
def test_an_account_without_systems_is_refused_with_the_remedy(database, arguments):
    """That of a version before the baselines."""
    execute(database, """
        CREATE SCHEMA projectionist;
        CREATE TABLE projectionist.migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL,
            checksum TEXT NOT NULL, applied_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp());
        INSERT INTO projectionist.migrations VALUES (0, '0000_migrations.sql', 'x');""")
    result = cli("migrate", *arguments, dsn=database)
    assert result.returncode == DATABASE, result
    assert "DROP SCHEMA projectionist CASCADE" in result.stderr
    assert result.stderr.count("\n") == 1 and result.stdout == ""
    assert rows(database, "SELECT name FROM projectionist.migrations") == [("0000_migrations.sql",)]
    assert tables_of(database, "projectionist") == {"migrations"}
    assert tables_of(database, "public") == set()


def test_a_newer_database_is_an_error(database, folder):
    (folder / "safari/9000_later.sql").write_text("CREATE TABLE later ();\n")
    assert cli("migrate", "--directory", folder, dsn=database).returncode == 0
    result = cli("migrate", dsn=database)
    assert result.returncode == DATABASE
    assert "safari/9000_later.sql, which is newer" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_file_that_fails_leaves_nothing_and_can_be_mended(database, folder):
    broken = folder / "safari/9000_broken.sql"
    broken.write_text("CREATE TABLE half ();\nSELECT 1 / 0;\n")
    (folder / "safari/9001_after.sql").write_text("CREATE TABLE after ();\n")
    result = cli("migrate", "--directory", folder, dsn=database)
    assert result.returncode == DATABASE, result
    assert "safari/9000_broken.sql was not applied" in result.stderr and "division by zero" in result.stderr
    assert result.stderr.count("\n") == 1
    assert applied(database) == FILES
    assert rows(database, "SELECT to_regclass('half'), to_regclass('after')") == [(None, None)]
    broken.write_text("CREATE TABLE half ();\n")
    assert cli("migrate", "--directory", folder, dsn=database).returncode == 0
    assert applied(database) == FILES + ["safari/9000_broken.sql", "safari/9001_after.sql"]


@pytest.mark.parametrize("change, sentence", [
    (lambda folder: (folder / "engine/0001_migrations.sql").unlink(), "no engine/0001_"),
    (lambda folder: (folder / "safari/0001_again.sql").write_text("SELECT 1;"), "same number"),
    (lambda folder: (folder / "safari/9000_empty.sql").write_text(""), "9000_empty.sql"),
    (lambda folder: (folder / "safari/9000_long.sql").write_text(" " * (4 << 20) + ";"),
     "9000_long.sql: it is longer than 4 MiB"),
])
def test_a_wrong_folder_is_exit_code_2(database, folder, change, sentence):
    change(folder)
    result = cli("migrate", "--directory", folder, dsn=database)
    assert result.returncode == USAGE
    assert sentence in result.stderr and result.stderr.count("\n") == 1
    assert rows(database, "SELECT nspname FROM pg_namespace WHERE nspname = 'projectionist'") == []


def test_a_missing_right_names_it(database):
    """Somebody who may connect but make nothing."""
    role = conninfo.conninfo_to_dict(database)["dbname"]
    admin = address("CLUSTER_ADMIN_DSN")
    with psycopg.connect(admin, autocommit=True) as connection:
        name = sql.Identifier(f"cli_reader_{role}")
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'reader'").format(name))
        try:
            dsn = conninfo.make_conninfo(database, user=f"cli_reader_{role}", password="reader")
            result = cli("migrate", dsn=dsn)
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(name))
    assert result.returncode == DATABASE
    assert "permission denied" in result.stderr and result.stderr.count("\n") == 1


# --- what the functions and the view do ---------------------------------------------------------


@pytest.fixture(scope="module")
def migrated():
    with new_database(migrated=False) as dsn:
        assert cli("migrate", dsn=dsn).returncode == 0
        yield dsn


@pytest.fixture
def connection(migrated):
    """Whose work is rolled back."""
    with psycopg.connect(migrated) as connection:
        yield connection
        connection.rollback()


def take(connection, owner, topics, partitions, starts):
    return connection.execute(
        "SELECT topic, partition, next_offset, epoch FROM projectionist.claim_partitions("
        "'c', 'g', %s, %s, %s::int[], %s::bigint[])", (owner, topics, partitions, starts)).fetchall()


def advance(connection, topics, partitions, epochs, expected, following, times=None):
    connection.execute(
        "SELECT projectionist.advance_offsets('c', 'g', %s, %s::int[], %s::bigint[], %s::bigint[],"
        " %s::bigint[], %s::timestamptz[])",
        (topics, partitions, epochs, expected, following, times or [None] * len(topics)))


def test_taking_partitions_raises_the_epoch_and_keeps_the_offset(connection):
    assert take(connection, "one", ["b", "a"], [0, 1], [5, 6]) == [("a", 1, 6, 1), ("b", 0, 5, 1)]
    advance(connection, ["b"], [0], [1], [5], [9])
    assert take(connection, "two", ["b"], [0], [5]) == [("b", 0, 9, 2)]
    assert connection.execute(
        "SELECT owner, start_offset FROM projectionist.consumer_offsets WHERE topic = 'b'"
    ).fetchall() == [("two", 5)]


def test_offsets_advance_all_or_none(connection):
    take(connection, "one", ["t", "t"], [0, 1], [0, 0])
    with pytest.raises(psycopg.Error) as raised, connection.transaction():
        advance(connection, ["t", "t"], [0, 1], [1, 1], [0, 7], [3, 9])
    assert raised.value.sqlstate == "PJ001"
    assert "t [1] (offset 0, ours is 7)" in str(raised.value)
    assert connection.execute(
        "SELECT next_offset FROM projectionist.consumer_offsets").fetchall() == [(0,), (0,)]


def test_an_older_epoch_is_fenced(connection):
    take(connection, "one", ["t"], [0], [0])
    take(connection, "two", ["t"], [0], [0])
    with pytest.raises(psycopg.Error, match=r"t \[0\] \(epoch 2 of two, ours is 1\)") as raised:
        advance(connection, ["t"], [0], [1], [0], [3])
    assert raised.value.sqlstate == "PJ001"


def test_a_newcomer_waits_for_the_old_owners_transaction_and_then_supersedes_it(migrated):
    """The fence, as two processes meet it: nothing is read twice, nothing is lost."""
    with psycopg.connect(migrated) as old, psycopg.connect(migrated) as new:
        try:
            take(old, "old", ["f"], [0], [0])
            old.commit()
            advance(old, ["f"], [0], [1], [0], [10])
            with ThreadPoolExecutor(1) as pool:
                taking = pool.submit(take, new, "new", ["f"], [0], [0])
                wait_until(lambda: rows(migrated, """
                    SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'""",
                    new.info.backend_pid), message="the newcomer does not wait")
                old.commit()
                assert taking.result(ADMIN_WAIT) == [("f", 0, 10, 2)]
            new.commit()
            with pytest.raises(psycopg.Error, match="epoch 2 of new, ours is 1"):
                advance(old, ["f"], [0], [1], [10], [20])
            old.rollback()
            advance(new, ["f"], [0], [2], [10], [20])
            new.commit()
        finally:
            old.rollback()
            new.rollback()
            new.execute("DELETE FROM projectionist.consumer_offsets")
            new.commit()


def test_stream_time_never_goes_back(connection):
    take(connection, "one", ["t"], [0], [0])
    for expected, time in ((0, "2020-01-02Z"), (1, "2020-01-01Z"), (2, None)):
        advance(connection, ["t"], [0], [1], [expected], [expected + 1], [time])
    assert connection.execute("SELECT stream_time = '2020-01-02Z', next_offset "
                              "FROM projectionist.consumer_offsets").fetchall() == [(True, 3)]


def test_the_enriched_view_replays_by_two_integers_and_knows_the_command(connection):
    command = "11111111-1111-1111-1111-111111111111"
    connection.execute("""
        INSERT INTO safari_commands (command_id, type, correlation_id, target) VALUES
        (%s, 'sora.poll', '22222222-2222-2222-2222-222222222222', '{"platform": "sora"}')""",
        (command,))
    cursors = ["9-2", "100-100", "100-99", "100-9", None, "nonsense", "1-", "9" * 30 + "-1"]
    for cursor in cursors:
        connection.execute(
            "INSERT INTO safari_events (command_id, type, cursor, emitted_at) "
            "VALUES (%s, 'x', %s, now())", (command if cursor == "100-9" else None, cursor))
    found = connection.execute(
        "SELECT cursor, cursor_ms, command_type, correlation_id IS NOT NULL, target "
        "FROM safari_events_enriched").fetchall()
    assert [row[0] for row in found[:4]] == ["9-2", "100-9", "100-99", "100-100"]
    assert found[1][1:] == (100, "sora.poll", True, {"platform": "sora"})
    assert found[0][1:] == (9, None, False, None)
    assert {row[0] for row in found[4:]} == set(cursors[4:])
    assert all(row[1] is None for row in found[4:])


@pytest.mark.parametrize("own, shown", [
    (None, {"platform": "sora"}),
    ('{"platform": null, "session_id": null}', {"platform": "sora"}),
    ('{"platform": "x", "session_id": null}', {"platform": "x", "session_id": None}),
])
def test_the_enriched_view_shows_the_target_that_names_something(connection, own, shown):
    command = "11111111-1111-1111-1111-111111111111"
    connection.execute("INSERT INTO safari_commands (command_id, type, target) "
                       """VALUES (%s, 'sora.poll', '{"platform": "sora"}')""", (command,))
    connection.execute("INSERT INTO safari_events (command_id, type, target, emitted_at) "
                       "VALUES (%s, 'x', %s, now())", (command, own))
    assert connection.execute("SELECT target FROM safari_events_enriched").fetchall() == [(shown,)]

# SPDX-License-Identifier: Apache-2.0
"""deploy/render: the files for those who apply SQL by hand, forwards and back; each statement that the
platform's documentation shows, as it stands there; and the client that listens, in Node."""

import concurrent.futures
import contextlib
import json
import os
import subprocess
import uuid
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from lib import consumers, node, policies, render_sql
from lib.consumers import REPOSITORY
from lib.world import new_database

RENDER = REPOSITORY / "deploy/render"
MIGRATIONS = sorted((RENDER / "database/migrations").glob("*.sql"))
STAND_IN = pytest.mark.parametrize("stand_in", [False, True], ids=["plain", "supabase"])


def psql(dsn, *arguments, status=0):
    """What it prints, notices and errors too."""
    result = subprocess.run(["psql", "-X", *map(str, arguments), dsn], capture_output=True, text=True,
                            check=False, timeout=120)
    assert result.returncode == status, result.stderr
    return result.stdout + result.stderr


@contextlib.contextmanager
def empty(stand_in=False):
    """The DSN of a superuser of an empty database; the roles that scripts make are gone at the end."""
    with new_database(migrated=False) as dsn, policies.roles(dsn, "projectionist_"):
        admin = policies.admin(dsn)
        if stand_in:
            policies.psql(admin, "-v", f"creator={conninfo.conninfo_to_dict(admin)['user']}", "-f",
                          policies.STAND_IN)
        yield admin


def catalogue(dsn):
    """All that there is in a database but what initdb made, and the server's roles."""
    ours = "NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
    queries = [
        f"SELECT nspname, coalesce(nspacl, acldefault('n', nspowner))::text FROM pg_namespace WHERE nspname {ours} "
        "AND nspname NOT LIKE 'pg_temp%' AND nspname NOT LIKE 'pg_toast_temp%'",
        "SELECT oid::regclass::text, relkind, relacl::text, relrowsecurity, reloptions::text FROM pg_class "
        f"WHERE relnamespace::regnamespace::text {ours}",
        f"SELECT oid::regprocedure::text, proacl::text, md5(prosrc) FROM pg_proc WHERE pronamespace::regnamespace::text {ours}",
        f"SELECT oid::regtype::text FROM pg_type WHERE typnamespace::regnamespace::text {ours}",
        "SELECT extname, extversion FROM pg_extension",
        "SELECT pubname, schemaname, tablename FROM pg_publication_tables",
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
        "SELECT policyname FROM pg_policies",
        "SELECT rolname, rolcanlogin FROM pg_roles",
        "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members",
        "SELECT defaclrole::regrole::text, defaclobjtype, defaclacl::text FROM pg_default_acl",
        "SELECT (coalesce(datacl, acldefault('d', datdba)))::text FROM pg_database WHERE datname = current_database()",
        "SELECT classoid::regclass::text, description FROM pg_description WHERE objoid >= 16384",
    ]
    with psycopg.connect(dsn) as connection:
        return [sorted(map(str, connection.execute(query).fetchall())) for query in queries]


def test_the_files_are_those_that_the_migrations_make():
    program = Path(consumers.program("projectionist"))
    result = subprocess.run([RENDER / "generate", "--check"], capture_output=True, text=True, check=False,
                            env={**os.environ, "PROJECTIONIST_BIN": str(program.parent)})
    assert result.returncode == 0, result.stdout + result.stderr + "\nrun deploy/render/generate"


@STAND_IN
def test_14_migrate_ends_without_error_and_rollback_leaves_nothing(stand_in):
    with empty(stand_in) as dsn:
        before = catalogue(dsn)
        made = []
        for _ in range(2):
            said = psql(dsn, "-f", RENDER / "database/migrate.sql")
            assert "6 tables with row level security, 6 types, 10 views and 30 functions are there" in said
            assert "ERROR" not in said
            made.append(catalogue(dsn))
        assert made[0] == made[1] != before
        said = psql(dsn, "-f", RENDER / "database/supabase-deploy.sql")
        assert ("| t                  |        0" not in said) and "jobs" in said
        for _ in range(2):
            psql(dsn, "-f", RENDER / "database/rollback.sql")
            assert catalogue(dsn) == before
        psql(dsn, "-f", RENDER / "database/migrate.sql")
        assert catalogue(dsn) == made[0]


def test_each_file_runs_by_itself_and_again_and_the_command_goes_on_from_there():
    with empty() as dsn:
        for path in MIGRATIONS:
            for _ in range(2):
                psql(dsn, "-v", "ON_ERROR_STOP=1", "-f", path)
        made = catalogue(dsn)
        # As one text, which is how an editor sends it.
        with psycopg.connect(dsn, autocommit=True) as connection:
            for path in MIGRATIONS:
                connection.execute(path.read_text())
        assert catalogue(dsn) == made
        for command in (("migrate", "render"), ("roles",)):
            result = consumers.run("projectionist", *command,
                                   variables={"POSTGRES_DSN": dsn, "SYSTEMS": "render"})
            assert result.returncode == 0, result.stderr
            assert "applied" not in result.stdout
        assert catalogue(dsn) == made


def test_the_tables_may_be_in_another_schema():
    with empty() as dsn:
        before = catalogue(dsn)
        address = conninfo.conninfo_to_dict(dsn)
        environment = {**os.environ, "DATABASE_URL": dsn}
        deploy = RENDER / "database/deploy.sh"

        def run(*arguments, status=0):
            result = subprocess.run([deploy, *arguments], env=environment, capture_output=True, text=True,
                                    check=False)
            assert result.returncode == status, result.stderr
            return result.stdout + result.stderr

        run("--schema", "movies")
        with psycopg.connect(dsn) as connection:
            job = connection.execute("SELECT movies.create_job('mp4', 1, 1)").fetchone()[0]
            assert job and connection.execute("SELECT to_regclass('public.jobs')").fetchone() == (None,)
        # There is an event that nobody has read.
        said = run("--rollback", status=3)
        assert "nothing was removed: 1 events are in the outbox and not in Kafka" in said
        with psycopg.connect(dsn) as connection:
            connection.execute("INSERT INTO render_private.outbox_failed SELECT id, event_id, topic, key, body, "
                               "written_at, now(), 'x' FROM render_private.outbox; TRUNCATE render_private.outbox")
        assert "1 events" in run("--rollback", status=3)
        run("--rollback", "--discard-outbox")
        assert catalogue(dsn) == before
        assert "usage" in run("--help") and "no option" in run("--nonsense", status=2)
        environment.pop("DATABASE_URL")
        assert "DATABASE_URL is not set" in run(status=2)
        assert address


def test_rollback_leaves_what_is_of_others():
    """Another system in the database, what uses the extension and the function, and a view on a table."""
    with empty() as dsn:
        result = consumers.run("projectionist", "migrate", "safari", variables={"POSTGRES_DSN": dsn})
        assert result.returncode == 0, result.stderr
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO projectionist.consumer_offsets (cluster_id, consumer_group, topic, partition, "
                "start_offset, next_offset, epoch, projection) VALUES ('c', 'event-recorder', 't', 0, 0, 5, 1, "
                "'event-recorder')")
            before = catalogue(dsn)
            psql(dsn, "-f", RENDER / "database/migrate.sql")
            connection.execute(
                "INSERT INTO projectionist.consumer_offsets (cluster_id, consumer_group, topic, partition, "
                "start_offset, next_offset, epoch, projection) VALUES ('c', 'dev.render-jobs', 't', 0, 0, 5, 1, "
                "'render-jobs'), ('c', 'render-storage', 't', 0, 0, 5, 1, NULL)")
            connection.execute("CREATE VIEW theirs AS SELECT id FROM jobs")
            assert "theirs depends on" in psql(dsn, "-f", RENDER / "database/rollback.sql", status=3)
            connection.execute("DROP VIEW theirs")
            psql(dsn, "-f", RENDER / "database/rollback.sql")
            assert connection.execute("SELECT consumer_group FROM projectionist.consumer_offsets").fetchall() == [
                ("event-recorder",)]
            after = catalogue(dsn)
        # Safari's own roles came with render's file: they stay, as do the rights of those.
        assert [line for line in before[1] if "jobs" in line] == [line for line in after[1] if "jobs" in line]
        assert before[3] == after[3] and before[4] == after[4]


# --- the documentation's statements ---------------------------------------------------------------

STATEMENTS = [
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'",
    "SELECT schemaname, tablename, rowsecurity FROM pg_tables WHERE schemaname = 'public'",
    "SELECT create_job('mp4', 1920, 1080, 25, '127.0.0.1'::inet, 'test-agent', '{}')",
    "SELECT auth.user_role()",
    "SELECT auth.is_admin()",
    "SELECT auth.can_subscribe_to_job('{job}')",
    "SELECT check_rate_limit('client-ip', 100, '1 hour'::interval)",
    """SELECT log_security_event('unauthorized_access', '{"details": "..."}')""",
    "SELECT * FROM job_summary WHERE id = '{job}'",
    "SELECT * FROM active_jobs WHERE processing_health = 'stalled'",
    "SELECT get_job_statistics('2024-01-01', '2024-01-31')",
    "SELECT calculate_job_progress('{job}')",
    "SELECT schemaname, tablename, attname, n_distinct, correlation FROM pg_stats WHERE schemaname = 'public'",
    "SELECT * FROM pg_stat_activity WHERE application_name LIKE '%supabase%'",
    "ALTER TABLE jobs DISABLE ROW LEVEL SECURITY",
    "SELECT * FROM pg_policies WHERE tablename = 'jobs'",
    "SELECT auth.user_role(), auth.client_ip()",
    "ANALYZE jobs",
    "ANALYZE elements",
    "VACUUM ANALYZE",
    "SELECT cleanup_old_jobs(30)",
    "SELECT cleanup_old_metrics(7)",
    "SELECT enforce_data_retention()",
    """SELECT schemaname, tablename,
         pg_size_pretty(pg_total_relation_size(schemaname||'.'||tablename)) as size
       FROM pg_tables WHERE schemaname = 'public'
       ORDER BY pg_total_relation_size(schemaname||'.'||tablename) DESC""",
]
# What Postgres called total_time and mean_time before version 13.
OF_STATEMENTS = [
    "SELECT * FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT 10",
    "SELECT query, total_exec_time, calls, mean_exec_time FROM pg_stat_statements WHERE mean_exec_time > 100 "
    "ORDER BY mean_exec_time DESC",
]


@pytest.fixture(scope="module")
def documented():
    with render_sql.prepared() as database:
        database.example = database.job(status="processing")
        yield database


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_of_the_documentation_runs_as_it_is_written(documented, statement):
    documented.execute(statement.replace("{job}", documented.example))


def test_what_asks_for_rows_of_the_documentation_finds_them(documented):
    documented.execute("ALTER TABLE jobs ENABLE ROW LEVEL SECURITY")
    tables = {row[0] for row in documented.execute(STATEMENTS[0]).fetchall()}
    assert {"jobs", "elements", "storage_operations", "processing_timeline", "url_access_logs",
            "system_metrics"} <= tables
    assert {row[2] for row in documented.execute(STATEMENTS[1]).fetchall()} == {True}
    assert len(documented.execute(STATEMENTS[8].replace("{job}", documented.example)).fetchall()) == 1
    assert documented.execute("SELECT * FROM pg_policies WHERE tablename = 'jobs'").fetchall()


@pytest.mark.parametrize("statement", OF_STATEMENTS)
def test_the_statistics_of_statements_have_the_names_of_today(statement):
    """The columns, whether or not the server has loaded the library that fills them."""
    with empty() as dsn, psycopg.connect(dsn) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        try:
            connection.execute(statement)
        except psycopg.errors.ObjectNotInPrerequisiteState as error:
            assert "must be loaded via" in str(error)


# --- the client -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client():
    return node.compiled(RENDER / "client")


class Watch:
    """The client's example, whose lines are waited for."""

    def __init__(self, client, url, *arguments):
        self.process = subprocess.Popen(["node", client / "dist/watch.js", *arguments], text=True,
                                        env={**os.environ, "DATABASE_URL": url}, stdout=subprocess.PIPE)
        self._pool = concurrent.futures.ThreadPoolExecutor(1)

    def line(self, seconds=60):
        text = self._pool.submit(self.process.stdout.readline).result(seconds)
        assert text, f"it ended with {self.process.wait(10)}"
        return json.loads(text)

    def until(self, what):
        """The lines up to the first of this kind."""
        lines = [self.line()]
        while lines[-1]["what"] != what:
            lines.append(self.line())
        return lines

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self._pool.shutdown()


def url_of(dsn):
    parts = conninfo.conninfo_to_dict(dsn)
    return (f"postgresql://{parts['user']}:{parts.get('password', '')}@{parts['host']}:{parts['port']}/"
            f"{parts['dbname']}")


def test_the_client_follows_a_job_and_its_steps_until_it_ends(client, documented):
    job = documented.job(status="pending")
    with Watch(client, url_of(documented.dsn), job) as watch:
        first = watch.until("ready")
        assert [(line["what"], line.get("status")) for line in first] == [("job", "pending"), ("ready", None)]
        documented.execute("UPDATE jobs SET status = 'processing', progress_percentage = 40 WHERE id = %s", [job])
        line = watch.line()
        assert (line["what"], line["id"], line["status"], line["progress_percentage"]) == (
            "job", job, "processing", 40)
        documented.execute("INSERT INTO processing_timeline (id, job_id, step, step_order, started_at, success) "
                           "VALUES (gen_random_uuid(), %s, 'upload', 1, now(), true)", [job])
        line = watch.line()
        assert (line["what"], line["step"], line["success"]) == ("step", "upload", True)
        documented.job(status="pending")  # another's, of which it says nothing
        # A long text is cut in the notification, and asked for.
        documented.execute("UPDATE jobs SET status = 'failed', error_message = repeat('x', 10000) WHERE id = %s", [job])
        line = watch.line()
        assert (line["status"], len(line["error_message"])) == ("failed", 10000)
        assert watch.process.wait(20) == 0


def test_the_client_sees_all_jobs_and_listens_again_after_a_lost_connection(client, documented):
    documented.execute("DELETE FROM jobs")
    with Watch(client, url_of(documented.dsn)) as watch:
        assert watch.line() == {"what": "ready"}
        job = documented.job(status="pending")
        line = watch.line()
        assert (line["event"], line["job"]["id"], line["old_status"]) == ("INSERT", job, None)
        documented.execute("UPDATE jobs SET status = 'processing'")
        assert (watch.line()["event"], documented.value("SELECT 1")) == ("UPDATE", 1)
        with documented.connection.transaction():
            # What happens while nobody listens is looked up afterwards.
            documented.execute("UPDATE jobs SET progress_percentage = 77")
            documented.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                               "WHERE application_name = 'render-client'")
        found = watch.line()
        while found["job"]["progress_percentage"] != 77:
            found = watch.line()


def test_the_client_checks_database_and_realtime(client, documented):
    with Watch(client, url_of(documented.dsn), "--health") as watch:
        line = watch.line()
        assert line["database"] is True and line["realtime"] is True and line["outbox_pending"] >= 0
        assert watch.process.wait(20) == 0
    nobody = url_of(conninfo.make_conninfo(documented.dsn, dbname=f"none_{uuid.uuid4().hex}"))
    with Watch(client, nobody, "--health") as watch:
        line = watch.line()
        assert line["database"] is False and line["realtime"] is False and "does not exist" in line["error"]
        assert watch.process.wait(20) == 1

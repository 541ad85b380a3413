# SPDX-License-Identifier: Apache-2.0
"""Behind a real PgBouncer: in session mode everything works, in transaction mode every program says
so at its start and ends. And migrations as files, as Supabase's tool applies them."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess

import psycopg
import pytest
from cli_support import cli
from psycopg import conninfo

from lib import events, policies
from lib.database import wait_until
from lib.events import SECOND, START
from lib.world import PROJECTOR, new_database

DATABASE, USAGE = 6, 2  # PJ_EXIT_…
QUICK = {"KAFKA_SESSION_TIMEOUT_MS": "3000", "KAFKA_HEARTBEAT_INTERVAL_MS": "500"}


@contextlib.contextmanager
def pgbouncer(folder, dsn, mode):
    """The DSN that leads to the database through a pooler."""
    at = conninfo.conninfo_to_dict(dsn)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.mkdir()
    (folder / "users.txt").write_text(f'"{at["user"]}" "{at["password"]}"\n')
    (folder / "pgbouncer.ini").write_text(f"""\
[databases]
* = host={at['host']} port={at['port']}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
pool_mode = {mode}
""")
    user = {}
    if os.geteuid() == 0:  # it refuses to be root
        nobody = pwd.getpwnam("nobody")
        for path in (folder, *folder.iterdir()):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "pgbouncer is missing; run deploy/local/install test"
    # Its folder is of the test's owner alone: the files are opened before.
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([program, "pgbouncer.ini"], stdout=log, stderr=log, cwd=folder,
                                   **user)
    through = conninfo.make_conninfo(dsn, port=port, gssencmode="disable")
    try:
        wait_until(lambda: psycopg.connect(through).close() or True,
                   message=lambda: (folder / "log").read_text())
        yield through
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def open_folder(tmp_path_factory):
    """One that another user may enter, however deep the test's is."""
    folder = tmp_path_factory.mktemp("pooler")
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o755)
    return folder / "it"


def submitted(number):
    return events.command_submitted(events.id_of(f"command {number}"), START + number * SECOND)


def test_in_session_mode_all_works_and_another_goes_on_for_who_is_killed(world, open_folder):
    with pgbouncer(open_folder, world.dsn, "session") as dsn:
        replicas = [world.start(PROJECTOR, POSTGRES_DSN=dsn, **QUICK) for _ in range(2)]
        for replica in replicas:
            replica.wait_until_ready()
        world.publish([submitted(number) for number in range(50)])
        replicas[1].wait_until(lambda: world.count("safari_commands") == 50)
        replicas[0].kill()
        world.publish([submitted(number) for number in range(50, 100)])
        replicas[1].wait_until(lambda: world.count("safari_commands") == 100)
        replicas[1].stop()
        for command in (("verify", PROJECTOR, "--group", world.group(PROJECTOR)), ("migrate",),
                        ("status",)):
            result = cli(*command, dsn=dsn)
            assert result.returncode == 0, result


def test_in_transaction_mode_every_program_says_so_and_ends(world, open_folder):
    with pgbouncer(open_folder, world.dsn, "transaction") as dsn:
        started = [world.start(name, POSTGRES_DSN=dsn) for name in (PROJECTOR, "session-tracker")]
        for command in (("status",), ("migrate",), ("roles",), ("verify", PROJECTOR),
                        ("dead-letters", "list"), ("rebuild", PROJECTOR, "--yes")):
            result = cli(*command, dsn=dsn)
            assert result.returncode == (2 if command[0] == "verify" else DATABASE), result
            assert "a pooler in transaction mode" in result.stderr, result
        for consumer in started:
            consumer.wait(DATABASE)
            assert consumer.logged("a pooler in transaction mode", "exit_code=6"), consumer.tail
        # Behind which others' sessions are as they were.
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SHOW lock_timeout").fetchone()[0] == "0"


def test_the_port_of_supabases_pooler_is_refused_before_anything_is_connected_to(world):
    for dsn in ("postgresql://me@db.example.supabase.co:6543/postgres", "host=h port=5432,6543"):
        result = cli("status", dsn=dsn)
        assert result.returncode == USAGE and "6543 is that of Supabase's pooler" in result.stderr
        consumer = world.start(PROJECTOR, POSTGRES_DSN=dsn)
        consumer.wait(USAGE)
        assert consumer.logged("6543 is that of Supabase's pooler", "5432"), consumer.tail


# --- migrations as files ---------------------------------------------------------------------

COLUMNS = """
    SELECT format('%s.%s.%s %s', table_schema, table_name, column_name, data_type)
    FROM information_schema.columns WHERE table_schema IN ('public', 'projectionist') ORDER BY 1"""


def columns(dsn):
    with psycopg.connect(dsn) as connection:
        return connection.execute(COLUMNS).fetchall()


def write(folder, *arguments):
    result = cli("migrate", "--to-directory", str(folder), *arguments, without=["POSTGRES_DSN"])
    assert result.returncode == 0, result
    return result.stdout


def test_files_for_another_tool_apply_twice_and_are_known_to_migrate(tmp_path, template):
    write(tmp_path)
    files = sorted(tmp_path.iterdir())
    assert [path.name[14:] for path in files[:2]] == [
        "_projectionist_engine_0001_migrations.sql", "_projectionist_engine_0002_offsets.sql"]
    assert files[-1].name[14:] == "_projectionist_roles.sql"
    stamps = [path.name[:14] for path in files]
    assert all(map(str.isdigit, stamps)) and len(set(stamps)) == len(stamps)
    assert "nothing to do" in write(tmp_path)
    with new_database(migrated=False) as dsn, policies.roles(dsn, "projectionist_"):
        policies.stand_in(dsn)
        admin = policies.admin(dsn)
        for _ in range(2):
            for path in files:
                policies.psql(admin, "-f", path)
        assert columns(admin) == columns(policies.admin(template))
        result = cli("migrate", dsn=admin)
        assert result.returncode == 0 and "nothing to do" in result.stdout, result
        with psycopg.connect(admin) as connection:
            connection.execute("SET ROLE anon")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SELECT FROM public.safari_commands")


def test_files_of_all_systems_apply_where_one_has_made_an_extension_for_all(tmp_path):
    """In the order of their names: render makes uuid-ossp in its schema, and safari uses it."""
    result = cli("migrate", "--to-directory", str(tmp_path), without=["POSTGRES_DSN", "SYSTEMS"])
    assert result.returncode == 0, result
    with new_database(migrated=False) as dsn, policies.roles(dsn, "projectionist_"):
        policies.stand_in(dsn)
        admin = policies.admin(dsn)
        for path in sorted(tmp_path.iterdir()):
            policies.psql(admin, "-f", path)
        assert "nothing to do" in cli("migrate", dsn=admin, without=["SYSTEMS"]).stdout


def test_what_is_new_comes_after_what_a_folder_has(tmp_path):
    (tmp_path / "20991231235959_of_somebody.sql").write_text("SELECT 1;\n")
    write(tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files[0].endswith("of_somebody.sql") and files[1].startswith("21000101000000_")
    # Other roles are another file; what was applied stays as it was.
    roles = [name for name in files if name.endswith("_roles.sql")]
    (tmp_path / roles[0]).write_text("-- of an older version\n")
    assert write(tmp_path).count("wrote") == 1
    assert sorted(path.name for path in tmp_path.iterdir())[:-1] == files


def test_a_folder_that_is_not_there_is_named():
    result = cli("migrate", "--to-directory", "/nowhere", without=["POSTGRES_DSN"])
    assert result.returncode == USAGE and "cannot read '/nowhere'" in result.stderr, result
    assert "create the folder first" in result.stderr

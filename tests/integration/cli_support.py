# SPDX-License-Identifier: Apache-2.0
"""How the tests of the command run it, and the databases they run it against."""

import contextlib
import os
import subprocess
import uuid
from pathlib import Path

import psycopg
from psycopg import conninfo, sql

from lib import database

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("PROJECTIONIST_BIN") or REPOSITORY / "build/dev/bin") / "projectionist"
ADMIN_WAIT = 30  # seconds that a server may take to do what a test asks
SERVERS = ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_DSN", "SCHEMA_REGISTRY_URL")


def environment(name):
    """A variable that says where a server is; a test without servers fails, it is not skipped."""
    value = os.environ.get(f"PROJECTIONIST_{name}")
    assert value, (f"PROJECTIONIST_{name} is not set; "
                   'eval "$(deploy/local/cluster up && deploy/local/cluster env)" sets it')
    return value


def start(*arguments, dsn=None, variables=None, without=(), **options):
    """Starts the command in the whole environment, but for what is given here."""
    values = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    servers = {name: environment(name) for name in SERVERS}
    if dsn:
        servers["POSTGRES_DSN"] = dsn
    servers.update(variables or {})
    values.update({f"PROJECTIONIST_{name}": value for name, value in servers.items()})
    for name in without:
        del values[f"PROJECTIONIST_{name}"]
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.Popen([PROGRAM, *arguments], env=values, stderr=subprocess.PIPE, text=True,
                            stdin=subprocess.DEVNULL, cwd="/", **options)


def finish(process, timeout=60):
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def cli(*arguments, **options):
    return finish(start(*arguments, **options))


@contextlib.contextmanager
def temporary_database():
    """An empty database, by its DSN."""
    server = environment("POSTGRES_DSN")
    name = f"cli_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield conninfo.make_conninfo(server, dbname=name)
        finally:
            database.drop(connection, name)

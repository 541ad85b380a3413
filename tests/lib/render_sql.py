# SPDX-License-Identifier: Apache-2.0
"""A database with the tables of render on a stand-in for Supabase, and callers with roles, tokens and
addresses."""

import contextlib
import json
import uuid

import psycopg
import pytest

from lib import consumers, policies
from lib.world import new_database

USER, STRANGER = (str(uuid.UUID(int=0xB << 124 | n)) for n in range(2))
HERE, ELSEWHERE, PROXY = "203.0.113.7", "198.51.100.9", "10.1.2.3"

# Who asks: the role that PostgREST takes, and what their token says.
CALLERS = {
    "anon": ("anon", {"role": "anon"}),
    "user": ("authenticated", {"role": "authenticated", "sub": USER}),
    "stranger": ("authenticated", {"role": "authenticated", "sub": STRANGER}),
    "account": ("authenticated", {"role": "authenticated", "app_metadata": {"role": "service_account"}}),
    "admin": ("authenticated", {"role": "authenticated", "app_metadata": {"role": "admin"}}),
    "service": ("service_role", {"role": "service_role"}),
}


class Database:
    """As its superuser, who takes other roles."""

    def __init__(self, dsn, schema="public"):
        self.dsn, self.schema = dsn, schema
        self.connection = psycopg.connect(dsn, autocommit=True, options=f"-c search_path={schema},public")

    def execute(self, statement, parameters=None):
        return self.connection.execute(statement, parameters)

    def value(self, statement, parameters=None):
        row = self.execute(statement, parameters).fetchone()
        return row and row[0]

    @contextlib.contextmanager
    def as_caller(self, who, address=None, forwarded=None, connection=None):
        """A transaction as PostgREST begins it. forwarded: what the client itself says."""
        connection = connection or self.connection
        role, claims = CALLERS[who]
        said = ", ".join(filter(None, [forwarded, address, PROXY if address else None]))
        with connection.transaction():
            connection.execute(f"SET LOCAL ROLE {role}")
            connection.execute(
                "SELECT set_config('request.jwt.claims', %s, true), set_config('request.headers', %s, true)",
                [json.dumps(claims), json.dumps({"x-forwarded-for": said} if said else {})])
            yield connection

    def call(self, who, statement, *parameters, **options):
        """The value that a function or query gives to a caller, in a transaction that stays."""
        with self.as_caller(who, **options) as connection:
            row = connection.execute(f"SELECT {statement}", parameters).fetchone()
            return row and row[0]

    def refused(self, error, who, statement, *parameters, **options):
        with pytest.raises(error) as failure:
            self.call(who, statement, *parameters, **options)
        return str(failure.value)

    def events(self):
        """[(topic, key, event)] of the outbox, which is empty then."""
        rows = self.execute("WITH gone AS (DELETE FROM render_private.outbox RETURNING *) "
                            "SELECT topic, key, body, event_id::text FROM gone ORDER BY id").fetchall()
        for topic, _, body, event_id in rows:
            assert body.pop("event_id") == event_id and body.pop("emitted_at") > 10**15
        return [(topic, key, body) for topic, key, body, _ in rows]

    def job(self, **columns):
        """A row as render-jobs would have written it; its id."""
        row = {"id": str(uuid.uuid4()), "status": "pending", "response_type": "async", "width": 1,
               "height": 1, **columns}
        self.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})",
                     list(row.values()))
        return row["id"]


@contextlib.contextmanager
def prepared(schema="public", roles=True, standin=True):
    """The same, migrated; its roles are gone at the end."""
    prefix = f"r{uuid.uuid4().hex[:8]}"
    with new_database(migrated=False) as dsn, policies.roles(dsn, f"{prefix}_"):
        admin = policies.admin(dsn)
        if standin:
            policies.stand_in(dsn)
            policies.psql(admin, "-c", "GRANT CREATE, USAGE ON SCHEMA auth TO PUBLIC")
        commands = [(dsn, ["migrate", "render", "--tables-schema", schema])]
        if roles:
            commands.append((admin, ["roles", "--role-prefix", prefix]))
        for where, command in commands:
            result = consumers.run("projectionist", *command,
                                   variables={"POSTGRES_DSN": where, "SYSTEMS": "render"})
            assert result.returncode == 0, result.stderr
        database = Database(admin, schema)
        database.prefix, database.owner = prefix, dsn
        database.execute("INSERT INTO render_private.trusted_proxies VALUES (%s)", [PROXY])
        try:
            yield database
        finally:
            database.connection.close()

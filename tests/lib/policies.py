# SPDX-License-Identifier: Apache-2.0
"""Who may do what in a database, tried for real: each role, each verb, each table and view, each
function; as a table that a person reads.

S SELECT, I INSERT, U UPDATE, D DELETE, T TRUNCATE, E EXECUTE. A small letter: of some columns
alone. A % after it: of some rows alone. A dash: nothing."""

import contextlib
import os
import subprocess

import psycopg
from psycopg import conninfo, sql
from psycopg.errors import (FeatureNotSupported, InsufficientPrivilege,
                            ObjectNotInPrerequisiteState)

from lib.consumers import REPOSITORY, address

STAND_IN = REPOSITORY / "tests/lib/supabase.sql"
TRIES = 5  # to drop a role
ROWS = 12  # of a table are inserted again: one of each consumer group


def admin(dsn):
    """The DSN of a superuser of the same database."""
    return conninfo.make_conninfo(address("CLUSTER_ADMIN_DSN"),
                                  dbname=conninfo.conninfo_to_dict(dsn)["dbname"])


def stand_in(dsn):
    """Makes the database one like Supabase's, for tables of the DSN's role."""
    creator = conninfo.conninfo_to_dict(dsn)["user"]
    psql(admin(dsn), "-v", f"creator={creator}", "-f", STAND_IN)


def psql(dsn, *arguments):
    result = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *map(str, arguments), dsn],
                            capture_output=True, text=True, check=False,
                            env={**os.environ, "PGOPTIONS": "-c client_min_messages=error"})
    assert result.returncode == 0, result.stderr
    return result.stdout


@contextlib.contextmanager
def roles(dsn, prefix):
    """Removes the roles that begin so, at the end of the with."""
    try:
        yield
    finally:
        with psycopg.connect(admin(dsn), autocommit=True) as connection:
            for name, in connection.execute(
                    "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s) ORDER BY oid DESC",
                    [prefix]).fetchall():
                drop(connection, name)


def drop(connection, role):
    """Postgres's own processes may be at the same tables, and a deadlock with one ends us."""
    statement = sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role))
    for _ in range(TRIES - 1):
        with contextlib.suppress(psycopg.errors.DeadlockDetected):
            connection.execute(statement)
            return
    connection.execute(statement)


def catalogue(connection, prefix):
    """All that roles, rights and policies are, but for the policies' numbers."""
    queries = (
        "SELECT rolname, rolcanlogin, rolbypassrls FROM pg_roles WHERE starts_with(rolname, %s)",
        "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members "
        "WHERE starts_with(member::regrole::text, %s)",
        "SELECT oid::regclass::text, relacl::text, relrowsecurity, reloptions::text FROM pg_class "
        "WHERE relnamespace::regnamespace::text IN ('public', 'projectionist') AND %s <> ''",
        "SELECT attrelid::regclass::text, attname::text, attacl::text FROM pg_attribute "
        "WHERE attacl IS NOT NULL AND %s <> ''",
        "SELECT nspname::text, nspacl::text FROM pg_namespace WHERE %s <> ''",
        "SELECT datacl::text FROM pg_database WHERE datname = current_database() AND %s <> ''",
        "SELECT * FROM pg_policies WHERE %s <> ''",
        "SELECT * FROM pg_publication_tables WHERE %s <> ''")
    return [sorted(map(str, connection.execute(query, [prefix]).fetchall())) for query in queries]


def matrix_of_users(connection, prefix, programs, me, other):
    """A Matrix of nobody, two users, a service, the roles for people and those of programs ({as a
    column is called: its name})."""
    names = {"anon": "anon", "me": "authenticated", "other": "authenticated", "service": "service_role",
             "analyst": f"{prefix}_analyst", "writer": f"{prefix}_writer",
             **{short: f"{prefix}_{name}" for short, name in programs.items()}}
    return Matrix(connection, names, {who: f'{{"sub": "{sub}"}}' for who, sub in
                                      (("me", me), ("other", other))})


class Matrix:
    """Tries, as a superuser who takes one role after the other; nothing of it stays.

    names: {as a column is called: the role}; claims: {the same: what a token says of it}."""

    def __init__(self, connection, names, claims=None):
        self.connection, self.names, self.claims = connection, names, claims or {}
        self.impossible = ()

    # --- what there is ---

    def relations(self, schemas):
        return self.connection.execute(
            "SELECT n.nspname, c.relname, c.relkind IN ('r', 'p') FROM pg_class AS c "
            "JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = ANY (%s) "
            "AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY n.nspname DESC, c.relname",
            [list(schemas)]).fetchall()

    def functions(self, schemas):
        """Their names, and a call with nothing but NULLs. They come from a subquery that stays one:
        a STRICT function of constants is never called, and so its right never asked for."""
        return self.connection.execute(
            "SELECT p.oid::regproc::text, format('SELECT %%s(%%s) FROM (SELECT %%s OFFSET 0) AS v', "
            "p.oid::regproc, a.names, coalesce(a.nulls, '1')) "
            "FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace "
            "LEFT JOIN pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e' "
            "CROSS JOIN LATERAL (SELECT string_agg('a' || i, ', ' ORDER BY i) AS names, string_agg("
            "format('NULL::%%s AS a%%s', CASE WHEN t::regtype = 'anyelement'::regtype "
            "THEN 'integer' ELSE t::regtype::text END, i), ', ' ORDER BY i) AS nulls "
            "FROM unnest(p.proargtypes) WITH ORDINALITY AS u (t, i)) AS a "
            "WHERE n.nspname = ANY (%s) AND p.prorettype <> 'trigger'::regtype "
            "AND d.objid IS NULL ORDER BY n.nspname DESC, p.proname", [list(schemas)]).fetchall()

    # --- trying ---

    @contextlib.contextmanager
    def become(self, name):
        with self.connection.transaction(force_rollback=True):
            self.connection.execute(sql.SQL("SET LOCAL ROLE {}").format(
                sql.Identifier(self.names[name])))
            self.connection.execute("SELECT set_config('request.jwt.claims', %s, true)",
                                    [self.claims.get(name, "")])
            yield

    def attempt(self, statement):
        """None: refused. Else how many rows; -1: something else than a right was missing."""
        try:
            with self.connection.transaction(force_rollback=True):
                return self.connection.execute(statement).rowcount
        except InsufficientPrivilege:
            return None
        except self.impossible:
            return None
        except psycopg.Error:
            return -1

    def verb(self, letter, whole, parts, total):
        count = self.attempt(whole)
        if count is None:
            counts = [count for count in map(self.attempt, parts) if count is not None]
            return letter.lower() if counts else ""
        return letter + ("%" if 0 <= count < total else "")

    def cell(self, schema, relation, is_table):
        """What the current role may do."""
        name = sql.Identifier(schema, relation)
        # What nobody can do with a view, whatever the rights.
        self.impossible = () if is_table else (ObjectNotInPrerequisiteState, FeatureNotSupported)
        columns = [sql.Identifier(column) for column in self.columns[schema, relation]]
        total = self.totals[schema, relation]

        def each(text):
            return [sql.SQL(text).format(t=name, c=column, copy=sql.Identifier(f"copy_{relation}"))
                    for column in columns]

        said = self.verb("S", sql.SQL("SELECT * FROM {}").format(name),
                         each("SELECT {c} FROM {t}"), total)
        said += self.insert(schema, relation, name, columns)
        said += self.verb("U", sql.SQL("UPDATE {} SET {}").format(name, sql.SQL(", ").join(
            sql.SQL("{0} = {0}").format(column) for column in columns)),
            each("UPDATE {t} SET {c} = {c}") + each("UPDATE {t} SET {c} = DEFAULT"), total)
        said += self.verb("D", sql.SQL("DELETE FROM {}").format(name), [], total)
        if is_table:
            said += self.verb("T", sql.SQL("TRUNCATE {}").format(name), [], 0)
        return said or "-"

    def insert(self, schema, relation, name, columns):
        """A copy of each row: that it is there already is not for want of a right."""
        copy = sql.Identifier(f"copy_{relation}")
        listed = sql.SQL(", ").join(columns)
        counts = [self.attempt(sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} OFFSET {} LIMIT 1")
                               .format(name, listed, listed, copy, row))
                  for row in range(max(1, self.tried[schema, relation]))]
        allowed = [count for count in counts if count is not None]
        if allowed:
            return "I" + ("%" if len(allowed) < len(counts) else "")
        part = any(self.attempt(sql.SQL("INSERT INTO {} ({c}) SELECT {c} FROM {}").format(
            name, copy, c=column)) is not None for column in columns)
        return "i" if part else ""

    # --- all of it ---

    def prepare(self, relations):
        """Copies that everybody can read, made by us."""
        self.columns, self.totals, self.tried = {}, {}, {}
        for schema, relation, is_table in relations:
            name, copy = sql.Identifier(schema, relation), sql.Identifier(f"copy_{relation}")
            columns = [column for column, in self.connection.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
                "AND NOT attisdropped AND attidentity <> 'a' AND attgenerated = ''",
                [f'"{schema}"."{relation}"']).fetchall()]
            of_groups = "DISTINCT ON (consumer_group)" if "consumer_group" in columns else ""
            self.connection.execute(sql.SQL(
                "CREATE TEMP TABLE {0} AS SELECT " + of_groups + " * FROM {1} LIMIT {2}; "
                "GRANT SELECT ON {0} TO PUBLIC").format(copy, name, ROWS))
            self.totals[schema, relation] = self.connection.execute(
                sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone()[0]
            self.tried[schema, relation] = self.connection.execute(
                sql.SQL("SELECT count(*) FROM {}").format(copy)).fetchone()[0]
            assert self.totals[schema, relation] or not is_table, f"{relation} is empty"
            self.columns[schema, relation] = columns

    def all_relations(self, *schemas, only=""):
        """{relation: {name: cell}} of those whose names begin so."""
        relations = [found for found in self.relations(schemas) if found[1].startswith(only)]
        self.prepare(relations)
        found = {}
        for name in self.names:
            with self.become(name):
                for schema, relation, is_table in relations:
                    shown = relation if schema == schemas[0] else f"{schema}.{relation}"
                    found.setdefault(shown, {})[name] = self.cell(schema, relation, is_table)
        return found

    def all_functions(self, *schemas):
        functions = self.functions(schemas)
        self.impossible = ()
        found = {}
        for name in self.names:
            with self.become(name):
                for function, call in functions:
                    found.setdefault(function, {})[name] = (
                        "-" if self.attempt(sql.SQL(call)) is None else "E")
        return found


def parse(text):
    """{row: {column: cell}} of such a table as `show` makes."""
    header, *lines = [line.split() for line in text.strip().splitlines()]
    return {line[0]: dict(zip(header, line[1:], strict=True)) for line in lines}


def show(found):
    names = list(next(iter(found.values())))
    width = max(map(len, found))
    widths = [max(len(name), *(len(row[name]) for row in found.values())) for name in names]

    def line(first, cells):
        return f"{first:{width}}  " + "  ".join(f"{cell:{size}}" for cell, size
                                                in zip(cells, widths, strict=True))

    return "\n".join([line("", names), *(line(row, cells.values()) for row, cells in found.items())])

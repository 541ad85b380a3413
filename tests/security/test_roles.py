# SPDX-License-Identifier: Apache-2.0
"""The roles that `projectionist roles` makes, each consumer in its own: with the rights of these alone
it works; without any one of them it ends with a sentence that says which one is missing, and works
again once it is granted; and nothing of another's is to be had."""

import re
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import conninfo, sql

from lib import consumers, policies
# Of these, pytest takes those that are fixtures.
from lib.logins import (READY, RECORDER, RIGHT, Run, at, broker, certificates, database, judge, postgres,
                        reads_as_a_group, registry, sasl, service)

CONSUMERS = reads_as_a_group()
PREFIX = "own"

# What a role was granted, as (a table, a right, its columns: "" for all), of tables, and of columns
# where it has not all of them.
GRANTED = """
    SELECT c.oid::regclass::text, a.privilege_type, ''
    FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE a.grantee = %(role)s::regrole
    UNION ALL
    SELECT c.attrelid::regclass::text, a.privilege_type,
        string_agg(quote_ident(c.attname), ', ' ORDER BY c.attnum)
    FROM pg_attribute AS c, aclexplode(c.attacl) AS a WHERE a.grantee = %(role)s::regrole
        AND NOT has_table_privilege(%(role)s, c.attrelid, a.privilege_type)
    GROUP BY 1, 2 ORDER BY 1, 2"""


def role(name):
    return f"{PREFIX}_{name}".replace("-", "_")


@pytest.fixture(scope="module")
def rooms(at):
    """A connection of a superuser to a database of all systems, with all roles, which can log in."""
    made = consumers.run("projectionist", "roles", "--role-prefix", PREFIX,
                         variables={"POSTGRES_DSN": conninfo.make_conninfo(at.postgres.dsn, dbname="secure"),
                                    "SYSTEMS": None})
    assert made.returncode == 0, made.stderr
    with psycopg.connect(at.postgres.dsn, dbname="secure", autocommit=True) as connection:
        for name in CONSUMERS:
            connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(role(name)), RIGHT))
        yield connection


def start(at, folder, name, what, expected, words=""):
    return Run(folder, (name,), what, {**sasl("SASL")(at), **database(user=role(name))(at),
                                       "GROUP": name}, expected, words)


def faults_without_each_right(at, rooms, folder, name):
    """One after the other: with its group's name alone it may write its offsets. What all consumers
    have is taken from one."""
    rights = rooms.execute(GRANTED, {"role": role(name)}).fetchall()
    own = [one for one in rights if name == RECORDER or not re.match(
        r"projectionist\.(?!state_)", one[0])]
    assert len(own) > (15 if name == RECORDER else 1), name
    found = []
    for number, (table, right, columns) in enumerate(own):
        what = sql.SQL("{} ({})" if columns else "{}").format(sql.SQL(right), *(
            [sql.SQL(columns)] if columns else []))
        rooms.execute(sql.SQL("REVOKE {} ON {} FROM {}").format(
            what, sql.SQL(table), sql.Identifier(role(name))))
        shown = re.escape(table.rpartition(".")[2])
        found += start(at, folder, name, f"{number} without {right} on {table}", 6,
                       f"GRANT {right} ON .*{shown}").faults()
        rooms.execute(sql.SQL("GRANT {} ON {} TO {}").format(
            what, sql.SQL(table), sql.Identifier(role(name))))
    return found


def test_a_right_to_a_table_is_missing(at, rooms, tmp_path):
    """Four consumers at a time, of each one right after the other; then all have all of them."""
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda name: faults_without_each_right(at, rooms, tmp_path, name), CONSUMERS)
    faults = [fault for of_one in found for fault in of_one]
    assert not faults, "\n\n".join(faults)
    judge([start(at, tmp_path, name, "with all", READY) for name in CONSUMERS])


@pytest.mark.parametrize("name", CONSUMERS)
def test_nothing_of_anothers_is_to_be_had(rooms, name):
    """Of all tables, views and functions there are: those that it was granted, and no other."""
    reached = {table for table, _, _ in rooms.execute(GRANTED, {"role": role(name)}).fetchall()}
    others = [table for table, in rooms.execute("""
        SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'v', 'm', 'p')
        AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)'""").fetchall()
        if table not in reached]
    assert len(others) > 100
    with rooms.transaction(force_rollback=True):
        rooms.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role(name))))
        for table in others:
            for statement in ("SELECT FROM {}", "DELETE FROM {}", "TRUNCATE {}"):
                with pytest.raises((psycopg.errors.InsufficientPrivilege,
                                    psycopg.errors.ObjectNotInPrerequisiteState,
                                    psycopg.errors.WrongObjectType)), rooms.transaction():
                    rooms.execute(sql.SQL(statement).format(sql.SQL(table)))

# SPDX-License-Identifier: Apache-2.0
"""Postgres at PROJECTIONIST_POSTGRES_DSN, and waiting for what a consumer writes there."""

import os
import time

import psycopg
from psycopg import sql
from psycopg.rows import dict_row, tuple_row

VOLATILE = ("updated_at", "stored_at")  # when we wrote a row; everything else follows from events
DEADLINE = 30  # seconds
INTERVAL = 0.05  # seconds between two looks


def dsn():
    value = os.environ.get("PROJECTIONIST_POSTGRES_DSN")
    assert value, "PROJECTIONIST_POSTGRES_DSN is not set"
    return value


def connect(where=None):
    """An autocommit connection, to `where` (a DSN) or the environment's; rows are dicts."""
    return psycopg.connect(where or dsn(), autocommit=True, row_factory=dict_row,
                           options="-c TimeZone=UTC")


def table(connection, name, without=VOLATILE):
    """All rows of a table ("safari_commands", "projectionist.gaps") as a list of dicts without the
    columns in `without`, in the order of their text, so that two equal tables give equal lists."""
    identifier = sql.Identifier(*name.split("."))
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(sql.SQL("SELECT * FROM {} AS t").format(identifier))
        rows = [{column: value for column, value in row.items() if column not in without}
                for row in cursor]
    return sorted(rows, key=lambda row: [str(value) for value in row.values()])


def count(connection, name):
    """How many rows a table has."""
    identifier = sql.Identifier(*name.split("."))
    return value(connection, sql.SQL("SELECT count(*) FROM {}").format(identifier))


def value(connection, query, parameters=None):
    """The one value that a query gives."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(query, parameters).fetchone()[0]


def next_offsets(connection, group):
    """{(topic, partition): next_offset} of a consumer group, from the fence's table; without
    partitions that no record has been read from, as kafka.end_offsets has them at 0."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute("SELECT topic, partition, next_offset FROM projectionist.consumer_offsets "
                       "WHERE consumer_group = %s AND next_offset > 0", [group])
        return {(topic, partition): offset for topic, partition, offset in cursor}


def drop(connection, name):
    """Drops a database, with whoever is in it. An autovacuum worker may be, which only a superuser
    could end: it leaves by itself."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            connection.execute(sql.SQL("DROP DATABASE {} (FORCE)").format(sql.Identifier(name)))
            return
        except psycopg.errors.InsufficientPrivilege:
            if time.monotonic() > deadline:
                raise
            time.sleep(INTERVAL)


def wait_until(condition, deadline=DEADLINE, message="the condition did not come true"):
    """Calls condition until what it returns is true, and returns that. An AssertionError or a lost
    connection in it counts as "not yet"; past the deadline (seconds) the last one is raised."""
    end = time.monotonic() + deadline
    while True:
        failure = None
        try:
            result = condition()
            if result:
                return result
        except (AssertionError, psycopg.OperationalError) as error:
            failure = error
        if time.monotonic() >= end:
            raise failure or AssertionError(f"{message} within {deadline} s")
        time.sleep(INTERVAL)


def wait_for_offsets(connection, group, ends, deadline=DEADLINE):
    """Waits until a consumer group has committed up to `ends`, as kafka.end_offsets gives them."""
    wanted = {place: offset for place, offset in ends.items() if offset > 0}

    def reached():
        have = next_offsets(connection, group)
        behind = {place: (have.get(place, 0), offset) for place, offset in wanted.items()
                  if have.get(place, 0) < offset}
        assert not behind, f"{group} is behind (has, wanted): {behind}"
        return True

    wait_until(reached, deadline)

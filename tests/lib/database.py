# SPDX-License-Identifier: Apache-2.0
"""Postgres at PROJECTIONIST_POSTGRES_DSN, and waiting for what a consumer writes there."""

import os
import time

import psycopg
from psycopg import sql
from psycopg.rows import dict_row, tuple_row

VOLATILE = ("updated_at", "stored_at")  # when we wrote a row; everything else follows from events
DEADLINE = 30  # seconds
INTERVAL = 0.02  # seconds between two looks
NOT_YET = (AssertionError, psycopg.OperationalError)


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


def distances(connection, group, ends):
    """{(topic, partition): (has, wanted)} where a consumer group's next offset is not what `ends`
    says, as kafka.end_offsets gives them."""
    have = next_offsets(connection, group)
    return {place: (have.get(place, 0), ends.get(place, 0)) for place in have.keys() | ends.keys()
            if have.get(place, 0) != ends.get(place, 0)}


def drop(connection, name):
    """Drops a database, with whoever is in it. An autovacuum worker may be, which only a superuser
    could end: it leaves by itself."""
    wait_until(lambda: connection.execute(
        sql.SQL("DROP DATABASE {} (FORCE)").format(sql.Identifier(name))),
        not_yet=psycopg.errors.InsufficientPrivilege)


def waits_for_lock(connection, application):
    """Whether a statement of whom LIKE calls so (application_name) waits for a lock."""
    return connection.execute("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                              "AND application_name LIKE %s", [application]).fetchone() is not None


def wait_until(condition, deadline=DEADLINE, message="the condition did not come true",
               not_yet=NOT_YET):
    """Calls condition until what it returns is true, and returns that. An AssertionError or a lost
    connection in it, or what not_yet says, counts as "not yet"; past the deadline (seconds) the
    last one is raised. message: text, or a call that gives it."""
    end = time.monotonic() + deadline
    while True:
        failure = None
        try:
            result = condition()
            if result:
                return result
        except not_yet as error:
            failure = error
        if time.monotonic() >= end:
            said = message() if callable(message) else message
            raise failure or AssertionError(f"{said} within {deadline} s")
        time.sleep(INTERVAL)


def wait_for_offsets(connection, group, ends, deadline=DEADLINE):
    """Waits until a consumer group has committed up to `ends`, as kafka.end_offsets gives them."""
    def reached():
        behind = {place: (has, wanted) for place, (has, wanted)
                  in distances(connection, group, ends).items() if has < wanted}
        assert not behind, f"{group} is behind (has, wanted): {behind}"
        return True

    wait_until(reached, deadline)

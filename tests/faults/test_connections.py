# SPDX-License-Identifier: Apache-2.0
"""Where a connection to Postgres leads to, and whose it is."""

import contextlib

import stream as streams
from psycopg import sql


@contextlib.contextmanager
def set_for_all(world, name, value):
    """What every new session in the world's database has, as of one server."""
    own, name = sql.Identifier(world.id), sql.Identifier(name)
    with world.connect() as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} SET {} = {}").format(
            own, name, sql.Literal(value)))
        try:
            yield
        finally:
            connection.execute(sql.SQL("ALTER DATABASE {} RESET {}").format(own, name))


def test_a_standby_is_left_for_the_primary(world):
    """After a failover a name may lead to the old one for a while."""
    stream = streams.of_commands(30, seed=81)
    world.publish(stream)
    with set_for_all(world, "default_transaction_read_only", "on"):
        consumers = world.start_all(1)
        for consumer in consumers:
            world.until_logged(consumer, "25006")
    world.until_caught_up()
    world.until(lambda: all(consumer.ready() for consumer in consumers))
    world.assert_as_if_undisturbed(stream)

# SPDX-License-Identifier: Apache-2.0
"""Where a connection to Postgres leads to, and whose it is."""

import contextlib
import functools
import re
import socket
import struct
import threading
from pathlib import Path

import pytest
import stream as streams
from lib import consumers as programs
from lib.tcp_proxy import TcpProxy
from psycopg import conninfo, sql
from world import PROGRAMS

DATABASE = 6  # the exit code
STOP_SECONDS = 5  # from SIGTERM to the end, though a server is away


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


@contextlib.contextmanager
def silent_server():
    """The port of one that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def server_that_takes_nothing():
    """The port of one to which no connection comes about, as if the packets were dropped."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        with contextlib.ExitStack() as waiting:
            for _ in range(2):  # its queue is full with these
                client = waiting.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(listener.getsockname())
            yield listener.getsockname()[1]


def behind(world, *ports, **options):
    """The DSN of a list of hosts of which Postgres is the last."""
    ours = conninfo.conninfo_to_dict(world.dsn)
    hosts = ["127.0.0.1"] * len(ports) + [ours["host"]]
    return conninfo.make_conninfo(world.dsn, host=",".join(hosts),
                                  port=",".join(map(str, [*ports, ours["port"]])), **options)


@pytest.mark.parametrize("first, options", [
    (silent_server, {}),
    (server_that_takes_nothing, {"target_session_attrs": "read-write"}),
    (silent_server, {"target_session_attrs": "prefer-standby"}),
])
def test_a_host_that_hangs_does_not_hide_the_next(world, first, options):
    stream = streams.of_commands(30, seed=82)
    world.publish(stream)
    with first() as port, first() as another:
        for program in PROGRAMS:
            world.start(program, POSTGRES_DSN=behind(world, port, another, connect_timeout=2,
                                                     **options))
        world.until_caught_up(deadline=30)
        for consumer in world.consumers.all:
            assert not consumer.logged("did not answer")
            consumer.stop()
    world.assert_as_if_undisturbed(stream)


def test_a_port_that_is_left_out_stays_so(world):
    """Of the host that is left; whether somebody is at the usual port does not matter."""
    with silent_server() as port:
        done = programs.run("projectionist", "status", variables={
            "POSTGRES_DSN": conninfo.make_conninfo(world.dsn, host="127.0.0.1,127.0.0.1",
                                                   port=f"{port},", connect_timeout=2)})
    assert "could not match" not in done.stderr and "did not answer" not in done.stderr


def test_a_stop_does_not_wait_for_a_host_that_hangs(world):
    with silent_server() as port:
        consumer = world.start(PROGRAMS[0], POSTGRES_DSN=behind(world, port, connect_timeout=60))
        world.until(lambda: connected(port), what="it did not connect")
        consumer.stop(STOP_SECONDS)


def connected(port):
    """Whether somebody has a connection to the port."""
    where = f":{port:04X}"
    lines = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
    return any(line.split()[1].endswith(where) and line.split()[3] == "01" for line in lines)


class AsOfSeventeen(TcpProxy):
    """Says of Postgres that it were 17."""

    def forwards(self, client, server):
        def pass_on(source, target):
            while data := source.recv(65536):
                target.sendall(re.sub(rb"(server_version\0)15", rb"\g<1>17", data))
        return (functools.partial(pass_on, client, server),
                functools.partial(pass_on, server, client))


def test_no_time_out_of_a_transaction_is_left(world):
    """That the servers of these tests do not know it shows that it is asked for."""
    ours = conninfo.conninfo_to_dict(world.dsn)
    with AsOfSeventeen(ours["host"], ours["port"]) as proxy:
        consumer = world.start(PROGRAMS[0], POSTGRES_DSN=conninfo.make_conninfo(
            world.dsn, port=proxy.port, sslmode="disable", gssencmode="disable"))
        consumer.wait(DATABASE)
    assert 'unrecognized configuration parameter \\"transaction_timeout\\"' in consumer.log


def refuse(listener, refusal):
    """Answers whoever connects as a pooler does that does not take what it is asked for."""
    fields = b"SFATAL\0C08P01\0M" + refusal.encode() + b"\0\0"
    message = b"E" + struct.pack(">i", 4 + len(fields)) + fields
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                client.sendall(message)


@contextlib.contextmanager
def refusing(refusal):
    """The port of such a pooler."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse, args=(listener, refusal), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def through(world, port):
    return conninfo.make_conninfo(world.dsn, host="127.0.0.1", port=port, sslmode="disable",
                                  gssencmode="disable")


def test_a_pooler_that_cannot_do_is_not_waited_for(world):
    with refusing("unsupported startup parameter: options") as port:
        consumer = world.start(PROGRAMS[0], POSTGRES_DSN=through(world, port))
        consumer.wait(DATABASE)
    assert "unsupported startup parameter: options; the postgres-dsn must lead to" in consumer.log
    assert "a pooler in session mode" in consumer.log


def test_a_pooler_whose_server_is_away_is_waited_for(world):
    """Which it says with the same SQLSTATE."""
    with refusing("server login has been failing, try again later") as port:
        consumer = world.start(PROGRAMS[0], POSTGRES_DSN=through(world, port))
        world.until_logged(consumer, "server login has been failing", count=2)
        assert consumer.running
        consumer.stop()

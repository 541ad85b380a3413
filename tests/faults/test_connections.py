# SPDX-License-Identifier: Apache-2.0
"""Where a connection to Postgres leads to, and whose it is."""

import contextlib
import functools
import re
import socket
import struct
import threading
from pathlib import Path

import psycopg
import pytest
import stream as streams
from lib import consumers as programs
from lib.consumers import address
from lib.tcp_proxy import TcpProxy
from psycopg import conninfo, sql
from world import PROGRAMS

DATABASE = 6  # the exit code
STOP_SECONDS = 5  # from SIGTERM to the end, though a server is away


@contextlib.contextmanager
def set_for_all(world, name, value):
    """A default of every new session in the world's database, as if set by the server."""
    own, name = sql.Identifier(world.id), sql.Identifier(name)
    with world.connect() as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} SET {} = {}").format(
            own, name, sql.Literal(value)))
        try:
            yield
        finally:
            connection.execute(sql.SQL("ALTER DATABASE {} RESET {}").format(own, name))


def test_a_standby_is_left_for_the_primary(world):
    """After a failover a name may lead to the old primary for a while."""
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
    """The port of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def server_that_takes_nothing():
    """The port of a server that accepts no connection, as if packets were dropped."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        with contextlib.ExitStack() as waiting:
            for _ in range(2):  # these fill its queue
                client = waiting.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(listener.getsockname())
            yield listener.getsockname()[1]


def behind(world, *ports, **options):
    """A DSN with several hosts, of which Postgres is the last."""
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
    """Of the remaining host; whether a server listens at the usual port does not matter."""
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
    """Whether there is a connection to the port."""
    where = f":{port:04X}"
    lines = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
    return any(line.split()[1].endswith(where) and line.split()[3] == "01" for line in lines)


class AsOfSeventeen(TcpProxy):
    """Claims that Postgres is version 17."""

    def forwards(self, client, server):
        def pass_on(source, target):
            while data := source.recv(65536):
                target.sendall(re.sub(rb"(server_version\0)15", rb"\g<1>17", data))
        return (functools.partial(pass_on, client, server),
                functools.partial(pass_on, server, client))


def test_no_time_out_of_a_transaction_is_left(world):
    """A server before 17 refuses the setting, which shows that it is asked for."""
    if world.database.info.server_version >= 170000:
        pytest.skip("this server knows it")
    ours = conninfo.conninfo_to_dict(world.dsn)
    with AsOfSeventeen(ours["host"], ours["port"]) as proxy:
        consumer = world.start(PROGRAMS[0], POSTGRES_DSN=conninfo.make_conninfo(
            world.dsn, port=proxy.port, sslmode="disable", gssencmode="disable"))
        consumer.wait(DATABASE)
    assert 'unrecognized configuration parameter \\"transaction_timeout\\"' in consumer.log


def refuse(listener, refusal, sqlstate, severity):
    """Answers as a pooler does that refuses a startup parameter."""
    fields = f"S{severity}\0VFATAL\0C{sqlstate}\0M{refusal}\0\0".encode()
    message = b"E" + struct.pack(">i", 4 + len(fields)) + fields
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                client.sendall(message)


@contextlib.contextmanager
def refusing(refusal, sqlstate="08P01", severity="FATAL"):
    """The port of such a pooler, or of a server with messages in another language."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse, args=(listener, refusal, sqlstate, severity),
                                  daemon=True)
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


@pytest.mark.parametrize("sqlstate, code", [
    ("28P01", DATABASE), ("3D000", DATABASE), ("42501", DATABASE), ("57P03", None),
    ("53300", None), ("55000", None)])
def test_a_refusal_is_understood_in_any_language(world, sqlstate, code):
    """It exits where a person must act; else it waits."""
    reason = "пользователь не прошёл проверку: 28000"
    with refusing(reason, sqlstate, "ВАЖНО") as port:
        consumer = world.start(PROGRAMS[0], POSTGRES_DSN=through(world, port))
        if code:
            consumer.wait(code)
            assert consumer.logged(reason, sqlstate, "check the postgres-dsn")
        else:
            world.until_logged(consumer, reason, count=2)
            assert consumer.running
            consumer.stop()


@contextlib.contextmanager
def owner_with_password(world, password):
    """A role with the owner's rights, and a function that changes its password; (DSN, set)."""
    name = f"rotated_{world.id}"
    role = sql.Identifier(name)
    ours = conninfo.conninfo_to_dict(world.dsn)
    with psycopg.connect(address("CLUSTER_ADMIN_DSN"), autocommit=True) as admin:
        def set_password(word):
            admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(word)))
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                          "WHERE usename = %s", [name])

        admin.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(
            role, sql.Identifier(ours["user"])))
        try:
            set_password(password)
            del ours["password"]
            yield conninfo.make_conninfo(**{**ours, "user": name}), set_password
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(role))


@pytest.mark.parametrize("variable", ["POSTGRES_PASSWORD_FILE", "POSTGRES_DSN_FILE",
                                      "POSTGRES_PASSFILE"])
def test_a_password_that_is_changed_is_read_again(world, tmp_path, variable):
    """The server has it before the file does."""
    secret = tmp_path / "secret"

    def write(dsn, word):
        parts = conninfo.conninfo_to_dict(dsn)
        secret.write_text({
            "POSTGRES_PASSWORD_FILE": f"{word}\n",
            "POSTGRES_DSN_FILE": conninfo.make_conninfo(dsn, password=word),
            "POSTGRES_PASSFILE": f"{parts['host']}:{parts['port']}:*:{parts['user']}:{word}\n",
        }[variable])
        secret.chmod(0o600)

    stream = streams.of_commands(20, seed=83)
    with owner_with_password(world, "first-7Q") as (dsn, set_password):
        write(dsn, "first-7Q")
        consumer = world.start(PROGRAMS[0], POSTGRES_DSN=None if variable == "POSTGRES_DSN_FILE"
                               else dsn, **{variable: str(secret)})
        world.until(consumer.ready)
        set_password("second-9Z")
        world.publish(stream)
        world.until_logged(consumer, "28P01", count=2)
        assert consumer.running
        write(dsn, "second-9Z")
        world.until(lambda: world.count("safari_commands") > 0 and consumer.ready())
        assert "second-9Z" not in consumer.log
        consumer.stop()


def test_a_database_that_takes_no_connections_for_a_while_is_waited_for(world):
    consumer = world.start(PROGRAMS[0])
    world.until(consumer.ready)
    own = sql.Identifier(world.id)
    with psycopg.connect(address("CLUSTER_ADMIN_DSN"), autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(own))
        try:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                          "WHERE datname = %s", [world.id])
            world.until_logged(consumer, "55000", count=2)
            assert consumer.running
        finally:
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(own))
        world.until(consumer.ready)

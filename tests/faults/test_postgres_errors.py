# SPDX-License-Identifier: Apache-2.0
"""Transient errors of Postgres: deadlocks, lock timeouts, a full disk, a deleted parent."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest
import stream as streams
from lib import database, events, kafka
from psycopg import conninfo, sql
from test_frozen import blocked

LOCK = ("SELECT FROM projectionist.state_command_projector_command WHERE key = %s "
        "FOR NO KEY UPDATE")


def held(world, command):
    """Whether the command's state is locked."""
    with world.connect() as connection:
        return connection.execute(f"{LOCK} SKIP LOCKED", [command]).fetchone() is None


def caught_up(world, count, seed):
    """Consumers that have read some commands; (consumers, stream, their ids sorted)."""
    stream = streams.of_commands(count, seed)
    consumers = {"command-projector": world.start("command-projector", "--lock-timeout", "3s"),
                 "event-recorder": world.start("event-recorder", "--lock-timeout", "3s")}
    world.publish(stream)
    world.until_caught_up()
    commands = sorted({event["command_id"] for event in stream
                       if events.topic_of(event) == events.COMMANDS})
    return consumers, stream, commands


def later(command, status="FAILED", at=events.START + events.HOUR):
    return events.status_changed(command, status, at, counter=1)


def test_a_deadlock_is_tried_again(world):
    consumers, stream, commands = caught_up(world, 30, seed=71)
    first, last = commands[0], commands[-1]
    projector = consumers["command-projector"]
    for attempt in range(8):
        # Both are there before it starts, in one partition, so that one transaction has both.
        projector.stop()
        more = [later(command, at=events.START + events.HOUR + attempt)
                for command in (first, last)]
        stream += more
        kafka.produce([events.record(event, world.schema_ids, partition=0) for event in more])
        gave_way = False
        with (world.connect() as connection,
              contextlib.suppress(psycopg.errors.DeadlockDetected), connection.transaction()):
            connection.execute(LOCK, [last])
            projector = world.start("command-projector", "--lock-timeout", "3s")
            world.until(lambda: blocked(world, projector), what="it is not held up by our lock")
            assert held(world, first), "it waits for the last and has not locked the first"
            # It cannot try again before we have its lock.
            projector.freeze()
            # With this each waits for the other. Its session has waited longer, so it should be the
            # one that finds the deadlock and gives way.
            connection.execute(LOCK, [first])
            gave_way = True
        projector.thaw()
        if gave_way:
            break
    else:
        pytest.fail("always the test gave way")
    world.until_caught_up()
    assert projector.metric("projectionist_retries_total") == 0, "a deadlock needs no waiting"
    projector.stop()  # so that its session has counted
    with world.connect() as connection:
        def deadlocks():
            return database.value(connection, "SELECT deadlocks FROM pg_stat_database "
                                  "WHERE datname = current_database()")
        world.until(lambda: deadlocks() > attempt, what="there was no deadlock")
        assert deadlocks() == attempt + 1, "it tried again what could only fail"
    world.assert_as_if_undisturbed(stream)


def test_a_lock_is_waited_for_again_and_again(world):
    consumers, stream, commands = caught_up(world, 30, seed=72)
    for consumer in consumers.values():
        consumer.stop()
    projector = world.start("command-projector", "--lock-timeout", "300ms")
    world.start("event-recorder")
    with world.connect() as connection, connection.transaction():
        connection.execute(LOCK, [commands[0]])
        more = [later(commands[0])]
        world.publish(more)
        world.until_logged(projector, "waiting for a server", "55P03", count=3)
        assert projector.alive() and not projector.ready()
    world.until_caught_up()
    world.until(projector.ready)
    world.assert_as_if_undisturbed(stream + more)


@contextlib.contextmanager
def small_disk(size):
    """A folder of Postgres's user on a disk of `size` MiB."""
    folder = Path(tempfile.mkdtemp(prefix="projectionist-", dir="/var/tmp"))
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}M", "tmpfs", folder],
        capture_output=True, check=False).returncode == 0
    try:
        if not mounted:
            pytest.skip("a small disk needs the right to mount one")
        shutil.chown(folder, "postgres", "postgres")
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", folder], check=True)
        folder.rmdir()


@contextlib.contextmanager
def on_disk(world, folder, table):
    """Moves a table there for a while."""
    admin = os.environ["PROJECTIONIST_CLUSTER_ADMIN_DSN"]
    space = sql.Identifier(f"small_{world.id}")
    name = sql.Identifier(table)
    where = conninfo.make_conninfo(admin, dbname=world.id)
    with psycopg.connect(where, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(
            space, sql.Literal(str(folder))))
        try:
            connection.execute(sql.SQL("ALTER TABLE {} SET TABLESPACE {}").format(name, space))
            yield
        finally:
            connection.execute(
                sql.SQL("ALTER TABLE {} SET TABLESPACE pg_default").format(name))
            connection.execute(sql.SQL("DROP TABLESPACE {}").format(space))


def test_a_full_disk_is_waited_for(world):
    stream = streams.of_commands(1500, seed=73)
    with small_disk(8) as folder, on_disk(world, folder, "safari_events"):
        ballast = folder / "ballast"
        free = shutil.disk_usage(folder).free
        with open(ballast, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - 512 * 1024)
        world.start("command-projector")
        recorder = world.start("event-recorder", "--batch-records", "500")
        world.publish(stream)
        world.until_logged(recorder, "waiting for a server", "53100", count=3)
        assert recorder.alive() and not recorder.ready()
        ballast.unlink()
        world.until_caught_up()
        world.until(recorder.ready)
        recorder.stop()
    world.assert_as_if_undisturbed(stream)


@pytest.mark.changes_tables
def test_a_parent_that_was_deleted_gets_a_placeholder_again(world):
    consumers, stream, _ = caught_up(world, 30, seed=74)
    recorder = consumers["event-recorder"]
    command = events.id_of("a command of its own")
    life = [later(command, status, events.START + number * events.SECOND)
            for number, status in enumerate(("QUEUED", "RUNNING"))]
    # One after the other: the recorder must have seen that the command needs no placeholder.
    world.publish(life)
    world.until_caught_up()
    for event in life:
        world.publish([events.frame_of(event)])
        world.until_caught_up()
    placeholders = recorder.metric("projectionist_placeholders_total")
    waits = recorder.metric("projectionist_retries_total")
    with world.connect() as connection:
        assert connection.execute("DELETE FROM safari_commands WHERE command_id = %s",
                                  [command]).rowcount == 1
        frames = [events.telemetry("sora.polling.started", events.START + number, counter=number,
                                   command_id=command) for number in range(300)]
        world.publish(frames)
        world.until_caught_up()
        row = connection.execute("SELECT * FROM safari_commands WHERE command_id = %s",
                                 [command]).fetchone()
        assert row["placeholder"] and row["type"] == "unknown"
        assert row["created_at"].timestamp() == events.START / events.SECOND
        assert database.value(connection, "SELECT count(*) FROM safari_events "
                              "WHERE command_id = %s", [command]) == len(frames)
        assert database.count(connection, "projectionist.dead_letters") == 0
    assert recorder.metric("projectionist_placeholders_total") == placeholders + 1
    assert recorder.metric("projectionist_retries_total") == waits
    assert len(recorder.logged("partitions assigned")) == 1
    with world.connect() as connection:
        # The two from before went with the command.
        want = streams.expected(stream + frames)
        assert database.count(connection, "safari_events") == want["safari_events"]


SLOW = """
    CREATE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_sleep(0.5);
        RETURN NULL;
    END;
    $$;
    CREATE TRIGGER take_long AFTER INSERT ON safari_commands
        FOR EACH STATEMENT EXECUTE FUNCTION take_long()
"""


def test_a_statement_time_out_of_the_server_is_not_ours(world):
    """A hosted Postgres may set one; statements that take longer would be retried for ever."""
    stream = streams.of_commands(30, seed=77)
    own = sql.Identifier(world.id)
    with world.connect() as connection:
        connection.execute(SLOW)
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET statement_timeout = '250ms'").format(own))
        world.start_all(1)
        world.publish(stream)
        world.until_caught_up()
        connection.execute(sql.SQL("ALTER DATABASE {} RESET statement_timeout").format(own))
        connection.execute("DROP TRIGGER take_long ON safari_commands")
    world.assert_as_if_undisturbed(stream)


# The error of each attempt, as long as there are any.
CONFLICTS = """
    CREATE SEQUENCE attempts;
    CREATE FUNCTION meet_a_conflict() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        met TEXT := (string_to_array('{met}', ' '))[nextval('attempts')];
    BEGIN
        IF met IS NULL THEN
            RETURN NEW;
        END IF;
        RAISE 'a conflict' USING ERRCODE = met;
    END;
    $$;
    CREATE TRIGGER meet_a_conflict BEFORE INSERT ON safari_events
        FOR EACH ROW EXECUTE FUNCTION meet_a_conflict()
"""


@pytest.mark.parametrize("met", [("40P01", "23503", "23503"), ("40P01",) * 8 + ("23503",)])
def test_conflicts_in_a_row_are_not_the_records_fault(world, met):
    consumers, stream, commands = caught_up(world, 30, seed=75)
    frame = events.telemetry("sora.polling.started", events.START + events.HOUR, counter=1,
                             command_id=commands[0])
    with world.connect() as connection:
        connection.execute(CONFLICTS.format(met=" ".join(met)))
        world.publish([frame])
        world.until_caught_up()
        assert database.value(connection, "SELECT last_value FROM attempts") == len(met) + 1
        connection.execute("DROP TRIGGER meet_a_conflict ON safari_events")
        assert database.count(connection, "projectionist.dead_letters") == 0
    assert consumers["event-recorder"].metric("projectionist_retries_total") == 0
    world.assert_as_if_undisturbed([*stream, frame])


def test_a_time_out_of_a_transaction_is_waited_for(world):
    """Postgres 17 has one, which may be set in the middle of a session."""
    consumers, stream, commands = caught_up(world, 30, seed=76)
    frame = events.telemetry("sora.polling.started", events.START + events.HOUR, counter=1,
                             command_id=commands[0])
    with world.connect() as connection:
        connection.execute(CONFLICTS.format(met="25P04"))
        world.publish([frame])
        world.until_logged(consumers["event-recorder"], "waiting for a server", "25P04")
        world.until_caught_up()
        connection.execute("DROP TRIGGER meet_a_conflict ON safari_events")
    world.assert_as_if_undisturbed([*stream, frame])

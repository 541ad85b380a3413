# SPDX-License-Identifier: Apache-2.0
"""Owners that freeze, are superseded, and thaw; and owners that are superseded unnoticed."""

import pytest
import stream as streams
from lib import database, events, kafka
from lib.proxy import Proxy
from lib.scenario_run import TOPICS_OF
from psycopg import conninfo
from world import PROGRAMS


def of_topic(stream, program):
    return [event for event in stream if events.topic_of(event) in TOPICS_OF[program]]


def until_read_on(world, consumer, seed):
    """The process commits records of a new stream."""
    before = consumer.metric("projectionist_records_total")
    more = streams.of_commands(100, seed=seed)
    world.publish(more)
    world.until(lambda: consumer.metric("projectionist_records_total") > before,
                what=f"{consumer.log_path.name} does not read on")
    return more


def test_frozen_while_idle(world):
    stream = streams.of_commands(150, seed=11)
    old = {program: world.start(program) for program in PROGRAMS}
    world.until_working(*old.values())
    world.publish(stream)
    world.until_caught_up()
    for consumer in old.values():
        consumer.freeze()
    new = {program: world.start(program) for program in PROGRAMS}
    more = streams.of_commands(150, seed=12)
    world.publish(more)
    world.until_caught_up()
    for consumer in old.values():
        assignments = len(consumer.logged("partitions assigned"))
        consumer.thaw()
        world.until_logged(consumer, "partitions assigned", count=assignments + 1)
        more += until_read_on(world, consumer, seed=13)
    world.until_caught_up()
    assert all(consumer.running for consumer in (*old.values(), *new.values()))
    world.assert_as_if_undisturbed(stream + more)


def hold_up(program, connection, known, unknown):
    """Holds the program up in the middle of a transaction, as soon as it sees these commands."""
    if program == "command-projector":  # it locks and loads its state before it writes
        connection.execute("SELECT FROM projectionist.state_command_projector_command "
                           "WHERE key = %s FOR NO KEY UPDATE", [known])
    else:  # it ensures the parents first
        connection.execute("INSERT INTO safari_commands (command_id, type) VALUES (%s, 'unknown')",
                           [unknown])


@pytest.mark.parametrize("program", PROGRAMS)
def test_frozen_inside_a_transaction(world, program):
    """idle_in_transaction_session_timeout ends its locks, so that another can continue."""
    stream = streams.of_commands(100, seed=21)
    for other in PROGRAMS:
        if other != program:
            world.start(other)
    old = world.start(program)
    world.until_working(*world.consumers.all)
    world.publish(stream)
    world.until_caught_up()
    known = next(event["command_id"] for event in stream
                 if events.topic_of(event) == events.COMMANDS)
    unknown = events.id_of("a command that nobody knows")
    more = of_topic([
        events.status_changed(known, "RUNNING", events.START, counter=1),
        events.telemetry("action.attempted", events.START, command_id=unknown)], program)
    with world.connect() as connection:
        connection.execute("BEGIN")
        hold_up(program, connection, known, unknown)
        world.publish(more)
        world.until(lambda: blocked(world, old), what=f"{program} is not held up by our lock")
        old.freeze()
        connection.execute("ROLLBACK")
    # Its transaction is open now, and it is frozen.
    assert world.behind()
    new = world.start(program)
    world.until_caught_up()
    assert new.metric("projectionist_records_total") == len(more)
    assignments = len(old.logged("partitions assigned"))
    old.thaw()
    world.until_logged(old, "partitions assigned", count=assignments + 1)
    more += until_read_on(world, old, seed=22)
    world.until_caught_up()
    assert old.logged("SQLSTATE 25P03") or old.logged("the connection to Postgres was lost")
    world.assert_as_if_undisturbed(stream + more)


def blocked(world, process):
    """Whether one of its statements waits for a lock."""
    with world.connect() as connection:
        return database.waits_for_lock(connection, f"%:{process.pid}")


@pytest.mark.parametrize("program", PROGRAMS)
def test_frozen_with_statements_on_their_way(world, program):
    """They reach Postgres when another owns the partitions, and must be refused."""
    for other in PROGRAMS:
        if other != program:
            world.start(other)
    stream = streams.of_commands(100, seed=31)
    with Proxy(world.dsn) as proxy:
        old = world.start(program, POSTGRES_DSN=proxy.dsn)
        world.until_working(*world.consumers.all)
        proxy.stall("up")
        world.publish(stream)
        world.until(proxy.held.is_set, what="nothing was sent to Postgres")
        old.freeze()
        world.start(program)
        world.until_caught_up()
        assignments = len(old.logged("partitions assigned"))
        proxy.resume()
        old.thaw()
        world.until_logged(old, "fenced")
        world.until_logged(old, "partitions assigned", count=assignments + 1)
        assert old.metric("projectionist_fenced_total") == 1
        more = until_read_on(world, old, seed=32)
        world.until_caught_up()
        world.assert_as_if_undisturbed(stream + more)
        assert old.running
        old.stop()


@pytest.mark.parametrize("named", [{}, {"application_name": "what the operator likes"}])
def test_frozen_in_the_middle_of_a_copy(world, named):
    """Postgres waits for the rest of it, and none of its timeouts ends that."""
    stream = streams.of_commands(150, seed=51)
    world.publish(stream)
    world.start("command-projector")
    with Proxy(world.dsn) as proxy:
        proxy.stall_copies()
        old = world.start("event-recorder",
                          POSTGRES_DSN=conninfo.make_conninfo(proxy.dsn, **named))
        world.until(proxy.held.is_set, what="nothing was copied")
        old.freeze()
        new = world.start("event-recorder")
        world.until_caught_up()
        assert new.logged("ended the transaction of an unresponsive owner", old.owner)
        assignments = len(old.logged("partitions assigned"))
        proxy.resume()
        old.thaw()
        world.until_logged(old, "the connection to Postgres was lost")
        world.until_logged(old, "partitions assigned", count=assignments + 1)
        stream += until_read_on(world, old, seed=52)
        world.until_caught_up()
        world.assert_as_if_undisturbed(stream)
        assert old.running
        old.stop()


@pytest.mark.parametrize("program", PROGRAMS)
def test_one_partition_is_claimed_by_another(world, program):
    """It loses one of twelve: the other eleven are given back with it, and none of their records
    may be skipped."""
    stream = streams.of_commands(2500, seed=41)
    world.publish(stream)
    for other in PROGRAMS:
        if other != program:
            world.start(other)
    consumer = world.start(program, "--batch-records", "10")
    ends = kafka.end_offsets(*TOPICS_OF[program])
    with world.connect() as connection:
        for times in range(1, 4):
            world.until_logged(consumer, "partitions assigned", count=times)
            batches = consumer.metric("projectionist_batches_total")
            world.until(lambda: consumer.metric("projectionist_batches_total") > batches + 3)
            take_away(connection, world.group(program), ends)
            world.until_logged(consumer, "fenced", count=times)
    world.until_caught_up()
    world.assert_as_if_undisturbed(stream)


def take_away(connection, group, ends):
    """Claims the partition that has most left to read for another owner."""
    have = database.next_offsets(connection, group)
    topic, partition = max(ends, key=lambda place: ends[place] - have.get(place, 0))
    taken = connection.execute(
        "UPDATE projectionist.consumer_offsets SET epoch = epoch + 1, owner = 'another' "
        "WHERE consumer_group = %s AND topic = %s AND partition = %s", [group, topic, partition])
    assert taken.rowcount == 1

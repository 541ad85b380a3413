# SPDX-License-Identifier: Apache-2.0
"""Sessions expire by stream time, whoever moved it on and whatever became of them afterwards."""

import time

import pytest

from lib import consumers, events, oracle, rebuilding
from lib.events import MINUTE, START
from test_rebuild_recording import record_to

TRACKER = "session-tracker"


def seen(world):
    """{session_id: (status, minutes from its start to its end)}"""
    return {str(row["session_id"]): (row["status"], row["ended_at"]
                                     and (row["ended_at"] - row["started_at"]).seconds // 60)
            for row in world.rows("safari_sessions")}


def assert_right(world, happened):
    want = oracle.expected(happened)["safari_sessions"]
    have = oracle.in_order(world.rows("safari_sessions"))
    assert not oracle.differences(have, want, "session_id")


def opened(number, at=START):
    return events.session_opened(events.id_of("session", number), at)


def leave_unswept(world, at):
    """What a replica leaves that is killed right after its commit: a stream time by which nobody
    has looked at the sessions yet."""
    world.database.execute(
        "UPDATE projectionist.consumer_offsets SET stream_time = to_timestamp(%s::float8 / 1000000)"
        " WHERE consumer_group = %s AND topic = %s", [at, world.group(TRACKER), events.TELEMETRY])


@pytest.mark.partitions(2)
def test_who_takes_over_looks_who_has_expired(world):
    world.publish([opened(1), events.telemetry("rate.limited", START)])
    world.catch_up(TRACKER)
    assert seen(world) == {events.id_of("session", 1): ("active", None)}
    leave_unswept(world, START + 31 * MINUTE)
    world.catch_up(TRACKER)
    assert seen(world) == {events.id_of("session", 1): ("expired", 30)}


@pytest.mark.partitions(2)
def test_heartbeats_expire_the_sessions_of_an_idle_system(world):
    """They are recorded: a rebuild sees the same time. They make no rows and no dead letters."""
    now = int(time.time() * 1_000_000)
    world.publish([opened(1, now - 31 * MINUTE), opened(2, now - 29 * MINUTE)])
    world.catch_up(TRACKER, "event-recorder")
    assert {status for status, _ in seen(world).values()} == {"active"}
    for topic in (events.SESSIONS, events.TELEMETRY):
        result = consumers.run("projectionist", "heartbeat", topic, "--once",
                               variables=world.consumers.variables)
        assert result.returncode == 0, result.stderr
    world.catch_up(TRACKER, "event-recorder")
    assert [seen(world)[events.id_of("session", n)] for n in (1, 2)] == [
        ("expired", 30), ("active", None)]
    assert world.letters() == [] and world.count("safari_events") == 0
    rebuilding.rebuild(world, TRACKER)
    assert seen(world)[events.id_of("session", 1)] == ("expired", 30)


@pytest.mark.partitions(2)
def test_more_than_are_looked_at_at_once_and_a_kill(world):
    """Nothing comes after the kill, and all of them have expired all the same."""
    happened = [opened(number) for number in range(4500)]
    world.publish(happened)
    world.catch_up(TRACKER)
    happened.append(events.telemetry("rate.limited", START + 31 * MINUTE))
    world.publish(happened[-1:])
    tracker = world.start(TRACKER)
    tracker.wait_until(lambda: world.value(
        "SELECT count(*) FROM safari_sessions WHERE status = 'expired'") > 0)
    tracker.kill()
    world.catch_up(TRACKER)
    assert_right(world, happened)


@pytest.mark.parametrize("first, then, status", [("30m", "10m", ("expired", 10)),
                                                 ("10m", "30m", ("active", None))])
def test_another_timeout_counts_for_what_is_looked_at_anew(world, first, then, status):
    """Rows are there already, of the time-out before, when something else comes to be known."""
    session = events.id_of("session", 1)
    world.publish([opened(1), events.telemetry("rate.limited", START + 20 * MINUTE)])
    world.catch_up(TRACKER, SESSION_TIMEOUT=first)
    assert seen(world)[session][0] == ("active" if first == "30m" else "expired")
    world.publish([events.telemetry("rate.limited", START - MINUTE,
                                    target=events.target(session))])
    world.catch_up(TRACKER, SESSION_TIMEOUT=then)
    assert seen(world) == {session: status}


def test_a_shorter_timeout_forgets_nobody(world):
    """Due by the time-out before, and by ours long since."""
    session = events.id_of("session", 1)
    world.publish([opened(1), events.telemetry("rate.limited", START + 20 * MINUTE)])
    world.catch_up(TRACKER, SESSION_TIMEOUT="30m")
    world.publish([events.telemetry("rate.limited", START + 31 * MINUTE)])
    world.catch_up(TRACKER, SESSION_TIMEOUT="10m")
    assert seen(world) == {session: ("expired", 10)}


def test_the_time_of_a_recording_counts(world, tmp_path):
    """Its records may be the latest; rows that a rebuild made of them stay what they are."""
    session, late = opened(1), events.telemetry("rate.limited", START + 31 * MINUTE)
    record_to(tmp_path / "late.avro", [world.record(late)], world.schema_ids)
    world.publish([session])
    world.catch_up(TRACKER)
    assert rebuilding.rebuild(world, TRACKER, "--from", tmp_path / "late.avro")[
        "differing_rows"] == 1
    assert_right(world, [session, late])
    more = events.telemetry("rate.limited", START, target=events.target(session["session_id"]))
    world.publish([more])
    world.catch_up(TRACKER)
    assert_right(world, [session, late, more])


@pytest.mark.partitions(1)
def test_facts_that_are_kept_expire_by_the_time_that_is_kept(world):
    """The record that told the time is gone; there are more sessions than one page of facts."""
    world.publish([opened(number) for number in range(4500)])
    world.publish([events.telemetry("rate.limited", START + 31 * MINUTE)])
    world.catch_up(TRACKER)
    report = rebuilding.rebuild(
        world, TRACKER, "--keep-retained", "--from",
        f"{events.COMMANDS}/0=0,{events.SESSIONS}/0=0,{events.TELEMETRY}/0=1")
    assert report["differing_rows"] == 0

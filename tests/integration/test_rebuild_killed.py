# SPDX-License-Identifier: Apache-2.0
"""A rebuild that is killed, cut off or left without an answer at any of its stages: the live tables
are as they were or as they should be, and the same command completes what is left to do."""

import random
import threading

import psycopg
import pytest

from lib import database, rebuilding
from lib.proxy import ANSWERED, ASKED, Proxy
from lib.rebuilding import FENCED, Damage, assert_right, rebuild, tables, traces, verify

CONSUMER = "session-tracker"
TABLE = "safari_sessions"
SWAPPING = "ShareRowExclusiveLock"  # of the live tables, from before the last look to the COMMIT
LOCKS = (f"SELECT count(*) FROM pg_locks WHERE relation = '{TABLE}'::regclass AND database = "
         "(SELECT oid FROM pg_database WHERE datname = current_database()) "
         "AND mode = %s AND granted = %s")


@pytest.fixture(scope="module")
def filled(tmp_path_factory, template):
    with rebuilding.open_filled(tmp_path_factory.mktemp("filled"), template, seed=9) as world:
        yield world


@pytest.fixture
def world(filled, tmp_path):
    """With wrong rows; `broken` is what the tables hold."""
    with rebuilding.open_broken(filled, tmp_path) as copy:
        Damage(copy, TABLE)
        copy.broken = tables(copy)
        yield copy


@pytest.fixture
def proxy(world):
    with Proxy(world.dsn) as proxy:
        yield proxy


def start(world, **variables):
    """Many small transactions: more moments at which a kill can come in between."""
    return rebuilding.start(world, "rebuild", CONSUMER, "--yes", "--batch-records", "20",
                            **variables)


def locks(world, granted):
    return world.value(LOCKS, [SWAPPING, granted])


def backends(world):
    return world.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                       "AND application_name = 'projectionist rebuild'")


def rebuilds(world):
    return world.value("SELECT count(*) FROM projectionist.rebuilds WHERE kind = 'rebuild'")


def assert_completes(world):
    """By the same command, as soon as Postgres has noticed that the other is gone."""
    database.wait_until(lambda: backends(world) == 0, message="its connections stay")
    process = start(world)
    process.wait()
    assert_right(world)
    verify(world, CONSUMER)
    return process.log


def at_commit(world, proxy, process, moment, when, act):
    """Acts at the COMMIT that is the moment-th, or the swap's. True: the connection is cut then."""
    seen = threading.Event()

    def decide(now):
        if seen.is_set() or not process:
            return False
        if moment == "swap":
            with psycopg.connect(world.dsn, autocommit=True) as look:
                due = (bool(look.execute(LOCKS, [SWAPPING, True]).fetchone()[0])
                       if now == ASKED else decide.swapping)
            decide.swapping = due
        else:
            due = proxy.commits[now] == moment
        if not due or now != when:
            return False
        seen.set()
        act()
        return True

    decide.swapping = False
    proxy.cut_commits(decide)
    return seen


# --- killed ----------------------------------------------------------------------------------


def test_killed_at_random_moments(world):
    """Again and again; what was read before a kill is not read again."""
    chance = random.Random(9)
    pause = threading.Event()  # never set: it only tells the time until a kill
    swapped = resumed = 0
    for _ in range(5):
        process = start(world)
        pause.wait(chance.uniform(0.1, 0.9))
        if process.running:
            process.kill()
        else:
            process.wait()
            swapped += 1
        resumed += "continuing an attempt" in process.log
        database.wait_until(lambda: backends(world) == 0)
        have = tables(world)
        if rebuilds(world):
            assert rebuilding.differing(have, world.right) == []
            break
        assert rebuilding.differing(have, world.broken) == []
    print(f"{resumed} went on with an attempt, {swapped} were done")
    assert_completes(world)


@pytest.mark.parametrize("moment, when", [
    (1, ASKED), (1, ANSWERED), (12, ASKED), ("swap", ASKED), ("swap", ANSWERED)])
def test_killed_around_a_commit(world, proxy, moment, when):
    """The first makes the shadow tables; then come those that fill them; the last is the swap's."""
    processes = []
    seen = at_commit(world, proxy, processes, moment, when, lambda: processes[0].kill())
    processes.append(start(world, POSTGRES_DSN=proxy.dsn))
    database.wait_until(seen.is_set, message="it came to no such commit")
    database.wait_until(lambda: backends(world) == 0)
    done = (moment, when) == ("swap", ANSWERED)
    assert rebuilding.differing(tables(world), world.right if done else world.broken) == []
    assert rebuilds(world) == done
    log = assert_completes(world)
    assert ("continuing an attempt" in log) is ((moment, when) != (1, ASKED))
    assert f"{0 if done else 3} rows written" in log
    assert rebuilds(world) == 1 + done


def test_killed_while_it_waits_for_a_lock(world):
    """Postgres lets a connection wait on though nobody is there any more; it must do no harm, and
    be noticed soon."""
    with psycopg.connect(world.dsn) as writer:
        writer.execute(f"LOCK TABLE {TABLE} IN ROW EXCLUSIVE MODE")
        process = start(world)
        database.wait_until(lambda: locks(world, granted=False))
        process.kill()
        assert rebuilding.differing(tables(world), world.broken) == []
        database.wait_until(lambda: backends(world) == 0, 5,
                            "the connection of a killed process waits on")
    assert rebuilding.differing(tables(world), world.broken) == []
    assert_completes(world)


# --- cut off ---------------------------------------------------------------------------------


@pytest.mark.parametrize("when", [ASKED, ANSWERED])
@pytest.mark.parametrize("moment", [1, 12, "swap"])
def test_a_commit_without_an_answer(world, proxy, moment, when):
    """Whether it happened is found out, and nothing is done twice. Where the shadow tables could
    not be made, the command says so and can be run again."""
    processes = []
    seen = at_commit(world, proxy, processes, moment, when, lambda: None)
    processes.append(start(world, POSTGRES_DSN=proxy.dsn))
    process = processes[0]
    database.wait_until(seen.is_set, message="it came to no such commit")
    ended = process.wait_for_end()
    assert ended in ((0, 1, 7) if moment == 1 else (0,)), process.described()
    if ended:
        assert rebuilding.differing(tables(world), world.broken) == []
        assert_completes(world)
    assert_right(world)
    assert rebuilds(world) == 1
    verify(world, CONSUMER)
    if moment == "swap":
        assert "3 rows written" in process.log


def test_backends_ended_by_an_administrator(world):
    """A rebuild that loses its connections again and again still comes to its end."""
    process = start(world)
    process.wait_until(lambda: f"{CONSUMER}/rebuild" in traces(world))
    ended = 0
    pause = threading.Event()
    chance = random.Random(1)
    while process.running and ended < 12:
        pause.wait(chance.uniform(0.02, 0.3))
        ended += world.value(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = "
            "current_database() AND application_name = 'projectionist rebuild'")
        # In this order: it may be written between the two.
        assert rebuilding.differing(tables(world), world.broken) == [] or rebuilds(world)
    assert ended > 1
    process.wait()
    if process.logged("tables of this attempt are left"):  # the last connections, too
        rebuild(world, CONSUMER)
    assert_right(world)
    verify(world, CONSUMER)


def test_nobody_else_may_rebuild_meanwhile(world, proxy):
    """A rebuild that hangs holds its place; once its connections are cut, another may."""
    process = start(world, POSTGRES_DSN=proxy.dsn)
    database.wait_until(lambda: proxy.commits[ANSWERED] > 5)
    proxy.stall()
    assert "another process is rebuilding" in rebuild(world, CONSUMER, code=FENCED)
    assert traces(world)
    process.kill()
    proxy.resume()
    proxy.cut_all()
    assert rebuilding.differing(tables(world), world.broken) == []
    assert_completes(world)

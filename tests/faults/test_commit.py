# SPDX-License-Identifier: Apache-2.0
"""Connections to Postgres that are lost around a COMMIT, and an unresponsive one."""

import random
import threading

import pytest
import stream as streams
from lib.proxy import ANSWERED, ASKED, Proxy
from world import PROGRAMS

CUT_EVERY = 5  # commits, alternately before they reach Postgres and after
LEAST_CUTS = 8  # of both kinds, for each consumer


@pytest.fixture
def proxies(world):
    """One for each consumer, so that each loses answers of its own."""
    with Proxy(world.dsn) as first, Proxy(world.dsn) as second:
        yield dict(zip(PROGRAMS, (first, second)))


def start(world, proxies, *arguments):
    return {program: world.start(program, *arguments, POSTGRES_DSN=proxy.dsn)
            for program, proxy in proxies.items()}


def now_and_then(proxy):
    """Which commits to cut: every CUT_EVERY-th before, and every CUT_EVERY-th after it happened."""
    phase = {ASKED: 0, ANSWERED: CUT_EVERY // 2}
    return lambda when: proxy.commits[when] % CUT_EVERY == phase[when]


def test_lost_answers_to_commit(world, proxies):
    """Each in-doubt commit is resolved, and the batch continues from there."""
    stream = streams.of_commands(800, seed=2)
    world.publish(stream)
    for proxy in proxies.values():
        proxy.cut_commits(now_and_then(proxy))
    consumers = start(world, proxies, "--batch-records", "20")
    world.until(lambda: all(min(proxy.cuts.values()) >= LEAST_CUTS for proxy in proxies.values()),
                60, lambda: f"too little was cut: {[proxy.cuts for proxy in proxies.values()]}")
    for proxy in proxies.values():
        proxy.cut_commits(None)
    world.until_caught_up()
    for program, consumer in consumers.items():
        print(program, proxies[program].cuts)
        committed = consumer.logged("resolved an in-doubt commit", "outcome=committed")
        not_committed = consumer.logged("resolved an in-doubt commit", 'outcome="not committed"')
        assert LEAST_CUTS <= len(committed) == proxies[program].cuts[ANSWERED]
        assert LEAST_CUTS <= len(not_committed) == proxies[program].cuts[ASKED]
        assert not consumer.logged("fenced")
    world.assert_as_if_undisturbed(stream)


def test_connections_cut_anywhere(world, proxies):
    stream = streams.of_commands(1000, seed=3)
    chance = random.Random(3)
    pause = threading.Event()
    start(world, proxies, "--batch-records", "50")
    feed = world.feed(stream, 1800)
    while feed.is_alive():
        pause.wait(chance.uniform(0.01, 0.2))
        chance.choice(list(proxies.values())).cut_all()
    feed.finish()
    world.until_caught_up()
    world.assert_as_if_undisturbed(stream)


def test_a_silent_postgres_is_waited_for(world, proxies):
    """For longer than the session timeout of the group and the idle-in-transaction timeout."""
    stream = streams.of_commands(800, seed=4)
    consumers = start(world, proxies, "--batch-records", "50")
    world.until_working(*consumers.values())
    feed = world.feed(stream, 1200)
    world.until(lambda: all(proxy.commits[ANSWERED] > 3 for proxy in proxies.values()))
    for proxy in proxies.values():
        proxy.stall()
    world.until(lambda: all(proxy.held.is_set() for proxy in proxies.values()))
    threading.Event().wait(4.5)  # the test is that nothing happens meanwhile
    for consumer in consumers.values():
        consumer.check()
        assert consumer.alive()
        assert not consumer.logged("partitions revoked")
    for proxy in proxies.values():
        proxy.resume()
    feed.finish()
    world.until_caught_up()
    world.assert_as_if_undisturbed(stream)


def test_a_stop_does_not_wait_for_a_silent_postgres(world, proxies):
    stream = streams.of_commands(300, seed=5)
    consumers = start(world, proxies, "--batch-records", "50", "--shutdown-timeout", "1s")
    world.until_working(*consumers.values())
    for proxy in proxies.values():
        proxy.stall()
    world.publish(stream)
    world.until(lambda: all(proxy.held.is_set() for proxy in proxies.values()))
    for consumer in consumers.values():
        consumer.stop(deadline=8)
    for program in PROGRAMS:
        world.start(program)
    world.until_caught_up()
    world.assert_as_if_undisturbed(stream)

# SPDX-License-Identifier: Apache-2.0
"""All five consumers under load while their replicas are replaced one after the other, as a
StatefulSet does it; then, by way of one migration, by those of the next version (tests/next)."""

import contextlib
import gc
import itertools
import os
import re
import threading
import time
from pathlib import Path

from lib import consumers, database, oracle, scenario, scenario_run
from lib.feed import Feed
from lib.machine import Busy
from lib.scenario_run import TOPICS_OF
from lib.stalls import Watch
from lib.world import new_database

NOW, NEXT = "projectionist", "projectionist-next"
MOST = 2_000_000  # events: more than are ever asked for
# Each record that Postgres refuses costs a dozen transactions, as its batch is divided until it is
# alone. Scenarios have two in a thousand payloads, far more than there are where things are well.
RATES = scenario.Rates(bad_json=0.0002)


class Load:
    """Scenarios, one after the other, published at a rate (events a second) until `end`. So many
    seconds of them are made up before it begins, for that takes longer than to publish them."""

    def __init__(self, world, seed, rate, ahead):
        self.happened, self.timestamps = [], {}
        self._world, self._seed, self._rate = world, seed, rate
        self._enough = threading.Event()
        records = self._records()
        ready = list(itertools.islice(records, rate * ahead))
        gc.freeze()  # or each collection looks at all of them, while nothing is published
        self._began = time.monotonic()
        self._feed = Feed(itertools.chain(ready, records), rate)

    def _records(self):
        blocks = scenario.blocks(self._seed, MOST, RATES, max(50, self._rate // 10))
        for number, block in enumerate(blocks):
            if self._enough.is_set():
                return
            self.happened.extend(block.events)
            self.timestamps.update(block.timestamps)
            yield from block.records(self._world.schema_ids, number)

    @property
    def sent(self):
        """Events, until now."""
        return self._feed.sent

    @property
    def reached(self):
        """Events a second, until now."""
        return self.sent / (time.monotonic() - self._began)

    def end(self):
        self._enough.set()
        self._feed.hurry()
        self._feed.finish()


def used(consumer):
    """(most MiB of memory that it had, thousandths of a core that it used) since its start."""
    status = Path(f"/proc/{consumer.pid}/status").read_text()
    stat = Path(f"/proc/{consumer.pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    up = float(Path("/proc/uptime").read_text().split()[0]) - int(stat[19]) / ticks
    return (int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024,
            (int(stat[11]) + int(stat[12])) / ticks / max(up, 0.1) * 1000)


def catch_up(world, **variables):
    """Each consumer alone, in a group of its own, reads what is there, into an empty database; its
    `used`, by name."""
    found = {}
    with new_database(template=world.template) as dsn:
        for name in TOPICS_OF:
            consumer = world.start(name, "--until-caught-up", POSTGRES_DSN=dsn,
                                   group=consumers.Consumers.new_group(name), **variables)
            with contextlib.suppress(OSError, TypeError):  # it has ended
                while consumer.running:
                    found[name] = used(consumer)
                    time.sleep(0.05)
            consumer.wait(0)
    return found


class Fleet:
    """So many replicas of each consumer, each with a static id, as the chart makes them."""

    def __init__(self, world, replicas, **variables):
        self._world = world
        self._variables = variables
        self.replicas = range(replicas)
        self._running = {}
        for name, number in itertools.product(TOPICS_OF, self.replicas):
            self.start(NOW, name, number)
        self.until_ready(*self.replicas)

    def start(self, version, name, number):
        self._running[name, number] = self._world.start(
            version, "consume", name, group=self._world.group(name),
            KAFKA_GROUP_INSTANCE_ID=f"{name}-{number}", INSTANCE=f"{name}-{number}",
            **self._variables)

    def used(self):
        """{consumer: (most MiB of memory that one replica had, thousandths of a core that the
        busiest used)} since their start."""
        found = {}
        for (name, _), consumer in self._running.items():
            found[name] = tuple(map(max, found.get(name, (0, 0)), used(consumer)))
        return found

    def until_ready(self, *numbers):
        for name, number in itertools.product(TOPICS_OF, numbers):
            self._running[name, number].wait_until_ready()

    def replace(self, version, number):
        """One replica of each consumer at once; none waits for another's."""
        leaving = {name: self._running[name, number] for name in TOPICS_OF}
        for consumer in leaving.values():
            consumer.terminate()
        while leaving:
            name = database.wait_until(
                lambda: next((name for name, left in leaving.items() if not left.running), None),
                60, f"these do not end: {list(leaving)}")
            leaving.pop(name).wait(0)
            self.start(version, name, number)
        self.until_ready(number)

    def roll(self, version):
        """The last replica first."""
        for number in reversed(self.replicas):
            self.replace(version, number)


class Roll:
    """What is done to a fleet, and the longest stall of each step: `stalls` is {step: seconds}."""

    def __init__(self, world, replicas, rate, seed, ahead=0, **variables):
        world.use_default_groups()
        self._world = world
        self.fleet = Fleet(world, replicas, **variables)
        self.load = Load(world, seed, rate, ahead)
        self.stalls = {}

    def step(self, name, action, deadline=120):
        with Watch(self._world.dsn, TOPICS_OF) as watch:
            busy, sent = Busy(), self.load.sent
            action()
            watch.until_settled(deadline)
        self.stalls[name] = watch.longest[0]
        print(f"{name}: longest stall {watch.longest[0]:.2f} s of {watch.longest[1]}\n"
              f"  {self.load.sent - sent} events meanwhile; looked every {watch.blind:.2f} s; {busy}",
              flush=True)

    def upgrade(self):
        """To the next version, which fills a column of safari_events that its migration adds."""
        self.step("migration", lambda: self.run("migrate"))
        last = self.fleet.replicas[-1]
        self.step("one replica of the next version", lambda: self.fleet.replace(NEXT, last))
        self._both_write()
        self.step("the others", lambda: [self.fleet.replace(NEXT, number)
                                         for number in reversed(self.fleet.replicas[:-1])])

    def _both_write(self):
        """From now on."""
        began = self._world.value("SELECT clock_timestamp()")
        rows = ("SELECT count(DISTINCT payload_bytes IS NULL) FROM safari_events "
                "WHERE stored_at > %s AND payload IS NOT NULL")
        database.wait_until(lambda: self._world.value(rows, [began]) == 2, 60,
                            "not both versions write")

    def run(self, *arguments):
        """A command of the next version."""
        result = consumers.run(NEXT, *arguments, variables=self._world.consumers.variables,
                               deadline=600)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def end(self, deadline):
        """Every table must be what the oracle makes of the events. What the old version wrote, it
        wrote without the new column: a rebuild fills that, and then verify finds nothing."""
        self.load.end()
        scenario_run.wait_for_ends(self._world, deadline=deadline)
        self._world.consumers.check()
        want = oracle.expected(self.load.happened, self.load.timestamps)
        with contextlib.suppress(AssertionError):  # stream time goes on after the last record
            database.wait_until(lambda: self._rows("safari_sessions") == want["safari_sessions"])
        for table in want:
            problems = scenario_run.report(table, self._rows(table), want[table],
                                           self.load.happened)
            assert not problems, problems
        self.run("rebuild", "event-recorder", "--yes")
        assert self._world.value("SELECT count(*) FROM safari_events WHERE payload_bytes IS NULL "
                                 "AND payload IS NOT NULL") == 0
        self.run("verify", "all")

    def _rows(self, table):
        return oracle.in_order(self._world.rows(table, (*database.VOLATILE, "payload_bytes")))

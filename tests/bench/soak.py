# SPDX-License-Identifier: Apache-2.0
"""A steady load with all that may happen to it; tests/bench/soak sets the stage and has the help."""

import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psycopg

sys.path[:0] = [str(Path(__file__).resolve().parents[1]),
                str(Path(__file__).resolve().parents[1] / "faults")]

import charts  # noqa: E402
import stream as streams  # noqa: E402
from confluent_kafka import KafkaException  # noqa: E402
from confluent_kafka.admin import NewPartitions  # noqa: E402
from lib import database, kafka, rebuilding  # noqa: E402
from lib.scenario_run import TOPICS_OF  # noqa: E402
from lib.world import new_database, open_world  # noqa: E402
from world import PROGRAMS, FaultWorld, cluster  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]
PARTITIONS, MORE_PARTITIONS = 6, 9
REPLICAS = 3
COMMANDS_AT_ONCE = 200  # of the stream: about nine events each
KILL_SECONDS = 10
LOOK_SECONDS = 0.05
AWAY_SECONDS = 3
CAUGHT_UP_SECONDS = 300
# The first is never killed, so that its memory is that of all it has read.
FLAGS = (("--commit", "async"), ("--workers", "2"), ())


def resident(process):
    text = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS"))) / 1024


class Soak:
    def __init__(self, world, minutes, rate, seed):
        self.world = world
        self.seconds = minutes * 60
        self.rate = rate
        self.seed = seed
        self.chance = random.Random(seed)
        self.fleet = {}
        self.marks = []
        self.waiting = []  # [(program, seen at, ends)] that the tables do not have yet
        self.waits = {program: [] for program in PROGRAMS}   # [(seconds, ms)]
        self.memory = {program: [] for program in PROGRAMS}  # [(seconds, MiB)]
        self.asked = 0
        self.began = time.monotonic()

    def now(self):
        return time.monotonic() - self.began

    def mark(self, what):
        self.marks.append((self.now(), what))

    def records(self):
        """Without end: each piece of the stream is made when it is its turn."""
        number = 0
        while True:
            for event in streams.of_commands(COMMANDS_AT_ONCE, self.seed * 1000 + number):
                yield self.world.record(event)
            number += 1

    def start(self, program, replica):
        self.fleet[program, replica] = self.world.start(program, *FLAGS[replica])

    # --- what happens to it ---

    def kill_one(self):
        program, replica = self.chance.choice([key for key in self.fleet if key[1] > 0])
        self.fleet[program, replica].check()
        self.fleet[program, replica].kill()
        self.start(program, replica)
        self.mark("a replica is killed")

    def restart_postgres(self):
        self.mark("Postgres is killed")
        cluster("kill", "postgres")
        time.sleep(AWAY_SECONDS)
        cluster("start", "postgres")

    def add_partitions(self):
        self.mark("partitions are added")
        topics = {topic for program in PROGRAMS for topic in TOPICS_OF[program]}
        admin = kafka.admin()  # must live until it has its answer
        for done in admin.create_partitions(
                [NewPartitions(topic, MORE_PARTITIONS) for topic in topics]).values():
            done.result(30)

    def plan(self):
        """[(second, what to do)]"""
        kills = [(second, self.kill_one)
                 for second in range(KILL_SECONDS, self.seconds - KILL_SECONDS, KILL_SECONDS)]
        return sorted([*kills, (self.seconds * 0.35, self.restart_postgres),
                       (self.seconds * 0.5, self.add_partitions),
                       (self.seconds * 0.7, self.restart_postgres)], key=lambda step: step[0])

    # --- what is looked at ---

    def look(self, connection):
        if self.now() - self.asked >= 1:
            self.asked = self.now()
            for program in PROGRAMS:
                self.waiting.append((program, time.monotonic(),
                                     kafka.end_offsets(*TOPICS_OF[program])))
                self.memory[program].append((self.now(), resident(self.fleet[program, 0].process)))
        have = {program: database.next_offsets(connection, self.world.group(program))
                for program in PROGRAMS}
        at = time.monotonic()
        there = [(program, seen, ends) for program, seen, ends in self.waiting
                 if all(have[program].get(place, 0) >= end for place, end in ends.items())]
        for item in there:
            self.waiting.remove(item)
            self.waits[item[0]].append((self.now(), 1000 * (at - item[1])))

    def watch_until(self, second):
        while self.now() < second:
            try:
                with self.world.connect() as connection:
                    while self.now() < second:
                        self.look(connection)
                        time.sleep(LOOK_SECONDS)
            except (psycopg.OperationalError, KafkaException):
                time.sleep(LOOK_SECONDS)

    def run(self):
        for program in PROGRAMS:
            for replica in range(REPLICAS):
                self.start(program, replica)
        self.world.until_working(*(self.fleet[program, 0] for program in PROGRAMS))
        feed = self.world.feed_of(self.records(), self.rate)
        self.began = time.monotonic()
        for second, step in self.plan():
            self.watch_until(second)
            step()
        self.watch_until(self.seconds)
        feed.abandon()
        self.world.until_caught_up(CAUGHT_UP_SECONDS)
        differing = rebuilding.differing_rows(self.world, PROGRAMS, CAUGHT_UP_SECONDS)
        return feed.sent, differing

    # --- the report ---

    def report(self, sent, differing):
        def quarter(points, number):
            values = [value for at, value in points
                      if number <= 4 * at / self.seconds < number + 1]
            return round(statistics.median(values), 1) if values else None

        folder = REPOSITORY / ".local" / "bench"
        summary = {
            "minutes": self.seconds / 60, "rate": self.rate, "seed": self.seed, "events": sent,
            "kills": sum(what == "a replica is killed" for _, what in self.marks),
            "differing_rows": differing,
            "memory_mib": {program: [quarter(points, number) for number in range(4)]
                           for program, points in self.memory.items()},
            "visible_ms": {program: {
                "median": round(statistics.median(value for _, value in points), 1),
                "most": round(max(value for _, value in points), 1)}
                for program, points in self.waits.items()},
        }
        charts.lines(folder / "soak.svg",
                     f"{sent:,} events in {self.seconds / 60:g} minutes, seed {self.seed}",
                     [("Resident memory of the replica that is never killed, MiB", self.memory),
                      ("From the end of the topics seen to rows visible, ms", self.waits)],
                     self.marks)
        (folder / "soak.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        print(json.dumps(summary, indent=2))


def main():
    minutes, rate, seed = map(int, sys.argv[1:])
    with new_database() as template, tempfile.TemporaryDirectory() as folder, \
            open_world(Path(folder), PARTITIONS, template, FaultWorld) as world:
        soak = Soak(world, minutes, rate, seed)
        sent, differing = soak.run()
        soak.report(sent, differing)
        return 0 if not any(differing.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""All consumers of captions together: what they make of made-up streams is what the oracle makes of
their events, row for row, whatever is delivered twice, late or early, whoever is killed meanwhile,
and also while all tables are rebuilt.

The seeds share one run, whose streams are mixed. PROJECTIONIST_SCENARIO_SEEDS says how many there
are, PROJECTIONIST_SCENARIO_FIRST_SEED with which to begin; see tests/captions.
"""

import os
import random
from dataclasses import dataclass

import pytest

from lib import captions_oracle, captions_run, captions_stream, rebuilding, scenario_run
from lib.consumers import QUICK
from lib.feed import Feed
from lib.world import open_world

FIRST = int(os.environ.get("PROJECTIONIST_SCENARIO_FIRST_SEED", "1"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("PROJECTIONIST_SCENARIO_SEEDS", "10")))
REPLICAS = 2
RATE = 1200  # records a second
KEPT_FOR_REBUILDS = 0.2  # of the records
BETWEEN_KILLS = (0.2, 0.7)  # seconds
DEADLINE = 180


@dataclass
class Outcome:
    """What a run left, and what it should have left."""

    mixed: captions_run.Mixed
    have: dict       # {table: rows}
    want: dict       # the same
    views: dict      # {view: rows}
    letters: dict    # {consumer: {(topic, event_id): how many, how many there should be}}
    verified: dict   # {consumer: rows that differ}
    kills: int


def run_with_kills(world, records, chance):
    """Kills replicas while most of the records come, rebuilds everything while the others do; how
    many were killed, and those that run."""
    fleet = {(name, number): world.start(name, "--batch-records", "100", **QUICK)
             for name in captions_run.CONSUMERS for number in range(REPLICAS)}
    for consumer in fleet.values():
        consumer.wait_until_ready()
    most = int(len(records) * (1 - KEPT_FOR_REBUILDS))
    feed, kills = Feed(records[:most], RATE), 0
    while not feed.done_within(chance.uniform(*BETWEEN_KILLS)):
        victim = chance.choice(sorted(fleet))
        fleet[victim].kill()
        fleet[victim] = world.start(victim[0], "--batch-records", "100", **QUICK)
        kills += 1
    feed.finish()
    feed = Feed(records[most:], RATE / 10)
    for name in captions_run.CONSUMERS:
        rebuilding.start(world, "rebuild", name, "--yes").wait(0, DEADLINE)
    feed.hurry()
    feed.finish()
    scenario_run.wait_for_ends(world, captions_run.CONSUMERS, DEADLINE)
    return kills, list(fleet.values())


@pytest.fixture(scope="module", name="outcome")
def run_of_all_seeds(tmp_path_factory, captions_template):
    streams = [captions_stream.Stream(seed) for seed in SEEDS]
    folder = tmp_path_factory.mktemp("captions")
    with open_world(folder, 6, captions_template, captions_run.World) as world:
        mixed = captions_run.Mixed(streams, world.schema_ids, FIRST)
        kills, fleet = run_with_kills(world, mixed.records, random.Random(f"kills {FIRST}"))
        want = mixed.expected()
        have = world.settled(want)
        for consumer in fleet:
            consumer.terminate()
        for consumer in fleet:
            consumer.wait()
        outcome = Outcome(mixed, have, want, world.views(),
                          {name: mixed.wrong_letters(world, name)
                           for name in captions_run.CONSUMERS},
                          rebuilding.differing_rows(world, captions_run.CONSUMERS,
                                                   deadline=DEADLINE), kills)
        print(f"{len(mixed.records)} records, {kills} kills, seeds from {FIRST}")
    return outcome


@pytest.mark.parametrize("table", captions_oracle.KEYS)
def test_rows_are_what_the_events_say(outcome, table):
    problems = captions_run.report(table, outcome.have[table], outcome.want[table],
                                   outcome.mixed.events)
    assert not problems, problems


@pytest.mark.parametrize("view", captions_run.VIEWS)
def test_views_are_what_the_events_say(outcome, view):
    want = captions_oracle.views(outcome.want)[view]
    assert want and outcome.views[view] == want


@pytest.mark.parametrize("consumer", captions_run.CONSUMERS)
def test_verify_finds_nothing(outcome, consumer):
    assert outcome.verified[consumer] == 0


@pytest.mark.parametrize("consumer", captions_run.CONSUMERS)
def test_dead_letters_are_those_that_cannot_be_applied(outcome, consumer):
    wrong = outcome.letters[consumer]
    assert not wrong, "\n".join(f"{name}: {counts}" for name, counts in list(wrong.items())[:5])


def test_replicas_were_killed(outcome):
    assert outcome.kills >= len(SEEDS) / 2

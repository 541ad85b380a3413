# SPDX-License-Identifier: Apache-2.0
"""All consumers together: what they make of scenarios is what the oracle makes of their events, row
for row, whatever is delivered twice, late or early, and whoever is killed meanwhile.

The seeds share one run, whose streams are mixed. PROJECTIONIST_SCENARIO_SEEDS says how many there
are, PROJECTIONIST_SCENARIO_FIRST_SEED with which to begin; see tests/soak.
"""

import contextlib
import os
import random
from dataclasses import dataclass

import pytest

from lib import database, events, oracle, rebuilding, scenario, scenario_run
from lib.world import open_world

FIRST = int(os.environ.get("PROJECTIONIST_SCENARIO_FIRST_SEED", "1"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("PROJECTIONIST_SCENARIO_SEEDS", "10")))
COMMANDS = 280  # about 3,000 events
CONSUMERS = tuple(scenario_run.TOPICS_OF)


@dataclass
class Outcome:
    """What a run left, and what it should have left."""

    stream: scenario_run.Stream
    happened: dict   # {seed: its events}
    have: dict       # {table: rows}
    want: dict       # the same
    letters: dict    # {consumer: {(topic, event_id): how many}}
    metrics: list    # by a query
    verified: dict   # {consumer: rows that differ, by projectionist verify}
    kills: int
    owners: dict     # {(table, key): seed}

    def rows_of(self, seed, table):
        """(those there are, those there should be)"""
        keys = oracle.KEYS[table]
        return tuple([row for row in rows
                      if self.owners.get((table, *(row[key] for key in keys))) == seed]
                     for rows in (self.have[table], self.want[table]))


@pytest.fixture(scope="module", name="outcome")
def run_of_all_seeds(tmp_path_factory, template):
    scenarios = {seed: scenario.Scenario(seed, COMMANDS) for seed in SEEDS}
    owners = {}
    for seed, one in scenarios.items():
        for table, rows in oracle.expected(one.events, one.timestamps).items():
            if table != "watermark_metrics":  # all seeds count there
                owners.update({(table, *(row[key] for key in oracle.KEYS[table])): seed
                               for row in rows})
    with open_world(tmp_path_factory.mktemp("scenarios"), 12, template) as world:
        stream = scenario_run.Stream(scenarios.values(), world.schema_ids, FIRST)
        kills = scenario_run.run_with_kills(world, stream.records, FIRST, consumers=CONSUMERS)
        want = stream.expected()
        # Time goes on in the session tracker after the last of its records.
        with contextlib.suppress(AssertionError):
            database.wait_until(lambda: oracle.in_order(world.rows("safari_sessions"))
                                == want["safari_sessions"], 10)
        have = scenario_run.tables_of(world)
        outcome = Outcome(stream, {seed: one.events for seed, one in scenarios.items()}, have, want,
                          {name: stream.letters_of(world, name) for name in CONSUMERS},
                          scenario_run.metrics_by_query(world),
                          rebuilding.differing_rows(world, CONSUMERS), kills, owners)
        print(f"{len(stream.records)} records, {len(stream.events)} events, {kills} kills")
    return outcome


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("table", [table for table in oracle.KEYS if table != "watermark_metrics"])
def test_rows_are_what_the_events_say(outcome, seed, table):
    have, want = outcome.rows_of(seed, table)
    problems = scenario_run.report(table, have, want, outcome.happened[seed])
    assert not problems, f"seed {seed}: {problems}"


@pytest.mark.parametrize("table", oracle.KEYS)
def test_rows_of_no_seed_are_what_the_events_say(outcome, table):
    have, want = outcome.rows_of(None, table)
    problems = scenario_run.report(table, have, want, outcome.stream.events)
    assert not problems, problems


def test_metrics_equal_a_query_over_the_removals(outcome):
    have = oracle.in_order({name: value for name, value in row.items() if name != "histogram"}
                           for row in outcome.have["watermark_metrics"])
    assert not oracle.differences(have, outcome.metrics, ("bucket_start", "method"))


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_verify_finds_nothing(outcome, consumer):
    assert outcome.verified[consumer] == 0


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_dead_letters_are_those_that_cannot_be_applied(outcome, consumer):
    have, want = outcome.letters[consumer], outcome.stream.dead_letters(consumer)
    wrong = {name: (have.get(name, 0), want.get(name, 0))
             for name in have.keys() | want.keys() if have.get(name, 0) != want.get(name, 0)}
    said = {(events.topic_of(event), event["event_id"]): event for event in outcome.stream.events}
    assert not wrong, "\n".join(
        f"{name}: {counts[0]} letters, should be {counts[1]}: {said.get(name)}"
        for name, counts in list(wrong.items())[:5])


def test_nothing_is_left_dangling(outcome):
    submitted = {event["command_id"] for event in outcome.stream.events if "body" in event
                 and event["body"][0] == "CommandSubmitted" and oracle.can_apply(
                     oracle.PROJECTOR, event)}
    dangling = [row for row in outcome.have["safari_commands"]
                if row["placeholder"] and str(row["command_id"]) in submitted]
    assert not dangling, dangling[:3]
    paths = {row["raw_path"] for row in outcome.have["safari_videos"]}
    orphans = [row for row in outcome.have["watermark_removals"]
               if row["video_id"] is None and row["input_path"] in paths]
    assert not orphans, orphans[:3]


def test_replicas_were_killed(outcome):
    assert outcome.kills >= len(SEEDS) / 2


def shuffled(records, seed):
    return random.Random(seed).sample(records, len(records))


def telemetry_first(records, seed):
    """One topic after the other."""
    return sorted(records, key=lambda record: (record.topic != events.TELEMETRY, record.topic))


def as_delivered(records, seed):
    return records


INTERLEAVINGS = (  # (partitions, order, whether all consumers run at once)
    (12, as_delivered, True), (5, telemetry_first, True), (1, shuffled, False))


@pytest.mark.parametrize("seed", [101, 102])
def test_tables_do_not_depend_on_the_interleaving(tmp_path, template, seed):
    one = scenario.Scenario(seed, COMMANDS)
    want = oracle.expected(one.events, one.timestamps)
    for number, (partitions, arrange, at_once) in enumerate(INTERLEAVINGS):
        folder = tmp_path / str(number)
        folder.mkdir()
        with open_world(folder, partitions, template) as world:
            stream = scenario_run.Stream([one], world.schema_ids, number, garbage=False)
            scenario_run.run_in_peace(world, arrange(stream.records, seed),
                                      CONSUMERS if at_once else CONSUMERS[::-1], at_once)
            have = scenario_run.tables_of(world)
        for table in want:
            problems = scenario_run.report(table, have[table], want[table], one.events)
            assert not problems, f"{partitions} partitions, {arrange.__name__}: {problems}"

# SPDX-License-Identifier: Apache-2.0
"""What is extreme, through all consumers of captions, two replicas of each: row for row what the oracle makes
of it, and no dead letter that it does not name."""

import pytest

from lib import captions_events, captions_extremes, captions_facts, captions_oracle, captions_run
from lib import rebuilding, scenario_run
from lib.consumers import QUICK
from lib.world import open_world

EVENTS, STAMPS = captions_extremes.all_told()


@pytest.fixture(scope="module", name="world")
def world_of_extremes(tmp_path_factory, captions_template):
    folder = tmp_path_factory.mktemp("extremes")
    with open_world(folder, 3, captions_template, captions_run.World) as world:
        for name in captions_run.CONSUMERS:
            for replica in [world.start(name, **QUICK) for _ in range(2)]:
                replica.wait_until_ready()
        world.publish([captions_events.record(event, world.schema_ids, timestamp=STAMPS.get(
            (captions_events.topic_of(event), event["event_id"]))) for event in EVENTS])
        scenario_run.wait_for_ends(world, captions_run.CONSUMERS)
        yield world


def test_rows_are_what_the_events_say(world):
    want = captions_oracle.expected(EVENTS, STAMPS)
    have = world.settled(want)
    wrong = [captions_run.report(table, have[table], want[table], EVENTS)
             for table in captions_oracle.KEYS]
    assert not any(wrong), "\n".join(filter(None, wrong))


@pytest.mark.parametrize("consumer", captions_run.CONSUMERS)
def test_only_what_is_to_be_refused_is(world, consumer):
    bad = captions_facts.dead_letters(EVENTS)[consumer]
    letters = world.letters(world.group(consumer))
    assert len(letters) == sum((captions_events.topic_of(event), event["event_id"]) in bad
                               for event in EVENTS), [letter["message"] for letter in letters]


def test_verify_finds_nothing(world):
    assert not any(rebuilding.differing_rows(world, captions_run.CONSUMERS).values())

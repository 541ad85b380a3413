# SPDX-License-Identifier: Apache-2.0
"""The edge cases of captions through all its consumers, two replicas of each, in one stream:
forwards, backwards and doubled. What must come of each is written by hand in lib.captions_cases."""

import pytest

from lib import captions_cases, captions_events, captions_run, database, scenario_run
from lib.world import open_world

FORWARDS, BACKWARDS, DOUBLED = (captions_cases.all_cases(name)
                                for name in ("forwards", "backwards", "doubled"))
CASES = FORWARDS + BACKWARDS + DOUBLED


def told():
    """What is delivered, the clock last: until then every time-out is still to come."""
    backwards = [event for case in BACKWARDS for event in case.events]
    return [*(event for case in FORWARDS for event in case.events), *backwards[::-1],
            *(event for case in DOUBLED for event in case.events * 2),
            captions_cases.clock("cases")]


@pytest.fixture(scope="module", name="world")
def world_of_all_cases(tmp_path_factory, captions_template):
    folder = tmp_path_factory.mktemp("cases")
    with open_world(folder, 3, captions_template, captions_run.World) as world:
        replicas = [world.start(name) for name in captions_run.CONSUMERS for _ in range(2)]
        for replica in replicas:
            replica.wait_until_ready()
        world.publish(told())
        scenario_run.wait_for_ends(world, captions_run.CONSUMERS)
        yield world


@pytest.fixture(scope="module", name="tables")
def tables_of_all_cases(world):
    def wrong():
        tables = world.tables()
        return "".join(case.wrong(tables) for case in CASES)

    try:
        database.wait_until(lambda: not wrong(), 10)
    except AssertionError:
        pass  # the tests of the cases say what is wrong
    return world.tables()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.number}-{case.name}")
def test_a_case_is_right(tables, case):
    assert not case.wrong(tables)


def test_only_what_is_to_be_refused_is(world):
    want = [event["event_id"] for case in FORWARDS + BACKWARDS for event in case.refused]
    want += [event["event_id"] for case in DOUBLED for event in case.refused * 2]
    readers = {consumer: [topic for topic in topics]
               for consumer, topics in captions_run.World.reads.items()}
    by_topic = {event["event_id"]: captions_events.topic_of(event)
                for case in CASES for event in case.refused}
    for consumer, topics in readers.items():
        letters = world.letters(world.group(consumer))
        assert len(letters) == sum(by_topic[one] in topics for one in want), (
            consumer, [letter["message"] for letter in letters])


def test_a_run_that_ends_late_is_well_again(world, tables):
    """After case 9 was held to have failed."""
    assert tables
    for cases in (FORWARDS, BACKWARDS, DOUBLED):
        event, video, status = captions_cases.ends_after_all(cases[8])
        world.publish([event])
        database.wait_until(lambda: world.value(
            "SELECT status FROM captions.videos WHERE id = %s", [video]) == status)

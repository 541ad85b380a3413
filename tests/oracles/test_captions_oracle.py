# SPDX-License-Identifier: Apache-2.0
"""The oracle of captions by its edge cases, whose outcome is written by hand."""

import random

import pytest

from lib import captions_cases, captions_facts, captions_oracle

ORDERS = {
    "forwards": list,
    "backwards": lambda events: events[::-1],
    "doubled": lambda events: events + events[::-1],
    "shuffled": lambda events: random.Random(7).sample(events, len(events)),
}


def cases(name="one"):
    return captions_cases.all_cases(name)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("case", cases(), ids=repr)
def test_a_case_alone(case, order):
    told = ORDERS[order]([*case.events, captions_cases.clock("alone")])
    assert not case.wrong(captions_oracle.expected(told))


def test_all_cases_together():
    every = cases("first") + cases("second")
    told = [event for case in every for event in case.events] + [captions_cases.clock("together")]
    tables = captions_oracle.expected(told)
    assert not "".join(case.wrong(tables) for case in every)
    assert captions_oracle.expected(random.Random(3).sample(told, len(told))) == tables


@pytest.mark.parametrize("case", cases(), ids=repr)
def test_dead_letters_are_those_of_the_cases(case):
    assert [event for event in case.events if captions_facts.refused(event)] == case.refused


def test_there_is_every_case_but_that_of_all_in_any_order():
    assert [number for number, _ in captions_cases.CASES] == list(range(1, 32))


def test_a_run_that_ends_late_is_well_again():
    case = cases()[8]
    event, video, status = captions_cases.ends_after_all(case)
    rows = captions_oracle.expected([*case.events, captions_cases.clock("late"), event])["videos"]
    assert {str(row["id"]): row["status"] for row in rows}[video] == status


def test_an_unbelievable_time_is_not_stream_time():
    case = cases()[23]
    hold = [event for event in case.events if captions_facts.kind_of(event) != "LockReleased"]
    ahead = captions_cases.flow(case.id("run"), "RUNNING", captions_cases.NOW)
    name = captions_facts.topic_of(ahead), ahead["event_id"]
    day = 24 * 3600 * 1000
    rows = [captions_oracle.expected([*hold, ahead], {
        name: captions_cases.NOW // 1000 - distance})["videos"][0]["locked_at"] is None
        for distance in (day, day + 1)]
    assert rows == [True, False]

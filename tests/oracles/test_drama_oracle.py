# SPDX-License-Identifier: Apache-2.0
"""The oracle of drama by rules whose outcome is written by hand, and the streams that it judges."""

import random

import pytest

from lib import drama_events as events
from lib import drama_oracle, drama_stream
from lib.drama_oracle import expected

SEEDS = range(1, 9)


def only(rows, **wanted):
    """The one row with these values."""
    found = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


def save(revision, life=1, drama="d", **body):
    return events.drama("DramaSaved", drama, life, revision, **body)


def test_a_later_save_counts_whole_and_null_says_nothing():
    told = [save(1, title="old", description="once", characters=[events.character("a")]),
            save(2, title="new", episodes=[events.episode("e")])]
    tables = expected(told[::-1] + told)
    assert only(tables["dramas"])["title"] == "new"
    assert only(tables["dramas"])["description"] is None
    assert only(tables["dramas"])["episode_count"] == 1
    assert [row["id"] for row in tables["characters"]] == ["a"]
    assert len(tables["drama_saves"]) == 2


def test_ids_of_siblings():
    ids = [own for own, _ in drama_oracle.named(
        [{"id": name} for name in ("a", "", "a", "a#2", "a", "", "#6", "a#2")])]
    assert ids == ["a", "#2", "a#3", "a#2", "a#4", "#6", "#6#2", "a#2#2"]


def test_a_slot_has_its_latest_value_and_null_clears():
    told = [save(1, characters=[events.character("a", url="old")]),
            events.drama("MediaSet", "d", 1, 9, level="character", path=["a"], value="set"),
            save(10, characters=[events.character("a")])]
    assert only(expected(told)["characters"])["url"] == "set"
    told.append(events.drama("MediaSet", "d", 1, 11, level="character", path=["a"]))
    assert only(expected(told)["characters"])["url"] is None


def test_lives():
    told = [save(1, title="old"), events.drama("DramaDeleted", "d", 1, 2), save(3, title="late")]
    assert not expected(told)["dramas"]
    told.append(save(5, life=5))
    assert only(expected(told)["dramas"])["title"] is None
    assert not expected([save(9, life=0, source="import"), *told,
                         events.drama("DramaDeleted", "d", 5, 6)])["dramas"]


def test_a_parent_follows_from_its_children():
    told = [events.job("JobCreated", "d", "p", 1, total_jobs=3),
            events.job("JobCreated", "d", "a", 2, parent_job_id="p"),
            events.job("JobCreated", "d", "b", 3, parent_job_id="p"),
            events.job("JobStatusChanged", "d", "a", 4, status="failed", error="e")]
    row = only(expected(told)["jobs"], job_id="p")
    assert (row["status"], row["total_jobs"], row["failed_jobs"], row["pending_jobs"],
            row["error"]) == ("processing", 3, 1, 2, None)
    told += [events.job("JobCreated", "d", "c", 5, parent_job_id="p"),
             events.job("JobStatusChanged", "d", "b", 6, status="completed"),
             events.job("JobStatusChanged", "d", "c", 7, status="running"),
             events.job("JobStatusChanged", "d", "c", 8, status="completed")]
    row = only(expected(told)["jobs"], job_id="p")
    assert (row["status"], row["completed_jobs"], row["pending_jobs"]) == ("failed", 2, 0)
    assert [row[name].microsecond for name in ("started_at", "completed_at")] == [7, 8]


def test_rings_count_for_nothing_and_unknown_parents_are_there():
    told = [events.job("JobCreated", "d", "a", 1, parent_job_id="b"),
            events.job("JobCreated", "d", "b", 1, parent_job_id="a"),
            events.job("JobCreated", "d", "tail", 1, parent_job_id="a"),
            events.job("JobCreated", "d", "child", 2, parent_job_id="nobody"),
            events.job("JobStatusChanged", "d", "stray", 2, status="running")]
    rows = expected(told)["jobs"]
    assert {row["job_id"]: (row["parent_job_id"], row["total_jobs"], row["pending_jobs"])
            for row in rows} == {"a": ("b", 1, 1), "b": ("a", 1, 0), "tail": ("a", 1, 0),
                                 "child": ("nobody", 1, 0), "nobody": (None, 1, 1)}
    assert only(rows, job_id="nobody")["job_type"] == "unknown"


def test_a_deletion_takes_jobs_unless_a_new_life_began_before_it():
    told = [save(1), events.job("JobCreated", "d", "old", 5),
            events.drama("DramaDeleted", "d", 1, 10), events.job("JobCreated", "d", "new", 10)]
    assert [row["job_id"] for row in expected(told)["jobs"]] == ["new"]
    told.append(save(7, life=7))
    assert [row["job_id"] for row in expected(told)["jobs"]] == ["new", "old"]


def test_a_ledger():
    entry = drama_stream.id_of("entry")
    told = [events.user("TokensChanged", "u", 1, delta=-10),
            events.user("TokensChanged", "u", 4, delta=-9, entry_id=entry),
            events.user("TokensChanged", "w", 3, delta=-1, entry_id=entry)]
    assert not expected(told)["users"] and len(expected(told)["token_ledger"]) == 2
    told.append(events.user("UserRegistered", "u", 5))
    assert only(expected(told)["users"])["tokens"] == 20
    assert not expected([*told, events.user("UserDeleted", "u", 2)])["users"]


# --- streams ---------------------------------------------------------------------------------

@pytest.fixture(scope="module", name="streams")
def streams_of_all_seeds():
    return [drama_stream.Stream(seed) for seed in SEEDS]


def test_shapes_are_those_of_stored_dramas():
    for name, nodes in drama_stream.GRAPHS.items():
        assert len(events.graph(*drama_stream.shape(name))) == nodes
    ids = {name: {path[-1] for _, _, path in events.graph(*drama_stream.shape(name))}
           for name in drama_stream.GRAPHS}
    assert ids["alpha"] < ids["beta"]


def test_a_seed_gives_the_same_events_and_another_seed_others(streams):
    assert drama_stream.Stream(1).events == streams[0].events
    assert not ({event["event_id"] for event in streams[0].events}
                & {event["event_id"] for event in streams[1].events})
    for one in streams:
        assert len({event["event_id"] for event in one.events}) == len(one.events)


def test_everything_happens(streams):
    every = [event for one in streams for event in one.events]
    assert {event["body"][0] for event in every} == set(events.BODIES)
    tables = expected(every)
    assert all(tables.values())
    jobs = tables["jobs"]
    assert {row["status"] for row in jobs} == {"pending", "processing", "completed", "failed"}
    assert any(row["job_type"] == "unknown" for row in jobs)
    assert any(row["status"] == "completed" and row["completed_jobs"] > 40 for row in jobs)
    assert any(row["attempts"] == 2 for row in jobs)
    assert {row["owner"] for row in tables["assets"]} == {"drama", "character", "episode", "scene"}
    assert any("#" in row["id"] for row in tables["scenes"])
    assert {row["status"] for row in tables["dramas"]} >= {"completed", "failed", "processing"}
    assert len(tables["dramas"]) < len({event["drama_id"] for event in every
                                        if "drama_id" in event})
    assert any(row["tokens"] < 0 for row in tables["users"])


def test_what_is_meant_to_be_refused_is_refused(streams):
    for one in streams:
        poison = {drama_stream.id_of("drama", one.seed, "poison", number) for number in range(16)}
        assert poison == {event["event_id"] for event in one.events
                          if drama_oracle.refused(event)}


@pytest.mark.parametrize("order", range(3))
def test_the_oracle_does_not_depend_on_the_order(streams, order):
    one = streams[order]
    tables = expected(one.events)
    assert expected(one.deliveries(order)) == tables
    assert expected(random.Random(order).sample(one.events, len(one.events))) == tables

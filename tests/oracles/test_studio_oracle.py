# SPDX-License-Identifier: Apache-2.0
"""The oracle of studio by rules whose outcome is written by hand, and the streams that it judges."""

import random
import uuid
from decimal import Decimal

import pytest

from lib import studio_events as events
from lib import studio_oracle, studio_stream
from lib.studio_oracle import expected, v5

SEEDS = range(1, 9)
P = "aaaaaaaa-0000-4000-8000-000000000001"
A, B, C = (f"cccccccc-0000-4000-8000-00000000000{letter}" for letter in "abc")


def only(rows, **wanted):
    """The one row with these values."""
    found = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


def save(revision, **body):
    return events.project("ProjectSaved", P, revision, **body)


def clip(revision, one, **body):
    return events.clip("ClipSaved", P, revision, clip_id=one, **body)


def test_texts_are_those_that_were_named_last():
    told = [save(1, title="old", script="s"), save(3, fields=["script", "shoe"], title="no"),
            save(2, title="new")]
    for order in (told, told[::-1] + told):
        tables = expected(order)
        row = only(tables["projects"])
        assert (row["title"], row["script"], row["revision"]) == ("new", None, 3)
        assert only(tables["project_saves"], revision=3)["script_chars"] == 0
        assert only(tables["project_saves"], revision=1)["script_chars"] == 1


def test_ids_of_scenes():
    literal = "dddddddd-0000-4000-8000-00000000000d"
    one = v5("studio/scene", P, "scene-1")
    assert studio_oracle.scene_row_ids(P, ["scene-1", "", "scene-1", literal.upper(), literal]) == [
        one, v5("studio/scene", P, "2"), v5("studio/scene", P, one, 2), uuid.UUID(literal),
        v5("studio/scene", P, literal, 2)]
    second = v5("studio/scene", P, one, 2)
    assert studio_oracle.scene_row_ids(P, ["scene-1", "scene-1", str(second), str(one)]) == [
        v5("studio/scene", P, one, 3), v5("studio/scene", P, one, 4), second, one]


def test_the_order_of_clips_and_their_scenes():
    told = [save(1, scenes=[events.scene("scene-1")]),
            clip(1, A, scene_id="scene-1"), clip(2, B, scene_id=str(v5("studio/scene", P, "scene-1"))),
            clip(3, C, scene_id="scene-9", status="timeout"),
            events.clip("ClipTrimmed", P, 4, clip_id=A, end_trim=2),
            events.clip("ClipsReordered", P, 5, clip_ids=[C, P, A, C])]
    rows = expected(told)["clips"]
    assert [str(row["id"]) for row in sorted(rows, key=lambda row: row["order_index"])] == [C, A, B]
    assert [row["scene_id"] is None for row in sorted(rows, key=lambda row: str(row["id"]))] == [
        False, False, True]
    assert only(rows, order_index=1)["end_trim"] == Decimal(2)
    assert only(rows, order_index=0)["status"] == "failed"
    gone = expected([*told, save(9, scenes=[]), events.clip("ClipDeleted", P, 0, clip_id=C)])
    assert [row["scene_id"] for row in gone["clips"]] == [None, None]
    assert {row["order_index"] for row in gone["clips"]} == {0, 1}


def test_what_waits_and_what_is_deleted():
    told = [clip(5, A, created_at=1), clip(2, A), clip(3, B),
            events.clip("ClipDeleted", P, 1, clip_id=B),
            events.media("ExportSaved", P, 4, export_id=A)]
    waiting = expected(told)["projectionist.studio_waiting"]
    assert {row["kind"]: row["since"].microsecond for row in waiting} == {"clip": 2, "export": 4}
    assert not expected(told)["clips"]
    assert len(expected([*told, save(9)])["exports"]) == 1
    deleted = expected([*told, save(9), events.project("ProjectDeleted", P, 1)])
    assert {table for table, rows in deleted.items() if rows} == {"project_saves"}


def test_a_job():
    told = [events.job("JobRegistered", "j", 1, project_id=P, type="clip"),
            events.job("JobStatusChanged", "j", 4, status="running"),
            events.job("JobStatusChanged", "j", 5, status="done", result={"a": 1}),
            events.job("JobProgressed", "j", 6, progress=40),
            events.project("ProjectDeleted", P, 9), events.project("ProjectDeleted", P, 8)]
    row = only(expected(told)["generation_jobs"])
    assert (row["status"], row["progress"], row["result"], row["type"]) == (
        "success", 100, {"a": 1}, "clip")
    assert (row["started_at"].microsecond, row["completed_at"].microsecond,
            row["project_deleted_at"].microsecond, row["revision"]) == (4, 5, 8, 6)
    row = only(expected(told[:1] + [events.job("JobProgressed", "j", 1, progress=7)])[
        "generation_jobs"])
    assert (row["status"], row["progress"]) == ("running", 7)


def test_voices_and_objects():
    told = [events.voice("VoiceSaved", "v", 1), events.voice("VoiceDeleted", "v", 2),
            events.stored("ObjectStored", "clips", f"projects/{P}/a", 1),
            events.stored("ObjectStored", "clips", f"projects/{P}", 1)]
    tables = expected(told)
    assert not tables["voices"]
    assert only(tables["studio_objects"], project_id=uuid.UUID(P))["object_key"].endswith("/a")
    again = expected([*told, events.voice("VoiceSaved", "v", 3)])
    assert only(again["voices"])["created_at"].microsecond == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_follow_from_the_set_of_events(seed):
    stream = studio_stream.Stream(seed, projects=8)
    want = expected(stream.events)
    shuffled = stream.deliveries(seed) + stream.deliveries(seed + 1)
    random.Random(seed).shuffle(shuffled)
    assert expected(shuffled) == want
    for table, key in studio_oracle.KEYS.items():
        keys = [tuple(row[column] for column in key) for row in want[table]]
        assert len(set(keys)) == len(keys), table
    for row in want["clips"]:
        assert row["project_id"] in {project["id"] for project in want["projects"]}


def test_streams_reach_what_can_go_wrong():
    tables = {}
    told = []
    for seed in SEEDS:
        stream = studio_stream.Stream(seed)
        told += stream.events
        for table, rows in expected(stream.events).items():
            tables.setdefault(table, []).extend(rows)
    assert all(tables.values()), {table: len(rows) for table, rows in tables.items()}
    assert sum(map(studio_oracle.refused, told)) == 22 * len(SEEDS)
    assert {row["status"] for row in tables["generation_jobs"]} == {
        "queued", "running", "success", "error"}
    assert any(row["project_deleted_at"] for row in tables["generation_jobs"])
    assert any(row["scene_id"] for row in tables["clips"])
    assert {row["kind"] for row in tables["projectionist.studio_waiting"]} == {
        "clip", "export", "audio_file"}
    assert len({row["id"] for row in tables["clips"]}) < len(tables["clips"])
    assert any(row["client_id"] == "" for row in tables["scenes"])

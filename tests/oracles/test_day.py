# SPDX-License-Identifier: Apache-2.0
"""The recording of a generated day holds what it promises, and shares nothing with the jobs'. Needs
PyPI once, for these, and no servers."""

import json
import subprocess
from collections import Counter
from datetime import datetime, timedelta, timezone

import day_expected
import fastavro
import gaia_expected
import gaia_log
import pytest
import recorder
from lib import events, oracle, scenario_commands

RECORDINGS = recorder.REPOSITORY / "tests" / "recordings"
DAY = datetime(2014, 8, 20, tzinfo=timezone.utc)
SHORT = ("--commands", "40")


def day(*arguments):
    return subprocess.run([RECORDINGS / "day", *arguments], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=120, check=False)


@pytest.fixture(scope="module", name="folder")
def made_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings") / "day"
    run = day("--output", folder)
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return folder


@pytest.fixture(scope="module", name="happened")
def read_events(folder):
    return day_expected.read(folder)


@pytest.fixture(scope="module", name="tables")
def expected_tables(happened):
    return day_expected.expected(happened)


def test_every_kind_of_command_is_there_with_its_frames(happened):
    submitted = [event["body"][1] for event in happened
                 if event.get("body", ("", 0))[0] == "CommandSubmitted"]
    assert {body["type"] for body in submitted} == set(scenario_commands.TYPES)
    assert 1100 < len(submitted) <= 1200
    frames = Counter(event["type"] for event in happened
                     if events.topic_of(event) == events.TELEMETRY)
    assert set(frames) >= {
        "status.changed", "action.attempted", "sora.prompt.submitted", "sora.polling.started",
        "sora.video.ready", "sora.video.downloaded", "sora.video.cleaned", "sora.usage.checked"}


def test_every_command_is_submitted_once_and_ends(tables, happened):
    assert Counter(event["body"][0] for event in happened if "body" in event)[
        "CommandSubmitted"] == len(tables["safari_commands"])
    assert {row["status"] for row in tables["safari_commands"]} == {
        "SUCCEEDED", "FAILED", "CANCELLED"}
    assert all(row["completed_at"] and row["type"] != "unknown"
               for row in tables["safari_commands"])


def test_commands_fail_in_every_way(tables):
    """And some removals of each method have a processing time."""
    commands, removals = tables["safari_commands"], tables["watermark_removals"]
    results = [row["result"] or {} for row in commands]
    assert any("clean_error" in result for result in results)
    assert any(result.get("failed") for result in results)
    assert any(row["status"] == "FAILED" and "results" in (row["result"] or {})
               for row in commands)
    assert {row["status"] for row in tables["safari_videos"]} >= {"CLEANED", "DOWNLOADED", "FAILED"}
    assert {row["status"] for row in tables["safari_sessions"]} == {"active", "closed", "expired"}
    assert Counter(row["success"] for row in removals)[False] > 10
    timed = Counter(row["method"] for row in removals if row["processing_time_ms"] is not None)
    assert set(timed) == {row["method"] for row in removals} and min(timed.values()) > 50
    # A minute, or so: nobody's clock was set.
    assert max(row["processing_time_ms"] or 0 for row in removals) < 120_000


def test_nothing_becomes_a_dead_letter(happened):
    assert oracle.dead_letters(happened) == {name: set() for name in oracle.CONSUMERS}


def test_records_come_in_order_of_time(folder):
    for topic in events.TOPICS:
        with open(folder / f"{topic}.avro", "rb") as file:
            found = [item for item in fastavro.reader(file) if "value" in item]
        assert {item["topic"] for item in found} == {topic}
        stamps = [item["timestamp"] for item in found]
        assert stamps == sorted(stamps)
        assert stamps[0] >= DAY and stamps[-1] < DAY + timedelta(days=1)


def test_keys_and_timestamps_are_those_of_the_events(folder, happened):
    found = []
    for topic in events.TOPICS:
        with open(folder / f"{topic}.avro", "rb") as file:
            found += [(item["key"].decode(), round(item["timestamp"].timestamp() * 1000))
                      for item in fastavro.reader(file) if "value" in item]
    assert found == [(events.key_of(event), event["emitted_at"] // events.MILLISECOND)
                     for event in happened]


def test_nothing_is_shared_with_the_jobs(tables):
    """No id, path, key or hour; and all sessions of the jobs have expired by then."""
    jobs = gaia_expected.expected()
    assert not jobs.keys() & {str(row["command_id"]) for row in tables["safari_commands"]}
    sessions = gaia_expected.expected_sessions()
    assert not sessions.keys() & {str(row["session_id"]) for row in tables["safari_sessions"]}
    keys = {row["idempotency_key"] for row in tables["safari_commands"]} - {None}
    assert keys and not any(key.startswith("gaia-") for key in keys)
    paths = {row[column] for table, columns in (
        ("safari_videos", ("raw_path", "cleaned_path")),
        ("watermark_removals", ("input_path", "output_path")))
        for row in tables[table] for column in columns} - {None}
    assert paths and all(path.startswith("/videos/2014/") for path in paths)
    first = min(row["bucket_start"] for row in tables["watermark_metrics"])
    last = max(completed for _, _, _, completed in jobs.values())
    assert last + timedelta(hours=1) < first
    assert max(row[4] for row in sessions.values()) + gaia_expected.HALF_AN_HOUR < DAY


def test_a_recording_is_made_once_and_always_the_same(tmp_path):
    folder, other = tmp_path / "day", tmp_path / "other"
    assert day("--output", folder, *SHORT).returncode == 0
    again = day("--output", folder, *SHORT)
    assert (again.returncode, again.stdout) == (0, f"day: {folder} holds the recording already\n")
    assert day("--output", other, *SHORT, "--seed", "7").returncode == 0
    assert json.loads((other / "recording.json").read_text())["seed"] == 7
    ids = [{event["event_id"] for event in day_expected.read(path)} for path in (folder, other)]
    assert not ids[0] & ids[1]
    assert day("--output", other, *SHORT).returncode == 0
    for path in folder.iterdir():
        assert (other / path.name).read_bytes() == path.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["day", "other"]


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("mine")
    run = day("--output", tmp_path, *SHORT)
    assert run.returncode == 1
    assert run.stderr == (f"day: {tmp_path} holds something else; delete it or choose another "
                          "--output\n")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("arguments", [("--seed", "-1"), ("--seed", "x"), ("--commands", "0"),
                                       ("--commands", "1000000")])
def test_numbers_that_make_no_sense_are_refused(tmp_path, arguments):
    run = day("--output", tmp_path / "day", *arguments)
    assert run.returncode == 2 and "is not a number from" in run.stderr
    assert not any(tmp_path.iterdir())

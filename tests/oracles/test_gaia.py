# SPDX-License-Identifier: Apache-2.0
"""The Gaia recording says what the job log says. Needs PyPI once, and no servers."""

import importlib.util
import json
import subprocess
from collections import Counter
from importlib.machinery import SourceFileLoader
from pathlib import Path

import fastavro
import gaia_expected
import gaia_log
import pytest
from lib import avro

JOBS = 400
RECORDINGS = Path(gaia_expected.__file__).parent


def gaia(*arguments):
    return subprocess.run([RECORDINGS / "gaia", *arguments], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=120, check=False)


@pytest.fixture(scope="module", name="folder")
def made_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings") / "gaia"
    run = gaia("--output", folder, "--jobs", str(JOBS))
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""  # a progress bar is for terminals only
    return folder


def script_itself():
    loader = SourceFileLoader("gaia_script", str(RECORDINGS / "gaia"))
    script = importlib.util.module_from_spec(importlib.util.spec_from_loader("gaia_script", loader))
    loader.exec_module(script)
    return script


def messages(folder, topic):
    """[(message, event)] of a recording, as whoever replays it finds them."""
    schemas = {}
    found = []
    with open(folder / f"{topic}.avro", "rb") as file:
        for name, item in fastavro.reader(file, return_record_name=True,
                                          return_record_name_override=True):
            if name == "projectionist.RecordedSchema":
                assert item["subject"] == f"{topic}-value"
                schemas[item["id"]] = item["schema"]
            else:
                assert item["topic"] == topic
                schema_id = int.from_bytes(item["value"][1:5], "big")
                found.append((item, avro.decode(item["value"], schemas[schema_id])[1]))
    assert [json.loads(text) for text in schemas.values()] == [json.loads(avro.schema_text(topic))]
    return found


def cursor(event):
    return tuple(int(part) for part in event["cursor"].split("-"))


def microseconds(at):
    return int(at.timestamp()) * 1_000_000


def test_the_commands_are_the_jobs(folder):
    rows = {}
    for _, event in messages(folder, "safari.commands"):
        name, body = event["body"]
        at = event["emitted_at"]
        if name == "CommandSubmitted":
            rows[event["command_id"]] = ["none", at, None, None]
            continue
        row = rows[event["command_id"]]
        row[0] = body["status"]
        if body["status"] == "RUNNING":
            row[2] = at
        elif body["status"] != "QUEUED":
            row[3] = at
    assert {key: tuple(row) for key, row in rows.items()} == {
        key: (status, *(None if at is None else microseconds(at) for at in times))
        for key, (status, *times) in gaia_expected.expected(JOBS).items()}


def test_the_whole_log_gives_the_events_of_its_jobs():
    """Also the jobs that never ran, which come late in the log."""
    script = script_itself()
    found = script.read_events(script.read_jobs(gaia_log.lines(), gaia_log.JOBS))
    words = Counter(event.word for event in found)
    assert words == {"SUBMITTED": 51987, "QUEUED": 51987, "RUNNING": 51959, "SUCCEEDED": 41268,
                     "FAILED": 10592, "CANCELLED": 127}
    assert sum(words.values()) - words["SUBMITTED"] == 155933
    rows = {}
    for event in found:
        times = rows.setdefault(gaia_log.command_id(event.job.number), {})
        times[event.word] = event.milliseconds
    want = {}
    for key, (status, created, started, completed) in gaia_expected.expected().items():
        want[key] = {"SUBMITTED": created, "QUEUED": created, status: completed}
        if started is not None:
            want[key]["RUNNING"] = started
    assert rows == {key: {word: int(at.timestamp()) * 1000 for word, at in times.items()}
                    for key, times in want.items()}


def test_records_come_in_order_of_time_with_rising_cursors(folder):
    for topic, key in (("safari.commands", "command_id"), ("safari.telemetry", "command_id"),
                       ("safari.sessions", "session_id")):
        found = messages(folder, topic)
        stamps = [item["timestamp"].timestamp() * 1000 for item, _ in found]
        assert stamps == sorted(stamps)
        assert stamps == [event["emitted_at"] / 1000 for _, event in found]
        cursors = [cursor(event) for _, event in found if event.get("cursor")]
        assert cursors == sorted(set(cursors))
        assert all(item["key"].decode() == event[key] for item, event in found)
        assert len({event["event_id"] for _, event in found}) == len(found)


def test_each_status_came_in_a_frame(folder):
    changed = {event["event_id"]: event for _, event in messages(folder, "safari.commands")
               if event["body"][0] == "CommandStatusChanged"}
    frames = [event for _, event in messages(folder, "safari.telemetry")]
    assert [frame["event_id"] for frame in frames] == list(changed)
    for frame in frames:
        event = changed[frame["event_id"]]
        body = event["body"][1]
        assert (frame["type"], frame["cursor"], frame["emitted_at"]) == (
            "status.changed", event["cursor"], event["emitted_at"])
        expected = {"command_id": event["command_id"], "status": body["status"]}
        if body["result"] is not None:
            expected["result"] = json.loads(body["result"])
        if body["error"] is not None:
            expected["error"] = body["error"]
        assert json.loads(frame["payload"]) == expected


def test_sessions_are_those_of_the_users(folder):
    """Each is opened once and closed at most once, and every command was sent to one of them."""
    want = gaia_expected.expected_sessions(JOBS)
    opened, closed = {}, {}
    for _, event in messages(folder, "safari.sessions"):
        name, body = event["body"]
        where = opened if name == "SessionOpened" else closed
        assert event["session_id"] not in where
        where[event["session_id"]] = body, event["emitted_at"]
    assert {key: (json.loads(body["metadata"])["user"], at) for key, (body, at) in opened.items()} \
        == {key: (row[0], microseconds(row[2])) for key, row in want.items()}
    assert {key: (body["reason"], at) for key, (body, at) in closed.items()} == {
        key: ("done", microseconds(row[3])) for key, row in want.items() if row[1] == "closed"}
    sent_to = {}
    for _, event in messages(folder, "safari.commands"):
        name, body = event["body"]
        if name == "CommandSubmitted":
            target = body["target"]
            opening, since = opened[target["session_id"]]
            assert event["emitted_at"] >= since
            assert target["account_id"] == opening["account_id"]
            assert target["platform"] == opening["platform"] == "sora"
            sent_to.setdefault(target["session_id"], []).append(event["command_id"])
    assert list(sent_to.values()) == [
        [gaia_log.command_id(number) for number in numbers]
        for _, numbers in gaia_expected.sessions_of_jobs(JOBS).values()]


def test_the_whole_log_gives_the_sessions_of_its_users():
    script = script_itself()
    found = script.read_session_events(script.read_jobs(gaia_log.lines(), gaia_log.JOBS))
    assert Counter(event.word for event in found) == {"OPENED": 3854, "CLOSED": 2570}
    assert len({event.job.user for event in found}) == 84
    # A user's sessions do not overlap: each that is closed is so before the next one opens.
    ends = {(event.job.user, event.job.number): event.milliseconds
            for event in found if event.word == "CLOSED"}
    before = {}
    for event in found:
        if event.word == "OPENED":
            assert ends.get((event.job.user, before.get(event.job.user)), 0) < event.milliseconds
            before[event.job.user] = event.job.number
    assert Counter(row[1] for row in gaia_expected.expected_sessions().values()) == {
        "closed": 2570, "expired": 1282, "active": 2}


def test_a_recording_is_made_once_and_always_the_same(folder, tmp_path):
    again = gaia("--output", folder, "--jobs", str(JOBS))
    assert (again.returncode, again.stdout) == (0, f"gaia: {folder} holds the recording already\n")
    other = tmp_path / "other"
    assert gaia("--output", other, "--jobs", "1").returncode == 0
    assert len(messages(other, "safari.telemetry")) == 3
    assert gaia("--output", other, "--jobs", str(JOBS)).returncode == 0
    for path in folder.iterdir():
        assert (other / path.name).read_bytes() == path.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("mine")
    run = gaia("--output", tmp_path, "--jobs", "1")
    assert run.returncode == 1
    assert run.stderr == (f"gaia: {tmp_path} holds something else; delete it or choose another "
                          "--output\n")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]

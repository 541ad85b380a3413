# SPDX-License-Identifier: Apache-2.0
"""A whole recording, 51,987 real lifecycles, in their sessions, through three consumers, once and
once more."""

import collections
import json
import subprocess
from datetime import datetime, timedelta, timezone

import fastavro
import gaia_expected
import gaia_log
import pytest

from lib import avro, consumers, events
from lib.world import PROJECTOR, RECORDER, open_world

COMMANDS = gaia_log.JOBS
EVENTS = 155_933
SESSIONS = 3_854
SESSION_EVENTS = 6_424
RECORDS = COMMANDS + 2 * EVENTS + SESSION_EVENTS
TRACKER = "session-tracker"
CONSUMERS = (PROJECTOR, RECORDER, TRACKER)
KEYS = {"safari_commands": "command_id", "safari_events": "event_id",
        "safari_sessions": "session_id"}
SAMPLE = 97  # every how many events one is looked at whole
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def recording():
    """The recording's folder; made on this machine the first time."""
    subprocess.run([gaia_log.REPOSITORY / "tests/recordings/gaia"], check=True)
    return gaia_log.RECORDING


def replay(recording):
    result = consumers.run("stream-replay", *sorted(recording.glob("*.avro")), "--json",
                           deadline=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["records"]


def catch_up_together(world):
    """All consumers at the same time: two of them meet at the commands."""
    started = [world.start(name, "--until-caught-up") for name in CONSUMERS]
    for consumer in started:
        consumer.wait(0, deadline=180)


def assert_caught_up(world):
    """The projector and the recorder; the tracker, which reads all topics, by its status."""
    world.assert_caught_up(world.group(PROJECTOR), events.COMMANDS)
    world.assert_caught_up(world.group(RECORDER), events.TELEMETRY)
    assert world.status()[world.group(TRACKER)]["lag"] == 0


@pytest.fixture(scope="module")
def world(tmp_path_factory, template, recording):
    """The tables after the recording."""
    with open_world(tmp_path_factory.mktemp("recording"), 4, template) as opened:
        assert replay(recording) == RECORDS
        catch_up_together(opened)
        yield opened


@pytest.fixture(scope="module")
def frames(recording):
    """The telemetry of the recording, as another decoder reads it."""
    with open(recording / "safari.telemetry.avro", "rb") as file:
        return [avro.decode(item["value"], avro.schema_text(events.TELEMETRY))[1]
                for item in fastavro.reader(file) if "value" in item]


def versions(world, table):
    """{key: (xmin, ctid)}: changes with every row that is written, even where it stays the same."""
    key = KEYS[table]
    with world.database.cursor() as cursor:
        cursor.execute(f"SELECT {key} AS key, xmin::text, ctid::text FROM {table}")
        return {row["key"]: (row["xmin"], row["ctid"]) for row in cursor}


def test_every_command_is_as_the_log_says(world):
    with world.database.cursor() as cursor:
        cursor.execute("SELECT command_id::text, status, created_at, started_at, completed_at "
                       "FROM safari_commands")
        rows = {row.pop("command_id"): tuple(row.values()) for row in cursor}
    assert len(rows) == COMMANDS
    assert rows == gaia_expected.expected()


def test_every_session_is_as_the_log_says(world):
    with world.database.cursor() as cursor:
        cursor.execute("SELECT session_id::text, (metadata->>'user')::int AS user, status, "
                       "started_at, ended_at, last_activity_at FROM safari_sessions")
        rows = {row.pop("session_id"): tuple(row.values()) for row in cursor}
    assert len(rows) == SESSIONS
    assert rows == gaia_expected.expected_sessions()


def test_no_command_is_a_placeholder(world):
    assert world.value("SELECT count(*) FROM safari_commands WHERE placeholder") == 0
    assert world.value("SELECT count(*) FROM safari_commands WHERE type = 'unknown'") == 0


def test_every_event_is_there(world, frames):
    assert len(frames) == EVENTS
    assert world.count("safari_events") == EVENTS
    with world.database.cursor() as cursor:
        cursor.execute("SELECT type, payload->>'status' AS status, count(*) FROM safari_events "
                       "GROUP BY 1, 2")
        counts = {(row["type"], row["status"]): row["count"] for row in cursor}
    assert counts == collections.Counter(
        (frame["type"], json.loads(frame["payload"])["status"]) for frame in frames)


def test_events_are_whole(world, frames):
    sample = {frame["event_id"]: frame for frame in frames[::SAMPLE]}
    with world.database.cursor() as cursor:
        cursor.execute("SELECT * FROM safari_events WHERE event_id = ANY (%s::uuid[])",
                       [list(sample)])
        rows = {str(row["event_id"]): row for row in cursor}
    assert rows.keys() == sample.keys()
    for event_id, frame in sample.items():
        row = rows[event_id]
        assert row["payload"] == json.loads(frame["payload"])
        assert row["emitted_at"] == EPOCH + timedelta(microseconds=frame["emitted_at"])
        assert str(row["command_id"]) == frame["command_id"]
        for column in ("type", "severity", "cursor", "version", "correlation_id", "target"):
            assert row[column] == frame[column], column


def test_nothing_is_left_over(world):
    assert world.letters() == []
    assert_caught_up(world)
    for group in CONSUMERS:
        status = world.status()[world.group(group)]
        assert status["lag"] == 0
        assert {part["lag"] for part in status["partitions"]} == {0}


def test_another_run_changes_nothing(world):
    before = [versions(world, table) for table in KEYS]
    world.catch_up(*CONSUMERS)
    assert [versions(world, table) for table in KEYS] == before


def test_the_recording_once_more_changes_nothing(world, recording):
    """Every record is a duplicate now, under a new offset."""
    before = [versions(world, table) for table in KEYS]
    assert replay(recording) == RECORDS
    catch_up_together(world)
    assert_caught_up(world)
    assert [versions(world, table) for table in KEYS] == before
    assert world.letters() == []

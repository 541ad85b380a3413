# SPDX-License-Identifier: Apache-2.0
"""The generated day after some of the jobs, published as one stream as the demo does: its rows are
what the oracle makes of it, row for row, and the jobs' are all there."""

import subprocess
from collections import Counter
from datetime import datetime, timezone

import day_expected
import gaia_expected
import pytest
import recorder

from lib import consumers, database, oracle, scenario_run
from lib.world import open_world

JOBS = 400
DAY = datetime(2014, 8, 20, tzinfo=timezone.utc)
MOMENT = {"safari_events": "emitted_at", "watermark_metrics": "bucket_start",
          "watermark_metrics_times": "bucket_start"}
TABLES = [table for table in oracle.KEYS if table.startswith(("safari_", "watermark_"))]


@pytest.fixture(scope="module", name="folders")
def made_recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    for name, *arguments in (("gaia", "--jobs", str(JOBS)), ("day",)):
        subprocess.run([recorder.REPOSITORY / "tests/recordings" / name, "--output", folder / name,
                        *arguments], check=True)
    return folder / "gaia", folder / "day"


@pytest.fixture(scope="module", name="happened")
def read_events(folders):
    return day_expected.read(folders[1])


@pytest.fixture(scope="module", name="want")
def expected_tables(happened):
    return day_expected.expected(happened)


@pytest.fixture(scope="module", name="world")
def filled_world(tmp_path_factory, template, folders, want):
    files = sorted(path for folder in folders for path in folder.glob("*.avro"))
    with open_world(tmp_path_factory.mktemp("day"), 4, template) as opened:
        result = consumers.run("stream-replay", *files, "--json", deadline=120)
        assert result.returncode == 0, result.stderr
        started = [opened.start(name, "--until-caught-up") for name in scenario_run.TOPICS_OF]
        for consumer in started:
            consumer.wait(0, deadline=180)
        assert opened.count("safari_commands") == JOBS + len(want["safari_commands"])
        yield opened


def rows_since(world, table):
    """Those of the day."""
    column = MOMENT.get(table, "created_at")
    return oracle.in_order(row for row in world.rows(table, database.VOLATILE)
                           if row[column] >= DAY)


@pytest.mark.parametrize("table", TABLES)
def test_the_rows_of_the_day_are_those_of_the_oracle(world, happened, want, table):
    assert want[table]
    problems = scenario_run.report(table, rows_since(world, table), want[table], happened)
    assert not problems, problems


def test_the_jobs_are_there_and_their_sessions_are_over(world):
    with world.database.cursor() as cursor:
        cursor.execute("SELECT command_id::text, status, created_at, started_at, completed_at "
                       "FROM safari_commands WHERE created_at < %s", [DAY])
        rows = {row.pop("command_id"): tuple(row.values()) for row in cursor}
        assert rows == gaia_expected.expected(JOBS)
        cursor.execute("SELECT session_id::text, status, ended_at FROM safari_sessions "
                       "WHERE created_at < %s", [DAY])
        sessions = {row["session_id"]: (row["status"], row["ended_at"]) for row in cursor}
    assert sessions == {
        key: ("expired", active + gaia_expected.HALF_AN_HOUR) if status == "active"
        else (status, ended)
        for key, (_, status, _, ended, active) in gaia_expected.expected_sessions(JOBS).items()}


def test_the_view_has_the_times_that_removals_took(world, want):
    """Only those of the day are known; what is shown is at most 1/8 too high."""
    with world.database.cursor() as cursor:
        cursor.execute("SELECT method, attempts, p50_ms, p95_ms FROM watermark_metrics_by_method")
        shown = {row["method"]: row for row in cursor}
    known = {}
    for row in want["watermark_removals"]:
        known.setdefault(row["method"], []).append(row["processing_time_ms"])
    assert shown.keys() == known.keys()
    attempts = Counter({method: row["attempts"] for method, row in shown.items()})
    assert attempts.total() == world.count("watermark_removals")
    for method, all_times in known.items():
        times = sorted(time for time in all_times if time is not None)
        for part, column in ((50, "p50_ms"), (95, "p95_ms")):
            exact = times[-(-len(times) * part // 100) - 1]
            assert exact <= shown[method][column] <= exact * 9 / 8 + 1, (method, column)


def test_nothing_is_left_over(world):
    assert world.letters() == []
    status = world.status()
    assert {name: status[world.group(name)]["lag"] for name in scenario_run.TOPICS_OF} == {
        name: 0 for name in scenario_run.TOPICS_OF}

# SPDX-License-Identifier: Apache-2.0
"""tests/bench/peers without its servers: its command line, what the script makes of events, its ratios."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"
sys.path[:0] = [str(BENCH), str(BENCH / "peers")]

import report  # noqa: E402
import script  # noqa: E402
from lib import events  # noqa: E402


def run(*arguments):
    return subprocess.run([BENCH / "peers/run", *arguments], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60, check=False)


def test_help_says_what_can_be_given():
    result = run("--help")
    assert result.returncode == 0, result.stderr
    for word in ("--peer", "--work", "--faults", "--events", "--jobs", "--rounds", "--minutes",
                 "--json", "--report"):
        assert word in result.stdout


@pytest.mark.parametrize("arguments", [("--events", "13"), ("--rounds", "0"), ("--minutes", "0"),
                                       ("--work", "nothing"),
                                       ("--jobs", "51988"), ("--peer", "nobody"),
                                       ("--work", "lifecycles", "--faults")])
def test_a_command_line_without_sense_is_refused_before_anything_is_installed(arguments):
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert arguments[0] in result.stderr


def body_of(event):
    """As the script reads it: of a union, the branch alone."""
    return {**event, "body": event["body"][1]} if "body" in event else event


def test_the_script_makes_a_row_of_a_command():
    told = [body_of(event) for event in (
        events.command_submitted("c", events.START, idempotency_key="k"),
        events.status_changed("c", "QUEUED", events.START + 1),
        events.status_changed("c", "RUNNING", events.START + 2),
        events.status_changed("c", "SUCCEEDED", events.START + 3, result={"n": 1}))]
    row, = script.Lifecycles.rows(told)
    row = dict(zip(script.Lifecycles.columns, row))
    assert (row["type"], row["status"], row["result"], row["idempotency_key"]) == (
        "sora.generate", "SUCCEEDED", '{"n":1}', "k")
    assert [row[name] for name in ("created_at", "started_at", "completed_at")] == [
        script.time_of(events.START + after) for after in (0, 2, 3)]


def test_the_script_makes_a_row_of_an_event():
    event = events.telemetry("status.changed", command_id="c", target=events.target(account_id="a"))
    row, = script.Telemetry.rows([event])
    row = dict(zip(script.Telemetry.columns, row))
    assert row["emitted_at"] == script.time_of(event["emitted_at"])
    assert row["target"] == '{"session_id": null, "account_id": "a", "platform": "sora"}'


def figures(rate, cpu=None, peak=None):
    return {"rate": rate, "cpu": {"others_share": 0.25}} | ({} if cpu is None else {
        "cpu_a_row": 2 * cpu, "cpu_a_row_going": cpu, "peak": peak, "to_first_write": 1})


RUNS = {"copy": [figures(100), figures(50)],
        "projectionist": [figures(50, 2, 10), figures(50, 2, 10)],
        "projectionist-2": [figures(90, 2, 20), figures(45, 2, 20)],
        "python": [figures(30, 20, 40), figures(15, 40, 40)],
        "flink": [None, figures(15, 10, 40)]}


def test_ratios_are_of_the_same_round():
    assert report.ratio(RUNS, "projectionist-2", "copy", "rate") == 0.9
    assert report.ratio(RUNS, "projectionist-2", "python", "rate") == 3
    assert report.ratio(RUNS, "projectionist", "python", "cpu_a_row_going") == 15
    assert report.ratio(RUNS, "projectionist", "python", "peak") == 4


def test_a_round_that_failed_is_left_out():
    assert report.ratio(RUNS, "projectionist-2", "flink", "rate") == 3
    assert report.ratio(RUNS | {"flink": [None, None]}, "projectionist", "flink", "rate") is None
    assert "| failed |" in report.rates(RUNS | {"flink": [None]}, "rows/s")


DOCUMENT = {"events": 4, "rounds": 2, "results": {"telemetry": RUNS, "failed": []},
            "machine": {"cores": 2, "processor": "a processor", "commit": "abc", "programs": "bin"}}


def test_the_report_gets_what_a_run_has_written_and_keeps_the_rest(tmp_path, monkeypatch):
    text = "before\n<!-- peers.json -->\nold\n<!-- end of peers.json -->\nafter\n"
    path = tmp_path / "REPORT.md"
    path.write_text(text)
    monkeypatch.setattr(report, "REPORT", path)
    assert not report.into_report(tmp_path)  # there has been no run
    assert path.read_text() == text
    (tmp_path / "peers.json").write_text(json.dumps(DOCUMENT))
    assert report.into_report(tmp_path)
    lines = path.read_text().splitlines()
    assert lines[:2] == ["before", "<!-- peers.json -->"]
    assert lines[-2:] == ["<!-- end of peers.json -->", "after"]
    assert "old" not in lines
    assert any(line.startswith("| Python script ") and " 15.00 (aim 14) |" in line for line in lines)


def test_what_a_program_waits_for_is_not_lost():
    outcome = {"missing": 7, "answering": 6, "stuck": "ended with 1"}
    assert report.stuck(outcome) == "6 of 12 partitions: ended with 1"
    assert report.stuck(outcome | {"answering": 0, "stuck": None}) == \
        "all partitions: it runs, and writes nothing"
    assert report.stuck(outcome | {"answering": 12}) == "no, it goes on without them"
    assert report.stuck(outcome | {"missing": 0}) == "no"

# SPDX-License-Identifier: Apache-2.0
"""tests/bench/peers without its servers: its command line, what the script makes of events, its ratios."""

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
    for word in ("--events", "--rounds", "--only", "--subject", "--json"):
        assert word in result.stdout


@pytest.mark.parametrize("arguments", [("--events", "13"), ("--rounds", "0"), ("--only", "nothing"),
                                       ("--subject", "nobody")])
def test_a_command_line_without_sense_is_refused_before_anything_is_installed(arguments):
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert arguments[0] in result.stderr


def test_the_script_makes_a_row_of_an_event():
    event = events.telemetry("status.changed", command_id="c", target=events.target(account_id="a"))
    row, = script.Telemetry.rows([event])
    row = dict(zip(script.Telemetry.columns, row))
    assert row["emitted_at"] == script.time_of(event["emitted_at"])
    assert row["target"] == '{"session_id": null, "account_id": "a", "platform": "sora"}'


def figures(rate, cpu=None, peak=None):
    return {"rate": rate} if cpu is None else {
        "rate": rate, "cpu_a_row": cpu, "peak": peak, "to_first_write": 1}


def test_ratios_are_of_the_same_round():
    runs = {"copy": [figures(100), figures(50)],
            "projectionist": [figures(50, 2, 10), figures(50, 2, 10)],
            "projectionist-2": [figures(90, 2, 20), figures(45, 2, 20)],
            "python": [figures(30, 20, 40), figures(15, 40, 40)]}
    found = {(label, aim): value for label, value, aim in report.ratios(runs)}
    assert found["Projectionist, --workers 2, rows/s ÷ that of two bare COPY connections", 0.9] == 0.9
    assert found["Projectionist, --workers 2, rows/s ÷ that of Python script", 4] == 3
    assert found["Projectionist, CPU a row: that of … ÷ ours: Python script", 14] == 15
    assert found["Projectionist, memory: that of … ÷ ours: Python script", 3] == 4

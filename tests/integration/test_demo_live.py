# SPDX-License-Identifier: Apache-2.0
"""deploy/local/demo --live, without what it installs, builds and brings up."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lib import consumers
from lib.database import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
LOGS = REPOSITORY / ".local" / "demo"
DEADLINE = 240


@pytest.fixture
def start(world):
    """Starts the demo on the world's servers; it is gone at the end, whatever happens."""
    started = []

    def start(stdout):
        made = consumers.run("projectionist", "topics", "create", "--partitions", "3")
        assert made.returncode == 0, made.stderr
        environment = consumers.environment({"POSTGRES_DSN": world.dsn})
        environment["PROJECTIONIST_BIN"] = str(Path(consumers.program("projectionist")).parent)
        started.append(subprocess.Popen(
            [sys.executable, REPOSITORY / "deploy/local/demo_live.py"], env=environment,
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT))
        return started[-1]

    yield start
    for process in started:
        process.terminate()
        process.wait(DEADLINE)


def programs_of(process):
    """The processes that it has started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children]


def is_running(pid):
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("arguments", [("--live", "x"), ("--live", "--live"), ("", "x"), ("x",),
                                       ("captions", "x")])
def test_arguments_that_make_no_sense(tmp_path, arguments):
    """Before anything is installed: here that would end with 9."""
    demo = tmp_path / "demo"
    shutil.copy(REPOSITORY / "deploy/local/demo", demo)
    install = tmp_path / "install"
    install.write_text("#!/bin/sh\nexit 9\n", encoding="utf-8")
    install.chmod(0o755)
    done = subprocess.run([demo, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    assert done.stderr.startswith("demo: ") and f"'{arguments[-1]}'" in done.stderr


@pytest.mark.slow
def test_rows_are_seen_to_change_and_the_counts_are_right(start, world, tmp_path):
    output = tmp_path / "output"
    with open(output, "wb") as stdout:
        status = start(stdout).wait(DEADLINE)
    text = output.read_text()
    assert status == 0, text
    assert "Sanitizer" not in "".join(log.read_text() for log in LOGS.glob("*.log"))
    assert "\033" not in text
    assert re.search(r"sora\.generate\.clean +QUEUED → RUNNING → SUCCEEDED\n", text)
    assert re.search(r"QUEUED → CANCELLED → RUNNING → SUCCEEDED\n", text)
    assert world.count("safari_commands") == 10
    assert world.value("SELECT count(*) FROM safari_events WHERE type = 'status.changed'") == 31
    assert world.value("SELECT status FROM safari_sessions") == "closed"


@pytest.mark.slow
def test_a_lost_frame_is_noticed(start, world, tmp_path):
    world.database.execute("""
        CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER lose BEFORE INSERT ON safari_events FOR EACH ROW
            WHEN (NEW.type = 'sora.usage.checked') EXECUTE FUNCTION lose()""")
    output = tmp_path / "output"
    with open(output, "wb") as stdout:
        status = start(stdout).wait(DEADLINE)
    text = output.read_text()
    assert status == 1, text
    assert re.search(r"frames sent by the service; in safari_events +61 +60\n", text)
    assert text.splitlines()[-1].startswith("demo: the tables are not what was sent: frames sent")


@pytest.mark.slow
def test_ctrl_c_ends_all_that_it_started(start, tmp_path):
    output = tmp_path / "output"
    with open(output, "wb") as stdout:
        process = start(stdout)
        wait_until(lambda: "QUEUED" in output.read_text(), DEADLINE, "no row has been shown")
        running = programs_of(process)
        assert len(running) == 8
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(DEADLINE) == 130, output.read_text()
    assert not any(map(is_running, running))
    assert "interrupted" in output.read_text()

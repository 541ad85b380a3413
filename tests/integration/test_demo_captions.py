# SPDX-License-Identifier: Apache-2.0
"""deploy/local/demo captions, without what it installs, builds and brings up. It wants what
`deploy/local/install captions` fetches."""

import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from lib import captions_events, consumers, database, kafka, policies
from lib.database import wait_until
from lib.world import new_database

REPOSITORY = Path(__file__).resolve().parents[2]
LOGS = REPOSITORY / ".local" / "demo"
DEADLINE = 600
KEYS = "captions.ingest-keys"


class Demo:
    """What it works on; a call starts it."""

    def __init__(self, dsn, output):
        self.dsn, self.output = dsn, output
        self.prefix = f"d{uuid.uuid4().hex[:8]}"
        self.started = []

    def __call__(self):
        environment = consumers.environment({
            "POSTGRES_DSN": self.dsn, "ROLE_PREFIX": self.prefix,
            "CLUSTER_ADMIN_DSN": consumers.address("CLUSTER_ADMIN_DSN"),
            "BIN": Path(consumers.program("projectionist")).parent})
        with open(self.output, "wb") as stdout:
            self.started.append(subprocess.Popen(
                [sys.executable, REPOSITORY / "deploy/local/demo_captions.py"], env=environment,
                stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT))
        return self.started[-1]

    @property
    def text(self):
        return self.output.read_text(errors="replace")

    def run(self):
        status = self().wait(DEADLINE)
        assert "Sanitizer" not in "".join(log.read_text() for log in LOGS.glob("*.log"))
        return status


@pytest.fixture
def demo(template, tmp_path):
    """The demo, with a database and topics that are new; it is gone at the end, whatever happens."""
    kafka.new_topics(*captions_events.TOPICS, partitions=12)
    kafka.new_topics(KEYS, partitions=1, config={"cleanup.policy": "compact"})
    with new_database(template=template) as dsn:
        made = Demo(dsn, tmp_path / "output")
        with policies.roles(dsn, f"{made.prefix}_"):
            try:
                yield made
            finally:
                for process in made.started:
                    process.terminate()
                    process.wait(DEADLINE)


@pytest.mark.slow
def test_the_tables_are_what_was_told_and_a_second_run_changes_nothing(demo):
    assert demo.run() == 0, demo.text
    assert "\033" not in demo.text
    assert re.search(r"a service +532 +47,543 +\d+ +\d+ +12 +36 +880\n", demo.text), demo.text
    assert re.search(r"nobody \(anon\)( +refused){7}\n", demo.text)
    with database.connect(demo.dsn) as connection:
        before = database.table(connection, "captions.videos")
        assert demo.run() == 0, demo.text
        assert "nothing was told or changed" in demo.text
        assert database.table(connection, "captions.videos") == before


@pytest.mark.slow
def test_ctrl_c_ends_all_that_it_started(demo):
    process = demo()
    wait_until(lambda: "A service at work" in demo.text, DEADLINE, "it does not begin")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 10
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(DEADLINE) == 130, demo.text
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert "interrupted" in demo.text

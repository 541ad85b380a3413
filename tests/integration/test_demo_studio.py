# SPDX-License-Identifier: Apache-2.0
"""deploy/local/demo studio, without what it installs, builds and brings up."""

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from lib import consumers, kafka, policies, studio_events
from lib.consumers import REPOSITORY
from lib.world import new_database

LOGS = REPOSITORY / ".local" / "demo"
DEADLINE = 600


def servers():
    """The processes that are a redis-server of the demo's."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if "redis-server" in (entry / "cmdline").read_text(errors="replace") and (
                    os.readlink(entry / "cwd") == str(LOGS)):
                found.append(entry.name)
        except OSError:
            pass  # it has ended, or is somebody else's
    return found


@pytest.mark.slow
def test_an_essay_is_typed_and_two_tabs_are_in_conflict():
    kafka.new_topics(*studio_events.TOPICS, partitions=12)
    kafka.new_topics("studio.jobs.dead-letters", partitions=1)
    for topic in ("studio.ingest-keys", "studio.bridge-cursors"):
        kafka.new_topics(topic, partitions=1, config={"cleanup.policy": "compact"})
    prefix = f"d{uuid.uuid4().hex[:8]}"
    with new_database(migrated=False) as dsn, policies.roles(dsn, prefix):
        environment = consumers.environment({
            "POSTGRES_DSN": dsn, "ROLE_PREFIX": prefix,
            "CLUSTER_ADMIN_DSN": consumers.address("CLUSTER_ADMIN_DSN"),
            "BIN": Path(consumers.program("projectionist")).parent})
        for _ in range(2):  # run again, it adds other ones
            done = subprocess.run(
                [sys.executable, REPOSITORY / "deploy/local/demo_studio.py"], env=environment,
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE,
                check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            assert re.search(r"conflicts: two tabs, one revision +1 +1\n", done.stdout)
            assert re.search(r"jobs of the essay: success, error +9, 1 +9, 1\n", done.stdout)
            assert "\033" not in done.stdout
            assert servers() == []
    assert "Sanitizer" not in "".join(log.read_text() for log in LOGS.glob("*.log"))

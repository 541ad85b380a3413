# SPDX-License-Identifier: Apache-2.0
"""deploy/local/demo render, without what it installs, builds and brings up."""

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from lib import consumers, policies
from lib.consumers import REPOSITORY
from lib.world import new_database

DEADLINE = 500


@pytest.mark.slow
def test_orders_become_videos_and_a_rebuild_tells_nobody():
    name = f"d{uuid.uuid4().hex[:8]}"
    with new_database(migrated=False) as dsn, policies.roles(dsn, f"{name}_"):
        environment = consumers.environment({
            "POSTGRES_DSN": dsn, "TOPIC_PREFIX": f"{name}.", "ROLE_PREFIX": name, "SYSTEMS": "render",
            "CLUSTER_ADMIN_DSN": consumers.address("CLUSTER_ADMIN_DSN")})
        environment["PROJECTIONIST_BIN"] = str(Path(consumers.program("projectionist")).parent)
        done = subprocess.run([sys.executable, REPOSITORY / "deploy/local/demo_render.py"], env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              timeout=DEADLINE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "processing → failed → processing → completed\n" in done.stdout  # pending may be too short to be seen
    assert "processing → timeout\n" in done.stdout
    assert "\033" not in done.stdout
    counts = done.stdout[done.stdout.index("\nCounts\n"):].splitlines()[3:]
    assert len(counts) == 8 and all(line.split()[-1] == line.split()[-2] for line in counts)

# SPDX-License-Identifier: Apache-2.0
"""deploy/local/demo drama, without what it installs, builds and brings up."""

import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from lib import consumers, drama_events, kafka, policies
from lib.consumers import REPOSITORY
from lib.world import new_database

LOGS = REPOSITORY / ".local" / "demo"
DEADLINE = 600


@pytest.mark.slow
def test_a_drama_is_made_deleted_and_made_again(tmp_path):
    kafka.new_topics(*drama_events.TOPICS, partitions=12)
    for topic in ("drama.ingest-keys", "drama.import-progress"):
        kafka.new_topics(topic, partitions=1, config={"cleanup.policy": "compact"})
    prefix = f"d{uuid.uuid4().hex[:8]}"
    with new_database(migrated=False) as dsn, policies.roles(dsn, prefix):
        environment = consumers.environment({
            "POSTGRES_DSN": dsn, "ROLE_PREFIX": prefix,
            "CLUSTER_ADMIN_DSN": consumers.address("CLUSTER_ADMIN_DSN"),
            "BIN": Path(consumers.program("projectionist")).parent})
        for _ in range(2):  # run again, it adds another one
            done = subprocess.run(
                [sys.executable, REPOSITORY / "deploy/local/demo_drama.py"], env=environment,
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE,
                check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            assert re.search(r"56 of 56, completed +56 of 56, completed\n", done.stdout)
            assert "\033" not in done.stdout
    assert "Sanitizer" not in "".join(log.read_text() for log in LOGS.glob("*.log"))

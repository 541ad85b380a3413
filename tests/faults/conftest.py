# SPDX-License-Identifier: Apache-2.0
"""A world for each test: fresh topics, fresh databases, fresh groups, and processes to disturb.

These tests kill servers, so they want a cluster of their own: `tests/run faults` brings one up, and
says with PROJECTIONIST_CLUSTER_DIR where it is.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

# pylint: disable=wrong-import-position
import processes
from lib import events, kafka
from world import TOPICS, NewDatabase, World, dsn


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Remembers that a test failed, so that its world shows the logs."""
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report


@pytest.fixture(scope="session")
def servers():
    """The environment's servers must be those that deploy/local/cluster can kill and start."""
    told = processes.cluster("env")
    address = os.environ.get("PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS")
    assert address and f"={address}\n" in told, (
        "tests/faults kill servers, and those of the environment are not of this cluster: "
        "use tests/run faults, or set PROJECTIONIST_CLUSTER_DIR and eval deploy/local/cluster env")


@pytest.fixture(scope="session")
def schema_ids(servers):
    return events.register_schemas()


@pytest.fixture(scope="session")
def template(servers):
    """A migrated database to make others from."""
    with NewDatabase() as name:
        done = subprocess.run([processes.program("projectionist"), "migrate"], text=True,
                              capture_output=True, check=False, stdin=subprocess.DEVNULL,
                              env=processes.environment({"PROJECTIONIST_POSTGRES_DSN": dsn(name)}))
        assert done.returncode == 0, done.stderr
        yield name


@pytest.fixture
def world(request, template, schema_ids, tmp_path):
    kafka.delete_topics(*TOPICS)
    kafka.create_topics(*TOPICS)
    with NewDatabase(template) as name, NewDatabase(template) as reference:
        here = World(name, reference, schema_ids, tmp_path)
        try:
            yield here
            # Whatever it was about: the tables are what the topics say.
            if (not getattr(request.node, "failed", True)
                    and not request.node.get_closest_marker("changes_tables")):
                here.verify()
        finally:
            here.close(getattr(request.node, "failed", True))

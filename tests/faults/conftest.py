# SPDX-License-Identifier: Apache-2.0
"""A world for each test: fresh topics, a fresh database, fresh groups, and processes to disturb.

These tests kill servers, so they want a cluster of their own: `tests/run faults` brings one up, and
says with PROJECTIONIST_CLUSTER_DIR where it is.
"""

import os

import pytest

from lib.world import open_world
from world import PARTITIONS, FaultWorld, cluster


@pytest.fixture(scope="session", autouse=True)
def servers():
    """The environment's servers must be those that deploy/local/cluster can kill and start."""
    named = cluster("env")
    address = os.environ.get("PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS")
    assert address and f"={address}\n" in named, (
        "tests/faults kill servers, and those of the environment are not of this cluster: "
        "use tests/run faults, or set PROJECTIONIST_CLUSTER_DIR and eval deploy/local/cluster env")


@pytest.fixture
def world(request, template, tmp_path):
    with open_world(tmp_path, PARTITIONS, template, FaultWorld) as world:
        world.template = template
        yield world
        if getattr(request.node, "failed", True):
            world.abandon()
        elif not request.node.get_closest_marker("changes_tables"):
            # After every test the tables are what the topics say.
            world.verify()

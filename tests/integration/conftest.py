# SPDX-License-Identifier: Apache-2.0
"""A world for each integration test, and what is installed."""

import subprocess
from pathlib import Path

import pytest

from lib import consumers
from lib.world import open_world


def pytest_configure(config):
    config.addinivalue_line("markers", "partitions(count): of each topic of the test's world")


@pytest.fixture
def world(request, tmp_path, template):
    """An empty world of its own for a test; for a module, where that says so."""
    marker = request.node.get_closest_marker("partitions")
    with open_world(tmp_path, marker.args[0] if marker else 3, template) as opened:
        yield opened


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of an installation, made from the build under test."""
    prefix = tmp_path_factory.mktemp("installed")
    build = Path(consumers.program("projectionist")).parents[1]
    done = subprocess.run(["cmake", "--install", build, "--prefix", prefix], text=True,
                          capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return prefix

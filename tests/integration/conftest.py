# SPDX-License-Identifier: Apache-2.0
"""A world for each integration test."""

import pytest

from lib.world import open_world


def pytest_configure(config):
    config.addinivalue_line("markers", "partitions(count): of each topic of the test's world")


@pytest.fixture
def world(request, tmp_path, template):
    """An empty world of its own for a test; for a module, where that says so."""
    marker = request.node.get_closest_marker("partitions")
    with open_world(tmp_path, marker.args[0] if marker else 3, template) as opened:
        yield opened

# SPDX-License-Identifier: Apache-2.0
"""What the integration tests share: tests/lib as the package lib, and a world for each test."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "recordings")]

from lib.world import new_database, open_world  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "partitions(count): of each topic of the test's world")


@pytest.fixture(scope="session")
def template():
    """A migrated database, of which those of the tests are copies."""
    with new_database() as dsn:
        yield dsn


@pytest.fixture
def world(request, tmp_path, template):
    """An empty world of its own for a test; for a module, where that says so."""
    marker = request.node.get_closest_marker("partitions")
    with open_world(tmp_path, marker.args[0] if marker else 3, template) as opened:
        yield opened


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the ends of the consumers' logs."""
    report = yield
    opened = item.funcargs.get("world") if hasattr(item, "funcargs") else None
    if report.failed and opened is not None:
        report.sections.extend(opened.consumers.logs())
    return report

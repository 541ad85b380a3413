# SPDX-License-Identifier: Apache-2.0
"""What all tests share: a migrated database to make others from, and what a failure shows."""

import pytest

from lib import captions_run, librdkafka
from lib.world import new_database


@pytest.fixture(scope="session")
def template():
    """A migrated database, of which those of the tests are copies."""
    with new_database() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def captions_template():
    """The same for the system captions."""
    with new_database(variables=captions_run.World.variables) as dsn:
        yield dsn


@pytest.fixture(params=["of the system", "newer"])
def library(request, tmp_path_factory, monkeypatch):
    """The programs' librdkafka, for a test of what is not the same in all its versions."""
    if request.param == "newer":
        librdkafka.use_newer(tmp_path_factory.mktemp("library"), monkeypatch)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the ends of the consumers' logs, and is remembered for the end of the world."""
    report = yield
    if report.when == "call":
        item.failed = report.failed
    used = item.funcargs if hasattr(item, "funcargs") else {}
    started = used["world"].consumers if "world" in used else used.get("relays")
    if report.failed and started is not None:
        report.sections.extend(started.logs())
    return report

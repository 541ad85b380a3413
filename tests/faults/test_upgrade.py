# SPDX-License-Identifier: Apache-2.0
"""An upgrade under load, by way of one migration: old and new version side by side. How long
partitions stand still at 5,000 events a second, tests/faults/upgrade measures (long_upgrade.py)."""

import pytest

from lib.consumers import QUICK
from rolling import Roll

SESSION = 30  # seconds; no replica may wait for the one before it


@pytest.mark.changes_tables  # by a rebuild, after which it verifies itself
def test_an_upgrade_under_load(world):
    roll = Roll(world, 2, 300, 14, **{**QUICK, "KAFKA_SESSION_TIMEOUT_MS": SESSION * 1000})
    roll.upgrade()
    assert max(roll.stalls.values()) < SESSION / 2, roll.stalls
    roll.end(120)

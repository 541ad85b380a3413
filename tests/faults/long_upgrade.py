# SPDX-License-Identifier: Apache-2.0
"""The longest stall of any partition while all consumers are restarted and upgraded under load;
tests/faults/upgrade runs it."""

import os

from rolling import NOW, Roll

RATE = int(os.environ["PROJECTIONIST_UPGRADE_RATE"])
REPLICAS = int(os.environ["PROJECTIONIST_UPGRADE_REPLICAS"])
LIMIT = 3  # seconds


def test_upgrade(world):
    roll = Roll(world, REPLICAS, RATE, 1, KAFKA_SESSION_TIMEOUT_MS=None,
                KAFKA_HEARTBEAT_INTERVAL_MS=None, IDLE_IN_TRANSACTION_TIMEOUT=None,
                LOCK_TIMEOUT=None)
    roll.step("rolling restart", lambda: roll.fleet.roll(NOW), 600)
    roll.upgrade()
    for name, (memory, cores) in roll.fleet.used().items():
        print(f"{name}: {memory:.0f} MiB, {cores:.0f}m of a core")
    roll.end(900)
    print(f"{len(roll.load.happened)} events; the tables are right, verify finds nothing")
    assert max(roll.stalls.values()) <= LIMIT, roll.stalls

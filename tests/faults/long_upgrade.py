# SPDX-License-Identifier: Apache-2.0
"""The longest stall of any partition while all consumers are restarted and upgraded under load;
tests/faults/upgrade runs it."""

import os

from lib.consumers import QUICK
from rolling import NOW, Roll, catch_up

RATE = int(os.environ["PROJECTIONIST_UPGRADE_RATE"])
REPLICAS = int(os.environ["PROJECTIONIST_UPGRADE_REPLICAS"])
AHEAD = 60  # seconds of events that are made up before: about twice what is measured
LIMIT = 3   # seconds
AS_DEPLOYED = dict.fromkeys(QUICK)  # with the timeouts that consumers have by themselves


def show(what, found):
    for name, (memory, cores) in found.items():
        print(f"{what}, {name}: {memory:.0f} MiB, {cores:.0f}m of a core", flush=True)


def test_upgrade(world):
    roll = Roll(world, REPLICAS, RATE, 1, AHEAD, **AS_DEPLOYED)
    roll.step("rolling restart", lambda: roll.fleet.roll(NOW), 600)
    roll.upgrade()
    reached = roll.load.reached
    print(f"{reached:.0f} events a second")
    show("one of the replicas", roll.fleet.used())
    roll.end(900)
    print(f"{len(roll.load.happened)} events; the tables are right, verify finds nothing")
    show("catching up alone", catch_up(world, **AS_DEPLOYED))
    assert reached > 0.9 * RATE, "this machine does not publish so many"
    assert max(roll.stalls.values()) <= LIMIT, roll.stalls

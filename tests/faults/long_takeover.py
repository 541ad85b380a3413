# SPDX-License-Identifier: Apache-2.0
"""The longest stalls of many kills, each way; tests/faults/takeover runs it."""

import json
import os
import statistics

import pytest

from lib.events import TELEMETRY
from lib.machine import Busy
from lib.stalls import Watch
from test_takeover import Replicas, feed
from world import RECORDER

RUNS = int(os.environ["PROJECTIONIST_TAKEOVER_RUNS"])
SESSION = int(os.environ["PROJECTIONIST_TAKEOVER_SESSION"])  # seconds
SPARE = 2  # seconds that a takeover may take


@pytest.mark.parametrize("comes_back", [True, False], ids=["restarted", "gone"])
def test_longest_stalls(world, comes_back):
    limit = SPARE if comes_back else SESSION + SPARE
    replicas = Replicas(world, SESSION)
    feeding = feed(world)
    stalls, busy = [], Busy()
    for run in range(RUNS):
        number = run % 3
        with Watch(world.dsn, {world.group(RECORDER): [TELEMETRY]}) as watch:
            replicas.kill(number)
            if comes_back:
                replicas.restart(number)
            watch.until_settled(SESSION + 30)
            stalls.append(watch.longest[0])
        print(f"run {run + 1:2}: {stalls[-1]:6.2f} s (looked every {watch.blind:.2f} s)", flush=True)
        if not comes_back:
            replicas.restart(number)
            world.until_working(replicas.running[number])
    print(busy)
    feeding.abandon()
    world.until_caught_up()
    print(json.dumps({"killed": "restarts" if comes_back else "lost", "session": SESSION,
                      "runs": RUNS, "least": round(min(stalls), 2),
                      "median": round(statistics.median(stalls), 2),
                      "longest": round(max(stalls), 2), "limit": limit}))
    assert max(stalls) <= limit

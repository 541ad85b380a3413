# SPDX-License-Identifier: Apache-2.0
"""One long stream through all consumers, while replicas are killed now and then: as
test_scenarios.py, but of PROJECTIONIST_SCENARIO_EVENTS events. Run by tests/soak."""

import contextlib
import os
import time

from lib import database, oracle, rebuilding, scenario, scenario_run
from lib.world import open_world

COUNT = int(os.environ.get("PROJECTIONIST_SCENARIO_EVENTS", "100000"))
SEED = int(os.environ.get("PROJECTIONIST_SCENARIO_FIRST_SEED", "1"))
RATE = 20_000  # records a second, at most
SLOWEST = 500  # events a second that the consumers must at least manage


def test_a_long_stream(tmp_path, template):
    happened, timestamps = [], {}
    with open_world(tmp_path, 12, template) as world:
        def records():
            for number, block in enumerate(scenario.blocks(SEED, COUNT)):
                happened.extend(block.events)
                timestamps.update(block.timestamps)
                yield from block.records(world.schema_ids, number)

        began = time.monotonic()
        kills = scenario_run.run_with_kills(world, records(), SEED, replicas=2, rate=RATE,
                                            between=(5, 15), deadline=60 + COUNT / SLOWEST)
        took = time.monotonic() - began
        print(f"{len(happened)} events, {kills} kills, {len(happened) / took:.0f} events/s")
        want = oracle.expected(happened, timestamps)
        with contextlib.suppress(AssertionError):  # stream time goes on after the last record
            database.wait_until(lambda: oracle.in_order(world.rows("safari_sessions"))
                                == want["safari_sessions"], 30)
        have = scenario_run.tables_of(world)
        verified = rebuilding.differing_rows(world, scenario_run.TOPICS_OF, deadline=60 + COUNT / SLOWEST)
    assert not any(verified.values()), verified
    for table in want:
        problems = scenario_run.report(table, have[table], want[table], happened)
        assert not problems, problems

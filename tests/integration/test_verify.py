# SPDX-License-Identifier: Apache-2.0
"""projectionist verify: the tables are what the topics say, or which rows are not."""

import json

import pytest

from lib import consumers, scenario, scenario_run

EQUAL, DIFFERENT, UNKNOWN = 0, 1, 2
CONSUMERS = tuple(scenario_run.TOPICS_OF)


def verify(world, consumer, *arguments, code=EQUAL):
    result = consumers.run("projectionist", "verify", consumer, "--group", world.group(consumer),
                           "--json", *arguments, variables={"POSTGRES_DSN": world.dsn})
    assert result.returncode == code, result.stdout + result.stderr
    return json.loads(result.stdout) if result.stdout else result.stderr


@pytest.fixture
def filled(world):
    """Tables of a scenario with everything in it, dead letters included."""
    stream = scenario_run.Stream([scenario.Scenario(seed=5, commands=150)], world.schema_ids, seed=5)
    scenario_run.run_in_peace(world, stream.records)
    return stream


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_tables_that_are_right(world, filled, consumer):
    report = verify(world, consumer)
    assert report["outcome"] == "equal"
    assert sum(table["rows"] for table in report["tables"].values()) > 0

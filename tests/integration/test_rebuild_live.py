# SPDX-License-Identifier: Apache-2.0
"""A consumer had a bug, and three rows in ten are wrong. The bug is mended: verify names the rows,
and rebuild mends them, while consumers go on and people read the tables."""

import threading

import psycopg
import pytest

from lib import oracle, rebuilding, scenario, scenario_run
from lib.feed import Feed

# Of each consumer: its table, and the column that the bug is in.
WRONG = {
    "command-projector": ("safari_commands", "type"),
    "event-recorder": ("safari_events", "type"),
    "video-catalog": ("safari_videos", "prompt"),
    "watermark-metrics": ("watermark_removals", "input_path"),
    "session-tracker": ("safari_sessions", "platform"),
}
TABLES = {"watermark-metrics": ("watermark_removals", "watermark_metrics")}
POLL_SECONDS = 0.01
COMMANDS = 150


class Reader(threading.Thread):
    """Counts rows, and wrong ones among those that there were at first, all the time."""

    def __init__(self, world, table, column):
        super().__init__(daemon=True)
        self.sql = f"SELECT count(*), count(*) FILTER (WHERE {column} = 'WRONG') FROM {table}"
        self.dsn = world.dsn
        self.seen = []
        self.over = threading.Event()
        self.first = world.database.execute(self.sql).fetchone()
        self.start()

    def run(self):
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            while not self.over.wait(POLL_SECONDS):
                self.seen.append(connection.execute(self.sql, prepare=True).fetchone())

    def end(self):
        """[(rows, wrong rows)], without repetitions."""
        self.over.set()
        self.join()
        return [one for number, one in enumerate(self.seen)
                if number == 0 or one != self.seen[number - 1]]


@pytest.mark.parametrize("consumer", WRONG)
def test_a_bug_is_found_and_mended(world, consumer):
    table, column = WRONG[consumer]
    topics = scenario_run.TOPICS_OF[consumer]
    first, second = (scenario.Scenario(seed, COMMANDS) for seed in (11, 12))
    before = scenario_run.Stream([first], world.schema_ids, 11, garbage=False)
    both = scenario_run.Stream([first, second], world.schema_ids, 11, garbage=False)
    world.publish(before.records)
    world.start(f"buggy-{consumer}", "--until-caught-up", group=world.group(consumer)).wait(0)

    report = rebuilding.verify(world, consumer, code=rebuilding.DIFFERENT)
    assert report["outcome"] == "different"
    wrong = world.value(f"SELECT count(*) FROM {table} WHERE {column} = 'WRONG'")
    found = report["tables"][table]
    assert found["changed"] == sum(found["columns"].values())  # one wrong column in each
    assert found["columns"][column] == wrong
    assert 0.15 * found["rows"] < wrong < 0.45 * found["rows"]
    assert (found["missing"], found["extra"]) == (0, 0)
    assert all(list(sample["is"].values()) == ["WRONG"] for sample in found["samples"])

    # The mended consumer runs, and more comes, while the tables are rebuilt and read.
    reader = Reader(world, table, column)
    live = world.start(consumer)
    live.wait_until_ready()
    records = [record for record in
               scenario_run.Stream([second], world.schema_ids, 12, garbage=False).records
               if record.topic in topics]
    feed = Feed(records, 400)
    rebuilt = rebuilding.rebuild(world, consumer)
    feed.finish()
    scenario_run.wait_for_ends(world, (consumer,))
    seen = reader.end()

    assert rebuilt["outcome"] == "rebuilt"
    assert rebuilt["tables"][table]["changed"] == found["changed"]
    # All old, then all new: never empty, never a mixture, never fewer rows than before.
    assert len(reader.seen) > 50
    assert [bad for _, bad in seen][0] == wrong and [bad for _, bad in seen][-1] == 0
    assert {bad for _, bad in seen} == {wrong, 0}
    assert [bad for _, bad in seen] == sorted((bad for _, bad in seen), reverse=True)
    assert all(rows >= reader.first["count"] for rows, _ in seen)
    # One that has nothing to do at that moment notices within a second.
    live.wait_until(lambda: live.metric("projectionist_fenced_total") == 1)

    assert rebuilding.verify(world, consumer)["differing_rows"] == 0
    expected = both.expected()
    for name in TABLES.get(consumer, (table,)):
        # Rows that others make for their foreign keys are not there: they do not run.
        have, want = ([row for row in rows if not row.get("placeholder")]
                      for rows in (oracle.in_order(world.rows(name)), expected[name]))
        assert not oracle.different(have, want, oracle.KEYS[name])

# SPDX-License-Identifier: Apache-2.0
"""History that retention has removed is in a recording: rebuild reads that first, then the topics."""

import pytest

from lib import oracle, rebuilding, scenario, scenario_run
from lib.recorded import record_to

CONSUMER = "video-catalog"


@pytest.fixture
def stream(world):
    return scenario_run.Stream([scenario.Scenario(21, 120)], world.schema_ids, 21, garbage=False)


def test_a_recording_and_the_topics_together(world, stream, tmp_path):
    """The first half is in recordings only, the second in the topics only."""
    half = len(stream.records) // 2
    first, second = tmp_path / "first.avro", tmp_path / "second.avro"
    record_to(first, stream.records[:half // 2], world.schema_ids)
    record_to(second, stream.records[half // 2:half], world.schema_ids)
    world.publish(stream.records[half:])
    world.catch_up(CONSUMER)
    wrong = world.rows("safari_videos")
    offsets = rebuilding.offsets(world, CONSUMER)

    report = rebuilding.rebuild(world, CONSUMER, "--from", f"{first},{second}")
    assert report["outcome"] == "rebuilt" and report["differing_rows"] > 0
    assert world.rows("safari_videos") != wrong
    have, want = (oracle.in_order(world.rows("safari_videos")), stream.expected()["safari_videos"])
    assert not oracle.different(have, want, oracle.KEYS["safari_videos"])
    assert rebuilding.offsets(world, CONSUMER) == offsets
    assert rebuilding.traces(world) == []
    # Again, nothing differs; without the recordings the topics explain less.
    assert rebuilding.rebuild(world, CONSUMER, "--from", f"{first},{second}")["differing_rows"] == 0
    assert rebuilding.verify(world, CONSUMER, code=rebuilding.DIFFERENT)["differing_rows"] > 0


def test_a_recording_that_is_none(world, stream, tmp_path):
    world.publish(stream.records[:50])
    world.catch_up(CONSUMER)
    before = rebuilding.tables(world)
    for text in (b"", b"Obj\x01 and nothing else"):
        path = tmp_path / "broken.avro"
        path.write_bytes(text)
        said = rebuilding.rebuild(world, CONSUMER, "--from", path, code=rebuilding.FAILED)
        assert str(path) in said and said.count("\n") == 1
    said = rebuilding.rebuild(world, CONSUMER, "--from", tmp_path / "none.avro",
                              code=rebuilding.USAGE)
    assert "none.avro" in said
    assert rebuilding.differing(rebuilding.tables(world), before) == []

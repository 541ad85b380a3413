# SPDX-License-Identifier: Apache-2.0
"""rebuild and verify where topics no longer have, or never had, what the tables follow from: a named
stop each, and the remedy that it names."""

import itertools
import uuid

import confluent_kafka
import pytest

from lib import consumers, database, events, kafka, rebuilding
from lib.events import COMMANDS, SECOND, START, TELEMETRY
from lib.rebuilding import (DIFFERENT, FAILED, GAP, RECREATED, UNKNOWN, USAGE, rebuild, tables,
                            traces, verify)
from lib.world import PROJECTOR, RECORDER, new_topics
from test_cli_dead_letters import LateSchemas

pytestmark = pytest.mark.partitions(1)


def command(number):
    return events.id_of("history", number)


def submitted(number):
    return events.command_submitted(command(number), START + number * SECOND,
                                    idempotency_key=f"key {number}")


def frame(number):
    return events.telemetry("some.frame", START + number * SECOND, command_id=command(number))


def remove_up_to(offset, topic=COMMANDS):
    """What retention does."""
    admin = kafka.admin()
    partition = confluent_kafka.TopicPartition(topic, 0, offset)
    for future in admin.delete_records([partition]).values():
        future.result(30)


def publish(world, numbers, make=submitted):
    world.publish([make(number) for number in numbers])


def known(world, condition="placeholder IS NULL"):
    """The numbers of the commands that are there."""
    numbers = {command(number): number for number in range(100)}
    return sorted(numbers[str(row["command_id"])] for row in world.database.execute(
        f"SELECT command_id FROM safari_commands WHERE {condition}"))


def refused(world, consumer, code, *sentences, arguments=()):
    """By rebuild with the code, and by verify; with nothing changed."""
    before = tables(world, with_books=True, without=())
    for message in (rebuild(world, consumer, *arguments, code=code),
                    verify(world, consumer, *arguments, code=UNKNOWN)):
        for sentence in sentences:
            assert sentence in message, message
    assert tables(world, with_books=True, without=()) == before and traces(world) == []


@pytest.fixture
def shortened(world):
    """Ten commands were read, and retention has removed the first four."""
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    remove_up_to(4)
    return world


# --- history that retention removed ----------------------------------------------------------


def test_removed_history_is_refused_with_its_offsets(shortened):
    refused(shortened, PROJECTOR, GAP,
            f"{COMMANDS} [0]: offsets 0 to 3 were read by {shortened.group(PROJECTOR)} and are no "
            "longer in the topic\n", "--keep-retained keeps what followed from them")
    assert "--drop-retained lets it go" in rebuild(shortened, PROJECTOR, code=GAP)
    assert "--drop-retained" not in verify(shortened, PROJECTOR, code=UNKNOWN)


def test_older_rows_are_kept_and_the_others_mended(shortened):
    world = shortened
    right = tables(world)
    assert verify(world, PROJECTOR, "--keep-retained")["differing_rows"] == 0
    for number in (2, 7):
        world.database.execute("UPDATE safari_commands SET status = 'FAILED' WHERE command_id = %s",
                               [command(number)])
    for number in (3, 8):
        world.database.execute("DELETE FROM safari_commands WHERE command_id = %s",
                               [command(number)])
    world.database.execute("INSERT INTO safari_commands (command_id, type) VALUES (%s, 'made up')",
                           [command(50)])
    report = verify(world, PROJECTOR, "--keep-retained", code=DIFFERENT)
    found = report["tables"]["safari_commands"]
    assert (found["missing"], found["extra"], found["changed"]) == (2, 1, 2)
    report = rebuild(world, PROJECTOR, "--keep-retained")
    assert report["differing_rows"] == 5
    assert tables(world) == right and traces(world) == []
    verify(world, PROJECTOR, "--keep-retained")
    assert [row["kept_retained"] for row in world.rows("projectionist.rebuilds")] == [True] * 4
    publish(world, range(10, 13))
    world.catch_up(PROJECTOR)
    assert known(world) == list(range(13))
    verify(world, PROJECTOR, "--keep-retained")


def test_the_older_row_of_the_nil_uuid_is_kept(world):
    world.publish([events.command_submitted(str(uuid.UUID(int=0)))])
    publish(world, range(1, 10))
    world.catch_up(PROJECTOR)
    right = tables(world)
    remove_up_to(4)
    rebuild(world, PROJECTOR, "--keep-retained")
    assert tables(world) == right


def test_a_page_of_older_rows_ends_with_the_greatest_uuid(world):
    """Behind it there is no key, and 2,000 are a page."""
    world.publish([events.command_submitted(str(uuid.UUID(int=2**128 - 1)))])
    publish(world, range(1, 2000))
    world.catch_up(PROJECTOR)
    right = tables(world)
    remove_up_to(4)
    rebuild(world, PROJECTOR, "--keep-retained")
    assert tables(world) == right


def test_a_letter_that_is_replayed_meanwhile_is_kept(world):
    """Its record is no longer in the topic: after the replay, only the live tables have it."""
    schemas = LateSchemas()
    world.publish([schemas.late(world.record(submitted(0)))])
    publish(world, range(1, 10))
    world.catch_up(PROJECTOR)
    remove_up_to(4)
    schemas.register()
    with database.connect(world.dsn) as holder, holder.transaction():
        # What the live group has done is read first of all when the older facts are there.
        holder.execute("SELECT FROM projectionist.consumer_offsets FOR UPDATE")
        process = rebuilding.start(world, "rebuild", PROJECTOR, "--yes", "--keep-retained")
        database.wait_until(lambda: world.value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'projectionist rebuild' AND wait_event_type = 'Lock'") == 1)
        replayed = consumers.run("projectionist", "dead-letters", "replay", "--all", "--yes",
                                 variables=world.consumers.variables)
        assert replayed.returncode == 0, replayed.stderr
        assert known(world) == list(range(10))
    process.wait(FAILED)
    assert "dead letters were discarded or replayed meanwhile" in process.log
    assert known(world) == list(range(10))
    rebuild(world, PROJECTOR, "--keep-retained")
    assert known(world) == list(range(10))
    verify(world, PROJECTOR, "--keep-retained")


def test_older_rows_are_dropped(shortened):
    world = shortened
    publish(world, range(10), frame)
    world.catch_up(RECORDER)
    frames = world.rows("safari_events")
    report = rebuild(world, PROJECTOR, "--drop-retained")
    assert report["tables"]["safari_commands"]["extra"] == 4
    assert known(world) == list(range(4, 10))
    # Their events stay, and refer to placeholders.
    assert known(world, "placeholder") == list(range(4))
    assert world.rows("safari_events") == frames and len(frames) == 10
    assert "offsets 0 to 3" in verify(world, PROJECTOR, code=UNKNOWN)
    assert verify(world, PROJECTOR, "--keep-retained")["differing_rows"] == 0


def cleaned(number):
    return events.telemetry("sora.video.cleaned", START + number * SECOND,
                            command_id=command(number), payload={
                                "batch_index": 0, "input_path": f"/raw/{number}",
                                "output_path": f"/cleaned/{number}"})


@pytest.mark.parametrize("order", list(itertools.permutations((RECORDER, "video-catalog",
                                                               "watermark-metrics"))))
def test_placeholders_go_with_the_last_that_refers_to_them(world, order):
    publish(world, range(10), cleaned)
    world.catch_up(*order)
    assert known(world, "placeholder") == list(range(10))
    remove_up_to(4, TELEMETRY)
    for number, consumer in enumerate(order):
        assert known(world, "placeholder") == list(range(10))
        rebuild(world, consumer, "--drop-retained")
        assert world.count("safari_videos") == 10 - 4 * (
            {"video-catalog", "watermark-metrics"} <= set(order[:number + 1]))
    assert known(world, "placeholder") == list(range(4, 10))
    for table in ("safari_events", "safari_videos", "watermark_removals"):
        assert world.value(f"SELECT count(*) FROM {table} WHERE command_id IS NOT NULL") == 6
    assert world.value("SELECT count(*) FROM watermark_removals WHERE video_id IS NULL") == 0


def test_appended_rows_that_are_older(world):
    """Nothing but its record explains an appended row: what is older stays as it is."""
    publish(world, range(10), frame)
    world.catch_up(RECORDER)
    remove_up_to(4, TELEMETRY)
    right = world.rows("safari_events")
    ids = [events.telemetry("some.frame", START + number * SECOND, command_id=command(number))[
        "event_id"] for number in range(10)]
    for number in (2, 7):
        world.database.execute("UPDATE safari_events SET severity = 'wrong' WHERE event_id = %s",
                               [ids[number]])
    world.database.execute("DELETE FROM safari_events WHERE event_id = %s", [ids[8]])
    refused(world, RECORDER, GAP, f"{TELEMETRY} [0]: offsets 0 to 3 were read by ")
    report = rebuild(world, RECORDER, "--keep-retained")
    found = report["tables"]["safari_events"]
    assert (found["missing"], found["extra"], found["changed"]) == (1, 0, 1)
    wrong = [row for row in world.rows("safari_events") if row not in right]
    assert [str(row["event_id"]) for row in wrong] == [ids[2]]
    assert world.count("safari_events") == 10
    verify(world, RECORDER, "--keep-retained")
    rebuild(world, RECORDER, "--drop-retained")
    assert world.rows("safari_events") == [row for row in right
                                           if str(row["event_id"]) in ids[4:]]


# --- gaps and other topics -------------------------------------------------------------------


def test_records_that_were_removed_before_they_were_read(world):
    """rebuild is no way around --accept-gap."""
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    publish(world, range(10, 30))
    remove_up_to(17)
    for flags in ((), ("--keep-retained",)):
        refused(world, PROJECTOR, GAP, f"{COMMANDS} [0] lacks the offsets 10 to 16, removed by "
                "retention before ", f"run {PROJECTOR} with --accept-gap first", arguments=flags)

    world.start(PROJECTOR, "--until-caught-up", "--accept-gap").wait()
    assert known(world) == [*range(10), *range(17, 30)]
    # What was never read explains no rows.
    refused(world, PROJECTOR, GAP, f"{COMMANDS} [0]: offsets 0 to 9 were read by ")
    assert "offsets 10" not in rebuild(world, PROJECTOR, code=GAP)
    world.database.execute("DELETE FROM safari_commands")
    rebuild(world, PROJECTOR, "--keep-retained")
    assert known(world) == [*range(10), *range(17, 30)]
    verify(world, PROJECTOR, "--keep-retained")


def test_an_accepted_gap_at_the_beginning_is_no_history(world):
    publish(world, range(10))
    consumers.run("projectionist", "offsets", "set", PROJECTOR, "--group", world.group(PROJECTOR),
                  "--to", "earliest", "--yes", variables=world.consumers.variables)
    remove_up_to(4)
    world.start(PROJECTOR, "--until-caught-up", "--accept-gap").wait()
    assert world.count("projectionist.gaps") == 1 and known(world) == list(range(4, 10))
    verify(world, PROJECTOR)
    world.database.execute("DELETE FROM safari_commands")
    rebuild(world, PROJECTOR)
    assert known(world) == list(range(4, 10))


@pytest.mark.parametrize("count", [0, 3])
def test_a_topic_that_was_recreated(world, count):
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    new_topics(1)
    publish(world, range(10, 10 + count))
    refused(world, PROJECTOR, RECREATED, f"{COMMANDS} [0] ends at {count}, before the offset 10")
    refused(world, PROJECTOR, RECREATED, "recreated", arguments=("--keep-retained",))

    result = consumers.run("projectionist", "offsets", "set", PROJECTOR, "--group",
                           world.group(PROJECTOR), "--to", "earliest", "--yes",
                           variables=world.consumers.variables)
    assert result.returncode == 0, result.stderr
    world.catch_up(PROJECTOR)
    assert known(world) == list(range(10 + count))
    report = verify(world, PROJECTOR, code=DIFFERENT)
    assert report["tables"]["safari_commands"]["extra"] == 10
    rebuild(world, PROJECTOR, "--keep-retained")
    assert known(world) == list(range(10 + count))
    rebuild(world, PROJECTOR)
    assert known(world) == list(range(10, 10 + count))
    verify(world, PROJECTOR)


def test_a_topic_that_is_gone(world):
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    kafka.delete_topics(COMMANDS)
    refused(world, PROJECTOR, FAILED, f"the topic {COMMANDS} does not exist in Kafka")


# --- by time ---------------------------------------------------------------------------------


def test_from_and_to_a_time(world):
    """A record's Kafka timestamp is its emitted_at: that of command 4 is 4 s behind the first."""
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    right = tables(world)
    message = rebuild(world, PROJECTOR, "--from", "2026-11-21T05:06:37.9681Z", code=GAP)
    assert f"{COMMANDS} [0]: offsets 0 to 3 were read by " in message and "left out" in message
    rebuild(world, PROJECTOR, "--from", "2026-11-21T05:06:38.968Z", "--to",
            "2026-11-21T06:06:41.968+01:00", "--drop-retained")
    assert known(world) == [4, 5, 6]
    assert rebuilding.offsets(world, PROJECTOR) == {(COMMANDS, 0): 7}
    world.catch_up(PROJECTOR)
    assert known(world) == list(range(4, 10))
    rebuild(world, PROJECTOR, "--to", "2100-01-01T00:00:00Z")
    assert tables(world) == right
    publish(world, range(10, 12))
    message = rebuild(world, PROJECTOR, "--from", "11", "--drop-retained", code=USAGE)
    assert "--from 11 is after the offset 10 of group" in message
    world.catch_up(PROJECTOR)
    right = tables(world)
    rebuild(world, PROJECTOR, "--to", "0")
    assert known(world) == [] and rebuilding.offsets(world, PROJECTOR) == {}
    world.catch_up(PROJECTOR)
    assert tables(world) == right
    verify(world, PROJECTOR)

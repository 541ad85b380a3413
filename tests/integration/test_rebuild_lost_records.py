# SPDX-License-Identifier: Apache-2.0
"""Records that are gone for another reason than retention: a rebuild takes no rows away for them,
and a verify says that it cannot tell."""

import confluent_kafka
import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from lib import consumers, database, events, kafka, rebuilding
from lib.events import COMMANDS, SECOND, START, TELEMETRY
from lib.rebuilding import DIFFERENT, GAP, RECREATED, rebuild, tables, verify
from lib.world import PROJECTOR, RECORDER, new_topics
from test_rebuild_history import command, frame, known, publish, refused, submitted
from test_rebuild_recording import record_to

pytestmark = pytest.mark.partitions(1)
KEEP, DROP = "--keep-retained keeps what followed from them", "--drop-retained lets it go"


def status(number, word, second):
    return events.status_changed(command(number), word, START + second * SECOND)


def compact(world):
    """Only the last of each command's records stays, but for those of the last segment."""
    client = kafka.admin()
    often = ConfigEntry("log.cleaner.backoff.ms", "100",
                        incremental_operation=AlterConfigOpType.SET)
    broker = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[often])
    client.incremental_alter_configs([broker])[broker].result(30)
    kafka.set_topic(COMMANDS, cleanup_policy="compact", segment_ms="100",
                    min_cleanable_dirty_ratio="0.001", max_compaction_lag_ms="100")
    had = len(kafka.read(COMMANDS))
    sent = 0

    def gone():
        nonlocal sent
        publish(world, [60 + sent % 40])  # a segment ends when another begins
        sent += 1
        return len(kafka.read(COMMANDS)) < had + sent - 5

    database.wait_until(gone, 60, "nothing was compacted")


def test_compaction(world):
    world.publish([events.command_submitted(command(n), START, idempotency_key=f"key {n}")
                   for n in range(10)])
    world.publish([events.command_submitted(command(n), START + 9 * SECOND) for n in range(10)])
    world.catch_up(PROJECTOR)
    verify(world, PROJECTOR)
    compact(world)
    world.catch_up(PROJECTOR)
    right = tables(world)
    refused(world, PROJECTOR, GAP, f"{COMMANDS} [0] has lost ", "by compaction or a deletion", KEEP)
    assert DROP in rebuild(world, PROJECTOR, code=GAP)
    # That it was switched on once is enough.
    kafka.set_topic(COMMANDS, cleanup_policy="delete")
    refused(world, PROJECTOR, GAP, f"{COMMANDS} [0] has lost ")
    verify(world, PROJECTOR, "--keep-retained")
    world.database.execute("DELETE FROM safari_commands WHERE command_id = %s", [command(3)])
    rebuild(world, PROJECTOR, "--keep-retained")
    assert tables(world) == right
    rebuild(world, PROJECTOR, "--drop-retained")
    # From then on the group has read what there is.
    verify(world, PROJECTOR)
    assert tables(world) != right


def test_compaction_where_nothing_was_counted(world):
    """The count begins anew where an offset is set, and an older program counts nothing."""
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    world.database.execute("UPDATE projectionist.consumer_offsets SET counted_to = NULL")
    verify(world, PROJECTOR)
    kafka.set_topic(COMMANDS, cleanup_policy="compact")
    refused(world, PROJECTOR, GAP, f"{COMMANDS} is compacted (cleanup.policy)", KEEP)
    rebuild(world, PROJECTOR, "--keep-retained")  # which counts
    verify(world, PROJECTOR)
    assert "up to there" in rebuild(world, PROJECTOR, "--to", "5", code=GAP)


def test_another_cluster_feeds_the_same_tables(world):
    publish(world, range(10), frame)
    world.catch_up(RECORDER)
    world.database.execute("UPDATE projectionist.consumer_offsets SET cluster_id = 'the other'")
    new_topics(1)
    publish(world, range(20, 25), frame)
    world.catch_up(RECORDER)
    right = tables(world)
    assert world.count("safari_events") == 15
    refused(world, RECORDER, GAP,
            f"{TELEMETRY} [0]: offsets 0 to 9 were read by group {world.group(RECORDER)} of the "
            "cluster the other\n", "from the cluster the other, and that are not read here", KEEP)
    verify(world, RECORDER, "--keep-retained")
    assert rebuild(world, RECORDER, "--keep-retained")["differing_rows"] == 0
    assert tables(world) == right
    rebuild(world, RECORDER, "--drop-retained")
    assert world.count("safari_events") == 5


def test_another_group_keeps_the_same_tables(world):
    """What it has read and is read again is no reason to refuse."""
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    other = consumers.Consumers.new_group("other")
    world.catch_up(PROJECTOR, group=other)
    verify(world, PROJECTOR)
    publish(world, range(10, 15))
    world.catch_up(PROJECTOR, group=other)
    assert f"offsets 0 to 14 were read by group {other} " in verify(
        world, PROJECTOR, code=rebuilding.UNKNOWN)
    rebuild(world, PROJECTOR)  # to the end of the topic
    assert known(world) == list(range(15))
    verify(world, PROJECTOR)


def test_a_topic_with_other_records_at_the_same_offsets(world):
    publish(world, range(10))
    world.catch_up(PROJECTOR)
    # As where the topic's id is not known.
    world.database.execute("UPDATE projectionist.consumer_offsets SET topic_id = NULL")
    new_topics(1)
    publish(world, [*range(30, 39), 9])  # the last is the same
    refused(world, PROJECTOR, RECREATED, f"{COMMANDS} [0] has other records than those that group")
    assert known(world) == list(range(10))


def test_rows_of_recordings(world, tmp_path):
    recorded = tmp_path / "old.avro"
    record_to(recorded, [world.record(submitted(n)) for n in range(5)], world.schema_ids)
    publish(world, range(5, 10))
    world.catch_up(PROJECTOR)
    rebuild(world, PROJECTOR, "--from", recorded)
    assert known(world) == list(range(10))
    message = rebuild(world, PROJECTOR, code=GAP)
    assert f"recordings that a rebuild before this one read ({recorded})" in message
    assert verify(world, PROJECTOR, code=DIFFERENT)["tables"]["safari_commands"]["extra"] == 5
    rebuild(world, PROJECTOR, "--from", recorded)
    rebuild(world, PROJECTOR, "--keep-retained")
    assert known(world) == list(range(10))
    rebuild(world, PROJECTOR, "--drop-retained")
    assert known(world) == list(range(5, 10))
    rebuild(world, PROJECTOR)
    verify(world, PROJECTOR)


def produce_in_transaction(world, numbers, end):
    producer = confluent_kafka.Producer({
        "bootstrap.servers": kafka.bootstrap_servers(),
        "transactional.id": consumers.Consumers.new_group("producer")})
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in numbers:
        record = world.record(submitted(number))
        producer.produce(record.topic, record.value, record.key, partition=0)
    producer.flush(30)
    getattr(producer, end)(30)


def test_what_is_no_loss(world):
    """Aborted records, markers, dead letters and offsets that were moved: the counts agree."""
    produce_in_transaction(world, range(5), "commit_transaction")
    produce_in_transaction(world, range(50, 60), "abort_transaction")
    world.publish([kafka.Record(COMMANDS, b"key", b"garbage")])
    publish(world, range(5, 10))
    world.catch_up(PROJECTOR)
    produce_in_transaction(world, range(60, 65), "abort_transaction")
    produce_in_transaction(world, range(10, 15), "commit_transaction")
    world.catch_up(PROJECTOR)
    assert world.value("SELECT records FROM projectionist.consumer_offsets "
                       "WHERE counted_to = next_offset AND counted_from = 0") == 16
    verify(world, PROJECTOR)
    for to in ("3", "earliest"):
        result = consumers.run("projectionist", "offsets", "set", PROJECTOR, "--group",
                               world.group(PROJECTOR), "--to", to, "--yes",
                               variables=world.consumers.variables)
        assert result.returncode == 0, result.stderr
        world.catch_up(PROJECTOR)
        verify(world, PROJECTOR)
    assert len(world.letters()) == 1
    rebuild(world, PROJECTOR)
    publish(world, range(15, 18))
    world.catch_up(PROJECTOR)
    assert world.value("SELECT records FROM projectionist.consumer_offsets "
                       "WHERE counted_to = next_offset AND counted_from = 0") == 19
    verify(world, PROJECTOR)
    assert known(world) == list(range(18))

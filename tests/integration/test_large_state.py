# SPDX-License-Identifier: Apache-2.0
"""Small records of entities that are large: what a batch takes is bounded by what it loads, too."""

import re
from pathlib import Path

import pytest

from lib import events, kafka, rebuilding
from lib.events import COMMANDS, MINUTE, SECOND, SESSIONS, START, TELEMETRY
from lib.world import PROJECTOR

pytestmark = pytest.mark.partitions(1)  # so that all of them are in one batch

TRACKER = "session-tracker"
LARGE = 700_000
ONE_MEBIBYTE_OF_STATE = ("--batch-bytes", "128KiB")


def command(number):
    return events.id_of("large", number)


def text(size=LARGE):
    return {"prompt": "x" * size}


def publish(world, happened):
    """What is large here says little: it travels quickly."""
    kafka.produce([world.record(event, 0) for event in happened], compression_type="lz4")


def peak(consumer):
    """The most MiB that it had in memory."""
    status = Path(f"/proc/{consumer.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024


def expect(world, table, column, value, count):
    assert world.value(f"SELECT count(*) FROM {table} WHERE {column} = %s", [value]) == count
    assert world.letters() == []


def test_memory_is_bounded_whatever_a_batch_touches(world, monkeypatch):
    """They would take several times 105 MB at once."""
    # AddressSanitizer keeps 256 MiB of what was freed.
    monkeypatch.setenv("ASAN_OPTIONS", "abort_on_error=1:detect_leaks=1:quarantine_size_mb=8")
    count = 150
    publish(world, [events.command_submitted(command(n), START, payload=text())
                    for n in range(count)])
    world.catch_up(PROJECTOR)
    publish(world, [events.status_changed(command(n), "RUNNING", START + SECOND, counter=1)
                    for n in range(count)])
    consumer = world.start(PROJECTOR, "--batch-bytes", "2MiB")
    world.wait_for_ends(world.group(PROJECTOR), COMMANDS)
    most = peak(consumer)
    assert most < 250, f"{most} MiB"
    assert consumer.metric("projectionist_batches_total") >= 8
    assert consumer.metric("projectionist_retries_total") == 0
    expect(world, "safari_commands", "status", "RUNNING", count)


def test_a_batch_is_divided_down_to_single_records(world):
    """No two of them may be in one, and one alone is more than a batch may load."""
    count = 24
    publish(world, [events.command_submitted(command(n), START, payload=text(), idempotency_key="k")
                    for n in range(count)])
    publish(world, [events.status_changed(command(0), "RUNNING", START + SECOND, counter=1,
                                          result=text())])
    world.catch_up(PROJECTOR)
    publish(world, [events.status_changed(command(n), "SUCCEEDED", START + 2 * SECOND, counter=2)
                    for n in range(count)])
    consumer = world.start(PROJECTOR, *ONE_MEBIBYTE_OF_STATE, LOG_LEVEL="debug")
    world.wait_for_ends(world.group(PROJECTOR), COMMANDS)
    consumer.stop()
    assert len(consumer.logged("batch committed", "records=1 ")) == count
    assert consumer.logged("waiting for a server") == []
    expect(world, "safari_commands", "status", "SUCCEEDED", count)


def opened(world, count):
    publish(world, [events.session_opened(events.id_of("session", n), START + n * SECOND,
                                          metadata=text()) for n in range(count)])
    publish(world, [events.telemetry("rate.limited", START)])
    world.catch_up(TRACKER)


def test_who_is_due_is_taken_few_at_a_time(world):
    """By a record that is in a session as large: it needs what is more than a batch may load."""
    count = 12
    opened(world, count)
    last = events.id_of("session", count - 1)
    publish(world, [events.telemetry("rate.limited", START + 33 * MINUTE,
                                     target=events.target(last))])
    tracker = world.start(TRACKER, "--until-caught-up", *ONE_MEBIBYTE_OF_STATE, LOG_LEVEL="debug")
    tracker.wait()
    assert tracker.logged("waiting for a server") == []
    expect(world, "safari_sessions", "status", "expired", count - 1)
    expect(world, "safari_sessions", "status", "active", 1)


def test_facts_that_are_kept_in_a_rebuild_are_taken_few_at_a_time(world):
    """There are more than a page has room for; one has an event that is still in the topic."""
    count = 60
    opened(world, count)
    publish(world, [events.telemetry("rate.limited", START + 45 * MINUTE,
                                     target=events.target(events.id_of("session", 0)))])
    world.catch_up(TRACKER)
    report = rebuilding.rebuild(world, TRACKER, "--keep-retained", "--from",
                                f"{COMMANDS}/0=0,{SESSIONS}/0={count},{TELEMETRY}/0=1")
    assert report["differing_rows"] == 0
    expect(world, "safari_sessions", "status", "expired", count - 1)

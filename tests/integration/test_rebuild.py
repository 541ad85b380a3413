# SPDX-License-Identifier: Apache-2.0
"""projectionist rebuild: whatever is wrong in the tables, they are what the topics say then."""

import os
import pty
import signal
import subprocess
from collections import Counter
from types import SimpleNamespace

import psycopg
import pytest

from lib import consumers, database, kafka, rebuilding, scenario_run
from lib.events import COMMANDS, TELEMETRY
from lib.proxy import ASKED, Proxy
from lib.rebuilding import (DIFFERENT, FAILED, FENCED, GAP, INTERRUPTED, TABLES, USAGE, Damage,
                            assert_right, offsets, rebuild, tables, traces, verify)
from lib.world import World, new_database

CONSUMERS = tuple(scenario_run.TOPICS_OF)
RECORDER, PROJECTOR, TRACKER = "event-recorder", "command-projector", "session-tracker"


@pytest.fixture(scope="module")
def filled(tmp_path_factory, template):
    """Nothing is published later."""
    with rebuilding.open_filled(tmp_path_factory.mktemp("filled"), template, seed=29) as world:
        yield world


@pytest.fixture
def world(filled, tmp_path):
    with rebuilding.open_broken(filled, tmp_path) as copy:
        yield copy


def letters(world, consumer):
    return [(row["topic"], row["partition"], row["record_offset"], row["status"])
            for row in world.letters(world.group(consumer))]


def places(ends):
    """As --from and --to take them."""
    return ",".join(f"{topic}/{partition}={offset}" for (topic, partition), offset in ends.items())


# --- what is wrong is mended -----------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_wrong_rows_are_mended(world, table):
    damage = Damage(world, table)
    consumer = damage.consumer
    before = offsets(world, consumer)
    epochs = dict(world.database.execute(
        "SELECT 1 AS a, sum(epoch)::bigint AS b FROM projectionist.consumer_offsets "
        "WHERE consumer_group = %s", [world.group(consumer)]).fetchone())["b"]
    kept = letters(world, consumer)
    report = rebuild(world, consumer)
    assert report["outcome"] == "rebuilt" and report["differing_rows"] == 3
    found = report["tables"][table]
    assert (found["missing"], found["extra"], found["changed"]) == (1, 1, 1)
    assert found["columns"] == {damage.column: 1}
    rows = world.rows(table)
    assert [row for row in rows if row not in world.right[table]] == []
    assert len(rows) == len(world.right[table])
    # Others' rows went by cascade where a parent was taken away: not this projection's to mend.
    others = set(rebuilding.differing(tables(world), world.right)) - {table}
    assert others <= {"safari_events", "safari_videos", "watermark_removals"} and (
        not others or table in ("safari_commands", "safari_videos"))
    verify(world, consumer)

    assert offsets(world, consumer) == before and letters(world, consumer) == kept
    changes = world.rows("projectionist.offset_changes")
    assert {(row["consumer_group"], row["reason"]) for row in changes} == {
        (world.group(consumer), "rebuild")}
    assert sum(row["epoch"] for row in changes) == epochs + len(changes), "nobody is fenced"
    last = {row["kind"]: row for row in world.rows("projectionist.last_rebuilds")}
    assert last["rebuild"]["differing_rows"] == 3 and last["verify"]["differing_rows"] == 0
    assert last["rebuild"]["differences"][table]["columns"] == {damage.column: 1}
    assert last["rebuild"]["projection"] == consumer and last["rebuild"]["took"].total_seconds() > 0
    assert traces(world) == []


@pytest.mark.parametrize("emptied", [
    "safari_commands CASCADE", "safari_videos CASCADE", "safari_sessions"])
def test_emptied_tables_come_back(world, emptied):
    world.database.execute(f"TRUNCATE {emptied}")
    if "CASCADE" in emptied:
        rebuilding.run(world, "rebuild", "all", "--yes")
    else:
        rebuild(world, TRACKER)
    assert_right(world)
    if "CASCADE" in emptied:
        assert len(world.rows("projectionist.last_rebuilds")) == len(CONSUMERS)
    else:
        assert rebuild(world, TRACKER)["differing_rows"] == 0


def test_states_that_were_lost_come_back(world):
    states = [name for name in world.right if "state_" in name]
    world.database.execute(f"TRUNCATE {', '.join(states)}, watermark_metrics, "
                           "projectionist.idempotency_conflicts")
    for name in CONSUMERS:
        rebuild(world, name)
    assert_right(world)


def test_all_that_we_keep_for_ourselves_comes_back(world):
    """What migrate tells the owner of a database that a version of before had migrated."""
    world.database.execute("DROP SCHEMA projectionist CASCADE")
    migrated = consumers.run("projectionist", "migrate", variables={"POSTGRES_DSN": world.dsn})
    assert migrated.returncode == 0, migrated.stderr
    rebuilding.run(world, "rebuild", "all", "--yes")
    assert_right(world)


def test_rows_that_are_all_key_come_back(world):
    """The times of removals: one is lost, one is another."""
    lost, wrong = world.database.execute(
        "SELECT removal_id FROM watermark_metrics_times ORDER BY 1 LIMIT 2").fetchall()
    world.database.execute("DELETE FROM watermark_metrics_times WHERE removal_id = %s",
                           [lost["removal_id"]])
    world.database.execute("UPDATE watermark_metrics_times SET processing_time_ms = "
                           "processing_time_ms + 1 WHERE removal_id = %s", [wrong["removal_id"]])
    found = rebuild(world, "watermark-metrics")["tables"]["watermark_metrics_times"]
    assert (found["missing"], found["extra"], found["changed"]) == (2, 1, 0)
    assert_right(world)


def test_first_load(filled, template, tmp_path):
    """Into tables that nobody has filled yet; the consumers begin behind it."""
    with new_database(template=template) as dsn:
        fresh = World(dsn, database.connect(dsn), tmp_path)
        try:
            fresh.use_default_groups()
            fresh.right = filled.right
            rebuilding.run(fresh, "rebuild", "all", "--yes")
            assert_right(fresh)
            for name in CONSUMERS:
                at = offsets(fresh, name)
                assert at == {place: end for place, end in kafka.end_offsets(
                    *scenario_run.TOPICS_OF[name]).items() if end}
                assert fresh.value("SELECT count(*) FROM projectionist.dead_letters "
                                   "WHERE consumer_group = %s AND status = 'open'", [name]) > 3
            ids = fresh.value("SELECT max(id) FROM projectionist.dead_letters")
            for name in CONSUMERS:
                fresh.catch_up(name)
            assert fresh.value("SELECT max(id) FROM projectionist.dead_letters") == ids, (
                "records were read again")
            assert_right(fresh)
            verify(fresh, TRACKER)
        finally:
            fresh.close()


def test_commands_that_events_refer_to(world):
    """What nothing explains goes, but takes no events along; it is a placeholder then."""
    command, event = ("11111111-1111-1111-1111-111111111111",
                      "22222222-2222-2222-2222-222222222222")
    world.database.execute(
        "INSERT INTO safari_commands (command_id, type, status, payload, idempotency_key, "
        "created_at, requester_service) VALUES (%s, 'made.up', 'RUNNING', '{}', 'made up', now(), "
        "'nobody')", [command])
    world.database.execute("INSERT INTO safari_events (event_id, command_id, type, emitted_at) "
                           "VALUES (%s, %s, 'made.up', '2026-01-02T03:04:05Z')", [event, command])
    assert rebuild(world, PROJECTOR)["tables"]["safari_commands"]["extra"] == 1
    placeholder, = world.database.execute(
        "SELECT to_jsonb(c) - 'updated_at' AS row FROM safari_commands AS c WHERE command_id = %s",
        [command])
    known = {name: value for name, value in placeholder["row"].items() if value is not None}
    assert known == {"command_id": command, "type": "unknown", "status": "QUEUED",
                     "created_at": "2026-01-02T03:04:05+00:00", "placeholder": True}
    assert world.value("SELECT count(*) FROM safari_events WHERE event_id = %s", [event]) == 1
    verify(world, PROJECTOR)
    rebuild(world, RECORDER)
    assert world.rows("safari_events") == world.right["safari_events"]


def test_keys_that_changed_hands(world):
    """Two commands have each other's idempotency key, which only one at a time can have."""
    one, two = world.database.execute(
        "SELECT command_id, idempotency_key FROM safari_commands "
        "WHERE idempotency_key IS NOT NULL ORDER BY command_id LIMIT 2").fetchall()
    for row, key in ((one, None), (two, one["idempotency_key"]), (one, two["idempotency_key"])):
        world.database.execute("UPDATE safari_commands SET idempotency_key = %s "
                               "WHERE command_id = %s", [key, row["command_id"]])
    report = rebuild(world, PROJECTOR)
    assert report["tables"]["safari_commands"]["columns"] == {"idempotency_key": 2}
    assert_right(world)
    # … and one that no record explains has the key of a third.
    third = world.database.execute(
        "SELECT command_id, idempotency_key FROM safari_commands WHERE idempotency_key IS NOT NULL "
        "ORDER BY command_id DESC LIMIT 1").fetchone()
    world.database.execute("UPDATE safari_commands SET idempotency_key = NULL "
                           "WHERE command_id = %s", [third["command_id"]])
    world.database.execute(
        "INSERT INTO safari_commands (command_id, type, idempotency_key) VALUES "
        "('11111111-1111-1111-1111-111111111111', 'made.up', %s)", [third["idempotency_key"]])
    assert rebuild(world, PROJECTOR)["differing_rows"] == 2
    assert_right(world)


# --- what it asks and says -------------------------------------------------------------------


def test_a_dry_run_changes_nothing(world):
    Damage(world, "safari_videos")
    before = tables(world, with_books=True, without=())
    report = rebuild(world, "video-catalog", "--dry-run")
    assert report["outcome"] == "dry-run" and report["differing_rows"] == 3
    assert len(report["tables"]["safari_videos"]["samples"]) == 3
    text = rebuilding.run(world, "rebuild", "video-catalog", "-n").stdout
    assert "3 rows differ from what the topics say" in text and "prompt is " in text
    assert tables(world, with_books=True, without=()) == before and traces(world) == []


def test_a_dry_run_says_what_the_consumers_have_yet_to_read(world):
    """Its rows are among those that would be written, and are no damage."""
    assert "had not read when it began" not in rebuilding.run(world, "rebuild", TRACKER, "-n").stdout
    with world.database.cursor() as cursor:
        moved = cursor.execute(
            "UPDATE projectionist.consumer_offsets SET next_offset = next_offset - 2 "
            "WHERE consumer_group = %s AND next_offset > 2", [world.group(TRACKER)]).rowcount
    assert f"{2 * moved} of them the consumers had not read when it began" in \
        rebuilding.run(world, "rebuild", TRACKER, "-n").stdout


def test_it_does_not_begin_without_a_yes(world):
    before = tables(world, with_books=True, without=())
    result = rebuilding.run(world, "rebuild", "all", code=USAGE)
    assert result.stderr == ("projectionist rebuild: there is no terminal to confirm on; look with "
                             "--dry-run, then give --yes\n")
    result = rebuilding.run(world, "rebuild", "no-such", code=USAGE)
    assert "this program has no system or projection 'no-such'" in result.stderr
    for arguments, reason in (
            (("video-catalog", "--keep-retained", "--drop-retained"), "exclude each other"),
            (("no-such",), "this program has no system or projection 'no-such'"),
            (("all", "--group", "g"), "--group goes with one"),
            (("video-catalog", "--from", "soon"), "--from 'soon' is none of"),
            (("video-catalog", "--to", f"{COMMANDS}/7=1"), f"reads no {COMMANDS}/7"),
            (("video-catalog", "--to", f"{COMMANDS}=1"), "is not TOPIC/PARTITION=OFFSET"),
            (("event-recorder", "--to", f"{COMMANDS}/0=1"), f"reads no {COMMANDS}/0"),
            (("video-catalog", "--to", "99999"), f"--to 99999 is outside of {COMMANDS} [0]"),
            (("video-catalog", "--from", f"{COMMANDS}/0=5", "--to", f"{COMMANDS}/0=4"),
             "--from is after --to")):
        result = consumers.run("projectionist", "rebuild", *arguments, "--yes",
                               variables=world.consumers.variables)
        assert result.returncode == USAGE and reason in result.stderr, result.stderr
        assert result.stderr.count("\n") == 1, result.stderr
    assert tables(world, with_books=True, without=()) == before and traces(world) == []


@pytest.mark.parametrize("answer", ["n\n", "y\n"])
def test_it_asks_at_a_terminal(world, answer):
    Damage(world, "safari_sessions")
    broken = tables(world)
    asked = consumers.run_at_terminal(answer, "projectionist", "rebuild", TRACKER,
                                      variables=world.consumers.variables)
    assert "3 rows differ" in asked.stdout
    assert "Write them, and move the offsets? [y/N]" in asked.stderr
    if answer == "y\n":
        assert asked.returncode == 0 and "3 rows written" in asked.stdout, asked.stderr
        assert_right(world)
        return
    assert asked.returncode == FAILED and "nothing was changed" in asked.stderr
    assert tables(world) == broken
    assert "are kept" in asked.stderr and f"rebuild {TRACKER} --dry-run' removes" in asked.stderr
    # What was read for the answer need not be read again.
    result = rebuilding.run(world, "rebuild", TRACKER, "--yes")
    assert "continuing an attempt that was interrupted" in result.stderr
    assert_right(world)


def test_ctrl_c_at_the_question(world):
    """As anywhere else; and a dry run takes away what is kept for the next attempt."""
    Damage(world, "safari_sessions")
    broken = tables(world)
    master, slave = pty.openpty()
    environment = consumers.environment(world.consumers.variables)
    with subprocess.Popen([consumers.program("projectionist"), "rebuild", TRACKER],
                          env=environment, stdin=slave, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE) as process:
        said = b""
        while b"[y/N] " not in said and (more := os.read(process.stderr.fileno(), 4096)):
            said += more
        process.send_signal(signal.SIGINT)
        try:
            process.wait(consumers.DEADLINE)
        finally:
            process.kill()
        said += process.stderr.read()
    os.close(master)
    os.close(slave)
    assert process.returncode == INTERRUPTED, said
    assert b": interrupted; the live tables are as they were" in said
    assert tables(world) == broken and traces(world) != []
    result = rebuilding.run(world, "rebuild", TRACKER, "--dry-run")
    assert "continuing an attempt" in result.stderr and traces(world) == []


# --- not all of it ---------------------------------------------------------------------------


def half(world, consumer):
    return {place: end // 2 for place, end in offsets(world, consumer).items()}


@pytest.mark.parametrize("consumer", [RECORDER, TRACKER])
def test_an_earlier_end_and_a_consumer_that_goes_on(world, consumer):
    """Where the topics are not read to their ends, the tables are as of then."""
    ends = half(world, consumer)
    table = "safari_events" if consumer == RECORDER else "safari_sessions"
    report = rebuild(world, consumer, "--to", places(ends))
    assert {(place["topic"], place["partition"]): place["end"] for place in report["read"]
            if place["end"]} == ends
    assert offsets(world, consumer) == ends
    assert 0 < world.count(table) <= len(world.right[table])
    assert rebuilding.differing(tables(world), world.right)
    verify(world, consumer)
    world.catch_up(consumer)
    assert_right(world)


def test_back_to_the_beginning_of_a_partition(world):
    """Nothing is read of it; its offset is moved all the same."""
    ends = {place: 0 if place[1] == 0 else end for place, end in offsets(world, RECORDER).items()}
    rebuild(world, RECORDER, "--to", f"{TELEMETRY}/0=0")
    assert offsets(world, RECORDER) == {place: end for place, end in ends.items() if end}
    verify(world, RECORDER)
    world.catch_up(RECORDER)
    assert_right(world)


def test_a_running_consumer_goes_on_from_an_earlier_end(world):
    consumer = world.start(RECORDER)
    consumer.wait_until_ready()
    rebuild(world, RECORDER, "--to", places(half(world, RECORDER)))
    consumer.wait_for_log("fenced: ")
    world.wait_for_ends(world.group(RECORDER), TELEMETRY)
    assert world.rows("safari_events") == world.right["safari_events"]
    consumer.stop()
    verify(world, RECORDER)


def test_a_later_beginning(world):
    """What is left out must be said to be kept or dropped."""
    begins = half(world, RECORDER)
    before = tables(world, with_books=True, without=())
    message = rebuild(world, RECORDER, "--from", places(begins), code=GAP)
    for (topic, partition), begin in begins.items():
        assert (f"{topic} [{partition}]: offsets 0 to {begin - 1} were read by {RECORDER} and are "
                "left out\n") in message
    assert "--keep-retained keeps" in message and "--drop-retained lets it go" in message
    assert tables(world, with_books=True, without=()) == before and traces(world) == []

    assert rebuild(world, RECORDER, "--from", places(begins), "--keep-retained")["differing_rows"] == 0
    assert_right(world)
    report = rebuild(world, RECORDER, "--from", places(begins), "--drop-retained")
    assert report["tables"]["safari_events"]["extra"] == report["differing_rows"] > 10
    rows = world.rows("safari_events")
    assert rows == [row for row in world.right["safari_events"] if row in rows]
    verify(world, RECORDER, code=DIFFERENT)  # the topic still has what was dropped
    rebuild(world, RECORDER)
    assert_right(world)


@pytest.mark.parametrize("consumer", [PROJECTOR, "video-catalog", "watermark-metrics", TRACKER])
def test_rows_of_facts_that_are_kept(world, consumer):
    """Half of the records and the facts of all of them make the same rows."""
    report = rebuild(world, consumer, "--from", places(half(world, consumer)), "--keep-retained")
    assert report["differing_rows"] == 0
    assert_right(world)


# --- dead letters ----------------------------------------------------------------------------


def test_letters(world):
    """Those that can be applied now are; those that are refused stay; those given up stay so."""
    known = {str(row["event_id"]) for row in world.rows("safari_events")}
    frames = [item for item in rebuilding.frames_that_came_once().items() if item[0] in known]
    refused = letters(world, RECORDER)
    assert refused and {status for *_, status in refused} == {"open"}
    expected = list(refused)
    for (event, record), status in zip(frames, ("open", "discarded", "discarded", "replayed")):
        if record is not frames[2][1]:  # that one is there, though it was given up
            world.database.execute("DELETE FROM safari_events WHERE event_id = %s", [event])
        rebuilding.add_letter(world, RECORDER, record, status)
        expected.append((record.topic, record.partition, record.offset,
                         "replayed" if status == "open" else status))
    report = rebuild(world, RECORDER)
    assert sorted(letters(world, RECORDER)) == sorted(expected)
    given_up = {frames[1][0], frames[2][0]}
    assert {str(row["event_id"]) for row in world.rows("safari_events")} == known - given_up
    found = report["tables"]["safari_events"]
    assert (found["missing"], found["extra"]) == (2, 1)
    assert world.value("SELECT count(*) FROM projectionist.dead_letters WHERE status = 'replayed' "
                       "AND resolved_at IS NULL") == 0
    verify(world, RECORDER)


def test_a_letter_that_is_given_up_meanwhile(world):
    """Its record was applied already; the rows must not say other than the letter."""
    known = {str(row["event_id"]) for row in world.rows("safari_events")}
    event, record = next(item for item in rebuilding.frames_that_came_once().items()
                         if item[0] in known)
    world.database.execute("DELETE FROM safari_events WHERE event_id = %s", [event])
    letter = rebuilding.add_letter(world, RECORDER, record)
    before = tables(world)
    with psycopg.connect(world.dsn) as writer:
        writer.execute("LOCK TABLE safari_events IN ROW EXCLUSIVE MODE")
        process = rebuilding.start(world, "rebuild", RECORDER, "--yes")
        database.wait_until(lambda: world.value(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareRowExclusiveLock'"))
        world.database.execute("UPDATE projectionist.dead_letters SET status = 'discarded', "
                               "resolved_at = now() WHERE id = %s", [letter])
        writer.rollback()
    process.wait(FAILED)
    assert "dead letters were discarded meanwhile" in process.log
    assert tables(world) == before
    result = rebuilding.run(world, "rebuild", RECORDER, "--yes")
    assert "continuing an attempt" not in result.stderr and "0 rows written" in result.stdout
    assert tables(world) == before and traces(world) == []
    verify(world, RECORDER)


def test_records_that_are_refused_now(world):
    """They become letters, and their rows go; once they can be applied, they come back."""
    refused = world.value("SELECT count(*) FROM safari_events WHERE type = 'sora.prompt.submitted'")
    before = Counter(status for *_, status in letters(world, RECORDER))
    assert refused > 0 and set(before) == {"open"}
    world.database.execute("ALTER TABLE safari_events ADD CONSTRAINT no_prompts "
                           "CHECK (type <> 'sora.prompt.submitted') NOT VALID")
    assert rebuild(world, RECORDER)["tables"]["safari_events"]["extra"] == refused
    after = [row for row in world.letters(world.group(RECORDER)) if row["sqlstate"] == "23514"]
    assert len(after) >= refused and {row["status"] for row in after} == {"open"}
    assert {row["consumer_group"] for row in after} == {world.group(RECORDER)}
    assert all(row["value"] and row["projection"] == RECORDER for row in after)
    verify(world, RECORDER)
    world.database.execute("ALTER TABLE safari_events DROP CONSTRAINT no_prompts")
    verify(world, RECORDER, code=DIFFERENT)
    rebuild(world, RECORDER)
    assert_right(world)
    assert Counter(status for *_, status in letters(world, RECORDER)) == before + Counter(
        replayed=len(after))


# --- interrupted -----------------------------------------------------------------------------


@pytest.fixture
def proxied(world):
    """A rebuild behind a proxy that counts its commits."""
    with Proxy(world.dsn) as proxy:
        yield SimpleNamespace(proxy=proxy, start=lambda *arguments: rebuilding.start(
            world, "rebuild", *arguments, "--yes", "--batch-records", "20",
            POSTGRES_DSN=proxy.dsn))


def test_interrupted_and_gone_on_with(world, proxied):
    Damage(world, "safari_sessions")
    broken = tables(world)
    processes = []

    def interrupt(when):
        if when == ASKED and proxied.proxy.commits[ASKED] == 15:
            processes[0].process.send_signal(signal.SIGINT)

    proxied.proxy.cut_commits(interrupt)
    processes.append(proxied.start(TRACKER))
    processes[0].wait(INTERRUPTED)
    assert processes[0].log.splitlines()[-1] == (
        f"{TRACKER}: interrupted; the live tables are as they were, and the same command continues "
        "from here")
    first = proxied.proxy.commits[ASKED]
    assert first >= 15
    assert tables(world) == broken
    at = offsets_of_attempt(world)
    assert sum(at.values()) > 0 and at != offsets(world, TRACKER)
    proxied.start(TRACKER).wait()
    second = proxied.proxy.commits[ASKED] - first
    log = world.consumers.all[-1].log
    assert "continuing an attempt that was interrupted" in log
    assert_right(world)

    Damage(world, "safari_sessions")
    proxied.start(TRACKER).wait()
    whole = proxied.proxy.commits[ASKED] - first - second
    assert second <= whole - first + 6, "it began anew"
    assert "interrupted" not in world.consumers.all[-1].log


def offsets_of_attempt(world):
    return world.offsets(f"{world.group(TRACKER)}/rebuild")


def test_an_attempt_of_other_settings_is_not_gone_on_with(world, proxied):
    processes = []

    def interrupt(when):
        if when == ASKED and proxied.proxy.commits[ASKED] == 10:
            processes[0].process.send_signal(signal.SIGTERM)

    proxied.proxy.cut_commits(interrupt)
    processes.append(proxied.start(TRACKER, "--session-timeout", "10m"))
    processes[0].wait(INTERRUPTED)
    assert traces(world) == ["projectionist_rebuild_session_tracker", f"{TRACKER}/rebuild"]
    result = rebuilding.run(world, "rebuild", TRACKER, "--yes")
    assert "interrupted" not in result.stderr
    assert_right(world)


def test_only_one_at_a_time(world):
    """The first waits for somebody who writes; the second is refused at once."""
    with psycopg.connect(world.dsn) as writer:
        writer.execute("SELECT FROM safari_sessions FOR UPDATE")
        writer.execute("LOCK TABLE safari_sessions IN ROW EXCLUSIVE MODE")
        first = rebuilding.start(world, "rebuild", TRACKER, "--yes")
        database.wait_until(lambda: world.value(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareRowExclusiveLock'"))
        message = rebuild(world, TRACKER, code=FENCED)
        assert message == (f"projectionist rebuild: {TRACKER}: another process is "
                           f"rebuilding {TRACKER}\n")
        writer.rollback()
    first.wait()
    assert_right(world)

# SPDX-License-Identifier: Apache-2.0
"""projectionist verify: the tables are what the topics say, or which rows are not."""

import itertools
import re
import signal
import threading
import time

import psycopg
import pytest

from lib import consumers, database, rebuilding, scenario, scenario_run
from lib.kafka_proxy import KafkaProxy
from lib.proxy import ASKED, Proxy
from lib.rebuilding import (DIFFERENT, EQUAL, INTERRUPTED, TABLES, UNKNOWN, Damage, tables, traces,
                            verify)

CONSUMERS = tuple(scenario_run.TOPICS_OF)
BUSY = ("video-catalog", "session-tracker")
STATES = ("command_projector_command", "command_projector_idempotency_key",
          "video_catalog_path", "watermark_metrics_removal", "session_tracker_session")


@pytest.fixture(scope="module")
def filled(tmp_path_factory, template):
    with rebuilding.open_filled(tmp_path_factory.mktemp("filled"), template, seed=4) as world:
        yield world


@pytest.fixture
def world(filled, tmp_path):
    with rebuilding.open_broken(filled, tmp_path) as copy:
        yield copy


def of_table(report, table):
    return report["tables"]["projectionist." + table if "state_" in table else table]


def counts(of):
    return {name: of[name] for name in ("missing", "extra", "changed")}


# --- what is equal ---------------------------------------------------------------------------


def test_tables_that_are_right(world):
    """All five, and verify leaves nothing of itself behind."""
    placeholders = world.value("SELECT count(*) FROM safari_commands WHERE placeholder")
    assert placeholders > 0 and world.count("projectionist.dead_letters") > 10
    before = tables(world, with_books=True, without=())
    result = consumers.run("projectionist", "verify", "all", variables=world.consumers.variables)
    assert result.returncode == EQUAL, result.stdout + result.stderr
    assert result.stdout.count("no row differs from what the topics say") == len(CONSUMERS)
    after = tables(world, with_books=True, without=())
    assert rebuilding.differing(after, before) == ["projectionist.rebuilds"]
    assert traces(world) == []

    rows = world.rows("projectionist.rebuilds")
    assert {(row["kind"], row["consumer_group"], row["differing_rows"], row["kept_retained"])
            for row in rows} == {("verify", name, 0, False) for name in CONSUMERS}
    for row in rows:
        offsets = rebuilding.offsets(world, row["projection"])
        assert {place: read[1] for place, read in row["ranges"].items() if read[1]
                } == {f"{topic}/{number}": end for (topic, number), end in offsets.items()}
        for table, found in row["differences"].items():
            of_others = placeholders if table == "safari_commands" else 0
            # A state from which all was taken back is no state.
            there = world.value(f"SELECT count(*) FROM {table} WHERE facts <> '\\x0100'") \
                if ".state_" in table else world.count(table) - of_others
            assert found["rows"] == there, table
            assert {**found, "rows": 0} == {"rows": 0, "missing": 0, "extra": 0, "changed": 0,
                                            "columns": {}}


def test_placeholders_are_not_its_own(world):
    """Rows that others made for their foreign keys; the same rows would be wrong as its own."""
    world.database.execute(
        "INSERT INTO safari_commands (command_id, type, placeholder) "
        "VALUES ('11111111-1111-1111-1111-111111111111', 'unknown', true); "
        "INSERT INTO safari_videos (video_id, placeholder) "
        "VALUES ('22222222-2222-2222-2222-222222222222', true)")
    verify(world, "command-projector")
    verify(world, "video-catalog")
    world.database.execute("UPDATE safari_commands SET placeholder = NULL "
                           "WHERE command_id = '11111111-1111-1111-1111-111111111111'")
    report = verify(world, "command-projector", code=DIFFERENT)
    sample, = of_table(report, "safari_commands")["samples"]
    assert sample["kind"] == "extra"
    assert sample["key"] == {"command_id": "11111111-1111-1111-1111-111111111111"}
    # What should be a row of its own must not be a placeholder.
    world.database.execute("UPDATE safari_videos SET placeholder = true WHERE video_id = "
                           "(SELECT video_id FROM safari_videos WHERE placeholder IS NULL LIMIT 1)")
    assert of_table(verify(world, "video-catalog", code=DIFFERENT), "safari_videos")["columns"] == {
        "placeholder": 1}


def test_live_consumers_go_on_meanwhile(world):
    """Both sides are compared at the same offsets, however fast they move."""
    running = [world.start(name, "--batch-records", "200") for name in BUSY]
    for consumer in running:
        consumer.wait_until_ready()
    more = scenario.Scenario(seed=6, commands=400).records(world.schema_ids)
    verified = threading.Event()
    published = []

    def publish():  # again and again, for as long as it takes
        for start in itertools.cycle(range(0, len(more), 60)):
            if verified.wait(0.1):
                return
            world.publish(more[start:start + 60])
            published.append(60)

    publisher = threading.Thread(target=publish, daemon=True)
    publisher.start()
    while_busy, deadline = 0, time.monotonic() + 60
    for count, name in enumerate(itertools.cycle(BUSY)):
        # One may be over before the next records are published.
        if count >= 2 * len(BUSY) and (while_busy >= 2 or time.monotonic() > deadline):
            break
        before, already = sum(rebuilding.offsets(world, name).values()), len(published)
        report = verify(world, name)
        assert sum(place["end"] for place in report["read"]) >= before
        while_busy += len(published) > already
    verified.set()
    publisher.join(60)
    assert while_busy >= 2, "nothing was published meanwhile"
    scenario_run.wait_for_ends(world, BUSY)
    assert not [consumer for consumer in running if "fenced" in consumer.log]
    assert traces(world) == []


# --- what is not -----------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_rows_changed_behind_our_back(world, table):
    damage = Damage(world, table)
    before = tables(world, with_books=True, without=())
    report = verify(world, damage.consumer, "--samples", "50", code=DIFFERENT)
    assert report["outcome"] == "different" and report["differing_rows"] == 3
    found = of_table(report, table)
    assert counts(found) == {"missing": 1, "extra": 1, "changed": 1}
    assert found["columns"] == {damage.column: 1}
    assert found["rows"] > 1
    samples = {sample["kind"]: sample for sample in found["samples"]}
    assert set(samples) == {"missing", "extra", "changed"}
    for kind, sample in samples.items():
        key, is_there, should_be = getattr(damage, kind)
        assert sample["key"] == key, kind
        for side, wanted in (("is", is_there), ("should_be", should_be)):
            shown = sample[side]
            assert (shown is None) is (wanted is None), (kind, side)
            if wanted is not None:
                assert shown and shown == {name: wanted[name] for name in shown}, (kind, side)
        assert kind != "changed" or list(sample["is"]) == list(sample["should_be"]) == [
            damage.column]
    others = [counts(of) for name, of in report["tables"].items() if name != table]
    assert all(set(of.values()) == {0} for of in others), "it named another table, too"
    assert rebuilding.differing(tables(world, with_books=True, without=()), before) == [
        "projectionist.rebuilds"]
    assert world.value("SELECT differing_rows FROM projectionist.last_rebuilds "
                       "WHERE kind = 'verify'") == 3


def test_a_person_reads_which_rows_differ(world):
    damage = Damage(world, "safari_sessions")
    world.database.execute("UPDATE safari_sessions SET browser_pid = -1 WHERE session_id <> %s",
                           [damage.extra[0]["session_id"]])
    result = rebuilding.run(world, "verify", "session-tracker", "--samples", "2", code=DIFFERENT)
    key, is_there, should_be = damage.changed
    line, = [line for line in result.stdout.splitlines() if key["session_id"] in line]
    assert line.startswith(f"safari_sessions session_id={key['session_id']}: ")
    assert f'status is "{is_there["status"]}", should be "{should_be["status"]}"; ' in line
    assert "browser_pid is -1, should be " in line
    rows = world.count("safari_sessions")
    assert f"safari_sessions: and {rows + 1 - 2} more" in result.stdout
    assert f"{rows + 1} rows differ from what the topics say" in result.stdout
    assert f"browser_pid {rows - 1}" in result.stdout, "no column is named"
    world.database.execute("DELETE FROM safari_sessions")
    result = rebuilding.run(world, "verify", "session-tracker", "--samples", "1", code=DIFFERENT)
    assert "is missing" in result.stdout


@pytest.mark.parametrize("state", STATES)
def test_private_state_counts(world, state):
    """Rows to come follow from it."""
    table = f"projectionist.state_{state}"
    consumer = next(name for name in CONSUMERS if state.startswith(name.replace("-", "_")))
    first, second = sorted(row["key"] for row in world.database.execute(
        f"SELECT min(key::text)::uuid AS key FROM {table} WHERE facts <> '\\x0100' "
        "GROUP BY facts ORDER BY key LIMIT 2"))  # two may know the same
    other = f"(SELECT facts FROM {table} WHERE key = '{second}')"
    world.database.execute(f"UPDATE {table} SET facts = {other} WHERE key = '{first}'")
    world.database.execute(f"DELETE FROM {table} WHERE key = '{second}'")
    found = of_table(verify(world, consumer, code=DIFFERENT), f"state_{state}")
    assert counts(found) == {"missing": 1, "extra": 0, "changed": 1}
    assert found["columns"] == {"facts": 1}
    changed, missing = found["samples"]
    assert changed["key"] == {"key": str(first)} and missing["key"] == {"key": str(second)}
    assert changed["is"] == missing["should_be"] != changed["should_be"]


def test_numbers_and_texts_that_are_odd(world):
    """A sample names its key, whatever is in the row."""
    odd = '{"huge": 1e400, "long": 123456789012345678901234567890, "text": "\\u2014 \\ud83c\\udf0a"}'
    key = world.value("SELECT event_id FROM safari_events ORDER BY event_id LIMIT 1")
    world.database.execute("UPDATE safari_events SET payload = %s WHERE event_id = %s", [odd, key])
    report = verify(world, "event-recorder", code=DIFFERENT)
    sample, = of_table(report, "safari_events")["samples"]
    assert sample["key"] == {"event_id": str(key)}
    assert sample["is"] is not None and sample["should_be"] is not None
    result = rebuilding.run(world, "verify", "event-recorder", code=DIFFERENT)
    assert f"safari_events event_id={key}: payload is " in result.stdout


# --- dead letters ----------------------------------------------------------------------------


def test_letters_that_can_be_applied_now_are_a_difference(world):
    """Unless somebody gave them up."""
    known = {str(row["event_id"]) for row in world.rows("safari_events")}
    event, record = next(item for item in rebuilding.frames_that_came_once().items()
                         if item[0] in known)
    world.database.execute("DELETE FROM safari_events WHERE event_id = %s", [event])
    letter = rebuilding.add_letter(world, "event-recorder", record)

    for status, outcome in (("open", DIFFERENT), ("discarded", EQUAL), ("replayed", DIFFERENT)):
        world.database.execute("UPDATE projectionist.dead_letters SET status = %s "
                               "WHERE id = %s", [status, letter])
        report = verify(world, "event-recorder", code=outcome)
        assert [(sample["kind"], sample["key"])
                for sample in of_table(report, "safari_events")["samples"]
                ] == [("missing", {"event_id": event})] * (outcome == DIFFERENT), status
        assert world.value("SELECT status FROM projectionist.dead_letters WHERE id = %s",
                           [letter]) == status


# --- when it cannot tell ---------------------------------------------------------------------


def unknown(world, *arguments, says, **variables):
    result = consumers.run("projectionist", "verify", *arguments,
                           variables={**world.consumers.variables, **variables})
    assert result.returncode == UNKNOWN, result.stdout + result.stderr
    assert result.stderr.startswith("projectionist verify: ") and says in result.stderr, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stdout == ""


def test_what_is_away_or_unknown(world):
    nowhere = "127.0.0.1:9"
    unknown(world, "all", "--timeout", "2s", says=nowhere, KAFKA_BOOTSTRAP_SERVERS=nowhere)
    unknown(world, "all", says="ostgres", POSTGRES_DSN="postgresql://x@127.0.0.1:9/x")
    unknown(world, "no-such", says="this program has no system or projection 'no-such'")
    unknown(world, "all", "--group", "g", says="--group goes with one PROJECTION")
    unknown(world, "video-catalog", "--group", "no-such", says="no-such has read nothing")
    assert world.count("projectionist.rebuilds") == 0 and traces(world) == []


def test_without_a_name_it_is_all(world):
    result = consumers.run("projectionist", "verify", variables=world.consumers.variables)
    assert result.returncode == 0, result.stdout + result.stderr
    for name in ("command-projector", "event-recorder", "video-catalog", "watermark-metrics",
                 "session-tracker"):
        assert f"{name}: " in result.stdout


def test_only_one_at_a_time(world):
    """Of each projection; a verify and a rebuild are in each other's way no less."""
    with psycopg.connect(world.dsn, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(hashtext('projectionist'), "
                      "hashtext('projectionist_verify_event_recorder'))")
        unknown(world, "event-recorder",
                says="another process is verifying event-recorder")
        verify(world, "video-catalog")
    verify(world, "event-recorder")


def test_nobody_who_writes_is_waited_for_too_long(world):
    """A transaction that stays open is outwaited, and then verify knows."""
    waiting = threading.Event()
    with psycopg.connect(world.dsn) as writer:
        writer.execute("UPDATE safari_events SET severity = severity WHERE event_id = "
                       "(SELECT event_id FROM safari_events LIMIT 1)")
        process = rebuilding.start(world, "verify", "event-recorder")
        database.wait_until(lambda: world.value(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareRowExclusiveLock'"))
        assert process.running and not waiting.is_set()
        writer.rollback()
    process.wait(EQUAL)
    assert traces(world) == []


# --- servers that go away --------------------------------------------------------------------


def test_postgres_goes_away(world):
    """It waits for it, but not for ever."""
    reading = threading.Event()
    with Proxy(world.dsn) as proxy:
        proxy.cut_commits(lambda when: reading.set() if proxy.commits[ASKED] == 5 else None)
        process = rebuilding.start(world, "verify", "session-tracker", "--batch-records", "1",
                                   "--stall-timeout", "2s", POSTGRES_DSN=proxy.dsn)
        assert reading.wait(consumers.DEADLINE)
    process.wait(UNKNOWN)
    assert re.search(r"session-tracker: a server is unavailable, and no progress for [0-9]+ s: "
                     "cannot connect to Postgres", process.log), process.log


def test_kafka_goes_away(world):
    """Between the making of the tables beside the live ones and the reading."""
    with Proxy(world.dsn) as proxy, KafkaProxy() as kafka_proxy:
        proxy.cut_commits(lambda when: kafka_proxy.__exit__() if proxy.commits[ASKED] == 1 else None)
        process = rebuilding.start(world, "verify", "session-tracker", "--stall-timeout", "2s",
                                   POSTGRES_DSN=proxy.dsn,
                                   KAFKA_BOOTSTRAP_SERVERS=kafka_proxy.address)
        process.wait(UNKNOWN)
    assert re.search("a server is unavailable, and no progress for [0-9]+ s: no Kafka broker answers",
                     process.log), process.log


def test_leaders_of_partitions_change(world):
    """As where a broker restarts: it is asked again, and not taken for a server that is away."""
    with KafkaProxy() as proxy:
        proxy.move_leaders(6)
        process = rebuilding.start(world, "verify", "session-tracker",
                                   KAFKA_BOOTSTRAP_SERVERS=proxy.address)
        process.wait(0)
        assert proxy.moving == 0


def test_kafka_gives_no_records(world):
    with KafkaProxy() as proxy:
        proxy.lose_records()
        process = rebuilding.start(world, "verify", "session-tracker", "--stall-timeout", "2s",
                                   KAFKA_BOOTSTRAP_SERVERS=proxy.address)
        process.wait(UNKNOWN)
    assert re.search("no progress for [0-9]+ s: Kafka responds, but returns no records",
                     process.log), process.log


def test_interrupted_at_a_terminal(world):
    with Proxy(world.dsn) as proxy:
        processes = []

        def interrupt(when):
            if when == ASKED and proxy.commits[ASKED] == 5:
                processes[0].process.send_signal(signal.SIGINT)

        proxy.cut_commits(interrupt)
        processes.append(rebuilding.start(world, "verify", "session-tracker", "--batch-records",
                                          "1", POSTGRES_DSN=proxy.dsn))
        processes[0].wait(INTERRUPTED)
    assert processes[0].log.splitlines()[-1] == "session-tracker: interrupted; nothing was compared"


def test_the_help_has_one_list_of_exit_codes():
    said = consumers.run("projectionist", "verify", "--help").stdout
    codes = said.partition("EXIT STATUS\n")[2].partition("\n\n")[0]
    assert re.findall(r"^ {2,5}(\d+) ", codes, re.M) == ["0", "1", "2", "130"]


def test_a_group_with_a_long_name(world):
    """The group that a verify reads as is told from the live one, however long their names are."""
    group = "g" * 248
    world.consumers.catch_up("command-projector", group=group)
    before = world.offsets(group)
    assert before
    verify(world, "command-projector", "--group", group)
    assert world.offsets(group) == before
    for name, says in (("g" * 250, "has 250 bytes, at most 249 are allowed"),
                       ("mine/verify", "a group whose name ends in /verify")):
        refused = consumers.run("command-projector", "--group", name, "--until-caught-up",
                                variables=world.consumers.variables)
        assert refused.returncode == rebuilding.USAGE and says in refused.stderr, refused.stderr


def test_a_verify_removes_its_own_offsets_alone(world):
    """Those of a group of that name in another cluster stay."""
    world.database.execute(
        "INSERT INTO projectionist.consumer_offsets (cluster_id, consumer_group, topic, partition, "
        "next_offset, start_offset, epoch, owner) VALUES ('another', %s, 'safari.commands', 0, 7, "
        "0, 1, 'them')", [world.group("command-projector") + "/verify"])
    verify(world, "command-projector")
    assert world.value("SELECT next_offset FROM projectionist.consumer_offsets "
                       "WHERE cluster_id = 'another'") == 7

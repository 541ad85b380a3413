# SPDX-License-Identifier: Apache-2.0
"""The scenarios hold what they promise, and the oracle does not depend on the order that it is to judge by."""

import json
import random
import uuid

import pytest
from lib import avro, events, oracle, scenario, scenario_commands

SEEDS = range(4)


@pytest.fixture(scope="module", name="big")
def big_scenario():
    return scenario.Scenario(seed=1, commands=1500)


@pytest.fixture(scope="module", name="tables")
def tables_of_big_scenario(big):
    return oracle.expected(big.events, big.timestamps)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_gives_the_same_events_and_another_seed_others(seed):
    once, again = scenario.Scenario(seed, commands=50), scenario.Scenario(seed, commands=50)
    assert once.events == again.events
    other = {event["event_id"] for event in scenario.Scenario(seed + 1, commands=50).events}
    assert not other & {event["event_id"] for event in once.events}


def test_an_event_id_names_one_event_of_a_topic(big):
    seen = {}
    for event in big.events:
        assert seen.setdefault((events.topic_of(event), event["event_id"]), event) == event


def test_events_can_be_encoded(big):
    for event in big.events:
        schema = avro.schema_text(events.topic_of(event))
        assert avro.decode(avro.encode(event, 1, schema), schema)[1] == event


def test_every_type_and_every_race_is_there(big):
    words = {}
    for event in big.events:
        if "body" in event and event["body"][0] == "CommandStatusChanged":
            words.setdefault(event["command_id"], []).append(event["body"][1]["status"])
    lives = {" ".join(life) for life in words.values()}
    assert {"QUEUED RUNNING SUCCEEDED", "QUEUED RUNNING FAILED", "QUEUED CANCELLED",
            "QUEUED CANCELLED RUNNING SUCCEEDED", "QUEUED RUNNING CANCELLED SUCCEEDED",
            "QUEUED RUNNING", "PENDING POLLING SUCCEEDED", "PENDING RUNNING SUCCEEDED",
            "PENDING POLLING VERIFICATION_FAILED", "QUEUED RUNNING DREAMING SUCCEEDED"} <= lives
    submitted = [event["body"][1] for event in big.events
                 if "body" in event and event["body"][0] == "CommandSubmitted"]
    assert {body["type"] for body in submitted} == set(scenario_commands.TYPES)
    frames = [event for event in big.events if events.topic_of(event) == events.TELEMETRY]
    milliseconds = [event["cursor"].partition("-")[0] for event in frames if event["cursor"]]
    assert len(milliseconds) - len(set(milliseconds)) > 100, "events should share milliseconds"
    text = json.dumps(big.events)
    for what in ("clean_error", "batch_index", '\\"success\\":false', '\\"cleanedPath\\":',
                 '\\"sessionId\\":', '\\"aspectRatio\\":', '"type": "progress"',
                 '\\"action\\":\\"WATERMARK_REMOVAL\\"}'):
        assert what in text, what


def test_a_long_stream_has_the_size_that_is_asked_for():
    whole = [event for block in scenario.blocks(seed=2, count=45_000) for event in block.events]
    assert len(whole) == 45_000
    assert len({(events.topic_of(event), event["event_id"]) for event in whole}) > 44_900
    ends = [event["emitted_at"] for event in whole]
    assert max(ends) - min(ends) > 2 * events.HOUR


def test_deliveries_are_the_same_set_in_another_order(big):
    delivered = big.deliveries(seed=3)
    ids = [(events.topic_of(event), event["event_id"]) for event in delivered]
    assert set(ids) == {(events.topic_of(event), event["event_id"]) for event in big.events}
    assert len(ids) > len(set(ids))
    assert delivered != big.deliveries(seed=4)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_oracle_does_not_depend_on_order_or_repetition(big, tables, seed):
    shuffled = list(big.deliveries(seed))
    random.Random(seed).shuffle(shuffled)
    assert oracle.expected(shuffled, big.timestamps) == tables


def test_the_oracle_knows_every_case(big, tables):
    commands = {row["command_id"]: row for row in tables["safari_commands"]}
    assert {row["command_id"] for row in tables["safari_events"]} - {None} <= set(commands)
    assert {row["status"] for row in commands.values()} == {
        "QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"}
    assert any(row["placeholder"] for row in commands.values())
    assert any(row["type"] == "unknown" and not row["placeholder"] for row in commands.values())
    assert tables["projectionist.idempotency_conflicts"]
    keys = [row["idempotency_key"] for row in commands.values() if row["idempotency_key"]]
    assert len(keys) == len(set(keys))
    letters = oracle.dead_letters(big.events)
    assert all(letters.values()), letters
    assert letters["video-catalog"] - letters["session-tracker"]


def test_videos_removals_and_sessions_of_every_kind_are_there(tables):
    assert {row["status"] for row in tables["safari_videos"]} == {
        "GENERATING", "DOWNLOADED", "CLEANING", "CLEANED", "FAILED"}
    assert {name for row in tables["safari_videos"] for name in row["metadata"] or ()} == {
        "clean_error", "error", "duration_ms", "video_url", "batch_index"}
    assert not [row for row in tables["safari_videos"]
                if (row["status"] == "CLEANED") != (row["cleaned_path"] is not None)]
    kinds = {(row["success"], row["completed_at"] is None, row["processing_time_ms"] is None,
              row["video_id"] is None) for row in tables["watermark_removals"]}
    assert {(True, False, False, False), (True, False, True, False), (False, False, True, False),
            (False, True, True, False), (True, False, False, True)} <= kinds
    assert {row["status"] for row in tables["safari_sessions"]} == {"active", "closed", "expired"}
    assert any(row["platform"] == "unknown" for row in tables["safari_sessions"])
    assert any(row["last_activity_at"] is None for row in tables["safari_sessions"])
    assert any(row["status"] == "closed" and row["ended_at"] < row["last_activity_at"]
               for row in tables["safari_sessions"] if row["last_activity_at"])


# --- the rules, one by one, by hand ----------------------------------------------------------

COMMAND = events.id_of("by hand")
T = events.START


def row_of(*said):
    rows = oracle.expected(said)["safari_commands"]
    assert [row["command_id"] for row in rows] == [uuid.UUID(COMMAND)]
    return rows[0]


def status(word, at=T, **more):
    return events.status_changed(COMMAND, word, at, **more)


def test_a_counter_is_a_number():
    row = row_of(status("RUNNING", counter=99), status("SUCCEEDED", counter=100, result={"a": 1}))
    assert (row["status"], row["result"]) == ("SUCCEEDED", {"a": 1})
    assert row["completed_at"] == row["started_at"] == oracle.time_of(T)


def test_the_truth_at_the_end_of_a_cancel_race_is_what_came_last():
    row = row_of(status("QUEUED", counter=1), status("CANCELLED", counter=2),
                 status("RUNNING", counter=3), status("SUCCEEDED", T + 5, counter=4))
    assert (row["status"], row["completed_at"]) == ("SUCCEEDED", oracle.time_of(T + 5))


def test_what_is_not_over_has_no_end():
    row = row_of(status("FAILED", counter=1, error="why"), status("RUNNING", T + 7, counter=2))
    assert (row["status"], row["completed_at"], row["error_message"]) == ("RUNNING", None, None)


def test_without_cursors_time_and_then_rank_decide():
    assert row_of(status("SUCCEEDED"), status("RUNNING"), status("QUEUED"))["status"] == "SUCCEEDED"
    assert row_of(status("SUCCEEDED"), status("RUNNING", T + 1))["status"] == "RUNNING"


def test_a_status_without_a_submission_is_a_row():
    row = row_of(status("RUNNING", T + 2, counter=2), status("QUEUED", T + 1, counter=1))
    assert (row["type"], row["payload"], row["created_at"]) == (
        "unknown", None, oracle.time_of(T + 1))
    assert row["placeholder"] is None


def test_the_earlier_submission_counts():
    row = row_of(events.command_submitted(COMMAND, T + 1, type="late"),
                 events.command_submitted(COMMAND, T, type="early", requested_at=T - 9))
    assert (row["type"], row["created_at"], row["status"]) == (
        "early", oracle.time_of(T - 9), "QUEUED")


def test_an_unknown_word_is_a_dead_letter_that_changes_nothing():
    bad = status("DREAMING", counter=1)
    assert oracle.expected([bad])["safari_commands"] == []
    letters = oracle.dead_letters([bad, status("QUEUED")])
    assert {name for name, found in letters.items()
            if found == {(events.COMMANDS, bad["event_id"])}} == {
                "command-projector", "video-catalog", "watermark-metrics", "session-tracker"}
    assert row_of(bad, events.frame_of(bad))["placeholder"] is True


def test_the_older_command_keeps_the_idempotency_key():
    ids = [events.id_of("claims", number) for number in range(3)]
    said = [events.command_submitted(ids[0], T + 1, idempotency_key="k"),
            events.command_submitted(ids[1], T, idempotency_key="k"),
            events.command_submitted(ids[2], T + 9, idempotency_key="k", requested_at=T + 2)]
    tables = oracle.expected(said)
    assert {str(row["command_id"]): row["idempotency_key"]
            for row in tables["safari_commands"]} == {ids[0]: None, ids[1]: "k", ids[2]: None}
    assert tables["projectionist.idempotency_conflicts"] == oracle.in_order(
        {"idempotency_key": "k", "command_id": uuid.UUID(one), "kept_by": uuid.UUID(ids[1])}
        for one in (ids[0], ids[2]))


def test_differences_are_told():
    have = [{"a": 1, "b": 2}, {"a": 2, "b": 2}]
    want = [{"a": 1, "b": 3}, {"a": 3, "b": 2}]
    assert oracle.differences(have, want, "a").splitlines() == [
        "1: b is 2, should be 3", "2: should not be there", "3: missing"]
    assert oracle.differences(have, have, "a") == ""

# SPDX-License-Identifier: Apache-2.0
"""projectionist offsets: where a group goes on, moved by hand, under a consumer that runs."""

import json

import pytest

from lib import consumers, events, kafka
from lib.events import COMMANDS, SECOND, START
from lib.world import PROJECTOR

FAILED, USAGE = 1, 2
SET = ("offsets", "set", PROJECTOR)


def happened(first, count):
    """Some commands from submission to success."""
    out = []
    for number in range(first, first + count):
        command = events.id_of("offsets", number)
        at = START + number * SECOND
        out += [events.command_submitted(command, at, payload={"number": number}),
                events.status_changed(command, "RUNNING", at + 1000, counter=1),
                events.status_changed(command, "SUCCEEDED", at + 2000, counter=2)]
    return out


def run(world, *arguments, code=0):
    result = consumers.run("projectionist", *arguments, "--group", world.group(PROJECTOR),
                           variables={"POSTGRES_DSN": world.dsn})
    assert result.returncode == code, result.stdout + result.stderr
    return result


def show(world):
    """{(topic, partition): what offsets show says}, and the changes."""
    answer = json.loads(run(world, "offsets", "show", PROJECTOR, "--json").stdout)
    return ({(place["topic"], place["partition"]): place for place in answer["partitions"]},
            answer["changes"])


def changes(world):
    with world.database.cursor() as cursor:
        return cursor.execute("SELECT * FROM projectionist.offset_changes ORDER BY id").fetchall()


def refused(world, *arguments, code=USAGE):
    """One sentence, and nothing changed."""
    before = show(world)
    result = run(world, *arguments, code=code)
    assert result.stderr.startswith("projectionist offsets set: "), result.stderr
    assert result.stderr.count("\n") == 1
    assert show(world) == before
    return result.stderr


def test_a_consumer_that_waits_notices(world):
    """No record comes that would tell it; rows that somebody took away come again all the same."""
    world.publish(happened(0, 10))
    consumer = world.start(PROJECTOR)
    world.wait_for_ends(world.group(PROJECTOR), COMMANDS)
    before = world.rows("safari_commands")
    world.database.execute("TRUNCATE safari_commands, projectionist.state_command_projector_command, "
                           "projectionist.state_command_projector_idempotency_key CASCADE")
    run(world, *SET, "--to", "earliest", "--yes")
    consumer.wait_for_log(r"fenced: ")
    world.wait_for_ends(world.group(PROJECTOR), COMMANDS)
    assert world.rows("safari_commands") == before


def test_a_running_consumer_is_fenced_goes_back_and_changes_nothing(world):
    world.publish(happened(0, 40))
    consumer = world.start(PROJECTOR)
    world.wait_for_ends(world.group(PROJECTOR), COMMANDS)
    places, _ = show(world)
    before = world.rows("safari_commands")
    assert len(before) == 40

    answer = json.loads(run(world, *SET, "--to", "earliest", "--yes", "--json").stdout)
    assert answer["changed"]
    moved = {(change["topic"], change["partition"]): change for change in answer["changes"]}
    assert moved == {place: {"topic": place[0], "partition": place[1], "to": 0,
                             "from": was["next_offset"], "epoch": was["epoch"] + 1}
                     for place, was in places.items() if was["next_offset"] > 0}
    world.publish(happened(40, 20))  # on every partition: the next commit is refused
    consumer.wait_for_log(r"fenced: .*offsets set")
    world.wait_for_ends(world.group(PROJECTOR), COMMANDS)
    consumer.wait_until(lambda: world.count("safari_commands") == 60)
    # Counted once it is committed, and so after the rows are there.
    consumer.wait_until(
        lambda: consumer.metric("projectionist_records_total") >= 60 * 3 + 40 * 3 - 60)
    known = {row["command_id"] for row in before}
    assert [row for row in world.rows("safari_commands") if row["command_id"] in known] == before
    places, _ = show(world)
    assert {place["owner"] for place in places.values()} == {consumer.owner}
    consumer.stop()


def test_going_forward_skips_and_is_written_down(world):
    world.publish(happened(0, 10))
    world.catch_up(PROJECTOR)
    world.publish(happened(10, 10))
    places, _ = show(world)
    skipped = sum(place["end"] - place["next_offset"] for place in places.values())
    assert skipped == 30

    result = run(world, *SET, "--to", "latest", "--yes")
    assert f"{skipped} offsets are skipped" in result.stderr
    assert "no longer match the topics" in result.stderr
    assert "harmless" not in result.stderr
    audit = changes(world)
    assert {(row["topic"], row["partition"]): (row["from_offset"], row["to_offset"])
            for row in audit} == {
        place: (was["next_offset"], was["end"]) for place, was in places.items() if was["lag"]}
    cluster = world.value("SELECT cluster_id FROM projectionist.consumer_offsets LIMIT 1")
    assert {(row["changed_by"], row["cluster_id"], row["consumer_group"], row["reason"])
            for row in audit} == {(world.value("SELECT session_user"), cluster,
                                   world.group(PROJECTOR), "offsets set --to latest")}
    world.catch_up(PROJECTOR)
    assert world.count("safari_commands") == 10, "they were not skipped"

    result = run(world, *SET, "--to", "earliest", "--yes")
    assert "harmless" in result.stderr and "skipped" not in result.stderr
    world.catch_up(PROJECTOR)
    assert world.count("safari_commands") == 20, "they did not come back"
    _, listed = show(world)
    assert [change["to"] for change in listed] == [row["to_offset"] for row in
                                                   reversed(changes(world))]
    text = run(world, "offsets", "show", PROJECTOR).stdout
    assert "MOVED BY HAND" in text and "offsets set --to latest" in text


@pytest.mark.partitions(1)
def test_an_offset_and_a_time(world):
    world.publish(happened(0, 10))
    world.catch_up(PROJECTOR)

    def at(where, *arguments):
        run(world, *SET, "--to", where, "--topic", COMMANDS, "--yes", *arguments)
        return show(world)[0][COMMANDS, 0]["next_offset"]

    assert at("7") == 7
    # A record's Kafka timestamp is its emitted_at: that of command 4 is 4 s behind the first.
    assert at("2026-11-21T05:06:38.968Z") == 12
    assert at("2026-11-21T06:06:38.9681+01:00", "--partition", "0") == 13
    assert at("2100-01-01T00:00:00Z") == 30
    assert at("2000-01-01 00:00:00z") == 0


def test_a_group_that_never_ran_begins_where_it_is_told(world):
    world.publish(happened(0, 10))
    run(world, *SET, "--to", "latest", "--yes")
    assert {row["from_offset"] for row in changes(world)} == {None}
    world.publish(happened(10, 5))
    world.catch_up(PROJECTOR)
    assert world.count("safari_commands") == 5


def test_nothing_changes_without_a_yes(world):
    world.publish(happened(0, 5))
    world.catch_up(PROJECTOR)
    before = show(world)
    result = run(world, *SET, "--to", "earliest", code=USAGE)
    assert "there is no terminal to confirm on" in result.stderr and "--yes" in result.stderr
    assert show(world) == before and changes(world) == []
    result = run(world, *SET, "--to", "earliest", "--dry-run")
    assert "back by" in result.stdout
    assert show(world) == before and changes(world) == []
    assert json.loads(run(world, *SET, "--to", "earliest", "-n", "--json").stdout)[
        "changed"] is False


@pytest.mark.parametrize("answer, code", [("n\n", FAILED), ("\n", FAILED), ("y\n", 0)])
def test_it_asks_at_a_terminal(world, answer, code):
    world.publish(happened(0, 5))
    world.catch_up(PROJECTOR)
    result = consumers.run_at_terminal(
        answer, "projectionist", *SET, "--to", "earliest", "--group", world.group(PROJECTOR),
        variables={"POSTGRES_DSN": world.dsn})
    assert result.returncode == code, result.stderr
    assert "Move these offsets? [y/N]" in result.stderr and "back by" in result.stdout
    assert bool(changes(world)) is (code == 0)


def test_what_is_there_already_is_left_alone(world):
    world.publish(happened(0, 5))
    world.catch_up(PROJECTOR)
    before = show(world)
    assert "nothing to do" in run(world, *SET, "--to", "latest", "--yes").stdout
    assert show(world) == before, "a consumer was fenced for nothing"


@pytest.mark.partitions(2)
@pytest.mark.parametrize("arguments, reason", [
    (("--to", "100000"), "is outside of safari.commands [0]"),
    (("--to", "soon"), "none of earliest, latest, an offset or a time"),
    (("--to", "2026-02-30T00:00:00Z"), "none of earliest, latest, an offset or a time"),
    (("--to", "2026-02-20T00:00:00"), "none of earliest, latest, an offset or a time"),
    (("--to", "99999999999999999999"), "--to"),
    (("--to", "-1"), "none of earliest, latest, an offset or a time"),
    (("--to", ""), "--to"),
    ((), "--to is missing"),
    (("--to", "earliest", "--topic", "no.such"), "does not read 'no.such'"),
    (("--to", "earliest", "--partition", "2"), "reads no partition 2"),
    (("--to", "earliest", "extra"), "'extra' is not expected"),
])
def test_bad_targets_are_refused(world, arguments, reason):
    world.publish(happened(0, 5))
    world.catch_up(PROJECTOR)
    assert reason in refused(world, *SET, *arguments, "--yes")


def test_an_unknown_consumer_is_refused(world):
    for command in ("show", "set"):
        result = consumers.run("projectionist", "offsets", command, "projector", "--to=earliest"
                               if command == "set" else "--json",
                               variables={"POSTGRES_DSN": world.dsn})
        assert result.returncode == USAGE
        assert "'projector' is not a consumer" in result.stderr
    result = consumers.run("projectionist", "offsets", "show",
                           variables={"POSTGRES_DSN": world.dsn})
    assert result.returncode == USAGE and "no consumer is named" in result.stderr


def test_progress_is_there_for_psql(world):
    world.publish(happened(0, 10))
    world.catch_up(PROJECTOR)
    row, = [row for row in world.rows("projectionist.progress")
            if row["consumer_group"] == world.group(PROJECTOR)]
    ends = kafka.end_offsets(COMMANDS)
    offsets = {place: offset for place, offset in row["offsets"].items()
               if place.startswith(COMMANDS)}
    assert offsets == {f"{topic}/{partition}": end for (topic, partition), end in ends.items()}
    assert row["offsets_passed"] >= 30 and row["last_commit"] is not None
    assert row["partitions"] == len(row["offsets"])
    assert world.rows("projectionist.gaps_by_group") == []

# SPDX-License-Identifier: Apache-2.0
"""projectionist dead-letters: listed, shown, given up, and applied once their cause is mended, after
which the tables are what they would have been."""

import json
import subprocess
import threading
import time
import uuid
from collections import Counter
from dataclasses import replace

import psycopg
import pytest

from lib import avro, consumers, database, events, kafka, registry, scenario, scenario_run
from lib.events import COMMANDS, MINUTE, SECOND, START, TELEMETRY, TOPICS
from lib.proxy import ANSWERED, ASKED, Proxy
from lib.world import PROJECTOR, RECORDER, new_database
from test_poison import bad_records, good

FAILED, USAGE, UNAVAILABLE = 1, 2, 7
LETTERS = "projectionist.dead_letters"
HEADERS = [("trace", b"\x00\xff"), ("who", b"tests")]


def run(world, command, *arguments, code=0, **variables):
    result = consumers.run("projectionist", "dead-letters", command, *arguments,
                           variables={"POSTGRES_DSN": world.dsn, **variables})
    assert result.returncode == code, result.stdout + result.stderr
    return result


def answer(world, command, *arguments, code=0):
    return json.loads(run(world, command, *arguments, "--json", code=code).stdout)


def letters(world, status=None):
    with world.database.cursor() as cursor:
        return cursor.execute("SELECT * FROM projectionist.dead_letters "
                              "WHERE status = coalesce(%s, status) ORDER BY id",
                              [status]).fetchall()


def statuses(world):
    return dict(Counter(letter["status"] for letter in letters(world)))


class LateSchemas:
    """Ids that the registry will give to schemas of the topics, but has not given yet."""

    def __init__(self):
        self.name = f"late-{uuid.uuid4().hex[:12]}"
        probe = {"type": "record", "name": "Probe", "namespace": self.name.replace("-", "_"),
                 "fields": []}
        first = registry.register(f"{self.name}-probe", json.dumps(probe)) + 1
        self.ids = {topic: first + number for number, topic in enumerate(TOPICS)}

    def late(self, record):
        """The record, as if written by a producer of such a schema."""
        value = b"\0" + self.ids[record.topic].to_bytes(4, "big") + record.value[5:]
        return replace(record, value=value)

    def register(self):
        for topic, schema_id in self.ids.items():
            schema = {**json.loads(avro.schema_text(topic)), "doc": self.name}
            given = registry.register(f"{self.name}-{topic}", json.dumps(schema))
            assert given == schema_id, "somebody else registers schemas"


# --- list, show, discard ------------------------------------------------------------------------


@pytest.mark.partitions(1)
def test_letters_are_listed_filtered_and_counted(world):
    bad = list(bad_records(world, COMMANDS).values())
    world.publish([item.record for item in bad])
    world.publish([replace(bad_records(world, TELEMETRY)["garbage"].record, key=b"some key")])
    world.catch_up()
    all_of = letters(world)
    assert len(all_of) == len(bad) + 1

    listed = answer(world, "list", "--limit", "0")
    assert [(item["id"], item["group"], item["projection"], item["topic"], item["partition"],
             item["offset"], item["reason"], item["sqlstate"], item["status"])
            for item in listed["letters"]] == [
        (letter["id"], letter["consumer_group"], letter["projection"], letter["topic"],
         letter["partition"], letter["record_offset"], letter["message"], letter["sqlstate"], "open")
        for letter in all_of]
    assert listed["total"] == len(all_of) == sum(item["letters"] for item in listed["reasons"])
    assert [item["letters"] for item in listed["reasons"]] == sorted(
        (item["letters"] for item in listed["reasons"]), reverse=True)

    def ids(*arguments):
        return [item["id"] for item in answer(world, "list", *arguments)["letters"]]

    def having(condition):
        return [letter["id"] for letter in all_of if condition(letter)]

    assert ids("--projection", RECORDER) == having(lambda l: l["projection"] == RECORDER) != []
    assert ids("--group", world.group(PROJECTOR)) == having(lambda l: l["projection"] == PROJECTOR)
    assert ids("--reason", "WIRE format") == having(lambda l: "wire format" in l["message"]) != []
    assert ids("--reason", "%") == having(lambda l: "%" in l["message"]), "no pattern"
    assert ids("--key", "some key") == having(lambda l: bytes(l["key"]) == b"some key") != []
    assert ids("--since", "2100-01-01T00:00:00Z") == ids("--until", "2000-01-01T00:00:00Z") == []
    assert ids("--limit", "3") == [letter["id"] for letter in all_of[:3]]
    assert answer(world, "list", "--limit", "3")["total"] == len(all_of)
    middle = all_of[4]["failed_at"].isoformat()
    assert ids("--since", middle) == having(lambda l: l["failed_at"] >= all_of[4]["failed_at"])
    assert ids("--until", middle) == having(lambda l: l["failed_at"] < all_of[4]["failed_at"])
    assert ids("--status", "replayed") == []

    text = run(world, "list", "--limit", "5").stdout
    assert f"{COMMANDS}[0]@0" in text and f"{len(all_of) - 5} more are not listed" in text
    assert max(map(len, text.splitlines())) < 240
    nothing = "no dead letters match the filters\n"
    assert run(world, "list", "--reason", "no such reason").stdout == nothing
    for command in ("discard", "replay"):
        assert run(world, command, "--all", "--reason", "no such", "--yes").stdout == nothing
    by_reason = world.rows("projectionist.dead_letters_by_reason")
    assert sum(row["letters"] for row in by_reason) == len(all_of)


@pytest.mark.parametrize("command", [("list",), ("discard", "--all"), ("replay", "--all")])
def test_a_projection_that_nobody_knows_is_refused(world, command):
    """No letters of it would look as if all were well."""
    refused = run(world, *command, "--projection", "video-catalg", code=USAGE)
    assert refused.stdout == ""
    assert "there is no 'video-catalg'; did you mean 'video-catalog'?; there are " in refused.stderr
    assert "command-projector, event-recorder, video-catalog" in refused.stderr
    with world.database.cursor() as cursor:
        cursor.execute(
            "INSERT INTO projectionist.dead_letters (cluster_id, consumer_group, projection, topic, "
            "partition, record_offset, error_class, message) "
            "VALUES ('c', 'g', 'of-others', 't', 0, 0, 'poison', 'm')")
    assert "of-others" in run(world, *command, "--projection", "nothing", code=USAGE).stderr
    assert run(world, "list", "--projection", "of-others").stdout.count("t[0]@0") == 1
    assert "filters" in run(world, *command, "--projection", "video-catalog").stdout


@pytest.mark.parametrize("command", [("list",), ("show", "1"), ("discard", "1"), ("replay", "1"),
                                     ("list", "--projection", "x")])
def test_a_database_without_tables(world, command):
    with new_database(migrated=False) as empty:
        result = run(world, *command, code=6, POSTGRES_DSN=empty)
    assert "no tables of projectionist yet; run 'projectionist migrate'" in result.stderr


@pytest.mark.partitions(1)
def test_a_letter_is_shown_whole(world):
    text = good(COMMANDS, 1, payload={"prompt": "Ein Leuchtturm \u2014 \u009b31m"})
    broken = events.status_changed(text["command_id"], "DANCING", START)
    garbage = kafka.Record(COMMANDS, b"\xff\x00key", b"\x01\x1b[31m" + bytes(range(40)), START // 1000,
                           0, HEADERS)
    tombstone = kafka.Record(COMMANDS, b"key", None, START // 1000, 0)
    cut = replace(world.record(text, 0), value=world.record(text, 0).value[:-3])
    world.publish([replace(world.record(broken, 0), headers=HEADERS), garbage, tombstone, cut])
    world.catch_up(PROJECTOR)
    dancing, odd, nothing, short = letters(world)

    shown = answer(world, "show", str(dancing["id"]))
    _, decoded = avro.decode(bytes(dancing["value"]), avro.schema_text(COMMANDS))
    assert shown["value"]["event_id"] == decoded["event_id"]
    assert shown["value"]["body"]["status"] == "DANCING"
    assert shown["value"]["emitted_at"].startswith("2026-11-21T05:06:34.968")
    assert bytes.fromhex(shown["value_hex"]) == dancing["value"]
    assert shown["key"] == text["command_id"] and shown["not_decoded"] is None
    assert shown["headers"] == [{"name": "trace", "hex": "00ff"}, {"name": "who", "hex": b"tests".hex()}]
    for name in ("id", "status", "projection", "topic", "partition", "schema_id", "error_class",
                 "cluster_id", "sqlstate"):
        assert shown[name] == dancing[name], name
    assert shown["reason"] == dancing["message"] and shown["offset"] == 0
    assert shown["timestamp"] == "2026-11-21T05:06:34.968Z"
    page = run(world, "show", dancing["id"]).stdout
    assert '"status": "DANCING"' in page and "0x00ff" in page and '"who" = tests' in page

    shown = answer(world, "show", odd["id"])
    assert shown["key"] is None and shown["key_hex"] == "ff006b6579" and shown["value"] is None
    assert "wire format" in shown["not_decoded"] and shown["schema_id"] is None
    page = run(world, "show", odd["id"]).stdout
    assert "\x1b" not in page
    assert "  00000000  01 1b 5b 33 31 6d 00 01  02 03 04 05 06 07 08 09  |..[31m..........|" in page
    assert "0xff006b6579" in page

    assert answer(world, "show", nothing["id"])["value_hex"] is None
    assert "tombstone" in run(world, "show", nothing["id"]).stdout
    assert "ends too early" in answer(world, "show", short["id"])["not_decoded"]

    # The consumer kept the schema: no registry is needed for what it could decode.
    page = run(world, "show", dancing["id"], SCHEMA_REGISTRY_URL=None).stdout
    assert "DANCING" in page
    assert "there is no dead letter 999999" in run(world, "show", "999999", code=FAILED).stderr
    assert "not" in run(world, "show", "seven", code=USAGE).stderr
    assert "one ID" in run(world, "show", code=USAGE).stderr


@pytest.mark.partitions(1)
def test_no_control_character_of_a_record_reaches_the_terminal(world):
    command = events.id_of("control")
    event = events.status_changed(command, "DA\u009b31mNC\x1b[2J", START)
    world.publish([world.record(event, 0)])
    world.catch_up(PROJECTOR)
    letter, = letters(world)
    page = run(world, "show", letter["id"]).stdout
    assert "\x1b" not in page and "\u009b" not in page
    assert answer(world, "show", letter["id"])["value"]["body"]["status"] == event["body"][1]["status"]


@pytest.mark.partitions(1)
def test_letters_are_given_up(world):
    world.publish([item.record for item in bad_records(world, COMMANDS).values()])
    world.catch_up(PROJECTOR)
    all_of = letters(world)
    first, second = str(all_of[0]["id"]), str(all_of[1]["id"])

    assert "--yes" in run(world, "discard", first, code=USAGE).stderr
    assert "which dead letters" in run(world, "discard", "--yes", code=USAGE).stderr
    assert "not both" in run(world, "discard", first, "--all", "--yes", code=USAGE).stderr
    assert "no dead letter 999999" in run(world, "discard", first, "999999", "-y", code=FAILED).stderr
    assert run(world, "discard", first, "--dry-run").stdout == "would discard 1 dead letter\n"
    assert statuses(world) == {"open": len(all_of)}

    assert answer(world, "discard", first, second, "--yes")["discarded"] == [int(first), int(second)]
    assert statuses(world) == {"open": len(all_of) - 2, "discarded": 2}
    assert letters(world, "discarded")[0]["resolved_at"] is not None
    again = run(world, "discard", first, "--yes")
    assert f"dead letter {first} was discarded" in again.stderr
    assert "discarded 0" in again.stdout
    wired = len([letter for letter in letters(world, "open") if "wire format" in letter["message"]])
    assert len(answer(world, "discard", "--all", "--reason", "wire format", "-y")["discarded"]) == wired
    assert len(answer(world, "list", "--status", "discarded")["letters"]) == 2 + wired


# --- replay -------------------------------------------------------------------------------------


def stream_of(world, seed, commands, schemas, share):
    """A scenario's records, of which each share-th is of a schema that nobody knows yet."""
    stream = scenario_run.Stream([scenario.Scenario(seed, commands)], world.schema_ids, seed)
    records = [schemas.late(record) if number % share == 0 and len(record.value) > 40 else record
               for number, record in enumerate(stream.records)]
    return stream, records


def check_tables(world, stream, names=tuple(scenario_run.TOPICS_OF)):
    """Tables and open letters are what they had been without any lateness."""
    want = stream.expected()
    have = scenario_run.tables_of(world)
    for table, rows in want.items():
        problems = scenario_run.report(table, have[table], rows, stream.events)
        assert not problems, problems
    for name in names:
        left = [letter for letter in letters(world, "open")
                if letter["consumer_group"] == world.group(name)]
        assert len(left) == sum(stream.dead_letters(name).values()), name


def test_replayed_beside_running_consumers_is_as_if_in_time(world):
    """All projections: late letters, while the consumers go on with the second half."""
    schemas = LateSchemas()
    stream, records = stream_of(world, 5, 120, schemas, 3)
    half = len(records) // 2
    garbage = len(scenario_run.GARBAGE) * len(TOPICS)  # at the end of the stream
    first, second = records[:half] + records[-garbage:], stream.records[half:-garbage]
    scenario_run.run_in_peace(world, first)
    late = len([letter for letter in letters(world) if letter["schema_id"] in schemas.ids.values()])
    hopeless = stream.refused([was for was, record in zip(stream.records[:half], first)
                               if record is not was])  # late, and bad as well
    assert late - hopeless > 300
    result = answer(world, "replay", "--all", "--yes", code=FAILED)
    assert result["replayed"] == [] and len(result["refused"]) == len(letters(world))

    schemas.register()
    started = [world.start(name) for name in scenario_run.TOPICS_OF]
    for consumer in started:
        consumer.wait_until_ready()
    refused = len(letters(world)) - late + hopeless
    process = start_replay(world)
    world.publish(second)
    out, err = process.communicate(timeout=180)
    assert process.returncode == FAILED, err  # for those that no schema helps
    scenario_run.wait_for_ends(world)
    result = json.loads(out)
    assert len(result["replayed"]) == late - hopeless and len(result["refused"]) == refused
    assert err.count("stays open") == min(refused, 20)
    with_patience(lambda: check_tables(world, stream))
    for consumer in started:
        consumer.stop()

    before = scenario_run.tables_of(world)
    result = answer(world, "replay", "--all", "--yes", code=FAILED)
    assert result["replayed"] == []
    assert scenario_run.tables_of(world) == before


def with_patience(check):
    """Time goes on in the session tracker after the last of its records."""
    def passes():
        check()
        return True

    database.wait_until(passes, 20)


def test_without_the_consumers_and_with_discards(world):
    """Replay alone brings tables and stream time to what they would have been."""
    schemas = LateSchemas()
    stream, records = stream_of(world, 6, 60, schemas, 2)
    scenario_run.run_in_peace(world, records)
    schemas.register()
    dry = answer(world, "replay", "--all", "--dry-run", code=FAILED)
    assert len(dry["replayed"]) > 200 and statuses(world) == {"open": len(letters(world))}
    before = scenario_run.tables_of(world)
    done = answer(world, "replay", "--all", "--yes", code=FAILED)
    assert done["replayed"] == dry["replayed"] and done["refused"] == dry["refused"]
    assert scenario_run.tables_of(world) != before
    check_tables(world, stream)


REPLAYED_LATER = ("watermark-metrics", PROJECTOR)


def only_late(world):
    """A stream of which two consumers have only letters, which could be replayed now."""
    schemas = LateSchemas()
    world.consumers.variables["ACCEPT_DEAD_LETTERS"] = "true"
    stream = scenario_run.Stream([scenario.Scenario(9, 40)], world.schema_ids, 9, garbage=False)
    scenario_run.run_in_peace(world, [schemas.late(record) for record in stream.records],
                              REPLAYED_LATER)
    assert len(letters(world)) > 300 and world.count("safari_commands") == 0
    schemas.register()
    return stream


def start_replay(world, dsn=None):
    return subprocess.Popen(
        [consumers.program("projectionist"), "dead-letters", "replay", "--all", "--yes", "--json"],
        env=consumers.environment({"POSTGRES_DSN": dsn or world.dsn}), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_share(world, fifths, count):
    """Waits until so many fifths of the letters are replayed, and not all."""
    database.wait_until(lambda: statuses(world).get("replayed", 0) >= fifths * count // 5)


def check_as_undisturbed(world, stream, template):
    poison = sum(sum(stream.dead_letters(name).values()) for name in REPLAYED_LATER)
    assert statuses(world).get("open", 0) == poison
    with world.undisturbed(REPLAYED_LATER, template) as undisturbed:
        for table in ("safari_commands", "watermark_removals", "watermark_metrics"):
            rows = database.table(undisturbed, table)
            assert rows and world.rows(table) == rows, table


def test_each_exactly_once_whenever_it_is_killed(world, template):
    stream = only_late(world)
    count = len(letters(world))
    for kill in range(1, 4):
        process = start_replay(world)
        wait_for_share(world, kill, count)
        process.kill()
        process.communicate()
        assert statuses(world)["open"] > 0, "it was done before it was killed"
    # Two at once, to the end.
    results = [process.communicate(timeout=120)
               for process in [start_replay(world), start_replay(world)]]
    replayed = Counter(number for out, _ in results for number in json.loads(out)["replayed"])
    assert set(replayed.values()) == {1}, "one was replayed by both"
    check_as_undisturbed(world, stream, template)


def test_it_goes_on_where_its_connection_was_cut(world, template):
    stream = only_late(world)
    count = len(letters(world))
    process = start_replay(world)
    for cut in range(1, 5):
        wait_for_share(world, cut, count)
        ended = world.value(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = "
            "current_database() AND application_name = 'projectionist'")
        assert ended > 0, "it was done before"
    out, err = process.communicate(timeout=120)
    refused = len(json.loads(out)["refused"])
    assert process.returncode == (FAILED if refused else 0), err
    assert len(json.loads(out)["replayed"]) + refused == count
    check_as_undisturbed(world, stream, template)


@pytest.mark.parametrize("when", [ASKED, ANSWERED])
def test_a_commit_without_an_answer(world, template, when):
    """Whether the letter was replayed is asked of Postgres: none is applied twice, none is missing
    from what the command says."""
    stream = only_late(world)
    count = len(letters(world))
    with Proxy(world.dsn) as proxy:
        proxy.cut_commits(lambda now: now == when and proxy.commits[now] % 20 == 1)
        out, err = start_replay(world, proxy.dsn).communicate(timeout=120)
        assert proxy.cuts[when] > 10, err
    said = json.loads(out)
    replayed = [letter["id"] for letter in letters(world, "replayed")]
    assert sorted(said["replayed"]) == replayed, "the command does not say what it did"
    assert len(replayed) + len(said["refused"]) == count and said["resolved"] == []
    check_as_undisturbed(world, stream, template)


def test_what_somebody_else_resolved_during_a_commit_without_an_answer_is_not_said_to_be_replayed(
        world):
    only_late(world)
    count = len(letters(world))
    others = []

    def discard_first():
        with database.connect(world.dsn) as connection:
            others.extend(connection.execute(
                "UPDATE projectionist.dead_letters SET status = 'discarded', resolved_at = now() "
                "WHERE id = (SELECT min(id) FROM projectionist.dead_letters WHERE status = 'open') "
                "RETURNING id").fetchall())

    def waits():
        return world.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'UPDATE%discarded%' "
                           "AND wait_event_type = 'Lock' AND datname = current_database()") == 1

    with Proxy(world.dsn) as proxy:
        thread = threading.Thread(target=discard_first)

        def cut(now):
            if now != ASKED or thread.ident is not None:
                return False
            thread.start()
            database.wait_until(waits)
            return True

        proxy.cut_commits(cut)
        out, err = start_replay(world, proxy.dsn).communicate(timeout=120)
        thread.join()
        assert proxy.cuts[ASKED] == 1 and len(others) == 1, err
    said = json.loads(out)
    assert said["resolved"] == [others[0]["id"]] and others[0]["id"] not in said["replayed"]
    assert len(said["replayed"]) + len(said["refused"]) == count - 1


@pytest.mark.parametrize("arguments, status", [
    ((), "expired"), (("--session-timeout", "32m"), "active")])
def test_the_stream_time_of_a_letter_counts(world, arguments, status):
    """A session expires by the time of a letter, once that is applied."""
    schemas = LateSchemas()
    session, other = events.id_of("session"), events.id_of("other")
    ahead = schemas.late(world.record(events.session_opened(events.id_of("third"),
                                                            START + 70 * MINUTE)))
    world.publish([
        events.session_opened(session, START),
        schemas.late(world.record(events.session_opened(other, START + 31 * MINUTE))),
        # More than 24 hours ahead of its record's timestamp: it does not count.
        replace(ahead, timestamp=START // 1000 - 25 * 3600 * 1000)])
    world.catch_up("session-tracker")

    def seen():
        return {str(row["session_id"]): row["status"] for row in world.rows("safari_sessions")}

    def stream_time():
        return world.value("SELECT extract(epoch FROM max(stream_time)) * 1000000 FROM "
                           "projectionist.consumer_offsets WHERE consumer_group = %s",
                           [world.group("session-tracker")])

    assert seen() == {session: "active"} and stream_time() == START
    schemas.register()
    assert len(answer(world, "replay", "--all", "--yes", *arguments)["replayed"]) == 2
    assert seen() == {session: status, other: "active", events.id_of("third"): "active"}
    assert stream_time() == START + 31 * MINUTE


@pytest.mark.partitions(1)
def test_what_postgres_refused_can_be_replayed_once_it_does_not(world):
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE safari_events ADD CONSTRAINT test_only "
                           "CHECK (type <> 'rate.limited') NOT VALID")
        happened = [events.telemetry("rate.limited" if number % 2 else "selector.missing",
                                     START + number * SECOND, payload={"number": number},
                                     command_id=events.id_of("refused", number))
                    for number in range(10)]
        world.publish(happened)
        world.catch_up(RECORDER)
        assert {letter["sqlstate"] for letter in letters(world)} == {"23514"}
        assert world.count("safari_events") == 5
        first = str(letters(world)[0]["id"])
        result = run(world, "replay", first, "--yes", code=FAILED)
        assert f"dead letter {first} (safari.telemetry[0]@1) stays open" in result.stderr
        assert "replayed 0 dead letters, 1 stay open" in result.stdout
        connection.execute("ALTER TABLE safari_events DROP CONSTRAINT test_only")
    assert run(world, "replay", first, "--yes").stdout == "replayed 1 dead letter\n"
    again = run(world, "replay", first, "--yes")
    assert f"dead letter {first} was replayed" in again.stderr
    assert "--yes" in run(world, "replay", "--all", code=USAGE).stderr
    assert run(world, "replay", "--all", "--reason", "test_only", "--yes").stdout == (
        "replayed 4 dead letters\n")
    assert world.count("safari_events") == 10
    assert statuses(world) == {"replayed": 5}
    assert answer(world, "replay", "--all", "--yes") == {
        "dry_run": False, "replayed": [], "refused": [], "resolved": []}


@pytest.mark.partitions(1)
def test_a_new_reason_is_kept(world):
    schemas = LateSchemas()
    record = schemas.late(world.record(events.status_changed(events.id_of(1), "DANCING"), 0))
    world.publish([record])
    world.catch_up(PROJECTOR)
    letter, = letters(world)
    assert str(schemas.ids[COMMANDS]) in letter["message"]
    schemas.register()
    run(world, "replay", "--all", "--dry-run", code=FAILED)
    assert letters(world) == [letter]
    refused, = answer(world, "replay", "--all", "--yes", code=FAILED)["refused"]
    assert "DANCING" in refused["reason"]
    after, = letters(world)
    assert after["message"] == refused["reason"] and after["status"] == "open"
    assert {**after, "message": letter["message"]} == letter


@pytest.mark.partitions(1)
def test_a_registry_that_is_away_is_waited_for_and_then_given_up(world):
    """A retry-class error: nothing is marked, the exit code says why, and it can be run again."""
    schemas = LateSchemas()
    world.publish([schemas.late(world.record(good(COMMANDS, number), 0)) for number in range(3)])
    world.catch_up(PROJECTOR)
    schemas.register()
    started = time.monotonic()
    result = run(world, "replay", "--all", "--yes", "--schema-registry-url", "http://127.0.0.1:9",
                 code=UNAVAILABLE)
    assert time.monotonic() - started > 2, "it did not wait"
    assert "127.0.0.1:9" in result.stderr and result.stderr.count("\n") == 1
    assert statuses(world) == {"open": 3}
    assert "replayed 3" in run(world, "replay", "--all", "--yes").stdout
    assert world.count("safari_commands") == 3


@pytest.mark.parametrize("command", ["list", "show", "replay", "discard"])
def test_the_help_fits_a_terminal(command):
    result = consumers.run("projectionist", "help", "dead-letters", command)
    assert result.returncode == 0 and "EXAMPLES" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80

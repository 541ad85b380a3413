# SPDX-License-Identifier: Apache-2.0
"""Consumers as processes: how they start, share partitions, wait, end, and what they say of it."""

import collections
import urllib.error
import urllib.request
import uuid

import pytest
from confluent_kafka import Producer

from lib import consumers, database, events, kafka
from lib.database import wait_until
from lib.events import COMMANDS, SECOND, START, TELEMETRY
from lib.world import PROJECTOR, RECORDER, new_database
from psycopg import conninfo

USAGE, DATABASE = 2, 6
PROGRAMS = (PROJECTOR, RECORDER)


def commands(count, name="command"):
    """`count` commands, each submitted and started."""
    for number in range(count):
        command = events.id_of(name, number)
        yield events.command_submitted(command, START + number * SECOND)
        yield events.status_changed(command, "RUNNING", START + number * SECOND, counter=number)


def frames(count, name="command", each=1):
    """`count` × `each` frames of the same commands."""
    for number in range(count * each):
        yield events.telemetry("action.attempted", START + number * SECOND, counter=number,
                               command_id=events.id_of(name, number % count), payload={})


def kinds_of(log):
    return collections.Counter(line.partition("level=")[2].split(" ")[0]
                               for line in log.splitlines())


# --- starting and ending ------------------------------------------------------------------------


def test_the_environment_is_enough(world):
    """No arguments; the group is the consumer's name."""
    world.publish([*commands(5), *frames(5)])
    running = [world.start(name, group=None, METRICS_ADDRESS=None) for name in PROGRAMS]
    world.wait_for_ends(PROJECTOR, COMMANDS)
    world.wait_for_ends(RECORDER, TELEMETRY)
    assert world.count("safari_commands") == 5
    assert world.count("safari_events") == 5
    assert not [consumer for consumer in running if "serving metrics" in consumer.log]
    for consumer in running:
        consumer.stop()
        assert kinds_of(consumer.log).keys() == {"info"}


def test_until_caught_up_ends_at_the_ends(world):
    world.publish([*commands(50), *frames(50)])
    world.catch_up()
    world.assert_caught_up(world.group(PROJECTOR), COMMANDS)
    world.assert_caught_up(world.group(RECORDER), TELEMETRY)
    assert world.count("safari_commands") == world.count("safari_events") == 50


def test_until_caught_up_ends_where_there_is_nothing(world):
    world.catch_up()
    assert world.offsets(world.group(PROJECTOR)) == {}


def test_a_group_consumes_for_itself(world):
    world.publish([*commands(20), *frames(20)])
    world.catch_up()
    before = [world.rows(table) for table in ("safari_commands", "safari_events")]
    for name, topic in ((PROJECTOR, COMMANDS), (RECORDER, TELEMETRY)):
        group = world.consumers.new_group("other")
        world.consumers.catch_up(name, "--group", group)
        world.assert_caught_up(group, topic)
    assert [world.rows(table) for table in ("safari_commands", "safari_events")] == before


RENAMED = """
    SET search_path = public;
    ALTER TABLE safari_events RENAME TO state_changes;
    CREATE TABLE safari_events (LIKE state_changes INCLUDING ALL) PARTITION BY HASH (event_id);
    ALTER TABLE safari_events ATTACH PARTITION state_changes
        FOR VALUES WITH (MODULUS 1, REMAINDER 0)
"""


def test_a_table_named_as_one_of_state(world):
    """What comes again in a COPY is passed over, whatever the name of the table that has it."""
    world.publish(frames(3000))
    world.catch_up(RECORDER)
    before = world.rows("safari_events")
    world.database.execute(RENAMED)
    group = world.consumers.new_group("other")
    world.consumers.catch_up(RECORDER, "--group", group)
    world.assert_caught_up(group, TELEMETRY)
    assert world.rows("safari_events") == before and len(before) == 3000


def test_a_stop_under_load_is_clean(world):
    """SIGTERM amid thousands of records: exit code 0, and the next one goes on where it ended."""
    count = 6000
    world.publish(commands(count))
    first = world.start(PROJECTOR, BATCH_RECORDS=100)
    first.wait_until(lambda: world.count("safari_commands") > 0)
    first.stop()
    done = world.count("safari_commands")
    assert 0 < done < count, "it was not under load any more"
    assert sum(world.offsets(world.group(PROJECTOR)).values()) < 2 * count
    world.catch_up(PROJECTOR)
    assert world.count("safari_commands") == count
    assert world.value("SELECT count(*) FROM safari_commands WHERE status = 'RUNNING'") == count
    world.assert_caught_up(world.group(PROJECTOR), COMMANDS)


# --- replicas -----------------------------------------------------------------------------------


def owners(world, group):
    """{owner: how many partitions}, as status says."""
    parts = world.status().get(group, {"partitions": []})["partitions"]
    return collections.Counter(part["owner"] for part in parts)


def wait_for_owners(world, group, replicas):
    """Waits until the replicas share all 12 partitions, none with more than its share."""
    def shared():
        found = owners(world, group)
        assert found.keys() == {replica.owner for replica in replicas}, found
        assert sum(found.values()) == 12 and max(found.values()) == 12 // len(replicas), found
        have = [replica.metric("projectionist_assigned_partitions") for replica in replicas]
        assert have == [12 // len(replicas)] * len(replicas), have
        return True

    wait_until(shared, consumers.DEADLINE)


@pytest.mark.partitions(12)
@pytest.mark.parametrize("strategy", ["cooperative-sticky", "range"])
def test_replicas_share_the_partitions(world, strategy):
    group = world.group(RECORDER)
    variables = {"KAFKA_PARTITION_ASSIGNMENT_STRATEGY": strategy} if strategy == "range" else {}
    replicas = [world.start(RECORDER, **variables) for _ in range(3)]
    wait_for_owners(world, group, replicas)

    world.publish(frames(120, "three"))
    world.wait_for_ends(group, TELEMETRY)
    assert all(replica.metric("projectionist_records_total") > 0 for replica in replicas)

    gone, *left = replicas
    world.publish(frames(120, "leaving", each=20))
    gone.stop()
    wait_for_owners(world, group, left)
    world.publish(frames(120, "two"))
    world.wait_for_ends(group, TELEMETRY)
    assert world.count("safari_events") == 22 * 120
    assert world.letters() == []
    for replica in left:
        assert replica.metric("projectionist_fenced_total") == 0
        replica.stop()


# --- what is in the topics ----------------------------------------------------------------------


@pytest.mark.partitions(1)
def test_transactions(world):
    """Committed records land, aborted ones do not, and control records are no lag."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers(),
                         "transactional.id": consumers.Consumers.new_group("producer")})
    producer.init_transactions(30)
    for number, commit in enumerate([True, False, True, False]):
        producer.begin_transaction()
        for event in commands(10, f"transaction {number}"):
            record = world.record(event, 0)
            producer.produce(record.topic, record.value, record.key, record.partition)
        producer.flush(30)
        producer.commit_transaction(30) if commit else producer.abort_transaction(30)

    world.catch_up(PROJECTOR)
    expected = {events.id_of(f"transaction {number}", n) for number in (0, 2) for n in range(10)}
    assert {str(row["command_id"]) for row in world.rows("safari_commands")} == expected
    group = world.group(PROJECTOR)
    assert kafka.end_offsets(COMMANDS) == {(COMMANDS, 0): 84}
    world.assert_caught_up(group, COMMANDS)
    assert world.status()[group]["lag"] == 0


def test_a_topic_that_comes_later(world):
    """A missing topic is waited for."""
    kafka.delete_topics(COMMANDS)
    consumer = world.start(PROJECTOR)
    consumer.wait_for_log(f"{COMMANDS} does not exist.*projectionist topics create")
    assert consumer.get("/livez")[0] == 200
    assert consumer.get("/readyz")[0] == 503
    kafka.create_topics(COMMANDS, partitions=3)
    world.publish(commands(10))
    consumer.wait_until(lambda: world.count("safari_commands") == 10)
    consumer.wait_until_ready()
    world.wait_for_ends(world.group(PROJECTOR), COMMANDS)
    consumer.stop()


def test_a_run_that_is_to_end_cannot_wait_for_a_topic(world):
    kafka.delete_topics(COMMANDS)
    consumer = world.start(PROJECTOR, "--until-caught-up")
    consumer.wait(1)
    assert f"the topic {COMMANDS} does not exist" in consumer.tail
    assert "projectionist topics create" in consumer.tail


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROGRAMS)
def test_missing_tables(world, name):
    with new_database(migrated=False) as empty:
        consumer = world.start(name, POSTGRES_DSN=empty)
        consumer.wait(DATABASE)
    assert "projectionist migrate" in consumer.tail
    assert kinds_of(consumer.log)["error"] == 1


@pytest.mark.parametrize("arguments, variables, says", [
    (["--until-cought-up"], {}, "--until-caught-up"),
    (["--frobnicate"], {}, "--frobnicate"),
    (["extra"], {}, "extra"),
    (["--batch-records", "many"], {}, "whole number"),
    (["--batch-records", "0"], {}, "between 1 and 1000000"),
    (["--batch-bytes", "8MB!"], {}, "size"),
    (["--lock-timeout", "soon"], {}, "duration"),
    (["--log-level", "loud"], {}, "debug, info, warn, error"),
    (["--group"], {}, "--group"),
    (["--group", ""], {}, "--group: must not be empty"),
    (["--instance="], {}, "--instance: must not be empty"),
    (["--config", "/nowhere/at-all"], {}, "/nowhere/at-all"),
    ([], {"BATCH_RECORDS": "many"}, "PROJECTIONIST_BATCH_RECORDS"),
    ([], {"METRICS_ADDRESS": "nowhere"}, "nowhere"),
    ([], {"KAFKA_BOOTSTRAP_SERVERS": None}, "PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS"),
    ([], {"POSTGRES_DSN": None}, "PROJECTIONIST_POSTGRES_DSN"),
    (["--kafka.no.such.property=1"], {}, "no.such.property"),
    (["--kafka.auto.offset.reset=earliest"], {}, "auto.offset.reset"),
    (["--kafka.isolation.level=read_uncommitted"], {}, "isolation.level"),
    (["--kafka.enable.auto.commit=true"], {}, "enable.auto.commit"),
    (["--kafka.group.id=mine"], {}, "--group"),
    (["--kafka.session.timeout.ms=soon"], {}, "session.timeout.ms"),
    (["--schema-registry-url", "not a url"], {}, "--schema-registry-url"),
])
def test_what_makes_no_sense(arguments, variables, says):
    """One sentence that names the thing, and exit code 2."""
    result = consumers.run(PROJECTOR, *arguments, variables=variables)
    assert result.returncode == USAGE, result.stderr
    assert says in result.stderr
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if "level=info" not in line]
    assert len(errors) == 1, result.stderr


def test_a_password_that_is_not_given_is_not_waited_for(world):
    dsn = conninfo.conninfo_to_dict(world.dsn)
    del dsn["password"]
    consumer = world.start(PROJECTOR, POSTGRES_DSN=conninfo.make_conninfo(**dsn))
    consumer.wait(6)
    assert "it asks for a password" in consumer.log
    assert "PROJECTIONIST_POSTGRES_PASSWORD" in consumer.log


@pytest.mark.parametrize("argument, variable", [
    ("--kafka.sasl.password=hunter2", "PROJECTIONIST_KAFKA_SASL_PASSWORD"),
    ("--kafka.ssl.key.password=hunter2", "PROJECTIONIST_KAFKA_SSL_KEY_PASSWORD"),
    ("--postgres.password=hunter2", "PROJECTIONIST_POSTGRES_PASSWORD"),
    ("--schema-registry-password=hunter2", "PROJECTIONIST_SCHEMA_REGISTRY_PASSWORD"),
    ("--postgres-dsn=postgresql://me:hunter2@127.0.0.1/db", "PROJECTIONIST_POSTGRES_DSN"),
    ("--postgres-dsn=host=127.0.0.1 password=hunter2", "PROJECTIONIST_POSTGRES_DSN"),
])
def test_secrets_do_not_belong_on_a_command_line(argument, variable):
    result = consumers.run(PROJECTOR, argument)
    assert result.returncode == USAGE
    assert variable in result.stderr
    assert "hunter2" not in result.stderr + result.stdout


@pytest.mark.parametrize("level", ["debug", "info"])
def test_secrets_are_not_in_the_log(world, level):
    world.publish(commands(3))
    consumer = world.consumers.catch_up(PROJECTOR, group=world.group(PROJECTOR), LOG_LEVEL=level)
    password = database.psycopg.conninfo.conninfo_to_dict(world.dsn)["password"]
    assert password not in consumer.log
    with open("/proc/self/environ", "rb") as own:
        assert password.encode() in own.read(), "the test looks for the wrong word"


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_and_version(name):
    result = consumers.run(name, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    for part in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "--group",
                 "--until-caught-up", "PROJECTIONIST_GROUP"):
        assert part in result.stdout, part
    assert max(map(len, result.stdout.splitlines())) <= 88
    version = consumers.run(name, "--version")
    assert (version.returncode, version.stderr) == (0, "")
    assert version.stdout.startswith(f"{name} ") and version.stdout.count("\n") == 1


@pytest.mark.parametrize("name", ["control-gateway", "telemetry-bridge", "stream-record"])
def test_the_help_of_a_program_without_postgres_does_not_offer_it(name):
    assert "--postgres" not in consumers.run(name, "--help").stdout
    assert "--postgres.KEY" in consumers.run(PROJECTOR, "--help").stdout


def test_a_recording_without_a_name_is_seen_to_have_none():
    result = consumers.run("stream-replay", "")
    assert result.returncode == USAGE and "cannot open ''" in result.stderr


# --- metrics and probes -------------------------------------------------------------------------


def test_once_duplicates_came_no_copy_is_tried_in_vain(world):
    """The first batch that has some is written twice; those that follow ask first."""
    def stream(*numbers):
        return [events.telemetry("action.attempted", START + number * SECOND, counter=number,
                                 command_id=events.id_of("command", number % 10), payload={})
                for number in numbers]

    def inserted():
        """What failed counts, too."""
        return world.database.execute("SELECT n_tup_ins FROM pg_stat_user_tables "
                                      "WHERE relname = 'safari_events'").fetchone()["n_tup_ins"]

    mixed = [number for pair in zip(range(1500), range(1500, 3000)) for number in pair]
    later = [number for pair in zip(range(1500, 3000), range(3000, 4500)) for number in pair]
    world.publish(stream(*range(1500)))
    world.consumers.catch_up(RECORDER, group=world.group(RECORDER))
    world.publish(stream(*mixed))
    consumer = world.start(RECORDER)
    consumer.wait_until_ready()
    world.wait_for_ends(world.group(RECORDER), TELEMETRY)
    wait_until(lambda: inserted() > 3000, message="no COPY failed: the test tries nothing")
    before = inserted()
    # Twice each: neither that is written, nor a COPY that fails.
    world.publish(stream(*later, *later))
    world.wait_for_ends(world.group(RECORDER), TELEMETRY)
    wait_until(lambda: inserted() - before >= 1500)
    assert inserted() - before == 1500
    assert world.count("safari_events") == 4500


def test_metrics_count_what_happens(world):
    """Records are those read, the duplicates too."""
    world.publish([*frames(10), events.telemetry("without a command", payload={}),
                   kafka.Record(TELEMETRY, b"key", b"garbage")])
    consumer = world.start(RECORDER)
    group = world.group(RECORDER)
    consumer.wait_until_ready()
    world.wait_for_ends(group, TELEMETRY)
    consumer.wait_until(lambda: consumer.metric("projectionist_records_total") == 12)
    metrics = consumer.metrics()
    for name, value in {"records_total": 12, 'dead_letters_total{reason="decode"}': 1,
                        'dead_letters_total{reason="postgres"}': 0, "placeholders_total": 10,
                        'rows_total{table="safari_events",kind="insert"}': 11,
                        "fenced_total": 0, "retries_total": 0, "dropped_records_total": 0,
                        "assigned_partitions": 3}.items():
        assert metrics[f"projectionist_{name}"] == value, name
    assert metrics["projectionist_batches_total"] >= 1
    assert (metrics['projectionist_batch_seconds_bucket{le="+Inf"}']
            == metrics["projectionist_batch_seconds_count"] >= 1)
    lags = {f'projectionist_lag_records{{topic="{TELEMETRY}",partition="{n}"}}' for n in range(3)}
    consumer.wait_until(lambda: lags <= consumer.metrics().keys())

    world.publish(frames(10))
    world.wait_for_ends(group, TELEMETRY)
    consumer.wait_until(lambda: consumer.metric("projectionist_records_total") == 22)
    assert consumer.metric("projectionist_placeholders_total") == 10
    assert world.count("safari_events") == 11
    consumer.wait_until(lambda: all(consumer.metrics()[lag] == 0 for lag in lags))

    assert consumer.get("/livez")[0] == 200
    assert consumer.get("/readyz")[0] == 200
    assert consumer.get("/nowhere")[0] == 404
    request = urllib.request.Request(f"http://127.0.0.1:{consumer.port}/metrics", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 405
    consumer.stop()


# --- commands that are known only by their events -----------------------------------------------


def story():
    """A command whose frames come out of order: its events, its frames, and its row when all of it
    is known."""
    command = events.id_of("story")
    changes = [events.status_changed(command, word, START + number * SECOND, counter=number)
               for number, word in enumerate(["QUEUED", "RUNNING", "SUCCEEDED"], 1)]
    submitted = events.command_submitted(command, START, type="sora.clean", idempotency_key="key")
    told = [events.frame_of(change) for change in (changes[1], changes[0], changes[2])]
    return command, [submitted, *changes], told


def the_row(world):
    row, = world.rows("safari_commands")
    return row


def check_complete(world):
    row = the_row(world)
    assert (row["type"], row["status"], row["placeholder"]) == ("sora.clean", "SUCCEEDED", None)
    assert row["idempotency_key"] == "key"
    times = [row[name].timestamp() for name in ("created_at", "started_at", "completed_at")]
    assert times == [START / SECOND, START / SECOND + 2, START / SECOND + 3]
    assert {str(event["command_id"]) for event in world.rows("safari_events")} == {
        str(row["command_id"])}
    assert world.count("safari_events") == 3


@pytest.mark.partitions(1)
def test_events_before_their_command(world):
    command, happened, told = story()
    for number, frame in enumerate(told):
        world.publish([frame])
        world.catch_up(RECORDER)
        row = the_row(world)
        assert (str(row["command_id"]), row["type"], row["status"], row["placeholder"]) == (
            command, "unknown", "QUEUED", True)
        earliest = min(frame["emitted_at"] for frame in told[:number + 1])
        assert row["created_at"].timestamp() == earliest / SECOND
    world.publish(happened[1:])  # the status changes alone: its type is not known yet
    world.catch_up(PROJECTOR)
    row = the_row(world)
    assert (row["type"], row["status"], row["placeholder"]) == ("unknown", "SUCCEEDED", None)
    assert row["created_at"].timestamp() == START / SECOND + 1
    world.publish(happened[:1])
    world.catch_up(PROJECTOR)
    check_complete(world)


@pytest.mark.partitions(1)
def test_events_after_their_command(world):
    _, happened, told = story()
    world.publish([*happened, *told])
    world.catch_up(PROJECTOR, RECORDER)
    check_complete(world)


def test_a_command_without_a_name_of_its_own(world):
    """The nil UUID is one like any other: what is cleared to zeros must not be taken for it."""
    nil = str(uuid.UUID(int=0))
    frame = events.telemetry("sora.polling.started", START, command_id=nil)
    world.publish([frame])
    world.catch_up(RECORDER)
    row = the_row(world)
    assert (str(row["command_id"]), row["placeholder"]) == (nil, True)
    assert world.count("safari_events") == 1 and world.letters() == []


@pytest.mark.partitions(1)
def test_events_that_race_with_their_command(world):
    _, happened, told = story()
    count = 300
    both = [world.start(name) for name in PROGRAMS]
    for consumer in both:
        consumer.wait_until_ready()
    world.publish(item for pair in zip(frames(count, "race"), commands(count, "race"))
                  for item in pair)
    world.publish([*told, *happened])
    for name, topic in ((PROJECTOR, COMMANDS), (RECORDER, TELEMETRY)):
        world.wait_for_ends(world.group(name), topic)
    assert world.count("safari_events") == count + 3
    assert world.letters() == []
    for consumer in both:
        assert consumer.metric("projectionist_retries_total") == 0
        consumer.stop()


def test_no_statement_is_compiled(world):
    """Where a scan is the only way, its made-up cost would have Postgres compile each time what
    takes a millisecond, while the others wait for the locks."""
    world.database.execute(
        "CREATE TABLE seen (jit text);"
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO seen VALUES (current_setting('jit')); RETURN NULL; END $$;"
        "CREATE TRIGGER note AFTER INSERT ON safari_commands EXECUTE FUNCTION note()")
    world.publish([events.command_submitted(events.id_of("command"))])
    world.catch_up(PROJECTOR)
    assert {row["jit"] for row in world.rows("seen")} == {"off"}

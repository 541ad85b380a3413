# SPDX-License-Identifier: Apache-2.0
"""The projectionist command against real servers: help, configuration, topics, schemas, status.

The servers are those of the environment (eval "$(deploy/local/cluster env)"), the program is
in PROJECTIONIST_BIN, by default that of the dev preset. Each module has a database of its own.
"""

import json
import re
import subprocess
import urllib.request
import uuid

import psycopg
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from cli_support import ADMIN_WAIT, cli
from lib import kafka
from lib.consumers import REPOSITORY, address
from lib.world import new_database

USAGE, DATABASE, UNAVAILABLE = 2, 6, 7
CONNECTOR_TOPICS = {"safari.bridge-cursors": "compact", "safari.idempotency-keys": "compact",
                    "safari.telemetry.dead-letters": "delete"}


@pytest.fixture(scope="module")
def database():
    with new_database(migrated=False) as dsn:
        assert cli("migrate", dsn=dsn).returncode == 0
        yield dsn


@pytest.fixture(scope="module")
def admin():
    return AdminClient({"bootstrap.servers": address("KAFKA_BOOTSTRAP_SERVERS")})


@pytest.fixture
def topics():
    """Two names that nobody else uses; the topics, if made, are removed again."""
    names = [f"cli-test.{uuid.uuid4().hex[:12]}.{word}" for word in ("a", "b")]
    yield names
    kafka.delete_topics(*names)


def settings_of(admin, topic):
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    (future,) = admin.describe_configs([resource]).values()
    return {name: entry.value for name, entry in future.result(ADMIN_WAIT).items()}


def partitions_of(admin, topic):
    found = admin.list_topics(timeout=ADMIN_WAIT).topics.get(topic)
    return len(found.partitions) if found else 0


# --- help and configuration ---------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["help"], ["--help"], ["-h"]])
def test_help_lists_every_command(arguments):
    result = cli(*arguments)
    assert result.returncode == 0
    assert result.stderr == ""
    for command in ("status", "migrate", "topics create", "schemas register"):
        assert re.search(rf"^  {command} +\S", result.stdout, re.M)


@pytest.mark.parametrize("command", [
    "status", "migrate", "verify", "rebuild", "topics create", "completion", "new", "publish",
    "heartbeat", "trim",
    *(f"dead-letters {word}" for word in ("list", "show", "replay", "discard")),
    *(f"offsets {word}" for word in ("show", "set")),
    *(f"schemas {word}" for word in ("register", "list", "forget"))])
def test_help_of_a_command_is_the_same_both_ways(command):
    result = cli("help", *command.split())
    assert result.returncode == 0
    for part in ("NAME", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES"):
        assert re.search(rf"^{part}$", result.stdout, re.M), part
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    assert cli(*command.split(), "--help").stdout == result.stdout


def test_version():
    result = cli("--version")
    assert result.returncode == 0
    assert re.fullmatch(r"projectionist \d+\.\d+\.\d+\n", result.stdout)


@pytest.mark.parametrize("typed, suggestion", [
    (["stauts"], "status"), (["migrat"], "migrate"), (["topics", "creat"], "topics create"),
    (["schemas", "registre"], "schemas register"), (["help", "statis"], "status")])
def test_an_unknown_command_gets_the_nearest_one(typed, suggestion):
    result = cli(*typed)
    assert result.returncode == USAGE
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert f"did you mean '{suggestion}'?" in result.stderr


def test_a_far_off_command_gets_no_suggestion():
    result = cli("frobnicate")
    assert result.returncode == USAGE
    assert result.stderr == ("projectionist: there is no command 'frobnicate'; "
                             "'projectionist help' lists them\n")


# Asks the completion as bash does: all words typed so far, the last of them unfinished.
COMPLETE = """
eval "$1"
shift
COMP_WORDS=(projectionist "$@") COMP_CWORD=$#
_projectionist
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize("typed, offered", [
    (["dead"], {"dead-letters"}),
    (["dead-letters", ""], {"list", "show", "replay", "discard"}),
    (["help", "offsets", "s"], {"show", "set"}),
    (["dead-letters", "list", "--s"], {"--since", "--status"}),
    (["dead-letters", "list", "--status", "d"], {"discarded"}),
    (["dead-letters", "list", "--status", "=", "d"], {"discarded"}),
    (["dead-letters", "list", "--limit", ""], {""}),  # nothing
    (["verify", "all", "--jso"], {"--json"}),
    (["verify", "v"], {"video-catalog"}),
    (["rebuild", "--yes", "al"], {"all"}),
    (["completion", ""], {"--config", "--help", "--version", "bash"}),
    (["no-such-command", ""], {""}),
])
def test_bash_completes(typed, offered):
    script = cli("completion", "bash")
    assert script.returncode == 0
    result = subprocess.run(["bash", "-c", COMPLETE, "-", script.stdout, *typed],
                            capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert set(result.stdout.split("\n")[:-1]) == offered


@pytest.mark.parametrize("arguments", [[], ["csh"], ["bash", "bash"]])
def test_completion_wants_the_shell(arguments):
    result = cli("completion", *arguments)
    assert result.returncode == USAGE
    assert "projectionist completion bash" in result.stderr


def test_without_a_command_the_help_goes_to_stderr():
    result = cli()
    assert result.returncode == USAGE
    assert result.stdout == "" and "COMMANDS" in result.stderr


@pytest.mark.parametrize("arguments", [
    ["migrate", "--frobnicate"],
    ["migrate", "extra"],
    ["migrate", "--timeout", "soon"],
    ["topics", "create", "--partitions", "0"],
    ["topics", "create", "--partitions", "many"],
    ["topics", "create", "--replication-factor", "0"],
    ["topics", "create", "--retention-ms", "0"],
    ["topics", "create", "--kafka.no.such.property=1"],
    ["schemas", "register", "extra"],
    ["status", "--kafka.bootstrap.servers"],
    ["--json", "status"],
])
def test_a_wrong_flag_is_one_sentence_and_changes_nothing(arguments, admin):
    with new_database(migrated=False) as dsn:
        before = set(admin.list_topics(timeout=ADMIN_WAIT).topics)
        result = cli(*arguments, dsn=dsn)
        assert result.returncode == USAGE, result
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1 and result.stderr.startswith("projectionist")
        assert set(admin.list_topics(timeout=ADMIN_WAIT).topics) <= before
        with psycopg.connect(dsn) as connection:
            schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'projectionist'"
            assert connection.execute(schemas).fetchone() == (0,)


@pytest.mark.parametrize("arguments, variable, flag", [
    (["migrate"], "POSTGRES_DSN", "--postgres-dsn"),
    (["status"], "POSTGRES_DSN", "--postgres-dsn"),
    (["status"], "KAFKA_BOOTSTRAP_SERVERS", "--kafka.bootstrap.servers"),
    (["topics", "create"], "KAFKA_BOOTSTRAP_SERVERS", "--kafka.bootstrap.servers"),
    (["schemas", "register"], "SCHEMA_REGISTRY_URL", "--schema-registry-url"),
])
def test_a_server_that_is_not_named_gets_the_remedy(arguments, variable, flag):
    result = cli(*arguments, without=[variable])
    assert result.returncode == USAGE
    assert result.stdout == "" and result.stderr.count("\n") == 1
    for remedy in (flag, f"PROJECTIONIST_{variable}", "deploy/local/cluster env"):
        assert remedy in result.stderr


@pytest.mark.parametrize("arguments, variable, value", [
    (["migrate"], "POSTGRES_DSN", "postgresql://127.0.0.1:1/nothing"),
    (["topics", "create"], "KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"),
    (["schemas", "register"], "SCHEMA_REGISTRY_URL", "http://127.0.0.1:1"),
])
def test_a_server_that_is_away_is_exit_code_7(arguments, variable, value):
    result = cli(*arguments, "--timeout=1s", variables={variable: value})
    assert result.returncode == UNAVAILABLE, result
    assert result.stderr.count("\n") == 1


def test_output_that_cannot_be_written_is_a_failure():
    with open("/dev/full", "w") as full:
        result = cli("help", stdout=full)
    assert result.returncode == 1
    assert "cannot write the output" in result.stderr


# --- topics and schemas -------------------------------------------------------------------------


def test_topics_are_made_once_and_keep_their_records(admin, topics):
    first = cli("topics", "create", *topics, "--partitions", "3")
    assert first.returncode == 0, first
    assert first.stdout == "".join(f"{name} created, 3 partitions\n" for name in topics)
    for name in topics:
        assert partitions_of(admin, name) == 3
        settings = settings_of(admin, name)
        assert settings["retention.ms"] == "-1"
        assert settings["retention.bytes"] == "-1"
        assert settings["cleanup.policy"] == "delete"
        assert settings["max.message.bytes"] == str(4 << 20)
    second = cli("topics", "create", *topics, "--partitions", "3")
    assert second.returncode == 0, second
    assert second.stdout == "".join(f"{name} exists, 3 partitions\n" for name in topics)
    assert second.stderr == ""


def test_only_the_missing_topic_is_made(admin, topics):
    assert cli("topics", "create", topics[0], "--partitions", "2").returncode == 0
    result = cli("topics", "create", *topics, "--partitions", "2")
    assert result.stdout == (f"{topics[0]} exists, 2 partitions\n"
                             f"{topics[1]} created, 2 partitions\n")


def test_another_number_of_partitions_is_an_error_and_nothing_is_made(admin, topics):
    assert cli("topics", "create", topics[0], "--partitions", "2").returncode == 0
    result = cli("topics", "create", *reversed(topics), "--partitions", "4")
    assert result.returncode == 1
    assert f"{topics[0]} has 2 partitions, not 4" in result.stderr
    assert "--partitions 2" in result.stderr
    assert result.stdout == "" and result.stderr.count("\n") == 1
    assert partitions_of(admin, topics[1]) == 0


def test_a_dry_run_makes_no_topic(admin, topics):
    result = cli("topics", "create", *topics, "--dry-run")
    assert result.returncode == 0, result
    assert result.stdout == "".join(f"{name} would be created, 12 partitions\n" for name in topics)
    assert [partitions_of(admin, name) for name in topics] == [0, 0]


def test_a_topic_that_deletes_is_named_with_the_remedy(topics):
    assert cli("topics", "create", *topics, "--partitions=1",
               "--retention-ms=604800000").returncode == 0
    result = cli("topics", "create", *topics, "--partitions=1")
    assert result.returncode == 0
    warnings = result.stderr.splitlines()
    assert len(warnings) == 2
    for name, warning in zip(topics, warnings):
        assert warning.startswith("warning: ")
        assert f"--topic {name} --add-config retention.ms=-1" in warning


def test_a_name_that_kafka_refuses_is_a_failure():
    result = cli("topics", "create", "no/such")
    assert result.returncode == 1
    assert "no/such" in result.stderr and result.stderr.count("\n") == 1


def test_our_topics_are_made_by_default(admin):
    """They may be there already, with any number of partitions, so make them with that."""
    names = ("safari.commands", "safari.sessions", "safari.telemetry")
    count = max(partitions_of(admin, name) for name in names) or 12
    result = cli("topics", "create", "--partitions", str(count))
    assert result.returncode == 0, result
    assert [partitions_of(admin, name) for name in names] == [count] * 3
    for name, policy in CONNECTOR_TOPICS.items():
        assert re.search(rf"^{name} (created|exists), \d+ partition", result.stdout, re.M)
        assert settings_of(admin, name)["cleanup.policy"] == policy


def test_the_connectors_topics_have_one_partition_and_the_compacted_ones_keep_all_keys(admin):
    kafka.delete_topics(*CONNECTOR_TOPICS)
    result = cli("topics", "create", "--partitions=3", "--retention-ms=1000", *CONNECTOR_TOPICS)
    assert (result.returncode, result.stderr) == (0, ""), result
    assert result.stdout == "".join(f"{name} created, 1 partition\n" for name in CONNECTOR_TOPICS)
    for name, policy in CONNECTOR_TOPICS.items():
        assert partitions_of(admin, name) == 1
        settings = settings_of(admin, name)
        assert settings["cleanup.policy"] == policy
        assert settings["retention.ms"] == ("-1" if policy == "compact" else "1000")
        assert (settings["segment.bytes"] == str(16 << 20)) == (policy == "compact")
    kafka.delete_topics(*CONNECTOR_TOPICS)
    assert cli("topics", "create", *CONNECTOR_TOPICS).returncode == 0


def test_a_connectors_topic_that_is_not_compacted_is_named_with_the_remedy(admin):
    name = "safari.bridge-cursors"
    kafka.delete_topics(name)
    (made,) = admin.create_topics([NewTopic(name, 1, 1)]).values()
    made.result(ADMIN_WAIT)
    try:
        result = cli("topics", "create", name)
        assert result.returncode == 0 and result.stderr.count("\n") == 1
        assert f"--topic {name} --add-config cleanup.policy=compact" in result.stderr
    finally:
        kafka.delete_topics(name)
        assert cli("topics", "create", name).stderr == ""


def test_registering_schemas_twice_gives_the_same_ids():
    first = cli("schemas", "register")
    second = cli("schemas", "register")
    assert first.returncode == second.returncode == 0, (first, second)
    assert first.stdout == second.stdout
    assert first.stderr == second.stderr == ""
    ids = re.findall(r"^(\S+) has id (\d+)$", first.stdout, re.M)
    assert [subject for subject, _ in ids] == [
        "safari.commands-value", "safari.sessions-value", "safari.telemetry-value"]


def test_registered_schemas_are_ours_and_stay_compatible():
    base = address("SCHEMA_REGISTRY_URL")
    result = cli("schemas", "register")
    for subject, number in re.findall(r"^(\S+) has id (\d+)$", result.stdout, re.M):
        with urllib.request.urlopen(f"{base}/schemas/ids/{number}") as answer:
            registered = json.loads(json.load(answer)["schema"])
        topic = subject.removesuffix("-value")
        (path,) = (REPOSITORY / "schemas" / topic).glob("*.avsc")
        assert registered == json.loads(path.read_text())
        with urllib.request.urlopen(f"{base}/config/{subject}") as answer:
            assert json.load(answer)["compatibilityLevel"] == "BACKWARD_TRANSITIVE"


def test_a_dry_run_registers_nothing():
    result = cli("schemas", "register", "--dry-run", "--timeout=1s",
                 variables={"SCHEMA_REGISTRY_URL": "http://127.0.0.1:1"})
    assert result.returncode == 0, result
    assert "would register safari.telemetry-value" in result.stdout


# --- status -------------------------------------------------------------------------------------


def cluster_id(admin):
    return admin.describe_cluster().result(ADMIN_WAIT).cluster_id


def produce(topic, partition, count):
    producer = Producer({"bootstrap.servers": address("KAFKA_BOOTSTRAP_SERVERS")})
    for number in range(count):
        producer.produce(topic, str(number).encode(), partition=partition)
    assert producer.flush(ADMIN_WAIT) == 0


@pytest.fixture
def consumer(admin, topics, database):
    """A group that has read 2 of 5 and all 3 records of a topic's two partitions."""
    topic, group = topics[0], f"group-{uuid.uuid4().hex[:8]}"
    assert cli("topics", "create", topic, "--partitions=2").returncode == 0
    produce(topic, 0, 5)
    produce(topic, 1, 3)
    with psycopg.connect(database) as connection:
        connection.execute(
            "SELECT projectionist.claim_partitions(%s, %s, 'someone', %s, '{0,1}', '{0,0}')",
            (cluster_id(admin), group, [topic, topic]))
        connection.execute(
            "SELECT projectionist.advance_offsets(%s, %s, %s, '{0,1}', '{1,1}', '{0,0}', '{2,3}',"
            " '{NULL,2026-01-02T03:04:05.678901Z}')", (cluster_id(admin), group, [topic, topic]))
    yield topic, group
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM projectionist.consumer_offsets WHERE consumer_group = %s",
                           (group,))


def status(database, *arguments, **options):
    result = cli("status", "--json", *arguments, dsn=database, **options)
    return result, json.loads(result.stdout) if result.stdout else None


def test_status_as_json(admin, database, consumer):
    topic, group = consumer
    result, document = status(database)
    assert result.returncode == 0, result
    assert document["cluster_id"] == cluster_id(admin)
    assert document["kafka_error"] is None
    (found,) = [entry for entry in document["consumers"] if entry["group"] == group]
    assert found["lag"] == 3 and found["open_dead_letters"] == 0
    first, second = found["partitions"]
    assert first.pop("last_commit").endswith("Z")
    assert first == {"topic": topic, "partition": 0, "committed": 2, "begin": 0, "end": 5,
                     "lag": 3, "epoch": 1, "owner": "someone", "stream_time": None,
                     "problem": None}
    assert (second["committed"], second["end"], second["lag"]) == (3, 3, 0)
    assert second["stream_time"] == "2026-01-02T03:04:05.678901Z"


def test_status_as_a_table(database, consumer):
    topic, group = consumer
    with psycopg.connect(database) as connection:
        connection.execute(
            "UPDATE projectionist.consumer_offsets SET next_offset = 1234567, "
            "updated_at = now() - interval '3 hours' WHERE consumer_group = %s AND partition = 1",
            (group,))
    result = cli("status", "--group", group, dsn=database)
    assert result.returncode == 0, result
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["CONSUMER", "TOPIC", "PARTITION", "COMMITTED", "END", "LAG",
                                "EPOCH", "OWNER", "LAST", "COMMIT"]
    assert re.fullmatch(rf"{group}  {topic} +0 +2 +5 +3 +1  someone  \d+ s ago", lines[1])
    assert re.fullmatch(rf"{group}  {topic} +1  1,234,567 +3 +\? +1  someone  3 h ago", lines[2])
    # Right-aligned columns end where their titles end.
    for title, cell in (("PARTITION", " 0 "), ("COMMITTED", " 2 ")):
        assert lines[1].index(cell) + 2 == lines[0].index(title) + len(title)
    assert lines[4].split()[:3] == ["CONSUMER", "PARTITIONS", "LAG"]
    assert lines[5].split()[:4] == [group, "2", "?", "0"]
    assert f"{group}: {topic} [1] ends at 3, before the committed offset" in result.stdout


def test_status_names_a_gap_and_a_missing_topic(admin, database, consumer):
    topic, group = consumer
    (future,) = admin.delete_records([TopicPartition(topic, 0, 4)]).values()
    future.result(ADMIN_WAIT)
    with psycopg.connect(database) as connection:
        connection.execute(
            "SELECT projectionist.claim_partitions(%s, %s, 'x', '{no-such-topic}', '{0}', '{7}')",
            (cluster_id(admin), group))
    result, document = status(database, "--group", group)
    (found,) = document["consumers"]
    problems = {(part["topic"], part["partition"]): part["problem"] for part in found["partitions"]}
    assert problems == {(topic, 0): "gap", (topic, 1): None, ("no-such-topic", 0): "no-topic"}
    assert found["lag"] is None
    text = cli("status", "--group", group, dsn=database).stdout
    assert "begins at 4, so 2 records are gone" in text
    assert re.search(r"^\S+ +no-such-topic +0 +7 +\? +\? +1  x +never$", text, re.M)


def test_status_does_not_count_what_a_transaction_may_still_abort(database, consumer):
    topic, group = consumer
    producer = Producer({"bootstrap.servers": address("KAFKA_BOOTSTRAP_SERVERS"),
                         "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(ADMIN_WAIT)
    producer.begin_transaction()
    producer.produce(topic, b"maybe", partition=0)
    assert producer.flush(ADMIN_WAIT) == 0
    try:
        _, document = status(database, "--group", group)
        assert document["consumers"][0]["partitions"][0]["end"] == 5
    finally:
        producer.abort_transaction(ADMIN_WAIT)


def test_status_counts_open_dead_letters(admin, database, consumer):
    topic, group = consumer
    with psycopg.connect(database) as connection:
        connection.execute(
            "INSERT INTO projectionist.dead_letters (cluster_id, consumer_group, projection, topic,"
            " partition, record_offset, error_class, message, status) SELECT %s, %s, 'p', %s, 0, n,"
            " 'poison', 'm', (ARRAY['open', 'open', 'replayed', 'discarded'])[n] "
            "FROM generate_series(1, 4) AS n", (cluster_id(admin), group, topic))
    _, document = status(database, "--group", group)
    assert document["consumers"][0]["open_dead_letters"] == 2


def test_status_without_kafka_shows_what_postgres_knows(database, consumer):
    topic, group = consumer
    away = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    result, document = status(database, "--group", group, "--timeout=1s", variables=away)
    assert result.returncode == UNAVAILABLE
    assert result.stderr.startswith("warning: ") and result.stderr.count("\n") == 1
    assert document["cluster_id"] is None and document["kafka_error"]
    (found,) = document["consumers"]
    assert [part["committed"] for part in found["partitions"]] == [2, 3]
    assert found["lag"] is None and found["partitions"][0]["end"] is None
    text = cli("status", "--group", group, "--timeout=1s", dsn=database, variables=away).stdout
    assert re.search(rf"^{group}  {topic} +0 +2 +\? +\? +1  someone", text, re.M)


def test_status_lists_consumers_that_never_ran(database):
    _, document = status(database)
    idle = {entry["group"]: entry for entry in document["consumers"] if not entry["partitions"]}
    assert {"command-projector", "event-recorder"} <= set(idle)
    assert idle["event-recorder"]["lag"] is None


def test_status_of_an_unknown_group(database):
    result = cli("status", "--group", "nobody", dsn=database)
    assert result.returncode == 1
    assert "'nobody'" in result.stderr and result.stderr.count("\n") == 1


def test_status_before_migrate_names_the_remedy():
    with new_database(migrated=False) as dsn:
        result = cli("status", dsn=dsn)
        assert result.returncode == DATABASE
        assert "projectionist migrate" in result.stderr

# SPDX-License-Identifier: Apache-2.0
"""The rights that the chart's KafkaUsers have, of a broker that grants nothing else: with them all
programs work, from a command that is posted to the rows of all tables; without any one of them a
program says which one is missing, and goes on once it is granted."""

import contextlib
import copy
import json
import threading
import time
import uuid

import confluent_kafka
import psycopg
import pytest
import yaml

from lib import avro, bridge, consumers, events, gateway, ingest
from lib.bridge import ScriptedService, frame
from lib.consumers import REPOSITORY
from lib.old_dramas import old_file
from lib.redis import Redis
# Of these, pytest takes those that are fixtures.
from lib.logins import (READY, RECORDER, RIGHT, SPARE, WAITS, Run, at, broker, certificates,
                        database, granted, judge, postgres, programs, reads_as_a_group, registry, sasl,
                        service, strimzi, upstream)

CONSUMERS = reads_as_a_group()
VALUES = yaml.safe_load((REPOSITORY / "deploy/helm/projectionist/values.yaml").read_text())
COMMAND = "0b8e2a52-2d26-4f21-9d3e-2f7d0c3c5b11"
spare = iter(SPARE)


def lacking(rules):
    """(operation, kind, name, the rules without it) of each right that no other one includes. The
    group that compacted topics are read under is never joined: without a right to it only the log of
    the brokers complains."""
    for number, rule in enumerate(rules):
        if rule["resource"]["name"] == "projectionist-compacted":
            continue
        for operation in rule["operations"]:
            rest = copy.deepcopy(rules)
            rest[number]["operations"].remove(operation)
            if operation != "Describe" or not {"Read", "Write"} & set(rule["operations"]):
                yield operation, rule["resource"]["type"], rule["resource"]["name"], rest


def named(rules, kind, old, new):
    """The rules for another group or transactional id, so that programs do not disturb each other."""
    rules = copy.deepcopy(rules)
    for rule in rules:
        if rule["resource"]["type"] == kind and rule["resource"]["name"] == old:
            rule["resource"]["name"] = new
    return rules


@pytest.fixture(scope="module")
def stream():
    """A service whose every subscriber gets an event, a change of a command's status, and what is
    neither."""
    with ScriptedService() as scripted:
        scripted.buffer = [
            frame(1, 1), frame(2, 1, type="status.changed", command_id=COMMAND,
                               payload={"command_id": COMMAND, "status": "RUNNING"}),
            "this is no frame"]
        yield scripted


def login(at, user):
    return {**sasl("SASL", user=user)(at), **database()(at), **upstream("server")(at),
            "STALL_TIMEOUT": "3s"}


def grant_later(at, user, rules):
    return lambda: at.broker.acls(user, rules)


def lacked(kind, operation, resource, transactional_id):
    """What a program says of it."""
    return {"topic": f"topic {resource}.*grant this user {operation}",
            "transactionalId": f"{transactional_id}.*grant this user WRITE on the transactional id"}[kind]


@pytest.mark.parametrize("name", CONSUMERS)
def test_a_right_of_a_consumer_is_missing(at, tmp_path, name):
    runs = []
    for number, (operation, kind, resource, rest) in enumerate(lacking(granted()[name])):
        user, group = next(spare), f"{name}-{number}"
        at.broker.acls(user, named(rest, "group", name, group))
        whole = named(granted()[name], "group", name, group)
        # The topics are empty, so that none of their records is missing.
        expected = READY if kind == "topic" else WAITS
        words = {"topic": f"topic={resource} .*grant this user "
                          f"{'READ' if operation == 'Read' else 'DESCRIBE_CONFIGS'}",
                 "group": f"group {group}.*grant this user READ on the group"}[kind]
        runs.append(Run(tmp_path, (name,), f"without {operation} on {kind} {resource}",
                        {**login(at, user), "GROUP": group}, expected, words,
                        then=grant_later(at, user, whole)))
    judge(runs)


def test_a_right_of_the_bridge_is_missing(at, tmp_path, stream):
    runs = []
    for number, (operation, kind, resource, rest) in enumerate(
            lacking(granted()["telemetry-bridge"])):
        user, ident = next(spare), f"without-{number}"
        old, new = "telemetry-bridge-telemetry-bridge", f"telemetry-bridge-{ident}"
        at.broker.acls(user, named(rest, "transactionalId", old, new))
        whole = named(granted()["telemetry-bridge"], "transactionalId", old, new)
        words = lacked(kind, operation, resource, new)
        runs.append(Run(tmp_path, ("telemetry-bridge",), f"without {operation} on {resource}",
                        {**login(at, user), "BRIDGE_ID": ident, "TELEMETRY_URL": stream.url,
                         "TELEMETRY_CA_FILE": None}, WAITS, words,
                        then=grant_later(at, user, whole)))
    judge(runs)


def test_a_right_of_the_gateway_is_missing(at, tmp_path):
    def ask(port):
        answers = [gateway.request(port, "POST", "/v1/commands", gateway.command()),
                   gateway.request(port, "POST", "/v1/sessions", {"platform": "sora"})]
        return "".join(answer.content.decode() for answer in answers if answer.status >= 500)

    runs = []
    for number, (operation, kind, resource, rest) in enumerate(
            lacking(granted()["control-gateway"])):
        if (operation, resource) == ("Read", events.COMMANDS):
            continue  # only for commands that the service has forgotten
        user, ident = next(spare), f"without-{number}"
        old = "projectionist-control-gateway-default"
        new = f"projectionist-control-gateway-{ident}"
        at.broker.acls(user, named(rest, "transactionalId", old, new))
        whole = named(granted()["control-gateway"], "transactionalId", old, new)
        words = lacked(kind, operation, resource, new)
        runs.append(Run(tmp_path, ("control-gateway",), f"without {operation} on {resource}",
                        {**login(at, user), "GATEWAY_ID": ident}, WAITS, words,
                        poke=ask if operation == "Write" and kind == "topic" else None,
                        then=grant_later(at, user, whole)))
    judge(runs)


def example(schema, name=""):
    """An event as JSON, of the first branch of each union that is not null. Some texts must be JSON."""
    if isinstance(schema, list):
        return example(next(branch for branch in schema if branch != "null"), name)
    kind = schema if isinstance(schema, str) else schema["type"]
    logical = schema.get("logicalType") if isinstance(schema, dict) else None
    if kind == "record":
        made = {field["name"]: example(field["type"], field["name"]) for field in schema["fields"]}
        return {**({"type": schema["name"]} if name == "body" else {}), **made}
    return {"string": str(uuid.uuid4()) if logical == "uuid" else "1", "boolean": True, "array": [],
            "map": {}, "bytes": "1", "double": 1.5, "float": 1.5, "int": 1, "long": 1,
            "enum": schema["symbols"][0] if kind == "enum" else None}.get(kind, "1")


@pytest.fixture(scope="module")
def contracts():
    """In the registry."""
    done = consumers.run("projectionist", "schemas", "register", variables={"SYSTEMS": None})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("given", VALUES["ingests"], ids=lambda given: given["name"])
def test_a_right_of_an_ingest_is_missing(at, tmp_path, contracts, given):
    tokens, runs = tmp_path / "tokens.json", []
    ingest.write_tokens(tokens, ingest.token("all", topics=[f"{given['system']}.*"], **{"import": True}))

    def post(topic):
        event = example(json.loads(avro.schema_text(topic)))

        def ask(port):
            answer = gateway.request(port, "POST", f"/v1/events/{topic}", json.dumps(event).encode(), {
                "Content-Type": "application/json", "Authorization": "Bearer all"})
            assert answer.status == 202 or answer.status >= 500, answer.content
            return answer.content.decode() if answer.status >= 500 else ""
        return ask

    whole = granted()[given["name"]]
    for number, (operation, kind, resource, rest) in enumerate(lacking(whole)):
        user, ident = next(spare), f"without-{number}"
        old = f"projectionist-event-ingest-{given['system']}-default"
        new = old.replace("default", ident)
        at.broker.acls(user, named(rest, "transactionalId", old, new))
        keys = resource.endswith(".ingest-keys")
        words = lacked(kind, operation, resource, new)
        topic = resource if kind == "topic" and not keys else whole[0]["resource"]["name"]
        runs.append(Run(tmp_path, ("event-ingest",), f"without {operation} on {resource}",
                        {**login(at, user), "INGEST_SYSTEM": given["system"], "INGEST_ID": ident,
                         "INGEST_TOPICS": given["topics"], "INGEST_TOKENS_FILE": tokens,
                         "INGEST_LISTEN": "127.0.0.1:0"},
                        WAITS, words, poke=post(topic),
                        then=grant_later(at, user, named(whole, "transactionalId", old, new))))
    judge(runs)


@contextlib.contextmanager
def jobs_that_report(server):
    """Messages of a job, all the time."""
    ended = threading.Event()

    def publish():
        while not ended.wait(0.5):
            server.publish("job-1", json.dumps({"type": "progress", "progress": 1}))
            server.publish("job-1", "no message")

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        yield
    finally:
        ended.set()
        publisher.join()


def test_a_right_of_the_job_bridge_is_missing(at, tmp_path, contracts):
    runs, whole = [], granted()["job-bridge"]
    with Redis(tmp_path) as server, jobs_that_report(server):
        for number, (operation, kind, resource, rest) in enumerate(lacking(whole)):
            user, ident = next(spare), f"without-{number}"
            old, new = "job-bridge-job-bridge", f"job-bridge-{ident}"
            at.broker.acls(user, named(rest, "transactionalId", old, new))
            words = lacked(kind, operation, resource, new)
            runs.append(Run(tmp_path, ("job-bridge",), f"without {operation} on {resource}",
                            {**login(at, user), "BRIDGE_ID": ident, "REDIS_URL": server.url}, WAITS,
                            words, then=grant_later(at, user, named(whole, "transactionalId", old, new))))
        judge(runs)


def test_a_right_of_the_import_is_missing(at, tmp_path, contracts):
    runs, again, whole = [], [], granted()["drama-import"]
    drama = tmp_path / "files/dramas/one/drama.json"
    drama.parent.mkdir(parents=True)
    drama.write_bytes(old_file("one"))
    for number, (operation, kind, resource, rest) in enumerate(lacking(whole)):
        user, ident = next(spare), f"without-{number}"
        old, new = "projectionist-drama-import-default", f"projectionist-drama-import-{ident}"
        at.broker.acls(user, named(rest, "transactionalId", old, new))
        words = lacked(kind, operation, resource, new)
        settings = {**login(at, user), "IMPORT_ID": ident, "USER": f"u{number}", "TIMEOUT": "10s",
                    "METRICS_ADDRESS": None}
        command = ("drama-import", str(tmp_path / "files"))
        runs.append(Run(tmp_path, command, f"without {operation} on {resource}", settings, 7,
                        f"\ndrama-import: .*{words}"))
        again.append((user, named(whole, "transactionalId", old, new),
                      lambda what=f"with {resource} {operation}", settings=settings: Run(
                          tmp_path, command, what, settings, 0)))
    judge(runs)
    for user, rules, _ in again:
        at.broker.acls(user, rules)
    judge([run() for _, _, run in again])


def test_nobody_sees_what_is_anothers(at):
    """Topics: those of the chart's rules and no other; of those that may only be written no record is
    to be had, and nothing is to be written to those that may only be read."""
    topics = {topic["spec"]["topicName"] for topic in strimzi("kafkatopics")}
    made_later = {"projectionist.replay-cursors"}  # by stream-replay itself
    refused = confluent_kafka.KafkaError.TOPIC_AUTHORIZATION_FAILED
    for name, rules in granted().items():
        user = next(spare)
        at.broker.acls(user, rules)
        may = {operation: {rule["resource"]["name"] for rule in rules
                           if rule["resource"]["type"] == "topic" and operation in rule["operations"]}
               for operation in ("Describe", "Read", "Write")}
        common = {"bootstrap.servers": at.broker.address("SASL"), "security.protocol": "SASL_SSL",
                  "sasl.mechanism": "PLAIN", "sasl.username": user, "sasl.password": RIGHT,
                  "ssl.ca.location": str(at.certificates["ca.pem"]), "log_level": 0}
        client = confluent_kafka.Consumer({**common, "group.id": "x", "enable.auto.commit": False,
                                           "auto.offset.reset": "earliest"})
        assert set(client.list_topics(timeout=60).topics) - made_later == may["Describe"] - made_later, name
        hidden = next(iter(topics - may["Describe"]), None)
        if hidden is not None:
            assert client.list_topics(hidden, timeout=60).topics[hidden].error.code() == refused, name
        left = may["Describe"] - may["Read"]
        client.assign([confluent_kafka.TopicPartition(topic, 0, 0) for topic in left])
        deadline = time.monotonic() + 120
        while left:
            assert time.monotonic() < deadline, (name, left)
            record = client.poll(1)
            assert record is None or record.error(), (name, record.topic())
            if record is not None and record.topic() is not None:  # else of the group
                assert record.error().code() == refused, (name, record.error())
                left.discard(record.topic())
        client.close()
        outcomes = {}
        producer = confluent_kafka.Producer({**common, "message.timeout.ms": 120000})
        for topic in may["Describe"] - may["Write"]:
            producer.produce(topic, b"x", b"x", on_delivery=lambda error, sent: outcomes.update(
                {sent.topic(): error and error.code()}))
        assert producer.flush(120) == 0
        assert outcomes == dict.fromkeys(may["Describe"] - may["Write"], refused), name


@pytest.mark.parametrize("given", VALUES["relays"], ids=lambda given: given["name"])
def test_a_right_of_a_relay_is_missing(at, tmp_path, given):
    """Of heartbeats, which need no row of an outbox, and are written as these are."""
    runs, whole = [], granted()[given["name"]]
    for number, (operation, kind, resource, rest) in enumerate(lacking(whole)):
        user, ident = next(spare), f"{given['name']}-{number}"
        old, new = f"outbox-relay-{given['name']}", f"outbox-relay-{ident}"
        at.broker.acls(user, named(rest, "transactionalId", old, new))
        outbox = f"of_{given['system']}_{number}"
        with psycopg.connect(database()(at)["POSTGRES_DSN"]) as connection:
            connection.execute(f"CREATE SCHEMA {outbox}")
            connection.execute(f"SELECT projectionist.create_outbox('{outbox}')")
        words = lacked(kind, operation, resource, new)
        topic = resource if kind == "topic" else given["topics"][0]
        runs.append(Run(tmp_path, ("outbox-relay",), f"without {operation} on {resource}",
                        {**login(at, user), "OUTBOX": outbox, "RELAY_ID": ident,
                         "HEARTBEAT_TOPICS": topic, "HEARTBEAT_INTERVAL": "1s"}, WAITS, words,
                        then=grant_later(at, user, named(whole, "transactionalId", old, new))))
    judge(runs)


def test_a_right_of_who_records_is_missing(at, tmp_path):
    """With the jobs' rights: Read of each topic, without which nothing is recorded. Each has a record,
    a heartbeat: of an empty one nothing is missing."""
    runs, again, whole = [], [], granted()["jobs"]
    topics = [topic["spec"]["topicName"] for topic in strimzi("kafkatopics")
              if topic["spec"]["config"]["cleanup.policy"] == "delete"
              and not topic["spec"]["topicName"].endswith(".dead-letters")]
    judge([Run(tmp_path, ("projectionist", "heartbeat", "--once", topic), "by alice",
               {**login(at, "alice"), "SYSTEMS": None}, 0) for topic in topics])
    for operation, kind, resource, rest in lacking(whole):
        if (operation, kind) != ("Read", "topic") or resource not in topics:
            continue
        user, command = next(spare), ("stream-record", resource)
        at.broker.acls(user, rest)
        settings = {**login(at, user), "OUTPUT": tmp_path / resource, "METRICS_ADDRESS": None,
                    "TIMEOUT": "10s"}
        runs.append(Run(tmp_path, command, "without Read", settings, 7,
                        f"\nstream-record: .*topic {resource}: .*grant this user READ on the topic"))
        again.append((user, command, settings))
    assert len(runs) == len(topics)
    judge(runs)
    for user, _, _ in again:
        at.broker.acls(user, whole)
    judge([Run(tmp_path, command, "with all", settings, 0) for _, command, settings in again])


def test_a_right_of_topics_create_is_missing(at, tmp_path):
    """Of topics that are not there yet, and of their settings."""
    runs = []
    cases = [case for case in lacking(granted()["jobs"]) if case[0] in ("Create", "DescribeConfigs")]
    for number, (operation, _, resource, rest) in enumerate(cases):
        user, prefix, system = next(spare), f"jobs{number}.", resource.partition(".")[0]
        rest = [rule for rule in rest if rule["resource"]["name"].startswith(f"{system}.")]
        for rule in rest:
            rule["resource"]["name"] = prefix + rule["resource"]["name"]
        at.broker.acls(user, rest)
        if operation == "DescribeConfigs":
            at.broker.topics(*(rule["resource"]["name"] for rule in rest))
        code, words = {"Create": (1, f"topic {prefix}{resource}.*grant this user CREATE"),
                       "DescribeConfigs": (0, f"{prefix}{resource}; grant DESCRIBE_CONFIGS")}[operation]
        runs.append(Run(tmp_path, ("projectionist", "topics", "create", system, "-p", "1",
                                   "--timeout", "60s"), f"without {operation} on {resource}",
                        {**login(at, user), "SYSTEMS": None, "TOPIC_PREFIX": prefix}, code, words))
    assert len(runs) > 50
    judge(runs)


def test_who_may_not_write_a_topic_cannot_publish_to_it(at, tmp_path):
    user = next(spare)
    at.broker.acls(user, [{"resource": {"type": "topic", "name": events.SESSIONS},
                           "operations": ["Describe"]}])
    heartbeat = ("projectionist", "heartbeat", "--timeout", "10s")
    judge([Run(tmp_path, (*heartbeat, events.SESSIONS), "without Write", login(at, user), 7,
               "grant this user WRITE on a topic, or IDEMPOTENT_WRITE on the cluster"),
           Run(tmp_path, (*heartbeat, events.COMMANDS), "without Describe", login(at, user), 7,
               f"topic {events.COMMANDS}.*grant DESCRIBE on the topic")])


def test_with_these_rights_alone_all_of_it_works(at, programs, tmp_path, stream):
    """The last one: it leaves events behind."""
    users = {}
    for name, rules in granted().items():
        users[name] = next(spare)
        at.broker.acls(users[name], rules)
    running = gateway.listening(programs.start(
        gateway.PROGRAM, **{**login(at, users["control-gateway"]), "GATEWAY_ID": "default"}))
    assert gateway.post(running, gateway.command()).status == 202
    assert gateway.request(running.api, "POST", "/v1/sessions", {"platform": "sora"}).status == 201
    bridging = programs.start(bridge.PROGRAM, **{
        **login(at, users["telemetry-bridge"]), "BRIDGE_ID": "telemetry-bridge",
        "TELEMETRY_URL": stream.url, "TELEMETRY_CA_FILE": None})
    bridging.wait_until(
        lambda: bridging.metric("projectionist_bridge_dead_letters_total") >= 1)
    for name in CONSUMERS:
        programs.catch_up(name, **login(at, users[name]))
    tables = ("safari_commands", "safari_events", "safari_sessions")
    with psycopg.connect(database()(at)["POSTGRES_DSN"]) as connection:
        counts = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                  for table in tables}
    assert all(counts.values()), counts
    beat = ("projectionist", "heartbeat", "--once", events.TELEMETRY)  # recorded and replayed, too
    judge([Run(tmp_path, beat, "by alice", login(at, "alice"), 0)])
    recording, without = str(tmp_path / "recording"), {"METRICS_ADDRESS": None}
    judge([Run(tmp_path, ("stream-record", events.TELEMETRY), "with its rights",
               {**login(at, users["stream-record"]), **without, "OUTPUT": recording}, 0)])
    judge([Run(tmp_path, ("stream-replay", "--resume", "again", recording), "with its rights",
               {**login(at, users["stream-replay"]), **without}, 0)])
    programs.catch_up(RECORDER, **login(at, users[RECORDER]))
    jobs = {**login(at, users["jobs"]), "SYSTEMS": None}
    for command in (("topics", "create", "-p", "1"), ("status",), ("verify", "all"),
                    ("rebuild", RECORDER, "--yes"), ("offsets", "show", RECORDER)):
        done = consumers.run("projectionist", *command, variables=jobs, deadline=600)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    programs.end()
    runs = []
    for operation, _, resource, rest in lacking(granted()["jobs"]):
        if operation == "Read" and resource in events.TOPICS:
            user = next(spare)
            at.broker.acls(user, rest)
            reader = {events.COMMANDS: "command-projector", events.TELEMETRY: RECORDER,
                      events.SESSIONS: "session-tracker"}[resource]
            runs.append(Run(tmp_path, ("projectionist", "verify", reader), f"without {resource}",
                            login(at, user), 2, f"{resource}.*grant this user READ"))
    judge(runs)

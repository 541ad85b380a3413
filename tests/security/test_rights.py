# SPDX-License-Identifier: Apache-2.0
"""The rights that the chart's KafkaUsers have, of a broker that grants nothing else: with them all
programs work, from a command that is posted to the rows of all tables; without any one of them a
program says which one is missing, and goes on once it is granted."""

import copy

import psycopg
import pytest

from lib import bridge, consumers, events, gateway
from lib.bridge import ScriptedService, frame
from lib.consumers import Consumers
# Of these, pytest takes those that are fixtures.
from lib.logins import (READY, RECORDER, SPARE, WAITS, Run, at, broker, certificates, database,
                        granted, judge, postgres, registry, sasl, service, upstream)

CONSUMERS = ("command-projector", "event-recorder", "session-tracker", "video-catalog",
             "watermark-metrics")
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
        runs.append(Run(tmp_path, (name,), f"without {operation} on {resource}",
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
        words = {"topic": f"topic {resource}.*grant this user {operation}",
                 "transactionalId": f"{new}.*grant this user WRITE on the transactional id"}[kind]
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
        words = {"topic": f"topic {resource}.*grant this user {operation}",
                 "transactionalId": f"{new}.*grant this user WRITE on the transactional id"}[kind]
        runs.append(Run(tmp_path, ("control-gateway",), f"without {operation} on {resource}",
                        {**login(at, user), "GATEWAY_ID": ident}, WAITS, words,
                        poke=ask if operation == "Write" and kind == "topic" else None,
                        then=grant_later(at, user, whole)))
    judge(runs)


def test_a_right_of_topics_create_is_missing(at, tmp_path):
    """Of topics that are not there yet, and of their settings."""
    runs, create = [], ("projectionist", "topics", "create", "safari", "-p", "1", "--timeout",
                    "30s")
    whole = granted()["jobs"]
    cases = [case for case in lacking(whole) if case[0] in ("Create", "DescribeConfigs")]
    for number, (operation, _, resource, rest) in enumerate(cases):
        user, prefix = next(spare), f"jobs{number}."
        for rule in rest:
            rule["resource"]["name"] = prefix + rule["resource"]["name"]
        at.broker.acls(user, rest)
        if operation == "DescribeConfigs":
            at.broker.topics(*(rule["resource"]["name"] for rule in rest
                               if rule["resource"]["type"] == "topic"))
        code, words = {"Create": (1, f"topic {prefix}{resource}.*grant this user CREATE"),
                       "DescribeConfigs": (0, f"{prefix}{resource}; grant DESCRIBE_CONFIGS")}[operation]
        runs.append(Run(tmp_path, create, f"without {operation} on {resource}",
                        {**login(at, user), "TOPIC_PREFIX": prefix}, code, words))
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


def test_with_these_rights_alone_all_of_it_works(at, tmp_path, stream):
    """The last one: it leaves events behind."""
    users = {}
    for name, rules in granted().items():
        users[name] = next(spare)
        at.broker.acls(users[name], rules)
    programs = Consumers(tmp_path)
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
    jobs = login(at, users["jobs"])
    for command in (("topics", "create", "-p", "1"), ("status",),
                    *(("verify", name) for name in CONSUMERS),
                    ("rebuild", RECORDER, "--yes"), ("offsets", "show", RECORDER)):
        done = consumers.run("projectionist", *command, variables=jobs)
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

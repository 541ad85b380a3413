# SPDX-License-Identifier: Apache-2.0
"""What programs say to servers that do not let them in, certificates and passwords that are renewed
while a program runs, and what /proc and a core dump show of its secrets. tests/security/run has the
whole table."""

import json
import os
import re
import signal
import subprocess
import time
import uuid
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from lib import avro, bridge, events, kafka, secure
from lib import registry as schema_registry
from lib.automation_service import AutomationService
from lib.consumers import Consumers, address, environment, program, run
from lib.database import wait_until
from lib.redis import Redis
# Of these, pytest takes those that are fixtures.
from lib.logins import (DEADLINE, READY, RECORDER, RIGHT, SPARE, WAITS, WRONG, Run, at, broker,
                        certificates, database, granted, judge, plaintext, postgres, programs,
                        registry, sasl, schemas, service, tls, upstream)

CREATE = ("projectionist", "topics", "create", "--dry-run", "-p", "1", "--timeout", "15s")
PROTOCOL = "and kafka.security.protocol is"
PATIENCE = 300  # seconds; see deploy/README.md


def publish(at, folder, topic, event):
    (folder / "event").write_text(json.dumps(event))
    done = run("projectionist", "publish", topic, folder / "event", "--timeout", "120s",
               variables=sasl("SASL")(at))
    assert done.returncode == 0, done.stderr


def telemetry():
    return {"event_id": str(uuid.uuid4()), "type": "x", "severity": "info",
            "emitted_at": "2026-11-21T05:06:34Z"}


def end_sessions(postgres, user):
    """Those that have a connection connect anew."""
    postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'")


def publish_by_another_schema(at):
    """Of which nobody knows the id."""
    schema = json.loads(avro.schema_text(events.TELEMETRY))
    schema["doc"] = str(uuid.uuid4())
    text = json.dumps(schema)
    event = events.telemetry("x")
    value = avro.encode(event, schema_registry.register(f"{uuid.uuid4()}-value", text), text)
    kafka.produce([(events.TELEMETRY, events.key_of(event), value, None, None)],
                  bootstrap_servers=at.broker.address("ADMIN"))


def test_who_is_not_let_in_is_told_why(at, tmp_path):
    """Some of the table in tests/security/; all of them at the same time."""
    def told(command, what, settings, expected, words, **more):
        common = {**database()(at), **upstream("server")(at), "STALL_TIMEOUT": "3s",
                  "GROUP": f"told {what}", "GATEWAY_ID": "told", "BRIDGE_ID": "told"}
        return Run(tmp_path, command, what, {**common, **settings(at)}, expected, words, **more)

    group = {"resource": {"type": "group", "name": "told", "patternType": "prefix"},
             "operations": ["Read"]}
    topics = [rule for rule in granted()["session-tracker"] if rule["resource"]["type"] == "topic"]
    at.broker.acls(SPARE[0], [group, *(dict(rule, operations=["Describe"]) for rule in topics)])
    # Of an empty topic nothing is missing.
    publish(at, tmp_path, events.SESSIONS, {
        "event_id": str(uuid.uuid4()), "session_id": str(uuid.uuid4()),
        "emitted_at": "2026-11-21T05:06:34Z", "body": {"SessionOpened": {"platform": "sora"}}})
    judge([
        told((RECORDER,), "plaintext to TLS", plaintext("SASL"), WAITS,
            f"expect TLS, {PROTOCOL} plaintext"),
        told(CREATE, "plaintext to a login", plaintext("SASLPLAIN"), 7,
            f"a login by SASL, {PROTOCOL} plaintext"),
        told(("telemetry-bridge",), "TLS to plaintext", tls("ADMIN"), WAITS,
            f"not to expect TLS, {PROTOCOL} ssl"),
        told((RECORDER,), "a wrong password", sasl("SASL", password=WRONG), WAITS,
            "Authentication failed"),
        told(("telemetry-bridge",), "no certificate", tls("MTLS", None), 1,
            "kafka.ssl.certificate.location"),
        told(("control-gateway",), "no right", sasl("SASL", user=SPARE[1]), WAITS,
            "grant DESCRIBE on the topic"),
        told(("session-tracker",), "no right to read", sasl("SASL", user=SPARE[0]), WAITS,
             f"{events.SESSIONS}.*grant this user READ",
             then=lambda: at.broker.acls(SPARE[0], topics)),
    ])


# --- what changes while a program runs -------------------------------------------------------

def test_a_renewed_certificate_is_read_again_by_kafkas_clients(at, broker, certificates, programs, tmp_path):
    """It is another principal's, who alone may read."""
    certificates.make("old", subject="renewed-1")
    certificates.make("new", subject="renewed-2")
    read = [{"resource": {"type": "topic", "name": events.TELEMETRY}, "operations": ["Read", "Describe"]},
            {"resource": {"type": "group", "name": "renewed", "patternType": "prefix"},
             "operations": ["Read", "Describe"]}]
    broker.acls("renewed-2", read)
    pair = {"KAFKA_SSL_CERTIFICATE_LOCATION": tmp_path / "tls.crt",
            "KAFKA_SSL_KEY_LOCATION": tmp_path / "tls.key"}

    certificates.put("old", tmp_path)
    settings = {**tls("MTLS")(at), **pair, "STALL_TIMEOUT": "2s"}
    programs.variables = {**database()(at), **settings}
    consumer = programs.start(RECORDER, group=Consumers.new_group("renewed"))
    consumer.wait_for_log("AUTHORIZATION|authorization failed")
    assert not consumer.ready()
    certificates.put("new", tmp_path)
    consumer.wait_for_log("Kafka's secrets have changed: connecting anew")
    consumer.wait_until_ready()
    programs.end()


def test_a_renewed_certificate_is_read_again_by_postgres_clients(at, postgres, certificates, programs,
                                                                 tmp_path):
    files = {"sslcert": tmp_path / "tls.crt", "sslkey": tmp_path / "tls.key"}

    certificates.put("certified", tmp_path)
    dsn = conninfo.make_conninfo(database(user="certified", password=None)(at)["POSTGRES_DSN"],
                                 **files)
    programs.variables = {**sasl("SASL")(at), "POSTGRES_DSN": dsn, "STALL_TIMEOUT": "1s"}
    consumer = programs.start(RECORDER, group=Consumers.new_group("certified"))
    consumer.wait_until_ready()
    certificates.put("stranger", tmp_path)  # as if it had run out
    end_sessions(postgres, "certified")
    consumer.wait_until(lambda: "cannot connect to Postgres" in consumer.get("/readyz")[1])
    certificates.put("certified", tmp_path)
    consumer.wait_until_ready()
    programs.end()


def test_a_renewed_authority_of_postgres_is_read_again(at, postgres, certificates, programs, tmp_path):
    certificates.make("renewed-postgres", hosts=("DNS:localhost",), ca="otherca")
    authority = tmp_path / "ca.pem"
    authority.write_bytes(certificates["ca.pem"].read_bytes())
    dsn = conninfo.make_conninfo(database()(at)["POSTGRES_DSN"], sslrootcert=authority)
    programs.variables = {**sasl("SASL")(at), "POSTGRES_DSN": dsn, "STALL_TIMEOUT": "1s"}
    consumer = programs.start(RECORDER, group=Consumers.new_group("authority"))
    consumer.wait_until_ready()
    postgres.present("renewed-postgres")
    try:
        end_sessions(postgres, "alice")
        consumer.wait_until(lambda: "certificate verify failed" in consumer.get("/readyz")[1])
        authority.write_bytes(certificates["otherca.pem"].read_bytes())
        consumer.wait_until_ready()
    finally:
        postgres.present("server")
    programs.end()


def test_a_rotated_login_of_the_registry_is_read_again(at, registry, programs, tmp_path):
    """By the consumer's first question, which it has after the registry has another user, and before
    the files name it."""
    (tmp_path / "user").write_text("alice")
    (tmp_path / "password").write_text(RIGHT)
    programs.variables = {**sasl("SASL")(at), **database()(at), "STALL_TIMEOUT": "1s"}
    consumer = programs.start(RECORDER, group="rotated-registry", **{
        **schemas("server", user=None)(at), "SCHEMA_REGISTRY_USERNAME_FILE": tmp_path / "user",
        "SCHEMA_REGISTRY_PASSWORD_FILE": tmp_path / "password"})
    consumer.wait_until_ready()
    front = registry["server"]
    before, front.wanted = front.wanted, secure.basic("bob-2", "Xk7-2q-new")
    try:
        publish(at, tmp_path, events.TELEMETRY, telemetry())
        consumer.wait_until(lambda: "refuses the user 'alice'" in consumer.get("/readyz")[1])
        (tmp_path / "password").write_text("Xk7-2q-new")
        (tmp_path / "user").write_text("bob-2")
        consumer.wait_until(lambda: consumer.metric("projectionist_records_total") >= 1)
        consumer.wait_until_ready()
    finally:
        front.wanted = before
    assert "Xk7-2q" not in consumer.log
    programs.end()


def test_a_renewed_authority_of_the_registry_is_read_again(at, certificates, programs, tmp_path):
    """Whose first certificate the consumer has trusted before, by a file of the same name."""
    certificates.make("renewed-server", hosts=("DNS:localhost",), ca="otherca")
    authority, context = tmp_path / "ca.pem", certificates.context("server")
    authority.write_bytes(certificates["ca.pem"].read_bytes())
    context.num_tickets = 0  # a session that is taken up again shows no certificate
    server, path = re.fullmatch("http://([^/]+)(.*)", address("SCHEMA_REGISTRY_URL")).groups()
    front = secure.Front(server, context)
    programs.variables = {**sasl("SASL")(at), **database()(at), "STALL_TIMEOUT": "1s"}
    consumer = programs.start(RECORDER, group="renewed-registry", **{
        "SCHEMA_REGISTRY_URL": f"https://localhost:{front.port}{path}",
        "SCHEMA_REGISTRY_CA_FILE": authority})
    try:
        publish(at, tmp_path, events.TELEMETRY, telemetry())
        consumer.wait_until(lambda: consumer.metric("projectionist_records_total") >= 1)
        context.load_cert_chain(certificates["renewed-server.pem"],
                                certificates["renewed-server.key"])
        publish_by_another_schema(at)
        consumer.wait_until(lambda: "is not trusted" in consumer.get("/readyz")[1])
        authority.write_bytes(certificates["otherca.pem"].read_bytes())
        consumer.wait_until_ready()
    finally:
        front.close()
    programs.end()


def test_a_rotated_token_of_the_bridge_is_read_again(at, programs, tmp_path):
    (tmp_path / "token").write_text("Xk7-2q-old")
    with AutomationService(token="Xk7-2q-old") as service:
        programs.variables = {**sasl("SASL")(at), "BRIDGE_ID": "rotated",
                              "TELEMETRY_TOKEN_FILE": tmp_path / "token"}
        running = bridge.subscribe(bridge.start(programs, service.stream_url))
        service.token = "Xk7-2q-new"
        service.restart()
        running.wait_for_log("it refuses our token")
        running.wait_until(lambda: "it refuses our token" in running.get("/readyz")[1])
        (tmp_path / "token").write_text("Xk7-2q-new")
        running.wait_until_ready()
        assert "Xk7-2q" not in running.log
        programs.end()


@pytest.mark.slow
def test_who_was_let_in_is_waited_for_five_minutes(at, postgres, registry, certificates, programs, tmp_path):
    """And then ends as who is refused at the start: each program by its server, all at the same time."""
    certificates.put("alice", tmp_path)
    mutual = {"KAFKA_SASL_MECHANISM": None, "KAFKA_SASL_USERNAME": None, "KAFKA_SASL_PASSWORD": None,
              **tls("MTLS")(at), "KAFKA_SSL_CERTIFICATE_LOCATION": tmp_path / "tls.crt",
              "KAFKA_SSL_KEY_LOCATION": tmp_path / "tls.key"}
    beats = {"HEARTBEAT_TOPICS": events.SESSIONS, "HEARTBEAT_INTERVAL": "1s"}
    postgres.execute(f"CREATE ROLE patient LOGIN PASSWORD '{RIGHT}' IN ROLE alice; "
                     "ALTER ROLE patient IN DATABASE secure SET role = alice")
    patient = database(user="patient")(at)
    with psycopg.connect(database()(at)["POSTGRES_DSN"]) as connection:
        for outbox in ("patient", "impatient"):
            connection.execute(f"CREATE SCHEMA {outbox}")
            connection.execute(f"SELECT projectionist.create_outbox('{outbox}')")
    programs.variables = {**sasl("SASL")(at), **database()(at), "STALL_TIMEOUT": "1s"}
    publish(at, tmp_path, events.TELEMETRY, telemetry())
    with Redis(tmp_path, requirepass="Xk7-2q-old") as server:
        waiting = {
            "a consumer by Postgres": (6, programs.start(RECORDER, group="patient", **patient)),
            "a relay by Postgres": (6, programs.start(
                "outbox-relay", OUTBOX="patient", RELAY_ID="patient", **patient, **beats)),
            "a consumer by the registry": (1, programs.start(
                RECORDER, group="patient-registry", **schemas("server")(at))),
            "job-bridge by Redis": (1, programs.start(
                "job-bridge", POSTGRES_DSN=None, BRIDGE_ID="patient", REDIS_URL=server.url,
                REDIS_PASSWORD="Xk7-2q-old")),
            "a relay by Kafka": (1, programs.start(
                "outbox-relay", OUTBOX="impatient", RELAY_ID="impatient", **mutual, **beats)),
        }
        for _, running in waiting.values():
            running.wait_until_ready()
        asking = waiting["a consumer by the registry"][1]
        asking.wait_until(lambda: asking.metric("projectionist_records_total") >= 1)
        before, registry["server"].wanted = registry["server"].wanted, secure.basic("alice", "another")
        try:
            since, ended = time.monotonic(), {}
            publish_by_another_schema(at)
            postgres.execute("ALTER ROLE patient PASSWORD 'another'")
            end_sessions(postgres, "patient")
            with server.client() as client:
                client.config_set("requirepass", "another")
            server.settings["requirepass"] = "another"
            server.drop_subscribers()
            certificates.put("stranger", tmp_path)

            def all_have_ended():
                for what, (_, running) in waiting.items():
                    if not running.running:
                        ended.setdefault(what, round(time.monotonic() - since))
                return len(ended) == len(waiting)

            wait_until(all_have_ended, PATIENCE + 60, lambda: f"of {list(waiting)} ended {ended}")
        finally:
            registry["server"].wanted = before
    assert all(seconds >= PATIENCE for seconds in ended.values()), ended
    for code, running in waiting.values():
        running.wait(code)
    programs.end()


# --- secrets ---------------------------------------------------------------------------------

def test_no_secret_in_proc_nor_in_a_core_dump(at, tmp_path):
    files = {}
    for name, value in {"KAFKA_SASL_PASSWORD": RIGHT, **database()(at)}.items():
        (tmp_path / name).write_text(value)
        files[f"{name}_FILE"] = tmp_path / name
    settings = {**sasl("SASL")(at), "KAFKA_SASL_PASSWORD": None, "POSTGRES_DSN": None, **files,
                "METRICS_ADDRESS": "127.0.0.1:0", "GROUP": Consumers.new_group("secret")}
    log_path = tmp_path / "log"
    values = environment(settings)
    values["ASAN_OPTIONS"] = f"{values['ASAN_OPTIONS']}:disable_coredump=0"
    with open(log_path, "wb") as log:
        process = subprocess.Popen(["prlimit", "--core=unlimited", program(RECORDER)], env=values,
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=tmp_path)
    wait_until(lambda: "partitions assigned" in log_path.read_text(), DEADLINE, log_path.read_text)
    here = Path(f"/proc/{process.pid}")
    for name in ("cmdline", "environ"):
        assert RIGHT.encode() not in (here / name).read_bytes(), name
    # Nobody but root reads it, whoever runs the program.
    assert (here / "environ").stat().st_uid == 0 and (here / "mem").stat().st_uid == 0
    os.kill(process.pid, signal.SIGABRT)
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert ended.si_code == os.CLD_KILLED, "it left a core dump"
    process.wait()
    assert not list(tmp_path.glob("core*")) and RIGHT not in log_path.read_text()

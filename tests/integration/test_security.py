# SPDX-License-Identifier: Apache-2.0
"""Certificates that are renewed while a program runs, and what /proc and a core dump show of its
secrets, with real servers that ask who one is."""

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg import conninfo

from lib import consumers, events, secure
from lib.consumers import Consumers, environment, program
from lib.database import wait_until

RIGHT = "Xk7-2q-right"
RECORDER = "event-recorder"
DEADLINE = 90


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = secure.Certificates(tmp_path_factory.mktemp("certificates"))
    made.make("alice", subject="alice")
    made.make("certified", subject="certified")
    made.make("stranger", subject="alice", ca="otherca")
    return made


@pytest.fixture(scope="module")
def broker(tmp_path_factory, certificates):
    made = secure.Kafka(tmp_path_factory.mktemp("broker") / "it", certificates, {"alice": RIGHT},
                        powerful=["alice"])
    try:
        made.topics(*events.TOPICS)
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory, certificates):
    made = secure.Postgres(tmp_path_factory.mktemp("postgres") / "it", certificates, RIGHT)
    try:
        yield made
    finally:
        made.close()


@dataclass
class Servers:
    broker: object
    postgres: object
    certificates: object


def sasl(listener, mechanism="PLAIN", password=RIGHT, ca="ca.pem", protocol="sasl_ssl"):
    return lambda at: {
        "KAFKA_BOOTSTRAP_SERVERS": at.broker.address(listener), "KAFKA_SECURITY_PROTOCOL": protocol,
        "KAFKA_SASL_MECHANISM": mechanism, "KAFKA_SASL_USERNAME": "alice",
        "KAFKA_SASL_PASSWORD": password, "KAFKA_SSL_CA_LOCATION": at.certificates[ca]}


def tls(listener, name="alice", ca="ca.pem"):
    return lambda at: {
        "KAFKA_BOOTSTRAP_SERVERS": at.broker.address(listener), "KAFKA_SECURITY_PROTOCOL": "ssl",
        "KAFKA_SSL_CA_LOCATION": at.certificates[ca],
        **({"KAFKA_SSL_CERTIFICATE_LOCATION": at.certificates[f"{name}.pem"],
            "KAFKA_SSL_KEY_LOCATION": at.certificates[f"{name}.key"]} if name else {})}


def database(password=RIGHT, host="localhost", mode="verify-full", ca="ca.pem", user="alice", **more):
    return lambda at: {"POSTGRES_DSN": conninfo.make_conninfo(
        host=host, hostaddr="127.0.0.1", port=at.postgres.port, dbname="secure", user=user,
        password=password, sslmode=mode, gssencmode="disable",
        **({"sslrootcert": at.certificates[ca]} if ca else {}),
        **{key: at.certificates[value] for key, value in more.items()})}


@pytest.fixture(scope="module")
def at(broker, postgres, certificates):
    """All servers; the database of `postgres` is migrated."""
    made = Servers(broker, postgres, certificates)
    result = consumers.run("projectionist", "migrate", variables=database()(made))
    assert result.returncode == 0, result.stderr
    postgres.execute("ALTER ROLE certified IN DATABASE secure SET role = alice")
    return made


# --- what changes while a program runs -------------------------------------------------------

def test_a_renewed_certificate_is_read_again_by_kafkas_clients(at, broker, certificates, tmp_path):
    """It is another principal's, who alone may read."""
    certificates.make("old", subject="renewed-1")
    certificates.make("new", subject="renewed-2")
    read = [{"resource": {"type": "topic", "name": events.TELEMETRY}, "operations": ["Read", "Describe"]},
            {"resource": {"type": "group", "name": "renewed", "patternType": "prefix"},
             "operations": ["Read", "Describe"]}]
    broker.acls("renewed-2", read)
    pair = {"KAFKA_SSL_CERTIFICATE_LOCATION": tmp_path / "tls.crt",
            "KAFKA_SSL_KEY_LOCATION": tmp_path / "tls.key"}

    def put(name):
        for target, kind in (("tls.crt", "pem"), ("tls.key", "key")):
            new = tmp_path / f"{target}.new"
            new.write_bytes(certificates[f"{name}.{kind}"].read_bytes())
            new.rename(tmp_path / target)

    put("old")
    settings = {**tls("MTLS")(at), **pair, "STALL_TIMEOUT": "2s"}
    programs = Consumers(tmp_path, {**database()(at), **settings})
    consumer = programs.start(RECORDER, group=Consumers.new_group("renewed"))
    consumer.wait_for_log("AUTHORIZATION|authorization failed")
    assert not consumer.ready()
    put("new")
    consumer.wait_for_log("Kafka's secrets have changed: connecting anew")
    consumer.wait_until_ready()
    programs.end()


def test_a_renewed_certificate_is_read_again_by_postgres_clients(at, postgres, certificates, tmp_path):
    files = {"sslcert": tmp_path / "tls.crt", "sslkey": tmp_path / "tls.key"}

    def put(name):
        for target, kind in (("tls.crt", "pem"), ("tls.key", "key")):
            (tmp_path / target).write_bytes(certificates[f"{name}.{kind}"].read_bytes())
            (tmp_path / target).chmod(0o600)

    put("certified")
    dsn = conninfo.make_conninfo(database(user="certified", password=None)(at)["POSTGRES_DSN"],
                                 **files)
    programs = Consumers(tmp_path, {**sasl("SASL")(at), "POSTGRES_DSN": dsn, "STALL_TIMEOUT": "1s"})
    consumer = programs.start(RECORDER, group=Consumers.new_group("certified"))
    consumer.wait_until_ready()
    put("stranger")  # as if it had run out
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'certified'"
    postgres.execute(end)
    consumer.wait_until(lambda: not consumer.ready())
    put("certified")
    consumer.wait_until_ready()
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

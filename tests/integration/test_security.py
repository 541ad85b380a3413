# SPDX-License-Identifier: Apache-2.0
"""What programs say to servers that do not let them in, certificates and passwords that are renewed
while a program runs, and what /proc and a core dump show of its secrets. tests/security/run has the
whole table."""

import os
import signal
import subprocess
from pathlib import Path

from psycopg import conninfo

from lib import events
from lib.consumers import Consumers, environment, program
from lib.database import wait_until
# Of these, pytest takes those that are fixtures.
from lib.logins import (DEADLINE, READY, RECORDER, RIGHT, SPARE, WAITS, WRONG, Run, at, broker,
                        certificates, database, granted, judge, plaintext, postgres, registry, sasl,
                        service, tls, upstream)

CREATE = ("projectionist", "topics", "create", "--dry-run", "-p", "1", "--timeout", "15s")
PROTOCOL = "and kafka.security.protocol is"


def test_who_is_not_let_in_is_told_why(at, tmp_path):
    """Some of the table in tests/security/; all of them at the same time."""
    def run(command, what, settings, expected, words, **more):
        common = {**database()(at), **upstream("server")(at), "STALL_TIMEOUT": "3s",
                  "GROUP": f"told {what}", "GATEWAY_ID": "told", "BRIDGE_ID": "told"}
        return Run(tmp_path, command, what, {**common, **settings(at)}, expected, words, **more)

    reader = granted()[RECORDER]
    group = {"resource": {"type": "group", "name": "told", "patternType": "prefix"},
             "operations": ["Read"]}
    topic = dict(reader[0], operations=["Describe"])
    at.broker.acls(SPARE[0], [topic, group])
    judge([
        run((RECORDER,), "plaintext to TLS", plaintext("SASL"), WAITS,
            f"expect TLS, {PROTOCOL} plaintext"),
        run(CREATE, "plaintext to a login", plaintext("SASLPLAIN"), 7,
            f"a login by SASL, {PROTOCOL} plaintext"),
        run(("telemetry-bridge",), "TLS to plaintext", tls("ADMIN"), WAITS,
            f"not to expect TLS, {PROTOCOL} ssl"),
        run((RECORDER,), "a wrong password", sasl("SASL", password=WRONG), WAITS,
            "Authentication failed"),
        run(("telemetry-bridge",), "no certificate", tls("MTLS", None), 1,
            "kafka.ssl.certificate.location"),
        run(("control-gateway",), "no right", sasl("SASL", user=SPARE[1]), WAITS,
            "grant DESCRIBE on the topic"),
        run((RECORDER,), "no right to read", sasl("SASL", user=SPARE[0]), WAITS,
            f"{events.TELEMETRY}.*grant this user READ",
            then=lambda: at.broker.acls(SPARE[0], reader)),
    ])


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

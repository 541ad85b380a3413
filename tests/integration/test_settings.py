# SPDX-License-Identifier: Apache-2.0
"""What all programs do alike with their settings: what is wrong in them is said in one sentence at
the start, and what is secret in them is never shown."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from lib.consumers import program

PROGRAMS = ("command-projector", "event-recorder", "video-catalog", "watermark-metrics",
            "session-tracker", "captions-catalog", "drama-jobs", "render-jobs", "control-gateway",
            "event-ingest", "telemetry-bridge", "outbox-relay", "drama-import", "stream-record",
            "stream-replay")
COMMANDS = ("status", "migrate", "dead-letters list", "dead-letters show", "dead-letters replay",
            "dead-letters discard", "verify", "rebuild", "offsets show", "offsets set",
            "topics create", "schemas register")
ALL = [(name,) for name in PROGRAMS] + [("projectionist", *command.split()) for command in COMMANDS]
NAMES = Path(__file__).resolve().parents[2] / "src/base/config_names.c"
NOWHERE = "127.0.0.1:1"  # nobody listens there


def run(words, *arguments, deadline=30, stdout=subprocess.PIPE, **variables):
    """Runs a program with nothing of our environment but these variables."""
    values = {name: value for name, value in os.environ.items()
              if not name.startswith(("PG", "PROJECTIONIST_"))}
    values.setdefault("ASAN_OPTIONS", "abort_on_error=1:detect_leaks=1")
    values.update({f"PROJECTIONIST_{name}": str(value) for name, value in variables.items()})
    result = subprocess.run([program(words[0]), *words[1:], *arguments], env=values, text=True,
                            stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
                            timeout=deadline, check=False, cwd="/")
    assert "Sanitizer" not in result.stderr, result.stderr
    return result


def refused(words, sentence, *arguments, **variables):
    """It ends with 2 and that sentence, a regular expression."""
    result = run(words, *arguments, **variables)
    assert result.returncode == 2, (words, result.returncode, result.stderr)
    assert re.search(sentence, result.stderr), (words, result.stderr)
    assert len(result.stderr.splitlines()) <= 2, result.stderr
    return result


def options_of(words):
    """The variables that its --help names."""
    text = run(words, "--help").stdout
    found = set(re.findall(r"Variable: PROJECTIONIST_(\w+)", text.replace("Variable:\n       ",
                                                                          "Variable:")))
    found |= set(re.findall(r"^ *PROJECTIONIST_(\w+)=", text, re.MULTILINE))
    return {name for name in found if not name.endswith("_KEY") and "KAFKA" not in name}


def test_the_variables_of_all_programs_are_known_to_each():
    known = {name.upper().replace("-", "_").replace(".", "_")
             for name in re.findall(r'^    "([a-z0-9.-]+)",$', NAMES.read_text(), re.MULTILINE)}
    shown = set().union(*(options_of(words) for words in ALL))
    assert shown - known == set()


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_mistyped_variable_is_an_error_of_every_program(words):
    refused(words, r"PROJECTIONIST_BATCH_RECRODS: unknown variable; did you mean "
                   r"PROJECTIONIST_BATCH_RECORDS\?", BATCH_RECRODS="3")


def test_the_help_on_a_full_disk_or_a_closed_output_is_a_failure():
    for words in ALL + [("projectionist",), ("projectionist", "completion", "bash")]:
        asked = () if words[-1] == "bash" else ("--help",)
        for flag in asked + ("--version",) if asked else (None,):
            arguments = [flag] if flag else []
            with open("/dev/full", "w") as full:
                result = run(words, *arguments, stdout=full)
            assert result.returncode == 1, (words, flag, result)
            assert "cannot write the output" in result.stderr
    for words in ALL[-1:] + [("telemetry-bridge",), ("stream-replay",)]:
        closed = subprocess.run(["sh", "-c", f"exec '{program(words[0])}' {' '.join(words[1:])} "
                                             "--help >&-"],
                                stderr=subprocess.PIPE, text=True, check=False)
        assert closed.returncode == 1
        assert "cannot write the output" in closed.stderr


# --- Postgres -----------------------------------------------------------------------------------

CANARY = "canary-7Qx9-of-nobody"
DATABASE_PROGRAMS = [("event-recorder",), ("projectionist", "status"), ("outbox-relay", "--outbox", "x")]
DSNS = {  # what must be said of it
    "postgresql://127.0.0.1:notaport/x": "port must be a number from 1 to 65535",
    "postgresql://127.0.0.1:0/x": "port must be a number",
    "postgresql://127.0.0.1:70000/x": "port must be a number",
    "host=127.0.0.1 port=5432x": "port must be a number",
    "host=127.0.0.1 port=-1": "port must be a number",
    f"postgresql://me:{CANARY}/tail@127.0.0.1/x": "port must be a number.*%2F",
    f"postgresql://me:p@{CANARY}@127.0.0.1/x": "host has an @.*%40",
    f"host=127.0.0.1 password=two {CANARY} user=me": 'cannot be read: missing .*=.* after',
    f"host=127.0.0.1 password='{CANARY}": "cannot be read: unterminated quoted string",
    f"host=127.0.0.1 password={CANARY} pasword={CANARY}": "cannot be read: invalid connection",
    f"postgresql://me:{CANARY}%zz@127.0.0.1/x": "cannot be read: invalid percent-encoded token",
    f"postgresql://127.0.0.1/x?pass={CANARY}": "cannot be read: invalid URI query parameter",
    "postgresql://127.0.0.1/x?sslmod=require": 'query parameter: .*sslmod',
    f"postgresql://me:{CANARY}@[::1/x": "cannot be read: end of string reached",
    "host=127.0.0.1,127.0.0.2 port=1,2,3": "port must be one for all hosts",
    "host=127.0.0.1,127.0.0.2 hostaddr=127.0.0.1": "hostaddr must name as many",
    "postgresql://127.0.0.1/x?sslmode=always": "sslmode must be one of: disable",
    "postgresql://127.0.0.1/x?target_session_attrs=master": "target_session_attrs must be one of",
    "postgresql://127.0.0.1/x?connect_timeout=5s": "connect_timeout must be a whole number",
    "service=no-such-service": "settings of Postgres cannot be used: definition of service",
    "hostaddr=localhost": "settings of Postgres cannot be used: could not parse network address",
}


@pytest.mark.parametrize("words", DATABASE_PROGRAMS, ids=" ".join)
def test_a_dsn_that_cannot_be_used_is_refused_at_the_start_and_not_shown(words):
    for dsn, sentence in DSNS.items():
        if "settings of Postgres" in sentence and words[0] != "projectionist":
            continue  # libpq says so when it connects, and a consumer waits for Kafka before
        result = refused(words, sentence, POSTGRES_DSN=dsn, KAFKA_BOOTSTRAP_SERVERS=NOWHERE)
        assert CANARY not in result.stderr and "tail" not in result.stderr
    for key, value in {"PORT": "x", "SSLMODE": "x", "KEEPALIVES_IDLE": "1s"}.items():
        refused(words, rf"postgres\.{key.lower()}: it must be", KAFKA_BOOTSTRAP_SERVERS=NOWHERE,
                POSTGRES_DSN="host=127.0.0.1", **{f"POSTGRES_{key}": value})


# --- files of TLS -------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A folder with good, other (certificate and key), and what is neither."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("good", "other"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-keyout", folder / f"{name}.key", "-out",
                        folder / f"{name}.pem"], capture_output=True, check=True)
    subprocess.run(["openssl", "rsa", "-aes128", "-passout", f"pass:{CANARY}", "-in",
                    folder / "good.key", "-out", folder / "locked.key"], capture_output=True,
                   check=True)
    script = (f"openssl req -new -key {folder}/good.key -subj /CN=x -out {folder}/r.csr && openssl "
              f"x509 -req -in {folder}/r.csr -signkey {folder}/good.key -days 0 "
              f"-out {folder}/expired.pem")
    subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    (folder / "text.pem").write_text("no certificate\n")
    (folder / "empty.pem").write_text("")
    (folder / "cut.pem").write_text((folder / "good.pem").read_text()[:300])
    return folder


FILES = {"missing.pem": "cannot read .*No such file", ".": "cannot read .*Is a directory",
         "text.pem": "holds no certificate in PEM", "empty.pem": "holds no certificate in PEM",
         "good.key": "holds no certificate in PEM", "cut.pem": "is damaged"}
KAFKA = {"KAFKA_BOOTSTRAP_SERVERS": NOWHERE, "KAFKA_SECURITY_PROTOCOL": "ssl"}


def servers(words):
    """What it wants to know before it looks at files."""
    return {"KAFKA_BOOTSTRAP_SERVERS": NOWHERE, "POSTGRES_DSN": "host=127.0.0.1 port=1",
            "SCHEMA_REGISTRY_URL": f"https://{NOWHERE}"}


@pytest.mark.parametrize("words, option", [
    (("event-recorder",), "SCHEMA_REGISTRY_CA_FILE"),
    (("telemetry-bridge",), "SCHEMA_REGISTRY_CA_FILE"),
    (("telemetry-bridge",), "TELEMETRY_CA_FILE"),
    (("outbox-relay", "--outbox", "x"), "SCHEMA_REGISTRY_CA_FILE"),
    (("control-gateway",), "GATEWAY_UPSTREAM_CA_FILE"),
    (("event-ingest",), "JWT_CA_FILE"),
    (("stream-replay", "x.avro"), "SCHEMA_REGISTRY_CA_FILE"),
    (("projectionist", "schemas", "register"), "SCHEMA_REGISTRY_CA_FILE"),
], ids=str)
def test_a_file_of_certificates_that_is_none_is_refused_at_the_start(tls, words, option):
    name = option.lower().replace("_", "-")
    for file, sentence in FILES.items():
        refused(words, f"{name}: .*{sentence}", **{**servers(words), option: tls / file})


@pytest.mark.parametrize("words", [("event-recorder",), ("telemetry-bridge",), ("control-gateway",),
                                   ("event-ingest",), ("stream-replay", "x.avro"), ("projectionist", "status")],
                         ids=" ".join)
def test_certificates_and_keys_for_kafka_are_looked_at_at_the_start(tls, words):
    def wrong(sentence, **variables):
        settings = {f"KAFKA_SSL_{name}": value for name, value in variables.items()}
        result = refused(words, sentence, **{**servers(words), **KAFKA, **settings})
        assert CANARY not in result.stderr

    for file, sentence in FILES.items():
        if file != ".":  # it may be a folder of certificates
            wrong(rf"kafka\.ssl\.ca\.location: .*{sentence}", CA_LOCATION=tls / file)
    good = {"CERTIFICATE_LOCATION": tls / "good.pem"}
    wrong("does not belong to the certificate", **good, KEY_LOCATION=tls / "other.key")
    wrong("holds no private key", **good, KEY_LOCATION=tls / "good.pem")
    wrong("encrypted without a password", **good, KEY_LOCATION=tls / "locked.key")
    wrong("is the password right", **good, KEY_LOCATION=tls / "locked.key",
          KEY_PASSWORD=CANARY + "-not")


@pytest.mark.parametrize("words", DATABASE_PROGRAMS, ids=" ".join)
def test_certificates_for_postgres_are_looked_at_at_the_start(tls, words):
    for file, sentence in FILES.items():
        dsn = f"host=127.0.0.1 port=1 sslmode=verify-full sslrootcert={tls / file}"
        refused(words, f"sslrootcert: .*{sentence}", **{**servers(words), "POSTGRES_DSN": dsn})
    refused(words, "does not belong", **{**servers(words), "POSTGRES_SSLCERT": tls / "good.pem",
                                         "POSTGRES_SSLKEY": tls / "other.key"})


def test_certificates_that_have_expired_are_warned_of(tls):
    result = run(("stream-replay", "--verbose", "x.avro"), SCHEMA_REGISTRY_CA_FILE=tls / "expired.pem",
                 **servers(None))
    assert "certificates in a file have expired" in result.stderr and "expired.pem" in result.stderr


SHOWING = [("event-recorder",), ("control-gateway",), ("event-ingest",), ("telemetry-bridge",),
           ("outbox-relay", "--outbox", "x"),
           ("stream-replay", "x.avro"), ("projectionist", "status"), ("projectionist", "migrate"),
           ("projectionist", "topics", "create"), ("projectionist", "schemas", "register")]


# --- secrets ------------------------------------------------------------------------------------

@pytest.mark.parametrize("words", SHOWING, ids=" ".join)
def test_no_secret_is_shown_wherever_it_is(words, tmp_path):
    """All at once, and each way that a program fails at its start."""
    token = tmp_path / "token"
    token.write_text(CANARY + "\n")
    secrets = {
        "KAFKA_SASL_PASSWORD": CANARY, "KAFKA_SSL_KEY_PASSWORD": CANARY,
        "KAFKA_SASL_USERNAME": "me", "KAFKA_SECURITY_PROTOCOL": "sasl_plaintext",
        "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_BOOTSTRAP_SERVERS": NOWHERE,
        "KAFKA_DEBUG": "all", "LOG_LEVEL": "debug",
        "POSTGRES_DSN": f"postgresql://me:{CANARY}@127.0.0.1:1/x", "POSTGRES_PASSWORD": CANARY,
        "SCHEMA_REGISTRY_URL": f"http://{NOWHERE}", "SCHEMA_REGISTRY_USERNAME": "me",
        "SCHEMA_REGISTRY_PASSWORD": CANARY, "GATEWAY_TOKEN_FILE": token,
        "GATEWAY_UPSTREAM_TOKEN": CANARY, "TELEMETRY_TOKEN": CANARY, "TIMEOUT": "1s",
        "JWT_SECRET": CANARY * 9, "JWT_TOPICS": "x.*", "INGEST_SYSTEM": "x",
        "INGEST_TOPICS": "x.y=z",
        "TELEMETRY_URL": f"ws://{NOWHERE}/?token={CANARY}",
    }
    wrong = {
        "POSTGRES_DSN": f"host=x password=a {CANARY}",
        "SCHEMA_REGISTRY_URL": f"http://me:12#34{CANARY}@{NOWHERE}",
        "TELEMETRY_URL": f"http://{NOWHERE}/?token={CANARY}",
        "GATEWAY_UPSTREAM": f"ftp://{NOWHERE}/?access_token={CANARY}",
        "JWT_SECRET": CANARY, "JWT_JWKS": f"https://me:{CANARY}@{NOWHERE}/",
    }
    processes = []
    for more in [{}, wrong] + [{name: value} for name, value in wrong.items()]:
        values = {name: value for name, value in os.environ.items()
                  if not name.startswith(("PG", "PROJECTIONIST_"))}
        values.update({f"PROJECTIONIST_{name}": str(value)
                       for name, value in {**secrets, **more}.items()})
        processes.append(subprocess.Popen(
            [program(words[0]), *words[1:]], env=values, cwd="/", text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    for process in processes:
        try:
            output, _ = process.communicate(timeout=30 if words[0] == "projectionist" else 2)
        except subprocess.TimeoutExpired:  # it waits for a server
            process.terminate()
            output, _ = process.communicate(timeout=30)
        assert output and CANARY not in output, output
    assert CANARY not in run(words, "--help", **secrets).stdout


# --- values -------------------------------------------------------------------------------------

@pytest.mark.parametrize("words, arguments, sentence", [
    (("control-gateway",), ["--gateway-listen=nonsense"], "gateway address 'nonsense'"),
    (("control-gateway",), ["--gateway-listen=127.0.0.1:70000"], "has no port between 0 and 65535"),
    (("control-gateway",), ["--gateway-upstream=http://127.0.0.1:0"], "gateway-upstream must be http"),
    (("control-gateway",), ["--kafka.no.such=1"], "kafka.no.such"),
    (("control-gateway",), ["--gateway-id=" + "x" * 201], "has 201 bytes, at most 200 are allowed"),
    (("control-gateway",), ["--gateway-upstream=http://" + "x" * 300], "at most 300 are allowed"),
    (("event-ingest",), [], "--ingest-system"),
    (("event-ingest",), ["--ingest-system=x", "--ingest-topics=x.y"], "what its key is"),
    (("event-ingest",), ["--ingest-system=x", "--ingest-topics=x.y=z"], "no request could be authorized"),
    (("event-ingest",), ["--ingest-system=x", "--ingest-topics=x.y=z", "--jwt-jwks=http://x/"],
     "--jwt-topics"),
    (("event-ingest",), ["--ingest-system=x", "--ingest-topics=x.y=z", "--jwt-jwks=http://x/",
                         "--jwt-topics=x.*"], "neither a file nor an https URL"),
    (("telemetry-bridge",), ["--bridge-id=" + "x" * 201], "has 201 bytes, at most 200 are allowed"),
    (("telemetry-bridge",), ["--bridge-id="], "must not be empty"),
    (("telemetry-bridge",), ["--kafka.no.such=1"], "kafka.no.such"),
    (("telemetry-bridge",), ["--metrics-address=:x"], "has no port between 0 and 65535"),
    (("outbox-relay",), ["--outbox="], "must not be empty"),
    (("outbox-relay",), ["--outbox=x", "--kafka.no.such=1"], "kafka.no.such"),
    (("outbox-relay",), ["--batch-rows=0"], "batch-rows"),
    (("event-recorder",), ["--schema-registry-url=http://127.0.0.1:0"], "URL is not understood"),
    (("event-recorder",), ["--schema-registry-username="], "must not be empty"),
    (("projectionist", "dead-letters", "discard"), ["--projection=", "--yes"], "must not be empty"),
    (("projectionist", "status"), ["--group="], "must not be empty"),
], ids=str)
def test_a_value_that_cannot_be_used_is_refused_before_any_server_is_waited_for(words, arguments,
                                                                               sentence):
    refused(words, sentence, *arguments, **servers(words))

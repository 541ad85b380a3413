# SPDX-License-Identifier: Apache-2.0
"""The ways to log in to servers that ask who one is (lib/secure.py), as settings of a program; a
program that runs with such settings, and what is to become of it. Its fixtures are imported by the
tests: `at` is all servers."""

import re
import signal
import subprocess
import time
from dataclasses import dataclass

import pytest
import yaml
from psycopg import conninfo

from lib import automation_service, consumers, gateway, secure
from lib.consumers import REPOSITORY, address, environment, program

RIGHT, WRONG = "Xk7-2q-right", "Xk7-2q-wrong"
COMPONENTS = REPOSITORY / "deploy/kubernetes/components"
RECORDER = "event-recorder"
DEADLINE = 240
SPARE = [f"user-{number}" for number in range(500)]  # who may do nothing until a test grants it


@dataclass
class Servers:
    broker: secure.Kafka
    postgres: secure.Postgres
    registry: dict
    registry_path: str
    service: dict
    certificates: secure.Certificates


def strimzi(name):
    """The objects in the files of that name, of the base and of each system beside it."""
    return [made for path in sorted(COMPONENTS.rglob(f"strimzi/{name}.yaml"))
            for made in yaml.safe_load_all(path.read_text()) if made]


def granted():
    """{program: the ACLs that the chart's KafkaUser gives it}, where all systems are deployed"""
    rules = {user["metadata"]["name"].removeprefix("projectionist-"):
             user["spec"]["authorization"]["acls"] for user in strimzi("kafkausers")}
    for component in strimzi("kustomization"):
        for patch in component.get("patches", ()):
            assert patch["target"] == {"kind": "KafkaUser", "name": "projectionist-jobs"}, patch
            rules["jobs"] += [added["value"] for added in yaml.safe_load(patch["patch"])]
    return rules


def reads_as_a_group():
    """The users of consumers."""
    return sorted(name for name, rules in granted().items()
                  if any(rule["resource"]["type"] == "group" and rule["resource"]["name"] == name
                         for rule in rules))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = secure.Certificates(tmp_path_factory.mktemp("certificates"))
    made.make("alice", subject="alice")
    made.make("certified", subject="certified")
    made.make("stranger", subject="alice", ca="otherca")
    return made


@pytest.fixture(scope="module")
def broker(tmp_path_factory, certificates):
    passwords = dict.fromkeys(["alice", *SPARE], RIGHT)
    made = secure.Kafka(tmp_path_factory.mktemp("broker") / "it", certificates, passwords,
                        powerful=["alice", "rotating"])
    try:
        for kept in ("delete", "compact"):
            made.topics(*(topic["spec"]["topicName"] for topic in strimzi("kafkatopics")
                          if topic["spec"]["config"]["cleanup.policy"] == kept),
                        **{"cleanup.policy": kept, "retention.ms": "-1"})
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def postgres(certificates):
    made = secure.Postgres(certificates, RIGHT)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def registry(certificates):
    """{certificate: a front with TLS before the real registry}"""
    target = re.match(r"http://([^/]+)", address("SCHEMA_REGISTRY_URL"))[1]
    fronts = {name: secure.Front(target, certificates.context(name), ("alice", RIGHT))
              for name in ("server", "expired", "selfsigned", "elsewhere")}
    yield fronts
    for front in fronts.values():
        front.close()


@pytest.fixture(scope="module")
def service(certificates):
    """The automation service with TLS, of a certificate for another host, too."""
    with automation_service.AutomationService(tls=certificates.context("server")) as right, \
            automation_service.AutomationService(tls=certificates.context("elsewhere")) as wrong:
        yield {"server": right, "elsewhere": wrong}


@pytest.fixture(scope="module")
def at(broker, postgres, registry, service, certificates):
    """All servers; the database of `postgres` is migrated."""
    path = re.sub(r"^http://[^/]+", "", address("SCHEMA_REGISTRY_URL"))
    made = Servers(broker, postgres, registry, path, service, certificates)
    result = consumers.run("projectionist", "migrate",
                           variables={**database()(made), "SYSTEMS": None})  # all there are
    assert result.returncode == 0, result.stderr
    postgres.execute("ALTER ROLE certified IN DATABASE secure SET role = alice")
    yield made
    for process in Run.started:  # of a test that failed before it judged them
        process.kill()
        process.wait()


@pytest.fixture
def programs(tmp_path):
    """Those that a test starts; none outlives one that fails."""
    started = consumers.Consumers(tmp_path)
    yield started
    started.kill()


# --- settings, as functions of the servers ---------------------------------------------------

def sasl(listener, mechanism="PLAIN", password=RIGHT, ca="ca.pem", protocol="sasl_ssl",
         user="alice"):
    return lambda at: {
        "KAFKA_BOOTSTRAP_SERVERS": at.broker.address(listener), "KAFKA_SECURITY_PROTOCOL": protocol,
        "KAFKA_SASL_MECHANISM": mechanism, "KAFKA_SASL_USERNAME": user,
        "KAFKA_SASL_PASSWORD": password, "KAFKA_SSL_CA_LOCATION": at.certificates[ca]}


def tls(listener, name="alice", ca="ca.pem"):
    return lambda at: {
        "KAFKA_BOOTSTRAP_SERVERS": at.broker.address(listener), "KAFKA_SECURITY_PROTOCOL": "ssl",
        "KAFKA_SSL_CA_LOCATION": at.certificates[ca],
        **({"KAFKA_SSL_CERTIFICATE_LOCATION": at.certificates[f"{name}.pem"],
            "KAFKA_SSL_KEY_LOCATION": at.certificates[f"{name}.key"]} if name else {})}


def plaintext(listener):
    return lambda at: {"KAFKA_BOOTSTRAP_SERVERS": at.broker.address(listener)}


def database(password=RIGHT, host="localhost", mode="verify-full", ca="ca.pem", user="alice", **more):
    return lambda at: {"POSTGRES_DSN": conninfo.make_conninfo(
        host=host, hostaddr="127.0.0.1", port=at.postgres.port, dbname="secure", user=user,
        password=password, sslmode=mode, gssencmode="disable",
        **({"sslrootcert": at.certificates[ca]} if ca else {}),
        **{key: at.certificates[value] for key, value in more.items()})}


def schemas(certificate, scheme="https", password=RIGHT, ca="ca.pem", user="alice"):
    return lambda at: {
        "SCHEMA_REGISTRY_URL": f"{scheme}://localhost:{at.registry[certificate].port}"
                               f"{at.registry_path}",
        "SCHEMA_REGISTRY_CA_FILE": at.certificates[ca], "SCHEMA_REGISTRY_USERNAME": user,
        "SCHEMA_REGISTRY_PASSWORD": password if user else None}


def upstream(certificate, ca="ca.pem", scheme="s"):
    def variables(at):
        service = at.service[certificate]
        return {"GATEWAY_UPSTREAM": f"http{scheme}://localhost:{service.http_port}",
                "GATEWAY_UPSTREAM_CA_FILE": at.certificates[ca], "GATEWAY_LISTEN": "127.0.0.1:0",
                "TELEMETRY_URL": f"ws{scheme}://localhost:{service.stream_port}"
                                 f"{automation_service.STREAM_PATH}",
                "TELEMETRY_CA_FILE": at.certificates[ca]}
    return variables


# --- a program -------------------------------------------------------------------------------

READY, WAITS = "becomes ready", "stays not ready"


class Run:
    """One program with such settings. expected: READY, WAITS or its exit code; words: an expression
    that its log, or what /readyz says while it waits, must match; poke: asks the gateway for
    something, and gives text that counts as well, "" where it gets it; then: makes it work."""

    started = []

    def __init__(self, folder, command, what, variables, expected, words="", poke=None, then=None):
        self.name, self.expected, self.words = command[0], expected, words
        self.what, self.poke, self.poked, self.then = what, poke, "", then
        self.log_path = folder / re.sub(r"\W+", "-", f"{' '.join(command)} {what}")
        values = {"METRICS_ADDRESS": "127.0.0.1:0", **variables}
        if self.name in ("projectionist", "stream-replay"):
            del values["METRICS_ADDRESS"]
        self.deadline = time.monotonic() + DEADLINE
        with open(self.log_path, "xb") as log:
            self.process = subprocess.Popen(
                [program(self.name), *command[1:]], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd="/",
                env=environment({name: value if value is None else str(value)
                                 for name, value in values.items()}))
        self.started.append(self.process)

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def readyz(self):
        """(status, text); (0, "") while nothing listens."""
        port = re.search(consumers.SERVED, self.log)
        try:
            answer = port and gateway.request(int(port[1]), "GET", "/readyz", timeout=5)
        except OSError:
            answer = None
        return (answer.status, answer.content.decode()) if answer else (0, "")

    def is_ready(self):
        return self.readyz()[0] == 200

    def is_as_expected(self):
        if self.expected == READY:
            return self.is_ready() and self.says_it()
        return self.expected == WAITS and self.says_it(log=False)

    def says_it(self, log=True):
        """A program that waits says why in /readyz, too."""
        status, text = self.readyz() if not log else (0, "")
        said = self.poked + (self.log if log else text if status == 503 else "")
        if not log and not said:
            return False
        return bool(re.search(self.words, said, re.IGNORECASE))

    def wait(self):
        """Until it is what it should be, ends, or the time is up."""
        while (time.monotonic() < self.deadline and self.process.poll() is None
               and not self.is_as_expected()):
            listens = re.search(r"msg=listening port=(\d+)", self.log)
            if self.poke and listens:
                self.poked += self.poke(int(listens[1]))
            time.sleep(0.2)

    def faults(self):
        """What is not as it should be, as texts; ends it."""
        self.wait()
        code, found = self.process.poll(), []
        if self.expected in (READY, WAITS):
            if code is None and self.is_as_expected():
                found += self.go_on()
            else:
                found.append(f"{self.expected} and says {self.words!r}? Ended with {code}, /readyz: "
                             f"{self.readyz()}")
        elif code != self.expected or not self.says_it():
            found.append(f"ended with {code} instead of {self.expected}, or not with "
                         f"{self.words!r}")
        found += self.end()
        return [f"{self.name}, {self.what}: {one}\n{self.poked}{self.log[-2500:]}" for one in found]

    def go_on(self):
        if not self.then:
            return []
        self.then()
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline and not self.works():
            time.sleep(0.2)
        return [] if self.works() else [f"does not go on: {self.readyz()}"]

    def works(self):
        listens = re.search(r"msg=listening port=(\d+)", self.log)
        return self.is_ready() and not (self.poke and listens and self.poke(int(listens[1])))

    def end(self):
        """Asks it to end, where it runs; what is wrong with that, or with its log."""
        found, running = [], self.process.poll() is None
        if running:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(60)
            if running and code != 0:
                found.append(f"ended with {code} when it was asked to")
        except subprocess.TimeoutExpired:
            self.process.kill()
            found.append("does not end")
        if RIGHT in self.log or WRONG in self.log:
            found.append("shows the password")
        if "Sanitizer" in self.log:
            found.append("has a sanitizer's report")
        return found


def judge(runs):
    found = [fault for run in runs for fault in run.faults()]
    assert not found, "\n\n".join(found)

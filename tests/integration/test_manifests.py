# SPDX-License-Identifier: Apache-2.0
"""The manifests of deploy/kubernetes, which are made of the Helm chart, name what the programs have:
commands, flags, variables, ports, paths, topics, metrics, exit codes. No server is needed."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
from pathlib import Path

import pytest
import yaml

from lib.consumers import HTTP, REPOSITORY, program, promtool
from lib.database import wait_until
from lib.events import TOPICS
from lib.recorded import record_to

FOLDER = REPOSITORY / "deploy" / "kubernetes"
RUNBOOK = (REPOSITORY / "deploy" / "RUNBOOK.md").read_text()
COMMAND_PROGRAM = "projectionist"
DEADLINE = 30
MOUNT = "/run/secrets/projectionist"
# Settings that a process is given for the test: it must find free ports.
FREE = dict.fromkeys((f"PROJECTIONIST_{name}" for name in (
    "METRICS_ADDRESS", "GATEWAY_LISTEN", "INGEST_LISTEN")), "127.0.0.1:0")
MOUNTED = {"ingest-tokens-file": '{"tokens": []}'}  # what is no secret alone


def documents():
    for folder in ("base", "components"):
        for path in sorted((FOLDER / folder).rglob("*.yaml")):
            if path.name != "kustomization.yaml":
                yield from filter(None, yaml.safe_load_all(path.read_text()))


DOCUMENTS = list(documents())


def of_kind(*kinds):
    return [document for document in DOCUMENTS if document["kind"] in kinds]


def pod_spec(document):
    spec = document["spec"]
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    return spec["template"]["spec"]


def containers(*kinds):
    """(the workload's name, its pod's spec, a container) of each."""
    return [(document["metadata"]["name"], pod_spec(document), container)
            for document in of_kind(*kinds)
            for container in [*pod_spec(document).get("initContainers", []),
                              *pod_spec(document)["containers"]]]


SERVICES = containers("StatefulSet", "Deployment")
JOBS = containers("Job", "CronJob")


def names(cases):
    return [f"{workload}/{container['name']}" for workload, _, container in cases]


def variables(container):
    return {entry["name"]: entry.get("value", "pod-0") for entry in container.get("env", [])}


def environment(container, folder):
    """The container's variables, and those of ours that a program needs to run at all. What it would
    find mounted is in the folder."""
    values = {name: value for name, value in os.environ.items()
              if not name.startswith(("PG", "PROJECTIONIST_"))}
    values.setdefault("ASAN_OPTIONS", "abort_on_error=1:detect_leaks=1")
    for name, value in variables(container).items():
        if value.startswith(MOUNT):
            value = str(folder / Path(value).name)
            Path(value).write_text(MOUNTED.get(Path(value).name, "secret\n"))
        values[name] = FREE.get(name, value)
    return values


def help_of(container):
    words = [word for word in container["command"] if not word.startswith("-")]
    return subprocess.run([program(words[0]), *words[1:], "--help"], check=True, text=True,
                          capture_output=True).stdout


def all_consumers():
    """The consumers that the program has."""
    refused = subprocess.run([program(COMMAND_PROGRAM), "consume", "nonsense"], text=True,
                             capture_output=True, check=False).stderr
    return re.search(r"there are (.+)", refused)[1].split(", ")


def consumers_of(*systems):
    refused = subprocess.run([program(COMMAND_PROGRAM), "status", "nonsense", "--systems",
                              ",".join(systems)], text=True, capture_output=True, check=False).stderr
    return set(re.search(r"give (.+), or all", refused)[1].split(", ")) - set(systems)


@contextlib.contextmanager
def running(container, folder):
    """The process, and the lines of its log so far."""
    command = [program(container["command"][0]), *container["command"][1:]]
    log = folder / "log"
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                   env=environment(container, folder), cwd="/")
    try:
        yield process, lambda: log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


# --- the programs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", SERVICES, ids=names(SERVICES))
def test_a_service_starts_answers_its_probes_and_ends_in_time(case, tmp_path):
    _, pod, container = case
    with running(container, tmp_path) as (process, log):
        def port():
            assert process.poll() is None, log()
            return re.search(r'"msg":"serving metrics","port":(\d+)', log())
        served = wait_until(port, DEADLINE, "no metrics are served")[1]
        for probe in ("readinessProbe", "livenessProbe"):
            path = container[probe]["httpGet"]["path"]
            try:
                status = HTTP.open(f"http://127.0.0.1:{served}{path}", timeout=5).status
            except urllib.error.HTTPError as error:
                status = error.code
            # No server is there: alive, and not ready.
            assert status == {"readinessProbe": 503, "livenessProbe": 200}[probe], path
        # What is wrong with a setting is said before anything is waited for.
        wait_until(lambda: "resolve" in log() or process.poll() is not None, DEADLINE,
                   "it looks for no server")
        assert "unknown" not in log().replace("Name or service not known", ""), log()
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=pod["terminationGracePeriodSeconds"]) == 0, log()
        assert time.monotonic() - started < pod["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("case", JOBS, ids=names(JOBS))
def test_a_job_gets_as_far_as_its_servers(case, tmp_path):
    _, _, container = case
    recordings = tmp_path / "recordings"
    command = [program(container["command"][0]),
               *(word.replace("/recordings", str(recordings)) for word in container["command"][1:])]
    if command[-1] == str(recordings):
        recordings.mkdir()
        record_to(recordings / "a.avro", [], {topic: id for id, topic in enumerate(TOPICS)})
    if command[-1] == str(recordings) or "--output" in command[1]:
        command.insert(1, "--timeout=5s")
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            env={**environment(container, tmp_path), "PROJECTIONIST_TIMEOUT": "2s"},
                            cwd="/", timeout=DEADLINE, check=False)
    assert re.search(r"cannot connect to Postgres|cannot reach Kafka|registry does not answer",
                     result.stderr), result.stderr
    assert result.returncode == (2 if "verify" in command else 7)


@pytest.mark.parametrize("case", SERVICES + JOBS, ids=names(SERVICES + JOBS))
def test_a_program_has_each_variable_that_it_is_given(case):
    _, _, container = case
    text = re.sub(r"Variable:\s+", "Variable: ", help_of(container))
    known = set(re.findall(r"Variable: (PROJECTIONIST_\w+)", text))
    known |= set(re.findall(r"^ *(PROJECTIONIST_\w+)=", text, re.MULTILINE))
    for name in variables(container):
        if re.match("PROJECTIONIST_(KAFKA|POSTGRES)_", name):
            continue  # librdkafka's or libpq's: the program refuses what those do not know
        assert name.removesuffix("_FILE") in known or name in known, name


def test_each_consumer_has_a_workload_and_a_rebuild():
    consumers = {container["command"][2]: document for document in of_kind("StatefulSet")
                 for container in pod_spec(document)["containers"]}
    rebuilt = {container["command"][2] for _, _, container in JOBS
               if container["command"][1] == "rebuild"}
    assert set(all_consumers()) == set(consumers) == rebuilt


def test_the_chart_has_each_consumer_and_topic_of_every_system():
    values = yaml.safe_load((REPOSITORY / "deploy/helm/projectionist/values.yaml").read_text())
    systems = {consumer["system"] for consumer in values["consumers"]}
    assert {consumer["name"] for consumer in values["consumers"]} == set(all_consumers())
    for system in systems:
        listed = [consumer for consumer in values["consumers"] if consumer["system"] == system]
        assert {consumer["name"] for consumer in listed} == consumers_of(system)
        for consumer in listed:
            said = help_of({"command": ["projectionist", "consume", consumer["name"]]})
            assert set(re.search(r"topics:((?: \S+)+)", said)[1].split()) == set(consumer["topics"])
        assert {topic["name"]: (topic.get("partitions"), topic.get("compacted", False),
                                topic.get("retentionMs"))
                for topic in values["topics"]["items"] if topic["system"] == system} == \
            declared_topics(system)


def test_an_ingest_writes_to_topics_of_its_system_by_keys_of_their_schemas():
    values = yaml.safe_load((REPOSITORY / "deploy/helm/projectionist/values.yaml").read_text())
    for ingest in values["ingests"]:
        assert f"{ingest['system']}.ingest-keys" in declared_topics(ingest["system"])
        for item in ingest["topics"].split():
            topic, _, keys = item.partition("=")
            schema, = (REPOSITORY / "schemas" / topic).glob("*.avsc")
            fields = {field["name"] for field in json.loads(schema.read_text())["fields"]}
            assert set(re.split(r"[|/]", keys)) <= fields, item


def test_the_chart_has_the_version_of_the_program():
    version = subprocess.run([program(COMMAND_PROGRAM), "--version"], text=True, check=True,
                             capture_output=True).stdout.split()[1]
    chart = yaml.safe_load((REPOSITORY / "deploy/helm/projectionist/Chart.yaml").read_text())
    assert (chart["appVersion"], chart["version"]) == (version, version)


# --- ports, time ----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", SERVICES, ids=names(SERVICES))
def test_a_program_listens_where_the_pod_says(case):
    _, _, container = case
    given = variables(container)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports.pop("metrics") == int(given["PROJECTIONIST_METRICS_ADDRESS"].removeprefix(":"))
    for name in ("PROJECTIONIST_GATEWAY_LISTEN", "PROJECTIONIST_INGEST_LISTEN"):
        if name in given:
            assert ports.pop("http") == int(given[name].removeprefix(":"))
    assert not ports
    assert all(container[probe]["httpGet"]["port"] == "metrics"
               for probe in ("readinessProbe", "livenessProbe"))


def test_services_and_monitors_name_ports_and_pods_that_exist():
    pods = [(document["spec"]["template"]["metadata"]["labels"],
             {port["name"] for container in pod_spec(document)["containers"]
              for port in container["ports"]}) for document in of_kind("StatefulSet", "Deployment")]
    pods += [(spec["template"]["metadata"]["labels"], set()) for document in of_kind("Job", "CronJob")
             for spec in [document["spec"].get("jobTemplate", {}).get("spec", document["spec"])]]

    def chosen(selector):
        return [ports for labels, ports in pods if selector.items() <= labels.items()]
    for document in of_kind("Service"):
        wanted = {port["targetPort"] for port in document["spec"]["ports"]}
        found = chosen(document["spec"]["selector"])
        assert len(found) == 1 and wanted <= found[0], document["metadata"]["name"]
    for document in of_kind("PodDisruptionBudget"):
        assert len(chosen(document["spec"]["selector"]["matchLabels"])) == 1
    for document in of_kind("NetworkPolicy"):
        found = chosen(document["spec"]["podSelector"]["matchLabels"])
        wanted = {port["port"] for rule in document["spec"].get("ingress", [])
                  for port in rule["ports"]}
        assert found and all(wanted <= ports for ports in found), document["metadata"]["name"]
    for document in of_kind("PodMonitor"):
        role = {"role": document["spec"]["selector"]["matchExpressions"][0]["values"]}
        found = [ports for value in role["role"]
                 for ports in chosen({**document["spec"]["selector"]["matchLabels"], "role": value})]
        wanted = {endpoint["port"] for endpoint in document["spec"]["podMetricsEndpoints"]}
        assert len(found) == len(SERVICES) and all(wanted <= ports for ports in found)


@pytest.mark.parametrize("case", SERVICES, ids=names(SERVICES))
def test_the_grace_period_is_longer_than_a_stop_may_take(case):
    _, pod, container = case
    stop = int(variables(container)["PROJECTIONIST_SHUTDOWN_TIMEOUT"].removesuffix("s"))
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    # The timeout is waited for twice: for what is under way, then for the brokers.
    assert pod["terminationGracePeriodSeconds"] > 2 * stop + before


# --- Kafka ----------------------------------------------------------------------------------------


def declared_topics(system="*"):
    """{name: (partitions or None, compacted, retention in ms or None)} of a system's source, or of
    all."""
    text = "".join(path.read_text()
                   for path in (REPOSITORY / "src/projections").glob(f"{system}/system.c"))
    found = {}
    for name, rest in re.findall(r'^    \{"([a-z-]+\.[a-z.-]+)"(.*)\},$', text, re.MULTILINE):
        partitions = re.search(r"\.partitions = (\d+)", rest)
        retention = re.search(r"\.retention_ms = (\d+)", rest)
        found[name] = (partitions and int(partitions[1]), ".compacted = true" in rest,
                       retention and int(retention[1]))
    return found


def test_topics_are_as_topics_create_makes_them():
    text = help_of({"command": ["projectionist", "topics", "create"]})
    partitions = int(re.search(r"Default:\s+(\d+)\.\s+Variable:\s+PROJECTIONIST_PARTITIONS", text)[1])
    made = {document["spec"]["topicName"]: document["spec"] for document in of_kind("KafkaTopic")}
    assert made.keys() == declared_topics().keys()
    for name, (own, compacted, retention) in declared_topics().items():
        assert made[name]["partitions"] == (own or partitions)
        assert made[name]["config"] == {
            "cleanup.policy": "compact" if compacted else "delete",
            "retention.ms": retention or -1,
            "retention.bytes": -1, "max.message.bytes": 4 << 20,
            **({"segment.bytes": 16 << 20} if compacted else {})}


def test_consumers_are_scaled_and_let_in_by_the_topics_that_they_read():
    topics = {document["spec"]["topicName"]: document["spec"]["partitions"]
              for document in of_kind("KafkaTopic")}
    workloads = {document["metadata"]["name"]: document for document in of_kind("StatefulSet")}
    scaled = {document["metadata"]["name"]: document["spec"] for document in of_kind("ScaledObject")}
    users = {document["metadata"]["name"]: document["spec"] for document in of_kind("KafkaUser")}
    assert scaled.keys() == workloads.keys()
    for name, document in workloads.items():
        container = pod_spec(document)["containers"][0]
        read = set(re.search(r"topics:((?: \S+)+)", help_of(container))[1].split())
        triggers = [trigger["metadata"] for trigger in scaled[name]["triggers"]]
        assert {trigger["topic"] for trigger in triggers} == read
        assert {trigger["consumerGroup"] for trigger in triggers} == {container["command"][2]}
        assert scaled[name]["maxReplicaCount"] <= min(topics[topic] for topic in read)
        assert scaled[name]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet",
                                                  "name": name}
        allowed = {(acl["resource"]["type"], acl["resource"]["name"])
                   for acl in users[name]["authorization"]["acls"]}
        assert allowed == {("topic", topic) for topic in read} | {("group", container["command"][2])}


# --- what is watched, and what to do --------------------------------------------------------------


def alerts():
    return [rule for document in of_kind("PrometheusRule") for group in document["spec"]["groups"]
            for rule in group["rules"]]


def test_alerts_fire_and_clear(tmp_path):
    """By promtool, at the times that tests/kubernetes/alerts.yml says: each alert is seen off, then
    on, then off again."""
    tests = REPOSITORY / "tests/kubernetes/alerts.yml"
    seen = {}
    for case in yaml.safe_load(tests.read_text())["tests"]:
        for expected in case["alert_rule_test"]:
            states = seen.setdefault(expected["alertname"], [])
            states.append(bool(expected.get("exp_alerts")))
    for rule in alerts():
        assert "010" in "".join(str(int(on)) for on in [False, *seen[rule["alert"]]]), rule["alert"]
    groups, = (document["spec"] for document in of_kind("PrometheusRule"))
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(groups))
    (tmp_path / "alerts.yml").write_text(tests.read_text())
    for command in (["check", "rules", "rules.yml"], ["test", "rules", "alerts.yml"]):
        result = subprocess.run([promtool(), *command], cwd=tmp_path, text=True, capture_output=True,
                                check=False)
        assert result.returncode == 0, result.stdout + result.stderr


def test_the_runbook_has_each_alert_and_each_exit_code():
    sections = re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE)
    assert [rule["alert"] for rule in alerts()] == [name for name in sections
                                                    if name.startswith("Projectionist")]
    for rule in alerts():
        assert rule["annotations"]["runbook_url"].endswith(f"#{rule['alert'].lower()}")
    header = (REPOSITORY / "include/projectionist/error.h").read_text()
    codes = {int(code) for code in re.findall(r"PJ_EXIT_\w+ = (\d+)", header)} - {0}
    assert {int(code) for code in re.findall(r"^### Exit code (\d+)", RUNBOOK, re.MULTILINE)} == codes


def test_the_commands_of_the_runbook_exist():
    code = re.findall(r"`([^`]+)`", RUNBOOK.replace("```", "`"))
    commands = set(re.findall(r"\bprojectionist ([a-z-]+(?: [a-z]+)?)", "\n".join(code)))
    listed = subprocess.run([program(COMMAND_PROGRAM), "help"], check=True, text=True,
                            capture_output=True).stdout
    assert {"status", "rebuild", "dead-letters list"} <= commands
    for words in commands:
        assert re.search(rf"^  {words} ", listed, re.MULTILINE), words


# --- what no pod may do ---------------------------------------------------------------------------


def test_pods_are_restricted():
    for name, pod, container in SERVICES + JOBS:
        security = container["securityContext"]
        assert security == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]}}, name
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 10000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
        assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]
        assert not [key for key in variables(container) if re.search("PASSWORD$|TOKEN$", key)]
    assert not of_kind("Secret", "ConfigMap", "Role", "RoleBinding", "ClusterRole")

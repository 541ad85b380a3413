# SPDX-License-Identifier: Apache-2.0
"""/metrics of real programs that have something to tell: by Prometheus's own checker, and each number
by what happened."""

import base64
import contextlib
import dataclasses
import hashlib
import json
import re
import subprocess
import time
import uuid
from html.parser import HTMLParser

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from lib import bridge, consumers, events, kafka
from lib import gateway as gateway_lib
from lib import ingest as ingest_lib
from lib.automation_service import AutomationService
from lib.bridge import ScriptedService, frame
from lib.consumers import HTTP, REPOSITORY
from lib.events import COMMANDS, TELEMETRY
from lib.gateway import Gateways, command, post
from lib.outbox import new_outbox
from lib.world import PROJECTOR, RECORDER, open_world

NOW = 1_795_237_594_968
HOUR = 3_600_000
RETENTION_BYTES = 2_000_000


@pytest.fixture(scope="module")
def programs(tmp_path_factory, template):
    """{name: a running program} of each kind, after some work and a dead letter each."""
    folder = tmp_path_factory.mktemp("metrics")
    with (open_world(folder, 3, template) as world, AutomationService(speed=1000) as service,
          ScriptedService() as scripted, new_outbox(template) as outbox,
          contextlib.ExitStack() as cleanup):
        bridge.new_topics()
        gateway_lib.new_topics()
        kafka.set_topic(TELEMETRY, retention_ms=str(10 * HOUR), retention_bytes=str(RETENTION_BYTES))
        kafka.set_topic(COMMANDS, cleanup_policy="compact")
        gateways = Gateways(folder, service)
        cleanup.callback(gateways.end)
        gateway = gateways()
        assert post(gateway, command("a")).status == 202
        running = bridge.subscribe(bridge.start(world.consumers, scripted.url))
        scripted.send(frame(NOW, 1), "no frame", frame(NOW, 2, "status.changed",
                      command_id=str(uuid.uuid4()), payload={"status": "RUNNING"}))
        bridge.wait_for_letters(1)
        world.publish([kafka.Record(TELEMETRY, b"key", b"garbage")])
        relay = outbox.relay(world.consumers)
        with outbox.connect() as connection:
            outbox.insert(connection, outbox.topic, "k", {"emitted_at": 1, "number": 1})
            outbox.insert(connection, outbox.topic, "k", {})
        relay.wait_until(lambda: relay.metric("projectionist_outbox_failed_total") == 1)
        ingest_lib.new_topics()
        ingests = ingest_lib.Ingests(folder)
        cleanup.callback(ingests.end)
        ingest = ingests()
        assert ingest_lib.post(ingest, ingest_lib.note()).status == 202
        recorder = world.start(RECORDER)
        projector = world.start(PROJECTOR)
        for consumer in (recorder, projector):
            consumer.wait_until_ready()
        world.wait_for_ends(world.group(RECORDER), TELEMETRY)
        # What is committed is counted after it, and what is left to read is looked at now and then.
        for consumer in (recorder, projector):
            consumer.wait_until(lambda: 0 < consumer.metric("projectionist_assigned_partitions") == sum(
                series.startswith("projectionist_lag_seconds{") for series in consumer.metrics()))
        recorder.world, recorder.group = world, world.group(RECORDER)
        yield {"consumer": recorder, "projector": projector, "gateway": gateway, "bridge": running,
               "relay": relay, "ingest": ingest}
        relay.stop()


@pytest.mark.parametrize("name", ["consumer", "projector", "gateway", "bridge", "relay", "ingest"])
def test_promtool_finds_nothing_wrong(programs, name):
    text = programs[name].get("/metrics")[1]
    result = subprocess.run([consumers.promtool(), "check", "metrics"], input=text, text=True,
                            capture_output=True, check=False)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")
    for line in text.splitlines():
        assert re.match(r'(# |process_|projectionist_\w+\{system="(safari|toy|shop)",)', line), line


def test_labels_say_who_it_is(programs):
    group = programs["consumer"].group
    text = programs["consumer"].get("/metrics")[1]
    assert (f'projectionist_records_total{{system="safari",consumer="event-recorder",'
            f'group="{group}"}}') in text
    for name, label in (("gateway", 'gateway="default"'), ("bridge", 'bridge="telemetry-bridge"')):
        assert f'_bucket{{system="safari",{label},' in programs[name].get("/metrics")[1], name
    for program in programs.values():
        version = subprocess.run([consumers.program("projectionist"), "--version"], text=True,
                                 capture_output=True, check=True).stdout.split()[1]
        labels = f'version="{version}",projectionist_version="{version}"'
        assert program.metrics()[f"projectionist_build_info{{{labels}}}"] == 1


def test_each_stage_of_a_batch_is_timed(programs):
    metrics = programs["projector"].metrics()
    for stage in ("fetch", "decode", "load", "fold", "write", "commit"):
        labels = f'{{stage="{stage}"}}'
        assert metrics[f"projectionist_batch_stage_seconds_count{labels}"] >= 1, stage
        assert metrics[f"projectionist_batch_stage_seconds_sum{labels}"] > 0, stage
    spent = sum(metrics[f'projectionist_batch_stage_seconds_sum{{stage="{stage}"}}']
                for stage in ("load", "fold", "write", "commit"))
    assert spent <= metrics["projectionist_batch_seconds_sum"]


def test_rows_are_counted_by_table_and_kind(programs):
    projector = programs["projector"].metrics()
    rows = {re.search('table="([^"]+)",kind="([^"]+)"', name).groups(): value
            for name, value in projector.items() if name.startswith("projectionist_rows_total")}
    assert rows["safari_commands", "insert"] >= 1
    assert {kind for table, kind in rows if table == "safari_commands"} == {"insert", "update", "delete"}
    recorder = programs["consumer"]
    assert recorder.metric('projectionist_rows_total{table="safari_events",kind="insert"}') == 2
    assert ('projectionist_rows_total{table="safari_events",kind="update"}'
            not in recorder.metrics()), "an append table has no updates"


def test_dead_letters_are_counted_by_reason(programs):
    recorder = programs["consumer"].metrics()
    letters = {name: value for name, value in recorder.items() if "dead_letters" in name}
    assert letters == {f'projectionist_dead_letters_total{{reason="{reason}"}}': reason == "decode"
                       for reason in ("decode", "observe", "rows", "postgres")}
    assert programs["bridge"].metric(
        'projectionist_bridge_dead_letters_total{reason="frame"}') == 1
    assert programs["bridge"].metric(
        'projectionist_bridge_dead_letters_total{reason="kafka"}') == 0


def test_ownership_is_shown(programs):
    recorder = programs["consumer"]
    epochs = {name: value for name, value in recorder.metrics().items() if "epoch" in name}
    rows = recorder.world.database.execute(
        "SELECT topic, partition, epoch FROM projectionist.consumer_offsets WHERE consumer_group = %s",
        [recorder.group]).fetchall()
    stored = {f'projectionist_partition_epoch{{topic="{row["topic"]}",partition="{row["partition"]}"}}':
              row["epoch"] for row in rows}
    assert epochs == stored and len(epochs) == 3
    assert recorder.metric('projectionist_rebalances_total{kind="assign"}') >= 1
    assert recorder.metric("projectionist_stream_time_seconds") == pytest.approx(
        NOW / 1000, abs=60 * 86400)


# --- how far behind -------------------------------------------------------------------------------


def partition_of(recorder, number):
    return f'{{topic="{TELEMETRY}",partition="{number}"}}'


def test_retention_is_known_of_topics_that_have_one(programs):
    recorder = programs["consumer"]
    name = "projectionist_retention_used_ratio"
    recorder.wait_until(lambda: [recorder.metrics().get(name + partition_of(recorder, n))
                                 for n in range(3)] == [0, 0, 0])


def test_what_is_unread_has_an_age(programs):
    """A lock on the table keeps the consumer from committing a record that happened an hour ago and
    was written to Kafka nine hours ago, of ten that it is kept."""
    recorder = programs["consumer"]
    happened = int((time.time() - 3600) * 1e6)
    written = int(time.time() * 1000) - 9 * HOUR
    event = events.telemetry("too late", happened, payload={})
    record = recorder.world.record(event, partition=1)
    lag, seconds, used = (f"projectionist_{name}{partition_of(recorder, 1)}"
                          for name in ("lag_records", "lag_seconds", "retention_used_ratio"))
    assert recorder.metric(seconds) == 0
    with recorder.world.database.transaction():
        recorder.world.database.execute("LOCK TABLE safari_events")
        kafka.produce([dataclasses.replace(record, timestamp=written)])
        recorder.wait_until(lambda: recorder.metric(lag) == 1)
        recorder.wait_until(lambda: 3600 <= recorder.metric(seconds) < 3700)
        assert 0.9 <= recorder.metric(used) < 0.91
    recorder.wait_until(lambda: (recorder.metric(lag), recorder.metric(seconds),
                                 recorder.metric(used)) == (0, 0, 0))


def test_what_is_unread_has_a_size(programs):
    """The same with ten records that have nine tenths of what the topic keeps by size."""
    recorder = programs["consumer"]
    now = int(time.time() * 1e6)
    payload = {"text": "x" * (RETENTION_BYTES * 9 // 100)}
    lag, used = (f"projectionist_{name}{partition_of(recorder, 2)}"
                 for name in ("lag_records", "retention_used_ratio"))
    with recorder.world.database.transaction():
        recorder.world.database.execute("LOCK TABLE safari_events")
        recorder.world.publish([events.telemetry("large", now + n, payload=payload)
                                for n in range(10)], partition=2)
        recorder.wait_until(lambda: recorder.metric(lag) == 10)
        recorder.wait_until(lambda: 0.6 <= recorder.metric(used) <= 0.95)
    recorder.wait_until(lambda: (recorder.metric(lag), recorder.metric(used)) == (0, 0))


# --- what is asked of them ------------------------------------------------------------------------

# What Prometheus and the PodMonitor add to each series.
TARGET = {"job", "instance", "namespace", "pod", "workload"}
OTHERS = {"up", "kube_job_failed", "kube_job_status_active", "kube_job_status_start_time"}


def queries():
    """(where, a PromQL expression) of each alert and of each panel."""
    monitoring = (REPOSITORY / "deploy/kubernetes/components/monitoring/monitoring.yaml").read_text()
    for document in yaml.safe_load_all(monitoring):
        for group in document["spec"].get("groups", []):
            yield from ((rule["alert"], rule["expr"]) for rule in group["rules"])
    for path in sorted((REPOSITORY / "deploy/grafana").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            yield from ((f"{path.name}: {panel['title']}", target["expr"])
                        for target in panel.get("targets", []))


def emitted(programs):
    """{name: the labels of its series}"""
    found = {}
    for program in programs.values():
        for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", program.get("/metrics")[1], re.MULTILINE):
            found.setdefault(name, set()).update(re.findall(r'(?:^|,)(\w+)="', labels))
    return found


def test_alerts_and_dashboards_ask_for_what_is_there(programs, tmp_path):
    known = emitted(programs)
    # It is only there once Kafka has refused something, which test_refusals.py sees to.
    known["projectionist_kafka_refusals_total"] = {"system", "error"}
    rules = []
    for where, query in queries():
        used = set(re.findall(r"\b(?:projectionist|process|kube)_\w+|\bup\b", query))
        assert used, where
        labels = TARGET.copy()
        for name in used - OTHERS:
            assert name in known, f"{where}: nobody emits {name}"
            labels |= known[name]
        if used & OTHERS:
            labels |= {"job_name", "condition"}
        named = set(re.findall(r'[{,]\s*(\w+)\s*(?:=~|!=|!~|=)\s*"', query))
        for listed in re.findall(r"\b(?:by|on|group_left|without)\s*\(([^)]*)\)", query):
            named |= {label.strip() for label in listed.split(",")} - {"", "le"}
        assert named <= labels, f"{where}: no {named - labels} in {used}"
        rules.append({"record": f"panel:{len(rules)}",
                      "expr": query.replace("$__rate_interval", "1m")})
    # That each is PromQL, Prometheus says.
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
    result = subprocess.run([consumers.promtool(), "check", "rules", "--lint=none", "rules.yml"],
                            cwd=tmp_path, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_dashboards_are_as_they_are_made():
    result = subprocess.run([REPOSITORY / "deploy/grafana/render", "--check"], text=True,
                            capture_output=True, check=False)
    assert (result.returncode, result.stdout) == (0, ""), result.stdout


@pytest.mark.parametrize("path", sorted((REPOSITORY / "deploy/grafana").glob("*.json")),
                         ids=lambda path: path.stem)
def test_grafana_knows_each_member_of_the_dashboards(path):
    """Read and written again by Grafana's own types, which leave out what they do not know."""
    dashboard = json.loads(path.read_text())
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))

    def lost(ours, theirs, where):
        if isinstance(ours, dict):
            for key, value in ours.items():
                assert key in theirs, f"{where}.{key}"
                lost(value, theirs[key], f"{where}.{key}")
        elif isinstance(ours, list):
            assert len(ours) == len(theirs), where
            for number, (one, other) in enumerate(zip(ours, theirs)):
                lost(one, other, f"{where}[{number}]")
        else:
            assert ours == theirs, where
    lost(dashboard, again, path.stem)
    places = [(panel["gridPos"]["y"], panel["gridPos"]["x"]) for panel in dashboard["panels"]]
    assert places == sorted(places) and len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in dashboard["panels"])


# --- the page for people --------------------------------------------------------------------------


class Page(HTMLParser):
    """What a browser would fetch for it, and whether its elements are closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.fetched, self.style, self.cells = [], [], "", []
        self.feed(text)
        assert self.open == [], "not closed"

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            assert not name.startswith("on") and name != "style", (tag, name)
            if name in ("src", "href", "srcset", "action", "data"):
                self.fetched.append((tag, value))
        assert tag not in ("script", "iframe", "object", "embed", "link", "img")
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        elif self.open and self.open[-1] in ("td", "h1"):
            self.cells.append(data)


@pytest.mark.parametrize("name", ["consumer", "projector", "gateway", "bridge", "relay"])
def test_the_page_is_whole_and_safe(programs, name):
    """Its cases are in test_status_page.c, what it looks like in tests/pages."""
    with HTTP.open(f"http://127.0.0.1:{programs[name].port}/", timeout=5) as answer:
        fields, text = dict(answer.headers), answer.read().decode()
    page = Page(text)
    assert fields["Content-Type"] == "text/html; charset=utf-8"
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert fields["Content-Security-Policy"].startswith(
        f"default-src 'none'; style-src 'sha256-{digest}'; ")
    assert fields["X-Content-Type-Options"] == "nosniff" and fields["Cache-Control"] == "no-store"
    assert {value for _, value in page.fetched} == {"metrics", "readyz"}
    assert page.cells[0].startswith("Well")
    if name == "consumer":
        assert page.cells[0] == "Well, but 1 refused" and "decode" in page.cells
        assert page.cells.count(TELEMETRY) == 3
    assert len(text) < 20_000

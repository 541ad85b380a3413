# SPDX-License-Identifier: Apache-2.0
"""The trace of a request, from the gateway through records into logs, dead letters and spans; and
the bridge's. Spans are read by OpenTelemetry's own messages."""

import base64
import contextlib
import http.server
import json
import re
import threading
import uuid

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lib import bridge, consumers, kafka
from lib import gateway as gateway_lib
from lib.automation_service import AutomationService
from lib.bridge import ScriptedService, frame
from lib.database import wait_until
from lib.events import COMMANDS, TELEMETRY
from lib.gateway import Gateways, command, post
from lib.world import RECORDER

NOW = 1_795_237_594_968
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(http.server.ThreadingHTTPServer):
    """Takes spans as a collector does; `answer` is its status, None: it never answers."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.spans, self.answer, self.silent = [], 200, threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def named(self, name):
        return [span for span in self.spans if span["name"] == name]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.answer is None:
            self.server.silent.wait(60)
            return
        if self.server.answer == 200:
            assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/json")
            self.server.spans += decode(body)
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, *_):
        pass


def decode(body):
    """Its spans, each a dict. An unknown member or a wrong type raises; ids are in hex in OTLP, where
    protobuf's JSON has base64."""
    def to_base64(found):
        return '"%s":"%s"' % (found[1], base64.b64encode(bytes.fromhex(found[2])).decode())
    text = re.sub(r'"(traceId|spanId|parentSpanId)":"([0-9a-f]*)"', to_base64, body.decode())
    request = json_format.Parse(text, ExportTraceServiceRequest())
    made = []

    def values(attributes):
        return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                assert len(span.trace_id) == 16 and len(span.span_id) == 8
                assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
                made.append({"name": span.name, "trace": span.trace_id.hex(), "id": span.span_id.hex(),
                             "parent": span.parent_span_id.hex(), "kind": span.kind,
                             "attributes": values(span.attributes), "failed": span.status.code == 2,
                             "links": [link.trace_id.hex() for link in span.links],
                             "resource": values(resource.resource.attributes)})
    return made


@pytest.fixture
def collector():
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.silent.set()
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def gateways(folder, **variables):
    gateway_lib.new_topics()
    with AutomationService(speed=1000) as service:
        started = Gateways(folder, service)
        gateway = started(**variables)
        gateway.service = service
        yield gateway
        started.end()


def send(gateway, key):
    """As clients do it: again, where Kafka is slow."""
    return wait_until(lambda: post(gateway, command(key)).status == 202, 60)


def traces_of(topic):
    """{key: the trace_id and the rest of traceparent} of its records."""
    found = {}
    for record in kafka.read(topic):
        headers = dict(record.headers)
        _, trace, span, flags = headers["traceparent"].decode().split("-")
        found.setdefault(record.key.decode(), []).append((trace, span, flags))
    return found


def test_a_request_of_a_trace(tmp_path, collector):
    with gateways(tmp_path, OTLP_ENDPOINT=collector.url + "/") as gateway:
        answer = post(gateway, command("a"), headers={"traceparent": f"00-{TRACE}-{SPAN}-01",
                                                          "tracestate": "vendor=1"})
        assert answer.status == 202
        own = post(gateway, command("b"), headers={"traceparent": f"00-{TRACE.upper()}-{SPAN}-01",
                                                       "tracestate": "vendor=1"})
        unsampled = post(gateway, command("c"), headers={"traceparent": f"00-{TRACE}-{SPAN}-00"})
        span, other = wait_until(
            lambda: len(collector.named("POST command")) == 2 and collector.named("POST command"), 30)
        traces = traces_of(COMMANDS)
        passed_on = [{name.lower(): value for name, value in headers.items()}
                     for method, _, headers, _ in gateway.service.requests if method == "POST"]
    submitted = traces[answer.json["command_id"]]
    assert {trace for trace, _, _ in submitted} == {TRACE}
    assert {flags for _, _, flags in submitted} == {"01"}
    assert (span["trace"], span["parent"], span["kind"], span["failed"]) == (TRACE, SPAN, 2, False)
    assert span["id"] in {one for _, one, _ in submitted}, "the record is of the gateway's span"
    assert [headers["traceparent"] for headers in passed_on][:2] == [
        f"00-{TRACE}-{span['id']}-01", f"00-{other['trace']}-{other['id']}-01"]
    assert ["tracestate" in headers for headers in passed_on] == [True, False, False]
    assert span["attributes"] == {"http.request.method": "POST", "http.route": "command",
                                  "http.response.status_code": 202}
    assert span["resource"]["service.name"] == "control-gateway"
    assert span["resource"]["system"] == "safari"
    assert other["trace"] != TRACE and other["parent"] == "", "an invalid one counts as none"
    assert traces[own.json["command_id"]][0][0] == other["trace"]
    assert traces[unsampled.json["command_id"]][0][::2] == (TRACE, "00"), "carried, not recorded"


def test_a_dead_letter_names_its_trace(world, collector):
    world.publish([kafka.Record(TELEMETRY, b"key", b"garbage", partition=0,
                                headers=[("traceparent", f"00-{TRACE}-{SPAN}-01".encode())]),
                   kafka.Record(TELEMETRY, b"key", b"garbage", partition=0,
                                headers=[("traceparent", b"00-nonsense-01"), ("traceparent", None)]),
                   kafka.Record(TELEMETRY, b"key", b"garbage", partition=0)])
    consumer = world.start(RECORDER, OTLP_ENDPOINT=collector.url)
    consumer.wait_until(lambda: len(consumer.logged('msg="dead letter"')) == 3)
    lines = consumer.logged('msg="dead letter"')
    assert [f"trace_id={TRACE}" in line for line in lines] == [True, False, False]
    assert ["trace_id" in line for line in lines] == [True, False, False]
    headers = world.value("SELECT headers FROM projectionist.dead_letters WHERE record_offset = 0")
    assert f"00-{TRACE}-{SPAN}-01".encode().hex() in json.dumps(headers)
    span, = wait_until(lambda: collector.named("commit"), 30)
    assert (span["kind"], span["links"]) == (5, [TRACE])
    assert span["attributes"] == {
        "messaging.system": "kafka", "messaging.consumer.group.name": world.group(RECORDER),
        "messaging.batch.message_count": 3, "projectionist.dead_letters": 3}
    assert span["resource"]["consumer"] == RECORDER
    consumer.wait_until(lambda: consumer.metric("projectionist_spans_sent_total") == 1)


def test_a_frame_has_the_trace_of_its_id(world, collector):
    """So that a frame which is published again is of the same trace."""
    bridge.new_topics()
    with ScriptedService() as scripted:
        running = bridge.subscribe(bridge.start(world.consumers, scripted.url,
                                                OTLP_ENDPOINT=collector.url))
        one = frame(NOW, 1, "status.changed", command_id=str(uuid.uuid4()),
                    payload={"status": "RUNNING"})
        scripted.send(one, "no frame")
        bridge.wait_for_letters(1)
        trace = uuid.UUID(one["event_id"]).hex
        for topic in (TELEMETRY, COMMANDS):
            (found,), = traces_of(topic).values()
            assert found == (trace, trace[16:], "01")
        letter, = bridge.letters()
        assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", letter[1]["traceparent"])
        wait_until(lambda: trace in [link for span in collector.named("publish telemetry")
                                     for link in span["links"]], 30)
        assert running.metric("projectionist_spans_dropped_total") == 0


def test_what_a_busy_collector_does_not_take_is_sent_again(tmp_path, collector):
    collector.answer = 503
    with gateways(tmp_path, OTLP_ENDPOINT=collector.url) as gateway:
        send(gateway, "first")
        gateway.wait_for_log("the collector does not take spans")
        collector.answer = 200
        gateway.wait_until(lambda: gateway.metric("projectionist_spans_sent_total") == 1)
        assert len(collector.named("POST command")) == len(collector.spans) == 1
        assert gateway.metric("projectionist_spans_dropped_total") == 0


@pytest.mark.parametrize("what", ["refuses", "is away", "never answers"])
def test_a_collector_in_trouble_harms_nobody(tmp_path, collector, what):
    """The log says once that spans are dropped; those that are refused for good are at once, all
    others at the latest at the end, for which nobody waits."""
    url = "http://127.0.0.1:9" if what == "is away" else collector.url  # where nobody listens
    collector.answer = {"refuses": 400, "never answers": None}.get(what)
    with gateways(tmp_path, OTLP_ENDPOINT=url) as gateway:
        for number in range(5):
            send(gateway, str(number))
        gateway.wait_for_log("the collector does not take spans")
        if what == "refuses":
            gateway.wait_until(lambda: gateway.metric(
                'projectionist_spans_dropped_total{reason="collector"}') > 0)
        assert gateway.metric("projectionist_spans_sent_total") == 0
        assert len(gateway.logged("the collector does not take spans")) == 1
        send(gateway, "last")


def test_an_endpoint_that_is_none():
    for url in ("ftp://127.0.0.1", "127.0.0.1:4318"):
        result = consumers.run("telemetry-bridge", "--otlp-endpoint", url)
        assert result.returncode == 2 and "--otlp-endpoint" in result.stderr and url in result.stderr

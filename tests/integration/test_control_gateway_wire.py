# SPDX-License-Identifier: Apache-2.0
"""What control-gateway takes for HTTP, byte by byte: whatever two servers could understand in two
ways is refused, in both directions, and nothing gets to the service that was not published."""

import json
import re
import socket
import threading

import pytest
from lib import gateway as gateway_lib
from lib.automation_service import AutomationService
from lib.gateway import Gateways, command, new_id, post, published, request

pytestmark = pytest.mark.usefixtures("topics")


@pytest.fixture(scope="module")
def topics():
    gateway_lib.new_topics()


@pytest.fixture(scope="module")
def service():
    with AutomationService(speed=1000) as service:
        yield service


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, topics, service):
    gateways = Gateways(tmp_path_factory.mktemp("gateway"), service)
    yield gateways()
    gateways.end()


class Service:
    """A raw service: keeps what it received on each connection, and sends the bytes it is given."""

    def __init__(self, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", reads=True):
        self.answer, self.got, self.reads = answer, [], reads
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            with connection:
                data = b""
                while self.reads and b"\r\n\r\n" not in data:
                    if not (more := connection.recv(65536)):
                        break
                    data += more
                head, _, body = data.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
                while length and len(body) < int(length[1]):
                    body += connection.recv(65536)
                self.got.append((head, body))
                connection.sendall(self.answer)

    def close(self):
        self.listening.close()


@pytest.fixture(scope="module")
def raw_service():
    service = Service()
    yield service
    service.close()


@pytest.fixture(scope="module")
def raw_gateway(tmp_path_factory, topics, raw_service):
    gateways = Gateways(tmp_path_factory.mktemp("raw"), raw_service)
    yield gateways(GATEWAY_ID="raw")
    gateways.end()


def exchange(gateway, *parts, timeout=30):
    """Sends bytes as they are, and gives back all until the gateway closes the connection."""
    with socket.create_connection(("127.0.0.1", gateway.api), timeout=timeout) as connection:
        for part in parts:
            connection.sendall(part)
        received = b""
        while data := connection.recv(65536):
            received += data
        return received


def statuses(received):
    """Of the answers that came."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", received)]


LINE = b"POST /v1/x HTTP/1.1\r\n"
HOST = b"Host: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

# The head, without its empty line; what follows it looks like another request.
MALFORMED_HEADS = {
    "blank before the colon": LINE + HOST + b"X-Any : 1\r\n",
    "tab before the colon": LINE + HOST + b"X-Any\t: 1\r\n",
    "blank before the colon of the length": LINE + HOST + b"Content-Length : %d\r\n",
    "folded field": LINE + HOST + b"X-Any: 1\r\n 2\r\n",
    "folded first field": LINE + b" X: 1\r\n" + HOST,
    "folded by a tab": LINE + HOST + b"Transfer-Encoding:\r\n\tchunked\r\n",
    "bare line feed": LINE + b"Host: x\nX-Any: 1\r\n",
    "bare line feeds only": LINE.replace(b"\r\n", b"\n") + b"Host: x\n",
    "bare carriage return in a value": LINE + HOST + b"X-Any: 1\rX: 2\r\n",
    "bare carriage return in a name": LINE + HOST + b"X\rContent-Length: 0\r\n",
    "two carriage returns": LINE + b"Host: x\r\r\n",
    "NUL in a value": LINE + HOST + b"X-Any: a\0b\r\n",
    "NUL in a name": LINE + HOST + b"X\0Any: a\r\n",
    "control byte in a value": LINE + HOST + b"X-Any: a\x01b\r\n",
    "delete in a value": LINE + HOST + b"X-Any: a\x7f\r\n",
    "vertical tab before a value": LINE + HOST + b"Transfer-Encoding:\x0bchunked\r\n",
    "empty name": LINE + HOST + b": 1\r\n",
    "no colon": LINE + HOST + b"X-Any\r\n",
    "name with a bracket": LINE + HOST + b"X(y): 1\r\n",
    "name with a quote": LINE + HOST + b'"X": 1\r\n',
    "name that is not ASCII": LINE + HOST + b"X\xc3\xa4: 1\r\n",
    "two lengths": LINE + HOST + b"Content-Length: 0\r\nContent-Length: %d\r\n",
    "two equal lengths": LINE + HOST + b"Content-Length: 5\r\ncontent-length: 5\r\n",
    "a list of lengths": LINE + HOST + b"Content-Length: 5, 5\r\n",
    "length with a sign": LINE + HOST + b"Content-Length: +5\r\n",
    "negative length": LINE + HOST + b"Content-Length: -5\r\n",
    "hexadecimal length": LINE + HOST + b"Content-Length: 0x5\r\n",
    "length with a fraction": LINE + HOST + b"Content-Length: 5.0\r\n",
    "length with a blank": LINE + HOST + b"Content-Length: 1 0\r\n",
    "length that is too long": LINE + HOST + b"Content-Length: 18446744073709551617\r\n",
    "empty length": LINE + HOST + b"Content-Length:\r\n",
    "length that is not a number": LINE + HOST + b"Content-Length: five\r\n",
    "length and chunks": LINE + HOST + b"Content-Length: 5\r\n" + CHUNKED,
    "chunks and length": LINE + HOST + CHUNKED + b"Content-Length: 0\r\n",
    "two transfer encodings": LINE + HOST + CHUNKED + CHUNKED,
    "unknown transfer encoding": LINE + HOST + b"Transfer-Encoding: xchunked\r\n",
    "identity": LINE + HOST + b"Transfer-Encoding: identity\r\n",
    "compressed chunks": LINE + HOST + b"Transfer-Encoding: gzip, chunked\r\n",
    "chunked twice in one": LINE + HOST + b"Transfer-Encoding: chunked, chunked\r\n",
    "quoted chunked": LINE + HOST + b'Transfer-Encoding: "chunked"\r\n',
    "chunked with a parameter": LINE + HOST + b"Transfer-Encoding: chunked;a=b\r\n",
    "empty transfer encoding": LINE + HOST + b"Transfer-Encoding:\r\n",
    "chunks in HTTP/1.0": b"POST /v1/x HTTP/1.0\r\n" + HOST + CHUNKED,
    "two hosts": LINE + HOST + b"Host: y\r\n",
    "two equal hosts": LINE + HOST + HOST,
    "no host": LINE + b"X-Any: 1\r\n",
    "empty host": LINE + b"Host:\r\n",
    "host with a path": LINE + b"Host: x/y\r\n",
    "host with a user": LINE + b"Host: a@x\r\n",
    "list of hosts": LINE + b"Host: x, y\r\n"[:-2] + b" z\r\n",
    "blank before the method": b" " + LINE + HOST,
    "two blanks before the target": b"POST  /v1/x HTTP/1.1\r\n" + HOST,
    "tab before the target": b"POST\t/v1/x HTTP/1.1\r\n" + HOST,
    "two blanks before the version": b"POST /v1/x  HTTP/1.1\r\n" + HOST,
    "blank after the version": b"POST /v1/x HTTP/1.1 \r\n" + HOST,
    "blank in the target": b"POST /v1/x y HTTP/1.1\r\n" + HOST,
    "method that is no token": b"PO(ST /v1/x HTTP/1.1\r\n" + HOST,
    "empty method": b" /v1/x HTTP/1.1\r\n" + HOST,
    "HTTP/0.9": b"GET /v1/x\r\n",
    "HTTP/1.2": b"GET /v1/x HTTP/1.2\r\n" + HOST,
    "HTTP/2": b"PRI * HTTP/2.0\r\n",
    "small letters of HTTP": b"GET /v1/x http/1.1\r\n" + HOST,
    "version of two digits": b"GET /v1/x HTTP/1.10\r\n" + HOST,
    "two empty lines first": b"\r\n\r\n" + LINE + HOST,
    "target without a slash": b"GET v1/x HTTP/1.1\r\n" + HOST,
    "target of a proxy's tunnel": b"CONNECT x:80 HTTP/1.1\r\n" + HOST,
    "star": b"POST * HTTP/1.1\r\n" + HOST,
    "target of another host": b"POST http://y/v1/x HTTP/1.1\r\n" + HOST,
    "target with a user": b"POST http://x@y/v1/x HTTP/1.1\r\nHost: x@y\r\n",
    "target of another scheme": b"POST ftp://x/v1/x HTTP/1.1\r\n" + HOST,
    "fragment": b"POST /v1/x#y HTTP/1.1\r\n" + HOST,
    "backslash": b"POST /v1\\x HTTP/1.1\r\n" + HOST,
    "escape that is none": b"POST /v1/%zz HTTP/1.1\r\n" + HOST,
    "truncated escape": b"POST /v1/%4 HTTP/1.1\r\n" + HOST,
    "target that is not ASCII": b"POST /v1/\xc3\xa4 HTTP/1.1\r\n" + HOST,
    "Connection that is no list": LINE + HOST + b"Connection: close/1\r\n",
}

# Bodies in chunks, up to where they are wrong.
MALFORMED_CHUNKS = {
    "no size": b"\r\nhello\r\n",
    "sign": b"+5\r\nhello\r\n",
    "prefix": b"0x5\r\nhello\r\n",
    "blank before the size": b" 5\r\nhello\r\n",
    "blank after the size": b"5 \r\nhello\r\n",
    "junk after the size": b"5h\r\nhello\r\n",
    "overflow": b"10000000000000005\r\nhello\r\n",
    "many zeros": b"0" * 40 + b"5\r\nhello\r\n",
    "negative": b"-1\r\nhello\r\n",
    "bare line feed after the size": b"5\nhello\r\n",
    "bare carriage return after the size": b"5\rhello\r\n",
    "bare line feed in an extension": b"5;a\nhello\r\n",
    "control byte in an extension": b"5;a\0\r\nhello\r\n",
    "long extension": b"5;" + b"a" * 20000 + b"\r\nhello\r\n",
    "bare line feed after the data": b"5\r\nhello\n0\r\n\r\n",
    "data that is longer": b"5\r\nhello!\r\n0\r\n\r\n",
    "data that is shorter": b"6\r\nhello\r\n0\r\n\r\n",
    "trailer without a colon": b"0\r\nX\r\n\r\n",
    "folded trailer": b"0\r\nX: 1\r\n 2\r\n\r\n",
    "blank before the colon of a trailer": b"0\r\nX : 1\r\n\r\n",
    "bare line feed in a trailer": b"0\r\nX: 1\n\r\n",
    "long trailers": b"0\r\n" + b"X: 1\r\n" * 5000 + b"\r\n",
}


def smuggled():
    """A request that would be executed, and its command's id."""
    command_id = new_id()
    body = json.dumps({"type": "flow.run", "command_id": command_id}).encode()
    return (b"POST /v1/commands HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body), command_id


def expect_refused(gateway, service, data, **options):
    executed, got = dict(service.executions), len(service.requests)
    received = exchange(gateway, data, **options)
    assert statuses(received) == [400], received
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"\r\nConnection: close" in head and json.loads(body)["error"], received
    assert service.executions == executed and len(service.requests) == got


def test_what_is_not_strictly_http_is_refused(gateway, service):
    before = gateway.metric("projectionist_gateway_malformed_requests_total")
    for name, head in MALFORMED_HEADS.items():
        inner, _ = smuggled()
        if b"%d" in head:
            head = head % len(inner)
        try:
            expect_refused(gateway, service, head + b"\r\n" + inner)
        except AssertionError as failure:
            raise AssertionError(name) from failure
    assert not published()
    after = gateway.metric("projectionist_gateway_malformed_requests_total")
    assert after - before == len(MALFORMED_HEADS)


def test_what_are_not_strictly_chunks_is_refused(gateway, service):
    for path in (b"/v1/x", b"/v1/commands"):
        for name, chunks in MALFORMED_CHUNKS.items():
            inner, _ = smuggled()
            head = LINE.replace(b"/v1/x", path) + HOST + CHUNKED
            try:
                expect_refused(gateway, service, head + b"\r\n" + chunks + inner)
            except AssertionError as failure:
                raise AssertionError(f"{name} {path}") from failure
    assert not published()


def test_a_request_is_refused_as_soon_as_that_is_sure(gateway):
    """Not when its time is over: what is wrong may never come to an end."""
    for beginning in (b"GET /v1/x\r\n", b"POST /v1/x HTTP/1.1\n", b"GET /\0", b"\x16\x03\x01\x02",
                      LINE + b"Host: x\nX", LINE + HOST + b"A: \r1"):
        assert statuses(exchange(gateway, beginning, timeout=5)) == [400], beginning


def test_too_long_is_named(gateway):
    assert statuses(exchange(gateway, b"GET /" + b"x" * 20000)) == [414]
    assert statuses(exchange(gateway, LINE + b"X: " + b"x" * 20000)) == [431]
    assert statuses(exchange(gateway, LINE + b"X: 1\r\n" * 5000)) == [431]
    assert statuses(exchange(gateway, LINE + HOST + b"Expect: magic\r\n\r\n")) == [417]


def test_what_is_right_is_answered_however_it_arrives(gateway, service):
    body = json.dumps(command()).encode()
    head = b"POST /v1/commands HTTP/1.1\r\nHost: x\r\n"
    last = b"Connection: close\r\n"
    whole = head + b"Content-Length: %d\r\n" % len(body) + last + b"\r\n" + body
    half = len(body) // 2
    for data in (
            whole,
            b"\r\n" + whole,  # one empty line is to be passed over
            whole.replace(b"/v1/commands", b"http://X/v1/commands", 1),  # as a proxy is asked
            whole.replace(b"Host: x", b"HOST:\tx \t"),
            head + CHUNKED.replace(b"chunked", b"Chunked") + last + b"\r\n"
            + b"%X;a=b;c=\"d e\"\r\n%s\r\n%04x\r\n%s\r\n000\r\nX-T: 1\r\n\r\n" % (
                half, body[:half], len(body) - half, body[half:])):
        assert statuses(exchange(gateway, data)) == [202], data
        assert statuses(exchange(gateway, *(data[i:i + 1] for i in range(len(data))))) == [202]
    # Pipelined, and the last of them is wrong.
    more = whole.replace(last, b"")
    assert statuses(exchange(gateway, more * 3 + b"rubbish\r\n\r\n")) == [202, 202, 202, 400]
    assert statuses(exchange(gateway, b"GET /health HTTP/1.0\r\n\r\n")) == [200]


def test_a_client_that_expects_100_continue_gets_it(gateway, service):
    body = json.dumps(command()).encode()
    head = (b"POST /v1/commands HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n")
    with socket.create_connection(("127.0.0.1", gateway.api), timeout=30) as connection:
        connection.sendall(head % len(body))
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 202 ")
    assert statuses(exchange(gateway, head % (10 << 20))) == [413]  # without the body


def test_paths_that_servers_read_in_two_ways(gateway, service):
    """Whatever a server may take for the path of commands is published."""
    for number, path in enumerate(("/v1/commands;a=b", "/;x/v1;y/commands", "/v1/commands/;z",
                                   "/v1/commands%3Bx")):
        key = f"path-{number}"
        assert request(gateway.api, "POST", path, command(key)).status == 202, path
        assert [event for event in published() if event["body"][1]["idempotency_key"] == key]
    for path in ("/v1/..;/v1/commands", "/v1/commands%00", "/v1/%2e/commands", "/v1/commands%23x",
                 "/v1/commands%20"):
        got = len(service.requests)
        assert request(gateway.api, "POST", path, command()).status == 400, path
        assert len(service.requests) == got


def test_what_belongs_to_a_connection_is_not_passed_on(raw_gateway, raw_service):
    raw_service.answer = (
        b"HTTP/1.1 200 OK\r\nConnection: X-Hop, keep-alive\r\nConnection: x-other\r\n"
        b"X-Hop: 1\r\nX-OTHER: 2\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n"
        b"Trailer: X\r\nUpgrade: h2c\r\nX-Own: 3\r\nContent-Length: 2\r\n\r\nok")
    received = exchange(
        raw_gateway,
        b"POST /v1/x HTTP/1.1\r\nHost: own.example\r\nConnection: close, X-Hop\r\n"
        b"Connection: Upgrade, x-other\r\nX-Hop: 1\r\nX-Other: 2\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
        b"Trailer: X\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\nProxy-Connection: close\r\n"
        b"Proxy-Authorization: Basic eA==\r\nContent_Length: 0\r\nTransfer_Encoding: chunked\r\n"
        b"X-HTTP-Method-Override: DELETE\r\nX-Original-URL: /v1/commands\r\nX-Own: 3\r\n"
        b"X-Own: 4\r\nTransfer-Encoding: chunked\r\n\r\n2;e\r\nab\r\n0\r\nX-Late: 1\r\n\r\n")
    assert statuses(received) == [200] and received.endswith(b"\r\n\r\nok")
    fields = {line.split(b":")[0].lower() for line in received.split(b"\r\n\r\n")[0].split(b"\r\n")}
    assert fields == {b"http/1.1 200 ok", b"date", b"x-own", b"content-length", b"connection"}
    head, body = raw_service.got[-1]
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /v1/x HTTP/1.1" and body == b"ab"
    fields = sorted(line.split(b":")[0].lower() for line in lines[1:])
    # A request without a trace begins one.
    assert fields == [b"accept", b"content-length", b"host", b"traceparent", b"x-own", b"x-own"]
    assert b"Content-Length: 2" in lines and b"Host: " + raw_service.url[7:].encode() in lines


def test_two_authorizations_are_refused(raw_gateway, raw_service):
    got = len(raw_service.got)
    assert b" 400 " in exchange(
        raw_gateway, b"GET /v1/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n")
    assert len(raw_service.got) == got


OK = b"HTTP/1.1 200 OK\r\n"

WRONG_ANSWERS = {
    "length and chunks": OK + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunks and length": OK + CHUNKED + b"Content-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "list of lengths": OK + b"Content-Length: 5, 6\r\n\r\nhello",
    "negative length": OK + b"Content-Length: -5\r\n\r\nhello",
    "unknown transfer encoding": OK + b"Transfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "blank before the colon": OK + b"X-Any : 1\r\nContent-Length: 5\r\n\r\nhello",
    "carriage return in a value": OK + b"X: a\rSet-Cookie: b\r\nContent-Length: 5\r\n\r\nhello",
    "control byte in a value": OK + b"X: a\x01\r\nContent-Length: 5\r\n\r\nhello",
    "NUL in a value": OK + b"X: a\0b\r\nContent-Length: 5\r\n\r\nhello",
    "folded field": OK + b"X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    "no HTTP": b"hello\r\n\r\n",
    "HTTP/0.9": b"<html>",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello",
    "too large a head": OK + b"X: %s\r\n" % (b"x" * 1000) * 400 + b"\r\n",
}


def test_answers_that_are_not_strictly_http_are_not_passed_on(raw_gateway, raw_service):
    for name, answer in WRONG_ANSWERS.items():
        raw_service.answer = answer
        received = exchange(raw_gateway, b"GET /v1/x HTTP/1.1\r\nHost: x\r\n"
                                         b"Connection: close\r\n\r\n")
        assert statuses(received)[0] in (502, 503) and b"automation service" in received, (
            name, received)
        assert b"hello" not in received and b"Set-Cookie" not in received


def test_all_headers_of_the_service_arrive(raw_gateway, raw_service):
    raw_service.answer = OK + b"".join(b"X-%d: %d\r\n" % (i, i) for i in range(300)) + (
        b"Set-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n")
    received = exchange(raw_gateway, b"GET /v1/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    lines = received.split(b"\r\n")
    assert all(b"X-%d: %d" % (i, i) in lines for i in range(300))
    assert b"Set-Cookie: a" in lines and b"Set-Cookie: b" in lines


def test_the_error_says_why_the_service_cannot_be_reached(tmp_path, service):
    """By TLS: not only that it fails."""
    gateways = Gateways(tmp_path, service)
    plain = Service(b"220 this is not TLS\r\n", reads=False)
    gateway = gateways(GATEWAY_ID="tls", GATEWAY_UPSTREAM=plain.url.replace("http:", "https:"))
    answer = request(gateway.api, "GET", "/v1/x")
    assert answer.status == 503 and "SSL routines" in answer.json["error"], answer.json
    gateway.wait_for_log("the automation service is away.*SSL routines")
    gateways.end()
    plain.close()

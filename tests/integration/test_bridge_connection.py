# SPDX-License-Identifier: Apache-2.0
"""How the telemetry bridge connects: what it asks for, whom it shows its token, and how a service
that breaks the protocol, or refuses it, is named in the log. The service is bytes that the test
writes itself: no WebSocket server would send them."""

import base64
import hashlib
import json
import re
import socket
import ssl
import struct
import subprocess
import threading

import pytest

from lib import bridge
from lib.bridge import frame

NOW = 1_795_237_594_968
TOKEN = "canary-token-7Qx"


@pytest.fixture(autouse=True)
def topics(world):
    bridge.new_topics()


def ws_frame(opcode, payload=b"", first=0x80, mask=None):
    """A frame as a server writes it; `first` is the rest of its first byte."""
    payload = payload.encode() if isinstance(payload, str) else payload
    length = len(payload)
    masked = 0x80 if mask else 0
    head = bytes([first | opcode])
    head += bytes([masked | length]) if length < 126 else bytes([masked | 126]) + struct.pack(
        ">H", length)
    return head + (mask or b"") + (bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
                                   if mask else payload)


class RawService:
    """Accepts connections and does what `script(connection, head)` says. `answer` is sent instead
    of an upgrade."""

    def __init__(self, script=None, answer=None, tls=None, family=socket.AF_INET):
        self._listener = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1",
                                               0), family=family, backlog=64)
        self.port = self._listener.getsockname()[1]
        self.heads, self.received, self.failures = [], [], 0
        self._script, self._answer, self._tls = script, answer, tls
        threading.Thread(target=self._run, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _run(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            connection.settimeout(10)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head:
                part = connection.recv(65536)
                if not part:
                    return
                head += part
            self.heads.append(head.decode())
            if self._answer is not None:
                connection.sendall(self._answer)
                connection.close()
                return
            key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)[1]
            accept = base64.b64encode(hashlib.sha1(
                key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
                + ws_frame(1, json.dumps({"type": "connected", "cursor": f"{NOW}-0"})))
            connection.recv(65536)  # its subscription
            connection.sendall(ws_frame(1, json.dumps({"type": "subscribed",
                                                       "cursor": f"{NOW}-0"})))
            if self._script:
                self._script(connection)
            while True:
                part = connection.recv(65536)
                if not part:
                    return
                self.received.append(part)
        except OSError:
            self.failures += 1

    def url(self, tail="/v1/stream", host="127.0.0.1", scheme="ws"):
        return f"{scheme}://{host}:{self.port}{tail}"


def closed_with(service):
    """The codes of the closes that the bridge sent: all its control frames are short."""
    codes = []
    for part in service.received:
        for at in range(len(part) - 7):
            if part[at] == 0x88 and part[at + 1] == 0x82:
                mask, data = part[at + 2:at + 6], part[at + 6:at + 8]
                codes.append(struct.unpack(">H", bytes(a ^ b for a, b in zip(data, mask)))[0])
    return codes


def test_what_is_asked_for_is_what_the_url_says(world):
    asked = {"/": "GET / HTTP/1.1", "": "GET / HTTP/1.1", "?a=b": "GET /?a=b HTTP/1.1",
             "/x?a=/b&c=%20": "GET /x?a=/b&c=%20 HTTP/1.1", "//x": "GET //x HTTP/1.1"}
    running = []
    for number, (tail, line) in enumerate(asked.items()):
        service = RawService()
        running.append((service, line, bridge.start(world.consumers, service.url(tail),
                                                    BRIDGE_ID=f"b{number}")))
    six = RawService(family=socket.AF_INET6)
    running.append((six, "GET /v1/stream HTTP/1.1",
                    bridge.start(world.consumers, six.url(host="[::1]"), BRIDGE_ID="six")))
    for service, line, one in running:
        bridge.subscribe(one)
        lines = service.heads[0].split("\r\n")
        host = "[::1]" if service is six else "127.0.0.1"
        assert lines[0] == line
        assert lines.count(f"Host: {host}:{service.port}") == 1


def test_a_redirect_is_not_followed_and_no_other_host_sees_the_token(world):
    with RawService() as other:
        location = f"http://user:pw@localhost:{other.port}/x?token=z"
        with RawService(answer=f"HTTP/1.1 302 Found\r\nLocation: {location}\r\n"
                               "Content-Length: 0\r\n\r\n".encode()) as service:
            running = bridge.start(world.consumers, service.url(), TELEMETRY_TOKEN=TOKEN)
            running.wait_for_log(r"it redirects \(HTTP 302\) to http://localhost:"
                                 rf"{other.port}/x, and redirects are not followed")
            running.wait_until(lambda: len(service.heads) > 3)
        assert other.heads == []
        assert TOKEN not in running.log and "pw@" not in running.log


def test_no_proxy_of_the_environment_is_used(world, monkeypatch):
    with RawService(answer=b"HTTP/1.1 403 No\r\n\r\n") as proxy, RawService() as service:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy",
                     "ALL_PROXY", "socks_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        bridge.subscribe(bridge.start(world.consumers, service.url()))
        assert proxy.heads == [] and len(service.heads) == 1


BROKEN = {
    "a frame is masked": ws_frame(1, json.dumps(frame(NOW, 2)), mask=b"\x01\x02\x03\x04"),
    "reserved bits": ws_frame(1, "x", first=0xc0),
    "an unknown opcode": ws_frame(3, "x"),
    "a control frame is fragmented": ws_frame(9, "x", first=0),
    "a control frame is longer": ws_frame(9, "x" * 126),
    "a continuation frame has nothing": ws_frame(0, "x"),
    "begins before the previous one has ended": ws_frame(1, "x", first=0) + ws_frame(1, "y"),
    "a close has a code": ws_frame(8, struct.pack(">H", 1005)),
    "is longer than 1 GiB": bytes([0x81, 127]) + struct.pack(">Q", 1 << 40),
}


def test_a_service_that_breaks_the_protocol_gets_a_close_code(world):
    """And what it sent well before is taken."""
    services = {}
    for number, (words, data) in enumerate(BROKEN.items()):
        sent = ws_frame(1, json.dumps(frame(NOW, 1, payload={"words": words}))) + data
        service = RawService(script=lambda connection, sent=sent: connection.sendall(sent))
        services[words] = service, bridge.start(world.consumers, service.url(),
                                                BRIDGE_ID=f"broken-{number}", RECONNECT_MAX="2s")
    for words, (service, running) in services.items():
        code = 1009 if "GiB" in words else 1002
        running.wait_for_log(rf"breaks the WebSocket protocol \(closed with code {code}\): .*"
                             + re.escape(words))
        running.wait_until(lambda: code in closed_with(service))
        running.wait_until(lambda: len(service.heads) > 1)
    found = bridge.wait_for_events(len(BROKEN))
    assert sorted(json.loads(event["payload"])["words"] for event in found) == sorted(BROKEN)


def test_why_a_service_closes_is_in_the_log(world):
    ends = {
        "code 1001: back at \\\\\"six\\\\\"": ws_frame(8, struct.pack(">H", 1001)
                                                     + b'back at "six"'),
        "code 4001: not you": ws_frame(8, struct.pack(">H", 4001) + b"not you"),
        "without a reason": ws_frame(8),
    }
    for number, (words, data) in enumerate(ends.items()):
        service = RawService(script=lambda connection, sent=data: connection.sendall(sent))
        running = bridge.start(world.consumers, service.url(), BRIDGE_ID=f"closed-{number}")
        running.wait_for_log(words.replace('\\\\"', '.{1,3}'))


def test_what_a_refusal_says_is_in_the_log_without_the_token(world):
    answers = {
        "HTTP 503: try later": b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\ntry later",
        r"refuses our token.*HTTP 401: no \*\*\* here":
            b"HTTP/1.1 401 X\r\n\r\nno " + TOKEN.encode() + b" here",
        "no such path": b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n",
        "HTTP 200: <html>": b"HTTP/1.1 200 OK\r\n\r\n<html>" + b"x" * 100_000,
        "not answer like an HTTP server": b"SSH-2.0-OpenSSH_9\r\n",
        "does not match the key sent": b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                b"Sec-WebSocket-Accept: x\r\n\r\n",
        "without answering": b"",
    }
    for number, (words, answer) in enumerate(answers.items()):
        with RawService(answer=answer) as service:
            running = bridge.start(world.consumers, service.url(), TELEMETRY_TOKEN=TOKEN,
                                   BRIDGE_ID=f"refused-{number}")
            running.wait_for_log(words)
            assert TOKEN not in running.log


def certificate(folder, name, *arguments, days="2"):
    """A certificate that signs itself and its key."""
    files = folder / f"{name}.pem", folder / f"{name}.key"
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days",
                           days, "-subj", "/CN=x", *arguments, "-keyout", files[1], "-out",
                           files[0]], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return files


def test_why_a_certificate_is_not_trusted_is_in_the_log(world, tmp_path):
    name = ("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    good, other = certificate(tmp_path, "good", *name), certificate(tmp_path, "other", *name)
    wrong = certificate(tmp_path, "wrong", "-addext", "subjectAltName=DNS:elsewhere")
    expired = tmp_path / "expired.pem", tmp_path / "expired.key"
    script = (f"openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout {expired[1]} -out "
              f"{tmp_path}/r.csr && openssl x509 -req -in {tmp_path}/r.csr -signkey {expired[1]} "
              f"-days 0 -out {expired[0]}")
    assert subprocess.run(["sh", "-c", script], capture_output=True, check=False).returncode == 0
    cases = [(good, other, "self.signed.*TELEMETRY_CA_FILE"), (wrong, wrong, "name"),
             (expired, expired, "expired"), (good, None, "self.signed")]
    for number, (shown, trusted, words) in enumerate(cases):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*shown)
        with RawService(tls=context) as service:
            variables = {"TELEMETRY_CA_FILE": trusted[0]} if trusted else {}
            running = bridge.start(world.consumers, service.url(host="localhost", scheme="wss"),
                                   BRIDGE_ID=f"tls-{number}", **variables)
            running.wait_for_log(f"its certificate is not trusted: .*{words}")
            assert service.heads == []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*good)
    with RawService(tls=context) as service:
        for host in ("localhost", "127.0.0.1"):
            bridge.subscribe(bridge.start(world.consumers, service.url(host=host, scheme="wss"),
                                          TELEMETRY_CA_FILE=good[0], BRIDGE_ID=f"ok-{host}"))

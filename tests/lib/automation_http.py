# SPDX-License-Identifier: Apache-2.0
"""The control API of the stand-in for the automation service. See automation_service.py."""

import contextlib
import hmac
import json
import socket
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MOST_BODY = 64 * 1024 * 1024


class Server:
    """Answers on 127.0.0.1 until it is closed, each connection in a thread of its own."""

    def __init__(self, service, port):
        self._server = _Listener(("127.0.0.1", port), _Handler)
        self._server.service = service
        if service.tls:
            self._server.socket = service.tls.wrap_socket(self._server.socket, server_side=True,
                                                          do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,),
                                        daemon=True)
        self._thread.start()

    def close(self):
        """Cuts the connections, too."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        with self._server.lock:
            open_ones = list(self._server.connections)
        for connection in open_ones:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *arguments):
        self.lock = threading.Lock()
        self.connections = set()
        super().__init__(*arguments)

    def process_request(self, request, client_address):
        self.service.http_connections += 1
        with self.lock:
            self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        with self.lock:
            self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """A client that goes away is not worth a word."""


class _Closed(Exception):
    """The connection ends without an answer."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_version = "automation-service"
    timeout = 120

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (_Closed, ConnectionError):
            self.close_connection = True

    def _respond(self):
        service = self.server.service
        url = urllib.parse.urlsplit(self.path)
        body = self._body()
        service.requests.append((self.command, self.path, dict(self.headers), body))
        is_command = self.command == "POST" and url.path == "/v1/commands"
        if not service.wait_to_answer("before", is_command):
            raise _Closed
        route = service.routes.get((self.command, url.path))
        if route is not None:
            self._send_parts(*route)
            return
        status, answer = self._decide(service, url, body)
        if not service.wait_to_answer("after", is_command):
            raise _Closed
        self._send(status, answer)

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = do_HEAD = do_OPTIONS = _respond

    def _body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            body = bytearray()
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return bytes(body)
        return self.rfile.read(min(int(self.headers.get("Content-Length") or 0), MOST_BODY))

    def _send(self, status, answer):
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send_parts(self, status, headers, parts):
        """An answer of a test, part by part as they come."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in parts() if callable(parts) else parts:
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    # --- the answers -------------------------------------------------------------------------

    def _decide(self, service, url, body):
        """(status, answer) of a request."""
        path = [urllib.parse.unquote(part) for part in url.path.strip("/").split("/")]
        if path in (["health"], ["ready"]):
            return (200, {"status": "ok"}) if path == ["health"] else (200, {"ready": True})
        if service.token is not None and not hmac.compare_digest(
                self.headers.get("Authorization", "").encode(),
                f"Bearer {service.token}".encode()):
            return 401, {"error": "Unauthorized"}
        asked = None
        if self.command == "POST" and body:
            try:
                asked = json.loads(body)
            except (ValueError, RecursionError):
                return 400, {"error": "Invalid JSON"}
        answer = self._route(service, self.command, path, url, asked)
        return answer or (404, {"error": "Not found"})

    def _route(self, service, method, path, url, asked):
        match method, path:
            case "POST", ["v1", "commands"]:
                return service.submit(asked)
            case "GET", ["v1", "commands"]:
                query = dict(urllib.parse.parse_qsl(url.query))
                return 200, {"commands": service.commands(query.get("status"),
                                                          query.get("since"))}
            case "GET", ["v1", "commands", command_id]:
                command = service.command(command_id)
                return (200, command) if command else (404, {"error": "Command not found"})
            case "POST", ["v1", "commands", command_id, "cancel"]:
                return service.cancel(command_id)
            case "GET", ["v1", "sora", "usage"]:
                return 200, service.usage()
            case "GET", ["v1", "telemetry", "stats"]:
                return 200, {"subscribers": service.subscribers(),
                             "events_stored": service.events_stored(),
                             "current_cursor": service.current_cursor()}
        return _session(service, method, path, asked)


def _session(service, method, path, asked):
    match method, path:
        case "POST", ["v1", "sessions"]:
            body = asked if isinstance(asked, dict) else {}
            session_id = str(uuid.uuid4())  # an id in the body is only repeated
            session = {"id": session_id, "created_at": _now(), "status": "active", **body}
            service.sessions[session_id] = session
            return 201, session
        case "GET", ["v1", "sessions", session_id]:
            session = service.sessions.get(session_id)
            return (200, session) if session else (404, {"error": "Session not found"})
        case "DELETE", ["v1", "sessions", session_id]:
            session = service.sessions.get(session_id)
            if session is None:
                return 404, {"error": "Session not found"}
            session["status"] = "closed"
            return 200, session
    return None


def _now():
    ms = time.time_ns() // 1_000_000
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03}Z"

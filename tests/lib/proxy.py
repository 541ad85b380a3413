# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy in front of Postgres that loses answers, cuts connections and stalls, on demand.

It reads the protocol just well enough to know a COMMIT when it passes, so the client must not
encrypt: sslmode=disable and gssencmode=disable, as in Proxy.dsn.
"""

import functools
import struct
import threading

from psycopg import conninfo

from lib.tcp_proxy import TcpProxy

ASKED = "asked"  # a COMMIT is about to reach the server
ANSWERED = "answered"  # the server has committed; the client does not know it yet


class Proxy(TcpProxy):
    """Forwards 127.0.0.1:<port> to Postgres. Use it in a with statement."""

    def __init__(self, dsn):
        parts = conninfo.conninfo_to_dict(dsn)
        super().__init__(parts["host"], parts["port"])
        self.dsn = conninfo.make_conninfo(dsn, host="127.0.0.1", port=self.port,
                                          sslmode="disable", gssencmode="disable")
        self._decide = None
        self._copies = True  # are not stalled
        self._flowing = {"up": threading.Event(), "down": threading.Event()}
        self.resume()
        self.commits = {ASKED: 0, ANSWERED: 0}  # seen
        self.cuts = {ASKED: 0, ANSWERED: 0}
        self.held = threading.Event()  # something waits for resume()

    def __exit__(self, *exception):
        self._decide = None
        self.resume()
        super().__exit__(*exception)

    def cut_commits(self, decide):
        """decide(when) is asked at each COMMIT, with ASKED and then with ANSWERED; where it says
        true, the connection is cut right there. None: no more cuts."""
        self._decide = decide

    def stall(self, *directions):
        """Keeps what comes from now on, "up" to the server, "down" to the client; by default both.
        The connections stay open: a black hole, not a crash."""
        for direction in directions or ("up", "down"):
            self._flowing[direction].clear()

    def stall_copies(self):
        """Keeps what comes from the data of the next COPY on: it has begun, and does not end."""
        self._copies = False

    def resume(self):
        """Forwards all that was kept."""
        self._copies = True
        for flowing in self._flowing.values():
            flowing.set()
        self.held = threading.Event()

    def forwards(self, client, server):
        return (functools.partial(self._up, client, server),
                functools.partial(self._down, client, server))

    def _up(self, client, server):
        committing = set()  # names of prepared statements that are a COMMIT
        for kind, message in _messages(client, starts_with_startup=True):
            if kind == b"d" and not self._copies:
                self.stall("up")
            self._wait("up")
            if _is_commit(kind, message, committing) and self._cut(ASKED):
                return
            server.sendall(message)

    def _down(self, client, server):
        for kind, message in _messages(server):
            self._wait("down")
            if kind == b"C" and message[5:] == b"COMMIT\0" and self._cut(ANSWERED):
                return
            client.sendall(message)

    def _wait(self, direction):
        if not self._flowing[direction].is_set():
            self.held.set()
            self._flowing[direction].wait()

    def _cut(self, when):
        with self._lock:
            self.commits[when] += 1
            decide = self._decide
            cut = decide is not None and bool(decide(when))
            self.cuts[when] += cut
        return cut


def _messages(source, starts_with_startup=False):
    """(type, whole message) of the protocol's messages, as they come. The startup has no type."""
    buffer = bytearray()
    header = 0 if starts_with_startup else 1
    while data := source.recv(65536):
        buffer += data
        while len(buffer) >= header + 4:
            length = header + struct.unpack_from(">i", buffer, header)[0]
            if len(buffer) < length:
                break
            message = bytes(buffer[:length])
            del buffer[:length]
            yield message[:header], message
            header = 1


def _is_commit(kind, message, committing):
    if kind == b"P":
        name, query = message[5:].split(b"\0", 2)[:2]
        if query == b"COMMIT":
            committing.add(name)
        return False
    if kind == b"B":
        return message[5:].split(b"\0", 2)[1] in committing
    return kind == b"Q" and message[5:] == b"COMMIT\0"

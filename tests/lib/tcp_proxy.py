# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy on 127.0.0.1 in front of a server, to be given a protocol: it accepts, connects and
cuts; what passes is the business of whoever knows what it means."""

import contextlib
import socket
import threading


class TcpProxy:
    """Forwards 127.0.0.1:<port> to a server. Use it in a with statement."""

    def __init__(self, host, port):
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._pairs = set()
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def forwards(self, client, server):
        """Of a new connection: two callables, one for each direction. Each has a thread of its own,
        and where one returns or an end is closed, both ends are."""
        raise NotImplementedError

    def __enter__(self):
        self._accepting.start()
        return self

    def __exit__(self, *_):
        # Not only close: that would leave the thread in accept.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()
        self._accepting.join(10)

    def cut_all(self):
        """Cuts every connection there is."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            _close(*pair)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.add((client, server))
            for forward in self.forwards(client, server):
                threading.Thread(target=self._run, args=(forward, client, server),
                                 daemon=True).start()

    def _run(self, forward, client, server):
        with contextlib.suppress(OSError):
            forward()
        with self._lock:
            self._pairs.discard((client, server))
        _close(client, server)


def _close(*ends):
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()

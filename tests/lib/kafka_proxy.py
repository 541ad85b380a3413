# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy in front of Kafka that loses the answer to the commit of a transaction.

    with KafkaProxy() as proxy:
        … PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS=proxy.address …
        proxy.lose_commits()          from the next EndTxn on no answer comes back
        proxy.lost.wait(30)           the broker has been asked for it
        proxy.resume()                cuts those connections; new ones work

The addresses that the broker tells its clients (Metadata, FindCoordinator) become the proxy's. The
client must not encrypt.
"""

import contextlib
import socket
import struct
import threading

from lib import kafka

METADATA, FIND_COORDINATOR, END_TXN = 3, 10, 26


class KafkaProxy:
    """Forwards 127.0.0.1:<port> to Kafka. Use it in a with statement."""

    def __init__(self):
        host, port = kafka.bootstrap_servers().split(",")[0].split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        self.lost = threading.Event()
        self._losing = self._silent = False
        self._pairs = set()
        self._lock = threading.Lock()
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self):
        self._accepting.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut_all()
        self._accepting.join(10)

    def lose_commits(self):
        """The next EndTxn still reaches the broker; from then on nothing comes back, of anything."""
        self._losing = True

    def resume(self):
        self._losing = self._silent = False
        self.lost.clear()
        self._cut_all()

    def _cut_all(self):
        with self._lock:
            pairs, self._pairs = list(self._pairs), set()
        for end in (end for pair in pairs for end in pair):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

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
            asked = {}  # what was asked for, by correlation id
            with self._lock:
                self._pairs.add((client, server))
            for work in (self._up, self._down):
                threading.Thread(target=self._run, args=(work, client, server, asked),
                                 daemon=True).start()

    @staticmethod
    def _run(work, client, server, asked):
        with contextlib.suppress(OSError):
            work(client, server, asked)
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _up(self, client, server, asked):
        for message in _messages(client):
            api, _, correlation = struct.unpack_from(">hhi", message, 4)
            asked[correlation] = api
            if api == END_TXN and self._losing:
                self._silent = True
            server.sendall(message)
            if api == END_TXN and self._losing:
                self.lost.set()

    def _down(self, client, server, asked):
        for message in _messages(server):
            if self._silent:
                continue
            api = asked.pop(struct.unpack_from(">i", message, 4)[0], None)
            if api in (METADATA, FIND_COORDINATOR):
                message = message.replace(
                    self._target[0].encode() + struct.pack(">i", self._target[1]),
                    b"127.0.0.1" + struct.pack(">i", self._port))
            client.sendall(message)


def _messages(source):
    """Whole messages, as they come, with their length in front."""
    buffer = bytearray()
    while data := source.recv(65536):
        buffer += data
        while len(buffer) >= 4 and len(buffer) >= 4 + struct.unpack_from(">i", buffer)[0]:
            length = 4 + struct.unpack_from(">i", buffer)[0]
            yield bytes(buffer[:length])
            del buffer[:length]

# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy in front of Kafka that loses the answer to the commit of a transaction.

    with KafkaProxy() as proxy:
        … PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS=proxy.address …
        proxy.lose_commits()          from the next EndTxn on no answer comes back
        proxy.lost.wait(30)           the broker has been asked for it
        proxy.resume()                cuts those connections; new ones work
        proxy.delay_commit()          the next EndTxn is held back and its connection is cut; it
                                      arrives once the next transaction has partitions
        proxy.arrived.wait(30)        … and proxy.late_error is the code that the broker answered

        proxy.move_leaders(3)         the next 3 answers about offsets say, of each partition, that its
                                      leader is another broker now

The addresses that the broker tells its clients (Metadata, FindCoordinator) become the proxy's. The
client must not encrypt.
"""

import functools
import socket
import struct
import threading

from lib import kafka
from lib.tcp_proxy import TcpProxy

FETCH, LIST_OFFSETS, METADATA, FIND_COORDINATOR, ADD_PARTITIONS, END_TXN = 1, 2, 3, 10, 24, 26
NOT_LEADER = 6


INVALID_PRODUCER_EPOCH, PRODUCER_FENCED = 47, 90
FENCED = (INVALID_PRODUCER_EPOCH, PRODUCER_FENCED)


class KafkaProxy(TcpProxy):
    """Forwards 127.0.0.1:<port> to Kafka. Use it in a with statement."""

    def __init__(self):
        super().__init__(*kafka.bootstrap_servers().split(",")[0].split(":"))
        self.address = f"127.0.0.1:{self.port}"
        self.lost = threading.Event()
        self._losing = self._silent = self._losing_records = False
        self._delaying = False
        self.moving = 0  # how many more answers
        self._late = None  # the EndTxn that is held back
        self.arrived = threading.Event()
        self.late_error = None

    def delay_commit(self):
        """A client that loses the connection asks again on another one, and goes on."""
        self.arrived.clear()
        self._delaying = True

    def _let_arrive(self):
        message, self._late = self._late, None
        with socket.create_connection(self._target) as server:
            server.sendall(message)
            answer = next(_messages(server))
        # The length, the correlation id, throttle_time_ms, error_code.
        self.late_error, = struct.unpack_from(">h", answer, 12)
        self.arrived.set()

    def lose_commits(self):
        """The next EndTxn still reaches the broker; from then on nothing comes back, of anything."""
        self._losing = True

    def move_leaders(self, times):
        self.moving = times

    def lose_records(self):
        """From now on no answer to a Fetch comes back, but all others do."""
        self._losing_records = True

    def resume(self):
        self._losing = self._silent = self._losing_records = False
        self.lost.clear()
        self.cut_all()

    def forwards(self, client, server):
        asked = {}  # what was asked for, by correlation id
        return (functools.partial(self._up, client, server, asked),
                functools.partial(self._down, client, server, asked))

    def _up(self, client, server, asked):
        for message in _messages(client):
            api, version, correlation = struct.unpack_from(">hhi", message, 4)
            asked[correlation] = api, version
            if api == END_TXN and self._delaying:
                self._delaying, self._late = False, message
                return
            if api == END_TXN and self._losing:
                self._silent = True
            server.sendall(message)
            if api == END_TXN and self._losing:
                self.lost.set()

    def _down(self, client, server, asked):
        for message in _messages(server):
            if self._silent:
                continue
            api, version = asked.pop(struct.unpack_from(">i", message, 4)[0], (None, None))
            if api == LIST_OFFSETS and self.moving > 0:
                self.moving -= 1
                message = _without_leaders(message, version)
            if api == FETCH and self._losing_records:
                continue
            if api in (METADATA, FIND_COORDINATOR):
                message = message.replace(
                    self._target[0].encode() + struct.pack(">i", self._target[1]),
                    b"127.0.0.1" + struct.pack(">i", self.port))
            client.sendall(message)
            if api == ADD_PARTITIONS and self._late is not None:
                self._let_arrive()


def _without_leaders(message, version):
    """The answer to a ListOffsets with another error of each partition."""
    message, at = bytearray(message), 8
    flexible = version >= 6  # its numbers of items, plus 1, are of seven bits a byte

    def count():
        nonlocal at
        if not flexible:
            at += 4
            return struct.unpack_from(">i", message, at - 4)[0]
        number = shift = 0
        while True:
            byte = message[at]
            at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number - 1

    at += 1 if flexible else 0  # the header's tags
    at += 4 if version >= 2 else 0
    for _ in range(count()):
        if flexible:
            length = count()  # which moves on, too
            at += length
        else:
            at += 2 + struct.unpack_from(">h", message, at)[0]
        for _ in range(count()):
            struct.pack_into(">h", message, at + 4, NOT_LEADER)
            at += 22 + (4 if version >= 4 else 0) + (1 if flexible else 0)
        at += 1 if flexible else 0
    return bytes(message)


def _messages(source):
    """Whole messages, as they come, with their length in front."""
    buffer = bytearray()
    while data := source.recv(65536):
        buffer += data
        while len(buffer) >= 4 and len(buffer) >= 4 + struct.unpack_from(">i", buffer)[0]:
            length = 4 + struct.unpack_from(">i", buffer)[0]
            yield bytes(buffer[:length])
            del buffer[:length]

# SPDX-License-Identifier: Apache-2.0
"""How long partitions stand still while there is something to read in them: the ends of the topics
and the table of offsets are looked at all the time."""

import contextlib
import threading
import time

from confluent_kafka import KafkaException
from psycopg.rows import tuple_row

from lib import database, kafka

INTERVAL = 0.02       # seconds between two looks at the offsets
ENDS_INTERVAL = 0.1   # … at the ends, so a stall may be that much shorter than it seems
SETTLED = 1           # seconds after which a replica that was killed commits no more
OFFSETS = ("SELECT consumer_group, topic, partition, next_offset FROM projectionist.consumer_offsets "
           "WHERE consumer_group = ANY(%s)")


class Watch(threading.Thread):
    """Looks while the with lives, and from when all partitions move.

    topics_of: {group: topics}. `longest` is (seconds, (group, topic, partition)); `blind` the longest
    time between two looks, by which it may be wrong."""

    def __init__(self, dsn, topics_of):
        super().__init__(daemon=True)
        self._dsn = dsn
        self._topics_of = topics_of
        self._ends, self._ends_asked = {}, 0
        self._offsets = {}  # by place
        self._fine = {}     # by place: when it moved last, or there was nothing to read
        self._end = threading.Event()
        self._failure = None
        self.longest, self.blind = (0, None), 0

    def __enter__(self):
        self.start()
        self.until_settled(120)
        self.longest, self.blind = (0, None), 0
        return self

    def __exit__(self, *_):
        self._end.set()
        self.join()
        if self._failure:
            raise self._failure

    def run(self):
        try:
            with database.connect(self._dsn) as connection:
                cursor, looked = connection.cursor(row_factory=tuple_row), time.monotonic()
                while not self._end.wait(INTERVAL):
                    self._look(cursor)
                    looked, before = time.monotonic(), looked
                    self.blind = max(self.blind, looked - before)
        except BaseException as failure:  # pylint: disable=broad-except
            self._failure = failure

    def _look(self, cursor):
        if time.monotonic() - self._ends_asked > ENDS_INTERVAL:
            self._ask_for_ends()
        cursor.execute(OFFSETS, [list(self._topics_of)])
        offsets, now = {tuple(row[:3]): row[3] for row in cursor}, time.monotonic()
        for group, topics in self._topics_of.items():
            for (topic, partition), end in self._ends.items():
                if topic in topics:
                    place = (group, topic, partition)
                    self._judge(place, offsets.get(place, 0), end, now)

    def _ask_for_ends(self):
        """A broker that is too busy to tell is asked again; stalls only seem longer by that."""
        asked = time.monotonic()
        with contextlib.suppress(KafkaException):
            self._ends = kafka.end_offsets(*{topic for topics in self._topics_of.values()
                                             for topic in topics})
            self._ends_asked = asked

    def _judge(self, place, offset, end, now):
        fine = self._fine.setdefault(place, now)
        if now - fine > self.longest[0]:
            self.longest = (now - fine, place)
        if offset != self._offsets.get(place, 0):
            self._offsets[place] = offset
            self._fine[place] = now
        elif offset >= end:
            self._fine[place] = max(fine, self._ends_asked)

    def until_settled(self, deadline):
        """Waits until no partition stands still, and a while longer, in which none does: what was
        done before is in `longest` then."""
        for _ in range(2):
            since = time.monotonic() + SETTLED
            database.wait_until(lambda: self._moves(since), deadline,
                                lambda: f"partitions stand still: {self._still(since)}")

    def _still(self, since):
        return sorted(place for place, when in list(self._fine.items()) if when <= since)

    def _moves(self, since):
        if self._failure:
            raise RuntimeError("offsets cannot be looked at") from self._failure
        return self._fine and not self._still(since)

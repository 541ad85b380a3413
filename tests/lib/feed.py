# SPDX-License-Identifier: Apache-2.0
"""Produces records in the background, while a test does something else."""

import math
import threading
import time

from lib import kafka

INTERVAL = 0.02  # seconds between two portions


class Feed(threading.Thread):
    """Produces records at a rate (records a second), and tells how many were `sent`. deadline and
    config are those of kafka.produce."""

    def __init__(self, records, rate, deadline=kafka.TIMEOUT, **config):
        super().__init__(daemon=True)
        self._records = records
        self._rate = rate
        self._deadline = deadline
        self._config = config
        self._abandoned = threading.Event()
        self._failure = None
        self.sent = 0
        self.start()

    def run(self):
        try:
            kafka.produce(self._paced(), self._deadline, **self._config)
        except BaseException as failure:  # pylint: disable=broad-except
            self._failure = failure

    def _paced(self):
        started = time.monotonic()
        for record in self._records:
            while self.sent >= (time.monotonic() - started) * self._rate:
                if self._abandoned.wait(INTERVAL):
                    return
            yield record
            self.sent += 1

    def hurry(self):
        """From now on as fast as Kafka takes them."""
        self._rate = math.inf

    def done_within(self, seconds):
        """Whether all is produced, now or in so many seconds."""
        self.join(seconds)
        return not self.is_alive()

    def finish(self, deadline=180):
        """Waits until all is produced."""
        assert self.done_within(deadline), f"the stream was not produced within {deadline} s"
        if self._failure:
            raise self._failure

    def abandon(self):
        self._abandoned.set()
        self.join(self._deadline + 10)

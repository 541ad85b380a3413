# SPDX-License-Identifier: Apache-2.0
"""job-bridge in a test: bridges of topics of their own, and what is in these."""

import uuid

from lib import avro, kafka
from lib.database import wait_until


class Bridges:
    """The bridges of a test, with topics of its own."""

    def __init__(self, running):
        self.running = running
        self.prefix = f"jobs-{uuid.uuid4().hex[:8]}-"
        self.jobs, self.dead = self.prefix + "studio.jobs", self.prefix + "studio.jobs.dead-letters"
        kafka.create_topics(self.jobs, partitions=3)
        kafka.create_topics(self.dead, partitions=1)
        kafka.create_topics(self.prefix + "studio.bridge-cursors", partitions=1,
                            config={"cleanup.policy": "compact"})

    def start(self, server, *arguments, **variables):
        return self.running.start("job-bridge", *arguments, POSTGRES_DSN=None,
                                  **{"TOPIC_PREFIX": self.prefix, "REDIS_URL": server.url,
                                     **variables})

    def ready(self, server, *arguments, **variables):
        bridge = self.start(server, *arguments, **variables)
        bridge.wait_until_ready()
        return bridge

    def events(self):
        """[(key, event)] by revision."""
        found = [(record.key, avro.decode(record.value, avro.schema_text("studio.jobs"))[1])
                 for record in kafka.read(self.jobs)]
        return sorted(found, key=lambda pair: pair[1]["revision"])

    def letters(self):
        return kafka.read(self.dead)

    def wait_for(self, count, letters=0):
        wait_until(lambda: len(self.events()) >= count and len(self.letters()) >= letters,
                   message=lambda: f"{len(self.events())} events, {len(self.letters())} letters")
        assert len(self.events()) == count and len(self.letters()) == letters


def body(event):
    """(the record's name, its fields) of an event's body."""
    return event["body"][0].rpartition(".")[2], event["body"][1]

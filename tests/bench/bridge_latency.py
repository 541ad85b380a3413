# SPDX-License-Identifier: Apache-2.0
"""How long a frame takes from the automation service (the stand-in) through the bridge, Kafka and
the event-recorder to its row."""

import json
import tempfile
import time
from pathlib import Path

from lib import avro, bridge, consumers, database, events, kafka, world
from lib.automation_service import AutomationService, usual_event
from runs import Watch, first_seen, quantile
from servers import Clock, own_seconds

WARM_UP_EVENTS = 1000
FRAMES = 10_000
RATE = 500  # a second
PARTITIONS = 12


class Stamped:
    """Makes the events, each with its number, and notes when."""

    def __init__(self):
        self.at = []

    def __call__(self, number):
        event = usual_event(number)
        event["payload"] = {**event["payload"], "number": len(self.at)}
        self.at.append(time.time())
        return event


def inject(service, stamped, count):
    first = len(stamped.at)
    flow = service.inject(count, RATE, make=lambda number: stamped(first + number))
    flow.wait(count / RATE + 60)


def measure(dsn):
    """Milliseconds from before a frame is given to the service's socket to when another connection
    sees its row committed."""
    world.new_topics(PARTITIONS)
    bridge.new_topics()
    events.register_schemas()
    started = consumers.Consumers(Path(tempfile.mkdtemp(prefix="bench-bridge-")),
                                  {"POSTGRES_DSN": dsn})
    group = consumers.Consumers.new_group("bench-bridge")
    stamped = Stamped()
    connection = database.connect(dsn)
    connection.execute("TRUNCATE safari_commands CASCADE")
    try:
        with AutomationService() as service:
            recorder = started.start("event-recorder", group=group)
            running = bridge.start(started, service.stream_url)
            recorder.wait_until_ready()
            bridge.subscribe(running)

            def until_recorded():
                database.wait_until(lambda: database.count(connection, "safari_events")
                                    >= len(stamped.at), 60, "the rows do not come")

            inject(service, stamped, WARM_UP_EVENTS)
            until_recorded()
            watch = Watch(dsn, group)
            clock, before = Clock(), own_seconds(running.pid)
            inject(service, stamped, FRAMES)
            until_recorded()
            consumed = own_seconds(running.pid) - before
            cpu = clock.read(consumed)
            seen = watch.end()
            commits = running.metrics()
    finally:
        started.end()
        connection.close()
    schema = avro.schema_text(events.TELEMETRY)
    waits = []
    for record in kafka.read(events.TELEMETRY):
        number = json.loads(avro.decode(record.value, schema)[1]["payload"])["number"]
        if number >= WARM_UP_EVENTS:
            waits.append(1000 * (first_seen(seen, record.partition, record.offset)
                                 - stamped.at[number]))
    assert len(waits) == FRAMES, f"{len(waits)} frames are in Kafka"
    waits.sort()
    return {"p50": quantile(waits, 0.50), "p99": quantile(waits, 0.99), "most": waits[-1],
            "commit": 1000 * commits["projectionist_bridge_commit_seconds_sum"]
            / commits["projectionist_bridge_commit_seconds_count"],
            "bridge": consumed, "cpu": cpu}

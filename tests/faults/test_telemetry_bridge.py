# SPDX-License-Identifier: Apache-2.0
"""The telemetry bridge while it is killed, Kafka goes away and the socket is cut: every frame is in
safari_events once. The service is the stand-in.

It sends 5,000 frames a second. Its buffer of 10,000 is two seconds of that, and a Kafka that starts
again takes longer: a bridge that is killed meanwhile finds its place gone, and that is a gap, which
nobody can fill. So the test that wants every frame gives the stand-in a larger buffer, and another
one has the buffer of the real service and wants the gap recorded exactly."""

import json
import logging
import re
import threading
import time

import psycopg
import pytest
from lib import avro, bridge, database, events, kafka
from lib.automation_service import AutomationService
from world import STOP_DEADLINE, away

RATE = 5000
FENCED = 5
QUIET = 90  # seconds without a new row count as the end
FRUITLESS = 5  # bridges in a row that published nothing, until the next one lives longer


class Bridges:
    """Bridges of one id, one after the other or several."""

    def __init__(self, world, service):
        self.world, self.service = world, service
        self.all = []

    def start(self, *arguments):
        self.all.append(bridge.start(self.world.consumers, self.service.stream_url, *arguments))
        return self.all[-1]


@pytest.fixture
def bridges(world):
    # The stand-in sends to sockets that are being cut, and asyncio logs each frame.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    bridge.new_topics()
    with AutomationService(capacity=200_000) as service:
        yield Bridges(world, service)


class Background(threading.Thread):
    """Does something again and again, every so many seconds (which may be changed meanwhile), until
    it is ended or was done so often; what it raises comes out of `end`."""

    def __init__(self, action, seconds, times=None):
        super().__init__(daemon=True)
        self.seconds = seconds
        self._action, self._times = action, times
        self._ending = threading.Event()
        self._failure = None
        self.count = 0
        self.start()

    def run(self):
        try:
            while not self._ending.wait(self.seconds) and self.count != self._times:
                self._action()
                self.count += 1
        except Exception as failure:  # pylint: disable=broad-except
            self._failure = failure

    @property
    def failed(self):
        return self._failure is not None

    def end(self):
        self._ending.set()
        self.join(120)
        assert not self.is_alive()
        if self._failure:
            raise self._failure


def recorded(world):
    """[(event_id, cursor, type, payload)] of safari_events in replay order, those without a cursor
    last."""
    with world.connect() as connection, connection.cursor(
            row_factory=psycopg.rows.tuple_row) as cursor:
        return cursor.execute(
            "SELECT event_id::text, cursor, type, payload FROM safari_events ORDER BY "
            "split_part(cursor, '-', 1)::bigint NULLS LAST, "
            "split_part(cursor, '-', 2)::bigint").fetchall()


def places_of(bridges):
    """The cursors from which bridges continued; None: without one."""
    found = [re.search(r"cursor=(\S+)", line)
             for one in bridges for line in one.logged("msg=started")]
    return {cursor and cursor[1] for cursor in found}


def count(world):
    with world.connect() as connection:
        return database.count(connection, "safari_events")


def assert_each_once_in_the_topics(frames):
    """Not only in the table: no record is committed twice."""
    for topic, wanted in ((events.TELEMETRY, [one["event_id"] for one in frames]),
                          (events.COMMANDS, [one["event_id"] for one in frames
                                             if one["type"] == "status.changed"])):
        schema = avro.schema_text(topic)
        found = [avro.decode(record.value, schema)[1]["event_id"] for record in kafka.read(topic)]
        assert len(found) == len(wanted) and sorted(found) == sorted(wanted), topic


def until_recorded(world, wanted):
    """Waits for so many rows as long as new ones arrive."""
    last = [0, time.monotonic()]

    def recorded_or_quiet():
        rows = count(world)
        if rows > last[0]:
            last[:] = rows, time.monotonic()
        assert time.monotonic() - last[1] < QUIET, \
            f"{rows} of {wanted} events are there, and no other came for {QUIET} s"
        return rows >= wanted

    world.until(recorded_or_quiet, 3600)


def assert_all_recorded(world, service):
    frames = service.frames()
    until_recorded(world, len(frames))
    assert [(row[0], row[1]) for row in recorded(world)] == \
        [(one["event_id"], one["cursor"]) for one in frames]
    assert_each_once_in_the_topics(frames)


@pytest.mark.parametrize("frames", [pytest.param(100_000, id="100000")])
def test_every_frame_once_whatever_is_killed(world, bridges, frames):
    service = bridges.service
    recorder = world.start("event-recorder")
    world.until_working(recorder)
    bridges.start()
    kafka_restarts = []
    kafka_is_away = threading.Event()
    places, fruitless = set(), [0]

    def kill_and_start():
        bridges.all[-1].check()
        bridges.all[-1].kill()
        # What the killed ones did counts, so they must have time to publish. How much that is, is
        # the machine's to say: where several got nothing done, the next ones live longer.
        before = len(places)
        places.update(places_of(bridges.all[-2:]))
        if len(places) > before:
            fruitless[0] = 0
        elif not kafka_is_away.is_set():
            fruitless[0] += 1
        killer.seconds = 1 if fruitless[0] <= FRUITLESS else 1.3 ** (fruitless[0] - FRUITLESS)
        bridges.start()

    def restart_kafka():
        kafka_is_away.set()
        with away("kafka"):
            pass
        kafka_is_away.clear()
        kafka_restarts.append(time.monotonic())

    flow = service.inject(frames, rate=RATE)
    killer = Background(kill_and_start, 1)
    cutter = Background(service.cut, frames / RATE / 11, times=10)
    restarter = Background(restart_kafka, frames / RATE / 5, times=2)
    world.until(lambda: killer.failed or cutter.failed or restarter.failed or
                (flow.done and cutter.count == 10 and restarter.count == 2 and
                 killer.count >= frames / RATE - 5 and len(places) >= 3), 900,
                lambda: f"{killer.count} kills, {cutter.count} cuts, {restarter.count} restarts of "
                        f"Kafka, {flow.sent} frames sent, {len(places)} places gone on from")
    killer.end()
    cutter.end()
    restarter.end()
    assert len(kafka_restarts) == 2
    assert_all_recorded(world, service)
    # The killed ones published, too, not only the last.
    places = places_of(bridges.all)
    assert len(places) >= 3, places
    assert not any(one.logged("frames are lost") or one.logged("restarted")
                   for one in bridges.all)
    print(f"{killer.count} kills, {len(places)} places gone on from")


def test_what_the_service_forgot_is_recorded_exactly(world):
    bridge.new_topics()
    with AutomationService() as service:
        bridges = Bridges(world, service)
        world.until_working(world.start("event-recorder"))
        first = bridges.start()
        world.until(first.ready)
        flow = service.inject(90_000, rate=RATE)
        world.until(lambda: flow.sent > 10_000)
        with away("kafka"):
            first.kill()
            sent = flow.sent
            world.until(lambda: flow.sent > sent + 25_000)
        last = bridges.start()
        world.until(lambda: flow.done, 60)
        world.until(lambda: service.frames()[-1]["cursor"] in
                    [row[1] for row in recorded(world)[-3:]], 90, "the last frame is not there")
        frames = service.frames()
        rows = recorded(world)
        found = [json.loads(json.dumps(row[3])) for row in rows if row[2] == "telemetry.gap"]
        assert found and len(found) == last.metric("projectionist_bridge_gaps_total")
        lost = set()
        for gap in found:
            after, before = bridge.place(gap["after"]), bridge.place(gap["before"])
            between = [one["event_id"] for one in frames
                       if after < bridge.place(one["cursor"]) < before]
            assert gap["lost_at_most"] == len(between) > 0
            lost.update(between)
        assert [row[0] for row in rows if row[1]] == \
            [one["event_id"] for one in frames if one["event_id"] not in lost]


def test_back_pressure_while_kafka_is_away(world, bridges):
    service = bridges.service
    world.until_working(world.start("event-recorder"))
    running = bridges.start("--buffer-frames", "2000", "--batch-frames", "500")
    world.until(running.ready)
    flow = service.inject(30_000, rate=RATE)
    world.until(lambda: flow.sent > 3000)
    with away("kafka"):
        world.until(lambda: running.metric("projectionist_bridge_paused") == 1)
        sent = flow.sent
        world.until(lambda: flow.sent > sent + 10_000)
        assert running.metric("projectionist_bridge_frames_buffered") <= 2600
        assert running.alive()
        world.until(lambda: not running.ready(), what="it says that it is ready")
        service.cut()  # nothing is read of it, and it is replayed from the cursor
    assert_all_recorded(world, service)
    world.until(running.ready)
    assert running.metric("projectionist_bridge_pauses_total") >= 1
    assert running.metric("projectionist_bridge_gaps_total") == 0
    running.stop()


def test_it_stops_while_kafka_is_away(world, bridges):
    running = bridges.start("--shutdown-timeout", "1s")
    world.until(running.ready)
    flow = bridges.service.inject(4000, rate=2000)
    world.until(lambda: flow.sent > 1000)
    with away("kafka"):
        late = bridges.start()
        world.until(lambda: running.logged("waiting for a server", "Kafka"))
        world.until(lambda: late.logged("waiting for a server", "Kafka"))
        assert running.alive() and late.alive()
        late.stop(5)
        running.stop(5)
    assert running.logged("the next start replays them")
    world.until_working(world.start("event-recorder"))
    bridges.start()
    flow.wait()
    assert_all_recorded(world, bridges.service)


def test_a_frozen_bridge_that_was_replaced_publishes_nothing(world, bridges):
    service = bridges.service
    world.until_working(world.start("event-recorder"))
    frozen = bridges.start()
    world.until(frozen.ready)
    flow = service.inject(6000, rate=2000)
    world.until(lambda: flow.sent > 2000)
    frozen.freeze()
    second = bridges.start()
    world.until(second.ready)
    flow.wait()
    world.until(lambda: count(world) >= 6000, 60)
    frozen.thaw()
    frozen.wait(FENCED, STOP_DEADLINE)
    assert frozen.logged("another telemetry-bridge has taken over")
    assert_all_recorded(world, service)


@pytest.mark.slow
def test_a_frozen_bridge_goes_on_when_its_transaction_was_aborted(world, bridges):
    """The brokers fence it then, as if there were another one; but there is none."""
    service = bridges.service
    world.until_working(world.start("event-recorder"))
    frozen = bridges.start("--transaction-timeout", "1s", "--batch-frames", "200")
    world.until(frozen.ready)
    flow = service.inject(60_000, rate=2000)
    for number in range(1, 4):
        world.until(lambda: flow.sent > 1500 * number)
        frozen.freeze()
        # Another producer's transaction in the same partition is seen by readers only when the
        # brokers have ended what the frozen one left open, if it had begun one.
        sent = flow.sent
        world.until(lambda: flow.sent > sent + 26_000 // 2, 30)
        frozen.thaw()
    flow.wait(60)
    assert_all_recorded(world, service)
    # What is found at the end of a transaction is a producer's; that it ends for it, the bridge says.
    assert frozen.alive() and not frozen.logged("another telemetry-bridge has taken over")

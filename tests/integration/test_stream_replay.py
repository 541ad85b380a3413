# SPDX-License-Identifier: Apache-2.0
"""stream-replay: the pace, what it measures, repetitions, threads, and going on after a kill."""

import base64
import collections
import json
import os
import random
import re
import signal
import struct
import subprocess
import threading
import time
import uuid
import zlib

import pytest

from lib import consumers, events, kafka
from lib.database import wait_until
from lib.kafka_proxy import FENCED, KafkaProxy
from lib.world import RECORDER

TOPIC = "replayed"
START = 1_795_237_594_968


def produce(count, *, partitions=1, step_ms=1, value=lambda number: b"v%d" % number, shuffled=False):
    """A topic made anew with so many records."""
    kafka.new_topics(TOPIC, partitions=partitions)
    random.seed(5)
    kafka.produce([kafka.Record(TOPIC, b"k%d" % number, value(number),
                                START + (random.randrange(1000) if shuffled else number * step_ms),
                                number % partitions) for number in range(count)])


def record(folder, *arguments, topic=TOPIC):
    result = consumers.run("stream-record", "-o", folder, topic, *arguments)
    assert result.returncode == 0, result.stderr
    return folder


def replay(*arguments, code=0, deadline=90, variables=None):
    result = consumers.run("stream-replay", "--json", *arguments, deadline=deadline,
                           variables=variables)
    assert result.returncode == code, result.stderr
    return json.loads(result.stdout)


def refused(*arguments):
    result = consumers.run("stream-replay", *arguments)
    assert result.returncode == 2, result.stderr
    return result.stderr


def contents(found):
    """{partition: [(key, value)]}, in order."""
    parts = collections.defaultdict(list)
    for item in found:
        parts[item.partition].append((item.key, item.value))
    return parts


def test_the_recorded_pace(tmp_path):
    """Two seconds at speed 1 and 0.5, as they were recorded; the log is what HdrHistogram's is."""
    produce(201, step_ms=10)
    folder = record(tmp_path / "recorded")
    for speed, seconds in (("2", 1), ("0.5", 4)):
        kafka.new_topics(TOPIC, partitions=1)
        begun = time.time() * 1000
        log = tmp_path / f"{speed}.hlog"
        result = replay("--speed", speed, "--shift", "now", "--hdr-log", log, folder)
        assert seconds <= result["seconds"] < seconds + 2, result
        lateness = result["lateness_ms"]
        assert lateness["count"] == 201
        assert lateness["p50"] <= lateness["p99"] <= lateness["p99.9"] <= lateness["max"]
        times = [item.timestamp for item in kafka.read(TOPIC)]
        assert times == sorted(times) and begun <= times[0] <= time.time() * 1000
        assert abs(times[-1] - times[0] - seconds * 1000) <= 2
        logged = [value for tag, values in hdr_log(log) if tag == "lateness" for value in values]
        assert len(logged) == 201
        assert abs(max(logged) / 1000 - lateness["max"]) <= lateness["max"] / 500 + 0.1
    result = replay("--rate", "200", "--limit", "100", folder)
    assert 0.49 <= result["seconds"] < 2, result


def hdr_log(path):
    """(tag, [value]) of each line: the encoding V2 of HdrHistogram, three digits."""
    lines = path.read_text().splitlines()
    assert lines[0] == "#[Histogram log format version 1.3]"
    for line in lines:
        match = re.fullmatch(r"Tag=(\w+),([\d.]+),([\d.]+),([\d.]+),(\S+)", line)
        if not match:
            continue
        data = base64.b64decode(match[5])
        cookie, length = struct.unpack(">ii", data[:8])
        assert cookie == 0x1c849314 and length == len(data) - 8
        plain = zlib.decompress(data[8:])
        cookie, size, offset, digits, least, most, ratio = struct.unpack(">iiiiqqd", plain[:40])
        assert (cookie, size, offset, digits, least, ratio) == (
            0x1c849313, len(plain) - 40, 0, 3, 1, 1.0)
        yield match[1], list(counted(plain[40:]))


def counted(data):
    """The value of each count."""
    place = at = 0
    while at < len(data):
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 127) << shift if shift < 56 else byte << 56
            shift += 7
            if byte < 128 or shift > 56:
                break
        count = (number >> 1) ^ -(number & 1)
        if count < 0:
            place -= count
            continue
        bucket = max(place // 1024 - 1, 0)
        sub = place % 1024 + (1024 if place >= 1024 else 0)
        for _ in range(count):
            yield sub << bucket
        place += 1


def test_repetitions_have_ids_of_their_own(tmp_path):
    ids = [str(uuid.uuid4()) for _ in range(50)]
    kafka.new_topics(TOPIC, partitions=2)
    kafka.produce([kafka.Record(TOPIC, ids[n], b'{"id":"%s","n":%d}' % (ids[n].encode(), n),
                                START + n, n % 2) for n in range(50)])
    folder = record(tmp_path / "recorded")
    kafka.new_topics(TOPIC, partitions=2)
    result = replay("--loop", "3", "--rekey", folder)
    assert result["records"] == 150
    found = kafka.read(TOPIC)
    keys = {item.key.decode() for item in found}
    assert len(keys) == 150 and set(ids) < keys
    for item in found:
        assert json.loads(item.value)["id"] == item.key.decode()
    times = sorted(item.timestamp for item in found)
    assert times == [START + n + 50 * round for round in range(3) for n in range(50)]


def test_threads_keep_each_partitions_order(tmp_path):
    """Whatever the timestamps say, and from file to file."""
    produce(5000, partitions=5, shuffled=True)
    folder = record(tmp_path / "recorded", "--file-size", "16KiB")
    assert len(list(folder.iterdir())) > 10
    before = contents(kafka.read(TOPIC))
    kafka.new_topics(TOPIC, partitions=5)
    assert replay("--threads", "3", folder)["records"] == 5000
    assert contents(kafka.read(TOPIC)) == before
    next(iter(sorted(folder.glob(f"{TOPIC}-0-000002.avro")))).unlink()
    result = consumers.run("stream-replay", folder)
    assert result.returncode == 1 and "a file is missing" in result.stderr, result.stderr


def test_a_late_end_of_a_transaction_meets_no_later_one(tmp_path):
    """The coordinator's connection is cut at EndTxn, which arrives when the next transaction is open."""
    produce(2000)
    folder = record(tmp_path / "recorded")
    before = contents(kafka.read(TOPIC))
    kafka.new_topics(TOPIC, partitions=1)
    with KafkaProxy() as proxy:
        proxy.delay_commit()
        replay("--resume", f"late-{uuid.uuid4().hex[:8]}", "--rate", "1000", folder,
               variables={"KAFKA_BOOTSTRAP_SERVERS": proxy.address})
        assert proxy.arrived.is_set() and proxy.late_error in FENCED
    assert contents(kafka.read(TOPIC)) == before


KILLS = int(os.environ.get("REPLAY_KILLS", "5"))  # 20 in the longer form; see tests/README.md
COUNT = 1_200 * (KILLS + 1)


def test_a_replay_that_is_killed_goes_on_without_a_duplicate(tmp_path):
    produce(COUNT, partitions=3)
    folder = record(tmp_path / "recorded")
    before = contents(kafka.read(TOPIC))
    kafka.new_topics(TOPIC, partitions=3)
    arguments = ("--resume", f"killed-{uuid.uuid4().hex[:8]}", "--threads", "2", "--rate", "6000",
                 folder)
    kills = 0
    while kills < KILLS:
        process = subprocess.Popen(
            [consumers.program("stream-replay"), *map(str, arguments)],
            env=consumers.environment(), cwd="/", stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)
        behind = sum(kafka.end_offsets(TOPIC).values())
        wait_until(lambda: process.poll() is not None or
                   sum(kafka.end_offsets(TOPIC).values()) > behind, 60, "nothing is published")
        if process.poll() is not None:
            assert process.returncode == 0, process.stderr.read()
            break
        process.kill()
        process.wait()
        kills += 1
    assert kills > KILLS // 2
    result = replay(*arguments)
    assert result["records"] == COUNT and result["resumed"] > 0, result
    assert contents(kafka.read(TOPIC)) == before
    # Once more it is all there; another replay may not take its name.
    assert replay(*arguments)["resumed"] == COUNT
    assert contents(kafka.read(TOPIC)) == before
    assert "names a replay of other recordings" in refused(*arguments, "--loop", "2")


def test_what_does_not_go_together():
    assert "exclude each other" in refused("--rate", "5", "--speed", "1", "x")
    assert "--speed takes" in refused("--speed", "fast", "x")
    assert "leave out --threads" in refused("--limit", "5", "--threads", "2", "x")
    assert "--loop" in refused("--rekey", "x")
    assert "needs --expect" in refused("--p99", "20ms", "x")
    assert "--resume takes" in refused("--resume", "a b", "x")


# --- until rows are visible -------------------------------------------------------------------

def expecting(world, *arguments, code=0):
    result = consumers.run("stream-replay", "--json", "--expect", world.group(RECORDER), *arguments,
                           variables={"POSTGRES_DSN": world.dsn})
    assert result.returncode == code, result.stderr
    return json.loads(result.stdout), result.stderr


@pytest.fixture
def telemetry(world, tmp_path):
    """A recording of 5,000 telemetry events."""
    world.publish([events.telemetry("rate.limited", events.START + number * 1000)
                   for number in range(5000)])
    return record(tmp_path / "recorded", topic=events.TELEMETRY)


def test_a_consumer_that_stands_still_is_late_for_all_that_came_meanwhile(world, telemetry, tmp_path):
    consumer = world.start(RECORDER)
    world.wait_for_ends(world.group(RECORDER), events.TELEMETRY)
    log = tmp_path / "x.hlog"
    result, _ = expecting(world, "--rate", "1000", "--p99", "20s", "--hdr-log", log, telemetry)
    assert result["visible_ms"]["count"] == 5000
    assert result["visible_ms"]["p50"] < 1000, result
    assert sum(len(values) for tag, values in hdr_log(log) if tag == "visible") == 5000

    def stand_still():
        time.sleep(2)
        consumer.process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        consumer.process.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=stand_still)
    thread.start()
    result, said = expecting(world, "--rate", "1000", "--p99", "100ms", telemetry, code=1)
    thread.join()
    assert result["visible_ms"]["p99.9"] >= 1900, result
    assert result["visible_ms"]["p50"] < 2000, result
    assert "more than --p99 100.0 ms" in said


def test_a_group_that_is_not_there_or_does_not_go_on(world, telemetry):
    _, said = expecting(world, telemetry, code=1)
    assert "has no offset of these topics" in said
    world.catch_up(RECORDER)
    _, said = expecting(world, "--timeout", "2s", telemetry, code=1)
    assert "has not taken 5000 of the records" in said

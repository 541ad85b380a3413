# SPDX-License-Identifier: Apache-2.0
"""stream-record: what it writes is what the topic has, whatever happens meanwhile."""

import contextlib
import dataclasses
import hashlib
import http.server
import io
import json
import os
import re
import resource
import signal
import subprocess
import threading
import time
from datetime import datetime, timezone

import fastavro
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import (AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions,
                                   ResourceType)

from lib import avro, consumers, kafka, registry
from lib.database import wait_until

TOPIC = "recorded"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
START = 1_795_237_594_968
MESSAGE, HEAD, TAIL, GAP, SCHEMA = (f"projectionist.Recorded{name}" for name in
                                    ("Message", "Head", "Tail", "Gap", "Schema"))


def topic(partitions=1, **config):
    kafka.new_topics(TOPIC, partitions=partitions,
                     config={key.replace("_", "."): value for key, value in config.items()})


def messages(count, partition=0, first=0, noise=0):
    return [kafka.Record(TOPIC, b"k%d" % number, b"value %d " % number + os.urandom(noise),
                         START + number // 3, partition, [("h", b"%d" % number), ("h", None)])
            for number in range(first, first + count)]


def record(folder, *arguments, code=0, variables=None):
    """Records; the result."""
    result = consumers.run("stream-record", "--json", "--output", folder, *arguments,
                           variables=variables)
    assert result.returncode == code, result.stderr
    found = json.loads(result.stdout)
    return {**found, "stderr": result.stderr}


def refused(*arguments, code, variables=None):
    """One sentence."""
    result = consumers.run("stream-record", *arguments, variables=variables)
    assert result.returncode == code, (result.returncode, result.stderr)
    return result.stderr


def inspect(*arguments):
    result = consumers.run("stream-record", "--json", *arguments)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def items(folder, name=TOPIC, partition=0):
    """(kind, item) of all files of a partition, as another reader reads them."""
    for path in sorted(folder.glob(f"{name}-{partition}-*.avro")):
        with open(path, "rb") as file:
            yield from fastavro.reader(file, return_record_name=True)


def recorded(folder, partition=0):
    return [item for kind, item in items(folder, partition=partition) if kind == MESSAGE]


def as_read(found):
    """Of a recorded message, what kafka.read gives."""
    milliseconds = (found["timestamp"] - EPOCH).total_seconds() * 1000
    return kafka.Record(found["topic"], found["key"], found["value"], round(milliseconds),
                        found["partition"],
                        [(header["name"], header["value"]) for header in found["headers"]],
                        found["offset"])


def test_everything_is_recorded_and_another_library_reads_it(tmp_path):
    """Null and empty keys and values, headers, timestamps before 1970, schemas, 10 MB."""
    topic(2, max_message_bytes="12000000")
    schema = json.dumps({"type": "record", "name": "R", "fields": [
        {"name": "id", "type": "string"}]})
    schema_id = registry.register(f"{TOPIC}-value", schema)
    body = io.BytesIO()
    fastavro.schemaless_writer(body, avro.parsed(schema), {"id": "é"})
    in_avro = b"\0" + schema_id.to_bytes(4, "big") + body.getvalue()
    kafka.produce([
        kafka.Record(TOPIC, None, None, START, 0),
        kafka.Record(TOPIC, b"", b"", START, 0, [("h", b""), ("h", None), ("é", b"\0\xff")]),
        kafka.Record(TOPIC, b"k", in_avro, START, 0),
        kafka.Record(TOPIC, b"k2", in_avro, 1, 0),
        kafka.Record(TOPIC, b"other", b"\0\x7f\xff\xff\xfeno schema", START, 0),
        kafka.Record(TOPIC, b"large", os.urandom(10_000_000), START, 0),
        kafka.Record(TOPIC, b"many", b"", START, 0, [(f"h{n}", b"%d" % n) for n in range(500)]),
    ], **{"message.max.bytes": 12_000_000})
    folder = tmp_path / "recorded"
    result = record(folder, TOPIC)
    assert (result["records"], result["files"], result["unknown_schemas"]) == (7, 2, 1), result
    assert [as_read(found) for found in recorded(folder)] == kafka.read(TOPIC)
    assert recorded(folder, 1) == []
    found = list(items(folder))
    kinds = [kind for kind, _ in found]
    assert kinds == [HEAD, *[MESSAGE] * 2, SCHEMA, *[MESSAGE] * 5, TAIL]
    head, tail = found[0][1], found[-1][1]
    assert head["topic"] == TOPIC and head["partitions"] == 2 and head["begin"] == 0
    assert head["configuration"]["retention.ms"] == "-1"
    assert head["cluster_id"] == kafka.admin().list_topics(timeout=10).cluster_id
    assert {item["timestamp_type"] for item in recorded(folder)} == {"CREATE_TIME"}
    used = found[3][1]
    assert used["id"] == schema_id and used["subject"] == f"{TOPIC}-value"
    assert json.loads(used["schema"]) == json.loads(schema)
    assert (tail["count"], tail["next"], tail["earliest"], tail["latest"]) == (7, 7, 1, START)
    assert tail["sha256"] == checksum(recorded(folder))
    checked = {part["partition"]: part for part in inspect("--check", folder)}
    assert checked[0]["sha256"] == tail["sha256"] and checked[0]["records"] == 7
    assert checked[1]["records"] == 0
    assert {part["partition"]: part["records"] for part in inspect("--info", folder)} == {0: 7, 1: 0}
    # Nothing new is no new file; what is new goes into one.
    assert record(folder, TOPIC)["files"] == 0
    kafka.produce(messages(2, partition=1))
    result = record(folder, TOPIC)
    assert (result["records"], result["files"]) == (2, 1)
    assert [as_read(found) for found in recorded(folder, 1)] == [
        item for item in kafka.read(TOPIC) if item.partition == 1]


def checksum(found):
    """As RecordedTail says."""
    schema = json.loads((avro.SCHEMAS / "recording.avsc").read_text(encoding="utf-8"))
    fields = {field["name"]: field for field in schema[1]["fields"]}
    part = fastavro.parse_schema({"type": "record", "name": "part", "fields": [
        fields[name] for name in ("key", "timestamp", "headers", "value", "timestamp_type")]})
    out = io.BytesIO()
    for item in found:
        fastavro.schemaless_writer(out, part, item)
    return hashlib.sha256(out.getvalue()).hexdigest()


def transactional(name):
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers(), "transactional.id": name})
    producer.init_transactions(30)
    return producer


def test_gaps_have_causes_and_the_end_is_reached_without_a_record(tmp_path):
    """Records that retention took, markers, and a partition that ends with aborted records."""
    topic()
    kafka.produce(messages(10))
    client = kafka.admin()
    for future in client.delete_records([TopicPartition(TOPIC, 0, 4)]).values():
        future.result(30)
    producer = transactional("gaps")
    producer.begin_transaction()
    producer.produce(TOPIC, b"committed", partition=0)
    producer.commit_transaction(30)  # a marker
    producer.begin_transaction()
    for number in range(5):
        producer.produce(TOPIC, b"aborted %d" % number, partition=0)
    producer.flush(30)
    producer.abort_transaction(30)  # a marker after five
    folder = tmp_path / "recorded"
    result = record(folder, TOPIC, "--timeout", "20s")
    assert result["gaps"] == {"aborted": 7, "compacted": 0, "removed": 4}
    assert result["records"] == 7
    gaps = [(item["begin"], item["end"], item["cause"]) for kind, item in items(folder)
            if kind == GAP]
    assert gaps == [(0, 4, "REMOVED"), (11, 18, "ABORTED")]
    found, = inspect("--check", folder)
    assert found["next"] == 18 and found["gaps"] == result["gaps"]
    # An open transaction ends what is committed.
    producer.begin_transaction()
    producer.produce(TOPIC, b"open", partition=0)
    producer.flush(30)
    kafka.produce(messages(1))
    assert record(folder, TOPIC)["records"] == 0
    producer.commit_transaction(30)
    assert record(folder, TOPIC)["records"] == 2


def test_partitions_offsets_and_times(tmp_path):
    topic(3)
    kafka.produce([*messages(30, 0), *messages(30, 1), *messages(30, 2)])

    def offsets(*arguments):
        folder = tmp_path / str(time.monotonic_ns())
        record(folder, *arguments)
        return [[item["offset"] for item in recorded(folder, partition)] for partition in range(3)]

    assert offsets(f"{TOPIC}:0,2@10..12") == [[10, 11], [], [10, 11]]
    assert offsets(f"{TOPIC}:1-2", "--from", "27") == [[], [27, 28, 29], [27, 28, 29]]
    assert offsets(f"{TOPIC}:1", "--to", "2") == [[], [0, 1], []]
    assert offsets(f"{TOPIC}:0@2026-11-21T05:06:34.970Z..2026-11-21T05:06:34.971Z") == [
        [6, 7, 8], [], []]
    assert offsets(f"{TOPIC}:0@29..1000") == [[29], [], []]
    assert "no partition 3" in refused("-o", tmp_path / "x", f"{TOPIC}:3", code=2)
    assert "not the name of a topic" in refused("-o", tmp_path / "x", "a b", code=2)
    assert "--from takes" in refused("-o", tmp_path / "x", TOPIC, "--from", "tomorrow", code=2)
    assert "given twice" in refused("-o", tmp_path / "x", TOPIC, TOPIC, code=2)
    assert "no topic recorded.not" in refused("-o", tmp_path / "x", "recorded.not", code=1)
    assert "--output DIR" in refused(TOPIC, code=2)
    assert "could not" not in refused("-o", "/nowhere/at/all", TOPIC, code=2)


def test_files_roll_and_an_interrupted_recording_goes_on(tmp_path):
    """Killed many times, it is what an undisturbed run records, file by file."""
    topic(2)
    kafka.produce([*messages(20_000, 0, noise=300), *messages(15_000, 1, noise=300)])
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    arguments = (TOPIC, "--file-size", "2MiB")
    result = record(whole, *arguments)
    assert result["records"] == 35_000 and result["files"] > 6
    kills = 0
    for _ in range(40):
        process = subprocess.Popen(
            [consumers.program("stream-record"), "--output", cut, *arguments],
            env=consumers.environment(), cwd="/", stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        wanted = size_of(cut) + 400_000
        wait_until(lambda: process.poll() is not None or size_of(cut) >= wanted, 60, "no progress")
        if process.poll() is not None:
            assert process.returncode == 0
            break
        process.kill()
        process.wait()
        kills += 1
        for path in cut.glob("*.avro"):  # what has its name is whole
            inspect("--info", path)
    assert kills > 3
    record(cut, *arguments)
    assert not list(cut.glob("*.partial"))
    names = sorted(path.name for path in whole.iterdir())
    assert names == sorted(path.name for path in cut.iterdir())
    inspected = inspect("--check", whole)
    assert inspected == [{**part, "bytes": other["bytes"]}
                         for part, other in zip(inspect("--check", cut), inspected)]
    for name in names:
        assert tail_of(whole / name) == tail_of(cut / name), name


def size_of(folder):
    return sum(path.stat().st_size for path in folder.glob("*.avro*")) if folder.exists() else 0


def tail_of(path):
    with open(path, "rb") as file:
        return list(fastavro.reader(file))[-1]


def test_a_full_disk_is_said_and_gone_on_with(tmp_path):
    topic()
    kafka.produce(messages(20_000, noise=500))
    folder = tmp_path / "recorded"

    def little_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    result = subprocess.run([consumers.program("stream-record"), "-o", folder, TOPIC],
                            env=consumers.environment(), cwd="/", capture_output=True, text=True,
                            preexec_fn=little_room, timeout=60, check=False)
    assert result.returncode == 1 and "cannot write" in result.stderr, result.stderr
    assert "goes on from there" in result.stderr
    assert record(folder, TOPIC)["records"] < 20_000
    assert [item["offset"] for item in recorded(folder)] == list(range(20_000))
    inspect("--check", folder)


def test_it_follows_and_finds_partitions_that_are_added(tmp_path):
    topic()
    kafka.produce(messages(5))
    folder = tmp_path / "recorded"
    process = subprocess.Popen(
        [consumers.program("stream-record"), "--json", "--follow", "-o", folder, TOPIC],
        env=consumers.environment(), cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True)
    wait_until(lambda: list(folder.glob("*.partial")), 30, "nothing is recorded")
    # One recorder a folder.
    assert "another stream-record" in refused("-o", folder, TOPIC, code=5)
    client = kafka.admin()
    for future in client.create_partitions([NewPartitions(TOPIC, 2)]).values():
        future.result(30)
    wait_until(lambda: len(kafka.end_offsets(TOPIC)) == 2, 30, "no partition")
    kafka.produce([*messages(3, 1), *messages(3, 0, first=5)])
    wait_until(lambda: list(folder.glob(f"{TOPIC}-1-*.partial")), 30, "not found")
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["records"] == 11, err
    assert [item["offset"] for item in recorded(folder)] == list(range(8))
    assert [item["offset"] for item in recorded(folder, 1)] == list(range(3))
    # The topic made anew is another one.
    topic()
    assert "recreated" in refused("-o", folder, TOPIC, code=4)


@pytest.mark.parametrize("damage", ["cut", "block", "marker", "length", "tail"])
def test_damage_is_found(tmp_path, damage):
    topic()
    kafka.produce(messages(3_000, noise=300))
    folder = tmp_path / "recorded"
    record(folder, TOPIC)
    path, = folder.glob("*.avro")
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[:-3]
    elif damage == "block":
        data[len(data) // 2] ^= 1
    elif damage == "marker":
        data[-1] ^= 1
    elif damage == "length":
        start = data.index(data[-16:]) + 16
        data[start + 1:start + 3] = b"\xff\xff\xff\xff\xff\xff\xff\xff\x01"
    else:  # the last block, which is the tail's, is not there
        marker = bytes(data[-16:])
        data = data[:data.rindex(marker, 0, -16) + 16]
    path.write_bytes(data)
    said = refused("--check", path, code=1)
    assert str(path) in said and len(said.splitlines()) == 1, said


def test_a_recording_is_compared_with_its_topic(tmp_path):
    topic(2)
    first = messages(300)
    kafka.produce([*first, *messages(20, partition=1)])
    folder = tmp_path / "recorded"
    record(folder, TOPIC, "--file-size", "4KiB")
    compare = ("--check", "--against-topic", folder)
    kafka.produce(messages(10, first=300))  # what came later is not compared
    assert sum(part["records"] for part in inspect(*compare)) == 320
    # One bit of one record; one record less; the first one deleted; none of it.
    first[150] = dataclasses.replace(first[150], value=b"valuf 150 ")
    topic(2)
    kafka.produce([*first, *messages(20, partition=1)])
    assert f"{TOPIC} [0] has other records from the offset 0 to 300" in refused(*compare, code=1)
    topic(2)
    kafka.produce([*messages(299), *messages(20, partition=1)])
    assert f"{TOPIC} [0] has 299 records" in refused(*compare, code=1)
    topic(2)
    kafka.produce([*messages(300), *messages(20, partition=1)])
    inspect(*compare)
    admin = kafka.admin()  # must live until it has its answer
    place = TopicPartition(TOPIC, 0, 1)
    admin.delete_records([place])[place].result(30)
    assert "was deleted since" in refused(*compare, code=1)
    kafka.delete_topics(TOPIC)
    assert TOPIC in refused(*compare, "--timeout", "10s", code=7)


def test_a_recording_that_cannot_be_compared_is_named(tmp_path):
    topic()
    kafka.produce(messages(3))
    folder = tmp_path / "recorded"
    record(folder, TOPIC, "--drop", "@key")
    said = refused("--check", "--against-topic", folder, code=2)
    assert "were changed when it was recorded" in said
    assert "goes with --check" in refused("--against-topic", folder, code=2)
    said = refused("--check", "--against-topic", folder, "--timeout", "1s",
                   code=2, variables={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    assert "were changed" in said


@contextlib.contextmanager
def brisk_cleaner():
    """The broker's cleaner looks each 200 ms, not each 15 s."""
    client = kafka.admin()

    def change(operation):
        entry = ConfigEntry("log.cleaner.backoff.ms", "200", incremental_operation=operation)
        resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
        for future in client.incremental_alter_configs([resource]).values():
            future.result(30)

    change(AlterConfigOpType.SET)
    try:
        yield
    finally:
        change(AlterConfigOpType.DELETE)


def test_compacted_topics(tmp_path):
    topic(cleanup_policy="compact", segment_ms="100", min_cleanable_dirty_ratio="0.01",
          max_compaction_lag_ms="100")
    kafka.produce([kafka.Record(TOPIC, b"k%d" % (n % 3), b"%d" % n, START, 0) for n in range(300)])
    kafka.produce([kafka.Record(TOPIC, b"last", b"", START + 10_000, 0)])
    with brisk_cleaner():
        wait_until(lambda: len(kafka.read(TOPIC)) < 10, 60, "nothing is compacted")
    folder = tmp_path / "recorded"
    result = record(folder, TOPIC)
    assert result["gaps"]["compacted"] + result["records"] == 301, result
    assert result["gaps"]["aborted"] == 0
    inspect("--check", folder)


def test_servers_that_are_away(tmp_path):
    topic()
    schema = json.dumps({"type": "string"})
    value = b"\0" + registry.register(f"{TOPIC}-value", schema).to_bytes(4, "big") + b"\2x"
    kafka.produce([kafka.Record(TOPIC, b"k", value, START, 0)])
    folder = tmp_path / "recorded"
    said = refused("-o", folder, TOPIC, "--timeout", "1s", code=7,
                   variables={"SCHEMA_REGISTRY_URL": "http://127.0.0.1:1"})
    assert "127.0.0.1:1" in said
    said = refused("-o", folder, TOPIC, "--timeout", "1s", code=7,
                   variables={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    assert "127.0.0.1:1" in said
    assert record(folder, TOPIC, variables={"SCHEMA_REGISTRY_URL": None})["unknown_schemas"] == 1


def test_a_recording_of_a_replay_is_the_same(tmp_path):
    """Apart from the offsets: the checksums, file by file, and every record."""
    topic(3)
    schema = json.dumps({"type": "string"})
    schema_id = registry.register(f"{TOPIC}-value", schema).to_bytes(4, "big")
    producer = transactional("replayed")  # its markers are gaps
    producer.begin_transaction()
    for number in range(3000):
        producer.produce(TOPIC, b"\0" + schema_id + b"\6x%02d" % (number % 100),
                         b"k%d" % number if number % 7 else None, partition=number % 3,
                         timestamp=START + number, headers=[("n", b"%d" % number)])
        if number % 1000 == 999:
            producer.commit_transaction(30)
            producer.begin_transaction()
    producer.abort_transaction(30)
    first, second = tmp_path / "first", tmp_path / "second"
    assert record(first, TOPIC, "--file-size", "16KiB")["gaps"]["aborted"] > 0
    topic(3)
    result = consumers.run("stream-replay", first)
    assert result.returncode == 0, result.stderr
    result = record(second, TOPIC, "--file-size", "16KiB")
    assert result["records"] == 3000 and result["gaps"]["aborted"] == 0
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir()) and len(names) > 6
    for name in names:
        assert tail_of(first / name)["sha256"] == tail_of(second / name)["sha256"], name
    for partition in range(3):
        one, other = ([{**item, "offset": None} for item in recorded(folder, partition)]
                      for folder in (first, second))
        assert one == other


PERSON = json.dumps({"type": "record", "name": "Person", "fields": [
    {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "name", "type": ["null", "string"]},
    {"name": "email", "type": "string"},
    {"name": "age", "type": "int"},
    {"name": "others", "type": {"type": "array", "items": {
        "type": "record", "name": "Other", "fields": [
            {"name": "email", "type": ["null", "string"]}, {"name": "n", "type": "long"}]}}},
    {"name": "kept", "type": {"type": "map", "values": "string"}}]})


def person(number):
    return {"id": f"0b5ccf1e-9d2c-4a3f-8c11-{number % 2:012d}", "name": "Ann", "age": 40 + number,
            "email": f"ann{number % 2}@example.org", "kept": {"k": "Ann"},
            "others": [{"email": "bob@example.org", "n": 1}, {"email": None, "n": 2}]}


# --- keys with a schema -----------------------------------------------------------------------

ID = json.dumps({"type": "record", "name": "Id", "fields": [{"name": "id", "type": "string"}]})
BODY = json.dumps({"type": "record", "name": "Body", "fields": [{"name": "n", "type": "long"}]})


def in_avro(schema_id, schema, value):
    body = io.BytesIO()
    fastavro.schemaless_writer(body, avro.parsed(schema), value)
    return b"\0" + schema_id.to_bytes(4, "big") + body.getvalue()


@contextlib.contextmanager
def another_registry(schemas, subjects):
    """With ids of its own: {id: schema}, {subject: id}. Gives its URL."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            of_id = re.fullmatch(r"/schemas/ids/(\d+)", self.path)
            of_subject = re.fullmatch(r"/subjects/(.+)/versions/latest", self.path)
            found = int(of_id[1]) if of_id else subjects.get(of_subject[1])
            known = found in schemas
            answer = ({"id": found, "schema": schemas[found]} if known else
                      {"error_code": 40403 if of_id else 40401, "message": "there is none"})
            content = json.dumps(answer).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"SCHEMA_REGISTRY_URL": f"http://127.0.0.1:{server.server_port}"}
        server.shutdown()


def test_keys_with_a_schema_are_those_of_the_registry_that_is_published_to(tmp_path):
    """Keys and values of one id, too; what only begins as an id stays as it is."""
    topic()
    kafka.produce([
        kafka.Record(TOPIC, in_avro(70001, ID, {"id": "a"}), in_avro(70002, BODY, {"n": 1}), START),
        kafka.Record(TOPIC, in_avro(70001, ID, {"id": "b"}), in_avro(70001, ID, {"id": "c"}), START),
        kafka.Record(TOPIC, in_avro(70009, ID, {"id": "d"}), None, START),
        kafka.Record(TOPIC, b"text", b"text", START)])
    folder = tmp_path / "recorded"
    with another_registry({70001: ID, 70002: BODY}, {f"{TOPIC}-key": 70001}) as elsewhere:
        result = record(folder, TOPIC, variables=elsewhere)
        assert (result["unknown_schemas"], result["unknown_key_schemas"]) == (0, 1), result
        assert "1 keys look as if they had a schema id" in result["stderr"]
        refusal = refused("--hash", "@key", "--output", tmp_path / "hashed", TOPIC, code=1,
                          variables={**elsewhere, "HASH_KEY": "k"})
        assert f"the keys of {TOPIC} have a schema" in refusal
        record(tmp_path / "dropped", "--drop", "@key", TOPIC, variables=elsewhere)
    assert {item["key"] for item in recorded(tmp_path / "dropped")} == {None}
    assert [(item["id"], item["subject"]) for kind, item in items(folder) if kind == SCHEMA] == [
        (70001, f"{TOPIC}-key"), (70002, f"{TOPIC}-value"), (70001, f"{TOPIC}-value")]
    before = kafka.read(TOPIC)
    topic()
    result = consumers.run("stream-replay", folder)
    assert result.returncode == 0, result.stderr
    of_id, of_body = (registry.register(f"{TOPIC}-{part}", schema)
                      for part, schema in (("key", ID), ("value", BODY)))
    assert [(item.key, item.value) for item in kafka.read(TOPIC)] == [
        (in_avro(of_id, ID, {"id": "a"}), in_avro(of_body, BODY, {"n": 1})),
        (in_avro(of_id, ID, {"id": "b"}), in_avro(of_id, ID, {"id": "c"})),
        *((item.key, item.value) for item in before[2:])]


def test_keys_that_are_numbers_are_not_taken_for_avro(tmp_path):
    """The long 16777216 * id begins as the wire format does, of a schema that there is."""
    name = "numbered"  # which has no subject for keys
    kafka.new_topics(name, partitions=1)
    of_value = registry.register(f"{name}-value", BODY)
    key = b"\0" + of_value.to_bytes(4, "big") + b"\0\0\0"
    kafka.produce([kafka.Record(name, key, in_avro(of_value, BODY, {"n": 1}), START)])
    result = record(tmp_path / "recorded", name)
    assert (result["unknown_schemas"], result["unknown_key_schemas"]) == (0, 1), result
    found = list(items(tmp_path / "recorded", name))
    assert [item["subject"] for kind, item in found if kind == SCHEMA] == [
        f"{name}-value"]
    assert [item["key"] for kind, item in found if kind == MESSAGE] == [key]


def test_personal_data_is_left_out(tmp_path):
    topic()
    schema_id = registry.register(f"{TOPIC}-value", PERSON)
    records = []
    for number in range(4):
        body = io.BytesIO()
        fastavro.schemaless_writer(body, avro.parsed(PERSON), person(number))
        records.append(kafka.Record(TOPIC, b"ann", b"\0" + schema_id.to_bytes(4, "big") +
                                    body.getvalue(), START, 0, [("who", b"ann"), ("x", b"y")]))
    kafka.produce([*records, kafka.Record(TOPIC, b"ann", None, START, 0)])
    folder = tmp_path / "recorded"
    arguments = ("--drop", "name,age,@headers.who", "--hash",
                 f"id,{TOPIC}:email,others.email,missing?,@key")
    assert "PROJECTIONIST_HASH_KEY" in refused("-o", folder, TOPIC, *arguments, code=2)
    secret = {"HASH_KEY": "secret"}
    record(folder, TOPIC, *arguments, variables=secret)
    found = recorded(folder)
    assert len(found) == 5 and found[4]["value"] is None
    assert found[4]["headers"] == []
    for item in found[:4]:
        assert item["headers"] == [{"name": "x", "value": b"y"}]
        assert len(item["key"]) == 32 and item["key"] == found[0]["key"]
    people = [fastavro.schemaless_reader(io.BytesIO(item["value"][5:]), avro.parsed(PERSON))
              for item in found[:4]]
    for number, one in enumerate(people):
        assert one["name"] is None and one["age"] == 0 and one["kept"] == {"k": "Ann"}
        assert len(one["email"]) == 32 and one["email"] == people[number % 2]["email"]
        assert one["id"] == people[number % 2]["id"] and str(one["id"])[14] == "8"
        assert len(one["others"][0]["email"]) == 32 and one["others"][1] == {"email": None, "n": 2}
    assert people[0]["email"] != people[1]["email"] and people[0]["id"] != people[1]["id"]
    raw = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"secret" not in raw
    checked, = inspect("--check", folder)
    assert "drop name" in checked["changes"] and "hash @key" in checked["changes"]
    # Another key is other hashes; other fields are another recording; a wrong field is none.
    record(tmp_path / "other", TOPIC, *arguments, variables={"HASH_KEY": "another"})
    assert recorded(tmp_path / "other")[0]["key"] != found[0]["key"]
    assert "other --drop and --hash" in refused("-o", folder, TOPIC, code=2)
    assert "has no field nmae" in refused("-o", tmp_path / "x", TOPIC, "--drop", "nmae", code=1)
    assert "cannot change" in refused("-o", tmp_path / "y", TOPIC, "--hash", "age", code=1,
                                      variables=secret)
    kafka.produce([kafka.Record(TOPIC, b"k", b"no avro", START, 0)])
    assert "has no schema" in refused("-o", tmp_path / "z", TOPIC, "--drop", "name", code=1)

# SPDX-License-Identifier: Apache-2.0
"""The system render: its consumers, killed all the time, keep tables that are those of an oracle;
verify finds nothing, and a rebuild changes nothing. And the edge cases that want a database.

PROJECTIONIST_RENDER_SEEDS (how many) and _SEED (the first) make it longer and another one, and
PROJECTIONIST_RENDER_GAIA says how many jobs of a real log; see tests/soak-render.
"""

import os
import random
import threading
from decimal import Decimal

import pytest
from lib import (avro, consumers, database, kafka, oracle, registry, render_events, render_gaia,
                 render_oracle)
from lib.events import SECOND, START, id_of
from lib.render_events import accessed, added, created, deleted, metric, status, stored
from lib.render_stream import Stream
from lib.world import World, new_database, open_world

SEEDS = int(os.environ.get("PROJECTIONIST_RENDER_SEEDS", "10"))
FIRST = int(os.environ.get("PROJECTIONIST_RENDER_SEED", "1"))
GAIA = int(os.environ.get("PROJECTIONIST_RENDER_GAIA", "1500"))
AT_ONCE = 10  # seeds in one world
PARTITIONS = 3
KILLS = 9
VARIABLES = {"SYSTEMS": "render"}
JOB, OTHER = id_of("render", "one"), id_of("render", "other")


class Render(World):
    contract = render_events
    reads = render_oracle.READS

    def good(self, *arguments, deadline=180):
        result = consumers.run("projectionist", *arguments, deadline=deadline,
                               variables={"POSTGRES_DSN": self.dsn, **VARIABLES})
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def replica(self, name):
        """Of small batches: more moments at which a kill can come in between."""
        return self.start(name, "--batch-records", "40", KAFKA_GROUP_INSTANCE_ID=self.group(name),
                          **consumers.QUICK)

    def read(self):
        return self.value("SELECT coalesce(sum(next_offset), 0)::int "
                          "FROM projectionist.consumer_offsets")

    def assert_right(self, events):
        """The tables are those of the oracle."""
        wanted = render_oracle.expected(events)
        for table, key in render_oracle.KEYS.items():
            wrong = oracle.differences(self.rows(f"render.{table}"), wanted[table], key)
            assert not wrong, f"{table}: {wrong}"

    def assert_letters(self, events):
        bad = {event["event_id"] for event in events if render_oracle.refused(event)}
        ids = {}
        for record in kafka.read(*render_events.TOPICS):
            _, event = avro.decode(record.value, avro.schema_text(record.topic))
            ids[record.topic, record.partition, record.offset] = event["event_id"]
        for name, topics in render_oracle.READS.items():
            letters = sorted((row["topic"], row["partition"], row["record_offset"])
                             for row in self.letters(self.group(name)))
            assert letters == sorted(place for place, event_id in ids.items()
                                     if place[0] in topics and event_id in bad), name

    def verify(self):
        for name in render_oracle.READS:
            self.good("verify", name, "--group", self.group(name))

    def tell(self, *events):
        """Published, read and right."""
        self.publish(events)
        self.catch_up(*render_oracle.READS)

    def job(self, job_id=JOB):
        row, = self.database.execute("SELECT * FROM render.jobs WHERE id = %s", [job_id])
        return row


@pytest.fixture(scope="module", name="migrated")
def a_migrated_database():
    with new_database(migrated=False) as dsn:
        result = consumers.run("projectionist", "migrate", "render",
                               variables={"POSTGRES_DSN": dsn, **VARIABLES})
        assert result.returncode == 0, result.stderr
        yield dsn


@pytest.fixture(name="world")
def a_world(tmp_path, migrated):
    with open_world(tmp_path, PARTITIONS, migrated, Render) as world:
        yield world


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, AT_ONCE))
def test_consumers_that_are_killed_all_the_time_keep_what_is_right(world, first):
    chance = random.Random(first)
    seeds = range(first, min(first + AT_ONCE, FIRST + SEEDS))
    streams = [Stream(seed, jobs=8) for seed in seeds]
    events = [event for stream in streams for event in stream.events]
    told = [event for stream in streams for event in stream.deliveries(first)]
    world.publish([world.record(event, chance.randrange(PARTITIONS)) for event in told])
    due = sum(len([event for event in told if render_events.topic_of(event) in topics])
              for topics in render_oracle.READS.values())
    running = {name: world.replica(name) for name in render_oracle.READS}
    for number in range(1, KILLS + 1):
        database.wait_until(lambda least=due * number // (KILLS + 1): world.read() >= least,
                            2 * consumers.DEADLINE, "no more is read")
        name = chance.choice(list(running))
        running[name].kill()
        running[name] = world.replica(name)
    for name, topics in render_oracle.READS.items():
        database.wait_for_offsets(world.database, world.group(name), kafka.end_offsets(*topics),
                                  2 * consumers.DEADLINE)
    world.assert_right(events)
    world.assert_letters(events)
    world.verify()
    for replica in running.values():
        replica.stop()
    for name in render_oracle.READS:
        world.good("rebuild", name, "--group", world.group(name), "--yes")
    world.assert_right(events)


def test_verify_and_rebuild_beside_traffic(world):
    """Events come all the while; the consumers are fenced by each rebuild, rejoin and go on."""
    streams = [Stream(seed, jobs=8) for seed in range(901, 907)]
    events = [event for stream in streams for event in stream.events]
    told = [event for stream in streams for event in stream.deliveries(1)]
    parts = [told[place:place + 30] for place in range(0, len(told), 30)]
    half = len(parts) // 2
    world.publish([event for part in parts[:half] for event in part])
    running = [world.replica(name) for name in render_oracle.READS]
    done = threading.Event()

    def talk():
        for part in parts[half:]:
            world.publish(part)
            done.wait(0.1)  # traffic, not a wait for anything

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        for name in render_oracle.READS:
            group = world.group(name)
            database.wait_until(lambda g=group: world.offsets(g), consumers.DEADLINE, "not begun")
            world.good("verify", name, "--group", group)
            world.good("rebuild", name, "--group", group, "--yes")
    finally:
        done.set()
        talker.join()
    for name, topics in render_oracle.READS.items():
        database.wait_for_offsets(world.database, world.group(name), kafka.end_offsets(*topics),
                                  2 * consumers.DEADLINE)
    world.assert_right(events)
    for replica in running:
        replica.stop()
    world.verify()


def test_the_jobs_of_a_real_log(world):
    events = list(render_gaia.all_events(GAIA))
    world.publish(events)
    world.start("render-jobs", "--until-caught-up").wait(0, 60 + GAIA / 100)
    if GAIA == render_gaia.WHOLE["jobs"]:
        assert render_gaia.figures(world.rows("render.jobs"), world.rows(
            "render.processing_timeline")) == render_gaia.WHOLE
    world.assert_right(events)
    world.good("verify", "render-jobs", "--group", world.group("render-jobs"),
               deadline=180 + GAIA / 100)


def test_cases_21_24_25_jobs_that_are_only_referred_to(world):
    events = [stored("upload", "k", START + 9, job_id=JOB), accessed(START + 5, job_id=OTHER)]
    world.tell(*events)
    world.assert_right(events)
    assert world.job()["placeholder"] and world.job(OTHER)["created_at"].microsecond == 968_005
    more = [accessed(START + 7, job_id=JOB, client_ip="10.1.2.3"), created(OTHER, START),
            accessed(START - SECOND, job_id=JOB)]
    world.tell(*more)
    events += more
    world.assert_right(events)  # an earlier mention; and one that is created after all
    assert world.job(OTHER)["placeholder"] is None
    more = [deleted(OTHER, START + SECOND), deleted(JOB, START), created(JOB, START + SECOND),
            added(JOB, id_of("e"), 0, START), status(OTHER, "completed", START + 1)]
    world.tell(*more)
    events += more
    world.assert_right(events)  # both are placeholders
    assert world.count("render.jobs") == 2
    world.verify()


def read_all(world, name):
    """Of a consumer that goes on running."""
    topic, = render_oracle.READS[name]
    world.wait_for_ends(world.group(name), topic)


def test_a_job_that_became_a_placeholder_hears_of_an_earlier_mention(world):
    """From a consumer that has seen the real row before."""
    events = [created(JOB, START), accessed(START + 9, job_id=JOB)]
    world.tell(*events)
    reader = world.replica("render-access")
    for event in (accessed(START + 8, job_id=JOB), deleted(JOB, START + 10),
                  accessed(START + 5, job_id=JOB)):
        events.append(event)
        world.publish([event])
        world.catch_up("render-jobs")
        read_all(world, "render-access")
        world.assert_right(events)
    reader.stop()


def test_a_job_becomes_a_placeholder_while_a_row_that_mentions_it_is_written(world):
    events = [created(JOB, START), accessed(START + 9, job_id=JOB)]
    world.tell(*events)
    events += [accessed(START + 5, job_id=JOB), deleted(JOB, START + 10)]
    with database.connect(world.dsn) as deleting:
        deleting.execute("BEGIN")
        deleting.execute("SELECT FROM render.jobs WHERE id = %s FOR UPDATE", [JOB])
        world.publish(events[2:3])
        reader = world.replica("render-access")
        database.wait_until(lambda: database.waits_for_lock(world.database, f"%:{reader.pid}"), consumers.DEADLINE,
                            "it does not wait for who has the job")
        # As render-jobs does.
        deleting.execute(
            "UPDATE render.jobs AS j SET placeholder = true, created_at = (SELECT min(accessed_at) "
            "FROM render.url_access_logs WHERE job_id = j.id) WHERE id = %s", [JOB])
        deleting.execute("COMMIT")
    read_all(world, "render-access")
    assert world.job()["created_at"] == world.value(
        "SELECT min(accessed_at) FROM render.url_access_logs")
    reader.stop()
    world.publish(events[3:])
    world.catch_up("render-jobs")
    world.assert_right(events)


def test_case_27_digits_of_another_writer(world):
    """Rounded, half away from zero, in a rebuild, too."""
    schema = avro.schema_text(render_events.METRICS).replace('"precision": 15', '"precision": 16') \
        .replace('"scale": 6', '"scale": 7')
    assert '"scale": 7' in schema
    other = registry.register("another-writer-value", schema)
    events = [metric("m", text, START + place) for place, text in enumerate(
        ("1.0000005", "-1.0000005", "0.0000004", "-0.0000004", "999999999.9999995"))]
    world.publish([kafka.Record(
        render_events.METRICS, b"k", avro.encode(render_events.with_numbers(event), other, schema),
        1, 0) for event in events])
    world.catch_up("render-metrics")
    values = "SELECT array_agg(value ORDER BY recorded_at) FROM render.system_metrics"
    rounded = [Decimal(text) for text in ("1.000001", "-1.000001", "0", "0")]
    assert world.value(values) == rounded
    letter, = world.letters()
    assert "value is 1000000000, but must fit a NUMERIC(15, 6)" in letter["message"]
    world.database.execute("UPDATE render.system_metrics SET value = 7")
    world.good("rebuild", "render-metrics", "--group", world.group("render-metrics"), "--yes")
    assert world.value(values) == rounded


def test_mistake_1_a_long_message_is_kept_whole(world):
    message = "ü" * 100_000
    world.tell(created(JOB, START), status(JOB, "failed", START + 1, error_message=message))
    assert world.job()["error_message"] == message


def test_two_elements_swap_their_places(world):
    """In one batch, whose rows break no unique constraint meanwhile."""
    first, second, third = (id_of("element", number) for number in range(3))
    events = [created(JOB, START), created(OTHER, START), added(JOB, first, 0, START + 10),
              added(JOB, second, 1, START + 11), added(OTHER, third, 0, START + 9)]
    world.tell(*events)
    # An element moves to the other job, and an earlier one has its place there.
    more = [added(JOB, third, 1, START + 1), added(JOB, first, 1, START + 2),
            added(JOB, second, 0, START + 3), added(OTHER, second, 0, START)]
    world.tell(*more)
    world.assert_right(events + more)
    world.verify()
    assert world.letters() == []


def test_what_is_trimmed_stays_away(world):
    """Rows of accesses and metrics, and the placeholders that they alone had; verify misses none.
    A placeholder that others need, too, is as old as the first of them."""
    events = [accessed(START + number * SECOND, job_id=id_of("render", number)) for number in range(4)]
    events += [metric("m", "1", START + number * SECOND) for number in range(4)]
    events += [stored("upload", "k", START + 9 * SECOND, job_id=id_of("render", 0)),
               accessed(START, job_id=id_of("render", 3))]
    world.tell(*events)
    before = "2026-11-21T05:06:36.968Z"
    for table in ("url_access_logs", "system_metrics"):
        world.good("trim", table, "--before", before)
        assert world.count(f"render.{table}") == 2, table
    kept = [event for event in events if event["emitted_at"] >= START + 2 * SECOND]
    world.assert_right(kept)
    world.verify()
    for name in ("render-access", "render-metrics", "render-jobs"):
        world.good("rebuild", name, "--group", world.group(name), "--yes")
    world.assert_right(kept)
    world.verify()

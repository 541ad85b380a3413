# SPDX-License-Identifier: Apache-2.0
"""Removals refer to videos that another consumer makes and takes away again, sooner or later than
the removals learn of it."""

import threading

import pytest

from lib import database, events, kafka, oracle, scenario_run
from lib.events import SECOND, START

pytestmark = pytest.mark.partitions(1)

CATALOG, METRICS = oracle.CATALOG, "watermark-metrics"
CLEAN, DOWNLOAD = events.id_of("clean"), events.id_of("download")
PATH = "/videos/raw.mp4"

# Nobody has submitted the command of the second yet, so it is a video, which the first has cleaned.
KNOWN = [events.command_submitted(CLEAN, type="sora.clean", payload={"input_path": PATH}),
         events.telemetry("sora.video.downloaded", START + SECOND, command_id=DOWNLOAD,
                          payload={"file_path": PATH, "file_size": 7}, counter=1)]


def submitted(type, seconds):
    return events.command_submitted(DOWNLOAD, START + seconds * SECOND, type=type)


def check(world, happened):
    """All consumers have caught up: the tables are what the events say."""
    world.catch_up(*scenario_run.TOPICS_OF)
    have, want = scenario_run.tables_of(world), oracle.expected(happened)
    for table in want:
        problems = scenario_run.report(table, have[table], want[table], happened)
        assert not problems, problems
    assert world.letters() == []


@pytest.mark.parametrize("first", [METRICS, CATALOG])
def test_a_video_that_was_none_leaves_nothing(world, first):
    """Both orders: the placeholder is made before and after the catalog knew the video."""
    told = submitted("sora.download", 2)
    world.publish(KNOWN)
    world.catch_up(first)
    world.publish([told])
    world.catch_up(first)
    check(world, [*KNOWN, told])


def test_a_placeholder_that_another_removal_needs_stays(world):
    other = events.command_submitted(events.id_of("another"), type="sora.clean",
                                     payload={"input_path": PATH})
    moved = events.telemetry("sora.video.downloaded", START + 2 * SECOND, command_id=DOWNLOAD,
                             payload={"file_path": "/elsewhere.mp4", "file_size": 7}, counter=2)
    elsewhere = events.command_submitted(events.id_of("third"), type="sora.clean",
                                         payload={"input_path": "/elsewhere.mp4"})
    happened = [*KNOWN, other, moved, elsewhere]
    for count in range(2, len(happened) + 1):
        world.publish(happened[count - 1:count] if count > 2 else KNOWN)
        world.catch_up(METRICS)
    check(world, happened)


def test_a_video_that_went_and_came_back_has_its_removals(world):
    """The catalog takes it away and makes it again while the removals know of neither."""
    late, early = submitted("sora.download", 5), submitted("sora.generate", 4)
    world.publish(KNOWN)
    check(world, KNOWN)
    world.publish([late])
    world.catch_up(CATALOG)
    world.publish([early])
    check(world, [*KNOWN, late, early])


def test_a_placeholder_is_as_old_as_the_first_event_that_mentions_it(world):
    """Whatever the order of the events; a row that is none keeps its time."""
    command, known = events.id_of("mentioned"), events.id_of("submitted")

    def mention(seconds, counter):
        for of in (command, known):
            world.publish([events.telemetry("sora.polling.started", START + seconds * SECOND,
                                            command_id=of, counter=counter)])
        world.catch_up("event-recorder")

    world.publish([events.command_submitted(known, START)])
    world.catch_up("command-projector")
    for counter, (seconds, first) in enumerate([(5, 5), (7, 5), (3, 3), (4, 3)]):
        mention(seconds, counter)
        assert world.database.execute(
            "SELECT type, status, extract(epoch FROM created_at) * 1000000 AS at, placeholder "
            "FROM safari_commands WHERE command_id = %s", [command]).fetchone() == {
                "type": "unknown", "status": "QUEUED", "at": (START + first * SECOND),
                "placeholder": True}
    row = world.database.execute("SELECT extract(epoch FROM created_at) * 1000000 AS at, placeholder "
                                 "FROM safari_commands WHERE command_id = %s", [known]).fetchone()
    assert row == {"at": START, "placeholder": None}


def assert_as_old_as_mentioned(world):
    """Each placeholder has the least time of the rows that refer to it."""
    wrong = world.database.execute("""
        SELECT v.video_id AS id, v.created_at, r.at FROM safari_videos AS v, LATERAL (
            SELECT min(created_at) AS at FROM watermark_removals WHERE video_id = v.video_id) AS r
        WHERE v.placeholder AND v.created_at IS DISTINCT FROM r.at
        UNION ALL
        SELECT c.command_id, c.created_at, r.at FROM safari_commands AS c, LATERAL (
            SELECT min(at) AS at FROM (
                SELECT created_at FROM watermark_removals WHERE command_id = c.command_id UNION ALL
                SELECT created_at FROM safari_videos WHERE command_id = c.command_id UNION ALL
                SELECT emitted_at FROM safari_events WHERE command_id = c.command_id) AS m (at)) AS r
        WHERE c.placeholder AND c.created_at IS DISTINCT FROM r.at""").fetchall()
    assert not wrong, wrong


def earlier(command, path):
    return events.command_submitted(command, START - SECOND, type="sora.clean",
                                    payload={"input_path": path})


def test_a_placeholder_is_as_old_as_what_still_mentions_it(world):
    """The removal that mentioned the video first turns out to be of another."""
    later = events.command_submitted(events.id_of("another"), START + 3 * SECOND, type="sora.clean",
                                     payload={"input_path": PATH})
    world.publish([*KNOWN, later])
    world.catch_up(METRICS)
    created_at = "SELECT extract(epoch FROM created_at) * 1000000 FROM safari_videos"
    assert world.value(created_at) == START
    world.publish([earlier(CLEAN, "/elsewhere.mp4")])
    world.catch_up(METRICS)
    assert world.value(created_at) == START + 3 * SECOND
    assert_as_old_as_mentioned(world)


def test_a_video_goes_while_a_removal_turns_out_to_be_older(world):
    """Between the removal's update and its commit, which waits to note a dead letter."""
    world.publish(KNOWN)
    check(world, KNOWN)
    told = earlier(CLEAN, PATH)
    with database.connect(world.dsn) as holding, database.connect(world.dsn) as removing:
        holding.execute("BEGIN")
        holding.execute("LOCK TABLE projectionist.dead_letters IN SHARE MODE")
        world.publish([told, kafka.Record(events.topic_of(told), b"key", b"no Avro", 0, 0)])
        metrics = world.start(METRICS)
        database.wait_until(lambda: database.waits_for_lock(
            world.database, f"%:{metrics.pid}"))
        removing.execute("SET application_name = 'removing'")
        remover = threading.Thread(target=make_a_placeholder, args=[removing])
        remover.start()
        database.wait_until(lambda: not remover.is_alive() or database.waits_for_lock(
            world.database, "removing"))
        holding.execute("COMMIT")
        remover.join()
    for topic in scenario_run.TOPICS_OF[METRICS]:
        world.wait_for_ends(world.group(METRICS), topic)
    assert world.value("SELECT count(*) FROM safari_videos WHERE placeholder") == 1
    assert_as_old_as_mentioned(world)


def make_a_placeholder(connection):
    """Of the video, as video-catalog does where others refer to it."""
    with connection.transaction():
        connection.execute("SELECT FROM safari_videos FOR UPDATE")
        connection.execute("UPDATE safari_videos AS v SET placeholder = true, command_id = NULL, "
                           "created_at = (SELECT min(created_at) FROM watermark_removals "
                           "WHERE video_id = v.video_id)")

# SPDX-License-Identifier: Apache-2.0
"""The system studio: its consumers, killed all the time, keep tables that are those of an oracle;
verify finds nothing, and a rebuild changes nothing. Its views; and who sees what.

PROJECTIONIST_STUDIO_SEEDS (how many) and _SEED (the first) make it longer and another one; see
tests/soak-studio.
"""

import itertools
import os
import random
import uuid

import psycopg
import pytest
from lib import avro, consumers, database, kafka, oracle, policies, studio_events, studio_oracle
from lib.events import id_of
from lib.studio_events import clip, job, media, project, scene, stored, voice
from lib.studio_odd import odd_events
from lib.studio_stream import Stream
from lib.world import World, new_database, open_world

SEEDS = int(os.environ.get("PROJECTIONIST_STUDIO_SEEDS", "10"))
FIRST = int(os.environ.get("PROJECTIONIST_STUDIO_SEED", "1"))
AT_ONCE = 10  # seeds in one world
PARTITIONS = 3
KILLS = 9
VARIABLES = {"SYSTEMS": "studio"}
ME, OTHER = id_of("me"), id_of("other")
PROJECTS = [id_of("project", number) for number in range(5)]
A, B, C = (f"cccccccc-0000-4000-8000-00000000000{letter}" for letter in "abc")
SEEN = ("projects", "scenes", "clips", "exports", "audio_files", "voices", "generation_jobs",
        "latest_exports", "project_timeline", "studio_objects", "project_saves",
        "project_save_conflicts", "orphan_objects")


class Studio(World):
    contract = studio_events
    reads = studio_oracle.READS

    def good(self, *arguments):
        result = consumers.run("projectionist", *arguments, deadline=180,
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
        """The tables are those of the oracle, and so are the dead letters."""
        wanted = studio_oracle.expected(events)
        for table, key in studio_oracle.KEYS.items():
            name = table if "." in table else f"studio.{table}"
            wrong = oracle.differences(self.rows(name, ("updated_at",)), wanted[table], key)
            assert not wrong, f"{table}: {wrong}"

    def assert_letters(self, events):
        bad = {event["event_id"] for event in events if studio_oracle.refused(event)}
        ids = {}
        for record in kafka.read(*studio_events.TOPICS):
            _, event = avro.decode(record.value, avro.schema_text(record.topic))
            ids[record.topic, record.partition, record.offset] = event["event_id"]
        for name, topics in studio_oracle.READS.items():
            letters = sorted((row["topic"], row["partition"], row["record_offset"])
                             for row in self.letters(self.group(name)))
            assert letters == sorted(place for place, event_id in ids.items()
                                     if place[0] in topics and event_id in bad), name


@pytest.fixture(scope="module", name="migrated")
def a_migrated_database():
    with new_database(migrated=False) as dsn:
        result = consumers.run("projectionist", "migrate", "studio",
                               variables={"POSTGRES_DSN": dsn, **VARIABLES})
        assert result.returncode == 0, result.stderr
        yield dsn


@pytest.fixture(name="world")
def a_world(tmp_path, migrated):
    with open_world(tmp_path, PARTITIONS, migrated, Studio) as world:
        yield world


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, AT_ONCE))
def test_consumers_that_are_killed_all_the_time_keep_what_is_right(world, first):
    chance = random.Random(first)
    seeds = range(first, min(first + AT_ONCE, FIRST + SEEDS))
    streams = [Stream(seed, projects=4) for seed in seeds]
    events = [event for stream in streams for event in stream.events]
    told = [event for stream in streams for event in stream.deliveries(first)]
    world.publish([world.record(event, chance.randrange(PARTITIONS)) for event in told])
    due = sum(len([event for event in told if studio_events.topic_of(event) in topics])
              for topics in studio_oracle.READS.values())
    running = {name: world.replica(name) for name in studio_oracle.READS}
    for number in range(1, KILLS + 1):
        database.wait_until(lambda least=due * number // (KILLS + 1): world.read() >= least,
                            2 * consumers.DEADLINE, "no more is read")
        name = chance.choice(list(running))
        running[name].kill()
        running[name] = world.replica(name)
    for name, topics in studio_oracle.READS.items():
        database.wait_for_offsets(world.database, world.group(name), kafka.end_offsets(*topics),
                                  2 * consumers.DEADLINE)
    world.assert_right(events)
    world.assert_letters(events)
    for name in studio_oracle.READS:
        world.good("verify", name, "--group", world.group(name))
    for replica in running.values():
        replica.stop()
    for name in studio_oracle.READS:
        world.good("rebuild", name, "--group", world.group(name), "--yes")
    world.assert_right(events)


def test_what_somebody_thought_of(world):
    """Some of it twice, in an order of chance, over all partitions."""
    chance = random.Random(17)
    events = [event for sequence in odd_events().values() for event in sequence]
    told = chance.sample(events + chance.sample(events, len(events) // 3), len(events) * 4 // 3)
    world.publish([world.record(event, chance.randrange(PARTITIONS)) for event in told])
    for name in studio_oracle.READS:
        world.start(name, "--until-caught-up", "--batch-records", "25").wait(0)
        world.good("verify", name, "--group", world.group(name))
    world.assert_right(events)
    world.assert_letters(events)


def test_views_and_who_sees_what(world):
    at = 1_795_000_000_000_000
    public = "https://x.example/storage/v1/object/public"
    mine, theirs, open_one, gone, early = PROJECTS
    world.publish([
        project("ProjectSaved", mine, at, user_id=ME, scenes=[scene("scene-1"), scene("")]),
        project("ProjectSaved", mine, at + 1, base_revision=at, title="one"),
        project("ProjectSaved", mine, at + 2, base_revision=at, title="two"),
        project("ProjectSaved", mine, at + 3, base_revision=at + 2),
        project("ProjectThumbnailSet", mine, at + 4, thumbnail_url=f"{public}/thumbnails/a%20%C3%BC"),
        project("ProjectSaved", theirs, at, user_id=OTHER),
        project("ProjectSaved", open_one, at, scenes=[scene("scene-1")]),
        project("ProjectSaved", gone, at), project("ProjectDeleted", gone, at + 1),
        clip("ClipSaved", mine, at, clip_id=A, duration="2.5", file_url=f"{public}/clips/one"),
        clip("ClipSaved", mine, at + 1, clip_id=B, scene_id="scene-1"),
        clip("ClipSaved", mine, at + 2, clip_id=C, duration=9),
        clip("ClipTrimmed", mine, at + 3, clip_id=C, start_trim=1, end_trim="3.25"),
        clip("ClipsReordered", mine, at + 4, clip_ids=[C, A]),
        clip("ClipSaved", open_one, at, clip_id=A), clip("ClipSaved", early, at, clip_id=A),
        media("ExportSaved", mine, at, export_id=A, created_at=at),
        media("ExportSaved", mine, at, export_id=B, created_at=at,
              file_url=f"{public}/exports/object/public/x"),
        media("AudioFileSaved", mine, at, audio_id=B),
        media("AudioFileSaved", open_one, at, audio_id=A, file_url=f"{public}/audio/100%25%zz"),
        voice("VoiceSaved", "v", at), voice("VoiceSaved", "w", at, user_id=ME),
        voice("VoiceSaved", "w", at, user_id=OTHER),
        job("JobRegistered", "of mine", at, project_id=mine),
        job("JobRegistered", "of all", at, project_id=open_one),
        job("JobRegistered", "of gone", at, project_id=gone),
        job("JobRegistered", "too early", at, project_id=early),
        job("JobRegistered", "of nothing", at),
        *(stored("ObjectStored", bucket, key, at) for bucket, key in (
            ("thumbnails", "a ü"), ("clips", "one"), ("exports", "object/public/x"), ("audio", "100%%zz"),
            ("clips", "two"), ("other", "one"), ("exports", "x")))])
    world.catch_up(*studio_oracle.READS)
    world.database.execute("SET search_path = studio")
    rows = world.database.execute
    assert [(str(row["clip_id"]), float(row["start"]), float(row["end"]), float(row["offset"]))
            for row in rows("SELECT * FROM project_timeline WHERE project_id = %s ORDER BY order_index",
                            [mine])] == [(C, 1, 3.25, 0), (A, 0, 2.5, 2.25), (B, 0, 5, 4.75)]
    assert [str(row["id"]) for row in rows("SELECT * FROM latest_exports")] == [B]
    conflict, = rows("SELECT * FROM project_save_conflicts").fetchall()
    assert (conflict["revision"], conflict["next_revision"]) == (at + 1, at + 2)
    assert {(row["bucket"], row["object_key"]) for row in rows("SELECT * FROM orphan_objects")} == {
        ("clips", "two"), ("other", "one"), ("exports", "x")}
    assert [(row["kind"], str(row["id"])) for row in rows(
        "SELECT * FROM projectionist.studio_waiting")] == [("clip", A)]
    world.good("migrate", "studio")
    assert_rights(world)


ROLES = {"catalog": "studio_catalog", "jobs": "studio_jobs", "voices": "studio_voices", "objects": "studio_objects"}


def assert_rights(world):
    prefix = f"t{uuid.uuid4().hex[:8]}"
    with policies.roles(world.dsn, prefix):
        policies.stand_in(world.dsn)
        for _ in range(2):  # again changes nothing
            result = consumers.run("projectionist", "roles", "--role-prefix", prefix, variables={
                "POSTGRES_DSN": policies.admin(world.dsn), **VARIABLES})
            assert result.returncode == 0, result.stdout + result.stderr
        with psycopg.connect(policies.admin(world.dsn), autocommit=True) as connection:
            assert_matrix(connection, prefix)
            seen = {who: what_is_seen(connection, *who) for who in (
                ("anon", ""), ("authenticated", ME), ("authenticated", OTHER),
                ("service_role", ""))}
            for role, verb in itertools.product(
                    ("anon", "authenticated"),
                    ("INSERT INTO {} DEFAULT VALUES", "UPDATE {} SET {} = NULL",
                     "DELETE FROM {}", "TRUNCATE {} CASCADE")):
                for name in (*SEEN[:7], "studio_objects", "project_saves"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege), \
                            connection.transaction():
                        connection.execute(f"SET LOCAL ROLE {role}")
                        connection.execute(verb.format(
                            f"studio.{name}", "event_id" if name == "project_saves" else "id"))
            published = {name for name, in connection.execute(
                "SELECT tablename::text FROM pg_publication_tables WHERE schemaname = 'studio'")}
    anonymous = {"projects": 1, "scenes": 1, "clips": 1, "exports": 0, "audio_files": 1, "voices": 1,
                 "generation_jobs": 1, "latest_exports": 0, "project_timeline": 1,
                 "studio_objects": None, "project_saves": None, "project_save_conflicts": None,
                 "orphan_objects": None}
    mine = {"projects": 2, "scenes": 3, "clips": 4, "exports": 2, "audio_files": 2, "voices": 2,
            "generation_jobs": 2, "latest_exports": 1, "project_timeline": 4}
    assert seen["anon", ""] == anonymous
    assert seen["authenticated", ME] == {**anonymous, **mine}
    assert seen["authenticated", OTHER] == {**anonymous, "projects": 2, "voices": 2}
    assert seen["service_role", ""] == {
        "projects": 3, "scenes": 3, "clips": 4, "exports": 2, "audio_files": 2, "voices": 3,
        "generation_jobs": 5, "latest_exports": 1, "project_timeline": 4, "studio_objects": 7,
        "project_saves": 7, "project_save_conflicts": 1, "orphan_objects": 3}
    assert published == {"projects", "scenes", "clips", "exports", "generation_jobs"}


RELATIONS = """
                                   anon  me  other  service  analyst  writer  catalog  jobs  voices  objects
audio_files                        S%    S   S%     SIUDT    S        -       SIUD     -     -       -
clips                              S%    S   S%     SIUDT    S        -       SIUD     -     -       -
exports                            S%    S   S%     SIUDT    S        -       SIUD     -     -       -
generation_jobs                    S%    S%  S%     SIUDT    S        -       -        SIUD  -       -
latest_exports                     S%    S   S%     S        S        -       -        -     -       -
orphan_objects                     -     -   -      S        S        -       -        -     -       -
project_save_conflicts             -     -   -      S        S        -       -        -     -       -
project_saves                      -     -   -      SIUDT    S        -       SI       -     -       -
project_timeline                   S%    S   S%     S        S        -       -        -     -       -
projects                           S%    S%  S%     SIUDT    S        -       SIUD     -     -       -
scenes                             S%    S   S%     SIUDT    S        -       SIUD     -     -       -
studio_objects                     -     -   -      SIUDT    S        -       -        -     -       SIUD
voices                             S%    S%  S%     SIUDT    S        -       -        -     SIUD    -
studio_waiting                     -     -   -      -        S        -       SIUD     -     -       -
state_studio_catalog_project       -     -   -      -        -        -       SIU      -     -       -
state_studio_catalog_project_wide  -     -   -      -        -        -       SIUD     -     -       -
state_studio_jobs_job              -     -   -      -        -        -       -        SIU   -       -
state_studio_jobs_project          -     -   -      -        -        -       -        SIU   -       -
state_studio_jobs_project_wide     -     -   -      -        -        -       -        SIUD  -       -
state_studio_objects_object        -     -   -      -        -        -       -        -     -       SIU
state_studio_voices_voice          -     -   -      -        -        -       -        -     SIU     -
"""

FUNCTIONS = """
                           anon  me  other  service  analyst  writer  catalog  jobs  voices  objects
studio.studio_url_decoded  E     E   E      E        E        -       E        E     E       E
"""


def assert_matrix(connection, prefix):
    """Each cell of the tables above is tried; what is in the database and not there is a failure."""
    matrix = policies.matrix_of_users(connection, prefix, ROLES, ME, OTHER)
    found = (matrix.all_relations("studio") | matrix.all_relations("projectionist", only="studio")
             | matrix.all_relations("projectionist", only="state_studio"))
    assert found == policies.parse(RELATIONS), "\n" + policies.show(found)
    found = matrix.all_functions("studio")
    assert found == policies.parse(FUNCTIONS), "\n" + policies.show(found)


def what_is_seen(connection, role, subject):
    """{relation: how many rows of it, None where there is no right}"""
    seen = {}
    for name in SEEN:
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL ROLE {role}")
                connection.execute("SELECT set_config('request.jwt.claims', %s, true)",
                                   [f'{{"sub": "{subject}"}}'])
                seen[name], = connection.execute(f"SELECT count(*) FROM studio.{name}").fetchone()
        except psycopg.errors.InsufficientPrivilege:
            seen[name] = None
    return seen


def test_a_reader_sees_scenes_and_clips_whole(world):
    """Mistakes 1 to 3: saves that delete and insert scenes, and clips that refer to them."""
    one, = PROJECTS[:1]
    at = 1_795_000_000_000_000
    scenes = [scene(f"scene-{number}", title="t") for number in range(20)]
    world.publish([project("ProjectSaved", one, at, scenes=scenes), *(
        clip("ClipSaved", one, at + number, clip_id=id_of("clip", number),
             scene_id=f"scene-{number % 20}") for number in range(40))])
    world.catch_up("studio-catalog")
    before = world.rows("studio.scenes", ()), world.rows("studio.clips", ())
    world.publish([project("ProjectSaved", one, at + number, scenes=scenes, script="s" * number)
                   for number in range(1, 101)])
    world.catch_up("studio-catalog")
    assert (world.rows("studio.scenes", ()), world.rows("studio.clips", ())) == before
    world.publish([project("ProjectSaved", one, at + number, scenes=[
        scene(f"{number}-{place}") for place in range(20 - number % 2)]) for number in range(200, 300)])
    running = world.start("studio-catalog", "--until-caught-up", "--batch-records", "1")
    seen = set()
    while running.process.poll() is None:
        found = world.database.execute(
            "SELECT count(*) AS scenes, count(DISTINCT split_part(client_id, '-', 1)) AS sets, "
            "min(client_id) AS first FROM studio.scenes").fetchone()
        clips = world.value("SELECT count(*) FROM studio.clips")
        seen.add((found["scenes"], found["sets"], clips))
    running.wait(0)
    assert seen <= {(20, 1, 40), (19, 1, 40)} and len(seen) == 2, seen


def test_a_record_without_a_value_is_a_dead_letter(world):
    """Case 26."""
    world.publish([kafka.Record("studio.projects", PROJECTS[0].encode(), None, 0, 0),
                   project("ProjectSaved", PROJECTS[0], 1)])
    world.catch_up("studio-catalog", "studio-jobs")
    for name in ("studio-catalog", "studio-jobs"):
        letter, = world.letters(world.group(name))
        assert letter["record_offset"] is not None
    assert world.count("studio.projects") == 1


def test_tables_of_other_systems_are_refused():
    """drama and studio have a table scenes, with other columns, and never share a schema."""
    with new_database(migrated=False) as dsn:
        for name, code in (("drama", 0), ("studio", 6)):
            result = consumers.run("projectionist", "migrate", name, "--tables-schema", "both",
                                   variables={"POSTGRES_DSN": dsn, "SYSTEMS": name})
            assert result.returncode == code, result
        assert "scenes" in result.stderr

# SPDX-License-Identifier: Apache-2.0
"""The system drama: its consumers, killed all the time, keep tables that are those of an oracle;
verify finds nothing, and a rebuild changes nothing. Its views; and who sees what.

PROJECTIONIST_DRAMA_SEEDS (how many) and _SEED (the first) make it longer and another one; see
tests/soak-drama.
"""

import os
import random
import uuid

import psycopg
import pytest
from lib import avro, consumers, database, drama_events, drama_oracle, kafka, oracle, policies
from lib.drama_events import asset, character, drama, episode, job, scene, user
from lib.drama_odd import odd_events
from lib.drama_stream import Stream
from lib.world import World, new_database, open_world

SEEDS = int(os.environ.get("PROJECTIONIST_DRAMA_SEEDS", "10"))
FIRST = int(os.environ.get("PROJECTIONIST_DRAMA_SEED", "1"))
AT_ONCE = 10  # seeds in one world
PARTITIONS = 3
KILLS = 9
VARIABLES = {"SYSTEMS": "drama"}
ME, OTHER = str(uuid.UUID(int=7)), str(uuid.UUID(int=8))


class Drama(World):
    contract = drama_events
    reads = drama_oracle.READS

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
        wanted = drama_oracle.expected(events)
        for table, key in drama_oracle.KEYS.items():
            wrong = oracle.differences(self.rows(f"drama.{table}"), wanted[table], key)
            assert not wrong, f"{table}: {wrong}"

    def assert_letters(self, events):
        bad = {event["event_id"] for event in events if drama_oracle.refused(event)}
        ids = {}
        for record in kafka.read(*drama_events.TOPICS):
            _, event = avro.decode(record.value, avro.schema_text(record.topic))
            ids[record.topic, record.partition, record.offset] = event["event_id"]
        for name, topics in drama_oracle.READS.items():
            letters = sorted((row["topic"], row["partition"], row["record_offset"])
                             for row in self.letters(self.group(name)))
            assert letters == sorted(place for place, event_id in ids.items()
                                     if place[0] in topics and event_id in bad), name


@pytest.fixture(scope="module", name="migrated")
def a_migrated_database():
    with new_database(migrated=False) as dsn:
        result = consumers.run("projectionist", "migrate", "drama",
                               variables={"POSTGRES_DSN": dsn, **VARIABLES})
        assert result.returncode == 0, result.stderr
        yield dsn


@pytest.fixture(name="world")
def a_world(tmp_path, migrated):
    with open_world(tmp_path, PARTITIONS, migrated, Drama) as world:
        yield world


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, AT_ONCE))
def test_consumers_that_are_killed_all_the_time_keep_what_is_right(world, first):
    chance = random.Random(first)
    seeds = range(first, min(first + AT_ONCE, FIRST + SEEDS))
    streams = [Stream(seed, dramas=3) for seed in seeds]
    events = [event for stream in streams for event in stream.events]
    told = [event for stream in streams for event in stream.deliveries(first)]
    world.publish([world.record(event, chance.randrange(PARTITIONS)) for event in told])
    due = sum(len([event for event in told if drama_events.topic_of(event) in topics])
              for topics in drama_oracle.READS.values())
    running = {name: world.replica(name) for name in drama_oracle.READS}
    for number in range(1, KILLS + 1):
        database.wait_until(lambda least=due * number // (KILLS + 1): world.read() >= least,
                            2 * consumers.DEADLINE, "no more is read")
        name = chance.choice(list(running))
        running[name].kill()
        running[name] = world.replica(name)
    for name, topics in drama_oracle.READS.items():
        database.wait_for_offsets(world.database, world.group(name), kafka.end_offsets(*topics),
                                  2 * consumers.DEADLINE)
    world.assert_right(events)
    world.assert_letters(events)
    for name in drama_oracle.READS:
        world.good("verify", name, "--group", world.group(name))
    for replica in running.values():
        replica.stop()
    for name in drama_oracle.READS:
        world.good("rebuild", name, "--group", world.group(name), "--yes")
    world.assert_right(events)


def test_what_somebody_thought_of(world):
    """Some of it twice, in an order of chance, over all partitions."""
    chance = random.Random(17)
    events = [event for sequence in odd_events().values() for event in sequence]
    told = chance.sample(events + chance.sample(events, len(events) // 3), len(events) * 4 // 3)
    world.publish([world.record(event, chance.randrange(PARTITIONS)) for event in told])
    for name in drama_oracle.READS:
        world.start(name, "--until-caught-up", "--batch-records", "25").wait(0)
        world.good("verify", name, "--group", world.group(name))
    world.assert_right(events)
    world.assert_letters(events)


def test_mistake_3_a_reader_sees_a_drama_whole(world):
    """Never episodes of one save with scenes of another."""
    at = 1_795_000_000_000_000
    world.publish([drama("DramaSaved", "d", at, at + number, characters=[], episodes=[
        episode(f"e{place}", title=str(number), scenes=[
            scene(f"s{place}", description=str(number), assets=[asset(f"a{place}", prompt=str(number))])])
        for place in range(5 - number % 2)]) for number in range(60)])
    running = world.start("drama-catalog", "--until-caught-up", "--batch-records", "1")
    seen, saves = set(), set()
    while running.process.poll() is None:
        found = world.database.execute("""
            SELECT count(*) AS things, count(DISTINCT said) AS saves, min(said) AS save FROM (
                SELECT title AS said FROM drama.episodes UNION ALL SELECT description FROM drama.scenes
                UNION ALL SELECT prompt FROM drama.assets) AS t""").fetchone()
        seen.add((found["things"], found["saves"]))
        saves.add(found["save"])
    running.wait(0)
    assert seen <= {(0, 0), (15, 1), (12, 1)} and len(saves) > 5, seen


def test_views_and_who_sees_what(world):
    """Mistake 14: a scene ranks before its assets. Case 28: what depends on itself or on nobody."""
    at = 1_795_000_000_000_000
    world.publish([
        drama("DramaSaved", "mine", at, at, user_id=ME, characters=[character("c", assets=[
            asset("portrait")])], episodes=[episode("e", scenes=[scene("s", assets=[
                asset("clip", "video", depends_on=["still", "c", "nobody"]),
                asset("still", depends_on=["c"]),
                asset("self", depends_on=["self"])])])]),
        drama("DramaSaved", "mine", at, at + 1, base_revision=at),
        drama("DramaSaved", "mine", at, at + 2, base_revision=at),
        drama("DramaSaved", "theirs", at, at, user_id=OTHER, assets=[asset("poster")]),
        job("JobCreated", "mine", "top", at, user_id=OTHER),
        job("JobCreated", "mine", "below", at, parent_job_id="top"),
        job("JobCreated", "mine", "a", at, parent_job_id="b"),
        job("JobCreated", "mine", "b", at, parent_job_id="a"),
        job("JobCreated", "theirs", "own", at, user_id=ME),
        job("JobCreated", "theirs", "other", at, user_id=OTHER),
        user("UserRegistered", ME, at), user("UserRegistered", OTHER, at),
        user("TokensChanged", ME, at, delta=-40, drama_id="mine"),
        user("TokensChanged", ME, at + 1, delta=3, reason="correction", drama_id="mine")])
    world.catch_up(*drama_oracle.READS)
    world.database.execute("SET search_path = drama")
    rows = world.database.execute
    ranks = {(row["kind"], row["id"]): (row["level"], row["rank"], len(row["depends_on"]))
             for row in rows("SELECT * FROM drama_graph WHERE drama_id = 'mine'")}
    assert ranks == {
        ("character", "c"): (1, 0, 0), ("episode", "e"): (1, 0, 0), ("scene", "s"): (2, 1, 1),
        ("character_asset", "portrait"): (2, 1, 1), ("scene_asset", "still"): (3, 2, 2),
        ("scene_asset", "clip"): (3, 3, 3), ("scene_asset", "self"): (3, None, 2)}
    conflict, = rows("SELECT * FROM drama_save_conflicts").fetchall()
    assert (conflict["revision"], conflict["next_revision"]) == (at + 1, at + 2)
    assert {row["job_id"]: (row["root"], row["depth"], row["path"]) for row in rows(
        "SELECT * FROM job_tree WHERE drama_id = 'mine'")} == {
            "top": ("top", 0, ["top"]), "below": ("top", 1, ["top", "below"]),
            "a": (None, None, None), "b": (None, None, None)}
    assert [(row["id"], row["tokens"]) for row in rows("SELECT * FROM users_overdrawn")] == [(ME, -7)]
    cost, = rows("SELECT * FROM drama_costs").fetchall()
    assert (cost["drama_id"], cost["user_id"], cost["entries"], cost["tokens"]) == ("mine", ME, 2, 37)
    world.good("migrate", "drama")
    assert_rights(world)


ROLES = {"jobs": "drama_jobs", "catalog": "drama_catalog", "users": "drama_users", "ingest": "event_ingest"}


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
                ("service_role", "10000"))}
            published = {name for name, in connection.execute(
                "SELECT tablename::text FROM pg_publication_tables WHERE schemaname = 'drama'")}
    mine = {"dramas": 1, "characters": 1, "episodes": 1, "scenes": 1, "assets": 4, "jobs": 5,
            "users": 1, "token_ledger": 3, "drama_graph": 7, "job_tree": 5, "drama_costs": 1}
    theirs = {**dict.fromkeys(mine, 0), "dramas": 1, "assets": 1, "jobs": 3, "users": 1,
              "token_ledger": 1, "drama_graph": 1, "job_tree": 3}
    assert seen["anon", ""] == dict.fromkeys(mine)
    assert seen["authenticated", ME] == mine
    assert seen["authenticated", OTHER] == theirs
    assert seen["service_role", "10000"]["dramas"] == 2
    assert published == {"dramas", "episodes", "scenes", "characters", "jobs"}


RELATIONS = """
                             anon  me  other  service  analyst  writer  jobs  catalog  users  ingest
assets                       -     S%  S%     SIUDT    S        -       -     SIUD     -      -
characters                   -     S   S%     SIUDT    S        -       -     SIUD     -      -
drama_costs                  -     S   S%     S        S        -       -     -        -      -
drama_graph                  -     S%  S%     S        S        -       -     -        -      -
drama_save_conflicts         -     -   -      S        S        -       -     -        -      -
drama_saves                  -     -   -      SIUDT    S        -       -     SI       -      -
dramas                       -     S%  S%     SIUDT    S        -       -     SIUD     -      s
episodes                     -     S   S%     SIUDT    S        -       -     SIUD     -      -
job_tree                     -     S%  S%     S        S        -       -     -        -      -
jobs                         -     S%  S%     SIUDT    S        -       SIUD  -        -      -
scenes                       -     S   S%     SIUDT    S        -       -     SIUD     -      -
token_ledger                 -     S%  S%     SIUDT    S        -       -     -        SIUD   -
users                        -     S%  S%     SIUDT    S        -       -     -        SIUD   -
users_overdrawn              -     -   -      S        S        -       -     -        -      -
state_drama_catalog_drama    -     -   -      -        -        -       -     SIU      -      -
state_drama_jobs_drama       -     -   -      -        -        -       SIU   -        -      -
state_drama_jobs_job         -     -   -      -        -        -       SIU   -        -      -
state_drama_jobs_links       -     -   -      -        -        -       SIU   -        -      -
state_drama_jobs_links_wide  -     -   -      -        -        -       SIUD  -        -      -
state_drama_users_entry      -     -   -      -        -        -       -     -        SIU    -
state_drama_users_part       -     -   -      -        -        -       -     -        SIU    -
state_drama_users_user       -     -   -      -        -        -       -     -        SIU    -
"""


def assert_matrix(connection, prefix):
    """Each cell of the tables above is tried; what is in the database and not there is a failure."""
    matrix = policies.matrix_of_users(connection, prefix, ROLES, ME, OTHER)
    found = matrix.all_relations("drama") | matrix.all_relations("projectionist", only="state_drama")
    assert found == policies.parse(RELATIONS), "\n" + policies.show(found)
    assert not matrix.functions(["drama"])


def what_is_seen(connection, role, subject):
    """{relation: how many rows of it, None where there is no right}"""
    seen = {}
    for name in ("dramas", "characters", "episodes", "scenes", "assets", "jobs", "users",
                 "token_ledger", "drama_graph", "job_tree", "drama_costs"):
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL ROLE {role}")
                connection.execute("SELECT set_config('request.jwt.claims', %s, true)",
                                   [f'{{"sub": "{subject}"}}'])
                seen[name], = connection.execute(f"SELECT count(*) FROM drama.{name}").fetchone()
        except psycopg.errors.InsufficientPrivilege:
            seen[name] = None
    return seen

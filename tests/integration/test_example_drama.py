# SPDX-License-Identifier: Apache-2.0
"""examples/drama: the backend's repositories against the whole system: event-ingest, the three
consumers, Kafka and Postgres."""

import asyncio
import importlib.util
import json
import uuid

import pytest
from lib import consumers, drama_events, kafka
from lib.consumers import REPOSITORY
from lib.ingest import Ingests, token, write_tokens
from lib.old_dramas import old_file
from lib.world import World, new_database, open_world

TABLES = ("drama.dramas=dramas,key=id:drama_id,owner=user_id,revision=revision,life=life "
          "drama.jobs=dramas,key=id:drama_id,owner=user_id")
TOPICS = "drama.dramas=drama_id drama.jobs=drama_id drama.users=user_id"
CONSUMERS = ("drama-catalog", "drama-jobs", "drama-users")

spec = importlib.util.spec_from_file_location("dal", REPOSITORY / "examples/drama/dal.py")
dal = importlib.util.module_from_spec(spec)
spec.loader.exec_module(dal)


class Drama(World):
    contract = drama_events
    reads = {"drama-catalog": ["drama.dramas"], "drama-jobs": ["drama.jobs", "drama.dramas"],
             "drama-users": ["drama.users"]}
    variables = {"SYSTEMS": "drama"}


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backend")
    with new_database(migrated=False) as dsn:
        result = consumers.run("projectionist", "migrate", "drama",
                               variables={"POSTGRES_DSN": dsn, "SYSTEMS": "drama"})
        assert result.returncode == 0, result.stderr
        with open_world(folder, 3, dsn, Drama) as world:
            kafka.new_topics("drama.ingest-keys", partitions=1, config={"cleanup.policy": "compact"})
            ingests = Ingests(folder)
            write_tokens(ingests.tokens, token("service", ["drama.*"]),
                         token("bob", ["drama.*"], user="bob"))
            ingest = ingests(INGEST_SYSTEM="drama", INGEST_TOPICS=TOPICS, INGEST_TABLES=TABLES,
                             TABLE_TIMEOUT="30s", POSTGRES_DSN=world.dsn)
            for name in CONSUMERS:
                world.start(name)
            client = dal.Client(f"http://127.0.0.1:{ingest.api}", "service", world.dsn)
            yield client
            ingests.end()


def run(work):
    return asyncio.run(work)


def new(shape="alpha"):
    return json.loads(old_file(f"drama_{uuid.uuid4().hex[:12]}", shape))


async def until(asked, wanted):
    for _ in range(600):
        found = await asked()
        if wanted(found):
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"it stays {found}")


def test_a_drama_is_read_as_it_was_saved(backend):
    """Mistake 5: with its assets, premise, metadata and premise_url."""
    async def work():
        repository, drama = dal.DramaRepository(backend), new()
        drama["metadata"] = {"genre": ["noir", None]}
        drama["characters"][0].update(premise_url="https://x/p.png", metadata={"age": 7})
        assert await repository.get_drama_complete(drama["id"]) is None
        await repository.save_drama_complete(drama, user_id="10000", wait=60)
        found = await repository.get_drama_complete(drama["id"])
        assert (found["premise"], found["metadata"]) == (drama["premise"], drama["metadata"])
        assert [(item["premise_url"], item["metadata"]) for item in found["characters"]][:2] == [
            ("https://x/p.png", {"age": 7}), (None, None)]
        assert found["title"] == drama["title"] and found["user_id"] == "10000"
        assert [len(episode["scenes"]) for episode in found["episodes"]] == [4, 5, 3]
        assert sum(len(scene["assets"]) for episode in found["episodes"]
                   for scene in episode["scenes"]) == 24
        assert [item["main"] for item in found["characters"]] == [True, True, False, False, False]
        # Read, changed, saved: and what was left out is gone.
        found["title"], found["characters"] = "another", found["characters"][1:]
        await repository.save_drama_complete(found, wait=60)
        again = await repository.get_drama_complete(drama["id"])
        assert again["title"] == "another" and len(again["characters"]) == 4
        assert again["life"] == found["life"] and again["revision"] > found["revision"]
        # Whoever saves what he read before that is told.
        with pytest.raises(dal.Conflict):
            await repository.save_drama_complete(found)
        with pytest.raises(dal.Conflict):
            await repository.save_drama_complete(drama)  # made anew, and it is there
        assert await repository.get_drama_complete(drama["id"]) == again
        assert again["id"] in [row["id"] for row in await repository.list_dramas("10000")]
        await repository.delete_drama(drama["id"], wait=60)
        assert await repository.get_drama_complete(drama["id"]) is None
        await repository.save_drama_complete(drama, wait=60)  # another life
        assert len((await repository.get_drama_complete(drama["id"]))["characters"]) == 5
    run(work())


def test_ten_jobs_at_once_lose_no_image(backend):
    async def work():
        drama = new("beta")
        repository, jobs = dal.DramaRepository(backend), dal.JobRepository(backend)
        await repository.save_drama_complete(drama, wait=60)
        await jobs.create_job(drama["id"], "top", "generate_drama", total_jobs=10)
        scenes = [(episode["id"], scene["id"]) for episode in drama["episodes"]
                  for scene in episode["scenes"]][:10]

        async def make(episode, scene):
            await jobs.create_job(drama["id"], f"job_{scene}", "generate_image",
                                  parent_job_id="top", asset_id=scene)
            await jobs.update_job_status(drama["id"], f"job_{scene}", "running")
            await repository.set_media(drama["id"], "scene", [episode, scene], f"u/{scene}",
                                       slot="image_url", job_id=f"job_{scene}")
            await jobs.update_job_status(drama["id"], f"job_{scene}", "completed",
                                         r2_url=f"u/{scene}")

        await asyncio.gather(*(make(*scene) for scene in scenes))
        top = await until(lambda: jobs.get_job(drama["id"], "top"),
                          lambda row: row is not None and row["status"] == "completed")
        assert (top["total_jobs"], top["completed_jobs"], top["failed_jobs"]) == (10, 10, 0)
        assert len(await jobs.get_drama_jobs(drama["id"])) == 11
        found = await until(
            lambda: repository.get_drama_complete(drama["id"]),
            lambda row: sum(scene["image_url"] is not None for episode in row["episodes"]
                            for scene in episode["scenes"]) == 10)
        assert {scene["image_url"] for episode in found["episodes"] for scene in episode["scenes"]
                if scene["image_url"]} == {f"u/{scene}" for _, scene in scenes}
    run(work())


def test_a_charge_counts_once(backend):
    async def work():
        users, user = dal.UserRepository(backend), uuid.uuid4().hex
        await users.create_user(user, "a@example.org")
        for job in ("j", "j", "k"):
            await users.charge(user, 10, "d", job)
        row = await until(lambda: users.get_user(user),
                          lambda row: row is not None and row["tokens"] == 10)
        assert row["entries"] == 3
    run(work())


def test_what_is_not_published_is_an_error(backend):
    """Mistakes 2 and 18: to whoever called; and a token that nobody gave is none."""
    async def work():
        mine = dal.DramaRepository(backend)
        drama = await mine.save_drama_complete(new(), user_id="ann", wait=60)
        theirs = dal.DramaRepository(dal.Client(backend.ingest_url, "bob", backend.dsn))
        for client, part in ((dal.Client(backend.ingest_url, "bob", backend.dsn), "another owner"),
                             (dal.Client(backend.ingest_url, "nobody", backend.dsn), "token"),
                             (dal.Client("http://127.0.0.1:1", "x", backend.dsn), "reached")):
            with pytest.raises(dal.NotPublished, match=part):
                await dal.DramaRepository(client).delete_drama(drama["id"])
        with pytest.raises(dal.NotPublished, match="not that of the token"):
            await theirs.save_drama_complete(new(), user_id="ann")
        assert await mine.get_drama_complete(drama["id"])
    run(work())


def test_while_postgres_is_away_it_is_read_from_where_it_was(backend, monkeypatch, caplog):
    async def kept(drama_id):
        return {"id": drama_id, "title": "old"}

    away = dal.Client(backend.ingest_url, "service", "postgresql://127.0.0.1:1/x?connect_timeout=1")
    assert run(dal.DramaRepository(away, kept).get_drama_complete("d")) == {"id": "d",
                                                                          "title": "old"}
    assert "the tables are away" in caplog.text
    with pytest.raises(dal.psycopg.OperationalError):
        run(dal.DramaRepository(away).get_drama_complete("d"))
    for client, good in ((backend, True), (away, False)):
        monkeypatch.setattr(dal, "_client", client)
        assert dal.check_supabase_connection() is good

# SPDX-License-Identifier: Apache-2.0
"""\
usage: deploy/local/demo_drama.py

The part of `deploy/local/demo drama` that comes when all is installed, built and up: with the
servers that PROJECTIONIST_… names and the programs in PROJECTIONIST_BIN, by default
build/release/bin.
"""

import asyncio
import json
import random
import secrets
import sys
import uuid

from demo_common import REPOSITORY, DemoError, heading, table
from demo_system import INGEST, LETTERS_SQL, WAIT_SECONDS, Story, command_line

for folder in ("tests", "examples/drama"):
    sys.path.append(str(REPOSITORY / folder))

import dal  # noqa: E402
from lib import drama_events  # noqa: E402
from lib.drama_stream import shape  # noqa: E402
from lib.old_dramas import old_file  # noqa: E402

CONSUMERS = ("drama-catalog", "drama-jobs", "drama-users")
INGEST_TOPICS = "drama.dramas=drama_id drama.jobs=drama_id drama.users=user_id"
INGEST_TABLES = ("drama.dramas=dramas,key=id:drama_id,owner=user_id,revision=revision,life=life "
                 "drama.jobs=dramas,key=id:drama_id,owner=user_id")
AT_ONCE = 8          # jobs that end at the same time
FAILED = 5           # jobs whose first attempt fails
PRICE = 2            # tokens for a video
JOBS_SQL = """
    SELECT job_id, status, attempts, total_jobs, completed_jobs AS done, failed_jobs AS failed,
           running_jobs AS running, pending_jobs AS pending
    FROM drama.jobs WHERE drama_id = %s AND job_id = %s
"""
TYPES_SQL = """
    SELECT node_type, job_type, status, count(*) AS jobs, max(attempts) AS attempts
    FROM drama.jobs WHERE drama_id = %s AND parent_job_id IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1
"""
RANKS_SQL = """
    SELECT rank, kind, count(*) AS parts FROM drama.drama_graph WHERE drama_id = %s
    GROUP BY 1, 2 ORDER BY 1, 2
"""
SEEN = ("dramas", "characters", "episodes", "scenes", "assets", "jobs", "users", "token_ledger")


def node_of(kind, name, path):
    """What a job makes, and where its url belongs: the level, None for an episode."""
    is_video = name.endswith("-vid")
    return {"node_type": kind, "id": name, "path": path,
            "level": None if kind == "episode" else kind,
            "slot": "image_url" if kind == "scene" else "url",
            "job_type": "generate_drama" if kind == "episode"
            else "generate_video" if is_video else "generate_image"}


class Drama(Story):
    """A backend, and who is told of what it made."""

    system = "drama"
    consumers = CONSUMERS
    done = "The tables are what was told, and each sees their own."
    look = '-c "SET search_path = drama" -c "TABLE users"'

    def __init__(self, environment, folder, stack):
        super().__init__(environment, folder, stack)
        self.chance = random.Random(57)
        # Another drama and other people in each run: it adds to what is there.
        self.owner, self.stranger = str(uuid.uuid4()), str(uuid.uuid4())
        self.drama = json.loads(old_file(f"drama_{uuid.uuid4().hex[:12]}", "beta"))
        self.id = self.drama["id"]
        self.nodes = [node_of(*node) for node in drama_events.graph(*shape("beta"))]
        self.top = f"job_drama_{self.id[:20]}"
        self.token = secrets.token_hex(32)
        self.order = []  # in which the jobs ended

    # --- the database ---

    def seen_by(self, role, who, table_name):
        """How many of this run's rows they see, or that they may not ask."""
        column = {"users": "id", "token_ledger": "user_id", "dramas": "id"}.get(table_name,
                                                                                "drama_id")
        of = [self.owner] if table_name in ("users", "token_ledger") else [self.id]
        return self.count_as(role, who, f"SELECT count(*) FROM drama.{table_name} "
                                        f"WHERE {column} = ANY (%s)", of)

    def job(self):
        """The parent's row."""
        found = self.rows(JOBS_SQL, self.id, self.top)
        return found[0] if found else {"status": None, "done": 0}

    # --- starting ---

    def start(self):
        heading("Starting")
        self.start_ingest(INGEST_TOPICS, [("backend", self.token, {}),
                                          ("stranger", self.stranger, {"user": self.stranger})],
                          PROJECTIONIST_INGEST_TABLES=INGEST_TABLES,
                          PROJECTIONIST_TABLE_TIMEOUT="30s")
        self.start_consumers()
        url = self.ingest_url()
        dsn = self.environment["PROJECTIONIST_POSTGRES_DSN"]
        self.client = dal.Client(url, self.token, dsn)
        self.strange = dal.Client(url, self.stranger, dsn)
        print(f"  {INGEST:<14} {url}, which asks the table dramas whose each is")
        print(f"  {'consumers':<14} {', '.join(CONSUMERS)}")
        print(f"  {'a backend':<14} examples/drama/dal.py")

    # --- the story ---

    def tell_all(self):
        heading("A backend at work")
        for text, act in (
                ("a user with 30 tokens; an AI has written a drama, which is saved", self.write),
                (f"{len(self.nodes)} jobs and their parent; each of them ends, in any order, "
                 f"{FAILED} fail", lambda: asyncio.run(self.generate())),
                (f"the {FAILED} are tried again, and the parent is completed",
                 lambda: asyncio.run(self.retry())),
                ("an edit on what another one has changed since is refused", self.conflict),
                ("somebody else's token may not delete it", self.steal)):
            self.step(text, act)

    def write(self):
        users = dal.UserRepository(self.client)
        asyncio.run(users.create_user(self.owner, "owner@example.org"))
        asyncio.run(dal.DramaRepository(self.client).save_drama_complete(
            self.drama, user_id=self.owner, wait=WAIT_SECONDS))

    async def generate(self):
        jobs = dal.JobRepository(self.client)
        await jobs.create_job(self.id, self.top, "generate_drama", user_id=self.owner,
                              total_jobs=len(self.nodes))
        order = list(self.nodes)
        self.chance.shuffle(order)
        self.order = order
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(number, node):
            async with gate:
                await self.make_one(node, fails=number < FAILED)

        await asyncio.gather(*(one(number, node) for number, node in enumerate(order)))
        self.wait(lambda: self.job()["status"] == "failed", "the parent has not failed")

    async def make_one(self, node, fails=False, attempt=1):
        jobs, dramas = dal.JobRepository(self.client), dal.DramaRepository(self.client)
        job_id = f"job_{node['id']}"
        is_video = node["job_type"] == "generate_video"
        await jobs.create_job(self.id, job_id, node["job_type"], user_id=self.owner,
                              attempt=attempt, parent_job_id=self.top, asset_id=node["id"],
                              node_type=node["node_type"])
        if is_video:
            await dal.UserRepository(self.client).charge(self.owner, PRICE, self.id, job_id)
        await jobs.update_job_status(self.id, job_id, "running", attempt=attempt)
        if fails:
            await jobs.update_job_status(self.id, job_id, "failed", attempt=attempt,
                                         error="out of memory")
            return
        url = f"https://r2.example/{self.id}/{node['id']}"
        if node["level"]:
            await dramas.set_media(self.id, node["level"], node["path"], url, job_id=job_id,
                                   slot=node["slot"])
        await jobs.update_job_status(self.id, job_id, "completed", attempt=attempt, r2_url=url)

    async def retry(self):
        for node in self.order[:FAILED]:
            await self.make_one(node, attempt=2)
        self.wait(lambda: self.job()["status"] == "completed", "the parent is not completed")

    def conflict(self):
        dramas = dal.DramaRepository(self.client)
        read = asyncio.run(dramas.get_drama_complete(self.id))
        asyncio.run(dramas.save_drama_complete({**read, "title": "The first edit"},
                                               user_id=self.owner, wait=WAIT_SECONDS))
        try:
            asyncio.run(dramas.save_drama_complete({**read, "title": "The second edit"},
                                                   user_id=self.owner))
        except dal.Conflict:
            return
        raise DemoError("an edit on an older revision was not refused")

    def steal(self):
        try:
            asyncio.run(dal.DramaRepository(self.strange).delete_drama(self.id))
        except dal.NotPublished as failure:
            if failure.status == 403:
                return
        raise DemoError("somebody else's drama could be deleted")

    def delete_and_make_again(self):
        dramas, jobs = dal.DramaRepository(self.client), dal.JobRepository(self.client)
        read = asyncio.run(dramas.get_drama_complete(self.id))
        asyncio.run(dramas.delete_drama(self.id, wait=WAIT_SECONDS))
        # A job that was under way ends now, and saves what it had read.
        late = dal.event("DramaSaved", {**dal.saved_body(read), "base_revision": read["revision"]},
                         seen=read["revision"], drama_id=self.id, user_id=self.owner,
                         life=read["life"])
        self.client.post("drama.dramas", [late])
        self.wait(lambda: self.value("SELECT count(*) FROM drama.jobs WHERE drama_id = %s",
                                     self.id) == 0, "its jobs are still there")
        self.wait(lambda: self.value("SELECT count(*) FROM drama.drama_saves WHERE event_id = %s",
                                     late["event_id"]) == 1, "the late save was not read")
        gone = self.value("SELECT count(*) FROM drama.dramas WHERE id = %s", self.id)
        asyncio.run(dramas.save_drama_complete(self.drama, user_id=self.owner, wait=WAIT_SECONDS))
        asyncio.run(jobs.create_job(self.id, self.top, "generate_drama", user_id=self.owner))
        self.wait(lambda: self.job()["status"] == "pending", "its job made again is not there")
        return gone

    # --- what a person sees ---

    def report(self):
        self.show("The parent of the jobs", JOBS_SQL, self.id, self.top)
        self.show("Its children", TYPES_SQL, self.id)
        self.show("What is made before what, from the view drama_graph", RANKS_SQL, self.id)

    def who_sees_what(self):
        rows = [(what, *(self.seen_by(role, who, name) for name in SEEN)) for what, role, who in (
            ("nobody (anon)", "anon", None), ("its owner", "authenticated", self.owner),
            ("another user", "authenticated", self.stranger),
            ("a service", "service_role", None))]
        heading("Who sees what of it")
        table([tuple(map(str, row)) for row in rows], ("WHO", *SEEN))
        return {row[0]: row[1:] for row in rows}

    def check(self):
        """Compares the tables with what was told."""
        drama = asyncio.run(dal.DramaRepository(self.client).get_drama_complete(self.id))
        images = self.value("SELECT count(*) FROM drama.assets WHERE drama_id = %s AND url IS NOT "
                            "NULL", self.id)
        videos = sum(node["job_type"] == "generate_video" for node in self.nodes)
        parent, seen = self.job(), self.who_sees_what()
        everything = (1, 5, 3, 16, 32, 57, 1, 1 + videos)
        entries = self.value("SELECT count(*) FROM drama.token_ledger WHERE user_id = %s",
                             self.owner)
        balance = self.value("SELECT tokens FROM drama.users WHERE id = %s", self.owner)
        conflicts = self.value("SELECT count(*) FROM drama.drama_save_conflicts "
                               "WHERE drama_id = %s",
                               self.id)
        gone = self.delete_and_make_again()
        again = asyncio.run(dal.DramaRepository(self.client).get_drama_complete(self.id))
        left = self.value("SELECT count(*) FROM drama.jobs WHERE drama_id = %s", self.id)
        self.compare([
            ("jobs that ended, in any order", f"{len(self.nodes)} of {len(self.nodes)}, completed",
             f"{parent['done']} of {parent['total_jobs']}, {parent['status']}"),
            ("assets with a url, of as many jobs at once", 32, images),
            ("title after two edits on one revision", "The first edit", drama["title"]),
            ("conflicts that slipped through", 0, conflicts),
            (f"tokens: 30, less {PRICE} for each of {videos} videos, tried again or not",
             30 - PRICE * videos, balance),
            ("entries of the ledger", 1 + videos, entries),
            ("seen by nobody", ("refused",) * len(SEEN), seen["nobody (anon)"]),
            ("seen by its owner", everything, seen["its owner"]),
            ("seen by another user", (0,) * len(SEEN), seen["another user"]),
            ("seen by a service", everything, seen["a service"]),
            ("dramas after the deletion, and a save that came late", 0, gone),
            ("made again: its characters, its jobs", "5, 1", f"{len(again['characters'])}, {left}"),
            ("made again: another life, no urls of the former", True,
             again["life"] != drama["life"] and not any(
                 asset["url"] for episode in again["episodes"] for scene in episode["scenes"]
                 for asset in scene["assets"])),
            ("dead letters", 0, self.value(LETTERS_SQL)),
        ])


if __name__ == "__main__":
    command_line(Drama, __doc__)

# SPDX-License-Identifier: Apache-2.0
"""The data access layer of a drama backend over Projectionist: what is written is an event, posted to
event-ingest, and what is read are the tables that the consumers keep. Names and signatures are those
of the backend's own repositories, so that its code stays as it is:

    repo = DramaRepository(get_supabase_client())
    drama = await repo.get_drama_complete(drama_id)
    await repo.save_drama_complete(drama, user_id="10000")

What cannot be published raises, and nothing is "saved" that is not. A drama that was read carries
`life` and `revision`; saved again, it says so, and Conflict is raised where somebody else was first.

    EVENT_INGEST_URL       event-ingest; SUPABASE_URL where it is behind the same address
    SUPABASE_SERVICE_KEY   what it is shown: a JWT of the role service_role, or a token
    SUPABASE_DB_URL        Postgres, where the tables are; read only

Needs psycopg; everything else is Python's own.
"""

import asyncio
import json
import logging
import os
import time
import urllib.error
import urllib.request
import uuid

import psycopg
from psycopg.rows import dict_row

LOG = logging.getLogger(__name__)
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "projectionist")
WAIT_SECONDS = 10  # until the tables show what was saved
TRIES = 5          # of a request, while a server is away
STATES = {"running": "processing"}


class NotPublished(Exception):
    """Nothing was written; `status` is that of HTTP, or 0 where nobody answered."""

    def __init__(self, status, reason):
        super().__init__(f"{reason} (HTTP {status})" if status else reason)
        self.status = status


class Conflict(NotPublished):
    """Somebody else was first: read it again."""


class NotVisible(Exception):
    """It is published, and the tables do not show it yet."""


class Client:
    """Where events go, and where tables are. Blocking; the repositories call it from threads."""

    def __init__(self, ingest_url, key, dsn, schema="drama"):
        self.ingest_url, self.key, self.dsn, self.schema = ingest_url.rstrip("/"), key, dsn, schema
        self._direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def post(self, topic, events):
        """All of them or none. A try whose answer is lost is repeated: events are told by their ids,
        and the request by its key."""
        request_id = str(uuid.uuid4())
        for attempt in range(TRIES):
            try:
                return self._post_once(topic, events, request_id)
            except NotPublished as failure:
                if failure.status not in (0, 429, 503) or attempt == TRIES - 1:
                    raise
                time.sleep(min(2 ** attempt * 0.2, 3))
        return None

    def _post_once(self, topic, events, request_id):
        request = urllib.request.Request(
            f"{self.ingest_url}/v1/events/{topic}", json.dumps(events).encode(), method="POST",
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.key}",
                     "Idempotency-Key": request_id})
        try:
            with self._direct.open(request, timeout=30) as answer:
                return json.load(answer)["event_ids"]
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            try:
                text = json.loads(text)["error"]
            except (ValueError, KeyError, TypeError):
                pass
            raise (Conflict if error.code == 409 else NotPublished)(error.code, text) from error
        except OSError as error:
            raise NotPublished(0, f"event-ingest cannot be reached: {error}") from error

    def connect(self):
        connection = psycopg.connect(self.dsn, row_factory=dict_row, connect_timeout=5,
                                     application_name="drama backend")
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.execute("SELECT set_config('search_path', quote_ident(%s), false)",
                           [self.schema])
        return connection

    def rows(self, query, parameters=()):
        with self.connect() as connection:
            return connection.execute(query, parameters).fetchall()


_client = None


def get_supabase_client():
    """The one of this process, by its environment."""
    global _client  # pylint: disable=global-statement
    if _client is None:
        _client = Client(os.environ.get("EVENT_INGEST_URL") or os.environ["SUPABASE_URL"],
                         os.environ["SUPABASE_SERVICE_KEY"], os.environ["SUPABASE_DB_URL"],
                         os.environ.get("DRAMA_SCHEMA", "drama"))
    return _client


def check_supabase_connection():
    """Whether the tables can be read."""
    try:
        get_supabase_client().rows("SELECT 1 FROM dramas LIMIT 1")
        return True
    except (psycopg.Error, KeyError) as error:
        LOG.warning("the tables cannot be read: %s", error)
        return False


# --- events ---------------------------------------------------------------------------------------


def now_us():
    return time.time_ns() // 1000


def event(kind, body, seen=0, **members):
    """An event whose id and revision are made here, so that trying again is the same event. `seen`:
    the greatest revision that is known of the thing; it comes after that, whatever the clock."""
    at = now_us()
    return {"event_id": str(uuid.uuid4()), "emitted_at": at, "revision": max(at, (seen or 0) + 1),
            **members, "body": {"type": kind, **{k: v for k, v in body.items() if v is not None}}}


def id_of(*parts):
    """The UUID of texts; see system drama's README."""
    return str(uuid.uuid5(NAMESPACE, "".join(f"{len(part.encode())}:{part}," for part in parts)))


def plain(model):
    """Of a pydantic model, or of a dict."""
    return model.model_dump(mode="json") if hasattr(model, "model_dump") else dict(model)


def only(members, item):
    return {name: item[name] for name in members if item.get(name) is not None}


ASSET = ("id", "kind", "depends_on", "prompt", "duration", "url", "metadata")
SCENE = ("id", "description", "image_url", "video_url", "metadata")
EPISODE = ("id", "title", "description", "premise", "url", "metadata")
CHARACTER = ("id", "name", "description", "gender", "voice_description", "main", "url",
             "premise_url", "metadata")
DRAMA = ("title", "description", "premise", "url", "metadata")


def assets_of(item):
    return [only(ASSET, asset) for asset in item.get("assets") or []]


def saved_body(drama):
    """A whole save: what it does not name is gone."""
    return {**only(DRAMA, drama), "assets": assets_of(drama),
            "characters": [{**only(CHARACTER, item), "assets": assets_of(item)}
                           for item in drama.get("characters") or []],
            "episodes": [{**only(EPISODE, item), "assets": assets_of(item), "scenes": [
                {**only(SCENE, scene), "assets": assets_of(scene)}
                for scene in item.get("scenes") or []]} for item in drama.get("episodes") or []]}


# --- repositories ---------------------------------------------------------------------------------


class BaseRepository:
    def __init__(self, client):
        self.client = client

    async def _post(self, topic, *events):
        return await asyncio.to_thread(self.client.post, topic, list(events))

    async def _rows(self, query, *parameters):
        return await asyncio.to_thread(self.client.rows, query, parameters)

    async def _row(self, query, *parameters):
        rows = await self._rows(query, *parameters)
        return rows[0] if rows else None

    async def _wait(self, what, shows, seconds):
        """Read-your-writes: until the tables show it."""
        until = time.monotonic() + seconds
        while not await shows():
            if time.monotonic() >= until:
                raise NotVisible(f"{what} is published, and not in the tables after {seconds} s")
            await asyncio.sleep(0.05)


class DramaRepository(BaseRepository):
    """fallback(drama_id) reads a drama from where it was kept before (R2), while Postgres is away."""

    def __init__(self, client, fallback=None):
        super().__init__(client)
        self.fallback = fallback

    async def get_drama_complete(self, drama_id):
        """With all that belongs to it, as of one moment; None where there is none."""
        try:
            return await asyncio.to_thread(self._read, drama_id)
        except psycopg.OperationalError as error:
            if self.fallback is None:
                raise
            LOG.warning("the tables are away (%s); drama %s is read from where it was before, and "
                        "may be older", error, drama_id)
            return await self.fallback(drama_id)

    def _read(self, drama_id):
        with self.client.connect() as connection:
            def rows(table, order):
                return connection.execute(f"SELECT * FROM {table} WHERE drama_id = %s "
                                          f"ORDER BY {order}", [drama_id]).fetchall()

            drama = connection.execute("SELECT * FROM dramas WHERE id = %s", [drama_id]).fetchone()
            if drama is None:
                return None
            characters, episodes = rows("characters", "position"), rows("episodes", "sequence_number")
            scenes, assets = rows("scenes", "sequence_number"), rows("assets", "position")
        def of(owner, **ids):
            return [asset for asset in assets if asset["owner"] == owner and
                    all(asset[name] == value for name, value in ids.items())]

        for character in characters:
            character["main"] = character.pop("is_main")
            character["assets"] = of("character", character_id=character["id"])
        for episode in episodes:
            episode["assets"] = of("episode", episode_id=episode["id"])
            episode["scenes"] = [scene for scene in scenes if scene["episode_id"] == episode["id"]]
        for scene in scenes:
            scene["assets"] = of("scene", episode_id=scene["episode_id"], scene_id=scene["id"])
        return {**drama, "characters": characters, "episodes": episodes, "assets": of("drama")}

    async def save_drama_complete(self, drama, user_id="10000", wait=WAIT_SECONDS):
        """Saves all of it. One that was read is saved on what was read; another one is created.
        Returns it with its life and its revision."""
        drama = plain(drama)
        base, life = drama.get("revision"), drama.get("life")
        saved = event("DramaSaved", {**saved_body(drama), "base_revision": base}, seen=base,
                      drama_id=drama["id"], user_id=user_id)
        saved["life"] = saved["revision"] if base is None else life
        await self._post("drama.dramas", saved)

        async def shows():
            row = await self._row("SELECT life, revision FROM dramas WHERE id = %s", drama["id"])
            return row is not None and (row["life"], row["revision"]) >= (saved["life"],
                                                                       saved["revision"])
        if wait:
            await self._wait(f"drama {drama['id']}", shows, wait)
        return {**drama, "life": saved["life"], "revision": saved["revision"]}

    async def _of_life(self, drama_id):
        row = await self._row("SELECT life, revision, user_id FROM dramas WHERE id = %s", drama_id)
        if row is None:
            raise KeyError(f"there is no drama {drama_id}")
        return row

    async def set_media(self, drama_id, level, path, value, slot="url", job_id=None):
        """A url of a part, whoever else changes the drama meanwhile; None clears it."""
        row = await self._of_life(drama_id)
        body = {"level": level, "path": list(path), "slot": slot, "value": value, "job_id": job_id}
        await self._post("drama.dramas", event("MediaSet", body, seen=row["revision"],
                                               drama_id=drama_id, life=row["life"]))

    async def update_drama_status(self, drama_id, status, error=None):
        row = await self._of_life(drama_id)
        body = {"status": STATES.get(status, status), "error": error}
        await self._post("drama.dramas", event("DramaStatusChanged", body, seen=row["revision"],
                                               drama_id=drama_id, life=row["life"]))

    async def delete_drama(self, drama_id, wait=WAIT_SECONDS):
        row = await self._of_life(drama_id)
        await self._post("drama.dramas", event("DramaDeleted", {}, seen=row["revision"],
                                               drama_id=drama_id, life=row["life"]))

        async def shows():
            found = await self._row("SELECT life FROM dramas WHERE id = %s", drama_id)
            return found is None or found["life"] != row["life"]
        if wait:
            await self._wait(f"the deletion of drama {drama_id}", shows, wait)

    async def list_dramas(self, user_id=None, limit=100, after=None):
        """The newest first; `after` is the created_at and id of the last one seen."""
        at, last = after or (None, None)
        return await self._rows(
            "SELECT * FROM dramas WHERE (%s::text IS NULL OR user_id = %s) AND (%s::timestamptz IS "
            "NULL OR (created_at, id) < (%s, %s)) ORDER BY created_at DESC, id DESC LIMIT %s",
            user_id, user_id, at, at, last, limit)


class JobRepository(BaseRepository):
    async def create_job(self, drama_id, job_id, job_type, user_id="10000", attempt=1, **facts):
        """facts: parent_job_id, asset_id, prompt, depends_on, total_jobs, title, metadata …"""
        await self._post("drama.jobs", event("JobCreated", {"job_type": job_type, **facts},
                                             drama_id=drama_id, job_id=job_id, attempt=attempt,
                                             user_id=user_id))

    async def update_job_status(self, drama_id, job_id, status, attempt=1, **facts):
        """facts: error, r2_url, r2_key, result. What follows for its parents, the tables say."""
        body = {"status": STATES.get(status, status), **facts}
        await self._post("drama.jobs", event("JobStatusChanged", body, drama_id=drama_id,
                                             job_id=job_id, attempt=attempt))

    async def get_job(self, drama_id, job_id):
        return await self._row("SELECT * FROM jobs WHERE drama_id = %s AND job_id = %s",
                               drama_id, job_id)

    async def get_drama_jobs(self, drama_id):
        return await self._rows("SELECT * FROM jobs WHERE drama_id = %s ORDER BY created_at, job_id",
                                drama_id)


class UserRepository(BaseRepository):
    async def create_user(self, user_id, email=None, tokens=30):
        await self._post("drama.users", event("UserRegistered", {"email": email, "tokens": tokens},
                                              user_id=user_id))

    async def get_user(self, user_id):
        return await self._row("SELECT * FROM users WHERE id = %s", user_id)

    async def charge(self, user_id, tokens, drama_id, job_id, attempt=1):
        """Once for an attempt, however often it is called."""
        entry = id_of("drama/charge", drama_id, job_id, str(attempt))
        await self._post("drama.users", event(
            "TokensChanged", {"delta": -tokens, "reason": "charge", "entry_id": entry,
                              "drama_id": drama_id, "job_id": job_id}, user_id=user_id))

# SPDX-License-Identifier: Apache-2.0
"""\
usage: deploy/local/demo_studio.py

The part of `deploy/local/demo studio` that comes when all is installed, built and up: with the
servers that PROJECTIONIST_… names, the programs in PROJECTIONIST_BIN, by default build/release/bin,
and a redis-server of its own.
"""

import concurrent.futures
import hashlib
import http.server
import json
import os
import random
import secrets
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from datetime import datetime, timezone
from decimal import Decimal

import redis

from demo_common import LOGS, REPOSITORY, DemoError, free_port, heading, table
from demo_system import INGEST, LETTERS_SQL, START_SECONDS, Story, command_line

sys.path.append(str(REPOSITORY / "examples/studio"))

import renderer  # noqa: E402

BRIDGE, REDIS = "job-bridge", "redis-server"
CONSUMERS = ("studio-catalog", "studio-voices", "studio-jobs", "studio-objects")
INGEST_TOPICS = ("studio.projects=project_id studio.clips=project_id studio.media=project_id "
                 "studio.voices=user_id|provider/voice_id studio.jobs=job_id "
                 "studio.objects=bucket/object_key")
INGEST_TABLES = " ".join(f"studio.{topic}=projects,key=id:project_id,owner=user_id"
                         for topic in ("projects", "clips", "media"))
CHANNEL = "OMEGAFRAME_JOB_"
ANSWER_SECONDS = 60
TRIES = 5  # of a write, while Kafka is slow
AUTOSAVE_SECONDS = 1.5  # nothing has changed for so long: the page saves
FASTER = 6              # than a person types
CLIPS, AT_ONCE = 8, 4   # jobs at the same time
FAILS = 5               # the job of this clip, at its first attempt
CLIP_SECONDS = 5
STEPS = range(10, 100, 10)  # percent, of each job

ESSAY = """\
A lighthouse is a promise made in stone. It says the same few words all night, and it says them to
everybody. Whoever built it could not know who would come by, or when, or in what weather.

So they wrote down the time between two flashes, and they kept to it. That is all the lamp can say.
It is enough: a sailor counts to seven, looks at the chart, and knows where the land is.
"""
SCENES = [{"scene_id": f"scene-{number}", "title": title, "prompt": title.lower()}
          for number, title in enumerate(("The cliff", "The lamp is lit", "A ship at dusk",
                                          "Counting to seven", "The chart", "Morning"), 1)]
SAVES_SQL = """
    SELECT save, round(extract(epoch FROM emitted_at - first) * %s, 1)::text AS seconds_later,
           script_chars, scene_count AS scenes
    FROM (SELECT *, row_number() OVER (ORDER BY revision) AS save, count(*) OVER () AS saves,
                 min(emitted_at) OVER () AS first
          FROM studio.project_saves WHERE event_id = ANY (%s::uuid[])) AS numbered
    WHERE save %% 3 = 1 OR save = saves ORDER BY save
"""
JOBS_SQL = """
    SELECT type, status, count(*) AS jobs, min(progress) AS progress, message
    FROM studio.generation_jobs WHERE project_id = %s
    GROUP BY type, status, message ORDER BY 1, 2 DESC
"""
TIMELINE_SQL = """
    SELECT t.order_index AS place, s.title AS scene, t.status, t."start"::text, t."end"::text,
           t."offset"::text
    FROM studio.project_timeline AS t
    LEFT JOIN studio.scenes AS s ON s.project_id = t.project_id AND s.id = t.scene_id
    WHERE t.project_id = %s ORDER BY 1
"""
CONFLICTS_SQL = """
    SELECT left(event_id::text, 8) AS save, left(next_event_id::text, 8) AS came_over_by,
           next_revision - revision AS microseconds_later
    FROM studio.project_save_conflicts WHERE project_id = %s
"""
ORPHANS_SQL = "SELECT count(*) FROM studio.orphan_objects WHERE project_id = ANY (%s::uuid[])"
SEEN = ("projects", "scenes", "clips", "exports", "voices", "generation_jobs", "project_timeline",
        "project_saves", "studio_objects")


def keystrokes(text, chance):
    """(seconds before it, a key): somebody who types fast, and thinks after a sentence."""
    before = ""
    for letter in text:
        wait = chance.uniform(0.04, 0.16)
        if before in (".", ":", "\n"):
            wait += chance.uniform(0.6, 3)
        elif before == ",":
            wait += chance.uniform(0.2, 2)
        before = letter
        yield wait, letter


class NotPublished(DemoError):
    """`status` is that of HTTP."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status


class Page:
    """A tab of a browser, which writes by the rules of examples/studio/studio.ts."""

    def __init__(self, url, token):
        self.url, self.token = url, token
        self.seen = {}  # thing: the greatest revision that the page knows of it
        self.written = []

    def saw(self, thing, revision):
        self.seen[thing] = max(self.seen.get(thing, 0), revision or 0)

    def write(self, topic, thing, type_, body, **key):
        """The event, which is later than all that the page knows."""
        base = self.seen.get(thing)
        self.seen[thing] = max(time.time_ns() // 1000, (base or 0) + 1)
        if type_ == "ProjectSaved":
            body = {**body, "base_revision": base}
        event = {"event_id": str(uuid.uuid4()), **key, "revision": self.seen[thing],
                 "emitted_at": datetime.now(timezone.utc).isoformat(timespec="microseconds"),
                 "body": {"type": type_, **body}}
        request = urllib.request.Request(
            f"{self.url}/v1/events/{topic}", json.dumps(event).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"})
        for attempt in range(1, TRIES + 1):
            try:
                with renderer.DIRECT.open(request, timeout=ANSWER_SECONDS):
                    self.written.append(event)
                    return event
            except urllib.error.HTTPError as error:
                text = error.read().decode(errors="replace").strip()
                if error.code != 503 or attempt == TRIES:
                    raise NotPublished(error.code, f"{type_} was answered with {error.code}: {text}"
                                       ) from error
            time.sleep(attempt)  # the same event, by its id
        return None

    def save(self, project, body):
        return self.write("studio.projects", f"project {project}", "ProjectSaved", body,
                          project_id=project)

    def save_whole(self, project, title, script, scenes):
        return self.save(project, {"title": title, "script": script, "scenes": scenes})

    def sync_scenes(self, project, scenes):
        return self.save(project, {"fields": [], "scenes": scenes})

    def delete(self, project):
        return self.write("studio.projects", f"project {project}", "ProjectDeleted", {},
                          project_id=project)

    def trim(self, project, clip, start, end):
        return self.write("studio.clips", f"clips {project}", "ClipTrimmed",
                          {"clip_id": clip, "start_trim": start, "end_trim": end},
                          project_id=project)

    def reorder(self, project, clips):
        return self.write("studio.clips", f"clips {project}", "ClipsReordered",
                          {"clip_ids": clips}, project_id=project)


class Storage(http.server.BaseHTTPRequestHandler):
    """Stands in for Supabase's storage: takes what is uploaded, and says its ETag."""

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()[:32]}"')
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def later(*events):
    """The one of the greatest (revision, event_id)."""
    return max(events, key=lambda event: (event["revision"], event["event_id"]))


class Studio(Story):
    """Pages, a renderer, and who is told of what they made."""

    system = "studio"
    consumers = CONSUMERS
    done = "The tables are what was told, and each sees their own."
    look = '-c "SET search_path = studio" -c "TABLE generation_jobs"'
    width = 70

    def __init__(self, environment, folder, stack):
        super().__init__(environment, folder, stack)
        self.chance = random.Random(7)
        # Other projects and people in each run: it adds to what is there.
        self.owner, self.stranger = str(uuid.uuid4()), str(uuid.uuid4())
        self.essay, self.sketch = str(uuid.uuid4()), str(uuid.uuid4())
        self.voices = [f"voice-{uuid.uuid4().hex[:8]}" for _ in range(2)]
        self.tokens = {who: secrets.token_hex(32)
                       for who in ("owner", "stranger", "anonymous", "renderer")}
        self.pages = []
        self.autosaves, self.typed = [], 0.0
        self.clips = {}  # number: id
        self.published, self.heard = 0, 0  # messages in Redis
        self.lock = threading.Lock()
        self.later_save = self.later_order = None
        self.scenes_written = None

    # --- the database ---

    def seen_by(self, role, who, table_name):
        """How many of this run's rows they see, or that they may not ask."""
        column, of = {"projects": ("id", [self.essay, self.sketch]),
                      "voices": ("voice_id", self.voices)}.get(
                          table_name, ("project_id", [self.essay, self.sketch]))
        return self.count_as(role, who, f"SELECT count(*) FROM studio.{table_name} "
                                        f"WHERE {column}::text = ANY (%s)", of)

    def wait_for(self, what, sql, *parameters):
        self.wait(lambda: self.value(sql, *parameters), what)

    # --- starting ---

    def start(self):
        heading("Starting")
        users = {"owner": self.owner, "stranger": self.stranger}
        port = free_port()
        self.programs.start(REDIS, "--bind", "127.0.0.1", "--port", str(port), "--save", "",
                            "--appendonly", "no", "--daemonize", "no", "--dir", str(LOGS),
                            command=[REDIS])
        self.redis = redis.Redis(host="127.0.0.1", port=port)
        self.stack.callback(self.redis.close)
        self.start_ingest(INGEST_TOPICS, [
            (who, text, {"user": users[who]} if who in users else {})
            for who, text in self.tokens.items()], PROJECTIONIST_INGEST_TABLES=INGEST_TABLES,
            PROJECTIONIST_TABLE_TIMEOUT="30s")
        self.programs.start(BRIDGE, PROJECTIONIST_REDIS_URL=f"redis://127.0.0.1:{port}")
        self.start_consumers()
        storage = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Storage)
        self.stack.callback(storage.server_close)
        threading.Thread(target=storage.serve_forever, daemon=True).start()
        self.stack.callback(storage.shutdown)
        self.url = self.ingest_url()
        self.wait(self._subscribed, f"{BRIDGE} has not subscribed", START_SECONDS)
        os.environ.update(EVENT_INGEST_URL=self.url, SUPABASE_SERVICE_KEY=self.tokens["renderer"],
                          SUPABASE_URL=f"http://127.0.0.1:{storage.server_port}")
        for what, text in (
                (REDIS, f"redis://127.0.0.1:{port}, in which jobs say how far they are"),
                (BRIDGE, f"subscribed to {CHANNEL}*"),
                (INGEST, f"{self.url}, which asks the table projects whose each is"),
                ("consumers", ", ".join(CONSUMERS)),
                ("a renderer", "examples/studio/renderer.py, and a stand-in for its storage"),
                ("pages", "by the rules of examples/studio/studio.ts")):
            print(f"  {what:<14} {text}")

    def _subscribed(self):
        try:
            return self.redis.pubsub_numpat() > 0
        except redis.ConnectionError:
            return False

    def page(self, who):
        self.pages.append(Page(self.url, self.tokens[who]))
        return self.pages[-1]

    def loaded(self, who):
        """A page that has just loaded the essay."""
        page = self.page(who)
        page.saw(f"project {self.essay}",
                 self.value("SELECT revision FROM studio.projects WHERE id = %s", self.essay))
        page.saw(f"clips {self.essay}", self.value(
            "SELECT max(revision) FROM studio.clips WHERE project_id = %s", self.essay))
        return page

    # --- the story ---

    def step(self, text, act):
        try:
            super().step(text, act)
        except (renderer.NotStored, redis.RedisError) as failure:
            raise DemoError(str(failure)) from failure

    def tell_all(self):
        heading("A studio at work")
        for text, act in (
                ("somebody signed in has a project of six scenes; nobody, of one", self.create),
                (f"an essay is typed, {FASTER} times as fast; {CLIPS} clips are made meanwhile",
                 self.type_and_generate),
                ("scenes reordered, clips trimmed", self.cut),
                ("two tabs: both save what they loaded, both drag the clips", self.two_tabs),
                ("somebody else may not save, trim or delete", self.steal),
                ("the film is rendered", self.export),
                ("all of it in the tables", self.settle)):
            self.step(text, act)

    def create(self):
        self.writer = self.page("owner")
        self.writer.save_whole(self.essay, "The lighthouse", "", None)
        self.writer.sync_scenes(self.essay, SCENES)
        self.visitor = self.page("anonymous")
        self.visitor.save_whole(self.sketch, "A sketch", "One.", SCENES[:1])
        for page, user, voice in ((self.writer, self.owner, self.voices[0]),
                                  (self.visitor, None, self.voices[1])):
            page.write("studio.voices", f"voice {voice}", "VoiceSaved", {"voice_name": "Keeper"},
                       user_id=user, provider="elevenlabs", voice_id=voice)
        self.wait_for("the scenes are not there", "SELECT count(*) = %s FROM studio.scenes WHERE "
                      "project_id = %s", len(SCENES), self.essay)
        self.scenes_written = self._scenes_written()

    def _scenes_written(self):
        return self.rows("SELECT id, created_at, updated_at FROM studio.scenes "
                         "WHERE project_id = %s ORDER BY id", self.essay)

    def type_and_generate(self):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            making = pool.submit(self.generate)
            self.type()
            making.result()
        revision = self.writer.seen[f"project {self.essay}"]
        self.wait_for("what was typed is not there", "SELECT count(*) = 1 FROM studio.projects "
                      "WHERE id = %s AND revision >= %s AND status = 'completed'", self.essay,
                      revision)
        self.scenes_rewritten = sum(one != before for one, before in zip(
            self._scenes_written(), self.scenes_written, strict=True))

    def type(self):
        """Each key starts the time anew after which the page saves."""
        script = ""

        def save():
            self.autosaves.append(self.writer.save_whole(self.essay, "The lighthouse", script,
                                                         SCENES)["event_id"])

        for wait, letter in keystrokes(ESSAY, self.chance):
            self.typed += wait
            if script and wait > AUTOSAVE_SECONDS:
                time.sleep(AUTOSAVE_SECONDS / FASTER)
                save()
                wait -= AUTOSAVE_SECONDS
            time.sleep(wait / FASTER)
            script += letter
        time.sleep(AUTOSAVE_SECONDS / FASTER)
        save()

    def publish(self, job, message):
        """As a renderer does: whoever listens, hears it, and nobody hears it later."""
        heard = self.redis.publish(CHANNEL + job, json.dumps(message))
        with self.lock:
            self.published += 1
            self.heard += heard

    def job(self, project, what, make_it, fails=False):
        """Runs one, which tells of itself; what it has made, or None where it fails."""
        job, made = f"job-{uuid.uuid4().hex[:12]}", None
        renderer.register_job(job, project, what)
        self.publish(job, {"type": "status", "status": "running", "message": "started"})
        for percent in STEPS:
            if fails and percent > 40:
                self.publish(job, {"type": "error", "status": "error",
                                   "message": "the provider gave up"})
                break
            self.publish(job, {"type": "progress", "progress": percent, "message": what})
        else:
            made = make_it()
            self.publish(job, {"type": "complete", "status": "success", "progress": 100,
                               "message": "done", "result": {"made": made}})
        # What Redis says last need not be the end.
        self.publish(job, {"type": "progress", "progress": 50 if fails else 100})
        return made

    def make_clip(self, project, number):
        scene = SCENES[number % len(SCENES)]
        url = renderer.upload_video_clip(project, scene["scene_id"],
                                         f"{project} {number}".encode() * 100, "pika")
        return renderer.save_clip_record(project, scene["scene_id"], "pika", url,
                                         prompt=scene["prompt"], duration=CLIP_SECONDS)

    def generate(self):
        renderer.update_project_status(self.essay, "generating")

        def one(number):
            def make_it():
                return self.make_clip(self.essay, number)
            made = self.job(self.essay, "clip", make_it, fails=number == FAILS)
            return number, made or self.job(self.essay, "clip", make_it)

        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            self.clips = dict(pool.map(one, range(CLIPS)))
        self.job(self.sketch, "clip", lambda: self.make_clip(self.sketch, 0))
        renderer.update_project_status(self.essay, "completed")

    def cut(self):
        self.writer.sync_scenes(self.essay, SCENES[::-1])
        self.writer.trim(self.essay, self.clips[0], 1, 3.5)
        self.writer.trim(self.essay, self.clips[1], 0.25, None)
        self._caught_up()

    def _caught_up(self):
        for thing, sql in (
                ("project", "SELECT max(revision) FROM studio.projects WHERE id = %s"),
                ("clips", "SELECT max(revision) FROM studio.clips WHERE project_id = %s")):
            wanted = max(page.seen.get(f"{thing} {self.essay}", 0) for page in self.pages)
            self.wait(lambda sql=sql, wanted=wanted: (self.value(sql, self.essay) or 0) >= wanted,
                      f"the {thing}'s latest revision is not there")

    def two_tabs(self):
        tabs = [self.loaded("owner") for _ in range(2)]
        order = list(self.clips.values())
        orders = (order[::-1], order[1::2] + order[::2])

        def both(act):
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                return later(*pool.map(act, range(2)))

        self.later_save = both(lambda n: tabs[n].save_whole(
            self.essay, f"The lighthouse, by tab {n + 1}", ESSAY + f"The end, by tab {n + 1}.\n",
            SCENES[::-1]))
        self.later_order = both(lambda n: tabs[n].reorder(self.essay, orders[n]))

    def steal(self):
        stranger = self.page("stranger")
        for attempt in (lambda: stranger.save_whole(self.essay, "Theirs", "", []),
                        lambda: stranger.trim(self.essay, self.clips[0], 0, 1),
                        lambda: stranger.delete(self.essay)):
            try:
                attempt()
            except NotPublished as failure:
                if failure.status != 403:
                    raise
            else:
                raise DemoError("somebody else's project could be changed")
        # What was refused is no event: nobody is to wait for it.
        self.pages.remove(stranger)

    def export(self):
        def render():
            url = renderer.upload_final_video(self.essay, b"film" * 1000)
            renderer.save_export_record(self.essay, url, "1080p", 33.25)
            return url

        self.job(self.essay, "export", render)
        renderer.set_project_thumbnail(self.essay, renderer.upload_thumbnail(self.essay, b"png"))

    def settle(self):
        self._caught_up()
        both = [self.essay, self.sketch]
        for what, sql, parameters in (
                ("jobs have not ended", "SELECT count(*) = %s FROM studio.generation_jobs WHERE "
                 "project_id = ANY (%s::uuid[]) AND completed_at IS NOT NULL", [CLIPS + 3, both]),
                ("objects are missing", "SELECT count(*) = %s FROM studio.studio_objects WHERE "
                 "project_id = ANY (%s::uuid[])", [CLIPS + 3, both]),
                ("voices are missing", "SELECT count(*) = 2 FROM studio.voices WHERE "
                 "voice_id = ANY (%s)", [self.voices]),
                ("clips are missing", "SELECT count(*) = %s FROM studio.clips WHERE "
                 "project_id = ANY (%s::uuid[])", [CLIPS + 1, both]),
                ("the export is missing", "SELECT count(*) = 1 FROM studio.exports WHERE "
                 "project_id = %s", [self.essay]),
                ("the thumbnail is missing", "SELECT thumbnail_url IS NOT NULL FROM "
                 "studio.projects WHERE id = %s", [self.essay])):
            self.wait_for(what, sql, *parameters)

    def delete_and_save_late(self):
        """A tab that was forgotten saves a project that another one has deleted."""
        forgotten = self.page("anonymous")
        forgotten.seen = dict(self.visitor.seen)
        self.visitor.delete(self.sketch)
        late = forgotten.save_whole(self.sketch, "A sketch", "One. Two.", SCENES[:1])
        self.wait_for("the late save was not read", "SELECT count(*) = 1 FROM studio.project_saves "
                      "WHERE event_id = %s", late["event_id"])
        self.wait_for("the deleted project's job is not marked", "SELECT bool_and("
                      "project_deleted_at IS NOT NULL) FROM studio.generation_jobs "
                      "WHERE project_id = %s", self.sketch)
        return tuple(self.value(f"SELECT count(*) FROM studio.{name} WHERE {column} = %s",
                                self.sketch) for name, column in (
                                    ("projects", "id"), ("scenes", "project_id"),
                                    ("clips", "project_id")))

    # --- what a person sees ---

    def report(self):
        for title, sql, parameters in (
                (f"{len(ESSAY)} keys in {self.typed:.0f} s, of which the page made "
                 f"{len(self.autosaves)} saves; every third of them", SAVES_SQL,
                 [FASTER, self.autosaves]),
                ("Jobs, as Redis told of them", JOBS_SQL, [self.essay]),
                ("From the view project_timeline", TIMELINE_SQL, [self.essay]),
                ("From the view project_save_conflicts", CONFLICTS_SQL, [self.essay])):
            self.show(title, sql, *parameters)

    def who_sees_what(self):
        rows = [(what, *(self.seen_by(role, who, name) for name in SEEN)) for what, role, who in (
            ("nobody (anon)", "anon", None), ("its owner", "authenticated", self.owner),
            ("another user", "authenticated", self.stranger),
            ("a service", "service_role", None))]
        heading("Who sees what of the two projects")
        table([tuple(map(str, row)) for row in rows], ("WHO", *SEEN))
        return {row[0]: row[1:] for row in rows}

    def check(self):
        """Compares the tables with what was told."""
        project = self.rows("SELECT * FROM studio.projects WHERE id = %s", self.essay)[0]
        clips = self.rows("SELECT id::text, scene_id, order_index FROM studio.clips "
                          "WHERE project_id = %s ORDER BY order_index", self.essay)
        jobs = {row["status"]: row["jobs"] for row in self.rows(
            "SELECT status, count(*) AS jobs FROM studio.generation_jobs WHERE project_id = %s "
            "GROUP BY 1", self.essay)}
        scenes = self.rows("SELECT client_id FROM studio.scenes WHERE project_id = %s "
                           "ORDER BY position", self.essay)
        saves = {project_id: sum(event["body"]["type"] == "ProjectSaved"
                                 and event["project_id"] == project_id
                                 for page in self.pages for event in page.written)
                 for project_id in (self.essay, self.sketch)}
        stored = self.value("SELECT count(*) FROM studio.project_saves WHERE project_id = %s",
                            self.essay)
        conflicts = self.value("SELECT count(*) FROM studio.project_save_conflicts "
                               "WHERE project_id = %s", self.essay)
        length = self.value('SELECT sum("end" - "start") FROM studio.project_timeline '
                            "WHERE project_id = %s", self.essay)
        both = [self.essay, self.sketch]
        orphans = self.value(ORPHANS_SQL, both)
        seen = self.who_sees_what()
        nobody = (1, 1, 1, 0, 1, 1, 1, "refused", "refused")
        everything = (2, len(SCENES) + 1, CLIPS + 1, 1, 2, CLIPS + 3, CLIPS + 1)
        gone = self.delete_and_save_late()
        after = self.value(ORPHANS_SQL, both)
        hidden = tuple(self.seen_by("anon", None, name) for name in ("projects", "generation_jobs"))
        body = self.later_save["body"]
        self.compare([
            ("saves of the essay; in project_saves", saves[self.essay], stored),
            (f"scenes rewritten by {len(self.autosaves)} autosaves", 0, self.scenes_rewritten),
            ("status, set by the renderer while the page saved", "completed", project["status"]),
            ("conflicts: two tabs, one revision", 1, conflicts),
            ("title and script are those of the later tab, whole", True,
             (project["title"], project["script"]) == (body["title"], body["script"])),
            ("scenes, reordered", tuple(range(len(SCENES), 0, -1)),
             tuple(int(row["client_id"].rpartition("-")[2]) for row in scenes)),
            ("clips that still have their scene", CLIPS,
             sum(row["scene_id"] is not None for row in clips)),
            ("order of the clips is that of the later tab, whole", True,
             [row["id"] for row in clips] == self.later_order["body"]["clip_ids"]
             and [row["order_index"] for row in clips] == list(range(CLIPS))),
            ("seconds on the timeline, two clips trimmed", f"{CLIPS * CLIP_SECONDS - 2.75:.2f}",
             f"{Decimal(length):.2f}"),
            (f"messages in Redis; heard by {BRIDGE}", self.published, self.heard),
            ("jobs of the essay: success, error", (CLIPS + 1, 1),
             (jobs.get("success", 0), jobs.get("error", 0))),
            ("seen by nobody", nobody, seen["nobody (anon)"]),
            ("seen by its owner", (*everything, "refused", "refused"), seen["its owner"]),
            ("seen by another user", nobody, seen["another user"]),
            ("seen by a service", (*everything, sum(saves.values()), CLIPS + 3),
             seen["a service"]),
            ("projects, scenes, clips after a deletion and a late save", (0, 0, 0), gone),
            ("of the deleted one nobody sees: project, job", (0, 0), hidden),
            ("objects that no row names, before and after it", (0, 1), (orphans, after)),
            ("dead letters", 0, self.value(LETTERS_SQL)),
        ])


if __name__ == "__main__":
    command_line(Studio, __doc__)

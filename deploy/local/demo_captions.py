# SPDX-License-Identifier: Apache-2.0
"""\
usage: deploy/local/demo_captions.py

The part of `deploy/local/demo captions` that comes when all is installed, built and up: with the
servers that PROJECTIONIST_… names and the programs in PROJECTIONIST_BIN, by default
build/release/bin.
"""

import concurrent.futures
import hashlib
import json
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field

from demo_common import LOGS, REPOSITORY, DemoError, heading, table
from demo_system import INGEST, LETTERS_SQL, START_SECONDS, Story, command_line

sys.path.append(str(REPOSITORY / "tests" / "recordings"))

import udhr  # noqa: E402

RELAY, STORAGE = "outbox-relay", "storage"
CONSUMERS = ("captions-tenants", "captions-users", "captions-catalog", "search-index",
             "crop-versions", "flow-runs", "object-catalog")
AFRESH = "'deploy/local/cluster down', then 'deploy/local/demo captions', starts afresh"
STORAGE_PYTHON = REPOSITORY / ".local/storage/bin/python"

BUCKET = "caption-acc-prod"
INGEST_TOPICS = ("captions.videos=video_id captions.search=video_id captions.crops=video_id "
                 "captions.flows=flow_run_id captions.objects=video_id|bucket/key")
ANSWER_SECONDS = 60
AT_ONCE = 1000       # events in a request
UPLOADS = 4          # at the same time

TENANTS = (("Atlas Captions", "atlas"), ("Boréal", "boreal"), ("字幕社", "jimaku"))
SHOWN = ("eng", "fra", "jpn")  # a declaration of each tenant, of which more is told
QUERIES = (("dignity", 12), ("droit", 36), ("人", 880))
ONE_IN = 10  # videos has its file in storage, for the sake of time
CHUNKS = 2   # of a version of cropped frames
MOST = 1000  # frames that a search gives

CATALOGUE_SQL = """
    SELECT t.name AS tenant, v.status, count(*) AS videos, sum(v.size_bytes)::bigint AS bytes,
           coalesce(sum(v.frame_count), 0)::bigint AS frames
    FROM captions.videos AS v JOIN captions.tenants AS t ON t.id = v.tenant_id
    GROUP BY t.created_at, 1, 2 ORDER BY t.created_at, 2
"""
SHOWN_SQL = """
    SELECT filename, status, current_cropped_frames_version AS crops, layout_db_hash AS layout,
           (SELECT full_name FROM captions.user_profiles AS u WHERE u.id = locked_by_user_id)
               AS locked_by, coalesce(failure, '-') AS failure
    FROM captions.videos WHERE id = ANY (%s::uuid[]) ORDER BY filename
"""
VERSIONS_SQL = """
    SELECT v.filename, c.version, c.status, c.layout_db_hash AS layout, c.total_frames AS frames,
           right(c.storage_prefix, 17) AS folder
    FROM captions.cropped_frames_versions AS c JOIN captions.videos AS v ON v.id = c.video_id
    ORDER BY 1, 2
"""
RUNS_SQL = """
    SELECT flow_name, state_type AS state, count(*) AS runs FROM captions.flow_runs
    GROUP BY 1, 2 ORDER BY 1, 2
"""
STORED_SQL = """
    SELECT kind, count(*) AS objects, sum(size_bytes)::bigint AS bytes FROM captions.video_objects
    GROUP BY 1 ORDER BY 1
"""
STORAGE_SQL = """
    SELECT s.name AS tenant, s.used_bytes, s.quota_bytes FROM captions.tenant_storage AS s
    JOIN captions.tenants AS t ON t.id = s.tenant_id ORDER BY t.created_at
"""


def id_of(*names):
    """The same in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, " ".join(map(str, ("captions demo", *names)))))


def micros():
    return time.time_ns() // 1000


@dataclass
class Video:
    """A declaration, as a video that shows each of its texts for one frame."""

    code: str
    texts: list
    tenant: str
    number: int
    id: str = ""
    run: str = ""
    files: dict = field(default_factory=dict)  # {key in storage: content}

    def __post_init__(self):
        self.id, self.run = id_of("video", self.code), id_of("run", self.code)

    def content(self, bytes_of_a_letter):
        """A file of a size that follows from the text; there is no film."""
        return hashlib.sha256(self.code.encode()).digest() * (
            sum(map(len, self.texts)) * bytes_of_a_letter // 32)

    def store(self, name, content):
        self.files[f"{self.tenant}/{self.id}/{name}"] = content

    def event(self, body, **more):
        return {"tenant_id": self.tenant, "video_id": self.id, "body": body, **more}


def videos_of(declarations):
    codes = sorted(set(declarations) - set(SHOWN))
    places = {code: number for number, code in enumerate(SHOWN)}
    places |= {code: number % len(TENANTS) for number, code in enumerate(codes)}
    return [Video(code, declarations[code], id_of("tenant", places[code]), places[code])
            for code in (*SHOWN, *codes)]


# --- how it is told --------------------------------------------------------------------------

def post(url, body, token, **headers):
    """The answer of a request that must be taken."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {
        "Content-Type": "application/json", "Authorization": f"Bearer {token}", **headers})
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace").strip()
        raise DemoError(f"POST {url} was answered with {error.code}: {text}") from error


def prefect(run_id, flow, state, tags, count=1):
    """An event of Prefect's automation about a flow run."""
    tagged = [{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
              for tag in tags]
    return {"id": str(uuid.uuid4()), "event": f"prefect.flow-run.{state.capitalize()}",
            "occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run_id}",
                         "prefect.resource.name": f"run-{run_id[:4]}",
                         "prefect.run-count": str(count), "prefect.state-type": state,
                         "prefect.state-name": state.capitalize()},
            "related": [{"prefect.resource.id": "prefect.flow.1",
                         "prefect.resource.role": "flow", "prefect.resource.name": flow}, *tagged]}


class Captions(Story):
    """Tenants, their videos, and who is told of them."""

    system = "captions"
    consumers = CONSUMERS
    done = "The tables are what was told, and each sees their own."
    look = '-c "SET search_path = captions" -c "TABLE crops_outdated"'
    wait_seconds = 300
    verify_options = ("--stall-timeout", "5m")

    def __init__(self, environment, folder, stack):
        super().__init__(environment, folder, stack)
        try:
            self.videos = videos_of(udhr.declarations())
        except udhr.DeclarationsError as error:
            raise DemoError(str(error)) from error
        self.users = [id_of("user", number) for number in range(len(TENANTS))]
        self.colleague = id_of("user", "colleague")
        self.by_code = {video.code: video for video in self.videos}
        # Of the first tenant: what its user deletes, and where a run crashes; nobody finds words
        # in them that are looked for here.
        self.deleted, self.crashed = [
            video for video in self.videos if video.number == 0 and not any(
                word in text.lower() for text in video.texts for word, _ in QUERIES)][:2]
        self.token = secrets.token_hex(32)
        self.stored = 0      # objects
        self.granted = None  # who got the lock, of two that asked

    # --- the database ---

    def call(self, who, statement, *parameters):
        """What a user (None: a service) gets, who is known by their token; in a transaction."""
        with self.database.transaction():
            self.database.execute("SET LOCAL search_path = captions")
            self.database.execute("SELECT set_config('request.jwt.claims', %s, true)",
                                  [json.dumps({"sub": who}) if who else ""])
            self.database.execute(f"SET LOCAL ROLE {'authenticated' if who else 'service_role'}")
            return self.rows(statement, *parameters)

    def wait_for(self, sql, *parameters):
        self.wait(lambda: self.value(sql, *parameters), f"still not true: {sql.strip()}")

    def is_complete(self):
        """Whether an earlier run has told all. What it has not is an error."""
        found = self.value("SELECT count(*) FROM captions.videos WHERE placeholder IS NOT TRUE")
        if found == 0 and self.value("SELECT count(*) FROM captions.tenants") == 0:
            return False
        captioned = self.value("SELECT count(*) FROM captions.video_search_index "
                               "WHERE caption_text IS NOT NULL")
        if found != len(self.videos) or captioned == 0:
            raise DemoError(f"an earlier run has left {found:,} of {len(self.videos):,} videos, "
                            f"and what it told cannot be told again; {AFRESH}")
        return True

    # --- starting ---

    def start(self):
        heading("Starting")
        secret = LOGS / "ingest-token"
        secret.touch(0o600)
        secret.write_text(self.token, encoding="utf-8")
        self.start_ingest(INGEST_TOPICS, [("demo", self.token, {})])
        self.programs.start(RELAY, PROJECTIONIST_OUTBOX="captions_private")
        self.start_consumers()
        self.ingest = self.ingest_url()
        print(f"  {INGEST:<14} {self.ingest}")
        self.programs.start(STORAGE, BUCKET, f"{self.ingest}/v1/webhooks/s3/captions.objects",
                            str(secret), command=[STORAGE_PYTHON, "deploy/local/demo_storage.py"],
                            PYTHONUNBUFFERED="1")
        self.storage = self._address_of(STORAGE, "http://")
        print(f"  {STORAGE:<14} {self.storage}/{BUCKET}, a stand-in for S3, which tells the ingest")
        print(f"  {RELAY:<14} of the schema captions_private")
        self.wait(lambda: self.value("SELECT count(DISTINCT consumer_group) AS groups FROM "
                                     "projectionist.consumer_offsets WHERE consumer_group = ANY "
                                     "(%s)", list(CONSUMERS)) == len(CONSUMERS),
                  "the consumers have no partitions", START_SECONDS)
        print(f"  {'consumers':<14} {', '.join(CONSUMERS[:4])},\n{'':17}"
              f"{', '.join(CONSUMERS[4:])}")

    def _address_of(self, name, begin):
        log = LOGS / f"{name}.log"

        def found():
            return next((line for line in log.read_text(errors="replace").splitlines()
                         if line.startswith(begin)), None)

        return self.wait(found, f"{name} does not say where it listens", START_SECONDS)

    # --- telling ---

    def tell(self, topic, events):
        """Through the ingest, in requests of at most a thousand; each has a key, so that one whose
        answer is lost could be sent again."""
        for begin in range(0, len(events), AT_ONCE):
            part = events[begin:begin + AT_ONCE]
            post(f"{self.ingest}/v1/events/captions.{topic}", part, self.token,
                 **{"Idempotency-Key": str(uuid.uuid4())})

    def tell_state(self, run_id, flow, state, video, tagged=True):
        """As Prefect's webhook does."""
        tags = [f"tenant:{video.tenant}", f"video:{video.id}"] if tagged else []
        post(f"{self.ingest}/v1/webhooks/prefect/captions.flows",
             prefect(run_id, flow, state, tags), self.token)

    def upload(self, files):
        """Into storage, which tells of it."""
        def put(name, content):
            request = urllib.request.Request(
                f"{self.storage}/{BUCKET}/{name}", content, method="PUT",
                headers={"Content-Type": "application/octet-stream"})
            urllib.request.urlopen(request, timeout=ANSWER_SECONDS).close()

        with concurrent.futures.ThreadPoolExecutor(UPLOADS) as pool:
            list(pool.map(put, *zip(*files.items())))
        self.stored += len(files)

    # --- the story ---

    def tell_all(self):
        heading("A service at work")
        frames = sum(len(video.texts) for video in self.videos)
        for text, act in (
                (f"{len(TENANTS)} tenants and {len(self.users) + 1} users, by functions of "
                 "Postgres", self.tenants_and_users),
                (f"{len(self.videos)} videos registered; storage tells of the files of "
                 f"one in {ONE_IN}", self.uploads),
                (f"their flows, of which one crashes; {frames:,} texts of OCR", self.flows),
                ("layouts approved, cropped and approved again; a crop that crashes", self.crops),
                ("captions, a lock that another may not take, a video deleted", self.captions)):
            self.step(text, act)
        self.step("all of it in the tables", self.wait_for_lag)

    def tenants_and_users(self):
        for number, (name, slug) in enumerate(TENANTS):
            tenant = id_of("tenant", number)
            self.call(None, "SELECT create_tenant(%s, %s, 1, %s)", name, slug, tenant)
            self.call(None, "SELECT register_user(%s, %s, NULL, %s, 'admin')", self.users[number],
                      ("Alice", "Bérénice", "Chiyo")[number], tenant)
        self.call(None, "SELECT register_user(%s, 'Adam')", self.colleague)
        self.call(None, "SELECT assign_user(%s, %s, 'annotator', %s)", self.colleague,
                  id_of("tenant", 0), self.users[0])
        self.wait_for("SELECT count(*) = 4 FROM captions.user_profiles WHERE tenant_id IN "
                      "(SELECT id FROM captions.tenants WHERE placeholder IS NOT TRUE)")

    def uploads(self):
        self.tell("videos", [video.event({
            "type": "VideoRegistered", "filename": f"{video.code}.mp4",
            "storage_key": f"{video.tenant}/{video.id}/video.mp4", "uploaded_at": micros()},
            actor_user_id=self.users[video.number]) for video in self.videos])
        for video in self.videos[::ONE_IN]:
            video.store("video.mp4", video.content(4))
        for code in SHOWN:
            video = self.by_code[code]
            for name, size in (("video.mp4", 4), ("video.db", 2), ("fullOCR.db", 3),
                               ("layout.db", 1)):
                video.store(name, video.content(size))
        self.upload({key: content for video in self.videos
                     for key, content in video.files.items()})
        self.wait_for("SELECT count(*) = %s FROM captions.video_objects", self.stored)

    def flows(self):
        flow = "upload-and-process-video"
        for state in ("PENDING", "RUNNING"):
            for video in (*map(self.by_code.get, SHOWN), self.crashed):
                self.tell_state(video.run, flow, state, video)
        self.tell("videos", [video.event({"type": "ProcessingStarted", "flow_run_id": video.run})
                             for video in self.videos])
        began = micros()
        well = [video for video in self.videos if video is not self.crashed]
        self.tell("search", [
            {"tenant_id": video.tenant, "video_id": video.id, "frame_index": index,
             "body": {"type": "FrameTextIndexed", "index_run": video.run, "run_started_at": began,
                      "ocr_text": text}}
            for video in self.videos for index, text in enumerate(video.texts)])
        self.tell("videos", [video.event({
            "type": "ProcessingFinished", "flow_run_id": video.run, "outcome": "succeeded",
            "frame_count": len(video.texts), "indexed_frames": len(video.texts),
            "duration_seconds": len(video.texts) * 10}) for video in well])
        for code in SHOWN:
            self.tell_state(self.by_code[code].run, flow, "COMPLETED", self.by_code[code])
        # Of this one the flow itself tells no end.
        self.tell_state(self.crashed.run, flow, "CRASHED", self.crashed)

    def crop(self, video, layout, ends="active"):
        """A version, by a flow that encodes and stores it, unless it crashes."""
        flow = "crop-video-frames"
        number = self.call(None, "SELECT allocate_crop_version(%s) AS number",
                           video.id)[0]["number"]
        version, run_id = id_of("crop", video.code, number), id_of("crop run", video.code, number)
        folder = f"{video.tenant}/{video.id}/cropped_frames_v{number}"

        def tell(**body):
            self.tell("crops", [video.event(body, version_id=version)])

        # Without tags: that the run is this video's, CropStarted says.
        self.tell_state(run_id, flow, "RUNNING", video, tagged=False)
        tell(type="CropStarted", version=number, storage_prefix=folder, layout_db_hash=layout,
             crop_bounds={"top": 0.8, "bottom": 0.95}, flow_run_id=run_id)
        if ends == "crashed":
            self.tell_state(run_id, flow, "CRASHED", video, tagged=False)
            return
        chunks = {f"{folder}/modulo_32/chunk_{n:04}.webm": video.content(1) for n in range(CHUNKS)}
        self.upload(chunks)
        tell(type="CropEncoded", chunk_count=len(chunks), total_frames=len(video.texts) * 10,
             total_size_bytes=sum(map(len, chunks.values())))
        self.tell_state(run_id, flow, "COMPLETED", video, tagged=False)
        self.wait_for("SELECT count(*) = 1 FROM captions.cropped_frames_versions WHERE id = %s",
                      version)
        self.call(None, "SELECT activate_cropped_frames_version(%s)", version)

    def approve(self, video, layout):
        self.call(self.users[video.number], "SELECT approve_layout(%s, %s, %s)", video.id,
                  '{"top": 0.8, "bottom": 0.95}', layout)

    def crops(self):
        english, french, japanese = map(self.by_code.get, SHOWN)
        for video in (english, french, japanese):
            self.approve(video, "layout-1")
        self.crop(english, "layout-1")
        self.approve(english, "layout-2")
        self.crop(english, "layout-2")
        self.crop(french, "layout-1")
        self.approve(french, "layout-2")
        self.crop(japanese, "layout-1", ends="crashed")
        self.crop(japanese, "layout-1")

    def captions(self):
        english = self.by_code["eng"]
        alice = self.users[0]
        self.tell("search", [
            {"tenant_id": english.tenant, "video_id": english.id, "frame_index": index,
             "body": {"type": "FrameCaptioned", "caption_text": text}}
            for index, text in enumerate(("The declaration", "All people", "are born free"))])
        self.upload({f"{english.tenant}/{english.id}/captions.db": english.content(2)})
        self.granted = [self.call(who, "SELECT granted FROM acquire_video_lock(%s)",
                                  english.id)[0]["granted"] for who in (alice, self.colleague)]
        self.call(alice, "SELECT delete_video(%s)", self.deleted.id)

    def wait_for_lag(self):
        self.wait_for("SELECT count(*) = 0 FROM captions_private.outbox")

        def caught_up():
            answer = subprocess.run([self.programs.folder / "projectionist", "status", "--json"],
                                    check=False, env=self.environment, text=True,
                                    capture_output=True)
            if answer.returncode != 0:
                raise DemoError(f"projectionist status: {answer.stderr.strip()}")
            lags = [one["lag"] for one in json.loads(answer.stdout)["consumers"]
                    if one["group"] in CONSUMERS]
            return len(lags) == len(CONSUMERS) and not any(lag is None or lag for lag in lags)

        self.wait(caught_up, "the consumers have not caught up")
        self.wait_for("SELECT count(*) = %s FROM captions.video_objects", self.stored)

    # --- what a person sees ---

    def report(self):
        self.show("The catalogue", CATALOGUE_SQL)
        self.show("Some of its videos", SHOWN_SQL, [self.by_code[code].id for code in SHOWN]
                  + [self.deleted.id, self.crashed.id])
        self.show("Versions of cropped frames", VERSIONS_SQL)
        self.show("Flow runs, as Prefect told of them", RUNS_SQL)
        self.show("Objects in storage", STORED_SQL)
        self.show("Storage by tenant, from the view tenant_storage", STORAGE_SQL)

    def who_sees_what(self):
        """Shows it; {query: what a service finds, and the users together}."""
        counts = [("videos", "SELECT count(*) FROM captions.videos"),
                  ("frames", "SELECT count(*) FROM captions.video_search_index"),
                  ("objects", "SELECT count(*) FROM captions.video_objects"),
                  ("runs", "SELECT count(*) FROM captions.flow_runs")]
        counts += [(word, f"SELECT count(*) FROM captions.search_videos('{word}', {MOST})")
                   for word, _ in QUERIES]
        people = [(f"a user of {name}", "authenticated", who)
                  for (name, _), who in zip(TENANTS, self.users)]
        people += [("a service", "service_role", None), ("nobody (anon)", "anon", None)]
        rows = [(what, *(self.count_as(role, who, sql) for _, sql in counts))
                for what, role, who in people]
        users = [sum(column) for column in list(zip(*rows[:len(TENANTS)]))[1:]]
        heading("Who sees what, and finds how many frames")
        names = ("WHO", *(name for name, _ in counts[:4]), *(f"'{word}'" for word, _ in QUERIES))
        table(rows, names)
        return rows, dict(zip((name for name, _ in counts), zip(rows[-2][1:], users)))

    def search(self):
        heading("A search in three languages, by functions that users call")
        found = []
        for (word, _), number in zip(QUERIES, range(len(TENANTS))):
            for row in self.call(self.users[number], f"""
                    SELECT v.filename, s.frame_index, left(coalesce(s.ocr_text, ''), 30) AS text
                    FROM search_videos(%s, {MOST}) AS s JOIN videos AS v ON v.id = s.video_id
                    WHERE v.id = %s LIMIT 2""", word, self.by_code[SHOWN[number]].id):
                found.append((word, *row.values()))
        table(found, ("QUERY", "VIDEO", "FRAME", "TEXT"))

    def check(self, seen, by):
        """Compares the tables with what was told."""
        frames = sum(len(video.texts) for video in self.videos)
        outdated = [row["version"] for row in self.call(None, "SELECT version FROM crops_outdated")]
        statuses = {row["status"]: row["videos"] for row in self.rows(
            "SELECT status, count(*) AS videos FROM captions.videos GROUP BY 1")}
        self.compare([
            ("videos; in the catalogue", len(self.videos), by["videos"][0]),
            ("  active, deleted, failed (the crashed one)", f"{len(self.videos) - 2}, 1, 1",
             ", ".join(str(statuses.get(word, 0)) for word in ("active", "soft_deleted",
                                                                "failed"))),
            ("  seen by the users together: all but the deleted one", len(self.videos) - 1,
             by["videos"][1]),
            ("texts of frames; in the index", frames, by["frames"][0]),
            *((f"  that say {word}", count, by[word][0]) for word, count in QUERIES),
            *((f"  seen by the users together: {word}", count, by[word][1])
              for word, count in QUERIES),
            ("objects stored; in video_objects", self.objects, by["objects"][0]),
            ("versions of crops active, archived, failed", "3, 1, 1", ", ".join(
                str(self.value("SELECT count(*) FROM captions.cropped_frames_versions "
                               "WHERE status = %s", word)) for word in ("active", "archived",
                                                                         "failed"))),
            ("  active with another layout than the one approved last", 1, len(outdated)),
            *([("the lock: granted to the first, and to the second", "yes, no", ", ".join(
                "yes" if one else "no" for one in self.granted))] if self.granted else []),
            ("nobody without a token sees anything", "refused",
             ", ".join(sorted(set(map(str, seen[-1][1:]))))),
            ("dead letters, rows that the relay could not publish", "0, 0",
             f"{self.value(LETTERS_SQL)}, "
             f"{self.value('SELECT count(*) FROM captions_private.outbox_failed')}"),
        ])

    @property
    def objects(self):
        """How many were stored, also where an earlier run did: videos, databases, chunks."""
        if self.stored:
            return self.stored
        whole = {video.code for video in self.videos[::ONE_IN]} | set(SHOWN)
        return len(whole) + 3 * len(SHOWN) + 4 * CHUNKS + 1

    def play(self):
        if self.is_complete():
            print("\nThe declarations are in the tables already, so nothing was told or changed.")
        else:
            self.start()
            self.tell_all()
        self.report()
        self.search()
        self.check(*self.who_sees_what())
        self.verify()


if __name__ == "__main__":
    command_line(Captions, __doc__)

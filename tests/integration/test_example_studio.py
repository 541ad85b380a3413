# SPDX-License-Identifier: Apache-2.0
"""examples/studio: what the pages (in Node) and the renderer (in Python) write, against the whole
system: event-ingest, the four consumers, Kafka and Postgres. Storage alone is a stand-in."""

import http.server
import importlib.util
import json
import re
import subprocess
import threading
import time
import uuid

import psycopg
import pytest
from lib import consumers, kafka, node, studio_events
from lib.consumers import REPOSITORY
from lib.database import wait_until
from lib.ingest import Ingests, token, write_tokens
from lib.world import World, new_database, open_world

EXAMPLE = REPOSITORY / "examples/studio"
TOPICS = ("studio.projects=project_id studio.clips=project_id studio.media=project_id "
          "studio.voices=user_id|provider/voice_id studio.jobs=job_id studio.objects=bucket/object_key")
TABLES = " ".join(f"studio.{topic}=projects,key=id:project_id,owner=user_id"
                  for topic in ("projects", "clips", "media"))
CONSUMERS = ("studio-catalog", "studio-voices", "studio-jobs", "studio-objects")
OWNER, OTHER = str(uuid.uuid4()), str(uuid.uuid4())

spec = importlib.util.spec_from_file_location("renderer", EXAMPLE / "renderer.py")
renderer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(renderer)


class Studio(World):
    contract = studio_events
    reads = {"studio-catalog": ["studio.projects", "studio.clips", "studio.media"],
             "studio-voices": ["studio.voices"], "studio-jobs": ["studio.jobs", "studio.projects"],
             "studio-objects": ["studio.objects"]}
    variables = {"SYSTEMS": "studio"}


@pytest.fixture(scope="module")
def client():
    """The pages' library."""
    return node.compiled(EXAMPLE)


@pytest.fixture(scope="module")
def storage():
    """What Supabase's storage does with an object: it keeps it."""
    kept = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept[self.path] = body
            self.send_response(200)
            self.send_header("ETag", f'"{len(body)}"')
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", kept
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studio")
    with new_database(migrated=False) as dsn:
        result = consumers.run("projectionist", "migrate", "studio",
                               variables={"POSTGRES_DSN": dsn, "SYSTEMS": "studio"})
        assert result.returncode == 0, result.stderr
        with open_world(folder, 3, dsn, Studio) as world:
            kafka.new_topics("studio.ingest-keys", partitions=1, config={"cleanup.policy": "compact"})
            ingests = Ingests(folder)
            write_tokens(ingests.tokens, token("anonymous", ["studio.*"]),
                         token("owner", ["studio.*"], user=OWNER),
                         token("other", ["studio.*"], user=OTHER),
                         token("nobody", ["studio.voices"]))
            world.ingest = ingests(INGEST_SYSTEM="studio", INGEST_TOPICS=TOPICS, INGEST_TABLES=TABLES,
                                   TABLE_TIMEOUT="30s", POSTGRES_DSN=world.dsn)
            for name in CONSUMERS:
                world.start(name)
            yield world
            ingests.end()


class Page:
    """A tab of a browser: Node with the library."""

    def __init__(self, studio, folder, storage, bearer="anonymous"):
        self.process = subprocess.Popen(
            ["node", REPOSITORY / "tests/lib/studio_client.mjs", folder,
             f"http://127.0.0.1:{studio.ingest.api}", bearer, studio.dsn, "NONE", storage],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, call, *arguments):
        self.process.stdin.write(json.dumps({"call": call, "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "Node has ended"
        return json.loads(line)

    def __call__(self, call, *arguments):
        answer = self.ask(call, *arguments)
        assert "error" not in answer, answer
        return answer["result"]

    def end(self):
        self.process.stdin.close()
        self.process.wait(30)


@pytest.fixture
def pages(studio, client, storage):
    opened = []

    def new(bearer="anonymous"):
        opened.append(Page(studio, client, storage[0], bearer))
        return opened[-1]

    yield new
    for page in opened:
        page.end()


def rows(studio, query, *parameters):
    with psycopg.connect(studio.dsn, autocommit=True) as connection:
        return connection.execute(query, parameters).fetchall()


def until(studio, query, wanted, *parameters):
    found = []

    def there():
        found[:] = rows(studio, query, *parameters)
        return found == wanted

    wait_until(there, 60, lambda: f"{found}, not {wanted}")


def test_a_project_with_its_clips(studio, pages):
    page = pages()
    project = page("createProject", {"title": "My Project", "script": "One"})["id"]
    page("updateProject", project, {"script": "Two"})
    page("syncScenes", project, [{"scene_id": "scene-1", "title": "a"}, {"scene_id": "scene-2"}])
    first = page("saveClip", {"project_id": project, "scene_id": "scene-1", "provider": "pika",
                              "duration": 5.0333333333})
    second = page("saveClip", {"project_id": project, "scene_id": "scene-2"})
    page("reorderClips", project, [second, first])
    page("trimClip", project, first, 1, 2.5)
    page("saveClip", {"id": second, "project_id": project, "scene_id": "scene-2", "status": "completed"})
    until(studio, "SELECT title, script, description FROM studio.projects WHERE id = %s",
          [("My Project", "Two", None)], project)
    until(studio, "SELECT id::text, order_index, status, duration::float, start_trim::float, end_trim::float "
                  "FROM studio.clips WHERE project_id = %s ORDER BY order_index",
          [(second, 0, "done", None, None, None), (first, 1, "draft", 5.033333, 1.0, 2.5)], project)
    until(studio, "SELECT client_id FROM studio.scenes WHERE project_id = %s ORDER BY position",
          [("scene-1",), ("scene-2",)], project)
    loaded = pages()("loadProject", project)
    assert loaded["script"] == "Two" and [one["id"] for one in loaded["clips"]] == [second, first]
    page("syncScenes", project, [])
    until(studio, "SELECT count(*)::int FROM studio.scenes WHERE project_id = %s", [(0,)], project)
    page("deleteProject", project)
    until(studio, "SELECT count(*)::int FROM studio.projects WHERE id = %s", [(0,)], project)


def test_loading_takes_the_page_s_own_state_where_there_is_none(pages):
    assert pages()("loadProject", str(uuid.uuid4())) is None


def test_what_cannot_be_published_raises(pages):
    """Mistake 12, with what follows: no failure is only logged."""
    page = pages()
    answer = page.ask("saveClip", {"project_id": "proj-1"})
    assert answer["status"] == 400 and "project_id" in answer["error"], answer
    answer = page.ask("updateProject", str(uuid.uuid4()), {"status": "done"})
    assert "no status" in answer["error"]
    refused = pages("nobody").ask("createProject", {"title": "x"})
    assert refused["status"] == 403, refused


def test_mistake_16_no_address_and_no_key_in_the_code():
    """Both come from the environment, without a default."""
    for name in ("studio.ts", "renderer.py"):
        found = re.findall(r"https?://[^\s\"'`]+|eyJ[\w-]{8,}|sb_\w+", (EXAMPLE / name).read_text())
        assert not found, (name, found)


def test_an_answer_that_is_lost_is_asked_again_as_the_same_event(studio, pages):
    page = pages()
    page("fail", ["lost", 503, 429])
    project = page("createProject", {"title": "once"})["id"]
    sent = [one["body"] for one in page("requests")]
    assert len(sent) == 4 and len({json.dumps(one) for one in sent}) == 1
    until(studio, "SELECT count(*)::int FROM studio.project_saves WHERE project_id = %s", [(1,)], project)


def test_nothing_is_stored_where_nothing_is_configured(pages):
    page = pages()
    page("off")
    assert page("createProject", {"title": "x"})["title"] == "x"
    page("updateProject", str(uuid.uuid4()), {"title": "y"})
    assert page("requests") == []
    assert len(page("logged")) == 1


def test_whoever_saw_something_comes_after_it(studio, pages):
    """However wrong the clocks are: what a page loaded is what its next save is based on."""
    ahead, page = pages(), pages()
    project = str(uuid.uuid4())
    ahead("saw", f"project {project}", time.time_ns() // 1000 + 240_000_000)
    ahead("saveProject", project, {"title": "of one whose clock is fast"}, None)
    until(studio, "SELECT title FROM studio.projects WHERE id = %s",
          [("of one whose clock is fast",)], project)
    page("loadProject", project)
    page("updateProject", project, {"title": "of one who saw it"})
    until(studio, "SELECT title FROM studio.projects WHERE id = %s", [("of one who saw it",)], project)


def test_typing_is_saved_once_it_pauses(studio, pages):
    """With React: a change starts the time anew; the page's first state is no change."""
    page, project = pages(), str(uuid.uuid4())
    state = {"texts": {"title": "t", "script": ""}, "scenes": []}
    page("open", {"projectId": project, "autoSaveDelay": 300, "state": state})
    wait_until(lambda: page("wait", 50) or not page("shown")["isInitialLoad"])
    page("requests")
    for number in range(10):
        state["texts"]["script"] += f"word {number} "
        page("draw", state)
        page("wait", 20)
    assert [one for one in page("requests") if one["method"] == "POST"] == []
    page("wait", 700)
    saves = [one for one in page("requests") if one["method"] == "POST"]
    assert [one["body"]["body"]["script"] for one in saves] == [state["texts"]["script"]]
    # Scenes alone, down to none; at once where that is asked for.
    state["scenes"] = [{"scene_id": "scene-1"}]
    page("draw", state)
    page("saveNow")
    until(studio, "SELECT client_id FROM studio.scenes WHERE project_id = %s", [("scene-1",)], project)
    state["scenes"] = []
    page("draw", state)
    page("wait", 700)
    until(studio, "SELECT count(*)::int FROM studio.scenes WHERE project_id = %s", [(0,)], project)
    # What is unsaved when the page goes is sent then.
    state["texts"]["script"] += "end"
    page("draw", state)
    page("requests")
    page("close")
    last, = page("requests")
    assert last["keepalive"] and last["body"]["body"]["script"].endswith("end")
    until(studio, "SELECT right(script, 3) FROM studio.projects WHERE id = %s", [("end",)], project)


def test_a_save_that_fails_is_told_and_tried_again(pages):
    page, project = pages(), str(uuid.uuid4())
    state = {"texts": {"title": "t"}, "scenes": []}
    page("open", {"projectId": project, "autoSaveDelay": 50, "state": state})
    wait_until(lambda: page("wait", 50) or not page("shown")["isInitialLoad"])
    page("fail", [400])
    state["texts"]["title"] = "u"
    page("draw", state)
    page("wait", 400)
    assert "not now" in page("shown")["errors"][0]
    page("requests")
    page("saveNow")
    saved, = page("requests")
    assert saved["body"]["body"]["title"] == "u"


def test_two_tabs_in_conflict_are_listed(studio, pages):
    one, two = pages(), pages()
    project = one("createProject", {"title": "both"})["id"]
    until(studio, "SELECT count(*)::int FROM studio.projects WHERE id = %s", [(1,)], project)
    for page in (one, two):
        page("loadProject", project)
    one("saveProject", project, {"title": "of one"}, None)
    two("saveProject", project, {"title": "of two"}, None)
    until(studio, "SELECT count(*)::int FROM studio.project_save_conflicts WHERE project_id = %s",
          [(1,)], project)


def test_a_stranger_changes_nothing(studio, pages):
    owner, other = pages("owner"), pages("other")
    project = owner("createProject", {"title": "mine"})["id"]
    until(studio, "SELECT user_id::text FROM studio.projects WHERE id = %s", [(OWNER,)], project)
    for call in (("updateProject", project, {"title": "theirs"}), ("deleteProject", project),
                 ("saveClip", {"project_id": project}), ("reorderClips", project, []),
                 ("saveAudioFile", project, "u")):
        answer = other.ask(*call)
        assert answer.get("status") == 403, (call, answer)
    owner("updateProject", project, {"title": "still mine"})
    until(studio, "SELECT title FROM studio.projects WHERE id = %s", [("still mine",)], project)


def test_files(studio, pages, storage):
    url, kept = storage
    page = pages()
    project = page("createProject", {"title": "files"})["id"]
    path = f"projects/{project}/audio/a b.wav"
    shown = page("upload", "audio", path, "RIFF", "audio/wav")
    assert shown == f"{url}/storage/v1/object/public/audio/projects/{project}/audio/a%20b.wav"
    assert kept[f"/storage/v1/object/audio/projects/{project}/audio/a%20b.wav"] == b"RIFF"
    page("saveAudioFile", project, shown, "a b.wav")
    until(studio, "SELECT object_key, size_bytes::int, content_type, project_id::text FROM "
                  "studio.studio_objects WHERE bucket = 'audio' AND object_key = %s",
          [(path, 4, "audio/wav", project)], path)
    until(studio, "SELECT filename FROM studio.audio_files WHERE project_id = %s", [("a b.wav",)], project)
    until(studio, "SELECT count(*)::int FROM studio.orphan_objects WHERE object_key = %s", [(0,)], path)


def test_the_renderer(studio, pages, storage, monkeypatch):
    project = pages()("createProject", {"title": "rendered"})["id"]
    with monkeypatch.context() as patched:
        patched.delenv("EVENT_INGEST_URL", raising=False)
        assert renderer.upload_video_clip(project, "scene-1", b"x", "pika") is None
    monkeypatch.setenv("EVENT_INGEST_URL", f"http://127.0.0.1:{studio.ingest.api}")
    monkeypatch.setenv("SUPABASE_URL", storage[0])
    monkeypatch.setenv("SUPABASE_SERVICE_KEY", "anonymous")
    renderer.update_project_status(project, "generating")
    made = []
    for text in (b"one", b"two"):
        url = renderer.upload_video_clip(project, "scene-1", text, "pika")
        made.append(renderer.save_clip_record(project_id=project, scene_id="scene-1", provider="pika",
                                              file_url=url, prompt="a dog"))
        assert renderer.save_clip_record(project, "scene-1", "pika", url, "a dog") == made[-1]
    assert len(set(made)) == 2, "two clips of one scene are two"
    renderer.save_voice_record("elevenlabs", "v1", "Ann")
    renderer.save_voice_record("elevenlabs", "v1", "Anna")
    renderer.register_job(f"job-{project}", project, "export")
    renderer.save_export_record(project, renderer.upload_final_video(project, b"film"), "1080p", 12.3)
    renderer.set_project_thumbnail(project, renderer.upload_thumbnail(project, b"png"))
    renderer.update_project_status(project, "completed")
    until(studio, "SELECT status, thumbnail_url IS NOT NULL FROM studio.projects WHERE id = %s",
          [("completed", True)], project)
    until(studio, "SELECT id::text, prompt, status FROM studio.clips WHERE project_id = %s ORDER BY order_index",
          [(made[0], "a dog", "done"), (made[1], "a dog", "done")], project)
    until(studio, "SELECT voice_name FROM studio.voices WHERE voice_id = 'v1'", [("Anna",)])
    until(studio, "SELECT resolution FROM studio.latest_exports WHERE project_id = %s", [("1080p",)], project)
    until(studio, "SELECT status, type, project_id::text FROM studio.generation_jobs WHERE job_id = %s",
          [("queued", "export", project)], f"job-{project}")
    with pytest.raises(renderer.NotStored) as refused:
        renderer.update_project_status("proj-1", "completed")
    assert refused.value.status == 400

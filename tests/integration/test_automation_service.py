# SPDX-License-Identifier: Apache-2.0
"""The stand-in for the automation service does what was seen of the real one, to clients that know
nothing of it: the package websockets, and Python's own HTTP."""

import collections
import contextlib
import http.client
import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from lib.automation_commands import Rates
from lib.automation_service import AutomationService
from lib.database import wait_until

SOON = 10
SLOW = 0.01  # of speed: nothing goes on by itself during a test
REPOSITORY = Path(__file__).resolve().parents[2]
GENERATE_CLEAN = ["QUEUED", "RUNNING", "sora.prompt.submitted", "sora.polling.started",
                  "sora.video.downloaded", "action.attempted", "sora.video.cleaned", "SUCCEEDED"]


@pytest.fixture
def service():
    with AutomationService() as started:
        yield started


@contextlib.contextmanager
def listen(service, cursor=None, headers=None, **more):
    """A subscribed client; what it gets before `subscribed` is in its replayed."""
    with connect(service.stream_url, max_size=None, additional_headers=headers) as client:
        client.greeting = read(client)
        assert client.greeting["type"] == "connected"
        client.send(json.dumps({"type": "subscribe", **({"cursor": cursor} if cursor else {}),
                                **more}))
        client.replayed = []
        while (message := read(client))["type"] != "subscribed":
            client.replayed.append(message)
        yield client


def read(client):
    return json.loads(client.recv(timeout=SOON))


def read_many(client, count):
    return [read(client) for _ in range(count)]


def ask(service, method, path, body=None, headers=None):
    """(status, answer) of a request to the control API."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(service.url + path, data, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=SOON) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def submit(service, type, payload=None, **more):
    status, answer = ask(service, "POST", "/v1/commands",
                         {"type": type, "payload": payload or {}, **more})
    assert status == 202
    return answer


def until_ended(client, command_id):
    """The frames of a command up to its end."""
    found = []
    while not found or found[-1]["payload"].get("status") not in ("SUCCEEDED", "FAILED"):
        frame = read(client)
        if frame.get("command_id") == command_id:
            found.append(frame)
    return found


def words(frames):
    return [frame["payload"].get("status", frame["type"]) for frame in frames]


def place(frame):
    ms, counter = frame["cursor"].split("-")
    return int(ms), int(counter)


# --- commands -----------------------------------------------------------------------------------

def test_a_whole_run_is_eight_frames(service):
    with listen(service) as client:
        answer = submit(service, "sora.generate.clean", {"prompt": "A lighthouse"})
        assert answer["status"] == "QUEUED" and answer["accepted_at"].endswith("Z")
        frames = until_ended(client, answer["command_id"])
    assert words(frames) == GENERATE_CLEAN
    assert frames == service.frames()
    assert list(frames[1]) == ["version", "event_id", "cursor", "emitted_at", "severity", "type",
                               "command_id", "payload"]
    result = frames[-1]["payload"]["result"]
    assert result["cleaned_path"] == frames[6]["payload"]["output_path"]
    assert result["video_path"] == frames[4]["payload"]["file_path"]
    _, read_back = ask(service, "GET", f"/v1/commands/{answer['command_id']}")
    assert read_back["status"] == "SUCCEEDED" and read_back["result"] == result
    assert not {"type", "payload", "target"} & set(read_back)


@pytest.mark.parametrize("type, payload, expected", [
    ("sora.generate", {"prompt": "x"}, ["sora.prompt.submitted", "sora.polling.started",
                                       "sora.video.ready", "sora.video.downloaded", "SUCCEEDED"]),
    ("sora.batch.clean", {"prompts": ["a", "b"]}, [
        "sora.prompt.submitted", "sora.polling.started", "sora.video.cleaned"] * 2 + ["SUCCEEDED"]),
    ("sora.batch", {"prompts": ["a"]}, ["sora.prompt.submitted", "sora.polling.started",
                                       "SUCCEEDED"]),
    ("sora.clean", {"input_path": "/a.mp4"}, ["action.attempted", "sora.video.cleaned",
                                              "SUCCEEDED"]),
    ("sora.clean", {"input_path": "/missing.mp4"}, ["FAILED"]),
    ("sora.clean", {}, ["FAILED"]),
    ("sora.usage", {}, ["sora.usage.checked", "SUCCEEDED"]),
    ("session.create", {}, ["SUCCEEDED"]),
    ("flow.run", {}, ["SUCCEEDED"]),
    ("tea.make", {}, ["SUCCEEDED"]),
])
def test_the_frames_of_each_type(service, type, payload, expected):
    with listen(service) as client:
        frames = until_ended(client, submit(service, type, payload)["command_id"])
    assert words(frames) == ["QUEUED", "RUNNING", *expected]


def test_a_batch_counts_from_0_and_says_little(service):
    prompts = ["a prompt that is much longer than what the result has of it, in the end", "short"]
    with listen(service) as client:
        frames = until_ended(client, submit(service, "sora.batch.clean",
                                            {"prompts": prompts})["command_id"])
    submitted, cleaned = ([frame["payload"] for frame in frames if frame["type"] == type]
                          for type in ("sora.prompt.submitted", "sora.video.cleaned"))
    assert [(payload["batch_index"], payload["batch_total"]) for payload in submitted] == \
        [(0, 2), (1, 2)]
    assert [payload["batch_index"] for payload in cleaned] == [0, 1]
    assert not any("file_size" in payload for payload in cleaned)
    result = frames[-1]["payload"]["result"]
    assert [one["prompt"] for one in result["results"]] == [prompts[0][:50], "short"]
    assert (result["total"], result["successful"], result["failed"]) == (2, 2, 0)


def test_failures_on_the_way():
    with AutomationService(rates=Rates(clean_error=1, batch_breaks=1)) as service:
        with listen(service) as client:
            frames = until_ended(client, submit(service, "sora.generate.clean")["command_id"])
            result = frames[-1]["payload"]["result"]
            assert frames[-1]["payload"]["status"] == "SUCCEEDED"
            assert "clean_error" in result and "cleaned_path" not in result
            batch = until_ended(client, submit(service, "sora.batch", {
                "prompts": ["a", "b", "c"]})["command_id"])[-1]["payload"]
    assert batch["status"] == "FAILED" and len(batch["result"]["results"]) < 3


def test_the_answer_may_have_any_state(service):
    service.speed = SLOW
    states = [submit(service, type)["status"]
              for type in ("sora.generate", "sora.usage", "flow.run", "sora.clean")]
    assert states == ["QUEUED", "RUNNING", "SUCCEEDED", "FAILED"]


def test_what_is_cancelled_is_executed_all_the_same():
    with AutomationService(speed=3) as service, listen(service) as client:
        command = submit(service, "sora.usage", {})["command_id"]
        queued = submit(service, "sora.clean", {"input_path": "/a.mp4"})["command_id"]
        path = f"/v1/commands/{queued}/cancel"
        assert ask(service, "POST", path) == (200, {"cancelled": True})
        assert ask(service, "POST", path)[0] == 400
        service.speed = 1000
        assert words(until_ended(client, queued))[:4] == ["QUEUED", "CANCELLED", "RUNNING",
                                                          "action.attempted"]
        wait_until(lambda: service.command(command)["status"] == "SUCCEEDED",
                   message="the other command does not end")
        assert ask(service, "POST", path)[0] == 400
        assert ask(service, "POST", "/v1/commands/nobody/cancel")[0] == 400


def test_a_repeated_key_gives_the_first_command_until_a_restart(service):
    first = submit(service, "flow.run", idempotency_key="k")
    frames = service.frame_count
    assert submit(service, "sora.generate", idempotency_key="k") == first
    assert service.frame_count == frames
    assert service.executions == {first["command_id"]: 1}
    assert service.posts == {first["command_id"]: 2}
    service.restart()
    again = submit(service, "flow.run", idempotency_key="k", command_id=first["command_id"])
    assert again["command_id"] == first["command_id"]
    assert service.executions == {first["command_id"]: 2}


def test_what_cannot_be_a_command_is_400(service):
    for body in ({"payload": {}}, {"type": ""}, [], b"{", b"[" * 100_000, b"\xff"):
        status, answer = ask(service, "POST", "/v1/commands", body)
        assert status == 400 and answer["error"]
    assert service.frame_count == 0


# --- the rest of the control API ----------------------------------------------------------------

def test_sessions(service):
    status, session = ask(service, "POST", "/v1/sessions", {"platform": "sora", "status": "mine"})
    assert status == 201 and session["platform"] == "sora" and session["status"] == "mine"
    path = f"/v1/sessions/{session['id']}"
    assert ask(service, "GET", path) == (200, session)
    assert ask(service, "DELETE", path)[0] == ask(service, "DELETE", path)[0] == 200
    assert ask(service, "GET", path) == (200, {**session, "status": "closed"})
    assert ask(service, "DELETE", f"{path}0")[0] == 404
    _, echoed = ask(service, "POST", "/v1/sessions", {"id": "mine"})
    assert echoed["id"] == "mine" and ask(service, "GET", "/v1/sessions/mine")[0] == 404


def test_lists_and_figures(service):
    done = submit(service, "flow.run")["command_id"]
    service.speed = SLOW
    submit(service, "sora.generate")
    _, listed = ask(service, "GET", "/v1/commands?status=SUCCEEDED")
    assert [one["command_id"] for one in listed["commands"]] == [done]
    assert ask(service, "GET", "/v1/commands?since=2999-01-01T00:00:00.000Z")[1]["commands"] == []
    assert ask(service, "GET", "/health")[0] == ask(service, "GET", "/ready")[0] == 200
    assert ask(service, "GET", "/v1/sora/usage")[1]["free_count"] == 27
    with listen(service):
        _, figures = ask(service, "GET", "/v1/telemetry/stats")
    assert figures == {"subscribers": 1, "events_stored": 4,
                       "current_cursor": service.frames()[-1]["cursor"]}
    assert ask(service, "GET", "/v1/nothing")[0] == 404


def test_the_token():
    with AutomationService(token="secret") as service:
        right = {"Authorization": "Bearer secret"}
        assert ask(service, "GET", "/v1/sora/usage", headers=right)[0] == 200
        for wrong in ({}, {"Authorization": "Bearer secre"}, {"Authorization": "secret"}):
            assert ask(service, "GET", "/v1/sora/usage", headers=wrong)[0] == 401
            with pytest.raises(InvalidStatus, match="401"):
                connect(service.stream_url, additional_headers=wrong)
        assert ask(service, "GET", "/health")[0] == 200
        with listen(service, headers=right):
            pass


def test_a_chunked_request_and_an_answer_in_parts(service):
    gate = threading.Event()

    def parts():
        yield b"one"
        gate.wait(SOON)
        yield b"two"

    service.routes["GET", "/v1/artifacts/1"] = (200, {"Content-Type": "video/mp4"}, parts)
    host = service.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=SOON)
    connection.request("POST", "/v1/commands", iter([b'{"type":', b'"flow.run"}']),
                       encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
    with connection.getresponse() as answer:
        assert answer.status == 202
        answer.read()
    connection.request("GET", "/v1/artifacts/1")
    with connection.getresponse() as answer:
        assert answer.read1() == b"one"
        gate.set()
        assert answer.read() == b"two"
    connection.close()


# --- slow and lost answers ----------------------------------------------------------------------

def test_an_answer_is_held_while_the_command_runs(service):
    service.hold_answers()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(submit(service, "flow.run")))
    asking.start()
    wait_until(lambda: service.held == 1, message="no answer is held")
    assert answers == [] and sum(service.executions.values()) == 1
    service.release_answers()
    asking.join(SOON)
    assert answers[0]["status"] == "SUCCEEDED" and service.held == 0


@pytest.mark.parametrize("before, executions", [(True, 0), (False, 1)])
def test_a_lost_answer(service, before, executions):
    service.drop_answers(1, before=before)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        submit(service, "flow.run")
    assert sum(service.executions.values()) == executions
    assert submit(service, "flow.run")["status"] == "SUCCEEDED"


# --- the stream ---------------------------------------------------------------------------------

def test_replay_comes_after_the_cursor_and_before_subscribed(service):
    for number in range(5):
        service.emit("rate.limited", {"number": number}, severity="warn")
    sent = service.frames()
    with listen(service, cursor=sent[2]["cursor"]) as client:
        assert client.greeting["cursor"] == sent[-1]["cursor"]
        assert client.replayed == sent[3:]
        service.emit("human.required")
        assert read(client)["type"] == "human.required"
    with listen(service) as client:
        assert client.replayed == []


@pytest.mark.parametrize("cursor", ["1-1", "nonsense", "99999999999999-1"])
def test_an_unknown_cursor_replays_all_and_nothing_says_so(service, cursor):
    service.emit_all([{"type": "rate.limited"}] * 3)
    with listen(service, cursor=cursor) as client:
        assert client.replayed == service.frames()


def test_the_buffer_is_the_last_10000(service):
    service.emit_all([{"type": "rate.limited"}] * 10_050)
    sent = service.frames()
    with listen(service, cursor=sent[10]["cursor"]) as client:
        assert client.replayed == sent[-10_000:]


def test_cursors_are_in_order_as_integers_only(service):
    service.emit_all([{"type": "rate.limited"}] * 2000)
    sent = service.frames()
    assert [place(frame) for frame in sent] == sorted(place(frame) for frame in sent)
    assert [frame["cursor"] for frame in sent] != sorted(frame["cursor"] for frame in sent)
    most = max(collections.Counter(place(frame)[0] for frame in sent).values())
    assert most >= 20, "few events share a millisecond"


def test_a_restart_forgets_all_and_an_empty_buffer_burns_the_counter(service):
    service.emit("rate.limited")
    old = service.frames()[-1]
    url = service.stream_url
    with listen(service) as client:
        service.restart()
        assert service.stream_url == url
        with pytest.raises(ConnectionClosedError):
            read(client)
    with listen(service, cursor=old["cursor"]) as client:
        assert client.replayed == []
        assert client.greeting["cursor"].endswith("-1")  # burnt, and by `subscribed` -2
        service.emit("rate.limited")
        frame = read(client)
    assert frame["cursor"].endswith("-3") and place(frame)[0] > place(old)[0]
    with listen(service, cursor=old["cursor"]) as client:
        assert client.replayed == [frame]


def test_a_cut_in_mid_frame(service):
    service.emit("rate.limited")
    with listen(service) as client:
        assert service.cut(mid_frame=True) == 1
        with pytest.raises(ConnectionClosedError):
            read(client)
    assert service.subscribers() == 0


def test_filters(service):
    with listen(service, filters={"severity": ["warn"], "event_types": ["a", "b"]}) as client, \
            listen(service, filters={"session_id": "s"}) as other:
        service.emit("a", severity="info")
        service.emit("c", severity="warn", target={"session_id": "s"})
        service.emit("b", severity="warn", correlation_id=None)
        service.emit("end", severity="warn", target={"session_id": "s", "platform": "x"})
        assert read(client)["type"] == "b"
        assert [frame["type"] for frame in read_many(other, 2)] == ["c", "end"]


def test_what_is_no_message(service):
    with listen(service) as client:
        client.send('{"type":"ping"}')
        assert read(client)["type"] == "pong"
        for text in ("{", "[]", '{"type":"sing"}', "[" * 100_000):
            client.send(text)
            assert read(client)["type"] == "error"
        service.send_raw('{"half":')
        assert client.recv(timeout=SOON) == '{"half":'


def test_wire_v2_has_no_ids_cursors_and_replay():
    with AutomationService(wire=2) as service:
        service.emit("rate.limited")
        with listen(service, cursor="1-1") as client:
            assert "cursor" not in client.greeting and client.replayed == []
            command = submit(service, "sora.generate.clean", {"prompt": "x"})["command_id"]
            frames = read_many(client, 8)
    assert all(list(frame) == ["type", "commandId", "timestamp", "data"] for frame in frames)
    assert {frame["commandId"] for frame in frames} == {command}
    assert [frame["data"].get("status", frame["type"]) for frame in frames] == \
        ["PENDING", *GENERATE_CLEAN[1:]]
    assert {"status", "videoPath", "fileSize", "cleanedPath", "cleanedSize"} <= \
        frames[-1]["data"].keys()


def test_5000_frames_a_second_reach_a_client(service):
    with listen(service) as client:
        flow = service.inject(10_000, rate=5000)
        got = [frame["cursor"] for frame in read_many(client, 10_000)]
        flow.wait()
    sent = service.frames()
    assert got == [frame["cursor"] for frame in sent]
    assert place(sent[-1])[0] - place(sent[0])[0] < 4000
    runs = collections.defaultdict(list)
    for frame in sent[:128]:
        runs[frame["command_id"]].append(frame)
    assert [words(frames) for frames in runs.values()] == [GENERATE_CLEAN] * 16


# --- as a program -------------------------------------------------------------------------------

def test_as_a_program():
    command = [sys.executable, "-m", "tests.lib.automation_service"]
    shown = subprocess.run([*command, "--help"], cwd=REPOSITORY, check=True, text=True,
                           capture_output=True, timeout=60).stdout
    assert "--speed" in shown and "SIGUSR1" in shown
    with subprocess.Popen([*command, "--http-port", "0", "--stream-port", "0"], cwd=REPOSITORY,
                          stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline().split()
            with connect(line[3]) as client:
                assert read(client)["cursor"].endswith("-1")
                process.send_signal(signal.SIGUSR2)
                with pytest.raises(ConnectionClosedError):
                    client.recv(timeout=SOON)
        finally:
            process.terminate()
        assert process.wait(SOON) == 0

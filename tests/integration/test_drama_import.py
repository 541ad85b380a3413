# SPDX-License-Identifier: Apache-2.0
"""drama-import: dramas of a folder and of a bucket, killed again and again, and run again; what is bad is
a line of its report."""

import datetime
import hashlib
import json
import os
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from lib import avro, consumers, kafka, s3
from lib.consumers import run
from lib.database import wait_until
from lib.old_dramas import old_file

DEADLINE = 240  # seconds
PROGRESS = "drama.import-progress"
TOPIC = "drama.dramas"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "projectionist")
MODIFIED = "2026-11-01T00:00:00.000Z"
AT = 1_793_491_200_000_000


@pytest.fixture(autouse=True)
def topics():
    kafka.new_topics(TOPIC, partitions=3)
    kafka.new_topics(PROGRESS, partitions=1, config={"cleanup.policy": "compact"})


def micros(*parts):
    time = datetime.datetime(*parts, datetime.UTC)
    return int(time.timestamp()) * 1_000_000 + time.microsecond


def variables(bucket=None, **more):
    if bucket is None:
        return more
    return {"S3_ENDPOINT": bucket.endpoint, "S3_ACCESS_KEY": s3.ACCESS, "S3_SECRET_KEY": s3.SECRET,
            **more}


def imported(place, *arguments, code=0, deadline=120, **more):
    """Its report as JSON."""
    result = run("drama-import", "--json", *arguments, place, variables=more, deadline=deadline)
    assert result.returncode == code, (result.returncode, result.stdout[-2000:], result.stderr)
    return json.loads(result.stdout)


def published():
    events = []
    for sent in kafka.read(TOPIC):
        _, event = avro.decode(sent.value, avro.schema_text(TOPIC))
        assert sent.key.decode() == event["drama_id"]
        assert event["body"][0] == "DramaSaved"
        events.append({**event, "saved": event["body"][1]})
    return events


def folder_of(path, files):
    for key, content in files.items():
        (path / key).parent.mkdir(parents=True, exist_ok=True)
        (path / key).write_bytes(content)
    return path


BAD = {
    "bom": b"\xef\xbb\xbf{}",
    "latin": '{"title": "\xe4"}'.encode("latin-1"),
    "cut": b'{"title": "x"',
    "nul": b'{"title": "a\\u0000b"}',
    "twice": b'{"title": "a", "title": "b"}',
    "large": b'{"title": "' + b"x" * (4 << 20) + b'"}',
    "list": b"[]",
    "number": b'{"episodes": [{"id": "e", "scenes": [{"id": "s", "description": 7}]}]}',
    "duration": b'{"assets": [{"id": "a", "kind": "video", "duration": 3000000000}]}',
    "long": json.dumps({"characters": [{"id": "x" * 201}]}).encode(),
}


def kill_again_and_again(programs, bucket):
    try:
        for kill in range(10):
            seen = len(bucket.asked)
            running = programs.start("drama-import", "--json", f"s3://{bucket.name}")
            wait_until(lambda: len(bucket.asked) >= seen + 60 + 20 * kill or not running.running,
                       DEADLINE, "it reads no more")
            running.kill()
    finally:
        programs.kill()


def test_a_bucket_is_imported_once_however_often_it_is_killed(tmp_path):
    """Mistake 15: all pages of it, and nothing but …/drama.json."""
    with s3.Bucket() as bucket:
        for number in range(2490):
            drama = f"drama_{number:04}"
            bucket.put(f"dramas/{drama}/drama.json", old_file(drama))
            bucket.put(f"dramas/{drama}/characters/c.png", b"\x89PNG")
        for name, content in BAD.items():
            bucket.put(f"dramas/{name}/drama.json", content)
        bucket.put("dramas/index.json", json.dumps({"dramas": [
            {"id": "drama_0000", "created_at": "2025-05-06T07:08:09.123456"}]}).encode())
        kill_again_and_again(consumers.Consumers(tmp_path, variables(bucket)), bucket)
        bucket.busy = 3
        for again in range(3):
            report = imported(f"s3://{bucket.name}", code=1, deadline=DEADLINE, **variables(bucket))
            assert report["objects"] == 2500
            assert len(report["bad"]) == 10, report["bad"]
            assert {line["key"] for line in report["bad"]} == {
                f"dramas/{name}/drama.json" for name in BAD}
            assert report["imported"] + report["unchanged"] == 2490
            assert again == 0 or report["imported"] == 0
        assert not bucket.forged
        assert not [target for target in bucket.asked if target.endswith(".png")]
    events = published()
    assert len(events) == 2490 and len({event["drama_id"] for event in events}) == 2490
    assert len({event["event_id"] for event in events}) == 2490
    first, = [event for event in events if event["drama_id"] == "drama_0000"]
    assert first["saved"]["created_at"] == micros(2025, 5, 6, 7, 8, 9, 123456)
    assert (first["revision"], first["life"], first["user_id"]) == (AT, 0, "10000")
    digest = hashlib.sha256(old_file("drama_0000")).hexdigest()
    assert first["saved"]["content_hash"] == digest
    parts = ("drama/import", "drama_0000", digest, str(AT))
    assert str(first["event_id"]) == str(uuid.uuid5(
        NAMESPACE, "".join(f"{len(part)}:{part}," for part in parts)))


def test_what_an_old_file_says(tmp_path):
    folder = folder_of(tmp_path, {
        "dramas/d/drama.json": json.dumps({
            "id": "other", "title": "T", "premise": None, "year": 1999, "metadata": {"a": [1, 2.5]},
            "created_at": "2026-01-02T03:04:05", "characters": [
                {"id": "c", "main": True, "mood": "bad", "assets": None, "metadata": None}],
            "episodes": [{"id": None, "scenes": [{"id": "s", "assets": [
                {"id": "a", "kind": "video", "depends_on": ["b"], "duration": 15.0, "url": None}]}]}],
        }).encode(),
        "dramas/a/b/drama.json": b"{}",
        "dramas/\U0001f600/drama.json": b'{"episodes": []}',
        "dramas/d/drama.json.bak": b"{", "dramas/d/notes.txt": b"x", "other/x/drama.json": b"{"})
    report = imported(folder, "--as-of", "2026-11-01T00:00:00Z", "--user", "u")
    assert (report["imported"], report["bad"]) == (3, [])
    note, = report["notes"]
    assert note["key"] == "dramas/d/drama.json"
    assert "its id is 'other'" in note["reason"] and "'year' is nobody's" in note["reason"]
    events = {event["drama_id"]: event for event in published()}
    assert events.keys() == {"d", "a/b", "\U0001f600"}
    saved = events["d"]["saved"]
    assert (saved["title"], saved["premise"], saved["source"]) == ("T", None, "import")
    assert json.loads(saved["metadata"]) == {"a": [1, 2.5]}
    assert saved["created_at"] == micros(2026, 1, 2, 3, 4, 5, 0)
    assert (events["d"]["revision"], events["d"]["user_id"]) == (AT, "u")
    character, = saved["characters"]
    assert (character["main"], character["assets"], character["extra"]) == (
        True, [], '{"mood":"bad"}')
    asset = saved["episodes"][0]["scenes"][0]["assets"][0]
    assert (asset["duration"], asset["depends_on"], asset["extra"]) == (15, ["b"], None)
    assert saved["episodes"][0]["id"] == ""
    assert events["a/b"]["saved"]["episodes"] is None
    assert events["\U0001f600"]["saved"]["episodes"] == []


def test_a_file_that_changes_is_imported_again(tmp_path):
    folder = folder_of(tmp_path, {"dramas/d/drama.json": b'{"title": "1"}'})
    assert imported(folder)["imported"] == 1
    assert imported(folder)["unchanged"] == 1
    path = folder / "dramas/d/drama.json"
    path.write_bytes(b'{"title": "2"}')
    os.utime(path, ns=(path.stat().st_mtime_ns + 10**9,) * 2)
    assert imported(folder)["imported"] == 1
    assert [event["saved"]["title"] for event in published()] == ["1", "2"]
    path.unlink()
    assert imported(folder)["objects"] == 0
    assert len(published()) == 2  # what vanished is no deletion


def test_what_is_listed_and_not_there_is_a_line(tmp_path):
    with s3.Bucket(page=2) as bucket:
        for name in "abcde":
            bucket.put(f"old/dramas/{name} +&/drama.json", b"{}")
        bucket.vanished.add("old/dramas/c +&/drama.json")
        bucket.etags = False
        report = imported(f"s3://{bucket.name}/old", code=1, **variables(bucket))
        assert [line["key"] for line in report["bad"]] == ["dramas/c +&/drama.json"]
        assert report["imported"] == 4 and not bucket.forged
        bucket.vanished.clear()
        assert imported(f"s3://{bucket.name}/old/", **variables(bucket))["unchanged"] == 4
    assert {event["drama_id"] for event in published()} == {f"{name} +&" for name in "abcde"}


def test_keys_are_asked_for_as_they_are(tmp_path):
    """Whatever libcurl would make of a path or a query; in signed requests, by keys for a while, too."""
    names = ("..", "a/../b", "a//b", ".", "%2e%2E", "a?b=c&d", "#x", "é \U0001f600", "a+b c%20d", "~*'()!")
    with s3.Bucket(page=3) as bucket:
        bucket.session = "for/a+while=="
        for name in names:
            bucket.put(f"dramas/{name}/drama.json", b"{}")
        report = imported(f"s3://{bucket.name}",
                          **variables(bucket, S3_SESSION_TOKEN=bucket.session))
        assert (report["imported"], report["bad"], bucket.forged) == (len(names), [], [])
    assert {event["drama_id"] for event in published()} == set(names)


def listed(*names, token=None):
    keys = "".join(f"<Contents><Key>dramas/{name}/drama.json</Key><Size>2</Size>"
                   f"<LastModified>{MODIFIED}</LastModified></Contents>" for name in names)
    more = (f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
            if token else "<IsTruncated>false</IsTruncated>")
    return f"<ListBucketResult>{more}{keys}</ListBucketResult>"


@pytest.mark.parametrize("pages, part", [
    ([listed("a", token="1"), listed()], "a page has no objects though there should be more"),
    ([listed("a", token="1"), listed(token="2")], "a page has no objects though there should be more"),
    ([listed(token="1"), listed("a")], "a page has no objects though there should be more"),
    ([listed("a", token="1")] * 2, "the same page again and again"),
    ([listed("a", token="1"), listed("b", token="2"), listed("c", token="3")] * 3,
     "the same page again and again"),
    ([listed("a", token="1"), "<ListBucketResult></ListBucketResult>"], "IsTruncated"),
    ([listed("a", token="1"), listed("b").replace("false", "true")], "no NextContinuationToken"),
    ([listed("a", token="1"), listed("b")[:-20]], "is not XML"),
])
def test_a_listing_without_an_end_of_its_own_is_an_error(pages, part):
    with s3.Bucket() as bucket:
        for name in "abc":
            bucket.put(f"dramas/{name}/drama.json", b"{}")
        left = iter(pages)
        bucket.listing = lambda query: (200, next(left).encode(), "application/xml")
        result = run("drama-import", "-n", f"s3://{bucket.name}", variables=variables(bucket))
        assert (result.returncode, part in result.stderr) == (1, True), result


def test_a_bucket_may_be_empty():
    with s3.Bucket() as bucket:
        assert imported(f"s3://{bucket.name}", **variables(bucket))["objects"] == 0


def test_a_dry_run_needs_no_kafka_and_publishes_nothing(tmp_path):
    folder = folder_of(tmp_path, {"dramas/d/drama.json": b"{}", "dramas/x/drama.json": b"{"})
    result = run("drama-import", "-n", folder, variables={"KAFKA_BOOTSTRAP_SERVERS": None,
                                                         "SCHEMA_REGISTRY_URL": None})
    assert result.returncode == 1
    assert result.stdout.splitlines()[0].startswith("dramas/x/drama.json: it is not JSON")
    assert "would import 1 of 2 dramas, 0 unchanged, 1 bad" in result.stdout
    assert not kafka.read(TOPIC)


def test_what_is_odd_in_a_folder_is_a_line_each(tmp_path):
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    odd = {"name\nof two lines": b"{", "\x1b[31mred": b"{", "\x85next": b"{", "empty": b"",
           "utf-16": '{"title": "x"}'.encode("utf-16"), "deep": b'{"metadata":' + deep + b"}",
           "lone": b'{"title": "\\ud800"}', "nan": b'{"metadata": NaN}', "two": b"{}{}"}
    folder = folder_of(tmp_path, {f"dramas/{name}/drama.json": content
                                  for name, content in {**odd, "good": b"{}"}.items()})
    places = {name: folder / "dramas" / name / "drama.json"
              for name in ("huge", "pipe", "nothing", "device", "good's")}
    for place in places.values():
        place.parent.mkdir()
    os.mkfifo(places["pipe"])
    places["nothing"].symlink_to("/nowhere")
    places["device"].symlink_to("/dev/zero")
    places["good's"].symlink_to("../good/drama.json")
    (folder / "dramas/again").symlink_to("..")
    with places["huge"].open("wb") as huge:
        huge.truncate(200 << 20)
    result = run("drama-import", "-n", folder, deadline=60)
    *lines, last = result.stdout.splitlines()
    assert (result.returncode, result.stderr) == (1, "")
    assert sorted(line.partition("/drama.json: ")[0] for line in lines) == sorted(
        f"dramas/{name}" for name in (
            "name\\u000aof two lines", "\\u001b[31mred", "\\u0085next", "empty", "utf-16", "deep",
            "lone", "nan", "two", "huge", "pipe", "nothing", "device"))
    assert last.startswith("would import 2 of 15 dramas, 0 unchanged, 13 bad"), last


@pytest.mark.parametrize("arguments, more, code, part", [
    ([], {}, 2, "give one folder"),
    (["/nowhere"], {}, 1, "there is no folder /nowhere/dramas"),
    (["s3://b"], {}, 2, "--s3-endpoint is missing"),
    (["s3://"], {"S3_ENDPOINT": "http://x"}, 2, "names no bucket"),
    (["s3://b"], {"S3_ENDPOINT": "x"}, 2, "no http or https URL"),
    (["s3://b"], {"S3_ENDPOINT": "http://127.0.0.1:1", "S3_ACCESS_KEY": "x"}, 2, "both"),
    (["s3://b"], {"S3_ENDPOINT": "http://x", "S3_SESSION_TOKEN": "x"}, 2, "both"),
    (["s3://b"], {"S3_ENDPOINT": "http://x", "S3_ACCESS_KEY": "x y", "S3_SECRET_KEY": "x"}, 2,
     "s3-access-key has a space"),
    (["s3://b", "--s3-region", "\u00e9"], {
        "S3_ENDPOINT": "http://x", "S3_ACCESS_KEY": "x", "S3_SECRET_KEY": "x"}, 2, "s3-region has"),
    (["s3://b", "--as-of", "2026-11-01T00:00:00Z"], {"S3_ENDPOINT": "http://x"}, 2, "for folders"),
    (["s3://b", "--timeout", "1s"], {"S3_ENDPOINT": "http://127.0.0.1:1"}, 7, "cannot be read"),
])
def test_what_is_wrong_is_said(arguments, more, code, part):
    result = run("drama-import", *arguments, variables=more)
    assert result.returncode == code, result
    assert part in result.stderr, result.stderr


def test_a_key_that_is_renewed_while_it_runs_is_read_again(tmp_path):
    """And no drama is bad meanwhile; where the new one does not come, it ends, and goes on later."""
    files = {"S3_ACCESS_KEY_FILE": tmp_path / "access", "S3_SECRET_KEY_FILE": tmp_path / "secret"}
    (tmp_path / "access").write_text(s3.ACCESS)
    (tmp_path / "secret").write_text(s3.SECRET)
    with s3.Bucket() as bucket, ThreadPoolExecutor() as pool:
        place, settings = f"s3://{bucket.name}", {"S3_ENDPOINT": bucket.endpoint, **files}
        for number in range(600):
            bucket.put(f"dramas/d{number:03}/drama.json", b"{}")

        def renew_after(count):
            wait_until(lambda: len(bucket.asked) >= count, DEADLINE, "it reads no more")
            bucket.access, bucket.secret = f"new-{count}", f"secret-{count}"
            wait_until(lambda: bucket.forged, DEADLINE, "the old key is not refused")

        first = pool.submit(run, "drama-import", place, variables={**settings, "TIMEOUT": "2s"})
        renew_after(100)
        ended = first.result()
        assert ended.returncode == 7 and " 0 bad" in ended.stderr + ended.stdout, ended
        assert "InvalidAccessKeyId: no: the key is not known" in ended.stderr, ended
        assert 0 < len(published()) < 600
        (tmp_path / "access").write_text(bucket.access)
        (tmp_path / "secret").write_text(bucket.secret)
        bucket.forged.clear()
        second = pool.submit(imported, place, **settings, TIMEOUT="120s")
        renew_after(len(bucket.asked) + 100)
        (tmp_path / "access").write_text(bucket.access)
        bucket.forged.clear()
        wait_until(lambda: bucket.forged, DEADLINE, "the first half of the new key is not read")
        (tmp_path / "secret").write_text(bucket.secret)
        assert second.result()["bad"] == []
    assert len({event["drama_id"] for event in published()}) == len(published()) == 600


def test_an_archived_object_is_bad_by_itself():
    with s3.Bucket() as bucket:
        for name in "abc":
            bucket.put(f"dramas/{name}/drama.json", b"{}")
        bucket.archived = {"dramas/b/drama.json"}
        report = imported(f"s3://{bucket.name}", code=1, **variables(bucket))
    assert [bad["key"] for bad in report["bad"]] == ["dramas/b/drama.json"]
    assert "InvalidObjectState" in report["bad"][0]["reason"]
    assert sorted(event["drama_id"] for event in published()) == ["a", "c"]


def test_who_may_not_is_told(tmp_path):
    with s3.Bucket() as bucket:
        for place, more, part in (
                (f"s3://{bucket.name}", {"S3_SECRET_KEY": "wrong"}, "SignatureDoesNotMatch"),
                ("s3://nobodys", {}, "NoSuchBucket")):
            result = run("drama-import", place, variables=variables(bucket, **more))
            assert (result.returncode, part in result.stderr) == (1, True), result
    missing = folder_of(tmp_path, {"dramas/d/drama.json": b"{}"})
    result = run("drama-import", "--timeout", "2s", missing,
                 variables={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    assert result.returncode == 7, result

# SPDX-License-Identifier: Apache-2.0
"""The oracle's rules for videos, removals and sessions, one by one, by hand."""

import uuid

from lib import events, oracle, oracle_metrics
from lib.events import HOUR, MINUTE, SECOND, START as T
from lib.oracle_facts import time_of

COMMAND, OTHER = events.id_of("by hand"), events.id_of("by another hand")
SESSION, ACCOUNT = events.id_of("session"), events.id_of("account")
RAW, CLEAN = "/videos/raw.mp4", "/videos/clean.mp4"


def submitted(type, payload=None, command=COMMAND, at=T, **more):
    return events.command_submitted(command, at, type=type, payload=payload or {}, **more)


def status(word, at=T + 9 * SECOND, command=COMMAND, **more):
    return events.status_changed(command, word, at, **more)


def frame(type, at=T + SECOND, command=COMMAND, target=None, **payload):
    return events.telemetry(type, at, command_id=command, payload=payload, target=target)


def attempted(at=T + 2 * SECOND, path=RAW, **more):
    return frame("action.attempted", at, action="WATERMARK_REMOVAL", input_path=path, **more)


def rows(table, *said, timestamps=None):
    return oracle.expected(said, timestamps)[table]


def the(table, *said, **more):
    row, = rows(table, *said, **more)
    return row


def values(row, *names):
    return tuple(row[name] for name in names)


# --- safari_videos ---------------------------------------------------------------------------

def test_a_video_is_there_from_the_submission_on():
    row = the("safari_videos", submitted("sora.generate", {
        "prompt": "p", "duration": "5s", "aspect_ratio": "1:1"}, requested_at=T - 5))
    assert values(row, "prompt", "duration", "aspect_ratio", "status", "metadata") == (
        "p", "5s", "1:1", "GENERATING", None)
    assert row["video_id"] == uuid.uuid5(uuid.UUID(COMMAND), "0")
    assert row["created_at"] == time_of(T - 5)


def test_success_with_a_clean_error_is_downloaded():
    said = [submitted("sora.generate.clean", {"prompt": "p"}), attempted(),
            frame("sora.video.downloaded", file_path=RAW, file_size=7)]
    assert the("safari_videos", *said)["status"] == "CLEANING"
    row = the("safari_videos", *said, status("SUCCEEDED", result={"clean_error": "e"}))
    assert values(row, "status", "raw_path", "raw_size_bytes", "cleaned_path", "metadata") == (
        "DOWNLOADED", RAW, 7, None, {"clean_error": "e"})


def test_a_batch_has_a_video_for_each_prompt():
    said = [submitted("sora.batch.clean", {"prompts": ["a", "b", "c"]}),
            frame("sora.video.cleaned", input_path=RAW, output_path=CLEAN, batch_index=1),
            status("FAILED", error="why", result={"results": [{"success": False, "error": "e"}]})]
    found = {row["metadata"]["batch_index"]: row for row in rows("safari_videos", *said)}
    assert [values(found[i], "prompt", "status", "cleaned_path") for i in range(3)] == [
        ("a", "FAILED", None), ("b", "CLEANED", CLEAN), ("c", "FAILED", None)]
    assert [found[i]["metadata"].get("error") for i in range(3)] == ["e", None, "why"]


def test_results_count_when_the_batch_has_ended_and_may_be_anything():
    said = [submitted("sora.batch", {"prompts": ["a", "b"]}),
            status("RUNNING", error="odd", result={"results": [{"success": False}, 7]})]
    found = {row["metadata"]["batch_index"]: row["status"] for row in rows("safari_videos", *said)}
    assert found == {0: "GENERATING", 1: "GENERATING"}
    odd = status("FAILED", T + MINUTE, result="[1]", error="why")
    assert not any(oracle.dead_letters([*said, odd]).values())
    assert {row["metadata"]["error"] for row in rows("safari_videos", *said, odd)} == {"why"}


def test_a_batch_index_of_null_is_none():
    row = the("safari_videos", frame("sora.prompt.submitted", batch_index=None, character="c"))
    assert values(row, "character", "metadata") == ("c", None)


def test_of_a_command_that_nobody_submitted_the_videos_are_those_that_frames_name():
    assert rows("safari_videos", frame("sora.video.cleaned", input_path=RAW)) == []
    assert rows("safari_videos", status("SUCCEEDED", result={
        "video_path": RAW, "input_path": RAW})) == []
    row = the("safari_videos", status("SUCCEEDED", result={"videoPath": RAW, "fileSize": 3}))
    assert values(row, "raw_path", "raw_size_bytes", "status") == (RAW, 3, "DOWNLOADED")
    row = the("safari_videos", frame("sora.prompt.submitted", batch_index=4, character="c"))
    assert values(row, "character", "metadata") == ("c", {"batch_index": 4})


def test_a_number_is_whole_however_it_is_written():
    row = the("safari_videos", frame("sora.video.cleaned", output_path=CLEAN, batch_index=1.0,
                                     file_size=9.0))
    assert values(row, "cleaned_size_bytes", "metadata") == (9, {"batch_index": 1})
    for size, bytes_, duration in ((10**19, None, 7), (1e3, 1000, 0.5), (-9.0, None, 7.0)):
        row = the("safari_videos", status("SUCCEEDED", result={
            "video_path": RAW, "file_size": size, "duration_ms": duration}))
        assert values(row, "raw_path", "raw_size_bytes", "metadata") == (
            RAW, bytes_, {"duration_ms": duration})


def test_an_index_counts_where_a_frame_can_have_one():
    row = the("safari_videos", frame("sora.video.downloaded", file_path=RAW, batch_index="none"),
              frame("sora.video.cleaned", output_path=CLEAN, batch_index=None))
    assert values(row, "raw_path", "cleaned_path", "metadata") == (RAW, CLEAN, None)
    row = the("safari_videos", frame("sora.prompt.submitted", T, batch_index=0),
              frame("sora.prompt.submitted", T + 1))  # which takes nothing back
    assert row["metadata"] == {"batch_index": 0}


def test_a_frame_without_an_index_is_about_the_only_one():
    said = frame("sora.video.cleaned", input_path=RAW, output_path=CLEAN)
    one, two = (submitted("sora.batch.clean", {"prompts": ["a", "b"][:count]}) for count in (1, 2))
    assert the("safari_videos", said, one)["cleaned_path"] == CLEAN
    assert [row["cleaned_path"] for row in rows("safari_videos", said, two)] == [None, None]
    assert rows("watermark_removals", said, two) == []


def test_what_an_unknown_command_lists_is_a_video_where_it_says_so():
    ended = status("SUCCEEDED", result={"results": [{"selector": "#a"}, {"prompt": "p"}]})
    assert the("safari_videos", ended)["metadata"] == {"batch_index": 1}


def test_what_is_not_read_may_be_anything():
    usage = events.command_submitted(COMMAND, T, type="sora.usage", payload="null")
    ended = events.status_changed(OTHER, "SUCCEEDED", T, result="[1]")
    said = [usage, frame("sora.video.downloaded", file_path=RAW),
            submitted("sora.generate", command=OTHER), ended]
    assert the("safari_videos", *said)["status"] == "FAILED"
    assert not any(oracle.dead_letters(said).values())


def test_a_payload_that_is_no_object_has_no_members():
    for payload in ("null", "[1]", "7"):
        said = [events.command_submitted(COMMAND, T, type="sora.generate", payload=payload),
                events.telemetry("sora.video.downloaded", T, command_id=COMMAND, payload=payload)]
        assert values(the("safari_videos", *said), "prompt", "raw_path", "status") == (
            None, None, "GENERATING")
        assert not any(oracle.dead_letters(said).values())


def test_a_batch_has_at_most_10000_prompts():
    fits = submitted("sora.batch", {"prompts": [""] * 10000})
    too_many = submitted("sora.batch.clean", {"prompts": [""] * 10001}, OTHER)
    assert len(rows("safari_videos", fits, too_many)) == 10000
    assert {name for name, found in oracle.dead_letters([fits, too_many]).items()
            if found == {(events.COMMANDS, too_many["event_id"])}} == {
                "video-catalog", "watermark-metrics"}


def test_an_index_beyond_the_prompts_makes_no_video_between():
    found = rows("safari_videos", submitted("sora.batch.clean", {"prompts": ["a"]}),
                 frame("sora.video.cleaned", output_path=CLEAN, batch_index=3))
    assert {(row["metadata"]["batch_index"], row["status"]) for row in found} == {
        (0, "GENERATING"), (3, "CLEANED")}


def test_wire_v2_has_names_of_its_own():
    said = [submitted("sora.generate.clean"),
            frame("sora.video.downloaded", videoPath=RAW, fileSize=10),
            frame("sora.video.cleaned", inputPath=RAW, cleanedPath=CLEAN, cleanedSize=9),
            status("SUCCEEDED", result={"durationMs": 7, "cleanError": "e"})]
    assert values(the("safari_videos", *said), "raw_path", "raw_size_bytes", "cleaned_path",
                  "cleaned_size_bytes", "metadata") == (
        RAW, 10, CLEAN, 9, {"duration_ms": 7, "clean_error": "e"})
    assert values(the("watermark_removals", *said), "input_path", "output_path",
                  "output_size_bytes") == (RAW, CLEAN, 9)
    said = [submitted("sora.generate"), status("SUCCEEDED", result={"videoPath": RAW}),
            submitted("sora.clean", {"input_path": RAW}, OTHER),
            status("SUCCEEDED", command=OTHER, result={"cleanedPath": CLEAN, "fileSize": 7})]
    assert values(the("safari_videos", *said), "cleaned_path", "cleaned_size_bytes") == (CLEAN, 7)
    assert values(the("watermark_removals", *said), "output_path", "output_size_bytes") == (
        CLEAN, 7)
    found = rows("safari_videos", frame("sora.video.cleaned", batchIndex=1, cleanedPath=CLEAN),
                 frame("sora.prompt.submitted", batchIndex=3, character="c"))
    assert {(row["metadata"]["batch_index"], row["cleaned_path"]) for row in found} == {
        (1, CLEAN), (3, None)}


def test_the_last_successful_clean_of_a_path_gives_the_cleaned_path():
    said = [submitted("sora.generate"), frame("sora.video.downloaded", file_path=RAW)]
    for number, word in enumerate(("SUCCEEDED", "SUCCEEDED", "FAILED")):
        command = events.id_of("clean", number)
        said += [submitted("sora.clean", {"input_path": RAW, "output_path": f"/{number}"}, command),
                 status(word, T + number, command, result={"file_size": number})]
    found = [row for row in rows("safari_videos", *said)]
    assert [values(row, "status", "cleaned_path", "cleaned_size_bytes") for row in found] == [
        ("CLEANED", "/1", 1)]
    removals = rows("watermark_removals", *said)
    assert {row["video_id"] for row in removals} == {found[0]["video_id"]}
    assert {row["output_path"] for row in removals} == {"/0", "/1", None}
    said += [frame("sora.video.cleaned", command=events.id_of("clean", 1), output_path=CLEAN),
             status("SUCCEEDED", T + 9, events.id_of("clean", 1), result={"output_path": "/9"})]
    assert the("safari_videos", *said)["cleaned_path"] == CLEAN


def test_a_clean_reads_what_its_attempt_names():
    said = [submitted("sora.generate"), frame("sora.video.downloaded", file_path=RAW),
            submitted("sora.clean", command=OTHER), attempted(command=OTHER),
            status("SUCCEEDED", command=OTHER, result={"output_path": CLEAN})]
    assert the("safari_videos", *said)["cleaned_path"] == CLEAN


def test_an_empty_path_is_none():
    said = [submitted("sora.generate.clean"), frame("sora.video.downloaded", file_path=""),
            frame("sora.video.cleaned", input_path="", output_path="")]
    assert the("safari_videos", *said)["status"] == "GENERATING"
    row = the("safari_videos", *said, status("SUCCEEDED", result={
        "video_path": RAW, "cleaned_path": ""}))
    assert values(row, "raw_path", "cleaned_path", "status") == (RAW, None, "DOWNLOADED")
    assert rows("watermark_removals", submitted("sora.clean", {"input_path": ""})) == []


# --- watermark_removals ----------------------------------------------------------------------

def test_a_removal_is_open_until_it_is_known_how_it_ended():
    said = [submitted("sora.generate.clean"), attempted()]
    names = "input_path", "success", "completed_at", "error_message", "processing_time_ms", "method"
    assert values(the("watermark_removals", *said), *names) == (
        RAW, False, None, None, None, "lama")
    row = the("watermark_removals", *said, status("FAILED", error="why"))
    assert values(row, *names) == (RAW, False, time_of(T + 9 * SECOND), "why", 7000, "lama")
    row = the("watermark_removals", *said, status("FAILED", error="why"), frame(
        "sora.video.cleaned", T + 3 * SECOND, output_path=CLEAN, file_size=4))
    assert values(row, *names) == (RAW, True, time_of(T + 3 * SECOND), None, 1000, "lama")
    assert values(row, "output_path", "output_size_bytes", "created_at") == (
        CLEAN, 4, time_of(T + 2 * SECOND))


def test_a_success_that_tells_of_no_failure_leaves_a_removal_open():
    names = "success", "completed_at", "error_message", "processing_time_ms"
    for type in ("sora.clean", "sora.generate.clean"):
        said = [submitted(type, {"input_path": RAW}), attempted()]
        assert values(the("watermark_removals", *said, status("SUCCEEDED")), *names) == (
            False, None, None, None)
        row = the("watermark_removals", *said, status("SUCCEEDED", error="why"))
        assert values(row, *names) == (False, time_of(T + 9 * SECOND), "why", 7000)
    said = [submitted("sora.batch.clean"), status("SUCCEEDED", result={
        "results": [{"path": RAW, "cleaned_path": CLEAN}, {"path": RAW, "error": "e"}]})]
    assert {row["completed_at"] for row in rows("watermark_removals", *said)} == {
        time_of(T + 9 * SECOND)}


def test_the_result_has_the_size_that_cleaned_did_not_say():
    for type, result in (("sora.clean", {"output_path": "/c", "file_size": 8}),
                         ("sora.generate.clean", {"cleaned_size": 8})):
        said = [submitted(type, {"input_path": RAW}), attempted(), status("SUCCEEDED", result=result)]
        row = the("watermark_removals", *said, frame("sora.video.cleaned", output_path=CLEAN))
        assert values(row, "output_path", "output_size_bytes") == (CLEAN, 8)
        row = the("watermark_removals", *said, frame("sora.video.cleaned", output_path=CLEAN,
                                                     file_size=9))
        assert row["output_size_bytes"] == 9


def test_the_result_of_a_command_that_nobody_submitted_counts():
    names = "output_path", "output_size_bytes", "success", "error_message"
    for result, want in (({"cleaned_path": "/c", "cleaned_size": 8}, ("/c", 8, True, None)),
                         ({"output_path": "/c", "file_size": 7}, ("/c", 7, True, None)),
                         ({"clean_error": "e"}, (None, None, False, "e"))):
        row = the("watermark_removals", attempted(), status("SUCCEEDED", result=result))
        assert values(row, *names, "completed_at") == (*want, time_of(T + 9 * SECOND))
    cleaned = frame("sora.video.cleaned", input_path=RAW, batch_index=1)
    for one, want in (({"cleaned_path": "/c"}, ("/c", None, True, None)),
                      ({"path": RAW, "error": "e"}, (None, None, False, "e"))):
        row = the("watermark_removals", cleaned, status("SUCCEEDED", result={"results": [{}, one]}))
        assert values(row, *names) == want


def test_the_result_of_a_command_that_nobody_submitted_may_tell_of_a_removal():
    names = "input_path", "output_path", "input_size_bytes", "error_message"
    for result, want in (
            ({"video_path": RAW, "file_size": 9, "cleanedPath": CLEAN}, (RAW, CLEAN, 9, None)),
            ({"video_path": RAW, "clean_error": "e"}, (RAW, None, None, "e")),
            ({"input_path": RAW, "output_path": CLEAN, "file_size": 8}, (RAW, CLEAN, None, None)),
            ({"results": [{"path": "/p", "error": "e"}, {"path": RAW, "cleaned_path": CLEAN}]},
             (RAW, CLEAN, None, None))):
        ended = status("SUCCEEDED", result=result)
        assert values(the("watermark_removals", ended), *names) == want
        assert rows("watermark_removals", ended, submitted("sora.generate")) == []
    bare = frame("action.attempted", action="WATERMARK_REMOVAL")
    assert rows("watermark_removals", bare) == []
    downloaded = frame("sora.video.downloaded", file_path=RAW, file_size=7)
    assert values(the("watermark_removals", bare, downloaded), *names) == (RAW, None, 7, None)
    for word, result in (("SUCCEEDED", {"video_path": RAW}),
                         ("FAILED", {"input_path": RAW, "output_path": CLEAN}),
                         ("FAILED", {"results": [{"path": "/p", "error": "e"}]})):
        assert rows("watermark_removals", status(word, result=result, error="why")) == []


def test_a_size_that_no_file_has_is_none():
    for size, want in ((0, 0), (2**48, 2**48), (2**48 + 1, None), (2**63 - 1, None), (-1, None)):
        row = the("watermark_removals", frame("sora.video.cleaned", input_path=RAW,
                                              output_path=CLEAN, file_size=size))
        assert row["output_size_bytes"] == want


def test_a_removal_without_a_path_is_no_row():
    assert rows("watermark_removals", submitted("sora.clean"), status("FAILED")) == []
    assert rows("watermark_removals", submitted("sora.generate.clean"),
                status("SUCCEEDED", result={"clean_error": "e"})) == []
    assert len(rows("watermark_removals", attempted())) == 1


def test_of_a_batch_those_are_removals_that_were_cleaned_or_have_a_path_and_an_error():
    results = [{"path": "/0"}, {"path": "/1", "error": "e"}, {"error": "e"},
               {"path": "/3", "cleaned_path": "/3c"}]
    said = [submitted("sora.batch.clean", {"prompts": list("abcd"), "method": "m"}), attempted(),
            status("SUCCEEDED", result={"results": results})]
    found = sorted(rows("watermark_removals", *said), key=lambda row: row["input_path"])
    assert [values(row, "input_path", "output_path", "error_message", "method")
            for row in found] == [("/1", None, "e", "m"), ("/3", "/3c", None, "m")]
    assert found[0]["created_at"] == time_of(T)


def test_the_oldest_video_of_a_path_is_that_of_a_removal():
    said = [submitted("sora.clean", {"input_path": RAW})]
    for number, at in enumerate((T + 5, T + 3, T + 4)):
        command = events.id_of("video", number)
        said += [submitted("sora.generate", None, command, at),
                 frame("sora.video.downloaded", command=command, file_path=RAW, file_size=number)]
    row = the("watermark_removals", *said)
    assert values(row, "video_id", "input_size_bytes") == (
        uuid.uuid5(uuid.UUID(events.id_of("video", 1)), "0"), 1)


def test_metrics_count_each_removal_once():
    said = [submitted("sora.clean", {"input_path": RAW}), attempted(),
            attempted(T + 2 * SECOND, command=OTHER), status("SUCCEEDED"),
            frame("sora.video.cleaned", T + 2 * SECOND + 1500, output_path=CLEAN, file_size=5)]
    row = the("watermark_metrics", *said, *said)
    assert values(row, "attempts", "succeeded", "failed", "output_bytes", "input_bytes",
                  "processing_ms_sum", "processing_ms_min") == (2, 1, 0, 5, 0, 1, 1)
    assert row["bucket_start"] == time_of(T // HOUR * HOUR)
    assert (row["histogram"][1], sum(row["histogram"])) == (1, 1)


def test_bins_are_eight_for_each_power_of_two():
    assert [oracle_metrics.histogram_bin(ms) for ms in (-5, 0, 1, 2, 3, 4, 5, 8, 9, 15, 16)] == [
        0, 0, 1, 9, 13, 17, 19, 25, 26, 32, 33]
    assert oracle_metrics.histogram_bin(2**31 - 1) == oracle_metrics.HISTOGRAM_BINS - 1


# --- safari_sessions -------------------------------------------------------------------------

def opened(at=T, **more):
    return events.session_opened(SESSION, at, **more)


def activity(at):
    return frame("rate.limited", at, None, events.target(SESSION))


def test_a_session_expires_by_stream_time_and_comes_back():
    names = "status", "ended_at", "last_activity_at"
    clock = frame("brand.new", T + 30 * MINUTE)
    assert the("safari_sessions", opened(), clock)["status"] == "active"
    later = frame("brand.new", T + 30 * MINUTE + 1)
    row = the("safari_sessions", opened(), clock, later)
    assert values(row, *names) == ("expired", time_of(T + 30 * MINUTE), time_of(T))
    row = the("safari_sessions", opened(), later, activity(T + MINUTE))
    assert values(row, *names) == ("active", None, time_of(T + MINUTE))


def test_a_clock_that_is_a_day_ahead_moves_no_stream_time():
    wrong = frame("brand.new", T + 25 * HOUR)
    where = events.TELEMETRY, wrong["event_id"]
    for stamp, word in ((T + HOUR, "expired"), (T + HOUR - 1000, "active")):
        assert the("safari_sessions", opened(), wrong,
                   timestamps={where: stamp // 1000})["status"] == word


def test_a_session_that_is_closed_stays_closed():
    closed = events.session_closed(SESSION, T + 5)
    row = the("safari_sessions", opened(), closed, activity(T + 9))
    assert values(row, "status", "ended_at", "last_activity_at") == (
        "closed", time_of(T + 5), time_of(T + 9))
    row = the("safari_sessions", closed)
    assert values(row, "platform", "started_at", "last_activity_at") == (
        "unknown", time_of(T + 5), None)


def test_commands_open_and_close_sessions():
    said = [submitted("session.create", {"platform": "x", "account_id": ACCOUNT}),
            status("SUCCEEDED", T + 4, result={"session_id": SESSION})]
    row = the("safari_sessions", *said)
    assert values(row, "platform", "account_id", "started_at", "status") == (
        "x", uuid.UUID(ACCOUNT), time_of(T + 4), "active")
    said += [submitted("session.close", {"session_id": SESSION}, OTHER, T + 5),
             status("SUCCEEDED", T + 7, OTHER)]
    assert values(the("safari_sessions", *said), "status", "ended_at", "last_activity_at") == (
        "closed", time_of(T + 7), time_of(T + 4))


def test_wire_v2_names_sessions_in_camel_case():
    said = [submitted("session.create", {"accountId": ACCOUNT}),
            status("SUCCEEDED", T + 4, result={"sessionId": SESSION})]
    assert values(the("safari_sessions", *said), "account_id", "started_at", "status") == (
        uuid.UUID(ACCOUNT), time_of(T + 4), "active")
    said += [submitted("session.close", {"sessionId": SESSION}, OTHER, T + 5),
             status("SUCCEEDED", T + 7, OTHER)]
    assert values(the("safari_sessions", *said), "status", "ended_at") == ("closed", time_of(T + 7))


def test_lifecycles_are_activity_of_each_session_that_the_command_was_sent_to():
    said = [submitted("flow.run", at=T + 1, target=events.target(SESSION, platform="tiktok")),
            submitted("flow.run", at=T, target=None), status("RUNNING", T + 8)]
    row = the("safari_sessions", *said)
    assert values(row, "platform", "started_at", "last_activity_at") == (
        "tiktok", time_of(T + 1), time_of(T + 8))

# SPDX-License-Identifier: Apache-2.0
"""What no stream of lib.studio_stream makes: sequences that somebody thought of, each of a project of its
own, as the events of the studio topics. odd_events() gives {what it is: events}."""

from lib.events import id_of
from lib.studio_events import clip, job, media, project, scene, stored, voice

LEAST, MOST = -2**63, 2**63 - 1
AT = 1_795_000_000_000_000
A, B, C, D = (id_of("odd", letter) for letter in "abcd")
ANN, BOB = id_of("ann"), id_of("bob")


def of(name):
    """The id of a project."""
    return id_of("odd project", name)


def save(name, revision, **given):
    return project("ProjectSaved", of(name), revision, **given)


def odd_events():
    return {what: [{**event, "emitted_at": AT + event["revision"] % 1000} for event in events]
            for what, events in {**_of_projects(), **_of_clips(), **_of_the_rest()}.items()}


def _of_projects():
    wide = "\U0001f600\u202e" * 5000
    return {
        "revisions at both ends": [
            save("ends", LEAST, title="first", user_id=ANN), save("ends", MOST, script="last"),
            save("ends", 0, title="zero", user_id=BOB)],
        "fields named twice, unknown, none": [
            save("fields", 1, title="a", script="b", seo_tags=[], description="c"),
            save("fields", 3, fields=["title", "title", "nothing", "scenes"], title=None, script="no"),
            save("fields", 4, fields=[], title="no", scenes=[scene("s")]),
            save("fields", 2, seo_tags=None, seo_hashtags=["a,b", '"', "", "{}", "NULL"])],
        "one revision, two tabs, and the same save again": [
            *(save("tabs", 9, base_revision=1, title=title, scenes=[scene(title)],
                   event_id=id_of("tab", title)) for title in ("x", "y", "z")), save("tabs", 1)],
        "scenes that want each other's ids": [
            save("scenes", 2, scenes=[scene(text, number=number) for number, text in enumerate(
                ("1", "", "2", "", A.upper(), A, "scene-1", "scene-1", " scene-1", "1"))]),
            save("scenes", 1, scenes=[scene("gone")]),
            clip("ClipSaved", of("scenes"), 1, clip_id=A, scene_id=""),
            clip("ClipSaved", of("scenes"), 1, clip_id=B, scene_id=A.upper()),
            clip("ClipSaved", of("scenes"), 1, clip_id=C, scene_id="scene-1"),
            clip("ClipSaved", of("scenes"), 1, clip_id=D, scene_id="2")],
        "deleted before, between and after": [
            project("ProjectDeleted", of("gone"), LEAST), save("gone", MOST, user_id=ANN),
            clip("ClipSaved", of("gone"), 5, clip_id=A), media("ExportSaved", of("gone"), 5, export_id=A),
            job("JobRegistered", "odd of gone", 5, project_id=of("gone")),
            project("ProjectDeleted", of("gone"), 7)],
        "never saved": [
            project("ProjectStatusChanged", of("never"), 1, status="", user_id=ANN),
            project("ProjectThumbnailSet", of("never"), 2, thumbnail_url=""),
            media("AudioFileSaved", of("never"), 3, audio_id=A), clip(
                "ClipTrimmed", of("never"), 3, clip_id=A, start_trim=0)],
        "texts": [
            save("texts", 1, title="", description=wide, script="x" * 300_000,
                 seo_chapters={"a": [1, None, "\u2028"]}, created_at=0),
            save("texts", 2, fields=["seo_chapters"], seo_chapters=None)],
        "owners": [
            save("owners", 5), save("owners", 9, user_id=ANN), project(
                "ProjectThumbnailSet", of("owners"), 3, user_id=BOB), save("owners", 1)],
    }


def _of_clips():
    return {
        "clips and their order": [
            save("order", 1), *(clip("ClipSaved", of("order"), 5, clip_id=name, event_id=id_of(name))
                                for name in (A, B, C, D)),
            clip("ClipsReordered", of("order"), 9, clip_ids=[C, C, id_of("nobody"), A]),
            clip("ClipsReordered", of("order"), 8, clip_ids=[]),
            clip("ClipDeleted", of("order"), LEAST, clip_id=C),
            clip("ClipSaved", of("order"), 4, clip_id=D, status="timeout", duration="0.000001")],
        "trims": [
            save("trims", 1), clip("ClipSaved", of("trims"), 3, clip_id=A, duration=0),
            clip("ClipTrimmed", of("trims"), MOST, clip_id=A, start_trim="0.1"),
            clip("ClipTrimmed", of("trims"), 4, clip_id=A, end_trim=9),
            clip("ClipTrimmed", of("trims"), 4, clip_id=A, start_trim=2, end_trim=2),
            clip("ClipTrimmed", of("trims"), 9, clip_id=B, end_trim="99999999999.5")],
        "one clip in two projects, and a scene of the other": [
            save("two-1", 1, scenes=[scene(D)]), save("two-2", 1, scenes=[scene("s")]),
            clip("ClipSaved", of("two-1"), 2, clip_id=A, scene_id="s"),
            clip("ClipSaved", of("two-2"), 2, clip_id=A, scene_id=D),
            clip("ClipDeleted", of("two-2"), 1, clip_id=B),
            clip("ClipSaved", of("two-1"), 2, clip_id=B, scene_id=D)],
        "exports deleted by name": [
            save("exports", 1), media("ExportSaved", of("exports"), 2, export_id=A, created_at=5),
            media("ExportSaved", of("exports"), 9, export_id=A, duration="7.5"),
            media("AudioFileDeleted", of("exports"), 1, audio_id=A),
            media("AudioFileSaved", of("exports"), 9, audio_id=A),
            media("ExportSaved", of("exports"), 9, export_id=B), media(
                "ExportDeleted", of("exports"), LEAST, export_id=B)],
    }


def _of_the_rest():
    return {
        "jobs": [
            job("JobProgressed", "odd", 9, progress=0), job("JobStatusChanged", "odd", 9, status="queued"),
            job("JobRegistered", "odd", 9), job("JobStatusChanged", "odd-2", 5, status="timeout"),
            job("JobStatusChanged", "odd-2", 5, status="done", result={"a": 1}),
            job("JobProgressed", "odd-2", 5, progress=100), job("JobRegistered", "odd-2", MOST),
            job("JobStatusChanged", A.upper(), 1, status="success", progress=3),
            job("JobProgressed", A, 2, progress=101), job("JobProgressed", A, 2, progress=7, message=""),
            job("JobStatusChanged", "", 1, status="pending", project_id=of("owners"))],
        "voices": [
            voice("VoiceDeleted", "v", 5), voice("VoiceSaved", "v", 5, voice_name="n"),
            voice("VoiceSaved", "", 1, provider="", user_id=ANN),
            voice("VoiceSaved", "a/b", 1, provider="p"), voice("VoiceSaved", "b", 1, provider="p/a"),
            voice("VoiceSaved", "w", LEAST, created_at=1), voice("VoiceDeleted", "w", 3),
            voice("VoiceSaved", "w", MOST, created_at=2, metadata=[])],
        "objects": [
            stored("ObjectStored", "clips", f"projects/{A.upper()}/x", 1, size_bytes=MOST),
            stored("ObjectStored", "clips", f"projects/{A}", 1), stored(
                "ObjectStored", "", "", 1, etag=""),
            stored("ObjectDeleted", "b", "k", 5), stored("ObjectStored", "b", "k", 5),
            stored("ObjectStored", "b/k", "l", 1), stored("ObjectStored", "b", "k/l", MOST)],
    }

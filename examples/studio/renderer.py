# SPDX-License-Identifier: Apache-2.0
"""What a studio's renderer stores: objects in Supabase's storage, and events of what it made, posted
to event-ingest. The names are those of the renderer's own services (supabase_storage, supabase_db):

    file_url = upload_video_clip(project_id, scene_id, clip_bytes, "pika")
    save_clip_record(project_id=project_id, scene_id=scene_id, provider="pika", file_url=file_url,
                     prompt=prompt)

What was not stored or not published raises; nothing is only logged.

    EVENT_INGEST_URL      event-ingest; without it nothing is stored, which is logged once
    SUPABASE_URL          the storage
    SUPABASE_SERVICE_KEY  what both are shown

Everything is Python's own.
"""

import json
import logging
import os
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from datetime import datetime, timezone

LOG = logging.getLogger(__name__)
TRIES = 5
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "projectionist")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NotStored(Exception):
    """Nothing was written; `status` is that of HTTP, or 0 where nobody answered."""

    def __init__(self, status, reason):
        super().__init__(f"{reason} (HTTP {status})" if status else reason)
        self.status = status


# --- publishing -----------------------------------------------------------------------------------

_lock = threading.Lock()
_seen = {}  # thing: the greatest revision known of it
_is_said = False


def saw(thing, revision):
    """A revision that was read of a thing, such as "clips <project>": what is written comes after."""
    with _lock:
        _seen[thing] = max(_seen.get(thing, 0), int(revision or 0))


def _revision(thing):
    """Microseconds, and later than all that is known of the thing, however wrong the clock is."""
    with _lock:
        _seen[thing] = max(time.time_ns() // 1000, _seen.get(thing, 0) + 1)
        return _seen[thing]


def is_persistent():
    """Whether anything is stored at all."""
    global _is_said  # pylint: disable=global-statement
    if os.environ.get("EVENT_INGEST_URL"):
        return True
    if not _is_said:
        LOG.warning("EVENT_INGEST_URL is not set: nothing is stored")
    _is_said = True
    return False


def _request(url, data, headers, what):
    request = urllib.request.Request(url, data, method="POST", headers={
        "Authorization": f"Bearer {os.environ.get('SUPABASE_SERVICE_KEY', '')}", **headers})
    try:
        with DIRECT.open(request, timeout=60) as answer:
            return dict(answer.headers)
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        try:
            text = json.loads(text)["error"]
        except (ValueError, KeyError, TypeError):
            pass
        raise NotStored(error.code, f"{what}: {text}") from error
    except OSError as error:
        raise NotStored(0, f"{what}: {error}") from error


def _publish(topic, thing, type_, body, **key):
    """The same event at each try, by its id: however often it is sent, it counts once."""
    if not is_persistent():
        return
    event = {"event_id": str(uuid.uuid4()), **key, "revision": _revision(thing),
             "emitted_at": datetime.now(timezone.utc).isoformat(timespec="microseconds"),
             # A record that has a `type` of its own is named around it.
             "body": {type_: body} if "type" in body else {"type": type_, **body}}
    for attempt in range(TRIES):
        try:
            _request(f"{os.environ['EVENT_INGEST_URL'].rstrip('/')}/v1/events/{topic}",
                     json.dumps(event).encode(), {"Content-Type": "application/json"},
                     f"{type_} was not published")
            return
        except NotStored as failure:
            if failure.status not in (0, 429, 503) or attempt == TRIES - 1:
                raise
            time.sleep(min(0.2 * 2 ** attempt, 3))


# --- supabase_storage -----------------------------------------------------------------------------

def upload_file(bucket, key, data, content_type):
    """Stores an object and says that it is stored; its public URL."""
    if not is_persistent():
        return None
    base = os.environ["SUPABASE_URL"].rstrip("/")
    quoted = urllib.parse.quote(key)
    headers = _request(f"{base}/storage/v1/object/{bucket}/{quoted}", data,
                       {"Content-Type": content_type, "x-upsert": "true"}, f"{key} was not stored")
    url = f"{base}/storage/v1/object/public/{bucket}/{quoted}"
    _publish("studio.objects", f"object {bucket}/{key}", "ObjectStored",
             {"size_bytes": len(data), "content_type": content_type,
              "etag": headers.get("ETag") or headers.get("Etag"), "public_url": url},
             bucket=bucket, object_key=key)
    return url


def upload_video_clip(project_id, scene_id, clip_bytes, provider, clip_id=None):
    """Of a new clip each time, unless clip_id says which: two clips of a scene are two objects."""
    del scene_id, provider  # of the row, not of the object's name
    return upload_file("clips", f"projects/{project_id}/clips/{clip_id or uuid.uuid4()}.mp4",
                       clip_bytes, "video/mp4")


def upload_audio(project_id, audio_bytes):
    return upload_file("audio", f"projects/{project_id}/audio/audio.wav", audio_bytes, "audio/wav")


def upload_final_video(project_id, video_bytes):
    return upload_file("exports", f"projects/{project_id}/final/final.mp4", video_bytes, "video/mp4")


def upload_thumbnail(project_id, image_bytes):
    return upload_file("thumbnails", f"projects/{project_id}/thumbnails/thumbnail.png", image_bytes,
                       "image/png")


# --- supabase_db ----------------------------------------------------------------------------------

def clip_of(file_url):
    """The clip that a URL of its object names; the same one each time."""
    found = re.search(r"/clips/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.[a-z0-9]+$", file_url or "")
    return found[1] if found else str(uuid.uuid5(NAMESPACE, f"clip {file_url}"))


def save_clip_record(project_id, scene_id, provider, file_url, prompt=None, duration=None,
                     thumbnail_url=None, status="done", clip_id=None):
    """The clip's id: that of its object, so that the same clip saved twice is one row."""
    clip_id = clip_id or clip_of(file_url)
    _publish("studio.clips", f"clips {project_id}", "ClipSaved",
             {"clip_id": clip_id, "scene_id": scene_id, "provider": provider, "status": status,
              "file_url": file_url, "thumbnail_url": thumbnail_url, "prompt": prompt,
              "duration": None if duration is None else round(duration, 6)}, project_id=project_id)
    return clip_id


def save_export_record(project_id, file_url, resolution=None, duration=None, thumbnail_url=None):
    export_id = str(uuid.uuid4())
    _publish("studio.media", f"media {project_id}", "ExportSaved",
             {"export_id": export_id, "file_url": file_url, "resolution": resolution,
              "thumbnail_url": thumbnail_url,
              "duration": None if duration is None else round(duration, 6)}, project_id=project_id)
    return export_id


def save_audio_record(project_id, file_url, filename=None, duration=None):
    audio_id = str(uuid.uuid4())
    _publish("studio.media", f"media {project_id}", "AudioFileSaved",
             {"audio_id": audio_id, "file_url": file_url, "filename": filename,
              "duration": None if duration is None else round(duration, 6)}, project_id=project_id)
    return audio_id


def update_project_status(project_id, status):
    """draft, generating, rendering, completed or error."""
    _publish("studio.projects", f"project {project_id}", "ProjectStatusChanged", {"status": status},
             project_id=project_id)


def set_project_thumbnail(project_id, thumbnail_url):
    _publish("studio.projects", f"project {project_id}", "ProjectThumbnailSet",
             {"thumbnail_url": thumbnail_url}, project_id=project_id)


def register_job(job_id, project_id, type_, message=None):
    """Before the job publishes its progress in Redis, which job-bridge brings along: it alone says whose
    the job is, and what it makes."""
    _publish("studio.jobs", f"job {job_id}", "JobRegistered", {"type": type_, "message": message},
             job_id=job_id, project_id=project_id)


def save_voice_record(provider, voice_id, voice_name=None, metadata=None, user_id=None):
    _publish("studio.voices", f"voice {user_id} {provider} {voice_id}", "VoiceSaved",
             {"voice_name": voice_name, "metadata": metadata}, user_id=user_id, provider=provider,
             voice_id=voice_id)

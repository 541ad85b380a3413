# SPDX-License-Identifier: Apache-2.0
"""The rows that the tables of render must hold, from the set of events alone.

Independent of the programs that it judges: it reads the whole set at once and knows nothing of
folds, batches or offsets. expected(events) takes the event dicts of lib.render_events, in any order
and any number of times.
"""

import ipaddress
import re
import uuid
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from urllib.parse import quote

from lib.oracle import in_order
from lib.oracle_facts import is_json, json_of, time_of, uuid_of
from lib.render_events import (ACCESS, ELEMENTS, JOBS, METRICS, STEPS, STORAGE, TIMELINE, topic_of)

KEYS = {  # of each table
    "jobs": ("id",),
    "elements": ("id",),
    "element_refusals": ("element_id", "job_id"),
    "processing_timeline": ("id",),
    "job_status_history": ("event_id",),
    "storage_operations": ("id",),
    "url_access_logs": ("id",),
    "system_metrics": ("id",),
}
READS = {  # the topics of each consumer
    "render-jobs": (JOBS, ELEMENTS, TIMELINE, STORAGE),
    "render-storage": (STORAGE,),
    "render-access": (ACCESS,),
    "render-metrics": (METRICS,),
}
NAMES = uuid.uuid5(uuid.NAMESPACE_DNS, "projectionist")
STATUSES = ("pending", "processing", "completed", "failed", "cancelled", "timeout")
GREATEST_INT = 2**31 - 1
PERCENTAGE = re.compile(r"[0-9]+(\.[0-9]+)?%", re.ASCII)
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
SCALES = {  # digits before and after the point
    "source_duration": (7, 3), "start_time": (7, 3), "end_time": (7, 3), "cpu_usage": (3, 2),
    "value": (9, 6)}
LONGEST = {"error_code": 50, "source_filename": 255, "x_position": 10, "y_position": 10, "width": 10,
           "height": 10, "access_type": 50, "country": 2, "metric_name": 100, "unit": 20}
NOT_NEGATIVE = ("processing_ms", "element_order", "source_size", "source_duration", "step_order",
                "memory_usage", "file_size", "duration_ms", "bytes_served", "response_time_ms")


def expected(events):
    """{table: rows} of the tables in KEYS, with all four consumers done."""
    told = {(topic_of(event), event["event_id"]): event for event in events if not refused(event)}
    of = defaultdict(list)
    for (topic, _), event in told.items():
        of[topic].append(event)
    jobs = _Jobs(of)
    tables = {table: [] for table in KEYS}
    for job_id in jobs.known:
        jobs.fill(job_id, tables)
    tables["storage_operations"] = [_plain(event, "created_at") for event in of[STORAGE]]
    tables["url_access_logs"] = [_plain(event, "accessed_at") for event in of[ACCESS]]
    tables["system_metrics"] = [_plain(event, "recorded_at") for event in of[METRICS]]
    tables["jobs"] += _placeholders(tables)
    return {table: in_order(rows) for table, rows in tables.items()}


def moment(event):
    """What sorts events of one job: the latest is the greatest."""
    return event["emitted_at"], uuid_of(event["event_id"]).bytes


def kind_of(event):
    return event["body"][0]


def body_of(event):
    return event["body"][1]


def rounded(name, text):
    """As Postgres does, for the column of that name."""
    if text is None:
        return None
    return Decimal(text).quantize(Decimal(1).scaleb(-SCALES[name][1]), ROUND_HALF_UP)


def half_up(number, unit):
    """A whole number of units of a number that is not negative; as much as an integer holds."""
    return min((number + unit // 2) // unit, GREATEST_INT)


def address(text):
    """As psycopg reads an inet."""
    if not text:
        return None
    interface = ipaddress.ip_interface(text)
    return interface.ip if interface.network.prefixlen == interface.ip.max_prefixlen else interface


# --- what is refused -------------------------------------------------------------------------

def refused(event):
    """Whether it is a dead letter of everybody who reads its topic; it says nothing then."""
    flat = {**{name: value for name, value in event.items() if name != "body"},
            **(body_of(event) if "body" in event else {})}
    topic = topic_of(event)
    words = {"status": STATUSES, "step": STEPS,
             "operation": ("upload", "download", "delete", "access"),
             "output_format": ("mp4", "mov", "avi", "webm"), "response_type": ("immediate", "async"),
             "fit_mode": ("auto", "contain", "cover", "fill", "stretch"),
             "type": ("video", "image", "audio", "text", "overlay"),
             "metric_type": ("counter", "gauge", "histogram", "timer")}
    longest = {**LONGEST, "region": 50 if topic == STORAGE else 100, "city": 100,
               **({"key": 1024} if topic == STORAGE else {})}
    between = {"progress": (0, 100), "attempt": (1, 1000),
               **({"width": (1, 7680), "height": (1, 4320)} if topic == JOBS else {})}

    def told(names):
        return [(name, flat[name]) for name in names if flat.get(name) is not None]

    return any((
        any("\0" in value for value in flat.values() if isinstance(value, str)),
        any(value not in words[name] for name, value in told(words)),
        any(isinstance(value, str) and len(value) > longest[name] for name, value in told(longest)),
        any(not low <= value <= high for name, value in told(between)
            for low, high in [between[name]]),
        any(Decimal(value) < 0 if name not in SCALES else rounded(name, value) < 0
            for name, value in told(NOT_NEGATIVE)),
        any(abs(rounded(name, value)) >= 10**SCALES[name][0] for name, value in told(SCALES)),
        any(not is_json(value) for _, value in told(
            ("request_metadata", "metadata", "details", "labels"))),
        any(not _is_address(value) for _, value in told(("client_ip",))),
        flat.get("processing_ms") is not None and half_up(flat["processing_ms"], 1000)
        != (flat["processing_ms"] + 500) // 1000,
        topic == ELEMENTS and kind_of(event) == "ElementAdded" and not _can_play(flat),
        topic == STORAGE and not _is_object(flat),
        topic == ACCESS and flat["country"] is not None
        and not re.fullmatch("[A-Za-z]{2}", flat["country"]),
        topic == METRICS and (flat["metric_name"] == "" or flat["metric_type"] == "counter"
                              and rounded("value", flat["value"]) < 0),
    ))


def _is_address(text):
    try:
        return text == "" or bool(ipaddress.ip_interface(text)) and "%" not in text
    except ValueError:
        return False


def _can_play(element):
    if not all(PERCENTAGE.fullmatch(element[name])
               for name in ("x_position", "y_position", "width", "height")):
        return False
    if element["type"] not in ("video", "audio"):
        return True
    start, end = (rounded(name, element[name]) for name in ("start_time", "end_time"))
    return start >= 0 and (end is None or end > start)


def _is_object(told):
    return (bool(BUCKET.fullmatch(told["bucket"])) and 1 <= len(told["key"].encode()) <= 1024
            and (told["operation"] != "upload" or not told["success"] or bool(told["file_size"])))


# --- what is logged --------------------------------------------------------------------------

def _plain(event, when):
    row = {"id": uuid_of(event["event_id"]), when: time_of(event["emitted_at"])}
    for name, value in event.items():
        if name in ("job_id",):
            row[name] = uuid_of(value)
        elif name in ("metadata", "labels"):
            row[name] = json_of(value)
        elif name == "client_ip":
            row[name] = address(value)
        elif name == "value":
            row[name] = rounded(name, value)
        elif name not in ("event_id", "emitted_at"):
            row[name] = value
    return row


def _placeholders(tables):
    """Of each job that is only referred to."""
    seen = defaultdict(list)
    for table, when in (("storage_operations", "created_at"), ("url_access_logs", "accessed_at")):
        for row in tables[table]:
            if row["job_id"] is not None:
                seen[row["job_id"]].append(row[when])
    known = {row["id"] for row in tables["jobs"]}
    names = ("estimated_duration actual_duration processing_started_at processing_completed_at "
             "s3_bucket s3_key file_size result_url current_step error_message error_code client_ip "
             "user_agent request_metadata owner_id").split()
    return [{**dict.fromkeys(names), "id": job_id, "status": "pending", "response_type": "async",
             "output_format": "mp4", "width": 1, "height": 1, "s3_region": "us-east-1",
             "progress_percentage": 0, "retry_count": 0, "created_at": min(times),
             "placeholder": True}
            for job_id, times in seen.items() if job_id not in known]


# --- jobs ------------------------------------------------------------------------------------

class _Jobs:
    """What all events say of jobs."""

    def __init__(self, of):
        self._said = defaultdict(lambda: defaultdict(list))
        for topic in (JOBS, ELEMENTS, TIMELINE):
            for event in of[topic]:
                self._said[event["job_id"]][kind_of(event)].append(event)
        gone = {job_id for job_id, said in self._said.items() if said["JobDeleted"]}
        self.known = [job_id for job_id, said in self._said.items()
                      if said["JobCreated"] and job_id not in gone]
        claims = defaultdict(list)
        for job_id, said in self._said.items():
            if job_id not in gone:
                for event in said["ElementAdded"]:
                    claims[event["element_id"]].append((*moment(event), job_id))
        self._owner = {element: min(claimed)[2] for element, claimed in claims.items()}
        self._objects = defaultdict(list)
        for event in of[STORAGE]:
            self._objects[event["bucket"], event["key"]].append(event)
        self._stored = defaultdict(list)
        for place, operations in self._objects.items():
            for job_id in {event["job_id"] for event in operations if _is_upload(event)}:
                self._stored[job_id].append(place)

    def fill(self, job_id, tables):
        said = self._said[job_id]
        life = _Life(said["JobStatusChanged"] + said["JobProgressed"])
        tables["jobs"].append(self._row(job_id, said, life))
        tables["job_status_history"] += life.history(job_id)
        self._elements(job_id, said, life, tables)
        tables["processing_timeline"] += _steps(job_id, said)

    def _row(self, job_id, said, life):
        made = min(said["JobCreated"], key=moment)
        body = body_of(made)
        estimate = body["estimated_duration"]
        by_estimate = "immediate" if estimate is None or estimate <= 30 else "async"
        failed = life.status in ("failed", "cancelled", "timeout")
        requested = body["requested_at"]
        return {
            "id": uuid_of(job_id),
            "status": life.status,
            "response_type": body["response_type"] or by_estimate,
            **{name: body[name] for name in ("output_format", "width", "height",
                                             "estimated_duration", "user_agent")},
            "actual_duration": life.seconds(),
            "processing_started_at": time_of(life.started_at),
            "processing_completed_at": time_of(life.end and life.end["emitted_at"]),
            **self._result(job_id, life),
            "progress_percentage": 100 if life.status == "completed" else max(
                [0] + [percent for percent, attempt in _reports(said) if attempt == life.attempt]),
            "current_step": _current_step(said, life.attempt),
            "error_message": body_of(life.end)["error_message"] if failed else None,
            "error_code": body_of(life.end)["error_code"] if failed else None,
            "retry_count": max(0, life.starts - 1),
            "client_ip": address(body["client_ip"]),
            "request_metadata": json_of(body["request_metadata"]),
            "created_at": time_of(made["emitted_at"] if requested is None else requested),
            "owner_id": uuid_of(body["owner_id"]),
            "placeholder": None,
        }

    def _result(self, job_id, life):
        """Of the object that was uploaded last, among those that are the result."""
        uploads = []
        for place in self._stored[job_id]:
            operations = self._objects[place]
            roles = sorted((moment(event), role) for event in operations
                           for role in [_role(event)] if role is not None)
            if not roles or roles[-1][1] == "result":
                uploads.append(max((event for event in operations if _is_upload(event)
                                    and event["job_id"] in (job_id, None)), key=moment))
        row = dict.fromkeys(("s3_bucket", "s3_key", "s3_region", "file_size", "result_url"))
        if life.end is not None:
            row["result_url"] = body_of(life.end).get("result_url")
        if not uploads:
            return row
        last = max(uploads, key=moment)
        place = last["bucket"], last["key"]
        row |= {"s3_bucket": last["bucket"], "s3_key": last["key"], "s3_region": last["region"],
                "file_size": last["file_size"]}
        if row["result_url"] is None:
            row["result_url"] = (f"https://{last['bucket']}.s3.{last['region']}.amazonaws.com/"
                                 f"{quote(last['key'], safe='/')}")
        if any(event["operation"] == "delete" and event["success"] and moment(event) > moment(last)
               for event in self._objects[place]):
            row["result_url"] = None
        return row

    def _elements(self, job_id, said, life, tables):
        first = {}
        for event in sorted(said["ElementAdded"], key=moment):
            first.setdefault(event["element_id"], event)
        taken = set()
        for element_id, event in first.items():
            body = body_of(event)
            if self._owner[element_id] != job_id:
                reason = "another job's"
            elif life.closed_at is not None and life.closed_at <= event["emitted_at"]:
                reason = "job has ended"
            elif body["element_order"] in taken:
                reason = "order taken"
            elif len(taken) == 10:
                reason = "eleventh"
            else:
                taken.add(body["element_order"])
                updates = [update for update in said["ElementUpdated"]
                           if update["element_id"] == element_id]
                tables["elements"].append(_element(job_id, event, updates))
                continue
            tables["element_refusals"].append({
                "element_id": uuid_of(element_id), "job_id": uuid_of(job_id),
                "element_order": body["element_order"], "reason": reason,
                "emitted_at": time_of(event["emitted_at"])})


def _is_upload(event):
    return event["operation"] == "upload" and event["success"]


def _role(event):
    metadata = json_of(event["metadata"])
    role = metadata.get("role") if isinstance(metadata, dict) else None
    return role if isinstance(role, str) else None


def _reports(said):
    for event in said["JobProgressed"] + said["StepCompleted"]:
        if body_of(event)["progress"] is not None:
            yield body_of(event)["progress"], event["attempt"]


def _current_step(said, attempt):
    begun = [(moment(event), event["step"]) for event in said["StepStarted"]
             if event["attempt"] == attempt]
    begun += [(moment(event), body_of(event)["step"]) for event in said["JobProgressed"]
              if event["attempt"] == attempt and body_of(event)["step"] is not None]
    return max(begun)[1] if begun else None


def _element(job_id, event, updates):
    body = body_of(event)
    row = {"id": uuid_of(event["element_id"]), "job_id": uuid_of(job_id),
           "created_at": time_of(event["emitted_at"]), "downloaded": False, "processed": False,
           "error_message": None, "local_path": None, "processed_path": None, **body}
    for update in sorted(updates, key=moment):
        row |= {name: value for name, value in body_of(update).items() if value is not None}
    row["metadata"] = json_of(body["metadata"])
    for name in ("source_duration", "start_time", "end_time"):
        row[name] = rounded(name, row[name])
    return row


def _steps(job_id, said):
    by_step = defaultdict(list)
    for event in said["StepStarted"] + said["StepCompleted"]:
        by_step[event["step"], event["step_order"]].append(event)
    for (step, order), events in by_step.items():
        attempt = max(event["attempt"] for event in events)
        starts, ends = ([event for event in events
                         if event["attempt"] == attempt and kind_of(event) == kind]
                        for kind in ("StepStarted", "StepCompleted"))
        start = min(starts, key=moment) if starts else None
        end = max(ends, key=moment) if ends else None
        body = body_of(end) if end else {}
        begun_at = (start or end)["emitted_at"]
        details = body.get("details")
        if details is None and start:
            details = body_of(start)["details"]
        yield {
            "id": uuid.uuid5(NAMES, f"render.step/{job_id}/{step}/{order}"),
            "job_id": uuid_of(job_id), "step": step, "step_order": order,
            "started_at": time_of(begun_at), "created_at": time_of(begun_at),
            "completed_at": time_of(end and end["emitted_at"]),
            "duration_ms": half_up(max(0, end["emitted_at"] - begun_at), 1000)
            if start and end else None,
            "success": body.get("success"), "progress_percentage": body.get("progress") or 0,
            "details": json_of(details), "error_message": body.get("error_message"),
            "cpu_usage": rounded("cpu_usage", body.get("cpu_usage")),
            "memory_usage": body.get("memory_usage"), "attempt": attempt,
        }


class _Life:
    """The state machine, over the words of one job."""

    def __init__(self, events):
        words = [event for event in events if kind_of(event) == "JobStatusChanged"
                 or body_of(event)["progress"] == 100]
        workers = [event for event in words if _word(event) != "cancelled"]
        self.status, self.attempt, self.starts = "pending", 1, 0
        self.end = self.started_at = self.closed_at = None
        self._start = None  # of the attempt that holds
        self._verdicts = []
        greatest = max((event["attempt"] for event in workers), default=1)

        def stands_in(event):
            if _word(event) != "cancelled":
                return event["attempt"]
            return max((other["attempt"] for other in workers if moment(other) < moment(event)),
                       default=1)

        def phase(event):
            if kind_of(event) == "JobProgressed":
                return 2
            return 0 if _word(event) in ("pending", "processing") else 1

        for event in sorted(words, key=lambda one: (stands_in(one), phase(one), moment(one))):
            attempt = stands_in(event)
            before = self.status
            verdict = self._judge(event, attempt, attempt == greatest)
            self._verdicts.append((event, attempt, before, verdict))
            if verdict in ("accepted", "implied start"):
                self._accept(event, attempt, verdict)

    def _judge(self, event, attempt, last):
        word, now = _word(event), self.status
        if word == "pending":
            return "repeated" if now == "pending" else "rejected"
        if (word, attempt) == (now, self.attempt):
            return "repeated"
        if now in ("completed", "cancelled"):
            return "rejected"
        if kind_of(event) == "JobProgressed":
            if not last or now in ("failed", "timeout"):
                return "rejected"
            return "accepted" if now == "processing" else "implied start"
        if word == "processing":
            return "accepted"
        if word == "cancelled":
            return "accepted" if now in ("pending", "processing") else "rejected"
        return "accepted" if now == "processing" else "implied start"

    def _accept(self, event, attempt, verdict):
        at = event["emitted_at"]
        if _word(event) == "processing":
            self._start = (attempt, at)
            self.started_at = at if self.started_at is None else min(at, self.started_at)
            self.starts += 1
            self.end = None
        else:
            if verdict == "implied start":
                self._start = None
                self.starts += 1
            self.end = event
        self.status, self.attempt = _word(event), attempt
        if self.status in ("completed", "cancelled"):
            self.closed_at = at

    def seconds(self):
        """The actual duration."""
        if self.end is None:
            return None
        told = body_of(self.end).get("processing_ms")
        if told is not None:
            return half_up(told, 1000)
        if self._start is None or self._start[0] != self.attempt:
            return None
        return half_up(max(0, self.end["emitted_at"] - self._start[1]), 1_000_000)

    def history(self, job_id):
        for event, attempt, before, verdict in self._verdicts:
            body = body_of(event)
            yield {"event_id": uuid_of(event["event_id"]), "job_id": uuid_of(job_id),
                   "attempt": attempt, "from_status": before, "to_status": _word(event),
                   "at": time_of(event["emitted_at"]), "verdict": verdict,
                   "cause": "progress" if kind_of(event) == "JobProgressed" else "status",
                   "error_message": body.get("error_message"),
                   "error_code": body.get("error_code")}


def _word(event):
    return "completed" if kind_of(event) == "JobProgressed" else body_of(event)["status"]

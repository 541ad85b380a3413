# SPDX-License-Identifier: Apache-2.0
"""The oracle of render by rules whose outcome is written by hand, the streams that it judges, and
the figures of a real log."""

from collections import Counter

import pytest
from lib import render_events as events
from lib import render_gaia, render_oracle
from lib.events import id_of
from lib.render_events import added, created, deleted, progressed, status, stored, updated
from lib.render_oracle import expected
from lib.render_stream import Stream

SEEDS = range(1, 9)
JOB, OTHER = id_of("job", 1), id_of("job", 2)
AT = 1_000_000


def the_job(*told, job=JOB):
    row, = [row for row in expected([created(JOB, 0), *told])["jobs"] if str(row["id"]) == job]
    return row


def history(*told):
    rows = expected([created(JOB, 0), *told])["job_status_history"]
    return [row["verdict"] for row in sorted(rows, key=lambda row: (row["at"], row["event_id"]))]


def test_status():
    late = status(JOB, "completed", 10 * AT), status(JOB, "processing", 11 * AT)
    assert the_job(*late)["status"] == "completed" and the_job(*late)["actual_duration"] == 0
    assert history(*late) == ["accepted", "accepted"]
    again = status(JOB, "failed", 1), status(JOB, "processing", 2, attempt=2)
    assert (the_job(*again)["status"], the_job(*again)["retry_count"]) == ("processing", 1)
    whole = progressed(JOB, 100, 10), status(JOB, "failed", 12)
    assert the_job(*whole)["status"] == "failed" and history(*whole) == ["rejected", "implied start"]
    assert the_job(status(JOB, "cancelled", 1), status(JOB, "completed", 2))["status"] == "cancelled"
    assert the_job(status(JOB, "failed", 1), status(JOB, "cancelled", 2))["status"] == "failed"


def test_progress_is_of_an_attempt():
    told = [progressed(JOB, 80, 1), progressed(JOB, 30, 2), status(JOB, "processing", 0)]
    assert the_job(*told)["progress_percentage"] == 80
    told.append(status(JOB, "processing", 3, attempt=2))
    assert the_job(*told)["progress_percentage"] == 0


def test_elements():
    ids = [id_of("element", number) for number in range(13)]
    told = [created(JOB, 0)] + [added(JOB, ids[n], n, n + 1) for n in range(11)]
    reasons = {row["element_id"]: row["reason"] for row in expected(told)["element_refusals"]}
    assert list(map(str, reasons)) == [ids[10]] and list(reasons.values()) == ["eleventh"]
    told += [added(OTHER, ids[0], 0, 0), added(JOB, ids[11], 1, 20)]
    reasons = {str(row["element_id"]): row["reason"] for row in expected(told)["element_refusals"]}
    assert reasons == {ids[0]: "another job's", ids[11]: "order taken"}
    row, = expected([created(JOB, 0), updated(JOB, ids[0], 0, downloaded=True),
                     added(JOB, ids[0], 0, 9)])["elements"]
    assert row["downloaded"] and not row["processed"]


def test_uploads_and_deletions():
    row = the_job(stored("upload", "a b", 1, job_id=JOB))
    assert row["result_url"] == "https://videos.s3.us-east-1.amazonaws.com/a%20b"
    row = the_job(stored("upload", "a b", 1, job_id=JOB), stored("delete", "a b", 2))
    assert row["s3_key"] == "a b" and row["result_url"] is None
    assert the_job(deleted(JOB, 0), stored("upload", "k", 7, job_id=JOB))["placeholder"]
    assert not expected([created(JOB, 0), deleted(JOB, 0)])["jobs"]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_rows_whatever_the_order(seed):
    stream = Stream(seed, jobs=12)
    want = expected(stream.events)
    assert expected(stream.deliveries(1)) == want
    assert expected(stream.events[::-1]) == want
    assert stream.events == Stream(seed, jobs=12).events


def test_streams_have_all_that_can_happen():
    tables = [expected(Stream(seed, jobs=12).events) for seed in SEEDS]
    verdicts = Counter(row["verdict"] for rows in tables for row in rows["job_status_history"])
    assert verdicts.keys() == {"accepted", "implied start", "repeated", "rejected"}
    reasons = Counter(row["reason"] for rows in tables for row in rows["element_refusals"])
    assert reasons.keys() == {"another job's", "job has ended", "order taken", "eleventh"}
    statuses = {row["status"] for rows in tables for row in rows["jobs"]}
    assert statuses == set(render_oracle.STATUSES)
    assert all(rows[table] for rows in tables for table in render_oracle.KEYS)
    refused = {events.topic_of(event) for event in Stream(1, jobs=1).events
               if render_oracle.refused(event)}
    assert refused == set(events.TOPICS)


def test_the_figures_of_a_real_log():
    told = list(render_gaia.all_events())
    assert sum(events.topic_of(event) == events.JOBS for event in told) == render_gaia.LIFECYCLE
    tables = expected(told)
    assert render_gaia.figures(tables["jobs"], tables["processing_timeline"]) == render_gaia.WHOLE

# SPDX-License-Identifier: Apache-2.0
"""What is ordered of render in SQL, by way of the outbox, Kafka and the consumers, to its rows and
notifications; rebuilds in between. Numbers are those of the mistakes that an earlier system made."""

import pytest

from lib import policies, render_live, render_sql
from lib.consumers import REPOSITORY
from lib.render_live import listening, open_live
from lib.render_sql import HERE, USER

REPORTS = 40  # of the progress of each of
JOBS = 60


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    with open_live(tmp_path_factory.mktemp("live")) as live:
        live.relay()
        live.start()
        yield live


def row(live, job, columns):
    return live.sql.execute(f"SELECT {columns} FROM jobs WHERE id = %s", [job]).fetchone()


def test_7_8_what_is_told_becomes_rows(live):
    with listening(live.sql, "job_status_change", "processing_timeline_update") as heard:
        _tell(live, heard)


def _tell(live, listen):
    call = live.sql.call
    job = str(call("anon", "create_job('mp4', 1920, 1080, 25, '127.0.0.1'::inet, 'test-agent', '{}')", address=HERE))
    owned = call("user", "create_job_with_elements('webm', 640, 480, %s)", '[{"type": "video", "source_url": "a"}]')
    live.wait("SELECT count(*)::int FROM elements WHERE job_id = %s", 1, [owned["job_id"]])
    live.wait("SELECT host(client_ip) FROM jobs WHERE id = %s", HERE, [job])
    element = owned["elements"][0]["element_id"]
    # By a worker that does not wait for rows.
    for statement, *given in (
            ("update_job_status(%s, 'processing')", job), ("update_job_progress(%s, 100)", job),
            ("update_job_status(%s, 'failed', 'the upload failed', 'E1')", job),
            ("update_job_status(%s, 'processing')", owned["job_id"]),
            ("update_element_status(%s, true, true, error_msg => 'none')", element),
            ("log_url_access(NULL, 'https://x', 'download', '::1', country_val => 'de')",),
            ("record_system_metric('m', 'gauge', 1.2345675, 's', '{\"a\": 1}')",)):
        call("service", statement, *given)
    step = call("service", "start_processing_step(%s, 'encoding', 1)", owned["job_id"])
    call("service", "complete_processing_step(%s, true, 50, NULL, NULL, 12.345, 99)", step)
    call("service", "complete_job_with_s3_upload(%s, 'bucket', 'a b.mp4', 'eu-west-1', NULL, 1000, 5500)",
         owned["job_id"])
    live.settle()
    assert row(live, job, "status::text, error_message, retry_count, progress_percentage") == (
        "failed", "the upload failed", 0, 100)
    assert row(live, owned["job_id"], "status::text, actual_duration, file_size, result_url, owner_id::text") == (
        "completed", 6, 1000, "https://bucket.s3.eu-west-1.amazonaws.com/a%20b.mp4", USER)
    assert live.sql.value("SELECT downloaded AND processed FROM elements WHERE id = %s", [element])
    assert live.sql.execute("SELECT id, success, cpu_usage::text, memory_usage FROM processing_timeline").fetchone() == (
        step, True, "12.35", 99)
    assert live.sql.value("SELECT value::text FROM system_metrics WHERE metric_name = 'm'") == "1.234568"
    # Once more, and well.
    assert call("service", "update_job_status(%s, 'processing')", job)
    call("service", "complete_job_with_s3_upload(%s, 'bucket', 'c', NULL, 'https://r', 5, 1000)", job)
    live.wait("SELECT status::text FROM jobs WHERE id = %s", "completed", [job])
    assert row(live, job, "error_message, error_code, retry_count, result_url") == (None, None, 1, "https://r")
    heard = listen()
    assert {"completed"} == {one["new_status"] for one in heard
                             if one["job_id"] == job and "new_status" in one and one["result_url"] == "https://r"}
    assert {one["step"] for one in heard if "step" in one} == {"encoding"}
    assert live.sql.value("SELECT count(*) FROM projectionist.dead_letters") == 0
    assert live.sql.value("SELECT count(*) FROM render_private.outbox_failed") == 0
    assert live.sql.call("anon", "count(*)::int FROM job_summary", address=HERE) == 1


def test_no_more_updates_than_jobs_times_commits(live):
    """Of many reports of progress a batch makes one UPDATE a job."""
    live.settle()
    jobs = [live.sql.value("SELECT create_job('mp4', 1, 1)") for _ in range(JOBS)]
    live.settle()
    worker = next(one for one in live.consumers.all if one.name == "render-jobs")
    updates = "SELECT n_tup_upd::int FROM pg_stat_user_tables WHERE relname = 'jobs' AND schemaname = 'public'"
    # Statistics are a session's own until it ends, or is idle.
    before, commits = live.sql.value(updates), worker.metric("projectionist_batches_total")
    live.sql.execute("SELECT update_job_progress(j, p) FROM unnest(%s::uuid[]) AS j, generate_series(1, %s) AS p",
                     [jobs, REPORTS])
    live.settle()
    commits = worker.metric("projectionist_batches_total") - commits
    live.wait("SELECT min(progress_percentage) FROM jobs WHERE id = ANY (%s)", REPORTS, [jobs])
    worker.stop()
    live.wait(f"SELECT n > %s FROM ({updates.replace('::int', '::int AS n')}) AS s", True, [before])
    made = live.sql.value(updates) - before
    live.start("render-jobs")
    assert made <= JOBS * commits and made < JOBS * REPORTS, f"{made} updates in {commits} commits"


def test_15_17_jobs_that_are_removed_are_counted_once_and_a_rebuild_tells_nobody(live):
    job = str(live.sql.value("SELECT create_job('mp4', 1, 1)"))
    live.sql.value("SELECT update_job_status(%s, 'cancelled')", [job])
    live.settle()
    live.wait("SELECT status::text FROM jobs WHERE id = %s", "cancelled", [job])
    before = live.sql.value("SELECT count(*)::int FROM system_metrics WHERE metric_name = 'job_deleted'")
    ended = live.sql.value("SELECT count(*)::int FROM jobs WHERE status IN ('completed', 'failed', 'cancelled', 'timeout')")
    assert live.sql.value("SELECT cleanup_old_jobs(0)") == ended >= 1
    live.wait("SELECT count(*)::int FROM jobs WHERE id = %s", 0, [job])
    live.settle()
    counted = "SELECT count(*)::int FROM system_metrics WHERE metric_name = 'job_deleted'"
    live.wait(counted, before + ended)
    live.command("verify", "render")
    # A rebuild that has something to write.
    for name, broken in (("render-jobs", "UPDATE jobs SET progress_percentage = 1"),
                         ("render-metrics", "DELETE FROM system_metrics")):
        live.sql.execute(broken)
        live.command("verify", name, status=1)
        with listening(live.sql, "job_status_change", "processing_timeline_update") as heard:
            live.command("rebuild", "--yes", name)
            live.command("verify", name)
            assert heard() == []
    assert live.sql.value(counted) == before + ended
    assert live.sql.value("SELECT count(*)::int FROM render_private.outbox") == 0


def test_what_was_trimmed_is_missed_by_nobody(live):
    live.sql.value("SELECT record_system_metric('old', 'gauge', 1)")
    live.settle()
    live.wait("SELECT count(*)::int FROM system_metrics WHERE metric_name = 'old'", 1)
    assert live.sql.value("SELECT cleanup_old_metrics(0)") >= 1
    live.command("verify", "render-metrics")
    live.command("rebuild", "--yes", "render-metrics")
    assert live.sql.value("SELECT count(*)::int FROM system_metrics WHERE metric_name = 'old'") == 0


def test_after_rollback_and_migrate_the_tables_are_filled_from_the_beginning(tmp_path):
    """The offsets of render's consumers went with the tables."""
    with open_live(tmp_path) as live:
        live.relay()
        live.start()
        job = live.sql.value("SELECT create_job('mp4', 1, 1)")
        live.settle()
        live.consumers.end()
        live.consumers.all.clear()
        folder = REPOSITORY / "deploy/render/database"
        policies.psql(live.sql.dsn, "-f", folder / "rollback.sql")
        live.command("migrate", "render")
        live.sql.execute("INSERT INTO render_private.trusted_proxies VALUES (%s)", [render_sql.PROXY])
        live.start()
        live.wait("SELECT count(*)::int FROM jobs WHERE id = %s", 1, [job])


def test_the_consumers_are_those_of_the_system(live):
    said = live.command("status", "--json")
    assert all(f'"{live.prefix}{name}"' in said for name in render_live.CONSUMERS)

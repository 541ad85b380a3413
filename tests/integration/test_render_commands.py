# SPDX-License-Identifier: Apache-2.0
"""What is ordered of the rendering platform and told of its work, by whom, and which events follow; what
is asked of its tables. Numbers are those of the mistakes that an earlier system of this kind made."""

import concurrent.futures
import itertools
import json
import uuid

import psycopg
import pytest
from psycopg.errors import (InsufficientPrivilege, InvalidParameterValue, NoDataFound,
                            ObjectNotInPrerequisiteState)

from lib import render_sql
from lib.render_sql import ELSEWHERE, HERE, STRANGER, USER

CREATE = "create_job('mp4', 1920, 1080, 25, '127.0.0.1'::inet, 'test-agent', '{}')"
ENUM = ["pending", "processing", "completed", "failed", "cancelled", "timeout"]
AFTER = {"pending": {"processing", "cancelled"},
         "processing": {"completed", "failed", "cancelled", "timeout"},
         "failed": {"processing"}, "timeout": {"processing"}, "completed": set(), "cancelled": set()}


@pytest.fixture(scope="module")
def prepared():
    with render_sql.prepared() as database:
        yield database


@pytest.fixture
def database(prepared):
    """Without rows and orders."""
    prepared.execute("TRUNCATE jobs, system_metrics CASCADE; DELETE FROM projectionist.trims; "
                     "TRUNCATE render_private.outbox, render_private.job_guards, "
                     "render_private.element_guards, render_private.step_guards, render_private.rate_hits")
    return prepared


def order(database, status="pending", **columns):
    """A job with a row; told of by nobody here."""
    return database.job(status=status, **columns)


def told(body, job, attempt=1):
    return ("render.jobs", job, {"job_id": job, "attempt": attempt, "body": body})


def changed(job, status, attempt=1, message=None, code=None):
    return told({"type": "JobStatusChanged", "status": status, "error_message": message,
                 "error_code": code}, job, attempt)


# --- jobs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("who, address, owner", [
    ("anon", HERE, None), ("anon", None, None), ("user", HERE, USER), ("admin", None, None),
    ("account", HERE, None), ("service", None, None)])
def test_16_create_job_works_for_each_role_whatever_address_it_names(database, who, address, owner):
    job = str(database.call(who, CREATE, address=address))
    wanted = "127.0.0.1" if who in ("account", "service") else address
    assert database.events() == [told({
        "type": "JobCreated", "output_format": "mp4", "width": 1920, "height": 1080,
        "estimated_duration": 25, "client_ip": wanted, "user_agent": "test-agent",
        "request_metadata": "{}", "owner_id": owner}, job)]
    # Only the projection makes the row.
    assert database.value("SELECT count(*) FROM jobs") == 0


@pytest.mark.parametrize("arguments", [
    "'gif', 1, 1", "NULL, 1, 1", "'mp4', 0, 1", "'mp4', 7681, 1", "'mp4', 1, 4321", "'mp4', NULL, 1",
    "'mp4', 1, NULL", "'mp4', 1, 1, -1", "'mp4', 1, 1, NULL, '10.0.0.0/8'",
    "'mp4', 1, 1, NULL, NULL, repeat('x', 3500000)"])
def test_what_would_be_a_dead_letter_is_refused_at_once(database, arguments):
    database.refused(InvalidParameterValue, "service", f"create_job({arguments})")
    assert database.events() == []


@pytest.mark.parametrize("status, new", list(itertools.product(ENUM, ENUM)))
def test_the_guard_decides_what_may_follow(database, status, new):
    job = order(database, status)
    if new in AFTER[status]:
        assert database.call("service", "update_job_status(%s, %s, 'why', 'E1')", job, new)
        attempt = 2 if status in ("failed", "timeout") else 1
        assert database.events() == [changed(job, new, attempt, "why", "E1")]
        # The row still says what it said; the guard does not.
        assert database.value("SELECT status::text FROM render_private.job_guards") == new
        assert f"from {new} to" in database.refused(ObjectNotInPrerequisiteState, "service",
                                                    "update_job_status(%s, 'pending')", job)
    else:
        message = database.refused(ObjectNotInPrerequisiteState, "service",
                                   "update_job_status(%s, %s)", job, new)
        assert f"Invalid status transition from {status} to {new}" in message
        assert database.events() == []


def test_of_two_who_end_a_job_at_once_one_is_refused(database):
    job = order(database, "processing")
    with psycopg.connect(database.dsn) as first:
        first.execute("SELECT update_job_status(%s, 'completed')", [job])
        with concurrent.futures.ThreadPoolExecutor() as pool, psycopg.connect(database.dsn) as other:
            second = pool.submit(other.execute, "SELECT update_job_status(%s, 'cancelled')", [job])
            with pytest.raises(concurrent.futures.TimeoutError):
                second.result(0.3)
            first.commit()
            with pytest.raises(ObjectNotInPrerequisiteState, match="from completed to cancelled"):
                second.result(10)
    assert database.events() == [changed(job, "completed")]


def test_times_of_one_job_rise(database):
    job = order(database, "processing")
    database.execute("SELECT update_job_progress(%s, n) FROM generate_series(1, 100) AS n", [job])
    times = [at for at, in database.execute(
        "SELECT (body ->> 'emitted_at')::bigint FROM render_private.outbox ORDER BY id").fetchall()]
    assert len(times) == 100 and times == sorted(set(times))
    # Also where the clock was set back.
    database.execute("UPDATE render_private.job_guards SET last_at = now() + interval '1 hour'")
    database.execute("SELECT update_job_progress(%s, 1), update_job_progress(%s, 2)", [job, job])
    first, second = (at for at, in database.execute(
        "SELECT (body ->> 'emitted_at')::bigint FROM render_private.outbox ORDER BY id OFFSET 100").fetchall())
    assert first > times[-1] + 3_000_000_000 and second == first + 1


def test_a_guard_that_says_less_than_the_row_follows_it(database):
    job = str(database.call("service", CREATE))
    database.events()
    # By another way: it began, failed, began again.
    database.job(id=job, status="processing", retry_count=1)
    for number, (attempt, word) in enumerate([(1, "processing"), (1, "failed"), (2, "processing")]):
        database.execute("INSERT INTO job_status_history VALUES (gen_random_uuid(), %s, %s, 'pending', %s, "
                         "now() + make_interval(secs => %s), 'accepted', 'status')",
                         [job, attempt, word, number])
    assert database.call("service", "update_job_status(%s, 'failed')", job)
    assert database.events() == [changed(job, "failed", attempt=2)]
    # What it said itself since is newer than that row.
    assert database.call("service", "update_job_status(%s, 'processing')", job)
    assert database.events() == [changed(job, "processing", attempt=3)]
    assert database.call("service", "update_job_progress(%s, 5, 'upload')", job)
    assert database.events() == [told({"type": "JobProgressed", "progress": 5, "step": "upload"}, job, 3)]


def test_8_a_job_of_100_percent_may_still_fail(database):
    job = order(database, "completed", progress_percentage=100)
    database.execute("INSERT INTO job_status_history VALUES (gen_random_uuid(), %s, 1, 'processing', "
                     "'completed', now(), 'accepted', 'progress')", [job])
    assert database.call("service", "update_job_status(%s, 'failed', 'the upload failed')", job)
    assert database.events() == [changed(job, "failed", message="the upload failed")]


def test_who_owns_a_job_may_cancel_it_and_nothing_else(database):
    owned = order(database, owner_id=USER)
    of_address = order(database, client_ip=HERE)
    nobodys = order(database)
    database.refused(InsufficientPrivilege, "user", "update_job_status(%s, 'processing')", owned)
    for who, job, address in (("stranger", owned, HERE), ("anon", owned, HERE), ("anon", of_address, ELSEWHERE),
                              ("anon", of_address, None), ("anon", nobodys, None), ("user", nobodys, HERE)):
        assert f"Job not found: {job}" in database.refused(
            NoDataFound, who, "update_job_status(%s, 'cancelled')", job, address=address)
    assert database.call("user", "update_job_status(%s, 'cancelled')", owned)
    assert database.call("anon", "update_job_status(%s, 'cancelled')", of_address, address=HERE)
    assert database.call("admin", "update_job_status(%s, 'cancelled')", nobodys)
    assert database.events() == [changed(job, "cancelled") for job in (owned, of_address, nobodys)]


def test_an_unknown_job_is_not_found(database):
    unknown, placeholder = str(uuid.uuid4()), order(database, placeholder=True)
    for job in (unknown, placeholder):
        assert database.call("service", "update_job_progress(%s, 1)", job) is False
        for call in ("update_job_status(%s, 'processing')", "start_processing_step(%s, 'upload', 1)",
                     "add_job_element(%s, 'text', 'x', 0)",
                     "complete_job_with_s3_upload(%s, 'bucket', 'k', NULL, NULL, 1, 1)"):
            assert f"Job not found: {job}" in database.refused(NoDataFound, "service", call, job)
    assert database.call("service", "update_element_status(%s, true)", unknown) is False
    assert database.call("service", "complete_processing_step(%s, true)", unknown) is False
    assert database.events() == []


# --- elements -------------------------------------------------------------------------------------


def element(database, job, order=0, who="service", **options):
    return str(database.call(who, "add_job_element(%s, 'video', 'https://a/b.mp4', %s)", job, order,
                             **options))


def test_an_element_is_told_as_it_is(database):
    job = order(database, "pending")
    found = str(database.call("service", "add_job_element(%s, 'audio', 'x', 3, 2, '1%%', '2.5%%', '3%%', "
                              "'4%%', 'fill', 1.0004, 2.5, '{\"a\": 1}')", job))
    (topic, key, event), = database.events()
    assert (topic, key, event.pop("element_id"), event.pop("job_id")) == ("render.elements", job, found, job)
    assert event == {"body": {"ElementAdded": {
        "element_order": 3, "type": "audio", "source_url": "x", "source_filename": None,
        "source_size": None, "source_duration": None, "track": 2, "x_position": "1%",
        "y_position": "2.5%", "width": "3%", "height": "4%", "fit_mode": "fill", "start_time": 1.0,
        "end_time": 2.5, "metadata": '{"a": 1}'}}}
    assert database.call("service", "update_element_status(%s, true, NULL, 'p', source_size_val => 7)", found)
    assert database.events() == [("render.elements", job, {"job_id": job, "element_id": found, "body": {
        "type": "ElementUpdated", "downloaded": True, "processed": None, "local_path": "p",
        "processed_path": None, "error_message": None, "source_size": 7, "source_duration": None}})]


def test_a_place_is_given_once_and_ten_are_all(database):
    job = order(database)
    # One came by another way.
    database.execute("INSERT INTO elements (id, job_id, element_order, type, source_url) "
                     "VALUES (gen_random_uuid(), %s, 0, 'text', 'x')", [job])
    assert "has an element 0 already" in database.refused(
        ObjectNotInPrerequisiteState, "service", "add_job_element(%s, 'text', 'x', 0)", job)

    def add(place):
        with psycopg.connect(database.dsn) as connection:
            try:
                connection.execute("SELECT add_job_element(%s, 'text', 'x', %s)", [job, place])
                return True
            except ObjectNotInPrerequisiteState:
                return False

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, [n // 2 for n in range(2, 40)])) == 9
    assert "has ten elements" in database.refused(
        ObjectNotInPrerequisiteState, "service", "add_job_element(%s, 'text', 'x', 99)", job)


def test_9_the_elements_of_a_job_with_ten_can_be_updated(database):
    job = order(database)
    ids = [element(database, job, place) for place in range(10)]
    database.events()
    assert all(database.call("service", "update_element_status(%s, true, true)", one) for one in ids)
    assert len(database.events()) == 10


def test_a_job_that_has_ended_takes_no_element(database):
    for status in ("completed", "cancelled"):
        assert "has ended" in database.refused(ObjectNotInPrerequisiteState, "service",
                                               "add_job_element(%s, 'text', 'x', 0)", order(database, status))


def test_only_who_owns_a_job_adds_to_it(database):
    job = order(database, owner_id=USER)
    element(database, job, 0, "user")
    for who in ("stranger", "anon", "admin"):
        database.refused(NoDataFound, who, "add_job_element(%s, 'text', 'x', 1)", job)
    assert len(database.events()) == 1


@pytest.mark.parametrize("arguments", [
    "'video', 'x', -1", "'video', 'x', NULL", "'video', '', 0", "'video', NULL, 0", "NULL, 'x', 0",
    "'video', 'x', 0, 0, '10'", "'video', 'x', 0, 0, '-1%%'", "'video', 'x', 0, 0, '1000000.000%%'",
    "'video', 'x', 0, start_time_val => -1", "'audio', 'x', 0, start_time_val => 2, end_time_val => 2",
    "'video', 'x', 0, end_time_val => 'NaN'", "'video', 'x', 0, end_time_val => 10000000"])
def test_an_element_that_would_be_a_dead_letter_is_refused(database, arguments):
    database.refused(InvalidParameterValue, "service", f"add_job_element('{order(database)}', {arguments})")


def test_a_job_with_its_elements_is_all_or_nothing(database):
    made = database.call("user", "create_job_with_elements('webm', 640, 480, %s)", json.dumps([
        {"type": "video", "source_url": "a"}, {"type": "text", "source_url": "b", "element_order": 7,
                                               "metadata": {"font": "x"}, "source_size": 5}]))
    assert [one["order"] for one in made["elements"]] == [0, 7]
    created, first, second = database.events()
    assert created[2]["job_id"] == first[2]["job_id"] == made["job_id"]
    assert second[2]["body"]["ElementAdded"]["metadata"] == '{"font": "x"}'
    text = {"type": "text", "source_url": "x"}
    for elements in ([text] * 11, [text | {"element_order": 0}] * 2, [text | {"colour": 1}], [1], {}, None,
                     [{"type": "text"}], [text | {"track": 1.5}], [text | {"type": "song"}]):
        with pytest.raises(psycopg.Error):
            database.call("user", "create_job_with_elements('webm', 640, 480, %s)",
                          elements and json.dumps(elements))
    assert database.events() == [] and database.value("SELECT count(*) FROM render_private.job_guards") == 1


# --- steps, storage, metrics ----------------------------------------------------------------------


def test_10_a_step_may_start_again_in_a_new_attempt(database):
    job = order(database, "processing")
    start = "start_processing_step(%s, 'encoding', 2, '{\"preset\": \"fast\"}')"
    step = str(database.call("service", start, job))
    assert step == str(uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_DNS, "projectionist"),
                                  f"render.step/{job}/encoding/2"))
    database.call("service", "update_job_status(%s, 'failed')", job)
    database.call("service", "update_job_status(%s, 'processing')", job)
    assert str(database.call("service", start, job)) == step
    assert database.call("service", "complete_processing_step(%s, true, 40, NULL, NULL, 99.999, 12)", step)
    events = [event for topic, _, event in database.events() if topic == "render.timeline"]
    assert [(event["attempt"], event["body"]["type"]) for event in events] == [
        (1, "StepStarted"), (2, "StepStarted"), (2, "StepCompleted")]
    assert events[2]["body"] == {"type": "StepCompleted", "success": True, "progress": 40, "details": None,
                                 "error_message": None, "cpu_usage": 100.0, "memory_usage": 12}


def test_an_upload_completes_its_job_or_neither_is_told(database):
    job = order(database, "processing")
    for wrong in ("'B', 'k', NULL, NULL, 1, 1", "'bucket', '', NULL, NULL, 1, 1",
                  "'bucket', 'k', NULL, NULL, 0, 1", "'bucket', 'k', NULL, NULL, 1, -1"):
        database.refused(InvalidParameterValue, "service", f"complete_job_with_s3_upload(%s, {wrong})", job)
    assert database.events() == []
    assert database.call("service", "complete_job_with_s3_upload(%s, 'bucket', 'a/b.mp4', 'eu-west-1', "
                         "'https://x', 1000, 5500)", job)
    storage, status = database.events()
    assert storage == ("render.storage", job, {
        "job_id": job, "operation": "upload", "bucket": "bucket", "key": "a/b.mp4", "region": "eu-west-1",
        "success": True, "file_size": 1000, "duration_ms": None, "error_message": None, "metadata": None})
    assert status == told({"type": "JobStatusChanged", "status": "completed", "processing_ms": 5500,
                           "result_url": "https://x"}, job)
    database.refused(ObjectNotInPrerequisiteState, "service",
                     "complete_job_with_s3_upload(%s, 'bucket', 'k', NULL, NULL, 1, 1)", job)


def test_what_is_of_no_job_has_another_key(database):
    operation = str(database.call("service", "log_storage_operation(NULL, 'delete', 'bucket', 'a b')"))
    access = str(database.call("service", "log_url_access(NULL, 'https://x', 'download', '::1')"))
    metric = str(database.call("service", "record_system_metric('m', 'gauge', 1.23456789, 's', "
                               "'{\"a\": 1}')"))
    rows = database.execute("SELECT topic, key, event_id::text FROM render_private.outbox ORDER BY id")
    assert rows.fetchall() == [("render.storage", "bucket/a b", operation),
                               ("render.access", access, access), ("render.metrics", metric, metric)]
    assert database.events()[2][2] == {"metric_name": "m", "metric_type": "gauge", "value": 1.234568,
                                       "unit": "s", "labels": '{"a": 1}'}
    for wrong in ("'', 'gauge', 1", "'m', 'sum', 1", "'m', 'counter', -1", "'m', 'gauge', NULL",
                  "'m', 'gauge', 'NaN'", "'m', 'gauge', 1e9"):
        database.refused(InvalidParameterValue, "service", f"record_system_metric({wrong})")


def test_2_of_200_calls_at_once_exactly_100_are_let_through(database):
    def ask(_):
        with psycopg.connect(database.dsn, autocommit=True) as connection:
            return sum(connection.execute("SELECT check_rate_limit('x', 100)").fetchone()[0]
                       for _ in range(100))

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(ask, range(2))) == 100
    events = database.events()
    assert len(events) == 100 and {topic for topic, _, _ in events} == {"render.metrics"}
    assert json.loads(events[0][2]["labels"])["event_type"] == "rate_limit_exceeded"


def test_who_asks_for_the_last_place_waits_for_who_has_it(database):
    assert database.value("SELECT check_rate_limit('x', 2)")
    with psycopg.connect(database.dsn) as first, psycopg.connect(database.dsn, autocommit=True) as other, \
            concurrent.futures.ThreadPoolExecutor() as pool:
        assert first.execute("SELECT check_rate_limit('x', 2)").fetchone() == (True,)
        second = pool.submit(other.execute, "SELECT check_rate_limit('x', 2)")
        with pytest.raises(concurrent.futures.TimeoutError):
            second.result(0.3)
        first.commit()
        assert second.result(10).fetchone() == (False,)


def test_a_short_window_does_not_make_a_long_one_forget(database):
    assert database.call("service", "check_rate_limit('x', 2, '1 hour')")
    database.execute("UPDATE render_private.rate_hits SET hits = ARRAY[now() - interval '10 minutes']")
    assert database.call("service", "check_rate_limit('x', 1, '1 minute')")
    assert not database.call("service", "check_rate_limit('x', 2, '1 hour')")
    database.execute("UPDATE render_private.rate_hits SET hits = ARRAY[now() - interval '61 minutes']")
    assert database.call("service", "check_rate_limit('x', 1, '1 hour')")
    assert not database.call("service", "check_rate_limit('y', 0)")


def test_13_a_security_event_is_told_by_services_alone(database):
    for who in ("anon", "user", "admin"):
        database.refused(InsufficientPrivilege, who, "log_security_event('x')")
    database.call("account", "log_security_event('unauthorized_access', '{\"details\": \"...\"}')", address=HERE)
    (_, _, event), = database.events()
    assert json.loads(event["labels"]) == {
        "event_type": "unauthorized_access", "user_role": "service_account", "user_id": None,
        "client_ip": HERE, "details": {"details": "..."}}


@pytest.mark.parametrize("call", [
    "update_job_progress(gen_random_uuid(), 1)", "update_element_status(gen_random_uuid())",
    "start_processing_step(gen_random_uuid(), 'upload', 1)", "log_security_event('x')",
    "complete_processing_step(gen_random_uuid(), true)", "check_rate_limit('x')",
    "log_storage_operation(NULL, 'delete', 'bucket', 'k')", "log_url_access(NULL, 'x', 'y')",
    "complete_job_with_s3_upload(gen_random_uuid(), 'bucket', 'k', NULL, NULL, 1, 1)",
    "record_system_metric('m', 'gauge', 1)", "cleanup_old_jobs()", "cleanup_old_metrics()",
    "enforce_data_retention()"])
def test_who_is_no_service_tells_nothing(database, call):
    for who in ("anon", "user") + (() if "cleanup" in call or "enforce" in call else ("admin",)):
        database.refused(InsufficientPrivilege, who, call)
    assert database.events() == []


# --- what is old ----------------------------------------------------------------------------------


def test_6_15_jobs_that_have_ended_are_removed_with_one_metric_each(database):
    old = {status: order(database, status, created_at="2020-01-01") for status in ENUM}
    order(database, "completed")
    order(database, "completed", created_at="2020-01-01", placeholder=True)
    # One is being tried again: its row does not say so yet.
    tried = order(database, "failed", created_at="2020-01-01")
    database.call("service", "update_job_status(%s, 'processing')", tried)
    database.events()
    assert database.call("admin", "cleanup_old_jobs(30)") == 4
    events = database.events()
    deleted = {key for topic, key, event in events
               if topic == "render.jobs" and event["body"]["type"] == "JobDeleted"}
    assert deleted == {old[status] for status in ("completed", "failed", "cancelled", "timeout")}
    assert [event["metric_name"] for topic, _, event in events if topic == "render.metrics"] == [
        "job_deleted"] * 4
    assert len(events) == 8
    # Their rows are still there: a second call finds them, and tells nothing again.
    assert database.call("admin", "cleanup_old_jobs(30)") == 0
    database.refused(NoDataFound, "service", "update_job_status(%s, 'processing')", old["failed"])
    for wrong in ("-1", "NULL"):
        database.refused(InvalidParameterValue, "service", f"cleanup_old_jobs({wrong})")


def test_what_is_trimmed_stays_away(database):
    database.execute("INSERT INTO system_metrics (id, metric_name, metric_type, value, recorded_at) "
                     "SELECT gen_random_uuid(), 'm', 'gauge', 1, now() - n * interval '1 day' "
                     "FROM generate_series(1, 40) AS n")
    database.execute("INSERT INTO url_access_logs (id, url, access_type, accessed_at) SELECT "
                     "gen_random_uuid(), 'x', 'y', now() - n * interval '1 day' FROM generate_series(1, 9) AS n")
    assert database.call("service", "cleanup_old_metrics(35)") == 6
    assert database.call("service", "enforce_data_retention()") == 5 + 3
    assert database.value("SELECT count(*) FROM system_metrics") == 29
    assert database.value("SELECT before BETWEEN now() - interval '30 days 1 minute' AND now() - interval "
                          "'30 days' FROM projectionist.trims WHERE table_name = 'system_metrics'")
    assert [(json.loads(event["labels"])["table"], event["value"]) for _, _, event in database.events()] == [
        ("jobs", 0), ("system_metrics", 5), ("url_access_logs", 3)]


# --- reading --------------------------------------------------------------------------------------


def test_3_4_an_address_that_a_client_names_itself_shows_nothing(database):
    job = order(database, client_ip=ELSEWHERE, user_agent="private")
    order(database, client_ip=None)
    for query in ("count(*) FROM jobs", "count(*) FROM job_summary", "count(*) FROM job_progress_subscription",
                  "count(*) FROM job_status_realtime", "count(*) FROM active_jobs"):
        assert database.call("anon", query, address=ELSEWHERE) == 1
        assert database.call("anon", query, address=HERE, forwarded=ELSEWHERE) == 0
        assert database.call("anon", query) == 0
    assert database.call("anon", "can_subscribe_to_job(%s)", job, address=ELSEWHERE)
    assert not database.call("anon", "can_subscribe_to_job(%s)", job, address=HERE, forwarded=ELSEWHERE)
    # As long as no proxy is trusted, nobody has an address.
    with database.connection.transaction(force_rollback=True):
        database.execute("TRUNCATE render_private.trusted_proxies")
        assert database.call("anon", "count(*) FROM jobs", address=ELSEWHERE) == 0


@pytest.mark.parametrize("said, address", [
    ("203.0.113.7, 10.1.2.3", HERE), ("1.1.1.1, 203.0.113.7:80, 10.1.2.3", HERE),
    ("1.1.1.1, [2001:db8::1]:443,10.1.2.3", "2001:db8::1"), ("203.0.113.7", HERE), ("10.1.2.3", None),
    ("203.0.113.7, nonsense, 10.1.2.3", None), ("0.0.0.0/0, 10.1.2.3", None), ("", None)])
def test_the_address_is_the_last_that_no_trusted_proxy_has(database, said, address):
    with database.connection.transaction(force_rollback=True):
        database.execute("SELECT set_config('request.headers', %s, true)", [json.dumps({"x-forwarded-for": said})])
        assert database.value("SELECT host(get_client_ip())") == address
        database.execute("TRUNCATE render_private.trusted_proxies")
        assert database.value("SELECT get_client_ip()") is None
    for broken in ("{", "[]", "x"):
        with database.connection.transaction(force_rollback=True):
            database.execute("SELECT set_config('request.headers', %s, true)", [broken])
            assert database.value("SELECT get_client_ip()") is None


@pytest.mark.parametrize("claims, role", [
    ("", "anon"), ("{", "anon"), ("[]", "anon"), ('"x"', "anon"), ('{"role": "authenticated"}', "authenticated"),
    ('{"role": "service_role"}', "service_account"), ('{"app_metadata": {"role": "admin"}}', "admin"),
    ('{"role": "authenticated", "app_metadata": {"role": "service_account"}}', "service_account"),
    ('{"role": "authenticated", "app_metadata": {"role": "king"}}', "authenticated"),
    ('{"role": "authenticated", "user_metadata": {"role": "admin"}}', "authenticated")])
def test_a_token_says_who_asks(database, claims, role):
    with database.connection.transaction(force_rollback=True):
        database.execute("SET LOCAL ROLE anon")
        database.execute("SELECT set_config('request.jwt.claims', %s, true)", [claims])
        assert database.execute("SELECT auth.user_role(), auth.is_admin(), auth.is_service(), auth.user_id()"
                                ).fetchone() == (role, role == "admin", role == "service_account", None)


def test_5_nobody_writes_a_row(database):
    job = order(database, owner_id=USER, client_ip=HERE)
    for who in ("anon", "user", "account", "admin"):
        for statement in ("INSERT INTO jobs (id, status, response_type, width, height, result_url) VALUES "
                          "(gen_random_uuid(), 'completed', 'async', 1, 1, 'x')",
                          "UPDATE jobs SET status = 'completed'", "UPDATE jobs SET result_url = 'x'",
                          "UPDATE jobs SET client_ip = NULL", "DELETE FROM jobs", "TRUNCATE jobs CASCADE"):
            with pytest.raises(InsufficientPrivilege), database.as_caller(who, address=HERE) as connection:
                connection.execute(statement)
    assert database.value("SELECT status::text FROM jobs WHERE id = %s", [job]) == "pending"


def test_12_nobody_may_listen_to_a_job_that_is_not_there(database):
    job, unknown = order(database, owner_id=USER), str(uuid.uuid4())
    hidden = order(database, placeholder=True)
    for who in render_sql.CALLERS:
        assert database.call(who, "can_subscribe_to_job(%s)", unknown) is False
        assert database.call(who, "can_subscribe_to_job(%s)", hidden) is False
        assert database.call(who, "can_subscribe_to_job(%s)", job) is (
            who in ("user", "admin", "account", "service"))


def test_what_belongs_to_a_job_is_seen_with_it(database):
    job = order(database, "processing", owner_id=USER)
    database.execute("""
        INSERT INTO elements (id, job_id, element_order, type, source_url) VALUES (gen_random_uuid(), %(j)s, 0, 'text', 'x');
        INSERT INTO element_refusals VALUES (gen_random_uuid(), %(j)s, 0, 'order taken', now());
        INSERT INTO processing_timeline (id, job_id, step, step_order, started_at, success) VALUES
            (gen_random_uuid(), %(j)s, 'upload', 0, now(), true);
        INSERT INTO job_status_history VALUES (gen_random_uuid(), %(j)s, 1, 'pending', 'processing', now(), 'accepted', 'status');
        INSERT INTO storage_operations (id, job_id, operation, bucket, key) VALUES (gen_random_uuid(), %(j)s, 'upload', 'b', 'k'),
            (gen_random_uuid(), NULL, 'upload', 'b', 'k');
        INSERT INTO url_access_logs (id, job_id, url, access_type) VALUES (gen_random_uuid(), %(j)s, 'x', 'y'),
            (gen_random_uuid(), NULL, 'x', 'y');
        INSERT INTO system_metrics (id, metric_name, metric_type, value) VALUES (gen_random_uuid(), 'm', 'gauge', 1)
        """.replace("%(j)s", f"'{job}'"))
    for table, total in (("elements", 1), ("element_refusals", 1), ("processing_timeline", 1),
                         ("job_status_history", 1), ("storage_operations", 2), ("url_access_logs", 2)):
        seen = {who: database.call(who, f"count(*) FROM {table}") for who in render_sql.CALLERS}
        assert seen == {"anon": 0, "user": 1, "stranger": 0, "account": total, "admin": total,
                        "service": total}, table
    for who, seen in (("user", 0), ("admin", 1), ("account", 1)):
        assert database.call(who, "count(*) FROM system_metrics") == seen
    assert database.call("user", "calculate_job_progress(%s)", job) == 100
    assert database.call("stranger", "calculate_job_progress(%s)", job) == 0


def test_11_system_health_counts_a_job_once(database):
    job = order(database, "failed", error_code="E", error_message="m")
    database.execute("INSERT INTO storage_operations (id, job_id, operation, bucket, key) "
                     "SELECT gen_random_uuid(), %s, 'upload', 'b', 'k' FROM generate_series(1, 5)", [job])
    database.execute("INSERT INTO elements (id, job_id, element_order, type, source_url) "
                     "SELECT gen_random_uuid(), %s, n, 'video', 'x' FROM generate_series(1, 4) AS n", [job])
    order(database, "failed", placeholder=True)
    assert database.call("admin", "jobs_24h FROM system_health") == 1
    assert database.call("admin", "failed_24h FROM system_health") == 1
    assert database.call("admin", "storage_operations_24h FROM system_health") == 5
    assert database.call("admin", "error_count FROM error_analysis") == 1
    assert database.call("admin", "jobs_with_video FROM error_analysis") == 1
    assert database.call("admin", "upload_operations FROM job_summary") == 5
    assert database.call("admin", "element_count FROM job_summary") == 4
    assert database.call("admin", "array_to_string(element_types, ',') FROM job_summary") == "video"


def test_active_jobs_says_whom_to_look_at(database):
    slow = order(database, "processing", processing_started_at="2020-01-01", estimated_duration=25,
                 progress_percentage=20, response_type="immediate")
    stalled = order(database, "processing", processing_started_at="2020-01-01")
    fresh = order(database)
    order(database, "completed")
    database.execute("INSERT INTO processing_timeline (id, job_id, step, step_order, started_at) "
                     "VALUES (gen_random_uuid(), %s, 'upload', 0, now() - interval '6 minutes')", [stalled])
    found = {str(row[0]): row[1:] for row in database.execute(
        "SELECT id, processing_health, priority_level, estimated_remaining_seconds FROM active_jobs").fetchall()}
    assert found == {slow: ("slow", 1, 100), stalled: ("stalled", 2, None), fresh: ("normal", 3, None)}


def test_statistics_are_of_the_jobs_between_two_times(database):
    order(database, "completed", processing_started_at="2024-01-01 00:00", created_at="2024-01-01",
          processing_completed_at="2024-01-01 00:00:01", response_type="immediate")
    order(database, "failed", processing_started_at="2024-01-01 00:00", created_at="2024-01-31",
          processing_completed_at="2024-01-01 00:00:02")
    order(database, "cancelled", processing_completed_at="2024-01-01 00:00:02", created_at="2024-01-02")
    order(database, "completed", placeholder=True, created_at="2024-01-02")
    order(database, "completed", created_at="2024-02-01")
    row = database.execute("SELECT * FROM get_job_statistics('2024-01-01', '2024-01-31')").fetchone()
    assert row[:3] == (3, 1, 1) and row[3].total_seconds() == 1.5 and row[4:] == (1, 2)
    assert database.value("SELECT (get_job_statistics()).total_jobs") == 0


def test_health_says_how_far_the_tables_are_behind(database):
    assert database.call("anon", "health_check()") == {
        "database": True, "outbox_pending": 0, "outbox_oldest_s": 0, "projector_lag_s": 0}
    job = str(database.call("anon", CREATE))
    health = database.call("anon", "health_check()")
    assert health["outbox_pending"] == 1 and 0 < health["projector_lag_s"] < 60
    assert 0 < health["outbox_oldest_s"] < 60
    database.job(id=job)
    assert database.call("anon", "health_check()")["projector_lag_s"] == 0


# --- notifications --------------------------------------------------------------------------------


@pytest.fixture
def heard(database):
    """What is notified by the statements given, as {channel: [payload]}."""
    with psycopg.connect(database.dsn, autocommit=True) as listener:
        listener.execute("LISTEN job_status_change; LISTEN processing_timeline_update; LISTEN mark")

        def until_mark():
            database.execute("SELECT pg_notify('mark', '')")
            found = []
            for one in listener.notifies(timeout=30):
                if one.channel == "mark":
                    return found
                found.append((one.channel, json.loads(one.payload)))
            raise AssertionError("no mark was heard")

        def listen(*statements):
            until_mark()
            with database.connection.transaction():
                for statement in statements:
                    database.execute(statement)
            return until_mark()

        yield listen


def test_1_an_error_of_100000_characters_is_stored_and_notified(database, heard):
    job = order(database, "processing")
    (channel, payload), = heard(f"UPDATE jobs SET status = 'failed', error_message = repeat('ä', 100000), "
                                f"result_url = repeat(E'\\x01', 3000) WHERE id = '{job}'")
    assert channel == "job_status_change" and payload["truncated"] is True
    assert (payload["job_id"], payload["old_status"], payload["new_status"]) == (job, "processing", "failed")
    assert payload["error_message"] == "ä" * 500 and payload["result_url"] == "\x01" * 500
    assert database.value("SELECT length(error_message) FROM jobs") == 100000


def test_a_notification_that_is_too_long_all_the_same_says_what_is_needed(database):
    payload = {"job_id": "x", "new_status": "failed", "a": "\x01" * 501, "b": "\x01" * 501, "c": "\x01" * 501}
    assert database.value("SELECT render_private.cut(%s, ARRAY['a', 'b', 'c'], ARRAY['job_id', 'new_status'])",
                          [json.dumps(payload)]) == {"job_id": "x", "new_status": "failed", "truncated": True}


def test_only_what_changed_is_notified_and_no_placeholder(database, heard):
    job, hidden = order(database), order(database, placeholder=True)
    assert heard(f"UPDATE jobs SET user_agent = 'x', updated_at = now() WHERE id = '{job}'",
                 f"UPDATE jobs SET status = 'completed' WHERE id = '{hidden}'") == []
    (_, payload), = heard(f"UPDATE jobs SET progress_percentage = 5 WHERE id = '{job}'")
    assert payload["old_status"] == payload["new_status"] == "pending" and "truncated" not in payload
    (_, payload), = heard(f"UPDATE jobs SET placeholder = NULL WHERE id = '{hidden}'")
    assert payload["old_status"] is None and payload["new_status"] == "completed"
    (channel, payload), = heard("INSERT INTO processing_timeline (id, job_id, step, step_order, started_at) "
                                f"VALUES (gen_random_uuid(), '{job}', 'upload', 3, now())")
    assert channel == "processing_timeline_update" and payload["step"] == "upload"
    assert heard("UPDATE processing_timeline SET cpu_usage = 5") == []
    (_, payload), = heard("UPDATE processing_timeline SET success = true, completed_at = now()")
    assert payload["success"] is True and payload["completed_at"]


def test_17_a_rebuild_notifies_nobody(database, heard):
    assert heard("SET LOCAL projectionist.rebuild = 'on'",
                 "INSERT INTO jobs (id, response_type, width, height) SELECT gen_random_uuid(), 'async', 1, 1 "
                 "FROM generate_series(1, 100000)", "UPDATE jobs SET status = 'failed'") == []


def test_realtime_is_told_of_jobs_whose_owner_is_an_address(database):
    with database.connection.transaction(force_rollback=True):
        database.execute("CREATE SCHEMA realtime")
        assert order(database, client_ip=HERE)  # nothing is there, or not for the owner of the tables
        database.execute("GRANT ALL ON SCHEMA realtime TO PUBLIC; CREATE TABLE realtime.sent (payload JSONB, event TEXT, "
                         "topic TEXT, private BOOLEAN); CREATE FUNCTION realtime.send(p JSONB, e TEXT, t TEXT, "
                         "x BOOLEAN) RETURNS VOID LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO realtime.sent VALUES (p, e, t, x)'")
        job = order(database, client_ip=HERE)
        order(database, owner_id=USER)
        (payload, event, topic, private), = database.execute("SELECT * FROM realtime.sent").fetchall()
        assert (payload["job_id"], event, topic, private) == (job, "job_status_change", f"job_status_{job}", False)
        # What fails there is no fault of the row.
        database.execute("DROP TABLE realtime.sent")
        assert order(database, client_ip=HERE)

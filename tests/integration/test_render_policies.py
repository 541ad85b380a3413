# SPDX-License-Identifier: Apache-2.0
"""Who may do what with the tables, views and functions of render: each cell of two tables, tried."""

import json
import uuid

import pytest

from lib import policies, render_sql
from lib.render_sql import HERE, PROXY, USER

ROLES = {"writer": "writer", "jobs": "render_jobs", "storage": "render_storage", "access": "render_access",
         "metrics": "render_metrics", "relay": "outbox_relay", "analyst": "analyst"}

RELATIONS = """
                                anon  user  stranger  account  admin  service  writer  jobs  storage  access  metrics  relay  analyst
render_private.element_guards   -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.job_guards       -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.outbox           -     -     -         -        -      -        -       -     -        -       -        SD     -
render_private.outbox_failed    -     -     -         -        -      -        -       -     -        -       -        SI     -
render_private.rate_hits        -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.step_guards      -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.trusted_proxies  -     -     -         -        -      -        -       -     -        -       -        -      -
active_jobs                     S%    S     S%        S        S      S        -       -     -        -       -        -      S
daily_job_stats                 -     S     S         S        S      S        -       -     -        -       -        -      S
element_refusals                S%    S%    S%        S%       S%     SIUDT    -       SIUD  -        -       -        -      S
element_type_stats              -     S     S         S        S      S        -       -     -        -       -        -      S
elements                        S%    S%    S%        S%       S%     SIUDT    -       SIUD  -        -       -        -      S
error_analysis                  -     S%    S%        S        S      S        -       -     -        -       -        -      S
hourly_processing_load          -     S     S         S        S      S        -       -     -        -       -        -      S
job_progress_subscription       S%    S%    S%        S        S      S        -       -     -        -       -        -      S
job_status_history              S%    S%    S%        S%       S%     SIUDT    -       SIUD  -        -       -        -      S
job_status_realtime             S%    S     S%        S        S      S        -       -     -        -       -        -      S
job_summary                     S%    S%    S%        S        S      S        -       -     -        -       -        -      S
jobs                            S%    S%    S%        S%       S%     SIUDT    -       SIUD  siuD%    siuD%   -        -      S
processing_timeline             S%    S%    S%        S%       S%     SIUDT    -       SIUD  -        -       -        -      S
storage_operations              S%    S%    S%        S%       S%     SIUDT    -       s     SI       s       -        -      S
storage_performance             -     S     S         S        S      S        -       -     -        -       -        -      S
system_health                   -     S     S         S        S      S        -       -     -        -       -        -      S
system_metrics                  -     S%    S%        S        S      SIUDT    -       -     -        -       SI       -      S
url_access_logs                 S%    S%    S%        S%       S%     SIUDT    -       s     s        SI      -        -      S
"""

FUNCTIONS = """
                              anon  user  stranger  account  admin  service  writer  jobs  storage  access  metrics  relay  analyst
render_private.add_element    -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.address        -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.asker          -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.broadcast      -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.check_count    -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.check_days     -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.check_share    -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.check_text     -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.cut            -     -     -         -        -      -        -       -     -        -       -        -      -
render_private."decimal"      -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.delete_jobs    -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.emit           -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.how_far        -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.is_own         -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.lock_job       -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.micros         -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.no_job         -     -     -         -        -      -        -       -     -        -       -        -      -
render_private."only"         -     -     -         -        -      -        -       -     -        -       -        E      -
render_private.refuse_unless  -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.row_of_job     -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.settle_placeholders - -   -         -        -      -        -       -     -        -       -        -      -
render_private.step_id        -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.tell           -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.tell_element   -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.tell_job       -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.tell_metric    -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.tell_security  -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.tell_step      -     -     -         -        -      -        -       -     -        -       -        -      -
render_private.tick           -     -     -         -        -      -        -       -     -        -       -        -      -
render_private."trim"         -     -     -         -        -      -        -       -     -        -       -        -      -
add_job_element               E     E     E         E        E      E        -       -     -        -       -        -      -
calculate_job_duration        E     E     E         E        E      E        -       -     -        -       -        -      -
calculate_job_progress        E     E     E         E        E      E        -       -     -        -       -        -      -
can_subscribe_to_job          E     E     E         E        E      E        -       -     -        -       -        -      -
check_rate_limit              -     -     -         E        -      E        -       -     -        -       -        -      -
cleanup_old_jobs              -     -     -         E        E      E        -       -     -        -       -        -      -
cleanup_old_metrics           -     -     -         E        E      E        -       -     -        -       -        -      -
complete_job_with_s3_upload   -     -     -         E        -      E        -       -     -        -       -        -      -
complete_processing_step      -     -     -         E        -      E        -       -     -        -       -        -      -
create_job                    E     E     E         E        E      E        -       -     -        -       -        -      -
create_job_with_elements      E     E     E         E        E      E        -       -     -        -       -        -      -
enforce_data_retention        -     -     -         E        E      E        -       -     -        -       -        -      -
get_client_ip                 E     E     E         E        E      E        -       -     -        -       -        -      -
get_current_user_id           E     E     E         E        E      E        -       -     -        -       -        -      -
get_current_user_role         E     E     E         E        E      E        -       -     -        -       -        -      -
get_job_statistics            -     E     E         E        E      E        -       -     -        -       -        -      -
get_storage_statistics        -     E     E         E        E      E        -       -     -        -       -        -      -
health_check                  E     E     E         E        E      E        -       -     -        -       -        -      -
is_admin_user                 E     E     E         E        E      E        -       -     -        -       -        -      -
is_service_account            E     E     E         E        E      E        -       -     -        -       -        -      -
log_security_event            -     -     -         E        -      E        -       -     -        -       -        -      -
log_storage_operation         -     -     -         E        -      E        -       -     -        -       -        -      -
log_url_access                -     -     -         E        -      E        -       -     -        -       -        -      -
record_system_metric          -     -     -         E        -      E        -       -     -        -       -        -      -
start_processing_step         -     -     -         E        -      E        -       -     -        -       -        -      -
update_element_status         -     -     -         E        -      E        -       -     -        -       -        -      -
update_job_progress           -     -     -         E        -      E        -       -     -        -       -        -      -
update_job_status             E     E     E         E        E      E        -       -     -        -       -        -      -
auth.can_subscribe_to_job     E     E     E         E        E      E        -       -     -        -       -        -      -
auth.client_ip                E     E     E         E        E      E        -       -     -        -       -        -      -
auth.is_admin                 E     E     E         E        E      E        -       -     -        -       -        -      -
auth.is_service               E     E     E         E        E      E        -       -     -        -       -        -      -
auth.jwt                      E     E     E         E        E      E        E       E     E        E       E        E      E
auth.role                     E     E     E         E        E      E        E       E     E        E       E        E      E
auth.uid                      E     E     E         E        E      E        E       E     E        E       E        E      E
auth.user_id                  E     E     E         E        E      E        -       -     -        -       -        -      -
auth.user_role                E     E     E         E        E      E        -       -     -        -       -        -      -
"""


@pytest.fixture(scope="module")
def matrix():
    """With jobs of a user, of an address, of nobody, and one that is not known yet; something of each."""
    with render_sql.prepared() as database:
        jobs = [database.job(status="processing", owner_id=USER), database.job(status="pending", client_ip=HERE),
                database.job(status="failed", error_code="E"), database.job(placeholder=True)]
        for job in jobs:
            database.execute("""
                INSERT INTO elements (id, job_id, element_order, type, source_url)
                    VALUES (gen_random_uuid(), %(j)s, 0, 'text', 'x');
                INSERT INTO element_refusals VALUES (gen_random_uuid(), %(j)s, 0, 'order taken', now());
                INSERT INTO processing_timeline (id, job_id, step, step_order, started_at)
                    VALUES (gen_random_uuid(), %(j)s, 'upload', 0, now());
                INSERT INTO job_status_history VALUES (gen_random_uuid(), %(j)s, 1, 'pending', 'processing', now(),
                    'accepted', 'status');
                INSERT INTO storage_operations (id, job_id, operation, bucket, key)
                    VALUES (gen_random_uuid(), %(j)s, 'upload', 'b', 'k');
                INSERT INTO url_access_logs (id, job_id, url, access_type)
                    VALUES (gen_random_uuid(), %(j)s, 'x', 'y')""".replace("%(j)s", f"'{job}'"))
        database.execute("""
            INSERT INTO storage_operations (id, operation, bucket, key) VALUES (gen_random_uuid(), 'upload', 'b', 'k');
            INSERT INTO url_access_logs (id, url, access_type) VALUES (gen_random_uuid(), 'x', 'y');
            INSERT INTO system_metrics (id, metric_name, metric_type, value)
                VALUES (gen_random_uuid(), 'm', 'gauge', 1);
            INSERT INTO render_private.outbox_failed VALUES (1, gen_random_uuid(), 'x', 'x', '{}', now(), now(), 'x');
            SELECT create_job('mp4', 1, 1), check_rate_limit('x'),
                start_processing_step((SELECT id FROM jobs LIMIT 1), 'upload', 0),
                add_job_element((SELECT id FROM jobs WHERE status = 'failed'), 'text', 'x', 5)""")
        database.execute("SELECT set_config('request.headers', %s, false)",
                         [json.dumps({"x-forwarded-for": f"{HERE}, {PROXY}"})])
        names = {who: role for who, (role, _) in render_sql.CALLERS.items()}
        names |= {short: f"{database.prefix}_{name}" for short, name in ROLES.items()}
        claims = {who: json.dumps(said) for who, (_, said) in render_sql.CALLERS.items()}
        yield policies.Matrix(database.connection, names, claims)


def test_what_each_may_do_with_each_table_and_view(matrix):
    found = matrix.all_relations("public", "render_private")
    assert found == policies.parse(RELATIONS), "\n" + policies.show(found)


def test_which_functions_each_may_call(matrix):
    found = matrix.all_functions("public", "render_private", "auth")
    assert found == policies.parse(FUNCTIONS), "\n" + policies.show(found)


def test_a_role_that_nobody_gave_rights_has_none(matrix):
    name = f"r{uuid.uuid4().hex[:8]}"
    matrix.connection.execute(f"CREATE ROLE {name}")
    try:
        nobody = policies.Matrix(matrix.connection, {"nobody": name})
        matrix.connection.execute("DISCARD TEMP")
        cells = nobody.all_relations("public", "render_private") | nobody.all_functions("public", "render_private")
        assert {row["nobody"] for row in cells.values()} == {"-"}
    finally:
        matrix.connection.execute(f"DROP ROLE {name}")

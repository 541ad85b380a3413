# SPDX-License-Identifier: Apache-2.0
"""Roles, rights and row security, as `projectionist roles` makes them: all consumers work with their
own roles, and a table says what each role may do and what not, each cell of it tried."""

import uuid

import psycopg
import pytest
from cli_support import cli
from psycopg import conninfo, sql

from lib import policies, scenario, scenario_run
from lib.consumers import REPOSITORY, run
from lib.world import new_database, open_world

CONSUMERS = tuple(scenario_run.TOPICS_OF)
LETTERS = {"command-projector": "projector", "event-recorder": "recorder",
           "video-catalog": "catalog", "watermark-metrics": "metrics",
           "session-tracker": "tracker"}


def role(prefix, name):
    return f"{prefix}_{name}".replace("-", "_")


def let_in(dsn, prefix, name):
    """Its DSN, once it can log in."""
    with psycopg.connect(policies.admin(dsn), autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD 'Xk7-2q'").format(
            sql.Identifier(role(prefix, name))))
    return conninfo.make_conninfo(dsn, user=role(prefix, name), password="Xk7-2q")


def make_roles(dsn, prefix, *arguments):
    result = cli("roles", "--role-prefix", prefix, *arguments, dsn=policies.admin(dsn))
    assert result.returncode == 0, result
    return result.stdout


@pytest.fixture(scope="module")
def prefix():
    return f"p{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory, prefix):
    """A world whose database looks like Supabase's, and whose consumers have roles of their own;
    scenarios have gone through them, all five at once."""
    with open_world(tmp_path_factory.mktemp("policies"), 3) as world, \
            policies.roles(world.dsn, prefix):
        policies.stand_in(world.dsn)
        # As an operator does it: the roles, then migrate as the owner, then what there is now.
        with psycopg.connect(policies.admin(world.dsn), autocommit=True) as connection:
            connection.execute("DROP SCHEMA projectionist CASCADE; DROP SCHEMA public CASCADE; "
                               "CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC")
        assert "nobody can log in as it" in make_roles(world.dsn, prefix)
        owner = let_in(world.dsn, prefix, "owner")
        policies.stand_in(owner)
        assert cli("migrate", dsn=owner).returncode == 0
        make_roles(world.dsn, prefix)
        world.use_default_groups()
        stream = scenario_run.Stream([scenario.Scenario(5, commands=60)], world.schema_ids)
        world.publish(stream.records)
        started = [world.start(name, "--until-caught-up", POSTGRES_DSN=let_in(world.dsn, prefix, name))
                   for name in CONSUMERS]
        try:
            for consumer in started:
                consumer.wait(0)
            world.stream, world.owner = stream, owner
            yield world
        finally:
            world.consumers.kill()


def test_each_consumer_works_with_its_own_role(secured):
    want = secured.stream.expected()
    with psycopg.connect(policies.admin(secured.dsn)) as connection:
        connection.row_factory = psycopg.rows.dict_row
        for table, rows in want.items():
            assert connection.execute(sql.SQL("SELECT count(*) AS n FROM {}").format(
                sql.Identifier(*table.split(".")))).fetchone()["n"] == len(rows), table
    # The owner's commands see all of it.
    result = cli("verify", "all", dsn=secured.owner)
    assert result.returncode == 0, result


RELATIONS = """
                                                       anon  authenticated  service_role  analyst  writer  projector  recorder  catalog  metrics  tracker
safari_command_performance                             -     -              S             S        -       -          -         -        -        -
safari_commands                                        -     -              SIUDT         S        -       SIUD       siuD%     siuD%    siuD%    -
safari_events                                          -     S              SIUDT         S        -       s          SI        s        s        -
safari_events_enriched                                 -     -              S             S        -       -          -         -        -        -
safari_sessions                                        -     -              SIUDT         S        -       -          -         -        -        SIUD
safari_videos                                          -     S              SIUDT         S        -       s          s         SIUD     siuD%    -
watermark_free_videos                                  -     -              S             S        -       -          -         -        -        -
watermark_metrics                                      -     -              SIUDT         S        -       -          -         -        SIUD     -
watermark_metrics_by_method                            -     -              S             S        -       -          -         -        -        -
watermark_metrics_daily                                -     -              S             S        -       -          -         -        -        -
watermark_metrics_hourly                               -     -              S             S        -       -          -         -        -        -
watermark_metrics_times                                -     -              SIUDT         S        -       -          -         -        SIUD     -
watermark_removals                                     -     -              SIUDT         S        -       s          s         s        SIUD     -
projectionist.accepted_topics                          -     -              -             -        -       S%I%       S%I%      S%I%     S%I%     S%I%
projectionist.consumer_offsets                         -     -              -             -        -       S%I%U%     S%I%U%    S%I%U%   S%I%U%   S%I%U%
projectionist.dead_letters                             -     -              -             -        -       S%I%u      S%I%u     S%I%u    S%I%u    S%I%u
projectionist.dead_letters_by_reason                   -     -              -             S        -       -          -         -        -        -
projectionist.forgotten_schemas                        -     -              -             -        -       -          -         -        -        -
projectionist.gaps                                     -     -              -             -        -       I%         I%        I%       I%       I%
projectionist.gaps_by_group                            -     -              -             S        -       -          -         -        -        -
projectionist.idempotency_conflicts                    -     -              -             S        -       SIUD       -         -        -        -
projectionist.last_rebuilds                            -     -              -             S        -       -          -         -        -        -
projectionist.migrations                               -     -              -             -        -       S          S         S        S        S
projectionist.offset_changes                           -     -              -             -        -       -          -         -        -        -
projectionist.other_sources                            -     -              -             -        -       -          -         -        -        -
projectionist.progress                                 -     -              -             S        -       -          -         -        -        -
projectionist.rebuilds                                 -     -              -             -        -       -          -         -        -        -
projectionist.rules                                    -     -              -             -        -       S%I%U%     S%I%U%    S%I%U%   S%I%U%   S%I%U%
projectionist.schema_readers                           -     -              -             -        -       S%I%       S%I%      S%I%     S%I%     S%I%
projectionist.schemas                                  -     -              -             -        -       SIU        SIU       SIU      SIU      SIU
projectionist.state_command_projector_command          -     -              -             -        -       SIU        -         -        -        -
projectionist.state_command_projector_idempotency_key  -     -              -             -        -       SIU        -         -        -        -
projectionist.state_session_tracker_command            -     -              -             -        -       -          -         -        -        SIU
projectionist.state_session_tracker_session            -     -              -             -        -       -          -         -        -        SIU
projectionist.state_video_catalog_path                 -     -              -             -        -       -          -         SIU      -        -
projectionist.state_video_catalog_production           -     -              -             -        -       -          -         SIU      -        -
projectionist.state_video_catalog_video                -     -              -             -        -       -          -         SIU      -        -
projectionist.state_watermark_metrics_path             -     -              -             -        -       -          -         -        SIU      -
projectionist.state_watermark_metrics_production       -     -              -             -        -       -          -         -        SIU      -
projectionist.state_watermark_metrics_removal          -     -              -             -        -       -          -         -        SIU      -
projectionist.stops                                    -     -              -             S        -       -          -         -        -        -
projectionist.trims                                    -     -              -             -        -       S          S         S        S        S
"""

FUNCTIONS = """
                                         anon  authenticated  service_role  analyst  writer  projector  recorder  catalog  metrics  tracker
projectionist.add_counts                 -     -              E             E        -       E          E         E        E        E
projectionist.advance_offsets            -     -              -             -        -       E          E         E        E        E
projectionist.claim_partitions           -     -              -             -        -       E          E         E        E        E
projectionist.create_outbox              -     -              -             -        -       -          -         -        -        -
projectionist.cursor_counter             -     -              E             E        -       E          E         E        E        E
projectionist.cursor_ms                  -     -              E             E        -       E          E         E        E        E
projectionist.expect_trim                -     -              -             -        -       E          E         E        E        E
projectionist.histogram_bin              -     -              E             E        -       E          E         E        E        E
projectionist.histogram_quantile         -     -              E             E        -       E          E         E        E        E
projectionist.histogram_upper_bound      -     -              E             E        -       E          E         E        E        E
projectionist.order_trim                 -     -              -             -        -       -          -         -        -        -
projectionist.refresh_watermark_metrics  -     -              -             -        -       -          -         -        E        -
projectionist.refuse_row                 -     -              -             -        -       E          E         E        E        E
projectionist.refuse_unwritten           -     -              -             -        -       E          E         E        E        E
projectionist.retry_outbox               -     -              -             -        -       -          -         -        -        -
projectionist.set_offsets                -     -              -             -        -       -          -         -        -        -
projectionist.sum_counts                 -     -              E             E        -       E          E         E        E        E
projectionist.trimmed_before             -     -              -             -        -       E          E         E        E        E
projectionist.version_of_rows            -     -              -             -        -       E          E         E        E        E
"""


@pytest.fixture(scope="module")
def matrix(secured, prefix):
    names = {"anon": "anon", "authenticated": "authenticated", "service_role": "service_role",
             "analyst": role(prefix, "analyst"), "writer": role(prefix, "writer"),
             **{short: role(prefix, name) for name, short in LETTERS.items()}}
    with psycopg.connect(policies.admin(secured.dsn), autocommit=True) as connection:
        connection.execute("""
            INSERT INTO projectionist.trims (table_schema, table_name, before)
                VALUES ('public', 'none', now());
            INSERT INTO projectionist.gaps (cluster_id, consumer_group, topic, partition,
                from_offset, to_offset, reason)
                SELECT 'x', g, 'x', 0, 0, 1, 'x' FROM unnest(ARRAY['command-projector',
                    'event-recorder', 'video-catalog', 'watermark-metrics', 'session-tracker']) g;
            INSERT INTO projectionist.offset_changes (cluster_id, consumer_group, topic, partition,
                to_offset, epoch, reason) VALUES ('x', 'x', 'x', 0, 0, 1, 'x');
            INSERT INTO projectionist.forgotten_schemas (registry, schema_id, schema, fetched_at)
                VALUES ('x', 1, 'x', now());
            INSERT INTO projectionist.other_sources VALUES ('x', 'x', 'x');
            INSERT INTO projectionist.rebuilds (kind, projection, cluster_id, consumer_group,
                started_at, differing_rows, differences, ranges, kept_retained)
                VALUES ('verify', 'x', 'x', 'x', now(), 0, '{}', '{}', false);""")
        yield policies.Matrix(connection, names)


def test_what_each_role_may_do_with_each_table_and_view(matrix):
    found = matrix.all_relations("public", "projectionist")
    assert found == policies.parse(RELATIONS), "\n" + policies.show(found)


def test_which_functions_each_role_may_call(matrix):
    found = matrix.all_functions("public", "projectionist")
    assert found == policies.parse(FUNCTIONS), "\n" + policies.show(found)


SHELF = """
                her  stranger  anon  service_role
shelf_books     -    -         -     SIUDT
shelf_dramas    S%   S%        -     SIUDT
shelf_episodes  -    -         -     SIUDT
shelf_lines     -    -         -     SIUDT
shelf_log       -    -         -     SIUDT
shelf_pages     -    -         -     SIUDT
shelf_places    -    -         S     SIUDT
shelf_props     -    -         -     SIUDT
"""


def test_a_system_says_who_sees_which_rows(template, prefix):
    """By a condition on the rows, which asks who one is; and what Realtime shows."""
    hers = uuid.uuid4()
    with new_database(template=template) as dsn, policies.roles(dsn, f"{prefix}s_"):
        policies.stand_in(dsn)
        admin = policies.admin(dsn)
        policies.psql(admin, "-f", REPOSITORY / "tests/shelf/tables.sql")
        policies.psql(admin, "-c", f"""
            GRANT ALL ON ALL TABLES IN SCHEMA public TO anon, authenticated;
            INSERT INTO shelf_dramas (id) VALUES ('{hers}'), ('other');
            INSERT INTO shelf_episodes VALUES ('x', 'other', 'x', 1);
            INSERT INTO shelf_props VALUES (1); INSERT INTO shelf_places VALUES ('x', 1);
            INSERT INTO shelf_books VALUES ('x'); INSERT INTO shelf_pages VALUES ('x', 'x');
            INSERT INTO shelf_log VALUES (gen_random_uuid(), 'x');
            INSERT INTO shelf_lines VALUES ('x', 1, 'x', 1, 1, '{{}}')""")
        for _ in range(2):
            result = run("projectionist-shelf", "roles", "--role-prefix", f"{prefix}s",
                         variables={"POSTGRES_DSN": admin})
            assert result.returncode == 0, result.stderr
        names = {"her": "authenticated", "stranger": "authenticated", "anon": "anon",
                 "service_role": "service_role"}
        claims = {"her": f'{{"sub": "{hers}"}}', "stranger": f'{{"sub": "{uuid.uuid4()}"}}'}
        with psycopg.connect(admin, autocommit=True) as connection:
            matrix = policies.Matrix(connection, names, claims)
            found = matrix.all_relations("public", only="shelf_")
            assert found == policies.parse(SHELF), "\n" + policies.show(found)
            for name, seen in (("her", 1), ("stranger", 0)):
                with matrix.become(name):
                    assert matrix.attempt("SELECT FROM shelf_dramas") == seen
            assert connection.execute("SELECT tablename FROM pg_publication_tables").fetchall() == [
                ("shelf_dramas",)]


def test_a_second_time_changes_nothing(secured, prefix):
    with psycopg.connect(policies.admin(secured.dsn), autocommit=True) as connection:
        before = policies.catalogue(connection, prefix)
        make_roles(secured.dsn, prefix)
        assert policies.catalogue(connection, prefix) == before
        # The owner may, too: what needs more rights is there already.
        result = cli("roles", "--role-prefix", prefix, dsn=secured.owner)
        assert result.returncode == 0, result
        assert policies.catalogue(connection, prefix) == before
        connection.execute("GRANT SELECT ON safari_commands TO anon, PUBLIC; "
                           "ALTER TABLE safari_videos DISABLE ROW LEVEL SECURITY")
        assert policies.catalogue(connection, prefix) != before
        make_roles(secured.dsn, prefix)
        assert policies.catalogue(connection, prefix) == before

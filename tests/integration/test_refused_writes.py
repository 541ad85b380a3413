# SPDX-License-Identifier: Apache-2.0
"""Writes that reach fewer rows than they should: row security, rows deleted by hand, triggers that
return NULL. To Postgres none of them is an error."""

import contextlib

import psycopg
import pytest
from psycopg import conninfo, sql

from cli_support import cli
from lib import events, kafka
from lib.consumers import address
from lib.events import HOUR, SECOND, START
from lib.world import PROJECTOR, RECORDER

DATABASE = 6  # PJ_EXIT_DATABASE
STATE = "projectionist.state_command_projector_command"


def submitted(number, at=START):
    return events.command_submitted(events.id_of(f"command {number}"), at)


def changed(number, word, at=START + SECOND, **more):
    return events.status_changed(events.id_of(f"command {number}"), word, at, counter=1, **more)


def frame(number):
    return events.telemetry("rate.limited", START + number, payload={"n": str(number)},
                            event_id=events.id_of("frame", number))


def ends(world, name, *words, code=DATABASE, **variables):
    """It ends with that code, and says why in one line."""
    consumer = world.start(name, "--until-caught-up", **variables)
    consumer.wait(code)
    assert consumer.logged(*words), f"no {words} in {consumer.tail}"
    return consumer


@contextlib.contextmanager
def other_role(world):
    """(name, DSN) of a role that may read and write everything, and owns nothing."""
    database = conninfo.conninfo_to_dict(world.dsn)["dbname"]
    name = f"writer_{database}"
    role = sql.Identifier(name)
    admin = conninfo.make_conninfo(address("CLUSTER_ADMIN_DSN"), dbname=database)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'Xk7-2q'").format(role))
        try:
            connection.execute(sql.SQL(
                "GRANT ALL ON ALL TABLES IN SCHEMA public, projectionist TO {0}; "
                "GRANT USAGE ON SCHEMA projectionist TO {0}; GRANT CREATE ON DATABASE {1} TO {0}"
            ).format(role, sql.Identifier(database)))
            yield name, conninfo.make_conninfo(world.dsn, user=name, password="Xk7-2q")
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(role))


def secure(world, table, *policies):
    """Row security of the table, with these policies and no others."""
    for name in world.database.execute(
            "SELECT polname FROM pg_policy WHERE polrelid = %s::regclass", [table]).fetchall():
        world.database.execute(f"DROP POLICY {name['polname']} ON {table}")
    world.database.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    for number, policy in enumerate(policies):
        world.database.execute(f"CREATE POLICY p{number} ON {table} {policy}")


OPEN = "USING (true) WITH CHECK (true)"


def test_row_security_that_hides_rows_is_refused_at_start(world):
    tables = ("safari_commands", STATE, "projectionist.dead_letters",
              "projectionist.consumer_offsets")
    world.publish([submitted(1), submitted(2)])
    with other_role(world) as (role, dsn):
        world.catch_up(PROJECTOR, POSTGRES_DSN=dsn)
        world.publish([changed(1, "RUNNING")])
        for table in tables:
            secure(world, table)
            ends(world, PROJECTOR, table, role, "CREATE POLICY", OPEN, POSTGRES_DSN=dsn)
            secure(world, table, f"TO {role} {OPEN}")
        for policies in (["FOR SELECT USING (true)"], ["USING (true) WITH CHECK (false)"],
                         ["USING (type <> 'x')"], [f"TO pg_monitor {OPEN}"]):
            secure(world, "safari_commands", *policies)
            ends(world, PROJECTOR, "safari_commands", role, "CREATE POLICY", POSTGRES_DSN=dsn)
        # One that is restrictive is too much, whatever others there are.
        secure(world, "safari_commands", OPEN, "AS RESTRICTIVE FOR UPDATE USING (type <> 'x')")
        ends(world, PROJECTOR, "safari_commands", role, "restrictive policy p1", POSTGRES_DSN=dsn)
        # What the sentence says is enough; a policy of PUBLIC or of a role that it is in, too.
        world.database.execute(f"DROP POLICY p1 ON safari_commands")
        world.catch_up(PROJECTOR, POSTGRES_DSN=dsn)
        assert sorted(row["status"] for row in world.rows("safari_commands")) == [
            "QUEUED", "RUNNING"]


def test_row_security_of_a_parent_is_seen_at_start(world):
    """Another projection's table, in which this one keeps placeholders."""
    world.publish([frame(1)])
    with other_role(world) as (role, dsn):
        secure(world, "safari_commands")
        ends(world, RECORDER, "safari_commands", role, "CREATE POLICY", POSTGRES_DSN=dsn)
        secure(world, "safari_commands", OPEN)
        world.catch_up(RECORDER, POSTGRES_DSN=dsn)
    assert world.count("safari_events") == 1


@pytest.mark.parametrize("table", ["safari_commands", "projectionist.consumer_offsets"])
def test_a_command_sees_that_row_security_hides_rows(world, table):
    """A verify would find them missing, and a rebuild write them again."""
    world.publish([submitted(1), submitted(2)])
    world.catch_up(PROJECTOR)
    group = ("--group", world.group(PROJECTOR))
    commands = [("verify", PROJECTOR, *group), ("rebuild", PROJECTOR, "--yes", *group)]
    if table != "safari_commands":
        commands += [("offsets", "set", PROJECTOR, "--to", "earliest", "--yes", *group),
                     ("dead-letters", "discard", "--all", "--yes"), ("status",)]
    with other_role(world) as (role, dsn):
        secure(world, table)
        for command in commands:
            result = cli(*command, dsn=dsn)
            assert result.returncode == (2 if command[0] == "verify" else DATABASE), result
            assert f"{table} from the role {role}" in result.stderr, result.stderr
            assert "CREATE POLICY" in result.stderr
        secure(world, table, OPEN)
        assert cli("verify", PROJECTOR, *group, dsn=dsn).returncode == 0


def test_forced_row_security_is_refused_for_the_owner(world):
    world.publish([submitted(1)])
    secure(world, STATE)
    world.catch_up(PROJECTOR)
    world.database.execute(f"ALTER TABLE {STATE} FORCE ROW LEVEL SECURITY")
    ends(world, PROJECTOR, STATE, "CREATE POLICY")


def test_row_security_that_comes_later_hides_nothing_in_silence(world):
    world.publish([submitted(1)])
    with other_role(world) as (_, dsn):
        consumer = world.start(PROJECTOR, POSTGRES_DSN=dsn)
        consumer.wait_until(lambda: world.count("safari_commands") == 1)
        secure(world, "safari_commands")
        world.publish([changed(1, "RUNNING")])
        consumer.wait(DATABASE)
        assert consumer.logged("safari_commands", "row-level security"), consumer.tail
        assert world.value("SELECT status FROM safari_commands") == "QUEUED"


def test_rows_deleted_by_hand_stop_the_consumer_and_a_rebuild_brings_them_back(world):
    world.publish([submitted(number) for number in range(5)])
    world.catch_up(PROJECTOR)
    right = world.rows("safari_commands")
    remedy = "`projectionist rebuild command-projector`"
    for table, key in (("safari_commands", "command_id"), (STATE, "key")):
        world.database.execute(f"DELETE FROM {table} WHERE {key} IN (%s, %s)",
                               [events.id_of("command 0"), events.id_of("command 1")])
        offsets = world.offsets(world.group(PROJECTOR))
        again = [changed(number, "RUNNING", START + HOUR) for number in range(3)]
        world.publish(again, partition=0)
        if table == "safari_commands":
            ends(world, PROJECTOR, "safari_commands", "1 of the 3 rows of an UPDATE",
                 "deleted by hand", remedy)
            assert world.offsets(world.group(PROJECTOR)) == offsets
            assert not world.letters()
        result = cli("rebuild", PROJECTOR, "--yes", "--group", world.group(PROJECTOR),
                     dsn=world.dsn)
        assert result.returncode == 0, result.stderr
        world.catch_up(PROJECTOR)
        assert len(world.rows("safari_commands")) == len(right)
        result = cli("verify", PROJECTOR, "--group", world.group(PROJECTOR), dsn=world.dsn)
        assert result.returncode == 0, result.stdout + result.stderr


@contextlib.contextmanager
def held_back(world, table, when, condition="true"):
    """A trigger that returns NULL."""
    world.database.execute(
        "CREATE FUNCTION hold_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {condition} THEN RETURN NULL; END IF; "
        "IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$; "
        f"CREATE TRIGGER holds BEFORE {when} ON {table} FOR EACH ROW EXECUTE FUNCTION hold_back()")
    yield
    world.database.execute("DROP FUNCTION hold_back() CASCADE")


def test_a_trigger_that_returns_null_stops_the_consumer(world):
    world.publish([submitted(number) for number in range(3)])
    for table, when in (("safari_commands", "INSERT"), (STATE, "INSERT")):
        with held_back(world, table, when):
            ends(world, PROJECTOR, table, "of an INSERT", "a trigger (holds")
    world.catch_up(PROJECTOR)
    world.publish([changed(number, "RUNNING") for number in range(3)])
    for table, when in (("safari_commands", "UPDATE"), (STATE, "UPDATE")):
        with held_back(world, table, when):
            ends(world, PROJECTOR, table, "of an UPDATE", "a trigger returned NULL", "holds")
    world.catch_up(PROJECTOR)
    # Appended rows: few by a statement, many by COPY; duplicates are no fault.
    world.publish([frame(number) for number in range(3)], partition=0)
    with held_back(world, "safari_events", "INSERT", "NEW.payload->>'n' = '1'"):
        ends(world, RECORDER, "safari_events", "2 of the 3 rows of an INSERT", "a trigger (holds")
        world.publish([frame(number) for number in range(300)], partition=0)
        ends(world, RECORDER, "safari_events", "of an INSERT", "a trigger (holds")
    world.publish([frame(0)])
    world.catch_up(RECORDER)
    assert world.count("safari_events") == 300
    # A record that is refused must not vanish either.
    world.publish([kafka.Record(events.COMMANDS, b"key", b"garbage")])
    with held_back(world, "projectionist.dead_letters", "INSERT"):
        ends(world, PROJECTOR, "projectionist.dead_letters", "of an INSERT", "a trigger (holds")
    world.catch_up(PROJECTOR)
    assert len(world.letters()) == 1


def test_a_rebuild_that_a_trigger_holds_back_changes_nothing(world):
    world.publish([submitted(number) for number in range(4)])
    world.catch_up(PROJECTOR)
    world.database.execute("UPDATE safari_commands SET type = 'wrong'")
    world.database.execute("DELETE FROM safari_commands WHERE command_id = %s",
                           [events.id_of("command 1")])
    rebuild = ("rebuild", PROJECTOR, "--yes", "--group", world.group(PROJECTOR))
    for when in ("UPDATE", "INSERT"):
        with held_back(world, "safari_commands", when):
            result = cli(*rebuild, dsn=world.dsn)
            assert result.returncode == DATABASE, result
            assert "safari_commands" in result.stderr and "holds" in result.stderr
            assert {row["type"] for row in world.rows("safari_commands")} == {"wrong"}
    assert cli(*rebuild, dsn=world.dsn).returncode == 0
    assert {row["type"] for row in world.rows("safari_commands")} == {"sora.generate"}

# SPDX-License-Identifier: Apache-2.0
"""Triggers on the tables of a projection: one hears that a rebuild writes, and one that changes what
is written is named. (One that raises makes a dead letter: test_refused_reasons.py.)"""

import pytest
from lib import events, rebuilding
from lib.events import SECOND, START
from lib.rebuilding import DIFFERENT, verify
from lib.world import PROJECTOR
from test_rebuild_history import command

pytestmark = pytest.mark.partitions(2)


def publish(world, *numbers):
    world.publish([events.command_submitted(command(number), START + number * SECOND)
                   for number in numbers])
    world.catch_up(PROJECTOR)


def test_a_trigger_hears_that_a_rebuild_writes(world):
    world.database.execute("""
        CREATE TABLE public.heard (command_id UUID, rebuild BOOLEAN);
        CREATE FUNCTION hear() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO public.heard SELECT NEW.command_id,
                coalesce(current_setting('projectionist.rebuild', true), '') = 'on';
            RETURN NULL; END $$;
        CREATE TRIGGER hear AFTER INSERT OR UPDATE ON safari_commands
            FOR EACH ROW EXECUTE FUNCTION hear()""")

    def heard():
        rows = world.database.execute(
            "DELETE FROM public.heard RETURNING command_id::text, rebuild").fetchall()
        return {row["command_id"]: row["rebuild"] for row in rows}

    publish(world, 1, 2)
    assert heard() == {command(1): False, command(2): False}
    world.database.execute("UPDATE safari_commands SET status = 'LOST' WHERE command_id = %s",
                           [command(1)])
    assert heard() == {command(1): False}
    rebuilding.rebuild(world, PROJECTOR)
    assert heard() == {command(1): True}
    publish(world, 3)
    assert heard() == {command(3): False}


def test_a_trigger_that_changes_a_declared_column_is_named(world):
    world.database.execute("""
        CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            NEW.type := upper(NEW.type); RETURN NEW; END $$;
        CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON safari_commands
            FOR EACH ROW EXECUTE FUNCTION shout()""")
    publish(world, 1)
    sentence = ("safari_commands: the trigger shout names a column that differs; what it changes "
                "differs again after every rebuild\n")
    for _ in range(2):
        result = rebuilding.run(world, "verify", PROJECTOR, code=DIFFERENT)
        assert sentence in result.stdout
        assert " type 1\n" in result.stdout
        rebuilding.rebuild(world, PROJECTOR)
    world.database.execute("DROP TRIGGER shout ON safari_commands")
    rebuilding.rebuild(world, PROJECTOR)
    verify(world, PROJECTOR)

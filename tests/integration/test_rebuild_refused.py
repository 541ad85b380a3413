# SPDX-License-Identifier: Apache-2.0
"""Records that Postgres refuses: a rebuild and a verify treat them as the consumer does, and end with
no error of Postgres's."""

import pytest

from lib import consumers, events, rebuilding
from lib.events import SECOND, START
from lib.rebuilding import DIFFERENT, FAILED, rebuild, tables, verify
from lib.world import PROJECTOR, RECORDER
from test_rebuild_history import command, known

pytestmark = pytest.mark.partitions(2)
UNIQUE = "CREATE UNIQUE INDEX one_of_each ON safari_commands ((payload->>'mark'))"
TRIGGER = """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.payload->>'mark' = 'x' AND NEW.command_id <> '%s' THEN
        RAISE EXCEPTION 'no' USING ERRCODE = '%s';
    END IF;
    RETURN NEW; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON safari_commands FOR EACH ROW EXECUTE FUNCTION refuse()"""
FOREIGN = """CREATE TABLE marks (mark TEXT PRIMARY KEY); INSERT INTO marks VALUES ('0'), ('1'), ('2');
    ALTER TABLE safari_commands ADD COLUMN mark TEXT GENERATED ALWAYS AS (payload->>'mark') STORED
        REFERENCES marks"""
EXCLUSION = ("ALTER TABLE safari_commands ADD CONSTRAINT one_of_each "
             "EXCLUDE USING btree ((payload->>'mark') WITH =) DEFERRABLE")
CHECK = "ALTER TABLE safari_commands ADD CONSTRAINT few CHECK (payload->>'mark' <> 'x') NOT VALID"


def submitted(number, mark):
    return events.command_submitted(command(number), START + number * SECOND,
                                    payload={"prompt": f"p{number}", "mark": mark})


def set_up(world, refusal):
    world.database.execute(refusal)
    world.publish([submitted(number, str(number)) for number in range(3)])
    world.publish([submitted(number, "x") for number in (3, 4)])
    world.catch_up(PROJECTOR)


@pytest.mark.parametrize("refusal, takes_away, state", [
    (UNIQUE, "DROP INDEX one_of_each", "23505"),
    (EXCLUSION, "ALTER TABLE safari_commands DROP CONSTRAINT one_of_each", "23P01"),
    (TRIGGER % (command(3), "P0001"), "DROP TRIGGER refuse ON safari_commands", "P0001"),
    (TRIGGER % (command(3), "23514"), "DROP TRIGGER refuse ON safari_commands", "23514"),
    (FOREIGN, "ALTER TABLE safari_commands DROP COLUMN mark", "23503"),
    (CHECK, "ALTER TABLE safari_commands DROP CONSTRAINT few", "23514"),
], ids=["unique", "exclusion", "trigger", "trigger as check", "foreign key", "check"])
def test_what_the_consumer_set_aside(world, refusal, takes_away, state):
    set_up(world, refusal)
    letters = world.letters()
    refused = len(letters)
    assert {row["sqlstate"] for row in letters} == {state} and refused in (1, 2)
    assert world.count("safari_commands") == 5 - refused
    verify(world, PROJECTOR)
    right = tables(world)
    world.database.execute("UPDATE safari_commands SET status = 'LOST' WHERE command_id = %s",
                           [command(1)])
    verify(world, PROJECTOR, code=DIFFERENT)
    assert rebuild(world, PROJECTOR)["differing_rows"] == 1
    assert tables(world) == right and rebuilding.traces(world) == []
    assert [row["status"] for row in world.letters()] == ["open"] * refused
    # Once nothing refuses them, they are a difference, and come back.
    world.database.execute(takes_away)
    verify(world, PROJECTOR, code=DIFFERENT)
    rebuild(world, PROJECTOR)
    assert known(world) == list(range(5))
    assert [row["status"] for row in world.letters()] == ["replayed"] * refused
    verify(world, PROJECTOR)


def test_what_the_consumer_has_yet_to_read(world):
    """Of two records that exclude each other, one becomes a letter; what only the live tables
    refuse, they refuse in a sentence."""
    world.database.execute(UNIQUE)
    world.publish([submitted(number, "x") for number in (3, 4)])
    rebuild(world, PROJECTOR)
    letter, = world.letters()
    assert (letter["sqlstate"], letter["status"]) == ("23505", "open") and len(known(world)) == 1
    world.catch_up(PROJECTOR)
    verify(world, PROJECTOR)
    world.database.execute("DROP INDEX one_of_each")
    world.database.execute(TRIGGER % (command(3), "P0001"))
    world.publish([submitted(5, "x"), submitted(6, "6")])
    message = rebuild(world, PROJECTOR, code=FAILED)
    assert "the live tables refuse a row" in message and "dead-letters its record" in message
    world.catch_up(PROJECTOR)
    rebuild(world, PROJECTOR)
    assert 6 in known(world) and 5 not in known(world)
    verify(world, PROJECTOR)


def test_a_letter_that_is_given_up_stays_so(world):
    set_up(world, UNIQUE)
    result = consumers.run("projectionist", "dead-letters", "discard", "--all", "--yes",
                           variables=world.consumers.variables)
    assert result.returncode == 0, result.stderr
    verify(world, PROJECTOR)
    rebuild(world, PROJECTOR)
    assert world.count("safari_commands") == 4


def test_what_a_column_would_round(world):
    """The consumer sets it aside, and so do a verify and a rebuild, until the column is wide."""
    whole = START - START % SECOND
    world.database.execute("DROP VIEW safari_events_enriched; "
                           "ALTER TABLE safari_events ALTER emitted_at TYPE timestamptz(0)")
    world.publish([events.telemetry("rate.limited", whole + number * SECOND // 2, payload={})
                   for number in range(4)])
    world.catch_up(RECORDER)
    assert [row["sqlstate"] for row in world.letters()] == ["22008"] * 2
    assert world.count("safari_events") == 2
    verify(world, RECORDER)
    rebuild(world, RECORDER)
    assert world.count("safari_events") == 2
    world.database.execute("ALTER TABLE safari_events ALTER emitted_at TYPE timestamptz")
    verify(world, RECORDER, code=DIFFERENT)
    rebuild(world, RECORDER)
    assert world.count("safari_events") == 4
    assert [row["status"] for row in world.letters()] == ["replayed"] * 2

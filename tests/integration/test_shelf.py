# SPDX-License-Identifier: Apache-2.0
"""Rows that move, follow twice, refer to each other and swap their values, by the projection of
tests/shelf: live, replayed, verified and rebuilt."""

import io
import json
import random
import re
import zlib
from decimal import Decimal

import fastavro
import pytest
from lib import consumers, database, events, kafka, registry
from lib.events import COMMANDS

SHELF = "shelf"
ORDERS = "shelf.orders"
TABLES = consumers.REPOSITORY / "tests/shelf/tables.sql"


LINE = [{"name": "item", "type": "string"},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10,
                                   "scale": 2}}]


def order_schema(*fields):
    return {"type": "record", "name": "Order", "fields": [
        {"name": "order_id", "type": "string"},
        {"name": "lines", "type": {"type": "array", "items": {
            "type": "record", "name": "Line", "fields": list(fields)}}}]}


def ordered(order, schema, *lines):
    """By that writer; each schema in a subject of its own, for they may be incompatible."""
    text = json.dumps(schema)
    schema_id = registry.register(f"{ORDERS}-{zlib.crc32(text.encode())}", text)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema),
                               {"order_id": order, "lines": list(lines)})
    return kafka.Record(ORDERS, order.encode(),
                        b"\0" + schema_id.to_bytes(4, "big") + out.getvalue(), None, 0)


@pytest.fixture(scope="module")
def orders_topic():
    kafka.new_topics(ORDERS, partitions=1)


@pytest.fixture
def shelf(world, orders_topic):
    world.database.execute("SET search_path = public")
    world.database.execute(TABLES.read_text())
    return world


def saved(world, drama, version, partition=0, **payload):
    payload = {"drama": drama, "version": version, **payload}
    for name in ("episodes", "props"):
        if name in payload:
            payload[name] = [item if isinstance(item, dict) else {"id": item}
                             for item in payload[name]]
    return world.record(events.command_submitted(events.id_of("drama", drama), payload=payload),
                        partition)


def batch(world, *records):
    world.publish(records)
    world.catch_up(SHELF)


def rows(world, columns, table):
    with world.database.cursor(row_factory=None) as cursor:
        cursor.row_factory = database.psycopg.rows.tuple_row
        return cursor.execute(f"SELECT {columns} FROM shelf_{table} ORDER BY 1").fetchall()


def command(world, name, *arguments, code=0):
    result = consumers.run("projectionist-shelf", name, *arguments,
                           variables=world.consumers.variables)
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


def assert_verified(world):
    command(world, "verify", SHELF, "--group", world.group(SHELF))


def deleted(drama, version, partition=0):
    return kafka.Record(COMMANDS, drama.encode(), None, None, partition,
                        [("version", str(version).encode())] if version else [])


def messages(world):
    return [letter["message"] for letter in world.letters() if letter["status"] == "open"]


def test_an_episode_that_moves_between_dramas_is_there(shelf):
    """Each event a batch of its own, told again, and all in one batch."""
    orders = {"x": "A1 A2 B1", "y": "A1 B1 A2", "z": "B1 A1 A2"}
    told = []
    for tag, order in orders.items():
        of = {"A1": (f"{tag}A", 1, [f"{tag}e"]), "A2": (f"{tag}A", 2, []),
              "B1": (f"{tag}B", 1, [f"{tag}e"])}
        told.append([saved(shelf, drama, version, episodes=episodes)
                     for drama, version, episodes in (of[name] for name in order.split())])
    for step in zip(*told):
        batch(shelf, *step)
    expected = [(f"{tag}e", f"{tag}B") for tag in orders]
    assert rows(shelf, "id, drama_id", "episodes") == expected
    batch(shelf, *reversed([record for order in told for record in order]))
    assert rows(shelf, "id, drama_id", "episodes") == expected
    batch(shelf, saved(shelf, "xB", 3, gone=True), saved(shelf, "yA", 3, episodes=["ye"]),
          saved(shelf, "zB", 2, episodes=[]))
    assert rows(shelf, "id, drama_id", "episodes") == [("ye", "yA")]
    assert messages(shelf) == []
    assert_verified(shelf)


def test_a_tombstone_deletes_by_its_key_and_headers(shelf):
    """One without a version is a dead letter; what is wrong with it, its replay says again."""
    batch(shelf, saved(shelf, "A", 2, episodes=["a"]), saved(shelf, "B", 2, episodes=["b"]),
          deleted("A", 1), deleted("C", None))
    assert rows(shelf, "id, drama_id", "episodes") == [("a", "A"), ("b", "B")]
    assert messages(shelf) == ["no drama, or no version"]
    batch(shelf, deleted("B", 3))
    assert rows(shelf, "id, drama_id", "episodes") == [("a", "A")]
    command(shelf, "dead-letters", "replay", "--all", "--yes", code=1)
    assert_verified(shelf)
    # What was not read in time is applied by a replay of its letter, headers and all.
    shelf.database.execute(
        "UPDATE projectionist.dead_letters SET key = 'A', headers = "
        "'[{\"name\": \"version\", \"hex\": \"33\"}]'")
    command(shelf, "dead-letters", "replay", "--all", "--yes")
    assert rows(shelf, "id, drama_id", "episodes") == []


def test_items_by_the_schemas_of_their_writers(shelf):
    """An older writer without counts and tags, one of another name, and a newer one."""
    item, price = LINE
    newer = order_schema(price, {"name": "colour", "type": "string"}, item,
                         {"name": "count", "type": "int"},
                         {"name": "tags", "type": {"type": "array", "items": "string"}})
    batch(shelf,
          ordered("old", order_schema(*LINE), {"item": "lamp", "price": Decimal("9.50")},
                  {"item": "desk", "price": Decimal("120.00")}),
          ordered("named", order_schema({**item, "name": "name"}, price),
                  {"name": "lamp", "price": Decimal("9.50")}),
          ordered("new", newer, {"item": "lamp", "price": Decimal("9.50"), "colour": "red",
                                 "count": 2, "tags": ["a", "b c"]}),
          ordered("none", newer))
    assert sorted(rows(shelf, "order_id, place, item, count, price::text, tags", "lines")) == [
        ("named", 0, "lamp", 1, "9.50", []), ("new", 0, "lamp", 2, "9.50", ["a", "b c"]),
        ("old", 0, "lamp", 1, "9.50", []), ("old", 1, "desk", 1, "120.00", [])]
    assert messages(shelf) == []
    assert_verified(shelf)


def test_columns_of_other_types_of_the_database(shelf):
    """An enum, an array, and a point, which has no equality: written, compared and rebuilt."""
    columns = "id, mood::text, tags, spot::text, price::text"
    batch(shelf, saved(shelf, "A", 1, mood="glad", tags=["x", 'y,"{z}'], spot="(1, 2)", price=1.5),
          saved(shelf, "B", 1, mood="cross"), saved(shelf, "C", 1, spot="here"),
          saved(shelf, "D", 1, tags=[]))
    assert rows(shelf, columns, "dramas") == [
        ("A", "glad", ["x", 'y,"{z}'], "(1,2)", "1.5"), ("D", None, [], None, None)]
    said = messages(shelf)
    assert len(said) == 2 and "shelf_mood" in said[0] and "point" in said[1]
    batch(shelf, saved(shelf, "A", 2, mood="sad", tags=["x"], spot="(1,2)", price=1.5))
    assert rows(shelf, columns, "dramas")[0] == ("A", "sad", ["x"], "(1,2)", "1.5")
    assert_verified(shelf)
    shelf.database.execute("UPDATE shelf_dramas SET tags = '{q}', spot = '(3,4)' WHERE id = 'A'")
    found = command(shelf, "verify", SHELF, "--group", shelf.group(SHELF), code=1)
    assert "tags" in found and "spot" in found and "mood" not in found
    command(shelf, "rebuild", SHELF, "--group", shelf.group(SHELF), "--yes")
    assert rows(shelf, columns, "dramas")[0] == ("A", "sad", ["x"], "(1,2)", "1.5")
    assert_verified(shelf)
    batch(shelf, saved(shelf, "A", 3, gone=True))
    assert rows(shelf, columns, "dramas") == [("D", None, [], None, None)]


def test_a_column_of_another_sql_type_is_said_at_the_start(shelf):
    shelf.database.execute("ALTER TABLE shelf_dramas ALTER mood TYPE text")
    shelf.publish([saved(shelf, "A", 1)])
    consumer = shelf.consumers.start(SHELF, "--until-caught-up", group=shelf.group(SHELF))
    assert consumer.wait_for_end() == 6
    assert "its column mood is text, but declared as shelf_mood" in consumer.log


def test_nothing_is_left_of_what_was_erased(shelf):
    """Neither rows nor private state, live, replayed late, rebuilt, and without its records."""
    secret = "Zerberus"
    batch(shelf, saved(shelf, "A", 1, title=secret, episodes=["e"], code="x"),
          saved(shelf, "B", 1, episodes=["e", "f"]), saved(shelf, "C", 1, code="y"))
    batch(shelf, saved(shelf, "A", 2, erased=True))
    batch(shelf, saved(shelf, "A", 3, title=secret, episodes=["e", "f"]))

    def assert_erased():
        assert rows(shelf, "id", "dramas") == [("B",), ("C",)]
        assert rows(shelf, "id, drama_id", "episodes") == [("e", "B"), ("f", "B")]
        for table in ("drama", "episode"):
            assert shelf.database.execute(
                f"SELECT 1 FROM projectionist.state_shelf_{table} "
                "WHERE position(%s::bytea in facts) > 0", (secret.encode(),)).fetchall() == []

    assert_erased()
    assert_verified(shelf)
    group = ("--group", shelf.group(SHELF), "--yes")
    command(shelf, "rebuild", SHELF, *group)
    assert_erased()
    # What is known of the others, their names too, outlives their records.
    ends = ",".join(f"{topic}/{partition}={offset}"
                    for (topic, partition), offset in kafka.end_offsets(COMMANDS).items())
    command(shelf, "rebuild", SHELF, "--keep-retained", "--from", ends, *group)
    assert_erased()
    batch(shelf, saved(shelf, "A", 4, title=secret))
    assert_erased()
    assert messages(shelf) == []


def said_of(world, book, version, **payload):
    return world.record(events.command_submitted(
        events.id_of("book", book), payload={"book": book, "version": version, **payload}), 0)


def kept(world, table):
    """Which transaction wrote each fact."""
    columns = "key, kind, subkey" if table == "book_wide" else "key"
    return world.database.execute(
        f"SELECT {columns}, xmin::text AS xmin, facts FROM projectionist.state_shelf_{table} "
        f"ORDER BY {columns}").fetchall()


def test_facts_kept_apart(shelf):
    """An event writes the facts that it is about, and no other; replayed, verified, rebuilt, from
    retained state, and gone for good."""
    shelf.database.execute("ALTER TABLE shelf_pages ADD CHECK (text <> 'bad')")
    batch(shelf, said_of(shelf, "A", 1, cover="c"), said_of(shelf, "B", 1, page="1", text="b"),
          *(said_of(shelf, "A", 1, page=f"{n:02}", text="t") for n in range(40)))
    entities, wide = kept(shelf, "book"), kept(shelf, "book_wide")
    assert len(entities) == 2 and len(wide) == 42
    batch(shelf, said_of(shelf, "A", 2, page="07", text="new"), said_of(shelf, "A", 0, page="08"))
    assert kept(shelf, "book") == entities
    after = kept(shelf, "book_wide")
    assert sum(a != b for a, b in zip(wide, after, strict=True)) == 1
    batch(shelf, said_of(shelf, "A", 3, shut=True), said_of(shelf, "A", 3, page="09", text="bad"))
    assert kept(shelf, "book") != entities and kept(shelf, "book_wide") == after
    expected = [("A", f"{n:02}", "new" if n == 7 else "t", True) for n in range(40)] + [
        ("B", "1", "b", None)]

    def assert_pages():
        assert sorted(rows(shelf, "book, page, text, shut", "pages")) == expected
        assert rows(shelf, "id, cover, shut", "books") == [("A", "c", True), ("B", None, None)]
        assert_verified(shelf)

    assert_pages()
    assert ["shelf_pages" in message for message in messages(shelf)] == [True]
    shelf.database.execute("ALTER TABLE shelf_pages DROP CONSTRAINT shelf_pages_text_check")
    command(shelf, "dead-letters", "replay", "--all", "--yes")
    expected[9] = ("A", "09", "bad", True)
    assert_pages()
    shelf.database.execute("DELETE FROM projectionist.state_shelf_book_wide WHERE subkey = %s",
                           [after[3]["subkey"]])
    shelf.database.execute("UPDATE projectionist.state_shelf_book_wide SET facts = '\\x0100' "
                           "WHERE subkey = %s", [after[4]["subkey"]])
    found = command(shelf, "verify", SHELF, "--group", shelf.group(SHELF), code=1)
    assert "projectionist.state_shelf_book_wide" in found and "2 rows differ" in found
    group = ("--group", shelf.group(SHELF), "--yes")
    command(shelf, "rebuild", SHELF, *group)
    assert_pages()
    ends = ",".join(f"{topic}/{partition}={offset}"
                    for (topic, partition), offset in kafka.end_offsets(COMMANDS).items())
    command(shelf, "rebuild", SHELF, "--keep-retained", "--from", ends, *group)
    assert sorted(rows(shelf, "book, page, text, shut", "pages")) == expected
    batch(shelf, said_of(shelf, "A", 1, burnt=True))
    batch(shelf, said_of(shelf, "A", 9, page="1", text="late"))
    assert rows(shelf, "book, page", "pages") == [("B", "1")]
    assert len(kept(shelf, "book_wide")) == 1 and messages(shelf) == []


def test_a_table_of_wide_facts_that_is_missing_is_said_at_the_start(shelf):
    shelf.database.execute("DROP TABLE projectionist.state_shelf_book_wide")
    shelf.publish([saved(shelf, "A", 1)])
    consumer = shelf.consumers.start(SHELF, "--until-caught-up", group=shelf.group(SHELF))
    assert consumer.wait_for_end() == 6
    assert ('CREATE TABLE "projectionist"."state_shelf_book_wide" (key UUID, kind INTEGER, '
            'subkey UUID, facts BYTEA NOT NULL, PRIMARY KEY (key, kind, subkey))'
            ) in consumer.log.replace("\\", "")


def test_a_saga_of_fifty_follows_its_first_drama(shelf):
    """Facts that a kind contributes to itself, loaded round by round; a ring, and its end."""
    names = [f"d{n:02}" for n in range(50)]
    batch(shelf, *(saved(shelf, name, 1, sequel_of=before)
                   for name, before in reversed(list(zip(names, [None] + names)))),
          saved(shelf, "z", 1))

    def sagas():
        return [saga for _, saga in rows(shelf, "id, saga", "dramas")]

    assert sagas() == ["d00"] * 50 + ["z"]
    batch(shelf, saved(shelf, "d00", 2, sequel_of="z"))
    assert sagas() == ["z"] * 51
    batch(shelf, saved(shelf, "d00", 3, sequel_of="d49"))
    assert sagas() == [None] * 50 + ["z"]
    assert_verified(shelf)
    batch(shelf, saved(shelf, "d25", 2))
    assert sagas() == ["d25"] * 50 + ["z"]
    assert messages(shelf) == []
    assert_verified(shelf)


def test_trimmed_rows_go_and_stay_away(shelf):
    """From the table, late records, replays, verify and rebuild; a trim goes only ever later."""
    records = [shelf.record(events.command_submitted(
        events.id_of("log", n), payload={"drama": "A", "version": n, "logged": True},
        at=(1_700_000_000 + n) * 1_000_000), 0) for n in range(1, 31)]

    def left():
        return [int(at.timestamp()) - 1_700_000_000 for at, in rows(shelf, "at", "log")]

    def trim(second, *arguments, code=0):
        time = f"{1_700_000_000 + second}"
        with shelf.database.cursor() as cursor:
            text = cursor.execute(f"SELECT to_timestamp({time})::text AS t").fetchone()["t"]
        return command(shelf, "trim", "shelf_log", "--before", text, *arguments, code=code)

    batch(shelf, *records[:20])
    assert left() and len(left()) == 20
    assert "11 rows of before" in trim(12, "--batch-rows", "4")
    assert sorted(left()) == list(range(12, 21))
    assert "0 rows of before" in trim(5)
    # What comes late, or again, does not come back.
    batch(shelf, *records[:5], *records[20:])
    assert sorted(left()) == list(range(12, 31))
    assert_verified(shelf)
    # A row that is not deleted yet is no difference, and neither is one that is.
    shelf.database.execute("SELECT projectionist.order_trim('shelf_log', to_timestamp(1700000020))")
    shelf.database.execute("DELETE FROM shelf_log WHERE at < to_timestamp(1700000014)")
    assert_verified(shelf)
    command(shelf, "rebuild", SHELF, "--group", shelf.group(SHELF), "--yes")
    assert sorted(left()) == list(range(14, 31))
    shelf.database.execute("DELETE FROM shelf_log WHERE at = to_timestamp(1700000025)")
    command(shelf, "verify", SHELF, "--group", shelf.group(SHELF), code=1)
    command(shelf, "rebuild", SHELF, "--group", shelf.group(SHELF), "--yes")
    assert "6 rows of before" in trim(20)
    assert sorted(left()) == list(range(20, 31))
    assert "has no `trimmed_by`" in command(shelf, "trim", "shelf_dramas", "--before", "now",
                                            code=2)


def test_a_trim_that_is_ordered_while_a_consumer_runs(shelf):
    """It has asked before, and asks again once what it knew is no longer so."""
    def logged(*seconds):
        return [shelf.record(events.command_submitted(
            events.id_of("live", n), payload={"drama": "A", "version": n, "logged": True},
            at=(1_700_000_000 + n) * 1_000_000), 0) for n in seconds]

    def left():
        return sorted(int(at.timestamp()) - 1_700_000_000 for at, in rows(shelf, "at", "log"))

    consumer = shelf.start(SHELF)
    shelf.publish(logged(1, 2))
    database.wait_until(lambda: left() == [1, 2])
    shelf.publish(logged(3, 4))
    database.wait_until(lambda: left() == [1, 2, 3, 4])
    shelf.database.execute("SELECT projectionist.order_trim('shelf_log', to_timestamp(1700000004))")
    shelf.publish(logged(0, 5))
    database.wait_until(lambda: left() == [1, 2, 3, 4, 5])
    shelf.publish(logged(-1, 6))
    database.wait_until(lambda: left() == [1, 2, 3, 4, 5, 6])
    consumer.stop()
    assert_verified(shelf)


def test_a_row_that_follows_twice_is_a_dead_letter_that_names_it(shelf):
    batch(shelf, saved(shelf, "A", 1, props=[1, 1]), saved(shelf, "B", 1, props=[2]),
          saved(shelf, "C", 1, props=[3, {"id": 3, "name": "other"}]),
          saved(shelf, "D", 1, props=[0.0, -0.0]), saved(shelf, "E", 1, episodes=["e", "e"]))
    said = messages(shelf)
    assert len(said) == 4 and rows(shelf, "id, drama_id", "props") == [(2, "B")]
    for message, row in zip(said, ("props with id=1", "props with id=3", "props with id=0",
                                   "episodes with id=e")):
        assert f"shelf_{row} twice" in message
    batch(shelf, saved(shelf, "A", 2, props=[1]), saved(shelf, "D", 2, props=[-0.0]))
    assert rows(shelf, "id, drama_id", "props") == [(0, "D"), (1, "A"), (2, "B")]
    # Of two entities, in one batch and in two; by hand, too.
    shelf.database.execute("INSERT INTO shelf_props VALUES (9)")
    batch(shelf, saved(shelf, "F", 1, props=[5]), saved(shelf, "G", 1, props=[5, 6]))
    batch(shelf, saved(shelf, "H", 1, props=[5]), saved(shelf, "I", 1, props=[9]))
    said = messages(shelf)[4:]
    assert rows(shelf, "id, drama_id", "props")[3:] == [(5, "F"), (9, None)]
    assert [re.search(r"shelf_props with id=\d", text)[0][-1] for text in said] == ["5", "5", "9"]
    assert all("pj_claim" in text for text in said)
    # Once nobody has it, a replay gives it to who waited.
    shelf.database.execute("DELETE FROM shelf_props WHERE id = 9")
    batch(shelf, saved(shelf, "F", 2, props=[]))
    command(shelf, "dead-letters", "replay", "--all", "--yes", code=1)
    assert rows(shelf, "id, drama_id", "props")[3:] == [(5, "G"), (6, "G"), (9, "I")]


def test_writes_are_in_the_order_that_foreign_keys_want(shelf):
    batch(shelf, saved(shelf, "A", 1, episodes=["a", "b"], props=[1], code="x"),
          saved(shelf, "B", 1, episodes=["c"], code="y", sequel_of="A"))
    # The old parent goes in the batch in which its rows move to a new one.
    batch(shelf, saved(shelf, "A", 2, gone=True),
          saved(shelf, "B", 2, episodes=["c"], code="x"),
          saved(shelf, "N", 1, episodes=["b", "a"], props=[1], code="y", sequel_of="B"))
    dramas = [("B", "x", None), ("N", "y", "B")]
    assert rows(shelf, "id, code, sequel_of", "dramas") == dramas
    assert rows(shelf, "id, drama_id, place", "episodes") == [("a", "N", 1), ("b", "N", 0),
                                                               ("c", "B", 0)]
    # Values are swapped, and an update refers to what is new.
    batch(shelf, saved(shelf, "Z", 1), saved(shelf, "B", 3, episodes=["c"], code="y",
                                             sequel_of="Z"),
          saved(shelf, "N", 2, episodes=["a", "b"], props=[1], code="x", sequel_of="B"))
    dramas = [("B", "y", "Z"), ("N", "x", "B"), ("Z", None, None)]
    assert rows(shelf, "id, code, sequel_of", "dramas") == dramas
    assert rows(shelf, "drama_id", "props") == [("N",)]
    # One who goes leaves its value to one who comes.
    batch(shelf, saved(shelf, "B", 4, gone=True), saved(shelf, "N", 3, props=[1], code="y"))
    assert rows(shelf, "id, code, sequel_of", "dramas") == [("N", "y", None), ("Z", None, None)]
    assert rows(shelf, "id", "episodes") == []
    assert messages(shelf) == []
    assert_verified(shelf)


def test_a_rebuild_writes_in_that_order_too(shelf):
    batch(shelf, saved(shelf, "A", 1, episodes=["a", "b"], props=[1], code="x"),
          saved(shelf, "B", 1, episodes=["c"], props=[2], code="y", sequel_of="A"),
          saved(shelf, "C", 1, code="z", sequel_of="B"))
    right = [rows(shelf, "*", table) for table in ("dramas", "episodes", "props")]
    shelf.database.execute("""
        INSERT INTO shelf_dramas VALUES ('W', 'wrong', 'w', 'A');
        UPDATE shelf_dramas SET code = NULL;
        UPDATE shelf_dramas SET code = translate(id, 'ABCW', 'yxwz'), sequel_of = 'W'
            WHERE id <> 'W';
        UPDATE shelf_dramas SET code = 'z' WHERE id = 'W';
        UPDATE shelf_episodes SET drama_id = 'W', place = place + 7;
        UPDATE shelf_props SET drama_id = 'W';
        DELETE FROM shelf_props WHERE id = 2; DELETE FROM shelf_episodes WHERE id = 'c';
        DELETE FROM shelf_dramas WHERE id = 'C'""")
    command(shelf, "rebuild", SHELF, "--group", shelf.group(SHELF), "--yes")
    assert [rows(shelf, "*", table) for table in ("dramas", "episodes", "props")] == right
    assert_verified(shelf)


def test_rows_turn_round_under_other_constraints(shelf):
    """Cascades of a table to itself, RESTRICT, SET NULL, partial and exclusion constraints."""
    shelf.database.execute("""
        ALTER TABLE shelf_dramas DROP CONSTRAINT shelf_dramas_sequel_of_fkey,
            ADD FOREIGN KEY (sequel_of) REFERENCES shelf_dramas ON DELETE CASCADE;
        ALTER TABLE shelf_props DROP CONSTRAINT shelf_props_drama_id_fkey,
            ADD FOREIGN KEY (drama_id) REFERENCES shelf_dramas ON DELETE RESTRICT,
            ADD EXCLUDE USING btree (name WITH =);
        ALTER TABLE shelf_episodes DROP CONSTRAINT shelf_episodes_drama_id_fkey,
            ADD FOREIGN KEY (drama_id) REFERENCES shelf_dramas ON DELETE SET NULL,
            ALTER drama_id DROP NOT NULL;
        CREATE UNIQUE INDEX ON shelf_dramas (lower(title)) WHERE code IS NOT NULL""")
    prop = [{"id": 1, "name": "n"}, {"id": 2, "name": "m"}]
    batch(shelf, saved(shelf, "A", 1, code="a", title="one", episodes=["e"], props=prop[:1]),
          saved(shelf, "B", 1, code="b", title="two", sequel_of="A"),
          saved(shelf, "C", 1, code="c", title="three", sequel_of="B", props=prop[1:]))
    batch(shelf, saved(shelf, "A", 2, gone=True),
          saved(shelf, "B", 2, code="a", title="ONE", episodes=["e"],
                props=[{"id": 1, "name": "m"}]),
          saved(shelf, "C", 2, code="b", title="two", sequel_of="B",
                props=[{"id": 2, "name": "n"}]))
    assert rows(shelf, "id, code, title, sequel_of", "dramas") == [
        ("B", "a", "ONE", None), ("C", "b", "two", "B")]
    assert rows(shelf, "id, drama_id, name", "props") == [(1, "B", "m"), (2, "C", "n")]
    assert rows(shelf, "id, drama_id", "episodes") == [("e", "B")]
    batch(shelf, saved(shelf, "D", 1, code="d", title="four", sequel_of="C"))
    batch(shelf, saved(shelf, "B", 3, code="b", title="two", sequel_of="D"),
          saved(shelf, "C", 3, code="d", title="four", sequel_of="B"),
          saved(shelf, "D", 2, code="a", title="one", sequel_of="C"))
    assert rows(shelf, "id, code, title, sequel_of", "dramas") == [
        ("B", "b", "two", "D"), ("C", "d", "four", "B"), ("D", "a", "one", "C")]
    batch(shelf, *(saved(shelf, drama, 9, gone=True) for drama in "BCD"))
    assert messages(shelf) == [] and shelf.count("shelf_dramas") == 0
    assert_verified(shelf)


def test_claims_are_replayed_and_rebuilt(shelf):
    batch(shelf, saved(shelf, "B", 1, sequel_of="A", episodes=["x", "y"]))
    assert "shelf_dramas_sequel_of_fkey" in messages(shelf)[0]
    batch(shelf, saved(shelf, "A", 1, episodes=["x"]), saved(shelf, "C", 2, episodes=["y"]))
    command(shelf, "dead-letters", "replay", "--all", "--yes")
    assert rows(shelf, "id, drama_id", "episodes") == [("x", "B"), ("y", "C")]
    assert_verified(shelf)
    # Whose row it is stays so through a rebuild, and who waits for it waits.
    batch(shelf, saved(shelf, "A", 3, props=[5]))
    batch(shelf, saved(shelf, "B", 3, props=[5]))
    for more in ((), ("--keep-retained",)):
        shelf.database.execute("""
            UPDATE shelf_episodes SET title = 'wrong'; DELETE FROM shelf_episodes WHERE id = 'y';
            DELETE FROM projectionist.state_shelf_episode""")
        command(shelf, "rebuild", SHELF, "--group", shelf.group(SHELF), "--yes", *more)
        assert rows(shelf, "id, drama_id, title", "episodes") == [("x", "B", None),
                                                                   ("y", "C", None)]
        assert rows(shelf, "id, drama_id", "props") == [(5, "A")]
        assert_verified(shelf)
        assert len(messages(shelf)) == 1


CONSTRAINTS = {
    "a constraint": ("ALTER TABLE shelf_episodes ADD CONSTRAINT one UNIQUE (drama_id, place)",
                     "ALTER TABLE shelf_episodes DROP CONSTRAINT one, ADD CONSTRAINT one"),
    "an index": ("CREATE UNIQUE INDEX one ON shelf_episodes (place, drama_id)",
                 "DROP INDEX one; ALTER TABLE shelf_episodes ADD CONSTRAINT one UNIQUE"),
    "an index of an expression": (
        "CREATE UNIQUE INDEX one ON shelf_episodes (lower(drama_id), place) WHERE place < 9",
        "ADD CONSTRAINT one EXCLUDE USING btree"),
    "a ring": ("ALTER TABLE shelf_dramas ADD first TEXT CONSTRAINT one REFERENCES shelf_episodes",
               "ALTER TABLE shelf_"),
}


@pytest.mark.parametrize("what", CONSTRAINTS)
def test_what_no_order_satisfies_is_refused_at_the_start_with_the_remedy(shelf, what):
    change, remedy = CONSTRAINTS[what]
    shelf.database.execute(change)
    started = shelf.start(SHELF)
    started.wait(6)
    said = started.log.replace("\\", "")
    assert remedy in said
    shelf.database.execute(re.search(r"(?:run|transaction): (.*?DEFERRED)", said)[1])
    batch(shelf, saved(shelf, "A", 1, episodes=["a", "b"]))
    batch(shelf, saved(shelf, "A", 2, episodes=["b", "a"]))
    assert rows(shelf, "id, place", "episodes") == [("a", 1), ("b", 0)]
    assert messages(shelf) == []


def test_what_waits_for_the_end_of_the_transaction_makes_a_dead_letter(shelf):
    """Of the record alone whose value is there twice."""
    shelf.database.execute("""
        ALTER TABLE shelf_dramas DROP CONSTRAINT shelf_dramas_code_key,
            ADD UNIQUE (code) DEFERRABLE INITIALLY IMMEDIATE""")
    batch(shelf, saved(shelf, "A", 1, code="x"), saved(shelf, "B", 1, code="y"),
          saved(shelf, "C", 1, code="x"), saved(shelf, "D", 1, code="z"))
    assert rows(shelf, "id", "dramas") == [("A",), ("B",), ("D",)]
    assert [letter["sqlstate"] for letter in shelf.letters()] == ["23505"]
    batch(shelf, saved(shelf, "A", 2, code="y"), saved(shelf, "B", 2, code="x"))
    assert rows(shelf, "code", "dramas") == [("x",), ("y",), ("z",)]


def test_a_parent_by_two_columns_is_a_placeholder_while_nobody_else_has_it(shelf):
    place, told = {"room": "r", "number": 1}, []

    def step(*records):
        told.extend(records)
        batch(shelf, *records)
        assert messages(shelf) == []
        return rows(shelf, "room, number, width, material, placeholder", "places")

    blank = ("r", 1, None, "nobody's", True)
    assert step(saved(shelf, "A", 1, **place), saved(shelf, "B", 1, **place),
                saved(shelf, "C", 1, room="r")) == [blank]
    assert step(saved(shelf, "D", 1, **place, width=9)) == [("r", 1, 9, None, None)]
    assert step(saved(shelf, "A", 2, room="it's", number=2)) == [
        ("it's", 2, None, "nobody's", True), ("r", 1, 9, None, None)]
    assert step(saved(shelf, "D", 2, gone=True)) == [("it's", 2, None, "nobody's", True), blank]
    assert step(saved(shelf, "B", 2, gone=True), saved(shelf, "A", 3)) == []
    assert step(saved(shelf, "A", 4, **place, width=7), saved(shelf, "B", 3, **place)) == [
        ("r", 1, 7, None, None)]
    assert_verified(shelf)
    # A rebuild makes what is missing, and a placeholder of a row that should not be.
    shelf.database.execute("DELETE FROM shelf_dramas; DELETE FROM shelf_places; "
                           "INSERT INTO shelf_places VALUES ('x', 1, 1), ('y', 2, 2)")
    command(shelf, "rebuild", SHELF, "--group", shelf.group(SHELF), "--yes")
    assert rows(shelf, "id, room, number", "dramas") == [("A", "r", 1), ("B", "r", 1),
                                                         ("C", "r", None)]
    assert step(saved(shelf, "A", 5, **place)) == [blank]
    shelf.database.execute("UPDATE shelf_places SET placeholder = NULL, width = 3")
    command(shelf, "rebuild", SHELF, "--group", shelf.group(SHELF), "--yes")
    assert rows(shelf, "room, number, width, material, placeholder", "places") == [blank]
    assert_verified(shelf)


@pytest.mark.partitions(4)
def test_two_replicas_agree_on_who_has_a_row_also_when_one_is_killed(shelf):
    seed = random.Random(11)
    newest, records = {}, []
    for version in range(1, 241):
        drama = f"d{seed.randrange(8)}"
        episodes = [f"e{n}" for n in range(12) if seed.random() < 0.3]
        newest[drama] = (version, episodes)
        record = saved(shelf, drama, version, int(drama[1:]) % 4, episodes=episodes)
        records += [record] * (2 if seed.random() < 0.2 else 1)
    replicas = [shelf.start(SHELF, BATCH_RECORDS="7", **consumers.QUICK) for _ in range(2)]
    for replica in replicas:
        replica.wait_until(lambda: replica.metric("projectionist_assigned_partitions") >= 2)
    shelf.publish(records[:150])
    database.wait_until(lambda: shelf.count("shelf_episodes") > 0, message="no episode comes")
    replicas[0].kill()
    shelf.publish(records[150:])
    shelf.wait_for_ends(shelf.group(SHELF), COMMANDS)
    expected = {}
    for drama, (version, episodes) in newest.items():
        for episode in episodes:
            expected[episode] = max(expected.get(episode, (0, "")), (version, drama))
    assert rows(shelf, "id, drama_id", "episodes") == sorted(
        (episode, drama) for episode, (_, drama) in expected.items())
    replicas[1].stop()
    assert messages(shelf) == []
    assert_verified(shelf)

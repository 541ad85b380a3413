# SPDX-License-Identifier: Apache-2.0
"""The projection of tests/sixth, a system of its own, added as CONTRIBUTING says: two replicas of
it, one of which is killed, keep its tables, and the product and its five projections do not mind."""

import json
from collections import Counter
from datetime import datetime, timezone
from uuid import UUID

import pytest
from lib import consumers, database, events
from lib.events import COMMANDS, HOUR, MINUTE

SIXTH = "platform-activity"
OTHERS = {
    "command-projector": ["safari_commands"],
    "event-recorder": ["safari_events"],
    "video-catalog": ["safari_videos"],
    "watermark-metrics": ["watermark_removals", "watermark_metrics"],
    "session-tracker": ["safari_sessions"],
}
ENDS = ("SUCCEEDED", "FAILED", "CANCELLED", "RUNNING")
PLATFORMS = ("sora", "flow", None)
BEGIN = events.START - 7 * 24 * HOUR  # brokers refuse what is long to come


def life(number):
    """A command: submitted half an hour after the one before, and, by its number, how it ended.
    Every fifth is told twice."""
    command = events.id_of("sixth", number)
    at = BEGIN + number * HOUR // 2
    told = [
        events.command_submitted(command, at, target=events.target(
            platform=PLATFORMS[number % len(PLATFORMS)])),
        events.status_changed(command, "RUNNING", at + MINUTE, counter=2 * number),
        events.status_changed(command, ENDS[number % len(ENDS)], at + 2 * MINUTE,
                              counter=2 * number + 1),
    ]
    return told * (2 if number % 5 == 0 else 1)


def lives(*numbers):
    return [event for number in range(*numbers) for event in life(number)]


def time_of(microseconds):
    return datetime.fromtimestamp(microseconds / 1_000_000, timezone.utc)


def expected_activity(count):
    """The rows of platform_activity after the first `count` commands."""
    buckets = {}
    for number in range(count):
        platform = PLATFORMS[number % len(PLATFORMS)]
        if platform is None:
            continue
        day = time_of(BEGIN + number * HOUR // 2).replace(hour=0, minute=0, second=0,
                                                          microsecond=0)
        buckets.setdefault((platform, day), Counter()).update(
            ["submitted", ENDS[number % len(ENDS)]])
    rows = [{"platform": platform, "day": day, "submitted": bucket["submitted"],
             "succeeded": bucket["SUCCEEDED"], "failed": bucket["FAILED"]}
            for (platform, day), bucket in buckets.items()]
    return sorted(rows, key=lambda row: [str(value) for value in row.values()])


def expected_last(count):
    last = {PLATFORMS[number % len(PLATFORMS)]: number for number in range(count)}
    return [{"platform": platform, "command_id": UUID(events.id_of("sixth", last[platform])),
             "type": "sora.generate", "submitted_at": time_of(BEGIN + last[platform] * HOUR // 2)}
            for platform in sorted(filter(None, last))]


def run(world, *arguments):
    return consumers.run("projectionist-platform", *arguments, variables={"POSTGRES_DSN": world.dsn})


def migrate(world):
    """Its tables are in the system's schema, which the test finds, too."""
    result = run(world, "migrate")
    assert result.returncode == 0, result.stderr
    world.database.execute("SET search_path = public, platform")


def assert_rows(world, count):
    assert world.rows("platform_activity") == expected_activity(count)
    assert world.rows("platform_last_command") == expected_last(count)


@pytest.mark.partitions(4)
def test_a_sixth_projection(world):
    half, count = 150, 300
    world.publish(lives(half))
    world.catch_up(*OTHERS)
    tables = [table for tables in OTHERS.values() for table in tables]
    before = {table: world.rows(table) for table in tables}
    assert before["safari_commands"] and before["safari_videos"]

    migrate(world)
    replicas = [world.start(SIXTH, BATCH_RECORDS="20", **consumers.QUICK) for _ in range(2)]
    for replica in replicas:
        replica.wait_until(lambda: replica.metric("projectionist_assigned_partitions") == 2)
    killed, left = replicas
    world.publish(lives(half, count))
    database.wait_until(lambda: world.value(
        "SELECT count(*) FROM projectionist.consumer_offsets WHERE owner = %s AND next_offset > 0",
        [killed.owner]), message="the replica that is to be killed has done nothing")
    killed.kill()
    world.wait_for_ends(world.group(SIXTH), COMMANDS)
    assert_rows(world, count)

    # What was told again counts once.
    world.publish(lives(0, count, 7))
    world.wait_for_ends(world.group(SIXTH), COMMANDS)
    assert_rows(world, count)
    left.stop()

    assert {table: world.rows(table) for table in tables} == before, "it wrote what is not its own"
    world.catch_up(*OTHERS)
    assert world.count("safari_commands") == count
    assert world.letters() == []
    status = world.status()
    lags = {name: status[world.group(name)]["lag"] for name in (SIXTH, *OTHERS)}
    assert set(lags.values()) == {0}, lags
    for program in ("projectionist", "projectionist-platform"):
        again = consumers.run(program, "migrate", variables={"POSTGRES_DSN": world.dsn})
        assert again.returncode == 0, again.stderr
        assert "nothing to do" in again.stdout
    verified = run(world, "verify", SIXTH, "--group", world.group(SIXTH))
    assert verified.returncode == 0, verified


def test_a_bucket_that_everything_has_left_goes(world):
    """The earliest submission counts, also where it is told last."""
    migrate(world)
    command = events.id_of("sixth", "moves")
    for day, platform in ((1, "flow"), (0, "sora")):
        world.publish([events.command_submitted(command, BEGIN + day * 24 * HOUR,
                                                target=events.target(platform=platform))])
        world.catch_up(SIXTH)
        buckets = [(row["platform"], row["submitted"]) for row in world.rows("platform_activity")]
        assert buckets == [(platform, 1)]
    assert world.count("platform_last_command") == 2


def test_its_migration_says_what_things_are(world):
    """As test_cli_migrate asks of the product's: whoever copies it passes that."""
    migrate(world)
    assert world.database.execute("""
        SELECT relname AS name FROM pg_class WHERE relkind IN ('r', 'v')
            AND (relnamespace = 'projectionist'::regnamespace OR relname ~ '^platform_')
            AND obj_description(oid, 'pg_class') IS NULL
        UNION ALL
        SELECT proname FROM pg_proc WHERE pronamespace = 'projectionist'::regnamespace
            AND obj_description(oid, 'pg_proc') IS NULL""").fetchall() == []


def test_without_its_migration_it_says_so(world):
    world.publish(lives(1))
    started = world.start(SIXTH)
    started.wait(6)
    assert "platform_activity" in started.log


NOT_AS_DECLARED = {
    "a column is missing": (
        SIXTH, "ALTER TABLE platform_activity DROP COLUMN failed",
        "platform_activity is not as platform-activity needs it", "failed"),
    "a column has another type": (
        SIXTH, "ALTER TABLE platform_activity ALTER COLUMN failed TYPE INTEGER",
        "its column failed is integer, but declared as bigint"),
    "a column that nobody fills": (
        SIXTH, "ALTER TABLE platform_last_command ADD COLUMN region TEXT NOT NULL",
        "its column region is NOT NULL without a default, and not declared"),
    "another key": (
        SIXTH, "ALTER TABLE platform_activity DROP CONSTRAINT platform_activity_pkey, "
               "ADD PRIMARY KEY (platform, day, failed)",
        "its key is declared as (platform, day), but no primary key"),
    "no state table": (
        SIXTH, "DROP TABLE projectionist.state_platform_activity_command",
        "projectionist.state_platform_activity_command", "projectionist-platform migrate"),
    "a state table as of a timed kind": (
        SIXTH, "ALTER TABLE projectionist.state_platform_activity_command "
               "ADD COLUMN derived_at TIMESTAMPTZ NOT NULL",
        "its column derived_at is NOT NULL without a default"),
    "no refresh": (
        SIXTH, "DROP FUNCTION projectionist.refresh_platform_activity",
        "the function projectionist.refresh_platform_activity of the table platform_activity",
        "projectionist-platform migrate"),
    "a refresh of other keys": (
        SIXTH, "DROP FUNCTION projectionist.refresh_platform_activity; "
               "CREATE FUNCTION projectionist.refresh_platform_activity(TEXT[], DATE[], BOOLEAN[]) "
               "RETURNS void LANGUAGE sql AS ''",
        "the function projectionist.refresh_platform_activity"),
    "a parent without placeholders": (
        "event-recorder", "ALTER TABLE safari_commands DROP COLUMN placeholder CASCADE",
        "the table safari_commands is not as event-recorder needs it", "placeholder"),
    "a parent with a column that placeholders lack": (
        "event-recorder", "ALTER TABLE safari_commands ALTER COLUMN payload SET NOT NULL",
        "its column payload is NOT NULL without a default, and a placeholder has no value of it"),
}


@pytest.mark.parametrize("what", NOT_AS_DECLARED)
def test_what_is_not_as_declared_is_said_at_the_start(world, what):
    """Without an event: nothing is read before, and nothing becomes a dead letter."""
    program, change, *said = NOT_AS_DECLARED[what]
    migrate(world)
    world.database.execute(change)
    started = world.start(program)
    started.wait(6)
    for text in said:
        assert text in started.log


def test_what_is_beside_the_declared_columns_is_not_minded(world):
    migrate(world)
    world.database.execute("""
        CREATE FUNCTION fill_region() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.region := 'eu'; RETURN NEW; END $$;
        ALTER TABLE platform_last_command ADD COLUMN region TEXT NOT NULL;
        CREATE TRIGGER fill BEFORE INSERT ON platform_last_command
            FOR EACH ROW EXECUTE FUNCTION fill_region();
        ALTER TABLE platform_activity ADD COLUMN note TEXT, ADD COLUMN told INT NOT NULL DEFAULT 0,
            ADD COLUMN number BIGINT GENERATED ALWAYS AS IDENTITY,
            ADD COLUMN ended BIGINT GENERATED ALWAYS AS (succeeded + failed) STORED NOT NULL,
            ALTER COLUMN platform TYPE TEXT;
        """)
    world.publish(lives(10))
    world.catch_up(SIXTH)
    assert world.letters() == []
    assert world.count("platform_activity") and world.count("platform_last_command")


def test_another_version_of_the_rules_is_told_until_a_rebuild(world):
    """projectionist-platform-next is the same, but says that its rules are version 2."""
    this, following = "projectionist-platform", "projectionist-platform-next"
    group = world.group(SIXTH)

    def warned(program, *flags):
        consumer = world.start(program, "consume", SIXTH, "--until-caught-up", *flags, group=group)
        consumer.wait(0)
        return consumer.logged("another version of the rules wrote the rows")

    def say(program, *arguments):
        result = consumers.run(program, *arguments, variables={"POSTGRES_DSN": world.dsn})
        assert result.returncode == 0, result.stderr
        return result.stdout

    def told(program):
        return "written by version" in say(program, "status", "--group", group)

    migrate(world)
    world.publish(lives(10))
    assert warned(this) == []
    assert not told(this)
    world.publish(lives(10, 20))
    (warning,) = warned(following)
    assert "rows_version=1 version=2" in warning
    assert (f"{group}: its rows were written by version 1 of its rules, and this program has "
            f"version 2; '{following} rebuild {SIXTH}' writes them anew"
            ) in say(following, "status", "--group", group)
    consumer, = json.loads(say(following, "status", "--group", group, "--json"))["consumers"]
    assert (consumer["version"], consumer["rows_version"]) == (2, 1)
    assert "the rows were written by version 1 of the rules, and this is version 2" in say(
        following, "verify", SIXTH, "--group", group)

    say(following, "rebuild", SIXTH, "--group", group, "--yes")
    assert not told(following) and warned(following) == []
    assert "were written by version" not in say(following, "verify", SIXTH, "--group", group)
    assert "rows_version=2 version=1" in warned(this)[0]
    assert warned(this, "--accept-version") == []
    assert not told(this) and told(following)
    assert_rows(world, 20)

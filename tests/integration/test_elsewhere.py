# SPDX-License-Identifier: Apache-2.0
"""The yard of tests/elsewhere, a system of its own that is built with what is installed: three
replicas of its consumer, killed all the time, keep tables that are those of an oracle, also while
they are rebuilt.

PROJECTIONIST_ELSEWHERE_SECONDS, _SEEDS (how many) and _SEED (the first) make the run longer and
another one; see tests/elsewhere/long.
"""

import os
import random
import subprocess

import pytest
from elsewhere import oracle, stream
from lib import avro, consumers, database, kafka
from lib.feed import Feed
from lib.world import new_database

SOURCE = consumers.REPOSITORY / "tests/elsewhere"
PROGRAM, PROJECTION = "projectionist-yard", "job-board"
SECONDS = int(os.environ.get("PROJECTIONIST_ELSEWHERE_SECONDS", "8"))
SEEDS = int(os.environ.get("PROJECTIONIST_ELSEWHERE_SEEDS", "1"))
FIRST_SEED = int(os.environ.get("PROJECTIONIST_ELSEWHERE_SEED", "1"))
RATE = 150  # events a second
KILL_AFTER = 80  # records that are read
REPLICAS, PARTITIONS = 3, 4
COLUMNS = {
    "jobs": "job, parent, title, state::text, skills, minutes, root, depth, minutes_left, "
            "jobs_open, array(SELECT lexeme::text FROM unnest(search) ORDER BY 1) AS search",
    "crew": "person, job, place, role",
}


def good(*command):
    result = subprocess.run([str(word) for word in command], text=True, capture_output=True,
                            timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module", autouse=True)
def built(installed, tmp_path_factory):
    """The programs under test are those of the yard."""
    folder = tmp_path_factory.mktemp("yard")
    good("cmake", "-G", "Ninja", "-S", SOURCE, "-B", folder, f"-DCMAKE_PREFIX_PATH={installed}")
    good("cmake", "--build", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROJECTIONIST_BIN", str(folder / "bin"))
        yield folder


class Yard:
    """A database, topics and a group of its own, and what runs there."""

    def __init__(self, dsn, folder):
        self.group = consumers.Consumers.new_group(PROJECTION)
        self.consumers = consumers.Consumers(folder, {"POSTGRES_DSN": dsn})
        self.connection = database.connect(dsn)
        self.connection.execute("SET search_path = yard")

    def good(self, *arguments):
        result = consumers.run(PROGRAM, *arguments, variables=self.consumers.variables)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def start(self, command, *arguments, **variables):
        return self.consumers.start(PROGRAM, command, PROJECTION, *arguments, "--group",
                                    self.group, **variables)

    def replica(self, number):
        """Of small batches: more moments at which a kill can come in between. The first has no
        name in the group, so that it is missed for some seconds when it is killed; the others are
        those of a StatefulSet."""
        named = {"KAFKA_GROUP_INSTANCE_ID": f"{self.group}-{number}"} if number > 0 else {}
        return self.start("consume", "--batch-records", "20", **named, **consumers.QUICK)

    def tables(self):
        return {table: sorted(self.connection.execute(f"SELECT {columns} FROM {table}").fetchall(),
                              key=str) for table, columns in COLUMNS.items()}

    def read(self):
        """{owner: how many records are read} of partitions that somebody owns."""
        return {row["owner"]: int(row["read"]) for row in self.connection.execute(
            "SELECT owner, sum(next_offset) AS read FROM projectionist.consumer_offsets "
            "WHERE consumer_group = %s GROUP BY owner", [self.group])}

    def assert_right(self):
        """The tables are those of the oracle, which reads the topics; and so are the letters."""
        events, refused = [], []
        for record in kafka.read(stream.TOPIC):
            _, event = avro.decode(record.value, stream.SCHEMA)
            events.append(event)
            if oracle.refused(event):
                refused.append((record.partition, record.offset))
        wanted, have = oracle.tables(events), self.tables()
        for table, rows in wanted.items():
            assert have[table] == rows, table
        letters = self.connection.execute(
            "SELECT partition, record_offset FROM projectionist.dead_letters "
            "WHERE status = 'open'").fetchall()
        assert sorted(tuple(letter.values()) for letter in letters) == sorted(refused)
        return wanted


@pytest.fixture
def yard(tmp_path):
    kafka.delete_topics(stream.TOPIC)
    with new_database(migrated=False) as dsn:
        yard = Yard(dsn, tmp_path)
        yard.good("migrate")
        yard.good("topics", "create", "--partitions", PARTITIONS)
        yard.good("schemas", "register")
        try:
            yield yard
            yard.consumers.end()
        finally:
            yard.consumers.kill()
            yard.connection.close()
    kafka.delete_topics(stream.TOPIC)


class Killer:
    """Kills a replica again and again, mostly one that has partitions, and starts another."""

    def __init__(self, yard, chance):
        self._yard, self._chance = yard, chance
        self.replicas = [yard.replica(number) for number in range(REPLICAS)]
        self.kills = self.of_owners = 0

    def kill(self):
        owners = self._yard.read()
        owning = [replica for replica in self.replicas if replica.owner in owners]
        anybody = not owning or self._chance.random() < 0.2
        victim = self._chance.choice(self.replicas if anybody else owning)
        number = self.replicas.index(victim)
        self._yard.consumers.check()
        victim.kill()
        self.replicas[number] = self._yard.replica(number)
        self.kills += 1
        self.of_owners += victim in owning


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_replicas_that_are_killed_all_the_time_keep_what_is_right(yard, seed):
    told = stream.records(stream.happened(SECONDS * RATE, seed), PARTITIONS, seed)
    killer = Killer(yard, random.Random(seed))
    feed = Feed(told, len(told) / SECONDS, message_timeout_ms=kafka.TIMEOUT * 1000)
    rebuild, read = None, 0
    while read < len(told):
        wanted = min(read + KILL_AFTER, len(told))
        read = database.wait_until(lambda: (now := sum(yard.read().values())) >= wanted and now,
                                   2 * consumers.DEADLINE, "no more is read")
        killer.kill()
        if rebuild is None and read > len(told) / 2:
            rebuild = yard.start("rebuild", "--yes", "--json")
    feed.finish()
    rebuild.wait(0)
    database.wait_for_offsets(yard.connection, yard.group, kafka.end_offsets(stream.TOPIC))
    wanted = yard.assert_right()
    print(f"{len(told)} records, {killer.kills} kills, {killer.of_owners} of them of owners, "
          f"seed {seed}")
    assert killer.of_owners >= 5, "too few of the kills ended an owner"
    assert_everything_happened(wanted)
    yard.good("verify", PROJECTION, "--group", yard.group)
    yard.good("rebuild", PROJECTION, "--group", yard.group, "--yes")
    yard.assert_right()
    yard.good("verify", PROJECTION, "--group", yard.group)


def assert_everything_happened(tables):
    """Else the run would say less than it seems to."""
    jobs, crew = tables["jobs"], tables["crew"]
    assert max(row["depth"] or 0 for row in jobs) > 5
    assert any(row["root"] is None for row in jobs)
    assert any(len(row["skills"]) > 1 for row in jobs)
    assert len({row["job"] for row in crew}) > 5 and max(row["place"] for row in crew) > 1

# SPDX-License-Identifier: Apache-2.0
"""outbox-relay while it is killed and its servers go away: each committed row is published at least
once with its id, none that was rolled back, those of a key in order."""

import os
import random
import time

import pytest
from lib import database
from lib.consumers import Consumers
from lib.kafka_proxy import FENCED, KafkaProxy
from lib.outbox import Writers, new_outbox
from world import away

ROWS = int(os.environ.get("PROJECTIONIST_SCENARIO_ROWS", 5000))
KILLS = int(os.environ.get("PROJECTIONIST_SCENARIO_KILLS", 5))
SEED = os.environ.get("PROJECTIONIST_SCENARIO_SEED", "1")
SESSIONS = 20
PAUSE = 0.3  # of a session between transactions: it writes while relays start and are killed


@pytest.fixture
def outbox(template):
    with new_outbox(template) as outbox:
        yield outbox


@pytest.fixture
def relays(tmp_path):
    relays = Consumers(tmp_path)
    try:
        yield relays
        relays.end()
    finally:
        relays.kill()


def published(relay):
    return relay.ready() and relay.metric("projectionist_outbox_published_total") > 0


def test_killed_at_random_moments(outbox, relays):
    """Each time after it has published something, while 20 sessions write and roll back."""
    chance = random.Random(SEED)
    for kill in range(KILLS):
        writers = Writers(outbox, ROWS // KILLS, SESSIONS, f"{SEED} {kill}", pause=PAUSE)
        relay = outbox.relay(relays)
        relay.wait_until(lambda: published(relay), 60, "it published nothing")
        time.sleep(chance.uniform(0, 0.3))
        relay.kill()
        writers.join()
    last = outbox.relay(relays)
    outbox.wait_until_empty(120)
    twice = outbox.check()
    last.stop()
    print(f"{len(outbox.committed)} rows committed, {len(outbox.undone)} rolled back, {KILLS} "
          f"kills, {twice} records twice")


def test_servers_go_away_and_come_back(outbox, relays):
    relay = outbox.relay(relays)
    writers = Writers(outbox, 1000, 4, SEED)
    relay.wait_until(lambda: published(relay), 60, "it published nothing")
    with away("kafka"):
        with outbox.connect() as connection:
            outbox.committed |= outbox.tell(connection, "meanwhile", 10)
        relay.wait_until(lambda: not relay.ready(), 60, "it does not say that Kafka is away")
        assert relay.alive()
    writers.join()
    outbox.wait_until_empty(90)
    with away("postgres"):
        relay.wait_until(lambda: not relay.ready(), 60, "it does not say that Postgres is away")
        assert relay.alive()
    relay.wait_until_ready()
    with outbox.connect() as connection:
        outbox.committed |= outbox.tell(connection, "after", 10)
    outbox.wait_until_empty()
    outbox.check()
    relay.stop()


def test_a_late_end_of_a_transaction_meets_no_later_one(outbox, relays):
    """The coordinator's connection is cut at EndTxn, which arrives when the next transaction is open."""
    def tell(key):
        with outbox.connect() as connection:
            outbox.committed |= outbox.tell(connection, key)
        outbox.wait_until_empty()

    with KafkaProxy() as proxy:
        relay = outbox.relay(relays, KAFKA_BOOTSTRAP_SERVERS=proxy.address)
        tell("a")
        proxy.delay_commit()
        tell("b")
        tell("c")
        assert proxy.arrived.wait(30)
        assert proxy.late_error in FENCED
        tell("d")
        relay.stop()
    assert outbox.check() == 0


def test_a_frozen_relay_is_replaced_and_publishes_nothing_when_it_wakes(outbox, relays):
    """Its session with Postgres ends while it sleeps, as by keepalives of TCP or a failover."""
    first = outbox.relay(relays)
    first.wait_until_ready()
    second = outbox.relay(relays)
    database.wait_until(lambda: "standing by" in second.log)
    writers = Writers(outbox, 600, 4, SEED, pause=0.02)
    first.wait_until(lambda: published(first), 60, "it published nothing")
    first.freeze()
    with outbox.connect(autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                           "WHERE application_name = 'outbox-relay' AND datname = current_database() "
                           "AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')")
    second.wait_until(lambda: second.metric("projectionist_outbox_active") == 1)
    writers.join()
    outbox.wait_until_empty()
    first.thaw()
    first.wait_for_log("standing by")
    outbox.check()
    assert first.metric("projectionist_outbox_active") == 0
    second.stop()
    first.wait_until(lambda: first.metric("projectionist_outbox_active") == 1)
    first.stop()

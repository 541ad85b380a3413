# SPDX-License-Identifier: Apache-2.0
"""Ready means that work is done: what readiness, lag, status, a run until caught up, verify and rebuild
say where records are there and nobody reads them."""

import contextlib
import re
import uuid

import confluent_kafka
import psycopg
import pytest
from confluent_kafka.admin import (AclBinding, AclBindingFilter, AclOperation, AclPermissionType,
                                   NewPartitions, ResourcePatternType, ResourceType)

from lib import consumers, events, kafka
from lib.database import wait_until
from lib.events import COMMANDS, SECOND, START
from lib.rebuilding import UNKNOWN, run, verify
from lib.world import PROJECTOR, new_topics

pytestmark = pytest.mark.partitions(2)

QUICK = ("--stall-timeout", "1s")


def submitted(number):
    return events.command_submitted(events.id_of("progress", number), START + number * SECOND)


def publish(world, numbers, partition=0):
    world.publish([submitted(number) for number in numbers], partition)


def until_not_ready(consumer, *words):
    """Waits until it is not ready for a reason that holds the words, and has logged it."""
    def told():
        status, text = consumer.get("/readyz")
        return status == 503 and all(word in text for word in words)

    consumer.wait_until(told, 30, f"/readyz does not say {words}")
    consumer.wait_until(lambda: consumer.logged("no progress", *words) or
                        consumer.logged("waiting for a server", *words), 30, "nor the log")
    assert consumer.alive()


def lags(consumer):
    return {name: value for name, value in consumer.metrics().items()
            if name.startswith("projectionist_lag_records")}


def partitions(world):
    return {(partition["topic"], partition["partition"]): partition
            for partition in world.status()[world.group(PROJECTOR)]["partitions"]}


@contextlib.contextmanager
def denied(kind, name, *operations):
    """As long as the with, nobody may do that with the topic or group, but all else."""
    admin = kafka.admin()

    def binding(operation, permission):
        return AclBinding(kind, name, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*",
                          operation, permission)

    rules = [binding(AclOperation.ALL, AclPermissionType.ALLOW)]
    rules += [binding(operation, AclPermissionType.DENY) for operation in operations]
    try:
        for future in admin.create_acls(rules).values():
            future.result(30)
        yield
    finally:
        everything = AclBindingFilter(kind, name, ResourcePatternType.LITERAL, None, None,
                                      AclOperation.ANY, AclPermissionType.ANY)
        for future in admin.delete_acls([everything]).values():
            future.result(30)


@contextlib.contextmanager
def foreign_member(group, strategy="cooperative-sticky"):
    """Somebody else's consumer in the group, which polls in the background by being asked."""
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": kafka.bootstrap_servers(), "group.id": group, "client.id": "stranger",
        "partition.assignment.strategy": strategy, "auto.offset.reset": "earliest"})
    consumer.subscribe([COMMANDS])
    try:
        wait_until(lambda: consumer.poll(0.2) is None and consumer.assignment(), 30,
                   "it has no partitions")
        yield consumer
    finally:
        consumer.close()


def test_a_topic_that_may_not_be_read_any_more(world):
    publish(world, range(10))
    consumer = world.start(PROJECTOR, *QUICK)
    consumer.wait_until_ready()
    world.wait_for_ends(world.group(PROJECTOR), COMMANDS)
    with denied(ResourceType.TOPIC, COMMANDS, AclOperation.READ):
        consumer.wait_until(lambda: consumer.logged("TOPIC_AUTHORIZATION_FAILED"), 30)
        publish(world, range(100, 150))
        until_not_ready(consumer, COMMANDS, "authorization failed", "READ")
        consumer.wait_until(lambda: sum(lags(consumer).values()) == 50, 30, "the lag is not 50")
        assert consumer.metric("projectionist_stalled") == 1
        # It says so again.
        consumer.wait_until(lambda: len(consumer.logged("no progress")) > 1, 30)
        # A run that is to end waits and says why; verify cannot tell; a rebuild says why it waits.
        waiting = world.start(PROJECTOR, *QUICK, "--until-caught-up", group="until")
        until_not_ready(waiting, "authorization failed")
        assert "authorization failed" in verify(world, PROJECTOR, "--stall-timeout=2s", code=UNKNOWN)
    consumer.wait_until_ready()
    waiting.wait(0)
    wait_until(lambda: world.count("safari_commands") == 60)
    assert consumer.metric("projectionist_stalled") == 0


def test_a_topic_that_may_not_even_be_seen(world):
    publish(world, range(10))
    consumer = world.start(PROJECTOR, *QUICK)
    consumer.wait_until_ready()
    world.wait_for_ends(world.group(PROJECTOR), COMMANDS)
    with denied(ResourceType.TOPIC, COMMANDS, AclOperation.ALL):
        until_not_ready(consumer, COMMANDS, "uthorization failed")
        assert lags(consumer) == {}, "what is not known is not 0"
        late = world.start(PROJECTOR, *QUICK, group="late")
        until_not_ready(late, COMMANDS, "authorization failed")
    publish(world, range(10, 20))
    consumer.wait_until_ready()
    late.wait_until_ready()
    wait_until(lambda: world.count("safari_commands") == 20)


def test_a_group_that_may_not_be_joined(world):
    group = world.group(PROJECTOR)
    publish(world, range(10))
    with denied(ResourceType.GROUP, group, AclOperation.READ):
        consumer = world.start(PROJECTOR, *QUICK)
        until_not_ready(consumer, group, "Group authorization failed", "grant")
        # By the second line nobody has read the partitions for as long as the stall timeout.
        consumer.wait_until(lambda: len(consumer.logged("no progress")) == 2, 30)
        assert len(consumer.logged("no progress", "Group authorization failed", "grant")) == 2
    consumer.wait_until_ready()
    wait_until(lambda: world.count("safari_commands") == 10)


def test_a_topic_that_is_deleted_while_it_is_read(world):
    publish(world, range(10))
    consumer = world.start(PROJECTOR, *QUICK)
    consumer.wait_until_ready()
    world.wait_for_ends(world.group(PROJECTOR), COMMANDS)
    kafka.delete_topics(COMMANDS)
    until_not_ready(consumer, COMMANDS, "the topic", "does not exist")  # by librdkafka 2.8 or by us
    assert lags(consumer) == {}
    consumer.stop()


@pytest.mark.parametrize("strategy", ["cooperative-sticky", "range"])
def test_a_stranger_in_the_group(world, strategy):
    """It has a partition (or, where it shares no strategy with ours, keeps us out)."""
    group = world.group(PROJECTOR)
    publish(world, range(10))
    publish(world, range(100, 110), partition=1)
    with foreign_member(group, strategy) as stranger:
        consumer = world.start(PROJECTOR, *QUICK)

        def told():
            stranger.poll(0.05)
            text = consumer.get("/readyz")[1]
            return "stranger at" in text if strategy != "range" else "assignment.strategy" in text

        if strategy == "cooperative-sticky":
            wait_until(lambda: stranger.poll(0.05) is None and world.count("safari_commands"), 40,
                       "it has no partition")
        wait_until(told, 40, "its readiness does not name the stranger")
        assert consumer.logged("no progress")
        if strategy == "cooperative-sticky":
            ending = world.start(PROJECTOR, *QUICK, "--until-caught-up")
            wait_until(lambda: stranger.poll(0.05) is None and ending.logged("no progress"), 40,
                       "a run until caught up says nothing")
            assert ending.running
            assert sum(partition["lag"] for partition in partitions(world).values()) == 10
            assert "no consumer has ever owned" in verify(world, PROJECTOR, code=UNKNOWN)
    consumer.wait_until_ready()
    wait_until(lambda: world.count("safari_commands") == 20)
    if strategy == "cooperative-sticky":
        ending.wait(0)


def test_a_commit_that_waits_for_a_standby(world):
    publish(world, range(10))
    consumer = world.start(PROJECTOR, *QUICK)
    consumer.wait_until_ready()
    world.wait_for_ends(world.group(PROJECTOR), COMMANDS)
    with synchronous_standby("nobody"):
        publish(world, range(10, 20))
        until_not_ready(consumer, "COMMIT", "synchronous standby")
    consumer.wait_until_ready()
    wait_until(lambda: world.count("safari_commands") == 20)


@contextlib.contextmanager
def synchronous_standby(name):
    """Every COMMIT waits for it."""
    with psycopg.connect(consumers.address("CLUSTER_ADMIN_DSN"), autocommit=True) as server:
        def configure(value):
            server.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{value}'")
            server.execute("SELECT pg_reload_conf()")

        server.execute("SET synchronous_commit = local")
        configure(name)
        try:
            wait_until(lambda: server.execute("SHOW synchronous_standby_names").fetchone()
                       != ("",))
            yield
        finally:
            configure("")


def test_partitions_that_nobody_has_ever_taken(world):
    """Two of four came later; their records are lag, and a verify has not compared them."""
    publish(world, range(10))
    publish(world, range(10, 20), partition=1)
    world.catch_up(PROJECTOR)
    admin = kafka.admin()
    admin.create_partitions([NewPartitions(COMMANDS, 4)])[COMMANDS].result(30)
    wait_until(lambda: len(kafka.end_offsets(COMMANDS)) == 4)
    assert verify(world, PROJECTOR)["outcome"] == "equal"  # they are empty
    publish(world, range(100, 125), partition=2)
    publish(world, range(200, 275), partition=3)
    told = partitions(world)
    assert [told[COMMANDS, number]["lag"] for number in range(4)] == [0, 0, 25, 75]
    assert told[COMMANDS, 3]["committed"] is None and told[COMMANDS, 3]["problem"] == "never-taken"
    assert world.status()[world.group(PROJECTOR)]["lag"] == 100
    said = run(world, "verify", PROJECTOR, code=UNKNOWN)
    assert f"{COMMANDS} [3]: 75 records" in said.stderr and "2 partitions" in said.stderr
    world.catch_up(PROJECTOR)
    assert world.count("safari_commands") == 120
    assert verify(world, PROJECTOR)["outcome"] == "equal"


def test_records_behind_an_open_transaction(world):
    publish(world, range(1))
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap_servers(),
                                         "transactional.id": uuid.uuid4().hex,
                                         "transaction.timeout.ms": 600000})
    producer.init_transactions(30)
    producer.begin_transaction()
    record = world.record(submitted(1))
    producer.produce(COMMANDS, record.value, record.key, partition=0)
    assert producer.flush(30) == 0
    publish(world, range(100, 120))
    world.catch_up(PROJECTOR)
    told = partitions(world)[COMMANDS, 0]
    assert (told["lag"], told["open_transaction"]) == (21, 21)
    assert told["problem"] == "open-transaction"
    consumer = world.start(PROJECTOR, *QUICK)
    until_not_ready(consumer, "21 records", "open transaction")
    labels = f'{{topic="{COMMANDS}",partition="0"}}'
    assert consumer.metric(f"projectionist_lag_records{labels}") == 21
    assert consumer.metric(f"projectionist_open_transaction_records{labels}") == 21
    assert re.search("21 records wait for an open transaction",
                     run(world, "verify", PROJECTOR).stderr)
    producer.abort_transaction(30)
    consumer.wait_until_ready()
    wait_until(lambda: world.count("safari_commands") == 21)
    wait_until(lambda: partitions(world)[COMMANDS, 0]["lag"] == 0)


def test_another_process_with_the_same_instance_id(world):
    """What librdkafka calls fatal ends the process; it comes as a message."""
    publish(world, range(10))
    identity = f"pod-{uuid.uuid4().hex[:6]}"
    consumer = world.start(PROJECTOR, f"--kafka.group.instance.id={identity}",
                           "--kafka.session.timeout.ms=6000")
    consumer.wait_until_ready()
    wait_until(lambda: world.count("safari_commands") == 10)
    other = confluent_kafka.Consumer({
        "bootstrap.servers": kafka.bootstrap_servers(), "group.id": world.group(PROJECTOR),
        "group.instance.id": identity, "partition.assignment.strategy": "cooperative-sticky"})
    other.subscribe([COMMANDS])
    try:
        wait_until(lambda: other.poll(0.1) is None and not consumer.running, 40, "it lives on")
    finally:
        other.close()
    consumer.wait(5)
    assert "kafka.group.instance.id" in consumer.log.splitlines()[-1]

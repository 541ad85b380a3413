# SPDX-License-Identifier: Apache-2.0
"""kafka.group.protocol=consumer (KIP-848): refused where librdkafka is too old for it; elsewhere it
works, and whoever comes back too early under a static id says so and ends."""

import confluent_kafka
import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from lib import consumers, events, kafka, librdkafka
from lib.database import wait_until
from lib.events import START, TELEMETRY
from lib.world import RECORDER

NEEDED = 0x020F0000  # librdkafka 2.15
USAGE, FENCED = 2, 5
SESSION_MS = 8000


def frames(count, name):
    return [events.telemetry("action.attempted", START + number, counter=number, payload={},
                             event_id=events.id_of(name, number)) for number in range(count)]


@pytest.fixture
def newest(tmp_path_factory, monkeypatch):
    if confluent_kafka.libversion()[1] < NEEDED:
        pytest.skip("confluent-kafka has no librdkafka of 2.15 or later")
    librdkafka.use_newer(tmp_path_factory.mktemp("library"), monkeypatch)


def start(world, group, **variables):
    return world.start(RECORDER, group=group, KAFKA_GROUP_PROTOCOL="consumer", **variables)


def set_session(group):
    resource = ConfigResource(ConfigResource.Type.GROUP, group, incremental_configs=[
        ConfigEntry("consumer.session.timeout.ms", str(SESSION_MS),
                    incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("consumer.heartbeat.interval.ms", "1000",
                    incremental_operation=AlterConfigOpType.SET)])
    client = kafka.admin()
    for future in client.incremental_alter_configs([resource]).values():
        future.result(30)


def test_refused_by_an_older_librdkafka(world):
    done = consumers.run(RECORDER, "--until-caught-up",
                         variables={"POSTGRES_DSN": world.dsn, "KAFKA_GROUP_PROTOCOL": "consumer"})
    if done.returncode == 0:
        pytest.skip("the system's librdkafka is of 2.15 or later")
    assert done.returncode == USAGE, done.stderr
    assert "kafka.group.protocol=consumer needs librdkafka 2.15 or later, and this is" in done.stderr


@pytest.mark.usefixtures("newest")
def test_replicas_share_and_take_over(world):
    group = world.consumers.new_group("consumer-protocol")
    set_session(group)
    replicas = [start(world, group) for _ in range(2)]
    world.publish(frames(300, "first"))
    world.wait_for_ends(group, TELEMETRY)
    wait_until(lambda: all(replica.metric("projectionist_assigned_partitions") > 0
                           for replica in replicas), 60)
    replicas[0].kill()
    world.publish(frames(300, "second"))
    world.wait_for_ends(group, TELEMETRY)
    assert world.count("safari_events") == 600
    assert not replicas[1].logged("leave out one of the two")


@pytest.mark.usefixtures("newest")
def test_a_static_id_whose_session_has_not_ended(world):
    group = world.consumers.new_group("consumer-protocol")
    set_session(group)
    first = start(world, group, KAFKA_GROUP_INSTANCE_ID="replica-0")
    first.wait_until_ready()
    assert first.logged("group.consumer.session.timeout.ms", "leave out one of the two")
    first.kill()
    early = start(world, group, KAFKA_GROUP_INSTANCE_ID="replica-0")
    seen = set()
    wait_until(lambda: seen.add(early.ready()) or not early.running, 60)
    assert early.wait_for_end() == FENCED
    assert early.logged("the group still has another member with this kafka.group.instance.id",
                        "if it was killed, try again")
    assert seen == {False}
    wait_until(lambda: group_is_empty(group), 60)
    late = start(world, group, KAFKA_GROUP_INSTANCE_ID="replica-0")
    late.wait_until_ready()
    world.publish(frames(100, "late"))
    world.wait_for_ends(group, TELEMETRY)


def group_is_empty(group):
    client = kafka.admin()
    return not client.describe_consumer_groups([group])[group].result(30).members

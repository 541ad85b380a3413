# SPDX-License-Identifier: Apache-2.0
"""Kafka at PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS: topics, records and offsets."""

import contextlib
import functools
import os
import time
from dataclasses import dataclass, field

from confluent_kafka import (Consumer, IsolationLevel, KafkaError, KafkaException, Producer,
                             TopicPartition)
from confluent_kafka.admin import (AclBinding, AclBindingFilter, AclOperation, AclPermissionType,
                                   AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource,
                                   ConfigSource, NewTopic, OffsetSpec, ResourcePatternType,
                                   ResourceType)

from lib.database import wait_until

TIMEOUT = 30  # seconds
WITHOUT_LEADER = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE,
                  KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_LEADER_EPOCH,
                  KafkaError.FENCED_LEADER_EPOCH)  # of a partition that has only just been made
EVERY_TOPIC = {"retention.ms": "-1"}  # what the tests' topics have set


@dataclass(frozen=True)
class Record:
    """What produce takes and read gives. timestamp: milliseconds since 1970, None: now.
    partition: None: the key chooses it. headers: (name, bytes or None) pairs."""

    topic: str
    key: bytes | str | None
    value: bytes | None
    timestamp: int | None = None
    partition: int | None = None
    headers: list = field(default_factory=list)
    offset: int | None = None  # only where it was read


def bootstrap_servers():
    value = os.environ.get("PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS")
    assert value, "PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS is not set"
    return value


def admin():
    """An AdminClient, for what is not here."""
    return AdminClient({"bootstrap.servers": bootstrap_servers()})


@functools.cache
def _admin(servers):
    return AdminClient({"bootstrap.servers": servers, "reconnect.backoff.max.ms": 500,
                        "log_level": 0})  # what fails is raised, and a Kafka that is away is no news


def _shared_admin():
    """One for all that is here: a client that begins takes longer than what it is asked for."""
    return _admin(bootstrap_servers())


def create_topics(*names, partitions=12, config=None):
    """Makes topics that keep their records for ever, and waits until they can be used."""
    settings = {**EVERY_TOPIC, **(config or {})}
    client = _shared_admin()
    wanted = [NewTopic(name, partitions, 1, config=settings) for name in names]
    for future in client.create_topics(wanted, operation_timeout=TIMEOUT).values():
        future.result(TIMEOUT)
    wait_until(lambda: all(_partition_count(client, name) == partitions for name in names),
               TIMEOUT, f"topics {', '.join(names)} did not appear")


def delete_topics(*names):
    """Deletes topics, and waits until they are gone; those that are not there are no error. What
    they have set goes first: a broker that starts again gives it to a new topic of the same name
    otherwise (Kafka 4.1, where the records of its metadata are read again in one go)."""
    client = _shared_admin()
    _change_settings(client, {name: dict.fromkeys(own.keys() - EVERY_TOPIC.keys())
                              for name, own in _own_settings(client, names).items()})
    for _ in _of_those_there(client.delete_topics(list(names), operation_timeout=TIMEOUT)):
        pass
    wait_until(lambda: not any(_partition_count(client, name) for name in names),
               TIMEOUT, f"topics {', '.join(names)} did not go")


def set_topic(name, **settings):
    """Changes settings of a topic, with _ for the dots; None is the default again."""
    def applied():
        own, = _own_settings(client, [name]).values()
        return {key: own.get(key) for key in wanted} == wanted

    client = _shared_admin()
    wanted = {key.replace("_", "."): value for key, value in settings.items()}
    _change_settings(client, {name: wanted})
    wait_until(applied, TIMEOUT, f"{name} is not changed")


@contextlib.contextmanager
def without_right(kind, name, operation):
    """A right that is taken away, from everybody, while the with lasts."""
    client = admin()
    rules = [AclBinding(kind, name, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", *rule)
             for rule in ((AclOperation.ALL, AclPermissionType.ALLOW),
                          (operation, AclPermissionType.DENY))]
    for future in client.create_acls(rules).values():
        future.result(TIMEOUT)
    try:
        yield
    finally:
        every = AclBindingFilter(kind, name, ResourcePatternType.LITERAL, None, None,
                                 AclOperation.ANY, AclPermissionType.ANY)
        for future in client.delete_acls([every]).values():
            future.result(TIMEOUT)


def new_topics(*names, partitions, config=None):
    """Deletes topics and makes them again, empty; each partition has its leader then."""
    delete_topics(*names)
    create_topics(*names, partitions=partitions, config=config)
    end_offsets(*names)


def produce(records, deadline=TIMEOUT, **config):
    """Produces records (Record, or tuples (topic, key, value, timestamp, partition)) in order, and
    waits until the broker has them all, at most so many seconds after the last. config is
    librdkafka's, with _ for the dots."""
    failed = []

    def delivered(error, message):
        if error is not None:
            failed.append(f"{message.topic()} {message.key()}: {error}")

    producer = Producer({"bootstrap.servers": bootstrap_servers(), "enable.idempotence": True,
                         "partitioner": "murmur2_random",  # as Java's clients choose
                         "linger.ms": 5,
                         **{name.replace("_", "."): value for name, value in config.items()}})
    for item in records:
        record = item if isinstance(item, Record) else Record(*item)
        arguments = {"key": record.key, "value": record.value, "headers": record.headers,
                     "on_delivery": delivered}
        if record.timestamp is not None:
            arguments["timestamp"] = record.timestamp
        if record.partition is not None:
            arguments["partition"] = record.partition
        while True:
            try:
                producer.produce(record.topic, **arguments)
                break
            except BufferError:  # the queue is full: let some go
                producer.poll(1)
        producer.poll(0)
    left = producer.flush(deadline)
    assert not left, f"{left} records were not produced within {deadline} s"
    assert not failed, f"{len(failed)} records were not produced, the first is {failed[0]}"


def end_offsets(*topics):
    """{(topic, partition): the offset after its last record}."""
    return _offsets(topics, OffsetSpec.latest())


def low_offsets(*topics):
    """{(topic, partition): the offset of the first record that is still there}."""
    return _offsets(topics, OffsetSpec.earliest())


def read(*topics):
    """All records of the topics up to their present ends, in order within each partition. Brokers
    answer a commit a moment before readers see it, so that is waited for."""
    records = []
    held = {}  # {(topic, partition): since when what is before its end is of an open transaction}
    lows = low_offsets(*topics)
    ends = {place: high for place, high in end_offsets(*topics).items() if high > lows[place]}
    consumer = _consumer()
    try:
        consumer.assign([TopicPartition(*place, 0) for place in ends])
        deadline = time.monotonic() + TIMEOUT
        while ends:
            assert time.monotonic() < deadline, f"no end of {sorted(ends)} within {TIMEOUT} s"
            for place in [place for place, since in held.items() if time.monotonic() - since > 1]:
                del held[place], ends[place]
            message = consumer.poll(0.1 if held else 1)
            if message is None:
                continue
            place = message.topic(), message.partition()
            if message.error():
                if message.error().code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(message.error())
                if place in ends and message.offset() < ends[place]:
                    held.setdefault(place, time.monotonic())
                else:
                    ends.pop(place, None)
                    held.pop(place, None)
                continue
            records.append(Record(message.topic(), message.key(), message.value(),
                                  message.timestamp()[1], message.partition(),
                                  message.headers() or [], message.offset()))
        return records
    finally:
        consumer.close()


def _own_settings(client, names):
    """{topic: {setting: value}} of what the topics have set themselves."""
    found = client.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
    return {resource.name: {entry.name: entry.value for entry in settings.values()
                            if entry.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value}
            for resource, settings in _of_those_there(found)}


def _change_settings(client, wanted):
    """wanted: {topic: {setting: value, or None for the default}}."""
    changes = [ConfigResource(ResourceType.TOPIC, name, incremental_configs=[
                   ConfigEntry(key, value, incremental_operation=AlterConfigOpType.DELETE
                               if value is None else AlterConfigOpType.SET)
                   for key, value in settings.items()])
               for name, settings in wanted.items() if settings]
    if changes:
        for future in client.incremental_alter_configs(changes).values():
            future.result(TIMEOUT)


def _of_those_there(futures):
    """(key, result) of each, but for topics that are not there."""
    for key, future in futures.items():
        try:
            yield key, future.result(TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise


def _consumer():
    return Consumer({"bootstrap.servers": bootstrap_servers(), "group.id": "projectionist-tests",
                     "enable.auto.commit": False, "auto.offset.reset": "earliest",
                     "enable.partition.eof": True, "isolation.level": "read_committed"})


def _offsets(topics, which):
    """Of each partition that there is, as soon as it has its leader: a new one is known before."""
    client = _shared_admin()

    def ask():
        wanted = {TopicPartition(topic, partition): which
                  for topic in topics for partition in range(_partition_count(client, topic))}
        found = client.list_offsets(wanted, isolation_level=IsolationLevel.READ_COMMITTED,
                                    request_timeout=TIMEOUT) if wanted else {}
        try:
            return [{(place.topic, place.partition): future.result(TIMEOUT).offset
                     for place, future in found.items()}]
        except KafkaException as error:
            if error.args[0].code() in WITHOUT_LEADER:
                return None
            raise

    return wait_until(ask, TIMEOUT, f"partitions of {', '.join(topics)} have no leaders")[0]


def _partition_count(client, topic):
    metadata = client.list_topics(timeout=TIMEOUT).topics.get(topic)
    return 0 if metadata is None or metadata.error else len(metadata.partitions)

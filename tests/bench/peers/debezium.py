# SPDX-License-Identifier: Apache-2.0
"""Kafka Connect with Debezium's JDBC sink."""

import contextlib
import os

import servers
from java import JARS, JAVA, postgres_of
from subjects import TOPICS, Subject


def properties(path, values):
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items() if value is not None),
                    encoding="utf-8")


# Connect's own transforms, since the JDBC sink takes no structs and no microseconds: a timestamp as
# text, which Postgres reads.
TRANSFORMS = {
    "transforms": "when",
    "transforms.when.type": "org.apache.kafka.connect.transforms.TimestampConverter$Value",
    "transforms.when.field": "emitted_at",
    "transforms.when.unix.precision": "microseconds",
    "transforms.when.target.type": "string",
    "transforms.when.format": "yyyy-MM-dd HH:mm:ss.SSSXXX",
}


class Debezium(Subject):
    """Kafka Connect, standalone, with Debezium's JDBC sink and Apicurio's Avro converter."""

    key = peer = "debezium"
    name = "Debezium JDBC sink, tuned"
    works = ("telemetry",)
    sink = {
        "tasks.max": 2, "batch.size": 20000, "dialect.postgres.unnest.insert.enabled": "true",
        "consumer.override.max.poll.records": 20000,
        "consumer.override.max.partition.fetch.bytes": 8 << 20,
        "consumer.override.fetch.max.bytes": 64 << 20,
    }

    def command(self, work, dsn):
        registry = os.environ["PROJECTIONIST_SCHEMA_REGISTRY_URL"].partition("/apis/")[0]
        url, user, password = postgres_of(dsn, reWriteBatchedInserts="true", stringtype="unspecified")
        plugins = self.folder / "plugins"
        plugins.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (plugins / "debezium").symlink_to(JARS / "debezium")
        properties(self.folder / "worker.properties", {
            "bootstrap.servers": os.environ["PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS"],
            "listeners": "http://127.0.0.1:0",
            # Quicker to start than a search of all classes, which the converter would need: it does
            # not say what it is, and so is beside the worker's own.
            "plugin.path": plugins, "plugin.discovery": "service_load",
            "key.converter": "org.apache.kafka.connect.storage.StringConverter",
            "value.converter": "io.apicurio.registry.utils.converter.AvroConverter",
            "value.converter.apicurio.registry.url": f"{registry}/apis/registry/v2",
            "value.converter.apicurio.registry.use-id": "contentId",
            "value.converter.apicurio.registry.id-handler":
                "io.apicurio.registry.serde.Legacy4ByteIdHandler",
            "offset.storage.file.filename": self.folder / "offsets",
            "offset.flush.interval.ms": 10000,
            "connector.client.config.override.policy": "All",
        })
        properties(self.folder / "sink.properties", {
            "name": self.identity,
            "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
            "topics": TOPICS[work],
            "connection.url": url, "connection.username": user, "connection.password": password,
            "insert.mode": "upsert", "primary.key.mode": "record_value",
            "primary.key.fields": "event_id", "schema.evolution": "none",
            "collection.name.format": "safari_events",
            "field.exclude.list": f"{TOPICS[work]}:target",
            "consumer.override.auto.offset.reset": "earliest",
            **TRANSFORMS, **self.sink,
        })
        return [*JAVA, f"-Dlog4j2.configurationFile=file:{servers.REPOSITORY}/deploy/local/log4j2.xml",
                "-cp", f"{JARS}/kafka/*:{JARS}/converter/*", "org.apache.kafka.connect.cli.ConnectStandalone",
                self.folder / "worker.properties", self.folder / "sink.properties"]

    def failed(self):
        if "Task is being killed" in self.log.read_text(errors="replace"):
            return "its task FAILED, the worker goes on"
        return super().failed()


class DebeziumDefault(Debezium):
    key = "debezium-default"
    name = "Debezium JDBC sink, its own settings"
    sink = {}


class DebeziumInsert(Debezium):
    """For faults: by default it looks at no key, and its rows are only inserted."""

    key = "debezium-insert"
    name = "Debezium JDBC sink, insert.mode=insert"
    sink = {"insert.mode": "insert", "primary.key.mode": "none", "primary.key.fields": None}


class DebeziumKeyless(DebeziumInsert):
    key = "debezium-keyless"
    name = "the same, into a table without a key"
    keyless = True

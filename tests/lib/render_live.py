# SPDX-License-Identifier: Apache-2.0
"""The whole way of what is ordered in SQL: outbox, relay, topics of its own, consumers, tables."""

import contextlib
import json
import uuid

import psycopg

from lib import consumers, database, kafka, render_sql

CONSUMERS = ("render-jobs", "render-storage", "render-access", "render-metrics")
TOPICS = ("jobs", "elements", "timeline", "storage", "access", "metrics")


class Live:
    """sql: a render_sql.Database, whose orders become rows as long as it lives."""

    def __init__(self, sql, folder):
        self.sql = sql
        self.prefix = f"l{uuid.uuid4().hex[:8]}."
        self.variables = {"POSTGRES_DSN": sql.owner, "SYSTEMS": "render", "TABLES_SCHEMA": sql.schema,
                          "TOPIC_PREFIX": self.prefix}
        self.consumers = consumers.Consumers(folder, {**self.variables, **consumers.QUICK})

    def command(self, *arguments, status=0):
        result = consumers.run("projectionist", *arguments, variables=self.variables, deadline=300)
        assert result.returncode == status, result.stdout + result.stderr
        return result.stdout

    def relay(self):
        """Without what only consumers know."""
        relays = consumers.Consumers(self.consumers.folder, {
            "POSTGRES_DSN": self.sql.owner, "TOPIC_PREFIX": self.prefix})
        relay = relays.start("outbox-relay", OUTBOX="render_private", RELAY_ID=self.prefix + "relay")
        self.consumers.all.append(relay)
        return relay

    def start(self, *names):
        started = [self.consumers.start(name) for name in names or CONSUMERS]
        for one in started:
            one.wait_until_ready()
        return started

    def wait(self, query, wanted, parameters=None, seconds=60):
        """Until a query gives this."""
        found = []

        def met():
            found[:] = [self.sql.value(query, parameters)]
            return found[0] == wanted

        database.wait_until(met, seconds, lambda: f"{query}: {found[0]!r}, not {wanted!r}")

    def settle(self, seconds=120):
        """Until all that was told is in the tables."""
        self.wait("SELECT count(*)::int FROM render_private.outbox", 0, seconds=seconds)
        ends = {(topic, partition): end for name in TOPICS
                for (topic, partition), end in kafka.end_offsets(f"{self.prefix}render.{name}").items() if end}
        with psycopg.connect(self.sql.dsn, autocommit=True) as connection:
            def behind():
                reached = dict(((topic, partition), least) for topic, partition, least in connection.execute(
                    "SELECT topic, partition, min(next_offset) FROM projectionist.consumer_offsets "
                    "GROUP BY 1, 2").fetchall())
                return {key: (reached.get(key), end) for key, end in ends.items() if reached.get(key, 0) < end}

            database.wait_until(lambda: not behind(), seconds, lambda: f"behind: {behind()}")


@contextlib.contextmanager
def open_live(folder, partitions=3, schema="public"):
    with render_sql.prepared(schema) as sql:
        live = Live(sql, folder)
        live.command("topics", "create", "render", "--partitions", str(partitions))
        live.command("schemas", "register", "render")
        try:
            yield live
            live.consumers.end()
        finally:
            live.consumers.kill()
            kafka.delete_topics(*[f"{live.prefix}render.{name}" for name in (*TOPICS, "ingest-keys")])


@contextlib.contextmanager
def listening(sql, *channels):
    """A function that gives what was notified since: [payload]."""
    with psycopg.connect(sql.dsn, autocommit=True) as connection:
        for channel in (*channels, "mark"):
            connection.execute(f"LISTEN {channel}")

        def heard():
            sql.execute("SELECT pg_notify('mark', '')")
            found = []
            for one in connection.notifies(timeout=60):
                if one.channel == "mark":
                    return found
                found.append(json.loads(one.payload))
            raise AssertionError("no mark was heard")

        yield heard

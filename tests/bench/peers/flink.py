# SPDX-License-Identifier: Apache-2.0
"""Flink SQL, of which telemetry.sql and lifecycles.sql are the jobs."""

import os
from pathlib import Path

from java import JARS, JAVA, postgres_of
from subjects import TOPICS, Subject

FLINK_OPENS = ("java.util", "java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch",
               "java.lang.reflect", "java.text", "java.time", "java.util.concurrent",
               "java.util.concurrent.atomic", "java.util.concurrent.locks")
FLINK_SETTINGS = {
    "execution.target": "local", "parallelism.default": 2, "table.dml-sync": "true",
    "execution.checkpointing.interval": "10s", "pipeline.object-reuse": "true",
    "table.local-time-zone": "UTC",
    "restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.attempts": 10,
    "restart-strategy.fixed-delay.delay": "1s",
    "table.exec.mini-batch.enabled": "true", "table.exec.mini-batch.allow-latency": "1s",
    "table.exec.mini-batch.size": 20000,
}


class Flink(Subject):
    """Flink SQL: its client with a cluster in the same process, two slots."""

    key = peer = "flink"
    name = "Flink SQL"

    def command(self, work, dsn):
        url, user, password = postgres_of(dsn, reWriteBatchedInserts="true", stringtype="unspecified")
        registry = os.environ["PROJECTIONIST_SCHEMA_REGISTRY_URL"]
        sql = Path(__file__).with_name(f"{work}.sql").read_text(encoding="utf-8")
        for name, value in {
                "TOPIC": TOPICS[work], "SERVERS": os.environ["PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS"],
                "GROUP": self.identity, "REGISTRY": registry, "URL": url, "USER": user,
                "PASSWORD": password}.items():
            sql = sql.replace(f"${name}$", value)
        (self.folder / "job.sql").write_text(sql, encoding="utf-8")
        checkpoints = self.folder / self.identity
        settings = {**FLINK_SETTINGS, "state.checkpoints.dir": f"file://{checkpoints}",
                    "execution.checkpointing.externalized-checkpoint-retention":
                        "RETAIN_ON_CANCELLATION"}
        kept = sorted(checkpoints.glob("*/chk-*/_metadata"), key=lambda path: path.stat().st_mtime)
        if kept:  # after a kill, from the last checkpoint
            settings["execution.savepoint.path"] = f"file://{kept[-1].parent}"
        (self.folder / "config.yaml").write_text(
            "".join(f"{name}: {value}\n" for name, value in settings.items()), encoding="utf-8")
        return [*JAVA, f"-Djava.io.tmpdir={self.folder}",
                *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in FLINK_OPENS),
                "-cp", f"{JARS}/flink/*", "org.apache.flink.table.client.SqlClient",
                "-f", self.folder / "job.sql"]

    def environment(self, dsn):
        return {**super().environment(dsn), "FLINK_CONF_DIR": str(self.folder)}

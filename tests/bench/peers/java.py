# SPDX-License-Identifier: Apache-2.0
"""What the two that run on Java share."""

from psycopg import conninfo

import servers

JARS = servers.REPOSITORY / ".local/jars"  # deploy/local/install peers
# As Kafka's own start scripts, but for the size of the heap.
JAVA = ("java", "-server", "-Xms256M", "-Xmx2G", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
        "-XX:InitiatingHeapOccupancyPercent=35", "-Djava.awt.headless=true", "-Duser.timezone=UTC")


def postgres_of(dsn, **parameters):
    """(JDBC URL, user, password)"""
    parts = conninfo.conninfo_to_dict(dsn)
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return (f"jdbc:postgresql://{parts['host']}:{parts['port']}/{parts['dbname']}?{query}",
            parts["user"], parts["password"])

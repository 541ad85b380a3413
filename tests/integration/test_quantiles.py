# SPDX-License-Identifier: Apache-2.0
"""The views of watermark_metrics by hour, day and method: quantiles are those of the times, as
exactly as a histogram can tell, and a day is one of UTC wherever the reader is."""

import random
import re
from datetime import datetime, timedelta, timezone

import pytest

from lib import consumers, database, oracle_metrics
from lib.world import new_database

SHARES = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}
LATE = datetime(2026, 3, 28, 21, tzinfo=timezone.utc)  # with the end of a day, and of a winter
GREATEST = 2**31 - 1
TIMES = {  # by method
    "none": [None], "open and none": [None, None, None], "zero": [0], "one": [1], "eight": [8],
    "greatest": [GREATEST], "least": [-2**31], "mostly none": [None, None, 70, None],
    "zero and more": [0, 0, 0, 100, 5000], "negative": [-10, -5, -1], "early and late": [-7, 100],
    "both ends": [-2**31, GREATEST], "small": list(range(40)), "a hundred": list(range(1, 101)),
    "twenty": list(range(1000, 21000, 1000)),
}
VIEWS = {  # and what they group by
    "watermark_metrics_hourly": "date_trunc('hour', created_at, 'UTC') AS bucket_start, method",
    "watermark_metrics_daily": "(created_at AT TIME ZONE 'UTC')::date AS day, method",
    "watermark_metrics_by_method": "method",
}


@pytest.fixture(scope="module", name="connection")
def with_removals(template):
    chance = random.Random(1)
    times = dict(TIMES)
    for number in range(20):
        top = chance.choice((10, 300, 60_000, GREATEST))
        times[f"random {number}"] = [chance.randint(0, top) for _ in range(chance.randint(1, 200))]
    with new_database(template=template) as dsn, database.connect(dsn) as connection:
        for method, values in times.items():
            for number, ms in enumerate(values):
                connection.execute(
                    "INSERT INTO watermark_removals (input_path, method, processing_time_ms, "
                    "success, created_at, completed_at) VALUES ('/raw', %s, %s, %s, %s, %s)",
                    [method, ms, number % 3 == 0, LATE + timedelta(minutes=chance.randrange(360)),
                     LATE if number % 3 < 2 else None])
        for row in oracle_metrics.metrics(database.table(connection, "watermark_removals")):
            connection.execute(
                f"INSERT INTO watermark_metrics ({', '.join(row)}) "
                f"VALUES ({', '.join(['%s'] * len(row))})", list(row.values()))
        yield connection


def rows(connection, query):
    return connection.execute(query).fetchall()


@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns", "Pacific/Kiritimati"])
@pytest.mark.parametrize("view", VIEWS)
def test_it_is_what_a_query_over_the_removals_gives(connection, view, zone):
    connection.execute("SELECT set_config('TimeZone', %s, false)", [zone])
    keys = len(VIEWS[view].rsplit(" AS ", 1)[-1].split(",")) if " AS " in VIEWS[view] else 1
    quantiles = ", ".join(
        f"percentile_disc({share}) WITHIN GROUP (ORDER BY processing_time_ms) AS {name}"
        for name, share in SHARES.items())
    want = rows(connection, f"""
        SELECT {VIEWS[view]}, count(*) AS attempts, count(*) FILTER (WHERE success) AS succeeded,
            count(*) FILTER (WHERE completed_at IS NOT NULL AND NOT success) AS failed,
            max(processing_time_ms) AS greatest, {quantiles}
        FROM watermark_removals GROUP BY {', '.join(map(str, range(1, keys + 1)))}""")
    names = list(want[0])[:keys]
    have = {tuple(row[name] for name in names): row
            for row in rows(connection, f"SELECT * FROM {view}")}
    assert len(want) == len(have) > len(TIMES)
    for exact in want:
        row = have[tuple(exact[name] for name in names)]
        assert all(row[name] == exact[name] for name in ("attempts", "succeeded", "failed"))
        wrong = {name: (row[name], exact[name]) for name in SHARES
                 if not is_close(row[name], exact[name], exact["greatest"])}
        assert not wrong, f"{[exact[name] for name in names]}: (is, exactly) {wrong}"


def is_close(ms, exact, greatest):
    """At most an eighth too many; what is below 1 ms is not told apart."""
    if exact is None:
        return ms is None
    return exact <= ms <= min(greatest, max(0, exact * 9 / 8))


def test_what_the_readme_asks(connection):
    """Its query, of all hours, is the view by method for each of that one's shares."""
    readme = (consumers.REPOSITORY / "src/projections/safari/README.md").read_text()
    query, = re.findall(r"```sql\n(SELECT method, .*?);\n```", readme, re.DOTALL)
    query = re.sub(r"WHERE .*", "WHERE attempts > 0", query)
    assert "0.9," in query
    for column, share in SHARES.items():
        told = {row["method"]: row["p90_ms"]
                for row in rows(connection, query.replace("0.9,", f"{share},"))}
        view = rows(connection, f"SELECT method, {column} FROM watermark_metrics_by_method")
        assert told == {row["method"]: row[column] for row in view}

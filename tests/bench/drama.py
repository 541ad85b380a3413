# SPDX-License-Identifier: Apache-2.0
"""How fast dramas are imported and rebuilt, and what one event of a job costs; tests/bench/drama sets the
stage and has the help."""

import argparse
import json
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import servers  # noqa: E402
from lib import consumers, drama_events, kafka  # noqa: E402
from lib.drama_events import job  # noqa: E402
from lib.events import SECOND, START  # noqa: E402
from lib.old_dramas import old_file  # noqa: E402
from lib.world import World, new_database, open_world  # noqa: E402
from servers import BenchError, say  # noqa: E402

CATALOG, JOBS = "drama-catalog", "drama-jobs"
VARIABLES = {"SYSTEMS": "drama"}
PARTITIONS = 12
ROWS = {"characters": 5, "episodes": 3, "scenes": 12, "assets": 24, "drama_saves": 1}  # of alpha
FIRST = 10  # events that are not counted: statements are prepared, caches filled


class Drama(World):
    contract = drama_events
    variables = VARIABLES

    def timed(self, program, *arguments):
        """Seconds from the start of the program to its end."""
        began = time.monotonic()
        ended = consumers.run(program, *arguments, deadline=7200, variables={
            "POSTGRES_DSN": self.dsn, **VARIABLES})
        if ended.returncode != 0:
            raise BenchError(f"{program}: {ended.stderr[-2000:]}")
        return time.monotonic() - began


def write_files(folder, count):
    """Of one shape: only the id is another, so one file is made and written again and again."""
    before, after = old_file("IDENTITY").split(b"IDENTITY", 1)
    for number in range(count):
        name = f"drama_{number:06}"
        path = Path(folder, "dramas", name)
        path.mkdir(parents=True)
        (path / "drama.json").write_bytes(
            before + name.encode() + after.replace(b"IDENTITY", name.encode()))


def measure_import(template, folder, count):
    files = tempfile.mkdtemp(dir=folder)
    own = tempfile.mkdtemp(dir=folder)
    say(f"write {count:,} files")
    write_files(files, count)
    with open_world(own, PARTITIONS, template, Drama) as world:
        kafka.new_topics("drama.import-progress", partitions=1,
                         config={"cleanup.policy": "compact"})
        say("import them")
        seconds = {"imported": world.timed("drama-import", files)}
        say("make rows of them")
        seconds["made rows of"] = world.timed(CATALOG, "--until-caught-up")
        for table, each in {"dramas": 1, **ROWS}.items():
            rows = world.value(f"SELECT count(*) FROM drama.{table}")
            if rows != each * count:
                raise BenchError(f"{rows} rows of {table}, not {each * count}")
        say("rebuild them")
        seconds["rebuilt"] = world.timed("projectionist", "rebuild", CATALOG, "--yes")
    return {f"dramas {what}": count / took for what, took in seconds.items()}


def created(job_id, number, parent=None):
    return job("JobCreated", "d", job_id, START + number, parent_job_id=parent)


def status(job_id, number):
    word = ("processing", "completed")[number % 2]
    return job("JobStatusChanged", "d", job_id, START + SECOND + number, status=word)


def star(count):
    return [created("parent", 0), *(created(f"c{n}", n, "parent") for n in range(1, count + 1))]


def chain(depth):
    return [created(f"d{n}", n, f"d{n - 1}" if n else None) for n in range(depth)]


def cases(count):
    """[(name, what is there before, what is measured)]"""
    numbers = range(count)
    return [
        ("56 children: the status of one", star(56), [status("c7", n) for n in numbers]),
        ("5,000 children: the status of one", star(5000), [status("c7", n) for n in numbers]),
        ("5,000 children: one more", star(5000),
         [created(f"new {n}", 10_000 + n, "parent") for n in numbers]),
        ("chain of 50: the status of the last", chain(50), [status("d49", n) for n in numbers]),
        ("chain of 50: the status of the first", chain(50), [status("d0", n) for n in numbers]),
    ]


def measure_jobs(template, folder, before, measured):
    own = tempfile.mkdtemp(dir=folder)
    with open_world(own, 1, template, Drama) as world:
        world.publish(before, 0)
        world.start(JOBS, "--until-caught-up").wait(0, deadline=300)
        world.database.execute("VACUUM ANALYZE")
        world.publish(measured, 0)
        began = world.value("SELECT pg_current_wal_insert_lsn()::text")
        consumer = world.start(JOBS, "--until-caught-up", "--batch-records", "1", "--log-level",
                               "debug", "--log-format", "json")
        consumer.wait(0, deadline=600)
        written = int(world.value(f"SELECT pg_current_wal_insert_lsn() - '{began}'::pg_lsn"))
        batches = [json.loads(line) for line in consumer.log.splitlines()
                   if '"batch committed"' in line]
        times = [batch["microseconds"] / 1000 for batch in batches if batch["records"] == 1]
        if len(times) != len(measured) or world.letters():
            raise BenchError(f"{len(times)} transactions of {len(measured)} events, and "
                             f"{len(world.letters())} dead letters")
    times = sorted(times[FIRST:])
    return {"median": statistics.median(times), "p90": times[len(times) * 9 // 10],
            "most": times[-1], "wal": written / len(measured)}


def report(options, rates, times):
    if options.json:
        print(json.dumps({"rates": rates, "events": times}, indent=2))
        return
    for name, rate in rates.items():
        print(f"{name:<24}{rate:8,.0f} a second")
    if times:
        width = max(map(len, times))
        print(f"{'milliseconds an event':<{width}}  MEDIAN     P90    MOST  WAL, KB")
    for name, figures in times.items():
        print(f"{name:<{width}}  {figures['median']:6.1f}  {figures['p90']:6.1f}  "
              f"{figures['most']:6.1f}  {figures['wal'] / 1000:7.1f}")


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/drama", add_help=False)
    parser.add_argument("--dramas", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--only", choices=("import", "jobs"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.events <= FIRST or options.dramas < 1:
        parser.error(f"--events must be more than {FIRST}, and --dramas at least 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rates, times = {}, {}
    try:
        servers.cluster_up()
        with new_database(migrated=False) as template, tempfile.TemporaryDirectory() as folder:
            migrated = consumers.run("projectionist", "migrate", "drama", variables={
                "POSTGRES_DSN": template, **VARIABLES})
            if migrated.returncode != 0:
                raise BenchError(migrated.stderr)
            for name, before, measured in cases(options.events):
                if options.only != "import":
                    say(name)
                    times[name] = measure_jobs(template, folder, before, measured)
            if options.only != "jobs":
                rates = measure_import(template, folder, options.dramas)
        report(options, rates, times)
        return 0
    except (BenchError, AssertionError, psycopg.Error) as error:
        print(f"drama: {error}", file=sys.stderr)
        return 1
    finally:
        servers.cluster_down()


if __name__ == "__main__":
    sys.exit(main())

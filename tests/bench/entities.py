# SPDX-License-Identifier: Apache-2.0
"""What one event costs on large entities; tests/bench/entities sets the stage and has the help."""

import argparse
import json
import random
import signal
import statistics
import sys
import tempfile
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import servers  # noqa: E402
from lib import events, kafka  # noqa: E402
from lib.world import new_database, open_world  # noqa: E402
from servers import BenchError, say  # noqa: E402

SHELF = "shelf"
TABLES = servers.REPOSITORY / "tests/shelf/tables.sql"
PAGES, CHILDREN, DEPTH = 10_000, 5_000, 50
COVER = 50_000  # characters
FIRST = 10  # events that are not counted: statements are prepared, caches filled
choice = random.Random(7)


def text(length):
    """Which no compression makes much shorter."""
    return "".join(choice.choices(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", k=length))


def drama(name, version, **payload):
    return {"drama": name, "version": version, **payload}


def book(version, **payload):
    return {"book": "B", "version": version, **payload}


def pages(count):
    return [book(1, page=f"{n:05}", text=text(100)) for n in range(count)]


def children(count):
    return [drama("parent", 1), *(drama(f"c{n}", 1, sequel_of="parent") for n in range(count))]


def chain(depth):
    return [drama(f"d{n}", 1, **({"sequel_of": f"d{n - 1}"} if n else {})) for n in range(depth)]


def cases(count):
    """[(name, what is there before, what is measured)]"""
    numbers = range(2, count + 2)
    few = range(2, max(count // 10, 2 * FIRST) + 2)
    of_book = f"{PAGES:,} facts kept apart"
    of_parent = f"{CHILDREN:,} children"
    of_tree = f"tree of depth {DEPTH}"
    return [
        ("an entity of one fact: it changes", [drama("A", 1)],
         [drama("A", n, title=text(100)) for n in numbers]),
        ("100 facts kept apart: one changes", pages(100),
         [book(n, page="00007", text=text(100)) for n in numbers]),
        (f"{of_book}: one changes", pages(PAGES),
         [book(n, page=f"{n:05}", text=text(100)) for n in numbers]),
        (f"{of_book}: one more", pages(PAGES),
         [book(n, page=f"new {n}", text=text(100)) for n in numbers]),
        (f"{of_book}: a text of {COVER:,} characters beside them", pages(PAGES),
         [book(n, cover=text(COVER)) for n in numbers]),
        (f"{of_book}: what is shown to all of them", pages(PAGES),
         [book(n, shut=n % 2 == 0) for n in few]),
        (f"{of_parent}: a child's title", children(CHILDREN),
         [drama("c7", n, sequel_of="parent", title=text(100)) for n in numbers]),
        (f"{of_parent}: the parent's title", children(CHILDREN),
         [drama("parent", n, title=text(100)) for n in numbers]),
        (f"{of_parent}: one more", children(CHILDREN),
         [drama(f"new {n}", 1, sequel_of="parent") for n in numbers]),
        (f"{of_tree}: the last one's title", chain(DEPTH),
         [drama(f"d{DEPTH - 1}", n, sequel_of=f"d{DEPTH - 2}", title=text(100)) for n in numbers]),
        (f"{of_tree}: another root, which all follow", [*chain(DEPTH), drama("r0", 1),
                                                         drama("r1", 1)],
         [drama("d0", n, sequel_of=f"r{n % 2}") for n in few]),
    ]


def wal(world):
    return int(world.value("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))


def measure(template, folder, before, measured):
    own = tempfile.mkdtemp(dir=folder)
    with open_world(own, partitions=1, template=template) as world:
        kafka.new_topics("shelf.orders", partitions=1)
        records = [[world.record(events.command_submitted(
            events.id_of("entity", number), payload=payload), 0)
            for number, payload in enumerate(payloads)] for payloads in (before, measured)]
        world.publish(records[0])
        world.catch_up(SHELF)
        world.database.execute("VACUUM ANALYZE")
        world.publish(records[1])
        began = wal(world)
        consumer = world.start(SHELF, "--until-caught-up", "--batch-records", "1", "--log-level",
                               "debug", "--log-format", "json")
        consumer.wait(0, deadline=300)
        written = wal(world) - began
        batches = [json.loads(line) for line in consumer.log.splitlines()
                   if '"batch committed"' in line]
        times = [batch["microseconds"] / 1000 for batch in batches if batch["records"] == 1]
        if len(times) != len(measured) or world.letters():
            raise BenchError(f"{len(times)} transactions of {len(measured)} events, and "
                             f"{len(world.letters())} dead letters")
    times = sorted(times[FIRST:])
    return {"median": statistics.median(times), "p90": times[len(times) * 9 // 10],
            "most": times[-1], "wal": written / len(measured)}


def report(options, results):
    if options.json:
        print(json.dumps(results, indent=2))
        return
    width = max(map(len, results))
    print(f"{'milliseconds an event':<{width}}  MEDIAN     P90    MOST  WAL, KB")
    for name, figures in results.items():
        print(f"{name:<{width}}  {figures['median']:6.1f}  {figures['p90']:6.1f}  "
              f"{figures['most']:6.1f}  {figures['wal'] / 1000:7.1f}")


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/entities", add_help=False)
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.events <= FIRST:
        parser.error(f"--events must be more than {FIRST}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = {}
    try:
        servers.cluster_up()
        with new_database() as template, tempfile.TemporaryDirectory() as folder:
            with psycopg.connect(template, autocommit=True) as connection:
                connection.execute("SET search_path = public")
                connection.execute(TABLES.read_text())
            for name, before, measured in cases(options.events):
                if options.only not in name:
                    continue
                say(name)
                results[name] = measure(template, folder, before, measured)
        report(options, results)
        return 0
    except (BenchError, AssertionError) as error:
        print(f"entities: {error}", file=sys.stderr)
        return 1
    finally:
        servers.cluster_down()


if __name__ == "__main__":
    sys.exit(main())

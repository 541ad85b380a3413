# SPDX-License-Identifier: Apache-2.0
"""What it costs to save a project while somebody types; tests/bench/autosaves sets the stage and has
the help."""

import argparse
import datetime
import gzip
import json
import os
import random
import signal
import statistics
import sys
import tempfile
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import servers  # noqa: E402
from lib import consumers, studio_events  # noqa: E402
from lib.events import SECOND, START, id_of  # noqa: E402
from lib.studio_events import clip, project, scene  # noqa: E402
from lib.world import World, new_database, open_world  # noqa: E402
from servers import BenchError, say  # noqa: E402

CATALOG = "studio-catalog"
ARTICLES = servers.REPOSITORY / "tests/recordings/udhr.json"
LENGTH = 56_769  # characters at the end
CLIPS, SCENES = 40, 12
FIRST = 50  # saves that are not counted: statements are prepared, caches filled, pages written whole
DEBOUNCE = 1.5  # seconds
FIXED = 16  # bytes of projects.revision and saved_at, which each save changes, too
PROJECT = id_of("autosaves")


def words():
    text = " ".join(_texts(json.loads(ARTICLES.read_text(encoding="utf-8"))))
    return [word for word in text.split() if word.isascii()]


def _texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def typed(saves):
    """The script as each save has it: mostly more at its end, now and then something within."""
    choice = random.Random(7)
    known = words()
    script, scripts = "", []
    for number in range(1, saves + 1):
        while len(script) < LENGTH * number // saves:
            word = choice.choice(known) + choice.choice((" ", " ", " ", ".\n"))
            at = choice.randrange(len(script)) if script and choice.random() < 0.1 else len(script)
            script = script[:at] + word + script[at:]
        scripts.append(script[:LENGTH])
    return scripts


def traced(path):
    """The script as each save of a trace has it (github.com/josephg/editing-traces): whoever typed it
    rested their hands for 1.5 s, by times of a second."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        trace = json.load(file)
    script, scripts, before = trace["startContent"], [], None
    for change in trace["txns"]:
        at = datetime.datetime.fromisoformat(change["time"])
        if before is not None and (at - before).total_seconds() > DEBOUNCE:
            scripts.append(script)
        before = at
        for place, removed, added in change["patches"]:
            script = script[:place] + added + script[place + removed:]
    if script != trace["endContent"]:
        raise BenchError(f"{path}: its changes do not make what it says they end with")
    return [*scripts, script]


class Studio(World):
    contract = studio_events
    variables = {"SYSTEMS": "studio"}


def before():
    """The project, its scenes and clips."""
    scenes = [scene(f"scene-{number}", title=f"Scene {number}", description="d" * 120,
                    prompt="p" * 200) for number in range(SCENES)]
    yield from (clip("ClipSaved", PROJECT, START + number, clip_id=id_of("clip", number),
                     scene_id=f"scene-{number % SCENES}", provider="pika", status="done",
                     file_url=f"https://x.example/storage/v1/object/public/clips/{number}.mp4",
                     prompt="p" * 200, duration=5) for number in range(CLIPS))
    yield save(0, "", scenes)
    for number in range(FIRST):
        yield save(number + 1, "", scenes)


def save(number, script, scenes):
    return project("ProjectSaved", PROJECT, START + number * SECOND, script=script, title="An essay",
                   description="d" * 100, seo_title="An essay", seo_tags=["essay", "video"],
                   scenes=scenes, base_revision=START + (number - 1) * SECOND)


def counted(world):
    """{table: rows written} and bytes of WAL so far."""
    rows = {f"{row['schemaname']}.{row['relname']}": (row["n_tup_ins"], row["n_tup_upd"],
                                                      row["n_tup_del"])
            for row in world.database.execute("SELECT * FROM pg_stat_user_tables")}
    return rows, int(world.value("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))


def measure(template, folder, scripts):
    saves = len(scripts)
    own = tempfile.mkdtemp(dir=folder)
    with open_world(own, partitions=1, template=template, kind=Studio) as world:
        first = list(before())
        scenes = first[-1]["body"][1]["scenes"]
        world.publish(first, 0)
        world.start(CATALOG, "--until-caught-up", "--batch-records", "1").wait(0, deadline=300)
        world.database.execute("VACUUM ANALYZE")
        with servers.admin() as connection:
            connection.execute("CHECKPOINT")
        for at in range(0, saves, 500):
            world.publish([save(FIRST + 1 + number, scripts[number], scenes)
                           for number in range(at, min(at + 500, saves))], 0)
        rows, began = counted(world)
        consumer = world.start(CATALOG, "--until-caught-up", "--batch-records", "1", "--log-level",
                               "debug", "--log-format", "json")
        consumer.wait(0, deadline=3600)
        after, ended = counted(world)
        if world.value("SELECT script FROM studio.projects") != scripts[-1] or world.letters():
            raise BenchError("the script in the table is not the one that was typed last")
        if world.value("SELECT count(*) FROM studio.project_saves") != saves + 1 + FIRST:
            raise BenchError("not each save is a row of project_saves")
        batches = [json.loads(line) for line in consumer.log.splitlines()
                   if '"batch committed"' in line]
        times = sorted(batch["microseconds"] / 1000 for batch in batches if batch["records"] == 1)
    if len(times) != saves:
        raise BenchError(f"{len(times)} transactions of {saves} saves")
    changed = sum(len(script.encode()) + FIXED for script in scripts)
    written = {table: [new - old for new, old in zip(values, rows.get(table, (0, 0, 0)))]
               for table, values in after.items()}
    return {"saves": saves, "wal": (ended - began) / saves, "changed": changed / saves,
            "ratio": (ended - began) / changed, "median": statistics.median(times),
            "p99": times[len(times) * 99 // 100],
            "rows": {table: [count / saves for count in counts]
                     for table, counts in sorted(written.items()) if any(counts)}}


def report(options, results):
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for name, figures in results.items():
        print(f"{name}: {figures['saves']} saves, each {figures['median']:.1f} ms (median), "
              f"{figures['p99']:.1f} ms (99 of 100 less), {figures['wal'] / 1000:.1f} KB of WAL, "
              f"{figures['ratio']:.2f} times the {figures['changed'] / 1000:.1f} KB of the columns "
              "that changed")
        print(f"  {'rows a save':<56}  INSERTED  UPDATED  DELETED")
        for table, counts in figures["rows"].items():
            print(f"  {table:<56}" + "".join(f"{count:>9.2f}" for count in counts))


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/autosaves", add_help=False)
    parser.add_argument("--saves", type=int, default=8000)
    parser.add_argument("--trace")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.saves < 100:
        parser.error("--saves must be at least 100")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    programs = os.environ["PROJECTIONIST_BIN"]
    results = {}
    try:
        scripts = traced(options.trace) if options.trace else typed(options.saves)
        servers.cluster_up()
        with new_database(migrated=False) as template, tempfile.TemporaryDirectory() as folder:
            migrated = consumers.run("projectionist", "migrate", "studio", variables={
                "POSTGRES_DSN": template, "SYSTEMS": "studio"})
            if migrated.returncode != 0:
                raise BenchError(migrated.stderr)
            with servers.admin() as connection:
                connection.execute("ALTER SYSTEM SET max_wal_size = '8GB'")
                connection.execute("ALTER SYSTEM SET checkpoint_timeout = '1h'")
                connection.execute("SELECT pg_reload_conf()")
            for name, where in (("facts kept apart", programs),
                                ("all facts in one row", f"{programs}/together")):
                say(name)
                os.environ["PROJECTIONIST_BIN"] = where
                results[name] = measure(template, folder, scripts)
                os.environ["PROJECTIONIST_BIN"] = programs
        report(options, results)
        return 0
    except (BenchError, AssertionError, OSError, psycopg.Error) as error:
        print(f"autosaves: {error}", file=sys.stderr)
        return 1
    finally:
        servers.cluster_down()


if __name__ == "__main__":
    sys.exit(main())

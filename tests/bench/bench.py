# SPDX-License-Identifier: Apache-2.0
"""Measures in rounds and prints the figures; tests/bench/run sets the stage and has the help."""

import argparse
import itertools
import json
import os
import platform
import signal
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import bridge_latency  # noqa: E402
import charts  # noqa: E402
import gateway_load  # noqa: E402
import servers  # noqa: E402
import shapes  # noqa: E402
import stream  # noqa: E402
from lib import events, kafka, world  # noqa: E402
from runs import LARGE_PIECE_ROWS, LATENCY_RATES, PIECE_ROWS, Bench  # noqa: E402
from servers import BenchError, say  # noqa: E402

WHAT = ("copy", "recorder", "placeholders", "projector", "parallel", "rebuild", "latency",
        "memory", "duplicates", "consumers", "bridge", "gateway")
LONG = ("replicas", "sizes")  # only where they are named
APART = {"bridge", "gateway"}  # these have topics of their own, and publish for themselves
SHAPES = {"consumers": shapes.measure_consumers, "replicas": shapes.measure_replicas,
          "sizes": shapes.measure_sizes}
WORKERS = ("--workers", "2")


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="tests/bench/run", add_help=False, epilog="",
        usage="tests/bench/run [--events N] [--rounds N] [--memory-events N] [--only WHAT]... "
              "[--json] [--keep] [-- FLAG...]; see --help")
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-events", type=int, default=2_000_000)
    parser.add_argument("--only", action="append", choices=WHAT + LONG)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", action="store_true")
    flags = []
    if "--" in arguments:
        place = arguments.index("--")
        arguments, flags = arguments[:place], arguments[place + 1:]
    options = parser.parse_args(arguments)
    if options.events < 4 or options.events % stream.PER_COMMAND:
        parser.error(f"--events must be a multiple of {stream.PER_COMMAND}")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    options.flags = flags
    return options


# --- the stage -------------------------------------------------------------------------------

def published(count):
    """Whether an earlier run with --keep left the same stream."""
    try:
        ends = [sum(kafka.end_offsets(topic).values())
                for topic in (events.COMMANDS, events.TELEMETRY)]
    except kafka.KafkaException:
        return False
    return ends == [count, count]


def set_the_stage(count):
    if published(count):
        return
    kafka.delete_topics(*events.TOPICS)
    kafka.create_topics(*events.TOPICS)
    say(f"publishing twice {count:,} events")
    size = stream.publish(count)
    say(f"a telemetry record has {size:.0f} bytes")


# --- measuring -------------------------------------------------------------------------------

def measures(bench, wanted):
    """[(name, function)] of a round."""
    # What is compared is side by side: the machine changes less from one to the next.
    every = (("copy_large", "copy", lambda: bench.copy(LARGE_PIECE_ROWS)),
             ("recorder", "recorder", bench.recorder),
             ("copy", "copy", bench.copy),
             ("projector", "projector", bench.projector),
             ("copy_placeholders", "copy", lambda: bench.copy(placeholders=True)),
             ("recorder_placeholders", "placeholders", lambda: bench.recorder(False)),
             ("copy_parallel", "parallel", bench.copy_parallel),
             ("recorder_parallel", "parallel", lambda: bench.recorder(flags=WORKERS)),
             ("projector_parallel", "parallel", lambda: bench.projector(flags=WORKERS)),
             ("recorder_rebuilt", "rebuild",
              lambda: bench.rebuilt("event-recorder", bench.recorder)),
             ("projector_rebuilt", "rebuild",
              lambda: bench.rebuilt("command-projector", bench.projector)))
    return [(name, run) for name, part, run in every if part in wanted]


def measure(bench, wanted, options):
    """{name: [figures of each round]}"""
    results, rounds = {}, options.rounds
    if not set(wanted) <= APART:
        say("warming up")
        bench.warm_up()
    pairs = measures(bench, wanted)
    for number in range(rounds):
        # Every other round backwards, so that none has the same before it every time.
        for name, run in pairs if number % 2 == 0 else reversed(pairs):
            figures = run()
            results.setdefault(name, []).append(figures)
            say(f"round {number + 1}: {name} {figures['rate']:,.0f} a second "
                f"(other processes: {figures['cpu']['others_share']:.0%} of the machine)")
    if "latency" in wanted:
        bench.record()
    if "memory" in wanted:
        figures = bench.memory(options.memory_events)
        results["memory"] = [figures]
        say(f"memory: {figures['tenths'][0]:.1f} MiB in the first tenth of {figures['events']:,} "
            f"events, {figures['tenths'][-1]:.1f} in the last")
    # Last, because they make topics anew.
    for number, rate in itertools.product(range(rounds if "latency" in wanted else 0),
                                          LATENCY_RATES):
        figures = bench.latency(rate)
        results.setdefault(f"latency_{rate}", []).append(figures)
        say(f"round {number + 1}: latency at {rate:,}/s p50 {figures['p50']:.1f} ms, "
            f"p99 {figures['p99']:.1f} ms")
    if "duplicates" in wanted:
        say("publishing telemetry of which one in a hundred comes twice")
        records = stream.publish_with_duplicates(bench.count)
        for number in range(rounds):
            for name, run in (("copy_single", bench.copy),
                              ("recorder_duplicates", lambda: bench.recorder(records=records))):
                figures = run()
                results.setdefault(name, []).append(figures)
                say(f"round {number + 1}: {name} {figures['rate']:,.0f} a second "
                    f"(other processes: {figures['cpu']['others_share']:.0%} of the machine)")
    for name, run in SHAPES.items():
        def note(name, figures):
            results.setdefault(name, []).append(figures)
            say(f"{name} {figures['rate']:,.0f} a second "
                f"(other processes: {figures['cpu']['others_share']:.0%} of the machine)")
        if name in wanted:
            run(bench, rounds, note)
    for number in range(rounds if "bridge" in wanted else 0):
        figures = bridge_latency.measure(bench.dsn)
        results.setdefault("bridge", []).append(figures)
        say(f"round {number + 1}: frame to row p50 {figures['p50']:.1f} ms, "
            f"p99 {figures['p99']:.1f} ms "
            f"(other processes: {figures['cpu']['others_share']:.0%} of the machine)")
    if "gateway" in wanted:
        say("warming up: commands through the gateway")
        gateway_load.through(gateway_load.CLIENTS)
    for number in range(rounds if "gateway" in wanted else 0):
        for name, run in (("service", gateway_load.direct),
                          ("gateway", lambda: gateway_load.through(gateway_load.CLIENTS)),
                          ("crowd", lambda: gateway_load.through(gateway_load.MANY))):
            figures = run()
            results.setdefault(name, []).append(figures)
            say(f"round {number + 1}: {name} {figures['rate']:,.0f} commands a second, p50 "
                f"{figures['p50']:.0f} ms, p99 {figures['p99']:.0f} ms, refused "
                f"{figures['refused']:,}, of a client at least {figures['least_of_a_client']} "
                f"(other processes: {figures['cpu']['others_share']:.0%} of the machine)")
    return results


# --- the report ------------------------------------------------------------------------------

def spread(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def ratio(ours, theirs, value):
    """Round by round."""
    return spread([value(our) / value(their) for our, their in zip(ours, theirs)])


def summarize(results):
    """[(key, label, format, spread)]"""
    lines = []

    def add(key, label, form, values):
        lines.append((key, label, form, values if isinstance(values, dict) else spread(values)))

    titles = {
        "copy": f"raw COPY, {PIECE_ROWS:,} rows a transaction",
        "copy_large": f"raw COPY, {LARGE_PIECE_ROWS:,} rows a transaction",
        "recorder": "event-recorder",
        "copy_placeholders": f"raw COPY of placeholders and events, {PIECE_ROWS:,} events",
        "recorder_placeholders": "event-recorder, commands not there yet",
        "copy_single": f"raw COPY without duplicates, {PIECE_ROWS:,} rows a transaction",
        "recorder_duplicates": "event-recorder, 1 % duplicates",
        "projector": "command-projector",
        "copy_parallel": f"two raw COPY connections, {PIECE_ROWS:,} rows a transaction",
        "recorder_parallel": "event-recorder, --workers 2",
        "projector_parallel": "command-projector, --workers 2",
        "recorder_rebuilt": "rebuild of event-recorder",
        "projector_rebuilt": "rebuild of command-projector",
    }
    for name in (name for name in titles if name in results):
        add(f"{name}.rate", f"{titles[name]}: rows/s" if not name.startswith("projector")
            and not name.endswith("rebuilt") else f"{titles[name]}: events/s", ",.0f", [run["rate"] for run in results[name]])
    for name, base in (("recorder", "copy"), ("recorder", "copy_large"),
                       ("recorder_placeholders", "copy_placeholders"),
                       ("recorder_duplicates", "copy_single"),
                       ("recorder_parallel", "copy_parallel"),
                       ("recorder_parallel", "recorder"), ("projector_parallel", "projector")):
        if name in results and base in results:
            for key, unit, value in (("rate", "rows/s", lambda run: run["rate"]),
                                     ("cpu", "Postgres's CPU", lambda run: run["cpu"]["postgres"])):
                add(f"{name}/{base}.{key}", f"ratio of {unit}: {titles[name]} / {titles[base]}",
                    ".2f", ratio(results[name], results[base], value))
    for name in ("recorder", "recorder_placeholders", "projector", "recorder_parallel",
                 "projector_parallel"):
        for key, label, form in (("peak", "peak resident memory, MiB", ".1f"),
                                 ("to_first_commit", "process start to first commit, s", ".2f"),
                                 ("rate_with_start", "rate from process start on", ",.0f")):
            if name in results:
                add(f"{name}.{key}", f"{titles[name]}: {label}", form,
                    [run[key] for run in results[name]])
    for name in ("recorder_rebuilt", "projector_rebuilt"):
        if name in results:
            add(f"{name}/live", f"ratio of events/s: {titles[name]} / live, both with their starts",
                ".2f", [run["rate"] / run["live_rate"] for run in results[name]])
            add(f"{name}.peak", f"{titles[name]}: peak resident memory, MiB", ".1f",
                [run["peak"] for run in results[name]])
    for name in (name for name in results if name.startswith("all_")):
        who = f"{name.removeprefix('all_')}, all that may happen"
        for key, label, form in (("rate", "records/s", ",.0f"), ("peak", "peak resident memory, MiB", ".1f"),
                                 ("a_record", "its CPU a record, µs", ".1f"),
                                 ("written", "share of the time in which Postgres writes its rows", ".2f"),
                                 *((stage, f"share of the time: {stage}", ".2f") for stage in shapes.STAGES)):
            add(f"{name}.{key}", f"{who}: {label}", form, [run[key] for run in results[name]])
    for partitions, replicas in itertools.product(shapes.PARTITIONS, shapes.REPLICAS):
        if (name := f"replicas_{replicas}_of_{partitions}") in results:
            add(f"{name}.rate", f"event-recorder, {replicas} replicas, {partitions} partitions: rows/s from "
                "their start on", ",.0f", [run["rate_with_start"] for run in results[name]])
    for size, kind in itertools.product(shapes.SIZES, shapes.IDS):
        ours, copy = (results.get(f"{who}_into_{size}_{kind}") for who in ("recorder", "copy"))
        if ours:
            where = f"into {size:,} rows, ids {kind}"
            add(f"copy_{size}_{kind}.rate", f"raw COPY {where}: rows/s", ",.0f", [run["rate"] for run in copy])
            add(f"recorder_{size}_{kind}.rate", f"event-recorder {where}: rows/s", ",.0f",
                [run["rate"] for run in ours])
            add(f"recorder_{size}_{kind}/copy", f"ratio of rows/s: event-recorder / raw COPY {where}", ".2f",
                ratio(ours, copy, lambda run: run["rate"]))
    for place, text in ((0, "first tenth"), (-1, "last tenth")):
        if "memory" in results:
            add(f"memory.{place}", f"resident memory over {results['memory'][0]['events']:,} events, "
                f"{text}, MiB", ".1f", [run["tenths"][place] for run in results["memory"]])
    for rate, key in itertools.product(LATENCY_RATES, ("p50", "p99", "most")):
        if f"latency_{rate}" in results:
            add(f"latency_{rate}.{key}", f"latency at {rate:,} events/s, {key}, ms", ".1f",
                [run[key] for run in results[f"latency_{rate}"]])
    for key in ("p50", "p99", "most", "commit"):
        if "bridge" in results:
            add(f"bridge.{key}", f"frame sent to row visible at 500 events/s, {key}, ms"
                if key != "commit" else "bridge: commit of a Kafka transaction, mean, ms", ".1f",
                [run[key] for run in results["bridge"]])
    for name, label in (("service", f"stand-in alone, {gateway_load.CLIENTS} clients"),
                        ("gateway", f"gateway, {gateway_load.CLIENTS} clients"),
                        ("crowd", f"gateway, {gateway_load.MANY:,} clients")):
        for key, what, form in (("rate", "commands/s", ",.0f"), ("p50", "p50, ms", ".0f"),
                                ("p99", "p99, ms", ".0f"), ("refused", "503 with Retry-After", ",.0f"),
                                ("least_of_a_client", "fewest commands of a client", ",.0f"),
                                ("a_transaction", "commands a transaction", ".1f"),
                                ("gateway", "CPU s of the gateway", ".1f"),
                                ("service", "CPU s of the stand-in", ".1f")):
            if name in results and key in results[name][0]:
                add(f"{name}.{key}", f"{label}: {what}", form, [run[key] for run in results[name]])
    if "gateway" in results:
        add("gateway/service.rate", "ratio of commands/s: gateway / stand-in alone", ".2f",
            ratio(results["gateway"], results["service"], lambda run: run["rate"]))
    for name in (name for name in titles if name in results):
        for who in ("consumer", "postgres", "kafka"):
            if not name.endswith("rebuilt") and (who == "postgres" or not name.startswith("copy")):
                add(f"{name}.cpu.{who}", f"{titles[name]}: CPU s of {who}", ".1f",
                    [run["cpu"][who] for run in results[name]])
    add("others_share", "other processes, share of the machine", ".0%",
        [run["cpu"]["others_share"] for runs in results.values() for run in runs])
    return lines


def machine():
    model = next((line.partition(":")[2].strip() for line in open("/proc/cpuinfo", encoding="utf-8")
                  if line.startswith("model name")), platform.machine())
    # Named by tests/bench/run, and only of programs that it built.
    built = os.environ.get("PROJECTIONIST_BENCH_BUILT")
    return {"processor": model, "cores": os.cpu_count(), "programs": os.environ["PROJECTIONIST_BIN"],
            "commit": built or None}


# What is wanted of each ratio, least: tests/bench/REPORT.md has the profile of those not met.
AIMS = {
    "recorder/copy.rate": 0.95,
    "recorder_duplicates/copy_single.rate": 0.8,
    "recorder_parallel/copy_parallel.rate": 0.9,
    "recorder_rebuilt/live": 2.5,
    "projector_rebuilt/live": 2.5,
    "gateway/service.rate": 0.7,
}


def draw(folder, options, lines):
    rows = [(label.removeprefix("ratio of "), values["median"], AIMS.get(key))
            for key, label, _, values in lines if "/" in key]
    if rows:
        charts.bars(folder / "ratios.svg",
                    f"{options.events:,} events, medians of {options.rounds} rounds", rows)


def last_of(path, about, options):
    """{key: median} of the last run of as many events on this machine; {}: there is none."""
    try:
        last = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if (last["machine"]["processor"], last["machine"]["cores"], last["events"]) != (
            about["processor"], about["cores"], options.events):
        return {}
    return {key: values["median"] for key, values in last["figures"].items()}


def print_table(options, about, lines, last):
    print(f"{options.events:,} events, {options.rounds} rounds, {about['cores']} cores "
          f"({about['processor']}), programs of "
          f"{about['commit'] or about['programs']}, flags: {' '.join(options.flags) or 'none'}\n")
    title = ("", "MEDIAN", "LEAST", "MOST", "LAST RUN")
    cells = [(label, *(format(values[word], form) for word in ("median", "least", "most")),
              format(last[key], form) if key in last else "")
             for key, label, form, values in lines]
    widths = [max(len(row[i]) for row in [*cells, title]) for i in range(len(title))]
    for row in [title, *cells]:
        print("  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width
                                                     in zip(row[1:], widths[1:]))]).rstrip())


def report(options, results, folder):
    about = machine()
    lines = summarize(results)
    last_path = folder / "last.json"
    last = last_of(last_path, about, options)
    text = json.dumps({"events": options.events, "rounds": options.rounds, "flags": options.flags,
                       "machine": about, "figures": {key: values for key, _, _, values in lines},
                       "runs": results}, indent=2)
    last_path.write_text(text + "\n", encoding="utf-8")
    draw(folder, options, lines)
    if options.json:
        print(text)
    else:
        print_table(options, about, lines, last)


def main():
    options = parse(sys.argv[1:])
    folder = servers.REPOSITORY / ".local" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.log"):
        old.unlink()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        servers.cluster_up()
        if not set(options.only or WHAT) <= APART:
            set_the_stage(options.events)
        with world.new_database() as dsn:
            bench = Bench(dsn, options.events, options.flags, folder)
            report(options, measure(bench, options.only or WHAT, options), folder)
        return 0
    except (BenchError, AssertionError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if not options.keep:
            servers.cluster_down()


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Measures in rounds and prints the figures; tests/bench/peers/run sets the stage and has the help."""

import argparse
import json
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

PARTS = ("telemetry", "foreign-key")
SUBJECTS = ("projectionist", "projectionist-2", "python")


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="tests/bench/peers/run", add_help=False,
        usage="tests/bench/peers/run [--events N] [--rounds N] [--only PART]... [--subject NAME]... "
              "[--json]; see --help")
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--subject", action="append", choices=SUBJECTS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.events < 4 or options.events % 4:
        parser.error("--events must be a multiple of 4")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def in_turns(subjects, rounds):
    """(number, subject): every other round backwards, so that none has the same before it."""
    for number in range(rounds):
        for subject in subjects if number % 2 == 0 else reversed(subjects):
            yield number + 1, subject


def measure_telemetry(bench, subjects, rounds, foreign_key):
    import servers
    bench.set_foreign_key(foreign_key)
    results = {}
    for number, subject in in_turns([None, *subjects], rounds):
        figures = bench.copy_parallel() if subject is None else bench.telemetry(subject)
        results.setdefault(subject.key if subject else "copy", []).append(figures)
        servers.say(f"round {number}: {subject.name if subject else 'two bare COPY connections'} "
                  f"{figures['rate']:,.0f} rows/s (foreign key {'on' if foreign_key else 'off'}; other "
                  f"processes: {figures['cpu']['others_share']:.0%} of the machine)")
    return results


def measure(options, folder, dsn):
    import bench as stage
    import servers
    import works
    from everyone import ALL
    chosen = [kind(folder) for kind in ALL if not options.subject or kind.key in options.subject]
    stage.set_the_stage(options.events)
    bench = works.PeersBench(dsn, options.events, [], folder)
    servers.say("warming up")
    bench.warm_up()
    return {part: measure_telemetry(bench, chosen, options.rounds, part == "foreign-key")
            for part in PARTS if part in (options.only or PARTS)}


def main():
    options = parse(sys.argv[1:])
    if options.check:
        return 0
    import report
    import servers
    from lib import world
    folder = servers.REPOSITORY / ".local" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        servers.cluster_up()
        with world.new_database() as dsn:
            report.write(options, measure(options, folder, dsn), folder)
        return 0
    except (servers.BenchError, AssertionError) as error:
        print(f"peers: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        servers.cluster_down()


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Measures in rounds and prints the figures; tests/bench/peers/run sets the stage and has the help."""

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

PEERS = ("python", "debezium", "flink")
WORKS = ("telemetry", "lifecycles")
JOBS = 51_987
LEAST_JOBS = 20_000  # of which the script has several batches


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="tests/bench/peers/run", add_help=False,
        usage="tests/bench/peers/run [--peer NAME]... [--work NAME]... [--faults] [--events N] "
              "[--jobs N] [--rounds N] [--minutes N] [--json] | --report; see --help")
    parser.add_argument("--peer", action="append", choices=PEERS)
    parser.add_argument("--work", action="append", choices=WORKS)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--events", type=int)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=int, default=27)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.events is None:
        options.events = 50_000 if options.faults else 300_000
    if options.faults and options.work:
        parser.error("--faults are those of telemetry: --work makes no sense beside it")
    if options.events < 4 or options.events % 4:
        parser.error("--events must be a multiple of 4")
    if not LEAST_JOBS <= options.jobs <= JOBS:
        parser.error(f"--jobs must be from {LEAST_JOBS} to {JOBS}")
    for name in ("rounds", "minutes"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return options


class Run:
    """What is measured, and what was found so far. A program that fails is noted, and the others go
    on without it."""

    def __init__(self, options, folder, dsn):
        import works
        from everyone import FOR_FAULTS, FOR_RATES
        self.options = options
        self.folder = folder
        self.name = "peers-faults.json" if options.faults else "peers.json"
        self.subjects = [kind(folder) for kind in (FOR_FAULTS if options.faults else FOR_RATES)
                         if kind.peer in (None, *(options.peer or PEERS))]
        self.bench = works.PeersBench(dsn, options.events, folder)
        self.results = {"failed": []}

    def keep(self):
        import report
        return report.keep(self.name, self.options, self.results, self.folder)

    def attempt(self, what, subject, measure, *arguments):
        """The figures of one run; None: it failed, which is noted."""
        import servers
        name = subject.name if subject else "two bare COPY connections"
        try:
            figures = measure(*arguments)
        except servers.BenchError as error:
            servers.say(f"{what}: {error}")
            self.results["failed"].append({"what": what, "subject": name, "why": str(error)})
            return None
        told = f"{figures['rate']:,.0f} a second" if "rate" in figures else "done"
        if "wrong" in figures:
            told += f", {figures['wrong']:,} rows differ {figures['columns'] or ''}"
        servers.say(f"{what}: {name}: {told}")
        return figures

    def share(self):
        """Seconds that a part may take: telemetry has two of them."""
        works = self.options.work or WORKS
        return 60 * self.options.minutes / (2 * ("telemetry" in works) + ("lifecycles" in works))

    def rounds(self, results, what, subjects, measure):
        """Fills in {subject's key: [figures of each round]}. Every other round goes backwards, so that
        none has the same before it every time. A run that is stopped has kept what it had; a round
        that would end too late is not begun."""
        began, share = time.monotonic(), self.share()
        import servers
        results |= {subject.key if subject else "copy": [] for subject in subjects}
        for number in range(self.options.rounds):
            if (time.monotonic() - began) * (number + 1) > share * number > 0:
                servers.say(f"{what}: no time for round {number + 1}; see --minutes")
                return
            for subject in subjects if number % 2 == 0 else reversed(subjects):
                figures = self.attempt(f"{what}, round {number + 1}", subject, measure, subject)
                results[subject.key if subject else "copy"].append(figures)
                self.keep()

    def set_the_stage(self):
        import bench as stage
        import servers
        stage.set_the_stage(self.options.events)
        servers.say("warming up")
        self.bench.warm_up()

    def telemetry(self):
        self.set_the_stage()
        for part, there in (("telemetry", False), ("foreign_key", True)):
            self.bench.set_foreign_key(there)
            self.rounds(
                self.results.setdefault(part, {}), "foreign key" if there else "telemetry", [None, *self.subjects],
                lambda subject: self.bench.telemetry(subject) if subject
                else self.bench.copy_parallel())
        self.bench.set_foreign_key(False)

    def lifecycles(self):
        import works
        recording = self.folder / f"gaia-{self.options.jobs}"
        subprocess.run([HERE.parents[1] / "recordings/gaia", "--output", recording,
                        "--jobs", str(self.options.jobs)], check=True, stdout=sys.stderr)
        commands, count, again = works.publish_lifecycles(recording)
        subjects = [subject for subject in self.subjects if "lifecycles" in subject.works]
        results = {"commands": commands, "events": count, "again": len(again), "runs": {},
                   "repeated": {}}
        self.results["lifecycles"] = results
        self.rounds(results["runs"], "lifecycles", subjects,
                    lambda subject: self.bench.lifecycles(subject, commands, count))
        works.produce(again)
        for subject in subjects:
            results["repeated"][subject.key] = self.attempt("told again", subject, self.bench.repeated,
                                                            subject, commands)
            self.keep()

    def faults(self):
        import faults
        import servers
        self.set_the_stage()
        self.bench.set_foreign_key(False)

        def note(fault, subject, outcome):
            servers.say(f"{fault}: {subject.name}: {outcome}")
            if isinstance(outcome, servers.BenchError):
                self.results["failed"].append({"what": fault, "subject": subject.name,
                                               "why": str(outcome)})
            else:
                self.results.setdefault(fault, {})[subject.key] = outcome
            self.keep()

        faults.measure(self.bench, self.subjects, faults.records_of(self.options.events), note)


def main():
    options = parse(sys.argv[1:])
    if options.check:
        return 0
    import report
    import servers
    from lib import world
    folder = servers.REPOSITORY / ".local" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    if options.report:
        return 0 if report.into_report(folder) else 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        servers.cluster_up()
        with world.new_database() as dsn:
            run = Run(options, folder, dsn)
            for work in ("faults",) if options.faults else options.work or WORKS:
                getattr(run, work)()
        report.tell(run.name, options, run.keep())
        return 1 if run.results["failed"] else 0
    except (servers.BenchError, AssertionError, subprocess.CalledProcessError) as error:
        print(f"peers: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        servers.cluster_down()


if __name__ == "__main__":
    sys.exit(main())

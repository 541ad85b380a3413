# SPDX-License-Identifier: Apache-2.0
"""Runs the tests that need servers, several modules at a time: each worker has a cluster of its own
and takes the next module from a queue.

usage: side_by_side.py --results FOLDER --clusters FOLDER --port-base PORT --workers N [--keep]
                       [--all] PART...

PART is a folder of tests, or a module, such as integration/test_cli.py. Prints a line a module, and
the whole output of a module that fails. Leaves one file of results in JUnit's format a module in the
folder. Exit status: 0 all passed, 1 something failed.
"""

import argparse
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "deploy" / "local" / "cluster"
PORTS_EACH = 10
NO_TESTS = 5  # pytest's exit status where all tests of a module are left out


class Cluster:
    """A Kafka, a Postgres and a registry of one worker."""

    def __init__(self, folder, port_base):
        self.environment = {**os.environ, "PROJECTIONIST_CLUSTER_DIR": str(folder),
                            "PROJECTIONIST_CLUSTER_PORT_BASE": str(port_base),
                            "PROJECTIONIST_CLUSTER_QUICK": "yes"}

    def command(self, *arguments):
        return subprocess.run([CLUSTER, *arguments], env=self.environment, capture_output=True,
                              text=True)

    def up(self):
        """True where it is there; else a sentence has been said."""
        self.command("down")  # what an interrupted run left behind
        started = self.command("up")
        if started.returncode != 0:
            print(f"side_by_side: a cluster did not start: {started.stderr.strip()}", flush=True)
            return False
        for line in self.command("env").stdout.splitlines():
            name, value = re.match(r"(?:export )?(\w+)=(.*)", line).groups()
            self.environment[name] = shlex.split(value)[0] if value else ""
        return True

    def down(self):
        self.command("down")


def modules(parts):
    for path in (ROOT / "tests" / part for part in parts):
        yield from [path] if path.suffix == ".py" else path.glob("test_*.py")


def likely_length(path):
    """A fair guess at how long a module takes, in no unit: tests of faults wait for servers to come
    back, and for sessions of those that are gone to end."""
    return path.stat().st_size * (3 if path.parent.name == "faults" else 1)


class Run:
    """What the workers share."""

    def __init__(self, options):
        self.options = options
        self.modules = queue.Queue()
        self.count = 0
        self.done = 0
        self.failed = False
        self.lock = threading.Lock()
        self.running = set()
        self.ending = False
        # The long ones first, so that none of them is alone at the end.
        for path in sorted(modules(options.parts), key=lambda path: (-likely_length(path), path)):
            self.modules.put(path)
            self.count += 1

    def report(self, path, status, seconds, output):
        words = re.findall(r"\d+ (?:passed|failed|error|skipped)\w*", output.rsplit("\n", 2)[-2]) \
            if output.count("\n") > 1 else []
        with self.lock:
            self.done += 1
            if status not in (0, NO_TESTS):
                self.failed = True
                print(output, flush=True)
            name = path.relative_to(ROOT / "tests")
            print(f"[{self.done}/{self.count}] {name}  {', '.join(words) or 'no tests'}"
                  f"  {seconds:.0f} s", flush=True)

    def test(self, path, cluster):
        part = path.parent.name
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                   f"--junitxml={self.options.results}/{part}.{path.stem}.xml", str(path)]
        if not self.options.all:
            command[4:4] = ["-m", "not slow"]
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, env=cluster.environment, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        with self.lock:
            self.running.add(process)
        output, _ = process.communicate()
        with self.lock:
            self.running.discard(process)
        if not self.ending:
            self.report(path, process.returncode, time.monotonic() - started, output)

    def work(self, cluster):
        while not self.ending:
            try:
                path = self.modules.get_nowait()
            except queue.Empty:
                return
            self.test(path, cluster)

    def end(self):
        """pytest tidies up after an interrupt, and takes the processes of its test along."""
        self.ending = True
        with self.lock:
            for process in self.running:
                process.send_signal(signal.SIGINT)


def interrupt(number, frame):
    """Once: what comes after it may not disturb the tidying up."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--results", required=True)
    parser.add_argument("--clusters", required=True, type=Path)
    parser.add_argument("--port-base", required=True, type=int)
    parser.add_argument("--workers", required=True, type=int)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("parts", nargs="+")
    run = Run(parser.parse_args())
    options = run.options
    clusters = [Cluster(options.clusters / str(number), options.port_base + PORTS_EACH * number)
                for number in range(min(options.workers, run.count))]
    # A shell starts what is in the background with SIGINT ignored, and pytest would inherit that.
    for signalled in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signalled, interrupt)
    status = 1

    def worker(cluster):
        if cluster.up():
            run.work(cluster)

    threads = [threading.Thread(target=worker, args=(cluster,)) for cluster in clusters]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # A worker whose cluster did not start leaves its modules to the others, or to nobody.
        status = 1 if run.failed or run.done < run.count else 0
    except KeyboardInterrupt:
        run.end()
        for thread in threads:
            thread.join()
        status = 130
    finally:
        if options.keep:
            for cluster in clusters:
                print(f"export PROJECTIONIST_CLUSTER_DIR="
                      f"{cluster.environment['PROJECTIONIST_CLUSTER_DIR']}")
        else:
            for ending in [threading.Thread(target=cluster.down) for cluster in clusters]:
                ending.start()
    return status


if __name__ == "__main__":
    sys.exit(main())

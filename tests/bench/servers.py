# SPDX-License-Identifier: Apache-2.0
"""The private cluster, our programs, and the processor time and memory that they take."""

import contextlib
import datetime
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from lib import consumers

REPOSITORY = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = STOP_SECONDS = 30


class BenchError(Exception):
    """A sentence for the person who ran the measurement."""


def say(text):
    print(text, file=sys.stderr, flush=True)


# --- the cluster -----------------------------------------------------------------------------

def cluster(*words, **options):
    result = subprocess.run([REPOSITORY / "deploy/local/cluster", *words], text=True, check=False,
                            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, **options)
    if result.returncode != 0:
        raise BenchError(f"deploy/local/cluster {words[0]} failed")
    return result.stdout


def cluster_up():
    """Brings the cluster up and puts its addresses into our environment. Postgres notes the times
    of commits, which is how we know when rows became visible, and has no autovacuum, which would
    come in one round and not in the other."""
    say("starting the servers")
    cluster("up")
    for line in cluster("env").splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        os.environ[name] = shlex.split(value)[0]
    with admin() as connection:
        if connection.execute("SHOW track_commit_timestamp").fetchone()[0] == "on":
            return
        connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
        connection.execute("ALTER SYSTEM SET autovacuum = off")
    cluster("down", "--keep-data")
    cluster("up")


def cluster_down():
    cluster("down")


def admin():
    return psycopg.connect(os.environ["PROJECTIONIST_CLUSTER_ADMIN_DSN"], autocommit=True)


def _pids():
    return {part["part"]: part["pid"] for part in json.loads(cluster("status", "--json"))}


# --- processor time --------------------------------------------------------------------------

def _stat(pid):
    """(parent, seconds of its own, seconds of its children that ended)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own, ended = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
    return int(fields[1]), own / TICKS, ended / TICKS


def own_seconds(pid):
    """Of a process, without its children."""
    return _stat(pid)[1]


def _family(parent):
    """Seconds of a process and all its children, those that ended included."""
    while True:
        _, own, ended = _stat(parent)
        total = own + ended
        for entry in os.listdir("/proc"):
            if entry.isdecimal():
                try:
                    child_of, seconds, _ = _stat(entry)
                except (FileNotFoundError, ProcessLookupError):
                    continue
                total += seconds if child_of == parent else 0
        if _stat(parent)[2] == ended:  # none ended while we were adding
            return total


def _machine():
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


class Clock:
    """Processor seconds since it was made."""

    def __init__(self):
        pids = _pids()
        self.postgres_pid, self.kafka_pid = pids["postgres"], pids["kafka"]
        self.began = self._read()
        self.started = time.monotonic()

    def _read(self):
        own = os.times()
        return {"postgres": _family(self.postgres_pid), "kafka": _stat(self.kafka_pid)[1],
                "bench": own.user + own.system, "machine": _machine()}

    def read(self, consumer=0.0):
        """Processor seconds of each; `others` are processes that are no part of this, as a share
        of the machine."""
        spent = {name: value - self.began[name] for name, value in self._read().items()}
        others = spent.pop("machine") - sum(spent.values()) - consumer
        lasted = (time.monotonic() - self.started) * os.cpu_count()
        return {**spent, "consumer": consumer, "others_share": max(0.0, others / lasted)}


# --- our programs ----------------------------------------------------------------------------

def peak_of(pid):
    """The most memory that was resident at any moment so far, in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) / 1024


def resident_of(pid):
    """What is resident now, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def rebuild(projection, group, dsn, folder):
    """Rebuilds beside the live tables; (seconds, peak in MiB, what it says)."""
    log_path = folder / f"{group}-rebuild.log"
    command = [consumers.program("projectionist"), "rebuild", projection, "--group", group, "--yes",
               "--json"]
    with open(log_path, "wb") as log:
        started = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=log, cwd="/",
                                   env=consumers.environment({"POSTGRES_DSN": dsn}))
        peak = 0.0
        while process.poll() is None:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, TypeError):
                peak = max(peak, peak_of(process.pid))
            time.sleep(0.05)
        seconds = time.monotonic() - started
        answer = process.stdout.read()
        process.stdout.close()
    if process.returncode != 0:
        raise BenchError(f"the rebuild of {projection} ended with {process.returncode}; its log is "
                         f"{log_path}")
    return seconds, peak, json.loads(answer)


def run(name, *arguments, dsn=None):
    """What one of our programs prints."""
    done = subprocess.run([consumers.program(name), *map(str, arguments)], check=False, text=True,
                          capture_output=True, cwd="/",
                          env=consumers.environment({"POSTGRES_DSN": dsn}))
    if done.returncode != 0:
        raise BenchError(f"{name} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Program:
    """A consumer that runs until it is stopped."""

    def __init__(self, name, group, dsn, flags, folder):
        self.name = name
        self.group = group
        self.log_path = folder / f"{group}.log"
        command = [consumers.program(name), "--group", group, "--log-level", "debug",
                   "--log-format", "json", *flags]
        with open(self.log_path, "wb") as log:
            self.started_at = time.time()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd="/",
                                            env=consumers.environment({"POSTGRES_DSN": dsn}))

    def check(self):
        if self.process.poll() is not None:
            lines = self.log_path.read_text(errors="replace").splitlines()[-3:]
            raise BenchError("\n".join([f"{self.name} ended with {self.process.returncode}; its "
                                        f"log is {self.log_path}:", *lines]))

    def wait_until_assigned(self):
        until = time.monotonic() + START_SECONDS
        while '"partitions assigned"' not in self.log_path.read_text(errors="replace"):
            self.check()
            if time.monotonic() > until:
                raise BenchError(f"{self.name} got no partition within {START_SECONDS} s; its log is "
                                 f"{self.log_path}")
            time.sleep(0.05)

    def seconds(self):
        return _stat(self.process.pid)[1]

    def peak(self):
        return peak_of(self.process.pid)

    def resident(self):
        return resident_of(self.process.pid)

    def batches(self):
        """What it logged about each batch."""
        with open(self.log_path, encoding="utf-8") as log:
            lines = [json.loads(line) for line in log if '"batch committed"' in line]
        return lines

    def window(self):
        """By its log: when its first batch began, when that and when the last one was committed."""
        batches = sorted(self.batches(), key=lambda batch: batch["ts"])
        first, last = [datetime.datetime.fromisoformat(batches[place]["ts"].replace("Z", "+00:00"))
                       .timestamp() for place in (0, -1)]
        return first - batches[0]["microseconds"] / 1e6, first, last

    def metrics(self):
        """Of a program with --metrics-address."""
        port = re.search(r'"port": ?(\d+)', self.log_path.read_text(errors="replace"))[1]
        with consumers.HTTP.open(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return consumers.parse_metrics(answer.read().decode())

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise BenchError(f"{self.name} did not stop within {STOP_SECONDS} s; its log is "
                             f"{self.log_path}") from None
        if code != 0:
            self.check()

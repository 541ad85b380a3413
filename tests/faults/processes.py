# SPDX-License-Identifier: Apache-2.0
"""Consumers as processes: started, killed, frozen, stopped, and asked how they are."""

import contextlib
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
STOP_DEADLINE = 20  # seconds from SIGTERM to the end of the process
INTERVAL = 0.02  # seconds between two looks

# So that what is killed or frozen is noticed in seconds.
QUICK = {
    "PROJECTIONIST_KAFKA_SESSION_TIMEOUT_MS": "3000",
    "PROJECTIONIST_KAFKA_HEARTBEAT_INTERVAL_MS": "500",
    "PROJECTIONIST_IDLE_IN_TRANSACTION_TIMEOUT": "2s",
    "PROJECTIONIST_LOCK_TIMEOUT": "4s",
}


def program(name):
    return Path(os.environ.get("PROJECTIONIST_BIN", REPOSITORY / "build/dev/bin")) / name


def environment(variables=None):
    """This process's environment without libpq's and our own variables, but for the servers."""
    kept = ("PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS", "PROJECTIONIST_POSTGRES_DSN",
            "PROJECTIONIST_SCHEMA_REGISTRY_URL")
    values = {name: value for name, value in os.environ.items()
              if name in kept or not name.startswith(("PG", "PROJECTIONIST_"))}
    values.setdefault("ASAN_OPTIONS", "abort_on_error=1:detect_leaks=1")
    return {**values, **(variables or {})}


class Process:
    """One running program; its standard error is a file."""

    def __init__(self, name, log, arguments=(), variables=None):
        self.name = name
        self.log = log
        self.frozen = False
        self.ended_as_asked = False  # killed, stopped or waited for by the test
        with open(log, "wb") as stderr:
            self._process = subprocess.Popen(
                [program(name), *arguments], env=environment(variables), stderr=stderr,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/")

    @property
    def pid(self):
        return self._process.pid

    def text(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def logged(self, *words):
        """The lines that hold all of the words."""
        return [line for line in self.text().splitlines() if all(word in line for word in words)]

    def running(self):
        return self._process.poll() is None

    def check(self):
        """Ends the test where the process ended by itself or a sanitizer spoke."""
        if "Sanitizer" in self.text() or "runtime error:" in self.text():
            pytest.fail(f"a sanitizer speaks in {self.log.name}:\n{self.tail()}")
        if not self.ended_as_asked and not self.running():
            pytest.fail(f"{self.log.name} ended with {self._process.returncode}:\n{self.tail()}")

    def tail(self, lines=40):
        return "\n".join(self.text().splitlines()[-lines:])

    # Signals

    def kill(self):
        self.ended_as_asked = True
        self._process.kill()
        self._process.wait()
        self.frozen = False

    def freeze(self):
        self._process.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
        self.frozen = True

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)
        self.frozen = False

    def ask_to_stop(self):
        self.ended_as_asked = True
        self._process.send_signal(signal.SIGTERM)

    def wait(self, deadline=STOP_DEADLINE, code=0):
        """Waits for the end, which must come by itself and with that exit code."""
        ended = self.wait_for_end(deadline)
        assert ended == code, f"{self.log.name} ended with {ended}:\n{self.tail()}"

    def wait_for_end(self, deadline=STOP_DEADLINE):
        """Waits for the end, which must come by itself; its exit code."""
        self.ended_as_asked = True
        try:
            ended = self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            pytest.fail(f"{self.log.name} did not end within {deadline} s:\n{self.tail()}")
        self.check()
        return ended

    def stop(self, deadline=STOP_DEADLINE):
        self.ask_to_stop()
        self.wait(deadline)

    # Numbers

    def _get(self, path):
        port = re.search(r"metrics are served.* port=(\d+)", self.text())
        if port is None:
            raise OSError("no port is logged yet")
        url = f"http://127.0.0.1:{port[1]}{path}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def ready(self):
        """Whether /readyz says so; False while it cannot be asked."""
        try:
            return self._get("/readyz")[0] == 200
        except OSError:
            return False

    def alive(self):
        """Whether /livez says so."""
        return self._get("/livez")[0] == 200

    def metric(self, name):
        """The sum of a metric over its labels."""
        total = 0.0
        for line in self._get("/metrics")[1].splitlines():
            if re.match(rf"{name}[ {{]", line):
                total += float(line.rpartition(" ")[2])
        return total


def until(condition, deadline=30, what="the condition did not come true", processes=()):
    """Calls condition until it returns something true, and returns that. Ends at once where one of
    the processes has ended, or the deadline (seconds) is over. what: text, or a call that gives
    it."""
    end = time.monotonic() + deadline
    while True:
        for process in processes:
            process.check()
        result = condition()
        if result:
            return result
        if time.monotonic() >= end:
            tails = "\n".join(f"--- {process.log.name}\n{process.tail(15)}"
                              for process in processes)
            pytest.fail(f"{what() if callable(what) else what} within {deadline} s\n{tails}")
        time.sleep(INTERVAL)


def cluster(*arguments):
    """deploy/local/cluster, which kills and starts the servers."""
    done = subprocess.run([REPOSITORY / "deploy/local/cluster", *arguments], text=True,
                          capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, f"cluster {' '.join(arguments)}: {done.stderr}"
    return done.stdout


@contextlib.contextmanager
def away(part):
    """Kills a server without a word, and starts it again at the end."""
    cluster("kill", part)
    try:
        yield
    finally:
        cluster("start", part)

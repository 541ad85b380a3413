# SPDX-License-Identifier: Apache-2.0
"""Starts, watches and ends our programs: each consumer has a log of its own and is held to a clean
end. The programs are those of PROJECTIONIST_BIN, by default of the dev preset."""

import contextlib
import itertools
import os
import pty
import re
import signal
import subprocess
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from lib.database import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
SERVERS = ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_DSN", "SCHEMA_REGISTRY_URL")
SYSTEMS = "safari"  # of those that are built in, what a test is about unless it says more
DEADLINE = 60  # seconds that a program may take to do what a test asks
TAIL = 60      # lines of a log in a failure
SHOWN = 20     # consumers whose logs a failure shows, the last ones
SERVED = r"serving metrics.* port=(\d+)"
QUICK = {  # so that a replica that is killed or frozen is missed within seconds
    "KAFKA_SESSION_TIMEOUT_MS": "3000",
    "KAFKA_HEARTBEAT_INTERVAL_MS": "500",
    "IDLE_IN_TRANSACTION_TIMEOUT": "2s",
    "LOCK_TIMEOUT": "4s",
}
# Straight to the address, whatever proxies the environment names.
HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def program(name):
    """The path of one of our programs."""
    path = Path(os.environ.get("PROJECTIONIST_BIN") or REPOSITORY / "build/dev/bin") / name
    assert path.exists(), f"{path} is missing; build it, or set PROJECTIONIST_BIN"
    return str(path)


def promtool():
    """The path of Prometheus's checker."""
    path = REPOSITORY / ".local/promtool"
    assert path.exists(), f"{path} is missing; deploy/local/install test fetches it"
    return str(path)


def address(name):
    """What says where a server is; a test without servers fails, it is not skipped."""
    value = os.environ.get(f"PROJECTIONIST_{name}")
    assert value, (f"PROJECTIONIST_{name} is not set; "
                   'eval "$(deploy/local/cluster up && deploy/local/cluster env)" sets it')
    return value


def environment(variables=None):
    """Ours without what else is set for our programs or for libpq, but with where the servers are;
    `variables` are without PROJECTIONIST_ and win; None takes one away."""
    values = {name: value for name, value in os.environ.items()
              if not name.startswith(("PG", "PROJECTIONIST_"))}
    values.setdefault("ASAN_OPTIONS", "abort_on_error=1:detect_leaks=1")
    for name in SERVERS:
        values[f"PROJECTIONIST_{name}"] = address(name)
    for name, value in (variables or {}).items():
        values.pop(f"PROJECTIONIST_{name}", None)
        if value is not None:
            values[f"PROJECTIONIST_{name}"] = str(value)
    return values


def run(name, *arguments, variables=None, deadline=DEADLINE, stdin=subprocess.DEVNULL):
    """Runs a program to its end; a CompletedProcess with text."""
    if name == "projectionist":
        variables = {"SYSTEMS": SYSTEMS, **(variables or {})}
    result = subprocess.run([program(name), *map(str, arguments)], env=environment(variables),
                            stdin=stdin, capture_output=True, text=True, cwd="/",
                            timeout=deadline, check=False)
    assert "Sanitizer" not in result.stderr, result.stderr
    return result


def run_at_terminal(answer, name, *arguments, variables=None):
    """The same, with a terminal where somebody answers what it asks."""
    master, slave = pty.openpty()
    try:
        os.write(master, answer.encode())
        return run(name, *arguments, variables=variables, stdin=slave)
    finally:
        os.close(master)
        os.close(slave)


def parse_metrics(text):
    """{'name{labels}': value} of the Prometheus text format, without the labels that all series of a
    program have; an AssertionError where it is none."""
    common = r'(?:(?:system|consumer|group|bridge|gateway|relay|ingest)="(?:[^"\\]|\\.)*",?)+'
    text = re.sub(r"\{\}", "", re.sub(r"(?m)^(\w+\{)" + common, r"\1", text))
    name = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
    label = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
    sample = re.compile(rf"({name}(?:{{{label}(?:,{label})*}})?) (\S+)")
    values = {}
    typed = {}
    assert text.endswith("\n"), "the last line has no end"
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, metric, kind = line.split(" ")
            assert metric not in typed, f"a second TYPE of {metric}"
            typed[metric] = kind
        elif line.startswith("# HELP "):
            assert re.fullmatch(rf"# HELP {name} .+", line), line
        else:
            match = sample.fullmatch(line)
            assert match, f"no sample: {line!r}"
            assert match[1] not in values, f"a second {match[1]}"
            values[match[1]] = float(match[2])
            base = re.match(name, line)[0]
            family = re.sub(r"_(bucket|sum|count)$", "", base)
            assert base in typed or typed.get(family) == "histogram", f"no TYPE of {base}"
    return values


class Consumer:
    """One process. It serves its metrics on a free port, and logs to a file of its own.

    stop_deadline: the seconds that `stop` gives it."""

    def __init__(self, name, arguments, variables, log_path, stop_deadline=DEADLINE):
        self.name = name
        self.log_path = log_path
        self.stop_deadline = stop_deadline
        self._may_end = False  # the test has killed it, asked it to end, or waited for that
        self._code = 0         # its exit code then; None where any will do
        self._port = None
        with open(log_path, "xb") as log:
            self.process = subprocess.Popen(
                [program(name), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd="/",
                env=environment({"METRICS_ADDRESS": "127.0.0.1:0", **variables}))

    @property
    def pid(self):
        return self.process.pid

    @property
    def owner(self):
        """How status and the table of offsets name it."""
        return f"{os.uname().nodename}:{self.pid}"

    @property
    def running(self):
        return self.process.poll() is None

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    @property
    def tail(self):
        return "\n".join(self.log.splitlines()[-TAIL:])

    def described(self):
        state = "running" if self.running else f"ended with {self.process.returncode}"
        return f"{self.name} ({self.pid}, {state}), {self.log_path}:\n{self.tail}"

    # --- what it shows ---

    @property
    def port(self):
        """Of its HTTP server."""
        if self._port is None:
            self._port = int(self.wait_for_log(SERVED)[1])
        return self._port

    def get(self, path):
        """(status, text) of its HTTP server."""
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            with HTTP.open(url, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def ready(self):
        """Whether /readyz says so; False while it cannot be asked."""
        with contextlib.suppress(OSError):
            return bool(re.search(SERVED, self.log)) and self.get("/readyz")[0] == 200
        return False

    def alive(self):
        """Whether /livez says so."""
        return self.get("/livez")[0] == 200

    def metrics(self):
        status, text = self.get("/metrics")
        assert status == 200, text
        return parse_metrics(text)

    def metric(self, name):
        """Of one series; of a name without labels, the sum of its series. A program that has just
        begun to listen may have none yet: an AssertionError, for which wait_until waits."""
        metrics = self.metrics()
        series = [key for key in metrics if key.startswith(name + "{")]
        assert series or name in metrics, f"there is no {name} in /metrics"
        return metrics[name] if name in metrics or not series else sum(map(metrics.get, series))

    def logged(self, *words):
        """The lines of the log that hold all of the words."""
        return [line for line in self.log.splitlines() if all(word in line for word in words)]

    def wait_for_log(self, pattern, deadline=DEADLINE):
        """Waits for a line of the log; the match. The process must not end before."""
        def found():
            running = self.running  # asked first: the line may be its last
            match = re.search(pattern, self.log)
            assert match or running, f"no {pattern!r} in the log of {self.described()}"
            return match

        match = wait_until(lambda: found() or not self.running, deadline,
                           f"no {pattern!r} in {self.log_path}")
        return match if isinstance(match, re.Match) else found()

    def wait_until_ready(self, deadline=DEADLINE):
        """Waits until it owns partitions, or has none because others do."""
        self.wait_until(self.ready, deadline, "it is not ready")

    def wait_until(self, condition, deadline=DEADLINE, message="the condition did not come true"):
        """Waits for a condition while the process runs."""
        def met():
            return condition() or not self.running

        try:
            wait_until(met, deadline, message)
            assert condition(), f"{message}: it ended before"
        except (AssertionError, OSError) as error:
            raise AssertionError(f"{error}\n{self.described()}") from error

    # --- what is done to it ---

    def freeze(self):
        """As if the machine slept, until `thaw`."""
        self.process.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T",
                   message="it does not freeze")

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def terminate(self):
        """Asks it to end, as Kubernetes does; `wait` waits for that."""
        self._may_end = True
        self.process.send_signal(signal.SIGTERM)

    def stop(self, deadline=None):
        self.terminate()
        self.wait(0, deadline or self.stop_deadline)

    def kill(self):
        """Ends it without a chance to do anything about it."""
        self._may_end, self._code = True, None
        self.process.kill()
        self.process.wait()

    # --- its end ---

    def wait(self, expected=0, deadline=DEADLINE):
        """Waits for its end, with that exit code."""
        self.wait_for_end(deadline)
        self._code = expected
        self.check()

    def wait_for_end(self, deadline=DEADLINE):
        """Waits for its end, whatever the exit code, which it gives."""
        self._may_end, self._code = True, None
        try:
            self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end within {deadline} s: {self.described()}")
        self.check()
        return self.process.returncode

    def check(self):
        """It runs, or has ended as the test would have it; and no sanitizer has said a word."""
        code = self.process.poll()  # asked first: what it logs last belongs to it
        log = self.log
        assert "Sanitizer" not in log and "runtime error:" not in log, self.described()
        assert code is None or self._may_end, f"it ended by itself: {self.described()}"
        assert code is None or self._code in (None, code), (
            f"the exit code should be {self._code}: {self.described()}")


class Consumers:
    """The consumers of a test. At its end all of them are stopped, and each must have ended well.

    folder: where the logs go; variables: for all of them, without PROJECTIONIST_; stop_deadline:
    seconds that each may take to stop."""

    def __init__(self, folder, variables=None):
        self.folder = folder
        self.variables = variables or {}
        self.stop_deadline = DEADLINE
        self.all = []
        self._numbers = itertools.count(1)

    @staticmethod
    def new_group(name="group"):
        """A name that no consumer group had before."""
        return f"{name}-{uuid.uuid4().hex[:12]}"

    def start(self, name, *arguments, group=None, **variables):
        """Starts a consumer. Without a group (which a flag may give too) it has its own default.
        variables: LOG_LEVEL="debug" is PROJECTIONIST_LOG_LEVEL."""
        if group is not None:
            variables["GROUP"] = group
        consumer = Consumer(name, arguments, {**self.variables, **variables},
                            self.folder / f"{next(self._numbers):03}-{name}.log",
                            self.stop_deadline)
        self.all.append(consumer)
        return consumer

    def catch_up(self, name, *arguments, deadline=DEADLINE, **variables):
        """Runs a consumer until it has caught up."""
        consumer = self.start(name, "--until-caught-up", *arguments, **variables)
        consumer.wait(0, deadline)
        return consumer

    def logs(self):
        """The ends of the logs of those that were started last, for a report."""
        return [(f"{consumer.name} {consumer.pid}", consumer.described())
                for consumer in self.all[-SHOWN:]]

    def check(self):
        for consumer in self.all:
            consumer.check()

    def kill(self):
        """Kills those that still run."""
        for consumer in self.all:
            if consumer.running:
                consumer.kill()

    def end(self):
        """Stops those that still run, and checks how all of them ended."""
        running = [consumer for consumer in self.all if consumer.running]
        for consumer in running:
            consumer.thaw()
            consumer.terminate()
        failures = []
        for consumer in self.all:
            try:
                if consumer in running:
                    consumer.wait(0, self.stop_deadline)
                else:
                    consumer.check()
            except AssertionError as failure:
                failures.append(str(failure))
                if consumer.running:
                    consumer.kill()
        assert not failures, "\n\n".join(failures)

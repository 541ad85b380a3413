# SPDX-License-Identifier: Apache-2.0
"""What both kinds of the demo share: what a person sees, and the programs that run beside it."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import psycopg

REPOSITORY = Path(__file__).resolve().parents[2]
LOGS = REPOSITORY / ".local" / "demo"
PROGRAMS = REPOSITORY / "build" / "release" / "bin"
CONSUMERS = ("command-projector", "event-recorder", "video-catalog", "watermark-metrics",
             "session-tracker")
STOP_SECONDS = 20
POLL_SECONDS = 0.1


class DemoError(Exception):
    """A sentence for the person who ran the demo."""


# --- what a person sees ----------------------------------------------------------------------

def is_terminal():
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def coloured(code, text):
    return f"\033[{code}m{text}\033[0m" if is_terminal() and not os.environ.get("NO_COLOR") else text


def heading(text):
    print("\n" + coloured("1", text), flush=True)


def cells_of(text):
    """How many cells of a terminal it takes; some letters take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def table(rows, titles):
    """Columns; numbers to the right."""
    texts = [[f"{cell:,}" if isinstance(cell, int) else "-" if cell is None else str(cell)
              for cell in row] for row in rows]
    widths = [max(map(cells_of, column)) for column in zip(titles, *texts)]
    right = [not isinstance(cell, str) for cell in rows[0]] if rows else [False] * len(titles)
    for line in [titles, *texts]:
        padded = [(text, " " * (width - cells_of(text))) for text, width in zip(line, widths)]
        print("  " + "  ".join(padding + text if flush else text + padding
                               for (text, padding), flush in zip(padded, right)).rstrip())


# --- programs --------------------------------------------------------------------------------

def last_line(log):
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it wrote nothing"


def run(label, command, environment=None, log="steps", hint=""):
    """Runs a step; its output is seen only where it fails. hint: on a terminal, until it ends."""
    hint = hint if is_terminal() else ""
    print(f"  {label:<30}{hint}" + "\b" * len(hint), end="", flush=True)
    started = time.monotonic()
    path = LOGS / f"{log}.log"
    with open(path, "w", encoding="utf-8") as output:
        status = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False,
                                stdin=subprocess.DEVNULL, stdout=output,
                                stderr=subprocess.STDOUT).returncode
    if status != 0:
        print("failed".ljust(len(hint)), flush=True)
        print("\n".join(path.read_text(errors="replace").splitlines()[-25:]), file=sys.stderr)
        raise DemoError(f"'{shlex.join(map(str, command))}' ended with {status}; "
                        f"its log is {path.relative_to(REPOSITORY)}")
    print(f"{time.monotonic() - started:6.1f} s".ljust(len(hint)), flush=True)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Programs:
    """What runs beside the demo, each with its log, until the demo ends."""

    def __init__(self, environment, folder=PROGRAMS):
        self.environment = environment
        self.folder = folder
        self.running = {}

    def start(self, name, *arguments, command=None, **more):
        """command: what to run where it is none of our programs; more: variables for it."""
        with open(LOGS / f"{name}.log", "w", encoding="utf-8") as output:
            # A group of its own: Ctrl-C is ours, and reaches it as the one signal that it expects.
            self.running[name] = subprocess.Popen(
                [*(command or [self.folder / name]), *arguments],
                env={**self.environment, **more}, process_group=0, cwd=REPOSITORY,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    def failed(self, name, status):
        log = LOGS / f"{name}.log"
        raise DemoError(f"{name} ended with {status}: {last_line(log)} "
                        f"(its log is {log.relative_to(REPOSITORY)})")

    def ended(self, name):
        """Whether it has ended, well."""
        status = self.running[name].poll()
        if status:
            self.failed(name, status)
        return status == 0

    def check(self, names=CONSUMERS):
        """All of them are to run still."""
        for name in names:
            if self.ended(name):
                raise DemoError(f"{name} ended before it was told to; see .local/demo/{name}.log")

    def wait(self, condition, what, seconds):
        """Until condition() is true, while all that was started runs; gives what it returned."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            self.check(self.running)
            if time.monotonic() > deadline:
                raise DemoError(f"{what} after {seconds} s; see the logs in .local/demo")
            time.sleep(POLL_SECONDS)
        return found

    def stop(self):
        """Asks all to end; gives how those ended that ran until now."""
        running = {name: process for name, process in self.running.items()
                   if process.poll() is None}
        for process in running.values():
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in running.values():
            try:
                process.wait(max(deadline - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return {name: process.returncode for name, process in running.items()}


def cluster_environment():
    """Ours without the settings of somebody's other servers, with the cluster's addresses."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("PROJECTIONIST_")
                   or name.startswith("PROJECTIONIST_CLUSTER_")}
    output = subprocess.run([REPOSITORY / "deploy/local/cluster", "env"], check=True, text=True,
                            stdout=subprocess.PIPE).stdout
    for word in shlex.split(output):
        name, equals, value = word.partition("=")
        if equals:
            environment[name] = value
    return environment


# --- from start to end -----------------------------------------------------------------------

def bring_up():
    """Builds, and brings the cluster up; its environment."""
    LOGS.mkdir(parents=True, exist_ok=True)
    heading("Getting ready")
    run("build", ["sh", "-c", "cmake --preset release && ninja -C build/release"], log="build")
    run("cluster", ["deploy/local/cluster", "up"], log="cluster")
    return cluster_environment()


def make(system, environment, folder=PROGRAMS):
    """Makes a system's tables, topics and schemas."""
    for step in ("migrate", "topics create", "schemas register"):
        run(f"projectionist {step} {system}",
            [folder / "projectionist", *step.split(), system], environment)


def prepare(*steps):
    """All that safari needs, and the other steps (label, command, log, hint); gives the environment
    of all that runs then."""
    environment = bring_up()
    make("safari", environment)
    for label, command, log, hint in steps:
        run(label, command, log=log, hint=hint)
    return environment


def end_by_signal(number, _frame):
    sys.exit(128 + number)


def main(demo, interrupted):
    """Runs demo(stack), whose callbacks are called however it ends; gives the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_by_signal)
    try:
        with contextlib.ExitStack() as stack:
            try:
                demo(stack)
            finally:
                # What is being ended is not to be interrupted again.
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)
    except (DemoError, psycopg.Error, OSError, subprocess.CalledProcessError) as error:
        sys.stdout.flush()
        print(coloured("1;31", "demo:"), str(error).strip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ndemo: interrupted; {interrupted}", file=sys.stderr)
        return 130
    return 0

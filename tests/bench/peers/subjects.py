# SPDX-License-Identifier: Apache-2.0
"""What is compared: how each program is configured, started, watched and ended. A work is
"telemetry" (an event is a row of safari_events) or "lifecycles" (a command is a row of
safari_commands); TOPICS has the topic of each."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import servers
from lib import consumers, events

TOPICS = {"telemetry": events.TELEMETRY, "lifecycles": events.COMMANDS}
PROGRAMS = {"telemetry": "event-recorder", "lifecycles": "command-projector"}
STOP_SECONDS = 30


class Subject:
    """One process at a time. `name` is what it is called in tables; start(work, dsn) starts it, the
    same identity (group, place) again after a kill; fresh() gives it another."""

    name = ""
    peer = None  # what --peer calls it; None: ours, which is always there
    works = ("telemetry", "lifecycles")
    keyless = False  # wants a table without its primary key

    def __init__(self, folder):
        self.folder = folder / self.key
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.process = None
        self.fresh()

    def fresh(self):
        self.identity = f"peer-{self.key}-{uuid.uuid4().hex[:8]}"

    def command(self, work, dsn):
        raise NotImplementedError

    def environment(self, dsn):
        return {**os.environ, "PROJECTIONIST_POSTGRES_DSN": dsn}

    @property
    def log(self):
        return self.folder / f"{self.identity}.log"

    def start(self, work, dsn):
        command = self.command(work, dsn)
        with open(self.log, "ab") as log:
            self.started_at = time.time()
            self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd=self.folder,
                                            env=self.environment(dsn))

    def failed(self):
        """Why it does not go on by itself, in a few words; None: it does."""
        code = self.process.poll()
        return None if code is None else f"ended with {code}"

    def seconds(self):
        """Processor time so far, of all its threads."""
        return servers.own_seconds(self.process.pid)

    def peak(self):
        return servers.peak_of(self.process.pid)

    def last_words(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    def remedy(self, dsn):
        """Does what it says that a person must do; False: it names nothing."""
        return False

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        self.kill()


class Ours(Subject):
    key = "projectionist"
    name = "Projectionist"
    flags = ()

    def command(self, work, dsn):
        # The static id that the chart and the unit of systemd give it, too.
        return [consumers.program(PROGRAMS[work]), "--group", self.identity, "--log-format", "json",
                f"--kafka.group.instance.id={self.identity}", *self.flags]

    def environment(self, dsn):
        return consumers.environment({"POSTGRES_DSN": dsn})

    def remedy(self, dsn):
        if "offsets set" not in self.last_words():
            return False
        subprocess.run([consumers.program("projectionist"), "offsets", "set", PROGRAMS["telemetry"],
                        "--group", self.identity, "--topic", TOPICS["telemetry"], "--to", "earliest",
                        "--yes"], env=self.environment(dsn), check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)
        return True


class OursTwice(Ours):
    key = "projectionist-2"
    name = "Projectionist, --workers 2"
    flags = ("--workers", "2")


class Script(Subject):
    key = peer = "python"
    name = "Python script"

    def command(self, work, dsn):
        return [sys.executable, Path(__file__).with_name("script.py"), work, TOPICS[work]]

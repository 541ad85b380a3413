# SPDX-License-Identifier: Apache-2.0
"""What is compared: how each program is configured, started, watched and ended. The work is that every
event of TOPIC becomes a row of safari_events."""

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

TOPIC = events.TELEMETRY
STOP_SECONDS = 30


class Subject:
    """One process at a time. `name` is what it is called in tables; start(dsn) starts it; fresh()
    gives it another identity (group, log)."""

    name = ""

    def __init__(self, folder):
        self.folder = folder / self.key
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.process = None
        self.fresh()

    def fresh(self):
        self.identity = f"peer-{self.key}-{uuid.uuid4().hex[:8]}"

    def command(self, dsn):
        raise NotImplementedError

    def environment(self, dsn):
        return {**os.environ, "PROJECTIONIST_POSTGRES_DSN": dsn}

    @property
    def log(self):
        return self.folder / f"{self.identity}.log"

    def start(self, dsn):
        command = self.command(dsn)
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
        """Processor time so far, of all its threads and of what it started and waited for."""
        return sum(servers._stat(self.process.pid)[1:])

    def peak(self):
        return servers.peak_of(self.process.pid)

    def last_words(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:])

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

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

    def command(self, dsn):
        return [consumers.program("event-recorder"), "--group", self.identity, "--log-format", "json",
                *self.flags]

    def environment(self, dsn):
        return consumers.environment({"POSTGRES_DSN": dsn})


class OursTwice(Ours):
    key = "projectionist-2"
    name = "Projectionist, --workers 2"
    flags = ("--workers", "2")


class Script(Subject):
    key = "python"
    name = "Python script"

    def command(self, dsn):
        return [sys.executable, Path(__file__).with_name("script.py"), TOPIC]

# SPDX-License-Identifier: Apache-2.0
"""projectionist top: once, and at a terminal that it leaves as it was, however it ends."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading

import psycopg
import pytest

from lib import consumers, events, kafka
from lib.database import wait_until
from lib.events import TELEMETRY
from lib.world import RECORDER, open_world

ENTER, LEAVE, PICTURE = "\x1b[?1049h", "\x1b[?1049l", "\x1b[H\x1b[J"


@pytest.fixture(scope="module")
def world(tmp_path_factory, template):
    with open_world(tmp_path_factory.mktemp("top"), 3, template) as opened:
        opened.use_default_groups()
        opened.catch_up(RECORDER)
        opened.publish([events.telemetry("frame", payload={"n": n}) for n in range(30)])
        opened.publish([kafka.Record(TELEMETRY, b"key", b"garbage")])
        opened.catch_up(RECORDER)
        yield opened


def top(world, *arguments):
    return consumers.run("projectionist", "top", "--interval", "300ms", *arguments,
                         variables={"POSTGRES_DSN": world.dsn})


def test_it_prints_once_where_there_is_no_terminal(world):
    result = top(world, RECORDER)
    assert (result.returncode, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    headline, _, titles, row, _, *partitions = result.stdout.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d  ALL READ  0 records to read, 1 open dead letters, 0 problems",
                        headline)
    assert titles.split()[:4] == ["CONSUMER", "PARTITIONS", "LAG", "READ/S"]
    assert re.fullmatch(r"event-recorder +3 +0 +0 +0 +1  \d+ \w+ ago", row)
    assert len(partitions) == 4
    assert "  SOME NEVER RAN  0 records to read" in top(world, "--once").stdout


def test_rates_are_of_the_time_between_two_looks(world):
    stop = threading.Event()

    def publish():
        while not stop.is_set():
            world.publish([events.telemetry("frame", payload={}) for _ in range(100)])
    thread = threading.Thread(target=publish)
    thread.start()
    try:
        document = json.loads(top(world, "--json", RECORDER, "--interval", "3s").stdout)
    finally:
        stop.set()
        thread.join()
    consumer, = document["consumers"]
    assert consumer["read_per_second"] == 0, "none runs"
    assert consumer["written_per_second"] > 10
    assert sum(one["written_per_second"] for one in consumer["partitions"]) == pytest.approx(
        consumer["written_per_second"])
    world.catch_up(RECORDER)


def test_what_ends_it(world):
    result = consumers.run("projectionist", "top", "--once", "nonsense",
                           variables={"POSTGRES_DSN": world.dsn})
    assert result.returncode == 2 and "nonsense" in result.stderr
    result = top(world, "--once", "--group", "nobody")
    assert result.returncode == 1 and "no consumer group 'nobody'" in result.stderr


# --- at a terminal --------------------------------------------------------------------------------


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, world, *arguments, lines=40, columns=120):
        self.master, self.slave = pty.openpty()
        self.resize(lines, columns)
        self.before = termios.tcgetattr(self.slave)
        environment = consumers.environment({"POSTGRES_DSN": world.dsn})

        def own_terminal():
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen(
            [consumers.program("projectionist"), "top", *arguments], stdin=self.slave,
            stdout=self.slave, stderr=self.slave, preexec_fn=own_terminal, cwd="/",
            env={**environment, "TERM": "xterm-256color"})
        self.text = ""

    def resize(self, lines, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self):
        while select.select([self.master], [], [], 0.05)[0]:
            self.text += os.read(self.master, 65536).decode()
        return self.text

    def picture(self):
        """What is on the screen, once it is whole."""
        return self.read().rpartition(PICTURE)[2].replace("\r\n", "\n")

    def wait_for(self, words):
        def there():
            picture = self.picture()
            assert self.process.poll() is None or words in self.text, self.text
            return words in picture and picture
        return wait_until(there, 60, f"no {words!r}")

    def send(self, keys):
        os.write(self.master, keys.encode())

    def assert_restored(self):
        assert self.read().endswith(LEAVE), self.text[-200:]
        assert "\x1b[?25h" in self.text and "\x1b[?7h" in self.text
        assert termios.tcgetattr(self.slave) == self.before


@contextlib.contextmanager
def terminal(world, *arguments, **size):
    opened = Terminal(world, "--interval", "400ms", *arguments, **size)
    try:
        yield opened
    finally:
        if opened.process.poll() is None:
            opened.process.kill()
        opened.process.wait()
        os.close(opened.master)
        os.close(opened.slave)


def test_it_shows_what_happens_until_q(world):
    with terminal(world, RECORDER) as opened:
        opened.wait_for("ALL READ")
        assert opened.text.count(ENTER) == 1
        world.publish([events.telemetry("frame", payload={}) for _ in range(50)])
        assert re.search(r"event-recorder +3 +50 ", opened.wait_for("BEHIND  50 records"))
        world.catch_up(RECORDER)
        opened.wait_for("ALL READ")
        opened.send("x")
        opened.send("q")
        assert opened.process.wait(30) == 0
        opened.assert_restored()


def test_it_follows_the_size_of_the_terminal(world):
    with terminal(world, RECORDER, lines=10) as opened:
        assert "and 1 more partitions" in opened.wait_for("more partitions")
        assert len(opened.picture().splitlines()) <= 10
        opened.resize(30, 120)
        wait_until(lambda: "more partitions" not in opened.picture() and
                   opened.picture().count(TELEMETRY) == 3, 30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_it_and_the_terminal_is_as_it_was(world, number):
    with terminal(world, RECORDER) as opened:
        opened.wait_for("ALL READ")
        if number == signal.SIGINT:
            opened.send("\x03")
        else:
            opened.process.send_signal(number)
        assert opened.process.wait(30) == -number
        opened.assert_restored()


def test_it_can_be_suspended(world):
    with terminal(world, RECORDER) as opened:
        opened.wait_for("ALL READ")
        opened.process.send_signal(signal.SIGTSTP)
        os.waitid(os.P_PID, opened.process.pid, os.WSTOPPED | os.WNOWAIT)
        opened.assert_restored()
        opened.process.send_signal(signal.SIGCONT)
        wait_until(lambda: opened.read().count(ENTER) == 2, 30)
        opened.wait_for("ALL READ")
        opened.send("q")
        assert opened.process.wait(30) == 0
        opened.assert_restored()


def test_a_server_that_is_away_is_waited_for(world):
    name = world.database.info.dbname
    with (terminal(world, RECORDER) as opened,
          psycopg.connect(world.dsn, dbname="postgres", autocommit=True) as server):
        opened.wait_for("ALL READ")
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s "
                           "AND application_name = 'projectionist'", [name])
            opened.wait_for("Trying again every")
        finally:
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        opened.wait_for("ALL READ")

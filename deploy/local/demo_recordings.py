# SPDX-License-Identifier: Apache-2.0
"""What the demo publishes, and what the tables must hold then: the sums of both recordings."""

import collections
import sys
from dataclasses import dataclass
from pathlib import Path

from demo_common import REPOSITORY

sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY / "tests" / "recordings")]

import day_expected  # noqa: E402
import recorder  # noqa: E402
from lib import events  # noqa: E402

# How each is made, for demo_common.prepare.
STEPS = (("recording of 51,987 real jobs", ["tests/recordings/gaia"], "recording-gaia",
          "the first time, half a minute"),
         ("recording of a generated day", ["tests/recordings/day"], "recording-day", ""))
TABLES = ("safari_commands", "safari_events", "safari_videos", "watermark_removals",
          "watermark_metrics", "safari_sessions")


@dataclass(frozen=True)
class Recording:
    """One recording, and what becomes of it. They share no rows, so the sums hold for both."""

    folder: Path
    records: dict  # {topic: how many}
    rows: dict  # {table: how many}
    complete: int  # commands that have ended, and whose submission is known
    active: int  # sessions that are neither closed nor idle for long enough when all has ended


def jobs():
    """Those of the jobs' log. Their last sessions expire in the course of the day after it."""
    return Recording(
        recorder.RECORDINGS / "gaia",
        {"safari.commands": 207_920, "safari.telemetry": 155_933, "safari.sessions": 6_424},
        {"safari_commands": 51_987, "safari_events": 155_933, "safari_videos": 39_328,
         "watermark_removals": 45_747, "watermark_metrics": 1_408, "safari_sessions": 3_854},
        complete=51_987, active=0)


def generated_day():
    """The generated ones. What becomes of them the oracle of the tests says, which has no code in
    common with the consumers."""
    folder = recorder.RECORDINGS / "day"
    happened = day_expected.read(folder)
    rows = day_expected.expected(happened)
    return Recording(
        folder, collections.Counter(map(events.topic_of, happened)),
        {table: len(rows[table]) for table in TABLES},
        complete=sum(row["completed_at"] is not None and row["type"] != "unknown"
                     for row in rows["safari_commands"]),
        active=sum(row["status"] == "active" for row in rows["safari_sessions"]))


class Recordings:
    """Both."""

    def __init__(self):
        self.jobs, self.day = jobs(), generated_day()
        self.both = (self.jobs, self.day)
        self.seed = recorder.read_manifest(self.day.folder)["seed"]
        self.rows = {table: sum(one.rows[table] for one in self.both) for table in TABLES}
        self.complete = sum(one.complete for one in self.both)
        self.active = sum(one.active for one in self.both)
        self.records = sum(sum(one.records.values()) for one in self.both)
        self.files = sorted(path for one in self.both for path in one.folder.glob("*.avro"))

    def records_of(self, topics):
        """How many they have for these topics; a topic counts as often as it is named."""
        return sum(one.records[topic] for one in self.both for topic in topics)

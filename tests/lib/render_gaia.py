# SPDX-License-Identifier: Apache-2.0
"""The jobs of the Gaia log as jobs that render videos: created when they were submitted, processing
once they had waited, and at their end what column 11 says. Column 9 is the estimate; columns 6 (the
seconds of a processor, as a percentage of the run) and 7 (kilobytes) are of one step, processing."""

import gaia_log
from gaia_expected import log
from lib import render_events as events
from lib.events import SECOND

BASE = 1_400_749_079 * SECOND
STATUS = {"1": "completed", "0": "failed", "2": "cancelled"}


def of_job(columns):
    """The events of one job."""
    number, submit, wait, run = (int(column) for column in columns[:4])
    job = gaia_log.command_id(number)
    created = BASE + submit * SECOND
    begun = created + wait * SECOND
    ended = begun + max(run, 0) * SECOND
    yield events.created(job, created, estimated_duration=int(columns[8]))
    if run >= 0:
        yield events.status(job, "processing", begun)
        yield events.started(job, "processing", 0, begun)
    cpu, memory = float(columns[5]), float(columns[6])
    yield events.ended(job, "processing", 0, ended, success=columns[10] == "1",
                       cpu_usage=f"{100 * cpu / max(run, 1):.2f}" if cpu >= 0 else None,
                       memory_usage=int(memory * 1024) if memory >= 0 else None)
    yield events.status(job, STATUS[columns[10]], ended)


def all_events(jobs=gaia_log.JOBS):
    for columns in log(jobs):
        yield from of_job(columns)


def figures(jobs, steps):
    """What is known of the whole log, from the rows of jobs and processing_timeline."""
    ran = [row for row in jobs if row["processing_started_at"] is not None]
    completed = sorted(row["actual_duration"] for row in jobs if row["status"] == "completed")
    seconds = sum(row["actual_duration"] for row in ran)
    return {
        "jobs": len(jobs),
        **{word: sum(row["status"] == word for row in jobs) for word in STATUS.values()},
        "never ran": sum(row["processing_started_at"] is None and row["actual_duration"] is None
                         and row["status"] == "cancelled" for row in jobs),
        "immediate": sum(row["response_type"] == "immediate" for row in jobs),
        "async": sum(row["response_type"] == "async" for row in jobs),
        "completed async of at most 30 s": sum(
            row["status"] == "completed" and row["response_type"] == "async"
            and row["actual_duration"] <= 30 for row in jobs),
        "longer than twice their estimate": sum(
            row["actual_duration"] > 2 * row["estimated_duration"] for row in ran),
        "seconds": seconds, "average": round(seconds / len(ran), 2),
        "p50": completed[int(0.5 * (len(completed) - 1))],
        "p95": completed[int(0.95 * (len(completed) - 1))], "max": completed[-1],
        "cpu_usage": sum(row["cpu_usage"] is not None for row in steps),
        "memory_usage": sum(row["memory_usage"] is not None for row in steps),
    }


WHOLE = {
    "jobs": 51_987, "completed": 41_268, "failed": 10_592, "cancelled": 127, "never ran": 28,
    "immediate": 2, "async": 51_985, "completed async of at most 30 s": 2_497,
    "longer than twice their estimate": 2, "seconds": 744_533_231, "average": 14_329.24,
    "p50": 663, "p95": 48_999, "max": 621_146, "cpu_usage": 49_079, "memory_usage": 50_523,
}
LIFECYCLE = 155_933  # events that create a job or change its status

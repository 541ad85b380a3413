# SPDX-License-Identifier: Apache-2.0
"""What safari_commands and safari_sessions must hold after the Gaia recording, straight from the job log.

An oracle must not share the faults of what it judges: it knows nothing of events, cursors or Avro,
only the log and the ids that the jobs have as commands.
"""

import itertools
from datetime import datetime, timedelta, timezone

import gaia_log

STARTED = datetime(2014, 5, 22, 8, 57, 59, tzinfo=timezone.utc)  # second 0 of the log


HALF_AN_HOUR = timedelta(minutes=30)
FIVE_MINUTES = timedelta(minutes=5)


def log(jobs):
    """The columns of the first `jobs` jobs, in the order of their submission."""
    lines = (line.split() for line in gaia_log.lines() if not line.startswith(";"))
    return itertools.islice(filter(None, lines), jobs)


def expected(jobs=gaia_log.JOBS):
    """command_id → (status, created_at, started_at, completed_at) of the first `jobs` jobs."""
    rows = {}
    for number, submit, wait, run, status in (column[:4] + column[10:11] for column in log(jobs)):
        created = STARTED + timedelta(seconds=int(submit))
        started = created + timedelta(seconds=int(wait))
        completed = started if run == "-1" else started + timedelta(seconds=int(run))
        rows[gaia_log.command_id(number)] = (gaia_log.STATUS[status], created,
                                             None if run == "-1" else started, completed)
    return rows


def expected_sessions(jobs=gaia_log.JOBS):
    """session_id → (user, status, started_at, ended_at, last_activity_at) of the first `jobs` jobs.
    """
    commands = expected(jobs)
    members = sessions_of_jobs(jobs)
    closings = {}
    for place, (first, (_, numbers)) in enumerate(members.items()):
        if place % 3 < 2:  # the third expires
            closings[first] = commands[gaia_log.command_id(numbers[-1])][1] + FIVE_MINUTES
    now = max(*(row[3] for row in commands.values()), *closings.values())
    rows = {}
    for first, (user, numbers) in members.items():
        lives = [commands[gaia_log.command_id(number)] for number in numbers]
        active = max(completed for _, _, _, completed in lives)
        ended = closings.get(first)
        status = "active" if ended is None else "closed"
        if ended is None and active + HALF_AN_HOUR < now:
            status, ended = "expired", active + HALF_AN_HOUR
        rows[gaia_log.session_id(first)] = (user, status, lives[0][1], ended, active)
    return rows


def sessions_of_jobs(jobs=gaia_log.JOBS):
    """First job → (user, all jobs) of each session: one ends where its user pauses for longer than
    half an hour."""
    sessions = {}
    latest = {}
    for number, submit, user in ((column[0], int(column[1]), int(column[11]))
                                 for column in log(jobs)):
        first, before = latest.get(user, (number, submit))
        if timedelta(seconds=submit - before) > HALF_AN_HOUR:
            first = number
        sessions.setdefault(first, (user, []))[1].append(number)
        latest[user] = first, submit
    return sessions

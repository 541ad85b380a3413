# SPDX-License-Identifier: Apache-2.0
"""What safari_commands must hold after the Gaia recording, straight from the job log.

An oracle must not share the faults of what it judges: it knows nothing of events, cursors or Avro,
only the log and the ids that the jobs have as commands.
"""

from datetime import datetime, timedelta, timezone

import gaia_log

STARTED = datetime(2014, 5, 22, 8, 57, 59, tzinfo=timezone.utc)  # second 0 of the log


def expected(jobs=gaia_log.JOBS):
    """command_id → (status, created_at, started_at, completed_at) of the first `jobs` jobs."""
    rows = {}
    log = (line.split() for line in gaia_log.lines() if not line.startswith(";"))
    for number, submit, wait, run, *_, status in (column[:4] + column[10:11] for column in log):
        if len(rows) == jobs:
            break
        created = STARTED + timedelta(seconds=int(submit))
        started = created + timedelta(seconds=int(wait))
        completed = started if run == "-1" else started + timedelta(seconds=int(run))
        rows[gaia_log.command_id(number)] = (gaia_log.STATUS[status], created,
                                             None if run == "-1" else started, completed)
    return rows

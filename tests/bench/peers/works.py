# SPDX-License-Identifier: Apache-2.0
"""What is measured, with one subject at a time: from an empty table to the last row."""

import time

from runs import WINDOW_SQL, Bench
from servers import BenchError, Clock

STALL_SECONDS = 120
FOREIGN_KEY = "safari_events_command_id_fkey"


class PeersBench(Bench):
    """COPY and our own warm-up are those of tests/bench/run; the rest is the same for all."""

    def set_foreign_key(self, there):
        self.db.execute(f"ALTER TABLE safari_events DROP CONSTRAINT IF EXISTS {FOREIGN_KEY}")
        if there:
            self.db.execute("TRUNCATE safari_events")
            self.db.execute(f"ALTER TABLE safari_events ADD CONSTRAINT {FOREIGN_KEY} FOREIGN KEY "
                            "(command_id) REFERENCES safari_commands (command_id) "
                            "ON DELETE CASCADE")

    def truncate(self, known_commands):
        self.db.execute("TRUNCATE safari_events")  # which safari_commands takes along only by the key
        self.db.execute("DROP TABLE IF EXISTS script_offsets")
        super().truncate(known_commands)

    # --- waiting ---

    def size(self, table):
        return self.db.execute("SELECT pg_relation_size(%s::regclass)", [table]).fetchone()[0]

    def first_write(self, subject, table):
        """(time, processor seconds) at which the table began to grow, which shows before the
        commit."""
        deadline = time.monotonic() + STALL_SECONDS
        while self.size(table) == 0:
            self.look_after(subject)
            if time.monotonic() > deadline:
                raise BenchError(f"{subject.name} has written nothing for {STALL_SECONDS} s; its log "
                                 f"is {subject.log}")
            time.sleep(0.02)
        return time.time(), subject.seconds()

    def look_after(self, subject):
        if why := subject.failed():
            raise BenchError(f"{subject.name}: {why}; its log is {subject.log}:\n"
                             f"{subject.last_words()}")

    def wait_for(self, subject, query, wanted, table):
        """Until the query counts so many. Counting costs Postgres time, so while the table grows it
        is not asked."""
        size, moved_at, counted = -1, time.monotonic(), -1
        while True:
            time.sleep(0.2)
            self.look_after(subject)
            now = self.size(table)
            if now != size:
                size, moved_at = now, time.monotonic()
                continue
            number = self.db.execute(query).fetchone()[0]
            if number == wanted:
                return
            if number != counted:
                counted, moved_at = number, time.monotonic()
            elif time.monotonic() - moved_at > STALL_SECONDS:
                raise BenchError(f"{subject.name} stands at {number:,} of {wanted:,} rows; its log is "
                                 f"{subject.log}")

    # --- a run ---

    def run(self, subject, table, query, wanted):
        clock = Clock()
        subject.fresh()
        subject.start(self.dsn)
        try:
            began, cpu_before = self.first_write(subject, table)
            self.wait_for(subject, query, wanted, table)
            cpu, peak = subject.seconds(), subject.peak()
            spent = clock.read(cpu)
        finally:
            subject.stop()
        first, _, last = self.db.execute(WINDOW_SQL).fetchone()
        seconds = last - first
        return {"rate": wanted / seconds, "seconds": seconds, "cpu": spent, "peak": peak,
                "cpu_a_row": 1e6 * cpu / wanted, "cpu_to_first_write": cpu_before,
                "to_first_write": began - subject.started_at}

    def telemetry(self, subject):
        self.truncate(known_commands=True)
        figures = self.run(subject, "safari_events", "SELECT count(*) FROM safari_events", self.count)
        self.check()
        return figures

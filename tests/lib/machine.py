# SPDX-License-Identifier: Apache-2.0
"""What else a machine did while something was measured."""

import os
import time
from pathlib import Path


class Busy:
    """From now until it is shown."""

    def __init__(self):
        self._began, self._before = time.monotonic(), self._cores()

    def __str__(self):
        seconds = time.monotonic() - self._began
        busy, everything = (now - then for now, then in zip(self._cores(), self._before))
        return (f"{os.cpu_count()} cores {busy / everything:.0%} busy for {seconds:.0f} s, load average "
                f"{os.getloadavg()[0]:.1f}")

    @staticmethod
    def _cores():
        """(busy, all), in ticks; what a hypervisor took away is busy."""
        ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)

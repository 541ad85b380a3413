# SPDX-License-Identifier: Apache-2.0
"""Makes tests/lib (as the package lib) and tests/recordings known to the oracles' own tests."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "recordings")]

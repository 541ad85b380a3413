# SPDX-License-Identifier: Apache-2.0
"""Programs under test with another librdkafka than the system's: the one that the Python package
confluent-kafka brings along. Its bugs are others, and it can do what Debian 12's cannot."""

import contextlib
import ctypes
from pathlib import Path

import confluent_kafka
import pytest


def can_tell_topic_ids(library="librdkafka.so.1"):
    """Whether it is of 2.3 or later."""
    with contextlib.suppress(OSError):
        return hasattr(ctypes.CDLL(str(library)), "rd_kafka_DescribeTopics")
    return False


def version(library="librdkafka.so.1"):
    """(2, 0, 2)"""
    number = ctypes.CDLL(str(library)).rd_kafka_version()
    return number >> 24 & 255, number >> 16 & 255, number >> 8 & 255


def use_newer(folder, monkeypatch):
    """From now on all programs of the test run with it; skips the test where there is none.
    folder: an empty one."""
    package = Path(confluent_kafka.__file__).parent
    bundled = [*package.parent.glob("confluent_kafka.libs/librdkafka*.so*")]
    if not bundled or not can_tell_topic_ids(bundled[0]):
        pytest.skip("confluent-kafka has no librdkafka of 2.3 or later")
    (folder / "librdkafka.so.1").symlink_to(bundled[0])
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))

# SPDX-License-Identifier: Apache-2.0
"""The rows of watermark_metrics that lib.oracle expects."""

from datetime import timedelta

HISTOGRAM_BINS = 249


def metrics(rows):
    """The rows that follow from those of watermark_removals."""
    buckets = {}
    for row in rows:
        hour = row["created_at"] - timedelta(minutes=row["created_at"].minute,
                                             seconds=row["created_at"].second,
                                             microseconds=row["created_at"].microsecond)
        buckets.setdefault((hour, row["method"]), []).append(row)
    return [_bucket_row(hour, method, inside) for (hour, method), inside in buckets.items()]


def _bucket_row(hour, method, rows):
    times = [row["processing_time_ms"] for row in rows if row["processing_time_ms"] is not None]
    histogram = [0] * HISTOGRAM_BINS
    for ms in times:
        histogram[histogram_bin(ms)] += 1
    return {
        "bucket_start": hour, "method": method, "attempts": len(rows),
        "succeeded": sum(row["success"] for row in rows),
        "failed": sum(row["completed_at"] is not None and not row["success"] for row in rows),
        "input_bytes": sum(row["input_size_bytes"] or 0 for row in rows),
        "output_bytes": sum(row["output_size_bytes"] or 0 for row in rows),
        "processing_ms_sum": sum(times), "processing_ms_min": min(times, default=None),
        "processing_ms_max": max(times, default=None), "histogram": histogram,
    }


def histogram_bin(ms):
    """Eight bins for each power of two."""
    if ms < 1:
        return 0
    octave = ms.bit_length() - 1
    return 1 + 8 * octave + ((ms * 8) >> octave) - 8

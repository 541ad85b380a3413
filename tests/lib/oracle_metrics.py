# SPDX-License-Identifier: Apache-2.0
"""The rows of watermark_metrics that lib.oracle expects."""

from datetime import timedelta

HISTOGRAM_BINS = 249


def metrics(rows):
    """The rows that follow from those of watermark_removals."""
    buckets = {}
    for row in rows:
        buckets.setdefault((_hour(row), row["method"]), []).append(row)
    return [_bucket_row(hour, method, inside) for (hour, method), inside in buckets.items()]


def times(rows):
    """The rows of watermark_metrics_times that follow from those of watermark_removals."""
    return [{"bucket_start": _hour(row), "method": row["method"],
             "processing_time_ms": row["processing_time_ms"], "removal_id": row["removal_id"]}
            for row in rows if row["processing_time_ms"] is not None]


def _hour(row):
    at = row["created_at"]
    return at - timedelta(minutes=at.minute, seconds=at.second, microseconds=at.microsecond)


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

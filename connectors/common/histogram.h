/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Latencies in microseconds, as an HdrHistogram of three significant digits holds them: from 1 µs
 * to a day; what is longer counts as a day. Its logs (HdrHistogram log format 1.3, encoding V2) are
 * those that HdrHistogram's tools read.
 */
#ifndef PJ_CONNECTORS_HISTOGRAM_H
#define PJ_CONNECTORS_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

struct pj_histogram {
    int64_t count;
    int64_t most; /* the largest value */
    int64_t *counts;
};

struct pj_histogram *pj_histogram_new(void);
void pj_histogram_free(struct pj_histogram *histogram); /* NULL is allowed */
void pj_histogram_reset(struct pj_histogram *histogram);

/* Less than 0 counts as 0. */
void pj_histogram_add(struct pj_histogram *histogram, int64_t microseconds);
void pj_histogram_merge(struct pj_histogram *histogram, const struct pj_histogram *other);

/* Not less than this part (0.99) of the values, within a thousandth; 0 where there are none. */
int64_t pj_histogram_quantile(const struct pj_histogram *histogram, double quantile);

/* The head of a log that begins at this time since 1970. */
void pj_histogram_log_begin(FILE *log, int64_t start_us);
/* What came in an interval; both times are since the log's start. */
void pj_histogram_log(FILE *log, const struct pj_histogram *histogram, const char *tag,
                      int64_t begin_us, int64_t end_us);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "stream-replay/timing.h"

const char *const pj_quantile_names[PJ_QUANTILES] = {"p50", "p90", "p99", "p99.9", "max"};

void pj_timing_init(struct pj_timing *timing)
{
    pthread_mutex_init(&timing->mutex, NULL);
    timing->all = pj_histogram_new();
    timing->interval = pj_histogram_new();
}

void pj_timing_free(struct pj_timing *timing)
{
    if (timing->all == NULL)
        return;
    pj_histogram_free(timing->all);
    pj_histogram_free(timing->interval);
    pthread_mutex_destroy(&timing->mutex);
}

void pj_timing_add(struct pj_timing *timing, int64_t microseconds)
{
    pthread_mutex_lock(&timing->mutex);
    pj_histogram_add(timing->interval, microseconds);
    pthread_mutex_unlock(&timing->mutex);
}

static void take_interval(struct pj_timing *timing)
{
    pj_histogram_merge(timing->all, timing->interval);
    pj_histogram_reset(timing->interval);
}

void pj_timing_log(struct pj_timing *timing, FILE *log, const char *tag, int64_t begin_us,
                   int64_t end_us)
{
    pthread_mutex_lock(&timing->mutex);
    if (log != NULL && timing->interval->count > 0)
        pj_histogram_log(log, timing->interval, tag, begin_us, end_us);
    take_interval(timing);
    pthread_mutex_unlock(&timing->mutex);
}

struct pj_quantiles pj_timing_quantiles(struct pj_timing *timing)
{
    static const double parts[PJ_QUANTILES] = {0.5, 0.9, 0.99, 0.999, 1};
    struct pj_quantiles quantiles;
    pthread_mutex_lock(&timing->mutex);
    take_interval(timing);
    quantiles.count = timing->all->count;
    for (int i = 0; i < PJ_QUANTILES; i++)
        quantiles.us[i] = pj_histogram_quantile(timing->all, parts[i]);
    pthread_mutex_unlock(&timing->mutex);
    return quantiles;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/lag.h"

#include "base/clock.h"
#include "base/text.h"
#include "engine/loop.h"
#include "store/offsets.h"

#include <stdlib.h>

enum { SHOWN_MS = 1000 };

enum { LAG, OPEN, SECONDS, RETENTION, EPOCH };

static const struct {
    enum pj_metric_kind kind;
    const char *name;
    const char *help;
} gauges[PJ_PARTITION_GAUGES] = {
    [LAG] = {PJ_GAUGE, "projectionist_lag_records",
             "Lag behind the end of the partition; absent while that is not known."},
    [OPEN] = {PJ_GAUGE, "projectionist_open_transaction_records",
              "How many of those wait for an open transaction of a producer."},
    [SECONDS] = {PJ_GAUGE_MILLI, "projectionist_lag_seconds",
                 "How long ago the oldest unread record happened, by its event time; 0 where there "
                 "is none."},
    [RETENTION] =
        {PJ_GAUGE_MILLI, "projectionist_retention_used_ratio",
         "Age of the oldest unread record as a part of the topic's retention.ms, or bytes "
         "from there to the end (uncompressed) as a part of its retention.bytes, "
         "whichever is more: at 1 it may be removed unread."},
    [EPOCH] = {PJ_GAUGE, "projectionist_partition_epoch",
               "Epoch of our ownership: grows with each claim, by whomever."},
};

/* NULL hides it. */
static void show(struct pj_metrics *metrics, struct pj_partition *partition, size_t gauge,
                 const int64_t *value)
{
    struct pj_metric **metric = &partition->gauges[gauge];
    char number[16];
    if (value == NULL) {
        if (*metric != NULL)
            pj_metric_hide(*metric);
        *metric = NULL;
        return;
    }
    if (*metric == NULL) {
        pj_text_whole(number, sizeof number, "%d", (int)partition->number);
        char *labels = pj_metrics_labels(
            (const struct pj_label[]){{"topic", partition->topic}, {"partition", number}, {0}});
        *metric = pj_metrics_add(metrics, gauges[gauge].kind, gauges[gauge].name, labels,
                                 gauges[gauge].help);
        free(labels);
    }
    pj_metric_set(*metric, *value);
}

/* Notes the first record of each partition that was fetched and is not committed. */
static void find_unread(const struct pj_loop *loop)
{
    size_t count;
    struct pj_partition *const *partitions = pj_consumer_partitions(loop->session.consumer, &count);
    const struct pj_batch *batches[] = {loop->current, loop->next};
    for (size_t i = 0; i < count; i++)
        partitions[i]->unread_ms = partitions[i]->unread_event_ms = -1;
    for (size_t b = 0; b < 2; b++) {
        for (size_t i = 0; i < batches[b]->count; i++) {
            const struct pj_item *item = &batches[b]->items[i];
            struct pj_partition *partition = item->record.partition;
            int64_t written_ms = item->record.timestamp_ms;
            if (partition->unread_ms >= 0 || written_ms < 0 || !pj_item_live(item))
                continue;
            int64_t event_us = item->state == PJ_ITEM_DECODED
                                   ? pj_offsets_event_time(
                                         &loop->session.projection->sources[partition->topic_index],
                                         pj_batch_values(batches[b], item), written_ms)
                                   : INT64_MIN;
            partition->unread_ms = written_ms;
            partition->unread_event_ms = event_us != INT64_MIN ? event_us / 1000 : written_ms;
        }
    }
}

/* Of a partition with unread records. */
static void find_age(struct pj_partition *partition, int64_t lag, int64_t now_ms)
{
    if (lag == 0 || partition->behind_offset != partition->next_offset)
        partition->behind_ms = now_ms;
    partition->behind_offset = partition->next_offset;
    if (lag == 0)
        partition->unread_ms = partition->unread_event_ms = now_ms;
    else if (partition->unread_ms < 0)
        partition->unread_ms = partition->unread_event_ms = partition->behind_ms;
}

/* In thousandths, of a partition with unread records. The bytes are as many as those read so far
 * have on average; Kafka, which may store them compressed, counts fewer. */
static int64_t retention_used(struct pj_retention retention, const struct pj_partition *partition,
                              int64_t lag, int64_t now_ms)
{
    int64_t by_age = 0;
    int64_t by_size = 0;
    if (retention.ms > 0 && now_ms > partition->unread_ms)
        by_age = (now_ms - partition->unread_ms) * 1000 / retention.ms;
    if (retention.bytes > 0 && partition->taken_records > 0)
        by_size = (int64_t)((double)partition->taken_bytes / (double)partition->taken_records *
                            (double)lag * 1000.0 / (double)retention.bytes);
    return by_age > by_size ? by_age : by_size;
}

static void show_partition(const struct pj_loop *loop, struct pj_partition *partition,
                           int64_t now_ms)
{
    const struct pj_session *session = &loop->session;
    int64_t held = -1;
    int64_t lag = partition->assigned ? pj_stall_lag(&loop->stall, partition, &held) : -1;
    struct pj_retention retention = pj_consumer_retention(session->consumer, partition);
    int64_t age_ms = 0;
    int64_t used = 0;
    if (lag >= 0) {
        find_age(partition, lag, now_ms);
        age_ms = now_ms > partition->unread_event_ms ? now_ms - partition->unread_event_ms : 0;
        used = retention_used(retention, partition, lag, now_ms);
    }
    show(session->metrics, partition, LAG, lag >= 0 ? &lag : NULL);
    show(session->metrics, partition, OPEN, lag >= 0 ? &held : NULL);
    show(session->metrics, partition, SECONDS, lag >= 0 ? &age_ms : NULL);
    show(session->metrics, partition, RETENTION, lag >= 0 && retention.ms != 0 ? &used : NULL);
    show(session->metrics, partition, EPOCH, partition->assigned ? &partition->epoch : NULL);
}

void pj_lag_show(struct pj_loop *loop)
{
    struct pj_session *session = &loop->session;
    size_t count;
    if (!session->policy->in_group || !pj_clock_every(&loop->lag_shown_ms, SHOWN_MS))
        return;
    pj_consumer_look_at_retention(session->consumer);
    find_unread(loop);
    int64_t now_ms = pj_clock_wall_ms();
    struct pj_partition *const *partitions = pj_consumer_partitions(session->consumer, &count);
    for (size_t i = 0; i < count; i++)
        show_partition(loop, partitions[i], now_ms);
    int64_t dropped = pj_consumer_dropped(session->consumer);
    pj_metric_add(session->numbers.dropped, dropped - loop->dropped_shown);
    loop->dropped_shown = dropped;
}

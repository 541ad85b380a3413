/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/numbers.h"

#include "base/memory.h"
#include "base/text.h"
#include "fold/counters.h"

#include <stdlib.h>

/* One of a family whose series differ by a label. */
static struct pj_metric *add_labelled(struct pj_metrics *metrics, enum pj_metric_kind kind,
                                      const char *name, const struct pj_label *labels,
                                      const char *help)
{
    char *text = pj_metrics_labels(labels);
    struct pj_metric *metric = pj_metrics_add(metrics, kind, name, text, help);
    free(text);
    return metric;
}

static void add_plain(struct pj_numbers *numbers, struct pj_metrics *metrics)
{
    const struct pj_metric_line all[] = {
        {&numbers->records, PJ_COUNTER, "projectionist_records_total",
         "Records committed, dead letters included."},
        {&numbers->batches, PJ_COUNTER, "projectionist_batches_total", "Transactions committed."},
        {&numbers->batch_seconds, PJ_HISTOGRAM, "projectionist_batch_seconds",
         "Time from the first fold of a batch to its commit."},
        {&numbers->retries, PJ_COUNTER, "projectionist_retries_total",
         "Retries because Postgres, Kafka or the registry was unavailable."},
        {&numbers->fenced, PJ_COUNTER, "projectionist_fenced_total",
         "Batches discarded because another owner had claimed the partitions."},
        {&numbers->placeholders, PJ_COUNTER, "projectionist_placeholders_total",
         "Placeholder rows made so that a foreign key holds."},
        {&numbers->dropped, PJ_COUNTER, "projectionist_dropped_records_total",
         "Records fetched again although they were committed, and skipped."},
        {&numbers->assigned, PJ_GAUGE, "projectionist_assigned_partitions", "Partitions owned."},
        {&numbers->last_commit, PJ_GAUGE, "projectionist_last_commit_timestamp_seconds",
         "When the last transaction was committed."},
        {&numbers->stalled, PJ_GAUGE, "projectionist_stalled",
         "1 while there is work but no progress; /readyz has the reason."},
        {0},
    };
    pj_metrics_add_all(metrics, all);
}

static struct pj_metric *add_rebalances(struct pj_metrics *metrics, const char *kind)
{
    return add_labelled(metrics, PJ_COUNTER, "projectionist_rebalances_total",
                        (const struct pj_label[]){{"kind", kind}, {0}},
                        "Assignments of partitions carried out, and revocations.");
}

static void add_rows(struct pj_numbers *numbers, struct pj_metrics *metrics,
                     const struct pj_projection *projection)
{
    static const char *const kinds[PJ_ROW_KINDS] = {"insert", "update", "delete"};
    numbers->table_count = projection->table_count;
    numbers->rows = pj_calloc(projection->table_count, sizeof *numbers->rows);
    for (size_t t = 0; t < projection->table_count; t++) {
        const struct pj_table *table = projection->tables[t];
        const bool has[PJ_ROW_KINDS] = {
            [PJ_ROWS_INSERTED] = table->kind != PJ_ROLLUP_TABLE,
            [PJ_ROWS_UPDATED] = table->kind != PJ_APPEND_TABLE,
            [PJ_ROWS_DELETED] = table->kind == PJ_ENTITY_TABLE,
        };
        const char *name = table->part_of != NULL ? table->part_of->name : table->name;
        for (size_t k = 0; k < PJ_ROW_KINDS; k++)
            if (has[k])
                numbers->rows[t][k] = add_labelled(
                    metrics, PJ_COUNTER, "projectionist_rows_total",
                    (const struct pj_label[]){{"table", name}, {"kind", kinds[k]}, {0}},
                    "Rows written; a bucket of a rollup that changes is an update.");
    }
}

static void add_counter(struct pj_numbers *numbers, struct pj_metrics *metrics,
                        const struct pj_projection *projection, const struct pj_counter *counter)
{
    char *name = pj_text_new("projectionist_%s_%s_total", projection->name, counter->name);
    for (char *c = name; *c != '\0'; c++)
        if (*c == '-')
            *c = '_';
    for (size_t w = 0; w < pj_counter_series(counter); w++)
        numbers->counted[numbers->counted_count++] =
            counter->words == NULL
                ? pj_metrics_add(metrics, PJ_COUNTER, name, NULL, counter->help)
                : add_labelled(metrics, PJ_COUNTER, name,
                               (const struct pj_label[]){{counter->label, counter->words[w]}, {0}},
                               counter->help);
    free(name);
}

static void add_counters(struct pj_numbers *numbers, struct pj_metrics *metrics,
                         const struct pj_projection *projection)
{
    const struct pj_counter *counter = projection->counters;
    numbers->counted = pj_calloc(pj_counters_series(projection), sizeof(struct pj_metric *));
    numbers->counted_count = 0;
    for (; counter != NULL && counter->name != NULL; counter++)
        add_counter(numbers, metrics, projection, counter);
}

void pj_numbers_add(struct pj_numbers *numbers, struct pj_metrics *metrics,
                    const struct pj_projection *projection)
{
    static const char *const stages[PJ_BATCH_STAGES] = {"fetch", "decode", "load",
                                                        "fold",  "write",  "commit"};
    static const char *const refusers[PJ_REFUSERS] = {"decode", "observe", "rows", "postgres"};
    add_plain(numbers, metrics);
    numbers->assignments = add_rebalances(metrics, "assign");
    numbers->revocations = add_rebalances(metrics, "revoke");
    numbers->metrics = metrics;
    numbers->stream_time_us = INT64_MIN;
    for (size_t i = 0; i < PJ_BATCH_STAGES; i++)
        numbers->stages[i] =
            add_labelled(metrics, PJ_HISTOGRAM, "projectionist_batch_stage_seconds",
                         (const struct pj_label[]){{"stage", stages[i]}, {0}},
                         "Where the time of a batch goes: taking its records from librdkafka, "
                         "decoding them, loading facts, folding, sending rows, and the COMMIT with "
                         "what it waits for.");
    /* All from the start: an increase from nothing to one would not count as one. */
    for (size_t i = 0; i < PJ_REFUSERS; i++)
        numbers->dead_letters[i] =
            add_labelled(metrics, PJ_COUNTER, "projectionist_dead_letters_total",
                         (const struct pj_label[]){{"reason", refusers[i]}, {0}},
                         "Records dead-lettered because they cannot be applied, by what refused "
                         "them.");
    add_rows(numbers, metrics, projection);
    add_counters(numbers, metrics, projection);
}

static void forget(struct pj_numbers *numbers)
{
    if (numbers->doubted == NULL)
        return;
    free(numbers->doubted->written.tables);
    free((void *)numbers->doubted->written.counted);
    free(numbers->doubted);
    numbers->doubted = NULL;
}

void pj_numbers_free(struct pj_numbers *numbers)
{
    forget(numbers);
    free(numbers->rows);
    free(numbers->counted);
    numbers->rows = NULL;
    numbers->counted = NULL;
}

void pj_numbers_observe(const struct pj_numbers *numbers, enum pj_batch_stage stage,
                        int64_t microseconds)
{
    pj_metric_observe_us(numbers->stages[stage], microseconds);
}

void pj_numbers_done(const struct pj_numbers *numbers, const struct pj_done *done)
{
    const struct pj_written *written = &done->written;
    pj_metric_add(numbers->records, done->records);
    for (size_t i = 0; i < PJ_REFUSERS; i++)
        pj_metric_add(numbers->dead_letters[i], done->refused[i]);
    pj_metric_add(numbers->placeholders, written->placeholders);
    for (size_t t = 0; written->tables != NULL && t < numbers->table_count; t++)
        for (size_t k = 0; k < PJ_ROW_KINDS; k++)
            if (numbers->rows[t][k] != NULL)
                pj_metric_add(numbers->rows[t][k], written->tables[t][k]);
    for (size_t i = 0; written->counted != NULL && i < numbers->counted_count; i++)
        pj_metric_add(numbers->counted[i], written->counted[i]);
}

void pj_numbers_doubt(struct pj_numbers *numbers, const struct pj_done *done)
{
    forget(numbers);
    numbers->doubted = pj_copy(done, sizeof *done);
    struct pj_written *written = &numbers->doubted->written;
    if (written->tables != NULL)
        written->tables = pj_copy(written->tables, numbers->table_count * sizeof *written->tables);
    if (written->counted != NULL)
        written->counted =
            pj_copy(written->counted, numbers->counted_count * sizeof *written->counted);
}

void pj_numbers_resolve(struct pj_numbers *numbers, bool committed)
{
    if (numbers->doubted != NULL && committed)
        pj_numbers_done(numbers, numbers->doubted);
    forget(numbers);
}

void pj_numbers_advanced(struct pj_numbers *numbers, int64_t stream_time_us)
{
    if (stream_time_us <= numbers->stream_time_us)
        return;
    numbers->stream_time_us = stream_time_us;
    if (numbers->stream_time == NULL)
        numbers->stream_time = pj_metrics_add(
            numbers->metrics, PJ_GAUGE_MILLI, "projectionist_stream_time_seconds", NULL,
            "Stream time: the greatest event time that this process has committed, "
            "in seconds since 1970.");
    /* Other workers show theirs there, too. */
    int64_t shown = pj_metric_value(numbers->stream_time);
    if (shown == 0 || shown < stream_time_us / 1000)
        pj_metric_set(numbers->stream_time, stream_time_us / 1000);
}

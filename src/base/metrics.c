/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics themselves and their text; metrics_server.c serves them. */
#include "base/metrics.h"

#include "base/memory.h"
#include "base/text.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The upper bounds of a histogram, as `le` shows them; the last bucket has none. */
static const struct {
    int64_t microseconds;
    const char *seconds;
} bounds[] = {
    {500, "0.0005"},  {1000, "0.001"},  {2500, "0.0025"}, {5000, "0.005"},
    {10000, "0.01"},  {25000, "0.025"}, {50000, "0.05"},  {100000, "0.1"},
    {250000, "0.25"}, {500000, "0.5"},  {1000000, "1"},   {2500000, "2.5"},
    {5000000, "5"},   {10000000, "10"}, {30000000, "30"}, {60000000, "60"},
};

enum { BOUNDS = sizeof bounds / sizeof bounds[0] };

struct pj_metric {
    struct pj_metric *next; /* of its family */
    char *labels;           /* "" for none */
    atomic_bool hidden;
    _Atomic int64_t value;   /* a histogram's sum, in microseconds */
    _Atomic int64_t *counts; /* of a histogram, BOUNDS + 1; else NULL */
};

/* The series of one name, which share help and kind. */
struct family {
    struct family *next;
    char *name;
    char *help;
    enum pj_metric_kind kind;
    struct pj_metric *series;
};

struct pj_metrics {
    pthread_mutex_t mutex; /* guards the lists; values are atomic */
    struct family *families;
    char *labels;       /* of all series; "" for none */
    char *shown_labels; /* the same for people */
};

struct pj_metrics *pj_metrics_new(void)
{
    struct pj_metrics *metrics = pj_alloc(sizeof *metrics);
    pthread_mutex_init(&metrics->mutex, NULL);
    metrics->labels = pj_strdup("");
    metrics->shown_labels = pj_strdup("");
    return metrics;
}

char *pj_metrics_labels(const struct pj_label *labels)
{
    struct pj_builder text = {0};
    for (const struct pj_label *label = labels; label->name != NULL; label++) {
        pj_builder_add(&text, "%s%s=\"", label == labels ? "" : ",", label->name);
        for (const char *c = label->value; *c != '\0'; c++) {
            if (*c == '\\' || *c == '"' || *c == '\n')
                pj_builder_add_bytes(&text, "\\", 1);
            pj_builder_add_bytes(&text, *c == '\n' ? "n" : c, 1);
        }
        pj_builder_add_bytes(&text, "\"", 1);
    }
    return pj_builder_take(&text);
}

void pj_metrics_set_labels(struct pj_metrics *metrics, const struct pj_label *labels)
{
    struct pj_builder text = {0};
    free(metrics->labels);
    free(metrics->shown_labels);
    metrics->labels = pj_metrics_labels(labels);
    for (const struct pj_label *label = labels; label->name != NULL; label++)
        pj_builder_add(&text, "%s%s: %s", label == labels ? "" : " · ", label->name, label->value);
    metrics->shown_labels = pj_builder_take(&text);
}

const char *pj_metrics_shown_labels(const struct pj_metrics *metrics)
{
    return metrics->shown_labels;
}

void pj_metrics_add_build_info(struct pj_metrics *metrics, const char *version)
{
    char *labels = pj_metrics_labels((const struct pj_label[]){
        {"version", version}, {"projectionist_version", PJ_VERSION}, {0}});
    pj_metric_set(pj_metrics_add(metrics, PJ_GAUGE, "projectionist_build_info", labels,
                                 "Always 1; its labels say what runs."),
                  1);
    free(labels);
}

static void family_free(struct family *family)
{
    struct pj_metric *next;
    for (struct pj_metric *metric = family->series; metric != NULL; metric = next) {
        next = metric->next;
        free(metric->labels);
        free(metric->counts);
        free(metric);
    }
    free(family->name);
    free(family->help);
    free(family);
}

void pj_metrics_free(struct pj_metrics *metrics)
{
    struct family *next;
    if (metrics == NULL)
        return;
    for (struct family *family = metrics->families; family != NULL; family = next) {
        next = family->next;
        family_free(family);
    }
    pthread_mutex_destroy(&metrics->mutex);
    free(metrics->labels);
    free(metrics->shown_labels);
    free(metrics);
}

/* Lists keep the order of first use, so that two scrapes read alike. */
static struct family *find_family(struct pj_metrics *metrics, enum pj_metric_kind kind,
                                  const char *name, const char *help)
{
    struct family **link = &metrics->families;
    while (*link != NULL && strcmp((*link)->name, name) != 0)
        link = &(*link)->next;
    if (*link == NULL) {
        *link = pj_alloc(sizeof **link);
        (*link)->name = pj_strdup(name);
        (*link)->help = pj_strdup(help != NULL ? help : "");
        (*link)->kind = kind;
    }
    return *link;
}

struct pj_metric *pj_metrics_add(struct pj_metrics *metrics, enum pj_metric_kind kind,
                                 const char *name, const char *labels, const char *help)
{
    if (labels == NULL)
        labels = "";
    pthread_mutex_lock(&metrics->mutex);
    struct family *family = find_family(metrics, kind, name, help);
    struct pj_metric **link = &family->series;
    while (*link != NULL && strcmp((*link)->labels, labels) != 0)
        link = &(*link)->next;
    if (*link == NULL) {
        *link = pj_alloc(sizeof **link);
        (*link)->labels = pj_strdup(labels);
        if (family->kind == PJ_HISTOGRAM)
            (*link)->counts = pj_calloc(BOUNDS + 1, sizeof *(*link)->counts);
    }
    struct pj_metric *metric = *link;
    atomic_store(&metric->hidden, false);
    pthread_mutex_unlock(&metrics->mutex);
    return metric;
}

void pj_metrics_add_all(struct pj_metrics *metrics, const struct pj_metric_line *lines)
{
    for (; lines->place != NULL; lines++)
        *lines->place =
            pj_metrics_add(metrics, lines->kind, lines->name, lines->labels, lines->help);
}

void pj_metrics_add_all_of(struct pj_metrics *metrics, const char *of,
                           const struct pj_metric_line *lines)
{
    for (; lines->place != NULL; lines++) {
        char *name = pj_text_new("projectionist_%s_%s", of, lines->name);
        *lines->place = pj_metrics_add(metrics, lines->kind, name, lines->labels, lines->help);
        free(name);
    }
}

void pj_metric_add(struct pj_metric *metric, int64_t delta)
{
    atomic_fetch_add_explicit(&metric->value, delta, memory_order_relaxed);
}

void pj_metric_set(struct pj_metric *metric, int64_t value)
{
    if (atomic_load_explicit(&metric->hidden, memory_order_relaxed))
        atomic_store(&metric->hidden, false);
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

void pj_metric_observe_us(struct pj_metric *metric, int64_t microseconds)
{
    size_t bucket = 0;
    if (metric->counts == NULL)
        return;
    if (microseconds < 0)
        microseconds = 0;
    while (bucket < BOUNDS && microseconds > bounds[bucket].microseconds)
        bucket++;
    atomic_fetch_add_explicit(&metric->counts[bucket], 1, memory_order_relaxed);
    pj_metric_add(metric, microseconds);
}

int64_t pj_metric_value(const struct pj_metric *metric)
{
    if (metric->counts == NULL)
        return atomic_load_explicit(&metric->value, memory_order_relaxed);
    int64_t count = 0;
    for (size_t i = 0; i <= BOUNDS; i++)
        count += atomic_load_explicit(&metric->counts[i], memory_order_relaxed);
    return count;
}

void pj_metric_hide(struct pj_metric *metric)
{
    atomic_store(&metric->hidden, true);
}

void pj_metrics_each(struct pj_metrics *metrics, const char *name,
                     void (*each)(void *context, const char *labels, double value), void *context)
{
    pthread_mutex_lock(&metrics->mutex);
    const struct family *family = metrics->families;
    while (family != NULL && strcmp(family->name, name) != 0)
        family = family->next;
    const struct pj_metric *metric = family != NULL ? family->series : NULL;
    for (; metric != NULL; metric = metric->next) {
        double value = (double)pj_metric_value(metric);
        if (!atomic_load(&metric->hidden))
            each(context, metric->labels, family->kind == PJ_GAUGE_MILLI ? value / 1000 : value);
    }
    pthread_mutex_unlock(&metrics->mutex);
}

static void render_header(struct pj_builder *out, const struct family *family)
{
    static const char *const kinds[] = {"counter", "gauge", "gauge", "histogram"};
    pj_builder_add(out, "# HELP %s ", family->name);
    for (const char *c = family->help; *c != '\0'; c++) {
        if (*c == '\\' || *c == '\n')
            pj_builder_add_bytes(out, "\\", 1);
        pj_builder_add_bytes(out, *c == '\n' ? "n" : c, 1);
    }
    pj_builder_add(out, "\n# TYPE %s %s\n", family->name, kinds[family->kind]);
}

/* name{common,own,last} and a blank. */
static void render_name(struct pj_builder *out, const struct pj_metrics *metrics, const char *name,
                        const char *suffix, const struct pj_metric *metric, const char *last)
{
    const char *labels[] = {metrics->labels, metric->labels, last};
    char separator = '{';
    pj_builder_add(out, "%s%s", name, suffix);
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        if (*labels[i] == '\0')
            continue;
        pj_builder_add(out, "%c%s", separator, labels[i]);
        separator = ',';
    }
    pj_builder_add(out, separator == ',' ? "} " : " ");
}

static void render_histogram(struct pj_builder *out, const struct pj_metrics *metrics,
                             const char *name, const struct pj_metric *metric)
{
    char bucket[32];
    int64_t sum = atomic_load_explicit(&metric->value, memory_order_relaxed);
    int64_t count = 0;
    for (size_t i = 0; i <= BOUNDS; i++) {
        count += atomic_load_explicit(&metric->counts[i], memory_order_relaxed);
        pj_text_whole(bucket, sizeof bucket, "le=\"%s\"", i < BOUNDS ? bounds[i].seconds : "+Inf");
        render_name(out, metrics, name, "_bucket", metric, bucket);
        pj_builder_add(out, "%" PRId64 "\n", count);
    }
    render_name(out, metrics, name, "_sum", metric, "");
    pj_builder_add(out, "%" PRId64 ".%06" PRId64 "\n", sum / 1000000, sum % 1000000);
    /* From the same reading as the buckets, so that it equals the last one. */
    render_name(out, metrics, name, "_count", metric, "");
    pj_builder_add(out, "%" PRId64 "\n", count);
}

static void render_series(struct pj_builder *out, const struct pj_metrics *metrics,
                          const struct family *family, const struct pj_metric *metric)
{
    if (family->kind == PJ_HISTOGRAM) {
        render_histogram(out, metrics, family->name, metric);
        return;
    }
    int64_t value = pj_metric_value(metric);
    render_name(out, metrics, family->name, "", metric, "");
    if (family->kind == PJ_GAUGE_MILLI)
        pj_builder_add(out, "%s%" PRId64 ".%03" PRId64 "\n", value < 0 ? "-" : "",
                       imaxabs(value / 1000), imaxabs(value % 1000));
    else
        pj_builder_add(out, "%" PRId64 "\n", value);
}

char *pj_metrics_render(struct pj_metrics *metrics)
{
    struct pj_builder text = {0};
    pthread_mutex_lock(&metrics->mutex);
    for (const struct family *family = metrics->families; family != NULL; family = family->next) {
        bool headed = false;
        for (const struct pj_metric *metric = family->series; metric != NULL;
             metric = metric->next) {
            if (atomic_load(&metric->hidden))
                continue;
            if (!headed)
                render_header(&text, family);
            headed = true;
            render_series(&text, metrics, family, metric);
        }
    }
    pthread_mutex_unlock(&metrics->mutex);
    return pj_builder_take(&text);
}

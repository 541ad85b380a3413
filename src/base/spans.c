/* SPDX-License-Identifier: Apache-2.0 */
#include "base/spans.h"

#include "base/back_off.h"
#include "base/clock.h"
#include "base/curl.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/threads.h"

#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUEUE_MOST = 2048,
    BATCH_MOST = 512,
    EVERY_MS = 1000,
    TIMEOUT_MS = 2000,
    TRIES_MOST = 4, /* of one batch, within some ten seconds: a collector that is restarted */
    BACKED_OFF = 3, /* how often the first pause is doubled already */
};

static struct {
    pthread_t thread;
    atomic_bool on;
    pthread_mutex_t mutex; /* guards the queue and `stopping` */
    pthread_cond_t changed;
    char *queue[QUEUE_MOST]; /* spans as JSON, from `first` on */
    size_t first, count;
    bool stopping;
    char *url;
    char *resource; /* as JSON */
    struct pj_metric *sent, *overflowed, *refused;
} spans = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* --- JSON ------------------------------------------------------------------------------------ */

static json_t *attributes_json(const struct pj_label *labels)
{
    json_t *array = pj_must(json_array());
    for (; labels != NULL && labels->name != NULL; labels++) {
        bool number = *labels->value != '\0' && strlen(labels->value) < 19 &&
                      labels->value[strspn(labels->value, "0123456789")] == '\0';
        json_array_append_new(array, json_pack("{s:s, s:{s:s}}", "key", labels->name, "value",
                                               number ? "intValue" : "stringValue", labels->value));
    }
    return array;
}

static json_t *nanoseconds(int64_t microseconds)
{
    char text[32];
    pj_text_whole(text, sizeof text, "%" PRId64 "000", microseconds);
    return pj_must(json_string(text));
}

static char *span_json(const struct pj_span *span)
{
    int64_t end_us = pj_clock_wall_us();
    json_t *links = pj_must(json_array());
    for (size_t i = 0; i < span->link_count && i < PJ_SPAN_LINKS_MOST; i++)
        json_array_append_new(links, json_pack("{s:s, s:s}", "traceId", span->links[i].trace_id,
                                               "spanId", span->links[i].span_id));
    json_t *json = pj_must(json_pack(
        "{s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:{s:i}}", "traceId", span->trace.trace_id,
        "spanId", span->trace.span_id, "name", span->name, "kind", (int)span->kind,
        "startTimeUnixNano", nanoseconds(end_us - span->microseconds), "endTimeUnixNano",
        nanoseconds(end_us), "attributes", attributes_json(span->attributes), "links", links,
        "status", "code", span->failed ? 2 : 0));
    if (span->parent != NULL)
        json_object_set_new(json, "parentSpanId", json_string(span->parent));
    char *text = pj_must(json_dumps(json, JSON_COMPACT));
    json_decref(json);
    return text;
}

/* --- sending --------------------------------------------------------------------------------- */

static size_t ignore(char *data, size_t size, size_t count, void *context)
{
    (void)data;
    (void)context;
    return size * count;
}

enum answer { TOOK, REFUSED, BUSY };

static enum answer post(CURL *curl, const char *body, size_t length, const char **why)
{
    static char text[64];
    long status = 0;
    struct curl_slist *fields = curl_slist_append(NULL, "Content-Type: application/json");
    curl_easy_reset(curl);
    pj_curl_set_up(curl, spans.url, NULL, (long)TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, fields);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)length);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(fields);
    pj_text_whole(text, sizeof text, "it answers HTTP %ld", status);
    *why = code != CURLE_OK ? curl_easy_strerror(code) : text;
    if (status >= 200 && status < 300)
        return TOOK;
    bool passes = code != CURLE_OK || status == 429 || (status >= 502 && status <= 504);
    return passes ? BUSY : REFUSED;
}

/* Before another try; false: it is time to end. */
static bool pause_after(int tries)
{
    struct timespec until = pj_in_ms(pj_back_off_ms(tries + BACKED_OFF, PJ_BACK_OFF_MOST_MS));
    pthread_mutex_lock(&spans.mutex);
    while (!spans.stopping && pthread_cond_timedwait(&spans.changed, &spans.mutex, &until) == 0) {
    }
    bool goes_on = !spans.stopping;
    pthread_mutex_unlock(&spans.mutex);
    return goes_on;
}

/* What cannot be sent now is tried again, a few times. `failing`: the one before was not sent. */
static bool send_batch(CURL *curl, const struct pj_builder *body, bool *failing)
{
    for (int tries = 1;; tries++) {
        const char *why;
        enum answer answer = post(curl, body->text, body->length, &why);
        if (answer != TOOK && !*failing)
            pj_log(PJ_WARN, "the collector does not take spans; they are dropped and counted",
                   pj_f_str("reason", why), pj_f_int("tries", answer == BUSY ? TRIES_MOST : 1));
        *failing = answer != TOOK;
        if (answer != BUSY || tries == TRIES_MOST || !pause_after(tries))
            return answer == TOOK;
    }
}

/* Waits for spans, and takes some; 0: it is time to end. */
static size_t take(char *taken[BATCH_MOST], bool *stopping)
{
    struct timespec until = pj_in_ms(EVERY_MS);
    size_t count = 0;
    pthread_mutex_lock(&spans.mutex);
    while (!spans.stopping && spans.count < BATCH_MOST &&
           pthread_cond_timedwait(&spans.changed, &spans.mutex, &until) == 0) {
    }
    for (; count < BATCH_MOST && spans.count > 0; spans.count--) {
        taken[count++] = spans.queue[spans.first];
        spans.first = (spans.first + 1) % QUEUE_MOST;
    }
    *stopping = spans.stopping;
    pthread_mutex_unlock(&spans.mutex);
    return count;
}

static void *run(void *context)
{
    bool stopping = false;
    bool failing = false;
    CURL *curl = pj_curl_new();
    (void)context;
    for (;;) {
        char *taken[BATCH_MOST];
        struct pj_builder body = {0};
        size_t count = take(taken, &stopping);
        if (count == 0 && stopping)
            break;
        if (count == 0)
            continue;
        pj_builder_add(&body,
                       "{\"resourceSpans\":[{\"resource\":%s,\"scopeSpans\":[{\"scope\":{\"name\":"
                       "\"projectionist\",\"version\":\"" PJ_VERSION "\"},\"spans\":[",
                       spans.resource);
        for (size_t i = 0; i < count; i++) {
            pj_builder_add(&body, "%s%s", i > 0 ? "," : "", taken[i]);
            free(taken[i]);
        }
        pj_builder_add(&body, "]}]}]}");
        bool sent = send_batch(curl, &body, &failing);
        pj_metric_add(sent ? spans.sent : spans.refused, (int64_t)count);
        pj_builder_free(&body);
        if (stopping && !sent)
            break;
    }
    curl_easy_cleanup(curl);
    return NULL;
}

void pj_spans_add_published(const char *name, size_t count, const struct pj_trace *links,
                            size_t link_count, int64_t microseconds)
{
    char text[24];
    pj_text_whole(text, sizeof text, "%zu", count);
    struct pj_span span = {
        .name = name,
        .kind = PJ_SPAN_PRODUCER,
        .microseconds = microseconds,
        .attributes = (const struct pj_label[]){{"messaging.system", "kafka"},
                                                {"messaging.batch.message_count", text},
                                                {0}},
        .links = links,
        .link_count = link_count,
    };
    pj_trace_new(&span.trace);
    pj_spans_add(&span);
}

/* --- the process ----------------------------------------------------------------------------- */

static struct pj_metric *add_dropped(struct pj_metrics *metrics, const char *labels)
{
    return pj_metrics_add(metrics, PJ_COUNTER, "projectionist_spans_dropped_total", labels,
                          "Spans that were not sent: the queue was full, or the collector did not "
                          "take them.");
}

int pj_spans_start(const char *endpoint, const char *service, const struct pj_label *labels,
                   struct pj_metrics *metrics, struct pj_error *error)
{
    if (endpoint == NULL)
        return 0;
    if (strncmp(endpoint, "http://", 7) != 0 && strncmp(endpoint, "https://", 8) != 0)
        return pj_error_fatal(
            error, PJ_EXIT_USAGE,
            "--otlp-endpoint: '%.200s' is not an http:// or https:// URL; give the "
            "collector's, such as http://127.0.0.1:4318",
            endpoint);
    size_t length = strlen(endpoint);
    while (endpoint[length - 1] == '/')
        length--;
    spans.url = pj_text_new("%.*s/v1/traces", (int)length, endpoint);
    json_t *attributes = attributes_json(labels);
    json_array_append_new(attributes, json_pack("{s:s, s:{s:s}}", "key", "service.name", "value",
                                                "stringValue", service));
    json_array_append_new(attributes, json_pack("{s:s, s:{s:s}}", "key", "service.version", "value",
                                                "stringValue", PJ_VERSION));
    json_t *resource = pj_must(json_pack("{s:o}", "attributes", attributes));
    spans.resource = pj_must(json_dumps(resource, JSON_COMPACT));
    json_decref(resource);
    spans.sent = pj_metrics_add(metrics, PJ_COUNTER, "projectionist_spans_sent_total", NULL,
                                "Spans that the collector took.");
    spans.overflowed = add_dropped(metrics, "reason=\"queue\"");
    spans.refused = add_dropped(metrics, "reason=\"collector\"");
    spans.stopping = false;
    pj_condition_init(&spans.changed);
    if (pj_thread_start(&spans.thread, run, NULL, error) != 0) {
        free(spans.url);
        free(spans.resource);
        return -1;
    }
    atomic_store(&spans.on, true);
    return 0;
}

bool pj_spans_are_on(void)
{
    return atomic_load_explicit(&spans.on, memory_order_relaxed);
}

void pj_spans_add(const struct pj_span *span)
{
    if (!pj_spans_are_on() || !span->trace.sampled)
        return;
    char *text = span_json(span);
    pthread_mutex_lock(&spans.mutex);
    if (spans.count < QUEUE_MOST) {
        spans.queue[(spans.first + spans.count++) % QUEUE_MOST] = text;
        text = NULL;
        if (spans.count >= BATCH_MOST)
            pthread_cond_signal(&spans.changed);
    }
    pthread_mutex_unlock(&spans.mutex);
    if (text != NULL)
        pj_metric_add(spans.overflowed, 1);
    free(text);
}

void pj_spans_stop(void)
{
    if (!pj_spans_are_on())
        return;
    atomic_store(&spans.on, false);
    pthread_mutex_lock(&spans.mutex);
    spans.stopping = true;
    pthread_cond_signal(&spans.changed);
    pthread_mutex_unlock(&spans.mutex);
    pthread_join(spans.thread, NULL);
    pthread_cond_destroy(&spans.changed);
    for (; spans.count > 0; spans.count--) {
        free(spans.queue[spans.first]);
        spans.first = (spans.first + 1) % QUEUE_MOST;
    }
    free(spans.url);
    free(spans.resource);
}

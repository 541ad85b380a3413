/* SPDX-License-Identifier: Apache-2.0 */
#include "event-ingest/hooks.h"

#include "base/log.h"
#include "base/memory.h"
#include "event-ingest/webhooks.h"

#include <stdlib.h>
#include <string.h>

/* Nobody reads the answer. */
static void note_refusal(struct pj_ingest *ingest, const struct pj_posted *posted, int status,
                         const char *reason)
{
    pj_metric_add(ingest->refused_webhooks, 1);
    pj_log(PJ_WARN, "a webhook's request is refused",
           pj_f_str("topic", pj_topic_of_name(posted->topic)), pj_f_int("status", status),
           pj_f_str("reason", reason));
}

static void refuse(struct pj_ingest *ingest, const struct pj_posted *posted,
                   struct pj_answer *answer, int status, const struct pj_error *error)
{
    note_refusal(ingest, posted, status, error->message);
    pj_answer_error(answer, status, error->message);
}

/* A template, with its schema in hand. */
static json_t *fill(struct pj_ingest *ingest, const struct pj_posted *posted, const json_t *json,
                    bool is_s3, struct pj_error *error)
{
    const struct pj_avro_type *record =
        pj_schema_root(pj_encoder_schema(pj_topic_take(posted->topic)));
    json_t *events = is_s3 ? pj_s3_events(json, record, ingest->settings->s3_operations, error)
                           : pj_prefect_events(json, record, error);
    pj_topic_give_back(posted->topic);
    return events;
}

static void publish(struct pj_ingest *ingest, const struct pj_posted *posted, bool is_s3,
                    struct pj_answer *answer)
{
    struct pj_error error = {0};
    json_t *json = pj_ingest_parse(ingest, posted->body, &error);
    json_t *events = json != NULL ? fill(ingest, posted, json, is_s3, &error) : NULL;
    json_decref(json);
    if (events == NULL) {
        if (json != NULL)
            pj_ingest_leave(ingest);
        refuse(ingest, posted, answer, 400, &error);
        return;
    }
    if (json_array_size(events) > 0) {
        pj_ingest_publish(ingest, posted, events, answer);
        if (answer->status >= 400 && answer->status != 429 && answer->status != 503)
            note_refusal(ingest, posted, answer->status, answer->body);
        return;
    }
    json_decref(events);
    pj_ingest_leave(ingest);
    answer->status = 200;
    answer->body = pj_strdup("{\"event_ids\": []}\n");
}

void pj_ingest_prefect(struct pj_ingest *ingest, const struct pj_posted *posted,
                       struct pj_answer *answer)
{
    publish(ingest, posted, false, answer);
}

void pj_ingest_s3(struct pj_ingest *ingest, const struct pj_posted *posted,
                  struct pj_answer *answer)
{
    publish(ingest, posted, true, answer);
}

void pj_ingest_sns(struct pj_ingest *ingest, const struct pj_posted *posted,
                   struct pj_answer *answer)
{
    struct pj_error error = {0};
    char *message = NULL;
    int status = 400;
    json_t *envelope = pj_ingest_parse(ingest, posted->body, &error);
    if (envelope != NULL)
        pj_ingest_leave(ingest); /* it is small, and a certificate may take seconds */
    enum pj_sns_kind kind = envelope != NULL
                                ? pj_sns_take(ingest->sns, envelope, &message, &status, &error)
                                : PJ_SNS_REFUSED;
    json_decref(envelope);
    if (kind == PJ_SNS_REFUSED) {
        refuse(ingest, posted, answer, status, &error);
    } else if (kind == PJ_SNS_CONFIRMED) {
        answer->status = 200;
        answer->body = pj_strdup("{\"event_ids\": []}\n");
    } else {
        struct pj_posted carried = *posted;
        carried.body = (struct pj_bytes){message, strlen(message)};
        publish(ingest, &carried, true, answer);
    }
    free(message);
}

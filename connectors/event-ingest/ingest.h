/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of event-ingest share: its settings, its parts, and the handling of requests.
 */
#ifndef PJ_EVENT_INGEST_INGEST_H
#define PJ_EVENT_INGEST_INGEST_H

#include "common/serving.h"
#include "event-ingest/admission.h"
#include "event-ingest/kept.h"
#include "event-ingest/shown_reader.h"
#include "event-ingest/sns.h"
#include "event-ingest/topics.h"

#include <semaphore.h>

enum { PJ_EVENTS_MOST = 1000 /* of a request */ };

struct pj_ingest_settings {
    const char *id;
    const char *system;
    const char *topics;
    const char *tables; /* or NULL */
    const char *postgres_dsn;
    const char *tables_schema;
    int64_t table_connections;
    int64_t table_timeout_ms;
    const char *cors_origins; /* or NULL */
    const char *s3_operations;
    struct pj_caller_settings callers;
    struct pj_sns_settings sns;
    struct pj_serving_settings serving;
    struct pj_process_settings process;
    int64_t schema_refresh_ms;
    int64_t keys_most;
};

struct pj_ingest {
    const struct pj_ingest_settings *settings;
    struct pj_topics *topics;
    struct pj_shown_tables *tables; /* or NULL */
    struct pj_shown_reader *reader; /* likewise */
    struct pj_callers *callers;
    struct pj_kept *kept;
    struct pj_sns *sns;
    struct pj_publisher *publisher;
    size_t state_topic; /* its index among the publisher's topics */
    sem_t parsers;      /* how many may parse at a time: a parsed body takes many times its size */
    /* What the publisher borrows: its topics and their count, a name and an id. */
    const char *publish_topics[PJ_TRANSACTOR_TOPICS_MOST];
    char *keys_topic, *publisher_id, *marker;
    /* Of the thread that is not a request's: its probes (or NULL), and what it looks after. */
    struct pj_metrics_server *probes;
    int64_t looked_ms, refreshed_ms;
    bool were_tables_away;
    struct pj_metrics *metrics;
    struct pj_metric *repeated, *conflicts, *kept_count, *expired, *refused_webhooks;
    struct pj_metric *foreign, *outdated;
};

/* What a client is answered. */
struct pj_answer {
    int status;
    char *body;         /* JSON, malloc'ed */
    bool is_repetition; /* of a request that was published before */
    int64_t retry_after_s;
};

/* {"error": text}; replaces nothing: the answer must be empty. */
void pj_answer_error(struct pj_answer *answer, int status, const char *text);

/* A request of a caller that is let in. */
struct pj_posted {
    const struct pj_topic_of *topic;
    const struct pj_caller *caller;
    struct pj_bytes body;
    const char *key;   /* its Idempotency-Key, or NULL */
    const char *match; /* its If-Match, or NULL */
};

/* POST /v1/events/<topic>: blocks until all of it is published, or nothing, or a time-out. */
void pj_ingest_events(struct pj_ingest *ingest, const struct pj_posted *posted,
                      struct pj_answer *answer);

/* The same of an array of events, which it takes, made of what was parsed. */
void pj_ingest_publish(struct pj_ingest *ingest, const struct pj_posted *posted, json_t *events,
                       struct pj_answer *answer);

/* JSON, strictly; NULL with a sentence. Few may have something parsed at a time: until
 * pj_ingest_publish or _leave. */
json_t *pj_ingest_parse(struct pj_ingest *ingest, struct pj_bytes body, struct pj_error *error);
void pj_ingest_leave(struct pj_ingest *ingest);

/* Whether all events may be published as far as the tables show; reads them where `claims`, of the
 * events of that topic, are not NULL. False: it is answered. */
bool pj_ingest_judge(struct pj_ingest *ingest, const struct pj_posted *posted,
                     const struct pj_claim_of *claims, size_t count, bool is_one,
                     struct pj_answer *answer);

/* The revision of an If-Match. -1: it is none. */
int64_t pj_ingest_match(const char *match);

/* Forgets some of the keys that are past their retention; true: there are more. */
bool pj_ingest_expire(struct pj_ingest *ingest);

#endif

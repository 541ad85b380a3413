/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine of one consumer: the loop that fetches, folds and commits. Private to the files
 * engine.c (the loop, rebalances, waiting), assignment.c (partitions that are taken), batch.c
 * (fetching and decoding ahead) and transaction.c (one batch against Postgres).
 */
#ifndef PJ_ENGINE_ENGINE_H
#define PJ_ENGINE_ENGINE_H

#include "base/arena.h"
#include "base/metrics.h"
#include "engine/settings.h"
#include "engine/stall.h"
#include "kafka/consumer.h"
#include "postgres/postgres.h"
#include "store/schemas.h"
#include "store/unit.h"

#include <signal.h>
#include <stdatomic.h>

/* A record on its way through a batch. */
struct pj_item {
    struct pj_record record;
    enum {
        PJ_ITEM_FETCHED, /* its schema is not in memory yet */
        PJ_ITEM_DECODED,
        PJ_ITEM_REFUSED, /* a dead letter, for the reason */
    } state;
    struct pj_value *values;
    const struct pj_error *reason;
};

struct pj_batch {
    struct pj_item *items;
    size_t count;
    size_t capacity;
    size_t bytes;
    struct pj_arena *arena; /* values and texts of the items */
};

struct pj_engine;

/*
 * A run that fills shadow tables up to given ends, without a group, instead of serving one. All is
 * the caller's. Records that somebody discarded as dead letters are passed over, as they are in the
 * live tables.
 */
struct pj_shadow {
    const char *schema; /* of the shadow tables */
    const struct pj_offset_range *ranges;
    size_t range_count;
    const struct pj_offset_range
        *discarded; /* of one record each; sorted by pj_offset_range_compare */
    size_t discarded_count;
    const atomic_bool *halted; /* a stop, too: of this run and those beside it */
    int64_t patience_ms;       /* without any progress it fails (PJ_EXIT_UNAVAILABLE); 0: never */
    /* Called now and then. */
    void (*progress)(void *context, const struct pj_engine *engine);
    void *context;
};

/* The numbers that /metrics shows. */
struct pj_engine_metrics {
    struct pj_metric *records, *rows, *batches, *batch_seconds, *dead_letters, *retries, *fenced;
    struct pj_metric *placeholders, *dropped, *rebalances, *assigned, *last_commit, *stalled;
};

struct pj_engine {
    const struct pj_projection *projection;
    const struct pj_settings *settings;
    const struct pj_properties *kafka_properties;
    struct pj_postgres_settings postgres_settings;
    struct pj_unit unit;   /* what writes, and asks, in Postgres */
    int64_t refused_since; /* by a server that took us before; 0: it does not */
    struct pj_consumer *consumer;
    struct pj_registry *registry;
    struct pj_schemas *schemas;
    struct pj_identity identity;
    const struct pj_shadow *shadow; /* NULL: a consumer */
    struct pj_metrics *metrics;
    struct pj_metrics_server *server; /* NULL: none */
    struct pj_engine_metrics numbers;
    volatile sig_atomic_t *stop; /* how often we were asked to stop */

    struct pj_batch batches[2];
    struct pj_batch *current; /* being committed */
    struct pj_batch *next;    /* being fetched meanwhile */

    int64_t *setting_values;   /* of the projection's settings */
    bool *accepted;            /* of each source: something was, once (flood.h) */
    bool timers_due;           /* stream time may have gone past entities that nothing touched */
    int fences;                /* in a row, without a commit between them */
    int failures;              /* tries in a row that failed for want of a server */
    int64_t assign_not_before; /* a pending assignment is tried again from then on */
    struct pj_stall stall;
    int64_t others_asked_ms; /* when what others have yet to read was looked at */
    int64_t stop_seen_at;    /* 0: not asked to stop */
    int64_t group_committed_at;
    int64_t checked_at; /* when a consumer without records looked whether it still owns anything */
    int64_t lag_shown_at;
    int64_t topic_ids_asked_at;
    int64_t settled_since;
    bool topics_seen;
    bool poll_failed;
    struct pj_error poll_error;
};

/* Opens all but the connections (those are made, and made again, as they are needed). */
int pj_engine_open(struct pj_engine *engine, const struct pj_projection *projection,
                   const struct pj_settings *settings, const struct pj_config *config,
                   struct pj_error *error) PJ_MUST_CHECK;
void pj_engine_close(struct pj_engine *engine);

/* Runs until stopped or caught up (0) or a fatal error (-1). */
int pj_engine_run(struct pj_engine *engine, struct pj_error *error) PJ_MUST_CHECK;

/* --- between the engine's files -------------------------------------------------------------- */

/* Fetches what is there and decodes it; true when something came. Never blocks. */
bool pj_batch_fill(struct pj_engine *engine, struct pj_batch *batch);
/* One record more, decoded where its schema is in memory. */
void pj_batch_add(struct pj_engine *engine, struct pj_batch *batch, const struct pj_record *record);
bool pj_batch_full(const struct pj_engine *engine, const struct pj_batch *batch);
void pj_batch_clear(struct pj_batch *batch);
void pj_batch_free(struct pj_batch *batch);
/* Still ours to write: not revoked since, not committed already. */
bool pj_item_live(const struct pj_item *item);

/*
 * Carries out the pending assignment: makes us the owner in Postgres, and fetching begins where
 * that says. Fatal (PJ_EXIT_GAP, PJ_EXIT_TOPIC_RECREATED) where that is not in the topics any more;
 * PJ_RETRY leaves the assignment pending.
 */
int pj_engine_carry_out_assignment(struct pj_engine *engine, struct pj_error *error) PJ_MUST_CHECK;
/* Are the topics still those that were taken? Asks now and then, and blocks for a second at most.
 */
int pj_engine_check_topics(struct pj_engine *engine, struct pj_error *error) PJ_MUST_CHECK;

/* Commits the current batch, whatever it takes, but for a stop or a fatal error. */
int pj_engine_commit(struct pj_engine *engine, struct pj_error *error) PJ_MUST_CHECK;
/* Advances over what is invisible behind the last record of partitions that are at their end. */
int pj_engine_advance_to_ends(struct pj_engine *engine, struct pj_error *error) PJ_MUST_CHECK;

/* Without records no commit would tell that another owner has taken over: asks, now and then. */
int pj_engine_check_ownership(struct pj_engine *engine, struct pj_error *error) PJ_MUST_CHECK;

/* Derives the entities that stream time has gone past. */
int pj_engine_run_timers(struct pj_engine *engine, struct pj_error *error) PJ_MUST_CHECK;

/* Opens Postgres where it is not open (pj_unit_open); one try. */
int pj_engine_connect(struct pj_engine *engine, struct pj_error *error) PJ_MUST_CHECK;
/* Waits, longer with every failure, paused but polling; carries out revocations. */
int pj_engine_back_off(struct pj_engine *engine, const struct pj_error *why,
                       struct pj_error *error) PJ_MUST_CHECK;
/* After a try that failed: 0 when it waited, and is to be tried again unless it was asked to stop;
 * or it was fenced, and joins the group anew. */
int pj_engine_survive(struct pj_engine *engine, struct pj_error *error) PJ_MUST_CHECK;
/* After an answer of Postgres: what waited for a server waits no longer. */
void pj_engine_recovered(struct pj_engine *engine);
bool pj_engine_stopping(const struct pj_engine *engine);
/* What /readyz says: why not, or NULL for ready. */
void pj_engine_set_ready(struct pj_engine *engine, const char *reason);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay of dead letters: each is applied by the projection that refused it, as if it had come in
 * time, in a transaction of its own that also marks it as replayed. So it is applied exactly once,
 * wherever the process is stopped; and since rows do not depend on the order of events, it does not
 * matter that it is late.
 */
#ifndef PJ_ENGINE_REPLAY_H
#define PJ_ENGINE_REPLAY_H

#include "avro/registry.h"
#include "postgres/postgres.h"
#include "projectionist/projection.h"

struct pj_replay;

/* All is kept, not copied. */
struct pj_replay_settings {
    const struct pj_postgres_settings *postgres;
    const struct pj_projection *projection;       /* with the topics as Kafka names them */
    const char *topic_prefix;                     /* of them, or NULL */
    const union pj_setting_value *setting_values; /* of the projection's settings, in their order */
    struct pj_registry *registry; /* NULL: only schemas kept in Postgres are known */
    const char *registry_name;    /* its URL, or NULL */
    bool dry_run;                 /* everything but the commit */
};

enum pj_replay_outcome {
    PJ_REPLAY_APPLIED,  /* or, with dry_run, it would be */
    PJ_REPLAY_REFUSED,  /* it still cannot be: it stays open, with the new reason */
    PJ_REPLAY_RESOLVED, /* nothing to do: it is not open, or does not exist */
};

/* Connects with the first letter. */
int pj_replay_new(struct pj_replay **replay, const struct pj_replay_settings *settings,
                  struct pj_error *error) PJ_MUST_CHECK;
void pj_replay_free(struct pj_replay *replay); /* NULL is allowed */

/*
 * Applies the letter with this id, which must be one of the projection. Retries conflicts with live
 * consumers at once; while Postgres or the registry is unavailable it waits, for some ten seconds
 * in all, then fails with PJ_RETRY. With PJ_REPLAY_REFUSED it returns 0 and *error is the reason.
 */
int pj_replay_letter(struct pj_replay *replay, int64_t id, enum pj_replay_outcome *outcome,
                     struct pj_error *error) PJ_MUST_CHECK;

#endif

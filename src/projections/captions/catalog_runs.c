/* SPDX-License-Identifier: Apache-2.0 */
/* What the runs that process a video come to. */
#include "projections/captions/catalog.h"

/* After COMPLETED, until a run that never told its end counts as failed. */
static const int64_t untold_end = INT64_C(10) * 60 * 1000000;

/* How a run that did not tell its end has ended by what Prefect says: NULL while it has not. */
static const char *end_by_prefect(const struct run_state *told, struct pj_derivation *derivation)
{
    const struct state state = {.state_type = told->state_type};
    int64_t due;
    if (!pj_text_is(&told->state_type.value, "COMPLETED"))
        return flows_broken(&state);
    if (__builtin_add_overflow(told->at.integer, untold_end, &due))
        return NULL;
    if (pj_stream_time(derivation) > due)
        return "failed";
    pj_due(derivation, due);
    return NULL;
}

struct end {
    struct pj_text outcome; /* null while it has not ended */
    struct pj_text failure;
};

static struct end end_of(const struct pj_entity *entity, struct pj_derivation *derivation,
                         const uint8_t run[16])
{
    const struct run_last *last = PJ_SAYS(run_last, pj_fact_of(entity, VIDEO, run_last_fact, run));
    const struct pj_fact *prefect = pj_fact_of(entity, VIDEO, run_state_fact, run);
    const struct run_state *told = PJ_SAYS(run_state, prefect);
    struct end end = {.outcome = last->outcome, .failure = last->error};
    if (!end.outcome.present && prefect != NULL &&
        told->run_count.integer >= last->run_count.integer) {
        end.outcome = PJ_TEXT(end_by_prefect(told, derivation));
        end.failure = told->message;
    }
    bool failed = end.outcome.present && !pj_text_is(&end.outcome.value, "succeeded");
    if (!failed)
        end.failure = PJ_TEXT(pj_null());
    else if (!end.failure.present || end.failure.text.length == 0)
        end.failure = end.outcome;
    return end;
}

struct catalog_runs catalog_runs_of(const struct pj_entity *entity,
                                    struct pj_derivation *derivation)
{
    size_t count;
    struct catalog_runs runs = {0};
    struct end latest = {0};
    bool succeeded = false;
    const struct pj_fact *firsts =
        pj_entity_facts_by_order(derivation, entity, run_first_fact, &count);
    for (size_t i = 0; i < count; i++) {
        const struct pj_fact *measured =
            pj_fact_of(entity, VIDEO, run_measured_fact, firsts[i].subkey);
        latest = end_of(entity, derivation, firsts[i].subkey);
        runs.latest = &firsts[i];
        succeeded = succeeded || pj_text_is(&latest.outcome.value, "succeeded");
        if (measured != NULL)
            runs.duration = PJ_SAYS(run_measured, measured)->seconds;
    }
    if (runs.latest == NULL)
        return runs;
    runs.failure = latest.failure;
    runs.status = !latest.outcome.present ? "processing" : succeeded ? "active" : "failed";
    return runs;
}

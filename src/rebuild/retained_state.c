/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retained state: the live facts of records that are gone are merged into the shadow's as if they
 * had been observed, entity by entity, and rows follow from both. What other entities contributed
 * is left out: they contribute it again.
 */
#include "fold/claims.h"
#include "fold/declaration.h"
#include "postgres/binary.h"
#include "postgres/sql_text.h"
#include "rebuild/rebuild_internal.h"
#include "store/statements.h"

#include <string.h>

enum { PAGE = 2000, PAGE_BYTES = PJ_STATE_MOST / 2 };

static const uint32_t page_types[] = {PJ_OID_UUID, PJ_OID_INT8};

/* By pj_contribute, without an order of its own, or a claim. */
static bool is_contributed(const struct pj_entity_kind *kind, const struct pj_fact *fact)
{
    static const struct pj_fact none;
    const struct pj_fact_kind *declared = &kind->facts[fact->kind];
    if (declared->recursive)
        return true;
    if (declared->absorbs ||
        (declared->is_name && memcmp(fact->subkey, none.subkey, sizeof none.subkey) == 0))
        return false;
    return pj_claims_is_kind(kind) || memcmp(&fact->order, &none.order, sizeof none.order) == 0;
}

static int add_facts(const struct pj_rebuild *rebuild, size_t index, const struct pj_result *page,
                     struct pj_fold *fold, struct pj_arena *arena, struct pj_error *error)
{
    const struct pj_entity_kind *kind = &rebuild->settings->projection->entities[index];
    for (int row = 0; row < pj_result_rows(page); row++) {
        struct pj_entity entity = {.kind = kind};
        int length;
        const char *facts = pj_result_value(page, row, 1, &length);
        memcpy(entity.key, pj_result_value(page, row, 0, NULL), 16);
        const void *copy = pj_arena_copy(arena, facts, (size_t)length);
        if (pj_facts_decode(&entity, copy, (size_t)length, arena, error) != 0)
            return -1;
        for (size_t f = 0; f < entity.count; f++) {
            if (!is_contributed(kind, &entity.facts[f]))
                pj_fold_tell_retained(fold, index, entity.key, &entity.facts[f]);
        }
    }
    return 0;
}

/* To the next key; false: there is none. */
static bool advance(uint8_t key[16])
{
    int i = 15;
    while (i >= 0 && ++key[i] == 0)
        i--;
    return i >= 0;
}

/* One page, or one entity if a page is too large, in one transaction. */
static int keep_page(struct pj_rebuild *rebuild, size_t index, const struct pj_statement *statement,
                     const struct pj_tries *tries, uint8_t next[16], int *rows,
                     struct pj_error *error)
{
    struct pj_session *session = &rebuild->workers[0].loop.session;
    struct pj_result *page;
    pj_arena_reset(session->unit.work);
    struct pj_value from = pj_uuid(next);
    struct pj_value most = pj_bigint(tries->whole ? 0 : PAGE_BYTES);
    struct pj_parameter parameters[] = {
        pj_binary_scalar(session->unit.work, PJ_UUID, &from),
        pj_binary_scalar(session->unit.work, PJ_BIGINT, &most),
    };
    if (pj_session_connect(session, error) != 0 ||
        pj_postgres_run(session->unit.postgres, statement, parameters, &page, error) != 0)
        return -1;
    struct pj_fold *fold =
        pj_fold_new(session->projection, session->setting_values, session->unit.work);
    *rows = pj_result_rows(page);
    int status = add_facts(rebuild, index, page, fold, session->unit.work, error);
    if (status == 0 && *rows > 0) {
        memcpy(next, pj_result_value(page, *rows - 1, 0, NULL), 16);
        if (!advance(next))
            *rows = 0; /* it was the last page */
    }
    pj_result_free(page);
    const struct pj_unit_work work = {.tries = tries, .fold = fold};
    struct pj_unit_result result;
    return status == 0 ? pj_unit_try(&session->unit, &work, &result, error) : -1;
}

static int keep_kind(struct pj_rebuild *rebuild, size_t index, struct pj_error *error)
{
    const struct pj_projection *projection = rebuild->settings->projection;
    struct pj_session *session = &rebuild->workers[0].loop.session;
    char name[PJ_STATE_NAME_SIZE];
    pj_declaration_state_name(projection, projection->entities[index].name, name);
    const struct pj_statement statement = {
        .name = pj_arena_printf(rebuild->arena, "pj_retained_%zu", index),
        .sql =
            pj_arena_printf(rebuild->arena,
                            "SELECT key, facts FROM (SELECT key, facts, sum(octet_length(facts)) "
                            "OVER (ORDER BY key ROWS BETWEEN UNBOUNDED PRECEDING AND 1 "
                            "PRECEDING) AS before FROM %s WHERE key >= $1 "
                            "ORDER BY key LIMIT %d) AS page "
                            "WHERE before IS NULL OR before < $2 ORDER BY key",
                            pj_sql_qualified("projectionist", name).text, PAGE),
        .parameter_count = 2,
        .types = page_types,
    };
    const struct pj_statement *kept = pj_arena_copy(rebuild->arena, &statement, sizeof statement);
    uint8_t next[16] = {0}; /* the nil UUID is a key */
    int rows = 1;
    struct pj_tries tries = {0};
    while (rows > 0) {
        uint8_t before[16];
        memcpy(before, next, sizeof before);
        if (pj_session_stopping(session))
            return PJ_REBUILD_STOPPED;
        if (keep_page(rebuild, index, kept, &tries, next, &rows, error) == 0) {
            tries = (struct pj_tries){0};
            continue;
        }
        memcpy(next, before, sizeof next);
        rows = 1;
        if (pj_unit_next(&session->unit, &tries, false, error) != PJ_AGAIN &&
            pj_loop_recover(&rebuild->workers[0].loop, error) != 0)
            return -1;
    }
    return PJ_REBUILD_FILLED;
}

/* The record with the greatest event time may be gone. */
static int keep_stream_time(struct pj_rebuild *rebuild, struct pj_error *error)
{
    return pj_rebuild_execute(
        rebuild,
        "UPDATE projectionist.consumer_offsets AS s "
        "SET stream_time = greatest(s.stream_time, o.stream_time) "
        "FROM projectionist.consumer_offsets AS o "
        "WHERE s.cluster_id = $1 AND s.consumer_group = $3 AND o.cluster_id = $1 "
        "AND o.consumer_group = $2 AND o.topic = s.topic "
        "AND o.partition = s.partition",
        PJ_TEXTS(rebuild->settings->cluster_id, rebuild->settings->group, rebuild->shadow_group),
        error);
}

/* Each write has run some of the timers that are due by that time; these are the rest. */
static int run_timers(struct pj_rebuild *rebuild, struct pj_error *error)
{
    struct pj_loop *loop = &rebuild->workers[0].loop;
    loop->commit.timers_due = pj_writer_timed(loop->session.unit.writer);
    while (loop->commit.timers_due) {
        if (pj_session_stopping(&loop->session))
            return PJ_REBUILD_STOPPED;
        if (pj_commit_timers(&loop->commit, error) != 0 && pj_loop_recover(loop, error) != 0)
            return -1;
    }
    return PJ_REBUILD_FILLED;
}

int pj_rebuild_keep_retained(struct pj_rebuild *rebuild, struct pj_error *error)
{
    if (keep_stream_time(rebuild, error) != 0)
        return -1;
    for (size_t e = 0; e < rebuild->settings->projection->entity_count; e++) {
        int status = keep_kind(rebuild, e, error);
        if (status != PJ_REBUILD_FILLED)
            return status;
    }
    return run_timers(rebuild, error);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retained state: the live facts of records that are gone are merged into the shadow's as if they
 * had been observed, entity by entity, and rows follow from both. What other entities contributed
 * is left out: they contribute it again.
 */
#include "fold/claims.h"
#include "fold/declaration.h"
#include "fold/wide.h"
#include "postgres/binary.h"
#include "postgres/sql_text.h"
#include "rebuild/rebuild_internal.h"
#include "store/statements.h"

#include <endian.h>
#include <string.h>

enum { PAGE = 2000, PAGE_BYTES = PJ_STATE_MOST / 2 };

/* A key, the size of a page; and of wide facts the rest of their place. */
static const uint32_t page_types[] = {PJ_OID_UUID, PJ_OID_INT8, PJ_OID_INT4, PJ_OID_UUID};

/* Where the next page begins; of wide facts, behind which. */
struct cursor {
    uint8_t key[16];
    int32_t kind;
    uint8_t subkey[16];
};

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
                pj_fold_keep_retained(fold, index, entity.key, &entity.facts[f]);
        }
    }
    return 0;
}

/* False: there is nothing behind the page. */
static bool advance(struct cursor *cursor, const struct pj_result *page, bool wide)
{
    int last = pj_result_rows(page) - 1;
    uint32_t kind;
    memcpy(cursor->key, pj_result_value(page, last, 0, NULL), 16);
    if (wide) {
        memcpy(&kind, pj_result_value(page, last, 2, NULL), sizeof kind);
        cursor->kind = (int32_t)be32toh(kind);
        memcpy(cursor->subkey, pj_result_value(page, last, 3, NULL), 16);
        return true;
    }
    int i = 15;
    while (i >= 0 && ++cursor->key[i] == 0)
        i--;
    return i >= 0;
}

/* One page, or one row if a page is too large, in one transaction. */
static int keep_page(struct pj_rebuild *rebuild, size_t index, const struct pj_statement *statement,
                     const struct pj_tries *tries, struct cursor *cursor, int *rows,
                     struct pj_error *error)
{
    struct pj_session *session = &rebuild->workers[0].loop.session;
    struct pj_arena *work = session->unit.work;
    struct pj_result *page;
    pj_arena_reset(work);
    struct pj_value key = pj_uuid(cursor->key);
    struct pj_value subkey = pj_uuid(cursor->subkey);
    struct pj_parameter parameters[] = {
        pj_binary_scalar(work, PJ_UUID, &key),
        pj_binary_number(work, PJ_BIGINT, tries->whole ? 0 : PAGE_BYTES),
        pj_binary_number(work, PJ_INT, cursor->kind),
        pj_binary_scalar(work, PJ_UUID, &subkey),
    };
    if (pj_session_connect(session, error) != 0 ||
        pj_postgres_run(session->unit.postgres, statement, parameters, &page, error) != 0)
        return -1;
    struct pj_fold *fold = pj_fold_new(session->projection, session->setting_values, work);
    *rows = pj_result_rows(page);
    int status = add_facts(rebuild, index, page, fold, work, error);
    if (status == 0 && *rows > 0 && !advance(cursor, page, statement->parameter_count > 2))
        *rows = 0; /* it was the last page */
    pj_result_free(page);
    const struct pj_unit_work unit = {.tries = tries, .fold = fold};
    struct pj_unit_result result;
    return status == 0 ? pj_unit_try(&session->unit, &unit, &result, error) : -1;
}

static const struct pj_statement *page_statement(const struct pj_rebuild *rebuild, size_t index,
                                                 bool wide)
{
    const struct pj_projection *projection = rebuild->settings->projection;
    struct pj_arena *arena = rebuild->arena;
    const char *place = wide ? "key, kind, subkey" : "key";
    char name[PJ_STATE_NAME_SIZE];
    if (wide)
        pj_declaration_wide_name(projection, projection->entities[index].name, name);
    else
        pj_declaration_state_name(projection, projection->entities[index].name, name);
    const struct pj_statement statement = {
        .name = pj_arena_printf(arena, "pj_retained_%zu_%d", index, wide),
        .sql = pj_arena_printf(
            arena,
            "SELECT key, facts%s FROM (SELECT *, sum(octet_length(facts)) OVER (ORDER BY %s "
            "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM %s "
            "WHERE %s ORDER BY %s LIMIT %d) AS page WHERE before IS NULL OR before < $2 "
            "ORDER BY %s",
            wide ? ", kind, subkey" : "", place, pj_sql_qualified("projectionist", name).text,
            wide ? "(key, kind, subkey) > ($1, $3, $4)" : "key >= $1", place, PAGE, place),
        .parameter_count = wide ? 4 : 2,
        .types = page_types,
    };
    return pj_arena_copy(arena, &statement, sizeof statement);
}

static int keep_kind(struct pj_rebuild *rebuild, size_t index, bool wide, struct pj_error *error)
{
    struct pj_session *session = &rebuild->workers[0].loop.session;
    const struct pj_statement *statement = page_statement(rebuild, index, wide);
    struct cursor cursor = {.kind = -1}; /* the nil UUID is a key */
    int rows = 1;
    struct pj_tries tries = {0};
    while (rows > 0) {
        const struct cursor before = cursor;
        if (pj_session_stopping(session))
            return PJ_REBUILD_STOPPED;
        if (keep_page(rebuild, index, statement, &tries, &cursor, &rows, error) == 0) {
            tries = (struct pj_tries){0};
            continue;
        }
        cursor = before;
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
        /* Final facts are among those that are not kept apart, and so come first. */
        int status = keep_kind(rebuild, e, false, error);
        if (status == PJ_REBUILD_FILLED && pj_wide_has(&rebuild->settings->projection->entities[e]))
            status = keep_kind(rebuild, e, true, error);
        if (status != PJ_REBUILD_FILLED)
            return status;
    }
    return run_timers(rebuild, error);
}

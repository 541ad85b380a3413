/* SPDX-License-Identifier: Apache-2.0 */
/* The facts that a transaction loads, merges and saves: bounded, however large the entities are. */
#include "base/clock.h"
#include "base/invariant.h"
#include "base/text.h"
#include "store/write_internal.h"

#include <endian.h>
#include <string.h>

/* Facts travel in statements of about this size, so that they are not in memory several times. */
enum { FACTS_PIECE = 16 << 20 };
/* What later stages may load at least, as a part of all: an earlier one may be a single entity. */
enum { LATER_STAGE = 4 };

static const char too_large[] = "PJ002"; /* no SQLSTATE of Postgres's */

bool pj_writer_too_large(const struct pj_error *error)
{
    return strcmp(error->sqlstate, too_large) == 0;
}

static int refuse(const struct pj_stage *stage, size_t length, struct pj_error *error)
{
    pj_error_set(error, PJ_POISON,
                 "the facts of %zu entities take %zu MiB: too many for one "
                 "transaction",
                 stage->count, length >> 20);
    pj_text_whole(error->sqlstate, sizeof error->sqlstate, "%s", too_large);
    return -1;
}

static void add_key(struct rows *keys, struct pj_arena *arena, const uint8_t key[16])
{
    struct pj_value row[] = {pj_uuid(key)};
    keys->items[keys->count++] = pj_arena_copy(arena, row, sizeof row);
}

static size_t length_at(const struct pj_result *result, int row)
{
    uint32_t length;
    memcpy(&length, pj_result_value(result, row, 1, NULL), sizeof length);
    return be32toh(length);
}

/* Loads those whose facts are at most `most` long; `missing` becomes the keys of the others, and
 * *length is that of all. */
static int load_some(const struct pass *pass, size_t index, const struct rows *keys, size_t most,
                     struct rows *missing, size_t *length, struct pj_error *error)
{
    struct pj_parameter parameters[2] = {
        pj_binary_array(pass->arena, PJ_UUID, keys->items, keys->count, 0),
        pj_binary_number(pass->arena, PJ_INT, most < INT32_MAX ? (int64_t)most : INT32_MAX),
    };
    struct pj_result *result;
    if (pj_postgres_run(pass->postgres, &pass->writer->statements->entities[index].load, parameters,
                        &result, error) != 0)
        return -1;
    int status = 0;
    bool timed = pass->writer->projection->entities[index].timed;
    for (int row = 0; row < pj_result_rows(result) && status == 0; row++) {
        int size;
        int64_t derived_at = timed ? pj_binary_time(pj_result_int8(result, row, 3)) : 0;
        const uint8_t *key = (const uint8_t *)pj_result_value(result, row, 0, NULL);
        const char *facts = pj_result_value(result, row, 2, &size);
        *length += length_at(result, row);
        if (facts == NULL) {
            add_key(missing, pass->arena, key);
            continue;
        }
        const void *copy = pj_arena_copy(pass->arena, facts, (size_t)size);
        status = pj_fold_load(pass->fold, index, key, copy, (size_t)size, derived_at, error);
    }
    pj_result_free(result);
    return status;
}

/*
 * Only Postgres knows how long facts are. What each entity may have without all of them together
 * being too long comes at once, which is nearly always everything; the rest is asked for once it is
 * known that there is room.
 */
static int load(const struct pass *pass, size_t index, const struct pj_stage *stage,
                struct pj_error *error)
{
    struct pj_writer *writer = pass->writer;
    struct rows keys = rows_new(pass->arena, stage->count);
    struct rows missing = rows_new(pass->arena, stage->count);
    struct rows none = rows_new(pass->arena, 0);
    size_t length = 0;
    size_t all = 0;
    size_t room = writer->state_most / LATER_STAGE;
    for (size_t i = 0; i < stage->count; i++)
        add_key(&keys, pass->arena, stage->touched[i].key);
    if (room + writer->loaded < writer->state_most)
        room = writer->state_most - writer->loaded;
    if (writer->whole || stage->count == 1)
        room = SIZE_MAX;
    if (load_some(pass, index, &keys, room / stage->count, &missing, &length, error) != 0)
        return -1;
    writer->loaded += length;
    if (missing.count == 0)
        return 0;
    if (length > room)
        return refuse(stage, length, error);
    return load_some(pass, index, &missing, SIZE_MAX, &none, &all, error);
}

static int write_some(const struct pass *pass, const struct pj_statement *statement,
                      const struct rows *rows, size_t from, size_t to, struct pj_error *error)
{
    static const enum pj_type types[] = {PJ_UUID, PJ_BYTEA, PJ_TIMESTAMPTZ, PJ_TIMESTAMPTZ};
    struct pj_arena *piece = pass->writer->piece;
    bool last = to == rows->count;
    struct pj_parameter parameters[4];
    pj_arena_reset(piece);
    for (size_t c = 0; c < (size_t)statement->parameter_count; c++)
        parameters[c] =
            pj_binary_array(last ? pass->arena : piece, types[c], rows->items + from, to - from, c);
    return last ? pj_postgres_queue(pass->postgres, statement, parameters, error)
                : pj_postgres_run(pass->postgres, statement, parameters, NULL, error);
}

/* Few enough at once; nearly always that is one statement, which is queued. */
static int write_facts(const struct pass *pass, const struct pj_statement *statement,
                       const struct rows *rows, struct pj_error *error)
{
    size_t from = 0;
    size_t size = 0;
    for (size_t i = 0; i < rows->count; i++) {
        size_t length = rows->items[i][1].text.length;
        if (i > from && size + length > FACTS_PIECE) {
            if (write_some(pass, statement, rows, from, i, error) != 0)
                return -1;
            from = i;
            size = 0;
        }
        size += length;
    }
    return rows->count == 0 ? 0 : write_some(pass, statement, rows, from, rows->count, error);
}

static int save(const struct pass *pass, size_t index, const struct pj_stage *stage,
                struct pj_error *error)
{
    const struct pj_entity_statements *statements = &pass->writer->statements->entities[index];
    struct rows inserts = rows_new(pass->arena, stage->count);
    struct rows updates = rows_new(pass->arena, stage->count);
    for (size_t i = 0; i < stage->count; i++) {
        const struct pj_touched *touched = &stage->touched[i];
        struct rows *rows = touched->existed ? &updates : &inserts;
        if (!touched->changed)
            continue;
        struct pj_value row[] = {pj_uuid(touched->key),
                                 pj_text_of(touched->stored, touched->stored_length), touched->due,
                                 pj_timestamp(pj_fold_stream_time(pass->fold))};
        rows->items[rows->count++] = pj_arena_copy(pass->arena, row, sizeof row);
    }
    const struct pj_table *table =
        pass->writer->projection->entities[index].timed ? &pj_timed_state_table : &pj_state_table;
    if (write_facts(pass, &statements->update, &updates, error) != 0)
        return -1;
    if (pj_writer_copy_pays(pass, &statements->copy, table, &inserts))
        return pj_writer_copy_rows(pass, &statements->copy, table, &inserts, error);
    return write_facts(pass, &statements->insert, &inserts, error);
}

bool pj_writer_timed(const struct pj_writer *writer)
{
    bool timed = false;
    for (size_t e = 0; e < writer->projection->entity_count; e++)
        timed = timed || writer->projection->entities[e].timed;
    return timed;
}

int pj_writer_run_timers(struct pj_writer *writer, struct pj_postgres *postgres,
                         struct pj_fold *fold, int64_t stream_time, struct pj_arena *arena,
                         size_t *due, struct pj_error *error)
{
    struct pj_parameter parameter = pj_binary_number(arena, PJ_TIMESTAMPTZ, stream_time);
    /* There is as much room for those whom records touch. */
    size_t most = writer->whole ? 0 : writer->state_most / 2;
    *due = 0;
    pj_fold_set_stream_time(fold, stream_time);
    for (size_t e = 0; e < writer->projection->entity_count; e++) {
        struct pj_result *result;
        if (!writer->projection->entities[e].timed)
            continue;
        if (pj_postgres_run(postgres, &writer->statements->entities[e].due, &parameter, &result,
                            error) != 0)
            return -1;
        size_t length = 0;
        for (int row = 0; row < pj_result_rows(result); row++, (*due)++) {
            length += length_at(result, row);
            if (row > 0 && length > most)
                break;
            pj_fold_timer(fold, e, (const uint8_t *)pj_result_value(result, row, 0, NULL));
        }
        pj_result_free(result);
    }
    return 0;
}

int pj_writer_run_stages(const struct pass *pass, struct pj_error *error)
{
    const struct pj_projection *projection = pass->writer->projection;
    PJ_CHECK(pj_fold_projection(pass->fold) == projection,
             "a batch is folded by another projection than it is written by");
    for (size_t index = 0; index < projection->entity_count; index++) {
        const struct pj_stage *stage = pj_fold_stage(pass->fold, index);
        if (stage->count == 0)
            continue;
        for (const struct pj_stage *fresh = stage; fresh != NULL;) {
            int64_t started = pj_clock_monotonic_us();
            if (fresh->count > 0 && load(pass, index, fresh, error) != 0)
                return -1;
            pass->written->load_us += pj_clock_monotonic_us() - started;
            if (pj_fold_merge(pass->fold, index, error) != 0 ||
                pj_fold_again(pass->fold, index, &fresh, error) != 0)
                return -1;
        }
        int64_t started = pj_clock_monotonic_us();
        if (save(pass, index, stage, error) != 0)
            return -1;
        pass->written->write_us += pj_clock_monotonic_us() - started;
    }
    return pj_fold_finish(pass->fold, error);
}

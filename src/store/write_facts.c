/* SPDX-License-Identifier: Apache-2.0 */
/* The facts that a transaction loads, merges and saves: bounded, however large the entities are. */
#include "base/invariant.h"
#include "base/text.h"
#include "store/write_internal.h"

#include <endian.h>
#include <stdio.h>
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

static size_t length_at(const struct pj_result *result, int row)
{
    uint32_t length;
    memcpy(&length, pj_result_value(result, row, 1, NULL), sizeof length);
    return be32toh(length);
}

/* Loads those whose facts are at most `most` long; `missing` becomes the keys of the others, and
 * *length is that of all. */
static int load_some(struct pj_writer *writer, struct pj_postgres *postgres, struct pj_fold *fold,
                     size_t index, const struct pairs *keys, size_t most, struct pairs *missing,
                     size_t *length, struct pj_arena *arena, struct pj_error *error)
{
    struct pj_value longest = pj_bigint(most < INT32_MAX ? (int64_t)most : INT32_MAX);
    struct pj_parameter parameters[2] = {
        pj_binary_array(arena, PJ_UUID, keys->rows, keys->count, 0),
        pj_binary_scalar(arena, PJ_INT, &longest),
    };
    struct pj_result *result;
    if (pj_postgres_run(postgres, &writer->statements->entities[index].load, parameters, &result,
                        error) != 0)
        return -1;
    int status = 0;
    bool timed = writer->projection->entities[index].timed;
    for (int row = 0; row < pj_result_rows(result) && status == 0; row++) {
        int size;
        int64_t derived_at = timed ? pj_binary_time(pj_result_int8(result, row, 3)) : 0;
        const uint8_t *key = (const uint8_t *)pj_result_value(result, row, 0, NULL);
        const char *facts = pj_result_value(result, row, 2, &size);
        *length += length_at(result, row);
        if (facts == NULL) {
            pairs_add(missing, arena, key, pj_null());
            continue;
        }
        const void *copy = pj_arena_copy(arena, facts, (size_t)size);
        status = pj_fold_load(fold, index, key, copy, (size_t)size, derived_at, error);
    }
    pj_result_free(result);
    return status;
}

/*
 * Nobody knows how long facts are before Postgres has told it. What each entity may have without
 * all of them together being too long comes at once, which is nearly always everything; the rest
 * is asked for when it is known that there is room.
 */
static int load(struct pj_writer *writer, struct pj_postgres *postgres, struct pj_fold *fold,
                size_t index, const struct pj_stage *stage, struct pj_arena *arena,
                struct pj_error *error)
{
    struct pairs keys = pairs_new(arena, stage->count);
    struct pairs missing = pairs_new(arena, stage->count);
    struct pairs none = pairs_new(arena, 0);
    size_t length = 0;
    size_t all = 0;
    size_t room = writer->state_most / LATER_STAGE;
    for (size_t i = 0; i < stage->count; i++)
        pairs_add(&keys, arena, stage->touched[i].key, pj_null());
    if (room + writer->loaded < writer->state_most)
        room = writer->state_most - writer->loaded;
    if (writer->whole || stage->count == 1)
        room = SIZE_MAX;
    if (load_some(writer, postgres, fold, index, &keys, room / stage->count, &missing, &length,
                  arena, error) != 0)
        return -1;
    writer->loaded += length;
    if (missing.count == 0)
        return 0;
    if (length > room)
        return refuse(stage, length, error);
    return load_some(writer, postgres, fold, index, &missing, SIZE_MAX, &none, &all, arena, error);
}

static int write_facts(struct pj_postgres *postgres, const struct pj_statement *statement,
                       const struct pj_value *const *rows, size_t count, bool last,
                       struct pj_arena *arena, struct pj_error *error)
{
    struct pj_parameter parameters[4] = {
        pj_binary_array(arena, PJ_UUID, rows, count, 0),
        pj_binary_array(arena, PJ_BYTEA, rows, count, 1),
    };
    for (size_t c = 2; c < (size_t)statement->parameter_count; c++)
        parameters[c] = pj_binary_array(arena, PJ_TIMESTAMPTZ, rows, count, c);
    return last ? pj_postgres_queue(postgres, statement, parameters, error)
                : pj_postgres_run(postgres, statement, parameters, NULL, error);
}

/* Few enough at once; nearly always that is one statement, which is queued. */
static int write_all_facts(struct pj_writer *writer, struct pj_postgres *postgres,
                           const struct pj_statement *statement, const struct pairs *pairs,
                           struct pj_arena *arena, struct pj_error *error)
{
    size_t from = 0;
    size_t size = 0;
    for (size_t i = 0; i < pairs->count; i++) {
        size_t length = pairs->rows[i][1].text.length;
        if (i > from && size + length > FACTS_PIECE) {
            pj_arena_reset(writer->piece);
            if (write_facts(postgres, statement, pairs->rows + from, i - from, false, writer->piece,
                            error) != 0)
                return -1;
            from = i;
            size = 0;
        }
        size += length;
    }
    pj_arena_reset(writer->piece);
    return write_facts(postgres, statement, pairs->rows + from, pairs->count - from, true, arena,
                       error);
}

static void fours_add(struct pairs *pairs, struct pj_arena *arena, const uint8_t key[16],
                      struct pj_value second, struct pj_value third, struct pj_value fourth)
{
    struct pj_value row[4] = {pj_uuid(key), second, third, fourth};
    pairs->rows[pairs->count++] = pj_arena_copy(arena, row, sizeof row);
}

static int save(struct pj_writer *writer, struct pj_postgres *postgres, const struct pj_fold *fold,
                size_t index, const struct pj_stage *stage, struct pj_arena *arena,
                struct pj_error *error)
{
    const struct pj_entity_statements *statements = &writer->statements->entities[index];
    struct pairs inserts = pairs_new(arena, stage->count);
    struct pairs updates = pairs_new(arena, stage->count);
    for (size_t i = 0; i < stage->count; i++) {
        const struct pj_touched *touched = &stage->touched[i];
        if (!touched->changed)
            continue;
        struct pj_value facts = pj_text_of(touched->stored, touched->stored_length);
        fours_add(touched->existed ? &updates : &inserts, arena, touched->key, facts, touched->due,
                  pj_timestamp(pj_fold_stream_time(fold)));
    }
    const struct pj_table *table =
        writer->projection->entities[index].timed ? &pj_timed_state_table : &pj_state_table;
    if (updates.count > 0 &&
        write_all_facts(writer, postgres, &statements->update, &updates, arena, error) != 0)
        return -1;
    if (inserts.count == 0)
        return 0;
    if (pj_writer_copy_pays(writer, &statements->copy, table, inserts.count))
        return pj_writer_copy_rows(writer, postgres, &statements->copy, table, inserts.rows,
                                   inserts.count, error);
    return write_all_facts(writer, postgres, &statements->insert, &inserts, arena, error);
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
    struct pj_value now = pj_timestamp(stream_time);
    struct pj_parameter parameter = pj_binary_scalar(arena, PJ_TIMESTAMPTZ, &now);
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
            pj_fold_wake(fold, e, (const uint8_t *)pj_result_value(result, row, 0, NULL));
        }
        pj_result_free(result);
    }
    return 0;
}

int pj_writer_run_stages(struct pj_writer *writer, struct pj_postgres *postgres,
                         struct pj_fold *fold, struct pj_arena *arena, struct pj_error *error)
{
    PJ_CHECK(pj_fold_projection(fold) == writer->projection,
             "a batch is folded by another projection than it is written by");
    for (size_t index = 0; index < writer->projection->entity_count; index++) {
        const struct pj_stage *stage = pj_fold_stage(fold, index);
        if (stage->count == 0)
            continue;
        if (load(writer, postgres, fold, index, stage, arena, error) != 0)
            return -1;
        if (pj_fold_merge(fold, index, error) != 0 ||
            save(writer, postgres, fold, index, stage, arena, error) != 0)
            return -1;
    }
    return pj_fold_finish(fold, error);
}

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

static int refuse(size_t count, size_t length, struct pj_error *error)
{
    pj_error_set(error, PJ_POISON,
                 "the facts of %zu entities take %zu MiB: too many for one "
                 "transaction",
                 count, length >> 20);
    pj_text_whole(error->sqlstate, sizeof error->sqlstate, "%s", too_large);
    return -1;
}

/* What is to be loaded: rows of the statement's parameters but the last, which bounds the length of
 * what it returns; its result begins with these columns, then come length and facts. */
struct request {
    const struct pj_statement *statement;
    const struct pj_table *table;
    struct rows rows;
    int named; /* columns of a row of the result before the length */
    bool wide;
};

static int64_t int4_at(const struct pj_result *result, int row, int column)
{
    uint32_t value;
    memcpy(&value, pj_result_value(result, row, column, NULL), sizeof value);
    return (int32_t)be32toh(value);
}

/* Notes which row was left out; one after the other may be of the same kind of facts. */
static void add_missing(const struct request *request, const struct pj_result *result, int row,
                        struct pj_arena *arena, struct rows *missing)
{
    struct pj_value values[3] = {{0}};
    int columns = request->statement->parameter_count - 1;
    values[0] = pj_uuid((const uint8_t *)pj_result_value(result, row, 0, NULL));
    if (columns > 1)
        values[1] = pj_bigint(int4_at(result, row, 1));
    if (columns > 2)
        values[2] = pj_uuid((const uint8_t *)pj_result_value(result, row, 2, NULL));
    const struct pj_value *last = missing->count > 0 ? missing->items[missing->count - 1] : NULL;
    if (last == NULL || memcmp(last[0].uuid, values[0].uuid, 16) != 0 ||
        last[1].integer != values[1].integer || memcmp(last[2].uuid, values[2].uuid, 16) != 0)
        missing->items[missing->count++] = pj_arena_copy(arena, values, sizeof values);
}

/* Loads those whose facts are at most `most` long; `missing` becomes the keys of the others, and
 * *length is that of all. */
static int load_some(const struct pass *pass, size_t index, const struct request *request,
                     size_t most, struct rows *missing, size_t *length, struct pj_error *error)
{
    struct pj_parameter parameters[4];
    int columns = request->statement->parameter_count - 1;
    struct pj_arena *piece = pj_writer_piece(pass);
    for (int c = 0; c < columns; c++)
        parameters[c] = pj_binary_array(piece, request->table->columns[c].type, request->rows.items,
                                        request->rows.count, (size_t)c);
    parameters[columns] =
        pj_binary_number(piece, PJ_INT, most < INT32_MAX ? (int64_t)most : INT32_MAX);
    struct pj_result *result;
    if (pj_postgres_run(pass->postgres, request->statement, parameters, &result, error) != 0)
        return -1;
    int status = 0;
    bool timed = pass->writer->projection->entities[index].timed && !request->wide;
    *missing = rows_new(pass->arena, (size_t)pj_result_rows(result));
    for (int row = 0; row < pj_result_rows(result) && status == 0; row++) {
        int size;
        const uint8_t *key = (const uint8_t *)pj_result_value(result, row, 0, NULL);
        const char *facts = pj_result_value(result, row, request->named + 1, &size);
        *length += (size_t)int4_at(result, row, request->named);
        if (facts == NULL) {
            add_missing(request, result, row, pass->arena, missing);
            continue;
        }
        const void *copy = pj_arena_copy(pass->arena, facts, (size_t)size);
        int64_t derived_at = timed ? pj_binary_time(pj_result_int8(result, row, 3)) : 0;
        status = request->wide
                     ? pj_fold_load_wide(pass->fold, index, key, copy, (size_t)size, error)
                     : pj_fold_load(pass->fold, index, key, copy, (size_t)size, derived_at, error);
    }
    pj_result_free(result);
    return status;
}

/*
 * Only Postgres knows how long facts are. What each entity may have without all of them together
 * being too long comes at once, which is nearly always everything; the rest is asked for once it is
 * known that there is room.
 */
static int load(const struct pass *pass, size_t index, struct request *request,
                struct pj_error *error)
{
    struct pj_writer *writer = pass->writer;
    struct rows missing;
    size_t length = 0;
    size_t all = 0;
    size_t room = writer->state_most / LATER_STAGE;
    if (request->rows.count == 0)
        return 0;
    if (room + writer->loaded < writer->state_most)
        room = writer->state_most - writer->loaded;
    if (writer->whole || request->rows.count == 1)
        room = SIZE_MAX;
    if (load_some(pass, index, request, room / request->rows.count, &missing, &length, error) != 0)
        return -1;
    writer->loaded += length;
    if (missing.count == 0)
        return 0;
    if (length > room)
        return refuse(request->rows.count, length, error);
    request->rows = missing;
    return load_some(pass, index, request, SIZE_MAX, &missing, &all, error);
}

static int load_entities(const struct pass *pass, size_t index, const struct pj_stage *stage,
                         struct pj_error *error)
{
    struct request request = {&pass->writer->statements->entities[index].load, &pj_state_table,
                              rows_new(pass->arena, stage->count), 1, false};
    for (size_t i = 0; i < stage->count; i++) {
        struct pj_value row[] = {pj_uuid(stage->touched[i].key)};
        request.rows.items[request.rows.count++] = pj_arena_copy(pass->arena, row, sizeof row);
    }
    return load(pass, index, &request, error);
}

static int load_wide(const struct pass *pass, size_t index, const struct pj_stage *stage,
                     struct pj_error *error)
{
    const struct pj_entity_statements *statements = &pass->writer->statements->entities[index];
    struct request facts = {&statements->load_wide,
                            &pj_wide_state_table,
                            {stage->wanted.items, stage->wanted.count},
                            3,
                            true};
    struct request kinds = {&statements->load_kinds,
                            &pj_wide_state_table,
                            {stage->wanted_kinds.items, stage->wanted_kinds.count},
                            3,
                            true};
    return load(pass, index, &facts, error) != 0 ? -1 : load(pass, index, &kinds, error);
}

static int write_some(const struct pass *pass, const struct pj_statement *statement,
                      const struct pj_table *table, const struct rows *rows, size_t from, size_t to,
                      struct pj_error *error)
{
    struct pj_arena *piece = pj_writer_piece(pass);
    struct pj_parameter parameters[4];
    for (size_t c = 0; c < (size_t)statement->parameter_count; c++)
        parameters[c] =
            pj_binary_array(piece, table->columns[c].type, rows->items + from, to - from, c);
    return to == rows->count ? pj_postgres_queue(pass->postgres, statement, parameters, error)
                             : pj_postgres_run(pass->postgres, statement, parameters, NULL, error);
}

/* Few enough at once; nearly always that is one statement, which is queued. */
static int write_facts(const struct pass *pass, const struct pj_statement *statement,
                       const struct pj_table *table, const struct rows *rows,
                       struct pj_error *error)
{
    size_t from = 0;
    size_t size = 0;
    size_t facts = table == &pj_wide_state_table ? 3 : 1;
    for (size_t i = 0; i < rows->count; i++) {
        size_t length = rows->items[i][facts].text.length;
        if (i > from && size + length > FACTS_PIECE) {
            if (write_some(pass, statement, table, rows, from, i, error) != 0)
                return -1;
            from = i;
            size = 0;
        }
        size += length;
    }
    return rows->count == 0 ? 0
                            : write_some(pass, statement, table, rows, from, rows->count, error);
}

static int save_entities(const struct pass *pass, size_t index, const struct pj_stage *stage,
                         struct pj_error *error)
{
    const struct pj_entity_statements *statements = &pass->writer->statements->entities[index];
    struct rows inserts = rows_new(pass->arena, stage->count);
    struct rows updates = rows_new(pass->arena, stage->count);
    const struct pj_table *table =
        pass->writer->projection->entities[index].timed ? &pj_timed_state_table : &pj_state_table;
    for (size_t i = 0; i < stage->count; i++) {
        const struct pj_touched *touched = &stage->touched[i];
        struct rows *rows = touched->existed ? &updates : &inserts;
        if (!touched->changed || touched->stored == NULL)
            continue;
        struct pj_value row[] = {pj_uuid(touched->key),
                                 pj_text_of(touched->stored, touched->stored_length), touched->due,
                                 pj_timestamp(pj_fold_stream_time(pass->fold))};
        rows->items[rows->count++] =
            pj_arena_copy(pass->arena, row, table->column_count * sizeof *row);
    }
    if (write_facts(pass, &statements->update, table, &updates, error) != 0)
        return -1;
    if (pj_writer_copy_pays(pass, &statements->copy, table, &inserts))
        return pj_writer_copy_rows(pass, &statements->copy, table, &inserts, error);
    return write_facts(pass, &statements->insert, table, &inserts, error);
}

static int save(const struct pass *pass, size_t index, const struct pj_stage *stage,
                struct pj_error *error)
{
    const struct pj_entity_statements *statements = &pass->writer->statements->entities[index];
    const struct rows kept = {stage->kept.items, stage->kept.count};
    const struct rows gone = {stage->gone.items, stage->gone.count};
    if (save_entities(pass, index, stage, error) != 0 ||
        write_facts(pass, &statements->put_wide, &pj_wide_state_table, &kept, error) != 0)
        return -1;
    return gone.count == 0 ? 0
                           : write_some(pass, &statements->remove_wide, &pj_wide_state_table, &gone,
                                        0, gone.count, error);
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
            length += (size_t)int4_at(result, row, 1);
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
            if (load_entities(pass, index, fresh, error) != 0 ||
                load_wide(pass, index, stage, error) != 0)
                return -1;
            pass->written->load_us += pj_clock_monotonic_us() - started;
            if (pj_fold_merge(pass->fold, index, error) != 0 ||
                pj_fold_again(pass->fold, index, &fresh, error) != 0)
                return -1;
        }
        int64_t started = pj_clock_monotonic_us();
        if (save(pass, index, stage, error) != 0)
            return -1;
        pj_fold_stage_saved(pass->fold, index);
        pass->written->write_us += pj_clock_monotonic_us() - started;
    }
    return pj_fold_finish(pass->fold, error);
}

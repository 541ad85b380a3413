/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "fold/declaration.h"
#include "postgres/sql_text.h"
#include "store/write_internal.h"

#include <stdlib.h>
#include <string.h>

struct pj_writer *pj_writer_new(const struct pj_projection *projection, const char *schema,
                                size_t state_most)
{
    struct pj_writer *writer = pj_alloc(sizeof *writer);
    writer->projection = projection;
    writer->state_most = state_most;
    writer->piece = pj_arena_new();
    writer->learned = pj_arena_new();
    writer->constraints = pj_constraints_none(projection, writer->learned);
    writer->statements = pj_statements_new(projection, schema);
    writer->trims =
        pj_arena_alloc(writer->statements->arena, projection->table_count * sizeof *writer->trims);
    /* A shadow has no foreign keys, so nothing is a parent there. */
    if (schema == NULL)
        writer->parents = pj_parents_new(projection, writer->statements->arena);
    return writer;
}

void pj_writer_free(struct pj_writer *writer)
{
    if (writer == NULL)
        return;
    pj_builder_free(&writer->buffer);
    pj_arena_free(writer->piece);
    pj_arena_free(writer->learned);
    pj_statements_free(writer->statements);
    free(writer);
}

/* --- rows ------------------------------------------------------------------------------------ */

/* Queues a statement, if there is one, over some columns of the rows, if there are any: those of
 * the mask and the key. */
static int queue_rows(const struct pass *pass, const struct pj_statement *statement,
                      const struct pj_table *table, uint64_t columns, const struct rows *rows,
                      struct pj_error *error)
{
    struct pj_parameter parameters[PJ_COLUMNS_MOST];
    size_t parameter = 0;
    if (rows->count == 0 || statement->sql == NULL)
        return 0;
    columns |= pj_sql_key(table);
    struct pj_arena *piece = pj_writer_piece(pass);
    for (size_t c = 0; c < table->column_count; c++) {
        if ((columns >> c & 1) != 0)
            parameters[parameter++] =
                pj_binary_array(piece, table->columns[c].type, rows->items, rows->count, c);
    }
    return pj_postgres_queue(pass->postgres, statement, parameters, error);
}

/* By COPY where that pays. */
static int insert_rows(const struct pass *pass, const struct pj_table_statements *statements,
                       const struct pj_table *table, const struct rows *rows,
                       struct pj_error *error)
{
    if (pj_writer_copy_pays(pass, &statements->copy, table, rows))
        return pj_writer_copy_rows(pass, &statements->copy, table, rows, error);
    if (queue_rows(pass, &statements->insert, table, UINT64_MAX, rows, error) != 0)
        return -1;
    return queue_rows(pass, &statements->present, table, 0, rows, error);
}

enum { INSERTS = 1 << PJ_ROW_INSERT, UPDATES = 1 << PJ_ROW_UPDATE, DELETES = 1 << PJ_ROW_DELETE };

/* The rows that change by some of the operations. */
static struct rows rows_by(const struct pass *pass, const struct pj_row_changes *changes,
                           unsigned operations)
{
    struct rows rows = rows_new(pass->arena, changes->count);
    for (size_t i = 0; i < changes->count; i++) {
        if ((operations >> changes->items[i].operation & 1) != 0)
            rows.items[rows.count++] = changes->items[i].values;
    }
    return rows;
}

static bool is_entity_table(const struct pj_table *table)
{
    return table->kind == PJ_ENTITY_TABLE && table->part_of == NULL;
}

static void sort_changes(struct pass *pass, size_t index)
{
    struct table_write *write = &pass->tables[index];
    write->changes = pj_fold_rows(pass->fold, index);
    if (!is_entity_table(pass->writer->projection->tables[index]))
        return;
    write->inserts = rows_by(pass, write->changes, INSERTS);
    write->updates = rows_by(pass, write->changes, UPDATES);
    write->removes = rows_by(pass, write->changes, DELETES);
    for (size_t i = 0; i < write->changes->count; i++) {
        if (write->changes->items[i].operation == PJ_ROW_UPDATE)
            write->changed |= write->changes->items[i].changed;
    }
}

/*
 * Two rows that swap their values would meet in a unique index: once that was seen, rows that
 * change or go leave the index before any is written.
 */
static int release_uniques(const struct pass *pass, size_t index, struct pj_error *error)
{
    struct table_write *write = &pass->tables[index];
    uint64_t unique = pass->writer->constraints.unique[index];
    uint64_t release = pass->writer->constraints.release[index];
    struct rows rows = rows_new(pass->arena, write->changes->count);
    for (size_t i = 0; i < write->changes->count; i++) {
        const struct pj_row_change *change = &write->changes->items[i];
        if (change->operation == PJ_ROW_DELETE ||
            (change->operation == PJ_ROW_UPDATE && (change->changed & unique) != 0))
            rows.items[rows.count++] = change->values;
    }
    if (release == 0 || rows.count == 0)
        return 0;
    write->changed |= release;
    return queue_rows(pass, pj_statements_release(pass->writer->statements, index, release),
                      pass->writer->projection->tables[index], 0, &rows, error);
}

static void count(const struct pass *pass, size_t table, enum pj_row_kind kind, size_t rows)
{
    pass->written->rows += (int64_t)rows;
    pass->written->tables[table][kind] += (int64_t)rows;
}

/* Inserts before updates, which may refer to a new row. */
static int write_entity_table(const struct pass *pass, size_t index, struct pj_error *error)
{
    const struct pj_table *table = pass->writer->projection->tables[index];
    const struct table_write *write = &pass->tables[index];
    count(pass, index, PJ_ROWS_INSERTED, write->inserts.count);
    count(pass, index, PJ_ROWS_UPDATED, write->updates.count);
    count(pass, index, PJ_ROWS_DELETED, write->removes.count);
    const struct rows telling = pj_parents_telling(pass, table, write->changes);
    const struct rows *mentions = pj_parents_mentions(pass, table, &telling);
    if (pj_parents_ensure(pass, table, mentions, error) != 0 ||
        insert_rows(pass, &pass->writer->statements->tables[index], table, &write->inserts,
                    error) != 0)
        return -1;
    if (write->updates.count > 0 &&
        queue_rows(pass, pj_statements_update(pass->writer->statements, index, write->changed),
                   table, write->changed, &write->updates, error) != 0)
        return -1;
    return pj_parents_settle(pass, table, mentions, write->updates.count > 0, error);
}

static int remove_entity_rows(const struct pass *pass, size_t index, struct pj_error *error)
{
    const struct pj_table *table = pass->writer->projection->tables[index];
    const struct pj_table_statements *statements = &pass->writer->statements->tables[index];
    const struct table_write *write = &pass->tables[index];
    if (queue_rows(pass, &statements->lock, table, 0, &write->removes, error) != 0 ||
        queue_rows(pass, &statements->restore, table, 0, &write->removes, error) != 0 ||
        queue_rows(pass, &statements->remove, table, 0, &write->removes, error) != 0 ||
        queue_rows(pass, &statements->absent, table, 0, &write->removes, error) != 0)
        return -1;
    return pj_parents_release(pass, table, write->changes, error);
}

/* A part, first half: old values go, before any row can claim them under a unique index. */
static int release_part(const struct pass *pass, size_t index, struct pj_error *error)
{
    const struct pj_row_changes *changes = pass->tables[index].changes;
    const struct rows rows = rows_by(pass, changes, UPDATES | DELETES);
    count(pass, index, PJ_ROWS_UPDATED, changes->count);
    return queue_rows(pass, &pass->writer->statements->tables[index].release,
                      pass->writer->projection->tables[index], 0, &rows, error);
}

/* Second half: the new values. */
static int set_part(const struct pass *pass, size_t index, struct pj_error *error)
{
    const struct pj_table *part = pass->writer->projection->tables[index];
    const struct rows rows = rows_by(pass, pass->tables[index].changes, INSERTS | UPDATES);
    if (rows.count == 0)
        return 0;
    return queue_rows(pass, pj_statements_update(pass->writer->statements, index, pj_sql_all(part)),
                      part, pj_sql_all(part), &rows, error);
}

/* Asked once; from then on a batch says what it expects, and is done again where that changed. */
static int read_trim(const struct pass *pass, size_t index, struct pj_error *error)
{
    const struct pj_table_statements *statements = &pass->writer->statements->tables[index];
    struct pj_trim *trim = &pass->writer->trims[index];
    struct pj_result *result;
    if (pj_postgres_queue(pass->postgres, &statements->trim_lock, NULL, error) != 0)
        return -1;
    if (trim->known) {
        const struct pj_parameter before =
            pj_binary_scalar(pass->arena, PJ_TIMESTAMPTZ, &trim->before);
        return pj_postgres_queue(pass->postgres, &statements->expect_trim, &before, error);
    }
    if (pj_postgres_run(pass->postgres, &statements->trimmed, NULL, &result, error) != 0)
        return -1;
    trim->known = true;
    trim->before = pj_result_value(result, 0, 0, NULL) != NULL
                       ? pj_timestamp(pj_binary_time(pj_result_int8(result, 0, 0)))
                       : pj_null();
    pj_result_free(result);
    return 0;
}

/* Leaves out the rows of before the time that an order says. */
static int leave_out_trimmed(const struct pass *pass, size_t index, struct rows *rows,
                             struct pj_error *error)
{
    size_t column = pass->writer->projection->tables[index]->trimmed_by;
    const struct pj_value *before = &pass->writer->trims[index].before;
    if (column == 0 || rows->count == 0)
        return 0;
    if (read_trim(pass, index, error) != 0)
        return -1;
    if (!before->present)
        return 0;
    const struct rows all = *rows;
    *rows = rows_new(pass->arena, all.count);
    for (size_t i = 0; i < all.count; i++) {
        if (!all.items[i][column].present || all.items[i][column].integer >= before->integer)
            rows->items[rows->count++] = all.items[i];
    }
    return 0;
}

static int write_append_table(const struct pass *pass, size_t index, struct pj_error *error)
{
    const struct pj_table *table = pass->writer->projection->tables[index];
    const struct pj_appended *appended = pj_fold_appended(pass->fold, index);
    struct rows rows = {(const struct pj_value **)appended->rows, appended->count};
    if (leave_out_trimmed(pass, index, &rows, error) != 0)
        return -1;
    count(pass, index, PJ_ROWS_INSERTED, rows.count);
    if (pj_writer_leave_out_present(pass, index, &rows, error) != 0)
        return -1;
    const struct rows *mentions = pj_parents_mentions(pass, table, &rows);
    if (pj_parents_ensure(pass, table, mentions, error) != 0 ||
        insert_rows(pass, &pass->writer->statements->tables[index], table, &rows, error) != 0)
        return -1;
    return pj_parents_settle(pass, table, mentions, false, error);
}

/* --- rollups --------------------------------------------------------------------------------- */

/* An array literal: what a text parameter is cast from. */
static struct pj_value counts_text(const struct pj_value *counts, struct pj_arena *arena)
{
    size_t count = counts->present ? counts->text.length / sizeof(int64_t) : 0;
    char *text = pj_arena_alloc(arena, count * 21 + 3);
    size_t length = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t value;
        memcpy(&value, counts->text.data + i * sizeof value, sizeof value);
        length += pj_text_whole(text + length, 22, "%c%lld", i == 0 ? '{' : ',', (long long)value);
    }
    pj_text_whole(text + length, 3, "%s", count == 0 ? "{}" : "}");
    return counts->present ? pj_text(text) : pj_null();
}

static size_t key_count(const struct pj_table *table)
{
    size_t count = 0;
    while (count < table->column_count && table->columns[count].key)
        count++;
    return count;
}

/* The key of a bucket, and whether an extreme went. */
static const struct pj_value *with_flag(const struct pj_table *table,
                                        const struct pj_addition *addition, struct pj_arena *arena)
{
    size_t keys = key_count(table);
    struct pj_value *row = pj_arena_alloc(arena, (keys + 1) * sizeof *row);
    memcpy(row, addition->values, keys * sizeof *row);
    row[keys] = pj_bool(addition->extreme);
    return row;
}

/* Differences are added. */
static int write_rollup(const struct pass *pass, size_t index, struct pj_error *error)
{
    const struct pj_table *table = pass->writer->projection->tables[index];
    const struct pj_additions *additions = pj_fold_additions(pass->fold, index);
    struct rows rows = rows_new(pass->arena, additions->count);
    struct rows *refresh = &pass->tables[index].refresh;
    *refresh = rows_new(pass->arena, additions->count);
    for (size_t i = 0; i < additions->count; i++) {
        struct pj_value *values = additions->items[i].values;
        for (size_t c = 0; c < table->column_count; c++) {
            if (table->columns[c].type == PJ_COUNTS)
                values[c] = counts_text(&values[c], pass->arena);
        }
        rows.items[rows.count++] = values;
        if (additions->items[i].left || additions->items[i].extreme)
            refresh->items[refresh->count++] = with_flag(table, &additions->items[i], pass->arena);
    }
    count(pass, index, PJ_ROWS_UPDATED, rows.count);
    return queue_rows(pass, &pass->writer->statements->tables[index].insert, table, UINT64_MAX,
                      &rows, error);
}

/* After all rows are written and removed: the function may look for what is left of them. */
static int refresh_rollup(const struct pass *pass, size_t index, struct pj_error *error)
{
    const struct pj_table *table = pass->writer->projection->tables[index];
    const struct rows *buckets = &pass->tables[index].refresh;
    size_t keys = key_count(table);
    struct pj_parameter parameters[PJ_COLUMNS_MOST + 1];
    if (buckets->count == 0 || table->refresh == NULL)
        return 0;
    struct pj_arena *piece = pj_writer_piece(pass);
    for (size_t c = 0; c <= keys; c++)
        parameters[c] = pj_binary_array(piece, c < keys ? table->columns[c].type : PJ_BOOL,
                                        buckets->items, buckets->count, c);
    return pj_postgres_queue(pass->postgres, &pass->writer->statements->tables[index].refresh,
                             parameters, error);
}

/* --- all tables ------------------------------------------------------------------------------ */

static int write_table(const struct pass *pass, size_t index, struct pj_error *error)
{
    const struct pj_table *table = pass->writer->projection->tables[index];
    if (table->part_of != NULL)
        return 0;
    switch (table->kind) {
    case PJ_APPEND_TABLE:
        return write_append_table(pass, index, error);
    case PJ_ROLLUP_TABLE:
        return write_rollup(pass, index, error);
    case PJ_ENTITY_TABLE:
        return write_entity_table(pass, index, error);
    }
    return 0;
}

/* Values that others take in the same batch are given up first. */
static int release_values(const struct pass *pass, size_t index, struct pj_error *error)
{
    const struct pj_table *table = pass->writer->projection->tables[index];
    if (table->part_of != NULL)
        return release_part(pass, index, error);
    return pass->writer->skipping && is_entity_table(table) ? release_uniques(pass, index, error)
                                                            : 0;
}

/* Before any row is sent: Postgres would say nothing. */
static int check_limits(const struct pj_writer *writer, const struct pj_fold *fold,
                        struct pj_error *error)
{
    for (size_t t = 0; writer->limits != NULL && t < writer->projection->table_count; t++) {
        const struct pj_table *table = writer->projection->tables[t];
        const struct pj_limit *limits = writer->limits[t];
        const struct pj_row_changes *changes = pj_fold_rows(fold, t);
        const struct pj_appended *appended = pj_fold_appended(fold, t);
        const struct pj_additions *additions = pj_fold_additions(fold, t);
        int status = 0;
        if (limits == NULL)
            continue;
        for (size_t i = 0; i < changes->count && status == 0; i++) {
            if (changes->items[i].operation != PJ_ROW_DELETE)
                status = pj_limits_check(limits, table, changes->items[i].values, error);
        }
        for (size_t i = 0; i < appended->count && status == 0; i++)
            status = pj_limits_check(limits, table, appended->rows[i], error);
        for (size_t i = 0; i < additions->count && status == 0; i++)
            status = pj_limits_check(limits, table, additions->items[i].values, error);
        if (status != 0)
            return -1;
    }
    return 0;
}

/*
 * What is referred to comes before what refers to it, and goes after it: a row that moved to
 * another parent has moved when its old one goes, and with that what still refers to it.
 */
static int write_tables(struct pass *pass, struct pj_error *error)
{
    const struct pj_writer *writer = pass->writer;
    const size_t *order = writer->constraints.order;
    size_t table_count = writer->projection->table_count;
    pass->tables = pj_arena_alloc(pass->arena, table_count * sizeof *pass->tables);
    for (size_t t = 0; t < table_count; t++)
        sort_changes(pass, t);
    if (writer->constraints.deferrable &&
        pj_postgres_queue(pass->postgres, &pj_constraints_defer, NULL, error) != 0)
        return -1;
    for (size_t t = 0; t < table_count; t++) {
        if (release_values(pass, t, error) != 0)
            return -1;
    }
    for (size_t i = 0; i < table_count; i++) {
        if (write_table(pass, order[i], error) != 0)
            return -1;
    }
    for (size_t t = 0; t < table_count; t++) {
        if (writer->projection->tables[t]->part_of != NULL && set_part(pass, t, error) != 0)
            return -1;
    }
    for (size_t i = table_count; i-- > 0;) {
        if (is_entity_table(writer->projection->tables[order[i]]) &&
            remove_entity_rows(pass, order[i], error) != 0)
            return -1;
    }
    for (size_t t = 0; t < table_count; t++) {
        if (refresh_rollup(pass, t, error) != 0)
            return -1;
    }
    return writer->constraints.deferrable
               ? pj_postgres_queue(pass->postgres, &pj_constraints_check, NULL, error)
               : 0;
}

static bool is_state(const void *projection, const char *table)
{
    return pj_declaration_is_state_name(projection, table);
}

void pj_writer_expect_races(struct pj_postgres *postgres, const struct pj_projection *projection)
{
    pj_postgres_on_contested(postgres, is_state, projection);
}

/* It is on where policies are (access.h). */
static int ask_row_security(struct pj_writer *writer, struct pj_postgres *postgres,
                            struct pj_error *error)
{
    struct pj_result *result;
    if (pj_postgres_query(postgres, "SHOW row_security", 0, NULL, &result, error) != 0)
        return -1;
    writer->secured = strcmp(pj_result_value(result, 0, 0, NULL), "on") == 0;
    pj_result_free(result);
    return 0;
}

int pj_writer_learn(struct pj_writer *writer, struct pj_postgres *postgres, struct pj_error *error)
{
    pj_writer_expect_races(postgres, writer->projection);
    pj_arena_reset(writer->learned);
    writer->constraints = pj_constraints_none(writer->projection, writer->learned);
    writer->limits = NULL;
    if (writer->parents != NULL)
        pj_parents_forget(
            writer->parents); /* some may be among the commits that a crash took back */
    if (pj_limits_read(&writer->limits, postgres, writer->projection, writer->learned, error) != 0)
        return -1;
    if (writer->statements->schema != NULL) /* a shadow has no constraints between rows */
        return 0;
    return ask_row_security(writer, postgres, error) != 0
               ? -1
               : pj_constraints_read(&writer->constraints, postgres, writer->projection,
                                     writer->learned, error);
}

int pj_writer_write(struct pj_writer *writer, struct pj_postgres *postgres, struct pj_fold *fold,
                    struct pj_arena *arena, struct pj_written *written, struct pj_error *error)
{
    struct pass pass = {writer, postgres, fold, arena, written, NULL};
    *written = (struct pj_written){
        .tables = pj_arena_alloc(arena, writer->projection->table_count * sizeof *written->tables)};
    writer->loaded = 0;
    int64_t started = pj_clock_monotonic_us();
    if (pj_writer_run_stages(&pass, error) != 0 || check_limits(writer, fold, error) != 0)
        return -1;
    int64_t folded = pj_clock_monotonic_us();
    written->fold_us = folded - started - written->load_us - written->write_us;
    written->counted = pj_fold_counted(fold);
    int status = write_tables(&pass, error);
    (void)pj_writer_piece(&pass);
    written->write_us += pj_clock_monotonic_us() - folded;
    return status;
}

void pj_writer_begin(struct pj_writer *writer, const struct pj_tries *tries)
{
    writer->skipping = tries->duplicates;
    if (tries->duplicates)
        writer->doubtful = DOUBTFUL_WRITES;
    writer->whole = tries->whole;
    for (size_t t = 0; t < writer->projection->table_count && tries->conflicts > 0; t++)
        writer->trims[t].known = false;
    if (tries->parents > 0 && writer->parents != NULL)
        pj_parents_forget(writer->parents);
}

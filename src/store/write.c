/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/text.h"
#include "fold/declaration.h"
#include "store/write_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Below this a COPY costs a round trip more than it saves. */
enum { COPY_LEAST = 256, COPY_PIECE = 64 * 1024 };

/* Keys of parents that are known to be there: a cache that forgets by overwriting. */
enum { KNOWN_SLOTS = 1 << 15 };

struct ensure {
    const char *function;
    struct pj_statement statement;
    struct pj_statement release; /* name NULL: none */
    struct ensure *next;
};

static const uint32_t ensure_types[] = {PJ_OID_UUID_ARRAY, PJ_OID_TIMESTAMPTZ_ARRAY};

/* Several tables may have one kind of parent. */
static struct ensure *find_ensure(const struct pj_writer *writer, const struct pj_parent *parent)
{
    struct ensure *ensure = writer->ensures;
    while (ensure != NULL && strcmp(ensure->function, parent->ensure) != 0)
        ensure = ensure->next;
    return ensure;
}

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
    struct pj_arena *arena = writer->statements->arena;
    writer->known_parents = pj_arena_alloc(arena, KNOWN_SLOTS * sizeof *writer->known_parents);
    /* A shadow has no foreign keys, so nothing is a parent there. */
    for (size_t t = 0; schema == NULL && t < projection->table_count; t++) {
        const struct pj_parent *parent = projection->tables[t]->parents;
        for (; parent != NULL && parent->ensure != NULL; parent++) {
            struct ensure *ensure = find_ensure(writer, parent);
            if (ensure == NULL) {
                ensure = pj_arena_alloc(arena, sizeof *ensure);
                ensure->next = writer->ensures;
                writer->ensures = ensure;
            }
            ensure->function = parent->ensure;
            ensure->statement = (struct pj_statement){
                .name = pj_arena_printf(arena, "pj_%s", parent->ensure),
                .sql = pj_arena_printf(arena, "SELECT settled, created FROM %s($1, $2)",
                                       parent->ensure),
                .parameter_count = 2,
                .types = ensure_types,
            };
            if (parent->release != NULL)
                ensure->release = (struct pj_statement){
                    .name = pj_arena_printf(arena, "pj_%s", parent->release),
                    .sql = pj_arena_printf(arena, "SELECT %s($1)", parent->release),
                    .parameter_count = 1,
                    .types = ensure_types,
                };
        }
    }
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

/* --- copying -------------------------------------------------------------------------------- */

bool pj_writer_copy_pays(const struct pj_writer *writer, const struct pj_copy *copy,
                         const struct pj_table *table, size_t count)
{
    return copy->sql != NULL && count >= COPY_LEAST && !writer->passing_over &&
           pj_copy_possible(table);
}

/* With the reason, as far as Postgres knows it. */
static int refuse_copy(struct pj_postgres *postgres, const struct pj_copy *copy, int64_t queued,
                       int64_t written, struct pj_arena *arena, struct pj_error *error)
{
    struct pj_value numbers[] = {pj_bigint(queued), pj_bigint(written)};
    struct pj_parameter parameters[] = {pj_binary_scalar(arena, PJ_BIGINT, &numbers[0]),
                                        pj_binary_scalar(arena, PJ_BIGINT, &numbers[1])};
    if (pj_postgres_run(postgres, &copy->copied, parameters, NULL, error) != 0)
        return -1;
    return pj_error_fatal(error, PJ_EXIT_DATABASE, "a COPY wrote %lld of %lld rows",
                          (long long)written, (long long)queued);
}

int pj_writer_copy_rows(struct pj_writer *writer, struct pj_postgres *postgres,
                        const struct pj_copy *copy, const struct pj_table *table,
                        const struct pj_value *const *rows, size_t count, struct pj_error *error)
{
    int64_t copied;
    struct pj_builder *buffer = &writer->buffer;
    if (pj_postgres_copy_begin(postgres, copy->sql, error) != 0)
        return -1;
    pj_copy_start(buffer);
    for (size_t i = 0; i < count; i++) {
        pj_copy_row(buffer, table, rows[i]);
        if (buffer->length < COPY_PIECE)
            continue;
        if (pj_postgres_copy_data(postgres, buffer->text, buffer->length, error) != 0)
            return -1;
        buffer->length = 0;
    }
    pj_copy_finish(buffer);
    if (pj_postgres_copy_data(postgres, buffer->text, buffer->length, error) != 0 ||
        pj_postgres_copy_end(postgres, NULL, &copied, error) != 0)
        return -1;
    if (copied == (int64_t)count)
        return 0;
    pj_arena_reset(writer->piece);
    return refuse_copy(postgres, copy, (int64_t)count, copied, writer->piece, error);
}

/* --- parents --------------------------------------------------------------------------------- */

static size_t known_slot(const uint8_t key[16])
{
    uint64_t bits;
    memcpy(&bits, key + 8, sizeof bits);
    bits ^= bits >> 29;
    return (size_t)(bits * UINT64_C(0x9e3779b97f4a7c15) >> 49) % KNOWN_SLOTS;
}

/* An empty slot holds zeros, so nothing is known of the key that is all zeros. */
static bool is_known(const struct pj_writer *writer, const uint8_t key[16])
{
    static const uint8_t nil[16];
    return memcmp(writer->known_parents[known_slot(key)], key, 16) == 0 &&
           memcmp(key, nil, 16) != 0;
}

/* A one-dimensional uuid[] in binary: a header of twenty bytes, then lengths and values. */
static void remember(struct pj_writer *writer, const char *array, int length)
{
    for (int at = 20; at + 20 <= length; at += 20) {
        const uint8_t *key = (const uint8_t *)array + at + 4;
        memcpy(writer->known_parents[known_slot(key)], key, 16);
    }
}

static int ensure_parents(struct pj_writer *writer, struct pj_postgres *postgres,
                          const struct pj_parent *parent, const struct pj_value *const *rows,
                          size_t count, struct pj_arena *arena, struct pj_written *written,
                          struct pj_error *error)
{
    struct pairs wanted = pairs_new(arena, count);
    for (size_t i = 0; i < count; i++) {
        const struct pj_value *key = &rows[i][parent->column];
        if (key->present && !is_known(writer, key->uuid))
            pairs_add(&wanted, arena, key->uuid, rows[i][parent->seen_at]);
    }
    if (wanted.count == 0)
        return 0;
    const struct ensure *ensure = find_ensure(writer, parent);
    struct pj_parameter parameters[2] = {
        pj_binary_array(arena, PJ_UUID, wanted.rows, wanted.count, 0),
        pj_binary_array(arena, PJ_TIMESTAMPTZ, wanted.rows, wanted.count, 1),
    };
    struct pj_result *result;
    if (pj_postgres_run(postgres, &ensure->statement, parameters, &result, error) != 0)
        return -1;
    if (pj_result_rows(result) == 1) {
        int length = 0;
        const char *settled = pj_result_value(result, 0, 0, &length);
        if (settled != NULL)
            remember(writer, settled, length);
        written->placeholders += pj_result_int8(result, 0, 1);
    }
    pj_result_free(result);
    return 0;
}

static int ensure_all(struct pj_writer *writer, struct pj_postgres *postgres,
                      const struct pj_table *table, const struct pj_value *const *rows,
                      size_t count, struct pj_arena *arena, struct pj_written *written,
                      struct pj_error *error)
{
    const struct pj_parent *parent = writer->ensures != NULL ? table->parents : NULL;
    for (; count > 0 && parent != NULL && parent->ensure != NULL; parent++) {
        if (ensure_parents(writer, postgres, parent, rows, count, arena, written, error) != 0)
            return -1;
    }
    return 0;
}

/* Behind the writes of a table's rows: the parents that they refer to no longer. */
static int release_parents(struct pj_writer *writer, struct pj_postgres *postgres,
                           const struct pj_parent *parent, const struct pj_row_changes *changes,
                           struct pj_arena *arena, struct pj_error *error)
{
    struct pairs left = pairs_new(arena, changes->count);
    for (size_t i = 0; i < changes->count; i++) {
        const struct pj_row_change *change = &changes->items[i];
        bool gone =
            change->operation == PJ_ROW_DELETE ||
            (change->operation == PJ_ROW_UPDATE && (change->changed >> parent->column & 1) != 0);
        if (gone && change->before[parent->column].present)
            pairs_add(&left, arena, change->before[parent->column].uuid, pj_null());
    }
    if (left.count == 0)
        return 0;
    struct pj_parameter parameter = pj_binary_array(arena, PJ_UUID, left.rows, left.count, 0);
    return pj_postgres_queue(postgres, &find_ensure(writer, parent)->release, &parameter, error);
}

/* --- rows ------------------------------------------------------------------------------------ */

/* Queues a statement over some columns of the rows: those of the mask and the key. */
static int queue_rows(struct pj_postgres *postgres, const struct pj_statement *statement,
                      const struct pj_table *table, uint64_t columns,
                      const struct pj_value *const *rows, size_t count, struct pj_arena *arena,
                      struct pj_error *error)
{
    struct pj_parameter parameters[PJ_COLUMNS_MOST];
    size_t parameter = 0;
    for (size_t c = 0; c < table->column_count; c++) {
        if (table->columns[c].key || (columns >> c & 1) != 0)
            parameters[parameter++] =
                pj_binary_array(arena, table->columns[c].type, rows, count, c);
    }
    return pj_postgres_queue(postgres, statement, parameters, error);
}

static int insert_rows(struct pj_postgres *postgres, const struct pj_table_statements *statements,
                       const struct pj_table *table, const struct pj_value *const *rows,
                       size_t count, struct pj_arena *arena, struct pj_error *error)
{
    if (queue_rows(postgres, &statements->insert, table, UINT64_MAX, rows, count, arena, error) !=
        0)
        return -1;
    return statements->present.sql != NULL
               ? queue_rows(postgres, &statements->present, table, 0, rows, count, arena, error)
               : 0;
}

static int remove_rows(struct pj_postgres *postgres, const struct pj_table_statements *statements,
                       const struct pj_table *table, const struct pj_value *const *rows,
                       size_t count, struct pj_arena *arena, struct pj_error *error)
{
    if (queue_rows(postgres, &statements->remove, table, 0, rows, count, arena, error) != 0)
        return -1;
    return statements->absent.sql != NULL
               ? queue_rows(postgres, &statements->absent, table, 0, rows, count, arena, error)
               : 0;
}

struct sorted_rows {
    const struct pj_value **inserts, **updates, **removes;
    size_t insert_count, update_count, remove_count;
    uint64_t changed;
};

static struct sorted_rows sort_out(const struct pj_row_changes *changes, struct pj_arena *arena)
{
    struct sorted_rows sorted = {0};
    sorted.inserts = pj_arena_alloc(arena, changes->count * sizeof(void *));
    sorted.updates = pj_arena_alloc(arena, changes->count * sizeof(void *));
    sorted.removes = pj_arena_alloc(arena, changes->count * sizeof(void *));
    for (size_t i = 0; i < changes->count; i++) {
        const struct pj_row_change *change = &changes->items[i];
        switch (change->operation) {
        case PJ_ROW_INSERT:
            sorted.inserts[sorted.insert_count++] = change->values;
            break;
        case PJ_ROW_UPDATE:
            sorted.updates[sorted.update_count++] = change->values;
            sorted.changed |= change->changed;
            break;
        case PJ_ROW_DELETE:
            sorted.removes[sorted.remove_count++] = change->values;
            break;
        }
    }
    return sorted;
}

/* What changes of an entity table, while the tables are written. */
struct table_write {
    const struct pj_row_changes *changes;
    struct sorted_rows sorted;
    struct pairs refresh; /* of a rollup: buckets that something left */
};

/*
 * Two rows whose values are swapped under a unique index would meet in the middle: where that was
 * seen, those that change or go leave the index before any row is written.
 */
static int release_uniques(struct pj_writer *writer, struct pj_postgres *postgres,
                           struct table_write *write, size_t index, struct pj_arena *arena,
                           struct pj_error *error)
{
    uint64_t unique = writer->constraints.unique[index];
    uint64_t release = writer->constraints.release[index];
    const struct pj_value **rows = pj_arena_alloc(arena, write->changes->count * sizeof(void *));
    size_t count = 0;
    for (size_t i = 0; i < write->changes->count; i++) {
        const struct pj_row_change *change = &write->changes->items[i];
        if (change->operation == PJ_ROW_DELETE ||
            (change->operation == PJ_ROW_UPDATE && (change->changed & unique) != 0))
            rows[count++] = change->values;
    }
    if (release == 0 || count == 0)
        return 0;
    write->sorted.changed |= release;
    return queue_rows(postgres, pj_statements_release(writer->statements, index, release),
                      writer->projection->tables[index], 0, rows, count, arena, error);
}

/* What comes and what changes: an update may refer to a row that is new. */
static int write_entity_table(struct pj_writer *writer, struct pj_postgres *postgres,
                              const struct table_write *write, size_t index, struct pj_arena *arena,
                              struct pj_written *written, struct pj_error *error)
{
    const struct pj_table *table = writer->projection->tables[index];
    const struct pj_table_statements *statements = &writer->statements->tables[index];
    const struct sorted_rows *sorted = &write->sorted;
    written->rows += (int64_t)write->changes->count;
    if (ensure_all(writer, postgres, table, sorted->inserts, sorted->insert_count, arena, written,
                   error) != 0 ||
        ensure_all(writer, postgres, table, sorted->updates, sorted->update_count, arena, written,
                   error) != 0)
        return -1;
    if (pj_writer_copy_pays(writer, &statements->copy, table, sorted->insert_count)) {
        if (pj_writer_copy_rows(writer, postgres, &statements->copy, table, sorted->inserts,
                                sorted->insert_count, error) != 0)
            return -1;
    } else if (sorted->insert_count > 0 && insert_rows(postgres, statements, table, sorted->inserts,
                                                       sorted->insert_count, arena, error) != 0)
        return -1;
    if (sorted->update_count == 0)
        return 0;
    return queue_rows(postgres, pj_statements_update(writer->statements, index, sorted->changed),
                      table, sorted->changed, sorted->updates, sorted->update_count, arena, error);
}

/* What goes, where nothing refers to it any more, then the parents that rows refer to no longer. */
static int remove_entity_rows(struct pj_writer *writer, struct pj_postgres *postgres,
                              const struct table_write *write, size_t index, struct pj_arena *arena,
                              struct pj_error *error)
{
    const struct pj_table *table = writer->projection->tables[index];
    const struct sorted_rows *sorted = &write->sorted;
    if (sorted->remove_count > 0 &&
        remove_rows(postgres, &writer->statements->tables[index], table, sorted->removes,
                    sorted->remove_count, arena, error) != 0)
        return -1;
    const struct pj_parent *parent = writer->ensures != NULL ? table->parents : NULL;
    for (; parent != NULL && parent->ensure != NULL; parent++) {
        if (parent->release != NULL &&
            release_parents(writer, postgres, parent, write->changes, arena, error) != 0)
            return -1;
    }
    return 0;
}

/* A part, first half: old values go, before any row can claim them under a unique index. */
static int release_part(struct pj_writer *writer, struct pj_postgres *postgres,
                        const struct pj_fold *fold, size_t index, struct pj_arena *arena,
                        struct pj_written *written, struct pj_error *error)
{
    const struct pj_table *part = writer->projection->tables[index];
    const struct pj_row_changes *changes = pj_fold_rows(fold, index);
    const struct pj_value **rows = pj_arena_alloc(arena, changes->count * sizeof(void *));
    size_t count = 0;
    for (size_t i = 0; i < changes->count; i++) {
        if (changes->items[i].operation != PJ_ROW_INSERT)
            rows[count++] = changes->items[i].values;
    }
    written->rows += (int64_t)changes->count;
    if (count == 0)
        return 0;
    return queue_rows(postgres, &writer->statements->tables[index].release, part, 0, rows, count,
                      arena, error);
}

/* Second half: the new values. */
static int set_part(struct pj_writer *writer, struct pj_postgres *postgres,
                    const struct pj_fold *fold, size_t index, struct pj_arena *arena,
                    struct pj_error *error)
{
    const struct pj_table *part = writer->projection->tables[index];
    const struct pj_row_changes *changes = pj_fold_rows(fold, index);
    const struct pj_value **rows = pj_arena_alloc(arena, changes->count * sizeof(void *));
    size_t count = 0;
    for (size_t i = 0; i < changes->count; i++) {
        if (changes->items[i].operation != PJ_ROW_DELETE)
            rows[count++] = changes->items[i].values;
    }
    if (count == 0)
        return 0;
    uint64_t columns = UINT64_MAX >> (PJ_COLUMNS_MOST - part->column_count);
    return queue_rows(postgres, pj_statements_update(writer->statements, index, columns), part,
                      columns, rows, count, arena, error);
}

static int write_append_table(struct pj_writer *writer, struct pj_postgres *postgres,
                              const struct pj_fold *fold, size_t index, struct pj_arena *arena,
                              struct pj_written *written, struct pj_error *error)
{
    const struct pj_table *table = writer->projection->tables[index];
    const struct pj_appended *appended = pj_fold_appended(fold, index);
    const struct pj_table_statements *statements = &writer->statements->tables[index];
    const struct pj_value *const *rows = (const struct pj_value *const *)appended->rows;
    if (appended->count == 0)
        return 0;
    written->rows += (int64_t)appended->count;
    if (ensure_all(writer, postgres, table, rows, appended->count, arena, written, error) != 0)
        return -1;
    if (pj_writer_copy_pays(writer, &statements->copy, table, appended->count))
        return pj_writer_copy_rows(writer, postgres, &statements->copy, table, rows,
                                   appended->count, error);
    return insert_rows(postgres, statements, table, rows, appended->count, arena, error);
}

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

/* The keys of a bucket, and whether an extreme went. */
static const struct pj_value *with_flag(const struct pj_table *table,
                                        const struct pj_addition *addition, struct pj_arena *arena)
{
    struct pj_value *row = pj_arena_alloc(arena, (table->column_count + 1) * sizeof *row);
    size_t keys = 0;
    for (; keys < table->column_count && table->columns[keys].key; keys++)
        row[keys] = addition->values[keys];
    row[keys] = pj_bool(addition->extreme);
    return row;
}

/* Differences are added. */
static int write_rollup(struct pj_writer *writer, struct pj_postgres *postgres,
                        const struct pj_fold *fold, struct table_write *write, size_t index,
                        struct pj_arena *arena, struct pj_written *written, struct pj_error *error)
{
    const struct pj_table *table = writer->projection->tables[index];
    const struct pj_additions *additions = pj_fold_additions(fold, index);
    const struct pj_value **rows = pj_arena_alloc(arena, additions->count * sizeof(void *));
    if (additions->count == 0)
        return 0;
    write->refresh = pairs_new(arena, additions->count);
    for (size_t i = 0; i < additions->count; i++) {
        struct pj_value *values = additions->items[i].values;
        for (size_t c = 0; c < table->column_count; c++) {
            if (table->columns[c].type == PJ_COUNTS)
                values[c] = counts_text(&values[c], arena);
        }
        rows[i] = values;
        if (additions->items[i].left || additions->items[i].extreme)
            write->refresh.rows[write->refresh.count++] =
                with_flag(table, &additions->items[i], arena);
    }
    written->rows += (int64_t)additions->count;
    return queue_rows(postgres, &writer->statements->tables[index].insert, table, UINT64_MAX, rows,
                      additions->count, arena, error);
}

/* Behind all rows, those that go included: the function may look for what is left in them. */
static int refresh_rollup(struct pj_writer *writer, struct pj_postgres *postgres,
                          const struct table_write *write, size_t index, struct pj_arena *arena,
                          struct pj_error *error)
{
    const struct pj_table *table = writer->projection->tables[index];
    const struct pairs *buckets = &write->refresh;
    if (buckets->count == 0 || table->refresh == NULL)
        return 0;
    struct pj_parameter parameters[PJ_COLUMNS_MOST + 1]; /* the keys, and a flag */
    size_t keys = 0;
    for (; keys < table->column_count && table->columns[keys].key; keys++)
        parameters[keys] =
            pj_binary_array(arena, table->columns[keys].type, buckets->rows, buckets->count, keys);
    parameters[keys] = pj_binary_array(arena, PJ_BOOL, buckets->rows, buckets->count, keys);
    return pj_postgres_queue(postgres, &writer->statements->tables[index].refresh, parameters,
                             error);
}

static bool is_entity_table(const struct pj_table *table)
{
    return table->kind == PJ_ENTITY_TABLE && table->part_of == NULL;
}

static int write_table(struct pj_writer *writer, struct pj_postgres *postgres,
                       const struct pj_fold *fold, struct table_write *write, size_t index,
                       struct pj_arena *arena, struct pj_written *written, struct pj_error *error)
{
    const struct pj_table *table = writer->projection->tables[index];
    if (table->part_of != NULL)
        return 0;
    switch (table->kind) {
    case PJ_APPEND_TABLE:
        return write_append_table(writer, postgres, fold, index, arena, written, error);
    case PJ_ROLLUP_TABLE:
        return write_rollup(writer, postgres, fold, write, index, arena, written, error);
    case PJ_ENTITY_TABLE:
        return write_entity_table(writer, postgres, write, index, arena, written, error);
    }
    return 0;
}

/* Values that are to be taken by others in the same batch are given up first. */
static int release_values(struct pj_writer *writer, struct pj_postgres *postgres,
                          const struct pj_fold *fold, struct table_write *writes,
                          struct pj_arena *arena, struct pj_written *written,
                          struct pj_error *error)
{
    for (size_t t = 0; t < writer->projection->table_count; t++) {
        const struct pj_table *table = writer->projection->tables[t];
        if (table->part_of != NULL &&
            release_part(writer, postgres, fold, t, arena, written, error) != 0)
            return -1;
        if (writer->passing_over && is_entity_table(table) &&
            release_uniques(writer, postgres, &writes[t], t, arena, error) != 0)
            return -1;
    }
    return 0;
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
static int write_tables(struct pj_writer *writer, struct pj_postgres *postgres,
                        const struct pj_fold *fold, struct pj_arena *arena,
                        struct pj_written *written, struct pj_error *error)
{
    const struct pj_projection *projection = writer->projection;
    const size_t *order = writer->constraints.order;
    struct table_write *writes = pj_arena_alloc(arena, projection->table_count * sizeof *writes);
    for (size_t t = 0; t < projection->table_count; t++) {
        writes[t].changes = pj_fold_rows(fold, t);
        if (is_entity_table(projection->tables[t]))
            writes[t].sorted = sort_out(writes[t].changes, arena);
    }
    if (writer->constraints.deferrable &&
        pj_postgres_queue(postgres, &pj_constraints_defer, NULL, error) != 0)
        return -1;
    if (release_values(writer, postgres, fold, writes, arena, written, error) != 0)
        return -1;
    for (size_t i = 0; i < projection->table_count; i++) {
        if (write_table(writer, postgres, fold, &writes[order[i]], order[i], arena, written,
                        error) != 0)
            return -1;
    }
    for (size_t t = 0; t < projection->table_count; t++) {
        if (projection->tables[t]->part_of != NULL &&
            set_part(writer, postgres, fold, t, arena, error) != 0)
            return -1;
    }
    for (size_t i = projection->table_count; i-- > 0;) {
        if (is_entity_table(projection->tables[order[i]]) &&
            remove_entity_rows(writer, postgres, &writes[order[i]], order[i], arena, error) != 0)
            return -1;
    }
    for (size_t t = 0; t < projection->table_count; t++) {
        if (refresh_rollup(writer, postgres, &writes[t], t, arena, error) != 0)
            return -1;
    }
    return writer->constraints.deferrable
               ? pj_postgres_queue(postgres, &pj_constraints_check, NULL, error)
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

int pj_writer_learn(struct pj_writer *writer, struct pj_postgres *postgres, struct pj_error *error)
{
    pj_writer_expect_races(postgres, writer->projection);
    pj_arena_reset(writer->learned);
    writer->constraints = pj_constraints_none(writer->projection, writer->learned);
    writer->limits = NULL;
    if (pj_limits_read(&writer->limits, postgres, writer->projection, writer->learned, error) != 0)
        return -1;
    if (writer->statements->schema != NULL) /* a shadow has no constraints between rows */
        return 0;
    return pj_constraints_read(&writer->constraints, postgres, writer->projection, writer->learned,
                               error);
}

int pj_writer_write(struct pj_writer *writer, struct pj_postgres *postgres, struct pj_fold *fold,
                    struct pj_arena *arena, struct pj_written *written, struct pj_error *error)
{
    *written = (struct pj_written){0};
    writer->loaded = 0;
    int status = pj_writer_run_stages(writer, postgres, fold, arena, error);
    if (status == 0)
        status = check_limits(writer, fold, error);
    return status == 0 ? write_tables(writer, postgres, fold, arena, written, error) : -1;
}

void pj_writer_begin(struct pj_writer *writer, const struct pj_tries *tries)
{
    writer->passing_over = tries->passed_over;
    writer->whole = tries->whole;
    if (tries->parents > 0)
        memset(writer->known_parents, 0, KNOWN_SLOTS * sizeof *writer->known_parents);
}

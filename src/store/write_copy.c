/* SPDX-License-Identifier: Apache-2.0 */
#include "store/write_internal.h"

/* Below this a COPY costs a round trip more than it saves. */
enum { COPY_LEAST = 256, COPY_PIECE = 64 * 1024 };

bool pj_writer_copy_pays(const struct pass *pass, const struct pj_copy *copy,
                         const struct pj_table *table, const struct rows *rows)
{
    return copy->sql != NULL && rows->count >= COPY_LEAST && !pass->writer->skipping &&
           !pass->writer->secured && pj_copy_possible(table);
}

/* With the reason, as far as Postgres knows it. */
static int refuse(const struct pass *pass, const struct pj_copy *copy, int64_t queued,
                  int64_t written, struct pj_error *error)
{
    struct pj_parameter parameters[] = {pj_binary_number(pass->arena, PJ_BIGINT, queued),
                                        pj_binary_number(pass->arena, PJ_BIGINT, written)};
    if (pj_postgres_run(pass->postgres, &copy->copied, parameters, NULL, error) != 0)
        return -1;
    return pj_error_fatal(error, PJ_EXIT_DATABASE, "a COPY wrote %lld of %lld rows",
                          (long long)written, (long long)queued);
}

int pj_writer_copy_rows(const struct pass *pass, const struct pj_copy *copy,
                        const struct pj_table *table, const struct rows *rows,
                        struct pj_error *error)
{
    int64_t copied;
    struct pj_builder *buffer = &pass->writer->buffer;
    if (pj_postgres_copy_begin(pass->postgres, copy->sql, error) != 0)
        return -1;
    pj_copy_start(buffer);
    for (size_t i = 0; i < rows->count; i++) {
        pj_copy_row(buffer, table, rows->items[i]);
        if (buffer->length < COPY_PIECE)
            continue;
        if (pj_postgres_copy_data(pass->postgres, buffer->text, buffer->length, error) != 0)
            return -1;
        buffer->length = 0;
    }
    pj_copy_finish(buffer);
    if (pj_postgres_copy_data(pass->postgres, buffer->text, buffer->length, error) != 0 ||
        pj_postgres_copy_end(pass->postgres, NULL, &copied, error) != 0)
        return -1;
    return copied == (int64_t)rows->count ? 0
                                          : refuse(pass, copy, (int64_t)rows->count, copied, error);
}

int pj_writer_leave_out_present(const struct pass *pass, size_t index, struct rows *rows,
                                struct pj_error *error)
{
    struct pj_writer *writer = pass->writer;
    const struct pj_table *table = writer->projection->tables[index];
    const struct pj_table_statements *statements = &writer->statements->tables[index];
    struct pj_parameter parameters[PJ_COLUMNS_MOST];
    struct pj_result *result;
    int keys = 0;
    if (writer->doubtful == 0 || !pj_writer_copy_pays(pass, &statements->copy, table, rows))
        return 0;
    struct distinct *distinct = pj_distinct_new(pass->arena, table, NULL, rows->count);
    for (size_t i = 0; i < rows->count; i++)
        (void)pj_distinct_add(distinct, rows->items[i],
                              pj_distinct_hash(table, NULL, rows->items[i]));
    bool found = distinct->rows.count < rows->count;
    *rows = distinct->rows;
    struct pj_arena *piece = pj_writer_piece(pass);
    for (; table->columns[keys].key; keys++)
        parameters[keys] = pj_binary_array(piece, table->columns[keys].type, rows->items,
                                           rows->count, (size_t)keys);
    if (pj_postgres_run(pass->postgres, &statements->found, parameters, &result, error) != 0)
        return -1;
    for (int row = 0; row < pj_result_rows(result); row++) {
        size_t place = (size_t)pj_result_int8(result, row, 0);
        if (place > 0 && place <= rows->count)
            rows->items[place - 1] = NULL;
    }
    found = found || pj_result_rows(result) > 0;
    pj_result_free(result);
    size_t left = 0;
    for (size_t i = 0; i < rows->count; i++) {
        if (rows->items[i] != NULL)
            rows->items[left++] = rows->items[i];
    }
    rows->count = left;
    writer->doubtful = found ? DOUBTFUL_WRITES : writer->doubtful - 1;
    return 0;
}

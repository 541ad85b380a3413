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

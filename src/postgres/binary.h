/* SPDX-License-Identifier: Apache-2.0 */
/* Values in Postgres's binary formats: arrays for statements, tuples for COPY. */
#ifndef PJ_POSTGRES_BINARY_H
#define PJ_POSTGRES_BINARY_H

#include "base/arena.h"
#include "base/text.h"
#include "postgres/postgres.h"
#include "projectionist/projection.h"

/* The SQL name of the type and of its array as parameters. A numeric and counts travel as text
 * (counts as an array literal): the SQL casts them. */
const char *pj_binary_sql_type(enum pj_type type);
uint32_t pj_binary_array_oid(enum pj_type type);

/* One column of `rows` as an array of the type, in the arena. */
struct pj_parameter pj_binary_array(struct pj_arena *arena, enum pj_type type,
                                    const struct pj_value *const *rows, size_t count,
                                    size_t column);

/* One scalar. The same formats; null is SQL NULL. */
struct pj_parameter pj_binary_scalar(struct pj_arena *arena, enum pj_type type,
                                     const struct pj_value *value);

static inline struct pj_parameter pj_binary_number(struct pj_arena *arena, enum pj_type type,
                                                   int64_t number)
{
    struct pj_value value = pj_bigint(number);
    return pj_binary_scalar(arena, type, &value);
}

/* A text, borrowed; NULL is SQL NULL. */
static inline struct pj_parameter pj_binary_text(const char *text)
{
    return (struct pj_parameter){text, text != NULL ? strlen(text) : 0};
}

/* Microseconds since 1970 of a binary timestamptz; infinity and null stay far in the past. */
int64_t pj_binary_time(int64_t postgres_microseconds);

/* A binary COPY. */
void pj_copy_start(struct pj_builder *buffer); /* empties it and puts the header */
void pj_copy_row(struct pj_builder *buffer, const struct pj_table *table,
                 const struct pj_value *row);
void pj_copy_finish(struct pj_builder *buffer); /* the trailer */

/* False for a table with a numeric column or a sql_type, whose binary form is not written here. */
bool pj_copy_possible(const struct pj_table *table);

#endif

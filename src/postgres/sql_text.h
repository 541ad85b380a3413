/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQL put together from the names of a declaration, quoted in this one place. Values are never part
 * of it: they are parameters.
 */
#ifndef PJ_POSTGRES_SQL_TEXT_H
#define PJ_POSTGRES_SQL_TEXT_H

#include "base/text.h"
#include "postgres/postgres.h"
#include "projectionist/projection.h"

/* A quoted name. It may be an argument of the function that prints it: pj_sql_name(name).text */
struct pj_sql_name {
    char text[2 * (2 * PJ_SQL_IDENTIFIER_MOST + 2) + 2];
};

struct pj_sql_name pj_sql_name(const char *name);
/* "schema"."name", or "name" alone where the search_path finds it (schema NULL). */
struct pj_sql_name pj_sql_qualified(const char *schema, const char *name);
struct pj_sql_name pj_sql_table(const struct pj_table *table);

/* Columns of a table: a bit each, by their index. */
uint64_t pj_sql_key(const struct pj_table *table);
uint64_t pj_sql_all(const struct pj_table *table);

/*
 * `each` for every one of the columns, with `separator` between. In it @ is the column's quoted
 * name, # its number among these columns from 1 on, ! the type of its parameter, ^ the cast
 * from that to its own ("" for most), and ~ the cast to text of a sql_type, which may have no
 * equality. Key columns: (sql, table, key, " AND ", "t.@ = u.@").
 */
void pj_sql_columns(struct pj_builder *sql, const struct pj_table *table, uint64_t columns,
                    const char *separator, const char *each);

/* `before`, then the text as an SQL literal. */
void pj_sql_literal(struct pj_builder *sql, const char *before, const char *text);

/* A text[] literal, for a parameter: begun by adding to an empty builder; "{}" if nothing was. */
void pj_sql_array_add(struct pj_builder *array, const char *text);
char *pj_sql_array_take(struct pj_builder *array) __attribute__((returns_nonnull));

#endif

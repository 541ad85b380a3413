/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of a projection, each with its shadow, and SQL about both: what difference.c (finding)
 * and difference_apply.c (writing) share.
 */
#ifndef PJ_REBUILD_PAIRS_H
#define PJ_REBUILD_PAIRS_H

#include "postgres/postgres.h"
#include "postgres/sql_text.h"
#include "projectionist/projection.h"

/* A pair of tables to compare: one of the projection's, or the states of one entity kind. */
struct pj_pair {
    size_t index;           /* names its temporary table */
    const char *projection; /* its name */
    const struct pj_table *table;
    bool state;
    char plain[2 * PJ_SQL_IDENTIFIER_MOST + 2]; /* its name for people */
    struct pj_sql_name live, shadow;
    uint64_t key;
    uint64_t compared; /* columns besides the key; others are only copied */
};

/* Of all tables, then of all states; malloc'ed. */
struct pj_pair *pj_pairs_list(const struct pj_projection *projection, const char *shadow,
                              size_t *count);

/* The column's name. */
const char *pj_pair_name(const struct pj_pair *pair, size_t column);
/* The column `placeholder` as a mask; 0: it has none. */
uint64_t pj_pair_placeholder(const struct pj_pair *pair);
/* As pj_sql_columns. */
void pj_pair_columns(struct pj_builder *sql, const struct pj_pair *pair, uint64_t columns,
                     const char *separator, const char *each);

/* Runs the text, and frees it; nothing, where it is empty. */
int pj_pairs_script(struct pj_postgres *postgres, struct pj_builder *sql,
                    struct pj_error *error) PJ_MUST_CHECK;

#endif

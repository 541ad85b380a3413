/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key of a row: which rows are the same to Postgres, and how messages name them. Pure.
 */
#ifndef PJ_FOLD_ROW_KEY_H
#define PJ_FOLD_ROW_KEY_H

#include "base/arena.h"
#include "base/text.h"
#include "projectionist/projection.h"

/* <0, 0 or >0, as Postgres compares two values of a column; null sorts first. */
int pj_column_compare(enum pj_type type, const struct pj_value *a, const struct pj_value *b);

/* <0, 0 or >0; zero where they are one key to Postgres: 0.0 and -0.0, 1.0 and 1.00. */
int pj_row_key_compare(const struct pj_table *table, const struct pj_value *a,
                       const struct pj_value *b);

/* "episodes with id=ep1, lang=en"; long values are cut. In the arena. */
const char *pj_row_key_name(struct pj_arena *arena, const struct pj_table *table,
                            const struct pj_value *key);

/* A value for people; of a text at most that many bytes. */
void pj_value_print(struct pj_builder *out, enum pj_type type, const struct pj_value *value,
                    size_t most);

/* A UUID of the key, the same for equal keys. */
void pj_row_key_uuid(const struct pj_table *table, const struct pj_value *key, uint8_t uuid[16]);

#endif

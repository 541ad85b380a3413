/* SPDX-License-Identifier: Apache-2.0 */
/* What declaration.c (the whole, its sources, entity kinds and settings) and declaration_tables.c
 * share. */
#ifndef PJ_FOLD_DECLARATION_INTERNAL_H
#define PJ_FOLD_DECLARATION_INTERNAL_H

#include "fold/declaration.h"

enum { PJ_SQL_NAME_MOST = 63 };

#define PJ_WRONG(error, ...) pj_error_fatal(error, PJ_EXIT_DECLARATION, __VA_ARGS__)

/* The table at `index` in the projection's list, by itself and against those before it. */
int pj_declaration_check_table(const struct pj_projection *projection, size_t index,
                               struct pj_error *error) PJ_MUST_CHECK;

/* Whether a name begins with a lower-case letter and has only these characters. */
bool pj_declaration_is_word(const char *name, const char *characters);
/* The characters of a program's name, and of an entity kind's. */
extern const char pj_declaration_program_name[];
extern const char pj_declaration_sql_name[];

#endif

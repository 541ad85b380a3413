/* SPDX-License-Identifier: Apache-2.0 */
/* A table of text for people: aligned columns, two spaces apart. */
#ifndef PJ_CLI_TEXT_TABLE_H
#define PJ_CLI_TEXT_TABLE_H

#include "base/text.h"

#include <stdio.h>

struct pj_text_table;

/* The titles are borrowed, and NULL ends them; one that begins with '>' has its column aligned to
 * the right. */
struct pj_text_table *pj_text_table_new(const char *const *titles);

/* The next cell, row by row; copied. Wide characters are counted as one column each. NULL, and a
 * negative number, is "-". */
void pj_text_table_add(struct pj_text_table *table, const char *text);
void pj_text_table_add_number(struct pj_text_table *table, int64_t number);
/* Prints it, and frees it. */
void pj_text_table_end(struct pj_text_table *table, FILE *out);

#endif

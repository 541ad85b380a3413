/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SQL that makes and removes the placeholders of a table with children. Each statement is about
 * the rows of `source`, an item of FROM named u with the table's key columns: arrays of parameters
 * for a batch, what differs for a rebuild.
 *
 * Rows are locked, in the order of their keys, by a statement of their own before placeholders are
 * deleted or rows become placeholders: the transactions that refer to them have ended then, so that
 * the next statement sees their rows, and later ones wait.
 */
#ifndef PJ_STORE_PLACEHOLDERS_H
#define PJ_STORE_PLACEHOLDERS_H

#include "postgres/sql_text.h"

/*
 * Inserts placeholders where there is no row; `source` has the columns pj_seen (with `first_seen`)
 * and pj_place, too. An earlier pj_seen moves the first_seen of a placeholder back. The result:
 * (NULL, number of rows inserted), then (pj_place, 0) for each key whose row is not a placeholder.
 */
void pj_placeholders_ensure(struct pj_builder *sql, const struct pj_table *table,
                            const char *source);
/* Real rows, too: one may be about to become a placeholder. */
void pj_placeholders_lock(struct pj_builder *sql, const struct pj_table *table, const char *source);
/* What Postgres itself does for a new foreign key: whoever makes a placeholder of the row waits
 * until the transaction has ended, or has done so before the next statement. */
void pj_placeholders_refer(struct pj_builder *sql, const struct pj_table *table,
                           const char *source);
/*
 * Moves the first_seen of placeholders back to an earlier pj_seen of `source`. Behind the children
 * that say so: what `ensure` saw, another transaction may have changed since; what it refers to by
 * then, none can.
 */
void pj_placeholders_lower(struct pj_builder *sql, const struct pj_table *table,
                           const char *source);
/* Moves the first_seen of placeholders forward to the least seen_at of the children that are left.
 */
void pj_placeholders_raise(struct pj_builder *sql, const struct pj_table *table,
                           const char *source);
/* Deletes placeholders to which no child refers. */
void pj_placeholders_release(struct pj_builder *sql, const struct pj_table *table,
                             const char *source);
/* All of that about parents that rows no longer refer to, or mention at another time: lock,
 * release, and raise where the table has a first_seen. Whole statements, each ended by "; ". */
void pj_placeholders_leave(struct pj_builder *sql, const struct pj_table *table,
                           const char *source);
/* The foreign key of rows `row` of `child`, by the names of the parent's key, as a source's
 * columns; that it is one goes into `where`. Returns the child's columns. */
uint64_t pj_placeholders_key(struct pj_builder *sql, struct pj_builder *where,
                             const struct pj_table *child, const struct pj_parent *parent,
                             const char *row);
/* Makes placeholders of rows to which children refer. */
void pj_placeholders_restore(struct pj_builder *sql, const struct pj_table *table,
                             const char *source);
/* Deletes rows that are not placeholders. */
void pj_placeholders_remove(struct pj_builder *sql, const struct pj_table *table,
                            const char *source);

#endif

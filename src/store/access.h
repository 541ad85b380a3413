/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Row security. A statement that it filters is no error to Postgres: an UPDATE finds no row, and a
 * comparison finds rows missing. Connections begin with row_security off, so that Postgres refuses
 * such a statement; here it is seen beforehand, with the remedy, and switched on where policies
 * hide nothing from the role.
 */
#ifndef PJ_STORE_ACCESS_H
#define PJ_STORE_ACCESS_H

#include "postgres/postgres.h"
#include "projectionist/projection.h"

/*
 * Of the engine's own tables, of the projection's (NULL: none) and of the parents of these, as the
 * search_path finds them: that row security hides none of their rows (PJ_EXIT_DATABASE). It does
 * not for an owner without FORCE, with BYPASSRLS, or by a policy FOR ALL USING (true) WITH CHECK
 * (true) without a restrictive one beside it; on the engine's own tables it may be one of the rows
 * of `group` (NULL: of all groups). And that they are in the schema that the session's settings
 * name, and not found later in the search_path (PJ_EXIT_DATABASE). To be called on each connection
 * that reads or writes them.
 */
int pj_access_check(struct pj_postgres *postgres, const struct pj_projection *projection,
                    const char *group, struct pj_error *error) PJ_MUST_CHECK;

#endif

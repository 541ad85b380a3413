/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A projection's declaration, held against what projection.h asks of it: a mistake is told at the
 * start, and by the first unit test, and not by SQL that cannot be read or rows that are wrong.
 */
#ifndef PJ_FOLD_DECLARATION_H
#define PJ_FOLD_DECLARATION_H

#include "projectionist/projection.h"

/* PJ_FATAL (PJ_EXIT_DECLARATION) with the first mistake, and what is right. Nothing of the
 * projection is looked at before; NULL is a mistake, too. */
int pj_declaration_check(const struct pj_projection *projection,
                         struct pj_error *error) PJ_MUST_CHECK;

/* The name of the table, in the schema `projectionist`, that keeps the facts of an entity kind:
 * state_command_projector_command. pj_declaration_check sees that it fits. */
enum { PJ_STATE_NAME_SIZE = 64 };
void pj_declaration_state_name(const struct pj_projection *projection, const char *entity,
                               char name[PJ_STATE_NAME_SIZE]);
bool pj_declaration_is_state_name(const struct pj_projection *projection, const char *name);

#endif

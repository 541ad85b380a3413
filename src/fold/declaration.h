/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks a projection's declaration against the rules of projection.h, so that a mistake fails the
 * start and the first unit test, instead of becoming broken SQL or wrong rows.
 */
#ifndef PJ_FOLD_DECLARATION_H
#define PJ_FOLD_DECLARATION_H

#include "projectionist/projection.h"

/* PJ_FATAL (PJ_EXIT_DECLARATION) with the first mistake and its remedy. Call it before anything
 * else uses the projection; NULL is a mistake, too. */
int pj_declaration_check(const struct pj_projection *projection,
                         struct pj_error *error) PJ_MUST_CHECK;

/* The name of the table, in the schema `projectionist`, that keeps the facts of an entity kind:
 * state_command_projector_command. pj_declaration_check makes sure that it fits. */
enum { PJ_STATE_NAME_SIZE = 64 };
void pj_declaration_state_name(const struct pj_projection *projection, const char *entity,
                               char name[PJ_STATE_NAME_SIZE]);
/* The same of the table that keeps its wide facts: state_studio_catalog_project_wide. */
void pj_declaration_wide_name(const struct pj_projection *projection, const char *entity,
                              char name[PJ_STATE_NAME_SIZE]);
bool pj_declaration_is_state_name(const struct pj_projection *projection, const char *name);

#endif

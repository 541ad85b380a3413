/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts kept apart (wide): which of them a batch needs, and which it changes. In memory they are
 * among the facts of their entity, as far as they are loaded: all of the kinds that the entity's
 * derive sees, where it is called at all; of a kind with a derive of its own those that changes are
 * about, and all where what is shown to it has changed. What is not loaded stays as it is, and so
 * do its rows.
 */
#ifndef PJ_FOLD_WIDE_H
#define PJ_FOLD_WIDE_H

#include "fold/fold.h"

bool pj_wide_has(const struct pj_entity_kind *kind);
/* Whether the table of its wide facts would be that of a kind of this name. */
bool pj_wide_has_name(const struct pj_projection *projection, const char *name);
/* What the changes of entities that are touched now want to be loaded. */
void pj_wide_want(struct pj_fold *fold, size_t stage_index, const struct pj_stage *fresh);
/* After the changes: what else is to be loaded, for what is shown to it has changed. */
void pj_wide_want_shown(struct pj_fold *fold, size_t stage_index, const struct pj_touched *touched);
/* What is to be written of an entity: notes its wide facts, and encodes the rest where it changed.
 */
void pj_wide_store(struct pj_fold *fold, size_t stage_index, struct pj_touched *touched);
/* Fails where wide facts were stored with the others. */
int pj_wide_check_stored(const struct pj_entity *entity, struct pj_error *error) PJ_MUST_CHECK;

#endif

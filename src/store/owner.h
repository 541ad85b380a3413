/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which Postgres sessions belong to the owners of partitions: those of an unresponsive owner are
 * ended, for they hold the locks that the next owner waits for.
 */
#ifndef PJ_STORE_OWNER_H
#define PJ_STORE_OWNER_H

#include "store/offsets.h"

/* Marks the session as the owner's, until it ends. */
int pj_owner_mark_session(struct pj_postgres *postgres, const struct pj_identity *identity,
                          struct pj_error *error) PJ_MUST_CHECK;

/*
 * After waiting in vain for the previous owner's transaction: ends the sessions of these
 * partitions' owners in which Postgres has been waiting for the client, with a COPY or a pipeline
 * begun, for longer than an idle transaction may last. *ended: how many, and *owner the name of
 * one; it lives as long as the arena.
 */
int pj_owner_end_unresponsive(struct pj_postgres *postgres, const struct pj_identity *identity,
                              struct pj_partition *const *partitions, size_t count,
                              struct pj_arena *arena, int *ended, const char **owner,
                              struct pj_error *error) PJ_MUST_CHECK;

/* Is the partition's owner connected to Postgres? */
int pj_owner_is_connected(struct pj_postgres *postgres, const struct pj_identity *identity,
                          const struct pj_partition *partition, struct pj_arena *arena,
                          bool *connected, struct pj_error *error) PJ_MUST_CHECK;

#endif

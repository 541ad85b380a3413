/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An Avro object container file, read block by block with suspicion.
 *
 * avro-c's avro_file_reader believes the lengths in the file: it allocates whatever a header or a
 * block claims, inflates without a bound and leaks on errors (1.11.1). Here every length is
 * compared with the file's size first, and opening walks over all blocks, so that a file which was
 * cut short is refused before any of it is used.
 */
#ifndef PJ_AVRO_CONTAINER_H
#define PJ_AVRO_CONTAINER_H

#include "projectionist/error.h"

#include <stddef.h>
#include <stdint.h>

struct pj_container;

/* Opens a regular file of codec null, deflate or zstandard and checks its framing. Errors are fatal
 * and name the file, and where a block is at fault, the records before it. */
int pj_container_open(struct pj_container **container, const char *path,
                      struct pj_error *error) PJ_MUST_CHECK;
/* The same without the walk over all blocks: one that is still written, or was cut short, can be
 * read as far as it is whole. Its items are not counted. */
int pj_container_open_unfinished(struct pj_container **container, const char *path,
                                 struct pj_error *error) PJ_MUST_CHECK;
void pj_container_close(struct pj_container *container); /* NULL is allowed */

/* The writer's schema, JSON; lives as long as the container. */
const char *pj_container_schema(const struct pj_container *container);
/* Items in all blocks together, as the blocks say. */
int64_t pj_container_items(const struct pj_container *container);

/*
 * The next block that has items: its bytes, inflated, and how many items they should be. Returns 1,
 * 0 at the end, or -1. The bytes live until the next call. Blocks are at most 64 MiB, inflated
 * 256 MiB.
 */
int pj_container_next(struct pj_container *container, const uint8_t **data, size_t *length,
                      int64_t *items, struct pj_error *error) PJ_MUST_CHECK;

/* The next call of pj_container_next gives the first block again. */
void pj_container_rewind(struct pj_container *container);

/* The next call gives the last block, which has items. */
void pj_container_go_to_last(struct pj_container *container);

/* Where in the file the block after the last one given begins. */
int64_t pj_container_at(const struct pj_container *container);

#endif

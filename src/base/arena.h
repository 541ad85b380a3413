/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena: the memory of one batch, freed all at once. Allocation never fails (base/memory.h).
 */
#ifndef PJ_BASE_ARENA_H
#define PJ_BASE_ARENA_H

#include <stddef.h>

struct pj_arena;

struct pj_arena *pj_arena_new(void);
void pj_arena_free(struct pj_arena *arena); /* NULL is allowed */

/*
 * A part of an arena, itself used as one: what is in it may be freed earlier, by a reset of the
 * part, and the arena uses that memory again. It ends with what is in the arena, and is not freed.
 */
struct pj_arena *pj_arena_part(struct pj_arena *whole);

/* Frees everything allocated; keeps a bounded part of the memory for the next batch. */
void pj_arena_reset(struct pj_arena *arena);

/* Zeroed, aligned for any type; size 0 gives a valid pointer. */
void *pj_arena_alloc(struct pj_arena *arena, size_t size)
    __attribute__((returns_nonnull, alloc_size(2)));

/* Copies; pj_arena_string adds a NUL byte. */
void *pj_arena_copy(struct pj_arena *arena, const void *data, size_t size)
    __attribute__((returns_nonnull));
char *pj_arena_string(struct pj_arena *arena, const char *text, size_t length)
    __attribute__((returns_nonnull));
char *pj_arena_printf(struct pj_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull));

/* Gives back what is beyond the first `size` bytes of what `data` was allocated with, where nothing
 * was allocated since. */
void pj_arena_cut(struct pj_arena *arena, const void *data, size_t allocated, size_t size);

/* Bytes handed out since the last reset, without those of its parts, for bounds on a batch's
 * memory. */
size_t pj_arena_used(const struct pj_arena *arena);

#endif

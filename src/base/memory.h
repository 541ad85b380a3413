/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one policy when memory ends: the process says so on stderr and aborts. Nothing that it has
 * done is committed, the system starts it again, and a restart is tested more often than any branch
 * behind a NULL could be. So no caller has an error path for it.
 *
 * A size that comes from outside (a record, a frame, a file, a request, a row) is bounded before it
 * is allocated: one that is too large is the sender's error, with a sentence of its own.
 *
 * tests/banned restricts malloc and its kin to this file. Everything is freed with free().
 */
#ifndef PJ_BASE_MEMORY_H
#define PJ_BASE_MEMORY_H

#include <stddef.h>

/* Zeroed; size or count 0 gives a pointer to free, too. */
void *pj_alloc(size_t size) __attribute__((malloc, returns_nonnull, alloc_size(1)));
void *pj_calloc(size_t count, size_t size)
    __attribute__((malloc, returns_nonnull, alloc_size(1, 2)));

/* As realloc to count elements of size bytes; what is new is not zeroed. */
void *pj_resize(void *memory, size_t count, size_t size)
    __attribute__((returns_nonnull, alloc_size(2, 3)));

/* A copy: of a text (of NULL: NULL), of a text's first length bytes, of size bytes. A NUL follows
 * the copy of a text. */
char *pj_strdup(const char *text) __attribute__((malloc));
char *pj_strndup(const char *text, size_t length) __attribute__((malloc, returns_nonnull));
void *pj_copy(const void *data, size_t size) __attribute__((malloc, returns_nonnull));

/* For what a library returns as NULL only where memory has ended: gives it back if it is not. */
void *pj_must(void *returned) __attribute__((returns_nonnull));

/* The end. what: what it was needed for, such as "4096 bytes". */
_Noreturn void pj_memory_ended(const char *what);

#endif

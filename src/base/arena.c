/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include "base/invariant.h"
#include "base/memory.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Under AddressSanitizer, memory that a reset took back must not be touched any more. */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)   ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

enum {
    ALIGNMENT = alignof(max_align_t),
    FIRST_CHUNK = 64 << 10,
    MOST_CHUNK = 1 << 20,
    LARGE = MOST_CHUNK / 4,
    KEPT_BY_RESET = 4 << 20,
};

struct chunk {
    struct chunk *next;
    size_t size;
    size_t used;
    alignas(max_align_t) char data[];
};

struct pj_arena {
    struct chunk *chunks; /* in use; small allocations come from the first */
    struct chunk *spare;  /* kept by a reset */
    size_t next_size;
    size_t used;
};

static struct chunk *chunk_new(size_t size)
{
    struct chunk *chunk = pj_resize(NULL, sizeof *chunk + size, 1);
    chunk->next = NULL;
    chunk->size = size;
    chunk->used = 0;
    ASAN_POISON_MEMORY_REGION(chunk->data, size);
    return chunk;
}

static void chunks_free(struct chunk *chunk)
{
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        ASAN_UNPOISON_MEMORY_REGION(chunk->data, chunk->size);
        free(chunk);
        chunk = next;
    }
}

struct pj_arena *pj_arena_new(void)
{
    struct pj_arena *arena = pj_alloc(sizeof *arena);
    arena->next_size = FIRST_CHUNK;
    return arena;
}

void pj_arena_free(struct pj_arena *arena)
{
    if (arena == NULL)
        return;
    chunks_free(arena->chunks);
    chunks_free(arena->spare);
    free(arena);
}

void pj_arena_reset(struct pj_arena *arena)
{
    struct chunk *lists[] = {arena->spare, arena->chunks};
    size_t kept = 0;
    arena->spare = NULL;
    arena->chunks = NULL;
    arena->used = 0;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct chunk *next;
        for (struct chunk *chunk = lists[i]; chunk != NULL; chunk = next) {
            next = chunk->next;
            chunk->next = NULL;
            /* Chunks of one large allocation fit little else. */
            if (chunk->size > MOST_CHUNK || kept + chunk->size > KEPT_BY_RESET) {
                chunks_free(chunk);
                continue;
            }
            kept += chunk->size;
            chunk->used = 0;
            ASAN_POISON_MEMORY_REGION(chunk->data, chunk->size);
            chunk->next = arena->spare;
            arena->spare = chunk;
        }
    }
}

static struct chunk *take_spare(struct pj_arena *arena, size_t size)
{
    for (struct chunk **link = &arena->spare; *link != NULL; link = &(*link)->next) {
        struct chunk *chunk = *link;
        if (chunk->size >= size) {
            *link = chunk->next;
            return chunk;
        }
    }
    return NULL;
}

/* A chunk with room for `size` bytes, linked into the arena. */
static struct chunk *more(struct pj_arena *arena, size_t size)
{
    if (size > LARGE) {
        struct chunk *chunk = chunk_new(size);
        /* After the first, whose rest is still good for small allocations. */
        struct chunk **link = arena->chunks != NULL ? &arena->chunks->next : &arena->chunks;
        chunk->next = *link;
        *link = chunk;
        return chunk;
    }
    struct chunk *chunk = take_spare(arena, size);
    if (chunk == NULL) {
        while (arena->next_size < size)
            arena->next_size *= 2;
        chunk = chunk_new(arena->next_size);
        if (arena->next_size < MOST_CHUNK)
            arena->next_size *= 2;
    }
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    return chunk;
}

static void *take(struct pj_arena *arena, size_t size)
{
    PJ_CHECK(size <= SIZE_MAX / 2, "the size that an arena is asked for is below zero");
    size_t rounded = size == 0 ? ALIGNMENT : (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->size - chunk->used < rounded)
        chunk = more(arena, rounded);
    char *data = chunk->data + chunk->used;
    chunk->used += rounded;
    arena->used += rounded;
    ASAN_UNPOISON_MEMORY_REGION(data, size);
    return data;
}

void *pj_arena_alloc(struct pj_arena *arena, size_t size)
{
    void *data = take(arena, size);
    return memset(data, 0, size);
}

void *pj_arena_copy(struct pj_arena *arena, const void *data, size_t size)
{
    void *copy = take(arena, size);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

char *pj_arena_string(struct pj_arena *arena, const char *text, size_t length)
{
    PJ_CHECK(length < SIZE_MAX, "the length of a text is below zero");
    char *copy = take(arena, length + 1);
    if (length > 0)
        memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *pj_arena_printf(struct pj_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    PJ_CHECK(length >= 0, "a text cannot be printed");
    char *text = take(arena, (size_t)length + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return text;
}

size_t pj_arena_used(const struct pj_arena *arena)
{
    return arena->used;
}

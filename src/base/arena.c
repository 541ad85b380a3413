/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include "base/invariant.h"
#include "base/memory.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdbool.h>
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
    MOST_CHUNK = 256 << 10,
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
    struct chunk *spare;  /* kept by a reset; a part has those of its whole */
    size_t next_size;
    size_t used;
    struct pj_arena *whole;     /* of a part; its own memory is in that */
    struct pj_arena *parts;     /* of a whole … */
    struct pj_arena *next_part; /* … the list */
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

struct pj_arena *pj_arena_part(struct pj_arena *whole)
{
    PJ_CHECK(whole->whole == NULL, "a part of an arena is to have parts");
    struct pj_arena *part = pj_arena_alloc(whole, sizeof *part);
    part->whole = whole;
    part->next_part = whole->parts;
    whole->parts = part;
    return part;
}

/* To the spare ones of the whole; those of one large allocation fit little else. */
static void part_reset(struct pj_arena *part)
{
    struct chunk *next;
    for (struct chunk *chunk = part->chunks; chunk != NULL; chunk = next) {
        next = chunk->next;
        chunk->next = NULL;
        if (chunk->size > MOST_CHUNK) {
            chunks_free(chunk);
            continue;
        }
        ASAN_POISON_MEMORY_REGION(chunk->data, chunk->used);
        chunk->used = 0;
        chunk->next = part->whole->spare;
        part->whole->spare = chunk;
    }
    part->chunks = NULL;
    part->used = 0;
}

/* Before the memory goes in which they are. */
static void end_parts(struct pj_arena *arena)
{
    for (struct pj_arena *part = arena->parts; part != NULL; part = part->next_part)
        part_reset(part);
    arena->parts = NULL;
}

void pj_arena_free(struct pj_arena *arena)
{
    if (arena == NULL)
        return;
    end_parts(arena);
    chunks_free(arena->chunks);
    chunks_free(arena->spare);
    free(arena);
}

void pj_arena_reset(struct pj_arena *arena)
{
    if (arena->whole != NULL) {
        part_reset(arena);
        return;
    }
    end_parts(arena);
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

static struct chunk *make_chunk(struct pj_arena *pool, size_t size)
{
    if (size > LARGE)
        return chunk_new(size);
    struct chunk *chunk = chunk_new(pool->next_size > size ? pool->next_size : size);
    if (pool->next_size < MOST_CHUNK)
        pool->next_size *= 2;
    return chunk;
}

static size_t room(const struct chunk *chunk)
{
    return chunk->size - chunk->used;
}

/* A chunk with room for `size` bytes, linked into the arena: the one that will have more of it left
 * comes first. */
static struct chunk *more(struct pj_arena *arena, size_t size)
{
    struct pj_arena *pool = arena->whole != NULL ? arena->whole : arena;
    struct chunk *chunk = take_spare(pool, size);
    if (chunk == NULL)
        chunk = make_chunk(pool, size);
    bool second = arena->chunks != NULL && room(arena->chunks) > room(chunk) - size;
    struct chunk **link = second ? &arena->chunks->next : &arena->chunks;
    chunk->next = *link;
    *link = chunk;
    return chunk;
}

static size_t rounded_up(size_t size)
{
    PJ_CHECK(size <= SIZE_MAX / 2, "the size that an arena is asked for is below zero");
    return size == 0 ? ALIGNMENT : (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void *take(struct pj_arena *arena, size_t size)
{
    size_t rounded = rounded_up(size);
    struct chunk *chunk = arena->chunks;
    if (chunk == NULL || room(chunk) < rounded)
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

void pj_arena_cut(struct pj_arena *arena, const void *data, size_t allocated, size_t size)
{
    PJ_CHECK(size <= allocated, "an arena is to give back more than it gave");
    struct chunk *chunk = arena->chunks;
    size_t back = rounded_up(allocated) - rounded_up(size);
    const char *end = (const char *)data + rounded_up(allocated);
    if (chunk == NULL || chunk->data + chunk->used != end)
        return;
    chunk->used -= back;
    arena->used -= back;
    ASAN_POISON_MEMORY_REGION((const char *)data + size, rounded_up(allocated) - size);
}

size_t pj_arena_used(const struct pj_arena *arena)
{
    return arena->used;
}

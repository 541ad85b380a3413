/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include "base/text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void pj_memory_ended(const char *what)
{
    char line[160];
    size_t length = pj_text_show(line, sizeof line - 1,
                                 "out of memory for %s; allow the process more memory, or "
                                 "smaller batches",
                                 what);
    line[length++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, length);
    (void)written; /* nowhere left to report it */
    abort();
}

static _Noreturn void ended(size_t count, size_t size)
{
    char what[64];
    pj_text_whole(what, sizeof what, "%zu times %zu bytes", count, size);
    pj_memory_ended(what);
}

/* At least 1: of no bytes, a library may return NULL. */
static size_t product(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        ended(count, size);
    return bytes > 0 ? bytes : 1;
}

void *pj_calloc(size_t count, size_t size)
{
    void *memory = calloc(1, product(count, size));
    if (memory == NULL)
        ended(count, size);
    return memory;
}

void *pj_alloc(size_t size)
{
    return pj_calloc(1, size);
}

void *pj_resize(void *memory, size_t count, size_t size)
{
    memory = realloc(memory, product(count, size));
    if (memory == NULL)
        ended(count, size);
    return memory;
}

void *pj_copy(const void *data, size_t size)
{
    void *copy = pj_resize(NULL, size, 1);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

char *pj_strndup(const char *text, size_t length)
{
    length = strnlen(text, length);
    char *copy = pj_alloc(length + 1);
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *pj_strdup(const char *text)
{
    return text == NULL ? NULL : pj_strndup(text, strlen(text));
}

static void *json_memory(size_t size)
{
    return pj_resize(NULL, size, 1);
}

/* jansson, whose callers rarely look, would leave out what it has no memory for. */
__attribute__((constructor)) static void set_json_memory(void)
{
    json_set_alloc_funcs(json_memory, free);
}

void *pj_must(void *returned)
{
    if (returned == NULL)
        pj_memory_ended("what a library was asked for");
    return returned;
}

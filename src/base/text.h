/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Printing into a buffer of a fixed size; each function says what becomes of a text that does not
 * fit: nothing is ever cut without a mark. Text of any length goes into a builder or an arena
 * (pj_arena_printf). tests/banned restricts snprintf to these files.
 */
#ifndef PJ_BASE_TEXT_H
#define PJ_BASE_TEXT_H

#include "projectionist/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * For people: a text that does not fit ends in "...", after a whole character. Returns the length.
 */
size_t pj_text_show(char *buffer, size_t size, const char *format, ...) PJ_PRINTF(3, 4);
size_t pj_text_vshow(char *buffer, size_t size, const char *format, va_list args) PJ_PRINTF(3, 0);

/* For what is known to fit, such as a number: PJ_CHECKs that it does. Returns the length. */
size_t pj_text_whole(char *buffer, size_t size, const char *format, ...) PJ_PRINTF(3, 4);
size_t pj_text_vwhole(char *buffer, size_t size, const char *format, va_list args) PJ_PRINTF(3, 0);

/* For a name from outside: false if it does not fit, and the buffer is empty. */
bool pj_text_fits(char *buffer, size_t size, const char *format, ...) PJ_PRINTF(3, 4) PJ_MUST_CHECK;

/* A text that grows as it is written. All zeros is an empty one. */
struct pj_builder {
    char *text; /* NULL while empty */
    size_t length;
    size_t capacity;
};

void pj_builder_add(struct pj_builder *builder, const char *format, ...) PJ_PRINTF(2, 3);
void pj_builder_add_bytes(struct pj_builder *builder, const void *bytes, size_t length);

/* Where `length` more bytes have room; who writes them adds them to the builder's length. */
char *pj_builder_reserve(struct pj_builder *builder, size_t length)
    __attribute__((returns_nonnull));

/* The text, NUL-terminated, "" if nothing was added; the caller frees it. The builder is empty
 * again. */
char *pj_builder_take(struct pj_builder *builder) __attribute__((returns_nonnull));
void pj_builder_free(struct pj_builder *builder); /* likewise empty again */

/* A new text; the caller frees it. */
char *pj_text_new(const char *format, ...) PJ_PRINTF(1, 2) __attribute__((returns_nonnull));
char *pj_text_vnew(const char *format, va_list args) PJ_PRINTF(1, 0)
    __attribute__((returns_nonnull));

/* "1,234,567"; -1 and less give "?". Returns its argument. */
enum { PJ_NUMBER_TEXT = 32 };
const char *pj_number_text(char text[PJ_NUMBER_TEXT], int64_t number);

/* How many letters must be added, removed or changed (Levenshtein); of b at most this many. */
enum { PJ_TEXT_DISTANCE_MOST = 255 };
size_t pj_text_distance(const char *a, const char *b);

/* Whether the text is one of a list, such as "one|two" with the separator '|'. */
bool pj_text_is_of(const char *list, char separator, const char *text);

bool pj_text_begins(const char *text, const char *begin);
bool pj_text_ends(const char *text, const char *end);

/* -1 for anything but a hexadecimal digit. */
static inline int pj_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20; /* lower case */
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Printing into a buffer of a size that was chosen beforehand; what may be of any length belongs
 * into an arena (pj_arena_printf). Each says what becomes of a text that does not fit: nothing is
 * ever cut without a mark. tests/banned keeps snprintf to these files.
 */
#ifndef PJ_BASE_TEXT_H
#define PJ_BASE_TEXT_H

#include "projectionist/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* For people: it ends in "..." then, behind a whole character. Returns the length. */
size_t pj_text_show(char *buffer, size_t size, const char *format, ...) PJ_PRINTF(3, 4);
size_t pj_text_vshow(char *buffer, size_t size, const char *format, va_list args) PJ_PRINTF(3, 0);

/* Of what is known to fit, such as a number: it is a PJ_CHECK that it does. Returns the length. */
size_t pj_text_whole(char *buffer, size_t size, const char *format, ...) PJ_PRINTF(3, 4);
size_t pj_text_vwhole(char *buffer, size_t size, const char *format, va_list args) PJ_PRINTF(3, 0);

/* Of a name from outside: false then, and the buffer is empty. */
bool pj_text_fits(char *buffer, size_t size, const char *format, ...) PJ_PRINTF(3, 4) PJ_MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of UTF-8. */
#ifndef PJ_BASE_UTF8_H
#define PJ_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The length of the character at `at`, where `left` bytes are; 0 where it is not well-formed:
 * overlong, a surrogate, beyond U+10FFFF. */
size_t pj_utf8_length(const char *at, size_t left);

/* How many characters, of a text that is well-formed. */
size_t pj_utf8_count(const char *text, size_t length);

/* As many bytes as are at most `most` and end with a whole character. */
size_t pj_utf8_cut(const char *text, size_t length, size_t most);

/* The control character (C0, DEL or C1) at `at`, -1 where it is another one; a NUL ends the text.
 */
int pj_utf8_control(const char *at);

/* Returns the length. */
size_t pj_utf8_put(char bytes[4], uint32_t code_point);

#endif

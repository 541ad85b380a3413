/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <stdbool.h>

static bool continues(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

size_t pj_utf8_length(const char *at, size_t left)
{
    if (left == 0)
        return 0;
    unsigned char first = (unsigned char)at[0];
    if (first < 0x80)
        return 1;
    size_t length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (length == 0 || length > left)
        return 0;
    unsigned char second = (unsigned char)at[1];
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
        (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
        return 0;
    for (size_t i = 1; i < length; i++) {
        if (!continues(at[i]))
            return 0;
    }
    return length;
}

size_t pj_utf8_count(const char *text, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += !continues(text[i]);
    return count;
}

size_t pj_utf8_cut(const char *text, size_t length, size_t most)
{
    if (length <= most)
        return length;
    while (most > 0 && continues(text[most]))
        most--;
    return most;
}

int pj_utf8_control(const char *at)
{
    unsigned char first = (unsigned char)at[0];
    unsigned char code = first == 0xc2 ? (unsigned char)at[1] : first;
    bool is_control = first == 0xc2 ? code >= 0x80 && code < 0xa0 : code < 0x20 || code == 0x7f;
    return is_control ? code : -1;
}

size_t pj_utf8_put(char bytes[4], uint32_t code)
{
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3f));
    bytes[0] = (char)((length == 1 ? 0 : (0xf00 >> length) & 0xff) | code);
    return length;
}

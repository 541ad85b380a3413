/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include "base/invariant.h"

#include <stdio.h>
#include <string.h>

size_t pj_text_vshow(char *buffer, size_t size, const char *format, va_list args)
{
    static const char dots[] = "...";
    int length = vsnprintf(buffer, size, format, args);
    PJ_CHECK(length >= 0 && size >= sizeof dots, "a text for people cannot be printed");
    if ((size_t)length < size)
        return (size_t)length;
    size_t end = size - sizeof dots;
    while (end > 0 && ((unsigned char)buffer[end] & 0xc0) == 0x80)
        end--;
    memcpy(buffer + end, dots, sizeof dots);
    return end + sizeof dots - 1;
}

size_t pj_text_show(char *buffer, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t length = pj_text_vshow(buffer, size, format, args);
    va_end(args);
    return length;
}

size_t pj_text_vwhole(char *buffer, size_t size, const char *format, va_list args)
{
    int length = vsnprintf(buffer, size, format, args);
    PJ_CHECK(length >= 0 && (size_t)length < size, "a text is longer than its buffer");
    return (size_t)length;
}

size_t pj_text_whole(char *buffer, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t length = pj_text_vwhole(buffer, size, format, args);
    va_end(args);
    return length;
}

bool pj_text_fits(char *buffer, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(buffer, size, format, args);
    va_end(args);
    if (length >= 0 && (size_t)length < size)
        return true;
    buffer[0] = '\0';
    return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include "base/invariant.h"
#include "base/memory.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t pj_text_vshow(char *buffer, size_t size, const char *format, va_list args)
{
    static const char dots[] = "...";
    int length = vsnprintf(buffer, size, format, args);
    PJ_CHECK(length >= 0 && size >= sizeof dots, "a text for people cannot be printed");
    if ((size_t)length < size)
        return (size_t)length;
    size_t end = pj_utf8_cut(buffer, size - 1, size - sizeof dots);
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

char *pj_builder_reserve(struct pj_builder *builder, size_t length)
{
    if (builder->capacity - builder->length <= length) {
        builder->capacity = (builder->length + length + 1) * 2;
        builder->text = pj_resize(builder->text, builder->capacity, 1);
    }
    return builder->text + builder->length;
}

void pj_builder_free(struct pj_builder *builder)
{
    free(builder->text);
    *builder = (struct pj_builder){0};
}

void pj_builder_add_bytes(struct pj_builder *builder, const void *bytes, size_t length)
{
    if (length == 0)
        return;
    memcpy(pj_builder_reserve(builder, length), bytes, length);
    builder->length += length;
}

static void vadd(struct pj_builder *builder, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    PJ_CHECK(length >= 0, "a text cannot be printed");
    vsnprintf(pj_builder_reserve(builder, (size_t)length), (size_t)length + 1, format, again);
    builder->length += (size_t)length;
    va_end(again);
}

void pj_builder_add(struct pj_builder *builder, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vadd(builder, format, args);
    va_end(args);
}

char *pj_builder_take(struct pj_builder *builder)
{
    *pj_builder_reserve(builder, 0) = '\0';
    char *text = builder->text;
    *builder = (struct pj_builder){0};
    return text;
}

char *pj_text_vnew(const char *format, va_list args)
{
    struct pj_builder builder = {0};
    vadd(&builder, format, args);
    return pj_builder_take(&builder);
}

char *pj_text_new(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = pj_text_vnew(format, args);
    va_end(args);
    return text;
}

const char *pj_number_text(char text[PJ_NUMBER_TEXT], int64_t number)
{
    char digits[24];
    if (number < 0) {
        pj_text_whole(text, PJ_NUMBER_TEXT, "?");
        return text;
    }
    size_t length = pj_text_whole(digits, sizeof digits, "%lld", (long long)number);
    size_t out = 0;
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            text[out++] = ',';
        text[out++] = digits[i];
    }
    text[out] = '\0';
    return text;
}

size_t pj_text_distance(const char *a, const char *b)
{
    size_t row[PJ_TEXT_DISTANCE_MOST + 1];
    size_t length = strlen(b);
    PJ_CHECK(length <= PJ_TEXT_DISTANCE_MOST, "a text is too long to be compared by its letters");
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t changed = diagonal + (a[i - 1] != b[j - 1]);
            size_t one_less = row[j] < row[j - 1] ? row[j] : row[j - 1];
            diagonal = row[j];
            row[j] = changed < one_less + 1 ? changed : one_less + 1;
        }
    }
    return row[length];
}

bool pj_text_is_of(const char *list, char separator, const char *text)
{
    const char ends[] = {separator, '\0'};
    size_t length = strlen(text);
    for (const char *item = list; *item != '\0'; item += *item != '\0') {
        size_t end = strcspn(item, ends);
        if (end == length && memcmp(item, text, length) == 0)
            return true;
        item += end;
    }
    return false;
}

bool pj_text_begins(const char *text, const char *begin)
{
    return strncmp(text, begin, strlen(begin)) == 0;
}

bool pj_text_ends(const char *text, const char *end)
{
    size_t length = strlen(text);
    return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

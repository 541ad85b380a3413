/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/avro_reader.h"
#include "base/text.h"
#include "base/time_text.h"

#include <math.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uuid/uuid.h>

/* A text that grows in an arena, up to a bound: names and symbols are of any length and cost a
 * record a byte or none, so a small record could claim all memory. */
enum { TEXT_LEAST = 1 << 16, TEXT_PER_BYTE = 256 };

struct text {
    struct pj_arena *arena;
    char *data;
    size_t length;
    size_t capacity;
    size_t most;
    bool full;
};

static void put(struct text *text, const char *data, size_t length)
{
    text->full = text->full || length > text->most - text->length;
    if (text->full)
        return;
    if (text->length + length > text->capacity) {
        size_t capacity = (text->length + length) * 2 + 64;
        char *bigger = pj_arena_alloc(text->arena, capacity);
        if (text->length > 0)
            memcpy(bigger, text->data, text->length);
        text->data = bigger;
        text->capacity = capacity;
    }
    memcpy(text->data + text->length, data, length);
    text->length += length;
}

static void put_string(struct text *text, const char *string)
{
    put(text, string, strlen(string));
}

static void put_format(struct text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put_format(struct text *text, const char *format, ...)
{
    char piece[400];
    va_list args;
    va_start(args, format);
    size_t length = pj_text_vwhole(piece, sizeof piece, format, args);
    va_end(args);
    put(text, piece, length);
}

/* Bytes that are no UTF-8 pass as they are: Postgres says so, and the record is a dead letter. */
static void put_quoted(struct text *text, const char *data, size_t length)
{
    put(text, "\"", 1);
    size_t from = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        put(text, data + from, i - from);
        from = i + 1;
        if (c == '"' || c == '\\')
            put_format(text, "\\%c", c);
        else
            put_format(text, "\\u%04x", c);
    }
    put(text, data + from, length - from);
    put(text, "\"", 1);
}

static void put_base64(struct text *text, const char *data, size_t length)
{
    unsigned char group[5];
    put(text, "\"", 1);
    for (size_t i = 0; i < length; i += 3) {
        int left = length - i < 3 ? (int)(length - i) : 3;
        EVP_EncodeBlock(group, (const unsigned char *)data + i, left);
        put(text, (const char *)group, 4);
    }
    put(text, "\"", 1);
}

static void put_time(struct text *text, int64_t value, int digits)
{
    char time[PJ_TIME_TEXT_SIZE];
    if (pj_time_format(time, value, digits))
        put_format(text, "\"%s\"", time);
    else
        put_format(text, "%lld", (long long)value);
}

static void put_number(struct text *text, const struct pj_avro_type *type, int64_t value)
{
    switch (type->logical) {
    case PJ_LOGICAL_TIMESTAMP_MILLIS:
        put_time(text, value, 3);
        return;
    case PJ_LOGICAL_TIMESTAMP_MICROS:
        put_time(text, value, 6);
        return;
    case PJ_LOGICAL_TIMESTAMP_NANOS:
        put_time(text, value, 9);
        return;
    case PJ_LOGICAL_DATE: {
        time_t when = (time_t)(value * 86400);
        struct tm parts;
        char date[40];
        if (gmtime_r(&when, &parts) != NULL && strftime(date, sizeof date, "\"%F\"", &parts) > 0) {
            put_string(text, date);
            return;
        }
        break;
    }
    default:
        break;
    }
    put_format(text, "%lld", (long long)value);
}

int pj_avro_decimal_text(struct pj_avro_reader *reader, const char *data, size_t length, int scale,
                         struct pj_arena *arena, const char **out)
{
    if (length > 256)
        return pj_error_set(reader->error, PJ_POISON, "an Avro decimal is longer than 256 bytes");
    uint8_t magnitude[256];
    bool negative = length > 0 && ((unsigned char)data[0] & 0x80) != 0;
    unsigned carry = negative ? 1 : 0;
    for (size_t i = length; i-- > 0;) {
        unsigned byte = (unsigned char)data[i];
        byte = negative ? (byte ^ 0xff) + carry : byte;
        carry = byte >> 8;
        magnitude[i] = (uint8_t)byte;
    }
    /* Digits from the last to the first, by repeated division by ten. */
    char digits[256 * 3 + 1010];
    size_t count = 0;
    size_t first = 0;
    while (first < length) {
        unsigned rest = 0;
        for (size_t i = first; i < length; i++) {
            unsigned value = rest << 8 | magnitude[i];
            magnitude[i] = (uint8_t)(value / 10);
            rest = value % 10;
        }
        digits[count++] = (char)('0' + rest);
        while (first < length && magnitude[first] == 0)
            first++;
    }
    while (count < (size_t)scale + 1)
        digits[count++] = '0';
    while (count > (size_t)scale + 1 && digits[count - 1] == '0')
        count--;
    char *text = pj_arena_alloc(arena, count + 4);
    char *at = text;
    if (negative)
        *at++ = '-';
    for (size_t i = count; i-- > 0;) {
        *at++ = digits[i];
        if (i == (size_t)scale && scale > 0)
            *at++ = '.';
    }
    *at = '\0';
    *out = text;
    return 0;
}

static int render(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                  struct text *text);

static int render_record(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                         struct text *text)
{
    put(text, "{", 1);
    for (size_t i = 0; i < type->count; i++) {
        if (i > 0)
            put(text, ",", 1);
        put_quoted(text, type->fields[i].name, strlen(type->fields[i].name));
        put(text, ":", 1);
        if (render(reader, type->fields[i].type, text) != 0)
            return -1;
    }
    put(text, "}", 1);
    return 0;
}

static int render_items(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                        struct text *text)
{
    static const struct pj_avro_type key_type = {.kind = PJ_AVRO_STRING};
    bool is_map = type->kind == PJ_AVRO_MAP;
    bool any = false;
    uint64_t count;
    put(text, is_map ? "{" : "[", 1);
    do {
        if (pj_avro_read_block(reader, &count) != 0)
            return -1;
        for (uint64_t i = 0; i < count; i++) {
            if (any)
                put(text, ",", 1);
            any = true;
            const char *key;
            size_t length;
            if (is_map) {
                if (pj_avro_read_text(reader, &key_type, &key, &length) != 0)
                    return -1;
                put_quoted(text, key, length);
                put(text, ":", 1);
            }
            if (render(reader, type->branches[0], text) != 0)
                return -1;
        }
    } while (count > 0);
    put(text, is_map ? "}" : "]", 1);
    return 0;
}

static int render_text(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                       struct text *text)
{
    const char *data;
    size_t length;
    if (pj_avro_read_text(reader, type, &data, &length) != 0)
        return -1;
    if (text->full)
        return 0;
    if (type->logical == PJ_LOGICAL_DECIMAL) {
        const char *decimal;
        if (pj_avro_decimal_text(reader, data, length, type->scale, text->arena, &decimal) != 0)
            return -1;
        put_string(text, decimal);
    } else if (type->logical == PJ_LOGICAL_UUID && type->kind == PJ_AVRO_FIXED) {
        char uuid[37];
        uuid_unparse_lower((const unsigned char *)data, uuid);
        put_quoted(text, uuid, 36);
    } else if (type->kind == PJ_AVRO_STRING) {
        put_quoted(text, data, length);
    } else {
        put_base64(text, data, length);
    }
    return 0;
}

/* With as few digits as read back as the same number. */
static void put_real(struct text *text, double value)
{
    char digits[32];
    for (int precision = 15; precision <= 17; precision++) {
        pj_text_whole(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value)
            break;
    }
    put_string(text, digits);
}

static int render_real(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                       struct text *text)
{
    double value;
    if (pj_avro_read_real(reader, type, &value) != 0)
        return -1;
    /* JSON has no words for these; a string keeps them. */
    if (isnan(value) || isinf(value))
        put_string(text, isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    else if (type->kind == PJ_AVRO_FLOAT)
        put_format(text, "%.9g", value);
    else
        put_real(text, value);
    return 0;
}

static int render_entered(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                          struct text *text)
{
    int64_t integer;
    bool boolean;
    size_t index;
    switch (type->kind) {
    case PJ_AVRO_NULL:
        put_string(text, "null");
        return 0;
    case PJ_AVRO_BOOLEAN:
        if (pj_avro_read_boolean(reader, &boolean) != 0)
            return -1;
        put_string(text, boolean ? "true" : "false");
        return 0;
    case PJ_AVRO_INT:
    case PJ_AVRO_LONG:
        if (pj_avro_read_integer(reader, type, &integer) != 0)
            return -1;
        put_number(text, type, integer);
        return 0;
    case PJ_AVRO_FLOAT:
    case PJ_AVRO_DOUBLE:
        return render_real(reader, type, text);
    case PJ_AVRO_BYTES:
    case PJ_AVRO_STRING:
    case PJ_AVRO_FIXED:
        return render_text(reader, type, text);
    case PJ_AVRO_ENUM:
        if (pj_avro_read_index(reader, type, &index) != 0)
            return -1;
        put_quoted(text, type->symbols[index], strlen(type->symbols[index]));
        return 0;
    case PJ_AVRO_UNION:
        if (pj_avro_read_index(reader, type, &index) != 0)
            return -1;
        return render(reader, type->branches[index], text);
    case PJ_AVRO_RECORD:
        return render_record(reader, type, text);
    case PJ_AVRO_ARRAY:
    case PJ_AVRO_MAP:
        return render_items(reader, type, text);
    }
    return 0;
}

static int render(struct pj_avro_reader *reader, const struct pj_avro_type *type, struct text *text)
{
    if (pj_avro_enter(reader) != 0)
        return -1;
    int status = render_entered(reader, type, text);
    pj_avro_leave(reader);
    return status;
}

int pj_avro_render(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                   struct pj_arena *arena, const char **json, size_t *length)
{
    struct text text = {.arena = arena};
    text.most = TEXT_LEAST + TEXT_PER_BYTE * (size_t)(reader->end - reader->at);
    if (render(reader, type, &text) != 0)
        return -1;
    if (text.full)
        return pj_error_set(reader->error, PJ_POISON,
                            "an Avro value is more than %zu bytes long as JSON", text.most);
    *json = text.data;
    *length = text.length;
    return 0;
}

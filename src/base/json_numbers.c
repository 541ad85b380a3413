/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_numbers.h"

#include "base/decimal.h"
#include "base/memory.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/*
 * The digits that a double keeps of any number, and that jansson prints back with PJ_JSON_DIGITS.
 */
enum { DIGITS_EXACT = 15, EXPONENT_EXACT = 300 };

struct number {
    const char *at;
    size_t length;
};

static bool is_of_number(char c)
{
    return isdigit((unsigned char)c) || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

static bool is_integer(const struct number *number)
{
    for (size_t i = 0; i < number->length; i++) {
        if (!isdigit((unsigned char)number->at[i]) && number->at[i] != '-')
            return false;
    }
    return true;
}

static bool fits_64_bits(const struct number *number)
{
    char text[24] = "";
    if (number->length >= sizeof text)
        return false;
    memcpy(text, number->at, number->length);
    errno = 0;
    (void)strtoll(text, NULL, 10);
    return errno == 0;
}

static bool fits_digits(const struct number *number)
{
    struct pj_decimal decimal;
    return pj_decimal_read(number->at, number->length, &decimal) && decimal.count <= DIGITS_EXACT &&
           decimal.point <= EXPONENT_EXACT && decimal.point >= -EXPONENT_EXACT;
}

/* How to write the number: "" as it is, "\"" between quotes, or with "e0" appended. */
static const char *way_of(const struct number *number, enum pj_json_numbers numbers)
{
    bool integer = is_integer(number);
    if (integer && fits_64_bits(number))
        return "";
    switch (numbers) {
    case PJ_WIDE_AS_REAL:
        return integer ? "e0" : "";
    case PJ_REALS_AS_TEXT:
        return "\"";
    case PJ_LONG_AS_TEXT:
        return fits_digits(number) && !integer ? "" : "\"";
    }
    return "";
}

static char *put(char *out, const char *data, size_t length)
{
    memcpy(out, data, length);
    return out + length;
}

/* A string, unchanged; `at` is after its opening quote. */
static const char *end_of_string(const char *at, const char *end)
{
    while (at < end && *at != '"')
        at += *at == '\\' && at + 1 < end ? 2 : 1;
    return at < end ? at + 1 : end;
}

json_t *pj_json_load(const char *text, size_t length, enum pj_json_numbers numbers, size_t flags)
{
    const char *at = text;
    const char *end = text + length;
    /* A one-digit number and its separator grow to at most twice that. */
    char *written = pj_alloc(length * 2 + 4);
    char *out = written;
    while (at < end) {
        const char *from = at;
        if (*at == '"') {
            at = end_of_string(at + 1, end);
        } else if (isdigit((unsigned char)*at) || *at == '-') {
            while (at < end && is_of_number(*at))
                at++;
            const struct number number = {from, (size_t)(at - from)};
            const char *way = way_of(&number, numbers);
            if (*way == '"')
                out = put(out, way, 1);
            out = put(out, from, number.length);
            out = put(out, way, strlen(way));
            continue;
        } else {
            at++;
        }
        out = put(out, from, (size_t)(at - from));
    }
    json_t *tree = json_loadb(written, (size_t)(out - written), flags | JSON_DECODE_ANY, NULL);
    free(written);
    return tree;
}

/* --- the other way --------------------------------------------------------------------------- */

/* The fewest digits that mean the number. */
static void put_real(char text[PJ_REAL_TEXT], double real)
{
    for (int digits = DIGITS_EXACT; digits <= DBL_DECIMAL_DIG; digits++) {
        pj_text_whole(text, PJ_REAL_TEXT, "%.*g", digits, real);
        if (strtod(text, NULL) == real)
            break;
    }
}

static void put_plain(struct pj_builder *out, const json_t *json)
{
    char *text = pj_must(json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT));
    pj_builder_add_bytes(out, text, strlen(text));
    free(text);
}

static void put_members(struct pj_builder *out, const json_t *json)
{
    json_t *object = (json_t *)(uintptr_t)json;
    bool is_first = true;
    pj_builder_add(out, "{");
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        json_t *name = pj_must(json_string(json_object_iter_key(at)));
        pj_builder_add(out, "%s", is_first ? "" : ",");
        put_plain(out, name);
        json_decref(name);
        pj_builder_add(out, ":");
        pj_json_put(out, json_object_iter_value(at));
        is_first = false;
    }
    pj_builder_add(out, "}");
}

void pj_json_put(struct pj_builder *out, const json_t *json)
{
    char real[PJ_REAL_TEXT];
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        put_members(out, json);
        break;
    case JSON_ARRAY:
        pj_builder_add(out, "[");
        for (size_t i = 0; i < json_array_size(json); i++) {
            pj_builder_add(out, "%s", i > 0 ? "," : "");
            pj_json_put(out, json_array_get(json, i));
        }
        pj_builder_add(out, "]");
        break;
    case JSON_REAL:
        put_real(real, json_real_value(json));
        pj_builder_add(out, "%s", real);
        break;
    default:
        put_plain(out, json);
    }
}

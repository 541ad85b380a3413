/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/check.h"

#include "base/text.h"
#include "base/utf8.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>

static int refuse(struct pj_error *error, const char *sqlstate)
{
    pj_text_whole(error->sqlstate, sizeof error->sqlstate, "%s", sqlstate);
    return -1;
}

static int check_text(const struct pj_field *field, const struct pj_value *value,
                      struct pj_error *error)
{
    const char *at = value->text.data;
    const char *end = at + value->text.length;
    while (at < end) {
        size_t length = *at != '\0' ? pj_utf8_length(at, (size_t)(end - at)) : 0;
        if (length == 0) {
            pj_error_set(error, PJ_POISON,
                         "%s has an invalid byte sequence for a UTF-8 text: 0x%02x", field->path,
                         (unsigned char)*at);
            return refuse(error, "22021");
        }
        at += length;
    }
    return 0;
}

/* jsonb refuses a number with more than 16,383 digits after the point or a huge exponent, which a
 * double rounds. A thousand characters, three of them an exponent, fit. `at` is JSON. */
static bool numbers_fit(const char *at, const char *end)
{
    while (at < end) {
        const char *start = at;
        if (*at == '"') {
            for (at++; *at != '"'; at++)
                at += *at == '\\';
        } else if (isdigit((unsigned char)*at)) {
            const char *exponent = end;
            for (; at < end && strchr("0123456789+-.eE", *at) != NULL; at++) {
                if (*at == 'e' || *at == 'E')
                    exponent = at;
            }
            if (at - start > 1000 || at - exponent > 5)
                return false;
            continue;
        }
        at++;
    }
    return true;
}

static int check_json(const struct pj_field *field, const struct pj_value *value,
                      struct pj_error *error)
{
    json_error_t reason;
    /* The parser ignores one after a number; Postgres does not. */
    if (memchr(value->text.data, '\0', value->text.length) != NULL) {
        pj_error_set(error, PJ_POISON, "%s has a NUL byte, which JSON cannot have", field->path);
        return refuse(error, "22021");
    }
    json_t *json = json_loadb(value->text.data, value->text.length,
                              JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &reason);
    json_decref(json);
    if (json != NULL) {
        if (numbers_fit(value->text.data, value->text.data + value->text.length))
            return 0;
        pj_error_set(error, PJ_POISON, "%s has a number that jsonb cannot hold", field->path);
        return refuse(error, "22003");
    }
    pj_error_set(error, PJ_POISON, "%s is not JSON that jsonb can hold: %s", field->path,
                 reason.text);
    switch (json_error_code(&reason)) {
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return refuse(error, "22P05");
    case json_error_stack_overflow:
        return refuse(error, "54001");
    case json_error_numeric_overflow:
        return refuse(error, "22003");
    default:
        return refuse(error, "22P02");
    }
}

int pj_check_values(const struct pj_source *source, const struct pj_value *values, bool json,
                    struct pj_error *error)
{
    for (size_t i = 0; i < source->field_count; i++) {
        const struct pj_field *field = &source->fields[i];
        if (!values[i].present)
            continue;
        if (field->type == PJ_TEXT && check_text(field, &values[i], error) != 0)
            return -1;
        if (field->type == PJ_JSONB && json && check_json(field, &values[i], error) != 0)
            return -1;
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/jsonb.h"

#include "base/text.h"

#include <ctype.h>
#include <string.h>

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

static const char *sqlstate_of(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "22P05";
    case json_error_stack_overflow:
        return "54001";
    case json_error_numeric_overflow:
        return "22003";
    default:
        return "22P02";
    }
}

static bool refuse(struct pj_jsonb_fault *fault, const char *sqlstate, const char *reason)
{
    fault->sqlstate = sqlstate;
    pj_text_whole(fault->reason, sizeof fault->reason, "%s", reason);
    return false;
}

bool pj_jsonb_holds(const char *text, size_t length, struct pj_jsonb_fault *fault)
{
    json_error_t error;
    /* The parser ignores one after a number; Postgres does not. */
    if (memchr(text, '\0', length) != NULL)
        return refuse(fault, "22021", "has a NUL byte, which JSON does not allow");
    json_t *json = json_loadb(text, length, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &error);
    json_decref(json);
    if (json == NULL) {
        fault->sqlstate = sqlstate_of(&error);
        pj_text_whole(fault->reason, sizeof fault->reason, "is not JSON that jsonb can hold: %s",
                      error.text);
        return false;
    }
    return numbers_fit(text, text + length) ||
           refuse(fault, "22003", "has a number that jsonb cannot hold");
}

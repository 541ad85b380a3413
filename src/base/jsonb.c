/* SPDX-License-Identifier: Apache-2.0 */
#include "base/jsonb.h"

#include "base/text.h"
#include "base/utf8.h"

#include <ctype.h>
#include <string.h>

/* --- what is plain --------------------------------------------------------------------------- */

/*
 * Most JSON needs no tree to be told from what is none: it has few levels, short numbers, and of
 * escapes those of one character. Of all else the parser decides.
 */
enum { LEVELS_MOST = 16, NUMBER_MOST = 15 };

struct scan {
    const char *at;
    const char *end;
};

static char peek(const struct scan *scan)
{
    return scan->at < scan->end ? *scan->at : '\0';
}

static bool take(struct scan *scan, char c)
{
    bool taken = scan->at < scan->end && *scan->at == c;
    scan->at += taken;
    return taken;
}

static void skip_space(struct scan *scan)
{
    while (take(scan, ' ') || take(scan, '\n') || take(scan, '\t') || take(scan, '\r')) {
    }
}

static bool is_plain_string(struct scan *scan)
{
    if (!take(scan, '"'))
        return false;
    while (scan->at < scan->end && *scan->at != '"') {
        size_t length = (unsigned char)*scan->at < ' '
                            ? 0
                            : pj_utf8_length(scan->at, (size_t)(scan->end - scan->at));
        if (length == 0)
            return false;
        bool escapes = *scan->at == '\\';
        scan->at += length;
        if (escapes && (peek(scan) == '\0' || strchr("\"\\/bfnrt", *scan->at++) == NULL))
            return false;
    }
    return take(scan, '"');
}

static size_t skip_digits(struct scan *scan)
{
    const char *start = scan->at;
    while (isdigit((unsigned char)peek(scan)))
        scan->at++;
    return (size_t)(scan->at - start);
}

static bool is_plain_number(struct scan *scan)
{
    const char *start = scan->at;
    (void)take(scan, '-');
    if (!take(scan, '0') && skip_digits(scan) == 0)
        return false;
    if (take(scan, '.') && skip_digits(scan) == 0)
        return false;
    return scan->at - start <= NUMBER_MOST;
}

static bool is_plain_word(struct scan *scan, const char *word)
{
    while (*word != '\0') {
        if (!take(scan, *word++))
            return false;
    }
    return true;
}

static bool is_plain_value(struct scan *scan, int levels);

/* Of an object or array, behind its opening bracket. */
static bool has_plain_members(struct scan *scan, char close, int levels)
{
    skip_space(scan);
    if (take(scan, close))
        return true;
    do {
        skip_space(scan);
        if (close == '}') {
            if (!is_plain_string(scan))
                return false;
            skip_space(scan);
            if (!take(scan, ':'))
                return false;
        }
        if (!is_plain_value(scan, levels))
            return false;
    } while (take(scan, ','));
    return take(scan, close);
}

/* With the space around it. */
static bool is_plain_value(struct scan *scan, int levels)
{
    bool plain = false;
    skip_space(scan);
    if (peek(scan) == '"')
        plain = is_plain_string(scan);
    else if (levels > 0 && take(scan, '{'))
        plain = has_plain_members(scan, '}', levels - 1);
    else if (levels > 0 && take(scan, '['))
        plain = has_plain_members(scan, ']', levels - 1);
    else if (peek(scan) == 't')
        plain = is_plain_word(scan, "true");
    else if (peek(scan) == 'f')
        plain = is_plain_word(scan, "false");
    else if (peek(scan) == 'n')
        plain = is_plain_word(scan, "null");
    else
        plain = is_plain_number(scan);
    skip_space(scan);
    return plain;
}

static bool is_plain(const char *text, size_t length)
{
    struct scan scan = {text, text + length};
    return is_plain_value(&scan, LEVELS_MOST) && scan.at == scan.end;
}

/* --- what the parser takes ------------------------------------------------------------------- */

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
    if (is_plain(text, length))
        return true;
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

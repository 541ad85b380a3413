/* SPDX-License-Identifier: Apache-2.0 */
#include "common/json_slice.h"

#include <string.h>

struct scan {
    const char *at;
    const char *end;
};

static void skip_space(struct scan *scan)
{
    while (scan->at < scan->end && strchr(" \t\r\n", *scan->at) != NULL && *scan->at != '\0')
        scan->at++;
}

/* From the opening quote to just after the closing one. */
static void skip_text(struct scan *scan)
{
    for (scan->at++; scan->at < scan->end && *scan->at != '"'; scan->at++) {
        if (*scan->at == '\\')
            scan->at++;
    }
    scan->at++;
}

/* Moves past a value; nesting is counted, not recursed into. */
static void skip_value(struct scan *scan)
{
    size_t depth = 0;
    while (scan->at < scan->end) {
        char c = *scan->at;
        if (c == '"') {
            skip_text(scan);
        } else if (c == '{' || c == '[') {
            depth++;
            scan->at++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return; /* the end of the object whose last member is this plain value */
            depth--;
            scan->at++;
        } else if (depth == 0 && (c == ',' || strchr(" \t\r\n", c) != NULL)) {
            return;
        } else {
            scan->at++;
            continue; /* inside a number or a word, or between members */
        }
        if (depth == 0)
            return;
    }
}

bool pj_json_slice(struct pj_bytes object, const char *name, struct pj_bytes *slice)
{
    struct scan scan = {object.data, (const char *)object.data + object.length};
    size_t length = strlen(name);
    bool found = false;
    skip_space(&scan);
    scan.at++; /* the brace */
    for (;;) {
        skip_space(&scan);
        if (scan.at >= scan.end || *scan.at != '"')
            return found;
        const char *key = scan.at + 1;
        skip_text(&scan);
        bool same = (size_t)(scan.at - 1 - key) == length && memcmp(key, name, length) == 0;
        skip_space(&scan);
        scan.at++; /* the colon */
        skip_space(&scan);
        const char *value = scan.at;
        skip_value(&scan);
        if (scan.at > scan.end)
            return false;
        if (same) {
            *slice = (struct pj_bytes){value, (size_t)(scan.at - value)};
            found = true;
        }
        skip_space(&scan);
        if (scan.at < scan.end && *scan.at == ',')
            scan.at++;
    }
}

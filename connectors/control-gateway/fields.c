/* SPDX-License-Identifier: Apache-2.0 */
#include "control-gateway/fields.h"

#include "base/http.h"
#include "base/invariant.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool add(struct pj_fields *fields, const char *name, size_t name_length, const char *value,
                size_t value_length)
{
    if (name_length + value_length > PJ_FIELDS_BYTES_MOST - fields->bytes)
        return false;
    if (fields->count == fields->capacity) {
        size_t capacity = fields->capacity > 0 ? fields->capacity * 2 : 16;
        fields->items = pj_resize(fields->items, capacity, sizeof *fields->items);
        fields->capacity = capacity;
    }
    fields->items[fields->count++] =
        (struct pj_field){pj_strndup(name, name_length), pj_strndup(value, value_length)};
    fields->bytes += name_length + value_length;
    return true;
}

bool pj_fields_add(struct pj_fields *fields, const char *name, const char *value)
{
    return add(fields, name, strlen(name), value, strlen(value));
}

const char *pj_fields_add_line(struct pj_fields *fields, const char *line, size_t length)
{
    static const char malformed[] = "a line of its head is not a header field";
    const char *colon = memchr(line, ':', length);
    if (colon == NULL)
        return malformed;
    const char *value = colon + 1, *end = line + length;
    while (value < end && strchr(" \t", *value) != NULL)
        value++;
    while (end > value && strchr(" \t\r\n", end[-1]) != NULL)
        end--;
    if (memchr(line, '\0', length) != NULL)
        return malformed;
    if (!add(fields, line, (size_t)(colon - line), value, (size_t)(end - value)))
        return "its head is larger than 256 KiB";
    const struct pj_field *field = &fields->items[fields->count - 1];
    return pj_http_is_token(field->name) && pj_http_is_value(field->value) ? NULL : malformed;
}

const char *pj_fields_get(const struct pj_fields *fields, const char *name)
{
    for (size_t i = 0; i < fields->count; i++) {
        if (strcasecmp(fields->items[i].name, name) == 0)
            return fields->items[i].value;
    }
    return NULL;
}

static size_t count_of(const struct pj_fields *fields, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < fields->count; i++)
        count += strcasecmp(fields->items[i].name, name) == 0;
    return count;
}

const char *pj_fields_ambiguity(const struct pj_fields *fields)
{
    const char *length = pj_fields_get(fields, "Content-Length");
    const char *encoding = pj_fields_get(fields, "Transfer-Encoding");
    if (count_of(fields, "Content-Length") + count_of(fields, "Transfer-Encoding") > 1)
        return "the length of its body is given more than once";
    if (encoding != NULL && strcasecmp(encoding, "chunked") != 0)
        return "its Transfer-Encoding is not chunked";
    if (length != NULL && (*length == '\0' || length[strspn(length, "0123456789")] != '\0'))
        return "its Content-Length is not a number";
    return NULL;
}

/* Some servers read these as another method or path. */
static bool is_disguise(const char *name)
{
    static const char *const names[] = {
        "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override",
        "X-Original-URL",         "X-Rewrite-URL",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcasecmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

static bool is_end_to_end(const struct pj_fields *fields, const char *name)
{
    for (size_t i = 0; i < fields->count; i++) {
        if (strcasecmp(fields->items[i].name, "Connection") == 0 &&
            pj_http_list_has(fields->items[i].value, name))
            return false;
    }
    return !pj_http_is_of_connection(name) && !is_disguise(name);
}

void pj_fields_keep_end_to_end(struct pj_fields *fields)
{
    struct pj_fields kept = {0};
    for (size_t i = 0; i < fields->count; i++) {
        if (is_end_to_end(fields, fields->items[i].name))
            PJ_CHECK(pj_fields_add(&kept, fields->items[i].name, fields->items[i].value),
                     "fields that fitted before do not");
    }
    pj_fields_clear(fields);
    *fields = kept;
}

void pj_fields_clear(struct pj_fields *fields)
{
    for (size_t i = 0; i < fields->count; i++) {
        free(fields->items[i].name);
        free(fields->items[i].value);
    }
    free(fields->items);
    *fields = (struct pj_fields){0};
}

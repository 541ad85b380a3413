/* SPDX-License-Identifier: Apache-2.0 */
#include "control-gateway/fields.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static char *copy(const char *text, size_t length)
{
    char *copied = strndup(text, length);
    if (copied == NULL)
        abort();
    return copied;
}

static bool add(struct pj_fields *fields, const char *name, size_t name_length, const char *value,
                size_t value_length)
{
    if (name_length + value_length > PJ_FIELDS_BYTES_MOST - fields->bytes)
        return false;
    if (fields->count == fields->capacity) {
        size_t capacity = fields->capacity > 0 ? fields->capacity * 2 : 16;
        struct pj_field *items = reallocarray(fields->items, capacity, sizeof *items);
        if (items == NULL)
            abort();
        fields->items = items;
        fields->capacity = capacity;
    }
    fields->items[fields->count++] =
        (struct pj_field){copy(name, name_length), copy(value, value_length)};
    fields->bytes += name_length + value_length;
    return true;
}

bool pj_fields_add(struct pj_fields *fields, const char *name, const char *value)
{
    return add(fields, name, strlen(name), value, strlen(value));
}

bool pj_fields_add_line(struct pj_fields *fields, const char *line, size_t length)
{
    const char *colon = memchr(line, ':', length);
    if (colon == NULL || colon == line)
        return true;
    const char *value = colon + 1, *end = line + length;
    while (value < end && strchr(" \t", *value) != NULL)
        value++;
    while (end > value && strchr(" \t\r\n", end[-1]) != NULL)
        end--;
    return add(fields, line, (size_t)(colon - line), value, (size_t)(end - value));
}

const char *pj_fields_get(const struct pj_fields *fields, const char *name)
{
    for (size_t i = 0; i < fields->count; i++) {
        if (strcasecmp(fields->items[i].name, name) == 0)
            return fields->items[i].value;
    }
    return NULL;
}

/* Whether a list with commas, such as Connection's, has that name. */
static bool names(const char *list, const char *name)
{
    size_t length = strlen(name);
    while (*list != '\0') {
        list += strspn(list, ", \t");
        size_t word = strcspn(list, ", \t");
        if (word == length && strncasecmp(list, name, length) == 0)
            return true;
        list += word;
    }
    return false;
}

static bool is_of_connection(const struct pj_fields *fields, const char *name)
{
    static const char *const of_connection[] = {
        "Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "TE",
        "Proxy-Connection",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Host",
        "Content-Length",
        "Expect",
    };
    for (size_t i = 0; i < sizeof of_connection / sizeof of_connection[0]; i++) {
        if (strcasecmp(name, of_connection[i]) == 0)
            return true;
    }
    for (size_t i = 0; i < fields->count; i++) {
        if (strcasecmp(fields->items[i].name, "Connection") == 0 &&
            names(fields->items[i].value, name))
            return true;
    }
    return false;
}

static void field_free(const struct pj_field *field)
{
    free(field->name);
    free(field->value);
}

void pj_fields_keep_end_to_end(struct pj_fields *fields)
{
    struct pj_fields kept = {0};
    for (size_t i = 0; i < fields->count; i++) {
        if (!is_of_connection(fields, fields->items[i].name) &&
            !pj_fields_add(&kept, fields->items[i].name, fields->items[i].value))
            abort(); /* they had room before */
    }
    pj_fields_clear(fields);
    *fields = kept;
}

void pj_fields_clear(struct pj_fields *fields)
{
    for (size_t i = 0; i < fields->count; i++)
        field_free(&fields->items[i]);
    free(fields->items);
    *fields = (struct pj_fields){0};
}

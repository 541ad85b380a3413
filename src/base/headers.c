/* SPDX-License-Identifier: Apache-2.0 */
#include "base/headers.h"

#include "base/memory.h"
#include "base/text.h"

#include <jansson.h>
#include <stdlib.h>

static json_t *hex_of(const struct pj_value *value)
{
    if (!value->present)
        return json_null();
    struct pj_builder hex = {0};
    for (size_t i = 0; i < value->text.length; i++)
        pj_builder_add(&hex, "%02x", (unsigned char)value->text.data[i]);
    char *text = pj_builder_take(&hex);
    json_t *json = pj_must(json_string(text));
    free(text);
    return json;
}

const char *pj_headers_to_json(const struct pj_record_header *headers, size_t count,
                               struct pj_arena *arena)
{
    if (count == 0)
        return NULL;
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *name = json_string(headers[i].name);
        json_t *header = json_object();
        json_object_set_new(header, "name", name != NULL ? name : json_string("?"));
        json_object_set_new(header, "hex", hex_of(&headers[i].value));
        json_array_append_new(array, header);
    }
    char *json = pj_must(json_dumps(array, JSON_COMPACT));
    const char *copy = pj_arena_string(arena, json, strlen(json));
    free(json);
    json_decref(array);
    return copy;
}

static int digit(char c)
{
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static struct pj_value bytes_of(const json_t *hex, struct pj_arena *arena)
{
    const char *text = json_string_value(hex);
    if (text == NULL)
        return pj_null();
    size_t length = strspn(text, "0123456789abcdefABCDEF") / 2;
    uint8_t *bytes = pj_arena_alloc(arena, length);
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
    return pj_text_of(bytes, length);
}

const struct pj_record_header *pj_headers_from_json(const char *json, size_t length,
                                                    struct pj_arena *arena, size_t *count)
{
    json_t *array = json != NULL ? json_loadb(json, length, 0, NULL) : NULL;
    size_t i;
    json_t *header;
    *count = json_array_size(array);
    struct pj_record_header *headers = pj_arena_alloc(arena, *count * sizeof *headers);
    json_array_foreach(array, i, header)
    {
        const char *name = json_string_value(json_object_get(header, "name"));
        headers[i].name = name != NULL ? pj_arena_string(arena, name, strlen(name)) : "?";
        headers[i].value = bytes_of(json_object_get(header, "hex"), arena);
    }
    json_decref(array);
    return headers;
}

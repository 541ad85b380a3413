/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry-bridge/bookmark.h"

#include "base/memory.h"

#include <jansson.h>
#include <string.h>
#include <uuid/uuid.h>

enum { FORMAT = 1, BYTES_MOST = 65536 };

/* --- writing --------------------------------------------------------------------------------- */

static json_t *write_id(const uint8_t id[16])
{
    char text[37];
    uuid_unparse_lower(id, text);
    return json_string(text);
}

static json_t *write_place(const struct pj_place *place)
{
    if (place->text[0] == '\0')
        return json_null();
    return json_pack("{s:s, s:o}", "cursor", place->text, "event_id", write_id(place->event_id));
}

static json_t *write_unplaced(const struct pj_unplaced *unplaced)
{
    json_t *array = json_array();
    for (size_t i = 0; i < unplaced->count; i++)
        json_array_append_new(array, write_id(unplaced->marks[i].bytes));
    return array;
}

char *pj_bookmark_write(const struct pj_bookmark *bookmark)
{
    const struct pj_position *position = &bookmark->position;
    json_t *object = pj_must(
        json_pack("{s:i, s:s, s:I, s:o, s:o, s:o, s:o}", "format", FORMAT, "instance",
                  bookmark->instance, "sequence", (json_int_t)bookmark->sequence, "last",
                  write_place(&position->last), "previous", write_place(&position->previous),
                  "unplaced_after_last", write_unplaced(&position->after_last),
                  "unplaced_before_last", write_unplaced(&position->before_last)));
    char *text = pj_must(json_dumps(object, JSON_COMPACT));
    json_decref(object);
    return text;
}

/* --- reading --------------------------------------------------------------------------------- */

static bool read_id(const json_t *value, uint8_t id[16])
{
    return json_is_string(value) && uuid_parse(json_string_value(value), id) == 0;
}

static bool read_place(const json_t *object, const char *name, struct pj_place *place)
{
    const json_t *value = json_object_get(object, name);
    const json_t *cursor = json_object_get(value, "cursor");
    *place = (struct pj_place){0};
    if (value == NULL || json_is_null(value))
        return true;
    return json_is_string(cursor) &&
           pj_place_parse(json_string_value(cursor), json_string_length(cursor), place) &&
           read_id(json_object_get(value, "event_id"), place->event_id);
}

static bool read_unplaced(const json_t *object, const char *name, struct pj_unplaced *unplaced)
{
    const json_t *array = json_object_get(object, name);
    unplaced->count = 0;
    for (size_t i = 0; i < json_array_size(array) && i < PJ_UNPLACED_MOST; i++) {
        if (!read_id(json_array_get(array, i), unplaced->marks[i].bytes))
            return false;
        unplaced->count++;
    }
    return true;
}

static bool read_all(const json_t *object, struct pj_bookmark *bookmark)
{
    const json_t *instance = json_object_get(object, "instance");
    const json_t *sequence = json_object_get(object, "sequence");
    struct pj_position *position = &bookmark->position;
    if (json_integer_value(json_object_get(object, "format")) != FORMAT ||
        !json_is_string(instance) || json_string_length(instance) >= sizeof bookmark->instance ||
        !json_is_integer(sequence))
        return false;
    memcpy(bookmark->instance, json_string_value(instance), json_string_length(instance) + 1);
    bookmark->sequence = json_integer_value(sequence);
    return read_place(object, "last", &position->last) &&
           read_place(object, "previous", &position->previous) &&
           read_unplaced(object, "unplaced_after_last", &position->after_last) &&
           read_unplaced(object, "unplaced_before_last", &position->before_last);
}

int pj_bookmark_read(struct pj_bytes value, struct pj_bookmark *bookmark, struct pj_error *error)
{
    json_t *object = NULL;
    *bookmark = (struct pj_bookmark){0};
    if (value.length > BYTES_MOST)
        return pj_error_set(error, PJ_FATAL,
                            "the bridge's record in safari.bridge-cursors has %zu bytes, more than "
                            "the %d of any that a bridge writes",
                            value.length, BYTES_MOST);
    if (value.data != NULL)
        object = json_loadb(value.data, value.length, 0, NULL);
    bool is_read = json_is_object(object) && read_all(object, bookmark);
    json_decref(object);
    if (!is_read)
        return pj_error_set(error, PJ_FATAL,
                            "the bridge's record in safari.bridge-cursors cannot be read: it was "
                            "written by something else, or by a newer version of the bridge");
    return 0;
}

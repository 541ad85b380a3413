/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays of a column's `sql_type`, as Postgres writes them: {"a","b\"c",NULL}. */
#include "fold/fold_internal.h"

#include "base/fit.h"
#include "projectionist/json.h"

#include <stdlib.h>

static void add_text(struct pj_builder *out, const struct pj_value *text)
{
    pj_builder_add(out, "\"");
    for (size_t i = 0; i < text->text.length; i++) {
        const char *c = &text->text.data[i];
        if (*c == '"' || *c == '\\')
            pj_builder_add(out, "\\");
        pj_builder_add_bytes(out, c, 1);
    }
    pj_builder_add(out, "\"");
}

static void add_item(struct pj_builder *out, const struct pj_value *item)
{
    if (!item->present) {
        pj_builder_add(out, "NULL");
        return;
    }
    switch (item->shape) {
    case PJ_SHAPE_BOOLEAN:
        pj_builder_add(out, item->boolean ? "t" : "f");
        return;
    case PJ_SHAPE_REAL:
        pj_value_print(out, PJ_DOUBLE, item, 0);
        return;
    case PJ_SHAPE_UUID:
        pj_value_print(out, PJ_UUID, item, 0);
        return;
    case PJ_SHAPE_TEXT:
        add_text(out, item);
        return;
    default:
        pj_value_print(out, PJ_BIGINT, item, 0);
    }
}

static struct pj_value array_of(struct pj_fold *fold, const struct pj_value *items, size_t count)
{
    struct pj_builder out = {0};
    pj_builder_add(&out, "{");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            pj_builder_add(&out, ",");
        add_item(&out, &items[i]);
    }
    pj_builder_add(&out, "}");
    struct pj_value array =
        pj_text_of(pj_arena_copy(fold->arena, out.text, out.length), out.length);
    free(out.text);
    return array;
}

struct pj_value pj_observer_array(struct pj_observer *observer, const struct pj_value *items,
                                  size_t count)
{
    return array_of(observer->fold, items, count);
}

struct pj_value pj_observer_items(struct pj_observer *observer, const struct pj_value *array)
{
    if (!array->present)
        return pj_null();
    if (array->shape != PJ_SHAPE_ITEMS || array->items.width != 1) {
        pj_fold_mistake(observer->fold,
                        "observe gives pj_observer_items what is no field with items of one field "
                        "each: make an array of their values, by pj_observer_array");
        return pj_null();
    }
    return array_of(observer->fold, array->items.values, array->items.count);
}

struct pj_value pj_derivation_array(struct pj_derivation *derivation, const struct pj_value *items,
                                    size_t count)
{
    return array_of(derivation->fold, items, count);
}

/* Texts are borrowed from the tree: array_of copies them. */
static struct pj_value array_of_json(struct pj_fold *fold, const json_t *json)
{
    size_t count = json_array_size(json);
    struct pj_value *items = pj_arena_alloc(fold->arena, count * sizeof *items);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(json, i);
        if (json_is_string(item))
            items[i] = pj_text_of(json_string_value(item), json_string_length(item));
        else if (json_is_boolean(item))
            items[i] = pj_text(json_is_true(item) ? "true" : "false");
        else if (json_is_number(item))
            items[i] = pj_fold_numeric(fold, item);
        else if (!json_is_null(item))
            return pj_null();
    }
    return json_is_array(json) ? array_of(fold, items, count) : pj_null();
}

struct pj_value pj_observer_json_array(struct pj_observer *observer, const json_t *json)
{
    return array_of_json(observer->fold, json);
}

struct pj_value pj_derivation_json_array(struct pj_derivation *derivation, const json_t *json)
{
    return array_of_json(derivation->fold, json);
}

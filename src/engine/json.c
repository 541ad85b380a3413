/* SPDX-License-Identifier: Apache-2.0 */
#include "projectionist/json.h"

#include "engine/fold_internal.h"

#include <math.h>

/* A text that is asked for again is nearly always one of the last few. */
enum { LOOK_BACK = 16 };

static const double integers_exact = 9007199254740992.0; /* 2^53 */

static json_t *load(const struct pj_value *json)
{
    const char *text = json->text.data;
    json_error_t reason;
    json_t *tree = json_loadb(text, json->text.length, JSON_DECODE_ANY, &reason);
    if (tree == NULL && json_error_code(&reason) == json_error_numeric_overflow)
        tree = json_loadb(text, json->text.length, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    return tree;
}

static const json_t *parsed(struct pj_fold *fold, const struct pj_value *json)
{
    if (!json->present)
        return NULL;
    size_t oldest = fold->parsed_count > LOOK_BACK ? fold->parsed_count - LOOK_BACK : 0;
    for (size_t i = fold->parsed_count; i-- > oldest;) {
        if (fold->parsed[i].text == json->text.data && fold->parsed[i].length == json->text.length)
            return fold->parsed[i].tree;
    }
    fold->parsed = pj_fold_grown(fold->arena, fold->parsed, fold->parsed_count,
                                 &fold->parsed_capacity, sizeof *fold->parsed);
    struct parsed_json *entry = &fold->parsed[fold->parsed_count++];
    *entry = (struct parsed_json){json->text.data, json->text.length, load(json)};
    return entry->tree;
}

void pj_fold_release_json(struct pj_fold *fold)
{
    while (fold->parsed_count > 0)
        json_decref(fold->parsed[--fold->parsed_count].tree);
}

static struct pj_value text_of(struct pj_arena *arena, const json_t *string)
{
    if (!json_is_string(string))
        return pj_null();
    size_t length = json_string_length(string);
    return pj_text_of(pj_arena_string(arena, json_string_value(string), length), length);
}

const json_t *pj_observer_json(struct pj_observer *observer, const struct pj_value *json)
{
    return parsed(observer->fold, json);
}

const json_t *pj_derivation_json(struct pj_derivation *derivation, const struct pj_value *json)
{
    return parsed(derivation->fold, json);
}

struct pj_value pj_observer_text(struct pj_observer *observer, const json_t *string)
{
    return text_of(observer->fold->arena, string);
}

struct pj_value pj_derivation_text(struct pj_derivation *derivation, const json_t *string)
{
    return text_of(derivation->fold->arena, string);
}

struct pj_value pj_json_integer(const json_t *number)
{
    if (json_is_integer(number))
        return pj_bigint(json_integer_value(number));
    double real = json_real_value(number);
    if (!json_is_real(number) || fabs(real) > integers_exact || real != trunc(real))
        return pj_null();
    return pj_bigint((int64_t)real);
}

struct pj_value pj_json_uuid(const json_t *string)
{
    uint8_t uuid[16];
    if (!json_is_string(string) ||
        !pj_uuid_parse(json_string_value(string), json_string_length(string), uuid))
        return pj_null();
    return pj_uuid(uuid);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "projectionist/json.h"

#include "base/fit.h"
#include "base/json_numbers.h"
#include "base/memory.h"
#include "base/time_text.h"
#include "fold/fold_internal.h"

#include <math.h>
#include <stdlib.h>

/* A text asked for again is nearly always one of the last few. */
enum { LOOK_BACK = 16 };

static const double integers_exact = 9007199254740992.0; /* 2^53 */

static json_t *load(const struct pj_value *json)
{
    const char *text = json->text.data;
    json_error_t reason;
    json_t *tree = json_loadb(text, json->text.length, JSON_DECODE_ANY, &reason);
    if (tree == NULL && json_error_code(&reason) == json_error_numeric_overflow)
        tree = pj_json_load(text, json->text.length, PJ_WIDE_AS_REAL, 0);
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
    *entry = (struct parsed_json){
        .text = json->text.data, .length = json->text.length, .tree = load(json)};
    return entry->tree;
}

static struct pj_value text_of(struct pj_arena *arena, const json_t *string)
{
    if (!json_is_string(string))
        return pj_null();
    size_t length = json_string_length(string);
    return pj_text_of(pj_arena_string(arena, json_string_value(string), length), length);
}

void pj_fold_release_json(struct pj_fold *fold)
{
    while (fold->parsed_count > 0) {
        struct parsed_json *entry = &fold->parsed[--fold->parsed_count];
        json_decref(entry->tree);
        json_decref(entry->digits);
    }
}

/* --- numbers with all their digits ----------------------------------------------------------- */

static int compare_numbers(const void *a, const void *b)
{
    const struct json_number *x = a;
    const struct json_number *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

/* Pairs the reals of a tree with the texts of the same tree read as texts. */
static void pair_numbers(struct parsed_json *entry, const json_t *tree, const json_t *digits,
                         struct pj_arena *arena)
{
    const char *name;
    json_t *item;
    size_t i;
    if (json_is_real(tree) && json_is_string(digits)) {
        entry->numbers = pj_fold_grown(arena, entry->numbers, entry->number_count,
                                       &entry->number_capacity, sizeof *entry->numbers);
        entry->numbers[entry->number_count++] = (struct json_number){tree, digits};
    } else if (json_is_array(tree)) {
        json_array_foreach((json_t *)tree, i, item)
            pair_numbers(entry, item, json_array_get(digits, i), arena);
    } else if (json_is_object(tree)) {
        json_object_foreach((json_t *)tree, name, item)
            pair_numbers(entry, item, json_object_get(digits, name), arena);
    }
}

static const json_t *digits_of(struct pj_fold *fold, const json_t *number)
{
    for (size_t i = fold->parsed_count; i-- > 0;) {
        struct parsed_json *entry = &fold->parsed[i];
        if (entry->digits == NULL && entry->tree != NULL) {
            entry->digits = pj_json_load(entry->text, entry->length, PJ_REALS_AS_TEXT, 0);
            pair_numbers(entry, entry->tree, entry->digits, fold->arena);
            if (entry->number_count > 0)
                qsort(entry->numbers, entry->number_count, sizeof *entry->numbers, compare_numbers);
        }
        const struct json_number wanted = {number, NULL};
        const struct json_number *found =
            entry->number_count > 0 ? bsearch(&wanted, entry->numbers, entry->number_count,
                                              sizeof wanted, compare_numbers)
                                    : NULL;
        if (found != NULL)
            return found->digits;
    }
    return NULL;
}

struct pj_value pj_fold_numeric(struct pj_fold *fold, const json_t *number)
{
    if (json_is_integer(number))
        return pj_text(
            pj_arena_printf(fold->arena, "%" JSON_INTEGER_FORMAT, json_integer_value(number)));
    const json_t *digits = json_is_real(number) ? digits_of(fold, number) : NULL;
    if (digits == NULL && json_is_real(number)) /* not of a text parsed here */
        return pj_text(pj_arena_printf(fold->arena, "%.17g", json_real_value(number)));
    return digits != NULL ? text_of(fold->arena, digits) : pj_null();
}

static void print_scalar(struct pj_builder *out, const json_t *json)
{
    char *text = pj_must(json_dumps(json, JSON_ENCODE_ANY));
    pj_builder_add(out, "%s", text);
    free(text);
}

static void print_tree(struct pj_fold *fold, struct pj_builder *out, const json_t *json)
{
    const char *name;
    json_t *item;
    size_t i;
    if (json_is_real(json)) {
        struct pj_value number = pj_fold_numeric(fold, json);
        pj_builder_add_bytes(out, number.text.data, number.text.length);
    } else if (json_is_array(json)) {
        json_array_foreach((json_t *)json, i, item)
        {
            pj_builder_add(out, i == 0 ? "[" : ",");
            print_tree(fold, out, item);
        }
        pj_builder_add(out, json_array_size(json) == 0 ? "[]" : "]");
    } else if (json_is_object(json)) {
        const char *before = "{";
        json_object_foreach((json_t *)json, name, item)
        {
            json_t *key = pj_must(json_string(name));
            pj_builder_add(out, "%s", before);
            print_scalar(out, key);
            pj_builder_add(out, ":");
            print_tree(fold, out, item);
            json_decref(key);
            before = ",";
        }
        pj_builder_add(out, json_object_size(json) == 0 ? "{}" : "}");
    } else {
        print_scalar(out, json);
    }
}

static struct pj_value subtree(struct pj_fold *fold, const json_t *json)
{
    if (json == NULL)
        return pj_null();
    struct pj_builder out = {0};
    print_tree(fold, &out, json);
    struct pj_value value =
        pj_text_of(pj_arena_copy(fold->arena, out.text, out.length), out.length);
    free(out.text);
    return value;
}

struct pj_value pj_observer_subtree(struct pj_observer *observer, const json_t *json)
{
    return subtree(observer->fold, json);
}

struct pj_value pj_derivation_subtree(struct pj_derivation *derivation, const json_t *json)
{
    return subtree(derivation->fold, json);
}

struct pj_value pj_observer_numeric(struct pj_observer *observer, const json_t *number)
{
    return pj_fold_numeric(observer->fold, number);
}

struct pj_value pj_derivation_numeric(struct pj_derivation *derivation, const json_t *number)
{
    return pj_fold_numeric(derivation->fold, number);
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
    /* 2^53 itself may be a rounded 2^53 + 1. */
    if (!json_is_real(number) || fabs(real) >= integers_exact || real != trunc(real))
        return pj_null();
    return pj_bigint((int64_t)real);
}

struct pj_value pj_json_int(const json_t *number)
{
    struct pj_value value = pj_json_integer(number);
    return pj_value_fits(PJ_INT, &value) ? value : pj_null();
}

struct pj_value pj_json_double(const json_t *number)
{
    return json_is_number(number) ? pj_double(json_number_value(number)) : pj_null();
}

struct pj_value pj_json_bool(const json_t *json)
{
    return json_is_boolean(json) ? pj_bool(json_is_true(json)) : pj_null();
}

struct pj_value pj_json_time(const json_t *string)
{
    int64_t time;
    return json_is_string(string) && pj_time_read(json_string_value(string), &time)
               ? pj_timestamp(time)
               : pj_null();
}

struct pj_value pj_json_uuid(const json_t *string)
{
    uint8_t uuid[16];
    if (!json_is_string(string) ||
        !pj_uuid_parse(json_string_value(string), json_string_length(string), uuid))
        return pj_null();
    return pj_uuid(uuid);
}

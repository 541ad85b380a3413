/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/check.h"

#include "base/fit.h"
#include "base/form.h"
#include "base/jsonb.h"
#include "base/utf8.h"
#include "fold/numeric.h"
#include "fold/row_key.h"

#include <ctype.h>
#include <stdlib.h>

static int refuse(struct pj_error *error, const char *sqlstate)
{
    pj_text_whole(error->sqlstate, sizeof error->sqlstate, "%s", sqlstate);
    return -1;
}

/* The first byte that is not part of a text; NULL: it is one. */
static const char *find_invalid(const struct pj_value *value)
{
    const char *at = value->text.data;
    const char *end = at + value->text.length;
    while (at < end) {
        size_t length = *at != '\0' ? pj_utf8_length(at, (size_t)(end - at)) : 0;
        if (length == 0)
            return at;
        at += length;
    }
    return NULL;
}

struct pj_value pj_bytes_text(const struct pj_value *bytes)
{
    return bytes->present && find_invalid(bytes) == NULL ? *bytes : pj_null();
}

static int check_text(const struct pj_field *field, const struct pj_value *value,
                      struct pj_error *error)
{
    const char *invalid = find_invalid(value);
    if (invalid == NULL)
        return 0;
    pj_error_set(error, PJ_POISON, "%s has an invalid byte sequence for a UTF-8 text: 0x%02x",
                 field->path, (unsigned char)*invalid);
    return refuse(error, "22021");
}

static int check_json(const struct pj_field *field, const struct pj_value *value,
                      struct pj_error *error)
{
    struct pj_jsonb_fault fault;
    if (pj_jsonb_holds(value->text.data, value->text.length, &fault))
        return 0;
    pj_error_set(error, PJ_POISON, "%s %s", field->path, fault.reason);
    return refuse(error, fault.sqlstate);
}

/* --- rules of a field ------------------------------------------------------------------------ */

static int breaks(const struct pj_field *field, const struct pj_value *value, const char *rule,
                  struct pj_error *error)
{
    enum { SHOWN = 80 };
    struct pj_builder shown = {0};
    pj_value_print(&shown, field->type, value, SHOWN);
    char *text = pj_builder_take(&shown);
    const char *quote = field->type == PJ_TEXT ? "\"" : "";
    int status = pj_error_set(error, PJ_POISON, "%s is %s%s%s, but %s", field->path, quote, text,
                              quote, rule);
    free(text);
    return status;
}

static int breaks_words(const struct pj_field *field, const struct pj_value *value,
                        struct pj_error *error)
{
    struct pj_builder rule = {0};
    for (size_t i = 0; field->words[i] != NULL; i++)
        pj_builder_add(&rule, "%s%s", i == 0 ? "must be one of " : ", ", field->words[i]);
    char *text = pj_builder_take(&rule);
    int status = breaks(field, value, text, error);
    free(text);
    return status;
}

static int breaks_bound(const struct pj_field *field, const struct pj_value *value,
                        struct pj_error *error, const char *format, const char *bound)
{
    char *rule = pj_text_new("%s %s", format, bound);
    int status = breaks(field, value, rule, error);
    free(rule);
    return status;
}

static bool is_word(const struct pj_field *field, const struct pj_value *value)
{
    size_t i = 0;
    while (field->words[i] != NULL && !pj_text_is(value, field->words[i]))
        i++;
    return field->words[i] != NULL;
}

/* <0, 0 or >0, as the number is less than the bound, equal or greater; a NaN is both. */
static bool compares(const struct pj_field *field, const struct pj_value *value, const char *bound,
                     int sign)
{
    struct pj_value limit = pj_text(bound);
    if (field->type == PJ_DOUBLE)
        return !(sign < 0 ? value->real >= strtod(bound, NULL)
                          : value->real <= strtod(bound, NULL));
    char text[24];
    struct pj_value number = *value;
    if (field->type != PJ_NUMERIC)
        number =
            pj_text_of(text, pj_text_whole(text, sizeof text, "%lld", (long long)value->integer));
    int64_t digits;
    if (!pj_numeric_digits(&number, &digits, &digits))
        return true;
    int compared = pj_numeric_compare(&number, &limit);
    return sign < 0 ? compared < 0 : compared > 0;
}

static int check_rules(const struct pj_field *field, const struct pj_value *value,
                       struct pj_error *error)
{
    if (field->words != NULL && !is_word(field, value))
        return breaks_words(field, value, error);
    if (field->form != PJ_FORM_ANY && !pj_form_holds(field->form, value))
        return breaks_bound(field, value, error, "must be", pj_form_name(field->form));
    if (field->least != NULL && compares(field, value, field->least, -1))
        return breaks_bound(field, value, error, "must be at least", field->least);
    if (field->most != NULL && compares(field, value, field->most, 1))
        return breaks_bound(field, value, error, "must be at most", field->most);
    int64_t whole;
    int64_t fraction;
    if (field->precision > 0 &&
        (!pj_numeric_digits(value, &whole, &fraction) || fraction > field->scale ||
         whole > field->precision - field->scale)) {
        char numeric[32];
        pj_text_whole(numeric, sizeof numeric, "NUMERIC(%d, %d)", field->precision, field->scale);
        return breaks_bound(field, value, error, "must fit a", numeric);
    }
    return 0;
}

static bool changes(const struct pj_field *fields, size_t count)
{
    bool any = false;
    for (size_t i = 0; i < count && !any; i++)
        any = fields[i].empty_is_null || fields[i].rounded ||
              (fields[i].items != NULL &&
               changes(fields[i].items->fields, fields[i].items->field_count));
    return any;
}

static int check_field(const struct pj_field *field, struct pj_value *value, bool json,
                       struct pj_arena *arena, struct pj_error *error)
{
    if (field->empty_is_null && value->present && value->text.length == 0)
        *value = pj_null();
    if (!value->present)
        return 0;
    if (field->rounded)
        *value = pj_numeric_round(value, field->scale, arena);
    if (field->type == PJ_TEXT && check_text(field, value, error) != 0)
        return -1;
    if (field->type == PJ_JSONB && json && check_json(field, value, error) != 0)
        return -1;
    return check_rules(field, value, error);
}

static int check_fields(const struct pj_field *fields, size_t count, struct pj_value *values,
                        bool json, struct pj_arena *arena, struct pj_error *error);

/* Items are read only: what changes is a copy of them. */
static int check_items(const struct pj_field *field, struct pj_value *array, bool json,
                       struct pj_arena *arena, struct pj_error *error)
{
    const struct pj_items *of = field->items;
    size_t width = array->items.width;
    size_t size = pj_items_count(array) * width * sizeof(struct pj_value);
    struct pj_value *values = (struct pj_value *)array->items.values;
    if (size > 0 && changes(of->fields, of->field_count))
        array->items.values = values = pj_arena_copy(arena, values, size);
    for (size_t i = 0; i < pj_items_count(array); i++) {
        if (check_fields(of->fields, of->field_count, &values[i * width], json, arena, error) !=
            0) {
            pj_error_in_item(error, field->path, i);
            return -1;
        }
    }
    return 0;
}

static int check_fields(const struct pj_field *fields, size_t count, struct pj_value *values,
                        bool json, struct pj_arena *arena, struct pj_error *error)
{
    for (size_t i = 0; i < count; i++) {
        const struct pj_field *field = &fields[i];
        if (field->items != NULL ? check_items(field, &values[i], json, arena, error) != 0
                                 : check_field(field, &values[i], json, arena, error) != 0)
            return -1;
    }
    return 0;
}

int pj_check_values(const struct pj_source *source, struct pj_value *values, bool json,
                    struct pj_arena *arena, struct pj_error *error)
{
    return check_fields(source->fields, source->field_count, values, json, arena, error);
}

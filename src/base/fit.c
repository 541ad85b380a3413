/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fit.h"

#include "base/text.h"

#include <stdlib.h>

/* timestamptz begins in 4714 BC; its end is beyond 64 bits of microseconds. INT64_MIN is its
 * -infinity. */
static const int64_t first_time = -INT64_C(210866803200000000);

/* Postgres stores no value of a gigabyte. */
enum { TEXT_MOST = (1 << 30) - 1024 };

static const struct {
    const char *name;
    enum pj_shape shape;
} types[] = {
    [PJ_BOOL] = {"PJ_BOOL", PJ_SHAPE_BOOLEAN},
    [PJ_INT] = {"PJ_INT", PJ_SHAPE_INTEGER},
    [PJ_BIGINT] = {"PJ_BIGINT", PJ_SHAPE_INTEGER},
    [PJ_DOUBLE] = {"PJ_DOUBLE", PJ_SHAPE_REAL},
    [PJ_TEXT] = {"PJ_TEXT", PJ_SHAPE_TEXT},
    [PJ_UUID] = {"PJ_UUID", PJ_SHAPE_UUID},
    [PJ_TIMESTAMPTZ] = {"PJ_TIMESTAMPTZ", PJ_SHAPE_INTEGER},
    [PJ_JSONB] = {"PJ_JSONB", PJ_SHAPE_TEXT},
    [PJ_NUMERIC] = {"PJ_NUMERIC", PJ_SHAPE_TEXT},
    [PJ_BYTEA] = {"PJ_BYTEA", PJ_SHAPE_TEXT},
    [PJ_COUNTS] = {"PJ_COUNTS", PJ_SHAPE_TEXT},
};

bool pj_type_exists(enum pj_type type)
{
    return (size_t)type < sizeof types / sizeof types[0];
}

const char *pj_type_name(enum pj_type type)
{
    return pj_type_exists(type) ? types[type].name : "an unknown type";
}

enum pj_shape pj_type_shape(enum pj_type type)
{
    return types[type].shape;
}

static bool right_shape(enum pj_type type, const struct pj_value *value)
{
    if (value->shape != PJ_SHAPE_UNSAID && value->shape != types[type].shape)
        return false;
    if (types[type].shape != PJ_SHAPE_TEXT)
        return true;
    return (value->text.data != NULL || value->text.length == 0) &&
           (type != PJ_COUNTS || value->text.length % sizeof(int64_t) == 0);
}

bool pj_value_fits(enum pj_type type, const struct pj_value *value)
{
    if (!value->present)
        return true;
    if (!right_shape(type, value))
        return false;
    switch (type) {
    case PJ_INT:
        return value->integer >= INT32_MIN && value->integer <= INT32_MAX;
    case PJ_TIMESTAMPTZ:
        return value->integer >= first_time || value->integer == INT64_MIN;
    case PJ_BOOL:
    case PJ_BIGINT:
    case PJ_DOUBLE:
    case PJ_UUID:
        return true;
    case PJ_TEXT:
    case PJ_JSONB:
    case PJ_NUMERIC:
    case PJ_BYTEA:
    case PJ_COUNTS:
        return value->text.length <= TEXT_MOST;
    }
    return false;
}

static int refuse(struct pj_error *error, const char *sqlstate)
{
    memcpy(error->sqlstate, sqlstate, sizeof error->sqlstate);
    return -1;
}

int pj_value_misfit(enum pj_type type, const struct pj_value *value, const char *what,
                    struct pj_error *error)
{
    static const char *const shapes[] = {"a string without bytes",
                                         "a boolean",
                                         "an integer",
                                         "a floating-point number",
                                         "a UUID",
                                         "a string",
                                         "items"};
    if (!right_shape(type, value)) {
        bool counts = type == PJ_COUNTS && value->text.data != NULL;
        return pj_error_fatal(
            error, PJ_EXIT_DECLARATION,
            "%s is a %s, but was given %s; correct the type or the value", what, types[type].name,
            counts ? "what is not an array of 64-bit integers"
                   : shapes[value->shape == types[type].shape ? 0 : value->shape]);
    }
    if (type == PJ_INT) {
        pj_error_set(error, PJ_POISON,
                     "%s is %lld, but a PJ_INT holds -2147483648 to 2147483647 (a PJ_BIGINT more)",
                     what, (long long)value->integer);
        return refuse(error, "22003");
    }
    if (type == PJ_TIMESTAMPTZ) {
        pj_error_set(error, PJ_POISON,
                     "%s is %lld microseconds since 1970, but a timestamptz begins in 4714 BC",
                     what, (long long)value->integer);
        return refuse(error, "22008");
    }
    pj_error_set(error, PJ_POISON, "%s is %zu bytes long, but Postgres allows less than 1 GiB",
                 what, value->text.length);
    return refuse(error, "54000");
}

void pj_error_in_item(struct pj_error *error, const char *path, size_t index)
{
    const char *rest = error->message;
    char *message =
        pj_text_new("%s[%zu]%s%s", path, index, *rest == ' ' || *rest == '[' ? "" : ".", rest);
    pj_text_show(error->message, sizeof error->message, "%s", message);
    free(message);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/numeric.h"

#include "base/decimal.h"

static bool read_decimal(const struct pj_value *value, struct pj_decimal *decimal)
{
    return pj_decimal_read(value->text.data, value->text.length, decimal);
}

static int compare_digits(const struct pj_decimal *a, const struct pj_decimal *b)
{
    const char *x = a->digits;
    const char *y = b->digits;
    for (;;) {
        char one = pj_decimal_digit(a, &x);
        char other = pj_decimal_digit(b, &y);
        if (one != other || one == '\0')
            return (one > other) - (one < other);
    }
}

int pj_numeric_compare(const struct pj_value *a, const struct pj_value *b)
{
    struct pj_decimal x;
    struct pj_decimal y;
    bool is_x = read_decimal(a, &x);
    bool is_y = read_decimal(b, &y);
    if (!is_x || !is_y)
        return is_x != is_y ? (int)is_x - (int)is_y : pj_value_compare(PJ_TEXT, a, b);
    if (x.sign != y.sign || x.sign == 0)
        return x.sign - y.sign;
    if (x.point != y.point)
        return x.point < y.point ? -x.sign : x.sign;
    return x.sign * compare_digits(&x, &y);
}

bool pj_numeric_digits(const struct pj_value *value, int64_t *whole, int64_t *fraction)
{
    struct pj_decimal decimal;
    if (!read_decimal(value, &decimal))
        return false;
    int64_t point = decimal.sign != 0 ? decimal.point : 0;
    *whole = point > 0 ? point : 0;
    *fraction = decimal.count > point ? decimal.count - point : 0;
    return true;
}

void pj_numeric_print_key(struct pj_builder *out, const struct pj_value *value)
{
    struct pj_decimal decimal;
    if (!read_decimal(value, &decimal)) {
        uint64_t length = value->text.length;
        pj_builder_add_bytes(out, &length, sizeof length);
        pj_builder_add_bytes(out, value->text.data, value->text.length);
        return;
    }
    pj_builder_add(out, "%d,%lld,", decimal.sign, decimal.sign == 0 ? 0 : (long long)decimal.point);
    const char *at = decimal.digits;
    for (char digit; (digit = pj_decimal_digit(&decimal, &at)) != '\0';)
        pj_builder_add_bytes(out, &digit, 1);
    pj_builder_add(out, ";");
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/numeric.h"

#include "base/decimal.h"

#include <ctype.h>

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

/* Of what is not a number: -Infinity, numbers (0), Infinity, NaN. */
static int rank(const struct pj_value *value)
{
    size_t i = 0;
    while (i + 1 < value->text.length && isspace((unsigned char)value->text.data[i]))
        i++;
    char first = value->text.length > 0 ? value->text.data[i] : '\0';
    return first == '-' ? -1 : first == 'n' || first == 'N' ? 2 : 1;
}

int pj_numeric_compare(const struct pj_value *a, const struct pj_value *b)
{
    struct pj_decimal x;
    struct pj_decimal y;
    bool is_x = read_decimal(a, &x);
    bool is_y = read_decimal(b, &y);
    if (!is_x || !is_y) {
        int compared = (is_x ? 0 : rank(a)) - (is_y ? 0 : rank(b));
        return compared != 0 || is_x || is_y ? compared : pj_value_compare(PJ_TEXT, a, b);
    }
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

/* --- adding ---------------------------------------------------------------------------------- */

enum { DIGITS_MOST = 1000 };

/* The digits, with `whole` of them before the point. */
static void spread(const struct pj_decimal *decimal, int64_t whole, char *digits)
{
    const char *at = decimal->digits;
    int64_t place = whole - decimal->point;
    for (char digit; (digit = pj_decimal_digit(decimal, &at)) != '\0';)
        digits[place++] = (char)(digit - '0');
}

/* sum = x + y, or x - y where x is not less. */
static void add_digits(char *sum, const char *x, const char *y, int64_t count, bool minus)
{
    int carry = 0;
    for (int64_t i = count; i-- > 0;) {
        int digit = x[i] + (minus ? -y[i] : y[i]) + carry;
        carry = digit < 0 ? -1 : digit > 9;
        sum[i] = (char)(digit - carry * 10);
    }
}

static struct pj_value print_digits(const char *digits, int64_t whole, int64_t count, bool minus,
                                    struct pj_arena *arena)
{
    int64_t from = 0;
    while (from < whole - 1 && digits[from] == 0)
        from++;
    while (count > whole && digits[count - 1] == 0)
        count--;
    char *text = pj_arena_alloc(arena, (size_t)(count - from) + 3);
    size_t length = 0;
    if (minus)
        text[length++] = '-';
    for (int64_t i = from; i < count; i++) {
        if (i == whole)
            text[length++] = '.';
        text[length++] = (char)('0' + digits[i]);
    }
    return pj_text_of(text, length);
}

bool pj_numeric_add(const struct pj_value *a, const struct pj_value *b, int sign,
                    struct pj_arena *arena, struct pj_value *sum)
{
    struct pj_decimal x;
    struct pj_decimal y;
    int64_t wholes[2];
    int64_t fractions[2];
    if (!read_decimal(a, &x) || !read_decimal(b, &y) ||
        !pj_numeric_digits(a, &wholes[0], &fractions[0]) ||
        !pj_numeric_digits(b, &wholes[1], &fractions[1]))
        return false;
    int64_t whole = 1 + (wholes[0] > wholes[1] ? wholes[0] : wholes[1]);
    int64_t count = whole + (fractions[0] > fractions[1] ? fractions[0] : fractions[1]);
    if (whole > DIGITS_MOST || count > DIGITS_MOST)
        return false;
    char digits[3][DIGITS_MOST] = {{0}};
    spread(&x, whole, digits[0]);
    spread(&y, whole, digits[1]);
    bool minus = x.sign < 0;
    bool opposed = x.sign * y.sign * sign < 0;
    bool swapped = opposed && memcmp(digits[0], digits[1], (size_t)count) < 0;
    if (x.sign == 0 || swapped)
        minus = y.sign * sign < 0;
    add_digits(digits[2], digits[swapped], digits[!swapped], count, opposed);
    bool zero = true;
    for (int64_t i = 0; i < count; i++)
        zero = zero && digits[2][i] == 0;
    *sum = print_digits(digits[2], whole, count, minus && !zero, arena);
    return true;
}

/* The first digit that is left out decides. */
struct pj_value pj_numeric_round(const struct pj_value *value, int64_t scale,
                                 struct pj_arena *arena)
{
    struct pj_decimal decimal;
    int64_t whole;
    int64_t fraction;
    if (!read_decimal(value, &decimal) || !pj_numeric_digits(value, &whole, &fraction) ||
        fraction <= scale || ++whole + scale >= DIGITS_MOST)
        return *value;
    char digits[DIGITS_MOST] = {0};
    int64_t count = whole + scale;
    int64_t place = whole - decimal.point;
    const char *at = decimal.digits;
    for (char digit; place <= count && (digit = pj_decimal_digit(&decimal, &at)) != '\0';)
        digits[place++] = (char)(digit - '0');
    int carry = digits[count] >= 5;
    bool zero = true;
    for (int64_t i = count; i-- > 0;) {
        int digit = digits[i] + carry;
        carry = digit > 9;
        digits[i] = (char)(digit - carry * 10);
        zero = zero && digits[i] == 0;
    }
    return print_digits(digits, whole, count, decimal.sign < 0 && !zero, arena);
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/decimal.h"

#include <ctype.h>

enum { EXPONENT_MOST = 1000000 };

static bool is_digit(const char *at, const char *end)
{
    return at < end && isdigit((unsigned char)*at);
}

/* Up to the exponent or the end. */
static const char *read_digits(struct pj_decimal *decimal, const char *at, const char *end)
{
    int64_t seen = 0;
    bool fraction = false;
    for (; is_digit(at, end) || (at < end && (*at == '_' || (*at == '.' && !fraction))); at++) {
        if (*at == '.') {
            fraction = true;
        } else if (*at == '_') {
            continue;
        } else if (*at == '0' && seen == 0) {
            decimal->point -= fraction;
        } else {
            seen++;
            decimal->point += !fraction;
            if (*at == '0')
                continue;
            decimal->digits = decimal->digits != NULL ? decimal->digits : at;
            decimal->end = at + 1;
            decimal->count = seen;
        }
    }
    return at;
}

bool pj_decimal_read(const char *text, size_t length, struct pj_decimal *decimal)
{
    const char *at = text;
    const char *end = at + length;
    *decimal = (struct pj_decimal){.sign = 1};
    while (end > at && isspace((unsigned char)end[-1]))
        end--;
    while (at < end && isspace((unsigned char)*at))
        at++;
    if (at < end && (*at == '+' || *at == '-'))
        decimal->sign = *at++ == '-' ? -1 : 1;
    if (!is_digit(at, end) && !(at < end && *at == '.' && is_digit(at + 1, end)))
        return false;
    at = read_digits(decimal, at, end);
    if (at + 1 < end && (*at == 'e' || *at == 'E')) {
        bool negative = at[1] == '-';
        int64_t exponent = 0;
        for (at += at[1] == '-' || at[1] == '+' ? 2 : 1; is_digit(at, end); at++) {
            decimal->is_cut = exponent >= EXPONENT_MOST;
            exponent = decimal->is_cut ? exponent : exponent * 10 + (*at - '0');
        }
        decimal->point += negative ? -exponent : exponent;
    }
    if (decimal->digits == NULL)
        decimal->sign = 0;
    return at == end;
}

char pj_decimal_digit(const struct pj_decimal *decimal, const char **at)
{
    while (*at < decimal->end && !isdigit((unsigned char)**at))
        (*at)++;
    return *at < decimal->end ? *(*at)++ : '\0';
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time_text.h"

#include "base/text.h"

#include <time.h>

/* Reads that many digits; -1 if there are fewer. */
static int digits(const char **text, int count)
{
    int number = 0;
    for (int i = 0; i < count; i++, (*text)++) {
        if (**text < '0' || **text > '9')
            return -1;
        number = number * 10 + (**text - '0');
    }
    return number;
}

static bool skip(const char **text, const char *one_of)
{
    for (; *one_of != '\0'; one_of++) {
        if (**text == *one_of) {
            (*text)++;
            return true;
        }
    }
    return false;
}

/* Digits after the sixth are dropped: nothing here is finer than a microsecond. */
static int64_t fraction(const char **text)
{
    int64_t microseconds = 0;
    for (int64_t unit = 100000; **text >= '0' && **text <= '9'; unit /= 10, (*text)++)
        microseconds += (**text - '0') * unit;
    return microseconds;
}

static bool read_zone(const char **text, int64_t *seconds)
{
    *seconds = 0;
    if (skip(text, "Zz"))
        return true;
    bool west = **text == '-';
    if (!skip(text, "+-"))
        return false;
    int hours = digits(text, 2);
    bool colon = skip(text, ":");
    int minutes = digits(text, 2);
    if (hours < 0 || hours > 23 || !colon || minutes < 0 || minutes > 59)
        return false;
    *seconds = (west ? 1 : -1) * (hours * 3600 + minutes * 60);
    return true;
}

bool pj_time_read(const char *text, int64_t *microseconds)
{
    int64_t zone;
    int64_t part = 0;
    struct tm tm = {0};
    tm.tm_year = digits(&text, 4) - 1900;
    if (tm.tm_year < -1900 || !skip(&text, "-"))
        return false;
    tm.tm_mon = digits(&text, 2) - 1;
    if (tm.tm_mon < 0 || !skip(&text, "-"))
        return false;
    tm.tm_mday = digits(&text, 2);
    if (tm.tm_mday < 1 || !skip(&text, "Tt "))
        return false;
    tm.tm_hour = digits(&text, 2);
    if (tm.tm_hour < 0 || !skip(&text, ":"))
        return false;
    tm.tm_min = digits(&text, 2);
    if (tm.tm_min < 0 || !skip(&text, ":"))
        return false;
    tm.tm_sec = digits(&text, 2);
    if (tm.tm_sec < 0 || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 59)
        return false;
    if (skip(&text, "."))
        part = fraction(&text);
    if (!read_zone(&text, &zone) || *text != '\0')
        return false;
    struct tm given = tm;
    int64_t seconds = timegm(&tm);
    /* timegm turns the 30th of February into the 2nd of March. */
    if (tm.tm_mday != given.tm_mday || tm.tm_mon != given.tm_mon)
        return false;
    *microseconds = (seconds + zone) * 1000000 + part;
    return true;
}

int pj_time_parse(const char *name, const char *text, int64_t *microseconds, struct pj_error *error)
{
    if (pj_time_read(text, microseconds))
        return 0;
    return pj_error_fatal(error, PJ_EXIT_USAGE,
                          "%s '%s' is not a time such as 2026-11-21T05:06:34Z (RFC 3339)", name,
                          text);
}

bool pj_time_format(char text[PJ_TIME_TEXT_SIZE], int64_t time, int digits)
{
    int64_t per_second = 1;
    for (int i = 0; i < digits; i++)
        per_second *= 10;
    int64_t rest = time % per_second;
    time_t seconds = (time_t)(time / per_second - (rest < 0)); /* the second that it is in */
    rest += rest < 0 ? per_second : 0;
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL)
        return false;
    size_t length = strftime(text, PJ_TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    pj_text_whole(text + length, PJ_TIME_TEXT_SIZE - length, ".%0*lldZ", digits, (long long)rest);
    return length > 0;
}

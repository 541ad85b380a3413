/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of values, what is secret, and suggestions for misspelt names. */
#include "base/config_internal.h"
#include "base/secret.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

enum { SECRET_MOST = 8192 };

struct unit {
    const char *name;
    int64_t factor;
};

/* The largest first: a bound is shown in the largest unit that divides it. */
static const struct unit durations[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000},
                                        {"s", 1000},     {"ms", 1},      {NULL, 0}};
static const struct unit sizes[] = {{"TiB", INT64_C(1) << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20},
                                    {"KiB", 1 << 10},          {"", 1},          {NULL, 0}};
static const struct unit numbers[] = {{"", 1}, {NULL, 0}};

static void show(char *out, size_t size, const struct unit *units, int64_t value)
{
    while (value % units->factor != 0)
        units++;
    pj_text_whole(out, size, "%" PRId64 "%s", value / units->factor, value != 0 ? units->name : "");
}

/* Both at 0 in the table means no bounds. */
static int check_bounds(const char *name, const struct unit *units, int64_t least, int64_t most,
                        int64_t value, struct pj_error *error)
{
    char texts[3][40];
    if ((least == 0 && most == 0) || (value >= least && value <= most))
        return 0;
    show(texts[0], sizeof texts[0], units, least);
    show(texts[1], sizeof texts[1], units, most);
    show(texts[2], sizeof texts[2], units, value);
    return pj_error_fatal(error, PJ_EXIT_USAGE, "%s: must be between %s and %s, not %s", name,
                          texts[0], texts[1], texts[2]);
}

/* A number and a unit; the whole text, with nothing around it. */
static int parse(const char *name, const char *text, const struct unit *units, const char *wanted,
                 int64_t least, int64_t most, int64_t *value, struct pj_error *error)
{
    char *end = NULL;
    bool readable =
        isdigit((unsigned char)text[0]) || (text[0] == '-' && isdigit((unsigned char)text[1]));
    errno = 0;
    intmax_t number = readable ? strtoimax(text, &end, 10) : 0;
    bool fits = errno == 0;
    int64_t result = 0;
    if (readable) {
        const struct unit *unit = units;
        while (unit->name != NULL && strcmp(end, unit->name) != 0)
            unit++;
        /* Zero is the same in every unit. */
        readable = unit->name != NULL || (number == 0 && *end == '\0');
        fits =
            fits && !__builtin_mul_overflow(number, unit->name != NULL ? unit->factor : 1, &result);
    }
    if (!readable)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "%s: '%.80s' is not %s", name, text, wanted);
    if (!fits)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "%s: '%.80s' is too large", name, text);
    if (check_bounds(name, units, least, most, result, error) != 0)
        return -1;
    *value = result;
    return 0;
}

int pj_parse_integer(const char *name, const char *text, int64_t least, int64_t most,
                     int64_t *value, struct pj_error *error)
{
    return parse(name, text, numbers, "a whole number", least, most, value, error);
}

int pj_parse_duration(const char *name, const char *text, int64_t least, int64_t most,
                      int64_t *value_ms, struct pj_error *error)
{
    return parse(name, text, durations, "a duration such as 250ms, 30s, 5m or 2h", least, most,
                 value_ms, error);
}

int pj_parse_size(const char *name, const char *text, int64_t least, int64_t most, int64_t *value,
                  struct pj_error *error)
{
    return parse(name, text, sizes, "a size such as 512, 64KiB, 8MiB or 1GiB", least, most, value,
                 error);
}

static int parse_bool(const char *source, const char *text, bool *value, struct pj_error *error)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
            *value = strcasecmp(text, yes[i]) == 0;
            return 0;
        }
    }
    return pj_error_fatal(error, PJ_EXIT_USAGE, "%s: must be true or false, not '%.80s'", source,
                          text);
}

static int choice_error(const struct pj_option *option, const char *source, const char *text,
                        struct pj_error *error)
{
    char list[256];
    size_t length = 0;
    for (const char *c = option->choices; *c != '\0' && length + 3 < sizeof list; c++) {
        if (*c == '|')
            list[length++] = ',';
        list[length++] = *c == '|' ? ' ' : *c;
    }
    list[length] = '\0';
    return pj_error_fatal(error, PJ_EXIT_USAGE, "%s: must be one of %s, not '%.80s'", source, list,
                          text);
}

/* A stray byte in a secret would otherwise only show when it does not work. */
static int check_secret(const struct pj_option *option, const char *source, const char *text,
                        struct pj_error *error)
{
    size_t length = strlen(text);
    if (length == 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "%s: must not be empty; leave it out if there is none", source);
    if (length > SECRET_MOST)
        return pj_error_fatal(
            error, PJ_EXIT_USAGE,
            "%s: is longer than %d bytes, too long for a secret; is it the right file?", source,
            SECRET_MOST);
    for (const char *c = text; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        if (option->token ? byte <= ' ' || byte >= 0x7f : byte < ' ' || byte == 0x7f)
            return pj_error_fatal(
                error, PJ_EXIT_USAGE,
                "%s: byte %zu is 0x%02x, which is invalid in a %s; give one line without "
                "%s",
                source, (size_t)(c - text) + 1, byte, option->token ? "token" : "password",
                option->token ? "blanks around it" : "control characters");
    }
    return 0;
}

int pj_config_store(const struct pj_option *option, void *settings, const char *source,
                    const char *text, struct pj_arena *arena, struct pj_error *error)
{
    void *value = (char *)settings + option->offset;
    switch (option->kind) {
    case PJ_OPTION_BOOL:
        return parse_bool(source, text, value, error);
    case PJ_OPTION_INTEGER:
        return pj_parse_integer(source, text, option->least, option->most, value, error);
    case PJ_OPTION_DURATION:
        return pj_parse_duration(source, text, option->least, option->most, value, error);
    case PJ_OPTION_SIZE:
        return pj_parse_size(source, text, option->least, option->most, value, error);
    case PJ_OPTION_CHOICE:
        if (!pj_text_is_of(option->choices, '|', text))
            return choice_error(option, source, text, error);
        break;
    case PJ_OPTION_STRING:
        if (option->filled && *text == '\0')
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "%s: must not be empty; leave it out for the default", source);
        if (option->most > 0 && strlen(text) > (size_t)option->most)
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "%s: has %zu bytes, at most %lld are allowed", source,
                                  strlen(text), (long long)option->most);
        pj_secret_keep_url(text);
        break;
    case PJ_OPTION_SECRET:
        if (check_secret(option, source, text, error) != 0)
            return -1;
        pj_secret_keep(text);
        break;
    }
    *(const char **)value = pj_arena_string(arena, text, strlen(text));
    return 0;
}

void pj_config_variable(const char *name, char variable[PJ_CONFIG_NAME_MOST])
{
    pj_text_whole(variable, PJ_CONFIG_NAME_MOST, PJ_CONFIG_PREFIX "%s", name);
    for (char *c = variable; *c != '\0'; c++)
        *c = *c == '-' || *c == '.' ? '_' : (char)toupper((unsigned char)*c);
}

bool pj_config_key_is_secret(const char *key)
{
    return strcasestr(key, "password") != NULL || strcasestr(key, "secret") != NULL ||
           strcmp(key, "ssl.key.pem") == 0;
}

bool pj_config_holds_password(const char *dsn)
{
    /* postgresql://user:password@host: the part before the last @ of the authority. */
    const char *authority = strstr(dsn, "://");
    if (authority != NULL) {
        authority += 3;
        size_t length = strcspn(authority, "/?#");
        const char *at = memrchr(authority, '@', length);
        const char *colon = at != NULL ? memchr(authority, ':', (size_t)(at - authority)) : NULL;
        if (colon != NULL && colon + 1 < at)
            return true;
    }
    /* password=… and sslpassword=…, in a URI's query as in key=value pairs. */
    for (const char *word = dsn; (word = strcasestr(word, "password")) != NULL;) {
        word += strlen("password");
        if (word[strspn(word, " \t")] == '=')
            return true;
    }
    return false;
}

/* With uniform punctuation, so that batch_records and bootstrap-servers find their names. */
static void normalise(char *out, const char *name)
{
    size_t length = 0;
    for (; name[length] != '\0'; length++) {
        char c = name[length];
        out[length] = c == '_' || c == '.' ? '-' : (char)tolower((unsigned char)c);
    }
    out[length] = '\0';
}

const char *pj_config_suggestion(const struct pj_option *options, const char *const *others,
                                 const char *typed)
{
    char wanted[PJ_CONFIG_NAME_MOST];
    char known[PJ_CONFIG_NAME_MOST];
    const char *nearest = NULL;
    const char *containing = NULL;
    size_t length = strlen(typed);
    if (length < 2 || length >= PJ_CONFIG_NAME_MOST)
        return NULL;
    normalise(wanted, typed);
    size_t least = 1 + length / 4; /* more letters, more typos */
    while (options->name != NULL || *others != NULL) {
        const char *name = options->name != NULL ? (options++)->name : *others++;
        normalise(known, name);
        size_t wrong = pj_text_distance(wanted, known);
        if (wrong < least || (wrong == least && nearest == NULL)) {
            least = wrong;
            nearest = name;
        }
        if (containing == NULL && length >= 4 && strstr(known, wanted) != NULL)
            containing = name;
    }
    return nearest != NULL ? nearest : containing;
}

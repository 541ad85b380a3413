/* SPDX-License-Identifier: Apache-2.0 */
#include "postgres/postgres_settings.h"

#include "base/memory.h"
#include "base/text.h"
#include "base/tls_files.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

enum { PORT_MOST = 65535 };

/* What one source says: the DSN, or postgres.*. */
struct source {
    bool is_dsn;
    PQconninfoOption *options; /* of a DSN */
    const struct pj_properties *properties;
};

static const char *value_of(const struct source *source, const char *keyword)
{
    if (!source->is_dsn)
        return source->properties != NULL ? pj_properties_get(source->properties, keyword) : NULL;
    for (const PQconninfoOption *o = source->options; o->keyword != NULL; o++) {
        if (strcmp(o->keyword, keyword) == 0)
            return o->val;
    }
    return NULL;
}

static int refuse(const struct source *source, const char *keyword, const char *what,
                  struct pj_error *error)
{
    return pj_error_fatal(error, PJ_EXIT_USAGE, "%s%s: %s%s %s",
                          source->is_dsn ? "postgres-dsn" : "postgres.",
                          source->is_dsn ? "" : keyword, source->is_dsn ? "its " : "",
                          source->is_dsn ? keyword : "it", what);
}

/* --- the DSN's text -------------------------------------------------------------------------- */

/* libpq shows the words that it cannot read, and any of them may be a part of a password. */
static void hide_quoted(char *reason)
{
    for (char *quote = reason; (quote = strchr(quote, '"')) != NULL;) {
        char *end = strchr(quote + 1, '"');
        if (end == NULL) {
            *quote = '\0';
            return;
        }
        if (end - quote > 2) {
            memmove(quote + 4, end, strlen(end) + 1);
            memcpy(quote + 1, "...", 3);
            end = quote + 4;
        }
        quote = end + 1;
    }
}

static int read_dsn(struct source *source, const char *dsn, struct pj_error *error)
{
    char *reason = NULL;
    source->options = PQconninfoParse(dsn, &reason);
    if (source->options != NULL)
        return 0;
    char *shown = pj_strdup(pj_must(reason));
    PQfreemem(reason);
    if (strcasestr(dsn, "pass") != NULL || strchr(dsn, '@') != NULL)
        hide_quoted(shown);
    pj_error_fatal(error, PJ_EXIT_USAGE,
                   "the postgres-dsn cannot be read: %.*s; it is a URI such as "
                   "postgresql://USER@HOST/DATABASE, or key=value pairs with quotes around values "
                   "that have blanks",
                   (int)strcspn(shown, "\n"), shown);
    free(shown);
    return -1;
}

/* --- values ---------------------------------------------------------------------------------- */

/* Empty parts are libpq's defaults. */
static bool are_ports(const char *list)
{
    for (const char *item = list; *item != '\0'; item += *item == ',') {
        size_t length = strcspn(item, ",");
        char *end = NULL;
        long port = length > 0 ? strtol(item, &end, 10) : 1;
        if (length > 0 && (strspn(item, "0123456789") != length || port < 1 || port > PORT_MOST))
            return false;
        item += length;
    }
    return true;
}

static int count_items(const char *list)
{
    int count = 1;
    for (; *list != '\0'; list++)
        count += *list == ',';
    return count;
}

static bool is_number(const char *text)
{
    char *end;
    text += strspn(text, " \t");
    long value = strtol(text, &end, 10);
    return end != text && end[strspn(end, " \t")] == '\0' && value >= INT32_MIN &&
           value <= INT32_MAX;
}

static int check_words(const struct source *source, struct pj_error *error)
{
    static const char *const words[][2] = {
        {"sslmode", "disable allow prefer require verify-ca verify-full"},
        {"gssencmode", "disable prefer require"},
        {"channel_binding", "disable prefer require"},
        {"target_session_attrs", "any read-write read-only primary standby prefer-standby"},
    };
    static const char *const numbers[] = {"connect_timeout",  "keepalives",
                                          "keepalives_idle",  "keepalives_interval",
                                          "keepalives_count", "tcp_user_timeout"};
    char what[160];
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const char *value = value_of(source, words[i][0]);
        pj_text_show(what, sizeof what, "must be one of: %s", words[i][1]);
        if (value != NULL && *value != '\0' && !pj_text_is_of(words[i][1], ' ', value))
            return refuse(source, words[i][0], what, error);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const char *value = value_of(source, numbers[i]);
        if (value != NULL && *value != '\0' && !is_number(value))
            return refuse(source, numbers[i], "must be a whole number", error);
    }
    return 0;
}

/* Of Supabase's pooler in transaction mode; see postgres_pooler.c. */
static bool has_pooler_port(const char *list)
{
    for (; list != NULL; list = strchr(list, ',') != NULL ? strchr(list, ',') + 1 : NULL) {
        if (strcspn(list, ",") == 4 && strncmp(list, "6543", 4) == 0)
            return true;
    }
    return false;
}

static int check_hosts(const struct source *source, struct pj_error *error)
{
    const char *host = value_of(source, "host");
    const char *hostaddr = value_of(source, "hostaddr");
    const char *port = value_of(source, "port");
    if (port != NULL && !are_ports(port))
        return refuse(source, "port",
                      "must be a number from 1 to 65535 (in a URI, a / : or @ of a password is "
                      "written as %2F, %3A or %40)",
                      error);
    if (has_pooler_port(port))
        return refuse(source, "port",
                      "6543 is that of Supabase's pooler in transaction mode, in which nothing of "
                      "a session lasts; its session mode has the port 5432",
                      error);
    if (host != NULL && strchr(host, '@') != NULL)
        return refuse(source, "host", "has an @; in a URI, an @ of a password is written as %40",
                      error);
    int hosts = host != NULL ? count_items(host) : 1;
    if (host != NULL && hostaddr != NULL && *hostaddr != '\0' && count_items(hostaddr) != hosts)
        return refuse(source, "hostaddr", "must name as many as host does", error);
    if (hostaddr != NULL && *hostaddr != '\0')
        hosts = count_items(hostaddr);
    if (port != NULL && count_items(port) > 1 && count_items(port) != hosts)
        return refuse(source, "port", "must be one for all hosts, or one for each", error);
    return 0;
}

static int check_files(const struct source *source, struct pj_error *error)
{
    const char *mode = value_of(source, "sslmode");
    const char *roots = value_of(source, "sslrootcert");
    const char *certificate = value_of(source, "sslcert");
    const char *key = value_of(source, "sslkey");
    char settings[3][64];
    static const char *const names[] = {"sslrootcert", "sslcert", "sslkey"};
    for (int i = 0; i < 3; i++)
        pj_text_whole(settings[i], sizeof settings[i], "%s%s",
                      source->is_dsn ? "postgres-dsn: " : "postgres.", names[i]);
    if (mode != NULL && strcmp(mode, "disable") == 0)
        return 0;
    if (roots != NULL && *roots != '\0' && strcmp(roots, "system") != 0 &&
        pj_tls_check_certificates(settings[0], roots, error) != 0)
        return -1;
    /* A key may be one of an engine, ENGINE:ID. */
    const struct pj_tls_pair pair = {
        .certificate_setting = settings[1],
        .certificate = certificate != NULL && *certificate != '\0' ? certificate : NULL,
        .key_setting = settings[2],
        .key = key != NULL && *key == '/' ? key : NULL,
        .password = value_of(source, "sslpassword"),
    };
    return pj_tls_check_pair(&pair, error);
}

static int check_values(const struct source *source, struct pj_error *error)
{
    return check_hosts(source, error) != 0 ? -1 : check_words(source, error);
}

static int check_keywords(const struct pj_properties *properties, struct pj_error *error)
{
    PQconninfoOption *known = pj_must(PQconndefaults());
    int status = 0;
    for (size_t i = 0; i < properties->count && status == 0; i++) {
        const PQconninfoOption *option = known;
        while (option->keyword != NULL && strcmp(option->keyword, properties->items[i].key) != 0)
            option++;
        if (option->keyword == NULL)
            status = pj_error_fatal(error, PJ_EXIT_USAGE,
                                    "postgres.%.100s is not a connection parameter of libpq",
                                    properties->items[i].key);
    }
    PQconninfoFree(known);
    return status;
}

/* --- both sources ---------------------------------------------------------------------------- */

typedef int source_check(const struct source *source, struct pj_error *error);

static int check_both(const struct pj_postgres_settings *settings, source_check *check,
                      struct pj_error *error)
{
    struct source dsn = {.is_dsn = true};
    const struct source own = {.properties = settings->properties};
    const char *text = settings->dsn;
    int status = 0;
    if (text != NULL && (strchr(text, '=') != NULL || strstr(text, "://") != NULL))
        status = read_dsn(&dsn, text, error);
    if (status == 0 && dsn.options != NULL)
        status = check(&dsn, error);
    PQconninfoFree(dsn.options);
    return status == 0 ? check(&own, error) : status;
}

int pj_postgres_check_settings(const struct pj_postgres_settings *settings, struct pj_error *error)
{
    if (settings->properties != NULL && check_keywords(settings->properties, error) != 0)
        return -1;
    return check_both(settings, check_values, error);
}

int pj_postgres_check_files(const struct pj_postgres_settings *settings, struct pj_error *error)
{
    return check_both(settings, check_files, error);
}

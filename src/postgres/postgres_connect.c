/* SPDX-License-Identifier: Apache-2.0 */
#include "postgres/postgres_connect.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "postgres/postgres_settings.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECT_MS = 10000, LOOK_MS = 1000 };

/* What libpq says of settings that it has not come to use: those of its service file and variables
 * are not seen before. */
static bool is_of_settings(const char *message)
{
    static const char *const begins[] = {"invalid ",
                                         "could not match ",
                                         "definition of service ",
                                         "service file ",
                                         "syntax error in service ",
                                         "could not parse network address ",
                                         "nested service specifications not supported",
                                         "Unix-domain socket path "};
    for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++) {
        if (strncmp(message, begins[i], strlen(begins[i])) == 0)
            return true;
    }
    return false;
}

/*
 * libpq has no fields of a connection that failed, only a text: with PQERRORS_VERBOSE it is
 * "FATAL:  28P01: password …" for each host that refused, the first word in the server's language.
 * Two blanks and five characters between colons are the SQLSTATE in all of them. NULL: no more.
 */
static const char *find_sqlstate(const char *message)
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    while ((message = strstr(message, ":  ")) != NULL) {
        message += 3;
        if (strspn(message, letters) == 5 && message[5] == ':' && message[6] == ' ')
            return message;
    }
    return NULL;
}

/* A database that takes no connections (55000) may do so again. */
static enum pj_error_class class_of_refusal(const char *sqlstate)
{
    return strncmp(sqlstate, "55000", 5) == 0 ? PJ_RETRY : pj_postgres_class(sqlstate);
}

/* The refusal that counts: of several hosts one that passes. NULL: none refused, they are away. */
static const char *choose_refusal(const char *message, char sqlstate[6])
{
    const char *chosen = NULL;
    for (const char *at = find_sqlstate(message); at != NULL; at = find_sqlstate(at)) {
        char found[6];
        pj_text_whole(found, sizeof found, "%.5s", at);
        if (chosen != NULL && class_of_refusal(found) != PJ_RETRY)
            continue;
        if (chosen == NULL || class_of_refusal(sqlstate) != PJ_RETRY) {
            chosen = at;
            memcpy(sqlstate, found, sizeof found);
        }
    }
    return chosen;
}

static int fail_connect(PGconn *connection, struct pj_error *error)
{
    const char *message = connection != NULL ? PQerrorMessage(connection) : "out of memory";
    char sqlstate[6] = "";
    const char *refusal = choose_refusal(message, sqlstate);
    if (connection != NULL && refusal == NULL && PQconnectionNeedsPassword(connection))
        return pj_error_fatal(error, PJ_EXIT_DATABASE,
                              "cannot connect to Postgres: it asks for a password, and none is "
                              "given; it can be in PROJECTIONIST_POSTGRES_DSN or "
                              "PROJECTIONIST_POSTGRES_PASSWORD");
    if (refusal == NULL && is_of_settings(message))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "the settings of Postgres cannot be used: %.*s; check the "
                              "postgres-dsn, the variables PG... and the service file",
                              (int)strcspn(message, "\n"), message);
    enum pj_error_class class = refusal != NULL ? class_of_refusal(sqlstate) : PJ_RETRY;
    const char *reason = refusal != NULL ? refusal + strlen("28P01: ") : "";
    int length = (int)strcspn(reason, "\n");
    /* PgBouncer gives this SQLSTATE for everything, permanent or not. */
    if (strcmp(sqlstate, "08P01") == 0 && strstr(message, "startup parameter") != NULL)
        pj_error_fatal(error, PJ_EXIT_DATABASE,
                       "cannot connect to Postgres: %.*s; the postgres-dsn must lead to Postgres "
                       "itself, or to a pooler in session mode that takes the startup parameter "
                       "`options` (PgBouncer does from 1.20 on)",
                       length, reason);
    else if (class == PJ_FATAL)
        pj_error_fatal(error, PJ_EXIT_DATABASE,
                       "cannot connect to Postgres: %.*s (SQLSTATE %s); check the postgres-dsn",
                       length, reason, sqlstate);
    else
        pj_error_set(error, class, "cannot connect to Postgres: %s", message);
    pj_text_whole(error->sqlstate, sizeof error->sqlstate, "%.5s", sqlstate);
    return -1;
}

bool pj_postgres_is_named(const struct pj_postgres_settings *settings)
{
    static const char *const variables[] = {"PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE"};
    if ((settings->dsn != NULL && *settings->dsn != '\0') ||
        (settings->properties != NULL && settings->properties->count > 0))
        return true;
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        if (getenv(variables[i]) != NULL)
            return true;
    }
    return false;
}

/* --- hosts ----------------------------------------------------------------------------------- */

enum { HOST, HOSTADDR, PORT, LISTS };

static const char *const list_names[LISTS] = {"host", "hostaddr", "port"};

/* As a connection has them, each a list with commas; NULL where it is not set. */
struct hosts {
    char *lists[LISTS];
    int count;
    int timeout_s; /* connect_timeout; 0: not set */
};

static void free_hosts(struct hosts *hosts)
{
    for (int i = 0; i < LISTS; i++)
        free(hosts->lists[i]);
    *hosts = (struct hosts){0};
}

static int count_items(const char *list)
{
    int count = list != NULL && *list != '\0';
    for (const char *c = list; count > 0 && *c != '\0'; c++)
        count += *c == ',';
    return count;
}

static char *find_item(char *list, int index, size_t *length)
{
    for (; index > 0; index--)
        list += strcspn(list, ",") + 1;
    *length = strcspn(list, ",");
    return list;
}

/* The settings, the DSN, libpq's variables and its service file together. */
static void read_hosts(struct hosts *hosts, PGconn *connection)
{
    PQconninfoOption *options = pj_must(PQconninfo(connection));
    *hosts = (struct hosts){.count = 1};
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        if (o->val == NULL)
            continue;
        for (int i = 0; i < LISTS; i++) {
            if (strcmp(o->keyword, list_names[i]) != 0)
                continue;
            hosts->lists[i] = pj_strdup(o->val);
            if (count_items(hosts->lists[i]) > hosts->count)
                hosts->count = count_items(hosts->lists[i]);
        }
        if (strcmp(o->keyword, "connect_timeout") == 0)
            hosts->timeout_s = (int)strtol(o->val, NULL, 10);
    }
    PQconninfoFree(options);
}

/* What is left empty in a list is whatever libpq takes for it. */
static bool is_at(const struct hosts *hosts, int index, const char *const now[LISTS])
{
    for (int i = 0; i < LISTS; i++) {
        size_t length = 0;
        char *list = hosts->lists[i];
        if (count_items(list) != hosts->count)
            continue; /* one port for all of them, or none is named */
        const char *item = find_item(list, index, &length);
        if (length > 0 &&
            (now[i] == NULL || strlen(now[i]) != length || strncmp(item, now[i], length) != 0))
            return false;
    }
    return true;
}

/* Which of the hosts is being asked; -1: none that we know. */
static int find_host(const struct hosts *hosts, const PGconn *connection)
{
    const char *now[LISTS] = {PQhost(connection), PQhostaddr(connection), PQport(connection)};
    for (int index = 0; index < hosts->count; index++) {
        if (is_at(hosts, index, now))
            return index;
    }
    return -1;
}

static void remove_host(struct hosts *hosts, int index)
{
    for (int i = 0; i < LISTS; i++) {
        size_t length;
        if (count_items(hosts->lists[i]) != hosts->count)
            continue;
        char *item = find_item(hosts->lists[i], index, &length);
        if (item[length] == ',')
            memmove(item, item + length + 1, strlen(item + length + 1) + 1);
        else
            item[index > 0 ? -1 : 0] = '\0';
    }
    hosts->count--;
}

/* --- asking ---------------------------------------------------------------------------------- */

/* `hosts`, where it is not NULL, takes the place of those that the settings name. */
static PGconn *start_connection(const struct pj_postgres_settings *settings,
                                const struct hosts *hosts)
{
    const struct pj_properties *properties = settings->properties;
    size_t count = properties != NULL ? properties->count : 0;
    const char **keys = pj_calloc(count + 16, sizeof *keys);
    const char **values = pj_calloc(count + 16, sizeof *values);
    char **fresh = pj_calloc(count + 1, sizeof *fresh);
    size_t n = 0;
    /* What comes later wins: our defaults, the DSN, the operator's postgres.*. A peer that is gone
     * without a word is noticed in tens of seconds, not hours. */
    static const char *const defaults[][2] = {
        {"keepalives_idle", "10"},
        {"keepalives_interval", "5"},
        {"keepalives_count", "3"},
        {"tcp_user_timeout", "30000"},
    };
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++, n++) {
        keys[n] = defaults[i][0];
        values[n] = defaults[i][1];
    }
    keys[n] = "fallback_application_name";
    values[n++] = settings->application_name;
    if (settings->dsn != NULL) {
        /* A password may be another one by now. */
        fresh[count] =
            pj_config_fresh(properties != NULL ? properties->files : NULL, settings->dsn);
        keys[n] = "dbname";
        values[n++] = fresh[count] != NULL ? fresh[count] : settings->dsn;
    }
    for (size_t i = 0; i < count; i++, n++) {
        fresh[i] = pj_config_fresh(properties->files, properties->items[i].value);
        keys[n] = properties->items[i].key;
        values[n] = fresh[i] != NULL ? fresh[i] : properties->items[i].value;
    }
    for (int i = 0; hosts != NULL && i < LISTS; i++) {
        const char *list = hosts->lists[i];
        keys[n] = list_names[i];
        /* What is empty would not take the place of the DSN's. */
        values[n++] = i == PORT && list != NULL && *list == '\0' ? "5432" : list;
    }
    PGconn *connection = pj_must(PQconnectStartParams(keys, values, 1));
    for (size_t i = 0; i <= count; i++)
        free(fresh[i]);
    free(fresh);
    free(keys);
    free(values);
    return connection;
}

/* How long one host may take. */
static int64_t limit_of(const struct pj_postgres_settings *settings, const struct hosts *hosts)
{
    int64_t limit = settings->connect_timeout_ms > 0 ? settings->connect_timeout_ms : CONNECT_MS;
    if (hosts->timeout_s <= 0)
        return limit;
    /* As libpq has it. */
    int64_t named = 1000 * (int64_t)(hosts->timeout_s > 2 ? hosts->timeout_s : 2);
    return settings->connect_timeout_ms > 0 && limit < named ? limit : named;
}

/* 1: the host *silent, of several, did not answer in time. */
static int finish_connection(const struct pj_postgres_settings *settings, PGconn *connection,
                             const struct hosts *hosts, int *silent, struct pj_error *error)
{
    int64_t limit = limit_of(settings, hosts);
    int64_t deadline = pj_clock_monotonic_ms() + limit;
    if (PQstatus(connection) == CONNECTION_BAD)
        return fail_connect(connection, error);
    PQsetErrorVerbosity(connection, PQERRORS_VERBOSE);
    int asked = find_host(hosts, connection);
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    while (status != PGRES_POLLING_OK) {
        if (status == PGRES_POLLING_FAILED)
            return fail_connect(connection, error);
        if (settings->waiting != NULL && settings->waiting(settings->waiting_context))
            return pj_error_set(error, PJ_RETRY, "Postgres did not answer before the stop");
        int64_t left = deadline - pj_clock_monotonic_ms();
        if (left <= 0) {
            pj_error_set(error, PJ_RETRY, "Postgres did not answer within %lld ms",
                         (long long)limit);
            *silent = asked;
            return hosts->count > 1 && asked >= 0 ? 1 : -1;
        }
        struct pollfd fd = {.fd = PQsocket(connection),
                            .events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        if (poll(&fd, 1, (int)(left < LOOK_MS ? left : LOOK_MS)) <= 0)
            continue;
        status = PQconnectPoll(connection);
        int now = find_host(hosts, connection);
        if (now != asked)
            deadline = pj_clock_monotonic_ms() + limit;
        asked = now;
    }
    PQsetErrorVerbosity(connection, PQERRORS_DEFAULT);
    return 0;
}

int pj_postgres_connect(PGconn **out, const struct pj_postgres_settings *settings,
                        struct pj_error *error)
{
    *out = NULL;
    if (pj_postgres_check_settings(settings, error) != 0)
        return -1;
    int status = 1;
    struct hosts hosts = {0};
    while (status > 0) {
        PGconn *connection = start_connection(settings, hosts.count > 0 ? &hosts : NULL);
        free_hosts(&hosts);
        read_hosts(&hosts, connection);
        int silent = 0;
        status = finish_connection(settings, connection, &hosts, &silent, error);
        if (status == 0) {
            *out = connection;
            break;
        }
        /* Only libpq's own wait goes on from a host that says nothing. */
        PQfinish(connection);
        if (status > 0)
            remove_host(&hosts, silent);
    }
    free_hosts(&hosts);
    return status;
}

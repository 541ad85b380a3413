/* SPDX-License-Identifier: Apache-2.0 */
#include "event-ingest/shown_reader.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/threads.h"
#include "postgres/sql_text.h"

#include <stdlib.h>
#include <string.h>

/* How long nobody connects again after a failure, so that requests fail at once. */
enum { PAUSE_MS = 500 };

struct slot {
    struct pj_shown_reader *reader;
    struct pj_postgres *postgres; /* NULL: not connected */
    char **sql;                   /* of each table, once it was checked on this connection */
    int64_t deadline_ms;
    bool is_taken;
    bool is_paused; /* it was not tried: Postgres was away a moment ago */
};

struct pj_shown_reader {
    struct pj_shown_reader_settings settings;
    struct slot slots[PJ_SHOWN_CONNECTIONS_MOST];
    pthread_mutex_t mutex;
    pthread_cond_t freed;
    int64_t paused_until_ms;
    bool is_away;
    struct pj_error trouble;
};

struct pj_shown_reader *pj_shown_reader_new(const struct pj_shown_reader_settings *settings)
{
    struct pj_shown_reader *reader = pj_alloc(sizeof *reader);
    reader->settings = *settings;
    pthread_mutex_init(&reader->mutex, NULL);
    pj_condition_init(&reader->freed);
    return reader;
}

static void disconnect(struct slot *slot)
{
    for (size_t i = 0; slot->sql != NULL && i < slot->reader->settings.tables->count; i++)
        free(slot->sql[i]);
    free(slot->sql);
    slot->sql = NULL;
    if (slot->postgres != NULL)
        pj_metric_add(slot->reader->settings.open, -1);
    pj_postgres_close(slot->postgres);
    slot->postgres = NULL;
}

void pj_shown_reader_free(struct pj_shown_reader *reader)
{
    if (reader == NULL)
        return;
    for (size_t i = 0; i < PJ_SHOWN_CONNECTIONS_MOST; i++) {
        if (reader->slots[i].reader != NULL)
            disconnect(&reader->slots[i]);
    }
    pthread_cond_destroy(&reader->freed);
    pthread_mutex_destroy(&reader->mutex);
    free(reader);
}

/* --- connections ----------------------------------------------------------------------------- */

/* One that is connected, else another one; NULL: all are taken. The mutex is held. */
static struct slot *find_free(struct pj_shown_reader *reader)
{
    struct slot *found = NULL;
    for (size_t i = 0; i < (size_t)reader->settings.connections; i++) {
        struct slot *slot = &reader->slots[i];
        if (!slot->is_taken && (found == NULL || slot->postgres != NULL))
            found = slot;
        if (found != NULL && found->postgres != NULL)
            break;
    }
    return found;
}

static struct slot *take(struct pj_shown_reader *reader, int64_t deadline_ms)
{
    const struct timespec until = pj_in_ms(reader->settings.timeout_ms);
    struct slot *slot;
    pthread_mutex_lock(&reader->mutex);
    while ((slot = find_free(reader)) == NULL && pj_clock_monotonic_ms() < deadline_ms)
        pthread_cond_timedwait(&reader->freed, &reader->mutex, &until);
    if (slot != NULL) {
        slot->is_taken = true;
        slot->is_paused = false;
        slot->reader = reader;
        slot->deadline_ms = deadline_ms;
    }
    pthread_mutex_unlock(&reader->mutex);
    return slot;
}

static void give_back(struct slot *slot)
{
    struct pj_shown_reader *reader = slot->reader;
    if (slot->postgres != NULL && pj_postgres_broken(slot->postgres))
        disconnect(slot);
    pthread_mutex_lock(&reader->mutex);
    slot->is_taken = false;
    pthread_cond_signal(&reader->freed);
    pthread_mutex_unlock(&reader->mutex);
}

static bool is_late(void *context)
{
    return pj_clock_monotonic_ms() >= ((struct slot *)context)->deadline_ms;
}

static bool end_late(void *context, int *fd)
{
    struct slot *slot = context;
    *fd = -1;
    if (is_late(slot))
        pj_postgres_abandon(slot->postgres);
    return false;
}

/* Whether it is another's turn to find out that Postgres is back. */
static bool is_paused(struct pj_shown_reader *reader, struct pj_error *error)
{
    pthread_mutex_lock(&reader->mutex);
    bool paused = reader->is_away && pj_clock_monotonic_ms() < reader->paused_until_ms;
    if (paused)
        *error = reader->trouble;
    pthread_mutex_unlock(&reader->mutex);
    return paused;
}

static int connect(struct slot *slot, struct pj_error *error)
{
    struct pj_shown_reader *reader = slot->reader;
    struct pj_postgres_settings settings = reader->settings.postgres;
    if (slot->postgres != NULL)
        return 0;
    slot->is_paused = is_paused(reader, error);
    if (slot->is_paused)
        return -1;
    settings.connect_timeout_ms = reader->settings.timeout_ms;
    settings.waiting = is_late;
    settings.waiting_context = slot;
    if (pj_postgres_open(&slot->postgres, &settings, error) != 0) {
        slot->postgres = NULL;
        return -1;
    }
    pj_metric_add(reader->settings.open, 1);
    pj_postgres_on_idle(slot->postgres, end_late, slot);
    slot->sql = pj_calloc(reader->settings.tables->count, sizeof *slot->sql);
    return 0;
}

/* --- a table, once a connection --------------------------------------------------------------- */

/* Its columns' types, by name; and whether row security hides nothing. A row without a type: the
 * column is not there. */
static const char columns_sql[] =
    "WITH wanted AS (SELECT to_regclass(format('%s%I', nullif(quote_ident(coalesce(current_setting("
    "'projectionist.tables_schema', true), '')), '\"\"') || '.', $1::text)) AS id) "
    "SELECT n.name, a.atttypid::regtype::text, coalesce(row_security_active(w.id), false) AND NOT "
    "coalesce((SELECT bool_or(polpermissive AND pg_get_expr(polqual, polrelid) = 'true') "
    "AND bool_and(polpermissive) FROM pg_policy WHERE polrelid = w.id AND polcmd IN ('r', '*') "
    "AND EXISTS (SELECT FROM unnest(polroles) AS r "
    "WHERE CASE WHEN r = 0 THEN true ELSE pg_has_role(r, 'USAGE') END)), false), "
    "w.id::regclass::text, quote_ident(current_user), a.attname IS NULL OR "
    "has_column_privilege(w.id, a.attnum, 'SELECT') "
    "FROM unnest($2::text[]) WITH ORDINALITY AS n (name, at) CROSS JOIN wanted AS w "
    "LEFT JOIN pg_attribute AS a ON a.attrelid = w.id AND a.attname = n.name AND a.attnum > 0 "
    "AND NOT a.attisdropped ORDER BY n.at";

enum { NAME, TYPE, HIDDEN, TABLE, ROLE, MAY };

static char *list_columns(const struct pj_shown_table *table)
{
    struct pj_builder names = {0};
    for (size_t i = 0; i < table->key_count; i++)
        pj_sql_array_add(&names, table->columns[i]);
    const char *const more[] = {table->owner, table->revision, table->life};
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        if (more[i] != NULL)
            pj_sql_array_add(&names, more[i]);
    }
    return pj_sql_array_take(&names);
}

static int check_columns(const struct pj_shown_table *table, const struct pj_result *result,
                         struct pj_error *error)
{
    for (int row = 0; row < pj_result_rows(result); row++) {
        const char *role = pj_result_value(result, row, ROLE, NULL);
        if (pj_result_value(result, row, TABLE, NULL) == NULL)
            return pj_error_fatal(
                error, PJ_EXIT_DATABASE,
                "there is no table %s of --ingest-tables; 'projectionist migrate' "
                "creates those of a system, and --tables-schema says where",
                table->table);
        if (pj_result_value(result, row, TYPE, NULL) == NULL)
            return pj_error_fatal(error, PJ_EXIT_DATABASE,
                                  "the table %s has no column %s, which --ingest-tables names",
                                  table->table, pj_result_value(result, row, NAME, NULL));
        if (*pj_result_value(result, row, MAY, NULL) != 't')
            return pj_error_fatal(error, PJ_EXIT_DATABASE,
                                  "the role %s may not read the column %s of the table %s; "
                                  "'projectionist roles' makes one that may",
                                  role, pj_result_value(result, row, NAME, NULL), table->table);
        if (*pj_result_value(result, row, HIDDEN, NULL) == 't')
            return pj_error_fatal(error, PJ_EXIT_DATABASE,
                                  "row security may hide rows of the table %s from the role %s; "
                                  "'projectionist roles' makes one that sees them all",
                                  table->table, role);
    }
    return 0;
}

static void add_column(struct pj_builder *sql, const char *column, const char *type)
{
    if (column != NULL)
        pj_builder_add(sql, ", t.%s::%s", pj_sql_name(column).text, type);
    else
        pj_builder_add(sql, ", NULL");
}

static char *write_sql(const struct pj_shown_table *table, const struct pj_result *result)
{
    struct pj_builder sql = {0};
    pj_builder_add(&sql, "SELECT w.at");
    add_column(&sql, table->owner, "text");
    add_column(&sql, table->revision, "bigint");
    add_column(&sql, table->life, "bigint");
    pj_builder_add(&sql, " FROM unnest(");
    for (size_t i = 0; i < table->key_count; i++)
        pj_builder_add(&sql, "%s$%zu::text[]", i > 0 ? ", " : "", i + 1);
    pj_builder_add(&sql, ") WITH ORDINALITY AS w (");
    for (size_t i = 0; i < table->key_count; i++)
        pj_builder_add(&sql, "k%zu, ", i);
    pj_builder_add(&sql, "at) JOIN %s AS t ON ", pj_result_value(result, 0, TABLE, NULL));
    for (size_t i = 0; i < table->key_count; i++)
        pj_builder_add(&sql, "%st.%s = w.k%zu::%s", i > 0 ? " AND " : "",
                       pj_sql_name(table->columns[i]).text, i,
                       pj_result_value(result, (int)i, TYPE, NULL));
    return pj_builder_take(&sql);
}

/* The session began with row_security off, in which hidden rows are an error and not a silence. */
static int prepare(struct slot *slot, const struct pj_shown_table *table, struct pj_error *error)
{
    size_t index = (size_t)(table - slot->reader->settings.tables->items);
    struct pj_result *result;
    if (slot->sql[index] != NULL)
        return 0;
    char *columns = list_columns(table);
    int status = pj_postgres_query(slot->postgres, columns_sql, PJ_TEXTS(table->table, columns),
                                   &result, error);
    free(columns);
    if (status != 0)
        return -1;
    status = check_columns(table, result, error);
    if (status == 0)
        status = pj_postgres_script(slot->postgres, "SET row_security = on", error);
    if (status == 0)
        slot->sql[index] = write_sql(table, result);
    pj_result_free(result);
    return status;
}

/* --- reading --------------------------------------------------------------------------------- */

static int64_t read_number(const struct pj_result *result, int row, int column, bool *is_there)
{
    const char *text = pj_result_value(result, row, column, NULL);
    *is_there = text != NULL;
    return text != NULL ? strtoll(text, NULL, 10) : 0;
}

static void take_rows(const struct pj_result *result, struct pj_shown *shown, size_t count)
{
    for (int row = 0; row < pj_result_rows(result); row++) {
        bool is_there;
        size_t at = (size_t)read_number(result, row, 0, &is_there) - 1;
        const char *owner = pj_result_value(result, row, 1, NULL);
        if (at >= count)
            continue;
        shown[at].is_there = true;
        shown[at].has_owner = owner != NULL;
        /* One that is longer is nobody's who can be let in. */
        pj_text_show(shown[at].owner, sizeof shown[at].owner, "%s", owner != NULL ? owner : "");
        shown[at].revision = read_number(result, row, 2, &shown[at].has_revision);
        shown[at].life = read_number(result, row, 3, &shown[at].has_life);
    }
}

static int ask(struct slot *slot, const struct pj_shown_table *table,
               const struct pj_claim_of *claims, struct pj_shown *shown, size_t count,
               struct pj_error *error)
{
    char *arrays[PJ_SHOWN_KEYS_MOST];
    struct pj_result *result = NULL;
    for (size_t k = 0; k < table->key_count; k++) {
        struct pj_builder array = {0};
        for (size_t i = 0; i < count; i++)
            pj_sql_array_add(&array, claims[i].keys[k]);
        arrays[k] = pj_sql_array_take(&array);
    }
    size_t index = (size_t)(table - slot->reader->settings.tables->items);
    int status = pj_postgres_query(slot->postgres, slot->sql[index], (int)table->key_count,
                                   (const char *const *)arrays, &result, error);
    for (size_t k = 0; k < table->key_count; k++)
        free(arrays[k]);
    if (status == 0)
        take_rows(result, shown, count);
    pj_result_free(result);
    return status;
}

/* For the metrics, the probes and who comes next; says in the log what is news. */
static void note(struct pj_shown_reader *reader, int status, const struct pj_error *error)
{
    bool is_away = status != 0 && error->class != PJ_POISON;
    pthread_mutex_lock(&reader->mutex);
    bool is_news = is_away != reader->is_away;
    reader->is_away = is_away;
    if (is_away) {
        reader->trouble = *error;
        reader->paused_until_ms = pj_clock_monotonic_ms() + PAUSE_MS;
    }
    pthread_mutex_unlock(&reader->mutex);
    pj_metric_set(reader->settings.away, is_away);
    pj_metric_add(reader->settings.failures, is_away);
    if (is_news && is_away)
        pj_log(PJ_WARN, "the tables cannot be read", pj_f_str("error", error->message));
    else if (is_news)
        pj_log(PJ_INFO, "the tables can be read again");
}

typedef int reading(struct slot *slot, const void *context, struct pj_error *error);

/* A connection that was cut while nobody used it is opened again, once. */
static int with_slot(struct pj_shown_reader *reader, reading *read, const void *context,
                     struct pj_error *error)
{
    int status = -1;
    struct slot *slot = take(reader, pj_clock_monotonic_ms() + reader->settings.timeout_ms);
    if (slot == NULL)
        return pj_error_set(error, PJ_RETRY,
                            "all connections to Postgres are in use (--table-connections)");
    for (int tries = 0; status != 0 && tries < 2; tries++) {
        bool is_new = slot->postgres == NULL;
        if (connect(slot, error) != 0)
            break;
        status = read(slot, context, error);
        bool is_cut = status != 0 && pj_postgres_broken(slot->postgres);
        if (is_cut)
            disconnect(slot);
        if (!is_cut || is_new || is_late(slot))
            break;
    }
    if (status != 0 && is_late(slot) && error->class == PJ_RETRY)
        (void)pj_error_set(error, PJ_RETRY, "Postgres did not answer within %lld ms",
                           (long long)reader->settings.timeout_ms);
    bool is_tried = !slot->is_paused;
    give_back(slot);
    if (is_tried)
        note(reader, status, error);
    return status;
}

static int check_all(struct slot *slot, const void *context, struct pj_error *error)
{
    const struct pj_shown_tables *tables = context;
    for (size_t i = 0; i < tables->count; i++) {
        if (tables->items[i].text != NULL && prepare(slot, &tables->items[i], error) != 0)
            return -1;
    }
    return 0;
}

int pj_shown_reader_check(struct pj_shown_reader *reader, struct pj_error *error)
{
    return with_slot(reader, check_all, reader->settings.tables, error);
}

struct request {
    const struct pj_shown_table *table;
    const struct pj_claim_of *claims;
    struct pj_shown *shown;
    size_t count;
};

static int read_request(struct slot *slot, const void *context, struct pj_error *error)
{
    const struct request *request = context;
    return prepare(slot, request->table, error) == 0
               ? ask(slot, request->table, request->claims, request->shown, request->count, error)
               : -1;
}

int pj_shown_read(struct pj_shown_reader *reader, const struct pj_shown_table *table,
                  const struct pj_claim_of *claims, struct pj_shown *shown, size_t count,
                  struct pj_error *error)
{
    const struct request request = {table, claims, shown, count};
    int64_t start_us = pj_clock_monotonic_us();
    int status = with_slot(reader, read_request, &request, error);
    pj_metric_observe_us(reader->settings.seconds, pj_clock_monotonic_us() - start_us);
    return status;
}

bool pj_shown_reader_is_away(struct pj_shown_reader *reader, struct pj_error *reason)
{
    pthread_mutex_lock(&reader->mutex);
    bool is_away = reader->is_away;
    *reason = reader->trouble;
    pthread_mutex_unlock(&reader->mutex);
    return is_away;
}

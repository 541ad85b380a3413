/* SPDX-License-Identifier: Apache-2.0 */
#include "outbox-relay/outbox.h"

#include "base/memory.h"
#include "postgres/sql_text.h"

#include <stdlib.h>

enum { COUNTED_MOST = 100000 };

struct pj_outbox {
    struct pj_postgres *postgres;
    char *schema, *channel;
    char *read_sql, *settle_sql, *count_sql;
};

/* --- opening --------------------------------------------------------------------------------- */

int pj_outbox_system_length(const char *schema)
{
    static const char private[] = "_private";
    size_t length = strlen(schema);
    return (int)(pj_text_ends(schema, private) ? length - strlen(private) : length);
}

static void write_statements(struct pj_outbox *outbox)
{
    char *rows = pj_strdup(pj_sql_qualified(outbox->schema, "outbox").text);
    char *failed = pj_strdup(pj_sql_qualified(outbox->schema, "outbox_failed").text);
    /* What a body takes as it is stored bounds what Postgres unpacks, its length what it sends. */
    outbox->read_sql = pj_text_new(
        "WITH head AS MATERIALIZED (SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM ("
        "SELECT id, pg_column_size(body) AS size FROM %1$s WHERE topic <> ALL ($1::text[]) "
        "ORDER BY id LIMIT $2::bigint) AS h), "
        "texts AS MATERIALIZED (SELECT id, event_id, topic, key, body::text AS body, written_at "
        "FROM %1$s JOIN head USING (id) WHERE before < %3$d), "
        "sized AS (SELECT *, octet_length(body) AS size, sum(octet_length(body)) OVER (ORDER BY "
        "id) "
        "- octet_length(body) AS before FROM texts) "
        "SELECT id, event_id, topic, key, CASE WHEN size <= %2$d THEN body END, size, "
        "(extract(epoch FROM written_at) * 1000000)::bigint FROM sized WHERE before < %3$d "
        "ORDER BY id",
        rows, PJ_OUTBOX_BODY_MOST, PJ_OUTBOX_BATCH_BYTES);
    outbox->settle_sql = pj_text_new(
        "WITH gone AS (DELETE FROM %s WHERE id = ANY ($1::bigint[]) RETURNING *) "
        "INSERT INTO %s (id, event_id, topic, key, body, written_at, reason) "
        "SELECT g.id, g.event_id, g.topic, g.key, g.body, g.written_at, f.reason FROM gone AS g "
        "JOIN unnest($2::bigint[], $3::text[]) AS f (id, reason) USING (id) "
        "ON CONFLICT (id, event_id) DO NOTHING",
        rows, failed);
    outbox->count_sql = pj_text_new(
        "SELECT (SELECT count(*) FROM (SELECT FROM %s LIMIT %d) AS p), "
        "coalesce((SELECT (extract(epoch FROM clock_timestamp() - written_at) * 1000)::bigint "
        "FROM %s ORDER BY id LIMIT 1), 0), (SELECT count(*) FROM (SELECT FROM %s LIMIT %d) AS f)",
        rows, COUNTED_MOST, rows, failed, COUNTED_MOST);
    free(rows);
    free(failed);
}

static int check_tables(struct pj_outbox *outbox, struct pj_error *error)
{
    struct pj_result *result;
    if (pj_postgres_query(outbox->postgres,
                          "SELECT to_regclass(quote_ident($1) || '.outbox') IS NOT NULL AND "
                          "to_regclass(quote_ident($1) || '.outbox_failed') IS NOT NULL",
                          PJ_TEXTS(outbox->schema), &result, error) != 0)
        return -1;
    bool there = strcmp(pj_result_value(result, 0, 0, NULL), "t") == 0;
    pj_result_free(result);
    return there ? 0
                 : pj_error_fatal(error, PJ_EXIT_DATABASE,
                                  "the schema %s has no tables outbox and outbox_failed, or this "
                                  "role may not use it; 'projectionist migrate' creates those "
                                  "of a system, and --outbox names its schema",
                                  outbox->schema);
}

int pj_outbox_open(struct pj_outbox **out, const struct pj_outbox_settings *settings,
                   struct pj_error *error)
{
    struct pj_outbox *outbox = pj_alloc(sizeof *outbox);
    outbox->schema = pj_strdup(settings->schema);
    outbox->channel =
        pj_text_new("%.*s_outbox", pj_outbox_system_length(settings->schema), settings->schema);
    write_statements(outbox);
    if (pj_postgres_open(&outbox->postgres, &settings->postgres, error) != 0) {
        pj_outbox_close(outbox);
        return -1;
    }
    pj_postgres_on_idle(outbox->postgres, settings->idle, settings->context);
    if (check_tables(outbox, error) != 0) {
        pj_outbox_close(outbox);
        return -1;
    }
    *out = outbox;
    return 0;
}

void pj_outbox_close(struct pj_outbox *outbox)
{
    if (outbox == NULL)
        return;
    pj_postgres_close(outbox->postgres);
    free(outbox->schema);
    free(outbox->channel);
    free(outbox->read_sql);
    free(outbox->settle_sql);
    free(outbox->count_sql);
    free(outbox);
}

struct pj_postgres *pj_outbox_postgres(struct pj_outbox *outbox)
{
    return outbox->postgres;
}

/* --- the lock -------------------------------------------------------------------------------- */

int pj_outbox_lock(struct pj_outbox *outbox, bool *locked, struct pj_error *error)
{
    struct pj_result *result;
    if (pj_postgres_query(outbox->postgres,
                          "SELECT pg_try_advisory_lock(hashtextextended('projectionist outbox ' || "
                          "$1, 0))",
                          PJ_TEXTS(outbox->schema), &result, error) != 0)
        return -1;
    *locked = strcmp(pj_result_value(result, 0, 0, NULL), "t") == 0;
    pj_result_free(result);
    if (!*locked)
        return 0;
    char *listen = pj_text_new("LISTEN %s", pj_sql_name(outbox->channel).text);
    int status = pj_postgres_script(outbox->postgres, listen, error);
    free(listen);
    return status;
}

/* --- rows ------------------------------------------------------------------------------------ */

static const char *copy_text(const struct pj_result *result, int row, int column,
                             struct pj_arena *arena)
{
    int length;
    const char *value = pj_result_value(result, row, column, &length);
    return value != NULL ? pj_arena_string(arena, value, (size_t)length) : NULL;
}

static int64_t read_number(const struct pj_result *result, int row, int column)
{
    const char *value = pj_result_value(result, row, column, NULL);
    return value != NULL ? strtoll(value, NULL, 10) : 0;
}

int pj_outbox_read(struct pj_outbox *outbox, const char *but_topics, int64_t most,
                   struct pj_arena *arena, struct pj_outbox_row **rows, size_t *count,
                   struct pj_error *error)
{
    char limit[24];
    struct pj_result *result;
    pj_text_whole(limit, sizeof limit, "%lld", (long long)most);
    if (pj_postgres_query(outbox->postgres, outbox->read_sql, PJ_TEXTS(but_topics, limit), &result,
                          error) != 0)
        return -1;
    *count = (size_t)pj_result_rows(result);
    *rows = pj_arena_alloc(arena, *count * sizeof **rows);
    for (int i = 0; i < (int)*count; i++)
        (*rows)[i] = (struct pj_outbox_row){
            .id = read_number(result, i, 0),
            .event_id = copy_text(result, i, 1, arena),
            .topic = copy_text(result, i, 2, arena),
            .key = copy_text(result, i, 3, arena),
            .body = copy_text(result, i, 4, arena),
            .body_size = read_number(result, i, 5),
            .written_us = read_number(result, i, 6),
        };
    pj_result_free(result);
    return 0;
}

int pj_outbox_settle(struct pj_outbox *outbox, const struct pj_outbox_row *rows, size_t count,
                     struct pj_error *error)
{
    struct pj_builder all = {0}, failed = {0}, reasons = {0};
    for (size_t i = 0; i < count; i++) {
        char id[24];
        pj_text_whole(id, sizeof id, "%lld", (long long)rows[i].id);
        pj_sql_array_add(&all, id);
        if (rows[i].failed != NULL) {
            pj_sql_array_add(&failed, id);
            pj_sql_array_add(&reasons, rows[i].failed);
        }
    }
    char *ids = pj_sql_array_take(&all), *failed_ids = pj_sql_array_take(&failed),
         *why = pj_sql_array_take(&reasons);
    int status = pj_postgres_query(outbox->postgres, outbox->settle_sql,
                                   PJ_TEXTS(ids, failed_ids, why), NULL, error);
    free(ids);
    free(failed_ids);
    free(why);
    return status;
}

int pj_outbox_count(struct pj_outbox *outbox, struct pj_outbox_numbers *numbers,
                    struct pj_error *error)
{
    struct pj_result *result;
    if (pj_postgres_query(outbox->postgres, outbox->count_sql, 0, NULL, &result, error) != 0)
        return -1;
    *numbers = (struct pj_outbox_numbers){read_number(result, 0, 0), read_number(result, 0, 1),
                                          read_number(result, 0, 2)};
    pj_result_free(result);
    return 0;
}

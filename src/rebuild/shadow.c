/* SPDX-License-Identifier: Apache-2.0 */
/* Planning a rebuild: creates the shadow tables, or finds those of an interrupted attempt. */
#include "base/memory.h"
#include "base/text.h"
#include "fold/declaration.h"
#include "fold/wide.h"
#include "postgres/sql_text.h"
#include "rebuild/rebuild_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uuid/uuid.h>

/* --- making and finding the tables ----------------------------------------------------------- */

static const char *sign_setting(struct pj_arena *arena, const char *signature,
                                const struct pj_setting *setting,
                                const union pj_setting_value *value)
{
    switch (setting->type) {
    case PJ_SETTING_DURATION:
    case PJ_SETTING_INTEGER:
        return pj_arena_printf(arena, "%s %s=%lld", signature, setting->name,
                               (long long)value->integer);
    case PJ_SETTING_TEXT:
        return pj_arena_printf(arena, "%s %s=%s", signature, setting->name, value->text);
    case PJ_SETTING_BOOLEAN:
        return pj_arena_printf(arena, "%s %s=%d", signature, setting->name, value->boolean);
    }
    return signature;
}

/* What rows follow from besides records: the program, its settings, where it begins to read. An
 * attempt with another signature cannot be resumed. */
static int sign(struct pj_rebuild *rebuild, const char *origin, const char **signature,
                struct pj_error *error)
{
    const struct pj_rebuild_settings *settings = rebuild->settings;
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (file < 0 || fstat(file, &status) != 0)
        return pj_error_set(error, PJ_FATAL, "the program cannot read itself: %m");
    void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (bytes == MAP_FAILED)
        return pj_error_set(error, PJ_FATAL, "the program cannot read itself: %m");
    static const uuid_t nothing;
    uuid_t digest;
    char text[37];
    uuid_generate_sha1(digest, nothing, bytes, (size_t)status.st_size);
    munmap(bytes, (size_t)status.st_size);
    uuid_unparse(digest, text);
    *signature = pj_arena_printf(rebuild->arena, "%s %s %s %s %s", text, settings->cluster_id,
                                 settings->keep_retained   ? "keep-retained"
                                 : settings->drop_retained ? "drop-retained"
                                                           : "all",
                                 rebuild->letters_digest, origin);
    uuid_generate_sha1(digest, nothing, rebuild->held, strlen(rebuild->held));
    uuid_unparse(digest, text);
    *signature = pj_arena_printf(rebuild->arena, "%s %s", *signature, text);
    const struct pj_setting *setting = settings->projection->settings;
    for (size_t i = 0; setting != NULL && setting[i].name != NULL; i++)
        *signature =
            sign_setting(rebuild->arena, *signature, &setting[i], &settings->setting_values[i]);
    return 0;
}

/* Columns that a trigger fills in the live table stay empty here, without triggers: drops the
 * constraints that need them. */
static void add_freedom(struct pj_builder *sql, const struct pj_rebuild *rebuild,
                        const struct pj_table *table)
{
    struct pj_builder names = {0};
    for (size_t c = 0; c < table->column_count; c++)
        pj_sql_array_add(&names, table->columns[c].name);
    char *declared = pj_sql_array_take(&names);
    pj_builder_add(
        sql,
        "DO $do$ DECLARE shadow CONSTANT regclass := '%s'; declared CONSTANT text[] := '%s'; "
        "found text; BEGIN "
        "FOR found IN SELECT conname FROM pg_constraint AS k WHERE conrelid = shadow "
        "AND contype = 'c' AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = shadow "
        "AND attnum = ANY (k.conkey) AND attgenerated = '' AND attname <> ALL (declared)) LOOP "
        "EXECUTE format('ALTER TABLE %%s DROP CONSTRAINT %%I', shadow, found); END LOOP; "
        "FOR found IN SELECT attname FROM pg_attribute WHERE attrelid = shadow AND attnum > 0 "
        "AND NOT attisdropped AND attnotnull AND attgenerated = '' AND attidentity = '' "
        "AND attname <> ALL (declared) LOOP "
        "EXECUTE format('ALTER TABLE %%s ALTER COLUMN %%I DROP NOT NULL', shadow, found); "
        "END LOOP; END $do$; ",
        pj_sql_qualified(rebuild->schema, table->name).text, declared);
    free(declared);
}

static void add_table(struct pj_builder *sql, const struct pj_rebuild *rebuild,
                      const struct pj_table *table)
{
    pj_builder_add(sql,
                   "CREATE UNLOGGED TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING "
                   "CONSTRAINTS INCLUDING GENERATED INCLUDING IDENTITY, PRIMARY KEY (",
                   pj_sql_qualified(rebuild->schema, table->name).text, pj_sql_table(table).text);
    pj_sql_columns(sql, table, pj_sql_key(table), ", ", "@");
    pj_builder_add(sql, ")) WITH (autovacuum_enabled = false, fillfactor = %d); ",
                   table->kind == PJ_APPEND_TABLE ? 100 : 80);
    add_freedom(sql, rebuild, table);
}

static void add_state(struct pj_builder *sql, const struct pj_rebuild *rebuild,
                      const struct pj_entity_kind *entity)
{
    char name[PJ_STATE_NAME_SIZE];
    pj_declaration_state_name(rebuild->settings->projection, entity->name, name);
    const struct pj_sql_name shadow = pj_sql_qualified(rebuild->schema, name);
    pj_builder_add(sql,
                   "CREATE UNLOGGED TABLE %s (LIKE %s, PRIMARY KEY (key)) "
                   "WITH (autovacuum_enabled = false, fillfactor = 80); ",
                   shadow.text, pj_sql_qualified("projectionist", name).text);
    if (pj_wide_has(entity)) {
        pj_declaration_wide_name(rebuild->settings->projection, entity->name, name);
        pj_builder_add(sql,
                       "CREATE UNLOGGED TABLE %s (LIKE %s, PRIMARY KEY (key, kind, subkey)) "
                       "WITH (autovacuum_enabled = false, fillfactor = 80); ",
                       pj_sql_qualified(rebuild->schema, name).text,
                       pj_sql_qualified("projectionist", name).text);
    }
    if (entity->timed)
        pj_builder_add(sql, "CREATE INDEX ON %s (due_at) WHERE due_at IS NOT NULL; ", shadow.text);
}

/* A crash of Postgres empties unlogged tables, `ranges` too: then there is no attempt to resume. */
static char *creation(const struct pj_rebuild *rebuild)
{
    struct pj_builder sql = {0};
    const struct pj_projection *projection = rebuild->settings->projection;
    pj_builder_add(&sql, "CREATE SCHEMA %s; ", pj_sql_name(rebuild->schema).text);
    for (size_t t = 0; t < projection->table_count; t++) {
        if (projection->tables[t]->part_of == NULL)
            add_table(&sql, rebuild, projection->tables[t]);
    }
    for (size_t e = 0; e < projection->entity_count; e++)
        add_state(&sql, rebuild, &projection->entities[e]);
    pj_builder_add(&sql,
                   "CREATE UNLOGGED TABLE %s (LIKE projectionist.dead_letters "
                   "INCLUDING DEFAULTS INCLUDING IDENTITY, "
                   "UNIQUE (cluster_id, consumer_group, topic, partition, record_offset)); "
                   "CREATE UNLOGGED TABLE %s (signature text, started_at timestamptz, "
                   "topic text, partition integer, begin_offset bigint, end_offset bigint, "
                   "counted_from bigint, counted_to bigint, records bigint, checksum bigint, "
                   "passed_records bigint DEFAULT 0, passed_checksum bigint DEFAULT 0)",
                   pj_sql_qualified(rebuild->schema, "dead_letters").text,
                   pj_sql_qualified(rebuild->schema, "ranges").text);
    return pj_builder_take(&sql);
}

int pj_rebuild_drop_shadow(struct pj_rebuild *rebuild, struct pj_error *error)
{
    const char *sql = pj_arena_printf(rebuild->arena, "DROP SCHEMA IF EXISTS %s CASCADE",
                                      pj_sql_name(rebuild->schema).text);
    if (pj_postgres_script(rebuild->control.postgres, sql, error) != 0)
        return -1;
    return pj_rebuild_execute(rebuild,
                              "DELETE FROM projectionist.consumer_offsets "
                              "WHERE cluster_id = $1 AND consumer_group = $2",
                              PJ_TEXTS(rebuild->settings->cluster_id, rebuild->shadow_group),
                              error);
}

/* Unique indexes and exclusion constraints, which decide between rows; others would only cost time.
 */
static int add_unique(struct pj_rebuild *rebuild, const struct pj_table *table,
                      struct pj_error *error)
{
    const struct pj_sql_name live = pj_sql_table(table);
    struct pj_result *result;
    if (pj_postgres_query(
            rebuild->control.postgres,
            "SELECT string_agg(CASE WHEN c.oid IS NOT NULL "
            "THEN format('ALTER TABLE %I.%I ADD %s', $1::text, t.relname, "
            "pg_get_constraintdef(c.oid)) "
            "ELSE regexp_replace(pg_get_indexdef(i.indexrelid), "
            "'^CREATE UNIQUE INDEX .*? USING ', "
            "format('CREATE UNIQUE INDEX ON %I.%I USING ', $1::text, t.relname)) END, "
            "'; ' ORDER BY i.indexrelid) "
            "FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid "
            "LEFT JOIN pg_constraint AS c ON c.conindid = i.indexrelid "
            "AND c.conrelid = i.indrelid AND c.contype IN ('u', 'x') "
            "WHERE i.indrelid = $2::regclass AND NOT i.indisprimary AND i.indisvalid "
            "AND (i.indisunique OR c.contype = 'x')",
            PJ_TEXTS(rebuild->schema, live.text), &result, error) != 0)
        return -1;
    const char *sql = pj_result_value(result, 0, 0, NULL);
    int status = sql != NULL ? pj_postgres_script(rebuild->control.postgres, sql, error) : 0;
    pj_result_free(result);
    return status;
}

static int add_all_unique(struct pj_rebuild *rebuild, struct pj_error *error)
{
    const struct pj_projection *projection = rebuild->settings->projection;
    for (size_t t = 0; t < projection->table_count; t++) {
        if (projection->tables[t]->part_of == NULL &&
            add_unique(rebuild, projection->tables[t], error) != 0)
            return -1;
    }
    return 0;
}

static const struct pj_live_offset *live_of(const struct pj_rebuild *rebuild,
                                            const struct pj_offset_range *range)
{
    for (size_t i = 0; i < rebuild->live_count; i++) {
        const struct pj_live_offset *live = &rebuild->live[i];
        if (live->partition == range->partition && strcmp(live->topic, range->topic) == 0)
            return live;
    }
    return NULL;
}

static void add_counted(struct pj_rebuild *rebuild, struct pj_offset_range *range, int64_t from,
                        int64_t to)
{
    rebuild->counted =
        pj_resize(rebuild->counted, rebuild->counted_count + 1, sizeof *rebuild->counted);
    rebuild->counted[rebuild->counted_count++] =
        (struct pj_offset_range){range->topic, range->partition, from, to};
}

static int list_range(struct pj_rebuild *rebuild, const char *signature,
                      struct pj_offset_range *range, struct pj_error *error)
{
    const struct pj_live_offset *live = live_of(rebuild, range);
    bool counted = live != NULL && pj_rebuild_is_counted(rebuild, live, range);
    const int64_t numbers[] = {range->partition, range->begin, range->end,
                               counted ? live->counted_from : 0, counted ? live->next_offset : 0};
    char texts[5][24];
    for (int i = 0; i < 5; i++)
        pj_text_whole(texts[i], sizeof texts[i], "%lld", (long long)numbers[i]);
    if (counted)
        add_counted(rebuild, range, live->counted_from, live->next_offset);
    return pj_rebuild_execute(rebuild,
                              pj_arena_printf(rebuild->arena,
                                              "INSERT INTO %s VALUES ($1, now(), $2, "
                                              "$3::int, $4::bigint, $5::bigint, $6::bigint, "
                                              "$7::bigint, $8::bigint, $9::bigint)",
                                              pj_sql_qualified(rebuild->schema, "ranges").text),
                              PJ_TEXTS(signature, range->topic, texts[0], texts[1], texts[2],
                                       counted ? texts[3] : NULL, counted ? texts[4] : NULL,
                                       counted ? live->records : NULL,
                                       counted ? live->checksum : NULL),
                              error);
}

static int create_shadow(struct pj_rebuild *rebuild, const char *signature, struct pj_error *error)
{
    int status = -1;
    char *sql = creation(rebuild);
    if (pj_postgres_script(rebuild->control.postgres, "BEGIN", error) != 0 ||
        pj_rebuild_drop_shadow(rebuild, error) != 0 ||
        pj_postgres_script(rebuild->control.postgres, sql, error) != 0 ||
        add_all_unique(rebuild, error) != 0)
        goto out;
    for (size_t i = 0; i < rebuild->range_count; i++) {
        if (list_range(rebuild, signature, &rebuild->ranges[i], error) != 0)
            goto out;
    }
    status = pj_postgres_script(rebuild->control.postgres, "COMMIT", error);
out:
    if (status != 0)
        pj_postgres_rollback(rebuild->control.postgres);
    free(sql);
    return status;
}

/* The ranges of an attempt with this signature replace the planned ones. */
static int find_attempt(struct pj_rebuild *rebuild, const char *signature, bool *found,
                        struct pj_error *error)
{
    struct pj_result *rows;
    *found = false;
    const struct pj_sql_name ranges = pj_sql_qualified(rebuild->schema, "ranges");
    const char *sql =
        pj_arena_printf(rebuild->arena, "SELECT to_regclass('%s') IS NOT NULL", ranges.text);
    if (pj_postgres_query(rebuild->control.postgres, sql, 0, NULL, &rows, error) != 0)
        return -1;
    bool exists = strcmp(pj_result_value(rows, 0, 0, NULL), "t") == 0;
    pj_result_free(rows);
    if (!exists)
        return 0;
    sql =
        pj_arena_printf(rebuild->arena,
                        "SELECT topic, partition, begin_offset, end_offset, "
                        "(extract(epoch FROM started_at) * 1000)::bigint, counted_from, counted_to "
                        "FROM %s WHERE signature = $1 ORDER BY topic COLLATE \"C\", partition",
                        ranges.text);
    if (pj_postgres_query(rebuild->control.postgres, sql, PJ_TEXTS(signature), &rows, error) != 0)
        return -1;
    *found = pj_result_rows(rows) > 0;
    if (*found)
        rebuild->range_count = 0;
    for (int row = 0; row < pj_result_rows(rows); row++) {
        struct pj_offset_range *range = pj_rebuild_range(
            rebuild, pj_result_value(rows, row, 0, NULL), (int32_t)pj_rebuild_number(rows, row, 1),
            pj_rebuild_number(rows, row, 2));
        range->end = pj_rebuild_number(rows, row, 3);
        if (pj_result_value(rows, row, 5, NULL) != NULL)
            add_counted(rebuild, range, pj_rebuild_number(rows, row, 5),
                        pj_rebuild_number(rows, row, 6));
        rebuild->started_ms = pj_rebuild_number(rows, row, 4);
    }
    pj_result_free(rows);
    return 0;
}

int pj_rebuild_plan(struct pj_rebuild *rebuild, const struct pj_offset_range *ranges, size_t count,
                    const char *origin, bool *resumed, struct pj_error *error)
{
    const char *signature = NULL;
    *resumed = false;
    for (size_t i = 0; i < count; i++)
        pj_rebuild_range(rebuild, ranges[i].topic, ranges[i].partition, ranges[i].begin)->end =
            ranges[i].end;
    if (sign(rebuild, origin, &signature, error) != 0)
        return -1;
    if (!rebuild->settings->verify && find_attempt(rebuild, signature, resumed, error) != 0)
        return -1;
    if (*resumed || create_shadow(rebuild, signature, error) == 0)
        return 0;
    if (strcmp(error->sqlstate, "42501") == 0)
        pj_error_fatal(error, PJ_EXIT_DATABASE,
                       "the role may not create the schema %s for the shadow tables; "
                       "grant it CREATE on the database",
                       rebuild->schema);
    return -1;
}

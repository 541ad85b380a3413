/* SPDX-License-Identifier: Apache-2.0 */
#include "store/tables.h"
#include "fold/declaration.h"
#include "fold/wide.h"

#include "base/text.h"
#include "postgres/sql_text.h"
#include "store/statements.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct subject {
    struct pj_postgres *postgres;
    const struct pj_projection *projection;
    const struct pj_table *table;
    struct pj_sql_name name; /* for SQL */
    const char *shown;       /* for people */
    const char *columns;     /* of a state: as CREATE TABLE wants them; else NULL */
};

static int not_as_needed(const struct subject *subject, struct pj_error *error, const char *format,
                         ...) PJ_PRINTF(3, 4);

static int not_as_needed(const struct subject *subject, struct pj_error *error, const char *format,
                         ...)
{
    char why[768];
    va_list args;
    va_start(args, format);
    pj_text_vshow(why, sizeof why, format, args);
    va_end(args);
    return pj_error_fatal(error, PJ_EXIT_DATABASE, "the table %s is not as %s needs it: %s",
                          subject->shown, subject->projection->name, why);
}

/* --- a table --------------------------------------------------------------------------------- */

static int try_query(const struct subject *subject, struct pj_builder *sql, struct pj_error *error)
{
    struct pj_result *result = NULL;
    char *text = pj_builder_take(sql);
    int status = pj_postgres_query(subject->postgres, text, 0, NULL, &result, error);
    free(text);
    pj_result_free(result);
    return status;
}

/* Whether these columns are there and may be read. */
static int read_nothing(const struct subject *subject, uint64_t columns, struct pj_error *error)
{
    struct pj_builder sql = {0};
    pj_builder_add(&sql, "SELECT ");
    pj_sql_columns(&sql, subject->table, columns, ", ", "@");
    pj_builder_add(&sql, " FROM %s LIMIT 0", subject->name.text);
    if (try_query(subject, &sql, error) == 0)
        return 0;
    struct pj_error cause = *error;
    if (error->class == PJ_FATAL)
        not_as_needed(
            subject, error,
            "%.300s; run `projectionist migrate`, or the migration does not make it%s%s%s%s",
            cause.message, subject->columns != NULL ? ": CREATE TABLE " : "",
            subject->columns != NULL ? subject->name.text : "", subject->columns != NULL ? " " : "",
            subject->columns != NULL ? subject->columns : "");
    return -1;
}

/* As format_type names them. */
static const char *const types[] = {
    [PJ_BOOL] = "boolean",
    [PJ_INT] = "integer",
    [PJ_BIGINT] = "bigint",
    [PJ_DOUBLE] = "double precision",
    [PJ_TEXT] = "text",
    [PJ_UUID] = "uuid",
    [PJ_TIMESTAMPTZ] = "timestamp with time zone",
    [PJ_JSONB] = "jsonb",
    [PJ_NUMERIC] = "numeric",
    [PJ_BYTEA] = "bytea",
    [PJ_COUNTS] = "bigint[]",
};

/* A sql_type may have several names: it is the database that knows whether `same`. */
static bool fits(const struct pj_column *column, const char *found, bool same)
{
    if (column->sql_type != NULL)
        return same;
    return strcmp(types[column->type], found) == 0 ||
           (column->type == PJ_TEXT && strcmp(found, "character varying") == 0);
}

static const struct pj_column *declared(const struct subject *subject, const char *name)
{
    for (size_t c = 0; c < subject->table->column_count; c++) {
        if (strcmp(subject->table->columns[c].name, name) == 0)
            return &subject->table->columns[c];
    }
    return NULL;
}

static bool is_placeholder(const struct subject *subject, const struct pj_column *column)
{
    size_t placeholder = subject->table->placeholder;
    return placeholder != 0 && column == &subject->table->columns[placeholder];
}

/* Whether a placeholder has a value of the column. */
static bool in_placeholders(const struct subject *subject, const struct pj_column *column)
{
    const struct pj_table *table = subject->table;
    return column->key || column->in_placeholder != NULL ||
           column == &table->columns[table->placeholder] ||
           column == &table->columns[table->first_seen];
}

static bool is_true(const struct pj_result *result, int row, int column)
{
    return *pj_result_value(result, row, column, NULL) == 't';
}

/* The sql_type as format_type names it; "" where there is no such type. */
static int name_type(const struct subject *subject, const struct pj_column *column, char name[256],
                     struct pj_error *error)
{
    struct pj_result *result;
    name[0] = '\0';
    if (column == NULL || column->sql_type == NULL)
        return 0;
    if (pj_postgres_query(subject->postgres,
                          "SELECT format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL) "
                          "FROM pg_type AS t WHERE t.oid = to_regtype($1)",
                          1, &column->sql_type, &result, error) != 0)
        return -1;
    if (pj_result_rows(result) == 1)
        pj_text_show(name, 256, "%s", pj_result_value(result, 0, 0, NULL));
    pj_result_free(result);
    return 0;
}

static int check_columns(const struct subject *subject, struct pj_error *error)
{
    enum { NAME, TYPE, NEEDED, NOT_NULL, COMPUTED };
    /* A trigger (of rows, before INSERT) may fill what is needed. */
    static const char sql[] =
        "SELECT a.attname, format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL), "
        "a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND NOT EXISTS ("
        "SELECT FROM pg_trigger AS g WHERE g.tgrelid = a.attrelid AND NOT g.tgisinternal "
        "AND g.tgenabled <> 'D' AND g.tgtype & 7 = 7), "
        "a.attnotnull OR t.typnotnull, a.attgenerated <> '' OR a.attidentity = 'a' "
        "FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid "
        "WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped "
        "ORDER BY a.attnum";
    struct pj_result *result;
    int status = 0;
    if (pj_postgres_query(subject->postgres, sql, PJ_TEXTS(subject->name.text), &result, error) !=
        0)
        return -1;
    for (int row = 0; row < pj_result_rows(result) && status == 0; row++) {
        const char *name = pj_result_value(result, row, NAME, NULL);
        const char *type = pj_result_value(result, row, TYPE, NULL);
        bool needed = is_true(result, row, NEEDED);
        const struct pj_column *column = declared(subject, name);
        char sql_type[256];
        if (name_type(subject, column, sql_type, error) != 0)
            status = -1;
        else if (column != NULL && !fits(column, type, strcmp(sql_type, type) == 0))
            status = not_as_needed(
                subject, error,
                "its column %s is %s, but declared as %s; correct one of the "
                "two",
                name, type, column->sql_type != NULL ? column->sql_type : types[column->type]);
        else if (column != NULL && is_true(result, row, COMPUTED))
            status = not_as_needed(subject, error,
                                   "its column %s is GENERATED ALWAYS, but declared, so no row "
                                   "could be written; correct one of the two",
                                   name);
        else if (column != NULL && (column->elsewhere || is_placeholder(subject, column)) &&
                 is_true(result, row, NOT_NULL))
            status = not_as_needed(subject, error,
                                   "its column %s is NOT NULL, but no row has a value of it when "
                                   "it comes; run ALTER TABLE %s ALTER COLUMN \"%s\" DROP NOT "
                                   "NULL",
                                   name, subject->name.text, name);
        else if (column != NULL && needed && subject->table->children != NULL &&
                 !in_placeholders(subject, column))
            status = not_as_needed(subject, error,
                                   "its column %s is NOT NULL without a default, and a placeholder "
                                   "has no value of it; declare one (in_placeholder), or run ALTER "
                                   "TABLE %s ALTER COLUMN \"%s\" DROP NOT NULL",
                                   name, subject->name.text, name);
        else if (column == NULL && needed && subject->table->part_of == NULL)
            status = not_as_needed(subject, error,
                                   "its column %s is NOT NULL without a default, and not declared, "
                                   "so no row could be written; declare it or give it a default",
                                   name);
    }
    pj_result_free(result);
    return status;
}

/* What ON CONFLICT asks for. */
static int check_key(const struct subject *subject, struct pj_error *error)
{
    static const char sql[] =
        "SELECT FROM pg_index AS i WHERE i.indrelid = $1::regclass AND i.indisunique "
        "AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL AND ("
        "SELECT array_agg(a.attname::text ORDER BY a.attname::text) FROM pg_attribute AS a "
        "WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])"
        ") = (SELECT array_agg(k ORDER BY k) FROM unnest(string_to_array($2, ', ')) AS k)";
    struct pj_builder names = {0};
    for (size_t c = 0; c < subject->table->column_count && subject->table->columns[c].key; c++)
        pj_builder_add(&names, "%s%s", c > 0 ? ", " : "", subject->table->columns[c].name);
    char *key = pj_builder_take(&names);
    struct pj_result *result;
    int status = pj_postgres_query(subject->postgres, sql, PJ_TEXTS(subject->name.text, key),
                                   &result, error);
    if (status == 0) {
        if (pj_result_rows(result) == 0)
            status = not_as_needed(subject, error,
                                   "its key is declared as (%s), but no primary key or unique "
                                   "index is of just these columns; correct one of the two",
                                   key);
        pj_result_free(result);
    }
    free(key);
    return status;
}

/* `read`: the columns that are read. */
static int check_table(const struct subject *subject, uint64_t read, struct pj_error *error)
{
    return read_nothing(subject, read, error) != 0 || check_columns(subject, error) != 0 ||
                   check_key(subject, error) != 0
               ? -1
               : 0;
}

/* --- functions and parents ------------------------------------------------------------------- */

/* An array per key column, and a boolean[]. Called for no row: Postgres looks for it, and whether
 * it may be called. */
static int check_refresh(const struct subject *subject, struct pj_error *error)
{
    const char *function = subject->table->refresh;
    struct pj_builder sql = {0};
    if (function == NULL)
        return 0;
    pj_builder_add(&sql, "SELECT %s(", function);
    pj_sql_columns(&sql, subject->table, pj_sql_key(subject->table), ", ", "NULL::![]");
    pj_builder_add(&sql, ", NULL::boolean[]) LIMIT 0");
    if (try_query(subject, &sql, error) == 0)
        return 0;
    struct pj_error cause = *error;
    if (error->class == PJ_FATAL)
        pj_error_fatal(error, PJ_EXIT_DATABASE,
                       "the function %s of the table %s is not as %s needs it: %.400s; run "
                       "`projectionist migrate`",
                       function, subject->shown, subject->projection->name, cause.message);
    return -1;
}

/* As what writes their placeholders needs them. */
static int check_parents(const struct subject *subject, struct pj_error *error)
{
    const struct pj_parent *parent = subject->table->parents;
    for (; parent != NULL && parent->table != NULL; parent++) {
        const struct pj_table *table = parent->table;
        const struct subject other = {subject->postgres,   subject->projection, table,
                                      pj_sql_table(table), table->name,         NULL};
        uint64_t read = pj_sql_key(table) | 1ULL << table->placeholder | 1ULL << table->first_seen;
        if (check_table(&other, read, error) != 0)
            return -1;
    }
    return 0;
}

/* --- rights ---------------------------------------------------------------------------------- */

const struct pj_engine_right pj_engine_rights[] = {
    {"migrations", "SELECT"},
    {"trims", "SELECT"},
    {"schemas", "SELECT, INSERT, UPDATE"},
    {"schema_readers", "SELECT, INSERT"},
    {"accepted_topics", "SELECT, INSERT"},
    {"consumer_offsets", "SELECT, INSERT, UPDATE"},
    {"dead_letters", "SELECT, INSERT, UPDATE (topic)"},
    {"gaps", "INSERT"},
    {"rules", "SELECT, INSERT, UPDATE"},
    {NULL, NULL},
};

const char pj_state_rights[] = "SELECT, INSERT, UPDATE";
const char pj_wide_state_rights[] = "SELECT, INSERT, UPDATE, DELETE";

const char *pj_table_rights(const struct pj_table *table)
{
    return table->kind == PJ_APPEND_TABLE ? "SELECT, INSERT" : "SELECT, INSERT, UPDATE, DELETE";
}

/* Two arrays, item by item. */
struct needed {
    struct pj_builder tables, rights;
};

static void need(struct needed *needed, const char *table, const char *rights)
{
    pj_sql_array_add(&needed->tables, table);
    pj_sql_array_add(&needed->rights, rights);
}

static void need_engine(struct needed *needed)
{
    for (const struct pj_engine_right *right = pj_engine_rights; right->table != NULL; right++)
        need(needed, pj_sql_qualified("projectionist", right->table).text, right->rights);
}

static void need_state(struct needed *needed, const struct pj_projection *projection,
                       const char *entity, bool wide)
{
    char name[PJ_STATE_NAME_SIZE];
    if (wide)
        pj_declaration_wide_name(projection, entity, name);
    else
        pj_declaration_state_name(projection, entity, name);
    need(needed, pj_sql_qualified("projectionist", name).text,
         wide ? pj_wide_state_rights : pj_state_rights);
}

/* Whether somebody still refers to a row. */
static void need_children(struct needed *needed, const struct pj_table *table)
{
    for (size_t i = 0; table->children != NULL && table->children[i] != NULL; i++)
        need(needed, pj_sql_table(table->children[i]).text, "SELECT");
}

static void need_table(struct needed *needed, const struct pj_table *table)
{
    need(needed, pj_sql_table(table).text, pj_table_rights(table));
    need_children(needed, table);
    for (const struct pj_parent *p = table->parents; p != NULL && p->table != NULL; p++) {
        need(needed, pj_sql_table(p->table).text, "SELECT, INSERT, UPDATE, DELETE");
        need_children(needed, p->table);
    }
}

/* Some rights are used once in a while: the first DELETE may come after weeks. What is not there is
 * for others to say; which columns matter, Postgres knows alone. */
static int check_rights(struct pj_postgres *postgres, const struct pj_projection *projection,
                        struct pj_error *error)
{
    static const char sql[] =
        "SELECT format('%s.%I', c.relnamespace::regnamespace, c.relname), "
        "string_agg(split_part(r, ' (', 1), ', '), quote_ident(current_user) "
        "FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS n (name, rights, number) "
        "JOIN pg_class AS c ON c.oid = to_regclass(n.name), "
        "unnest(string_to_array(n.rights, ', ')) AS r WHERE NOT CASE r WHEN 'DELETE' "
        "THEN has_table_privilege(c.oid, r) "
        "ELSE has_any_column_privilege(c.oid, split_part(r, ' (', 1)) END "
        "GROUP BY c.oid, n.number ORDER BY n.number LIMIT 1";
    struct needed needed = {0};
    struct pj_result *result;
    need_engine(&needed);
    for (size_t e = 0; e < projection->entity_count; e++) {
        need_state(&needed, projection, projection->entities[e].name, false);
        if (pj_wide_has(&projection->entities[e]))
            need_state(&needed, projection, projection->entities[e].name, true);
    }
    for (size_t t = 0; t < projection->table_count; t++) {
        if (projection->tables[t]->claimed != NULL)
            need_state(&needed, projection, projection->tables[t]->claimed, false);
        need_table(&needed, projection->tables[t]);
    }
    char *tables = pj_sql_array_take(&needed.tables);
    char *rights = pj_sql_array_take(&needed.rights);
    int status = pj_postgres_query(postgres, sql, PJ_TEXTS(tables, rights), &result, error);
    free(tables);
    free(rights);
    if (status != 0)
        return -1;
    if (pj_result_rows(result) > 0) {
        const char *table = pj_result_value(result, 0, 0, NULL);
        const char *missing = pj_result_value(result, 0, 1, NULL);
        const char *role = pj_result_value(result, 0, 2, NULL);
        status = pj_error_fatal(error, PJ_EXIT_DATABASE,
                                "the role %s lacks the right to %s the table %s, as %s needs it: "
                                "GRANT %s ON %s TO %s, or run `projectionist roles`",
                                role, missing, table, projection->name, missing, table, role);
    }
    pj_result_free(result);
    return status;
}

/* --- all ------------------------------------------------------------------------------------- */

static int check_state(struct pj_postgres *postgres, const struct pj_projection *projection,
                       const struct pj_entity_kind *entity, bool wide, const char *schema,
                       struct pj_error *error)
{
    char name[PJ_STATE_NAME_SIZE];
    char shown[sizeof(struct pj_sql_name)];
    const char *in = schema != NULL ? schema : "projectionist";
    if (wide)
        pj_declaration_wide_name(projection, entity->name, name);
    else
        pj_declaration_state_name(projection, entity->name, name);
    pj_text_whole(shown, sizeof shown, "%s.%s", in, name);
    const struct subject subject = {
        postgres,
        projection,
        wide            ? &pj_wide_state_table
        : entity->timed ? &pj_timed_state_table
                        : &pj_state_table,
        pj_sql_qualified(in, name),
        shown,
        wide            ? "(key UUID, kind INTEGER, subkey UUID, facts BYTEA NOT NULL, PRIMARY KEY "
                          "(key, kind, subkey))"
        : entity->timed ? "(key UUID PRIMARY KEY, facts BYTEA NOT NULL, due_at TIMESTAMPTZ, "
                          "derived_at TIMESTAMPTZ)"
                        : "(key UUID PRIMARY KEY, facts BYTEA NOT NULL)",
    };
    return check_table(&subject, pj_sql_all(subject.table), error);
}

int pj_tables_check(struct pj_postgres *postgres, const struct pj_projection *projection,
                    const char *schema, struct pj_error *error)
{
    /* A shadow is the role's own. */
    if (schema == NULL && check_rights(postgres, projection, error) != 0)
        return -1;
    for (size_t t = 0; t < projection->table_count; t++) {
        const struct pj_table *table = projection->tables[t];
        const struct subject subject = {postgres,    projection, table, pj_sql_table(table),
                                        table->name, NULL};
        if (check_table(&subject, pj_sql_all(table), error) != 0 ||
            check_refresh(&subject, error) != 0 ||
            /* a shadow has no foreign keys */
            (schema == NULL && check_parents(&subject, error) != 0))
            return -1;
    }
    for (size_t e = 0; e < projection->entity_count; e++) {
        const struct pj_entity_kind *entity = &projection->entities[e];
        if (check_state(postgres, projection, entity, false, schema, error) != 0 ||
            (pj_wide_has(entity) &&
             check_state(postgres, projection, entity, true, schema, error) != 0))
            return -1;
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "store/statements.h"
#include "fold/declaration.h"

#include "base/text.h"
#include "postgres/binary.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* SQL being put together; the INSERT of 64 columns with names of 63 bytes takes 25 KB. */
struct sql {
    char text[32768];
    size_t length;
};

static void add(struct sql *sql, const char *format, ...) PJ_PRINTF(2, 3);

static void add(struct sql *sql, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    /* Declarations are const data of at most 64 columns. */
    sql->length +=
        pj_text_vwhole(sql->text + sql->length, sizeof sql->text - sql->length, format, args);
    va_end(args);
}

static void add_table(struct sql *sql, const struct pj_statements *statements,
                      const struct pj_table *table)
{
    const char *schema = statements->schema != NULL ? statements->schema : table->schema;
    if (schema != NULL)
        add(sql, "\"%s\".", schema);
    add(sql, "\"%s\"", table->name);
}

static bool chosen(const struct pj_table *table, size_t column, uint64_t columns)
{
    return table->columns[column].key || (columns >> column & 1) != 0;
}

static const char *comma(bool *any)
{
    const char *text = *any ? ", " : "";
    *any = true;
    return text;
}

static void add_names(struct sql *sql, const struct pj_table *table, uint64_t columns)
{
    bool any = false;
    for (size_t c = 0; c < table->column_count; c++) {
        if (chosen(table, c, columns))
            add(sql, "%s\"%s\"", comma(&any), table->columns[c].name);
    }
}

/* unnest($1::uuid[], …) AS u("a", …): the rows of the arrays. */
static void add_unnest(struct sql *sql, const struct pj_table *table, uint64_t columns)
{
    int parameter = 0;
    bool any = false;
    add(sql, "unnest(");
    for (size_t c = 0; c < table->column_count; c++) {
        if (chosen(table, c, columns))
            add(sql, "%s$%d::%s[]", comma(&any), ++parameter,
                pj_binary_sql_type(table->columns[c].type));
    }
    add(sql, ") AS u(");
    add_names(sql, table, columns);
    add(sql, ")");
}

static void add_value(struct sql *sql, const struct pj_column *column)
{
    add(sql, "u.\"%s\"%s", column->name,
        column->type == PJ_NUMERIC  ? "::numeric"
        : column->type == PJ_COUNTS ? "::bigint[]"
                                    : "");
}

static void add_key_match(struct sql *sql, const struct pj_table *table)
{
    for (size_t c = 0; c < table->column_count && table->columns[c].key; c++)
        add(sql, "%st.\"%s\" = u.\"%s\"", c > 0 ? " AND " : "", table->columns[c].name,
            table->columns[c].name);
}

/*
 * How many rows a statement wrote is looked at by the statement itself: a COMMIT may be on its way
 * behind it, which only an error stops. What it says of one row a parameter is around it.
 */
static void add_checked(struct sql *sql)
{
    add(sql, "WITH written AS (");
}

static void add_comparison(struct sql *sql, const struct pj_statements *statements,
                           const struct pj_table *table, const char *verb, const char *queued)
{
    add(sql, "SELECT CASE WHEN count(*) <> %s THEN projectionist.refuse_unwritten('%s', '", queued,
        statements->projection->name);
    add_table(sql, statements, table);
    add(sql, "'::regclass, '%s', %s, count(*)) END", verb, queued);
}

static void add_check(struct sql *sql, const struct pj_statements *statements,
                      const struct pj_table *table, const char *verb)
{
    add(sql, " RETURNING 1) ");
    add_comparison(sql, statements, table, verb, "cardinality($1)");
    add(sql, " FROM written");
}

static uint64_t key_columns(const struct pj_table *table)
{
    uint64_t columns = 0;
    for (size_t c = 0; c < table->column_count && table->columns[c].key; c++)
        columns |= 1ULL << c;
    return columns;
}

static uint64_t all_columns(const struct pj_table *table)
{
    return UINT64_MAX >> (PJ_COLUMNS_MOST - table->column_count);
}

static struct pj_statement finish(struct pj_statements *statements, const struct sql *sql,
                                  const struct pj_table *table, uint64_t columns, const char *verb)
{
    struct pj_arena *arena = statements->arena;
    /* One more for the flag of `settle`. */
    uint32_t *types = pj_arena_alloc(arena, (PJ_COLUMNS_MOST + 1) * sizeof *types);
    int count = 0;
    size_t index = 0;
    while (statements->projection->tables[index] != table)
        index++;
    for (size_t c = 0; c < table->column_count; c++) {
        if (chosen(table, c, columns))
            types[count++] = pj_binary_array_oid(table->columns[c].type);
    }
    return (struct pj_statement){
        /* Postgres knows it by its first 63 bytes, so what tells it apart comes first; a table's
         * parts have its name. */
        .name = pj_arena_printf(arena, "pj_%s_%zu_%llx_%s", verb, index,
                                (unsigned long long)columns, table->name),
        .sql = pj_arena_string(arena, sql->text, sql->length),
        .parameter_count = count,
        .types = types,
    };
}

/* How a bucket takes in a difference. */
static void add_measure(struct sql *sql, const struct pj_column *column)
{
    const char *name = column->name;
    switch (column->measure) {
    case PJ_SUM:
        if (column->type == PJ_COUNTS)
            add(sql, "\"%s\" = projectionist.add_counts(t.\"%s\", EXCLUDED.\"%s\")", name, name,
                name);
        else
            add(sql, "\"%s\" = t.\"%s\" + EXCLUDED.\"%s\"", name, name, name);
        return;
    case PJ_MIN:
        add(sql, "\"%s\" = LEAST(t.\"%s\", EXCLUDED.\"%s\")", name, name, name);
        return;
    case PJ_MAX:
        add(sql, "\"%s\" = GREATEST(t.\"%s\", EXCLUDED.\"%s\")", name, name, name);
        return;
    case PJ_NOT_A_MEASURE:
        return;
    }
}

/* projectionist.refuse_row('thing with id=' || …, t."id"): a row that somebody else has is not ours
 * to write over. As pj_row_key_name names it. */
static void add_refusal(struct sql *sql, const struct pj_table *table, const char *column)
{
    add(sql, "projectionist.refuse_row(concat('%s with '", table->name);
    for (size_t c = 0; c < table->column_count && table->columns[c].key; c++)
        add(sql, ", '%s%s=', left(t.\"%s\"::text, 80)", c > 0 ? ", " : "", table->columns[c].name,
            table->columns[c].name);
    add(sql, "), t.\"%s\")", column);
}

/* Into an entity table: rows that others made so that foreign keys hold are written over. */
static void add_taking(struct sql *sql, const struct pj_table *table)
{
    bool any = false;
    if (table->placeholder == 0) {
        add(sql, "\"%s\" = ", table->columns[0].name);
        add_refusal(sql, table, table->columns[0].name);
        return;
    }
    for (size_t c = 0; c < table->column_count; c++) {
        const char *name = table->columns[c].name;
        if (table->columns[c].key)
            continue;
        add(sql, "%s\"%s\" = ", comma(&any), name);
        if (c != table->placeholder) {
            add(sql, "EXCLUDED.\"%s\"", name);
            continue;
        }
        add(sql, "CASE WHEN t.\"%s\" THEN EXCLUDED.\"%s\" ELSE ", name, name);
        add_refusal(sql, table, name);
        add(sql, " END");
    }
}

/* Of rows that are there already nothing is written. */
static bool passes_over(const struct pj_table *table)
{
    return table->kind != PJ_ENTITY_TABLE &&
           (table->kind == PJ_APPEND_TABLE || table->columns[table->column_count - 1].key);
}

static struct pj_statement make_insert(struct pj_statements *statements,
                                       const struct pj_table *table)
{
    struct sql sql = {.length = 0};
    bool any = false;
    if (!passes_over(table))
        add_checked(&sql);
    add(&sql, "INSERT INTO ");
    add_table(&sql, statements, table);
    add(&sql, " AS t (");
    add_names(&sql, table, all_columns(table));
    add(&sql, ") SELECT ");
    for (size_t c = 0; c < table->column_count; c++) {
        add(&sql, "%s", comma(&any));
        add_value(&sql, &table->columns[c]);
    }
    add(&sql, " FROM ");
    add_unnest(&sql, table, all_columns(table));
    add(&sql, " ON CONFLICT (");
    add_names(&sql, table, key_columns(table));
    if (table->kind == PJ_ENTITY_TABLE) {
        add(&sql, ") DO UPDATE SET ");
        add_taking(&sql, table);
    } else if (passes_over(table)) {
        add(&sql, ") DO NOTHING");
    } else {
        add(&sql, ") DO UPDATE SET ");
        any = false;
        for (size_t c = 0; c < table->column_count; c++) {
            if (table->columns[c].key)
                continue;
            add(&sql, "%s", comma(&any));
            add_measure(&sql, &table->columns[c]);
        }
    }
    if (!passes_over(table))
        add_check(&sql, statements, table, "INSERT");
    return finish(statements, &sql, table, all_columns(table), "insert");
}

/* "SELECT function($1, $2": an array per key column; their number. */
static int add_call(struct sql *sql, const struct pj_table *table, const char *function)
{
    int parameter = 0;
    add(sql, "SELECT %s(", function);
    for (size_t c = 0; c < table->column_count && table->columns[c].key; c++)
        add(sql, "%s$%d", c > 0 ? ", " : "", ++parameter);
    return parameter;
}

static struct pj_statement make_remove(struct pj_statements *statements,
                                       const struct pj_table *table)
{
    struct sql sql = {.length = 0};
    uint64_t columns = key_columns(table);
    /* In a shadow nothing refers to a row. */
    if (table->remove != NULL && statements->schema == NULL) {
        add_call(&sql, table, table->remove);
        add(&sql, ")");
        return finish(statements, &sql, table, columns, "remove");
    }
    add_checked(&sql);
    add(&sql, "DELETE FROM ");
    add_table(&sql, statements, table);
    add(&sql, " t USING ");
    add_unnest(&sql, table, columns);
    add(&sql, " WHERE ");
    add_key_match(&sql, table);
    add_check(&sql, statements, table, "DELETE");
    return finish(statements, &sql, table, columns, "remove");
}

static struct pj_statement make_update(struct pj_statements *statements,
                                       const struct pj_table *table, uint64_t columns)
{
    struct sql sql = {.length = 0};
    bool any = false;
    add_checked(&sql);
    add(&sql, "UPDATE ");
    add_table(&sql, statements, table);
    add(&sql, " t SET ");
    for (size_t c = 0; c < table->column_count; c++) {
        if (table->columns[c].key || (columns >> c & 1) == 0)
            continue;
        add(&sql, "%s\"%s\" = ", comma(&any), table->columns[c].name);
        add_value(&sql, &table->columns[c]);
    }
    add(&sql, " FROM ");
    add_unnest(&sql, table, columns);
    add(&sql, " WHERE ");
    add_key_match(&sql, table);
    add_check(&sql, statements, table, "UPDATE");
    return finish(statements, &sql, table, columns, "update");
}

/* Its name has no columns, which are no parameters of it: a part has one, and a table too. */
static struct pj_statement make_release(struct pj_statements *statements,
                                        const struct pj_table *table, uint64_t released)
{
    struct sql sql = {.length = 0};
    uint64_t columns = key_columns(table);
    bool any = false;
    add_checked(&sql);
    add(&sql, "UPDATE ");
    add_table(&sql, statements, table);
    add(&sql, " t SET ");
    for (size_t c = 0; c < table->column_count; c++) {
        if (!table->columns[c].key && (released >> c & 1) != 0)
            add(&sql, "%s\"%s\" = NULL", comma(&any), table->columns[c].name);
    }
    add(&sql, " FROM ");
    add_unnest(&sql, table, columns);
    add(&sql, " WHERE ");
    add_key_match(&sql, table);
    add_check(&sql, statements, table, "UPDATE");
    return finish(statements, &sql, table, columns, "release");
}

/* Behind an INSERT that passes over rows which are there already: they are all there now. */
static struct pj_statement make_present(struct pj_statements *statements,
                                        const struct pj_table *table)
{
    struct sql sql = {.length = 0};
    uint64_t columns = key_columns(table);
    add_comparison(&sql, statements, table, "INSERT", "cardinality($1)");
    add(&sql, " FROM ");
    add_unnest(&sql, table, columns);
    add(&sql, " WHERE EXISTS (SELECT FROM ");
    add_table(&sql, statements, table);
    add(&sql, " t WHERE ");
    add_key_match(&sql, table);
    add(&sql, ")");
    return finish(statements, &sql, table, columns, "present");
}

/* Behind a function that takes rows away: what is left of them is others' placeholders. */
static struct pj_statement make_absent(struct pj_statements *statements,
                                       const struct pj_table *table)
{
    struct sql sql = {.length = 0};
    uint64_t columns = key_columns(table);
    add_comparison(&sql, statements, table, "DELETE", "cardinality($1)");
    add(&sql, " FROM ");
    add_unnest(&sql, table, columns);
    add(&sql, " WHERE NOT EXISTS (SELECT FROM ");
    add_table(&sql, statements, table);
    add(&sql, " t WHERE ");
    add_key_match(&sql, table);
    if (table->placeholder != 0)
        add(&sql, " AND t.\"%s\" IS NOT TRUE", table->columns[table->placeholder].name);
    add(&sql, ")");
    return finish(statements, &sql, table, columns, "absent");
}

static struct pj_statement make_settle(struct pj_statements *statements,
                                       const struct pj_table *table)
{
    struct sql sql = {.length = 0};
    uint64_t columns = key_columns(table);
    int parameter = add_call(&sql, table, table->settle);
    add(&sql, ", $%d)", ++parameter);
    struct pj_statement settle = finish(statements, &sql, table, columns, "settle");
    ((uint32_t *)settle.types)[settle.parameter_count++] = PJ_OID_BOOL_ARRAY;
    return settle;
}

static const uint32_t copied_types[] = {PJ_OID_INT8, PJ_OID_INT8};

static struct pj_copy make_copy(struct pj_statements *statements, const struct pj_table *table,
                                size_t index)
{
    struct sql sql = {.length = 0};
    struct sql copied = {.length = 0};
    add(&sql, "COPY ");
    add_table(&sql, statements, table);
    add(&sql, " (");
    add_names(&sql, table, all_columns(table));
    add(&sql, ") FROM STDIN (FORMAT binary)");
    add_table(&copied, statements, table);
    return (struct pj_copy){
        .sql = pj_arena_string(statements->arena, sql.text, sql.length),
        .copied =
            {
                .name = pj_arena_printf(statements->arena, "pj_copied_%zu_%s", index, table->name),
                .sql =
                    pj_arena_printf(statements->arena,
                                    "SELECT projectionist.refuse_unwritten('%s', '%s'::regclass, "
                                    "'INSERT', $1, $2)",
                                    statements->projection->name, copied.text),
                .parameter_count = 2,
                .types = copied_types,
            },
    };
}

/* --- states ---------------------------------------------------------------------------------- */

static const uint32_t load_types[] = {PJ_OID_UUID_ARRAY, PJ_OID_INT4};
static const uint32_t keys_facts_types[] = {PJ_OID_UUID_ARRAY, PJ_OID_BYTEA_ARRAY,
                                            PJ_OID_TIMESTAMPTZ_ARRAY, PJ_OID_TIMESTAMPTZ_ARRAY};
static const uint32_t stream_time_type[] = {PJ_OID_TIMESTAMPTZ};

static const struct pj_column state_columns[] = {
    {"key", PJ_UUID, .key = true},
    {"facts", PJ_BYTEA},
    {"due_at", PJ_TIMESTAMPTZ},
    {"derived_at", PJ_TIMESTAMPTZ},
};
const struct pj_table pj_state_table = {.columns = state_columns, .column_count = 2};
const struct pj_table pj_timed_state_table = {.columns = state_columns, .column_count = 4};

void pj_statements_table_name(const struct pj_table *table, char name[PJ_TABLE_NAME_SIZE])
{
    if (table->schema != NULL)
        pj_text_whole(name, PJ_TABLE_NAME_SIZE, "\"%s\".\"%s\"", table->schema, table->name);
    else
        pj_text_whole(name, PJ_TABLE_NAME_SIZE, "\"%s\"", table->name);
}

/* As a table among others: with its name and schema. */
static struct pj_table state_table(struct pj_statements *statements,
                                   const struct pj_entity_kind *entity)
{
    char name[PJ_STATE_NAME_SIZE];
    struct pj_table table = entity->timed ? pj_timed_state_table : pj_state_table;
    pj_declaration_state_name(statements->projection, entity->name, name);
    table.name = pj_arena_string(statements->arena, name, strlen(name));
    table.schema = "projectionist";
    return table;
}

/* `format` has an @ for the table. */
static struct pj_statement state_statement(struct pj_statements *statements, const char *entity,
                                           const struct pj_table *table, const char *verb,
                                           const char *format, const uint32_t *types, int count)
{
    struct sql sql = {.length = 0};
    bool inserts = strcmp(verb, "insert") == 0;
    bool writes = inserts || strcmp(verb, "update") == 0;
    const char *gap = strchr(format, '@');
    if (writes)
        add_checked(&sql);
    add(&sql, "%.*s", (int)(gap - format), format);
    add_table(&sql, statements, table);
    add(&sql, "%s", gap + 1);
    if (writes)
        add_check(&sql, statements, table, inserts ? "INSERT" : "UPDATE");
    return (struct pj_statement){
        .name = pj_arena_printf(statements->arena, "pj_%s_state_%s", verb, entity),
        .sql = pj_arena_string(statements->arena, sql.text, sql.length),
        .parameter_count = count,
        .types = types,
    };
}

/* The length of a value that Postgres keeps elsewhere is known without it, so what is too long
 * costs nothing. */
#define FACTS "octet_length(facts), CASE WHEN octet_length(facts) <= $2 THEN facts END"

static void make_timed_entity(struct pj_statements *statements, const char *name,
                              const struct pj_table *table, struct pj_entity_statements *entity)
{
    entity->load = state_statement(statements, name, table, "load",
                                   "SELECT key, " FACTS ", derived_at FROM @ "
                                   "WHERE key = ANY($1) ORDER BY key FOR NO KEY UPDATE",
                                   load_types, 2);
    entity->insert =
        state_statement(statements, name, table, "insert",
                        "INSERT INTO @ (key, facts, due_at, derived_at) SELECT * FROM "
                        "unnest($1::uuid[], $2::bytea[], $3::timestamptz[], $4::timestamptz[])",
                        keys_facts_types, 4);
    entity->update = state_statement(
        statements, name, table, "update",
        "UPDATE @ t SET facts = u.facts, due_at = u.due_at, derived_at = u.derived_at FROM "
        "unnest($1::uuid[], $2::bytea[], $3::timestamptz[], $4::timestamptz[]) "
        "AS u(key, facts, due_at, derived_at) WHERE t.key = u.key",
        keys_facts_types, 4);
    entity->due = state_statement(statements, name, table, "due",
                                  "SELECT key, octet_length(facts) FROM @ WHERE due_at < $1 "
                                  "ORDER BY due_at LIMIT 1000",
                                  stream_time_type, 1);
}

static void make_entity(struct pj_statements *statements, size_t index)
{
    const struct pj_entity_kind *kind = &statements->projection->entities[index];
    const char *name = kind->name;
    const struct pj_table of = state_table(statements, kind);
    const struct pj_table *table = &of;
    struct pj_entity_statements *entity = &statements->entities[index];
    if (statements->schema != NULL)
        entity->copy = make_copy(statements, table, statements->projection->table_count + index);
    if (kind->timed) {
        make_timed_entity(statements, name, table, entity);
        return;
    }
    /* LockRows runs above the sort: locks are taken in the order of the keys. */
    entity->load = state_statement(statements, name, table, "load",
                                   "SELECT key, " FACTS
                                   " FROM @ WHERE key = ANY($1) ORDER BY key FOR NO KEY UPDATE",
                                   load_types, 2);
    /* No ON CONFLICT: a key that another transaction claimed meanwhile must fail this one. */
    entity->insert = state_statement(statements, name, table, "insert",
                                     "INSERT INTO @ (key, facts) "
                                     "SELECT * FROM unnest($1::uuid[], $2::bytea[])",
                                     keys_facts_types, 2);
    entity->update = state_statement(statements, name, table, "update",
                                     "UPDATE @ t SET facts = u.facts FROM "
                                     "unnest($1::uuid[], $2::bytea[]) AS u(key, facts) "
                                     "WHERE t.key = u.key",
                                     keys_facts_types, 2);
}

struct pj_statements *pj_statements_new(const struct pj_projection *projection, const char *schema)
{
    struct pj_arena *arena = pj_arena_new();
    struct pj_statements *statements = pj_arena_alloc(arena, sizeof *statements);
    statements->projection = projection;
    statements->arena = arena;
    statements->schema = schema != NULL ? pj_arena_string(arena, schema, strlen(schema)) : NULL;
    statements->tables =
        pj_arena_alloc(arena, projection->table_count * sizeof *statements->tables);
    statements->entities =
        pj_arena_alloc(arena, projection->entity_count * sizeof *statements->entities);
    for (size_t t = 0; t < projection->table_count; t++) {
        const struct pj_table *table = projection->tables[t];
        statements->tables[t].insert = make_insert(statements, table);
        statements->tables[t].remove = make_remove(statements, table);
        if (table->part_of != NULL)
            statements->tables[t].release = make_release(statements, table, all_columns(table));
        if (table->kind == PJ_APPEND_TABLE || (schema != NULL && table->kind == PJ_ENTITY_TABLE))
            statements->tables[t].copy = make_copy(statements, table, t);
        if (passes_over(table))
            statements->tables[t].present = make_present(statements, table);
        if (table->remove != NULL && schema == NULL)
            statements->tables[t].absent = make_absent(statements, table);
        if (table->settle != NULL)
            statements->tables[t].settle = make_settle(statements, table);
    }
    for (size_t e = 0; e < projection->entity_count; e++)
        make_entity(statements, e);
    return statements;
}

void pj_statements_free(struct pj_statements *statements)
{
    if (statements != NULL)
        pj_arena_free(statements->arena);
}

/* Of the list, or made and added to it. */
static const struct pj_statement *
by_columns(struct pj_statements *statements, struct pj_update **list, size_t table,
           uint64_t columns,
           struct pj_statement (*make)(struct pj_statements *statements,
                                       const struct pj_table *table, uint64_t columns))
{
    for (struct pj_update *update = *list; update != NULL; update = update->next) {
        if (update->columns == columns)
            return &update->statement;
    }
    struct pj_update *update = pj_arena_alloc(statements->arena, sizeof *update);
    update->columns = columns;
    update->statement = make(statements, statements->projection->tables[table], columns);
    update->next = *list;
    *list = update;
    return &update->statement;
}

const struct pj_statement *pj_statements_update(struct pj_statements *statements, size_t table,
                                                uint64_t columns)
{
    return by_columns(statements, &statements->tables[table].updates, table, columns, make_update);
}

const struct pj_statement *pj_statements_release(struct pj_statements *statements, size_t table,
                                                 uint64_t columns)
{
    return by_columns(statements, &statements->tables[table].releases, table, columns,
                      make_release);
}

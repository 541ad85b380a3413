/* SPDX-License-Identifier: Apache-2.0 */
#include "store/statements.h"
#include "fold/declaration.h"
#include "fold/wide.h"

#include "postgres/binary.h"
#include "postgres/sql_text.h"
#include "store/placeholders.h"

#include <stdlib.h>
#include <string.h>

/* What a statement is about: a table of the projection, or one of its states. */
struct subject {
    struct pj_statements *statements;
    const struct pj_table *table;
    size_t index; /* among tables, then states */
    struct pj_sql_name name;
};

static struct subject subject_of(struct pj_statements *statements, const struct pj_table *table,
                                 size_t index)
{
    const char *schema = statements->schema != NULL ? statements->schema : table->schema;
    return (struct subject){statements, table, index, pj_sql_qualified(schema, table->name)};
}

static bool is_state(const struct subject *subject)
{
    return subject->index >= subject->statements->projection->table_count;
}

/* The text goes into the arena; its parameters are the arrays of the columns. */
static struct pj_statement finish(const struct subject *subject, struct pj_builder *sql,
                                  uint64_t columns, const char *verb)
{
    struct pj_arena *arena = subject->statements->arena;
    const struct pj_table *table = subject->table;
    /* One more for the flag of `refresh`. */
    uint32_t *types = pj_arena_alloc(arena, (PJ_COLUMNS_MOST + 1) * sizeof *types);
    int count = 0;
    for (size_t c = 0; c < table->column_count; c++) {
        if ((columns >> c & 1) != 0)
            types[count++] = pj_binary_array_oid(table->columns[c].type);
    }
    char *text = pj_builder_take(sql);
    struct pj_statement statement = {
        /* Postgres truncates it to 63 bytes, so what is unique comes first. */
        .name = pj_arena_printf(arena, "pj_%s_%zu_%llx_%s", verb, subject->index,
                                (unsigned long long)columns, table->name),
        .sql = pj_arena_string(arena, text, strlen(text)),
        .parameter_count = count,
        .types = types,
    };
    free(text);
    return statement;
}

/* unnest($1::uuid[], …) AS u("a", …): the rows of the arrays. */
static void add_unnest(struct pj_builder *sql, const struct pj_table *table, uint64_t columns)
{
    pj_builder_add(sql, "unnest(");
    pj_sql_columns(sql, table, columns, ", ", "$#::![]");
    pj_builder_add(sql, ") AS u(");
    pj_sql_columns(sql, table, columns, ", ", "@");
    pj_builder_add(sql, ")");
}

/* Each row t of the table that is one of the arrays' rows u. */
static void add_match(struct pj_builder *sql, const struct pj_table *table)
{
    pj_sql_columns(sql, table, pj_sql_key(table), " AND ", "t.@ = u.@^");
}

/*
 * A statement counts the rows that it wrote itself: a COMMIT may be queued after it, which only an
 * error stops. `sql` compares them with the rows in its parameters.
 */
static void add_comparison(struct pj_builder *sql, const struct subject *subject, const char *verb)
{
    pj_builder_add(sql,
                   "SELECT CASE WHEN count(*) <> cardinality($1) THEN "
                   "projectionist.refuse_unwritten('%s', '%s'::regclass, '%s', cardinality($1), "
                   "count(*)) END FROM ",
                   subject->statements->projection->name, subject->name.text, verb);
}

/* After "WITH written AS (" and what writes. */
static void add_check(struct pj_builder *sql, const struct subject *subject, const char *verb)
{
    pj_builder_add(sql, " RETURNING 1) ");
    add_comparison(sql, subject, verb);
    pj_builder_add(sql, "written");
}

/* How a difference is added to a bucket. */
static void add_measure(struct pj_builder *sql, const struct pj_table *table, size_t index)
{
    const struct pj_column *column = &table->columns[index];
    const char *each = column->measure == PJ_MIN   ? "@ = LEAST(t.@, EXCLUDED.@)"
                       : column->measure == PJ_MAX ? "@ = GREATEST(t.@, EXCLUDED.@)"
                       : column->type == PJ_COUNTS ? "@ = projectionist.add_counts(t.@, EXCLUDED.@)"
                                                   : "@ = t.@ + EXCLUDED.@";
    pj_sql_columns(sql, table, 1ULL << index, "", each);
}

/* projectionist.refuse_row('thing with id=' || …, t."id"): another entity has the row. Named as by
 * pj_row_key_name. */
static void add_refusal(struct pj_builder *sql, const struct pj_table *table, size_t column)
{
    pj_builder_add(sql, "projectionist.refuse_row(concat('%s with '", table->name);
    for (size_t c = 0; c < table->column_count && table->columns[c].key; c++) {
        const char *name = table->columns[c].name;
        pj_builder_add(sql, ", '%s%s=', left(t.%s::text, 80)", c > 0 ? ", " : "", name,
                       pj_sql_name(name).text);
    }
    pj_builder_add(sql, "), t.%s)", pj_sql_name(table->columns[column].name).text);
}

/* Into an entity table: over placeholders only. */
static void add_overwriting(struct pj_builder *sql, const struct pj_table *table)
{
    if (table->placeholder == 0) {
        pj_sql_columns(sql, table, 1, "", "@ = ");
        add_refusal(sql, table, 0);
        return;
    }
    uint64_t placeholder = 1ULL << table->placeholder;
    for (size_t c = 0, any = 0; c < table->column_count; c++) {
        if (table->columns[c].key)
            continue;
        pj_builder_add(sql, "%s", any++ > 0 ? ", " : "");
        if (c != table->placeholder) {
            pj_sql_columns(sql, table, 1ULL << c, "", "@ = EXCLUDED.@");
            continue;
        }
        pj_sql_columns(sql, table, placeholder, "", "@ = CASE WHEN t.@ THEN EXCLUDED.@ ELSE ");
        add_refusal(sql, table, c);
        pj_builder_add(sql, " END");
    }
}

/* Rows that are there already stay as they are. */
static bool skips_duplicates(const struct pj_table *table)
{
    return table->kind != PJ_ENTITY_TABLE &&
           (table->kind == PJ_APPEND_TABLE || table->columns[table->column_count - 1].key);
}

static void add_conflict(struct pj_builder *sql, const struct pj_table *table)
{
    pj_builder_add(sql, " ON CONFLICT (");
    pj_sql_columns(sql, table, pj_sql_key(table), ", ", "@");
    if (skips_duplicates(table)) {
        pj_builder_add(sql, ") DO NOTHING");
        return;
    }
    pj_builder_add(sql, ") DO UPDATE SET ");
    if (table->kind == PJ_ENTITY_TABLE) {
        add_overwriting(sql, table);
        return;
    }
    for (size_t c = 0, any = 0; c < table->column_count; c++) {
        if (table->columns[c].key)
            continue;
        pj_builder_add(sql, "%s", any++ > 0 ? ", " : "");
        add_measure(sql, table, c);
    }
}

static struct pj_statement make_insert(const struct subject *subject)
{
    struct pj_builder sql = {0};
    const struct pj_table *table = subject->table;
    uint64_t all = pj_sql_all(table);
    if (!skips_duplicates(table))
        pj_builder_add(&sql, "WITH written AS (");
    pj_builder_add(&sql, "INSERT INTO %s AS t (", subject->name.text);
    pj_sql_columns(&sql, table, all, ", ", "@");
    pj_builder_add(&sql, ") SELECT ");
    pj_sql_columns(&sql, table, all, ", ", "u.@^");
    pj_builder_add(&sql, " FROM ");
    add_unnest(&sql, table, all);
    /* A state that another transaction claimed meanwhile must fail this one. */
    if (!is_state(subject))
        add_conflict(&sql, table);
    if (!skips_duplicates(table))
        add_check(&sql, subject, "INSERT");
    return finish(subject, &sql, all, "insert");
}

/* In a shadow nothing refers to a row. */
static bool has_children(const struct subject *subject)
{
    return subject->table->children != NULL && subject->statements->schema == NULL;
}

/* By the key columns. */
static struct pj_statement make_placeholders(const struct subject *subject, const char *verb,
                                             void (*add)(struct pj_builder *sql,
                                                         const struct pj_table *table,
                                                         const char *source))
{
    struct pj_builder source = {0};
    struct pj_builder sql = {0};
    add_unnest(&source, subject->table, pj_sql_key(subject->table));
    char *text = pj_builder_take(&source);
    add(&sql, subject->table, text);
    free(text);
    return finish(subject, &sql, pj_sql_key(subject->table), verb);
}

static struct pj_statement make_remove(const struct subject *subject)
{
    struct pj_builder sql = {0};
    const struct pj_table *table = subject->table;
    uint64_t key = pj_sql_key(table);
    pj_builder_add(&sql, "WITH written AS (DELETE FROM %s t USING ", subject->name.text);
    add_unnest(&sql, table, key);
    pj_builder_add(&sql, " WHERE ");
    add_match(&sql, table);
    add_check(&sql, subject, "DELETE");
    return finish(subject, &sql, key, "remove");
}

/* Sets columns by `each`; the rows of the arrays have those of `given`. */
static struct pj_statement make_setter(const struct subject *subject, uint64_t set,
                                       const char *each, uint64_t given, const char *verb)
{
    struct pj_builder sql = {0};
    const struct pj_table *table = subject->table;
    pj_builder_add(&sql, "WITH written AS (UPDATE %s t SET ", subject->name.text);
    pj_sql_columns(&sql, table, set & ~pj_sql_key(table), ", ", each);
    pj_builder_add(&sql, " FROM ");
    add_unnest(&sql, table, given);
    pj_builder_add(&sql, " WHERE ");
    add_match(&sql, table);
    add_check(&sql, subject, "UPDATE");
    return finish(subject, &sql, given, verb);
}

static struct pj_statement make_update(const struct subject *subject, uint64_t columns)
{
    return make_setter(subject, columns, "@ = u.@^", columns | pj_sql_key(subject->table),
                       "update");
}

static struct pj_statement make_release(const struct subject *subject, uint64_t columns)
{
    return make_setter(subject, columns, "@ = NULL", pj_sql_key(subject->table), "release");
}

/* Queued after an INSERT that skips duplicates: all rows are there now. Or after the removal of
 * rows with children: none is, except placeholders. */
static struct pj_statement make_recount(const struct subject *subject, bool present)
{
    struct pj_builder sql = {0};
    const struct pj_table *table = subject->table;
    uint64_t key = pj_sql_key(table);
    add_comparison(&sql, subject, present ? "INSERT" : "DELETE");
    add_unnest(&sql, table, key);
    pj_builder_add(&sql, " WHERE %sEXISTS (SELECT FROM %s t WHERE ", present ? "" : "NOT ",
                   subject->name.text);
    add_match(&sql, table);
    if (!present && table->placeholder != 0)
        pj_sql_columns(&sql, table, 1ULL << table->placeholder, "", " AND t.@ IS NOT TRUE");
    pj_builder_add(&sql, ")");
    return finish(subject, &sql, key, present ? "present" : "absent");
}

static struct pj_statement make_found(const struct subject *subject)
{
    struct pj_builder sql = {0};
    const struct pj_table *table = subject->table;
    uint64_t key = pj_sql_key(table);
    pj_builder_add(&sql, "SELECT u.pj_place FROM unnest(");
    pj_sql_columns(&sql, table, key, ", ", "$#::![]");
    pj_builder_add(&sql, ") WITH ORDINALITY AS u(");
    pj_sql_columns(&sql, table, key, ", ", "@");
    pj_builder_add(&sql, ", pj_place) JOIN %s AS t ON ", subject->name.text);
    add_match(&sql, table);
    return finish(subject, &sql, key, "found");
}

static struct pj_statement make_refresh(const struct subject *subject)
{
    struct pj_builder sql = {0};
    uint64_t key = pj_sql_key(subject->table);
    pj_builder_add(&sql, "SELECT %s(", subject->table->refresh);
    pj_sql_columns(&sql, subject->table, key, ", ", "$#");
    pj_builder_add(&sql, ", $%d)", __builtin_popcountll(key) + 1);
    struct pj_statement refresh = finish(subject, &sql, key, "refresh");
    ((uint32_t *)refresh.types)[refresh.parameter_count++] = PJ_OID_BOOL_ARRAY;
    return refresh;
}

static const uint32_t copied_types[] = {PJ_OID_INT8, PJ_OID_INT8};

static struct pj_copy make_copy(const struct subject *subject)
{
    struct pj_arena *arena = subject->statements->arena;
    const struct pj_table *table = subject->table;
    struct pj_builder columns = {0};
    pj_sql_columns(&columns, table, pj_sql_all(table), ", ", "@");
    char *names = pj_builder_take(&columns);
    struct pj_copy copy = {
        .sql = pj_arena_printf(arena, "COPY %s (%s) FROM STDIN (FORMAT binary)", subject->name.text,
                               names),
        .copied =
            {
                .name = pj_arena_printf(arena, "pj_copied_%zu_%s", subject->index, table->name),
                .sql = pj_arena_printf(arena,
                                       "SELECT projectionist.refuse_unwritten('%s', "
                                       "'%s'::regclass, 'INSERT', $1, $2)",
                                       subject->statements->projection->name, subject->name.text),
                .parameter_count = 2,
                .types = copied_types,
            },
    };
    free(names);
    return copy;
}

/* --- states ---------------------------------------------------------------------------------- */

static const uint32_t load_types[] = {PJ_OID_UUID_ARRAY, PJ_OID_INT4};
static const uint32_t wide_types[] = {PJ_OID_UUID_ARRAY, PJ_OID_INT4_ARRAY, PJ_OID_UUID_ARRAY,
                                      PJ_OID_INT4};
static const uint32_t kinds_types[] = {PJ_OID_UUID_ARRAY, PJ_OID_INT4_ARRAY, PJ_OID_INT4};
static const uint32_t time_types[] = {PJ_OID_TIMESTAMPTZ};

static const struct pj_column state_columns[] = {
    {"key", PJ_UUID, .key = true},
    {"facts", PJ_BYTEA},
    {"due_at", PJ_TIMESTAMPTZ},
    {"derived_at", PJ_TIMESTAMPTZ},
};
const struct pj_table pj_state_table = {.columns = state_columns, .column_count = 2};
const struct pj_table pj_timed_state_table = {.columns = state_columns, .column_count = 4};

static const struct pj_column wide_columns[] = {
    {"key", PJ_UUID, .key = true},
    {"kind", PJ_INT, .key = true},
    {"subkey", PJ_UUID, .key = true},
    {"facts", PJ_BYTEA},
};
const struct pj_table pj_wide_state_table = {.columns = wide_columns, .column_count = 4};

/* As a table among others: with its name and schema. */
static const struct pj_table *state_table(struct pj_statements *statements,
                                          const struct pj_entity_kind *entity)
{
    char name[PJ_STATE_NAME_SIZE];
    struct pj_table *table = pj_arena_copy(
        statements->arena, entity->timed ? &pj_timed_state_table : &pj_state_table, sizeof *table);
    pj_declaration_state_name(statements->projection, entity->name, name);
    table->name = pj_arena_string(statements->arena, name, strlen(name));
    table->schema = "projectionist";
    return table;
}

static void make_wide(struct pj_statements *statements, size_t index)
{
    const struct pj_projection *projection = statements->projection;
    struct pj_entity_statements *entity = &statements->entities[index];
    char name[PJ_STATE_NAME_SIZE];
    struct pj_table *table =
        pj_arena_copy(statements->arena, &pj_wide_state_table, sizeof pj_wide_state_table);
    pj_declaration_wide_name(projection, projection->entities[index].name, name);
    table->name = pj_arena_string(statements->arena, name, strlen(name));
    table->schema = "projectionist";
    const struct subject subject =
        subject_of(statements, table, projection->table_count + projection->entity_count + index);
    struct pj_builder load = {0};
    struct pj_builder kinds = {0};
    struct pj_builder put = {0};
    /* No lock: whoever has the row of the entity has these. */
    pj_builder_add(&load,
                   "SELECT t.key, t.kind, t.subkey, octet_length(t.facts), "
                   "CASE WHEN octet_length(t.facts) <= $4 THEN t.facts END "
                   "FROM unnest($1, $2, $3) AS u (key, kind, subkey) JOIN %s AS t "
                   "ON t.key = u.key AND t.kind = u.kind AND t.subkey = u.subkey",
                   subject.name.text);
    entity->load_wide = finish(&subject, &load, 0, "load");
    entity->load_wide.parameter_count = 4;
    entity->load_wide.types = wide_types;
    pj_builder_add(&kinds,
                   "SELECT t.key, t.kind, t.subkey, octet_length(t.facts), "
                   "CASE WHEN sum(octet_length(t.facts)) OVER (PARTITION BY t.key, t.kind) <= $3 "
                   "THEN t.facts END FROM unnest($1, $2) AS u (key, kind) JOIN %s AS t "
                   "ON t.key = u.key AND t.kind = u.kind ORDER BY 1, 2, 3",
                   subject.name.text);
    entity->load_kinds = finish(&subject, &kinds, 0, "load_kinds");
    entity->load_kinds.parameter_count = 3;
    entity->load_kinds.types = kinds_types;
    pj_builder_add(&put,
                   "WITH written AS (INSERT INTO %s (key, kind, subkey, facts) SELECT * FROM ",
                   subject.name.text);
    add_unnest(&put, table, pj_sql_all(table));
    pj_builder_add(&put, " ON CONFLICT (key, kind, subkey) DO UPDATE SET facts = EXCLUDED.facts");
    add_check(&put, &subject, "INSERT");
    entity->put_wide = finish(&subject, &put, pj_sql_all(table), "put");
    entity->remove_wide = make_remove(&subject);
}

static void make_entity(struct pj_statements *statements, size_t index)
{
    const struct pj_entity_kind *kind = &statements->projection->entities[index];
    struct pj_entity_statements *entity = &statements->entities[index];
    const struct subject subject = subject_of(statements, state_table(statements, kind),
                                              statements->projection->table_count + index);
    struct pj_builder load = {0};
    struct pj_builder due = {0};
    /* octet_length does not read a TOASTed value, so what is too long costs nothing. LockRows runs
     * above the sort: locks are taken in the order of the keys. */
    pj_builder_add(&load,
                   "SELECT key, octet_length(facts), CASE WHEN octet_length(facts) <= $2 THEN "
                   "facts END%s FROM %s WHERE key = ANY($1) ORDER BY key FOR NO KEY UPDATE",
                   kind->timed ? ", derived_at" : "", subject.name.text);
    entity->load = finish(&subject, &load, 0, "load");
    entity->load.parameter_count = 2;
    entity->load.types = load_types;
    entity->insert = make_insert(&subject);
    entity->update = make_update(&subject, pj_sql_all(subject.table));
    if (statements->schema != NULL)
        entity->copy = make_copy(&subject);
    if (pj_wide_has(kind))
        make_wide(statements, index);
    if (!kind->timed)
        return;
    pj_builder_add(&due,
                   "SELECT key, octet_length(facts) FROM %s WHERE due_at < $1 ORDER BY due_at "
                   "LIMIT %d",
                   subject.name.text, PJ_DUE_MOST);
    entity->due = finish(&subject, &due, 0, "due");
    entity->due.parameter_count = 1;
    entity->due.types = time_types;
}

/* Who orders a trim waits for the lock, so that whoever writes has seen the orders before it. */
static void make_trim(struct pj_statements *statements, const struct pj_table *table,
                      struct pj_table_statements *made)
{
    const struct pj_sql_name live = pj_sql_table(table);
    struct pj_arena *arena = statements->arena;
    made->trim_lock = (struct pj_statement){
        .name = pj_arena_printf(arena, "pj_trim_lock_%s", table->name),
        .sql = pj_arena_printf(arena, "LOCK TABLE %s IN ROW EXCLUSIVE MODE", live.text),
    };
    made->trimmed = (struct pj_statement){
        .name = pj_arena_printf(arena, "pj_trimmed_%s", table->name),
        .sql = pj_arena_printf(arena, "SELECT projectionist.trimmed_before('%s'::regclass)",
                               live.text),
    };
    made->expect_trim = (struct pj_statement){
        .name = pj_arena_printf(arena, "pj_expect_trim_%s", table->name),
        .sql = pj_arena_printf(arena, "SELECT projectionist.expect_trim('%s'::regclass, $1)",
                               live.text),
        .parameter_count = 1,
        .types = time_types,
    };
}

static void make_table(struct pj_statements *statements, size_t index)
{
    const struct pj_table *table = statements->projection->tables[index];
    struct pj_table_statements *made = &statements->tables[index];
    const struct subject subject = subject_of(statements, table, index);
    bool shadow = statements->schema != NULL;
    made->insert = make_insert(&subject);
    if (has_children(&subject)) {
        made->lock = make_placeholders(&subject, "lock", pj_placeholders_lock);
        made->restore = make_placeholders(&subject, "restore", pj_placeholders_restore);
        made->remove = make_placeholders(&subject, "remove", pj_placeholders_remove);
        made->absent = make_recount(&subject, false);
    } else {
        made->remove = make_remove(&subject);
    }
    if (table->part_of != NULL)
        made->release = make_release(&subject, pj_sql_all(table));
    if (table->kind == PJ_APPEND_TABLE || (shadow && table->kind == PJ_ENTITY_TABLE))
        made->copy = make_copy(&subject);
    if (table->kind == PJ_APPEND_TABLE)
        made->found = make_found(&subject);
    if (skips_duplicates(table))
        made->present = make_recount(&subject, true);
    if (table->refresh != NULL)
        made->refresh = make_refresh(&subject);
    if (table->trimmed_by != 0)
        make_trim(statements, table, made);
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
    for (size_t t = 0; t < projection->table_count; t++)
        make_table(statements, t);
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
           struct pj_statement (*make)(const struct subject *subject, uint64_t columns))
{
    for (struct pj_update *update = *list; update != NULL; update = update->next) {
        if (update->columns == columns)
            return &update->statement;
    }
    struct pj_update *update = pj_arena_alloc(statements->arena, sizeof *update);
    const struct subject subject =
        subject_of(statements, statements->projection->tables[table], table);
    update->columns = columns;
    update->statement = make(&subject, columns);
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

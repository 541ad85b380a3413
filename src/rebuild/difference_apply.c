/* SPDX-License-Identifier: Apache-2.0 */
#include "rebuild/difference.h"

#include "base/text.h"
#include "rebuild/pairs.h"
#include "store/constraints.h"
#include "store/placeholders.h"
#include "store/statements.h"

#include <stdlib.h>
#include <string.h>

int pj_difference_lock(struct pj_postgres *postgres, const struct pj_projection *projection,
                       struct pj_error *error)
{
    size_t count;
    struct pj_builder sql = {0};
    struct pj_pair *pairs = pj_pairs_list(projection, "", &count);
    pj_builder_add(&sql, "LOCK TABLE ");
    for (size_t i = 0; i < count; i++)
        pj_builder_add(&sql, "%s%s", i > 0 ? ", " : "", pairs[i].live.text);
    pj_builder_add(&sql, " IN SHARE ROW EXCLUSIVE MODE");
    free(pairs);
    return pj_pairs_script(postgres, &sql, error);
}

/* Behind what writes the rows of one kind ("WITH written AS (… "): it wrote them all. */
static void add_check(struct pj_builder *sql, const struct pj_pair *pair, const char *kinds,
                      const char *verb)
{
    pj_builder_add(
        sql,
        " RETURNING 1) SELECT projectionist.refuse_unwritten('%s', '%s'::regclass, '%s', q.n, w.n) "
        "FROM (SELECT count(*) AS n FROM pj_difference_%zu WHERE pj_kind IN (%s)) AS q, "
        "(SELECT count(*) AS n FROM written) AS w WHERE q.n <> w.n; ",
        pair->projection, pair->live.text, verb, pair->index, kinds);
}

/* Of rows with children, placeholders may be left. */
static void add_absence(struct pj_builder *sql, const struct pj_pair *pair)
{
    const struct pj_sql_name key = pj_sql_name(pj_pair_name(pair, 0));
    pj_builder_add(sql,
                   "SELECT projectionist.refuse_unwritten('%s', '%s'::regclass, 'DELETE', "
                   "count(*), count(*) FILTER (WHERE l.%s IS NULL)) FROM pj_difference_%zu AS d "
                   "LEFT JOIN %s AS l ON ",
                   pair->projection, pair->live.text, key.text, pair->index, pair->live.text);
    pj_pair_columns(sql, pair, pair->key, " AND ", "l.@ = d.@");
    pj_pair_columns(sql, pair, pj_pair_placeholder(pair), "", " AND l.@ IS NOT TRUE");
    pj_builder_add(sql, " WHERE d.pj_kind = 'extra' HAVING count(l.%s) > 0; ", key.text);
}

static void add_remove(struct pj_builder *sql, const struct pj_pair *pair)
{
    if (pair->table->children != NULL) {
        char *source = pj_text_new("(SELECT * FROM pj_difference_%zu WHERE pj_kind = 'extra') AS u",
                                   pair->index);
        pj_placeholders_lock(sql, pair->table, source);
        pj_builder_add(sql, "; ");
        pj_placeholders_restore(sql, pair->table, source);
        pj_builder_add(sql, "; ");
        pj_placeholders_remove(sql, pair->table, source);
        pj_builder_add(sql, "; ");
        free(source);
        add_absence(sql, pair);
        return;
    }
    pj_builder_add(
        sql,
        "WITH written AS (DELETE FROM %s AS l USING pj_difference_%zu AS d WHERE d.pj_kind = "
        "'extra' AND ",
        pair->live.text, pair->index);
    pj_pair_columns(sql, pair, pair->key, " AND ", "l.@ = d.@");
    add_check(sql, pair, "'extra'", "DELETE");
}

/* What parts have: old values go before new ones are set. */
static void add_part_releases(struct pj_builder *sql, const struct pj_projection *projection,
                              const struct pj_pair *pair)
{
    for (size_t t = 0; t < projection->table_count; t++) {
        const struct pj_table *part = projection->tables[t];
        if (part->part_of != pair->table)
            continue;
        pj_builder_add(sql, "WITH written AS (UPDATE %s AS l SET ", pair->live.text);
        pj_sql_columns(sql, part, pj_sql_all(part) & ~pj_sql_key(part), ", ", "@ = NULL");
        pj_builder_add(sql,
                       " FROM pj_difference_%zu AS d WHERE d.pj_kind IN ('changed', 'extra') AND ",
                       pair->index);
        pj_pair_columns(sql, pair, pair->key, " AND ", "l.@ = d.@");
        add_check(sql, pair, "'changed', 'extra'", "UPDATE");
    }
}

/* Of other columns under a unique index, too, where rows may swap their values. */
static void add_unique_releases(struct pj_builder *sql, const struct pj_pair *pair, uint64_t unique,
                                uint64_t release)
{
    if (release == 0)
        return;
    pj_builder_add(sql, "UPDATE %s AS l SET ", pair->live.text);
    pj_pair_columns(sql, pair, release, ", ", "@ = NULL");
    pj_builder_add(
        sql,
        " FROM pj_difference_%zu AS d WHERE (d.pj_kind = 'extra' OR (d.pj_kind = 'changed' "
        "AND d.pj_columns & (%lld)::bigint <> 0)) AND ",
        pair->index, (long long)unique);
    pj_pair_columns(sql, pair, pair->key, " AND ", "l.@ = d.@");
    pj_builder_add(sql, "; ");
}

/* The parents that rows of the shadow mention where they differ, as a source for placeholders. */
static char *mentions(const struct pj_pair *pair, const struct pj_parent *parent)
{
    struct pj_builder source = {0};
    struct pj_builder where = {0};
    pj_builder_add(&source, "(SELECT ");
    (void)pj_placeholders_key(&source, &where, pair->table, parent, "s");
    if (parent->table->first_seen != 0)
        pj_builder_add(&source, ", s.%s AS pj_seen",
                       pj_sql_name(pj_pair_name(pair, (size_t)parent->seen_at)).text);
    pj_builder_add(&source, ", 0::bigint AS pj_place FROM %s AS s JOIN pj_difference_%zu AS d ON ",
                   pair->shadow.text, pair->index);
    pj_pair_columns(&source, pair, pair->key, " AND ", "s.@ = d.@");
    char *condition = pj_builder_take(&where);
    pj_builder_add(&source, " WHERE %s) AS u", condition);
    free(condition);
    return pj_builder_take(&source);
}

/* What rows will refer to. */
static void add_ensures(struct pj_builder *sql, const struct pj_pair *pair)
{
    const struct pj_parent *parent = pair->table->parents;
    for (; parent != NULL && parent->table != NULL; parent++) {
        char *source = mentions(pair, parent);
        pj_placeholders_ensure(sql, parent->table, source);
        pj_builder_add(sql, "; ");
        free(source);
    }
}

/* What others made of that meanwhile. */
static void add_settling(struct pj_builder *sql, const struct pj_pair *pair)
{
    const struct pj_parent *parent = pair->table->parents;
    for (; parent != NULL && parent->table != NULL; parent++) {
        if (parent->table->first_seen == 0)
            continue;
        char *source = mentions(pair, parent);
        pj_placeholders_refer(sql, parent->table, source);
        pj_builder_add(sql, "; ");
        pj_placeholders_lower(sql, parent->table, source);
        pj_builder_add(sql, "; ");
        free(source);
    }
}

/* What rows will no longer refer to, or mention at another time: noted before they change, released
 * afterwards. */
static void note_left(struct pj_builder *sql, const struct pj_pair *pair)
{
    const struct pj_parent *parent = pair->table->parents;
    for (size_t p = 0; parent != NULL && parent[p].table != NULL; p++) {
        struct pj_builder where = {0};
        pj_builder_add(sql, "CREATE TEMP TABLE pj_left_%zu_%zu ON COMMIT DROP AS SELECT DISTINCT ",
                       pair->index, p);
        uint64_t columns = pj_placeholders_key(sql, &where, pair->table, &parent[p], "l");
        pj_builder_add(sql, " FROM %s AS l JOIN pj_difference_%zu AS d ON ", pair->live.text,
                       pair->index);
        pj_pair_columns(sql, pair, pair->key, " AND ", "l.@ = d.@");
        if (parent[p].table->first_seen != 0)
            columns |= 1ULL << parent[p].seen_at;
        char *condition = pj_builder_take(&where);
        pj_builder_add(
            sql, " WHERE %s AND (d.pj_kind = 'extra' OR d.pj_columns & (%lld)::bigint <> 0); ",
            condition, (long long)columns);
        free(condition);
    }
}

static void release_left(struct pj_builder *sql, const struct pj_pair *pair)
{
    const struct pj_parent *parent = pair->table->parents;
    for (size_t p = 0; parent != NULL && parent[p].table != NULL; p++) {
        char *source = pj_text_new("pj_left_%zu_%zu AS u", pair->index, p);
        pj_placeholders_leave(sql, parent[p].table, source);
        free(source);
    }
}

static void add_update(struct pj_builder *sql, const struct pj_pair *pair)
{
    uint64_t columns = pj_sql_all(pair->table) & ~pair->key;
    if (columns == 0)
        return;
    pj_builder_add(sql, "WITH written AS (UPDATE %s AS l SET ", pair->live.text);
    pj_pair_columns(sql, pair, columns, ", ", "@ = s.@");
    pj_builder_add(sql, " FROM %s AS s, pj_difference_%zu AS d WHERE d.pj_kind = 'changed' AND ",
                   pair->shadow.text, pair->index);
    pj_pair_columns(sql, pair, pair->key, " AND ", "s.@ = d.@");
    pj_builder_add(sql, " AND ");
    pj_pair_columns(sql, pair, pair->key, " AND ", "l.@ = d.@");
    add_check(sql, pair, "'changed'", "UPDATE");
}

static void add_insert(struct pj_builder *sql, const struct pj_pair *pair)
{
    pj_builder_add(sql, "WITH written AS (INSERT INTO %s (", pair->live.text);
    pj_pair_columns(sql, pair, pj_sql_all(pair->table), ", ", "@");
    pj_builder_add(sql, ") SELECT ");
    pj_pair_columns(sql, pair, pj_sql_all(pair->table), ", ", "s.@");
    pj_builder_add(sql, " FROM %s AS s JOIN pj_difference_%zu AS d ON ", pair->shadow.text,
                   pair->index);
    pj_pair_columns(sql, pair, pair->key, " AND ", "s.@ = d.@");
    pj_builder_add(sql, " WHERE d.pj_kind = 'missing'");
    if (pair->state && pair->table != &pj_wide_state_table) { /* over a state without facts */
        pj_builder_add(sql, " ON CONFLICT (key) DO UPDATE SET ");
        pj_pair_columns(sql, pair, pj_sql_all(pair->table) & ~pair->key, ", ", "@ = excluded.@");
    }
    add_check(sql, pair, "'missing'", "INSERT");
}

/* A timed kind's rows are as of when it was derived: the shadow's rows, the shadow's time. */
static void add_derived_at(struct pj_builder *sql, const struct pj_pair *pair)
{
    if (pair->table != &pj_timed_state_table)
        return;
    pj_builder_add(sql,
                   "UPDATE %s AS l SET due_at = s.due_at, derived_at = s.derived_at FROM %s AS s "
                   "WHERE l.key = s.key AND (l.due_at, l.derived_at) IS DISTINCT FROM "
                   "(s.due_at, s.derived_at); ",
                   pair->live.text, pair->shadow.text);
}

/* The pairs as their constraints want them, the states last. */
static const struct pj_pair **sort_pairs(const struct pj_pair *pairs, size_t count,
                                         const struct pj_projection *projection,
                                         const size_t *order, struct pj_arena *arena)
{
    const struct pj_pair **sorted = pj_arena_alloc(arena, count * sizeof(void *));
    size_t at = 0;
    for (size_t i = 0; i < projection->table_count; i++) {
        for (size_t p = 0; p < count; p++) {
            if (pairs[p].table == projection->tables[order[i]])
                sorted[at++] = &pairs[p];
        }
    }
    for (size_t p = 0; p < count; p++) {
        if (pairs[p].state)
            sorted[at++] = &pairs[p];
    }
    return sorted;
}

static void add_giving_up(struct pj_builder *sql, const struct pj_pair *pair,
                          const struct pj_projection *projection,
                          const struct pj_constraints *constraints)
{
    note_left(sql, pair);
    add_part_releases(sql, projection, pair);
    for (size_t t = 0; t < projection->table_count; t++) {
        if (projection->tables[t] == pair->table)
            add_unique_releases(sql, pair, constraints->unique[t], constraints->release[t]);
    }
}

/* As a batch is written: values are given up, what is referred to comes before what refers to it,
 * and goes after it. */
static int apply_pairs(struct pj_postgres *postgres, const struct pj_pair *const *pairs,
                       size_t count, const struct pj_projection *projection,
                       const struct pj_constraints *constraints, struct pj_error *error)
{
    enum { GIVE_UP, WRITE, REMOVE, LEAVE, PHASES };
    for (int phase = 0; phase < PHASES; phase++) {
        for (size_t i = 0; i < count; i++) {
            struct pj_builder sql = {0};
            const struct pj_pair *pair = pairs[phase == REMOVE ? count - 1 - i : i];
            switch (phase) {
            case GIVE_UP:
                add_giving_up(&sql, pair, projection, constraints);
                break;
            case WRITE:
                add_ensures(&sql, pair);
                add_insert(&sql, pair);
                add_update(&sql, pair);
                add_settling(&sql, pair);
                add_derived_at(&sql, pair);
                break;
            case REMOVE:
                add_remove(&sql, pair);
                break;
            default:
                release_left(&sql, pair);
            }
            if (pj_pairs_script(postgres, &sql, error) != 0)
                return -1;
        }
    }
    return 0;
}

int pj_difference_apply(struct pj_postgres *postgres, const struct pj_difference_settings *settings,
                        struct pj_error *error)
{
    size_t count;
    struct pj_constraints constraints;
    struct pj_arena *arena = pj_arena_new();
    struct pj_pair *pairs = pj_pairs_list(settings->projection, settings->shadow, &count);
    int status = pj_constraints_read(&constraints, postgres, settings->projection, arena, error);
    if (status == 0 && constraints.deferrable)
        status = pj_postgres_script(postgres, pj_constraints_defer.sql, error);
    if (status == 0)
        status = apply_pairs(
            postgres, sort_pairs(pairs, count, settings->projection, constraints.order, arena),
            count, settings->projection, &constraints, error);
    if (status == 0 && constraints.deferrable)
        status = pj_postgres_script(postgres, pj_constraints_check.sql, error);
    free(pairs);
    pj_arena_free(arena);
    return status;
}

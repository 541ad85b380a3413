/* SPDX-License-Identifier: Apache-2.0 */
#include "store/limits.h"

#include "base/decimal.h"
#include "base/utf8.h"
#include "postgres/sql_text.h"

#include <stdlib.h>
#include <string.h>

/* --- reading --------------------------------------------------------------------------------- */

/* The scale of a numeric has eleven bits, the first of which is its sign. */
static const char limits_sql[] =
    "SELECT c.name, CASE c.type WHEN 'numeric'::regtype "
    "THEN (((c.modifier - 4) & 2047) # 1024) - 1024 "
    "WHEN 'varchar'::regtype THEN c.modifier - 4 ELSE c.modifier END "
    "FROM (SELECT a.attname AS name, coalesce(nullif(t.typbasetype, 0), t.oid)::regtype AS type, "
    "CASE WHEN t.typbasetype <> 0 THEN t.typtypmod ELSE a.atttypmod END AS modifier "
    "FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid "
    "WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped) AS c "
    "WHERE c.modifier >= 0 "
    "AND c.type IN ('numeric'::regtype, 'varchar'::regtype, 'timestamptz'::regtype)";

static void take(struct pj_limit *limits, const struct pj_table *table, const char *column,
                 int most)
{
    for (size_t c = 0; c < table->column_count; c++) {
        if (strcmp(table->columns[c].name, column) == 0)
            limits[c] = (struct pj_limit){.set = true, .most = most};
    }
}

static int read_table(const struct pj_limit **limits, struct pj_postgres *postgres,
                      const struct pj_table *table, struct pj_arena *arena, struct pj_error *error)
{
    const struct pj_sql_name name = pj_sql_table(table);
    struct pj_result *result;
    if (pj_postgres_query(postgres, limits_sql, PJ_TEXTS(name.text), &result, error) != 0)
        return -1;
    struct pj_limit *found = pj_arena_alloc(arena, table->column_count * sizeof *found);
    for (int row = 0; row < pj_result_rows(result); row++) {
        take(found, table, pj_result_value(result, row, 0, NULL),
             (int)strtol(pj_result_value(result, row, 1, NULL), NULL, 10));
        *limits = found;
    }
    pj_result_free(result);
    return 0;
}

int pj_limits_read(const struct pj_limit *const **limits, struct pj_postgres *postgres,
                   const struct pj_projection *projection, struct pj_arena *arena,
                   struct pj_error *error)
{
    const struct pj_limit **found = pj_arena_alloc(arena, projection->table_count * sizeof *found);
    for (size_t t = 0; t < projection->table_count; t++) {
        if (read_table(&found[t], postgres, projection->tables[t], arena, error) != 0)
            return -1;
    }
    *limits = found;
    return 0;
}

/* --- checking -------------------------------------------------------------------------------- */

/* Digits after the point without trailing zeros; negative for a number that ends in zeros before
 * the point. */
static long digits_after_point(const struct pj_value *number)
{
    struct pj_decimal decimal;
    if (!pj_decimal_read(number->text.data, number->text.length, &decimal) || decimal.sign == 0)
        return INT32_MIN; /* not a number that could be rounded: NaN, or whole, as 0x1f */
    return (long)(decimal.count - decimal.point);
}

/* How many digits of a second; what is infinite has none. */
static long digits_of_second(int64_t microseconds)
{
    long digits = 6;
    if (microseconds == INT64_MIN || microseconds == INT64_MAX)
        return 0;
    for (; digits > 0 && microseconds % 10 == 0; digits--)
        microseconds /= 10;
    return digits;
}

static int refuse(const struct pj_table *table, const struct pj_column *column, int most,
                  const char *unit, long has, const char *sqlstate, struct pj_error *error)
{
    pj_error_set(error, PJ_POISON,
                 "the column %s of %s holds %d %s, and the value has %ld; widen the column, or "
                 "correct the value",
                 column->name, table->name, most, unit, has);
    memcpy(error->sqlstate, sqlstate, sizeof error->sqlstate);
    return -1;
}

int pj_limits_check(const struct pj_limit *limits, const struct pj_table *table,
                    const struct pj_value *row, struct pj_error *error)
{
    for (size_t c = 0; c < table->column_count; c++) {
        const struct pj_column *column = &table->columns[c];
        int most = limits[c].most;
        long has = 0;
        if (!limits[c].set || !row[c].present || column->sql_type != NULL)
            continue;
        if (column->type == PJ_TEXT) {
            if (row[c].text.length > (size_t)most &&
                (has = (long)pj_utf8_count(row[c].text.data, row[c].text.length)) > most)
                return refuse(table, column, most, "characters", has, "22001", error);
        } else if (column->type == PJ_NUMERIC) {
            if ((has = digits_after_point(&row[c])) > most)
                return refuse(table, column, most, "digits after the point", has, "22003", error);
        } else if (column->type == PJ_TIMESTAMPTZ) {
            if ((has = digits_of_second(row[c].integer)) > most)
                return refuse(table, column, most, "digits of a second", has, "22008", error);
        }
    }
    return 0;
}

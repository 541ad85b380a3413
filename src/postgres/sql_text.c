/* SPDX-License-Identifier: Apache-2.0 */
#include "postgres/sql_text.h"

#include "base/invariant.h"
#include "postgres/binary.h"

#include <string.h>

static size_t quote(char *to, const char *name)
{
    size_t length = 0;
    PJ_CHECK(strlen(name) <= PJ_SQL_IDENTIFIER_MOST, "a name is longer than Postgres keeps");
    to[length++] = '"';
    for (; *name != '\0'; name++) {
        if (*name == '"')
            to[length++] = '"';
        to[length++] = *name;
    }
    to[length++] = '"';
    return length;
}

struct pj_sql_name pj_sql_name(const char *name)
{
    return pj_sql_qualified(NULL, name);
}

struct pj_sql_name pj_sql_qualified(const char *schema, const char *name)
{
    struct pj_sql_name quoted = {""};
    size_t length = 0;
    if (schema != NULL) {
        length = quote(quoted.text, schema);
        quoted.text[length++] = '.';
    }
    quote(quoted.text + length, name);
    return quoted;
}

struct pj_sql_name pj_sql_table(const struct pj_table *table)
{
    return pj_sql_qualified(table->schema, table->name);
}

uint64_t pj_sql_key(const struct pj_table *table)
{
    uint64_t columns = 0;
    for (size_t c = 0; c < table->column_count && table->columns[c].key; c++)
        columns |= 1ULL << c;
    return columns;
}

uint64_t pj_sql_all(const struct pj_table *table)
{
    return UINT64_MAX >> (PJ_COLUMNS_MOST - table->column_count);
}

static void add_cast(struct pj_builder *sql, const struct pj_column *column)
{
    const char *type = column->type == PJ_NUMERIC  ? "numeric"
                       : column->type == PJ_COUNTS ? "bigint[]"
                                                   : column->sql_type;
    pj_builder_add(sql, "%s%s", type != NULL ? "::" : "", type != NULL ? type : "");
}

static void add_each(struct pj_builder *sql, const struct pj_column *column, int number,
                     const char *each)
{
    for (; *each != '\0'; each++) {
        switch (*each) {
        case '@':
            pj_builder_add(sql, "%s", pj_sql_name(column->name).text);
            break;
        case '#':
            pj_builder_add(sql, "%d", number);
            break;
        case '!':
            pj_builder_add(sql, "%s", pj_binary_sql_type(column->type));
            break;
        case '^':
            add_cast(sql, column);
            break;
        case '~':
            pj_builder_add(sql, "%s", column->sql_type != NULL ? "::text" : "");
            break;
        default:
            pj_builder_add_bytes(sql, each, 1);
        }
    }
}

void pj_sql_columns(struct pj_builder *sql, const struct pj_table *table, uint64_t columns,
                    const char *separator, const char *each)
{
    int number = 0;
    for (size_t c = 0; c < table->column_count; c++) {
        if ((columns >> c & 1) == 0)
            continue;
        if (number++ > 0)
            pj_builder_add(sql, "%s", separator);
        add_each(sql, &table->columns[c], number, each);
    }
}

void pj_sql_literal(struct pj_builder *sql, const char *before, const char *text)
{
    pj_builder_add(sql, "%s'", before);
    for (; *text != '\0'; text++)
        pj_builder_add(sql, "%s%c", *text == '\'' ? "'" : "", *text);
    pj_builder_add(sql, "'");
}

void pj_sql_array_add(struct pj_builder *array, const char *text)
{
    pj_builder_add(array, "%c\"", array->length == 0 ? '{' : ',');
    for (; *text != '\0'; text++)
        pj_builder_add(array, "%s%c", *text == '"' || *text == '\\' ? "\\" : "", *text);
    pj_builder_add(array, "\"");
}

char *pj_sql_array_take(struct pj_builder *array)
{
    pj_builder_add(array, "%s", array->length == 0 ? "{}" : "}");
    return pj_builder_take(array);
}

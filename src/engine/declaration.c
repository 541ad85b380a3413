/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/declaration.h"

#include <string.h>

enum { COLUMNS_MOST = 64, TABLES_MOST = 64, SOURCES_MOST = 64, NAME_MOST = 63 };

static const char lower[] = "abcdefghijklmnopqrstuvwxyz";

/* --- sources and entities -------------------------------------------------------------------- */

static int check_source(const struct pj_source *source, struct pj_error *error)
{
    if (source->topic == NULL || source->observe == NULL)
        return pj_error_set(error, PJ_FATAL, "the source of %s lacks its %s",
                            source->topic != NULL ? source->topic : "the projection",
                            source->topic != NULL ? "observe function" : "topic");
    if (source->event_time != 0 && (source->event_time >= source->field_count ||
                                    source->fields[source->event_time].type != PJ_TIMESTAMPTZ))
        return pj_error_set(error, PJ_FATAL,
                            "the event_time of the source %s is no field of it that is a "
                            "PJ_TIMESTAMPTZ; 0 means that it has none",
                            source->topic);
    return 0;
}

static int check_entity(const struct pj_projection *projection, size_t index,
                        struct pj_error *error)
{
    const struct pj_entity_kind *entity = &projection->entities[index];
    if (entity->name == NULL || entity->derive == NULL)
        return pj_error_set(error, PJ_FATAL,
                            "entity kind %zu of %s lacks its %s; are there fewer than its "
                            "entity_count?",
                            index, projection->name, entity->name == NULL ? "name" : "derive");
    if (strlen("state__") + strlen(projection->name) + strlen(entity->name) > NAME_MOST)
        return pj_error_set(error, PJ_FATAL,
                            "state_%s_%s is longer than the %d bytes that the name of a table "
                            "can have; shorten one of the two",
                            projection->name, entity->name, NAME_MOST);
    for (size_t e = 0; e < index; e++) {
        if (strcmp(projection->entities[e].name, entity->name) == 0)
            return pj_error_set(error, PJ_FATAL, "two entity kinds of %s have the name %s",
                                projection->name, entity->name);
    }
    for (size_t f = 0; f < entity->fact_count; f++) {
        const struct pj_fact_kind *fact = &entity->facts[f];
        if (fact->name == NULL)
            return pj_error_set(error, PJ_FATAL,
                                "fact kind %zu of the entity kind %s is not declared", f,
                                entity->name);
        if (fact->value_count > PJ_FACT_VALUES_MOST)
            return pj_error_set(error, PJ_FATAL,
                                "the fact kind \"%s\" has %zu values, and %d is the most: divide "
                                "it in two",
                                fact->name, fact->value_count, PJ_FACT_VALUES_MOST);
    }
    return 0;
}

/* --- tables ---------------------------------------------------------------------------------- */

static bool is_sum(enum pj_type type)
{
    return type == PJ_BIGINT || type == PJ_COUNTS;
}

static int check_measure(const struct pj_table *table, const struct pj_column *column,
                         struct pj_error *error)
{
    bool wanted = table->kind == PJ_ROLLUP_TABLE && !column->key;
    if (wanted && column->measure == PJ_NOT_A_MEASURE)
        return pj_error_set(error, PJ_FATAL,
                            "the column %s of the rollup %s is neither a key nor has it a measure "
                            "(PJ_SUM, PJ_MIN or PJ_MAX)",
                            column->name, table->name);
    if (!wanted && column->measure != PJ_NOT_A_MEASURE)
        return pj_error_set(error, PJ_FATAL,
                            "the column %s of %s has a measure, which only columns of a rollup "
                            "have that are not of its key",
                            column->name, table->name);
    if (column->measure == PJ_SUM && !is_sum(column->type))
        return pj_error_set(error, PJ_FATAL,
                            "the column %s of %s is a PJ_SUM, so it must be a PJ_BIGINT or "
                            "PJ_COUNTS",
                            column->name, table->name);
    if (column->type == PJ_COUNTS && column->measure != PJ_SUM)
        return pj_error_set(error, PJ_FATAL, "the column %s of %s is PJ_COUNTS, but no PJ_SUM",
                            column->name, table->name);
    return 0;
}

static int check_column(const struct pj_table *table, size_t index, struct pj_error *error)
{
    const struct pj_column *column = &table->columns[index];
    if (column->name == NULL)
        return pj_error_set(error, PJ_FATAL, "column %zu of %s is not declared", index,
                            table->name);
    if (index == 0 && !column->key)
        return pj_error_set(error, PJ_FATAL,
                            "the first column of %s, %s, is not of its key: key columns come "
                            "first, and there is at least one",
                            table->name, column->name);
    if (index > 0 && column->key && !table->columns[index - 1].key)
        return pj_error_set(error, PJ_FATAL,
                            "the key column %s of %s comes behind %s, which is not of the key: key "
                            "columns come first",
                            column->name, table->name, table->columns[index - 1].name);
    for (size_t c = 0; c < index; c++) {
        if (strcmp(table->columns[c].name, column->name) == 0)
            return pj_error_set(error, PJ_FATAL, "two columns of %s have the name %s", table->name,
                                column->name);
    }
    return check_measure(table, column, error);
}

static bool has_elsewhere(const struct pj_table *whole, const struct pj_column *column)
{
    for (size_t c = 0; c < whole->column_count; c++) {
        const struct pj_column *other = &whole->columns[c];
        if (other->name != NULL && strcmp(other->name, column->name) == 0)
            return other->type == column->type && other->key == column->key &&
                   other->elsewhere != column->key;
    }
    return false;
}

static int check_part(const struct pj_projection *projection, const struct pj_table *table,
                      struct pj_error *error)
{
    size_t index = 0;
    while (index < projection->table_count && projection->tables[index] != table->part_of)
        index++;
    if (index == projection->table_count)
        return pj_error_set(error, PJ_FATAL,
                            "a part of %s is among the tables of %s, but not the whole of it",
                            table->name, projection->name);
    for (size_t c = 0; c < table->column_count; c++) {
        if (!has_elsewhere(table->part_of, &table->columns[c]))
            return pj_error_set(error, PJ_FATAL,
                                "the column %s of a part of %s is not in the whole of it with the "
                                "same type, as part of the key or marked `elsewhere`",
                                table->columns[c].name, table->name);
    }
    return 0;
}

static int check_table(const struct pj_projection *projection, size_t index, struct pj_error *error)
{
    const struct pj_table *table = projection->tables[index];
    if (table == NULL || table->name == NULL)
        return pj_error_set(error, PJ_FATAL, "table %zu of %s is not declared", index,
                            projection->name);
    for (size_t t = 0; t < index; t++) {
        if (projection->tables[t] == table)
            return pj_error_set(error, PJ_FATAL, "%s is twice among the tables of %s", table->name,
                                projection->name);
    }
    if (table->column_count == 0 || table->column_count > COLUMNS_MOST)
        return pj_error_set(error, PJ_FATAL, "%s has %zu columns, which must be 1 to %d",
                            table->name, table->column_count, COLUMNS_MOST);
    for (size_t c = 0; c < table->column_count; c++) {
        if (check_column(table, c, error) != 0)
            return -1;
    }
    if (table->settle != NULL && table->kind != PJ_ROLLUP_TABLE)
        return pj_error_set(error, PJ_FATAL, "%s is no rollup, so `settle` would never be called",
                            table->name);
    if (table->placeholder != 0 && (table->placeholder >= table->column_count ||
                                    table->columns[table->placeholder].type != PJ_BOOL))
        return pj_error_set(error, PJ_FATAL, "the placeholder of %s is no PJ_BOOL column of it",
                            table->name);
    return table->part_of != NULL ? check_part(projection, table, error) : 0;
}

/* --- the whole ------------------------------------------------------------------------------- */

static int check_counts(const struct pj_projection *projection, struct pj_error *error)
{
    if (projection->source_count == 0 || projection->source_count > SOURCES_MOST)
        return pj_error_set(error, PJ_FATAL, "%s has %zu sources, which must be 1 to %d",
                            projection->name, projection->source_count, SOURCES_MOST);
    if (projection->table_count == 0 || projection->table_count > TABLES_MOST)
        return pj_error_set(error, PJ_FATAL, "%s has %zu tables, which must be 1 to %d",
                            projection->name, projection->table_count, TABLES_MOST);
    size_t settings = 0;
    while (projection->settings != NULL && projection->settings[settings].name != NULL &&
           settings <= PJ_SETTINGS_MOST)
        settings++;
    if (settings > PJ_SETTINGS_MOST)
        return pj_error_set(error, PJ_FATAL,
                            "%s has more than %d settings; or an empty one does not end them",
                            projection->name, PJ_SETTINGS_MOST);
    return 0;
}

int pj_declaration_check(const struct pj_projection *projection, struct pj_error *error)
{
    const char *name = projection->name != NULL ? projection->name : "";
    if (strspn(name, lower) == 0 || name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")])
        return pj_error_set(error, PJ_FATAL,
                            "the projection's name is '%s', and must be of small letters, digits "
                            "and dashes, as in video-catalog",
                            name);
    if (check_counts(projection, error) != 0)
        return -1;
    for (size_t s = 0; s < projection->source_count; s++) {
        if (check_source(&projection->sources[s], error) != 0)
            return -1;
    }
    for (size_t e = 0; e < projection->entity_count; e++) {
        if (check_entity(projection, e, error) != 0)
            return -1;
    }
    for (size_t t = 0; t < projection->table_count; t++) {
        if (check_table(projection, t, error) != 0)
            return -1;
    }
    return 0;
}

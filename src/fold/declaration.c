/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/declaration.h"
#include "base/text.h"
#include "fold/declaration_internal.h"
#include "fold/wide.h"

#include "base/fit.h"
#include "fold/claims.h"
#include "fold/counters.h"
#include "fold/facts.h"
#include "fold/numeric.h"

#include <string.h>

enum { SOURCES_MOST = 64, TOPIC_MOST = 249, FACTS_MOST = 65535, PATH_MOST = 511 };

static const char lower[] = "abcdefghijklmnopqrstuvwxyz";
const char pj_declaration_program_name[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
const char pj_declaration_sql_name[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
static const char topic_characters[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

bool pj_declaration_is_word(const char *name, const char *characters)
{
    return name != NULL && strspn(name, lower) > 0 && name[strspn(name, characters)] == '\0';
}

/* --- sources --------------------------------------------------------------------------------- */

static bool is_number(enum pj_type type)
{
    return type == PJ_INT || type == PJ_BIGINT || type == PJ_DOUBLE || type == PJ_NUMERIC;
}

static bool is_bound(const char *text)
{
    int64_t whole;
    int64_t fraction;
    struct pj_value value = pj_text(text);
    return text == NULL || pj_numeric_digits(&value, &whole, &fraction);
}

static int check_rules(const struct pj_source *source, const struct pj_field *field,
                       struct pj_error *error)
{
    const char *rule = field->type != PJ_TEXT && field->most_chars != 0               ? "most_chars"
                       : field->type != PJ_TEXT && field->words != NULL               ? "words"
                       : field->type != PJ_TEXT && field->form != PJ_FORM_ANY         ? "a form"
                       : !is_number(field->type) && field->least != NULL              ? "least"
                       : !is_number(field->type) && field->most != NULL               ? "most"
                       : field->type != PJ_NUMERIC && field->precision + field->scale ? "precision"
                       : field->type != PJ_TEXT && field->empty_is_null ? "empty_is_null"
                       : field->type != PJ_NUMERIC && field->rounded    ? "rounded"
                                                                        : NULL;
    if (rule != NULL)
        return PJ_WRONG(error, "the field %s of the source %s has %s, which a %s cannot have",
                        field->path, source->topic, rule, pj_type_name(field->type));
    if (field->words != NULL && field->words[0] == NULL)
        return PJ_WRONG(error, "the field %s of the source %s has no words: list some", field->path,
                        source->topic);
    if ((unsigned)field->form > PJ_FORM_TIMESTAMP)
        return PJ_WRONG(error,
                        "the field %s of the source %s has an unknown form; see enum pj_form",
                        field->path, source->topic);
    if (!is_bound(field->least) || !is_bound(field->most))
        return PJ_WRONG(error,
                        "the field %s of the source %s has a bound that is not a number: give it "
                        "as a decimal text, such as \"-0.5\"",
                        field->path, source->topic);
    if (field->empty_is_null && field->required)
        return PJ_WRONG(error,
                        "the field %s of the source %s is required and has empty_is_null: it can "
                        "be one of the two",
                        field->path, source->topic);
    if (field->rounded && field->precision == 0)
        return PJ_WRONG(error,
                        "the field %s of the source %s is rounded to nothing: give it a precision "
                        "and a scale",
                        field->path, source->topic);
    if (field->scale > field->precision)
        return PJ_WRONG(error,
                        "the field %s of the source %s has a scale greater than its precision",
                        field->path, source->topic);
    return 0;
}

static int check_fields(const struct pj_source *source, const struct pj_field *fields, size_t count,
                        bool items, struct pj_error *error);

static int check_items(const struct pj_source *source, const struct pj_field *field,
                       struct pj_error *error)
{
    if (field->type != PJ_BOOL || field->most_chars != 0 || field->words != NULL ||
        field->form != PJ_FORM_ANY || field->least != NULL || field->most != NULL ||
        field->precision != 0 || field->scale != 0 || field->empty_is_null || field->rounded)
        return PJ_WRONG(error,
                        "the field %s of the source %s has items, and so can have no type or rule "
                        "but `required`",
                        field->path, source->topic);
    if (field->items->fields == NULL || field->items->field_count == 0)
        return PJ_WRONG(error, "the items of the field %s of the source %s have no fields",
                        field->path, source->topic);
    return check_fields(source, field->items->fields, field->items->field_count, true, error);
}

static int check_fields(const struct pj_source *source, const struct pj_field *fields, size_t count,
                        bool items, struct pj_error *error)
{
    for (size_t f = 0; f < count; f++) {
        const struct pj_field *field = &fields[f];
        if (field->path == NULL || (*field->path == '\0' && !items))
            return PJ_WRONG(error,
                            "field %zu of the source %s has no path; are there fewer than its "
                            "field_count?",
                            f, source->topic);
        if (strlen(field->path) > PATH_MOST)
            return PJ_WRONG(error, "the path of field %zu of the source %s is longer than %d bytes",
                            f, source->topic, PATH_MOST);
        if (field->items != NULL) {
            if (check_items(source, field, error) != 0)
                return -1;
            continue;
        }
        if (!pj_type_exists(field->type) || field->type == PJ_COUNTS)
            return PJ_WRONG(error,
                            "the field %s of the source %s is of %s, which a field cannot be; see "
                            "enum pj_type",
                            field->path, source->topic, pj_type_name(field->type));
        if (check_rules(source, field, error) != 0)
            return -1;
    }
    return 0;
}

static int check_topic(const struct pj_projection *projection, size_t index, struct pj_error *error)
{
    const char *topic = projection->sources[index].topic;
    if (topic == NULL)
        return PJ_WRONG(error,
                        "the source of the projection has no topic (source %zu of %s); are "
                        "there fewer than its source_count?",
                        index, projection->name);
    if (*topic == '\0' || strlen(topic) > TOPIC_MOST || topic[strspn(topic, topic_characters)] ||
        strcmp(topic, ".") == 0 || strcmp(topic, "..") == 0)
        return PJ_WRONG(error,
                        "\"%.300s\" is not a valid Kafka topic name: 1 to %d letters, "
                        "digits, dots, dashes and underscores",
                        topic, TOPIC_MOST);
    for (size_t s = 0; s < index; s++) {
        if (strcmp(projection->sources[s].topic, topic) == 0)
            return PJ_WRONG(error,
                            "two sources of %s are of the topic %s; declare one source, whose "
                            "observe tells its records apart",
                            projection->name, topic);
    }
    return 0;
}

static int check_source(const struct pj_projection *projection, size_t index,
                        struct pj_error *error)
{
    const struct pj_source *source = &projection->sources[index];
    if (check_topic(projection, index, error) != 0)
        return -1;
    if (source->observe == NULL)
        return PJ_WRONG(error, "the source of %s has no observe function", source->topic);
    if (source->schema == NULL)
        return PJ_WRONG(error,
                        "the source of %s has no schema: the text of an Avro schema, such as "
                        "pj_schema_<topic> of schemas.h",
                        source->topic);
    if (source->fields == NULL && source->field_count > 0)
        return PJ_WRONG(error, "the source of %s has no fields, and its field_count is %zu",
                        source->topic, source->field_count);
    if (check_fields(source, source->fields, source->field_count, false, error) != 0)
        return -1;
    if (source->event_time != 0 && (source->event_time >= source->field_count ||
                                    source->fields[source->event_time].type != PJ_TIMESTAMPTZ))
        return PJ_WRONG(error,
                        "the event_time of the source %s is not one of its "
                        "PJ_TIMESTAMPTZ fields; 0 means that it has none",
                        source->topic);
    return 0;
}

/* --- entity kinds ---------------------------------------------------------------------------- */

static int check_lists(const struct pj_entity_kind *entity, size_t index, struct pj_error *error)
{
    const struct pj_fact_kind *fact = &entity->facts[index];
    size_t known = entity->fact_count < PJ_LISTED_MOST ? entity->fact_count : PJ_LISTED_MOST;
    if (fact->lists != 0 && (fact->keep != PJ_GREATEST || fact->recursive))
        return PJ_WRONG(error,
                        "the fact kind \"%s\" of %s `lists` others, so it must be PJ_GREATEST and "
                        "not `recursive`",
                        fact->name, entity->name);
    for (size_t f = 0; f < PJ_LISTED_MOST; f++) {
        const struct pj_fact_kind *item = f < known ? &entity->facts[f] : NULL;
        if ((fact->lists >> f & 1) == 0)
            continue;
        if (item == NULL)
            return PJ_WRONG(error,
                            "the fact kind \"%s\" of %s `lists` the kind %zu, and there are %zu: "
                            "give 1 << an index of the entity's facts",
                            fact->name, entity->name, f, entity->fact_count);
        if (f == index || item->keep != PJ_GREATEST || item->is_name || item->absorbs ||
            item->recursive || item->lists != 0)
            return PJ_WRONG(error,
                            "the fact kind \"%s\" of %s `lists` \"%s\", which must be another "
                            "one, PJ_GREATEST, and neither a name, a final fact, `recursive` nor "
                            "one that lists others",
                            fact->name, entity->name, item->name);
    }
    return 0;
}

static int check_fact(const struct pj_entity_kind *entity, size_t index, struct pj_error *error)
{
    const struct pj_fact_kind *fact = &entity->facts[index];
    if (fact->name == NULL || *fact->name == '\0')
        return PJ_WRONG(error,
                        "fact kind %zu of the entity kind %s is not declared: it has no name",
                        index, entity->name);
    for (size_t f = 0; f < index; f++) {
        if (strcmp(entity->facts[f].name, fact->name) == 0)
            return PJ_WRONG(error,
                            "two fact kinds of the entity kind %s have the name %s; rename one",
                            entity->name, fact->name);
    }
    if (fact->keep != PJ_GREATEST && fact->keep != PJ_LEAST)
        return PJ_WRONG(error,
                        "the fact kind \"%s\" of %s keeps by the unknown rule %d; use "
                        "PJ_GREATEST or PJ_LEAST",
                        fact->name, entity->name, (int)fact->keep);
    if (fact->value_count > PJ_FACT_VALUES_MOST && !pj_claims_is_kind(entity))
        return PJ_WRONG(error,
                        "the fact kind \"%s\" has %zu values, and %d is the most: split it in two",
                        fact->name, fact->value_count, PJ_FACT_VALUES_MOST);
    if (fact->value_count > 0 && fact->types == NULL)
        return PJ_WRONG(error, "the fact kind \"%s\" of %s lacks the types of its %zu values",
                        fact->name, entity->name, fact->value_count);
    if (fact->is_name && fact->absorbs)
        return PJ_WRONG(error, "the fact kind \"%s\" of %s both `absorbs` and `is_name`",
                        fact->name, entity->name);
    if (fact->recursive && (entity->depth_most == 0 || fact->is_name || fact->absorbs))
        return PJ_WRONG(error,
                        "the fact kind \"%s\" of %s is `recursive`, which a name or a final fact "
                        "cannot be, nor one of a kind without depth_most",
                        fact->name, entity->name);
    if (fact->height && (entity->depth_most == 0 || fact->recursive || fact->value_count == 0 ||
                         fact->types[0] != PJ_BIGINT))
        return PJ_WRONG(error,
                        "the fact kind \"%s\" of %s is a `height`, which is of a kind with "
                        "depth_most, is not recursive, and has a PJ_BIGINT first",
                        fact->name, entity->name);
    if (check_lists(entity, index, error) != 0)
        return -1;
    if (fact->wide && (fact->is_name || fact->absorbs || fact->shown || fact->recursive ||
                       fact->lists != 0 || entity->depth_most > 0))
        return PJ_WRONG(error,
                        "the fact kind \"%s\" of %s is `wide`, which a name, a final fact, a "
                        "`shown` one, one that `lists` others or one of a kind with depth_most "
                        "cannot be",
                        fact->name, entity->name);
    if (fact->derive != NULL && !fact->wide)
        return PJ_WRONG(error,
                        "the fact kind \"%s\" of %s has a derive of its own, and is not `wide`: "
                        "declare it so",
                        fact->name, entity->name);
    for (size_t f = 0; f < index && fact->is_name; f++) {
        if (entity->facts[f].is_name)
            return PJ_WRONG(error, "two fact kinds of the entity kind %s are marked `is_name`",
                            entity->name);
    }
    for (size_t v = 0; v < fact->value_count; v++) {
        if (fact->is_name && fact->types[v] != PJ_TEXT && fact->types[v] != PJ_UUID &&
            fact->types[v] != PJ_BIGINT && fact->types[v] != PJ_INT && fact->types[v] != PJ_BOOL)
            return PJ_WRONG(error,
                            "value %zu of the fact kind \"%s\" of %s, which `is_name`, must be a "
                            "PJ_TEXT, PJ_UUID, PJ_BIGINT, PJ_INT or PJ_BOOL",
                            v, fact->name, entity->name);
        if (!pj_type_exists(fact->types[v]))
            return PJ_WRONG(error,
                            "value %zu of the fact kind \"%s\" of %s is of an unknown type; see "
                            "enum pj_type",
                            v, fact->name, entity->name);
    }
    return 0;
}

static int check_entity_name(const struct pj_projection *projection, size_t index,
                             struct pj_error *error)
{
    const struct pj_entity_kind *entity = &projection->entities[index];
    if (!pj_declaration_is_word(entity->name, pj_declaration_sql_name))
        return PJ_WRONG(error,
                        "the name of entity kind %zu of %s is \"%.100s\", and must be lower-case "
                        "letters, digits and underscores",
                        index, projection->name, entity->name);
    const char *suffix = pj_wide_has(entity) ? "_wide" : "";
    if (strlen("state__") + strlen(projection->name) + strlen(entity->name) + strlen(suffix) >
        PJ_SQL_NAME_MOST)
        return PJ_WRONG(error,
                        "state_%s_%s%s is longer than the %d bytes that the name of a table can "
                        "have; shorten one of the two",
                        projection->name, entity->name, suffix, PJ_SQL_NAME_MOST);
    for (size_t e = 0; e < index; e++) {
        if (strcmp(projection->entities[e].name, entity->name) == 0)
            return PJ_WRONG(error, "two entity kinds of %s have the name %s; rename one",
                            projection->name, entity->name);
    }
    if (pj_wide_has_name(projection, entity->name))
        return PJ_WRONG(error,
                        "the entity kind %s of %s has the name of the wide facts of another; "
                        "rename one of the two",
                        entity->name, projection->name);
    return 0;
}

static int check_entity(const struct pj_projection *projection, size_t index,
                        struct pj_error *error)
{
    const struct pj_entity_kind *entity = &projection->entities[index];
    if (entity->name == NULL || entity->derive == NULL)
        return PJ_WRONG(error,
                        "entity kind %zu of %s has no %s; are there fewer than its "
                        "entity_count?",
                        index, projection->name, entity->name == NULL ? "name" : "derive");
    if (check_entity_name(projection, index, error) != 0)
        return -1;
    if (entity->facts == NULL || entity->fact_count == 0 || entity->fact_count > FACTS_MOST)
        return PJ_WRONG(error,
                        "the entity kind %s of %s has %zu fact kinds, and must have 1 to %d: there "
                        "is no entity without a fact",
                        entity->name, projection->name,
                        entity->facts == NULL ? 0 : entity->fact_count, FACTS_MOST);
    for (size_t f = 0; f < entity->fact_count; f++) {
        if (check_fact(entity, f, error) != 0)
            return -1;
    }
    return 0;
}

/* --- the whole ------------------------------------------------------------------------------- */

static int check_counts(const struct pj_projection *projection, struct pj_error *error)
{
    if (projection->sources == NULL || projection->source_count == 0 ||
        projection->source_count > SOURCES_MOST)
        return PJ_WRONG(error, "%s has %zu sources, which must be 1 to %d", projection->name,
                        projection->sources == NULL ? 0 : projection->source_count, SOURCES_MOST);
    if (projection->tables == NULL || projection->table_count == 0 ||
        projection->table_count > PJ_TABLES_MOST)
        return PJ_WRONG(error, "%s has %zu tables, which must be 1 to %d", projection->name,
                        projection->tables == NULL ? 0 : projection->table_count, PJ_TABLES_MOST);
    if (projection->entities == NULL && projection->entity_count > 0)
        return PJ_WRONG(error, "%s has no entities, and its entity_count is %zu", projection->name,
                        projection->entity_count);
    return 0;
}

static int check_name(const struct pj_projection *projection, struct pj_error *error)
{
    if (!pj_declaration_is_word(projection->name, pj_declaration_program_name))
        return PJ_WRONG(error,
                        "the projection's name is '%.100s', and must be lower-case letters, digits "
                        "and dashes, as in video-catalog",
                        projection->name != NULL ? projection->name : "");
    if (strlen("projectionist_rebuild_") + strlen(projection->name) > PJ_SQL_NAME_MOST)
        return PJ_WRONG(error,
                        "projectionist_rebuild_%.100s, the schema of its rebuild, is longer than "
                        "the 63 bytes that Postgres keeps of a name; shorten the projection's",
                        projection->name);
    if (projection->summary == NULL)
        return PJ_WRONG(error, "%s has no summary: one line for --help", projection->name);
    return 0;
}

int pj_declaration_check(const struct pj_projection *projection, struct pj_error *error)
{
    if (projection == NULL)
        return PJ_WRONG(error, "no projection is given: name one in pj_consumer_main");
    if (projection->version < 0)
        return PJ_WRONG(error, "the version of %s is %d: count from 1", projection->name,
                        (int)projection->version);
    if (check_name(projection, error) != 0 || check_counts(projection, error) != 0)
        return -1;
    for (size_t s = 0; s < projection->source_count; s++) {
        if (check_source(projection, s, error) != 0)
            return -1;
    }
    for (size_t e = 0; e < projection->entity_count; e++) {
        if (check_entity(projection, e, error) != 0)
            return -1;
    }
    for (size_t t = 0; t < projection->table_count; t++) {
        if (pj_declaration_check_table(projection, t, error) != 0)
            return -1;
    }
    if (pj_claims_check(projection, error) != 0)
        return -1;
    return pj_counters_check(projection, error);
}

/* --- names ----------------------------------------------------------------------------------- */

void pj_declaration_wide_name(const struct pj_projection *projection, const char *entity,
                              char name[PJ_STATE_NAME_SIZE])
{
    char wide[PJ_STATE_NAME_SIZE];
    pj_text_whole(wide, sizeof wide, "%s_wide", entity);
    pj_declaration_state_name(projection, wide, name);
}

void pj_declaration_state_name(const struct pj_projection *projection, const char *entity,
                               char name[PJ_STATE_NAME_SIZE])
{
    pj_text_whole(name, PJ_STATE_NAME_SIZE, "state_%s_%s", projection->name, entity);
    for (char *c = name; *c != '\0'; c++) {
        if (*c == '-')
            *c = '_';
    }
}

bool pj_declaration_is_state_name(const struct pj_projection *projection, const char *name)
{
    char state[PJ_STATE_NAME_SIZE];
    for (size_t e = 0; e < projection->entity_count; e++) {
        pj_declaration_state_name(projection, projection->entities[e].name, state);
        if (strcmp(state, name) == 0)
            return true;
    }
    return false;
}

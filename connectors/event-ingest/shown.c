/* SPDX-License-Identifier: Apache-2.0 */
#include "event-ingest/shown.h"

#include "base/memory.h"
#include "base/text.h"
#include "event-ingest/event.h"
#include "postgres/postgres.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uuid.h>

#define BLANKS " \t\r\n"

/* --- the list -------------------------------------------------------------------------------- */

static int fault(const char *text, const char *reason, struct pj_error *error)
{
    return pj_error_fatal(error, PJ_EXIT_USAGE,
                          "--ingest-tables has '%.200s', which %s; give TOPIC=TABLE and what its "
                          "columns are, such as "
                          "drama.dramas=dramas,key=id:drama_id,owner=user_id,revision=revision",
                          text, reason);
}

static char *cut(char *text, char separator)
{
    char *end = strchr(text, separator);
    if (end != NULL)
        *end++ = '\0';
    return end;
}

static bool is_column(const char *name)
{
    return name != NULL && *name != '\0' && strlen(name) <= PJ_SQL_IDENTIFIER_MOST;
}

/* NULL, or what is wrong. */
static const char *parse_key(struct pj_shown_table *table, char *value)
{
    char *member = cut(value, ':');
    if (table->key_count == PJ_SHOWN_KEYS_MOST)
        return "has a key of more than four columns";
    if (!is_column(value) || (member != NULL && *member == '\0'))
        return "has a key that is not COLUMN or COLUMN:MEMBER";
    table->columns[table->key_count] = value;
    table->members[table->key_count++] = member != NULL ? member : value;
    return NULL;
}

static const char *parse_part(struct pj_shown_table *table, char *part)
{
    const struct {
        const char *name;
        const char **column;
    } columns[] = {
        {"owner", &table->owner}, {"revision", &table->revision}, {"life", &table->life}};
    char *value = cut(part, '=');
    if (value != NULL && strcmp(part, "key") == 0)
        return parse_key(table, value);
    for (size_t i = 0; value != NULL && i < sizeof columns / sizeof columns[0]; i++) {
        if (strcmp(part, columns[i].name) != 0)
            continue;
        if (*columns[i].column != NULL || !is_column(value))
            return "names a column twice, or none";
        *columns[i].column = value;
        return NULL;
    }
    return "has more than key=, owner=, revision= and life=";
}

static const char *parse_parts(struct pj_shown_table *table, char *text)
{
    const char *reason = NULL;
    char *next = cut(text, ',');
    table->table = text;
    if (!is_column(text))
        return "names no table";
    for (char *part = next; part != NULL && reason == NULL; part = next) {
        next = cut(part, ',');
        reason = parse_part(table, part);
    }
    if (reason == NULL && table->key_count == 0)
        reason = "has no key=";
    if (reason == NULL && table->owner == NULL && table->revision == NULL)
        reason = "has neither owner= nor revision=";
    return reason;
}

static int parse_table(struct pj_shown_tables *tables, const struct pj_topics *topics,
                       const char *text, size_t length, struct pj_error *error)
{
    char shown[201];
    pj_text_show(shown, sizeof shown, "%.*s", (int)length, text);
    char *copy = pj_strndup(text, length);
    char *rest = cut(copy, '=');
    const struct pj_topic_of *topic = pj_topics_find(topics, copy);
    struct pj_shown_table *table = topic != NULL ? &tables->items[pj_topic_index(topic)] : NULL;
    const char *reason = rest == NULL          ? "says no table"
                         : topic == NULL       ? "is of no topic of --ingest-topics"
                         : table->text != NULL ? "is of a topic that has one already"
                                               : NULL;
    if (reason == NULL) {
        table->text = copy;
        reason = parse_parts(table, rest);
    } else {
        free(copy);
    }
    return reason != NULL ? fault(shown, reason, error) : 0;
}

int pj_shown_parse(struct pj_shown_tables **out, const struct pj_topics *topics, const char *text,
                   struct pj_error *error)
{
    struct pj_shown_tables *tables = pj_alloc(sizeof *tables);
    int status = 0;
    tables->count = pj_topics_count(topics);
    tables->items = pj_calloc(tables->count, sizeof *tables->items);
    for (size_t length; status == 0 && *(text += strspn(text, BLANKS)) != '\0'; text += length) {
        length = strcspn(text, BLANKS);
        status = parse_table(tables, topics, text, length, error);
    }
    if (status == 0)
        *out = tables;
    else
        pj_shown_free(tables);
    return status;
}

void pj_shown_free(struct pj_shown_tables *tables)
{
    if (tables == NULL)
        return;
    for (size_t i = 0; i < tables->count; i++)
        free(tables->items[i].text);
    free(tables->items);
    free(tables);
}

int pj_shown_check_schema(const struct pj_shown_table *table, const char *topic,
                          const struct pj_avro_type *record, struct pj_error *error)
{
    const char *missing = NULL;
    for (size_t i = 0; i < table->key_count; i++) {
        if (pj_record_field(record, table->members[i]) == NULL)
            missing = table->members[i];
    }
    if (missing == NULL && table->life != NULL && pj_record_field(record, "life") == NULL)
        missing = "life";
    if (missing == NULL)
        return 0;
    return pj_error_set(error, PJ_FATAL, "the schema of %s has no %s, which --ingest-tables names",
                        topic, missing);
}

/* --- what an event says ---------------------------------------------------------------------- */

static char *text_of(const json_t *member)
{
    if (json_is_string(member))
        return pj_strdup(json_string_value(member));
    return json_is_integer(member) ? pj_text_new("%lld", (long long)json_integer_value(member))
                                   : NULL;
}

static void read_number(const json_t *object, const char *name, int64_t *value, bool *is_there)
{
    const json_t *member = json_object_get(object, name);
    *is_there = json_is_integer(member);
    *value = json_integer_value(member);
}

bool pj_shown_claim(const struct pj_shown_table *table, const struct pj_avro_type *record,
                    const json_t *event, const int64_t *expected, struct pj_claim_of *claim)
{
    bool is_whole = true;
    *claim = (struct pj_claim_of){0};
    for (size_t i = 0; i < table->key_count; i++) {
        claim->keys[i] = text_of(json_object_get(event, table->members[i]));
        is_whole &= claim->keys[i] != NULL;
    }
    for (size_t i = 0; i < table->key_count && !is_whole; i++)
        free(claim->keys[i]);
    if (!is_whole)
        return false;
    read_number(event, "revision", &claim->revision, &claim->has_revision);
    read_number(event, "life", &claim->life, &claim->has_life);
    read_number(json_object_get(event, "body"), "base_revision", &claim->base, &claim->has_base);
    if (expected != NULL) {
        claim->base = *expected;
        claim->has_base = true;
    }
    claim->creates = !claim->has_base && pj_event_may_have_base(record, event);
    return true;
}

void pj_shown_claims_free(struct pj_claim_of *claims, size_t count)
{
    for (size_t i = 0; claims != NULL && i < count; i++) {
        for (size_t k = 0; k < PJ_SHOWN_KEYS_MOST; k++)
            free(claims[i].keys[k]);
    }
    free(claims);
}

/* --- whether it may ------------------------------------------------------------------------- */

/* Names of users differ where a letter does, UUIDs however they are written do not. */
static bool is_same(const char *owner, const char *user)
{
    uuid_t one, other;
    return strcmp(owner, user) == 0 ||
           (strcasecmp(owner, user) == 0 && uuid_parse(owner, one) == 0 &&
            uuid_parse(user, other) == 0);
}

static int check_life(const struct pj_shown_table *table, const struct pj_shown *shown,
                      const struct pj_claim_of *claim, struct pj_error *error)
{
    if (claim->creates && claim->life != shown->life)
        return pj_error_set(error, PJ_POISON,
                            "%s has this %s already, of the life %lld; change it with its life and "
                            "a base_revision, or use another one",
                            table->table, table->members[0], (long long)shown->life);
    if (claim->life < shown->life)
        return pj_error_set(
            error, PJ_POISON, "the life %lld of this %s has ended; %s has it in the life %lld",
            (long long)claim->life, table->members[0], table->table, (long long)shown->life);
    return 0;
}

int pj_shown_judge(const struct pj_shown_table *table, const struct pj_shown *shown,
                   const struct pj_claim_of *claim, const char *user, int *status,
                   struct pj_error *error)
{
    if (!shown->is_there)
        return 0;
    *status = 403;
    if (user != NULL && shown->has_owner && !is_same(shown->owner, user))
        return pj_error_set(error, PJ_POISON, "%s has this %s with another owner", table->table,
                            table->members[0]);
    *status = 409;
    bool has_lives = claim->has_life && shown->has_life;
    if (has_lives && check_life(table, shown, claim, error) != 0)
        return -1;
    if (!claim->has_base || !shown->has_revision || shown->revision == claim->base)
        return 0;
    /* A repetition of what the row shows already. */
    if (claim->has_revision && claim->revision == shown->revision)
        return 0;
    /* Who made the event may have seen what the table does not show yet, or made that up. */
    if (shown->revision < claim->base)
        return pj_error_set(error, PJ_POISON,
                            "%s has this %s at the revision %lld, and the event was made on %lld, "
                            "which is newer; try again once the table shows it",
                            table->table, table->members[0], (long long)shown->revision,
                            (long long)claim->base);
    return pj_error_set(error, PJ_POISON,
                        "%s has this %s at the revision %lld, and the event was made on %lld; read "
                        "it again",
                        table->table, table->members[0], (long long)shown->revision,
                        (long long)claim->base);
}

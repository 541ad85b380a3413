/* SPDX-License-Identifier: Apache-2.0 */
#include "event-ingest/topics.h"

#include "base/memory.h"
#include "base/text.h"
#include "base/topic_name.h"
#include "projectionist/value.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uuid.h>

enum { PARTS_MOST = 4, ALTERNATIVES_MOST = 4, TOPICS_MOST = 60, KEY_MOST = 2000 };

#define BLANKS ", \t\r\n"

/* A member of a key, and what stands for a null: NULL: the alternative does not apply. */
struct part {
    const char *member, *otherwise;
};

struct alternative {
    struct part parts[PARTS_MOST];
    size_t count;
};

struct pj_topic_of {
    struct pj_topics *topics;
    size_t index;
    char *text; /* what the name and the key point into */
    const char *name;
    struct alternative keys[ALTERNATIVES_MOST];
    size_t key_count;
    struct pj_encoder *encoder;
};

struct pj_topics {
    struct pj_topic_of items[TOPICS_MOST];
    size_t count;
    pthread_rwlock_t lock; /* of the encoders */
};

/* --- the list -------------------------------------------------------------------------------- */

static int fault(const char *text, const char *reason, struct pj_error *error)
{
    return pj_error_fatal(error, PJ_EXIT_USAGE,
                          "--ingest-topics has '%.200s', which %s; give NAME=MEMBER, such as "
                          "captions.videos=video_id",
                          text, reason);
}

/* Ends the text at the separator: what follows it, or NULL. */
static char *cut(char *text, char separator)
{
    char *end = strchr(text, separator);
    if (end != NULL)
        *end++ = '\0';
    return end;
}

static bool parse_alternative(struct alternative *alternative, char *text)
{
    for (char *next; text != NULL; text = next) {
        next = cut(text, '/');
        char *otherwise = cut(text, ':');
        if (*text == '\0' || alternative->count == PARTS_MOST)
            return false;
        alternative->parts[alternative->count++] = (struct part){text, otherwise};
    }
    return true;
}

static bool is_name(const char *text)
{
    return *text != '\0' && text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                              "0123456789._-")] == '\0';
}

static int parse_topic(struct pj_topics *topics, const char *system, const char *text,
                       size_t length, struct pj_error *error)
{
    char shown[201];
    pj_text_show(shown, sizeof shown, "%.*s", (int)length, text);
    if (topics->count == TOPICS_MOST)
        return fault(shown, "is one more than 60 topics", error);
    struct pj_topic_of *topic = &topics->items[topics->count];
    *topic = (struct pj_topic_of){
        .topics = topics, .index = topics->count, .text = pj_strndup(text, length)};
    topics->count++;
    topic->name = topic->text;
    char *key = cut(topic->text, '=');
    size_t system_length = strlen(system);
    if (key == NULL)
        return fault(shown, "does not say what its key is", error);
    if (!is_name(topic->name) || strlen(topic->name) > 200)
        return fault(shown, "is not the name of a topic", error);
    if (!pj_text_begins(topic->name, system) || topic->name[system_length] != '.')
        return fault(shown, "is not a topic of --ingest-system", error);
    for (size_t i = 0; i + 1 < topics->count; i++) {
        if (strcmp(topics->items[i].name, topic->name) == 0)
            return fault(shown, "is there twice", error);
    }
    for (char *next; key != NULL; key = next) {
        next = cut(key, '|');
        if (topic->key_count == ALTERNATIVES_MOST ||
            !parse_alternative(&topic->keys[topic->key_count++], key))
            return fault(shown, "has a key of no members, or of too many", error);
    }
    return 0;
}

int pj_topics_parse(struct pj_topics **out, const char *system, const char *text,
                    struct pj_error *error)
{
    struct pj_topics *topics = pj_alloc(sizeof *topics);
    pthread_rwlock_init(&topics->lock, NULL);
    int status = is_name(system) ? 0
                                 : pj_error_fatal(error, PJ_EXIT_USAGE,
                                                  "--ingest-system is '%.100s'; give the name that "
                                                  "its topics begin with, such as captions",
                                                  system);
    for (size_t length; status == 0 && *(text += strspn(text, BLANKS)) != '\0'; text += length) {
        length = strcspn(text, BLANKS);
        status = parse_topic(topics, system, text, length, error);
    }
    if (status == 0 && topics->count == 0)
        status = fault("", "names no topic", error);
    if (status == 0)
        *out = topics;
    else
        pj_topics_free(topics);
    return status;
}

void pj_topics_free(struct pj_topics *topics)
{
    if (topics == NULL)
        return;
    for (size_t i = 0; i < topics->count; i++) {
        pj_encoder_free(topics->items[i].encoder);
        free(topics->items[i].text);
    }
    pthread_rwlock_destroy(&topics->lock);
    free(topics);
}

size_t pj_topics_count(const struct pj_topics *topics)
{
    return topics->count;
}

const char *pj_topics_name(const struct pj_topics *topics, size_t index)
{
    return topics->items[index].name;
}

const struct pj_topic_of *pj_topics_find(const struct pj_topics *topics, const char *name)
{
    for (size_t i = 0; i < topics->count; i++) {
        if (strcmp(topics->items[i].name, name) == 0)
            return &topics->items[i];
    }
    return NULL;
}

size_t pj_topic_index(const struct pj_topic_of *topic)
{
    return topic->index;
}

const char *pj_topic_of_name(const struct pj_topic_of *topic)
{
    return topic->name;
}

/* --- schemas --------------------------------------------------------------------------------- */

const struct pj_avro_field *pj_record_field(const struct pj_avro_type *record, const char *name)
{
    for (size_t i = 0; i < record->count; i++) {
        if (strcmp(record->fields[i].name, name) == 0)
            return &record->fields[i];
    }
    return NULL;
}

static bool has_type(const struct pj_avro_type *record, const char *name, enum pj_avro_kind kind)
{
    const struct pj_avro_field *field = pj_record_field(record, name);
    return field != NULL && field->type->kind == kind;
}

static int check_schema(const struct pj_topic_of *topic, const struct pj_encoder *encoder,
                        struct pj_error *error)
{
    const struct pj_avro_type *record = pj_schema_root(pj_encoder_schema(encoder));
    if (record->kind != PJ_AVRO_RECORD || !has_type(record, "event_id", PJ_AVRO_STRING) ||
        !has_type(record, "emitted_at", PJ_AVRO_LONG))
        return pj_error_set(error, PJ_FATAL,
                            "the schema of %s is not a record with an event_id (string) and an "
                            "emitted_at (long)",
                            topic->name);
    for (size_t i = 0; i < topic->key_count; i++) {
        for (size_t k = 0; k < topic->keys[i].count; k++) {
            const char *member = topic->keys[i].parts[k].member;
            if (pj_record_field(record, member) == NULL)
                return pj_error_set(error, PJ_FATAL,
                                    "the schema of %s has no %s, of which --ingest-topics makes "
                                    "its keys",
                                    topic->name, member);
        }
    }
    return 0;
}

int pj_topics_load(struct pj_topics *topics, const char *topic_prefix, struct pj_registry *registry,
                   struct pj_error *error)
{
    for (size_t i = 0; i < topics->count; i++) {
        struct pj_topic_of *topic = &topics->items[i];
        struct pj_encoder *encoder, *former;
        if (pj_encoder_find(&encoder, topic->name, topic_prefix, registry, error) != 0)
            return -1;
        if (check_schema(topic, encoder, error) != 0) {
            pj_encoder_free(encoder);
            return -1;
        }
        pthread_rwlock_wrlock(&topics->lock);
        former = topic->encoder;
        topic->encoder = encoder;
        pthread_rwlock_unlock(&topics->lock);
        pj_encoder_free(former);
    }
    return 0;
}

const struct pj_encoder *pj_topic_take(const struct pj_topic_of *topic)
{
    pthread_rwlock_rdlock(&topic->topics->lock);
    return topic->encoder;
}

void pj_topic_give_back(const struct pj_topic_of *topic)
{
    pthread_rwlock_unlock(&topic->topics->lock);
}

/* --- keys ------------------------------------------------------------------------------------ */

/* A UUID has one form, or the events about one thing would be in several partitions. */
static void add_text(struct pj_builder *key, const char *text, size_t length)
{
    enum { UUID_TEXT = 36 };
    uint8_t uuid[16];
    char canonical[UUID_TEXT + 1];
    bool is_uuid = length == UUID_TEXT && pj_uuid_parse(text, length, uuid);
    if (is_uuid)
        uuid_unparse_lower(uuid, canonical);
    pj_builder_add_bytes(key, is_uuid ? canonical : text, length);
}

static bool add_part(struct pj_builder *key, const struct part *part, const json_t *event)
{
    const json_t *member = json_object_get(event, part->member);
    if (json_is_string(member))
        add_text(key, json_string_value(member), json_string_length(member));
    else if (json_is_integer(member))
        pj_builder_add(key, "%lld", (long long)json_integer_value(member));
    else if (part->otherwise != NULL)
        pj_builder_add(key, "%s", part->otherwise);
    else
        return false;
    return true;
}

static bool add_parts(struct pj_builder *key, const struct alternative *alternative,
                      const json_t *event)
{
    key->length = 0;
    for (size_t i = 0; i < alternative->count; i++) {
        if (i > 0)
            pj_builder_add(key, "/");
        if (!add_part(key, &alternative->parts[i], event))
            return false;
    }
    return key->length > 0;
}

int pj_topic_key(const struct pj_topic_of *topic, const json_t *event, struct pj_builder *key,
                 struct pj_error *error)
{
    for (size_t i = 0; i < topic->key_count; i++) {
        if (!add_parts(key, &topic->keys[i], event))
            continue;
        return key->length <= KEY_MOST
                   ? 0
                   : pj_error_set(error, PJ_POISON, "the key, %s, has more than %d bytes",
                                  topic->keys[i].parts[0].member, KEY_MOST);
    }
    return pj_error_set(error, PJ_POISON, "the field %s, which is the record's key, is missing",
                        topic->keys[0].parts[0].member);
}

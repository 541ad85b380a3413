/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/redact.h"

#include "avro/avro_reader.h"
#include "base/memory.h"
#include "base/text.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

enum { RULES_MOST = 64, PARTS_MOST = 16, HASH_BYTES = 16 };

struct rule {
    bool is_hash, is_optional;
    char *text;        /* as it was given */
    char *parts;       /* what `topic` and `names` point into */
    const char *topic; /* NULL: all */
    const char *names[PARTS_MOST];
    size_t count;
    enum { OF_VALUE, OF_KEY, OF_HEADER } of;
};

struct known {
    int32_t id;
    char *topic; /* for which the rules were looked at */
    struct pj_schema *schema;
    uint64_t rules;
};

struct pj_redaction {
    struct rule rules[RULES_MOST];
    size_t count;
    char *hash_key;
    char *text;
    struct known *known;
    size_t known_count;
    struct pj_builder value, key;
    struct pj_header *headers;
    struct pj_builder header_bytes;
};

struct writing {
    struct pj_redaction *redaction;
    struct pj_avro_reader reader;
    struct pj_builder *out;
};

/* --- rules ----------------------------------------------------------------------------------- */

static int parse_rule(struct pj_redaction *redaction, const char *text, bool is_hash,
                      struct pj_error *error)
{
    struct rule *rule = &redaction->rules[redaction->count];
    if (redaction->count == RULES_MOST)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "--drop and --hash name more than %d fields",
                              RULES_MOST);
    *rule = (struct rule){.is_hash = is_hash, .text = pj_strdup(text), .parts = pj_strdup(text)};
    redaction->count++;
    size_t length = strlen(rule->parts);
    if (length > 0 && rule->parts[length - 1] == '?') {
        rule->is_optional = true;
        rule->parts[length - 1] = '\0';
    }
    char *path = strchr(rule->parts, ':');
    if (path != NULL) {
        *path++ = '\0';
        rule->topic = rule->parts;
    } else {
        path = rule->parts;
    }
    if (strcmp(path, "@key") == 0) {
        rule->of = OF_KEY;
        return 0;
    }
    if (pj_text_begins(path, "@headers.") && path[strlen("@headers.")] != '\0') {
        rule->of = OF_HEADER;
        rule->names[rule->count++] = path + strlen("@headers.");
        return 0;
    }
    for (char *name = strsep(&path, "."); name != NULL; name = strsep(&path, ".")) {
        if (*name == '\0' || *name == '@' || rule->count == PARTS_MOST)
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "--%s: '%s' is not a path such as requester.email, @key or "
                                  "@headers.NAME",
                                  is_hash ? "hash" : "drop", text);
        rule->names[rule->count++] = name;
    }
    return 0;
}

static int parse_list(struct pj_redaction *redaction, const char *list, bool is_hash,
                      struct pj_error *error)
{
    char *copy = pj_strdup(list), *rest = copy;
    int status = 0;
    for (char *item = strsep(&rest, ","); item != NULL && status == 0; item = strsep(&rest, ","))
        status = parse_rule(redaction, item, is_hash, error);
    free(copy);
    return status;
}

int pj_redaction_new(struct pj_redaction **out, const char *drop, const char *hash,
                     const char *hash_key, struct pj_error *error)
{
    *out = NULL;
    if (drop == NULL && hash == NULL)
        return 0;
    if (hash != NULL && hash_key == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--hash needs a secret, or the hashes could be guessed: set "
                              "PROJECTIONIST_HASH_KEY or PROJECTIONIST_HASH_KEY_FILE");
    struct pj_redaction *redaction = pj_alloc(sizeof *redaction);
    redaction->hash_key = pj_strdup(hash_key);
    if ((drop != NULL && parse_list(redaction, drop, false, error) != 0) ||
        (hash != NULL && parse_list(redaction, hash, true, error) != 0)) {
        pj_redaction_free(redaction);
        return -1;
    }
    json_t *array = pj_must(json_array());
    for (size_t i = 0; i < redaction->count; i++) {
        const struct rule *rule = &redaction->rules[i];
        char *text = pj_text_new("%s %s", rule->is_hash ? "hash" : "drop", rule->text);
        json_array_append_new(array, json_string(text));
        free(text);
    }
    redaction->text = pj_must(json_dumps(array, JSON_COMPACT));
    json_decref(array);
    *out = redaction;
    return 0;
}

void pj_redaction_free(struct pj_redaction *redaction)
{
    if (redaction == NULL)
        return;
    for (size_t i = 0; i < redaction->count; i++) {
        free(redaction->rules[i].text);
        free(redaction->rules[i].parts);
    }
    for (size_t i = 0; i < redaction->known_count; i++) {
        pj_schema_free(redaction->known[i].schema);
        free(redaction->known[i].topic);
    }
    free(redaction->known);
    free(redaction->hash_key);
    free(redaction->text);
    free(redaction->headers);
    pj_builder_free(&redaction->value);
    pj_builder_free(&redaction->key);
    pj_builder_free(&redaction->header_bytes);
    free(redaction);
}

const char *pj_redaction_text(const struct pj_redaction *redaction)
{
    return redaction != NULL ? redaction->text : "[]";
}

static bool is_of_topic(const struct rule *rule, struct pj_bytes topic)
{
    return rule->topic == NULL || (strlen(rule->topic) == topic.length &&
                                   memcmp(rule->topic, topic.data, topic.length) == 0);
}

/* --- whether a schema has the field ---------------------------------------------------------- */

static bool can_change(const struct pj_avro_type *type, bool is_hash)
{
    if (type->kind == PJ_AVRO_STRING || type->kind == PJ_AVRO_BYTES)
        return type->logical != PJ_LOGICAL_UUID || is_hash;
    if (type->kind == PJ_AVRO_NULL)
        return true;
    return !is_hash && type->kind != PJ_AVRO_RECORD && type->kind != PJ_AVRO_ENUM;
}

static bool has_null(const struct pj_avro_type *type)
{
    for (size_t i = 0; type->kind == PJ_AVRO_UNION && i < type->count; i++) {
        if (type->branches[i]->kind == PJ_AVRO_NULL)
            return true;
    }
    return false;
}

/* 1: it is there and can be changed; 0: it is not there; -1: its type cannot be. */
static int find(const struct pj_avro_type *type, const struct rule *rule, size_t depth)
{
    int found = 0;
    bool is_last = depth == rule->count;
    if (is_last && !rule->is_hash && has_null(type))
        return 1;
    switch (type->kind) {
    case PJ_AVRO_UNION:
        for (size_t i = 0; i < type->count && found >= 0; i++) {
            int one =
                type->branches[i]->kind == PJ_AVRO_NULL ? 0 : find(type->branches[i], rule, depth);
            found = one < 0 ? -1 : found | one;
        }
        return found;
    case PJ_AVRO_RECORD:
        if (is_last)
            return -1;
        for (size_t i = 0; i < type->count && found >= 0; i++) {
            if (strcmp(type->fields[i].name, rule->names[depth]) == 0)
                found = find(type->fields[i].type, rule, depth + 1);
        }
        return found;
    case PJ_AVRO_ARRAY:
    case PJ_AVRO_MAP:
        if (!is_last || rule->is_hash)
            return find(type->branches[0], rule, depth);
        return 1;
    default:
        return !is_last ? 0 : can_change(type, rule->is_hash) ? 1 : -1;
    }
}

static int check_schema(const struct pj_redaction *redaction, struct known *known,
                        struct pj_bytes topic, struct pj_error *error)
{
    for (size_t i = 0; i < redaction->count; i++) {
        const struct rule *rule = &redaction->rules[i];
        if (rule->of != OF_VALUE || !is_of_topic(rule, topic))
            continue;
        int found = find(pj_schema_root(known->schema), rule, 0);
        if (found < 0)
            return pj_error_set(error, PJ_FATAL,
                                "%s of the schema %d (%s) is of a type that --%s cannot change; "
                                "name fields of text, or for --drop of numbers or with null",
                                rule->text, (int)known->id, known->topic,
                                rule->is_hash ? "hash" : "drop");
        if (found == 0 && !rule->is_optional)
            return pj_error_set(error, PJ_FATAL,
                                "the schema %d (%s) has no field %s; write TOPIC:%s for the topics "
                                "that have it, or %s? where it may be missing",
                                (int)known->id, known->topic, rule->text, rule->text, rule->text);
        if (found > 0)
            known->rules |= UINT64_C(1) << i;
    }
    return 0;
}

static int find_known(struct pj_redaction *redaction, struct pj_bytes topic, int32_t id,
                      const char *schema, const struct known **out, struct pj_error *error)
{
    for (size_t i = 0; i < redaction->known_count; i++) {
        *out = &redaction->known[i];
        if ((*out)->id == id && strlen((*out)->topic) == topic.length &&
            memcmp((*out)->topic, topic.data, topic.length) == 0)
            return 0;
    }
    struct known known = {.id = id, .topic = pj_strndup(topic.data, topic.length)};
    if (pj_schema_parse(&known.schema, schema, error) != 0 ||
        check_schema(redaction, &known, topic, error) != 0) {
        pj_schema_free(known.schema);
        free(known.topic);
        return -1;
    }
    redaction->known =
        pj_resize(redaction->known, redaction->known_count + 1, sizeof *redaction->known);
    redaction->known[redaction->known_count] = known;
    *out = &redaction->known[redaction->known_count++];
    return 0;
}

/* --- writing --------------------------------------------------------------------------------- */

static void put_long(struct pj_builder *out, int64_t value)
{
    uint64_t left = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    for (; left > 127; left >>= 7)
        pj_builder_add_bytes(out, &(uint8_t){(uint8_t)(left | 128)}, 1);
    pj_builder_add_bytes(out, &(uint8_t){(uint8_t)left}, 1);
}

/* A UUID stays one; anything else becomes 32 hexadecimal digits. Returns the length. */
static size_t hash_text(const struct pj_redaction *redaction, const void *data, size_t length,
                        char text[40])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = sizeof digest;
    size_t at = 0;
    bool is_uuid = pj_is_uuid((struct pj_bytes){data, length});
    if (HMAC(EVP_sha256(), redaction->hash_key, (int)strlen(redaction->hash_key), data, length,
             digest, &size) == NULL)
        pj_memory_ended("a hash");
    if (is_uuid) { /* version 8: one of its maker's own */
        digest[6] = (uint8_t)(0x80 | (digest[6] & 0x0f));
        digest[8] = (uint8_t)(0x80 | (digest[8] & 0x3f));
    }
    for (int i = 0; i < HASH_BYTES; i++) {
        if (is_uuid && (i == 4 || i == 6 || i == 8 || i == 10))
            text[at++] = '-';
        at += pj_text_whole(text + at, 40 - at, "%02x", digest[i]);
    }
    return at;
}

static int copy(struct writing *writing, const struct pj_avro_type *type)
{
    const uint8_t *from = writing->reader.at;
    if (pj_avro_skip(&writing->reader, type) != 0)
        return -1;
    pj_builder_add_bytes(writing->out, from, (size_t)(writing->reader.at - from));
    return 0;
}

static int put_changed(struct writing *writing, const struct pj_avro_type *type, bool is_hash)
{
    static const uint8_t zeros[64];
    const char *data;
    size_t length;
    char text[40];
    if (type->kind == PJ_AVRO_NULL)
        return copy(writing, type);
    if (type->kind == PJ_AVRO_STRING || type->kind == PJ_AVRO_BYTES) {
        if (pj_avro_read_text(&writing->reader, type, &data, &length) != 0)
            return -1;
        length = is_hash ? hash_text(writing->redaction, data, length, text) : 0;
        put_long(writing->out, (int64_t)length);
        pj_builder_add_bytes(writing->out, text, length);
        return 0;
    }
    if (pj_avro_skip(&writing->reader, type) != 0)
        return -1;
    size_t size = type->kind == PJ_AVRO_FIXED    ? type->size
                  : type->kind == PJ_AVRO_FLOAT  ? sizeof(float)
                  : type->kind == PJ_AVRO_DOUBLE ? sizeof(double)
                                                 : 1; /* 0, false, no items */
    for (; size > sizeof zeros; size -= sizeof zeros)
        pj_builder_add_bytes(writing->out, zeros, sizeof zeros);
    pj_builder_add_bytes(writing->out, zeros, size);
    return 0;
}

static int rewrite(struct writing *writing, const struct pj_avro_type *type, uint64_t rules,
                   size_t depth);

static int rewrite_items(struct writing *writing, const struct pj_avro_type *type, uint64_t rules,
                         size_t depth)
{
    static const struct pj_avro_type key = {.kind = PJ_AVRO_STRING};
    uint64_t count;
    do {
        if (pj_avro_read_block(&writing->reader, &count) != 0)
            return -1;
        put_long(writing->out, (int64_t)count);
        for (uint64_t i = 0; i < count; i++) {
            if ((type->kind == PJ_AVRO_MAP && copy(writing, &key) != 0) ||
                rewrite(writing, type->branches[0], rules, depth) != 0)
                return -1;
        }
    } while (count > 0);
    return 0;
}

static int rewrite_union(struct writing *writing, const struct pj_avro_type *type, uint64_t rules,
                         size_t depth, bool is_dropped)
{
    size_t index;
    if (pj_avro_read_index(&writing->reader, type, &index) != 0)
        return -1;
    for (size_t i = 0; is_dropped && i < type->count; i++) {
        if (type->branches[i]->kind == PJ_AVRO_NULL) {
            put_long(writing->out, (int64_t)i);
            return pj_avro_skip(&writing->reader, type->branches[index]);
        }
    }
    put_long(writing->out, (int64_t)index);
    return rewrite(writing, type->branches[index], rules, depth);
}

static int rewrite_type(struct writing *writing, const struct pj_avro_type *type, uint64_t rules,
                        size_t depth)
{
    bool is_dropped = false, is_hashed = false;
    for (size_t i = 0; i < writing->redaction->count; i++) {
        const struct rule *rule = &writing->redaction->rules[i];
        if ((rules >> i & 1) != 0 && rule->count == depth) {
            is_hashed |= rule->is_hash;
            is_dropped |= !rule->is_hash;
        }
    }
    if (type->kind == PJ_AVRO_UNION)
        return rewrite_union(writing, type, rules, depth, is_dropped);
    bool has_items = type->kind == PJ_AVRO_ARRAY || type->kind == PJ_AVRO_MAP;
    if (is_dropped || (is_hashed && !has_items))
        return put_changed(writing, type, !is_dropped);
    if (has_items)
        return rewrite_items(writing, type, rules, depth);
    if (type->kind != PJ_AVRO_RECORD)
        return copy(writing, type);
    for (size_t f = 0; f < type->count; f++) {
        uint64_t deeper = 0;
        for (size_t i = 0; i < writing->redaction->count; i++) {
            const struct rule *rule = &writing->redaction->rules[i];
            if ((rules >> i & 1) != 0 && depth < rule->count &&
                strcmp(rule->names[depth], type->fields[f].name) == 0)
                deeper |= UINT64_C(1) << i;
        }
        if (rewrite(writing, type->fields[f].type, deeper, depth + 1) != 0)
            return -1;
    }
    return 0;
}

static int rewrite(struct writing *writing, const struct pj_avro_type *type, uint64_t rules,
                   size_t depth)
{
    if (rules == 0)
        return copy(writing, type);
    if (pj_avro_enter(&writing->reader) != 0)
        return -1;
    int status = rewrite_type(writing, type, rules, depth);
    pj_avro_leave(&writing->reader);
    return status;
}

/* --- one record ------------------------------------------------------------------------------ */

static int change_value(struct pj_redaction *redaction, struct pj_recorded *record, int32_t id,
                        const char *schema, struct pj_error *error)
{
    const struct known *known;
    struct pj_error reason = {.class = PJ_FATAL};
    bool is_wanted = false;
    for (size_t i = 0; i < redaction->count; i++)
        is_wanted |=
            redaction->rules[i].of == OF_VALUE && is_of_topic(&redaction->rules[i], record->topic);
    if (!is_wanted || record->value.data == NULL)
        return 0;
    if (schema == NULL)
        return pj_error_set(
            error, PJ_FATAL,
            "the value at the offset %lld of %.*s [%d] has no schema that is known, "
            "so its fields cannot be changed; name other topics' fields as "
            "TOPIC:FIELD, or leave this topic out",
            (long long)record->offset, (int)record->topic.length, (const char *)record->topic.data,
            (int)record->partition);
    if (find_known(redaction, record->topic, id, schema, &known, error) != 0)
        return -1;
    struct writing writing = {.redaction = redaction, .out = &redaction->value};
    redaction->value.length = 0;
    pj_builder_add_bytes(&redaction->value, record->value.data, PJ_WIRE_HEADER_SIZE);
    pj_avro_reader_init(&writing.reader, (const uint8_t *)record->value.data + PJ_WIRE_HEADER_SIZE,
                        record->value.length - PJ_WIRE_HEADER_SIZE, &reason);
    if (rewrite(&writing, pj_schema_root(known->schema), known->rules, 0) != 0 ||
        (writing.reader.at != writing.reader.end &&
         pj_error_set(&reason, PJ_FATAL, "bytes follow it") != 0))
        return pj_error_set(
            error, PJ_FATAL,
            "the value at the offset %lld of %.*s [%d] is not what its schema says, "
            "so its fields cannot be changed: %s",
            (long long)record->offset, (int)record->topic.length, (const char *)record->topic.data,
            (int)record->partition, reason.message);
    record->value = (struct pj_bytes){redaction->value.text, redaction->value.length};
    return 0;
}

static void change_key(struct pj_redaction *redaction, struct pj_recorded *record, bool is_hash)
{
    char text[40];
    if (record->key.data == NULL)
        return;
    size_t length = is_hash ? hash_text(redaction, record->key.data, record->key.length, text) : 0;
    redaction->key.length = 0;
    pj_builder_add_bytes(&redaction->key, text, length);
    record->key =
        is_hash ? (struct pj_bytes){redaction->key.text, length} : (struct pj_bytes){NULL, 0};
}

static void change_headers(struct pj_redaction *redaction, struct pj_recorded *record,
                           const struct rule *rule)
{
    size_t kept = 0;
    size_t name_length = strlen(rule->names[0]);
    for (size_t i = 0; i < record->header_count; i++) {
        struct pj_header header = redaction->headers[i];
        bool is_it = header.name.length == name_length &&
                     memcmp(header.name.data, rule->names[0], name_length) == 0;
        if (is_it && !rule->is_hash)
            continue;
        if (is_it && header.value.data != NULL) {
            char *text = pj_builder_reserve(&redaction->header_bytes, 40);
            size_t length = hash_text(redaction, header.value.data, header.value.length, text);
            redaction->header_bytes.length += length;
            header.value = (struct pj_bytes){text, length};
        }
        redaction->headers[kept++] = header;
    }
    record->header_count = kept;
}

int pj_redaction_apply(struct pj_redaction *redaction, struct pj_recorded *record, int32_t id,
                       const char *schema, bool key_has_schema, struct pj_error *error)
{
    if (redaction == NULL)
        return 0;
    if (change_value(redaction, record, id, schema, error) != 0)
        return -1;
    redaction->headers =
        pj_resize(redaction->headers, record->header_count + 1, sizeof *redaction->headers);
    if (record->header_count > 0)
        memcpy(redaction->headers, record->headers,
               record->header_count * sizeof *redaction->headers);
    record->headers = redaction->headers;
    /* Room for all at once: what is pointed to must not move. */
    redaction->header_bytes.length = 0;
    (void)pj_builder_reserve(&redaction->header_bytes,
                             40 * (record->header_count * redaction->count + 1));
    for (size_t i = 0; i < redaction->count; i++) {
        const struct rule *rule = &redaction->rules[i];
        if (!is_of_topic(rule, record->topic))
            continue;
        if (rule->of == OF_KEY && rule->is_hash && key_has_schema)
            return pj_error_set(error, PJ_FATAL,
                                "the keys of %.*s have a schema, and --hash @key is for those that "
                                "are text; --drop %.*s:@key leaves them out",
                                (int)record->topic.length, (const char *)record->topic.data,
                                (int)record->topic.length, (const char *)record->topic.data);
        if (rule->of == OF_KEY)
            change_key(redaction, record, rule->is_hash);
        else if (rule->of == OF_HEADER)
            change_headers(redaction, record, rule);
    }
    return 0;
}

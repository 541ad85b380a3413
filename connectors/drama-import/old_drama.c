/* SPDX-License-Identifier: Apache-2.0 */
#include "drama-import/old_drama.h"

#include "base/memory.h"
#include "base/time_text.h"
#include "base/utf8.h"
#include "projectionist/ids.h"

#include <math.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <uuid.h>

enum { ID_MOST = 200 /* characters; consumers refuse longer ones */, SHA256 = 32 };

enum kind {
    TEXT,
    ID,      /* of at most 200 characters; missing: empty */
    FLAG,    /* missing: false */
    WHOLE,   /* a number; 15.0 is 15 */
    ANY,     /* JSON, as a text */
    ID_LIST, /* missing: empty */
    ITEMS    /* missing: empty */
};

struct member {
    const char *name;
    enum kind kind;
    const struct member *of; /* the members of each item */
};

static const struct member asset[] = {{"id", ID, NULL},
                                      {"kind", ID, NULL},
                                      {"depends_on", ID_LIST, NULL},
                                      {"prompt", TEXT, NULL},
                                      {"duration", WHOLE, NULL},
                                      {"url", TEXT, NULL},
                                      {"metadata", ANY, NULL},
                                      {0}};
static const struct member scene[] = {{"id", ID, NULL},
                                      {"description", TEXT, NULL},
                                      {"image_url", TEXT, NULL},
                                      {"video_url", TEXT, NULL},
                                      {"assets", ITEMS, asset},
                                      {"metadata", ANY, NULL},
                                      {0}};
static const struct member episode[] = {
    {"id", ID, NULL},         {"title", TEXT, NULL},   {"description", TEXT, NULL},
    {"premise", TEXT, NULL},  {"url", TEXT, NULL},     {"scenes", ITEMS, scene},
    {"assets", ITEMS, asset}, {"metadata", ANY, NULL}, {0}};
static const struct member character[] = {{"id", ID, NULL},
                                          {"name", TEXT, NULL},
                                          {"description", TEXT, NULL},
                                          {"gender", TEXT, NULL},
                                          {"voice_description", TEXT, NULL},
                                          {"main", FLAG, NULL},
                                          {"url", TEXT, NULL},
                                          {"premise_url", TEXT, NULL},
                                          {"assets", ITEMS, asset},
                                          {"metadata", ANY, NULL},
                                          {0}};
/* Of the drama itself an array that is missing says nothing. */
static const struct member whole[] = {
    {"title", TEXT, NULL},        {"description", TEXT, NULL}, {"premise", TEXT, NULL},
    {"url", TEXT, NULL},          {"metadata", ANY, NULL},     {"characters", ITEMS, character},
    {"episodes", ITEMS, episode}, {"assets", ITEMS, asset},    {0}};

/* Where we are, for sentences. */
struct place {
    const struct place *outer;
    const char *name;
    size_t index;
};

static void add_place(struct pj_builder *text, const struct place *place)
{
    if (place == NULL)
        return;
    add_place(text, place->outer);
    pj_builder_add(text, "%s[%zu].", place->name, place->index);
}

static int bad(const struct place *place, const char *name, const char *what,
               struct pj_error *error)
{
    struct pj_builder path = {0};
    add_place(&path, place);
    pj_builder_add(&path, "%s", name);
    char *text = pj_builder_take(&path);
    (void)pj_error_set(error, PJ_POISON, "its %.200s is %s", text, what);
    free(text);
    return -1;
}

static void set(json_t *object, const char *name, json_t *value)
{
    if (value == NULL || json_object_set_new(object, name, value) != 0)
        pj_memory_ended("a member of an event");
}

static void note(const struct pj_old_drama *drama, const char *before, const char *text,
                 const char *after)
{
    char shown[201];
    pj_text_show(shown, sizeof shown, "%s", text);
    pj_builder_add(drama->notes, "%s%s%s%s", drama->notes->length > 0 ? "; " : "", before, shown,
                   after);
}

/* --- members --------------------------------------------------------------------------------- */

static int set_id(json_t *out, const char *name, const json_t *value, const struct place *place,
                  struct pj_error *error)
{
    const char *text = value == NULL ? "" : json_string_value(value);
    if (text == NULL)
        return bad(place, name, "not a text", error);
    if (pj_utf8_count(text, strlen(text)) > ID_MOST)
        return bad(place, name, "longer than 200 characters", error);
    set(out, name, json_string(text));
    return 0;
}

static int set_whole(json_t *out, const char *name, const json_t *value, const struct place *place,
                     struct pj_error *error)
{
    double number = json_number_value(value);
    if (value == NULL)
        return 0;
    if (!json_is_number(value) || number != floor(number) || number < INT32_MIN ||
        number > INT32_MAX)
        return bad(place, name, "not a whole number of 32 bits", error);
    set(out, name, json_integer((json_int_t)number));
    return 0;
}

static int set_ids(json_t *out, const char *name, const json_t *value, const struct place *place,
                   struct pj_error *error)
{
    if (value != NULL && !json_is_array(value))
        return bad(place, name, "not a list", error);
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (!json_is_string(json_array_get(value, i)))
            return bad(place, name, "not a list of texts", error);
    }
    set(out, name, value != NULL ? json_deep_copy(value) : json_array());
    return 0;
}

static int set_members(json_t *out, const json_t *object, const struct member *members,
                       const struct place *place, struct pj_error *error);

/* What no member names. */
static void set_extra(json_t *out, const json_t *object, const struct member *members)
{
    json_t *extra = NULL;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        const struct member *member = members;
        while (member->name != NULL && strcmp(member->name, name) != 0)
            member++;
        if (member->name != NULL)
            continue;
        if (extra == NULL)
            extra = pj_must(json_object());
        if (json_object_set(extra, name, value) != 0)
            pj_memory_ended("a member of an event");
    }
    if (extra == NULL)
        return;
    char *text = pj_must(json_dumps(extra, JSON_COMPACT));
    set(out, "extra", json_string(text));
    free(text);
    json_decref(extra);
}

static int set_items(json_t *out, const struct member *member, const json_t *value,
                     const struct place *place, struct pj_error *error)
{
    if (value != NULL && !json_is_array(value))
        return bad(place, member->name, "not a list", error);
    json_t *items = pj_must(json_array());
    set(out, member->name, items);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const struct place here = {place, member->name, i};
        const json_t *item = json_array_get(value, i);
        if (!json_is_object(item))
            return bad(place, member->name, "not a list of objects", error);
        json_t *made = pj_must(json_object());
        if (json_array_append_new(items, made) != 0)
            pj_memory_ended("an item of an event");
        if (set_members(made, item, member->of, &here, error) != 0)
            return -1;
        set_extra(made, item, member->of);
    }
    return 0;
}

static int set_member(json_t *out, const struct member *member, const json_t *value,
                      const struct place *place, struct pj_error *error)
{
    switch (member->kind) {
    case TEXT:
        if (value != NULL && !json_is_string(value))
            return bad(place, member->name, "not a text", error);
        set(out, member->name, value != NULL ? json_deep_copy(value) : json_null());
        return 0;
    case ID:
        return set_id(out, member->name, value, place, error);
    case FLAG:
        if (value != NULL && !json_is_boolean(value))
            return bad(place, member->name, "neither true nor false", error);
        set(out, member->name, json_boolean(value != NULL && json_is_true(value)));
        return 0;
    case WHOLE:
        return set_whole(out, member->name, value, place, error);
    case ANY:
        if (value != NULL) {
            char *text = pj_must(json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY));
            set(out, member->name, json_string(text));
            free(text);
        }
        return 0;
    case ID_LIST:
        return set_ids(out, member->name, value, place, error);
    case ITEMS:
        return set_items(out, member, value, place, error);
    }
    return -1;
}

static int set_members(json_t *out, const json_t *object, const struct member *members,
                       const struct place *place, struct pj_error *error)
{
    for (const struct member *member = members; member->name != NULL; member++) {
        const json_t *value = json_object_get(object, member->name);
        if (json_is_null(value))
            value = NULL;
        if (value == NULL && member->kind == ITEMS && place == NULL)
            continue;
        if (set_member(out, member, value, place, error) != 0)
            return -1;
    }
    return 0;
}

/* --- the drama ------------------------------------------------------------------------------- */

static void hash_of(struct pj_bytes file, char hex[2 * SHA256 + 1])
{
    unsigned char hash[SHA256];
    if (EVP_Digest(file.data, file.length, hash, NULL, EVP_sha256(), NULL) != 1)
        pj_memory_ended("a digest");
    for (size_t i = 0; i < SHA256; i++)
        (void)pj_text_whole(hex + 2 * i, 3, "%02x", hash[i]);
}

/* The same of the same file, whoever imports it again. */
static json_t *event_id(const struct pj_old_drama *drama, const char *hash)
{
    char revision[24], text[37];
    uint8_t uuid[16];
    pj_text_whole(revision, sizeof revision, "%lld", (long long)drama->revision);
    const struct pj_value parts[] = {pj_text("drama/import"), pj_text(drama->id), pj_text(hash),
                                     pj_text(revision)};
    pj_uuid_of_texts(parts, sizeof parts / sizeof parts[0], uuid);
    uuid_unparse_lower(uuid, text);
    return json_string(text);
}

static bool is_known(const char *name)
{
    static const char known[] = "id|created_at|updated_at";
    for (const struct member *member = whole; member->name != NULL; member++) {
        if (strcmp(member->name, name) == 0)
            return true;
    }
    return pj_text_is_of(known, '|', name);
}

static void note_oddities(const struct pj_old_drama *drama, const json_t *json)
{
    const json_t *id = json_object_get(json, "id");
    const char *name;
    json_t *value;
    if (json_is_string(id) && strcmp(json_string_value(id), drama->id) != 0)
        note(drama, "its id is '", json_string_value(id), "', and that of its key counts");
    json_object_foreach((json_t *)(uintptr_t)json, name, value)
    {
        if (!is_known(name) && !json_is_null(value))
            note(drama, "its member '", name, "' is nobody's, and left out");
    }
}

/* The earliest that is known; the times of old files have no zone, and mean UTC. */
static bool read_created(const char *text, int64_t *time)
{
    char *zoned = pj_text_new("%sZ", text);
    bool read = pj_time_read(text, time) || pj_time_read(zoned, time);
    free(zoned);
    return read;
}

static int64_t created_us(const struct pj_old_drama *drama, const json_t *json)
{
    int64_t created = drama->revision, own;
    const char *text = json_string_value(json_object_get(json, "created_at"));
    if (text != NULL && read_created(text, &own) && own < created)
        created = own;
    if (drama->created_us != 0 && drama->created_us < created)
        created = drama->created_us;
    return created;
}

static json_t *load(const struct pj_old_drama *drama, struct pj_error *error)
{
    static const char mark[] = "\xef\xbb\xbf";
    json_error_t fault;
    if (drama->file.length >= 3 && memcmp(drama->file.data, mark, 3) == 0) {
        (void)pj_error_set(error, PJ_POISON,
                           "it begins with a byte order mark, which JSON does not allow");
        return NULL;
    }
    json_t *json = json_loadb(drama->file.data, drama->file.length, JSON_REJECT_DUPLICATES, &fault);
    if (json == NULL)
        (void)pj_error_set(error, PJ_POISON, "it is not JSON: %s (line %d, column %d)", fault.text,
                           fault.line, fault.column);
    else if (!json_is_object(json))
        (void)pj_error_set(error, PJ_POISON, "it is no JSON object");
    if (json_is_object(json))
        return json;
    json_decref(json);
    return NULL;
}

static json_t *wrap(const struct pj_old_drama *drama, json_t *saved, const char *hash)
{
    json_t *event = pj_must(json_object());
    json_t *body = pj_must(json_object());
    set(event, "event_id", event_id(drama, hash));
    set(event, "drama_id", json_string(drama->id));
    set(event, "life", json_integer(0));
    set(event, "revision", json_integer(drama->revision));
    set(event, "emitted_at", json_integer(drama->revision));
    set(event, "user_id", json_string(drama->user));
    set(body, "drama.DramaSaved", saved);
    set(event, "body", body);
    return event;
}

json_t *pj_old_drama_event(const struct pj_old_drama *drama, struct pj_error *error)
{
    char hash[2 * SHA256 + 1];
    size_t length = strlen(drama->id);
    json_t *id = json_stringn(drama->id, length);
    if (id == NULL || length == 0 || pj_utf8_count(drama->id, length) > ID_MOST) {
        json_decref(id);
        (void)pj_error_set(error, PJ_POISON,
                           "the id of its key is not one of 1 to 200 characters of UTF-8");
        return NULL;
    }
    json_decref(id);
    json_t *json = load(drama, error);
    if (json == NULL)
        return NULL;
    json_t *saved = pj_must(json_object());
    if (set_members(saved, json, whole, NULL, error) != 0) {
        json_decref(saved);
        json_decref(json);
        return NULL;
    }
    hash_of(drama->file, hash);
    set(saved, "source", json_string("import"));
    set(saved, "content_hash", json_string(hash));
    set(saved, "created_at", json_integer(created_us(drama, json)));
    note_oddities(drama, json);
    json_decref(json);
    return wrap(drama, saved, hash);
}

/* --- the index ------------------------------------------------------------------------------- */

static void add_indexed(json_t *index, const char *id, const json_t *entry)
{
    int64_t time;
    const char *text = json_string_value(json_object_get(entry, "created_at"));
    if (id != NULL && text != NULL && read_created(text, &time))
        set(index, id, json_integer(time));
}

/* A list of objects with an id, or an object of them by id; or the member `dramas` is that. */
json_t *pj_old_drama_index(struct pj_bytes file, struct pj_error *error)
{
    json_error_t fault;
    json_t *json = json_loadb(file.data, file.length, JSON_REJECT_DUPLICATES, &fault);
    if (json == NULL) {
        (void)pj_error_set(error, PJ_POISON, "it is not JSON: %s (line %d, column %d)", fault.text,
                           fault.line, fault.column);
        return NULL;
    }
    json_t *dramas = json_object_get(json, "dramas"), *value, *index = pj_must(json_object());
    const char *id;
    size_t i;
    if (dramas == NULL)
        dramas = json;
    if (json_is_array(dramas))
        json_array_foreach(dramas, i, value)
            add_indexed(index, json_string_value(json_object_get(value, "id")), value);
    else
        json_object_foreach(dramas, id, value) add_indexed(index, id, value);
    json_decref(json);
    return index;
}

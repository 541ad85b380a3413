/* SPDX-License-Identifier: Apache-2.0 */
/*
 * object-catalog: the objects in storage, also those removed, in video_objects.
 *
 * An event counts unless its video is another tenant's, or purged. A video knows the objects that
 * name it, and tells each of them whose it is; it may have thousands, which are kept apart.
 */
#include "projections/captions/captions.h"
#include "projections/captions/captions_projections.h"
#include "schemas.h"

#define OBJECTS(COLUMN)                                                                            \
    COLUMN(object_id, PJ_UUID, .key = true)                                                        \
    COLUMN(tenant_id, PJ_UUID)                                                                     \
    COLUMN(video_id, PJ_UUID)                                                                      \
    COLUMN(bucket, PJ_TEXT)                                                                        \
    COLUMN(key, PJ_TEXT)                                                                           \
    COLUMN(kind, PJ_TEXT)                                                                          \
    COLUMN(size_bytes, PJ_BIGINT)                                                                  \
    COLUMN(etag, PJ_TEXT)                                                                          \
    COLUMN(stored_at, PJ_TIMESTAMPTZ)                                                              \
    COLUMN(removed_at, PJ_TIMESTAMPTZ)
PJ_COLUMNS(captions_objects, OBJECTS);

static const struct pj_table captions_objects_table = {
    .name = "video_objects",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(captions_objects),
};

/* --- facts ----------------------------------------------------------------------------------- */

enum { OWNER, OBJECT };

#define BY(VALUE)    VALUE(tenant_id, PJ_UUID)
#define HERE(VALUE)  VALUE(here, PJ_BOOL)
#define OWNED(VALUE) VALUE(video_id, PJ_UUID) VALUE(tenant_id, PJ_UUID) VALUE(purged, PJ_BOOL)
#define TOLD(VALUE)                                                                                \
    VALUE(tenant_id, PJ_UUID)                                                                      \
    VALUE(video_id, PJ_UUID)                                                                       \
    VALUE(bucket, PJ_TEXT)                                                                         \
    VALUE(key, PJ_TEXT)                                                                            \
    VALUE(removed, PJ_BOOL)                                                                        \
    VALUE(size_bytes, PJ_BIGINT)                                                                   \
    VALUE(etag, PJ_TEXT)                                                                           \
    VALUE(at, PJ_TIMESTAMPTZ)

static void derive_names(const struct pj_entity *entity, const struct pj_fact *fact,
                         struct pj_derivation *derivation);

#define OWNER_FACTS(FACT)                                                                          \
    FACT(registered_by, PJ_LEAST, BY, .shown = true)                                               \
    FACT(purged_by, PJ_LEAST, HERE, .shown = true)                       /* by the tenant */       \
    FACT(named_by, PJ_LEAST, HERE, .wide = true, .derive = derive_names) /* by the object */
PJ_FACTS(owner, OWNER, OWNER_FACTS);

/* The first two by the claim. */
#define OBJECT_FACTS(FACT)                                                                         \
    FACT(last, PJ_GREATEST, TOLD)                                                                  \
    FACT(stored, PJ_GREATEST, TOLD)                                                                \
    FACT(owned, PJ_LEAST, OWNED)
PJ_FACTS(object, OBJECT, OBJECT_FACTS);

/* --- what an event means --------------------------------------------------------------------- */

static int observe_video(const struct pj_event *event, struct pj_observer *observer,
                         struct pj_error *error)
{
    const struct captions_video *e = PJ_EVENT(event, captions_video);
    const uint8_t *video = e->video_id.uuid;
    struct pj_order order = CAPTIONS_ORDER(e);
    if (captions_check_video(e, error) != 0)
        return -1;
    if (e->registered.present)
        PJ_KEEP(observer, registered_by, video, NULL, &order, {.tenant_id = e->tenant_id});
    if (e->purged.present)
        PJ_KEEP(observer, purged_by, video, e->tenant_id.uuid, &order, {.here = PJ_BOOL(true)});
    return 0;
}

/* The version 5 UUID of bucket/key. */
static void object_id(struct pj_observer *observer, const struct captions_object *e, uint8_t id[16])
{
    size_t bucket = e->bucket.text.length;
    size_t length = bucket + 1 + e->key.text.length;
    char *name = pj_observer_alloc(observer, length);
    memcpy(name, e->bucket.text.data, bucket);
    name[bucket] = '/';
    memcpy(name + bucket + 1, e->key.text.data, e->key.text.length);
    pj_uuid_of_name(name, length, id);
}

static int observe_object(const struct pj_event *event, struct pj_observer *observer,
                          struct pj_error *error)
{
    const struct captions_object *e = PJ_EVENT(event, captions_object);
    uint8_t id[16], claim[16];
    if (captions_check_object(e, error) != 0)
        return -1;
    struct pj_order order = captions_object_order(e);
    struct last told = {.bucket = e->bucket,
                        .key = e->key,
                        .removed = PJ_BOOL(pj_text_is(&e->operation.value, "removed")),
                        .size_bytes = e->size_bytes,
                        .etag = e->etag,
                        .at = e->emitted_at};
    captions_object_claim(e, &told.tenant_id, &told.video_id);
    captions_claim(told.tenant_id, told.video_id, claim);
    object_id(observer, e, id);
    PJ_KEEP(observer, last, id, claim, &order, told);
    if (!told.removed.boolean)
        pj_keep(observer, OBJECT, id, stored_fact, claim, &order, PJ_PARTS(told));
    if (told.video_id.present)
        PJ_KEEP(observer, named_by, told.video_id.uuid, id, &(struct pj_order){0},
                {.here = PJ_BOOL(true)});
    return 0;
}

/* --- whose it is ----------------------------------------------------------------------------- */

static void derive_owner(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    (void)entity; /* all is said by what follows */
    (void)derivation;
}

static void derive_names(const struct pj_entity *entity, const struct pj_fact *fact,
                         struct pj_derivation *derivation)
{
    const struct registered_by *owner = PJ_FACT(entity, registered_by);
    struct pj_uuid video = PJ_UUID(pj_entity_key(entity));
    const struct pj_value parts[] = {video.value, pj_uuid(fact->subkey)};
    uint8_t subkey[16];
    if (owner == NULL)
        return;
    pj_uuid_of_names(parts, 2, subkey);
    bool purged = pj_fact_of(entity, OWNER, purged_by_fact, owner->tenant_id.uuid) != NULL;
    PJ_CONTRIBUTE(derivation, owned, fact->subkey, subkey,
                  {.video_id = video, .tenant_id = owner->tenant_id, .purged = PJ_BOOL(purged)});
}

/* --- the row --------------------------------------------------------------------------------- */

static bool same(struct pj_uuid a, struct pj_uuid b)
{
    return a.present && b.present && memcmp(a.uuid, b.uuid, sizeof a.uuid) == 0;
}

/* Whether what was told under this claim counts. */
static bool counts(const struct pj_entity *object, const struct last *told)
{
    size_t count;
    const struct pj_fact *owners = PJ_ALL(object, owned, &count);
    for (size_t i = 0; i < count; i++) {
        const struct owned *owned = PJ_SAYS(owned, &owners[i]);
        if (same(owned->video_id, told->video_id))
            return same(owned->tenant_id, told->tenant_id) && !owned->purged.boolean;
    }
    return true;
}

/* The last of all claims that count; all null where none does. */
static const struct last *last_of(const struct pj_entity *object, const struct pj_fact *facts,
                                  size_t count)
{
    const struct pj_fact *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if (counts(object, PJ_SAYS(last, &facts[i])) &&
            (best == NULL || pj_order_compare(&facts[i].order, &best->order) > 0))
            best = &facts[i];
    }
    return PJ_SAYS(last, best);
}

static bool ends(struct pj_text file, const char *end)
{
    size_t length = strlen(end);
    return file.text.length > length &&
           memcmp(file.text.data + file.text.length - length, end, length) == 0;
}

/* chunk_0000.webm, in one of the two folders that there were. */
static bool is_chunk(struct pj_text file)
{
    char text[128];
    int end = -1;
    if (file.text.length >= sizeof text || memchr(file.text.data, '\0', file.text.length) != NULL)
        return false;
    memcpy(text, file.text.data, file.text.length);
    text[file.text.length] = '\0';
    (void)sscanf(text, "cropped_frames/chunk_%*1[0-9]%*1[0-9]%*1[0-9]%*1[0-9].webm%n", &end);
    if (end < 0)
        (void)sscanf(text,
                     "cropped_frames_v%*[0-9]/modulo_%*[0-9]/"
                     "chunk_%*1[0-9]%*1[0-9]%*1[0-9]%*1[0-9].webm%n",
                     &end);
    return end == (int)file.text.length;
}

static const char *kind_of(struct pj_text file)
{
    static const char *const databases[] = {"video.db", "fullOCR.db", "layout.db", "captions.db"};
    static const char *const videos[] = {".mp4", ".mov", ".webm", ".mkv", ".avi"};
    if (!file.present)
        return "other";
    for (size_t i = 0; i < sizeof databases / sizeof databases[0]; i++) {
        if (pj_text_is(&file.value, databases[i]))
            return databases[i];
    }
    if (is_chunk(file))
        return "chunk";
    for (size_t i = 0; i < sizeof videos / sizeof videos[0]; i++) {
        if (ends(file, videos[i]) && memchr(file.text.data, '/', file.text.length) == NULL)
            return "video";
    }
    return "other";
}

static void derive_object(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t last_count, stored_count;
    const struct pj_fact *all = PJ_ALL(entity, last, &last_count);
    const struct pj_fact *all_stored = PJ_ALL(entity, stored, &stored_count);
    const struct last *last = last_of(entity, all, last_count);
    const struct last *stored = last_of(entity, all_stored, stored_count);
    if (!last->key.present)
        return;
    struct captions_place place = captions_place_of(last->key);
    *PJ_ROW(derivation, captions_objects) = (struct captions_objects){
        .object_id = PJ_UUID(pj_entity_key(entity)),
        .tenant_id = place.tenant,
        .video_id = place.video,
        .bucket = last->bucket,
        .key = last->key,
        .kind = PJ_TEXT(kind_of(place.file)),
        .size_bytes = last->removed.boolean ? PJ_BIGINT(pj_null()) : last->size_bytes,
        .etag = stored->etag,
        .stored_at = stored->at,
        .removed_at = last->removed.boolean ? last->at : PJ_TIMESTAMPTZ(pj_null()),
    };
}

const struct pj_projection pj_object_catalog = {
    .name = "object-catalog",
    .summary = "keep video_objects: the objects in storage",
    .version = 1,
    PJ_SOURCES(CAPTIONS_SOURCE(objects, captions_object, observe_object),
               CAPTIONS_SOURCE(videos, captions_video, observe_video)),
    PJ_ENTITIES([OWNER] = {.name = "owner", PJ_FACTS_OF(owner), .derive = derive_owner},
                [OBJECT] = {.name = "object", PJ_FACTS_OF(object), .derive = derive_object}),
    PJ_TABLES(&captions_objects_table),
};

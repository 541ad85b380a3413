/* SPDX-License-Identifier: Apache-2.0 */
/* studio-objects: what is in storage, each object by its latest event. */
#include "projectionist/ids.h"
#include "projections/studio/studio.h"
#include "projections/studio/studio_projections.h"
#include "schemas.h"

enum { OBJECT };

#define OBJECTS(COLUMN)                                                                            \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(bucket, PJ_TEXT)                                                                        \
    COLUMN(object_key, PJ_TEXT)                                                                    \
    COLUMN(project_id, PJ_UUID)                                                                    \
    COLUMN(size_bytes, PJ_BIGINT)                                                                  \
    COLUMN(content_type, PJ_TEXT)                                                                  \
    COLUMN(etag, PJ_TEXT)                                                                          \
    COLUMN(public_url, PJ_TEXT)                                                                    \
    COLUMN(revision, PJ_BIGINT)                                                                    \
    COLUMN(stored_at, PJ_TIMESTAMPTZ)
PJ_COLUMNS(objects, OBJECTS);
static const struct pj_table objects_table = {.name = "studio_objects", PJ_COLUMNS_OF(objects)};

#define LAST(VALUE)                                                                                \
    VALUE(gone, PJ_BOOL)                                                                           \
    VALUE(bucket, PJ_TEXT)                                                                         \
    VALUE(object_key, PJ_TEXT)                                                                     \
    VALUE(size_bytes, PJ_BIGINT)                                                                   \
    VALUE(content_type, PJ_TEXT)                                                                   \
    VALUE(etag, PJ_TEXT)                                                                           \
    VALUE(public_url, PJ_TEXT)                                                                     \
    VALUE(at, PJ_TIMESTAMPTZ)
#define OBJECT_FACTS(FACT) FACT(last, PJ_GREATEST, LAST)
PJ_FACTS(object, OBJECT, OBJECT_FACTS);

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct studio_object_event *e = PJ_EVENT(event, studio_object_event);
    const struct pj_value parts[] = {pj_text("studio/object"), e->bucket.value,
                                     e->object_key.value};
    const struct pj_order order = studio_order(e->revision, 0, e->event_id);
    uint8_t id[16];
    if (studio_check_object(e, error) != 0)
        return -1;
    pj_uuid_of_texts(parts, PJ_COUNT(parts), id);
    PJ_KEEP(observer, last, id, NULL, &order,
            {.gone = PJ_BOOL(e->deleted.present),
             .bucket = e->bucket,
             .object_key = e->object_key,
             .size_bytes = e->size_bytes,
             .content_type = e->content_type,
             .etag = e->etag,
             .public_url = e->public_url,
             .at = e->emitted_at});
    return 0;
}

/* Of projects/<uuid>/…; else null. */
static struct pj_uuid project_of(struct pj_text key)
{
    static const char folder[] = "projects/";
    enum { FOLDER = sizeof folder - 1, ID = 36 };
    uint8_t id[16];
    if (key.text.length > FOLDER + ID && memcmp(key.text.data, folder, FOLDER) == 0 &&
        key.text.data[FOLDER + ID] == '/' && pj_uuid_parse(key.text.data + FOLDER, ID, id))
        return PJ_UUID((const uint8_t *)id);
    return PJ_UUID(pj_null());
}

static void derive(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct last *last = PJ_FACT(entity, last);
    if (last->gone.boolean)
        return;
    *PJ_ROW(derivation, objects) = (struct objects){
        .id = PJ_UUID(pj_entity_key(entity)),
        .bucket = last->bucket,
        .object_key = last->object_key,
        .project_id = project_of(last->object_key),
        .size_bytes = last->size_bytes,
        .content_type = last->content_type,
        .etag = last->etag,
        .public_url = last->public_url,
        .revision = PJ_BIGINT(pj_entity_fact(entity, last_fact, NULL)->order.rank[0]),
        .stored_at = last->at,
    };
}

const struct pj_projection pj_studio_objects = {
    .name = "studio-objects",
    .summary = "keep studio_objects: what is in storage",
    .version = 1,
    PJ_SOURCES(PJ_SOURCE("studio.objects", pj_schema_studio_objects, studio_object_event, observe)),
    PJ_ENTITIES([OBJECT] = {.name = "object", PJ_FACTS_OF(object), .derive = derive}),
    PJ_TABLES(&objects_table),
};

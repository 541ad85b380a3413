/* SPDX-License-Identifier: Apache-2.0 */
/*
 * studio-catalog: projects with all that belongs to them: scenes, clips, exports and audio files;
 * and project_saves, which save was made on which.
 *
 * A project is one entity, so that a scene and the clips of it change in one transaction. A browser
 * saves the project while somebody types: the script, and each clip, export and audio file, is kept
 * apart, so that a save writes its own texts and scenes, and a clip only itself.
 */
#include "base/utf8.h"
#include "projectionist/ids.h"
#include "projections/studio/studio.h"
#include "projections/studio/studio_projections.h"
#include "schemas.h"

#include <stdlib.h>

enum { PROJECT };

/* --- tables ---------------------------------------------------------------------------------- */

#define PROJECTS(COLUMN)                                                                           \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(user_id, PJ_UUID)                                                                       \
    COLUMN(title, PJ_TEXT)                                                                         \
    COLUMN(description, PJ_TEXT)                                                                   \
    COLUMN(script, PJ_TEXT)                                                                        \
    COLUMN(status, PJ_TEXT)                                                                        \
    COLUMN(thumbnail_url, PJ_TEXT)                                                                 \
    COLUMN(seo_title, PJ_TEXT)                                                                     \
    COLUMN(seo_description, PJ_TEXT)                                                               \
    COLUMN(seo_tags, PJ_TEXT, .sql_type = "text[]")                                                \
    COLUMN(seo_hashtags, PJ_TEXT, .sql_type = "text[]")                                            \
    COLUMN(seo_chapters, PJ_JSONB)                                                                 \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(revision, PJ_BIGINT)                                                                    \
    COLUMN(saved_at, PJ_TIMESTAMPTZ)
PJ_COLUMNS(projects_row, PROJECTS);
static const struct pj_table projects_row_table = {.name = "projects", PJ_COLUMNS_OF(projects_row)};

#define SCENES(COLUMN)                                                                             \
    COLUMN(project_id, PJ_UUID, .key = true)                                                       \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(number, PJ_INT)                                                                         \
    COLUMN(title, PJ_TEXT)                                                                         \
    COLUMN(description, PJ_TEXT)                                                                   \
    COLUMN(prompt, PJ_TEXT)                                                                        \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(position, PJ_INT)                                                                       \
    COLUMN(client_id, PJ_TEXT)
PJ_COLUMNS(scenes_row, SCENES);
static const struct pj_table scenes_row_table = {.name = "scenes", PJ_COLUMNS_OF(scenes_row)};

#define CLIPS(COLUMN)                                                                              \
    COLUMN(project_id, PJ_UUID, .key = true)                                                       \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(scene_id, PJ_UUID)                                                                      \
    COLUMN(provider, PJ_TEXT)                                                                      \
    COLUMN(status, PJ_TEXT)                                                                        \
    COLUMN(file_url, PJ_TEXT)                                                                      \
    COLUMN(thumbnail_url, PJ_TEXT)                                                                 \
    COLUMN(duration, PJ_NUMERIC)                                                                   \
    COLUMN(order_index, PJ_INT)                                                                    \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(prompt, PJ_TEXT)                                                                        \
    COLUMN(start_trim, PJ_NUMERIC)                                                                 \
    COLUMN(end_trim, PJ_NUMERIC)                                                                   \
    COLUMN(revision, PJ_BIGINT)
PJ_COLUMNS(clips_row, CLIPS);
static const struct pj_table clips_row_table = {.name = "clips", PJ_COLUMNS_OF(clips_row)};

#define EXPORTS(COLUMN)                                                                            \
    COLUMN(project_id, PJ_UUID, .key = true)                                                       \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(file_url, PJ_TEXT)                                                                      \
    COLUMN(thumbnail_url, PJ_TEXT)                                                                 \
    COLUMN(resolution, PJ_TEXT)                                                                    \
    COLUMN(duration, PJ_NUMERIC)                                                                   \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(revision, PJ_BIGINT)
PJ_COLUMNS(exports_row, EXPORTS);
static const struct pj_table exports_row_table = {.name = "exports", PJ_COLUMNS_OF(exports_row)};

#define AUDIO_FILES(COLUMN)                                                                        \
    COLUMN(project_id, PJ_UUID, .key = true)                                                       \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(kind, PJ_TEXT)                                                                          \
    COLUMN(file_url, PJ_TEXT)                                                                      \
    COLUMN(filename, PJ_TEXT)                                                                      \
    COLUMN(duration, PJ_NUMERIC)                                                                   \
    COLUMN(metadata, PJ_JSONB)                                                                     \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(revision, PJ_BIGINT)
PJ_COLUMNS(audio_files, AUDIO_FILES);
static const struct pj_table audio_files_table = {.name = "audio_files",
                                                  PJ_COLUMNS_OF(audio_files)};

#define PROJECT_SAVES(COLUMN)                                                                      \
    COLUMN(event_id, PJ_UUID, .key = true)                                                         \
    COLUMN(project_id, PJ_UUID)                                                                    \
    COLUMN(revision, PJ_BIGINT)                                                                    \
    COLUMN(base_revision, PJ_BIGINT)                                                               \
    COLUMN(emitted_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(user_id, PJ_UUID)                                                                       \
    COLUMN(fields, PJ_JSONB)                                                                       \
    COLUMN(script_chars, PJ_INT)                                                                   \
    COLUMN(scene_count, PJ_INT)
PJ_COLUMNS(project_saves, PROJECT_SAVES);
static const struct pj_table project_saves_table = {
    .name = "project_saves",
    .kind = PJ_APPEND_TABLE,
    PJ_COLUMNS_OF(project_saves),
    .trimmed_by = PJ_INDEX(project_saves, emitted_at),
};

#define WAITING(COLUMN)                                                                            \
    COLUMN(project_id, PJ_UUID, .key = true)                                                       \
    COLUMN(kind, PJ_TEXT, .key = true)                                                             \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(since, PJ_TIMESTAMPTZ)
PJ_COLUMNS(waiting, WAITING);
static const struct pj_table waiting_table = {
    .name = "studio_waiting", .schema = "projectionist", PJ_COLUMNS_OF(waiting)};

/* --- facts ----------------------------------------------------------------------------------- */

#define NOTHING(VALUE)
#define AT(VALUE)   VALUE(at, PJ_TIMESTAMPTZ)
#define USER(VALUE) VALUE(user_id, PJ_UUID)
#define TEXT(VALUE) VALUE(text, PJ_TEXT)
#define JSON(VALUE) VALUE(json, PJ_JSONB)
#define SCENE(VALUE)                                                                               \
    VALUE(client_id, PJ_TEXT)                                                                      \
    VALUE(position, PJ_INT)                                                                        \
    VALUE(number, PJ_INT)                                                                          \
    VALUE(title, PJ_TEXT)                                                                          \
    VALUE(description, PJ_TEXT)                                                                    \
    VALUE(prompt, PJ_TEXT)                                                                         \
    VALUE(created_at, PJ_TIMESTAMPTZ)
#define IDS(VALUE) VALUE(bytes, PJ_BYTEA) /* 16 each */
#define CLIP(VALUE)                                                                                \
    VALUE(gone, PJ_BOOL)                                                                           \
    VALUE(scene_id, PJ_UUID)                                                                       \
    VALUE(provider, PJ_TEXT)                                                                       \
    VALUE(status, PJ_TEXT)                                                                         \
    VALUE(file_url, PJ_TEXT)                                                                       \
    VALUE(thumbnail_url, PJ_TEXT)                                                                  \
    VALUE(duration, PJ_NUMERIC)                                                                    \
    VALUE(prompt, PJ_TEXT)
#define TRIM(VALUE) VALUE(start, PJ_NUMERIC) VALUE(end, PJ_NUMERIC)
#define EXPORT(VALUE)                                                                              \
    VALUE(gone, PJ_BOOL)                                                                           \
    VALUE(file_url, PJ_TEXT)                                                                       \
    VALUE(thumbnail_url, PJ_TEXT)                                                                  \
    VALUE(resolution, PJ_TEXT)                                                                     \
    VALUE(duration, PJ_NUMERIC)
#define AUDIO(VALUE)                                                                               \
    VALUE(gone, PJ_BOOL)                                                                           \
    VALUE(kind, PJ_TEXT)                                                                           \
    VALUE(file_url, PJ_TEXT)                                                                       \
    VALUE(filename, PJ_TEXT)                                                                       \
    VALUE(duration, PJ_NUMERIC)                                                                    \
    VALUE(metadata, PJ_JSONB)
#define FIRST(VALUE) VALUE(created_at, PJ_TIMESTAMPTZ) VALUE(since, PJ_TIMESTAMPTZ)

/* Of each clip, export and audio file its last save and its first. */
#define PROJECT_FACTS(FACT)                                                                        \
    FACT(deleted, PJ_LEAST, NOTHING, .absorbs = true)                                              \
    FACT(created, PJ_LEAST, AT)                                                                    \
    FACT(owner, PJ_LEAST, USER)                                                                    \
    FACT(revised, PJ_GREATEST, NOTHING)                                                            \
    FACT(saved, PJ_GREATEST, AT)                                                                   \
    FACT(title, PJ_GREATEST, TEXT)                                                                 \
    FACT(description, PJ_GREATEST, TEXT)                                                           \
    FACT(script, PJ_GREATEST, TEXT, .wide = true)                                                  \
    FACT(seo_title, PJ_GREATEST, TEXT)                                                             \
    FACT(seo_description, PJ_GREATEST, TEXT)                                                       \
    FACT(seo_tags, PJ_GREATEST, TEXT)                                                              \
    FACT(seo_hashtags, PJ_GREATEST, TEXT)                                                          \
    FACT(seo_chapters, PJ_GREATEST, JSON)                                                          \
    FACT(status, PJ_GREATEST, TEXT)                                                                \
    FACT(thumbnail, PJ_GREATEST, TEXT)                                                             \
    FACT(scenes, PJ_GREATEST, NOTHING, .lists = 1 << scene_fact)                                   \
    FACT(scene, PJ_GREATEST, SCENE)                                                                \
    FACT(clips_revised, PJ_GREATEST, NOTHING)                                                      \
    FACT(arranged, PJ_GREATEST, IDS, .wide = true)                                                 \
    FACT(clip, PJ_GREATEST, CLIP, .wide = true)                                                    \
    FACT(clip_first, PJ_LEAST, FIRST, .wide = true)                                                \
    FACT(trim, PJ_GREATEST, TRIM, .wide = true)                                                    \
    FACT(export, PJ_GREATEST, EXPORT, .wide = true)                                                \
    FACT(export_first, PJ_LEAST, FIRST, .wide = true)                                              \
    FACT(audio, PJ_GREATEST, AUDIO, .wide = true)                                                  \
    FACT(audio_first, PJ_LEAST, FIRST, .wide = true)
PJ_FACTS(project, PROJECT, PROJECT_FACTS);

/* Of what is deleted: after every save, whenever it comes. */
static const struct pj_order at_last = {.rank = {INT64_MAX}};

/* --- what a save means ----------------------------------------------------------------------- */

/* Whether the save sets that text. */
static bool names(const struct studio_project_event *e, const char *field)
{
    for (struct pj_array_item item = {0}; pj_items_next(&e->fields.value, &item);) {
        if (pj_text_is(item.values, field))
            return true;
    }
    return !e->fields.present;
}

/* As clips name it, too: a UUID is the row's id, another text makes one. */
static void scene_id_of(struct pj_uuid project, struct pj_value text, uint8_t id[16])
{
    const struct pj_value parts[] = {pj_text("studio/scene"), project.value, text};
    if (text.shape != PJ_SHAPE_TEXT || !pj_uuid_parse(text.text.data, text.text.length, id))
        pj_uuid_of_texts(parts, PJ_COUNT(parts), id);
}

struct said_scene {
    uint8_t wanted[16]; /* by its own id alone */
    uint8_t id[16];     /* of its row */
    bool literal;       /* its own id is that UUID */
    size_t place;
};

static int compare_wanted(const void *a, const void *b)
{
    const struct said_scene *x = a;
    const struct said_scene *y = b;
    return memcmp(x->wanted, y->wanted, sizeof x->wanted);
}

static int compare_said(const void *a, const void *b)
{
    const struct said_scene *x = a;
    const struct said_scene *y = b;
    int compared = compare_wanted(a, b);
    return compared != 0 ? compared : (x->place > y->place) - (x->place < y->place);
}

/* Of scenes that want one id the first that is that UUID has it, else the first; the nth has one of
 * its own, of the least n that makes none which another scene wants. */
static void share_id(struct said_scene *sharing, size_t count, struct pj_uuid project,
                     const struct said_scene *all, size_t all_count)
{
    struct said_scene other;
    size_t first = 0;
    int64_t n = 1;
    for (size_t i = count; i-- > 0;)
        first = sharing[i].literal ? i : first;
    for (size_t i = 0; i < count; i++) {
        memcpy(other.wanted, sharing[i].wanted, sizeof other.wanted);
        while (i != first) {
            const struct pj_value parts[] = {pj_text("studio/scene"), project.value,
                                             pj_uuid(sharing[i].wanted), pj_bigint(++n)};
            pj_uuid_of_texts(parts, PJ_COUNT(parts), other.wanted);
            if (bsearch(&other, all, all_count, sizeof other, compare_wanted) == NULL)
                break;
        }
        memcpy(sharing[i].id, other.wanted, sizeof other.wanted);
    }
}

/* Sorted by nothing that matters. */
static struct said_scene *read_scenes(const struct studio_project_event *e,
                                      struct pj_observer *observer)
{
    size_t count = pj_items_count(&e->scenes.value);
    struct said_scene *said = pj_observer_alloc(observer, (count + 1) * sizeof *said);
    for (struct pj_array_item item = {0}; pj_items_next(&e->scenes.value, &item);) {
        const struct pj_text text = PJ_VIEW(studio_scene, item.values)->scene_id;
        struct said_scene *scene = &said[item.index];
        *scene = (struct said_scene){.place = item.index};
        scene->literal = pj_uuid_parse(text.text.data, text.text.length, scene->wanted);
        scene_id_of(e->project_id,
                    text.text.length > 0 ? text.value : pj_bigint((int64_t)item.index + 1),
                    scene->wanted);
    }
    if (count > 1)
        qsort(said, count, sizeof *said, compare_said);
    for (size_t i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count && compare_wanted(&said[i], &said[next]) == 0;)
            next++;
        share_id(&said[i], next - i, e->project_id, said, count);
    }
    return said;
}

static void observe_scenes(const struct studio_project_event *e, struct pj_observer *observer,
                           const struct pj_order *order)
{
    const uint8_t *project = e->project_id.uuid;
    const struct said_scene *said = read_scenes(e, observer);
    for (size_t i = 0; i < pj_items_count(&e->scenes.value); i++) {
        const struct pj_value *items = e->scenes.items.values;
        const struct studio_scene *s =
            PJ_VIEW(studio_scene, &items[said[i].place * e->scenes.items.width]);
        PJ_KEEP(observer, scene, project, said[i].id, order,
                {.client_id = s->scene_id,
                 .position = PJ_INT((int32_t)said[i].place + 1),
                 .number = s->number,
                 .title = s->title,
                 .description = s->description,
                 .prompt = s->prompt,
                 .created_at = s->created_at});
    }
    PJ_KEEP(observer, scenes, project, NULL, order, {});
}

#define KEEP_TEXT(fact)                                                                            \
    if (names(e, #fact))                                                                           \
    PJ_KEEP(observer, fact, project, NULL, order, {.text = e->fact})
#define KEEP_TEXTS(fact)                                                                           \
    if (names(e, #fact))                                                                           \
    PJ_KEEP(observer, fact, project, NULL, order,                                                  \
            {.text = PJ_TEXT(pj_observer_items(observer, &e->fact.value))})

static void observe_texts(const struct studio_project_event *e, struct pj_observer *observer,
                          const struct pj_order *order)
{
    const uint8_t *project = e->project_id.uuid;
    KEEP_TEXT(title);
    KEEP_TEXT(description);
    KEEP_TEXT(script);
    KEEP_TEXT(seo_title);
    KEEP_TEXT(seo_description);
    KEEP_TEXTS(seo_tags);
    KEEP_TEXTS(seo_hashtags);
    if (names(e, "seo_chapters"))
        PJ_KEEP(observer, seo_chapters, project, NULL, order, {.json = e->seo_chapters});
}

static struct pj_int counted(bool known, size_t count)
{
    return known ? PJ_INT((int32_t)count) : PJ_INT(pj_null());
}

static void observe_save(const struct studio_project_event *e, struct pj_observer *observer,
                         const struct pj_order *order)
{
    const uint8_t *project = e->project_id.uuid;
    size_t chars =
        e->script.present ? pj_utf8_count(e->script.text.data, e->script.text.length) : 0;
    PJ_KEEP(observer, created, project, NULL, order, {.at = PJ_OR(e->created_at, e->emitted_at)});
    PJ_KEEP(observer, saved, project, NULL, order, {.at = e->emitted_at});
    observe_texts(e, observer, order);
    if (e->scenes.present)
        observe_scenes(e, observer, order);
    *PJ_APPEND(observer, project_saves) = (struct project_saves){
        .event_id = e->event_id,
        .project_id = e->project_id,
        .revision = e->revision,
        .base_revision = e->base_revision,
        .emitted_at = e->emitted_at,
        .user_id = e->user_id,
        .fields = e->field_names,
        .script_chars = counted(names(e, "script"), chars),
        .scene_count = counted(e->scenes.present, pj_items_count(&e->scenes.value)),
    };
}

static int observe_project(const struct pj_event *event, struct pj_observer *observer,
                           struct pj_error *error)
{
    const struct studio_project_event *e = PJ_EVENT(event, studio_project_event);
    const struct pj_order order = studio_order(e->revision, 0, e->event_id);
    const uint8_t *project = e->project_id.uuid;
    if (studio_check_project(e, error) != 0)
        return -1;
    PJ_KEEP(observer, revised, project, NULL, &order, {});
    if (e->user_id.present)
        PJ_KEEP(observer, owner, project, NULL, &order, {.user_id = e->user_id});
    if (e->saved.present)
        observe_save(e, observer, &order);
    if (e->status_changed.present)
        PJ_KEEP(observer, status, project, NULL, &order, {.text = e->status});
    if (e->thumbnail_set.present)
        PJ_KEEP(observer, thumbnail, project, NULL, &order, {.text = e->thumbnail_url});
    if (e->deleted.present)
        PJ_KEEP(observer, deleted, project, NULL, &order, {});
    return 0;
}

/* --- what events of clips and media mean ----------------------------------------------------- */

static struct pj_text clip_status(struct pj_text word)
{
    if (pj_text_is(&word.value, "completed"))
        return PJ_TEXT("done");
    if (pj_text_is(&word.value, "error") || pj_text_is(&word.value, "timeout"))
        return PJ_TEXT("failed");
    return word;
}

static void observe_clip_save(const struct studio_clip_event *e, struct pj_observer *observer,
                              const struct pj_order *order)
{
    const uint8_t *project = e->project_id.uuid;
    struct clip clip = {.provider = e->provider,
                        .status = clip_status(e->status),
                        .file_url = e->file_url,
                        .thumbnail_url = e->thumbnail_url,
                        .duration = e->duration,
                        .prompt = e->prompt};
    if (e->scene_id.present) {
        uint8_t scene[16];
        scene_id_of(e->project_id, e->scene_id.value, scene);
        clip.scene_id = PJ_UUID((const uint8_t *)scene);
    }
    PJ_KEEP(observer, clip, project, e->saved_id.uuid, order, clip);
    PJ_KEEP(observer, clip_first, project, e->saved_id.uuid, order,
            {.created_at = PJ_OR(e->created_at, e->emitted_at), .since = e->emitted_at});
}

static void observe_order(const struct studio_clip_event *e, struct pj_observer *observer,
                          const struct pj_order *order)
{
    enum { ID = 16 };
    size_t count = pj_items_count(&e->clip_ids.value);
    uint8_t *ids = pj_observer_alloc(observer, count * ID + 1);
    for (struct pj_array_item item = {0}; pj_items_next(&e->clip_ids.value, &item);)
        memcpy(ids + item.index * ID, PJ_VIEW(studio_clip_id, item.values)->clip_id.uuid, ID);
    PJ_KEEP(observer, arranged, e->project_id.uuid, NULL, order,
            {.bytes = PJ_BYTEA(pj_text_of(ids, count * ID))});
}

static int observe_clip(const struct pj_event *event, struct pj_observer *observer,
                        struct pj_error *error)
{
    const struct studio_clip_event *e = PJ_EVENT(event, studio_clip_event);
    const struct pj_order order = studio_order(e->revision, 0, e->event_id);
    const uint8_t *project = e->project_id.uuid;
    if (studio_check_clip(e, error) != 0)
        return -1;
    PJ_KEEP(observer, clips_revised, project, NULL, &order, {});
    if (e->saved.present)
        observe_clip_save(e, observer, &order);
    if (e->trimmed.present)
        PJ_KEEP(observer, trim, project, e->trimmed_id.uuid, &order,
                {.start = e->start_trim, .end = e->end_trim});
    if (e->reordered.present)
        observe_order(e, observer, &order);
    if (e->deleted.present)
        PJ_KEEP(observer, clip, project, e->deleted_id.uuid, &at_last, {.gone = PJ_BOOL(true)});
    return 0;
}

static int observe_media(const struct pj_event *event, struct pj_observer *observer,
                         struct pj_error *error)
{
    const struct studio_media_event *e = PJ_EVENT(event, studio_media_event);
    const struct pj_order order = studio_order(e->revision, 0, e->event_id);
    const uint8_t *project = e->project_id.uuid;
    if (studio_check_media(e, error) != 0)
        return -1;
    if (e->export_saved.present) {
        PJ_KEEP(observer, export, project, e->export_id.uuid, &order,
                {.file_url = e->export_file_url,
                 .thumbnail_url = e->thumbnail_url,
                 .resolution = e->resolution,
                 .duration = e->export_duration});
        PJ_KEEP(observer, export_first, project, e->export_id.uuid, &order,
                {.created_at = PJ_OR(e->export_created_at, e->emitted_at), .since = e->emitted_at});
    }
    if (e->export_deleted.present)
        PJ_KEEP(observer, export, project, e->deleted_export_id.uuid, &at_last,
                {.gone = PJ_BOOL(true)});
    if (e->audio_saved.present) {
        PJ_KEEP(observer, audio, project, e->audio_id.uuid, &order,
                {.kind = e->kind,
                 .file_url = e->audio_file_url,
                 .filename = e->filename,
                 .duration = e->audio_duration,
                 .metadata = e->metadata});
        PJ_KEEP(observer, audio_first, project, e->audio_id.uuid, &order,
                {.created_at = PJ_OR(e->audio_created_at, e->emitted_at), .since = e->emitted_at});
    }
    if (e->audio_deleted.present)
        PJ_KEEP(observer, audio, project, e->deleted_audio_id.uuid, &at_last,
                {.gone = PJ_BOOL(true)});
    return 0;
}

/* --- what follows from the facts ------------------------------------------------------------- */

static struct pj_uuid id_of(const struct pj_entity *entity)
{
    return PJ_UUID(pj_entity_key(entity));
}

static void derive_row(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    *PJ_ROW(derivation, projects_row) = (struct projects_row){
        .id = id_of(entity),
        .user_id = PJ_SAID(entity, owner)->user_id,
        .title = PJ_SAID(entity, title)->text,
        .description = PJ_SAID(entity, description)->text,
        .script = PJ_SAID(entity, script)->text,
        .status = PJ_OR(PJ_SAID(entity, status)->text, PJ_TEXT("draft")),
        .thumbnail_url = PJ_SAID(entity, thumbnail)->text,
        .seo_title = PJ_SAID(entity, seo_title)->text,
        .seo_description = PJ_SAID(entity, seo_description)->text,
        .seo_tags = PJ_SAID(entity, seo_tags)->text,
        .seo_hashtags = PJ_SAID(entity, seo_hashtags)->text,
        .seo_chapters = PJ_SAID(entity, seo_chapters)->json,
        .created_at = PJ_FACT(entity, created)->at,
        .revision = PJ_BIGINT(pj_entity_fact(entity, revised_fact, NULL)->order.rank[0]),
        .saved_at = PJ_FACT(entity, saved)->at,
    };
}

static void derive_scenes(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *facts = PJ_ALL(entity, scene, &count);
    for (size_t i = 0; i < count; i++) {
        const struct scene *s = PJ_SAYS(scene, &facts[i]);
        *PJ_ROW(derivation, scenes_row) = (struct scenes_row){
            .project_id = id_of(entity),
            .id = PJ_UUID(facts[i].subkey),
            .number = PJ_OR(s->number, s->position),
            .title = s->title,
            .description = s->description,
            .prompt = s->prompt,
            .created_at = PJ_OR(s->created_at, PJ_FACT(entity, created)->at),
            .position = s->position,
            .client_id = s->client_id,
        };
    }
}

static void derive_clip(const struct pj_entity *entity, struct pj_derivation *derivation,
                        const struct clip *c, const uint8_t id[16], int32_t place)
{
    const struct trim *trim = PJ_SAYS(trim, pj_entity_fact(entity, trim_fact, id));
    const struct pj_fact *first = pj_entity_fact(entity, clip_first_fact, id);
    const bool shown =
        c->scene_id.present && pj_entity_fact(entity, scene_fact, c->scene_id.uuid) != NULL;
    *PJ_ROW(derivation, clips_row) = (struct clips_row){
        .project_id = id_of(entity),
        .id = PJ_UUID(id),
        .scene_id = shown ? c->scene_id : PJ_UUID(pj_null()),
        .provider = c->provider,
        .status = c->status,
        .file_url = c->file_url,
        .thumbnail_url = c->thumbnail_url,
        .duration = c->duration,
        .order_index = PJ_INT(place),
        .created_at = PJ_SAYS(clip_first, first)->created_at,
        .prompt = c->prompt,
        .start_trim = trim->start,
        .end_trim = trim->end,
        .revision = PJ_BIGINT(pj_entity_fact(entity, clips_revised_fact, NULL)->order.rank[0]),
    };
}

/* The clips in their order: those that were put in one, then the others by their first saves. */
static void derive_clips(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    enum { ID = 16 };
    const struct pj_bytea arranged = PJ_SAID(entity, arranged)->bytes;
    size_t count, first_count;
    int32_t place = 0;
    const struct pj_fact *clips = PJ_ALL(entity, clip, &count);
    const struct pj_fact *firsts =
        pj_entity_facts_by_order(derivation, entity, clip_first_fact, &first_count);
    size_t arranged_count = arranged.present ? arranged.text.length / ID : 0;
    bool *placed = pj_derivation_alloc(derivation, count + 1);
    for (size_t i = 0; i < count; i++)
        placed[i] = PJ_SAYS(clip, &clips[i])->gone.present;
    for (size_t i = 0; i < arranged_count + first_count; i++) {
        const uint8_t *id = i < arranged_count ? (const uint8_t *)arranged.text.data + i * ID
                                               : firsts[i - arranged_count].subkey;
        const struct pj_fact *clip = pj_entity_fact(entity, clip_fact, id);
        if (clip == NULL || placed[clip - clips])
            continue;
        placed[clip - clips] = true;
        derive_clip(entity, derivation, PJ_SAYS(clip, clip), id, place++);
    }
}

static void derive_exports(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *facts = PJ_ALL(entity, export, &count);
    for (size_t i = 0; i < count; i++) {
        const struct export *e = PJ_SAYS(export, &facts[i]);
        if (e->gone.present)
            continue;
        *PJ_ROW(derivation, exports_row) = (struct exports_row){
            .project_id = id_of(entity),
            .id = PJ_UUID(facts[i].subkey),
            .file_url = e->file_url,
            .thumbnail_url = e->thumbnail_url,
            .resolution = e->resolution,
            .duration = e->duration,
            .created_at =
                PJ_SAYS(export_first, pj_entity_fact(entity, export_first_fact, facts[i].subkey))
                    ->created_at,
            .revision = PJ_BIGINT(facts[i].order.rank[0]),
        };
    }
}

static void derive_audio_files(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *facts = PJ_ALL(entity, audio, &count);
    for (size_t i = 0; i < count; i++) {
        const struct audio *a = PJ_SAYS(audio, &facts[i]);
        if (a->gone.present)
            continue;
        *PJ_ROW(derivation, audio_files) = (struct audio_files){
            .project_id = id_of(entity),
            .id = PJ_UUID(facts[i].subkey),
            .kind = a->kind,
            .file_url = a->file_url,
            .filename = a->filename,
            .duration = a->duration,
            .metadata = a->metadata,
            .created_at =
                PJ_SAYS(audio_first, pj_entity_fact(entity, audio_first_fact, facts[i].subkey))
                    ->created_at,
            .revision = PJ_BIGINT(facts[i].order.rank[0]),
        };
    }
}

/* What becomes rows with the project: `fact` has `gone` first, `first_fact` when it was heard of.
 */
static void derive_waiting(const struct pj_entity *entity, struct pj_derivation *derivation,
                           const char *kind, size_t fact, size_t first_fact)
{
    size_t count;
    const struct pj_fact *facts = pj_entity_facts(entity, fact, &count);
    for (size_t i = 0; i < count; i++) {
        const struct pj_fact *first = pj_entity_fact(entity, first_fact, facts[i].subkey);
        if (!facts[i].values[0].present)
            *PJ_ROW(derivation, waiting) = (struct waiting){
                .project_id = id_of(entity),
                .kind = PJ_TEXT(kind),
                .id = PJ_UUID(facts[i].subkey),
                .since = PJ_SAYS(clip_first, first)->since,
            };
    }
}

static void derive_project(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    if (PJ_FACT(entity, created) != NULL) {
        derive_row(entity, derivation);
        derive_scenes(entity, derivation);
        derive_clips(entity, derivation);
        derive_exports(entity, derivation);
        derive_audio_files(entity, derivation);
    } else {
        derive_waiting(entity, derivation, "clip", clip_fact, clip_first_fact);
        derive_waiting(entity, derivation, "export", export_fact, export_first_fact);
        derive_waiting(entity, derivation, "audio_file", audio_fact, audio_first_fact);
    }
}

/* --- the projection -------------------------------------------------------------------------- */

const struct pj_projection pj_studio_catalog = {
    .name = "studio-catalog",
    .summary = "keep projects, scenes, clips, exports and audio_files, and every save",
    .version = 1,
    PJ_SOURCES(
        PJ_SOURCE("studio.projects", pj_schema_studio_projects, studio_project_event,
                  observe_project),
        PJ_SOURCE("studio.clips", pj_schema_studio_clips, studio_clip_event, observe_clip),
        PJ_SOURCE("studio.media", pj_schema_studio_media, studio_media_event, observe_media)),
    PJ_ENTITIES([PROJECT] = {.name = "project", PJ_FACTS_OF(project), .derive = derive_project}),
    PJ_TABLES(&projects_row_table, &scenes_row_table, &clips_row_table, &exports_row_table,
              &audio_files_table, &project_saves_table, &waiting_table),
};

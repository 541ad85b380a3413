/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drama-catalog: dramas whole, as they were saved last: dramas, characters, episodes, scenes and
 * assets; and drama_saves, which save was made on which.
 *
 * Ids of dramas are used again, so each event names the life that it is about: the revision of the
 * save that created the drama. Facts are kept by (life, revision); the greatest life with a save is
 * there, unless it is deleted, and what smaller ones said is dropped. What is said of a life before
 * its save waits for it, under a subkey of that life.
 */
#include "projectionist/ids.h"
#include "projections/drama/drama.h"
#include "projections/drama/drama_projections.h"
#include "schemas.h"

enum { DRAMA };

/* --- tables ---------------------------------------------------------------------------------- */

#define DRAMAS(COLUMN)                                                                             \
    COLUMN(id, PJ_TEXT, .key = true)                                                               \
    COLUMN(user_id, PJ_TEXT)                                                                       \
    COLUMN(title, PJ_TEXT)                                                                         \
    COLUMN(description, PJ_TEXT)                                                                   \
    COLUMN(premise, PJ_TEXT)                                                                       \
    COLUMN(status, PJ_TEXT)                                                                        \
    COLUMN(url, PJ_TEXT)                                                                           \
    COLUMN(cover_url, PJ_TEXT)                                                                     \
    COLUMN(episode_count, PJ_INT)                                                                  \
    COLUMN(metadata, PJ_JSONB)                                                                     \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(life, PJ_BIGINT)                                                                        \
    COLUMN(revision, PJ_BIGINT)                                                                    \
    COLUMN(saved_at, PJ_TIMESTAMPTZ)                                                               \
    COLUMN(source, PJ_TEXT)                                                                        \
    COLUMN(error, PJ_TEXT)
PJ_COLUMNS(dramas, DRAMAS);
static const struct pj_table dramas_table = {.name = "dramas", PJ_COLUMNS_OF(dramas)};

#define CHARACTERS(COLUMN)                                                                         \
    COLUMN(drama_id, PJ_TEXT, .key = true)                                                         \
    COLUMN(id, PJ_TEXT, .key = true)                                                               \
    COLUMN(user_id, PJ_TEXT)                                                                       \
    COLUMN(name, PJ_TEXT)                                                                          \
    COLUMN(description, PJ_TEXT)                                                                   \
    COLUMN(gender, PJ_TEXT)                                                                        \
    COLUMN(voice_description, PJ_TEXT)                                                             \
    COLUMN(is_main, PJ_BOOL)                                                                       \
    COLUMN(url, PJ_TEXT)                                                                           \
    COLUMN(premise_url, PJ_TEXT)                                                                   \
    COLUMN(metadata, PJ_JSONB)                                                                     \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(position, PJ_INT)                                                                       \
    COLUMN(extra, PJ_JSONB)
PJ_COLUMNS(characters_row, CHARACTERS);
static const struct pj_table characters_row_table = {.name = "characters",
                                                     PJ_COLUMNS_OF(characters_row)};

#define EPISODES(COLUMN)                                                                           \
    COLUMN(drama_id, PJ_TEXT, .key = true)                                                         \
    COLUMN(id, PJ_TEXT, .key = true)                                                               \
    COLUMN(user_id, PJ_TEXT)                                                                       \
    COLUMN(title, PJ_TEXT)                                                                         \
    COLUMN(description, PJ_TEXT)                                                                   \
    COLUMN(premise, PJ_TEXT)                                                                       \
    COLUMN(url, PJ_TEXT)                                                                           \
    COLUMN(sequence_number, PJ_INT)                                                                \
    COLUMN(metadata, PJ_JSONB)                                                                     \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(extra, PJ_JSONB)
PJ_COLUMNS(episodes_row, EPISODES);
static const struct pj_table episodes_row_table = {.name = "episodes", PJ_COLUMNS_OF(episodes_row)};

#define SCENES(COLUMN)                                                                             \
    COLUMN(drama_id, PJ_TEXT, .key = true)                                                         \
    COLUMN(episode_id, PJ_TEXT, .key = true)                                                       \
    COLUMN(id, PJ_TEXT, .key = true)                                                               \
    COLUMN(user_id, PJ_TEXT)                                                                       \
    COLUMN(description, PJ_TEXT)                                                                   \
    COLUMN(image_url, PJ_TEXT)                                                                     \
    COLUMN(video_url, PJ_TEXT)                                                                     \
    COLUMN(sequence_number, PJ_INT)                                                                \
    COLUMN(metadata, PJ_JSONB)                                                                     \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(extra, PJ_JSONB)
PJ_COLUMNS(scenes_row, SCENES);
static const struct pj_table scenes_row_table = {.name = "scenes", PJ_COLUMNS_OF(scenes_row)};

#define ASSETS(COLUMN)                                                                             \
    COLUMN(asset_key, PJ_UUID, .key = true)                                                        \
    COLUMN(drama_id, PJ_TEXT)                                                                      \
    COLUMN(owner, PJ_TEXT)                                                                         \
    COLUMN(character_id, PJ_TEXT)                                                                  \
    COLUMN(episode_id, PJ_TEXT)                                                                    \
    COLUMN(scene_id, PJ_TEXT)                                                                      \
    COLUMN(id, PJ_TEXT)                                                                            \
    COLUMN(kind, PJ_TEXT)                                                                          \
    COLUMN(depends_on, PJ_JSONB)                                                                   \
    COLUMN(prompt, PJ_TEXT)                                                                        \
    COLUMN(duration, PJ_INT)                                                                       \
    COLUMN(url, PJ_TEXT)                                                                           \
    COLUMN(metadata, PJ_JSONB)                                                                     \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(position, PJ_INT)                                                                       \
    COLUMN(extra, PJ_JSONB)
PJ_COLUMNS(assets_row, ASSETS);
static const struct pj_table assets_row_table = {.name = "assets", PJ_COLUMNS_OF(assets_row)};

#define DRAMA_SAVES(COLUMN)                                                                        \
    COLUMN(event_id, PJ_UUID, .key = true)                                                         \
    COLUMN(drama_id, PJ_TEXT)                                                                      \
    COLUMN(life, PJ_BIGINT)                                                                        \
    COLUMN(revision, PJ_BIGINT)                                                                    \
    COLUMN(base_revision, PJ_BIGINT)                                                               \
    COLUMN(source, PJ_TEXT)                                                                        \
    COLUMN(content_hash, PJ_TEXT)                                                                  \
    COLUMN(emitted_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(user_id, PJ_TEXT)                                                                       \
    COLUMN(characters, PJ_INT)                                                                     \
    COLUMN(episodes, PJ_INT)                                                                       \
    COLUMN(scenes, PJ_INT)                                                                         \
    COLUMN(assets, PJ_INT)
PJ_COLUMNS(drama_saves, DRAMA_SAVES);
static const struct pj_table drama_saves_table = {
    .name = "drama_saves", .kind = PJ_APPEND_TABLE, PJ_COLUMNS_OF(drama_saves)};

/* --- facts ----------------------------------------------------------------------------------- */

#define NAME(VALUE) VALUE(drama_id, PJ_TEXT)
#define NOTHING(VALUE)
#define SAVED(VALUE)                                                                               \
    VALUE(title, PJ_TEXT)                                                                          \
    VALUE(description, PJ_TEXT)                                                                    \
    VALUE(premise, PJ_TEXT)                                                                        \
    VALUE(metadata, PJ_JSONB)                                                                      \
    VALUE(source, PJ_TEXT)                                                                         \
    VALUE(at, PJ_TIMESTAMPTZ)
#define CREATED(VALUE) VALUE(at, PJ_TIMESTAMPTZ)
#define CHARACTER(VALUE)                                                                           \
    VALUE(id, PJ_TEXT)                                                                             \
    VALUE(name, PJ_TEXT)                                                                           \
    VALUE(description, PJ_TEXT)                                                                    \
    VALUE(gender, PJ_TEXT)                                                                         \
    VALUE(voice_description, PJ_TEXT)                                                              \
    VALUE(is_main, PJ_BOOL)                                                                        \
    VALUE(metadata, PJ_JSONB)                                                                      \
    VALUE(position, PJ_INT)                                                                        \
    VALUE(extra, PJ_JSONB)
#define EPISODE(VALUE)                                                                             \
    VALUE(id, PJ_TEXT)                                                                             \
    VALUE(title, PJ_TEXT)                                                                          \
    VALUE(description, PJ_TEXT)                                                                    \
    VALUE(premise, PJ_TEXT)                                                                        \
    VALUE(metadata, PJ_JSONB)                                                                      \
    VALUE(position, PJ_INT)                                                                        \
    VALUE(extra, PJ_JSONB)
#define SCENE(VALUE)                                                                               \
    VALUE(episode_id, PJ_TEXT)                                                                     \
    VALUE(id, PJ_TEXT)                                                                             \
    VALUE(description, PJ_TEXT)                                                                    \
    VALUE(metadata, PJ_JSONB)                                                                      \
    VALUE(position, PJ_INT)                                                                        \
    VALUE(extra, PJ_JSONB)
#define ASSET(VALUE)                                                                               \
    VALUE(owner, PJ_TEXT)                                                                          \
    VALUE(character_id, PJ_TEXT)                                                                   \
    VALUE(episode_id, PJ_TEXT)                                                                     \
    VALUE(scene_id, PJ_TEXT)                                                                       \
    VALUE(id, PJ_TEXT)                                                                             \
    VALUE(kind, PJ_TEXT)                                                                           \
    VALUE(depends_on, PJ_JSONB)                                                                    \
    VALUE(prompt, PJ_TEXT)                                                                         \
    VALUE(duration, PJ_INT)                                                                        \
    VALUE(metadata, PJ_JSONB)                                                                      \
    VALUE(position, PJ_INT)                                                                        \
    VALUE(extra, PJ_JSONB)
#define STATUS(VALUE) VALUE(word, PJ_TEXT) VALUE(error, PJ_TEXT)
#define OWNER(VALUE)  VALUE(user_id, PJ_TEXT)
#define MEDIA(VALUE)  VALUE(url, PJ_TEXT)

/* Said of a life, and not only by saves. */
#define OF_A_LIFE     (1 << revised_fact | 1 << owner_fact | 1 << status_fact | 1 << media_fact)
#define OF_CHARACTERS (1 << character_fact | 1 << character_asset_fact)
#define OF_EPISODES   (1 << episode_fact | 1 << scene_fact | 1 << episode_asset_fact)
#define OF_ASSETS     (1 << asset_fact)
#define OF_ALL                                                                                     \
    (OF_A_LIFE | OF_CHARACTERS | OF_EPISODES | OF_ASSETS | 1 << saved_fact | 1 << created_fact)

#define DRAMA_FACTS(FACT)                                                                          \
    FACT(name, PJ_GREATEST, NAME, .is_name = true)                                                 \
    FACT(life, PJ_GREATEST, NOTHING, .lists = OF_A_LIFE)                                           \
    FACT(ended, PJ_GREATEST, NOTHING, .lists = OF_ALL)                                             \
    FACT(saved, PJ_GREATEST, SAVED)                                                                \
    FACT(created, PJ_GREATEST, CREATED)                                                            \
    FACT(characters, PJ_GREATEST, NOTHING, .lists = OF_CHARACTERS)                                 \
    FACT(episodes, PJ_GREATEST, NOTHING, .lists = OF_EPISODES)                                     \
    FACT(assets, PJ_GREATEST, NOTHING, .lists = OF_ASSETS)                                         \
    FACT(character, PJ_GREATEST, CHARACTER)                                                        \
    FACT(character_asset, PJ_GREATEST, ASSET)                                                      \
    FACT(episode, PJ_GREATEST, EPISODE)                                                            \
    FACT(scene, PJ_GREATEST, SCENE)                                                                \
    FACT(episode_asset, PJ_GREATEST, ASSET) /* of episodes and scenes */                           \
    FACT(asset, PJ_GREATEST, ASSET)                                                                \
    FACT(revised, PJ_GREATEST, NOTHING)                                                            \
    FACT(owner, PJ_GREATEST, OWNER)                                                                \
    FACT(status, PJ_GREATEST, STATUS)                                                              \
    FACT(media, PJ_GREATEST, MEDIA)
PJ_FACTS(drama, DRAMA, DRAMA_FACTS);

/* --- what one event means -------------------------------------------------------------------- */

/* Where something is in a drama: its level and the ids from the top. */
struct place {
    const char *level;
    struct pj_text ids[3];
    size_t depth;
};

static struct place below(const struct place *place, const char *level, struct pj_text id)
{
    struct place child = *place;
    child.level = level;
    child.ids[child.depth++] = id;
    return child;
}

static void key_of_life(int64_t life, uint8_t key[16])
{
    memset(key, 0, 16);
    memcpy(key, &life, sizeof life);
}

static void key_of_slot(int64_t life, const struct place *place, struct pj_value slot,
                        uint8_t key[16])
{
    struct pj_value parts[6] = {pj_bigint(life), pj_text(place->level), slot};
    for (size_t i = 0; i < place->depth; i++)
        parts[3 + i] = place->ids[i].value;
    pj_uuid_of_names(parts, 3 + place->depth, key);
}

struct said {
    struct pj_observer *observer;
    const struct drama_event *event;
    const struct pj_value *name;
    struct pj_order order;
};

static void keep_slot(const struct said *said, const struct place *place, const char *slot,
                      struct pj_text url)
{
    uint8_t key[16];
    if (!url.present) /* who saved may have read it before it was there */
        return;
    key_of_slot(said->event->life.integer, place, pj_text(slot), key);
    PJ_KEEP_NAMED(said->observer, media, said->name, key, &said->order, {.url = url});
}

static size_t keep_assets(const struct said *said, size_t fact, const char *owner,
                          const struct place *place, const char *level, struct pj_array array)
{
    const struct pj_text *ids = drama_sibling_ids(said->observer, array);
    for (struct pj_array_item item = {0}; pj_items_next(&array.value, &item);) {
        const struct drama_asset *a = PJ_VIEW(drama_asset, item.values);
        const struct place here = below(place, level, ids[item.index]);
        const struct asset asset = {
            .owner = PJ_TEXT(owner),
            .character_id = fact == character_asset_fact ? here.ids[0] : PJ_TEXT(pj_null()),
            .episode_id = fact == episode_asset_fact ? here.ids[0] : PJ_TEXT(pj_null()),
            .scene_id = place->depth == 2 ? here.ids[1] : PJ_TEXT(pj_null()),
            .id = ids[item.index],
            .kind = a->kind,
            .depends_on = a->depends_on,
            .prompt = a->prompt,
            .duration = a->duration,
            .metadata = a->metadata,
            .position = PJ_INT((int32_t)item.index + 1),
            .extra = a->extra,
        };
        uint8_t key[16];
        pj_uuid_of_names(PJ_PARTS(asset.owner), 5, key);
        pj_keep_named(said->observer, DRAMA, said->name, fact, key, &said->order, PJ_PARTS(asset));
        keep_slot(said, &here, "url", a->url);
    }
    return pj_items_count(&array.value);
}

static size_t keep_characters(const struct said *said, const struct place *drama)
{
    const struct pj_array array = said->event->characters;
    const struct pj_text *ids = drama_sibling_ids(said->observer, array);
    size_t asset_count = 0;
    for (struct pj_array_item item = {0}; pj_items_next(&array.value, &item);) {
        const struct drama_character *c = PJ_VIEW(drama_character, item.values);
        const struct place here = below(drama, "character", ids[item.index]);
        uint8_t key[16];
        pj_uuid_of_names(PJ_PARTS(here.ids), 1, key);
        PJ_KEEP_NAMED(said->observer, character, said->name, key, &said->order,
                      {.id = ids[item.index],
                       .name = c->name,
                       .description = c->description,
                       .gender = c->gender,
                       .voice_description = c->voice_description,
                       .is_main = c->main,
                       .metadata = c->metadata,
                       .position = PJ_INT((int32_t)item.index + 1),
                       .extra = c->extra});
        keep_slot(said, &here, "url", c->url);
        keep_slot(said, &here, "premise_url", c->premise_url);
        asset_count += keep_assets(said, character_asset_fact, "character", &here,
                                   "character_asset", c->assets);
    }
    if (array.present)
        PJ_KEEP_NAMED(said->observer, characters, said->name, NULL, &said->order, {});
    return asset_count;
}

static size_t keep_scenes(const struct said *said, const struct place *episode,
                          struct pj_array array)
{
    const struct pj_text *ids = drama_sibling_ids(said->observer, array);
    size_t asset_count = 0;
    for (struct pj_array_item item = {0}; pj_items_next(&array.value, &item);) {
        const struct drama_scene *s = PJ_VIEW(drama_scene, item.values);
        const struct place here = below(episode, "scene", ids[item.index]);
        uint8_t key[16];
        pj_uuid_of_names(PJ_PARTS(here.ids), 2, key);
        PJ_KEEP_NAMED(said->observer, scene, said->name, key, &said->order,
                      {.episode_id = episode->ids[0],
                       .id = ids[item.index],
                       .description = s->description,
                       .metadata = s->metadata,
                       .position = PJ_INT((int32_t)item.index + 1),
                       .extra = s->extra});
        keep_slot(said, &here, "image_url", s->image_url);
        keep_slot(said, &here, "video_url", s->video_url);
        asset_count +=
            keep_assets(said, episode_asset_fact, "scene", &here, "scene_asset", s->assets);
    }
    return asset_count;
}

static size_t keep_episodes(const struct said *said, const struct place *drama, size_t *scene_count)
{
    const struct pj_array array = said->event->episodes;
    const struct pj_text *ids = drama_sibling_ids(said->observer, array);
    size_t asset_count = 0;
    for (struct pj_array_item item = {0}; pj_items_next(&array.value, &item);) {
        const struct drama_episode *e = PJ_VIEW(drama_episode, item.values);
        const struct place here = below(drama, "episode", ids[item.index]);
        uint8_t key[16];
        pj_uuid_of_names(PJ_PARTS(here.ids), 1, key);
        PJ_KEEP_NAMED(said->observer, episode, said->name, key, &said->order,
                      {.id = ids[item.index],
                       .title = e->title,
                       .description = e->description,
                       .premise = e->premise,
                       .metadata = e->metadata,
                       .position = PJ_INT((int32_t)item.index + 1),
                       .extra = e->extra});
        keep_slot(said, &here, "url", e->url);
        asset_count +=
            keep_assets(said, episode_asset_fact, "episode", &here, "episode_asset", e->assets);
        asset_count += keep_scenes(said, &here, e->scenes);
        *scene_count += pj_items_count(&e->scenes.value);
    }
    if (array.present)
        PJ_KEEP_NAMED(said->observer, episodes, said->name, NULL, &said->order, {});
    return asset_count;
}

static struct pj_int counted(bool known, size_t count)
{
    return known ? PJ_INT((int32_t)count) : PJ_INT(pj_null());
}

static void observe_save(const struct said *said)
{
    const struct drama_event *e = said->event;
    const struct place drama = {.level = "drama"};
    const struct pj_order begin = {.rank = {e->life.integer, INT64_MIN, INT64_MIN, INT64_MIN}};
    const struct pj_order earliest =
        drama_earliest(e->life.integer, e->revision.integer, e->event_id);
    size_t scene_count = 0;
    PJ_KEEP_NAMED(said->observer, life, said->name, NULL, &begin, {});
    PJ_KEEP_NAMED(said->observer, created, said->name, NULL, &earliest,
                  {.at = PJ_OR(e->created_at, e->emitted_at)});
    PJ_KEEP_NAMED(said->observer, saved, said->name, NULL, &said->order,
                  {.title = e->title,
                   .description = e->description,
                   .premise = e->premise,
                   .metadata = e->metadata,
                   .source = e->source,
                   .at = e->emitted_at});
    keep_slot(said, &drama, "url", e->url);
    size_t asset_count = keep_characters(said, &drama);
    asset_count += keep_episodes(said, &drama, &scene_count);
    asset_count += keep_assets(said, asset_fact, "drama", &drama, "drama_asset", e->assets);
    if (e->assets.present)
        PJ_KEEP_NAMED(said->observer, assets, said->name, NULL, &said->order, {});
    *PJ_APPEND(said->observer, drama_saves) = (struct drama_saves){
        .event_id = e->event_id,
        .drama_id = e->drama_id,
        .life = e->life,
        .revision = e->revision,
        .base_revision = e->base_revision,
        .source = e->source,
        .content_hash = e->content_hash,
        .emitted_at = e->emitted_at,
        .user_id = e->user_id,
        .characters = counted(e->characters.present, pj_items_count(&e->characters.value)),
        .episodes = counted(e->episodes.present, pj_items_count(&e->episodes.value)),
        .scenes = counted(e->episodes.present, scene_count),
        .assets =
            counted(e->characters.present || e->episodes.present || e->assets.present, asset_count),
    };
}

static void observe_media(const struct said *said)
{
    const struct drama_event *e = said->event;
    struct place place = {0};
    char level[16] = "";
    uint8_t key[16];
    memcpy(level, e->level.text.data, e->level.text.length); /* one of our words */
    place.level = level;
    for (struct pj_array_item item = {0}; pj_items_next(&e->path.value, &item);)
        place.ids[place.depth++] = PJ_VIEW(drama_step, item.values)->id;
    key_of_slot(e->life.integer, &place, e->slot.value, key);
    PJ_KEEP_NAMED(said->observer, media, said->name, key, &said->order, {.url = e->value});
}

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct drama_event *e = PJ_EVENT(event, drama_event);
    if (drama_check_event(e, error) != 0)
        return -1;
    const struct said said = {observer, e, PJ_PARTS(e->drama_id),
                              drama_order(e->life.integer, e->revision.integer, e->event_id)};
    struct pj_order earliest = drama_earliest(e->life.integer, e->revision.integer, e->event_id);
    uint8_t of_life[16];
    key_of_life(e->life.integer, of_life);
    PJ_KEEP_NAMED(observer, revised, said.name, of_life, &said.order, {});
    if (e->user_id.present)
        PJ_KEEP_NAMED(observer, owner, said.name, of_life, &earliest, {.user_id = e->user_id});
    if (e->saved.present)
        observe_save(&said);
    if (e->status_changed.present)
        PJ_KEEP_NAMED(observer, status, said.name, of_life, &said.order,
                      {.word = drama_status(e->status), .error = e->error});
    if (e->media_set.present)
        observe_media(&said);
    if (e->deleted.present) { /* after all that is said of that life, whenever it comes */
        struct pj_order end = {.rank = {e->life.integer, INT64_MAX, INT64_MAX, INT64_MAX}};
        PJ_KEEP_NAMED(observer, ended, said.name, NULL, &end, {});
    }
    return 0;
}

/* --- what follows from the facts ------------------------------------------------------------- */

struct shown {
    const struct pj_entity *entity;
    struct pj_derivation *derivation;
    int64_t life;
    struct pj_text drama_id;
    struct pj_text user_id;
    struct pj_timestamptz created_at;
};

static struct pj_text slot_of(const struct shown *shown, const struct place *place,
                              const char *slot)
{
    uint8_t key[16];
    key_of_slot(shown->life, place, pj_text(slot), key);
    return PJ_SAYS(media, pj_entity_fact(shown->entity, media_fact, key))->url;
}

static void derive_characters(const struct shown *shown)
{
    size_t count;
    const struct pj_fact *facts = PJ_ALL(shown->entity, character, &count);
    for (size_t i = 0; i < count; i++) {
        const struct character *c = PJ_SAYS(character, &facts[i]);
        const struct place place = {"character", {c->id}, 1};
        if (facts[i].order.rank[0] != shown->life)
            continue;
        *PJ_ROW(shown->derivation, characters_row) = (struct characters_row){
            .drama_id = shown->drama_id,
            .id = c->id,
            .user_id = shown->user_id,
            .name = c->name,
            .description = c->description,
            .gender = c->gender,
            .voice_description = c->voice_description,
            .is_main = c->is_main,
            .url = slot_of(shown, &place, "url"),
            .premise_url = slot_of(shown, &place, "premise_url"),
            .metadata = c->metadata,
            .created_at = shown->created_at,
            .position = c->position,
            .extra = c->extra,
        };
    }
}

static size_t derive_episodes(const struct shown *shown)
{
    size_t count;
    size_t found = 0;
    const struct pj_fact *facts = PJ_ALL(shown->entity, episode, &count);
    for (size_t i = 0; i < count; i++) {
        const struct episode *e = PJ_SAYS(episode, &facts[i]);
        const struct place place = {"episode", {e->id}, 1};
        if (facts[i].order.rank[0] != shown->life)
            continue;
        found++;
        *PJ_ROW(shown->derivation, episodes_row) = (struct episodes_row){
            .drama_id = shown->drama_id,
            .id = e->id,
            .user_id = shown->user_id,
            .title = e->title,
            .description = e->description,
            .premise = e->premise,
            .url = slot_of(shown, &place, "url"),
            .sequence_number = e->position,
            .metadata = e->metadata,
            .created_at = shown->created_at,
            .extra = e->extra,
        };
    }
    return found;
}

static void derive_scenes(const struct shown *shown)
{
    size_t count;
    const struct pj_fact *facts = PJ_ALL(shown->entity, scene, &count);
    for (size_t i = 0; i < count; i++) {
        const struct scene *s = PJ_SAYS(scene, &facts[i]);
        const struct place place = {"scene", {s->episode_id, s->id}, 2};
        if (facts[i].order.rank[0] != shown->life)
            continue;
        *PJ_ROW(shown->derivation, scenes_row) = (struct scenes_row){
            .drama_id = shown->drama_id,
            .episode_id = s->episode_id,
            .id = s->id,
            .user_id = shown->user_id,
            .description = s->description,
            .image_url = slot_of(shown, &place, "image_url"),
            .video_url = slot_of(shown, &place, "video_url"),
            .sequence_number = s->position,
            .metadata = s->metadata,
            .created_at = shown->created_at,
            .extra = s->extra,
        };
    }
}

/* Assets of all kinds are the struct of one. */
static void derive_assets(const struct shown *shown, size_t fact)
{
    size_t count;
    const struct pj_fact *facts = pj_facts_of(shown->entity, DRAMA, fact, &count);
    for (size_t i = 0; i < count; i++) {
        const struct asset *a = PJ_SAYS(asset, &facts[i]);
        const struct pj_text owner = PJ_OR(a->character_id, a->episode_id);
        const struct pj_value parts[] = {pj_text("drama/asset"), shown->drama_id.value,
                                         a->owner.value,         owner.value,
                                         a->scene_id.value,      a->id.value};
        struct place place = {"drama_asset", {a->id}, 1};
        uint8_t key[16];
        if (facts[i].order.rank[0] != shown->life)
            continue;
        if (a->scene_id.present)
            place = (struct place){"scene_asset", {owner, a->scene_id, a->id}, 3};
        else if (owner.present)
            place = (struct place){
                a->character_id.present ? "character_asset" : "episode_asset", {owner, a->id}, 2};
        pj_uuid_of_texts(parts, PJ_COUNT(parts), key);
        *PJ_ROW(shown->derivation, assets_row) = (struct assets_row){
            .asset_key = PJ_UUID(key),
            .drama_id = shown->drama_id,
            .owner = a->owner,
            .character_id = a->character_id,
            .episode_id = a->episode_id,
            .scene_id = a->scene_id,
            .id = a->id,
            .kind = a->kind,
            .depends_on = a->depends_on,
            .prompt = a->prompt,
            .duration = a->duration,
            .url = slot_of(shown, &place, "url"),
            .metadata = a->metadata,
            .created_at = shown->created_at,
            .position = a->position,
            .extra = a->extra,
        };
    }
}

static void derive_drama(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_fact *life = pj_entity_fact(entity, life_fact, NULL);
    const struct pj_fact *ended = pj_entity_fact(entity, ended_fact, NULL);
    const struct place place = {.level = "drama"};
    uint8_t of_life[16];
    if (life == NULL || (ended != NULL && ended->order.rank[0] >= life->order.rank[0]))
        return;
    key_of_life(life->order.rank[0], of_life);
    const struct shown shown = {
        .entity = entity,
        .derivation = derivation,
        .life = life->order.rank[0],
        .drama_id = PJ_VIEW(name, pj_entity_name(entity))->drama_id,
        .user_id = PJ_SAYS(owner, pj_entity_fact(entity, owner_fact, of_life))->user_id,
        .created_at = PJ_FACT(entity, created)->at,
    };
    const struct status *status = PJ_SAYS(status, pj_entity_fact(entity, status_fact, of_life));
    const struct pj_text word = PJ_OR(status->word, PJ_TEXT("completed"));
    const struct pj_text url = slot_of(&shown, &place, "url");
    const struct saved *saved = PJ_FACT(entity, saved);
    *PJ_ROW(derivation, dramas) = (struct dramas){
        .id = shown.drama_id,
        .user_id = shown.user_id,
        .title = saved->title,
        .description = saved->description,
        .premise = saved->premise,
        .status = word,
        .url = url,
        .cover_url = PJ_OR(slot_of(&shown, &place, "cover_url"), url),
        .episode_count = PJ_INT((int32_t)derive_episodes(&shown)),
        .metadata = saved->metadata,
        .created_at = shown.created_at,
        .life = PJ_BIGINT(shown.life),
        .revision = PJ_BIGINT(pj_entity_fact(entity, revised_fact, of_life)->order.rank[1]),
        .saved_at = saved->at,
        .source = saved->source,
        .error = pj_text_is(&word.value, "failed") ? status->error : PJ_TEXT(pj_null()),
    };
    derive_characters(&shown);
    derive_scenes(&shown);
    derive_assets(&shown, character_asset_fact);
    derive_assets(&shown, episode_asset_fact);
    derive_assets(&shown, asset_fact);
}

/* --- the projection -------------------------------------------------------------------------- */

const struct pj_projection pj_drama_catalog = {
    .name = "drama-catalog",
    .summary = "keep dramas, characters, episodes, scenes and assets, as they were saved last",
    .version = 1,
    PJ_SOURCES(PJ_SOURCE("drama.dramas", pj_schema_drama_dramas, drama_event, observe)),
    PJ_ENTITIES([DRAMA] = {.name = "drama", PJ_FACTS_OF(drama), .derive = derive_drama}),
    PJ_TABLES(&dramas_table, &characters_row_table, &episodes_row_table, &scenes_row_table,
              &assets_row_table, &drama_saves_table),
};

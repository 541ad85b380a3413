/* SPDX-License-Identifier: Apache-2.0 */
/* studio-voices: the voices in users' libraries, each by its latest event: one that was deleted may
 * be saved again. */
#include "projectionist/ids.h"
#include "projections/studio/studio.h"
#include "projections/studio/studio_projections.h"
#include "schemas.h"

enum { VOICE };

#define VOICES(COLUMN)                                                                             \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(user_id, PJ_UUID)                                                                       \
    COLUMN(provider, PJ_TEXT)                                                                      \
    COLUMN(voice_name, PJ_TEXT)                                                                    \
    COLUMN(voice_id, PJ_TEXT)                                                                      \
    COLUMN(metadata, PJ_JSONB)                                                                     \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(revision, PJ_BIGINT)
PJ_COLUMNS(voices, VOICES);
static const struct pj_table voices_table = {.name = "voices", PJ_COLUMNS_OF(voices)};

#define LAST(VALUE)                                                                                \
    VALUE(gone, PJ_BOOL)                                                                           \
    VALUE(user_id, PJ_UUID)                                                                        \
    VALUE(provider, PJ_TEXT)                                                                       \
    VALUE(voice_id, PJ_TEXT)                                                                       \
    VALUE(voice_name, PJ_TEXT)                                                                     \
    VALUE(metadata, PJ_JSONB)
#define CREATED(VALUE) VALUE(at, PJ_TIMESTAMPTZ)
#define VOICE_FACTS(FACT)                                                                          \
    FACT(last, PJ_GREATEST, LAST)                                                                  \
    FACT(created, PJ_LEAST, CREATED)
PJ_FACTS(voice, VOICE, VOICE_FACTS);

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct studio_voice_event *e = PJ_EVENT(event, studio_voice_event);
    const struct pj_value parts[] = {pj_text("studio/voice"), e->user_id.value, e->provider.value,
                                     e->voice_id.value};
    const struct pj_order order = studio_order(e->revision, 0, e->event_id);
    uint8_t id[16];
    if (studio_check_voice(e, error) != 0)
        return -1;
    pj_uuid_of_texts(parts, PJ_COUNT(parts), id);
    PJ_KEEP(observer, last, id, NULL, &order,
            {.gone = PJ_BOOL(e->deleted.present),
             .user_id = e->user_id,
             .provider = e->provider,
             .voice_id = e->voice_id,
             .voice_name = e->voice_name,
             .metadata = e->metadata});
    if (e->saved.present)
        PJ_KEEP(observer, created, id, NULL, &order, {.at = PJ_OR(e->created_at, e->emitted_at)});
    return 0;
}

static void derive(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct last *last = PJ_FACT(entity, last);
    if (last->gone.boolean)
        return;
    *PJ_ROW(derivation, voices) = (struct voices){
        .id = PJ_UUID(pj_entity_key(entity)),
        .user_id = last->user_id,
        .provider = last->provider,
        .voice_name = last->voice_name,
        .voice_id = last->voice_id,
        .metadata = last->metadata,
        .created_at = PJ_FACT(entity, created)->at,
        .revision = PJ_BIGINT(pj_entity_fact(entity, last_fact, NULL)->order.rank[0]),
    };
}

const struct pj_projection pj_studio_voices = {
    .name = "studio-voices",
    .summary = "keep voices: those in users' libraries",
    .version = 1,
    PJ_SOURCES(PJ_SOURCE("studio.voices", pj_schema_studio_voices, studio_voice_event, observe)),
    PJ_ENTITIES([VOICE] = {.name = "voice", PJ_FACTS_OF(voice), .derive = derive}),
    PJ_TABLES(&voices_table),
};

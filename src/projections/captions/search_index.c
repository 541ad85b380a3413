/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search-index: what is written in each frame of a video, in video_search_index.
 *
 * A frame waits for its video: whose that is, the registration says, and a purge reaches frames
 * that come after it, too. So events tell the frame its text, and the video which frames it has;
 * the video tells those of its owner that they are to be seen, and those of others that they are
 * foreign: these are counted, and have no other trace.
 */
#include "projections/captions/captions.h"
#include "projections/captions/captions_projections.h"
#include "schemas.h"

#define SEARCH(COLUMN)                                                                             \
    COLUMN(video_id, PJ_UUID, .key = true)                                                         \
    COLUMN(frame_index, PJ_INT, .key = true)                                                       \
    COLUMN(tenant_id, PJ_UUID)                                                                     \
    COLUMN(ocr_text, PJ_TEXT)                                                                      \
    COLUMN(caption_text, PJ_TEXT)
PJ_COLUMNS(captions_search, SEARCH);

const struct pj_table captions_search_table = {
    .name = "video_search_index",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(captions_search),
    .parents =
        (const struct pj_parent[]){
            {&captions_videos_table, {PJ_INDEX(captions_search, video_id)}, 0},
            {0},
        },
};

/* --- facts ----------------------------------------------------------------------------------- */

/* A claim is what one tenant says of a video; a frame is one of a claim. */
enum { OWNER, CLAIM, FRAME };

#define TENANT(VALUE) VALUE(tenant_id, PJ_UUID)
#define PAIR(VALUE)   VALUE(video_id, PJ_UUID) VALUE(tenant_id, PJ_UUID)
#define HERE(VALUE)   VALUE(here, PJ_BOOL)
#define NUMBER(VALUE) VALUE(frame_index, PJ_INT)
#define TEXT(VALUE)   VALUE(text, PJ_TEXT)
#define PLACE(VALUE)  VALUE(video_id, PJ_UUID) VALUE(tenant_id, PJ_UUID) VALUE(frame_index, PJ_INT)

#define OWNER_FACTS(FACT)                                                                          \
    FACT(registered_by, PJ_LEAST, TENANT)                                                          \
    FACT(claimed_by, PJ_LEAST, TENANT) /* by the claim */
PJ_FACTS(owner, OWNER, OWNER_FACTS);

#define CLAIM_FACTS(FACT)                                                                          \
    FACT(holds, PJ_LEAST, PAIR, .shown = true) /* the video is the tenant's */                     \
    FACT(purged, PJ_LEAST, HERE, .shown = true)                                                    \
    FACT(has_frame, PJ_LEAST, NUMBER, .wide = true, .derive = derive_has_frame) /* by its key */   \
    FACT(of_another, PJ_LEAST, HERE, .shown = true) /* the video is not the tenant's */

static void derive_has_frame(const struct pj_entity *entity, const struct pj_fact *fact,
                             struct pj_derivation *derivation);
PJ_FACTS(claim, CLAIM, CLAIM_FACTS);

#define FRAME_FACTS(FACT)                                                                          \
    FACT(ocr, PJ_GREATEST, TEXT)                                                                   \
    FACT(caption, PJ_GREATEST, TEXT)                                                               \
    FACT(seen, PJ_LEAST, PLACE)                                                                    \
    FACT(foreign, PJ_LEAST, HERE)
PJ_FACTS(frame, FRAME, FRAME_FACTS);

/* --- what an event means --------------------------------------------------------------------- */

static int observe_video(const struct pj_event *event, struct pj_observer *observer,
                         struct pj_error *error)
{
    const struct captions_video *e = PJ_EVENT(event, captions_video);
    struct pj_order order = CAPTIONS_ORDER(e);
    uint8_t claim[16];
    if (captions_check_video(e, error) != 0)
        return -1;
    captions_claim(e->tenant_id, e->video_id, claim);
    if (e->registered.present)
        PJ_KEEP(observer, registered_by, e->video_id.uuid, NULL, &order,
                {.tenant_id = e->tenant_id});
    if (e->purged.present)
        PJ_KEEP(observer, purged, claim, NULL, &order, {.here = PJ_BOOL(true)});
    return 0;
}

static int observe_frame(const struct pj_event *event, struct pj_observer *observer,
                         struct pj_error *error)
{
    const struct captions_frame *e = PJ_EVENT(event, captions_frame);
    struct pj_order order = CAPTIONS_ORDER(e);
    uint8_t claim[16], frame[16];
    if (captions_check_frame(e, error) != 0)
        return -1;
    const struct pj_value parts[] = {e->video_id.value, e->tenant_id.value, e->frame_index.value};
    captions_claim(e->tenant_id, e->video_id, claim);
    pj_uuid_of_names(parts, 3, frame);
    PJ_KEEP(observer, claimed_by, e->video_id.uuid, claim, &(struct pj_order){0},
            {.tenant_id = e->tenant_id});
    PJ_KEEP(observer, has_frame, claim, frame, &(struct pj_order){0},
            {.frame_index = e->frame_index});
    if (e->captioned.present) {
        PJ_KEEP(observer, caption, frame, NULL, &order, {.text = e->caption_text});
        return 0;
    }
    struct pj_order run =
        PJ_ORDER(e->event_id, e->run_started_at.integer, captions_half(e->index_run.uuid),
                 captions_half(e->index_run.uuid + 8), e->emitted_at.integer);
    PJ_KEEP(observer, ocr, frame, NULL, &run, {.text = e->ocr_text});
    return 0;
}

/* --- what follows ---------------------------------------------------------------------------- */

static void derive_owner(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    uint8_t claim[16];
    size_t count;
    const struct pj_fact *claims = PJ_ALL(entity, claimed_by, &count);
    const struct registered_by *registered = PJ_FACT(entity, registered_by);
    struct pj_uuid video = PJ_UUID(pj_entity_key(entity));
    if (registered == NULL)
        return;
    captions_claim(registered->tenant_id, video, claim);
    PJ_CONTRIBUTE(derivation, holds, claim, video.uuid,
                  {.video_id = video, .tenant_id = registered->tenant_id});
    for (size_t i = 0; i < count; i++) {
        if (memcmp(claims[i].subkey, claim, sizeof claim) != 0)
            PJ_CONTRIBUTE(derivation, of_another, claims[i].subkey, video.uuid,
                          {.here = PJ_BOOL(true)});
    }
}

/* All of it is said by its frames. */
static void derive_claim(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    (void)entity;
    (void)derivation;
}

static void derive_has_frame(const struct pj_entity *entity, const struct pj_fact *fact,
                             struct pj_derivation *derivation)
{
    size_t owners, purges, others;
    const struct pj_fact *held = PJ_ALL(entity, holds, &owners);
    (void)PJ_ALL(entity, purged, &purges);
    (void)PJ_ALL(entity, of_another, &others);
    if (others > 0)
        PJ_CONTRIBUTE(derivation, foreign, fact->subkey, fact->subkey, {.here = PJ_BOOL(true)});
    if (owners == 0 || purges > 0)
        return;
    PJ_CONTRIBUTE(derivation, seen, fact->subkey, fact->subkey,
                  {
                      .video_id = PJ_SAYS(holds, held)->video_id,
                      .tenant_id = PJ_SAYS(holds, held)->tenant_id,
                      .frame_index = PJ_SAYS(has_frame, fact)->frame_index,
                  });
}

static void derive_frame(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *seen = PJ_ALL(entity, seen, &count);
    struct pj_text ocr = PJ_SAID(entity, ocr)->text;
    struct pj_text caption = PJ_SAID(entity, caption)->text;
    if (count == 0 || (!ocr.present && !caption.present))
        return;
    *PJ_ROW(derivation, captions_search) = (struct captions_search){
        .video_id = PJ_SAYS(seen, seen)->video_id,
        .frame_index = PJ_SAYS(seen, seen)->frame_index,
        .tenant_id = PJ_SAYS(seen, seen)->tenant_id,
        .ocr_text = ocr,
        .caption_text = caption,
    };
}

/* --- what is counted ------------------------------------------------------------------------- */

enum { FOREIGN_EVENTS };
static const struct pj_counter counters[] = {
    [FOREIGN_EVENTS] = {"foreign_frame_events",
                        "Events that say what is in a frame of a video which another tenant has "
                        "registered; those that came before the registration count with it."},
    {0},
};

static bool is_foreign(const struct pj_entity *frame)
{
    size_t count;
    (void)PJ_ALL(frame, foreign, &count);
    return count > 0;
}

/* Of what came before the video was known to be another's, what is known still. */
static void count_frame(const struct pj_entity *before, const struct pj_entity *after, size_t news,
                        struct pj_tally *tally)
{
    size_t earlier = 0;
    earlier += PJ_FACT(before, ocr) != NULL;
    earlier += PJ_FACT(before, caption) != NULL;
    if (is_foreign(after))
        pj_count(tally, FOREIGN_EVENTS, 0, news + (is_foreign(before) ? 0 : earlier));
}

const struct pj_projection pj_search_index = {
    .name = "search-index",
    .summary = "keep video_search_index: what is written in each frame of a video",
    .version = 1,
    PJ_SOURCES(CAPTIONS_SOURCE(search, captions_frame, observe_frame),
               CAPTIONS_SOURCE(videos, captions_video, observe_video)),
    PJ_ENTITIES([OWNER] = {.name = "owner", PJ_FACTS_OF(owner), .derive = derive_owner},
                [CLAIM] = {.name = "claim", PJ_FACTS_OF(claim), .derive = derive_claim},
                [FRAME] = {.name = "frame",
                           PJ_FACTS_OF(frame),
                           .derive = derive_frame,
                           .count = count_frame}),
    PJ_TABLES(&captions_search_table),
    .counters = counters,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A production: what one command makes, as the video catalog and the watermark metrics both need
 * it. Its facts are gathered here; what is said of its items (one of a generate, one per prompt of
 * a batch) is read from them, whatever their order.
 */
#ifndef PJ_PROJECTIONS_SAFARI_PRODUCTION_H
#define PJ_PROJECTIONS_SAFARI_PRODUCTION_H

#include "projections/safari/safari.h"

enum production_fact {
    PRODUCTION_SUBMITTED,       /* the earliest submission */
    PRODUCTION_STATUS,          /* the winning lifecycle event */
    PRODUCTION_FIRST_LIFECYCLE, /* the earliest time of one */
    PRODUCTION_FIRST_TELEMETRY, /* the earliest time of any frame */
    PRODUCTION_PROMPT,          /* per index */
    PRODUCTION_READY,
    PRODUCTION_DOWNLOADED,
    PRODUCTION_ATTEMPTED, /* a removal, the first time */
    PRODUCTION_CLEANED,   /* per index */
    PRODUCTION_FACTS,
};

extern const struct pj_fact_kind production_facts[PRODUCTION_FACTS];

/* The observe functions for entity 0 of a projection, keyed by the command. */
int production_observe_command(const struct pj_event *event, struct pj_observer *observer,
                               struct pj_error *error);
int production_observe_telemetry(const struct pj_event *event, struct pj_observer *observer,
                                 struct pj_error *error);

enum production_kind {
    PRODUCTION_UNKNOWN, /* not submitted yet, as far as we know */
    PRODUCTION_GENERATE,
    PRODUCTION_GENERATE_CLEAN,
    PRODUCTION_BATCH,
    PRODUCTION_BATCH_CLEAN,
    PRODUCTION_CLEAN,
    PRODUCTION_OTHER,
};

struct production {
    const struct pj_entity *entity;
    struct pj_derivation *derivation;
    enum production_kind kind;
    bool batch;            /* items are numbered by the batch's prompts */
    uint32_t bound;        /* one more than the greatest index of an item; 1 to 10,000 */
    const json_t *payload; /* NULL: none */
    const json_t *result;  /* of the winning status, where it ended; NULL: none */
    const json_t *results; /* its results array */
    struct pj_value created_at;
    bool ended, succeeded;
    struct pj_value ended_at; /* where it ended */
    struct pj_value error;    /* likewise */
    struct pj_order status_order;
};

/* Reads the facts. */
struct production production_of(const struct pj_entity *entity, struct pj_derivation *derivation);

bool production_has_video(const struct production *production, uint32_t index);

/* Ids that a replay gives again. */
void production_video_id(const struct production *production, uint32_t index, uint8_t id[16]);
void production_removal_id(const struct production *production, uint32_t index, uint8_t id[16]);
/* The entity where videos and cleans of one path meet. */
void production_path_key(const struct pj_value *path, uint8_t key[16]);

/* A fact of an index, or NULL. A frame that does not say which it is about is about the only one,
 * and about none where there are several. */
const struct pj_fact *production_fact(const struct production *production,
                                      enum production_fact fact, uint32_t index);
enum { CLEANED_INPUT_PATH, CLEANED_OUTPUT_PATH, CLEANED_FILE_SIZE, CLEANED_AT, CLEANED_NUMBERED };
enum { ATTEMPTED_INPUT_PATH, ATTEMPTED_AT };
enum { PROMPT_CHARACTER, PROMPT_NUMBERED };

/* The raw video of an item, null where it is not known. */
struct pj_value production_raw_path(const struct production *production, uint32_t index);
struct pj_value production_raw_size(const struct production *production, uint32_t index);
/* Of a sora.clean: what it reads, and what it wrote: by its frame, or else, when it succeeded, by
 * its result, or where it was told to write. */
struct pj_value production_clean_input(const struct production *production);
struct pj_value production_clean_output(const struct production *production);
struct pj_value production_clean_size(const struct production *production);

/*
 * Members of JSON objects, by their name on either wire; null where the object, the member or its
 * type is missing. An empty text is none (an empty path names no file, and all that have one would
 * be the same video), and so is a size that no file has.
 */
struct pj_value production_text(const struct production *production, const json_t *object,
                                const char *name, const char *camel_case);
struct pj_value production_size(const json_t *object, const char *name, const char *camel_case);
/* results[index], or NULL. */
const json_t *production_item_result(const struct production *production, uint32_t index);

/* The first that is not null. */
static inline struct pj_value production_first(struct pj_value a, struct pj_value b)
{
    return a.present ? a : b;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A production: what one command makes, as the video catalog and the watermark metrics both need
 * it. Its facts are gathered by production_facts.c; what is said of its items (one of a generate,
 * one per prompt of a batch) is read from them, whatever their order.
 */
#ifndef PJ_PROJECTIONS_SAFARI_PRODUCTION_H
#define PJ_PROJECTIONS_SAFARI_PRODUCTION_H

#include "projections/safari/safari.h"

/* --- facts ----------------------------------------------------------------------------------- */

enum { PRODUCTION }; /* the first entity of a projection, keyed by the command */

#define SUBMITTED(VALUE)                                                                           \
    VALUE(type, PJ_TEXT) VALUE(payload, PJ_JSONB) VALUE(created_at, PJ_TIMESTAMPTZ)
#define LAST_STATUS(VALUE)                                                                         \
    VALUE(status, PJ_TEXT)                                                                         \
    VALUE(ended, PJ_BOOL)                                                                          \
    VALUE(result, PJ_JSONB)                                                                        \
    VALUE(error, PJ_TEXT)                                                                          \
    VALUE(at, PJ_TIMESTAMPTZ)
#define TIME(VALUE)       VALUE(at, PJ_TIMESTAMPTZ)
#define PROMPTED(VALUE)   VALUE(character, PJ_TEXT) VALUE(numbered, PJ_BOOL)
#define READY(VALUE)      VALUE(url, PJ_TEXT)
#define DOWNLOADED(VALUE) VALUE(path, PJ_TEXT) VALUE(size, PJ_BIGINT)
#define ATTEMPTED(VALUE)  VALUE(input_path, PJ_TEXT) VALUE(at, PJ_TIMESTAMPTZ)
#define CLEANED(VALUE)                                                                             \
    VALUE(input_path, PJ_TEXT)                                                                     \
    VALUE(output_path, PJ_TEXT)                                                                    \
    VALUE(size, PJ_BIGINT)                                                                         \
    VALUE(at, PJ_TIMESTAMPTZ)                                                                      \
    VALUE(numbered, PJ_BOOL)

#define PRODUCTION_FACTS(FACT)                                                                     \
    FACT(submitted, PJ_LEAST, SUBMITTED)                                                           \
    FACT(last_status, PJ_GREATEST, LAST_STATUS)                                                    \
    FACT(first_lifecycle, PJ_LEAST, TIME)                                                          \
    FACT(first_telemetry, PJ_LEAST, TIME)                                                          \
    FACT(prompted, PJ_GREATEST, PROMPTED) /* per index */                                          \
    FACT(ready, PJ_GREATEST, READY)                                                                \
    FACT(downloaded, PJ_GREATEST, DOWNLOADED)                                                      \
    FACT(attempted, PJ_LEAST, ATTEMPTED) /* a removal */                                           \
    FACT(cleaned, PJ_GREATEST, CLEANED)  /* per index */
PJ_FACTS(production, PRODUCTION, PRODUCTION_FACTS);

/* The observe functions. */
int production_observe_command(const struct pj_event *event, struct pj_observer *observer,
                               struct pj_error *error);
int production_observe_telemetry(const struct pj_event *event, struct pj_observer *observer,
                                 struct pj_error *error);

/* The index of a fact as its subkey, sorted like the numbers; and of frames without one, which come
 * after them. */
enum { PRODUCTION_INDEX_MOST = 9999 };
void production_index_subkey(uint32_t index, uint8_t subkey[16]);
extern const uint8_t production_unnumbered[16];

/* --- what they say together ------------------------------------------------------------------ */

enum production_kind {
    PRODUCTION_UNKNOWN, /* not submitted yet, as far as we know */
    PRODUCTION_GENERATE,
    PRODUCTION_GENERATE_CLEAN,
    PRODUCTION_BATCH,
    PRODUCTION_BATCH_CLEAN,
    PRODUCTION_CLEAN,
    PRODUCTION_OTHER,
};
enum production_kind production_kind_of(struct pj_text type);
bool production_is_batch(enum production_kind kind);

struct production {
    const struct pj_entity *entity;
    struct pj_derivation *derivation;
    enum production_kind kind;
    bool batch;            /* items are numbered by the batch's prompts */
    uint32_t bound;        /* one more than the greatest index of an item; 1 to 10,000 */
    const json_t *payload; /* NULL: none */
    const json_t *result;  /* of the winning status, where it ended; NULL: none */
    const json_t *results; /* its results array */
    struct pj_timestamptz created_at;
    bool ended, succeeded;
    struct pj_timestamptz ended_at; /* where it ended */
    struct pj_text error;           /* likewise */
    struct pj_order status_order;
};

/* Reads the facts. */
struct production production_of(const struct pj_entity *entity, struct pj_derivation *derivation);

bool production_has_video(const struct production *production, uint32_t index);

/* Ids that a replay gives again. */
void production_video_id(const struct production *production, uint32_t index, uint8_t id[16]);
void production_removal_id(const struct production *production, uint32_t index, uint8_t id[16]);
/* The entity where videos and cleans of one path meet. */
void production_path_key(const struct pj_text *path, uint8_t key[16]);

/* What frames say of an index, all null where there is none (then `numbered` is, too). A frame that
 * does not say which it is about is about the only one, and about none where there are several. */
const struct cleaned *production_cleaned(const struct production *production, uint32_t index);
const struct prompted *production_prompted(const struct production *production, uint32_t index);

/* The raw video of an item, null where it is not known. */
struct pj_text production_raw_path(const struct production *production, uint32_t index);
struct pj_bigint production_raw_size(const struct production *production, uint32_t index);
/* Of a sora.clean: what it reads, and what it wrote: by its frame, or else, when it succeeded, by
 * its result, or where it was told to write. */
struct pj_text production_clean_input(const struct production *production);
struct pj_text production_clean_output(const struct production *production);
struct pj_bigint production_clean_size(const struct production *production);

/*
 * Members of JSON objects, by their name on either wire; null where the object, the member or its
 * type is missing. An empty text is none (an empty path names no file, and all that have one would
 * be the same video), and so is a size that no file has.
 */
struct pj_text production_text(const struct production *production, const json_t *object,
                               const char *name, const char *camel_case);
struct pj_bigint production_size(const json_t *object, const char *name, const char *camel_case);
/* Of a cleaned video: wire v2 calls an output what it calls it in the result of a generate. */
struct pj_bigint production_cleaned_size(const json_t *object);
/* results[index], or NULL. */
const json_t *production_item_result(const struct production *production, uint32_t index);

#endif

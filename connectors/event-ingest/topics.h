/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The topics that may be written to: what the key of a record is made of, and the schema, which is
 * the newest that the registry has. Safe from any thread.
 *
 * "captions.videos=video_id captions.objects=video_id|bucket/key": after the name, members of the
 * event with a slash between them; of several alternatives the first whose members are all there,
 * where a member may name what stands for a null ("user_id:-").
 */
#ifndef PJ_EVENT_INGEST_TOPICS_H
#define PJ_EVENT_INGEST_TOPICS_H

#include "common/encoder.h"

struct pj_topics;
struct pj_topic_of;

/* All must be of the system: begin with its name and a dot. PJ_EXIT_USAGE for anything else. */
int pj_topics_parse(struct pj_topics **topics, const char *system, const char *text,
                    struct pj_error *error) PJ_MUST_CHECK;
void pj_topics_free(struct pj_topics *topics); /* NULL is allowed */
size_t pj_topics_count(const struct pj_topics *topics);
const char *pj_topics_name(const struct pj_topics *topics, size_t index);

/* Asks the registry for all schemas, also again. Blocks. A schema that does not fit stays out:
 * PJ_FATAL. */
int pj_topics_load(struct pj_topics *topics, const char *topic_prefix, struct pj_registry *registry,
                   struct pj_error *error) PJ_MUST_CHECK;

/* NULL: it is not one of them. */
const struct pj_topic_of *pj_topics_find(const struct pj_topics *topics, const char *name);
size_t pj_topic_index(const struct pj_topic_of *topic);
const char *pj_topic_of_name(const struct pj_topic_of *topic);

/* The encoder stays what it is until it is given back. */
const struct pj_encoder *pj_topic_take(const struct pj_topic_of *topic);
void pj_topic_give_back(const struct pj_topic_of *topic);

/* PJ_POISON with a sentence where the event has none, or one of more than 1,000 bytes. */
int pj_topic_key(const struct pj_topic_of *topic, const json_t *event, struct pj_builder *key,
                 struct pj_error *error) PJ_MUST_CHECK;

/* The field of that name of the schema's record, or NULL. */
const struct pj_avro_field *pj_record_field(const struct pj_avro_type *record, const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the drama projections share: the fields of the three topics' records, their order, and what
 * makes a record a dead letter in every projection that reads its topic.
 */
#ifndef PJ_PROJECTIONS_DRAMA_DRAMA_H
#define PJ_PROJECTIONS_DRAMA_DRAMA_H

#include "projectionist/typed.h"

/* Three ids of a child, of four bytes a character, fit an index row. */
#define DRAMA_ID .most_chars = 200

extern const char *const drama_statuses[]; /* the words of a status, "running" among them */

/* --- drama.dramas ---------------------------------------------------------------------------- */

/* The id of whatever is in an array is its first field: see drama_sibling_ids. */
#define DRAMA_ASSET(FIELD)                                                                         \
    FIELD(id, "id", PJ_TEXT, .required = true, DRAMA_ID)                                           \
    FIELD(kind, "kind", PJ_TEXT, .required = true, DRAMA_ID)                                       \
    FIELD(depends_on, "depends_on", PJ_JSONB)                                                      \
    FIELD(prompt, "prompt", PJ_TEXT)                                                               \
    FIELD(duration, "duration", PJ_INT)                                                            \
    FIELD(url, "url", PJ_TEXT)                                                                     \
    FIELD(metadata, "metadata", PJ_JSONB)                                                          \
    FIELD(extra, "extra", PJ_JSONB)
PJ_FIELDS(drama_asset, DRAMA_ASSET);
static const struct pj_items drama_assets = {PJ_FIELDS_OF(drama_asset)};

#define DRAMA_CHARACTER(FIELD)                                                                     \
    FIELD(id, "id", PJ_TEXT, .required = true, DRAMA_ID)                                           \
    FIELD(name, "name", PJ_TEXT)                                                                   \
    FIELD(description, "description", PJ_TEXT)                                                     \
    FIELD(gender, "gender", PJ_TEXT)                                                               \
    FIELD(voice_description, "voice_description", PJ_TEXT)                                         \
    FIELD(main, "main", PJ_BOOL)                                                                   \
    FIELD(url, "url", PJ_TEXT)                                                                     \
    FIELD(premise_url, "premise_url", PJ_TEXT)                                                     \
    FIELD(assets, "assets", PJ_ITEMS, .items = &drama_assets)                                      \
    FIELD(metadata, "metadata", PJ_JSONB)                                                          \
    FIELD(extra, "extra", PJ_JSONB)
PJ_FIELDS(drama_character, DRAMA_CHARACTER);
static const struct pj_items drama_characters = {PJ_FIELDS_OF(drama_character)};

#define DRAMA_SCENE(FIELD)                                                                         \
    FIELD(id, "id", PJ_TEXT, .required = true, DRAMA_ID)                                           \
    FIELD(description, "description", PJ_TEXT)                                                     \
    FIELD(image_url, "image_url", PJ_TEXT)                                                         \
    FIELD(video_url, "video_url", PJ_TEXT)                                                         \
    FIELD(assets, "assets", PJ_ITEMS, .items = &drama_assets)                                      \
    FIELD(metadata, "metadata", PJ_JSONB)                                                          \
    FIELD(extra, "extra", PJ_JSONB)
PJ_FIELDS(drama_scene, DRAMA_SCENE);
static const struct pj_items drama_scenes = {PJ_FIELDS_OF(drama_scene)};

#define DRAMA_EPISODE(FIELD)                                                                       \
    FIELD(id, "id", PJ_TEXT, .required = true, DRAMA_ID)                                           \
    FIELD(title, "title", PJ_TEXT)                                                                 \
    FIELD(description, "description", PJ_TEXT)                                                     \
    FIELD(premise, "premise", PJ_TEXT)                                                             \
    FIELD(url, "url", PJ_TEXT)                                                                     \
    FIELD(scenes, "scenes", PJ_ITEMS, .items = &drama_scenes)                                      \
    FIELD(assets, "assets", PJ_ITEMS, .items = &drama_assets)                                      \
    FIELD(metadata, "metadata", PJ_JSONB)                                                          \
    FIELD(extra, "extra", PJ_JSONB)
PJ_FIELDS(drama_episode, DRAMA_EPISODE);
static const struct pj_items drama_episodes = {PJ_FIELDS_OF(drama_episode)};

#define DRAMA_STEP(FIELD) FIELD(id, "", PJ_TEXT, .required = true, DRAMA_ID)
PJ_FIELDS(drama_step, DRAMA_STEP);
static const struct pj_items drama_steps = {PJ_FIELDS_OF(drama_step)};

#define DRAMA_EVENT(FIELD)                                                                         \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(drama_id, "drama_id", PJ_TEXT, .required = true, DRAMA_ID)                               \
    FIELD(life, "life", PJ_BIGINT, .required = true)                                               \
    FIELD(revision, "revision", PJ_BIGINT, .required = true)                                       \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    FIELD(user_id, "user_id", PJ_TEXT, DRAMA_ID)                                                   \
    /* The body is DramaSaved, … */                                                              \
    FIELD(saved, "body.DramaSaved", PJ_BOOL)                                                       \
    FIELD(base_revision, "body.DramaSaved.base_revision", PJ_BIGINT)                               \
    FIELD(source, "body.DramaSaved.source", PJ_TEXT, .required = true)                             \
    FIELD(title, "body.DramaSaved.title", PJ_TEXT)                                                 \
    FIELD(description, "body.DramaSaved.description", PJ_TEXT)                                     \
    FIELD(premise, "body.DramaSaved.premise", PJ_TEXT)                                             \
    FIELD(url, "body.DramaSaved.url", PJ_TEXT)                                                     \
    FIELD(metadata, "body.DramaSaved.metadata", PJ_JSONB)                                          \
    FIELD(characters, "body.DramaSaved.characters", PJ_ITEMS, .items = &drama_characters)          \
    FIELD(episodes, "body.DramaSaved.episodes", PJ_ITEMS, .items = &drama_episodes)                \
    FIELD(assets, "body.DramaSaved.assets", PJ_ITEMS, .items = &drama_assets)                      \
    FIELD(created_at, "body.DramaSaved.created_at", PJ_TIMESTAMPTZ)                                \
    FIELD(content_hash, "body.DramaSaved.content_hash", PJ_TEXT)                                   \
    /* … DramaStatusChanged, … */                                                              \
    FIELD(status_changed, "body.DramaStatusChanged", PJ_BOOL)                                      \
    FIELD(status, "body.DramaStatusChanged.status", PJ_TEXT, .required = true,                     \
          .words = drama_statuses)                                                                 \
    FIELD(error, "body.DramaStatusChanged.error", PJ_TEXT)                                         \
    /* … MediaSet … */                                                                         \
    FIELD(media_set, "body.MediaSet", PJ_BOOL)                                                     \
    FIELD(level, "body.MediaSet.level", PJ_TEXT, .required = true)                                 \
    FIELD(path, "body.MediaSet.path", PJ_ITEMS, .items = &drama_steps)                             \
    FIELD(slot, "body.MediaSet.slot", PJ_TEXT, .required = true)                                   \
    FIELD(value, "body.MediaSet.value", PJ_TEXT)                                                   \
    FIELD(job_id, "body.MediaSet.job_id", PJ_TEXT, DRAMA_ID)                                       \
    /* … or DramaDeleted. */                                                                     \
    FIELD(deleted, "body.DramaDeleted", PJ_BOOL)
PJ_FIELDS(drama_event, DRAMA_EVENT);

/* --- drama.jobs ------------------------------------------------------------------------------ */

#define DRAMA_JOB_EVENT(FIELD)                                                                     \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(drama_id, "drama_id", PJ_TEXT, .required = true, DRAMA_ID)                               \
    FIELD(job_id, "job_id", PJ_TEXT, .required = true, DRAMA_ID)                                   \
    FIELD(user_id, "user_id", PJ_TEXT, DRAMA_ID)                                                   \
    FIELD(attempt, "attempt", PJ_INT, .required = true)                                            \
    FIELD(revision, "revision", PJ_BIGINT, .required = true)                                       \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    /* Either the body is JobCreated … */                                                        \
    FIELD(created, "body.JobCreated", PJ_BOOL)                                                     \
    FIELD(job_type, "body.JobCreated.job_type", PJ_TEXT, .required = true)                         \
    FIELD(parent_job_id, "body.JobCreated.parent_job_id", PJ_TEXT, DRAMA_ID)                       \
    FIELD(asset_id, "body.JobCreated.asset_id", PJ_TEXT, DRAMA_ID)                                 \
    FIELD(node_type, "body.JobCreated.node_type", PJ_TEXT)                                         \
    FIELD(prompt, "body.JobCreated.prompt", PJ_TEXT)                                               \
    FIELD(depends_on, "body.JobCreated.depends_on", PJ_JSONB)                                      \
    FIELD(total_jobs, "body.JobCreated.total_jobs", PJ_INT)                                        \
    FIELD(title, "body.JobCreated.title", PJ_TEXT)                                                 \
    FIELD(project_name, "body.JobCreated.project_name", PJ_TEXT)                                   \
    FIELD(metadata, "body.JobCreated.metadata", PJ_JSONB)                                          \
    /* … or JobStatusChanged. */                                                                 \
    FIELD(status_changed, "body.JobStatusChanged", PJ_BOOL)                                        \
    FIELD(status, "body.JobStatusChanged.status", PJ_TEXT, .required = true,                       \
          .words = drama_statuses)                                                                 \
    FIELD(error, "body.JobStatusChanged.error", PJ_TEXT)                                           \
    FIELD(r2_url, "body.JobStatusChanged.r2_url", PJ_TEXT)                                         \
    FIELD(r2_key, "body.JobStatusChanged.r2_key", PJ_TEXT)                                         \
    FIELD(result, "body.JobStatusChanged.result", PJ_JSONB)
PJ_FIELDS(drama_job_event, DRAMA_JOB_EVENT);

/* --- drama.users ----------------------------------------------------------------------------- */

#define DRAMA_NAMED_FIELD(FIELD) FIELD(name, "", PJ_TEXT, .required = true)
PJ_FIELDS(drama_named_field, DRAMA_NAMED_FIELD);
static const struct pj_items drama_named_fields = {PJ_FIELDS_OF(drama_named_field)};

#define DRAMA_USER_EVENT(FIELD)                                                                    \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(user_id, "user_id", PJ_TEXT, .required = true, DRAMA_ID)                                 \
    FIELD(revision, "revision", PJ_BIGINT, .required = true)                                       \
    FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)                              \
    /* The body is UserRegistered, … */                                                          \
    FIELD(registered, "body.UserRegistered", PJ_BOOL)                                              \
    FIELD(email, "body.UserRegistered.email", PJ_TEXT, DRAMA_ID)                                   \
    FIELD(display_name, "body.UserRegistered.display_name", PJ_TEXT)                               \
    FIELD(tokens, "body.UserRegistered.tokens", PJ_BIGINT, .required = true)                       \
    FIELD(subscription_tier, "body.UserRegistered.subscription_tier", PJ_TEXT, .required = true)   \
    /* … UserChanged, … */                                                                     \
    FIELD(changed, "body.UserChanged", PJ_BOOL)                                                    \
    FIELD(fields, "body.UserChanged.fields", PJ_ITEMS, .items = &drama_named_fields)               \
    FIELD(new_email, "body.UserChanged.email", PJ_TEXT, DRAMA_ID)                                  \
    FIELD(new_display_name, "body.UserChanged.display_name", PJ_TEXT)                              \
    FIELD(new_subscription_tier, "body.UserChanged.subscription_tier", PJ_TEXT)                    \
    /* … TokensChanged … */                                                                    \
    FIELD(tokens_changed, "body.TokensChanged", PJ_BOOL)                                           \
    FIELD(delta, "body.TokensChanged.delta", PJ_BIGINT, .required = true)                          \
    FIELD(reason, "body.TokensChanged.reason", PJ_TEXT, .required = true)                          \
    FIELD(entry_id, "body.TokensChanged.entry_id", PJ_UUID)                                        \
    FIELD(drama_id, "body.TokensChanged.drama_id", PJ_TEXT, DRAMA_ID)                              \
    FIELD(job_id, "body.TokensChanged.job_id", PJ_TEXT, DRAMA_ID)                                  \
    /* … or UserDeleted. */                                                                      \
    FIELD(deleted, "body.UserDeleted", PJ_BOOL)
PJ_FIELDS(drama_user_event, DRAMA_USER_EVENT);

/* --- rules ----------------------------------------------------------------------------------- */

/* Each fails, as a dead letter, where the record says what no table can have. */
int drama_check_event(const struct drama_event *event, struct pj_error *error) PJ_MUST_CHECK;
int drama_check_job(const struct drama_job_event *event, struct pj_error *error) PJ_MUST_CHECK;
int drama_check_user(const struct drama_user_event *event, struct pj_error *error) PJ_MUST_CHECK;

/* "running" is "processing". */
struct pj_text drama_status(struct pj_text word);

/* By the ranks, then by event id. The greatest is the latest; of drama_earliest, the least event
 * is the greatest order, for facts that are PJ_GREATEST and want the earliest. */
struct pj_order drama_order(int64_t rank, int64_t next, struct pj_uuid event_id);
struct pj_order drama_earliest(int64_t life, int64_t revision, struct pj_uuid event_id);

/*
 * The ids of an array's items among each other, which lives as long as the batch: an empty one is
 * "#<place from 1>", and one that is taken "<id>#<n>" with the least n from 2 that is neither taken
 * before it nor written in the array. The id is an item's first field.
 */
const struct pj_text *drama_sibling_ids(struct pj_observer *observer, struct pj_array array);

#endif

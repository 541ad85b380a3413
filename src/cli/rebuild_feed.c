/* SPDX-License-Identifier: Apache-2.0 */
/* Recordings as feeds of a rebuild. */
#include "cli/rebuild_command.h"

#include "avro/recording.h"
#include "base/arena.h"
#include "base/memory.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct known_schema {
    int32_t id;
    char *text;
};

struct pj_recorded_feed {
    struct pj_recording *recording;
    const char *topic_prefix;
    char *topic;            /* of the last record */
    struct pj_arena *arena; /* its headers */
    struct known_schema *schemas;
    size_t schema_count;
};

/* The last one counts, should an id come twice. */
static const char *schema(void *context, int32_t id)
{
    const struct pj_recorded_feed *feed = context;
    for (size_t i = feed->schema_count; i-- > 0;) {
        if (feed->schemas[i].id == id)
            return feed->schemas[i].text;
    }
    return NULL;
}

/* A recording may be of an environment without the prefix, or of this one. */
static char *with_prefix(const char *prefix, struct pj_bytes topic)
{
    bool is_ours = prefix == NULL || (topic.length >= strlen(prefix) &&
                                      memcmp(topic.data, prefix, strlen(prefix)) == 0);
    return pj_text_new("%s%.*s", is_ours ? "" : prefix, (int)topic.length,
                       (const char *)topic.data);
}

/* In place of the last record's. */
static const struct pj_record_header *copy_headers(struct pj_recorded_feed *feed,
                                                   const struct pj_recorded *item)
{
    pj_arena_reset(feed->arena);
    struct pj_record_header *headers =
        pj_arena_alloc(feed->arena, item->header_count * sizeof *headers);
    for (size_t i = 0; i < item->header_count; i++) {
        const struct pj_header *header = &item->headers[i];
        headers[i].name = pj_arena_string(feed->arena, header->name.data, header->name.length);
        headers[i].value = header->value.data != NULL
                               ? pj_text_of(header->value.data, header->value.length)
                               : pj_null();
    }
    return headers;
}

static int next(void *context, struct pj_fed_record *record, struct pj_error *error)
{
    struct pj_recorded_feed *feed = context;
    struct pj_recorded item;
    int status;
    while ((status = pj_recording_next(feed->recording, &item, error)) == 1) {
        if (item.kind == PJ_RECORDED_SCHEMA) {
            feed->schemas = pj_resize(feed->schemas, feed->schema_count + 1, sizeof *feed->schemas);
            feed->schemas[feed->schema_count++] =
                (struct known_schema){item.id, pj_text_new("%.*s", (int)item.schema.length,
                                                           (const char *)item.schema.data)};
            continue;
        }
        if (item.kind != PJ_RECORDED_MESSAGE)
            continue;
        free(feed->topic);
        feed->topic = with_prefix(feed->topic_prefix, item.topic);
        *record = (struct pj_fed_record){
            feed->topic,       item.key.data,     item.key.length,           item.value.data,
            item.value.length, item.timestamp_ms, copy_headers(feed, &item), item.header_count};
        return 1;
    }
    return status;
}

/* A path, and neither a word, a number, a time nor a list of offsets. */
static bool is_recording(const char *from)
{
    if (from == NULL || strchr(from, '=') != NULL)
        return false;
    char *path = pj_strndup(from, strcspn(from, ","));
    bool exists = access(path, F_OK) == 0;
    free(path);
    return exists || strchr(from, '/') != NULL;
}

int pj_rebuild_open_feeds(struct pj_rebuild_run *run, struct pj_error *error)
{
    const char *from = run->options->from;
    struct pj_arena *arena = run->cli->arena;
    char *rest = NULL;
    int status = 0;
    if (!is_recording(from))
        return 0;
    for (char *path = strtok_r(pj_arena_string(arena, from, strlen(from)), ",", &rest);
         path != NULL && status == 0; path = strtok_r(NULL, ",", &rest)) {
        struct pj_recorded_feed *recorded = pj_arena_alloc(arena, sizeof *recorded);
        run->feeds = pj_resize(run->feeds, run->feed_count + 1, sizeof *run->feeds);
        struct pj_feed *feed = &run->feeds[run->feed_count++];
        recorded->arena = pj_arena_new();
        recorded->topic_prefix = run->cli->servers->topic_prefix;
        *feed = (struct pj_feed){.name = path, .next = next, .schema = schema, .context = recorded};
        status = pj_recording_open(&recorded->recording, path, error);
        if (status == 0)
            feed->count = pj_recording_items(recorded->recording);
    }
    run->settings.feeds = run->feeds;
    run->settings.feed_count = run->feed_count;
    return status;
}

void pj_rebuild_close_feeds(struct pj_rebuild_run *run)
{
    for (size_t i = 0; i < run->feed_count; i++) {
        struct pj_recorded_feed *recorded = run->feeds[i].context;
        for (size_t s = 0; s < recorded->schema_count; s++)
            free(recorded->schemas[s].text);
        pj_recording_close(recorded->recording);
        pj_arena_free(recorded->arena);
        free(recorded->schemas);
        free(recorded->topic);
    }
    free(run->feeds);
}

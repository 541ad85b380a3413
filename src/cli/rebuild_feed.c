/* SPDX-License-Identifier: Apache-2.0 */
/* Recordings as feeds of a rebuild. */
#include "cli/rebuild_command.h"

#include "avro/recording.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct known_schema {
    int32_t id;
    char *text;
};

struct pj_recorded_feed {
    struct pj_recording *recording;
    char *path;
    const char *topic_prefix;
    char *topic; /* of the record that was given last */
    struct known_schema *schemas;
    size_t schema_count;
};

static char *copy_text(struct pj_bytes bytes)
{
    char *text = bytes.data != NULL ? strndup(bytes.data, bytes.length) : strdup("");
    if (text == NULL)
        abort();
    return text;
}

static void add_schema(struct pj_recorded_feed *feed, const struct pj_recorded *item)
{
    feed->schemas = reallocarray(feed->schemas, feed->schema_count + 1, sizeof *feed->schemas);
    if (feed->schemas == NULL)
        abort();
    feed->schemas[feed->schema_count++] = (struct known_schema){item->id, copy_text(item->schema)};
}

/* The last one stands, should an id come twice. */
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
static char *with_prefix(const struct pj_recorded_feed *feed, struct pj_bytes topic)
{
    char *name = copy_text(topic);
    if (feed->topic_prefix == NULL ||
        strncmp(name, feed->topic_prefix, strlen(feed->topic_prefix)) == 0)
        return name;
    char *prefixed;
    if (asprintf(&prefixed, "%s%s", feed->topic_prefix, name) < 0)
        abort();
    free(name);
    return prefixed;
}

static int next(void *context, struct pj_fed_record *record, struct pj_error *error)
{
    struct pj_recorded_feed *feed = context;
    struct pj_recorded item;
    int status;
    while ((status = pj_recording_next(feed->recording, &item, error)) == 1) {
        if (item.kind == PJ_RECORDED_SCHEMA) {
            add_schema(feed, &item);
            continue;
        }
        free(feed->topic);
        feed->topic = with_prefix(feed, item.topic);
        *record = (struct pj_fed_record){feed->topic,     item.key.data,     item.key.length,
                                         item.value.data, item.value.length, item.timestamp_ms};
        return 1;
    }
    return status;
}

/* A path, and neither a word, a number, a time nor a list of offsets. */
bool pj_rebuild_is_recording(const char *from)
{
    if (from == NULL || strchr(from, '=') != NULL)
        return false;
    size_t length = strcspn(from, ",");
    char *path = strndup(from, length);
    if (path == NULL)
        abort();
    bool there = access(path, F_OK) == 0;
    free(path);
    return there || strchr(from, '/') != NULL;
}

int pj_rebuild_open_feeds(struct pj_rebuild_run *run, struct pj_error *error)
{
    if (!pj_rebuild_is_recording(run->options->from))
        return 0;
    char *paths = strdup(run->options->from);
    char *rest = NULL;
    int status = 0;
    if (paths == NULL)
        abort();
    for (char *path = strtok_r(paths, ",", &rest); path != NULL && status == 0;
         path = strtok_r(NULL, ",", &rest)) {
        struct pj_recorded_feed *recorded = calloc(1, sizeof *recorded);
        run->feeds = reallocarray(run->feeds, run->feed_count + 1, sizeof *run->feeds);
        if (recorded == NULL || run->feeds == NULL)
            abort();
        struct pj_feed *feed = &run->feeds[run->feed_count++];
        recorded->topic_prefix = run->options->servers.topic_prefix;
        recorded->path = copy_text((struct pj_bytes){path, strlen(path)});
        *feed = (struct pj_feed){
            .name = recorded->path, .next = next, .schema = schema, .context = recorded};
        status = pj_recording_open(&recorded->recording, path, error);
        if (status == 0)
            feed->count = pj_recording_items(recorded->recording);
    }
    free(paths);
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
        free(recorded->schemas);
        free(recorded->topic);
        free(recorded->path);
        free(recorded);
    }
    free(run->feeds);
}

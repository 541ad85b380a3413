/* SPDX-License-Identifier: Apache-2.0 */
#include "stream-replay/replay_cursor.h"

#include "base/memory.h"
#include "base/text.h"
#include "kafka/compacted.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

char *pj_cursor_key(const struct pj_lane *lane)
{
    const struct pj_replay_settings *settings = lane->plan->settings;
    return pj_text_new("%sstream-replay-%s-%d",
                       settings->topic_prefix != NULL ? settings->topic_prefix : "",
                       settings->resume, lane->index);
}

char *pj_cursor_value(const struct pj_lane *lane, int64_t position)
{
    json_t *object = pj_must(json_pack("{s:s, s:I}", "replay", lane->plan->fingerprint, "position",
                                       (json_int_t)position));
    char *text = pj_must(json_dumps(object, JSON_COMPACT));
    json_decref(object);
    return text;
}

struct reading {
    struct pj_lane *lane;
    char *key;
};

static int take(void *context, struct pj_bytes key, struct pj_bytes value, struct pj_error *error)
{
    struct reading *reading = context;
    if (key.length != strlen(reading->key) || memcmp(key.data, reading->key, key.length) != 0)
        return 0;
    reading->lane->position = 0;
    if (value.data == NULL)
        return 0;
    json_t *object = json_loadb(value.data, value.length, 0, NULL);
    const char *replay = json_string_value(json_object_get(object, "replay"));
    int status = 0;
    if (replay == NULL || !json_is_integer(json_object_get(object, "position")))
        status =
            pj_error_set(error, PJ_FATAL,
                         "the record of --resume %s in %s cannot be read: something else "
                         "wrote it; choose another name",
                         reading->lane->plan->settings->resume, reading->lane->plan->cursor_topic);
    else if (strcmp(replay, reading->lane->plan->fingerprint) != 0)
        status = pj_error_fatal(error, PJ_EXIT_USAGE,
                                "--resume %s names a replay of other recordings, or with other "
                                "--topic-map, --threads, --loop, --rekey or --limit; choose "
                                "another name for this one",
                                reading->lane->plan->settings->resume);
    else
        reading->lane->position = json_integer_value(json_object_get(object, "position"));
    json_decref(object);
    return status;
}

int pj_cursor_read(struct pj_lane *lane, struct pj_error *error)
{
    struct reading reading = {.lane = lane, .key = pj_cursor_key(lane)};
    const struct pj_compacted_settings settings = {.kafka = lane->plan->settings->kafka,
                                                   .client_id = "stream-replay",
                                                   .topic = lane->plan->cursor_topic,
                                                   .timeout_ms = lane->plan->settings->timeout_ms,
                                                   .stop = lane->plan->settings->stop,
                                                   .record = take,
                                                   .context = &reading};
    lane->position = 0;
    int status = pj_compacted_read(&settings, error);
    free(reading.key);
    return status;
}

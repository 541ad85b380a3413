/* SPDX-License-Identifier: Apache-2.0 */
#include "projections/safari/safari.h"

static const struct word {
    const char *word;
    const char *status;
    enum safari_rank rank;
} words[] = {
    {"QUEUED", "QUEUED", SAFARI_QUEUED},
    {"PENDING", "QUEUED", SAFARI_QUEUED},
    {"RUNNING", "RUNNING", SAFARI_RUNNING},
    {"POLLING", "RUNNING", SAFARI_RUNNING},
    {"SUCCEEDED", "SUCCEEDED", SAFARI_TERMINAL},
    {"FAILED", "FAILED", SAFARI_TERMINAL},
    {"VERIFICATION_FAILED", "FAILED", SAFARI_TERMINAL},
    {"CANCELLED", "CANCELLED", SAFARI_TERMINAL},
};

/* Digits up to `end`; at most 18, so that it fits. */
static bool digits(const char *at, const char *end, int64_t *value)
{
    if (at == end || end - at > 18)
        return false;
    *value = 0;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return false;
        *value = *value * 10 + (*at - '0');
    }
    return true;
}

/* `<epoch ms>-<counter>`; the counter is not zero-padded, so only numbers sort it. */
static bool read_cursor(const struct pj_text *cursor, int64_t *ms, int64_t *counter)
{
    if (!cursor->present)
        return false;
    const char *text = cursor->text.data;
    const char *end = text + cursor->text.length;
    const char *dash = memchr(text, '-', cursor->text.length);
    return dash != NULL && digits(text, dash, ms) && digits(dash + 1, end, counter);
}

static int64_t floor_ms(int64_t microseconds)
{
    return microseconds / 1000 - (microseconds % 1000 < 0 ? 1 : 0);
}

struct pj_order safari_lifecycle_order(struct pj_text cursor, struct pj_timestamptz emitted_at,
                                       enum safari_rank rank, struct pj_uuid event_id)
{
    struct pj_order order = {.rank = {floor_ms(emitted_at.integer), -1, emitted_at.integer, rank}};
    int64_t ms;
    int64_t counter;
    if (read_cursor(&cursor, &ms, &counter)) {
        order.rank[0] = ms;
        order.rank[1] = counter;
    }
    memcpy(order.tie, event_id.uuid, 16);
    return order;
}

int safari_read_lifecycle(const struct safari_command *event, struct safari_lifecycle *lifecycle,
                          struct pj_error *error)
{
    const struct pj_value *word = &event->status.value;
    if (!event->status_changed.present)
        return pj_error_set(error, PJ_POISON,
                            "body is neither CommandSubmitted nor CommandStatusChanged");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!pj_text_is(word, words[i].word))
            continue;
        lifecycle->status = PJ_TEXT(words[i].status);
        lifecycle->rank = words[i].rank;
        lifecycle->order = safari_lifecycle_order(event->cursor, event->emitted_at, lifecycle->rank,
                                                  event->event_id);
        lifecycle->time = PJ_ORDER(event->event_id, event->emitted_at.integer);
        lifecycle->error = event->error;
        if (!lifecycle->error.present && strcmp(words[i].word, "VERIFICATION_FAILED") == 0)
            lifecycle->error = PJ_TEXT(words[i].word);
        return 0;
    }
    return pj_error_set(error, PJ_POISON, "status \"%.*s\" is not a known word",
                        (int)(word->text.length < 64 ? word->text.length : 64), word->text.data);
}

const json_t *safari_member(const json_t *object, const char *name, const char *camel_case)
{
    const json_t *value = json_object_get(object, name);
    return value != NULL ? value : json_object_get(object, camel_case);
}

int safari_check_length(const json_t *object, const char *name, size_t most_chars,
                        struct pj_error *error)
{
    const char *text = json_string_value(json_object_get(object, name));
    size_t chars = 0;
    for (; text != NULL && *text; text++)
        chars += ((unsigned char)*text & 0xc0) != 0x80;
    if (chars <= most_chars)
        return 0;
    return pj_error_set(error, PJ_POISON, "payload.%s has %zu characters, at most %zu fit", name,
                        chars, most_chars);
}

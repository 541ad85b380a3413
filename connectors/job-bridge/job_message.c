/* SPDX-License-Identifier: Apache-2.0 */
#include "job-bridge/job_message.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "common/json_slice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

enum {
    JOB_ID_MOST = 200, /* bytes */
    SHOWN_MOST = 60,   /* of a word in a reason */
};

static bool is_utf8(struct pj_bytes text)
{
    const char *at = text.data;
    for (size_t left = text.length; left > 0;) {
        size_t length = pj_utf8_length(at, left);
        if (length == 0 || *at == '\0')
            return false;
        at += length;
        left -= length;
    }
    return true;
}

/* --- members --------------------------------------------------------------------------------- */

/* Each returns false where the member is not what it should be, with the reason in *reason. */

static json_t *member(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    return json_is_null(value) ? NULL : value;
}

static bool take_text(const json_t *object, const char *name, json_t *body, char **reason)
{
    json_t *value = member(object, name);
    if (value == NULL)
        return true;
    if (json_is_string(value)) {
        json_object_set(body, name, value);
        return true;
    }
    *reason = pj_text_new("its %s is not a text", name);
    return false;
}

/* Renderers count in fractions; a percentage of the contract is whole. */
static bool take_progress(const json_t *object, json_t *body, char **reason)
{
    const json_t *value = member(object, "progress");
    if (value == NULL)
        return true;
    double rounded = round(json_number_value(value));
    if (json_is_number(value) && rounded >= INT32_MIN && rounded <= INT32_MAX) {
        json_object_set_new(body, "progress", json_integer((json_int_t)rounded));
        return true;
    }
    *reason = pj_text_new("its progress is not a number that fits 32 bits");
    return false;
}

/* As it was written: digits that a double has no room for stay. */
static void take_result(const json_t *object, struct pj_bytes payload, json_t *body)
{
    struct pj_bytes slice;
    json_t *value = member(object, "result");
    if (value == NULL)
        return;
    if (pj_json_slice(payload, "result", &slice)) {
        json_object_set_new(body, "result", pj_must(json_stringn(slice.data, slice.length)));
        return;
    }
    char *text = pj_must(json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY));
    json_object_set_new(body, "result", json_string(text));
    free(text);
}

/* --- kinds ----------------------------------------------------------------------------------- */

static json_t *progressed(const json_t *object, char **reason)
{
    json_t *body = pj_must(json_object());
    bool is_good =
        take_progress(object, body, reason) && take_text(object, "message", body, reason);
    if (is_good && json_object_get(body, "progress") == NULL) {
        *reason = pj_text_new("it has no progress");
        is_good = false;
    }
    json_t *event = is_good ? pj_must(json_pack("{s:O}", "JobProgressed", body)) : NULL;
    json_decref(body);
    return event;
}

/* `otherwise`: what it says where it has no status; NULL: it must have one. */
static json_t *changed(const json_t *object, struct pj_bytes payload, const char *otherwise,
                       char **reason)
{
    json_t *body = pj_must(json_object());
    bool is_good = take_text(object, "status", body, reason) &&
                   take_text(object, "message", body, reason) &&
                   take_progress(object, body, reason);
    if (is_good)
        take_result(object, payload, body);
    if (is_good && json_object_get(body, "status") == NULL) {
        if (otherwise != NULL) {
            json_object_set_new(body, "status", json_string(otherwise));
        } else {
            *reason = pj_text_new("it has no status");
            is_good = false;
        }
    }
    json_t *event = is_good ? pj_must(json_pack("{s:O}", "JobStatusChanged", body)) : NULL;
    json_decref(body);
    return event;
}

static json_t *body_of(const json_t *object, struct pj_bytes payload, char **reason)
{
    const json_t *type = json_object_get(object, "type");
    const char *word = json_string_value(type);
    if (word == NULL) {
        *reason = pj_text_new("it has no type");
        return NULL;
    }
    if (strcmp(word, "progress") == 0)
        return progressed(object, reason);
    if (strcmp(word, "status") == 0)
        return changed(object, payload, NULL, reason);
    if (strcmp(word, "error") == 0)
        return changed(object, payload, "error", reason);
    if (strcmp(word, "complete") == 0)
        return changed(object, payload, "success", reason);
    *reason = pj_text_new("its type '%.*s' is none of progress, status, error, complete",
                          (int)pj_utf8_cut(word, strlen(word), SHOWN_MOST), word);
    return NULL;
}

static json_t *parse(struct pj_bytes payload, char **reason)
{
    json_error_t fault;
    json_t *body = NULL;
    /* As reals, integers of any length can be read; the result is taken as it was written. */
    json_t *json =
        json_loadb(payload.data, payload.length,
                   JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &fault);
    if (json == NULL)
        *reason = pj_text_new("it is not JSON: %s", fault.text);
    else if (!json_is_object(json))
        *reason = pj_text_new("it is not a JSON object");
    else
        body = body_of(json, payload, reason);
    json_decref(json);
    return body;
}

/* --- messages -------------------------------------------------------------------------------- */

static struct pj_job_message *copy_of(struct pj_bytes channel, struct pj_bytes payload)
{
    struct pj_job_message *message = pj_alloc(sizeof *message + channel.length + payload.length);
    char *at = (char *)(message + 1);
    uuid_t id;
    uuid_generate_random(id);
    uuid_unparse_lower(id, message->event_id);
    message->emitted_us = pj_clock_wall_us();
    message->received_us = pj_clock_monotonic_us();
    if (channel.length > 0)
        memcpy(at, channel.data, channel.length);
    if (payload.length > 0)
        memcpy(at + channel.length, payload.data, payload.length);
    message->channel = (struct pj_bytes){at, channel.length};
    message->payload = (struct pj_bytes){at + channel.length, payload.length};
    return message;
}

static void finish(struct pj_job_message *message)
{
    message->form = message->body != NULL ? PJ_JOB_EVENT : PJ_JOB_DEAD_LETTER;
    /* What was parsed is about as large again. */
    message->size = sizeof *message + message->channel.length +
                    message->payload.length * (message->body != NULL ? 2 : 1);
}

struct pj_job_message *pj_job_message_new(const char *channel_prefix, struct pj_bytes channel,
                                          struct pj_bytes payload)
{
    struct pj_job_message *message = copy_of(channel, payload);
    size_t prefix = strlen(channel_prefix);
    struct pj_bytes job = {(const char *)message->channel.data + prefix, channel.length - prefix};
    if (channel.length <= prefix)
        message->reason = pj_text_new("its channel names no job");
    else if (job.length > JOB_ID_MOST)
        message->reason = pj_text_new("the job's id is longer than %d bytes", JOB_ID_MOST);
    else if (!is_utf8(job))
        message->reason = pj_text_new("the job's id is not UTF-8");
    if (message->reason == NULL) {
        message->job_id = job.data;
        message->job_id_length = job.length;
        message->body = parse(message->payload, &message->reason);
    }
    finish(message);
    return message;
}

struct pj_job_message *pj_job_message_cut(struct pj_bytes beginning, int64_t limit)
{
    struct pj_job_message *message = copy_of((struct pj_bytes){NULL, 0}, beginning);
    message->reason = pj_text_new("it is longer than %lld bytes (--message-size-limit); this is "
                                  "its beginning, as Redis sent it",
                                  (long long)limit);
    finish(message);
    return message;
}

void pj_job_message_free(struct pj_job_message *message)
{
    if (message == NULL)
        return;
    json_decref(message->body);
    free(message->reason);
    free(message);
}

bool pj_job_message_refuse(struct pj_job_message *message, const char *reason)
{
    if (message->form == PJ_JOB_HEADERS_ALONE)
        return false;
    if (message->form == PJ_JOB_EVENT) {
        message->is_refused = true;
        message->reason = pj_text_new("%s", reason);
    }
    message->form++;
    return true;
}

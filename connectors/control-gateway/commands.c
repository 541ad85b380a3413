/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/commands: published first, then forwarded; each once.
 *
 * What a crash leaves behind:
 *   before the commit            nothing: a retry is a new command
 *   after it, before forwarding  PUBLISHED: a retry asks the service, which does not know it, and
 *                                forwards
 *   until its answer is recorded PUBLISHED: a retry asks the service, which knows it: not again;
 *                                if it has forgotten it, the telemetry knows it: not again
 *   after that                   ACCEPTED: never forwarded again, even if the service forgets it
 *   until a refusal is recorded  PUBLISHED: a retry is forwarded again, and refused again
 *   after that                   REFUSED, and FAILED in its topic: the same content is forwarded
 *                                again, once it is recorded as QUEUED again; other content is
 *                                another command
 *
 * Refused means that the service says it did not accept it: 3xx, 4xx but 408, 503 with Retry-After.
 * Any other failure leaves it unknown: the service is asked.
 *
 * Its answer is recorded in the background, with the next command's record or soon: waiting for
 * that would not shorten the time in which a crash loses it.
 *
 * A forwarded command always has an idempotency key, the command_id if the caller gave none, so
 * that the service itself recognizes a second forward while the first is still under way.
 */
#include "control-gateway/gateway.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "projectionist/value.h"

#include <jansson.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uuid.h>

enum { LARGE_BODY = 128 << 10, KEEP_WITHIN_MS = 25, EXPIRED_MOST = 1000 };

/* One request about a command that it has claimed. */
struct handling {
    struct pj_gateway *gateway;
    const struct pj_envelope *envelope; /* NULL at start */
    struct pj_arena *arena;
    const struct pj_fields *fields; /* the client's; NULL at start */
    struct pj_known *known;
};

static struct pj_reply *refuse(const struct handling *handling, int status, const char *text)
{
    return pj_gateway_error(status, text, handling->known->command_id);
}

/* "the reason; what that means" */
static struct pj_reply *refuse_because(const struct handling *handling, int status,
                                       const struct pj_error *reason, const char *meaning)
{
    char text[sizeof reason->message + 256];
    pj_text_show(text, sizeof text, "%s; %s", reason->message, meaning);
    return refuse(handling, status, text);
}

/* --- publishing ------------------------------------------------------------------------------ */

static int add_event(const struct handling *handling, struct pj_publication *publication,
                     const char *event_id, int64_t emitted_at, json_t *body, struct pj_error *error)
{
    const char *command_id = handling->known->command_id;
    json_t *event =
        pj_must(json_pack("{s:s, s:s, s:I, s:o}", "event_id", event_id, "command_id", command_id,
                          "emitted_at", (json_int_t)emitted_at, "body", body));
    return pj_gateway_add_event(handling->gateway, publication, PJ_TO_COMMANDS, command_id, event,
                                error);
}

static int make_publication(const struct handling *handling, struct pj_error *error)
{
    struct pj_known *known = handling->known;
    char event_id[PJ_UUID_TEXT];
    pj_gateway_event_id("submitted", known->command_id, event_id);
    known->publishing = pj_publication_new();
    if (add_event(handling, known->publishing, event_id, pj_clock_wall_us(),
                  json_pack("{s:O}", "CommandSubmitted", handling->envelope->submitted),
                  error) != 0) {
        pj_publication_release(known->publishing);
        known->publishing = NULL;
        return -1;
    }
    known->updated_ms = pj_clock_wall_ms();
    pj_known_add_record(known, known->publishing);
    return 0;
}

/* NULL: it is published. */
static struct pj_reply *publish(const struct handling *handling)
{
    struct pj_gateway *gateway = handling->gateway;
    struct pj_known *known = handling->known;
    struct pj_error error;
    int status = 0;
    if (known->publishing == NULL) {
        if (make_publication(handling, &error) != 0)
            return refuse(handling, 400, error.message);
        status = pj_publisher_submit(gateway->publisher, known->publishing, &error);
    }
    if (status == 0)
        status = pj_publisher_wait(gateway->publisher, known->publishing,
                                   pj_gateway_publish_timeout_ms(gateway), &error);
    if (status == 1 && !pj_publisher_cancel(gateway->publisher, known->publishing))
        return refuse_because(handling, 503, &error,
                              "the command may still be published; it was not executed; retry it "
                              "with the same idempotency_key or command_id");
    /* What was under way when the publisher ended is resolved by the next gateway. */
    pj_publication_release(known->publishing);
    known->publishing = NULL;
    if (status < 0 && error.class == PJ_POISON)
        return refuse_because(handling, pj_publisher_finds_too_large(&error) ? 413 : 422, &error,
                              "the command was neither published nor executed");
    if (status != 0)
        return refuse_because(handling, 503, &error,
                              "the command was neither published nor executed");
    known->state = PJ_COMMAND_PUBLISHED;
    known->is_fresh = true;
    return NULL;
}

/* A status that the gateway publishes because nobody else does; *error is why, or NULL. */
static int add_status(const struct handling *handling, const char *status, const char *why,
                      struct pj_publication *publication, struct pj_error *error)
{
    char event_id[PJ_UUID_TEXT];
    int64_t now_us = pj_clock_wall_us();
    pj_gateway_status_event_id(handling->known->command_id, status, now_us, event_id);
    json_t *body = pj_must(json_pack("{s:{s:s, s:o}}", "CommandStatusChanged", "status", status,
                                     "error", pj_json_text(pj_text_bytes(why))));
    return add_event(handling, publication, event_id, now_us, body, error);
}

/* The command's record in its current state, without an event. */
static struct pj_publication *make_record(const struct handling *handling)
{
    struct pj_publication *publication = pj_publication_new();
    /* Until the service accepts it, its time is that of its CommandSubmitted. */
    if (handling->known->state == PJ_COMMAND_ACCEPTED)
        handling->known->updated_ms = pj_clock_wall_ms();
    pj_known_add_record(handling->known, publication);
    return publication;
}

/* Waits until it is published, with a time-out. */
static int publish_record(const struct handling *handling, struct pj_error *error)
{
    struct pj_publication *publication = make_record(handling);
    int status = pj_gateway_publish(handling->gateway, publication, error);
    pj_publication_release(publication);
    return status;
}

/* --- the service ----------------------------------------------------------------------------- */

static void note_text(const json_t *json, const char *name, char *text, size_t size)
{
    const char *found = json_string_value(json_object_get(json, name));
    if (found != NULL)
        pj_text_show(text, size, "%s", found);
}

/* The service has it: record that. */
static void accept(const struct handling *handling, const struct pj_reply *reply)
{
    struct pj_known *known = handling->known;
    struct pj_error error;
    char other[PJ_UUID_TEXT] = "";
    json_t *json = pj_reply_load(reply);
    note_text(json, "status", known->status, sizeof known->status);
    note_text(json, "accepted_at", known->accepted_at, sizeof known->accepted_at);
    note_text(json, "command_id", other, sizeof other);
    json_decref(json);
    if (other[0] != '\0' && strcasecmp(other, known->command_id) != 0)
        pj_log(
            PJ_WARN,
            "the service takes a command for an earlier one with the same idempotency key and does "
            "not execute it",
            pj_f_str("command_id", known->command_id), pj_f_str("other", other));
    known->state = PJ_COMMAND_ACCEPTED;
    struct pj_publication *publication = make_record(handling);
    pj_publication_allow_wait(publication, KEEP_WITHIN_MS);
    if (pj_publisher_submit(handling->gateway->publisher, publication, &error) != 0)
        pj_log(PJ_WARN, "the outcome of a command cannot be recorded",
               pj_f_str("command_id", known->command_id), pj_f_str("reason", error.message));
    pj_publication_release(publication);
}

/* The reason that an answer gives. */
static char *reason_of(const struct pj_reply *reply)
{
    enum { REASON_MOST = 2000 };
    json_t *json = pj_reply_load(reply);
    const char *text = json_string_value(json_object_get(json, "error"));
    if (text == NULL)
        text = json_string_value(json_object_get(json, "message"));
    size_t length = text != NULL ? pj_utf8_cut(text, strlen(text), REASON_MOST) : 0;
    char *reason = pj_text_new("the service refuses the command (HTTP %d)%s%.*s", reply->status,
                               length > 0 ? ": " : "", (int)length, text != NULL ? text : "");
    json_decref(json);
    return reason;
}

/* The service refuses it. A client that hears so finds it FAILED; only while Kafka is away too does
 * that come later. */
static void give_up(const struct handling *handling, const struct pj_reply *reply)
{
    struct pj_known *known = handling->known;
    struct pj_error error;
    char *reason = reason_of(reply);
    known->state = PJ_COMMAND_REFUSED;
    pj_metric_add(handling->gateway->refused, 1);
    struct pj_publication *publication = pj_publication_new();
    int status = add_status(handling, "FAILED", reason, publication, &error);
    pj_known_add_record(known, publication);
    if (status == 0)
        status = pj_gateway_publish(handling->gateway, publication, &error);
    if (status != 0)
        pj_log(PJ_WARN, "the refusal of a command is not published yet",
               pj_f_str("command_id", known->command_id), pj_f_str("refused", reason),
               pj_f_str("reason", error.message));
    pj_publication_release(publication);
    free(reason);
}

/* A refused command is retried, and may be accepted now. NULL: that is recorded. */
static struct pj_reply *take_up_again(const struct handling *handling)
{
    struct pj_known *known = handling->known;
    struct pj_error error;
    struct pj_publication *publication = pj_publication_new();
    known->state = PJ_COMMAND_PUBLISHED;
    int status = add_status(handling, "QUEUED", NULL, publication, &error);
    pj_known_add_record(known, publication);
    if (status == 0)
        status = pj_gateway_publish(handling->gateway, publication, &error);
    if (status == 1 && pj_publisher_cancel(handling->gateway->publisher, publication))
        known->state = PJ_COMMAND_REFUSED;
    else if (status < 0)
        known->state = PJ_COMMAND_REFUSED;
    pj_publication_release(publication);
    return status == 0 ? NULL
                       : refuse_because(handling, 503, &error,
                                        "the command, which was refused before, was not executed");
}

static enum pj_call_end ask(const struct handling *handling, struct pj_reply **reply,
                            struct pj_error *error)
{
    char path[64];
    pj_text_whole(path, sizeof path, "/v1/commands/%s", handling->known->command_id);
    const struct pj_call call = {
        .method = "GET", .path = path, .fields = handling->fields, .is_question = true};
    return pj_upstream_call(handling->gateway->upstream, &call, reply, error);
}

/* The service's answer to a retry: the first command's id and its current state. */
static struct pj_reply *repeat(const struct handling *handling, const struct pj_reply *asked)
{
    struct pj_known *known = handling->known;
    char status[PJ_STATUS_MOST], accepted_at[PJ_TIME_MOST];
    memcpy(status, known->status, sizeof status);
    memcpy(accepted_at, known->accepted_at, sizeof accepted_at);
    if (asked != NULL && asked->status == 200) {
        json_t *json = pj_reply_load(asked);
        note_text(json, "status", status, sizeof status);
        if (accepted_at[0] == '\0')
            note_text(json, "accepted_at", accepted_at, sizeof accepted_at);
        json_decref(json);
    }
    json_t *answer = json_pack("{s:s, s:s*, s:s*}", "command_id", known->command_id, "status",
                               status[0] != '\0' ? status : NULL, "accepted_at",
                               accepted_at[0] != '\0' ? accepted_at : NULL);
    struct pj_reply *reply = pj_reply_json(202, answer);
    pj_text_whole(reply->command_id, sizeof reply->command_id, "%s", known->command_id);
    return reply;
}

/* Even while the service is away or has forgotten it: what is known of it stays true. */
static struct pj_reply *repeat_accepted(const struct handling *handling)
{
    struct pj_reply *asked = NULL;
    struct pj_error ignored;
    if (ask(handling, &asked, &ignored) == PJ_CALL_ANSWERED &&
        (asked->status == 401 || asked->status == 403))
        return asked; /* not for every caller to know */
    struct pj_reply *reply = repeat(handling, asked);
    pj_reply_release(asked);
    return reply;
}

static struct pj_reply *away(const struct handling *handling, const struct pj_error *error)
{
    return refuse_because(handling, 503, error,
                          "the command is published: retry it with the same idempotency_key or "
                          "command_id to have it executed, once");
}

static struct pj_reply *forward_unknown(const struct handling *handling);

/* Its answer was lost. Now the service still knows whether it accepted the command; after a restart
 * it would not. is_closed: more likely it did not see the command, and then has it now. */
static struct pj_reply *ask_at_once(const struct handling *handling, const struct pj_error *lost,
                                    bool is_closed)
{
    struct pj_reply *asked = NULL, *reply;
    struct pj_error ignored;
    bool is_answered = ask(handling, &asked, &ignored) == PJ_CALL_ANSWERED;
    if (is_answered && asked->status == 200) {
        accept(handling, asked);
        reply = repeat(handling, asked);
    } else if (is_answered && asked->status == 404 && is_closed) {
        reply = forward_unknown(handling);
    } else {
        reply = away(handling, lost);
    }
    pj_reply_release(asked);
    return reply;
}

static bool is_refusal(const struct pj_reply *reply)
{
    return (reply->status >= 300 && reply->status < 500 && reply->status != 408) ||
           (reply->status == 503 && pj_fields_get(&reply->fields, "Retry-After") != NULL);
}

/* Its answer does not say whether it accepted the command. */
static struct pj_reply *ask_about(const struct handling *handling, struct pj_reply *answer)
{
    struct pj_reply *asked = NULL;
    struct pj_error ignored;
    struct pj_reply *reply = answer;
    if (ask(handling, &asked, &ignored) == PJ_CALL_ANSWERED && asked->status == 200) {
        accept(handling, asked);
        reply = repeat(handling, asked);
        pj_reply_release(answer);
    }
    pj_reply_release(asked);
    return reply;
}

/* The service has one space of keys for all callers. */
static const char *key_for_service(const struct handling *handling)
{
    const struct pj_known *known = handling->known;
    char *key = pj_arena_alloc(handling->arena, PJ_UUID_TEXT);
    uint8_t uuid[16];
    if (known->key == NULL || known->caller[0] == '\0')
        return known->key != NULL ? known->key : known->command_id;
    const char *name =
        pj_arena_printf(handling->arena, "control-gateway key %s %s", known->caller, known->key);
    pj_uuid_of_name(name, strlen(name), uuid);
    uuid_unparse_lower(uuid, key);
    return key;
}

static struct pj_reply *forward(const struct handling *handling, bool may_be_kept)
{
    struct pj_gateway *gateway = handling->gateway;
    struct pj_known *known = handling->known;
    struct pj_reply *reply = NULL;
    struct pj_error error = {.class = PJ_RETRY};
    const struct pj_call call = {
        .method = "POST",
        .path = "/v1/commands",
        .fields = handling->fields,
        .body = pj_envelope_forwarded(handling->envelope, known->command_id,
                                      key_for_service(handling), handling->arena),
        .may_be_kept = may_be_kept,
    };
    bool was_fresh = known->is_fresh;
    known->is_fresh = false;
    switch (pj_upstream_call(gateway->upstream, &call, &reply, &error)) {
    case PJ_CALL_NOT_SENT:
        known->is_fresh = was_fresh;
        return away(handling, &error);
    case PJ_CALL_UNKNOWN:
        return ask_at_once(handling, &error, false);
    case PJ_CALL_CLOSED:
        return ask_at_once(handling, &error, true);
    case PJ_CALL_ANSWERED:
        break;
    }
    if (reply->status >= 200 && reply->status < 300) {
        accept(handling, reply);
    } else if (is_refusal(reply)) {
        known->is_fresh = was_fresh;
        give_up(handling, reply);
    } else {
        reply = ask_about(handling, reply);
    }
    pj_text_whole(reply->command_id, sizeof reply->command_id, "%s", known->command_id);
    return reply;
}

/* It was published, and the service does not know it, now. */
static struct pj_reply *forward_unknown(const struct handling *handling)
{
    struct pj_error error = {.class = PJ_RETRY};
    int ran = pj_gateway_look_for_status(handling->gateway, handling->known,
                                         handling->known->status, &error);
    if (ran < 0)
        return away(handling, &error);
    if (ran > 0) {
        const struct pj_reply nothing = {0};
        accept(handling, &nothing);
        return repeat(handling, NULL);
    }
    /* A gateway that was fenced and has not noticed must not forward: it cannot write this. */
    if (publish_record(handling, &error) != 0)
        return away(handling, &error);
    return forward(handling, false);
}

/* It was published, and may have been forwarded, by this process or an earlier one. */
static struct pj_reply *forward_again(const struct handling *handling)
{
    struct pj_reply *asked = NULL;
    struct pj_error error = {.class = PJ_RETRY};
    if (ask(handling, &asked, &error) != PJ_CALL_ANSWERED)
        return away(handling, &error);
    if (asked->status == 200) {
        accept(handling, asked);
        struct pj_reply *reply = repeat(handling, asked);
        pj_reply_release(asked);
        return reply;
    }
    if (asked->status != 404)
        return asked;
    pj_reply_release(asked);
    return forward_unknown(handling);
}

/* --- requests -------------------------------------------------------------------------------- */

static const char other_content[] =
    "the idempotency_key or command_id belongs to a command with other content that has not been "
    "executed yet; retry that one, or use another key";
static const char other_refused[] =
    "the command_id belongs to a command with other content that was refused; use another "
    "command_id";

static struct pj_reply *carry_out(const struct handling *handling)
{
    struct pj_known *known = handling->known;
    bool is_same = memcmp(known->digest, handling->envelope->digest, sizeof known->digest) == 0;
    bool is_first = known->state == PJ_COMMAND_NEW && known->publishing == NULL;
    struct pj_reply *reply = NULL;
    if (!is_first)
        pj_metric_add(handling->gateway->repeated, 1);
    if (!is_same) {
        pj_metric_add(handling->gateway->conflicts, 1);
        pj_log(PJ_WARN, "an idempotency key or command_id was reused with other content",
               pj_f_str("command_id", known->command_id));
    }
    if (known->state != PJ_COMMAND_ACCEPTED && !is_same)
        return refuse(handling, 409,
                      known->state == PJ_COMMAND_REFUSED ? other_refused : other_content);
    if (known->state == PJ_COMMAND_NEW)
        reply = publish(handling);
    else if (known->state == PJ_COMMAND_REFUSED)
        reply = take_up_again(handling);
    if (reply != NULL)
        return reply;
    if (known->state == PJ_COMMAND_ACCEPTED)
        reply = repeat_accepted(handling);
    else
        reply = known->is_fresh ? forward(handling, true) : forward_again(handling);
    if (!is_first)
        reply->repeated = is_same ? "same" : "different-content";
    return reply;
}

static int parse(struct pj_gateway *gateway, struct pj_bytes body, struct pj_envelope *envelope,
                 struct pj_error *error)
{
    while (sem_wait(&gateway->parsers) != 0)
        ; /* EINTR */
    int status = pj_envelope_parse(body, envelope, error);
    if (body.length > LARGE_BODY)
        malloc_trim(0); /* parsing took many times that */
    sem_post(&gateway->parsers);
    return status;
}

/* NULL: the caller is let in, and the envelope says who it is. */
static struct pj_reply *check_caller(struct pj_gateway *gateway, const struct pj_request *request,
                                     struct pj_envelope *envelope)
{
    const struct pj_gateway_settings *settings = gateway->settings;
    bool is_service_checking = settings->token == NULL && settings->upstream_token == NULL;
    pj_caller_name(request->fields, is_service_checking, envelope->caller);
    return is_service_checking ? pj_callers_check(gateway->callers, gateway->upstream,
                                                  request->fields, envelope->caller)
                               : NULL;
}

static struct pj_reply *handle(struct handling *handling)
{
    struct pj_gateway *gateway = handling->gateway;
    int64_t timeout_ms =
        gateway->settings->serving.publish_timeout_ms + gateway->settings->upstream_timeout_ms;
    char command_id[PJ_UUID_TEXT];
    struct pj_reply *reply = NULL;
    switch (pj_keys_claim(gateway->keys, handling->envelope, timeout_ms, &handling->known, &reply,
                          command_id)) {
    case PJ_CLAIM_TAKEN:
        reply = carry_out(handling);
        pj_keys_finish(gateway->keys, handling->known, reply);
        pj_metric_set(gateway->known, (int64_t)pj_keys_count(gateway->keys));
        break;
    case PJ_CLAIM_ANSWERED:
        pj_metric_add(gateway->repeated, 1);
        break;
    case PJ_CLAIM_TIMEOUT:
        reply = pj_gateway_error(503, "another request about this command is still under way",
                                 command_id);
        break;
    case PJ_CLAIM_CONFLICT:
        pj_metric_add(gateway->conflicts, 1);
        reply = pj_gateway_error(409, other_content, command_id);
        reply->repeated = "different-content";
        break;
    case PJ_CLAIM_FOREIGN:
        reply = pj_gateway_error(
            409, "the command_id belongs to another caller's command; use another command_id",
            NULL);
        break;
    }
    return reply;
}

struct pj_reply *pj_gateway_command(struct pj_gateway *gateway, const struct pj_request *request)
{
    struct pj_envelope envelope;
    struct pj_error error;
    if (parse(gateway, request->body, &envelope, &error) != 0)
        return pj_gateway_error(400, error.message, NULL);
    struct pj_reply *reply = check_caller(gateway, request, &envelope);
    if (reply == NULL) {
        struct handling handling = {.gateway = gateway,
                                    .envelope = &envelope,
                                    .arena = pj_arena_new(),
                                    .fields = request->fields};
        reply = handle(&handling);
        pj_arena_free(handling.arena);
    }
    json_decref(envelope.submitted);
    return reply;
}

static int end_known(void *context, const struct pj_known *known)
{
    struct pj_gateway *gateway = context;
    struct pj_error error;
    struct pj_publication *publication = pj_publication_new();
    pj_known_add_end(known, publication);
    pj_publication_allow_wait(publication, KEEP_WITHIN_MS);
    /* Sent again now, it could come after a new command with the same key; a later retry will do
     * it. */
    pj_publication_allow_loss(publication);
    int status = pj_publisher_submit(gateway->publisher, publication, &error);
    pj_publication_release(publication);
    return status;
}

bool pj_gateway_expire_commands(struct pj_gateway *gateway)
{
    if (pj_publisher_is_away(gateway->publisher, NULL))
        return false;
    int64_t before_ms = pj_clock_wall_ms() - gateway->settings->serving.key_retention_ms;
    size_t count = pj_keys_expire(gateway->keys, before_ms, EXPIRED_MOST, end_known, gateway);
    pj_metric_add(gateway->expired, (int64_t)count);
    pj_metric_set(gateway->known, (int64_t)pj_keys_count(gateway->keys));
    return count == EXPIRED_MOST;
}

bool pj_gateway_resolve_command(struct pj_gateway *gateway, struct pj_known *known)
{
    struct pj_reply *asked = NULL;
    struct pj_error error;
    const struct handling handling = {.gateway = gateway, .known = known};
    enum pj_call_end end = ask(&handling, &asked, &error);
    if (end == PJ_CALL_ANSWERED && asked->status == 200)
        accept(&handling, asked);
    pj_reply_release(asked);
    pj_keys_finish(gateway->keys, known, NULL);
    return end == PJ_CALL_ANSWERED;
}

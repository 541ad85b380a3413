/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST and DELETE /v1/sessions: the service first, because only its answer says what happened; the
 * client is answered once that is published.
 *
 * A closed session cannot be asked about again. So the intent to close it is recorded before the
 * service hears of it (in the keys' topic, until SessionClosed is published): after a crash the
 * next gateway finds it there, and if the session is gone, publishes its end.
 *
 * The service chooses the id of an opened session (an id in the body is repeated in its answer, but
 * the session is kept under another), and has no list: until it answers, nobody can ask about the
 * session or use it. So the intent to open one is recorded too, until SessionOpened is published:
 * after a crash the next gateway reports that a session without an owner may exist. And a client
 * gets an id only once its SessionOpened is published; if it cannot be, the session is closed
 * again.
 */
#include "control-gateway/gateway.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"

#include <ctype.h>
#include <jansson.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <uuid.h>

#define CLOSING "closing:"
#define OPENING "opening:"

enum { PREFIX_MOST = sizeof OPENING };

/* Trees of ids: sessions being closed, and openings that the previous gateway began. */
struct pj_sessions {
    pthread_mutex_t mutex;
    void *closing;
    void *opening;
    bool is_started; /* from now on openings are ours */
};

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

struct pj_sessions *pj_sessions_new(void)
{
    struct pj_sessions *sessions = pj_alloc(sizeof *sessions);
    pthread_mutex_init(&sessions->mutex, NULL);
    return sessions;
}

void pj_sessions_free(struct pj_sessions *sessions)
{
    if (sessions == NULL)
        return;
    tdestroy(sessions->closing, free);
    tdestroy(sessions->opening, free);
    pthread_mutex_destroy(&sessions->mutex);
    free(sessions);
}

/* Whether it was already there. */
static bool set_member(struct pj_sessions *sessions, void **tree, const char *id, bool is_member)
{
    pthread_mutex_lock(&sessions->mutex);
    char *const *found = tfind(id, tree, compare);
    bool was = found != NULL;
    if (is_member && !was) {
        pj_must(tsearch(pj_strdup(id), tree, compare));
    } else if (!is_member && was) {
        char *old = *found;
        tdelete(id, tree, compare);
        free(old);
    }
    pthread_mutex_unlock(&sessions->mutex);
    return was;
}

static bool set_closing(struct pj_sessions *sessions, const char *id, bool is_closing)
{
    return set_member(sessions, &sessions->closing, id, is_closing);
}

/* The id after a prefix; false: the key of another kind. */
static bool id_of(struct pj_bytes key, const char *prefix, char id[PJ_UUID_TEXT])
{
    size_t length = strlen(prefix);
    if (key.length != length + PJ_UUID_TEXT - 1 || memcmp(key.data, prefix, length) != 0)
        return false;
    memcpy(id, (const char *)key.data + length, PJ_UUID_TEXT - 1);
    id[PJ_UUID_TEXT - 1] = '\0';
    return true;
}

int pj_sessions_record(void *context, struct pj_bytes key, struct pj_bytes value,
                       struct pj_error *error)
{
    struct pj_sessions *sessions = context;
    char id[PJ_UUID_TEXT];
    (void)error;
    if (id_of(key, CLOSING, id))
        set_closing(sessions, id, value.data != NULL);
    else if (!sessions->is_started && id_of(key, OPENING, id))
        set_member(sessions, &sessions->opening, id, value.data != NULL);
    return 0;
}

/* The intent, or (value NULL) that it is done. */
static void add_intent(struct pj_publication *publication, const char *prefix, const char *id,
                       const char *value)
{
    char key[PREFIX_MOST + PJ_UUID_TEXT];
    pj_text_whole(key, sizeof key, "%s%s", prefix, id);
    pj_publication_add(publication, PJ_TO_KEYS, pj_text_bytes(key), pj_text_bytes(value));
}

/* 0 when it is recorded. */
static int keep_intent(struct pj_gateway *gateway, const char *prefix, const char *id,
                       struct pj_error *error)
{
    struct pj_publication *publication = pj_publication_new();
    add_intent(publication, prefix, id, "{}");
    int status = pj_gateway_publish(gateway, publication, error);
    if (status == 1)
        pj_publisher_cancel(gateway->publisher, publication);
    pj_publication_release(publication);
    return status;
}

/* Nobody waits for that. */
static int drop_intent(struct pj_gateway *gateway, const char *prefix, const char *id)
{
    struct pj_error error;
    struct pj_publication *publication = pj_publication_new();
    add_intent(publication, prefix, id, NULL);
    int status = pj_publisher_submit(gateway->publisher, publication, &error);
    pj_publication_release(publication);
    return status;
}

/* `what` happened to the session. */
static int add_event(struct pj_gateway *gateway, struct pj_publication *publication,
                     const char *what, const char *id, int64_t emitted_at, json_t *body,
                     struct pj_error *error)
{
    char event_id[PJ_UUID_TEXT];
    pj_gateway_event_id(what, id, event_id);
    json_t *event = pj_must(json_pack("{s:s, s:s, s:I, s:o}", "event_id", event_id, "session_id",
                                      id, "emitted_at", (json_int_t)emitted_at, "body", body));
    return pj_gateway_add_event(gateway, publication, PJ_TO_SESSIONS, id, event, error);
}

static struct pj_reply *not_done(const struct pj_error *error)
{
    char text[sizeof error->message + 64];
    pj_text_show(text, sizeof text, "%s; nothing was done", error->message);
    return pj_gateway_error(503, text, NULL);
}

static struct pj_reply *pass(struct pj_gateway *gateway, const struct pj_call *call)
{
    struct pj_reply *reply = NULL;
    struct pj_error error;
    if (pj_upstream_call(gateway->upstream, call, &reply, &error) == PJ_CALL_ANSWERED)
        return reply;
    return pj_gateway_error(503, error.message, NULL);
}

/* Its end, and that the intent to close it is done. */
static struct pj_publication *make_closed(struct pj_gateway *gateway, const char *id,
                                          struct pj_error *error)
{
    struct pj_publication *publication = pj_publication_new();
    int status = add_event(gateway, publication, "closed", id, pj_clock_wall_us(),
                           pj_must(json_pack("{s:{}}", "SessionClosed")), error);
    add_intent(publication, CLOSING, id, NULL);
    if (status == 0)
        return publication;
    pj_publication_release(publication);
    return NULL;
}

/* --- opening --------------------------------------------------------------------------------- */

/* A session that nobody knows may exist. */
static void log_unknown(struct pj_gateway *gateway, const char *why)
{
    pj_metric_add(gateway->unknown_sessions, 1);
    pj_log(PJ_WARN,
           "a session may be open that no record names: the service was asked to open it, and its "
           "answer with the id was lost",
           pj_f_str("reason", why));
}

/* It is open, and cannot be published now: the client does not get it. */
static struct pj_reply *close_again(struct pj_gateway *gateway, struct pj_reply *reply,
                                    const char *session_id, const struct pj_fields *fields,
                                    const struct pj_error *reason)
{
    char path[64], text[sizeof reason->message + 128];
    struct pj_error error;
    pj_text_whole(path, sizeof path, "/v1/sessions/%s", session_id);
    const struct pj_call call = {
        .method = "DELETE", .path = path, .fields = fields, .is_question = true};
    struct pj_reply *closed = pass(gateway, &call);
    bool is_closed = closed->status < 300 || closed->status == 404;
    pj_reply_release(closed);
    struct pj_publication *publication =
        is_closed ? make_closed(gateway, session_id, &error) : NULL;
    if (publication != NULL && pj_publisher_submit(gateway->publisher, publication, &error) != 0)
        pj_log(PJ_WARN, "the end of a session is not published", pj_f_str("session_id", session_id),
               pj_f_str("reason", error.message));
    pj_publication_release(publication);
    pj_text_show(text, sizeof text, "%s; the session %s; retry the request for another one",
                 reason->message, is_closed ? "was closed again" : "is open, and unused");
    pj_reply_release(reply);
    return pj_gateway_error(503, text, NULL);
}

/* What the service has opened; *reply is its answer. */
static struct pj_reply *publish_opened(struct pj_gateway *gateway, struct pj_reply *reply,
                                       const char *intent, const struct pj_fields *fields)
{
    struct pj_session_answer answer;
    struct pj_error error;
    struct pj_publication *publication = pj_publication_new();
    int status =
        pj_session_answer_parse((struct pj_bytes){reply->body, reply->length}, &answer, &error);
    if (status == 0) {
        status = add_event(gateway, publication, "opened", answer.session_id,
                           answer.created_at != PJ_NO_TIME ? answer.created_at : pj_clock_wall_us(),
                           json_pack("{s:o}", "SessionOpened", answer.opened), &error);
    }
    if (status != 0) {
        /* The session exists, whatever we make of the answer. */
        pj_metric_add(gateway->unpublished, 1);
        pj_log(PJ_ERROR, "an opened session cannot be published",
               pj_f_str("reason", error.message));
        drop_intent(gateway, OPENING, intent);
    } else {
        add_intent(publication, OPENING, intent, NULL);
        status = pj_gateway_publish(gateway, publication, &error);
        if (status != 0)
            reply = close_again(gateway, reply, answer.session_id, fields, &error);
        if (status < 0)
            drop_intent(gateway, OPENING, intent); /* it is not published with the other record */
    }
    pj_publication_release(publication);
    return reply;
}

struct pj_reply *pj_gateway_open_session(struct pj_gateway *gateway,
                                         const struct pj_request *request)
{
    struct pj_error error;
    struct pj_reply *reply = NULL;
    char intent[PJ_UUID_TEXT];
    uuid_t id;
    if (pj_session_request_check(request->body, &error) != 0)
        return pj_gateway_error(400, error.message, NULL);
    if (pj_publisher_is_away(gateway->publisher, &error))
        return not_done(&error);
    uuid_generate_random(id);
    uuid_unparse_lower(id, intent);
    if (keep_intent(gateway, OPENING, intent, &error) != 0) {
        drop_intent(gateway, OPENING, intent);
        return not_done(&error);
    }
    const struct pj_call call = {
        .method = "POST",
        .path = request->uri,
        .fields = request->fields,
        .body = request->body.data != NULL ? request->body : (struct pj_bytes){"", 0},
    };
    enum pj_call_end end = pj_upstream_call(gateway->upstream, &call, &reply, &error);
    if (end == PJ_CALL_ANSWERED && reply->status >= 200 && reply->status < 300)
        return publish_opened(gateway, reply, intent, request->fields);
    if (end == PJ_CALL_UNKNOWN)
        log_unknown(gateway, error.message);
    drop_intent(gateway, OPENING, intent);
    return end == PJ_CALL_ANSWERED ? reply : pj_gateway_error(503, error.message, NULL);
}

/* --- closing --------------------------------------------------------------------------------- */

/* Publishes the end, and that the intent is done. */
static int publish_closed(struct pj_gateway *gateway, const char *id, struct pj_error *error)
{
    struct pj_publication *publication = make_closed(gateway, id, error);
    if (publication == NULL)
        return -1;
    int status = pj_gateway_publish(gateway, publication, error);
    pj_publication_release(publication);
    if (status == 0)
        set_closing(gateway->sessions, id, false);
    return status;
}

/* This request did not close it: nothing to record. */
static void drop_closing(struct pj_gateway *gateway, const char *id)
{
    if (drop_intent(gateway, CLOSING, id) == 0)
        set_closing(gateway->sessions, id, false);
}

static struct pj_reply *late(struct pj_reply *reply, const char *session_id,
                             const struct pj_error *reason)
{
    json_t *json = json_pack("{s:o, s:s}", "error",
                             json_sprintf("the session is closed, but that is not published "
                                          "yet, which happens when Kafka takes it: %s",
                                          reason->message),
                             "session_id", session_id);
    pj_reply_release(reply);
    return pj_reply_json(503, json);
}

struct pj_reply *pj_gateway_close_session(struct pj_gateway *gateway,
                                          const struct pj_request *request, const char *id)
{
    char session[PJ_UUID_TEXT] = "";
    struct pj_reply *reply = NULL;
    struct pj_error error;
    const struct pj_call call = {.method = "DELETE",
                                 .path = request->uri,
                                 .fields = request->fields,
                                 .body = request->body.length > 0 ? request->body
                                                                  : (struct pj_bytes){0}};
    if (!pj_is_uuid(pj_text_bytes(id)))
        return pass(gateway, &call); /* no session of this id was ever published */
    for (size_t i = 0; i < sizeof session; i++)
        session[i] = (char)tolower((unsigned char)id[i]);
    if (keep_intent(gateway, CLOSING, session, &error) != 0)
        return not_done(&error);
    bool was_closing = set_closing(gateway->sessions, session, true);
    enum pj_call_end end = pj_upstream_call(gateway->upstream, &call, &reply, &error);
    if (end != PJ_CALL_ANSWERED) {
        if (end == PJ_CALL_NOT_SENT && !was_closing)
            drop_closing(gateway, session);
        return pj_gateway_error(503, error.message, NULL);
    }
    bool is_closed = reply->status >= 200 && reply->status < 300;
    if (is_closed || (reply->status == 404 && was_closing)) {
        if (publish_closed(gateway, session, &error) != 0)
            return late(reply, session, &error);
    } else if (reply->status < 500 && !was_closing) {
        drop_closing(gateway, session);
    }
    return reply;
}

/* --- at start -------------------------------------------------------------------------------- */

static void take_first(const void *node, VISIT order, void *context)
{
    const char **found = context;
    const char *id = *(char *const *)node;
    if ((order == postorder || order == leaf) && (*found == NULL || strcmp(id, *found) < 0))
        *found = id;
}

static bool is_gone(const struct pj_reply *reply)
{
    if (reply->status == 404)
        return true;
    json_t *json = pj_reply_load(reply);
    const char *status = json_string_value(json_object_get(json, "status"));
    bool gone = status != NULL && strcmp(status, "closed") == 0;
    json_decref(json);
    return gone;
}

/* Nothing can be found out about openings. */
void pj_gateway_resolve_openings(struct pj_gateway *gateway)
{
    struct pj_sessions *sessions = gateway->sessions;
    for (;;) {
        const char *found = NULL;
        char id[PJ_UUID_TEXT];
        twalk_r(sessions->opening, take_first, &found);
        if (found == NULL || pj_publisher_is_away(gateway->publisher, NULL))
            break;
        pj_text_whole(id, sizeof id, "%s", found);
        log_unknown(gateway, "the previous gateway ended before the service had answered");
        drop_intent(gateway, OPENING, id);
        set_member(sessions, &sessions->opening, id, false);
    }
    sessions->is_started = true;
}

struct listing {
    char (*ids)[PJ_UUID_TEXT];
    size_t count, most;
};

static void take_id(const void *node, VISIT order, void *context)
{
    struct listing *listing = context;
    if ((order == postorder || order == leaf) && listing->count < listing->most)
        pj_text_whole(listing->ids[listing->count++], PJ_UUID_TEXT, "%s", *(char *const *)node);
}

size_t pj_gateway_list_closing(struct pj_gateway *gateway, char (*ids)[PJ_UUID_TEXT], size_t most)
{
    struct listing listing = {.ids = ids, .most = most};
    pthread_mutex_lock(&gateway->sessions->mutex);
    twalk_r(gateway->sessions->closing, take_id, &listing);
    pthread_mutex_unlock(&gateway->sessions->mutex);
    return listing.count;
}

bool pj_gateway_resolve_closing(struct pj_gateway *gateway, const char *id, bool serves)
{
    char path[64];
    struct pj_reply *reply = NULL;
    struct pj_error error;
    pj_text_whole(path, sizeof path, "/v1/sessions/%s", id);
    const struct pj_call call = {.method = "GET", .path = path};
    if (pj_upstream_call(gateway->upstream, &call, &reply, &error) != PJ_CALL_ANSWERED)
        return false; /* a client that wants it closed asks again */
    bool gone = is_gone(reply);
    bool is_known = reply->status == 200 || gone;
    pj_reply_release(reply);
    if (is_known && !gone && !serves)
        drop_closing(gateway, id);
    return is_known && (!gone || publish_closed(gateway, id, &error) == 0);
}

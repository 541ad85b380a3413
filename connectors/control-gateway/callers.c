/* SPDX-License-Identifier: Apache-2.0 */
#include "control-gateway/callers.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "control-gateway/gateway.h"
#include "projectionist/value.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uuid.h>

/* No command or session has this id: a caller who is let in gets 404. */
#define NOTHING "/v1/commands/00000000-0000-0000-0000-000000000000"

enum { KNOWN_MOST = 1024, KNOWN_FOR_MS = 60000, TEXT_MOST = 1024 };

struct known {
    char name[PJ_UUID_TEXT];
    int64_t asked_ms;
    bool is_there, is_let_in;
};

struct pj_callers {
    pthread_mutex_t mutex;
    struct known known[KNOWN_MOST];
};

struct pj_callers *pj_callers_new(void)
{
    struct pj_callers *callers = pj_alloc(sizeof *callers);
    pthread_mutex_init(&callers->mutex, NULL);
    return callers;
}

void pj_callers_free(struct pj_callers *callers)
{
    if (callers == NULL)
        return;
    pthread_mutex_destroy(&callers->mutex);
    free(callers);
}

/* The scheme's case does not matter, nor do the blanks after it. */
void pj_caller_name(const struct pj_fields *fields, bool is_service_checking,
                    char name[PJ_UUID_TEXT])
{
    static const char prefix[] = "control-gateway caller ";
    const char *shown = pj_fields_get(fields, "Authorization");
    uint8_t uuid[16];
    name[0] = '\0';
    if (!is_service_checking || shown == NULL)
        return;
    size_t scheme = strcspn(shown, " \t");
    const char *token = shown + scheme + strspn(shown + scheme, " \t");
    char *text = pj_text_new("%s%.*s %s", prefix, (int)scheme, shown, token);
    size_t length = strlen(text);
    for (size_t i = 0; i < scheme; i++)
        text[sizeof prefix - 1 + i] = (char)tolower((unsigned char)shown[i]);
    pj_uuid_of_name(text, length, uuid);
    uuid_unparse_lower(uuid, name);
    explicit_bzero(text, length);
    free(text);
}

/* Under the mutex: its slot, or the one that was used longest ago. */
static struct known *place_of(struct pj_callers *callers, const char *name)
{
    struct known *oldest = &callers->known[0];
    for (size_t i = 0; i < KNOWN_MOST; i++) {
        struct known *known = &callers->known[i];
        if (known->is_there && strcmp(known->name, name) == 0)
            return known;
        if (oldest->is_there && (!known->is_there || known->asked_ms < oldest->asked_ms))
            oldest = known;
    }
    return oldest;
}

static struct known recall(struct pj_callers *callers, const char *name)
{
    struct known known = {0};
    pthread_mutex_lock(&callers->mutex);
    const struct known *place = place_of(callers, name);
    if (place->is_there && strcmp(place->name, name) == 0)
        known = *place;
    pthread_mutex_unlock(&callers->mutex);
    return known;
}

static void remember(struct pj_callers *callers, const char *name, bool is_let_in)
{
    pthread_mutex_lock(&callers->mutex);
    struct known *place = place_of(callers, name);
    memcpy(place->name, name, sizeof place->name);
    place->is_there = true;
    place->is_let_in = is_let_in;
    place->asked_ms = pj_clock_monotonic_ms();
    pthread_mutex_unlock(&callers->mutex);
}

struct pj_reply *pj_callers_check(struct pj_callers *callers, struct pj_upstream *upstream,
                                  const struct pj_fields *fields, const char *name)
{
    struct known known = recall(callers, name);
    if (known.is_let_in && pj_clock_monotonic_ms() - known.asked_ms < KNOWN_FOR_MS)
        return NULL;
    const struct pj_call call = {
        .method = "GET", .path = NOTHING, .fields = fields, .is_question = true};
    struct pj_reply *reply = NULL;
    struct pj_error error = {.class = PJ_RETRY};
    char text[sizeof error.message + TEXT_MOST];
    bool is_benefit_of_doubt = known.is_let_in || (!known.is_there && name[0] == '\0');
    if (pj_upstream_call(upstream, &call, &reply, &error) != PJ_CALL_ANSWERED) {
        pj_text_show(text, sizeof text,
                     "%s, and cannot say whether it accepts this token; the command was neither "
                     "published nor executed",
                     error.message);
        return is_benefit_of_doubt ? NULL : pj_gateway_error(503, text, NULL);
    }
    if (reply->status == 401 || reply->status == 403 || reply->status == 407) {
        remember(callers, name, false);
        return reply;
    }
    if (reply->status >= 500 || reply->status == 429 || reply->status == 408) {
        if (!is_benefit_of_doubt)
            return reply;
    } else {
        remember(callers, name, true);
    }
    pj_reply_release(reply);
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "event-ingest/admission.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "event-ingest/fetch.h"
#include "event-ingest/file.h"
#include "event-ingest/jwt.h"
#include "event-ingest/tokens.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    BUCKETS = 1024,
    FILE_MOST = 8 << 20,
    KEYS_MOST = 1 << 20,
    SECRET_LEAST = 32,      /* bytes: as many as HS256's hash has */
    KEYS_EVERY_MS = 300000, /* keys at a URL, without a reason … */
    KEYS_SPARED_MS = 10000, /* … and with one */
};

/* What a caller may still send; below 0: it has to wait. */
struct bucket {
    char name[PJ_CALLER_NAME]; /* "": free */
    double events;
    int64_t at_us;
};

struct pj_callers {
    struct pj_caller_settings settings;
    pthread_rwlock_t lock; /* of the tokens and the keys */
    struct pj_tokens *tokens;
    struct pj_file tokens_file;
    struct pj_jwt_keys *keys;
    struct pj_file keys_file;
    pthread_mutex_t fetching; /* of the keys at a URL */
    int64_t fetched_ms;       /* when they were asked for last; 0: never */
    pthread_mutex_t mutex;    /* of the buckets */
    struct bucket buckets[BUCKETS];
};

/* --- files ----------------------------------------------------------------------------------- */

static int read_tokens(struct pj_callers *callers, struct pj_error *error)
{
    struct pj_error reason = {0};
    struct pj_tokens *tokens, *former;
    size_t length;
    char *text = pj_file_read(&callers->tokens_file, FILE_MOST, &length, &reason);
    int status = text != NULL ? pj_tokens_parse(&tokens, text, length, &reason) : -1;
    free(text);
    if (status != 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "the tokens' file %.200s cannot be used: %s",
                              callers->settings.tokens_file, reason.message);
    pthread_rwlock_wrlock(&callers->lock);
    former = callers->tokens;
    callers->tokens = tokens;
    pthread_rwlock_unlock(&callers->lock);
    pj_tokens_free(former);
    return 0;
}

static bool has_keys_at_url(const struct pj_callers *callers)
{
    const char *place = callers->settings.jwt_jwks;
    return place != NULL && strstr(place, "://") != NULL;
}

/* From their file or their URL. */
static int read_keys(struct pj_callers *callers, struct pj_error *error)
{
    struct pj_error reason = {0};
    struct pj_jwt_keys *keys, *former;
    const char *place = callers->settings.jwt_jwks;
    size_t length;
    char *text = has_keys_at_url(callers)
                     ? pj_fetch(place, callers->settings.jwt_ca_file, &length, &reason)
                     : pj_file_read(&callers->keys_file, KEYS_MOST, &length, &reason);
    int status = text != NULL ? pj_jwt_keys_parse(&keys, text, length, &reason) : -1;
    free(text);
    if (status != 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "the keys of --jwt-jwks %.200s cannot be used: "
                              "%s",
                              place, reason.message);
    pthread_rwlock_wrlock(&callers->lock);
    former = callers->keys;
    callers->keys = keys;
    pthread_rwlock_unlock(&callers->lock);
    pj_jwt_keys_free(former);
    return 0;
}

/* Asks for them again, unless that was done less than so long ago. */
static void fetch_keys(struct pj_callers *callers, int64_t spared_ms)
{
    struct pj_error error;
    pthread_mutex_lock(&callers->fetching);
    if (callers->fetched_ms == 0 || pj_clock_monotonic_ms() - callers->fetched_ms >= spared_ms) {
        if (read_keys(callers, &error) != 0)
            pj_log(PJ_WARN, "the keys of JWTs stay as they were", pj_f_str("error", error.message));
        callers->fetched_ms = pj_clock_monotonic_ms();
    }
    pthread_mutex_unlock(&callers->fetching);
}

static int check_settings(const struct pj_caller_settings *settings, struct pj_error *error)
{
    const char *jwks = settings->jwt_jwks;
    bool has_jwt = settings->jwt_secret != NULL || jwks != NULL;
    if (settings->tokens_file == NULL && !has_jwt)
        return pj_error_fatal(
            error, PJ_EXIT_USAGE,
            "no request could be authorized: give --ingest-tokens-file, --jwt-jwks or "
            "PROJECTIONIST_JWT_SECRET_FILE");
    if (has_jwt && settings->jwt_topics == NULL)
        return pj_error_fatal(
            error, PJ_EXIT_USAGE,
            "no JWT could be accepted: give --jwt-topics, what they may write to");
    if (settings->jwt_secret != NULL && strlen(settings->jwt_secret) < SECRET_LEAST)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "PROJECTIONIST_JWT_SECRET has less than %d bytes, which HS256 needs",
                              SECRET_LEAST);
    if (jwks != NULL && strstr(jwks, "://") != NULL && !pj_fetch_allows(jwks))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--jwt-jwks is neither a file nor an https URL without a user");
    return 0;
}

int pj_callers_open(struct pj_callers **out, const struct pj_caller_settings *settings,
                    struct pj_error *error)
{
    if (check_settings(settings, error) != 0)
        return -1;
    struct pj_callers *callers = pj_alloc(sizeof *callers);
    callers->settings = *settings;
    callers->tokens_file.path = settings->tokens_file;
    callers->keys_file.path = settings->jwt_jwks;
    pthread_rwlock_init(&callers->lock, NULL);
    pthread_mutex_init(&callers->fetching, NULL);
    pthread_mutex_init(&callers->mutex, NULL);
    bool has_keys_file = settings->jwt_jwks != NULL && !has_keys_at_url(callers);
    if ((settings->tokens_file != NULL && read_tokens(callers, error) != 0) ||
        (has_keys_file && read_keys(callers, error) != 0)) {
        pj_callers_close(callers);
        return -1;
    }
    *out = callers;
    return 0;
}

void pj_callers_close(struct pj_callers *callers)
{
    if (callers == NULL)
        return;
    pj_tokens_free(callers->tokens);
    pj_jwt_keys_free(callers->keys);
    pthread_mutex_destroy(&callers->fetching);
    pthread_mutex_destroy(&callers->mutex);
    pthread_rwlock_destroy(&callers->lock);
    free(callers);
}

static void refresh_keys(struct pj_callers *callers)
{
    struct pj_error error;
    if (callers->settings.jwt_jwks == NULL)
        return;
    if (has_keys_at_url(callers))
        fetch_keys(callers, KEYS_EVERY_MS);
    else if (!pj_file_has_changed(&callers->keys_file))
        return;
    else if (read_keys(callers, &error) != 0)
        pj_log(PJ_ERROR, "the keys of JWTs stay as they were", pj_f_str("error", error.message));
    else
        pj_log(PJ_INFO, "the keys of JWTs were read again");
}

void pj_callers_refresh(struct pj_callers *callers)
{
    struct pj_error error;
    refresh_keys(callers);
    if (callers->settings.tokens_file == NULL || !pj_file_has_changed(&callers->tokens_file))
        return;
    if (read_tokens(callers, &error) != 0)
        pj_log(PJ_ERROR, "the tokens stay as they were", pj_f_str("error", error.message));
    else
        pj_log(PJ_INFO, "the tokens' file was read again",
               pj_f_int("tokens", (int64_t)callers->tokens->count));
}

/* --- who it is ------------------------------------------------------------------------------- */

bool pj_topic_is_of(const char *list, const char *topic)
{
    static const char separators[] = " ,";
    for (size_t length; *(list += strspn(list, separators)) != '\0'; list += length) {
        length = strcspn(list, separators);
        bool is_all = length >= 2 && strncmp(list + length - 2, ".*", 2) == 0;
        if (is_all ? strncmp(topic, list, length - 1) == 0
                   : strlen(topic) == length && strncmp(topic, list, length) == 0)
            return true;
    }
    return false;
}

static enum pj_admission find_token(struct pj_callers *callers, const char *shown,
                                    const char *topic, struct pj_caller *caller,
                                    struct pj_error *error)
{
    enum pj_admission admission = PJ_LET_IN;
    pthread_rwlock_rdlock(&callers->lock);
    const struct pj_token *token =
        callers->tokens != NULL ? pj_tokens_find(callers->tokens, shown) : NULL;
    if (token == NULL || token->is_revoked) {
        (void)pj_error_set(error, PJ_FATAL,
                           token != NULL ? "the token was revoked" : "the token is not known");
        admission = PJ_UNKNOWN_CALLER;
    } else if (!pj_topic_is_of(token->topics, topic)) {
        (void)pj_error_set(error, PJ_FATAL, "the token is not for the topic %.200s", topic);
        admission = PJ_FOREIGN_TOPIC;
    } else {
        *caller = token->caller;
    }
    pthread_rwlock_unlock(&callers->lock);
    return admission;
}

/* A claim, or one in another ("app_metadata.tenant_id"). */
static const char *claim_of(const json_t *claims, const char *path)
{
    for (const char *dot; (dot = strchr(path, '.')) != NULL; path = dot + 1)
        claims = json_object_getn(claims, path, (size_t)(dot - path));
    return json_string_value(json_object_get(claims, path));
}

/* NULL, or what is missing. */
static const char *read_claims(const struct pj_caller_settings *settings, const json_t *claims,
                               struct pj_caller *caller)
{
    const char *user = json_string_value(json_object_get(claims, "sub"));
    const char *role = json_string_value(json_object_get(claims, "role"));
    const char *tenant =
        settings->jwt_tenant_claim != NULL ? claim_of(claims, settings->jwt_tenant_claim) : NULL;
    *caller = (struct pj_caller){.rate = settings->jwt_rate};
    if (role != NULL && settings->jwt_service_role != NULL &&
        strcmp(role, settings->jwt_service_role) == 0) {
        pj_text_whole(caller->name, sizeof caller->name, "jwt: the service");
        return NULL;
    }
    if (user == NULL || *user == '\0' || !pj_text_fits(caller->user, PJ_OWNER, "%s", user) ||
        !pj_text_fits(caller->name, sizeof caller->name, "jwt:%s", user))
        return "the JWT names no user of at most 150 bytes (sub)";
    if (settings->jwt_tenant_claim != NULL &&
        (tenant == NULL || *tenant == '\0' ||
         !pj_text_fits(caller->tenant, PJ_OWNER, "%s", tenant)))
        return "the JWT names no tenant (--jwt-tenant-claim)";
    return NULL;
}

static enum pj_jwt_end verify(struct pj_callers *callers, const char *shown, json_t **claims,
                              struct pj_error *error)
{
    const struct pj_caller_settings *settings = &callers->settings;
    char *fresh = settings->jwt_secret != NULL ? pj_config_fresh(NULL, settings->jwt_secret) : NULL;
    bool is_good = fresh != NULL && strlen(fresh) >= SECRET_LEAST;
    pthread_rwlock_rdlock(&callers->lock);
    const struct pj_jwt_rules rules = {
        .secret = is_good ? fresh : settings->jwt_secret,
        .keys = callers->keys,
        .issuer = settings->jwt_issuer,
        .audience = settings->jwt_audience,
        .now_s = pj_clock_wall_us() / 1000000,
    };
    enum pj_jwt_end end = pj_jwt_verify(shown, &rules, claims, error);
    bool has_no_keys = rules.keys == NULL && has_keys_at_url(callers);
    pthread_rwlock_unlock(&callers->lock);
    free(fresh);
    return end == PJ_JWT_BAD && has_no_keys ? PJ_JWT_UNKNOWN_KEY : end;
}

static enum pj_admission find_jwt(struct pj_callers *callers, const char *shown, const char *topic,
                                  bool may_block, struct pj_caller *caller, struct pj_error *error)
{
    json_t *claims;
    enum pj_jwt_end end = verify(callers, shown, &claims, error);
    bool is_at_url = has_keys_at_url(callers);
    if (end == PJ_JWT_UNKNOWN_KEY && is_at_url && !may_block)
        return PJ_ASK_AGAIN;
    if (end == PJ_JWT_UNKNOWN_KEY && is_at_url) {
        fetch_keys(callers, KEYS_SPARED_MS);
        end = verify(callers, shown, &claims, error);
    }
    if (end != PJ_JWT_GOOD)
        return PJ_UNKNOWN_CALLER;
    const char *missing = read_claims(&callers->settings, claims, caller);
    json_decref(claims);
    if (missing != NULL) {
        (void)pj_error_set(error, PJ_FATAL, "%s", missing);
        return PJ_UNKNOWN_CALLER;
    }
    if (pj_topic_is_of(callers->settings.jwt_topics, topic))
        return PJ_LET_IN;
    (void)pj_error_set(error, PJ_FATAL, "JWTs are not for the topic %.200s", topic);
    return PJ_FOREIGN_TOPIC;
}

enum pj_admission pj_callers_find(struct pj_callers *callers, const char *authorization,
                                  const char *topic, bool may_block, struct pj_caller *caller,
                                  struct pj_error *error)
{
    static const char scheme[] = "Bearer";
    if (authorization == NULL || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0 ||
        strspn(authorization + sizeof scheme - 1, " ") == 0) {
        (void)pj_error_set(error, PJ_FATAL, "a Bearer token is required");
        return PJ_UNKNOWN_CALLER;
    }
    const char *shown = authorization + sizeof scheme - 1;
    shown += strspn(shown, " ");
    bool has_jwt = callers->settings.jwt_secret != NULL || callers->settings.jwt_jwks != NULL;
    return has_jwt && pj_jwt_is_one(shown)
               ? find_jwt(callers, shown, topic, may_block, caller, error)
               : find_token(callers, shown, topic, caller, error);
}

/* --- rates ----------------------------------------------------------------------------------- */

/* The caller's, or else a free one, or that of who was here longest ago. */
static struct bucket *bucket_of(struct pj_callers *callers, const struct pj_caller *caller,
                                int64_t now_us)
{
    struct bucket *oldest = &callers->buckets[0];
    for (size_t i = 0; i < BUCKETS; i++) {
        struct bucket *bucket = &callers->buckets[i];
        if (strcmp(bucket->name, caller->name) == 0)
            return bucket;
        if (bucket->at_us < oldest->at_us)
            oldest = bucket;
    }
    *oldest = (struct bucket){.events = (double)caller->rate, .at_us = now_us};
    pj_text_whole(oldest->name, sizeof oldest->name, "%s", caller->name);
    return oldest;
}

/* A request is taken as long as anything is left, however large it is: what is beyond that has to
 * be waited for by the next one. */
int64_t pj_callers_spend(struct pj_callers *callers, const struct pj_caller *caller, size_t events)
{
    int64_t wait_s = 0, now_us = pj_clock_monotonic_us();
    double rate = (double)caller->rate;
    if (caller->rate == 0)
        return 0;
    pthread_mutex_lock(&callers->mutex);
    struct bucket *bucket = bucket_of(callers, caller, now_us);
    bucket->events += (double)(now_us - bucket->at_us) / 1e6 * rate;
    if (bucket->events > rate)
        bucket->events = rate;
    bucket->at_us = now_us;
    if (bucket->events > 0)
        bucket->events -= (double)events;
    else
        wait_s = (int64_t)(-bucket->events / rate) + 1;
    pthread_mutex_unlock(&callers->mutex);
    return wait_s;
}

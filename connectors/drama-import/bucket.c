/* SPDX-License-Identifier: Apache-2.0 */
/* A bucket by S3's REST API: ListObjectsV2 and GetObject, in path style. */
#include "base/clock.h"
#include "base/config.h"
#include "base/curl.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/time_text.h"
#include "drama-import/listing.h"
#include "drama-import/signature.h"
#include "drama-import/source.h"

#include <stdlib.h>
#include <string.h>

enum { CONNECT_MS = 10000, SLOW_S = 30, LISTING_MOST = 16 << 20 };

struct bucket {
    struct pj_import_source source;
    struct pj_import_source_settings settings;
    CURL *curl;
    char *name, *prefix;         /* "": none, else it ends in a slash */
    char *scheme, *host;         /* "https", HOST or HOST:PORT */
    struct pj_signature_key key; /* the settings': it may come from files */
    bool was_let_in;
    struct pj_listing *page;
    size_t at;
    size_t pages;
    char *mark; /* the first key of some page before */
};

/* What is asked for; the caller frees both. */
struct target {
    char *path, *query;
};

/* A response, bounded. */
struct body {
    struct pj_builder text;
    size_t most;
    bool is_too_large;
};

/* --- texts ----------------------------------------------------------------------------------- */

static struct target object_target(const struct bucket *bucket, const char *key)
{
    struct pj_builder path = {0};
    pj_builder_add(&path, "/%s/", bucket->name);
    pj_signature_encode(&path, bucket->prefix, true);
    pj_signature_encode(&path, key, true);
    return (struct target){pj_builder_take(&path), pj_text_new("%s", "")};
}

/* The query's members in the order of their names, as they are signed. */
static struct target listing_target(const struct bucket *bucket, const char *token)
{
    struct pj_builder query = {0};
    if (token != NULL) {
        pj_builder_add(&query, "continuation-token=");
        pj_signature_encode(&query, token, false);
        pj_builder_add(&query, "&");
    }
    pj_builder_add(&query, "encoding-type=url&list-type=2&max-keys=1000&prefix=");
    pj_signature_encode(&query, bucket->prefix, false);
    pj_signature_encode(&query, PJ_IMPORT_PREFIX, false);
    return (struct target){pj_text_new("/%s", bucket->name), pj_builder_take(&query)};
}

static void free_target(struct target target)
{
    free(target.path);
    free(target.query);
}

/* --- requests -------------------------------------------------------------------------------- */

static size_t receive(char *data, size_t size, size_t count, void *context)
{
    struct body *body = context;
    size_t length = size * count;
    if (length > body->most - body->text.length) {
        body->is_too_large = true;
        return 0; /* libcurl gives the transfer up */
    }
    pj_builder_add_bytes(&body->text, data, length);
    return length;
}

static int tell_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct bucket *bucket = context;
    (void)a, (void)b, (void)c, (void)d;
    return pj_turn(&bucket->settings.turns, NULL) ? 0 : 1;
}

static void add_header(struct curl_slist **headers, char *header)
{
    struct curl_slist *more = curl_slist_append(*headers, header);
    if (more == NULL)
        pj_memory_ended("the headers of requests");
    *headers = more;
    free(header);
}

/* The same host as is signed, and a time of its own for each try. */
static struct curl_slist *headers_of(const struct bucket *bucket, const struct target *target)
{
    struct curl_slist *headers = NULL;
    char *signing[PJ_SIGNATURE_HEADERS];
    add_header(&headers, pj_text_new("Host: %s", bucket->host));
    if (bucket->key.access_key == NULL)
        return headers;
    const struct pj_signature_request request = {bucket->host, target->path, target->query};
    const char *token = bucket->key.session_token;
    char *access = pj_config_token(bucket->key.access_key);
    char *secret = pj_config_fresh(NULL, bucket->key.secret_key);
    char *session = token != NULL ? pj_config_token(token) : NULL;
    const struct pj_signature_key key = {access, secret != NULL ? secret : bucket->key.secret_key,
                                         bucket->key.region, session};
    pj_signature_headers(signing, &key, &request, pj_clock_wall_ms() / 1000);
    free(access);
    free(secret);
    free(session);
    for (int i = 0; i < PJ_SIGNATURE_HEADERS; i++)
        if (signing[i] != NULL)
            add_header(&headers, signing[i]);
    return headers;
}

static void set_up(struct bucket *bucket, const char *url, struct curl_slist *headers,
                   struct body *body, char *reason)
{
    CURL *curl = bucket->curl;
    curl_easy_reset(curl);
    pj_curl_set_up(curl, url, bucket->settings.ca_file, CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)SLOW_S);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L); /* a key may hold /../, and it is signed */
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "projectionist");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, tell_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, bucket);
}

/* Who may not read this, may not read the next one either. An object that is archived is refused
 * for itself. */
static bool is_of_key(long status, const char *code)
{
    if (status == 400)
        return pj_text_begins(code, "ExpiredToken") || pj_text_begins(code, "InvalidToken") ||
               pj_text_begins(code, "TokenRefreshRequired");
    return status == 401 || (status == 403 && !pj_text_begins(code, "InvalidObjectState"));
}

/* Of an answer that is no success: PJ_RETRY where it may be another one later; 1: there is no such
 * object. */
static int refuse(const struct bucket *bucket, const struct body *body, long status,
                  struct pj_error *error)
{
    char code[200] = "", reason[300];
    pj_listing_error(body->text.text, body->text.length, code, sizeof code);
    if (status == 404 && !pj_text_begins(code, "NoSuchBucket"))
        return 1;
    pj_text_show(reason, sizeof reason, "the bucket answers HTTP %ld%s%s", status,
                 *code != '\0' ? ", " : "", code);
    if (!is_of_key(status, code))
        return pj_error_set(error, status == 429 || status >= 500 ? PJ_RETRY : PJ_POISON, "%s",
                            reason);
    /* A new key reaches the service and our files one after the other. */
    return pj_error_set(error, bucket->was_let_in ? PJ_RETRY : PJ_FATAL,
                        "%s: the key is not known, not valid any more, or lacks s3:ListBucket or "
                        "s3:GetObject",
                        reason);
}

static int try_once(struct bucket *bucket, const struct target *target, struct body *body,
                    struct pj_error *error)
{
    char reason[CURL_ERROR_SIZE] = "";
    long status = 0;
    char *url = pj_text_new("%s://%s%s%s%s", bucket->scheme, bucket->host, target->path,
                            *target->query != '\0' ? "?" : "", target->query);
    struct curl_slist *headers = headers_of(bucket, target);
    set_up(bucket, url, headers, body, reason);
    CURLcode code = curl_easy_perform(bucket->curl);
    curl_easy_getinfo(bucket->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    free(url);
    if (body->is_too_large)
        return pj_error_set(error, PJ_POISON, "it has more than %zu bytes", body->most);
    if (code != CURLE_OK)
        return pj_error_set(error, PJ_RETRY, "the bucket cannot be read: %.200s",
                            reason[0] != '\0' ? reason : curl_easy_strerror(code));
    bucket->was_let_in |= status == 200;
    return status == 200 ? 0 : refuse(bucket, body, status, error);
}

/* Again while the service is away, has too much to do, or does not let in who it let in before, for
 * as long as the time-out. */
static int get(struct bucket *bucket, const struct target *target, struct body *body,
               struct pj_error *error)
{
    int64_t since_ms = 0;
    for (int failures = 0;; failures++) {
        int status = try_once(bucket, target, body, error);
        if (status >= 0 || error->class != PJ_RETRY)
            return status;
        struct pj_error reason = *error;
        pj_builder_free(&body->text);
        if (pj_clock_since(&since_ms) >= bucket->settings.timeout_ms ||
            !pj_turns_back_off(&bucket->settings.turns, failures, &reason))
            return pj_error_fatal(error, PJ_EXIT_UNAVAILABLE, "%s", reason.message);
    }
}

/* --- the source ------------------------------------------------------------------------------ */

/* A listing never ends because the service has nothing to say, or begins again. The mark is the
 * first key of page 1, 2, 4, 8 and so on: so a ring of pages of any length is found. */
static int check_progress(struct bucket *bucket, const struct pj_listing *page,
                          struct pj_error *error)
{
    bool is_only = bucket->pages == 0 && page->next == NULL;
    if (page->count == 0)
        return is_only ? 0
                       : pj_error_set(error, PJ_FATAL,
                                      "a page has no objects though there should be more; run the "
                                      "same command again");
    const char *first = page->items[0].key;
    if (bucket->mark != NULL && strcmp(first, bucket->mark) == 0)
        return pj_error_set(error, PJ_FATAL, "it lists the same page again and again");
    bucket->pages++;
    if ((bucket->pages & (bucket->pages - 1)) == 0) {
        free(bucket->mark);
        bucket->mark = pj_strdup(first);
    }
    return 0;
}

static int read_page(struct bucket *bucket, const char *token, struct pj_error *error)
{
    struct body body = {.most = LISTING_MOST};
    struct pj_listing *page = NULL;
    struct target target = listing_target(bucket, token);
    int status = get(bucket, &target, &body, error);
    if (status == 1)
        status = pj_error_set(error, PJ_FATAL, "it answers HTTP 404");
    if (status == 0)
        status = pj_listing_parse(&page, body.text.text, body.text.length, error);
    if (status == 0)
        status = check_progress(bucket, page, error);
    free_target(target);
    pj_builder_free(&body.text);
    if (status != 0) {
        pj_listing_free(page);
        struct pj_error reason = *error;
        return pj_error_fatal(error, reason.exit_code, "the bucket %s cannot be listed: %s",
                              bucket->name, reason.message);
    }
    pj_listing_free(bucket->page);
    bucket->page = page;
    bucket->at = 0;
    return 0;
}

static int next(struct pj_import_source *source, struct pj_import_object *object,
                struct pj_error *error)
{
    struct bucket *bucket = (struct bucket *)source;
    while (bucket->page == NULL || bucket->at == bucket->page->count) {
        if (bucket->page != NULL && bucket->page->next == NULL)
            return 0;
        char *token = bucket->page != NULL ? pj_strdup(bucket->page->next) : NULL;
        int status = read_page(bucket, token, error);
        free(token);
        if (status != 0)
            return -1;
    }
    const struct pj_listed *listed = &bucket->page->items[bucket->at++];
    *object = (struct pj_import_object){
        .key = pj_text_begins(listed->key, bucket->prefix) ? listed->key + strlen(bucket->prefix)
                                                           : listed->key,
        .version = listed->etag,
        .size = listed->size,
    };
    /* A key that is no drama's may have any time. */
    if (pj_text_ends(object->key, PJ_IMPORT_NAME) &&
        !pj_time_read(listed->modified, &object->modified_us))
        return pj_error_set(error, PJ_POISON, "its LastModified, %.60s, is no time",
                            listed->modified);
    return 1;
}

static int read_object(struct pj_import_source *source, const char *key, size_t most, char **bytes,
                       size_t *length, struct pj_error *error)
{
    struct bucket *bucket = (struct bucket *)source;
    struct body body = {.most = most};
    struct target target = object_target(bucket, key);
    int status = get(bucket, &target, &body, error);
    free_target(target);
    *length = body.text.length;
    if (status == 0)
        *bytes = pj_builder_take(&body.text);
    else
        pj_builder_free(&body.text);
    return status;
}

static void close_bucket(struct pj_import_source *source)
{
    struct bucket *bucket = (struct bucket *)source;
    pj_listing_free(bucket->page);
    curl_easy_cleanup(bucket->curl);
    free(bucket->name);
    free(bucket->prefix);
    free(bucket->scheme);
    free(bucket->host);
    free(bucket->mark);
    free(bucket);
}

static const struct pj_import_source_kind bucket_kind = {next, read_object, close_bucket};

/* HOST or HOST:PORT of the endpoint. NULL: it is no http or https URL of a host alone. */
static char *host_of(const char *endpoint)
{
    const char *host = strstr(endpoint, "://");
    if (host == NULL ||
        (!pj_text_begins(endpoint, "http://") && !pj_text_begins(endpoint, "https://")))
        return NULL;
    host += strlen("://");
    size_t length = strcspn(host, "/?#@");
    return length > 0 && strspn(host + length, "/") == strlen(host + length)
               ? pj_strndup(host, length)
               : NULL;
}

static int set_place(struct bucket *bucket, struct pj_error *error)
{
    const struct pj_import_source_settings *settings = &bucket->settings;
    const char *name = settings->place + strlen("s3://");
    size_t length = strcspn(name, "/");
    const char *rest = name + length + (name[length] == '/');
    if (length == 0 || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                    ".-_") < length)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "'%.200s' names no bucket; give s3://BUCKET",
                              settings->place);
    if (settings->endpoint == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--s3-endpoint is missing: the URL of the service, such as "
                              "https://s3.eu-central-1.amazonaws.com");
    char *host = host_of(settings->endpoint);
    if (host == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--s3-endpoint is '%.200s', which is no http or https URL of a host",
                              settings->endpoint);
    bool is_closed = *rest == '\0' || rest[strlen(rest) - 1] == '/';
    bucket->name = pj_strndup(name, length);
    bucket->prefix = pj_text_new("%s%s", rest, is_closed ? "" : "/");
    bucket->scheme = pj_strndup(settings->endpoint, strcspn(settings->endpoint, ":"));
    bucket->host = host;
    return 0;
}

/* Else it would be cut by who reads the header, or be a header more. */
static bool is_word(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

static int set_credentials(struct bucket *bucket, struct pj_error *error)
{
    const struct pj_import_source_settings *settings = &bucket->settings;
    const char *token = settings->session_token;
    if (settings->access_key == NULL && settings->secret_key == NULL && token == NULL)
        return 0;
    if (settings->access_key == NULL || settings->secret_key == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "give PROJECTIONIST_S3_ACCESS_KEY and PROJECTIONIST_S3_SECRET_KEY "
                              "both, or files of them, or neither");
    const char *wrong = !is_word(settings->access_key)     ? "s3-access-key"
                        : !is_word(settings->region)       ? "s3-region"
                        : token != NULL && !is_word(token) ? "s3-session-token"
                                                           : NULL;
    if (wrong != NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "%s has a space or a character that is not ASCII, which no request "
                              "can be signed with",
                              wrong);
    bucket->key = (struct pj_signature_key){settings->access_key, settings->secret_key,
                                            settings->region, token};
    return 0;
}

int pj_import_bucket_open(struct pj_import_source **out,
                          const struct pj_import_source_settings *settings, struct pj_error *error)
{
    struct bucket *bucket = pj_alloc(sizeof *bucket);
    bucket->source.kind = &bucket_kind;
    bucket->settings = *settings;
    bucket->curl = pj_curl_new();
    if (set_place(bucket, error) != 0 || set_credentials(bucket, error) != 0) {
        close_bucket(&bucket->source);
        return -1;
    }
    *out = &bucket->source;
    return 0;
}

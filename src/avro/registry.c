/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/registry.h"

#include "avro/schema_references.h"
#include "base/clock.h"
#include "base/curl.h"
#include "base/memory.h"
#include "base/secret.h"
#include "base/text.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    TIMEOUT_MS = 5000,
    CONNECT_TIMEOUT_MS = 3000,
    ANSWER_MOST = 4 << 20,
    REDIRECTS_MOST = 3,
    REFERENCES_MOST = 64,
    UNKNOWN_SUBJECT = 40401,
    UNKNOWN_VERSION = 40402,
    UNKNOWN_SCHEMA = 40403,
    REASON_MOST = 300,
};

#define MEDIA_TYPE "application/vnd.schemaregistry.v1+json"

struct pj_registry {
    CURL *curl; /* one handle, so that its connection is used again */
    struct curl_slist *headers;
    char *url;                       /* without a slash at its end */
    const char *username, *password; /* the settings': they may come from files */
    char *ca_file;
    int64_t timeout_ms, admission_ms;
    int64_t refused_since; /* 0: it is not refused */
    bool tls, was_let_in;
    char curl_message[CURL_ERROR_SIZE];
};

/* What came back; `json` is NULL where the body is not JSON. */
struct answer {
    char *body;
    size_t length;
    bool too_large;
    long status;
    json_t *json;
};

/* --- opening --------------------------------------------------------------------------------- */

static int check_parts(CURLU *url, const char *text, bool *tls, struct pj_error *error)
{
    char shown[256];
    pj_url_shown(text, shown, sizeof shown);
    if (curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
        pj_url_has_port_0(url))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "the schema registry's URL is not understood; give "
                              "--schema-registry-url such as http://127.0.0.1:8081");
    if (pj_url_has(url, CURLUPART_USER) || pj_url_has(url, CURLUPART_PASSWORD))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "the schema registry's URL holds a user or a password; give "
                              "--schema-registry-username and the variable "
                              "PROJECTIONIST_SCHEMA_REGISTRY_PASSWORD instead");
    if (pj_url_has(url, CURLUPART_QUERY) || pj_url_has(url, CURLUPART_FRAGMENT))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "the schema registry's URL %s has a ? or a #; leave out what follows "
                              "the path",
                              shown);
    char *scheme = NULL;
    (void)curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
    pj_must(scheme);
    *tls = strcmp(scheme, "https") == 0;
    bool known = *tls || strcmp(scheme, "http") == 0;
    curl_free(scheme);
    if (!known || !pj_url_has(url, CURLUPART_HOST))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "the schema registry's URL %s is neither http:// nor https://",
                              shown);
    return 0;
}

static int check_url(const char *text, bool *tls, struct pj_error *error)
{
    CURLU *url = pj_must(curl_url());
    int status = check_parts(url, text, tls, error);
    curl_url_cleanup(url);
    return status;
}

int pj_registry_check(const struct pj_registry_settings *settings, struct pj_error *error)
{
    if (settings->url != NULL && *settings->url != '\0')
        return 0;
    return pj_error_fatal(error, PJ_EXIT_USAGE,
                          "no schema registry is configured: give --schema-registry-url or set "
                          "PROJECTIONIST_SCHEMA_REGISTRY_URL (for the local cluster: eval "
                          "\"$(deploy/local/cluster env)\")");
}

int pj_registry_open(struct pj_registry **out, const struct pj_registry_settings *settings,
                     struct pj_error *error)
{
    bool tls = false;
    if (pj_registry_check(settings, error) != 0 || check_url(settings->url, &tls, error) != 0)
        return -1;
    struct pj_registry *registry = pj_alloc(sizeof *registry);
    registry->tls = tls;
    registry->url = pj_strdup(settings->url);
    registry->username = settings->username;
    registry->password = settings->password;
    registry->ca_file = pj_strdup(settings->ca_file);
    registry->timeout_ms = settings->timeout_ms > 0 ? settings->timeout_ms : TIMEOUT_MS;
    registry->admission_ms = settings->admission_ms;
    for (size_t end = strlen(registry->url); end > 0 && registry->url[end - 1] == '/';)
        registry->url[--end] = '\0';
    registry->headers =
        pj_must(curl_slist_append(NULL, "Accept: " MEDIA_TYPE ", application/json"));
    pj_must(curl_slist_append(registry->headers, "Content-Type: " MEDIA_TYPE));
    registry->curl = pj_curl_new();
    *out = registry;
    return 0;
}

void pj_registry_close(struct pj_registry *registry)
{
    if (registry == NULL)
        return;
    curl_easy_cleanup(registry->curl);
    curl_slist_free_all(registry->headers);
    free(registry->url);
    free(registry->ca_file);
    free(registry);
}

/* --- a request ------------------------------------------------------------------------------- */

static size_t receive(char *data, size_t size, size_t count, void *context)
{
    struct answer *answer = context;
    size_t length = size * count;
    if (length > ANSWER_MOST - answer->length) {
        answer->too_large = true;
        return 0; /* libcurl gives the transfer up */
    }
    answer->body = pj_resize(answer->body, answer->length + length, 1);
    memcpy(answer->body + answer->length, data, length);
    answer->length += length;
    return length;
}

static void set_up(struct pj_registry *registry, const char *method, const char *url,
                   const char *body, struct answer *answer)
{
    CURL *curl = registry->curl;
    long timeout_ms = (long)registry->timeout_ms;
    /* A redirect must not carry the password out of TLS, nor into a file:// or the like. */
    const char *redirects = registry->tls ? "https" : "http,https";
    curl_easy_reset(curl); /* keeps the connection */
    registry->curl_message[0] = '\0';
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, registry->curl_message);
    pj_curl_set_up(curl, url, registry->ca_file,
                   timeout_ms < CONNECT_TIMEOUT_MS ? timeout_ms : (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, redirects);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_POSTREDIR, (long)CURL_REDIR_POST_ALL);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)REDIRECTS_MOST);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "projectionist");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, registry->headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    if (registry->username != NULL) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        char *user = pj_config_token(registry->username);
        curl_easy_setopt(curl, CURLOPT_USERNAME, user);
        char *fresh = registry->password != NULL ? pj_config_fresh(NULL, registry->password) : NULL;
        curl_easy_setopt(curl, CURLOPT_PASSWORD,
                         fresh != NULL                ? fresh
                         : registry->password != NULL ? registry->password
                                                      : "");
        free(fresh); /* copied */
        free(user);
    }
    if (body != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    }
}

/* A password that is wrong, or a certificate, may be right soon. */
static enum pj_error_class refusal(struct pj_registry *registry)
{
    int64_t most_ms = registry->admission_ms > 0 ? registry->admission_ms
                      : registry->was_let_in     ? PJ_REGISTRY_ADMISSION_MS
                                                 : 0;
    return pj_clock_since(&registry->refused_since) < most_ms ? PJ_RETRY : PJ_FATAL;
}

/* A server that is away comes back; a setting does not get better by itself. */
static int transfer_error(struct pj_registry *registry, const char *url, CURLcode code,
                          const struct answer *answer, struct pj_error *error)
{
    const char *reason =
        registry->curl_message[0] != '\0' ? registry->curl_message : curl_easy_strerror(code);
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return pj_error_set(error, refusal(registry),
                            "the schema registry's certificate at %.200s is not trusted: %.200s; "
                            "name its authority by --schema-registry-ca-file",
                            url, reason);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_TOO_MANY_REDIRECTS:
        return pj_error_set(error, PJ_FATAL,
                            "cannot reach the schema registry at %.200s: %.200s; check "
                            "--schema-registry-url",
                            url, reason);
    default:
        break;
    }
    if (answer->too_large)
        return pj_error_set(error, PJ_RETRY,
                            "%.200s answers more than %d MiB, which no schema has; check "
                            "--schema-registry-url",
                            url, ANSWER_MOST >> 20);
    return pj_error_set(error, PJ_RETRY,
                        "the schema registry does not answer at %.200s: %.200s; is it running, and "
                        "is --schema-registry-url right?",
                        url, reason);
}

/* The registry's own words; registries differ in how they call them. */
static const char *reason_of(const struct answer *answer)
{
    static const char *const names[] = {"message", "detail", "title", "error"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *text = json_string_value(json_object_get(answer->json, names[i]));
        if (text != NULL && *text != '\0')
            return text;
    }
    return "it gives no reason";
}

static bool is_unknown_schema(const struct answer *answer)
{
    return answer->status == 404 &&
           json_integer_value(json_object_get(answer->json, "error_code")) == UNKNOWN_SCHEMA;
}

static int refused(struct pj_registry *registry, const char *url, const char *reason, long status,
                   struct pj_error *error)
{
    const char *remedy = "check --schema-registry-username and the variable "
                         "PROJECTIONIST_SCHEMA_REGISTRY_PASSWORD";
    if (registry->username == NULL)
        return pj_error_set(
            error, PJ_FATAL,
            "the schema registry refuses a request without credentials at %.200s (HTTP "
            "%ld): %.200s; %s",
            url, status, reason, remedy);
    return pj_error_set(error, refusal(registry),
                        "the schema registry refuses the user '%.60s' at %.200s (HTTP %ld): "
                        "%.200s; %s",
                        registry->username, url, status, reason, remedy);
}

/* 0 for a 2xx with JSON in it, else the error and its class. */
static int judge(struct pj_registry *registry, const char *url, const struct answer *answer,
                 struct pj_error *error)
{
    const long status = answer->status;
    const char *reason = reason_of(answer);
    if (status == 401 || status == 403)
        return refused(registry, url, reason, status, error);
    if (status >= 500 || status == 408 || status == 425 || status == 429)
        return pj_error_set(error, PJ_RETRY,
                            "the schema registry fails at %.200s (HTTP %ld): %.*s; see its log",
                            url, status, REASON_MOST, reason);
    /* A proxy before a registry that starts says 404 too, in HTML. */
    if (answer->json == NULL)
        return pj_error_set(error, PJ_RETRY,
                            "%.200s does not answer as a schema registry (HTTP %ld, not JSON); "
                            "check --schema-registry-url and its path",
                            url, status);
    registry->was_let_in = true;
    registry->refused_since = 0;
    if (is_unknown_schema(answer))
        return pj_error_set(error, PJ_POISON, "the schema registry has no schema at %.200s: %.*s",
                            url, REASON_MOST, reason);
    if (status == 404)
        return pj_error_set(error, PJ_FATAL,
                            "nothing is found at %.200s: %.*s; check --schema-registry-url and its "
                            "path, which is that of the registry's Confluent API",
                            url, REASON_MOST, reason);
    if (status < 200 || status > 299)
        return pj_error_set(error, PJ_FATAL,
                            "the schema registry refuses %.200s (HTTP %ld): %.*s; fix what it "
                            "names",
                            url, status, REASON_MOST, reason);
    return 0;
}

/* Fills `answer`, also on failure; answer_free gives it back. */
static int request(struct pj_registry *registry, const char *method, const char *url,
                   const char *body, struct answer *answer, struct pj_error *error)
{
    memset(answer, 0, sizeof *answer);
    set_up(registry, method, url, body, answer);
    CURLcode code = curl_easy_perform(registry->curl);
    if (code != CURLE_OK)
        return transfer_error(registry, url, code, answer, error);
    curl_easy_getinfo(registry->curl, CURLINFO_RESPONSE_CODE, &answer->status);
    if (answer->length > 0)
        answer->json = json_loadb(answer->body, answer->length, 0, NULL);
    return judge(registry, url, answer, error);
}

static void answer_free(struct answer *answer)
{
    json_decref(answer->json);
    free(answer->body);
}

/* The URL of a path, whose %s is the subject with what must be escaped. malloc'ed. */
static char *url_of(struct pj_registry *registry, const char *before, const char *subject,
                    const char *after)
{
    char *escaped = pj_must(curl_easy_escape(registry->curl, subject, 0));
    char *url = pj_text_new("%s%s%s%s", registry->url, before, escaped, after);
    curl_free(escaped);
    return url;
}

/* Sends a JSON object, which it takes. */
static int send_object(struct pj_registry *registry, const char *method, const char *url,
                       json_t *object, struct answer *answer, struct pj_error *error)
{
    char *body = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    if (body == NULL) {
        memset(answer, 0, sizeof *answer);
        return pj_error_set(error, PJ_FATAL, "the request to %.200s is not UTF-8", url);
    }
    int status = request(registry, method, url, body, answer, error);
    free(body);
    return status;
}

/* --- the calls ------------------------------------------------------------------------------- */

struct gathering {
    struct pj_registry *registry;
    json_t *definitions; /* by name; null while their own references are asked for */
    size_t bytes;
    int32_t id; /* whose references they are */
};

static int refuse_type(int32_t id, const char *url, const struct answer *answer,
                       struct pj_error *error)
{
    const json_t *type = json_object_get(answer->json, "schemaType");
    if (type == NULL || json_is_null(type) ||
        (json_is_string(type) && strcasecmp(json_string_value(type), "AVRO") == 0))
        return 0;
    return pj_error_set(error, PJ_POISON, "schema id %d is %.40s, not Avro (%.200s)", id,
                        json_is_string(type) ? json_string_value(type) : "of an unknown type", url);
}

/* What is no JSON is a fault of the registry's, and of no record. */
static json_t *parse_schema(const char *url, const struct answer *answer, struct pj_error *error)
{
    const char *text = json_string_value(json_object_get(answer->json, "schema"));
    json_t *parsed = text != NULL ? json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
    if (parsed == NULL)
        (void)pj_error_set(error, PJ_RETRY,
                           "%.200s answers %s; see the registry's log, and check "
                           "--schema-registry-url and its path",
                           url,
                           text == NULL    ? "without a schema"
                           : *text == '\0' ? "with an empty schema"
                                           : "with a schema that is not JSON");
    return parsed;
}

static int gather(struct gathering *gathering, const json_t *references, struct pj_error *error);

static int gather_from(struct gathering *gathering, const char *url, const char *name,
                       const struct answer *answer, struct pj_error *error)
{
    if (refuse_type(gathering->id, url, answer, error) != 0)
        return -1;
    json_t *schema = parse_schema(url, answer, error);
    if (schema == NULL)
        return -1;
    gathering->bytes += answer->length;
    if (gathering->bytes > ANSWER_MOST ||
        json_object_size(gathering->definitions) >= REFERENCES_MOST) {
        json_decref(schema);
        return pj_error_set(error, PJ_POISON,
                            "schema id %d refers to more than %d schemas or %d MiB of them",
                            gathering->id, REFERENCES_MOST, ANSWER_MOST >> 20);
    }
    json_object_set_new(gathering->definitions, name, json_null());
    int status = gather(gathering, json_object_get(answer->json, "references"), error);
    json_object_set_new(gathering->definitions, name, schema);
    return status;
}

static int gather_one(struct gathering *gathering, const json_t *reference, struct pj_error *error)
{
    const char *name = json_string_value(json_object_get(reference, "name"));
    const char *subject = json_string_value(json_object_get(reference, "subject"));
    const json_t *version = json_object_get(reference, "version");
    struct answer answer;
    if (name == NULL || subject == NULL || !json_is_integer(version))
        return pj_error_set(error, PJ_RETRY,
                            "schema id %d refers to a schema without name, subject or version; see "
                            "the registry's log",
                            gathering->id);
    const json_t *known = json_object_get(gathering->definitions, name);
    if (json_is_null(known))
        return pj_error_set(error, PJ_POISON, "schema id %d refers to itself by way of %.200s",
                            gathering->id, name);
    if (known != NULL)
        return 0;
    char *after =
        pj_text_new("/versions/%lld?deleted=true", (long long)json_integer_value(version));
    char *url = url_of(gathering->registry, "/subjects/", subject, after);
    int status = request(gathering->registry, "GET", url, NULL, &answer, error);
    if (status == 0)
        status = gather_from(gathering, url, name, &answer, error);
    else if (answer.status == 404 && answer.json != NULL)
        (void)pj_error_set(error, PJ_POISON,
                           "schema id %d refers to %.200s, of which the schema registry has no "
                           "version %lld of the subject %.200s",
                           gathering->id, name, (long long)json_integer_value(version), subject);
    answer_free(&answer);
    free(url);
    free(after);
    return status;
}

static int gather(struct gathering *gathering, const json_t *references, struct pj_error *error)
{
    for (size_t i = 0; i < json_array_size(references); i++) {
        if (gather_one(gathering, json_array_get(references, i), error) != 0)
            return -1;
    }
    return 0;
}

/* One self-contained text, malloc'ed: whoever keeps it needs no registry. */
static int resolve(struct pj_registry *registry, int32_t id, const json_t *schema,
                   const json_t *references, char **text, struct pj_error *error)
{
    struct gathering gathering = {.registry = registry, .definitions = json_object(), .id = id};
    int status = gather(&gathering, references, error);
    json_t *resolved =
        status == 0 ? pj_schema_references_resolve(schema, gathering.definitions, error) : NULL;
    if (resolved != NULL)
        *text = pj_must(json_dumps(resolved, JSON_COMPACT | JSON_ENCODE_ANY));
    json_decref(gathering.definitions);
    json_decref(resolved);
    return resolved != NULL ? 0 : -1;
}

static int take_schema(struct pj_registry *registry, int32_t id, const char *url,
                       const struct answer *answer, char **schema, struct pj_error *error)
{
    const json_t *references = json_object_get(answer->json, "references");
    if (refuse_type(id, url, answer, error) != 0)
        return -1;
    json_t *parsed = parse_schema(url, answer, error);
    if (parsed == NULL)
        return -1;
    int status = 0;
    if (json_array_size(references) > 0)
        status = resolve(registry, id, parsed, references, schema, error);
    else
        *schema = pj_strdup(json_string_value(json_object_get(answer->json, "schema")));
    json_decref(parsed);
    return status;
}

int pj_registry_schema(struct pj_registry *registry, int32_t id, char **schema,
                       struct pj_error *error)
{
    struct answer answer;
    if (id < 0)
        return pj_error_set(error, PJ_POISON, "schema id %d is below 0: no registry gives such ids",
                            id);
    char *url = pj_text_new("%s/schemas/ids/%d", registry->url, id);
    int status = request(registry, "GET", url, NULL, &answer, error);
    if (status == 0)
        status = take_schema(registry, id, url, &answer, schema, error);
    answer_free(&answer);
    free(url);
    return status;
}

/* Of an answer; false: there is none that is an id. */
static bool take_id(const struct answer *answer, int32_t *id)
{
    const json_t *given = json_object_get(answer->json, "id");
    json_int_t number = json_integer_value(given);
    if (!json_is_integer(given) || number < 0 || number > INT32_MAX)
        return false;
    *id = (int32_t)number;
    return true;
}

static int refuse_without_id(const char *url, struct pj_error *error)
{
    return pj_error_set(error, PJ_RETRY,
                        "%.200s answers without an id; check --schema-registry-url and its path",
                        url);
}

int pj_registry_latest(struct pj_registry *registry, const char *subject, int32_t *id,
                       char **schema, struct pj_error *error)
{
    struct answer answer;
    char *url = url_of(registry, "/subjects/", subject, "/versions/latest");
    int status = request(registry, "GET", url, NULL, &answer, error);
    json_int_t code = json_integer_value(json_object_get(answer.json, "error_code"));
    if (answer.status == 404 && (code == UNKNOWN_SUBJECT || code == UNKNOWN_VERSION))
        status = pj_error_set(error, PJ_POISON,
                              "the schema registry has no subject %.200s; 'projectionist schemas "
                              "register' registers it",
                              subject);
    if (status == 0 && !take_id(&answer, id))
        status = refuse_without_id(url, error);
    if (status == 0)
        status = take_schema(registry, *id, url, &answer, schema, error);
    answer_free(&answer);
    free(url);
    return status;
}

bool pj_registry_same_schema(const char *one, const char *other)
{
    if (strcmp(one, other) == 0)
        return true;
    json_t *a = json_loads(one, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    json_t *b = json_loads(other, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    bool same = a != NULL && b != NULL && json_equal(a, b);
    json_decref(a);
    json_decref(b);
    return same;
}

int pj_registry_register(struct pj_registry *registry, const char *subject, const char *schema,
                         int32_t *id, struct pj_error *error)
{
    struct answer answer;
    char *url = url_of(registry, "/subjects/", subject, "/versions");
    int status =
        send_object(registry, "POST", url, json_pack("{s:s}", "schema", schema), &answer, error);
    if (status == 0 && !take_id(&answer, id))
        status = refuse_without_id(url, error);
    answer_free(&answer);
    free(url);
    return status;
}

int pj_registry_set_compatibility(struct pj_registry *registry, const char *subject,
                                  const char *level, struct pj_error *error)
{
    struct answer answer;
    char *url = url_of(registry, "/config/", subject, "");
    int status = send_object(registry, "PUT", url, json_pack("{s:s}", "compatibility", level),
                             &answer, error);
    answer_free(&answer);
    free(url);
    return status;
}

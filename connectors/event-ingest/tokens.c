/* SPDX-License-Identifier: Apache-2.0 */
#include "event-ingest/tokens.h"

#include "base/memory.h"
#include "base/text.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS_MOST = 10000, RATE_MOST = 1000000 };

static int bad(const struct pj_token *token, size_t index, const char *reason,
               struct pj_error *error)
{
    const char *name = token->caller.name;
    if (*name == '\0')
        return pj_error_set(error, PJ_FATAL, "token %zu %s", index + 1, reason);
    return pj_error_set(error, PJ_FATAL, "token %zu, %s, %s", index + 1, name + sizeof "token:" - 1,
                        reason);
}

static bool read_hash(const char *hex, unsigned char hash[PJ_SHA256])
{
    bool is_good = hex != NULL && strlen(hex) == 2 * PJ_SHA256;
    for (size_t i = 0; i < PJ_SHA256 && is_good; i++) {
        int high = pj_hex_digit(hex[2 * i]), low = pj_hex_digit(hex[2 * i + 1]);
        is_good = high >= 0 && low >= 0;
        hash[i] = (unsigned char)(is_good ? high * 16 + low : 0);
    }
    return is_good;
}

/* As a list for pj_topic_is_of; NULL: it is none. */
static char *read_topics(const json_t *topics)
{
    struct pj_builder list = {0};
    size_t count = json_array_size(topics);
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(topics, i));
        if (name == NULL || *name == '\0' || strpbrk(name, " ,") != NULL) {
            pj_builder_free(&list);
            return NULL;
        }
        pj_builder_add(&list, "%s%s", i > 0 ? " " : "", name);
    }
    return count > 0 ? pj_builder_take(&list) : NULL;
}

static bool read_owner(const json_t *json, char owner[PJ_OWNER])
{
    const char *text = json_string_value(json);
    if (json == NULL)
        return true;
    return text != NULL && *text != '\0' && pj_text_fits(owner, PJ_OWNER, "%s", text);
}

static bool read_bool(const json_t *json, bool *value)
{
    *value = json_is_true(json);
    return json == NULL || json_is_boolean(json);
}

static const char *unknown_member(const json_t *json)
{
    static const char known[] = "name|sha256|topics|tenant|user|rate|import|revoked";
    json_t *object = (json_t *)(uintptr_t)json;
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        if (!pj_text_is_of(known, '|', json_object_iter_key(at)))
            return json_object_iter_key(at);
    }
    return NULL;
}

static int read_token(const json_t *json, size_t index, struct pj_token *token,
                      struct pj_error *error)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const json_t *rate = json_object_get(json, "rate");
    const char *unknown = unknown_member(json);
    if (!json_is_object(json))
        return bad(token, index, "is not an object", error);
    if (name == NULL || *name == '\0' ||
        !pj_text_fits(token->caller.name, sizeof token->caller.name, "token:%s", name))
        return bad(token, index, "has no name of at most 150 bytes", error);
    if (unknown != NULL) {
        char reason[100];
        pj_text_show(reason, sizeof reason, "has a member that is unknown: %s", unknown);
        return bad(token, index, reason, error);
    }
    if (!read_hash(json_string_value(json_object_get(json, "sha256")), token->sha256))
        return bad(token, index, "has no sha256 of 64 hexadecimal digits", error);
    token->topics = read_topics(json_object_get(json, "topics"));
    if (token->topics == NULL)
        return bad(token, index, "has no topics, a list of names such as captions.videos", error);
    if (!read_owner(json_object_get(json, "tenant"), token->caller.tenant) ||
        !read_owner(json_object_get(json, "user"), token->caller.user))
        return bad(token, index, "has a tenant or a user that is not text of 1 to 200 bytes",
                   error);
    if (rate != NULL && (!json_is_integer(rate) || json_integer_value(rate) < 1 ||
                         json_integer_value(rate) > RATE_MOST))
        return bad(token, index, "has a rate that is not 1 to 1000000 events a second", error);
    token->caller.rate = json_integer_value(rate);
    if (!read_bool(json_object_get(json, "import"), &token->caller.is_import) ||
        !read_bool(json_object_get(json, "revoked"), &token->is_revoked))
        return bad(token, index, "has an import or revoked that is not true or false", error);
    return 0;
}

static int check_unique(const struct pj_tokens *tokens, struct pj_error *error)
{
    const struct pj_token *last = &tokens->items[tokens->count - 1];
    for (size_t i = 0; i + 1 < tokens->count; i++) {
        if (strcmp(tokens->items[i].caller.name, last->caller.name) == 0)
            return bad(last, tokens->count - 1, "has the name of another one", error);
        if (memcmp(tokens->items[i].sha256, last->sha256, PJ_SHA256) == 0)
            return bad(last, tokens->count - 1, "has the sha256 of another one", error);
    }
    return 0;
}

static int read_all(struct pj_tokens *tokens, const json_t *list, struct pj_error *error)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list))
        return pj_error_set(error, PJ_FATAL, "it is not a JSON object with a list 'tokens'");
    if (count > TOKENS_MOST)
        return pj_error_set(error, PJ_FATAL, "it has more than %d tokens", TOKENS_MOST);
    tokens->items = pj_calloc(count, sizeof *tokens->items);
    while (tokens->count < count) {
        size_t index = tokens->count++;
        if (read_token(json_array_get(list, index), index, &tokens->items[index], error) != 0 ||
            check_unique(tokens, error) != 0)
            return -1;
    }
    return 0;
}

int pj_tokens_parse(struct pj_tokens **out, const char *text, size_t length, struct pj_error *error)
{
    json_error_t fault;
    json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &fault);
    if (json == NULL)
        return pj_error_set(error, PJ_FATAL, "line %d is not JSON: %s", fault.line, fault.text);
    struct pj_tokens *tokens = pj_alloc(sizeof *tokens);
    int status = read_all(tokens, json_object_get(json, "tokens"), error);
    json_decref(json);
    if (status == 0)
        *out = tokens;
    else
        pj_tokens_free(tokens);
    return status;
}

void pj_tokens_free(struct pj_tokens *tokens)
{
    if (tokens == NULL)
        return;
    for (size_t i = 0; i < tokens->count; i++)
        free(tokens->items[i].topics);
    free(tokens->items);
    free(tokens);
}

const struct pj_token *pj_tokens_find(const struct pj_tokens *tokens, const char *shown)
{
    unsigned char hash[PJ_SHA256];
    const struct pj_token *found = NULL;
    if (EVP_Digest(shown, strlen(shown), hash, NULL, EVP_sha256(), NULL) != 1)
        return NULL;
    for (size_t i = 0; i < tokens->count; i++) {
        if (CRYPTO_memcmp(tokens->items[i].sha256, hash, PJ_SHA256) == 0)
            found = &tokens->items[i];
    }
    return found;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "drama-import/signature.h"

#include "base/invariant.h"
#include "base/memory.h"
#include "base/time_text.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

enum { SHA256 = 32, TIME_TEXT = sizeof "20261121T050634Z" };

/* SHA-256 of no bytes */
#define EMPTY_BODY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

void pj_signature_encode(struct pj_builder *out, const char *text, bool keep_slashes)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";
    for (const char *c = text; *c != '\0'; c++) {
        if (strchr(plain, *c) != NULL || (keep_slashes && *c == '/'))
            pj_builder_add_bytes(out, c, 1);
        else
            pj_builder_add(out, "%%%02X", (unsigned)(unsigned char)*c);
    }
}

/* "20261121T050634Z" of "2026-11-21T05:06:34…" */
static void time_of(int64_t time, char text[TIME_TEXT])
{
    char whole[PJ_TIME_TEXT_SIZE];
    size_t length = 0;
    PJ_CHECK(pj_time_format(whole, time, 0), "a request is signed at no calendar's time");
    for (const char *c = whole; *c != '.' && length < TIME_TEXT - 2; c++)
        if (*c != '-' && *c != ':')
            text[length++] = *c;
    text[length] = 'Z';
    text[length + 1] = '\0';
}

static void to_hex(const uint8_t digest[SHA256], char hex[2 * SHA256 + 1])
{
    for (size_t i = 0; i < SHA256; i++)
        (void)pj_text_whole(hex + 2 * i, 3, "%02x", digest[i]);
}

static void digest_of(const char *text, char hex[2 * SHA256 + 1])
{
    uint8_t digest[SHA256];
    if (EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) != 1)
        pj_memory_ended("a digest");
    to_hex(digest, hex);
}

/* In place: the key of the next step. */
static void step(uint8_t key[SHA256], const char *text)
{
    uint8_t next[SHA256];
    if (HMAC(EVP_sha256(), key, SHA256, (const uint8_t *)text, strlen(text), next, NULL) == NULL)
        pj_memory_ended("a signature");
    memcpy(key, next, SHA256);
}

static void sign(const struct pj_signature_key *key, const char *day, const char *text,
                 char hex[2 * SHA256 + 1])
{
    uint8_t digest[SHA256];
    char *first = pj_text_new("AWS4%s", key->secret_key);
    if (HMAC(EVP_sha256(), first, (int)strlen(first), (const uint8_t *)day, strlen(day), digest,
             NULL) == NULL)
        pj_memory_ended("a signature");
    free(first);
    step(digest, key->region);
    step(digest, "s3");
    step(digest, "aws4_request");
    step(digest, text);
    to_hex(digest, hex);
}

void pj_signature_headers(char *headers[PJ_SIGNATURE_HEADERS], const struct pj_signature_key *key,
                          const struct pj_signature_request *request, int64_t time)
{
    char when[TIME_TEXT], day[9], digest[2 * SHA256 + 1], signature[2 * SHA256 + 1];
    const char *token = key->session_token;
    const char *names = token != NULL ? "host;x-amz-content-sha256;x-amz-date;x-amz-security-token"
                                      : "host;x-amz-content-sha256;x-amz-date";
    time_of(time, when);
    pj_text_whole(day, sizeof day, "%.8s", when);
    headers[PJ_SIGNATURE_BODY] = pj_text_new("x-amz-content-sha256: " EMPTY_BODY);
    headers[PJ_SIGNATURE_DATE] = pj_text_new("x-amz-date: %s", when);
    headers[PJ_SIGNATURE_TOKEN] =
        token != NULL ? pj_text_new("x-amz-security-token: %s", token) : NULL;
    char *canonical = pj_text_new("GET\n%s\n%s\nhost:%s\nx-amz-content-sha256:" EMPTY_BODY
                                  "\nx-amz-date:%s\n%s%s%s\n%s\n" EMPTY_BODY,
                                  request->path, request->query, request->host, when,
                                  token != NULL ? "x-amz-security-token:" : "",
                                  token != NULL ? token : "", token != NULL ? "\n" : "", names);
    digest_of(canonical, digest);
    char *scope = pj_text_new("%s/%s/s3/aws4_request", day, key->region);
    char *text = pj_text_new("AWS4-HMAC-SHA256\n%s\n%s\n%s", when, scope, digest);
    sign(key, day, text, signature);
    headers[PJ_SIGNATURE_SIGN] =
        pj_text_new("Authorization: AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, "
                    "Signature=%s",
                    key->access_key, scope, names, signature);
    free(canonical);
    free(scope);
    free(text);
}

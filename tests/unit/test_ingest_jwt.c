/* SPDX-License-Identifier: Apache-2.0 */
/* JWTs, good ones and bad ones, signed here with keys that are made here. */
#include "event-ingest/jwt.h"

#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW    1795237594
#define SECRET "a secret of at least thirty-two bytes"
#define GOOD   "{\"sub\":\"ann\",\"exp\":1795237600,\"iss\":\"https://a\",\"aud\":[\"x\",\"events\"]}"

enum { TEXT = 4096 };

static EVP_PKEY *rsa, *ec;
static struct pj_jwt_keys *keys;
static struct pj_jwt_rules rules;
static struct pj_error error;

/* --- keys and signatures --------------------------------------------------------------------- */

static void append(char out[TEXT], const char *more)
{
    size_t length = strlen(out);
    snprintf(out + length, TEXT - length, "%s", more);
}

static void add_base64(char *out, const void *data, size_t length)
{
    char text[TEXT];
    EVP_EncodeBlock((unsigned char *)text, data, (int)length);
    text[strcspn(text, "=")] = '\0';
    for (char *c = text; *c != '\0'; c++)
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
    append(out, text);
}

static void add_number(char *out, EVP_PKEY *key, const char *name, int length)
{
    unsigned char bytes[512];
    BIGNUM *number = NULL;
    cr_assert_eq(EVP_PKEY_get_bn_param(key, name, &number), 1);
    length = length > 0 ? length : BN_num_bytes(number);
    cr_assert_eq(BN_bn2binpad(number, bytes, length), length);
    add_base64(out, bytes, (size_t)length);
    BN_free(number);
}

static void make_keys(void)
{
    char text[TEXT] = "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\",\"kid\":\"o\"},"
                      "{\"kty\":\"RSA\",\"kid\":\"r\",\"alg\":\"RS256\",\"use\":\"sig\",\"n\":\"";
    rsa = EVP_RSA_gen(2048);
    ec = EVP_EC_gen("P-256");
    add_number(text, rsa, OSSL_PKEY_PARAM_RSA_N, 0);
    append(text, "\",\"e\":\"");
    add_number(text, rsa, OSSL_PKEY_PARAM_RSA_E, 0);
    append(text, "\"},{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"x\":\"");
    add_number(text, ec, OSSL_PKEY_PARAM_EC_PUB_X, 32);
    append(text, "\",\"y\":\"");
    add_number(text, ec, OSSL_PKEY_PARAM_EC_PUB_Y, 32);
    append(text, "\"}]}");
    cr_assert_eq(pj_jwt_keys_parse(&keys, text, strlen(text), &error), 0, "%s", error.message);
}

static void set_up(void)
{
    make_keys();
    rules = (struct pj_jwt_rules){.secret = SECRET, .keys = keys, .now_s = NOW};
}

static void tear_down(void)
{
    pj_jwt_keys_free(keys);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
}

TestSuite(jwt, .init = set_up, .fini = tear_down);

static void sign(char *token, EVP_PKEY *key)
{
    unsigned char signature[512];
    size_t length = sizeof signature;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key), 1);
    cr_assert_eq(EVP_DigestSign(context, signature, &length, (unsigned char *)token, strlen(token)),
                 1);
    EVP_MD_CTX_free(context);
    if (key == ec) {
        const unsigned char *at = signature;
        ECDSA_SIG *parts = d2i_ECDSA_SIG(NULL, &at, (long)length);
        BN_bn2binpad(ECDSA_SIG_get0_r(parts), signature, 32);
        BN_bn2binpad(ECDSA_SIG_get0_s(parts), signature + 32, 32);
        ECDSA_SIG_free(parts);
        length = 64;
    }
    append(token, ".");
    add_base64(token, signature, length);
}

static void sign_by_secret(char *token, const void *secret, size_t length)
{
    unsigned char signature[32];
    HMAC(EVP_sha256(), secret, (int)length, (unsigned char *)token, strlen(token), signature, NULL);
    append(token, ".");
    add_base64(token, signature, sizeof signature);
}

/* Without a signature. */
static const char *begin(char token[TEXT], const char *header, const char *claims)
{
    token[0] = '\0';
    add_base64(token, header, strlen(header));
    append(token, ".");
    add_base64(token, claims, strlen(claims));
    return token;
}

/* --- what is expected ------------------------------------------------------------------------ */

static void is_good(const char *token)
{
    json_t *claims;
    cr_assert_eq(pj_jwt_verify(token, &rules, &claims, &error), PJ_JWT_GOOD, "%s", error.message);
    cr_assert_str_eq(json_string_value(json_object_get(claims, "sub")), "ann");
    json_decref(claims);
}

static void is_bad(const char *token, enum pj_jwt_end end, const char *part)
{
    json_t *claims;
    cr_assert_eq(pj_jwt_verify(token, &rules, &claims, &error), end, "%s", token);
    cr_assert_null(claims);
    cr_assert_not_null(strstr(error.message, part), "%s", error.message);
}

static void claims_are_bad(const char *claims, const char *part)
{
    char token[TEXT];
    begin(token, "{\"alg\":\"HS256\"}", claims);
    sign_by_secret(token, SECRET, strlen(SECRET));
    is_bad(token, PJ_JWT_BAD, part);
}

Test(jwt, each_algorithm)
{
    char token[TEXT];
    begin(token, "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", GOOD);
    sign_by_secret(token, SECRET, strlen(SECRET));
    is_good(token);
    begin(token, "{\"alg\":\"RS256\",\"kid\":\"r\"}", GOOD);
    sign(token, rsa);
    is_good(token);
    begin(token, "{\"alg\":\"ES256\",\"kid\":\"e\"}", GOOD);
    sign(token, ec);
    is_good(token);
    begin(token, "{\"alg\":\"ES256\"}", GOOD); /* it names no key */
    sign(token, ec);
    is_good(token);
}

Test(jwt, nothing_is_taken_without_a_signature)
{
    char token[TEXT];
    begin(token, "{\"alg\":\"none\"}", GOOD);
    append(token, ".");
    is_bad(token, PJ_JWT_BAD, "has no signature");
    append(token, "AAAA");
    is_bad(token, PJ_JWT_BAD, "is not signed with HS256, RS256 or ES256");
    begin(token, "{\"alg\":\"NONE\"}", GOOD);
    append(token, ".AAAA");
    is_bad(token, PJ_JWT_BAD, "is not signed with");
    begin(token, "{\"typ\":\"JWT\"}", GOOD);
    append(token, ".AAAA");
    is_bad(token, PJ_JWT_BAD, "is not signed with");
    begin(token, "{\"alg\":\"HS256\"}", GOOD);
    append(token, ".AAAA");
    is_bad(token, PJ_JWT_BAD, "signature that is not valid");
}

/* A public key is known to all: as the secret of HS256 it would sign whatever they like. */
Test(jwt, a_public_key_is_no_secret)
{
    char token[TEXT];
    char *pem = NULL;
    BIO *out = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(out, rsa);
    long length = BIO_get_mem_data(out, &pem);
    begin(token, "{\"alg\":\"HS256\",\"kid\":\"r\"}", GOOD);
    sign_by_secret(token, pem, (size_t)length);
    is_bad(token, PJ_JWT_BAD, "signature that is not valid");
    rules.secret = NULL;
    is_bad(token, PJ_JWT_BAD, "for which there is no secret");
    BIO_free(out);
}

Test(jwt, a_key_signs_with_its_own_algorithm_alone)
{
    char token[TEXT];
    begin(token, "{\"alg\":\"ES256\",\"kid\":\"r\"}", GOOD);
    sign(token, rsa);
    is_bad(token, PJ_JWT_BAD, "signature that is not valid");
    begin(token, "{\"alg\":\"RS256\",\"kid\":\"e\"}", GOOD);
    sign(token, ec);
    is_bad(token, PJ_JWT_BAD, "signature that is not valid");
    begin(token, "{\"alg\":\"RS256\",\"kid\":\"r\"}", GOOD);
    sign_by_secret(token, SECRET, strlen(SECRET));
    is_bad(token, PJ_JWT_BAD, "signature that is not valid");
}

Test(jwt, a_key_that_is_not_known_is_said)
{
    char token[TEXT];
    begin(token, "{\"alg\":\"RS256\",\"kid\":\"new\"}", GOOD);
    sign(token, rsa);
    is_bad(token, PJ_JWT_UNKNOWN_KEY, "a key that is not known");
    rules.keys = NULL;
    is_bad(token, PJ_JWT_BAD, "a key that is not known");
}

Test(jwt, what_was_changed_is_noticed)
{
    char token[TEXT], other[TEXT];
    begin(token, "{\"alg\":\"RS256\",\"kid\":\"r\"}", GOOD);
    sign(token, rsa);
    begin(other, "{\"alg\":\"RS256\",\"kid\":\"r\"}", "{\"sub\":\"bob\",\"exp\":1795237600}");
    append(other, strrchr(token, '.'));
    is_bad(other, PJ_JWT_BAD, "signature that is not valid");
}

Test(jwt, claims_are_checked)
{
    claims_are_bad("{\"sub\":\"ann\"}", "(exp)");
    claims_are_bad("{\"sub\":\"ann\",\"exp\":\"1795237600\"}", "(exp)");
    claims_are_bad("{\"sub\":\"ann\",\"exp\":1795237534}", "has expired");
    claims_are_bad("{\"sub\":\"ann\",\"exp\":1795237600,\"nbf\":1795237655}", "not valid yet");
    claims_are_bad("{\"sub\":\"ann\",\"exp\":1795237600,\"nbf\":\"1\"}", "not valid yet");
    claims_are_bad("{\"sub\":\"ann\",\"exp\":1,\"exp\":1795237600}", "has no claims");
    claims_are_bad("[]", "has no claims");
    rules.issuer = "https://b";
    claims_are_bad(GOOD, "another issuer");
    rules.issuer = "https://a";
    rules.audience = "other";
    claims_are_bad(GOOD, "another audience");
    claims_are_bad("{\"sub\":\"ann\",\"exp\":1795237600,\"iss\":\"https://a\"}",
                   "another audience");
    claims_are_bad("{\"sub\":\"a\",\"exp\":1795237600,\"iss\":\"https://a\",\"aud\":\"events2\"}",
                   "another audience");
    rules.audience = "events";
    char token[TEXT];
    begin(token, "{\"alg\":\"HS256\"}", GOOD);
    sign_by_secret(token, SECRET, strlen(SECRET));
    is_good(token);
}

/* A minute between clocks is allowed. */
Test(jwt, clocks_differ)
{
    char token[TEXT];
    begin(token, "{\"alg\":\"HS256\"}", "{\"sub\":\"ann\",\"exp\":1795237535,\"nbf\":1795237654}");
    sign_by_secret(token, SECRET, strlen(SECRET));
    is_good(token);
}

Test(jwt, what_is_malformed_is_refused)
{
    char token[TEXT];
    is_bad("eyJ.eyJ", PJ_JWT_BAD, "is not one of at most 16 KiB");
    is_bad("eyJ.a.b.c", PJ_JWT_BAD, "is not one of at most 16 KiB");
    is_bad("ey..", PJ_JWT_BAD, "has no header");
    is_bad("ey!.AAAA.AAAA", PJ_JWT_BAD, "has no header");
    begin(token, "{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", GOOD);
    sign_by_secret(token, SECRET, strlen(SECRET));
    is_bad(token, PJ_JWT_BAD, "crit");
    begin(token, "{\"alg\":\"HS256\",\"kid\":7}", GOOD);
    sign_by_secret(token, SECRET, strlen(SECRET));
    is_bad(token, PJ_JWT_BAD, "a kid that is not text");
    begin(token, "{\"alg\":\"HS256\"}", GOOD);
    sign_by_secret(token, SECRET, strlen(SECRET));
    append(token, "="); /* padding */
    is_bad(token, PJ_JWT_BAD, "has no signature");
}

Test(jwt, keys_that_cannot_be_used_are_said)
{
    static const char *const texts[] = {
        "{",
        "{}",
        "{\"keys\":[]}",
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}]}",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"AAAA\",\"y\":\"AAAA\"}]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct pj_jwt_keys *none = NULL;
        cr_assert_eq(pj_jwt_keys_parse(&none, texts[i], strlen(texts[i]), &error), -1, "%s",
                     texts[i]);
    }
}

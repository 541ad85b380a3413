/* SPDX-License-Identifier: Apache-2.0 */
#include "event-ingest/jwt.h"

#include "base/memory.h"
#include "base/text.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEYS_MOST = 100,
    LEEWAY_S = 60,
    SHA256_BYTES = 32,
    P256_BYTES = 32,
    RSA_BITS_LEAST = 2048,
    TOKEN_MOST = 16 << 10,
};

enum algorithm { NO_ALGORITHM, HS256, RS256, ES256 };

struct key {
    char *id; /* or NULL */
    enum algorithm algorithm;
    EVP_PKEY *key;
};

struct pj_jwt_keys {
    struct key items[KEYS_MOST];
    size_t count;
};

struct bytes {
    unsigned char *data; /* or NULL: it was not base64url */
    size_t length;
};

/* --- base64url ------------------------------------------------------------------------------- */

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* Strictly: without padding, and without bits that mean nothing. */
static struct bytes decode(const char *text, size_t length)
{
    struct bytes bytes = {pj_alloc(length + 1), 0};
    unsigned bits = 0;
    int count = 0;
    bool is_good = length > 0 && length % 4 != 1;
    for (size_t i = 0; i < length && is_good; i++) {
        int digit = digit_of(text[i]);
        is_good = digit >= 0;
        bits = bits << 6 | (unsigned)(digit & 63);
        count += 6;
        if (count >= 8) {
            count -= 8;
            bytes.data[bytes.length++] = (unsigned char)(bits >> count);
            bits &= (1u << count) - 1;
        }
    }
    if (!is_good || bits != 0) {
        free(bytes.data);
        bytes = (struct bytes){0};
    }
    return bytes;
}

/* A member of a key that is base64url. */
static struct bytes member_bytes(const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));
    return text != NULL ? decode(text, strlen(text)) : (struct bytes){0};
}

/* --- keys ------------------------------------------------------------------------------------ */

static EVP_PKEY *build_key(const char *type, OSSL_PARAM_BLD *builder)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *parameters = pj_must(OSSL_PARAM_BLD_to_param(builder));
    EVP_PKEY_CTX *context = pj_must(EVP_PKEY_CTX_new_from_name(NULL, type, NULL));
    if (EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(parameters);
    return key;
}

static EVP_PKEY *rsa_key(const json_t *json)
{
    struct bytes n = member_bytes(json, "n"), e = member_bytes(json, "e");
    EVP_PKEY *key = NULL;
    if (n.data != NULL && e.data != NULL) {
        OSSL_PARAM_BLD *builder = pj_must(OSSL_PARAM_BLD_new());
        BIGNUM *modulus = pj_must(BN_bin2bn(n.data, (int)n.length, NULL));
        BIGNUM *exponent = pj_must(BN_bin2bn(e.data, (int)e.length, NULL));
        if (OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
            OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
            key = build_key("RSA", builder);
        OSSL_PARAM_BLD_free(builder);
        BN_free(modulus);
        BN_free(exponent);
    }
    free(n.data);
    free(e.data);
    if (key != NULL && EVP_PKEY_get_bits(key) < RSA_BITS_LEAST) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    return key;
}

static EVP_PKEY *ec_key(const json_t *json)
{
    const char *curve = json_string_value(json_object_get(json, "crv"));
    struct bytes x = member_bytes(json, "x"), y = member_bytes(json, "y");
    unsigned char point[1 + 2 * P256_BYTES] = {POINT_CONVERSION_UNCOMPRESSED};
    EVP_PKEY *key = NULL;
    if (curve != NULL && strcmp(curve, "P-256") == 0 && x.length == P256_BYTES &&
        y.length == P256_BYTES) {
        OSSL_PARAM_BLD *builder = pj_must(OSSL_PARAM_BLD_new());
        memcpy(point + 1, x.data, P256_BYTES);
        memcpy(point + 1 + P256_BYTES, y.data, P256_BYTES);
        if (OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) ==
                1 &&
            OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point,
                                             sizeof point) == 1)
            key = build_key("EC", builder);
        OSSL_PARAM_BLD_free(builder);
    }
    free(x.data);
    free(y.data);
    return key;
}

/* Whether the member is not there, or is that word. */
static bool may_be(const json_t *json, const char *name, const char *word)
{
    const json_t *member = json_object_get(json, name);
    return member == NULL ||
           (json_is_string(member) && strcmp(json_string_value(member), word) == 0);
}

/* False: it is none that we use. */
static bool read_key(const json_t *json, struct key *key)
{
    const char *kind = json_string_value(json_object_get(json, "kty"));
    *key = (struct key){0};
    if (kind == NULL || !may_be(json, "use", "sig"))
        return false;
    if (strcmp(kind, "RSA") == 0 && may_be(json, "alg", "RS256")) {
        key->algorithm = RS256;
        key->key = rsa_key(json);
    } else if (strcmp(kind, "EC") == 0 && may_be(json, "alg", "ES256")) {
        key->algorithm = ES256;
        key->key = ec_key(json);
    }
    if (key->key != NULL)
        key->id = pj_strdup(json_string_value(json_object_get(json, "kid")));
    return key->key != NULL;
}

int pj_jwt_keys_parse(struct pj_jwt_keys **out, const char *text, size_t length,
                      struct pj_error *error)
{
    json_error_t fault;
    json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &fault);
    const json_t *list = json_object_get(json, "keys");
    struct pj_jwt_keys *keys = pj_alloc(sizeof *keys);
    for (size_t i = 0; i < json_array_size(list) && keys->count < KEYS_MOST; i++)
        keys->count += read_key(json_array_get(list, i), &keys->items[keys->count]);
    bool is_json = json != NULL;
    json_decref(json);
    if (keys->count > 0) {
        *out = keys;
        return 0;
    }
    pj_jwt_keys_free(keys);
    return is_json ? pj_error_set(error, PJ_FATAL,
                                  "there is no RSA key of 2048 bits or more, and none of the curve "
                                  "P-256, for signatures among its \"keys\"")
                   : pj_error_set(error, PJ_FATAL, "it is not JSON: %s", fault.text);
}

void pj_jwt_keys_free(struct pj_jwt_keys *keys)
{
    if (keys == NULL)
        return;
    for (size_t i = 0; i < keys->count; i++) {
        EVP_PKEY_free(keys->items[i].key);
        free(keys->items[i].id);
    }
    free(keys);
}

/* --- signatures ------------------------------------------------------------------------------ */

struct signed_part {
    const char *data;
    size_t length;
    struct bytes signature;
};

static bool is_hs256(const struct signed_part *part, const char *secret)
{
    unsigned char expected[SHA256_BYTES];
    unsigned length = 0;
    return HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)part->data,
                part->length, expected, &length) != NULL &&
           length == SHA256_BYTES && part->signature.length == SHA256_BYTES &&
           CRYPTO_memcmp(expected, part->signature.data, SHA256_BYTES) == 0;
}

static bool is_signed(const struct signed_part *part, EVP_PKEY *key, const unsigned char *signature,
                      size_t length)
{
    EVP_MD_CTX *context = pj_must(EVP_MD_CTX_new());
    bool is_good = EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
                   EVP_DigestVerify(context, signature, length, (const unsigned char *)part->data,
                                    part->length) == 1;
    EVP_MD_CTX_free(context);
    return is_good;
}

/* A JWT has r and s of fixed size; libcrypto takes them as DER. */
static bool is_es256(const struct signed_part *part, EVP_PKEY *key)
{
    if (part->signature.length != 2 * (size_t)P256_BYTES)
        return false;
    unsigned char *der = NULL;
    const unsigned char *raw = part->signature.data;
    ECDSA_SIG *signature = pj_must(ECDSA_SIG_new());
    BIGNUM *r = pj_must(BN_bin2bn(raw, P256_BYTES, NULL));
    BIGNUM *s = pj_must(BN_bin2bn(raw + P256_BYTES, P256_BYTES, NULL));
    (void)ECDSA_SIG_set0(signature, r, s); /* takes them */
    int length = i2d_ECDSA_SIG(signature, &der);
    bool is_good = length > 0 && is_signed(part, key, der, (size_t)length);
    ECDSA_SIG_free(signature);
    OPENSSL_free(der);
    return is_good;
}

static bool is_signed_by(const struct signed_part *part, const struct key *key)
{
    return key->algorithm == RS256
               ? is_signed(part, key->key, part->signature.data, part->signature.length)
               : is_es256(part, key->key);
}

static int bad(struct pj_error *error, const char *reason)
{
    return pj_error_set(error, PJ_FATAL, "the JWT %s", reason);
}

/* By a public key: the one that the token names, or any of the kind where it names none. */
static enum pj_jwt_end check_public(const struct signed_part *part, enum algorithm algorithm,
                                    const char *id, const struct pj_jwt_keys *keys,
                                    struct pj_error *error)
{
    bool is_known = false;
    for (size_t i = 0; keys != NULL && i < keys->count; i++) {
        const struct key *key = &keys->items[i];
        if (id != NULL && (key->id == NULL || strcmp(key->id, id) != 0))
            continue;
        is_known = true;
        if (key->algorithm == algorithm && is_signed_by(part, key))
            return PJ_JWT_GOOD;
    }
    (void)bad(error, is_known ? "has a signature that is not valid"
                              : "is signed with a key that is not known");
    return is_known || keys == NULL ? PJ_JWT_BAD : PJ_JWT_UNKNOWN_KEY;
}

static enum algorithm algorithm_of(const json_t *header)
{
    static const char *const names[] = {[HS256] = "HS256", [RS256] = "RS256", [ES256] = "ES256"};
    const char *given = json_string_value(json_object_get(header, "alg"));
    for (size_t i = HS256; given != NULL && i <= ES256; i++) {
        if (strcmp(names[i], given) == 0)
            return (enum algorithm)i;
    }
    return NO_ALGORITHM;
}

static enum pj_jwt_end check_signature(const struct signed_part *part, const json_t *header,
                                       const struct pj_jwt_rules *rules, struct pj_error *error)
{
    const json_t *id = json_object_get(header, "kid");
    enum algorithm algorithm = algorithm_of(header);
    if (algorithm == NO_ALGORITHM)
        bad(error, "is not signed with HS256, RS256 or ES256");
    else if (json_object_get(header, "crit") != NULL)
        bad(error, "asks for extensions that are not known (crit)");
    else if (id != NULL && !json_is_string(id))
        bad(error, "has a kid that is not text");
    else if (algorithm != HS256)
        return check_public(part, algorithm, json_string_value(id), rules->keys, error);
    else if (rules->secret == NULL)
        bad(error, "is signed with HS256, for which there is no secret");
    else if (!is_hs256(part, rules->secret))
        bad(error, "has a signature that is not valid");
    else
        return PJ_JWT_GOOD;
    return PJ_JWT_BAD;
}

/* --- claims ---------------------------------------------------------------------------------- */

static bool has_audience(const json_t *audience, const char *wanted)
{
    if (json_is_string(audience))
        return strcmp(json_string_value(audience), wanted) == 0;
    for (size_t i = 0; i < json_array_size(audience); i++) {
        const char *one = json_string_value(json_array_get(audience, i));
        if (one != NULL && strcmp(one, wanted) == 0)
            return true;
    }
    return false;
}

static int check_claims(const json_t *claims, const struct pj_jwt_rules *rules,
                        struct pj_error *error)
{
    const json_t *expires = json_object_get(claims, "exp");
    const json_t *begins = json_object_get(claims, "nbf");
    const char *issuer = json_string_value(json_object_get(claims, "iss"));
    double now = (double)rules->now_s;
    if (!json_is_object(claims))
        return bad(error, "has no claims");
    if (!json_is_number(expires))
        return bad(error, "does not say when it expires (exp)");
    if (json_number_value(expires) + LEEWAY_S <= now)
        return bad(error, "has expired");
    if (begins != NULL && !(json_is_number(begins) && json_number_value(begins) - LEEWAY_S <= now))
        return bad(error, "is not valid yet (nbf)");
    if (rules->issuer != NULL && (issuer == NULL || strcmp(issuer, rules->issuer) != 0))
        return bad(error, "is of another issuer (iss)");
    if (rules->audience != NULL && !has_audience(json_object_get(claims, "aud"), rules->audience))
        return bad(error, "is for another audience (aud)");
    return 0;
}

/* --- tokens ---------------------------------------------------------------------------------- */

static json_t *load(struct bytes bytes)
{
    json_t *json = bytes.data != NULL ? json_loadb((const char *)bytes.data, bytes.length,
                                                   JSON_REJECT_DUPLICATES, NULL)
                                      : NULL;
    free(bytes.data);
    return json;
}

bool pj_jwt_is_one(const char *token)
{
    const char *dot = strchr(token, '.');
    const char *second = dot != NULL ? strchr(dot + 1, '.') : NULL;
    return pj_text_begins(token, "ey") && second != NULL && strchr(second + 1, '.') == NULL;
}

enum pj_jwt_end pj_jwt_verify(const char *token, const struct pj_jwt_rules *rules, json_t **claims,
                              struct pj_error *error)
{
    *claims = NULL;
    if (!pj_jwt_is_one(token) || strlen(token) > TOKEN_MOST) {
        bad(error, "is not one of at most 16 KiB");
        return PJ_JWT_BAD;
    }
    const char *first = strchr(token, '.'), *second = strchr(first + 1, '.');
    struct signed_part part = {token, (size_t)(second - token),
                               decode(second + 1, strlen(second + 1))};
    json_t *header = load(decode(token, (size_t)(first - token)));
    enum pj_jwt_end end = PJ_JWT_BAD;
    if (!json_is_object(header))
        bad(error, "has no header");
    else if (part.signature.data == NULL)
        bad(error, "has no signature");
    else
        end = check_signature(&part, header, rules, error);
    if (end == PJ_JWT_GOOD) {
        *claims = load(decode(first + 1, (size_t)(second - first - 1)));
        if (check_claims(*claims, rules, error) != 0) {
            json_decref(*claims);
            *claims = NULL;
            end = PJ_JWT_BAD;
        }
    }
    json_decref(header);
    free(part.signature.data);
    return end;
}

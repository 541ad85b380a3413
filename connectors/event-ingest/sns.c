/* SPDX-License-Identifier: Apache-2.0 */
#include "event-ingest/sns.h"

#include "base/curl.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "event-ingest/fetch.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { CERTIFICATES_KEPT = 8, SIGNATURE_MOST = 2048 };

struct certificate {
    char *url;
    char *pem;
};

struct pj_sns {
    struct pj_sns_settings settings;
    pthread_mutex_t mutex;
    struct certificate kept[CERTIFICATES_KEPT];
    size_t next; /* whose place the next one takes */
};

struct pj_sns *pj_sns_new(const struct pj_sns_settings *settings)
{
    struct pj_sns *sns = pj_alloc(sizeof *sns);
    sns->settings = *settings;
    pthread_mutex_init(&sns->mutex, NULL);
    return sns;
}

void pj_sns_free(struct pj_sns *sns)
{
    if (sns == NULL)
        return;
    for (size_t i = 0; i < CERTIFICATES_KEPT; i++) {
        free(sns->kept[i].url);
        free(sns->kept[i].pem);
    }
    pthread_mutex_destroy(&sns->mutex);
    free(sns);
}

static const char *text_of(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

static bool is_type(const json_t *envelope, const char *type)
{
    const char *given = text_of(envelope, "Type");
    return given != NULL && strcmp(given, type) == 0;
}

/* --- URLs ------------------------------------------------------------------------------------ */

/* sns.REGION.amazonaws.com, or .com.cn */
static bool is_amazons(const char *host)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    size_t region = pj_text_begins(host, "sns.") ? strspn(host + 4, letters) : 0;
    const char *rest = host + 4 + region;
    return region > 0 &&
           (strcmp(rest, ".amazonaws.com") == 0 || strcmp(rest, ".amazonaws.com.cn") == 0);
}

static bool is_of_host(CURLU *url, const char *wanted)
{
    char *host = NULL, *port = NULL;
    bool has_port = curl_url_get(url, CURLUPART_PORT, &port, 0) == CURLUE_OK;
    bool is_good = curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK;
    if (is_good && wanted != NULL) {
        char *whole = pj_text_new("%s%s%s", host, has_port ? ":" : "", has_port ? port : "");
        is_good = strcmp(whole, wanted) == 0;
        free(whole);
    } else if (is_good) {
        is_good = is_amazons(host) && (!has_port || strcmp(port, "443") == 0);
    }
    curl_free(host);
    curl_free(port);
    return is_good;
}

bool pj_sns_is_url(const char *text, const char *host, const char *path_end)
{
    CURLU *url = pj_must(curl_url());
    char *scheme = NULL, *path = NULL;
    bool is_good = curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
                   !pj_url_has(url, CURLUPART_USER) && !pj_url_has(url, CURLUPART_PASSWORD) &&
                   curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                   strcmp(scheme, "https") == 0 && is_of_host(url, host) &&
                   curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK &&
                   pj_text_ends(path, path_end);
    curl_free(scheme);
    curl_free(path);
    curl_url_cleanup(url);
    return is_good;
}

/* --- signatures ------------------------------------------------------------------------------ */

char *pj_sns_signed_text(const json_t *envelope)
{
    static const char *const of_notification[] = {"Message",   "MessageId", "Subject",
                                                  "Timestamp", "TopicArn",  "Type"};
    static const char *const of_subscription[] = {
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"};
    bool is_notification = is_type(envelope, "Notification");
    const char *const *names = is_notification ? of_notification : of_subscription;
    struct pj_builder text = {0};
    for (size_t i = 0; i < (is_notification ? 6 : 7); i++) {
        const char *value = text_of(envelope, names[i]);
        bool is_optional = strcmp(names[i], "Subject") == 0;
        if (value == NULL && is_optional)
            continue;
        if (value == NULL) {
            pj_builder_free(&text);
            return NULL;
        }
        pj_builder_add(&text, "%s\n", names[i]);
        pj_builder_add_bytes(&text, value, strlen(value));
        pj_builder_add(&text, "\n");
    }
    return pj_builder_take(&text);
}

static EVP_PKEY *key_of(const char *certificate)
{
    BIO *in = pj_must(BIO_new_mem_buf(certificate, -1));
    X509 *read = PEM_read_bio_X509(in, NULL, NULL, NULL);
    EVP_PKEY *key = NULL;
    if (read != NULL && X509_cmp_current_time(X509_get0_notBefore(read)) < 0 &&
        X509_cmp_current_time(X509_get0_notAfter(read)) > 0)
        key = X509_get_pubkey(read);
    X509_free(read);
    BIO_free(in);
    return key;
}

/* Its length; 0: it is none. */
static size_t decode_signature(const char *text, unsigned char signature[SIGNATURE_MOST])
{
    size_t length = text != NULL ? strlen(text) : 0;
    if (length == 0 || length % 4 != 0 || length / 4 * 3 > SIGNATURE_MOST)
        return 0;
    int count = EVP_DecodeBlock(signature, (const unsigned char *)text, (int)length);
    size_t padding = (size_t)(text[length - 1] == '=') + (size_t)(text[length - 2] == '=');
    return count > (int)padding ? (size_t)count - padding : 0;
}

static bool verify(const char *text, const EVP_MD *hash, const unsigned char *signature,
                   size_t length, EVP_PKEY *key)
{
    EVP_MD_CTX *context = pj_must(EVP_MD_CTX_new());
    bool is_good = EVP_DigestVerifyInit(context, NULL, hash, NULL, key) == 1 &&
                   EVP_DigestVerify(context, signature, length, (const unsigned char *)text,
                                    strlen(text)) == 1;
    EVP_MD_CTX_free(context);
    return is_good;
}

static bool bad(struct pj_error *error, const char *reason)
{
    (void)pj_error_set(error, PJ_FATAL, "the message of SNS %s", reason);
    return false;
}

bool pj_sns_is_signed(const json_t *envelope, const char *certificate, struct pj_error *error)
{
    unsigned char signature[SIGNATURE_MOST];
    const char *version = text_of(envelope, "SignatureVersion");
    bool is_1 = version != NULL && strcmp(version, "1") == 0;
    if (!is_1 && (version == NULL || strcmp(version, "2") != 0))
        return bad(error, "has a SignatureVersion that is neither 1 nor 2");
    size_t length = decode_signature(text_of(envelope, "Signature"), signature);
    char *text = pj_sns_signed_text(envelope);
    EVP_PKEY *key = key_of(certificate);
    bool is_good = text != NULL && length > 0 && key != NULL &&
                   verify(text, is_1 ? EVP_sha1() : EVP_sha256(), signature, length, key);
    if (key == NULL)
        (void)bad(error, "has a certificate that is not valid now");
    else if (!is_good)
        (void)bad(error, "has a signature that is not valid");
    EVP_PKEY_free(key);
    free(text);
    return is_good;
}

/* --- certificates ---------------------------------------------------------------------------- */

/* A copy; NULL where it is not kept. */
static char *recall(struct pj_sns *sns, const char *url)
{
    char *pem = NULL;
    pthread_mutex_lock(&sns->mutex);
    for (size_t i = 0; i < CERTIFICATES_KEPT && pem == NULL; i++) {
        if (sns->kept[i].url != NULL && strcmp(sns->kept[i].url, url) == 0)
            pem = pj_strdup(sns->kept[i].pem);
    }
    pthread_mutex_unlock(&sns->mutex);
    return pem;
}

static void keep(struct pj_sns *sns, const char *url, const char *pem)
{
    pthread_mutex_lock(&sns->mutex);
    struct certificate *place = &sns->kept[sns->next];
    sns->next = (sns->next + 1) % CERTIFICATES_KEPT;
    free(place->url);
    free(place->pem);
    *place = (struct certificate){pj_strdup(url), pj_strdup(pem)};
    pthread_mutex_unlock(&sns->mutex);
}

/* Kept once it has verified something: nobody fills the places with others. */
static bool is_verified(struct pj_sns *sns, const json_t *envelope, const char *url, int *status,
                        struct pj_error *error)
{
    size_t length;
    char *pem = recall(sns, url);
    bool is_new = pem == NULL;
    if (is_new)
        pem = pj_fetch(url, sns->settings.ca_file, &length, error);
    if (pem == NULL) {
        *status = 503; /* SNS sends it again */
        return false;
    }
    bool is_good = pj_sns_is_signed(envelope, pem, error);
    if (is_good && is_new)
        keep(sns, url, pem);
    free(pem);
    return is_good;
}

/* --- messages -------------------------------------------------------------------------------- */

/* Whether the URL is about that topic. */
static bool confirms(const char *text, const char *arn)
{
    CURLU *url = pj_must(curl_url());
    char *query = NULL;
    char *wanted = pj_text_new("&TopicArn=%s&", arn);
    bool is_good = curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
                   curl_url_get(url, CURLUPART_QUERY, &query, CURLU_URLDECODE) == CURLUE_OK;
    char *whole = pj_text_new("&%s&", is_good ? query : "");
    is_good = strstr(whole, wanted) != NULL;
    free(whole);
    free(wanted);
    curl_free(query);
    curl_url_cleanup(url);
    return is_good;
}

static bool confirm(struct pj_sns *sns, const json_t *envelope, int *status, struct pj_error *error)
{
    const char *url = text_of(envelope, "SubscribeURL");
    size_t length;
    if (url == NULL || !pj_sns_is_url(url, sns->settings.host, "") ||
        !confirms(url, text_of(envelope, "TopicArn")))
        return bad(error, "has a SubscribeURL that is not one of SNS for its topic");
    char *answer = pj_fetch(url, sns->settings.ca_file, &length, error);
    if (answer == NULL) {
        *status = 503;
        return false;
    }
    free(answer);
    pj_log(PJ_INFO, "a subscription to SNS is confirmed",
           pj_f_str("topic", text_of(envelope, "TopicArn")));
    return true;
}

enum pj_sns_kind pj_sns_take(struct pj_sns *sns, const json_t *envelope, char **message,
                             int *status, struct pj_error *error)
{
    const char *arn = text_of(envelope, "TopicArn"), *url = text_of(envelope, "SigningCertURL");
    *status = 403;
    if (arn == NULL || sns->settings.arns == NULL || strchr(arn, ' ') != NULL ||
        !pj_text_is_of(sns->settings.arns, ' ', arn)) {
        (void)bad(error, "is of a topic that is not one of --sns-topics");
        return PJ_SNS_REFUSED;
    }
    if (url == NULL || !pj_sns_is_url(url, sns->settings.host, ".pem")) {
        (void)bad(error, "has a SigningCertURL that is not one of SNS");
        return PJ_SNS_REFUSED;
    }
    if (!is_verified(sns, envelope, url, status, error))
        return PJ_SNS_REFUSED;
    if (is_type(envelope, "Notification")) {
        *message = pj_strdup(text_of(envelope, "Message"));
        return PJ_SNS_NOTIFICATION;
    }
    if (is_type(envelope, "SubscriptionConfirmation"))
        return confirm(sns, envelope, status, error) ? PJ_SNS_CONFIRMED : PJ_SNS_REFUSED;
    if (!is_type(envelope, "UnsubscribeConfirmation")) {
        (void)bad(error, "is of a Type that is not known");
        return PJ_SNS_REFUSED;
    }
    pj_log(PJ_WARN, "a subscription to SNS has ended", pj_f_str("topic", arn));
    return PJ_SNS_CONFIRMED;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/tls_files.h"

#include "base/log.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* NULL with the error if the file cannot be read. */
static BIO *open_file(const char *setting, const char *path, struct pj_error *error)
{
    struct stat found;
    FILE *file = stat(path, &found) == 0 ? fopen(path, "re") : NULL;
    if (file != NULL && S_ISDIR(found.st_mode)) {
        fclose(file);
        file = NULL;
        errno = EISDIR;
    }
    BIO *bio = file != NULL ? BIO_new_fp(file, BIO_CLOSE) : NULL;
    if (bio == NULL)
        pj_error_fatal(error, PJ_EXIT_USAGE, "%s: cannot read '%.200s': %s", setting, path,
                       strerror(errno));
    return bio;
}

/* No password given: never ask for one at a terminal. */
static int give_password(char *buffer, int size, int writing, void *context)
{
    (void)writing;
    const char *password = context;
    if (password == NULL || (int)strlen(password) > size)
        return -1;
    memcpy(buffer, password, strlen(password));
    return (int)strlen(password);
}

/* How many certificates there are, and the first one; -1 if one is damaged. */
static int read_certificates(BIO *bio, X509 **first, bool *all_expired)
{
    int count = 0;
    *first = NULL;
    *all_expired = true;
    for (;;) {
        X509 *certificate = PEM_read_bio_X509_AUX(bio, NULL, give_password, NULL);
        if (certificate == NULL)
            break;
        *all_expired &= X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0;
        if (count++ == 0)
            *first = certificate;
        else
            X509_free(certificate);
    }
    unsigned long reason = ERR_peek_last_error();
    bool at_end = reason == 0 || (ERR_GET_LIB(reason) == ERR_LIB_PEM &&
                                  ERR_GET_REASON(reason) == PEM_R_NO_START_LINE);
    ERR_clear_error();
    return at_end ? count : -1;
}

static int open_certificates(const char *setting, const char *path, X509 **first,
                             struct pj_error *error)
{
    bool all_expired = false;
    BIO *bio = open_file(setting, path, error);
    *first = NULL;
    if (bio == NULL)
        return -1;
    int count = read_certificates(bio, first, &all_expired);
    BIO_free(bio);
    if (count < 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "%s: a certificate in '%.200s' is damaged; write the file again",
                              setting, path);
    if (count == 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "%s: '%.200s' holds no certificate in PEM (-----BEGIN "
                              "CERTIFICATE-----); is it the right file?",
                              setting, path);
    if (all_expired)
        pj_log(PJ_WARN, "all certificates in a file have expired", pj_f_str("setting", setting),
               pj_f_str("file", path));
    return 0;
}

int pj_tls_check_certificates(const char *setting, const char *path, struct pj_error *error)
{
    X509 *first = NULL;
    int status = open_certificates(setting, path, &first, error);
    X509_free(first);
    return status;
}

static bool holds_key(BIO *bio)
{
    bool found = false;
    char *name = NULL, *header = NULL;
    unsigned char *data = NULL;
    long length = 0;
    while (!found && PEM_read_bio(bio, &name, &header, &data, &length) == 1) {
        found = strstr(name, "PRIVATE KEY") != NULL;
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(data, (size_t)length);
    }
    return found && BIO_reset(bio) == 0;
}

static int open_key(const struct pj_tls_pair *pair, EVP_PKEY **key, struct pj_error *error)
{
    BIO *bio = open_file(pair->key_setting, pair->key, error);
    if (bio == NULL)
        return -1;
    bool is_there = holds_key(bio);
    if (is_there)
        *key = PEM_read_bio_PrivateKey(bio, NULL, give_password, (void *)(uintptr_t)pair->password);
    BIO_free(bio);
    if (!is_there)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "%s: '%.200s' holds no private key in PEM (-----BEGIN PRIVATE "
                              "KEY-----); is it the right file?",
                              pair->key_setting, pair->key);
    if (*key != NULL)
        return 0;
    return pj_error_fatal(error, PJ_EXIT_USAGE, "%s: the private key in '%.200s' cannot be read%s",
                          pair->key_setting, pair->key,
                          pair->password != NULL
                              ? "; is the password right?"
                              : ": it is damaged, or encrypted without a password given");
}

int pj_tls_check_pair(const struct pj_tls_pair *pair, struct pj_error *error)
{
    X509 *certificate = NULL;
    EVP_PKEY *key = NULL;
    int status = 0;
    if (pair->certificate != NULL)
        status =
            open_certificates(pair->certificate_setting, pair->certificate, &certificate, error);
    if (status == 0 && pair->key != NULL)
        status = open_key(pair, &key, error);
    if (status == 0 && certificate != NULL && key != NULL &&
        X509_check_private_key(certificate, key) != 1)
        status = pj_error_fatal(error, PJ_EXIT_USAGE,
                                "%s: the key in '%.200s' does not belong to the certificate in "
                                "'%.200s'",
                                pair->key_setting, pair->key, pair->certificate);
    ERR_clear_error();
    X509_free(certificate);
    EVP_PKEY_free(key);
    return status;
}

int pj_tls_check_kafka(const struct pj_properties *kafka, struct pj_error *error)
{
    const char *protocol = pj_properties_get(kafka, "security.protocol");
    const char *roots = pj_properties_get(kafka, "ssl.ca.location");
    const struct pj_tls_pair pair = {
        .certificate_setting = "kafka.ssl.certificate.location",
        .certificate = pj_properties_get(kafka, "ssl.certificate.location"),
        .key_setting = "kafka.ssl.key.location",
        .key = pj_properties_get(kafka, "ssl.key.location"),
        .password = pj_properties_get(kafka, "ssl.key.password"),
    };
    struct stat found;
    if (protocol == NULL || strcasestr(protocol, "ssl") == NULL)
        return 0;
    /* It may be a directory, or the word for the system's store. */
    bool is_file = roots != NULL && *roots != '\0' && strcmp(roots, "probe") != 0 &&
                   !(stat(roots, &found) == 0 && S_ISDIR(found.st_mode));
    if (is_file && pj_tls_check_certificates("kafka.ssl.ca.location", roots, error) != 0)
        return -1;
    return pj_tls_check_pair(&pair, error);
}

int pj_tls_check_options(const struct pj_option *options, const void *settings,
                         struct pj_error *error)
{
    for (; options->name != NULL; options++) {
        if (!options->certificates)
            continue;
        const char *path = *(const char *const *)((const char *)settings + options->offset);
        if (path != NULL && pj_tls_check_certificates(options->name, path, error) != 0)
            return -1;
    }
    return 0;
}

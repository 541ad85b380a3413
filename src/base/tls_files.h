/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of TLS, looked at before anything is connected to: what is wrong with one is said at
 * the start, not by a server that stays away. Errors are of PJ_EXIT_USAGE and begin with `setting`.
 */
#ifndef PJ_BASE_TLS_FILES_H
#define PJ_BASE_TLS_FILES_H

#include "base/config.h"

/* A file of certificates in PEM. Warns where all of them have expired. */
int pj_tls_check_certificates(const char *setting, const char *path,
                              struct pj_error *error) PJ_MUST_CHECK;

/* A certificate and its private key, which may be encrypted by the password; a path that is NULL is
 * not looked at. */
struct pj_tls_pair {
    const char *certificate_setting, *certificate;
    const char *key_setting, *key;
    const char *password;
};
int pj_tls_check_pair(const struct pj_tls_pair *pair, struct pj_error *error) PJ_MUST_CHECK;

/* The options that name a file of certificates. */
int pj_tls_check_options(const struct pj_option *options, const void *settings,
                         struct pj_error *error) PJ_MUST_CHECK;

/* The files that librdkafka's settings name, where they are of any use. */
int pj_tls_check_kafka(const struct pj_properties *kafka, struct pj_error *error) PJ_MUST_CHECK;

#endif

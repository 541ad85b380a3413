/* SPDX-License-Identifier: Apache-2.0 */
/* Checks the TLS files before connecting to anything: a bad one is reported at start, rather than
 * as a server that stays away. Errors are PJ_EXIT_USAGE and begin with `setting`. */
#ifndef PJ_BASE_TLS_FILES_H
#define PJ_BASE_TLS_FILES_H

#include "base/config.h"

/* A PEM certificate file. Warns if all certificates in it have expired. */
int pj_tls_check_certificates(const char *setting, const char *path,
                              struct pj_error *error) PJ_MUST_CHECK;

/* A certificate and its private key, which may be encrypted with the password; a NULL path is
 * skipped. */
struct pj_tls_pair {
    const char *certificate_setting, *certificate;
    const char *key_setting, *key;
    const char *password;
};
int pj_tls_check_pair(const struct pj_tls_pair *pair, struct pj_error *error) PJ_MUST_CHECK;

/* The options that name a certificate file. */
int pj_tls_check_options(const struct pj_option *options, const void *settings,
                         struct pj_error *error) PJ_MUST_CHECK;

/* The files that librdkafka's settings name, if they are in use. */
int pj_tls_check_kafka(const struct pj_properties *kafka, struct pj_error *error) PJ_MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the schema registry's Confluent REST API (libcurl, jansson). Calls block for at most
 * the request time-out; transient faults are the caller's to retry (class PJ_RETRY). A client is
 * for one thread at a time.
 */
#ifndef PJ_AVRO_REGISTRY_H
#define PJ_AVRO_REGISTRY_H

#include "base/config.h"
#include "projectionist/error.h"

#include <stdbool.h>
#include <stdint.h>

struct pj_registry;

struct pj_registry_settings {
    const char *url;      /* such as http://127.0.0.1:8081; user:password@ is not allowed in it */
    const char *username; /* basic auth, or NULL */
    const char *password;
    const char *ca_file;  /* TLS roots, or NULL for the system's */
    int64_t timeout_ms;   /* of one request; 0: 5 s */
    int64_t admission_ms; /* how long who is refused asks again; 0: who was let in before, for
                             PJ_REGISTRY_ADMISSION_MS, others not at all */
};

/* A new password, or a new authority, reaches the registry and our file one after the other. */
enum { PJ_REGISTRY_ADMISSION_MS = 300000 };

/* Its options, where `at` is its offset in a program's settings; url_help says what the registry is
 * for. */
#define PJ_REGISTRY_OPTIONS(at, url_help)                                                          \
    PJ_OPTION(STRING, "schema-registry-url", (at) + offsetof(struct pj_registry_settings, url),    \
              NULL, "URL", url_help),                                                              \
        PJ_OPTION(STRING, "schema-registry-username",                                              \
                  (at) + offsetof(struct pj_registry_settings, username), NULL, "NAME",            \
                  "User name for the schema registry's basic authentication.", .filled = true),    \
        PJ_OPTION(SECRET, "schema-registry-password",                                              \
                  (at) + offsetof(struct pj_registry_settings, password), NULL, "PASSWORD",        \
                  "Its password."),                                                                \
        PJ_OPTION(STRING, "schema-registry-ca-file",                                               \
                  (at) + offsetof(struct pj_registry_settings, ca_file), NULL, "FILE",             \
                  "TLS roots for the schema registry, in PEM; the default is the system's.",       \
                  .certificates = true)

/* PJ_EXIT_USAGE where no URL is given. */
int pj_registry_check(const struct pj_registry_settings *settings,
                      struct pj_error *error) PJ_MUST_CHECK;
/* PJ_EXIT_USAGE where the URL is none, or not http or https. User and password must outlive it. */
int pj_registry_open(struct pj_registry **registry, const struct pj_registry_settings *settings,
                     struct pj_error *error) PJ_MUST_CHECK;
void pj_registry_close(struct pj_registry *registry); /* NULL is allowed */

/*
 * GET /schemas/ids/{id}: the schema's text, malloc'ed; it is JSON, and what it refers to is in it.
 * Errors: PJ_POISON when the registry says there is no such id (404, error_code 40403), that it is
 * not Avro, or that it refers to what is not there or to itself; PJ_RETRY when it is away, slow,
 * overloaded, or answers what is not JSON or has no schema in it; PJ_FATAL on 401 and 403 and on a
 * certificate that is not trusted, which are PJ_RETRY while `admission_ms` lasts, and on a 404 of
 * another kind in JSON: the URL's path is wrong then, which must not turn every record into a dead
 * letter.
 */
int pj_registry_schema(struct pj_registry *registry, int32_t id, char **schema,
                       struct pj_error *error) PJ_MUST_CHECK;

/* Whether two texts say the same; how they are laid out does not matter. */
bool pj_registry_same_schema(const char *one, const char *other);

/* POST /subjects/{subject}/versions: registers, or finds, the schema and gives its id. A 409 or
 * 422 is PJ_FATAL with the registry's reason. */
int pj_registry_register(struct pj_registry *registry, const char *subject, const char *schema,
                         int32_t *id, struct pj_error *error) PJ_MUST_CHECK;

/*
 * GET /subjects/{subject}/versions/latest: its newest schema, as pj_registry_schema gives it, and
 * its id. Errors: those of pj_registry_schema; PJ_POISON also where there is no such subject.
 */
int pj_registry_latest(struct pj_registry *registry, const char *subject, int32_t *id,
                       char **schema, struct pj_error *error) PJ_MUST_CHECK;

/* PUT /config/{subject}: the subject's compatibility level, such as "BACKWARD_TRANSITIVE". */
int pj_registry_set_compatibility(struct pj_registry *registry, const char *subject,
                                  const char *level, struct pj_error *error) PJ_MUST_CHECK;

#endif

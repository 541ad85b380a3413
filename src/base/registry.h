/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the schema registry's Confluent REST API (libcurl, jansson). Calls block for at most
 * the request time-out; transient faults are the caller's to retry (class PJ_RETRY). A client is
 * for one thread at a time.
 */
#ifndef PJ_BASE_REGISTRY_H
#define PJ_BASE_REGISTRY_H

#include "projectionist/error.h"

#include <stdbool.h>
#include <stdint.h>

struct pj_registry;

struct pj_registry_settings {
    const char *url;      /* such as http://127.0.0.1:8081; user:password@ is not allowed in it */
    const char *username; /* basic auth, or NULL */
    const char *password;
    const char *ca_file; /* TLS roots, or NULL for the system's */
    int64_t timeout_ms;  /* of one request; 0: 5 s */
};

/* Fails with PJ_EXIT_USAGE where the URL is not http or https. Copies the strings. */
int pj_registry_open(struct pj_registry **registry, const struct pj_registry_settings *settings,
                     struct pj_error *error) PJ_MUST_CHECK;
void pj_registry_close(struct pj_registry *registry); /* NULL is allowed */

/*
 * GET /schemas/ids/{id}: the schema's text, malloc'ed. Errors: PJ_POISON when the registry says
 * there is no such id (404, error_code 40403) or that it is not Avro or uses references; PJ_RETRY
 * when it is away, slow, overloaded or answers what is not JSON; PJ_FATAL on 401 and 403, on a
 * certificate that is not trusted, and on a 404 of another kind in JSON: the URL's path is wrong
 * then, which must not turn every record into a dead letter.
 */
int pj_registry_schema(struct pj_registry *registry, int32_t id, char **schema,
                       struct pj_error *error) PJ_MUST_CHECK;

/* POST /subjects/{subject}/versions: registers, or finds, the schema and gives its id. A 409 or
 * 422 is PJ_FATAL with the registry's reason. */
int pj_registry_register(struct pj_registry *registry, const char *subject, const char *schema,
                         int32_t *id, struct pj_error *error) PJ_MUST_CHECK;

/* PUT /config/{subject}: the subject's compatibility level, such as "BACKWARD_TRANSITIVE". */
int pj_registry_set_compatibility(struct pj_registry *registry, const char *subject,
                                  const char *level, struct pj_error *error) PJ_MUST_CHECK;

#endif

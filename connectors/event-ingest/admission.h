/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a request comes from, by its Bearer token: one of the tokens' file, or a JWT. Safe from any
 * thread.
 */
#ifndef PJ_EVENT_INGEST_ADMISSION_H
#define PJ_EVENT_INGEST_ADMISSION_H

#include "base/metrics.h"
#include "projectionist/error.h"

#include <stdbool.h>
#include <stdint.h>

enum { PJ_CALLER_NAME = 160, PJ_OWNER = 201 };

struct pj_caller_settings {
    const char *tokens_file; /* or NULL */
    const char *jwt_secret;  /* HS256; or NULL. Its file is read again for each JWT */
    const char *jwt_jwks;    /* a file or an https URL of public keys; or NULL */
    const char *jwt_ca_file;
    const char *jwt_issuer, *jwt_audience; /* or NULL: not checked */
    const char *jwt_topics;                /* what a JWT may write to; or NULL: nothing */
    const char *jwt_tenant_claim;          /* a claim, "a.b" of one in another; or NULL */
    const char *jwt_service_role;          /* whose claim `role` is this speaks for any user */
    int64_t jwt_rate;
};

struct pj_caller {
    char name[PJ_CALLER_NAME]; /* "token:backend", "jwt:<sub>" */
    char tenant[PJ_OWNER];     /* "": any */
    char user[PJ_OWNER];       /* "": any */
    bool is_import;
    int64_t rate; /* events a second; 0: any */
};

struct pj_callers;

/* Reads the files; PJ_EXIT_USAGE where they are not as they should be, or nobody could be let in.
 */
int pj_callers_open(struct pj_callers **callers, const struct pj_caller_settings *settings,
                    struct pj_error *error) PJ_MUST_CHECK;
void pj_callers_close(struct pj_callers *callers); /* NULL is allowed */

/* Reads the files again that have changed; one that is not as it should be changes nothing and is
 * said in the log. Call it about once a second. May block for a while where keys are at a URL. */
void pj_callers_refresh(struct pj_callers *callers);

enum pj_admission {
    PJ_LET_IN,
    PJ_UNKNOWN_CALLER, /* 401: *error says why */
    PJ_FOREIGN_TOPIC,  /* 403: the token is not for this topic */
    PJ_ASK_AGAIN,      /* the key of a JWT is not known: to be asked again with may_block */
};

/* `authorization` is the field's value, or NULL. */
enum pj_admission pj_callers_find(struct pj_callers *callers, const char *authorization,
                                  const char *topic, bool may_block, struct pj_caller *caller,
                                  struct pj_error *error) PJ_MUST_CHECK;

/* Takes so many events from what the caller may send: 0, or how many seconds are to be waited. */
int64_t pj_callers_spend(struct pj_callers *callers, const struct pj_caller *caller, size_t events);

/* Whether a topic is one of a list of names, separated by blanks or commas, in which "captions.*"
 * stands for all that begin with "captions.". */
bool pj_topic_is_of(const char *list, const char *topic);

#endif

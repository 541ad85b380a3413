/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks. Where the gateway checks a token of its own, or shows the service one, all its clients
 * are one caller. Where the service checks what the client shows, each Authorization is a caller of
 * its own: keys belong to it, and nothing is done for it, nor told of what is known, before the
 * service has let it in. Safe from any thread.
 */
#ifndef PJ_CONTROL_GATEWAY_CALLERS_H
#define PJ_CONTROL_GATEWAY_CALLERS_H

#include "control-gateway/envelope.h"
#include "control-gateway/upstream.h"

struct pj_callers;

struct pj_callers *pj_callers_new(void);
void pj_callers_free(struct pj_callers *callers); /* NULL is allowed */

/* The caller's name: "" where all are one, and of who shows nothing; otherwise a hash, of which
 * nobody finds the token. */
void pj_caller_name(const struct pj_fields *fields, bool is_service_checking,
                    char name[PJ_UUID_TEXT]);

/*
 * Asks the service whether it lets the caller in, unless it did so a short while ago; a service
 * that is away still does what it did last. NULL: it does. Otherwise what the client is to be told,
 * which where the service has answered is its answer. A caller that shows nothing, to a service
 * that is away and has not been heard of yet, is let in: mostly nobody is asked for anything.
 */
struct pj_reply *pj_callers_check(struct pj_callers *callers, struct pj_upstream *upstream,
                                  const struct pj_fields *fields, const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a request comes from. Where the gateway checks a token of its own, or sends the service one,
 * all its clients are one caller. Where the service checks the client's token, each Authorization
 * is a caller of its own: keys belong to it, and before the service has accepted it nothing is done
 * for it and it learns nothing. Safe from any thread.
 */
#ifndef PJ_CONTROL_GATEWAY_CALLERS_H
#define PJ_CONTROL_GATEWAY_CALLERS_H

#include "control-gateway/envelope.h"
#include "control-gateway/upstream.h"

struct pj_callers;

struct pj_callers *pj_callers_new(void);
void pj_callers_free(struct pj_callers *callers); /* NULL is allowed */

/* The caller's name: "" where all are one, or no token was sent; otherwise a hash, which does not
 * reveal the token. */
void pj_caller_name(const struct pj_fields *fields, bool is_service_checking,
                    char name[PJ_UUID_TEXT]);

/*
 * Asks the service whether it accepts the caller, unless it did so a short while ago; while the
 * service is away its last answer counts. NULL: it does. Otherwise the reply for the client, which
 * is the service's own where it has answered. A caller without a token is let in while a service
 * that has never answered is away: mostly none is required.
 */
struct pj_reply *pj_callers_check(struct pj_callers *callers, struct pj_upstream *upstream,
                                  const struct pj_fields *fields, const char *name);

#endif

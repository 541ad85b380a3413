/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At start: what became of that which the former gateway left open. The service is asked about some
 * commands at a time; for those who want one of them meanwhile it is in hand.
 */
#ifndef PJ_CONTROL_GATEWAY_RESOLVE_H
#define PJ_CONTROL_GATEWAY_RESOLVE_H

#include "control-gateway/gateway.h"

struct pj_resolver;

/* Waits for it for 2 s, so that a service that forgets at its restart is mostly asked before; the
 * rest goes on behind the requests. */
struct pj_resolver *pj_resolver_start(struct pj_gateway *gateway);
void pj_resolver_stop(struct pj_resolver *resolver); /* NULL is allowed */

#endif

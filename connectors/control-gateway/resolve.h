/* SPDX-License-Identifier: Apache-2.0 */
/* At start: finds out what became of the commands that the previous gateway left open. Asks the
 * service about a few at a time; meanwhile they are claimed, so that other requests wait. */
#ifndef PJ_CONTROL_GATEWAY_RESOLVE_H
#define PJ_CONTROL_GATEWAY_RESOLVE_H

#include "control-gateway/gateway.h"

struct pj_resolver;

/* Waits for it for 2 s, so that most questions reach the service before it restarts and forgets;
 * the rest goes on in the background. */
struct pj_resolver *pj_resolver_start(struct pj_gateway *gateway);
void pj_resolver_stop(struct pj_resolver *resolver); /* NULL is allowed */

#endif

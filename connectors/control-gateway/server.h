/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP side (base/http_server.h): limits on all that a client may send, the token, and the
 * routing of requests. A request to the service is written from what was parsed, never copied. */
#ifndef PJ_CONTROL_GATEWAY_SERVER_H
#define PJ_CONTROL_GATEWAY_SERVER_H

#include "control-gateway/gateway.h"

struct pj_server;

/* Listens; PJ_EXIT_USAGE where the address is not available. */
int pj_server_start(struct pj_server **server, struct pj_gateway *gateway,
                    struct pj_error *error) PJ_MUST_CHECK;
int pj_server_port(const struct pj_server *server);

/* Accepts no more connections, waits at most timeout_ms for the requests in flight, and ends. NULL
 * is allowed. */
void pj_server_stop(struct pj_server *server, int64_t timeout_ms);

#endif

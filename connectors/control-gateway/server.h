/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP side (base/http_server.h): limits on everything a client may send, the token, and the
 * way of each request. What goes on to the service is made anew from what was understood.
 */
#ifndef PJ_CONTROL_GATEWAY_SERVER_H
#define PJ_CONTROL_GATEWAY_SERVER_H

#include "control-gateway/gateway.h"

struct pj_server;

/* Listens; PJ_EXIT_USAGE where the address cannot be had. */
int pj_server_start(struct pj_server **server, struct pj_gateway *gateway,
                    struct pj_error *error) PJ_MUST_CHECK;
int pj_server_port(const struct pj_server *server);

/* Takes no more connections, waits at most timeout_ms for the requests that are being answered, and
 * ends. NULL is allowed. */
void pj_server_stop(struct pj_server *server, int64_t timeout_ms);

#endif

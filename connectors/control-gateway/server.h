/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP side (base/http_server.h): limits on all that a client may send, the token, and the
 * routing of requests. A request to the service is written from what was parsed, never copied. */
#ifndef PJ_CONTROL_GATEWAY_SERVER_H
#define PJ_CONTROL_GATEWAY_SERVER_H

#include "base/http_server.h"
#include "control-gateway/gateway.h"

/* Listens, and answers until pj_http_server_stop. */
int pj_gateway_serve(struct pj_http_server **server, struct pj_gateway *gateway,
                     struct pj_error *error) PJ_MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Which request is which, however its path is written: servers take /V1/%63ommands/ for
 * /v1/commands, and nothing that a server executes may get past us. Pure. */
#ifndef PJ_CONTROL_GATEWAY_ROUTE_H
#define PJ_CONTROL_GATEWAY_ROUTE_H

#include "projectionist/error.h"

enum pj_route {
    PJ_ROUTE_BAD_PATH,   /* 400: dot segments, escaped slashes, control characters */
    PJ_ROUTE_BAD_METHOD, /* 405 */
    PJ_ROUTE_COMMAND,    /* POST /v1/commands */
    PJ_ROUTE_OPEN,       /* POST /v1/sessions */
    PJ_ROUTE_CLOSE,      /* DELETE /v1/sessions/:id */
    PJ_ROUTE_HEALTH,     /* GET /health, /ready: passed on, no token needed */
    PJ_ROUTE_PASS,       /* passed on */
};

enum { PJ_ROUTE_ID_MOST = 128 };

/* Methods that are known. */
#define PJ_ROUTE_METHODS "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

/* `uri`: path and query as received. `id`: of PJ_ROUTE_CLOSE, unescaped, else "". */
enum pj_route pj_route_of(const char *method, const char *uri, char id[PJ_ROUTE_ID_MOST]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP side of event-ingest: who may do what is decided by the head of a request, CORS is
 * answered, and what is left is handed on.
 */
#ifndef PJ_EVENT_INGEST_ROUTES_H
#define PJ_EVENT_INGEST_ROUTES_H

#include "base/http_server.h"
#include "event-ingest/ingest.h"

/* Listens, and answers until pj_http_server_stop. */
int pj_ingest_serve(struct pj_http_server **server, struct pj_ingest *ingest,
                    struct pj_error *error) PJ_MUST_CHECK;

#endif

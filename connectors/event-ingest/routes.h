/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP side of event-ingest: who may do what is decided by the head of a request, CORS is
 * answered, and what is left is handed on.
 */
#ifndef PJ_EVENT_INGEST_ROUTES_H
#define PJ_EVENT_INGEST_ROUTES_H

#include "event-ingest/ingest.h"

struct pj_server;

int pj_server_start(struct pj_server **server, struct pj_ingest *ingest,
                    struct pj_error *error) PJ_MUST_CHECK;
int pj_server_port(const struct pj_server *server);
/* Finishes the requests that are here, for at most timeout_ms. NULL is allowed. */
void pj_server_stop(struct pj_server *server, int64_t timeout_ms);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time limits of connections: libmicrohttpd knows only how long one was silent, and a client that
 * sends a byte now and then is never silent. A thread answers 408 to what is not whole in time, and
 * cuts what nobody reads.
 */
#ifndef PJ_CONTROL_GATEWAY_CONNECTIONS_H
#define PJ_CONTROL_GATEWAY_CONNECTIONS_H

#include "base/metrics.h"

#include <stdbool.h>
#include <stdint.h>

struct pj_connections;
struct pj_connection;

struct pj_connections *pj_connections_start(int64_t request_timeout_ms, int64_t idle_ms,
                                            struct pj_metric *timeouts);
void pj_connections_stop(struct pj_connections *connections); /* when none is left */

struct pj_connection *pj_connections_add(struct pj_connections *connections, int fd);
/* Before its socket is closed. */
void pj_connections_remove(struct pj_connections *connections, struct pj_connection *connection);
int64_t pj_connections_count(struct pj_connections *connections);

/* A request begins to arrive: the time for all of it runs. */
void pj_connection_receives(struct pj_connection *connection);
/* It is whole; false: too late, its 408 is sent. */
bool pj_connection_works(struct pj_connection *connection);
/* It is not whole yet, and part of it was worked on: the time goes on from where it stood. */
void pj_connection_resumes(struct pj_connection *connection);
/* Part of a streamed answer is taken: the next one must be within the time, too. */
void pj_connection_sends(struct pj_connection *connection);
/* Between requests. */
void pj_connection_rests(struct pj_connection *connection);

#endif

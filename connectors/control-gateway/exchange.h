/* SPDX-License-Identifier: Apache-2.0 */
/* One request and its answer, and the server they belong to. For server.c only. */
#ifndef PJ_CONTROL_GATEWAY_EXCHANGE_H
#define PJ_CONTROL_GATEWAY_EXCHANGE_H

#include "control-gateway/connections.h"
#include "control-gateway/gateway.h"
#include "control-gateway/route.h"

#include <microhttpd.h>
#include <stdatomic.h>

struct pj_server {
    struct pj_gateway *gateway;
    struct MHD_Daemon *daemon;
    struct pj_connections *connections;
    struct pj_metric *open;
    int port;
    atomic_bool is_stopping;
    atomic_int in_flight;   /* requests whose headers are here */
    atomic_size_t buffered; /* bytes of bodies */
};

struct pj_exchange {
    struct pj_server *server;
    struct MHD_Connection *connection;
    struct pj_connection *slot;
    char *uri; /* as it came */
    bool has_begun;
    enum pj_route route;
    char id[PJ_ROUTE_ID_MOST];
    struct pj_fields fields; /* end to end ones */
    bool has_body;
    int64_t body_length; /* -1: in chunks */
    int64_t start_us;
    /* The body: whole, or through a transfer. */
    char *body;
    size_t length, capacity, discarded;
    struct pj_transfer *transfer;
    struct pj_reply *reply; /* what will be answered, once it is known */
};

void pj_exchange_drop_body(struct pj_exchange *exchange);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The URL of the service's WebSocket, split into its parts. */
#ifndef PJ_TELEMETRY_BRIDGE_ADDRESS_H
#define PJ_TELEMETRY_BRIDGE_ADDRESS_H

#include "projectionist/error.h"

struct pj_address {
    char *connect; /* where libcurl connects to: http://HOST:PORT/ or https://… */
    char *host;    /* for the Host header: with the port, unless it is the scheme's default */
    char *path;    /* with the query */
    char *shown;   /* for messages, without what may be secret */
};

/* PJ_EXIT_USAGE where it is not a ws:// or wss:// URL that the bridge can use. The message does not
 * show the URL, which may hold a secret. */
int pj_address_parse(struct pj_address *address, const char *url,
                     struct pj_error *error) PJ_MUST_CHECK;
void pj_address_free(struct pj_address *address);

#endif

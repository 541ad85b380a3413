/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets of our HTTP servers. */
#ifndef PJ_BASE_LISTEN_H
#define PJ_BASE_LISTEN_H

#include "projectionist/error.h"

/* Whether it is an address, without listening there: for the start of who listens later. */
int pj_listen_check(const char *what, const char *address, struct pj_error *error) PJ_MUST_CHECK;

/*
 * Listens on "host:port", "[::1]:port", or ":port" for all interfaces; port 0 is any free one.
 * Returns the socket, the caller's; or -1 with PJ_EXIT_USAGE, where `what` ("metrics address") says
 * which setting is meant.
 */
int pj_listen(const char *what, const char *address, struct pj_error *error) PJ_MUST_CHECK;

int pj_listen_port(int fd);
void pj_listen_close(int fd);

#endif

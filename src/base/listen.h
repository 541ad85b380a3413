/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets of our HTTP servers. */
#ifndef PJ_BASE_LISTEN_H
#define PJ_BASE_LISTEN_H

#include "projectionist/error.h"

/* Whether it is an address, without listening on it: for programs that listen later. */
int pj_listen_check(const char *what, const char *address, struct pj_error *error) PJ_MUST_CHECK;

/*
 * Listens on "host:port", "[::1]:port", or ":port" for all interfaces; port 0 picks a free one.
 * Returns the socket, which the caller owns; or -1 with PJ_EXIT_USAGE, where `what` ("metrics
 * address") names the setting.
 */
int pj_listen(const char *what, const char *address, struct pj_error *error) PJ_MUST_CHECK;

int pj_listen_port(int fd);

#endif

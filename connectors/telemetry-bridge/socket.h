/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The WebSocket to the service: connects, subscribes after the last known frame, and puts new
 * frames into the buffer. Reconnects for as long as it takes. Has its own thread. (libcurl
 * connects, and speaks TLS; it follows no redirect and uses no proxy.)
 */
#ifndef PJ_TELEMETRY_BRIDGE_SOCKET_H
#define PJ_TELEMETRY_BRIDGE_SOCKET_H

#include "telemetry-bridge/bridge.h"
#include "telemetry-bridge/buffer.h"
#include "telemetry-bridge/cursor.h"

struct pj_socket;

/* Checks the settings; PJ_EXIT_USAGE where the URL is not valid. Does not connect yet. */
int pj_socket_open(struct pj_socket **socket, const struct pj_bridge_settings *settings,
                   const struct pj_bridge_metrics *metrics, struct pj_error *error) PJ_MUST_CHECK;

/* Starts the thread, after `position`. */
int pj_socket_start(struct pj_socket *socket, const struct pj_position *position,
                    struct pj_buffer *buffer, struct pj_error *error) PJ_MUST_CHECK;

/* Ends the connection and the thread; nothing more is put into the buffer. */
void pj_socket_stop(struct pj_socket *socket);
void pj_socket_close(struct pj_socket *socket); /* also stops it; NULL is allowed */

/* The buffer has room again. From any thread. */
void pj_socket_resume(struct pj_socket *socket);

/* Why it is not subscribed; false: it is. From any thread. */
bool pj_socket_trouble(struct pj_socket *socket, char *text, size_t size);
/* When its loop last ran (monotonic ms; 0: not running). */
int64_t pj_socket_last_turn_ms(const struct pj_socket *socket);

#endif

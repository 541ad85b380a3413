/* SPDX-License-Identifier: Apache-2.0 */
/* Safari's events for projectionist/testing.h, a line each. */
#ifndef PJ_TESTS_SAFARI_ORDERS_H
#define PJ_TESTS_SAFARI_ORDERS_H

#include "projectionist/testing.h"
#include "projections/safari/projections.h"
#include "projections/safari/safari.h"

#include <stdlib.h>

struct safari_orders {
    struct pj_orders orders;
    unsigned next_event;
};

/* Sources are taken in the projection's order: commands, telemetry, sessions. */
struct safari_orders safari_orders_start(const struct pj_projection *projection);

/* Each gives the event, for more to be filled in. Times are milliseconds; payload and result are
 * JSON, or NULL. A status has the cursor `<ms>-<number of the event>`. */
struct safari_command *safari_submitted(struct safari_orders *s, unsigned command, int64_t ms,
                                        const char *type, const char *payload);
struct safari_command *safari_status(struct safari_orders *s, unsigned command, int64_t ms,
                                     const char *status, const char *result, const char *error);
struct safari_frame *safari_telemetry(struct safari_orders *s, unsigned command, int64_t ms,
                                      const char *type, const char *payload);
struct safari_session *safari_session_opened(struct safari_orders *s, unsigned session, int64_t ms,
                                             const char *platform);
struct safari_session *safari_session_closed(struct safari_orders *s, unsigned session, int64_t ms);

/* Fails the test unless the text is in the rows, in every order of what has come so far. */
void safari_expect(const struct safari_orders *s, const char *text);

/* Fails the test if the text is in the rows; "safari_" for rows of any of its tables. */
void safari_refuse(const struct safari_orders *s, const char *text);

/* That many events of all the projection's topics about a few commands, paths and sessions, within
 * an hour around midnight. Fails the test unless they make a row of each table (pj_orders_reaches).
 */
void safari_orders_mixture(struct safari_orders *s, int count, unsigned seed);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of sessions, and of the commands that open, use and close them. */
#ifndef PJ_PROJECTIONS_SAFARI_SESSION_FACTS_H
#define PJ_PROJECTIONS_SAFARI_SESSION_FACTS_H

#include "projections/safari/safari.h"

enum { SESSION_COMMAND, SESSION };

#define TIME(VALUE)     VALUE(at, PJ_TIMESTAMPTZ)
#define PLATFORM(VALUE) VALUE(platform, PJ_TEXT)

#define SUBMISSION(VALUE)                                                                          \
    VALUE(type, PJ_TEXT)                                                                           \
    VALUE(payload, PJ_JSONB)                                                                       \
    VALUE(session_id, PJ_UUID)                                                                     \
    VALUE(account_id, PJ_UUID)                                                                     \
    VALUE(platform, PJ_TEXT)
#define END(VALUE) VALUE(succeeded, PJ_BOOL) VALUE(result, PJ_JSONB) VALUE(at, PJ_TIMESTAMPTZ)

#define COMMAND_FACTS(FACT)                                                                        \
    FACT(submission, PJ_LEAST, SUBMISSION)                                                         \
    FACT(last_status, PJ_GREATEST, END)                                                            \
    FACT(acts_in, PJ_LEAST, TIME) /* per session that any submission targets */                    \
    FACT(first_event, PJ_LEAST, TIME)                                                              \
    FACT(last_event, PJ_GREATEST, TIME)
PJ_FACTS(session_command, SESSION_COMMAND, COMMAND_FACTS);

#define OPENING(VALUE)                                                                             \
    VALUE(platform, PJ_TEXT)                                                                       \
    VALUE(account_id, PJ_UUID)                                                                     \
    VALUE(browser_pid, PJ_INT)                                                                     \
    VALUE(metadata, PJ_JSONB)                                                                      \
    VALUE(at, PJ_TIMESTAMPTZ)
#define OPENING_BY_COMMAND(VALUE)                                                                  \
    VALUE(platform, PJ_TEXT) VALUE(account_id, PJ_UUID) VALUE(at, PJ_TIMESTAMPTZ)

#define SESSION_FACTS(FACT)                                                                        \
    FACT(opened, PJ_LEAST, OPENING)                       /* by its own event */                   \
    FACT(opened_by_command, PJ_LEAST, OPENING_BY_COMMAND) /* per command */                        \
    FACT(closed, PJ_LEAST, TIME)                                                                   \
    FACT(closed_by_command, PJ_LEAST, TIME) /* per command */                                      \
    FACT(first_activity, PJ_LEAST, TIME)                                                           \
    FACT(last_activity, PJ_GREATEST, TIME)                                                         \
    FACT(first_platform, PJ_LEAST, PLATFORM) /* of the earliest activity that names one */
PJ_FACTS(session, SESSION, SESSION_FACTS);

/* Whatever happens in a session keeps it alive. */
void session_keep_activity(struct pj_observer *observer, const struct pj_uuid *session,
                           struct pj_timestamptz at, const struct pj_order *order,
                           struct pj_text platform);

/* Commands, and what they tell their sessions. */
int session_observe_command(const struct pj_event *event, struct pj_observer *observer,
                            struct pj_error *error);
void session_derive_command(const struct pj_entity *entity, struct pj_derivation *derivation);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far the offsets are that no crash of Postgres takes back, where commits do not wait for the
 * disk (--commit async): pj_partition's durable_offset. It is found out by asking now and then how
 * far Postgres' log is on disk, so it lags by as long.
 */
#ifndef PJ_ENGINE_DURABLE_H
#define PJ_ENGINE_DURABLE_H

#include "engine/session.h"

struct pj_durable {
    int64_t written;     /* of the log, when offsets were noted; 0: none are */
    int64_t connections; /* of the unit then: another one may lead to a log that was cut */
    bool complained;
};

/* One question to Postgres between two transactions. Where that cannot answer, nothing changes:
 * whatever is wrong shows at the next commit. */
void pj_durable_look(struct pj_durable *durable, struct pj_session *session);
/* Looks; whether all that was committed is durable. */
bool pj_durable_all(struct pj_durable *durable, struct pj_session *session);
/* Looks until that is so, for a second at most. */
void pj_durable_wait(struct pj_durable *durable, struct pj_session *session);

#endif

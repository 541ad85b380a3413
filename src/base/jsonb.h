/* SPDX-License-Identifier: Apache-2.0 */
/* Which JSON text a jsonb of Postgres holds. */
#ifndef PJ_BASE_JSONB_H
#define PJ_BASE_JSONB_H

#include <jansson.h>
#include <stdbool.h>

struct pj_jsonb_fault {
    const char *sqlstate;                     /* as Postgres would refuse it */
    char reason[JSON_ERROR_TEXT_LENGTH + 40]; /* what comes after the name of a field */
};

bool pj_jsonb_holds(const char *text, size_t length, struct pj_jsonb_fault *fault);

#endif

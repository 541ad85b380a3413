/* SPDX-License-Identifier: Apache-2.0 */
#include "store/rules.h"

#include "base/text.h"

#include <stdlib.h>

int pj_rules_version(struct pj_postgres *postgres, const struct pj_identity *identity,
                     int32_t version, bool accept, int32_t *of_rows, struct pj_error *error)
{
    char number[16];
    const char *parameters[] = {identity->cluster_id, identity->group, identity->projection, number,
                                accept ? "true" : "false"};
    struct pj_result *result;
    pj_text_whole(number, sizeof number, "%d", (int)version);
    if (pj_postgres_query(postgres,
                          "SELECT projectionist.version_of_rows($1, $2, $3, $4::integer, "
                          "$5::boolean)",
                          5, parameters, &result, error) != 0)
        return -1;
    *of_rows = (int32_t)strtol(pj_result_value(result, 0, 0, NULL), NULL, 10);
    pj_result_free(result);
    return 0;
}

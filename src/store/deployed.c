/* SPDX-License-Identifier: Apache-2.0 */
#include "store/deployed.h"

int pj_deployed(struct pj_postgres *postgres, const char *system, bool *deployed,
                struct pj_error *error)
{
    struct pj_result *result;
    *deployed = true;
    if (pj_postgres_query(postgres,
                          "SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = "
                          "c.relnamespace WHERE n.nspname = 'projectionist' AND c.relname = "
                          "'migrations' AND has_table_privilege(c.oid, 'SELECT') "
                          "AND has_schema_privilege(n.oid, 'USAGE')",
                          0, NULL, &result, error) != 0)
        return -1;
    bool known = pj_result_rows(result) > 0;
    pj_result_free(result);
    if (!known)
        return 0;
    if (pj_postgres_query(postgres,
                          "SELECT FROM projectionist.migrations WHERE system = $1 LIMIT 1", 1,
                          &system, &result, error) != 0)
        return -1;
    *deployed = pj_result_rows(result) > 0;
    pj_result_free(result);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include "postgres/postgres_settings.h"
#include "store/access.h"

#define LOCAL_CLUSTER "for the local cluster: eval \"$(deploy/local/cluster env)\""

int pj_cli_postgres(struct pj_postgres **postgres, const struct pj_config *config,
                    const struct pj_cli_servers *servers, struct pj_error *error)
{
    struct pj_postgres_settings settings = {.dsn = servers->postgres_dsn,
                                            .properties = &config->postgres,
                                            .application_name = "projectionist",
                                            .connect_timeout_ms = servers->timeout_ms};
    if (!pj_postgres_is_named(&settings))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "no database is named: give --postgres-dsn or set "
                              "PROJECTIONIST_POSTGRES_DSN (" LOCAL_CLUSTER ")");
    if (pj_postgres_check_files(&settings, error) != 0 ||
        pj_postgres_open(postgres, &settings, error) != 0)
        return -1;
    if (pj_access_check(*postgres, NULL, error) == 0)
        return 0;
    pj_postgres_close(*postgres);
    *postgres = NULL;
    return -1;
}

int pj_cli_registry(struct pj_registry **registry, const struct pj_cli_servers *servers,
                    struct pj_error *error)
{
    if (servers->registry.url == NULL || *servers->registry.url == '\0')
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "no schema registry is named: give --schema-registry-url or set "
                              "PROJECTIONIST_SCHEMA_REGISTRY_URL (" LOCAL_CLUSTER ")");
    struct pj_registry_settings settings = servers->registry;
    settings.timeout_ms = servers->timeout_ms;
    return pj_registry_open(registry, &settings, error);
}

const char *pj_cli_text(const struct pj_result *result, int row, int column)
{
    const char *value = pj_result_value(result, row, column, NULL);
    return value != NULL ? value : "";
}

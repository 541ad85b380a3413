/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist schemas register: registers the schemas of schemas/. */
#include "base/text.h"
#include "cli/deployment.h"

struct settings {
    struct pj_cli_servers servers;
    bool dry_run;
};

static const char compatibility[] = "BACKWARD_TRANSITIVE";

static int register_one(struct pj_registry *registry, const char *subject, const char *schema,
                        struct pj_error *error)
{
    int32_t id;
    /* First, so that even the first version is checked against what is there. Not every registry
     * allows it, or knows the level; the schema is usable without. */
    if (pj_registry_set_compatibility(registry, subject, compatibility, error) != 0) {
        if (error->class == PJ_RETRY)
            return -1;
        fprintf(stderr, "warning: %s keeps its compatibility level: %s\n", subject, error->message);
    }
    if (pj_registry_register(registry, subject, schema, &id, error) != 0)
        return -1;
    printf("%s has id %d\n", subject, (int)id);
    return 0;
}

static int register_all(struct pj_registry *registry, const struct pj_system *system,
                        const struct settings *settings, struct pj_error *error)
{
    int status = 0;
    for (size_t i = 0; i < system->topic_count && status == 0; i++) {
        const struct pj_topic *topic = &system->topics[i];
        char name[PJ_TOPIC_NAME_SIZE];
        char subject[PJ_TOPIC_NAME_SIZE + sizeof "-value"];
        pj_text_whole(subject, sizeof subject, "%s-value",
                      pj_topic_name(name, settings->servers.topic_prefix, topic->name));
        if (topic->schema != NULL && settings->dry_run)
            printf("would register %s (%s)\n", subject, compatibility);
        else if (topic->schema != NULL)
            status = register_one(registry, subject, topic->schema, error);
    }
    return status;
}

static int run(struct pj_cli *cli, const void *settings, struct pj_error *error)
{
    int status = 0;
    if (pj_cli_check_names(cli->config, error) != 0 || pj_cli_registry(cli, error) != 0)
        return -1;
    for (size_t i = 0; pj_cli_systems[i] != NULL && status == 0; i++) {
        if (pj_cli_names_system(cli->config, pj_cli_systems[i]))
            status = register_all(cli->registry, pj_cli_systems[i], settings, error);
    }
    return status;
}

static const struct pj_option options[] = {
    PJ_CLI_REGISTRY_OPTIONS,
    PJ_CLI_SYSTEMS_OPTION,
    PJ_CLI_TOPIC_PREFIX_OPTION,
    PJ_CLI_DRY_RUN_OPTION(struct settings,
                          "Say what would be registered, and do not ask the registry."),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_schemas_register = {
    .name = "schemas register",
    .summary = "register the schemas",
    .description =
        "  Registers the schema of each topic, which is built into the program, as the\n"
        "  newest version of the subject TOPIC-value, and prints the id that the\n"
        "  registry gives it. An existing schema keeps its id. Before that\n"
        "  the subject's compatibility is set to BACKWARD_TRANSITIVE, so that each later\n"
        "  version reads the records of all earlier ones; a warning says where the\n"
        "  registry refuses.\n",
    .examples = "  projectionist schemas register\n"
                "  projectionist schemas register --dry-run\n",
    .operands = "[SYSTEM|PROJECTION]...",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};

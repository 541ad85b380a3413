/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist schemas register: makes the schemas of schemas/ known to the registry. */
#include "base/text.h"
#include "cli/cli.h"

#include "schemas.h"

struct settings {
    struct pj_cli_servers servers;
    bool dry_run;
};

static const char compatibility[] = "BACKWARD_TRANSITIVE";

static int register_one(struct pj_registry *registry, const struct pj_embedded_schema *schema,
                        struct pj_error *error)
{
    char subject[256];
    int32_t id;
    pj_text_whole(subject, sizeof subject, "%s-value", schema->topic);
    /* First, so that even the first version is checked against what is there. Not every registry
     * lets us, or knows the level; the schema is good without. */
    if (pj_registry_set_compatibility(registry, subject, compatibility, error) != 0) {
        if (error->class == PJ_RETRY)
            return -1;
        fprintf(stderr, "warning: %s keeps its compatibility level: %s\n", subject, error->message);
    }
    if (pj_registry_register(registry, subject, schema->schema, &id, error) != 0)
        return -1;
    printf("%s has id %d\n", subject, (int)id);
    return 0;
}

static int run(const struct pj_config *config, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    struct pj_registry *registry;
    (void)config;
    if (pj_cli_registry(&registry, &settings->servers, error) != 0)
        return -1;
    int status = 0;
    for (size_t i = 0; i < pj_embedded_schema_count && status == 0; i++) {
        if (settings->dry_run)
            printf("would register %s-value (%s)\n", pj_embedded_schemas[i].topic, compatibility);
        else
            status = register_one(registry, &pj_embedded_schemas[i], error);
    }
    pj_registry_close(registry);
    return status;
}

static const struct pj_option options[] = {
    PJ_CLI_REGISTRY_OPTIONS,
    {.name = "dry-run",
     .letter = 'n',
     .kind = PJ_OPTION_BOOL,
     .offset = offsetof(struct settings, dry_run),
     .help = "Say what would be registered, and do not ask the registry."},
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_schemas_register = {
    .name = "schemas register",
    .summary = "make the schemas known to the registry",
    .description =
        "  Registers the schema of each topic, which is built into the program, as the\n"
        "  newest version of the subject TOPIC-value, and prints the id that the\n"
        "  registry gives it. A schema that is there already keeps its id. Before that\n"
        "  the subject's compatibility is set to BACKWARD_TRANSITIVE, so that each later\n"
        "  version reads the records of all earlier ones; a warning says where the\n"
        "  registry refuses.\n",
    .examples = "  projectionist schemas register\n"
                "  projectionist schemas register --dry-run\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};

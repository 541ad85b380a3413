/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist consume: the consumers of this program. */
#include "cli/deployment.h"

#include "engine/settings.h"
#include "projectionist/consumer.h"

#include <stdlib.h>
#include <string.h>

static void list_consumers(FILE *out)
{
    fputs("CONSUMERS\n", out);
    for (size_t i = 0; i < pj_cli_projection_count; i++)
        fprintf(out, "  %-20s %s\n", pj_cli_projections[i].projection->name,
                pj_cli_projections[i].projection->summary);
    fprintf(out, "\nAll about one of them: %s consume NAME --help\n", pj_program());
}

static int unknown(const char *name)
{
    char *names = pj_cli_list_names(false, true);
    fprintf(stderr, "%s consume: there is no consumer '%s'; there are %s\n", pj_program(), name,
            names);
    free(names);
    return PJ_EXIT_USAGE;
}

static int consume(int argc, char **argv)
{
    if (argc == 0) {
        fprintf(stderr, "usage: %s consume NAME [OPTION]...\n\n", pj_program());
        list_consumers(stderr);
        return PJ_EXIT_USAGE;
    }
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
        pj_help_command(stdout, &pj_command_consume);
        putchar('\n');
        list_consumers(stdout);
        return PJ_EXIT_OK;
    }
    const struct pj_cli_projection *consumer = pj_cli_projection_find(argv[0]);
    return consumer != NULL ? pj_consumer_main(consumer->system, consumer->projection, argc, argv)
                            : unknown(argv[0]);
}

const struct pj_command pj_command_consume = {
    .name = "consume",
    .summary = "run a consumer, which keeps its tables up to date",
    .description =
        "  Runs the consumer NAME until it is stopped. A link to this program that has a\n"
        "  consumer's name is that consumer.\n",
    .examples = "  projectionist consume --help\n"
                "  projectionist consume CONSUMER --help\n"
                "  projectionist consume CONSUMER --metrics-address :9100\n",
    .operands = "NAME",
    .options = pj_consumer_options,
    .main = consume,
};

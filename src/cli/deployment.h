/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The systems that a command works on: those of this program, or of them those that --systems
 * names. Their projections have the topics as Kafka names them, with --topic-prefix.
 */
#ifndef PJ_CLI_DEPLOYMENT_H
#define PJ_CLI_DEPLOYMENT_H

#include "cli/cli.h"
#include "projectionist/system.h"

struct pj_cli_projection {
    const struct pj_system *system;
    const struct pj_projection *projection;
    char *group; /* of its consumers, where --group names no other */
};

/* All of the program, in its order; NULL ends them. */
extern const struct pj_system *const *pj_cli_systems;

/* Of the systems that are configured. */
extern struct pj_cli_projection *pj_cli_projections;
extern size_t pj_cli_projection_count;

/* Before all others: those of the program. No two of the names may be the same. */
void pj_cli_systems_set(const struct pj_system *const *systems);
/* As the settings say; PJ_EXIT_USAGE on an unknown system or a bad prefix. */
int pj_cli_systems_configure(const struct pj_cli_servers *servers,
                             struct pj_error *error) PJ_MUST_CHECK;
void pj_cli_systems_free(void);
/*
 * Leaves out, with a line on stderr, the systems that were never migrated in the database, which
 * the command has opened. One that the operator names, as an operand or by --systems, is an error
 * (PJ_EXIT_DATABASE), and so is it where none is left.
 */
int pj_cli_systems_deployed(struct pj_cli *cli, struct pj_error *error) PJ_MUST_CHECK;

/* NULL where none of those configured has the name. */
const struct pj_system *pj_cli_system_find(const char *name);
const struct pj_cli_projection *pj_cli_projection_find(const char *name); /* NULL is allowed */
const struct pj_cli_projection *pj_cli_projection_of_group(const char *group);

/* As a system of the program declares it, or NULL. */
const struct pj_topic *pj_cli_topic_find(const char *name);
/* Of the program's systems, only some that are not configured have the topic, which Kafka names. */
bool pj_cli_topic_is_left_out(const char *prefix, const char *topic);

/* Whether an operand names it, or is `all`, or there is none. A projection is named by its system,
 * and a system by one of its projections. */
bool pj_cli_names_system(const struct pj_config *config, const struct pj_system *system);
bool pj_cli_names_projection(const struct pj_config *config,
                             const struct pj_cli_projection *projection);
/* "safari, command-projector, …"; the caller frees it. */
char *pj_cli_list_names(bool systems, bool projections);
/* PJ_EXIT_USAGE for an operand that is neither, with the names that there are. */
int pj_cli_check_names(const struct pj_config *config, struct pj_error *error) PJ_MUST_CHECK;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/deployment.h"

#include "base/invariant.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/topic_name.h"
#include "fold/prefixed.h"

#include <stdlib.h>
#include <string.h>

const struct pj_system *const *pj_cli_systems;
struct pj_cli_projection *pj_cli_projections;
size_t pj_cli_projection_count;

/* Which of all are configured. */
static const struct pj_system **chosen;
static size_t chosen_count;

static const struct pj_system *find(const struct pj_system *const *systems, size_t count,
                                    const char *name, size_t length)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(systems[i]->name) == length && memcmp(systems[i]->name, name, length) == 0)
            return systems[i];
    }
    return NULL;
}

static size_t count_all(void)
{
    size_t count = 0;
    while (pj_cli_systems[count] != NULL)
        count++;
    return count;
}

static void add(const struct pj_system *system, const char *prefix)
{
    chosen[chosen_count++] = system;
    pj_cli_projections =
        pj_resize(pj_cli_projections, pj_cli_projection_count + system->projection_count,
                  sizeof *pj_cli_projections);
    for (size_t i = 0; i < system->projection_count; i++) {
        char group[PJ_TOPIC_NAME_SIZE];
        const struct pj_projection *projection = system->projections[i];
        pj_cli_projections[pj_cli_projection_count++] =
            (struct pj_cli_projection){system, pj_projection_prefixed(projection, prefix),
                                       pj_strdup(pj_topic_name(group, prefix, projection->name))};
    }
}

void pj_cli_systems_free(void)
{
    for (size_t i = 0; i < pj_cli_projection_count; i++)
        free(pj_cli_projections[i].group);
    free(chosen);
    free(pj_cli_projections);
    chosen = NULL;
    pj_cli_projections = NULL;
    pj_cli_projection_count = chosen_count = 0;
}

static void clear(void)
{
    pj_cli_systems_free();
    chosen = pj_calloc(count_all(), sizeof *chosen);
}

static void add_all(const char *prefix)
{
    for (size_t i = 0; pj_cli_systems[i] != NULL; i++)
        add(pj_cli_systems[i], prefix);
}

void pj_cli_systems_set(const struct pj_system *const *systems)
{
    pj_cli_systems = systems;
    clear();
    add_all(NULL);
    for (size_t i = 0; i < pj_cli_projection_count; i++) {
        const char *name = pj_cli_projections[i].projection->name;
        PJ_CHECK(pj_cli_projection_find(name) == &pj_cli_projections[i] &&
                     pj_cli_system_find(name) == NULL,
                 "two of the systems and projections of a program have the same name");
    }
}

char *pj_cli_list_names(bool systems, bool projections)
{
    struct pj_builder names = {0};
    for (size_t i = 0; i < chosen_count && systems; i++)
        pj_builder_add(&names, "%s%s", names.length > 0 ? ", " : "", chosen[i]->name);
    for (size_t i = 0; i < pj_cli_projection_count && projections; i++)
        pj_builder_add(&names, "%s%s", names.length > 0 ? ", " : "",
                       pj_cli_projections[i].projection->name);
    return pj_builder_take(&names);
}

static int choose(const char *names, const char *prefix, struct pj_error *error)
{
    char *all = pj_cli_list_names(true, false);
    int status = 0;
    clear();
    for (const char *name = names; status == 0; name++) {
        size_t length = strcspn(name, ",");
        const struct pj_system *system = find(pj_cli_systems, count_all(), name, length);
        if (system == NULL)
            status = pj_error_fatal(error, PJ_EXIT_USAGE,
                                    "--systems: there is no system '%.*s'; there are %s",
                                    length < 100 ? (int)length : 100, name, all);
        else if (pj_cli_system_find(system->name) == NULL)
            add(system, prefix);
        name += length;
        if (*name == '\0')
            break;
    }
    free(all);
    return status;
}

int pj_cli_systems_configure(const struct pj_cli_servers *servers, struct pj_error *error)
{
    if (pj_topic_prefix_check(servers->topic_prefix, error) != 0)
        return -1;
    if (servers->systems != NULL)
        return choose(servers->systems, servers->topic_prefix, error);
    clear();
    add_all(servers->topic_prefix);
    return 0;
}

const struct pj_system *pj_cli_system_find(const char *name)
{
    return find(chosen, chosen_count, name, strlen(name));
}

const struct pj_cli_projection *pj_cli_projection_find(const char *name)
{
    for (size_t i = 0; name != NULL && i < pj_cli_projection_count; i++) {
        if (strcmp(pj_cli_projections[i].projection->name, name) == 0)
            return &pj_cli_projections[i];
    }
    return NULL;
}

const struct pj_cli_projection *pj_cli_projection_of_group(const char *group)
{
    for (size_t i = 0; i < pj_cli_projection_count; i++) {
        if (strcmp(pj_cli_projections[i].group, group) == 0)
            return &pj_cli_projections[i];
    }
    return NULL;
}

const struct pj_topic *pj_cli_topic_find(const char *name)
{
    for (size_t s = 0; pj_cli_systems[s] != NULL; s++) {
        for (size_t t = 0; t < pj_cli_systems[s]->topic_count; t++) {
            if (strcmp(pj_cli_systems[s]->topics[t].name, name) == 0)
                return &pj_cli_systems[s]->topics[t];
        }
    }
    return NULL;
}

bool pj_cli_topic_is_left_out(const char *prefix, const char *topic)
{
    bool is_left_out = false;
    for (size_t s = 0; pj_cli_systems[s] != NULL; s++) {
        for (size_t t = 0; t < pj_cli_systems[s]->topic_count; t++) {
            char name[PJ_TOPIC_NAME_SIZE];
            if (strcmp(pj_topic_name(name, prefix, pj_cli_systems[s]->topics[t].name), topic) != 0)
                continue;
            if (pj_cli_system_find(pj_cli_systems[s]->name) != NULL)
                return false;
            is_left_out = true;
        }
    }
    return is_left_out;
}

static bool names_all(const struct pj_config *config)
{
    return config->operand_count == 0 ||
           (config->operand_count == 1 && strcmp(config->operands[0], "all") == 0);
}

static bool has_operand(const struct pj_config *config, const char *name)
{
    for (int i = 0; i < config->operand_count; i++) {
        if (strcmp(config->operands[i], name) == 0)
            return true;
    }
    return false;
}

bool pj_cli_names_projection(const struct pj_config *config,
                             const struct pj_cli_projection *projection)
{
    return names_all(config) || has_operand(config, projection->system->name) ||
           has_operand(config, projection->projection->name);
}

bool pj_cli_names_system(const struct pj_config *config, const struct pj_system *system)
{
    if (pj_cli_system_find(system->name) == NULL)
        return false;
    if (names_all(config) || has_operand(config, system->name))
        return true;
    for (size_t i = 0; i < system->projection_count; i++) {
        if (has_operand(config, system->projections[i]->name))
            return true;
    }
    return false;
}

/* --- which are deployed ---------------------------------------------------------------------- */

static void leave_out(const struct pj_system *system)
{
    size_t kept = 0;
    for (size_t i = 0; i < chosen_count; i++) {
        if (chosen[i] != system)
            chosen[kept++] = chosen[i];
    }
    chosen_count = kept;
    kept = 0;
    for (size_t i = 0; i < pj_cli_projection_count; i++) {
        if (pj_cli_projections[i].system != system)
            pj_cli_projections[kept++] = pj_cli_projections[i];
        else
            free(pj_cli_projections[i].group);
    }
    pj_cli_projection_count = kept;
}

static bool is_named(const struct pj_cli *cli, const struct pj_system *system)
{
    return cli->servers->systems != NULL ||
           (!names_all(cli->config) && pj_cli_names_system(cli->config, system));
}

int pj_cli_systems_deployed(struct pj_cli *cli, struct pj_error *error)
{
    for (size_t i = chosen_count; i-- > 0;) {
        const struct pj_system *system = chosen[i];
        bool deployed = true;
        if (system->migrations != NULL &&
            pj_postgres_migrated(cli->postgres, system->name, &deployed, NULL, error) != 0)
            return -1;
        if (deployed)
            continue;
        if (is_named(cli, system) || chosen_count == 1)
            return pj_error_fatal(error, PJ_EXIT_DATABASE,
                                  "%s is not deployed in this database; 'projectionist migrate "
                                  "%s' creates its tables",
                                  system->name, system->name);
        if (names_all(cli->config))
            fprintf(stderr, "%s: not deployed here: %s migrate %s\n", system->name, pj_program(),
                    system->name);
        leave_out(system);
    }
    return 0;
}

int pj_cli_check_names(const struct pj_config *config, struct pj_error *error)
{
    for (int i = 0; i < config->operand_count && !names_all(config); i++) {
        const char *name = config->operands[i];
        if (pj_cli_system_find(name) != NULL || pj_cli_projection_find(name) != NULL)
            continue;
        char *names = pj_cli_list_names(true, true);
        pj_error_fatal(error, PJ_EXIT_USAGE,
                       "this program has no system or projection '%.100s'; give %s, or all", name,
                       names);
        free(names);
        return -1;
    }
    return 0;
}

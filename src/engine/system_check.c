/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/system_check.h"

#include "fold/declaration_internal.h"

#include <string.h>

enum { TABLES_SCHEMA_MOST = 63 };

static int check_topic(const struct pj_system *system, size_t index, struct pj_error *error)
{
    const struct pj_topic *topic = &system->topics[index];
    if (topic->name == NULL || *topic->name == '\0')
        return PJ_WRONG(error, "topic %zu of the system %s lacks its name", index, system->name);
    for (size_t i = 0; i < index; i++) {
        if (strcmp(system->topics[i].name, topic->name) == 0)
            return PJ_WRONG(error, "the system %s names the topic %s twice", system->name,
                            topic->name);
    }
    if (topic->partitions < 0 || topic->retention_ms < 0 || topic->max_message_bytes < 0)
        return PJ_WRONG(error,
                        "the topic %s of the system %s has a setting below 0; 0 is the default",
                        topic->name, system->name);
    return 0;
}

static int check_script(const struct pj_system *system, size_t index, struct pj_error *error)
{
    const struct pj_migration_script *script = &system->migrations[index];
    if (strspn(script->name, "0123456789") != 4 || script->name[4] != '_' || script->sql == NULL)
        return PJ_WRONG(error,
                        "the migration %s of the system %s must have a name as 0001_tables.sql "
                        "and its SQL",
                        script->name, system->name);
    if (index > 0 && strncmp(script->name, system->migrations[index - 1].name, 4) <= 0)
        return PJ_WRONG(
            error, "the number of the migration %s of the system %s does not follow the one before",
            script->name, system->name);
    return 0;
}

int pj_system_check(const struct pj_system *system, struct pj_error *error)
{
    if (system == NULL)
        return PJ_WRONG(error, "no system is given: name one in pj_consumer_main");
    if (!pj_declaration_is_word(system->name, pj_declaration_program_name) ||
        strcmp(system->name, "engine") == 0 || strcmp(system->name, "all") == 0)
        return PJ_WRONG(error,
                        "the name of a system is '%.100s', and must be of small letters, "
                        "digits and dashes, and not engine or all",
                        system->name != NULL ? system->name : "");
    if (system->tables_schema == NULL || *system->tables_schema == '\0' ||
        strlen(system->tables_schema) > TABLES_SCHEMA_MOST ||
        strcmp(system->tables_schema, "projectionist") == 0)
        return PJ_WRONG(error,
                        "the tables_schema of the system %s is '%.100s', and must be a schema "
                        "of at most %d bytes that is not projectionist's own",
                        system->name, system->tables_schema != NULL ? system->tables_schema : "",
                        TABLES_SCHEMA_MOST);
    for (size_t i = 0; i < system->topic_count; i++) {
        if (check_topic(system, i, error) != 0)
            return -1;
    }
    for (size_t i = 0; system->migrations != NULL && system->migrations[i].name != NULL; i++) {
        if (check_script(system, i, error) != 0)
            return -1;
    }
    return 0;
}

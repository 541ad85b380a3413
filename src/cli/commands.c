/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

const struct pj_command *const pj_commands[] = {
    &pj_command_consume,
    &pj_command_status,
    &pj_command_top,
    &pj_command_migrate,
    &pj_command_roles,
    &pj_command_dead_letters_list,
    &pj_command_dead_letters_show,
    &pj_command_dead_letters_replay,
    &pj_command_dead_letters_discard,
    &pj_command_verify,
    &pj_command_rebuild,
    &pj_command_offsets_show,
    &pj_command_offsets_set,
    &pj_command_topics_create,
    &pj_command_schemas_register,
    &pj_command_schemas_list,
    &pj_command_schemas_forget,
    &pj_command_publish,
    &pj_command_heartbeat,
    &pj_command_trim,
    &pj_command_new,
    &pj_command_completion,
};

const size_t pj_command_count = sizeof pj_commands / sizeof pj_commands[0];

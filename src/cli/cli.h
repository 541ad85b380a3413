/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `projectionist` command: what its subcommands share. A subcommand is one file that ends in
 * one const struct pj_command, listed in commands.c.
 */
#ifndef PJ_CLI_H
#define PJ_CLI_H

#include "avro/registry.h"
#include "base/config.h"
#include "base/topic_name.h"
#include "postgres/postgres.h"

struct pj_command {
    const char *name; /* one word or two, "topics create" */
    const char *summary;
    const char *description;         /* paragraphs, wrapped by hand at 80 columns */
    const char *examples;            /* lines, as they would be typed */
    const char *exit_status;         /* lines besides those that all have, or NULL */
    bool exit_status_is_whole;       /* they are instead of those */
    const char *operands;            /* "PROJECTION", or NULL: then none is accepted */
    const struct pj_option *options; /* what follows --help and --config */
    size_t settings_size;            /* of the struct that the options fill */
    /* Reads its arguments itself, after the words of its name, instead of run. */
    int (*main)(int argc, char **argv);
    /* Or 0: where in it a struct pj_cli_projection_settings is, whose options follow the others. */
    size_t projection_settings;
    /* Returns an enum pj_exit, or -1 with *error filled, which main prints. */
    int (*run)(const struct pj_config *config, const void *settings, struct pj_error *error);
};

extern const struct pj_command pj_command_completion;
extern const struct pj_command pj_command_consume;
extern const struct pj_command pj_command_dead_letters_discard;
extern const struct pj_command pj_command_dead_letters_list;
extern const struct pj_command pj_command_dead_letters_replay;
extern const struct pj_command pj_command_dead_letters_show;
extern const struct pj_command pj_command_migrate;
extern const struct pj_command pj_command_offsets_set;
extern const struct pj_command pj_command_offsets_show;
extern const struct pj_command pj_command_rebuild;
extern const struct pj_command pj_command_schemas_register;
extern const struct pj_command pj_command_schemas_list;
extern const struct pj_command pj_command_schemas_forget;
extern const struct pj_command pj_command_status;
extern const struct pj_command pj_command_topics_create;
extern const struct pj_command pj_command_verify;

extern const struct pj_command *const pj_commands[];
extern const size_t pj_command_count;

/* All of the command's options; valid until the next call. */
const struct pj_option *pj_cli_options(const struct pj_command *command);

/* Help texts, on `out`. */
void pj_help_overview(FILE *out);
void pj_help_command(FILE *out, const struct pj_command *command);
/* The commands that begin with the word; false where there are none. */
bool pj_help_family(FILE *out, const char *word);
/* The command whose name is nearest to what was typed, or NULL when none is near. */
const char *pj_help_suggestion(const char *typed);
/* The same among other names. */
const char *pj_help_nearest(const char *typed, const char *const *names, size_t count);

/* --- connections ----------------------------------------------------------------------------- */

/* The servers, and what of them is ours; a command's settings struct begins with it. */
struct pj_cli_servers {
    const char *postgres_dsn;
    struct pj_registry_settings registry; /* url NULL: none is named */
    int64_t timeout_ms;
    const char *systems;       /* NULL: all of the program */
    const char *topic_prefix;  /* or NULL */
    const char *tables_schema; /* NULL: each system's own */
};

#define PJ_CLI_SYSTEMS_OPTION                                                                      \
    {                                                                                              \
        .name = "systems", .kind = PJ_OPTION_STRING, .filled = true,                               \
        .offset = offsetof(struct pj_cli_servers, systems), .argument = "NAME,…",                  \
        .help = "The systems that are deployed here, with commas between them; the default is "    \
                "all that are built in."                                                           \
    }
#define PJ_CLI_TABLES_SCHEMA_OPTION                                                                \
    PJ_TABLES_SCHEMA_OPTION(offsetof(struct pj_cli_servers, tables_schema))
#define PJ_CLI_TOPIC_PREFIX_OPTION                                                                 \
    PJ_TOPIC_PREFIX_OPTION(offsetof(struct pj_cli_servers, topic_prefix))

#define PJ_CLI_POSTGRES_OPTIONS                                                                    \
    {                                                                                              \
        .name = "postgres-dsn", .kind = PJ_OPTION_STRING,                                          \
        .offset = offsetof(struct pj_cli_servers, postgres_dsn), .argument = "DSN",                \
        .help =                                                                                    \
            "The database, as a URI (postgresql://…) or as key=value pairs. With a password in " \
            "it, give it as PROJECTIONIST_POSTGRES_DSN, not as a flag."                            \
    }

#define PJ_CLI_REGISTRY_OPTIONS                                                                    \
    PJ_REGISTRY_OPTIONS(offsetof(struct pj_cli_servers, registry),                                 \
                        "The schema registry's Confluent API.")

#define PJ_CLI_TIMEOUT_OPTION                                                                      \
    {                                                                                              \
        .name = "timeout", .kind = PJ_OPTION_DURATION,                                             \
        .offset = offsetof(struct pj_cli_servers, timeout_ms), .fallback = "10s",                  \
        .argument = "TIME", .help = "How long to wait for a server's answer.", .least = 100,       \
        .most = 3600000                                                                            \
    }

/* Of a command whose settings are the type: in its members `yes` and `json`. */
#define PJ_CLI_YES_OPTION(type)                                                                    \
    {                                                                                              \
        .name = "yes", .letter = 'y', .kind = PJ_OPTION_BOOL, .offset = offsetof(type, yes),       \
        .help = "Do not ask; needed where standard input is no terminal."                          \
    }
#define PJ_CLI_JSON_OPTION(type)                                                                   \
    {                                                                                              \
        .name = "json", .kind = PJ_OPTION_BOOL, .offset = offsetof(type, json),                    \
        .help = "Print one JSON object instead of text for people."                                \
    }

/* Both fail with PJ_EXIT_USAGE, naming flag and variable, where nothing says where the server is.
 */
int pj_cli_postgres(struct pj_postgres **postgres, const struct pj_config *config,
                    const struct pj_cli_servers *servers, struct pj_error *error) PJ_MUST_CHECK;
int pj_cli_registry(struct pj_registry **registry, const struct pj_cli_servers *servers,
                    struct pj_error *error) PJ_MUST_CHECK;

/* A column of a text result that is never NULL, "" where it is; borrowed from the result. */
const char *pj_cli_text(const struct pj_result *result, int row, int column);

#endif

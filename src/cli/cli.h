/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `projectionist` command: what its subcommands share. A subcommand is one file that ends in
 * one const struct pj_command, listed in commands.c.
 */
#ifndef PJ_CLI_H
#define PJ_CLI_H

#include "avro/registry.h"
#include "base/arena.h"
#include "base/config.h"
#include "base/program.h"
#include "base/topic_name.h"
#include "kafka/admin.h"
#include "postgres/postgres.h"

#include <jansson.h>

struct pj_cli;
struct pj_system;

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
    int (*run)(struct pj_cli *cli, const void *settings, struct pj_error *error);
};

extern const struct pj_command pj_command_completion;
extern const struct pj_command pj_command_consume;
extern const struct pj_command pj_command_dead_letters_discard;
extern const struct pj_command pj_command_dead_letters_list;
extern const struct pj_command pj_command_dead_letters_replay;
extern const struct pj_command pj_command_dead_letters_show;
extern const struct pj_command pj_command_heartbeat;
extern const struct pj_command pj_command_migrate;
extern const struct pj_command pj_command_new;
extern const struct pj_command pj_command_offsets_set;
extern const struct pj_command pj_command_offsets_show;
extern const struct pj_command pj_command_publish;
extern const struct pj_command pj_command_rebuild;
extern const struct pj_command pj_command_roles;
extern const struct pj_command pj_command_schemas_register;
extern const struct pj_command pj_command_schemas_list;
extern const struct pj_command pj_command_schemas_forget;
extern const struct pj_command pj_command_status;
extern const struct pj_command pj_command_top;
extern const struct pj_command pj_command_topics_create;
extern const struct pj_command pj_command_trim;
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

/* --- what a command works with -------------------------------------------------------------- */

/* The servers, and what of them is ours; a command's settings struct begins with it. */
struct pj_cli_servers {
    const char *postgres_dsn;
    struct pj_registry_settings registry; /* url NULL: none is named */
    int64_t timeout_ms;
    const char *systems;       /* NULL: all of the program */
    const char *topic_prefix;  /* or NULL */
    const char *tables_schema; /* NULL: where migrate created the tables */
};

/* One run of a command. main closes and frees what is opened and allocated here. */
struct pj_cli {
    const struct pj_config *config;
    const struct pj_cli_servers *servers;
    struct pj_arena *arena;
    struct pj_postgres *postgres; /* these NULL until opened */
    struct pj_kafka *kafka;
    const char *cluster_id;
    struct pj_registry *registry;
    struct pj_result **results; /* of pj_cli_query */
    size_t result_count;
};

/* Each fails with PJ_EXIT_USAGE, naming flag and variable, where nothing says where the server is.
 */
int pj_cli_postgres(struct pj_cli *cli, struct pj_error *error) PJ_MUST_CHECK;
/* The same, where the system's tables are found by their names. */
int pj_cli_postgres_of(struct pj_cli *cli, const struct pj_system *system,
                       struct pj_error *error) PJ_MUST_CHECK;
int pj_cli_kafka(struct pj_cli *cli, struct pj_error *error) PJ_MUST_CHECK;
int pj_cli_registry(struct pj_cli *cli, struct pj_error *error) PJ_MUST_CHECK;
/* Postgres and Kafka, and the cluster's id. */
int pj_cli_open(struct pj_cli *cli, struct pj_error *error) PJ_MUST_CHECK;
void pj_cli_close(struct pj_cli *cli);

/* pj_postgres_query, whose result lives as long as the command. Says that a database needs
 * 'projectionist migrate' where it lacks what the statement names. */
int pj_cli_query(struct pj_cli *cli, const char *sql, int count, const char *const *parameters,
                 const struct pj_result **result, struct pj_error *error) PJ_MUST_CHECK;

/* A column of such a result: "" or -1 where it is NULL. Borrowed. */
const char *pj_cli_text(const struct pj_result *result, int row, int column);
int64_t pj_cli_number(const struct pj_result *result, int row, int column);

/* All partitions of the topics, as Kafka has them now; an error where a topic does not exist. */
int pj_cli_extents(struct pj_cli *cli, const char *const *topics, size_t topic_count,
                   struct pj_kafka_extent **extents, size_t *count,
                   struct pj_error *error) PJ_MUST_CHECK;
/* Refuses one whose beginning or end is not known. */
int pj_cli_check_extent(const struct pj_kafka_extent *extent, struct pj_error *error) PJ_MUST_CHECK;
/* The offsets of a time, the value of the option; `words` are its other values, for the error. */
int pj_cli_offsets_at(struct pj_cli *cli, const char *option, const char *words, const char *text,
                      const struct pj_kafka_extent *extents, size_t count, int64_t *offsets,
                      struct pj_error *error) PJ_MUST_CHECK;

/* --- JSON ------------------------------------------------------------------------------------ */

/* On stdout, with a newline; takes the document. */
void pj_cli_print_json(json_t *document);
/* The columns of a row by their names, with blanks between them: "#id" is a number or null, "?key"
 * a string or null, and "topic" a string. */
json_t *pj_cli_row_json(const struct pj_result *result, int row, const char *names);
json_t *pj_cli_rows_json(const struct pj_result *result, const char *names);
/* null where the number is negative. */
json_t *pj_cli_known(int64_t number);

/* --- options --------------------------------------------------------------------------------- */

/* Of a command whose settings are the type. */
#define PJ_CLI_TEXT_OPTION(type, member, flag, key, word, text)                                    \
    PJ_OPTION(STRING, flag, offsetof(type, member), NULL, word, text, .letter = (key),             \
              .filled = true)
#define PJ_CLI_INTEGER_OPTION(type, member, flag, key, standard, min, max, text)                   \
    PJ_OPTION(INTEGER, flag, offsetof(type, member), standard, "N", text, .letter = (key),         \
              .least = (min), .most = (max))
#define PJ_CLI_BOOL_OPTION(type, member, flag, key, text)                                          \
    PJ_OPTION(BOOL, flag, offsetof(type, member), NULL, NULL, text, .letter = (key))

#define PJ_CLI_SYSTEMS_OPTION                                                                      \
    PJ_CLI_TEXT_OPTION(struct pj_cli_servers, systems, "systems", 0, "NAME,…",                     \
                       "The systems that are deployed here, separated by commas; the default is "  \
                       "all that are built in.")
#define PJ_CLI_TABLES_SCHEMA_OPTION                                                                \
    PJ_TABLES_SCHEMA_OPTION(offsetof(struct pj_cli_servers, tables_schema))
#define PJ_CLI_TOPIC_PREFIX_OPTION                                                                 \
    PJ_TOPIC_PREFIX_OPTION(offsetof(struct pj_cli_servers, topic_prefix))

#define PJ_CLI_POSTGRES_OPTION                                                                       \
    PJ_OPTION(STRING, "postgres-dsn", offsetof(struct pj_cli_servers, postgres_dsn), NULL, "DSN",    \
              "The database, as a URI (postgresql://…) or as key=value pairs. With a password in " \
              "it, give it as "                                                                      \
              "PROJECTIONIST_POSTGRES_DSN, not as a flag.")

#define PJ_CLI_REGISTRY_OPTIONS                                                                    \
    PJ_REGISTRY_OPTIONS(offsetof(struct pj_cli_servers, registry),                                 \
                        "The schema registry's Confluent API.")

#define PJ_CLI_TIMEOUT_OPTION                                                                      \
    PJ_OPTION(DURATION, "timeout", offsetof(struct pj_cli_servers, timeout_ms), "10s", "TIME",     \
              "How long to wait for a server's answer.", .least = 100, .most = 3600000)

/* In the members `dry_run`, `yes`, `json` and `group`. */
#define PJ_CLI_DRY_RUN_OPTION(type, text) PJ_CLI_BOOL_OPTION(type, dry_run, "dry-run", 'n', text)
#define PJ_CLI_YES_OPTION(type)                                                                    \
    PJ_CLI_BOOL_OPTION(type, yes, "yes", 'y',                                                      \
                       "Do not ask; needed where standard input is no terminal.")
#define PJ_CLI_JSON_OPTION(type)                                                                   \
    PJ_CLI_BOOL_OPTION(type, json, "json", 0,                                                      \
                       "Print JSON instead of text for people; what is unknown is null.")
#define PJ_CLI_GROUP_OPTION(type, text) PJ_CLI_TEXT_OPTION(type, group, "group", 'g', "NAME", text)

#endif

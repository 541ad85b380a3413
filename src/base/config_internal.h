/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the configuration; nobody else includes it. */
#ifndef PJ_BASE_CONFIG_INTERNAL_H
#define PJ_BASE_CONFIG_INTERNAL_H

#include "base/arena.h"
#include "base/config.h"

#define PJ_CONFIG_PREFIX "PROJECTIONIST_"

enum {
    PJ_CONFIG_NAME_MOST = 128,      /* of an option's or a variable's name */
    PJ_CONFIG_FILE_MOST = 64 << 10, /* of a NAME_FILE, in bytes */
};

/* A given flag; applied after the sources that it overrides. */
struct pj_config_given {
    const struct pj_option *option; /* NULL: pass-through */
    const char *source;             /* as typed: "--group" */
    const char *key;                /* of the pass-through, with its prefix */
    const char *value;
};

struct pj_config_reading {
    struct pj_config *config;
    const struct pj_option *options;
    void *settings;
    struct pj_arena *arena;
    const char *path; /* of the file, or NULL */
    struct pj_config_given *given;
    size_t given_count;
};

/* --- config.c -------------------------------------------------------------------------------- */

/* The list that "kafka.KEY" or "postgres.KEY" belongs to and *key, or NULL. */
struct pj_properties *pj_config_properties(struct pj_config *config, const char *name,
                                           const char **key);

/* "source: unknown what; did you mean …?" */
int pj_config_unknown(const struct pj_config_reading *reading, const char *source, const char *what,
                      const char *name, const char *dashes, struct pj_error *error);

/* Sets a pass-through name of a flag or a line, unless it means an option of the table. */
int pj_config_pass(struct pj_config_reading *reading, const char *source, const char *name,
                   const char *value, const char *dashes, struct pj_error *error) PJ_MUST_CHECK;

/* --- config_flags.c -------------------------------------------------------------------------- */

/* Splits argv: the flags into `given`, --help, --version, --config and the operands. */
int pj_config_read_flags(struct pj_config_reading *reading, int argc, char **argv,
                         struct pj_error *error) PJ_MUST_CHECK;

int pj_config_apply_flags(struct pj_config_reading *reading, struct pj_error *error) PJ_MUST_CHECK;

/* --- config_values.c ------------------------------------------------------------------------- */

/* The variable of an option: "batch-records" is PROJECTIONIST_BATCH_RECORDS. */
void pj_config_variable(const char *name, char variable[PJ_CONFIG_NAME_MOST]);

/* Whether a value must not be seen in `ps`: pass-through keys such as sasl.password, and DSNs. */
bool pj_config_key_is_secret(const char *key);
bool pj_config_holds_password(const char *dsn);

/* The known name closest to what was typed, among the options and `others` (ended by NULL), or
 * NULL. */
const char *pj_config_suggestion(const struct pj_option *options, const char *const *others,
                                 const char *typed);

/* --- config_names.c -------------------------------------------------------------------------- */

/* The options of all our programs, and other names that are often set; NULL ends them. */
extern const char *const pj_config_names[];

/* Whether a variable, without PROJECTIONIST_, is an option of one of our programs, itself or as
 * NAME_FILE, or is read by our scripts. */
bool pj_config_is_others(const char *variable);

/* Whether Kubernetes sets it, as it does in each container for each service of the namespace: for a
 * service projectionist-gateway it sets PROJECTIONIST_GATEWAY_PORT. */
bool pj_config_is_service_link(const char *variable, const char *value);

/* --- config_file.c --------------------------------------------------------------------------- */

/* Called for each `name = value` with "file:line"; `kafka.` comes from the section, if any. */
struct pj_config_line {
    const char *source;
    const char *name;
    const char *value;
};
typedef int pj_config_line_handler(void *context, const struct pj_config_line *line,
                                   struct pj_error *error);

int pj_config_read_file(const char *path, pj_config_line_handler *handler, void *context,
                        struct pj_arena *arena, struct pj_error *error) PJ_MUST_CHECK;

/* The content of a NAME_FILE without its last newline, in the arena. */
int pj_config_read_value(const char *variable, const char *path, struct pj_arena *arena,
                         char **value, struct pj_error *error) PJ_MUST_CHECK;

#endif

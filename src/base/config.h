/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration from flags, environment and a file, by one table that also prints --help.
 *
 * An option named `batch-records` is the flag --batch-records, the variable
 * PROJECTIONIST_BATCH_RECORDS and the line `batch-records = …` of the file given by --config (or
 * PROJECTIONIST_CONFIG). Flag beats environment beats file beats default. Any variable may be given
 * as NAME_FILE: its value is then the content of that file (Kubernetes secrets), at most 64 KiB,
 * without its last newline, and an empty file is an error. An empty variable counts as unset.
 * Several programs may share one environment: a variable of another of our programs is ignored, one
 * that looks like a typo of a known name is an error, and so is an unknown flag or line of the
 * file; any other variable is listed in `unknown`. Flags are not abbreviated. A value in the file
 * is the rest of its line; comments (#) have lines of their own.
 *
 * Pass-through: --kafka.KEY=VALUE, `kafka.KEY = VALUE`, PROJECTIONIST_KAFKA_KEY (lower case, `_`
 * for `.`) go to librdkafka; --postgres.KEY, `postgres.KEY`, PROJECTIONIST_POSTGRES_KEY (lower
 * case, `_` kept) to libpq. `kafka.bootstrap.servers` is one of these. A secret (an option of kind
 * PJ_OPTION_SECRET, or a pass-through key that holds a password or secret) on a command line is
 * refused, with the remedy. Secrets are registered for pj_secret_hide (base/secret.h).
 */
#ifndef PJ_BASE_CONFIG_H
#define PJ_BASE_CONFIG_H

#include "base/arena.h"
#include "projectionist/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum pj_option_kind {
    PJ_OPTION_STRING,   /* const char *  */
    PJ_OPTION_SECRET,   /* const char *; never printed, never on a command line */
    PJ_OPTION_BOOL,     /* bool; the flag takes no value, or =true/=false */
    PJ_OPTION_INTEGER,  /* int64_t, within least..most */
    PJ_OPTION_DURATION, /* int64_t milliseconds; "250ms", "30s", "5m", "2h"; within least..most */
    PJ_OPTION_SIZE,     /* int64_t bytes; "512", "64KiB", "8MiB", "1GiB"; within least..most */
    PJ_OPTION_CHOICE,   /* const char *, one of `choices` separated by | */
};

struct pj_option {
    const char *name; /* as a flag, without the dashes; NULL ends a table */
    char letter;      /* a one-letter flag, or 0 */
    enum pj_option_kind kind;
    size_t offset;        /* of the value in the settings struct */
    const char *fallback; /* as the user would write it; NULL: unset (NULL, false, 0) */
    const char *argument; /* its name in the help, such as "URL"; NULL for a bool */
    const char *help;     /* a sentence or two, no newline */
    int64_t least, most;  /* both 0: no bounds; of a string, its maximum length in bytes */
    bool filled;          /* a string that is given must not be empty; a secret never may be */
    bool token;           /* a secret that goes into a header: no blanks, no control characters */
    const char *choices;
    bool certificates; /* a string that names a certificate file (base/tls_files.h) */
};

/* A line of a table of options; what is rarely set (.letter, .least, .most, .filled …) comes last.
 */
#define PJ_OPTION(of_kind, named, at, by_default, placeholder, explained, ...)                     \
    {                                                                                              \
        .name = (named), .kind = PJ_OPTION_##of_kind, .offset = (at), .fallback = (by_default),    \
        .argument = (placeholder), .help = (explained), ##__VA_ARGS__                              \
    }

/* A pass-through pair. */
struct pj_property {
    char *key; /* without the `kafka.` or `postgres.` */
    char *value;
};

/* A value from a NAME_FILE variable. */
struct pj_config_file {
    const char *value; /* as the settings point to it */
    const char *path;
    struct pj_config_file *next;
};

struct pj_properties {
    struct pj_property *items;
    size_t count;
    struct pj_config_file *files; /* of the whole configuration; NULL: none */
};

struct pj_config {
    struct pj_properties kafka;
    struct pj_properties postgres;
    char **operands; /* the rest of argv, in order; borrowed from argv */
    int operand_count;
    const char *unknown; /* PROJECTIONIST_ variables that nobody knows, separated by blanks; or
                          * NULL */
    bool help;           /* --help or -h was given: print and exit 0 */
    bool version;        /* --version was given */
    void *owned;         /* private: the strings that the settings point to */
};

/*
 * Reads all three sources into `settings` (by the table's offsets) and *config. argv[0] is skipped.
 * With --help or --version the other checks are left out. On failure the error has exit code
 * PJ_EXIT_USAGE, its message begins with the flag, the variable or "file:line" that is wrong, and
 * nothing needs freeing. The strings live until pj_config_free. For one thread (getopt_long).
 */
int pj_config_read(struct pj_config *config, const struct pj_option *options, void *settings,
                   int argc, char **argv, struct pj_error *error) PJ_MUST_CHECK;
void pj_config_free(struct pj_config *config);

/* The value of a pass-through key, or NULL. */
const char *pj_properties_get(const struct pj_properties *properties, const char *key);

/*
 * The current content of the file that the value (the pointer in the settings) came from: a secret
 * may change while we run. NULL where it came from no file, or that cannot be read; else malloc'ed.
 * `files` NULL: those of the configuration that was read last.
 */
char *pj_config_fresh(const struct pj_config_file *files, const char *value);

/* Likewise of a token: what the file has now where that may be one, else the value; malloc'ed. */
char *pj_config_token(const char *value);

/* The table as the OPTIONS section of a help text, wrapped at `width` columns. */
void pj_config_print_options(FILE *out, const struct pj_option *options, int width);

/* Parses `text` as the option's kind into `settings`. `source` begins the error: a flag, a
 * variable, a line of the file. A string is copied into the arena. */
int pj_config_store(const struct pj_option *option, void *settings, const char *source,
                    const char *text, struct pj_arena *arena, struct pj_error *error) PJ_MUST_CHECK;

/* Parses a value of one kind, for operands and files; the name goes into the error. */
int pj_parse_integer(const char *name, const char *text, int64_t least, int64_t most,
                     int64_t *value, struct pj_error *error) PJ_MUST_CHECK;
int pj_parse_duration(const char *name, const char *text, int64_t least, int64_t most,
                      int64_t *value_ms, struct pj_error *error) PJ_MUST_CHECK;
int pj_parse_size(const char *name, const char *text, int64_t least, int64_t most, int64_t *value,
                  struct pj_error *error) PJ_MUST_CHECK;

#endif

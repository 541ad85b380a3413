/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs that end by themselves do the same way: their flags, --help and --version,
 * their log, their checks, and signals. */
#ifndef PJ_CONNECTORS_TOOL_H
#define PJ_CONNECTORS_TOOL_H

#include "base/config.h"
#include "base/log.h"

#include <stdatomic.h>

struct pj_tool {
    const char *name;
    const struct pj_option *options;
    void *settings;                /* filled by the options */
    const bool *verbose;           /* a part of them */
    enum pj_log_level quiet, loud; /* what is logged without --verbose, and with it */
    void (*print_help)(void);
    int (*run)(void *settings, const struct pj_config *config); /* returns the exit code */
};

/* Set by the first SIGINT or SIGTERM; the second ends the program at once. */
extern atomic_int pj_tool_stop;

/* main: returns the exit code. */
int pj_tool_main(const struct pj_tool *tool, int argc, char **argv);

/* The settings that all of them have, before anything is done. */
int pj_tool_check(const struct pj_option *options, const void *settings,
                  const struct pj_config *config, const char *topic_prefix,
                  struct pj_error *error) PJ_MUST_CHECK;

#endif

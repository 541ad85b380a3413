/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings of the projections, such as --session-timeout, as options of the commands that
 * derive rows: these must come out as the consumers' own do.
 */
#ifndef PJ_CLI_PROJECTION_SETTINGS_H
#define PJ_CLI_PROJECTION_SETTINGS_H

#include "cli/cli.h"
#include "projectionist/projection.h"

/* Of all projections of this program; a name that several have is one setting. */
struct pj_cli_projection_settings {
    union pj_setting_value values[32];
};

/* Those of one projection, in its order. */
void pj_cli_take_settings(const struct pj_cli_projection_settings *all,
                          const struct pj_projection *projection,
                          union pj_setting_value values[PJ_SETTINGS_MOST]);

#endif

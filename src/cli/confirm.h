/* SPDX-License-Identifier: Apache-2.0 */
/* Asking before something is done that cannot simply be undone. */
#ifndef PJ_CLI_CONFIRM_H
#define PJ_CLI_CONFIRM_H

#include "projectionist/error.h"

#include <stdbool.h>

/*
 * 0 where `yes` was given or the person at the terminal says so. Otherwise fails: with
 * PJ_EXIT_USAGE where standard input is no terminal, with PJ_EXIT_FAILED where the answer is no.
 * `question` has no question mark: "Move these offsets".
 */
int pj_cli_confirm(const char *question, bool yes, struct pj_error *error) PJ_MUST_CHECK;

#endif

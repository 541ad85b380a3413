/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that is one consumer and nothing else: `int main(int argc, char **argv)` is
 *
 *     return pj_consumer_main(&my_system, &my_projection, argc, argv);
 *
 * It has neither migrate nor verify, rebuild and status: those are commands of the program of
 * system.h, which runs the consumers, too. Take that one unless a consumer must be alone.
 *
 * Programs in other repositories link the installed library: projectionist::projectionist with
 * CMake's find_package(projectionist), or projectionist with pkg-config.
 */
#ifndef PROJECTIONIST_CONSUMER_H
#define PROJECTIONIST_CONSUMER_H

#include "projectionist/system.h"

/*
 * Runs a projection of the system until SIGTERM or SIGINT, until it has caught up (with
 * --until-caught-up), or until a fatal error. Configuration comes from flags, environment and a
 * file; see --help. Returns an exit code of enum pj_exit. Logs to stderr. Not thread-safe.
 */
int pj_consumer_main(const struct pj_system *system, const struct pj_projection *projection,
                     int argc, char **argv);

#endif

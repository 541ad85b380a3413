/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A consumer is a process of its own. The `projectionist` command holds those of its systems
 * (system.h); where a consumer is to be a program by itself, `int main(int argc, char **argv)` is
 *
 *     return pj_consumer_main(&my_system, &my_projection, argc, argv);
 *
 * Programs of other repositories link the installed library: projectionist::projectionist of
 * CMake's find_package(projectionist), or pkg-config's projectionist.
 */
#ifndef PROJECTIONIST_CONSUMER_H
#define PROJECTIONIST_CONSUMER_H

#include "projectionist/system.h"

/*
 * Runs a projection of the system until it is told to stop (SIGTERM, SIGINT), is caught up where
 * that was asked, or meets a fatal error. Configuration comes from flags, environment and a file;
 * --help tells all. Returns an exit code of enum pj_exit. Writes logs to stderr. Not for use by
 * threads.
 */
int pj_consumer_main(const struct pj_system *system, const struct pj_projection *projection,
                     int argc, char **argv);

#endif

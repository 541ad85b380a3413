/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name of the program that has the commands (migrate, topics create, …), which a system of
 * another repository calls otherwise. Sentences say `projectionist COMMAND`, in these quotes or in
 * straight ones; pj_error_set, pj_error_fatal and pj_log put the program's name there.
 */
#ifndef PJ_BASE_PROGRAM_H
#define PJ_BASE_PROGRAM_H

/* "projectionist" until it is set: a consumer that is a program by itself, and the connectors, mean
 * that one. */
const char *pj_program(void);

/* The name of the file that runs, whatever links led to it. For one thread, before all others. */
void pj_program_set(void);

/* The text with the program's name; the caller frees it. NULL: it stays as it is. */
char *pj_program_named(const char *text);

#endif

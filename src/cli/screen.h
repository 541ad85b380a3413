/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole terminal for a while: without line editing, and what was on it comes back at the end,
 * whatever ends the program (but SIGKILL). Ctrl-Z and fg work.
 */
#ifndef PJ_CLI_SCREEN_H
#define PJ_CLI_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

/* Whether stdin and stdout are a terminal that can do this. */
bool pj_screen_possible(void);

void pj_screen_open(void);
void pj_screen_close(void);

struct pj_screen_size {
    int columns, lines;
};

struct pj_screen_size pj_screen_size(void);

/* Before and after what is printed as a whole picture; longer lines are cut by the terminal. */
void pj_screen_begin(void);
void pj_screen_end(void);

/* The next key, or 0 after the time, or because the size has changed or Ctrl-Z is over; -1: there
 * are no more. */
int pj_screen_key(int64_t timeout_ms);

#endif

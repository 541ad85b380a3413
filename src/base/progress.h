/* SPDX-License-Identifier: Apache-2.0 */
/* Progress for people: a bar that redraws itself on a terminal; elsewhere a plain line every five
 * seconds, if asked for, or nothing. */
#ifndef PJ_BASE_PROGRESS_H
#define PJ_BASE_PROGRESS_H

#include "projectionist/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct pj_progress;

struct pj_progress_settings {
    FILE *out;         /* usually stderr */
    const char *label; /* "publishing"; kept, not copied */
    const char *unit;  /* "records"; kept, not copied */
    int64_t total;     /* 0: unknown, so no percentage and no ETA */
    bool plain_lines;  /* if `out` is not a terminal: a line every five seconds */
};

/* The other functions accept NULL and do nothing. */
struct pj_progress *pj_progress_new(const struct pj_progress_settings *settings);

/* Cheap enough to call for every record: reads the clock only now and then, and draws at most ten
 * times a second. */
void pj_progress_update(struct pj_progress *progress, int64_t done);

/* For when the total changes (a topic grows while it is read). */
void pj_progress_set_total(struct pj_progress *progress, int64_t total);

/* Clears the bar, so that a line can be printed; the next update draws it again. */
void pj_progress_clear(struct pj_progress *progress);

/* Clears and frees. */
void pj_progress_free(struct pj_progress *progress);

/* --- what it draws, apart so that it can be tested ------------------------------------------- */

struct pj_progress_state {
    const char *label;
    const char *unit;
    int64_t done;
    int64_t total;    /* 0: unknown */
    double rate;      /* per second; not shown below 1 */
    int64_t spent_ms; /* since the start */
};

/* One line without a newline, of at most `width` columns and `size` bytes. With `bar` the rest of
 * the width becomes a bar; what does not fit is left out from the end. */
void pj_progress_render(char *line, size_t size, const struct pj_progress_state *state, int width,
                        bool bar);

/* "1h 02m", "3m 07s" or "12s". */
void pj_progress_format_time(char *text, size_t size, int64_t seconds);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/progress.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    REDRAW_MS = 100,
    LINE_MS = 5000,
    RATE_MS = 500, /* over less than this a rate jumps */
    WIDTH_DEFAULT = 80,
    LINE_MOST = 512,
    BAR_LEAST = 8,
    BAR_MOST = 40,
};

struct pj_progress {
    struct pj_progress_settings settings;
    bool terminal;
    bool drawn;
    int64_t done;
    int64_t looked_at; /* `done` when the clock was last read */
    int64_t look_every;
    int64_t start_ms;
    int64_t drawn_ms;
    int64_t rated_ms;
    int64_t rated_done;
    double rate;
};

/* --- the line -------------------------------------------------------------------------------- */

void pj_progress_format_time(char *text, size_t size, int64_t seconds)
{
    long long s = seconds;
    if (s >= 3600)
        pj_text_show(text, size, "%lldh %02lldm", s / 3600, s / 60 % 60);
    else if (s >= 60)
        pj_text_show(text, size, "%lldm %02llds", s / 60, s % 60);
    else
        pj_text_show(text, size, "%llds", s);
}

/* Appends a part if all of it fits, and says whether it did. */
static bool append(char *line, size_t room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool append(char *line, size_t room, const char *format, ...)
{
    size_t used = strlen(line);
    char part[96];
    va_list args;
    va_start(args, format);
    size_t length = pj_text_vshow(part, sizeof part, format, args);
    va_end(args);
    if (used + length >= room)
        return false;
    memcpy(line + used, part, length + 1);
    return true;
}

/* "37% ", then what stands before the bar: counts, rate, ETA, the most useful first. */
static void append_figures(char *line, size_t room, const struct pj_progress_state *state)
{
    char text[PJ_NUMBER_TEXT], total[PJ_NUMBER_TEXT], left[32];
    const char *done = pj_number_text(text, state->done);
    bool fits = state->total > 0 ? append(line, room, " %s/%s %s", done,
                                          pj_number_text(total, state->total), state->unit)
                                 : append(line, room, " %s %s", done, state->unit);
    /* While nothing moves the rate only fades, and the ETA it gives is absurd. */
    if (!fits || state->rate < 1)
        return;
    const char *rate = pj_number_text(text, (int64_t)(state->rate + 0.5));
    if (!append(line, room, ", %s/s", rate) || state->total <= state->done)
        return;
    pj_progress_format_time(left, sizeof left,
                            (int64_t)((double)(state->total - state->done) / state->rate + 0.5));
    append(line, room, ", %s left", left);
}

static void append_bar(char *line, size_t room, double part, size_t columns)
{
    size_t used = strlen(line);
    if (columns < BAR_LEAST + 3 || used + columns >= room)
        return;
    size_t cells = columns - 3 > BAR_MOST ? BAR_MOST : columns - 3;
    size_t full = (size_t)(part * (double)cells);
    line[used++] = ' ';
    line[used++] = '[';
    for (size_t i = 0; i < cells; i++)
        line[used++] = i < full ? '#' : '-';
    line[used++] = ']';
    line[used] = '\0';
}

void pj_progress_render(char *line, size_t size, const struct pj_progress_state *state, int width,
                        bool bar)
{
    char figures[LINE_MOST] = "";
    size_t room = width > 0 && (size_t)width + 1 < size ? (size_t)width + 1 : size;
    double part = 0;
    line[0] = '\0';
    if (!append(line, room, "%s", state->label))
        return;
    if (state->total > 0) {
        part = (double)state->done / (double)state->total;
        part = part > 1 ? 1 : part;
        append(line, room, " %3d%%", (int)(part * 100));
    }
    size_t used = strlen(line);
    append_figures(figures, room - used < sizeof figures ? room - used : sizeof figures, state);
    if (bar && state->total > 0)
        append_bar(line, room, part, room - 1 - used - strlen(figures));
    append(line, room, "%s", figures);
}

/* --- drawing --------------------------------------------------------------------------------- */

struct pj_progress *pj_progress_new(const struct pj_progress_settings *settings)
{
    struct pj_progress *progress = pj_alloc(sizeof *progress);
    const char *term = getenv("TERM");
    progress->settings = *settings;
    progress->terminal =
        isatty(fileno(settings->out)) == 1 && (term == NULL || strcmp(term, "dumb") != 0);
    progress->start_ms = progress->rated_ms = pj_clock_monotonic_ms();
    progress->drawn_ms = progress->start_ms;
    progress->look_every = 1;
    return progress;
}

static int terminal_width(FILE *out)
{
    struct winsize size;
    if (ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return WIDTH_DEFAULT;
    return size.ws_col;
}

static void draw(struct pj_progress *progress, int64_t now_ms)
{
    char line[LINE_MOST];
    struct pj_progress_state state = {.label = progress->settings.label,
                                      .unit = progress->settings.unit,
                                      .done = progress->done,
                                      .total = progress->settings.total,
                                      .rate = progress->rate,
                                      .spent_ms = now_ms - progress->start_ms};
    FILE *out = progress->settings.out;
    if (progress->terminal) {
        /* One column less: a full line would wrap on some terminals. */
        pj_progress_render(line, sizeof line, &state, terminal_width(out) - 1, true);
        fprintf(out, "\r%s\033[K", line);
    } else {
        pj_progress_render(line, sizeof line, &state, sizeof line - 1, false);
        fprintf(out, "%s\n", line);
    }
    fflush(out);
    progress->drawn = progress->terminal;
    progress->drawn_ms = now_ms;
}

static void measure(struct pj_progress *progress, int64_t now_ms)
{
    int64_t spent_ms = now_ms - progress->rated_ms;
    if (spent_ms < RATE_MS)
        return;
    double rate = (double)(progress->done - progress->rated_done) * 1000 / (double)spent_ms;
    /* Smoothed, or the ETA jumps about. */
    progress->rate = progress->rate > 0 ? 0.7 * progress->rate + 0.3 * rate : rate;
    progress->rated_ms = now_ms;
    progress->rated_done = progress->done;
}

void pj_progress_update(struct pj_progress *progress, int64_t done)
{
    if (progress == NULL)
        return;
    progress->done = done;
    if (!progress->terminal && !progress->settings.plain_lines)
        return;
    int64_t since = done - progress->looked_at;
    if (since >= 0 && since < progress->look_every && since != 0)
        return;
    int64_t now_ms = pj_clock_monotonic_ms();
    /* Reads the clock about ten times per redraw, whatever the rate. */
    progress->look_every = progress->rate > 100 ? (int64_t)(progress->rate / 100) : 1;
    progress->looked_at = done;
    measure(progress, now_ms);
    if (now_ms - progress->drawn_ms >= (progress->terminal ? REDRAW_MS : LINE_MS))
        draw(progress, now_ms);
}

void pj_progress_set_total(struct pj_progress *progress, int64_t total)
{
    if (progress != NULL)
        progress->settings.total = total;
}

void pj_progress_clear(struct pj_progress *progress)
{
    if (progress == NULL || !progress->drawn)
        return;
    fputs("\r\033[K", progress->settings.out);
    fflush(progress->settings.out);
    progress->drawn = false;
}

void pj_progress_free(struct pj_progress *progress)
{
    pj_progress_clear(progress);
    free(progress);
}

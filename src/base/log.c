/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/program.h"
#include "base/secret.h"
#include "base/text.h"
#include "base/time_text.h"
#include "base/trace.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LINE_MOST = 8192,
    /* What every line can still end with, however much was cut: closing quotes and the mark. */
    TAIL = 64,
};

static struct {
    const char *program;
    enum pj_log_level level;
    enum pj_log_format format;
    bool colours;
} settings = {.program = "projectionist", .level = PJ_INFO, .format = PJ_LOG_LOGFMT};

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_colours[] = {"\033[2m", "\033[32m", "\033[33m", "\033[31m"};

struct line {
    char data[LINE_MOST];
    size_t length;
    bool started;   /* has a field */
    bool truncated; /* set once; only the tail is written after it */
};

void pj_log_configure(const char *program, enum pj_log_level level, enum pj_log_format format)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    settings.program = program;
    settings.level = level;
    settings.format = format;
    settings.colours = format == PJ_LOG_LOGFMT && (no_color == NULL || *no_color == '\0') &&
                       (term == NULL || strcmp(term, "dumb") != 0) && isatty(STDERR_FILENO);
}

/* All of it or, if it does not fit, nothing. */
static bool put(struct line *line, const char *text, size_t length)
{
    if (line->truncated || length > LINE_MOST - TAIL - line->length) {
        line->truncated = true;
        return false;
    }
    memcpy(line->data + line->length, text, length);
    line->length += length;
    return true;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* Into the room that put leaves. */
static void put_tail(struct line *line, const char *text)
{
    size_t length = strlen(text);
    if (length > LINE_MOST - line->length)
        return;
    memcpy(line->data + line->length, text, length);
    line->length += length;
}

/* A quoted string as in JSON; logfmt readers understand the same escapes. */
static void put_quoted(struct line *line, const char *text)
{
    put_text(line, "\"");
    if (line->truncated)
        return;
    while (*text != '\0' && !line->truncated) {
        size_t length = pj_utf8_length(text, strnlen(text, 4));
        if (length == 0) {
            put_text(line, "\xef\xbf\xbd"); /* U+FFFD */
            length = 1;
        } else if (*text == '"' || *text == '\\') {
            char escaped[] = {'\\', *text};
            put(line, escaped, 2);
        } else if (*text == '\n') {
            put_text(line, "\\n");
        } else if (*text == '\r') {
            put_text(line, "\\r");
        } else if (*text == '\t') {
            put_text(line, "\\t");
        } else if (pj_utf8_control(text) >= 0) {
            char escaped[8];
            pj_text_whole(escaped, sizeof escaped, "\\u%04x", pj_utf8_control(text));
            put_text(line, escaped);
        } else {
            put(line, text, length);
        }
        text += length;
    }
    put_tail(line, line->truncated ? "\xe2\x80\xa6\"" : "\""); /* an ellipsis where it was cut */
}

/* Whether logfmt may write it without quotes. */
static bool is_bare(const char *text)
{
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return true;
}

static void put_shown(struct line *line, const char *text)
{
    if (settings.format == PJ_LOG_LOGFMT && is_bare(text) &&
        strlen(text) <= LINE_MOST - TAIL - line->length)
        put_text(line, text);
    else
        put_quoted(line, text);
}

static void put_unhidden(struct line *line, const char *text)
{
    if (!pj_secret_is_in(text)) {
        put_shown(line, text);
        return;
    }
    char *hidden = pj_strdup(text);
    pj_secret_hide(hidden);
    put_shown(line, hidden);
    free(hidden);
}

static void put_value(struct line *line, const char *text)
{
    char *named = pj_program_named(text);
    put_unhidden(line, named != NULL ? named : text);
    free(named);
}

/* The name and its punctuation; false where the rest of the line has no room for it. */
static bool put_name(struct line *line, const char *name)
{
    /* The name, its punctuation and the beginning of a value. */
    if (line->truncated || strlen(name) + 32 > LINE_MOST - TAIL - line->length) {
        line->truncated = true;
        return false;
    }
    const bool json = settings.format == PJ_LOG_JSON;
    if (json)
        put_text(line, line->started ? ",\"" : "{\"");
    else if (line->started)
        put_text(line, " ");
    line->started = true;
    for (; *name != '\0'; name++) {
        unsigned char c = (unsigned char)*name;
        put(line, c <= ' ' || c >= 0x7f || c == '=' || c == '"' || c == '\\' ? "_" : name, 1);
    }
    put_text(line, json ? "\":" : "=");
    return !line->truncated;
}

static void put_field(struct line *line, const struct pj_log_field *field)
{
    char text[24];
    if ((field->kind == PJ_FIELD_STR && field->str == NULL) || !put_name(line, field->name))
        return;
    if (field->kind == PJ_FIELD_STR) {
        put_value(line, field->str);
        return;
    }
    pj_text_whole(text, sizeof text, "%" PRId64, field->integer);
    put_text(line, text);
}

static void put_time(struct line *line)
{
    char text[PJ_TIME_TEXT_SIZE] = "";
    (void)pj_time_format(text, pj_clock_wall_ms(), 3);
    if (settings.colours)
        put_text(line, "\033[2m");
    if (put_name(line, "ts"))
        put_value(line, text);
    if (settings.colours)
        put_text(line, "\033[0m");
}

static void put_level(struct line *line, enum pj_log_level level)
{
    if (!put_name(line, "level"))
        return;
    if (settings.colours)
        put_text(line, level_colours[level]);
    put_value(line, level_names[level]);
    if (settings.colours)
        put_text(line, "\033[0m");
}

static void write_line(const struct line *line)
{
    size_t written = 0;
    while (written < line->length) {
        ssize_t count = write(STDERR_FILENO, line->data + written, line->length - written);
        if (count < 0 && errno != EINTR)
            return; /* there is nowhere left to report it */
        if (count > 0)
            written += (size_t)count;
    }
}

/* --- the last warnings ----------------------------------------------------------------------- */

enum { RECENT = 10 };

static struct {
    pthread_mutex_t mutex;
    struct recent_item {
        int64_t at_ms, times; /* times 0: there is none */
        bool is_error;
        char message[128];
        char text[640];
    } items[RECENT];
    size_t newest;
} recent = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static char *recent_text(const char *message, const struct pj_log_field *fields)
{
    struct pj_builder text = {0};
    char *named = pj_program_named(message);
    pj_builder_add(&text, "%s", named != NULL ? named : message);
    free(named);
    struct pj_builder rest = {0};
    for (; fields->name != NULL; fields++) {
        bool why = strcmp(fields->name, "reason") == 0 || strcmp(fields->name, "error") == 0;
        if (fields->kind == PJ_FIELD_INT)
            pj_builder_add(&rest, "%s%s %" PRId64, rest.length > 0 ? ", " : "", fields->name,
                           fields->integer);
        else if (fields->str != NULL && why)
            pj_builder_add(&text, ": %s", fields->str);
        else if (fields->str != NULL)
            pj_builder_add(&rest, "%s%s %s", rest.length > 0 ? ", " : "", fields->name,
                           fields->str);
    }
    if (rest.length > 0)
        pj_builder_add(&text, " (%s)", rest.text);
    pj_builder_free(&rest);
    char *whole = pj_builder_take(&text);
    pj_secret_hide(whole);
    return whole;
}

/* What is said again takes the place of what was said before, for its numbers may differ. */
static void keep_recent(enum pj_log_level level, const char *message,
                        const struct pj_log_field *fields)
{
    char head[sizeof recent.items[0].message];
    char *text = recent_text(message, fields);
    pj_text_show(head, sizeof head, "%s", message);
    pthread_mutex_lock(&recent.mutex);
    bool again = recent.items[recent.newest].times > 0 &&
                 strcmp(recent.items[recent.newest].message, head) == 0;
    if (!again)
        recent.newest = (recent.newest + 1) % RECENT;
    struct recent_item *item = &recent.items[recent.newest];
    item->times = again ? item->times + 1 : 1;
    item->at_ms = pj_clock_wall_ms();
    item->is_error = level == PJ_ERROR;
    memcpy(item->message, head, sizeof head);
    pj_text_show(item->text, sizeof item->text, "%s", text);
    pthread_mutex_unlock(&recent.mutex);
    free(text);
}

void pj_log_recent(void (*each)(void *context, int64_t at_ms, int64_t times, bool is_error,
                                const char *text),
                   void *context)
{
    pthread_mutex_lock(&recent.mutex);
    for (size_t i = 0; i < RECENT; i++) {
        const struct recent_item *item = &recent.items[(recent.newest + RECENT - i) % RECENT];
        if (item->times > 0)
            each(context, item->at_ms, item->times, item->is_error, item->text);
    }
    pthread_mutex_unlock(&recent.mutex);
}

void pj_log_write(enum pj_log_level level, const char *message, const struct pj_log_field *fields)
{
    int saved_errno = errno;
    if (level >= PJ_WARN)
        keep_recent(level, message, fields);
    if (level < settings.level)
        return;
    struct line line;
    line.length = 0;
    line.started = false;
    line.truncated = false;
    put_time(&line);
    put_level(&line, level);
    put_field(&line, &(struct pj_log_field){.name = "program", .str = settings.program});
    put_field(&line, &(struct pj_log_field){.name = "msg", .str = message});
    for (; fields->name != NULL; fields++)
        put_field(&line, fields);
    if (pj_trace_current() != NULL)
        put_field(&line,
                  &(struct pj_log_field){.name = "trace_id", .str = pj_trace_current()->trace_id});
    if (settings.format == PJ_LOG_JSON)
        put_tail(&line, line.truncated ? ",\"truncated\":true}\n" : "}\n");
    else
        put_tail(&line, line.truncated ? " truncated=true\n" : "\n");
    write_line(&line);
    errno = saved_errno;
}

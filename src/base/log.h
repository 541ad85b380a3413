/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structured logs on stderr: one line per event, in logfmt (`ts=… level=info program=event-recorder
 * msg="batch committed" rows=512`) or JSON.
 *
 *     pj_log(PJ_INFO, "partitions assigned", pj_f_int("count", 12), pj_f_str("topic", name));
 *
 * What is traced (base/trace.h) is named by a field `trace_id`. Thread-safe (one write(2) per
 * line); values are escaped; a field whose string is NULL is left out. A line has at most 8 KiB:
 * what does not fit is cut, and the line ends in `truncated=true`. Coloured on a terminal unless
 * NO_COLOR is set.
 */
#ifndef PJ_BASE_LOG_H
#define PJ_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum pj_log_level { PJ_DEBUG, PJ_INFO, PJ_WARN, PJ_ERROR };

enum pj_log_format { PJ_LOG_LOGFMT, PJ_LOG_JSON };

struct pj_log_field {
    const char *name; /* NULL ends the list */
    enum { PJ_FIELD_STR, PJ_FIELD_INT } kind;
    union {
        const char *str;
        int64_t integer;
    };
};

static inline struct pj_log_field pj_f_str(const char *name, const char *value)
{
    return (struct pj_log_field){.name = name, .kind = PJ_FIELD_STR, .str = value};
}

static inline struct pj_log_field pj_f_int(const char *name, int64_t value)
{
    return (struct pj_log_field){.name = name, .kind = PJ_FIELD_INT, .integer = value};
}

/*
 * Call once at start; `program` is kept, not copied. The default is info, logfmt, "projectionist".
 */
void pj_log_configure(const char *program, enum pj_log_level level, enum pj_log_format format);

void pj_log_write(enum pj_log_level level, const char *message, const struct pj_log_field *fields);

#define pj_log(level, message, ...)                                                                \
    pj_log_write((level), (message), (const struct pj_log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}})

/* The last warnings and errors, the newest first; one that came several times in a row is one, with
 * the time of the last. The text has the message and the fields, with nothing secret. */
void pj_log_recent(void (*each)(void *context, int64_t at_ms, int64_t times, bool is_error,
                                const char *text),
                   void *context);

#endif

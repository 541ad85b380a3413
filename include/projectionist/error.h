/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: one struct that is passed down and filled where a thing goes wrong.
 *
 * A fallible function returns 0, or -1 with *error filled. The class says what the caller at the
 * top does about it; a class that nobody set is fatal, so an unknown error stops the
 * process instead of being retried for ever or swallowed.
 */
#ifndef PROJECTIONIST_ERROR_H
#define PROJECTIONIST_ERROR_H

#define PJ_MUST_CHECK       __attribute__((warn_unused_result))
#define PJ_PRINTF(fmt, arg) __attribute__((format(printf, fmt, arg)))

enum pj_error_class {
    PJ_FATAL = 0, /* stop with exit_code and message */
    PJ_RETRY,     /* a server is away or busy: back off, paused but polling, for ever */
    PJ_POISON,    /* this record can never be applied: a dead letter */
    PJ_FENCED,    /* another owner has taken the partitions: forget the batch, rejoin */
};

/* Exit codes of every program; 0 is success. */
enum pj_exit {
    PJ_EXIT_OK = 0,
    PJ_EXIT_FAILED = 1,          /* the work could not be done; verify: rows differ */
    PJ_EXIT_USAGE = 2,           /* a flag, variable or file setting is wrong; nothing was done */
    PJ_EXIT_GAP = 3,             /* retention removed records that were never read */
    PJ_EXIT_TOPIC_RECREATED = 4, /* it is not, or may not be, the topic that was read */
    PJ_EXIT_FENCED = 5,          /* another process holds the same partitions for good */
    PJ_EXIT_DATABASE = 6,        /* tables missing or different, or a right is missing */
    PJ_EXIT_UNAVAILABLE = 7,     /* a one-shot command could not reach a server in time */
    PJ_EXIT_DECLARATION = 8,     /* the projection's declaration or code is wrong: its author's */
    PJ_EXIT_REGISTRY = 9,        /* a schema id means another schema than what was kept of it */
};

struct pj_error {
    enum pj_error_class class;
    int exit_code;     /* enum pj_exit; 0 means PJ_EXIT_FAILED */
    char sqlstate[6];  /* "" where the error is not Postgres's */
    char message[768]; /* one sentence: the thing and the remedy; no newline */
};

/* Fills *error and returns -1, so that `return pj_error_set(...)` reads well. */
int pj_error_set(struct pj_error *error, enum pj_error_class class, const char *format, ...)
    PJ_PRINTF(3, 4);

/* The same for a fatal error with its named exit code. */
int pj_error_fatal(struct pj_error *error, enum pj_exit code, const char *format, ...)
    PJ_PRINTF(3, 4);

/* "fatal", "retry", "poison", "fenced". */
const char *pj_error_class_name(enum pj_error_class class);

/* The exit code a program ends with for this error. */
int pj_error_exit_code(const struct pj_error *error);

#endif

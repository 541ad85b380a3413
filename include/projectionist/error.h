/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: one struct, passed down and filled where something fails.
 *
 * A fallible function returns 0, or -1 with *error filled. The class decides what the top does
 * about it; the default is fatal, so that an unclassified error stops the process instead of being
 * retried for ever or ignored.
 */
#ifndef PROJECTIONIST_ERROR_H
#define PROJECTIONIST_ERROR_H

#define PJ_MUST_CHECK       __attribute__((warn_unused_result))
#define PJ_PRINTF(fmt, arg) __attribute__((format(printf, fmt, arg)))

enum pj_error_class {
    PJ_FATAL = 0, /* stop with exit_code and message */
    PJ_RETRY,     /* a server is unavailable or busy: back off, paused but polling, for ever */
    PJ_POISON,    /* this record can never be applied: a dead letter */
    PJ_FENCED,    /* another consumer owns the partitions now: drop the batch, rejoin */
};

/* Exit codes of every program; 0 is success. */
enum pj_exit {
    PJ_EXIT_OK = 0,
    PJ_EXIT_FAILED = 1,          /* failed; verify: rows differ */
    PJ_EXIT_USAGE = 2,           /* a flag, variable or file setting is wrong; nothing was done */
    PJ_EXIT_GAP = 3,             /* retention removed records before they were read */
    PJ_EXIT_TOPIC_RECREATED = 4, /* the topic is, or may be, another than was read before */
    PJ_EXIT_FENCED = 5,          /* another process keeps the same partitions */
    PJ_EXIT_DATABASE = 6,        /* a table is missing or different, or a privilege is missing */
    PJ_EXIT_UNAVAILABLE = 7,     /* a one-shot command could not reach a server in time */
    PJ_EXIT_DECLARATION = 8,     /* a mistake in the projection's declaration or code */
    PJ_EXIT_REGISTRY = 9,        /* a schema id now means another schema than the stored one */
};

struct pj_error {
    enum pj_error_class class;
    int exit_code;     /* enum pj_exit; 0 means PJ_EXIT_FAILED */
    char sqlstate[6];  /* "" if not from Postgres */
    char message[768]; /* one sentence, what and the remedy; no newline */
};

/* Fills *error and returns -1. */
int pj_error_set(struct pj_error *error, enum pj_error_class class, const char *format, ...)
    PJ_PRINTF(3, 4);

/* The same for a fatal error with an exit code. */
int pj_error_fatal(struct pj_error *error, enum pj_exit code, const char *format, ...)
    PJ_PRINTF(3, 4);

/* "fatal", "retry", "poison", "fenced". */
const char *pj_error_class_name(enum pj_error_class class);

/* The exit code a program ends with for this error. */
int pj_error_exit_code(const struct pj_error *error);

#endif

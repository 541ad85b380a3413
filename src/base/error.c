/* SPDX-License-Identifier: Apache-2.0 */
#include "projectionist/error.h"

#include "base/program.h"
#include "base/secret.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fill(struct pj_error *error, enum pj_error_class class, int exit_code,
                 const char *format, va_list args)
{
    char message[4 * sizeof error->message];
    if (vsnprintf(message, sizeof message, format, args) < 0)
        message[0] = '\0';
    pj_secret_hide(message); /* before it is cut: no part of a secret is shown either */
    char *named = pj_program_named(message);
    if (named != NULL)
        pj_text_show(message, sizeof message, "%s", named);
    free(named);
    /* Libraries' messages end in newlines, and user input may contain anything; ours are one line
     * in a log or on a terminal. */
    for (char *c = message; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    }
    size_t end = strlen(message);
    while (end > 0 && message[end - 1] == ' ')
        message[--end] = '\0';
    error->class = class;
    error->exit_code = exit_code;
    error->sqlstate[0] = '\0';
    pj_text_show(error->message, sizeof error->message, "%s", message);
}

int pj_error_set(struct pj_error *error, enum pj_error_class class, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(error, class, 0, format, args);
    va_end(args);
    return -1;
}

int pj_error_fatal(struct pj_error *error, enum pj_exit code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(error, PJ_FATAL, (int)code, format, args);
    va_end(args);
    return -1;
}

const char *pj_error_class_name(enum pj_error_class class)
{
    switch (class) {
    case PJ_FATAL:
        return "fatal";
    case PJ_RETRY:
        return "retry";
    case PJ_POISON:
        return "poison";
    case PJ_FENCED:
        return "fenced";
    }
    return "fatal";
}

int pj_error_exit_code(const struct pj_error *error)
{
    return error->exit_code != 0 ? error->exit_code : PJ_EXIT_FAILED;
}

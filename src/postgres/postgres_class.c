/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an SQLSTATE means for us: does it pass (PJ_RETRY), is it the record's fault (PJ_POISON), or
 * must the tables, the rights or the program be fixed (PJ_FATAL)? Which of the
 * last two a broken constraint is, refusal.c looks up.
 */
#include "postgres/postgres.h"

#include <string.h>

/* The first that fits. */
static const struct {
    const char *prefix;
    enum pj_error_class class;
} meanings[] = {
    {"PJ001", PJ_FENCED},                    /* projectionist.advance_offsets */
    {"PJ003", PJ_POISON},                    /* projectionist.refuse_row */
    {"PJ", PJ_FATAL},                        /* PJ004: projectionist.refuse_unwritten */
    {"08", PJ_RETRY},                        /* connection */
    {"20", PJ_POISON},                       /* a CASE of PL/pgSQL without a branch for it */
    {"21", PJ_POISON},                       /* two rows whose keys are equal for Postgres alone */
    {"2200H", PJ_FATAL},                     /* a sequence at its end: no record fits any more */
    {"22", PJ_POISON},                       /* data */
    {"23", PJ_POISON},                       /* constraints */
    {"25P03", PJ_RETRY},                     /* idle_in_transaction_session_timeout */
    {"25P04", PJ_RETRY},                     /* transaction_timeout */
    {"25006", PJ_RETRY},                     /* a standby, during a failover */
    {"38", PJ_POISON},                       /* an exception of a trigger in another language */
    {"40", PJ_RETRY},                        /* serialization, deadlock */
    {"53400", PJ_FATAL},                     /* a configured limit, such as of temporary files */
    {"53", PJ_RETRY},                        /* disk full, out of memory, too many connections */
    {"54011", PJ_FATAL},                     /* a table of too many columns */
    {"54023", PJ_FATAL},                     /* a function of too many arguments */
    {"54", PJ_POISON},                       /* a value too large to index, JSON too deep */
    {"55006", PJ_RETRY},                     /* in use */
    {"55P03", PJ_RETRY},                     /* lock_timeout */
    {"57", PJ_RETRY},                        /* shutdown, cancel, starting up */
    {"58000", PJ_RETRY},                     /* the operating system or the disk */
    {"58030", PJ_RETRY},  {"P0", PJ_POISON}, /* a trigger that raises */
};

/* All classes that Postgres has; others were made up by a function that raised them. */
static const char classes[] = "00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 28 "
                              "2B 2D 2F 34 38 39 3B 3D 3F 40 42 44 53 54 55 57 58 72 F0 HV P0 PJ "
                              "XX";

enum pj_error_class pj_postgres_class(const char *sqlstate)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (strncmp(sqlstate, meanings[i].prefix, strlen(meanings[i].prefix)) == 0)
            return meanings[i].class;
    }
    const char class[] = {sqlstate[0], sqlstate[0] != '\0' ? sqlstate[1] : '\0', '\0'};
    return strlen(sqlstate) == 5 && strstr(classes, class) == NULL ? PJ_POISON : PJ_FATAL;
}

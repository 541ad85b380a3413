/* SPDX-License-Identifier: Apache-2.0 */
/* Which dead letters a command is about: ids, or filters. */
#ifndef PJ_CLI_DEAD_LETTERS_H
#define PJ_CLI_DEAD_LETTERS_H

#include "cli/cli.h"

/* In a command's settings struct, after the servers. */
struct pj_letter_filter {
    const char *projection;
    const char *group;
    const char *reason;
    const char *status; /* NULL: open */
    const char *since;
    const char *until;
    const char *key;
    int64_t limit; /* 0: none */
};

/* Options of a settings struct whose member `filter` is the filter. */
#define PJ_LETTER_FILTER_OPTIONS(settings, standard_limit)                                         \
    PJ_CLI_TEXT_OPTION(settings, filter.projection, "projection", 'p', "NAME",                     \
                       "Only letters of this projection; an unknown name is an error."),           \
        PJ_CLI_TEXT_OPTION(settings, filter.group, "group", 'g', "NAME",                           \
                           "Only letters of this consumer group."),                                \
        PJ_CLI_TEXT_OPTION(settings, filter.reason, "reason", 'r', "TEXT",                         \
                           "Only letters whose reason contains this text; case does not matter."), \
        PJ_CLI_TEXT_OPTION(settings, filter.since, "since", 0, "TIME",                             \
                           "Only letters that failed at this time or later, such as "              \
                           "2026-11-21T05:06:34Z."),                                               \
        PJ_CLI_TEXT_OPTION(settings, filter.until, "until", 0, "TIME",                             \
                           "Only letters that failed before this time."),                          \
        PJ_CLI_TEXT_OPTION(settings, filter.key, "key", 'k', "KEY",                                \
                           "Only letters of records with this key (usually a command's id)."),     \
        PJ_CLI_INTEGER_OPTION(settings, filter.limit, "limit", 'l', standard_limit, 0, INT32_MAX,  \
                              "At most this many letters, the oldest first; 0 is all.")
#define PJ_LETTER_ALL_OPTION(settings)                                                             \
    PJ_CLI_BOOL_OPTION(settings, all, "all", 'a',                                                  \
                       "All open letters that match the filters, instead of ids.")

/* The parameters $1 to $9 of a query; `PJ_LETTER_WHERE` is its condition over dead_letters. */
enum { PJ_LETTER_PARAMETERS = 9 };
#define PJ_LETTER_WHERE                                                                            \
    "($1::text IS NULL OR projection = $1) AND ($2::text IS NULL OR consumer_group = $2) "         \
    "AND ($3::text IS NULL OR strpos(lower(message), lower($3)) > 0) "                             \
    "AND ($4::text = 'all' OR status = $4) "                                                       \
    "AND ($5::bigint IS NULL OR "                                                                  \
    "failed_at >= 'epoch'::timestamptz + $5 * interval '1 microsecond') "                          \
    "AND ($6::bigint IS NULL OR "                                                                  \
    "failed_at < 'epoch'::timestamptz + $6 * interval '1 microsecond') "                           \
    "AND ($7::text IS NULL OR key = convert_to($7, 'UTF8')) "                                      \
    "AND ($8::bigint[] IS NULL OR id = ANY ($8))"
#define PJ_LETTER_LIMIT_SQL " LIMIT $9::bigint"

/* The reason without its numbers, so that likes count together. */
#define PJ_LETTER_LIKE_REASON "regexp_replace(message, '[0-9]+', 'N', 'g')"

/* Runs it; the nine parameters follow from the filter and the ids (operands, which may be none).
 * Fails with PJ_EXIT_USAGE on a bad id or time. */
int pj_letter_query(struct pj_cli *cli, const char *sql, const struct pj_letter_filter *filter,
                    char *const *ids, int id_count, const struct pj_result **result,
                    struct pj_error *error) PJ_MUST_CHECK;

/* Connects, and gives what discard and replay are about: open letters, by ids or by --all and
 * filters. Notes on stderr the ids that are no longer open; fails where an id does not exist. Rows:
 * id, projection, consumer_group, topic, partition, record_offset, message. */
enum {
    PJ_LETTER_ID,
    PJ_LETTER_PROJECTION,
    PJ_LETTER_GROUP,
    PJ_LETTER_TOPIC,
    PJ_LETTER_PARTITION,
    PJ_LETTER_OFFSET,
    PJ_LETTER_MESSAGE,
};
int pj_letter_choose(struct pj_cli *cli, const struct pj_letter_filter *filter, bool all,
                     const struct pj_result **result, struct pj_error *error) PJ_MUST_CHECK;

/* Refuses a projection that neither this program nor the database knows: no letters of it would
 * look as if all were well. */
int pj_letter_check(struct pj_cli *cli, const struct pj_letter_filter *filter,
                    struct pj_error *error) PJ_MUST_CHECK;
/* Says so on stdout where there are none and there is a filter; else false. */
bool pj_letter_none_match(const struct pj_letter_filter *filter, size_t count);
/* "" of one, "s" of any other number. */
const char *pj_letter_plural(size_t count);

#endif

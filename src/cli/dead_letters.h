/* SPDX-License-Identifier: Apache-2.0 */
/* Which dead letters a command is about: ids, or filters. */
#ifndef PJ_CLI_DEAD_LETTERS_H
#define PJ_CLI_DEAD_LETTERS_H

#include "cli/cli.h"

/* A command's settings struct has it behind the servers. */
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
#define PJ_LETTER_FILTER_OPTIONS(settings)                                                         \
    {.name = "projection",                                                                         \
     .letter = 'p',                                                                                \
     .kind = PJ_OPTION_STRING,                                                                     \
     .filled = true,                                                                               \
     .offset = offsetof(settings, filter.projection),                                              \
     .argument = "NAME",                                                                           \
     .help = "Only letters of this projection; one that nobody knows is refused."},                \
        {.name = "group",                                                                          \
         .letter = 'g',                                                                            \
         .kind = PJ_OPTION_STRING,                                                                 \
         .filled = true,                                                                           \
         .offset = offsetof(settings, filter.group),                                               \
         .argument = "NAME",                                                                       \
         .help = "Only letters of this consumer group."},                                          \
        {.name = "reason",                                                                         \
         .letter = 'r',                                                                            \
         .kind = PJ_OPTION_STRING,                                                                 \
         .filled = true,                                                                           \
         .offset = offsetof(settings, filter.reason),                                              \
         .argument = "TEXT",                                                                       \
         .help = "Only letters whose reason has this text in it; case does not matter."},          \
        {.name = "since",                                                                          \
         .kind = PJ_OPTION_STRING,                                                                 \
         .filled = true,                                                                           \
         .offset = offsetof(settings, filter.since),                                               \
         .argument = "TIME",                                                                       \
         .help = "Only letters that failed at this time or later, such as "                        \
                 "2026-11-21T05:06:34Z."},                                                         \
        {.name = "until",                                                                          \
         .kind = PJ_OPTION_STRING,                                                                 \
         .filled = true,                                                                           \
         .offset = offsetof(settings, filter.until),                                               \
         .argument = "TIME",                                                                       \
         .help = "Only letters that failed before this time."},                                    \
        {.name = "key",                                                                            \
         .letter = 'k',                                                                            \
         .kind = PJ_OPTION_STRING,                                                                 \
         .filled = true,                                                                           \
         .offset = offsetof(settings, filter.key),                                                 \
         .argument = "KEY",                                                                        \
         .help = "Only letters of records with this key (a command's id, as a rule)."},            \
    {                                                                                              \
        .name = "limit", .letter = 'l', .kind = PJ_OPTION_INTEGER,                                 \
        .offset = offsetof(settings, filter.limit), .fallback = PJ_LETTER_LIMIT, .argument = "N",  \
        .help = "At most so many letters, the oldest first; 0 is all.", .least = 0,                \
        .most = INT32_MAX                                                                          \
    }

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
 * Fails with PJ_EXIT_USAGE on an id or a time that is none. */
int pj_letter_query(struct pj_postgres *postgres, const char *sql,
                    const struct pj_letter_filter *filter, char *const *ids, int id_count,
                    struct pj_result **result, struct pj_error *error) PJ_MUST_CHECK;

/* What discard and replay are about: open letters, by ids or by --all and filters. Notes on stderr
 * the ids that are not open any more; fails where an id does not exist. Rows: id, projection,
 * consumer_group, topic, partition, record_offset, message. */
enum {
    PJ_LETTER_ID,
    PJ_LETTER_PROJECTION,
    PJ_LETTER_GROUP,
    PJ_LETTER_TOPIC,
    PJ_LETTER_PARTITION,
    PJ_LETTER_OFFSET,
    PJ_LETTER_MESSAGE,
};
int pj_letter_choose(struct pj_postgres *postgres, const struct pj_config *config,
                     const struct pj_letter_filter *filter, bool all, struct pj_result **result,
                     struct pj_error *error) PJ_MUST_CHECK;

/* Refuses a projection that neither this program nor the database knows: to have no letters of it
 * would look as if all were well. */
int pj_letter_check(struct pj_postgres *postgres, const struct pj_letter_filter *filter,
                    struct pj_error *error) PJ_MUST_CHECK;
bool pj_letter_filtered(const struct pj_letter_filter *filter);
#define PJ_LETTERS_FILTERED_OUT "no dead letters that the filters let through"
/* Where the error is that there is no table: says what makes it. */
bool pj_letter_no_table(struct pj_error *error);

int64_t pj_letter_number(const struct pj_result *result, int row, int column);

#endif

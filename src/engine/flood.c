/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/flood.h"

#include "base/memory.h"

#include <ctype.h>
#include <string.h>

enum { FIRST = 100 };

/* --- reasons --------------------------------------------------------------------------------- */

/* The end of the word, and whether it may differ in the same sentence: a number, a name with
 * digits, a quoted text. */
static const char *read_word(const char *word, bool *varies)
{
    const char *end = word;
    *varies = false;
    for (; *end != '\0' && *end != ' '; end++)
        *varies = *varies || !(isalpha((unsigned char)*end) || strchr(".,;:()-", *end) != NULL);
    return end;
}

/* Whether two messages give the same reason, apart from numbers, names and quoted texts. */
static bool is_same_reason(const char *a, const char *b)
{
    while (*a != '\0' && *b != '\0') {
        bool varies[2];
        const char *ends[2] = {read_word(a, &varies[0]), read_word(b, &varies[1])};
        bool same = ends[0] - a == ends[1] - b && memcmp(a, b, (size_t)(ends[0] - a)) == 0;
        if (!same && !(varies[0] && varies[1]))
            return false;
        a = ends[0] + (*ends[0] == ' ');
        b = ends[1] + (*ends[1] == ' ');
    }
    return *a == *b;
}

struct reason {
    const char *sqlstate;
    const char *message;
    size_t count;
    bool others; /* there are other reasons */
};

static void add_reason(struct reason *reason, const char *sqlstate, const char *message)
{
    if (reason->count++ == 0) {
        reason->sqlstate = sqlstate;
        reason->message = message;
        return;
    }
    /* A message of Postgres may quote the record; its SQLSTATE does not. */
    bool same = strcmp(reason->sqlstate, sqlstate) == 0 &&
                (*sqlstate != '\0' || is_same_reason(reason->message, message));
    reason->others = reason->others || !same;
}

/* --- topics ---------------------------------------------------------------------------------- */

static bool is_of(const struct pj_item *item, size_t source)
{
    return pj_item_live(item) && item->record.partition->topic_index == source;
}

static bool any_accepted(const struct pj_piece *piece, size_t source)
{
    for (size_t i = piece->from; i < piece->to; i++) {
        const struct pj_item *item = &piece->batch->items[i];
        if (is_of(item, source) && item->state != PJ_ITEM_REFUSED)
            return true;
    }
    return false;
}

/* Those before the first accepted one. */
static void add_refused(const struct pj_piece *piece, size_t source, struct pj_arena *arena,
                        struct reason *reason)
{
    for (size_t i = piece->from; i < piece->to; i++) {
        const struct pj_item *item = &piece->batch->items[i];
        if (!is_of(item, source))
            continue;
        if (item->state != PJ_ITEM_REFUSED)
            return;
        add_reason(reason, item->reason->sqlstate, pj_dead_letter_reason(arena, item->reason));
    }
}

/* What any process committed before; *accepted: a record that is no dead letter. */
static int add_letters(struct pj_session *session, const char *topic, bool *accepted,
                       struct reason *reason, struct pj_error *error)
{
    static const char sql[] =
        "SELECT a.known, l.sqlstate, l.message FROM (SELECT EXISTS (SELECT FROM "
        "projectionist.accepted_topics WHERE cluster_id = $1 AND consumer_group = $2 "
        "AND topic = $3) AS known) AS a LEFT JOIN LATERAL (SELECT sqlstate, message FROM "
        "projectionist.dead_letters WHERE cluster_id = $1 AND consumer_group = $2 "
        "AND topic = $3 LIMIT 100) AS l ON true";
    struct pj_result *result;
    if (pj_postgres_query(session->unit.postgres, sql,
                          PJ_TEXTS(session->identity.cluster_id, session->identity.group, topic),
                          &result, error) != 0)
        return -1;
    *accepted = *pj_result_value(result, 0, 0, NULL) == 't';
    for (int row = 0; row < pj_result_rows(result); row++) {
        const char *sqlstate = pj_result_value(result, row, 1, NULL);
        const char *message = pj_result_value(result, row, 2, NULL);
        if (message != NULL)
            add_reason(reason,
                       sqlstate != NULL
                           ? pj_arena_string(session->unit.work, sqlstate, strlen(sqlstate))
                           : "",
                       pj_arena_string(session->unit.work, message, strlen(message)));
    }
    pj_result_free(result);
    return 0;
}

static int check_topic(struct pj_flood *flood, struct pj_session *session,
                       const struct pj_piece *piece, size_t source, struct pj_error *error)
{
    const char *topic = session->projection->sources[source].topic;
    struct reason reason = {.count = 0};
    add_refused(piece, source, session->unit.work, &reason);
    if (reason.count == 0)
        return 0;
    if (add_letters(session, topic, &flood->accepted[source], &reason, error) != 0)
        return -1;
    if (flood->accepted[source] || reason.others || reason.count < FIRST)
        return 0;
    return pj_error_fatal(error, PJ_EXIT_FAILED,
                          "the first %d records of %s are all refused for one reason, and none was "
                          "accepted: correct the topic, its schema, the table or the program, or "
                          "dead-letter them with --accept-dead-letters (%.350s)",
                          FIRST, topic, reason.message);
}

int pj_flood_check(struct pj_flood *flood, struct pj_session *session, const struct pj_piece *piece,
                   struct pj_error *error)
{
    bool watched = !session->settings->accept_dead_letters;
    for (size_t s = 0; watched && s < session->projection->source_count; s++) {
        if (!flood->accepted[s] && check_topic(flood, session, piece, s, error) != 0)
            return -1;
    }
    return 0;
}

size_t pj_flood_accept(const struct pj_flood *flood, const struct pj_session *session,
                       const struct pj_piece *piece, const char **topics)
{
    size_t count = 0;
    for (size_t s = 0; s < session->projection->source_count; s++) {
        if (!flood->accepted[s] && any_accepted(piece, s))
            topics[count++] = session->projection->sources[s].topic;
    }
    return count;
}

void pj_flood_accepted(struct pj_flood *flood, const struct pj_session *session,
                       const char *const *topics, size_t count)
{
    for (size_t s = 0; count > 0 && s < session->projection->source_count; s++) {
        for (size_t i = 0; i < count; i++)
            flood->accepted[s] |= topics[i] == session->projection->sources[s].topic;
    }
}

void pj_flood_open(struct pj_flood *flood, const struct pj_session *session)
{
    size_t count = session->projection->source_count;
    flood->accepted = pj_calloc(count, sizeof *flood->accepted);
    for (size_t s = 0; s < count; s++)
        flood->accepted[s] = !session->policy->refuses_floods;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A request's events against what the tables show of their things. */
#include "base/memory.h"
#include "base/text.h"
#include "event-ingest/ingest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int64_t pj_ingest_match(const char *match)
{
    size_t length = strlen(match);
    const char *digits = match;
    if (length > 2 && match[0] == '"' && match[length - 1] == '"') { /* as an ETag is written */
        digits++;
        length -= 2;
    }
    if (length == 0 || length > 18 || strspn(digits, "0123456789") != length)
        return -1;
    return strtoll(digits, NULL, 10);
}

static void answer_event(struct pj_answer *answer, int status, const struct pj_error *error,
                         const struct pj_claim_of *claim, bool is_one)
{
    char *text = is_one ? pj_strdup(error->message)
                        : pj_text_new("event %zu: %s", claim->event, error->message);
    pj_answer_error(answer, status, text);
    free(text);
}

/* A key that is none of the table's type is nobody's thing. */
static void answer_unread(struct pj_answer *answer, const struct pj_error *error)
{
    bool is_key = error->class == PJ_POISON;
    char *text = is_key ? pj_text_new("a key cannot be looked up: %s", error->message)
                        : pj_text_new("the tables cannot be read: %s; nothing was published; try "
                                      "again",
                                      error->message);
    pj_answer_error(answer, is_key ? 400 : 503, text);
    free(text);
}

bool pj_ingest_judge(struct pj_ingest *ingest, const struct pj_posted *posted,
                     const struct pj_claim_of *claims, size_t count, bool is_one,
                     struct pj_answer *answer)
{
    struct pj_error error = {0};
    int status = 0;
    if (count == 0)
        return true;
    const struct pj_shown_table *table = &ingest->tables->items[pj_topic_index(posted->topic)];
    const char *user = posted->caller->user[0] != '\0' ? posted->caller->user : NULL;
    struct pj_shown *shown = pj_calloc(count, sizeof *shown);
    bool is_good = pj_shown_read(ingest->reader, table, claims, shown, count, &error) == 0;
    if (!is_good)
        answer_unread(answer, &error);
    for (size_t i = 0; i < count && is_good; i++) {
        is_good = pj_shown_judge(table, &shown[i], &claims[i], user, &status, &error) == 0;
        if (is_good)
            continue;
        answer_event(answer, status, &error, &claims[i], is_one);
        pj_metric_add(status == 403 ? ingest->foreign : ingest->outdated, 1);
    }
    free(shown);
    return is_good;
}

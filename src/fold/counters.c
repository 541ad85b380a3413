/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/counters.h"

#include "fold/declaration_internal.h"
#include "fold/fold_internal.h"

#include <string.h>

/* --- the declaration ------------------------------------------------------------------------- */

/* Labels of every series, and what Prometheus or a scrape adds. */
static bool is_taken(const char *label)
{
    static const char *const taken[] = {"system", "consumer", "group", "job", "instance", "le"};
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        if (strcmp(taken[i], label) == 0)
            return true;
    }
    return false;
}

static int check_words(const struct pj_projection *projection, const struct pj_counter *counter,
                       struct pj_error *error)
{
    size_t count = 0;
    if (counter->label == NULL && counter->words == NULL)
        return 0;
    if (counter->label == NULL || counter->words == NULL || counter->words[0] == NULL)
        return PJ_WRONG(error,
                        "the counter %s of %s has %s: give a label and the words that it may "
                        "have, or neither",
                        counter->name, projection->name,
                        counter->label == NULL ? "words and no label" : "a label and no words");
    if (!pj_declaration_is_word(counter->label, pj_declaration_sql_name) ||
        is_taken(counter->label))
        return PJ_WRONG(error,
                        "the label of the counter %s of %s is \"%.100s\", and must be lower-case "
                        "letters, digits and underscores, and none that all metrics have",
                        counter->name, projection->name, counter->label);
    for (; counter->words[count] != NULL && count <= PJ_COUNTER_WORDS_MOST; count++) {
        for (size_t w = 0; w < count; w++) {
            if (strcmp(counter->words[w], counter->words[count]) == 0)
                return PJ_WRONG(error, "the counter %s of %s has the word \"%.100s\" twice",
                                counter->name, projection->name, counter->words[w]);
        }
    }
    return count <= PJ_COUNTER_WORDS_MOST
               ? 0
               : PJ_WRONG(error,
                          "the counter %s of %s has more than %d words; or no NULL ends them",
                          counter->name, projection->name, PJ_COUNTER_WORDS_MOST);
}

static int check_counter(const struct pj_projection *projection, size_t index,
                         struct pj_error *error)
{
    const struct pj_counter *counter = &projection->counters[index];
    if (!pj_declaration_is_word(counter->name, pj_declaration_sql_name) ||
        strlen(counter->name) > PJ_SQL_NAME_MOST)
        return PJ_WRONG(error,
                        "a counter of %s has the name \"%.100s\", and must be lower-case letters, "
                        "digits and underscores, at most %d",
                        projection->name, counter->name, PJ_SQL_NAME_MOST);
    for (size_t c = 0; c < index; c++) {
        if (strcmp(projection->counters[c].name, counter->name) == 0)
            return PJ_WRONG(error, "two counters of %s have the name %s; rename one",
                            projection->name, counter->name);
    }
    if (counter->help == NULL || *counter->help == '\0')
        return PJ_WRONG(error, "the counter %s of %s lacks its help", counter->name,
                        projection->name);
    return check_words(projection, counter, error);
}

int pj_counters_check(const struct pj_projection *projection, struct pj_error *error)
{
    size_t count = 0, counting = 0;
    for (; projection->counters != NULL && projection->counters[count].name != NULL; count++) {
        if (count == PJ_COUNTERS_MOST)
            return PJ_WRONG(error,
                            "%s has more than %d counters; or an empty one does not end them",
                            projection->name, PJ_COUNTERS_MOST);
        if (check_counter(projection, count, error) != 0)
            return -1;
    }
    for (size_t e = 0; e < projection->entity_count; e++)
        counting += projection->entities[e].count != NULL;
    if ((count > 0) == (counting > 0))
        return 0;
    return PJ_WRONG(error, "%s has %s: declare both, or neither", projection->name,
                    count > 0 ? "counters, and no entity kind with a count function"
                              : "an entity kind with a count function, and no counters");
}

/* --- counting -------------------------------------------------------------------------------- */

size_t pj_counter_series(const struct pj_counter *counter)
{
    size_t words = 0;
    while (counter->words != NULL && counter->words[words] != NULL)
        words++;
    return counter->words != NULL ? words : 1;
}

size_t pj_counters_series(const struct pj_projection *projection)
{
    size_t series = 0;
    const struct pj_counter *counter = projection->counters;
    for (; counter != NULL && counter->name != NULL; counter++)
        series += pj_counter_series(counter);
    return series;
}

void pj_count(struct pj_tally *tally, size_t counter, size_t word, size_t by)
{
    struct pj_fold *fold = tally->fold;
    const struct pj_counter *counters = fold->projection->counters;
    size_t first = 0;
    size_t at = 0;
    for (; at < counter && counters[at].name != NULL; at++)
        first += pj_counter_series(&counters[at]);
    if (at < counter || counters[at].name == NULL || word >= pj_counter_series(&counters[at])) {
        pj_fold_mistake(fold,
                        "pj_count names the word %zu of the counter %zu, which is not there: give "
                        "an index of its counters, and one of the counter's words or 0",
                        word, counter);
        return;
    }
    fold->counted[first + word] += (int64_t)by;
}

const int64_t *pj_fold_counted(const struct pj_fold *fold)
{
    return fold->counted;
}

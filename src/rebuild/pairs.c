/* SPDX-License-Identifier: Apache-2.0 */
#include "rebuild/pairs.h"
#include "fold/declaration.h"
#include "fold/wide.h"

#include "base/memory.h"
#include "base/text.h"
#include "store/statements.h"

#include <stdlib.h>
#include <string.h>

int pj_pairs_script(struct pj_postgres *postgres, struct pj_builder *sql, struct pj_error *error)
{
    char *text = pj_builder_take(sql);
    int status = *text != '\0' ? pj_postgres_script(postgres, text, error) : 0;
    free(text);
    return status;
}

static void make_pair(struct pj_pair *pair, const char *schema, const char *name,
                      const char *shadow)
{
    pj_text_whole(pair->plain, sizeof pair->plain, "%s%s%s", schema != NULL ? schema : "",
                  schema != NULL ? "." : "", name);
    pair->live = pj_sql_qualified(schema, name);
    pair->shadow = pj_sql_qualified(shadow, name);
    pair->key = pj_sql_key(pair->table);
    pair->compared = pj_sql_all(pair->table) & ~pair->key;
}

struct pj_pair *pj_pairs_list(const struct pj_projection *projection, const char *shadow,
                              size_t *count)
{
    struct pj_pair *pairs =
        pj_calloc(projection->table_count + 2 * projection->entity_count, sizeof *pairs);
    *count = 0;
    for (size_t t = 0; t < projection->table_count; t++) {
        const struct pj_table *table = projection->tables[t];
        if (table->part_of != NULL)
            continue;
        pairs[*count].table = table;
        make_pair(&pairs[(*count)++], table->schema, table->name, shadow);
    }
    for (size_t e = 0; e < projection->entity_count; e++) {
        struct pj_pair *pair = &pairs[(*count)++];
        char name[PJ_STATE_NAME_SIZE];
        pj_declaration_state_name(projection, projection->entities[e].name, name);
        pair->state = true;
        pair->table = projection->entities[e].timed ? &pj_timed_state_table : &pj_state_table;
        make_pair(pair, "projectionist", name, shadow);
        /* When it was derived depends on when it was read; what was derived does not. */
        pair->compared &= pj_sql_all(&pj_state_table);
        if (!pj_wide_has(&projection->entities[e]))
            continue;
        pair = &pairs[(*count)++];
        pj_declaration_wide_name(projection, projection->entities[e].name, name);
        pair->state = true;
        pair->table = &pj_wide_state_table;
        make_pair(pair, "projectionist", name, shadow);
    }
    for (size_t i = 0; i < *count; i++) {
        pairs[i].index = i;
        pairs[i].projection = projection->name;
    }
    return pairs;
}

uint64_t pj_pair_placeholder(const struct pj_pair *pair)
{
    return pair->table->placeholder != 0 ? 1ULL << pair->table->placeholder : 0;
}

const char *pj_pair_name(const struct pj_pair *pair, size_t column)
{
    return pair->table->columns[column].name;
}

void pj_pair_columns(struct pj_builder *sql, const struct pj_pair *pair, uint64_t columns,
                     const char *separator, const char *each)
{
    pj_sql_columns(sql, pair->table, columns, separator, each);
}

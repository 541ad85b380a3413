/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A consumer with a bug put in on purpose: of three entities (or events) in ten, the first text of
 * every row is wrong, and so is what they count for. All else is the projection PJ_PROJECTION.
 */
#include "fold/fold_internal.h"
#include "projectionist/consumer.h"
#include "projections/systems.h"

enum { KINDS_MOST = 8 };

extern const struct pj_projection PJ_PROJECTION;
static struct pj_entity_kind kinds[KINDS_MOST];
static struct pj_source sources[KINDS_MOST];
static struct pj_projection buggy;

static bool is_spoilt(const struct pj_value *key)
{
    return key->uuid[15] % 10 < 3;
}

static void spoil(const struct pj_table *table, struct pj_value *values)
{
    for (size_t c = 0; c < table->column_count; c++) {
        const struct pj_column *column = &table->columns[c];
        if (column->key || column->elsewhere || !values[c].present)
            continue;
        if (column->type == PJ_TEXT) {
            values[c] = pj_text("WRONG");
            return;
        }
        if (column->measure == PJ_SUM && column->type == PJ_BIGINT) {
            values[c].integer++;
            return;
        }
    }
}

static void derive(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    PJ_PROJECTION.entities[entity->kind - kinds].derive(entity, derivation);
    struct pj_value key = pj_uuid(entity->key);
    for (size_t i = 0; i < derivation->row_count && is_spoilt(&key); i++) {
        const struct pj_table *table = buggy.tables[derivation->rows[i].table];
        if (table->part_of == NULL) /* those are under unique indexes */
            spoil(table, derivation->rows[i].values);
    }
}

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    size_t index = 0;
    size_t before[64];
    while (strcmp(sources[index].topic, event->topic) != 0)
        index++;
    for (size_t t = 0; t < buggy.table_count; t++)
        before[t] = observer->fold->appended[t].count;
    if (PJ_PROJECTION.sources[index].observe(event, observer, error) != 0)
        return -1;
    for (size_t t = 0; t < buggy.table_count; t++) {
        const struct pj_appended *appended = &observer->fold->appended[t];
        for (size_t i = before[t]; i < appended->count; i++) {
            if (is_spoilt(&appended->rows[i][0]))
                spoil(buggy.tables[t], appended->rows[i]);
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    buggy = PJ_PROJECTION;
    for (size_t e = 0; e < buggy.entity_count; e++) {
        kinds[e] = PJ_PROJECTION.entities[e];
        kinds[e].derive = derive;
    }
    for (size_t s = 0; s < buggy.source_count; s++) {
        sources[s] = PJ_PROJECTION.sources[s];
        sources[s].observe = observe;
    }
    buggy.entities = kinds;
    buggy.sources = sources;
    return pj_consumer_main(&pj_safari, &buggy, argc, argv);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/schemas.h"

#include "base/clock.h"
#include "engine/check.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An unknown id is asked for again after a while: a registry's follower may be behind. */
enum { UNKNOWN_KEPT_MS = 5000, SLOTS = 4096, HEADER = 5 };

struct entry {
    int32_t id;
    size_t source;
    struct pj_plan *plan; /* NULL: it cannot be read, for this reason: */
    struct pj_error refused;
    int64_t expires_ms; /* 0: never */
    struct entry *next;
};

struct pj_schemas {
    const struct pj_projection *projection;
    struct pj_registry *registry;
    const char *registry_name;
    bool registry_wanted;
    struct pj_decoder **decoders;
    struct entry *slots[SLOTS];
    size_t refused_count;
    const char *(*lookup)(void *context, int32_t id); /* or NULL */
    void *lookup_context;
};

int pj_schemas_new(struct pj_schemas **out, const struct pj_projection *projection,
                   struct pj_registry *registry, const char *registry_name, struct pj_error *error)
{
    struct pj_schemas *schemas = calloc(1, sizeof *schemas);
    if (schemas == NULL)
        return pj_error_set(error, PJ_FATAL, "out of memory");
    schemas->projection = projection;
    schemas->registry = registry;
    schemas->registry_name = registry_name != NULL ? registry_name : "";
    schemas->decoders = calloc(projection->source_count, sizeof(struct pj_decoder *));
    for (size_t i = 0; schemas->decoders != NULL && i < projection->source_count; i++) {
        if (pj_decoder_new(&schemas->decoders[i], &projection->sources[i], error) != 0) {
            pj_schemas_free(schemas);
            return -1;
        }
    }
    *out = schemas;
    return 0;
}

void pj_schemas_set_lookup(struct pj_schemas *schemas,
                           const char *(*lookup)(void *context, int32_t id), void *context)
{
    schemas->lookup = lookup;
    schemas->lookup_context = context;
}

void pj_schemas_want_registry(struct pj_schemas *schemas)
{
    schemas->registry_wanted = true;
}

void pj_schemas_free(struct pj_schemas *schemas)
{
    if (schemas == NULL)
        return;
    for (size_t s = 0; s < SLOTS; s++) {
        while (schemas->slots[s] != NULL) {
            struct entry *entry = schemas->slots[s];
            schemas->slots[s] = entry->next;
            pj_plan_free(entry->plan);
            free(entry);
        }
    }
    for (size_t i = 0; schemas->decoders != NULL && i < schemas->projection->source_count; i++)
        pj_decoder_free(schemas->decoders[i]);
    free(schemas->decoders);
    free(schemas);
}

int32_t pj_schemas_wire_id(const void *data, size_t length)
{
    uint32_t id;
    if (data == NULL || length < HEADER || *(const char *)data != 0)
        return -1;
    memcpy(&id, (const char *)data + 1, sizeof id);
    return (int32_t)be32toh(id);
}

/* --- looking up ------------------------------------------------------------------------------ */

static struct entry **slot_of(struct pj_schemas *schemas, int32_t id, size_t source)
{
    uint32_t hash = ((uint32_t)id * 2654435761u) ^ (uint32_t)source * 97u;
    return &schemas->slots[hash % SLOTS];
}

static struct entry *find(struct pj_schemas *schemas, int32_t id, size_t source)
{
    struct entry **link = slot_of(schemas, id, source);
    while (*link != NULL && ((*link)->id != id || (*link)->source != source))
        link = &(*link)->next;
    struct entry *entry = *link;
    if (entry == NULL || entry->expires_ms == 0 || pj_clock_monotonic_ms() < entry->expires_ms)
        return entry;
    *link = entry->next;
    schemas->refused_count--;
    free(entry);
    return NULL;
}

/* Without a registry's name any will do, as long as they agree what the id means. */
static int from_postgres(struct pj_schemas *schemas, struct pj_postgres *postgres, int32_t id,
                         char **text, struct pj_error *error)
{
    char number[16];
    snprintf(number, sizeof number, "%d", id);
    const char *parameters[] = {schemas->registry_name, number};
    struct pj_result *result;
    if (pj_postgres_query(postgres,
                          "SELECT DISTINCT schema FROM projectionist.schemas "
                          "WHERE (registry = $1 OR $1 = '') AND schema_id = $2::int",
                          2, parameters, &result, error) != 0)
        return -1;
    *text = pj_result_rows(result) == 1 ? strdup(pj_result_value(result, 0, 0, NULL)) : NULL;
    pj_result_free(result);
    return 0;
}

static int into_postgres(struct pj_schemas *schemas, struct pj_postgres *postgres, int32_t id,
                         const char *text, struct pj_error *error)
{
    char number[16];
    snprintf(number, sizeof number, "%d", id);
    const char *parameters[] = {schemas->registry_name, number, text};
    struct pj_result *result;
    if (pj_postgres_query(postgres,
                          "INSERT INTO projectionist.schemas (registry, schema_id, schema) "
                          "VALUES ($1, $2::int, $3) ON CONFLICT DO NOTHING",
                          3, parameters, &result, error) != 0)
        return -1;
    pj_result_free(result);
    return 0;
}

static int look_elsewhere(struct pj_schemas *schemas, int32_t id, char **text,
                          struct pj_error *error)
{
    const char *found = schemas->lookup(schemas->lookup_context, id);
    *text = found != NULL ? strdup(found) : NULL;
    return *text != NULL ? 0
                         : pj_error_set(error, PJ_POISON,
                                        "schema id %d is not where the record comes from", id);
}

static int fetch(struct pj_schemas *schemas, struct pj_postgres *postgres, int32_t id, char **text,
                 struct pj_error *error)
{
    if (schemas->lookup != NULL)
        return look_elsewhere(schemas, id, text, error);
    if (from_postgres(schemas, postgres, id, text, error) != 0)
        return -1;
    if (*text != NULL)
        return 0;
    if (schemas->registry == NULL && schemas->registry_wanted)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "schema id %d is not kept in Postgres, and no schema registry is "
                              "named to ask for it: set PROJECTIONIST_SCHEMA_REGISTRY_URL or give "
                              "--schema-registry-url",
                              id);
    if (schemas->registry == NULL)
        return pj_error_set(error, PJ_POISON,
                            "schema id %d is not kept in Postgres, and no schema registry is set",
                            id);
    if (pj_registry_schema(schemas->registry, id, text, error) != 0)
        return -1;
    if (into_postgres(schemas, postgres, id, *text, error) != 0) {
        free(*text);
        *text = NULL;
        return -1;
    }
    return 0;
}

static int look_up(struct pj_schemas *schemas, struct pj_postgres *postgres, int32_t id,
                   size_t source, struct entry **out, struct pj_error *error)
{
    char *text = NULL;
    struct pj_plan *plan = NULL;
    bool known = fetch(schemas, postgres, id, &text, error) == 0;
    int status = known ? pj_plan_new(&plan, schemas->decoders[source], text, error) : -1;
    free(text);
    if (status != 0 && error->class != PJ_POISON)
        return -1;
    /* Ids that nobody knows come from garbage; they are remembered a little and in bounds. */
    if (!known && schemas->refused_count >= SLOTS)
        return -1;
    struct entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        abort();
    entry->id = id;
    entry->source = source;
    entry->plan = plan;
    if (status != 0)
        entry->refused = *error;
    if (!known) {
        entry->expires_ms = pj_clock_monotonic_ms() + UNKNOWN_KEPT_MS;
        schemas->refused_count++;
    }
    struct entry **slot = slot_of(schemas, id, source);
    entry->next = *slot;
    *slot = entry;
    *out = entry;
    return 0;
}

int pj_schemas_decode(struct pj_schemas *schemas, struct pj_postgres *postgres, size_t source,
                      const void *data, size_t length, struct pj_arena *arena,
                      struct pj_value *values, struct pj_error *error)
{
    if (data == NULL || length == 0)
        return pj_error_set(error, PJ_POISON, "the value is empty");
    int32_t id = pj_schemas_wire_id(data, length);
    if (length < HEADER || *(const char *)data != 0)
        return pj_error_set(error, PJ_POISON,
                            "the value is not in the wire format (byte 0, schema id, Avro)");
    struct entry *entry = find(schemas, id, source);
    if (entry == NULL) {
        if (postgres == NULL)
            return pj_error_set(error, PJ_RETRY, "schema id %d is not in memory yet", id);
        if (look_up(schemas, postgres, id, source, &entry, error) != 0)
            return -1;
    }
    if (entry->plan == NULL) {
        *error = entry->refused;
        return -1;
    }
    if (pj_plan_decode(entry->plan, (const char *)data + HEADER, length - HEADER, arena, values,
                       error) != 0)
        return -1;
    /* What is appended meets Postgres as it is; what is folded may never get there. */
    return pj_check_values(&schemas->projection->sources[source], values,
                           schemas->projection->entity_count > 0, error);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "store/schemas.h"

#include "avro/heartbeat.h"

#include "avro/avro_schema.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "fold/check.h"
#include "store/offsets.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

/* An unknown id is asked for again after a while: a registry's follower may lag. */
enum { UNKNOWN_KEPT_MS = 5000, SLOTS = 4096, HEADER = 5 };
/* How long an unreachable registry is not asked again about known ids, and how often it is asked.
 */
enum { AWAY_MS = 60000, LOOK_AGAIN_MS = 10000 };

struct entry {
    int32_t id;
    size_t source;
    struct pj_plan *plan; /* NULL: it cannot be read, for this reason: */
    bool heartbeat;       /* the plan is of pj_heartbeat_source */
    struct pj_error refused;
    char *text;         /* as it is kept; NULL: it is not */
    int64_t expires_ms; /* 0: never */
    struct entry *next;
};

struct pj_schemas {
    const struct pj_projection *projection;
    struct pj_registry *registry;
    const char *registry_name;
    bool registry_wanted;
    struct pj_decoder **decoders;
    struct pj_decoder *heartbeats;
    struct entry *slots[SLOTS];
    size_t refused_count;
    const struct pj_identity *reader; /* or NULL */
    bool reader_noted;
    int64_t ask_not_before; /* about what is known: the registry is away */
    int64_t looked_at;
    size_t look_next;                                 /* the slot whose ids are asked about next */
    const char *(*lookup)(void *context, int32_t id); /* or NULL */
    void *lookup_context;
};

int pj_schemas_new(struct pj_schemas **out, const struct pj_projection *projection,
                   struct pj_registry *registry, const char *registry_name, struct pj_error *error)
{
    struct pj_schemas *schemas = pj_alloc(sizeof *schemas);
    schemas->projection = projection;
    schemas->registry = registry;
    schemas->registry_name = registry_name != NULL ? registry_name : "";
    schemas->decoders = pj_calloc(projection->source_count, sizeof(struct pj_decoder *));
    for (size_t i = 0; i < projection->source_count; i++) {
        if (pj_decoder_new(&schemas->decoders[i], &projection->sources[i], error) != 0) {
            pj_schemas_free(schemas);
            return -1;
        }
    }
    if (pj_decoder_new(&schemas->heartbeats, &pj_heartbeat_source, error) != 0) {
        pj_schemas_free(schemas);
        return -1;
    }
    *out = schemas;
    return 0;
}

void pj_schemas_set_reader(struct pj_schemas *schemas, const struct pj_identity *reader)
{
    schemas->reader = reader;
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

static void free_entry(struct entry *entry)
{
    pj_plan_free(entry->plan);
    free(entry->text);
    free(entry);
}

void pj_schemas_free(struct pj_schemas *schemas)
{
    if (schemas == NULL)
        return;
    for (size_t s = 0; s < SLOTS; s++) {
        while (schemas->slots[s] != NULL) {
            struct entry *entry = schemas->slots[s];
            schemas->slots[s] = entry->next;
            free_entry(entry);
        }
    }
    for (size_t i = 0; i < schemas->projection->source_count; i++)
        pj_decoder_free(schemas->decoders[i]);
    free(schemas->decoders);
    pj_decoder_free(schemas->heartbeats);
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
    free_entry(entry);
    return NULL;
}

static const char *group_of(const struct pj_schemas *schemas)
{
    const struct pj_identity *reader = schemas->reader;
    if (reader == NULL || reader->cluster_id == NULL)
        return NULL;
    return reader->rebuilt_group != NULL ? reader->rebuilt_group : reader->group;
}

/* What Postgres keeps of an id. */
struct kept {
    char *text; /* NULL: nothing that can be read */
    char *registry;
    bool here;   /* by the registry that is asked */
    bool broken; /* by that one, but it cannot be read */
};

static void kept_free(struct kept *kept)
{
    free(kept->text);
    free(kept->registry);
}

static bool can_be_read(const char *text)
{
    struct pj_schema *parsed;
    struct pj_error ignored;
    if (pj_schema_parse(&parsed, text, &ignored) != 0)
        return false;
    pj_schema_free(parsed);
    return true;
}

static int differ(const struct pj_schemas *schemas, int32_t id, const char *one, const char *other,
                  struct pj_error *error)
{
    const char *group = group_of(schemas);
    return pj_error_fatal(error, PJ_EXIT_REGISTRY,
                          "schema id %d means another schema at %.200s than %s%.100s learned from "
                          "%.200s before, so records would be read wrongly; name the registry "
                          "that they were written with, or if what is kept is wrong, run "
                          "'projectionist schemas forget %d'",
                          id, one, group != NULL ? "group " : "this database",
                          group != NULL ? group : "", other, id);
}

/*
 * From the registry that is asked, and from those that the group learned from before. Without a
 * registry's name, and for a group that learned from none, any will do, as long as they agree what
 * the id means.
 */
static int from_postgres(struct pj_schemas *schemas, struct pj_postgres *postgres, int32_t id,
                         struct kept *kept, struct pj_error *error)
{
    char number[16];
    pj_text_whole(number, sizeof number, "%d", id);
    const char *group = group_of(schemas);
    struct pj_result *result;
    *kept = (struct kept){0};
    if (pj_postgres_query(postgres,
                          "WITH sources AS (SELECT registry FROM projectionist.schema_readers "
                          "WHERE cluster_id = $3 AND consumer_group = $4) "
                          "SELECT registry, schema, EXISTS (SELECT FROM sources) OR $1 <> '' "
                          "FROM projectionist.schemas WHERE schema_id = $2::int AND (registry = $1 "
                          "OR registry IN (SELECT registry FROM sources) "
                          "OR $1 = '' AND NOT EXISTS (SELECT FROM sources)) "
                          "ORDER BY registry <> $1, fetched_at, registry",
                          PJ_TEXTS(schemas->registry_name, number,
                                   group != NULL ? schemas->reader->cluster_id : NULL, group),
                          &result, error) != 0)
        return -1;
    int status = 0;
    for (int row = 0; row < pj_result_rows(result) && status == 0; row++) {
        const char *registry = pj_result_value(result, row, 0, NULL);
        const char *text = pj_result_value(result, row, 1, NULL);
        bool here = strcmp(registry, schemas->registry_name) == 0;
        if (!can_be_read(text)) {
            kept->broken |= here;
        } else if (kept->text == NULL) {
            kept->text = pj_strdup(text);
            kept->registry = pj_strdup(registry);
            kept->here = here;
        } else if (!pj_registry_same_schema(kept->text, text)) {
            if (strcmp(pj_result_value(result, row, 2, NULL), "t") == 0) {
                status = differ(schemas, id, kept->registry, registry, error);
            } else { /* either may be right */
                kept_free(kept);
                *kept = (struct kept){0};
                break;
            }
        }
    }
    pj_result_free(result);
    if (status != 0)
        kept_free(kept);
    return status;
}

/* `replace`: what is there cannot be read. */
static int into_postgres(struct pj_schemas *schemas, struct pj_postgres *postgres, int32_t id,
                         const char *text, bool replace, struct pj_error *error)
{
    char number[16];
    pj_text_whole(number, sizeof number, "%d", id);
    return pj_postgres_query(
        postgres,
        "INSERT INTO projectionist.schemas AS s (registry, schema_id, schema) "
        "VALUES ($1, $2::int, $3) ON CONFLICT (registry, schema_id) DO UPDATE "
        "SET schema = excluded.schema, fetched_at = now() WHERE $4::boolean",
        PJ_TEXTS(schemas->registry_name, number, text, replace ? "true" : "false"), NULL, error);
}

/* From now on the group's ids mean what this registry says, too. */
static int note_reader(struct pj_schemas *schemas, struct pj_postgres *postgres,
                       struct pj_error *error)
{
    const char *group = group_of(schemas);
    if (schemas->reader_noted || group == NULL || schemas->registry == NULL ||
        schemas->reader->rebuilt_group != NULL)
        return 0;
    if (pj_postgres_query(postgres,
                          "INSERT INTO projectionist.schema_readers "
                          "(cluster_id, consumer_group, registry) VALUES ($1, $2, $3) "
                          "ON CONFLICT DO NOTHING",
                          PJ_TEXTS(schemas->reader->cluster_id, group, schemas->registry_name),
                          NULL, error) != 0)
        return -1;
    schemas->reader_noted = true;
    return 0;
}

static int look_elsewhere(struct pj_schemas *schemas, int32_t id, char **text,
                          struct pj_error *error)
{
    const char *found = schemas->lookup(schemas->lookup_context, id);
    *text = pj_strdup(found);
    return *text != NULL ? 0
                         : pj_error_set(error, PJ_POISON,
                                        "schema id %d is not where the record comes from", id);
}

static int no_registry(const struct pj_schemas *schemas, int32_t id, struct pj_error *error)
{
    if (schemas->registry_wanted)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "schema id %d is not kept in Postgres, and no schema registry is "
                              "named to ask for it: set PROJECTIONIST_SCHEMA_REGISTRY_URL or give "
                              "--schema-registry-url",
                              id);
    return pj_error_set(error, PJ_POISON,
                        "schema id %d is not kept in Postgres, and no schema registry is set", id);
}

/*
 * Asks the registry about an id that is known: 0 where it says the same, has no such id or does not
 * answer now, which is no reason to stop. *confirmed: it says the same.
 */
static int compare(struct pj_schemas *schemas, int32_t id, const char *text, const char *by,
                   bool *confirmed, struct pj_error *error)
{
    char *now = NULL;
    struct pj_error failed;
    *confirmed = false;
    if (schemas->registry == NULL || pj_clock_monotonic_ms() < schemas->ask_not_before)
        return 0;
    if (pj_registry_schema(schemas->registry, id, &now, &failed) != 0) {
        if (failed.class == PJ_POISON)
            return 0;
        schemas->ask_not_before = pj_clock_monotonic_ms() + AWAY_MS;
        pj_log(PJ_WARN, "kept schemas are not compared with the registry",
               pj_f_str("reason", failed.message));
        return 0;
    }
    *confirmed = pj_registry_same_schema(text, now);
    free(now);
    return *confirmed ? 0 : differ(schemas, id, schemas->registry_name, by, error);
}

static int fetch(struct pj_schemas *schemas, struct pj_postgres *postgres, int32_t id, char **text,
                 struct pj_error *error)
{
    struct kept kept;
    bool confirmed = false;
    if (schemas->lookup != NULL)
        return look_elsewhere(schemas, id, text, error);
    if (from_postgres(schemas, postgres, id, &kept, error) != 0)
        return -1;
    int status = 0;
    if (kept.text != NULL) {
        status = compare(schemas, id, kept.text, kept.registry, &confirmed, error);
    } else if (schemas->registry == NULL) {
        status = no_registry(schemas, id, error);
    } else {
        status = pj_registry_schema(schemas->registry, id, &kept.text, error);
        confirmed = status == 0;
    }
    /* What cannot be read is not kept: the registry may be broken, and be fixed. */
    if (status == 0 && confirmed && can_be_read(kept.text) &&
        ((!kept.here && into_postgres(schemas, postgres, id, kept.text, kept.broken, error) != 0) ||
         note_reader(schemas, postgres, error) != 0))
        status = -1;
    *text = status == 0 ? kept.text : NULL;
    if (status == 0)
        kept.text = NULL;
    kept_free(&kept);
    return status;
}

static int look_up(struct pj_schemas *schemas, struct pj_postgres *postgres, int32_t id,
                   size_t source, struct entry **out, struct pj_error *error)
{
    char *text = NULL;
    struct pj_plan *plan = NULL;
    bool known = fetch(schemas, postgres, id, &text, error) == 0;
    bool heartbeat = known && pj_heartbeat_is(text) &&
                     !pj_heartbeat_is(schemas->projection->sources[source].schema);
    const struct pj_decoder *decoder = heartbeat ? schemas->heartbeats : schemas->decoders[source];
    int status = known ? pj_plan_new(&plan, decoder, text, error) : -1;
    known = known && (status == 0 || can_be_read(text));
    if (status != 0 && error->class != PJ_POISON) {
        free(text);
        return -1;
    }
    /* Unknown ids come from garbage: few are remembered, and not for long. */
    if (!known && schemas->refused_count >= SLOTS) {
        free(text);
        return -1;
    }
    struct entry *entry = pj_alloc(sizeof *entry);
    entry->id = id;
    entry->source = source;
    entry->plan = plan;
    entry->heartbeat = heartbeat;
    entry->text = text;
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

int pj_schemas_look_again(struct pj_schemas *schemas, struct pj_error *error)
{
    int64_t now = pj_clock_monotonic_ms();
    bool confirmed;
    if (schemas->registry == NULL || schemas->lookup != NULL ||
        now - schemas->looked_at < LOOK_AGAIN_MS)
        return 0;
    schemas->looked_at = now;
    for (size_t i = 0; i < SLOTS; i++) {
        bool any = false;
        const struct entry *entry = schemas->slots[schemas->look_next++ % SLOTS];
        for (; entry != NULL; entry = entry->next) {
            if (entry->expires_ms != 0)
                continue;
            any = true;
            if (compare(schemas, entry->id, entry->text, schemas->registry_name, &confirmed,
                        error) != 0)
                return -1;
        }
        if (any)
            return 0;
    }
    return 0;
}

int pj_schemas_decode(struct pj_schemas *schemas, struct pj_postgres *postgres, size_t source,
                      const void *data, size_t length, struct pj_arena *arena,
                      struct pj_value *values, bool *heartbeat, struct pj_error *error)
{
    const struct pj_source *of = &schemas->projection->sources[source];
    *heartbeat = false;
    if (data == NULL && of->tombstones) {
        memset(values, 0, of->field_count * sizeof *values);
        return 0;
    }
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
    struct pj_value time;
    *heartbeat = entry->heartbeat;
    if (pj_plan_decode(entry->plan, (const char *)data + HEADER, length - HEADER, arena,
                       entry->heartbeat ? &time : values, error) != 0)
        return -1;
    if (entry->heartbeat) {
        memset(values, 0, of->field_count * sizeof *values);
        if (of->event_time != 0)
            values[of->event_time] = time;
        return 0;
    }
    /* What is appended meets Postgres as it is; what is folded may never get there. */
    return pj_check_values(of, values, schemas->projection->entity_count > 0, arena, error);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "store/dead_letter.h"

#include "postgres/binary.h"
#include "store/schemas.h"

static const uint32_t letter_types[] = {PJ_OID_TEXT,  PJ_OID_TEXT, PJ_OID_TEXT,        PJ_OID_TEXT,
                                        PJ_OID_INT4,  PJ_OID_INT8, PJ_OID_TIMESTAMPTZ, PJ_OID_BYTEA,
                                        PJ_OID_BYTEA, PJ_OID_TEXT, PJ_OID_INT4,        PJ_OID_TEXT,
                                        PJ_OID_TEXT,  PJ_OID_TEXT};
/* A letter that is there already stays as it is, but counts as written. */
#define LETTER_SQL(table)                                                                          \
    "WITH written AS (INSERT INTO " table                                                          \
    " (cluster_id, consumer_group, projection, topic, partition, "                                 \
    "record_offset, record_timestamp, key, value, headers, schema_id, error_class, sqlstate, "     \
    "message) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11, $12, $13, $14) "        \
    "ON CONFLICT (cluster_id, consumer_group, topic, partition, record_offset) DO UPDATE "         \
    "SET topic = EXCLUDED.topic RETURNING 1) SELECT CASE WHEN count(*) <> 1 THEN "                 \
    "projectionist.refuse_unwritten($3, '" table "'::regclass, 'INSERT', 1, count(*)) END "        \
    "FROM written"
static const struct pj_statement letter_statement = {
    .name = "pj_dead_letter",
    .sql = LETTER_SQL("projectionist.dead_letters"),
    .parameter_count = 14,
    .types = letter_types,
};
static const struct pj_statement shadow_letter_statement = {
    .name = "pj_shadow_dead_letter",
    .sql = LETTER_SQL("dead_letters"),
    .parameter_count = 14,
    .types = letter_types,
};

const char *pj_dead_letter_reason(struct pj_arena *arena, const struct pj_error *reason)
{
    char *message = pj_arena_string(arena, reason->message, strlen(reason->message));
    for (char *c = message; *c; c++) {
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
            *c = '?';
    }
    return message;
}

int pj_dead_letter_queue(struct pj_postgres *postgres, const struct pj_identity *identity,
                         const struct pj_dead_letter *letter, struct pj_arena *arena,
                         struct pj_error *error)
{
    const struct pj_record *record = letter->record;
    const struct pj_error *reason = letter->reason;
    struct pj_value timestamp = pj_timestamp(0);
    struct pj_value schema = pj_bigint(pj_schemas_wire_id(record->value, record->value_length));
    /* A producer may set any number. */
    timestamp.present = record->timestamp_ms >= 0 &&
                        !__builtin_mul_overflow(record->timestamp_ms, 1000, &timestamp.integer);
    schema.present = schema.integer >= 0;
    bool rebuilt = identity->rebuilt_group != NULL;
    struct pj_parameter parameters[] = {
        pj_binary_text(identity->cluster_id),
        pj_binary_text(rebuilt ? identity->rebuilt_group : identity->group),
        pj_binary_text(identity->projection),
        pj_binary_text(record->partition->topic),
        pj_binary_number(arena, PJ_INT, record->partition->number),
        pj_binary_number(arena, PJ_BIGINT, record->offset),
        pj_binary_scalar(arena, PJ_TIMESTAMPTZ, &timestamp),
        {record->key, record->key_length},
        {record->value, record->value_length},
        pj_binary_text(letter->headers),
        pj_binary_scalar(arena, PJ_INT, &schema),
        pj_binary_text(pj_error_class_name(reason->class)),
        pj_binary_text(*reason->sqlstate ? reason->sqlstate : NULL),
        pj_binary_text(pj_dead_letter_reason(arena, reason)),
    };
    return pj_postgres_queue(postgres, rebuilt ? &shadow_letter_statement : &letter_statement,
                             parameters, error);
}

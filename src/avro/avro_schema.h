/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An Avro schema as a graph of types: what a decoder needs, aliases, defaults and logical types
 * included (avro-c 1.11 keeps none of the three).
 */
#ifndef PJ_AVRO_AVRO_SCHEMA_H
#define PJ_AVRO_AVRO_SCHEMA_H

#include "projectionist/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum pj_avro_kind {
    PJ_AVRO_NULL,
    PJ_AVRO_BOOLEAN,
    PJ_AVRO_INT,
    PJ_AVRO_LONG,
    PJ_AVRO_FLOAT,
    PJ_AVRO_DOUBLE,
    PJ_AVRO_BYTES,
    PJ_AVRO_STRING,
    PJ_AVRO_RECORD,
    PJ_AVRO_ENUM,
    PJ_AVRO_ARRAY,
    PJ_AVRO_MAP,
    PJ_AVRO_UNION,
    PJ_AVRO_FIXED,
};

enum pj_avro_logical {
    PJ_LOGICAL_NONE,
    PJ_LOGICAL_UUID,
    PJ_LOGICAL_DATE,
    PJ_LOGICAL_TIME_MILLIS,
    PJ_LOGICAL_TIME_MICROS,
    PJ_LOGICAL_TIMESTAMP_MILLIS,
    PJ_LOGICAL_TIMESTAMP_MICROS,
    PJ_LOGICAL_TIMESTAMP_NANOS,
    PJ_LOGICAL_DECIMAL,
};

struct pj_avro_field {
    const char *name;
    const json_t *aliases;      /* an array of strings, or NULL */
    const json_t *default_json; /* or NULL: has none */
    bool holds_json;            /* its doc begins with "JSON text" */
    struct pj_avro_type *type;
};

struct pj_avro_type {
    enum pj_avro_kind kind;
    enum pj_avro_logical logical;
    const char *name;      /* full name of a record, enum or fixed; else NULL */
    const json_t *aliases; /* of a named type, or NULL */
    /* record: its fields; enum: its symbols; union: its branches; array, map: one item type */
    struct pj_avro_field *fields;
    const char **symbols;
    struct pj_avro_type **branches;
    size_t count;
    size_t size;          /* of a fixed */
    int precision, scale; /* of a decimal */
};

struct pj_schema;

/* Parses a schema; refuses what is not Avro, nested more than 64 deep or over 1 MiB (PJ_POISON,
 * one sentence). */
int pj_schema_parse(struct pj_schema **schema, const char *json,
                    struct pj_error *error) PJ_MUST_CHECK;
void pj_schema_free(struct pj_schema *schema); /* NULL is allowed */
const struct pj_avro_type *pj_schema_root(const struct pj_schema *schema);

/* "boolean"; a record, enum or fixed has a name of its own besides. */
const char *pj_avro_kind_name(enum pj_avro_kind kind);

/* "Target" of "safari.Target". */
const char *pj_schema_short_name(const char *full_name);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan of decoding one writer's schema: a tree that follows the writer's types as far as a
 * wanted field lies below. Private to decode.c, plan.c and recording.c.
 */
#ifndef PJ_AVRO_PLAN_H
#define PJ_AVRO_PLAN_H

#include "avro/avro_reader.h"
#include "avro/decode.h"
#include "base/arena.h"

struct pj_decoder {
    const struct pj_source *source;
    struct pj_schema *schema; /* ours: the reader's */
};

struct pj_plan_default {
    size_t slot;
    struct pj_value value;
};

struct pj_plan_slot {
    size_t slot;
    struct pj_plan_node *item; /* of an array's items, by the fields that these have; or NULL */
};

struct pj_plan_node {
    const struct pj_avro_type *type; /* the writer's */
    enum pj_avro_logical time_unit;  /* of an int or long read as a time */
    bool text;                       /* a string, or bytes that our schema reads as one */
    struct pj_plan_slot *slots;      /* the fields that want this very value */
    size_t slot_count;
    struct pj_plan_node **children;   /* per field or branch, NULL: skipped; or NULL */
    struct pj_plan_default *defaults; /* of a record: what the writer lacks */
    size_t default_count;
    const char *missing; /* a field that it lacks and that has no default */
    const char *refused; /* why a value of this type cannot be ours */
};

struct pj_plan {
    const struct pj_decoder *decoder;
    struct pj_schema *writer;
    struct pj_arena *arena;
    struct pj_plan_node *root;
};

/* pj_plan_decode of one of several records, from where the reader is. */
int pj_plan_next(const struct pj_plan *plan, struct pj_avro_reader *reader, struct pj_arena *arena,
                 struct pj_value *values, struct pj_error *error) PJ_MUST_CHECK;

/* A time in the unit (PJ_LOGICAL_NONE: microseconds) as microseconds; false where no timestamptz
 * holds it. */
bool pj_plan_time(enum pj_avro_logical unit, int64_t raw, int64_t *micros);

#endif

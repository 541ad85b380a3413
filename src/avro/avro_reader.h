/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Avro binary, read with suspicion: every read checks what is left, nesting is bounded, and a
 * budget of steps stops arrays of items that take no bytes. All return 0, or -1 with *error of
 * class PJ_POISON.
 */
#ifndef PJ_AVRO_AVRO_READER_H
#define PJ_AVRO_AVRO_READER_H

#include "avro/avro_schema.h"
#include "base/arena.h"

#include <stdint.h>

struct pj_avro_reader {
    const uint8_t *at;
    const uint8_t *end;
    uint64_t budget; /* types that may still be entered */
    int depth;
    struct pj_error *error;
};

void pj_avro_reader_init(struct pj_avro_reader *reader, const void *data, size_t length,
                         struct pj_error *error);

int pj_avro_read_boolean(struct pj_avro_reader *reader, bool *value) PJ_MUST_CHECK;
int pj_avro_read_long(struct pj_avro_reader *reader, int64_t *value) PJ_MUST_CHECK;
/* An int (of 32 bits) or a long; a float or a double. */
int pj_avro_read_integer(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                         int64_t *value) PJ_MUST_CHECK;
int pj_avro_read_real(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                      double *value) PJ_MUST_CHECK;
/* bytes, string or fixed: points into the record. */
int pj_avro_read_text(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                      const char **data, size_t *length) PJ_MUST_CHECK;
/* The index of an enum's symbol or a union's branch, within its count. */
int pj_avro_read_index(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                       size_t *index) PJ_MUST_CHECK;
/* The count of the next block of an array or map; 0 ends it. */
int pj_avro_read_block(struct pj_avro_reader *reader, uint64_t *count) PJ_MUST_CHECK;

/* Entering a value of a type; every enter is left again. */
int pj_avro_enter(struct pj_avro_reader *reader) PJ_MUST_CHECK;
void pj_avro_leave(struct pj_avro_reader *reader);

int pj_avro_skip(struct pj_avro_reader *reader, const struct pj_avro_type *type) PJ_MUST_CHECK;

/*
 * One value as JSON text in the arena: records and maps as objects, enums and uuids as strings,
 * bytes in base64, decimals as exact numbers, dates and timestamps in RFC 3339, union branches
 * bare.
 */
int pj_avro_render(struct pj_avro_reader *reader, const struct pj_avro_type *type,
                   struct pj_arena *arena, const char **json, size_t *length) PJ_MUST_CHECK;

/* A decimal's bytes (big-endian two's complement) as a decimal number; at most 256 bytes. */
int pj_avro_decimal_text(struct pj_avro_reader *reader, const char *data, size_t length, int scale,
                         struct pj_arena *arena, const char **text) PJ_MUST_CHECK;

#endif

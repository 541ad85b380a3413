/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Confluent wire format: byte 0, the schema's id in four bytes (big-endian), the Avro body.
 */
#ifndef PJ_AVRO_WIRE_H
#define PJ_AVRO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PJ_WIRE_HEADER_SIZE = 5 };

/* Bytes, borrowed; data NULL means null, which is not the same as empty. */
struct pj_bytes {
    const void *data;
    size_t length;
};

/* A header of a Kafka record. */
struct pj_header {
    struct pj_bytes name;
    struct pj_bytes value; /* or null */
};

/* Writes the five bytes. */
void pj_wire_put_header(uint8_t header[PJ_WIRE_HEADER_SIZE], int32_t schema_id);

/* False where the value cannot be of the wire format: null, too short, or another first byte. */
bool pj_wire_schema_id(struct pj_bytes value, int32_t *schema_id);

/* Whether a text is a UUID as events hold it: 8-4-4-4-12 hexadecimal digits. */
bool pj_is_uuid(struct pj_bytes text);

#endif

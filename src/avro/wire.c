/* SPDX-License-Identifier: Apache-2.0 */
#include "avro/wire.h"

#include "projectionist/value.h"

void pj_wire_put_header(uint8_t header[PJ_WIRE_HEADER_SIZE], int32_t schema_id)
{
    uint32_t id = (uint32_t)schema_id;
    header[0] = 0;
    header[1] = (uint8_t)(id >> 24);
    header[2] = (uint8_t)(id >> 16);
    header[3] = (uint8_t)(id >> 8);
    header[4] = (uint8_t)id;
}

bool pj_wire_schema_id(struct pj_bytes value, int32_t *schema_id)
{
    const uint8_t *bytes = value.data;
    if (bytes == NULL || value.length < PJ_WIRE_HEADER_SIZE || bytes[0] != 0)
        return false;
    *schema_id = (int32_t)((uint32_t)bytes[1] << 24 | (uint32_t)bytes[2] << 16 |
                           (uint32_t)bytes[3] << 8 | (uint32_t)bytes[4]);
    return true;
}

bool pj_is_uuid(struct pj_bytes text)
{
    uint8_t ignored[16];
    return text.data != NULL && pj_uuid_parse(text.data, text.length, ignored);
}

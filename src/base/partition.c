/* SPDX-License-Identifier: Apache-2.0 */
#include "base/partition.h"

#include "base/memory.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

bool pj_topic_is_another(const char *id, const char *read, int64_t offset)
{
    return offset > 0 && id != NULL && *id != '\0' && read != NULL && *read != '\0' &&
           strcmp(id, read) != 0;
}

int pj_offset_range_compare(const void *a, const void *b)
{
    const struct pj_offset_range *x = a;
    const struct pj_offset_range *y = b;
    int compared = strcmp(x->topic, y->topic);
    if (compared == 0)
        compared = (x->partition > y->partition) - (x->partition < y->partition);
    return compared != 0 ? compared : (x->begin > y->begin) - (x->begin < y->begin);
}

void pj_partition_stop(struct pj_partition *partition, int code, const char *reason, size_t length)
{
    free(partition->stop_reason);
    partition->stop_code = code;
    partition->stop_reason = code != 0 ? pj_strndup(reason, length) : NULL;
}

/* FNV-1a: distinguishes records unless they were made to collide. */
static uint64_t mix(uint64_t digest, const void *bytes, size_t size)
{
    const uint8_t *byte = bytes;
    for (size_t i = 0; i < size; i++)
        digest = (digest ^ byte[i]) * UINT64_C(0x100000001b3);
    return digest;
}

int64_t pj_record_digest(const struct pj_record *record)
{
    uint64_t lengths[] = {htole64((uint64_t)record->timestamp_ms),
                          htole64(record->key != NULL ? record->key_length + 1 : 0),
                          htole64(record->value != NULL ? record->value_length + 1 : 0)};
    uint64_t digest = mix(UINT64_C(0xcbf29ce484222325), lengths, sizeof lengths);
    if (record->key != NULL)
        digest = mix(digest, record->key, record->key_length);
    if (record->value != NULL)
        digest = mix(digest, record->value, record->value_length);
    return (int64_t)digest;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Other UUIDs in the place of those in a text, the same one always by the same one, so that what
 * belongs together still does. */
#ifndef PJ_CONNECTORS_REKEY_H
#define PJ_CONNECTORS_REKEY_H

#include <stddef.h>
#include <stdint.h>

/*
 * Replaces each UUID that is written out (36 characters), of lower or upper case, by one that is
 * made of it and the round; a version 7 keeps its time. The length stays, so Avro and JSON around
 * it stay what they are. Returns how many there were.
 */
size_t pj_rekey(uint8_t *data, size_t length, int64_t round);

#endif

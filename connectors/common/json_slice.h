/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of one member of a JSON object, as they were written: a parser does not always keep a
 * number as it was sent. */
#ifndef PJ_CONNECTORS_JSON_SLICE_H
#define PJ_CONNECTORS_JSON_SLICE_H

#include "avro/wire.h"

#include <stdbool.h>

/* `object` must be a JSON object that a parser has accepted. The last member of that name counts,
 * as it does for parsers. False where there is none, or its name is written with escapes. */
bool pj_json_slice(struct pj_bytes object, const char *name, struct pj_bytes *slice);

#endif

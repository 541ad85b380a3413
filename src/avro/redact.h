/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes personal data out of records: fields of Avro values, keys and headers are emptied, or
 * replaced by a keyed hash, the same by the same, so that what belongs together still does. The
 * rest stays byte for byte.
 */
#ifndef PJ_AVRO_REDACT_H
#define PJ_AVRO_REDACT_H

#include "avro/recording.h"

struct pj_redaction;

/*
 * Both are lists with commas, or NULL: [TOPIC:]PATH, where PATH names fields with dots between
 * them, through unions, arrays and maps; @key is the record's key, @headers.NAME a header. A ? at
 * the end lets a schema lack the field. PJ_EXIT_USAGE where one cannot be read, or `hash` comes
 * without a hash key. NULL where nothing is to be changed.
 */
int pj_redaction_new(struct pj_redaction **redaction, const char *drop, const char *hash,
                     const char *hash_key, struct pj_error *error) PJ_MUST_CHECK;
void pj_redaction_free(struct pj_redaction *redaction); /* NULL is allowed */

/* What is done, a JSON array of texts such as "drop requester.email"; "[]" for NULL. Its own. */
const char *pj_redaction_text(const struct pj_redaction *redaction);

/*
 * Changes the record in place; what it points to then lives until the next call. `schema` is its
 * value's, NULL: it has none, which is an error where the value was to be changed. One that lacks a
 * field, or has another type there than can be changed, is an error, too, and so is a key to be
 * hashed that has a schema: it would have none then.
 */
int pj_redaction_apply(struct pj_redaction *redaction, struct pj_recorded *record, int32_t id,
                       const char *schema, bool key_has_schema,
                       struct pj_error *error) PJ_MUST_CHECK;

#endif

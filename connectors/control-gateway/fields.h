/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP fields (headers): the list received from one side and passed on to the other. */
#ifndef PJ_CONTROL_GATEWAY_FIELDS_H
#define PJ_CONTROL_GATEWAY_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

enum { PJ_FIELDS_BYTES_MOST = 256 << 10 }; /* of one message */

struct pj_field {
    char *name;
    char *value;
};

struct pj_fields {
    struct pj_field *items;
    size_t count, capacity, bytes;
};

/* Copies both. False where the message would have more than PJ_FIELDS_BYTES_MOST of them. */
bool pj_fields_add(struct pj_fields *fields, const char *name, const char *value);
/* The same from a raw line ("Name: value\r\n"): NULL, or why it is not a field. */
const char *pj_fields_add_line(struct pj_fields *fields, const char *line, size_t length);
/* Why the body's length is ambiguous; NULL where it is not. */
const char *pj_fields_ambiguity(const struct pj_fields *fields);
/* The first one's value, or NULL. Case does not matter in names. */
const char *pj_fields_get(const struct pj_fields *fields, const char *name);
/*
 * Removes what belongs to the connection instead of the message: the hop-by-hop fields, those that
 * Connection names, those that each side sets itself (Host, Content-Length, Expect), and those that
 * make some servers take a request for a different one.
 */
void pj_fields_keep_end_to_end(struct pj_fields *fields);
void pj_fields_clear(struct pj_fields *fields);

#endif

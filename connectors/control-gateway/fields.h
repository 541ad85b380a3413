/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP fields (headers): a list of those that came from one side and are passed on to the other. */
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

/* Copies both. False where the message has more than PJ_FIELDS_BYTES_MOST of them. */
bool pj_fields_add(struct pj_fields *fields, const char *name, const char *value);
/* The same from a line as it came ("Name: value\r\n"): NULL, or why it is none. */
const char *pj_fields_add_line(struct pj_fields *fields, const char *line, size_t length);
/* Why the length of the body could be understood in two ways; NULL. */
const char *pj_fields_doubt(const struct pj_fields *fields);
/* The first one's value, or NULL. Names are the same in upper and lower case. */
const char *pj_fields_get(const struct pj_fields *fields, const char *name);
/* Takes out what belongs to a connection instead of the message: the hop-by-hop fields, those that
 * Connection names, what each side makes by itself (Host, Content-Length, Expect), and those by
 * which some servers take a request for another one than it seems. */
void pj_fields_keep_end_to_end(struct pj_fields *fields);
void pj_fields_clear(struct pj_fields *fields);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A page of ListObjectsV2: its XML, by expat. Pure. */
#ifndef PJ_DRAMA_IMPORT_LISTING_H
#define PJ_DRAMA_IMPORT_LISTING_H

#include "projectionist/error.h"

#include <stddef.h>
#include <stdint.h>

struct pj_listed {
    char *key; /* decoded */
    char *etag, *modified;
    int64_t size;
};

struct pj_listing {
    struct pj_listed *items;
    size_t count;
    char *next; /* the continuation token; NULL: it is the last page */
};

/* PJ_FATAL where it is no such page, or lacks what a page has. */
int pj_listing_parse(struct pj_listing **listing, const char *xml, size_t length,
                     struct pj_error *error) PJ_MUST_CHECK;
void pj_listing_free(struct pj_listing *listing); /* NULL is allowed */

/* "Code: Message" of an error's answer, cut to the size; "" where it has none. */
void pj_listing_error(const char *xml, size_t length, char *text, size_t size);

#endif

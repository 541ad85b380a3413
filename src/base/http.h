/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parses HTTP/1.1 requests, strictly by RFC 9112: what two readers could understand differently is
 * refused, never repaired. Ours, because no library in Debian 12 is strict: libmicrohttpd 0.9.75,
 * libevent and http-parser accept bare line feeds, folded fields or blanks before the colon, each
 * of which has been used to smuggle requests. Pure: bytes in, a head or a fault out.
 */
#ifndef PJ_BASE_HTTP_H
#define PJ_BASE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Why something is refused: the status, and a sentence without quotes. */
struct pj_http_fault {
    int status;
    const char *reason;
};

struct pj_http_field {
    const char *name;
    const char *value; /* without surrounding blanks */
};

struct pj_http_head {
    const char *method;
    const char *target; /* path and query, as received; "*" */
    struct pj_http_field *fields;
    size_t field_count;
    bool is_1_0;
    bool keeps_alive;
    bool expects_continue;
    bool has_body;       /* a length is given, even if it is 0 */
    int64_t body_length; /* -1: in chunks */
    char *text;          /* what all of it points into */
};

/* --- heads ----------------------------------------------------------------------------------- */

struct pj_http_scan {
    size_t at, line;
    int lines, empty_lines;
    bool after_cr;
};

/* Scans a head that arrives in parts (`data` is all of it so far). Returns its length including the
 * empty line at its end; 0: incomplete; -1: it cannot become a valid head. Starts with {0}. */
int64_t pj_http_scan(struct pj_http_scan *scan, const char *data, size_t length,
                     struct pj_http_fault *fault);

/* Parses a whole head, to be freed; on failure (-1) there is nothing to free. */
int pj_http_head_parse(struct pj_http_head *head, const char *data, size_t length,
                       struct pj_http_fault *fault);
void pj_http_head_free(struct pj_http_head *head);

/* The first field of that name, or NULL. */
const char *pj_http_field(const struct pj_http_head *head, const char *name);
size_t pj_http_count(const struct pj_http_head *head, const char *name);

/* --- bodies in chunks ------------------------------------------------------------------------ */

struct pj_http_chunks {
    int state;
    int digits;
    uint64_t left;
    size_t overhead; /* bytes of extensions and trailers, which we ignore */
    bool is_whole;
};

/*
 * Consumes bytes up to the end of the next piece of the body, and says where that piece is (*piece
 * may be 0 long): how many were consumed; -1: not valid chunks. Starts with {0}; consumes nothing
 * once the body is complete.
 */
int64_t pj_http_chunks_take(struct pj_http_chunks *chunks, const char *data, size_t length,
                            const char **piece, size_t *piece_length, struct pj_http_fault *fault);

/* --- small things, for both directions -------------------------------------------------------- */

bool pj_http_is_token(const char *text);
bool pj_http_is_value(const char *text); /* no control characters but tabs */
/* Whether a list such as Connection's contains a token, in any case. */
bool pj_http_list_has(const char *list, const char *token);
/* Fields that belong to the connection, not to the message, and those that each side sets itself;
 * also with underscores, which some servers take for dashes. */
bool pj_http_is_of_connection(const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request of HTTP/1.1 is, strictly by RFC 9112: what two readers could take for two things
 * is refused, never mended. Ours, because no library that Debian 12 has is strict: libmicrohttpd
 * 0.9.75, libevent and http-parser take bare line feeds, folded fields or blanks before the colon,
 * each of which has smuggled a request past somebody. Pure: bytes in, a head or a fault out.
 */
#ifndef PJ_BASE_HTTP_H
#define PJ_BASE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Why something is refused: what is answered, and a sentence without quotes. */
struct pj_http_fault {
    int status;
    const char *reason;
};

struct pj_http_field {
    const char *name;
    const char *value; /* without blanks around it */
};

struct pj_http_head {
    const char *method;
    const char *target; /* path and query, as they came; "*" */
    struct pj_http_field *fields;
    size_t field_count;
    bool is_1_0;
    bool keeps_alive;
    bool expects_continue;
    bool has_body;       /* a length is given, also one of 0 */
    int64_t body_length; /* -1: in chunks */
    char *text;          /* what all of it points into */
};

/* --- heads ----------------------------------------------------------------------------------- */

struct pj_http_scan {
    size_t at, line;
    int lines, empty_lines;
    bool after_cr;
};

/* Looks on through a head that arrives in parts (`data` is all there is of it): its length with the
 * empty line at its end; 0: not whole yet; -1: no head will become of it. Begins with {0}. */
int64_t pj_http_scan(struct pj_http_scan *scan, const char *data, size_t length,
                     struct pj_http_fault *fault);

/* A whole head, to be freed; where it fails (-1) there is nothing to free. */
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
    size_t overhead; /* bytes of extensions and trailers, which say nothing to us */
    bool is_whole;
};

/* Takes bytes up to the end of the next piece of the body, and tells where that piece is (*piece
 * may be 0 long): how many were taken; -1: those are no chunks. Begins with {0}; takes nothing once
 * the body is whole. */
int64_t pj_http_chunks_take(struct pj_http_chunks *chunks, const char *data, size_t length,
                            const char **piece, size_t *piece_length, struct pj_http_fault *fault);

/* --- small things, for both directions -------------------------------------------------------- */

bool pj_http_is_token(const char *text);
bool pj_http_is_value(const char *text); /* no control characters but tabs */
/* Whether a list such as Connection's names a token, in any case. */
bool pj_http_list_has(const char *list, const char *token);
/* Fields of one connection, not of the message, and those that each side makes by itself; also with
 * underscores, which some servers take for dashes. */
bool pj_http_is_of_connection(const char *name);

#endif

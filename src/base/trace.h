/* SPDX-License-Identifier: Apache-2.0 */
/*
 * W3C trace context: the `traceparent` that says which trace something belongs to. The edges take
 * it from those who ask, or make one; from there it travels in the headers of records.
 */
#ifndef PJ_BASE_TRACE_H
#define PJ_BASE_TRACE_H

#include <stdbool.h>
#include <stddef.h>

#define PJ_TRACE_HEADER "traceparent"

enum { PJ_TRACE_ID_SIZE = 33, PJ_SPAN_ID_SIZE = 17, PJ_TRACE_TEXT_SIZE = 56 };

/* In lower-case hexadecimal digits; never all zeros. */
struct pj_trace {
    char trace_id[PJ_TRACE_ID_SIZE]; /* "": there is none */
    char span_id[PJ_SPAN_ID_SIZE];
    bool sampled;
};

/* False, and none, for what the specification says is to be ignored. Of a later version what this
 * one knows is taken. */
bool pj_trace_parse(struct pj_trace *trace, const char *text, size_t length);

/* A trace of its own. */
void pj_trace_new(struct pj_trace *trace);
/* A span of the same trace, or of a new one where there is none. */
void pj_trace_child(struct pj_trace *child, const struct pj_trace *parent);

/* The trace of something that has an id at random already: always the same. */
void pj_trace_of_id(struct pj_trace *trace, const unsigned char id[16]);

/* What this thread works on, borrowed until it is another; NULL: nothing that is traced. The log
 * names it. */
void pj_trace_enter(const struct pj_trace *trace);
const struct pj_trace *pj_trace_current(void);

/* As a header has it, version 00. */
void pj_trace_text(const struct pj_trace *trace, char text[PJ_TRACE_TEXT_SIZE]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/trace.h"

#include "base/clock.h"
#include "base/text.h"

#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { FLAGS_AT = 53, LENGTH = 55 };

/* Lower-case digits that are not all zeros. */
static bool is_id(const char *text, size_t length)
{
    return strspn(text, "0123456789abcdef") >= length && strspn(text, "0") < length;
}

bool pj_trace_parse(struct pj_trace *trace, const char *text, size_t length)
{
    char copy[LENGTH + 1];
    *trace = (struct pj_trace){0};
    if (text == NULL || length < LENGTH || memchr(text, '\0', LENGTH) != NULL)
        return false;
    memcpy(copy, text, LENGTH);
    copy[LENGTH] = '\0';
    static const char hex[] = "0123456789abcdef";
    bool is_version = strspn(copy, hex) == 2 && strncmp(copy, "ff", 2) != 0;
    bool ends = length == LENGTH || (strncmp(copy, "00", 2) != 0 && text[LENGTH] == '-');
    if (!is_version || !ends || copy[2] != '-' || copy[35] != '-' || copy[52] != '-' ||
        !is_id(copy + 3, 32) || !is_id(copy + 36, 16) || strspn(copy + FLAGS_AT, hex) != 2)
        return false;
    memcpy(trace->trace_id, copy + 3, 32);
    memcpy(trace->span_id, copy + 36, 16);
    trace->sampled = (pj_hex_digit(copy[FLAGS_AT + 1]) & 1) != 0;
    return true;
}

static void write_id(char *text, const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pj_text_whole(text + 2 * i, 3, "%02x", bytes[i]);
}

static void make_id(char *text, size_t digits)
{
    unsigned char bytes[16];
    if (getrandom(bytes, digits / 2, 0) != (ssize_t)(digits / 2)) { /* nothing depends on it */
        int64_t now = pj_clock_monotonic_us() * 1000003 + getpid();
        for (size_t i = 0; i < digits / 2; i++)
            bytes[i] = (unsigned char)(now >> (i % 8 * 8));
    }
    bytes[0] |= 1;
    write_id(text, bytes, digits / 2);
}

void pj_trace_of_id(struct pj_trace *trace, const unsigned char id[16])
{
    static const unsigned char none[16];
    if (memcmp(id, none, 16) == 0 || memcmp(id + 8, none, 8) == 0) {
        pj_trace_new(trace);
        return;
    }
    write_id(trace->trace_id, id, 16);
    write_id(trace->span_id, id + 8, 8);
    trace->sampled = true;
}

static _Thread_local const struct pj_trace *current;

void pj_trace_enter(const struct pj_trace *trace)
{
    current = trace != NULL && *trace->trace_id != '\0' ? trace : NULL;
}

const struct pj_trace *pj_trace_current(void)
{
    return current;
}

void pj_trace_new(struct pj_trace *trace)
{
    make_id(trace->trace_id, PJ_TRACE_ID_SIZE - 1);
    make_id(trace->span_id, PJ_SPAN_ID_SIZE - 1);
    trace->sampled = true;
}

void pj_trace_child(struct pj_trace *child, const struct pj_trace *parent)
{
    if (*parent->trace_id == '\0') {
        pj_trace_new(child);
        return;
    }
    *child = *parent;
    make_id(child->span_id, PJ_SPAN_ID_SIZE - 1);
}

void pj_trace_text(const struct pj_trace *trace, char text[PJ_TRACE_TEXT_SIZE])
{
    pj_text_whole(text, PJ_TRACE_TEXT_SIZE, "00-%s-%s-%s", trace->trace_id, trace->span_id,
                  trace->sampled ? "01" : "00");
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/trace.h"

#include <criterion/criterion.h>
#include <string.h>

#define ID   "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

Test(trace, a_traceparent_is_read_and_written)
{
    struct pj_trace trace;
    char text[PJ_TRACE_TEXT_SIZE];
    static const char given[] = "00-" ID "-" SPAN "-01";
    cr_assert(pj_trace_parse(&trace, given, strlen(given)));
    cr_assert_str_eq(trace.trace_id, ID);
    cr_assert_str_eq(trace.span_id, SPAN);
    cr_assert(trace.sampled);
    pj_trace_text(&trace, text);
    cr_assert_str_eq(text, given);
    cr_assert(pj_trace_parse(&trace, "00-" ID "-" SPAN "-02", 55));
    cr_assert_not(trace.sampled);
}

Test(trace, a_later_version_may_have_more)
{
    struct pj_trace trace;
    static const char later[] = "cc-" ID "-" SPAN "-01-what-the-future-will-be-like";
    cr_assert(pj_trace_parse(&trace, later, strlen(later)));
    cr_assert_str_eq(trace.trace_id, ID);
    cr_assert(pj_trace_parse(&trace, "cc-" ID "-" SPAN "-01", 55));
}

Test(trace, anything_else_is_ignored)
{
    static const char *const bad[] = {
        "",
        "00",
        "00-" ID "-" SPAN,
        "00-" ID "-" SPAN "-",
        "00-" ID "-" SPAN "-1",
        "00-" ID "-" SPAN "-0g",
        "00-" ID "-" SPAN "-01-more", /* version 00 has no more */
        "00-" ID "-" SPAN "-01 ",
        "cc-" ID "-" SPAN "-01.more",
        "ff-" ID "-" SPAN "-01",
        "0-" ID "-" SPAN "-0101",
        "00_" ID "-" SPAN "-01",
        "00-" ID "_" SPAN "-01",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" ID "-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-" SPAN "-011",
        "00-4bf92f3577b34da6a3ce929d0e0e473x-" SPAN "-01",
    };
    struct pj_trace trace;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_not(pj_trace_parse(&trace, bad[i], strlen(bad[i])), "%s", bad[i]);
        cr_assert_str_empty(trace.trace_id);
    }
    static const char with_nul[] = "00-" ID "-00f067aa0ba\0002b7-01";
    cr_assert_not(pj_trace_parse(&trace, with_nul, sizeof with_nul - 1));
    cr_assert_not(pj_trace_parse(&trace, NULL, 0));
}

Test(trace, new_ones_are_valid_and_differ)
{
    struct pj_trace first, second, child, again;
    char text[PJ_TRACE_TEXT_SIZE];
    pj_trace_new(&first);
    pj_trace_new(&second);
    cr_assert_str_neq(first.trace_id, second.trace_id);
    pj_trace_text(&first, text);
    cr_assert(pj_trace_parse(&again, text, strlen(text)));
    pj_trace_child(&child, &first);
    cr_assert_str_eq(child.trace_id, first.trace_id);
    cr_assert_str_neq(child.span_id, first.span_id);
    pj_trace_child(&child, &(struct pj_trace){0});
    cr_assert_neq(child.trace_id[0], '\0');
}

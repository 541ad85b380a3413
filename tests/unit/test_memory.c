/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Sizes that no machine has, which the compiler cannot see. */
static volatile size_t half = SIZE_MAX / 2;

Test(memory, is_zeroed_and_may_be_empty)
{
    unsigned char *bytes = pj_alloc(100);
    for (size_t i = 0; i < 100; i++)
        cr_assert(bytes[i] == 0);
    bytes = pj_resize(bytes, 0, 100);
    free(bytes);
    free(pj_alloc(0));
    free(pj_calloc(0, 8));
    free(pj_copy(NULL, 0));
}

Test(memory, copies)
{
    char *text = pj_strdup("ab\xc3\xbc");
    cr_assert_str_eq(text, "ab\xc3\xbc");
    char *part = pj_strndup(text, 2);
    cr_assert_str_eq(part, "ab");
    char *all = pj_strndup(part, 100);
    cr_assert_str_eq(all, "ab");
    void *bytes = pj_copy("a\0b", 3);
    cr_assert(memcmp(bytes, "a\0b", 3) == 0);
    cr_assert_null(pj_strdup(NULL));
    cr_assert_eq(pj_must(text), text);
    free(text);
    free(part);
    free(all);
    free(bytes);
}

Test(memory, a_product_that_overflows_ends, .signal = SIGABRT)
{
    pj_resize(NULL, half, 4);
}

Test(memory, what_there_is_not_ends, .signal = SIGABRT)
{
    pj_calloc(half, 4);
}

Test(memory, what_a_library_could_not_get_ends, .signal = SIGABRT)
{
    pj_must(NULL);
}

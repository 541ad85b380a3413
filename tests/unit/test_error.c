/* SPDX-License-Identifier: Apache-2.0 */
#include "projectionist/error.h"

#include <criterion/criterion.h>
#include <string.h>

Test(error, fills_class_message_and_returns_minus_one)
{
    struct pj_error error = {.exit_code = PJ_EXIT_GAP, .sqlstate = "40001"};
    cr_assert_eq(pj_error_set(&error, PJ_RETRY, "broker %d is away", 3), -1);
    cr_assert_eq(error.class, PJ_RETRY);
    cr_assert_str_eq(error.message, "broker 3 is away");
    cr_assert_str_empty(error.sqlstate, "what an earlier error left must not stay");
    cr_assert_eq(pj_error_exit_code(&error), PJ_EXIT_FAILED);
}

Test(error, fatal_has_its_exit_code)
{
    struct pj_error error;
    cr_assert_eq(pj_error_fatal(&error, PJ_EXIT_FENCED, "fenced"), -1);
    cr_assert_eq(error.class, PJ_FATAL);
    cr_assert_eq(pj_error_exit_code(&error), PJ_EXIT_FENCED);
}

Test(error, a_class_that_nobody_set_is_fatal)
{
    struct pj_error error = {0};
    cr_assert_eq(error.class, PJ_FATAL);
    cr_assert_str_eq(pj_error_class_name(error.class), "fatal");
    cr_assert_eq(pj_error_exit_code(&error), PJ_EXIT_FAILED, "an error never ends with 0");
}

Test(error, names_of_the_classes)
{
    cr_assert_str_eq(pj_error_class_name(PJ_RETRY), "retry");
    cr_assert_str_eq(pj_error_class_name(PJ_POISON), "poison");
    cr_assert_str_eq(pj_error_class_name(PJ_FENCED), "fenced");
}

Test(error, a_message_is_one_line_without_control_characters)
{
    struct pj_error error;
    (void)pj_error_set(&error, PJ_FATAL, "ERROR:  no\n\tLINE 1: \033[31mx\x7f\n\r\n");
    cr_assert_str_eq(error.message, "ERROR:  no  LINE 1:  [31mx");
}

Test(error, a_message_may_quote_the_error_it_replaces)
{
    struct pj_error error;
    (void)pj_error_set(&error, PJ_RETRY, "timeout");
    (void)pj_error_fatal(&error, PJ_EXIT_UNAVAILABLE, "gave up: %s", error.message);
    cr_assert_str_eq(error.message, "gave up: timeout");
}

Test(error, a_long_message_is_marked_and_stays_utf8)
{
    struct pj_error error;
    char text[2001];
    /* Two bytes a character, at both parities, so that one of the cuts would halve it. */
    for (int start = 0; start < 2; start++) {
        memset(text, 'a', sizeof text);
        for (size_t i = (size_t)start; i + 1 < sizeof text - 1; i += 2)
            memcpy(text + i, "\xc3\xa9", 2);
        text[sizeof text - 1] = '\0';
        (void)pj_error_set(&error, PJ_FATAL, "%s", text);
        size_t length = strlen(error.message);
        cr_assert_geq(length, sizeof error.message - 3);
        cr_assert_str_eq(error.message + length - 3, "...");
        cr_assert_eq((length - 3 - (size_t)start) % 2, 0, "cut inside a character");
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The name of the program that a sentence says to run. */
#include "base/program.h"
#include "projectionist/error.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(program, is_projectionist_until_it_is_set)
{
    cr_assert_str_eq(pj_program(), "projectionist");
    cr_assert_null(pj_program_named("run 'projectionist migrate'"));
}

Test(program, is_named_where_a_command_is)
{
    struct pj_error error;
    pj_program_set();
    cr_assert_str_eq(pj_program(), "test_program");
    cr_assert_null(pj_program_named("the schema 'projectionist', or projectionist.offsets"));
    char *named = pj_program_named("'projectionist topics create', then `projectionist rebuild`");
    cr_assert_str_eq(named, "'test_program topics create', then `test_program rebuild`");
    free(named);
    pj_error_fatal(&error, PJ_EXIT_DATABASE, "run `projectionist migrate %s`", "shop");
    cr_assert_str_eq(error.message, "run `test_program migrate shop`");
}

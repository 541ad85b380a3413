/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include "projectionist/error.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char *hidden(const char *text)
{
    static char shown[512];
    snprintf(shown, sizeof shown, "%s", text);
    pj_secret_hide(shown);
    return shown;
}

Test(secret, is_hidden_wherever_it_is_in_a_message)
{
    struct pj_error error;
    pj_secret_keep("a-canary");
    pj_secret_keep("a-canary-and-more");
    pj_secret_keep("word");
    pj_secret_keep(NULL);
    pj_secret_keep("abc"); /* too short: it would be in every second word */
    cr_assert_str_eq(hidden("a-canarya-canary, a-canary-and-more and abc"), "******, *** and abc");
    cr_assert_str_eq(hidden("a password is 'word', word"), "a password is '***', ***");
    cr_assert(pj_secret_is_in("xa-canaryx"));
    cr_assert_not(pj_secret_is_in("a-canar"));
    cr_assert_eq(pj_error_set(&error, PJ_FATAL, "%*s says 'a-canary-and-more'", 750, "he"), -1);
    cr_assert_not_null(strstr(error.message, "says '***'"), "%s", error.message);
    cr_assert_eq(pj_error_set(&error, PJ_FATAL, "%*s a-canary-and-more and more words", 750, "he"),
                 -1);
    cr_assert_null(strstr(error.message, "a-c"), "it is not cut in its middle: %s", error.message);
}

Test(secret, is_found_in_urls_and_in_key_value_pairs)
{
    static const char *const texts[] = {
        "postgresql://me:canary-1@db/x",
        "postgresql://me:canary-1@one:1,two:2/x?sslmode=require",
        "postgresql://me:canary%2D1@db/x",
        "postgresql://me:cana%72y-1@db/x",
        "postgresql://db/x?user=me&password=canary-1&sslmode=require",
        "postgresql://db/x?sslpassword=canary%2d1",
        "host=db password=canary-1 user=me",
        "host=db password = 'canary-1' user=me",
        "host=db PASSWORD='canary\\-1'",
        "ws://host/v1?access_token=canary-1",
        "ws://host/v1?x=1&token=canary-1#there",
        "https://me:canary-1@host",
        "http://proxy/?api_key=canary-1",
        "principal=me extension_token=canary-1",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        pj_secret_keep_url(texts[i]);
        cr_assert_str_eq(hidden("it is canary-1!"), "it is ***!", "%s", texts[i]);
    }
}

Test(secret, with_signs_that_nobody_encoded_is_hidden_too)
{
    pj_secret_keep_url("postgresql://me:p@ss/canary@db/x");
    cr_assert_str_eq(hidden("p@ss/canary"), "***");
    pj_secret_keep_url("postgresql://projectionist:projectionist@db/x");
    cr_assert_str_eq(hidden("projectionist migrate"), "projectionist migrate",
                     "a password that is the user's name is none");
    pj_secret_keep_url("postgresql://projectionist@db:5432/x?application_name=here");
    cr_assert_str_eq(hidden("projectionist@db:5432 here"), "projectionist@db:5432 here");
}

Test(secret, what_is_shown_of_a_url_has_none)
{
    static const char *const shown[][2] = {
        {"ws://host:1/v1/stream", "ws://host:1/v1/stream"},
        {"ws://host/?token=canary", "ws://host/"},
        {"ws://host#canary", "ws://host"},
        {"ws://me:canary@host/x?y#z", "ws://host/x"},
        {"http://me:can#ary@host", "http://host"},
        {"http://me:can?ary@host/x", "http://host/x"},
        {"nonsense?canary", "nonsense"},
        {"me:canary@nonsense", "nonsense"},
    };
    char text[64];
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        pj_url_shown(shown[i][0], text, sizeof text);
        cr_assert_str_eq(text, shown[i][1]);
    }
}

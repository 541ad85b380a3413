/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of users and token_ledger, by their rows in every order. A number in a name is that of
 * the edge case. */
#include "lib/json_orders.h"
#include "projections/drama/drama_projections.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct json_orders j;

static void start(void)
{
    j = json_orders_start(&pj_drama_users);
}

static void stop(void)
{
    json_orders_stop(&j);
}

TestSuite(drama_users, .init = start, .fini = stop);

/* An event of the user "u". */
static void say(long revision, const char *body)
{
    json_say(&j, 0, "{'user_id':'u','revision':%ld,'body':{%s}}", revision, body);
}

Test(drama_users, registered)
{
    say(1, "'type':'UserRegistered','email':'a@b'");
    json_expect(&j, "users|id=u|email=a@b|display_name=null|tokens=30|subscription_tier=free|"
                    "created_at=1000000|entries=1|revision=1\n");
    json_expect(&j, "|user_id=u|delta=30|reason=initial|drama_id=null|job_id=null|"
                    "emitted_at=1000000|event_id=00000000-0000-4000-8000-000000000001\n");
}

Test(drama_users, mistake_17_two_charges_at_once)
{
    say(1, "'type':'UserRegistered'");
    say(2, "'type':'TokensChanged','delta':-10,'reason':'charge','drama_id':'d','job_id':'j'");
    say(2, "'type':'TokensChanged','delta':-10,'reason':'charge'");
    json_expect(&j, "|tokens=10|");
    json_expect(&j, "|entries=3|");
    json_expect(&j, "|delta=-10|reason=charge|drama_id=d|job_id=j|");
}

Test(drama_users, case_24_an_entry_counts_once)
{
    say(1, "'type':'UserRegistered','tokens':0");
    for (int i = 0; i < 3; i++)
        json_say(&j, 0,
                 "{'event_id':'00000000-0000-4000-8000-0000000000e1','user_id':'u','revision':2,"
                 "'body':{'type':'TokensChanged','delta':5,'reason':'grant'}}");
    say(4, "'type':'TokensChanged','delta':-7,'reason':'late',"
           "'entry_id':'00000000-0000-4000-8000-0000000000e2'");
    say(3, "'type':'TokensChanged','delta':-1,'reason':'charge',"
           "'entry_id':'00000000-0000-4000-8000-0000000000e2'");
    json_expect(&j, "|tokens=4|");
    json_unexpected(&j, "reason=late");
}

Test(drama_users, an_entry_counts_once_over_all_users)
{
    const char *body = "'type':'TokensChanged','delta':5,'reason':'grant',"
                       "'entry_id':'00000000-0000-4000-8000-0000000000e1'";
    say(1, "'type':'UserRegistered','tokens':1");
    json_say(&j, 0, "{'user_id':'w','revision':1,'body':{'type':'UserRegistered','tokens':2}}");
    say(3, body);
    json_say(&j, 0, "{'user_id':'w','revision':2,'body':{%s}}", body);
    json_expect(&j, "users|id=u|email=null|display_name=null|tokens=1|");
    json_expect(&j, "users|id=w|email=null|display_name=null|tokens=7|");
}

Test(drama_users, case_25_a_charge_before_the_user)
{
    say(1, "'type':'TokensChanged','delta':-10,'reason':'charge'");
    json_unexpected(&j, "users|");
    json_expect(&j, "|user_id=u|delta=-10|");
    say(2, "'type':'UserRegistered'");
    json_expect(&j, "|tokens=20|");
}

Test(drama_users, case_26_the_first_registration_counts)
{
    say(1, "'type':'UserRegistered','tokens':30,'email':'first'");
    say(2, "'type':'UserRegistered','tokens':50,'email':'second'");
    json_expect(&j, "|email=first|display_name=null|tokens=30|");
    json_expect(&j, "|created_at=1000000|entries=1|revision=2\n");
}

Test(drama_users, columns_are_those_that_were_named_last)
{
    say(5, "'type':'UserRegistered','email':'a','display_name':'n','subscription_tier':'pro'");
    say(1, "'type':'UserChanged','fields':['email','shoe_size'],'email':'b','display_name':'x'");
    json_expect(&j, "|email=b|display_name=n|tokens=30|subscription_tier=pro|");
    say(6, "'type':'UserChanged','fields':['subscription_tier','email']");
    json_expect(&j, "|email=null|display_name=n|tokens=30|subscription_tier=free|");
    json_expect(&j, "|revision=6\n");
    say(9, "'type':'TokensChanged','delta':1,'reason':'grant'"); /* revises no column */
    json_expect(&j, "|tokens=31|");
    json_expect(&j, "|revision=6\n");
    say(7, "'type':'UserChanged','fields':['display_name'],'display_name':'m'");
    json_expect(&j, "|email=null|display_name=m|tokens=31|subscription_tier=free|");
    json_expect(&j, "|revision=7\n");
}

Test(drama_users, a_deletion_is_final_and_the_ledger_stays)
{
    say(1, "'type':'UserRegistered'");
    say(2, "'type':'UserDeleted'");
    say(3, "'type':'UserRegistered','email':'again'");
    say(4, "'type':'TokensChanged','delta':1,'reason':'grant'");
    json_unexpected(&j, "users|");
    json_expect(&j, "|delta=30|reason=initial|");
    json_expect(&j, "|delta=1|reason=grant|");
}

Test(drama_users, a_balance_may_be_negative)
{
    say(1, "'type':'UserRegistered'");
    say(2, "'type':'TokensChanged','delta':-100,'reason':'charge'");
    json_expect(&j, "|tokens=-70|");
}

Test(drama_users, a_balance_beyond_64_bits_is_null)
{
    say(1, "'type':'UserRegistered','tokens':9223372036854775807");
    say(2, "'type':'TokensChanged','delta':1,'reason':'grant'");
    json_expect(&j, "|tokens=null|");
    say(3, "'type':'TokensChanged','delta':9223372036854775807,'reason':'grant',"
           "'entry_id':'00000000-0000-4000-8000-0000000000e1'");
    json_expect(&j, "|tokens=null|");
}

Test(drama_users, what_is_refused)
{
    json_refused(&j, 0, "user_id is empty",
                 "{'user_id':'','revision':1,'body':{'type':'UserDeleted'}}");
    json_refused(&j, 0, "job_id is empty",
                 "{'user_id':'u','revision':1,'body':{'type':'TokensChanged','delta':1,"
                 "'reason':'r','job_id':''}}");
    json_refused(&j, 0, "200",
                 "{'user_id':'u','revision':1,'body':{'type':'UserRegistered','email':'%0201d'}}",
                 0);
}

Test(drama_users, order_makes_no_difference)
{
    j.partitions = 5;
    unsigned seed = 7;
    for (int i = 0; i < 120; i++) {
        const char *const bodies[] = {
            "'type':'UserRegistered','tokens':3,'email':'a'",
            "'type':'UserRegistered','display_name':'n'",
            "'type':'UserChanged','fields':['email','display_name'],'email':'b'",
            "'type':'UserChanged','fields':['subscription_tier'],'subscription_tier':'pro'",
            "'type':'TokensChanged','delta':-2,'reason':'charge'",
            "'type':'TokensChanged','delta':7,'reason':'grant',"
            "'entry_id':'00000000-0000-4000-8000-0000000000e1'",
            "'type':'TokensChanged','delta':9,'reason':'grant',"
            "'entry_id':'10000000-0000-4000-8000-0000000000e2'",
            "'type':'UserDeleted'",
        };
        bool rare = rand_r(&seed) % 6 == 0;
        json_say(&j, 0, "{'user_id':'%c','revision':%d,'body':{%s}}", 'u' + rand_r(&seed) % 3,
                 rand_r(&seed) % 5, bodies[(size_t)rand_r(&seed) % (rare ? 8 : 7)]);
    }
    json_say(&j, 0, "{'user_id':'x','revision':1,'body':{'type':'UserRegistered'}}");
    cr_assert(pj_orders_reaches(&j.orders));
    json_agree(&j, 200, 42);
}

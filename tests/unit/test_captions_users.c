/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of user_profiles, by their rows in every order. */
#include "lib/captions_orders.h"

#include <criterion/criterion.h>

static struct captions_orders s;

static void start(void)
{
    s = captions_orders_start(&pj_captions_users);
}

static void stop(void)
{
    pj_orders_free(&s.orders);
}

TestSuite(captions_users, .init = start, .fini = stop);

static struct captions_user *event(const char *body, int64_t ms)
{
    struct captions_user *e = CAPTIONS_EVENT(&s, captions_user, "users", body, ms);
    e->user_id = PJ_UUID(pj_orders_uuid(5));
    if (e->registered.present)
        e->tenant_id = PJ_UUID(pj_orders_uuid(1));
    if (e->assigned.present)
        e->new_tenant_id = PJ_UUID(pj_orders_uuid(2));
    return e;
}

#define TENANT(last) "|tenant_id=00000000-0000-4000-8000-00000000000" last

Test(captions_users, registered_changed_and_assigned)
{
    event("UserProfileChanged", 2000)->new_full_name = PJ_TEXT("Grace");
    event("UserAssigned", 3000)->new_role = PJ_TEXT("admin");
    captions_refuse(&s, "user_profiles|");
    struct captions_user *e = event("UserRegistered", 1000);
    e->full_name = PJ_TEXT("Ada");
    e->avatar_url = PJ_TEXT("u");
    captions_expect(&s, TENANT("2") "|full_name=Grace|avatar_url=u|role=admin|created_at=1000000");
    event("UserAssigned", 4000)->new_role = PJ_TEXT("annotator");
    captions_expect(&s, "role=annotator|");
}

Test(captions_users, never_assigned)
{
    event("UserRegistered", 1000);
    event("UserRegistered", 2000)->role = PJ_TEXT("admin");
    captions_expect(&s, TENANT("1") "|full_name=null|avatar_url=null|role=user|created_at=1000000");
}

/* Edge 31. */
Test(captions_users, removed_is_removed)
{
    event("UserRegistered", 1000);
    event("UserRemoved", 2000);
    event("UserProfileChanged", 3000)->new_full_name = PJ_TEXT("Grace");
    captions_refuse(&s, "user_profiles|");
    cr_assert(pj_orders_agree(&s.orders, 100, 1));
}

Test(captions_users, dead_letters)
{
    event("UserAssigned", 0)->new_tenant_id = PJ_UUID((const uint8_t[16]){0});
    captions_is_dead_letter(&s, "tenant_id is the nil UUID");
}

Test(captions_users, every_order)
{
    captions_agree(&s, 60, 300, 3);
}

Test(captions_users, orders_of_more_events)
{
    captions_agree_for(&pj_captions_users, 100, 10);
}

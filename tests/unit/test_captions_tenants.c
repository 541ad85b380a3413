/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of tenants, by their rows in every order. */
#include "lib/captions_orders.h"

#include <criterion/criterion.h>

static struct captions_orders s;

static void start(void)
{
    s = captions_orders_start(&pj_captions_tenants);
}

static void stop(void)
{
    pj_orders_free(&s.orders);
}

TestSuite(captions_tenants, .init = start, .fini = stop);

#define ID(last) "id=00000000-0000-4000-8000-00000000000" last

static struct captions_tenant *event(const char *body, unsigned tenant, int64_t ms)
{
    struct captions_tenant *e = CAPTIONS_EVENT(&s, captions_tenant, "tenants", body, ms);
    e->tenant_id = PJ_UUID(pj_orders_uuid(tenant));
    return e;
}

static struct captions_tenant *created(unsigned tenant, int64_t ms, const char *slug)
{
    struct captions_tenant *e = event("TenantCreated", tenant, ms);
    e->name = PJ_TEXT("n");
    e->slug = PJ_TEXT(slug);
    e->quota = PJ_INT(100);
    return e;
}

Test(captions_tenants, made_changed_and_removed)
{
    struct captions_tenant *e = event("TenantChanged", 1, 3000);
    e->new_name = PJ_TEXT("late");
    captions_refuse(&s, "tenants|");
    created(1, 1000, "acme");
    captions_expect(&s, "tenants|" ID("1") "|name=late|slug=acme|storage_quota_gb=100|"
                                           "created_at=1000000|");
    e = event("TenantChanged", 1, 2000);
    e->new_name = PJ_TEXT("earlier");
    e->new_quota = PJ_INT(7);
    captions_expect(&s, "name=late|slug=acme|storage_quota_gb=7|");
    created(1, 500, "first");
    captions_expect(&s, "name=late|slug=first|storage_quota_gb=7|created_at=500000|");
    event("TenantRemoved", 1, 400);
    captions_refuse(&s, "tenants|");
    cr_assert(pj_orders_agree(&s.orders, 100, 1));
}

/* Edge 30. */
Test(captions_tenants, two_want_one_slug)
{
    created(1, 2000, "acme");
    created(2, 3000, "acme");
    captions_expect(&s, ID("1") "|name=n|slug=acme|");
    captions_expect(&s, ID("2") "|name=n|slug=acme-00000000|");
    created(3, 1000, "acme");
    captions_expect(&s, ID("3") "|name=n|slug=acme|");
    /* Their ids begin alike. */
    captions_expect(&s, ID("1") "|name=n|slug=acme-00000000|");
    captions_expect(&s, ID("2") "|name=n|slug=acme-00000000-0000-4000-8000-000000000002|");
    created(4, 4000, "acme-00000000");
    captions_expect(&s, ID("4") "|name=n|slug=acme-00000000|");
    captions_expect(&s, ID("1") "|name=n|slug=acme-00000000-0000-4000-8000-000000000001|");
    event("TenantRemoved", 3, 5000);
    captions_expect(&s, ID("1") "|name=n|slug=acme|");
}

/* Of one age, that of the smaller id. */
Test(captions_tenants, of_one_age)
{
    created(2, 1000, "acme");
    created(1, 1000, "acme");
    captions_expect(&s, ID("1") "|name=n|slug=acme|");
}

/* A placeholder of the second one would have the same slug, and no event tells of it here. */
Test(captions_tenants, a_slug_that_ends_in_an_id_is_that_tenants)
{
    static const char slug[] = "unknown-00000000-0000-4000-8000-000000000002";
    created(1, 1000, slug);
    captions_expect(&s,
                    ID("1") "|name=n|slug=unknown-00000000-0000-4000-8000-000000000002-00000000|");
    created(2, 2000, slug);
    created(3, 3000, slug);
    captions_expect(&s,
                    ID("1") "|name=n|slug=unknown-00000000-0000-4000-8000-000000000002-00000000|");
    captions_expect(&s, ID("2") "|name=n|slug=unknown-00000000-0000-4000-8000-000000000002|");
    captions_expect(&s, ID("3") "|name=n|slug=unknown-00000000-0000-4000-8000-000000000002-00000000"
                                "-0000-4000-8000-000000000003|");
    created(4, 1, "00000000-0000-4000-8000-000000000002"); /* no other's: nothing comes before it */
    captions_expect(&s, ID("4") "|name=n|slug=00000000-0000-4000-8000-000000000002|");
}

Test(captions_tenants, a_slug_changes_hands)
{
    created(1, 1000, "a");
    created(2, 2000, "b");
    event("TenantChanged", 1, 3000)->new_slug = PJ_TEXT("b");
    event("TenantChanged", 2, 3000)->new_slug = PJ_TEXT("a");
    captions_expect(&s, ID("1") "|name=n|slug=b|");
    captions_expect(&s, ID("2") "|name=n|slug=a|");
}

Test(captions_tenants, dead_letters)
{
    event("TenantRemoved", 1, 0)->tenant_id = PJ_UUID((const uint8_t[16]){0});
    captions_is_dead_letter(&s, "tenant_id is the nil UUID");
    event("TenantRemoved", 1, 0)->removed = PJ_BOOL(pj_null());
    captions_is_dead_letter(&s, "body is none of the records known here");
}

Test(captions_tenants, every_order)
{
    captions_agree(&s, 60, 500, 3);
}

Test(captions_tenants, orders_of_more_events)
{
    captions_agree_for(&pj_captions_tenants, 100, 10);
}

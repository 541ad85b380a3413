/* SPDX-License-Identifier: Apache-2.0 */
/*
 * captions-tenants: who has an account, in tenants.
 *
 * Of the tenants that want one slug the oldest has it. The others have it with the first eight
 * digits of their ids, or all of these where somebody else has that; so a tenant tells the slug
 * that it wants it, the slug tells those who lost it or the longer one, and in the end the row.
 *
 * A slug that ends in an id is that tenant's, or nobody's: placeholders have such slugs, which no
 * event tells of here, and so has who lost both of the shorter ones.
 */
#include "projections/captions/captions.h"
#include "projections/captions/captions_projections.h"
#include "schemas.h"

/* --- the table ------------------------------------------------------------------------------- */

#define TENANTS(COLUMN)                                                                            \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(name, PJ_TEXT, .in_placeholder = "unknown")                                             \
    COLUMN(slug, PJ_TEXT, .in_placeholder = "unknown-{id}")                                        \
    COLUMN(storage_quota_gb, PJ_INT)                                                               \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(placeholder, PJ_BOOL) /* stays null: the row is a placeholder no more */
PJ_COLUMNS(captions_tenants, TENANTS);

const struct pj_table captions_tenants_table = {
    .name = "tenants",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(captions_tenants),
    .children = (const struct pj_table *const[]){&captions_profiles_table, &captions_videos_table,
                                                 &captions_crops_table, NULL},
    .placeholder = PJ_INDEX(captions_tenants, placeholder),
};

/* --- facts ----------------------------------------------------------------------------------- */

enum { TENANT, SLUG, SUFFIX, ROW };

#define CREATED(VALUE)                                                                             \
    VALUE(name, PJ_TEXT) VALUE(slug, PJ_TEXT) VALUE(quota, PJ_INT) VALUE(at, PJ_TIMESTAMPTZ)
#define TEXT(VALUE)   VALUE(text, PJ_TEXT)
#define NUMBER(VALUE) VALUE(number, PJ_INT)
#define HERE(VALUE)   VALUE(here, PJ_BOOL)

#define TENANT_FACTS(FACT)                                                                         \
    FACT(created, PJ_LEAST, CREATED)                                                               \
    FACT(new_name, PJ_GREATEST, TEXT)                                                              \
    FACT(new_slug, PJ_GREATEST, TEXT)                                                              \
    FACT(new_quota, PJ_GREATEST, NUMBER)                                                           \
    FACT(removed, PJ_LEAST, HERE, .absorbs = true)
PJ_FACTS(tenant, TENANT, TENANT_FACTS);

/* Under the tenant's id. */
#define WANT(VALUE) VALUE(slug, PJ_TEXT) VALUE(at, PJ_TIMESTAMPTZ)

#define SLUG_FACTS(FACT) FACT(wanted, PJ_LEAST, WANT)
PJ_FACTS(slug, SLUG, SLUG_FACTS);

#define SUFFIX_FACTS(FACT)                                                                         \
    FACT(taken, PJ_LEAST, HERE) /* somebody wants just this */                                     \
    FACT(lost, PJ_LEAST, WANT)  /* who wanted the shorter one */
PJ_FACTS(suffix, SUFFIX, SUFFIX_FACTS);

#define SAID(VALUE) VALUE(name, PJ_TEXT) VALUE(quota, PJ_INT) VALUE(at, PJ_TIMESTAMPTZ)

#define ROW_FACTS(FACT)                                                                            \
    FACT(said, PJ_LEAST, SAID)                                                                     \
    FACT(has, PJ_LEAST, TEXT)
PJ_FACTS(row, ROW, ROW_FACTS);

/* --- what an event means --------------------------------------------------------------------- */

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct captions_tenant *e = PJ_EVENT(event, captions_tenant);
    const uint8_t *tenant = e->tenant_id.uuid;
    struct pj_order order = CAPTIONS_ORDER(e);
    if (captions_check_tenant(e, error) != 0)
        return -1;
    if (e->created.present)
        PJ_KEEP(observer, created, tenant, NULL, &order,
                {.name = e->name, .slug = e->slug, .quota = e->quota, .at = e->emitted_at});
    if (e->new_name.present)
        PJ_KEEP(observer, new_name, tenant, NULL, &order, {.text = e->new_name});
    if (e->new_slug.present)
        PJ_KEEP(observer, new_slug, tenant, NULL, &order, {.text = e->new_slug});
    if (e->new_quota.present)
        PJ_KEEP(observer, new_quota, tenant, NULL, &order, {.number = e->new_quota});
    if (e->removed.present)
        PJ_KEEP(observer, removed, tenant, NULL, &order, {.here = PJ_BOOL(true)});
    return 0;
}

/* --- who has a slug -------------------------------------------------------------------------- */

static void text_key(const struct pj_text *text, uint8_t key[16])
{
    pj_uuid_of_name(text->text.data, text->text.length, key);
}

static void derive_tenant(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct created *created = PJ_FACT(entity, created);
    if (created == NULL) /* or removed */
        return;
    const uint8_t *id = pj_entity_key(entity);
    uint8_t key[16];
    struct pj_text slug = PJ_OR(PJ_SAID(entity, new_slug)->text, created->slug);
    text_key(&slug, key);
    PJ_CONTRIBUTE(derivation, wanted, key, id, {.slug = slug, .at = created->at});
    PJ_CONTRIBUTE(derivation, taken, key, id, {.here = PJ_BOOL(true)});
    PJ_CONTRIBUTE(derivation, said, id, id,
                  {
                      .name = PJ_OR(PJ_SAID(entity, new_name)->text, created->name),
                      .quota = PJ_OR(PJ_SAID(entity, new_quota)->number, created->quota),
                      .at = created->at,
                  });
}

/* Whether it does not end in the id of somebody else. */
static bool may_be_of(const struct pj_text *slug, const uint8_t id[16])
{
    enum { ID = 36 };
    uint8_t of[16];
    if (slug->text.length <= ID)
        return true;
    const char *end = slug->text.data + slug->text.length - ID;
    return end[-1] != '-' || !pj_uuid_parse(end, ID, of) || memcmp(of, id, sizeof of) == 0;
}

/* The oldest, then that of the smallest id: facts are sorted by it. */
static size_t oldest(const struct pj_fact *facts, size_t count)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++) {
        if (PJ_SAYS(wanted, &facts[i])->at.integer < PJ_SAYS(wanted, &facts[best])->at.integer)
            best = i;
    }
    return best;
}

/* Of those who want a slug; count: none of them may have it. */
static size_t holder(const struct pj_fact *facts, size_t count)
{
    size_t first = count;
    for (size_t i = 0; i < count; i++) {
        const struct wanted *want = PJ_SAYS(wanted, &facts[i]);
        if (may_be_of(&want->slug, facts[i].subkey) &&
            (first == count || want->at.integer < PJ_SAYS(wanted, &facts[first])->at.integer))
            first = i;
    }
    return first;
}

/* The slug with so many digits of the id, and the dashes between them. */
static struct pj_text longer(struct pj_derivation *derivation, const struct pj_text *slug,
                             const uint8_t id[16], size_t digits)
{
    static const char hex[] = "0123456789abcdef";
    char *text = pj_derivation_alloc(derivation, slug->text.length + 1 + 36);
    size_t length = slug->text.length;
    memcpy(text, slug->text.data, length);
    for (size_t i = 0; i < digits; i++) {
        if (i == 0 || i == 8 || i == 12 || i == 16 || i == 20)
            text[length++] = '-';
        text[length++] = hex[i % 2 == 0 ? id[i / 2] >> 4 : id[i / 2] & 15];
    }
    return PJ_TEXT(pj_text_of(text, length));
}

static void derive_slug(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *facts = PJ_ALL(entity, wanted, &count);
    size_t first = holder(facts, count);
    for (size_t i = 0; i < count; i++) {
        const struct wanted *want = PJ_SAYS(wanted, &facts[i]);
        const uint8_t *id = facts[i].subkey;
        if (i == first) {
            PJ_CONTRIBUTE(derivation, has, id, pj_entity_key(entity), {.text = want->slug});
            continue;
        }
        uint8_t key[16];
        struct pj_text suffixed = longer(derivation, &want->slug, id, 8);
        text_key(&suffixed, key);
        PJ_CONTRIBUTE(derivation, lost, key, id, {.slug = want->slug, .at = want->at});
    }
}

static void derive_suffix(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count, takers;
    const struct pj_fact *facts = PJ_ALL(entity, lost, &count);
    (void)PJ_ALL(entity, taken, &takers);
    size_t first = takers > 0 ? count : oldest(facts, count);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *id = facts[i].subkey;
        PJ_CONTRIBUTE(
            derivation, has, id, pj_entity_key(entity),
            {.text = longer(derivation, &PJ_SAYS(lost, &facts[i])->slug, id, i == first ? 8 : 32)});
    }
}

static void derive_row(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *said = PJ_ALL(entity, said, &count);
    if (count == 0)
        return;
    const struct said *tenant = PJ_SAYS(said, said);
    const struct pj_fact *has = PJ_ALL(entity, has, &count);
    if (count == 0)
        return;
    *PJ_ROW(derivation, captions_tenants) = (struct captions_tenants){
        .id = PJ_UUID(pj_entity_key(entity)),
        .name = tenant->name,
        .slug = PJ_SAYS(has, has)->text,
        .storage_quota_gb = tenant->quota,
        .created_at = tenant->at,
    };
}

/* --- the projection -------------------------------------------------------------------------- */

const struct pj_projection pj_captions_tenants = {
    .name = "captions-tenants",
    .summary = "keep tenants: who has an account",
    .version = 1,
    PJ_SOURCES(CAPTIONS_SOURCE(tenants, captions_tenant, observe)),
    PJ_ENTITIES([TENANT] = {.name = "tenant", PJ_FACTS_OF(tenant), .derive = derive_tenant},
                [SLUG] = {.name = "slug", PJ_FACTS_OF(slug), .derive = derive_slug},
                [SUFFIX] = {.name = "suffix", PJ_FACTS_OF(suffix), .derive = derive_suffix},
                [ROW] = {.name = "row", PJ_FACTS_OF(row), .derive = derive_row}),
    PJ_TABLES(&captions_tenants_table),
};

/* SPDX-License-Identifier: Apache-2.0 */
/* captions-users: who works for which tenant, in user_profiles. */
#include "projections/captions/captions.h"
#include "projections/captions/captions_projections.h"
#include "schemas.h"

#define PROFILES(COLUMN)                                                                           \
    COLUMN(id, PJ_UUID, .key = true)                                                               \
    COLUMN(tenant_id, PJ_UUID)                                                                     \
    COLUMN(full_name, PJ_TEXT)                                                                     \
    COLUMN(avatar_url, PJ_TEXT)                                                                    \
    COLUMN(role, PJ_TEXT)                                                                          \
    COLUMN(created_at, PJ_TIMESTAMPTZ)
PJ_COLUMNS(captions_profiles, PROFILES);

const struct pj_table captions_profiles_table = {
    .name = "user_profiles",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(captions_profiles),
    .parents =
        (const struct pj_parent[]){
            {&captions_tenants_table, {PJ_INDEX(captions_profiles, tenant_id)}, 0},
            {0},
        },
};

/* --- facts ----------------------------------------------------------------------------------- */

enum { USER };

#define REGISTRATION(VALUE) VALUE(tenant_id, PJ_UUID) VALUE(role, PJ_TEXT) VALUE(at, PJ_TIMESTAMPTZ)
#define ASSIGNMENT(VALUE)   VALUE(tenant_id, PJ_UUID) VALUE(role, PJ_TEXT)
#define TEXT(VALUE)         VALUE(text, PJ_TEXT)
#define HERE(VALUE)         VALUE(here, PJ_BOOL)

#define USER_FACTS(FACT)                                                                           \
    FACT(registered, PJ_LEAST, REGISTRATION)                                                       \
    FACT(assigned, PJ_GREATEST, ASSIGNMENT)                                                        \
    FACT(full_name, PJ_GREATEST, TEXT)                                                             \
    FACT(avatar_url, PJ_GREATEST, TEXT)                                                            \
    FACT(removed, PJ_LEAST, HERE, .absorbs = true)
PJ_FACTS(user, USER, USER_FACTS);

/* --- what an event means --------------------------------------------------------------------- */

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct captions_user *e = PJ_EVENT(event, captions_user);
    const uint8_t *user = e->user_id.uuid;
    struct pj_order order = CAPTIONS_ORDER(e);
    struct pj_text name = PJ_OR(e->full_name, e->new_full_name);
    struct pj_text avatar = PJ_OR(e->avatar_url, e->new_avatar_url);
    if (captions_check_user(e, error) != 0)
        return -1;
    if (e->registered.present)
        PJ_KEEP(observer, registered, user, NULL, &order,
                {.tenant_id = e->tenant_id, .role = e->role, .at = e->emitted_at});
    if (e->assigned.present)
        PJ_KEEP(observer, assigned, user, NULL, &order,
                {.tenant_id = e->new_tenant_id, .role = e->new_role});
    if (name.present)
        PJ_KEEP(observer, full_name, user, NULL, &order, {.text = name});
    if (avatar.present)
        PJ_KEEP(observer, avatar_url, user, NULL, &order, {.text = avatar});
    if (e->removed.present)
        PJ_KEEP(observer, removed, user, NULL, &order, {.here = PJ_BOOL(true)});
    return 0;
}

/* --- the row --------------------------------------------------------------------------------- */

static void derive(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct registered *registered = PJ_FACT(entity, registered);
    const struct assigned *assigned = PJ_FACT(entity, assigned);
    if (registered == NULL) /* or removed */
        return;
    *PJ_ROW(derivation, captions_profiles) = (struct captions_profiles){
        .id = PJ_UUID(pj_entity_key(entity)),
        .tenant_id = assigned != NULL ? assigned->tenant_id : registered->tenant_id,
        .full_name = PJ_SAID(entity, full_name)->text,
        .avatar_url = PJ_SAID(entity, avatar_url)->text,
        .role = assigned != NULL ? assigned->role : registered->role,
        .created_at = registered->at,
    };
}

const struct pj_projection pj_captions_users = {
    .name = "captions-users",
    .summary = "keep user_profiles: who works for which tenant",
    .version = 1,
    PJ_SOURCES(CAPTIONS_SOURCE(users, captions_user, observe)),
    PJ_ENTITIES([USER] = {.name = "user", PJ_FACTS_OF(user), .derive = derive}),
    PJ_TABLES(&captions_profiles_table),
};

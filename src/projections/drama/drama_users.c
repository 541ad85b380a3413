/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drama-users: users with their balance, and the entries that it is the sum of, in token_ledger.
 *
 * No event says a balance. An entry counts once however often it is sent, the earliest of its id.
 * Each tells its part of its user's ledger (one of 256, by the first byte of its id), and each part
 * its sum to the user: no entity holds all entries.
 */
#include "projectionist/ids.h"
#include "projections/drama/drama.h"
#include "projections/drama/drama_projections.h"
#include "schemas.h"

enum { ENTRY, PART, USER };

/* --- tables ---------------------------------------------------------------------------------- */

#define TOKEN_LEDGER(COLUMN)                                                                       \
    COLUMN(entry_id, PJ_UUID, .key = true)                                                         \
    COLUMN(user_id, PJ_TEXT)                                                                       \
    COLUMN(delta, PJ_BIGINT)                                                                       \
    COLUMN(reason, PJ_TEXT)                                                                        \
    COLUMN(drama_id, PJ_TEXT)                                                                      \
    COLUMN(job_id, PJ_TEXT)                                                                        \
    COLUMN(emitted_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(event_id, PJ_UUID)
PJ_COLUMNS(token_ledger, TOKEN_LEDGER);
static const struct pj_table token_ledger_table = {.name = "token_ledger",
                                                   PJ_COLUMNS_OF(token_ledger)};

#define USERS(COLUMN)                                                                              \
    COLUMN(id, PJ_TEXT, .key = true)                                                               \
    COLUMN(email, PJ_TEXT)                                                                         \
    COLUMN(display_name, PJ_TEXT)                                                                  \
    COLUMN(tokens, PJ_BIGINT)                                                                      \
    COLUMN(subscription_tier, PJ_TEXT)                                                             \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(entries, PJ_BIGINT)                                                                     \
    COLUMN(revision, PJ_BIGINT)
PJ_COLUMNS(users, USERS);
static const struct pj_table users_table = {.name = "users", PJ_COLUMNS_OF(users)};

/* --- facts ----------------------------------------------------------------------------------- */

#define SAID(VALUE)                                                                                \
    VALUE(user_id, PJ_TEXT)                                                                        \
    VALUE(delta, PJ_BIGINT)                                                                        \
    VALUE(reason, PJ_TEXT)                                                                         \
    VALUE(drama_id, PJ_TEXT)                                                                       \
    VALUE(job_id, PJ_TEXT)                                                                         \
    VALUE(emitted_at, PJ_TIMESTAMPTZ)                                                              \
    VALUE(event_id, PJ_UUID)
#define ENTRY_FACTS(FACT) FACT(said, PJ_LEAST, SAID)
PJ_FACTS(entry, ENTRY, ENTRY_FACTS);

#define PART_NAME(VALUE) VALUE(user_id, PJ_TEXT) VALUE(first_byte, PJ_BIGINT)
#define SUM(VALUE)       VALUE(tokens, PJ_BIGINT) VALUE(entries, PJ_BIGINT)
#define PART_FACTS(FACT)                                                                           \
    FACT(part_name, PJ_GREATEST, PART_NAME, .is_name = true)                                       \
    FACT(entry_sum, PJ_GREATEST, SUM)
PJ_FACTS(part, PART, PART_FACTS);

#define USER_NAME(VALUE) VALUE(id, PJ_TEXT)
#define REGISTERED(VALUE)                                                                          \
    VALUE(email, PJ_TEXT)                                                                          \
    VALUE(display_name, PJ_TEXT)                                                                   \
    VALUE(subscription_tier, PJ_TEXT)                                                              \
    VALUE(at, PJ_TIMESTAMPTZ)
#define COLUMN_TEXT(VALUE) VALUE(text, PJ_TEXT)
#define NOTHING(VALUE)
#define USER_FACTS(FACT)                                                                           \
    FACT(user_name, PJ_GREATEST, USER_NAME, .is_name = true)                                       \
    FACT(registered, PJ_LEAST, REGISTERED)                                                         \
    FACT(email, PJ_GREATEST, COLUMN_TEXT)                                                          \
    FACT(display_name, PJ_GREATEST, COLUMN_TEXT)                                                   \
    FACT(subscription_tier, PJ_GREATEST, COLUMN_TEXT)                                              \
    FACT(revised, PJ_GREATEST, NOTHING)                                                            \
    FACT(deleted, PJ_LEAST, NOTHING, .absorbs = true)                                              \
    FACT(part_sum, PJ_GREATEST, SUM)
PJ_FACTS(user, USER, USER_FACTS);

/* --- what one event means -------------------------------------------------------------------- */

static void observe_registered(const struct drama_user_event *e, const struct pj_order *order,
                               struct pj_observer *observer)
{
    const struct pj_value parts[] = {pj_text("drama/initial"), e->user_id.value};
    uint8_t entry_id[16];
    pj_uuid_of_texts(parts, PJ_COUNT(parts), entry_id);
    PJ_KEEP_NAMED(observer, registered, PJ_PARTS(e->user_id), NULL, order,
                  {.email = e->email,
                   .display_name = e->display_name,
                   .subscription_tier = e->subscription_tier,
                   .at = e->emitted_at});
    PJ_KEEP(observer, said, entry_id, NULL, order,
            {.user_id = e->user_id,
             .delta = e->tokens,
             .reason = PJ_TEXT("initial"),
             .emitted_at = e->emitted_at,
             .event_id = e->event_id});
}

/* Names of other columns say nothing. */
static void observe_changed(const struct drama_user_event *e, const struct pj_order *order,
                            struct pj_observer *observer)
{
    const struct pj_value *user = PJ_PARTS(e->user_id);
    for (struct pj_array_item item = {0}; pj_items_next(&e->fields.value, &item);) {
        if (pj_text_is(item.values, "email"))
            PJ_KEEP_NAMED(observer, email, user, NULL, order, {.text = e->new_email});
        else if (pj_text_is(item.values, "display_name"))
            PJ_KEEP_NAMED(observer, display_name, user, NULL, order, {.text = e->new_display_name});
        else if (pj_text_is(item.values, "subscription_tier"))
            PJ_KEEP_NAMED(observer, subscription_tier, user, NULL, order,
                          {.text = PJ_OR(e->new_subscription_tier, PJ_TEXT("free"))});
    }
}

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct drama_user_event *e = PJ_EVENT(event, drama_user_event);
    if (drama_check_user(e, error) != 0)
        return -1;
    const struct pj_order order = drama_order(e->revision.integer, 0, e->event_id);
    const struct pj_value *user = PJ_PARTS(e->user_id);
    if (e->registered.present || e->changed.present)
        PJ_KEEP_NAMED(observer, revised, user, NULL, &order, {});
    if (e->registered.present)
        observe_registered(e, &order, observer);
    if (e->changed.present)
        observe_changed(e, &order, observer);
    if (e->tokens_changed.present)
        PJ_KEEP(observer, said, PJ_OR(e->entry_id, e->event_id).uuid, NULL, &order,
                {.user_id = e->user_id,
                 .delta = e->delta,
                 .reason = e->reason,
                 .drama_id = e->drama_id,
                 .job_id = e->job_id,
                 .emitted_at = e->emitted_at,
                 .event_id = e->event_id});
    if (e->deleted.present)
        PJ_KEEP_NAMED(observer, deleted, user, NULL, &order, {});
    return 0;
}

/* --- what follows from the facts ------------------------------------------------------------- */

static void derive_entry(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct said *said = PJ_FACT(entity, said);
    const uint8_t *entry_id = pj_entity_key(entity);
    const struct part_name part = {.user_id = said->user_id, .first_byte = PJ_BIGINT(entry_id[0])};
    *PJ_ROW(derivation, token_ledger) = (struct token_ledger){
        .entry_id = PJ_UUID(entry_id),
        .user_id = said->user_id,
        .delta = said->delta,
        .reason = said->reason,
        .drama_id = said->drama_id,
        .job_id = said->job_id,
        .emitted_at = said->emitted_at,
        .event_id = said->event_id,
    };
    PJ_CONTRIBUTE_NAMED(derivation, entry_sum, PJ_PARTS(part), entry_id,
                        {.tokens = said->delta, .entries = PJ_BIGINT(1)});
}

/* A sum beyond 64 bits is null, and so is one with a null in it. */
static struct part_sum sum_of(const struct pj_fact *facts, size_t count)
{
    struct part_sum sum = {.tokens = PJ_BIGINT(0), .entries = PJ_BIGINT(0)};
    for (size_t i = 0; i < count; i++) {
        const struct part_sum *next = PJ_SAYS(part_sum, &facts[i]);
        sum.entries.integer += next->entries.integer;
        if (!sum.tokens.present || !next->tokens.present ||
            __builtin_add_overflow(sum.tokens.integer, next->tokens.integer, &sum.tokens.integer))
            sum.tokens = PJ_BIGINT(pj_null());
    }
    return sum;
}

static void derive_part(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *entries = PJ_ALL(entity, entry_sum, &count);
    if (count > 0)
        PJ_CONTRIBUTE_NAMED(derivation, part_sum,
                            PJ_PARTS(PJ_VIEW(part_name, pj_entity_name(entity))->user_id),
                            pj_entity_key(entity), sum_of(entries, count));
}

static void derive_user(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct registered *registered = PJ_FACT(entity, registered);
    size_t count;
    if (registered == NULL) /* the ledger waits for it, or it is deleted */
        return;
    const struct pj_fact *parts = PJ_ALL(entity, part_sum, &count);
    const struct part_sum sum = sum_of(parts, count);
    const struct email *email = PJ_FACT(entity, email);
    const struct display_name *display_name = PJ_FACT(entity, display_name);
    const struct subscription_tier *tier = PJ_FACT(entity, subscription_tier);
    *PJ_ROW(derivation, users) = (struct users){
        .id = PJ_VIEW(user_name, pj_entity_name(entity))->id,
        .email = email != NULL ? email->text : registered->email,
        .display_name = display_name != NULL ? display_name->text : registered->display_name,
        .tokens = sum.tokens,
        .subscription_tier = tier != NULL ? tier->text : registered->subscription_tier,
        .created_at = registered->at,
        .entries = sum.entries,
        .revision = PJ_BIGINT(pj_entity_fact(entity, revised_fact, NULL)->order.rank[0]),
    };
}

/* --- the projection -------------------------------------------------------------------------- */

const struct pj_projection pj_drama_users = {
    .name = "drama-users",
    .summary = "keep users with their balance, and token_ledger, which it is the sum of",
    .version = 1,
    PJ_SOURCES(PJ_SOURCE("drama.users", pj_schema_drama_users, drama_user_event, observe)),
    PJ_ENTITIES([ENTRY] = {.name = "entry", PJ_FACTS_OF(entry), .derive = derive_entry},
                [PART] = {.name = "part", PJ_FACTS_OF(part), .derive = derive_part},
                [USER] = {.name = "user", PJ_FACTS_OF(user), .derive = derive_user}),
    PJ_TABLES(&token_ledger_table, &users_table),
};

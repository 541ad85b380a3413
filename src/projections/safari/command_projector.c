/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command-projector: the lifecycle of every command, in safari_commands.
 *
 * A command is four facts: how it was submitted (the earliest submission counts), the lifecycle
 * event that happened last, the earliest time it ran and the earliest time it was heard of. Who has
 * an idempotency key is a second kind of entity, because two commands may claim one.
 */
#include "projections/safari/projections.h"
#include "projections/safari/safari.h"
#include "schemas.h"

/* --- tables ---------------------------------------------------------------------------------- */

#define SAFARI_COMMANDS_COLUMNS(COLUMN)                                                            \
    COLUMN(command_id, PJ_UUID, .key = true)                                                       \
    COLUMN(type, PJ_TEXT, .in_placeholder = "unknown")                                             \
    COLUMN(status, PJ_TEXT, .in_placeholder = "QUEUED")                                            \
    COLUMN(payload, PJ_JSONB)                                                                      \
    COLUMN(result, PJ_JSONB)                                                                       \
    COLUMN(target, PJ_JSONB)                                                                       \
    COLUMN(error_message, PJ_TEXT)                                                                 \
    COLUMN(idempotency_key, PJ_TEXT, .elsewhere = true)                                            \
    COLUMN(created_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(started_at, PJ_TIMESTAMPTZ)                                                             \
    COLUMN(completed_at, PJ_TIMESTAMPTZ)                                                           \
    COLUMN(correlation_id, PJ_UUID)                                                                \
    COLUMN(requester_service, PJ_TEXT)                                                             \
    COLUMN(requester_instance, PJ_TEXT)                                                            \
    COLUMN(placeholder, PJ_BOOL) /* stays null: the row is a placeholder no more */
PJ_COLUMNS(safari_commands, SAFARI_COMMANDS_COLUMNS);

const struct pj_table safari_commands_table = {
    .name = "safari_commands",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(safari_commands),
    .children = (const struct pj_table *const[]){&safari_events_table, &safari_videos_table,
                                                 &watermark_removals_table, NULL},
    .placeholder = PJ_INDEX(safari_commands, placeholder),
    .first_seen = PJ_INDEX(safari_commands, created_at),
};

#define COMMAND_KEYS(COLUMN)                                                                       \
    COLUMN(command_id, PJ_UUID, .key = true)                                                       \
    COLUMN(idempotency_key, PJ_TEXT)
PJ_COLUMNS(command_keys, COMMAND_KEYS);

static const struct pj_table command_keys_table = {
    .name = "safari_commands",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(command_keys),
    .part_of = &safari_commands_table,
};

#define CONFLICTS(COLUMN)                                                                          \
    COLUMN(idempotency_key, PJ_TEXT, .key = true)                                                  \
    COLUMN(command_id, PJ_UUID, .key = true)                                                       \
    COLUMN(kept_by, PJ_UUID)
PJ_COLUMNS(conflicts, CONFLICTS);

static const struct pj_table conflicts_table = {
    .name = "idempotency_conflicts",
    .schema = "projectionist",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(conflicts),
};

/* --- facts ----------------------------------------------------------------------------------- */

enum { COMMAND, IDEMPOTENCY_KEY };

#define SUBMITTED(VALUE)                                                                           \
    VALUE(type, PJ_TEXT)                                                                           \
    VALUE(payload, PJ_JSONB)                                                                       \
    VALUE(key, PJ_TEXT)                                                                            \
    VALUE(correlation_id, PJ_UUID)                                                                 \
    VALUE(service, PJ_TEXT)                                                                        \
    VALUE(instance, PJ_TEXT)                                                                       \
    VALUE(target, PJ_JSONB)                                                                        \
    VALUE(created_at, PJ_TIMESTAMPTZ)
#define LAST_STATUS(VALUE)                                                                         \
    VALUE(status, PJ_TEXT)                                                                         \
    VALUE(terminal, PJ_BOOL)                                                                       \
    VALUE(result, PJ_JSONB)                                                                        \
    VALUE(error, PJ_TEXT)                                                                          \
    VALUE(at, PJ_TIMESTAMPTZ)
#define TIME(VALUE) VALUE(at, PJ_TIMESTAMPTZ)

#define COMMAND_FACTS(FACT)                                                                        \
    FACT(submitted, PJ_LEAST, SUBMITTED)                                                           \
    FACT(last_status, PJ_GREATEST, LAST_STATUS)                                                    \
    FACT(first_running, PJ_LEAST, TIME)                                                            \
    FACT(first_seen, PJ_LEAST, TIME)
PJ_FACTS(command, COMMAND, COMMAND_FACTS);

#define CLAIM(VALUE)    VALUE(key, PJ_TEXT) VALUE(created_at, PJ_TIMESTAMPTZ)
#define KEY_FACTS(FACT) FACT(claim, PJ_LEAST, CLAIM)
PJ_FACTS(key, IDEMPOTENCY_KEY, KEY_FACTS);

/* --- what an event means --------------------------------------------------------------------- */

static void observe_submitted(const struct safari_command *e, struct pj_observer *observer)
{
    struct pj_order order = PJ_ORDER(e->event_id, e->emitted_at.integer);
    PJ_KEEP(observer, submitted, e->command_id.uuid, NULL, &order,
            {
                .type = e->type,
                .payload = e->payload,
                .key = safari_nonempty(e->idempotency_key),
                .correlation_id = e->correlation_id,
                .service = e->requester_service,
                .instance = e->requester_instance,
                .target = e->target,
                .created_at = PJ_OR(e->requested_at, e->emitted_at),
            });
}

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct safari_command *e = PJ_EVENT(event, safari_command);
    const uint8_t *command = e->command_id.uuid;
    struct safari_lifecycle lifecycle;
    if (e->submitted.present) {
        observe_submitted(e, observer);
        return 0;
    }
    if (safari_read_lifecycle(e, &lifecycle, error) != 0)
        return -1;
    PJ_KEEP(observer, last_status, command, NULL, &lifecycle.order,
            {
                .status = lifecycle.status,
                .terminal = PJ_BOOL(lifecycle.rank == SAFARI_TERMINAL),
                .result = e->result,
                .error = lifecycle.error,
                .at = e->emitted_at,
            });
    if (lifecycle.rank == SAFARI_RUNNING)
        PJ_KEEP(observer, first_running, command, NULL, &lifecycle.time, {.at = e->emitted_at});
    PJ_KEEP(observer, first_seen, command, NULL, &lifecycle.time, {.at = e->emitted_at});
    return 0;
}

/* --- what follows from the facts ------------------------------------------------------------- */

static void derive_command(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct submitted *submitted = PJ_SAID(entity, submitted);
    const struct last_status *last = PJ_SAID(entity, last_status);
    struct safari_commands *row = PJ_ROW(derivation, safari_commands);
    row->command_id = PJ_UUID(pj_entity_key(entity));
    row->type = PJ_OR(submitted->type, PJ_TEXT("unknown"));
    row->status = PJ_OR(last->status, PJ_TEXT("QUEUED"));
    row->payload = submitted->payload;
    row->target = submitted->target;
    row->correlation_id = submitted->correlation_id;
    row->requester_service = submitted->service;
    row->requester_instance = submitted->instance;
    row->created_at = PJ_OR(submitted->created_at, PJ_SAID(entity, first_seen)->at);
    row->started_at = PJ_SAID(entity, first_running)->at;
    if (last->terminal.boolean) {
        row->completed_at = last->at;
        row->result = last->result;
        row->error_message = last->error;
    }
    if (submitted->key.present) {
        uint8_t key[16];
        pj_uuid_of_name(submitted->key.text.data, submitted->key.text.length, key);
        PJ_CONTRIBUTE(derivation, claim, key, pj_entity_key(entity),
                      {.key = submitted->key, .created_at = submitted->created_at});
    }
}

/* The oldest claimant keeps the key, then the smaller id (claims come sorted by it); the others'
 * keys stay null, and each is on record. */
static void derive_key(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *claims = PJ_ALL(entity, claim, &count);
    size_t keeper = 0;
    for (size_t i = 1; i < count; i++) {
        if (PJ_SAYS(claim, &claims[i])->created_at.integer <
            PJ_SAYS(claim, &claims[keeper])->created_at.integer)
            keeper = i;
    }
    for (size_t i = 0; i < count; i++) {
        const struct claim *claim = PJ_SAYS(claim, &claims[i]);
        struct pj_uuid command = PJ_UUID(claims[i].subkey);
        if (i == keeper)
            *PJ_ROW(derivation, command_keys) =
                (struct command_keys){.command_id = command, .idempotency_key = claim->key};
        else
            *PJ_ROW(derivation, conflicts) = (struct conflicts){
                .idempotency_key = claim->key,
                .command_id = command,
                .kept_by = PJ_UUID(claims[keeper].subkey),
            };
    }
}

/* --- the projection -------------------------------------------------------------------------- */

const struct pj_projection pj_command_projector = {
    .name = "command-projector",
    .summary = "keep safari_commands: the lifecycle of every command",
    PJ_SOURCES(SAFARI_COMMANDS(observe)),
    PJ_ENTITIES([COMMAND] = {.name = "command", PJ_FACTS_OF(command), .derive = derive_command},
                [IDEMPOTENCY_KEY] = {.name = "idempotency_key",
                                     PJ_FACTS_OF(key),
                                     .derive = derive_key}),
    PJ_TABLES(&safari_commands_table, &command_keys_table, &conflicts_table),
};

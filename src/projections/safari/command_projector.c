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

enum {
    C_COMMAND_ID,
    C_TYPE,
    C_STATUS,
    C_PAYLOAD,
    C_RESULT,
    C_TARGET,
    C_ERROR_MESSAGE,
    C_IDEMPOTENCY_KEY,
    C_CREATED_AT,
    C_STARTED_AT,
    C_COMPLETED_AT,
    C_CORRELATION_ID,
    C_REQUESTER_SERVICE,
    C_REQUESTER_INSTANCE,
    C_PLACEHOLDER, /* stays NULL: the row is a placeholder no more */
    C_COLUMNS,
};

static const struct pj_column command_columns[C_COLUMNS] = {
    [C_COMMAND_ID] = {"command_id", PJ_UUID, .key = true},
    [C_TYPE] = {"type", PJ_TEXT, .in_placeholder = "unknown"},
    [C_STATUS] = {"status", PJ_TEXT, .in_placeholder = "QUEUED"},
    [C_PAYLOAD] = {"payload", PJ_JSONB},
    [C_RESULT] = {"result", PJ_JSONB},
    [C_TARGET] = {"target", PJ_JSONB},
    [C_ERROR_MESSAGE] = {"error_message", PJ_TEXT},
    [C_IDEMPOTENCY_KEY] = {"idempotency_key", PJ_TEXT, .elsewhere = true},
    [C_CREATED_AT] = {"created_at", PJ_TIMESTAMPTZ},
    [C_STARTED_AT] = {"started_at", PJ_TIMESTAMPTZ},
    [C_COMPLETED_AT] = {"completed_at", PJ_TIMESTAMPTZ},
    [C_CORRELATION_ID] = {"correlation_id", PJ_UUID},
    [C_REQUESTER_SERVICE] = {"requester_service", PJ_TEXT},
    [C_REQUESTER_INSTANCE] = {"requester_instance", PJ_TEXT},
    [C_PLACEHOLDER] = {"placeholder", PJ_BOOL},
};

const struct pj_table pj_safari_commands = {
    .name = "safari_commands",
    .kind = PJ_ENTITY_TABLE,
    .columns = command_columns,
    .column_count = C_COLUMNS,
    .children = (const struct pj_table *const[]){&pj_safari_events, &pj_safari_videos,
                                                 &pj_watermark_removals, NULL},
    .placeholder = C_PLACEHOLDER,
    .first_seen = C_CREATED_AT,
};

static const struct pj_column key_columns[] = {
    {"command_id", PJ_UUID, .key = true},
    {"idempotency_key", PJ_TEXT},
};

static const struct pj_table command_keys = {
    .name = "safari_commands",
    .kind = PJ_ENTITY_TABLE,
    .columns = key_columns,
    .column_count = 2,
    .part_of = &pj_safari_commands,
};

static const struct pj_column conflict_columns[] = {
    {"idempotency_key", PJ_TEXT, .key = true},
    {"command_id", PJ_UUID, .key = true},
    {"kept_by", PJ_UUID},
};

static const struct pj_table conflicts = {
    .name = "idempotency_conflicts",
    .schema = "projectionist",
    .kind = PJ_ENTITY_TABLE,
    .columns = conflict_columns,
    .column_count = 3,
};

/* --- facts ----------------------------------------------------------------------------------- */

enum { COMMAND, IDEMPOTENCY_KEY, ENTITIES };

enum { SUBMITTED, LAST_STATUS, FIRST_RUNNING, FIRST_SEEN, COMMAND_FACTS };
enum {
    S_TYPE,
    S_PAYLOAD,
    S_KEY,
    S_CORRELATION_ID,
    S_SERVICE,
    S_INSTANCE,
    S_TARGET,
    S_CREATED_AT,
    S_VALUES,
};
enum { L_STATUS, L_TERMINAL, L_RESULT, L_ERROR, L_AT, L_VALUES };

static const struct pj_fact_kind command_facts[COMMAND_FACTS] = {
    [SUBMITTED] = {"submitted", PJ_LEAST,
                   PJ_FACT_VALUES(PJ_TEXT, PJ_JSONB, PJ_TEXT, PJ_UUID, PJ_TEXT, PJ_TEXT, PJ_JSONB,
                                  PJ_TIMESTAMPTZ)},
    [LAST_STATUS] = {"last status", PJ_GREATEST,
                     PJ_FACT_VALUES(PJ_TEXT, PJ_BOOL, PJ_JSONB, PJ_TEXT, PJ_TIMESTAMPTZ)},
    [FIRST_RUNNING] = {"first running", PJ_LEAST, PJ_FACT_VALUES(PJ_TIMESTAMPTZ)},
    [FIRST_SEEN] = {"first seen", PJ_LEAST, PJ_FACT_VALUES(PJ_TIMESTAMPTZ)},
};

enum { CLAIM, KEY_FACTS };
enum { K_KEY, K_CREATED_AT, K_VALUES };

static const struct pj_fact_kind key_facts[KEY_FACTS] = {
    [CLAIM] = {"claim", PJ_LEAST, PJ_FACT_VALUES(PJ_TEXT, PJ_TIMESTAMPTZ)},
};

/* --- what an event means --------------------------------------------------------------------- */

static void observe_submitted(const struct pj_value *v, struct pj_observer *observer)
{
    struct pj_order order = safari_time_order(&v[COMMAND_EMITTED_AT], &v[COMMAND_EVENT_ID]);
    struct pj_value submitted[S_VALUES] = {
        [S_TYPE] = v[COMMAND_TYPE],
        [S_PAYLOAD] = v[COMMAND_PAYLOAD],
        [S_KEY] = safari_nonempty(v[COMMAND_IDEMPOTENCY_KEY]),
        [S_CORRELATION_ID] = v[COMMAND_CORRELATION_ID],
        [S_SERVICE] = v[COMMAND_REQUESTER_SERVICE],
        [S_INSTANCE] = v[COMMAND_REQUESTER_INSTANCE],
        [S_TARGET] = v[COMMAND_TARGET],
        [S_CREATED_AT] =
            v[v[COMMAND_REQUESTED_AT].present ? COMMAND_REQUESTED_AT : COMMAND_EMITTED_AT],
    };
    pj_keep(observer, COMMAND, v[COMMAND_ID].uuid, SUBMITTED, NULL, &order, submitted);
}

static void observe_status(const struct pj_value *v, const struct safari_lifecycle *lifecycle,
                           struct pj_observer *observer)
{
    const uint8_t *command = v[COMMAND_ID].uuid;
    const struct pj_value *at = &v[COMMAND_EMITTED_AT];
    struct pj_value last[L_VALUES] = {
        [L_STATUS] = pj_text(lifecycle->status),
        [L_TERMINAL] = pj_bool(lifecycle->rank == SAFARI_TERMINAL),
        [L_RESULT] = v[COMMAND_RESULT],
        [L_ERROR] = lifecycle->error,
        [L_AT] = *at,
    };
    pj_keep(observer, COMMAND, command, LAST_STATUS, NULL, &lifecycle->order, last);
    if (lifecycle->rank == SAFARI_RUNNING)
        pj_keep(observer, COMMAND, command, FIRST_RUNNING, NULL, &lifecycle->time, at);
    pj_keep(observer, COMMAND, command, FIRST_SEEN, NULL, &lifecycle->time, at);
}

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct pj_value *v = event->values;
    if (v[COMMAND_SUBMITTED].present) {
        observe_submitted(v, observer);
        return 0;
    }
    struct safari_lifecycle lifecycle;
    if (safari_read_lifecycle(v, &lifecycle, error) != 0)
        return -1;
    observe_status(v, &lifecycle, observer);
    return 0;
}

/* --- what follows from the facts ------------------------------------------------------------- */

static void derive_command(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_fact *submitted = pj_entity_fact(entity, SUBMITTED, NULL);
    const struct pj_fact *last = pj_entity_fact(entity, LAST_STATUS, NULL);
    const struct pj_fact *running = pj_entity_fact(entity, FIRST_RUNNING, NULL);
    const struct pj_fact *seen = pj_entity_fact(entity, FIRST_SEEN, NULL);
    struct pj_value *row = pj_row(derivation, &pj_safari_commands);
    row[C_COMMAND_ID] = pj_uuid(pj_entity_key(entity));
    row[C_TYPE] = pj_text("unknown");
    row[C_STATUS] = pj_text("QUEUED");
    if (seen != NULL)
        row[C_CREATED_AT] = seen->values[0];
    if (submitted != NULL) {
        const struct pj_value *s = submitted->values;
        row[C_TYPE] = s[S_TYPE];
        row[C_PAYLOAD] = s[S_PAYLOAD];
        row[C_TARGET] = s[S_TARGET];
        row[C_CREATED_AT] = s[S_CREATED_AT];
        row[C_CORRELATION_ID] = s[S_CORRELATION_ID];
        row[C_REQUESTER_SERVICE] = s[S_SERVICE];
        row[C_REQUESTER_INSTANCE] = s[S_INSTANCE];
    }
    if (last != NULL) {
        const struct pj_value *l = last->values;
        row[C_STATUS] = l[L_STATUS];
        if (l[L_TERMINAL].boolean) {
            row[C_COMPLETED_AT] = l[L_AT];
            row[C_RESULT] = l[L_RESULT];
            row[C_ERROR_MESSAGE] = l[L_ERROR];
        }
    }
    if (running != NULL)
        row[C_STARTED_AT] = running->values[0];
    if (submitted != NULL && submitted->values[S_KEY].present) {
        const struct pj_value *key = &submitted->values[S_KEY];
        uint8_t key_id[16];
        pj_uuid_of_name(key->text.data, key->text.length, key_id);
        struct pj_value claim[K_VALUES] = {*key, submitted->values[S_CREATED_AT]};
        pj_contribute(derivation, IDEMPOTENCY_KEY, key_id, CLAIM, pj_entity_key(entity), claim);
    }
}

/* The oldest claimant keeps the key, then the smaller id (claims come sorted by it); the others'
 * keys stay NULL, and each is on record. */
static void derive_key(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    size_t count;
    const struct pj_fact *claims = pj_entity_facts(entity, CLAIM, &count);
    const struct pj_fact *keeper = NULL;
    for (size_t i = 0; i < count; i++) {
        if (keeper == NULL ||
            claims[i].values[K_CREATED_AT].integer < keeper->values[K_CREATED_AT].integer)
            keeper = &claims[i];
    }
    for (size_t i = 0; i < count; i++) {
        if (&claims[i] == keeper) {
            struct pj_value *row = pj_row(derivation, &command_keys);
            row[0] = pj_uuid(claims[i].subkey);
            row[1] = claims[i].values[K_KEY];
        } else {
            struct pj_value *row = pj_row(derivation, &conflicts);
            row[0] = claims[i].values[K_KEY];
            row[1] = pj_uuid(claims[i].subkey);
            row[2] = pj_uuid(keeper->subkey);
        }
    }
}

/* --- the projection -------------------------------------------------------------------------- */

static const struct pj_source sources[] = {SAFARI_COMMANDS(observe)};

static const struct pj_entity_kind entities[ENTITIES] = {
    [COMMAND] = {"command", command_facts, COMMAND_FACTS, derive_command},
    [IDEMPOTENCY_KEY] = {"idempotency_key", key_facts, KEY_FACTS, derive_key},
};

static const struct pj_table *const tables[] = {&pj_safari_commands, &command_keys, &conflicts};

const struct pj_projection pj_command_projector = {
    .name = "command-projector",
    .summary = "keep safari_commands: the lifecycle of every command",
    .sources = sources,
    .source_count = 1,
    .entities = entities,
    .entity_count = ENTITIES,
    .tables = tables,
    .table_count = 3,
};

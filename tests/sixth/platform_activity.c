/* SPDX-License-Identifier: Apache-2.0 */
/*
 * platform-activity: how many commands each platform was sent on each day and how they ended, in
 * platform_activity, and the last one, in platform_last_command.
 *
 * It is no part of the product: it is the example of CONTRIBUTING's five steps, and shows that they
 * are enough. A command counts on the day and for the platform of its earliest submission; the last
 * command of a platform is kept by the platform itself, so that it need not remember all of them.
 */
#include "projections/safari/safari.h"
#include "schemas.h"

/* --- tables ---------------------------------------------------------------------------------- */

#define ACTIVITY(COLUMN)                                                                           \
    COLUMN(platform, PJ_TEXT, .key = true)                                                         \
    COLUMN(day, PJ_TIMESTAMPTZ, .key = true)                                                       \
    COLUMN(submitted, PJ_BIGINT, .measure = PJ_SUM)                                                \
    COLUMN(succeeded, PJ_BIGINT, .measure = PJ_SUM)                                                \
    COLUMN(failed, PJ_BIGINT, .measure = PJ_SUM)
PJ_COLUMNS(activity, ACTIVITY);

static const struct pj_table activity_table = {
    .name = "platform_activity",
    .kind = PJ_ROLLUP_TABLE,
    PJ_COLUMNS_OF(activity),
    .refresh = "projectionist.refresh_platform_activity",
};

#define LAST(COLUMN)                                                                               \
    COLUMN(platform, PJ_TEXT, .key = true)                                                         \
    COLUMN(command_id, PJ_UUID)                                                                    \
    COLUMN(type, PJ_TEXT)                                                                          \
    COLUMN(submitted_at, PJ_TIMESTAMPTZ)
PJ_COLUMNS(last, LAST);

static const struct pj_table last_table = {
    .name = "platform_last_command",
    .kind = PJ_ENTITY_TABLE,
    PJ_COLUMNS_OF(last),
};

/* --- facts ----------------------------------------------------------------------------------- */

enum { COMMAND, PLATFORM };

#define SUBMITTED(VALUE)   VALUE(platform, PJ_TEXT) VALUE(at, PJ_TIMESTAMPTZ)
#define LAST_STATUS(VALUE) VALUE(status, PJ_TEXT)

#define COMMAND_FACTS(FACT)                                                                        \
    FACT(submitted, PJ_LEAST, SUBMITTED)                                                           \
    FACT(last_status, PJ_GREATEST, LAST_STATUS)
PJ_FACTS(command, COMMAND, COMMAND_FACTS);

#define LAST_COMMAND(VALUE)                                                                        \
    VALUE(command_id, PJ_UUID) VALUE(type, PJ_TEXT) VALUE(submitted_at, PJ_TIMESTAMPTZ)
#define NAME(VALUE) VALUE(platform, PJ_TEXT)

#define PLATFORM_FACTS(FACT)                                                                       \
    FACT(last_command, PJ_GREATEST, LAST_COMMAND)                                                  \
    FACT(platform_name, PJ_GREATEST, NAME, .is_name = true)
PJ_FACTS(platform, PLATFORM, PLATFORM_FACTS);

/* --- what an event means --------------------------------------------------------------------- */

static void observe_submitted(const struct safari_command *e, struct pj_observer *observer)
{
    struct pj_order time = PJ_ORDER(e->event_id, e->emitted_at.integer);
    PJ_KEEP(observer, submitted, e->command_id.uuid, NULL, &time,
            {.platform = e->platform, .at = e->emitted_at});
    if (e->platform.present)
        PJ_KEEP_NAMED(
            observer, last_command, PJ_PARTS(e->platform), NULL, &time,
            {.command_id = e->command_id, .type = e->type, .submitted_at = e->emitted_at});
}

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    const struct safari_command *e = PJ_EVENT(event, safari_command);
    struct safari_lifecycle lifecycle;
    if (e->submitted.present) {
        observe_submitted(e, observer);
        return 0;
    }
    if (safari_read_lifecycle(e, &lifecycle, error) != 0)
        return -1;
    PJ_KEEP(observer, last_status, e->command_id.uuid, NULL, &lifecycle.order,
            {.status = lifecycle.status});
    return 0;
}

/* --- what follows from the facts ------------------------------------------------------------- */

static struct pj_timestamptz midnight(struct pj_timestamptz at)
{
    const int64_t day = INT64_C(86400000000);
    int64_t since = at.integer % day;
    return PJ_TIMESTAMPTZ(at.integer - (since < 0 ? since + day : since));
}

/* What one command counts for: the engine adds and takes back the difference when it changes. */
static void derive_command(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct submitted *submitted = PJ_SAID(entity, submitted);
    const struct pj_value *status = &PJ_SAID(entity, last_status)->status.value;
    if (!submitted->platform.present)
        return;
    *PJ_ROW(derivation, activity) = (struct activity){
        .platform = submitted->platform,
        .day = midnight(submitted->at),
        .submitted = PJ_BIGINT(1),
        .succeeded = PJ_BIGINT(pj_text_is(status, "SUCCEEDED")),
        .failed = PJ_BIGINT(pj_text_is(status, "FAILED")),
    };
}

static void derive_platform(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct last_command *command = PJ_FACT(entity, last_command);
    *PJ_ROW(derivation, last) = (struct last){
        .platform = PJ_VIEW(platform_name, pj_entity_name(entity))->platform,
        .command_id = command->command_id,
        .type = command->type,
        .submitted_at = command->submitted_at,
    };
}

/* --- the projection -------------------------------------------------------------------------- */

const struct pj_projection pj_platform_activity = {
    .name = "platform-activity",
    .summary = "keep platform_activity: commands by platform and day, and each platform's last one",
    .version = 1,
    PJ_SOURCES(SAFARI_COMMANDS(observe)),
    PJ_ENTITIES([COMMAND] = {.name = "command", PJ_FACTS_OF(command), .derive = derive_command},
                [PLATFORM] = {.name = "platform",
                              PJ_FACTS_OF(platform),
                              .derive = derive_platform}),
    PJ_TABLES(&activity_table, &last_table),
};

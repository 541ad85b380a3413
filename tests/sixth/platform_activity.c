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

enum { A_PLATFORM, A_DAY, A_SUBMITTED, A_SUCCEEDED, A_FAILED, A_COLUMNS };

static const struct pj_column activity_columns[A_COLUMNS] = {
    [A_PLATFORM] = {"platform", PJ_TEXT, .key = true},
    [A_DAY] = {"day", PJ_TIMESTAMPTZ, .key = true},
    [A_SUBMITTED] = {"submitted", PJ_BIGINT, .measure = PJ_SUM},
    [A_SUCCEEDED] = {"succeeded", PJ_BIGINT, .measure = PJ_SUM},
    [A_FAILED] = {"failed", PJ_BIGINT, .measure = PJ_SUM},
};

static const struct pj_table activity = {
    .name = "platform_activity",
    .kind = PJ_ROLLUP_TABLE,
    .columns = activity_columns,
    .column_count = A_COLUMNS,
    .refresh = "projectionist.refresh_platform_activity",
};

enum { L_PLATFORM, L_COMMAND_ID, L_TYPE, L_SUBMITTED_AT, L_COLUMNS };

static const struct pj_column last_columns[L_COLUMNS] = {
    [L_PLATFORM] = {"platform", PJ_TEXT, .key = true},
    [L_COMMAND_ID] = {"command_id", PJ_UUID},
    [L_TYPE] = {"type", PJ_TEXT},
    [L_SUBMITTED_AT] = {"submitted_at", PJ_TIMESTAMPTZ},
};

static const struct pj_table last_command = {
    .name = "platform_last_command",
    .kind = PJ_ENTITY_TABLE,
    .columns = last_columns,
    .column_count = L_COLUMNS,
};

/* --- facts ----------------------------------------------------------------------------------- */

enum { COMMAND, PLATFORM, ENTITIES };

enum { SUBMITTED, LAST_STATUS, COMMAND_FACTS };
enum { S_PLATFORM, S_AT, S_VALUES };

static const struct pj_fact_kind command_facts[COMMAND_FACTS] = {
    [SUBMITTED] = {"submitted", PJ_LEAST, PJ_FACT_VALUES(PJ_TEXT, PJ_TIMESTAMPTZ)},
    [LAST_STATUS] = {"last status", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT)},
};

enum { LAST_COMMAND, PLATFORM_NAME, PLATFORM_FACTS };
enum { P_COMMAND_ID, P_TYPE, P_SUBMITTED_AT, P_VALUES };

static const struct pj_fact_kind platform_facts[PLATFORM_FACTS] = {
    [LAST_COMMAND] = {"last command", PJ_GREATEST,
                      PJ_FACT_VALUES(PJ_UUID, PJ_TEXT, PJ_TIMESTAMPTZ)},
    [PLATFORM_NAME] = {"platform name", PJ_GREATEST, PJ_FACT_VALUES(PJ_TEXT), .is_name = true},
};

/* --- what an event means --------------------------------------------------------------------- */

static void observe_submitted(const struct pj_value *v, struct pj_observer *observer)
{
    struct pj_order time = safari_time_order(&v[COMMAND_EMITTED_AT], &v[COMMAND_EVENT_ID]);
    const struct pj_value *platform = &v[COMMAND_TARGET_PLATFORM];
    struct pj_value submitted[S_VALUES] = {
        [S_PLATFORM] = *platform,
        [S_AT] = v[COMMAND_EMITTED_AT],
    };
    pj_keep(observer, COMMAND, v[COMMAND_ID].uuid, SUBMITTED, NULL, &time, submitted);
    if (!platform->present)
        return;
    struct pj_value last[P_VALUES] = {
        [P_COMMAND_ID] = v[COMMAND_ID],
        [P_TYPE] = v[COMMAND_TYPE],
        [P_SUBMITTED_AT] = v[COMMAND_EMITTED_AT],
    };
    pj_keep_named(observer, PLATFORM, platform, LAST_COMMAND, NULL, &time, last);
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
    struct pj_value status = pj_text(lifecycle.status);
    pj_keep(observer, COMMAND, v[COMMAND_ID].uuid, LAST_STATUS, NULL, &lifecycle.order, &status);
    return 0;
}

/* --- what follows from the facts ------------------------------------------------------------- */

static struct pj_value midnight(const struct pj_value *at)
{
    const int64_t day = INT64_C(86400000000);
    int64_t since = at->integer % day;
    return pj_timestamp(at->integer - (since < 0 ? since + day : since));
}

/* What one command counts for: the engine adds and takes back the difference when it changes. */
static void derive_command(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_fact *submitted = pj_entity_fact(entity, SUBMITTED, NULL);
    const struct pj_fact *last = pj_entity_fact(entity, LAST_STATUS, NULL);
    if (submitted == NULL || !submitted->values[S_PLATFORM].present)
        return;
    struct pj_value *row = pj_row(derivation, &activity);
    row[A_PLATFORM] = submitted->values[S_PLATFORM];
    row[A_DAY] = midnight(&submitted->values[S_AT]);
    row[A_SUBMITTED] = pj_bigint(1);
    row[A_SUCCEEDED] = pj_bigint(last != NULL && pj_text_is(&last->values[0], "SUCCEEDED"));
    row[A_FAILED] = pj_bigint(last != NULL && pj_text_is(&last->values[0], "FAILED"));
}

static void derive_platform(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    const struct pj_fact *last = pj_entity_fact(entity, LAST_COMMAND, NULL);
    struct pj_value *row = pj_row(derivation, &last_command);
    row[L_PLATFORM] = *pj_entity_name(entity);
    row[L_COMMAND_ID] = last->values[P_COMMAND_ID];
    row[L_TYPE] = last->values[P_TYPE];
    row[L_SUBMITTED_AT] = last->values[P_SUBMITTED_AT];
}

/* --- the projection -------------------------------------------------------------------------- */

static const struct pj_source sources[] = {SAFARI_COMMANDS(observe)};

static const struct pj_entity_kind entities[ENTITIES] = {
    [COMMAND] = {"command", command_facts, COMMAND_FACTS, derive_command},
    [PLATFORM] = {"platform", platform_facts, PLATFORM_FACTS, derive_platform},
};

static const struct pj_table *const tables[] = {&activity, &last_command};

const struct pj_projection pj_platform_activity = {
    .name = "platform-activity",
    .summary = "keep platform_activity: commands by platform and day, and each platform's last one",
    .sources = sources,
    .source_count = 1,
    .entities = entities,
    .entity_count = ENTITIES,
    .tables = tables,
    .table_count = 2,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of a projection by their types: what derive reads, and what the start refuses. */
#include "base/config.h"
#include "engine/settings.h"
#include "projectionist/testing.h"

#include <criterion/criterion.h>

enum { LATE, MOST, MODE, TITLE, STRICT, SETTINGS };
static const struct pj_setting settings[] = {
    [LATE] = {"late", "5m", "When a thing is late."},
    [MOST] = {"most", "3", "How many.", PJ_SETTING_INTEGER, .least = -1, .most = 9},
    [MODE] = {"mode", "warn", "How bad.", PJ_SETTING_TEXT, .words = "off|warn|fail"},
    [TITLE] = {"title", "thing", "What it is called.", PJ_SETTING_TEXT},
    [STRICT] = {"strict", "false", "Whether it matters.", PJ_SETTING_BOOLEAN},
    [SETTINGS] = {0},
};

static const struct pj_field fields[] = {{"id", PJ_UUID, .required = true}};
static const struct pj_column columns[] = {{"id", PJ_UUID, .key = true}, {"late", PJ_BIGINT},
                                           {"most", PJ_BIGINT},          {"mode", PJ_TEXT},
                                           {"title", PJ_TEXT},           {"strict", PJ_BOOL}};
static const struct pj_table things = {.name = "things", .columns = columns, .column_count = 6};
static const struct pj_table *const tables[] = {&things};
static const struct pj_fact_kind facts[] = {{"seen", PJ_GREATEST, NULL, 0}};

static int observe(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error)
{
    static const struct pj_order order;
    (void)error;
    pj_keep(observer, 0, event->values[0].uuid, 0, NULL, &order, NULL);
    return 0;
}

static void derive(const struct pj_entity *entity, struct pj_derivation *derivation)
{
    struct pj_value *row = pj_row(derivation, &things);
    row[0] = pj_uuid(pj_entity_key(entity));
    row[1] = pj_bigint(pj_setting_duration(derivation, LATE));
    row[2] = pj_bigint(pj_setting_integer(derivation, MOST));
    row[3] = pj_text(pj_setting_text(derivation, MODE));
    row[4] = pj_text(pj_setting_text(derivation, TITLE));
    row[5] = pj_bool(pj_setting_boolean(derivation, STRICT));
}

static const char schema[] = "{\"type\":\"record\",\"name\":\"Thing\",\"fields\":["
                             "{\"name\":\"id\",\"type\":\"string\"}]}";
static const struct pj_source sources[] = {
    {.topic = "things", .schema = schema, .fields = fields, .field_count = 1, .observe = observe}};
static const struct pj_entity_kind entities[] = {{"thing", facts, 1, derive}};
static const struct pj_projection keeper = {.name = "keeper",
                                            .summary = "keep things",
                                            .sources = sources,
                                            .source_count = 1,
                                            .entities = entities,
                                            .entity_count = 1,
                                            .tables = tables,
                                            .table_count = 1,
                                            .settings = settings};

/* Reads the command line of a consumer with these settings; the message where it is refused. */
static const char *read_flag(union pj_setting_value values[SETTINGS], struct pj_config *config,
                             char *flag)
{
    static struct pj_error error;
    struct pj_option options[SETTINGS + 1] = {0};
    char program[] = "keeper";
    char *argv[] = {program, flag, NULL};
    for (size_t i = 0; i < SETTINGS; i++)
        options[i] = pj_setting_option(&settings[i], i * sizeof *values);
    return pj_config_read(config, options, values, flag != NULL ? 2 : 1, argv, &error) == 0
               ? NULL
               : error.message;
}

Test(settings_typed, derive_reads_the_fallbacks_and_what_replaces_them)
{
    struct pj_orders orders = pj_orders_of(&keeper);
    pj_orders_event(&orders, 0, 0)[0] = pj_orders_uuid(1);
    cr_assert(pj_orders_expect(&orders, "|late=300000|most=3|mode=warn|title=thing|strict=false"));
    const union pj_setting_value others[SETTINGS] = {
        [LATE] = {.ms = 1},        [MOST] = {.integer = -1},     [MODE] = {.text = "off"},
        [TITLE] = {.text = "cup"}, [STRICT] = {.boolean = true},
    };
    orders.settings = others;
    cr_assert(pj_orders_expect(&orders, "|late=1|most=-1|mode=off|title=cup|strict=true"));
    pj_orders_free(&orders);
}

Test(settings_typed, the_command_line_sets_them)
{
    union pj_setting_value values[SETTINGS];
    struct pj_config config;
    cr_assert_null(read_flag(values, &config, NULL));
    cr_assert(values[LATE].ms == 300000 && values[MOST].integer == 3 && !values[STRICT].boolean);
    cr_assert_str_eq(values[MODE].text, "warn");
    cr_assert_str_eq(values[TITLE].text, "thing");
    pj_config_free(&config);
    char strict[] = "--strict";
    cr_assert_null(read_flag(values, &config, strict));
    cr_assert(values[STRICT].boolean);
    pj_config_free(&config);
}

Test(settings_typed, wrong_values_are_refused_in_a_sentence)
{
    static const struct {
        const char *flag, *message;
    } wrong[] = {
        {"--late=soon", "--late: 'soon' is not a duration such as 250ms, 30s, 5m or 2h"},
        {"--most=many", "--most: 'many' is not a whole number"},
        {"--most=10", "--most: must be between -1 and 9, not 10"},
        {"--mode=loud", "--mode: must be one of off, warn, fail, not 'loud'"},
        {"--title=", "--title: must not be empty; leave it out for the default"},
        {"--strict=perhaps", "--strict: must be true or false, not 'perhaps'"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        union pj_setting_value values[SETTINGS];
        struct pj_config config;
        char flag[64];
        snprintf(flag, sizeof flag, "%s", wrong[i].flag);
        const char *message = read_flag(values, &config, flag);
        cr_assert_not_null(message, "%s is taken", flag);
        cr_assert_str_eq(message, wrong[i].message);
    }
}

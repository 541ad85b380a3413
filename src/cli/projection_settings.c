/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/projection_settings.h"

#include "base/invariant.h"
#include "cli/deployment.h"
#include "engine/settings.h"

#include <string.h>

enum {
    ALL_MOST = sizeof(struct pj_cli_projection_settings) / sizeof(union pj_setting_value),
    OPTIONS_MOST = 96,
};

/* The settings of all projections by name, in the order of their values. */
static size_t list_settings(const struct pj_setting *list[ALL_MOST])
{
    size_t count = 0;
    for (size_t s = 0; pj_cli_systems[s] != NULL; s++) {
        for (size_t p = 0; p < pj_cli_systems[s]->projection_count; p++) {
            const struct pj_setting *setting = pj_cli_systems[s]->projections[p]->settings;
            for (; setting != NULL && setting->name != NULL; setting++) {
                size_t i = 0;
                while (i < count && strcmp(list[i]->name, setting->name) != 0)
                    i++;
                if (i < count) {
                    PJ_CHECK(list[i]->type == setting->type,
                             "two projections have a setting of one name and two types");
                    continue;
                }
                PJ_CHECK(count < ALL_MOST, "the projections have more settings than room for them");
                list[count++] = setting;
            }
        }
    }
    return count;
}

const struct pj_option *pj_cli_options(const struct pj_command *command)
{
    static struct pj_option options[OPTIONS_MOST];
    const struct pj_setting *settings[ALL_MOST];
    size_t count = 0;
    if (command->projection_settings == 0)
        return command->options;
    for (; command->options[count].name != NULL; count++)
        options[count] = command->options[count];
    size_t own = list_settings(settings);
    PJ_CHECK(count + own < OPTIONS_MOST, "a command has more options than room for them");
    for (size_t i = 0; i < own; i++)
        options[count++] = pj_setting_option(settings[i], command->projection_settings +
                                                              i * sizeof(union pj_setting_value));
    options[count] = (struct pj_option){0};
    return options;
}

void pj_cli_take_settings(const struct pj_cli_projection_settings *all,
                          const struct pj_projection *projection,
                          union pj_setting_value values[PJ_SETTINGS_MOST])
{
    const struct pj_setting *settings[ALL_MOST];
    const struct pj_setting *setting = projection->settings;
    size_t count = list_settings(settings);
    for (size_t s = 0; setting != NULL && setting[s].name != NULL; s++) {
        for (size_t i = 0; i < count; i++) {
            if (strcmp(settings[i]->name, setting[s].name) == 0)
                values[s] = all->values[i];
        }
    }
}

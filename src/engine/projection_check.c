/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/projection_check.h"

#include "avro/decode.h"
#include "engine/settings.h"
#include "fold/declaration_internal.h"

#include <string.h>

/* Its fields against its own schema. */
static int check_schema(const struct pj_source *source, struct pj_error *error)
{
    struct pj_decoder *decoder;
    struct pj_error cause;
    if (pj_decoder_new(&decoder, source, &cause) != 0)
        return PJ_WRONG(error, "the source %s: %s", source->topic, cause.message);
    pj_decoder_free(decoder);
    return 0;
}

/* --- settings -------------------------------------------------------------------------------- */

static bool is_taken(const struct pj_projection *projection, size_t index)
{
    static const char *const others[] = {"help", "version", "config"};
    const char *name = projection->settings[index].name;
    for (size_t s = 0; s < index; s++) {
        if (strcmp(projection->settings[s].name, name) == 0)
            return true;
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(others[i], name) == 0)
            return true;
    }
    for (size_t i = 0; pj_consumer_options[i].name != NULL; i++) {
        if (strcmp(pj_consumer_options[i].name, name) == 0)
            return true;
    }
    return false;
}

static int check_setting(const struct pj_projection *projection, size_t index,
                         struct pj_error *error)
{
    const struct pj_setting *setting = &projection->settings[index];
    if (!pj_declaration_is_word(setting->name, pj_declaration_program_name) ||
        strlen(setting->name) > PJ_SQL_NAME_MOST)
        return PJ_WRONG(error,
                        "a setting of %s has the name \"%.100s\", and must be of small letters, "
                        "digits and dashes, at most %d",
                        projection->name, setting->name, PJ_SQL_NAME_MOST);
    if (is_taken(projection, index))
        return PJ_WRONG(error, "the name of the setting %s of %s is taken; rename it",
                        setting->name, projection->name);
    if (setting->fallback == NULL || setting->help == NULL)
        return PJ_WRONG(error, "the setting %s of %s lacks its %s", setting->name, projection->name,
                        setting->fallback == NULL ? "fallback" : "help");
    if ((unsigned)setting->type > PJ_SETTING_BOOLEAN)
        return PJ_WRONG(error,
                        "the setting %s of %s is of an unknown type; see enum pj_setting_type",
                        setting->name, projection->name);
    if (setting->type != PJ_SETTING_INTEGER && (setting->least != 0 || setting->most != 0))
        return PJ_WRONG(error, "the setting %s of %s has bounds, which only an integer can have",
                        setting->name, projection->name);
    if (setting->type != PJ_SETTING_TEXT && setting->words != NULL)
        return PJ_WRONG(error, "the setting %s of %s has words, which only a text can have",
                        setting->name, projection->name);
    if (setting->least > setting->most)
        return PJ_WRONG(error, "the setting %s of %s has bounds between which nothing lies",
                        setting->name, projection->name);
    return 0;
}

static int check_settings(const struct pj_projection *projection, struct pj_error *error)
{
    size_t count = 0;
    while (projection->settings != NULL && projection->settings[count].name != NULL &&
           count <= PJ_SETTINGS_MOST)
        count++;
    if (count > PJ_SETTINGS_MOST)
        return PJ_WRONG(error, "%s has more than %d settings; or an empty one does not end them",
                        projection->name, PJ_SETTINGS_MOST);
    for (size_t s = 0; s < count; s++) {
        if (check_setting(projection, s, error) != 0)
            return -1;
    }
    union pj_setting_value values[PJ_SETTINGS_MOST];
    struct pj_error cause;
    struct pj_arena *arena = pj_arena_new();
    int status = pj_setting_fallbacks(projection->settings, values, arena, &cause);
    pj_arena_free(arena);
    return status == 0 ? 0
                       : PJ_WRONG(error, "the fallback of a setting of %s is wrong: %s",
                                  projection->name, cause.message);
}

int pj_projection_check(const struct pj_projection *projection, struct pj_error *error)
{
    if (pj_declaration_check(projection, error) != 0)
        return -1;
    for (size_t s = 0; s < projection->source_count; s++) {
        if (check_schema(&projection->sources[s], error) != 0)
            return -1;
    }
    return check_settings(projection, error);
}

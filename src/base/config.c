/* SPDX-License-Identifier: Apache-2.0 */
/* Where settings come from, and which source wins. */
#include "base/config_internal.h"
#include "base/memory.h"
#include "base/secret.h"
#include "base/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct pj_option *find_option(const struct pj_option *options, const char *name)
{
    for (; options->name != NULL; options++) {
        if (strcmp(options->name, name) == 0)
            return options;
    }
    return NULL;
}

const char *pj_properties_get(const struct pj_properties *properties, const char *key)
{
    for (size_t i = 0; i < properties->count; i++) {
        if (strcmp(properties->items[i].key, key) == 0)
            return properties->items[i].value;
    }
    return NULL;
}

static void set_property(struct pj_arena *arena, struct pj_properties *properties, const char *key,
                         const char *value)
{
    char *copy = pj_arena_string(arena, value, strlen(value));
    if (pj_config_key_is_secret(key))
        pj_secret_keep(value);
    else
        pj_secret_keep_url(value);
    for (size_t i = 0; i < properties->count; i++) {
        if (strcmp(properties->items[i].key, key) == 0) {
            properties->items[i].value = copy;
            return;
        }
    }
    struct pj_property *items = pj_arena_alloc(arena, (properties->count + 1) * sizeof *items);
    if (properties->count > 0)
        memcpy(items, properties->items, properties->count * sizeof *items);
    items[properties->count].key = pj_arena_string(arena, key, strlen(key));
    items[properties->count].value = copy;
    properties->items = items;
    properties->count++;
}

struct pj_properties *pj_config_properties(struct pj_config *config, const char *name,
                                           const char **key)
{
    bool kafka = pj_text_begins(name, "kafka.");
    if (!kafka && !pj_text_begins(name, "postgres."))
        return NULL;
    *key = strchr(name, '.') + 1;
    return kafka ? &config->kafka : &config->postgres;
}

int pj_config_unknown(const struct pj_config_reading *reading, const char *source, const char *what,
                      const char *name, const char *dashes, struct pj_error *error)
{
    static const char *const others[] = {
        "config",  "kafka.bootstrap.servers", "help", "kafka.client.id",
        "version", "postgres.dbname",         NULL};
    const char *suggestion = pj_config_suggestion(reading->options, others, name);
    if (suggestion != NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "%.300s: unknown %s; did you mean %s%s?",
                              source, what, dashes, suggestion);
    return pj_error_fatal(error, PJ_EXIT_USAGE, "%.300s: unknown %s; see --help", source, what);
}

int pj_config_pass(struct pj_config_reading *reading, const char *source, const char *name,
                   const char *value, const char *dashes, struct pj_error *error)
{
    char dashed[PJ_CONFIG_NAME_MOST];
    const char *key = NULL;
    struct pj_properties *properties = pj_config_properties(reading->config, name, &key);
    /* Anything longer is not an option. */
    bool fits = pj_text_fits(dashed, sizeof dashed, "%s", name);
    for (char *c = dashed; *c != '\0'; c++)
        *c = *c == '.' ? '-' : *c;
    if (fits && find_option(reading->options, dashed) != NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "%.300s: '%s%s' is spelt %s%s", source, dashes,
                              name, dashes, dashed);
    set_property(reading->arena, properties, key, value);
    return 0;
}

/* --- the file -------------------------------------------------------------------------------- */

static int apply_line(void *context, const struct pj_config_line *line, struct pj_error *error)
{
    struct pj_config_reading *reading = context;
    const struct pj_option *option = find_option(reading->options, line->name);
    const char *key;
    if (option != NULL) {
        const char *source = pj_arena_printf(reading->arena, "%s: %s", line->source, line->name);
        return pj_config_store(option, reading->settings, source, line->value, reading->arena,
                               error);
    }
    if (pj_config_properties(reading->config, line->name, &key) != NULL && *key != '\0')
        return pj_config_pass(reading, line->source, line->name, line->value, "", error);
    const char *what = pj_arena_printf(reading->arena, "name '%.100s'", line->name);
    return pj_config_unknown(reading, line->source, what, line->name, "", error);
}

/* --- the environment ------------------------------------------------------------------------- */

/* What a variable sets: an option, or the pass-through key in `name`. */
struct target {
    const struct pj_option *option;
    char name[PJ_CONFIG_NAME_MOST];
};

/* `variable` is without PROJECTIONIST_. The table comes first: a name in it is not a key. */
static bool find_target(const struct pj_option *options, const char *variable,
                        struct target *target)
{
    static const char *const prefixes[] = {"kafka.", "postgres."};
    char full[PJ_CONFIG_NAME_MOST];
    char known[PJ_CONFIG_NAME_MOST];
    if (!pj_text_fits(full, sizeof full, PJ_CONFIG_PREFIX "%s", variable))
        return false; /* no name is that long */
    for (target->option = options; target->option->name != NULL; target->option++) {
        pj_config_variable(target->option->name, known);
        if (strcmp(known, full) == 0)
            return true;
    }
    target->option = NULL;
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        size_t length = strlen(prefixes[i]);
        if (strncasecmp(variable, prefixes[i], length - 1) != 0 || variable[length - 1] != '_' ||
            variable[length] == '\0')
            continue;
        if (!pj_text_fits(target->name, sizeof target->name, "%s%s", prefixes[i],
                          variable + length))
            return false;
        for (char *c = target->name + length; *c != '\0'; c++)
            *c = i == 0 && *c == '_' ? '.' : (char)tolower((unsigned char)*c);
        /* Options of the other programs; libpq has no such key. */
        return strcmp(target->name, "postgres.dsn") != 0;
    }
    return false;
}

static int apply_value(struct pj_config_reading *reading, const struct target *target,
                       const char *source, const char *value, struct pj_error *error)
{
    const char *key = NULL;
    if (target->option != NULL)
        return pj_config_store(target->option, reading->settings, source, value, reading->arena,
                               error);
    struct pj_properties *properties = pj_config_properties(reading->config, target->name, &key);
    set_property(reading->arena, properties, key, value);
    return 0;
}

/* Of the configuration that was read last. */
static const struct pj_config_file *last_files;

/* Where the last applied value came from, for pj_config_fresh. */
static void remember_file(struct pj_config_reading *reading, const struct target *target,
                          const char *path)
{
    struct pj_config *config = reading->config;
    const char *key = NULL;
    const char *value = NULL;
    const struct pj_properties *properties =
        target->option == NULL ? pj_config_properties(config, target->name, &key) : NULL;
    if (properties != NULL)
        value = pj_properties_get(properties, key);
    else if (target->option != NULL &&
             (target->option->kind == PJ_OPTION_STRING || target->option->kind == PJ_OPTION_SECRET))
        memcpy(&value, (const char *)reading->settings + target->option->offset, sizeof value);
    if (value == NULL)
        return;
    const struct pj_config_file file = {value, pj_arena_string(reading->arena, path, strlen(path)),
                                        config->postgres.files};
    config->postgres.files = pj_arena_copy(reading->arena, &file, sizeof file);
    last_files = config->kafka.files = config->postgres.files;
}

char *pj_config_fresh(const struct pj_config_file *files, const char *value)
{
    if (files == NULL)
        files = last_files;
    while (files != NULL && files->value != value)
        files = files->next;
    if (files == NULL)
        return NULL;
    char *content;
    struct pj_error ignored; /* the old value stays in use */
    struct pj_arena *arena = pj_arena_new();
    char *fresh = NULL;
    if (pj_config_read_value(files->path, files->path, arena, &content, &ignored) == 0) {
        fresh = pj_strdup(content);
        /* The name of a user may be shown. A secret of less than 4 bytes was not registered. */
        if (strlen(value) < 4 || pj_secret_is_in(value))
            pj_secret_keep(content);
        pj_secret_keep_url(content);
    }
    pj_arena_free(arena);
    return fresh;
}

/* As config_values.c refuses others at the start. */
static bool is_token(const char *text)
{
    const char *end = text;
    while (*end > ' ' && *end < 0x7f)
        end++;
    return end > text && *end == '\0';
}

char *pj_config_token(const char *value)
{
    char *fresh = pj_config_fresh(NULL, value);
    if (fresh != NULL && is_token(fresh))
        return fresh;
    free(fresh);
    return pj_strdup(value);
}

/* NAME_FILE: the value is the file's content. */
static int apply_file_variable(struct pj_config_reading *reading, const struct target *target,
                               const char *variable, const char *path, struct pj_error *error)
{
    char *content;
    char *direct = pj_arena_string(reading->arena, variable, strlen(variable) - strlen("_FILE"));
    const char *other = getenv(direct);
    if (other != NULL && *other != '\0')
        return pj_error_fatal(error, PJ_EXIT_USAGE, "%s: %s is set too; set one of the two",
                              variable, direct);
    if (pj_config_read_value(variable, path, reading->arena, &content, error) != 0)
        return -1;
    const char *source = pj_arena_printf(reading->arena, "%s (%s)", variable, path);
    if (apply_value(reading, target, source, content, error) != 0)
        return -1;
    remember_file(reading, target, path);
    return 0;
}

/*
 * A name that looks like a typo of a known one is an error; any other may belong to another tool.
 */
static int unknown_variable(struct pj_config_reading *reading, const char *variable,
                            struct pj_error *error)
{
    char name[PJ_CONFIG_NAME_MOST];
    char meant[PJ_CONFIG_NAME_MOST];
    if (!pj_text_fits(name, sizeof name, "%s", variable + strlen(PJ_CONFIG_PREFIX)))
        return 0; /* resembles no name of ours */
    const char *end = "";
    const char *suggestion = pj_config_suggestion(reading->options, pj_config_names, name);
    char *file = strlen(name) > 5 ? name + strlen(name) - 5 : name;
    if (suggestion == NULL && strcmp(file, "_FILE") == 0) {
        *file = '\0';
        end = "_FILE";
        suggestion = pj_config_suggestion(reading->options, pj_config_names, name);
    }
    if (suggestion != NULL) {
        pj_config_variable(suggestion, meant);
        return pj_error_fatal(error, PJ_EXIT_USAGE, "%s: unknown variable; did you mean %s%s?",
                              variable, meant, end);
    }
    const char *before = reading->config->unknown;
    reading->config->unknown = pj_arena_printf(reading->arena, "%s%s%s", before ? before : "",
                                               before ? " " : "", variable);
    return 0;
}

static int apply_variable(struct pj_config_reading *reading, const char *assignment,
                          struct pj_error *error)
{
    static const char end[] = "_FILE";
    struct target target;
    size_t length = strcspn(assignment, "=");
    const char *value = assignment + length + (assignment[length] == '=');
    if (*value == '\0')
        return 0; /* empty is how compose files and manifests say "not set" */
    if (length >= PJ_CONFIG_NAME_MOST)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "%.*s...: unknown variable; see --help",
                              PJ_CONFIG_NAME_MOST / 2, assignment);
    char *variable = pj_arena_string(reading->arena, assignment, length);
    char *name = variable + strlen(PJ_CONFIG_PREFIX);
    size_t name_length = strlen(name);
    const bool names_file =
        name_length > sizeof end - 1 && strcmp(name + name_length - (sizeof end - 1), end) == 0;
    if (strcmp(name, "CONFIG_FILE") == 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "%s: the variable that names the settings file is " PJ_CONFIG_PREFIX
                              "CONFIG",
                              variable);
    if (pj_config_is_service_link(name, value))
        return 0;
    if (find_target(reading->options, name, &target) && (target.option != NULL || !names_file))
        return apply_value(reading, &target, variable, value, error);
    bool is_own_file = false;
    if (names_file) {
        name[name_length - (sizeof end - 1)] = '\0';
        is_own_file = find_target(reading->options, name, &target);
        name[name_length - (sizeof end - 1)] = '_';
    }
    if (is_own_file)
        return apply_file_variable(reading, &target, variable, value, error);
    return pj_config_is_others(name) ? 0 : unknown_variable(reading, variable, error);
}

static int apply_environment(struct pj_config_reading *reading, struct pj_error *error)
{
    for (char **variable = environ; variable != NULL && *variable != NULL; variable++) {
        if (strncmp(*variable, PJ_CONFIG_PREFIX, strlen(PJ_CONFIG_PREFIX)) == 0 &&
            apply_variable(reading, *variable, error) != 0)
            return -1;
    }
    return 0;
}

/* --- all of it ------------------------------------------------------------------------------- */

static int apply_defaults(struct pj_config_reading *reading, struct pj_error *error)
{
    for (const struct pj_option *option = reading->options; option->name != NULL; option++) {
        char source[PJ_CONFIG_NAME_MOST];
        pj_text_show(source, sizeof source, "default of --%s", option->name);
        if (option->fallback != NULL &&
            pj_config_store(option, reading->settings, source, option->fallback, reading->arena,
                            error) != 0)
            return -1;
    }
    return 0;
}

static int read_all(struct pj_config_reading *reading, int argc, char **argv,
                    struct pj_error *error)
{
    if (pj_config_read_flags(reading, argc, argv, error) != 0 ||
        apply_defaults(reading, error) != 0)
        return -1;
    if (reading->config->help || reading->config->version)
        return 0;
    if (reading->path == NULL) {
        reading->path = getenv(PJ_CONFIG_PREFIX "CONFIG");
        if (reading->path != NULL && *reading->path == '\0')
            reading->path = NULL;
    }
    if (reading->path != NULL &&
        pj_config_read_file(reading->path, apply_line, reading, reading->arena, error) != 0)
        return -1;
    if (apply_environment(reading, error) != 0)
        return -1;
    return pj_config_apply_flags(reading, error);
}

int pj_config_read(struct pj_config *config, const struct pj_option *options, void *settings,
                   int argc, char **argv, struct pj_error *error)
{
    struct pj_config_reading reading = {
        .config = config, .options = options, .settings = settings, .arena = pj_arena_new()};
    memset(config, 0, sizeof *config);
    config->owned = reading.arena;
    if (read_all(&reading, argc, argv, error) == 0)
        return 0;
    pj_config_free(config);
    return -1;
}

void pj_config_free(struct pj_config *config)
{
    if (last_files == config->kafka.files)
        last_files = NULL;
    pj_arena_free(config->owned);
    memset(config, 0, sizeof *config);
}

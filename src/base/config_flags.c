/* SPDX-License-Identifier: Apache-2.0 */
/* Flags, by getopt_long. */
#include "base/config_internal.h"
#include "base/text.h"

#include <getopt.h>
#include <string.h>

/*
 * What getopt_long returns for a long flag: one of these, the last plus the index in the options.
 */
enum { FLAG_HELP = 1000, FLAG_VERSION, FLAG_CONFIG, FLAG_OPTION };

static int secret_on_command_line(const char *source, const char *name, struct pj_error *error)
{
    char variable[PJ_CONFIG_NAME_MOST];
    pj_config_variable(name, variable);
    return pj_error_fatal(
        error, PJ_EXIT_USAGE,
        "%s: a secret on a command line can be seen by others; set %s, or %s_FILE "
        "to the name of a file that holds it",
        source, variable, variable);
}

static int dsn_on_command_line(const char *source, const char *name, struct pj_error *error)
{
    char variable[PJ_CONFIG_NAME_MOST];
    pj_config_variable(name, variable);
    return pj_error_fatal(
        error, PJ_EXIT_USAGE,
        "%s: a password on a command line can be seen by others; leave it out and "
        "set PGPASSFILE, or give the whole value as %s or in a file named by %s_FILE",
        source, variable, variable);
}

/* What must not be on a command line. */
static int check_secrecy(const struct pj_config_given *given, struct pj_error *error)
{
    if (given->option != NULL) {
        if (given->option->kind == PJ_OPTION_SECRET)
            return secret_on_command_line(given->source, given->option->name, error);
        if (pj_text_ends(given->option->name, "-dsn") && pj_config_holds_password(given->value))
            return dsn_on_command_line(given->source, given->option->name, error);
    } else if (pj_config_key_is_secret(given->key)) {
        return secret_on_command_line(given->source, given->key, error);
    } else if (strcmp(given->key, "postgres.dbname") == 0 &&
               pj_config_holds_password(given->value)) {
        return dsn_on_command_line(given->source, "postgres-dsn", error);
    }
    return 0;
}

/* --kafka.KEY=VALUE is in no table: taken out before getopt_long sees the rest. */
static int take_pass_through(struct pj_config_reading *reading, int argc, char **argv, char **rest,
                             int *rest_count, struct pj_error *error)
{
    int status = 0;
    bool flags = true;
    int count = 0;
    for (int i = 0; i < argc; i++) {
        const char *key;
        flags = flags && strcmp(argv[i], "--") != 0;
        if (i == 0 || !flags || strncmp(argv[i], "--", 2) != 0 ||
            pj_config_properties(reading->config, argv[i] + 2, &key) == NULL) {
            rest[count++] = argv[i];
            continue;
        }
        size_t length = strcspn(argv[i], "=");
        char *source = pj_arena_string(reading->arena, argv[i], length);
        if (status == 0 && (argv[i][length] == '\0' || source + 2 + length == key))
            status = pj_error_fatal(error, PJ_EXIT_USAGE,
                                    "%.100s: write the value into the same word: %.100s=VALUE",
                                    source, source);
        reading->given[reading->given_count++] =
            (struct pj_config_given){.source = source,
                                     .key = source + 2,
                                     .value = argv[i] + length + (argv[i][length] == '=')};
    }
    rest[count] = NULL;
    *rest_count = count;
    return status;
}

/* The getopt_long tables, in the arena. */
static struct option *long_flags(const struct pj_config_reading *reading, char **short_flags)
{
    size_t count = 0;
    while (reading->options[count].name != NULL)
        count++;
    struct option *flags = pj_arena_alloc(reading->arena, (count + 4) * sizeof *flags);
    char *letters = pj_arena_alloc(reading->arena, 2 * count + 8);
    *short_flags = letters;
    *letters++ = ':'; /* so that a missing value is not an unknown flag */
    *letters++ = 'h';
    for (size_t i = 0; i < count; i++) {
        const struct pj_option *option = &reading->options[i];
        const bool has_value = option->kind != PJ_OPTION_BOOL;
        flags[i] = (struct option){.name = option->name,
                                   .has_arg = has_value ? required_argument : optional_argument,
                                   .val = FLAG_OPTION + (int)i};
        if (option->letter != 0) {
            *letters++ = option->letter;
            if (has_value)
                *letters++ = ':';
        }
    }
    flags[count] = (struct option){.name = "help", .has_arg = no_argument, .val = FLAG_HELP};
    flags[count + 1] =
        (struct option){.name = "version", .has_arg = no_argument, .val = FLAG_VERSION};
    flags[count + 2] =
        (struct option){.name = "config", .has_arg = required_argument, .val = FLAG_CONFIG};
    return flags;
}

static const struct pj_option *option_of(const struct pj_option *options, int flag)
{
    if (flag >= FLAG_OPTION)
        return &options[flag - FLAG_OPTION];
    for (; options->name != NULL; options++) {
        if (options->letter != 0 && options->letter == flag)
            return options;
    }
    return NULL;
}

/* What getopt_long refused; `word` is the one it is at. */
static int flag_error(const struct pj_config_reading *reading, bool missing, const char *word,
                      struct pj_error *error)
{
    char source[PJ_CONFIG_NAME_MOST] = "";
    if (optopt != 0 && optopt < FLAG_HELP) {
        if (optopt > ' ' && optopt < 0x7f)
            pj_text_show(source, sizeof source, "-%c", optopt);
        else
            pj_text_show(source, sizeof source, "-(byte 0x%02x)", optopt & 0xff);
        if (!missing)
            return pj_config_unknown(reading, source, "option", "", "--", error);
    } else {
        pj_text_show(source, sizeof source, "%.*s", (int)strcspn(word, "="), word);
        if (!missing && optopt != 0)
            return pj_error_fatal(error, PJ_EXIT_USAGE, "%s: takes no value", source);
        if (!missing)
            return pj_config_unknown(reading, source, "option", source + strspn(source, "-"), "--",
                                     error);
    }
    return pj_error_fatal(error, PJ_EXIT_USAGE, "%s: needs a value", source);
}

/* The long flag as typed, without its value. */
static const char *typed_flag(struct pj_arena *arena, char **words)
{
    const char *word = optarg == words[optind - 1] ? words[optind - 2] : words[optind - 1];
    return pj_arena_string(arena, word, strcspn(word, "="));
}

static void give(struct pj_config_reading *reading, const struct pj_option *option,
                 const char *source)
{
    reading->given[reading->given_count++] = (struct pj_config_given){
        .option = option,
        .source = source,
        .value = optarg != NULL ? optarg : "true",
    };
}

int pj_config_read_flags(struct pj_config_reading *reading, int argc, char **argv,
                         struct pj_error *error)
{
    struct pj_config *config = reading->config;
    struct pj_error ignored;
    char **words = pj_arena_alloc(reading->arena, ((size_t)argc + 2) * sizeof *words);
    char *letters;
    int word_count;
    reading->given =
        pj_arena_alloc(reading->arena, ((size_t)argc + 1) * 2 * sizeof(struct pj_config_given));
    int status = take_pass_through(reading, argc, argv, words, &word_count, error);
    struct option *flags = long_flags(reading, &letters);
    opterr = 0;
    optind = 0; /* glibc: start over */
    for (;;) {
        int index = -1;
        int flag = getopt_long(word_count, words, letters, flags, &index);
        const char *source = NULL;
        struct pj_error *to = status == 0 ? error : &ignored; /* the first one is reported */
        if (flag == -1)
            break;
        if (flag == '?' || flag == ':') {
            status = flag_error(reading, flag == ':', words[optind - 1], to);
            continue;
        }
        if (index >= 0) {
            source = typed_flag(reading->arena, words);
            /* No abbreviations: they would change their meaning when an option is added. */
            if (strcmp(source + 2, flags[index].name) != 0) {
                status = pj_error_fatal(to, PJ_EXIT_USAGE, "%s: unknown option; did you mean --%s?",
                                        source, flags[index].name);
                continue;
            }
        }
        if (flag == FLAG_HELP || flag == 'h')
            config->help = true;
        else if (flag == FLAG_VERSION)
            config->version = true;
        else if (flag == FLAG_CONFIG)
            reading->path = optarg;
        else
            give(reading, option_of(reading->options, flag),
                 source != NULL ? source : pj_arena_printf(reading->arena, "-%c", flag));
    }
    config->operands = words + optind;
    config->operand_count = word_count - optind;
    return config->help || config->version ? 0 : status;
}

int pj_config_apply_flags(struct pj_config_reading *reading, struct pj_error *error)
{
    for (size_t i = 0; i < reading->given_count; i++) {
        const struct pj_config_given *given = &reading->given[i];
        if (check_secrecy(given, error) != 0)
            return -1;
        int status =
            given->option == NULL
                ? pj_config_pass(reading, given->source, given->key, given->value, "--", error)
                : pj_config_store(given->option, reading->settings, given->source, given->value,
                                  reading->arena, error);
        if (status != 0)
            return -1;
    }
    return 0;
}

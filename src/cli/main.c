/* SPDX-License-Identifier: Apache-2.0 */
/* The projectionist command: finds the subcommand, reads its options, prints its error. */
#include "base/process.h"
#include "base/text.h"
#include "base/tls_files.h"
#include "cli/deployment.h"
#include "engine/system_check.h"
#include "projectionist/consumer.h"

#include <string.h>

/* The command that argv begins with; *words is how many of argv its name takes. */
static const struct pj_command *find_command(int argc, char **argv, int *words)
{
    for (size_t i = 0; i < pj_command_count; i++) {
        const char *name = pj_commands[i]->name;
        size_t first = strcspn(name, " ");
        if (strlen(argv[0]) != first || strncmp(argv[0], name, first) != 0)
            continue;
        if (name[first] == '\0' || (argc > 1 && strcmp(argv[1], name + first + 1) == 0)) {
            *words = name[first] == '\0' ? 1 : 2;
            return pj_commands[i];
        }
    }
    return NULL;
}

static int unknown_command(int argc, char **argv)
{
    char typed[128];
    const bool two = argc > 1 && argv[1][0] != '-';
    pj_text_show(typed, sizeof typed, "%s%s%s", argv[0], two ? " " : "", two ? argv[1] : "");
    const char *suggestion = pj_help_suggestion(typed);
    if (suggestion == NULL)
        suggestion = pj_help_suggestion(argv[0]);
    fprintf(stderr, "%s: there is no command '%s'", pj_program(), typed);
    if (suggestion != NULL)
        fprintf(stderr, "; did you mean '%s'?\n", suggestion);
    else
        fprintf(stderr, "; '%s help' lists them\n", pj_program());
    return PJ_EXIT_USAGE;
}

static int help(int argc, char **argv)
{
    int words;
    if (argc == 0) {
        pj_help_overview(stdout);
        return PJ_EXIT_OK;
    }
    const struct pj_command *command = find_command(argc, argv, &words);
    if (command != NULL) {
        pj_help_command(stdout, command);
        return PJ_EXIT_OK;
    }
    if (argc == 1 && pj_help_family(stdout, argv[0]))
        return PJ_EXIT_OK;
    return unknown_command(argc, argv);
}

/* What a one-shot command cannot wait for is "unavailable". */
static int exit_code(const struct pj_error *error)
{
    return error->class == PJ_RETRY && error->exit_code == 0 ? PJ_EXIT_UNAVAILABLE
                                                             : pj_error_exit_code(error);
}

/* Of a program with one system that is not ours: its author's version, as its consumers have. */
static void print_version(void)
{
    const struct pj_system *system = pj_cli_systems[0];
    if (strcmp(pj_program(), "projectionist") != 0 && system != NULL && pj_cli_systems[1] == NULL &&
        system->version != NULL)
        printf("%s %s (projectionist " PJ_VERSION ")\n", pj_program(), system->version);
    else
        printf("%s " PJ_VERSION "\n", pj_program());
}

static int run(const struct pj_command *command, int argc, char **argv)
{
    struct pj_error error = {.class = PJ_FATAL};
    struct pj_config config = {0};
    struct pj_cli cli = {.config = &config, .arena = pj_arena_new()};
    void *settings = pj_arena_alloc(cli.arena, command->settings_size);
    const struct pj_option *options = pj_cli_options(command);
    int status = pj_config_read(&config, options, settings, argc, argv, &error);
    bool is_read = status == 0;
    cli.servers = settings;
    if (is_read && config.help) {
        pj_help_command(stdout, command);
    } else if (is_read && config.version) {
        print_version();
    } else if (is_read && config.operand_count > 0 && command->operands == NULL) {
        status = pj_error_fatal(&error, PJ_EXIT_USAGE,
                                "'%s' is not expected; 'projectionist %s --help' says what is",
                                config.operands[0], command->name);
    } else if (is_read) {
        status = pj_cli_systems_configure(settings, &error) == 0 &&
                         pj_tls_check_options(options, settings, &error) == 0
                     ? command->run(&cli, settings, &error)
                     : -1;
    }
    if (status < 0) {
        fflush(stdout);
        fprintf(stderr, "%s %s: %s\n", pj_program(), command->name, error.message);
        status = exit_code(&error);
    }
    pj_cli_close(&cli);
    if (is_read)
        pj_config_free(&config);
    return status;
}

static int dispatch(int argc, char **argv)
{
    int words;
    if (argc == 0) {
        pj_help_overview(stderr);
        return PJ_EXIT_USAGE;
    }
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0 ||
        strcmp(argv[0], "help") == 0)
        return help(argc - 1, argv + 1);
    if (strcmp(argv[0], "--version") == 0) {
        print_version();
        return PJ_EXIT_OK;
    }
    if (argv[0][0] == '-') {
        fprintf(stderr, "%s: the command comes first, then '%s'; '%s help' lists the commands\n",
                pj_program(), argv[0], pj_program());
        return PJ_EXIT_USAGE;
    }
    const struct pj_command *command = find_command(argc, argv, &words);
    if (command != NULL && command->main != NULL)
        return command->main(argc - words, argv + words);
    if (command != NULL)
        return run(command, argc - words + 1, argv + words - 1);
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return help(1, argv);
    if (argc == 1 && pj_help_family(stderr, argv[0]))
        return PJ_EXIT_USAGE;
    return unknown_command(argc, argv);
}

int pj_system_main(const struct pj_system *const *systems, int argc, char **argv)
{
    struct pj_error error;
    pj_process_open_standard_files();
    pj_process_keep_secrets();
    pj_program_set();
    for (size_t i = 0; systems[i] != NULL; i++) {
        if (pj_system_check(systems[i], &error) != 0) {
            fprintf(stderr, "%s: %s\n", pj_program(), error.message);
            return pj_error_exit_code(&error);
        }
    }
    pj_cli_systems_set(systems);
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = slash != NULL ? slash + 1 : argc > 0 ? argv[0] : "";
    const struct pj_cli_projection *consumer = pj_cli_projection_find(name);
    int status = consumer != NULL
                     ? pj_consumer_main(consumer->system, consumer->projection, argc, argv)
                     : dispatch(argc > 0 ? argc - 1 : 0, argv + 1);
    pj_cli_systems_free();
    return pj_process_end_output(pj_program(), status);
}

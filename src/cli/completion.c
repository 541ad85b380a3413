/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist completion: a script for bash, made from the same tables as the help. */
#include "base/text.h"
#include "cli/deployment.h"

#include <string.h>

static void print_projections(void)
{
    for (size_t i = 0; i < pj_cli_projection_count; i++)
        printf(" %s", pj_cli_projections[i].projection->name);
}

static void print_systems(void)
{
    for (size_t i = 0; pj_cli_systems[i] != NULL; i++)
        printf(" %s", pj_cli_systems[i]->name);
}

/* The first words of all names, or what follows `family` in those that begin with it. */
static void print_words(const char *family)
{
    size_t length = strlen(family);
    const char *last = "";
    size_t last_length = 0;
    for (size_t i = 0; i < pj_command_count; i++) {
        const char *name = pj_commands[i]->name;
        if (length > 0 && (strncmp(name, family, length) != 0 || name[length] != ' '))
            continue;
        const char *word = length > 0 ? name + length + 1 : name;
        size_t word_length = strcspn(word, " ");
        if (word_length == last_length && strncmp(word, last, last_length) == 0)
            continue; /* a family's commands are neighbours */
        printf(" %.*s", (int)word_length, word);
        last = word;
        last_length = word_length;
    }
}

static void print_families(void)
{
    const char *last = "";
    for (size_t i = 0; i < pj_command_count; i++) {
        const char *name = pj_commands[i]->name;
        size_t length = strcspn(name, " ");
        if (name[length] == '\0' || strncmp(name, last, length + 1) == 0)
            continue;
        char family[64];
        pj_text_whole(family, sizeof family, "%.*s", (int)length, name);
        printf("    %s | 'help %s') offered='", family, family);
        print_words(family);
        puts("' ;;");
        last = name;
    }
}

static void print_flags(const struct pj_command *command)
{
    for (const struct pj_option *option = pj_cli_options(command); option->name != NULL; option++) {
        if (option->kind != PJ_OPTION_SECRET)
            printf(" --%s", option->name);
    }
    fputs(" --config --help --version", stdout);
}

/* What may follow the flags that take a value. */
static void print_values(const struct pj_command *command)
{
    for (const struct pj_option *option = pj_cli_options(command); option->name != NULL; option++) {
        if (option->kind == PJ_OPTION_BOOL || option->kind == PJ_OPTION_SECRET)
            continue;
        fputs("        ", stdout);
        if (option->letter != 0)
            printf("-%c | ", option->letter);
        printf("--%s) offered='", option->name);
        for (const char *c = option->choices != NULL ? option->choices : ""; *c != '\0'; c++)
            putchar(*c == '|' ? ' ' : *c);
        if (strcmp(option->name, "projection") == 0)
            print_projections();
        if (strcmp(option->name, "systems") == 0)
            print_systems();
        puts("' ;;");
    }
}

static void print_command(const struct pj_command *command)
{
    const char *operands = command->operands != NULL ? command->operands : "";
    printf("    '%s' | '%s '*)\n        offered='", command->name, command->name);
    print_flags(command);
    if (strstr(operands, "PROJECTION") != NULL || strstr(operands, "CONSUMER") != NULL ||
        strcmp(operands, "NAME") == 0)
        print_projections();
    if (strstr(operands, "SYSTEM") != NULL)
        print_systems();
    if (strstr(operands, "SYSTEM|PROJECTION") != NULL)
        fputs(" all", stdout);
    if (strcmp(operands, "SHELL") == 0)
        fputs(" bash", stdout);
    puts("'\n        case ${words[-1]} in");
    print_values(command);
    puts("        --config) offered='' ;;\n        esac\n        ;;");
}

static int run(struct pj_cli *cli, const void *settings, struct pj_error *error)
{
    const struct pj_config *config = cli->config;
    (void)settings;
    if (config->operand_count != 1 || strcmp(config->operands[0], "bash") != 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "name the shell: 'projectionist completion bash' is the only one");
    /* bash splits --status=open at the =. Where nothing is offered, it offers
     * files. */
    const char *program = pj_program();
    printf("# Completion of %s for bash: eval \"$(%s completion bash)\"\n_%s()\n", program, program,
           program);
    puts("{\n"
         "    local word=${COMP_WORDS[COMP_CWORD]} offered=\n"
         "    local words=(\"${COMP_WORDS[@]:1:COMP_CWORD-1}\")\n"
         "    if [[ $word = '=' ]]; then\n"
         "        word=\n"
         "    elif [[ ${words[*]: -1} = '=' ]]; then\n"
         "        unset 'words[-1]'\n"
         "    fi\n"
         "    case ${words[*]} in");
    fputs("    '') offered='", stdout);
    print_words("");
    puts(" help --help --version' ;;");
    fputs("    help) offered='", stdout);
    print_words("");
    puts("' ;;");
    print_families();
    for (size_t i = 0; i < pj_command_count; i++)
        print_command(pj_commands[i]);
    puts("    esac\n"
         "    COMPREPLY=($(compgen -W \"$offered\" -- \"$word\"))\n"
         "}");
    printf("complete -o bashdefault -o default -F _%s %s\n", program, program);
    return PJ_EXIT_OK;
}

static const struct pj_option options[] = {{0}};

const struct pj_command pj_command_completion = {
    .name = "completion",
    .summary = "print a script that completes commands in a shell",
    .description = "  Prints a script for bash that completes commands, flags, their choices and\n"
                   "  the names of projections. `cmake --install` puts it where bash looks for it\n"
                   "  by itself (share/bash-completion/completions, with Debian's package\n"
                   "  bash-completion).\n",
    .examples = "  eval \"$(projectionist completion bash)\"\n"
                "  projectionist completion bash \\\n"
                "      >~/.local/share/bash-completion/completions/projectionist\n",
    .operands = "SHELL",
    .options = options,
    .settings_size = sizeof(struct pj_cli_servers),
    .run = run,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "cli/deployment.h"

#include <stdlib.h>
#include <string.h>

enum { WIDTH = 80, NAME_MOST = 63, FAR = 4 /* no typing error any more */ };

static const char common_exit_status[] =
    "  0  done\n"
    "  1  the work could not be done\n"
    "  2  a flag, variable or line of the file is wrong; nothing was done\n"
    "  6  the database lacks tables, columns or rights that are needed\n"
    "  7  a server could not be reached in time\n"
    "  8  the declaration or the code of a projection is wrong\n"
    "  9  a schema id stands for a different schema than before\n";

static const char environment[] =
    "  Any option is also a variable: --postgres-dsn is PROJECTIONIST_POSTGRES_DSN;\n"
    "  and PROJECTIONIST_POSTGRES_DSN_FILE names a file that holds its value. Flags\n"
    "  override variables, and variables the file given by --config.\n"
    "\n"
    "  --kafka.KEY=VALUE (PROJECTIONIST_KAFKA_KEY) goes to librdkafka,\n"
    "  --postgres.KEY=VALUE (PROJECTIONIST_POSTGRES_KEY) to libpq; for example\n"
    "  PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092.\n";

/* What examples have in place of these words: the program's own names. */
static const char *example_name(const char *word, size_t length)
{
    const struct pj_system *system = pj_cli_systems[0];
    if (length == strlen("projectionist") && strncmp(word, "projectionist", length) == 0)
        return pj_program();
    if (length == strlen("CONSUMER") && strncmp(word, "CONSUMER", length) == 0)
        return pj_cli_projection_count > 0 ? pj_cli_projections[0].projection->name : NULL;
    if (length == strlen("SYSTEM") && strncmp(word, "SYSTEM", length) == 0)
        return system != NULL ? system->name : NULL;
    if (length == strlen("TOPIC") && strncmp(word, "TOPIC", length) == 0)
        return system != NULL && system->topic_count > 0 ? system->topics[0].name : NULL;
    return NULL;
}

static void print_example(FILE *out, const char *text)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    while (*text != '\0') {
        size_t word = strspn(text, letters);
        size_t length = word > 0 ? word : strcspn(text, letters);
        const char *name = word > 0 ? example_name(text, word) : NULL;
        fprintf(out, "%.*s", (int)(name != NULL ? strlen(name) : length),
                name != NULL ? name : text);
        text += length;
    }
}

/* Sentences say `projectionist COMMAND`. */
static void print_text(FILE *out, const char *text)
{
    char *named = pj_program_named(text);
    fputs(named != NULL ? named : text, out);
    free(named);
}

static void print_list(FILE *out, const char *family)
{
    size_t length = family != NULL ? strlen(family) : 0;
    for (size_t i = 0; i < pj_command_count; i++) {
        const struct pj_command *command = pj_commands[i];
        if (length > 0 &&
            (strncmp(command->name, family, length) != 0 || command->name[length] != ' '))
            continue;
        fprintf(out, "  %-20s %s\n", command->name, command->summary);
    }
}

void pj_help_overview(FILE *out)
{
    fprintf(out, "usage: %s COMMAND [OPTION]...\n", pj_program());
    fputs("\n"
          "Runs and operates the consumers that turn Kafka topics into Postgres tables,\n"
          "exactly once.\n"
          "\n"
          "COMMANDS\n",
          out);
    print_list(out, NULL);
    fprintf(out, "  %-20s %s\n", "help [COMMAND]", "print this, or the manual of a command");
    fputs("\n"
          "OPTIONS\n"
          "  -h, --help         the same as help\n"
          "      --version      print the version\n"
          "\n"
          "ENVIRONMENT\n",
          out);
    fputs(environment, out);
    fputs("\n"
          "EXIT STATUS\n",
          out);
    fputs(common_exit_status, out);
    fputs("\n"
          "EXAMPLES\n",
          out);
    print_example(out, "  # where the servers are: eval \"$(deploy/local/cluster env)\"\n"
                       "  projectionist migrate            # create the tables\n"
                       "  projectionist topics create      # create the topics\n"
                       "  projectionist schemas register   # register the events' schemas\n"
                       "  projectionist consume CONSUMER   # keep its tables\n"
                       "  projectionist status             # see how far the consumers are\n");
}

void pj_help_command(FILE *out, const struct pj_command *command)
{
    const char *operands = command->operands != NULL ? command->operands : "";
    bool first = command->main != NULL; /* its options depend on the operand */
    fprintf(out, "usage: %s %s%s%s [OPTION]...%s%s\n\n", pj_program(), command->name,
            first ? " " : "", first ? operands : "", first || *operands == '\0' ? "" : " ",
            first ? "" : operands);
    fprintf(out, "NAME\n  %s %s - %s\n\nDESCRIPTION\n", pj_program(), command->name,
            command->summary);
    print_text(out, command->description);
    fputs("\nOPTIONS\n", out);
    pj_config_print_options(out, pj_cli_options(command), WIDTH);
    fprintf(out, "\nEXIT STATUS\n%s", command->exit_status_is_whole ? "" : common_exit_status);
    if (command->exit_status != NULL)
        fputs(command->exit_status, out);
    fputs("\nEXAMPLES\n", out);
    print_example(out, command->examples);
}

bool pj_help_family(FILE *out, const char *word)
{
    size_t length = strlen(word);
    bool found = false;
    for (size_t i = 0; i < pj_command_count; i++)
        found |=
            strncmp(pj_commands[i]->name, word, length) == 0 && pj_commands[i]->name[length] == ' ';
    if (!found)
        return false;
    fprintf(out, "usage: %s %s COMMAND [OPTION]...\n\nCOMMANDS\n", pj_program(), word);
    print_list(out, word);
    fprintf(out, "\nAll about one of them: %s help %s COMMAND\n", pj_program(), word);
    return true;
}

const char *pj_help_nearest(const char *typed, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t best_distance = FAR;
    for (size_t i = 0; i < count && strlen(typed) <= NAME_MOST; i++) {
        size_t found = strlen(names[i]) <= NAME_MOST ? pj_text_distance(typed, names[i]) : FAR;
        if (found < best_distance && found < strlen(typed)) {
            best_distance = found;
            best = names[i];
        }
    }
    return best;
}

const char *pj_help_suggestion(const char *typed)
{
    const char *best = NULL;
    size_t best_distance = FAR;
    if (strlen(typed) > NAME_MOST)
        return NULL;
    for (size_t i = 0; i < pj_command_count; i++) {
        const char *name = pj_commands[i]->name;
        char first[NAME_MOST + 1];
        pj_text_whole(first, sizeof first, "%.*s", (int)strcspn(name, " "), name);
        size_t whole = pj_text_distance(typed, name);
        size_t part = pj_text_distance(typed, first);
        size_t nearest = whole < part ? whole : part;
        if (nearest < best_distance && nearest < strlen(typed)) {
            best_distance = nearest;
            best = name;
        }
    }
    return best;
}

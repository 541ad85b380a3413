/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist new: the folder of a system with one projection, from src/cli/skeleton. */
#include "base/memory.h"
#include "base/text.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_MOST = 32 };

extern const char *const pj_skeleton[]; /* paths and texts by turns; NULL ends them */

struct settings {
    struct pj_cli_servers servers;
    const char *directory;
};

/* --- names ----------------------------------------------------------------------------------- */

/* What PostgreSQL takes for a name only in quotes; a blank before and after each. */
static const char reserved[] =
    " all analyse analyze and any array as asc asymmetric authorization binary both case cast "
    "check "
    "collate collation column concurrently constraint create cross current_catalog current_date "
    "current_role current_schema current_time current_timestamp current_user default deferrable "
    "desc distinct do else end except false fetch for foreign freeze from full grant group having "
    "ilike in initially inner intersect into is isnull join lateral leading left like limit "
    "localtime localtimestamp natural not notnull null offset on only or order outer overlaps "
    "placing primary references returning right select session_user similar some symmetric "
    "system_user table tablesample then to trailing true union unique user using variadic verbose "
    "when where window with ";

/* Dashes as underscores: the name in SQL and C. */
static char *identifier(const char *name)
{
    char *copy = pj_strdup(name);
    for (char *c = copy; *c != '\0'; c++)
        *c = *c == '-' ? '_' : *c;
    return copy;
}

static bool is_reserved(const char *name)
{
    char *id = identifier(name);
    char *word = pj_text_new(" %s ", id);
    bool found = strstr(reserved, word) != NULL;
    free(word);
    free(id);
    return found;
}

/* `taken`: what cannot be such a name, besides; blanks as in `reserved`. */
static int check_name(const char *what, const char *name, const char *taken, struct pj_error *error)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    if (strlen(name) > NAME_MOST || strspn(name, letters) == 0 ||
        name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0')
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "'%.100s' cannot be the name of a %s: it must be of small letters, "
                              "digits and dashes, begin with a letter, and have at most %d",
                              name, what, NAME_MOST);
    char *word = pj_text_new(" %s ", name);
    bool is_taken = strstr(taken, word) != NULL || strncmp(name, "pg-", 3) == 0;
    free(word);
    if (is_taken || is_reserved(name))
        return pj_error_fatal(error, PJ_EXIT_USAGE, "'%s' cannot be the name of a %s: %s", name,
                              what, is_reserved(name) ? "SQL reserves it" : "it is taken");
    return 0;
}

static int check_names(const struct pj_config *config, struct pj_error *error)
{
    if (config->operand_count != 2)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "two names are expected: of the system, and of its projection");
    if (check_name("system", config->operands[0], " engine projectionist public ", error) != 0 ||
        check_name("projection", config->operands[1], " main system ", error) != 0)
        return -1;
    if (strcmp(config->operands[0], config->operands[1]) == 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "the system and the projection cannot both have the name '%s'",
                              config->operands[0]);
    return 0;
}

/* --- files ----------------------------------------------------------------------------------- */

struct word {
    const char *word;
    const char *replacement;
};

/* The text with the words replaced; the caller frees it. */
static char *replaced(const char *text, const struct word *words)
{
    struct pj_builder out = {0};
    while (*text != '\0') {
        const struct word *word = words;
        while (word->word != NULL && strncmp(text, word->word, strlen(word->word)) != 0)
            word++;
        if (word->word != NULL)
            pj_builder_add(&out, "%s", word->replacement);
        else
            pj_builder_add_bytes(&out, text, 1);
        text += word->word != NULL ? strlen(word->word) : 1;
    }
    return pj_builder_take(&out);
}

static int not_made(const char *path, struct pj_error *error)
{
    return pj_error_fatal(error, PJ_EXIT_FAILED, "%.500s cannot be created: %s", path,
                          strerror(errno));
}

/* The folders between `from`, which is there, and the file. */
static int make_folders(char *path, size_t from, struct pj_error *error)
{
    for (char *slash = path + from + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        bool made = mkdir(path, 0777) == 0 || errno == EEXIST;
        if (!made)
            return not_made(path, error);
        *slash = '/';
    }
    return 0;
}

static int write_file(const char *path, const char *text, struct pj_error *error)
{
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    FILE *out = file >= 0 ? fdopen(file, "w") : NULL;
    if (out == NULL)
        return not_made(path, error);
    bool written = fputs(text, out) >= 0;
    return fclose(out) == 0 && written ? 0 : not_made(path, error);
}

static int write_all(const char *folder, const struct word *words, struct pj_error *error)
{
    int status = 0;
    if (mkdir(folder, 0777) != 0 && errno == EEXIST)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "%.500s is there already, and nothing is overwritten; name another "
                              "folder with --directory",
                              folder);
    if (access(folder, W_OK) != 0)
        return not_made(folder, error);
    for (const char *const *file = pj_skeleton; *file != NULL && status == 0; file += 2) {
        char *name = replaced(file[0], words);
        char *path = pj_text_new("%s/%s", folder, name);
        char *text = replaced(file[1], words);
        status = make_folders(path, strlen(folder), error);
        if (status == 0)
            status = write_file(path, text, error);
        if (status == 0)
            puts(path);
        free(name);
        free(path);
        free(text);
    }
    return status;
}

static int run(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    const struct pj_config *config = cli->config;
    const struct settings *settings = opaque;
    if (check_names(config, error) != 0)
        return -1;
    const char *folder = settings->directory != NULL ? settings->directory : config->operands[0];
    char *system = identifier(config->operands[0]);
    char *projection = identifier(config->operands[1]);
    const struct word words[] = {
        {"SYSTEM_NAME", config->operands[0]},     {"SYSTEM_ID", system},
        {"PROJECTION_NAME", config->operands[1]}, {"PROJECTION_ID", projection},
        {"ENGINE_VERSION", PJ_VERSION},           {0},
    };
    int status = write_all(folder, words, error);
    if (status == 0)
        printf("%s/README.md says what comes next\n", folder);
    free(system);
    free(projection);
    return status;
}

static const struct pj_option options[] = {
    PJ_CLI_TEXT_OPTION(struct settings, directory, "directory", 'd', "FOLDER",
                       "The folder to make, which must not be there yet; by default ./SYSTEM."),
    {0},
};

const struct pj_command pj_command_new = {
    .name = "new",
    .summary = "start a system of your own: a folder that builds",
    .description = "  Makes a folder with a small system: a projection of one topic with its\n"
                   "  schema, its migration and its unit test, a program that has all commands of\n"
                   "  this one, and a README with what comes next. It builds with the installed\n"
                   "  library. Nothing is overwritten.\n",
    .examples = "  projectionist new shop item-prices\n"
                "  projectionist new shop item-prices --directory src/shop\n",
    .operands = "SYSTEM PROJECTION",
    .options = options,
    .settings_size = sizeof(struct settings),
    .run = run,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* The OPTIONS section of a help text. */
#include "base/config_internal.h"
#include "base/text.h"
#include "base/utf8.h"

#include <string.h>

enum { FLAG_INDENT = 2, TEXT_INDENT = 8 };

/* Where a paragraph is being written. */
struct wrapping {
    FILE *out;
    int indent;
    int width;
    int column; /* 0: at the beginning of a line */
};

static void wrap(struct wrapping *wrapping, const char *text)
{
    for (text += strspn(text, " "); *text != '\0'; text += strspn(text, " ")) {
        size_t length = strcspn(text, " ");
        int columns = (int)pj_utf8_count(text, length);
        if (wrapping->column > 0 && wrapping->column + 1 + columns > wrapping->width) {
            fputc('\n', wrapping->out);
            wrapping->column = 0;
        }
        int gap = wrapping->column > 0 ? 1 : wrapping->indent;
        fprintf(wrapping->out, "%*s%.*s", gap, "", (int)length, text);
        wrapping->column += gap + columns;
        text += length;
    }
}

static void end_paragraph(struct wrapping *wrapping)
{
    fputc('\n', wrapping->out);
    wrapping->column = 0;
}

static void paragraph(FILE *out, int indent, int width, const char *text)
{
    struct wrapping wrapping = {out, indent, width, 0};
    wrap(&wrapping, text);
    end_paragraph(&wrapping);
}

static void print_choices(struct wrapping *wrapping, const char *choices)
{
    wrap(wrapping, "One of:");
    while (*choices != '\0') {
        size_t length = strcspn(choices, "|");
        char word[PJ_CONFIG_NAME_MOST];
        pj_text_show(word, sizeof word, "%.*s%s", (int)length, choices,
                     choices[length] == '|' ? "," : ".");
        wrap(wrapping, word);
        choices += length + (choices[length] == '|');
    }
}

static void print_option(FILE *out, const struct pj_option *option, int width)
{
    struct wrapping wrapping = {out, TEXT_INDENT, width, 0};
    char variable[PJ_CONFIG_NAME_MOST];
    pj_config_variable(option->name, variable);
    const char *argument = option->argument != NULL ? option->argument : "VALUE";
    if (option->kind == PJ_OPTION_SECRET) {
        /* There is no flag to show: it would be refused. */
        fprintf(out, "%*s%s=%s\n", FLAG_INDENT, "", variable, argument);
    } else {
        fprintf(out, "%*s", FLAG_INDENT, "");
        if (option->letter != 0)
            fprintf(out, "-%c, ", option->letter);
        fprintf(out, "--%s", option->name);
        if (option->kind != PJ_OPTION_BOOL)
            fprintf(out, " %s", argument);
        fputc('\n', out);
    }
    if (option->help != NULL)
        wrap(&wrapping, option->help);
    if (option->kind == PJ_OPTION_SECRET)
        wrap(&wrapping, "Not a flag, because other users could see it.");
    if (option->choices != NULL)
        print_choices(&wrapping, option->choices);
    if (option->fallback != NULL) {
        char text[PJ_CONFIG_NAME_MOST];
        pj_text_show(text, sizeof text, "Default: %s.", option->fallback);
        wrap(&wrapping, text);
    }
    if (option->kind != PJ_OPTION_SECRET) {
        if (wrapping.column > 0)
            end_paragraph(&wrapping);
        wrap(&wrapping, "Variable:");
        wrap(&wrapping, variable);
    }
    end_paragraph(&wrapping);
    fputc('\n', out);
}

void pj_config_print_options(FILE *out, const struct pj_option *options, int width)
{
    static const struct {
        const char *flag;
        const char *text;
    } common[] = {
        {"--config FILE", "Read settings from FILE: lines `name = value` with the names of the "
                          "flags above, `kafka.KEY = value` or `KEY = value` after a line "
                          "`[kafka]`, and `# comment`. "
                          "Variable: " PJ_CONFIG_PREFIX "CONFIG"},
        {"--kafka.KEY=VALUE",
         "Any setting of librdkafka, such as --kafka.bootstrap.servers=HOST:PORT. "
         "Variable: " PJ_CONFIG_PREFIX "KAFKA_KEY, in capitals, with _ for each dot. Passwords "
         "are taken from the variable or the file only."},
        {"--postgres.KEY=VALUE",
         "Any connection parameter of libpq, such as --postgres.sslmode=verify-full. "
         "In the file as those of kafka. Variable: " PJ_CONFIG_PREFIX
         "POSTGRES_KEY, in capitals. Passwords are taken from the variable or the file only."},
        {"-h, --help", "Print this and exit."},
        {"--version", "Print the version and exit."},
    };
    bool postgres = false; /* is it of any use to this program? */
    if (width < 40)
        width = 40;
    for (const struct pj_option *option = options; option->name != NULL; option++)
        postgres |= strcmp(option->name, "postgres-dsn") == 0;
    for (; options->name != NULL; options++)
        print_option(out, options, width);
    for (size_t i = 0; i < sizeof common / sizeof common[0]; i++) {
        if (!postgres && strncmp(common[i].flag, "--postgres", strlen("--postgres")) == 0)
            continue;
        fprintf(out, "%*s%s\n", FLAG_INDENT, "", common[i].flag);
        paragraph(out, TEXT_INDENT, width, common[i].text);
        fputc('\n', out);
    }
    paragraph(
        out, FLAG_INDENT, width,
        "Flags override variables, variables override the file, and the file overrides the "
        "defaults. An empty variable counts as not set; one that looks like a typo of a known "
        "name is an error. For any variable NAME, NAME_FILE may name a file that holds the value "
        "instead, such as a mounted secret.");
}

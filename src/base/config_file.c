/* SPDX-License-Identifier: Apache-2.0 */
/* The --config file, by libinih, and the files that NAME_FILE variables name. */
#include "base/config_internal.h"
#include "base/memory.h"
#include "base/text.h"

#include <errno.h>
#include <ini.h>
#include <string.h>

enum { CONFIG_MOST = 1 << 20 };

struct file {
    const char *path;
    char *next; /* what has not been read yet */
    char *line; /* NUL-terminated */
    int number;
    pj_config_line_handler *handler;
    void *context;
    struct pj_error *error;
    bool failed;
};

/* A text file as a string in the arena. `source` begins the error; the file may be a pipe. */
static int read_text(const char *source, const char *path, size_t most, struct pj_arena *arena,
                     char **text, struct pj_error *error)
{
    FILE *stream = fopen(path, "re");
    int status = -1;
    if (stream == NULL)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "%s: cannot read '%s': %s", source, path,
                              strerror(errno));
    char *content = pj_arena_alloc(arena, most + 2);
    size_t length = fread(content, 1, most + 1, stream);
    if (ferror(stream)) {
        pj_error_fatal(error, PJ_EXIT_USAGE, "%s: cannot read '%s': %s", source, path,
                       strerror(errno));
    } else if (length > most) {
        pj_error_fatal(error, PJ_EXIT_USAGE, "%s: %s is larger than %zu KiB; is it the right file?",
                       source, path, most >> 10);
    } else if (memchr(content, '\0', length) != NULL) {
        pj_error_fatal(error, PJ_EXIT_USAGE, "%s: %s has a NUL byte; it must be a text file",
                       source, path);
    } else {
        *text = content;
        status = 0;
    }
    fclose(stream);
    return status;
}

/*
 * Feeds libinih one line at a time, so that it misreads nothing: an indented line is not a
 * continuation, and what exceeds its buffer is not a line of its own (handle_line takes the value
 * from the whole line). The buffer is never full: libinih 58 would wait for the rest of the line.
 */
static char *read_line(char *out, int size, void *context)
{
    struct file *file = context;
    if (file->failed)
        return NULL;
    if (*file->next == '\0')
        return NULL;
    file->number++;
    file->line = file->next;
    file->next += strcspn(file->next, "\n");
    if (*file->next == '\n')
        *file->next++ = '\0';
    file->line[strcspn(file->line, "\r")] = '\0';
    const char *start = file->line + strspn(file->line, " \t");
    pj_text_show(out, (size_t)size - 1, "%s", start);
    return out;
}

/*
 * The rest of the line after the name; it may be longer than libinih reads, and may contain ` ;`.
 */
static char *value_of(char *line)
{
    char *value = line + strcspn(line, "=:");
    value += *value != '\0';
    value += strspn(value, " \t");
    size_t end = strlen(value);
    while (end > 0 && (value[end - 1] == ' ' || value[end - 1] == '\t'))
        value[--end] = '\0';
    return value;
}

static int handle_line(void *context, const char *section, const char *name, const char *value)
{
    struct file *file = context;
    char source[512];
    char full[PJ_CONFIG_NAME_MOST * 2];
    (void)value;
    if (file->failed)
        return 0;
    if (*section != '\0' && strcmp(section, "kafka") != 0 && strcmp(section, "postgres") != 0) {
        file->failed = true;
        pj_error_fatal(file->error, PJ_EXIT_USAGE,
                       "%s:%d: unknown section [%.50s]; the sections are [kafka] and [postgres]",
                       file->path, file->number, section);
        return 0;
    }
    pj_text_show(source, sizeof source, "%s:%d", file->path, file->number);
    pj_text_show(full, sizeof full, "%s%s%s", section, *section != '\0' ? "." : "", name);
    struct pj_config_line line = {source, full, value_of(file->line)};
    file->failed = file->handler(file->context, &line, file->error) != 0;
    return !file->failed;
}

int pj_config_read_file(const char *path, pj_config_line_handler *handler, void *context,
                        struct pj_arena *arena, struct pj_error *error)
{
    struct file file = {.path = path, .handler = handler, .context = context, .error = error};
    if (read_text("--config", path, CONFIG_MOST, arena, &file.next, error) != 0)
        return -1;
    int wrong_line = ini_parse_stream(read_line, &file, handle_line, &file);
    if (file.failed)
        return -1;
    if (wrong_line < 0)
        pj_memory_ended(path);
    if (wrong_line > 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "%s:%d: syntax error; a line is 'name = value', '[section]' or "
                              "'# comment'",
                              path, wrong_line);
    return 0;
}

int pj_config_read_value(const char *variable, const char *path, struct pj_arena *arena,
                         char **value, struct pj_error *error)
{
    if (read_text(variable, path, PJ_CONFIG_FILE_MOST, arena, value, error) != 0)
        return -1;
    size_t length = strlen(*value);
    if (length > 0 && (*value)[length - 1] == '\n')
        (*value)[--length] = '\0';
    if (length > 0 && (*value)[length - 1] == '\r')
        (*value)[--length] = '\0';
    if (length == 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "%s: %s is empty; write the value into it, or unset the variable",
                              variable, path);
    return 0;
}

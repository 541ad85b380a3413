/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text_table.h"

#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct pj_text_table {
    const char *const *titles;
    size_t columns;
    char **cells;
    size_t count;
};

struct pj_text_table *pj_text_table_new(const char *const *titles)
{
    struct pj_text_table *table = pj_alloc(sizeof *table);
    table->titles = titles;
    while (titles[table->columns] != NULL)
        table->columns++;
    return table;
}

void pj_text_table_add(struct pj_text_table *table, const char *text)
{
    if ((table->count & (table->count - 1)) == 0) /* a power of two: it is full */
        table->cells = pj_resize(table->cells, table->count * 2 + 1, sizeof *table->cells);
    table->cells[table->count++] = pj_strdup(text != NULL ? text : "-");
}

void pj_text_table_add_number(struct pj_text_table *table, int64_t number)
{
    char text[PJ_NUMBER_TEXT];
    pj_text_table_add(table, number >= 0 ? pj_number_text(text, number) : NULL);
}

static size_t width(const char *text)
{
    return pj_utf8_count(text, strlen(text));
}

static void print_row(const struct pj_text_table *table, const size_t *widths,
                      const char *const *cells, FILE *out)
{
    size_t columns = table->columns;
    while (columns > 1 && *cells[columns - 1] == '\0')
        columns--; /* no line ends in spaces */
    for (size_t i = 0; i < columns; i++) {
        bool right = table->titles[i][0] == '>';
        const char *text = cells[i];
        if (cells == table->titles && right)
            text++;
        int padding = (int)(widths[i] - width(text));
        if (i > 0)
            fputs("  ", out);
        if (right)
            fprintf(out, "%*s%s", padding, "", text);
        else
            fprintf(out, "%s%*s", text, i + 1 < columns ? padding : 0, "");
    }
    fputc('\n', out);
}

void pj_text_table_end(struct pj_text_table *table, FILE *out)
{
    size_t *widths = pj_calloc(table->columns, sizeof *widths);
    for (size_t i = 0; i < table->columns; i++)
        widths[i] = width(table->titles[i]) - (table->titles[i][0] == '>');
    for (size_t i = 0; i < table->count; i++) {
        size_t cell = width(table->cells[i]);
        if (cell > widths[i % table->columns])
            widths[i % table->columns] = cell;
    }
    print_row(table, widths, table->titles, out);
    for (size_t i = 0; i + table->columns <= table->count; i += table->columns)
        print_row(table, widths, (const char *const *)table->cells + i, out);
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    free(table);
    free(widths);
}

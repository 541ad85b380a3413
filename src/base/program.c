/* SPDX-License-Identifier: Apache-2.0 */
#include "base/program.h"

#include "base/text.h"

#include <string.h>
#include <unistd.h>

static const char default_name[] = "projectionist";
static char name[256] = "projectionist";

const char *pj_program(void)
{
    return name;
}

void pj_program_set(void)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    const char *slash = strrchr(path, '/');
    if (slash == NULL || !pj_text_fits(name, sizeof name, "%s", slash + 1) || *name == '\0')
        memcpy(name, default_name, sizeof default_name);
}

char *pj_program_named(const char *text)
{
    const size_t length = sizeof default_name - 1;
    struct pj_builder named = {0};
    const char *from = text;
    if (strcmp(name, default_name) == 0)
        return NULL;
    for (const char *at = text; (at = strstr(at, default_name)) != NULL; at += length) {
        if (at == text || strchr("`'", at[-1]) == NULL || at[length] != ' ')
            continue;
        pj_builder_add_bytes(&named, from, (size_t)(at - from));
        pj_builder_add(&named, "%s", name);
        from = at + length;
    }
    if (from == text)
        return NULL;
    pj_builder_add(&named, "%s", from);
    return pj_builder_take(&named);
}

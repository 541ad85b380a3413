/* SPDX-License-Identifier: Apache-2.0 */
/* What a client was made of and may be another by now: a rotated password, a renewed certificate.
 * librdkafka reads them once. */
#include "base/clock.h"
#include "kafka/client.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_MS = 2000 };

/* FNV-1a */
static uint64_t mix(uint64_t digest, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        digest = (digest ^ (uint8_t)bytes[i]) * UINT64_C(0x100000001b3);
    return digest;
}

static bool names_a_file(const char *key)
{
    const char *last = strrchr(key, '.');
    return strncmp(key, "ssl.", 4) == 0 && strcmp(last, ".location") == 0;
}

static uint64_t mix_file(uint64_t digest, const char *path)
{
    char bytes[4096];
    size_t count;
    FILE *file = fopen(path, "re");
    while (file != NULL && (count = fread(bytes, 1, sizeof bytes, file)) > 0)
        digest = mix(digest, bytes, count);
    if (file != NULL)
        fclose(file);
    return digest;
}

static uint64_t digest_all(const struct pj_properties *properties)
{
    uint64_t digest = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < properties->count; i++) {
        const struct pj_property *property = &properties->items[i];
        char *fresh = pj_config_fresh(properties->files, property->value);
        if (fresh != NULL)
            digest = mix(digest, fresh, strlen(fresh) + 1);
        free(fresh);
        if (names_a_file(property->key))
            digest = mix_file(digest, property->value);
    }
    return digest;
}

void pj_client_files_open(struct pj_client_files *files, const struct pj_properties *properties)
{
    *files = (struct pj_client_files){.properties = properties};
    files->used = files->seen = digest_all(properties);
}

bool pj_client_files_changed(struct pj_client_files *files)
{
    if (!pj_clock_every(&files->looked_ms, LOOK_MS))
        return false;
    uint64_t now = digest_all(files->properties);
    /* Twice the same: it is written whole, and so are those beside it. */
    bool settled = now == files->seen;
    files->seen = now;
    if (!settled || now == files->used)
        return false;
    files->used = now;
    return true;
}

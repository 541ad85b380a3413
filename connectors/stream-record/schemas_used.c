/* SPDX-License-Identifier: Apache-2.0 */
#include "stream-record/schemas_used.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <stdlib.h>
#include <time.h>

/* A topic of other bytes may look like any number of ids: those are forgotten again. */
enum { UNKNOWN_MOST = 4096, PAUSE_MS = 500 };

struct pj_schemas_used {
    struct pj_registry *registry; /* NULL: none */
    int64_t timeout_ms;
    const atomic_int *stop;
    struct pj_schema_used **known; /* sorted by id */
    size_t known_count;
    int32_t unknown[UNKNOWN_MOST]; /* a ring */
    size_t unknown_count, unknown_at;
};

int pj_schemas_used_open(struct pj_schemas_used **out, const struct pj_registry_settings *registry,
                         int64_t timeout_ms, const atomic_int *stop, struct pj_error *error)
{
    struct pj_schemas_used *used = pj_alloc(sizeof *used);
    used->timeout_ms = timeout_ms;
    used->stop = stop;
    if (registry->url != NULL && pj_registry_open(&used->registry, registry, error) != 0) {
        free(used);
        return -1;
    }
    *out = used;
    return 0;
}

void pj_schemas_used_close(struct pj_schemas_used *used)
{
    if (used == NULL)
        return;
    pj_registry_close(used->registry);
    for (size_t i = 0; i < used->known_count; i++) {
        free(used->known[i]->text);
        free(used->known[i]);
    }
    free(used->known);
    free(used);
}

/* The first place whose id is not less. */
static size_t place_of(const struct pj_schemas_used *used, int32_t id)
{
    size_t low = 0, high = used->known_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (used->known[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct pj_schema_used *keep(struct pj_schemas_used *used, int32_t id, char *text)
{
    size_t place = place_of(used, id);
    struct pj_schema_used *schema = pj_alloc(sizeof *schema);
    *schema = (struct pj_schema_used){id, text};
    used->known = pj_resize(used->known, used->known_count + 1, sizeof(struct pj_schema_used *));
    for (size_t i = used->known_count++; i > place; i--)
        used->known[i] = used->known[i - 1];
    return used->known[place] = schema;
}

static bool is_known_as_unknown(const struct pj_schemas_used *used, int32_t id)
{
    for (size_t i = 0; i < used->unknown_count; i++) {
        if (used->unknown[i] == id)
            return true;
    }
    return false;
}

static void keep_unknown(struct pj_schemas_used *used, int32_t id)
{
    used->unknown[used->unknown_at] = id;
    used->unknown_at = (used->unknown_at + 1) % UNKNOWN_MOST;
    if (used->unknown_count < UNKNOWN_MOST)
        used->unknown_count++;
}

/* A schema of this id, or the newest of a subject. Returns 1 on a stop. *text NULL: there is none.
 */
static int ask(struct pj_schemas_used *used, int32_t id, const char *subject, char **text,
               struct pj_error *error)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    int64_t deadline_ms = pj_clock_monotonic_ms() + used->timeout_ms;
    bool was_told = false;
    while ((subject != NULL ? pj_registry_latest(used->registry, subject, &id, text, error)
                            : pj_registry_schema(used->registry, id, text, error)) != 0) {
        *text = NULL;
        if (error->class == PJ_POISON)
            return 0;
        if (error->class != PJ_RETRY)
            return -1;
        if (*used->stop != 0)
            return 1;
        if (pj_clock_monotonic_ms() >= deadline_ms) {
            error->exit_code = PJ_EXIT_UNAVAILABLE;
            return -1;
        }
        if (!was_told)
            pj_log(PJ_WARN, "waiting for the schema registry", pj_f_str("reason", error->message));
        was_told = true;
        nanosleep(&pause, NULL);
    }
    return 0;
}

int pj_schemas_used_find(struct pj_schemas_used *used, struct pj_bytes bytes,
                         const struct pj_schema_used **found, bool *is_unknown,
                         struct pj_error *error)
{
    int32_t id;
    char *text;
    *found = NULL;
    *is_unknown = false;
    if (!pj_wire_schema_id(bytes, &id))
        return 0;
    size_t place = place_of(used, id);
    if (place < used->known_count && used->known[place]->id == id) {
        *found = used->known[place];
        return 0;
    }
    *is_unknown = true;
    if (used->registry == NULL || is_known_as_unknown(used, id))
        return 0;
    int status = ask(used, id, NULL, &text, error);
    if (status != 0)
        return status;
    if (text == NULL) {
        keep_unknown(used, id);
        return 0;
    }
    *is_unknown = false;
    *found = keep(used, id, text);
    return 0;
}

int pj_schemas_used_has_subject(struct pj_schemas_used *used, const char *subject, bool *has,
                                struct pj_error *error)
{
    char *text = NULL;
    *has = false;
    if (used->registry == NULL)
        return 0;
    int status = ask(used, 0, subject, &text, error);
    *has = status == 0 && text != NULL;
    free(text);
    return status;
}

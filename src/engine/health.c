/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/health.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"

#include <pthread.h>
#include <stdlib.h>

struct part {
    int64_t heard_ms;
    bool stalled, left;
    char waiting[640]; /* "" when ready */
};

struct pj_health {
    struct pj_metrics_server *server;
    pthread_mutex_t mutex; /* guards the parts */
    size_t count;
    struct part *parts;
};

struct pj_health *pj_health_new(struct pj_metrics_server *server, size_t workers)
{
    struct pj_health *health = pj_alloc(sizeof *health);
    health->server = server;
    health->count = workers;
    health->parts = pj_calloc(workers, sizeof *health->parts);
    pthread_mutex_init(&health->mutex, NULL);
    for (size_t i = 0; i < workers; i++) {
        health->parts[i].heard_ms = pj_clock_monotonic_ms();
        pj_text_show(health->parts[i].waiting, sizeof health->parts[i].waiting, "starting");
    }
    return health;
}

void pj_health_free(struct pj_health *health)
{
    if (health == NULL)
        return;
    pthread_mutex_destroy(&health->mutex);
    free(health->parts);
    free(health);
}

/* Whether nobody has been silent for longer. */
static bool is_longest_silent(const struct pj_health *health, size_t worker)
{
    for (size_t i = 0; i < health->count; i++) {
        if (!health->parts[i].left && health->parts[i].heard_ms < health->parts[worker].heard_ms)
            return false;
    }
    return true;
}

/* The process is heard when the one is that was silent for longest: where one hangs, nobody is. */
void pj_health_heartbeat(struct pj_health *health, size_t worker)
{
    if (health == NULL || health->server == NULL)
        return;
    pthread_mutex_lock(&health->mutex);
    bool longest = is_longest_silent(health, worker);
    health->parts[worker].heard_ms = pj_clock_monotonic_ms();
    pthread_mutex_unlock(&health->mutex);
    if (longest)
        pj_metrics_server_heartbeat(health->server);
}

static void show(struct pj_health *health)
{
    const char *reason = NULL;
    for (size_t i = 0; i < health->count && reason == NULL; i++) {
        if (!health->parts[i].left && *health->parts[i].waiting != '\0')
            reason = health->parts[i].waiting;
    }
    if (health->server != NULL)
        pj_metrics_server_set_ready(health->server, reason);
}

void pj_health_set_ready(struct pj_health *health, size_t worker, const char *reason)
{
    if (health == NULL)
        return;
    pthread_mutex_lock(&health->mutex);
    struct part *part = &health->parts[worker];
    pj_text_show(part->waiting, sizeof part->waiting, "%s",
                 reason == NULL    ? ""
                 : *reason != '\0' ? reason
                                   : "not ready");
    show(health);
    pthread_mutex_unlock(&health->mutex);
}

bool pj_health_note_stall(struct pj_health *health, size_t worker, bool stalled)
{
    bool any = stalled;
    if (health == NULL)
        return any;
    pthread_mutex_lock(&health->mutex);
    health->parts[worker].stalled = stalled;
    for (size_t i = 0; i < health->count; i++)
        any |= health->parts[i].stalled;
    pthread_mutex_unlock(&health->mutex);
    return any;
}

void pj_health_leave(struct pj_health *health, size_t worker)
{
    if (health == NULL)
        return;
    pthread_mutex_lock(&health->mutex);
    health->parts[worker].left = true;
    health->parts[worker].stalled = false;
    show(health);
    pthread_mutex_unlock(&health->mutex);
}

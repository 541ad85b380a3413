/* SPDX-License-Identifier: Apache-2.0 */
#include "stream-replay/watch.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/memory.h"
#include "base/threads.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAUSE_US = 500, AWAY_MS = 100 };

struct expected {
    int64_t offset, due_us;
};

/* One partition's messages, in the order of their offsets. */
struct place {
    size_t topic;
    int32_t partition;
    struct expected *items; /* from `first` on */
    size_t first, count, room;
};

struct pj_watch {
    struct pj_postgres *postgres;
    struct pj_watch_settings settings;
    char *group, *cluster_id;
    bool *is_read; /* of each topic: the group has offsets of it */
    pthread_t thread;
    bool has_thread;
    atomic_bool stop;
    pthread_mutex_t mutex; /* of all below */
    struct place *places;
    size_t place_count;
    int64_t pending;
    int64_t progress_ms;
    bool has_failed;
    struct pj_error failure;
    struct pj_timing timing;
};

static const struct pj_postgres_settings *connection(const struct pj_watch *watch)
{
    return &watch->settings.postgres;
}

/* --- looking --------------------------------------------------------------------------------- */

static int query(struct pj_watch *watch, struct pj_result **result, struct pj_error *error)
{
    return pj_postgres_query(watch->postgres,
                             "SELECT topic, partition, next_offset "
                             "FROM projectionist.consumer_offsets "
                             "WHERE cluster_id = $1 AND consumer_group = $2 AND partition >= 0",
                             PJ_TEXTS(watch->cluster_id, watch->group), result, error);
}

static int topic_of(const struct pj_watch *watch, const char *name)
{
    for (size_t i = 0; i < watch->settings.topic_count; i++) {
        if (strcmp(watch->settings.topics[i], name) == 0)
            return (int)i;
    }
    return -1;
}

static struct place *find_place(struct pj_watch *watch, size_t topic, int32_t partition)
{
    for (size_t i = 0; i < watch->place_count; i++) {
        if (watch->places[i].topic == topic && watch->places[i].partition == partition)
            return &watch->places[i];
    }
    watch->places = pj_resize(watch->places, watch->place_count + 1, sizeof *watch->places);
    struct place *place = &watch->places[watch->place_count++];
    *place = (struct place){.topic = topic, .partition = partition};
    return place;
}

/* Everything before this offset is visible now. */
static void show(struct pj_watch *watch, struct place *place, int64_t next_offset, int64_t now_us)
{
    while (place->count > 0 && place->items[place->first].offset < next_offset) {
        pj_timing_add(&watch->timing, now_us - place->items[place->first].due_us);
        place->first++;
        place->count--;
        watch->pending--;
        watch->progress_ms = now_us / 1000;
    }
    if (place->count == 0)
        place->first = 0;
}

static int64_t number_of(const struct pj_result *result, int row, int column)
{
    int64_t number = -1;
    struct pj_error ignored = {0};
    const char *text = pj_result_value(result, row, column, NULL);
    if (text == NULL || pj_parse_integer("", text, 0, INT64_MAX, &number, &ignored) != 0)
        return -1;
    return number;
}

static void take_rows(struct pj_watch *watch, const struct pj_result *result)
{
    int64_t now_us = pj_clock_monotonic_us();
    pthread_mutex_lock(&watch->mutex);
    for (int row = 0; row < pj_result_rows(result); row++) {
        int topic = topic_of(watch, pj_result_value(result, row, 0, NULL));
        if (topic < 0)
            continue;
        watch->is_read[topic] = true;
        struct place *place = find_place(watch, (size_t)topic, (int32_t)number_of(result, row, 1));
        show(watch, place, number_of(result, row, 2), now_us);
    }
    pthread_mutex_unlock(&watch->mutex);
}

static int look(struct pj_watch *watch, struct pj_error *error)
{
    struct pj_result *result;
    if (watch->postgres == NULL &&
        pj_postgres_open(&watch->postgres, connection(watch), error) != 0)
        return -1;
    if (query(watch, &result, error) != 0) {
        if (pj_postgres_broken(watch->postgres)) {
            pj_postgres_close(watch->postgres);
            watch->postgres = NULL;
        }
        return -1;
    }
    take_rows(watch, result);
    pj_result_free(result);
    return 0;
}

static void *run(void *context)
{
    struct pj_watch *watch = context;
    struct pj_error error = {.class = PJ_FATAL};
    const struct timespec pause = {.tv_nsec = PAUSE_US * 1000L};
    const struct timespec away = {.tv_nsec = AWAY_MS * 1000000L};
    while (!atomic_load(&watch->stop)) {
        int status = look(watch, &error);
        if (status != 0 && error.class != PJ_RETRY) {
            pthread_mutex_lock(&watch->mutex);
            watch->has_failed = true;
            watch->failure = error;
            pthread_mutex_unlock(&watch->mutex);
            return NULL;
        }
        /* A Postgres that restarts is what the measurement is about, too. */
        nanosleep(status == 0 ? &pause : &away, NULL);
    }
    return NULL;
}

/* --- from outside ---------------------------------------------------------------------------- */

static bool reads_any(const struct pj_watch *watch)
{
    for (size_t i = 0; i < watch->settings.topic_count; i++) {
        if (watch->is_read[i])
            return true;
    }
    return false;
}

int pj_watch_start(struct pj_watch **out, const struct pj_watch_settings *settings,
                   struct pj_error *error)
{
    struct pj_watch *watch = pj_alloc(sizeof *watch);
    watch->settings = *settings;
    watch->group = pj_strdup(settings->group);
    watch->cluster_id = pj_strdup(settings->cluster_id);
    watch->is_read = pj_calloc(settings->topic_count, sizeof *watch->is_read);
    watch->progress_ms = pj_clock_monotonic_ms();
    pthread_mutex_init(&watch->mutex, NULL);
    pj_timing_init(&watch->timing);
    int status = look(watch, error);
    if (status != 0 && error->class == PJ_RETRY)
        error->exit_code = PJ_EXIT_UNAVAILABLE;
    if (status == 0 && !reads_any(watch))
        status = pj_error_set(error, PJ_FATAL,
                              "--expect: the group %s has no offset of these topics in Postgres; "
                              "start its consumer before, and let it catch up",
                              watch->group);
    if (status == 0)
        status = pj_thread_start(&watch->thread, run, watch, error);
    if (status != 0) {
        pj_watch_close(watch);
        return -1;
    }
    watch->has_thread = true;
    *out = watch;
    return 0;
}

void pj_watch_close(struct pj_watch *watch)
{
    if (watch == NULL)
        return;
    atomic_store(&watch->stop, true);
    if (watch->has_thread)
        pthread_join(watch->thread, NULL);
    pj_postgres_close(watch->postgres);
    for (size_t i = 0; i < watch->place_count; i++)
        free(watch->places[i].items);
    free(watch->places);
    pj_timing_free(&watch->timing);
    pthread_mutex_destroy(&watch->mutex);
    free(watch->is_read);
    free(watch->group);
    free(watch->cluster_id);
    free(watch);
}

void pj_watch_expect(struct pj_watch *watch, size_t topic, int32_t partition, int64_t offset,
                     int64_t due_us)
{
    pthread_mutex_lock(&watch->mutex);
    if (watch->is_read[topic]) {
        struct place *place = find_place(watch, topic, partition);
        if (place->first + place->count == place->room) {
            /* What is visible makes room. */
            if (place->first >= place->room / 2 && place->first > 0) {
                memmove(place->items, place->items + place->first,
                        place->count * sizeof *place->items);
                place->first = 0;
            } else {
                place->room = place->room > 0 ? 2 * place->room : 1024;
                place->items = pj_resize(place->items, place->room, sizeof *place->items);
            }
        }
        place->items[place->first + place->count++] = (struct expected){offset, due_us};
        watch->pending++;
    }
    pthread_mutex_unlock(&watch->mutex);
}

int pj_watch_pending(struct pj_watch *watch, int64_t *pending, int64_t *progress_ms,
                     struct pj_error *error)
{
    pthread_mutex_lock(&watch->mutex);
    bool failed = watch->has_failed;
    if (failed)
        *error = watch->failure;
    *pending = watch->pending;
    *progress_ms = watch->progress_ms;
    pthread_mutex_unlock(&watch->mutex);
    return failed ? -1 : 0;
}

struct pj_timing *pj_watch_timing(struct pj_watch *watch)
{
    return &watch->timing;
}

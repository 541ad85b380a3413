/* SPDX-License-Identifier: Apache-2.0 */
#include "projections/drama/drama.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

const char *const drama_statuses[] = {"pending",   "processing", "running",
                                      "completed", "failed",     NULL};

/* --- what is refused ------------------------------------------------------------------------- */

/* Where the things of each level are, and what they have of media. */
static const struct level {
    const char *name;
    size_t steps;
    const char *slots[2];
} levels[] = {
    {"drama", 0, {"url", "cover_url"}},
    {"character", 1, {"url", "premise_url"}},
    {"episode", 1, {"url"}},
    {"scene", 2, {"image_url", "video_url"}},
    {"drama_asset", 1, {"url"}},
    {"character_asset", 2, {"url"}},
    {"episode_asset", 2, {"url"}},
    {"scene_asset", 3, {"url"}},
};

static int shown(const struct pj_text *text)
{
    return (int)(text->text.length < 64 ? text->text.length : 64);
}

static int check_id(const char *name, struct pj_text id, struct pj_error *error)
{
    if (!id.present || id.text.length > 0)
        return 0;
    return pj_error_set(error, PJ_POISON, "%s is empty: give an id of 1 to 200 characters", name);
}

static int check_media(const struct drama_event *event, struct pj_error *error)
{
    const struct level *level = NULL;
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (pj_text_is(&event->level.value, levels[i].name))
            level = &levels[i];
    }
    if (level == NULL)
        return pj_error_set(error, PJ_POISON, "level \"%.*s\" is not a known word",
                            shown(&event->level), event->level.text.data);
    if (pj_items_count(&event->path.value) != level->steps)
        return pj_error_set(error, PJ_POISON, "path has %zu ids, and that of a %s has %zu",
                            pj_items_count(&event->path.value), level->name, level->steps);
    for (size_t i = 0; i < 2 && level->slots[i] != NULL; i++) {
        if (pj_text_is(&event->slot.value, level->slots[i]))
            return 0;
    }
    return pj_error_set(error, PJ_POISON, "slot \"%.*s\" is not one that a %s has",
                        shown(&event->slot), event->slot.text.data, level->name);
}

int drama_check_event(const struct drama_event *event, struct pj_error *error)
{
    if (check_id("drama_id", event->drama_id, error) != 0 ||
        check_id("user_id", event->user_id, error) != 0 ||
        check_id("job_id", event->job_id, error) != 0)
        return -1;
    if (event->media_set.present)
        return check_media(event, error);
    if (event->saved.present || event->status_changed.present || event->deleted.present)
        return 0;
    return pj_error_set(
        error, PJ_POISON,
        "body is none of DramaSaved, DramaStatusChanged, MediaSet and DramaDeleted");
}

int drama_check_job(const struct drama_job_event *event, struct pj_error *error)
{
    if (check_id("drama_id", event->drama_id, error) != 0 ||
        check_id("job_id", event->job_id, error) != 0 ||
        check_id("user_id", event->user_id, error) != 0 ||
        check_id("parent_job_id", event->parent_job_id, error) != 0)
        return -1;
    if (event->created.present || event->status_changed.present)
        return 0;
    return pj_error_set(error, PJ_POISON, "body is neither JobCreated nor JobStatusChanged");
}

int drama_check_user(const struct drama_user_event *event, struct pj_error *error)
{
    if (check_id("user_id", event->user_id, error) != 0 ||
        check_id("drama_id", event->drama_id, error) != 0 ||
        check_id("job_id", event->job_id, error) != 0)
        return -1;
    if (event->registered.present || event->changed.present || event->tokens_changed.present ||
        event->deleted.present)
        return 0;
    return pj_error_set(
        error, PJ_POISON,
        "body is none of UserRegistered, UserChanged, TokensChanged and UserDeleted");
}

/* --- words and order ------------------------------------------------------------------------- */

struct pj_text drama_status(struct pj_text word)
{
    return pj_text_is(&word.value, "running") ? PJ_TEXT("processing") : word;
}

struct pj_order drama_order(int64_t rank, int64_t next, struct pj_uuid event_id)
{
    struct pj_order order = {.rank = {rank, next}};
    memcpy(order.tie, event_id.uuid, sizeof order.tie);
    return order;
}

struct pj_order drama_earliest(int64_t life, int64_t revision, struct pj_uuid event_id)
{
    struct pj_order order = drama_order(life, ~revision, event_id);
    for (size_t i = 0; i < sizeof order.tie; i++)
        order.tie[i] = (uint8_t)~order.tie[i];
    return order;
}

/* --- ids of siblings ------------------------------------------------------------------------- */

struct sibling {
    struct pj_text written;
    size_t place;
};

static int compare_written(const void *a, const void *b)
{
    const struct sibling *x = a;
    const struct sibling *y = b;
    return pj_value_compare(PJ_TEXT, &x->written.value, &y->written.value);
}

static int compare_siblings(const void *a, const void *b)
{
    const struct sibling *x = a;
    const struct sibling *y = b;
    int compared = compare_written(a, b);
    return compared != 0 ? compared : (x->place > y->place) - (x->place < y->place);
}

static struct pj_text numbered(struct pj_observer *observer, struct pj_text id, size_t number)
{
    enum { DIGITS_MOST = 24 };
    size_t size = id.text.length + DIGITS_MOST;
    char *text = pj_observer_alloc(observer, size);
    if (id.text.length > 0)
        memcpy(text, id.text.data, id.text.length);
    int digits = snprintf(text + id.text.length, DIGITS_MOST, "#%zu", number);
    return PJ_TEXT(pj_text_of(text, id.text.length + (size_t)digits));
}

/* Two ids that are numbered here differ: before the last "#" is one that was written, and each of
 * these counts for itself. So only what is written can be in the way. */
const struct pj_text *drama_sibling_ids(struct pj_observer *observer, struct pj_array array)
{
    size_t count = pj_items_count(&array.value);
    struct pj_text *ids = pj_observer_alloc(observer, (count + 1) * sizeof *ids);
    struct sibling *sorted = pj_observer_alloc(observer, (count + 1) * sizeof *sorted);
    for (struct pj_array_item item = {0}; pj_items_next(&array.value, &item);) {
        struct pj_text id = PJ_TEXT(item.values[0]);
        sorted[item.index] = (struct sibling){
            id.text.length > 0 ? id : numbered(observer, id, item.index + 1), item.index};
    }
    if (count > 1)
        qsort(sorted, count, sizeof *sorted, compare_siblings);
    size_t next = 2;
    for (size_t i = 0; i < count; i++) {
        struct sibling free_one = sorted[i];
        if (i == 0 || compare_written(&sorted[i - 1], &sorted[i]) != 0)
            next = 2; /* the first has the id as it is written */
        else
            do
                free_one.written = numbered(observer, sorted[i].written, next++);
            while (bsearch(&free_one, sorted, count, sizeof *sorted, compare_written) != NULL);
        ids[sorted[i].place] = free_one.written;
    }
    return ids;
}

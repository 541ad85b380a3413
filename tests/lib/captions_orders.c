/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/captions_orders.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { TENANT = 1, VIDEO = 10, EVENTS_FROM = 100000, MINUTE_US = 60000000 };

struct captions_orders captions_orders_start(const struct pj_projection *projection)
{
    return (struct captions_orders){.orders = pj_orders_of(projection), .next_event = 1};
}

static size_t source_of(const struct pj_orders *orders, const char *name)
{
    const struct pj_projection *projection = orders->projection;
    char topic[64];
    size_t s = 0;
    (void)snprintf(topic, sizeof topic, "captions.%s", name);
    while (s < projection->source_count && strcmp(projection->sources[s].topic, topic) != 0)
        s++;
    cr_assert_lt(s, projection->source_count, "it does not read %s", topic);
    return s;
}

/* --- fields by their paths ------------------------------------------------------------------- */

/* What follows "body.BRANCH" in the path; NULL in another branch, or outside of the body. */
static const char *in_branch(const struct pj_field *field, const char *branch, size_t length)
{
    const char *path = field->path;
    return strncmp(path, "body.", 5) == 0 && strncmp(path + 5, branch, length) == 0 &&
                   (path[5 + length] == '\0' || path[5 + length] == '.')
               ? path + 5 + length
               : NULL;
}

static struct pj_value *value_of(const struct pj_source *source, struct pj_value *values,
                                 const char *end)
{
    for (size_t f = 0; f < source->field_count; f++) {
        const char *path = source->fields[f].path;
        const char *dot = strrchr(path, '.');
        if (strcmp(dot != NULL ? dot + 1 : path, end) == 0 &&
            (values[f].present || dot == NULL || source->fields[f].required))
            return &values[f];
    }
    return NULL;
}

static struct pj_value least_value(struct captions_orders *s, const struct pj_field *field)
{
    switch (field->type) {
    case PJ_UUID:
        return pj_orders_uuid(50);
    case PJ_TEXT:
        return field->words != NULL ? pj_text(field->words[0])
               : strstr(field->path, "storage_") != NULL
                   ? captions_key(s, PJ_UUID(pj_orders_uuid(TENANT)),
                                  PJ_UUID(pj_orders_uuid(VIDEO)), "video.mp4")
                   : pj_text("t");
    case PJ_TIMESTAMPTZ:
        return pj_orders_time(0);
    case PJ_DOUBLE:
        return pj_double(10);
    default:
        return pj_bigint(strstr(field->path, "run_count") != NULL ||
                         strcmp(field->path, "body.CropStarted.version") == 0);
    }
}

struct pj_value *captions_event(struct captions_orders *s, const char *name, const char *body,
                                int64_t ms)
{
    size_t index = source_of(&s->orders, name);
    const struct pj_source *source = &s->orders.projection->sources[index];
    struct pj_value *values = pj_orders_event(&s->orders, index, (int32_t)(s->next_event % 3));
    bool found = body == NULL;
    for (size_t f = 0; f < source->field_count; f++) {
        const struct pj_field *field = &source->fields[f];
        const char *rest = body != NULL ? in_branch(field, body, strlen(body)) : NULL;
        if (rest != NULL && *rest == '\0')
            values[f] = pj_bool(true);
        else if (field->required && (rest != NULL || strncmp(field->path, "body.", 5) != 0))
            values[f] = least_value(s, field);
        found = found || rest != NULL;
    }
    cr_assert(found, "captions.%s has no %s", name, body);
    struct pj_value *tenant = value_of(source, values, "tenant_id");
    struct pj_value *video = value_of(source, values, "video_id");
    if (tenant != NULL)
        *tenant = pj_orders_uuid(TENANT);
    if (video != NULL)
        *video = pj_orders_uuid(VIDEO);
    values[0] = pj_orders_uuid(EVENTS_FROM + s->next_event++);
    *value_of(source, values, "emitted_at") = pj_orders_time(ms);
    return values;
}

struct pj_value captions_key(struct captions_orders *s, struct pj_uuid tenant, struct pj_uuid video,
                             const char *rest)
{
    char text[2][37];
    const struct pj_uuid *ids[] = {&tenant, &video};
    for (int i = 0; i < 2; i++) {
        int length = 0;
        for (int b = 0; b < 16; b++)
            length += snprintf(text[i] + length, sizeof text[i] - (size_t)length, "%s%02x",
                               b == 4 || b == 6 || b == 8 || b == 10 ? "-" : "", ids[i]->uuid[b]);
    }
    return pj_orders_text(&s->orders, "%s/%s/%s", text[0], text[1], rest);
}

/* --- checks ---------------------------------------------------------------------------------- */

void captions_expect(const struct captions_orders *s, const char *text)
{
    cr_assert(pj_orders_expect(&s->orders, text));
}

void captions_refuse(const struct captions_orders *s, const char *text)
{
    cr_assert(pj_orders_refuse(&s->orders, text));
}

void captions_is_dead_letter(struct captions_orders *s, const char *sentence)
{
    struct pj_error error = {0};
    const struct pj_orders_event *last = pj_orders_last(&s->orders);
    const struct pj_event event = {.values = last->values};
    cr_assert_eq(s->orders.projection->sources[last->source].observe(&event, NULL, &error), -1);
    cr_assert_not_null(strstr(error.message, sentence), "%s", error.message);
    s->orders.count--;
}

/* --- the mixture ----------------------------------------------------------------------------- */

/* One branch of the body stays. */
static void choose_branch(const struct pj_source *source, struct pj_value *values, unsigned *seed)
{
    const char *branches[16];
    size_t count = 0;
    for (size_t f = 0; f < source->field_count; f++) {
        const char *path = source->fields[f].path;
        if (strncmp(path, "body.", 5) == 0 && strchr(path + 5, '.') == NULL)
            branches[count++] = path + 5;
    }
    const char *branch = count > 0 ? branches[(size_t)rand_r(seed) % count] : "";
    /* What ends all else is rare. */
    if ((strstr(branch, "Removed") != NULL || strstr(branch, "Purged") != NULL) &&
        rand_r(seed) % 8 > 0)
        branch = branches[0];
    for (size_t f = 0; f < source->field_count; f++) {
        const char *rest = in_branch(&source->fields[f], branch, strlen(branch));
        if (rest != NULL && *rest == '\0')
            values[f] = pj_bool(true);
        else if (rest == NULL && strncmp(source->fields[f].path, "body.", 5) == 0)
            values[f] = pj_null();
    }
}

static void put(struct pj_value *value, struct pj_value into)
{
    if (value != NULL && value->present)
        *value = into;
}

/* Ids that meet, keys that are right, times that can be. */
static void fill(struct pj_orders *orders, size_t index, struct pj_value *values, unsigned *seed)
{
    struct captions_orders s = {.orders = *orders};
    const struct pj_source *source = &orders->projection->sources[index];
    choose_branch(source, values, seed);
    struct pj_uuid video = PJ_UUID(pj_orders_uuid(VIDEO + (unsigned)rand_r(seed) % 2));
    struct pj_uuid tenant = PJ_UUID(pj_orders_uuid(rand_r(seed) % 5 > 0 ? TENANT : TENANT + 1));
    static const char *const files[] = {"video.mp4", "captions.db",
                                        "cropped_frames/chunk_0000.webm", "layout.db"};
    static const char *const states[] = {"RUNNING", "COMPLETED", "FAILED", "CANCELLED",
                                         "CRASHED", "SCHEDULED", "Odd"};
    struct pj_value key = captions_key(&s, tenant, video, files[rand_r(seed) % 4]);
    if (strcmp(source->topic, "captions.tenants") != 0 &&
        strcmp(source->topic, "captions.users") != 0)
        put(value_of(source, values, "tenant_id"), tenant.value);
    put(value_of(source, values, "video_id"), video.value);
    put(value_of(source, values, "storage_key"), captions_key(&s, tenant, video, "video.mp4"));
    put(value_of(source, values, "storage_prefix"), captions_key(&s, tenant, video, "cropped"));
    put(value_of(source, values, "layout_db_key"), captions_key(&s, tenant, video, "layout.db"));
    put(value_of(source, values, "layout_db_storage_key"),
        captions_key(&s, tenant, video, "layout.db"));
    put(value_of(source, values, "state_type"), pj_text(states[rand_r(seed) % 7]));
    if (strcmp(source->topic, "captions.objects") == 0) {
        put(value_of(source, values, "key"), key);
        put(value_of(source, values, "bucket"), pj_text("b"));
    }
    struct pj_value *acquired = value_of(source, values, "acquired_at");
    struct pj_value *expires = value_of(source, values, "expires_at");
    int64_t emitted = value_of(source, values, "emitted_at")->integer;
    put(acquired, pj_timestamp(emitted - rand_r(seed) % 3 * INT64_C(15) * MINUTE_US));
    put(expires, pj_timestamp(emitted + (1 + rand_r(seed) % 15) * INT64_C(1) * MINUTE_US));
    *orders = s.orders;
}

void captions_agree(struct captions_orders *s, int count, int times, unsigned seed)
{
    cr_assert(pj_orders_mixture(&s->orders, count, seed, fill),
              "take more events, another seed, or events of your own first");
    cr_assert(pj_orders_agree(&s->orders, times, seed));
}

void captions_agree_for(const struct pj_projection *projection, unsigned seed, unsigned seeds)
{
    enum { EVENTS = 60, ORDERS = 20 };
    for (unsigned i = 0; i < seeds; i++) {
        struct captions_orders s = captions_orders_start(projection);
        (void)pj_orders_mixture(&s.orders, EVENTS, seed + i, fill);
        cr_assert(pj_orders_agree(&s.orders, ORDERS, seed + i), "seed %u", seed + i);
        cr_assert_eq(pj_orders_dead_letters(&s.orders, false), 0, "seed %u", seed + i);
        pj_orders_free(&s.orders);
    }
}

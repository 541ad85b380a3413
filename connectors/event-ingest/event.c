/* SPDX-License-Identifier: Apache-2.0 */
#include "event-ingest/event.h"

#include "base/memory.h"
#include "base/time_text.h"
#include "event-ingest/topics.h"

#include <string.h>
#include <strings.h>

#define AHEAD_MOST_US  (INT64_C(5) * 60 * 1000000)
#define BEHIND_MOST_US (INT64_C(24) * 3600 * 1000000)

static bool is_there(const json_t *json)
{
    return json != NULL && !json_is_null(json);
}

static void set(json_t *event, const char *name, json_t *value)
{
    if (json_object_set_new(event, name, value) != 0)
        pj_memory_ended("a member of an event");
}

/* --- ids and times --------------------------------------------------------------------------- */

/* Microseconds; anything that is no time is left to the encoder, which says so. */
static bool read_time(const json_t *json, const struct pj_avro_type *type, int64_t *time)
{
    if (json_is_string(json))
        return pj_time_read(json_string_value(json), time);
    if (!json_is_integer(json))
        return false;
    *time = json_integer_value(json);
    if (type->logical == PJ_LOGICAL_TIMESTAMP_NANOS)
        *time /= 1000;
    return type->logical != PJ_LOGICAL_TIMESTAMP_MILLIS ||
           !__builtin_mul_overflow(*time, 1000, time);
}

static int64_t in_units_of(const struct pj_avro_type *type, int64_t time_us)
{
    return type->logical == PJ_LOGICAL_TIMESTAMP_MILLIS  ? time_us / 1000
           : type->logical == PJ_LOGICAL_TIMESTAMP_NANOS ? time_us * 1000
                                                         : time_us;
}

static int check_bounds(const char *name, int64_t time, const struct pj_event_rules *rules,
                        struct pj_error *error)
{
    if (time > rules->now_us + AHEAD_MOST_US)
        return pj_error_set(error, PJ_POISON,
                            "the field %s is more than 5 minutes ahead of this server's clock",
                            name);
    if (!rules->is_import && time < rules->now_us - BEHIND_MOST_US)
        return pj_error_set(error, PJ_POISON,
                            "the field %s is more than 24 hours behind this server's clock; older "
                            "events need a token that is marked import",
                            name);
    return 0;
}

static int complete_time(json_t *event, const struct pj_event_rules *rules, struct pj_error *error)
{
    const struct pj_avro_field *field = pj_record_field(rules->record, "emitted_at");
    const json_t *given = json_object_get(event, "emitted_at");
    int64_t time;
    if (!is_there(given)) {
        set(event, "emitted_at", json_integer(in_units_of(field->type, rules->now_us)));
        return 0;
    }
    return read_time(given, field->type, &time) ? check_bounds("emitted_at", time, rules, error)
                                                : 0;
}

/* --- revisions ------------------------------------------------------------------------------- */

/* The member of the event or of its body. */
static const json_t *find(const json_t *event, const char *name)
{
    const json_t *member = json_object_get(event, name);
    return is_there(member) ? member : json_object_get(json_object_get(event, "body"), name);
}

/* max(now, base_revision + 1): whoever has seen a revision comes after it, whatever its clock. */
static int64_t next_revision(const json_t *event, int64_t now_us)
{
    const json_t *base = find(event, "base_revision");
    json_int_t seen = json_integer_value(base);
    return json_is_integer(base) && seen >= now_us && seen < INT64_MAX ? seen + 1 : now_us;
}

bool pj_event_may_have_base(const struct pj_avro_type *record, const json_t *event)
{
    const char *type = json_string_value(json_object_get(json_object_get(event, "body"), "type"));
    const struct pj_avro_field *body = pj_record_field(record, "body");
    for (size_t i = 0; type != NULL && body != NULL && i < body->type->count; i++) {
        const struct pj_avro_type *branch = body->type->branches[i];
        if (branch->kind == PJ_AVRO_RECORD && strcmp(pj_schema_short_name(branch->name), type) == 0)
            return pj_record_field(branch, "base_revision") != NULL;
    }
    return false;
}

int pj_event_expect(json_t *event, const struct pj_avro_type *record, int64_t revision,
                    struct pj_error *error)
{
    if (!pj_event_may_have_base(record, event))
        return 0;
    json_t *body = json_object_get(event, "body");
    const json_t *base = json_object_get(body, "base_revision");
    if (!is_there(base))
        set(body, "base_revision", json_integer(revision));
    else if (!json_is_integer(base) || json_integer_value(base) != revision)
        return pj_error_set(error, PJ_POISON,
                            "the field body.base_revision is not the revision of If-Match");
    return 0;
}

static int complete_revision(json_t *event, const struct pj_event_rules *rules,
                             struct pj_error *error)
{
    if (pj_record_field(rules->record, "revision") == NULL)
        return 0;
    if (!is_there(json_object_get(event, "revision")))
        set(event, "revision", json_integer(next_revision(event, rules->now_us)));
    const json_t *revision = json_object_get(event, "revision");
    if (json_is_integer(revision) &&
        check_bounds("revision", json_integer_value(revision), rules, error) != 0)
        return -1;
    /* What is saved without anything before it begins a life. */
    if (pj_record_field(rules->record, "life") != NULL &&
        !is_there(json_object_get(event, "life")) && pj_event_may_have_base(rules->record, event) &&
        !is_there(find(event, "base_revision")))
        set(event, "life", json_integer(json_integer_value(revision)));
    return 0;
}

/* Who names an event has a fixed form of it, and sends that whole. */
static int complete_id(json_t *event, const struct pj_event_rules *rules, struct pj_error *error)
{
    static const char *const with[] = {"emitted_at", "revision"};
    if (!is_there(json_object_get(event, "event_id"))) {
        set(event, "event_id", json_string(rules->new_id));
        return 0;
    }
    for (size_t i = 0; i < sizeof with / sizeof with[0]; i++) {
        if (pj_record_field(rules->record, with[i]) != NULL &&
            !is_there(json_object_get(event, with[i])))
            return pj_error_set(error, PJ_POISON,
                                "the field %s is missing: an event with an event_id needs %s, too",
                                with[i], with[i]);
    }
    return 0;
}

/* --- whose it is ----------------------------------------------------------------------------- */

static int check_owner(const json_t *object, const char *name, const char *owner, const char *path,
                       struct pj_error *error)
{
    const json_t *member = json_object_get(object, name);
    if (!is_there(member) ||
        (json_is_string(member) && strcasecmp(json_string_value(member), owner) == 0))
        return 0;
    return pj_error_set(error, PJ_POISON, "the field %s%s is not that of the token", path, name);
}

/* Left out, it is the token's. */
static int complete_owner(json_t *event, const struct pj_avro_type *record, const char *name,
                          const char *owner, struct pj_error *error)
{
    if (owner == NULL)
        return 0;
    if (check_owner(event, name, owner, "", error) != 0 ||
        check_owner(json_object_get(event, "body"), name, owner, "body.", error) != 0)
        return -1;
    if (pj_record_field(record, name) != NULL)
        set(event, name, json_string(owner));
    return 0;
}

int pj_event_complete(json_t *event, const struct pj_event_rules *rules, int *status,
                      struct pj_error *error)
{
    *status = 400;
    if (!json_is_object(event))
        return pj_error_set(error, PJ_POISON, "the event is not an object");
    if (complete_id(event, rules, error) != 0 || complete_revision(event, rules, error) != 0 ||
        complete_time(event, rules, error) != 0)
        return -1;
    *status = 403;
    const char *user =
        pj_record_field(rules->record, "user_id") != NULL ? "user_id" : "actor_user_id";
    return complete_owner(event, rules->record, "tenant_id", rules->tenant, error) != 0 ||
                   complete_owner(event, rules->record, user, rules->user, error) != 0
               ? -1
               : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/json_orders.h"

#include "avro/avro_schema.h"
#include "avro/decode.h"
#include "avro/json_encode.h"
#include "avro/wire.h"
#include "fold/check.h"
#include "fold/fold.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

struct json_orders json_orders_start(const struct pj_projection *projection)
{
    struct json_orders j = {.orders = pj_orders_of(projection), .next_event = 1};
    struct pj_error error;
    cr_assert_leq(projection->source_count, JSON_SOURCES_MOST);
    for (size_t s = 0; s < projection->source_count; s++) {
        const struct pj_source *source = &projection->sources[s];
        cr_assert_eq(pj_decoder_new(&j.decoders[s], source, &error), 0, "%s", error.message);
        cr_assert_eq(pj_plan_new(&j.plans[s], j.decoders[s], source->schema, &error), 0, "%s",
                     error.message);
    }
    return j;
}

void json_orders_stop(struct json_orders *j)
{
    for (size_t s = 0; s < JSON_SOURCES_MOST; s++) {
        pj_plan_free(j->plans[s]);
        pj_decoder_free(j->decoders[s]);
    }
    pj_orders_free(&j->orders);
}

static json_t *read(const struct json_orders *j, const char *text)
{
    struct pj_arena *arena = pj_arena_new();
    char *quoted = pj_arena_string(arena, text, strlen(text));
    json_error_t wrong;
    for (char *c = quoted; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    json_t *event = json_loads(quoted, JSON_ALLOW_NUL, &wrong);
    cr_assert_not_null(event, "%s: %s", wrong.text, quoted);
    pj_arena_free(arena);
    char id[37];
    snprintf(id, sizeof id, "00000000-0000-4000-8000-%012x", j->next_event);
    if (json_object_get(event, "event_id") == NULL)
        json_object_set_new(event, "event_id", json_string(id));
    if (json_object_get(event, "emitted_at") == NULL)
        json_object_set_new(
            event, "emitted_at",
            json_integer(json_integer_value(json_object_get(event, "revision")) * 1000000));
    return event;
}

/* Into values that live as long as the orders. */
static int decode(struct json_orders *j, size_t source, const json_t *event,
                  struct pj_value *values, struct pj_error *error)
{
    struct pj_builder bytes = {0};
    struct pj_schema *schema;
    const char *text = j->orders.projection->sources[source].schema;
    cr_assert_eq(pj_schema_parse(&schema, text, error), 0, "%s", error->message);
    int status = pj_json_encode_record(schema, 1, event, &bytes, error);
    if (status == 0) {
        size_t length = bytes.length - PJ_WIRE_HEADER_SIZE;
        char *kept = pj_arena_alloc(j->orders.arena, length + 1);
        memcpy(kept, bytes.text + PJ_WIRE_HEADER_SIZE, length);
        status = pj_plan_decode(j->plans[source], kept, length, j->orders.arena, values, error);
    }
    free(bytes.text);
    pj_schema_free(schema);
    return status;
}

bool json_try(struct json_orders *j, size_t source, const char *json, struct pj_error *error)
{
    const struct pj_projection *projection = j->orders.projection;
    const struct pj_source *of = &projection->sources[source];
    struct pj_value *values =
        pj_arena_alloc(j->orders.arena, of->field_count * sizeof(struct pj_value));
    json_t *event = read(j, json);
    struct pj_arena *arena = pj_arena_new();
    struct pj_fold *fold = pj_fold_new(projection, j->orders.settings, arena);
    struct pj_event seen = {.values = values, .topic = of->topic};
    memset(values, 0, of->field_count * sizeof *values);
    bool taken = decode(j, source, event, values, error) == 0 &&
                 pj_check_values(of, values, true, j->orders.arena, error) == 0 &&
                 pj_fold_observe(fold, of, &seen, error) == 0;
    cr_assert(taken || error->class == PJ_POISON, "%s", error->message);
    pj_arena_free(arena);
    json_decref(event);
    if (!taken)
        return false;
    unsigned number = j->next_event++;
    int32_t partition = (int32_t)(j->partitions > 0 ? number % (unsigned)j->partitions : number);
    memcpy(pj_orders_event(&j->orders, source, partition), values,
           of->field_count * sizeof *values);
    return true;
}

static const char *formatted(struct json_orders *j, const char *format, va_list args)
{
    char *text;
    int length = vasprintf(&text, format, args);
    cr_assert_geq(length, 0);
    const char *kept = pj_arena_string(j->orders.arena, text, (size_t)length);
    free(text);
    return kept;
}

void json_say(struct json_orders *j, size_t source, const char *format, ...)
{
    struct pj_error error;
    va_list args;
    va_start(args, format);
    const char *json = formatted(j, format, args);
    va_end(args);
    cr_assert(json_try(j, source, json, &error), "%s: %s", error.message, json);
}

void json_refused(struct json_orders *j, size_t source, const char *text, const char *format, ...)
{
    struct pj_error error;
    va_list args;
    va_start(args, format);
    const char *json = formatted(j, format, args);
    va_end(args);
    cr_assert_not(json_try(j, source, json, &error), "taken: %s", json);
    cr_assert_not_null(strstr(error.message, text), "%s", error.message);
}

void json_expect(const struct json_orders *j, const char *text)
{
    cr_assert(pj_orders_expect(&j->orders, text));
}

void json_unexpected(const struct json_orders *j, const char *text)
{
    cr_assert(pj_orders_refuse(&j->orders, text));
}

void json_agree(const struct json_orders *j, int times, unsigned seed)
{
    cr_assert(pj_orders_agree(&j->orders, times, seed));
}

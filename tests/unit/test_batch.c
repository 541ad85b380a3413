/* SPDX-License-Identifier: Apache-2.0 */
/* What a batch keeps of a record: its own bytes, and of its fields those that are there. */
#include "encode.h"

#include "base/text.h"
#include "engine/batch.h"
#include "kafka/consumer.h"

#include <criterion/criterion.h>
#include <string.h>

enum { FIELDS = 70, WRITERS_ID = 7 };

static struct pj_field fields[FIELDS];
static struct pj_source source = {.topic = "wide", .fields = fields, .field_count = FIELDS};
static const struct pj_projection projection = {
    .name = "wide", .sources = &source, .source_count = 1};
static struct pj_partition partition = {.topic = "wide", .assigned = true};
static struct pj_schemas *schemas;
static struct pj_batch batch;
static struct pj_error error;

static const char *writers_schema(void *context, int32_t id)
{
    (void)context;
    return id == WRITERS_ID ? source.schema : NULL;
}

/* Fields f0, f1, …, each a long or null. */
static void start(void)
{
    struct pj_builder list = {0};
    given_start();
    for (int f = 0; f < FIELDS; f++) {
        fields[f] = (struct pj_field){pj_arena_printf(given.arena, "f%d", f), PJ_BIGINT};
        pj_builder_add(&list, "%s{'name':'f%d','type':['null','long']}", f > 0 ? "," : "", f);
    }
    char *text = pj_builder_take(&list);
    source.schema = quoted(record_of(text));
    free(text);
    cr_assert_eq(pj_schemas_new(&schemas, &projection, NULL, NULL, &error), 0, "%s", error.message);
    pj_schemas_set_lookup(schemas, writers_schema, NULL);
    batch = pj_batch_new(&projection, schemas, 10000, 8 << 20);
}

static void stop(void)
{
    pj_batch_free(&batch);
    pj_schemas_free(schemas);
    given_stop();
}

TestSuite(batch, .init = start, .fini = stop);

/* Adds a record in which field f is f, if it is among them; its bytes are gone afterwards. */
static void add(bool (*among)(int field))
{
    char value[5 + 2 * FIELDS + FIELDS] = {0, 0, 0, 0, WRITERS_ID};
    char key[] = "key";
    char header[] = "seen";
    size_t length = 5;
    for (int f = 0; f < FIELDS; f++) {
        value[length++] = among(f) ? 2 : 0; /* the branch */
        if (!among(f))
            continue;
        unsigned zigzag = 2 * (unsigned)f;
        if (zigzag > 127) {
            value[length++] = (char)(zigzag | 128);
            zigzag >>= 7;
        }
        value[length++] = (char)zigzag;
    }
    const struct pj_record_header headers[] = {{"trace", pj_text(header)}, {"none", pj_null()}};
    const struct pj_record record = {.partition = &partition,
                                     .offset = (int64_t)batch.count,
                                     .key = key,
                                     .key_length = 3,
                                     .value = value,
                                     .value_length = length,
                                     .headers = headers,
                                     .header_count = 2};
    pj_batch_add(&batch, &record);
    memset(value, 'x', sizeof value);
    memset(key, 'x', sizeof key);
    memset(header, 'x', sizeof header);
}

/* No schema is in memory before; that of the lookup needs no server. */
static void decode(void)
{
    static char no_connection;
    const struct pj_piece all = {&batch, 0, batch.count};
    cr_assert_eq(pj_batch_decode_rest(&all, (struct pj_postgres *)&no_connection, &error), 0, "%s",
                 error.message);
}

static bool none(int field)
{
    return field < 0;
}

static bool every(int field)
{
    return field >= 0;
}

static bool thirds(int field)
{
    return field % 3 == 0;
}

static bool edges(int field)
{
    return field == 0 || field == 63 || field == 64 || field == FIELDS - 1;
}

static void holds(size_t index, bool (*among)(int field))
{
    const struct pj_item *item = &batch.items[index];
    cr_assert_eq(item->state, PJ_ITEM_DECODED, "%s",
                 item->reason != NULL ? item->reason->message : "not decoded");
    const struct pj_value *values = pj_batch_values(&batch, item);
    for (int f = 0; f < FIELDS; f++) {
        cr_assert_eq(values[f].present, among(f), "the field %d of the record %zu", f, index);
        cr_assert(!among(f) || values[f].integer == f, "the field %d of the record %zu", f, index);
    }
}

Test(batch, it_has_the_values_of_each_record)
{
    bool (*const kinds[])(int field) = {every, none, thirds, edges};
    for (size_t i = 0; i < 8; i++)
        add(kinds[i % 4]);
    decode();
    for (size_t i = 8; i < 12; i++)
        add(kinds[i % 4]); /* decoded at once */
    for (size_t i = 12; i-- > 0;)
        holds(i, kinds[i % 4]);
}

Test(batch, it_has_records_of_its_own)
{
    add(every);
    const struct pj_record *record = &batch.items[0].record;
    size_t count;
    const struct pj_record_header *headers = pj_record_headers(record, given.arena, &count);
    cr_assert_arr_eq(record->key, "key", 3);
    cr_assert_eq(((const char *)record->value)[4], WRITERS_ID);
    cr_assert_eq(count, 2);
    cr_assert_str_eq(headers[0].name, "trace");
    cr_assert(pj_text_is(&headers[0].value, "seen"));
    cr_assert_str_eq(headers[1].name, "none");
    cr_assert_not(headers[1].value.present);
}

Test(batch, a_tombstone_stays_one)
{
    const struct pj_record record = {.partition = &partition, .key = "", .key_length = 0};
    pj_batch_add(&batch, &record);
    cr_assert_null(batch.items[0].record.value);
    cr_assert_not_null(batch.items[0].record.key);
    cr_assert_eq(batch.items[0].state, PJ_ITEM_REFUSED); /* the source takes none */
}

Test(batch, fields_that_are_null_take_no_memory)
{
    enum { RECORDS = 1000 };
    add(none);
    decode();
    size_t used = pj_arena_used(batch.arena);
    for (int i = 0; i < RECORDS; i++)
        add(none);
    size_t empty = (pj_arena_used(batch.arena) - used) / RECORDS;
    cr_assert_lt(empty, FIELDS * sizeof(struct pj_value) / 4);
    holds(RECORDS, none);
}

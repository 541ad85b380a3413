/* SPDX-License-Identifier: Apache-2.0 */
/* Postgres's binary formats, byte by byte. */
#include "postgres/binary.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct pj_arena *arena;

static void start(void)
{
    arena = pj_arena_new();
}

static void stop(void)
{
    pj_arena_free(arena);
}

TestSuite(binary, .init = start, .fini = stop);

static const char *hex(const void *data, size_t length)
{
    char *text = pj_arena_alloc(arena, 2 * length + 1);
    for (size_t i = 0; i < length; i++) {
        static const char digits[] = "0123456789abcdef";
        unsigned char byte = ((const unsigned char *)data)[i];
        text[2 * i] = digits[byte >> 4];
        text[2 * i + 1] = digits[byte & 15];
    }
    return text;
}

static struct pj_value bytes(const char *data, size_t length)
{
    struct pj_value value = {.present = true};
    value.text.data = data;
    value.text.length = length;
    return value;
}

#define UUID "\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef"

static void scalar_is(enum pj_type type, struct pj_value value, const char *expected)
{
    struct pj_parameter parameter = pj_binary_scalar(arena, type, &value);
    cr_assert_str_eq(hex(parameter.data, (size_t)parameter.length), expected);
}

Test(binary, scalars)
{
    scalar_is(PJ_BOOL, pj_bool(true), "01");
    scalar_is(PJ_BOOL, pj_bool(false), "00");
    scalar_is(PJ_INT, pj_bigint(-2), "fffffffe");
    scalar_is(PJ_INT, pj_bigint(INT32_MIN), "80000000");
    scalar_is(PJ_BIGINT, pj_bigint(INT64_MIN), "8000000000000000");
    scalar_is(PJ_BIGINT, pj_bigint(258), "0000000000000102");
    scalar_is(PJ_DOUBLE, (struct pj_value){.present = true, .real = -1.5}, "bff8000000000000");
    scalar_is(PJ_TEXT, pj_text("hi"), "6869");
    scalar_is(PJ_TEXT, pj_text(""), "");
    scalar_is(PJ_UUID, pj_uuid((const uint8_t *)UUID), "0123456789abcdef0123456789abcdef");
    scalar_is(PJ_JSONB, pj_text("{}"), "017b7d");
    scalar_is(PJ_NUMERIC, pj_text("-1.5"), "2d312e35");
    scalar_is(PJ_BYTEA, bytes("\0\377", 2), "00ff");
}

/* Microseconds since 2000, which is 946,684,800 s after 1970. */
Test(binary, timestamps)
{
    scalar_is(PJ_TIMESTAMPTZ, pj_timestamp(946684800000000), "0000000000000000");
    scalar_is(PJ_TIMESTAMPTZ, pj_timestamp(946684800000001), "0000000000000001");
    scalar_is(PJ_TIMESTAMPTZ, pj_timestamp(946684799999999), "ffffffffffffffff");
    scalar_is(PJ_TIMESTAMPTZ, pj_timestamp(0), "fffca2fec4c82000");
    scalar_is(PJ_TIMESTAMPTZ, pj_timestamp(-210866803200000000), "fd0f7cc1411fa000");
    scalar_is(PJ_TIMESTAMPTZ, pj_timestamp(INT64_MAX), "7ffca2fec4c81fff");
}

Test(binary, null)
{
    struct pj_value null = pj_null();
    for (enum pj_type type = PJ_BOOL; type <= PJ_BYTEA; type++) {
        struct pj_parameter parameter = pj_binary_scalar(arena, type, &null);
        cr_assert_null(parameter.data);
        cr_assert_eq(parameter.length, 0);
    }
    /* An empty text is not null. */
    struct pj_value empty = pj_text("");
    cr_assert_not_null(pj_binary_scalar(arena, PJ_TEXT, &empty).data);
}

static void array_is(enum pj_type type, size_t count, size_t column, const char *expected)
{
    static const struct pj_value first[] = {{.present = true, .integer = 7}, {.present = false}};
    static struct pj_value second[2];
    second[0] = pj_bigint(-1);
    second[1] = pj_text("ab");
    const struct pj_value *rows[] = {first, second};
    struct pj_parameter parameter = pj_binary_array(arena, type, rows, count, column);
    cr_assert_str_eq(hex(parameter.data, (size_t)parameter.length), expected);
}

Test(binary, arrays)
{
    array_is(PJ_INT, 2, 0,
             "00000001" /* dimensions */
             "00000000" /* no nulls */
             "00000017" /* int4 */
             "00000002"
             "00000001" /* two, from 1 */
             "00000004"
             "00000007"
             "00000004"
             "ffffffff");
    array_is(PJ_TEXT, 2, 1,
             "00000001"
             "00000001"
             "00000019"
             "00000002"
             "00000001"
             "ffffffff"
             "00000002"
             "6162");
    array_is(PJ_JSONB, 2, 1,
             "00000001"
             "00000001"
             "00000eda"
             "00000002"
             "00000001"
             "ffffffff"
             "00000003"
             "016162");
    array_is(PJ_BIGINT, 0, 0,
             "00000001"
             "00000000"
             "00000014"
             "00000000"
             "00000001");
}

Test(binary, types)
{
    static const struct {
        const char *sql;
        uint32_t array;
    } expected[] = {
        [PJ_BOOL] = {"bool", 1000},
        [PJ_INT] = {"int4", 1007},
        [PJ_BIGINT] = {"int8", 1016},
        [PJ_DOUBLE] = {"float8", 1022},
        [PJ_TEXT] = {"text", 1009},
        [PJ_UUID] = {"uuid", 2951},
        [PJ_TIMESTAMPTZ] = {"timestamptz", 1185},
        [PJ_JSONB] = {"jsonb", 3807},
        [PJ_NUMERIC] = {"text", 1009},
        [PJ_BYTEA] = {"bytea", 1001},
    };
    for (enum pj_type type = PJ_BOOL; type <= PJ_BYTEA; type++) {
        cr_assert_str_eq(pj_binary_sql_type(type), expected[type].sql);
        cr_assert_eq(pj_binary_array_oid(type), expected[type].array);
    }
}

/* --- COPY ------------------------------------------------------------------------------------ */

static const struct pj_column columns[] = {
    {"id", PJ_UUID, .key = true}, {"text", PJ_TEXT}, {"count", PJ_BIGINT}};
static const struct pj_table table = {
    .name = "t", .kind = PJ_APPEND_TABLE, .columns = columns, .column_count = 3};

#define HEADER                                                                                     \
    "5047434f50590aff0d0a00"                                                                       \
    "00000000"                                                                                     \
    "00000000"

Test(binary, a_copy)
{
    struct pj_builder buffer = {0};
    struct pj_value row[] = {pj_uuid((const uint8_t *)UUID), pj_null(), pj_bigint(5)};
    pj_copy_start(&buffer);
    pj_copy_row(&buffer, &table, row);
    row[1] = pj_text("");
    pj_copy_row(&buffer, &table, row);
    pj_copy_finish(&buffer);
    cr_assert_str_eq(hex(buffer.text, buffer.length), HEADER "0003"
                                                             "00000010"
                                                             "0123456789abcdef0123456789abcdef"
                                                             "ffffffff"
                                                             "00000008"
                                                             "0000000000000005"
                                                             "0003"
                                                             "00000010"
                                                             "0123456789abcdef0123456789abcdef"
                                                             "00000000"
                                                             "00000008"
                                                             "0000000000000005"
                                                             "ffff");
    /* The next one starts from nothing. */
    pj_copy_start(&buffer);
    pj_copy_finish(&buffer);
    cr_assert_str_eq(hex(buffer.text, buffer.length), HEADER "ffff");
    pj_builder_free(&buffer);
    cr_assert_null(buffer.text);
    pj_builder_free(&buffer);
}

Test(binary, a_copy_of_many_rows)
{
    struct pj_builder buffer = {0};
    char *text = pj_arena_alloc(arena, 1001);
    memset(text, 'x', 1000);
    struct pj_value row[] = {pj_uuid((const uint8_t *)UUID), pj_text(text), pj_bigint(5)};
    pj_copy_start(&buffer);
    for (int i = 0; i < 1000; i++)
        pj_copy_row(&buffer, &table, row);
    pj_copy_finish(&buffer);
    cr_assert_eq(buffer.length, 19 + 1000 * (2 + 20 + 1004 + 12) + 2);
    pj_builder_free(&buffer);
}

Test(binary, where_a_copy_is_possible)
{
    static const struct pj_column numeric[] = {{"id", PJ_UUID, .key = true}, {"n", PJ_NUMERIC}};
    struct pj_table other = table;
    cr_assert(pj_copy_possible(&table));
    other.columns = numeric;
    other.column_count = 2;
    cr_assert_not(pj_copy_possible(&other));
}

/* Only its length is looked at, so nothing of that size has to be there. */
Test(binary, parameters_that_postgres_would_not_take)
{
    static const struct pj_statement statement = {.name = "pj_of_two", .parameter_count = 2};
    struct pj_parameter parameters[] = {{"", (size_t)400 << 20}, {"", (size_t)300 << 20}};
    struct pj_error error;
    cr_assert_eq(pj_postgres_check_size(&statement, parameters, &error), 0);
    parameters[1].length = (size_t)500 << 20;
    cr_assert_eq(pj_postgres_check_size(&statement, parameters, &error), -1);
    cr_assert_eq(error.class, PJ_POISON);
    cr_assert_str_eq(error.sqlstate, "54000");
    cr_assert_not_null(strstr(error.message, "pj_of_two take 900 MiB"));
    parameters[1].length = (size_t)5 << 30; /* over what an int holds */
    cr_assert_eq(pj_postgres_check_size(&statement, parameters, &error), -1);
}

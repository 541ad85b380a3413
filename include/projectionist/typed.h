/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields, facts and columns as members of structs, each made from one list: a value of another
 * type, or a column of another table, does not compile. It is a layer over the arrays of
 * projection.h, which the lists make, too; the two can be mixed.
 *
 *     #define ORDER_PLACED(FIELD)                                                 \
 *         FIELD(event_id, "event_id", PJ_UUID, .required = true)                  \
 *         FIELD(emitted_at, "emitted_at", PJ_TIMESTAMPTZ, .required = true)       \
 *         FIELD(price, "body.Placed.price", PJ_BIGINT, .least = "0")
 *     PJ_FIELDS(order_placed, ORDER_PLACED);
 *
 *     #define ORDERS(COLUMN)                                                      \
 *         COLUMN(order_id, PJ_UUID, .key = true)                                  \
 *         COLUMN(price, PJ_BIGINT)
 *     PJ_COLUMNS(orders, ORDERS);
 *
 *     #define PLACED(VALUE) VALUE(price, PJ_BIGINT) VALUE(at, PJ_TIMESTAMPTZ)
 *     #define ORDER_FACTS(FACT)                                                   \
 *         FACT(placed, PJ_LEAST, PLACED)
 *     PJ_FACTS(order, ORDER, ORDER_FACTS);
 *
 * What a list names is a member from then on:
 *
 *     const struct order_placed *e = PJ_EVENT(event, order_placed);
 *     PJ_KEEP(observer, placed, e->event_id.uuid, NULL, &order, {.price = e->price});
 *     …
 *     struct orders *row = PJ_ROW(derivation, orders);
 *     row->price = PJ_FACT(entity, placed)->price;
 *     row->price = PJ_TEXT("free");  error: incompatible types when assigning to type
 *                                    'struct pj_bigint' from type 'struct pj_text'
 *
 * A list is a macro whose parameter (FIELD, COLUMN, FACT, VALUE) stands before each entry. After an
 * entry's type may be members of its struct pj_field, pj_column or pj_fact_kind. The names of lists
 * and facts are structs, so each is there once in a file. A column whose name is a word of C
 * ("default") cannot be in a list.
 */
#ifndef PROJECTIONIST_TYPED_H
#define PROJECTIONIST_TYPED_H

#include "projectionist/projection.h"

#include <string.h>

/* --- values ---------------------------------------------------------------------------------- */

/*
 * struct pj_text, struct pj_bigint and so on: a struct pj_value that is of this type. They have
 * `present`, the one member of the type (`text`, `integer`, …), and `value`, for functions that
 * take or give a struct pj_value. What comes in by `value` is checked when it is written.
 */
#define PJ_VALUE_TYPES(TYPE)                                                                       \
    TYPE(pj_bool, bool boolean)                                                                    \
    TYPE(pj_int, int64_t integer)                                                                  \
    TYPE(pj_bigint, int64_t integer)                                                               \
    TYPE(pj_double, double real)                                                                   \
    TYPE(pj_text, PJ_TEXT_MEMBER)                                                                  \
    TYPE(pj_uuid, uint8_t uuid[16])                                                                \
    TYPE(pj_timestamptz, int64_t integer)                                                          \
    TYPE(pj_jsonb, PJ_TEXT_MEMBER)                                                                 \
    TYPE(pj_numeric, PJ_TEXT_MEMBER)                                                               \
    TYPE(pj_bytea, PJ_TEXT_MEMBER)                                                                 \
    TYPE(pj_counts, PJ_TEXT_MEMBER)                                                                \
    TYPE(pj_array, PJ_ITEMS_MEMBER)

#define PJ_TEXT_MEMBER                                                                             \
    struct {                                                                                       \
        const char *data;                                                                          \
        size_t length;                                                                             \
    } text
#define PJ_ITEMS_MEMBER                                                                            \
    struct {                                                                                       \
        const struct pj_value *values;                                                             \
        uint32_t count, width;                                                                     \
    } items

/*
 * C lets an initializer without braces reach the first member of a struct: {.price = 7}, a plain
 * value, one of another type. That member is a pointer which nothing is, so they do not compile.
 * (But {.price = 0} does, and is null.) Older compilers would only warn of some of it.
 */
#pragma GCC diagnostic error "-Wint-conversion"
#pragma GCC diagnostic error "-Wincompatible-pointer-types"
#define PJ_VALUE_STRUCT(tag, member)                                                               \
    struct tag {                                                                                   \
        union {                                                                                    \
            struct tag##_wanted *never;                                                            \
            struct pj_value value;                                                                 \
            struct {                                                                               \
                bool present;                                                                      \
                uint8_t shape;                                                                     \
                _Alignas(struct pj_value) member;                                                  \
            };                                                                                     \
        };                                                                                         \
    };                                                                                             \
    static inline struct tag tag##_as(struct pj_value value)                                       \
    {                                                                                              \
        return (struct tag){.value = value};                                                       \
    }                                                                                              \
    static inline struct tag tag##_or(struct tag a, struct tag b)                                  \
    {                                                                                              \
        return a.present ? a : b;                                                                  \
    }
PJ_VALUE_TYPES(PJ_VALUE_STRUCT)
_Static_assert(offsetof(struct pj_value, integer) == _Alignof(struct pj_value), "members match");

/*
 * A value of the type, of what its constructor in value.h takes, or of a struct pj_value:
 *
 *     PJ_TEXT("QUEUED")    PJ_BIGINT(1)    PJ_UUID(pj_entity_key(entity))
 *     PJ_BIGINT(pj_json_integer(size))
 *
 * Null is what an initializer does not name, and PJ_TEXT(pj_null()).
 */
#define PJ_BOOL(of)          PJ_OF(pj_bool, of, pj_bool_of)
#define PJ_INT(of)           PJ_OF(pj_int, of, pj_int_of)
#define PJ_BIGINT(of)        PJ_OF(pj_bigint, of, pj_bigint_of)
#define PJ_DOUBLE(of)        PJ_OF(pj_double, of, pj_double_of)
#define PJ_TEXT(of)          PJ_OF(pj_text, of, pj_text_of_string)
#define PJ_UUID(of)          PJ_OF(pj_uuid, of, pj_uuid_of)
#define PJ_TIMESTAMPTZ(of)   PJ_OF(pj_timestamptz, of, pj_timestamptz_of)
#define PJ_JSONB(of)         PJ_OF(pj_jsonb, of, pj_jsonb_of_string)
#define PJ_NUMERIC(of)       PJ_OF(pj_numeric, of, pj_numeric_of_string)
#define PJ_BYTEA(of)         pj_bytea_as(of)
#define PJ_COUNTS(of)        pj_counts_as(of)
#define PJ_OF(tag, of, make) _Generic((of), struct pj_value : tag##_as, default : make)(of)

#define PJ_MAKE(name, tag, argument, plain)                                                        \
    static inline struct tag name(argument of)                                                     \
    {                                                                                              \
        return (struct tag){.value = plain(of)};                                                   \
    }
PJ_MAKE(pj_bool_of, pj_bool, bool, pj_bool)
PJ_MAKE(pj_int_of, pj_int, int32_t, pj_bigint)
PJ_MAKE(pj_bigint_of, pj_bigint, int64_t, pj_bigint)
PJ_MAKE(pj_double_of, pj_double, double, pj_double)
PJ_MAKE(pj_text_of_string, pj_text, const char *, pj_text)
PJ_MAKE(pj_uuid_of, pj_uuid, const uint8_t *, pj_uuid)
PJ_MAKE(pj_timestamptz_of, pj_timestamptz, int64_t, pj_timestamp)
PJ_MAKE(pj_jsonb_of_string, pj_jsonb, const char *, pj_text)
PJ_MAKE(pj_numeric_of_string, pj_numeric, const char *, pj_text)

/* The first of two values of one type that is not null: PJ_OR(row->created_at, e->emitted_at). */
#define PJ_OR(a, b)                                                                                \
    _Generic((a), struct pj_bool                                                                   \
             : pj_bool_or, struct pj_int                                                           \
             : pj_int_or, struct pj_bigint                                                         \
             : pj_bigint_or, struct pj_double                                                      \
             : pj_double_or, struct pj_text                                                        \
             : pj_text_or, struct pj_uuid                                                          \
             : pj_uuid_or, struct pj_timestamptz                                                   \
             : pj_timestamptz_or, struct pj_jsonb                                                  \
             : pj_jsonb_or, struct pj_numeric                                                      \
             : pj_numeric_or, struct pj_bytea                                                      \
             : pj_bytea_or, struct pj_counts                                                       \
             : pj_counts_or)(a, b)

/* --- lists ----------------------------------------------------------------------------------- */

/* struct NAME with a member for each entry VALUE(member, TYPE). */
#define PJ_VALUES(name, LIST)                                                                      \
    struct name {                                                                                  \
        LIST(PJ_MEMBER)                                                                            \
    };                                                                                             \
    _Static_assert(sizeof(struct name) > 0, #name " has a value")

/* struct NAME, and what PJ_FIELDS_OF(NAME) takes, of entries FIELD(member, "path", TYPE, …). An
 * array whose items have fields is of the type PJ_ITEMS. */
#define PJ_FIELDS(name, LIST)                                                                      \
    struct name {                                                                                  \
        LIST(PJ_FIELD_MEMBER)                                                                      \
    };                                                                                             \
    PJ_MAYBE_UNUSED static const struct pj_field name##_fields[] = {LIST(PJ_FIELD_ENTRY)};         \
    _Static_assert(sizeof(struct name) > 0, #name " has a field")

/* struct NAME, and what PJ_COLUMNS_OF(NAME) takes, of entries COLUMN(name, TYPE, …). */
#define PJ_COLUMNS(name, LIST)                                                                     \
    struct name {                                                                                  \
        LIST(PJ_MEMBER)                                                                            \
    };                                                                                             \
    PJ_MAYBE_UNUSED static const struct pj_column name##_columns[] = {LIST(PJ_COLUMN_ENTRY)};      \
    _Static_assert(PJ_COUNT(name##_columns) <= PJ_COLUMNS_MOST, #name " has too many columns")

/*
 * Of entries FACT(name, PJ_GREATEST or PJ_LEAST, LIST, …), each with a list VALUE(member, TYPE): a
 * struct of the name of each fact, and what PJ_FACTS_OF(NAME) takes. ENTITY is the number of the
 * kind among the projection's entities. That of a fact, for functions that want it, is <fact>_fact.
 */
#define PJ_FACTS(name, ENTITY, LIST)                                                               \
    LIST(PJ_FACT_STRUCT)                                                                           \
    enum { name##_pj_before = ((ENTITY) << 16) - 1, LIST(PJ_FACT_ID) };                            \
    enum { LIST(PJ_FACT_NUMBER) };                                                                 \
    PJ_MAYBE_UNUSED static const struct pj_fact_kind name##_facts[] = {LIST(PJ_FACT_ENTRY)}

/* Members of a struct pj_source or pj_items, of a struct pj_table, of a struct pj_entity_kind. */
#define PJ_FIELDS_OF(list)  .fields = list##_fields, .field_count = PJ_COUNT(list##_fields)
#define PJ_COLUMNS_OF(list) .columns = list##_columns, .column_count = PJ_COUNT(list##_columns)
#define PJ_FACTS_OF(list)   .facts = list##_facts, .fact_count = PJ_COUNT(list##_facts)

/* The number of a field or column: for event_time, parents, placeholder, first_seen, trimmed_by. */
#define PJ_INDEX(list, member) (offsetof(struct list, member) / sizeof(struct pj_value))

/* A source whose events have their time in the field emitted_at. */
#define PJ_SOURCE(of_topic, of_schema, list, observe_function)                                     \
    {                                                                                              \
        .topic = of_topic, .schema = of_schema, PJ_FIELDS_OF(list),                                \
        .event_time = PJ_INDEX(list, emitted_at), .observe = observe_function,                     \
    }

/* Members of a struct pj_projection: PJ_TABLES(&orders_table, &prices_table). */
#define PJ_SOURCES(...)                                                                            \
    .sources = (const struct pj_source[]){__VA_ARGS__},                                            \
    .source_count = PJ_COUNT(((const struct pj_source[]){__VA_ARGS__}))
#define PJ_ENTITIES(...)                                                                           \
    .entities = (const struct pj_entity_kind[]){__VA_ARGS__},                                      \
    .entity_count = PJ_COUNT(((const struct pj_entity_kind[]){__VA_ARGS__}))
#define PJ_TABLES(...)                                                                             \
    .tables = (const struct pj_table *const[]){__VA_ARGS__},                                       \
    .table_count = PJ_COUNT(((const struct pj_table *const[]){__VA_ARGS__}))

/* --- in observe and derive ------------------------------------------------------------------- */

/* The order of up to four ranks, then of the event's id: PJ_ORDER(e->event_id,
 * e->emitted_at.integer) */
#define PJ_ORDER(event_id, ...) pj_order_of((const int64_t[4]){__VA_ARGS__}, event_id)

/* Values as the struct of a list: of an event, of an item (pj_items_next), of a name. */
#define PJ_VIEW(list, values) ((const struct list *)pj_view(values))
#define PJ_EVENT(event, list) PJ_VIEW(list, (event)->values)

/* The struct of a list, or one value, as values: PJ_PARTS(e->item) is a name of one part. */
#define PJ_PARTS(record) ((const struct pj_value *)&(record))

/* pj_append, pj_row and pj_claim of the table <list>_table: a struct of the list, all null. */
#define PJ_APPEND(observer, list) ((struct list *)pj_append(observer, &list##_table))
#define PJ_ROW(derivation, list)  ((struct list *)pj_row(derivation, &list##_table))
#define PJ_CLAIM(derivation, list, order)                                                          \
    ((struct list *)pj_claim(derivation, &list##_table, order))

/* pj_keep and others. Last are the fact's values: {.member = …}, or a struct of its name. */
#define PJ_KEEP(observer, fact, key, subkey, order, ...)                                           \
    do {                                                                                           \
        const struct fact pj_said = __VA_ARGS__;                                                   \
        pj_keep(observer, fact##_entity, key, fact##_fact, subkey, order, PJ_PARTS(pj_said));      \
    } while (0)
#define PJ_KEEP_NAMED(observer, fact, name, subkey, order, ...)                                    \
    do {                                                                                           \
        const struct fact pj_said = __VA_ARGS__;                                                   \
        pj_keep_named(observer, fact##_entity, name, fact##_fact, subkey, order,                   \
                      PJ_PARTS(pj_said));                                                          \
    } while (0)
#define PJ_CONTRIBUTE(derivation, fact, key, subkey, ...)                                          \
    do {                                                                                           \
        const struct fact pj_said = __VA_ARGS__;                                                   \
        pj_contribute(derivation, fact##_entity, key, fact##_fact, subkey, PJ_PARTS(pj_said));     \
    } while (0)
#define PJ_CONTRIBUTE_NAMED(derivation, fact, name, subkey, ...)                                   \
    do {                                                                                           \
        const struct fact pj_said = __VA_ARGS__;                                                   \
        pj_contribute_named(derivation, fact##_entity, name, fact##_fact, subkey,                  \
                            PJ_PARTS(pj_said));                                                    \
    } while (0)
#define PJ_TELL(derivation, fact, key, subkey, order, ...)                                         \
    do {                                                                                           \
        const struct fact pj_said = __VA_ARGS__;                                                   \
        pj_tell(derivation, fact##_entity, key, fact##_fact, subkey, order, PJ_PARTS(pj_said));    \
    } while (0)
#define PJ_TELL_NAMED(derivation, fact, name, subkey, order, ...)                                  \
    do {                                                                                           \
        const struct fact pj_said = __VA_ARGS__;                                                   \
        pj_tell_named(derivation, fact##_entity, name, fact##_fact, subkey, order,                 \
                      PJ_PARTS(pj_said));                                                          \
    } while (0)

/* The only fact of that name: what it says, or NULL where there is none. PJ_SAID: all null where
 * there is none. PJ_ALL: as pj_entity_facts. */
#define PJ_FACT(entity, fact)                                                                      \
    ((const struct fact *)pj_values(pj_fact_of(entity, fact##_entity, fact##_fact, NULL)))
#define PJ_SAID(entity, fact)       PJ_SAYS(fact, pj_fact_of(entity, fact##_entity, fact##_fact, NULL))
#define PJ_ALL(entity, fact, count) pj_facts_of(entity, fact##_entity, fact##_fact, count)

/* What a struct pj_fact of that name says; all null where the pointer is NULL. */
#define PJ_SAYS(fact, pointer) ((const struct fact *)pj_values_or_null(pointer))

/* pj_entity_fact and pj_entity_facts of an entity of that kind: another is a mistake, which ends
 * the process with a sentence. */
const struct pj_fact *pj_fact_of(const struct pj_entity *entity, size_t kind, size_t fact,
                                 const uint8_t subkey[16]);
const struct pj_fact *pj_facts_of(const struct pj_entity *entity, size_t kind, size_t fact,
                                  size_t *count);

/* --- of the macros above --------------------------------------------------------------------- */

static inline struct pj_order pj_order_of(const int64_t rank[4], struct pj_uuid event_id)
{
    struct pj_order order;
    memcpy(order.rank, rank, sizeof order.rank);
    memcpy(order.tie, event_id.uuid, sizeof order.tie);
    return order;
}

static inline const void *pj_view(const struct pj_value *values)
{
    return values;
}

static inline const void *pj_values(const struct pj_fact *fact)
{
    return fact != NULL ? fact->values : NULL;
}

static inline const void *pj_values_or_null(const struct pj_fact *fact)
{
    static const struct pj_value null[PJ_FACT_VALUES_MOST];
    return fact != NULL ? fact->values : null;
}

#define PJ_MAYBE_UNUSED __attribute__((unused))
#define PJ_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* An entry's arguments come with an empty one after them, for there may be none after the type. */
#define PJ_MEMBER(member, ...)        PJ_MEMBER_OF(member, __VA_ARGS__, )
#define PJ_MEMBER_OF(member, of, ...) PJ_STRUCT_##of member;
#define PJ_STRUCT_PJ_BOOL             struct pj_bool
#define PJ_STRUCT_PJ_INT              struct pj_int
#define PJ_STRUCT_PJ_BIGINT           struct pj_bigint
#define PJ_STRUCT_PJ_DOUBLE           struct pj_double
#define PJ_STRUCT_PJ_TEXT             struct pj_text
#define PJ_STRUCT_PJ_UUID             struct pj_uuid
#define PJ_STRUCT_PJ_TIMESTAMPTZ      struct pj_timestamptz
#define PJ_STRUCT_PJ_JSONB            struct pj_jsonb
#define PJ_STRUCT_PJ_NUMERIC          struct pj_numeric
#define PJ_STRUCT_PJ_BYTEA            struct pj_bytea
#define PJ_STRUCT_PJ_COUNTS           struct pj_counts
#define PJ_STRUCT_PJ_ITEMS            struct pj_array
enum { PJ_ITEMS };

#define PJ_FIELD_MEMBER(member, where, ...) PJ_MEMBER_OF(member, __VA_ARGS__, )
#define PJ_FIELD_ENTRY(member, where, ...)  PJ_FIELD_ENTRY_OF(where, __VA_ARGS__, )
#define PJ_FIELD_ENTRY_OF(where, of, ...)   {.path = where, .type = (enum pj_type)of, __VA_ARGS__},
#define PJ_COLUMN_ENTRY(member, ...)        PJ_COLUMN_ENTRY_OF(member, __VA_ARGS__, )
#define PJ_COLUMN_ENTRY_OF(member, of, ...) {.name = #member, .type = of, __VA_ARGS__},

#define PJ_FACT_STRUCT(fact, rule, ...) PJ_FACT_STRUCT_OF(fact, __VA_ARGS__, )
#define PJ_FACT_STRUCT_OF(fact, VALUES, ...)                                                       \
    struct fact {                                                                                  \
        VALUES(PJ_MEMBER)                                                                          \
    };                                                                                             \
    _Static_assert(sizeof(struct fact) <= PJ_FACT_VALUES_MOST * sizeof(struct pj_value),           \
                   "the fact " #fact " has too many values");
#define PJ_FACT_ID(fact, ...) fact##_pj_id,
#define PJ_FACT_NUMBER(fact, ...)                                                                  \
    fact##_entity = fact##_pj_id >> 16, fact##_fact = fact##_pj_id & 0xffff,
#define PJ_FACT_ENTRY(fact, rule, ...) PJ_FACT_ENTRY_OF(fact, rule, __VA_ARGS__, )
#define PJ_FACT_ENTRY_OF(fact, rule, VALUES, ...)                                                  \
    {.name = #fact,                                                                                \
     .keep = rule,                                                                                 \
     .types = (const enum pj_type[]){VALUES(PJ_VALUE_ENTRY)},                                      \
     .value_count = sizeof(struct fact) / sizeof(struct pj_value),                                 \
     __VA_ARGS__},
#define PJ_VALUE_ENTRY(member, of) of,

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A projection: how the events of some topics become rows of some tables.
 *
 * It is const data and a few pure functions; the engine does all I/O. The way of one batch:
 *
 *     decode      each record, by its writer's schema, into the values of `struct pj_source`'s
 *                 fields
 *     observe     says what one event means: facts about entities, rows to append
 *     merge       the engine keeps, for each fact of an entity, the one that wins by its order
 *     derive      says which rows follow from an entity's facts, and what they mean to entities
 *                 of a later kind
 *     write       the engine writes the rows that differ, the entities' facts and the offsets
 *                 in one transaction
 *
 * Order independence (tables are a function of the set of events, whatever their order, repetition
 * or split over processes) holds by construction: a fact is replaced only by one of a better order,
 * ties are decided by content, so merging is commutative, associative and idempotent; and rows are
 * a function of facts alone. So observe and derive must not read clocks, files, globals that
 * change, or anything else but their arguments.
 *
 * CONTRIBUTING has the steps of adding one; tests/sixth/platform_activity.c is one to copy.
 */
#ifndef PROJECTIONIST_PROJECTION_H
#define PROJECTIONIST_PROJECTION_H

#include "projectionist/error.h"
#include "projectionist/value.h"

struct pj_observer;   /* collects what observe says of one event */
struct pj_derivation; /* collects what derive says of one entity */
struct pj_entity;     /* the facts of one entity */

/* One event, decoded. Everything it points to lives until the batch is committed. */
struct pj_event {
    const struct pj_value *values; /* one per field of the source, in the order of its fields */
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms; /* the record's Kafka timestamp, -1 where it has none */
};

/*
 * A field to take out of the records of a topic. The path names fields of our schema with dots;
 * where a union holds several records, the record's name is a step of its own
 * ("body.CommandSubmitted.type"). Binding is by name, by our schema's aliases, then by the
 * writer's; a field that the writer lacks has our schema's default. What lies in a branch of a
 * union that was not taken is null, whatever it requires.
 */
struct pj_field {
    const char *path;
    enum pj_type type;   /* a record, map or array bound as PJ_JSONB is rendered as JSON;
                          * bound as PJ_BOOL it is true where it is there, else null */
    bool required;       /* null makes the record a dead letter; in a branch, if that was taken */
    uint32_t most_chars; /* a longer text makes it one too; 0: no bound */
};

struct pj_source {
    const char *topic;
    /* Our schema of the topic's records, as JSON: what we read them as, whatever they were written
     * with. In this repository it is pj_schema_<topic> of the generated "schemas.h". */
    const char *schema;
    const struct pj_field *fields;
    size_t field_count;
    /*
     * Which field is the event's time: the greatest one committed is the group's stream time. One
     * that lies more than 24 h ahead of its record's Kafka timestamp does not count. Field 0 (an
     * id, never a time) means none.
     */
    size_t event_time;
    /*
     * What one event means. May call pj_keep and pj_append; returns 0, or -1 with *error of class
     * PJ_POISON (use pj_error_set) to make the record a dead letter, in which case nothing that it
     * said counts.
     */
    int (*observe)(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error);
};

/*
 * Where a fact stands among others of its kind. Compared from the first rank to the last, then by
 * `tie` (the event's id), then by the values themselves.
 */
struct pj_order {
    int64_t rank[4];
    uint8_t tie[16];
};

enum pj_keep_rule {
    PJ_GREATEST, /* the fact of the greatest order stays: what happened last */
    PJ_LEAST,    /* the fact of the least order stays: what happened first */
};

enum { PJ_FACT_VALUES_MOST = 16 };

struct pj_fact_kind {
    const char *name; /* for people: psql, error messages */
    enum pj_keep_rule keep;
    const enum pj_type *types; /* of its values; new ones may be added at the end */
    size_t value_count;
};

/* The last two members of a static const struct pj_fact_kind. Who fills an array of values must
 * keep to this order and number: a value of another type is found when it is kept, too few are not.
 */
#define PJ_FACT_VALUES(...)                                                                        \
    (const enum pj_type[]){__VA_ARGS__},                                                           \
        sizeof((enum pj_type[]){__VA_ARGS__}) / sizeof(enum pj_type)

struct pj_fact {
    uint16_t kind;      /* index into the entity kind's facts */
    uint8_t subkey[16]; /* tells facts of one kind apart; zero where there is only one */
    struct pj_order order;
    const struct pj_value *values; /* value_count of its kind */
};

/*
 * A kind of entity: what events are about. Its facts are the private state, kept in the table
 * `projectionist.state_<projection>_<name>` (key uuid, facts bytea) that a migration makes.
 */
struct pj_entity_kind {
    const char *name;
    const struct pj_fact_kind *facts;
    size_t fact_count;
    /*
     * The rows that follow from the facts. May call pj_row, pj_claim and pj_contribute. Called with
     * the old and the new facts of every entity that changed; only differences are written.
     * `entity` is never without facts.
     */
    void (*derive)(const struct pj_entity *entity, struct pj_derivation *derivation);
    /*
     * Its rows also follow from stream time: derive may call pj_stream_time and pj_due. The state
     * table has two more columns, due_at and derived_at (timestamptz).
     */
    bool timed;
};

enum pj_table_kind {
    PJ_ENTITY_TABLE, /* rows come from derive; inserted, updated and deleted */
    PJ_APPEND_TABLE, /* rows come from observe; inserted once, a duplicate key is passed over */
    PJ_ROLLUP_TABLE, /* derive says what an entity counts for; differences are added to buckets */
};

enum pj_measure {
    PJ_NOT_A_MEASURE,
    PJ_SUM, /* of PJ_BIGINT; of PJ_COUNTS element by element */
    PJ_MIN, /* nulls are passed over */
    PJ_MAX,
};

struct pj_column {
    const char *name;
    enum pj_type type;
    bool key;       /* part of the primary key; key columns come first */
    bool elsewhere; /* derived by another entity kind, through a table that is a part of this one */
    enum pj_measure measure; /* of a rollup's columns, all but the key's */
};

/*
 * A row that must exist for a foreign key, made where it is not there yet: the SQL function
 * `ensure` (keys uuid[], seen timestamptz[]) makes placeholder rows for the keys that have none
 * and returns (settled uuid[], created bigint): keys it need not be asked for again, and how many
 * rows it made.
 */
struct pj_parent {
    int column;         /* of the child table: the foreign key, a PJ_UUID */
    int seen_at;        /* of the child table: when the parent was first heard of */
    const char *ensure; /* schema-qualified; NULL ends a list */
    /*
     * Or NULL: the SQL function (keys uuid[]) that takes placeholders away which nothing refers to
     * any more. It is told of the keys that rows refer to no longer, behind the rows' writes.
     */
    const char *release;
};

enum { PJ_TABLES_MOST = 64, PJ_COLUMNS_MOST = 64 };

struct pj_table {
    const char *name;
    const char *schema; /* NULL: found by the connection's search_path */
    enum pj_table_kind kind;
    const struct pj_column *columns; /* at most PJ_COLUMNS_MOST */
    size_t column_count;
    /*
     * Not NULL: this is not a table of its own but some columns (marked `elsewhere` there) of that
     * one, which another entity kind derives. Same key; a row that is no longer derived leaves
     * NULL behind. Old values are taken back before new ones are set.
     */
    const struct pj_table *part_of;
    const struct pj_parent *parents; /* or NULL */
    /*
     * Or NULL: the SQL function (one array per key column) that takes rows away, in place of a
     * DELETE: where rows of another projection refer to them, which has not heard of it yet.
     */
    const char *remove;
    /*
     * Of a rollup: the SQL function that settles buckets from which something was taken back. Its
     * parameters are one array per key column (a text[] also where the column is a VARCHAR), and a
     * boolean[] that says where an extreme went: minima and maxima cannot be subtracted. Buckets
     * that are empty go. It runs behind all rows of all tables, in the same transaction. NULL
     * leaves empty buckets behind, which breaks order independence unless what an entity counts for
     * never moves to another bucket.
     */
    const char *settle;
    /*
     * Or 0: the column (a PJ_BOOL that the projection leaves NULL) that is true in rows which
     * others made so that foreign keys hold. Such a row is not this projection's: a rebuild leaves
     * it.
     */
    size_t placeholder;
    /*
     * Or NULL: several entities, of whatever kinds, may claim its rows, which come from pj_claim.
     * The engine keeps the claims in the table `projectionist.state_<projection>_<claimed>` (key
     * uuid, facts bytea) that a migration makes, with all columns of each claim in the order in
     * which they are declared: new ones come last.
     */
    const char *claimed;
};

enum { PJ_SETTINGS_MOST = 8 };

/* A duration that the operator may set for this projection: the flag --<name>. Rows that are there
 * already change only when their entities do, or by a rebuild. */
struct pj_setting {
    const char *name; /* NULL ends a list */
    const char *fallback;
    const char *help;
};

struct pj_projection {
    const char *name;    /* of the program, of the default consumer group, in the tables */
    const char *summary; /* one line for --help */
    const struct pj_source *sources;
    size_t source_count;
    const struct pj_entity_kind *entities; /* in stages: one contributes only to later ones */
    size_t entity_count;
    const struct pj_table *const *tables; /* in whatever order; foreign keys say how to write */
    size_t table_count;
    const struct pj_setting *settings; /* or NULL; at most PJ_SETTINGS_MOST */
};

/* --- in observe ------------------------------------------------------------------------------ */

/*
 * Keeps the fact for the entity, unless a better one is known. `entity` is an index of the
 * projection's entities, of whatever stage, `fact` one of that kind's facts; `subkey` may be NULL;
 * values are value_count of the kind, copied. An entity that has no UUID of its own (a platform, a
 * path) has that of its name: pj_uuid_of_name.
 */
void pj_keep(struct pj_observer *observer, size_t entity, const uint8_t key[16], size_t fact,
             const uint8_t subkey[16], const struct pj_order *order, const struct pj_value *values);

/* A row of an append table, all null: fill its columns, the key first of all. */
struct pj_value *pj_append(struct pj_observer *observer, const struct pj_table *table);

/* Memory that lives as long as the batch (for texts made by observe). */
void *pj_observer_alloc(struct pj_observer *observer, size_t size);

/* --- in derive ------------------------------------------------------------------------------- */

const uint8_t *pj_entity_key(const struct pj_entity *entity);

/* The fact, or NULL. `subkey` NULL: the only one of its kind. */
const struct pj_fact *pj_entity_fact(const struct pj_entity *entity, size_t fact,
                                     const uint8_t subkey[16]);

/* All facts of a kind by subkey: *count of them, in a row. */
const struct pj_fact *pj_entity_facts(const struct pj_entity *entity, size_t fact, size_t *count);

/* A row of an entity table, all null: fill its columns, the key first of all (Postgres refuses a
 * null in it, and each event that leads to it becomes a dead letter). A row has one entity: an
 * event by which one makes it twice, or two make it, becomes a dead letter that names the row. Of a
 * rollup table: what this entity counts for in one bucket (sums, candidates for the extremes), as a
 * whole: the engine adds the difference to what it counted for before. */
struct pj_value *pj_row(struct pj_derivation *derivation, const struct pj_table *table);

/*
 * A claim on a row of a table that is `claimed`: as pj_row, but several entities may claim the row.
 * The claim of the greatest order wins, ties are decided by the content; it is taken back when it
 * is no longer made, and the next best has the row. One entity claims a row once.
 */
struct pj_value *pj_claim(struct pj_derivation *derivation, const struct pj_table *table,
                          const struct pj_order *order);

/*
 * Tells an entity of a later kind a fact: it replaces what was told before under the same subkey
 * by this entity (in the same call of derive, too), and is taken back when it is no longer told.
 * The subkey says who tells, so it must be unique to this entity (its key, as a rule).
 */
void pj_contribute(struct pj_derivation *derivation, size_t entity, const uint8_t key[16],
                   size_t fact, const uint8_t subkey[16], const struct pj_value *values);

/*
 * Tells an entity of a later kind a fact that stays: it is kept or not by its order, like one from
 * observe, and never taken back. For what only grows (the last activity), so that the entity need
 * not remember each who told. It must hold whatever else comes to be known of who tells: what a
 * later event may change (the platform of a command that is told anew) breaks order independence;
 * use pj_contribute, or pj_keep in observe.
 */
void pj_tell(struct pj_derivation *derivation, size_t entity, const uint8_t key[16], size_t fact,
             const uint8_t subkey[16], const struct pj_order *order, const struct pj_value *values);

/* Of a timed kind: the stream time, in microseconds since 1970; INT64_MIN before the first event.
 */
int64_t pj_stream_time(const struct pj_derivation *derivation);
/* Of a timed kind: derive again once stream time is later than this. */
void pj_due(struct pj_derivation *derivation, int64_t at);

/* The value of the projection's setting, in milliseconds. */
int64_t pj_setting(const struct pj_derivation *derivation, size_t index);

/* Memory that lives as long as the derivation's rows (for texts made by derive). */
void *pj_derivation_alloc(struct pj_derivation *derivation, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A projection: how the events of some topics become rows of some tables.
 *
 * It is const data and a few pure functions; the engine does all I/O. What happens to a batch:
 *
 *     decode      the engine decodes each record by its writer's schema into the fields of its
 *                 `struct pj_source`
 *     observe     turns one event into facts about entities and rows to append
 *     merge       the engine keeps, for each fact of an entity, the one that wins by its order
 *     derive      turns an entity's facts into rows, and into facts of entities of later kinds
 *     write       the engine writes the rows that differ, the entities' facts and the offsets
 *                 in one transaction
 *     count       what no row says and somebody should see becomes a counter in /metrics
 *
 * Order independence (the tables are a function of the set of events, whatever their order,
 * repetition or split over processes) holds by construction: a fact is replaced only by one of a
 * better order, ties are decided by content, so merging is commutative, associative and idempotent;
 * and rows are a function of facts alone. So observe and derive must read nothing but their
 * arguments: no clock, no file, no mutable global.
 *
 * CONTRIBUTING.md lists the steps of adding one; tests/sixth/platform_activity.c is one to copy.
 */
#ifndef PROJECTIONIST_PROJECTION_H
#define PROJECTIONIST_PROJECTION_H

#include "projectionist/error.h"
#include "projectionist/value.h"

struct pj_observer;   /* collects the facts and rows of one event */
struct pj_derivation; /* collects the rows and contributions of one entity */
struct pj_tally;      /* collects what is counted of one entity */
struct pj_entity;     /* the facts of one entity */
struct pj_fact;

/* A header of a Kafka record. */
struct pj_record_header {
    const char *name;
    struct pj_value value; /* its bytes, or null */
};

/* One event, decoded. Everything it points to lives until the batch is committed, but the array of
 * its values only until observe returns. */
struct pj_event {
    const struct pj_value *values; /* one per field of the source, in the order of its fields */
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms; /* the record's Kafka timestamp; -1: none */
    bool tombstone;       /* the record has no value, and all fields are null */
    struct pj_value key;  /* the record's, as bytes (pj_bytes_text for a PJ_TEXT); null: none */
    const struct pj_record_header *headers; /* in their order, if the source wants them */
    size_t header_count;
};

/* The bytes of the last header of that name; null where there is none or it has no value. */
struct pj_value pj_event_header(const struct pj_event *event, const char *name);

/* Bytes as a PJ_TEXT; null where they are not UTF-8 or have a NUL byte. */
struct pj_value pj_bytes_text(const struct pj_value *bytes);

/*
 * A field of a topic's records. The path names fields of our schema, separated by dots; where a
 * union holds several records, the record's name is a step of its own
 * ("body.CommandSubmitted.type"). Fields are matched by name, by our schema's aliases, then by the
 * writer's; a field that the writer lacks takes our schema's default. Fields in a union branch that
 * was not taken are null, even required ones.
 */
enum pj_form {
    PJ_FORM_ANY,
    PJ_FORM_UUID,      /* 36 characters */
    PJ_FORM_INET,      /* an IPv4 or IPv6 address, with or without /bits */
    PJ_FORM_DATE,      /* 2026-11-21 */
    PJ_FORM_TIME,      /* 05:06:34, with or without a fraction */
    PJ_FORM_TIMESTAMP, /* RFC 3339: 2026-11-21T05:06:34Z */
};

/* A value that breaks one of its rules makes the record a dead letter, which says so. */
struct pj_field {
    const char *path;
    enum pj_type type; /* a record, map or array as PJ_JSONB is its JSON text; as PJ_BOOL it is
                        * true if present, else null */
    bool required;     /* not null; in a branch, if that was taken */
    bool
        empty_is_null; /* of a PJ_TEXT that is not required: so is an empty one, before all rules */
    uint32_t most_chars;      /* of a PJ_TEXT; 0: no limit */
    const char *const *words; /* of a PJ_TEXT: those allowed, up to a NULL; or NULL */
    enum pj_form form;        /* of a PJ_TEXT */
    const char *least, *most; /* of a number, as a decimal text ("-0.5"); or NULL */
    /* Of a PJ_NUMERIC: as in NUMERIC(precision, scale); precision 0: no limit. */
    uint16_t precision, scale;
    bool rounded; /* of those: digits beyond the scale are rounded, half away from zero, as Postgres
                   * does, before all rules; else they break the rule */
    /* Of an array, which has no other type or rule: the fields of its items (pj_items_next). */
    const struct pj_items *items;
};

/*
 * The fields of an array's items: as those of a source, but that their paths begin in the item, and
 * "" is the item itself. Items may have items. A value that breaks a rule is named by its place:
 * lines[3].price.
 */
struct pj_items {
    const struct pj_field *fields;
    size_t field_count;
    uint32_t most; /* more items make the record a dead letter; 0: 10,000 */
};

struct pj_source {
    const char *topic;
    /* Our schema of the topic's records, as JSON: the reader's schema. In this repository it is
     * pj_schema_<topic> of the generated "schemas.h". */
    const char *schema;
    const struct pj_field *fields;
    size_t field_count;
    bool headers;    /* events have their record's headers */
    bool tombstones; /* a record without a value is an event; otherwise it is a dead letter */
    /*
     * The field with the event's time: the greatest one committed is the group's stream time. A
     * time more than 24 h ahead of its record's Kafka timestamp does not count. 0 (the first field,
     * never a time) means none. A record of the schema projectionist.Heartbeat {emitted_at}, which
     * any topic may carry (`projectionist heartbeat` writes them), counts for it and is not
     * observed.
     */
    size_t event_time;
    /*
     * Turns one event into facts and rows, by pj_keep and pj_append. Returns 0, or -1 with *error
     * of class PJ_POISON (use pj_error_set), which makes the record a dead letter and drops its
     * facts and rows.
     */
    int (*observe)(const struct pj_event *event, struct pj_observer *observer,
                   struct pj_error *error);
};

/*
 * The order among facts of one kind. Compared from the first rank to the last, then by `tie` (the
 * event's id), then by the values themselves.
 */
struct pj_order {
    int64_t rank[4];
    uint8_t tie[16];
};

/* <0, 0 or >0; without the values. */
int pj_order_compare(const struct pj_order *a, const struct pj_order *b);

enum pj_keep_rule {
    PJ_GREATEST, /* the fact of the greatest order wins: what happened last */
    PJ_LEAST,    /* the fact of the least order wins: what happened first */
};

enum { PJ_FACT_VALUES_MOST = 16 };

struct pj_fact_kind {
    const char *name; /* for error messages */
    enum pj_keep_rule keep;
    const enum pj_type *types; /* of its values; new ones may be added at the end */
    size_t value_count;
    bool is_name; /* its values are the parts of the entity's name: see pj_keep_named */
    /*
     * A final fact (a person was deleted): once it is known, all facts of kinds that do not absorb
     * are dropped, the name and what others contributed, too, and none is kept again, whatever its
     * order. What the entity contributed and claimed goes with them; what it told by pj_tell stays
     * with the receiver. Derive sees the final fact alone. It comes from pj_keep or pj_tell.
     */
    bool absorbs;
    /*
     * Of a kind with `depth_most`: contributed by entities of the same kind, which derive it from
     * what they were told likewise (a path from the parent's path). See pj_contribute.
     */
    bool recursive;
    /*
     * Of a kind with `depth_most`, not recursive, with a PJ_BIGINT as its first value: how high the
     * entity stands among its kind, as an earlier kind or an event knows it; without one, 0. Those
     * that stand lowest are derived first, so that a tree whose parents stand higher is derived
     * once a batch, however deep it is, and not once for each level. What follows is the same.
     */
    bool height;
    /*
     * A list that events say whole (the crew of a job): the kinds, as bits (1 << MEMBER), of the
     * facts for its items, which are kept in the same order as this one and under a subkey each.
     * Once this fact is known, theirs of a lesser order are dropped and not kept again, so that
     * what is left is the last list. Keep this fact for an empty list, too. Both are PJ_GREATEST,
     * and come from pj_keep.
     */
    uint32_t lists;
    /*
     * Kept apart: each fact of the kind is a row of its own in the table
     * `projectionist.state_<projection>_<entity>_wide` (key uuid, kind integer, subkey uuid, facts
     * bytea; the first three are its key), so that an event writes only those that it changes, not
     * a large text or thousands of others with them. All of the entity's are loaded when one of
     * its facts changes, unless the kind has a `derive`. Not in a kind with `depth_most`.
     */
    bool wide;
    /*
     * Of a wide kind, or NULL: what follows from each of its facts alone, in place of the entity's
     * derive, which does not see them. Only the facts that events are about are loaded then,
     * however many there are. Of the entity it sees the name and the facts of kinds that are
     * `shown`. What it contributes has a subkey that no other fact of any entity gives: the fact's
     * own, or pj_uuid_of_names of the entity's key and that.
     */
    void (*derive)(const struct pj_entity *entity, const struct pj_fact *fact,
                   struct pj_derivation *derivation);
    /* Of a kind that is not wide: such functions see its facts. All facts of these kinds are loaded
     * and derived again when one changes: for what rarely does (that the entity is deleted). */
    bool shown;
};

/* Members types and value_count of a static const struct pj_fact_kind. Arrays of values must have
 * this order and number: a wrong type is detected, a wrong number is not. */
#define PJ_FACT_VALUES(...)                                                                        \
    (const enum pj_type[]){__VA_ARGS__},                                                           \
        sizeof((enum pj_type[]){__VA_ARGS__}) / sizeof(enum pj_type)

struct pj_fact {
    uint16_t kind;      /* index into the entity kind's facts */
    uint8_t subkey[16]; /* distinguishes facts of one kind; zero where there is only one */
    struct pj_order order;
    const struct pj_value *values; /* value_count of its kind */
};

/*
 * A kind of entity: what events are about. Its facts are private state in the table
 * `projectionist.state_<projection>_<name>` (key uuid, facts bytea), which a migration creates.
 */
struct pj_entity_kind {
    const char *name;
    const struct pj_fact_kind *facts;
    size_t fact_count;
    /*
     * Turns an entity's facts (at least one) into rows, by pj_row, pj_claim, pj_contribute and
     * pj_tell. Called with the old and the new facts of every changed entity; only differences are
     * written.
     */
    void (*derive)(const struct pj_entity *entity, struct pj_derivation *derivation);
    /*
     * Its rows depend on stream time, too: derive may call pj_stream_time and pj_due. The state
     * table has two more columns, due_at and derived_at (timestamptz).
     */
    bool timed;
    /*
     * Not 0: its entities contribute to others of their own kind (a tree of unknown depth: the
     * parents of a job, the path of a folder), at most so many one after the other. See
     * pj_contribute.
     */
    uint16_t depth_most;
    /*
     * Or NULL: counts, by pj_count, what a batch did to an entity that it changed. `before` has no
     * facts where the entity was not there; of wide facts both have those that the batch loaded.
     * `news`: how many facts of its events were better than what was known, its name aside; an
     * event that is delivered again brings none. Reads nothing but its arguments.
     */
    void (*count)(const struct pj_entity *before, const struct pj_entity *after, size_t news,
                  struct pj_tally *tally);
};

enum pj_table_kind {
    PJ_ENTITY_TABLE, /* rows come from derive; inserted, updated and deleted */
    PJ_APPEND_TABLE, /* rows come from observe; inserted once, a duplicate key is skipped */
    PJ_ROLLUP_TABLE, /* rows are an entity's shares of buckets, to which differences are added */
};

enum pj_measure {
    PJ_NOT_A_MEASURE,
    PJ_SUM, /* of PJ_BIGINT and PJ_NUMERIC; of PJ_COUNTS element by element */
    PJ_MIN, /* nulls are skipped */
    PJ_MAX,
};

struct pj_column {
    const char *name;
    enum pj_type type;
    bool key;       /* part of the primary key; key columns come first */
    bool elsewhere; /* derived by another entity kind, through a part (part_of) of this table */
    enum pj_measure measure; /* of every column of a rollup except the key */
    /* Its value in a placeholder, as SQL text; {COLUMN} in it is the text of a key column
     * ("unknown-{id}"). NULL: its default. */
    const char *in_placeholder;
    /*
     * Of a PJ_TEXT: the column's type in the database, where that is none of enum pj_type ("inet",
     * "date", "text[]", "\"Studio\".status"). Values are its text, which Postgres casts and
     * compares; one that it refuses makes the record a dead letter. In a key, it must be the text
     * that Postgres itself writes. `refresh` is given text[].
     */
    const char *sql_type;
};

enum { PJ_TABLES_MOST = 64, PJ_COLUMNS_MOST = 64, PJ_PARENT_COLUMNS_MOST = 8 };

/*
 * A foreign key: the row of `table` that must exist for it, which this or another projection
 * writes, sooner or later. Until then there is a placeholder: a row with the key, each column's
 * in_placeholder, and true in the column `placeholder`. A placeholder to which the last row stops
 * referring is deleted; a row that its projection deletes while others still refer to it becomes a
 * placeholder again. A key with a null in it refers to nothing. The `children` of `table` must list
 * the table that has this parent.
 */
struct pj_parent {
    const struct pj_table *table; /* NULL ends a list */
    /* Of the child table: the foreign key, as many columns as the parent's key has, in its order
     * and of its types. */
    int columns[PJ_PARENT_COLUMNS_MOST];
    int seen_at; /* of the child table: when the parent was first mentioned; see first_seen */
};

struct pj_table {
    const char *name;
    const char *schema; /* NULL: found by the connection's search_path */
    enum pj_table_kind kind;
    const struct pj_column *columns; /* at most PJ_COLUMNS_MOST */
    size_t column_count;
    /*
     * Not NULL: not a table of its own but columns (marked `elsewhere` there) of that one, which
     * another entity kind derives. Same name and key; a row that is no longer derived leaves NULLs.
     * Old values are cleared before new ones are set.
     */
    const struct pj_table *part_of;
    const struct pj_parent *parents; /* or NULL */
    /* Or NULL: the tables, of whatever projections, whose parents name this one; NULL ends them. */
    const struct pj_table *const *children;
    /*
     * Of a rollup: the SQL function that corrects buckets from which a share was withdrawn. Its
     * parameters are one array per key column (text[] for a VARCHAR, too), and a boolean[] that is
     * true where an extreme left: minima and maxima cannot be subtracted. It must delete empty
     * buckets. It runs after all rows of all tables, in the same transaction. Without one (NULL)
     * empty buckets stay, which breaks order independence unless shares never move between buckets.
     */
    const char *refresh;
    /*
     * Or 0: the column (a PJ_BOOL that the projection leaves NULL) that is true in placeholders;
     * required where it has children. A rebuild keeps placeholders.
     */
    size_t placeholder;
    /* Or 0: the column (a PJ_TIMESTAMPTZ) that has the earliest seen_at of the children that refer
     * to a placeholder. */
    size_t first_seen;
    /*
     * Or NULL: several entities, of any kinds, may claim its rows, which come from pj_claim. Claims
     * are stored in the table `projectionist.state_<projection>_<claimed>` (key uuid, facts bytea),
     * which a migration creates, with all columns as declared: add new columns at the end.
     */
    const char *claimed;
    /*
     * Of an append table, or 0: the PJ_TIMESTAMPTZ column (not the first) with a row's time. Then
     * `projectionist trim`, or the SQL function projectionist.order_trim(table, time), orders that
     * rows older than a time go and stay away: they are neither written again nor missed by verify
     * and rebuild. A row whose time is NULL stays. Without it, rows that somebody deletes are
     * missing.
     */
    size_t trimmed_by;
};

enum { PJ_SETTINGS_MOST = 8 };

enum pj_setting_type {
    PJ_SETTING_DURATION, /* "250ms", "30s", "5m", "2h", "1d"; at least 1 ms, at most ten years */
    PJ_SETTING_INTEGER,  /* within least..most */
    PJ_SETTING_TEXT,     /* one of `words`, or any that is not empty */
    PJ_SETTING_BOOLEAN,  /* the flag alone is true; or =true, =false */
};

/* What the operator may set by the flag --<name>, its variable or the file; a wrong value ends the
 * start. Existing rows change only with their entities, or by a rebuild. */
struct pj_setting {
    const char *name;     /* NULL ends a list */
    const char *fallback; /* as the operator would write it */
    const char *help;
    enum pj_setting_type type;
    int64_t least, most; /* of an integer; both 0: no bounds */
    const char *words;   /* of a text: those allowed, separated by | ("off|warn|fail"); or NULL */
};

/* Its value, by its type. */
union pj_setting_value {
    int64_t ms;
    int64_t integer;
    const char *text;
    bool boolean;
};

enum { PJ_COUNTERS_MOST = 8, PJ_COUNTER_WORDS_MOST = 16 };

/*
 * Something that is counted, for /metrics: projectionist_<projection>_<name>_total, with
 * underscores for dashes, and the labels that all metrics of a consumer have. It counts what this
 * process committed since it started: a batch that is tried again counts once, and a rebuild or the
 * replay of a dead letter counts nothing. What must be exact, or outlive the process, is a table.
 */
struct pj_counter {
    const char *name; /* lower-case letters, digits and underscores; NULL ends a list */
    const char *help; /* a sentence: what an increase means */
    /* Or NULL: the label that tells apart what is counted, and the values that it may have, up to a
     * NULL. Each is shown from the start, as 0. */
    const char *label;
    const char *const *words;
};

struct pj_projection {
    const char *name;    /* of the program, the default consumer group and in state tables */
    const char *summary; /* one line for --help */
    /*
     * Of its rules, if they are counted: raise it where they change so that rows which are there
     * would be others. It is recorded with the rows; the start of another version warns, and
     * `status` and `verify` name both, until a rebuild, or a start with --accept-version.
     */
    int32_t version;
    const struct pj_source *sources;
    size_t source_count;
    const struct pj_entity_kind *entities; /* each contributes only to later ones */
    size_t entity_count;
    const struct pj_table *const *tables; /* in any order: writes follow the foreign keys */
    size_t table_count;
    const struct pj_setting *settings; /* or NULL; at most PJ_SETTINGS_MOST */
    const struct pj_counter *counters; /* or NULL; at most PJ_COUNTERS_MOST */
    const void *context; /* for observe and derive: data that stays the same while it runs */
};

/* --- in observe ------------------------------------------------------------------------------ */

/*
 * Keeps the fact for the entity, unless a better one is known. `entity` is an index of the
 * projection's entities, `fact` one of that kind's facts; `subkey` may be NULL; value_count values
 * are copied. The key of an entity without a UUID (a platform, a path) is pj_uuid_of_name of its
 * name.
 */
void pj_keep(struct pj_observer *observer, size_t entity, const uint8_t key[16], size_t fact,
             const uint8_t subkey[16], const struct pj_order *order, const struct pj_value *values);

/*
 * The same for an entity whose key is a name of one or more parts (a platform; a bucket and a
 * path). The parts are the values of the kind's fact that `is_name`: texts, UUIDs, integers or
 * booleans. The key is pj_uuid_of_names of them, and pj_entity_name gives them back.
 */
void pj_keep_named(struct pj_observer *observer, size_t entity, const struct pj_value *name,
                   size_t fact, const uint8_t subkey[16], const struct pj_order *order,
                   const struct pj_value *values);

/* A row of an append table, all null: fill its columns, at least the key. */
struct pj_value *pj_append(struct pj_observer *observer, const struct pj_table *table);

/* An array as the text of a column whose sql_type is one (text[], uuid[]), of such items. */
struct pj_value pj_observer_array(struct pj_observer *observer, const struct pj_value *items,
                                  size_t count);

/* The same of a field's items, where each is one value (path ""); null where the field is. */
struct pj_value pj_observer_items(struct pj_observer *observer, const struct pj_value *array);

/* Memory that lives as long as the batch (for texts made by observe). */
void *pj_observer_alloc(struct pj_observer *observer, size_t size);

/* The projection's context. */
const void *pj_observer_context(const struct pj_observer *observer);

/* --- in derive ------------------------------------------------------------------------------- */

const uint8_t *pj_entity_key(const struct pj_entity *entity);

/* The parts of the name of an entity that was kept or contributed to by name; else NULL. */
const struct pj_value *pj_entity_name(const struct pj_entity *entity);

/* Whether a recursive fact would come to the entity round a ring of its own kind, or from further
 * away than depth_most; it is not among its facts then. */
bool pj_entity_too_deep(const struct pj_entity *entity, size_t fact);

/* The fact, or NULL. `subkey` NULL: the only one of its kind. */
const struct pj_fact *pj_entity_fact(const struct pj_entity *entity, size_t fact,
                                     const uint8_t subkey[16]);

/* All *count facts of a kind, an array sorted by subkey. */
const struct pj_fact *pj_entity_facts(const struct pj_entity *entity, size_t fact, size_t *count);

/* The same, sorted by their orders (those of one order by subkey); lives as long as the
 * derivation's rows. */
const struct pj_fact *pj_entity_facts_by_order(struct pj_derivation *derivation,
                                               const struct pj_entity *entity, size_t fact,
                                               size_t *count);

/* A row of an entity table, all null: fill its columns, at least the key (a null in it makes the
 * event a dead letter). A row belongs to one entity: an event by which it is made twice, by one
 * entity or two, becomes a dead letter that names the row. Of a rollup table: the entity's whole
 * share of one bucket (sums, candidates for the extremes); the engine adds the difference from its
 * last share. */
struct pj_value *pj_row(struct pj_derivation *derivation, const struct pj_table *table);

/*
 * A claim on a row of a `claimed` table: as pj_row, but several entities may claim the row, each
 * once. The claim of the greatest order wins, ties are decided by content; when it is no longer
 * made, the next best wins.
 */
struct pj_value *pj_claim(struct pj_derivation *derivation, const struct pj_table *table,
                          const struct pj_order *order);

/*
 * Contributes a fact to an entity of a later kind: it replaces this entity's earlier one under the
 * same subkey (in the same call of derive, too), and is withdrawn when derive no longer contributes
 * it. The subkey must be unique to this entity (usually its key).
 *
 * An entity of a kind with `depth_most` also contributes to its own kind; what follows is derived
 * again, until nothing changes, in the same transaction. Two sorts of facts are told so:
 *   - a link (a node tells its parent that it is there) follows from facts that observe kept;
 *   - a `recursive` fact (a node tells its children its path) is derived from these, from links and
 *     from recursive facts of its kind or kinds listed before it. Recursive facts may decide what
 *     it says, but not whether and to whom it is said.
 * So links alone decide who tells whom, and rows stay a function of the set of events where events
 * make a ring (each of two folders is in the other): of whoever is on it, is told round it, or is
 * further away than depth_most, pj_entity_too_deep is true, and it sees no facts of that kind. When
 * the ring is broken, all is as if it had never been.
 */
void pj_contribute(struct pj_derivation *derivation, size_t entity, const uint8_t key[16],
                   size_t fact, const uint8_t subkey[16], const struct pj_value *values);

/* The same to an entity with a name, as pj_keep_named. */
void pj_contribute_named(struct pj_derivation *derivation, size_t entity,
                         const struct pj_value *name, size_t fact, const uint8_t subkey[16],
                         const struct pj_value *values);

/*
 * Contributes a fact that stays: it is kept by its order, like one from observe, and never
 * withdrawn. For what only grows (the last activity), so that the receiver need not remember every
 * contributor. A fact that a later event of this entity may change (the platform of a command)
 * breaks order independence here; use pj_contribute, or pj_keep in observe.
 */
void pj_tell(struct pj_derivation *derivation, size_t entity, const uint8_t key[16], size_t fact,
             const uint8_t subkey[16], const struct pj_order *order, const struct pj_value *values);

/* The same to an entity with a name, as pj_keep_named. */
void pj_tell_named(struct pj_derivation *derivation, size_t entity, const struct pj_value *name,
                   size_t fact, const uint8_t subkey[16], const struct pj_order *order,
                   const struct pj_value *values);

/* Of a timed kind: the stream time in microseconds since 1970; INT64_MIN before the first event. */
int64_t pj_stream_time(const struct pj_derivation *derivation);
/* Of a timed kind: a timer; derive again once stream time is later than this. */
void pj_due(struct pj_derivation *derivation, int64_t at);

/* The value of the projection's setting, which must be of that type. A duration is in milliseconds;
 * a text lives as long as the process. */
int64_t pj_setting_duration(const struct pj_derivation *derivation, size_t index);
int64_t pj_setting_integer(const struct pj_derivation *derivation, size_t index);
const char *pj_setting_text(const struct pj_derivation *derivation, size_t index);
bool pj_setting_boolean(const struct pj_derivation *derivation, size_t index);

/* As pj_observer_array. */
struct pj_value pj_derivation_array(struct pj_derivation *derivation, const struct pj_value *items,
                                    size_t count);

/* Memory that lives as long as the derivation's rows (for texts made by derive). */
void *pj_derivation_alloc(struct pj_derivation *derivation, size_t size);

/* The projection's context. */
const void *pj_derivation_context(const struct pj_derivation *derivation);

/* --- in count -------------------------------------------------------------------------------- */

/* Adds to a counter, an index of the projection's counters; `word` is an index of its words, and 0
 * where it has no label. */
void pj_count(struct pj_tally *tally, size_t counter, size_t word, size_t by);

#endif

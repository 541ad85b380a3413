/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A system: topics, projections and migrations that are deployed together. It is const data.
 *
 * A `projectionist` command is built with a list of systems; its `int main(int argc, char **argv)`
 * is
 *
 *     static const struct pj_system *const systems[] = {&my_system, NULL};
 *     return pj_system_main(systems, argc, argv);
 */
#ifndef PROJECTIONIST_SYSTEM_H
#define PROJECTIONIST_SYSTEM_H

#include "projectionist/projection.h"

struct pj_topic {
    const char *name;     /* as in sources; in Kafka after --topic-prefix */
    const char *schema;   /* Avro, as JSON, of the subject NAME-value; NULL: none is registered */
    int partitions;       /* 0: --partitions */
    bool compacted;       /* keeps the last record of each key for ever */
    int64_t retention_ms; /* by the records' timestamps; 0: for ever */
    int64_t max_message_bytes; /* of a record batch; 0: 4 MiB */
};

/* An SQL script, run once per database. CMake's pj_embed_sql (EmbedSql.cmake) makes the list from a
 * folder's NNNN_….sql files. */
struct pj_migration_script {
    const char *name; /* NNNN_….sql; NULL ends a list */
    const char *sql;
};

/*
 * Who besides the consumers may read rows, by `projectionist roles`: a role that the database has
 * or not (Supabase's authenticated and anon). Where it is, it gets SELECT on the relation and a
 * policy.
 */
struct pj_reader {
    const char *relation; /* a table of the projections or one of the views */
    const char *role;
    const char *rows; /* an SQL condition on the table's rows, which finds functions and tables of
                       * the tables' schema; NULL: all. Of a view it is NULL: what its tables let
                       * the role see */
};

/* Who may call a function that the migrations create in the tables' schema; by `projectionist
 * roles`, where the database has the role. Nobody else may: it is taken from all who had it. */
struct pj_caller {
    const char *function;
    const char *role;
};

/* What event-ingest reads of a table, to know whose a thing is and in which version
 * (--ingest-tables). By `projectionist roles` its role may read that and nothing else. */
struct pj_ingested {
    const char *relation; /* a table of the projections */
    const char *columns;  /* "id, user_id": SQL */
};

struct pj_system {
    const char *name;    /* lower-case letters, digits, dashes; no projection's name */
    const char *summary; /* one line */
    const char *version; /* what --version of its consumers prints */
    const struct pj_topic *topics;
    size_t topic_count;
    const struct pj_projection *const *projections; /* referenced ones first */
    size_t projection_count;
    const struct pj_migration_script *migrations; /* by number; or NULL */
    const char *tables_schema;                    /* of Postgres; --tables-schema overrides it */
    const char *const *views;     /* that the migrations create there; NULL ends them; or NULL */
    const char *const *published; /* tables for Supabase's Realtime; likewise */
    const struct pj_reader *readers;
    size_t reader_count;
    const struct pj_caller *callers;
    size_t caller_count;
    const struct pj_ingested *ingested;
    size_t ingested_count;
    const char *outbox; /* the schema of its outbox, which the migrations make by
                         * projectionist.create_outbox; or NULL */
};

/*
 * The `projectionist` command; see `projectionist help`. `projectionist consume NAME`, or a link to
 * the program named after the projection, is a consumer. `systems` ends with NULL and must live as
 * long as the process. Returns an exit code of enum pj_exit.
 */
int pj_system_main(const struct pj_system *const *systems, int argc, char **argv);

#endif

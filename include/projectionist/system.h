/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A system: topics, projections and migrations that are deployed together. It is const data.
 *
 * The `projectionist` command of a build knows the systems it is given; `int main(int argc,
 * char **argv)` of it is
 *
 *     static const struct pj_system *const systems[] = {&my_system, NULL};
 *     return pj_system_main(systems, argc, argv);
 */
#ifndef PROJECTIONIST_SYSTEM_H
#define PROJECTIONIST_SYSTEM_H

#include "projectionist/projection.h"

struct pj_topic {
    const char *name;     /* as sources name it; in Kafka --topic-prefix comes before it */
    const char *schema;   /* Avro, as JSON, of the subject NAME-value; NULL: none is registered */
    int partitions;       /* 0: --partitions, as of all such topics of a system */
    bool compacted;       /* Kafka keeps the last record of each key, for ever */
    int64_t retention_ms; /* by the records' own times; 0: for ever */
    int64_t max_message_bytes; /* of a batch of records; 0: 4 MiB */
};

/* A script of SQL, run once in a database. CMake's pj_embed_sql (EmbedSql.cmake) makes the list of
 * a folder's NNNN_….sql files. */
struct pj_migration_script {
    const char *name; /* NNNN_….sql; NULL ends a list */
    const char *sql;
};

struct pj_system {
    const char *name;    /* of small letters, digits and dashes; no projection has it */
    const char *summary; /* one line */
    const char *version; /* its author's, for --version of its consumers */
    const struct pj_topic *topics;
    size_t topic_count;
    const struct pj_projection *const *projections; /* those that others refer to first */
    size_t projection_count;
    const struct pj_migration_script *migrations; /* by number; or NULL */
    const char *tables_schema; /* of Postgres, where --tables-schema names no other */
};

/*
 * The `projectionist` command: `projectionist help` lists what it can do; `projectionist consume
 * NAME`, or a link to the program that has the projection's name, is a consumer. `systems` ends
 * with NULL and must live as long as the process. Returns an exit code of enum pj_exit.
 */
int pj_system_main(const struct pj_system *const *systems, int argc, char **argv);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "store/owner.h"

#include "postgres/binary.h"

/* A session shows whose it is by a lock that nobody waits for, whatever its application_name. */
#define KEY_OF_OWNER "hashtextextended('projectionist ' || owner, 0)"
static const struct pj_statement mark_statement = {
    .name = "pj_mark",
    .sql = "SELECT pg_try_advisory_lock_shared(" KEY_OF_OWNER ") FROM (SELECT $1 AS owner) AS o",
    PJ_TYPES(PJ_OID_TEXT),
};

/* Only those of our own role. Owners of before there was the lock are known by their
 * application_name, of which Postgres keeps 63 bytes. */
static const struct pj_statement end_unresponsive_statement = {
    .name = "pj_end_unresponsive",
    .sql = "SELECT o.owner, pg_terminate_backend(a.pid) FROM pg_stat_activity AS a "
           "JOIN (SELECT DISTINCT owner, " KEY_OF_OWNER " AS key "
           "FROM projectionist.consumer_offsets "
           "JOIN unnest($3, $4) AS g (topic, partition) USING (topic, partition) "
           "WHERE cluster_id = $1 AND consumer_group = $2) AS o "
           "ON a.application_name = left(o.owner, 63) OR EXISTS (SELECT FROM pg_locks AS l "
           "WHERE l.pid = a.pid AND l.locktype = 'advisory' AND l.database = a.datid "
           "AND l.objsubid = 1 AND (l.classid::bigint << 32 | l.objid::bigint) = o.key) "
           "WHERE a.datname = current_database() AND a.usename = current_user "
           "AND a.pid <> pg_backend_pid() AND a.state = 'active' "
           "AND a.wait_event IN ('ClientRead', 'ClientWrite') AND a.state_change < "
           "clock_timestamp() - current_setting('idle_in_transaction_session_timeout')::interval",
    PJ_TYPES(PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_TEXT_ARRAY, PJ_OID_INT4_ARRAY),
};

static const struct pj_statement connected_statement = {
    .name = "pj_connected",
    .sql = "SELECT FROM projectionist.consumer_offsets AS o JOIN pg_locks AS l "
           "ON l.locktype = 'advisory' AND l.objsubid = 1 "
           "AND (l.classid::bigint << 32 | l.objid::bigint) = " KEY_OF_OWNER " "
           "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
           "WHERE o.cluster_id = $1 AND o.consumer_group = $2 AND o.topic = $3 "
           "AND o.partition = $4 LIMIT 1",
    PJ_TYPES(PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_TEXT, PJ_OID_INT4),
};

int pj_owner_mark_session(struct pj_postgres *postgres, const struct pj_identity *identity,
                          struct pj_error *error)
{
    struct pj_parameter owner = pj_binary_text(identity->owner);
    return pj_postgres_run(postgres, &mark_statement, &owner, NULL, error);
}

int pj_owner_end_unresponsive(struct pj_postgres *postgres, const struct pj_identity *identity,
                              struct pj_partition *const *partitions, size_t count,
                              struct pj_arena *arena, int *ended, const char **owner,
                              struct pj_error *error)
{
    struct pj_parameter parameters[4];
    pj_offsets_parameters(parameters, identity, partitions, count, arena);
    struct pj_result *result;
    if (pj_postgres_run(postgres, &end_unresponsive_statement, parameters, &result, error) != 0)
        return -1;
    *ended = pj_result_rows(result);
    if (*ended > 0) {
        int length;
        const char *name = pj_result_value(result, 0, 0, &length);
        *owner = pj_arena_string(arena, name, (size_t)length);
    }
    pj_result_free(result);
    return 0;
}

int pj_owner_is_connected(struct pj_postgres *postgres, const struct pj_identity *identity,
                          const struct pj_partition *partition, struct pj_arena *arena,
                          bool *connected, struct pj_error *error)
{
    struct pj_parameter parameters[] = {
        pj_binary_text(identity->cluster_id),
        pj_binary_text(identity->group),
        pj_binary_text(partition->topic),
        pj_binary_number(arena, PJ_INT, partition->number),
    };
    struct pj_result *result;
    if (pj_postgres_run(postgres, &connected_statement, parameters, &result, error) != 0)
        return -1;
    *connected = pj_result_rows(result) > 0;
    pj_result_free(result);
    return 0;
}

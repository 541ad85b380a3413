/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of every consumer, and the options that programs share. */
#ifndef PJ_ENGINE_SETTINGS_H
#define PJ_ENGINE_SETTINGS_H

#include "avro/registry.h"
#include "base/process.h"
#include "projectionist/projection.h"

/* Bytes of the name of a group, or of an owner: as of a topic's. */
enum { PJ_GROUP_MOST = 249 };

enum { PJ_CONSUMER_WORKERS_MOST = 16 };

struct pj_settings {
    const char *group;
    const char *instance;
    const char *postgres_dsn;
    const char *tables_schema; /* as the operator names it, or NULL */
    const char *system;        /* these two, where that is NULL, as of pj_postgres_settings */
    const char *default_schema;
    const char *topic_prefix;             /* with which the projection's topics begin, or NULL */
    struct pj_registry_settings registry; /* url NULL: none is named */
    struct pj_process_settings process;
    int64_t workers;
    int64_t batch_records;
    int64_t batch_bytes;
    int64_t lock_timeout_ms;
    int64_t idle_in_transaction_timeout_ms;
    int64_t shutdown_timeout_ms;
    int64_t stall_timeout_ms;
    const char *commit; /* "sync" or "async"; NULL: sync */
    bool until_caught_up;
    bool accept_gap;
    bool accept_dead_letters;
    bool accept_version;
};

extern const struct pj_option pj_consumer_options[];

/* A setting of a projection as an option whose pj_setting_value lies at `offset`. */
struct pj_option pj_setting_option(const struct pj_setting *setting, size_t offset);

/* The fallbacks of a projection's settings; texts are in the arena. PJ_FATAL (PJ_EXIT_USAGE), and
 * *error says which, where one is not of its type. */
int pj_setting_fallbacks(const struct pj_setting *settings, union pj_setting_value *values,
                         struct pj_arena *arena, struct pj_error *error) PJ_MUST_CHECK;

#endif

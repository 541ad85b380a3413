/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/settings.h"

#include "base/topic_name.h"
#include "postgres/postgres.h"

#define AT(member) offsetof(struct pj_settings, member)

const struct pj_option pj_consumer_options[] = {
    PJ_OPTION(STRING, "group", AT(group), NULL, "NAME",
              "Consumer group, whose members share the partitions. The default is the consumer's "
              "name.",
              .letter = 'g', .filled = true, .most = PJ_GROUP_MOST),
    PJ_OPTION(BOOL, "until-caught-up", AT(until_caught_up), NULL, NULL,
              "Exit with code 0 once every partition is read to its end and committed."),
    PJ_OPTION(
        BOOL, "accept-gap", AT(accept_gap), NULL, NULL,
        "Continue where retention removed records before they were read, and record their "
        "offset ranges in projectionist.gaps. Without it the consumer stops with exit code 3."),
    PJ_OPTION(
        BOOL, "accept-dead-letters", AT(accept_dead_letters), NULL, NULL,
        "Continue where the first 100 records of a topic are all refused for the same reason, "
        "and dead-letter them. Without it the consumer stops with exit code 1."),
    PJ_OPTION(BOOL, "accept-version", AT(accept_version), NULL, NULL,
              "Take rows that another version of the consumer's rules wrote for those of this one, "
              "and record that. Without it every start warns of them until a rebuild."),
    PJ_OPTION(STRING, "postgres-dsn", AT(postgres_dsn), NULL, "DSN",
              "Postgres, as a postgresql:// URI or key=value text. What it leaves out comes from "
              "libpq's own variables (PGHOST and so on)."),
    PJ_TABLES_SCHEMA_OPTION(AT(tables_schema)),
    PJ_TOPIC_PREFIX_OPTION(AT(topic_prefix)),
    PJ_REGISTRY_OPTIONS(AT(registry),
                        "URL of the schema registry's Confluent API. Without it only schemas "
                        "already kept in Postgres are known; a record with another schema "
                        "stops the consumer with exit code 2."),
    PJ_OPTION(STRING, "instance", AT(instance), NULL, "NAME",
              "Name of this replica as the owner of partitions in status and logs. The default is "
              "HOST:PID.",
              .filled = true, .most = PJ_GROUP_MOST),
    PJ_OPTION(INTEGER, "workers", AT(workers), "1", "N",
              "Members of the group in this process, each with a thread, a connection to Kafka and "
              "one to Postgres: as fast as so many replicas.",
              .least = 1, .most = PJ_CONSUMER_WORKERS_MOST),
    PJ_OPTION(INTEGER, "batch-records", AT(batch_records), "5000", "N",
              "Maximum records per transaction. Batches fill up only while the consumer lags; once "
              "it has caught up, records are committed as they arrive, or every 5 ms.",
              .least = 1, .most = 1000000),
    PJ_OPTION(SIZE, "batch-bytes", AT(batch_bytes), "8MiB", "SIZE",
              "Maximum bytes of keys and values per transaction. The state loaded for them is "
              "limited to eight times as much, and to 64 MiB.",
              .least = 1024, .most = INT64_C(1) << 30),
    PJ_OPTION(CHOICE, "commit", AT(commit), "sync", "HOW",
              "async: do not wait for the disk at a commit (synchronous_commit off). Tables stay "
              "exact: what a crash of Postgres takes back is read again. Until then readers may "
              "have seen rows, and triggers' notifications, that are gone for a moment.",
              .choices = "sync|async"),
    PJ_OPTION(DURATION, "lock-timeout", AT(lock_timeout_ms), "15s", "TIME",
              "How long a statement waits for a lock before the transaction is retried. Keep it "
              "longer than idle-in-transaction-timeout, so that a takeover outlasts an "
              "unresponsive owner.",
              .least = 100, .most = 3600000),
    PJ_OPTION(DURATION, "idle-in-transaction-timeout", AT(idle_in_transaction_timeout_ms), "10s",
              "TIME",
              "After this time Postgres ends the transaction of an unresponsive process, so that "
              "another can take over.",
              .least = 100, .most = 3600000),
    PJ_OPTION(DURATION, "shutdown-timeout", AT(shutdown_timeout_ms), "10s", "TIME",
              "How long a shutdown waits for Postgres to finish the batch, and then again for the "
              "brokers when leaving the group. Keep twice this below the grace period of "
              "whatever stops the process.",
              .least = 100, .most = 600000),
    PJ_OPTION(DURATION, "stall-timeout", AT(stall_timeout_ms), "10s", "TIME",
              "When there are records to read, or Kafka does not say whether there are, and none "
              "has been processed for this long, /readyz fails with the reason and the log repeats "
              "it.",
              .least = 1000, .most = 86400000),
    PJ_PROCESS_OPTIONS(AT(process)),
    {0},
};

struct pj_option pj_setting_option(const struct pj_setting *setting, size_t offset)
{
    static const enum pj_option_kind kinds[] = {
        [PJ_SETTING_DURATION] = PJ_OPTION_DURATION,
        [PJ_SETTING_INTEGER] = PJ_OPTION_INTEGER,
        [PJ_SETTING_TEXT] = PJ_OPTION_STRING,
        [PJ_SETTING_BOOLEAN] = PJ_OPTION_BOOL,
    };
    static const char *const arguments[] = {
        [PJ_SETTING_DURATION] = "TIME",
        [PJ_SETTING_INTEGER] = "N",
        [PJ_SETTING_TEXT] = "TEXT",
        [PJ_SETTING_BOOLEAN] = NULL,
    };
    struct pj_option option = {
        .name = setting->name,
        .kind = setting->words != NULL ? PJ_OPTION_CHOICE : kinds[setting->type],
        .offset = offset,
        .fallback = setting->fallback,
        .argument = arguments[setting->type],
        .help = setting->help,
        .filled = true,
        .choices = setting->words,
    };
    if (setting->type == PJ_SETTING_DURATION) {
        option.least = 1;
        option.most = INT64_C(1000) * 86400 * 3650;
    } else if (setting->type == PJ_SETTING_INTEGER) {
        option.least = setting->least;
        option.most = setting->most;
    }
    return option;
}

int pj_setting_fallbacks(const struct pj_setting *settings, union pj_setting_value *values,
                         struct pj_arena *arena, struct pj_error *error)
{
    for (size_t i = 0; settings != NULL && settings[i].name != NULL; i++) {
        const struct pj_option option = pj_setting_option(&settings[i], i * sizeof *values);
        if (pj_config_store(&option, values, option.name, option.fallback, arena, error) != 0)
            return -1;
    }
    return 0;
}

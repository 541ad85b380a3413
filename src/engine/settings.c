/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/settings.h"

#include "base/topic_name.h"
#include "postgres/postgres.h"

#define AT(member) offsetof(struct pj_settings, member)

const struct pj_option pj_consumer_options[] = {
    {.name = "group",
     .letter = 'g',
     .kind = PJ_OPTION_STRING,
     .offset = AT(group),
     .filled = true,
     .most = PJ_GROUP_MOST,
     .argument = "NAME",
     .help = "Consumer group: its members share the partitions, its offsets are its own. The "
             "default is the consumer's name."},
    {.name = "until-caught-up",
     .kind = PJ_OPTION_BOOL,
     .offset = AT(until_caught_up),
     .help = "End with exit code 0 once every partition is at its end and committed."},
    {.name = "accept-gap",
     .kind = PJ_OPTION_BOOL,
     .offset = AT(accept_gap),
     .help = "Go on where retention removed records that were never read, and write their ranges "
             "to projectionist.gaps. Without it that is a stop with exit code 3."},
    {.name = "accept-dead-letters",
     .kind = PJ_OPTION_BOOL,
     .offset = AT(accept_dead_letters),
     .help = "Go on where the first 100 records of a topic are all refused for one reason, and set "
             "them aside as dead letters. Without it that is a stop with exit code 1."},
    {.name = "postgres-dsn",
     .kind = PJ_OPTION_STRING,
     .offset = AT(postgres_dsn),
     .argument = "DSN",
     .help = "Where Postgres is: a postgresql:// URI or key=value text. What it lacks comes from "
             "libpq's own variables (PGHOST and so on)."},
    PJ_TABLES_SCHEMA_OPTION(AT(tables_schema)),
    PJ_TOPIC_PREFIX_OPTION(AT(topic_prefix)),
    PJ_REGISTRY_OPTIONS(AT(registry),
                        "Where the schema registry's Confluent API is. Without it only schemas "
                        "that are kept in Postgres are known; a record of another stops the "
                        "consumer with exit code 2."),
    {.name = "instance",
     .kind = PJ_OPTION_STRING,
     .offset = AT(instance),
     .filled = true,
     .most = PJ_GROUP_MOST,
     .argument = "NAME",
     .help = "The name of this replica as the owner of partitions in status and logs. The default "
             "is HOST:PID."},
    {.name = "batch-records",
     .kind = PJ_OPTION_INTEGER,
     .offset = AT(batch_records),
     .fallback = "5000",
     .argument = "N",
     .least = 1,
     .most = 1000000,
     .help = "The most records in one transaction. Batches fill up only while the consumer is "
             "behind; when it has caught up every record is committed at once."},
    {.name = "batch-bytes",
     .kind = PJ_OPTION_SIZE,
     .offset = AT(batch_bytes),
     .fallback = "8MiB",
     .argument = "SIZE",
     .least = 1024,
     .most = INT64_C(1) << 30,
     .help = "The most bytes of keys and values in one transaction. What they touch and is loaded "
             "for them is bounded too, by eight times as much, or 64 MiB where that is less."},
    {.name = "lock-timeout",
     .kind = PJ_OPTION_DURATION,
     .offset = AT(lock_timeout_ms),
     .fallback = "15s",
     .argument = "TIME",
     .least = 100,
     .most = 3600000,
     .help = "How long a statement waits for a lock before the transaction is tried again. Best "
             "longer than idle-in-transaction-timeout: then a takeover outwaits an unresponsive "
             "owner, and need not try again."},
    {.name = "idle-in-transaction-timeout",
     .kind = PJ_OPTION_DURATION,
     .offset = AT(idle_in_transaction_timeout_ms),
     .fallback = "10s",
     .argument = "TIME",
     .least = 100,
     .most = 3600000,
     .help = "After this Postgres ends the transaction of an unresponsive process, so that another "
             "can take over."},
    {.name = "shutdown-timeout",
     .kind = PJ_OPTION_DURATION,
     .offset = AT(shutdown_timeout_ms),
     .fallback = "10s",
     .argument = "TIME",
     .least = 100,
     .most = 600000,
     .help = "How long a stop waits for Postgres to finish the batch, and after that for the "
             "brokers when leaving the group. Keep the two together below the grace period of "
             "whatever stops the process."},
    {.name = "stall-timeout",
     .kind = PJ_OPTION_DURATION,
     .offset = AT(stall_timeout_ms),
     .fallback = "10s",
     .argument = "TIME",
     .least = 1000,
     .most = 86400000,
     .help =
         "Where records are there to be read, or Kafka does not tell whether they are, and none "
         "was for so long, /readyz says no, with the reason, and the log does so over and "
         "over."},
    PJ_PROCESS_OPTIONS(AT(process)),
    {0},
};

struct pj_option pj_setting_option(const struct pj_setting *setting, size_t offset)
{
    return (struct pj_option){
        .name = setting->name,
        .kind = PJ_OPTION_DURATION,
        .offset = offset,
        .fallback = setting->fallback,
        .argument = "TIME",
        .help = setting->help,
        .least = 1,
        .most = INT64_C(1000) * 86400 * 3650,
    };
}

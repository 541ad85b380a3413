/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `rebuild` and `verify` share: filling shadow tables with a progress bar, and showing how the
 * live tables differ. rebuild_plan.c says which offsets are read, rebuild_feed.c opens
 * recordings, rebuild_show.c prints.
 */
#ifndef PJ_CLI_REBUILD_COMMAND_H
#define PJ_CLI_REBUILD_COMMAND_H

#include "cli/cli.h"
#include "cli/deployment.h"
#include "cli/projection_settings.h"
#include "kafka/admin.h"
#include "rebuild/rebuild.h"

/* A command's settings. */
struct pj_rebuild_options {
    struct pj_cli_servers servers;
    const char *group;
    const char *from;
    const char *to;
    struct pj_cli_projection_settings own;
    int64_t batch_records;
    int64_t workers;
    int64_t samples;
    int64_t stall_timeout_ms; /* of a verify */
    bool keep_retained;
    bool drop_retained;
    bool dry_run;
    bool yes;
    bool json;
};

#define PJ_REBUILD_OPTIONS                                                                         \
    PJ_CLI_POSTGRES_OPTIONS, PJ_CLI_REGISTRY_OPTIONS, PJ_CLI_SYSTEMS_OPTION,                       \
        PJ_CLI_TABLES_SCHEMA_OPTION, PJ_CLI_TOPIC_PREFIX_OPTION,                                   \
        {.name = "group",                                                                          \
         .letter = 'g',                                                                            \
         .kind = PJ_OPTION_STRING,                                                                 \
         .offset = offsetof(struct pj_rebuild_options, group),                                     \
         .filled = true,                                                                           \
         .argument = "NAME",                                                                       \
         .help = "The consumer group that keeps the tables; the default is the projection's "      \
                 "name."},                                                                         \
        {.name = "keep-retained",                                                                  \
         .kind = PJ_OPTION_BOOL,                                                                   \
         .offset = offsetof(struct pj_rebuild_options, keep_retained),                             \
         .help = "Rows stay that follow from records which are not read: retention or compaction " \
                 "has removed them, or they are another cluster's. Without it that is an error, "  \
                 "which names them."},                                                             \
        {.name = "workers",                                                                        \
         .kind = PJ_OPTION_INTEGER,                                                                \
         .offset = offsetof(struct pj_rebuild_options, workers),                                   \
         .fallback = "0",                                                                          \
         .argument = "N",                                                                          \
         .least = 0,                                                                               \
         .most = 16,                                                                               \
         .help = "How many read side by side, each with connections of its own to Kafka and to "   \
                 "Postgres and each its share of the partitions; 0: one a processor, at most 4."}, \
        {.name = "batch-records",                                                                  \
         .kind = PJ_OPTION_INTEGER,                                                                \
         .offset = offsetof(struct pj_rebuild_options, batch_records),                             \
         .fallback = "20000",                                                                      \
         .argument = "N",                                                                          \
         .least = 1,                                                                               \
         .most = 1000000,                                                                          \
         .help = "The most records in one transaction of a worker."},                              \
        {.name = "samples",                                                                        \
         .kind = PJ_OPTION_INTEGER,                                                                \
         .offset = offsetof(struct pj_rebuild_options, samples),                                   \
         .fallback = "5",                                                                          \
         .argument = "N",                                                                          \
         .least = 0,                                                                               \
         .most = 10000,                                                                            \
         .help = "How many differing rows of each table are shown."},                              \
        PJ_CLI_JSON_OPTION(struct pj_rebuild_options), PJ_CLI_TIMEOUT_OPTION

/* Exit codes of verify. */
enum { PJ_VERIFY_EQUAL = 0, PJ_VERIFY_DIFFERENT = 1, PJ_VERIFY_UNKNOWN = 2 };

/* One projection on its way. */
struct pj_rebuild_run {
    const struct pj_rebuild_options *options;
    const struct pj_config *config;
    const struct pj_system *system;
    const char *group; /* unless --group names another */
    const struct pj_projection *projection;
    bool verify;
    struct pj_kafka *kafka;
    const char *cluster_id;
    struct pj_settings consumer;
    int64_t setting_values[PJ_SETTINGS_MOST];
    struct pj_rebuild_settings settings;
    struct pj_feed *feeds; /* recordings of --from */
    size_t feed_count;
    struct pj_rebuild *rebuild;
    struct pj_progress *progress;
    char label[192]; /* of the progress; it says more as it goes on */
    struct pj_difference difference;
    size_t untaken; /* of a verify: partitions with records that no consumer has ever taken */
    int64_t held;   /* likewise: records that wait for an open transaction of a producer */
};

/*
 * The projections that the operands name, one after the other (none, or `all`: all that are
 * configured), in the order in which their foreign keys refer to one another, each by `each`, which
 * returns an exit code or -1 with *error. Ends with the first that fails (to verify one of all does
 * not keep the others from it); otherwise with the greatest exit code.
 */
int pj_rebuild_each(const struct pj_config *config, const struct pj_rebuild_options *options,
                    bool verify, int (*each)(struct pj_rebuild_run *run, struct pj_error *error),
                    struct pj_error *error);

/* Opens, plans and fills, with progress on stderr. Returns as pj_rebuild_fill. */
int pj_rebuild_prepare(struct pj_rebuild_run *run, struct pj_error *error) PJ_MUST_CHECK;

/* The ranges to read, malloc'ed and sorted; their topics are the projection's texts. Refuses
 * (PJ_EXIT_GAP, with the offsets on stderr) what leaves history out, unless it is allowed to. */
int pj_rebuild_range_list(struct pj_rebuild_run *run, struct pj_offset_range **ranges,
                          size_t *count, struct pj_error *error) PJ_MUST_CHECK;

/* Does --from name recordings? */
bool pj_rebuild_is_recording(const char *from);
/* Opens them, into the run's settings; close in any case. */
int pj_rebuild_open_feeds(struct pj_rebuild_run *run, struct pj_error *error) PJ_MUST_CHECK;
void pj_rebuild_close_feeds(struct pj_rebuild_run *run);

/* The difference for people, on stdout. */
void pj_rebuild_show(const struct pj_rebuild_run *run);
/* The same as JSON, with samples; `outcome` is a word. */
void pj_rebuild_show_json(const struct pj_rebuild_run *run, const char *outcome);

#endif

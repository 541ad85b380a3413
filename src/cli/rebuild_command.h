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
    PJ_CLI_POSTGRES_OPTION, PJ_CLI_REGISTRY_OPTIONS, PJ_CLI_SYSTEMS_OPTION,                        \
        PJ_CLI_TABLES_SCHEMA_OPTION, PJ_CLI_TOPIC_PREFIX_OPTION,                                   \
        PJ_CLI_GROUP_OPTION(struct pj_rebuild_options,                                             \
                            "The consumer group that keeps the tables; the default is the "        \
                            "projection's name."),                                                 \
        PJ_CLI_BOOL_OPTION(struct pj_rebuild_options, keep_retained, "keep-retained", 0,           \
                           "Keep rows that follow from records which are not read: retention or "  \
                           "compaction has removed them, or they are of another cluster. Without " \
                           "it that is an error, which names them."),                              \
        PJ_CLI_INTEGER_OPTION(struct pj_rebuild_options, workers, "workers", 0, "0", 0, 16,        \
                              "How many read side by side, each with its own connections to "      \
                              "Kafka and Postgres and its share of the partitions; 0: one a "      \
                              "processor, at most 4."),                                            \
        PJ_CLI_INTEGER_OPTION(struct pj_rebuild_options, batch_records, "batch-records", 0,        \
                              "20000", 1, 1000000, "The most records in a worker's transaction."), \
        PJ_CLI_INTEGER_OPTION(struct pj_rebuild_options, samples, "samples", 0, "5", 0, 10000,     \
                              "How many differing rows of each table are shown."),                 \
        PJ_CLI_JSON_OPTION(struct pj_rebuild_options), PJ_CLI_TIMEOUT_OPTION

/* Exit codes of verify. */
enum { PJ_VERIFY_EQUAL = 0, PJ_VERIFY_DIFFERENT = 1, PJ_VERIFY_UNKNOWN = 2 };

/* The rebuild of one projection. */
struct pj_rebuild_run {
    struct pj_cli *cli;
    const struct pj_rebuild_options *options;
    const struct pj_system *system;
    const char *group; /* unless --group names another */
    const struct pj_projection *projection;
    bool verify;
    struct pj_settings consumer;
    union pj_setting_value setting_values[PJ_SETTINGS_MOST];
    struct pj_rebuild_settings settings;
    struct pj_feed *feeds; /* recordings of --from */
    size_t feed_count;
    struct pj_rebuild *rebuild;
    struct pj_progress *progress;
    char label[192]; /* of the progress; it says more as it goes on */
    struct pj_difference difference;
    struct pj_kafka_extent *extents; /* of all partitions of the projection's topics */
    size_t extent_count;
    struct pj_offset_range *ranges; /* to read, sorted */
    size_t range_count;
    size_t untaken; /* of a verify: partitions with records that no consumer has ever owned */
    int64_t held;   /* likewise: records that wait for an open transaction of a producer */
};

/*
 * The projections that the operands name, one after the other (none, or `all`: all that are
 * configured), in the order in which their foreign keys refer to one another, each by `each`, which
 * returns an exit code or -1 with *error. Ends with the first that fails (to verify one of all does
 * not keep the others from it); otherwise with the greatest exit code.
 */
int pj_rebuild_each(struct pj_cli *cli, const struct pj_rebuild_options *options, bool verify,
                    int (*each)(struct pj_rebuild_run *run, struct pj_error *error),
                    struct pj_error *error);

/* Opens, plans and fills, with progress on stderr. Returns as pj_rebuild_fill. */
int pj_rebuild_prepare(struct pj_rebuild_run *run, struct pj_error *error) PJ_MUST_CHECK;

/* Finds the ranges to read. Refuses (PJ_EXIT_GAP, with the offsets on stderr) what leaves history
 * out, unless it is allowed to. */
int pj_rebuild_choose_ranges(struct pj_rebuild_run *run, struct pj_error *error) PJ_MUST_CHECK;

/* Opens the recordings that --from names, if any, into the run's settings; close in any case. */
int pj_rebuild_open_feeds(struct pj_rebuild_run *run, struct pj_error *error) PJ_MUST_CHECK;
void pj_rebuild_close_feeds(struct pj_rebuild_run *run);

/* The difference for people, on stdout. */
void pj_rebuild_show(const struct pj_rebuild_run *run);
/* The same as JSON, with samples; `outcome` is a word. */
void pj_rebuild_show_json(const struct pj_rebuild_run *run, const char *outcome);

#endif

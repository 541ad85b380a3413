/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "cli/rebuild_command.h"

#include "base/log.h"
#include "base/process.h"
#include "base/progress.h"
#include "fold/claims.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LOCK_TIMEOUT_MS = 15000,
    IDLE_TIMEOUT_MS = 10000,
    STALL_TIMEOUT_MS = 10000,
    BATCH_BYTES = 32 << 20
};
enum {
    WORKERS_MOST = 4, /* unless more are asked for */
    INTERRUPTED = 130
};

static void show_progress(void *context, const struct pj_rebuild_progress *progress)
{
    struct pj_rebuild_run *run = context;
    size_t length = pj_text_show(run->label, sizeof run->label, "%s %s",
                                 run->verify ? "verifying" : "rebuilding", run->projection->name);
    if (progress->partitions > 0)
        pj_text_show(run->label + length, sizeof run->label - length,
                     ", %zu of %zu partitions read", progress->finished, progress->partitions);
    pj_progress_set_total(run->progress, progress->total);
    pj_progress_update(run->progress, progress->done);
}

static int choose_workers(int64_t asked)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (asked > 0)
        return (int)asked;
    return processors < 1 ? 1 : processors < WORKERS_MOST ? (int)processors : WORKERS_MOST;
}

static void fill_settings(struct pj_rebuild_run *run)
{
    const struct pj_rebuild_options *options = run->options;
    run->consumer = (struct pj_settings){
        .postgres_dsn = options->servers.postgres_dsn,
        .tables_schema = pj_cli_tables_schema(run->system, &options->servers),
        .topic_prefix = options->servers.topic_prefix,
        .registry = options->servers.registry,
        .batch_records = options->batch_records,
        .batch_bytes = BATCH_BYTES,
        .lock_timeout_ms = LOCK_TIMEOUT_MS,
        .idle_in_transaction_timeout_ms = IDLE_TIMEOUT_MS,
        .stall_timeout_ms = STALL_TIMEOUT_MS,
    };
    if (run->consumer.registry.url != NULL && *run->consumer.registry.url == '\0')
        run->consumer.registry.url = NULL;
    run->settings = (struct pj_rebuild_settings){
        .projection = run->projection,
        .setting_values = run->setting_values,
        .consumer = &run->consumer,
        .config = run->config,
        .cluster_id = run->cluster_id,
        .group = options->group != NULL ? options->group : run->group,
        .verify = run->verify,
        .follow = run->verify || options->to == NULL || strcmp(options->to, "now") == 0,
        .keep_retained = options->keep_retained,
        .drop_retained = options->drop_retained,
        .workers = choose_workers(options->workers),
        .samples = (int)options->samples,
        .stall_timeout_ms = options->stall_timeout_ms,
        .stop = &pj_stop_requests,
        .progress = show_progress,
        .context = run,
    };
}

/* --- preparing ------------------------------------------------------------------------------- */

static int plan(struct pj_rebuild_run *run, struct pj_error *error)
{
    struct pj_offset_range *ranges;
    size_t count;
    bool resumed;
    char *origin;
    if (pj_rebuild_range_list(run, &ranges, &count, error) != 0)
        return -1;
    if (asprintf(&origin, "from %s to %s",
                 run->options->from != NULL ? run->options->from : "earliest",
                 run->options->to != NULL ? run->options->to : "now") < 0)
        abort();
    int status = pj_rebuild_plan(run->rebuild, ranges, count, origin, &resumed, error);
    free(origin);
    free(ranges);
    if (status == 0 && resumed)
        fprintf(stderr, "%s: going on with an attempt that was interrupted\n",
                run->projection->name);
    return status;
}

int pj_rebuild_prepare(struct pj_rebuild_run *run, struct pj_error *error)
{
    struct pj_progress_settings progress = {
        .out = stderr, .label = run->label, .unit = "records", .plain_lines = true};
    fill_settings(run);
    pj_cli_take_settings(&run->options->own, run->projection, run->setting_values);
    if (pj_rebuild_open_feeds(run, error) != 0 ||
        pj_rebuild_open(&run->rebuild, &run->settings, error) != 0 || plan(run, error) != 0)
        return -1;
    run->progress = pj_progress_new(&progress);
    show_progress(run, &(struct pj_rebuild_progress){0});
    int status = pj_rebuild_fill(run->rebuild, error);
    pj_progress_free(run->progress);
    run->progress = NULL;
    return status;
}

/* --- one after the other --------------------------------------------------------------------- */

static int run_one(const struct pj_config *config, const struct pj_rebuild_options *options,
                   bool verify, const struct pj_cli_projection *chosen, struct pj_kafka *kafka,
                   const char *cluster_id,
                   int (*each)(struct pj_rebuild_run *run, struct pj_error *error),
                   struct pj_error *error)
{
    const struct pj_projection *projection = pj_claims_expand(chosen->projection);
    struct pj_rebuild_run run = {
        .options = options,
        .config = config,
        .system = chosen->system,
        .group = chosen->group,
        .projection = projection,
        .verify = verify,
        .kafka = kafka,
        .cluster_id = cluster_id,
    };
    int status = each(&run, error);
    if (status < 0) {
        struct pj_error cause = *error;
        pj_error_set(error, cause.class, "%s: %s", projection->name, cause.message);
        error->exit_code = cause.exit_code;
    }
    pj_difference_free(&run.difference);
    /* An attempt at a rebuild that failed or was interrupted is there to be gone on with, unless
     * its records are gone. */
    bool gone = status < 0 &&
                (error->exit_code == PJ_EXIT_TOPIC_RECREATED || error->exit_code == PJ_EXIT_GAP);
    pj_rebuild_close(run.rebuild, verify || status == PJ_EXIT_OK || gone);
    pj_rebuild_close_feeds(&run);
    if (status >= 0 && pj_stop_requests > 0)
        return INTERRUPTED;
    return status;
}

static int check_operands(const struct pj_config *config, const struct pj_rebuild_options *options,
                          struct pj_error *error)
{
    if (pj_cli_check_names(config, error) != 0)
        return -1;
    if (options->group != NULL &&
        (config->operand_count != 1 || pj_cli_projection_find(config->operands[0]) == NULL))
        return pj_error_fatal(error, PJ_EXIT_USAGE, "--group goes with one PROJECTION");
    return 0;
}

int pj_rebuild_each(const struct pj_config *config, const struct pj_rebuild_options *options,
                    bool verify, int (*each)(struct pj_rebuild_run *run, struct pj_error *error),
                    struct pj_error *error)
{
    struct pj_kafka *kafka = NULL;
    struct pj_postgres *postgres = NULL;
    const char *cluster_id;
    int worst = PJ_EXIT_OK;
    if (check_operands(config, options, error) != 0)
        return -1;
    /* Not after hours of work. */
    if (!verify && !options->yes && !options->dry_run && isatty(STDIN_FILENO) != 1)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "there is no terminal to ask at; look with --dry-run, then give "
                              "--yes");
    pj_process_handle_signals();
    pj_log_configure("projectionist", PJ_WARN, PJ_LOG_LOGFMT);
    /* Whether the servers are there is said at once; later they are waited for. */
    if (pj_cli_postgres(&postgres, config, &options->servers, error) != 0 ||
        pj_kafka_open(&kafka, &config->kafka, options->servers.timeout_ms, error) != 0 ||
        pj_kafka_cluster_id(kafka, &cluster_id, error) != 0) {
        pj_postgres_close(postgres);
        pj_kafka_close(kafka);
        return -1;
    }
    pj_postgres_close(postgres);
    bool several =
        config->operand_count != 1 || pj_cli_projection_find(config->operands[0]) == NULL;
    for (size_t i = 0; i < pj_cli_projection_count && worst >= 0 && pj_stop_requests == 0; i++) {
        if (!pj_cli_names_projection(config, &pj_cli_projections[i]))
            continue;
        int status = run_one(config, options, verify, &pj_cli_projections[i], kafka, cluster_id,
                             each, error);
        if (status < 0 && verify && several) {
            fprintf(stderr, "projectionist verify: %s\n", error->message);
            status = PJ_VERIFY_UNKNOWN; /* of this one; the others can be told */
        }
        worst = status < 0 || status > worst ? status : worst;
    }
    pj_kafka_close(kafka);
    return worst;
}

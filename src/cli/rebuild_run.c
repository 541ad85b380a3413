/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "cli/rebuild_command.h"

#include "base/log.h"
#include "base/process.h"
#include "base/progress.h"
#include "fold/claims.h"

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
        .tables_schema = options->servers.tables_schema,
        .system = run->system->name,
        .default_schema = run->system->tables_schema,
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
        .config = run->cli->config,
        .cluster_id = run->cli->cluster_id,
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
    const struct pj_rebuild_options *options = run->options;
    bool resumed;
    if (pj_rebuild_choose_ranges(run, error) != 0 ||
        pj_rebuild_plan(run->rebuild, run->ranges, run->range_count,
                        pj_arena_printf(run->cli->arena, "from %s to %s",
                                        options->from != NULL ? options->from : "earliest",
                                        options->to != NULL ? options->to : "now"),
                        &resumed, error) != 0)
        return -1;
    if (resumed)
        fprintf(stderr, "%s: continuing an attempt that was interrupted\n", run->projection->name);
    return 0;
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

static int run_one(struct pj_rebuild_run *run,
                   int (*each)(struct pj_rebuild_run *run, struct pj_error *error),
                   struct pj_error *error)
{
    int status = each(run, error);
    if (status < 0) {
        struct pj_error cause = *error;
        pj_error_set(error, cause.class, "%s: %s", run->projection->name, cause.message);
        error->exit_code = cause.exit_code;
    }
    pj_difference_free(&run->difference);
    /* A rebuild that failed or was interrupted can be continued, unless its records are gone. */
    bool gone = status < 0 &&
                (error->exit_code == PJ_EXIT_TOPIC_RECREATED || error->exit_code == PJ_EXIT_GAP);
    pj_rebuild_close(run->rebuild, run->verify || status == PJ_EXIT_OK || gone);
    pj_rebuild_close_feeds(run);
    return status >= 0 && pj_stop_requests > 0 ? INTERRUPTED : status;
}

int pj_rebuild_each(struct pj_cli *cli, const struct pj_rebuild_options *options, bool verify,
                    int (*each)(struct pj_rebuild_run *run, struct pj_error *error),
                    struct pj_error *error)
{
    const struct pj_config *config = cli->config;
    bool one = config->operand_count == 1 && pj_cli_projection_find(config->operands[0]) != NULL;
    int worst = PJ_EXIT_OK;
    if (pj_cli_check_names(config, error) != 0)
        return -1;
    if (options->group != NULL && !one)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "--group goes with one PROJECTION");
    /* Not after hours of work. */
    if (!verify && !options->yes && !options->dry_run && isatty(STDIN_FILENO) != 1)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "there is no terminal to confirm on; look with --dry-run, then give "
                              "--yes");
    pj_process_handle_signals();
    pj_log_configure("projectionist", PJ_WARN, PJ_LOG_LOGFMT);
    /* A server that is away now is an error; later it is waited for. */
    if (pj_cli_open(cli, error) != 0 || pj_cli_systems_deployed(cli, error) != 0)
        return -1;
    pj_postgres_close(cli->postgres);
    cli->postgres = NULL;
    for (size_t i = 0; i < pj_cli_projection_count && worst >= 0 && pj_stop_requests == 0; i++) {
        const struct pj_cli_projection *chosen = &pj_cli_projections[i];
        if (!pj_cli_names_projection(config, chosen))
            continue;
        struct pj_rebuild_run run = {
            .cli = cli,
            .options = options,
            .system = chosen->system,
            .group = chosen->group,
            .projection = pj_claims_expand(chosen->projection),
            .verify = verify,
        };
        int status = run_one(&run, each, error);
        if (status < 0 && verify && !one) {
            fprintf(stderr, "%s verify: %s\n", pj_program(), error->message);
            status = PJ_VERIFY_UNKNOWN; /* of this one; the others can be compared */
        }
        worst = status < 0 || status > worst ? status : worst;
    }
    return worst;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist dead-letters replay: applies letters whose cause is fixed (engine/replay.h). */
#include "base/memory.h"
#include "base/progress.h"
#include "base/text.h"
#include "cli/confirm.h"
#include "cli/dead_letters.h"
#include "cli/deployment.h"
#include "cli/projection_settings.h"
#include "engine/replay.h"
#include "store/dead_letter.h"

enum { SHOWN_MOST = 20, LOCK_TIMEOUT_MS = 15000, IDLE_TIMEOUT_MS = 10000 };

struct settings {
    struct pj_cli_servers servers;
    struct pj_letter_filter filter;
    struct pj_cli_projection_settings own;
    bool all;
    bool dry_run;
    bool yes;
    bool json;
};

/* Of one projection, opened when it is needed. */
struct projection {
    struct pj_postgres_settings postgres;
    union pj_setting_value setting_values[PJ_SETTINGS_MOST];
    struct pj_replay *replay;
};

struct replayer {
    struct pj_cli *cli;
    const struct settings *settings;
    struct projection *projections; /* as pj_cli_projections */
    struct pj_progress *progress;
    json_t *applied, *refused, *resolved; /* what became of which letters */
};

/* --- projections ----------------------------------------------------------------------------- */

static int find_projection(const char *name, size_t *index, struct pj_error *error)
{
    const struct pj_cli_projection *found = pj_cli_projection_find(name);
    *index = found != NULL ? (size_t)(found - pj_cli_projections) : 0;
    if (found != NULL)
        return 0;
    return pj_error_fatal(error, PJ_EXIT_USAGE,
                          "the projection %s is not built into this program; choose others with "
                          "--projection",
                          name);
}

static int open_replay(struct replayer *replayer, size_t index, struct pj_error *error)
{
    const struct pj_cli_servers *servers = replayer->cli->servers;
    const struct pj_cli_projection *chosen = &pj_cli_projections[index];
    struct projection *mine = &replayer->projections[index];
    if (mine->replay != NULL)
        return 0;
    mine->postgres = (struct pj_postgres_settings){
        .dsn = servers->postgres_dsn,
        .properties = &replayer->cli->config->postgres,
        .application_name = "projectionist",
        .tables_schema = servers->tables_schema,
        .system = chosen->system->name,
        .default_schema = chosen->system->tables_schema,
        .connect_timeout_ms = servers->timeout_ms,
        .lock_timeout_ms = LOCK_TIMEOUT_MS,
        .idle_in_transaction_timeout_ms = IDLE_TIMEOUT_MS,
    };
    pj_cli_take_settings(&replayer->settings->own, chosen->projection, mine->setting_values);
    struct pj_replay_settings settings = {
        .postgres = &mine->postgres,
        .projection = chosen->projection,
        .topic_prefix = servers->topic_prefix,
        .setting_values = mine->setting_values,
        .registry = replayer->cli->registry,
        .registry_name = servers->registry.url,
        .dry_run = replayer->settings->dry_run,
    };
    return pj_replay_new(&mine->replay, &settings, error);
}

/* --- replaying ------------------------------------------------------------------------------- */

static void report_refused(struct replayer *replayer, const struct pj_result *letters, int row,
                           const struct pj_error *reason)
{
    struct pj_arena *arena = replayer->cli->arena;
    const char *message = pj_dead_letter_reason(arena, reason);
    json_array_append_new(replayer->refused,
                          json_pack("{s:I, s:s}", "id",
                                    (json_int_t)pj_cli_number(letters, row, PJ_LETTER_ID), "reason",
                                    message));
    if (json_array_size(replayer->refused) > SHOWN_MOST)
        return;
    pj_progress_clear(replayer->progress);
    fprintf(stderr, "dead letter %s (%s[%s]@%s) stays open: %s\n",
            pj_cli_text(letters, row, PJ_LETTER_ID), pj_cli_text(letters, row, PJ_LETTER_TOPIC),
            pj_cli_text(letters, row, PJ_LETTER_PARTITION),
            pj_cli_text(letters, row, PJ_LETTER_OFFSET), message);
}

static int replay_one(struct replayer *replayer, const struct pj_result *letters, int row,
                      struct pj_error *error)
{
    size_t index;
    enum pj_replay_outcome outcome;
    int64_t id = pj_cli_number(letters, row, PJ_LETTER_ID);
    if (find_projection(pj_cli_text(letters, row, PJ_LETTER_PROJECTION), &index, error) != 0 ||
        open_replay(replayer, index, error) != 0 ||
        pj_replay_letter(replayer->projections[index].replay, id, &outcome, error) != 0)
        return -1;
    if (outcome == PJ_REPLAY_REFUSED)
        report_refused(replayer, letters, row, error);
    else
        json_array_append_new(outcome == PJ_REPLAY_APPLIED ? replayer->applied : replayer->resolved,
                              json_integer(id));
    return 0;
}

static int replay_all(struct replayer *replayer, const struct pj_result *letters,
                      struct pj_error *error)
{
    int rows = pj_result_rows(letters);
    struct pj_progress_settings settings = {
        .out = stderr, .label = "replaying", .unit = "letters", .total = rows};
    replayer->progress = pj_progress_new(&settings);
    int status = 0;
    for (int row = 0; row < rows && status == 0; row++) {
        status = replay_one(replayer, letters, row, error);
        pj_progress_update(replayer->progress, row + 1);
    }
    pj_progress_free(replayer->progress);
    for (size_t i = 0; i < pj_cli_projection_count; i++)
        pj_replay_free(replayer->projections[i].replay);
    return status;
}

static void print_text(const struct replayer *replayer)
{
    bool dry = replayer->settings->dry_run;
    size_t applied = json_array_size(replayer->applied);
    size_t refused = json_array_size(replayer->refused);
    size_t resolved = json_array_size(replayer->resolved);
    if (pj_letter_none_match(&replayer->settings->filter, applied + refused + resolved))
        return;
    printf("%s %zu dead letter%s", dry ? "would replay" : "replayed", applied,
           pj_letter_plural(applied));
    if (refused > 0)
        printf(", %zu %s", refused, dry ? "would stay open" : "stay open");
    if (resolved > 0)
        printf(", %zu %s resolved by another process meanwhile", resolved,
               resolved == 1 ? "was" : "were");
    putchar('\n');
    fflush(stdout);
    if (refused > SHOWN_MOST)
        fprintf(stderr, "'%s dead-letters list' has the reasons of all %zu\n", pj_program(),
                refused);
}

static int run(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    const struct pj_result *letters;
    const char *registry = cli->servers->registry.url;
    char question[96];
    size_t index;
    if (pj_letter_choose(cli, &settings->filter, settings->all, &letters, error) != 0)
        return -1;
    size_t count = (size_t)pj_result_rows(letters);
    for (int row = 0; row < (int)count; row++) {
        if (find_projection(pj_cli_text(letters, row, PJ_LETTER_PROJECTION), &index, error) != 0)
            return -1;
    }
    pj_text_show(question, sizeof question, "Replay %zu dead letter%s", count,
                 pj_letter_plural(count));
    if (!settings->dry_run && count > 0 && pj_cli_confirm(question, settings->yes, error) != 0)
        return -1;
    /* Without a registry, the schemas that are kept in Postgres may do. */
    if (registry != NULL && *registry != '\0' && pj_cli_registry(cli, error) != 0)
        return -1;
    struct replayer replayer = {
        .cli = cli,
        .settings = settings,
        .projections =
            pj_arena_alloc(cli->arena, pj_cli_projection_count * sizeof *replayer.projections),
        .applied = pj_must(json_array()),
        .refused = pj_must(json_array()),
        .resolved = pj_must(json_array()),
    };
    int status = replay_all(&replayer, letters, error);
    bool some_refused = json_array_size(replayer.refused) > 0;
    /* What was done is done, whatever failed after it. */
    if (!settings->json)
        print_text(&replayer);
    json_t *document =
        json_pack("{s:b, s:o, s:o, s:o}", "dry_run", settings->dry_run, "replayed",
                  replayer.applied, "refused", replayer.refused, "resolved", replayer.resolved);
    if (settings->json)
        pj_cli_print_json(document);
    else
        json_decref(document);
    return status != 0 ? -1 : some_refused ? PJ_EXIT_FAILED : PJ_EXIT_OK;
}

static const struct pj_option options[] = {
    PJ_CLI_POSTGRES_OPTION,
    PJ_CLI_REGISTRY_OPTIONS,
    PJ_CLI_SYSTEMS_OPTION,
    PJ_CLI_TABLES_SCHEMA_OPTION,
    PJ_CLI_TOPIC_PREFIX_OPTION,
    PJ_LETTER_ALL_OPTION(struct settings),
    PJ_LETTER_FILTER_OPTIONS(struct settings, "0"),
    PJ_CLI_DRY_RUN_OPTION(struct settings,
                          "Do everything but commit, and say what would become of each."),
    PJ_CLI_YES_OPTION(struct settings),
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_dead_letters_replay = {
    .name = "dead-letters replay",
    .summary = "apply dead letters whose cause is fixed",
    .description = "  Applies each letter with the projection that refused it, as if it had come\n"
                   "  in time; tables follow from the set of records, so it does not matter that\n"
                   "  it is late. Each letter has its own transaction, which also marks it as\n"
                   "  replayed: it is applied exactly once, wherever this is interrupted, while\n"
                   "  consumers run, and if several people do this at once.\n"
                   "\n"
                   "  One that still cannot be applied stays open, with its new reason.\n",
    .examples = "  projectionist dead-letters replay 17 18\n"
                "  projectionist dead-letters replay --all --reason 'schema id' --dry-run\n"
                "  projectionist dead-letters replay --all --projection CONSUMER --yes\n",
    .exit_status = "     (1 also when a letter stays open, 7 when a server is away for long)\n",
    .operands = "ID...|--all",
    .options = options,
    .settings_size = sizeof(struct settings),
    .projection_settings = offsetof(struct settings, own),
    .run = run,
};

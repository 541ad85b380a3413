/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist dead-letters replay: applies letters whose cause is mended (engine/replay.h). */
#include "base/progress.h"
#include "base/text.h"
#include "cli/confirm.h"
#include "cli/dead_letters.h"
#include "cli/deployment.h"
#include "cli/projection_settings.h"
#include "engine/replay.h"
#include "store/offsets.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define PJ_LETTER_LIMIT "0"

enum { TOLD_MOST = 20, LOCK_TIMEOUT_MS = 15000, IDLE_TIMEOUT_MS = 10000 };

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
    int64_t setting_values[PJ_SETTINGS_MOST];
    struct pj_replay *replay;
};

struct replayer {
    const struct settings *settings;
    const struct pj_config *config;
    struct pj_registry *registry;
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
    const struct pj_cli_servers *servers = &replayer->settings->servers;
    const struct pj_cli_projection *chosen = &pj_cli_projections[index];
    struct projection *mine = &replayer->projections[index];
    if (mine->replay != NULL)
        return 0;
    mine->postgres = (struct pj_postgres_settings){
        .dsn = servers->postgres_dsn,
        .properties = &replayer->config->postgres,
        .application_name = "projectionist",
        .tables_schema = pj_cli_tables_schema(chosen->system, servers),
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
        .registry = replayer->registry,
        .registry_name = servers->registry.url,
        .dry_run = replayer->settings->dry_run,
    };
    return pj_replay_new(&mine->replay, &settings, error);
}

static int open_replayer(struct replayer *replayer, const struct pj_config *config,
                         struct pj_error *error)
{
    const struct pj_cli_servers *servers = &replayer->settings->servers;
    replayer->config = config;
    replayer->projections = calloc(pj_cli_projection_count + 1, sizeof *replayer->projections);
    replayer->applied = json_array();
    replayer->refused = json_array();
    replayer->resolved = json_array();
    if (replayer->projections == NULL)
        return pj_error_set(error, PJ_RETRY, "out of memory");
    /* Without a registry, the schemas that are kept in Postgres may do. */
    if (servers->registry.url != NULL && *servers->registry.url != '\0')
        return pj_cli_registry(&replayer->registry, servers, error);
    return 0;
}

static void close_replayer(struct replayer *replayer)
{
    for (size_t i = 0; replayer->projections != NULL && i < pj_cli_projection_count; i++)
        pj_replay_free(replayer->projections[i].replay);
    free(replayer->projections);
    pj_registry_close(replayer->registry);
    pj_progress_free(replayer->progress);
    json_decref(replayer->applied);
    json_decref(replayer->refused);
    json_decref(replayer->resolved);
}

/* --- replaying ------------------------------------------------------------------------------- */

static void tell_refused(struct replayer *replayer, const struct pj_result *letters, int row,
                         const struct pj_error *reason)
{
    struct pj_arena *arena = pj_arena_new();
    const char *message = pj_offsets_reason_text(arena, reason);
    json_array_append_new(replayer->refused,
                          json_pack("{s:I, s:s}", "id",
                                    (json_int_t)pj_letter_number(letters, row, PJ_LETTER_ID),
                                    "reason", message));
    if (json_array_size(replayer->refused) <= TOLD_MOST) {
        pj_progress_clear(replayer->progress);
        fprintf(stderr, "dead letter %s (%s[%s]@%s) stays open: %s\n",
                pj_cli_text(letters, row, PJ_LETTER_ID), pj_cli_text(letters, row, PJ_LETTER_TOPIC),
                pj_cli_text(letters, row, PJ_LETTER_PARTITION),
                pj_cli_text(letters, row, PJ_LETTER_OFFSET), message);
    }
    pj_arena_free(arena);
}

static int replay_one(struct replayer *replayer, const struct pj_result *letters, int row,
                      struct pj_error *error)
{
    size_t index;
    enum pj_replay_outcome outcome;
    int64_t id = pj_letter_number(letters, row, PJ_LETTER_ID);
    if (find_projection(pj_cli_text(letters, row, PJ_LETTER_PROJECTION), &index, error) != 0 ||
        open_replay(replayer, index, error) != 0 ||
        pj_replay_letter(replayer->projections[index].replay, id, &outcome, error) != 0)
        return -1;
    switch (outcome) {
    case PJ_REPLAY_APPLIED:
        json_array_append_new(replayer->applied, json_integer(id));
        break;
    case PJ_REPLAY_REFUSED:
        tell_refused(replayer, letters, row, error);
        break;
    case PJ_REPLAY_RESOLVED:
        json_array_append_new(replayer->resolved, json_integer(id));
        break;
    }
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
    pj_progress_clear(replayer->progress);
    return status;
}

static void print(const struct replayer *replayer)
{
    bool dry = replayer->settings->dry_run;
    size_t refused = json_array_size(replayer->refused);
    if (replayer->settings->json) {
        json_t *document =
            json_pack("{s:b, s:O, s:O, s:O}", "dry_run", dry, "replayed", replayer->applied,
                      "refused", replayer->refused, "resolved", replayer->resolved);
        json_dumpf(document, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(document);
        return;
    }
    size_t applied = json_array_size(replayer->applied);
    size_t resolved = json_array_size(replayer->resolved);
    if (applied + refused + resolved == 0 && pj_letter_filtered(&replayer->settings->filter)) {
        puts(PJ_LETTERS_FILTERED_OUT);
        return;
    }
    printf("%s %zu dead letter%s", dry ? "would replay" : "replayed", applied,
           applied == 1 ? "" : "s");
    if (refused > 0)
        printf(", %zu %s", refused, dry ? "would stay open" : "stay open");
    if (resolved > 0)
        printf(", %zu %s resolved by somebody else meanwhile", resolved,
               resolved == 1 ? "was" : "were");
    putchar('\n');
    fflush(stdout);
    if (refused > TOLD_MOST)
        fprintf(stderr, "'projectionist dead-letters list' has the reasons of all %zu\n", refused);
}

static int run_all(struct replayer *replayer, const struct pj_config *config,
                   const struct pj_result *letters, struct pj_error *error)
{
    const struct settings *settings = replayer->settings;
    char question[96];
    size_t index;
    for (int row = 0; row < pj_result_rows(letters); row++) {
        if (find_projection(pj_cli_text(letters, row, PJ_LETTER_PROJECTION), &index, error) != 0)
            return -1;
    }
    pj_text_show(question, sizeof question, "Replay %d dead letter%s", pj_result_rows(letters),
                 pj_result_rows(letters) == 1 ? "" : "s");
    if (!settings->dry_run && pj_result_rows(letters) > 0 &&
        pj_cli_confirm(question, settings->yes, error) != 0)
        return -1;
    int status = open_replayer(replayer, config, error);
    if (status == 0) {
        status = replay_all(replayer, letters, error);
        /* What was done was done, whatever came then. */
        print(replayer);
    }
    if (status == 0)
        status = json_array_size(replayer->refused) > 0 ? PJ_EXIT_FAILED : PJ_EXIT_OK;
    close_replayer(replayer);
    return status;
}

static int run(const struct pj_config *config, const void *opaque, struct pj_error *error)
{
    const struct settings *settings = opaque;
    struct replayer replayer = {.settings = settings};
    struct pj_postgres *postgres = NULL;
    struct pj_result *letters = NULL;
    int status = -1;
    if (pj_cli_postgres(&postgres, config, &settings->servers, error) == 0 &&
        pj_letter_choose(postgres, config, &settings->filter, settings->all, &letters, error) == 0)
        status = run_all(&replayer, config, letters, error);
    pj_result_free(letters);
    pj_postgres_close(postgres);
    return status;
}

static const struct pj_option options[] = {
    PJ_CLI_POSTGRES_OPTIONS,
    PJ_CLI_REGISTRY_OPTIONS,
    PJ_CLI_SYSTEMS_OPTION,
    PJ_CLI_TABLES_SCHEMA_OPTION,
    PJ_CLI_TOPIC_PREFIX_OPTION,
    {.name = "all",
     .letter = 'a',
     .kind = PJ_OPTION_BOOL,
     .offset = offsetof(struct settings, all),
     .help = "All open letters that the filters let through, instead of ids."},
    PJ_LETTER_FILTER_OPTIONS(struct settings),
    {.name = "dry-run",
     .letter = 'n',
     .kind = PJ_OPTION_BOOL,
     .offset = offsetof(struct settings, dry_run),
     .help = "Do all of it but the commit, and say what would become of each."},
    PJ_CLI_YES_OPTION(struct settings),
    PJ_CLI_JSON_OPTION(struct settings),
    PJ_CLI_TIMEOUT_OPTION,
    {0},
};

const struct pj_command pj_command_dead_letters_replay = {
    .name = "dead-letters replay",
    .summary = "apply dead letters whose cause is mended",
    .description =
        "  Applies each letter through the projection that refused it, as if it had come\n"
        "  in time; tables follow from the set of records, so it does not matter that it\n"
        "  is late. A letter has a transaction of its own, which also marks it as\n"
        "  replayed: each is applied exactly once, wherever this is interrupted, beside\n"
        "  running consumers, and by several people at once.\n"
        "\n"
        "  One that still cannot be applied stays open, with its new reason.\n",
    .examples = "  projectionist dead-letters replay 17 18\n"
                "  projectionist dead-letters replay --all --reason 'schema id' --dry-run\n"
                "  projectionist dead-letters replay --all --projection event-recorder --yes\n",
    .exit_status = "     (1 also when a letter stays open, 7 when a server is away for long)\n",
    .operands = "ID...|--all",
    .options = options,
    .settings_size = sizeof(struct settings),
    .projection_settings = offsetof(struct settings, own),
    .run = run,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist rebuild: derives tables again from their topics, while consumers run. */
#include "cli/rebuild_command.h"

#include "base/process.h"
#include "cli/confirm.h"
#include "cli/text_table.h"

static void report_interrupted(const struct pj_rebuild_run *run)
{
    fprintf(stderr,
            "%s: interrupted; the live tables are as they were, and the same command continues "
            "from here\n",
            run->projection->name);
}

/* Returns as pj_rebuild_fill. */
static int confirm(const struct pj_rebuild_run *run, struct pj_error *error)
{
    const char *group = run->options->group;
    if (pj_cli_confirm("Write them, and move the offsets", false, error) == 0)
        return PJ_REBUILD_FILLED;
    if (pj_stop_requests > 0)
        return PJ_REBUILD_STOPPED;
    if (error->exit_code != PJ_EXIT_FAILED)
        return -1;
    return pj_error_fatal(error, PJ_EXIT_FAILED,
                          "nothing was changed; the shadow tables are kept: the same command "
                          "continues from them, and 'projectionist rebuild %s%s%s --dry-run' "
                          "removes them",
                          run->projection->name, group != NULL ? " --group " : "",
                          group != NULL ? group : "");
}

/* Shows what the swap would write, and asks. */
static int ask(struct pj_rebuild_run *run, struct pj_error *error)
{
    const struct pj_rebuild_options *options = run->options;
    int status = pj_rebuild_compare(run->rebuild, &run->difference, error);
    if (status != PJ_REBUILD_FILLED)
        return status;
    if (options->json)
        pj_rebuild_show_json(run, "dry-run");
    else
        pj_rebuild_show(run);
    if (options->dry_run)
        return PJ_REBUILD_FILLED;
    pj_difference_free(&run->difference);
    return confirm(run, error);
}

static void report_swapped(const struct pj_rebuild_run *run)
{
    char text[PJ_NUMBER_TEXT];
    if (run->options->json) {
        pj_rebuild_show_json(run, "rebuilt");
        return;
    }
    pj_rebuild_show(run);
    printf("%s: rebuilt, %s rows written; its consumers rejoin and continue after it\n",
           run->projection->name, pj_number_text(text, run->difference.total));
    fflush(stdout);
}

static int rebuild(struct pj_rebuild_run *run, struct pj_error *error)
{
    const struct pj_rebuild_options *options = run->options;
    int status = pj_rebuild_prepare(run, error);
    if (status == PJ_REBUILD_FILLED && (options->dry_run || !options->yes))
        status = ask(run, error);
    if (status == PJ_REBUILD_FILLED && !options->dry_run) {
        status = pj_rebuild_swap(run->rebuild, &run->difference, error);
        if (status == PJ_REBUILD_FILLED)
            report_swapped(run);
    }
    if (status == PJ_REBUILD_STOPPED)
        report_interrupted(run);
    return status == PJ_REBUILD_FILLED ? PJ_EXIT_OK : status;
}

static int run(struct pj_cli *cli, const void *opaque, struct pj_error *error)
{
    const struct pj_rebuild_options *options = opaque;
    if (options->keep_retained && options->drop_retained)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--keep-retained and --drop-retained exclude each other");
    return pj_rebuild_each(cli, options, false, rebuild, error);
}

static const struct pj_option options[] = {
    PJ_CLI_TEXT_OPTION(
        struct pj_rebuild_options, from, "from", 0, "WHERE",
        "Where reading begins: earliest (the default), an offset for all partitions, offsets for "
        "some (TOPIC/PARTITION=OFFSET,…; the others from their beginnings), or a time in RFC 3339: "
        "then the first record whose Kafka timestamp is not before it. Or recordings (FILE,…), for "
        "history that is no longer in the topics: they are read first, then the topics from their "
        "beginnings."),
    PJ_CLI_TEXT_OPTION(
        struct pj_rebuild_options, to, "to", 0, "WHERE",
        "Where it ends: now (the default: the ends of the topics when it begins, or where the "
        "consumers are by the end, if that is farther), or as for --from. With another end the "
        "offsets are set back to it, and a running consumer continues from there."),
    PJ_CLI_BOOL_OPTION(struct pj_rebuild_options, drop_retained, "drop-retained", 0,
                       "Drop rows that follow only from records which are not read."),
    PJ_CLI_DRY_RUN_OPTION(
        struct pj_rebuild_options,
        "Stop before anything is written, and show what would be: also the rows of records that "
        "the consumers have yet to read. (verify reads only what they have read.)"),
    PJ_CLI_YES_OPTION(struct pj_rebuild_options),
    PJ_REBUILD_OPTIONS,
    {0},
};

const struct pj_command pj_command_rebuild = {
    .name = "rebuild",
    .summary = "rebuild tables from their topics, while consumers run",
    .description =
        "  Reads the topics of a projection into shadow tables beside the live ones,\n"
        "  with the program as it is now; then, in one transaction, writes the rows\n"
        "  that differ and the offsets. Readers see the old rows, then the new ones.\n"
        "  Consumers go on meanwhile; the transaction fences them, and they rejoin and\n"
        "  continue after it.\n"
        "\n"
        "  Interrupted anywhere, it leaves the live tables as they were, and the same\n"
        "  command by the same program continues where it was; so it does after a no to\n"
        "  its question. The shadow tables are kept until then, or until a --dry-run\n"
        "  has ended, which removes them. Meanwhile 'projectionist status' shows its\n"
        "  offsets as the group GROUP/rebuild. It resolves dead letters whose records\n"
        "  can be applied now. Once it reads, it waits for a server that goes away,\n"
        "  however long.\n"
        "\n"
        "  It needs room for a second copy of the tables, and the right to create a\n"
        "  schema.\n",
    .examples = "  projectionist rebuild CONSUMER --dry-run\n"
                "  projectionist rebuild CONSUMER\n"
                "  projectionist rebuild all --yes\n",
    .exit_status =
        "     (3: records that rows follow from are gone, or are of another cluster or\n"
        "     group; 4: a topic is not the one that the group has read; 130: interrupted)\n",
    .operands = "[SYSTEM|PROJECTION]...",
    .options = options,
    .settings_size = sizeof(struct pj_rebuild_options),
    .projection_settings = offsetof(struct pj_rebuild_options, own),
    .run = run,
};

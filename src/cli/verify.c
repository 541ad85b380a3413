/* SPDX-License-Identifier: Apache-2.0 */
/* projectionist verify: are the tables what the topics say? */
#include "cli/rebuild_command.h"

static int verify(struct pj_rebuild_run *run, struct pj_error *error)
{
    int status = pj_rebuild_prepare(run, error);
    if (status == PJ_REBUILD_FILLED)
        status = pj_rebuild_compare(run->rebuild, &run->difference, error);
    if (status == PJ_REBUILD_STOPPED) {
        fprintf(stderr, "%s: interrupted; nothing was compared\n", run->projection->name);
        return PJ_VERIFY_UNKNOWN;
    }
    if (status != PJ_REBUILD_FILLED)
        return -1;
    bool equal = run->difference.total == 0;
    if (run->options->json)
        pj_rebuild_show_json(run, !equal ? "different" : run->untaken > 0 ? "untaken" : "equal");
    else
        pj_rebuild_show(run);
    if (run->held > 0)
        fprintf(stderr,
                "%s: %lld records wait for an open transaction of a producer and were not "
                "compared\n",
                run->projection->name, (long long)run->held);
    if (equal && run->untaken > 0) {
        fprintf(stderr,
                "%s: %zu partitions were not compared, because no consumer has ever owned them; "
                "start one (or see their owners with '%s status'), and verify again\n",
                run->projection->name, run->untaken, pj_program());
        return PJ_VERIFY_UNKNOWN;
    }
    return equal ? PJ_VERIFY_EQUAL : PJ_VERIFY_DIFFERENT;
}

static int run(struct pj_cli *cli, const void *options, struct pj_error *error)
{
    int status = pj_rebuild_each(cli, options, true, verify, error);
    if (status < 0)
        error->exit_code = PJ_VERIFY_UNKNOWN;
    return status;
}

static const struct pj_option options[] = {
    PJ_OPTION(DURATION, "stall-timeout", offsetof(struct pj_rebuild_options, stall_timeout_ms),
              "1m", "TIME",
              "How long it may make no progress because a server has gone away; then it ends with "
              "2. (--timeout is for the servers' first answers.)",
              .least = 1000, .most = INT64_C(86400000) * 7),
    PJ_REBUILD_OPTIONS,
    {0},
};

const struct pj_command pj_command_verify = {
    .name = "verify",
    .summary = "prove that tables are what their topics say",
    .description = "  Reads the topics of a projection from their beginnings to where its\n"
                   "  consumers are, into shadow tables beside the live ones, and compares the\n"
                   "  two: every row, every column, and the private state. Nothing is changed.\n"
                   "  Consumers go on meanwhile; they wait only while the last few records are\n"
                   "  read, so that both sides are compared at the same offsets. The outcome is\n"
                   "  recorded in projectionist.rebuilds. It needs room for a second copy of the\n"
                   "  tables. It waits for servers that go away, up to --stall-timeout.\n",
    .examples = "  projectionist verify all\n"
                "  projectionist verify CONSUMER --samples 100\n"
                "  projectionist verify all --json | jq .differing_rows\n",
    .exit_status = "  0  no row differs\n"
                   "  1  some do\n"
                   "  2  unknown: a server is away, records are gone or were never read, or a\n"
                   "     flag is wrong\n"
                   "  130  interrupted\n",
    .exit_status_is_whole = true,
    .operands = "[SYSTEM|PROJECTION]...",
    .options = options,
    .settings_size = sizeof(struct pj_rebuild_options),
    .projection_settings = offsetof(struct pj_rebuild_options, own),
    .run = run,
};

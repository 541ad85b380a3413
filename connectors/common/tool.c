/* SPDX-License-Identifier: Apache-2.0 */
#include "common/tool.h"

#include "base/process.h"
#include "base/tls_files.h"
#include "base/topic_name.h"

#include <signal.h>
#include <stdio.h>

atomic_int pj_tool_stop;

static void on_signal(int number)
{
    (void)number;
    pj_tool_stop = 1;
}

int pj_tool_main(const struct pj_tool *tool, int argc, char **argv)
{
    /* The second signal finds the default handler again. */
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    struct pj_config config;
    struct pj_error error = {.class = PJ_FATAL};
    int code = PJ_EXIT_OK;
    pj_process_open_standard_files();
    pj_process_keep_secrets();
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (pj_config_read(&config, tool->options, tool->settings, argc, argv, &error) != 0) {
        fprintf(stderr, "%s: %s\n", tool->name, error.message);
        code = pj_error_exit_code(&error);
    } else {
        pj_log_configure(tool->name, *tool->verbose ? tool->loud : tool->quiet, PJ_LOG_LOGFMT);
        if (config.help)
            tool->print_help();
        else if (config.version)
            printf("%s " PJ_VERSION "\n", tool->name);
        else
            code = tool->run(tool->settings, &config);
        pj_config_free(&config);
    }
    return pj_process_end_output(tool->name, code);
}

int pj_tool_check(const struct pj_option *options, const void *settings,
                  const struct pj_config *config, const char *topic_prefix, struct pj_error *error)
{
    if (pj_tls_check_options(options, settings, error) != 0 ||
        pj_tls_check_kafka(&config->kafka, error) != 0)
        return -1;
    return pj_topic_prefix_check(topic_prefix, error);
}

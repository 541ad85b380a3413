/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"

#include "base/log.h"
#include "base/spans.h"
#include "base/tls_files.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

atomic_int pj_stop_requests;

static void on_stop(int signal_number)
{
    if (++pj_stop_requests > 1)
        _exit(128 + signal_number);
}

void pj_process_handle_signals(void)
{
    struct sigaction action = {.sa_handler = on_stop};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

int pj_process_show(struct pj_metrics_server **server, struct pj_metrics *metrics,
                    const struct pj_label *labels, const struct pj_page *page,
                    const struct pj_process *process, struct pj_error *error)
{
    const char *address = process->common->metrics_address;
    pj_metrics_set_labels(metrics, labels);
    pj_metrics_add_build_info(metrics, process->version != NULL ? process->version : PJ_VERSION);
    if (address != NULL) {
        if (pj_metrics_server_start(server, metrics, address, error) != 0)
            return -1;
        pj_log(PJ_INFO, "serving metrics", pj_f_int("port", pj_metrics_server_port(*server)));
        pj_metrics_server_show(*server, page);
    }
    return pj_spans_start(process->common->otlp_endpoint, process->name, labels, metrics, error);
}

void pj_process_hide(struct pj_metrics_server *server)
{
    pj_metrics_server_stop(server);
    pj_spans_stop();
}

static enum pj_log_level log_level(const char *name)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0)
            return (enum pj_log_level)i;
    }
    return PJ_INFO;
}

void pj_process_open_standard_files(void)
{
    /* In the opposite mode: what was closed still cannot be read or written. Only stderr can be
     * written: no program must end for want of a log. */
    static const int modes[] = {O_WRONLY, O_RDONLY, O_WRONLY};
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
            _exit(PJ_EXIT_FAILED);
    }
}

void pj_process_keep_secrets(void)
{
    (void)prctl(PR_SET_DUMPABLE, 0); /* cannot fail with these arguments */
}

int pj_process_end_output(const char *name, int code)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fprintf(stderr, "%s: cannot write the output%s%s\n", name, errno != 0 ? ": " : "",
            errno != 0 ? strerror(errno) : "");
    return code != PJ_EXIT_OK ? code : PJ_EXIT_FAILED;
}

static int run(const struct pj_process *process, const struct pj_config *config)
{
    struct pj_error error = {.class = PJ_FATAL};
    pj_log_configure(process->name, log_level(process->common->log_level),
                     strcmp(process->common->log_format, "json") == 0 ? PJ_LOG_JSON
                                                                      : PJ_LOG_LOGFMT);
    pj_process_handle_signals();
    if (config->unknown != NULL)
        pj_log(PJ_WARN, "the environment has unknown PROJECTIONIST_ variables",
               pj_f_str("variables", config->unknown));
    srandom((unsigned)getpid()); /* for back-offs: replicas must not retry in step */
    if (pj_tls_check_options(process->options, process->settings, &error) == 0 &&
        pj_tls_check_kafka(&config->kafka, &error) == 0 &&
        process->run(process, config, &error) == 0)
        return PJ_EXIT_OK;
    int code = pj_error_exit_code(&error);
    pj_log(PJ_ERROR, error.message, pj_f_int("exit_code", code));
    return code;
}

static void print_version(const struct pj_process *process)
{
    if (process->version != NULL)
        printf("%s %s (projectionist " PJ_VERSION ")\n", process->name, process->version);
    else
        printf("%s " PJ_VERSION "\n", process->name);
}

int pj_process_main(const struct pj_process *process, int argc, char **argv)
{
    struct pj_config config;
    struct pj_error error;
    int code = PJ_EXIT_OK;
    pj_process_open_standard_files();
    pj_process_keep_secrets();
    if (pj_config_read(&config, process->options, process->settings, argc, argv, &error) != 0) {
        fprintf(stderr, "%s: %s\n", process->name, error.message);
        return pj_error_exit_code(&error);
    }
    if (config.help) {
        process->print_help(process);
    } else if (config.version) {
        print_version(process);
    } else if (config.operand_count > 0) {
        fprintf(stderr, "%s: takes no arguments, but \"%s\" was given; see --help\n", process->name,
                config.operands[0]);
        code = PJ_EXIT_USAGE;
    } else {
        code = run(process, &config);
    }
    pj_config_free(&config);
    return pj_process_end_output(process->name, code);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What every long-running program does the same way: its flags, --help and --version, its log,
 * signals, the metrics server, and the exit code. */
#ifndef PJ_BASE_PROCESS_H
#define PJ_BASE_PROCESS_H

#include "base/config.h"
#include "base/metrics.h"

#include <stdatomic.h>

enum { PJ_HELP_WIDTH = 80 };

/* A part of the program's settings. */
struct pj_process_settings {
    const char *metrics_address; /* NULL: not served */
    const char *log_level;
    const char *log_format;
    const char *otlp_endpoint; /* NULL: no spans are sent */
};

/* Its options, where `at` is its offset in the program's settings. */
#define PJ_PROCESS_OPTIONS(at)                                                                     \
    PJ_OPTION(STRING, "metrics-address",                                                           \
              (at) + offsetof(struct pj_process_settings, metrics_address), NULL, "ADDRESS",       \
              "Serve /metrics, /livez, /readyz and a status page (/) here, such as "               \
              "127.0.0.1:9100 or :9100 for all interfaces; port 0 picks a free one, which is "     \
              "logged. Not served by default."),                                                   \
        PJ_OPTION(STRING, "otlp-endpoint",                                                         \
                  (at) + offsetof(struct pj_process_settings, otlp_endpoint), NULL, "URL",         \
                  "Send spans to this OpenTelemetry collector over OTLP/HTTP, such as "            \
                  "http://127.0.0.1:4318. What it does not take is dropped and counted. Not sent " \
                  "by default.",                                                                   \
                  .filled = true),                                                                 \
        PJ_OPTION(CHOICE, "log-level", (at) + offsetof(struct pj_process_settings, log_level),     \
                  "info", "LEVEL", "How much is logged, to stderr.",                               \
                  .choices = "debug|info|warn|error"),                                             \
        PJ_OPTION(CHOICE, "log-format", (at) + offsetof(struct pj_process_settings, log_format),   \
                  "logfmt", "FORMAT", "The format of the log.", .choices = "logfmt|json")

struct pj_process {
    const char *name;
    const char *version; /* its author's, who is not ours; or NULL */
    const struct pj_option *options;
    void *settings;                           /* filled by the options; for the two functions
                                               * below */
    const struct pj_process_settings *common; /* its part */
    void (*print_help)(const struct pj_process *process);
    /* 0 after a stop; -1 with the error that gives the exit code. */
    int (*run)(const struct pj_process *process, const struct pj_config *config,
               struct pj_error *error);
};

/* For the first line of main: opens standard files that are closed, so that no connection gets
 * their numbers, and with them what is written there. Writing to a stdout that was closed fails. */
void pj_process_open_standard_files(void);

/* For the next one: no core dump, and nobody but root reads our memory or our environment, where
 * the secrets are. */
void pj_process_keep_secrets(void);

/* For the last line of main: `code`, or PJ_EXIT_FAILED with a sentence on stderr if not everything
 * could be written to stdout. */
int pj_process_end_output(const char *name, int code);

/* main: returns the exit code. Takes no arguments but options. */
int pj_process_main(const struct pj_process *process, int argc, char **argv);

/* How many SIGTERM and SIGINT came since pj_process_handle_signals: the first asks for an orderly
 * stop, the second ends the process at once. SIGPIPE is ignored. */
extern atomic_int pj_stop_requests;
void pj_process_handle_signals(void);

/*
 * What is seen from outside while it runs, with these labels on all of it: serves the metrics, the
 * build's among them, and the page if the settings say so (otherwise *server stays NULL), and sends
 * spans likewise. The page is borrowed. pj_process_hide ends both, also after an error.
 */
int pj_process_show(struct pj_metrics_server **server, struct pj_metrics *metrics,
                    const struct pj_label *labels, const struct pj_page *page,
                    const struct pj_process *process, struct pj_error *error) PJ_MUST_CHECK;
void pj_process_hide(struct pj_metrics_server *server);

#endif

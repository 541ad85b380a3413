/* SPDX-License-Identifier: Apache-2.0 */
#include "base/metrics.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct pj_metrics *metrics;
static struct pj_metrics_server *server;
static struct pj_error error;
static atomic_int seconds_ahead; /* of the monotonic clock */

/* In place of libc's: a minute passes in no time. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    int status = (int)syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_MONOTONIC)
        now->tv_sec += atomic_load(&seconds_ahead);
    return status;
}

static void set_up(void)
{
    metrics = pj_metrics_new();
}

static void tear_down(void)
{
    pj_metrics_server_stop(server);
    pj_metrics_free(metrics);
}

TestSuite(metrics, .init = set_up, .fini = tear_down, .timeout = 30);
TestSuite(metrics_server, .init = set_up, .fini = tear_down, .timeout = 30);

static void expect(const char *expected)
{
    char *text = pj_metrics_render(metrics);
    cr_assert_str_eq(text, expected);
    free(text);
}

/* --- the text -------------------------------------------------------------------------------- */

Test(metrics, nothing_is_an_empty_page)
{
    expect("");
}

Test(metrics, counters_and_gauges)
{
    struct pj_metric *zero = pj_metrics_add(metrics, PJ_COUNTER, "records_total",
                                            "topic=\"a\",partition=\"0\"", "Read.");
    struct pj_metric *lag =
        pj_metrics_add(metrics, PJ_GAUGE, "lag", NULL, "Behind\nby \\ records.");
    struct pj_metric *one = pj_metrics_add(metrics, PJ_COUNTER, "records_total",
                                           "topic=\"a\",partition=\"1\"", "Other.");
    pj_metric_add(zero, 2);
    pj_metric_add(one, 3);
    pj_metric_set(lag, -7);
    pj_metric_add(zero, 40);
    cr_assert_eq(pj_metric_value(zero), 42);
    expect("# HELP records_total Read.\n"
           "# TYPE records_total counter\n"
           "records_total{topic=\"a\",partition=\"0\"} 42\n"
           "records_total{topic=\"a\",partition=\"1\"} 3\n"
           "# HELP lag Behind\\nby \\\\ records.\n"
           "# TYPE lag gauge\n"
           "lag -7\n");
}

Test(metrics, adding_the_same_series_again_finds_it)
{
    struct pj_metric *first = pj_metrics_add(metrics, PJ_COUNTER, "c", "a=\"1\"", "Help.");
    cr_assert_eq(pj_metrics_add(metrics, PJ_GAUGE, "c", "a=\"1\"", "Help."), first);
    cr_assert_neq(pj_metrics_add(metrics, PJ_COUNTER, "c", "a=\"2\"", "Help."), first);
}

Test(metrics, a_histogram_is_cumulative)
{
    struct pj_metric *metric =
        pj_metrics_add(metrics, PJ_HISTOGRAM, "commit_seconds", "table=\"t\"", "Time.");
    static const int64_t observed[] = {-5, 500, 501, 3000000, 60000000, 60000001, 90000000};
    for (size_t i = 0; i < sizeof observed / sizeof observed[0]; i++)
        pj_metric_observe_us(metric, observed[i]);
    cr_assert_eq(pj_metric_value(metric), 7);
    expect("# HELP commit_seconds Time.\n"
           "# TYPE commit_seconds histogram\n"
           "commit_seconds_bucket{table=\"t\",le=\"0.0005\"} 2\n"
           "commit_seconds_bucket{table=\"t\",le=\"0.001\"} 3\n"
           "commit_seconds_bucket{table=\"t\",le=\"0.0025\"} 3\n"
           "commit_seconds_bucket{table=\"t\",le=\"0.005\"} 3\n"
           "commit_seconds_bucket{table=\"t\",le=\"0.01\"} 3\n"
           "commit_seconds_bucket{table=\"t\",le=\"0.025\"} 3\n"
           "commit_seconds_bucket{table=\"t\",le=\"0.05\"} 3\n"
           "commit_seconds_bucket{table=\"t\",le=\"0.1\"} 3\n"
           "commit_seconds_bucket{table=\"t\",le=\"0.25\"} 3\n"
           "commit_seconds_bucket{table=\"t\",le=\"0.5\"} 3\n"
           "commit_seconds_bucket{table=\"t\",le=\"1\"} 3\n"
           "commit_seconds_bucket{table=\"t\",le=\"2.5\"} 3\n"
           "commit_seconds_bucket{table=\"t\",le=\"5\"} 4\n"
           "commit_seconds_bucket{table=\"t\",le=\"10\"} 4\n"
           "commit_seconds_bucket{table=\"t\",le=\"30\"} 4\n"
           "commit_seconds_bucket{table=\"t\",le=\"60\"} 5\n"
           "commit_seconds_bucket{table=\"t\",le=\"+Inf\"} 7\n"
           "commit_seconds_sum{table=\"t\"} 213.001002\n"
           "commit_seconds_count{table=\"t\"} 7\n");
}

Test(metrics, labels_of_all_series_come_first)
{
    char *labels = pj_metrics_labels((const struct pj_label[]){{"path", "a\\b\n\"c\""}, {0}});
    pj_metrics_set_labels(metrics, (const struct pj_label[]){{"system", "s"}, {"group", "g"}, {0}});
    pj_metric_set(pj_metrics_add(metrics, PJ_GAUGE, "lag", NULL, "Lag."), 1);
    pj_metric_set(pj_metrics_add(metrics, PJ_GAUGE, "files", labels, "Files."), 2);
    free(labels);
    expect("# HELP lag Lag.\n# TYPE lag gauge\nlag{system=\"s\",group=\"g\"} 1\n"
           "# HELP files Files.\n# TYPE files gauge\n"
           "files{system=\"s\",group=\"g\",path=\"a\\\\b\\n\\\"c\\\"\"} 2\n");
}

Test(metrics, a_gauge_in_thousandths)
{
    struct pj_metric *ratio = pj_metrics_add(metrics, PJ_GAUGE_MILLI, "ratio", NULL, "Part.");
    static const struct {
        int64_t value;
        const char *text;
    } cases[] = {{0, "0.000"}, {5, "0.005"}, {1812, "1.812"}, {-5, "-0.005"}, {-2001, "-2.001"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[128];
        pj_metric_set(ratio, cases[i].value);
        snprintf(expected, sizeof expected, "# HELP ratio Part.\n# TYPE ratio gauge\nratio %s\n",
                 cases[i].text);
        expect(expected);
    }
}

Test(metrics, a_histogram_without_labels)
{
    struct pj_metric *metric = pj_metrics_add(metrics, PJ_HISTOGRAM, "h", NULL, "Time.");
    pj_metric_observe_us(metric, 1);
    char *text = pj_metrics_render(metrics);
    cr_assert_not_null(strstr(text, "\nh_bucket{le=\"0.0005\"} 1\n"));
    cr_assert_not_null(strstr(text, "\nh_sum 0.000001\nh_count 1\n"));
    free(text);
}

Test(metrics, a_hidden_series_comes_back_with_its_value)
{
    struct pj_metric *zero = pj_metrics_add(metrics, PJ_GAUGE, "lag", "p=\"0\"", "Lag.");
    struct pj_metric *one = pj_metrics_add(metrics, PJ_GAUGE, "lag", "p=\"1\"", "Lag.");
    pj_metric_set(zero, 5);
    pj_metric_hide(zero);
    expect("# HELP lag Lag.\n# TYPE lag gauge\nlag{p=\"1\"} 0\n");
    pj_metric_hide(one);
    expect("");
    cr_assert_eq(pj_metrics_add(metrics, PJ_GAUGE, "lag", "p=\"0\"", "Lag."), zero);
    expect("# HELP lag Lag.\n# TYPE lag gauge\nlag{p=\"0\"} 5\n");
}

enum { THREADS = 4, UPDATES = 20000 };

static void *update(void *argument)
{
    char labels[32];
    snprintf(labels, sizeof labels, "thread=\"%d\"", *(int *)argument);
    for (int i = 0; i < UPDATES; i++) {
        pj_metric_add(pj_metrics_add(metrics, PJ_COUNTER, "all", NULL, "All."), 1);
        pj_metric_observe_us(pj_metrics_add(metrics, PJ_HISTOGRAM, "h", labels, "H."), i);
    }
    return NULL;
}

Test(metrics, no_update_is_lost_between_threads)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        cr_assert_eq(pthread_create(&threads[i], NULL, update, &numbers[i]), 0);
    }
    for (int i = 0; i < 20; i++)
        free(pj_metrics_render(metrics));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(pj_metric_value(pj_metrics_add(metrics, PJ_COUNTER, "all", NULL, "")),
                 THREADS * UPDATES);
    cr_assert_eq(pj_metric_value(pj_metrics_add(metrics, PJ_HISTOGRAM, "h", "thread=\"3\"", "")),
                 UPDATES);
}

/* --- the server ------------------------------------------------------------------------------ */

static char answer[65536];

static int connect_to_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)pj_metrics_server_port(server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Connects, sends, reads to the end; the whole answer, headers and all. */
static const char *ask(const char *request)
{
    int fd = connect_to_server();
    cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    size_t length = 0;
    ssize_t count;
    while ((count = recv(fd, answer + length, sizeof answer - 1 - length, 0)) > 0)
        length += (size_t)count;
    close(fd);
    answer[length] = '\0';
    return answer;
}

static const char *get(const char *path)
{
    char request[256];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
             path);
    return ask(request);
}

static const char *body(void)
{
    const char *end = strstr(answer, "\r\n\r\n");
    cr_assert_not_null(end, "%s", answer);
    return end + 4;
}

static void start(const char *address)
{
    cr_assert_eq(pj_metrics_server_start(&server, metrics, address, &error), 0, "%s",
                 error.message);
}

static void expect_status(const char *got, int status)
{
    char line[32];
    snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
    cr_assert_eq(strncmp(got, line, strlen(line)), 0, "%d wanted, got %.200s", status, got);
}

Test(metrics_server, shows_the_metrics)
{
    pj_metric_set(pj_metrics_add(metrics, PJ_GAUGE, "lag", NULL, "Lag."), 3);
    start("127.0.0.1:0");
    cr_assert_gt(pj_metrics_server_port(server), 0);
    expect_status(get("/metrics"), 200);
    static const char ours[] = "# HELP lag Lag.\n# TYPE lag gauge\nlag 3\n";
    cr_assert_eq(strncmp(body(), ours, strlen(ours)), 0, "%s", body());
    cr_assert_not_null(
        strstr(answer, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
}

/* The number of a line `name number` of the answer. */
static double number(const char *name)
{
    char line[64];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *found = strstr(answer, line);
    cr_assert_not_null(found, "no %s in %s", name, answer);
    return strtod(found + strlen(line), NULL);
}

Test(metrics_server, shows_the_process)
{
    start("127.0.0.1:0");
    get("/metrics");
    double files = number("process_open_fds");
    double now = (double)time(NULL);
    cr_assert_gt(number("process_max_fds"), files);
    cr_assert_gt(files, 3);
    cr_assert_gt(number("process_resident_memory_bytes"), 1 << 20);
    cr_assert_gt(number("process_virtual_memory_bytes"), number("process_resident_memory_bytes"));
    cr_assert_geq(number("process_cpu_seconds_total"), 0);
    cr_assert_leq(number("process_start_time_seconds"), now + 1);
    cr_assert_gt(number("process_start_time_seconds"), now - 3600);
    int fd = connect_to_server();
    get("/metrics");
    cr_assert_gt(number("process_open_fds"), files);
    close(fd);
}

Test(metrics_server, is_ready_when_it_was_told_so)
{
    start("127.0.0.1:0");
    expect_status(get("/readyz"), 503);
    cr_assert_str_eq(body(), "starting\n");
    pj_metrics_server_set_ready(server, NULL);
    expect_status(get("/readyz"), 200);
    cr_assert_str_eq(body(), "ok\n");
    pj_metrics_server_set_ready(server, "Postgres is away");
    expect_status(get("/readyz"), 503);
    cr_assert_str_eq(body(), "Postgres is away\n");
    expect_status(get("/livez"), 200);
}

Test(metrics_server, is_live_while_the_main_loop_turns)
{
    start("127.0.0.1:0");
    expect_status(get("/livez"), 200);
    atomic_store(&seconds_ahead, 59);
    expect_status(get("/livez"), 200);
    atomic_store(&seconds_ahead, 61);
    expect_status(get("/livez"), 503);
    cr_assert_not_null(strstr(body(), "the main loop has been stuck for 61"));
    pj_metrics_server_heartbeat(server);
    expect_status(get("/livez"), 200);
}

Test(metrics_server, other_paths_and_methods)
{
    start("127.0.0.1:0");
    expect_status(get("/"), 404);
    expect_status(get("/metrics/x"), 404);
    expect_status(ask("POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                      "Content-Length: 5\r\n\r\nhello"),
                  405);
    cr_assert_not_null(strstr(answer, "Allow: GET, HEAD\r\n"));
    expect_status(ask("DELETE /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 405);
    expect_status(ask("HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 200);
    cr_assert_str_empty(body());
}

Test(metrics_server, headers_are_bounded)
{
    static char request[20000];
    start("127.0.0.1:0");
    size_t length =
        (size_t)snprintf(request, sizeof request, "GET /metrics HTTP/1.1\r\nHost: x\r\nX: ");
    memset(request + length, 'x', sizeof request - 1 - length);
    memcpy(request + sizeof request - 5, "\r\n\r\n", 5);
    cr_assert_neq(strncmp(ask(request), "HTTP/1.1 200", 12), 0);
    expect_status(get("/livez"), 200);
}

Test(metrics_server, probes_are_answered_beside_connections_that_trickle)
{
    enum { CROWD = 100, PATIENCE = 200 };
    int crowd[CROWD];
    start("127.0.0.1:0");
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = connect_to_server();
        cr_assert_eq(send(crowd[i], i % 2 == 0 ? "GET /li" : "", i % 2 == 0 ? 7 : 0, MSG_NOSIGNAL),
                     i % 2 == 0 ? 7 : 0);
    }
    bool answered = false;
    for (int i = 0; i < PATIENCE && !answered; i++) { /* those that came just now are spared */
        answered = strncmp(get("/livez"), "HTTP/1.1 200 ", 13) == 0;
        if (!answered)
            poll(NULL, 0, 10);
    }
    cr_assert(answered, "%s", answer);
    for (int i = 0; i < CROWD; i++)
        close(crowd[i]);
}

Test(metrics_server, a_taken_port_is_named_with_the_remedy)
{
    struct pj_metrics_server *second = NULL;
    char address[32];
    char sentence[256];
    start("127.0.0.1:0");
    snprintf(address, sizeof address, "127.0.0.1:%d", pj_metrics_server_port(server));
    snprintf(sentence, sizeof sentence,
             "cannot listen on the metrics address %s: Address already in use; choose another "
             "port, or 0 for a free one",
             address);
    cr_assert_eq(pj_metrics_server_start(&second, metrics, address, &error), -1);
    cr_assert_str_eq(error.message, sentence);
    cr_assert_eq(pj_error_exit_code(&error), PJ_EXIT_USAGE);
    pj_metrics_server_stop(server);
    server = NULL;
    start(address);
}

Test(metrics_server, forms_of_an_address)
{
    static const char *const good[] = {":0", "0.0.0.0:0", "localhost:0"};
    static const char *const bad[] = {"",        "9100",      "127.0.0.1",     "127.0.0.1:",
                                      ":x",      ":65536",    "127.0.0.1:-1",  "::1:9100",
                                      "[::1",    "[::1]9100", "[::1]:",        "127.0.0.1:1 ",
                                      ":999999", "[]9:1",     "127.0.0.1:0x1", "192.0.2.1:0"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        start(good[i]);
        if (i < 2)
            expect_status(get("/livez"), 200);
        pj_metrics_server_stop(server);
        server = NULL;
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(pj_metrics_server_start(&server, metrics, bad[i], &error), -1, "'%s'", bad[i]);
        cr_assert_not_null(strstr(error.message, bad[i]), "%s", error.message);
        cr_assert_not_null(strstr(error.message, "metrics address"), "%s", error.message);
    }
}

Test(metrics_server, listens_on_ipv6)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has_ipv6 = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    if (!has_ipv6)
        cr_skip_test("this machine has no IPv6");
    start("[::1]:0");
    address.sin6_port = htons((uint16_t)pj_metrics_server_port(server));
    fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
}

static volatile sig_atomic_t handled_here;
static pthread_t main_thread;

static void on_signal(int number)
{
    (void)number;
    handled_here = pthread_equal(pthread_self(), main_thread) ? 1 : -1;
}

Test(metrics_server, leaves_signals_to_the_main_thread)
{
    sigset_t terminate;
    struct sigaction action = {.sa_handler = on_signal};
    main_thread = pthread_self();
    sigaction(SIGTERM, &action, NULL);
    start("127.0.0.1:0");
    /* Were the server's thread open to signals, it would be the one that takes this. */
    sigemptyset(&terminate);
    sigaddset(&terminate, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &terminate, NULL);
    kill(getpid(), SIGTERM);
    expect_status(get("/livez"), 200);
    cr_assert_eq(handled_here, 0);
    pthread_sigmask(SIG_UNBLOCK, &terminate, NULL);
    cr_assert_eq(handled_here, 1);
}

Test(metrics_server, stopping_nothing_is_allowed)
{
    pj_metrics_server_stop(NULL);
    pj_metrics_free(NULL);
}

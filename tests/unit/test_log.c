/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINE_MOST = 8192 };

/* stderr is a socket that keeps the bounds of each write(2). */
static int reader = -1;
static int real_stderr = -1;
static char line[LINE_MOST * 2];

static void capture(int fd)
{
    fflush(stderr);
    real_stderr = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    close(fd);
}

static void set_up(void)
{
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    reader = ends[0];
    capture(ends[1]);
}

static void tear_down(void)
{
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(reader);
}

TestSuite(log, .init = set_up, .fini = tear_down, .timeout = 20);

/* What one write(2) gave, or "" where there is nothing. */
static const char *next_line(void)
{
    ssize_t length = recv(reader, line, sizeof line - 1, MSG_DONTWAIT);
    line[length > 0 ? length : 0] = '\0';
    return line;
}

/* The line after its time, which must look like 2014-05-06T07:08:09.123Z. */
static const char *after_time(const char *text)
{
    static const char shape[] = "ts=dddd-dd-ddTdd:dd:dd.dddZ ";
    for (size_t i = 0; i < sizeof shape - 1; i++) {
        if (shape[i] == 'd')
            cr_assert(text[i] >= '0' && text[i] <= '9', "%s", text);
        else
            cr_assert_eq(text[i], shape[i], "%s", text);
    }
    return text + sizeof shape - 1;
}

Test(log, logfmt_line)
{
    pj_log_configure("event-recorder", PJ_INFO, PJ_LOG_LOGFMT);
    pj_log(PJ_INFO, "batch committed", pj_f_int("rows", 512), pj_f_str("topic", "safari.commands"));
    cr_assert_str_eq(after_time(next_line()),
                     "level=info program=event-recorder msg=\"batch committed\" rows=512 "
                     "topic=safari.commands\n");
}

Test(log, json_line)
{
    pj_log_configure("event-recorder", PJ_DEBUG, PJ_LOG_JSON);
    pj_log(PJ_DEBUG, "a\t\"quoted\"\\ \x01", pj_f_int("least", INT64_MIN), pj_f_str("none", NULL));
    json_t *json = json_loads(next_line(), JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(json, "%s", line);
    cr_assert_str_eq(json_string_value(json_object_get(json, "level")), "debug");
    cr_assert_str_eq(json_string_value(json_object_get(json, "program")), "event-recorder");
    cr_assert_str_eq(json_string_value(json_object_get(json, "msg")), "a\t\"quoted\"\\ \x01");
    cr_assert_eq(json_integer_value(json_object_get(json, "least")), INT64_MIN);
    cr_assert_null(json_object_get(json, "none"));
    cr_assert_eq(strlen(json_string_value(json_object_get(json, "ts"))), 24);
    json_decref(json);
}

Test(log, a_value_cannot_forge_a_line_or_a_field)
{
    pj_log_configure("p", PJ_INFO, PJ_LOG_LOGFMT);
    pj_log(PJ_WARN, "m", pj_f_str("key", "x\nlevel=error msg=\"forged\""), pj_f_str("empty", ""),
           pj_f_str("none", NULL), pj_f_str("word", "null"), pj_f_str("escape", "\033[2J\x7f"),
           pj_f_str("c1", "\xc2\x9b"), pj_f_str("bad name=", "v"), pj_f_str("pair", "a=b"),
           pj_f_str("path", "a\\b"));
    cr_assert_str_eq(after_time(next_line()),
                     "level=warn program=p msg=m key=\"x\\nlevel=error msg=\\\"forged\\\"\" "
                     "empty=\"\" word=null escape=\"\\u001b[2J\\u007f\" "
                     "c1=\"\\u009b\" bad_name_=v pair=\"a=b\" path=\"a\\\\b\"\n");
    cr_assert_str_eq(next_line(), "");
}

Test(log, what_is_not_utf8_is_replaced)
{
#define REPLACED "\xef\xbf\xbd"
    static const char *const cases[][2] = {
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8e\xac", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8e\xac"},
        {"\xff", REPLACED},                                        /* never a byte of UTF-8 */
        {"\xc3", REPLACED},                                        /* cut */
        {"\xe2\x82", REPLACED REPLACED},                           /* cut */
        {"\xc0\xaf", REPLACED REPLACED},                           /* overlong */
        {"\xed\xa0\x80", REPLACED REPLACED REPLACED},              /* a surrogate */
        {"\xf4\x90\x80\x80", REPLACED REPLACED REPLACED REPLACED}, /* beyond U+10FFFF */
    };
    pj_log_configure("p", PJ_INFO, PJ_LOG_JSON);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pj_log(PJ_INFO, cases[i][0]);
        json_t *json = json_loads(next_line(), 0, NULL);
        cr_assert_not_null(json, "case %zu: %s", i, line);
        cr_assert_str_eq(json_string_value(json_object_get(json, "msg")), cases[i][1]);
        json_decref(json);
    }
}

Test(log, levels_below_the_configured_one_are_silent)
{
    pj_log_configure("p", PJ_WARN, PJ_LOG_LOGFMT);
    pj_log(PJ_DEBUG, "no");
    pj_log(PJ_INFO, "no");
    cr_assert_str_eq(next_line(), "");
    pj_log(PJ_ERROR, "yes");
    cr_assert_str_eq(after_time(next_line()), "level=error program=p msg=yes\n");
}

Test(log, a_long_line_is_cut_marked_and_still_readable)
{
    static char text[LINE_MOST * 2];
    /* Every length around the bound, of characters of three bytes. */
    for (size_t length = LINE_MOST - 200; length < LINE_MOST + 50; length++) {
        memset(text, 'a', sizeof text);
        for (size_t i = length % 3; i + 3 <= length; i += 3)
            memcpy(text + i, "\xe2\x82\xac", 3);
        text[length] = '\0';
        pj_log_configure("p", PJ_INFO, PJ_LOG_JSON);
        pj_log(PJ_INFO, "m", pj_f_str("text", text), pj_f_int("last", 1));
        size_t written = strlen(next_line());
        cr_assert_leq(written, LINE_MOST);
        cr_assert_eq(line[written - 1], '\n');
        json_t *json = json_loads(line, 0, NULL);
        cr_assert_not_null(json, "length %zu: ...%s", length, line + written - 80);
        bool whole = json_object_get(json, "last") != NULL;
        cr_assert_eq(whole, !json_is_true(json_object_get(json, "truncated")));
        cr_assert(!whole || length < LINE_MOST);
        json_decref(json);
        pj_log_configure("p", PJ_INFO, PJ_LOG_LOGFMT);
        pj_log(PJ_INFO, "m", pj_f_str("text", text), pj_f_int("last", 1));
        written = strlen(next_line());
        cr_assert_leq(written, LINE_MOST);
        cr_assert(strstr(line, "\" last=1\n") != NULL ||
                      strcmp(line + written - 16, " truncated=true\n") == 0,
                  "length %zu: ...%s", length, line + written - 80);
    }
}

Test(log, errno_survives)
{
    pj_log_configure("p", PJ_INFO, PJ_LOG_LOGFMT);
    close(STDERR_FILENO);
    errno = ENOENT;
    pj_log(PJ_INFO, "nobody hears this");
    cr_assert_eq(errno, ENOENT);
}

static void *write_many(void *argument)
{
    for (int i = 0; i < 50; i++)
        pj_log(PJ_INFO, "a line of a thread", pj_f_str("thread", argument), pj_f_int("i", i));
    return NULL;
}

Test(log, each_line_is_one_write)
{
    static char names[][2] = {"a", "b"};
    pthread_t threads[2];
    pj_log_configure("p", PJ_INFO, PJ_LOG_LOGFMT);
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, write_many, names[i]), 0);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 100; i++) {
        const char *text = after_time(next_line());
        cr_assert_eq(strncmp(text, "level=info program=p msg=\"a line of a thread\" thread=", 53),
                     0);
        cr_assert_eq(strchr(text, '\n')[1], '\0', "two lines in one write");
    }
    cr_assert_str_eq(next_line(), "");
}

/* Logs one line to a terminal and gives what the terminal got. */
static void log_to_terminal(char *out, size_t size)
{
    int terminal;
    int program;
    cr_assert_eq(openpty(&terminal, &program, NULL, NULL, NULL), 0);
    dup2(program, STDERR_FILENO);
    pj_log_configure("p", PJ_INFO, PJ_LOG_LOGFMT);
    pj_log(PJ_WARN, "m");
    ssize_t length = read(terminal, out, size - 1);
    out[length > 0 ? length : 0] = '\0';
    close(terminal);
    close(program);
}

Test(log, colours_are_for_terminals_only)
{
    char text[LINE_MOST];
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
    pj_log_configure("p", PJ_INFO, PJ_LOG_LOGFMT);
    pj_log(PJ_WARN, "m");
    cr_assert_null(strchr(next_line(), '\033'));
    log_to_terminal(text, sizeof text);
    cr_assert_eq(strncmp(text, "\033[2mts=", 7), 0, "%s", text);
    cr_assert_not_null(strstr(text, " level=\033[33mwarn\033[0m program=p msg=m"));
    setenv("NO_COLOR", "1", 1);
    log_to_terminal(text, sizeof text);
    cr_assert_null(strchr(text, '\033'));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static const char enter_text[] = "\033[?1049h\033[?25l\033[?7l";
static const char leave_text[] = "\033[?7h\033[?25h\033[?1049l";
static const int ends[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGABRT, SIGSEGV, SIGBUS};

static struct termios before;
static volatile sig_atomic_t is_open;

/* The following may be called by handlers of signals. */

static void send(const char *text, size_t length)
{
    ssize_t ignored = write(STDOUT_FILENO, text, length);
    (void)ignored;
}

static void enter(void)
{
    struct termios raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    send(enter_text, sizeof enter_text - 1);
    is_open = 1;
}

static void leave(void)
{
    if (!is_open)
        return;
    is_open = 0;
    send(leave_text, sizeof leave_text - 1);
    tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

/* Ends as if there were no handler. */
static void on_end(int number)
{
    leave();
    signal(number, SIG_DFL);
    raise(number);
}

static void on_suspend(int number)
{
    int saved_errno = errno;
    (void)number;
    leave();
    raise(SIGSTOP);
    enter(); /* fg */
    errno = saved_errno;
}

static void on_resize(int number)
{
    (void)number; /* it only ends the wait */
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

/* --------------------------------------------------------------------------------------------- */

bool pj_screen_possible(void)
{
    const char *term = getenv("TERM");
    return isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 && term != NULL &&
           strcmp(term, "dumb") != 0 && tcgetattr(STDIN_FILENO, &before) == 0;
}

void pj_screen_open(void)
{
    static char buffer[1 << 16];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer); /* a picture at a time: it must not flicker */
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        handle(ends[i], on_end);
    handle(SIGTSTP, on_suspend);
    handle(SIGWINCH, on_resize);
    enter();
    atexit(leave);
}

void pj_screen_close(void)
{
    fflush(stdout);
    leave();
}

struct pj_screen_size pj_screen_size(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
        return (struct pj_screen_size){80, 24};
    return (struct pj_screen_size){size.ws_col, size.ws_row};
}

void pj_screen_begin(void)
{
    fputs("\033[H\033[J", stdout);
}

void pj_screen_end(void)
{
    fflush(stdout);
}

int pj_screen_key(int64_t timeout_ms)
{
    unsigned char key;
    struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&fd, 1, (int)timeout_ms) <= 0)
        return 0;
    ssize_t got = read(STDIN_FILENO, &key, 1);
    return got == 1 ? key : got < 0 && errno == EINTR ? 0 : -1;
}

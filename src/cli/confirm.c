/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/confirm.h"

#include "base/process.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

enum { LOOK_MS = 100 };

/* A signal that came before the read would not end it. */
static bool wait_for_line(void)
{
    struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
    while (pj_stop_requests == 0) {
        int ready = poll(&fd, 1, LOOK_MS);
        if (ready > 0 || (ready < 0 && errno != EINTR))
            return true;
    }
    return false;
}

int pj_cli_confirm(const char *question, bool yes, struct pj_error *error)
{
    if (yes)
        return 0;
    fflush(stdout);
    if (isatty(STDIN_FILENO) != 1)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "nothing was changed: there is no terminal to confirm on; look with "
                              "--dry-run, then give --yes");
    fprintf(stderr, "%s? [y/N] ", question);
    char *line = NULL;
    size_t size = 0;
    ssize_t length = wait_for_line() ? getline(&line, &size, stdin) : -1;
    if (length > 0 && line[length - 1] == '\n')
        line[length - 1] = '\0';
    bool agreed = length > 0 && (strcasecmp(line, "y") == 0 || strcasecmp(line, "yes") == 0);
    if (length <= 0)
        fputc('\n', stderr);
    free(line);
    return agreed ? 0 : pj_error_fatal(error, PJ_EXIT_FAILED, "nothing was changed");
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"
#include "base/metrics.h"
#include "base/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void add(struct pj_builder *out, const char *name, const char *kind, const char *help,
                int64_t hundredths)
{
    pj_builder_add(out, "# HELP %s %s\n# TYPE %s %s\n%s %" PRId64 ".%02" PRId64 "\n", name, help,
                   name, kind, name, hundredths / 100, hundredths % 100);
}

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The fields of /proc/self/stat after the command's name, which may contain anything. */
static bool read_stat(char *text, size_t size, const char **fields)
{
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0)
        close(fd);
    text[length > 0 ? length : 0] = '\0';
    *fields = strrchr(text, ')');
    return *fields != NULL;
}

static void render_stat(struct pj_builder *out)
{
    /* It starts anew whenever the clocks are set: once is enough. */
    static double started;
    char text[1024];
    const char *fields;
    int64_t user = 0, system = 0, start = 0, bytes = 0, pages = 0;
    if (!read_stat(text, sizeof text, &fields) ||
        sscanf(fields,
               ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNd64 " %" SCNd64
               " %*d %*d %*d %*d %*d %*d %" SCNd64 " %" SCNd64 " %" SCNd64,
               &user, &system, &start, &bytes, &pages) != 5)
        return;
    const double ticks = (double)sysconf(_SC_CLK_TCK);
    if (started == 0)
        started = seconds_of(CLOCK_REALTIME) - seconds_of(CLOCK_BOOTTIME) + (double)start / ticks;
    add(out, "process_cpu_seconds_total", "counter",
        "Total user and system CPU time spent in seconds.",
        (int64_t)((double)(user + system) * 100 / ticks));
    add(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
        pages * sysconf(_SC_PAGESIZE) * 100);
    add(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", bytes * 100);
    add(out, "process_start_time_seconds", "gauge",
        "Start time of the process since unix epoch in seconds.", (int64_t)(started * 100));
}

void pj_metrics_render_process(struct pj_builder *out)
{
    struct rlimit limit;
    render_stat(out);
    DIR *folder = opendir("/proc/self/fd");
    if (folder != NULL) {
        int64_t count = -3; /* the two dots, and the folder itself */
        while (readdir(folder) != NULL)
            count++;
        closedir(folder);
        add(out, "process_open_fds", "gauge", "Number of open file descriptors.", count * 100);
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        add(out, "process_max_fds", "gauge", "Maximum number of open file descriptors.",
            (int64_t)limit.rlim_cur * 100);
}

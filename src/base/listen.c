/* SPDX-License-Identifier: Apache-2.0 */
#include "base/listen.h"

#include "base/text.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 128, HOST_MOST = 256, PORT_MOST = 8 };

/* "host:port", "[::1]:port", ":port"; the host is empty for all interfaces. */
static int split_address(const char *what, const char *address, char *host, size_t host_size,
                         char *port, size_t port_size, struct pj_error *error)
{
    const char *colon = strrchr(address, ':');
    const char *host_start = address;
    const char *host_end = colon;
    if (colon != NULL && address[0] == '[') {
        host_start = address + 1;
        host_end = strchr(address, ']');
    }
    if (colon == NULL || host_end == NULL || host_end > colon ||
        (address[0] == '[' && host_end + 1 != colon) ||
        (address[0] != '[' && strchr(address, ':') != colon) ||
        (size_t)(host_end - host_start) >= host_size || strlen(colon + 1) >= port_size)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "the %s '%.200s' is not valid; give HOST:PORT, "
                              ":PORT or [IPV6]:PORT, such as 127.0.0.1:9100",
                              what, address);
    if (colon[1] == '\0' || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        strtol(colon + 1, NULL, 10) > UINT16_MAX)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "the %s '%.200s' has no port between 0 and 65535", what, address);
    pj_text_whole(host, host_size, "%.*s", (int)(host_end - host_start), host_start);
    pj_text_whole(port, port_size, "%s", colon + 1);
    return 0;
}

int pj_listen_check(const char *what, const char *address, struct pj_error *error)
{
    char host[HOST_MOST];
    char port[PORT_MOST];
    return split_address(what, address, host, sizeof host, port, sizeof port, error);
}

static int listen_at(const struct addrinfo *info, int only_v6)
{
    const int on = 1;
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    info->ai_protocol);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (info->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof only_v6);
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int saved_errno = errno;
    close(fd);
    errno = saved_errno;
    return -1;
}

/* All interfaces: one IPv6 socket accepts IPv4 too; a kernel without IPv6 has only IPv4. */
int pj_listen(const char *what, const char *address, struct pj_error *error)
{
    char host[HOST_MOST];
    char port[PORT_MOST];
    struct addrinfo *found = NULL;
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    if (split_address(what, address, host, sizeof host, port, sizeof port, error) != 0)
        return -1;
    int reason = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &found);
    if (reason != 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "the host of the %s '%.200s' cannot be resolved: %s", what, address,
                              gai_strerror(reason));
    int fd = -1;
    int bind_errno = 0;
    const int families[] = {host[0] == '\0' ? AF_INET6 : AF_UNSPEC, AF_UNSPEC};
    for (size_t i = 0; i < 2 && fd < 0 && bind_errno != EADDRINUSE; i++) {
        for (const struct addrinfo *info = found; info != NULL && fd < 0; info = info->ai_next) {
            if (families[i] != AF_UNSPEC && info->ai_family != families[i])
                continue;
            fd = listen_at(info, host[0] != '\0');
            if (fd < 0)
                bind_errno = errno;
        }
    }
    freeaddrinfo(found);
    if (fd >= 0)
        return fd;
    return pj_error_fatal(error, PJ_EXIT_USAGE,
                          bind_errno == EADDRINUSE
                              ? "cannot listen on the %s %.200s: %s; choose another "
                                "port, or 0 for a free one"
                              : "cannot listen on the %s %.200s: %s; give an address "
                                "of this machine",
                          what, address, strerror(bind_errno));
}

int pj_listen_port(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        return 0;
    in_port_t port = address.ss_family == AF_INET6
                         ? ((const struct sockaddr_in6 *)&address)->sin6_port
                         : ((const struct sockaddr_in *)&address)->sin_port;
    return ntohs(port);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "control-gateway/route.h"

#include "base/text.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum { PATH_MOST = 2048, SEGMENTS_MOST = 4 };

/* The path without escapes; false where servers may read it differently. */
static bool unescape(const char *uri, char path[PATH_MOST])
{
    size_t length = 0;
    if (*uri != '/')
        return false;
    for (; *uri != '\0' && *uri != '?'; uri++) {
        int c = (unsigned char)*uri;
        if (c == '%') {
            int high = pj_hex_digit(uri[1]);
            int low = high >= 0 ? pj_hex_digit(uri[2]) : -1;
            if (low < 0)
                return false;
            c = high * 16 + low;
            uri += 2;
            if (c == '/' || c == '%')
                return false;
        }
        if (c <= ' ' || c == 0x7f || c == '\\' || c == '#' || length + 1 >= PATH_MOST)
            return false;
        path[length++] = (char)c;
    }
    path[length] = '\0';
    return true;
}

/* Splits the path, dropping parameters (;x=1), which some servers ignore; -1 for a segment . or ..
 * ; segments beyond the maximum are only counted. */
static int split(char *path, const char *segments[SEGMENTS_MOST])
{
    int count = 0;
    char *rest = NULL;
    for (char *part = strtok_r(path, "/", &rest); part != NULL; part = strtok_r(NULL, "/", &rest)) {
        part[strcspn(part, ";")] = '\0';
        if (*part == '\0')
            continue;
        if (strcmp(part, ".") == 0 || strcmp(part, "..") == 0)
            return -1;
        if (count < SEGMENTS_MOST)
            segments[count] = part;
        count++;
    }
    return count;
}

static bool is_known_method(const char *method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(method, known[i]) == 0)
            return true;
    }
    return false;
}

enum pj_route pj_route_of(const char *method, const char *uri, char id[PJ_ROUTE_ID_MOST])
{
    char path[PATH_MOST];
    const char *segments[SEGMENTS_MOST] = {0};
    id[0] = '\0';
    if (!is_known_method(method))
        return PJ_ROUTE_BAD_METHOD;
    int count = unescape(uri, path) ? split(path, segments) : -1;
    if (count < 0)
        return PJ_ROUTE_BAD_PATH;
    if (count == 1 &&
        (strcasecmp(segments[0], "health") == 0 || strcasecmp(segments[0], "ready") == 0))
        return PJ_ROUTE_HEALTH;
    if (count < 2 || strcasecmp(segments[0], "v1") != 0)
        return PJ_ROUTE_PASS;
    if (count == 2 && strcmp(method, "POST") == 0) {
        if (strcasecmp(segments[1], "commands") == 0)
            return PJ_ROUTE_COMMAND;
        if (strcasecmp(segments[1], "sessions") == 0)
            return PJ_ROUTE_OPEN;
    }
    if (count == 3 && strcmp(method, "DELETE") == 0 && strcasecmp(segments[1], "sessions") == 0) {
        if (strlen(segments[2]) >= PJ_ROUTE_ID_MOST)
            return PJ_ROUTE_BAD_PATH;
        pj_text_whole(id, PJ_ROUTE_ID_MOST, "%s", segments[2]);
        return PJ_ROUTE_CLOSE;
    }
    return PJ_ROUTE_PASS;
}

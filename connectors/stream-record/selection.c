/* SPDX-License-Identifier: Apache-2.0 */
#include "stream-record/selection.h"

#include "base/config.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/time_text.h"

#include <stdlib.h>
#include <string.h>

enum { TOPIC_MOST = 249 };

int pj_bound_parse(const char *name, const char *text, bool is_from, struct pj_bound *bound,
                   struct pj_error *error)
{
    struct pj_error ignored = {0};
    int64_t microseconds;
    *bound = (struct pj_bound){PJ_BOUND_NONE, 0};
    if (text == NULL || strcmp(text, is_from ? "earliest" : "end") == 0)
        return 0;
    if (pj_parse_integer(name, text, 0, INT64_MAX, &bound->at, &ignored) == 0) {
        bound->kind = PJ_BOUND_OFFSET;
        return 0;
    }
    if (pj_time_read(text, &microseconds)) {
        *bound = (struct pj_bound){PJ_BOUND_TIME, microseconds / 1000};
        return 0;
    }
    return pj_error_fatal(error, PJ_EXIT_USAGE,
                          "%s takes %s, an offset, or a time such as 2026-11-21T05:06:34Z, not "
                          "'%s'",
                          name, is_from ? "earliest" : "end", text);
}

static int parse_partitions(struct pj_selection *selection, char *text, const char *whole,
                            struct pj_error *error)
{
    struct pj_error ignored = {0};
    for (char *part = strsep(&text, ","); part != NULL; part = strsep(&text, ",")) {
        char *last = strchr(part, '-');
        int64_t from, to;
        if (last != NULL)
            *last++ = '\0';
        if (pj_parse_integer("", part, 0, INT32_MAX, &from, &ignored) != 0 ||
            pj_parse_integer("", last != NULL ? last : part, from, INT32_MAX, &to, &ignored) != 0)
            return pj_error_fatal(error, PJ_EXIT_USAGE,
                                  "'%s' does not name partitions as TOPIC:0,4-7 does", whole);
        selection->partitions = pj_resize(selection->partitions, selection->partition_count + 1,
                                          sizeof *selection->partitions);
        selection->partitions[selection->partition_count].first = (int32_t)from;
        selection->partitions[selection->partition_count++].last = (int32_t)to;
    }
    return 0;
}

static int parse_bounds(struct pj_selection *selection, char *text, const char *whole,
                        struct pj_error *error)
{
    char *to = strstr(text, "..");
    if (to != NULL) {
        *to = '\0';
        to += strlen("..");
    }
    if (*text == '\0' || (to != NULL && *to == '\0'))
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "'%s' does not name a range as TOPIC@FROM or TOPIC@FROM..TO does",
                              whole);
    if (pj_bound_parse(whole, text, true, &selection->from, error) != 0)
        return -1;
    return to != NULL ? pj_bound_parse(whole, to, false, &selection->to, error) : 0;
}

int pj_selection_parse(const char *text, struct pj_selection *selection, struct pj_error *error)
{
    char *bounds, *partitions;
    selection->topic = pj_strdup(text);
    selection->partitions = NULL;
    selection->partition_count = 0;
    bounds = strchr(selection->topic, '@');
    if (bounds != NULL)
        *bounds++ = '\0';
    partitions = strchr(selection->topic, ':');
    if (partitions != NULL)
        *partitions++ = '\0';
    size_t length = strlen(selection->topic);
    int status = 0;
    if (length == 0 || length > TOPIC_MOST ||
        strspn(selection->topic, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                 "._-") != length)
        status =
            pj_error_fatal(error, PJ_EXIT_USAGE,
                           "'%s' is not the name of a topic; TOPIC[:PARTITIONS][@FROM[..TO]] is "
                           "expected",
                           text);
    if (status == 0 && partitions != NULL)
        status = parse_partitions(selection, partitions, text, error);
    if (status == 0 && bounds != NULL)
        status = parse_bounds(selection, bounds, text, error);
    if (status != 0)
        pj_selection_free(selection);
    return status;
}

void pj_selection_free(struct pj_selection *selection)
{
    free(selection->topic);
    free(selection->partitions);
    selection->topic = NULL;
    selection->partitions = NULL;
}

bool pj_selection_has(const struct pj_selection *selection, int32_t partition)
{
    for (size_t i = 0; i < selection->partition_count; i++) {
        if (partition >= selection->partitions[i].first &&
            partition <= selection->partitions[i].last)
            return true;
    }
    return selection->partitions == NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "stream-replay/chains.h"

#include "base/memory.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

struct file {
    const char *path;
    size_t given; /* its place among the paths */
    char *of;     /* cluster, topic and partition; NULL: it has no head */
    int32_t number;
    int64_t begin, next;
};

static int look_at(struct file *file, struct pj_error *error)
{
    struct pj_recording *recording;
    struct pj_recorded item;
    if (pj_recording_open(&recording, file->path, error) != 0)
        return -1;
    int status = pj_recording_next(recording, &item, error);
    if (status == 1 && item.kind == PJ_RECORDED_HEAD) {
        const struct pj_recorded_head *head = &item.head;
        file->of = pj_text_new("%.*s %.*s %.*s %d", (int)head->cluster_id.length,
                               (const char *)head->cluster_id.data, (int)head->topic.length,
                               (const char *)head->topic.data, (int)head->topic_id.length,
                               (const char *)head->topic_id.data, (int)head->partition);
        file->number = head->file;
        file->begin = head->begin;
        status = pj_recording_last(recording, &item, error);
        if (status == 1 && item.kind != PJ_RECORDED_TAIL)
            status = pj_error_set(error, PJ_FATAL,
                                  "%s has no tail: it is not whole; stream-record goes on with it",
                                  file->path);
        file->next = item.tail.next;
    }
    pj_recording_close(recording);
    return status < 0 ? -1 : 0;
}

static int compare(const void *left, const void *right)
{
    const struct file *a = left, *b = right;
    int order =
        a->of == NULL || b->of == NULL ? (a->of == NULL) - (b->of == NULL) : strcmp(a->of, b->of);
    if (order == 0 && a->of != NULL && a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return order != 0 ? order : a->given < b->given ? -1 : 1;
}

static int open_chain(struct pj_recording **recording, const struct file *files, size_t count,
                      struct pj_error *error)
{
    const char **paths = pj_calloc(count, sizeof *paths);
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        paths[i] = files[i].path;
        if (i > 0 &&
            (files[i].number != files[i - 1].number + 1 || files[i].begin != files[i - 1].next))
            status = pj_error_set(error, PJ_FATAL,
                                  "between %s, which ends at the offset %lld, and %s, which begins "
                                  "at %lld, a file is missing",
                                  files[i - 1].path, (long long)files[i - 1].next, files[i].path,
                                  (long long)files[i].begin);
    }
    if (status == 0)
        status = pj_recording_open_files(recording, paths, count, error);
    free(paths);
    return status;
}

int pj_chains_open(struct pj_recording ***recordings, size_t *count, char *const *paths,
                   size_t path_count, struct pj_error *error)
{
    struct file *files = pj_calloc(path_count, sizeof *files);
    int status = 0;
    *recordings = pj_calloc(path_count, sizeof(struct pj_recording *));
    *count = 0;
    for (size_t i = 0; i < path_count && status == 0; i++) {
        files[i] = (struct file){.path = paths[i], .given = i};
        status = look_at(&files[i], error);
    }
    if (status == 0 && path_count > 0)
        qsort(files, path_count, sizeof *files, compare);
    for (size_t i = 0, length; i < path_count && status == 0; i += length) {
        for (length = 1;
             files[i].of != NULL && i + length < path_count && files[i + length].of != NULL &&
             strcmp(files[i].of, files[i + length].of) == 0;
             length++)
            ;
        status = open_chain(&(*recordings)[*count], &files[i], length, error);
        if (status == 0)
            (*count)++;
    }
    for (size_t i = 0; i < path_count; i++)
        free(files[i].of);
    free(files);
    return status;
}

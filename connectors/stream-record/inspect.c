/* SPDX-License-Identifier: Apache-2.0 */
#include "stream-record/inspect.h"

#include "base/memory.h"
#include "base/text.h"
#include "base/time_text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct reading {
    const char *path;
    struct pj_recording *recording;
    struct pj_inspected *of;
    struct pj_recorded_head head; /* its texts are `of`'s */
    int64_t next;
    int64_t count;
    int64_t gaps[PJ_GAP_CAUSES];
    int64_t earliest_ms, latest_ms;
    struct pj_recording_sum *sum, *sum_of_all;
};

static bool same(struct pj_bytes bytes, const char *text)
{
    return text != NULL
               ? bytes.length == strlen(text) && memcmp(bytes.data, text, bytes.length) == 0
               : bytes.data == NULL;
}

static char *copy(struct pj_bytes bytes)
{
    return bytes.data != NULL ? pj_strndup(bytes.data, bytes.length) : NULL;
}

static int wrong(const struct reading *reading, struct pj_error *error, const char *format, ...)
    PJ_PRINTF(3, 4);

static int wrong(const struct reading *reading, struct pj_error *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = pj_text_vnew(format, args);
    va_end(args);
    pj_error_set(error, PJ_FATAL, "%s: %s", reading->path, text);
    free(text);
    return -1;
}

/* --- heads and tails ------------------------------------------------------------------------- */

static struct pj_inspected *add(struct pj_inspection *inspection)
{
    inspection->items =
        pj_resize(inspection->items, inspection->count + 1, sizeof *inspection->items);
    struct pj_inspected *of = &inspection->items[inspection->count++];
    *of = (struct pj_inspected){.partition = -1};
    return of;
}

/* The partition's, where this file goes on with the one before it. */
static int take_head(struct reading *reading, struct pj_inspection *inspection,
                     const struct pj_recorded_head *head, struct pj_error *error)
{
    struct pj_inspected *last =
        inspection->count > 0 ? &inspection->items[inspection->count - 1] : NULL;
    if (last != NULL && last->partition == head->partition && same(head->topic, last->topic) &&
        same(head->cluster_id, last->cluster_id)) {
        if (!same(head->topic_id, last->topic_id))
            return wrong(reading, error,
                         "it is of another topic than the file before it, which "
                         "was recreated");
        if (head->file != last->file + 1 || head->begin != last->next)
            return wrong(reading, error,
                         "it is file %d, from the offset %lld; after file %d, which ends at %lld, "
                         "another one is missing",
                         (int)head->file, (long long)head->begin, (int)last->file,
                         (long long)last->next);
        if (!same(head->changes, last->changes))
            return wrong(reading, error,
                         "its fields were changed (--drop, --hash) otherwise than "
                         "those of the file before it");
    } else {
        last = add(inspection);
        last->topic = copy(head->topic);
        last->topic_id = copy(head->topic_id);
        last->cluster_id = copy(head->cluster_id);
        last->changes = copy(head->changes);
        last->partition = head->partition;
        last->begin = head->begin;
    }
    last->file = head->file;
    reading->of = last;
    reading->head = *head;
    reading->next = head->begin;
    return 0;
}

static void add_times(struct pj_inspected *of, int64_t earliest_ms, int64_t latest_ms)
{
    if (!of->has_times || earliest_ms < of->earliest_ms)
        of->earliest_ms = earliest_ms;
    if (!of->has_times || latest_ms > of->latest_ms)
        of->latest_ms = latest_ms;
    of->has_times = true;
}

static void add_tail(struct pj_inspected *of, const struct pj_recorded_tail *tail)
{
    of->records += tail->count;
    of->next = tail->next;
    for (int i = 0; i < PJ_GAP_CAUSES; i++)
        of->gaps[i] += tail->gaps[i];
    if (tail->has_times)
        add_times(of, tail->earliest_ms, tail->latest_ms);
}

/* --- every record ---------------------------------------------------------------------------- */

static int check_message(struct reading *reading, const struct pj_recorded *item,
                         struct pj_error *error)
{
    if (reading->of->partition < 0) { /* of another writer */
        reading->count++;
        add_times(reading->of, item->timestamp_ms, item->timestamp_ms);
        pj_recording_sum_add(reading->sum_of_all, item);
        return 0;
    }
    if (!same(item->topic, reading->of->topic) || item->partition != reading->of->partition)
        return wrong(reading, error, "its record at the offset %lld is of %.*s [%d]",
                     (long long)item->offset, (int)item->topic.length,
                     (const char *)item->topic.data, (int)item->partition);
    if (item->offset != reading->next)
        return wrong(reading, error, "the offset %lld comes where %lld is due",
                     (long long)item->offset, (long long)reading->next);
    pj_recording_sum_add(reading->sum, item);
    pj_recording_sum_add(reading->sum_of_all, item);
    if (reading->count == 0 || item->timestamp_ms < reading->earliest_ms)
        reading->earliest_ms = item->timestamp_ms;
    if (reading->count == 0 || item->timestamp_ms > reading->latest_ms)
        reading->latest_ms = item->timestamp_ms;
    reading->count++;
    reading->next = item->offset + 1;
    return 0;
}

static int check_gap(struct reading *reading, const struct pj_recorded_gap *gap,
                     struct pj_error *error)
{
    if (gap->begin != reading->next || gap->end <= gap->begin)
        return wrong(reading, error, "a gap from %lld to %lld comes where %lld is due",
                     (long long)gap->begin, (long long)gap->end, (long long)reading->next);
    reading->gaps[gap->cause] += gap->end - gap->begin;
    reading->next = gap->end;
    return 0;
}

static int check_tail(const struct reading *reading, const struct pj_recorded_tail *tail,
                      struct pj_error *error)
{
    char sum[PJ_RECORDING_SUM_TEXT];
    pj_recording_sum_text(reading->sum, sum);
    if (tail->count != reading->count)
        return wrong(reading, error, "it has %lld records, and its tail says %lld",
                     (long long)reading->count, (long long)tail->count);
    if (!same(tail->sha256, sum))
        return wrong(reading, error,
                     "its records have the checksum %s, and its tail says %.*s: one was changed",
                     sum, (int)tail->sha256.length, (const char *)tail->sha256.data);
    if (tail->next != reading->next || memcmp(tail->gaps, reading->gaps, sizeof tail->gaps) != 0 ||
        tail->has_times != (reading->count > 0) ||
        (tail->has_times &&
         (tail->earliest_ms != reading->earliest_ms || tail->latest_ms != reading->latest_ms)))
        return wrong(reading, error,
                     "its tail says another end, other gaps or other times than "
                     "its records have");
    return 0;
}

static int read_all(struct reading *reading, struct pj_inspection *inspection,
                    const atomic_int *stop, struct pj_error *error)
{
    struct pj_recorded item;
    int status;
    bool has_tail = false;
    for (int64_t n = 0; (status = pj_recording_next(reading->recording, &item, error)) == 1; n++) {
        if (*stop != 0)
            return wrong(reading, error, "a signal came before it was read");
        if (has_tail)
            return wrong(reading, error, "something follows its tail");
        if (n == 0 && item.kind != PJ_RECORDED_HEAD)
            reading->of = add(inspection);
        switch (item.kind) {
        case PJ_RECORDED_HEAD:
            status = n > 0 ? wrong(reading, error, "it has a second head")
                           : take_head(reading, inspection, &item.head, error);
            break;
        case PJ_RECORDED_MESSAGE:
            status = check_message(reading, &item, error);
            break;
        case PJ_RECORDED_GAP:
            status = check_gap(reading, &item.gap, error);
            break;
        case PJ_RECORDED_TAIL:
            has_tail = true;
            status = check_tail(reading, &item.tail, error);
            if (status == 0)
                add_tail(reading->of, &item.tail);
            break;
        case PJ_RECORDED_SCHEMA:
            status = 0;
            break;
        }
        if (status != 0)
            return -1;
    }
    if (status == 0 && reading->of == NULL)
        reading->of = add(inspection); /* empty */
    if (status == 0 && reading->of->partition < 0)
        reading->of->records += reading->count;
    else if (status == 0 && !has_tail)
        status = wrong(reading, error, "it has no tail: it is not whole");
    if (status == 0)
        pj_recording_sum_text(reading->sum_of_all, reading->of->sha256);
    return status;
}

static int read_ends(struct reading *reading, struct pj_inspection *inspection,
                     struct pj_error *error)
{
    struct pj_recorded item;
    int status = pj_recording_next(reading->recording, &item, error);
    if (status < 0)
        return -1;
    if (status == 0 || item.kind != PJ_RECORDED_HEAD) {
        reading->of = add(inspection);
        reading->of->records = pj_recording_items(reading->recording);
        return 0;
    }
    if (take_head(reading, inspection, &item.head, error) != 0)
        return -1;
    status = pj_recording_last(reading->recording, &item, error);
    if (status < 0)
        return -1;
    if (status == 0 || item.kind != PJ_RECORDED_TAIL)
        return wrong(reading, error, "it has no tail: it is not whole");
    add_tail(reading->of, &item.tail);
    return 0;
}

static int inspect_file(const char *path, bool whole, struct pj_recording_sum **sum_of_all,
                        const atomic_int *stop, struct pj_inspection *inspection,
                        struct pj_error *error)
{
    struct reading reading = {.path = path};
    struct stat status_of;
    size_t before = inspection->count;
    if (pj_recording_open(&reading.recording, path, error) != 0)
        return -1;
    reading.sum = pj_recording_sum_new();
    /* A partition's files have one sum; the head says whether this is one more of them. */
    struct pj_recorded item;
    if (whole &&
        (inspection->count == 0 || pj_recording_next(reading.recording, &item, error) != 1 ||
         item.kind != PJ_RECORDED_HEAD || item.head.file == 1)) {
        pj_recording_sum_free(*sum_of_all);
        *sum_of_all = pj_recording_sum_new();
    }
    reading.sum_of_all = *sum_of_all;
    int status = pj_recording_rewind(reading.recording, error);
    if (status == 0)
        status = whole ? read_all(&reading, inspection, stop, error)
                       : read_ends(&reading, inspection, error);
    if (status == 0) {
        reading.of->files++;
        reading.of->bytes += stat(path, &status_of) == 0 ? status_of.st_size : 0;
        if (reading.of->partition < 0 && inspection->count > before)
            reading.of->topic = pj_strdup(path);
    }
    pj_recording_sum_free(reading.sum);
    pj_recording_close(reading.recording);
    return status;
}

int pj_inspect(char *const *paths, size_t count, bool whole, const atomic_int *stop,
               struct pj_inspection *inspection, struct pj_error *error)
{
    struct pj_recording_sum *sum_of_all = NULL;
    int status = 0;
    *inspection = (struct pj_inspection){0};
    for (size_t i = 0; i < count && status == 0; i++)
        status = inspect_file(paths[i], whole, &sum_of_all, stop, inspection, error);
    pj_recording_sum_free(sum_of_all);
    return status;
}

void pj_inspection_free(struct pj_inspection *inspection)
{
    for (size_t i = 0; i < inspection->count; i++) {
        free(inspection->items[i].topic);
        free(inspection->items[i].topic_id);
        free(inspection->items[i].cluster_id);
        free(inspection->items[i].changes);
    }
    free(inspection->items);
    *inspection = (struct pj_inspection){0};
}

/* --- printing -------------------------------------------------------------------------------- */

static const char *const gap_names[PJ_GAP_CAUSES] = {"aborted", "compacted", "removed"};

static void print_line(const struct pj_inspected *of)
{
    char number[PJ_NUMBER_TEXT], from[PJ_TIME_TEXT_SIZE], to[PJ_TIME_TEXT_SIZE];
    if (of->partition >= 0)
        printf("%s [%d]", of->topic, (int)of->partition);
    else
        printf("%s", of->topic);
    printf(": %s %s", pj_number_text(number, of->records),
           of->partition < 0 && *of->sha256 == '\0' ? "records and schemas" : "records");
    if (of->partition >= 0)
        printf(", offsets %lld to %lld, %lld file%s", (long long)of->begin, (long long)of->next,
               (long long)of->files, of->files == 1 ? "" : "s");
    if (of->has_times && pj_time_format(from, of->earliest_ms, 3) &&
        pj_time_format(to, of->latest_ms, 3))
        printf(", %s to %s", from, to);
    for (int i = 0; i < PJ_GAP_CAUSES; i++) {
        if (of->gaps[i] > 0)
            printf(", %s %s", pj_number_text(number, of->gaps[i]), gap_names[i]);
    }
    if (of->changes != NULL && strcmp(of->changes, "[]") != 0)
        printf(", changed: %s", of->changes);
    if (*of->sha256 != '\0')
        printf(", sha256 %s", of->sha256);
    putchar('\n');
}

static json_t *as_json(const struct pj_inspected *of)
{
    json_t *gaps = pj_must(json_object());
    for (int i = 0; i < PJ_GAP_CAUSES; i++)
        json_object_set_new(gaps, gap_names[i], json_integer(of->gaps[i]));
    json_t *object = pj_must(json_pack(
        "{s:s?, s:s?, s:s?, s:i, s:I, s:I, s:I, s:I, s:I, s:o, s:s?}", "topic", of->topic,
        "topic_id", of->topic_id, "cluster_id", of->cluster_id, "partition", (int)of->partition,
        "files", (json_int_t)of->files, "records", (json_int_t)of->records, "bytes",
        (json_int_t)of->bytes, "begin", (json_int_t)of->begin, "next", (json_int_t)of->next, "gaps",
        gaps, "sha256", *of->sha256 != '\0' ? of->sha256 : NULL));
    json_object_set_new(object, "earliest_ms",
                        of->has_times ? json_integer(of->earliest_ms) : json_null());
    json_object_set_new(object, "latest_ms",
                        of->has_times ? json_integer(of->latest_ms) : json_null());
    if (of->changes != NULL)
        json_object_set_new(object, "changes", pj_must(json_loads(of->changes, 0, NULL)));
    return object;
}

void pj_inspection_print(const struct pj_inspection *inspection, bool json)
{
    json_t *array = pj_must(json_array());
    for (size_t i = 0; i < inspection->count; i++) {
        if (json)
            json_array_append_new(array, as_json(&inspection->items[i]));
        else
            print_line(&inspection->items[i]);
    }
    if (json) {
        json_dumpf(array, stdout, JSON_COMPACT);
        putchar('\n');
    }
    json_decref(array);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "stream-record/against.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/topic_name.h"
#include "kafka/reader.h"

#include <stdlib.h>
#include <string.h>

enum { WAIT_MS = 200 };

/* What the topic has of one partition of the recordings. */
struct side {
    const struct pj_inspected *recorded;
    char topic[PJ_TOPIC_NAME_SIZE]; /* as Kafka names it */
    struct pj_recording_sum *sum;
    int64_t records;
    bool done;
};

struct comparison {
    const struct pj_against_settings *settings;
    struct pj_reader *reader;
    struct side *sides;
    size_t count, left;
    int64_t moved_ms;
    char trouble[512];
};

/* --- which ----------------------------------------------------------------------------------- */

static int add_side(struct side *side, const struct pj_inspected *recorded, const char *prefix,
                    struct pj_error *error)
{
    if (recorded->partition < 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "%s was not written by stream-record: without offsets it cannot be "
                              "compared with a topic",
                              recorded->topic);
    if (recorded->changes != NULL && strcmp(recorded->changes, "[]") != 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "fields of %s [%d] were changed when it was recorded (%s): its "
                              "records are not those of the topic",
                              recorded->topic, (int)recorded->partition, recorded->changes);
    side->recorded = recorded;
    const char *name = pj_topic_name(side->topic, prefix, recorded->topic);
    if (name != side->topic)
        pj_text_whole(side->topic, sizeof side->topic, "%s", name);
    side->sum = pj_recording_sum_new();
    side->done = recorded->begin >= recorded->next;
    return 0;
}

static struct side *find(const struct comparison *comparison, const struct pj_read *read)
{
    for (size_t i = 0; i < comparison->count && read->topic != NULL; i++) {
        struct side *side = &comparison->sides[i];
        if (side->recorded->partition == read->partition && strcmp(side->topic, read->topic) == 0)
            return side;
    }
    return NULL;
}

static int assign(struct comparison *comparison, struct pj_error *error)
{
    struct pj_reader_place *places = pj_calloc(comparison->count + 1, sizeof *places);
    for (size_t i = 0; i < comparison->count; i++) {
        const struct side *side = &comparison->sides[i];
        if (!side->done)
            places[comparison->left++] = (struct pj_reader_place){
                side->topic, side->recorded->partition, side->recorded->begin};
    }
    int status = comparison->left > 0
                     ? pj_reader_assign(comparison->reader, places, comparison->left, error)
                     : 0;
    free(places);
    return status;
}

/* --- reading --------------------------------------------------------------------------------- */

static void end_side(struct comparison *comparison, struct side *side)
{
    side->done = true;
    comparison->left--;
    pj_reader_leave(comparison->reader, side->topic, side->recorded->partition);
}

static int take(struct comparison *comparison, const struct pj_read *read, struct pj_error *error)
{
    struct side *side = find(comparison, read);
    if (read->kind == PJ_READ_TROUBLE)
        pj_text_show(comparison->trouble, sizeof comparison->trouble, ": %s", read->trouble);
    if (read->kind == PJ_READ_TROUBLE && read->is_missing)
        return pj_error_set(error, PJ_FATAL, "there is no %s [%d] to compare with: %s",
                            read->topic != NULL ? read->topic : "topic", (int)read->partition,
                            read->trouble);
    if (read->kind == PJ_READ_TROUBLE || side == NULL || side->done)
        return 0;
    comparison->moved_ms = pj_clock_monotonic_ms();
    comparison->trouble[0] = '\0';
    if (read->kind == PJ_READ_LOST)
        return pj_error_set(error, PJ_FATAL,
                            "%s [%d] has no record at the offset %lld any more: it was deleted "
                            "since, or the topic was recreated",
                            side->topic, (int)read->partition, (long long)side->recorded->begin);
    if (read->kind == PJ_READ_RECORD && read->offset < side->recorded->next) {
        pj_recording_sum_add(side->sum, &read->record);
        side->records++;
    }
    if (read->kind == PJ_READ_RECORD ? read->offset + 1 >= side->recorded->next
                                     : read->kind == PJ_READ_END)
        end_side(comparison, side);
    return 0;
}

/* The first of those that something is due of. */
static const struct side *waited_for(const struct comparison *comparison)
{
    const struct side *side = comparison->sides;
    while (side->done)
        side++;
    return side;
}

static int read_all(struct comparison *comparison, struct pj_error *error)
{
    comparison->moved_ms = pj_clock_monotonic_ms();
    while (comparison->left > 0) {
        struct pj_read read;
        if (*comparison->settings->stop != 0)
            return pj_error_set(error, PJ_FATAL, "a signal came before all was compared");
        if (pj_reader_next(comparison->reader, WAIT_MS, &read, error) != 0)
            return -1;
        if (read.kind != PJ_READ_NOTHING && take(comparison, &read, error) != 0)
            return -1;
        int64_t still_ms = pj_clock_monotonic_ms() - comparison->moved_ms;
        if (still_ms < comparison->settings->timeout_ms)
            continue;
        const struct side *side = waited_for(comparison);
        return pj_error_fatal(error, PJ_EXIT_UNAVAILABLE,
                              "Kafka has given nothing of %s [%d] to compare with for %lld s%s",
                              side->topic, (int)side->recorded->partition,
                              (long long)(still_ms / 1000), comparison->trouble);
    }
    return 0;
}

/* --- comparing ------------------------------------------------------------------------------- */

static int compare(const struct side *side, struct pj_error *error)
{
    const struct pj_inspected *recorded = side->recorded;
    char sum[PJ_RECORDING_SUM_TEXT];
    pj_recording_sum_text(side->sum, sum);
    if (side->records != recorded->records)
        return pj_error_set(error, PJ_FATAL,
                            "%s [%d] has %lld records from the offset %lld to %lld, and the "
                            "recording %lld",
                            side->topic, (int)recorded->partition, (long long)side->records,
                            (long long)recorded->begin, (long long)recorded->next,
                            (long long)recorded->records);
    if (strcmp(sum, recorded->sha256) != 0)
        return pj_error_set(error, PJ_FATAL,
                            "%s [%d] has other records from the offset %lld to %lld (sha256 %s) "
                            "than the recording (%s)",
                            side->topic, (int)recorded->partition, (long long)recorded->begin,
                            (long long)recorded->next, sum, recorded->sha256);
    return 0;
}

int pj_against_topics(const struct pj_inspection *inspection,
                      const struct pj_against_settings *settings, struct pj_error *error)
{
    struct comparison comparison = {.settings = settings,
                                    .sides = pj_calloc(inspection->count + 1, sizeof(struct side))};
    int status = 0;
    while (status == 0 && comparison.count < inspection->count) {
        status = add_side(&comparison.sides[comparison.count], &inspection->items[comparison.count],
                          settings->topic_prefix, error);
        comparison.count++;
    }
    if (status == 0)
        status = pj_reader_open(&comparison.reader, settings->kafka, "stream-record", error);
    if (status == 0)
        status = assign(&comparison, error);
    if (status == 0)
        status = read_all(&comparison, error);
    for (size_t i = 0; i < comparison.count; i++) {
        if (status == 0)
            status = compare(&comparison.sides[i], error);
        pj_recording_sum_free(comparison.sides[i].sum);
    }
    pj_reader_close(comparison.reader);
    free(comparison.sides);
    return status;
}

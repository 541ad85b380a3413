/* SPDX-License-Identifier: Apache-2.0 */
/* Which offsets a rebuild reads: --from and --to, partition by partition. */
#include "base/time_text.h"
#include "cli/rebuild_command.h"

#include <stdlib.h>
#include <string.h>

/* --- partitions ------------------------------------------------------------------------------ */

static int list_partitions(struct pj_rebuild_run *run, struct pj_kafka_extent **extents,
                           size_t *count, struct pj_error *error)
{
    const struct pj_projection *projection = run->projection;
    struct pj_kafka_topic *topics = calloc(projection->source_count, sizeof *topics);
    size_t partitions = 0;
    if (topics == NULL)
        return pj_error_set(error, PJ_RETRY, "out of memory");
    for (size_t i = 0; i < projection->source_count; i++)
        topics[i].name = projection->sources[i].topic;
    int status = pj_kafka_describe(run->kafka, topics, projection->source_count, error);
    for (size_t i = 0; i < projection->source_count && status == 0; i++) {
        if (topics[i].partitions == 0)
            status = pj_error_fatal(error, PJ_EXIT_FAILED,
                                    "the topic %s does not exist in Kafka; 'projectionist topics "
                                    "create' makes topics",
                                    topics[i].name);
        partitions += (size_t)topics[i].partitions;
    }
    *extents = status == 0 ? calloc(partitions + 1, sizeof **extents) : NULL;
    *count = 0;
    for (size_t i = 0; i < projection->source_count && *extents != NULL; i++) {
        for (int p = 0; p < topics[i].partitions; p++)
            (*extents)[(*count)++] = (struct pj_kafka_extent){
                .topic = projection->sources[i].topic,
                .partition = p,
                .compacted = strstr(topics[i].cleanup_policy, "compact") != NULL,
            };
    }
    free(topics);
    if (status == 0)
        status = pj_kafka_extents(run->kafka, *extents, *count, error);
    for (size_t i = 0; i < *count && status == 0; i++) {
        if ((*extents)[i].begin < 0 || (*extents)[i].end < 0)
            status = pj_error_set(error, PJ_RETRY,
                                  "where %s [%d] begins and ends is not known: it has no leader",
                                  (*extents)[i].topic, (int)(*extents)[i].partition);
    }
    return status;
}

/* --- --from and --to ------------------------------------------------------------------------- */

static int by_time(struct pj_rebuild_run *run, const char *option, const char *text,
                   const struct pj_kafka_extent *extents, size_t count, int64_t *offsets,
                   struct pj_error *error)
{
    int64_t microseconds;
    if (pj_time_parse(option, text, &microseconds, error) != 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "%s '%s' is none of %s, an offset, TOPIC/PARTITION=OFFSET,… and a "
                              "time such as 2026-11-21T05:06:34Z",
                              option, text, strcmp(option, "--to") == 0 ? "now" : "earliest");
    if (microseconds < 0)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "%s '%s' lies before 1970", option, text);
    if (pj_kafka_offsets_at(run->kafka, extents, count, (microseconds + 999) / 1000, offsets,
                            error) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (offsets[i] < 0)
            return pj_error_set(error, PJ_RETRY, "%s [%d] cannot be searched by time now",
                                extents[i].topic, (int)extents[i].partition);
    }
    return 0;
}

/* One "TOPIC/PARTITION=OFFSET". */
static int set_place(const char *option, char *place, const struct pj_kafka_extent *extents,
                     size_t count, int64_t *offsets, struct pj_error *error)
{
    char *equals = strchr(place, '=');
    char *slash = strrchr(place, '/');
    int64_t partition;
    int64_t offset;
    if (equals == NULL || slash == NULL || slash > equals)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "%s '%s' is not TOPIC/PARTITION=OFFSET", option,
                              place);
    *equals = '\0';
    *slash = '\0';
    if (pj_parse_integer(option, slash + 1, 0, INT32_MAX, &partition, error) != 0 ||
        pj_parse_integer(option, equals + 1, 0, INT64_MAX, &offset, error) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (extents[i].partition == partition && strcmp(extents[i].topic, place) == 0) {
            offsets[i] = offset;
            return 0;
        }
    }
    return pj_error_fatal(error, PJ_EXIT_USAGE, "%s: the projection reads no %s/%lld", option,
                          place, (long long)partition);
}

static int by_places(const char *option, const char *text, const struct pj_kafka_extent *extents,
                     size_t count, int64_t *offsets, struct pj_error *error)
{
    char *copy = strdup(text);
    char *rest = NULL;
    int status = copy != NULL ? 0 : pj_error_set(error, PJ_RETRY, "out of memory");
    for (char *place = status == 0 ? strtok_r(copy, ",", &rest) : NULL;
         place != NULL && status == 0; place = strtok_r(NULL, ",", &rest))
        status = set_place(option, place, extents, count, offsets, error);
    free(copy);
    return status;
}

/* Fills the offsets, which are those of the default (NULL or `word`) at first. */
static int find_offsets(struct pj_rebuild_run *run, const char *option, const char *word,
                        const char *text, const struct pj_kafka_extent *extents, size_t count,
                        int64_t *offsets, struct pj_error *error)
{
    int64_t offset;
    if (text == NULL || strcmp(text, word) == 0)
        return 0;
    if (strchr(text, '=') != NULL)
        return by_places(option, text, extents, count, offsets, error);
    if (*text == '\0' || strspn(text, "0123456789") != strlen(text))
        return by_time(run, option, text, extents, count, offsets, error);
    if (pj_parse_integer(option, text, 0, INT64_MAX, &offset, error) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        offsets[i] = offset;
    return 0;
}

static int check_range(const struct pj_kafka_extent *extent, const struct pj_offset_range *range,
                       struct pj_error *error)
{
    if (range->begin < extent->begin || range->end > extent->end)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--%s %lld lies outside of %s [%d], which reaches from %lld to %lld",
                              range->begin < extent->begin ? "from" : "to",
                              (long long)(range->begin < extent->begin ? range->begin : range->end),
                              extent->topic, (int)extent->partition, (long long)extent->begin,
                              (long long)extent->end);
    if (range->begin > range->end)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "--from lies behind --to in %s [%d]",
                              extent->topic, (int)extent->partition);
    return 0;
}

static int chosen_ranges(struct pj_rebuild_run *run, const struct pj_kafka_extent *extents,
                         size_t count, struct pj_offset_range *ranges, struct pj_error *error)
{
    int64_t *begins = calloc(count + 1, sizeof *begins);
    int64_t *ends = calloc(count + 1, sizeof *ends);
    if (begins == NULL || ends == NULL)
        abort();
    for (size_t i = 0; i < count; i++) {
        begins[i] = extents[i].begin;
        ends[i] = extents[i].end;
    }
    int status = 0;
    if (run->feed_count == 0)
        status = find_offsets(run, "--from", "earliest", run->options->from, extents, count, begins,
                              error);
    if (status == 0)
        status = find_offsets(run, "--to", "now", run->options->to, extents, count, ends, error);
    for (size_t i = 0; i < count && status == 0; i++) {
        ranges[i] =
            (struct pj_offset_range){extents[i].topic, extents[i].partition, begins[i], ends[i]};
        status = check_range(&extents[i], &ranges[i], error);
    }
    free(begins);
    free(ends);
    return status;
}

/* --- verify ---------------------------------------------------------------------------------- */

/* As far as the live group has read. What nobody has ever begun to read is counted. */
static int live_ranges(struct pj_rebuild_run *run, const struct pj_kafka_extent *extents,
                       size_t extent_count, struct pj_offset_range *ranges, size_t *count,
                       struct pj_error *error)
{
    size_t live_count;
    const struct pj_live_offset *live = pj_rebuild_live(run->rebuild, &live_count);
    *count = 0;
    if (live_count == 0)
        return pj_error_fatal(error, PJ_EXIT_FAILED,
                              "the group %s has read nothing from this Kafka; 'projectionist "
                              "status' lists the groups",
                              run->settings.group);
    for (size_t i = 0; i < extent_count; i++) {
        bool taken = false;
        run->held += extents[i].high > extents[i].end ? extents[i].high - extents[i].end : 0;
        for (size_t l = 0; l < live_count; l++) {
            if (live[l].partition != extents[i].partition ||
                strcmp(live[l].topic, extents[i].topic) != 0)
                continue;
            int64_t begin =
                extents[i].begin < live[l].next_offset ? extents[i].begin : live[l].next_offset;
            ranges[(*count)++] = (struct pj_offset_range){extents[i].topic, extents[i].partition,
                                                          begin, live[l].next_offset};
            taken = true;
        }
        if (taken || extents[i].high <= extents[i].begin)
            continue;
        fprintf(stderr,
                "%s [%d]: %lld records, of which no consumer of group %s has ever read one\n",
                extents[i].topic, (int)extents[i].partition,
                (long long)(extents[i].high - extents[i].begin), run->settings.group);
        run->untaken++;
    }
    return 0;
}

/* --- history --------------------------------------------------------------------------------- */

static const char *remedy(const struct pj_rebuild_run *run)
{
    return run->verify
               ? "--keep-retained keeps what followed from them"
               : "--keep-retained keeps what followed from them, --drop-retained lets it go";
}

/* What the group has read before the ranges begin. */
static int check_unread(const struct pj_rebuild_run *run, const struct pj_offset_range *ranges,
                        size_t count, struct pj_error *error)
{
    size_t unread_count;
    struct pj_offset_range *unread = pj_rebuild_unread(run->rebuild, ranges, count, &unread_count);
    if (unread == NULL)
        return 0;
    for (size_t i = 0; i < unread_count; i++)
        fprintf(stderr, "%s [%d]: offsets %lld to %lld were read by %s and %s\n", unread[i].topic,
                (int)unread[i].partition, (long long)unread[i].begin, (long long)unread[i].end - 1,
                run->settings.group,
                run->options->from != NULL ? "are left out" : "are no longer in the topic");
    free(unread);
    return pj_error_fatal(error, PJ_EXIT_GAP,
                          "the records of %zu ranges that rows may follow from are not there to "
                          "be read; %s",
                          unread_count, remedy(run));
}

/* Rows of the same tables that follow from other groups' records, of another cluster perhaps. */
static int check_others(const struct pj_rebuild_run *run, const struct pj_offset_range *ranges,
                        size_t count, struct pj_error *error)
{
    size_t other_count;
    const struct pj_other_group *others =
        pj_rebuild_others(run->rebuild, ranges, count, &other_count);
    for (size_t i = 0; i < other_count; i++)
        fprintf(stderr, "%s [%d]: offsets %lld to %lld were read by group %s of the cluster %s\n",
                others[i].read.topic, (int)others[i].read.partition,
                (long long)others[i].read.begin, (long long)others[i].read.end - 1, others[i].group,
                others[i].cluster_id);
    if (other_count == 0)
        return 0;
    bool foreign = strcmp(others[0].cluster_id, run->cluster_id) != 0;
    return pj_error_fatal(error, PJ_EXIT_GAP,
                          "rows of the same tables follow from records that group %.150s has read "
                          "from %s%.60s, and that are not read here; %s",
                          others[0].group, foreign ? "the cluster " : "the same topics",
                          foreign ? others[0].cluster_id : "", remedy(run));
}

/* A verify says which rows the topics do not explain; a rebuild would take them away. */
static int check_recordings(const struct pj_rebuild_run *run, struct pj_error *error)
{
    const char *names;
    if (run->verify)
        return 0;
    if (pj_rebuild_recordings(run->rebuild, &names, error) != 0)
        return -1;
    if (names == NULL)
        return 0;
    return pj_error_fatal(error, PJ_EXIT_GAP,
                          "rows follow from recordings that a rebuild before this one read "
                          "(%.300s); name them again by --from, or %s",
                          names, remedy(run));
}

/* Compaction removes records and leaves the offsets; only a count tells whether it did. */
static int check_compaction(const struct pj_rebuild_run *run, const struct pj_kafka_extent *extent,
                            const struct pj_live_offset *live, const struct pj_offset_range *ranges,
                            size_t count, struct pj_error *error)
{
    for (size_t s = 0; s < count; s++) {
        const struct pj_offset_range *range = &ranges[s];
        if (range->partition != extent->partition || strcmp(range->topic, extent->topic) != 0)
            continue;
        int64_t begin = range->begin > live->start_offset ? range->begin : live->start_offset;
        if (live->next_offset <= begin ||
            (live->counted_from <= begin && pj_rebuild_is_counted(run->rebuild, live, range)))
            return 0;
        return pj_error_fatal(error, PJ_EXIT_GAP,
                              "%.200s is compacted (cleanup.policy), and how many records group "
                              "%.150s read of partition %d%s is not known, so records may be gone "
                              "that rows follow from; %s",
                              extent->topic, run->settings.group, (int)extent->partition,
                              range->end < live->next_offset ? " up to there" : "", remedy(run));
    }
    return 0;
}

static int check_compactions(const struct pj_rebuild_run *run,
                             const struct pj_kafka_extent *extents, size_t extent_count,
                             const struct pj_offset_range *ranges, size_t count,
                             struct pj_error *error)
{
    size_t live_count;
    const struct pj_live_offset *live = pj_rebuild_live(run->rebuild, &live_count);
    for (size_t i = 0; i < extent_count; i++) {
        for (size_t l = 0; l < live_count && extents[i].compacted; l++) {
            if (live[l].partition == extents[i].partition &&
                strcmp(live[l].topic, extents[i].topic) == 0 &&
                check_compaction(run, &extents[i], &live[l], ranges, count, error) != 0)
                return -1;
        }
    }
    return 0;
}

static int check_history(const struct pj_rebuild_run *run, const struct pj_kafka_extent *extents,
                         size_t extent_count, const struct pj_offset_range *ranges, size_t count,
                         struct pj_error *error)
{
    /* Recordings are there to have it. */
    if (run->feed_count > 0 || run->options->keep_retained || run->options->drop_retained)
        return 0;
    return check_unread(run, ranges, count, error) != 0 ||
                   check_others(run, ranges, count, error) != 0 ||
                   check_recordings(run, error) != 0 ||
                   check_compactions(run, extents, extent_count, ranges, count, error) != 0
               ? -1
               : 0;
}

#define CANNOT_EXPLAIN                                                                             \
    "so it cannot explain the rows; 'projectionist offsets set' says where the group begins in it"

/* A topic that ends before the group's offset is not the one that it has read, and one that has
 * another id is not, either. */
static int check_topic(const struct pj_rebuild_run *run, const struct pj_kafka_extent *extent,
                       const struct pj_live_offset *live, struct pj_error *error)
{
    /* A gap is looked for below; recordings may have what it lacks. */
    if (live->stop_code != 0 && live->stop_code != PJ_EXIT_GAP) {
        pj_error_set(error, PJ_FATAL, "%s", live->stop_reason);
        error->exit_code = live->stop_code;
        return -1;
    }
    if (live->next_offset > extent->end)
        return pj_error_fatal(
            error, PJ_EXIT_TOPIC_RECREATED,
            "%s [%d] ends at %lld, before the offset %lld of group "
            "%s: the topic was recreated or has lost the end of its log, " CANNOT_EXPLAIN,
            extent->topic, (int)extent->partition, (long long)extent->end,
            (long long)live->next_offset, run->settings.group);
    if (pj_topic_is_another(extent->topic_id, live->topic_id, live->next_offset))
        return pj_error_fatal(error, PJ_EXIT_TOPIC_RECREATED,
                              "%s [%d] has the id %s, and group %s has read one with the id "
                              "%s: the topic was recreated, " CANNOT_EXPLAIN,
                              extent->topic, (int)extent->partition, extent->topic_id,
                              run->settings.group, live->topic_id);
    return 0;
}

static int check_topics(const struct pj_rebuild_run *run, const struct pj_kafka_extent *extents,
                        size_t extent_count, struct pj_error *error)
{
    size_t live_count;
    const struct pj_live_offset *live = pj_rebuild_live(run->rebuild, &live_count);
    for (size_t i = 0; i < extent_count; i++) {
        for (size_t l = 0; l < live_count; l++) {
            if (live[l].partition == extents[i].partition &&
                strcmp(live[l].topic, extents[i].topic) == 0 &&
                check_topic(run, &extents[i], &live[l], error) != 0)
                return -1;
        }
    }
    return 0;
}

/* Nothing that the group has yet to read is passed over: who accepts that says so elsewhere. */
static int check_begins(const struct pj_rebuild_run *run, const struct pj_kafka_extent *extents,
                        const struct pj_offset_range *ranges, size_t extent_count,
                        struct pj_error *error)
{
    size_t live_count;
    const struct pj_live_offset *live = pj_rebuild_live(run->rebuild, &live_count);
    if (run->feed_count > 0)
        return 0; /* recordings are there to have it */
    for (size_t i = 0; i < extent_count; i++) {
        for (size_t l = 0; l < live_count; l++) {
            if (live[l].partition != extents[i].partition ||
                strcmp(live[l].topic, extents[i].topic) != 0)
                continue;
            if (extents[i].begin > live[l].next_offset)
                return pj_error_fatal(
                    error, PJ_EXIT_GAP,
                    "%s [%d] lacks the offsets %lld to %lld, removed by retention before group %s "
                    "read them; run %s with --accept-gap first",
                    extents[i].topic, (int)extents[i].partition, (long long)live[l].next_offset,
                    (long long)extents[i].begin - 1, run->settings.group, run->projection->name);
            if (!run->verify && ranges[i].begin > live[l].next_offset)
                return pj_error_fatal(
                    error, PJ_EXIT_USAGE,
                    "--from %lld lies behind the offset %lld of group %s in %s [%d]: the records "
                    "between them would never be read",
                    (long long)ranges[i].begin, (long long)live[l].next_offset, run->settings.group,
                    extents[i].topic, (int)extents[i].partition);
        }
    }
    return 0;
}

int pj_rebuild_range_list(struct pj_rebuild_run *run, struct pj_offset_range **out, size_t *count,
                          struct pj_error *error)
{
    struct pj_kafka_extent *extents = NULL;
    *out = NULL;
    int status = list_partitions(run, &extents, count, error);
    struct pj_offset_range *ranges = calloc(*count + 1, sizeof *ranges);
    if (ranges == NULL)
        abort();
    if (status == 0)
        status = check_topics(run, extents, *count, error);
    size_t extent_count = *count;
    if (status == 0)
        status = run->verify ? live_ranges(run, extents, extent_count, ranges, count, error)
                             : chosen_ranges(run, extents, extent_count, ranges, error);
    if (status == 0)
        status = check_begins(run, extents, ranges, extent_count, error);
    if (status == 0) {
        qsort(ranges, *count, sizeof *ranges, pj_offset_range_compare);
        status = check_history(run, extents, extent_count, ranges, *count, error);
    }
    free(extents);
    if (status != 0) {
        free(ranges);
        return -1;
    }
    *out = ranges;
    return 0;
}

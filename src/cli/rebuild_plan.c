/* SPDX-License-Identifier: Apache-2.0 */
/* Which offsets a rebuild reads: --from and --to, partition by partition. */
#include "base/time_text.h"
#include "cli/rebuild_command.h"

#include <stdlib.h>
#include <string.h>

/* --- partitions ------------------------------------------------------------------------------ */

static int list_partitions(struct pj_rebuild_run *run, struct pj_kafka_range **ranges,
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
    *ranges = status == 0 ? calloc(partitions + 1, sizeof **ranges) : NULL;
    *count = 0;
    for (size_t i = 0; i < projection->source_count && *ranges != NULL; i++) {
        for (int p = 0; p < topics[i].partitions; p++)
            (*ranges)[(*count)++] = (struct pj_kafka_range){
                .topic = projection->sources[i].topic,
                .partition = p,
                .compacted = strstr(topics[i].cleanup_policy, "compact") != NULL,
            };
    }
    free(topics);
    if (status == 0)
        status = pj_kafka_ranges(run->kafka, *ranges, *count, error);
    for (size_t i = 0; i < *count && status == 0; i++) {
        if ((*ranges)[i].begin < 0 || (*ranges)[i].end < 0)
            status = pj_error_set(error, PJ_RETRY,
                                  "where %s [%d] begins and ends is not known: it has no leader",
                                  (*ranges)[i].topic, (int)(*ranges)[i].partition);
    }
    return status;
}

/* --- --from and --to ------------------------------------------------------------------------- */

static int by_time(struct pj_rebuild_run *run, const char *option, const char *text,
                   const struct pj_kafka_range *ranges, size_t count, int64_t *offsets,
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
    if (pj_kafka_offsets_at(run->kafka, ranges, count, (microseconds + 999) / 1000, offsets,
                            error) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (offsets[i] < 0)
            return pj_error_set(error, PJ_RETRY, "%s [%d] cannot be searched by time now",
                                ranges[i].topic, (int)ranges[i].partition);
    }
    return 0;
}

/* One "TOPIC/PARTITION=OFFSET". */
static int set_place(const char *option, char *place, const struct pj_kafka_range *ranges,
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
        if (ranges[i].partition == partition && strcmp(ranges[i].topic, place) == 0) {
            offsets[i] = offset;
            return 0;
        }
    }
    return pj_error_fatal(error, PJ_EXIT_USAGE, "%s: the projection reads no %s/%lld", option,
                          place, (long long)partition);
}

static int by_places(const char *option, const char *text, const struct pj_kafka_range *ranges,
                     size_t count, int64_t *offsets, struct pj_error *error)
{
    char *copy = strdup(text);
    char *rest = NULL;
    int status = copy != NULL ? 0 : pj_error_set(error, PJ_RETRY, "out of memory");
    for (char *place = status == 0 ? strtok_r(copy, ",", &rest) : NULL;
         place != NULL && status == 0; place = strtok_r(NULL, ",", &rest))
        status = set_place(option, place, ranges, count, offsets, error);
    free(copy);
    return status;
}

/* Fills the offsets, which are those of the default (NULL or `word`) at first. */
static int find_offsets(struct pj_rebuild_run *run, const char *option, const char *word,
                        const char *text, const struct pj_kafka_range *ranges, size_t count,
                        int64_t *offsets, struct pj_error *error)
{
    int64_t offset;
    if (text == NULL || strcmp(text, word) == 0)
        return 0;
    if (strchr(text, '=') != NULL)
        return by_places(option, text, ranges, count, offsets, error);
    if (*text == '\0' || strspn(text, "0123456789") != strlen(text))
        return by_time(run, option, text, ranges, count, offsets, error);
    if (pj_parse_integer(option, text, 0, INT64_MAX, &offset, error) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        offsets[i] = offset;
    return 0;
}

static int check_stretch(const struct pj_kafka_range *range, const struct pj_stretch *stretch,
                         struct pj_error *error)
{
    if (stretch->begin < range->begin || stretch->end > range->end)
        return pj_error_fatal(
            error, PJ_EXIT_USAGE,
            "--%s %lld lies outside of %s [%d], which reaches from %lld to %lld",
            stretch->begin < range->begin ? "from" : "to",
            (long long)(stretch->begin < range->begin ? stretch->begin : stretch->end),
            range->topic, (int)range->partition, (long long)range->begin, (long long)range->end);
    if (stretch->begin > stretch->end)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "--from lies behind --to in %s [%d]",
                              range->topic, (int)range->partition);
    return 0;
}

static int chosen_stretches(struct pj_rebuild_run *run, const struct pj_kafka_range *ranges,
                            size_t count, struct pj_stretch *stretches, struct pj_error *error)
{
    int64_t *begins = calloc(count + 1, sizeof *begins);
    int64_t *ends = calloc(count + 1, sizeof *ends);
    if (begins == NULL || ends == NULL)
        abort();
    for (size_t i = 0; i < count; i++) {
        begins[i] = ranges[i].begin;
        ends[i] = ranges[i].end;
    }
    int status = 0;
    if (run->feed_count == 0)
        status = find_offsets(run, "--from", "earliest", run->options->from, ranges, count, begins,
                              error);
    if (status == 0)
        status = find_offsets(run, "--to", "now", run->options->to, ranges, count, ends, error);
    for (size_t i = 0; i < count && status == 0; i++) {
        stretches[i] =
            (struct pj_stretch){ranges[i].topic, ranges[i].partition, begins[i], ends[i]};
        status = check_stretch(&ranges[i], &stretches[i], error);
    }
    free(begins);
    free(ends);
    return status;
}

/* --- verify ---------------------------------------------------------------------------------- */

/* As far as the live group has read. What nobody has ever begun to read is counted. */
static int live_stretches(struct pj_rebuild_run *run, const struct pj_kafka_range *ranges,
                          size_t range_count, struct pj_stretch *stretches, size_t *count,
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
    for (size_t i = 0; i < range_count; i++) {
        bool taken = false;
        run->held += ranges[i].high > ranges[i].end ? ranges[i].high - ranges[i].end : 0;
        for (size_t l = 0; l < live_count; l++) {
            if (live[l].partition != ranges[i].partition ||
                strcmp(live[l].topic, ranges[i].topic) != 0)
                continue;
            int64_t begin =
                ranges[i].begin < live[l].next_offset ? ranges[i].begin : live[l].next_offset;
            stretches[(*count)++] = (struct pj_stretch){ranges[i].topic, ranges[i].partition, begin,
                                                        live[l].next_offset};
            taken = true;
        }
        if (taken || ranges[i].high <= ranges[i].begin)
            continue;
        fprintf(stderr,
                "%s [%d]: %lld records, of which no consumer of group %s has ever read one\n",
                ranges[i].topic, (int)ranges[i].partition,
                (long long)(ranges[i].high - ranges[i].begin), run->settings.group);
        run->untaken++;
    }
    return 0;
}

/* --- history --------------------------------------------------------------------------------- */

static const char *remedy(const struct pj_rebuild_run *run)
{
    return run->verify ? "--keep-older keeps what followed from them"
                       : "--keep-older keeps what followed from them, --drop-older lets it go";
}

/* What the group has read before the stretches begin. */
static int check_unread(const struct pj_rebuild_run *run, const struct pj_stretch *stretches,
                        size_t count, struct pj_error *error)
{
    size_t unread_count;
    struct pj_stretch *unread = pj_rebuild_unread(run->rebuild, stretches, count, &unread_count);
    if (unread == NULL)
        return 0;
    for (size_t i = 0; i < unread_count; i++)
        fprintf(stderr, "%s [%d]: offsets %lld to %lld were read by %s and %s\n", unread[i].topic,
                (int)unread[i].partition, (long long)unread[i].begin, (long long)unread[i].end - 1,
                run->settings.group,
                run->options->from != NULL ? "are left out" : "are no longer in the topic");
    free(unread);
    return pj_error_fatal(error, PJ_EXIT_GAP,
                          "the records of %zu stretches that rows may follow from are not there to "
                          "be read; %s",
                          unread_count, remedy(run));
}

/* Rows of the same tables that follow from other groups' records, of another cluster perhaps. */
static int check_others(const struct pj_rebuild_run *run, const struct pj_stretch *stretches,
                        size_t count, struct pj_error *error)
{
    size_t other_count;
    const struct pj_other_group *others =
        pj_rebuild_others(run->rebuild, stretches, count, &other_count);
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
    char *names;
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
static int check_compaction(const struct pj_rebuild_run *run, const struct pj_kafka_range *range,
                            const struct pj_live_offset *live, const struct pj_stretch *stretches,
                            size_t count, struct pj_error *error)
{
    for (size_t s = 0; s < count; s++) {
        const struct pj_stretch *stretch = &stretches[s];
        if (stretch->partition != range->partition || strcmp(stretch->topic, range->topic) != 0)
            continue;
        int64_t begin = stretch->begin > live->start_offset ? stretch->begin : live->start_offset;
        if (live->next_offset <= begin ||
            (live->counted_from <= begin && pj_rebuild_is_counted(run->rebuild, live, stretch)))
            return 0;
        return pj_error_fatal(error, PJ_EXIT_GAP,
                              "%.200s is compacted (cleanup.policy), and how many records group "
                              "%.150s read of partition %d%s is not known, so records may be gone "
                              "that rows follow from; %s",
                              range->topic, run->settings.group, (int)range->partition,
                              stretch->end < live->next_offset ? " up to there" : "", remedy(run));
    }
    return 0;
}

static int check_compactions(const struct pj_rebuild_run *run, const struct pj_kafka_range *ranges,
                             size_t range_count, const struct pj_stretch *stretches, size_t count,
                             struct pj_error *error)
{
    size_t live_count;
    const struct pj_live_offset *live = pj_rebuild_live(run->rebuild, &live_count);
    for (size_t i = 0; i < range_count; i++) {
        for (size_t l = 0; l < live_count && ranges[i].compacted; l++) {
            if (live[l].partition == ranges[i].partition &&
                strcmp(live[l].topic, ranges[i].topic) == 0 &&
                check_compaction(run, &ranges[i], &live[l], stretches, count, error) != 0)
                return -1;
        }
    }
    return 0;
}

static int check_history(const struct pj_rebuild_run *run, const struct pj_kafka_range *ranges,
                         size_t range_count, const struct pj_stretch *stretches, size_t count,
                         struct pj_error *error)
{
    /* Recordings are there to have it. */
    if (run->feed_count > 0 || run->options->keep_older || run->options->drop_older)
        return 0;
    return check_unread(run, stretches, count, error) != 0 ||
                   check_others(run, stretches, count, error) != 0 ||
                   check_recordings(run, error) != 0 ||
                   check_compactions(run, ranges, range_count, stretches, count, error) != 0
               ? -1
               : 0;
}

#define CANNOT_EXPLAIN                                                                             \
    "so it cannot explain the rows; 'projectionist offsets set' says where the group begins in it"

/* A topic that ends before the group's offset is not the one that it has read, and one that has
 * another id is not, either. */
static int check_topic(const struct pj_rebuild_run *run, const struct pj_kafka_range *range,
                       const struct pj_live_offset *live, struct pj_error *error)
{
    /* A gap is looked for below; recordings may have what it lacks. */
    if (live->stop_code != 0 && live->stop_code != PJ_EXIT_GAP) {
        pj_error_set(error, PJ_FATAL, "%s", live->stop_reason);
        error->exit_code = live->stop_code;
        return -1;
    }
    if (live->next_offset > range->end)
        return pj_error_fatal(
            error, PJ_EXIT_TOPIC_RECREATED,
            "%s [%d] ends at %lld, before the offset %lld of group "
            "%s: the topic was recreated or has lost the end of its log, " CANNOT_EXPLAIN,
            range->topic, (int)range->partition, (long long)range->end,
            (long long)live->next_offset, run->settings.group);
    if (pj_topic_is_another(range->topic_id, live->topic_id, live->next_offset))
        return pj_error_fatal(error, PJ_EXIT_TOPIC_RECREATED,
                              "%s [%d] has the id %s, and group %s has read one with the id "
                              "%s: the topic was recreated, " CANNOT_EXPLAIN,
                              range->topic, (int)range->partition, range->topic_id,
                              run->settings.group, live->topic_id);
    return 0;
}

static int check_topics(const struct pj_rebuild_run *run, const struct pj_kafka_range *ranges,
                        size_t range_count, struct pj_error *error)
{
    size_t live_count;
    const struct pj_live_offset *live = pj_rebuild_live(run->rebuild, &live_count);
    for (size_t i = 0; i < range_count; i++) {
        for (size_t l = 0; l < live_count; l++) {
            if (live[l].partition == ranges[i].partition &&
                strcmp(live[l].topic, ranges[i].topic) == 0 &&
                check_topic(run, &ranges[i], &live[l], error) != 0)
                return -1;
        }
    }
    return 0;
}

/* Nothing that the group has yet to read is passed over: who accepts that says so elsewhere. */
static int check_begins(const struct pj_rebuild_run *run, const struct pj_kafka_range *ranges,
                        const struct pj_stretch *stretches, size_t range_count,
                        struct pj_error *error)
{
    size_t live_count;
    const struct pj_live_offset *live = pj_rebuild_live(run->rebuild, &live_count);
    if (run->feed_count > 0)
        return 0; /* recordings are there to have it */
    for (size_t i = 0; i < range_count; i++) {
        for (size_t l = 0; l < live_count; l++) {
            if (live[l].partition != ranges[i].partition ||
                strcmp(live[l].topic, ranges[i].topic) != 0)
                continue;
            if (ranges[i].begin > live[l].next_offset)
                return pj_error_fatal(
                    error, PJ_EXIT_GAP,
                    "%s [%d] lacks the offsets %lld to %lld, removed by retention before group %s "
                    "read them; run %s with --accept-gap first",
                    ranges[i].topic, (int)ranges[i].partition, (long long)live[l].next_offset,
                    (long long)ranges[i].begin - 1, run->settings.group, run->projection->name);
            if (!run->verify && stretches[i].begin > live[l].next_offset)
                return pj_error_fatal(
                    error, PJ_EXIT_USAGE,
                    "--from %lld lies behind the offset %lld of group %s in %s [%d]: the records "
                    "between them would never be read",
                    (long long)stretches[i].begin, (long long)live[l].next_offset,
                    run->settings.group, ranges[i].topic, (int)ranges[i].partition);
        }
    }
    return 0;
}

int pj_rebuild_stretch_list(struct pj_rebuild_run *run, struct pj_stretch **out, size_t *count,
                            struct pj_error *error)
{
    struct pj_kafka_range *ranges = NULL;
    *out = NULL;
    int status = list_partitions(run, &ranges, count, error);
    struct pj_stretch *stretches = calloc(*count + 1, sizeof *stretches);
    if (stretches == NULL)
        abort();
    if (status == 0)
        status = check_topics(run, ranges, *count, error);
    size_t range_count = *count;
    if (status == 0)
        status = run->verify ? live_stretches(run, ranges, range_count, stretches, count, error)
                             : chosen_stretches(run, ranges, range_count, stretches, error);
    if (status == 0)
        status = check_begins(run, ranges, stretches, range_count, error);
    if (status == 0) {
        qsort(stretches, *count, sizeof *stretches, pj_stretch_compare);
        status = check_history(run, ranges, range_count, stretches, *count, error);
    }
    free(ranges);
    if (status != 0) {
        free(stretches);
        return -1;
    }
    *out = stretches;
    return 0;
}

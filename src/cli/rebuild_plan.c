/* SPDX-License-Identifier: Apache-2.0 */
/* Which offsets a rebuild reads: --from and --to, partition by partition. */
#include "cli/rebuild_command.h"

#include <stdlib.h>
#include <string.h>

/* --- partitions ------------------------------------------------------------------------------ */

static int list_partitions(struct pj_rebuild_run *run, struct pj_error *error)
{
    const struct pj_projection *projection = run->projection;
    const char **topics =
        pj_arena_alloc(run->cli->arena, projection->source_count * sizeof *topics);
    for (size_t i = 0; i < projection->source_count; i++)
        topics[i] = projection->sources[i].topic;
    if (pj_cli_extents(run->cli, topics, projection->source_count, &run->extents,
                       &run->extent_count, error) != 0)
        return -1;
    for (size_t i = 0; i < run->extent_count; i++) {
        if (pj_cli_check_extent(&run->extents[i], error) != 0)
            return -1;
    }
    run->ranges = pj_arena_alloc(run->cli->arena, run->extent_count * sizeof *run->ranges);
    return 0;
}

/* How far the live group is in the partition, or NULL. */
static const struct pj_live_offset *find_live(const struct pj_rebuild_run *run,
                                              const struct pj_kafka_extent *extent)
{
    size_t count;
    const struct pj_live_offset *live = pj_rebuild_live(run->rebuild, &count);
    for (size_t i = 0; i < count; i++) {
        if (live[i].partition == extent->partition && strcmp(live[i].topic, extent->topic) == 0)
            return &live[i];
    }
    return NULL;
}

/* --- --from and --to ------------------------------------------------------------------------- */

/* One "TOPIC/PARTITION=OFFSET". */
static int set_place(const struct pj_rebuild_run *run, const char *option, char *place,
                     int64_t *offsets, struct pj_error *error)
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
    for (size_t i = 0; i < run->extent_count; i++) {
        if (run->extents[i].partition == partition && strcmp(run->extents[i].topic, place) == 0) {
            offsets[i] = offset;
            return 0;
        }
    }
    return pj_error_fatal(error, PJ_EXIT_USAGE, "%s: the projection reads no %s/%lld", option,
                          place, (long long)partition);
}

/* Fills the offsets, which are those of the default (NULL or `word`) at first. */
static int find_offsets(struct pj_rebuild_run *run, const char *option, const char *word,
                        const char *text, int64_t *offsets, struct pj_error *error)
{
    struct pj_arena *arena = run->cli->arena;
    int64_t offset;
    if (text == NULL || strcmp(text, word) == 0)
        return 0;
    if (strchr(text, '=') != NULL) {
        char *rest = NULL;
        int status = 0;
        for (char *place = strtok_r(pj_arena_string(arena, text, strlen(text)), ",", &rest);
             place != NULL && status == 0; place = strtok_r(NULL, ",", &rest))
            status = set_place(run, option, place, offsets, error);
        return status;
    }
    if (*text == '\0' || strspn(text, "0123456789") != strlen(text))
        return pj_cli_offsets_at(
            run->cli, option,
            pj_arena_printf(arena, "%s, an offset, TOPIC/PARTITION=OFFSET,…", word), text,
            run->extents, run->extent_count, offsets, error);
    if (pj_parse_integer(option, text, 0, INT64_MAX, &offset, error) != 0)
        return -1;
    for (size_t i = 0; i < run->extent_count; i++)
        offsets[i] = offset;
    return 0;
}

static int check_range(const struct pj_kafka_extent *extent, const struct pj_offset_range *range,
                       struct pj_error *error)
{
    if (range->begin < extent->begin || range->end > extent->end)
        return pj_error_fatal(error, PJ_EXIT_USAGE,
                              "--%s %lld is outside of %s [%d], which reaches from %lld to %lld",
                              range->begin < extent->begin ? "from" : "to",
                              (long long)(range->begin < extent->begin ? range->begin : range->end),
                              extent->topic, (int)extent->partition, (long long)extent->begin,
                              (long long)extent->end);
    if (range->begin > range->end)
        return pj_error_fatal(error, PJ_EXIT_USAGE, "--from is after --to in %s [%d]",
                              extent->topic, (int)extent->partition);
    return 0;
}

static int chosen_ranges(struct pj_rebuild_run *run, struct pj_error *error)
{
    size_t count = run->extent_count;
    int64_t *begins = pj_arena_alloc(run->cli->arena, count * sizeof *begins);
    int64_t *ends = pj_arena_alloc(run->cli->arena, count * sizeof *ends);
    for (size_t i = 0; i < count; i++) {
        begins[i] = run->extents[i].begin;
        ends[i] = run->extents[i].end;
    }
    if ((run->feed_count == 0 &&
         find_offsets(run, "--from", "earliest", run->options->from, begins, error) != 0) ||
        find_offsets(run, "--to", "now", run->options->to, ends, error) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        const struct pj_kafka_extent *extent = &run->extents[i];
        run->ranges[run->range_count++] =
            (struct pj_offset_range){extent->topic, extent->partition, begins[i], ends[i]};
        if (check_range(extent, &run->ranges[i], error) != 0)
            return -1;
    }
    return 0;
}

/* --- verify ---------------------------------------------------------------------------------- */

/* As far as the live group has read. What no consumer ever began to read is counted. */
static int live_ranges(struct pj_rebuild_run *run, struct pj_error *error)
{
    size_t live_count;
    (void)pj_rebuild_live(run->rebuild, &live_count);
    if (live_count == 0)
        return pj_error_fatal(error, PJ_EXIT_FAILED,
                              "the group %s has read nothing from this Kafka; 'projectionist "
                              "status' lists the groups",
                              run->settings.group);
    for (size_t i = 0; i < run->extent_count; i++) {
        const struct pj_kafka_extent *extent = &run->extents[i];
        const struct pj_live_offset *live = find_live(run, extent);
        run->held += extent->high > extent->end ? extent->high - extent->end : 0;
        if (live != NULL) {
            int64_t end = live->next_offset;
            run->ranges[run->range_count++] = (struct pj_offset_range){
                extent->topic, extent->partition, extent->begin < end ? extent->begin : end, end};
        } else if (extent->high > extent->begin) {
            fprintf(stderr, "%s [%d]: %lld records, none of which group %s has ever read\n",
                    extent->topic, (int)extent->partition,
                    (long long)(extent->high - extent->begin), run->settings.group);
            run->untaken++;
        }
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
static int check_unread(const struct pj_rebuild_run *run, struct pj_error *error)
{
    size_t unread_count;
    struct pj_offset_range *unread =
        pj_rebuild_unread(run->rebuild, run->ranges, run->range_count, &unread_count);
    if (unread == NULL)
        return 0;
    for (size_t i = 0; i < unread_count; i++)
        fprintf(stderr, "%s [%d]: offsets %lld to %lld were read by %s and %s\n", unread[i].topic,
                (int)unread[i].partition, (long long)unread[i].begin, (long long)unread[i].end - 1,
                run->settings.group,
                run->options->from != NULL ? "are left out" : "are no longer in the topic");
    free(unread);
    return pj_error_fatal(error, PJ_EXIT_GAP,
                          "the records of %zu ranges that rows may follow from cannot be read; %s",
                          unread_count, remedy(run));
}

/* Rows of the same tables that follow from other groups' records, of another cluster perhaps. */
static int check_others(const struct pj_rebuild_run *run, struct pj_error *error)
{
    size_t other_count;
    const struct pj_other_group *others =
        pj_rebuild_others(run->rebuild, run->ranges, run->range_count, &other_count);
    for (size_t i = 0; i < other_count; i++)
        fprintf(stderr, "%s [%d]: offsets %lld to %lld were read by group %s of the cluster %s\n",
                others[i].read.topic, (int)others[i].read.partition,
                (long long)others[i].read.begin, (long long)others[i].read.end - 1, others[i].group,
                others[i].cluster_id);
    if (other_count == 0)
        return 0;
    bool foreign = strcmp(others[0].cluster_id, run->cli->cluster_id) != 0;
    return pj_error_fatal(error, PJ_EXIT_GAP,
                          "rows of the same tables follow from records that group %.150s has read "
                          "from %s%.60s, and that are not read here; %s",
                          others[0].group, foreign ? "the cluster " : "the same topics",
                          foreign ? others[0].cluster_id : "", remedy(run));
}

/* A verify says which rows the topics do not explain; a rebuild would remove them. */
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
                          "(%.300s); give them again with --from, or %s",
                          names, remedy(run));
}

/* Compaction removes records and leaves the offsets; only a count shows whether it did. */
static int check_compaction(const struct pj_rebuild_run *run, const struct pj_kafka_extent *extent,
                            struct pj_error *error)
{
    const struct pj_live_offset *live = find_live(run, extent);
    for (size_t i = 0; i < run->range_count && live != NULL; i++) {
        const struct pj_offset_range *range = &run->ranges[i];
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

static int check_history(const struct pj_rebuild_run *run, struct pj_error *error)
{
    /* Recordings are given to supply it. */
    if (run->feed_count > 0 || run->options->keep_retained || run->options->drop_retained)
        return 0;
    if (check_unread(run, error) != 0 || check_others(run, error) != 0 ||
        check_recordings(run, error) != 0)
        return -1;
    for (size_t i = 0; i < run->extent_count; i++) {
        if (run->extents[i].compacted && check_compaction(run, &run->extents[i], error) != 0)
            return -1;
    }
    return 0;
}

#define CANNOT_EXPLAIN                                                                             \
    "so it cannot explain the rows; 'projectionist offsets set' says where the group begins in it"

/* A topic that ends before the group's offset is not the one that it has read, and one that has
 * another id is not, either. */
static int check_topic(const struct pj_rebuild_run *run, const struct pj_kafka_extent *extent,
                       const struct pj_live_offset *live, struct pj_error *error)
{
    /* A gap is looked for later; recordings may have what it lacks. */
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

/* No record that the group has yet to read may be skipped: that is accepted elsewhere. */
static int check_begin(const struct pj_rebuild_run *run, const struct pj_kafka_extent *extent,
                       const struct pj_live_offset *live, int64_t begin, struct pj_error *error)
{
    if (extent->begin > live->next_offset)
        return pj_error_fatal(
            error, PJ_EXIT_GAP,
            "%s [%d] lacks the offsets %lld to %lld, removed by retention before group %s "
            "read them; run %s with --accept-gap first",
            extent->topic, (int)extent->partition, (long long)live->next_offset,
            (long long)extent->begin - 1, run->settings.group, run->projection->name);
    if (begin > live->next_offset)
        return pj_error_fatal(
            error, PJ_EXIT_USAGE,
            "--from %lld is after the offset %lld of group %s in %s [%d]: the records "
            "between them would never be read",
            (long long)begin, (long long)live->next_offset, run->settings.group, extent->topic,
            (int)extent->partition);
    return 0;
}

int pj_rebuild_choose_ranges(struct pj_rebuild_run *run, struct pj_error *error)
{
    if (list_partitions(run, error) != 0)
        return -1;
    for (size_t i = 0; i < run->extent_count; i++) {
        const struct pj_live_offset *live = find_live(run, &run->extents[i]);
        if (live != NULL && check_topic(run, &run->extents[i], live, error) != 0)
            return -1;
    }
    if ((run->verify ? live_ranges(run, error) : chosen_ranges(run, error)) != 0)
        return -1;
    /* Recordings are given to supply what is missing. */
    for (size_t i = 0; i < run->extent_count && run->feed_count == 0; i++) {
        const struct pj_live_offset *live = find_live(run, &run->extents[i]);
        if (live != NULL && check_begin(run, &run->extents[i], live,
                                        run->verify ? 0 : run->ranges[i].begin, error) != 0)
            return -1;
    }
    if (run->range_count > 1)
        qsort(run->ranges, run->range_count, sizeof *run->ranges, pj_offset_range_compare);
    return check_history(run, error);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/consumer_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

struct pj_partition *pj_consumer_find_partition(struct pj_consumer *consumer, const char *topic,
                                                int32_t number)
{
    for (size_t i = 0; i < consumer->partition_count; i++) {
        struct pj_partition *partition = consumer->partitions[i];
        if (partition->number == number && strcmp(partition->topic, topic) == 0)
            return partition;
    }
    size_t topic_index = 0;
    while (topic_index < consumer->topic_count && strcmp(consumer->topics[topic_index], topic) != 0)
        topic_index++;
    if (topic_index == consumer->topic_count)
        return NULL;
    if (consumer->partition_count == PJ_PARTITIONS_MOST) {
        consumer->fatal = true;
        pj_error_fatal(&consumer->fatal_error, PJ_EXIT_FAILED,
                       "the topics of this consumer have more than %d partitions, the most that "
                       "one can read",
                       PJ_PARTITIONS_MOST);
        return NULL;
    }
    struct pj_partition *partition = pj_alloc(sizeof *partition);
    partition->topic_index = topic_index;
    partition->topic = consumer->topics[topic_index];
    partition->topic_id = consumer->topic_ids[topic_index].id;
    partition->number = number;
    partition->group_offset = -1;
    partition->start_offset = -1;
    partition->stop_offset = -1;
    partition->begin = partition->stable_end = partition->wanted = -1;
    partition->read_offset = -1;
    partition->durable_offset = partition->noted_offset = -1;
    consumer->partitions[consumer->partition_count++] = partition;
    return partition;
}

void pj_partition_free(struct pj_partition *partition)
{
    free(partition->stop_reason);
    free(partition);
}

static int compare_partitions(const void *a, const void *b)
{
    const struct pj_partition *x = *(struct pj_partition *const *)a;
    const struct pj_partition *y = *(struct pj_partition *const *)b;
    int compared = strcmp(x->topic, y->topic);
    return compared != 0 ? compared : (x->number > y->number) - (x->number < y->number);
}

void pj_consumer_forget_rebalance(struct pj_consumer *consumer)
{
    free(consumer->rebalance.partitions);
    consumer->rebalance = (struct pj_rebalance){.kind = PJ_REBALANCE_NONE};
    if (consumer->rebalance_list != NULL)
        rd_kafka_topic_partition_list_destroy(consumer->rebalance_list);
    consumer->rebalance_list = NULL;
}

/* An assignment or a revocation to be carried out, of at most so many partitions. */
static void begin_rebalance(struct pj_consumer *consumer, enum pj_rebalance_kind kind, size_t most)
{
    pj_consumer_forget_rebalance(consumer);
    consumer->rebalance.kind = kind;
    consumer->rebalance.partitions = pj_calloc(most, sizeof *consumer->rebalance.partitions);
}

static void add_to_rebalance(struct pj_rebalance *rebalance, struct pj_partition *partition)
{
    if (partition != NULL)
        rebalance->partitions[rebalance->count++] = partition;
}

static void sort_rebalance(struct pj_rebalance *rebalance)
{
    qsort(rebalance->partitions, rebalance->count, sizeof *rebalance->partitions,
          compare_partitions);
}

static bool is_cooperative(const struct pj_consumer *consumer)
{
    const char *protocol = rd_kafka_rebalance_protocol(consumer->kafka);
    return protocol != NULL && strcmp(protocol, "COOPERATIVE") == 0; /* NULL: already closed */
}

/*
 * A member that rejoins during a rebalance may never get the revocation: librdkafka keeps what we
 * gave up, and reports only the rest of the next assignment (2.16, seen). What it kept counts as
 * assigned, too.
 */
static void add_kept(struct pj_consumer *consumer, const rd_kafka_topic_partition_list_t *kept)
{
    for (size_t i = 0; i < consumer->partition_count; i++)
        consumer->partitions[i]->kept = false;
    for (int i = 0; i < kept->cnt; i++) {
        struct pj_partition *partition =
            pj_consumer_find_partition(consumer, kept->elems[i].topic, kept->elems[i].partition);
        if (partition == NULL || partition->assigned)
            continue;
        partition->kept = true;
        add_to_rebalance(&consumer->rebalance, partition);
    }
}

/* Only noted: librdkafka waits until assign or unassign is called, which may be later. */
void pj_consumer_on_rebalance(rd_kafka_t *kafka, rd_kafka_resp_err_t code,
                              rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct pj_consumer *consumer = opaque;
    bool assign = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    rd_kafka_topic_partition_list_t *kept = NULL;
    if (assign && is_cooperative(consumer) &&
        rd_kafka_assignment(kafka, &kept) != RD_KAFKA_RESP_ERR_NO_ERROR)
        kept = NULL;
    begin_rebalance(consumer, assign ? PJ_REBALANCE_ASSIGN : PJ_REBALANCE_REVOKE,
                    (size_t)list->cnt + (kept != NULL ? (size_t)kept->cnt : 0));
    consumer->group_answered = true;
    consumer->group_trouble = 0;
    consumer->rebalance_list = rd_kafka_topic_partition_list_copy(list);
    for (int i = 0; i < list->cnt; i++)
        add_to_rebalance(
            &consumer->rebalance,
            pj_consumer_find_partition(consumer, list->elems[i].topic, list->elems[i].partition));
    if (kept != NULL) {
        add_kept(consumer, kept);
        rd_kafka_topic_partition_list_destroy(kept);
    }
    sort_rebalance(&consumer->rebalance);
}

void pj_consumer_request(struct pj_consumer *consumer, const struct pj_offset_range *ranges,
                         size_t count)
{
    for (size_t i = 0; i < consumer->partition_count; i++)
        consumer->partitions[i]->assigned = false;
    begin_rebalance(consumer, PJ_REBALANCE_ASSIGN, count);
    for (size_t i = 0; i < count; i++) {
        struct pj_partition *partition =
            pj_consumer_find_partition(consumer, ranges[i].topic, ranges[i].partition);
        if (partition == NULL)
            continue;
        partition->start_offset = ranges[i].begin;
        partition->stop_offset = ranges[i].end;
        add_to_rebalance(&consumer->rebalance, partition);
    }
    sort_rebalance(&consumer->rebalance);
}

int pj_consumer_subscribe(struct pj_consumer *consumer, struct pj_error *error)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)consumer->topic_count);
    for (size_t i = 0; i < consumer->topic_count; i++)
        rd_kafka_topic_partition_list_add(list, consumer->topics[i], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(consumer->kafka, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return pj_consumer_check_fatal(consumer, error) != 0
                   ? -1
                   : pj_error_set(error, PJ_FATAL, "cannot subscribe: %s", rd_kafka_err2str(code));
    consumer->subscribed = true;
    return 0;
}

const struct pj_rebalance *pj_consumer_rebalance(const struct pj_consumer *consumer)
{
    return &consumer->rebalance;
}

static int ask_ends(struct pj_consumer *consumer, rd_kafka_topic_partition_list_t *list,
                    int64_t where, int64_t timeout_ms, struct pj_error *error)
{
    rd_kafka_resp_err_t code = pj_client_offsets(consumer->kafka, list, where, timeout_ms);
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *told = &list->elems[i];
        struct pj_partition *partition =
            pj_consumer_find_partition(consumer, told->topic, told->partition);
        rd_kafka_resp_err_t failed = told->err != RD_KAFKA_RESP_ERR_NO_ERROR ? told->err : code;
        if (failed != RD_KAFKA_RESP_ERR_NO_ERROR || told->offset < 0)
            return pj_error_set(error, PJ_RETRY, "Kafka does not give the ends of %s [%d]: %s",
                                told->topic, told->partition, rd_kafka_err2str(failed));
        *(where == RD_KAFKA_OFFSET_BEGINNING ? &partition->low : &partition->high) = told->offset;
    }
    return 0;
}

/* All partitions at once: one after the other, a takeover takes as long as all of them together. */
int pj_consumer_watermarks(struct pj_consumer *consumer, int64_t timeout_ms, struct pj_error *error)
{
    const struct pj_rebalance *rebalance = &consumer->rebalance;
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)rebalance->count + 1);
    for (size_t i = 0; i < rebalance->count; i++)
        rd_kafka_topic_partition_list_add(list, rebalance->partitions[i]->topic,
                                          rebalance->partitions[i]->number);
    int status = ask_ends(consumer, list, RD_KAFKA_OFFSET_BEGINNING, timeout_ms, error);
    if (status == 0)
        status = ask_ends(consumer, list, RD_KAFKA_OFFSET_END, timeout_ms, error);
    rd_kafka_topic_partition_list_destroy(list);
    for (size_t i = 0; i < rebalance->count && status == 0; i++) {
        struct pj_partition *partition = rebalance->partitions[i];
        partition->begin = partition->low;
        partition->stable_end = partition->high;
        partition->asked_ms = pj_clock_monotonic_ms();
    }
    return status;
}

int pj_consumer_topic_ids(struct pj_consumer *consumer, int64_t timeout_ms, struct pj_error *error)
{
    const char *unknown;
    if (pj_topic_ids_ask(consumer->kafka, consumer->topic_ids, consumer->topic_count, timeout_ms,
                         &unknown, error) != 0)
        return -1;
    if (unknown != NULL && !consumer->told_unknown_ids)
        pj_log(
            PJ_INFO,
            "topic ids are not known: a recreated topic is noticed only where it ends before our "
            "offset, or has another record there",
            pj_f_str("reason", unknown), pj_f_str("librdkafka", rd_kafka_version_str()));
    consumer->told_unknown_ids |= unknown != NULL;
    return 0;
}

static int check(rd_kafka_error_t *failed, const char *what, struct pj_error *error)
{
    if (failed == NULL)
        return 0;
    pj_error_set(error, PJ_RETRY, "cannot %s partitions: %s", what, rd_kafka_error_string(failed));
    if (rd_kafka_error_is_fatal(failed))
        error->class = PJ_FATAL;
    rd_kafka_error_destroy(failed);
    return -1;
}

/* What librdkafka kept starts again, where Postgres says. */
static int unassign_kept(struct pj_consumer *consumer, struct pj_error *error)
{
    const struct pj_rebalance *rebalance = &consumer->rebalance;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    for (size_t i = 0; i < rebalance->count; i++) {
        if (rebalance->partitions[i]->kept)
            rd_kafka_topic_partition_list_add(list, rebalance->partitions[i]->topic,
                                              rebalance->partitions[i]->number);
    }
    int status = 0;
    if (list->cnt > 0)
        status = check(rd_kafka_incremental_unassign(consumer->kafka, list), "unassign", error);
    rd_kafka_topic_partition_list_destroy(list);
    for (size_t i = 0; i < rebalance->count && status == 0; i++)
        rebalance->partitions[i]->kept = false;
    return status;
}

/* One record back, so that it shows whether the topic is still the one that was read. A run that
 * has ends passes by there anyway. */
static int64_t fetch_offset(const struct pj_partition *partition)
{
    bool looks_back = partition->stop_offset < 0 && partition->read_offset >= partition->low &&
                      partition->read_offset < partition->next_offset;
    return looks_back ? partition->read_offset : partition->next_offset;
}

int pj_consumer_assign(struct pj_consumer *consumer, struct pj_error *error)
{
    struct pj_rebalance *rebalance = &consumer->rebalance;
    if (unassign_kept(consumer, error) != 0)
        return -1;
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)rebalance->count + 1);
    for (size_t i = 0; i < rebalance->count; i++) {
        struct pj_partition *partition = rebalance->partitions[i];
        rd_kafka_topic_partition_list_add(list, partition->topic, partition->number)->offset =
            fetch_offset(partition);
    }
    int status;
    if (is_cooperative(consumer)) {
        status = check(rd_kafka_incremental_assign(consumer->kafka, list), "assign", error);
    } else {
        rd_kafka_resp_err_t code = rd_kafka_assign(consumer->kafka, list);
        status = code == RD_KAFKA_RESP_ERR_NO_ERROR
                     ? 0
                     : pj_error_set(error, PJ_RETRY, "cannot assign partitions: %s",
                                    rd_kafka_err2str(code));
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (status != 0)
        return -1;
    for (size_t i = 0; i < rebalance->count; i++) {
        struct pj_partition *partition = rebalance->partitions[i];
        partition->assigned = true;
        partition->generation++;
        partition->at_end = false;
        partition->awaited = partition->next_offset < partition->high;
        partition->trouble = 0;
        partition->reached = partition->next_offset;
        partition->moved_ms = pj_clock_monotonic_ms();
    }
    pj_consumer_forget_rebalance(consumer);
    consumer->stable = true;
    if (consumer->paused) {
        consumer->paused = false;
        pj_consumer_pause(consumer);
    }
    return 0;
}

void pj_consumer_unassign(struct pj_consumer *consumer)
{
    struct pj_rebalance *rebalance = &consumer->rebalance;
    for (size_t i = 0; i < rebalance->count; i++) {
        rebalance->partitions[i]->assigned = false;
        rebalance->partitions[i]->kept = false;
    }
    /* librdkafka remembers a pause beyond the assignment: they would come back paused. */
    if (consumer->paused)
        rd_kafka_resume_partitions(consumer->kafka, consumer->rebalance_list);
    struct pj_error error;
    if (is_cooperative(consumer)) {
        rd_kafka_error_t *failed =
            rd_kafka_incremental_unassign(consumer->kafka, consumer->rebalance_list);
        if (check(failed, "unassign", &error) != 0)
            pj_log(PJ_WARN, error.message);
    } else {
        rd_kafka_assign(consumer->kafka, NULL);
        for (size_t i = 0; i < consumer->partition_count; i++)
            consumer->partitions[i]->assigned = false;
    }
    pj_consumer_forget_rebalance(consumer);
}

int pj_consumer_rejoin(struct pj_consumer *consumer, struct pj_error *error)
{
    /* The revocation comes through the poll, like any other. What was fetched is void, and so is
     * what still comes until then: it follows records that are forgotten now. */
    pj_consumer_resume(consumer);
    for (size_t i = 0; i < consumer->partition_count; i++) {
        consumer->partitions[i]->generation++;
        consumer->partitions[i]->assigned = false;
    }
    consumer->stable = false;
    rd_kafka_unsubscribe(consumer->kafka);
    return pj_consumer_subscribe(consumer, error);
}

bool pj_consumer_lost_position(struct pj_consumer *consumer)
{
    bool lost = consumer->lost_position;
    consumer->lost_position = false;
    return lost;
}

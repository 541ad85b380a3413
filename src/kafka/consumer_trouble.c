/* SPDX-License-Identifier: Apache-2.0 */
/* What Kafka refuses, in words: which setting or right it is about, and whether it is fatal. */
#include "base/text.h"
#include "kafka/consumer_internal.h"

#include "base/log.h"

/* Codes that librdkafka 2.0.2 has no names for. */
enum { UNRELEASED_INSTANCE_ID = 111, UNSUPPORTED_ASSIGNOR = 112 };

struct meaning {
    int code;
    enum pj_exit exit_code; /* where it ends the process */
    const char *remedy;
};

static const struct meaning meanings[] = {
    {RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, PJ_EXIT_FENCED,
     "the group has another member with this kafka.group.instance.id: either another process has "
     "the same one (give each replica its own), or the brokers had heard nothing of this process "
     "for kafka.session.timeout.ms (a restart is enough; raise it if that happens again)"},
    {UNRELEASED_INSTANCE_ID, PJ_EXIT_FENCED,
     "the group still has another member with this kafka.group.instance.id: if that process runs, "
     "stop it or give each replica its own; if it was killed, try again once the brokers have "
     "ended its session (group.consumer.session.timeout.ms)"},
    {RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL, PJ_EXIT_USAGE,
     "other members of the group have no kafka.partition.assignment.strategy or "
     "kafka.group.protocol in common with this one; give all the same, or this one a --group of "
     "its own"},
    {UNSUPPORTED_ASSIGNOR, PJ_EXIT_USAGE,
     "the brokers do not know what kafka.group.remote.assignor names"},
    {RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, PJ_EXIT_USAGE,
     "the brokers do not support the kafka.group.protocol; leave it out, or use newer "
     "brokers"},
    {RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, PJ_EXIT_USAGE,
     "the brokers support no kafka.group.instance.id, or not this kafka.group.protocol; leave it "
     "out, or use newer brokers"},
    {RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT, PJ_EXIT_USAGE,
     "kafka.session.timeout.ms is not between the brokers' group.min.session.timeout.ms and "
     "group.max.session.timeout.ms"},
    {RD_KAFKA_RESP_ERR_INVALID_GROUP_ID, PJ_EXIT_USAGE,
     "the brokers do not accept this --group; give another name"},
    {RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED, PJ_EXIT_FAILED,
     "the group has as many members as the brokers' group.max.size allows; stop another one, or "
     "raise it"},
    {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, PJ_EXIT_FAILED,
     "grant this user READ on the group"},
    {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, PJ_EXIT_FAILED,
     "grant this user READ and DESCRIBE on the topic"},
    {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, PJ_EXIT_FAILED,
     "the topic does not exist any more; `projectionist topics create` creates it"},
    {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, PJ_EXIT_FAILED,
     "the topic does not exist any more; `projectionist topics create` creates it"},
    {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, PJ_EXIT_FAILED,
     "the partition does not exist any more: the topic was recreated with fewer"},
    {RD_KAFKA_RESP_ERR__AUTHENTICATION, PJ_EXIT_FAILED,
     "the brokers do not let this user in; see kafka.sasl.* and kafka.security.protocol"},
    {RD_KAFKA_RESP_ERR__SSL, PJ_EXIT_FAILED,
     "no TLS connection can be made; see kafka.ssl.* and kafka.security.protocol"},
    {RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED, PJ_EXIT_FAILED,
     "raise kafka.max.poll.interval.ms, or lower --batch-records"},
};

static const struct meaning *find_meaning(int code)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].code == code)
            return &meanings[i];
    }
    return NULL;
}

static const char *remedy_of(int code)
{
    const struct meaning *meaning = find_meaning(code);
    return meaning != NULL ? meaning->remedy : NULL;
}

int pj_consumer_check_fatal(const struct pj_consumer *consumer, struct pj_error *error)
{
    char text[512];
    rd_kafka_resp_err_t cause = rd_kafka_fatal_error(consumer->kafka, text, sizeof text);
    if (cause == RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    const struct meaning *meaning = find_meaning((int)cause);
    if (meaning == NULL)
        return pj_error_fatal(error, PJ_EXIT_FAILED,
                              "Kafka's client cannot go on in the group %s (%s): %.400s",
                              consumer->group, rd_kafka_err2name(cause), text);
    return pj_error_fatal(error, meaning->exit_code,
                          "Kafka's client cannot go on in the group %s (%s): %s", consumer->group,
                          rd_kafka_err2name(cause), meaning->remedy);
}

int pj_consumer_no_broker(const struct pj_consumer *consumer, rd_kafka_resp_err_t code,
                          struct pj_error *error)
{
    if (*consumer->trouble.last == '\0')
        return pj_error_set(error, PJ_RETRY, "no Kafka broker answers: %s", rd_kafka_err2str(code));
    (void)pj_client_fail(&consumer->trouble, "no Kafka broker answers", error);
    error->class = PJ_RETRY; /* they may let us in yet */
    return -1;
}

/* --- what may pass ---------------------------------------------------------------------------- */

/* Whether the code is about our membership in the group. */
static bool is_of_group(int code)
{
    return code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED ||
           code == RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL ||
           code == RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT ||
           code == RD_KAFKA_RESP_ERR_INVALID_GROUP_ID ||
           code == RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION;
}

static bool is_of_topic(int code)
{
    return code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
           code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
}

void pj_consumer_note_trouble(struct pj_consumer *consumer, struct pj_partition *partition,
                              int code, const char *topic, const char *reason)
{
    if (code == RD_KAFKA_RESP_ERR__FATAL)
        return; /* the poll finds it, and its cause */
    if (is_of_topic(code))
        consumer->lost_topic = true;
    if (partition != NULL)
        partition->trouble = code;
    else if (is_of_group(code))
        consumer->group_trouble = code;
    pj_log(PJ_WARN, "Kafka reports an error", pj_f_str("error", rd_kafka_err2name(code)),
           pj_f_str("topic", topic), pj_f_str("reason", reason),
           pj_f_str("remedy", remedy_of(code)));
}

static void describe(char *text, size_t size, int code)
{
    const char *remedy = remedy_of(code);
    pj_text_show(text, size, "%s%s%s", rd_kafka_err2str((rd_kafka_resp_err_t)code),
                 remedy != NULL ? ": " : "", remedy != NULL ? remedy : "");
}

bool pj_consumer_trouble(const struct pj_consumer *consumer, const struct pj_partition *partition,
                         char *text, size_t size)
{
    int code = partition == NULL ? consumer->group_trouble
               : consumer->topic_troubles[partition->topic_index] != 0
                   ? consumer->topic_troubles[partition->topic_index]
                   : partition->trouble;
    if (code == 0)
        return false;
    describe(text, size, code);
    return true;
}

enum pj_topics pj_consumer_topic_trouble(const struct pj_consumer *consumer, char *text,
                                         size_t size)
{
    for (size_t i = 0; i < consumer->topic_count; i++) {
        int code = consumer->topic_troubles[i];
        if (code == 0)
            continue;
        bool missing = code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        char why[320];
        describe(why, sizeof why, code);
        if (missing && size > 0)
            pj_text_show(
                text, size,
                "the topic %s does not exist; create it with `projectionist topics create`",
                consumer->topics[i]);
        else if (size > 0)
            pj_text_show(text, size, "the topic %s cannot be examined: %s", consumer->topics[i],
                         why);
        return missing ? PJ_TOPICS_MISSING : PJ_TOPICS_REFUSED;
    }
    return PJ_TOPICS_KNOWN;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/delivery.h"

#include <stddef.h>

#define CODE(name) RD_KAFKA_RESP_ERR_##name

static const struct refusal {
    rd_kafka_resp_err_t code;
    enum pj_error_class class;
    const char *remedy; /* or NULL */
} refusals[] = {
    /* The record, permanently. */
    {CODE(INVALID_TIMESTAMP), PJ_POISON,
     "message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic say how far "
     "from the brokers' clock a time may be"},
    {CODE(MSG_SIZE_TOO_LARGE), PJ_POISON,
     "max.message.bytes of the topic says how large it may be"},
    {CODE(RECORD_LIST_TOO_LARGE), PJ_POISON, "segment.bytes of the topic says how large it may be"},
    {CODE(INVALID_MSG_SIZE), PJ_POISON, NULL},
    {CODE(INVALID_RECORD), PJ_POISON,
     "such as one without a key, which a compacted topic does not accept"},
    {CODE(INVALID_MSG), PJ_POISON, NULL},
    {CODE(UNSUPPORTED_FOR_MESSAGE_FORMAT), PJ_POISON, NULL},
    {CODE(POLICY_VIOLATION), PJ_POISON, "a policy of the brokers says what they accept"},
    {PJ_INVALID_DIFFERENT_RECORD, PJ_POISON, NULL},
    /* Everything, temporarily: rights. */
    {CODE(TOPIC_AUTHORIZATION_FAILED), PJ_RETRY, "grant this user WRITE on the topic"},
    {CODE(TRANSACTIONAL_ID_AUTHORIZATION_FAILED), PJ_RETRY,
     "grant this user WRITE on the transactional id"},
    {CODE(CLUSTER_AUTHORIZATION_FAILED), PJ_RETRY,
     "grant this user WRITE on a topic, or IDEMPOTENT_WRITE on the cluster"},
    {CODE(GROUP_AUTHORIZATION_FAILED), PJ_RETRY, "grant this user READ on the group"},
    {CODE(SECURITY_DISABLED), PJ_RETRY, NULL},
    /* Topics. */
    {CODE(UNKNOWN_TOPIC_OR_PART), PJ_RETRY, "'projectionist topics create' creates the topics"},
    {CODE(_UNKNOWN_TOPIC), PJ_RETRY, "'projectionist topics create' creates the topics"},
    {CODE(NOT_ENOUGH_REPLICAS), PJ_RETRY,
     "min.insync.replicas of the topic says how many replicas must have it"},
    {CODE(NOT_ENOUGH_REPLICAS_AFTER_APPEND), PJ_RETRY,
     "min.insync.replicas of the topic says how many replicas must have it"},
    /* Servers. */
    {CODE(THROTTLING_QUOTA_EXCEEDED), PJ_RETRY, "a quota of the brokers is used up"},
    {CODE(LEADER_NOT_AVAILABLE), PJ_RETRY, NULL},
    {CODE(NOT_LEADER_FOR_PARTITION), PJ_RETRY, NULL},
    {CODE(FENCED_LEADER_EPOCH), PJ_RETRY, NULL},
    {CODE(UNKNOWN_LEADER_EPOCH), PJ_RETRY, NULL},
    {CODE(BROKER_NOT_AVAILABLE), PJ_RETRY, NULL},
    {CODE(REPLICA_NOT_AVAILABLE), PJ_RETRY, NULL},
    {CODE(PREFERRED_LEADER_NOT_AVAILABLE), PJ_RETRY, NULL},
    {CODE(KAFKA_STORAGE_ERROR), PJ_RETRY, "a disk of a broker is full or broken"},
    {CODE(COORDINATOR_LOAD_IN_PROGRESS), PJ_RETRY, NULL},
    {CODE(COORDINATOR_NOT_AVAILABLE), PJ_RETRY, NULL},
    {CODE(NOT_COORDINATOR), PJ_RETRY, NULL},
    {CODE(CONCURRENT_TRANSACTIONS), PJ_RETRY, NULL},
    {CODE(NETWORK_EXCEPTION), PJ_RETRY, NULL},
    {CODE(REQUEST_TIMED_OUT), PJ_RETRY, NULL},
    {CODE(_MSG_TIMED_OUT), PJ_RETRY, NULL},
    {CODE(_TIMED_OUT), PJ_RETRY, NULL},
    {CODE(_TRANSPORT), PJ_RETRY, NULL},
    {CODE(_ALL_BROKERS_DOWN), PJ_RETRY, NULL},
    {CODE(_RETRY), PJ_RETRY, NULL},
    {CODE(_PURGE_QUEUE), PJ_RETRY, NULL},
    {CODE(_PURGE_INFLIGHT), PJ_RETRY, NULL},
    /* Another producer. */
    {CODE(_FENCED), PJ_FENCED, NULL},
    {CODE(PRODUCER_FENCED), PJ_FENCED, NULL},
    {CODE(INVALID_PRODUCER_EPOCH), PJ_FENCED, NULL},
};

static const struct refusal *find(rd_kafka_resp_err_t code)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        if (refusals[i].code == code)
            return &refusals[i];
    }
    return NULL;
}

enum pj_error_class pj_refusal_class(rd_kafka_resp_err_t code)
{
    const struct refusal *found = find(code);
    return found != NULL ? found->class : PJ_FATAL;
}

int pj_refusal_set(struct pj_error *error, rd_kafka_resp_err_t code, const char *what)
{
    const struct refusal *found = find(code);
    const char *remedy = found != NULL ? found->remedy : NULL;
    pj_error_set(error, pj_refusal_class(code), "%.400s: %s (%s)%s%s", what, rd_kafka_err2str(code),
                 rd_kafka_err2name(code), remedy != NULL ? "; " : "", remedy != NULL ? remedy : "");
    if (error->class == PJ_RETRY)
        error->exit_code = PJ_EXIT_UNAVAILABLE;
    return -1;
}

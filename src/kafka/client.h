/* SPDX-License-Identifier: Apache-2.0 */
/* What all clients of Kafka are made of: librdkafka's configuration, the operator's kafka.*, the
 * log, and what librdkafka says when it cannot reach the brokers. */
#ifndef PJ_KAFKA_CLIENT_H
#define PJ_KAFKA_CLIENT_H

#include "base/config.h"
#include "projectionist/error.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

/* What librdkafka reported of a client. Where several threads use it, they lock it. */
struct pj_client_trouble {
    bool fails_scram;     /* this librdkafka cannot log in to Kafka 4 as the settings say */
    bool refused;         /* the brokers do not let us in: waiting does not help */
    bool was_answered;    /* ever: then the settings are those that the brokers expect */
    const char *protocol; /* kafka.security.protocol */
    char last[512];
};

struct pj_client_setting {
    const char *key; /* NULL ends a list */
    const char *value;
    const char *refused; /* not NULL: why the operator cannot set it */
};

struct pj_client_settings {
    const struct pj_properties *properties; /* kafka.* */
    const char *client_id;
    const struct pj_client_setting *defaults; /* kafka.* beats them; or NULL */
    const struct pj_client_setting *fixed;    /* they beat kafka.*; or NULL */
    bool quiet; /* librdkafka's log is for debugging: its errors are reported otherwise */
    struct pj_client_trouble *trouble; /* or NULL: to be filled by librdkafka's errors … */
    void (*on_error)(rd_kafka_t *client, int code, const char *reason, void *opaque);
    void *opaque; /* … unless there are callbacks of the caller's */
};

/* NULL with PJ_EXIT_USAGE where a property is not accepted or no brokers are named. */
rd_kafka_conf_t *pj_client_configure(const struct pj_client_settings *settings,
                                     struct pj_error *error) PJ_MUST_CHECK;

/* Takes the configuration; does not connect yet. NULL with PJ_EXIT_USAGE where librdkafka finds
 * that its settings do not fit together. */
rd_kafka_t *pj_client_start(rd_kafka_type_t type, rd_kafka_conf_t *conf,
                            struct pj_error *error) PJ_MUST_CHECK;

/* The files that the settings come from, or name (ssl.*.location). */
struct pj_client_files {
    const struct pj_properties *properties;
    int64_t looked_ms;
    uint64_t used, seen;
};

/* librdkafka's log into ours. */
void pj_client_log(const rd_kafka_t *client, int level, const char *facility, const char *text);

void pj_client_files_open(struct pj_client_files *files, const struct pj_properties *properties);
/* True once, when what they hold is other than what the client was made of, and has been for a
 * moment: a new client is made of that. Looks now and then; never blocks. */
bool pj_client_files_changed(struct pj_client_files *files);

/* False where it only says that a connection has ended, as idle ones do. */
bool pj_client_note(struct pj_client_trouble *trouble, int code, const char *reason);
/* A broker has answered: what was noted is over. */
void pj_client_answered(struct pj_client_trouble *trouble);

/* "what: the last reason": PJ_RETRY, or PJ_FATAL where we are refused. */
int pj_client_fail(const struct pj_client_trouble *trouble, const char *what,
                   struct pj_error *error);

/* The topic's partitions, 0 where there is no such topic. */
int pj_client_partitions(const struct rd_kafka_metadata *metadata, const char *topic);

/* 1: the brokers do not tell this user whether there is such a topic; 0: they do; -1: no answer.
 * Blocks up to `timeout_ms`; the client must not be one by which brokers create what is asked for.
 */
int pj_client_is_hidden(rd_kafka_t *client, const char *topic, int64_t timeout_ms);

/* The offsets of the listed partitions at a time; RD_KAFKA_OFFSET_BEGINNING and _END are times,
 * too. Blocks up to `timeout_ms`, also for partitions that get another leader meanwhile. */
rd_kafka_resp_err_t pj_client_offsets(rd_kafka_t *client, rd_kafka_topic_partition_list_t *list,
                                      int64_t time, int64_t timeout_ms);

/* What the topic's setting is; NULL: not told. */
const char *pj_client_setting(const rd_kafka_ConfigResource_t *topic, const char *name);

/* A request to the brokers: the caller sends it with these options to this queue. */
struct pj_client_request {
    rd_kafka_AdminOptions_t *options;
    rd_kafka_queue_t *queue;
    int timeout_ms;
};

struct pj_client_request pj_client_request(rd_kafka_t *client, rd_kafka_admin_op_t operation,
                                           int64_t timeout_ms);

/* Waits for the answer, and frees the request. NULL where none came in time; freed with
 * rd_kafka_event_destroy, which takes NULL. */
rd_kafka_event_t *pj_client_answer(struct pj_client_request *request) PJ_MUST_CHECK;

#endif

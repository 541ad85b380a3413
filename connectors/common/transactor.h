/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishes in Kafka transactions under an id. The newest transactor with an id is the only one:
 * opening it fences the earlier ones, waits for the end of what they left open, and reads back what
 * they committed. What a transaction holds becomes visible together or never; one whose outcome is
 * in doubt is for the caller to find in the state topic once it has opened again.
 *
 * For one thread. All functions block while Kafka is away, with turns (common/turns.h) meanwhile.
 */
#ifndef PJ_CONNECTORS_TRANSACTOR_H
#define PJ_CONNECTORS_TRANSACTOR_H

#include "base/config.h"
#include "base/metrics.h"
#include "common/turns.h"
#include "kafka/compacted.h"
#include "kafka/producer.h"

#include <stdatomic.h>

enum { PJ_TRANSACTOR_TOPICS_MOST = 64, PJ_TRANSACTOR_FATAL_MOST = 5 };

/* `who` hangs, such as "a bridge". */
#define PJ_TRANSACTION_TIMEOUT_OPTION(at, who)                                                     \
    PJ_OPTION(DURATION, "transaction-timeout", at, "30s", "TIME",                                  \
              "After this the brokers abort the transaction of " who " that hangs, which would "   \
              "otherwise hold up the readers of its topics.",                                      \
              .least = 1000, .most = 900000)

/* What is counted of transactions; each may be NULL. */
struct pj_transactor_metrics {
    struct pj_metric *transactions, *aborted, *reopened, *commit_time, *last_commit;
};

/* All of them, as projectionist_<of>_transactions_total and the like. */
void pj_transactor_metrics_add(struct pj_transactor_metrics *metrics, const char *of,
                               struct pj_metrics *registry);

/* Borrowed for as long as the transactor is open. */
struct pj_transactor_settings {
    const struct pj_properties *kafka; /* kafka.* */
    const char *client_id;
    const char *name, *id;    /* the transactional.id is the prefix, name-id */
    const char *topic_prefix; /* or NULL */
    int64_t transaction_timeout_ms;
    /* What it publishes to, without the prefix; they must exist. Other topics are for the caller to
     * find, of `producer`, each time that it has been opened. */
    const char *const *topics;
    size_t topic_count;
    /* One that Kafka does not show, but for the state topic, is looked for again when something is
     * sent to it, which fails with PJ_RETRY meanwhile. One that does not exist at all is an error
     * still when it is opened first. */
    bool may_lack_topics;
    /* Compacted; read back whole whenever it is opened. NULL: what is in doubt is sent again. */
    const char *state_topic;
    /* Not NULL: only the values of this key are read back. `record` has a null one first, for a
     * topic without the key. */
    const char *state_key;
    int64_t read_timeout_ms;
    pj_compacted_record *record; /* what is read back */
    /* Whether what was read back is from this program, or from before its first transaction; or
     * NULL. It is asked before another producer fences whoever has the id by now: two that claim it
     * in turn would never end. */
    bool (*is_ours)(void *context);
    void *context; /* of record and is_ours */
    struct pj_turns turns;
    const atomic_int *stop;     /* ends the reading back; or NULL */
    struct pj_metrics *metrics; /* or NULL; what the brokers refuse is counted there */
    struct pj_transactor_metrics counts;
};

struct pj_transactor {
    struct pj_transactor_settings settings;
    struct pj_producer *producer;
    struct pj_producer_topic *topics[PJ_TRANSACTOR_TOPICS_MOST]; /* NULL: Kafka does not show it */
    bool was_open;
    int fatal_count;       /* failures that waiting does not fix, since the last commit */
    int64_t begun_ms;      /* the last transaction */
    int64_t commit_us;     /* what the last commit took */
    int64_t refused_since; /* by brokers that had let us in; 0: they are not */
    struct pj_error cause; /* what failed last, since the last commit; its message "": nothing */
    char transactional_id[384];
};

/* Checks the settings (PJ_EXIT_USAGE); does not connect yet. Close it in any case. */
int pj_transactor_init(struct pj_transactor *transactor,
                       const struct pj_transactor_settings *settings,
                       struct pj_error *error) PJ_MUST_CHECK;
void pj_transactor_close(struct pj_transactor *transactor); /* all zeros are allowed */

/*
 * Opens it. Returns 1 when it is time to stop. Errors: a missing topic, a refusal, PJ_FENCED. Once
 * it was open it tolerates a few: brokers that have just started may not know all partitions yet.
 */
int pj_transactor_open(struct pj_transactor *transactor, struct pj_error *error) PJ_MUST_CHECK;

/* The same after a transaction in doubt, of which *error says why: PJ_FENCED also where it finds by
 * is_ours that another has the id. Producers that cannot go on it replaces a few times. */
int pj_transactor_open_again(struct pj_transactor *transactor,
                             struct pj_error *error) PJ_MUST_CHECK;

/* Reads the state topic; with stop_at_open without waiting for the end of open transactions. */
int pj_transactor_read(struct pj_transactor *transactor, bool stop_at_open,
                       struct pj_error *error) PJ_MUST_CHECK;

enum pj_transaction_end {
    PJ_TRANSACTION_COMMITTED,
    PJ_TRANSACTION_ABORTED,  /* certainly not committed; PJ_POISON: a record is refused for good */
    PJ_TRANSACTION_IN_DOUBT, /* open it again, and look in the state topic */
    PJ_TRANSACTION_FENCED,   /* another one has the id */
    PJ_TRANSACTION_STOPPED,  /* it is time to stop */
};

/* One attempt: begins, sends and commits. What is not committed has its reason in *error. */
enum pj_transaction_end pj_transactor_try(struct pj_transactor *transactor,
                                          int (*send)(void *context, struct pj_error *error),
                                          void *context, struct pj_error *error) PJ_MUST_CHECK;

/* PJ_FENCED, with the sentence that a bridge ends with (PJ_EXIT_FENCED) and -1. `variable` is that
 * of its id. */
int pj_transactor_taken_over(const struct pj_transactor *transactor, const char *variable,
                             struct pj_error *error);

/* Counts a transaction that is known to be committed: by its answer, or by what was read back. */
void pj_transactor_count(const struct pj_transactor *transactor);

/* For `send`: a record for the topic of this index, by its key. Errors as of pj_producer_send; see
 * may_lack_topics. */
int pj_transactor_send(struct pj_transactor *transactor, size_t topic,
                       struct pj_producer_message message, struct pj_error *error) PJ_MUST_CHECK;

#endif

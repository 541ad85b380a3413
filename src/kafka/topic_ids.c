/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/topic_ids.h"

#include "base/memory.h"
#include "base/text.h"
#include "kafka/client.h"

#include <dlfcn.h>
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

/*
 * librdkafka has this from 2.3 on, and Debian 12 builds with the headers of 2.0.2. So that one code
 * is compiled and tested there, too, it is looked up in the library that the program runs with; a
 * build with newer headers links it, and finds out whether these declarations are right.
 */
typedef struct rd_kafka_Uuid_s rd_kafka_Uuid_t;
typedef struct rd_kafka_TopicCollection_s rd_kafka_TopicCollection_t;
typedef struct rd_kafka_TopicDescription_s rd_kafka_TopicDescription_t;
typedef rd_kafka_event_t rd_kafka_DescribeTopics_result_t;
rd_kafka_TopicCollection_t *rd_kafka_TopicCollection_of_topic_names(const char **topics,
                                                                    size_t topics_cnt);
void rd_kafka_TopicCollection_destroy(rd_kafka_TopicCollection_t *topics);
void rd_kafka_DescribeTopics(rd_kafka_t *rk, const rd_kafka_TopicCollection_t *topics,
                             const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *rkqu);
const rd_kafka_DescribeTopics_result_t *
rd_kafka_event_DescribeTopics_result(rd_kafka_event_t *rkev);
const rd_kafka_TopicDescription_t **
rd_kafka_DescribeTopics_result_topics(const rd_kafka_DescribeTopics_result_t *result, size_t *cntp);
const char *rd_kafka_TopicDescription_name(const rd_kafka_TopicDescription_t *topicdesc);
const rd_kafka_error_t *
rd_kafka_TopicDescription_error(const rd_kafka_TopicDescription_t *topicdesc);
const rd_kafka_Uuid_t *
rd_kafka_TopicDescription_topic_id(const rd_kafka_TopicDescription_t *topicdesc);
const char *rd_kafka_Uuid_base64str(const rd_kafka_Uuid_t *uuid);

#if RD_KAFKA_VERSION >= 0x020300ff
#define LOOK_UP(name) name
#else
#define LOOK_UP(name) dlsym(RTLD_DEFAULT, #name)
#endif

/* What each is called here. */
#define FUNCTIONS(DO)                                                                              \
    DO(collect, rd_kafka_TopicCollection_of_topic_names)                                           \
    DO(destroy_collection, rd_kafka_TopicCollection_destroy)                                       \
    DO(describe, rd_kafka_DescribeTopics)                                                          \
    DO(result, rd_kafka_event_DescribeTopics_result)                                               \
    DO(descriptions, rd_kafka_DescribeTopics_result_topics)                                        \
    DO(name, rd_kafka_TopicDescription_name)                                                       \
    DO(error, rd_kafka_TopicDescription_error)                                                     \
    DO(id, rd_kafka_TopicDescription_topic_id)                                                     \
    DO(text, rd_kafka_Uuid_base64str)
#define MEMBER(member, function)   typeof(function) *member;
#define FIND(member, function)     .member = LOOK_UP(function),
#define IS_FOUND(member, function) &&library->member != NULL

struct library {
    FUNCTIONS(MEMBER)
};

static bool find_library(struct library *library)
{
    *library = (struct library){FUNCTIONS(FIND)};
    return true FUNCTIONS(IS_FOUND);
}

/* Brokers before 2.8 have no ids, and say so with zeros. */
static void keep_id(struct pj_topic_id *topic, const char *text)
{
    if (text == NULL || strspn(text, "A") == strlen(text))
        return;
    if (!pj_text_fits(topic->id, sizeof topic->id, "%s", text))
        return; /* is no id that Kafka gives */
    /* Kafka's tools write ids so that they can be part of a file's name. */
    for (char *c = topic->id; *c != '\0'; c++)
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
}

/* What passes by itself. Whatever else there is, the brokers would give it again for ever. */
static bool passes(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_CONTROLLER:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        return true;
    default:
        return false;
    }
}

static int refuse(const char *topic, rd_kafka_resp_err_t code, const char **unknown,
                  struct pj_error *error)
{
    if (passes(code))
        return pj_error_set(error, PJ_RETRY, "Kafka does not give the id of %s: %s", topic,
                            rd_kafka_err2str(code));
    *unknown = rd_kafka_err2str(code);
    return 0;
}

static int take_answer(const struct library *library, rd_kafka_event_t *event,
                       struct pj_topic_id *topics, size_t count, const char **unknown,
                       struct pj_error *error)
{
    size_t answers = 0;
    const rd_kafka_DescribeTopics_result_t *result = library->result(event);
    if (result == NULL || rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return refuse(topics[0].topic, rd_kafka_event_error(event), unknown, error);
    const rd_kafka_TopicDescription_t **answer = library->descriptions(result, &answers);
    for (size_t a = 0; a < answers; a++) {
        const char *name = library->name(answer[a]);
        rd_kafka_resp_err_t code = rd_kafka_error_code(library->error(answer[a]));
        for (size_t i = 0; i < count; i++) {
            if (strcmp(topics[i].topic, name) != 0)
                continue;
            if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
                keep_id(&topics[i], library->text(library->id(answer[a])));
            else if (refuse(name, code, unknown, error) != 0)
                return -1;
        }
    }
    for (size_t i = 0; i < count && *unknown == NULL; i++) {
        if (*topics[i].id == '\0')
            *unknown = "the brokers have no ids of topics";
    }
    return 0;
}

int pj_topic_ids_ask(rd_kafka_t *client, struct pj_topic_id *topics, size_t count,
                     int64_t timeout_ms, const char **unknown, struct pj_error *error)
{
    struct library library;
    *unknown = NULL;
    for (size_t i = 0; i < count; i++)
        *topics[i].id = '\0';
    if (count == 0)
        return 0;
    if (!find_library(&library)) {
        *unknown = "librdkafka reports them from 2.3 on";
        return 0;
    }
    const char **names = pj_calloc(count, sizeof *names);
    for (size_t i = 0; i < count; i++)
        names[i] = topics[i].topic;
    rd_kafka_TopicCollection_t *collection = library.collect(names, count);
    struct pj_client_request request = pj_client_request(client, RD_KAFKA_ADMIN_OP_ANY, timeout_ms);
    library.describe(client, collection, request.options, request.queue);
    rd_kafka_event_t *event = pj_client_answer(&request);
    int status = event != NULL
                     ? take_answer(&library, event, topics, count, unknown, error)
                     : refuse(topics[0].topic, RD_KAFKA_RESP_ERR__TIMED_OUT, unknown, error);
    rd_kafka_event_destroy(event);
    library.destroy_collection(collection);
    free(names);
    return status;
}

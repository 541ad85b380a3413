/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/client.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { LEADER_MS = 100 }; /* until a partition's new leader is asked */

/* Idle connections are closed all the time; what it means otherwise, pj_client_note finds. */
static bool is_hang_up(const char *text)
{
    return strstr(text, ": Disconnected") != NULL;
}

void pj_client_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    (void)client;
    /* What librdkafka calls an error it retries by itself; what it gives up comes to on_error. */
    pj_log(is_hang_up(text) ? PJ_DEBUG
           : level <= 4     ? PJ_WARN
           : level <= 5     ? PJ_INFO
                            : PJ_DEBUG,
           text, pj_f_str("librdkafka", facility));
}

static void on_error(rd_kafka_t *client, int code, const char *reason, void *trouble)
{
    (void)client;
    pj_client_note(trouble, code, reason);
}

static void on_quiet_log(const rd_kafka_t *client, int level, const char *facility,
                         const char *text)
{
    (void)client;
    (void)level;
    pj_log(PJ_DEBUG, text, pj_f_str("librdkafka", facility));
}

/* librdkafka before 2.6.1 sends Kafka 4 a SCRAM message that it refuses. */
static bool fails_scram(const struct pj_properties *properties)
{
    const char *mechanism = pj_properties_get(properties, "sasl.mechanism");
    if (mechanism == NULL)
        mechanism = pj_properties_get(properties, "sasl.mechanisms");
    return mechanism != NULL && strncmp(mechanism, "SCRAM", 5) == 0 &&
           rd_kafka_version() < 0x02060100;
}

static int set(rd_kafka_conf_t *conf, const char *key, const char *value, struct pj_error *error)
{
    char reason[256];
    if (rd_kafka_conf_set(conf, key, value, reason, sizeof reason) == RD_KAFKA_CONF_OK)
        return 0;
    return pj_error_fatal(error, PJ_EXIT_USAGE, "kafka.%s is not accepted: %s", key, reason);
}

static int set_all(rd_kafka_conf_t *conf, const struct pj_client_setting *ours,
                   struct pj_error *error)
{
    for (; ours != NULL && ours->key != NULL; ours++) {
        if (set(conf, ours->key, ours->value, error) != 0)
            return -1;
    }
    return 0;
}

static int set_operators(rd_kafka_conf_t *conf, const struct pj_client_settings *settings,
                         struct pj_error *error)
{
    for (size_t i = 0; i < settings->properties->count; i++) {
        const struct pj_property *given = &settings->properties->items[i];
        const struct pj_client_setting *ours = settings->fixed;
        while (ours != NULL && ours->key != NULL && strcmp(ours->key, given->key) != 0)
            ours++;
        if (ours != NULL && ours->key != NULL && ours->refused != NULL)
            return pj_error_fatal(error, PJ_EXIT_USAGE, "kafka.%s cannot be set: %s", given->key,
                                  ours->refused);
        char *fresh = pj_config_fresh(settings->properties->files, given->value);
        int status = set(conf, given->key, fresh != NULL ? fresh : given->value, error);
        free(fresh);
        if (status != 0)
            return -1;
    }
    return 0;
}

rd_kafka_conf_t *pj_client_configure(const struct pj_client_settings *settings,
                                     struct pj_error *error)
{
    const char *servers = pj_properties_get(settings->properties, "bootstrap.servers");
    if (servers == NULL || *servers == '\0') {
        (void)pj_error_fatal(error, PJ_EXIT_USAGE,
                             "no Kafka brokers are named: give --kafka.bootstrap.servers or set "
                             "PROJECTIONIST_KAFKA_BOOTSTRAP_SERVERS (for the local cluster: eval "
                             "\"$(deploy/local/cluster env)\")");
        return NULL;
    }
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    const bool ours = settings->on_error == NULL && settings->trouble != NULL;
    rd_kafka_conf_set_opaque(conf, ours ? settings->trouble : settings->opaque);
    rd_kafka_conf_set_log_cb(conf, settings->quiet ? on_quiet_log : pj_client_log);
    rd_kafka_conf_set_error_cb(conf, ours ? on_error : settings->on_error);
    if (set(conf, "client.id", settings->client_id, error) != 0 ||
        set_all(conf, settings->defaults, error) != 0 ||
        set_operators(conf, settings, error) != 0 || set_all(conf, settings->fixed, error) != 0) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    if (settings->trouble != NULL) {
        const char *protocol = pj_properties_get(settings->properties, "security.protocol");
        settings->trouble->fails_scram = fails_scram(settings->properties);
        settings->trouble->protocol = protocol != NULL ? protocol : "plaintext";
    }
    if (!settings->quiet && fails_scram(settings->properties))
        pj_log(PJ_WARN,
               "this librdkafka fails SCRAM against Kafka 4 with \"invalid credentials\", however "
               "right the password is; use 2.6.1 or later, PLAIN over TLS, or mTLS",
               pj_f_str("librdkafka", rd_kafka_version_str()));
    return conf;
}

rd_kafka_t *pj_client_start(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct pj_error *error)
{
    char reason[512];
    rd_kafka_t *client = rd_kafka_new(type, conf, reason, sizeof reason);
    if (client != NULL)
        return client;
    rd_kafka_conf_destroy(conf);
    (void)pj_error_fatal(error, PJ_EXIT_USAGE, "the kafka.* settings do not fit together: %s",
                         reason);
    return NULL;
}

/* What a listener does to a client that does not speak as it expects, in librdkafka's words. A
 * broker that is being stopped does some of it, too. */
static const struct meeting {
    const char *said;
    bool refused; /* else it may pass */
    bool of_protocol;
    const char *likely;
} meetings[] = {
    {"connecting to a SSL listener", false, true, "the port seems to expect TLS"},
    {"connecting to a PLAINTEXT", false, true, "the port seems not to expect TLS"},
    {"handshake failed: error:0A000126", false, true, "the port seems not to expect TLS"},
    {"wrong version number", true, true, "the port seems not to expect TLS"},
    {"might require SASL", false, true, "the port seems to expect a login by SASL"},
    {"not valid in current SASL state", true, true, "the port seems to expect no login by SASL"},
    {"alert bad certificate", true, false,
     "the brokers do not accept our certificate, or miss one: see kafka.ssl.certificate.location"},
    {"alert certificate", true, false,
     "the brokers do not accept our certificate, or miss one: see kafka.ssl.certificate.location"},
    {"alert unknown ca", true, false,
     "the brokers do not know who signed our certificate: see kafka.ssl.certificate.location"},
};

static const struct meeting *find_meeting(const char *reason)
{
    for (size_t i = 0; i < sizeof meetings / sizeof meetings[0]; i++) {
        if (strstr(reason, meetings[i].said) != NULL)
            return &meetings[i];
    }
    return NULL;
}

bool pj_client_note(struct pj_client_trouble *trouble, int code, const char *reason)
{
    const struct meeting *meeting = find_meeting(reason);
    if (meeting != NULL
            ? meeting->refused
            : code == RD_KAFKA_RESP_ERR__AUTHENTICATION || code == RD_KAFKA_RESP_ERR__SSL)
        trouble->refused = true;
    if (meeting != NULL && (meeting->refused || !trouble->was_answered)) {
        /* Without librdkafka's own guess. */
        const char *end = strstr(reason, ": Disconnected");
        const char *after = strstr(reason, " (after ");
        ptrdiff_t length = end != NULL     ? end - reason
                           : after != NULL ? after - reason
                                           : (ptrdiff_t)strlen(reason);
        pj_text_show(trouble->last, sizeof trouble->last, "%.*s%s; %s%s%s", (int)length, reason,
                     end != NULL ? " hangs up" : "", meeting->likely,
                     meeting->of_protocol ? ", and kafka.security.protocol is " : "",
                     meeting->of_protocol ? trouble->protocol : "");
        return true;
    }
    /* "All brokers are down" says less than the reason that came before it. */
    if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || *trouble->last == '\0')
        pj_text_show(trouble->last, sizeof trouble->last, "%s", reason);
    return !is_hang_up(reason);
}

void pj_client_answered(struct pj_client_trouble *trouble)
{
    trouble->was_answered = true;
    trouble->refused = false;
    trouble->last[0] = '\0';
}

int pj_client_fail(const struct pj_client_trouble *trouble, const char *what,
                   struct pj_error *error)
{
    if (trouble->refused && trouble->fails_scram)
        return pj_error_set(error, PJ_FATAL,
                            "%s: %s (librdkafka %s cannot log in to Kafka 4 by SASL/SCRAM, "
                            "whatever the password; PLAIN over TLS, mTLS or librdkafka 2.6.1 can)",
                            what, trouble->last, rd_kafka_version_str());
    return pj_error_set(error, trouble->refused ? PJ_FATAL : PJ_RETRY, "%s%s%s", what,
                        *trouble->last ? ": " : "", trouble->last);
}

const char *pj_client_setting(const rd_kafka_ConfigResource_t *topic, const char *name)
{
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(topic, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0)
            return rd_kafka_ConfigEntry_value(entries[i]);
    }
    return NULL;
}

struct pj_client_request pj_client_request(rd_kafka_t *client, rd_kafka_admin_op_t operation,
                                           int64_t timeout_ms)
{
    char ignored[128];
    struct pj_client_request request = {.options = rd_kafka_AdminOptions_new(client, operation),
                                        .queue = rd_kafka_queue_new(client),
                                        .timeout_ms = (int)timeout_ms};
    rd_kafka_AdminOptions_set_request_timeout(request.options, request.timeout_ms, ignored,
                                              sizeof ignored);
    return request;
}

rd_kafka_event_t *pj_client_answer(struct pj_client_request *request)
{
    /* It ends by the request's own time-out. */
    rd_kafka_event_t *event = rd_kafka_queue_poll(request->queue, request->timeout_ms + 1000);
    rd_kafka_queue_destroy(request->queue);
    rd_kafka_AdminOptions_destroy(request->options);
    return event;
}

int pj_client_partitions(const struct rd_kafka_metadata *metadata, const char *topic)
{
    for (int i = 0; i < metadata->topic_cnt; i++) {
        if (strcmp(metadata->topics[i].topic, topic) == 0)
            return metadata->topics[i].partition_cnt;
    }
    return 0;
}

int pj_client_is_hidden(rd_kafka_t *client, const char *topic, int64_t timeout_ms)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
    const struct rd_kafka_metadata *metadata;
    if (handle == NULL)
        return 0; /* no name of a topic */
    rd_kafka_resp_err_t code = rd_kafka_metadata(client, 0, handle, &metadata, (int)timeout_ms);
    rd_kafka_topic_destroy(handle);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return -1;
    bool hidden = metadata->topic_cnt == 1 &&
                  metadata->topics[0].err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    rd_kafka_metadata_destroy(metadata);
    return hidden;
}

/* Of a partition whose leader has only just changed, or is about to be chosen. */
static bool is_of_leader(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
           code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
           code == RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH ||
           code == RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE;
}

static bool lacks_leader(rd_kafka_resp_err_t code, const rd_kafka_topic_partition_list_t *list)
{
    bool lacks = is_of_leader(code);
    for (int i = 0; i < list->cnt; i++)
        lacks |= is_of_leader(list->elems[i].err);
    return lacks;
}

rd_kafka_resp_err_t pj_client_offsets(rd_kafka_t *client, rd_kafka_topic_partition_list_t *list,
                                      int64_t time, int64_t timeout_ms)
{
    int64_t deadline_ms = pj_clock_monotonic_ms() + timeout_ms, left_ms = timeout_ms;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (list->cnt == 0)
        return code;
    do {
        for (int i = 0; i < list->cnt; i++)
            list->elems[i].offset = time;
        code = rd_kafka_offsets_for_times(client, list, (int)left_ms);
        left_ms = deadline_ms - pj_clock_monotonic_ms() - LEADER_MS;
    } while (lacks_leader(code, list) && left_ms > 0 && poll(NULL, 0, LEADER_MS) == 0);
    return code;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/serving.h"

#include "base/clock.h"
#include "base/listen.h"
#include "base/text.h"

#include <poll.h>

enum { TURN_MS = 100, SPARED_MS = 5000, EXPIRE_EVERY_MS = 60000 };

int pj_serving_check(const struct pj_serving_settings *settings, const char *name,
                     const char *client_id, const struct pj_properties *kafka,
                     struct pj_error *error)
{
    const struct pj_producer_settings producer = {
        .kafka = kafka,
        .client_id = client_id,
        .transactional_id = client_id,
        .transaction_timeout_ms = settings->transaction_timeout_ms,
    };
    struct pj_producer *tried = NULL;
    char what[64];
    pj_text_whole(what, sizeof what, "%s address", name);
    if (pj_topic_prefix_check(settings->topic_prefix, error) != 0 ||
        pj_listen_check(what, settings->listen, error) != 0 ||
        pj_producer_open(&tried, &producer, error) != 0)
        return -1;
    pj_producer_close(tried);
    return 0;
}

struct pj_http_settings pj_serving_http(const struct pj_serving_settings *settings,
                                        const char *name, struct pj_metrics *metrics)
{
    return (struct pj_http_settings){
        .name = name,
        .address = settings->listen,
        .connections_most = settings->connections_most,
        .spared_ms = SPARED_MS,
        .header_most = settings->header_most,
        .body_most = settings->body_most,
        .request_timeout_ms = settings->request_timeout_ms,
        .wait_timeout_ms = settings->publish_timeout_ms,
        .workers = (int)settings->concurrent_most,
        .metrics = metrics,
    };
}

static bool turn(void *probes, const struct pj_error *trouble)
{
    if (probes != NULL) {
        pj_metrics_server_heartbeat(probes);
        pj_metrics_server_set_ready(probes, trouble->message);
    }
    return pj_stop_requests == 0;
}

struct pj_turns pj_serving_turns(struct pj_metrics_server *probes)
{
    return (struct pj_turns){turn, probes};
}

/* Looking at all keys takes time; it does no harm to keep one a little longer. */
static int64_t expire_every_ms(const struct pj_serving_settings *settings)
{
    int64_t part_ms = settings->key_retention_ms / 10;
    return part_ms < EXPIRE_EVERY_MS ? part_ms : EXPIRE_EVERY_MS;
}

int pj_serving_run(const struct pj_serving *serving, struct pj_error *error)
{
    int64_t expire_ms = 0;
    bool failed = false;
    if (serving->probes != NULL)
        pj_metrics_server_set_ready(serving->probes, NULL);
    while (pj_stop_requests == 0 && !failed) {
        poll(NULL, 0, TURN_MS);
        if (serving->chores != NULL)
            serving->chores(serving->context);
        if (pj_clock_monotonic_ms() >= expire_ms && !serving->expire(serving->context))
            expire_ms = pj_clock_monotonic_ms() + expire_every_ms(serving->settings);
        failed = pj_publisher_has_failed(serving->publisher, error);
    }
    if (serving->probes != NULL)
        pj_metrics_server_set_ready(serving->probes, "ending");
    pj_http_server_stop(serving->server, serving->settings->shutdown_timeout_ms);
    return failed ? -1 : 0;
}

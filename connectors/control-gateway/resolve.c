/* SPDX-License-Identifier: Apache-2.0 */
#include "control-gateway/resolve.h"

#include "base/invariant.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/threads.h"

#include <stdlib.h>
#include <time.h>

enum { RESOLVERS = 8, RESOLVED_MOST = 1000, WAIT_MS = 2000 };

struct pj_resolver {
    struct pj_gateway *gateway;
    char closing[RESOLVED_MOST][PJ_UUID_TEXT]; /* sessions */
    struct pj_known *open[RESOLVED_MOST];      /* commands */
    size_t closing_count, open_count;
    atomic_size_t next; /* of both */
    atomic_bool gives_up, serves;
    pthread_t threads[RESOLVERS];
    size_t started;
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    int running;
};

/* false: the service is away; a retry of the client asks again. */
static bool resolve_one(struct pj_resolver *resolver, size_t i)
{
    struct pj_gateway *gateway = resolver->gateway;
    if (i < resolver->closing_count)
        return pj_gateway_resolve_closing(gateway, resolver->closing[i],
                                          atomic_load(&resolver->serves));
    return pj_gateway_resolve_command(gateway, resolver->open[i - resolver->closing_count]);
}

static void *resolve(void *context)
{
    struct pj_resolver *resolver = context;
    size_t count = resolver->closing_count + resolver->open_count;
    for (size_t i; (i = atomic_fetch_add(&resolver->next, 1)) < count;) {
        if (!atomic_load(&resolver->gives_up)) {
            if (!resolve_one(resolver, i))
                atomic_store(&resolver->gives_up, true);
        } else if (i >= resolver->closing_count) {
            pj_keys_finish(resolver->gateway->keys, resolver->open[i - resolver->closing_count],
                           NULL);
        }
    }
    pthread_mutex_lock(&resolver->mutex);
    resolver->running--;
    pthread_cond_signal(&resolver->ended);
    pthread_mutex_unlock(&resolver->mutex);
    return NULL;
}

static void start_threads(struct pj_resolver *resolver)
{
    size_t count = resolver->closing_count + resolver->open_count;
    struct pj_error error;
    resolver->running = (int)(count < RESOLVERS ? count : RESOLVERS);
    size_t wanted = (size_t)resolver->running;
    for (; resolver->started < wanted; resolver->started++) {
        int failed =
            pj_thread_start(&resolver->threads[resolver->started], resolve, resolver, &error);
        PJ_CHECK(failed == 0, "the gateway cannot start its threads");
    }
}

struct pj_resolver *pj_resolver_start(struct pj_gateway *gateway)
{
    struct pj_resolver *resolver = pj_alloc(sizeof *resolver);
    resolver->gateway = gateway;
    pj_gateway_resolve_openings(gateway);
    resolver->closing_count = pj_gateway_list_closing(gateway, resolver->closing, RESOLVED_MOST);
    resolver->open_count = pj_keys_claim_open(gateway->keys, resolver->open, RESOLVED_MOST);
    pthread_mutex_init(&resolver->mutex, NULL);
    pj_condition_init(&resolver->ended);
    start_threads(resolver);
    const struct timespec until = pj_in_ms(WAIT_MS);
    pthread_mutex_lock(&resolver->mutex);
    int waited = 0;
    while (resolver->running > 0 && waited == 0)
        waited = pthread_cond_timedwait(&resolver->ended, &resolver->mutex, &until);
    bool goes_on = resolver->running > 0;
    pthread_mutex_unlock(&resolver->mutex);
    atomic_store(&resolver->serves, true);
    if (goes_on)
        pj_log(PJ_INFO, "still asking the service for the outcome of open commands",
               pj_f_int("open_commands", (int64_t)resolver->open_count));
    return resolver;
}

void pj_resolver_stop(struct pj_resolver *resolver)
{
    if (resolver == NULL)
        return;
    atomic_store(&resolver->gives_up, true);
    for (size_t i = 0; i < resolver->started; i++)
        pthread_join(resolver->threads[i], NULL);
    pthread_cond_destroy(&resolver->ended);
    pthread_mutex_destroy(&resolver->mutex);
    free(resolver);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/durable.h"

#include "base/clock.h"
#include "base/log.h"

#include <time.h>

enum { WAIT_MS = 1000, ASK_MS = 20 };

static void reach(struct pj_session *session)
{
    size_t count;
    struct pj_partition *const *partitions = pj_consumer_partitions(session->consumer, &count);
    for (size_t i = 0; i < count; i++) {
        if (partitions[i]->noted_offset > partitions[i]->durable_offset)
            partitions[i]->durable_offset = partitions[i]->noted_offset;
    }
}

static void note(struct pj_session *session)
{
    size_t count;
    struct pj_partition *const *partitions = pj_consumer_partitions(session->consumer, &count);
    for (size_t i = 0; i < count; i++)
        partitions[i]->noted_offset = partitions[i]->next_offset;
}

void pj_durable_look(struct pj_durable *durable, struct pj_session *session)
{
    struct pj_unit *unit = &session->unit;
    struct pj_error error;
    int64_t written, flushed;
    if (unit->postgres == NULL || pj_postgres_broken(unit->postgres))
        return;
    if (pj_offsets_ask_log(unit->postgres, &written, &flushed, &error) != 0) {
        if (!durable->complained && error.class != PJ_RETRY)
            pj_log(
                PJ_WARN,
                "cannot tell what Postgres has made durable: no offsets are committed to the Kafka "
                "group, so the lag shown there grows; projectionist status has the real one",
                pj_f_str("reason", error.message));
        durable->complained = true;
        return;
    }
    /* After a crash the log goes on from where it was cut: its old places mean nothing. */
    bool noted = durable->written > 0 && durable->connections == unit->connections;
    if (noted && flushed < durable->written)
        return;
    if (noted)
        reach(session);
    note(session);
    durable->written = written;
    durable->connections = unit->connections;
    if (flushed >= written)
        reach(session);
}

bool pj_durable_all(struct pj_durable *durable, struct pj_session *session)
{
    size_t count;
    struct pj_partition *const *partitions = pj_consumer_partitions(session->consumer, &count);
    if (session->unit.postgres == NULL)
        return false;
    pj_durable_look(durable, session);
    for (size_t i = 0; i < count; i++) {
        if (partitions[i]->assigned && partitions[i]->durable_offset != partitions[i]->next_offset)
            return false;
    }
    return !pj_postgres_broken(session->unit.postgres);
}

void pj_durable_wait(struct pj_durable *durable, struct pj_session *session)
{
    const struct timespec pause = {.tv_nsec = ASK_MS * 1000000L};
    int64_t deadline = pj_clock_monotonic_ms() + WAIT_MS;
    while (!pj_durable_all(durable, session) && pj_clock_monotonic_ms() < deadline)
        (void)nanosleep(&pause, NULL);
}

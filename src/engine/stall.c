/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/stall.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

enum {
    SURVEY_LEAST_MS = 500,
    SURVEY_MOST_MS = 10000,
    SURVEY_TIMEOUT_MS = 1000,
    OTHERS_MS = 1000, /* between two looks at other members */
    LOG_TIMES = 3,    /* stall timeouts between two lines in the log */
};

static int64_t limit_ms(const struct pj_stall *stall)
{
    return stall->session->settings->stall_timeout_ms;
}

static bool is_over(const struct pj_stall *stall, int64_t since, int64_t now)
{
    return now - since >= limit_ms(stall);
}

/* --- the work of one partition --------------------------------------------------------------- */

/* Where reading ends, as far as is known; -1: not known now. */
static int64_t end_of(const struct pj_session *session, const struct pj_partition *partition)
{
    if (partition->stop_offset >= 0)
        return partition->stop_offset;
    if (partition->stable_end < 0)
        return -1;
    int64_t end = pj_consumer_known_end(session->consumer, partition);
    return end > partition->stable_end ? end : partition->stable_end;
}

int64_t pj_stall_lag(const struct pj_stall *stall, const struct pj_partition *partition,
                     int64_t *held)
{
    int64_t end = end_of(stall->session, partition);
    int64_t next = partition->next_offset;
    /* A fetch ends at the first record of an open transaction. */
    int64_t stable = partition->at_end && partition->end_offset > partition->stable_end
                         ? partition->end_offset
                         : partition->stable_end;
    *held = 0;
    if (end < 0)
        return -1;
    if (stable < end)
        *held = end - (stable > next ? stable : next);
    return end > next ? end - next : 0;
}

/* Notes progress, and returns whether the partition has work without any. */
static bool is_stuck(struct pj_stall *stall, struct pj_partition *partition, int64_t now)
{
    bool has_end = partition->stop_offset >= 0;
    int64_t held;
    int64_t lag = pj_stall_lag(stall, partition, &held);
    if (partition->reached != partition->next_offset) {
        partition->reached = partition->next_offset;
        partition->moved_ms = stall->moved_ms = now;
        return false;
    }
    if (lag == 0) {
        int64_t known = has_end ? now : partition->asked_ms;
        if (partition->moved_ms < known)
            partition->moved_ms = known;
        if (stall->asked || has_end)
            return false;
    }
    /* While other partitions keep us busy its records may be queued after theirs. */
    bool waits = stall->idle_ms > partition->moved_ms || partition->trouble != 0 || lag < 0;
    return waits && is_over(stall, partition->moved_ms, now);
}

/* --- why ------------------------------------------------------------------------------------- */

static void say_partition(const struct pj_stall *stall, const struct pj_partition *partition,
                          char *text, size_t size)
{
    char trouble[512];
    int64_t held;
    int64_t lag = pj_stall_lag(stall, partition, &held);
    if (partition->unattended)
        pj_text_show(text, size,
                     "no consumer of this database reads the %lld records of %s [%d]: %s; stop "
                     "what else is a member of the group, or give it a group of its own",
                     (long long)(partition->stable_end - partition->reached), partition->topic,
                     partition->number,
                     *stall->holder != '\0' ? stall->holder : "no member of the group owns it");
    else if (pj_consumer_trouble(stall->session->consumer, partition, trouble, sizeof trouble))
        pj_text_show(text, size, "%s [%d]: %s", partition->topic, partition->number, trouble);
    else if (!stall->asked)
        pj_text_show(text, size, "%s [%d]: %s", partition->topic, partition->number,
                     stall->unanswered);
    else if (lag < 0)
        pj_text_show(text, size, "%s [%d]: Kafka does not report its end offset", partition->topic,
                     partition->number);
    else if (held > 0 && held == lag)
        pj_text_show(
            text, size,
            "%lld records of %s [%d] wait for an open transaction of a producer, which ends "
            "by itself after its transaction.timeout.ms at the latest",
            (long long)held, partition->topic, partition->number);
    else
        pj_text_show(text, size,
                     "Kafka responds, but returns no records of %s [%d] from offset %lld to "
                     "its end at %lld",
                     partition->topic, partition->number, (long long)partition->next_offset,
                     (long long)(partition->next_offset + lag));
}

/* What comes first explains what comes later: who may not join the group attends to no partition.
 */
static void say_why(const struct pj_stall *stall, const struct pj_partition *stuck, char *text,
                    size_t size)
{
    const struct pj_session *session = stall->session;
    char trouble[512];
    if (session->failures > 0 && *session->waiting != '\0')
        pj_text_show(text, size, "%s", session->waiting);
    else if (session->unit.committing)
        pj_text_show(text, size,
                     "Postgres has not answered a COMMIT yet: it may wait for a synchronous "
                     "standby (synchronous_standby_names), or for its disk");
    else if (session->unit.busy_ms != 0)
        pj_text_show(text, size,
                     "Postgres has not finished a transaction yet: a lock, its disk or its "
                     "load may hold it up (see pg_stat_activity)");
    else if (stuck != NULL && stuck->assigned)
        say_partition(stall, stuck, text, size);
    else if (pj_consumer_topic_trouble(session->consumer, trouble, sizeof trouble) !=
             PJ_TOPICS_KNOWN)
        pj_text_show(text, size, "%s", trouble);
    else if (pj_consumer_trouble(session->consumer, NULL, trouble, sizeof trouble))
        pj_text_show(text, size, "cannot join the group %s: %s", session->identity.group, trouble);
    else if (stuck != NULL)
        say_partition(stall, stuck, text, size);
    else if (!stall->asked)
        pj_text_show(text, size, "%s", stall->unanswered);
    else
        pj_text_show(text, size, "the group %s has not assigned any partitions to us yet",
                     session->identity.group);
}

/* --- looking --------------------------------------------------------------------------------- */

/* Without partitions we may be in the group, or wait in vain to join it; and a topic that is
 * missing or refused may have records. */
static bool is_outside(struct pj_stall *stall, size_t assigned)
{
    char ignored[8];
    const struct pj_session *session = stall->session;
    const struct pj_consumer *consumer = session->consumer;
    bool nothing = assigned == 0 && (!pj_consumer_stable(consumer) || !session->topics_seen ||
                                     pj_consumer_trouble(consumer, NULL, ignored, sizeof ignored));
    bool outside = session->policy->in_group &&
                   (nothing || pj_consumer_topic_trouble(consumer, NULL, 0) != PJ_TOPICS_KNOWN);
    if (!outside)
        stall->joining_ms = 0;
    return outside && pj_clock_since(&stall->joining_ms) >= limit_ms(stall);
}

static void report(struct pj_stall *stall, bool stalled, const struct pj_partition *stuck)
{
    char why[640];
    bool was_stalled = stall->session->stalled;
    if (stalled)
        say_why(stall, stuck, why, sizeof why);
    pj_session_stall(stall->session, stalled ? why : NULL);
    if (!stalled && was_stalled)
        pj_log(PJ_INFO, "no longer stalled");
    /* The loop logs what it waits for. */
    if (!stalled || stall->session->failures > 0)
        return;
    if (!was_stalled)
        stall->logged_ms = 0;
    if (pj_clock_every(&stall->logged_ms, LOG_TIMES * limit_ms(stall)))
        pj_log(PJ_WARN, "no progress", pj_f_str("reason", why));
}

void pj_stall_look(struct pj_stall *stall)
{
    size_t count;
    size_t assigned = 0;
    const struct pj_partition *stuck = NULL;
    int64_t now = pj_clock_monotonic_ms();
    struct pj_partition *const *partitions =
        pj_consumer_partitions(stall->session->consumer, &count);
    for (size_t i = 0; i < count; i++) {
        if (partitions[i]->assigned) {
            assigned++;
            if (is_stuck(stall, partitions[i], now) && (stuck == NULL || stuck->unattended))
                stuck = partitions[i];
        } else if (partitions[i]->unattended && stuck == NULL) {
            stuck = partitions[i];
        }
    }
    int64_t busy_ms = stall->session->unit.busy_ms;
    bool busy = busy_ms != 0 && is_over(stall, busy_ms, now);
    bool outside = is_outside(stall, assigned);
    report(stall, outside || stuck != NULL || busy, stuck);
}

/* --- other members --------------------------------------------------------------------------- */

/* Partitions that are not ours, in the work arena; *unknown: the ends of some are not known. */
static struct pj_partition **find_others(struct pj_session *session, size_t *count, bool *unknown)
{
    size_t known;
    struct pj_partition *const *partitions = pj_consumer_partitions(session->consumer, &known);
    struct pj_partition **others = pj_arena_alloc(session->unit.work, (known + 1) * sizeof(void *));
    *count = 0;
    *unknown = pj_consumer_topic_trouble(session->consumer, NULL, 0) != PJ_TOPICS_KNOWN;
    for (size_t i = 0; i < known; i++) {
        if (partitions[i]->assigned || !partitions[i]->exists)
            partitions[i]->unattended = false;
        else if (partitions[i]->stable_end < 0)
            *unknown = true;
        else
            others[(*count)++] = partitions[i];
    }
    return others;
}

/* Sets `unattended`; asks Postgres only if none of its records was read for a while. */
static int look_at_other(struct pj_stall *stall, struct pj_partition *other, int64_t offset,
                         struct pj_error *error)
{
    struct pj_session *session = stall->session;
    bool attended = false;
    int64_t now = pj_clock_monotonic_ms();
    int64_t reached = offset >= 0 ? offset : other->begin;
    if (other->reached != reached || other->stable_end <= reached || other->moved_ms == 0) {
        other->reached = reached;
        other->moved_ms = now;
    }
    if (!is_over(stall, other->moved_ms, now)) {
        other->unattended = false;
        return 0;
    }
    if (offset >= 0 && pj_owner_is_connected(session->unit.postgres, &session->identity, other,
                                             session->unit.work, &attended, error) != 0)
        return -1;
    other->unattended = !attended;
    return 0;
}

/* Notes how far other members are; *behind: not as far as they are wanted. */
static int look_at_others(struct pj_stall *stall, bool *behind, struct pj_error *error)
{
    struct pj_session *session = stall->session;
    size_t count;
    pj_arena_reset(session->unit.work);
    struct pj_partition **others = find_others(session, &count, behind);
    int64_t *offsets = pj_arena_alloc(session->unit.work, (count + 1) * sizeof *offsets);
    if (count == 0)
        return 0;
    if (pj_consumer_cluster_id(session->consumer, SURVEY_TIMEOUT_MS, &session->identity.cluster_id,
                               error) != 0 ||
        pj_session_connect(session, error) != 0 ||
        pj_offsets_of_group(session->unit.postgres, &session->identity, others, count, offsets,
                            session->unit.work, error) != 0)
        return -1;
    const struct pj_partition *first = NULL;
    for (size_t i = 0; i < count; i++) {
        if (look_at_other(stall, others[i], offsets[i], error) != 0)
            return -1;
        if (others[i]->wanted < 0)
            others[i]->wanted = others[i]->stable_end;
        *behind |= others[i]->reached < others[i]->wanted;
        if (first == NULL && others[i]->unattended)
            first = others[i];
    }
    char holder[216];
    *stall->holder = '\0';
    if (first != NULL &&
        pj_consumer_holder(session->consumer, first, SURVEY_TIMEOUT_MS, holder, sizeof holder))
        pj_text_show(stall->holder, sizeof stall->holder, "the member %s owns it", holder);
    return 0;
}

static bool survey(struct pj_stall *stall, bool *behind)
{
    struct pj_session *session = stall->session;
    struct pj_error error;
    *behind = true;
    stall->asked = pj_consumer_survey(session->consumer, SURVEY_TIMEOUT_MS, &error) == 0;
    if (!stall->asked)
        pj_text_show(stall->unanswered, sizeof stall->unanswered, "%.255s", error.message);
    stall->surveyed_ms = pj_clock_monotonic_ms();
    if (!stall->asked || !session->policy->in_group || look_at_others(stall, behind, &error) == 0)
        return stall->asked;
    /* An unavailable Postgres shows elsewhere, too. */
    pj_log(PJ_DEBUG, "cannot check the other members now", pj_f_str("reason", error.message));
    return false;
}

void pj_stall_survey(struct pj_stall *stall)
{
    bool ignored;
    int64_t every = limit_ms(stall) / 5;
    every = every < SURVEY_LEAST_MS  ? SURVEY_LEAST_MS
            : every > SURVEY_MOST_MS ? SURVEY_MOST_MS
                                     : every;
    if (pj_clock_every(&stall->surveyed_ms, every))
        (void)survey(stall, &ignored);
}

bool pj_stall_others_caught_up(struct pj_stall *stall)
{
    bool behind;
    if (!stall->session->policy->in_group)
        return true;
    if (!pj_clock_every(&stall->others_asked_ms, OTHERS_MS))
        return false;
    bool known = survey(stall, &behind);
    stall->others_asked_ms = stall->surveyed_ms;
    return known && !behind;
}

/* --- giving up ------------------------------------------------------------------------------- */

/* The first partition that is not at its given end. */
static const struct pj_partition *first_unread(const struct pj_session *session)
{
    size_t count;
    struct pj_partition *const *partitions = pj_consumer_partitions(session->consumer, &count);
    for (size_t i = 0; i < count; i++) {
        if (partitions[i]->assigned && partitions[i]->next_offset < partitions[i]->stop_offset)
            return partitions[i];
    }
    return NULL;
}

void pj_stall_moved(struct pj_stall *stall)
{
    stall->moved_ms = pj_clock_monotonic_ms();
}

void pj_stall_idle(struct pj_stall *stall)
{
    stall->idle_ms = pj_clock_monotonic_ms();
    if (stall->session->failures > 0) /* another server is unavailable, and that is counted */
        stall->moved_ms = stall->idle_ms;
}

int pj_stall_give_up(const struct pj_stall *stall, const char *why, struct pj_error *error)
{
    char text[640];
    int64_t still_ms = pj_clock_monotonic_ms() - stall->moved_ms;
    int64_t most = stall->session->policy->stall_timeout_ms;
    if (most == 0 || still_ms < most)
        return 0;
    if (why != NULL)
        pj_text_show(text, sizeof text, "%s", why);
    else
        say_why(stall, first_unread(stall->session), text, sizeof text);
    return pj_error_fatal(error, PJ_EXIT_UNAVAILABLE, "%sno progress for %lld s: %.600s",
                          why != NULL || !stall->asked ? "a server is unavailable, and " : "",
                          (long long)(still_ms / 1000), text);
}

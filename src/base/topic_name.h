/* SPDX-License-Identifier: Apache-2.0 */
/* Topics as Kafka names them: --topic-prefix, then the name that is declared. */
#ifndef PJ_BASE_TOPIC_NAME_H
#define PJ_BASE_TOPIC_NAME_H

#include "base/config.h"

/* Of the longest prefix and the longest topic; Kafka itself refuses less. */
enum { PJ_TOPIC_PREFIX_MOST = 100, PJ_TOPIC_NAME_SIZE = PJ_TOPIC_PREFIX_MOST + 249 + 1 };

/* `at` is the offset of a const char *, which is NULL or the prefix. */
#define PJ_TOPIC_PREFIX_OPTION(at)                                                                 \
    PJ_OPTION(STRING, "topic-prefix", at, NULL, "PREFIX",                                          \
              "The prefix of all topic, subject and group names, such as staging., so that "       \
              "several environments can share one Kafka cluster. All programs of an environment "  \
              "need the same one.",                                                                \
              .filled = true, .most = PJ_TOPIC_PREFIX_MOST)

/* PJ_EXIT_USAGE for a character that Kafka does not allow. */
int pj_topic_prefix_check(const char *prefix, struct pj_error *error) PJ_MUST_CHECK;

/* `prefix` may be NULL. Returns `name`. Both have been checked to fit. */
const char *pj_topic_name(char name[PJ_TOPIC_NAME_SIZE], const char *prefix, const char *declared);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/topic_name.h"

#include "base/text.h"

#include <string.h>

int pj_topic_prefix_check(const char *prefix, struct pj_error *error)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "._-";
    if (prefix == NULL || prefix[strspn(prefix, allowed)] == '\0')
        return 0;
    return pj_error_fatal(error, PJ_EXIT_USAGE,
                          "--topic-prefix: '%s' has a character that Kafka does not allow in "
                          "topic names: only letters, digits, dots, _ and -",
                          prefix);
}

const char *pj_topic_name(char name[PJ_TOPIC_NAME_SIZE], const char *prefix, const char *declared)
{
    pj_text_whole(name, PJ_TOPIC_NAME_SIZE, "%s%s", prefix != NULL ? prefix : "", declared);
    return name;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/prefixed.h"

#include "base/memory.h"
#include "base/topic_name.h"

struct prefixed {
    struct pj_projection projection;
    struct prefixed *next;
    struct pj_source sources[];
};

static struct prefixed *all_prefixed;

const struct pj_projection *pj_projection_prefixed(const struct pj_projection *projection,
                                                   const char *prefix)
{
    if (prefix == NULL)
        return projection;
    size_t count = projection->source_count;
    struct prefixed *made = pj_alloc(sizeof *made + count * sizeof made->sources[0]);
    made->projection = *projection;
    made->projection.sources = made->sources;
    for (size_t i = 0; i < count; i++) {
        char name[PJ_TOPIC_NAME_SIZE];
        made->sources[i] = projection->sources[i];
        made->sources[i].topic =
            pj_strdup(pj_topic_name(name, prefix, projection->sources[i].topic));
    }
    made->next = all_prefixed;
    all_prefixed = made;
    return &made->projection;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "projections/projections.h"

#include <string.h>

const struct pj_projection *const pj_projections[] = {
    &pj_command_projector, &pj_event_recorder,  &pj_video_catalog,
    &pj_watermark_metrics, &pj_session_tracker,
};

const size_t pj_projection_count = sizeof pj_projections / sizeof pj_projections[0];

size_t pj_projection_find(const char *name)
{
    size_t index = 0;
    while (index < pj_projection_count && strcmp(pj_projections[index]->name, name) != 0)
        index++;
    return index;
}

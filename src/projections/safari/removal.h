/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of one watermark removal: by the command that makes it, and by the video that it
 * reads, where that is another command's. */
#ifndef PJ_PROJECTIONS_SAFARI_REMOVAL_H
#define PJ_PROJECTIONS_SAFARI_REMOVAL_H

#include "projections/safari/production.h"

enum { REMOVAL = 2 }; /* of the watermark metrics' entities */

#define SAID_BY_COMMAND(VALUE)                                                                     \
    VALUE(command_id, PJ_UUID)                                                                     \
    VALUE(video_id, PJ_UUID)                                                                       \
    VALUE(input_path, PJ_TEXT)                                                                     \
    VALUE(input_size, PJ_BIGINT)                                                                   \
    VALUE(output_path, PJ_TEXT)                                                                    \
    VALUE(output_size, PJ_BIGINT)                                                                  \
    VALUE(method, PJ_TEXT)                                                                         \
    VALUE(processing_ms, PJ_INT)                                                                   \
    VALUE(error, PJ_TEXT)                                                                          \
    VALUE(created_at, PJ_TIMESTAMPTZ)                                                              \
    VALUE(completed_at, PJ_TIMESTAMPTZ)
#define SAID_BY_VIDEO(VALUE) VALUE(video_id, PJ_UUID) VALUE(raw_size, PJ_BIGINT)

#define REMOVAL_FACTS(FACT)                                                                        \
    FACT(removal, PJ_LEAST, SAID_BY_COMMAND)                                                       \
    FACT(removed_video, PJ_LEAST, SAID_BY_VIDEO)
PJ_FACTS(removal, REMOVAL, REMOVAL_FACTS);

/* By its command: of one of its items. False where that has none. */
bool removal_of(const struct production *production, uint32_t index, struct removal *removal);

#endif

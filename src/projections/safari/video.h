/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of one video: by the command that made it, and by one that cleaned it. */
#ifndef PJ_PROJECTIONS_SAFARI_VIDEO_H
#define PJ_PROJECTIONS_SAFARI_VIDEO_H

#include "projections/safari/production.h"

enum { VIDEO = 2 }; /* of the video catalog's entities */

#define SAID_BY_COMMAND(VALUE)                                                                     \
    VALUE(command_id, PJ_UUID)                                                                     \
    VALUE(prompt, PJ_TEXT)                                                                         \
    VALUE(character, PJ_TEXT)                                                                      \
    VALUE(duration, PJ_TEXT)                                                                       \
    VALUE(aspect_ratio, PJ_TEXT)                                                                   \
    VALUE(raw_path, PJ_TEXT)                                                                       \
    VALUE(raw_size, PJ_BIGINT)                                                                     \
    VALUE(cleaned_path, PJ_TEXT)                                                                   \
    VALUE(cleaned_size, PJ_BIGINT)                                                                 \
    VALUE(cleaning, PJ_BOOL) /* a removal is under way */                                          \
    VALUE(failed, PJ_BOOL)   /* without a path it will not come any more */                        \
    VALUE(metadata, PJ_JSONB)                                                                      \
    VALUE(created_at, PJ_TIMESTAMPTZ)
#define SAID_BY_CLEAN(VALUE) VALUE(path, PJ_TEXT) VALUE(size, PJ_BIGINT)

#define VIDEO_FACTS(FACT)                                                                          \
    FACT(video, PJ_LEAST, SAID_BY_COMMAND)                                                         \
    FACT(cleaned_video, PJ_LEAST, SAID_BY_CLEAN)
PJ_FACTS(video, VIDEO, VIDEO_FACTS);

/* By its command: one of its items. */
struct video video_of(const struct production *production, uint32_t index);

#endif

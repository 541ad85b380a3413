/* SPDX-License-Identifier: Apache-2.0 */
#ifndef YARD_H
#define YARD_H

#include <projectionist/system.h>
#include <projectionist/typed.h>

#define SKILL(FIELD) FIELD(skill, "", PJ_TEXT)
#define CREW_MEMBER(FIELD)                                                                         \
    FIELD(person, "person", PJ_TEXT, .required = true, .most_chars = 40)                           \
    FIELD(role, "role", PJ_TEXT)
PJ_FIELDS(skill, SKILL);
PJ_FIELDS(crew_member, CREW_MEMBER);

#define JOB_EVENT(FIELD)                                                                           \
    FIELD(event_id, "event_id", PJ_UUID, .required = true)                                         \
    FIELD(at, "at", PJ_TIMESTAMPTZ, .required = true)                                              \
    FIELD(job, "job", PJ_TEXT, .required = true, .most_chars = 40)                                 \
    FIELD(parent, "parent", PJ_TEXT, .most_chars = 40)                                             \
    FIELD(title, "title", PJ_TEXT)                                                                 \
    FIELD(state, "state", PJ_TEXT, .required = true)                                               \
    FIELD(skills, "skills", PJ_ITEMS, .items = &(const struct pj_items){PJ_FIELDS_OF(skill)})      \
    FIELD(minutes, "minutes", PJ_BIGINT, .required = true, .least = "0")                           \
    FIELD(crew, "crew", PJ_ITEMS, .items = &(const struct pj_items){PJ_FIELDS_OF(crew_member)})    \
    FIELD(withdrawn, "withdrawn", PJ_BOOL, .required = true)
PJ_FIELDS(job_event, JOB_EVENT);

extern const struct pj_projection yard_job_board;

#endif

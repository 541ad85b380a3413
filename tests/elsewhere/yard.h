/* SPDX-License-Identifier: Apache-2.0 */
#ifndef YARD_H
#define YARD_H

#include <projectionist/system.h>

/* What a record of yard.jobs says, and a member of its crew, in the order of their values. */
enum { EVENT_ID, AT, JOB, PARENT, TITLE, STATE, SKILLS, MINUTES, CREW, WITHDRAWN, EVENT_FIELDS };
enum { PERSON, ROLE, MEMBER_FIELDS };

extern const struct pj_projection yard_job_board;

#endif

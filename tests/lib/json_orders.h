/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events for projectionist/testing.h, written as JSON with single quotes for double ones, the same
 * way that event-ingest takes them: they are encoded by their topic's schema and decoded for the
 * projection, so that defaults, unions and arrays are what a consumer sees.
 *
 *     json_say(&j, 0, "{'user_id':'u','revision':1,'body':{'type':'UserDeleted'}}");
 *
 * An event without an event_id has the number of the event, one without emitted_at has its revision
 * in seconds. Each has a partition of its own, so that every order is tried.
 */
#ifndef PJ_TESTS_JSON_ORDERS_H
#define PJ_TESTS_JSON_ORDERS_H

#include "projectionist/testing.h"

enum { JSON_SOURCES_MOST = 4 };

struct json_orders {
    struct pj_orders orders;
    struct pj_decoder *decoders[JSON_SOURCES_MOST];
    struct pj_plan *plans[JSON_SOURCES_MOST];
    unsigned next_event;
    int partitions; /* 0: one for each event */
};

struct json_orders json_orders_start(const struct pj_projection *projection);
void json_orders_stop(struct json_orders *j);

/* Fails the test where the event is none by its schema, or is refused by the projection. */
void json_say(struct json_orders *j, size_t source, const char *format, ...) PJ_PRINTF(3, 4);

/* Fails the test unless the projection refuses the event with a sentence that has the text. */
void json_refused(struct json_orders *j, size_t source, const char *text, const char *format, ...)
    PJ_PRINTF(4, 5);

/* Whether the projection, or the schema, takes it; then it is among the events. */
bool json_try(struct json_orders *j, size_t source, const char *json, struct pj_error *error);

/* Fails the test unless the text is in the rows, or if it is, in every order of what was said. */
void json_expect(const struct json_orders *j, const char *text);
void json_unexpected(const struct json_orders *j, const char *text);

/* Fails the test unless what was said makes the same rows in that many orders. */
void json_agree(const struct json_orders *j, int times, unsigned seed);

#endif

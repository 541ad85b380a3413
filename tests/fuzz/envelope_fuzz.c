/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What control-gateway reads of its clients: the body of a command, of a session, and paths. A
 * command that is taken and forwarded must be the same command when it is read again. The input: a
 * path, ended by a zero, and a body; without a zero all of it is the body.
 */
#include "control-gateway/envelope.h"
#include "control-gateway/route.h"

#include <stdlib.h>
#include <string.h>

#define ID "0f0e0d0c-0b0a-4908-8706-050403020100"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void read_command(struct pj_bytes body, struct pj_arena *arena)
{
    struct pj_envelope first, again;
    struct pj_error error = {0};
    if (pj_envelope_parse(body, &first, &error) != 0) {
        require(error.class == PJ_POISON && error.message[0] != '\0');
        return;
    }
    require(json_is_string(json_object_get(first.submitted, "payload")) &&
            json_string_length(json_object_get(first.submitted, "type")) > 0);
    const char *key = pj_envelope_key(&first);
    const char *id = first.command_id[0] != '\0' ? first.command_id : ID;
    struct pj_bytes forwarded = pj_envelope_forwarded(&first, id, key != NULL ? key : id, arena);
    require(pj_envelope_parse(forwarded, &again, &error) == 0);
    require(strcmp(again.command_id, id) == 0);
    require(strcmp(pj_envelope_key(&again), key != NULL ? key : id) == 0);
    json_object_del(first.submitted, "idempotency_key");
    json_object_del(again.submitted, "idempotency_key");
    require(json_equal(again.submitted, first.submitted));
    require(memcmp(again.digest, first.digest, sizeof first.digest) == 0);
    json_decref(first.submitted);
    json_decref(again.submitted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char id[PJ_ROUTE_ID_MOST];
    struct pj_session_answer answer;
    struct pj_error error;
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    struct pj_bytes body = {data, size};
    struct pj_arena *arena = pj_arena_new();
    if (zero != NULL) {
        (void)pj_route_of("DELETE", (const char *)data, id);
        body.data = zero + 1;
        body.length = size - (size_t)(zero + 1 - data);
    }
    read_command(body, arena);
    (void)!pj_session_request_check(body, &error);
    if (pj_session_answer_parse(body, &answer, &error) == 0) {
        require(json_is_string(json_object_get(answer.opened, "platform")));
        json_decref(answer.opened);
    }
    pj_arena_free(arena);
    return 0;
}

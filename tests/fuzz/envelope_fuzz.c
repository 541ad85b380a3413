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

static bool is_same_text(struct pj_bytes a, struct pj_bytes b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

static void read_command(struct pj_bytes body, struct pj_arena *arena)
{
    struct pj_envelope first, again;
    struct pj_error error = {0};
    if (pj_envelope_parse(body, arena, &first, &error) != 0) {
        require(error.class == PJ_POISON && error.message[0] != '\0');
        return;
    }
    require(first.submitted.payload.data != NULL && first.submitted.type.length > 0);
    const char *key = first.submitted.idempotency_key.data;
    const char *id = first.command_id[0] != '\0' ? first.command_id : ID;
    struct pj_bytes forwarded = pj_envelope_forwarded(&first, id, key != NULL ? key : id, arena);
    require(pj_envelope_parse(forwarded, arena, &again, &error) == 0);
    require(strcmp(again.command_id, id) == 0);
    require(strcmp(again.submitted.idempotency_key.data, key != NULL ? key : id) == 0);
    require(is_same_text(again.submitted.payload, first.submitted.payload));
    require(is_same_text(again.submitted.type, first.submitted.type));
    require(memcmp(again.digest, first.digest, sizeof first.digest) == 0);
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
    if (pj_session_answer_parse(body, arena, &answer, &error) == 0)
        require(answer.opened.platform.data != NULL);
    pj_arena_free(arena);
    return 0;
}

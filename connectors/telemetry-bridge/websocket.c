/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry-bridge/websocket.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { FINAL = 0x80, RESERVED = 0x70, OPCODE = 0x0f, MASKED = 0x80, LENGTH = 0x7f };
enum { KEPT_MEMORY = 65536 }; /* one large message does not keep its memory */

static struct pj_websocket_event broken(int code, const char *reason)
{
    return (struct pj_websocket_event){
        .kind = PJ_WEBSOCKET_BROKEN, .code = code, .data = reason, .length = strlen(reason)};
}

static bool is_control(unsigned opcode)
{
    return opcode >= PJ_WEBSOCKET_CLOSE;
}

/* --- headers --------------------------------------------------------------------------------- */

static size_t length_bytes(const struct pj_websocket_reader *reader)
{
    unsigned length = reader->header[1] & LENGTH;
    return length == 126 ? 2 : length == 127 ? 8 : 0;
}

/* What is wrong with the first two bytes, or NULL. */
static const char *check_start(const struct pj_websocket_reader *reader)
{
    unsigned first = reader->header[0], second = reader->header[1];
    unsigned opcode = first & OPCODE;
    if ((first & RESERVED) != 0)
        return "a frame has reserved bits set, but no extension was negotiated";
    if (opcode > PJ_WEBSOCKET_BINARY && (opcode < PJ_WEBSOCKET_CLOSE || opcode > PJ_WEBSOCKET_PONG))
        return "a frame has an unknown opcode";
    if ((second & MASKED) != 0)
        return "a frame is masked, which only a client's may be";
    if (is_control(opcode) && (first & FINAL) == 0)
        return "a control frame is fragmented";
    if (is_control(opcode) && (second & LENGTH) > PJ_WEBSOCKET_CONTROL_MOST)
        return "a control frame is longer than 125 bytes";
    if (opcode == PJ_WEBSOCKET_CONTINUATION && !reader->in_message)
        return "a continuation frame has nothing to continue";
    if (!is_control(opcode) && opcode != PJ_WEBSOCKET_CONTINUATION && reader->in_message)
        return "a message begins before the previous one has ended";
    return NULL;
}

/* The header is complete: the payload begins. Returns what is wrong with it, or MORE. */
static struct pj_websocket_event begin_payload(struct pj_websocket_reader *reader)
{
    size_t bytes = length_bytes(reader);
    uint64_t length = reader->header[1] & LENGTH;
    if (bytes > 0)
        length = 0;
    for (size_t i = 0; i < bytes; i++)
        length = length << 8 | reader->header[2 + i];
    if (length >> 63 != 0)
        return broken(PJ_WEBSOCKET_PROTOCOL_ERROR, "a frame's length has its highest bit set");
    reader->opcode = reader->header[0] & OPCODE;
    reader->is_final = (reader->header[0] & FINAL) != 0;
    reader->left = length;
    reader->in_payload = true;
    reader->header_length = 0;
    reader->control_length = 0;
    if (is_control(reader->opcode))
        return (struct pj_websocket_event){.kind = PJ_WEBSOCKET_MORE};
    reader->in_message = true;
    if (length > PJ_WEBSOCKET_MESSAGE_MOST - reader->whole)
        return broken(PJ_WEBSOCKET_TOO_BIG, "a message is longer than 1 GiB");
    return (struct pj_websocket_event){.kind = PJ_WEBSOCKET_MORE};
}

static struct pj_websocket_event read_header(struct pj_websocket_reader *reader, const char **bytes,
                                             size_t *count)
{
    while (*count > 0 && !reader->in_payload) {
        reader->header[reader->header_length++] = (unsigned char)*(*bytes)++;
        --*count;
        if (reader->header_length < 2)
            continue;
        const char *wrong = check_start(reader);
        if (wrong != NULL)
            return broken(PJ_WEBSOCKET_PROTOCOL_ERROR, wrong);
        if (reader->header_length == 2 + length_bytes(reader))
            return begin_payload(reader);
    }
    return (struct pj_websocket_event){.kind = PJ_WEBSOCKET_MORE};
}

/* --- payloads -------------------------------------------------------------------------------- */

static void reserve(struct pj_websocket_reader *reader, size_t length)
{
    if (length + 1 <= reader->capacity)
        return;
    reader->capacity = 2 * (length + 1);
    reader->message = pj_resize(reader->message, reader->capacity, 1);
}

static void take(struct pj_websocket_reader *reader, const char *bytes, size_t count)
{
    if (is_control(reader->opcode)) {
        memcpy(reader->control + reader->control_length, bytes, count);
        reader->control_length += count;
        return;
    }
    reader->whole += count;
    size_t room = reader->limit - reader->length;
    size_t kept = count < room ? count : room;
    reserve(reader, reader->length + kept);
    memcpy(reader->message + reader->length, bytes, kept);
    reader->length += kept;
}

static void forget_message(struct pj_websocket_reader *reader)
{
    reader->is_given = false;
    reader->in_message = false;
    reader->length = 0;
    reader->whole = 0;
    if (reader->capacity > KEPT_MEMORY) {
        free(reader->message);
        reader->message = NULL;
        reader->capacity = 0;
    }
}

static bool is_close_code(int code)
{
    return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
           (code >= 3000 && code <= 4999);
}

static struct pj_websocket_event closed(struct pj_websocket_reader *reader)
{
    const unsigned char *bytes = (const unsigned char *)reader->control;
    struct pj_websocket_event event = {
        .kind = PJ_WEBSOCKET_CLOSED, .code = PJ_WEBSOCKET_NO_CODE, .data = ""};
    if (reader->control_length == 0)
        return event;
    if (reader->control_length == 1 || !is_close_code(bytes[0] << 8 | bytes[1]))
        return broken(PJ_WEBSOCKET_PROTOCOL_ERROR, "a close has a code that must not be sent");
    event.code = bytes[0] << 8 | bytes[1];
    event.data = reader->control + 2;
    event.length = reader->control_length - 2;
    return event;
}

/* The frame is complete. */
static struct pj_websocket_event end_payload(struct pj_websocket_reader *reader)
{
    reader->in_payload = false;
    reader->control[reader->control_length] = '\0';
    struct pj_websocket_event event = {
        .kind = reader->opcode == PJ_WEBSOCKET_PING ? PJ_WEBSOCKET_PINGED : PJ_WEBSOCKET_PONGED,
        .data = reader->control,
        .length = reader->control_length};
    if (reader->opcode == PJ_WEBSOCKET_CLOSE)
        return closed(reader);
    if (is_control(reader->opcode))
        return event;
    if (!reader->is_final)
        return (struct pj_websocket_event){.kind = PJ_WEBSOCKET_MORE};
    reserve(reader, reader->length);
    reader->message[reader->length] = '\0';
    reader->is_given = true;
    return (struct pj_websocket_event){.kind = PJ_WEBSOCKET_MESSAGE,
                                       .data = reader->message,
                                       .length = reader->length,
                                       .whole = reader->whole};
}

struct pj_websocket_event pj_websocket_read(struct pj_websocket_reader *reader, const char **bytes,
                                            size_t *count)
{
    struct pj_websocket_event event = {.kind = PJ_WEBSOCKET_MORE};
    if (reader->is_given)
        forget_message(reader);
    while (event.kind == PJ_WEBSOCKET_MORE && (*count > 0 || reader->in_payload)) {
        if (!reader->in_payload) {
            event = read_header(reader, bytes, count);
            continue;
        }
        size_t here = reader->left < *count ? (size_t)reader->left : *count;
        if (here > 0)
            take(reader, *bytes, here);
        reader->left -= here;
        *bytes += here;
        *count -= here;
        if (reader->left > 0)
            break;
        event = end_payload(reader);
    }
    return event;
}

void pj_websocket_reset(struct pj_websocket_reader *reader)
{
    size_t limit = reader->limit;
    free(reader->message);
    *reader = (struct pj_websocket_reader){.limit = limit};
}

size_t pj_websocket_write(char *out, enum pj_websocket_opcode opcode, const char *data,
                          size_t length, const unsigned char mask[4])
{
    unsigned char *place = (unsigned char *)out;
    size_t bytes = length <= 125 ? 0 : length <= UINT16_MAX ? 2 : 8;
    *place++ = (unsigned char)(FINAL | opcode);
    *place++ = (unsigned char)(MASKED | (bytes == 0 ? length : bytes == 2 ? 126 : 127));
    for (size_t i = bytes; i > 0; i--)
        *place++ = (unsigned char)((uint64_t)length >> (8 * (i - 1)));
    memcpy(place, mask, 4);
    place += 4;
    for (size_t i = 0; i < length; i++)
        *place++ = (unsigned char)data[i] ^ mask[i % 4];
    return (size_t)(place - (unsigned char *)out);
}

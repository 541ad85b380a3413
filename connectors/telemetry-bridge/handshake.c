/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry-bridge/handshake.h"

#include "base/http.h"
#include "base/secret.h"
#include "base/text.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

enum { BODY_SHOWN = 200, VALUE_MOST = 1024 };

void pj_handshake_key(char key[PJ_HANDSHAKE_KEY_SIZE])
{
    unsigned char bytes[16];
    if (RAND_bytes(bytes, sizeof bytes) != 1)
        abort();
    EVP_EncodeBlock((unsigned char *)key, bytes, sizeof bytes);
}

char *pj_handshake_request(const struct pj_address *address, const char *key, const char *token)
{
    return pj_text_new("GET %s HTTP/1.1\r\n"
                       "Host: %s\r\n"
                       "Upgrade: websocket\r\n"
                       "Connection: Upgrade\r\n"
                       "Sec-WebSocket-Key: %s\r\n"
                       "Sec-WebSocket-Version: 13\r\n"
                       "User-Agent: projectionist\r\n"
                       "%s%s%s\r\n",
                       address->path, address->host, key,
                       token != NULL ? "Authorization: Bearer " : "", token != NULL ? token : "",
                       token != NULL ? "\r\n" : "");
}

/* --- the answer ------------------------------------------------------------------------------ */

/* Its headers and what follows them. */
struct head {
    const char *lines; /* after the first */
    const char *end;
    size_t length; /* with the empty line */
    int status;
};

static void refuse(struct pj_handshake_answer *answer, const char *reason)
{
    answer->end = PJ_HANDSHAKE_REFUSED;
    pj_text_show(answer->reason, sizeof answer->reason, "%s", reason);
}

/* How many headers of that name there are, and the value of the first. */
static int find_header(const struct head *head, const char *name, char value[VALUE_MOST])
{
    int count = 0;
    size_t length = strlen(name);
    *value = '\0';
    for (const char *line = head->lines; line < head->end;) {
        const char *end = memchr(line, '\n', (size_t)(head->end - line));
        if (end == NULL)
            end = head->end;
        if ((size_t)(end - line) > length && line[length] == ':' &&
            strncasecmp(line, name, length) == 0 && count++ == 0) {
            const char *from = line + length + 1, *to = end;
            while (from < to && isspace((unsigned char)*from))
                from++;
            while (to > from && isspace((unsigned char)to[-1]))
                to--;
            pj_text_show(value, VALUE_MOST, "%.*s",
                         (int)(to - from < VALUE_MOST ? to - from : VALUE_MOST - 1), from);
        }
        line = end + 1;
    }
    return count;
}

static void accept_of(const char *key, char accept[64])
{
    char text[PJ_HANDSHAKE_KEY_SIZE + sizeof GUID];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    pj_text_whole(text, sizeof text, "%s" GUID, key);
    if (EVP_Digest(text, strlen(text), digest, &length, EVP_sha1(), NULL) != 1)
        abort();
    EVP_EncodeBlock((unsigned char *)accept, digest, (int)length);
}

static void judge_upgrade(struct pj_handshake_answer *answer, const struct head *head,
                          const char *key)
{
    char value[VALUE_MOST];
    char accept[64];
    accept_of(key, accept);
    if (find_header(head, "Upgrade", value) == 0 || !pj_http_list_has(value, "websocket"))
        refuse(answer, "it answers 101 without Upgrade: websocket");
    else if (find_header(head, "Connection", value) == 0 || !pj_http_list_has(value, "upgrade"))
        refuse(answer, "it answers 101 without Connection: Upgrade");
    else if (find_header(head, "Sec-WebSocket-Accept", value) != 1 || strcmp(value, accept) != 0)
        refuse(answer, "it answers 101 with a Sec-WebSocket-Accept that does not match the key "
                       "sent: is a cache in between?");
    else if (find_header(head, "Sec-WebSocket-Extensions", value) != 0 && *value != '\0')
        refuse(answer, "it selects an extension that was not offered");
    else if (find_header(head, "Sec-WebSocket-Protocol", value) != 0)
        refuse(answer, "it selects a subprotocol that was not offered");
    else
        answer->end = PJ_HANDSHAKE_OPEN;
}

/* The status and the start of the body, which often says why. */
static void refuse_with_status(struct pj_handshake_answer *answer, const struct head *head,
                               const char *body, size_t length)
{
    char location[VALUE_MOST];
    char shown[VALUE_MOST];
    const char *advice = "";
    int status = head->status;
    if (status >= 300 && status < 400 && find_header(head, "Location", location) > 0) {
        pj_url_shown(location, shown, sizeof shown);
        pj_text_show(answer->reason, sizeof answer->reason,
                     "it redirects (HTTP %d) to %.200s, and redirects are not followed: check "
                     "PROJECTIONIST_TELEMETRY_URL",
                     status, shown);
        answer->end = PJ_HANDSHAKE_REFUSED;
        return;
    }
    if (status == 401 || status == 403)
        advice = "it refuses our token: check PROJECTIONIST_TELEMETRY_TOKEN_FILE; ";
    else if (status == 404)
        advice = "it has no such path: check PROJECTIONIST_TELEMETRY_URL; ";
    size_t kept = length < BODY_SHOWN ? length : BODY_SHOWN;
    while (kept > 0 && isspace((unsigned char)body[kept - 1]))
        kept--;
    pj_text_show(answer->reason, sizeof answer->reason, "%sit answers HTTP %d%s%.*s", advice,
                 status, kept > 0 ? ": " : "", (int)kept, body);
    answer->end = PJ_HANDSHAKE_REFUSED;
}

/* 0 while the headers are incomplete; -1 where they are not HTTP. */
static int read_head(struct head *head, const char *bytes, size_t length)
{
    const char *end = memmem(bytes, length, "\r\n\r\n", 4);
    static const char begin[] = "HTTP/1.";
    size_t known = length < sizeof begin - 1 ? length : sizeof begin - 1;
    if (memcmp(bytes, begin, known) != 0)
        return -1;
    if (end == NULL)
        return length >= PJ_HANDSHAKE_MOST ? -1 : 0;
    size_t line = (size_t)((const char *)memchr(bytes, '\n', length) - bytes);
    if (memchr(bytes, '\0', (size_t)(end - bytes)) != NULL || line < 12 || bytes[8] != ' ' ||
        !isdigit((unsigned char)bytes[9]) || !isdigit((unsigned char)bytes[10]) ||
        !isdigit((unsigned char)bytes[11]) || isdigit((unsigned char)bytes[12]))
        return -1;
    head->status = (bytes[9] - '0') * 100 + (bytes[10] - '0') * 10 + (bytes[11] - '0');
    head->lines = bytes + line + 1;
    head->end = end + 2;
    head->length = (size_t)(end + 4 - bytes);
    if (head->lines > head->end)
        head->lines = head->end;
    return 1;
}

void pj_handshake_read(struct pj_handshake_answer *answer, const char *bytes, size_t length,
                       bool is_all, const char *key)
{
    struct head head = {0};
    char value[VALUE_MOST];
    *answer = (struct pj_handshake_answer){.end = PJ_HANDSHAKE_MORE};
    if (length == 0) {
        if (is_all)
            refuse(answer, "it closed the connection without answering");
        return;
    }
    int found = read_head(&head, bytes, length);
    if (found < 0) {
        refuse(answer, "it does not answer like an HTTP server: check "
                       "PROJECTIONIST_TELEMETRY_URL");
        return;
    }
    if (found == 0) {
        if (is_all)
            refuse(answer, "it closed the connection in the middle of its answer");
        return;
    }
    answer->used = head.length;
    if (head.status == 101) {
        judge_upgrade(answer, &head, key);
        return;
    }
    size_t body = length - head.length;
    bool is_counted = find_header(&head, "Content-Length", value) == 1;
    if (is_all || body >= BODY_SHOWN || (is_counted && body >= strtoul(value, NULL, 10)))
        refuse_with_status(answer, &head, bytes + head.length, body);
}

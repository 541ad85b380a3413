/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes what the gateway reads of a client: the input is a connection's bytes, whole and in parts
 * of two; then each request is written anew from what was understood, and must be the same. */
#include "base/http.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* Decodes a body that arrives in parts; how many bytes it took, or -1. */
static int64_t decode(const char *data, size_t length, size_t part, char *body, size_t *body_length,
                      bool *is_whole)
{
    struct pj_http_chunks chunks = {0};
    struct pj_http_fault fault;
    size_t at = 0;
    *body_length = 0;
    while (at < length && !chunks.is_whole) {
        const char *piece = NULL;
        size_t piece_length = 0;
        size_t given = length - at < part ? length - at : part;
        int64_t taken =
            pj_http_chunks_take(&chunks, data + at, given, &piece, &piece_length, &fault);
        if (taken < 0) {
            require(fault.status == 400);
            return -1;
        }
        require(taken > 0 && (size_t)taken <= given && *body_length + piece_length <= length);
        require(piece >= data + at && piece + piece_length <= data + at + taken);
        memcpy(body + *body_length, piece, piece_length);
        *body_length += piece_length;
        at += (size_t)taken;
    }
    *is_whole = chunks.is_whole;
    return (int64_t)at;
}

/* However a body arrives, it is the same one, and ends at the same place. */
static int64_t check_body(const char *data, size_t length)
{
    bool whole = false, whole_in_parts = false;
    size_t body_length = 0, length_in_parts = 0;
    char *body = malloc(length + 1), *in_parts = malloc(length + 1);
    require(body != NULL && in_parts != NULL);
    int64_t taken = decode(data, length, length, body, &body_length, &whole);
    for (size_t part = 1; part <= 3; part++) {
        int64_t again = decode(data, length, part, in_parts, &length_in_parts, &whole_in_parts);
        require(again == taken);
        require(taken < 0 || (whole == whole_in_parts && body_length == length_in_parts &&
                              memcmp(body, in_parts, body_length) == 0));
    }
    free(body);
    free(in_parts);
    return whole ? taken : -1;
}

static void check_head(const struct pj_http_head *head)
{
    require(pj_http_is_token(head->method) && (*head->target == '/' || *head->target == '*'));
    for (const char *c = head->target; *c != '\0'; c++)
        require(*c > ' ' && *c < 0x7f && *c != '#' && *c != '\\');
    for (size_t i = 0; i < head->field_count; i++)
        require(pj_http_is_token(head->fields[i].name) && pj_http_is_value(head->fields[i].value));
    require(head->is_1_0 || pj_http_field(head, "Host") != NULL);
    require(head->body_length >= -1 && (head->has_body || head->body_length == 0));
    require((head->body_length == -1) == (pj_http_field(head, "Transfer-Encoding") != NULL));
    require(head->body_length != -1 || pj_http_field(head, "Content-Length") == NULL);
}

static void check_written_anew(const struct pj_http_head *head, size_t length)
{
    struct pj_http_head again;
    struct pj_http_fault fault;
    size_t size = length * 2 + 64;
    char *text = malloc(size);
    require(text != NULL);
    size_t end = (size_t)snprintf(text, size, "%s %s HTTP/1.%d\r\n", head->method, head->target,
                                  head->is_1_0 ? 0 : 1);
    for (size_t i = 0; i < head->field_count; i++)
        end += (size_t)snprintf(text + end, size - end, "%s: %s\r\n", head->fields[i].name,
                                head->fields[i].value);
    end += (size_t)snprintf(text + end, size - end, "\r\n");
    require(pj_http_head_parse(&again, text, end, &fault) == 0);
    require(strcmp(again.target, head->target) == 0 && again.field_count == head->field_count);
    require(again.body_length == head->body_length && again.keeps_alive == head->keeps_alive);
    for (size_t i = 0; i < head->field_count; i++)
        require(strcmp(again.fields[i].value, head->fields[i].value) == 0);
    pj_http_head_free(&again);
    free(text);
}

/* The length of the first request; 0: there is none, whole and right. */
static size_t check_request(const char *data, size_t length)
{
    struct pj_http_scan scan = {0}, slow = {0};
    struct pj_http_fault fault;
    struct pj_http_head head;
    int64_t found = pj_http_scan(&scan, data, length, &fault), found_slowly = 0;
    for (size_t i = 1; i <= length && found_slowly == 0; i++)
        found_slowly = pj_http_scan(&slow, data, i, &fault);
    require(found == found_slowly);
    if (found <= 0 || pj_http_head_parse(&head, data, (size_t)found, &fault) != 0)
        return 0;
    check_head(&head);
    check_written_anew(&head, (size_t)found);
    size_t left = length - (size_t)found;
    int64_t body = head.body_length == -1               ? check_body(data + found, left)
                   : (uint64_t)head.body_length <= left ? head.body_length
                                                        : -1;
    pj_http_head_free(&head);
    return body >= 0 ? (size_t)(found + body) : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    char *copy = malloc(size + 1); /* to see what reads beyond it */
    require(copy != NULL);
    memcpy(copy, text, size);
    for (size_t at = 0; at < size;) {
        size_t length = check_request(copy + at, size - at);
        if (length == 0)
            break;
        at += length;
    }
    if (size > 0)
        (void)check_body(copy, size);
    free(copy);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "stream-replay/refused.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static struct pj_bytes copy(char **free_bytes, struct pj_bytes bytes)
{
    struct pj_bytes copied = {bytes.data != NULL ? *free_bytes : NULL, bytes.length};
    if (bytes.length > 0)
        *free_bytes = mempcpy(*free_bytes, bytes.data, bytes.length);
    return copied;
}

void pj_refused_keep(struct pj_refused_list *list, const struct pj_producer_message *message,
                     const struct pj_error *reason)
{
    size_t bytes = message->key.length + message->value.length + 1;
    size_t headers = message->header_count * sizeof(struct pj_header);
    for (size_t i = 0; i < message->header_count; i++)
        bytes += message->headers[i].name.length + message->headers[i].value.length;
    struct pj_refused *refused = pj_alloc(sizeof *refused + headers + bytes);
    struct pj_header *copies = (struct pj_header *)(refused + 1);
    char *free_bytes = (char *)refused + sizeof *refused + headers;
    *refused = (struct pj_refused){.message = *message, .reason = *reason};
    refused->message.headers = copies;
    refused->message.key = copy(&free_bytes, message->key);
    refused->message.value = copy(&free_bytes, message->value);
    for (size_t i = 0; i < message->header_count; i++) {
        copies[i].name = copy(&free_bytes, message->headers[i].name);
        copies[i].value = copy(&free_bytes, message->headers[i].value);
    }
    if (list->last != NULL)
        list->last->next = refused;
    else
        list->first = refused;
    list->last = refused;
    list->count++;
    list->bytes += sizeof *refused + headers + bytes;
}

struct pj_refused_list pj_refused_split(struct pj_refused_list *list)
{
    size_t kept = list->count / 2;
    struct pj_refused *last = list->first;
    for (size_t i = 1; i < kept; i++)
        last = last->next;
    struct pj_refused_list rest = {
        .first = last->next, .last = list->last, .count = list->count - kept};
    last->next = NULL;
    list->last = last;
    list->count = kept;
    return rest;
}

void pj_refused_free(struct pj_refused_list *list)
{
    while (list->first != NULL) {
        struct pj_refused *refused = list->first;
        list->first = refused->next;
        free(refused);
    }
    *list = (struct pj_refused_list){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are passed through: both bodies stream, with a bounded buffer in between; and
 * calls, which are transfers whose answer is read whole. */
#include "base/clock.h"
#include "base/curl.h"
#include "base/invariant.h"
#include "base/memory.h"
#include "base/text.h"
#include "control-gateway/upstream_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BUFFER = 64 << 10, POLL_MS = 500, REPLY_MOST = 16 << 20, BLOCK = 16 << 10 };

struct pj_transfer {
    struct pj_upstream *upstream;
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    bool is_started, is_done, is_body_whole;
    bool is_receiving_paused, is_sending_paused;
    bool has_sent; /* some of the body, as far as libcurl is concerned */
    CURLcode result;
    char reason[CURL_ERROR_SIZE]; /* libcurl's, or "" */
    int64_t activity_ms;
    /* What libcurl is to send next; owned by the caller. */
    const char *out;
    size_t out_length;
    /* What has been received. */
    struct pj_fields fields;
    bool has_answer;   /* all of its headers */
    const char *fault; /* why it is not a valid answer, or NULL */
    char in[BUFFER];
    size_t in_start, in_length;
};

/* --- what libcurl calls ---------------------------------------------------------------------- */

/* Ends the transfer if it is not the length. */
static size_t on_header(char *data, size_t size, size_t count, void *context)
{
    struct pj_transfer *transfer = context;
    size_t length = size * count;
    long status = 0;
    transfer->activity_ms = pj_clock_monotonic_ms();
    if (transfer->has_answer)
        return length; /* trailers, after the body, are not passed on */
    if (length >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        pj_fields_clear(&transfer->fields); /* the headers so far were a 100's */
    } else if (length > 2) {
        transfer->fault = pj_fields_add_line(&transfer->fields, data, length);
    } else {
        curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
        transfer->fault = pj_fields_ambiguity(&transfer->fields);
        transfer->has_answer = status >= 200 && transfer->fault == NULL;
        if (transfer->has_answer)
            pj_fields_keep_end_to_end(&transfer->fields);
    }
    return transfer->fault == NULL ? length : 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct pj_transfer *transfer = context;
    size_t length = size * count;
    transfer->activity_ms = pj_clock_monotonic_ms();
    if (transfer->in_start > 0) {
        memmove(transfer->in, transfer->in + transfer->in_start, transfer->in_length);
        transfer->in_start = 0;
    }
    if (length > BUFFER - transfer->in_length) {
        transfer->is_receiving_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    memcpy(transfer->in + transfer->in_length, data, length);
    transfer->in_length += length;
    return length;
}

static size_t on_send(char *data, size_t size, size_t count, void *context)
{
    struct pj_transfer *transfer = context;
    size_t length = size * count;
    if (length > transfer->out_length)
        length = transfer->out_length;
    if (length == 0 && !transfer->is_body_whole) {
        transfer->is_sending_paused = true;
        return CURL_READFUNC_PAUSE;
    }
    transfer->has_sent |= length > 0;
    memcpy(data, transfer->out, length);
    transfer->out += length;
    transfer->out_length -= length;
    transfer->activity_ms = pj_clock_monotonic_ms();
    return length;
}

/* libcurl wants to send again on another connection what it has sent already. */
static int on_rewind(void *context, curl_off_t offset, int origin)
{
    (void)context, (void)offset, (void)origin;
    return CURL_SEEKFUNC_FAIL;
}

/* --- opening --------------------------------------------------------------------------------- */

struct pj_transfer *pj_transfer_open(struct pj_upstream *upstream,
                                     const struct pj_transfer_request *request)
{
    struct pj_transfer *transfer = pj_alloc(sizeof *transfer);
    transfer->upstream = upstream;
    transfer->is_body_whole = !request->has_body;
    pthread_mutex_lock(&upstream->mutex);
    if (upstream->multi_count > 0)
        transfer->multi = upstream->multis[--upstream->multi_count];
    pthread_mutex_unlock(&upstream->mutex);
    if (transfer->multi == NULL)
        transfer->multi = pj_must(curl_multi_init());
    transfer->easy = pj_curl_new();
    CURL *easy = transfer->easy;
    pj_upstream_set_up(upstream, easy, request->method, request->uri,
                       request->may_be_kept && request->body_length > 0);
    if (strcmp(request->method, "HEAD") == 0)
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    if (request->has_body) {
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body_length);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
        curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
        curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_rewind);
    }
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->reason);
    transfer->headers = pj_must(curl_slist_append(NULL, "Expect:"));
    transfer->headers = pj_upstream_fields(upstream, transfer->headers, request->fields);
    return transfer;
}

void pj_transfer_close(struct pj_transfer *transfer)
{
    if (transfer == NULL)
        return;
    struct pj_upstream *upstream = transfer->upstream;
    if (transfer->is_started)
        curl_multi_remove_handle(transfer->multi, transfer->easy);
    curl_easy_cleanup(transfer->easy);
    curl_slist_free_all(transfer->headers);
    pthread_mutex_lock(&upstream->mutex);
    bool has_room = upstream->multi_count < PJ_UPSTREAM_KEPT;
    if (has_room)
        upstream->multis[upstream->multi_count++] = transfer->multi;
    pthread_mutex_unlock(&upstream->mutex);
    if (!has_room)
        curl_multi_cleanup(transfer->multi);
    pj_fields_clear(&transfer->fields);
    free(transfer);
}

/* --- moving bytes ---------------------------------------------------------------------------- */

/* Lets libcurl do what it can; waits a while if that is nothing. */
static int turn(struct pj_transfer *transfer, struct pj_error *error)
{
    int running = 0, left = 0;
    if (!transfer->is_started) {
        curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
        curl_multi_add_handle(transfer->multi, transfer->easy);
        transfer->is_started = true;
        transfer->activity_ms = pj_clock_monotonic_ms();
    }
    size_t out_before = transfer->out_length, in_before = transfer->in_length;
    bool had_answer = transfer->has_answer;
    curl_multi_perform(transfer->multi, &running);
    for (CURLMsg *message; (message = curl_multi_info_read(transfer->multi, &left)) != NULL;) {
        if (message->msg == CURLMSG_DONE) {
            transfer->is_done = true;
            transfer->result = message->data.result;
        }
    }
    if (transfer->fault != NULL)
        return pj_upstream_fault(transfer->upstream, transfer->fault, error);
    if (transfer->is_done)
        return pj_upstream_end(transfer->upstream, transfer->result, transfer->reason, error);
    if (transfer->out_length != out_before || transfer->in_length != in_before ||
        transfer->has_answer != had_answer)
        return 0;
    if (pj_clock_monotonic_ms() - transfer->activity_ms > transfer->upstream->timeout_ms)
        return pj_upstream_end(transfer->upstream, CURLE_OPERATION_TIMEDOUT, "", error);
    curl_multi_poll(transfer->multi, NULL, 0, POLL_MS, NULL);
    return 0;
}

static void go_on(struct pj_transfer *transfer, bool *is_paused)
{
    if (!*is_paused || transfer->is_done)
        return;
    transfer->is_receiving_paused = false;
    transfer->is_sending_paused = false;
    curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
}

int pj_transfer_write(struct pj_transfer *transfer, const void *data, size_t length,
                      struct pj_error *error)
{
    transfer->out = data;
    transfer->out_length = length;
    transfer->activity_ms = pj_clock_monotonic_ms(); /* until now we waited for the client */
    go_on(transfer, &transfer->is_sending_paused);
    /* A service that answers without reading the whole body wants no more of it. */
    while (transfer->out_length > 0 && !transfer->is_done && !transfer->has_answer) {
        if (turn(transfer, error) != 0)
            return -1;
    }
    transfer->out_length = 0;
    return 0;
}

int pj_transfer_answer(struct pj_transfer *transfer, int *status, struct pj_error *error)
{
    long code = 0;
    transfer->is_body_whole = true;
    transfer->activity_ms = pj_clock_monotonic_ms();
    go_on(transfer, &transfer->is_sending_paused);
    while (!transfer->has_answer && !transfer->is_done) {
        if (turn(transfer, error) != 0)
            return -1;
    }
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &code);
    if (!transfer->has_answer || code < 200 || code > 599)
        return pj_upstream_fault(transfer->upstream, "its status is invalid", error);
    *status = (int)code;
    return 0;
}

int64_t pj_transfer_length(const struct pj_transfer *transfer)
{
    curl_off_t length = -1;
    curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    return (int64_t)length;
}

const struct pj_fields *pj_transfer_fields(const struct pj_transfer *transfer)
{
    return &transfer->fields;
}

int64_t pj_transfer_read(struct pj_transfer *transfer, void *data, size_t size,
                         struct pj_error *error)
{
    transfer->activity_ms = pj_clock_monotonic_ms(); /* a slow client is not a slow service */
    go_on(transfer, &transfer->is_receiving_paused);
    while (transfer->in_length == 0 && !transfer->is_done) {
        if (turn(transfer, error) != 0 && transfer->in_length == 0)
            return -1;
        go_on(transfer, &transfer->is_receiving_paused);
    }
    if (transfer->in_length == 0)
        return pj_upstream_end(transfer->upstream, transfer->result, transfer->reason, error);
    size_t length = transfer->in_length < size ? transfer->in_length : size;
    memcpy(data, transfer->in + transfer->in_start, length);
    transfer->in_start += length;
    transfer->in_length -= length;
    return (int64_t)length;
}

/* --- calls ----------------------------------------------------------------------------------- */

/* We read requests and answers, so neither may be compressed; and the body sent is not always the
 * one that the client's digest is of. */
static bool is_passed(const struct pj_call *call, const char *name)
{
    static const char *const never[] = {"Accept-Encoding", "Content-MD5", "Digest",
                                        "Content-Digest", "Repr-Digest"};
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        if (strcasecmp(name, never[i]) == 0)
            return false;
    }
    return !call->is_question ||
           (strncasecmp(name, "Content-", 8) != 0 && strncasecmp(name, "If-", 3) != 0 &&
            strcasecmp(name, "Range") != 0 && strcasecmp(name, "Accept") != 0);
}

/* The fields that a call sends. */
static struct pj_fields fields_of(const struct pj_call *call)
{
    struct pj_fields passed = {0};
    for (size_t i = 0; call->fields != NULL && i < call->fields->count; i++) {
        const struct pj_field *field = &call->fields->items[i];
        if (is_passed(call, field->name))
            PJ_CHECK(pj_fields_add(&passed, field->name, field->value),
                     "fields that fitted before do not");
    }
    if (pj_fields_get(&passed, "Content-Type") == NULL)
        (void)pj_fields_add(&passed, "Content-Type", "application/json");
    return passed;
}

static int read_all(struct pj_transfer *transfer, struct pj_builder *body, struct pj_error *error)
{
    char data[BLOCK];
    int64_t length;
    while ((length = pj_transfer_read(transfer, data, sizeof data, error)) > 0) {
        if (body->length + (size_t)length > REPLY_MOST)
            return pj_upstream_fault(transfer->upstream, "its body is larger than 16 MiB", error);
        pj_builder_add_bytes(body, data, (size_t)length);
    }
    return (int)length;
}

/* Where a kept connection turns out to be closed, libcurl makes a new one, and either cannot (the
 * service is away), or finds that what it has sent cannot be sent again. */
static enum pj_call_end end_of_failed(const struct pj_transfer *transfer)
{
    curl_off_t connected = 0;
    bool is_away = pj_upstream_is_no_connection(transfer->result);
    curl_easy_getinfo(transfer->easy, CURLINFO_CONNECT_TIME_T, &connected);
    if (transfer->has_sent && (is_away || transfer->result == CURLE_SEND_FAIL_REWIND))
        return PJ_CALL_CLOSED;
    return transfer->has_sent || (connected > 0 && !is_away) ? PJ_CALL_UNKNOWN : PJ_CALL_NOT_SENT;
}

enum pj_call_end pj_upstream_call(struct pj_upstream *upstream, const struct pj_call *call,
                                  struct pj_reply **reply, struct pj_error *error)
{
    struct pj_fields fields = fields_of(call);
    const struct pj_transfer_request request = {
        .method = call->method,
        .uri = call->path,
        .fields = &fields,
        .has_body = call->body.data != NULL,
        .body_length = (int64_t)call->body.length,
        .may_be_kept = call->may_be_kept,
    };
    struct pj_builder body = {0};
    int status = 0;
    enum pj_call_end end = PJ_CALL_ANSWERED;
    struct pj_transfer *transfer = pj_transfer_open(upstream, &request);
    curl_easy_setopt(transfer->easy, CURLOPT_TIMEOUT_MS, (long)upstream->timeout_ms);
    if (pj_transfer_write(transfer, call->body.data, call->body.length, error) != 0 ||
        pj_transfer_answer(transfer, &status, error) != 0 ||
        read_all(transfer, &body, error) != 0) {
        end = end_of_failed(transfer);
        free(body.text);
    } else {
        size_t length = body.length;
        *reply = pj_reply_new(status, NULL, pj_builder_take(&body), length);
        (*reply)->fields = transfer->fields;
        transfer->fields = (struct pj_fields){0};
    }
    pj_transfer_close(transfer);
    pj_fields_clear(&fields);
    return end;
}

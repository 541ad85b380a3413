/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry-bridge/socket.h"

#include "base/back_off.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/curl.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/threads.h"
#include "telemetry-bridge/address.h"
#include "telemetry-bridge/handshake.h"
#include "telemetry-bridge/stream.h"
#include "telemetry-bridge/websocket.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/rand.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    READ_BYTES = 65536,
    READS_A_TURN = 16,
    TICK_MS = 1000,
    CONNECT_MS = 10000,
    HANDSHAKE_MS = 10000,
    BODY_MS = 1000, /* for the body of a refusal */
    GREETING_MS = 2000,
    KEPT_OF_TOO_LONG = 65536,
    UNSENT_MOST = 65536, /* of pong replies that the service does not read */
    REASON_SIZE = 600,
};

struct pj_socket {
    const struct pj_bridge_settings *settings;
    const struct pj_bridge_metrics *metrics;
    struct pj_address address;
    pthread_t thread;
    bool has_thread;
    atomic_bool stop;
    atomic_bool is_subscribed;
    atomic_llong last_turn_ms;
    int wake; /* an eventfd: the buffer has room, or stop */
    pthread_mutex_t mutex;
    char trouble[REASON_SIZE]; /* under the mutex: why the last connection ended */
    /* All below belongs to the thread. */
    struct pj_stream stream;
    struct pj_websocket_reader reader;
    CURL *curl; /* the connection */
    int fd;
    char *in; /* READ_BYTES, consumed up to in_start */
    size_t in_start, in_end;
    char *out; /* what is still to be sent */
    size_t out_length;
    bool is_paused, is_pause_logged;
    int64_t connected_ms, heard_ms, pinged_ms;
    int failures;             /* in a row; -1: reconnect at once */
    char reason[REASON_SIZE]; /* why the connection ended */
};

static int end(struct pj_socket *socket, const char *reason)
{
    pj_text_show(socket->reason, sizeof socket->reason, "%s", reason);
    return -1;
}

static bool must_stop(struct pj_socket *socket)
{
    atomic_store(&socket->last_turn_ms, pj_clock_monotonic_ms());
    return atomic_load(&socket->stop);
}

/* --- sending --------------------------------------------------------------------------------- */

static int flush(struct pj_socket *socket)
{
    while (socket->out_length > 0) {
        size_t sent = 0;
        CURLcode code = curl_easy_send(socket->curl, socket->out, socket->out_length, &sent);
        if (code == CURLE_AGAIN)
            return 0;
        if (code != CURLE_OK)
            return end(socket, curl_easy_strerror(code));
        socket->out_length -= sent;
        memmove(socket->out, socket->out + sent, socket->out_length);
    }
    return 0;
}

static char *reserve_out(struct pj_socket *socket, size_t length)
{
    socket->out = pj_resize(socket->out, socket->out_length + length, 1);
    return socket->out + socket->out_length;
}

static int send_frame(struct pj_socket *socket, enum pj_websocket_opcode opcode, const char *data,
                      size_t length)
{
    unsigned char mask[4];
    if (RAND_bytes(mask, sizeof mask) != 1)
        abort();
    char *place = reserve_out(socket, length + PJ_WEBSOCKET_OVERHEAD);
    socket->out_length += pj_websocket_write(place, opcode, data, length, mask);
    return flush(socket);
}

/* The close frame; whether it arrives does not matter. */
static void send_close(struct pj_socket *socket, int code)
{
    char data[2] = {(char)(code >> 8), (char)code};
    (void)send_frame(socket, PJ_WEBSOCKET_CLOSE, data,
                     code != PJ_WEBSOCKET_NO_CODE ? sizeof data : 0);
}

static int subscribe(struct pj_socket *socket)
{
    char text[PJ_CURSOR_TEXT_SIZE + 64]; /* a cursor has nothing that JSON escapes */
    size_t length = pj_text_whole(text, sizeof text, "{\"type\":\"subscribe\",\"cursor\":\"%s\"}",
                                  socket->stream.subscribe_from);
    return send_frame(socket, PJ_WEBSOCKET_TEXT, text, length);
}

/* --- messages -------------------------------------------------------------------------------- */

/* -1: end this connection. */
static int obey(struct pj_socket *socket, enum pj_stream_action action)
{
    if (action == PJ_STREAM_RECONNECT) {
        socket->failures = -1;
        return end(socket, "it must replay from another position");
    }
    return action == PJ_STREAM_SUBSCRIBE ? subscribe(socket) : 0;
}

static void pause_reading(struct pj_socket *socket)
{
    if (socket->is_paused || !pj_buffer_is_full(socket->stream.buffer))
        return;
    socket->is_paused = true;
    pj_metric_add(socket->metrics->pauses, 1);
    pj_metric_set(socket->metrics->paused, 1);
}

static void go_on_reading(struct pj_socket *socket)
{
    if (!socket->is_paused || pj_buffer_is_full(socket->stream.buffer))
        return;
    socket->is_paused = false;
    socket->heard_ms = pj_clock_monotonic_ms();
    pj_metric_set(socket->metrics->paused, 0);
    if (socket->is_pause_logged)
        pj_log(PJ_INFO, "reading from the socket again");
    socket->is_pause_logged = false;
}

static int take_message(struct pj_socket *socket, const struct pj_websocket_event *event)
{
    size_t length = event->length;
    if (event->whole > length && length > KEPT_OF_TOO_LONG)
        length = KEPT_OF_TOO_LONG;
    enum pj_stream_action action =
        pj_stream_message(&socket->stream, event->data, length, event->whole);
    if (socket->stream.is_subscribed && !atomic_load(&socket->is_subscribed)) {
        socket->failures = 0;
        atomic_store(&socket->is_subscribed, true);
        pj_metric_set(socket->metrics->connected, 1);
    }
    pause_reading(socket);
    return obey(socket, action);
}

static int take_event(struct pj_socket *socket, const struct pj_websocket_event *event)
{
    switch (event->kind) {
    case PJ_WEBSOCKET_MORE:
    case PJ_WEBSOCKET_PONGED:
        return 0;
    case PJ_WEBSOCKET_MESSAGE:
        return take_message(socket, event);
    case PJ_WEBSOCKET_PINGED:
        if (socket->out_length >= UNSENT_MOST)
            return 0; /* it does not read the replies */
        return send_frame(socket, PJ_WEBSOCKET_PONG, event->data, event->length);
    case PJ_WEBSOCKET_CLOSED:
        send_close(socket, event->code);
        if (event->code == PJ_WEBSOCKET_NO_CODE)
            return end(socket, "it closed the connection without a reason");
        pj_text_show(socket->reason, sizeof socket->reason,
                     "it closed the connection with code %d%s%s", event->code,
                     event->length > 0 ? ": " : "", event->data);
        return -1;
    case PJ_WEBSOCKET_BROKEN:
        send_close(socket, event->code);
        pj_text_show(socket->reason, sizeof socket->reason,
                     "it breaks the WebSocket protocol (closed with code %d): %s", event->code,
                     event->data);
        return -1;
    }
    return 0;
}

/* Consumes what has been read, until the buffer is full. */
static int take_bytes(struct pj_socket *socket)
{
    while (!socket->is_paused && socket->in_start < socket->in_end) {
        const char *bytes = socket->in + socket->in_start;
        size_t count = socket->in_end - socket->in_start;
        struct pj_websocket_event event = pj_websocket_read(&socket->reader, &bytes, &count);
        socket->in_start = socket->in_end - count;
        if (take_event(socket, &event) != 0)
            return -1;
    }
    return 0;
}

/* 1: nothing more for now. */
static int receive(struct pj_socket *socket)
{
    size_t count = 0;
    CURLcode code = curl_easy_recv(socket->curl, socket->in, READ_BYTES, &count);
    if (code == CURLE_AGAIN)
        return 1;
    if (code != CURLE_OK)
        return end(socket, curl_easy_strerror(code));
    if (count == 0)
        return end(socket, "the connection was closed");
    socket->in_start = 0;
    socket->in_end = count;
    socket->heard_ms = pj_clock_monotonic_ms();
    socket->pinged_ms = 0;
    return 0;
}

/* 1: more may be there, 0: there is not. */
static int read_some(struct pj_socket *socket)
{
    for (int i = 0; i < READS_A_TURN; i++) {
        if (take_bytes(socket) != 0)
            return -1;
        if (socket->is_paused)
            return 0;
        int status = receive(socket);
        if (status != 0)
            return status < 0 ? -1 : 0;
    }
    return 1;
}

/* --- the connection -------------------------------------------------------------------------- */

/* Waits for the socket (events 0: not for it) or for a wake-up. */
static void wait_for(struct pj_socket *socket, short events, int64_t timeout_ms)
{
    struct pollfd fds[] = {{.fd = socket->wake, .events = POLLIN},
                           {.fd = socket->fd, .events = events}};
    uint64_t ignored;
    if (poll(fds, events != 0 ? 2 : 1, (int)timeout_ms) > 0 && fds[0].revents != 0 &&
        read(socket->wake, &ignored, sizeof ignored) < 0 && errno != EAGAIN)
        abort();
}

static int tick(struct pj_socket *socket)
{
    int64_t now = pj_clock_monotonic_ms();
    if (socket->is_paused && !socket->is_pause_logged && now - socket->heard_ms >= TICK_MS) {
        socket->is_pause_logged = true;
        pj_log(PJ_WARN, "the buffer is full: the socket is paused until half of it is published");
    }
    /* While we do not read, even a healthy service is silent. */
    if (socket->is_paused)
        return 0;
    if (now - socket->connected_ms >= GREETING_MS &&
        obey(socket, pj_stream_not_greeted(&socket->stream)) != 0)
        return -1;
    if (socket->pinged_ms != 0 && now - socket->pinged_ms >= socket->settings->ping_ms)
        return end(socket, "the service did not answer a ping");
    if (socket->pinged_ms == 0 && now - socket->heard_ms >= socket->settings->ping_ms) {
        static const char ping[] = "{\"type\":\"ping\"}";
        socket->pinged_ms = now;
        return send_frame(socket, PJ_WEBSOCKET_TEXT, ping, sizeof ping - 1);
    }
    return 0;
}

/* Until the connection ends, or a stop. */
static void follow(struct pj_socket *socket)
{
    int more = 0;
    while (!must_stop(socket)) {
        short events = 0;
        events |= socket->is_paused ? 0 : POLLIN;
        events |= socket->out_length > 0 ? POLLOUT : 0;
        wait_for(socket, events, more > 0 ? 0 : TICK_MS);
        go_on_reading(socket);
        if (flush(socket) != 0 || tick(socket) != 0)
            return;
        more = socket->is_paused ? 0 : read_some(socket);
        if (more < 0)
            return;
    }
    send_close(socket, PJ_WEBSOCKET_GOING_AWAY);
}

/* The answer to our request; what follows it stays in `in`. */
static int shake_hands(struct pj_socket *socket)
{
    char key[PJ_HANDSHAKE_KEY_SIZE];
    struct pj_handshake_answer answer = {.end = PJ_HANDSHAKE_MORE};
    pj_handshake_key(key);
    char *token = socket->settings->token != NULL ? pj_config_token(socket->settings->token) : NULL;
    char *request = pj_handshake_request(&socket->address, key, token);
    free(token);
    size_t length = strlen(request);
    memcpy(reserve_out(socket, length), request, length);
    socket->out_length = length;
    free(request);
    int64_t deadline = pj_clock_monotonic_ms() + HANDSHAKE_MS;
    socket->in_end = 0;
    while (answer.end == PJ_HANDSHAKE_MORE) {
        size_t count = 0;
        if (must_stop(socket))
            return end(socket, "stopped");
        if (flush(socket) != 0)
            return -1;
        CURLcode code = curl_easy_recv(socket->curl, socket->in + socket->in_end,
                                       READ_BYTES - socket->in_end, &count);
        if (code != CURLE_OK && code != CURLE_AGAIN)
            return end(socket, curl_easy_strerror(code));
        socket->in_end += count;
        int64_t left = deadline - pj_clock_monotonic_ms();
        bool is_all = (code == CURLE_OK && count == 0) || socket->in_end == READ_BYTES || left <= 0;
        pj_handshake_read(&answer, socket->in, socket->in_end, is_all, key);
        if (answer.end != PJ_HANDSHAKE_MORE)
            break;
        if (is_all)
            return end(socket, "it did not answer the request");
        if (answer.used > 0 && deadline > pj_clock_monotonic_ms() + BODY_MS)
            deadline = pj_clock_monotonic_ms() + BODY_MS;
        if (code == CURLE_AGAIN)
            wait_for(socket, socket->out_length > 0 ? POLLIN | POLLOUT : POLLIN,
                     left < TICK_MS / 5 ? left : TICK_MS / 5);
    }
    socket->in_start = answer.used;
    return answer.end == PJ_HANDSHAKE_OPEN ? 0 : end(socket, answer.reason);
}

static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    return must_stop(context);
}

static int fail_connect(struct pj_socket *socket, CURLcode code, const char *message)
{
    const char *before = "", *after = "";
    if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY) {
        before = "its host name cannot be resolved: check PROJECTIONIST_TELEMETRY_URL; ";
    } else if (code == CURLE_PEER_FAILED_VERIFICATION) {
        before = "its certificate is not trusted: ";
        if (strstr(message, "issuer") != NULL || strstr(message, "self") != NULL)
            after = "; PROJECTIONIST_TELEMETRY_CA_FILE names the file with its CA";
    }
    pj_text_show(socket->reason, sizeof socket->reason, "%s%s%s", before,
                 *message != '\0' ? message : curl_easy_strerror(code), after);
    return -1;
}

/* TCP and TLS. */
static int connect_to(struct pj_socket *socket)
{
    char message[CURL_ERROR_SIZE] = "";
    curl_socket_t fd = CURL_SOCKET_BAD;
    CURL *curl = socket->curl = pj_curl_new();
    pj_curl_set_up(curl, socket->address.connect, socket->settings->ca_file, (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, socket);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    if (code != CURLE_OK)
        return fail_connect(socket, code, message);
    if (curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd == CURL_SOCKET_BAD)
        return end(socket, "the connection was closed");
    socket->fd = fd;
    return 0;
}

static void run_connection(struct pj_socket *socket)
{
    pj_metric_add(socket->metrics->connections, 1);
    socket->out_length = 0;
    socket->in_start = socket->in_end = 0;
    socket->pinged_ms = 0;
    if (connect_to(socket) == 0 && shake_hands(socket) == 0) {
        socket->connected_ms = socket->heard_ms = pj_clock_monotonic_ms();
        pj_stream_connected(&socket->stream);
        if (take_bytes(socket) == 0)
            follow(socket);
    }
    curl_easy_cleanup(socket->curl);
    socket->curl = NULL;
    socket->is_paused = false;
    pj_websocket_reset(&socket->reader);
    pj_metric_set(socket->metrics->connected, 0);
    pj_metric_set(socket->metrics->paused, 0);
    atomic_store(&socket->is_subscribed, false);
}

/* A replay would only add to a buffer that is full. */
static void wait_to_connect(struct pj_socket *socket, int64_t wait_ms)
{
    int64_t until = pj_clock_monotonic_ms() + wait_ms;
    while (!must_stop(socket)) {
        int64_t left = until - pj_clock_monotonic_ms();
        if (left <= 0 && !pj_buffer_is_full(socket->stream.buffer))
            return;
        wait_for(socket, 0, left > 0 && left < TICK_MS ? left : TICK_MS);
    }
}

/* --- the thread ------------------------------------------------------------------------------ */

static void *run(void *argument)
{
    struct pj_socket *socket = argument;
    wait_to_connect(socket, 0);
    while (!must_stop(socket)) {
        run_connection(socket);
        if (must_stop(socket))
            break;
        int64_t wait_ms =
            socket->failures < 0
                ? 0
                : pj_back_off_ms(socket->failures, socket->settings->reconnect_most_ms);
        socket->failures++;
        pthread_mutex_lock(&socket->mutex);
        memcpy(socket->trouble, socket->reason, sizeof socket->trouble);
        pthread_mutex_unlock(&socket->mutex);
        pj_log(PJ_WARN, "not connected to the service", pj_f_str("url", socket->address.shown),
               pj_f_str("reason", socket->reason), pj_f_int("next_try_within_ms", wait_ms));
        wait_to_connect(socket, wait_ms);
    }
    return NULL;
}

static void wake(struct pj_socket *socket)
{
    static const uint64_t one = 1;
    if (write(socket->wake, &one, sizeof one) < 0 && errno != EAGAIN)
        abort();
}

/* --- opening and closing --------------------------------------------------------------------- */

int pj_socket_open(struct pj_socket **out, const struct pj_bridge_settings *settings,
                   const struct pj_bridge_metrics *metrics, struct pj_error *error)
{
    struct pj_socket *socket = pj_alloc(sizeof *socket);
    pthread_mutex_init(&socket->mutex, NULL);
    socket->settings = settings;
    socket->metrics = metrics;
    socket->wake = -1;
    if (pj_address_parse(&socket->address, settings->telemetry_url, error) != 0) {
        pj_socket_close(socket);
        return -1;
    }
    *out = socket;
    return 0;
}

int pj_socket_start(struct pj_socket *socket, const struct pj_position *position,
                    struct pj_buffer *buffer, struct pj_error *error)
{
    socket->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (socket->wake < 0)
        return pj_error_set(error, PJ_FATAL, "cannot create an eventfd: %s", strerror(errno));
    socket->in = pj_alloc(READ_BYTES);
    socket->reader.limit = (size_t)socket->settings->frame_size_limit;
    socket->stream.settings = socket->settings;
    socket->stream.metrics = socket->metrics;
    socket->stream.buffer = buffer;
    pj_stream_init(&socket->stream, position);
    int status = pj_thread_start(&socket->thread, run, socket, error);
    socket->has_thread = status == 0;
    return status;
}

void pj_socket_stop(struct pj_socket *socket)
{
    if (!socket->has_thread)
        return;
    atomic_store(&socket->stop, true);
    wake(socket);
    pthread_join(socket->thread, NULL);
    socket->has_thread = false;
}

void pj_socket_close(struct pj_socket *socket)
{
    if (socket == NULL)
        return;
    pj_socket_stop(socket);
    if (socket->wake >= 0) {
        close(socket->wake);
        pj_stream_free(&socket->stream);
    }
    free(socket->in);
    free(socket->out);
    pj_address_free(&socket->address);
    pthread_mutex_destroy(&socket->mutex);
    free(socket);
}

void pj_socket_resume(struct pj_socket *socket)
{
    if (socket->has_thread)
        wake(socket);
}

bool pj_socket_trouble(struct pj_socket *socket, char *text, size_t size)
{
    if (atomic_load(&socket->is_subscribed))
        return false;
    pthread_mutex_lock(&socket->mutex);
    pj_text_show(text, size, "not connected to the service%s%s",
                 *socket->trouble != '\0' ? ": " : "", socket->trouble);
    pthread_mutex_unlock(&socket->mutex);
    return true;
}

int64_t pj_socket_last_turn_ms(const struct pj_socket *socket)
{
    return atomic_load(&socket->last_turn_ms);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/http_internal.h"

#include "base/clock.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/threads.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    IDLE_MS = 15000,           /* between requests */
    LINGER_MS = 2000,          /* for a client to read why it was refused */
    LOOK_MS = 200,             /* between checks for what is overdue */
    ACCEPT_PAUSE_MS = 250,     /* when out of descriptors */
    COMPLAIN_EVERY_MS = 60000, /* in the log */
    REFUSED_MOST = 64,         /* that get time to read why they are refused */
    DISCARDED_MOST = 64 << 20, /* of a refused body, so that its sender reads the reason */
    BODIES_MOST = 64 << 20,    /* bytes of all bodies together */
    READ_BLOCK = 4 << 10,
    EVENTS = 256,
    DESCRIPTORS_OF_PROCESS = 256,
};

struct pj_http_server {
    struct pj_http_settings settings;
    struct pj_http_handler handler;
    char name[32];
    struct pj_http_queue queue;
    pthread_t thread;
    pthread_t *workers;
    int worker_count;
    int epoll, wake, listening, port;
    struct pj_metric *open, *refused, *malformed, *timeouts; /* NULL without metrics */
    bool is_accepting;
    int64_t accept_again_ms, complain_ms, look_ms;
    struct pj_http_client *clients;
    struct pj_http_connection *all, *closed;
    int64_t count, refused_count; /* connections served, and those that will be closed soon */
    size_t bodies;
    pthread_mutex_t mutex; /* guards `done` */
    struct pj_http_connection *done;
    atomic_int in_flight; /* requests whose heads have arrived */
    atomic_bool is_stopping, is_ended;
};

static void add_to(struct pj_metric *metric)
{
    if (metric != NULL)
        pj_metric_add(metric, 1);
}

/* --- clients and connections ----------------------------------------------------------------- */

/* All of an IPv4 address; of IPv6 the half that a provider gives to one customer. */
static void address_of(const struct sockaddr_storage *peer, unsigned char address[16])
{
    static const unsigned char mapped[12] = {[10] = 0xff, 0xff};
    memset(address, 0, 16);
    if (peer->ss_family == AF_INET) {
        memcpy(address, mapped, sizeof mapped);
        memcpy(address + 12, &((const struct sockaddr_in *)peer)->sin_addr, 4);
    } else if (peer->ss_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)peer)->sin6_addr;
        memcpy(address, v6, memcmp(v6, mapped, sizeof mapped) == 0 ? 16 : 8);
    }
}

static struct pj_http_client *keep_client(struct pj_http_server *server,
                                          const unsigned char address[16])
{
    struct pj_http_client *client = server->clients;
    while (client != NULL && memcmp(client->address, address, 16) != 0)
        client = client->next;
    if (client == NULL) {
        client = pj_alloc(sizeof *client);
        memcpy(client->address, address, 16);
        client->next = server->clients;
        server->clients = client;
    }
    client->connections++;
    return client;
}

static void release_client(struct pj_http_server *server, struct pj_http_client *client)
{
    if (--client->connections > 0)
        return;
    struct pj_http_client **place = &server->clients;
    while (*place != client)
        place = &(*place)->next;
    *place = client->next;
    free(client);
}

static void show_count(struct pj_http_server *server)
{
    if (server->open != NULL)
        pj_metric_set(server->open, server->count);
}

static void forget_body(struct pj_http_connection *connection)
{
    connection->server->bodies -= connection->body.length;
    pj_builder_free(&connection->body);
}

/* Ends the request, if there is one, and makes room for the next. */
static void end_request(struct pj_http_connection *connection)
{
    struct pj_http_server *server = connection->server;
    if (connection->has_begun) {
        if (server->handler.end != NULL)
            server->handler.end(server->handler.context, &connection->request);
        atomic_fetch_sub(&server->in_flight, 1);
    }
    forget_body(connection);
    pj_http_head_free(&connection->head);
    pj_builder_free(&connection->fields);
    pj_builder_free(&connection->answer);
    pj_builder_free(&connection->out);
    connection->scan = (struct pj_http_scan){0};
    connection->chunks = (struct pj_http_chunks){0};
    connection->body_left = 0;
    connection->sent = connection->discarded = 0;
    connection->has_begun = connection->is_whole = connection->is_answered = false;
    connection->is_streamed = connection->closes = false;
    connection->has_date = connection->is_chunked = false;
    connection->request.state = NULL;
    connection->request.is_long = false;
}

/* It no longer counts as a connection. */
static void lose_place(struct pj_http_connection *connection)
{
    struct pj_http_server *server = connection->server;
    if (connection->is_refused)
        return;
    connection->is_refused = true;
    server->refused_count++;
    server->count--;
    show_count(server);
}

/* Freed after the current events: one of them may be its own. */
static void close_connection(struct pj_http_connection *connection)
{
    struct pj_http_server *server = connection->server;
    end_request(connection);
    close(connection->fd);
    *connection->place = connection->next;
    if (connection->next != NULL)
        connection->next->place = connection->place;
    lose_place(connection);
    server->refused_count--;
    release_client(server, connection->client);
    connection->stage = PJ_HTTP_CLOSED;
    connection->next_one = server->closed;
    server->closed = connection;
}

static void free_closed(struct pj_http_server *server)
{
    while (server->closed != NULL) {
        struct pj_http_connection *connection = server->closed;
        server->closed = connection->next_one;
        pj_builder_free(&connection->in);
        free(connection);
    }
}

static void enter(struct pj_http_connection *connection, enum pj_http_stage stage,
                  int64_t within_ms)
{
    connection->stage = stage;
    connection->since_ms = pj_clock_monotonic_ms();
    connection->deadline_ms = connection->since_ms + within_ms;
}

/* Each event comes once; its handler asks for the next. */
static void watch(struct pj_http_connection *connection, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLONESHOT, .data.ptr = connection};
    if (epoll_ctl(connection->server->epoll, EPOLL_CTL_MOD, connection->fd, &event) != 0)
        close_connection(connection);
}

/* --- sending --------------------------------------------------------------------------------- */

/* All is sent. */
static void finish(struct pj_http_connection *connection)
{
    bool closes = connection->closes, is_whole = connection->is_whole;
    end_request(connection);
    if (!closes) {
        enter(connection, PJ_HTTP_IDLE, IDLE_MS);
        /* The next request may already be here: it is an event like any other. */
        watch(connection, connection->in.length > 0 ? EPOLLOUT : EPOLLIN);
    } else if ((is_whole && connection->in.length == 0) ||
               connection->server->refused_count > REFUSED_MOST) {
        close_connection(connection);
    } else {
        /* Closing at once would cut off the answer while the client is still sending. */
        lose_place(connection);
        shutdown(connection->fd, SHUT_WR);
        enter(connection, PJ_HTTP_LINGER, LINGER_MS);
        watch(connection, EPOLLIN);
    }
}

static void send_answer(struct pj_http_connection *connection)
{
    struct pj_builder *out = &connection->out;
    while (connection->sent < out->length) {
        ssize_t sent = send(connection->fd, out->text + connection->sent,
                            out->length - connection->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            watch(connection, EPOLLOUT);
            return;
        }
        if (sent <= 0) {
            close_connection(connection);
            return;
        }
        connection->sent += (size_t)sent;
        connection->deadline_ms = pj_clock_monotonic_ms() + PJ_HTTP_SEND_TIMEOUT_MS;
    }
    finish(connection);
}

static void begin_sending(struct pj_http_connection *connection)
{
    if (!connection->is_whole || atomic_load(&connection->server->is_stopping))
        connection->closes = true;
    if (!connection->is_streamed)
        pj_http_compose(connection, connection->status, connection->answer.text,
                        (int64_t)connection->answer.length);
    enter(connection, PJ_HTTP_SENDING, PJ_HTTP_SEND_TIMEOUT_MS);
    send_answer(connection);
}

/* After a request that cannot be parsed, nothing else can be. */
static void refuse(struct pj_http_connection *connection, int status, const char *reason)
{
    const struct pj_http_fault fault = {status, reason};
    if (status == 400)
        add_to(connection->server->malformed);
    pj_http_answer_fault(connection, &fault);
    connection->is_whole = false;
    begin_sending(connection);
}

/* --- receiving ------------------------------------------------------------------------------- */

static void consume(struct pj_http_connection *connection, size_t length)
{
    struct pj_builder *in = &connection->in;
    in->length -= length;
    memmove(in->text, in->text + length, in->length);
}

static void too_large(struct pj_http_connection *connection)
{
    char text[96];
    struct pj_http_request *request = &connection->request;
    size_t length =
        pj_text_whole(text, sizeof text, "{\"error\": \"the body is larger than %lld bytes\"}\n",
                      (long long)connection->server->settings.body_most);
    pj_http_add_field(request, "Content-Type", "application/json");
    pj_http_answer(request, 413, text, (size_t)length);
}

static void no_room(struct pj_http_connection *connection, const char *reason)
{
    const struct pj_http_fault fault = {503, reason};
    connection->was_served = false;
    pj_http_answer_fault(connection, &fault);
}

/* A piece of the body. A refused body is read to its end all the same: see finish. */
static void store(struct pj_http_connection *connection, const char *data, size_t length)
{
    struct pj_http_server *server = connection->server;
    struct pj_builder *body = &connection->body;
    size_t most = (size_t)server->settings.body_most;
    if (connection->is_answered) {
        connection->discarded += length;
        return;
    }
    if (length > most - body->length) {
        too_large(connection);
        forget_body(connection);
        return;
    }
    if (server->bodies + length > BODIES_MOST) {
        no_room(connection, "there are too many large requests; try again");
        forget_body(connection);
        return;
    }
    pj_builder_add_bytes(body, data, length);
    server->bodies += length;
}

static void dispatch(struct pj_http_connection *connection)
{
    struct pj_http_server *server = connection->server;
    connection->is_whole = true;
    connection->request.body = connection->body.text;
    connection->request.body_length = connection->body.length;
    if (!connection->is_answered) {
        enter(connection, PJ_HTTP_AWAY, server->settings.wait_timeout_ms);
        if (pj_http_queue_put(&server->queue, connection))
            return;
        no_room(connection, "too many requests are waiting already; try again");
    }
    begin_sending(connection);
}

/* Consumes what is here; false: not valid chunks. */
static bool take_bytes(struct pj_http_connection *connection, struct pj_http_fault *fault)
{
    struct pj_builder *in = &connection->in;
    size_t at = 0;
    int64_t taken = 0;
    while (at < in->length && taken >= 0 && !connection->is_whole) {
        const char *piece = in->text + at;
        size_t length = in->length - at;
        if (connection->head.body_length == -1) {
            taken = pj_http_chunks_take(&connection->chunks, piece, length, &piece, &length, fault);
            connection->is_whole = connection->chunks.is_whole;
        } else {
            if ((int64_t)length > connection->body_left)
                length = (size_t)connection->body_left;
            connection->body_left -= (int64_t)length;
            connection->is_whole = connection->body_left == 0;
            taken = (int64_t)length;
        }
        if (taken > 0) {
            store(connection, piece, length);
            at += (size_t)taken;
        }
    }
    consume(connection, at);
    return taken >= 0;
}

/* false: nothing more to do now. */
static bool take_body(struct pj_http_connection *connection)
{
    struct pj_http_fault fault;
    if (!take_bytes(connection, &fault)) {
        refuse(connection, fault.status, fault.reason);
        return false;
    }
    if (connection->is_whole) {
        dispatch(connection);
        return false;
    }
    /* A client that asks before sending a body, or sends too large a one, is answered at once. */
    bool is_told = connection->is_answered &&
                   (connection->head.expects_continue || connection->body_left > DISCARDED_MOST ||
                    connection->discarded > DISCARDED_MOST);
    if (is_told)
        begin_sending(connection);
    return !is_told;
}

/* The head is here. false: nothing more to do now. */
static bool begin_request(struct pj_http_connection *connection, size_t head_length)
{
    struct pj_http_server *server = connection->server;
    struct pj_http_fault fault;
    if (pj_http_head_parse(&connection->head, connection->in.text, head_length, &fault) != 0) {
        refuse(connection, fault.status, fault.reason);
        return false;
    }
    consume(connection, head_length);
    connection->stage = PJ_HTTP_BODY; /* the time-out covers all of it */
    connection->has_begun = true;
    connection->closes = !connection->head.keeps_alive;
    connection->body_left = connection->head.body_length;
    connection->is_whole = connection->body_left == 0;
    connection->request.head = &connection->head;
    atomic_fetch_add(&server->in_flight, 1);
    if (server->handler.begin != NULL)
        server->handler.begin(server->handler.context, &connection->request);
    if (!connection->is_answered && connection->body_left > server->settings.body_most)
        too_large(connection);
    bool is_awaited = connection->head.expects_continue && !connection->is_whole &&
                      !connection->is_answered && connection->in.length == 0;
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (is_awaited && send(connection->fd, text, sizeof text - 1, MSG_DONTWAIT | MSG_NOSIGNAL) !=
                          (ssize_t)sizeof text - 1) {
        close_connection(connection);
        return false;
    }
    return true;
}

/* false: nothing more to do now. */
static bool take_head(struct pj_http_connection *connection)
{
    struct pj_http_server *server = connection->server;
    struct pj_http_fault fault;
    if (connection->in.length == 0)
        return true;
    if (connection->stage == PJ_HTTP_IDLE)
        enter(connection, PJ_HTTP_HEAD, server->settings.request_timeout_ms);
    int64_t found =
        pj_http_scan(&connection->scan, connection->in.text, connection->in.length, &fault);
    if (found < 0) {
        refuse(connection, fault.status, fault.reason);
        return false;
    }
    int64_t length = found > 0 ? found : (int64_t)connection->in.length;
    if (length > server->settings.header_most) {
        bool is_target = found == 0 && connection->scan.lines == 0;
        char reason[80];
        pj_text_whole(reason, sizeof reason, "the head of the request is larger than %lld bytes",
                      (long long)server->settings.header_most);
        refuse(connection, is_target ? 414 : 431, reason);
        return false;
    }
    return found == 0 || begin_request(connection, (size_t)found);
}

/* Handles what came as far as possible, and waits for more. */
static void go_on(struct pj_http_connection *connection)
{
    if (connection->stage == PJ_HTTP_HEAD || connection->stage == PJ_HTTP_IDLE) {
        if (!take_head(connection))
            return;
    }
    if (connection->stage == PJ_HTTP_BODY && !take_body(connection))
        return;
    if (connection->in.length == 0)
        pj_builder_free(&connection->in);
    watch(connection, EPOLLIN);
}

static void receive(struct pj_http_connection *connection)
{
    char data[READ_BLOCK * 4];
    ssize_t length = recv(connection->fd, data, sizeof data, MSG_DONTWAIT);
    if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        watch(connection, EPOLLIN);
        return;
    }
    if (length <= 0) {
        close_connection(connection);
        return;
    }
    if (connection->stage == PJ_HTTP_LINGER) { /* discarded */
        watch(connection, EPOLLIN);
        return;
    }
    pj_builder_add_bytes(&connection->in, data, (size_t)length);
    go_on(connection);
}

/* --- newcomers ------------------------------------------------------------------------------- */

/* An idle connection: the oldest of the client that has most of them. */
static struct pj_http_connection *find_dispensable(struct pj_http_server *server)
{
    int64_t before_ms = pj_clock_monotonic_ms() - server->settings.spared_ms;
    struct pj_http_connection *found = NULL;
    for (struct pj_http_connection *one = server->all; one != NULL; one = one->next) {
        bool is_dispensable = (one->stage == PJ_HTTP_IDLE || one->stage == PJ_HTTP_HEAD) &&
                              one->since_ms <= before_ms;
        if (!is_dispensable)
            continue;
        int more = found != NULL ? one->client->connections - found->client->connections : 1;
        if (more > 0 || (more == 0 && one->since_ms < found->since_ms))
            found = one;
    }
    return found;
}

static bool make_room(struct pj_http_server *server)
{
    struct pj_http_connection *found = find_dispensable(server);
    if (found != NULL)
        close_connection(found);
    return found != NULL;
}

static void complain(struct pj_http_server *server, const char *what)
{
    int64_t now_ms = pj_clock_monotonic_ms();
    if (now_ms < server->complain_ms)
        return;
    server->complain_ms = now_ms + COMPLAIN_EVERY_MS;
    pj_log(PJ_WARN, what, pj_f_str("server", server->name), pj_f_int("connections", server->count));
}

/* Requests in work need some: to the service, for instance. */
static bool is_short_of_descriptors(const struct pj_http_server *server, int fd)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return false;
    rlim_t kept = (rlim_t)server->settings.descriptors_kept;
    if (kept > limit.rlim_cur / 4)
        kept = limit.rlim_cur / 4;
    return (rlim_t)fd >= limit.rlim_cur - kept;
}

static void welcome(struct pj_http_server *server, int fd, const struct sockaddr_storage *peer)
{
    static const char full[] = "there are too many connections; try again";
    unsigned char address[16];
    int on = 1;
    bool is_short = is_short_of_descriptors(server, fd);
    bool is_refused = is_short || server->count >= server->settings.connections_most;
    if (is_short)
        complain(server,
                 "new connections are refused: few descriptors are left; raise the limit of open "
                 "files of this process");
    if (is_refused && make_room(server))
        is_refused = false;
    struct pj_http_connection *connection = pj_alloc(sizeof *connection);
    address_of(peer, address);
    connection->server = server;
    connection->client = keep_client(server, address);
    connection->fd = fd;
    connection->is_refused = is_refused;
    connection->next = server->all;
    connection->place = &server->all;
    if (server->all != NULL)
        server->all->place = &connection->next;
    server->all = connection;
    if (is_refused)
        server->refused_count++;
    else
        server->count++;
    show_count(server);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    enter(connection, PJ_HTTP_HEAD, server->settings.request_timeout_ms);
    struct epoll_event event = {.events = EPOLLONESHOT, .data.ptr = connection};
    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        close_connection(connection);
    } else if (is_refused) {
        add_to(server->refused);
        if (!is_short)
            complain(server, "new connections are refused: there are too many");
        refuse(connection, 503, full);
        if (is_short && connection->stage != PJ_HTTP_CLOSED)
            close_connection(connection);
    } else {
        watch(connection, EPOLLIN);
    }
}

static void watch_listening(struct pj_http_server *server, bool accepts)
{
    struct epoll_event event = {.events = accepts ? EPOLLIN : 0, .data.ptr = NULL};
    server->is_accepting = accepts;
    epoll_ctl(server->epoll, EPOLL_CTL_MOD, server->listening, &event);
}

static void accept_some(struct pj_http_server *server)
{
    for (int i = 0; i < EVENTS; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t length = sizeof peer;
        int fd = accept4(server->listening, (struct sockaddr *)&peer, &length,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            welcome(server, fd, &peer);
            continue;
        }
        bool is_short = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        if (!is_short)
            return; /* none is waiting, or it is closed already */
        if (make_room(server))
            continue;
        complain(server,
                 "new connections have to wait: no descriptor is left; raise the limit of open "
                 "files of this process");
        watch_listening(server, false);
        server->accept_again_ms = pj_clock_monotonic_ms() + ACCEPT_PAUSE_MS;
        return;
    }
}

/* --- the server's thread --------------------------------------------------------------------- */

static void expire(struct pj_http_connection *connection)
{
    struct pj_http_server *server = connection->server;
    switch (connection->stage) {
    case PJ_HTTP_HEAD:
    case PJ_HTTP_BODY:
        add_to(server->timeouts);
        if (connection->is_answered) {
            begin_sending(connection);
        } else {
            refuse(connection, 408, "the request was not complete in time");
        }
        break;
    case PJ_HTTP_AWAY:
        if (pj_http_queue_remove(&server->queue, connection)) {
            no_room(connection, "too many requests are being served; try again");
            begin_sending(connection);
        }
        break;
    case PJ_HTTP_SENDING:
        add_to(server->timeouts);
        close_connection(connection);
        break;
    case PJ_HTTP_IDLE:
    case PJ_HTTP_LINGER:
        close_connection(connection);
        break;
    case PJ_HTTP_CLOSED:
        break;
    }
}

static void look(struct pj_http_server *server)
{
    int64_t now_ms = pj_clock_monotonic_ms();
    if (now_ms < server->look_ms)
        return;
    server->look_ms = now_ms + LOOK_MS;
    bool is_stopping = atomic_load(&server->is_stopping);
    struct pj_http_connection *next = NULL;
    for (struct pj_http_connection *one = server->all; one != NULL; one = next) {
        next = one->next;
        if (now_ms >= one->deadline_ms)
            expire(one);
        else if (is_stopping && (one->stage == PJ_HTTP_IDLE || one->stage == PJ_HTTP_HEAD))
            close_connection(one);
    }
    if (!server->is_accepting && server->listening >= 0 && now_ms >= server->accept_again_ms)
        watch_listening(server, true);
}

/* Those that the workers have answered. */
static void take_done(struct pj_http_server *server)
{
    uint64_t ignored;
    (void)!read(server->wake, &ignored, sizeof ignored);
    pthread_mutex_lock(&server->mutex);
    struct pj_http_connection *done = server->done;
    server->done = NULL;
    pthread_mutex_unlock(&server->mutex);
    while (done != NULL) {
        struct pj_http_connection *connection = done;
        done = connection->next_one;
        pj_http_queue_done(&server->queue, connection);
        connection->was_served = true;
        connection->stage = PJ_HTTP_BODY;
        if (connection->is_broken)
            close_connection(connection);
        else
            begin_sending(connection);
    }
    if (atomic_load(&server->is_stopping) && server->listening >= 0) {
        close(server->listening);
        server->listening = -1;
    }
}

static void on_event(struct pj_http_server *server, const struct epoll_event *event)
{
    if (event->data.ptr == server) {
        take_done(server);
        return;
    }
    struct pj_http_connection *connection = event->data.ptr;
    if (connection->stage == PJ_HTTP_SENDING)
        send_answer(connection);
    else if (connection->stage == PJ_HTTP_IDLE && connection->in.length > 0)
        go_on(connection);
    else if (connection->stage == PJ_HTTP_HEAD || connection->stage == PJ_HTTP_IDLE ||
             connection->stage == PJ_HTTP_BODY || connection->stage == PJ_HTTP_LINGER)
        receive(connection);
}

static void *serve(void *context)
{
    struct pj_http_server *server = context;
    struct epoll_event events[EVENTS];
    while (!atomic_load(&server->is_ended)) {
        int count = epoll_wait(server->epoll, events, EVENTS, LOOK_MS);
        bool has_newcomers = false;
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr != NULL)
                on_event(server, &events[i]);
            else
                has_newcomers = true;
        }
        if (has_newcomers && server->listening >= 0) /* after the closed ones */
            accept_some(server);
        look(server);
        free_closed(server);
    }
    return NULL;
}

static void wake(struct pj_http_server *server)
{
    const uint64_t one = 1;
    (void)!write(server->wake, &one, sizeof one);
}

static void *work(void *context)
{
    static const struct pj_http_fault nothing = {500, "the request was not answered"};
    struct pj_http_server *server = context;
    for (struct pj_http_connection *one; (one = pj_http_queue_take(&server->queue)) != NULL;) {
        server->handler.handle(server->handler.context, &one->request);
        if (!one->is_answered)
            pj_http_answer_fault(one, &nothing);
        pthread_mutex_lock(&server->mutex);
        one->next_one = server->done;
        server->done = one;
        pthread_mutex_unlock(&server->mutex);
        wake(server);
    }
    return NULL;
}

/* --- start and end --------------------------------------------------------------------------- */

/* As many as all connections need, if that is allowed. */
static void raise_descriptors(const struct pj_http_server *server)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)server->settings.connections_most + REFUSED_MOST +
                    DESCRIPTORS_OF_PROCESS + (rlim_t)server->settings.descriptors_kept;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        pj_log(PJ_WARN, "the limit of open files allows fewer connections than --max-connections",
               pj_f_int("limit", (int64_t)limit.rlim_cur), pj_f_int("wanted", (int64_t)wanted));
}

static void free_server(struct pj_http_server *server)
{
    while (server->all != NULL)
        close_connection(server->all);
    free_closed(server);
    if (server->listening >= 0)
        close(server->listening);
    if (server->wake >= 0)
        close(server->wake);
    if (server->epoll >= 0)
        close(server->epoll);
    pj_http_queue_free(&server->queue);
    pthread_mutex_destroy(&server->mutex);
    free(server->workers);
    free(server);
}

static bool open_events(struct pj_http_server *server)
{
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = NULL};
    struct epoll_event waking = {.events = EPOLLIN, .data.ptr = server};
    int flags = fcntl(server->listening, F_GETFL);
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    server->is_accepting = true;
    return server->epoll >= 0 && server->wake >= 0 &&
           fcntl(server->listening, F_SETFL, flags | O_NONBLOCK) == 0 &&
           epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->listening, &listening) == 0 &&
           epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->wake, &waking) == 0;
}

static void end_workers(struct pj_http_server *server)
{
    pj_http_queue_end(&server->queue);
    for (int i = 0; i < server->worker_count; i++)
        pthread_join(server->workers[i], NULL);
}

static bool start_threads(struct pj_http_server *server, struct pj_error *error)
{
    server->workers = pj_calloc((size_t)server->settings.workers, sizeof *server->workers);
    bool started = true;
    for (int i = 0; i < server->settings.workers && started; i++) {
        started = pj_thread_start(&server->workers[i], work, server, error) == 0;
        server->worker_count += started;
    }
    started = started && pj_thread_start(&server->thread, serve, server, error) == 0;
    if (!started)
        end_workers(server);
    return started;
}

static void add_metrics(struct pj_http_server *server, struct pj_metrics *metrics)
{
    const struct pj_metric_line all[] = {
        {&server->open, PJ_GAUGE, "connections", "Open connections."},
        {&server->refused, PJ_COUNTER, "refused_connections_total",
         "Connections refused because there were too many."},
        {&server->malformed, PJ_COUNTER, "malformed_requests_total",
         "Requests that are not strictly HTTP/1.1."},
        {&server->timeouts, PJ_COUNTER, "timeouts_total",
         "Connections closed because the client was slow to send or read."},
        {0},
    };
    pj_metrics_add_all_of(metrics, server->name, all);
}

int pj_http_server_start(struct pj_http_server **out, const struct pj_http_settings *settings,
                         const struct pj_http_handler *handler, struct pj_error *error)
{
    char what[64];
    pj_text_whole(what, sizeof what, "%s address", settings->name);
    int fd = pj_listen(what, settings->address, error);
    if (fd < 0)
        return -1;
    struct pj_http_server *server = pj_alloc(sizeof *server);
    server->settings = *settings;
    server->handler = *handler;
    pj_text_whole(server->name, sizeof server->name, "%s", settings->name);
    server->listening = fd;
    server->port = pj_listen_port(fd);
    if (settings->metrics != NULL)
        add_metrics(server, settings->metrics);
    pj_http_queue_init(&server->queue, settings->workers);
    pthread_mutex_init(&server->mutex, NULL);
    raise_descriptors(server);
    if (!open_events(server) || !start_threads(server, error)) {
        free_server(server);
        return pj_error_fatal(error, PJ_EXIT_FAILED,
                              "cannot start the %s server: no thread, descriptor or memory for it; "
                              "raise the limits of this process",
                              settings->name);
    }
    *out = server;
    return 0;
}

int pj_http_server_port(const struct pj_http_server *server)
{
    return server->port;
}

void pj_http_server_stop(struct pj_http_server *server, int64_t timeout_ms)
{
    if (server == NULL)
        return;
    int64_t deadline_ms = pj_clock_monotonic_ms() + timeout_ms;
    atomic_store(&server->is_stopping, true);
    wake(server);
    while (atomic_load(&server->in_flight) > 0 && pj_clock_monotonic_ms() < deadline_ms) {
        const struct timespec pause = {.tv_nsec = 20000000};
        nanosleep(&pause, NULL);
    }
    atomic_store(&server->is_ended, true);
    wake(server);
    pthread_join(server->thread, NULL);
    for (struct pj_http_connection *one = server->all; one != NULL; one = one->next)
        shutdown(one->fd, SHUT_RDWR);
    end_workers(server);
    free_server(server);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "job-bridge/listener.h"

#include "base/back_off.h"
#include "base/clock.h"
#include "base/curl.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/secret.h"
#include "base/text.h"
#include "base/threads.h"

#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    CONNECT_MS = 5000,
    TICK_MS = 100, /* how soon a stop is noticed */
    READ_BYTES = 65536,
    REFUSED_MOST_MS = 300000, /* a new password reaches Redis and our file one after the other */
    REASON_SIZE = 400,
};

struct pj_listener {
    const struct pj_job_bridge_settings *settings;
    const struct pj_config *config;
    const struct pj_job_bridge_metrics *metrics;
    struct pj_inbox *inbox;
    char *connect_url, *shown_url;
    pthread_t thread;
    bool has_thread;
    atomic_bool stop, is_subscribed, is_refused;
    atomic_llong last_turn_ms;
    atomic_llong listened_us; /* wall; until then nothing is missing but what gaps were told of */
    pthread_mutex_t mutex;    /* guards the next three */
    char trouble[REASON_SIZE];
    int64_t first_us;  /* of the first subscription; 0: there was none */
    int64_t before_us; /* until when a former bridge listened; 0: not known */
    /* The thread's own. */
    CURL *curl;
    redisReader *reader;
    int fd, failures;
    struct pj_builder head; /* of the bytes that are no whole reply yet, the first */
    size_t unread;          /* how many these are, at least */
    int64_t heard_ms;       /* when something came, monotonic */
    int64_t pinged_ms;      /* 0: no answer is due */
    int64_t refused_since;
    bool was_subscribed;
    char reason[REASON_SIZE];
    char buffer[READ_BYTES];
};

static bool must_stop(struct pj_listener *listener)
{
    atomic_store(&listener->last_turn_ms, pj_clock_monotonic_ms());
    return atomic_load(&listener->stop);
}

static int end(struct pj_listener *listener, const char *format, ...) PJ_PRINTF(2, 3);

static int end(struct pj_listener *listener, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    pj_text_vshow(listener->reason, sizeof listener->reason, format, args);
    va_end(args);
    pj_secret_hide(listener->reason);
    return -1;
}

/* Waits for the socket or for TICK_MS. */
static void wait_for(struct pj_listener *listener, short events)
{
    struct pollfd socket = {.fd = listener->fd, .events = events};
    poll(&socket, 1, TICK_MS);
}

/* --- sending --------------------------------------------------------------------------------- */

/* Frees the command. */
static int send_command(struct pj_listener *listener, char *command, size_t length)
{
    size_t sent = 0;
    int status = 0;
    while (status == 0 && sent < length) {
        size_t some = 0;
        CURLcode code = curl_easy_send(listener->curl, command + sent, length - sent, &some);
        sent += some;
        if (must_stop(listener))
            status = end(listener, "it is stopped");
        else if (code == CURLE_AGAIN)
            wait_for(listener, POLLOUT);
        else if (code != CURLE_OK)
            status = end(listener, "Redis closed the connection: %s", curl_easy_strerror(code));
    }
    redisFreeCommand(command);
    return status;
}

static int send_words(struct pj_listener *listener, int count, const char **words)
{
    char *command = NULL;
    /* An int before hiredis 1.0, where it is a long long. */
    long long length = redisFormatCommandArgv(&command, count, words, NULL);
    return length < 0 ? end(listener, "a command for Redis could not be made")
                      : send_command(listener, command, (size_t)length);
}

/* --- receiving ------------------------------------------------------------------------------- */

static struct pj_bytes bytes_of(const redisReply *reply)
{
    return (struct pj_bytes){reply->str, reply->len};
}

static bool is_text(const redisReply *reply, const char *text)
{
    return (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS) &&
           reply->len == strlen(text) && memcmp(reply->str, text, reply->len) == 0;
}

static void note_listened(struct pj_listener *listener)
{
    atomic_store(&listener->listened_us, pj_clock_wall_us());
}

/* The first words of Redis' errors are their names. */
static bool is_refusal(const char *text)
{
    return pj_text_begins(text, "NOAUTH") || pj_text_begins(text, "WRONGPASS") ||
           pj_text_begins(text, "NOPERM") || pj_text_begins(text, "ERR AUTH") ||
           pj_text_begins(text, "ERR invalid password") ||
           pj_text_begins(text, "ERR Client sent AUTH");
}

static int take_error(struct pj_listener *listener, const char *text)
{
    if (is_refusal(text) &&
        (!listener->was_subscribed || pj_clock_since(&listener->refused_since) >= REFUSED_MOST_MS))
        atomic_store(&listener->is_refused, true);
    return end(listener, "Redis answers %s", text);
}

/* At most so long: when the one before went is known by what it heard last. */
static void tell_gap(struct pj_listener *listener, int64_t from_us, int64_t to_us,
                     const char *reason)
{
    if (from_us == 0 || to_us <= from_us)
        return;
    int64_t ms = (to_us - from_us) / 1000;
    pj_metric_add(listener->metrics->gaps, 1);
    pj_metric_set(listener->metrics->gap_time, ms);
    pj_log(PJ_WARN, "nobody listened to Redis; what was published meanwhile is lost",
           pj_f_int("milliseconds_at_most", ms), pj_f_str("reason", reason));
}

static void on_subscribed(struct pj_listener *listener)
{
    int64_t now_us = pj_clock_wall_us();
    pthread_mutex_lock(&listener->mutex);
    if (listener->first_us != 0)
        tell_gap(listener, atomic_load(&listener->listened_us), now_us, listener->trouble);
    else
        tell_gap(listener, listener->before_us, now_us, "no bridge ran");
    if (listener->first_us == 0)
        listener->first_us = now_us;
    pthread_mutex_unlock(&listener->mutex);
    pj_log(PJ_INFO, "subscribed", pj_f_str("url", listener->shown_url),
           pj_f_str("channels", listener->settings->channel_prefix));
    listener->was_subscribed = true;
    listener->refused_since = 0;
    listener->failures = 0;
    note_listened(listener);
    pj_metric_set(listener->metrics->connected, 1);
    atomic_store(&listener->is_subscribed, true);
}

static int take_reply(struct pj_listener *listener, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR)
        return take_error(listener, reply->str);
    listener->pinged_ms = 0;
    if (reply->type == REDIS_REPLY_STATUS) /* of AUTH */
        return 0;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0)
        return end(listener, "what answers is no Redis that one can subscribe to");
    if (reply->elements == 4 && is_text(reply->element[0], "pmessage") &&
        reply->element[2]->type == REDIS_REPLY_STRING &&
        reply->element[3]->type == REDIS_REPLY_STRING) {
        pj_metric_add(listener->metrics->received, 1);
        pj_inbox_put(listener->inbox,
                     pj_job_message_new(listener->settings->channel_prefix,
                                        bytes_of(reply->element[2]), bytes_of(reply->element[3])));
    } else if (is_text(reply->element[0], "psubscribe")) {
        on_subscribed(listener);
    } else if (!is_text(reply->element[0], "pong")) {
        return end(listener, "Redis answers what was not asked");
    }
    return 0;
}

/* Adds to the beginning of what is no whole reply yet. The reader does not say where in these bytes
 * it begins: after others it is where the last message does. */
static void keep_head(struct pj_listener *listener, const char *bytes, size_t length, bool is_new)
{
    static const char mark[] = "*4\r\n$8\r\npmessage\r\n";
    if (is_new) {
        const char *at = bytes, *next;
        listener->head.length = 0;
        while ((next = memmem(at, length - (size_t)(at - bytes), mark, sizeof mark - 1)) != NULL)
            at = next + 1;
        at -= at > bytes;
        length -= (size_t)(at - bytes);
        bytes = at;
    }
    size_t room = READ_BYTES - listener->head.length;
    pj_builder_add_bytes(&listener->head, bytes, length < room ? length : room);
}

static int too_long(struct pj_listener *listener)
{
    const struct pj_bytes beginning = {listener->head.text, listener->head.length};
    pj_metric_add(listener->metrics->received, 1);
    pj_inbox_put(listener->inbox,
                 pj_job_message_cut(beginning, listener->settings->message_size_limit));
    return end(listener, "a message is longer than %lld bytes (--message-size-limit)",
               (long long)listener->settings->message_size_limit);
}

/* Every whole reply that is there; how many. */
static int take_replies(struct pj_listener *listener, int *count)
{
    for (*count = 0;; (*count)++) {
        redisReply *reply = NULL;
        if (redisReaderGetReply(listener->reader, (void **)&reply) != REDIS_OK)
            return end(listener, "what answers does not speak Redis' protocol: %s",
                       listener->reader->errstr);
        if (reply == NULL)
            return 0;
        int status = take_reply(listener, reply);
        freeReplyObject(reply);
        if (status != 0)
            return -1;
    }
}

static int take_bytes(struct pj_listener *listener, size_t length)
{
    int count;
    bool is_first = listener->unread == 0;
    if (redisReaderFeed(listener->reader, listener->buffer, length) != REDIS_OK)
        return end(listener, "what answers does not speak Redis' protocol: %s",
                   listener->reader->errstr);
    if (take_replies(listener, &count) != 0)
        return -1;
    listener->unread = count > 0 ? 0 : listener->unread + length;
    keep_head(listener, listener->buffer, length, is_first || count > 0);
    /* Beside the message there are its channel and a few words. */
    return listener->unread > (size_t)listener->settings->message_size_limit + READ_BYTES
               ? too_long(listener)
               : 0;
}

static int read_some(struct pj_listener *listener)
{
    size_t length = 0;
    CURLcode code = curl_easy_recv(listener->curl, listener->buffer, READ_BYTES, &length);
    if (code == CURLE_AGAIN) {
        wait_for(listener, POLLIN);
        return 0;
    }
    if (code != CURLE_OK)
        return end(listener, "the connection broke: %s", curl_easy_strerror(code));
    if (length == 0)
        return end(listener, "Redis closed the connection");
    listener->heard_ms = pj_clock_monotonic_ms();
    if (take_bytes(listener, length) != 0)
        return -1;
    if (atomic_load(&listener->is_subscribed))
        note_listened(listener);
    return 0;
}

/* --- a connection ---------------------------------------------------------------------------- */

static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    return must_stop(context);
}

static int connect_to(struct pj_listener *listener)
{
    char message[CURL_ERROR_SIZE] = "";
    curl_socket_t fd = CURL_SOCKET_BAD;
    CURL *curl = listener->curl = pj_curl_new();
    pj_curl_set_up(curl, listener->connect_url, listener->settings->redis_ca_file, CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_ENABLE_ALPN, 0L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, listener);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
    if (code != CURLE_OK)
        return end(listener, "%s", *message != '\0' ? message : curl_easy_strerror(code));
    if (curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK || fd == CURL_SOCKET_BAD)
        return end(listener, "Redis closed the connection");
    listener->fd = fd;
    return 0;
}

static int authenticate(struct pj_listener *listener)
{
    const struct pj_job_bridge_settings *settings = listener->settings;
    const char *words[3] = {"AUTH"};
    int count = 1, status = 0;
    if (settings->redis_password == NULL)
        return 0;
    char *fresh = pj_config_fresh(listener->config->kafka.files, settings->redis_password);
    pj_secret_keep(fresh);
    char *user =
        settings->redis_username != NULL ? pj_config_token(settings->redis_username) : NULL;
    if (user != NULL)
        words[count++] = user;
    words[count++] = fresh != NULL ? fresh : settings->redis_password;
    status = send_words(listener, count, words);
    free(fresh);
    free(user);
    return status;
}

/* The prefix is text: what would be a wildcard in a pattern is not one. */
static int subscribe(struct pj_listener *listener)
{
    struct pj_builder pattern = {0};
    for (const char *at = listener->settings->channel_prefix; *at != '\0'; at++)
        pj_builder_add(&pattern, "%s%c", strchr("*?[]\\", *at) != NULL ? "\\" : "", *at);
    pj_builder_add(&pattern, "*");
    const char *words[] = {"PSUBSCRIBE", pattern.text};
    int status = send_words(listener, 2, words);
    pj_builder_free(&pattern);
    return status;
}

static int ping_in_time(struct pj_listener *listener)
{
    static const char *ping[] = {"PING"};
    int64_t now_ms = pj_clock_monotonic_ms(), silence_ms = listener->settings->ping_ms;
    if (listener->pinged_ms != 0 && now_ms - listener->pinged_ms >= silence_ms)
        return end(listener, "Redis does not answer");
    if (listener->pinged_ms != 0 || now_ms - listener->heard_ms < silence_ms)
        return 0;
    listener->pinged_ms = now_ms;
    /* Until it has answered the subscription it is asked nothing else. */
    return atomic_load(&listener->is_subscribed) ? send_words(listener, 1, ping) : 0;
}

/* Full: Redis keeps what it sends for a while, then drops us. */
static void wait_for_room(struct pj_listener *listener)
{
    if (!pj_inbox_is_full(listener->inbox))
        return;
    pj_metric_add(listener->metrics->pauses, 1);
    pj_log(PJ_WARN, "the buffer is full; Redis is not read until half of it is free");
    while (pj_inbox_is_full(listener->inbox) && !must_stop(listener))
        poll(NULL, 0, TICK_MS);
    listener->heard_ms = pj_clock_monotonic_ms();
    listener->pinged_ms = 0;
}

static void listen_once(struct pj_listener *listener)
{
    pj_metric_add(listener->metrics->connections, 1);
    listener->reader = pj_must(redisReaderCreate());
    listener->fd = -1;
    listener->unread = 0;
    listener->pinged_ms = 0;
    int status = connect_to(listener);
    listener->heard_ms = pj_clock_monotonic_ms();
    if (status == 0)
        status = authenticate(listener);
    if (status == 0)
        status = subscribe(listener);
    while (status == 0 && !must_stop(listener)) {
        wait_for_room(listener);
        status = read_some(listener);
        if (status == 0)
            status = ping_in_time(listener);
    }
    atomic_store(&listener->is_subscribed, false);
    pj_metric_set(listener->metrics->connected, 0);
    curl_easy_cleanup(listener->curl);
    redisReaderFree(listener->reader);
}

static void *run(void *argument)
{
    struct pj_listener *listener = argument;
    while (!must_stop(listener)) {
        listen_once(listener);
        if (must_stop(listener))
            break;
        int64_t wait_ms =
            pj_back_off_ms(listener->failures++, listener->settings->reconnect_most_ms);
        pthread_mutex_lock(&listener->mutex);
        memcpy(listener->trouble, listener->reason, sizeof listener->trouble);
        pthread_mutex_unlock(&listener->mutex);
        pj_log(PJ_WARN, "not connected to Redis", pj_f_str("url", listener->shown_url),
               pj_f_str("reason", listener->reason), pj_f_int("next_try_within_ms", wait_ms));
        for (int64_t until_ms = pj_clock_monotonic_ms() + wait_ms;
             pj_clock_monotonic_ms() < until_ms && !must_stop(listener);)
            poll(NULL, 0, TICK_MS / 2);
    }
    return NULL;
}

/* --- settings -------------------------------------------------------------------------------- */

static int refuse(struct pj_error *error, const char *what)
{
    return pj_error_fatal(error, PJ_EXIT_USAGE,
                          "the redis-url %s; give one such as redis://127.0.0.1:6379 or "
                          "rediss://HOST:6380",
                          what);
}

static int parse_url(struct pj_listener *listener, struct pj_error *error)
{
    const char *text = listener->settings->redis_url, *rest;
    bool is_secure = strncasecmp(text, "rediss://", 9) == 0;
    if (!is_secure && strncasecmp(text, "redis://", 8) != 0)
        return refuse(error, "is neither redis:// nor rediss://");
    rest = strstr(text, "://") + 3;
    if (strchr(rest, '@') != NULL)
        return refuse(error, "must not hold a user or a password: set "
                             "PROJECTIONIST_REDIS_USERNAME and PROJECTIONIST_REDIS_PASSWORD_FILE");
    size_t host = strcspn(rest, "/");
    /* Channels belong to no database, so its number says nothing. */
    const char *path = rest + host + (rest[host] == '/');
    if (host == 0 || strspn(path, "0123456789") != strlen(path))
        return refuse(error, "has no host, or more than a database's number after it");
    char *url = pj_text_new("%s://%.*s/", is_secure ? "https" : "http", (int)host, rest);
    CURLU *parsed = pj_must(curl_url());
    bool is_good =
        curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK && !pj_url_has_port_0(parsed);
    bool has_port = pj_url_has(parsed, CURLUPART_PORT);
    curl_url_cleanup(parsed);
    if (!is_good) {
        free(url);
        return refuse(error, "has an invalid host or port");
    }
    listener->connect_url =
        has_port ? pj_strdup(url) : pj_text_new("%.*s:6379/", (int)strlen(url) - 1, url);
    listener->shown_url = pj_text_new("%.*s", (int)(rest + host - text), text);
    free(url);
    return 0;
}

/* --- opening and closing --------------------------------------------------------------------- */

int pj_listener_open(struct pj_listener **out, const struct pj_job_bridge_settings *settings,
                     const struct pj_config *config, const struct pj_job_bridge_metrics *metrics,
                     struct pj_inbox *inbox, struct pj_error *error)
{
    struct pj_listener *listener = pj_alloc(sizeof *listener);
    listener->settings = settings;
    listener->config = config;
    listener->metrics = metrics;
    listener->inbox = inbox;
    pthread_mutex_init(&listener->mutex, NULL);
    int status = parse_url(listener, error);
    if (status == 0 && settings->redis_username != NULL && settings->redis_password == NULL)
        status = pj_error_fatal(error, PJ_EXIT_USAGE,
                                "a user of Redis is named and no password: set "
                                "PROJECTIONIST_REDIS_PASSWORD_FILE");
    if (status != 0) {
        pj_listener_close(listener);
        return -1;
    }
    *out = listener;
    return 0;
}

int pj_listener_start(struct pj_listener *listener, struct pj_error *error)
{
    int status = pj_thread_start(&listener->thread, run, listener, error);
    listener->has_thread = status == 0;
    return status;
}

void pj_listener_stop(struct pj_listener *listener)
{
    if (!listener->has_thread)
        return;
    atomic_store(&listener->stop, true);
    pthread_join(listener->thread, NULL);
    listener->has_thread = false;
}

void pj_listener_close(struct pj_listener *listener)
{
    if (listener == NULL)
        return;
    pj_listener_stop(listener);
    pj_builder_free(&listener->head);
    free(listener->connect_url);
    free(listener->shown_url);
    pthread_mutex_destroy(&listener->mutex);
    free(listener);
}

/* --- what others ask ------------------------------------------------------------------------- */

void pj_listener_heard_until(struct pj_listener *listener, int64_t wall_us)
{
    pthread_mutex_lock(&listener->mutex);
    listener->before_us = wall_us;
    if (listener->first_us != 0)
        tell_gap(listener, wall_us, listener->first_us, "no bridge ran");
    pthread_mutex_unlock(&listener->mutex);
}

int64_t pj_listener_subscribed_us(struct pj_listener *listener)
{
    pthread_mutex_lock(&listener->mutex);
    int64_t first_us = listener->first_us;
    pthread_mutex_unlock(&listener->mutex);
    return first_us;
}

int64_t pj_listener_listened_us(struct pj_listener *listener)
{
    return atomic_load(&listener->listened_us);
}

bool pj_listener_trouble(struct pj_listener *listener, char *text, size_t size)
{
    if (atomic_load(&listener->is_subscribed))
        return false;
    pthread_mutex_lock(&listener->mutex);
    pj_text_show(text, size, "not subscribed to Redis%s%s", *listener->trouble != '\0' ? ": " : "",
                 listener->trouble);
    pthread_mutex_unlock(&listener->mutex);
    return true;
}

int pj_listener_check(struct pj_listener *listener, struct pj_error *error)
{
    if (!atomic_load(&listener->is_refused))
        return 0;
    pthread_mutex_lock(&listener->mutex);
    pj_error_fatal(
        error, PJ_EXIT_FAILED,
        "%s: see PROJECTIONIST_REDIS_USERNAME and PROJECTIONIST_REDIS_PASSWORD_FILE, and "
        "that the user may PSUBSCRIBE to %s*",
        listener->trouble, listener->settings->channel_prefix);
    pthread_mutex_unlock(&listener->mutex);
    return -1;
}

int64_t pj_listener_last_turn_ms(struct pj_listener *listener)
{
    return atomic_load(&listener->last_turn_ms);
}
